"""Batch routes of documents: change many in one operation, or erase them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from fastapi import APIRouter
from pydantic import Field

from lookalike.catalog.filters import EVERYTHING, parse
from lookalike.catalog.reader import pks_of
from lookalike.catalog.resources import CollectionRow
from lookalike.errors import BadInput, NotFound
from lookalike.library.collection.collection import Collection
from lookalike.server.context import Context, Here
from lookalike.server.replies import changed_reply
from lookalike.server.routes.documents import ids_fitting
from lookalike.server.shapes import Body, IdempotencyKey, JsonRoute, Reply
from lookalike.stores.base import Snapshot

router = APIRouter(
    prefix="/v1/collections/{collection}/documents", tags=["documents"], route_class=JsonRoute
)

MAX_CHANGES = 10_000


class OneChange(Body):
    """A document of a batch with its new values; `label` is that of the first label field."""

    document_id: str
    update_data: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    base_revision: int | None = None

    def changes(self) -> dict[str, Any]:
        """Return the new values, from whichever key has them."""
        given = dict(self.update_data or {})
        inner = given.pop("metadata", None) or {}
        if not isinstance(inner, Mapping):
            raise BadInput(f"the metadata of {self.document_id!r} must be an object")
        return {**given, **inner, **(self.metadata or {})}


class DocumentChanges(Body):
    """Changes of documents: one per id, or the same `update_data` for all that fit filters."""

    updates: list[OneChange] | None = Field(default=None, max_length=MAX_CHANGES)
    filters: Any = None
    update_data: dict[str, Any] | None = None


class ChangeResult(Reply):
    """The result of one change."""

    document_id: str
    success: bool
    error: str | None = None


class ChangesReply(Reply):
    """The results of changes; they are one operation, which can be undone."""

    updated_count: int
    failed_count: int
    results: list[ChangeResult]
    changed: dict[str, Any]


class BulkChange(Body):
    """The same `update_data` for all documents that fit filters; without filters, for all."""

    filters: Any = None
    update_data: dict[str, Any]


class Erasure(Body):
    """The documents to erase, by their ids or by filters."""

    idle: ClassVar = frozenset({"reason"})
    document_ids: list[str] | None = Field(default=None, min_length=1, max_length=MAX_CHANGES)
    filters: Any = None


class ErasedReply(Reply):
    """The results of erasing documents."""

    deleted_count: int
    failed_count: int
    results: list[ChangeResult]
    message: str


@router.post("/batch")
def change_documents(
    collection: str, body: DocumentChanges, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangesReply:
    """Change the metadata of many documents in one operation; values of label fields are labels."""
    verbs = here.collection(collection)
    updates, failed = _updates(here, verbs, body)
    revisions = {
        one.document_id: one.base_revision
        for one in body.updates or ()
        if one.base_revision is not None and one.document_id in updates
    }
    changed = verbs.amend(updates, op_id=idempotency_key, revisions=revisions)
    return ChangesReply(
        updated_count=len(updates),
        failed_count=len(failed),
        results=_results(updates, failed),
        changed=changed_reply(changed),
    )


@router.patch("/bulk")
def change_all_documents(
    collection: str, body: BulkChange, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangesReply:
    """Change the metadata of all documents that fit filters, in one operation."""
    changes = DocumentChanges(filters=body.filters, update_data=body.update_data)
    return change_documents(collection, changes, here, idempotency_key)


@router.delete("/batch")
def delete_documents(collection: str, body: Erasure, here: Here) -> ErasedReply:
    """Erase documents with their objects, labels, vectors and copies. This cannot be undone."""
    verbs = here.collection(collection)
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, verbs.name)
        ids, failed = _to_erase(snapshot, row, body)
    if ids:
        verbs.forget(ids)
    return ErasedReply(
        deleted_count=len(ids),
        failed_count=len(failed),
        results=_results(ids, failed),
        message=f"erased {len(ids)} documents",
    )


def _results(done: Iterable[str], failed: Mapping[str, str]) -> list[ChangeResult]:
    results = [ChangeResult(document_id=id, success=True) for id in done]
    return results + [
        ChangeResult(document_id=id, success=False, error=why) for id, why in failed.items()
    ]


def _updates(
    here: Context, verbs: Collection, body: DocumentChanges
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Return the new values by document id, and the errors of the other documents."""
    if (body.updates is None) == (body.update_data is None):
        raise BadInput("give either updates, or update_data with filters")
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, verbs.name)
        if body.updates is None:
            change = OneChange(document_id="", update_data=body.update_data).changes()
            return dict.fromkeys(ids_fitting(snapshot, row, body.filters, MAX_CHANGES), change), {}
        _, failed = _known(snapshot, row, [one.document_id for one in body.updates])
        given = [one for one in body.updates if one.document_id not in failed]
        return {one.document_id: one.changes() for one in given}, failed


def _to_erase(
    snapshot: Snapshot, row: CollectionRow, body: Erasure
) -> tuple[list[str], dict[str, str]]:
    """Return the ids of the documents to erase, and the errors of the other documents."""
    if (body.document_ids is None) == (body.filters is None):
        raise BadInput("name the documents by either document_ids or filters")
    if body.document_ids is not None:
        return _known(snapshot, row, body.document_ids)
    if parse(body.filters) == EVERYTHING:
        raise BadInput("these filters fit all documents; delete the collection instead")
    return ids_fitting(snapshot, row, body.filters, MAX_CHANGES), {}


def _known(
    snapshot: Snapshot, row: CollectionRow, ids: Iterable[str]
) -> tuple[list[str], dict[str, str]]:
    """Return the ids of the documents that exist, and the errors of the others."""
    wanted = list(dict.fromkeys(ids))
    try:
        return list(pks_of(snapshot, row, wanted)), {}
    except NotFound:
        known, failed = [], {}
    for id in wanted:
        try:
            pks_of(snapshot, row, [id])
            known.append(id)
        except NotFound as error:
            failed[id] = str(error)
    return known, failed
