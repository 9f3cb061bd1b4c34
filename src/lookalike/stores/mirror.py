"""Copies of the vectors of spaces on the local disk, of a database elsewhere, for scans.

A slot holds one vector for good: what replaces it gets another one. So a row that is here is right
for every snapshot that names its slot. Rows of slots that were free when they were fetched are
zeros, and an older snapshot that still names one fetches it again. All of it is derived: it may be
deleted at any time.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.search import Floats, Ids, similarities
from lookalike.stores.base import StoredSpace
from lookalike.stores.vectors import VectorFile

Vectors = NDArray[np.float16]
Fetch = Callable[[str], tuple[Ids, Vectors]]
"""Returns slots and vectors of the space where an SQL condition on `slot` is true, rising."""

_BLOCK_SLOTS = 50_000
_PROBES = 16
_NORM_SLACK = 0.01


class Mirror:
    """Rows of one space in a directory that has folders `vectors` and `cache`."""

    def __init__(self, root: Path, space: StoredSpace) -> None:
        self._lock = root / "mirror.lock"
        self._path = root / "vectors" / f"{space.pk}.{space.generation}.f16"
        self._cache = root / "cache"
        self._dimension = space.dimension
        self._file = VectorFile(self._path, self._cache, space.dimension)
        self._is_checked = False

    def __len__(self) -> int:
        return self._path.stat().st_size // (2 * self._dimension) if self._path.exists() else 0

    def fill(self, count: int, fetch: Fetch) -> None:
        """Let the first `count` slots be here; what they hold must be committed."""
        if len(self) >= count and self._is_checked:
            return
        with self._locked():
            if not self._is_checked:
                self._check(fetch)
            for start in range(len(self), count, _BLOCK_SLOTS):
                stop = min(start + _BLOCK_SLOTS, count)
                rows = np.zeros((stop - start, self._dimension), np.float16)
                slots, vectors = fetch(f"slot >= {start} AND slot < {stop}")
                rows[slots - start] = vectors
                self._file.append(start, rows)

    def rows(self, slots: Ids, fetch: Fetch) -> Vectors:
        """Return the vectors of slots (n,), which are here."""
        found = np.asarray(self._file.rows(int(slots.max()) + 1)[slots])
        blank = np.flatnonzero(~found.any(axis=1))
        if len(blank):
            found[blank] = fetched(slots[blank], self._dimension, fetch)
        return found

    def above(
        self, vector: NDArray[np.float16], floors: Floats, fetch: Fetch
    ) -> tuple[Ids, Floats]:
        """Return the slots whose similarity is ≥ the floor of that slot; +inf leaves one out."""
        found, values = self._file.above(vector, floors)
        blank = self._file.blank(len(floors))
        blank = blank[np.isfinite(floors[blank])]
        if not len(blank):
            return found, values
        exact = similarities(vector[None, :], fetched(blank, self._dimension, fetch))[0]
        more = exact >= floors[blank]
        others = ~np.isin(found, blank)
        return (
            np.concatenate([found[others], blank[more]]),
            np.concatenate([values[others], exact[more]]),
        )

    def erase(self, slots: Ids) -> None:
        """Overwrite the rows of slots."""
        with self._locked():
            self._file.erase(self._file.remains(slots))

    def erase_but(self, used: Ids, count: int) -> None:
        """Overwrite those of the first `count` slots that nobody has any more."""
        self.erase(np.setdiff1d(np.arange(min(count, len(self))), used, assume_unique=True))

    def _check(self, fetch: Fetch) -> None:
        """Begin anew where the copy is not of this database, such as one restored from a backup."""
        count = len(self)
        slots = np.unique(np.linspace(0, count - 1, min(count, _PROBES)).astype(np.int64))
        if count:
            there, vectors = fetch(in_list(np.append(slots, np.arange(count - 4, count))))
            here = np.asarray(self._file.rows(count)[there])
            known = np.flatnonzero(here.any(axis=1))
            if not np.array_equal(here[known], vectors[known]):
                for path in (self._path, *self._cache.glob(f"{self._path.stem}.*")):
                    path.unlink(missing_ok=True)
                self._file = VectorFile(self._path, self._cache, self._dimension)
        self._is_checked = True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


class Mirrors:
    """The copies of spaces on the local disk, below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._mirrors: dict[tuple[int, int], Mirror] = {}
        self.erasures: dict[tuple[int, int], str | None] = {}

    def of(self, space: StoredSpace) -> Mirror:
        """Return the copy of a space."""
        key = (space.pk, space.generation)
        return self._mirrors.setdefault(key, Mirror(self._root, space))


def fetched(slots: Ids, dimension: int, fetch: Fetch) -> Vectors:
    """Return the vectors of slots (n,) from the database; zeros where there is none."""
    there, vectors = fetch(in_list(slots))
    found = np.zeros((len(slots), dimension), np.float16)
    if len(there):
        place = np.minimum(np.searchsorted(there, slots), len(there) - 1)
        known = there[place] == slots
        found[known] = vectors[place[known]]
    return found


def in_list(slots: Ids) -> str:
    """Return the SQL condition that a slot is one of some."""
    return f"slot = ANY('{{{','.join(map(str, np.unique(slots).tolist()))}}}'::bigint[])"


def contradictions(
    slots: Ids, pks: Ids, count: int, documents: set[int], fetch: Fetch
) -> Iterator[str]:
    """Yield what contradicts itself in a space of `count` slots, of which `pks` have `slots`."""
    for slot, pk in zip(slots.tolist(), pks.tolist(), strict=True):
        if pk not in documents:
            yield f"slot {slot} names document {pk}, which does not exist"
    for start in range(0, count, _BLOCK_SLOTS):
        stop = start + _BLOCK_SLOTS
        there, vectors = fetch(f"slot >= {start} AND slot < {stop}")
        for slot in np.setdiff1d(slots[(slots >= start) & (slots < stop)], there).tolist():
            yield f"the vector in slot {slot} is gone; extract its document again"
        norms = np.linalg.norm(vectors.astype(np.float32), axis=1)
        for slot, norm in zip(there.tolist(), norms.tolist(), strict=True):
            if abs(norm - 1) > _NORM_SLACK:
                yield f"the vector in slot {slot} has length {norm:.3f}, not 1"
