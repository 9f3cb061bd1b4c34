"""Leave-one-out scores of the references: what each would score if it were not a reference. Pure.

Each reference is removed exactly from its own label, whose other references remain, or together
with its whole label, as if that label had never been used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.propagation import Floats, Places
from lookalike.classifier.scores.evidence import FLOOR, UNREACHED, Mix, mixed
from lookalike.classifier.scores.scores import BACKGROUND, Scores

_LEAST = 1e-5
"""Evidence below this is rounding error: no other reference of the label reaches the item."""

_BY_ROW = (
    "places",
    "own",
    "graph_evidence",
    "class_similarity",
    "own_similarity",
    "nearest_similarity",
    "neighbourhood_evidence",
    "remoteness",
)


@dataclass(frozen=True, slots=True)
class LeftOutScores:
    """Leave-one-out scores of r references; all float32 (r, labels) unless noted.

    `graph_evidence` is L, `class_similarity` C, `nearest_similarity` Z. `places` (r,) are the
    references' places, `own` int64 (r,) their labels as columns, `counts` (labels,) the references
    of each label. `own_similarity` (r,) is C of the own label, whether it reaches the reference or
    not. `neighbourhood_evidence` (r, 2…) is W: without the reference; without its whole label; and
    without all labels of its parent, for each requested level. `remoteness` (r,) is R.
    """

    places: Places
    own: NDArray[np.int64]
    counts: NDArray[np.int64]
    graph_evidence: Floats
    class_similarity: Floats
    own_similarity: Floats
    nearest_similarity: Floats
    neighbourhood_evidence: Floats
    remoteness: Floats

    def joined(self, more: LeftOutScores) -> LeftOutScores:
        """Return these rows and `more`, of the same labels."""
        parts = {
            name: np.concatenate([getattr(self, name), getattr(more, name)]) for name in _BY_ROW
        }
        return replace(self, **parts)

    def some(self, rows: NDArray[np.int64]) -> LeftOutScores:
        """Return some of the rows."""
        return replace(self, **{name: getattr(self, name)[rows] for name in _BY_ROW})

    def totals(self, mix: Mix) -> Floats:
        """Return a·L + b·C (r, labels), for the own label even if it does not reach the reference.

        The low similarity of a wrong reference to its own label is the strongest sign that it is
        wrong.
        """
        total, rows = (
            mixed(mix, self.graph_evidence, self.class_similarity),
            np.arange(len(self.own)),
        )
        total[rows, self.own] = mixed(mix, self.graph_evidence[rows, self.own], self.own_similarity)
        return total

    def without_own(self) -> LeftOutScores:
        """Return the scores with each reference's own label removed altogether."""
        rows = np.arange(len(self.own))
        unreached = {
            "graph_evidence": UNREACHED[0],
            "class_similarity": UNREACHED[1],
            "nearest_similarity": -1,
        }
        parts = {name: getattr(self, name).copy() for name in unreached}
        for name, value in unreached.items():
            parts[name][rows, self.own] = value
        around = self.neighbourhood_evidence
        around = np.concatenate([around[:, 1:2], around[:, 1:]], axis=1)
        return replace(self, **parts, neighbourhood_evidence=around)


def scores_of_answered(
    scores: Scores, answered: Mapping[str, Places], levels: Sequence[Places] = ()
) -> LeftOutScores:
    """Return the scores of items that are no references, by the label that a person gave to each.

    Nothing is left out, because they are no references. Labels without references are skipped.
    `levels` are as in `leave_one_out`.
    """
    labels = scores.labels
    known = [(labels.index(name), places) for name, places in answered.items() if name in labels]
    places = np.concatenate([np.empty(0, np.int64), *(part for _, part in known)])
    own = np.repeat([column for column, _ in known], [len(part) for _, part in known])
    members = [scores.references(label) for label in labels]
    graph_evidence, class_similarity = scores.table(places)
    own_similarity = [
        _own_similarity_left(scores, column, part, is_reference=False) for column, part in known
    ]
    return LeftOutScores(
        places=places,
        own=own.astype(np.int64),
        counts=np.array([len(part) for part in members]),
        graph_evidence=graph_evidence,
        class_similarity=class_similarity,
        own_similarity=np.concatenate([np.empty(0, np.float32), *own_similarity]),
        nearest_similarity=nearest_of_each(scores, places),
        neighbourhood_evidence=_neighbourhood_left(scores, places, own, levels, counts=None),
        remoteness=scores.neighbourhood(places)[:, 1],
    )


def leave_one_out(scores: Scores, sample: Places, levels: Sequence[Places] = ()) -> LeftOutScores:
    """Return the leave-one-out scores of the references in `sample`; exact, except for W.

    `levels` give, for each level of parents, the parent column of each label (labels,).
    """
    members = [scores.references(label) for label in scores.labels]
    every = np.concatenate(members)
    counts = np.array([len(part) for part in members])
    own = np.repeat(np.arange(len(members)), counts)
    chosen = np.isin(every, sample)
    places, own = every[chosen], own[chosen]
    graph_evidence, class_similarity = scores.table(places)
    own_similarity = np.empty(len(own), np.float32)
    for column in range(len(members)):
        rows = np.flatnonzero(own == column)
        own_similarity[rows] = _own_similarity_left(scores, column, places[rows], is_reference=True)
        graph_evidence[rows, column] = _graph_evidence_left(scores, column, places[rows])
        reached = graph_evidence[rows, column] > UNREACHED[0]
        class_similarity[rows, column] = np.where(reached, own_similarity[rows], UNREACHED[1])
    return LeftOutScores(
        places=places,
        own=own,
        counts=counts,
        graph_evidence=graph_evidence,
        class_similarity=class_similarity,
        own_similarity=own_similarity,
        nearest_similarity=nearest_of_each(scores, places),
        neighbourhood_evidence=_neighbourhood_left(scores, places, own, levels, counts),
        remoteness=scores.neighbourhood(places)[:, 1],
    )


def _graph_evidence_left(scores: Scores, column: int, places: Places) -> Floats:
    """Return L (r,) of one label for its references, each without itself."""
    count, total = _weighed(scores, column)
    own = np.array([scores.reference_evidence(place).itself for place in places.tolist()])
    weights = scores.weights_of(places).astype(np.float32)
    rest = scores.evidence_of(column).at(places) * total - weights * own.astype(np.float32)
    logs = np.log(np.maximum(rest, 0) / np.maximum(total - weights, 1) + FLOOR)
    reached = (rest > _LEAST * total / count) & (count > 1)
    return np.asarray(np.where(reached, logs, UNREACHED[0]), np.float32)


def _weighed(scores: Scores, column: int) -> tuple[int, np.float32]:
    """Return how many references a label has, and the sum of their weights."""
    places = scores.references(scores.labels[column])
    return len(places), np.float32(scores.weights_of(places).sum())


def _own_similarity_left(
    scores: Scores, column: int, places: Places, *, is_reference: bool
) -> Floats:
    """Return C (r,) of one label, whether it reaches the items or not.

    With `is_reference` the items are references of the label and each is left out; −1 if it is the
    only one. That is ⟨u, m − wu⟩ / |u| |m − wu| for a reference u of weight w among those that add
    up to m.
    """
    product, square = scores.sums(places, column)
    length = scores.neighbour_graph.whitened_lengths[places]
    alone = is_reference and len(scores.references(scores.labels[column])) == 1
    weights = scores.weights_of(places) * is_reference
    rest = np.sqrt(np.maximum(square - 2 * product * weights + (weights * length) ** 2, 1))
    left = product - weights * length**2
    return np.asarray(np.where(alone, -1, left / (length * rest)), np.float32)


def nearest_of_each(scores: Scores, places: Places) -> Floats:
    """Return Z (m, labels) of items; −1 for the own label of its only reference.

    A reference is not its own nearest reference.
    """
    members = [scores.references(label) for label in scores.labels]
    every = np.concatenate(members)
    cosines = scores.neighbour_graph.cosines(places, every)
    cosines[places[:, None] == every] = -1
    starts = np.cumsum([0, *(len(part) for part in members[:-1])])
    return np.maximum.reduceat(cosines, starts, axis=1)


def _neighbourhood_left(
    scores: Scores,
    places: Places,
    own: NDArray[np.int64],
    levels: Sequence[Places],
    counts: NDArray[np.int64] | None,
) -> Floats:
    """Return W (r, 2…), as in `LeftOutScores`, of items with labels `own` (r,).

    If the items are references, `counts` (labels,) are the numbers of references per label.
    """
    groups = [np.arange(len(scores.labels)), *levels]
    rivals = [scores.rivals(group) for group in groups]
    found = np.empty((len(places), 1 + len(groups)), np.float32)
    of_label, of_reference = np.zeros((2, len(scores.neighbour_graph)), np.float32)
    for label in np.unique(own).tolist():
        evidence, count = scores.evidence_of(label), 0 if counts is None else int(counts[label])
        total = _weighed(scores, label)[1]
        if scores.labels[label] != BACKGROUND:
            of_label[evidence.places] = evidence.amounts
        for row in np.flatnonzero(own == label).tolist():
            weights = scores.smoother.smoothing_weights(int(places[row]))
            rest = of_label[weights.places]
            if count:
                itself = scores.reference_evidence(int(places[row])).evidence
                of_reference[itself.places] = itself.amounts
                weight = np.float32(scores.weights_of(places[row : row + 1])[0])
                rest = rest * total - weight * of_reference[weights.places]
                rest = np.asarray(rest / np.maximum(total - weight, 1) * (count > 1), np.float32)
                of_reference[itself.places] = 0
            others = [
                one.other_than(group[label], weights.places)
                for one, group in zip(rivals, groups, strict=True)
            ]
            amounts = np.stack([np.maximum(others[0], rest), *others])
            found[row] = np.log(amounts + FLOOR) @ weights.amounts
        of_label[evidence.places] = 0
    return found
