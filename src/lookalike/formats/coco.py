"""COCO: one JSON file with `images`, `annotations` and `categories`.

Read: boxes are [left, top, width, height] from the corner of the picture. Category ids need not be
in a row. An annotation without a box has one around its polygons. Crowds (`iscrowd`) are many
things in one box, and not taken. Written besides what COCO has: `score`, `label_source` and
`region_id`, which other readers pass over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lookalike.content.boxes import around
from lookalike.errors import BadInput
from lookalike.formats.annotations import (
    UNLABELLED,
    Annotations,
    Picture,
    Region,
    classes_of,
    label_of,
    number,
    pixels,
    read_json,
    said_label,
    write_text,
)
from lookalike.model import LABEL_SEPARATOR

_PARTS = ("images", "annotations", "categories")


def read_coco(path: Path) -> Annotations:
    """Return the pictures of a COCO file. Raises BadInput for what is none, naming the place."""
    data = read_json(path)
    missing = [name for name in _PARTS if not isinstance(_part(data, name), list)]
    if missing:
        raise BadInput(
            f"{path.name} is not COCO: it has no list {' and no list '.join(missing)}; "
            'write {"images": […], "annotations": […], "categories": […]}'
        )
    names = {one.get("id"): label_of(one.get("name")) for one in _mappings(data["categories"])}
    by_image: dict[Any, list[tuple[str, Mapping[str, Any]]]] = {}
    found = Annotations()
    for index, one in enumerate(data["annotations"]):
        place = f"{path.name} annotations[{index}]"
        if not isinstance(one, dict) or not isinstance(one.get("image_id"), int | str):
            found.refused[place] = "it has no image_id"
        else:
            by_image.setdefault(one["image_id"], []).append((place, one))
    for index, image in enumerate(data["images"]):
        place = f"{path.name} images[{index}]"
        if not isinstance(image, dict) or not isinstance(image.get("file_name"), str):
            found.refused[place] = "it has no file_name"
            continue
        own = by_image.pop(image["id"], []) if isinstance(image.get("id"), int | str) else []
        regions = [one for where, given in own for one in _regions(found, where, given, names)]
        size = pixels(image.get("width")), pixels(image.get("height"))
        found.pictures.append(Picture(image["file_name"], regions, *size))
    for id, own in by_image.items():
        for place, _ in own:
            found.refused[place] = f"its image_id {id!r} is no image of this file"
    return found


def write_coco(path: Path, pictures: Sequence[Picture]) -> int:
    """Write a COCO file; return how many regions. Ids count from 1, and names from the alphabet."""
    classes = classes_of(pictures)
    ids = {name: number for number, name in enumerate(classes, 1)}
    annotations = list(_annotations(pictures, ids))
    data = {
        "info": {"description": "Exported by Lookalike"},
        "licenses": [],
        "images": [
            {"id": id, "file_name": one.file_name, "width": one.width, "height": one.height}
            for id, one in enumerate(pictures, 1)
        ],
        "annotations": annotations,
        "categories": [
            {"id": ids[name], "name": name, "supercategory": _parent(name)} for name in classes
        ],
    }
    write_text(path, json.dumps(data, ensure_ascii=False, indent=1) + "\n")
    return len(annotations)


def _annotations(pictures: Iterable[Picture], ids: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    every = ((image, one) for image, picture in enumerate(pictures, 1) for one in picture.regions)
    for number_, (image, one) in enumerate(every, 1):
        box = [round(edge, 2) for edge in one.box]
        yield {
            "id": number_,
            "image_id": image,
            "category_id": ids[one.label or UNLABELLED],
            "bbox": box,
            "area": round(box[2] * box[3], 2),
            "segmentation": [],
            "iscrowd": 0,
            "label_source": one.origin,
            "region_id": one.id,
            **({} if one.score is None else {"score": one.score}),
        }


def _regions(
    found: Annotations, place: str, one: Mapping[str, Any], names: Mapping[Any, str | None]
) -> Iterator[Region]:
    category = one.get("category_id")
    if one.get("iscrowd") in (1, True):
        found.refused[place] = "it is a crowd (iscrowd), not one thing"
        return
    if not isinstance(category, int | str) or category not in names:
        found.refused[place] = f"its category_id {category!r} is no category of this file"
        return
    source = label_of(one.get("label_source"))
    yield from found.region(
        place,
        one.get("bbox") or _around_polygons(one.get("segmentation")),
        label=said_label(names[category], source) if "label_source" in one else names[category],
        id=str(one.get("region_id") or one.get("id", "")),
        score=number(one.get("score")),
        origin=source,
    )


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
