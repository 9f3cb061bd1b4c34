"""Scores of every label for every item: graph evidence, class similarity, nearest similarity.

Pure and incremental: when the references of a label change, only its columns are recomputed.
Evidence is always summed in the same order and products are exact, so the result does not depend on
the history of changes. Places are positions in a `NeighbourGraph`.

With e_ic the mean evidence of label c's references for item i, graph evidence is L_ic = log(e_ic +
1e-5). With m_c the sum of c's references, whitened and of equal length, class similarity is C_ic =
the cosine of i and m_c. Both are stored where c **reaches** i, that is e_ic > 0; elsewhere they are
the constants `UNREACHED`. So a new reference affects some thousand items of a million. Nearest
similarity Z_ic is the largest centred cosine of i with one of c's references, computed on demand.
Two scores are independent of the label: neighbourhood evidence W_i, the smoothed mean of the
largest L around i (`GraphSmoother`), and `remoteness` R_i.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.arrays import Bytes, product, union, without
from lookalike.classifier.graph.graph import NeighbourGraph
from lookalike.classifier.graph.propagation import (
    COARSE,
    DECAY,
    FINE,
    Evidence,
    Floats,
    GraphSmoother,
    Places,
    mean_evidence,
    remoteness,
)
from lookalike.classifier.scores.evidence import (
    FLOOR,
    NO_EVIDENCE,
    UNREACHED,
    Column,
    LabelIndex,
    MaxEvidence,
    TwoLargest,
    largest,
    two_largest,
)

# --- nearest reference of a label, computed on demand and cached ---------------------------------

_BLOCK_CELLS = 8_000_000
_NO_COLUMN_CACHED = -1

_ONE_BY_ONE = 16
"""If more references of one column are added at once, all cached items of the column are
recomputed."""


class NearestReference:
    """The nearest reference of one column for each of n items; the last column asked for is cached.

    `cosines` returns those of items (m,) and references (k,), float32 (m, k). `_similarity` float32
    (n,) is the centred cosine of the nearest reference, `_sources` its place; ties go to the lowest
    place.
    """

    def __init__(self, items: int, cosines: Callable[[Places, Places], Floats]) -> None:
        self._cosines = cosines
        self._cached_column = np.full(items, _NO_COLUMN_CACHED)
        self._similarity: Floats = np.zeros(items, np.float32)
        self._sources: Places = np.zeros(items, np.int64)

    def of(
        self, places: Places, columns: NDArray[np.int64], references: Callable[[int], Places]
    ) -> tuple[Floats, Places]:
        """Return the cosines of different items with the nearest reference of one column each, and
        its place.

        Both are (m,) and 0 for the column −1. `references` returns the sorted places of a column's
        references.
        """
        some = columns >= 0
        new = np.flatnonzero(some & (self._cached_column[places] != columns))
        self._compute(places[new], columns[new], references)
        return self._similarity[places] * some, self._sources[places] * some

    def invalidate(self, column: int | None = None) -> None:
        """Drop the cached results of one column, or of all."""
        chosen = slice(None) if column is None else self._cached_column == column
        self._cached_column[chosen] = _NO_COLUMN_CACHED

    def update(self, column: int, added: Places, removed: Places) -> None:
        """Update the cache after references of a column were `added` and `removed`."""
        if len(added) > _ONE_BY_ONE:
            self.invalidate(column)
        items = np.flatnonzero(self._cached_column == column)
        if len(items) == 0:
            return
        if len(removed):
            self._cached_column[items[np.isin(self._sources[items], removed)]] = _NO_COLUMN_CACHED
        for place in added.tolist():
            cosines = self._cosines(items, np.array([place]))[:, 0]
            known = self._similarity[items]
            first = (cosines == known) & (place < self._sources[items])
            better = items[(cosines > known) | first]
            self._similarity[better] = cosines[(cosines > known) | first]
            self._sources[better] = place

    def _compute(
        self, places: Places, columns: NDArray[np.int64], references: Callable[[int], Places]
    ) -> None:
        self._cached_column[places] = columns
        order = np.argsort(columns, kind="stable")
        asked, starts = np.unique(columns[order], return_index=True)
        for column, rows in zip(asked.tolist(), np.split(order, starts[1:]), strict=False):
            among = references(column)
            step = max(1, _BLOCK_CELLS // len(among))
            for start in range(0, len(rows), step):
                part = places[rows[start : start + step]]
                table = self._cosines(part, among)
                self._similarity[part] = table.max(axis=1)
                self._sources[part] = among[table.argmax(axis=1)]


# --- class similarity ----------------------------------------------------------------------------

# Only the sums are stored. A sum m is split into digits, m = Σ_t (2h + 1)^t m_t, with no component
# of m_t above h, so that they fit int8 and each product with m_t is exact. Their combination is
# exact in float64, in whatever order references were added and removed.

_BLOCK = 4096
_BYTE = 127

Doubles = NDArray[np.float64]
Sums = NDArray[np.int64]


class ClassSimilarity:
    """⟨u, m⟩ of whitened items u (int8 (n, d)) and the sums m of labels' references."""

    def __init__(self, whitened: Bytes) -> None:
        self._turned = whitened
        self._sums: dict[str, Sums] = {}
        self._squares: dict[str, float] = {}

    def extended_to(self, whitened: Bytes) -> ClassSimilarity:
        """Return the class similarity of the same references to more items."""
        extended = ClassSimilarity(whitened)
        extended._sums = {name: total.copy() for name, total in self._sums.items()}
        extended._squares = dict(self._squares)
        return extended

    def set_labels(self, labels: Sequence[str]) -> None:
        """Set which labels there are; new ones have no references yet."""
        nothing = np.zeros(self._turned.shape[1], np.int64)
        self._sums = {name: self._sums.get(name, nothing.copy()) for name in labels}
        self._squares = {name: self._squares.get(name, 0.0) for name in labels}

    def update(
        self, label: str, added: Places, removed: Places, weights: Places | None = None
    ) -> None:
        """Update a label's sum after references were `added` and `removed`.

        `weights` are those of all items, if references do not count alike.
        """
        for places, sign in ((added, 1), (removed, -1)):
            rows = self._turned[places]
            if weights is None:
                self._sums[label] += sign * rows.sum(axis=0, dtype=np.int64)
            else:
                self._sums[label] += sign * (weights[places] @ rows.astype(np.int64))
        self._squares[label] = float((self._sums[label].astype(np.float64) ** 2).sum())

    def square(self, label: str) -> float:
        """Return ⟨m, m⟩ of a label."""
        return self._squares[label]

    def at(self, label: str, places: Places) -> Doubles:
        """Return ⟨u, m⟩ of items (k,) for one label."""
        found = np.zeros(len(places))
        digits = list(_digits(self._sums[label]))
        for start in range(0, len(places), _BLOCK):
            rows = self._turned.take(places[start : start + _BLOCK], axis=0)
            part = found[start : start + _BLOCK]
            for power, digit in digits:
                part += power * product(rows, digit)
        return found


def _digits(total: Sums) -> Iterator[tuple[int, Bytes]]:
    """Yield the digits of a sum as int8, each with the power it is multiplied by."""
    power = 1
    while total.any():
        digit = (total + _BYTE) % (2 * _BYTE + 1) - _BYTE
        yield power, digit.astype(np.int8)
        total, power = (total - digit) // (2 * _BYTE + 1), power * (2 * _BYTE + 1)


# -------------------------------------------------------------------------------------------------

BACKGROUND = ""
"""The label name of references for "none of these"; it sorts first."""

_NO_LABEL_EVIDENCE = Evidence(np.empty(0, np.int64), np.empty(0, np.float32))
_NO_COLUMN = Column(np.empty(0, np.int64), np.empty((2, 0), np.float32))

FEW_REFERENCES = 500
"""Up to this many references, evidence propagates with the fine truncation. With three to ten
references of each of three or four labels, among 4,886 to 7,600 items, this makes .03 to .30 more
of the best guesses right. Many references lie so close to all items that it makes no difference."""

_STEPS_OF_W = 4
"""W is stored in quarters: a finer grid changes many more items and is no more informative."""


@dataclass(frozen=True, slots=True)
class _ReferenceEvidence:
    """The evidence that one reference gives to all items, and to itself."""

    evidence: Evidence
    itself: float


class LabelScores(Protocol):
    """Interface of the scores of a graph's items, label by label: `Scores` or `ParentScores`.

    The columns are those of `labels`; `Scores` documents the methods.
    """

    @property
    def neighbour_graph(self) -> NeighbourGraph:
        """Return the neighbour graph of the items."""

    @property
    def labels(self) -> list[str]:
        """Return the labels, sorted."""

    def column(self, label: str) -> Column:
        """Return L and C of one label at the items it reaches."""

    def table(self, places: Places) -> Floats:
        """Return L and C of items (2, m, labels)."""

    def nearest(self, places: Places, columns: NDArray[np.int64]) -> tuple[Floats, Places]:
        """Return Z of different items, each for one label's column (m,), and the places of the
        references.
        """

    def neighbourhood(self, places: Places) -> Floats:
        """Return W and R of items (m, 2)."""


class Scores:
    """Scores of all labels that have references, over one neighbour graph; labels are sorted.

    `_evidence` is e by label, sparse; `_columns` are L and C of the reached items; `_label_index`
    holds which labels reach each item; `_class_similarity` are inner products of whitened items
    with the sums m_c of whitened references, whole numbers. `_max_evidence` is the largest e of any
    label but the background.

    With `weights`, whole numbers > 0 for all items, e is a weighted mean and m_c a weighted sum.
    `fine_propagation` selects the truncation (`propagation.FINE` or `COARSE`); few references need
    the fine one, and `for_references` selects it by their number.
    """

    def __init__(
        self,
        neighbour_graph: NeighbourGraph,
        weights: Places | None = None,
        *,
        fine_propagation: bool = False,
    ) -> None:
        self._neighbour_graph, self._weights = neighbour_graph, weights
        self.fine_propagation = fine_propagation
        self._reference_evidence: dict[int, _ReferenceEvidence] = {}
        self._references: dict[str, Places] = {}
        self._evidence: dict[str, Evidence] = {}
        self._columns: dict[str, Column] = {}
        self._class_similarity = ClassSimilarity(neighbour_graph.whitened)
        self._label_index = LabelIndex([], len(neighbour_graph))
        self._max_evidence = MaxEvidence([], len(neighbour_graph))
        self._smoother: GraphSmoother | None = None
        self._remoteness: Floats | None = None
        self._nearest_reference = NearestReference(len(neighbour_graph), neighbour_graph.cosines)

    @property
    def neighbour_graph(self) -> NeighbourGraph:
        """Return the neighbour graph of the items."""
        return self._neighbour_graph

    @property
    def labels(self) -> list[str]:
        """Return the labels that have references, sorted: the order of all columns."""
        return list(self._references)

    def references(self, label: str) -> Places:
        """Return the sorted places of a label's references."""
        return self._references[label]

    def with_weights(self, weights: Places | None) -> Scores:
        """Return these scores, or empty ones over the same graph if their weights differ."""
        same = weights is self._weights or (
            weights is not None
            and self._weights is not None
            and np.array_equal(weights, self._weights)
        )
        fine = self.fine_propagation
        return self if same else Scores(self.neighbour_graph, weights, fine_propagation=fine)

    def for_references(self, references: Mapping[str, Places]) -> Scores:
        """Return scores of `references` (sorted places by label), with the propagation that their
        number needs: these scores, updated, or others over the same graph.
        """
        few = sum(map(len, references.values())) <= FEW_REFERENCES
        scores = self.with_propagation(fine=few)
        scores.set_references(references)
        return scores

    def with_propagation(self, *, fine: bool) -> Scores:
        """Return these scores, or empty ones over the same graph if their propagation differs."""
        if fine == self.fine_propagation:
            return self
        return Scores(self.neighbour_graph, self._weights, fine_propagation=fine)

    def weights_of(self, places: Places) -> Places:
        """Return the weights of references (m,), 1 if all count alike."""
        return np.ones(len(places), np.int64) if self._weights is None else self._weights[places]

    def changed_by(self, references: Mapping[str, Places]) -> list[str]:
        """Return the labels, sorted, whose `references` (sorted places) differ from the current
        ones.
        """
        before, no_places = self._references, np.empty(0, np.int64)
        return [
            name
            for name in sorted({*before, *references})
            if not _same(before.get(name, no_places), references.get(name, no_places))
        ]

    def set_references(self, references: Mapping[str, Places]) -> Places:
        """Set each label's references (sorted places), at least one; return the items whose W may
        change.
        """
        changed, before = self.changed_by(references), self._references
        moved = [self._set_labels(sorted(references))]
        self._references = {name: references[name] for name in sorted(references)}
        no_places = np.empty(0, np.int64)
        for name in changed:
            if name in references:
                now, then = references[name], before.get(name, no_places)
                added, removed = without(now, then), without(then, now)
                self._class_similarity.update(name, added, removed, self._weights)
                self._nearest_reference.update(self.labels.index(name), added, removed)
                moved.append(self._update_label(name, now))
        if self._smoother is None:
            return no_places
        places = union(*moved)
        return self._smoother.update(places, np.log(self._max_evidence.largest[places] + FLOOR))

    def extended_to(self, neighbour_graph: NeighbourGraph) -> Scores:
        """Return the scores of the same references over `neighbour_graph`, which has more
        out-of-graph items.

        The scores of the items that are here already stay the same.
        """
        fine = self.fine_propagation
        extended = Scores(neighbour_graph, self._weights, fine_propagation=fine)
        known = len(self.neighbour_graph)
        extended._reference_evidence = dict(self._reference_evidence)
        extended._references = dict(self._references)
        extended._class_similarity = self._class_similarity.extended_to(neighbour_graph.whitened)
        extended._evidence = {
            name: neighbour_graph.with_out_of_graph(evidence, known)
            for name, evidence in self._evidence.items()
        }
        extended._columns = {
            name: extended._make_column(name, after=column)
            for name, column in self._columns.items()
        }
        extended._label_index = extended._new_label_index()
        extended._max_evidence = self._max_evidence.extended_to(
            extended._label_evidence(), len(neighbour_graph)
        )
        if self._smoother is not None:
            extended._smoother = self._smoother.extended_to(neighbour_graph)
        return extended

    def column(self, label: str) -> Column:
        """Return L and C of one label at the items it reaches."""
        return self._columns[label]

    def evidence_of(self, column: int) -> Evidence:
        """Return e of one label."""
        return self._evidence[self.labels[column]]

    def table(self, places: Places) -> Floats:
        """Return L and C of items for all labels, float32 (2, m, labels)."""
        values = [column.values for column in self._columns.values()]
        return self._label_index.dense(values, places, UNREACHED)

    def evidence(self, places: Places) -> Floats:
        """Return e of items for all labels, float32 (m, labels)."""
        amounts = [evidence.amounts[None] for evidence in self._evidence.values()]
        table: Floats = self._label_index.dense(amounts, places, NO_EVIDENCE)[0]
        return table

    def largest_evidence_sum(self) -> Floats:
        """Return the largest sum of evidence of one label's references at each item (n,)."""
        counts = [len(places) for places in self._references.values()]
        return largest(list(self._evidence.values()), counts, len(self.neighbour_graph))

    def sums(self, places: Places, column: int) -> tuple[Doubles, float]:
        """Return ⟨u, m⟩ of whitened items u (m,) for one label, and ⟨m, m⟩."""
        label = self.labels[column]
        return self._class_similarity.at(label, places), self._class_similarity.square(label)

    def nearest(self, places: Places, columns: NDArray[np.int64]) -> tuple[Floats, Places]:
        """Return Z of different items, each for one label's column (m,), and the places of the
        references.

        Ties go to the reference at the lowest place. For the column −1, no label, both are 0.
        """
        every = list(self._references.values())
        return self._nearest_reference.of(places, columns, lambda column: every[column])

    def neighbourhood(self, places: Places) -> Floats:
        """Return W and R of items (m, 2)."""
        if self._remoteness is None:
            self._remoteness = remoteness(self.neighbour_graph)
        return np.stack([self.smoother.at(places), self._remoteness[places]], axis=1)

    @property
    def smoother(self) -> GraphSmoother:
        """Return the smoother that computes W, updated with the references."""
        if self._smoother is None:
            values = np.log(self._max_evidence.largest + FLOOR)
            self._smoother = GraphSmoother(self.neighbour_graph, values, steps=_STEPS_OF_W)
        return self._smoother

    def rivals(self, groups: NDArray[np.int64]) -> TwoLargest:
        """Return the two largest e of labels from different `groups` (labels,), without the
        background.
        """
        columns = self._label_evidence()
        return two_largest(columns, groups[len(groups) - len(columns) :], len(self.neighbour_graph))

    def reference_evidence(self, place: int) -> _ReferenceEvidence:
        """Return the evidence of the reference at `place`; computed once, then cached."""
        if place not in self._reference_evidence:
            graph = self.neighbour_graph
            evidence = graph.evidence(place, FINE if self.fine_propagation else COARSE)
            itself = float(evidence.at(np.array([place]))[0])
            if place >= graph.nodes:  # its neighbours return a part of its own evidence
                itself += float(
                    DECAY * (graph.near_weights[place] * evidence.at(graph.near[place])).sum()
                )
            self._reference_evidence[place] = _ReferenceEvidence(evidence, itself)
        return self._reference_evidence[place]

    def _set_labels(self, labels: list[str]) -> Places:
        """Set the `labels` of all columns, new ones empty; return the items whose largest e
        changed.
        """
        if labels == self.labels:
            return np.empty(0, np.int64)
        before = self._max_evidence.largest
        self._evidence = {name: self._evidence.get(name, _NO_LABEL_EVIDENCE) for name in labels}
        self._columns = {name: self._columns.get(name, _NO_COLUMN) for name in labels}
        self._class_similarity.set_labels(labels)
        self._label_index = self._new_label_index()
        self._max_evidence = MaxEvidence(self._label_evidence(), len(self.neighbour_graph))
        self._nearest_reference.invalidate()
        return np.flatnonzero(before != self._max_evidence.largest)

    def _label_evidence(self) -> list[Evidence]:
        """Return e of all labels but the background."""
        return [evidence for name, evidence in self._evidence.items() if name != BACKGROUND]

    def _update_label(self, label: str, places: Places) -> Places:
        """Set a label's references; return the items whose largest e may have changed."""
        before = self._evidence[label]
        parts = [self.reference_evidence(place).evidence for place in places.tolist()]
        weights = None if self._weights is None else self._weights[places]
        mean = mean_evidence(parts, weights)
        self._evidence[label] = now = self.neighbour_graph.with_out_of_graph(mean)
        self._columns[label] = self._make_column(label, after=_NO_COLUMN)
        self._label_index.update(self.labels.index(label), now.places)
        if label == BACKGROUND:
            return np.empty(0, np.int64)
        first = int(BACKGROUND in self._evidence)  # the background sorts first: skip it
        return self._max_evidence.update(before, now, lambda lost: self.evidence(lost)[:, first:])

    def _new_label_index(self) -> LabelIndex:
        """Return the index of which labels reach which items."""
        every = [evidence.places for evidence in self._evidence.values()]
        return LabelIndex(every, len(self.neighbour_graph))

    def _make_column(self, label: str, *, after: Column) -> Column:
        """Return L and C of one label at the items it reaches; the values of `after` are known
        already.
        """
        evidence, known = self._evidence[label], len(after.places)
        places, logs = evidence.places[known:], np.log(evidence.amounts[known:] + FLOOR)
        length = np.sqrt(max(self._class_similarity.square(label), 1))
        cosines = self._class_similarity.at(label, places) / (
            self.neighbour_graph.whitened_lengths[places] * length
        )
        more = np.stack([logs, cosines.astype(np.float32)])
        return Column(evidence.places, np.concatenate([after.values, more], axis=1))


def _same(one: Places, other: Places) -> bool:
    return one is other or (len(one) == len(other) and bool((one == other).all()))
