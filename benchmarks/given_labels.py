"""Labels that were given: what labels itself when a table brings ten labels a class, some wrong.

    LOOKALIKE_DATA=… python benchmarks/given_labels.py                # every data set, three splits
    LOOKALIKE_DATA=… python benchmarks/given_labels.py --only bccd --seeds 10 --errors 0 0.03 0.08

Through `Collection.label`, under the default rule. In an **open** set a third of the classes has no
label, in a **closed** one all have. A share `--errors` of the given labels is wrong. What labels
itself is counted before any answer, and once more after one check sheet that a person who errs as
often has answered.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import lookalike
from first_hour import SETS, Items
from lookalike.library.collection.collection import Collection
from lookalike.model import Origin

_SHOTS = 10
_UNSEEN = 1 / 3
_LEAST_LABELS = 5
"""With fewer labels there is no third to leave out: an open set has them all."""

_ENOUGH = 50
"""The precision is told where at least so many documents label themselves."""

_LEAST_PRECISION = 0.93

_COLUMNS = (
    "data",
    "set",
    "wrong",
    "coverage",
    "precision",
    "yield",
    "runs ≥ 0.93",
    "after a sheet: coverage",
    "precision",
    "yield",
    "runs ≥ 0.93",
)


class Figures(NamedTuple):
    """What labels itself: its share of what nobody labelled, the share that is right, the right
    ones as a share of what has a label that somebody gave, and how many there are.
    """

    coverage: float
    precision: float
    found: float
    automatic: int


def run(items: Items, seed: int, errors: float, *, closed: bool) -> tuple[Figures, Figures]:
    """Return what labels itself after the given labels, and after a sheet was answered."""
    chance = np.random.default_rng(seed)
    truth = np.array([name.replace(" > ", "/") for name in items.labels])
    names = np.unique(truth)
    unseen = 0 if closed or len(names) < _LEAST_LABELS else round(_UNSEEN * len(names))
    known = np.sort(chance.permutation(names)[: len(names) - unseen])

    def said(true: str) -> str:
        others = known[known != true]
        return str(chance.choice(others)) if chance.random() < errors else true

    given = {
        f"d{place}": said(str(name))
        for name in known.tolist()
        for place in chance.permutation(np.flatnonzero(truth == name))[:_SHOTS].tolist()
    }
    right = {f"d{place}": str(name) for place, name in enumerate(truth.tolist())}
    with tempfile.TemporaryDirectory() as folder, lookalike.open(Path(folder) / "store") as library:
        collection = library.labeler("items", extractor="passthrough", field="label")
        collection.add(vectors=items.vectors.astype(np.float32), ids=list(right))
        collection.label(given)
        if closed:
            collection.run(closed_set=True)
        before = _figures(collection, right)
        if check := collection.check():
            sheet = {one.id: said(right[one.id]) for one in check.documents}
            collection.label(sheet, asked=True, new_labels=True)
        return before, _figures(collection, right)


def _figures(collection: Collection, right: dict[str, str]) -> Figures:
    documents = list(collection.documents())
    known = {one.label for one in documents if one.origin is Origin.HUMAN}
    waiting = [one for one in documents if one.origin is not Origin.HUMAN]
    labelled = [one for one in waiting if one.origin is Origin.AUTO]
    hits = sum(one.label == right[one.id] for one in labelled)
    able = sum(right[one.id] in known for one in waiting)
    precision = hits / len(labelled) if labelled else float("nan")
    return Figures(len(labelled) / len(waiting), precision, hits / able, len(labelled))


def _cells(runs: Sequence[Figures]) -> Iterator[str]:
    enough = np.array([one.precision for one in runs if one.automatic >= _ENOUGH])
    yield f"{np.mean([one.coverage for one in runs]):.3f}"
    yield f"{enough.mean():.3f}" if len(enough) else "–"
    yield f"{np.mean([one.found for one in runs]):.3f}"
    yield f"{np.mean(enough >= _LEAST_PRECISION):.2f}" if len(enough) else "–"


def main() -> None:
    """Read the options, and print a row for each data set, kind of set, and error rate."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    sets = [name for name in SETS if name not in ("named", "coarse")]
    parser.add_argument("--data", type=Path, default=os.environ.get("LOOKALIKE_DATA"))
    parser.add_argument("--folder", type=Path, default=Path("bench-store/quality"))
    parser.add_argument("--only", nargs="+", choices=sets, default=sets)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--errors", type=float, nargs="+", default=[0.0, 0.03, 0.08])
    options = parser.parse_args()
    if options.data is None:
        parser.error("say where the data is: set LOOKALIKE_DATA, or give --data")
    print(f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}", flush=True)
    for name in options.only:
        one = SETS[name]
        items = one.items(options.data, options.folder).some(one.upto, 0)
        for closed in (False, True):
            for errors in options.errors:
                runs = [run(items, s, errors, closed=closed) for s in range(options.seeds)]
                first, then = zip(*runs, strict=True)
                kind = "closed" if closed else "open"
                cells = [one.title, kind, f"{errors:.0%}", *_cells(first), *_cells(then)]
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
