"""Policies: pure functions from matches to decisions, for many documents at once.

A policy is any function `Matches -> Decisions`; `threshold` and `precision` return one. Labels are
integer codes here (the caller holds the names); -1 means none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.nearest_rule import Calibration, features, probability
from lookalike.classifier.graph.search import NO_SIMILARITY, Matches, rival_similarity, votes
from lookalike.labels import NO_LABEL
from lookalike.model import Reason

REASONS = tuple(Reason)
"""Reasons by their code in `Decisions.reasons`; -1 there means labelled."""


NO_SOURCE = -1
"""The source of a decision that no reference caused."""

SUGGESTION_TEMPERATURE = 0.1
"""The temperature of the votes if there is no calibration."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """One decision per row; all arrays have shape (n,).

    `codes` int32: the label or -1. `confidence`, `margin` float32: NaN if there is no match.
    `runner_up` int32: the best other label in the list or -1. `reasons` int8: an index into
    REASONS, -1 if labelled. `sources` int64: the id of the winner's nearest match, or -1.
    """

    codes: NDArray[np.int32]
    confidence: NDArray[np.float32]
    margin: NDArray[np.float32]
    runner_up: NDArray[np.int32]
    reasons: NDArray[np.int8]
    sources: NDArray[np.int64]

    def at(self, rows: NDArray[np.int64]) -> Decisions:
        """Return some of the decisions."""
        return Decisions(**{part.name: getattr(self, part.name)[rows] for part in fields(self)})


DECISION_COLUMNS = tuple(part.name for part in fields(Decisions))
"""The names of the arrays, in order."""


def undecided(count: int) -> Decisions:
    """Return `count` empty decisions, for documents whose label needs none."""
    numbers = np.full(count, np.nan, np.float32)
    none = np.full(count, NO_LABEL, np.int32)
    return Decisions(
        codes=none,
        confidence=numbers,
        margin=numbers,
        runner_up=none,
        reasons=np.full(count, -1, np.int8),
        sources=np.full(count, NO_SOURCE, np.int64),
    )


Policy = Callable[[Matches], Decisions]


def threshold(limit: float) -> Policy:
    """Return the similarity policy: the nearest reference's label if its similarity is ≥ `limit`.

    Confidence is that similarity, unchanged.
    """
    least = np.float32(limit)

    def decide(matches: Matches) -> Decisions:
        best = matches.similarities[:, 0]
        winner = matches.codes[:, 0]
        return _decisions(matches, winner, best, best >= least)

    return decide


def least_similarity(limit: float | None) -> np.float32:
    """Return the similarity from which a reference is a match, for the threshold `limit`.

    It is half of `limit`: a reference nearer to nothing than to the threshold decides nothing.
    Without a threshold, or with one that is not above 0, every reference is a match.
    """
    return NO_SIMILARITY if limit is None or limit <= 0 else np.float32(limit) / np.float32(2)


def precision(calibration: Calibration) -> Policy:
    """Return the calibrated policy: the label with the most evidence, if its probability of being
    right reaches the threshold at which accepted labels have the target precision on average.
    """

    def decide(matches: Matches) -> Decisions:
        winner, share = votes(matches, calibration.temperature)
        p = probability(calibration, features(matches, winner, share))
        accepted = p >= calibration.limit
        return _decisions(matches, winner, np.round(p, 3).astype(np.float32), accepted)

    return decide


def withheld(decisions: Decisions, rows: NDArray[np.int64], reason: Reason) -> Decisions:
    """Return the decisions without the label of some rows, for a reason.

    Such a label becomes the runner-up: it stays a suggestion.
    """
    labelled = rows[decisions.codes[rows] != NO_LABEL]
    codes, runner_up = decisions.codes.copy(), decisions.runner_up.copy()
    reasons = decisions.reasons.copy()
    runner_up[labelled] = codes[labelled]
    codes[rows], reasons[rows] = NO_LABEL, REASONS.index(reason)
    return replace(decisions, codes=codes, runner_up=runner_up, reasons=reasons)


def deepest(levels: Sequence[Decisions]) -> Decisions:
    """Return for each row the decision of the first level that labels it; of the first level, if
    none.
    """
    first, *above = levels
    columns = {name: getattr(first, name) for name in DECISION_COLUMNS}
    for other in above:
        labels = (columns["codes"] == NO_LABEL) & (other.codes != NO_LABEL)
        for name in columns:
            columns[name] = np.where(labels, getattr(other, name), columns[name])
    return Decisions(**columns)


def suggest_only(matches: Matches) -> Decisions:
    """Return decisions without labels, with winner and runner-up: there is too little to calibrate
    with.
    """
    winner, _ = votes(matches, SUGGESTION_TEMPERATURE)
    nowhere = np.zeros(len(winner), bool)
    return _decisions(matches, winner, np.full(len(winner), np.nan, np.float32), nowhere)


def _decisions(
    matches: Matches,
    winner: NDArray[np.int32],
    confidence: NDArray[np.float32],
    accepted: NDArray[np.bool_],
) -> Decisions:
    found = winner != NO_LABEL
    own = (matches.codes == winner[:, None]) & found[:, None]
    best = np.where(own, matches.similarities, NO_SIMILARITY).max(axis=1)
    rival, runner_up = rival_similarity(matches, winner)
    margin = np.where(found & (rival > NO_SIMILARITY), best - rival, np.nan)
    nearest_own = np.take_along_axis(matches.ids, own.argmax(axis=1)[:, None], axis=1)[:, 0]
    labelled = found & accepted
    reasons = np.full(len(winner), REASONS.index(Reason.BELOW_THRESHOLD), np.int8)
    reasons[~found] = REASONS.index(Reason.NO_REFERENCES)
    reasons[labelled] = -1
    return Decisions(
        codes=np.where(labelled, winner, NO_LABEL).astype(np.int32),
        confidence=np.where(found, confidence, np.nan).astype(np.float32),
        margin=margin.astype(np.float32),
        runner_up=np.where(labelled, runner_up, np.where(found, winner, NO_LABEL)).astype(np.int32),
        reasons=reasons,
        sources=np.where(found, nearest_own, NO_SOURCE),
    )
