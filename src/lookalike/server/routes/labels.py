"""Label routes: a person's labels and rejections, promotion, undo, history and explanations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy import select

from lookalike.catalog.filters import parse
from lookalike.catalog.idempotency import changed_of
from lookalike.catalog.reader import ids_of
from lookalike.catalog.resources import Kind
from lookalike.errors import BadInput, Conflict, NotFound
from lookalike.library.collection.collection import Collection
from lookalike.library.collection.explanations import Why
from lookalike.library.collection.history import Redecided
from lookalike.library.versions import Comparison, Version
from lookalike.model import Changed, Operation, Opinion, Origin
from lookalike.server.context import Context, Here
from lookalike.server.replies import (
    ChangedReply,
    blob_url_template,
    operation_reply,
    with_blob_urls,
)
from lookalike.server.routes.documents import ids_fitting, selecting_in
from lookalike.server.shapes import Body, IdempotencyKey, JsonRoute, Reply
from lookalike.stores import schema

router = APIRouter(prefix="/v1", tags=["labels"], route_class=JsonRoute)

MAX_ANSWERS = 100_000


class LabelUpdate(Body):
    """A person's label of one document; null takes it back."""

    document_id: str
    label: str | None
    base_revision: int | None = Field(
        default=None,
        description="the revision you read; a conflict if another person has changed it since",
    )


class Labels(Body):
    """A person's labels of documents, in one operation: each by id, or one for all of a filter."""

    updates: list[LabelUpdate] | None = Field(default=None, min_length=1, max_length=MAX_ANSWERS)
    filters: Any = Field(default=None, description="the documents that get `label`")
    label: str | None = None
    field: str | None = None
    asked: bool = Field(default=False, description="whether these answer the queue's questions")
    new_labels: bool = Field(default=False, description="whether to add new labels to a closed set")
    op_id: str = ""


class Rejection(Body):
    """A label that is wrong for a document; by default its current label or suggestion."""

    document_id: str
    label: str | None = None


class Rejections(Body):
    """Wrong labels of one document, of several, or of all that fit filters."""

    document_id: str | None = None
    label: str | None = None
    rejections: list[Rejection] | None = Field(default=None, max_length=MAX_ANSWERS)
    filters: Any = Field(default=None, description="the documents for which `label` is wrong")
    field: str | None = None
    op_id: str = ""


class Answers(Body):
    """The documents of an answer that is no label, by ids or by filters."""

    document_ids: list[str] | None = Field(default=None, min_length=1, max_length=MAX_ANSWERS)
    filters: Any = None
    field: str | None = None
    asked: bool = False
    op_id: str = ""


class Promotions(Body):
    """The documents to use as references: by id, or by filters and a minimum confidence."""

    document_ids: list[str] | None = Field(default=None, max_length=MAX_ANSWERS)
    filters: Any = None
    label: str | None = None
    min_confidence: float | None = None
    limit_per_label: int | None = Field(default=None, ge=1)
    gated: bool = True
    audited_only: bool = False
    preview: bool = False
    field: str | None = None
    op_id: str = ""


class LabelImport(Body):
    """Rows with labels from another tool; a row names its document by id, sha256 or file_name."""

    rows: list[dict[str, Any]] = Field(min_length=1, max_length=MAX_ANSWERS)
    field: str | None = None
    label_column: str = "label"
    origin: Origin = Field(default=Origin.IMPORT, strict=False)
    trusted: bool = True
    asked: bool = Field(default=False, description="whether the rows are a completed check sheet")


class OperationsReply(Reply):
    """Operations, newest first."""

    results: list[Operation]


class EventReply(Reply):
    """One event of the ledger."""

    seq: int
    operation: str
    kind: str
    field: str | None
    label: str | None
    origin: str | None
    actor: str
    at: datetime
    detail: dict[str, Any]


class HistoryReply(Reply):
    """All events of a document, oldest first."""

    results: list[EventReply]


class OpinionsReply(Reply):
    """Each person's latest answer about a document, oldest first."""

    results: list[Opinion]


@router.post("/collections/{collection}/labels")
def label(
    collection: str, body: Labels, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """Label documents as a person. One transaction updates all decisions that depend on it."""
    verbs, updates = here.collection(collection), body.updates
    op_id = body.op_id or idempotency_key
    if (updates is None) == (body.filters is None):
        raise BadInput("name the documents by either updates, or filters and a label")
    revisions = {
        one.document_id: one.base_revision for one in updates or () if one.base_revision is not None
    }

    def write(labels: Mapping[str, str | None]) -> Changed:
        return verbs.label(
            labels,
            field=body.field,
            asked=body.asked,
            new_labels=body.new_labels,
            op_id=op_id,
            revisions=revisions,
        )

    if updates is not None:
        return operation_reply(write({one.document_id: one.label for one in updates}))

    def write_all() -> Changed:
        return write(dict.fromkeys(_fitting(here, verbs, body.filters), body.label))

    return operation_reply(_once(here, verbs, op_id, write_all))


@router.post("/collections/{collection}/labels/import")
def import_labels(
    collection: str, body: LabelImport, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """Import labels from another tool. An import never overwrites a person's label."""
    verbs = here.collection(collection)
    return operation_reply(verbs.import_labels(**body.arguments(idempotency_key)))


@router.post("/collections/{collection}/rejections")
def reject(
    collection: str, body: Rejections, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """Reject labels: no later run gives or suggests a rejected label for that document again."""
    given = {one.document_id: one.label for one in body.rejections or ()}
    if body.document_id is not None:
        given[body.document_id] = body.label
    verbs, op_id = here.collection(collection), body.op_id or idempotency_key

    def write(rejections: Mapping[str, str | None]) -> Changed:
        return verbs.reject(rejections, field=body.field, op_id=op_id)

    if given:
        return operation_reply(write(given))
    if body.filters is None:
        raise BadInput("name the documents by document_id, rejections or filters")

    def write_all() -> Changed:
        return write(dict.fromkeys(_fitting(here, verbs, body.filters), body.label))

    return operation_reply(_once(here, verbs, op_id, write_all))


@router.post("/collections/{collection}/rejections/new-kind")
def new_kind(
    collection: str, body: Answers, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """Answer that documents belong to a new category: none of the existing labels fits."""
    verbs = here.collection(collection)
    return operation_reply(_answer(here, verbs, verbs.new_kind, body, idempotency_key))


@router.post("/collections/{collection}/rejections/cannot-tell")
def cannot_tell(
    collection: str, body: Answers, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """Answer that a person cannot tell the label: the queue stops asking about these documents."""
    verbs = here.collection(collection)
    return operation_reply(_answer(here, verbs, verbs.cannot_tell, body, idempotency_key))


@router.post("/collections/{collection}/promotions")
def promote(
    collection: str, body: Promotions, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """Use automatically labelled documents as references; `refused` says which not, and why.

    With `preview` the reply is the same, without an `operation_id`, and nothing is written.
    """
    verbs, op_id = here.collection(collection), body.op_id or idempotency_key

    def write(ids: list[str] | None) -> Changed:
        return verbs.promote(
            ids,
            label=body.label,
            min_confidence=body.min_confidence,
            gated=body.gated,
            audited_only=body.audited_only,
            preview=body.preview,
            field=body.field,
            op_id=op_id,
        )

    if body.document_ids is not None or (body.filters is None and body.limit_per_label is None):
        return operation_reply(write(body.document_ids))
    return operation_reply(_once(here, verbs, op_id, lambda: write(_candidates(here, verbs, body))))


@router.post("/operations/{operation}/undo")
def undo(operation: str, here: Here, idempotency_key: IdempotencyKey = "") -> ChangedReply:
    """Undo an operation, and every automatic label that follows from it."""
    operations, resources = schema.operation, schema.resource
    query = (
        select(resources.c.name)
        .join(operations, operations.c.collection_pk == resources.c.pk)
        .where(operations.c.id == operation, resources.c.namespace == here.namespace)
        .where(resources.c.kind == Kind.COLLECTION)
    )
    with here.runtime.store.read() as snapshot:
        rows = snapshot.rows(query)
    if not rows:
        raise NotFound(f"there is no operation {operation!r}; see a collection's operations")
    return operation_reply(here.collection(rows[0].name).undo(operation, op_id=idempotency_key))


@router.get("/collections/{collection}/operations")
def operations(collection: str, here: Here, limit: int = 100) -> OperationsReply:
    """Return the latest operations of a collection, newest first."""
    found = here.collection(collection).operations(limit=max(1, min(limit, 1000)))
    return OperationsReply(results=found)


@router.get("/collections/{collection}/documents/{document}/why")
def why(collection: str, document: str, here: Here, field: str | None = None) -> Why:
    """Explain a label or null: its references, its causes, the decision without the main one."""
    found = here.collection(collection).why(document, field=field)
    template = blob_url_template(here, collection)
    return replace(found, document=with_blob_urls(found.document, template))


@router.get("/collections/{collection}/documents/{document}/opinions")
def opinions(collection: str, document: str, here: Here, field: str | None = None) -> OpinionsReply:
    """Return each person's latest answer about a document, oldest first."""
    return OpinionsReply(results=list(here.collection(collection).opinions(document, field=field)))


@router.get("/collections/{collection}/documents/{document}/history")
def history(collection: str, document: str, here: Here) -> HistoryReply:
    """Return all events of a document, oldest first."""
    events = here.collection(collection).history(document)
    return HistoryReply(results=[EventReply.of(one) for one in events])


def _answer(
    here: Context,
    verbs: Collection,
    answer: Callable[..., Changed],
    body: Answers,
    idempotency_key: str,
) -> Changed:
    """Write an answer that is no label, for the documents of a body."""
    if (body.document_ids is None) == (body.filters is None):
        raise BadInput("name the documents by either document_ids or filters")
    op_id = body.op_id or idempotency_key

    def write(ids: list[str]) -> Changed:
        return answer(ids, field=body.field, asked=body.asked, op_id=op_id)

    if body.document_ids is not None:
        return write(body.document_ids)
    return _once(here, verbs, op_id, lambda: write(_fitting(here, verbs, body.filters)))


def _once(here: Context, verbs: Collection, op_id: str, write: Callable[[], Changed]) -> Changed:
    """Write for the documents that fit filters, or return the result of the operation `op_id`.

    A repeated request must not select again: other documents may fit the filters by then.
    """
    try:
        return _done(here, verbs, op_id) or write()
    except Conflict:
        done = _done(here, verbs, op_id)  # two equal requests at the same time
        if done is None:
            raise
        return done


def _done(here: Context, verbs: Collection, op_id: str) -> Changed | None:
    table = schema.operation
    with here.runtime.store.read() as snapshot:
        home = here.row(snapshot, verbs.name).pk
        query = select(table).where(table.c.id == op_id, table.c.collection_pk == home)
        return next((changed_of(row) for row in snapshot.rows(query)), None)


def _fitting(here: Context, verbs: Collection, filters: Any) -> list[str]:
    """Return the documents that fit filters. Raises BadInput for none, and for too many."""
    with here.runtime.store.read() as snapshot:
        ids = ids_fitting(snapshot, here.row(snapshot, verbs.name), filters, MAX_ANSWERS)
    if not ids:
        raise BadInput("no document fits these filters; nothing was changed")
    return ids


def _candidates(here: Context, verbs: Collection, body: Promotions) -> list[str]:
    """Return the documents to promote, up to `limit_per_label` with the highest confidence."""
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, verbs.name)
        tree = parse(body.filters)
        found = [pk for chunk in selecting_in(snapshot, row).pks(tree) for pk in chunk]
        ids = list(ids_of(snapshot, found).values())
    documents = verbs.documents(
        ids=ids, origin=Origin.AUTO, order_by="-confidence", field=body.field
    )
    candidates: list[str] = []
    per_label: Counter[str | None] = Counter()
    for one in documents:
        is_sure = (one.confidence or 0) >= (body.min_confidence or 0)
        if body.label in (None, one.label) and is_sure:
            per_label[one.label] += 1
            if body.limit_per_label is None or per_label[one.label] <= body.limit_per_label:
                candidates.append(one.id)
    return candidates


# --- versions ------------------------------------------------------------------------------------

versions_router = APIRouter(
    prefix="/v1/collections/{collection}/versions", tags=["versions"], route_class=JsonRoute
)

_POINT = "a version, an operation, the number of an event, or a time"


class VersionToBe(Body):
    """A name for the current point of a label field's history."""

    name: str
    note: str = ""
    field: str | None = None
    op_id: str = ""


class VersionsReply(Reply):
    """Versions, newest first."""

    results: list[Version]


@versions_router.post("")
def keep(
    collection: str, body: VersionToBe, here: Here, idempotency_key: IdempotencyKey = ""
) -> Version:
    """Name the current point of a label field's history; reads `as_of` it stay possible."""
    return here.collection(collection).keep_version(**body.arguments(idempotency_key))


@versions_router.get("")
def listed(
    collection: str, here: Here, field: str | None = None, retired: bool = False
) -> VersionsReply:
    """Return the versions of a collection, newest first; `retired` includes retired ones."""
    found = here.collection(collection).versions(field=field, retired=retired)
    return VersionsReply(results=found)


@versions_router.get("/compare")
def compare(
    collection: str,
    here: Here,
    before: Annotated[str, Query(description=_POINT)],
    after: Annotated[str | None, Query(description=f"{_POINT}; by default now")] = None,
    field: str | None = None,
) -> Comparison:
    """Compare two points: labels, references, automatic decisions and the policy."""
    return here.collection(collection).compare_versions(before, after, field=field)


@versions_router.get("/decide")
def decide(
    collection: str,
    here: Here,
    as_of: Annotated[str, Query(description=_POINT)],
    field: str | None = None,
) -> Redecided:
    """Decide the current documents with the references and the policy of an earlier point."""
    return here.collection(collection).as_of(as_of).decide(field=field)


@versions_router.post("/{version}/retire")
def retire(
    collection: str, version: str, here: Here, idempotency_key: IdempotencyKey = ""
) -> Version:
    """Retire a version: lists leave it out, but reads `as_of` it still return the same."""
    verbs = here.collection(collection)
    verbs.retire_version(version, op_id=idempotency_key)
    return next(one for one in verbs.versions(retired=True) if one.name == version)
