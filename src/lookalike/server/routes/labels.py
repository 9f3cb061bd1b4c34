"""Labels over HTTP: answers of a person, why a label is what it is, history and undo."""

from __future__ import annotations

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
from lookalike.catalog.resources import Kind, collection_from
from lookalike.errors import BadInput, Conflict, NotFound
from lookalike.library.collection.collection import Collection
from lookalike.library.collection.explanations import Why
from lookalike.library.collection.history import Redecided
from lookalike.library.versions import Comparison, Version
from lookalike.model import Changed, Operation, Opinion, Origin
from lookalike.server.context import Asked, Here
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
    """What a person says of one document; null takes back what was said."""

    document_id: str
    label: str | None
    base_revision: int | None = Field(
        default=None,
        description="the revision that was seen; refused where another person said something else "
        "since then",
    )


class Labels(Body):
    """What a person says of documents, in one operation: each by its id, or all of a filter."""

    updates: list[LabelUpdate] | None = Field(default=None, min_length=1, max_length=MAX_ANSWERS)
    filters: Any = Field(default=None, description="the documents that get `label`, by no ids")
    label: str | None = None
    field: str | None = None
    asked: bool = Field(default=False, description="whether the queue had asked")
    new_labels: bool = Field(default=False, description="whether a closed set gets new labels")
    op_id: str = ""


class Rejection(Body):
    """What a document is not; without a label, the one that it shows."""

    document_id: str
    label: str | None = None


class Rejections(Body):
    """What one document is not, or several are not."""

    document_id: str | None = None
    label: str | None = None
    rejections: list[Rejection] | None = Field(default=None, max_length=MAX_ANSWERS)
    filters: Any = Field(default=None, description="the documents that are not `label`, by no ids")
    field: str | None = None
    op_id: str = ""


class Answers(Body):
    """Documents, by their ids or by filters, of which a person says something that is no label."""

    document_ids: list[str] | None = Field(default=None, min_length=1, max_length=MAX_ANSWERS)
    filters: Any = None
    field: str | None = None
    asked: bool = False
    op_id: str = ""


class Promotions(Body):
    """What shall vote from now on: documents by id, or what filters and a confidence choose."""

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
    """Rows with labels from elsewhere, which name documents by id, sha256 or file_name."""

    rows: list[dict[str, Any]] = Field(min_length=1, max_length=MAX_ANSWERS)
    field: str | None = None
    label_column: str = "label"
    origin: Origin = Field(default=Origin.IMPORT, strict=False)
    trusted: bool = True
    asked: bool = Field(default=False, description="whether it is a check sheet given back")


class OperationsReply(Reply):
    """Operations, the newest first."""

    results: list[Operation]


class EventReply(Reply):
    """One line of the ledger."""

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
    """Every event of a document, the oldest first."""

    results: list[EventReply]


class OpinionsReply(Reply):
    """Each person's latest answer about a document, the earliest first."""

    results: list[Opinion]


@router.post("/collections/{collection}/labels")
def label(
    collection: str, body: Labels, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """Label documents, as a person. All decisions that this changes are made in one transaction."""
    verbs, updates = here.collection(collection), body.updates
    op_id = body.op_id or idempotency_key
    if (updates is None) == (body.filters is None):
        raise BadInput("say which documents: by updates, or by filters and a label")
    seen = {
        one.document_id: one.base_revision for one in updates or () if one.base_revision is not None
    }

    def say(said: Mapping[str, str | None]) -> Changed:
        return verbs.label(
            said,
            field=body.field,
            asked=body.asked,
            new_labels=body.new_labels,
            op_id=op_id,
            revisions=seen,
        )

    if updates is not None:
        return operation_reply(say({one.document_id: one.label for one in updates}))

    def say_all() -> Changed:
        return say(dict.fromkeys(_fitting(here, verbs, body.filters), body.label))

    return operation_reply(_once(here, verbs, op_id, say_all))


@router.post("/collections/{collection}/labels/import")
def import_labels(
    collection: str, body: LabelImport, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """Take labels from elsewhere. A person's label is never overwritten."""
    changed = here.collection(collection).import_labels(
        body.rows,
        field=body.field,
        label_column=body.label_column,
        origin=body.origin,
        trusted=body.trusted,
        asked=body.asked,
        op_id=idempotency_key,
    )
    return operation_reply(changed)


@router.post("/collections/{collection}/rejections")
def reject(
    collection: str, body: Rejections, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """Say "not this": the label is not proposed again for that document by any later run."""
    given = {one.document_id: one.label for one in body.rejections or ()}
    if body.document_id is not None:
        given[body.document_id] = body.label
    verbs, op_id = here.collection(collection), body.op_id or idempotency_key

    def say(of: Mapping[str, str | None]) -> Changed:
        return verbs.reject(of, field=body.field, op_id=op_id)

    if given:
        return operation_reply(say(given))
    if body.filters is None:
        raise BadInput("say which document: document_id, rejections, or filters")

    def say_all() -> Changed:
        return say(dict.fromkeys(_fitting(here, verbs, body.filters), body.label))

    return operation_reply(_once(here, verbs, op_id, say_all))


@router.post("/collections/{collection}/rejections/new-kind")
def new_kind(
    collection: str, body: Answers, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """Say that documents belong to none of the labels there are."""
    verbs = here.collection(collection)
    return operation_reply(_answer(here, verbs, verbs.new_kind, body, idempotency_key))


@router.post("/collections/{collection}/rejections/cannot-tell")
def cannot_tell(
    collection: str, body: Answers, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """Say that a person cannot tell what documents are: the queue asks no more about them."""
    verbs = here.collection(collection)
    return operation_reply(_answer(here, verbs, verbs.cannot_tell, body, idempotency_key))


@router.post("/collections/{collection}/promotions")
def promote(
    collection: str, body: Promotions, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """Let documents vote that labelled themselves; `refused` says which stayed out, and why.

    With `preview` the answer is the same, without an `operation_id`, and nothing is written.
    """
    verbs, op_id = here.collection(collection), body.op_id or idempotency_key

    def say(ids: list[str] | None) -> Changed:
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
        return operation_reply(say(body.document_ids))
    return operation_reply(_once(here, verbs, op_id, lambda: say(_surest(here, verbs, body))))


@router.post("/operations/{operation}/undo")
def undo(operation: str, here: Here, idempotency_key: IdempotencyKey = "") -> ChangedReply:
    """Take back an operation, and with it everything that labelled itself because of it."""
    table = schema.operation
    with here.runtime.store.read() as snapshot:
        rows = snapshot.rows(select(table.c.collection_pk).where(table.c.id == operation))
        home = next(iter(_homes(here, rows)), None)
    if home is None:
        raise NotFound(f"there is no operation {operation!r} here; see a collection's operations")
    return operation_reply(here.collection(home).undo(operation, op_id=idempotency_key))


@router.get("/collections/{collection}/operations")
def operations(collection: str, here: Here, limit: int = 100) -> OperationsReply:
    """Return the latest operations of a collection, the newest first."""
    found = here.collection(collection).operations(limit=max(1, min(limit, 1000)))
    return OperationsReply(results=found)


@router.get("/collections/{collection}/documents/{document}/why")
def why(collection: str, document: str, here: Here, field: str | None = None) -> Why:
    """Return what caused a label or null: witnesses, causes, and what were without the main one."""
    found = here.collection(collection).why(document, field=field)
    template = blob_url_template(here, collection)
    return replace(found, document=with_blob_urls(found.document, template))


@router.get("/collections/{collection}/documents/{document}/opinions")
def opinions(collection: str, document: str, here: Here, field: str | None = None) -> OpinionsReply:
    """Return each person's latest answer about a document, the earliest first."""
    return OpinionsReply(results=list(here.collection(collection).opinions(document, field=field)))


@router.get("/collections/{collection}/documents/{document}/history")
def history(collection: str, document: str, here: Here) -> HistoryReply:
    """Return every event of a document, the oldest first."""
    found = here.collection(collection).history(document)
    return HistoryReply(
        results=[
            EventReply(
                seq=one.seq,
                operation=one.operation,
                kind=one.kind,
                field=one.field,
                label=one.label,
                origin=one.origin,
                actor=one.actor,
                at=one.at,
                detail=dict(one.detail),
            )
            for one in found
        ]
    )


def _homes(here: Asked, rows: Any) -> list[str]:
    """Return the names of collections of this namespace, by rows with their pks."""
    table = schema.resource
    pks = [row.collection_pk for row in rows]
    query = select(table).where(table.c.pk.in_(pks), table.c.namespace == here.namespace)
    with here.runtime.store.read() as snapshot:
        return [
            collection_from(row).name for row in snapshot.rows(query) if row.kind == Kind.COLLECTION
        ]


def _answer(
    here: Asked,
    verbs: Collection,
    answer: Callable[..., Changed],
    body: Answers,
    idempotency_key: str,
) -> Changed:
    """Say what is no label of the documents that a body names, or that its filters choose."""
    if (body.document_ids is None) == (body.filters is None):
        raise BadInput("say which documents: by document_ids, or by filters")
    op_id = body.op_id or idempotency_key

    def say(ids: list[str]) -> Changed:
        return answer(ids, field=body.field, asked=body.asked, op_id=op_id)

    if body.document_ids is not None:
        return say(body.document_ids)
    return _once(here, verbs, op_id, lambda: say(_fitting(here, verbs, body.filters)))


def _once(here: Asked, verbs: Collection, op_id: str, say: Callable[[], Changed]) -> Changed:
    """Say something of what filters choose; what was said under that name is answered again.

    By then other documents fit, so that the request looks like another one.
    """
    try:
        return _done(here, verbs, op_id) or say()
    except Conflict:
        done = _done(here, verbs, op_id)  # the same request, sent twice at once
        if done is None:
            raise
        return done


def _done(here: Asked, verbs: Collection, op_id: str) -> Changed | None:
    table = schema.operation
    with here.runtime.store.read() as snapshot:
        home = here.row(snapshot, verbs.name).pk
        query = select(table).where(table.c.id == op_id, table.c.collection_pk == home)
        return next((changed_of(row) for row in snapshot.rows(query)), None)


def _fitting(here: Asked, verbs: Collection, filters: Any) -> list[str]:
    """Return the documents that filters choose. Raises BadInput for none, and for too many."""
    with here.runtime.store.read() as snapshot:
        ids = ids_fitting(snapshot, here.row(snapshot, verbs.name), filters, MAX_ANSWERS)
    if not ids:
        raise BadInput("no document fits these filters, so nothing was said")
    return ids


def _surest(here: Asked, verbs: Collection, body: Promotions) -> list[str]:
    """Return the documents that filters choose, the surest of each label first."""
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, verbs.name)
        tree = parse(body.filters)
        found = [pk for chunk in selecting_in(snapshot, row).pks(tree) for pk in chunk]
        ids = list(ids_of(snapshot, found).values())
    shown = verbs.documents(ids=ids, origin=Origin.AUTO, order_by="-confidence", field=body.field)
    chosen: list[str] = []
    taken: dict[str | None, int] = {}
    for one in shown:
        if body.label not in (None, one.label) or (one.confidence or 0) < (
            body.min_confidence or 0
        ):
            continue
        taken[one.label] = taken.get(one.label, 0) + 1
        if body.limit_per_label is None or taken[one.label] <= body.limit_per_label:
            chosen.append(one.id)
    return chosen


# --- versions ------------------------------------------------------------------------------------

versions_router = APIRouter(
    prefix="/v1/collections/{collection}/versions", tags=["versions"], route_class=JsonRoute
)

_POINT = "a version, an operation, the number of an event, or a time"


class VersionToBe(Body):
    """A name for the point where a label field is now."""

    name: str
    note: str = ""
    field: str | None = None
    op_id: str = ""


class VersionsReply(Reply):
    """Versions, the newest first."""

    results: list[Version]


@versions_router.post("")
def keep(
    collection: str, body: VersionToBe, here: Here, idempotency_key: IdempotencyKey = ""
) -> Version:
    """Name the point where a label field is now; it can be asked for as of then, for ever."""
    op_id = body.op_id or idempotency_key
    verbs = here.collection(collection)
    return verbs.keep_version(body.name, note=body.note, field=body.field, op_id=op_id)


@versions_router.get("")
def listed(
    collection: str, here: Here, field: str | None = None, retired: bool = False
) -> VersionsReply:
    """Return the versions of a collection, the newest first; those that are retired on request."""
    found = here.collection(collection).versions(field=field, retired=retired)
    return VersionsReply(results=found)


@versions_router.get("/compare")
def compare(
    collection: str,
    here: Here,
    before: Annotated[str, Query(description=_POINT)],
    after: Annotated[str | None, Query(description=f"{_POINT}; now, where it is left away")] = None,
    field: str | None = None,
) -> Comparison:
    """Return how two points differ: labels, references, the machine's decisions, the policy."""
    return here.collection(collection).compare_versions(before, after, field=field)


@versions_router.get("/decide")
def decide(
    collection: str,
    here: Here,
    as_of: Annotated[str, Query(description=_POINT)],
    field: str | None = None,
) -> Redecided:
    """Return what the references and the policy of a point say of the documents of now."""
    return here.collection(collection).as_of(as_of).decide(field=field)


@versions_router.post("/{version}/retire")
def retire(
    collection: str, version: str, here: Here, idempotency_key: IdempotencyKey = ""
) -> Version:
    """Offer a version no more; who asks for it still gets what it gave, to the digit."""
    verbs = here.collection(collection)
    verbs.retire_version(version, op_id=idempotency_key)
    return next(one for one in verbs.versions(retired=True) if one.name == version)
