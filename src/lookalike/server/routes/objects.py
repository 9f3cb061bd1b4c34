"""Objects over HTTP: uploads, changes that are labels, and what became of them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
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
from lookalike.errors import BadContent, BadInput, Conflict, LookalikeError
from lookalike.library.bucket import Bucket, NewBlob, NewObject
from lookalike.library.remove import forget_objects
from lookalike.model import Object
from lookalike.server.context import Asked, Here
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
from lookalike.server.routes.documents import PickedObject, PickingBody, picked
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

# --- incoming objects: bytes from the body, an address or an upload ------------------------------

_ADDRESSES = ("http://", "https://", "file://", "s3://", "gs://", "data:")
_TEXTS = ("text", "string")
_ID = re.compile(r"(?!\.{1,2}$)[^/\x00-\x1f\x7f]{1,200}")


class BlobData(Body):
    """Where the bytes of a blob are, or they themselves."""

    url: str | None = None
    base64: str | None = None
    filename: str | None = None


class NewBlobBody(Body):
    """The bytes of one property of an object: `data` is a URL, a data: URL, a text or numbers."""

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
    """An object to be: blobs by property, and metadata, flat or under `metadata`."""

    idle: ClassVar = frozenset(
        {"skip_duplicates", "canonicalize_source", "force_remirror", "edges"}
    )
    key_prefix: str | None = Field(None, max_length=500)
    object_id: str | None = Field(None, min_length=1, max_length=200)
    idempotency_key: str | None = Field(None, max_length=100)
    blobs: list[NewBlobBody] = Field(default_factory=list, max_length=100)


class _Unfetched(Exception):
    """An address gave nothing: the object is there, and has failed."""


def incoming(here: Asked, home: Bucket, body: NewObjectBody, key: str) -> NewObject:
    """Return what a body says of an object to be; what cannot be fetched is its error.

    Raises FetchRefused for an address that must not be fetched, BadInput, BadContent.
    """
    id = body.object_id or f"obj_{ULID()}"
    if not _ID.fullmatch(id):
        raise BadInput(f"{id!r} cannot be an object_id, which stands in addresses: leave '/' away")
    if not key and body.idempotency_key:
        key = once_key(here, home, body.idempotency_key, body)
    prefix = (body.key_prefix or "").strip("/")
    blobs, error = [], None
    for one in body.blobs:
        try:
            blobs.append(_blob(here, home, one))
        except _Unfetched as failure:
            error = str(failure)
    named = key or (f"{prefix}/{id}" if prefix else None)
    return NewObject(body.all_metadata(), blobs, id, named, "", error)


def once_key(here: Asked, home: Bucket, name: str, body: Body) -> str:
    """Return the key of objects that a request of this name makes; "" without a name.

    Raises BadInput for what is no name, Conflict where another body was sent under it.
    """
    asked = body.model_dump(mode="json", exclude={"idempotency_key"})
    request = Request.of(name, asked)
    if request is None:
        return ""
    mine, theirs = f"idem:{name}/{request.digest[:32]}/", schema.object_.c.key
    same_name = theirs.between(f"idem:{name}/", f"idem:{name}0")  # "0" comes after "/"
    query = select(theirs).where(schema.object_.c.bucket_pk == home.row.pk, same_name)
    with here.runtime.store.read() as snapshot:
        made = snapshot.rows(query.limit(1))
    if made and not made[0].key.startswith(mine):
        raise Conflict(f"the request {name!r} was another one; give each a name of its own")
    return mine


def _blob(here: Asked, home: Bucket, body: NewBlobBody) -> NewBlob:
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


def _fetched(here: Asked, body: NewBlobBody, address: str, name: str) -> NewBlob:
    """Read what an address names, under the guard. Files and object stores stay where they are."""
    is_data = address.startswith("data:")
    uri = address if is_data or "://" in address else f"file://{address}"
    fetcher = here.context.fetcher
    fetcher.check(uri)
    if not is_data:
        name = name or unquote(PurePosixPath(urlsplit(uri).path).name)
    try:
        data, _ = fetcher.fetch(uri)
    except BadContent as error:
        if is_data:
            raise
        raise _Unfetched(str(error)) from error
    return NewBlob(body.property, data, body.type, "" if is_data else uri, name)


def _is_address(data: str, kind: str) -> bool:
    if kind == "text":
        return data.startswith(("http://", "https://", "data:")) and not any(map(str.isspace, data))
    if data.startswith("/"):  # so begin some files in base64, too: a JPEG for one
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
            f"the blob {property!r} is neither an address nor base64: {text[:40]!r}"
        ) from error


# -------------------------------------------------------------------------------------------------

router = APIRouter(prefix="/v1/buckets/{bucket}/objects", tags=["objects"], route_class=JsonRoute)

MAX_BATCH = 10_000


class NewObjectsBody(Body):
    """Objects to be."""

    objects: list[NewObjectBody] = Field(min_length=1, max_length=MAX_BATCH)


class ObjectChange(OpenBody):
    """Metadata to be changed; in a label field a person's label, or null to take it back.

    `key_prefix` is where the object shall be; its content is what it is.
    """

    idle: ClassVar = NewObjectBody.idle
    key_prefix: str | None = Field(None, max_length=500)
    blobs: None = None


class ObjectReply(Reply):
    """An object. `status` is that of the collection in which it is least far."""

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
    """An object of a batch, with its place there."""

    object_index: int


class FailedObject(Reply):
    """An object of a batch that could not be made, and why."""

    object_index: int
    error: str
    error_type: str


class BatchReply(Reply):
    """What became of a batch."""

    succeeded: list[IndexedObject]
    failed: list[FailedObject]
    total_requested: int
    succeeded_count: int
    failed_count: int


class Objects(Reply):
    """Objects, a page of them; `total_count` is null where they are too many to count."""

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
    """Put an object in; it is extracted and decided by itself."""
    home = here.bucket(bucket)
    made = home.put([incoming(here, home, body, once_key(here, home, idempotency_key, body))])
    wait_for(here, home, [one.id for one in made], wait)
    return _shown(here, home, home.object(made[0].id) if wait else made[0])


@router.post("/batch")
def create_objects(
    bucket: str,
    body: NewObjectsBody,
    here: Here,
    wait: Wait = None,
    idempotency_key: IdempotencyKey = "",
) -> BatchReply:
    """Put objects in; what cannot be one fails alone."""
    home = here.bucket(bucket)
    request = once_key(here, home, idempotency_key, body)
    new: list[tuple[int, Draft]] = []
    failed: list[FailedObject] = []
    for place, one in enumerate(body.objects):
        key = f"{request}{place}" if request else ""
        try:
            new.append((place, home.draft(incoming(here, home, one, key))))
        except LookalikeError as error:
            code = code_of(error)[1]
            failed.append(FailedObject(object_index=place, error=str(error), error_type=code))
    put = home.put_drafts([one for _, one in new])
    wait_for(here, home, [one.id for one in put], wait)
    if wait and put:
        with here.runtime.store.read() as snapshot:
            pks = object_pks(snapshot, home.row.pk, [one.id for one in put])
            found = read_objects(snapshot, home.name, list(pks.values()))
        now = {one.id: one for one in found}
        put = [now[one.id] for one in put]
    shown = [
        IndexedObject(object_index=place, **dict(_shown(here, home, one)))
        for (place, _), one in zip(new, put, strict=True)
    ]
    return BatchReply(
        succeeded=shown,
        failed=failed,
        total_requested=len(body.objects),
        succeeded_count=len(shown),
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
    """List objects: by filters, sorted, a page at a time.

    `search` finds a text in ids, keys, names and the metadata that the schema names.
    """
    home, body = here.bucket(bucket), body or PickingBody()
    texts = ("object_id", "key", "name", *home.row.properties)
    tree = every([parse(filters_in(filters, body)), searched(texts, body, search)])
    sort = sort_in(sort_by, body)
    page = paged.of(body)
    with here.runtime.store.read() as snapshot:
        selecting = Selecting(snapshot, ObjectValues(home.row.pk))
        size, start = page.size or 1, page.start
        if page.cursor or not start:
            found = selecting.page(tree, sort, limit=size, cursor=page.cursor)
        else:
            found = selecting.page_at(start, tree, sort, limit=size)
        total = selecting.count(tree, at_most=page.count_at_most)
        objects = read_objects(snapshot, home.name, list(found.pks))
    signed = return_presigned_urls or body.return_presigned_urls
    replies = [_shown(here, home, one, signed=signed) for one in objects]
    return Objects(
        results=_in_part(replies, body.select),
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
    """List objects: by filters, sorted, a page at a time."""
    return list_objects(bucket, here, paged, None, filters, search, sort_by, return_presigned_urls)


@router.get("/{object_id}")
def get_object(
    bucket: str,
    object_id: str,
    here: Here,
    response: Response,
    return_presigned_urls: Presigned = False,
) -> ObjectReply:
    """Return an object as it stands."""
    home = here.bucket(bucket)
    found = home.object(object_id)
    response.headers["etag"] = etag(found)
    return _shown(here, home, found, signed=return_presigned_urls)


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
    """Change metadata. In a label field this is a person's label, on each of its documents.

    It reaches the references and every decision that it changes in one transaction; `changed`
    tells what it changed. With `If-Match` it is refused (409) where the object is another by now.
    `key_prefix` moves the object.
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
    reply = _shown(here, home, now)
    reply.changed = changed_reply(changed)
    return reply


@router.delete("/{object_id}", status_code=204)
def delete_object(bucket: str, object_id: str, here: Here) -> None:
    """Erase an object with its documents, labels, vectors and copies, for good."""
    forget_objects(here.runtime, here.bucket(bucket).row.pk, [object_id])


def _in_part(
    replies: list[ObjectReply], fields: Sequence[str] | None
) -> list[ObjectReply] | list[PickedObject]:
    if fields is None:
        return replies
    wanted = ("object_id", "bucket_id", *fields)
    return [PickedObject(**one) for one in picked(replies, wanted)]


def _shown(here: Asked, home: Bucket, one: Object, *, signed: bool = False) -> ObjectReply:
    return ObjectReply(
        object_id=one.id,
        bucket_id="bkt_" + home.name,
        key_prefix=_prefix(one),
        metadata=dict(one.metadata),
        blobs=blob_replies(here, home.name, one.id, one.blobs, signed=signed),
        status=one.status.value,
        error=one.error,
        task_id=object_task_id(home, one.id),
        created_at=one.created_at,
    )


def _prefix(one: Object) -> str | None:
    """Return what is before the id in an object's key; other keys have no prefix."""
    place = f"/{one.id}"
    return one.key.removesuffix(place) if one.key.endswith(place) else None
