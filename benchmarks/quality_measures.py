"""What the quality benchmark measures of an answer, and of several runs. Pure."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from quality_rules import Answer

_BINS = 10


@dataclass(frozen=True, slots=True)
class Measures:
    """One run of one rule; NaN where something does not exist.

    `accuracy` when all items of known labels must be answered; `novelty` the area under the curve
    of known against new by score; `coverage` and `precision` at the rule's own limit; `yielded`
    the share of known-label items labelled by itself and rightly there, `oracle` the same at the
    best limit with the target precision in hindsight; `error` the expected calibration error.
    """

    accuracy: float
    novelty: float
    coverage: float
    precision: float
    yielded: float
    oracle: float
    error: float
    seconds: float


def measure(
    answer: Answer,
    truth: NDArray[np.int64],
    known_labels: NDArray[np.int64],
    seconds: float,
    target: float,
) -> Measures:
    """Return the measures of an answer on items with true labels `truth` (m,)."""
    known = np.isin(truth, known_labels)
    right = (known_labels[np.maximum(answer.winners, 0)] == truth) & (answer.winners >= 0)
    accepted = answer.scores >= answer.limit
    return Measures(
        accuracy=float(right[known].mean()),
        novelty=_area(answer.scores, known),
        coverage=float(accepted.mean()),
        precision=float(right[accepted].mean()) if accepted.any() else np.nan,
        yielded=float((right & accepted).sum() / known.sum()),
        oracle=_most_right(answer.scores, right, target) / float(known.sum()),
        error=_calibration_error(answer.scores, right) if answer.probability else np.nan,
        seconds=seconds,
    )


def mean(runs: Sequence[Measures]) -> Measures:
    """Return the mean of each measure over the runs that have it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a mean of nothing is NaN, as meant
        return Measures(
            **{
                part.name: float(np.nanmean([getattr(run, part.name) for run in runs]))
                for part in fields(Measures)
            }
        )


def share_above(runs: Sequence[Measures], precision: float) -> float:
    """Return the share of runs at or above a precision, of those that label anything, or NaN."""
    reached = [run.precision >= precision for run in runs if not np.isnan(run.precision)]
    return float(np.mean(reached)) if reached else float("nan")


def _area(scores: NDArray[np.float64], known: NDArray[np.bool_]) -> float:
    """Return the chance that a known item scores above a new one; a tie counts half."""
    if known.all() or not known.any():
        return float("nan")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    ups = known.sum()
    return float((ranks[known].sum() - ups * (ups + 1) / 2) / (ups * (len(known) - ups)))


def _most_right(scores: NDArray[np.float64], right: NDArray[np.bool_], target: float) -> int:
    """Return how many are right at the lowest limit whose precision reaches the target."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(right[order])
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    good = np.flatnonzero(last_of_tie & (hits / np.arange(1, len(hits) + 1) >= target))
    return int(hits[good[-1]]) if len(good) else 0


def _calibration_error(p: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Return the mean distance of confidence and share of right answers, over ten equal bins."""
    bins = np.minimum((p * _BINS).astype(int), _BINS - 1)
    gaps = [abs(float((p[bins == one] - right[bins == one]).sum())) for one in range(_BINS)]
    return sum(gaps) / len(p)
