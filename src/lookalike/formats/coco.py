"""COCO: one JSON file with `images`, `annotations` and `categories`, or a folder of such files.

Read: boxes are [left, top, width, height] from the corner of the picture. Category ids need not be
in a row. An annotation without a box has one around its polygons. Crowds (`iscrowd`) are many
things in one box, and not taken. Written besides what COCO has: `region_id`, `label_source`,
`score` and other extras of each annotation, which other readers pass over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lookalike.content.boxes import around, corners, read_box
from lookalike.errors import BadContent, BadInput
from lookalike.formats.base import (
    REGIONS,
    UNLABELLED,
    Dataset,
    Example,
    Format,
    Put,
    Region,
    copied,
)
from lookalike.formats.extras import extras_of, region_from
from lookalike.formats.files import (
    classes_of,
    label_of,
    number,
    peek,
    pixels,
    read_json,
    split_of,
    write_text,
)
from lookalike.formats.finding import Finder
from lookalike.model import LABEL_SEPARATOR

_PARTS = ("images", "annotations", "categories")


def read_coco(path: Path, images: Path | None = None) -> Dataset:
    """Return the pictures of a COCO file, or of all below a folder.

    Raises BadInput for what is none, naming the place.
    """
    files = sorted(one for one in path.rglob("*.json") if _is_coco(one)) if path.is_dir() else []
    if path.is_dir() and not files:
        raise BadInput(f"there is no COCO file in {str(path)!r}; name the JSON file")
    refused: dict[str, str] = {}
    parts = [_read(file, images, refused) for file in files or [path]]
    return Dataset((one for part in parts for one in part), refused)


def write_coco(path: Path, examples: Iterable[Example], _put: Put = copied) -> int:
    """Write a COCO file; return how many regions. Ids count from 1, and names from the alphabet.

    The pictures stay where they are.
    """
    listed = list(examples)
    classes = classes_of(listed)
    ids = {name: number for number, name in enumerate(classes, 1)}
    annotations = list(_annotations(listed, ids))
    data = {
        "info": {"description": "Exported by Lookalike"},
        "licenses": [],
        "images": [
            {"id": id, "file_name": one.file_name, "width": one.width, "height": one.height}
            for id, one in enumerate(listed, 1)
        ],
        "annotations": annotations,
        "categories": [
            {"id": ids[name], "name": name, "supercategory": _parent(name)} for name in classes
        ],
    }
    write_text(path, json.dumps(data, ensure_ascii=False, indent=1) + "\n")
    return len(annotations)


def _is_coco(path: Path) -> bool:
    begins = peek(path)
    names = ('"images"', '"annotations"', '"categories"', '"licenses"')
    return begins.startswith("{") and sum(name in begins for name in names) > 1


def _recognises(path: Path) -> bool:
    if path.is_dir():
        return any(_is_coco(one) for one in (*path.glob("*.json"), *path.glob("*/*.json")))
    return path.suffix.lower() == ".json" and _is_coco(path)


def _read(path: Path, images: Path | None, refused: dict[str, str]) -> Iterator[Example]:
    """Check a file, and return its pictures."""
    data = read_json(path)
    missing = [name for name in _PARTS if not isinstance(_part(data, name), list)]
    if missing:
        raise BadInput(
            f"{path.name} is not COCO: it has no list {' and no list '.join(missing)}; "
            'write {"images": […], "annotations": […], "categories": […]}'
        )
    return _examples(path, data, Finder(path.parent, images), refused)


def _examples(
    path: Path, data: Mapping[str, Any], finder: Finder, refused: dict[str, str]
) -> Iterator[Example]:
    names = {one.get("id"): label_of(one.get("name")) for one in _mappings(data["categories"])}
    by_image: dict[Any, list[tuple[str, Mapping[str, Any]]]] = {}
    for index, one in enumerate(data["annotations"]):
        place = f"{path.name} annotations[{index}]"
        if not isinstance(one, dict) or not isinstance(one.get("image_id"), int | str):
            refused[place] = "it has no image_id"
        else:
            by_image.setdefault(one["image_id"], []).append((place, one))
    split = split_of(path.stem.rpartition("_")[2]) or split_of(path.parent.name)
    for index, image in enumerate(data["images"]):
        place = f"{path.name} images[{index}]"
        if not isinstance(image, dict) or not isinstance(image.get("file_name"), str):
            refused[place] = "it has no file_name"
            continue
        name = image["file_name"]
        own = by_image.pop(image["id"], []) if isinstance(image.get("id"), int | str) else []
        regions = [one for where, given in own for one in _regions(refused, where, given, names)]
        size = pixels(image.get("width")), pixels(image.get("height"))
        yield Example(name, regions, *size, path=finder.find(name), split=split)
    for id, own in by_image.items():
        for place, _ in own:
            refused[place] = f"its image_id {id!r} is no image of this file"


def _annotations(examples: Iterable[Example], ids: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    every = ((image, one) for image, each in enumerate(examples, 1) for one in each.regions or ())
    for number_, (image, one) in enumerate(every, 1):
        box = [round(edge, 2) for edge in one.box]
        left, top, right, bottom = (round(edge, 2) for edge in corners(one.box))
        yield {
            "id": number_,
            "image_id": image,
            "category_id": ids[one.label or UNLABELLED],
            "bbox": box,
            "area": round(box[2] * box[3], 2),
            "segmentation": [[left, top, right, top, right, bottom, left, bottom]],
            "iscrowd": 0,
            "region_id": one.id,
            **extras_of(one),
        }


def _regions(
    refused: dict[str, str], place: str, one: Mapping[str, Any], names: Mapping[Any, str | None]
) -> Iterator[Region]:
    category = one.get("category_id")
    if one.get("iscrowd") in (1, True):
        refused[place] = "it is a crowd (iscrowd), not one thing"
        return
    if not isinstance(category, int | str) or category not in names:
        refused[place] = f"its category_id {category!r} is no category of this file"
        return
    try:
        box = read_box(one.get("bbox") or _around_polygons(one.get("segmentation")))
    except BadContent as error:
        refused[place] = str(error)
        return
    yield region_from(box, names[category], str(one.get("region_id") or one.get("id", "")), one)


def _around_polygons(polygons: Any) -> list[float] | None:
    """Return the box around polygons [x, y, x, y, …]; None for anything else."""
    if not isinstance(polygons, list):
        return None
    points: list[tuple[float, float]] = []
    for one in polygons:
        edges = [number(edge) for edge in one] if isinstance(one, list) else []
        finite = [edge for edge in edges if edge is not None]
        if len(finite) == len(edges):
            points += zip(finite[::2], finite[1::2], strict=False)
    return list(around(points)) if points else None


def _part(data: Any, name: str) -> Any:
    return data.get(name) if isinstance(data, dict) else None


def _mappings(listed: Iterable[Any]) -> Iterator[Mapping[str, Any]]:
    return (one for one in listed if isinstance(one, dict) and isinstance(one.get("id"), int | str))


def _parent(label: str) -> str:
    return label.rpartition(LABEL_SEPARATOR)[0]


FORMAT = Format(
    name="coco",
    title="COCO",
    reads=frozenset({REGIONS}),
    writes=frozenset({REGIONS}),
    target="a JSON file",
    keeps="keys of each annotation",
    recognises=_recognises,
    read=read_coco,
    write=write_coco,
)
