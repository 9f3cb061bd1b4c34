"""Label errors among references: which labels look wrong, and how often labels are wrong. Pure.

People mislabel a few percent of items. A wrong reference spreads its label, and its leave-one-out
result counts as an error of the classifier; a few of them stop a field from labelling. So a
reference is a **suspect** if another label explains it so much better that its own is probably
wrong. A suspect is not used, neither as evidence for its label nor to calibrate, until a person
reviews it. A confirmed label is never a suspect.

With λ the margin of the best other label in log-odds (leave-one-out) and η the share of wrong
labels, a label is wrong with probability η e^λ / (η e^λ + 1 − η). η is estimated from the same
references by EM, with a prior of one wrong label in a hundred that weighs as much as a hundred
references. (A mixture with a known confusion score; compare confident learning, Northcutt 2021.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.logistic import fit_mixture
from lookalike.classifier.graph.propagation import Places
from lookalike.classifier.scores.evidence import Mix
from lookalike.classifier.scores.leave_one_out import LeftOutScores

ERROR_RATE = 0.01
"""The prior share of wrong labels."""

LEAST_REFERENCES = 3
"""References of labels with fewer references are never suspects: leave-one-out is unreliable
there."""

_PRIOR_REFERENCES = 100
_ROUNDS = 15
_FARTHEST = 30.0
_MIN_ERROR_PROBABILITY = 0.85
"""A label with at least this error probability looks wrong."""

_NONE: Places = np.empty(0, np.int64)


class Suspects(NamedTuple):
    """The sorted places (k,) of references that look wrong, the probability (k,) that each label is
    right nevertheless, and the share of all labels that are wrong.
    """

    places: Places
    right: NDArray[np.float64]
    error_rate: float


def find_suspects(left: LeftOutScores, confirmed: NDArray[np.bool_]) -> Suspects:
    """Return which references of `left` look wrong, except those that a person `confirmed` (r,)."""
    eligible = left.counts[left.own] >= LEAST_REFERENCES
    if len(np.unique(left.own[eligible])) < 2:
        return Suspects(_NONE, np.empty(0), ERROR_RATE)
    mix = fit_mixture(
        left.graph_evidence[eligible], left.class_similarity[eligible], left.own[eligible]
    )
    candidates = eligible & ~confirmed
    wrong, rate = _error_probabilities(_margin(left, mix)[candidates])
    found = np.flatnonzero(wrong > _MIN_ERROR_PROBABILITY)
    places = left.places[candidates][found]
    order = np.argsort(places)
    return Suspects(places[order], 1 - wrong[found][order], rate)


def _margin(left: LeftOutScores, mix: Mix) -> NDArray[np.float64]:
    """Return the margin (r,) of the best other label over the own one, in log-odds."""
    total, rows = left.totals(mix).astype(np.float64), np.arange(len(left.own))
    own = total[rows, left.own].copy()
    total[rows, left.own] = -np.inf
    return np.asarray(np.clip(total.max(axis=1) - own, -_FARTHEST, _FARTHEST))


def _error_probabilities(margin: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return the probability that each label is wrong (r,), and the share of wrong labels."""
    rate, wrong = ERROR_RATE, np.zeros(len(margin))
    for _ in range(_ROUNDS):
        odds = rate / (1 - rate) * np.exp(margin)
        wrong = odds / (1 + odds)
        rate = (ERROR_RATE * _PRIOR_REFERENCES + float(wrong.sum())) / (
            _PRIOR_REFERENCES + len(margin)
        )
    return wrong, rate
