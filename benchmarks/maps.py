"""What the map keeps of likeness, and what laying it out costs.

    python benchmarks/maps.py --data FOLDER     # with banking77/ and grocery/, as for quality.py
    python benchmarks/maps.py --items 50000     # made vectors only, of that many items

Likeness is the share of a point's ten nearest that have its true label: among the directions that
the layout knows, on the map, and on two principal components. A twentieth of the items, at most
500, is placed later, as what comes later is. Processor time is of all threads.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.neighbours import neighbours
from lookalike.classifier.graph.projection import Layout, lay_out
from measuring import peak_mib
from quality_data import SOURCES, read

_NEAREST = 10
_ASKED = 1000
_LATER = 500
_KINDS, _DIMENSION, _NOISE = 200, 256, 2.0


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a folder with banking77/ and grocery/")
    parser.add_argument("--items", type=int, nargs="*", default=[5_000, 50_000])
    parser.add_argument("--folder", type=Path, default=Path("bench-store/quality"))
    options = parser.parse_args()
    for name in SOURCES if options.data else ():
        data = read(name, options.data, options.folder, None)
        _likeness(data.title, data.vectors, data.labels)
    for count in options.items:
        vectors = _made(count)
        started = time.process_time()
        _laid(vectors)
        spent = time.process_time() - started
        print(f"{count:,} made items: {spent:.1f} s of the processor, peak {peak_mib():.0f} MiB")


def _likeness(title: str, vectors: NDArray[np.float16], labels: NDArray[np.int64]) -> None:
    whole = _laid(vectors)
    later = np.sort(
        np.random.default_rng(3).choice(
            len(vectors), min(_LATER, len(vectors) // 20), replace=False
        )
    )
    first = np.setdiff1d(np.arange(len(vectors)), later)
    placed = _laid(vectors, first).with_more(later, later, lambda some: vectors[some])
    near, _ = neighbours(whole.reduced, whole.reduced, _NEAREST + 1)
    known = float((labels[near[:, 1:]] == labels[:, None]).mean())
    plane = whole.reduced[:, :2].astype(np.float32)
    print(f"{title}: {known:.1%} in {whole.reduced.shape[1]} dimensions, ", end="")
    print(f"{_together(whole.places, labels, None):.1%} on the map, ", end="")
    print(f"{_together(plane, labels, None):.1%} on two components, ", end="")
    print(f"{_together(placed.places, labels, later):.1%} of {len(later)} placed later")


def _laid(vectors: NDArray[np.float16], some: NDArray[np.int64] | None = None) -> Layout:
    pks = np.arange(len(vectors)) if some is None else some
    return lay_out(pks, pks, lambda asked: vectors[asked], None, lambda _done: None)


def _together(
    places: NDArray[np.float32], labels: NDArray[np.int64], asked: NDArray[np.int64] | None
) -> float:
    """Return the share of the nearest points of some, random ones unless named, of their label."""
    if asked is None:
        asked = np.random.default_rng(0).choice(len(places), min(_ASKED, len(places)), False)
    hits = []
    for place in asked.tolist():
        distances = ((places - places[place]) ** 2).sum(axis=1)
        distances[place] = np.inf
        near = np.argpartition(distances, _NEAREST)[:_NEAREST]
        hits.append((labels[near] == labels[place]).mean())
    return float(np.mean(hits))


def _made(count: int) -> NDArray[np.float16]:
    chance = np.random.default_rng(1)
    centres = chance.standard_normal((_KINDS, _DIMENSION), np.float32)
    kinds = chance.integers(0, _KINDS, count)
    vectors = np.empty((count, _DIMENSION), np.float16)
    for start in range(0, count, 50_000):
        own = kinds[start : start + 50_000]
        noise = chance.standard_normal((len(own), _DIMENSION), np.float32)
        vectors[start : start + 50_000] = centres[own] + _NOISE * noise
    return vectors


if __name__ == "__main__":
    main()
