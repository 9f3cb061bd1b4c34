"""Arrays for the graph: fixed-point vectors, growable arrays and sorted unique arrays. Pure.

Fixed-point vectors hold whole numbers, so that inner products are exact in any order of summation.
A float32 represents every whole number up to 2^24. If two vectors of whole numbers are at most 2^12
long, no partial sum of their inner product exceeds 2^24 (Cauchy–Schwarz). A product of matrices, a
blocked product and the product of a single row then agree to the last bit, whatever BLAS and number
of threads are used. An incremental update therefore equals a full recomputation, on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
import simsimd
from numpy.typing import NDArray

Floats = NDArray[np.float32]
FixedPoint = NDArray[np.int16]
Bytes = NDArray[np.int8]

_LENGTH = 4096
_EXACT = 2**24
_STEPS = 24
"""Steps of an int8 per root mean square of a component: an int8 holds 5.3 times the root mean
square."""

_BLOCK = 4096
_TINY = np.float32(1e-12)


def fixed_point_length(dimension: int) -> float:
    """Return the length of fixed-point vectors before they are rounded."""
    return _LENGTH - float(dimension**0.5) / 2


def to_fixed_point(vectors: Floats) -> FixedPoint:
    """Return the directions of `vectors` (n, d) in fixed point; no row is longer than 4096."""
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _TINY)
    scale = np.float32(fixed_point_length(vectors.shape[1]))
    return np.asarray(np.rint(vectors * (scale / lengths)), np.int16)


def matrix_to_fixed_point(matrix: Floats) -> FixedPoint:
    """Return a multiple of `matrix` (d, k) in fixed point; no column is longer than 4096."""
    longest = max(float(np.linalg.norm(matrix, axis=0).max(initial=0)), float(_TINY))
    return np.asarray(
        np.rint(matrix * np.float32(fixed_point_length(len(matrix)) / longest)), np.int16
    )


def to_int8(vectors: Floats) -> Bytes:
    """Return the directions of `vectors` (n, d) as int8; components should be of similar size."""
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _TINY)
    scale = np.float32(_STEPS * vectors.shape[1] ** 0.5)
    return np.asarray(np.clip(np.rint(vectors * (scale / lengths)), -127, 127), np.int8)


def largest_digit(dimension: int) -> int:
    """Return the largest component that an array (d,) may have for exact products with int8
    vectors.
    """
    return max(1, int(_EXACT / (dimension * (_STEPS + 0.5))))


def products(rows: FixedPoint | Bytes, others: Floats) -> Iterator[tuple[slice, Floats]]:
    """Yield blocks of `rows` (n, d) with their inner products (block, m) with `others` (m, d)."""
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(rows)))
        yield block, rows[block].astype(np.float32) @ others.T


def product(rows: Bytes, other: Bytes) -> NDArray[np.float64]:
    """Return the inner products (n,) of `rows` (n, d) with one vector, in one pass over the int8
    rows.
    """
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
"""Arrays keep spare room from this number of rows on."""

_SPARE = 8
"""The spare room is one eighth of the rows."""


def empty_growable(rows: int, columns: int, dtype: type[Number]) -> NDArray[Number]:
    """Return an uninitialised array (rows, columns) with spare room, which costs no memory until
    used.
    """
    spare = rows // _SPARE if rows >= ROOM_FROM else 0
    return np.empty((rows + spare, columns), dtype)[:rows]


def append_growable(array: NDArray[Number], more: NDArray[Number]) -> NDArray[Number]:
    """Return `array` with the rows `more` appended.

    If the underlying buffer has spare room, the result shares it with `array`. Appending to the
    same array twice overwrites the rows of the first result: an array may have one successor only.
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
    """Return whether `array` is the start of a longer buffer made by `append_growable`."""
    same = (whole.shape[1:], whole.dtype) == (array.shape[1:], array.dtype)
    ours = whole.flags.owndata and whole.flags.writeable and whole.flags.c_contiguous
    return same and ours and len(whole) >= count and whole.ctypes.data == array.ctypes.data


# --- sorted unique arrays ------------------------------------------------------------------------

# `np.unique` hashes. These arrays are mostly in order already, and sorting takes a fifth of the
# time.


def sorted_unique(numbers: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the unique values of `numbers` (n,), sorted."""
    in_order = np.sort(numbers)
    is_first = np.append(True, in_order[1:] != in_order[:-1])[: len(in_order)]
    return np.asarray(in_order[is_first], np.int64)


def union(*parts: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the unique values of all parts, sorted; needs at least one part."""
    return sorted_unique(np.concatenate(parts))


def without(numbers: NDArray[np.int64], others: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the values of `numbers` (n,) that are not in `others`, which is mostly small."""
    return numbers[~np.isin(numbers, others)] if len(others) else numbers
