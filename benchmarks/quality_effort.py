"""How many keys a person presses until a data set is settled: the human-effort curve.

    LOOKALIKE_DATA=… python benchmarks/quality_effort.py

The person is simulated and answers truthfully. One action is one key: to name a single item, to
accept a strip, or to drop one wrong picture of it, which gets no label but a "not this". An item is
settled when the person labelled it or the rule labels it by itself. `quality.py` makes the section
of the quality page; alone, this prints it.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.confidence import predict
from lookalike.classifier.calibration.thresholds import UNREACHABLE
from lookalike.classifier.calibration.training_data import AnswerSampling, fit_confidence
from lookalike.classifier.graph.graph import NeighbourGraph, build_neighbour_graph
from lookalike.classifier.graph.propagation import Places
from lookalike.classifier.review.queue import GraphReach, ItemStates, questions
from lookalike.classifier.scores.scores import Scores
from quality_data import Data, read

ITEMS = {"banking77": 5_000, "grocery": None}
"""The data sets, and how many random items of each are taken; None: all."""

_SAMPLES = 4
"""Where items are drawn, our order is measured on so many draws: one tells actions to about 50."""

LEVELS = (0.5, 0.7, 0.8, 0.9, 0.95)
_TARGET = 0.95
_EVERY = 20
_MOST_ACTIONS = 2_000
_QUICK_ITEMS, _QUICK_ACTIONS = 1_600, 400
_SLICE = 0.3
_GOALS = {"Banking77": (720, 200), "Grocery81": (1_050, 420)}
"""Actions until 90 % are settled, and answers until all classes were seen."""

_OURS = "**ours**"
_HEAD = (
    "| order | 50 % | 70 % | 80 % | 90 % | 95 % | all classes seen | strips | "
    "at its own limit, at the end |\n|---|---|---|---|---|---|---|---|---|"
)
_TEXT = """\
## Human effort

How many actions until so much is settled. A simulated person answers truthfully and names
everything; an action is one key: name one item, accept a strip, or drop one wrong picture of it. An
item is settled when the person labelled it or the graph rule does. For every order alike, what
the rule labels is taken at the best limit with a precision of 0.95 in hindsight, by its true
labels. No rule has that limit in practice, so beside it stands the share settled at the rule's
own limit, with the precision there, which it learns from random draws alone: without them it
labels nothing by itself. Judged every 20 actions, and the first point that reaches a share counts.
"–": not reached. Banking77 is sampled to 5,000 items: the table is of one sample, the goals are of
the mean of several, all of which are told.

| goal | data | asked | measured | |
|---|---|---|---|---|
{goals}

{tables}

`random` and `smallest margin` ask about one item at a time, the latter at random until the rule has
learned. **ours** is the review queue; `30 % random` mixes the random slice in, which the product
needs to keep its promises. The queue's order was chosen among several on these two sets. "Strips"
counts answers about more than one item: where it is 0, all was settled by singles.
"""


@dataclass(frozen=True, slots=True)
class Point:
    """After `actions`: the share settled at the best limit in hindsight, and at the rule's own,
    with the precision of what labelled itself there (NaN: nothing did).
    """

    actions: int
    settled: float
    own_settled: float
    own_precision: float


@dataclass(frozen=True, slots=True)
class Curve:
    """One order of asking on one data set; `seen` is after how many answers all classes were,
    `strips` how many of the answers were about more than one item.
    """

    data: str
    order: str
    points: tuple[Point, ...]
    seen: int | None
    strips: int
    sample: int

    def actions(self, level: float) -> int | None:
        """Return the actions at the first point where so much is settled, or None."""
        return next((one.actions for one in self.points if one.settled >= level), None)


@dataclass
class Session:
    """A person at work on one data set, and what the rule makes of the answers.

    `said` int64 (n,) are labels given (−1: none), `drawn` what chance chose to be asked, `barred`
    (n, classes) what was dropped; `winners`, `probability` and `margin` (n,) what
    the rule says.
    """

    data: Data
    neighbour_graph: NeighbourGraph
    chance: np.random.Generator
    actions: int = 0
    answers: int = 0
    strips: int = 0
    seen: int | None = None
    limit: float = UNREACHABLE
    points: list[Point] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.truth = np.unique(self.data.labels, return_inverse=True)[1]
        self.classes = int(self.truth.max()) + 1
        items = len(self.truth)
        self.said = np.full(items, -1)
        self.drawn = np.zeros(items, bool)
        self.barred = np.zeros((items, self.classes), bool)
        self.scores = Scores(self.neighbour_graph)
        self.winners = np.full(items, -1)
        self.probability, self.margin = np.zeros(items), np.zeros(items)

    @property
    def open(self) -> Places:
        """Return the places that the person has not labelled."""
        return np.flatnonzero(self.said < 0)

    def name(self, place: int) -> None:
        """Let the person name one item."""
        self.actions += 1
        self._label(np.array([place]))

    def accept(self, places: Places, label: int) -> None:
        """Let the person accept a strip, and drop what is wrong in it."""
        right = self.truth[places] == label
        self.strips += 1
        self.actions += 1 + int((~right).sum())
        self.barred[places[~right], label] = True
        self._label(places[right])

    def predict(self) -> None:
        """Let the rule learn from all answers, and note how much is settled."""
        counts = np.bincount(self.said[self.said >= 0], minlength=self.classes)
        pool = self.open
        self.winners[:], self.probability[:], self.limit = -1, 0, UNREACHABLE
        present = np.flatnonzero(counts)
        self.scores = self.scores.for_references(
            {f"{label:04}": np.flatnonzero(self.said == label) for label in present.tolist()}
        )
        if (counts > 1).sum() > 1:
            self._learn(pool, present)
        right = self.winners[pool] == self.truth[pool]
        labelled = self.probability[pool] >= self.limit
        given = len(self.said) - len(pool)
        best = _best(self.probability[pool], right)
        precision = float(right[labelled].mean()) if labelled.any() else float("nan")
        best_share, own_share = (
            (given + many) / len(self.said) for many in (best, int(labelled.sum()))
        )
        self.points.append(Point(self.actions, best_share, own_share, precision))

    def standing(self) -> ItemStates:
        """Return how all items stand, for the queue."""
        present = np.array([int(name) for name in self.scores.labels], np.int64)
        counts = np.bincount(self.said[self.said >= 0], minlength=self.classes)
        no = np.zeros(len(self.said), bool)
        columns = np.where(self.winners >= 0, np.searchsorted(present, self.winners), -1)
        automatic = self.probability >= self.limit
        labels = tuple(self.scores.labels)
        settled = self.said >= 0
        return ItemStates(
            labels, counts[present], columns, self.probability, settled, automatic, no, no
        )

    def _label(self, places: Places) -> None:
        self.said[places] = self.truth[places]
        self.answers += 1
        if self.seen is None and len(np.unique(self.said[self.said >= 0])) == self.classes:
            self.seen = self.answers

    def _learn(self, pool: Places, present: Places) -> None:
        given = self.said >= 0
        sampling = AnswerSampling(
            asked=np.flatnonzero(given & ~self.drawn), drawn=np.flatnonzero(given & self.drawn)
        )
        sure = fit_confidence(self.scores, pool, _TARGET, sampling=sampling)
        says = predict(sure, self.scores, pool, self.barred[pool][:, present])
        self.winners[pool] = np.where(says.winners >= 0, present[says.winners], -1)
        self.probability[pool], self.margin[pool] = says.probability, says.margin
        self.limit = sure.limit


Order = Callable[[Session, GraphReach], Iterator[None]]
"""Asks the person one question after the other."""


def at_random(session: Session, _: GraphReach) -> Iterator[None]:
    """Ask about random items, one at a time."""
    session.drawn[:] = True
    for place in session.chance.permutation(session.open).tolist():
        session.name(place)
        yield


def by_margin(session: Session, _: GraphReach) -> Iterator[None]:
    """Ask about the item with the smallest lead over its runner-up; at first at random."""
    places = session.chance.permutation(session.open)
    if session.margin.any():
        places = places[np.argsort(session.margin[places], kind="stable")]
    for place in places.tolist():
        session.name(place)
        yield


def strips(session: Session, reach: GraphReach) -> Iterator[None]:
    """Ask what the review queue asks."""
    yield from _ask(session, reach, 0)


def strips_and_slice(session: Session, reach: GraphReach) -> Iterator[None]:
    """Ask what the review queue asks when 30 % of the questions are about random items."""
    yield from _ask(session, reach, round(_SLICE * _EVERY))


def _ask(session: Session, reach: GraphReach, drawn: int) -> Iterator[None]:
    random = session.chance.choice(session.open, min(drawn, len(session.open)), replace=False)
    session.drawn[random] = True
    queue = questions(reach, session.standing(), session.scores, _EVERY, drawn=random.tolist())
    for question in queue:
        if question.suggestion is None:
            session.name(question.places[0])
        else:
            session.accept(np.array(question.places), int(question.suggestion))
        yield


ORDERS: dict[str, Order] = {
    "random": at_random,
    "smallest margin": by_margin,
    _OURS: strips,
    "**ours**, 30 % random": strips_and_slice,
}


def _best(p: NDArray[np.float64], right: NDArray[np.bool_]) -> int:
    """Return how many of (m,) a limit accepts, the lowest one with the target precision."""
    order = np.argsort(-p, kind="stable")
    precision = np.cumsum(right[order]) / np.arange(1, len(p) + 1)
    ends = np.append(np.diff(p[order]) != 0, True)
    good = np.flatnonzero(ends & (precision >= _TARGET))
    return int(good[-1]) + 1 if len(good) else 0


def curves(names: Sequence[str], root: Path, folder: Path, *, quick: bool) -> list[Curve]:
    """Return every order's curve on the data sets below `root`; `quick` ones are short."""
    found, most = [], _QUICK_ACTIONS if quick else _MOST_ACTIONS
    for name in names:
        items, samples = _QUICK_ITEMS if quick else ITEMS[name], 1
        if items and not quick:
            samples = _SAMPLES
            read(name, root, folder, None)  # all of it is embedded, once
        for sample in range(samples):
            data = read(name, root, folder, items, sample)
            neighbour_graph = build_neighbour_graph(np.arange(len(data.labels)), data.vectors)
            for order in ORDERS if sample == 0 else (_OURS,):
                started = time.process_time()
                found.append(curve(data, neighbour_graph, order, most, sample))
                seconds = time.process_time() - started
                print(f"{data.title}, {order}: {seconds:.0f} s of processor time", flush=True)
    return found


def section(curves: Sequence[Curve], *, judged: bool) -> str:
    """Return the section of the quality page in Markdown; goals get a verdict if `judged`."""
    goals, tables = [], []
    for title in dict.fromkeys(one.data for one in curves):
        these = [one for one in curves if one.data == title]
        goals += _goal_rows(title, [one for one in these if one.order == _OURS], judged)
        rows = [_row(one) for one in these if one.sample == 0]
        tables.append("\n".join([f"**{title}**\n\n{_HEAD}", *rows]))
    return _TEXT.format(goals="\n".join(goals), tables="\n\n".join(tables))


def _goal_rows(title: str, ours: Sequence[Curve], judged: bool) -> list[str]:
    most, answers = _GOALS[title]
    rows = []
    for what, asked, values in (
        ("actions until 90 % are settled", most, [one.actions(0.9) for one in ours]),
        ("answers until all classes were seen", answers, [one.seen for one in ours]),
    ):
        known = [value for value in values if value is not None]
        mean = round(np.mean(known)) if len(known) == len(values) else None
        told = _number(mean)
        if len(values) > 1:
            told += f" ({', '.join(map(_number, values))})"
        met = "met" if mean is not None and mean <= asked else "**missed**"
        rows.append(f"| {what} | {title} | ≤ {asked:,} | {told} | {met if judged else ''} |")
    return rows


def _row(one: Curve) -> str:
    last = one.points[-1]
    own = f"{last.own_settled:.2f} at {last.own_precision:.3f}"
    cells = [_number(one.actions(level)) for level in LEVELS]
    figures = " | ".join([*cells, _number(one.seen), str(one.strips)])
    return f"| {one.order} | {figures} | {own} after {last.actions:,} |"


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def curve(data: Data, neighbour_graph: NeighbourGraph, order: str, most: int, sample: int) -> Curve:
    """Return how much is settled after how many actions, up to `most`, judged now and then."""
    session = Session(data, neighbour_graph, np.random.default_rng(sample))
    reach = GraphReach(neighbour_graph)
    session.predict()
    while session.actions < most and session.points[-1].settled < LEVELS[-1]:
        start = session.actions
        for _ in ORDERS[order](session, reach):
            if session.actions >= start + _EVERY:
                break
        session.predict()
    return Curve(data.title, order, tuple(session.points), session.seen, session.strips, sample)


def main() -> None:
    """Read the options and print the section."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    data = os.environ.get("LOOKALIKE_DATA")
    parser.add_argument("--quick", action="store_true", help="few items, few actions")
    parser.add_argument("--data", type=Path, default=data, help="default: LOOKALIKE_DATA")
    parser.add_argument("--folder", type=Path, default=Path("bench-store/quality"))
    options = parser.parse_args()
    if options.data is None:
        parser.error("say where the data is: set LOOKALIKE_DATA, or give --data")
    found = curves(list(ITEMS), options.data, options.folder, quick=options.quick)
    print(section(found, judged=not options.quick))


if __name__ == "__main__":
    main()
