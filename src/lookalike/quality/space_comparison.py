"""Comparing: what a label field would be like in another space, decided from the same answers.

Nothing is written. Both sides are read from one snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from lookalike.catalog.fields import stored_field
from lookalike.catalog.reader import FieldRow, ids_of
from lookalike.catalog.spaces import low_quality_found
from lookalike.catalog.taxonomies import rule_of
from lookalike.classifier.graph.search import Ids
from lookalike.classifier.review.reference_checks import LeaveOneOutTrials
from lookalike.decisions.decider import Decider
from lookalike.decisions.deciders import Deciders
from lookalike.decisions.field.state import FieldState
from lookalike.labels import NO_LABEL, Codes
from lookalike.quality.stats.metrics import coverage
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, StoredSpace

_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class LabelChange:
    """A document whose automatic label would be another one."""

    id: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class FieldComparison:
    """A label field in the space in force, and as it would be in the other one.

    `accuracy` is the share of references that would get their own label if they had none (exact
    leave-one-out), None where nothing could be tried; `coverage` the share of documents with a
    label. Of what the machine decides, `same`, `changed`, `appeared` and `gone` count documents,
    and `examples` names some that change. `lost` are documents that people labelled and that have
    no vector in the other space: their labels stand, and do not vote there.
    """

    collection: str
    field: str
    documents: int
    references_before: int
    references_after: int
    accuracy_before: float | None
    accuracy_after: float | None
    coverage_before: float
    coverage_after: float
    same: int
    changed: int
    appeared: int
    gone: int
    examples: tuple[LabelChange, ...]
    lost: tuple[str, ...]
    warning: str


@dataclass(frozen=True, slots=True)
class _Side:
    """A field in one space: of documents `pks` (n,), rising, the label codes, and what `stands`."""

    pks: Ids
    labels: NDArray[np.int32]
    stands: NDArray[np.bool_]
    sure: NDArray[np.float32]
    references: int
    accuracy: float | None

    def of(self, pks: Ids) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return labels and confidence of documents; none of those that are not here."""
        place = np.minimum(np.searchsorted(self.pks, pks), max(len(self.pks) - 1, 0))
        if len(self.pks) == 0:
            return np.full(len(pks), NO_LABEL, np.int32), np.zeros(len(pks), np.float32)
        here = self.pks[place] == pks
        labels = np.where(here, self.labels[place], NO_LABEL).astype(np.int32)
        return labels, np.where(here, self.sure[place], 0).astype(np.float32)


def compare(
    deciders: Deciders,
    collection: str,
    field: FieldRow,
    spaces: Mapping[int, StoredSpace],
    confidence_threshold: float | None,
) -> FieldComparison:
    """Return how a field changes when collections (pks) change to other spaces.

    `confidence_threshold` is the limit there, of a field that decides by one.
    """
    codes = Codes()

    def ask(decider: Decider, snapshot: Snapshot) -> tuple[_Side, Callable[[], LeaveOneOutTrials]]:
        state = decider.state
        decided = (state.columns["codes"], state.columns["confidence"])
        return _side(decider, codes, *decided), decider.trials(snapshot)

    with deciders.consulted(field.pk, ask) as (snapshot, (before, trials)):
        before = replace(before, accuracy=_accuracy(trials()))
        after = _elsewhere(snapshot, field, spaces, confidence_threshold, codes)
        found = _compared(codes, before, after, snapshot)
    warning = ""
    if field.taxonomy.confidence_threshold is not None and confidence_threshold is None:
        warning = (
            f"it labels from a similarity of {field.taxonomy.confidence_threshold} on, a number "
            "that was chosen for the other space: give the confidence_threshold of this one"
        )
    return replace(found, collection=collection, field=field.name, warning=warning)


def silence_poor(state: FieldState, snapshot: Snapshot) -> None:
    """Let what is seen badly in a space beside neither vote nor be decided there."""
    field = state.field
    poor = low_quality_found(snapshot, field.space)
    state.columns["poor"][:] = np.isin(state.columns.pks, poor)
    silent = state.references.pks[np.isin(state.references.pks, poor)]
    if field.space != field.reference_space:
        silent = np.union1d(silent, low_quality_found(snapshot, field.reference_space))
    if len(silent):
        state.references = state.references.without(silent)
        state.search(snapshot, np.arange(len(state.columns)))


# --- inside ---------------------------------------------------------------------------------------


def _elsewhere(
    snapshot: Snapshot,
    field: FieldRow,
    spaces: Mapping[int, StoredSpace],
    confidence_threshold: float | None,
    codes: Codes,
) -> _Side:
    """Return a field as it would be in other spaces, by a rule learned there."""
    stored = stored_field(snapshot, field.pk)
    table = schema.field
    query = select(table.c.collection_pk).where(table.c.pk == stored.reference_field_pk)
    voting = snapshot.rows(query)[0].collection_pk
    taxonomy = stored.taxonomy
    if taxonomy.confidence_threshold is not None and confidence_threshold is not None:
        taxonomy = rule_of(taxonomy, confidence_threshold, None, None)
    stored = replace(
        stored,
        taxonomy=taxonomy,
        space=spaces[stored.collection_pk],
        reference_space=spaces[voting],
    )
    with TemporaryDirectory(prefix="lookalike-") as folder:
        decider = Decider(stored, Path(folder))
        decider.refresh(snapshot)
        if not taxonomy.low_quality:
            silence_poor(decider.state, snapshot)
        decisions = decider.decide_rebuilt(snapshot).decisions
        accuracy = _accuracy(decider.trials(snapshot)())
        side = _side(decider, codes, decisions.codes, decisions.confidence)
    return replace(side, accuracy=accuracy)


def _side(
    decider: Decider, codes: Codes, labels: NDArray[np.int32], sure: NDArray[np.float32]
) -> _Side:
    """Return copies of what a decider knows, with the label codes that both sides share."""
    columns = decider.state.columns
    stands = columns["stands"].copy()
    decided = np.where(stands, columns["codes"], labels)
    shared = [codes.code(name) for name in decider.state.codes.names]
    table = np.array([*shared, NO_LABEL], np.int32)  # the last one is that of no label, −1
    sure = np.nan_to_num(sure.astype(np.float32))
    return _Side(
        columns.pks.copy(), table[decided], stands, sure, len(decider.state.references), None
    )


def _accuracy(trials: LeaveOneOutTrials) -> float | None:
    tried = trials.rival >= 0
    if not tried.any():
        return None
    return float((trials.outcome[tried] == trials.own[tried]).mean())


def _compared(codes: Codes, before: _Side, after: _Side, snapshot: Snapshot) -> FieldComparison:
    pks = np.union1d(before.pks, after.pks)
    standing = pks[np.isin(pks, before.pks[before.stands])]
    machine = np.setdiff1d(pks, standing)
    (was, old), (now, new) = before.of(machine), after.of(machine)
    moved = np.flatnonzero(was != now)
    surest = moved[np.argsort(-np.maximum(old, new)[moved], kind="stable")][:_EXAMPLES]
    lost = np.setdiff1d(standing, after.pks)
    ids = ids_of(snapshot, [*machine[surest].tolist(), *lost.tolist()])
    said = int((before.of(standing)[0] != NO_LABEL).sum())
    return FieldComparison(
        collection="",
        field="",
        documents=len(pks),
        references_before=before.references,
        references_after=after.references,
        accuracy_before=before.accuracy,
        accuracy_after=after.accuracy,
        coverage_before=coverage(said + int((was != NO_LABEL).sum()), len(pks)),
        coverage_after=coverage(said + int((now != NO_LABEL).sum()), len(pks)),
        same=len(machine) - len(moved),
        changed=int(((was != now) & (was != NO_LABEL) & (now != NO_LABEL)).sum()),
        appeared=int(((was == NO_LABEL) & (now != NO_LABEL)).sum()),
        gone=int(((was != NO_LABEL) & (now == NO_LABEL)).sum()),
        examples=tuple(
            LabelChange(
                ids[int(machine[row])], codes.name(int(was[row])), codes.name(int(now[row]))
            )
            for row in surest.tolist()
        ),
        lost=tuple(ids[pk] for pk in lost.tolist()),
        warning="",
    )
