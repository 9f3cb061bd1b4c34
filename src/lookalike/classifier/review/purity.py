"""How likely look-alikes have one label, learned from those that people labelled. Pure.

What two things have in common says nothing of itself: in one collection a cosine of 0.8 is the same
product, in another the same shelf. So the answers tell: a logistic line through the cosines of
neighbours that both have a label, in standard deviations of what is usual for nearest neighbours
here. Before there are answers a pair at the usual cosine is taken for one of a label in 73 of 100
cases; twenty pairs count as much as that.
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
"""More pairs than this tell no more: they are of the same few items."""

_PRIOR_PAIRS, _PRIOR_SHIFT = 20, 1.0


@dataclass(frozen=True, slots=True)
class Purity:
    """The line to the log-odds of one label: slope · (cosine − usual) / spread + shift."""

    usual: float
    spread: float
    slope: float
    shift: float

    def of(self, cosines: Floats) -> NDArray[np.float64]:
        """Return the probability that pairs of these cosines (m,) have one label."""
        z = (cosines.astype(np.float64) - self.usual) / self.spread
        return sigmoid(self.slope * z + self.shift)


def learn_purity(neighbour_graph: NeighbourGraph, labels: NDArray[np.int64]) -> Purity:
    """Return how cosines tell one label from two, by `labels` (n,) that people gave (−1: none)."""
    near, cosines = neighbour_graph.near[:, :_NEAREST], neighbour_graph.near_cosines[:, :_NEAREST]
    if near.size == 0:
        return Purity(0.0, 1.0, 1.0, _PRIOR_SHIFT)
    usual, spread = float(cosines[:, 0].mean()), float(cosines[:, 0].std()) + 1e-6
    named = np.flatnonzero(labels >= 0)
    other = labels[near[named]]
    known = other >= 0
    z = ((cosines[named] - usual) / spread)[known].astype(np.float64)
    same = (other == labels[named][:, None])[known].astype(np.float64)
    pairs = len(z)
    line = (1.0, 0.0)
    if pairs:
        line = fit_line(z, same, np.full(pairs, min(1.0, _PAIRS / pairs)))
    shift = _PRIOR_SHIFT * _PRIOR_PAIRS / (_PRIOR_PAIRS + pairs)
    return Purity(usual, spread, line[0], line[1] + shift)
