"""The verbs that go back: versions, and a collection as it was at a point of its past."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import numpy as np
from sqlalchemy import select

from lookalike.catalog.fields import stored_field
from lookalike.catalog.idempotency import Replayed, idempotent
from lookalike.catalog.reader import FieldRow, fields_of, ids_of, label_states
from lookalike.catalog.references import ReferenceBook
from lookalike.catalog.resources import CollectionRow
from lookalike.classifier.policies import REASONS
from lookalike.decisions.as_of import At, PastStore, Position, position_of
from lookalike.decisions.decider import Decider, Effects, HypotheticalDecisions
from lookalike.errors import Conflict, NotFound
from lookalike.labels import NO_LABEL
from lookalike.library import versions
from lookalike.library.collection.base import CollectionBase
from lookalike.library.collection.read import Shown
from lookalike.library.runtime import Runtime
from lookalike.library.verb import verb
from lookalike.library.versions import Comparison, Version
from lookalike.model import Changed, Origin, Reason, Taxonomy
from lookalike.stores import schema
from lookalike.stores.base import Readable, Snapshot, Store

# --- decide again by an earlier rule -------------------------------------------------------------

_MACHINE = (None, Origin.AUTO)


@dataclass(frozen=True, slots=True)
class Redecision:
    """What a document would be labelled by another rule than the one in force."""

    label: str | None
    confidence: float | None
    margin: float | None
    runner_up: str | None
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class Redecided:
    """What the references and the policy of a point say of the documents of now; nothing is kept.

    `decisions`, by id, are those of all documents that were the machine's to decide then. The
    counts tell what would differ from now where it decides now, too, by label: the new one, or for
    `unlabelled` the one that went. `same` counts the others.
    """

    field: str
    decisions: Mapping[str, Redecision]
    labelled: Mapping[str, int]
    relabelled: Mapping[str, int]
    unlabelled: Mapping[str, int]
    same: int


def redecide(now: Readable, then: PastStore, field: FieldRow, cache: Path) -> Redecided:
    """Return what a field's rule of `then` says of the documents of `now`; nothing is kept.

    `then` shows all documents. Neighbour lists that `cache` remembers are read there and not
    written: who builds the same landscape from them gets the same to the digit. Raises Conflict
    where the collection was in another space then.
    """
    with then.read() as snapshot:
        stored = stored_field(snapshot, field.pk)
        if (stored.since or 0) > then.position:
            raise Conflict(
                "the collection has another extractor since then, and vectors of two spaces cannot "
                "be compared; ask for a later point"
            )
        with TemporaryDirectory(prefix="lookalike-") as folder:
            lists = f"lists.{stored.space.pk}.{stored.pk}.npz"
            if (cache / lists).exists():
                shutil.copyfile(cache / lists, Path(folder) / lists)
            decider = Decider(stored, Path(folder))
            decider.refresh(snapshot)
            imagined = decider.decide_again(snapshot)
        columns = decider.state.columns
        places = np.flatnonzero(~columns["settled"]).tolist()
        pks = columns.pks.tolist()
    found = {pks[place]: _redecision(imagined, place) for place in places}
    with now.read() as snapshot:
        return _compared(snapshot, field, found)


def _redecision(imagined: HypotheticalDecisions, place: int) -> Redecision:
    decisions, codes = imagined.decisions, imagined.codes
    code, runner_up = int(decisions.codes[place]), int(decisions.runner_up[place])
    reason = int(decisions.reasons[place])
    return Redecision(
        label=None if code == NO_LABEL else codes.name(code),
        confidence=_number(decisions.confidence[place]),
        margin=_number(decisions.margin[place]),
        runner_up=None if runner_up == NO_LABEL else codes.name(runner_up),
        reason=None if reason < 0 else REASONS[reason],
    )


def _compared(snapshot: Snapshot, field: FieldRow, found: Mapping[int, Redecision]) -> Redecided:
    ids = ids_of(snapshot, found)
    today = label_states(snapshot, field.pk, ids)
    effects = Effects()
    moves = {
        pk: (today[pk].label, found[pk].label)
        for pk in ids
        if pk in today and today[pk].origin in _MACHINE
    }
    effects.add(field.pk, moves)
    return Redecided(
        field=field.name,
        decisions={ids[pk]: found[pk] for pk in sorted(ids)},
        labelled=dict(sorted(effects.labelled.items())),
        relabelled=dict(sorted(effects.relabelled.items())),
        unlabelled=dict(sorted(effects.unlabelled.items())),
        same=sum(was == now for was, now in moves.values()),
    )


def _number(value: np.float32) -> float | None:
    return None if np.isnan(value) else float(value)


# -------------------------------------------------------------------------------------------------


class Past(Shown):
    """A collection as it was just after an operation, to be read. `as_of` gives one.

    Labels, origins, confidences, reasons, matches and the rule are those of then, of the documents
    that were there and have not been erased since; metadata and contents are those of now.
    """

    def __init__(self, runtime: Runtime, row: CollectionRow, position: Position) -> None:
        super().__init__(travelled(runtime, row, position), row)
        self._now = runtime
        self._position = position

    @property
    def operation(self) -> str:
        """Return the operation that this is the state after."""
        return self._position.operation

    def __repr__(self) -> str:
        return f"<Past of {self.name!r} as of {self.operation}>"

    @verb("read")
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


class Travelling(CollectionBase):
    """What a person asks of a collection's past."""

    @verb("read", route=False)
    def as_of(self, at: At) -> Past:
        """Return the collection as it was at a version, operation, event or time, to be read.

        A text is the name of a version, the id of an operation, the number of an event or a time as
        ISO 8601 writes it (UTC where no zone is given). Raises NotFound for what is none of them,
        and for a time before the collection or an event yet to come.
        """
        with self._runtime.store.read() as snapshot:
            position = point(snapshot, self._runtime, self._row, at)
        return Past(self._runtime, self._row, position)

    @verb("label")
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
            suppress(Replayed),
            self._operate("version", actor, op_id, field, name, note) as running,
        ):
            chosen = self._field(running.txn, field)
            versions.keep(running, self._row, chosen, name, note)
        with self._runtime.store.read() as snapshot:
            return versions.version_named(snapshot, self._row, name)

    @verb("read")
    def versions(self, *, field: str | None = None, retired: bool = False) -> list[Version]:
        """Return the versions, the newest first, of all label fields or of one.

        Those that are `retired` only on request.
        """
        with self._runtime.store.read() as snapshot:
            chosen = None if field is None else self._field(snapshot, field)
            return versions.listed(snapshot, self._row, chosen, retired=retired)

    @verb("read")
    def compare_versions(
        self, before: str, after: str | None = None, *, field: str | None = None
    ) -> Comparison:
        """Return how a label field differs between two points; without `after`, from now.

        Points are told as in `as_of`; a version chooses its own label field. Raises NotFound.
        """
        with self._runtime.store.read() as snapshot:
            field = field or self._field_of(snapshot, before)
            chosen = self._field(snapshot, field)
            points = [point(snapshot, self._runtime, self._row, before)]
            if after is not None:
                points.append(point(snapshot, self._runtime, self._row, after))
        stores = [(past_store(self._runtime, self._row, one), one) for one in points]
        sides = [versions.side(store, chosen, one.operation) for store, one in stores]
        if after is None:
            sides.append(versions.side(self._runtime.store, chosen, ""))
        with self._runtime.store.read() as snapshot:
            return versions.compare(snapshot, chosen.name, *sides)

    @verb("label")
    @idempotent
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
        with past._runtime.store.read() as snapshot:
            return past._field(snapshot, field).taxonomy

    def _field_of(self, snapshot: Snapshot, version: str) -> str | None:
        with suppress(NotFound):
            return versions.version_named(snapshot, self._row, version).field
        return None


def point(snapshot: Snapshot, runtime: Runtime, row: CollectionRow, at: At) -> Position:
    """Return the point in a collection's ledger that a person names; see `Travelling.as_of`."""
    own = [field.pk for field in fields_of(snapshot, row.pk)]
    return position_of(snapshot, row, own, at, runtime.clock())


def travelled(runtime: Runtime, row: CollectionRow, position: Position) -> Runtime:
    """Return a runtime whose store shows a collection, and its references, as they were."""
    other = copy.copy(runtime)
    other.store = cast("Store", past_store(runtime, row, position))  # who reads asks no more of it
    other.book = ReferenceBook()
    return other


def past_store(
    runtime: Runtime, row: CollectionRow, position: Position, *, all_documents: bool = False
) -> PastStore:
    """Return the store as a collection, and whom its labels come from, were in it."""
    table = schema.field
    query = select(table.c.pk, table.c.reference_field_pk)
    with runtime.store.read() as snapshot:
        rows = snapshot.rows(query.where(table.c.collection_pk == row.pk))
    fields = sorted({pk for one in rows for pk in (one.pk, one.reference_field_pk)})
    return PastStore(runtime.store, tuple(fields), position.pk, position.at, all_documents)
