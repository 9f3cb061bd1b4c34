"""What a similarity means in each built-in space, as the table of docs/troubleshooting.md has it.

    python benchmarks/thresholds.py                       # the shipped samples
    LOOKALIKE_DATA=… python benchmarks/thresholds.py      # and what lies below it, minutes

Below LOOKALIKE_DATA lie `grocery`, `banking77` and `bccd`. For each, `--shots` items a label are
references; every other item takes the label of its nearest one (the policy `threshold`). Printed
are, over `--seeds` choices of references: the lowest similarity from which on at least 95 % of the
labels are right, and how much is labelled there; and of pairs drawn by chance, among those of two
labels and those of one, how many are above 0.3 and what the median is.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookalike.extractors.base import Content
from lookalike.extractors.image import image_extractor
from lookalike.extractors.region import region_extractor
from lookalike.formats.voc import read_voc
from quality_data import Data, read, split

_TARGET = 0.95
_FEWEST = 20
_PAIRS = 200_000
_ABOVE = 0.3
_PICTURES = 60


@dataclass(frozen=True, slots=True)
class Row:
    """What one data set tells of a space: similarities, and shares from 0 to 1; NaN for none."""

    limit: float
    coverage: float
    precision: float
    different_above: float
    different_median: float
    same_above: float
    same_median: float


def main() -> None:
    """Read the options, measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=os.environ.get("LOOKALIKE_DATA"))
    parser.add_argument("--folder", type=Path, default=Path("bench-store/quality"))
    parser.add_argument("--shots", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--upto", type=int, help="so many random items of each data set")
    options = parser.parse_args()
    print(
        "| data | items, labels | 95 % right from | labelled there | right without a limit "
        "| pairs of two labels above 0.3 | their median | pairs of one label above 0.3 "
        "| their median |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for data in _sets(options):
        rows = [_measured(data, options.shots, seed) for seed in range(options.seeds)]
        print(_line(data, rows), flush=True)


def _sets(options: argparse.Namespace) -> Iterator[Data]:
    yield _samples()
    if options.data is not None:
        for name in ("grocery", "banking77"):
            yield read(name, options.data, options.folder, options.upto)
        yield _cells(options.data / "bccd")


def _measured(data: Data, shots: int, seed: int) -> Row:
    parts = split(data.labels, shots, 0.0, seed)
    cosines = data.vectors[parts.pool].astype(np.float32) @ data.vectors[parts.references].T
    nearest = cosines.argmax(axis=1)
    similarity = cosines.max(axis=1)
    right = data.labels[parts.references][nearest] == data.labels[parts.pool]
    limit, coverage = _limit(similarity, right)
    same, different = _pairs(data, seed)
    return Row(
        limit,
        coverage,
        float(right.mean()),
        float((different > _ABOVE).mean()),
        float(np.median(different)),
        float((same > _ABOVE).mean()),
        float(np.median(same)),
    )


def _limit(similarity: NDArray[np.float32], right: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the lowest similarity at which 95 % of all above are right, and the share above."""
    order = np.argsort(-similarity)
    counts = np.arange(1, len(order) + 1)
    holds = (right[order].cumsum() / counts >= _TARGET) & (counts >= _FEWEST)
    if not holds.any():
        return float("nan"), 0.0
    last = int(np.flatnonzero(holds)[-1])
    return float(similarity[order][last]), (last + 1) / len(order)


def _pairs(data: Data, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the cosines of random pairs of one label, and of random pairs of two."""
    chance = np.random.default_rng(seed)
    one = chance.integers(0, len(data.labels), _PAIRS)
    other = chance.integers(0, len(data.labels), _PAIRS)
    one, other = one[one != other], other[one != other]
    first, second = data.vectors[one], data.vectors[other]
    cosines = np.einsum("nd,nd->n", first, second, dtype=np.float32)
    same = data.labels[one] == data.labels[other]
    return cosines[same], cosines[~same]


def _line(data: Data, rows: list[Row]) -> str:
    mean = {name: float(np.mean([getattr(row, name) for row in rows])) for name in Row.__slots__}
    percent = [f"{100 * mean[name]:.0f} %" for name in ("coverage", "precision")]
    pairs = [
        f"{100 * mean['different_above']:.0f} %",
        f"{mean['different_median']:.2f}",
        f"{100 * mean['same_above']:.0f} %",
        f"{mean['same_median']:.2f}",
    ]
    labels = len(np.unique(data.labels))
    cells = [data.title, f"{len(data.labels):,}, {labels}", f"{mean['limit']:.2f}"]
    return f"| {' | '.join([*cells, *percent, *pairs])} |"


def _samples() -> Data:
    """Return the shipped drawings, whose labels are what they show."""
    folder = Path(str(files("lookalike.library.samples")))
    with (folder / "truth.csv").open(encoding="utf-8", newline="") as table:
        truth = {row["file_name"]: row["label"] for row in csv.DictReader(table)}
    contents = [
        Content((folder / "pictures" / name).read_bytes(), "image/png", name=name) for name in truth
    ]
    extractor = image_extractor(threads=2)
    vectors = [parts[0].vector for parts in extractor.extract(contents) if isinstance(parts, tuple)]
    return _data("samples (`image`)", extractor.space.name, vectors, [*truth.values()])


def _cells(folder: Path) -> Data:
    """Return the regions of the first microscope pictures, cut out where people drew them."""
    extractor = region_extractor()
    vectors, labels = [], []
    for picture in list(read_voc(folder / "annotations"))[:_PICTURES]:
        boxes = {f"r{number}": one for number, one in enumerate(picture.regions or ())}
        regions: list[Mapping[str, object]] = [
            {"id": key, "box": list(one.box)} for key, one in boxes.items()
        ]
        data = (folder / "images" / picture.file_name).read_bytes()
        (parts,) = extractor.extract([Content(data, "image/jpeg", name="", regions=regions)])
        for part in parts if isinstance(parts, tuple) else ():
            vectors.append(part.vector)
            labels.append(str(boxes[part.key].label))
    return _data("BCCD (`regions`)", extractor.space.name, vectors, labels)


def _data(title: str, space: str, vectors: list[NDArray[np.float32]], names: list[str]) -> Data:
    known = sorted(set(names))
    labels = np.array([known.index(name) for name in names], np.int64)
    return Data(title, space, np.array(vectors, np.float16), labels)


if __name__ == "__main__":
    main()
