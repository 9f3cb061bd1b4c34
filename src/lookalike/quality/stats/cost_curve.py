"""The expected cost of a threshold, where a wrong label costs N reviews. Pure.

At the threshold t all documents whose label is right with a probability p ≥ t are labelled, and
each of the others needs one review. The expected cost is

    cost(t) = N · Σ_{p ≥ t} (1 − p) + Σ_{p < t} 1

A document is cheaper labelled than reviewed where N (1 − p) < 1, so the cheapest threshold is
1 − 1 / N (Chow 1970, the rule of rejection). Where random answers measure the error rate at a
confidence, it replaces 1 − p, and another threshold may be the cheapest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ENOUGH_CHECKS = 100
"""The least number of random answers to automatic labels; with fewer, 1 − p is the error rate."""

BAND_CHECKS = 25
"""About how many answers of similar confidence give one error rate."""

COST_STEPS = 100


@dataclass(frozen=True, slots=True)
class CostPoint:
    """The `cost` of the threshold `limit`, in reviews: that of `wrong` labels, and the `reviews`.

    `limit` is None where the field has no threshold. `labelled` documents would have an automatic
    label, with the expected `precision`; `coverage` is the share of documents with any label.
    """

    limit: float | None
    cost: float
    wrong: float
    reviews: int
    labelled: int
    coverage: float
    precision: float | None


@dataclass(frozen=True, slots=True)
class CostCurve:
    """The cost of each threshold where a wrong label costs as much as `wrong_costs` reviews.

    `best` is the cheapest point; `now` is that of the current labels. `by_rule` is 1 − 1 /
    `wrong_costs`, the best threshold if the probabilities are exact, as the `basis` `estimated`
    assumes. The `basis` is `counted` where `answers` to random samples measured the error rate of
    labels with a confidence from `counted_from` up. `decisions` counts the documents in the curve;
    `anyway` others need a review at any threshold. `next_step` is the command that sets `best`.
    """

    collection: str
    field: str
    wrong_costs: float
    basis: str
    answers: int
    counted_from: float | None
    decisions: int
    anyway: int
    by_rule: float
    best: CostPoint
    now: CostPoint
    points: Sequence[CostPoint]
    next_step: str


@dataclass(frozen=True, slots=True)
class Check:
    """An automatic label that a random answer checked.

    `inclusion` is the probability with which its document was sampled.
    """

    confidence: float
    right: bool
    inclusion: float


@dataclass(frozen=True, slots=True)
class ErrorRisks:
    """The documents whose label depends on the threshold alone; arrays (n,) float64.

    `probability` is that of being right, falling; `wrong` is that of being wrong. Of all
    `documents`, `others` have a label at any threshold.
    """

    probability: NDArray[np.float64]
    wrong: NDArray[np.float64]
    documents: int
    others: int


def error_risks(
    probability: NDArray[np.float64], checks: Sequence[Check], documents: int, others: int
) -> ErrorRisks:
    """Return the risk of error of each document: measured where `checks` reach, else 1 − p."""
    import numpy as np  # the command line shows costs without it

    falling = np.sort(probability)[::-1]
    wrong = 1 - falling
    if len(checks) >= ENOUGH_CHECKS:
        reached = falling >= min(one.confidence for one in checks)
        wrong[reached] = _measured(falling[reached], checks)
    return ErrorRisks(falling, wrong, documents, others)


def cheapest(risks: ErrorRisks, wrong_costs: float) -> CostPoint:
    """Return the cheapest threshold: the highest of several, 1 where labelling never pays.

    Documents of the same probability are labelled together or not at all.
    """
    import numpy as np

    p = risks.probability
    counts = np.concatenate([[0], np.flatnonzero(np.append(p[1:] != p[:-1], True)) + 1])
    if len(p) == 0:
        counts = counts[:1]
    sums = np.concatenate([[0.0], np.cumsum(risks.wrong)])
    count = int(counts[np.argmin(wrong_costs * sums[counts] + len(p) - counts)])
    return _point(risks, wrong_costs, count, float(p[count - 1]) if count else 1.0)


def at_threshold(risks: ErrorRisks, wrong_costs: float, threshold: float) -> CostPoint:
    """Return the cost of a threshold."""
    import numpy as np

    count = int(np.searchsorted(-risks.probability, -threshold, side="right"))
    return _point(risks, wrong_costs, count, threshold)


def current_cost(
    risks: ErrorRisks, automatic: ErrorRisks, wrong_costs: float, threshold: float | None
) -> CostPoint:
    """Return the cost of the current labels: of all documents the `automatic` ones have a label."""
    reviews = len(risks.probability) - len(automatic.probability)
    labelled = _point(automatic, wrong_costs, len(automatic.probability), threshold)
    return replace(labelled, reviews=reviews, cost=labelled.cost + reviews)


def cost_points(risks: ErrorRisks, wrong_costs: float) -> list[CostPoint]:
    """Return the cost of the thresholds from 1 down to 0, in steps of 1 / COST_STEPS."""
    steps = range(COST_STEPS, -1, -1)
    return [at_threshold(risks, wrong_costs, step / COST_STEPS) for step in steps]


def _point(risks: ErrorRisks, wrong_costs: float, count: int, threshold: float | None) -> CostPoint:
    """Return the cost of labelling the first `count` documents and reviewing the others."""
    wrong, reviews = float(risks.wrong[:count].sum()), len(risks.probability) - count
    return CostPoint(
        limit=threshold,
        cost=wrong_costs * wrong + reviews,
        wrong=wrong,
        reviews=reviews,
        labelled=count,
        coverage=(count + risks.others) / risks.documents if risks.documents else 0.0,
        precision=1 - wrong / count if count else None,
    )


def _measured(probability: NDArray[np.float64], checks: Sequence[Check]) -> NDArray[np.float64]:
    """Return the share of wrong labels (n,) among checks of similar confidence.

    Sorts the checks by confidence into bands of about BAND_CHECKS; the share of a band is a ratio
    of sums weighted by 1 / inclusion (Hájek 1971).
    """
    import numpy as np

    confidence = np.array([one.confidence for one in checks])
    weights = np.array([1 / one.inclusion for one in checks])
    missed = np.array([not one.right for one in checks]) * weights
    bands = np.array_split(np.sort(confidence), len(checks) // BAND_CHECKS)
    edges = np.unique([band[0] for band in bands[1:] if band[0] > bands[0][0]])
    places = np.searchsorted(edges, confidence, side="right")
    shares = np.bincount(places, missed) / np.bincount(places, weights)
    return np.asarray(shares[np.searchsorted(edges, probability, side="right")])
