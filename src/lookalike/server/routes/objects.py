"""Object routes: create from bytes, URLs or uploads, list, read, change and delete."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import numpy as np
from fastapi import APIRouter, Response
from pydantic import Field
from sqlalchemy import select
from ulid import ULID

from lookalike.catalog.field_values import ObjectValues
from lookalike.catalog.filters import MAX_FIELD_CHARACTERS, every, parse
from lookalike.catalog.idempotency import Request
from lookalike.catalog.objects import Draft, object_pks, read_objects
from lookalike.catalog.pages import Selecting
from lookalike.catalog.resources import Kind
from lookalike.content.sources import check_id
from lookalike.errors import BadContent, BadInput, Conflict, LookalikeError
from lookalike.library.bucket import Bucket, NewBlob, NewObject
from lookalike.library.remove import forget_objects
from lookalike.model import Object
from lookalike.server.context import Context, Here
from lookalike.server.errors import code_of
from lookalike.server.listing import Search, searched
from lookalike.server.replies import (
    BlobReply,
    blob_replies,
    changed_reply,
    etag,
    filters_in,
    fresh,
    sort_in,
)
from lookalike.server.routes.documents import PickedObject, PickingBody, page_of, picked
from lookalike.server.routes.tasks import object_task_id, wait_for
from lookalike.server.routes.uploads import uploaded
from lookalike.server.shapes import (
    Body,
    IdempotencyKey,
    IfMatch,
    JsonRoute,
    OpenBody,
    Pages,
    Pagination,
    Presigned,
    Reply,
    Wait,
)
from lookalike.stores import schema

# --- incoming objects: bytes from the body, a URL or an upload -----------------------------------

_ADDRESSES = ("http://", "https://", "file://", "s3://", "gs://", "data:")
_TEXTS = ("text", "string")
_ID = re.compile(r"(?!\.{1,2}$)[^/\x00-\x1f\x7f]{1,200}")


class BlobData(Body):
    """The bytes of a blob as base64, or the URL they are at."""

    url: str | None = None
    base64: str | None = None
    filename: str | None = None


class NewBlobBody(Body):
    """The blob of one property of an object: `data` is a URL, a data: URL, a text or numbers."""

    idle: ClassVar = frozenset(
        {"key_prefix", "checksum", "metadata", "canonicalize_source", "force_remirror", "details"}
    )
    property: str = Field(min_length=1, max_length=MAX_FIELD_CHARACTERS)
    type: str = ""
    data: str | BlobData | list[float] | None = None
    url: str | None = None
    upload_id: str | None = None
    filename: str | None = None


class NewObjectBody(OpenBody):
    """A new object: blobs by property, and metadata, flat or under `metadata`."""

    idle: ClassVar = frozenset(
        {"skip_duplicates", "canonicalize_source", "force_remirror", "edges"}
    )
    key_prefix: str | None = Field(None, max_length=500)
    object_id: str | None = Field(None, min_length=1, max_length=200)
    idempotency_key: str | None = Field(None, max_length=100)
    blobs: list[NewBlobBody] = Field(default_factory=list, max_length=100)


class _FetchFailed(Exception):
    """A URL could not be read: the object is created, with this error."""


def new_object(here: Context, home: Bucket, body: NewObjectBody, key: str) -> NewObject:
    """Return the object of a body; a URL that cannot be read becomes the object's error.

    Raises FetchRefused for a URL that must not be fetched, BadInput, BadContent.
    """
    id = check_id(body.object_id or f"obj_{ULID()}")
    if not _ID.fullmatch(id):
        raise BadInput(
            f"{id!r} cannot be an object_id, which is a part of URLs: give 1 to 200 characters "
            "without '/' and control characters"
        )
    if not key and body.idempotency_key:
        key = idempotent_key(here, home, body.idempotency_key, body)
    prefix = (body.key_prefix or "").strip("/")
    blobs, error = [], None
    for one in body.blobs:
        try:
            blobs.append(_blob(here, home, one))
        except _FetchFailed as failure:
            error = str(failure)
    prefixed = f"{prefix}/{id}" if prefix else None
    return NewObject(body.all_metadata(), blobs, id, key or prefixed, "", error)


def idempotent_key(here: Context, home: Bucket, name: str, body: Body) -> str:
    """Return the key for objects of a request with an idempotency key `name`; "" without one.

    Raises BadInput for an invalid name, Conflict where another body was sent with it.
    """
    content = body.model_dump(mode="json", exclude={"idempotency_key"})
    request = Request.of(name, content)
    if request is None:
        return ""
    key, column = f"idem:{name}/{request.digest[:32]}/", schema.object_.c.key
    same_name = column.between(f"idem:{name}/", f"idem:{name}0")  # "0" comes after "/"
    query = select(column).where(schema.object_.c.bucket_pk == home.row.pk, same_name)
    with here.runtime.store.read() as snapshot:
        known = snapshot.rows(query.limit(1))
    if known and not known[0].key.startswith(key):
        raise Conflict(
            f"the idempotency key {name!r} belongs to another request; give each its own"
        )
    return key


def _blob(here: Context, home: Bucket, body: NewBlobBody) -> NewBlob:
    data = body.url if body.data is None else body.data
    name = body.filename or ""
    if body.upload_id is not None:
        return uploaded(here, home, body.upload_id, body.property)
    if isinstance(data, BlobData):
        name = name or data.filename or ""
        if data.base64 is not None:
            decoded = _decoded(data.base64, body.property)
            return NewBlob(body.property, decoded, body.type, "", name)
        data = data.url
    if isinstance(data, list):
        numbers = np.asarray(data, "<f4").tobytes()
        return NewBlob(body.property, numbers, "vector", "", name)
    if data is None or data == "":
        raise BadInput(f"the blob {body.property!r} has no data: give a url, base64 or a text")
    kind = "vector" if body.type in ("vector", "array") else body.type
    if _is_address(data, kind):
        return _fetched(here, body, data, name)
    if kind == "text" or (not kind and home.row.properties.get(body.property) in _TEXTS):
        return NewBlob(body.property, data.encode(), "text", "", name)
    return NewBlob(body.property, _decoded(data, body.property), kind, "", name)


def _fetched(here: Context, body: NewBlobBody, address: str, name: str) -> NewBlob:
    """Read the content of a URL with the guarded fetcher. The blob keeps the URL, unless data:."""
    is_data = address.startswith("data:")
    uri = address if is_data or "://" in address else f"file://{address}"
    fetcher = here.server.fetcher
    fetcher.check(uri)
    if not is_data:
        name = name or unquote(PurePosixPath(urlsplit(uri).path).name)
    try:
        data, _ = fetcher.fetch(uri)
    except BadContent as error:
        if is_data:
            raise
        raise _FetchFailed(str(error)) from error
    return NewBlob(body.property, data, body.type, "" if is_data else uri, name)


def _is_address(data: str, kind: str) -> bool:
    if kind == "text":
        return data.startswith(("http://", "https://", "data:")) and not any(map(str.isspace, data))
    if data.startswith("/"):  # a path, or base64: that of a JPEG starts with "/", too
        return kind != "vector" and not _is_base64(data)
    return data.startswith(_ADDRESSES)


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _decoded(text: str, property: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadInput(
            f"the blob {property!r} is neither a URL nor base64: {text[:40]!r}"
        ) from error


# -------------------------------------------------------------------------------------------------

router = APIRouter(prefix="/v1/buckets/{bucket}/objects", tags=["objects"], route_class=JsonRoute)

MAX_BATCH = 10_000


class NewObjectsBody(Body):
    """New objects."""

    objects: list[NewObjectBody] = Field(min_length=1, max_length=MAX_BATCH)


class ObjectChange(OpenBody):
    """New values of metadata; in a label field a person's label, or null to take it back.

    `key_prefix` moves the object; its blobs cannot change.
    """

    idle: ClassVar = NewObjectBody.idle
    key_prefix: str | None = Field(None, max_length=500)
    blobs: None = None


class ObjectReply(Reply):
    """An object. `status` is that of the collection that is least advanced with it."""

    object_id: str
    bucket_id: str
    key_prefix: str | None
    metadata: dict[str, Any]
    blobs: list[BlobReply]
    status: str
    error: str | None
    task_id: str
    created_at: datetime
    changed: dict[str, Any] | None = None


class IndexedObject(ObjectReply):
    """An object of a batch, with its index in the request."""

    object_index: int


class FailedObject(Reply):
    """An object of a batch that could not be created, and why."""

    object_index: int
    error: str
    error_type: str


class BatchReply(Reply):
    """The result of a batch."""

    succeeded: list[IndexedObject]
    failed: list[FailedObject]
    total_requested: int
    succeeded_count: int
    failed_count: int


class Objects(Reply):
    """A page of objects; `total_count` is null above 10,000 unless `include_total` is set."""

    results: list[ObjectReply] | list[PickedObject]
    total_count: int | None
    pagination: Pagination


@router.post("")
def create_object(
    bucket: str,
    body: NewObjectBody,
    here: Here,
    wait: Wait = None,
    idempotency_key: IdempotencyKey = "",
) -> ObjectReply:
    """Add an object; a worker extracts and decides it."""
    home = here.bucket(bucket)
    key = idempotent_key(here, home, idempotency_key, body)
    (added,) = home.put([new_object(here, home, body, key)])
    wait_for(here, home, [added.id], wait)
    return _reply(here, home, home.object(added.id) if wait else added)


@router.post("/batch")
def create_objects(
    bucket: str,
    body: NewObjectsBody,
    here: Here,
    wait: Wait = None,
    idempotency_key: IdempotencyKey = "",
) -> BatchReply:
    """Add objects; the reply lists those that failed, the others are added."""
    home = here.bucket(bucket)
    request = idempotent_key(here, home, idempotency_key, body)
    new: list[tuple[int, Draft]] = []
    failed: list[FailedObject] = []
    for place, one in enumerate(body.objects):
        key = f"{request}{place}" if request else ""
        try:
            new.append((place, home.draft(new_object(here, home, one, key))))
        except LookalikeError as error:
            code = code_of(error)[1]
            failed.append(FailedObject(object_index=place, error=str(error), error_type=code))
    added = home.put_drafts([one for _, one in new])
    wait_for(here, home, [one.id for one in added], wait)
    if wait and added:
        with here.runtime.store.read() as snapshot:
            pks = object_pks(snapshot, home.row.pk, [one.id for one in added])
            found = read_objects(snapshot, home.name, list(pks.values()))
        now = {one.id: one for one in found}
        added = [now[one.id] for one in added]
    succeeded = [
        IndexedObject(object_index=place, **dict(_reply(here, home, one)))
        for (place, _), one in zip(new, added, strict=True)
    ]
    return BatchReply(
        succeeded=succeeded,
        failed=failed,
        total_requested=len(body.objects),
        succeeded_count=len(succeeded),
        failed_count=len(failed),
    )


@router.post("/list")
def list_objects(
    bucket: str,
    here: Here,
    paged: Pages,
    body: PickingBody | None = None,
    filters: str | None = None,
    search: Search = None,
    sort_by: str | None = None,
    return_presigned_urls: Presigned = False,
) -> Objects:
    """List objects that fit filters, sorted, page by page.

    `search` finds a text in ids, keys, names and the metadata that the schema names.
    """
    home, body = here.bucket(bucket), body or PickingBody()
    texts = ("object_id", "key", "name", *home.row.properties)
    tree = every([parse(filters_in(filters, body)), searched(texts, body, search)])
    sort = sort_in(sort_by, body)
    page = paged.of(body)
    with here.runtime.store.read() as snapshot:
        selecting = Selecting(snapshot, ObjectValues(home.row.pk))
        found = page_of(selecting, tree, sort, page)
        total = selecting.count(tree, at_most=page.count_at_most)
        objects = read_objects(snapshot, home.name, list(found.pks))
    signed = return_presigned_urls or body.return_presigned_urls
    replies = [_reply(here, home, one, signed=signed) for one in objects]
    return Objects(
        results=picked(replies, body.select, PickedObject),
        total_count=total,
        pagination=page.pagination(found.next_cursor, total),
    )


@router.get("")
def list_objects_get(
    bucket: str,
    here: Here,
    paged: Pages,
    filters: str | None = None,
    search: Search = None,
    sort_by: str | None = None,
    return_presigned_urls: Presigned = False,
) -> Objects:
    """List objects that fit filters, sorted, page by page."""
    return list_objects(bucket, here, paged, None, filters, search, sort_by, return_presigned_urls)


@router.get("/{object_id}")
def get_object(
    bucket: str,
    object_id: str,
    here: Here,
    response: Response,
    return_presigned_urls: Presigned = False,
) -> ObjectReply:
    """Return an object; its ETag is a digest of its state."""
    home = here.bucket(bucket)
    found = home.object(object_id)
    response.headers["etag"] = etag(found)
    return _reply(here, home, found, signed=return_presigned_urls)


@router.patch("/{object_id}")
@router.put("/{object_id}")
def change_object(
    bucket: str,
    object_id: str,
    body: ObjectChange,
    here: Here,
    response: Response,
    wait: Wait = None,
    if_match: IfMatch = "",
    idempotency_key: IdempotencyKey = "",
) -> ObjectReply:
    """Change metadata. A value of a label field is a person's label, for each of its documents.

    One transaction updates the references and every decision that depends on them; `changed` lists
    the changes. With `If-Match` an object that has changed since is a conflict (409). `key_prefix`
    moves the object.
    """
    home = here.bucket(bucket)
    known = fresh(if_match, lambda: home.object(object_id))
    if body.key_prefix is not None:
        home.move(object_id, body.key_prefix.strip("/"))
        known = None if known is None else home.object(object_id)
    changed = home.amend(
        {object_id: body.all_metadata()},
        op_id=idempotency_key,
        fresh=None if known is None else {object_id: known},
    )
    now = home.object(object_id)
    wait_for(here, home, [now.id], wait)
    if wait:
        now = home.object(object_id)
    response.headers["etag"] = etag(now)
    reply = _reply(here, home, now)
    reply.changed = changed_reply(changed)
    return reply


@router.delete("/{object_id}", status_code=204)
def delete_object(bucket: str, object_id: str, here: Here) -> None:
    """Erase an object with its documents, labels, vectors and copies. This cannot be undone."""
    forget_objects(here.runtime, here.bucket(bucket).row.pk, [object_id])


def _reply(here: Context, home: Bucket, one: Object, *, signed: bool = False) -> ObjectReply:
    return ObjectReply(
        object_id=one.id,
        bucket_id=Kind.BUCKET.prefix + home.name,
        key_prefix=_prefix(one),
        metadata=dict(one.metadata),
        blobs=blob_replies(here, home.name, one.id, one.blobs, signed=signed),
        status=one.status.value,
        error=one.error,
        task_id=object_task_id(home, one.id),
        created_at=one.created_at,
    )


def _prefix(one: Object) -> str | None:
    """Return the part of an object's key before its id; None for a key without the id."""
    suffix = f"/{one.id}"
    return one.key.removesuffix(suffix) if one.key.endswith(suffix) else None
