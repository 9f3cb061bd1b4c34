"""What auto-labels cost that vote: the pool comes in batches, and each may teach the next."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.confidence import Terms, fit_level, predict
from lookalike.classifier.graph.graph import NeighbourGraph
from lookalike.classifier.graph.propagation import Places
from lookalike.classifier.graph.search import Matches, nearest, similarities, with_codes
from lookalike.classifier.review.reference_checks import duplicate_bound
from lookalike.classifier.scores.leave_one_out import leave_one_out
from lookalike.classifier.scores.scores import Scores
from lookalike.library.collection.promotion import Candidates, gate
from quality_data import Data, Split, split
from quality_rules import NEIGHBOURS

_SHOTS = 10
_UNKNOWN = 1 / 3
_BATCHES = 6
_CUT = 0.8
_TARGET = 0.95
_CALIBRATE_WITH = 2000

Codes = NDArray[np.int64]
Figures = Mapping[str, Sequence[float]]
"""Rows of a table: what is compared, and its numbers; NaN where there is none."""


def section(sets: Sequence[tuple[Data, NeighbourGraph]], seeds: int) -> str:
    """Return the section on pollution of the quality page, in Markdown."""
    parts = [_TEXT.format(seeds=seeds, batches=_BATCHES, target=_TARGET)]
    parts += [f"**{data.title}**\n\n{_polluted(data, land, seeds)}" for data, land in sets]
    return "\n\n".join(parts) + "\n"


@dataclass(frozen=True, slots=True)
class _Voters:
    """What votes in a split: `places` rising with `own` label columns; `people` gave the first."""

    places: Places
    own: Codes
    people: Places

    def and_also(self, places: Places, own: Codes) -> _Voters:
        """Return these voters and more."""
        every, labels = np.concatenate([self.places, places]), np.concatenate([self.own, own])
        order = np.argsort(every)
        return _Voters(every[order], labels[order], self.people)


@dataclass(frozen=True, slots=True)
class _Answers:
    """What is said of items, all (m,): label columns, confidence and margin."""

    places: Places
    winners: Codes
    confidence: NDArray[np.floating]
    margin: NDArray[np.floating]

    def where(self, chosen: NDArray[np.bool_]) -> _Answers:
        """Return the answers that are `chosen`."""
        return _Answers(
            self.places[chosen],
            self.winners[chosen],
            self.confidence[chosen],
            self.margin[chosen],
        )


_Rule = Callable[[_Voters, Places], _Answers]
"""What votes and a batch → the answers of those that labelled themselves."""

_Promotes = Callable[[Data, _Voters, _Answers], NDArray[np.bool_]]
"""Which of those that labelled themselves vote from now on."""


def _polluted(data: Data, land: NeighbourGraph, seeds: int) -> str:
    head = ["rule, what votes", "coverage", "precision", "yield", "precision of the last batch"]
    head += ["promoted", "right among them"]
    return table(head, mean([dict(_arms(data, land, seed)) for seed in range(seeds)]))


def _arms(data: Data, land: NeighbourGraph, seed: int) -> Iterator[tuple[str, Sequence[float]]]:
    parts = split(data.labels, _SHOTS, _UNKNOWN, seed)
    ways: Mapping[str, tuple[_Rule, _Promotes]] = {
        f"nearest ≥ {_CUT}, people's": (_by_cut(data), _nobody),
        f"nearest ≥ {_CUT}, all auto-labels, too": (_by_cut(data), _everybody),
        "**neighbour graph**, people's": (_by_neighbour_graph(land), _nobody),
        "**neighbour graph**, all auto-labels, too": (
            _by_neighbour_graph(land, _all_calibrate),
            _everybody,
        ),
        "**neighbour graph**, what passes the gate, too": (_by_neighbour_graph(land), _gated),
        "the same, and it calibrates": (_by_neighbour_graph(land, _all_calibrate), _gated),
    }
    for name, (rule, promotes) in ways.items():
        yield name, _accumulated(data, parts, rule, promotes, seed)


def _accumulated(
    data: Data, parts: Split, rule: _Rule, promotes: _Promotes, seed: int
) -> Sequence[float]:
    """Label batch after batch, let what is promoted vote for the next; return the figures."""
    voters = _Voters(parts.references, parts.own, parts.references)
    rights = []
    for batch in np.array_split(np.random.default_rng(seed).permutation(parts.pool), _BATCHES):
        answers = rule(voters, np.sort(batch))
        rights.append(parts.known[answers.winners] == data.labels[answers.places])
        promoted = answers.where(promotes(data, voters, answers))
        voters = voters.and_also(promoted.places, promoted.winners)
    every = np.concatenate(rights)
    auto = ~np.isin(voters.places, voters.people)
    truly = parts.known[voters.own[auto]] == data.labels[voters.places[auto]]
    return (
        len(every) / len(parts.pool),
        precision(every),
        float(every.sum() / np.isin(data.labels[parts.pool], parts.known).sum()),
        precision(rights[-1]),
        float(auto.sum()),
        precision(truly),
    )


def _by_cut(data: Data) -> _Rule:
    def label(voters: _Voters, batch: Places) -> _Answers:
        alike = similarities(data.vectors[batch], data.vectors[voters.places])
        best = alike.max(axis=1)
        said = _Answers(batch, voters.own[alike.argmax(axis=1)], best, np.zeros(len(batch)))
        return said.where(best >= _CUT)

    return label


def _people_calibrate(voters: _Voters) -> Places:
    return voters.people


def _all_calibrate(voters: _Voters) -> Places:
    return voters.places[:: -(-len(voters.places) // _CALIBRATE_WITH)]


def _by_neighbour_graph(
    land: NeighbourGraph, calibrating: Callable[[_Voters], Places] = _people_calibrate
) -> _Rule:
    scores = Scores(land)

    def label(voters: _Voters, batch: Places) -> _Answers:
        nonlocal scores
        scores = scores.for_references(_named(voters.places, voters.own))
        left = leave_one_out(scores, calibrating(voters))
        sure = fit_level(scores, left, batch, Terms.for_all(left, _TARGET)).confidence
        said = predict(sure, scores, batch)
        answers = _Answers(batch, said.winners, said.probability, said.margin)
        return answers.where(said.probability >= sure.limit)

    return label


def _nobody(_: Data, __: _Voters, answers: _Answers) -> NDArray[np.bool_]:
    return np.zeros(len(answers.places), bool)


def _everybody(_: Data, __: _Voters, answers: _Answers) -> NDArray[np.bool_]:
    return np.ones(len(answers.places), bool)


def _gated(data: Data, voters: _Voters, answers: _Answers) -> NDArray[np.bool_]:
    labels = int(voters.own.max()) + 1
    peoples = np.isin(voters.places, voters.people)
    holds = gate(
        Candidates(
            answers.places,
            answers.winners,
            answers.confidence,
            answers.margin,
            data.vectors[answers.places],
            lists(data.vectors, answers.places, voters.places, voters.own),
        ),
        np.bincount(voters.own[peoples], minlength=labels),
        np.bincount(voters.own[~peoples], minlength=labels),
        bound=duplicate_bound(data.vectors, len(voters.places)),
    )
    return np.array([hold is None for hold in holds], bool)


# --- what both sections need ---------------------------------------------------------------------


def lists(vectors: NDArray[np.float16], queries: Places, references: Places, own: Codes) -> Matches:
    """Return the nearest references of `queries`, themselves left out."""
    near = nearest(vectors[queries], vectors[references], references, NEIGHBOURS, query_ids=queries)
    return with_codes(*near, references, own.astype(np.int32))


def _named(places: Places, own: Codes) -> Mapping[str, Places]:
    return {f"{label:04}": places[own == label] for label in np.unique(own).tolist()}


def precision(right: NDArray[np.bool_]) -> float:
    """Return the share of right ones, NaN of none."""
    return float(right.mean()) if len(right) else np.nan


def mean(runs: Sequence[Figures]) -> Figures:
    """Return the mean of each number over the runs that have it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a mean of nothing is NaN, as meant
        return {name: np.nanmean([run[name] for run in runs], axis=0) for name in runs[0]}


def table(head: Sequence[str], rows: Figures) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *([name, *map(_number, rows[name])] for name in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _number(value: float) -> str:
    if np.isnan(value):
        return "–"
    return f"{value:.0f}" if value > 1 else f"{value:.3f}"


_TEXT = """\
## Hygiene: auto-labels that vote

The pool comes in {batches} batches; what labels itself in one may vote for the next, a third of the
classes never labelled, target {target}, {seeds} splits. *All auto-labels* vote and calibrate. What
passes the gate votes; it calibrates in the last line only."""
