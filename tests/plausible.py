"""Whether a share that was counted may come of the share that was promised.

A promise of 95 % is one about many runs: of a hundred labels, one run has 92 right by chance, and
another 98.
"""

from __future__ import annotations

from scipy.stats import binom

_BY_CHANCE = 0.001


def meets(right: int, of: int, promised: float = 0.95) -> bool:
    """Whether so few right come of the promised share more often than once in a thousand runs.

    Nothing at all (`of` = 0) meets no promise.
    """
    return of > 0 and bool(binom.cdf(right, of, promised) > _BY_CHANCE)
