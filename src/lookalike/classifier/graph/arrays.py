"""Vectors of whole numbers, so that sums of products are exact whichever way they are added. Pure.

A float32 holds every whole number up to 2^24. Where two vectors of whole numbers are at most 2^12
long, no partial sum of their inner product is larger (Cauchy–Schwarz): one product of matrices, a
blocked one and one of a single row agree to the last bit, whatever the BLAS and its threads. So
what is kept up to date equals what is made from scratch, on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
import simsimd
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Grid = NDArray[np.int16]
Bytes = NDArray[np.int8]

_LENGTH = 4096
_EXACT = 2**24
_STEPS = 24
"""Steps of a byte to the root mean square of a component: it holds 5.3 of them."""

_BLOCK = 4096
_TINY = np.float32(1e-12)


def grid_length(dimension: int) -> float:
    """Return how long vectors on the grid are before they are rounded to it."""
    return _LENGTH - float(dimension**0.5) / 2


def on_grid(vectors: Floats) -> Grid:
    """Return the directions of `vectors` (n, d) as whole numbers; no row is longer than 4096."""
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _TINY)
    scale = np.float32(grid_length(vectors.shape[1]))
    return np.asarray(np.rint(vectors * (scale / lengths)), np.int16)


def matrix_on_grid(matrix: Floats) -> Grid:
    """Return a multiple of `matrix` (d, k) in whole numbers; no column is longer than 4096."""
    longest = max(float(np.linalg.norm(matrix, axis=0).max(initial=0)), float(_TINY))
    return np.asarray(np.rint(matrix * np.float32(grid_length(len(matrix)) / longest)), np.int16)


def in_bytes(vectors: Floats) -> Bytes:
    """Return the directions of `vectors` (n, d), whose components are alike, in whole bytes."""
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _TINY)
    scale = np.float32(_STEPS * vectors.shape[1] ** 0.5)
    return np.asarray(np.clip(np.rint(vectors * (scale / lengths)), -127, 127), np.int8)


def largest_digit(dimension: int) -> int:
    """Return how large components (d,) may be whose product with a vector in bytes is exact."""
    return max(1, int(_EXACT / (dimension * (_STEPS + 0.5))))


def products(rows: Grid | Bytes, others: Floats) -> Iterator[tuple[slice, Floats]]:
    """Yield blocks of `rows` (n, d) with their inner products (block, m) with `others` (m, d)."""
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(rows)))
        yield block, rows[block].astype(np.float32) @ others.T


def product(rows: Bytes, other: Bytes) -> NDArray[np.float64]:
    """Return the inner products (n,) of `rows` (n, d) with one vector: one pass over the bytes."""
    return np.asarray(simsimd.inner(rows, other), np.float64).reshape(len(rows))


def squares(rows: Bytes) -> NDArray[np.float64]:
    """Return the squared lengths (n,) of `rows` (n, d)."""
    parts = [
        np.square(rows[start : start + _BLOCK].astype(np.float32)).sum(axis=1)
        for start in range(0, len(rows), _BLOCK)
    ]
    return np.concatenate([np.empty(0, np.float32), *parts]).astype(np.float64)


# --- growable arrays -----------------------------------------------------------------------------

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


# --- sorted unique arrays ------------------------------------------------------------------------

# NumPy's own `unique` hashes; what we have is mostly in order, where to sort costs a fifth of that.


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
