"""The extractor `passthrough`: vectors from the user, checked and scaled to unit length."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import BadContent, BadSetting, BadVector
from lookalike.extractors.base import VECTOR_TYPE, Content, Extractor, Part, extract_each, unit
from lookalike.model import Space

VERSION = "v1"
"""Changes whenever the processing of a vector changes: it is then another space."""

MAX_DIMENSION = 65_536
"""The largest dimension: no model has more, and the memory of a batch grows with it."""


def passthrough(dimension: int, name: str = "vectors") -> Extractor:
    """Return the extractor for vectors that were computed elsewhere.

    `name` names their model and is part of the space: vectors with different names are never
    compared. Raises BadSetting for an impossible dimension, and for a name that is not letters,
    digits, `.`, `_` and `-`.

    >>> passthrough(2, "clip").space.name
    'passthrough.v1/clip@dca08635'
    """
    if not isinstance(dimension, int) or isinstance(dimension, bool):
        raise BadSetting(f"a dimension is a whole number, not {dimension!r}")
    if dimension < 1:
        raise BadSetting(f"a vector cannot have {dimension} dimensions; give 1 or more")
    if dimension > MAX_DIMENSION:
        raise BadSetting(
            f"a vector cannot have {dimension:,} dimensions; give at most {MAX_DIMENSION:,}"
        )
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        raise BadSetting(f"a space cannot be named {name!r}; use letters, digits, '.', '_', '-'")
    return PassthroughExtractor(dimension, name)


class PassthroughExtractor:
    """Checks each vector and scales it to unit length."""

    accepts = frozenset({"vector"})

    def __init__(self, dimension: int, name: str) -> None:
        self._dimension = dimension
        self._name = name

    @property
    def space(self) -> Space:
        """Name, and a digest of name and dimension: there are no weights to digest."""
        digest = hashlib.sha256(f"{self._name} {self._dimension}".encode()).hexdigest()
        return Space(f"passthrough.{VERSION}/{self._name}@{digest[:8]}", self._dimension)

    def extract(self, contents: Sequence[Content]) -> list[tuple[Part, ...] | BadContent]:
        """Return one part for each vector."""
        return extract_each(contents, self._extract_one)

    def _extract_one(self, content: Content) -> tuple[Part, ...]:
        problem = self._problem(content)
        if problem:
            raise BadContent(f"cannot use the vector {content.name!r}: {problem}")
        return (Part(unit(np.frombuffer(content.data, "<f4"))),)

    def _problem(self, content: Content) -> str:
        """Return what is wrong and what to do, or the empty text."""
        if content.media_type != VECTOR_TYPE:
            return f"its media type is {content.media_type}; give {VECTOR_TYPE}"
        size = 4 * self._dimension
        if len(content.data) != size:
            return (
                f"it has {len(content.data):,} bytes, and {self._dimension:,} float32 numbers "
                f"have {size:,}; give a vector of this space's dimension"
            )
        numbers = np.frombuffer(content.data, "<f4")
        if not np.isfinite(numbers).all():
            index = int(np.argmin(np.isfinite(numbers)))
            return f"number {index} is {numbers[index]}; all must be finite"
        if not numbers.any():
            return f"all its {self._dimension:,} numbers are 0: it has no direction; leave it out"
        return ""


def unit_rows(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return rows of `vectors` (n, d) scaled to length 1, float32; none may be zero."""
    wide = np.asarray(vectors, np.float64)
    wide = wide / np.abs(wide).max(axis=1, keepdims=True)  # so that squares are neither 0 nor inf
    return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True), np.float32)


def problems(vectors: NDArray[np.floating], dimension: int) -> dict[int, str]:
    """Return what is wrong with rows of `vectors` (n, d), by row. Raises BadVector by shape."""
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise BadVector(
            f"vectors have shape {vectors.shape}, and this collection needs (n, {dimension}); "
            "use another collection for vectors of another model"
        )
    wrong = {}
    for row in np.flatnonzero(~np.isfinite(vectors).all(axis=1)).tolist():
        column = int(np.argmin(np.isfinite(vectors[row])))
        wrong[row] = f"number {column} of the vector is {vectors[row, column]}; all must be finite"
    for row in np.flatnonzero(~vectors.any(axis=1)).tolist():
        wrong[row] = f"all {dimension} numbers of the vector are 0: it has no direction"
    return wrong
