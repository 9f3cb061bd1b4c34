"""The vector file of one space: float16 rows, append only, with an int8 sidecar for scans.

The database records the slots in use; bytes after them are left by a crash, and the next writer
overwrites them. The sidecar is derived: `quantise` always gives the same bytes, so it may be
deleted at any time, and two processes may write it at once. No file has gaps, so a file that is
shorter than the database says is known to be incomplete.
"""

from __future__ import annotations

import fcntl
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.search import Floats, Ids, similarities
from lookalike.errors import StoreCorrupt, StoreUnwritable
from lookalike.stores.base import StoredSpace

_SCAN_ROWS = 65536
_RUN = 1024
_NO_SLOTS = np.empty(0, np.int64)
_NO_FLOATS = np.empty(0, np.float32)
_ROUND_UP = np.float32(1 + 2e-4)
"""An upper bound of the float32 rounding error in a sum of some thousand squares."""
_NORM_SLACK = 1.02
"""An upper bound of the norm of a unit vector in float16."""
_NO_SCALE = np.float32(1e-12)
"""Far below the scale of any unit vector in float16."""
_FLOAT32_SLACK = np.float32(1e-6)
_EXACT_COLUMNS = 1024
"""The sum of this many products of int8 codes is below 2²⁴, so float32 is exact."""


class VectorFile:
    """The rows of one space. `path` ends in `.f16`; the sidecar is two files in `cache`."""

    def __init__(self, path: Path, cache: Path, dimension: int) -> None:
        self._path = path
        self._codes_path = cache / f"{path.stem}.i8"
        self._bounds_path = cache / f"{path.stem}.bounds"
        self._dimension = dimension
        self._maps: dict[Path, NDArray[Any]] = {}

    def append(self, slot: int, vectors: NDArray[np.float16]) -> None:
        """Write rows from `slot` on; when this returns, they survive a power failure."""
        assert vectors.dtype == np.float16 and vectors.shape[1:] == (self._dimension,), "not a row"
        if not _write(self._path, [(slot * self._dimension * 2, vectors.tobytes())]):
            raise self._too_short(self._path, slot)
        self._write_sidecar([slot], *quantise(vectors))

    def rows(self, count: int) -> NDArray[np.float16]:
        """Return the first `count` rows, float16 (count, dimension), mapped and read-only."""
        return self._map(self._path, np.dtype(np.float16), count, self._dimension)

    def read(self, slots: NDArray[np.int64]) -> NDArray[np.float16]:
        """Return the rows of `slots`, float16 (n, dimension).

        Many consecutive rows are read, not mapped: mapped pages count as memory of the process.
        """
        count = int(slots.max()) + 1 if len(slots) else 0
        if (
            len(slots) < _RUN
            or slots[-1] - slots[0] != len(slots) - 1
            or np.any(np.diff(slots) != 1)
        ):
            return np.asarray(self.rows(count)[slots])
        if _size(self._path) < count * self._dimension * 2:
            raise self._too_short(self._path, count)
        offset = int(slots[0]) * self._dimension * 2
        rows = np.fromfile(self._path, np.float16, len(slots) * self._dimension, offset=offset)
        return rows.reshape(-1, self._dimension)

    def above(
        self, vector: NDArray[np.float16], floors: Floats
    ) -> tuple[NDArray[np.int64], Floats]:
        """Return the slots whose similarity with `vector` (d,) is ≥ their floor, and it.

        `floors` (count,) has one floor per slot; +inf leaves a slot out. Exact: int8 codes with a
        proven error bound select candidates, float16 decides. With x̂ and q̂ decoded from the codes
        of x and q, ⟨x,q⟩ − ⟨x̂,q̂⟩ = ⟨x − x̂, q̂⟩ + ⟨x, q − q̂⟩ ≤ ‖x − x̂‖·‖q̂‖ + ‖x‖·‖q − q̂‖.
        """
        count = len(floors)
        codes, bounds = self._sidecar(count)
        query_codes, query_bounds = quantise(vector[None, :])
        query_scale, query_error = query_bounds[0]
        query_length = np.linalg.norm(query_codes[0].astype(np.float32)) * query_scale * _ROUND_UP
        rows, found, similarities = self.rows(count), [_NO_SLOTS], [_NO_FLOATS]
        for start in range(0, count, _SCAN_ROWS):
            part = slice(start, min(start + _SCAN_ROWS, count))
            upper = int8_dots(codes[part], query_codes[0])
            upper *= bounds[part, 0] * query_scale
            upper += bounds[part, 1] * query_length + np.float32(_NORM_SLACK) * query_error
            upper += _FLOAT32_SLACK
            candidates = np.flatnonzero(upper >= floors[part]) + start
            exact = np.einsum("nd,d->n", rows[candidates], vector, dtype=np.float64)
            similarity = exact.astype(np.float32)
            kept = similarity >= floors[candidates]
            found.append(candidates[kept])
            similarities.append(similarity[kept])
        return np.concatenate(found), np.concatenate(similarities)

    def remove(self) -> None:
        """Delete the file and the sidecar; existing memory maps stay valid."""
        for path in (self._path, self._codes_path, self._bounds_path):
            path.unlink(missing_ok=True)
            self._maps.pop(path, None)

    def erase(self, slots: NDArray[np.int64]) -> None:
        """Overwrite the rows of `slots` with zeros, here and in the sidecar."""
        zeros = np.zeros((1, self._dimension), np.float16)
        row = zeros.tobytes()
        _write(self._path, [(slot * len(row), row) for slot in slots.tolist()])
        self._write_sidecar(slots.tolist(), *quantise(zeros))

    def remains(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of `slots` whose row is not erased."""
        in_file = slots[slots < _size(self._path) // (2 * self._dimension)]
        rows = self.rows(int(in_file.max()) + 1 if len(in_file) else 0)
        parts = (
            in_file[start : start + _SCAN_ROWS] for start in range(0, len(in_file), _SCAN_ROWS)
        )
        return np.concatenate([in_file[:0], *(part[rows[part].any(axis=1)] for part in parts)])

    def blank(self, count: int) -> NDArray[np.int64]:
        """Return those of the first `count` slots whose row is erased or was never written."""
        _, bounds = self._sidecar(count)
        return np.flatnonzero(bounds[:, 0] <= _NO_SCALE)

    def _sidecar(self, count: int) -> tuple[NDArray[np.int8], Floats]:
        self._complete_sidecar(count)
        try:
            codes = self._map(self._codes_path, np.dtype(np.int8), count, self._dimension)
            return codes, self._map(self._bounds_path, np.dtype(np.float32), count, 2)
        except (FileNotFoundError, StoreCorrupt):  # another process has just emptied the cache
            return quantise(self.rows(count))

    def _complete_sidecar(self, count: int) -> None:
        have = min(
            _size(self._codes_path) // self._dimension,
            _size(self._bounds_path) // 8,
        )
        for start in range(have, count, _SCAN_ROWS):
            stop = min(start + _SCAN_ROWS, count)
            self._write_sidecar([start], *quantise(self.rows(stop)[start:]))

    def _write_sidecar(self, slots: Sequence[int], codes: NDArray[np.int8], bounds: Floats) -> None:
        """Write these codes and bounds at each of `slots`, but never beyond a gap."""
        _write(self._codes_path, [(slot * self._dimension, codes.tobytes()) for slot in slots])
        _write(self._bounds_path, [(slot * 8, bounds.tobytes()) for slot in slots])

    def _map(self, path: Path, dtype: np.dtype[Any], rows: int, columns: int) -> NDArray[Any]:
        if rows == 0:
            return np.empty((0, columns), dtype)
        whole = _size(path) // (dtype.itemsize * columns)
        if whole < rows:  # check each time: reading a map beyond its file kills the process
            raise self._too_short(path, rows)
        known = self._maps.get(path)
        if known is None or len(known) < rows:
            known = self._maps[path] = np.memmap(path, dtype, "r", shape=(whole, columns))
        return known[:rows]

    def _too_short(self, path: Path, rows: int) -> StoreCorrupt:
        whole = _size(self._path) // (2 * self._dimension)
        return StoreCorrupt(
            f"{path.name} has {whole} vectors, but the database has {rows}; "
            "restore the file from a backup, or extract the collection again"
        )


def quantise(vectors: NDArray[np.float16]) -> tuple[NDArray[np.int8], Floats]:
    """Return int8 codes (n, d) and bounds (n, 2): the scale, and the norm of the rounding error."""
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

    simsimd's kernels compute them if their sums are right on this machine, else blocks of BLAS:
    both sum exactly and round once.
    """
    if _native_dots_work():
        import simsimd

        dots = np.asarray(simsimd.cdist(query[None, :], codes, metric="dot"))[0]
        return np.asarray(dots, np.float32)
    exact = np.zeros(len(codes), np.float64)
    for start in range(0, len(query), _EXACT_COLUMNS):
        part = slice(start, start + _EXACT_COLUMNS)
        exact += codes[:, part].astype(np.float32) @ query[part].astype(np.float32)
    return exact.astype(np.float32)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _write(path: Path, pieces: Sequence[tuple[int, bytes]]) -> bool:
    """Write pieces (offset, bytes) durably; return False at one that would leave a gap."""
    try:
        path.parent.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            gap = any(not _write_at(descriptor, offset, data) for offset, data in pieces)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        return not gap
    except OSError as error:
        raise StoreUnwritable(
            f"cannot write {path.name}: {error.strerror}; free some space or permissions and "
            "run the same command again: nothing that was acknowledged is lost"
        ) from error


def _write_at(descriptor: int, offset: int, data: bytes) -> bool:
    if os.fstat(descriptor).st_size < offset:
        return False
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
    return True


# --- local copies of vectors of a remote database ------------------------------------------------

# A slot never gets another vector: a replacement gets a new slot. So a row that is in the copy is
# right for every snapshot that names its slot. Rows of slots that were free when fetched are zeros;
# an older snapshot that still names one fetches it again. The copy is derived and may be deleted at
# any time.

Vectors = NDArray[np.float16]
Fetch = Callable[[str], tuple[Ids, Vectors]]
"""Returns slots and vectors of the space where an SQL condition on `slot` is true, rising."""

_BLOCK_SLOTS = 50_000
_PROBES = 16
_NORM_TOLERANCE = 0.01


class Mirror:
    """The local copy of one space's rows, in a directory with folders `vectors` and `cache`."""

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
        """Fetch the missing ones of the first `count` slots; their contents must be committed."""
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
        """Return the vectors of slots (n,), which are in the copy."""
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
        """Overwrite those of the first `count` slots that are not in `used`."""
        self.erase(np.setdiff1d(np.arange(min(count, len(self))), used, assume_unique=True))

    def _check(self, fetch: Fetch) -> None:
        """Delete the copy if it is not of this database, such as one restored from a backup."""
        count = len(self)
        slots = np.unique(np.linspace(0, count - 1, min(count, _PROBES)).astype(np.int64))
        if count:
            found, vectors = fetch(in_list(np.append(slots, np.arange(count - 4, count))))
            local = np.asarray(self._file.rows(count)[found])
            known = np.flatnonzero(local.any(axis=1))
            if not np.array_equal(local[known], vectors[known]):
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
    """The local copies of spaces, below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._mirrors: dict[tuple[int, int], Mirror] = {}
        self.erasures: dict[tuple[int, int], str | None] = {}

    def of(self, space: StoredSpace) -> Mirror:
        """Return the copy of a space."""
        key = (space.pk, space.generation)
        return self._mirrors.setdefault(key, Mirror(self._root, space))


def fetched(slots: Ids, dimension: int, fetch: Fetch) -> Vectors:
    """Return the vectors of slots (n,) from the database; zeros if there is none."""
    stored, vectors = fetch(in_list(slots))
    rows = np.zeros((len(slots), dimension), np.float16)
    if len(stored):
        place = np.minimum(np.searchsorted(stored, slots), len(stored) - 1)
        known = stored[place] == slots
        rows[known] = vectors[place[known]]
    return rows


def in_list(slots: Ids) -> str:
    """Return the SQL condition that `slot` is one of these slots."""
    return f"slot = ANY('{{{','.join(map(str, np.unique(slots).tolist()))}}}'::bigint[])"


def inconsistencies(
    slots: Ids, pks: Ids, count: int, documents: set[int], fetch: Fetch
) -> Iterator[str]:
    """Yield the inconsistencies of a space with `count` slots, in which `pks` have `slots`."""
    for slot, pk in zip(slots.tolist(), pks.tolist(), strict=True):
        if pk not in documents:
            yield f"slot {slot} names document {pk}, which does not exist"
    for start in range(0, count, _BLOCK_SLOTS):
        stop = start + _BLOCK_SLOTS
        stored, vectors = fetch(f"slot >= {start} AND slot < {stop}")
        for slot in np.setdiff1d(slots[(slots >= start) & (slots < stop)], stored).tolist():
            yield f"the vector in slot {slot} is missing; extract its document again"
        norms = np.linalg.norm(vectors.astype(np.float32), axis=1)
        for slot, norm in zip(stored.tolist(), norms.tolist(), strict=True):
            if abs(norm - 1) > _NORM_TOLERANCE:
                yield f"the vector in slot {slot} has length {norm:.3f}, not 1"
