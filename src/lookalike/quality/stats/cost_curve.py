"""What a limit costs, where a wrong label costs as much as some reviews. Pure.

At the limit t everything whose label is right with a probability p ≥ t is labelled, and the rest is
reviewed, a review each. With N reviews for a wrong label that is to be expected to cost

    cost(t) = N · Σ_{p ≥ t} (1 − p) + Σ_{p < t} 1

Each document is cheaper labelled than reviewed where N (1 − p) < 1, so the least cost is at the
limit 1 − 1 / N (Chow 1970, the rule of rejection). Where random answers tell how often labels of a
confidence were wrong, that takes the place of 1 − p, and the least cost may be at another limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ENOUGH_CHECKS = 100
"""So many random answers that met an automatic label count; with fewer 1 − p stays."""

BAND_CHECKS = 25
"""About so many of them are counted together: those of the nearest confidence."""

COST_STEPS = 100


@dataclass(frozen=True, slots=True)
class CostPoint:
    """What a `limit` costs, in reviews: `wrong` labels at what they cost, and the `reviews`.

    The limit is None where none is in force. `labelled` documents would have a label of the
    machine's, of which `precision` may be right; `coverage` is the share with any label.
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
    """What limits cost where a wrong label costs as much as `wrong_costs` reviews.

    `best` costs least of all; `now` is what is labelled as it stands. `by_rule` is 1 − 1 /
    `wrong_costs`, which is best where probabilities are taken at their word: as long as the `basis`
    is `estimated`. Where it is `counted`, `answers` that chance drew have told how often labels of
    a confidence from `counted_from` up were wrong. `decisions` documents are weighed here;
    `anyway` others need a review at any limit. `next_step` is the command that brings `best` about.
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
    """An automatic label that a random answer met.

    `inclusion` is the probability with which chance had drawn its document.
    """

    confidence: float
    right: bool
    inclusion: float


@dataclass(frozen=True, slots=True)
class Weighed:
    """The documents that only the limit bears on, the surest first; arrays (n,) float64.

    `wrong` is how likely each label is wrong. Of all `documents`, `others` have a label anyway.
    """

    probability: NDArray[np.float64]
    wrong: NDArray[np.float64]
    documents: int
    others: int


def weighed(
    probability: NDArray[np.float64], checks: Sequence[Check], documents: int, others: int
) -> Weighed:
    """Return documents with how likely each label is wrong, counted as far as `checks` reach."""
    import numpy as np  # the command line shows costs without it

    falling = np.sort(probability)[::-1]
    wrong = 1 - falling
    if len(checks) >= ENOUGH_CHECKS:
        reached = falling >= min(one.confidence for one in checks)
        wrong[reached] = _counted(falling[reached], checks)
    return Weighed(falling, wrong, documents, others)


def cheapest(these: Weighed, wrong_costs: float) -> CostPoint:
    """Return the limit that costs least; of several the highest, and 1 where nothing is worth it.

    Documents of the same probability are labelled together or not at all.
    """
    import numpy as np

    p = these.probability
    counts = np.concatenate([[0], np.flatnonzero(np.append(p[1:] != p[:-1], True)) + 1])
    if len(p) == 0:
        counts = counts[:1]
    sums = np.concatenate([[0.0], np.cumsum(these.wrong)])
    count = int(counts[np.argmin(wrong_costs * sums[counts] + len(p) - counts)])
    return _point(these, wrong_costs, count, float(p[count - 1]) if count else 1.0)


def at_limit(these: Weighed, wrong_costs: float, limit: float) -> CostPoint:
    """Return what a limit costs."""
    import numpy as np

    count = int(np.searchsorted(-these.probability, -limit, side="right"))
    return _point(these, wrong_costs, count, limit)


def as_it_stands(
    these: Weighed, automatic: Weighed, wrong_costs: float, limit: float | None
) -> CostPoint:
    """Return what it costs that just the `automatic` ones of these have a label."""
    reviews = len(these.probability) - len(automatic.probability)
    whole = _point(automatic, wrong_costs, len(automatic.probability), limit)
    return replace(whole, reviews=reviews, cost=whole.cost + reviews)


def cost_points(these: Weighed, wrong_costs: float) -> list[CostPoint]:
    """Return what limits from 1 down to 0 cost, in steps of 1 / COST_STEPS."""
    steps = range(COST_STEPS, -1, -1)
    return [at_limit(these, wrong_costs, step / COST_STEPS) for step in steps]


def _point(these: Weighed, wrong_costs: float, count: int, limit: float | None) -> CostPoint:
    wrong, reviews = float(these.wrong[:count].sum()), len(these.probability) - count
    return CostPoint(
        limit=limit,
        cost=wrong_costs * wrong + reviews,
        wrong=wrong,
        reviews=reviews,
        labelled=count,
        coverage=(count + these.others) / these.documents if these.documents else 0.0,
        precision=1 - wrong / count if count else None,
    )


def _counted(probability: NDArray[np.float64], checks: Sequence[Check]) -> NDArray[np.float64]:
    """Return the share of wrong labels among checks of about the same confidence (n,).

    Checks are put in bands of about BAND_CHECKS by rising confidence; a share is the ratio of sums
    weighted by 1 / inclusion (Hájek 1971).
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
