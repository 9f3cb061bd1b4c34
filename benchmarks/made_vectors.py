"""Vectors for the benchmarks: unit length, in clusters, the same ones each time.

Documents of one cluster have a similarity of about 0.6, of two clusters about 0. Those of **kinds**
lie as what models make of pictures does: in few hidden dimensions, and overlapping.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DIMENSION = 512
BLOCK = 50_000
_CLUSTERS = 2000
_WIDTH = 0.8


def clusters(block: int) -> NDArray[np.int64]:
    """Return which cluster each of the BLOCK vectors of a block is of."""
    return np.random.default_rng([block, 0]).integers(0, _CLUSTERS, BLOCK)


def vectors(block: int) -> NDArray[np.float32]:
    """Return the vectors (BLOCK, DIMENSION) of a block."""
    centres = np.random.default_rng(7).standard_normal((_CLUSTERS, DIMENSION), np.float32)
    noise = np.random.default_rng([block, 1]).standard_normal((BLOCK, DIMENSION), np.float32)
    made = centres[clusters(block)] + np.float32(_WIDTH) * noise
    unit: NDArray[np.float32] = made / np.linalg.norm(made, axis=1, keepdims=True)
    return unit


def first(count: int) -> NDArray[np.float32]:
    """Return the first `count` vectors of all blocks."""
    made = np.empty((count, DIMENSION), np.float32)
    for start in range(0, count, BLOCK):
        made[start : start + BLOCK] = vectors(start // BLOCK)[: count - start]
    return made


def labels(count: int) -> list[str]:
    """Return what the first `count` vectors show: one of 60 labels, by cluster."""
    blocks = [clusters(block) for block in range(-(-count // BLOCK))]
    return [f"Kind {cluster % 60}" for cluster in np.concatenate(blocks)[:count].tolist()]


def names(start: int, count: int) -> list[str]:
    """Return the ids of documents."""
    return [f"v{number}" for number in range(start, start + count)]


KINDS, NAMED = 120, 80
"""Of so many kinds so many have references."""

_HIDDEN, _NOISE = 24, 0.5


def kinds(block: int) -> NDArray[np.int64]:
    """Return which kind each of the BLOCK vectors of a block of overlapping kinds is of."""
    return np.random.default_rng([block, 2]).integers(0, KINDS, BLOCK)


def kind_vectors(block: int) -> NDArray[np.float32]:
    """Return the vectors (BLOCK, DIMENSION) of a block of overlapping kinds."""
    frame = np.random.default_rng(8)
    centres = frame.standard_normal((KINDS, _HIDDEN), np.float32)
    shown = frame.standard_normal((_HIDDEN, DIMENSION), np.float32)
    chance = np.random.default_rng([block, 3])
    hidden = centres[kinds(block)] + chance.standard_normal((BLOCK, _HIDDEN), np.float32)
    made = hidden @ shown
    made += np.float32(_NOISE) * chance.standard_normal(made.shape, np.float32)
    unit: NDArray[np.float32] = made / np.linalg.norm(made, axis=1, keepdims=True)
    return unit


def kinds_of(count: int) -> NDArray[np.int64]:
    """Return the kinds of the first `count` vectors."""
    blocks = [kinds(block) for block in range(-(-count // BLOCK))]
    return np.concatenate(blocks)[:count]
