"""Label the things in pictures from ten examples a kind, and export them as training data.

Run it with `python examples/objects.py [FOLDER]`; without one it uses one that is thrown away. It
lays the pictures that come with the package out on canvases, six on each, so that boxes and truth
are known; the boxes are imported as COCO, as an annotation tool would give them.
"""

import csv
import json
import random
import sys
import tempfile
from collections import Counter
from importlib.resources import as_file, files
from pathlib import Path

from PIL import Image

import lookalike
from lookalike.formats.coco import read_coco
from lookalike.labels import is_within
from lookalike.library.annotations import export_annotations, import_annotations

EXAMPLES_EACH = 10
COLUMNS, ROWS, CELL = 3, 2, 220


def main(folder: Path) -> None:
    """Import boxes, label a few, let the rest label itself, and export it all twice."""
    truth = draw_canvases(folder)

    with lookalike.open(folder / "store", actor="ann") as library:
        things = library.labeler("things", extractor="region", field="kind")
        done = import_annotations(things, folder / "boxes.json", "coco")

        regions = sorted(things.documents(), key=lambda one: int(one.part))
        kinds = {one.id: truth[one.part] for one in regions}
        things.label(examples(kinds))

        automatic = list(things.documents(origin="auto"))
        null = list(things.documents(label=None))
        for_coco = export_annotations(things, folder / "things.json", "coco")
        for_yolo = export_annotations(things, folder / "yolo", "yolo")

    back = [one for each in read_coco(folder / "things.json") for one in each.regions or ()]
    origins = Counter(one.origin for one in back)

    right = sum(is_within(kinds[one.id], str(one.label)) for one in automatic)
    reasons = Counter(str(one.reason) for one in null)
    print(f"regions    {done.regions} in {done.added.added} pictures")
    print(f"coverage   {len(automatic) / (len(automatic) + len(null)):.1%} of the unlabelled ones")
    print(f"precision  {right / max(len(automatic), 1):.1%} ({right} of {len(automatic)})")
    print(f"null       {', '.join(f'{count} {reason}' for reason, count in reasons.items())}")
    print(f"exported   {for_coco} regions as COCO, {for_yolo} as YOLO")
    print(f"origin     {', '.join(f'{count} {origin}' for origin, count in origins.items())}")


def draw_canvases(folder: Path) -> dict[str, str]:
    """Lay the sample pictures out, write their boxes as COCO; return the kinds by region."""
    samples = files("lookalike.library.samples")
    with (samples / "truth.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    random.Random(0).shuffle(rows)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    images, annotations, truth = [], [], dict[str, str]()
    with as_file(samples / "pictures") as pictures:
        for start in range(0, len(rows), COLUMNS * ROWS):
            name = f"canvas-{len(images):03}.png"
            canvas = Image.new("RGB", (COLUMNS * CELL, ROWS * CELL), "white")
            for place, row in enumerate(rows[start : start + COLUMNS * ROWS]):
                if not row["label"]:
                    continue
                box = paste(canvas, Image.open(pictures / row["file_name"]), place)
                region = len(annotations) + 1
                truth[str(region)] = row["label"]
                annotations.append(
                    {"id": region, "image_id": len(images), "category_id": 1, "bbox": box}
                )
            canvas.save(folder / "images" / name)
            images.append({"id": len(images), "file_name": name})
    boxes = {
        "images": images,
        "annotations": [{**one, "label_source": None} for one in annotations],
        "categories": [{"id": 1, "name": "unlabelled"}],
    }
    (folder / "boxes.json").write_text(json.dumps(boxes), "utf-8")
    return truth


def paste(canvas: Image.Image, picture: Image.Image, place: int) -> list[int]:
    """Put a picture into one cell of a canvas, and return its box."""
    shown = picture.convert("RGBA")
    shown.thumbnail((CELL - 20, CELL - 20))
    left = place % COLUMNS * CELL + (CELL - shown.width) // 2
    top = place // COLUMNS * CELL + (CELL - shown.height) // 2
    canvas.paste(shown, (left, top), shown)
    return [left, top, shown.width, shown.height]


def examples(kinds: dict[str, str]) -> dict[str, str]:
    """Return what a person labels: a few regions of each kind, by chance."""
    by_kind: dict[str, list[str]] = {}
    for id, kind in kinds.items():
        by_kind.setdefault(kind, []).append(id)
    chance = random.Random(0)
    few = {kind: chance.sample(ids, min(EXAMPLES_EACH, len(ids))) for kind, ids in by_kind.items()}
    return {id: kind for kind, ids in few.items() for id in ids}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as name:
            main(Path(name))
