"""Objects over HTTP: uploads, changes that are labels, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from fastapi import APIRouter, Response
from pydantic import Field

from lookalike.catalog.conditions import every
from lookalike.catalog.filters import parse
from lookalike.catalog.object_values import ObjectValues
from lookalike.catalog.objects import Draft, object_pks, read_objects
from lookalike.catalog.selecting import Selecting
from lookalike.errors import LookalikeError
from lookalike.library.bucket import Bucket
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
from lookalike.server.routes.incoming import NewObjectBody, incoming, once_key
from lookalike.server.routes.picking import PickedObject, PickingBody, picked
from lookalike.server.routes.tasks import object_task_id, wait_for
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
        with here.workshop.store.read() as snapshot:
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
    with here.workshop.store.read() as snapshot:
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
    forget_objects(here.workshop, here.bucket(bucket).row.pk, [object_id])


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
