"""Document routes: list with filters, read, change and delete. A label is a metadata change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Response
from pydantic import ConfigDict, Field
from sqlalchemy import select

from lookalike.catalog.aggregation import distribution
from lookalike.catalog.field_values import DocumentValues
from lookalike.catalog.filters import (
    Condition,
    Filter,
    Operator,
    check_field,
    every,
    kind_of,
    parse,
)
from lookalike.catalog.pages import Page, Selecting, Sort
from lookalike.catalog.reader import Reader, fields_of, ids_of, pks_of
from lookalike.catalog.resources import CollectionRow, Kind, resource
from lookalike.errors import BadInput, Stale
from lookalike.model import Document
from lookalike.server.context import AsOf, Context, Here
from lookalike.server.listing import Search, searched
from lookalike.server.replies import (
    DocumentBlob,
    DocumentReply,
    changed_reply,
    document_reply,
    filters_in,
    sort_in,
)
from lookalike.server.shapes import (
    MAX_PAGE,
    Body,
    Deleted,
    IdempotencyKey,
    IfMatch,
    JsonRoute,
    ListBody,
    OpenBody,
    Paged,
    Pages,
    Pagination,
    Presigned,
    Reply,
    whole_number,
)
from lookalike.stores import schema
from lookalike.stores.base import Snapshot

# --- field selection and grouping ----------------------------------------------------------------

MAX_FIELDS = 100
_Whole = TypeVar("_Whole", bound=Reply)
_Part = TypeVar("_Part", bound=Reply)


class PickingBody(ListBody):
    """A list body that can name the fields to return, in `select`; by default all."""

    select: list[str] | None = Field(default=None, max_length=MAX_FIELDS)


class GroupedBy(Body):
    """The field by which to group documents."""

    field: str


class DocumentListBody(PickingBody):
    """The body of a list of documents; with `group_by` the reply has groups."""

    group_by: str | GroupedBy | None = None

    @property
    def grouped_by(self) -> str | None:
        """Return the name of the field to group by."""
        return self.group_by.field if isinstance(self.group_by, GroupedBy) else self.group_by


class PickedDocument(Reply):
    """The selected fields of a document."""

    model_config = ConfigDict(extra="allow")
    document_id: str
    collection_id: str


class PickedObject(Reply):
    """The selected fields of an object."""

    model_config = ConfigDict(extra="allow")
    object_id: str
    bucket_id: str


def picked(
    replies: list[_Whole], fields: Sequence[str] | None, part: type[_Part]
) -> list[_Whole] | list[_Part]:
    """Return replies, or of each one the `part` with some fields, given as dotted paths.

    A name that is no field of the reply itself is looked up in its metadata, or left out.
    """
    if fields is None:
        return replies
    paths = [check_field(name).split(".") for name in (*part.model_fields, *fields)]
    parts = []
    for reply in replies:
        whole = reply.model_dump(mode="json")
        values: dict[str, Any] = {}
        for path in paths:
            _copy(whole, values, path if path[0] in whole else ["metadata", *path])
        parts.append(part(**values))
    return parts


def needs_matches(fields: Sequence[str]) -> bool:
    """Return whether one of the fields of a document holds the nearest references."""
    paths = [name.split(".") for name in fields]
    return any(
        path[0] == "taxonomy_match"
        or (path[0] == "labels" and (len(path) < 3 or path[2] == "match"))
        for path in paths
    )


def groups_of(selecting: Selecting, field: str, tree: Filter) -> list[tuple[Any, Filter, int]]:
    """Return each value of a field with the filter for its group and the group's size.

    The largest group comes first. Raises BadInput for a field with lists or objects as values.
    """
    groups = []
    for value, count in distribution(selecting, check_field(field), tree):
        if value is not None and kind_of(value) is None:
            raise BadInput(f"{field!r} has lists or objects as values; group by another field")
        groups.append((value, every([tree, Condition(field, Operator.EQ, value)]), count))
    return groups


def rows_per_group(groups: int) -> int:
    """Return how many rows of each group a page shows, so that the page stays bounded."""
    return max(1, MAX_PAGE // max(1, groups))


def _copy(source: Mapping[str, Any], target: dict[str, Any], path: Sequence[str]) -> None:
    first, rest = path[0], path[1:]
    if first not in source:
        return
    if not rest:
        target[first] = source[first]
    elif isinstance(source[first], Mapping):
        _copy(source[first], target.setdefault(first, {}), rest)


# -------------------------------------------------------------------------------------------------

router = APIRouter(
    prefix="/v1/collections/{collection}/documents", tags=["documents"], route_class=JsonRoute
)


class DocumentGroup(Reply):
    """Documents with the same value in a field: the first of them, and the count of all."""

    group_key: Any
    count: int
    documents: list[DocumentReply] | list[PickedDocument]


class Documents(Reply):
    """A page of documents; the count is null above 10,000 unless `include_total` is set.

    With `group_by` the page has `groups` instead of `results`, the largest first.
    """

    results: list[DocumentReply] | list[PickedDocument]
    groups: list[DocumentGroup] | None = None
    group_by_field: str | None = None
    total_count: int | None
    total_documents: int | None
    pagination: Pagination


class DocumentChange(OpenBody):
    """New values of metadata; in a label field a person's label, or null to take it back."""


class WaitingReply(Reply):
    """A document that waits for an answer, without its labels and decisions."""

    document_id: str
    object_id: str
    part: str
    file_name: str
    document_blobs: list[DocumentBlob]
    thumbnail_url: str | None


@router.post("/list")
def list_documents(
    collection: str,
    here: AsOf,
    paged: Pages,
    body: DocumentListBody | None = None,
    filters: str | None = None,
    search: Search = None,
    sort_by: str | None = None,
    sort: str | None = None,
    return_presigned_urls: Presigned = False,
) -> Documents:
    """List documents that fit filters, sorted; changes in between do not shift the next pages.

    `as_of` lists them as they were at a version, an operation, an event or a time. `search` finds
    a text in ids, file names, labels and the metadata that the schema names.
    """
    body = body or DocumentListBody()
    tree, order = parse(filters_in(filters, body)), sort_in(sort_by or sort, body)
    page, signed = paged.of(body), return_presigned_urls or body.return_presigned_urls
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, collection)
        tree = every([tree, searched(_texts(snapshot, row), body, search)])
        selecting = selecting_in(snapshot, row)
        total = selecting.count(tree, at_most=page.count_at_most)

        def read(pks: Sequence[int]) -> list[DocumentReply] | list[PickedDocument]:
            matches = body.select is None or needs_matches(body.select)
            found = document_replies(here, snapshot, row, pks, signed=signed, matches=matches)
            return picked(found, body.select, PickedDocument)

        if body.grouped_by is not None:
            return _in_groups(selecting, body.grouped_by, tree, order, page, total, read)
        found = page_of(selecting, tree, order, page)
        results = read(found.pks)
    return Documents(
        results=results,
        total_count=total,
        total_documents=total,
        pagination=page.pagination(found.next_cursor, total),
    )


@router.get("")
def list_documents_get(
    collection: str,
    here: AsOf,
    paged: Pages,
    filters: Annotated[str | None, Query(description="filters as JSON")] = None,
    search: Search = None,
    sort_by: Annotated[str | None, Query(description="a field, or -field for the reverse")] = None,
    sort: str | None = None,
    return_presigned_urls: Presigned = False,
) -> Documents:
    """List documents that fit filters, sorted; changes in between do not shift the next pages."""
    return list_documents(
        collection, here, paged, None, filters, search, sort_by, sort, return_presigned_urls
    )


@router.get("/{document}")
def get_document(
    collection: str,
    document: str,
    here: AsOf,
    response: Response,
    return_presigned_urls: Presigned = False,
) -> DocumentReply:
    """Return a document. Its ETag is its revision."""
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, collection)
        pk = pks_of(snapshot, row, [document])[document]
        found = document_replies(here, snapshot, row, [pk], signed=return_presigned_urls)[0]
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
    """Change the metadata of a document. A value of a label field is a person's label.

    The same transaction updates every decision that depends on it; `changed` lists the changes.
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
    """Erase a document with its object, labels, vectors and copies. This cannot be undone."""
    receipt = here.collection(collection).forget([document])
    return Deleted(message=f"erased {receipt.documents} documents and {receipt.labels} labels")


def document_replies(
    here: Context,
    snapshot: Snapshot,
    row: CollectionRow,
    pks: Sequence[int],
    *,
    signed: bool = False,
    matches: bool = True,
) -> list[DocumentReply]:
    """Return documents as JSON, in the order of `pks`; see `Reader` for `matches`."""
    reader = Reader(snapshot, here.runtime.book, fields_of(snapshot, row.pk), matches)
    found = list(reader.documents_by_pk(row.name, list(pks)))
    buckets = buckets_of(snapshot, row, found)
    return [document_reply(here, buckets[one.id], one, signed=signed) for one in found]


def buckets_of(snapshot: Snapshot, row: CollectionRow, found: Sequence[Document]) -> dict[str, str]:
    """Return the name of the bucket that each document comes from, by document id."""
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
    """Return the fields of a collection's documents, for filters and sorting."""
    return DocumentValues(row.pk, Kind.COLLECTION.prefix + row.name, fields_of(snapshot, row.pk))


def selecting_in(snapshot: Snapshot, row: CollectionRow) -> Selecting:
    """Return the selection of a collection's documents, to which filters are applied."""
    return Selecting(snapshot, values_in(snapshot, row))


def page_of(selecting: Selecting, tree: Filter, order: Sort, page: Paged) -> Page:
    """Return the rows of a page, after its cursor or from its start."""
    size, start = page.size or 1, page.start
    if page.cursor or not start:
        return selecting.page(tree, order, limit=size, cursor=page.cursor)
    return selecting.page_at(start, tree, order, limit=size)


def ids_fitting(snapshot: Snapshot, row: CollectionRow, filters: Any, at_most: int) -> list[str]:
    """Return the ids of the documents that fit filters. Raises BadInput for too many."""
    chunks = selecting_in(snapshot, row).pks(parse(filters), limit=at_most + 1)
    pks = [pk for chunk in chunks for pk in chunk]
    if len(pks) > at_most:
        raise BadInput(f"more than {at_most} documents fit: narrow the filters")
    return list(ids_of(snapshot, pks).values())


def _in_groups(
    selecting: Selecting,
    field: str,
    tree: Filter,
    order: Sort,
    page: Paged,
    total: int | None,
    read: Callable[[Sequence[int]], list[DocumentReply] | list[PickedDocument]],
) -> Documents:
    numbered = list(enumerate(groups_of(selecting, field, tree)))
    rows, pagination = page.of_list(numbered, lambda one: one[0])
    limit = rows_per_group(len(rows))
    groups = [
        DocumentGroup(
            group_key=value,
            count=count,
            documents=read(selecting.page(group, order, limit=limit).pks),
        )
        for _, (value, group, count) in rows
    ]
    return Documents(
        results=[],
        groups=groups,
        group_by_field=field,
        total_count=total,
        total_documents=total,
        pagination=pagination,
    )


def _texts(snapshot: Snapshot, row: CollectionRow) -> list[str]:
    """Return the fields that `search` looks in."""
    names = ["document_id", "object_id", "file_name"]
    names += [one.name for one in fields_of(snapshot, row.pk)]
    if row.passthrough is not None:
        names += row.passthrough
    else:
        names += [
            name
            for pk in row.bucket_pks
            for name in resource(snapshot, pk).spec.get("properties") or {}
        ]
    return list(dict.fromkeys(names))


def _revision(if_match: str) -> int:
    given = whole_number(if_match.strip().removeprefix("W/").strip('"'))
    if not given:
        raise Stale(f"If-Match is {if_match[:80]!r}: send the ETag that a GET returned")
    return given


def waiting_replies(here: Context, collection: str, ids: Sequence[str]) -> list[WaitingReply]:
    """Return documents in the order of `ids`, without their labels and decisions."""
    table = schema.document
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, collection)
        query = select(table.c.pk, table.c.id).where(table.c.collection_pk == row.pk)
        pks = {one.id: one.pk for one in snapshot.rows(query.where(table.c.id.in_(ids)))}
        existing = [pks[id] for id in ids if id in pks]
        found = document_replies(here, snapshot, row, existing, matches=False)
        return [WaitingReply.of(one) for one in found]
