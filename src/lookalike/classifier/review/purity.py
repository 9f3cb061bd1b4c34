"""Probability that two look-alikes have the same label, fitted on labelled neighbours. Pure.

The cosine of two items means something different in every collection: at 0.8 they are the same
product in one, and only on the same shelf in another. So a logistic line is fitted to the cosines
of neighbours that both have a label, in standard deviations of the usual nearest-neighbour cosine.
Before there are answers, a pair at the usual cosine has the same label with probability 0.73; this
prior weighs as much as twenty pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.logistic import fit_line, sigmoid
from lookalike.classifier.graph.graph import NeighbourGraph
from lookalike.classifier.graph.propagation import Floats

_NEAREST = 10
_PAIRS = 60.0
"""The largest weight of all pairs together: more pairs add no information, since they are of the
same few items."""

_PRIOR_PAIRS, _PRIOR_SHIFT = 20, 1.0


@dataclass(frozen=True, slots=True)
class Purity:
    """The line to the log-odds of the same label: slope · (cosine − mean) / spread + shift."""

    mean: float
    spread: float
    slope: float
    shift: float

    def of(self, cosines: Floats) -> NDArray[np.float64]:
        """Return the probability that pairs with these cosines (m,) have the same label."""
        z = (cosines.astype(np.float64) - self.mean) / self.spread
        return sigmoid(self.slope * z + self.shift)


def fit_purity(neighbour_graph: NeighbourGraph, labels: NDArray[np.int64]) -> Purity:
    """Fit how cosines predict the same label, from people's `labels` (n,) (−1: none)."""
    near, cosines = neighbour_graph.near[:, :_NEAREST], neighbour_graph.near_cosines[:, :_NEAREST]
    if near.size == 0:
        return Purity(0.0, 1.0, 1.0, _PRIOR_SHIFT)
    mean, spread = float(cosines[:, 0].mean()), float(cosines[:, 0].std()) + 1e-6
    named = np.flatnonzero(labels >= 0)
    neighbour_labels = labels[near[named]]
    known = neighbour_labels >= 0
    z = ((cosines[named] - mean) / spread)[known].astype(np.float64)
    same = (neighbour_labels == labels[named][:, None])[known].astype(np.float64)
    pairs = len(z)
    line = (1.0, 0.0)
    if pairs:
        line = fit_line(z, same, np.full(pairs, min(1.0, _PAIRS / pairs)))
    shift = _PRIOR_SHIFT * _PRIOR_PAIRS / (_PRIOR_PAIRS + pairs)
    return Purity(mean, spread, line[0], line[1] + shift)
