"""When the decision rule of a field is refitted under the `precision` policy, and how.

The fitted rule is stored with the field. It is kept while at most a twentieth of the answers that
it was fitted on have changed, and the labels, the graph and the taxonomy are the same. So an answer
changes only the items that it affects, and deciding everything again gives the same result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.confidence import confidence_from, confidence_to
from lookalike.classifier.calibration.decision_rule import DecisionRule, Method, method_for
from lookalike.classifier.calibration.nearest_rule import fit_nearest
from lookalike.classifier.calibration.training_data import (
    AnswerSampling,
    decision_rule_of,
    with_background,
)
from lookalike.classifier.graph.metric import blend
from lookalike.classifier.graph.search import NO_ID, Ids, ReferenceArrays
from lookalike.decisions.check_sheets import checked_in
from lookalike.decisions.field.classifier import GraphClassifier
from lookalike.decisions.field.columns import Rows
from lookalike.decisions.field.state import FieldState
from lookalike.decisions.ledger.samples import sample
from lookalike.labels import NO_LABEL
from lookalike.stores.base import Snapshot

_REFIT_SHARE = 20
"""Refit when more than one in this number of answers has changed."""

_REWEIGH_FACTOR = 1.5
"""Fit member weights again when the number of references has grown or shrunk by this factor.

New weights rebuild the whole graph.
"""


class RefitResult(NamedTuple):
    """The new decision rule, and the rows to decide besides the touched ones; None means all."""

    rule: DecisionRule
    rows: Rows | None


class Refit:
    """Updates the decision rule and the classifier of a field when answers change."""

    def __init__(self, state: FieldState, classifier: GraphClassifier) -> None:
        self._state = state
        self._classifier = classifier
        self._external: Mapping[str, Ids] | None = None
        """The references of another process's decisions, until the classifier uses them."""

    def note_external_decisions(self) -> None:
        """Record the references of the stored decisions; the classifier may have earlier ones."""
        self._external = self.references()

    def run(self, snapshot: Snapshot, *, rebuild: bool) -> RefitResult:
        """Return the decision rule for the current answers; with `rebuild` on a new graph."""
        state, before = self._state, self._state.rule
        external, self._external = self._external, None
        counts = np.bincount(state.references.codes).tolist()
        method, missing = method_for(counts, len(state.columns))
        if method is Method.LANDSCAPE:
            return self._refit_graph(snapshot, rebuild, external)
        nothing: Rows = np.empty(0, np.int64)
        if (
            before is not None
            and before.rule is method is Method.NEAREST
            and self._few_changed(before)
        ):
            after = replace(before, missing=missing, moved=before.moved + state.changes)
            return RefitResult(after, None if rebuild else nothing)
        after = self._refit_nearest(method, missing)
        return RefitResult(after, nothing if after == before else None)

    def ready(self, snapshot: Snapshot) -> GraphClassifier:
        """Return the classifier with all documents and the current decision rule."""
        self._survey(snapshot)
        self._restore()
        return self._classifier

    def ready_if_fitted(self, snapshot: Snapshot) -> GraphClassifier:
        """Return the classifier with all documents, and with the decision rule if one is fitted."""
        self._survey(snapshot)
        if self._state.rule is not None and self._state.rule.learned is not None:
            self._restore()
        return self._classifier

    def references(self) -> dict[str, Ids]:
        """Return the references by label, with those of the background if there are any."""
        return self._named(self._state.trusted_references())

    # --- inside ---------------------------------------------------------------------------------

    def _refit_nearest(self, method: Method, missing: tuple[str, ...]) -> DecisionRule:
        state, taxonomy = self._state, self._state.field.taxonomy
        pool = state.matches(np.flatnonzero(state.undecided))
        target = taxonomy.target_precision
        calibration = fit_nearest(state.references, pool, taxonomy.top_k, target)
        if calibration is None:
            return DecisionRule(Method.SUGGEST, (*missing, "references that separate the labels"))
        return DecisionRule(
            method,
            missing,
            limit=calibration.limit,
            nearest=calibration,
            learned_from=len(state.references),
            version=taxonomy.version,
        )

    def _refit_graph(
        self, snapshot: Snapshot, rebuild: bool, external: Mapping[str, Ids] | None
    ) -> RefitResult:
        state, before = self._state, self._state.rule
        upto, references = self._survey(snapshot, rebuild), self.references()
        if before is not None and self._still_holds(before, upto, references):
            after = replace(before, moved=before.moved + state.changes)
            if rebuild or not self._classifier.uses(self._learned()):
                self._restore()
                return RefitResult(after, None)
            return RefitResult(after, self._update_references(references, external))
        weights, weighed_from = self._member_weights(snapshot, references)
        if weights:
            upto = self._survey(snapshot, rebuild, weights)
        taxonomy, columns = state.field.taxonomy, state.columns
        references = self._named(state.references)
        confidence, suspects = self._classifier.fit(
            references,
            columns.pks[state.undecided],
            taxonomy.target_precision,
            targets=taxonomy.targets,
            sampling=self._sampling(snapshot),
            hierarchical=taxonomy.hierarchical,
            closed=taxonomy.closed_set and not len(self._new_categories()),
        )
        rule = replace(
            decision_rule_of(confidence, upto, len(suspects)),
            learned=confidence_to(confidence),
            learned_from=sum(len(pks) for pks in references.values()),
            version=taxonomy.version,
            weights=weights,
            weighed_from=weighed_from,
            suspects=self._with_labels(suspects),
        )
        return RefitResult(rule, None)

    def _update_references(
        self, references: Mapping[str, Ids], external: Mapping[str, Ids] | None
    ) -> Rows | None:
        """Update the classifier's references; return the affected rows, None for all."""
        if external is not None and sorted(external) != sorted(references):
            self._classifier.update_references(references)
            return None
        if external is not None:
            self._classifier.update_references(external)
        return self._state.columns.rows_of(self._classifier.update_references(references))

    def _sampling(self, snapshot: Snapshot) -> AnswerSampling:
        state, columns = self._state, self._state.columns
        drawn, checked = sample(snapshot, state.field.pk), checked_in(snapshot, state.field.pk)
        apart = {} if state.field.unified else self._labelled(np.union1d(drawn, checked.sample))
        return AnswerSampling(
            asked=columns.pks[columns["asked"]],
            drawn=drawn,
            new=self._new_categories(),
            apart=apart,
            checked=checked.sample,
            refuted=checked.refuted,
            corrected=self._corrected(checked.shown),
            confirmed=state.confirmed,
        )

    def _corrected(self, shown: Mapping[int, str | None]) -> Ids:
        """Return the references (pks) of another label than the one `shown` on a sheet."""
        references, name = self._state.references, self._state.codes.name
        rows = np.flatnonzero(np.isin(references.pks, list(shown)))
        pairs = zip(references.pks[rows].tolist(), references.codes[rows].tolist(), strict=True)
        return np.array([pk for pk, code in pairs if shown[pk] not in (None, name(code))], np.int64)

    def _named(self, references: ReferenceArrays) -> dict[str, Ids]:
        """Return references by label, with those of the background if there are any."""
        named = {
            str(self._state.codes.name(code)): references.pks[references.codes == code]
            for code in np.unique(references.codes).tolist()
        }
        return with_background(named, self._new_categories())

    def _with_labels(self, suspects: Ids) -> tuple[tuple[int, str], ...]:
        references, name = self._state.references, self._state.codes.name
        codes = references.codes[np.searchsorted(references.pks, suspects)]
        pairs = zip(suspects.tolist(), codes.tolist(), strict=True)
        return tuple((pk, str(name(code))) for pk, code in pairs)

    def _member_weights(
        self, snapshot: Snapshot, references: Mapping[str, Ids]
    ) -> tuple[tuple[float, ...], int]:
        """Return the weights of a combined space's members, and the number of references used."""
        if not self._lengths:
            return (), 0
        rule, count = self._state.rule, sum(map(len, references.values()))
        if rule is not None and rule.weights:
            known = rule.weighed_from
            if known < _REWEIGH_FACTOR * count and count < _REWEIGH_FACTOR * known:
                return rule.weights, known
        return self._classifier.fit_member_weights(
            references, lambda pks: self._any_vectors(snapshot, pks)
        ), count

    def _still_holds(self, before: DecisionRule, upto: int, references: Mapping[str, Ids]) -> bool:
        """Return whether the fitted rule is still good enough."""
        return (
            before.learned is not None
            and before.nodes_upto == upto
            and sorted(references) == list(before.learned["labels"])
            and len(self._state.suspects()) == len(before.suspects)
            and self._few_changed(before)
        )

    def _few_changed(self, before: DecisionRule) -> bool:
        """Return whether too few answers have changed since the fit to need another one."""
        moved = before.moved + self._state.changes
        same = before.version == self._state.field.taxonomy.version
        return same and moved <= before.learned_from // _REFIT_SHARE

    def _learned(self) -> Mapping[str, object]:
        rule = self._state.rule
        assert rule is not None and rule.learned is not None, "no rule is fitted"
        return rule.learned

    def _restore(self) -> None:
        """Let the classifier use the stored rule with the current references."""
        learned, self._external = self._learned(), None
        if not self._classifier.uses(learned):
            self._classifier.restore(confidence_from(learned), self.references())
        else:
            self._classifier.update_references(self.references())

    def _labelled(self, documents: Ids) -> dict[str, Ids]:
        """Return the documents that a person labelled, by label, rising."""
        state = self._state
        rows = np.sort(state.columns.rows_of(documents))
        codes, pks = state.columns["codes"][rows], state.columns.pks[rows]
        given = state.columns["settled"][rows] & (codes != NO_LABEL)
        return {
            str(state.codes.name(code)): pks[given & (codes == code)]
            for code in np.unique(codes[given]).tolist()
        }

    def _new_categories(self) -> Ids:
        """Return the documents that a person marked as a new category."""
        columns = self._state.columns
        return np.asarray(columns.pks[columns["settled"] & (columns["codes"] == NO_LABEL)])

    @property
    def _lengths(self) -> tuple[int, ...]:
        """Return the dimensions of a combined space's members; empty for other spaces."""
        return tuple(member.dimension for member in self._state.field.space.members)

    def _survey(
        self, snapshot: Snapshot, rebuild: bool = False, weights: tuple[float, ...] = ()
    ) -> int:
        """Give the classifier all documents and references; return the last pk of its graph.

        If `weights` differ from the current ones, the graph is rebuilt.
        """
        state, columns = self._state, self._state.columns
        slots, pks = columns["slots"], columns.pks
        if not state.field.unified:
            elsewhere = np.setdiff1d(state.references.pks, pks)
            pks = np.concatenate([pks, elsewhere])
            slots = np.concatenate([slots, np.full(len(elsewhere), NO_ID)])
            order = np.argsort(pks)
            pks, slots = pks[order], slots[order]
        before, current = 0, weights
        if state.rule is not None:
            before, current = state.rule.nodes_upto, state.rule.weights
        if rebuild or weights not in ((), current):
            before = 0
        return self._classifier.set_items(
            pks,
            slots,
            lambda p: self._any_vectors(snapshot, p),
            before,
            blend(self._lengths, weights or current),
        )

    def _any_vectors(self, snapshot: Snapshot, pks: Ids) -> NDArray[np.float16]:
        """Return vectors of documents and of references in other collections."""
        field = self._state.field
        known = self._state.columns.pks
        place = np.minimum(np.searchsorted(known, pks), max(len(known) - 1, 0))
        own = known[place] == pks if len(known) else np.zeros(len(pks), bool)
        if own.all():
            return snapshot.vectors(field.space, pks)
        vectors = np.empty((len(pks), field.space.dimension), np.float16)
        vectors[own] = snapshot.vectors(field.space, pks[own])
        vectors[~own] = snapshot.vectors(field.reference_space, pks[~own])
        return vectors
