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


def appended(array: NDArray[Number], more: NDArray[Number]) -> NDArray[Number]:
    """Return an array with `more` rows.

    Where there is room behind its own it is shared: then the rows that another array got there
    before are overwritten, so an array has one successor at a time.
    """
    own, count = len(array), len(array) + len(more)
    if count < ROOM_FROM:
        return np.concatenate([array, more])
    roomy = array.base
    if roomy is None or not _has_room(roomy, array, count):
        roomy = np.empty((count + count // _SPARE, *array.shape[1:]), array.dtype)
        roomy[:own] = array
    roomy[own:count] = more
    return roomy[:count]


def _has_room(roomy: NDArray[Any], array: NDArray[Any], count: int) -> bool:
    """Return whether an array is the first rows of a longer one that we made."""
    same = (roomy.shape[1:], roomy.dtype) == (array.shape[1:], array.dtype)
    ours = roomy.flags.owndata and roomy.flags.writeable and roomy.flags.c_contiguous
    return same and ours and len(roomy) >= count and roomy.ctypes.data == array.ctypes.data
