"""How fast vectors that are ready come into a store, and what they take on disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import lookalike
from lookalike.library.collection.collection import Collection
from made_vectors import BLOCK, first, kind_vectors, names, vectors
from measuring import MIB, Cost, Figure, cost, least, peak_mib, size_bytes

Vectors = NDArray[np.float32]

_GOAL = 20_000
_ROUNDS = 3
_SHORT = 200_000
"""Up to so many vectors one run is too short to stand alone."""


def measure(folder: Path, count: int) -> list[Figure]:
    """Measure one `add` of `count` vectors into an empty store."""
    ready, ids = first(count), names(0, count)
    costs = [
        _add_anew(folder / "store", ready, ids) for _ in range(_ROUNDS if count <= _SHORT else 1)
    ]
    spent = least(costs)
    rate = count / spent.cpu_s
    return [
        Figure(
            f"{count:,} ready vectors into the store",
            f"{rate:,.0f}/s of processor time, {count / spent.wall_s:,.0f}/s of wall time",
            f"≥ {_GOAL:,}/s",
            rate >= _GOAL,
        ),
        Figure(
            f"{count:,} ready vectors: peak memory, the vectors themselves included",
            f"{peak_mib():.0f} MiB ({ready.nbytes / MIB:.0f} MiB)",
        ),
    ]


def fill(folder: Path, count: int) -> list[Figure]:
    """Make the store of `count` documents that the other benchmarks use."""
    return _filled(folder / f"store-{count}", count, vectors, confidence_threshold=0.5)


def fill_kinds(folder: Path, count: int) -> list[Figure]:
    """Make the store of `count` documents of overlapping kinds, which decides by `precision`."""
    return _filled(folder / f"kinds-{count}", count, kind_vectors, target_precision=0.95)


def _filled(
    store: Path,
    count: int,
    made: Callable[[int], Vectors],
    *,
    confidence_threshold: float | None = None,
    target_precision: float | None = None,
) -> list[Figure]:
    shutil.rmtree(store, ignore_errors=True)
    costs = []
    with lookalike.open(store, actor="benchmark") as library:
        collection = library.labeler(
            "things",
            extractor="passthrough",
            confidence_threshold=confidence_threshold,
            target_precision=target_precision,
        )
        for start in range(0, count, BLOCK):
            more = min(BLOCK, count - start)
            costs.append(_add(collection, made(start // BLOCK)[:more], names(start, more)))
    cpu_s = sum(one.cpu_s for one in costs)
    name = f"{count:,} documents" + ("" if made is vectors else " of overlapping kinds")
    return [
        Figure(f"{name} in blocks of {BLOCK:,}", f"{count / cpu_s:,.0f}/s"),
        Figure(f"{name}: peak memory", f"{peak_mib():.0f} MiB"),
    ]


def _add_anew(store: Path, ready: Vectors, ids: list[str]) -> Cost:
    shutil.rmtree(store, ignore_errors=True)
    with lookalike.open(store, actor="benchmark") as library:
        collection = library.labeler("things", extractor="passthrough", confidence_threshold=0.5)
        return _add(collection, ready, ids)


def _add(collection: Collection, ready: Vectors, ids: list[str]) -> Cost:
    return cost(lambda: collection.add(vectors=ready, ids=ids))


def disk(folder: Path, count: int) -> list[Figure]:
    """Return the bytes that a document takes, by what holds them."""
    store = folder / f"store-{count}"
    parts = {
        "database": size_bytes(store / "lookalike.db"),
        "vectors": size_bytes(store / "vectors"),
        "cache": size_bytes(store / "cache"),
    }
    each = ", ".join(f"{name} {size / count:,.0f}" for name, size in parts.items())
    whole = sum(parts.values()) / MIB
    return [Figure(f"{count:,} documents on disk: bytes a document", f"{each} ({whole:,.0f} MiB)")]
