"""Review queue: which items to ask a person about next, by expected value (active learning). Pure.

The same formula holds with and without labels. K are the first steps of the evidence that an item
gives to others (`propagation`), n_j = 1 / (1 + F_j / 0.1) how uncovered item j is, F_j the largest
sum of evidence of one label at j, and 1 − p_i the probability that the suggestion for i is wrong:

    value_i = Σ_j K_ij n_j + (1 − p_i)

This value is the expected number of items that an answer settles: uncovered items around it, and
the item itself. Without labels n = 1 everywhere, and the densest region comes first; later dense
uncovered regions; at last doubtful items. The queue is greedy: each pick lowers the value of its
look-alikes by 1 − min(1, 5 K_ij). Values only fall, so earlier values remain upper bounds and few
are recomputed (lazy greedy, after Minoux 1978).

A **group** is a seed and look-alikes with the same suggestion: one key accepts all, one more
removes each wrong picture. It is offered if it settles more per key than asking about the seed
alone, and only around a seed with a value below half an item. Informative single items come first,
and large groups later: earlier groups were measured to need more keys until all is settled.

All questions are compared by their **gain**: actions saved per action spent. An item near a
reference needs a part of a check instead of a question of its own, so covering it saves 0.6
actions. Labelling a look-alike together with the seed saves the remaining 0.25, and costs one more
action if it has another label. `check_sheets` computes the gain of a check.

Places are positions in a `NeighbourGraph`; the same input gives the same queue.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.graph import NeighbourGraph
from lookalike.classifier.graph.propagation import DECAY, Evidence, Floats, Graph, Places, push
from lookalike.classifier.scores.scores import Scores

GROUP_SIZE = 16
"""The largest number of items in a group, its seed included."""

GROUP_REFERENCES = 3
"""A label with fewer references is not proposed for a group: its items are asked about one by
one."""

_COVERED, _NAMED = 0.6, 0.25
_FEWEST = 2
_STEPS = 4
_NODES = 65_536
_NEAR = np.float32(0.1)
_COVER = np.float32(5)
_MOST_COVERED = np.float32(0.99)
_EVEN = 0.5

Mask = NDArray[np.bool_]


class QuestionKind(StrEnum):
    """Why a question is asked."""

    CHECK = "check"
    SUSPECT = "suspect"
    NAMES = "names"
    VALUE = "value"
    NEW_KIND = "new_kind"
    CONFLICT = "conflict"
    LIMIT = "limit"
    SECOND_OPINION = "second_opinion"


@dataclass(frozen=True, slots=True)
class ReviewQuestion:
    """A question about `places`, the seed first; a `suggestion` applies to all of them.

    An answer settles about `value` items (expected value) and saves `gain` actions per action.
    Without a suggestion the person names the label. In a check each item has its own entry of
    `suggestions`.
    """

    places: tuple[int, ...]
    suggestion: str | None
    value: float
    kind: QuestionKind
    gain: float
    suggestions: tuple[str | None, ...] = ()


class Guessed(NamedTuple):
    """Items with zero-shot suggestions: their `labels`, and the probability `likely` (m,) of
    each.
    """

    places: Places
    labels: tuple[str, ...]
    likely: NDArray[np.float64]


class SameLabelGroup(NamedTuple):
    """Items that may have the same label, the representative first; `same` (m − 1,) is the
    probability that each of the others has its label.
    """

    places: Places
    same: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ItemStates:
    """The label state of each of n items; all arrays (n,).

    `winners` int64 is the column in `labels` of the suggestion (−1: none), `probability` float64
    that it is right; `references` int64 (labels,) the number of references of each label. Items
    `settled` by a person and `skipped` items are never asked about; `automatic` ones have an
    automatic label; `conflicts` resemble references that contradict each other.
    """

    labels: tuple[str, ...]
    references: NDArray[np.int64]
    winners: NDArray[np.int64]
    probability: NDArray[np.float64]
    settled: Mask
    automatic: Mask
    skipped: Mask
    conflicts: Mask

    @property
    def open(self) -> Mask:
        """Return which items may be asked about (n,)."""
        return ~(self.settled | self.skipped)


def unlabelled(items: int) -> ItemStates:
    """Return the states of items without any labels."""
    nothing, no = np.full(items, -1, np.int64), np.zeros(items, bool)
    return ItemStates((), np.empty(0, np.int64), nothing, np.zeros(items), no, no, no, no)


class GraphReach:
    """How far an answer about one item propagates in a graph, including out-of-graph items."""

    def __init__(self, neighbour_graph: NeighbourGraph) -> None:
        self._graph = _with_out_of_graph_edges(neighbour_graph)

    def __len__(self) -> int:
        return len(self._graph)

    def of(self, place: int) -> Evidence:
        """Return K_i· of one item, sparse."""
        return push(self._graph, np.array([place]), np.ones(1, np.float32), _STEPS)

    def total(self, need: Floats) -> Floats:
        """Return Σ_j K_ij need_j of every item (n,), without dropping small amounts."""
        total, step = need.astype(np.float64), need
        for _ in range(_STEPS):
            step = np.concatenate([step[:0], *self._step(step)])
            total += step
        return total.astype(np.float32)

    def _step(self, step: Floats) -> Iterator[Floats]:
        """Yield the amounts after one more propagation step, a block of nodes at a time."""
        graph = self._graph
        for start in range(0, len(self), _NODES):
            ends = graph.starts[start : start + _NODES + 1]
            edges, joined = slice(int(ends[0]), int(ends[-1])), np.flatnonzero(np.diff(ends))
            flow = np.take(step, graph.columns[edges])
            flow *= graph.weights[edges]
            reached = np.zeros(len(ends) - 1, np.float32)
            if len(joined):  # without edges, `reduceat` returns another node's sum
                reached[joined] = np.add.reduceat(flow, ends[joined] - ends[0])
            yield DECAY * reached


def uncovered(scores: Scores) -> Floats:
    """Return n (items,): near 1 without references around, near 0 next to a reference."""
    return np.asarray(_NEAR / (_NEAR + scores.largest_evidence_sum()))


def questions(
    reach: GraphReach,
    states: ItemStates,
    scores: Scores | None,
    count: int,
    *,
    groups: Sequence[SameLabelGroup] = (),
    guessed: Guessed | None = None,
    drawn: Sequence[int] = (),
    sheets: Sequence[ReviewQuestion] = (),
) -> list[ReviewQuestion]:
    """Return up to `count` questions, the largest gain first; no item is in two of them.

    `groups` are items that may belong to a new category: each open group becomes one question.
    Zero-shot suggestions, `guessed`, become one question, too. `drawn` are random places, asked
    about regardless of their value: single questions like any other, evenly spread among the rest.
    `sheets` are finished questions about several items.
    """
    queue = _Queue(reach, states, scores)
    for sheet in sheets:
        queue.take(sheet.places)
    alone = [queue.single(place, queue.value(place)) for place in drawn if queue.is_open(place)]
    alone = alone[:count]
    queue.take([question.places[0] for question in alone])
    known = [queue.names_question(guessed)] if guessed else []
    known += [queue.new_category_question(group) for group in groups]
    found = [*sheets, *(question for question in known if question)]
    for seed, value in islice(queue.picks(), count - len(alone)):
        found.append(queue.suggestion_group(seed, value) or queue.single(seed, value))
    found.sort(key=lambda question: -question.gain)
    return _spread_evenly(found[: count - len(alone)], alone)


class _Queue:
    """The items that are still open while questions are built."""

    def __init__(self, reach: GraphReach, states: ItemStates, scores: Scores | None) -> None:
        self._reach = reach
        self._states = states
        self._open = states.open.copy()
        self._reach_of: dict[int, Evidence] = {}
        uncovered_share = np.ones(len(reach), np.float32) if scores is None else uncovered(scores)
        self._uncovered_share = np.where(states.settled, np.float32(0), uncovered_share)
        self._doubt = (1 - states.probability).astype(np.float32)
        self._bounds = reach.total(self._uncovered_share) + self._doubt

    def value(self, place: int) -> float:
        """Return the current expected value of an answer about one item."""
        reached = self._reached(place)
        settled = reached.amounts @ self._uncovered_share[reached.places]
        return float(settled + self._doubt[place])

    def is_open(self, place: int) -> bool:
        """Return whether an item may be asked about and is in no question yet."""
        return bool(self._open[place])

    def take(self, places: Sequence[int] | Places) -> None:
        """Exclude `places` from all other questions."""
        self._open[np.asarray(places, np.int64)] = False

    def picks(self) -> Iterator[tuple[int, float]]:
        """Yield open items with their value, each the best after the earlier ones were answered."""
        fresh: set[int] = set()
        while self._open.any():
            place = int(np.where(self._open, self._bounds, -1).argmax())
            if place in fresh:
                self.take([place])
                self._cover(place)
                yield place, float(self._bounds[place])
                fresh.clear()
            else:
                fresh.add(place)
                self._bounds[place] = self.value(place)

    def single(self, place: int, value: float) -> ReviewQuestion:
        """Return the question about one item, without a suggestion."""
        states = self._states
        kind = QuestionKind.LIMIT if states.automatic[place] else QuestionKind.VALUE
        kind = QuestionKind.CONFLICT if states.conflicts[place] else kind
        return ReviewQuestion((place,), None, value, kind, gain=_COVERED * value)

    def suggestion_group(self, seed: int, value: float) -> ReviewQuestion | None:
        """Return the group around a seed, and take it, if it settles more per key than the seed
        alone.
        """
        states, winner = self._states, int(self._states.winners[seed])
        p = states.probability
        unsure = states.conflicts | states.automatic | (p < _EVEN)
        few = winner < 0 or states.references[winner] < GROUP_REFERENCES
        if few or unsure[seed] or value >= _EVEN:
            return None
        reached = self._reached(seed)
        same = self._open & ~unsure & (states.winners == winner)
        chosen = _most_evidence(reached, same[reached.places])
        same = p[chosen]
        whole = value + float(same.sum())
        keys = 2 - float(p[seed]) + float((1 - same).sum())
        if len(chosen) == 0 or whole / keys <= value:
            return None
        self.take(chosen)
        places, label = (seed, *chosen.tolist()), states.labels[winner]
        gain = (_COVERED * value + _NAMED * float(same.sum())) / keys
        return ReviewQuestion(
            places, label, whole, QuestionKind.VALUE, gain, (label,) * len(places)
        )

    def new_category_question(self, group: SameLabelGroup) -> ReviewQuestion | None:
        """Return the question about a group, and take it, if labelling some of it together saves
        more per key than asking about its representative alone.
        """
        seed = int(group.places[0])
        if not self._open[seed]:
            return None
        value = self.value(seed)
        order = np.argsort(-group.same, kind="stable")
        order = order[self._open[group.places[1:][order]]][: GROUP_SIZE - 1]
        gains = _gains(value, group.same[order])
        count = int(gains.argmax())
        if count == 0:
            return None
        places = (seed, *group.places[1:][order[:count]].tolist())
        self.take(places)
        self._cover(seed)
        return ReviewQuestion(places, None, value, QuestionKind.NEW_KIND, float(gains[count]))

    def names_question(self, guessed: Guessed) -> ReviewQuestion | None:
        """Return the question about zero-shot suggestions, sorted by label, and take its items.

        Each item has its own value, as if it were asked about alone, and costs a key only if it is
        wrong.
        """
        is_open = self._open[guessed.places]
        if is_open.sum() < _FEWEST:
            return None
        names = zip(guessed.labels, guessed.places.tolist(), is_open.tolist(), strict=True)
        suggested = sorted((label, place) for label, place, here in names if here)
        value = 0.0
        for _, place in suggested:
            value += self.value(place)
            self.take([place])
            self._cover(place)
        labels, places = zip(*suggested, strict=True)
        gain = _COVERED * value / (1 + float((1 - guessed.likely[is_open]).sum()))
        return ReviewQuestion(places, None, value, QuestionKind.NAMES, gain, labels)

    def _reached(self, place: int) -> Evidence:
        if place not in self._reach_of:
            self._reach_of[place] = self._reach.of(place)
        return self._reach_of[place]

    def _cover(self, place: int) -> None:
        reached = self._reached(place)
        left = 1 - np.minimum(_MOST_COVERED, _COVER * reached.amounts)
        self._uncovered_share[reached.places] *= left
        self._doubt[reached.places] *= left


def _gains(value: float, same: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the gain per key of labelling a seed alone or with its first look-alikes.

    `same` (m,) is the probability that each has its label; the result (m + 1,) begins with the seed
    alone.
    """
    saved = _COVERED * value + _NAMED * np.cumsum(same)
    keys = 1 + np.cumsum(1 - same)
    return np.append(_COVERED * value, saved / keys)


def _most_evidence(reached: Evidence, allowed: Mask) -> Places:
    """Return the allowed places with most evidence, as many as fit into a group; ties by place."""
    places, amounts = reached.places[allowed], reached.amounts[allowed]
    return places[np.argsort(-amounts, kind="stable")[: GROUP_SIZE - 1]]


def _spread_evenly(
    questions: list[ReviewQuestion], alone: list[ReviewQuestion]
) -> list[ReviewQuestion]:
    """Return all questions in their order, those `alone` spread evenly among the others."""
    total = len(questions) + len(alone)
    slots = {(2 * number + 1) * total // (2 * len(alone)) for number in range(len(alone))}
    rest, spread = iter(questions), iter(alone)
    return [next(spread if slot in slots else rest) for slot in range(total)]


def _with_out_of_graph_edges(neighbour_graph: NeighbourGraph) -> Graph:
    """Return the graph with edges from out-of-graph items to their nearest nodes, in both
    directions.
    """
    graph, count = neighbour_graph.graph, len(neighbour_graph)
    outside = slice(neighbour_graph.nodes, count)
    near, near_weights = (
        neighbour_graph.near[outside].ravel(),
        neighbour_graph.near_weights[outside].ravel(),
    )
    if len(near) == 0 and count == neighbour_graph.nodes:
        return graph
    own = np.repeat(np.arange(neighbour_graph.nodes, count), neighbour_graph.near.shape[1])
    inner = np.repeat(np.arange(len(graph)), np.diff(graph.starts))
    rows = np.concatenate([inner, near, own])
    order = np.argsort(rows, kind="stable")
    columns = np.concatenate([graph.columns, own, near])[order]
    weights = np.concatenate([graph.weights, near_weights, near_weights])[order]
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))])
    return Graph.of(starts.astype(np.int64), columns, weights.astype(np.float32))
