"""Where there is little to learn from: is the promise kept, or does the rule know better?

Few classes, small collections, and references that a queue picked instead of chance. Each run is
one random choice of classes, items and answers; what the rule labels by itself is checked.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from lookalike.classifier.calibration.confidence import predict
from lookalike.classifier.calibration.decision_rule import Ground
from lookalike.classifier.calibration.training_data import (
    AnswerSampling,
    decision_rule_of,
    fit_confidence,
    with_background,
)
from lookalike.classifier.graph.graph import NeighbourGraph, build_neighbour_graph
from lookalike.classifier.graph.propagation import Places
from lookalike.classifier.scores.scores import BACKGROUND, Scores
from quality_data import Data

TARGET = 0.95
NEARLY = 0.02

_LEAST_MEMBERS = 20
_QUICK_RUNS = 2
_ROUND = 20
_SLICE = 0.3
_QUEUE_DECAY, _QUEUE_STEPS = 0.8, 4
_COVERS = 5


@dataclass(frozen=True, slots=True)
class Trouble:
    """A setting: `classes` of the data (None: all), of which a number are `unseen`, never labelled;
    at most so many `items` of them; `shots` random labels a class, chosen by a person; then so many
    `drawn` at random by the product, or `asked` by a queue of which 30 % are.
    """

    title: str
    data: str
    unseen: int
    classes: int | None = None
    items: int | None = None
    shots: int = 10
    drawn: int = 0
    asked: int = 0
    runs: int = 30


_SECTION = """\
## Where there is little to learn from

Target 0.95. Each run draws classes, items and answers anew. Unless another number is said, ten
labels a class are given; then random answers are drawn by the product, or a queue picks most of
them by what an answer settles (a simple one, made for this table) and 30 % are random. "None of
these" is the answer to what is of no known class. **Labels**: the share of runs in which anything
labels itself, **certified** those in which a certificate carries it further than the estimate.
Coverage and yield are means over all runs, precision over those that label; the **low** one is
that of the tenth part of them with the worst. Where a run labels thirty items, chance alone moves
its precision by 0.04.

| setting | data | runs | labels | certified | coverage | yield | precision | low | runs ≥ 0.93 |
|---|---|---|---|---|---|---|---|---|---|
{rows}
"""

TROUBLES = (
    Trouble("5 coarse classes, 2 never labelled", "Grocery81 coarse", 2, classes=5),
    Trouble("the same, 30 labels a class", "Grocery81 coarse", 2, classes=5, shots=30),
    Trouble("the same, and 150 random answers", "Grocery81 coarse", 2, classes=5, drawn=150),
    Trouble("the same, and 300 random answers", "Grocery81 coarse", 2, classes=5, drawn=300),
    Trouble("3 groups, 1 never labelled", "Grocery81 groups", 1),
    Trouble("the same, and 150 random answers", "Grocery81 groups", 1, drawn=150),
    Trouble("5 classes, 2 never labelled", "Banking77", 2, classes=5),
    Trouble("the same, and 150 random answers", "Banking77", 2, classes=5, drawn=150),
    Trouble("12 classes, 4 never labelled", "Banking77", 4, classes=12),
    Trouble("12 coarse classes, 4 never labelled", "Grocery81 coarse", 4, classes=12),
    Trouble("the same, and 60 random answers", "Grocery81 coarse", 4, classes=12, drawn=60),
    Trouble("12 classes, none unseen", "Grocery81", 0, classes=12),
    Trouble("16 classes, 4 never labelled", "Banking77", 4, classes=16),
    Trouble("16 classes, 4 never labelled", "Grocery81", 4, classes=16),
    Trouble("24 classes, 8 never labelled", "Banking77", 8, classes=24),
    Trouble("24 classes, 8 never labelled", "Grocery81", 8, classes=24),
    Trouble("150 items, 10 classes, 3 unseen", "Banking77", 3, classes=10, items=150, shots=5),
    Trouble("150 items, 10 classes, 3 unseen", "Grocery81", 3, classes=10, items=150, shots=5),
    Trouble(
        "the same, and 60 random answers",
        "Grocery81",
        3,
        classes=10,
        items=150,
        shots=5,
        drawn=60,
    ),
    Trouble("500 items, 22 classes, 6 unseen", "Banking77", 6, classes=22, items=500),
    Trouble("500 items, 22 classes, 6 unseen", "Grocery81", 6, classes=22, items=500),
    Trouble("530 answers picked by a queue", "Banking77", 26, shots=0, asked=530, runs=5),
    Trouble("800 answers picked by a queue", "Banking77", 26, shots=0, asked=800, runs=5),
    Trouble("530 answers picked by a queue", "Grocery81", 27, shots=0, asked=530, runs=5),
    Trouble("800 answers picked by a queue", "Grocery81", 27, shots=0, asked=800, runs=5),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run: the ground, the share of what waits that is labelled and of that the right one (NaN
    where nothing is), and right labels over waiting items of known classes.
    """

    ground: Ground
    coverage: float
    precision: float
    yielded: float


def run(
    trouble: Trouble, data: Data, seed: int, neighbour_graph: NeighbourGraph | None = None
) -> Outcome:
    """Return what became of one run; `neighbour_graph` is that of all items, if it is at hand."""
    chance = np.random.default_rng(seed)
    places, classes = _some(trouble, data.labels, chance)
    truth = data.labels[places]
    if neighbour_graph is None or len(places) < len(data.labels):
        neighbour_graph = build_neighbour_graph(np.arange(len(places)), data.vectors[places])
    answers = _Answers(truth, chance.permutation(classes)[trouble.unseen :])
    answers.give(_examples(truth, answers.known, trouble.shots, chance))
    if trouble.asked:
        _ask(answers, neighbour_graph, trouble.asked, chance)
    else:
        answers.draw(chance.permutation(answers.open())[: trouble.drawn])
    return _outcome(answers, neighbour_graph)


class _Answers:
    """What a person who knows the `truth` (n,) said of items, and how each came to be asked."""

    def __init__(self, truth: NDArray[np.int64], known: NDArray[np.int64]) -> None:
        self.truth, self.known = truth, np.sort(known)
        self.answered = np.zeros(len(truth), bool)
        self.sampling = AnswerSampling()

    def open(self) -> Places:
        return np.flatnonzero(~self.answered)

    def give(self, places: Places) -> None:
        self.answered[places] = True

    def ask(self, places: Places) -> None:
        self.sampling = replace(self.sampling, asked=np.union1d(self.sampling.asked, places))
        self._answer(places)

    def draw(self, places: Places) -> None:
        self.sampling = replace(self.sampling, drawn=np.union1d(self.sampling.drawn, places))
        self._answer(places)

    def _answer(self, places: Places) -> None:
        self.answered[places] = True
        new = places[~np.isin(self.truth[places], self.known)]
        self.sampling = replace(self.sampling, new=np.union1d(self.sampling.new, new))

    def references(self) -> dict[str, Places]:
        named = {
            f"{label:04}": np.flatnonzero(self.answered & (self.truth == label))
            for label in self.known.tolist()
        }
        named = {name: places for name, places in named.items() if len(places)}
        return with_background(named, self.sampling.new)


def _some(
    trouble: Trouble, labels: NDArray[np.int64], chance: np.random.Generator
) -> tuple[Places, NDArray[np.int64]]:
    """Return places of the collection's items and its classes."""
    if trouble.classes is None:
        return np.arange(len(labels)), np.unique(labels)
    found, counts = np.unique(labels, return_counts=True)
    able = found[counts >= _LEAST_MEMBERS]
    classes = chance.choice(able, trouble.classes, replace=False)
    places = np.flatnonzero(np.isin(labels, classes))
    if trouble.items is not None and trouble.items < len(places):
        places = np.sort(chance.choice(places, trouble.items, replace=False))
    return places, np.unique(labels[places])


def _examples(
    truth: NDArray[np.int64], known: NDArray[np.int64], shots: int, chance: np.random.Generator
) -> Places:
    chosen = []
    for label in known.tolist():
        members = np.flatnonzero(truth == label)
        count = min(shots, max(1, len(members) - 1))
        chosen.append(chance.choice(members, count, replace=False))
    return np.concatenate(chosen) if shots else np.empty(0, np.int64)


def _ask(
    answers: _Answers, neighbour_graph: NeighbourGraph, count: int, chance: np.random.Generator
) -> None:
    """Ask `count` questions in rounds: most by what an answer settles, the rest at random."""
    scores, graph = Scores(neighbour_graph), neighbour_graph.graph
    shape = (len(graph), len(graph))
    spread = csr_matrix((graph.weights, graph.columns, graph.starts), shape=shape)
    for start in range(0, count, _ROUND):
        size = min(_ROUND, count - start)
        random = round(_SLICE * size)
        scores = scores.for_references(answers.references())
        need = _need(scores, answers)
        for _ in range(size - random):
            pick = _most_worth(spread, need)
            reached = neighbour_graph.evidence(pick)
            need[reached.places] *= 1 - np.minimum(1, _COVERS * reached.amounts)
            need[pick] = 0
            answers.ask(np.array([pick]))
        answers.draw(chance.choice(answers.open(), random, replace=False))


def _need(scores: Scores, answers: _Answers) -> NDArray[np.float64]:
    """Return how much each item still needs an answer (n,), 0..1."""
    need = np.ones(len(answers.truth))
    if scores.labels:
        counts = [len(scores.references(label)) for label in scores.labels]
        table = np.sort(scores.evidence(np.arange(len(scores.neighbour_graph))) * counts, axis=1)
        first = table[:, -1]
        second = table[:, -2] if table.shape[1] > 1 else np.zeros(len(table))
        need = 1 - (1 - second / np.maximum(first, 1e-9)) * first / (first + 0.1)
    need[answers.answered] = 0
    return need


def _most_worth(spread: csr_matrix, need: NDArray[np.float64]) -> int:
    reached, worth = need, need.copy()
    for _ in range(_QUEUE_STEPS):
        reached = _QUEUE_DECAY * (spread @ reached)
        worth += reached
    return int(np.where(need > 0, worth, -1).argmax())


def _outcome(answers: _Answers, neighbour_graph: NeighbourGraph) -> Outcome:
    scores = Scores(neighbour_graph).for_references(answers.references())
    waiting = answers.open()
    sure = fit_confidence(scores, waiting, TARGET, sampling=answers.sampling)
    ground = decision_rule_of(sure, len(neighbour_graph)).ground
    predictions = predict(sure, scores, waiting)
    names = np.array([-1 if label == BACKGROUND else int(label) for label in sure.labels])
    right = names[predictions.winners] == answers.truth[waiting]
    accepted = predictions.accepted & (ground is not Ground.NONE)
    known = np.isin(answers.truth[waiting], answers.known)
    return Outcome(
        ground=ground,
        coverage=float(accepted.sum() / max(len(waiting), 1)),
        precision=float(right[accepted].mean()) if accepted.any() else np.nan,
        yielded=float((right & accepted).sum() / max(known.sum(), 1)),
    )


def section(data: Sequence[Data], root: Path, *, quick: bool) -> str:
    """Run all settings and return them as a section of the quality page; `quick` a few runs."""
    sets = {**{one.title: one for one in data}, **_coarser(data, root)}
    graphs: dict[str, NeighbourGraph] = {}
    rows = []
    for trouble in TROUBLES:
        if quick and trouble.asked:
            continue
        one, base = sets[trouble.data], trouble.data.split()[0]
        if trouble.classes is None and base not in graphs:
            graphs[base] = build_neighbour_graph(np.arange(len(one.labels)), one.vectors)
        seeds = range(min(trouble.runs, _QUICK_RUNS) if quick else trouble.runs)
        rows.append(_row(trouble, [run(trouble, one, s, graphs.get(base)) for s in seeds]))
        print(rows[-1], flush=True)
    return _SECTION.format(rows="\n".join(rows))


def _coarser(data: Sequence[Data], root: Path) -> dict[str, Data]:
    """Return Grocery81 with the coarser labels of its file, by title."""
    found = {}
    for one in (one for one in data if one.title == "Grocery81"):
        with (root / "grocery" / "labels.csv").open(encoding="utf-8", newline="") as lines:
            coarse = {row["path"]: row["coarse"] for row in csv.DictReader(lines)}
        for name, of in (("coarse", coarse.get), ("groups", lambda path: path.partition(" > ")[0])):
            codes = np.unique([str(of(path)) for path in sorted(coarse)], return_inverse=True)[1]
            title = f"Grocery81 {name}"
            found[title] = replace(one, title=title, labels=codes[one.labels])
    return found


def _row(trouble: Trouble, outcomes: Sequence[Outcome]) -> str:
    labelling = [one for one in outcomes if not np.isnan(one.precision)]
    precision = np.array([one.precision for one in labelling])
    certified = sum(one.ground is Ground.CERTIFICATE for one in labelling)
    cells = [
        trouble.title,
        trouble.data,
        str(len(outcomes)),
        f"{len(labelling) / len(outcomes):.2f}",
        f"{certified / len(outcomes):.2f}",
        f"{np.mean([one.coverage for one in outcomes]):.3f}",
        f"{np.mean([one.yielded for one in outcomes]):.3f}",
    ]
    if labelling:
        cells += [
            f"{precision.mean():.3f}",
            f"{np.quantile(precision, 0.1):.3f}",
            f"{(precision >= TARGET - NEARLY).mean():.2f}",
        ]
    else:
        cells += ["–"] * 3
    return f"| {' | '.join(cells)} |"
