"""What the rule on the neighbour graph costs: from scratch, and one label more, in memory.

    python benchmarks/neighbour_graph.py                    # all sizes, some minutes
    python benchmarks/neighbour_graph.py --items 5000       # from scratch and one label there
    python benchmarks/run.py --only in_memory         # one label, beside its goals

Vectors are made: overlapping kinds in few hidden dimensions, two thirds of them labelled. The
processor time stands beside a plain product of matrices of the same run, because machines are
shared: what counts is the ratio.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.confidence import Confidence
from lookalike.classifier.calibration.incremental import CachedPredictions
from lookalike.classifier.calibration.training_data import fit_confidence
from lookalike.classifier.graph.graph import NeighbourGraph, build_neighbour_graph
from lookalike.classifier.graph.neighbours import EXACT_ITEMS, neighbours
from lookalike.classifier.graph.propagation import NEIGHBOURS, Places
from lookalike.classifier.scores.scores import Scores
from measuring import Cost, Figure, cost, least, median, peak_mib

KINDS, LABELS, REFERENCES = 120, 80, 10
_HIDDEN, _WIDTH, _NOISE = 24, 1.0, 0.5
_TARGET = 0.95
_MOST_MS = {"evidence": 1.0, "all decisions": 10.0}
_CHANGES = 40
_LISTS_CHECKED = 400
_SIZES = ((5_000, 1280), (5_000, 384), (24_000, 512), (50_000, 512), (100_000, 512), (200_000, 512))


@dataclass(frozen=True)
class Made:
    """Made items: unit `vectors` float16 (n, d) and the `kinds` (n,) they are of."""

    vectors: NDArray[np.float16]
    kinds: NDArray[np.int64]

    @cached_property
    def references(self) -> dict[str, Places]:
        """The places of REFERENCES items of each of the first LABELS kinds."""
        chance = np.random.default_rng(1)
        members = (np.flatnonzero(self.kinds == kind) for kind in range(LABELS))
        return {
            f"{kind:03d}": np.sort(chance.choice(part, REFERENCES, replace=False))
            for kind, part in enumerate(members)
        }

    @property
    def waiting(self) -> Places:
        """The places of all items that are no references."""
        given = np.concatenate(list(self.references.values()))
        return np.setdiff1d(np.arange(len(self.kinds)), given)


def made(count: int, dimension: int) -> Made:
    """Return made items, the same each time."""
    chance = np.random.default_rng(count + dimension)
    kinds = chance.integers(0, KINDS, count)
    centres = chance.standard_normal((KINDS, _HIDDEN), np.float32)
    hidden = centres[kinds] + np.float32(_WIDTH) * chance.standard_normal(
        (count, _HIDDEN), np.float32
    )
    shown = hidden @ chance.standard_normal((_HIDDEN, dimension), np.float32)
    shown += np.float32(_NOISE) * chance.standard_normal(shown.shape, np.float32)
    shown /= np.linalg.norm(shown, axis=1, keepdims=True)
    return Made(shown.astype(np.float16), kinds)


def from_scratch(items: Made) -> tuple[NeighbourGraph, Scores, Confidence]:
    """Make everything once, print what each part costs and return it."""
    count, dimension = items.vectors.shape
    made_parts: list[NeighbourGraph | Confidence] = []
    whole = items.vectors.astype(np.float32)[:5000]
    product = least([cost(lambda: whole @ whole.T) for _ in range(3)])
    parts = {
        "graph": cost(
            lambda: made_parts.append(build_neighbour_graph(np.arange(count), items.vectors))
        )
    }
    neighbour_graph = made_parts[0]
    assert isinstance(neighbour_graph, NeighbourGraph)
    scores = Scores(neighbour_graph)
    parts["scores"] = cost(lambda: scores.set_references(items.references))
    parts["learning"] = cost(
        lambda: made_parts.append(fit_confidence(scores, items.waiting, _TARGET))
    )
    confidence = made_parts[1]
    assert isinstance(confidence, Confidence)
    parts["judging"] = cost(lambda: CachedPredictions(confidence, scores))
    print(f"{count:,} items × {LABELS} labels × {REFERENCES} references, {dimension} dimensions")
    print(f"  5,000 × 5,000 products: {product.cpu_s:.2f} s of processor time")
    for name, spent in parts.items():
        print(f"  {name}: {spent.cpu_s:.2f} s, {spent.cpu_s / product.cpu_s:.1f}×")
    total = sum(spent.cpu_s for spent in parts.values())
    print(f"  from scratch: {total:.2f} s, {total / product.cpu_s:.1f}×; peak {peak_mib():.0f} MiB")
    print(f"  leave-one-out accuracy {confidence.leave_one_out_accuracy:.2f}")
    return neighbour_graph, scores, confidence


@dataclass(frozen=True, slots=True)
class OneLabel:
    """What a label more costs: each part by its name, and a product of all vectors with one of
    them; and how many items are judged `again` at the median.
    """

    parts: dict[str, Cost]
    product: Cost
    again: int


def _update(kept: CachedPredictions, references: Mapping[str, Places], again: list[int]) -> None:
    again.append(len(kept.update(references)))


def one_label(items: Made, scores: Scores, confidence: Confidence) -> OneLabel:
    """Give and take back labels one by one; return what each part costs."""
    kept = CachedPredictions(confidence, scores)
    wide = items.vectors.astype(np.float32)
    products = [cost(lambda: wide @ wide[0]) for _ in range(5)]
    spent: dict[str, list[Cost]] = {"evidence": [], "columns": [], "all decisions": []}
    again: list[int] = []
    for references, place in _changes(items):
        if place is not None:
            spent["evidence"].append(cost(partial(scores.reference_evidence, place)))
        before = {name: scores.references(name) for name in scores.labels}
        spent["columns"].append(cost(partial(scores.set_references, references)))
        scores.set_references(before)
        work = partial(_update, kept, references, again)
        spent["all decisions"].append(cost(work))
    learning = [cost(lambda: fit_confidence(scores, items.waiting, _TARGET)) for _ in range(3)]
    spent |= {"learning again": learning}
    spent |= {
        "judging all again": [cost(lambda: CachedPredictions(confidence, scores)) for _ in range(3)]
    }
    parts = {name: median(costs) for name, costs in spent.items()}
    return OneLabel(parts, least(products), int(np.median(again)))


def show(label: OneLabel, count: int) -> None:
    """Print what a label more costs among `count` items."""
    product_s = label.product.cpu_s
    print(f"  one label; a matrix–vector product takes {1000 * product_s:.1f} ms")
    for name, spent in label.parts.items():
        print(f"  {name}: {1000 * spent.cpu_s:.2f} ms, {spent.cpu_s / product_s:.2f}×")
    print(f"  items judged again: {label.again:,} of {count:,}")


def measure(_folder: Path, size: int) -> list[Figure]:
    """Return what one label costs in memory among `size` items; nothing is written."""
    items = made(size, 512)
    neighbour_graph = build_neighbour_graph(np.arange(size), items.vectors)
    scores = Scores(neighbour_graph)
    scores.set_references(items.references)
    confidence = fit_confidence(scores, items.waiting, _TARGET)
    label = one_label(items, scores, confidence)
    what = f"{size:,} items × {LABELS} labels, `precision`, one label in memory"
    figures = [
        Figure(
            f"{what}: {name}, processor time",
            f"{1000 * spent.cpu_s:.2f} ms ({spent.cpu_s / label.product.cpu_s:.2f}× a NumPy "
            f"product of all vectors and one, {1000 * label.product.cpu_s:.1f} ms)",
            f"≤ {_MOST_MS[name]:.1f} ms",
            1000 * spent.cpu_s <= _MOST_MS[name],
        )
        for name, spent in label.parts.items()
        if name in _MOST_MS
    ]
    return [*figures, Figure(f"{what}: items judged again", f"{label.again:,}")]


def _changes(items: Made) -> Iterator[tuple[dict[str, Places], int | None]]:
    """Yield references with one more, and which one it is, or with one taken back."""
    chance, references = np.random.default_rng(2), dict(items.references)
    for turn in range(_CHANGES):
        kind = int(chance.integers(0, LABELS))
        name = f"{kind:03d}"
        if turn % 4 == 3:
            references[name] = references[name][1:]
            yield dict(references), None
        else:
            free = np.setdiff1d(np.flatnonzero(items.kinds == kind), references[name])
            place = int(chance.choice(free))
            references[name] = np.sort(np.append(references[name], place))
            yield dict(references), place


def recall(neighbour_graph: NeighbourGraph) -> None:
    """Print how many entries of some lists are those of the exact lists."""
    checked = np.linspace(0, len(neighbour_graph) - 1, _LISTS_CHECKED).astype(np.int64)
    exact, _ = neighbours(neighbour_graph.centred[checked], neighbour_graph.centred, NEIGHBOURS + 1)
    found = [
        len(np.intersect1d(one, other[other != place])) / NEIGHBOURS
        for place, one, other in zip(checked, neighbour_graph.near[checked], exact, strict=True)
    ]
    print(f"  lists by cells: recall {np.mean(found):.3f} of {NEIGHBOURS}")


def main() -> None:
    """Read the options and print all figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--items", type=int, nargs="*", help="only these sizes")
    options = parser.parse_args()
    for count, dimension in _SIZES:
        if options.items is None or count in options.items:
            items = made(count, dimension)
            neighbour_graph, scores, confidence = from_scratch(items)
            if count > EXACT_ITEMS:
                recall(neighbour_graph)
            show(one_label(items, scores, confidence), count)


if __name__ == "__main__":
    main()
