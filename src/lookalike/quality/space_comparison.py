"""Compare the labels of a field in its embedding space with those in another space.

Used before a migration to another extractor. Read-only: both sides are computed from the same
answers, in one snapshot.
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
    """A document whose automatic label would change."""

    id: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class FieldComparison:
    """A label field in its current space (`before`), and in the other one (`after`).

    `accuracy` is the exact leave-one-out accuracy of the references, None without enough
    references; `coverage` the share of documents with a label. Of the documents that nobody has
    answered, `same`, `changed`, `appeared` and `gone` count those whose label would stay, change,
    appear or vanish, and `examples` lists some of the changes. `lost` are documents with an answer
    that have no vector in the other space: they keep their labels, but are no references there.
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
    """A field in one space: documents `pks` (n,), rising, their label codes (n,) and confidence
    (n,), and whether a person answered them or they were imported (`is_settled` (n,)).
    """

    pks: Ids
    labels: NDArray[np.int32]
    is_settled: NDArray[np.bool_]
    confidence: NDArray[np.float32]
    references: int
    accuracy: float | None

    def of(self, pks: Ids) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return labels and confidence of documents: NO_LABEL and 0 for those not in the space."""
        place = np.minimum(np.searchsorted(self.pks, pks), max(len(self.pks) - 1, 0))
        if len(self.pks) == 0:
            return np.full(len(pks), NO_LABEL, np.int32), np.zeros(len(pks), np.float32)
        here = self.pks[place] == pks
        labels = np.where(here, self.labels[place], NO_LABEL).astype(np.int32)
        return labels, np.where(here, self.confidence[place], 0).astype(np.float32)


def compare(
    deciders: Deciders,
    collection: str,
    field: FieldRow,
    spaces: Mapping[int, StoredSpace],
    confidence_threshold: float | None,
) -> FieldComparison:
    """Return how the labels of a field change when collections (by pk) change to other spaces.

    `confidence_threshold` is the similarity threshold there, for the policy `threshold`.
    """
    codes = Codes()

    def ask(decider: Decider, snapshot: Snapshot) -> tuple[_Side, Callable[[], LeaveOneOutTrials]]:
        state = decider.state
        decided = (state.columns["codes"], state.columns["confidence"])
        return _side(decider, codes, *decided), decider.trials(snapshot)

    with deciders.consulted(field.pk, ask) as (snapshot, (before, trials)):
        before = replace(before, accuracy=_accuracy(trials()))
        after = _in_other_spaces(snapshot, field, spaces, confidence_threshold, codes)
        found = _compared(codes, before, after, snapshot)
    warning = ""
    if field.taxonomy.confidence_threshold is not None and confidence_threshold is None:
        warning = (
            f"the similarity threshold {field.taxonomy.confidence_threshold} was chosen for the "
            "current space: give a confidence_threshold for the new one"
        )
    return replace(found, collection=collection, field=field.name, warning=warning)


def exclude_low_quality(state: FieldState, snapshot: Snapshot) -> None:
    """Exclude documents of low quality in a standby space from references and decisions."""
    field = state.field
    poor = low_quality_found(snapshot, field.space)
    state.columns["low_quality"][:] = np.isin(state.columns.pks, poor)
    excluded = state.references.pks[np.isin(state.references.pks, poor)]
    if field.space != field.reference_space:
        excluded = np.union1d(excluded, low_quality_found(snapshot, field.reference_space))
    if len(excluded):
        state.references = state.references.without(excluded)
        state.search(snapshot, np.arange(len(state.columns)))


# --- inside ---------------------------------------------------------------------------------------


def _in_other_spaces(
    snapshot: Snapshot,
    field: FieldRow,
    spaces: Mapping[int, StoredSpace],
    confidence_threshold: float | None,
    codes: Codes,
) -> _Side:
    """Return the field in other spaces, decided by a rule that is fitted there."""
    stored = stored_field(snapshot, field.pk)
    table = schema.field
    query = select(table.c.collection_pk).where(table.c.pk == stored.reference_field_pk)
    reference_collection_pk = snapshot.rows(query)[0].collection_pk
    taxonomy = stored.taxonomy
    if taxonomy.confidence_threshold is not None and confidence_threshold is not None:
        taxonomy = rule_of(taxonomy, confidence_threshold, None, None)
    stored = replace(
        stored,
        taxonomy=taxonomy,
        space=spaces[stored.collection_pk],
        reference_space=spaces[reference_collection_pk],
    )
    with TemporaryDirectory(prefix="lookalike-") as folder:
        decider = Decider(stored, Path(folder))
        decider.refresh(snapshot)
        if not taxonomy.low_quality:
            exclude_low_quality(decider.state, snapshot)
        decisions = decider.decide_rebuilt(snapshot).decisions
        accuracy = _accuracy(decider.trials(snapshot)())
        side = _side(decider, codes, decisions.codes, decisions.confidence)
    return replace(side, accuracy=accuracy)


def _side(
    decider: Decider, codes: Codes, labels: NDArray[np.int32], confidence: NDArray[np.float32]
) -> _Side:
    """Return copies of a decider's labels, with the label codes that both sides share."""
    columns = decider.state.columns
    settled = columns["settled"].copy()
    decided = np.where(settled, columns["codes"], labels)
    shared = [codes.code(name) for name in decider.state.codes.names]
    table = np.array([*shared, NO_LABEL], np.int32)  # index −1, no label, gives NO_LABEL
    return _Side(
        pks=columns.pks.copy(),
        labels=table[decided],
        is_settled=settled,
        confidence=np.nan_to_num(confidence.astype(np.float32)),
        references=len(decider.state.references),
        accuracy=None,
    )


def _accuracy(trials: LeaveOneOutTrials) -> float | None:
    tried = trials.rival >= 0
    if not tried.any():
        return None
    return float((trials.outcome[tried] == trials.own[tried]).mean())


def _compared(codes: Codes, before: _Side, after: _Side, snapshot: Snapshot) -> FieldComparison:
    pks = np.union1d(before.pks, after.pks)
    settled = pks[np.isin(pks, before.pks[before.is_settled])]
    unanswered = np.setdiff1d(pks, settled)
    (was, old), (now, new) = before.of(unanswered), after.of(unanswered)
    moved = np.flatnonzero(was != now)
    surest = moved[np.argsort(-np.maximum(old, new)[moved], kind="stable")][:_EXAMPLES]
    lost = np.setdiff1d(settled, after.pks)
    ids = ids_of(snapshot, [*unanswered[surest].tolist(), *lost.tolist()])
    given = int((before.of(settled)[0] != NO_LABEL).sum())
    return FieldComparison(
        collection="",
        field="",
        documents=len(pks),
        references_before=before.references,
        references_after=after.references,
        accuracy_before=before.accuracy,
        accuracy_after=after.accuracy,
        coverage_before=coverage(given + int((was != NO_LABEL).sum()), len(pks)),
        coverage_after=coverage(given + int((now != NO_LABEL).sum()), len(pks)),
        same=len(unanswered) - len(moved),
        changed=int(((was != now) & (was != NO_LABEL) & (now != NO_LABEL)).sum()),
        appeared=int(((was == NO_LABEL) & (now != NO_LABEL)).sum()),
        gone=int(((was != NO_LABEL) & (now == NO_LABEL)).sum()),
        examples=tuple(
            LabelChange(
                ids[int(unanswered[row])], codes.name(int(was[row])), codes.name(int(now[row]))
            )
            for row in surest.tolist()
        ),
        lost=tuple(ids[pk] for pk in lost.tolist()),
        warning="",
    )
