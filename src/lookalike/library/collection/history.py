"""The verbs about a collection's past: its state as of an earlier point, and named versions."""

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
from lookalike.library.collection.read import DocumentVerbs
from lookalike.library.runtime import Runtime
from lookalike.library.verb import verb
from lookalike.library.versions import Comparison, Version
from lookalike.model import Changed, Origin, Reason, Taxonomy
from lookalike.stores import schema
from lookalike.stores.base import Readable, Snapshot, Store

# --- decide again with an earlier policy ---------------------------------------------------------

_MACHINE = (None, Origin.AUTO)


@dataclass(frozen=True, slots=True)
class Redecision:
    """The decision that a document would get under another policy than the current one."""

    label: str | None
    confidence: float | None
    margin: float | None
    runner_up: str | None
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class Redecided:
    """Decisions of the current documents with the references and policy of an earlier point.

    `decisions`, by id, has the documents that had no label from a person or import at that point.
    The counts compare them with the current automatic decisions, by label: the new label, or for
    `unlabelled` the lost one. `same` counts the documents without a difference.
    """

    field: str
    decisions: Mapping[str, Redecision]
    labelled: Mapping[str, int]
    relabelled: Mapping[str, int]
    unlabelled: Mapping[str, int]
    same: int


def redecide(now: Readable, past: PastStore, field: FieldRow, cache: Path) -> Redecided:
    """Decide the documents of `now` with a field's references and policy of `past`; write nothing.

    `past` must show all documents. It copies the neighbour lists in `cache`, and never writes them:
    the same lists give the same graph, so the decisions are equal to the last digit. Raises
    Conflict if the collection had another extractor then.
    """
    with past.read() as snapshot:
        stored = stored_field(snapshot, field.pk)
        if (stored.since or 0) > past.position:
            raise Conflict(
                "the collection changed its extractor after that point, and vectors of two "
                "embedding spaces cannot be compared; give a later point"
            )
        with TemporaryDirectory(prefix="lookalike-") as folder:
            lists = f"lists.{stored.space.pk}.{stored.pk}.npz"
            if (cache / lists).exists():
                shutil.copyfile(cache / lists, Path(folder) / lists)
            decider = Decider(stored, Path(folder))
            decider.refresh(snapshot)
            hypothetical = decider.decide_again(snapshot)
        columns = decider.state.columns
        rows = np.flatnonzero(~columns["settled"]).tolist()
        pks = columns.pks.tolist()
    redecisions = {pks[row]: _redecision(hypothetical, row) for row in rows}
    with now.read() as snapshot:
        return _compared(snapshot, field, redecisions)


def _redecision(hypothetical: HypotheticalDecisions, row: int) -> Redecision:
    decisions, codes = hypothetical.decisions, hypothetical.codes
    code, runner_up = int(decisions.codes[row]), int(decisions.runner_up[row])
    reason = int(decisions.reasons[row])
    return Redecision(
        label=None if code == NO_LABEL else codes.name(code),
        confidence=_number(decisions.confidence[row]),
        margin=_number(decisions.margin[row]),
        runner_up=None if runner_up == NO_LABEL else codes.name(runner_up),
        reason=None if reason < 0 else REASONS[reason],
    )


def _compared(
    snapshot: Snapshot, field: FieldRow, redecisions: Mapping[int, Redecision]
) -> Redecided:
    ids = ids_of(snapshot, redecisions)
    current = label_states(snapshot, field.pk, ids)
    effects = Effects()
    changes = {
        pk: (current[pk].label, redecisions[pk].label)
        for pk in ids
        if pk in current and current[pk].origin in _MACHINE
    }
    effects.add(field.pk, changes)
    return Redecided(
        field=field.name,
        decisions={ids[pk]: redecisions[pk] for pk in sorted(ids)},
        labelled=dict(sorted(effects.labelled.items())),
        relabelled=dict(sorted(effects.relabelled.items())),
        unlabelled=dict(sorted(effects.unlabelled.items())),
        same=sum(before == after for before, after in changes.values()),
    )


def _number(value: np.float32) -> float | None:
    return None if np.isnan(value) else float(value)


# -------------------------------------------------------------------------------------------------


class Past(DocumentVerbs):
    """A read-only collection as it was just after an operation. `as_of` returns one.

    It has the documents of that time, without those erased since, with their labels, origins,
    confidences, reasons, matches and policy of that time; metadata and contents are current.
    """

    def __init__(self, runtime: Runtime, row: CollectionRow, position: Position) -> None:
        super().__init__(past_runtime(runtime, row, position), row)
        self._now = runtime
        self._position = position

    @property
    def operation(self) -> str:
        """Return the id of the operation just after which this state was."""
        return self._position.operation

    def __repr__(self) -> str:
        return f"<Past of {self.name!r} as of {self.operation}>"

    @verb("read")
    def decide(self, *, field: str | None = None) -> Redecided:
        """Decide the current documents with the earlier references, policy and calibration.

        If no document was added or removed since, the decisions equal the earlier ones to the last
        digit; otherwise calibration is refitted from the same references. It records nothing.
        Raises Conflict if the collection had another extractor then.
        """
        with self._now.store.read() as snapshot:
            chosen = self._field(snapshot, field)
        past = past_store(self._now, self._row, self._position, all_documents=True)
        return redecide(self._now.store, past, chosen, self._now.root / "cache")


class HistoryVerbs(CollectionBase):
    """Read a collection as of an earlier point; name, compare and retire versions."""

    @verb("read", route=False)
    def as_of(self, at: At) -> Past:
        """Return the collection as it was at a version, operation, event or time, read-only.

        A text is the name of a version, the id of an operation, the number of an event or a time in
        ISO 8601 (UTC if it has no zone). Raises NotFound for any other text, for a time before the
        collection existed, and for an event that has not happened.
        """
        with self._runtime.store.read() as snapshot:
            position = position_at(snapshot, self._runtime, self._row, at)
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
        """Name the current state of a label field, so that `as_of` finds it by this name.

        Raises Conflict for a name that the collection already has, BadInput for an invalid one.
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
        """Return the versions of all label fields or of one, newest first.

        With `retired` also the retired ones.
        """
        with self._runtime.store.read() as snapshot:
            chosen = None if field is None else self._field(snapshot, field)
            return versions.listed(snapshot, self._row, chosen, retired=retired)

    @verb("read")
    def compare_versions(
        self, before: str, after: str | None = None, *, field: str | None = None
    ) -> Comparison:
        """Return how a label field differs between two points; `after` is now by default.

        Give points as for `as_of`; a version selects its own label field. Raises NotFound.
        """
        with self._runtime.store.read() as snapshot:
            field = field or self._field_of(snapshot, before)
            chosen = self._field(snapshot, field)
            positions = [position_at(snapshot, self._runtime, self._row, before)]
            if after is not None:
                positions.append(position_at(snapshot, self._runtime, self._row, after))
        stores = [(past_store(self._runtime, self._row, one), one) for one in positions]
        states = [versions.field_at(store, chosen, one.operation) for store, one in stores]
        if after is None:
            states.append(versions.field_at(self._runtime.store, chosen, ""))
        with self._runtime.store.read() as snapshot:
            return versions.compare(snapshot, chosen.name, *states)

    @verb("label")
    @idempotent
    def retire_version(self, name: str, *, actor: str = "", op_id: str = "") -> Changed:
        """Hide a version from lists; `as_of` still returns the same state for its name.

        Raises NotFound, and Conflict for a version that is already retired.
        """
        with self._operate("retire_version", actor, op_id, name) as running:
            versions.retire(running, self._row, name)
        return running.changed()

    def _taxonomy_at(self, field: str | None, at: At) -> Taxonomy:
        """Return the taxonomy (policy) that a field had at a point."""
        past = self.as_of(at)
        with past._runtime.store.read() as snapshot:
            return past._field(snapshot, field).taxonomy

    def _field_of(self, snapshot: Snapshot, version: str) -> str | None:
        with suppress(NotFound):
            return versions.version_named(snapshot, self._row, version).field
        return None


def position_at(snapshot: Snapshot, runtime: Runtime, row: CollectionRow, at: At) -> Position:
    """Return the position in the event log that a user names; see `HistoryVerbs.as_of`."""
    own = [field.pk for field in fields_of(snapshot, row.pk)]
    return position_of(snapshot, row, own, at, runtime.clock())


def past_runtime(runtime: Runtime, row: CollectionRow, position: Position) -> Runtime:
    """Return a runtime whose store shows a collection and its references as they were."""
    other = copy.copy(runtime)
    other.store = cast("Store", past_store(runtime, row, position))  # readers use only `read`
    other.book = ReferenceBook()
    return other


def past_store(
    runtime: Runtime, row: CollectionRow, position: Position, *, all_documents: bool = False
) -> PastStore:
    """Return the store with a collection and the fields of its references as they were."""
    table = schema.field
    query = select(table.c.pk, table.c.reference_field_pk)
    with runtime.store.read() as snapshot:
        rows = snapshot.rows(query.where(table.c.collection_pk == row.pk))
    fields = sorted({pk for field in rows for pk in (field.pk, field.reference_field_pk)})
    return PastStore(runtime.store, tuple(fields), position.pk, position.at, all_documents)
