"""Compare one extractor with two that decide together, and write the figures into a page.

    LOOKALIKE_DATA=… python benchmarks/combined.py --output docs/combined.md
    LOOKALIKE_DATA=… python benchmarks/combined.py --quick      # one split of a few items

Below LOOKALIKE_DATA lie `banking77` and `grocery`. All ways to decide see the same splits.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import csr_matrix

from lookalike.classifier.graph.graph import NeighbourGraph, build_neighbour_graph
from lookalike.classifier.graph.metric import blend, unit_blocks, weigh
from lookalike.classifier.graph.propagation import Graph
from quality_data import SOURCES, Data, Split, read, split
from quality_measures import Measures, mean, measure
from quality_rules import Case, graph_rule

_TARGET, _SHOTS, _UNKNOWN = 0.95, 10, 1 / 3
_ITEMS, _QUICK_ITEMS, _SEEDS = 4000, 1500, 6
_KINDS, _INTENTS = 9, 8
_SIDE, _BINS = 64, (12, 4, 4)
_PART = re.compile(r"(<!-- made by benchmarks/combined\.py -->\n).*?(<!-- end -->)", re.DOTALL)

Vectors = NDArray[np.float16]
Labels = NDArray[np.int64]
Weights = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Goods:
    """Items that have two vectors each: `members` (n, d) by what they are called, and `labels`."""

    title: str
    members: dict[str, Vectors]
    labels: Labels

    @property
    def lengths(self) -> tuple[int, ...]:
        """Return the dimension of each member."""
        return tuple(rows.shape[1] for rows in self.members.values())

    @property
    def vectors(self) -> Vectors:
        """Return what the combined extractor makes of the members, (n, d)."""
        rows = np.concatenate(list(self.members.values()), axis=1).astype(np.float32)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float16)


@dataclass(frozen=True, slots=True)
class Row:
    """One way to decide, on all splits of one set; `weights` are those of the last split."""

    way: str
    found: Measures
    lowest: float
    weights: Weights


Way = Callable[[Split], NeighbourGraph]


def main() -> None:
    """Read the options, run everything and print the tables or write them into the page."""
    options = _options()
    upto = _QUICK_ITEMS if options.quick else None
    texts, pictures = (
        read(name, options.data, options.folder, upto) for name in ("banking77", "grocery")
    )
    count = _QUICK_ITEMS if options.quick else _ITEMS
    seeds = 1 if options.quick else _SEEDS
    sections = [_head(seeds)]
    for goods in _all_goods(options, texts, pictures, count):
        rows = list(_rows(goods, seeds))
        sections.append(_table(goods, rows))
        print(sections[-1], flush=True)
    if options.output:
        page = options.output.read_text("utf-8")
        made = "\n".join(sections)
        options.output.write_text(
            _PART.sub(lambda found: f"{found[1]}\n{made}\n{found[2]}", page), "utf-8"
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    data = os.environ.get("LOOKALIKE_DATA")
    parser.add_argument("--quick", action="store_true", help="one split of a few items of each set")
    parser.add_argument("--output", type=Path, help="write the figures into this page")
    parser.add_argument("--data", type=Path, default=data, help="default: LOOKALIKE_DATA")
    folder = Path("bench-store/quality")
    parser.add_argument("--folder", type=Path, default=folder, help="where vectors are kept")
    options = parser.parse_args()
    if options.data is None:
        parser.error("say where the data is: set LOOKALIKE_DATA, or give --data")
    return options


# --- goods --------------------------------------------------------------------------------------


def _all_goods(
    options: argparse.Namespace, texts: Data, pictures: Data, count: int
) -> Iterator[Goods]:
    chance = np.random.default_rng(1)
    kinds = chance.choice(np.unique(pictures.labels), _KINDS, replace=False)
    intents = chance.choice(np.unique(texts.labels), _INTENTS, replace=False)
    labels = chance.integers(0, _KINDS * _INTENTS, count)
    members = {
        "picture": _drawn(pictures, kinds[labels // _INTENTS], chance),
        "text": _drawn(texts, intents[labels % _INTENTS], chance),
    }
    yield Goods("Each tells a half: 9 kinds of picture × 8 kinds of text", members, labels)

    paired = np.unique(texts.labels)
    shown = chance.permutation(np.unique(pictures.labels))[: len(paired)]
    labels = chance.integers(0, len(shown), count)
    picture = _drawn(pictures, shown[labels], chance)
    text = _drawn(texts, paired[labels], chance)
    members = {"picture": picture, "text": text}
    yield Goods("Both tell all: picture and text of the same label", members, labels)
    some = text.copy()
    some[chance.random(count) < 0.5] = 0
    members = {"picture": picture, "text": some}
    yield Goods("The same, half of them without a text", members, labels)

    chosen = np.sort(chance.choice(len(pictures.labels), min(count, len(pictures.labels)), False))
    other = texts.vectors[chance.choice(len(texts.labels), len(chosen))]
    members = {"picture": pictures.vectors[chosen], "text": other}
    yield Goods("Grocery81 with texts that say nothing", members, pictures.labels[chosen])

    chosen = np.sort(chance.choice(len(texts.labels), min(count, len(texts.labels)), False))
    other = pictures.vectors[chance.choice(len(pictures.labels), len(chosen))]
    members = {"picture": other, "text": texts.vectors[chosen]}
    yield Goods("Banking77 with pictures that say nothing", members, texts.labels[chosen])

    if not options.quick:
        colours = _colours(options.data / "grocery")
        members = {"picture": pictures.vectors, "colours": colours}
        yield Goods("Grocery81 with its histograms of colours", members, pictures.labels)


def _drawn(data: Data, labels: Labels, chance: np.random.Generator) -> Vectors:
    """Return the vector of a random item of each label asked for (n, d)."""
    rows = np.zeros((len(labels), data.vectors.shape[1]), np.float16)
    for label in np.unique(labels):
        wanted = labels == label
        rows[wanted] = data.vectors[
            chance.choice(np.flatnonzero(data.labels == label), wanted.sum())
        ]
    return rows


def _colours(folder: Path) -> Vectors:
    """Return the roots of histograms of hue, saturation and value of all pictures (n, d)."""
    paths = [str(item) for item, _ in SOURCES["grocery"].read(folder)]
    with ThreadPoolExecutor(2) as threads:
        return np.array(list(threads.map(_histogram, paths)), np.float16)


def _histogram(path: str) -> NDArray[np.float64]:
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("HSV").resize((_SIDE, _SIDE))).reshape(-1, 3)
    counts, _ = np.histogramdd(pixels, _BINS, [(0, 256)] * 3)
    return np.asarray(np.sqrt(counts.ravel() / counts.sum()))


# --- ways ---------------------------------------------------------------------------------------


class Country:
    """The neighbour graphs of goods, each made once."""

    def __init__(self, goods: Goods) -> None:
        self._goods = goods
        self._every = np.arange(len(goods.labels))
        self._alone = cache(lambda name: build_neighbour_graph(self._every, goods.members[name]))
        self._blended = cache(
            lambda weights: build_neighbour_graph(
                self._every, goods.vectors, blend=blend(goods.lengths, weights)
            )
        )
        self._added = cache(self._with_graphs_added)

    def alone(self, name: str) -> Way:
        """Return the way of one member; items that lack it are like nothing."""
        return lambda _: self._alone(name)

    def equal(self, _: Split) -> NeighbourGraph:
        """Return the neighbour graph in which all members weigh the same."""
        return self._blended(())

    def learned(self, parts: Split) -> NeighbourGraph:
        """Return the neighbour graph by the weights that the references teach."""
        return self._blended(self._weights(parts))

    def added(self, parts: Split) -> NeighbourGraph:
        """Return the same, evidence travelling over the weighted sum of the members' graphs."""
        return self._added(self._weights(parts))

    def _weights(self, parts: Split) -> Weights:
        frame = self._blended(()).frame
        assert frame.blend is not None
        units = unit_blocks(
            frame.centred(self._goods.vectors[parts.references]), frame.blend.blocks
        )
        members = [units[:, block] for block in frame.blend.blocks]
        return weigh(members, parts.own, frame.blend.weights)

    def _with_graphs_added(self, weights: Weights) -> NeighbourGraph:
        land = self._blended(weights)
        size = (len(land), len(land))
        total = csr_matrix(size, dtype=np.float32)
        for name, weight in zip(self._goods.members, weights, strict=True):
            graph = self._alone(name).graph
            part = csr_matrix((graph.weights, graph.columns, graph.starts), shape=size)
            total = (total + np.float32(weight) * part).tocsr()
        total.sort_indices()
        summed = Graph.of(total.indptr.astype(np.int64), total.indices.astype(np.int64), total.data)
        return replace(land, graph=summed)


def _rows(goods: Goods, seeds: int) -> Iterator[Row]:
    """Yield what each way to decide reaches on the same splits."""
    country = Country(goods)
    ways: dict[str, Way] = {f"{name} alone": country.alone(name) for name in goods.members}
    ways |= {
        "both, equal weights": country.equal,
        "**both, learned weights**": country.learned,
        "both, graphs added": country.added,
    }
    splits = [split(goods.labels, _SHOTS, _UNKNOWN, seed) for seed in range(seeds)]
    for title, way in ways.items():
        runs, weights = list[Measures](), Weights()
        for parts in splits:
            land = way(parts)
            answer = graph_rule(Case(goods.vectors, land, parts), _TARGET)
            truth = goods.labels[parts.pool]
            runs.append(measure(answer, truth, parts.known, 0, _TARGET))
            weights = () if land.frame.blend is None else land.frame.blend.weights
        yield Row(title, mean(runs), min(run.yielded for run in runs), weights)


# --- page ---------------------------------------------------------------------------------------


def _head(seeds: int) -> str:
    splits = "1 split" if seeds == 1 else f"{seeds} splits"
    return (
        f"Target {_TARGET}, {_SHOTS} labels a class, a third of the classes never labelled, mean "
        f"of {splits}. *Yield* is the share of items of known classes that are labelled by the "
        "rule itself and rightly, *lowest* that of the worst split; *precision* is reached at its "
        "own limit; *accuracy* is that of all items of known classes.\n"
    )


def _table(goods: Goods, rows: Sequence[Row]) -> str:
    lines = [
        f"{goods.title} ({len(goods.labels):,} items, {len(np.unique(goods.labels))} labels):",
        "",
        "|  | weights | accuracy | yield | lowest | precision | known against new (AUROC) |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        weights = " : ".join(f"{weight:.2f}" for weight in row.weights)
        found = row.found
        numbers = (found.accuracy, found.yielded, row.lowest, found.precision, found.novelty)
        shown = " | ".join("–" if n != n else f"{n:.3f}" for n in numbers)
        lines.append(f"| {row.way} | {weights} | {shown} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
