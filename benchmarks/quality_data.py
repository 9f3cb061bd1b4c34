"""The data of the quality benchmark: public items with their labels, embedded once, and splits.

Vectors come from the extractors that the package carries and are kept in `folder`, for as long as
the extractor's space stays the same.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.propagation import Places
from lookalike.content.pictures import sniff
from lookalike.extractors.base import Content, Extractor
from lookalike.extractors.image import image_extractor
from lookalike.extractors.text import text_extractor

_BLOCK = 64
_THREADS = 2


@dataclass(frozen=True, slots=True)
class Source:
    """One public data set: where its items and labels are, and what reads them."""

    title: str
    read: Callable[[Path], list[tuple[str | Path, str]]]
    extractor: Callable[[], Extractor]


@dataclass(frozen=True, slots=True)
class Data:
    """Items with their true label: unit `vectors` float16 (n, d), `labels` int64 (n,)."""

    title: str
    space: str
    vectors: NDArray[np.float16]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Split:
    """Which labels are `known` (rising), and the rising places of their `references`, with the
    column of each one's label in `own`; `pool` are all other items.
    """

    known: NDArray[np.int64]
    references: Places
    own: NDArray[np.int64]
    pool: Places


def read(name: str, root: Path, folder: Path, upto: int | None, sample: int = 0) -> Data:
    """Return a data set below `root`, or `upto` random items of it, embedding it if need be.

    Others than the first `sample` only where all of it is embedded.
    """
    source = SOURCES[name]
    items = source.read(root / name)
    titles = sorted({label for _, label in items})
    labels = np.array([titles.index(label) for _, label in items], np.int64)
    places = np.arange(len(items))
    if upto is not None and upto < len(items):
        places = np.sort(np.random.default_rng(sample).choice(len(items), upto, replace=False))
    extractor = source.extractor()
    space = extractor.space.name
    vectors = _recall(folder / f"{name}.npz", space, len(items))
    if vectors is not None:
        vectors = vectors[places]
    else:
        assert sample == 0, "embed all of it first"
        kept = folder / (f"{name}.npz" if len(places) == len(items) else f"{name}.{upto}.npz")
        vectors = _recall(kept, space, len(places))
        if vectors is None:
            vectors = _embed(extractor, [items[place][0] for place in places.tolist()], name)
            folder.mkdir(parents=True, exist_ok=True)
            np.savez(kept, space=np.array(space), vectors=vectors)
    return Data(source.title, space, vectors, labels[places])


def split(labels: NDArray[np.int64], shots: int, unknown: float, seed: int) -> Split:
    """Return `shots` random references of each label, a share `unknown` of labels never shown.

    At least one item of each label stays in the pool.
    """
    chance = np.random.default_rng(seed)
    shuffled = chance.permutation(np.unique(labels))
    known = np.sort(shuffled[round(len(shuffled) * unknown) :])
    chosen = []
    for label in known.tolist():
        members = np.flatnonzero(labels == label)
        count = min(shots, max(1, len(members) - 1))
        chosen.append(chance.choice(members, count, replace=False))
    references = np.sort(np.concatenate(chosen))
    own = np.searchsorted(known, labels[references])
    pool = np.setdiff1d(np.arange(len(labels)), references)
    return Split(known, references, own, pool)


def _embed(extractor: Extractor, items: Sequence[str | Path], name: str) -> NDArray[np.float16]:
    blocks = [items[start : start + _BLOCK] for start in range(0, len(items), _BLOCK)]
    vectors: list[NDArray[np.float32]] = []
    with ThreadPoolExecutor(_THREADS) as threads:
        for block in threads.map(lambda block: _vectors(extractor, block), blocks):
            vectors += block
            print(f"\r{name}: embedded {len(vectors):,} of {len(items):,}", end="", flush=True)
    print()
    return np.array(vectors, np.float16)


def _vectors(extractor: Extractor, items: Sequence[str | Path]) -> list[NDArray[np.float32]]:
    vectors = []
    for parts in extractor.extract([_content(item) for item in items]):
        if not isinstance(parts, tuple):
            raise parts
        vectors.append(parts[0].vector)
    return vectors


def _content(item: str | Path) -> Content:
    if isinstance(item, str):
        return Content(item.encode(), "text/plain", name=item)
    data = item.read_bytes()
    return Content(data, sniff(data, item.name), name=item.name)


def _recall(kept: Path, space: str, count: int) -> NDArray[np.float16] | None:
    if not kept.exists():
        return None
    with np.load(kept, allow_pickle=False) as stored:
        if str(stored["space"]) != space or len(stored["vectors"]) != count:
            return None
        vectors: NDArray[np.float16] = stored["vectors"]
        return vectors


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _banking(folder: Path) -> list[tuple[str | Path, str]]:
    rows = [row for name in ("train.csv", "test.csv") for row in _rows(folder / name)]
    return [(row["text"], row["category"]) for row in rows]


def _grocery(folder: Path) -> list[tuple[str | Path, str]]:
    return [(folder / row["file_name"], row["path"]) for row in _rows(folder / "labels.csv")]


SOURCES = {
    "banking77": Source("Banking77", _banking, text_extractor),
    "grocery": Source("Grocery81", _grocery, image_extractor),
}
"""The data sets by the name of their folder."""
