"""Recalibration of probabilities with random samples that people answered. Pure.

A calibrated model can still be wrong about what it has never seen: new categories, wrong
references, answers that a queue picked. Answers to a random sample reveal this. A line through the
log-odds, fitted to the sample, corrects every probability (Platt 1999); without a sample nothing
changes.

Three rules keep the correction reliable:

- **Rule of succession.** One pseudo-negative answer is added that looked like the right ones, so
  that 18 right answers of 18 are needed before 95 % can be claimed.
- **Never steeper.** A few dozen answers may lower all probabilities or pull them together, but not
  spread them: if the best line has a slope above 1, only its shift is fitted. Otherwise wrong
  answers among doubtful items would raise the probabilities of confident items beyond what any
  answer showed.
- **People err.** If an answer contradicts the label and nobody reviewed it, either the label or the
  answer is wrong. With an error rate η and a probability p, the answer is wrong with probability η
  p / (η p + 1 − p), and the label counts as right by that share (EM).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.logistic import Vector, fit_line, fit_shift, sigmoid

Line = tuple[float, float]
"""Slope and shift of log-odds."""

UNCHANGED: Line = (1.0, 0.0)

_DIGITS = 6
_LEAST = 1e-6
_ROUNDS = 6
_LEAST_TRUST = 0.1
"""Keeps a shift finite if all answers are right."""


def fit_recalibration(
    p: Vector, right: NDArray[np.bool_], error_probability: Vector, *, trust: float = 0.0
) -> Line:
    """Return the line for probabilities `p` (n,) of a sample whose labels were `right` (n,).

    `error_probability` (n,) is the probability that an answer is wrong. Rows with p = 0 are left
    out. The probabilities themselves weigh `trust` answers. If `trust` is 0, one pseudo-negative
    answer is added (rule of succession).
    """
    rows = np.flatnonzero(p > 0)
    if len(rows) == 0:
        return UNCHANGED
    odds, error_probability = log_odds(p[rows]), error_probability[rows]
    line, wrong = UNCHANGED, ~right[rows]
    for _ in range(_ROUNDS if (error_probability[wrong] > 0).any() else 1):
        likely = sigmoid(line[0] * odds + line[1])
        wrong_answers = (
            error_probability * likely / (error_probability * likely + 1 - likely + _LEAST)
        )
        hits = np.where(wrong, wrong_answers, 1.0)
        more = (trust == 0) * hits / max(float(hits.sum()), 1.0)
        line = _fit_line(
            np.append(odds, odds),
            np.append(hits, np.zeros(len(rows))),
            np.append(np.ones(len(rows)), more),
            trust,
        )
    return line


def _fit_line(odds: Vector, hits: Vector, counts: Vector, trust: float) -> Line:
    line = fit_line(odds, hits, counts, prior=max(trust, 1.0))
    shift_prior = max(trust, _LEAST_TRUST)
    return line if line[0] <= 1 else (1.0, fit_shift(odds, hits, counts, prior=shift_prior))


def recalibrated(line: Line, p: Vector) -> Vector:
    """Return probabilities (n,) corrected by a line, rounded to 1e-6; 0 stays 0."""
    if line == UNCHANGED:
        return p
    slope, shift = line
    return np.where(p > 0, np.round(sigmoid(slope * log_odds(p) + shift), _DIGITS), 0.0)


def enough_samples(target: float) -> int:
    """Return how many answers of a random sample, all right, can show a precision of `target`.

    By the rule of succession (Laplace): (n + 1)/(n + 2) reaches the target.

    >>> enough_samples(0.95)
    18
    """
    missing = max(1 - target, 1e-3)
    return max(math.ceil(round(1 / missing, 9)) - 2, 1)


def log_odds(p: Vector) -> Vector:
    """Return log(p / (1 − p)), of p (n,) between 1e-6 and 1 − 1e-6."""
    inner = np.clip(p, _LEAST, 1 - _LEAST)
    return np.asarray(np.log(inner / (1 - inner)))
