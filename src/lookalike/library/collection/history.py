"""The verbs that go back: versions, and a collection as it was at a point of its past."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import cast

from sqlalchemy import select

from lookalike.catalog.idempotency import AlreadyDone, once
from lookalike.catalog.reader import fields_of
from lookalike.catalog.references import ReferenceBook
from lookalike.catalog.resources import CollectionRow
from lookalike.decisions.as_of import PastStore
from lookalike.decisions.positions import At, Position, position_of
from lookalike.errors import NotFound
from lookalike.library import versions
from lookalike.library.collection.base import Opened
from lookalike.library.collection.redeciding import Redecided, redecide
from lookalike.library.collection.shown import Shown
from lookalike.library.runtime import Workshop
from lookalike.library.versions import Comparison, Version
from lookalike.model import Changed, Taxonomy
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Store


class Past(Shown):
    """A collection as it was just after an operation, to be read. `as_of` gives one.

    Labels, origins, confidences, reasons, matches and the rule are those of then, of the documents
    that were there and have not been erased since; metadata and contents are those of now.
    """

    def __init__(self, workshop: Workshop, row: CollectionRow, position: Position) -> None:
        super().__init__(travelled(workshop, row, position), row)
        self._now = workshop
        self._position = position

    @property
    def operation(self) -> str:
        """Return the operation that this is the state after."""
        return self._position.operation

    def __repr__(self) -> str:
        return f"<Past of {self.name!r} as of {self.operation}>"

    def decide(self, *, field: str | None = None) -> Redecided:
        """Return what the references, policy and calibration of then say of the documents of now.

        Where no document came or went since, that is what was decided then, to the digit; else what
        was learned is learned again from the same references. Nothing is recorded. Raises Conflict
        where the collection was in another space then.
        """
        with self._now.store.read() as snapshot:
            chosen = self._field(snapshot, field)
        then = past_store(self._now, self._row, self._position, all_documents=True)
        return redecide(self._now.store, then, chosen, self._now.root / "cache")


class Travelling(Opened):
    """What a person asks of a collection's past."""

    def as_of(self, at: At) -> Past:
        """Return the collection as it was at a version, operation, event or time, to be read.

        A text is the name of a version, the id of an operation, the number of an event or a time as
        ISO 8601 writes it (UTC where no zone is given). Raises NotFound for what is none of them,
        and for a time before the collection or an event yet to come.
        """
        with self._workshop.store.read() as snapshot:
            position = point(snapshot, self._workshop, self._row, at)
        return Past(self._workshop, self._row, position)

    def keep_version(
        self,
        name: str,
        *,
        note: str = "",
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Version:
        """Name the point where a label field is now; it can be asked for as of then, for ever.

        Raises Conflict for a name that the collection has given, BadInput for one that is none.
        """
        with (
            suppress(AlreadyDone),
            self._operate("version", actor, op_id, field, name, note) as running,
        ):
            chosen = self._field(running.txn, field)
            versions.keep(running, self._row, chosen, name, note)
        with self._workshop.store.read() as snapshot:
            return versions.version_named(snapshot, self._row, name)

    def versions(self, *, field: str | None = None, retired: bool = False) -> list[Version]:
        """Return the versions, the newest first, of all label fields or of one.

        Those that are `retired` only on request.
        """
        with self._workshop.store.read() as snapshot:
            chosen = None if field is None else self._field(snapshot, field)
            return versions.listed(snapshot, self._row, chosen, retired=retired)

    def compare_versions(
        self, before: str, after: str | None = None, *, field: str | None = None
    ) -> Comparison:
        """Return how a label field differs between two points; without `after`, from now.

        Points are told as in `as_of`; a version chooses its own label field. Raises NotFound.
        """
        with self._workshop.store.read() as snapshot:
            field = field or self._field_of(snapshot, before)
            chosen = self._field(snapshot, field)
            points = [point(snapshot, self._workshop, self._row, before)]
            if after is not None:
                points.append(point(snapshot, self._workshop, self._row, after))
        stores = [(past_store(self._workshop, self._row, one), one) for one in points]
        sides = [versions.side(store, chosen, one.operation) for store, one in stores]
        if after is None:
            sides.append(versions.side(self._workshop.store, chosen, ""))
        with self._workshop.store.read() as snapshot:
            return versions.compare(snapshot, chosen.name, *sides)

    @once
    def retire_version(self, name: str, *, actor: str = "", op_id: str = "") -> Changed:
        """Offer a version no more. Who asks for it still gets what it gave, to the digit.

        Raises NotFound, and Conflict for one that is retired.
        """
        with self._operate("retire_version", actor, op_id, name) as running:
            versions.retire(running, self._row, name)
        return running.changed()

    def _rule_at(self, field: str | None, at: At) -> Taxonomy:
        """Return the rule that a field had at a point."""
        past = self.as_of(at)
        with past._workshop.store.read() as snapshot:
            return past._field(snapshot, field).taxonomy

    def _field_of(self, snapshot: Snapshot, version: str) -> str | None:
        with suppress(NotFound):
            return versions.version_named(snapshot, self._row, version).field
        return None


def point(snapshot: Snapshot, workshop: Workshop, row: CollectionRow, at: At) -> Position:
    """Return the point in a collection's ledger that a person names; see `Travelling.as_of`."""
    own = [field.pk for field in fields_of(snapshot, row.pk)]
    return position_of(snapshot, row, own, at, workshop.clock())


def travelled(workshop: Workshop, row: CollectionRow, position: Position) -> Workshop:
    """Return a workshop whose store shows a collection, and its references, as they were."""
    other = copy.copy(workshop)
    other.store = cast("Store", past_store(workshop, row, position))  # who reads asks no more of it
    other.book = ReferenceBook()
    return other


def past_store(
    workshop: Workshop, row: CollectionRow, position: Position, *, all_documents: bool = False
) -> PastStore:
    """Return the store as a collection, and whom its labels come from, were in it."""
    table = schema.field
    query = select(table.c.pk, table.c.reference_field_pk)
    with workshop.store.read() as snapshot:
        rows = snapshot.rows(query.where(table.c.collection_pk == row.pk))
    fields = sorted({pk for one in rows for pk in (one.pk, one.reference_field_pk)})
    return PastStore(workshop.store, tuple(fields), position.pk, position.at, all_documents)
