"""Uploads over HTTP: a signed address for a file, the file itself, and what becomes of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar
from urllib.parse import quote

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Field
from sqlalchemy import bindparam, select, update
from ulid import ULID

from lookalike.catalog.resources import Kind, named, resource
from lookalike.content.boxes import can_show, view_of
from lookalike.content.pictures import sniff
from lookalike.errors import BadContent, BadInput, Conflict, NotFound
from lookalike.extractors.base import Content
from lookalike.extractors.previews import render
from lookalike.library.bucket import Bucket, NewBlob, NewObject
from lookalike.library.forget import unheld
from lookalike.model import Blob
from lookalike.server.context import Asked, Here
from lookalike.server.listing import select_rows
from lookalike.server.routes.tasks import TaskReply, object_task, wait_for
from lookalike.server.shapes import Body, JsonRoute, ListBody, Pages, Pagination, Reply, Wait
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn

# --- blobs and thumbnails, by digest -------------------------------------------------------------

blobs_router = APIRouter(prefix="/v1/blobs", tags=["blobs"], route_class=JsonRoute)

IfNoneMatch = Annotated[
    str, Header(alias="If-None-Match", description="the ETag of what one has already")
]

View = Annotated[str, Query(max_length=100, description="a part of it, such as p3 or b10,20,30,40")]

_FOREVER = "private, max-age=31536000, immutable"
_SHOWN = frozenset(
    {"image/jpeg", "image/png", "image/gif", "image/webp", "image/avif", "image/bmp", "text/plain"}
)
"""What a browser may show; anything else, such as HTML or SVG, is only saved."""

_OBJECT = (
    select(schema.object_.c.name, schema.object_.c.blobs)
    .join(schema.resource, schema.resource.c.pk == schema.object_.c.bucket_pk)
    .where(
        schema.resource.c.namespace == bindparam("namespace"),
        schema.resource.c.kind == Kind.BUCKET.value,
        schema.resource.c.name.in_([bindparam("bucket"), bindparam("bare")]),
        schema.object_.c.id == bindparam("id"),
    )
)
"""A grid of thumbnails asks this a hundred times at once, so it is made once."""

_SAME: dict[int | str, dict[str, Any]] = {304: {"description": "it is what one has already"}}
_BYTES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"*/*": {}}, "description": "the bytes"},
    **_SAME,
}
_JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {}}, "description": "a JPEG of at most 256 × 256"},
    **_SAME,
}


@blobs_router.get("/{sha256}", response_class=Response, responses=_BYTES)
def get_blob(
    sha256: str, bucket: str, object: str, here: Here, if_none_match: IfNoneMatch = ""
) -> Response:
    """Return a blob of an object, checked against its digest."""
    name, blob = _found(here, sha256, bucket, object)
    if _has(if_none_match, sha256):
        return _unchanged(sha256)
    data = here.runtime.blobs.read(blob)
    shown = blob.media_type in _SHOWN
    kind = "inline" if shown else "attachment"
    headers = {
        "cache-control": _FOREVER,
        "etag": f'"{sha256}"',
        "content-disposition": f"{kind}; filename*=utf-8''{quote(name.rsplit('/')[-1], safe='')}",
        "content-security-policy": "default-src 'none'; sandbox",
    }
    media_type = blob.media_type if shown else "application/octet-stream"
    return Response(data, media_type=media_type, headers=headers)


@blobs_router.get("/{sha256}/thumbnail", response_class=Response, responses=_JPEG)
def get_thumbnail(
    sha256: str,
    bucket: str,
    object: str,
    here: Here,
    view: View = "",
    if_none_match: IfNoneMatch = "",
) -> Response:
    """Return a small picture of a blob that has one, or of the part of it that `view` names."""
    _, blob = _found(here, sha256, bucket, object)
    if _has(if_none_match, sha256):
        return _unchanged(sha256)
    thumbnails = here.runtime.thumbnails
    data = thumbnails.read(sha256, view)
    if data is None:
        if not can_show(blob.media_type):
            raise NotFound(f"the blob is {blob.media_type}, and has no small picture")
        if view and view not in _views(here, sha256):
            raise NotFound(f"no document shows the part {view!r}; take it from a thumbnail_url")
        pixels = here.runtime.settings.max_pixels
        content = Content(here.runtime.blobs.read(blob), blob.media_type, max_pixels=pixels)
        thumbnails.keep(sha256, render(content, view), view)
        data = thumbnails.read(sha256, view)
    if data is None:
        raise BadContent("the picture could not be made smaller; get the blob itself")
    headers = {"cache-control": _FOREVER, "etag": f'"{sha256}"'}
    return Response(data, media_type="image/jpeg", headers=headers)


def _has(if_none_match: str, sha256: str) -> bool:
    """Return whether who asks has the content already, by the ETag that it came with."""
    return f'"{sha256}"' in if_none_match


def _unchanged(sha256: str) -> Response:
    return Response(status_code=304, headers={"cache-control": _FOREVER, "etag": f'"{sha256}"'})


def _views(here: Asked, sha256: str) -> set[str]:
    """Return the views of a content that documents show."""
    table = schema.document
    query = select(table.c.attributes).where(table.c.sha256 == bytes.fromhex(sha256))
    with here.runtime.store.read() as snapshot:
        return {view_of(row.attributes) for row in snapshot.rows(query)}


def _found(here: Asked, sha256: str, bucket: str, id: str) -> tuple[str, Blob]:
    """Return a blob with the name of its object. Raises NotFound."""
    asked = {"namespace": here.namespace, "id": id}
    names = {"bucket": bucket, "bare": bucket.removeprefix(Kind.BUCKET.prefix)}
    with here.runtime.store.read() as snapshot:
        rows = snapshot.rows(_OBJECT.params(**asked, **names))
        if not rows:
            named(snapshot, here.namespace, Kind.BUCKET, bucket)
    for row in rows:
        for blob in row.blobs:
            if blob["sha256"] == sha256:
                return row.name, Blob(**blob)
    raise NotFound(f"no object {id!r} of the bucket {bucket!r} has the content {sha256[:80]}")


# --- uploads to signed addresses -----------------------------------------------------------------

PENDING, SENT, COMPLETED = "PENDING", "PROCESSING", "COMPLETED"
"""Nothing was sent yet; a file was; it is an object."""


@dataclass(frozen=True, slots=True)
class PendingUpload:
    """A file that is being sent, or was."""

    pk: int
    id: str
    bucket_pk: int
    spec: dict[str, Any]
    status: str
    blob: dict[str, Any] | None
    object_id: str | None
    created_at: float
    expires_at: float


def new_upload(here: Asked, home: Bucket, spec: dict[str, Any], lives_s: int) -> PendingUpload:
    """Make an upload, which waits for its file."""
    now = here.runtime.clock()
    with here.runtime.store.write() as txn:
        id = f"upl_{ULID()}"
        txn.insert_one(
            schema.upload,
            id=id,
            bucket_pk=home.row.pk,
            spec=spec,
            status=PENDING,
            created_at=now,
            expires_at=now + lives_s,
        )
    return upload_of(here, home, id)


def upload_of(here: Asked, home: Bucket, id: str) -> PendingUpload:
    """Return an upload of a bucket. Raises NotFound."""
    with here.runtime.store.read() as snapshot:
        found = find_upload(snapshot, id)
    if found is None or found.bucket_pk != home.row.pk:
        raise NotFound(f"the bucket {home.name!r} has no upload {id!r}; begin one")
    return found


def find_upload(snapshot: Snapshot, id: str) -> PendingUpload | None:
    """Return an upload by its id."""
    rows = snapshot.rows(select(schema.upload).where(schema.upload.c.id == id))
    return PendingUpload(**rows[0]._mapping) if rows else None


def receive(here: Asked, upload: PendingUpload, data: bytes) -> None:
    """Keep the file of an upload, in the place of one that was sent before."""
    media_type = sniff(data[:4096], str(upload.spec.get("filename") or ""))
    uri = here.runtime.blobs.keep(data)
    blob = Blob("", media_type, uri, hashlib.sha256(data).hexdigest(), len(data))
    with here.runtime.store.write() as txn:
        table = schema.upload
        changed = update(table).where(table.c.pk == upload.pk)
        txn.execute(changed.values(status=SENT, blob=asdict(blob)))
        _erase_file(here, txn, upload)


def complete(here: Asked, upload: PendingUpload, object_id: str | None) -> None:
    """Note what became of an upload."""
    table = schema.upload
    with here.runtime.store.write() as txn:
        changed = update(table).where(table.c.pk == upload.pk)
        txn.execute(changed.values(status=COMPLETED, object_id=object_id))


def remove(here: Asked, upload: PendingUpload) -> None:
    """Forget an upload with its file; what became an object stays."""
    with here.runtime.store.write() as txn:
        txn.execute(schema.upload.delete().where(schema.upload.c.pk == upload.pk))
        _erase_file(here, txn, upload)


def uploaded(here: Asked, home: Bucket, id: str, property: str) -> NewBlob:
    """Return the file of an upload as a blob of an object. Raises NotFound, Conflict."""
    upload = upload_of(here, home, id)
    if upload.blob is None:
        raise Conflict(f"nothing was sent to the upload {id!r} yet; send the file first")
    data = here.runtime.blobs.read(Blob(**upload.blob))
    kind = str(upload.spec.get("blob_type") or "")
    return NewBlob(property, data, kind, "", str(upload.spec.get("filename") or ""))


def _erase_file(here: Asked, txn: Txn, upload: PendingUpload) -> None:
    """Erase the file that an upload held, unless something else holds it."""
    if upload.blob is not None:
        here.runtime.blobs.forget(unheld(txn, [Blob(**upload.blob)]))


# -------------------------------------------------------------------------------------------------

router = APIRouter(tags=["uploads"], route_class=JsonRoute)

_BUCKET = "/v1/buckets/{bucket}/uploads"
_LIVES_S = 3600
MAX_LIVES_S = 7 * 86_400
MAX_BATCH = 100
_IN_SPEC = ("filename", "content_type", "metadata")
_IN_ROW = ("status", "object_id", "created_at", "expires_at")
_KNOWN = (*_IN_SPEC, *_IN_ROW, "upload_id", "file_size_bytes")


class NewUpload(Body):
    """A file that will be sent."""

    idle: ClassVar = frozenset({"skip_duplicates", "file_hash", "shared_metadata"})
    filename: str = Field(min_length=1, max_length=500)
    content_type: str = "application/octet-stream"
    presigned_url_expiration: int = Field(default=_LIVES_S, ge=1, le=MAX_LIVES_S)
    create_object_on_confirm: bool = True
    blob_property: str | None = None
    blob_type: str | None = None
    file_size_bytes: int | None = Field(default=None, ge=0)
    metadata: dict[str, Any] | None = None
    object_metadata: dict[str, Any] | None = None


class NewUploads(Body):
    """Files that will be sent."""

    uploads: list[NewUpload] = Field(min_length=1, max_length=MAX_BATCH)
    shared_metadata: dict[str, Any] | None = None
    shared_object_metadata: dict[str, Any] | None = None


class Confirm(Body):
    """That a file was sent."""

    idle: ClassVar = frozenset({"auto_submit_batch", "etag"})
    file_size_bytes: int | None = None


class OneConfirm(Confirm):
    """That one of several files was sent."""

    upload_id: str


class Confirms(Body):
    """That files were sent."""

    confirmations: list[OneConfirm] = Field(min_length=1, max_length=MAX_BATCH)


class UploadReply(Reply):
    """A file that will be sent, or was; `presigned_url` takes it by PUT, without a key."""

    upload_id: str
    bucket_id: str
    filename: str
    content_type: str
    presigned_url: str
    presigned_url_expiration: int
    s3_key: str
    status: str
    create_object_on_confirm: bool
    object_id: str | None
    file_size_bytes: int | None
    metadata: dict[str, Any]
    created_at: datetime
    expires_at: datetime


class UploadsMade(Reply):
    """Files that will be sent."""

    uploads: list[UploadReply]
    total: int


class UploadStats(Reply):
    """What the uploads of a bucket come to."""

    total_uploads: int
    total_size_bytes: int
    uploads_by_status: dict[str, int]
    avg_file_size_bytes: float
    unique_buckets: int


class Uploads(Reply):
    """Uploads, a page of them."""

    results: list[UploadReply]
    total_count: int
    pagination: Pagination
    stats: UploadStats


class Confirmed(Reply):
    """What a file became."""

    upload_id: str
    status: str
    object_id: str | None
    task_id: str | None
    file_size_bytes: int
    completed_at: datetime
    message: str


class ConfirmedAll(Reply):
    """What files became."""

    task_id: str
    status: str
    confirmations_count: int
    task: TaskReply


class Received(Reply):
    """That a file was received."""

    upload_id: str
    status: str
    file_size_bytes: int


@router.post(_BUCKET)
def create_upload(bucket: str, body: NewUpload, here: Here) -> UploadReply:
    """Return an address that a file can be sent to by PUT, without a key, for a while."""
    return _made(here, here.bucket(bucket), body)


@router.post(_BUCKET + "/batch")
def create_uploads(bucket: str, body: NewUploads, here: Here) -> UploadsMade:
    """Return addresses that files can be sent to."""
    home = here.bucket(bucket)
    made = []
    for one in body.uploads:
        one.metadata = {**(body.shared_metadata or {}), **(one.metadata or {})}
        one.object_metadata = {**(body.shared_object_metadata or {}), **(one.object_metadata or {})}
        made.append(_made(here, home, one))
    return UploadsMade(uploads=made, total=len(made))


@router.post(_BUCKET + "/list")
def list_uploads(bucket: str, here: Here, paged: Pages, body: ListBody | None = None) -> Uploads:
    """List the uploads of a bucket, by filters or a text in their names; else the newest first."""
    home = here.bucket(bucket)
    table = schema.upload
    query = select(table).where(table.c.bucket_pk == home.row.pk).order_by(table.c.pk.desc())
    with here.runtime.store.read() as snapshot:
        rows = [PendingUpload(**row._mapping) for row in snapshot.rows(query)]
    rows = select_rows(rows, _KNOWN, _told, body)
    page, pagination = paged.of(body).of_list(rows, lambda row: -row.pk)
    return Uploads(
        results=[_shown(here, home, one) for one in page],
        total_count=len(rows),
        pagination=pagination,
        stats=_stats(rows),
    )


@router.post(_BUCKET + "/confirm/batch")
def confirm_uploads(bucket: str, body: Confirms, here: Here, wait: Wait = None) -> ConfirmedAll:
    """Make objects of files that were sent."""
    home = here.bucket(bucket)
    uploads = [upload_of(here, home, one.upload_id) for one in body.confirmations]
    if not any(one.spec.get("create_object_on_confirm", True) for one in uploads):
        raise BadInput("none of these uploads becomes an object; confirm each of them alone")
    done = [
        _confirmed(here, home, upload, one)
        for upload, one in zip(uploads, body.confirmations, strict=True)
    ]
    made = [one.object_id for one in done if one.object_id is not None]
    wait_for(here, home, made, wait)
    task = object_task(home, made[-1])
    return ConfirmedAll(
        task_id=task.task_id, status=task.status, confirmations_count=len(done), task=task
    )


@router.post(_BUCKET + "/{upload}/confirm")
def confirm_upload(
    bucket: str, upload: str, here: Here, body: Confirm | None = None, wait: Wait = None
) -> Confirmed:
    """Make an object of a file that was sent; it is extracted and decided by itself."""
    home = here.bucket(bucket)
    done = _confirmed(here, home, upload_of(here, home, upload), body or Confirm())
    wait_for(here, home, [] if done.object_id is None else [done.object_id], wait)
    return done


@router.get(_BUCKET + "/{upload}")
def get_upload(bucket: str, upload: str, here: Here) -> UploadReply:
    """Return an upload."""
    home = here.bucket(bucket)
    return _shown(here, home, upload_of(here, home, upload))


@router.delete(_BUCKET + "/{upload}", status_code=204)
def delete_upload(bucket: str, upload: str, here: Here) -> None:
    """Forget an upload with its file; what became an object stays."""
    remove(here, upload_of(here, here.bucket(bucket), upload))


@router.put(
    "/v1/uploads/{upload}",
    openapi_extra={
        "requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string"}}}}
    },
)
async def send_file(upload: str, request: Request, here: Here, response: Response) -> Received:
    """Send a file to a signed address."""
    data = await request.body()
    done = await run_in_threadpool(_received, here, upload, data)
    response.headers["etag"] = f'"{upload}"'
    return done


def _received(here: Asked, upload: str, data: bytes) -> Received:
    with here.runtime.store.read() as snapshot:
        found = find_upload(snapshot, upload)
        home = None if found is None else resource(snapshot, found.bucket_pk)
    if found is None or home is None or home.namespace != here.namespace:
        raise NotFound(f"there is no upload {upload[:80]!r}; begin one")
    if found.status == "COMPLETED":
        raise Conflict(f"the upload {upload!r} is an object already; begin another one")
    wanted = found.spec.get("file_size_bytes")
    if wanted is not None and wanted != len(data):
        raise BadInput(f"{len(data):,} bytes came, and {wanted:,} were said; send it again")
    if not data:
        raise BadInput("the file is empty; send it again")
    receive(here, found, data)
    return Received(upload_id=upload, status="PROCESSING", file_size_bytes=len(data))


def _made(here: Asked, home: Bucket, body: NewUpload) -> UploadReply:
    known = home.row.properties
    if body.blob_property is not None and known and body.blob_property not in known:
        raise BadInput(
            f"the bucket {home.name!r} has no property {body.blob_property!r} "
            f"(known: {', '.join(sorted(known))})"
        )
    spec = body.model_dump(mode="json")
    return _shown(here, home, new_upload(here, home, spec, body.presigned_url_expiration))


def _confirmed(here: Asked, home: Bucket, upload: PendingUpload, body: Confirm) -> Confirmed:
    if upload.blob is None:
        raise Conflict(f"nothing was sent to the upload {upload.id!r} yet; send the file first")
    size = int(upload.blob["size_bytes"])
    if body.file_size_bytes is not None and body.file_size_bytes != size:
        raise BadInput(f"{size:,} bytes came, and {body.file_size_bytes:,} were sent; send again")
    object_id = upload.object_id
    if object_id is None and upload.spec.get("create_object_on_confirm", True):
        property = upload.spec.get("blob_property") or _file_property(home, upload)
        blob = uploaded(here, home, upload.id, property)
        metadata = upload.spec.get("object_metadata") or {}
        object_id = home.put([NewObject(metadata, [blob], key=f"upload:{upload.id}")])[0].id
    complete(here, upload, object_id)
    task = None if object_id is None else object_task(home, object_id)
    return Confirmed(
        upload_id=upload.id,
        status="COMPLETED",
        object_id=object_id,
        task_id=None if task is None else task.task_id,
        file_size_bytes=size,
        completed_at=datetime.fromtimestamp(here.runtime.clock(), UTC),
        message="the file is kept" if object_id is None else f"the file is the object {object_id}",
    )


def _file_property(home: Bucket, upload: PendingUpload) -> str:
    """Return the property that a file belongs to, where the upload does not say: the first fit."""
    kind = str(upload.blob["media_type"] if upload.blob else "").partition("/")[0]
    fitting = [name for name, type in home.row.properties.items() if type == kind]
    return next(iter(fitting or home.row.properties), kind or "file")


def _shown(here: Asked, home: Bucket, upload: PendingUpload) -> UploadReply:
    left = max(1, int(upload.expires_at - here.runtime.clock()))
    path = f"/v1/uploads/{upload.id}"
    return UploadReply(
        upload_id=upload.id,
        bucket_id=Kind.BUCKET.prefix + home.name,
        filename=upload.spec["filename"],
        content_type=upload.spec["content_type"],
        presigned_url=here.signed(path, {}, left),
        presigned_url_expiration=upload.spec["presigned_url_expiration"],
        s3_key=f"{home.name}/{upload.id}",
        status=upload.status,
        create_object_on_confirm=upload.spec["create_object_on_confirm"],
        object_id=upload.object_id,
        file_size_bytes=None if upload.blob is None else upload.blob["size_bytes"],
        metadata=upload.spec.get("metadata") or {},
        created_at=datetime.fromtimestamp(upload.created_at, UTC),
        expires_at=datetime.fromtimestamp(upload.expires_at, UTC),
    )


def _told(one: PendingUpload) -> dict[str, Any]:
    said = {name: getattr(one, name) for name in _IN_ROW}
    said |= {name: one.spec.get(name) for name in _IN_SPEC}
    size = None if one.blob is None else one.blob["size_bytes"]
    return said | {"upload_id": one.id, "file_size_bytes": size}


def _stats(rows: Sequence[PendingUpload]) -> UploadStats:
    sizes = [int(one.blob["size_bytes"]) for one in rows if one.blob is not None]
    return UploadStats(
        total_uploads=len(rows),
        total_size_bytes=sum(sizes),
        uploads_by_status=dict(Counter(one.status for one in rows)),
        avg_file_size_bytes=sum(sizes) / len(sizes) if sizes else 0.0,
        unique_buckets=1 if rows else 0,
    )
