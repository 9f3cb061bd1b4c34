"""What hygiene finds among wrong references, and what auto-labels that vote cost.

    LOOKALIKE_DATA=… python benchmarks/quality_hygiene.py           # both sets, five splits
    LOOKALIKE_DATA=… python benchmarks/quality_hygiene.py --quick   # one split of a few items

`section` makes the part of the quality page. Labels are flipped in two ways: to any other label,
and to the label that is most like the reference (a slip that a person is more likely to make).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

import quality_pollution
from lookalike.classifier.calibration.confidence import Terms, fit_level, predict
from lookalike.classifier.calibration.logistic import fit_mixture
from lookalike.classifier.graph.graph import NeighbourGraph, build_neighbour_graph
from lookalike.classifier.graph.propagation import Places
from lookalike.classifier.review.reference_checks import (
    LeaveOneOutTrials,
    conflicting,
    duplicate_bound,
    duplicates,
    landscape_trials,
    suspects,
    vector_trials,
)
from quality_data import SOURCES, Data, Split, read, split
from quality_pollution import Codes, Figures, lists, mean, precision, table
from quality_rules import LOGISTIC_C, NEIGHBOURS, Case

SHOTS = 10
FLIPPED = 0.08
SEEDS = 5
GOAL = 0.92
_POLLUTED_SEEDS = 3
_UNKNOWN = 1 / 3
_TARGET = 0.95
_FOLDS = 5
_QUICK_ITEMS = 1600


def main() -> None:
    """Read the options and print the section."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    data = os.environ.get("LOOKALIKE_DATA")
    parser.add_argument("--quick", action="store_true", help="one split of a few items of each set")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="splits")
    parser.add_argument("--data", type=Path, default=data, help="default: LOOKALIKE_DATA")
    folder = Path("bench-store/quality")
    parser.add_argument("--folder", type=Path, default=folder, help="where vectors are kept")
    options = parser.parse_args()
    if options.data is None:
        parser.error("say where the data is: set LOOKALIKE_DATA, or give --data")
    upto = _QUICK_ITEMS if options.quick else None
    sets = [read(name, options.data, options.folder, upto) for name in SOURCES]
    lands = [build_neighbour_graph(np.arange(len(one.labels)), one.vectors) for one in sets]
    print(section(list(zip(sets, lands, strict=True)), 1 if options.quick else options.seeds))


def section(sets: Sequence[tuple[Data, NeighbourGraph]], seeds: int = SEEDS) -> str:
    """Return the section on hygiene of the quality page, in Markdown."""
    parts = [_WRONG.format(seeds=seeds, flipped=f"{FLIPPED:.0%}", shots=SHOTS, goal=GOAL)]
    parts += [f"**{data.title}**\n\n{_found(data, land, seeds)}" for data, land in sets]
    parts.append(_COST.format(seeds=seeds, target=_TARGET))
    parts += [f"**{data.title}**\n\n{_worth(data, land, seeds)}" for data, land in sets]
    parts.append(_ALIKE.format(seeds=seeds, flipped=f"{FLIPPED:.0%}"))
    parts += [f"**{data.title}**\n\n{_alike(data, land, seeds)}" for data, land in sets]
    return "\n\n".join([*parts, quality_pollution.section(sets, min(seeds, _POLLUTED_SEEDS))])


# --- wrong labels ---------------------------------------------------------------------------------


def _found(data: Data, land: NeighbourGraph, seeds: int) -> str:
    ways = {"any other": _any_other, "the likeliest other": _likeliest_other}
    tables = {
        title: mean([_finders(data, land, seed, way) for seed in range(seeds)])
        for title, way in ways.items()
    }
    head = ["way", *(f"{title}: {what}" for title in ways for what in _FOUND)]
    rows = {name: [x for one in tables.values() for x in one[name]] for name in tables["any other"]}
    return table(head, rows)


_FOUND = ("average precision", "found", "right")

_Flip = Callable[[Case, Places, np.random.Generator], Codes]
"""A case, the rows to change and chance → the wrong labels of those rows."""


def _flipped(
    data: Data, land: NeighbourGraph, parts: Split, seed: int, flip: _Flip
) -> tuple[Case, NDArray[np.bool_]]:
    """Return a case with wrong labels, and which they are."""
    chance = np.random.default_rng(1000 + seed)
    rows = chance.choice(len(parts.own), round(FLIPPED * len(parts.own)), replace=False)
    own, wrong = parts.own.copy(), np.zeros(len(parts.own), bool)
    own[rows], wrong[rows] = flip(Case(data.vectors, land, parts), rows, chance), True
    return Case(data.vectors, land, replace(parts, own=own)), wrong


def _any_other(case: Case, rows: Places, chance: np.random.Generator) -> Codes:
    labels = len(case.split.known)
    return (case.split.own[rows] + chance.integers(1, labels, len(rows))) % labels


def _likeliest_other(case: Case, rows: Places, _: np.random.Generator) -> Codes:
    """The label whose mean of references is nearest."""
    unit, own = case.unit[case.split.references], case.split.own
    means = np.stack([unit[own == label].sum(axis=0) for label in range(len(case.split.known))])
    likeness = unit[rows] @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    likeness[np.arange(len(rows)), own[rows]] = -2
    return np.asarray(likeness.argmax(axis=1))


def _finders(data: Data, land: NeighbourGraph, seed: int, flip: _Flip) -> Figures:
    case, wrong = _flipped(data, land, split(data.labels, SHOTS, 0, seed), seed, flip)
    ids, own = case.split.references, case.split.own
    trials = {
        "**leave-one-out trials**": _leave_one_out_trials(case),
        "**vector trials**": vector_trials(ids, own, case.vectors[ids]),
    }
    ranks = {
        "cross-validated logistic": _logistic_lead(case),
        f"disagreement of {NEIGHBOURS} nearest": _disagreement(case),
    }
    return {name: _of_trials(one, wrong) for name, one in trials.items()} | {
        name: (_average_precision(rank, wrong), np.nan, np.nan) for name, rank in ranks.items()
    }


def _of_trials(trials: LeaveOneOutTrials, wrong: NDArray[np.bool_]) -> Sequence[float]:
    listed = _listed(trials)
    return (
        _average_precision(trials.margin, wrong),
        float(listed[wrong].mean()),
        float(wrong[listed].mean()) if listed.any() else np.nan,
    )


def _leave_one_out_trials(case: Case) -> LeaveOneOutTrials:
    mix = fit_mixture(case.left.graph_evidence, case.left.class_similarity, case.left.own)
    return landscape_trials(case.scores, mix)


def _listed(trials: LeaveOneOutTrials) -> NDArray[np.bool_]:
    """Return which references are suspects (r,)."""
    return np.isin(trials.references, [one.reference for one in suspects(trials)])


def _logistic_lead(case: Case) -> NDArray[np.float64]:
    """The lead of the best other label in the probabilities of five-fold cross-validation."""
    own, model = case.split.own, LogisticRegression(C=LOGISTIC_C, max_iter=300)
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    rows = case.unit[case.split.references]
    share = cross_val_predict(model, rows, own, cv=folds, method="predict_proba")
    mine = share[np.arange(len(own)), own].copy()
    share[np.arange(len(own)), own] = -1
    return np.asarray(share.max(axis=1) - mine)


def _disagreement(case: Case) -> NDArray[np.float64]:
    near = lists(case.vectors, case.split.references, case.split.references, case.split.own)
    return np.asarray((near.codes != case.split.own[:, None]).mean(axis=1))


def _average_precision(rank: NDArray[np.floating], wrong: NDArray[np.bool_]) -> float:
    """Return the mean share of wrong ones among those at or above each wrong one."""
    ordered = wrong[np.argsort(-rank, kind="stable")]
    share = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    return float(share[ordered].mean())


# --- what wrong labels cost -----------------------------------------------------------------------


def _worth(data: Data, land: NeighbourGraph, seeds: int) -> str:
    head = ["references", "coverage", "precision", "yield"]
    return table(head, mean([_costs(data, land, seed) for seed in range(seeds)]))


def _costs(data: Data, land: NeighbourGraph, seed: int) -> Figures:
    """What the graph rule labels by itself with right, wrong, corrected and fewer labels."""
    parts = split(data.labels, SHOTS, _UNKNOWN, seed)
    case, _ = _flipped(data, land, parts, seed, _any_other)
    listed = _listed(_leave_one_out_trials(case))
    corrected = replace(parts, own=np.where(listed, parts.own, case.split.own))
    fewer = replace(parts, references=parts.references[~listed], own=case.split.own[~listed])
    given = {
        "all right": parts,
        f"{FLIPPED:.0%} wrong": case.split,
        "the same, suspects looked at": corrected,
        "the same, suspects left out": fewer,
    }
    return {
        title: _labelled(Case(data.vectors, land, one), data.labels) for title, one in given.items()
    }


def _labelled(case: Case, truth: Codes) -> Sequence[float]:
    accepted, right = _decided(case, truth)
    known = np.isin(truth[case.split.pool], case.split.known).sum()
    return float(accepted.mean()), precision(right[accepted]), float(right[accepted].sum() / known)


def _decided(case: Case, truth: Codes) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return what of the pool labels itself (m,), and whether the winners are right."""
    sure = fit_level(
        case.scores, case.left, case.split.pool, Terms.for_all(case.left, _TARGET)
    ).confidence
    said = predict(sure, case.scores, case.split.pool)
    right = case.split.known[said.winners] == truth[case.split.pool]
    return said.probability >= sure.limit, right


# --- near-duplicates ------------------------------------------------------------------------------


def _alike(data: Data, land: NeighbourGraph, seeds: int) -> str:
    head = ["labels, bound", "similarity", "redundant", "in conflict", "coverage", "precision"]
    head += ["lost to conflict", "precision of the lost"]
    return table(head, mean([_bounds(data, land, seed) for seed in range(seeds)]))


def _bounds(data: Data, land: NeighbourGraph, seed: int) -> Figures:
    parts = split(data.labels, SHOTS, 0, seed)
    clean = Case(data.vectors, land, parts)
    cases = {
        "right": clean,
        f"{FLIPPED:.0%} wrong": _flipped(data, land, parts, seed, _any_other)[0],
    }
    own = duplicate_bound(data.vectors, len(parts.references))
    # Of a thousand pairs, one: what a hundred references ask for.
    bounds = {"99.9 % of pairs": duplicate_bound(data.vectors, 100), "**ours**": own}
    return {
        f"{labels}, {title}": (bound, *_with_bound(case, data.labels, bound))
        for labels, case in cases.items()
        for title, bound in bounds.items()
    }


def _with_bound(case: Case, truth: Codes, bound: float) -> Sequence[float]:
    parts = case.split
    among = lists(case.vectors, parts.references, parts.references, parts.own)
    groups = duplicates(parts.references, parts.own, among, bound)
    accepted, right = _decided(case, truth)
    near = lists(case.vectors, parts.pool, parts.references, parts.own)
    lost = accepted & conflicting(near, bound)
    redundant = sum(len(one.references) - 1 for one in groups if not one.conflict)
    contradicting = sum(len(one.references) for one in groups if one.conflict)
    return (
        redundant / len(parts.own),
        contradicting / len(parts.own),
        float(accepted.mean()),
        precision(right[accepted & ~lost]),
        float(lost.sum() / max(accepted.sum(), 1)),
        precision(right[lost]),
    )


_WRONG = """\
## Hygiene: wrong labels

{flipped} of {shots} labels a class are made wrong, all classes known, {seeds} splits: once any
other label, once the likeliest other one. *Average precision* of the order in which each way lists
the references (goal for any other label: {goal}); how many of the wrong ones are listed as suspects
(*found*), and how many of the suspects are wrong (*right*)."""

_COST = """\
## Hygiene: what wrong labels cost

What the graph rule labels by itself, a third of the classes never labelled, target {target},
{seeds} splits; *looked at*: a person gives each suspect its right label."""

_ALIKE = """\
## Hygiene: near-duplicates

References that are near-duplicates by two bounds, all classes known, {seeds} splits, with right
labels and with {flipped} made any other; shares of the references. Then what the graph rule
labels by itself if documents in conflict stay null: what is lost, and how right it was."""

if __name__ == "__main__":
    main()
