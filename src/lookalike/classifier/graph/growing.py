"""Arrays to which rows are added often, few at a time: with room to spare, so few are copied."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)

ROOM_FROM = 20_000
"""From so many rows on it is worth it."""

_SPARE = 8
"""An eighth more than is needed."""


def roomy(rows: int, columns: int, dtype: type[Number]) -> NDArray[Number]:
    """Return an array (rows, columns) to be filled, with room to spare, which costs nothing."""
    spare = rows // _SPARE if rows >= ROOM_FROM else 0
    return np.empty((rows + spare, columns), dtype)[:rows]


def appended(array: NDArray[Number], more: NDArray[Number]) -> NDArray[Number]:
    """Return an array with `more` rows.

    Where there is room behind its own it is shared: then the rows that another array got there
    before are overwritten, so an array has one successor at a time.
    """
    own, count = len(array), len(array) + len(more)
    if count < ROOM_FROM:
        return np.concatenate([array, more])
    whole = array.base
    if whole is None or not _has_room(whole, array, count):
        whole = np.empty((count + count // _SPARE, *array.shape[1:]), array.dtype)
        whole[:own] = array
    whole[own:count] = more
    return whole[:count]


def _has_room(whole: NDArray[Any], array: NDArray[Any], count: int) -> bool:
    """Return whether an array is the first rows of a longer one that we made."""
    same = (whole.shape[1:], whole.dtype) == (array.shape[1:], array.dtype)
    ours = whole.flags.owndata and whole.flags.writeable and whole.flags.c_contiguous
    return same and ours and len(whole) >= count and whole.ctypes.data == array.ctypes.data
