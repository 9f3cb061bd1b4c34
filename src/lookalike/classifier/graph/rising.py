"""Rising arrays of different whole numbers: places, rows, pks. Pure.

NumPy's own `unique` hashes; what we have is mostly in order, where to sort costs a fifth of that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def distinct(numbers: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the different ones among `numbers` (n,), rising."""
    rising = np.sort(numbers)
    once = np.append(True, rising[1:] != rising[:-1])[: len(rising)]
    return np.asarray(rising[once], np.int64)


def union(*parts: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the different ones among the numbers of all parts, at least one of them, rising."""
    return distinct(np.concatenate(parts))


def without(numbers: NDArray[np.int64], others: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return those of `numbers` (n,) that are not among some, mostly few, others."""
    return numbers[~np.isin(numbers, others)] if len(others) else numbers
