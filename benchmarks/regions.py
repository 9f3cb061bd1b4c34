"""Label cells in microscope pictures: boxes imported, a few labelled, the rest by itself.

    LOOKALIKE_DATA=… python benchmarks/regions.py
    LOOKALIKE_DATA=… python benchmarks/regions.py --quick       # 40 pictures

Below LOOKALIKE_DATA lies `bccd`: 364 pictures with Pascal VOC boxes of three kinds of cells. Their
boxes are imported without labels; then for each seed so many a kind, chosen by chance, are labelled
in a label field of their own. Printed are coverage and precision of what labelled itself, and of
what is suggested at a confidence of 0.95 where the field only suggests; what extraction costs
beside the bare network; and whether each export comes back with the same boxes and labels.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import lookalike
from lookalike.content.boxes import same
from lookalike.extractors.image import MODELS
from lookalike.extractors.onnx.bundled import OnnxModel
from lookalike.formats.base import Dataset, Example, Region
from lookalike.formats.coco import write_coco
from lookalike.formats.registry import FORMATS
from lookalike.formats.voc import read_voc
from lookalike.library.annotations import (
    annotated_pictures,
    export_annotations,
    import_annotations,
)
from lookalike.library.collection.collection import Collection

_TARGET = 0.95
_SHOTS = (10, 40)
_QUICK_PICTURES = 40
_BARE_RUNS = 60
_ANSWERS = 200


def main() -> None:
    """Read the options, import the boxes and print all figures."""
    options = _options()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with lookalike.open(folder / "store", actor="benchmark") as library:
            cells = library.labeler("cells", extractor="region", target_precision=_TARGET)
            truth = _bring_in(cells, options, folder)
            for shots in _SHOTS:
                for seed in range(options.seeds):
                    _label(library, cells, truth, shots, seed)
            _round_trips(library, cells, truth, folder)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    data = os.environ.get("LOOKALIKE_DATA")
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK_PICTURES} pictures")
    parser.add_argument("--seeds", type=int, default=5, help="draws of what is labelled")
    parser.add_argument("--data", type=Path, default=data, help="default: LOOKALIKE_DATA")
    options = parser.parse_args()
    if options.data is None:
        parser.error("say where the data is: set LOOKALIKE_DATA, or give --data")
    return options


def _bring_in(cells: Collection, options: argparse.Namespace, folder: Path) -> dict[str, str]:
    """Import all boxes without their labels; return the true labels by document."""
    source = options.data / "bccd"
    found = read_voc(source / "annotations")
    if options.quick:
        found = Dataset(list(found)[:_QUICK_PICTURES], found.refused)
    numbered = _numbered(found)
    write_coco(folder / "boxes.json", _without_labels(numbered))
    started = time.process_time()
    done = import_annotations(cells, folder / "boxes.json", "coco", images=source / "images")
    seconds = time.process_time() - started
    bare = _bare_seconds(done.regions)
    print(f"{done.added.added} pictures, {done.regions} regions")
    print(f"refused: {dict(found.refused) | dict(done.refused)}")
    print(f"failed: {done.added.failed}")
    each = 1000 / max(done.regions, 1)
    print(f"import {seconds * each:.1f} ms of processor time a region, bare network ", end="")
    print(f"{bare * each:.1f} ms: {seconds / bare - 1:+.1%}")
    labels = {
        (one.file_name, region.id): region.label for one in numbered for region in one.regions or ()
    }
    documents = {one.id: labels[one.file_name, one.part] for one in cells.documents()}
    truth = {id: label for id, label in documents.items() if label is not None}
    print(f"kinds: {dict(Counter(truth.values()).most_common())}")
    return truth


def _numbered(found: Dataset) -> list[Example]:
    """Return pictures whose regions have ids: their numbers."""
    return [
        replace(
            one,
            regions=[
                replace(each, id=str(number)) for number, each in enumerate(one.regions or ())
            ],
        )
        for one in found
    ]


def _without_labels(pictures: Sequence[Example]) -> list[Example]:
    return [
        replace(one, regions=[replace(each, label=None) for each in one.regions or ()])
        for one in pictures
    ]


def _bare_seconds(regions: int) -> float:
    """Return the processor time of the network alone, for so many squares that are at hand."""
    model = MODELS["efficientnet-lite2"]
    network = OnnxModel(model.file)
    shape = (1, 3, model.side, model.side)
    pixels = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    network.run(pixels=pixels)
    started = time.process_time()
    for _ in range(_BARE_RUNS):
        network.run(pixels=pixels)
    return (time.process_time() - started) / _BARE_RUNS * regions


def _label(
    library: lookalike.Library, cells: Collection, truth: Mapping[str, str], shots: int, seed: int
) -> None:
    """Label so many of each kind in a field of its own, and print what became of the rest."""
    field = f"kind_{shots}_{seed}"
    library.add_taxonomy("cells", field, target_precision=_TARGET)
    chance = np.random.default_rng(seed)
    chosen: dict[str, str] = {}
    for kind in sorted(set(truth.values())):
        ids = [id for id, label in truth.items() if label == kind]
        chosen |= {ids[place]: kind for place in chance.choice(len(ids), shots, replace=False)}
    cells.label(chosen, field=field)
    _print(f"{shots} a kind, seed {seed}", cells, field, truth, set(chosen))
    answered = _answer(cells, field, truth)
    if answered:
        told = f"{shots} a kind, seed {seed}, and {len(answered)} answers"
        _print(told, cells, field, truth, set(chosen) | answered)


def _answer(cells: Collection, field: str, truth: Mapping[str, str]) -> set[str]:
    """Answer what the queue asks until the field labels by itself; return what was answered."""
    answered: set[str] = set()
    while len(answered) < _ANSWERS and cells.report(field=field).state == "suggests only":
        asked = [one.id for each in cells.queue(limit=10, field=field) for one in each.documents]
        cells.label({id: truth[id] for id in asked}, field=field, asked=True)
        answered |= set(asked)
    return answered


def _print(
    told: str, cells: Collection, field: str, truth: Mapping[str, str], chosen: set[str]
) -> None:
    """Print what became of what nobody labelled."""
    rest = [one for one in cells.documents(field=field) if one.id not in chosen]
    standings = {one.id: one.standings[field] for one in rest}
    automatic = {id: one.label for id, one in standings.items() if one.label is not None}
    sure = {
        id: one.decision.runner_up
        for id, one in standings.items()
        if one.label is None and (one.decision.confidence or 0) >= _TARGET
    }
    best = {id: one.label or one.decision.runner_up for id, one in standings.items()}
    report = cells.report(field=field)
    print(
        f"{told}: labelled {_right(automatic, truth, len(rest))}; "
        f"suggested at {_TARGET} {_right(sure, truth, len(rest))}; "
        f"best guess {_right(best, truth, len(rest))}; "
        f"{report.state}; {'; '.join(report.missing) or 'nothing missing'}",
        flush=True,
    )


def _right(given: Mapping[str, str | None], truth: Mapping[str, str], total: int) -> str:
    right = sum(truth[id] == label for id, label in given.items())
    return f"{len(given) / total:.1%} ({right / len(given):.4f} right)" if given else "none"


def _round_trips(
    library: lookalike.Library, cells: Collection, truth: Mapping[str, str], folder: Path
) -> None:
    """Label everything, export it in each format, and compare what comes back."""
    library.add_taxonomy("cells", "all", target_precision=_TARGET)
    cells.label(truth, field="all")
    wanted = annotated_pictures(cells, field="all")
    images = folder / "sizes"
    for kind, name in (("coco", "out.json"), ("yolo", "yolo"), ("voc", "voc")):
        export_annotations(cells, folder / name, kind, field="all")
        if kind == "yolo":
            _blank_pictures(images, wanted)
        found = FORMATS[kind].read(folder / name, images if kind == "yolo" else None)
        back = {one.file_name: one.regions or () for one in found}
        kept = [
            _is_there(one, back.get(picture.file_name, ()))
            for picture in wanted
            for one in picture.regions or ()
        ]
        print(f"{kind}: {sum(kept)} of {len(kept)} regions come back with box and label")


def _is_there(one: Region, others: Sequence[Region]) -> bool:
    return any(
        same(one.box, other.box) and (one.label, one.origin) == (other.label, other.origin)
        for other in others
    )


def _blank_pictures(folder: Path, pictures: Sequence[Example]) -> None:
    """Write pictures of the right sizes, which is all that YOLO's reader needs of them."""
    folder.mkdir()
    for one in pictures:
        Image.new("L", (one.width, one.height)).save(folder / one.file_name)


if __name__ == "__main__":
    main()
