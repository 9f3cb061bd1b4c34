"""References whose label looks wrong, and how often labels are wrong. Pure.

People mislabel a few of a hundred items. One wrong reference spreads its label, and counts as proof
that the machine errs; a few silence a field. So a reference is a **suspect** where another label
explains it so much better that its own is probably wrong. A suspect is no evidence, neither for its
label nor against the machine, until a person looks at it again; what a person confirmed is never
one.

With λ the lead of the best other label in log-odds (leave-one-out) and η the share of wrong labels,
a label is wrong with probability η e^λ / (η e^λ + 1 − η). The share is learned from the same
references by EM, with a prior of one wrong label in a hundred that counts as much as a hundred
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
"""The share of wrong labels before anything is known."""

LEAST_REFERENCES = 3
"""A label with fewer references does not know its own: nothing is suspected there."""

_PRIOR_REFERENCES = 100
_ROUNDS = 15
_FARTHEST = 30.0
_SURE = 0.85
"""So likely wrong a label is to look wrong."""

_NOBODY: Places = np.empty(0, np.int64)


class Suspects(NamedTuple):
    """The places (k,), rising, of references that look wrong, the probability (k,) that each is
    right nevertheless, and the share of all labels that are wrong.
    """

    places: Places
    right: NDArray[np.float64]
    error_rate: float


def find_suspects(left: LeftOutScores, confirmed: NDArray[np.bool_]) -> Suspects:
    """Return which references of `left` look wrong; those a person `confirmed` (r,) never do."""
    tried = left.counts[left.own] >= LEAST_REFERENCES
    if len(np.unique(left.own[tried])) < 2:
        return Suspects(_NOBODY, np.empty(0), ERROR_RATE)
    mix = fit_mixture(left.graph_evidence[tried], left.class_similarity[tried], left.own[tried])
    open_ = tried & ~confirmed
    wrong, rate = _wrong(_lead(left, mix)[open_])
    found = np.flatnonzero(wrong > _SURE)
    places = left.places[open_][found]
    order = np.argsort(places)
    return Suspects(places[order], 1 - wrong[found][order], rate)


def _lead(left: LeftOutScores, mix: Mix) -> NDArray[np.float64]:
    """Return how far the best other label is ahead of the own one (r,), in log-odds."""
    total, rows = left.totals(mix).astype(np.float64), np.arange(len(left.own))
    own = total[rows, left.own].copy()
    total[rows, left.own] = -np.inf
    return np.asarray(np.clip(total.max(axis=1) - own, -_FARTHEST, _FARTHEST))


def _wrong(lead: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return the probability that each label is wrong (r,), and the share of wrong ones."""
    rate, wrong = ERROR_RATE, np.zeros(len(lead))
    for _ in range(_ROUNDS):
        odds = rate / (1 - rate) * np.exp(lead)
        wrong = odds / (1 + odds)
        rate = (ERROR_RATE * _PRIOR_REFERENCES + float(wrong.sum())) / (
            _PRIOR_REFERENCES + len(lead)
        )
    return wrong, rate
