"""The file of one space: float16 rows, append only, with an int8 sidecar for scans.

The database names the slots in use; bytes past them are leftovers of a crash that the next writer
overwrites. The sidecar is derived: `quantise` gives the same bytes each time, so it may be deleted
and may be written by two processes at once.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import StoreCorrupt, StoreUnwritable
from lookalike.stores.search import Floats

_SCAN_ROWS = 65536
_ROUND_UP = np.float32(1 + 1e-5)
_NORM_SLACK = 1.02
_FLOAT32_SLACK = np.float32(1e-6)


class VectorFile:
    """Rows of one space. `path` ends in `.f16`; the sidecar is two files in `cache`."""

    def __init__(self, path: Path, cache: Path, dimension: int) -> None:
        self._path = path
        self._codes_path = cache / f"{path.stem}.i8"
        self._bounds_path = cache / f"{path.stem}.bounds"
        self._dimension = dimension
        self._maps: dict[Path, NDArray[Any]] = {}

    def append(self, slot: int, vectors: NDArray[np.float16]) -> None:
        """Write rows from `slot` on, durably: when this returns they survive a power cut."""
        codes, bounds = quantise(vectors)
        _write_at(self._path, slot * self._dimension * 2, vectors.tobytes())
        _write_at(self._codes_path, slot * self._dimension, codes.tobytes())
        _write_at(self._bounds_path, slot * 8, bounds.tobytes())

    def rows(self, count: int) -> NDArray[np.float16]:
        """Return the first `count` rows, float16 (count, dimension), mapped and read-only."""
        return self._map(self._path, np.dtype(np.float16), count, self._dimension)

    def above(
        self, vector: NDArray[np.float16], floors: Floats
    ) -> tuple[NDArray[np.int64], Floats]:
        """Return the slots whose similarity with `vector` (d,) is ≥ their floor, and it.

        `floors` (count,) holds one floor a slot; +inf leaves a slot out. Exact: int8 codes with a
        proved error bound choose the candidates, float16 decides.
        """
        count = len(floors)
        self._complete_sidecar(count)
        codes = self._map(self._codes_path, np.dtype(np.int8), count, self._dimension)
        bounds = self._map(self._bounds_path, np.dtype(np.float32), count, 2)
        query_codes, query_bounds = quantise(vector[None, :])
        query_scale, query_error = query_bounds[0]
        found = []
        for start in range(0, count, _SCAN_ROWS):
            part = slice(start, min(start + _SCAN_ROWS, count))
            upper = int8_dots(codes[part], query_codes[0])
            upper *= bounds[part, 0] * query_scale
            upper += bounds[part, 1] * _ROUND_UP + np.float32(_NORM_SLACK) * query_error
            upper += _FLOAT32_SLACK
            found.append(np.flatnonzero(upper >= floors[part]) + start)
        candidates = np.concatenate(found) if found else np.empty(0, np.int64)
        exact = self.rows(count)[candidates].astype(np.float64) @ vector.astype(np.float64)
        similarity = exact.astype(np.float32)
        kept = similarity >= floors[candidates]
        return candidates[kept], similarity[kept]

    def erase(self, slots: NDArray[np.int64]) -> None:
        """Overwrite the rows of `slots` with zeros, here and in the sidecar."""
        for slot in slots.tolist():
            self.append(slot, np.zeros((1, self._dimension), np.float16))

    def _complete_sidecar(self, count: int) -> None:
        have = min(
            _size(self._codes_path) // self._dimension,
            _size(self._bounds_path) // 8,
        )
        for start in range(have, count, _SCAN_ROWS):
            stop = min(start + _SCAN_ROWS, count)
            codes, bounds = quantise(self.rows(stop)[start:])
            _write_at(self._codes_path, start * self._dimension, codes.tobytes())
            _write_at(self._bounds_path, start * 8, bounds.tobytes())

    def _map(self, path: Path, dtype: np.dtype[Any], rows: int, columns: int) -> NDArray[Any]:
        known = self._maps.get(path)
        if known is None or len(known) < rows:
            if rows == 0:
                return np.empty((0, columns), dtype)
            whole = _size(path) // (dtype.itemsize * columns)
            if whole < rows:
                raise StoreCorrupt(
                    f"{path.name} holds {whole} vectors but the database names {rows}; "
                    "restore the file from a backup, or extract the collection again"
                )
            known = np.memmap(path, dtype, "r", shape=(whole, columns))
            self._maps[path] = known
        return known[:rows]


def quantise(vectors: NDArray[np.float16]) -> tuple[NDArray[np.int8], Floats]:
    """Return int8 codes (n, d) and bounds (n, 2): the scale, and the norm of what codes lose."""
    wide = vectors.astype(np.float32)
    scale = np.maximum(np.abs(wide).max(axis=1), np.float32(1e-12)) / np.float32(127)
    codes = np.rint(wide / scale[:, None]).astype(np.int8)
    lost = wide - codes * scale[:, None]
    error = np.sqrt(np.einsum("nd,nd->n", lost, lost)) * _ROUND_UP
    return codes, np.stack([scale, error], axis=1)


@functools.cache
def _native_dots_work() -> bool:
    import simsimd  # type: ignore[import-untyped,unused-ignore]

    ramp = (np.arange(7 * 1283, dtype=np.int64) * 31 % 255 - 127).astype(np.int8).reshape(7, 1283)
    ours = ramp.astype(np.int64) @ ramp[3].astype(np.int64)
    theirs = np.asarray(simsimd.cdist(ramp[3:4], ramp, metric="dot"))[0]
    return bool(np.array_equal(ours, theirs))


def int8_dots(codes: NDArray[np.int8], query: NDArray[np.int8]) -> Floats:
    """Return the dot products of `codes` (n, d) and `query` (d,), float32 (n,).

    By simsimd's kernels when they give the right sums on this machine, else by blocks of BLAS.
    """
    if _native_dots_work():
        import simsimd

        dots = np.asarray(simsimd.cdist(query[None, :], codes, metric="dot"))[0]
        return np.asarray(dots, np.float32)
    return np.asarray(codes.astype(np.float32) @ query.astype(np.float32))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _write_at(path: Path, offset: int, data: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            view = memoryview(data)
            while view:
                written = os.pwrite(descriptor, view, offset)
                view, offset = view[written:], offset + written
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreUnwritable(
            f"cannot write {path.name}: {error.strerror}; free some space or permissions and "
            "run the same command again: nothing that was acknowledged is lost"
        ) from error
