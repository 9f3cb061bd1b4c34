"""Upload routes: get a signed URL, send a file to it, make it an object; and blobs, thumbnails."""

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
from lookalike.content.boxes import view_of
from lookalike.content.pictures import sniff
from lookalike.errors import BadInput, Conflict, NotFound
from lookalike.library.bucket import Bucket, NewBlob, NewObject
from lookalike.library.forget import unheld
from lookalike.model import Blob
from lookalike.server.context import Context, Here
from lookalike.server.listing import select_rows
from lookalike.server.routes.tasks import TaskReply, object_task, wait_for
from lookalike.server.shapes import Body, JsonRoute, ListBody, Pages, Pagination, Reply, Wait
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn

# --- blobs and thumbnails, by digest -------------------------------------------------------------

blobs_router = APIRouter(prefix="/v1/blobs", tags=["blobs"], route_class=JsonRoute)

IfNoneMatch = Annotated[
    str, Header(alias="If-None-Match", description="the ETag of the copy you have")
]

View = Annotated[str, Query(max_length=100, description="a part of it, such as p3 or b10,20,30,40")]

_FOREVER = "private, max-age=31536000, immutable"
_INLINE_TYPES = frozenset(
    {"image/jpeg", "image/png", "image/gif", "image/webp", "image/avif", "image/bmp", "text/plain"}
)
"""Types that a browser may display; it saves any other, such as HTML or SVG."""

_OBJECT_QUERY = (
    select(schema.object_.c.name, schema.object_.c.blobs)
    .join(schema.resource, schema.resource.c.pk == schema.object_.c.bucket_pk)
    .where(
        schema.resource.c.namespace == bindparam("namespace"),
        schema.resource.c.kind == Kind.BUCKET.value,
        schema.resource.c.name.in_([bindparam("bucket"), bindparam("bare")]),
        schema.object_.c.id == bindparam("id"),
    )
)
"""Built once, since a grid of thumbnails runs it a hundred times at once."""

_SAME: dict[int | str, dict[str, Any]] = {304: {"description": "your copy is current"}}
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
    """Return a blob of an object; its digest is verified."""
    name, blob = _find_blob(here, sha256, bucket, object)
    if _is_current(if_none_match, sha256):
        return _unchanged(sha256)
    data = here.runtime.blobs.read(blob)
    is_inline = blob.media_type in _INLINE_TYPES
    disposition = "inline" if is_inline else "attachment"
    file_name = quote(name.rsplit("/")[-1], safe="")
    headers = {
        "cache-control": _FOREVER,
        "etag": f'"{sha256}"',
        "content-disposition": f"{disposition}; filename*=utf-8''{file_name}",
        "content-security-policy": "default-src 'none'; sandbox",
    }
    media_type = blob.media_type if is_inline else "application/octet-stream"
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
    """Return a thumbnail of a blob, or of the part of it that `view` names."""
    _, blob = _find_blob(here, sha256, bucket, object)
    if _is_current(if_none_match, sha256):
        return _unchanged(sha256)
    is_made = here.runtime.thumbnails.path(sha256, view).exists()
    if view and not is_made and view not in _views(here, sha256):
        raise NotFound(f"no document has the view {view!r}; take it from a thumbnail_url")
    data = here.runtime.thumbnail(blob, view)
    headers = {"cache-control": _FOREVER, "etag": f'"{sha256}"'}
    return Response(data, media_type="image/jpeg", headers=headers)


def _is_current(if_none_match: str, sha256: str) -> bool:
    """Return whether the client has this content, by the ETags that it sends."""
    return f'"{sha256}"' in if_none_match


def _unchanged(sha256: str) -> Response:
    return Response(status_code=304, headers={"cache-control": _FOREVER, "etag": f'"{sha256}"'})


def _views(here: Context, sha256: str) -> set[str]:
    """Return the views that documents have of a content."""
    table = schema.document
    query = select(table.c.attributes).where(table.c.sha256 == bytes.fromhex(sha256))
    with here.runtime.store.read() as snapshot:
        return {view_of(row.attributes) for row in snapshot.rows(query)}


def _find_blob(here: Context, sha256: str, bucket: str, id: str) -> tuple[str, Blob]:
    """Return a blob with the name of its object. Raises NotFound."""
    params = {"namespace": here.namespace, "id": id}
    names = {"bucket": bucket, "bare": bucket.removeprefix(Kind.BUCKET.prefix)}
    with here.runtime.store.read() as snapshot:
        rows = snapshot.rows(_OBJECT_QUERY.params(**params, **names))
        if not rows:
            named(snapshot, here.namespace, Kind.BUCKET, bucket)
    for row in rows:
        for blob in row.blobs:
            if blob["sha256"] == sha256:
                return row.name, Blob(**blob)
    raise NotFound(f"no object {id!r} of the bucket {bucket!r} has the content {sha256[:80]}")


# --- uploads to signed URLs ----------------------------------------------------------------------

PENDING, SENT, COMPLETED = "PENDING", "PROCESSING", "COMPLETED"
"""The status of an upload: without a file, with a file, and confirmed."""


@dataclass(frozen=True, slots=True)
class PendingUpload:
    """An upload: the row of a file that a client will send or has sent."""

    pk: int
    id: str
    bucket_pk: int
    spec: dict[str, Any]
    status: str
    blob: dict[str, Any] | None
    object_id: str | None
    created_at: float
    expires_at: float


def new_upload(here: Context, home: Bucket, spec: dict[str, Any], lives_s: int) -> PendingUpload:
    """Create an upload that waits for its file."""
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


def upload_of(here: Context, home: Bucket, id: str) -> PendingUpload:
    """Return an upload of a bucket. Raises NotFound."""
    with here.runtime.store.read() as snapshot:
        found = find_upload(snapshot, id)
    if found is None or found.bucket_pk != home.row.pk:
        raise NotFound(f"the bucket {home.name!r} has no upload {id!r}; create one")
    return found


def find_upload(snapshot: Snapshot, id: str) -> PendingUpload | None:
    """Return an upload by its id; None where there is none."""
    rows = snapshot.rows(select(schema.upload).where(schema.upload.c.id == id))
    return PendingUpload(**rows[0]._mapping) if rows else None


def receive(here: Context, upload: PendingUpload, data: bytes) -> None:
    """Store the file of an upload; it replaces a file sent before."""
    media_type = sniff(data[:4096], str(upload.spec.get("filename") or ""))
    uri = here.runtime.blobs.keep(data)
    blob = Blob("", media_type, uri, hashlib.sha256(data).hexdigest(), len(data))
    with here.runtime.store.write() as txn:
        table = schema.upload
        changed = update(table).where(table.c.pk == upload.pk)
        txn.execute(changed.values(status=SENT, blob=asdict(blob)))
        _erase_file(here, txn, upload)


def complete(here: Context, upload: PendingUpload, object_id: str | None) -> None:
    """Mark an upload as completed, with the object that it became, or None."""
    table = schema.upload
    with here.runtime.store.write() as txn:
        changed = update(table).where(table.c.pk == upload.pk)
        txn.execute(changed.values(status=COMPLETED, object_id=object_id))


def remove(here: Context, upload: PendingUpload) -> None:
    """Delete an upload with its file; an object made of it stays."""
    with here.runtime.store.write() as txn:
        txn.execute(schema.upload.delete().where(schema.upload.c.pk == upload.pk))
        _erase_file(here, txn, upload)


def uploaded(here: Context, home: Bucket, id: str, property: str) -> NewBlob:
    """Return the file of an upload as a blob of an object. Raises NotFound, Conflict."""
    upload = upload_of(here, home, id)
    if upload.blob is None:
        raise Conflict(f"the upload {id!r} has no file yet; send the file first")
    data = here.runtime.blobs.read(Blob(**upload.blob))
    kind = str(upload.spec.get("blob_type") or "")
    return NewBlob(property, data, kind, "", str(upload.spec.get("filename") or ""))


def _erase_file(here: Context, txn: Txn, upload: PendingUpload) -> None:
    """Erase the file of an upload unless something else uses it."""
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
    """A new upload: the name, type and size of a file that the client will send."""

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
    """Several new uploads."""

    uploads: list[NewUpload] = Field(min_length=1, max_length=MAX_BATCH)
    shared_metadata: dict[str, Any] | None = None
    shared_object_metadata: dict[str, Any] | None = None


class Confirm(Body):
    """Confirms that the client has sent a file."""

    idle: ClassVar = frozenset({"auto_submit_batch", "etag"})
    file_size_bytes: int | None = None


class OneConfirm(Confirm):
    """Confirms that the client has sent one of several files."""

    upload_id: str


class Confirms(Body):
    """Confirms that the client has sent several files."""

    confirmations: list[OneConfirm] = Field(min_length=1, max_length=MAX_BATCH)


class UploadReply(Reply):
    """An upload; `presigned_url` takes the file by PUT, without a key."""

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
    """Several new uploads."""

    uploads: list[UploadReply]
    total: int


class UploadStats(Reply):
    """The number and sizes of the uploads of a bucket."""

    total_uploads: int
    total_size_bytes: int
    uploads_by_status: dict[str, int]
    avg_file_size_bytes: float
    unique_buckets: int


class Uploads(Reply):
    """A page of uploads."""

    results: list[UploadReply]
    total_count: int
    pagination: Pagination
    stats: UploadStats


class Confirmed(Reply):
    """The object and the task of a confirmed upload."""

    upload_id: str
    status: str
    object_id: str | None
    task_id: str | None
    file_size_bytes: int
    completed_at: datetime
    message: str


class ConfirmedAll(Reply):
    """The result of confirming several uploads; `task` is that of the last object."""

    task_id: str
    status: str
    confirmations_count: int
    task: TaskReply


class Received(Reply):
    """Confirms that the server has received a file."""

    upload_id: str
    status: str
    file_size_bytes: int


@router.post(_BUCKET)
def create_upload(bucket: str, body: NewUpload, here: Here) -> UploadReply:
    """Create an upload; its signed URL takes the file by PUT, without a key, until it expires."""
    return _create(here, here.bucket(bucket), body)


@router.post(_BUCKET + "/batch")
def create_uploads(bucket: str, body: NewUploads, here: Here) -> UploadsMade:
    """Create several uploads, each with a signed URL."""
    home = here.bucket(bucket)
    uploads = []
    for one in body.uploads:
        one.metadata = {**(body.shared_metadata or {}), **(one.metadata or {})}
        one.object_metadata = {**(body.shared_object_metadata or {}), **(one.object_metadata or {})}
        uploads.append(_create(here, home, one))
    return UploadsMade(uploads=uploads, total=len(uploads))


@router.post(_BUCKET + "/list")
def list_uploads(bucket: str, here: Here, paged: Pages, body: ListBody | None = None) -> Uploads:
    """List the uploads of a bucket that fit filters or a text; by default newest first."""
    home = here.bucket(bucket)
    table = schema.upload
    query = select(table).where(table.c.bucket_pk == home.row.pk).order_by(table.c.pk.desc())
    with here.runtime.store.read() as snapshot:
        rows = [PendingUpload(**row._mapping) for row in snapshot.rows(query)]
    rows = select_rows(rows, _KNOWN, _values, body)
    page, pagination = paged.of(body).of_list(rows, lambda row: -row.pk)
    return Uploads(
        results=[_reply(here, home, one) for one in page],
        total_count=len(rows),
        pagination=pagination,
        stats=_stats(rows),
    )


@router.post(_BUCKET + "/confirm/batch")
def confirm_uploads(bucket: str, body: Confirms, here: Here, wait: Wait = None) -> ConfirmedAll:
    """Make objects of files that the client has sent."""
    home = here.bucket(bucket)
    uploads = [upload_of(here, home, one.upload_id) for one in body.confirmations]
    if not any(one.spec.get("create_object_on_confirm", True) for one in uploads):
        raise BadInput("none of these uploads becomes an object; confirm each of them alone")
    confirmed = [
        _confirm(here, home, upload, one)
        for upload, one in zip(uploads, body.confirmations, strict=True)
    ]
    objects = [one.object_id for one in confirmed if one.object_id is not None]
    wait_for(here, home, objects, wait)
    task = object_task(home, objects[-1])
    return ConfirmedAll(
        task_id=task.task_id, status=task.status, confirmations_count=len(confirmed), task=task
    )


@router.post(_BUCKET + "/{upload}/confirm")
def confirm_upload(
    bucket: str, upload: str, here: Here, body: Confirm | None = None, wait: Wait = None
) -> Confirmed:
    """Make an object of a file that the client has sent; a worker extracts and decides it."""
    home = here.bucket(bucket)
    confirmed = _confirm(here, home, upload_of(here, home, upload), body or Confirm())
    wait_for(here, home, [] if confirmed.object_id is None else [confirmed.object_id], wait)
    return confirmed


@router.get(_BUCKET + "/{upload}")
def get_upload(bucket: str, upload: str, here: Here) -> UploadReply:
    """Return an upload."""
    home = here.bucket(bucket)
    return _reply(here, home, upload_of(here, home, upload))


@router.delete(_BUCKET + "/{upload}", status_code=204)
def delete_upload(bucket: str, upload: str, here: Here) -> None:
    """Delete an upload with its file; an object made of it stays."""
    remove(here, upload_of(here, here.bucket(bucket), upload))


@router.put(
    "/v1/uploads/{upload}",
    openapi_extra={
        "requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string"}}}}
    },
)
async def send_file(upload: str, request: Request, here: Here, response: Response) -> Received:
    """Send a file to a signed URL."""
    data = await request.body()
    received = await run_in_threadpool(_receive, here, upload, data)
    response.headers["etag"] = f'"{upload}"'
    return received


def _receive(here: Context, upload: str, data: bytes) -> Received:
    with here.runtime.store.read() as snapshot:
        found = find_upload(snapshot, upload)
        home = None if found is None else resource(snapshot, found.bucket_pk)
    if found is None or home is None or home.namespace != here.namespace:
        raise NotFound(f"there is no upload {upload[:80]!r}; create one")
    if found.status == COMPLETED:
        raise Conflict(f"the upload {upload!r} is confirmed already; create another one")
    declared = found.spec.get("file_size_bytes")
    if declared is not None and declared != len(data):
        raise BadInput(
            f"the file has {len(data):,} bytes, but {declared:,} were declared; send it again"
        )
    if not data:
        raise BadInput("the file is empty; send it again")
    receive(here, found, data)
    return Received(upload_id=upload, status=SENT, file_size_bytes=len(data))


def _create(here: Context, home: Bucket, body: NewUpload) -> UploadReply:
    known = home.row.properties
    if body.blob_property is not None and known and body.blob_property not in known:
        raise BadInput(
            f"the bucket {home.name!r} has no property {body.blob_property!r} "
            f"(known: {', '.join(sorted(known))})"
        )
    spec = body.model_dump(mode="json")
    return _reply(here, home, new_upload(here, home, spec, body.presigned_url_expiration))


def _confirm(here: Context, home: Bucket, upload: PendingUpload, body: Confirm) -> Confirmed:
    if upload.blob is None:
        raise Conflict(f"the upload {upload.id!r} has no file yet; send the file first")
    size = int(upload.blob["size_bytes"])
    if body.file_size_bytes is not None and body.file_size_bytes != size:
        raise BadInput(
            f"the file has {size:,} bytes, not {body.file_size_bytes:,}; send the file again"
        )
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
        status=COMPLETED,
        object_id=object_id,
        task_id=None if task is None else task.task_id,
        file_size_bytes=size,
        completed_at=datetime.fromtimestamp(here.runtime.clock(), UTC),
        message="the file is stored"
        if object_id is None
        else f"the file is the object {object_id}",
    )


def _file_property(home: Bucket, upload: PendingUpload) -> str:
    """Return the property for a file whose upload names none: the first with a fitting type."""
    kind = str(upload.blob["media_type"] if upload.blob else "").partition("/")[0]
    fitting = [name for name, type in home.row.properties.items() if type == kind]
    return next(iter(fitting or home.row.properties), kind or "file")


def _reply(here: Context, home: Bucket, upload: PendingUpload) -> UploadReply:
    left_s = max(1, int(upload.expires_at - here.runtime.clock()))
    path = f"/v1/uploads/{upload.id}"
    return UploadReply(
        upload_id=upload.id,
        bucket_id=Kind.BUCKET.prefix + home.name,
        filename=upload.spec["filename"],
        content_type=upload.spec["content_type"],
        presigned_url=here.signed(path, {}, left_s),
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


def _values(one: PendingUpload) -> dict[str, Any]:
    """Return an upload's values for filters and sorting; times are in seconds."""
    values = {name: getattr(one, name) for name in _IN_ROW}
    values |= {name: one.spec.get(name) for name in _IN_SPEC}
    size = None if one.blob is None else one.blob["size_bytes"]
    return values | {"upload_id": one.id, "file_size_bytes": size}


def _stats(rows: Sequence[PendingUpload]) -> UploadStats:
    sizes = [int(one.blob["size_bytes"]) for one in rows if one.blob is not None]
    return UploadStats(
        total_uploads=len(rows),
        total_size_bytes=sum(sizes),
        uploads_by_status=dict(Counter(one.status for one in rows)),
        avg_file_size_bytes=sum(sizes) / len(sizes) if sizes else 0.0,
        unique_buckets=1 if rows else 0,
    )
