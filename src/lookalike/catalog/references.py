"""The references of label fields in the store: read once, then updated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from sqlalchemy import and_, func, select

from lookalike.classifier.graph.search import Ids, ReferenceArrays
from lookalike.labels import Codes
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, StoredSpace, conditions
from lookalike.stores.locks import FairLock


@dataclass(frozen=True, slots=True)
class ReferenceUpdate:
    """The current references, and which of the changed documents were added, kept and removed.

    A reference whose vector changed counts as removed and added.
    """

    references: ReferenceArrays
    added: Ids
    kept: Ids
    removed: Ids

    def changed_from(self, before: ReferenceArrays) -> int:
        """Return how many references were added, removed or have another label than `before`."""
        was = before.codes[np.searchsorted(before.pks, self.kept)]
        now = self.references.codes[np.searchsorted(self.references.pks, self.kept)]
        return len(np.union1d(self.added, self.removed)) + int((was != now).sum())


def read_references(
    snapshot: Snapshot,
    field_pk: int,
    space: StoredSpace,
    codes: Codes,
    known: ReferenceArrays,
    changed: Ids,
) -> ReferenceUpdate:
    """Return the references after the rows of `changed` documents were written.

    Documents without a vector in the space are left out.
    """
    table = schema.standing
    embedding = schema.embedding
    placed = and_(embedding.c.space_pk == space.pk, embedding.c.document_pk == table.c.document_pk)
    query = select(table.c.document_pk, table.c.label).join(embedding, placed)
    query = query.where(table.c.field_pk == field_pk, table.c.votes).order_by(table.c.document_pk)
    chosen = conditions(table.c.document_pk, changed)
    rows = [row for condition in chosen for row in snapshot.rows(query.where(condition))]
    pks = np.array([row.document_pk for row in rows], np.int64)
    labels = np.array([codes.code(row.label) for row in rows], np.int32)
    now = ReferenceArrays(pks, labels, snapshot.vectors(space, pks))
    before = changed[np.isin(changed, known.pks)]
    both = np.intersect1d(pks, before)
    same = (now.vectors_of(both) == known.vectors_of(both)).all(axis=1)
    stayed = both[same]
    return ReferenceUpdate(
        references=known.without(before).joined(now) if len(before) or len(pks) else known,
        added=np.setdiff1d(pks, stayed),
        kept=stayed,
        removed=np.setdiff1d(before, stayed),
    )


def voting_documents(snapshot: Snapshot, field_pk: int) -> Ids:
    """Return the documents whose label makes them references, rising."""
    table = schema.standing
    query = select(table.c.document_pk).where(table.c.field_pk == field_pk, table.c.votes)
    return np.sort(snapshot.numbers(query)[:, 0])


def written_since(snapshot: Snapshot, field_pk: int, revision: int) -> Ids:
    """Return the documents whose row in a field was written after an operation, rising."""
    table = schema.standing
    query = select(table.c.document_pk)
    written = query.where(table.c.field_pk == field_pk, table.c.revision > revision)
    return np.sort(snapshot.numbers(written)[:, 0])


def newest_revision(snapshot: Snapshot, field_pk: int) -> int:
    """Return the operation that last wrote a row of a field; -1 if there is none."""
    table = schema.standing
    query = select(func.max(table.c.revision).label("newest"))
    row = snapshot.rows(query.where(table.c.field_pk == field_pk))[0]
    return -1 if row.newest is None else int(row.newest)


def operation_id(snapshot: Snapshot, pk: int) -> str | None:
    """Return the id of an operation; the same pk may be another operation in another store."""
    table = schema.operation
    rows = snapshot.rows(select(table.c.id).where(table.c.pk == pk))
    return rows[0].id if rows else None


def epoch_of(snapshot: Snapshot, field_pk: int) -> int:
    """Return how often rows of a field were erased."""
    table = schema.field
    return int(snapshot.rows(select(table.c.epoch).where(table.c.pk == field_pk))[0].epoch)


def _state_of(snapshot: Snapshot, field_pk: int) -> tuple[int, int]:
    """Return the epoch and the newest revision of a field, in one query."""
    field, standing = schema.field, schema.standing
    newest = select(func.max(standing.c.revision)).where(standing.c.field_pk == field_pk)
    query = select(field.c.epoch, newest.scalar_subquery().label("newest"))
    (row,) = snapshot.rows(query.where(field.c.pk == field_pk))
    return int(row.epoch), -1 if row.newest is None else int(row.newest)


@dataclass(frozen=True, slots=True)
class _Page:
    space: StoredSpace
    epoch: int
    seen: int
    references: ReferenceArrays
    codes: Codes


class ReferenceBook:
    """The references of fields for readers, updated from snapshot to snapshot.

    Thread-safe; readers of different fields do not wait for each other. Call `of` once per
    snapshot: for a snapshot older than the known state all references are read again.
    """

    def __init__(self) -> None:
        self._pages: dict[int, _Page] = {}
        self._locks: dict[int, FairLock] = {}

    def of(
        self, snapshot: Snapshot, field_pk: int, space: StoredSpace
    ) -> tuple[ReferenceArrays, Codes]:
        """Return the references of a field as of the snapshot, and their labels' codes."""
        epoch, newest = _state_of(snapshot, field_pk)
        page = self._pages.get(field_pk)
        if page is None or (page.space, page.epoch, page.seen) != (space, epoch, newest):
            with self._locks.setdefault(field_pk, FairLock()).taken():
                page = self._page_of(snapshot, field_pk, space, epoch, newest)
        return page.references, page.codes

    def drop(self, fields: Iterable[int]) -> None:
        """Drop removed fields."""
        for pk in fields:
            with self._locks.setdefault(pk, FairLock()).taken():
                self._pages.pop(pk, None)

    def _page_of(
        self, snapshot: Snapshot, field_pk: int, space: StoredSpace, epoch: int, newest: int
    ) -> _Page:
        page = self._pages.get(field_pk)
        newer = page is not None and (page.epoch > epoch or page.seen > newest)
        if page is None or newer or page.epoch < epoch or page.space != space:
            page = _Page(space, epoch, -1, ReferenceArrays.none(space.dimension), Codes())
        if page.seen < newest:
            page = self._caught_up(snapshot, field_pk, space, page, newest)
        if not newer:
            self._pages[field_pk] = page
        return page

    def _caught_up(
        self, snapshot: Snapshot, field_pk: int, space: StoredSpace, page: _Page, newest: int
    ) -> _Page:
        first = page.seen < 0
        changed = (
            voting_documents(snapshot, field_pk)
            if first
            else written_since(snapshot, field_pk, page.seen)
        )
        update = read_references(snapshot, field_pk, space, page.codes, page.references, changed)
        return _Page(space, page.epoch, newest, update.references, page.codes)
