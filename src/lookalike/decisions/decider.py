"""Decide the labels of one field again after a change, inside the transaction of that change.

Only one decider at a time writes the decisions of a field. All methods run inside a transaction of
the store, on a state that is up to date with it: read, decide, write.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import update

from lookalike.catalog.fields import StoredField
from lookalike.catalog.image_groups import HypotheticalItem
from lookalike.classifier.calibration.decision_rule import DecisionRule, Method, decision_rule_to
from lookalike.classifier.graph.arrays import union
from lookalike.classifier.graph.neighbours import FindLists
from lookalike.classifier.graph.search import Ids, Matches, nearest
from lookalike.classifier.policies import (
    DECISION_COLUMNS,
    REASONS,
    Decisions,
    Policy,
    precision,
    suggest_only,
    threshold,
    undecided,
    withheld,
)
from lookalike.classifier.review.reference_checks import (
    IDENTICAL,
    LeaveOneOutTrials,
    conflicting,
    duplicate_bound,
    joined,
    vector_trials,
    with_copies,
)
from lookalike.classifier.scores.scores import Scores
from lookalike.decisions.decision_log import DecisionLog
from lookalike.decisions.field.classifier import GraphClassifier
from lookalike.decisions.field.columns import Rows, write_decisions
from lookalike.decisions.field.refit import Refit
from lookalike.decisions.field.state import FieldState, hypothetical_state
from lookalike.labels import NO_LABEL, Codes
from lookalike.model import EventKind, Origin, Reason
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn

# --- consequences: net changes by field and document ---------------------------------------------

LabelChange = tuple[str | None, str | None]
"""The automatic label of a document before and after."""


@dataclass(slots=True)
class Effects:
    """The automatic labels that changed, by field and document; several steps are merged into one.

    The counts are by label: the new one, or for `unlabelled` the previous one.
    """

    changes: dict[int, dict[int, LabelChange]] = field(default_factory=dict)

    def add(self, field_pk: int, changes: dict[int, LabelChange]) -> None:
        """Add the changes of one more step in a field."""
        so_far = self.changes.setdefault(field_pk, {})
        for document, (was, now) in changes.items():
            so_far[document] = (so_far.get(document, (was, now))[0], now)

    def drop(self, field_pk: int, documents: Iterable[int]) -> None:
        """Leave out documents whose label is not automatic any more."""
        for document in documents:
            self.changes.get(field_pk, {}).pop(document, None)

    @property
    def labelled(self) -> Counter[str]:
        """Count documents that had no label before, by their new label."""
        return _counted((now, n) for (was, now), n in self._net() if was is None)

    @property
    def relabelled(self) -> Counter[str]:
        """Count documents that had another label before, by their new label."""
        return _counted((now, n) for (was, now), n in self._net() if was is not None)

    @property
    def unlabelled(self) -> Counter[str]:
        """Count documents that lost their label, by the previous label."""
        return _counted((was, n) for (was, now), n in self._net() if now is None)

    def _net(self) -> Iterator[tuple[LabelChange, int]]:
        """Yield the changes where before and after differ, each with its number of documents."""
        for changes in self.changes.values():
            counts = Counter(changes.values())
            yield from ((move, count) for move, count in counts.items() if move[0] != move[1])


def _counted(labels: Iterable[tuple[str | None, int]]) -> Counter[str]:
    """Count the labels; skip None."""
    total: Counter[str] = Counter()
    for label, count in labels:
        if label is not None:
            total[label] += count
    return total


# -------------------------------------------------------------------------------------------------

_BLOCK_ROWS = 20_000
_PAIRS_OF = 2000
_NO_IDS: Ids = np.empty(0, np.int64)
_REJECTED = REASONS.index(Reason.REJECTED)
_CONFLICT = REASONS.index(Reason.CONFLICT)
_NO_REFERENCES = REASONS.index(Reason.NO_REFERENCES)
_BELOW = REASONS.index(Reason.BELOW_THRESHOLD)


@dataclass(frozen=True, slots=True)
class HypotheticalDecisions:
    """Decisions that are not recorded, with their decision rule and their label codes."""

    decisions: Decisions
    rule: DecisionRule | None
    codes: Codes


class Decider:
    """Decides the documents of one field. `find` searches neighbours for the classifier."""

    def __init__(self, stored: StoredField, cache: Path, find: FindLists | None = None) -> None:
        self.field = stored
        self.state = FieldState(stored, cache / f"field.{stored.pk}.npz")
        self._classifier = GraphClassifier(cache / f"lists.{stored.space.pk}.{stored.pk}.npz", find)
        self._refit = Refit(self.state, self._classifier)
        self._log = DecisionLog(stored.pk)

    def refresh(self, snapshot: Snapshot) -> None:
        """Take over everything that was committed since the last call."""
        if self.state.refresh(snapshot):
            self._refit.note_external_decisions()

    def statements_changed(
        self, txn: Txn, operation: int, documents: Iterable[int], references: Iterable[int]
    ) -> dict[int, LabelChange]:
        """Decide again after the statements of some documents changed.

        `documents` are those of this field whose labels or rejections changed; `references` are
        those of the reference field, which are the same in unified mode. Their rows are already
        written.
        """
        own = _ids(documents)
        was_settled = self.state.settled_among(own)
        rows = self.state.reload(txn, own, _ids(references))
        return self._decide(txn, operation, rows, was_settled)

    def documents_arrived(
        self, txn: Txn, operation: int, documents: Iterable[int]
    ) -> dict[int, LabelChange]:
        """Search and decide documents whose vectors were just written, and write their rows."""
        return self._decide(txn, operation, self.state.add_documents(txn, _ids(documents)))

    def any_settled(self, documents: Iterable[int]) -> bool:
        """Return whether any of these documents is not decided automatically."""
        return len(self.state.settled_among(_ids(documents))) > 0

    def decide_all(
        self, txn: Txn, operation: int, *, rebuild: bool = True
    ) -> dict[int, LabelChange]:
        """Decide all documents again.

        With `rebuild` refit the rule on a new graph; else keep the rule if it still holds.
        """
        return self._decide(txn, operation, np.arange(len(self.state.columns)), rebuild=rebuild)

    def suggest(self, snapshot: Snapshot, rows: Rows) -> Decisions:
        """Return the decisions of the current policy for rows; write nothing."""
        if not self.field.taxonomy.exclusive:
            return self._suggest(snapshot, rows)
        state, same_image = self.state, self.state.with_same_image(rows)
        decisions = self._suggest(snapshot, same_image)
        free = ~state.columns["settled"][same_image] & (decisions.codes != NO_LABEL)
        lost = state.image_groups.outranked(state.columns.pks[same_image], free, decisions)
        decisions = withheld(decisions, lost, Reason.CONFLICT)
        return decisions.at(np.searchsorted(same_image, rows))

    def _suggest(self, snapshot: Snapshot, rows: Rows) -> Decisions:
        """Return the policy's decisions for rows, without comparing items of the same image."""
        restricted = np.isin(rows, self.state.rows_with_rejections())
        decisions = (
            self._decide_by_graph(rows) if self._uses_graph() else self._decide_by_nearest(rows)
        )
        if self.field.taxonomy.confidence_threshold is None:
            places = with_copies(self.state.neighbour_lists.similarities[rows], IDENTICAL)
            conflicts = places[conflicting(self.state.matches(rows[places]), IDENTICAL)]
            decisions = withheld(decisions, conflicts, Reason.CONFLICT)
        low_quality = np.flatnonzero(self.state.columns["low_quality"][rows])
        decisions = withheld(decisions, low_quality, Reason.LOW_QUALITY)
        nulls = np.flatnonzero(restricted & (decisions.codes == NO_LABEL))
        nulls = np.setdiff1d(nulls, low_quality)
        if len(nulls) == 0:
            return decisions
        if self._uses_graph():
            pks = self.state.columns.pks[rows[nulls]]
            among_all = self._classifier.decide(pks, self.state.codes.code)
        else:
            among_all = self._policy()(self._among_all(snapshot, rows[nulls]))
        excluded = nulls[among_all.codes != NO_LABEL]
        rejected = self.state.rejected.has_rejection(self.state.columns.pks[rows[excluded]])
        decisions.reasons[excluded] = np.where(rejected, _REJECTED, _CONFLICT)
        return decisions

    def what_if(
        self, snapshot: Snapshot, documents: Ids, unseen: Sequence[HypotheticalItem] = ()
    ) -> HypotheticalDecisions:
        """Return how documents would be decided if they were added now; keep nothing.

        Their pks are above all others, and `snapshot` has their vectors. `unseen` describes each of
        them, if more is known than the vector.
        """
        if self._uses_graph():
            self._refit.ready(snapshot)  # what this computes stays in use
        other = copy(self)
        known = dict(zip(documents.tolist(), unseen, strict=True)) if unseen else {}
        other.state, rows = hypothetical_state(self.state, snapshot, documents, known)
        other._classifier = self._classifier.hypothetical()
        other._refit = Refit(other.state, other._classifier)
        if self.field.taxonomy.confidence_threshold is None:
            other.state.rule = other._refit.run(snapshot, rebuild=False).rule
        return HypotheticalDecisions(
            other.suggest(snapshot, rows), other.state.rule, other.state.codes
        )

    def decide_existing(self, snapshot: Snapshot, documents: Ids) -> HypotheticalDecisions:
        """Return the decisions of the current policy for existing documents; keep nothing."""
        if self._uses_graph():
            self._refit.ready(snapshot)
        decisions = self.suggest(snapshot, self.state.columns.rows_of(documents))
        return HypotheticalDecisions(decisions, self.state.rule, self.state.codes)

    def decide_rebuilt(self, snapshot: Snapshot) -> HypotheticalDecisions:
        """Return the decisions of all documents by a rule newly fitted on the answers.

        Only for a decider that nobody else uses: it drops its earlier rule.
        """
        self.state.rule = None
        return self.decide_again(snapshot)

    def decide_again(self, snapshot: Snapshot) -> HypotheticalDecisions:
        """Return the decisions of all documents by the current rule, refitted if it is due.

        Only for a decider that nobody else uses.
        """
        if self.field.taxonomy.confidence_threshold is None:
            self.state.rule = self._refit.run(snapshot, rebuild=False).rule
        decisions = self.suggest(snapshot, np.arange(len(self.state.columns)))
        return HypotheticalDecisions(decisions, self.state.rule, self.state.codes)

    def label_without(self, snapshot: Snapshot, document: int, reference: int) -> str | None:
        """Return the label that a document would get without one of the references."""
        if self._uses_graph():
            return self._refit.ready(snapshot).label_without(document, reference)
        row = self.state.columns.rows_of(_ids([document]))
        allowed = self.state.allowed(document) & (self.state.references.pks != reference)
        matches = self._nearest(snapshot, row, allowed)
        return self.state.codes.name(int(self._policy()(matches).codes[0]))

    def causes(self, snapshot: Snapshot, document: int, count: int) -> list[tuple[int, str, float]]:
        """Return the references with the most evidence; see `GraphClassifier.causes`.

        Empty if the field decides by nearest references only: its neighbour list shows them.
        """
        if not self._uses_graph():
            return []
        return self._refit.ready(snapshot).causes(document, count)

    def classifier_and_scores(self, snapshot: Snapshot) -> tuple[GraphClassifier, Scores | None]:
        """Return the classifier with all documents, and the scores, or None without references.

        Only for as many documents as a neighbour graph can hold.
        """
        classifier = self._refit.ready_if_fitted(snapshot)
        return classifier, classifier.compute_scores(self._refit.references())

    def trials(self, snapshot: Snapshot) -> Callable[[], LeaveOneOutTrials]:
        """Return a function that computes leave-one-out results of the references, by label code.

        It may be called after the decider was returned.
        """
        if self._uses_graph():
            trials = self._refit.ready(snapshot).trials(self.state.codes.code)
            return lambda: trials
        references = self.state.references
        return partial(vector_trials, references.pks, references.codes, references.vectors)

    def suspect_trials(self, snapshot: Snapshot) -> LeaveOneOutTrials:
        """Return what the references look like that are not used, since their labels look wrong."""
        references, pks = self.state.references, self.state.suspects()
        if len(pks) == 0 or not self._uses_graph():
            return joined([])
        codes = references.codes[np.searchsorted(references.pks, pks)]
        by_label = {
            str(self.state.codes.name(code)): pks[codes == code]
            for code in np.unique(codes).tolist()
        }
        return self._refit.ready(snapshot).suspect_trials(by_label, self.state.codes.code)

    def duplicate_bound(self, snapshot: Snapshot) -> float:
        """Return the similarity from which on two documents of this field are near-duplicates."""
        rows = np.arange(len(self.state.columns))
        sample = rows[:: -(-len(rows) // _PAIRS_OF) or 1]
        return duplicate_bound(self.state.vectors(snapshot, sample), len(self.state.references))

    # --- policy ---------------------------------------------------------------------------------

    def _uses_graph(self) -> bool:
        rule = self.state.rule
        return rule is not None and rule.rule is Method.LANDSCAPE

    def _policy(self) -> Policy:
        """Return the policy that decides on neighbour lists."""
        limit, rule = self.field.taxonomy.confidence_threshold, self.state.rule
        if limit is not None:
            return threshold(limit)
        if rule is None or rule.nearest is None:
            return suggest_only
        return precision(rule.nearest)

    def _decide_by_nearest(self, rows: Rows) -> Decisions:
        decisions = self._policy()(self.state.matches(rows))
        alone = np.flatnonzero(decisions.reasons == _NO_REFERENCES)
        decisions.reasons[alone[self.state.may_match(rows[alone])]] = _BELOW
        return decisions

    def _decide_by_graph(self, rows: Rows) -> Decisions:
        state = self.state
        return self._classifier.decide(state.columns.pks[rows], state.codes.code, state.rejected)

    def _among_all(self, snapshot: Snapshot, rows: Rows) -> Matches:
        """Return the nearest references of rows, including those of rejected labels."""
        return self._nearest(snapshot, rows, np.ones(len(self.state.references), bool))

    def _nearest(self, snapshot: Snapshot, rows: Rows, among: NDArray[np.bool_]) -> Matches:
        state, references = self.state, self.state.references
        near = nearest(
            state.vectors(snapshot, rows),
            references.vectors[among],
            references.pks[among],
            self.field.taxonomy.top_k,
            query_ids=state.columns.pks[rows],
        )
        return references.matches(*near)

    # --- decide and act -------------------------------------------------------------------------

    def _decide(
        self,
        txn: Txn,
        operation: int,
        touched: Rows,
        was_settled: Ids = _NO_IDS,
        *,
        rebuild: bool = False,
    ) -> dict[int, LabelChange]:
        """Decide `touched` rows and those that a refitted rule affects; write what differs.

        The documents in `was_settled` are decided automatically again: even None is recorded for
        them.
        """
        columns, before = self.state.columns, self.state.rule
        rows = self._rows(txn, touched, rebuild)
        rows = self.state.with_same_image(rows)
        is_settled = columns["settled"][rows]
        rows, settled = rows[~is_settled], rows[is_settled]
        decisions = self.suggest(txn, rows)
        nothing = undecided(len(settled))
        outdated = self._differs(settled, nothing, DECISION_COLUMNS[1:])
        unstored = touched[~columns["stored"][touched]]
        changed = union(rows[self._differs(rows, decisions)], settled[outdated], unstored)
        changes = self._changes(rows, decisions, was_settled)
        self._log.begin(txn, operation, self.state, before)
        confidence = columns["confidence"][changed]
        self._take(rows, decisions, DECISION_COLUMNS)
        self._take(settled, nothing, DECISION_COLUMNS[1:])
        self._log.add(txn, operation, self.state, changed, before)
        other_confidence = columns["confidence"][changed] != confidence
        other_label = np.isin(columns.pks[changed], np.fromiter(changes, np.int64, len(changes)))
        for start in range(0, len(changed), _BLOCK_ROWS):
            part = slice(start, start + _BLOCK_ROWS)
            which = (changed[part], other_label[part], other_confidence[part])
            write_decisions(txn, self.field.pk, operation, columns, self.state.codes, *which)
        documents = list(changes)
        for start in range(0, len(documents), _BLOCK_ROWS):
            block = documents[start : start + _BLOCK_ROWS]
            txn.insert_cells(schema.event, self._events(operation, changes, block))
        self.state.committed(operation, changed)
        return changes

    def _rows(self, txn: Txn, touched: Rows, rebuild: bool) -> Rows:
        """Return the rows to decide again; refit the rule first if it is a fitted one."""
        if self.field.taxonomy.confidence_threshold is not None:
            self._set_rule(txn, None)
            return touched
        rule, rows = self._refit.run(txn, rebuild=rebuild)
        self._set_rule(txn, rule)
        return np.arange(len(self.state.columns)) if rows is None else union(touched, rows)

    def _set_rule(self, txn: Txn, rule: DecisionRule | None) -> None:
        """Write the decision rule if it changed; None if the threshold is given by the taxonomy."""
        if rule == self.state.rule:
            return
        self.state.rule = rule
        stored = None if rule is None else decision_rule_to(rule)
        chosen = update(schema.field).where(schema.field.c.pk == self.field.pk)
        txn.execute(chosen.values(standard=stored))

    def _differs(
        self, rows: Rows, decisions: Decisions, names: Sequence[str] = DECISION_COLUMNS
    ) -> NDArray[np.bool_]:
        columns = self.state.columns
        differs = np.zeros(len(rows), bool)
        for name in names:
            old, new = columns[name][rows], getattr(decisions, name)
            same = old == new
            if old.dtype.kind == "f":
                same |= np.isnan(old) & np.isnan(new)
            differs |= ~same
        return differs

    def _changes(
        self, rows: Rows, decisions: Decisions, was_settled: Ids
    ) -> dict[int, LabelChange]:
        state, old = self.state, self.state.columns["codes"][rows]
        changes = (state.columns.pks[rows], old, decisions.codes)
        places = np.flatnonzero((old != decisions.codes) | np.isin(changes[0], was_settled))
        pks, was, now = (column[places].tolist() for column in changes)
        names = zip(map(state.codes.name, was), map(state.codes.name, now), strict=True)
        return dict(zip(pks, names, strict=True))

    def _events(
        self, operation: int, changes: Mapping[int, LabelChange], documents: Sequence[int]
    ) -> dict[str, list[object]]:
        count = len(documents)
        return {
            "operation_pk": [operation] * count,
            "kind": [str(EventKind.DECIDED)] * count,
            "field_pk": [self.field.pk] * count,
            "document_pk": list(documents),
            "label": [changes[document][1] for document in documents],
            "origin": [str(Origin.AUTO)] * count,
        }

    def _take(self, rows: Rows, decisions: Decisions, names: Sequence[str]) -> None:
        for name in names:
            self.state.columns[name][rows] = getattr(decisions, name)


def _ids(pks: Iterable[int]) -> Ids:
    return np.array(sorted(set(pks)), np.int64)
