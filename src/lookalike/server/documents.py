"""Documents over HTTP: lists by filters, single ones, and labels as changes of metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field
from sqlalchemy import select

from lookalike.collection import Collection
from lookalike.document_values import DocumentValues
from lookalike.errors import BadInput, NotFound, Stale
from lookalike.filters import parse
from lookalike.lookup import pks_of
from lookalike.model import Document
from lookalike.reading import Reader, fields_of
from lookalike.resources import CollectionRow, Kind, resource
from lookalike.selecting import Selecting
from lookalike.server.context import Asked, Here
from lookalike.server.shapes import (
    Body,
    Deleted,
    IdempotencyKey,
    IfMatch,
    JsonRoute,
    ListBody,
    OpenBody,
    Pages,
    Pagination,
    Presigned,
    Reply,
)
from lookalike.server.wire import (
    DocumentReply,
    changed_reply,
    document_reply,
    filters_in,
    sort_in,
)
from lookalike.stores import schema
from lookalike.stores.base import Snapshot

router = APIRouter(
    prefix="/v1/collections/{collection}/documents", tags=["documents"], route_class=JsonRoute
)

MAX_CHANGES = 10_000


class Documents(Reply):
    """A page of documents; the count is null beyond 10,000, unless `include_total` asks for it."""

    results: list[DocumentReply]
    total_count: int | None
    total_documents: int | None
    pagination: Pagination


class DocumentChange(OpenBody):
    """Metadata to be changed; in a label field a person's label, or null to take it back."""


class OneChange(Body):
    """A document of many, and what shall change; `label` is that of the first label field."""

    document_id: str
    update_data: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    base_revision: int | None = None

    def changes(self) -> dict[str, Any]:
        """Return what shall change, wherever it is said."""
        given = dict(self.update_data or {})
        inner = given.pop("metadata", None) or {}
        if not isinstance(inner, Mapping):
            raise BadInput(f"the metadata of {self.document_id!r} are no object")
        return {**given, **inner, **(self.metadata or {})}


class Changes(Body):
    """Changes of documents: each by its id, or the same `update_data` for all of a filter."""

    updates: list[OneChange] | None = Field(default=None, max_length=MAX_CHANGES)
    filters: Any = None
    update_data: dict[str, Any] | None = None


class ChangeResult(Reply):
    """What became of one change."""

    document_id: str
    success: bool
    error: str | None = None


class ChangesReply(Reply):
    """What became of changes; they are one operation, which can be undone."""

    updated_count: int
    failed_count: int
    results: list[ChangeResult]
    changed: dict[str, Any]


@router.post("/list")
def list_documents(
    collection: str,
    here: Here,
    paged: Pages,
    body: ListBody | None = None,
    filters: str | None = None,
    sort_by: str | None = None,
    sort: str | None = None,
    return_presigned_urls: Presigned = False,
) -> Documents:
    """List documents: by filters, sorted, in pages that stay in order whatever changes."""
    tree, order = parse(filters_in(filters, body)), sort_in(sort_by or sort, body)
    page = paged.of(body)
    signed = return_presigned_urls or bool(body and body.return_presigned_urls)
    with here.workshop.store.read() as snapshot:
        row = here.row(snapshot, collection)
        selecting = selecting_in(snapshot, row)
        size, start = page.size or 1, page.start
        if page.cursor or not start:
            found = selecting.page(tree, order, limit=size, cursor=page.cursor)
        else:
            found = selecting.page_at(start, tree, order, limit=size)
        total = selecting.count(tree, at_most=page.count_at_most)
        results = shown(here, snapshot, row, found.pks, signed=signed)
    return Documents(
        results=results,
        total_count=total,
        total_documents=total,
        pagination=page.pagination(found.next_cursor, total),
    )


@router.get("")
def list_documents_get(
    collection: str,
    here: Here,
    paged: Pages,
    filters: Annotated[str | None, Query(description="filters as JSON")] = None,
    sort_by: Annotated[str | None, Query(description="a field, or -field for the reverse")] = None,
    sort: str | None = None,
    return_presigned_urls: Presigned = False,
) -> Documents:
    """List documents: by filters, sorted, in pages that stay in order whatever changes."""
    return list_documents(
        collection, here, paged, None, filters, sort_by, sort, return_presigned_urls
    )


@router.post("/batch")
def change_documents(
    collection: str, body: Changes, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangesReply:
    """Change metadata of many documents in one operation; in label fields they are labels."""
    verbs = here.collection(collection)
    updates, failed = _updates(here, verbs, body)
    revisions = {
        one.document_id: one.base_revision
        for one in body.updates or ()
        if one.base_revision is not None
    }
    changed = verbs.amend(updates, op_id=idempotency_key, revisions=revisions)
    results = [ChangeResult(document_id=id, success=True) for id in updates]
    results += [
        ChangeResult(document_id=id, success=False, error=why) for id, why in failed.items()
    ]
    return ChangesReply(
        updated_count=len(updates),
        failed_count=len(failed),
        results=results,
        changed=changed_reply(changed),
    )


@router.get("/{document}")
def get_document(
    collection: str,
    document: str,
    here: Here,
    response: Response,
    return_presigned_urls: Presigned = False,
) -> DocumentReply:
    """Return a document. Its ETag is its revision."""
    with here.workshop.store.read() as snapshot:
        row = here.row(snapshot, collection)
        pk = pks_of(snapshot, row, [document])[document]
        found = shown(here, snapshot, row, [pk], signed=return_presigned_urls)[0]
    response.headers["etag"] = f'"{found.revision}"'
    return found


@router.patch("/{document}")
@router.put("/{document}")
def change_document(
    collection: str,
    document: str,
    body: DocumentChange,
    here: Here,
    response: Response,
    if_match: IfMatch = "",
    idempotency_key: IdempotencyKey = "",
) -> DocumentReply:
    """Change metadata of a document. In a label field it is a person's label, on it alone.

    Every decision that this changes is made in the same transaction; `changed` tells what.
    """
    revisions = {} if if_match in ("", "*") else {document: _revision(if_match)}
    changed = here.collection(collection).amend(
        {document: body.all_metadata()}, op_id=idempotency_key, revisions=revisions
    )
    reply = get_document(collection, document, here, response)
    reply.changed = changed_reply(changed)
    return reply


@router.delete("/{document}")
def delete_document(collection: str, document: str, here: Here) -> Deleted:
    """Erase a document with its object, labels, vectors and copies, for good."""
    receipt = here.collection(collection).forget([document])
    return Deleted(message=f"erased {receipt.documents} documents and {receipt.labels} labels")


def shown(
    here: Asked,
    snapshot: Snapshot,
    row: CollectionRow,
    pks: Sequence[int],
    *,
    signed: bool = False,
) -> list[DocumentReply]:
    """Return documents as they are shown, in the order of `pks`."""
    reader = Reader(snapshot, here.workshop.book, fields_of(snapshot, row.pk))
    found = list(reader.documents_by_pk(row.name, list(pks)))
    buckets = buckets_of(snapshot, row, found)
    return [document_reply(here, buckets[one.id], one, signed=signed) for one in found]


def buckets_of(snapshot: Snapshot, row: CollectionRow, found: Sequence[Document]) -> dict[str, str]:
    """Return the name of the bucket that each document has come from, by its id."""
    names = {pk: str(resource(snapshot, pk).name) for pk in row.bucket_pks}
    if len(names) == 1:
        return dict.fromkeys((one.id for one in found), names[row.bucket_pk])
    document, object_ = schema.document, schema.object_
    query = (
        select(document.c.id, object_.c.bucket_pk)
        .join(object_, object_.c.pk == document.c.object_pk)
        .where(document.c.collection_pk == row.pk)
    )
    chosen = document.c.id.in_([one.id for one in found])
    return {one.id: names[one.bucket_pk] for one in snapshot.rows(query.where(chosen))}


def values_in(snapshot: Snapshot, row: CollectionRow) -> DocumentValues:
    """Return what the names of fields mean in a collection."""
    return DocumentValues(row.pk, Kind.COLLECTION.prefix + row.name, fields_of(snapshot, row.pk))


def selecting_in(snapshot: Snapshot, row: CollectionRow) -> Selecting:
    """Return what selects documents of a collection."""
    return Selecting(snapshot, values_in(snapshot, row))


def _updates(
    here: Asked, verbs: Collection, body: Changes
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Return what shall change by document id, and why the rest cannot."""
    if (body.updates is None) == (body.update_data is None):
        raise BadInput("give updates, or update_data with filters")
    with here.workshop.store.read() as snapshot:
        row = here.row(snapshot, verbs.name)
        if body.updates is None:
            change = OneChange(document_id="", update_data=body.update_data).changes()
            chunks = selecting_in(snapshot, row).pks(parse(body.filters), limit=MAX_CHANGES + 1)
            pks = [pk for chunk in chunks for pk in chunk]
            if len(pks) > MAX_CHANGES:
                raise BadInput(f"more than {MAX_CHANGES} documents fit: narrow the filters")
            found = shown(here, snapshot, row, pks)
            return {one.document_id: change for one in found}, {}
        updates, failed = {}, {}
        for one in body.updates:
            try:
                pks_of(snapshot, row, [one.document_id])
                updates[one.document_id] = one.changes()
            except NotFound as error:
                failed[one.document_id] = str(error)
        return updates, failed


def _revision(if_match: str) -> int:
    text = if_match.strip().removeprefix("W/").strip('"')
    if not text.isdigit():
        raise Stale(f"If-Match is {if_match[:80]!r}: give the ETag that a GET answered")
    return int(text)
