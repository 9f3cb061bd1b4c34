"""The review queue: what to ask a person next, and what an answer is worth. Pure.

One formula, with labels and without. K are the first steps of the evidence that an item gives to
others (`propagation`), n_j = 1 / (1 + F_j / 0.1) how far item j is from anything labelled, F_j the
largest sum of evidence of one label at j, 1 − p_i how likely the suggestion for i is wrong:

    worth_i = Σ_j K_ij n_j + (1 − p_i)

"Answering this settles about so many items": what nobody has looked at around it, and itself. With
no label n = 1 everywhere, and the densest region comes first; later what is dense and uncovered;
at last what is doubtful. The queue is greedy: each pick lowers what its look-alikes are worth by
1 − min(1, 5 K_ij). Bounds from before stay bounds, as worth only falls, so few are computed again
(lazy greedy, after Minoux 1978).

A **strip** is a seed with look-alikes of the same suggestion, where one key accepts and one more
drops each wrong picture: it is offered where that settles more a key than asking the seed alone,
and only around a seed worth less than half an item. What teaches comes first, alone, and what is
only many comes after: strips before that were measured to need more keys until all is settled.

All questions compete in one currency, the **gain**: actions that an answer saves, for each action
that it takes. An item near a reference costs a part of a check instead of a question of its own, so
covering it saves 0.6 of an action; naming a look-alike together with the seed saves the rest,
0.25, and costs one more action where it has another label. `checks` tells the gain of a check.

Places are those of a `NeighbourGraph`; the same input gives the same queue.
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

STRIP = 16
"""So many items a strip has at most, its seed included."""

STRIP_REFERENCES = 3
"""A label needs so many references to be proposed for a strip; before, items are asked alone."""

_COVERED, _NAMED = 0.6, 0.25
_FEWEST = 2
_STEPS = 4
_NODES = 65_536
_BESIDE = np.float32(0.1)
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
    """What to ask about `places`, the seed first; a `suggestion` holds for all of them.

    Answering settles about `worth` items and saves `gain` actions for each of its own. Without a
    suggestion the person names it. In a check each item has its own of the `suggestions`.
    """

    places: tuple[int, ...]
    suggestion: str | None
    worth: float
    kind: QuestionKind
    gain: float
    suggestions: tuple[str | None, ...] = ()


class Guessed(NamedTuple):
    """Items that the names of `labels` are suggested for; `likely` (m,) is how likely each is."""

    places: Places
    labels: tuple[str, ...]
    likely: NDArray[np.float64]


class SameLabelGroup(NamedTuple):
    """Items that may have one label, the representative first; `same` (m − 1,) is the probability
    that each of the others has its label.
    """

    places: Places
    same: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ItemStates:
    """How each of n items stands; all arrays (n,).

    `winners` int64 is the column in `labels` of what is suggested (−1: nothing), `probability`
    float64 that it is right; `references` int64 (labels,) how many each label has. `settled` by a
    person and `skipped` are never asked; `automatic` labelled themselves; `conflicts` look like
    references that contradict each other.
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
    """Return the standing of items of which nothing is known yet."""
    nothing, no = np.full(items, -1, np.int64), np.zeros(items, bool)
    return ItemStates((), np.empty(0, np.int64), nothing, np.zeros(items), no, no, no, no)


class GraphReach:
    """How far a word about one item carries in a landscape, its leaves included."""

    def __init__(self, neighbour_graph: NeighbourGraph) -> None:
        self._graph = _with_out_of_graph_edges(neighbour_graph)

    def __len__(self) -> int:
        return len(self._graph)

    def of(self, place: int) -> Evidence:
        """Return K_i· of one item, sparse."""
        return push(self._graph, np.array([place]), np.ones(1, np.float32), _STEPS)

    def total(self, need: Floats) -> Floats:
        """Return Σ_j K_ij need_j of every item (n,), nothing dropped on the way."""
        total, step = need.astype(np.float64), need
        for _ in range(_STEPS):
            step = np.concatenate([step[:0], *self._flows(step)])
            total += step
        return total.astype(np.float32)

    def _flows(self, step: Floats) -> Iterator[Floats]:
        """Yield what reaches some nodes after the next one, a part of all nodes at a time."""
        graph = self._graph
        for start in range(0, len(self), _NODES):
            ends = graph.starts[start : start + _NODES + 1]
            edges, joined = slice(int(ends[0]), int(ends[-1])), np.flatnonzero(np.diff(ends))
            flow = np.take(step, graph.columns[edges])
            flow *= graph.weights[edges]
            reached = np.zeros(len(ends) - 1, np.float32)
            if len(joined):  # of who is not, `reduceat` would take another one's
                reached[joined] = np.add.reduceat(flow, ends[joined] - ends[0])
            yield DECAY * reached


def uncovered(scores: Scores) -> Floats:
    """Return n (items,): near 1 where no reference reaches, near 0 beside one."""
    return np.asarray(_BESIDE / (_BESIDE + scores.largest_evidence_sum()))


def questions(
    reach: GraphReach,
    standing: ItemStates,
    scores: Scores | None,
    count: int,
    *,
    groups: Sequence[SameLabelGroup] = (),
    guessed: Guessed | None = None,
    drawn: Sequence[int] = (),
    sheets: Sequence[ReviewQuestion] = (),
) -> list[ReviewQuestion]:
    """Return up to `count` questions, the one that saves most first; no item is in two.

    `groups` are items that may be of a kind not named yet: each that is open becomes one question.
    What names suggest, `guessed`, is one question, too.
    `drawn` are random places to be asked whatever they are worth: they come evenly spread among the
    rest, alone, like any other. `sheets` are questions about several items that are made already.
    """
    queue = _Queue(reach, standing, scores)
    for sheet in sheets:
        queue.take(sheet.places)
    alone = [queue.single(place, queue.worth(place)) for place in drawn if queue.is_open(place)]
    alone = alone[:count]
    queue.take([question.places[0] for question in alone])
    known = [queue.of_names(guessed)] if guessed else []
    known += [queue.of_group(group) for group in groups]
    found = [*sheets, *(question for question in known if question)]
    for seed, worth in islice(queue.picks(), count - len(alone)):
        found.append(queue.strip(seed, worth) or queue.single(seed, worth))
    found.sort(key=lambda question: -question.gain)
    return _interleaved(found[: count - len(alone)], alone)


class _Queue:
    """What is still open while questions are put together."""

    def __init__(self, reach: GraphReach, standing: ItemStates, scores: Scores | None) -> None:
        self._reach = reach
        self._standing = standing
        self._open = standing.open.copy()
        self._known: dict[int, Evidence] = {}
        lonely = np.ones(len(reach), np.float32) if scores is None else uncovered(scores)
        self._lonely = np.where(standing.settled, np.float32(0), lonely)
        self._doubt = (1 - standing.probability).astype(np.float32)
        self._bounds = reach.total(self._lonely) + self._doubt

    def worth(self, place: int) -> float:
        """Return what an answer about one item is worth now."""
        around = self._around(place)
        said = around.amounts @ self._lonely[around.places]
        return float(said + self._doubt[place])

    def is_open(self, place: int) -> bool:
        """Return whether an item may be asked about and is in no question yet."""
        return bool(self._open[place])

    def take(self, places: Sequence[int] | Places) -> None:
        """Let no other question contain `places`."""
        self._open[np.asarray(places, np.int64)] = False

    def picks(self) -> Iterator[tuple[int, float]]:
        """Yield open items with their worth, each the best after those before it were answered."""
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
                self._bounds[place] = self.worth(place)

    def single(self, place: int, worth: float) -> ReviewQuestion:
        """Return the question about one item, to be named without a suggestion."""
        standing = self._standing
        kind = QuestionKind.LIMIT if standing.automatic[place] else QuestionKind.VALUE
        kind = QuestionKind.CONFLICT if standing.conflicts[place] else kind
        return ReviewQuestion((place,), None, worth, kind, gain=_COVERED * worth)

    def strip(self, seed: int, worth: float) -> ReviewQuestion | None:
        """Return the strip around a seed, which is taken, if it is worth more a key than alone."""
        standing, winner = self._standing, int(self._standing.winners[seed])
        p = standing.probability
        unsure = standing.conflicts | standing.automatic | (p < _EVEN)
        few = winner < 0 or standing.references[winner] < STRIP_REFERENCES
        if few or unsure[seed] or worth >= _EVEN:
            return None
        around = self._around(seed)
        same = self._open & ~unsure & (standing.winners == winner)
        chosen = _strongest(around, same[around.places])
        same = p[chosen]
        whole = worth + float(same.sum())
        keys = 2 - float(p[seed]) + float((1 - same).sum())
        if len(chosen) == 0 or whole / keys <= worth:
            return None
        self.take(chosen)
        places, label = (seed, *chosen.tolist()), standing.labels[winner]
        gain = (_COVERED * worth + _NAMED * float(same.sum())) / keys
        return ReviewQuestion(
            places, label, whole, QuestionKind.VALUE, gain, (label,) * len(places)
        )

    def of_group(self, group: SameLabelGroup) -> ReviewQuestion | None:
        """Return the question about a group, which is taken, if to name some of it together saves
        more a key than to ask about its representative alone.
        """
        seed = int(group.places[0])
        if not self._open[seed]:
            return None
        worth = self.worth(seed)
        order = np.argsort(-group.same, kind="stable")
        order = order[self._open[group.places[1:][order]]][: STRIP - 1]
        gains = _gains(worth, group.same[order])
        count = int(gains.argmax())
        if count == 0:
            return None
        places = (seed, *group.places[1:][order[:count]].tolist())
        self.take(places)
        self._cover(seed)
        return ReviewQuestion(places, None, worth, QuestionKind.NEW_KIND, float(gains[count]))

    def of_names(self, guessed: Guessed) -> ReviewQuestion | None:
        """Return the question about what names suggest, by label; its items are taken.

        Each answers for itself, as if it were asked alone, and costs a key only where it is wrong.
        """
        open_ = self._open[guessed.places]
        if open_.sum() < _FEWEST:
            return None
        names = zip(guessed.labels, guessed.places.tolist(), open_.tolist(), strict=True)
        said = sorted((label, place) for label, place, here in names if here)
        worth = 0.0
        for _, place in said:
            worth += self.worth(place)
            self.take([place])
            self._cover(place)
        labels, places = zip(*said, strict=True)
        gain = _COVERED * worth / (1 + float((1 - guessed.likely[open_]).sum()))
        return ReviewQuestion(places, None, worth, QuestionKind.NAMES, gain, labels)

    def _around(self, place: int) -> Evidence:
        if place not in self._known:
            self._known[place] = self._reach.of(place)
        return self._known[place]

    def _cover(self, place: int) -> None:
        around = self._around(place)
        left = 1 - np.minimum(_MOST_COVERED, _COVER * around.amounts)
        self._lonely[around.places] *= left
        self._doubt[around.places] *= left


def _gains(worth: float, same: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what naming a seed saves for each key, alone or with the first of its look-alikes.

    `same` (m,) is how likely each has its label; the answer (m + 1,) begins with the seed alone.
    """
    saved = _COVERED * worth + _NAMED * np.cumsum(same)
    keys = 1 + np.cumsum(1 - same)
    return np.append(_COVERED * worth, saved / keys)


def _strongest(around: Evidence, allowed: Mask) -> Places:
    """Return the allowed places with most evidence, as many as a strip takes; ties by place."""
    places, amounts = around.places[allowed], around.amounts[allowed]
    return places[np.argsort(-amounts, kind="stable")[: STRIP - 1]]


def _interleaved(
    questions: list[ReviewQuestion], alone: list[ReviewQuestion]
) -> list[ReviewQuestion]:
    """Return all questions in their order, those `alone` spread evenly among the others."""
    total = len(questions) + len(alone)
    slots = {(2 * turn + 1) * total // (2 * len(alone)) for turn in range(len(alone))}
    rest, spread = iter(questions), iter(alone)
    return [next(spread if slot in slots else rest) for slot in range(total)]


def _with_out_of_graph_edges(neighbour_graph: NeighbourGraph) -> Graph:
    """Return the graph with the hops of the leaves as edges, in both directions."""
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
