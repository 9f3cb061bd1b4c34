"""Labels that are paths: what parents add where the leaf is doubtful, and if they keep the promise.

Each run draws classes and references anew and decides twice, with parents and without. Two controls
have trees that tell nothing: the same labels below parents dealt out at random.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.confidence import predict
from lookalike.classifier.calibration.decision_rule import Method
from lookalike.classifier.calibration.training_data import (
    AnswerSampling,
    decision_rule_of,
    fit_confidence,
    with_background,
)
from lookalike.classifier.graph.graph import NeighbourGraph, build_neighbour_graph
from lookalike.classifier.graph.propagation import Places
from lookalike.classifier.scores.hierarchy import ParentScores, levels_of
from lookalike.classifier.scores.scores import LabelScores, Scores
from lookalike.labels import ancestors, is_within
from lookalike.model import LABEL_SEPARATOR
from quality_data import Data

TARGET = 0.95
NEARLY = 0.93
_SHOTS = 10
_QUICK_RUNS = 2


@dataclass(frozen=True, slots=True)
class Trees:
    """A setting: labels cut to `depth` levels, of which a share is `unseen`, never labelled: single
    labels, or all of a parent's. The parents may be `dealt` out at random. `drawn` random answers
    come on top.
    """

    title: str
    depth: int
    unseen: float = 1 / 3
    whole_parents: bool = False
    dealt: bool = False
    drawn: int = 0
    runs: int = 10


TREES = (
    Trees("coarse class > class, a third of the classes never labelled", 2),
    Trees("the same, a third of the coarse classes never labelled", 2, whole_parents=True),
    Trees("the same, all classes labelled", 2, unseen=0),
    Trees("group > coarse class > class, a third of the classes never labelled", 3),
    Trees("the same, and 100 random answers", 3, drawn=100),
    Trees("the same, and 300 random answers", 3, drawn=300),
    Trees("**control**: coarse classes dealt out at random", 2, dealt=True),
    Trees("**control**: the same, all classes labelled", 2, unseen=0, dealt=True),
    Trees(
        "**control**: the same, a third never labelled, 300 random answers",
        2,
        1 / 3,
        False,
        True,
        300,
    ),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Shares of what waits: `alone` right by the leaf rule, of all `alone_labelled`; `right` and
    `labelled` with parents; `parents` and `parents_right` of those labelled with a parent.
    """

    alone: float
    alone_labelled: float
    right: float
    labelled: float
    parents: float
    parents_right: float


def run(tree: Trees, data: Data, paths: Sequence[str], seed: int, land: NeighbourGraph) -> Outcome:
    """Return what became of one run; `paths` are the labels by their codes."""
    chance = np.random.default_rng(seed)
    names = _dealt(paths, chance) if tree.dealt else list(paths)
    known = _known(tree, names, chance)
    given = []
    for label in known.tolist():
        members = np.flatnonzero(data.labels == label)
        given.append(chance.choice(members, min(_SHOTS, len(members) - 1), replace=False))
    references = np.sort(np.concatenate(given))
    drawn = np.setdiff1d(chance.permutation(len(data.labels))[: tree.drawn], references)
    truth = np.array(names, object)[data.labels]
    spoken = {name for one in known.tolist() for name in (names[one], *ancestors(names[one]))}
    said = np.array([_said(truth[place], spoken) for place in drawn.tolist()], object)
    new = np.sort(drawn[said == ""])
    named: dict[str, list[int]] = {}
    answers = [(names[data.labels[place]], place) for place in references.tolist()]
    for label, place in [*answers, *zip(said.tolist(), drawn.tolist(), strict=True)]:
        if label:
            named.setdefault(label, []).append(place)
    references = np.union1d(references, drawn[said != ""])
    sorted_places = {name: np.sort(places) for name, places in named.items()}
    scores = Scores(land).for_references(with_background(sorted_places, new))
    waiting = np.setdiff1d(np.arange(len(truth)), np.union1d(references, new))
    return _outcome(scores, waiting, truth[waiting], AnswerSampling(drawn=np.sort(drawn), new=new))


def _outcome(
    scores: Scores, waiting: Places, truth: NDArray[np.object_], sampling: AnswerSampling
) -> Outcome:
    sure = fit_confidence(scores, waiting, TARGET, sampling=sampling, hierarchical=True)
    said: LabelScores = scores
    labelled, right = np.zeros(len(waiting), bool), np.zeros(len(waiting), bool)
    alone: tuple[float, float] | None = None
    if decision_rule_of(sure, 1).rule is Method.SUGGEST:
        return Outcome(0, 0, 0, 0, 0, 0)
    levels = [None, *levels_of(scores.labels)]
    for one, level in zip(sure.all_levels, levels, strict=True):
        said = scores if level is None else ParentScores(scores, level)
        predictions = predict(one, said, waiting)
        given = predictions.accepted & ~labelled
        winners = np.array(one.labels, object)[predictions.winners]
        right[given] = [
            is_within(name, one) for one, name in zip(winners[given], truth[given], strict=True)
        ]
        labelled |= given
        alone = alone or (float(right.mean()), float(labelled.mean()))
    assert alone is not None, "there is always a leaf"
    whole = float(right.mean()), float(labelled.mean())
    return Outcome(*alone, *whole, whole[1] - alone[1], whole[0] - alone[0])


def _said(truth: str, spoken: set[str]) -> str:
    """Return the deepest label that a person knows for something; none: "none of these"."""
    return next((name for name in (truth, *ancestors(truth)) if name in spoken), "")


def _known(tree: Trees, names: Sequence[str], chance: np.random.Generator) -> NDArray[np.int64]:
    """Return the codes of the labels that references are given of."""
    if not tree.whole_parents:
        return np.sort(chance.permutation(len(names))[round(len(names) * tree.unseen) :])
    parents = np.array([name.rpartition(LABEL_SEPARATOR)[0] for name in names])
    every = chance.permutation(np.unique(parents))
    return np.flatnonzero(np.isin(parents, every[round(len(every) * tree.unseen) :]))


def _dealt(paths: Sequence[str], chance: np.random.Generator) -> list[str]:
    """Return as many labels below the same parents, dealt out at random."""
    parents = chance.permutation([path.rpartition(LABEL_SEPARATOR)[0] for path in paths])
    return [f"{parent}{LABEL_SEPARATOR}{code:02}" for code, parent in enumerate(parents)]


def trees_of(root: Path, depth: int) -> list[str]:
    """Return the labels of Grocery81 as paths of two levels or three, by their codes.

    What has no coarse class of its own is the only class of one.
    """
    with (root / "grocery" / "labels.csv").open(encoding="utf-8", newline="") as lines:
        rows = {row["path"]: row for row in csv.DictReader(lines)}
    found = []
    for path in sorted(rows):
        group, coarse, label = (
            path.partition(LABEL_SEPARATOR)[0],
            *(rows[path][name] for name in ("coarse", "label")),
        )
        found.append(LABEL_SEPARATOR.join([group, coarse, label][3 - depth :]))
    return found


def section(data: Sequence[Data], root: Path, *, quick: bool) -> str:
    """Run all settings and return them as a section of the quality page."""
    (one,) = (one for one in data if one.title == "Grocery81")
    land = build_neighbour_graph(np.arange(len(one.labels)), one.vectors)
    rows = []
    for tree in TREES:
        paths = trees_of(root, tree.depth)
        seeds = range(min(tree.runs, _QUICK_RUNS) if quick else tree.runs)
        rows.append(_row(tree, [run(tree, one, paths, seed, land) for seed in seeds]))
        print(rows[-1], flush=True)
    return _SECTION.format(shots=_SHOTS, rows="\n".join(rows))


def _row(tree: Trees, found: Sequence[Outcome]) -> str:
    precision = np.array([one.right / one.labelled for one in found if one.labelled])
    parents = np.array([one.parents_right / one.parents for one in found if one.parents > 0])
    cells = [
        tree.title,
        f"{np.mean([one.alone for one in found]):.3f}",
        _mean([one.alone / one.alone_labelled for one in found if one.alone_labelled]),
        f"**{np.mean([one.right for one in found]):.3f}**",
        _mean(precision),
        f"{np.mean([one.parents for one in found]):.3f}",
        _mean(parents),
        f"{parents.min():.3f}" if len(parents) else "–",
        f"{(precision >= NEARLY).mean():.2f}" if len(precision) else "–",
    ]
    return f"| {' | '.join(cells)} |"


def _mean(values: Sequence[float] | NDArray[np.float64]) -> str:
    return f"{np.mean(values):.3f}" if len(values) else "–"


_SECTION = """\
## Parents where the leaf is doubtful

Grocery81, its labels as paths; {shots} labels a class, target 0.95, 10 splits. **Right** is the
share of all that waits that got a right label: the leaf, or a parent of it; first with leaves only,
then **with parents**. Of the **parents** alone the share that got one, its precision, and that of
the worst split. Random answers are the deepest label that a person knows for an item: of a class
that was never labelled its coarse class or group, if that is known, else "none of these".

| tree | leaves: right | precision | with parents: right | precision | parents | precision | worst \
| runs ≥ 0.93 |
|---|---|---|---|---|---|---|---|---|
{rows}
"""
