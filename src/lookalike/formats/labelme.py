"""LabelMe: one JSON file beside each picture, with shapes in pixels and flags of the picture.

Rectangles are taken; polygons, circles and masks have the box around them. Of the flags of a
picture the one that is set is its label. Written besides what LabelMe has: `region_id`,
`label_source`, `score` and other extras of each shape or picture, which LabelMe keeps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lookalike.content.boxes import around, corners, read_box
from lookalike.errors import BadContent, BadInput
from lookalike.formats.base import (
    BOTH,
    LABEL,
    UNLABELLED,
    Dataset,
    Example,
    Format,
    Label,
    Put,
    Region,
    copied,
    has_content,
)
from lookalike.formats.extras import extras_of, label_from, names_of, region_from
from lookalike.formats.files import (
    inner_path,
    label_of,
    number,
    peek,
    pixels,
    places,
    read_json,
    write_text,
)
from lookalike.formats.finding import Finder

_OURS = "lookalike"
_VERSION = "5.5.0"


def read_labelme(path: Path, images: Path | None = None) -> Dataset:
    """Return the picture of a JSON file, or of all such files below a folder.

    A broken file of a folder is refused alone. Raises BadInput where nothing can be read.
    """
    refused: dict[str, str] = {}
    if not path.is_dir():
        return Dataset([_read(path, path.name, images, refused)], refused)
    files = sorted(path.rglob("*.json"))
    if not files:
        raise BadInput(f"there is no JSON file of LabelMe in {str(path)!r}; check the path")
    return Dataset(_examples(path, files, images, refused), refused)


def write_labelme(folder: Path, examples: Iterable[Example], put: Put = copied) -> int:
    """Write a picture and its JSON file for each example; return how many labelled things."""
    listed = list(examples)
    labels = {said.label for one in listed for said in one.labels.values() if said.label}
    count = 0
    for place, one in places(listed, ".json"):
        name = inner_path(one.file_name)
        if has_content(one):
            put(one, folder / name)
        text = json.dumps(_file(one, name.name, sorted(labels)), ensure_ascii=False, indent=1)
        write_text(folder / place, text + "\n")
        count += len(one.regions) if one.regions is not None else len(one.labels)
    return count


def _recognises(path: Path) -> bool:
    if path.is_dir():
        return any(_recognises(one) for one in [*path.glob("*.json")][:3])
    begins = peek(path)
    return path.suffix.lower() == ".json" and '"shapes"' in begins and begins.startswith("{")


def _examples(
    folder: Path, files: Iterable[Path], images: Path | None, refused: dict[str, str]
) -> Iterator[Example]:
    is_empty = True
    for file in files:
        place = file.relative_to(folder).as_posix()
        try:
            one = _read(file, place, images, refused)
        except BadInput as error:
            refused[place] = str(error)
            continue
        is_empty = False
        yield one
    if is_empty:
        first = next(iter(refused.values()))
        raise BadInput(f"{str(folder)!r} has no annotations of LabelMe: {first}")


def _read(file: Path, place: str, images: Path | None, refused: dict[str, str]) -> Example:
    data = read_json(file)
    shapes = data.get("shapes") if isinstance(data, dict) else None
    if not isinstance(shapes, list):
        raise BadInput(f"{file.name} is not LabelMe: it has no list of shapes")
    said = label_of(data.get("imagePath")) or file.with_suffix(".jpg").name
    finder = Finder(file.parent, images)
    regions = [
        region
        for index, one in enumerate(shapes)
        for region in _regions(refused, f"{place} shapes[{index}]", one)
    ]
    ours = data.get(_OURS) if isinstance(data.get(_OURS), dict) else {}
    labels = _labels(refused, place, data.get("flags"), ours)
    size = pixels(data.get("imageWidth")), pixels(data.get("imageHeight"))
    whole = inner_path(place).with_name(inner_path(said).name).as_posix()
    path = finder.find(whole) or finder.find(said)
    return Example(
        label_of(ours.get("file_name")) or whole,
        None if labels and not regions else regions,
        *size,
        labels=labels,
        id=label_of(ours.get("id")) or "",
        sha256=label_of(ours.get("sha256")) or "",
        path=path,
        split=label_of(ours.get("split")),
    )


def _labels(
    refused: dict[str, str], place: str, flags: Any, ours: Mapping[str, Any]
) -> dict[str, Label]:
    """Return the label of a picture: the one of its flags that is set."""
    given = flags if isinstance(flags, dict) else {}
    chosen = [name for name, is_set in given.items() if is_set is True]
    field = label_of(ours.get("field"))
    if len(chosen) > 1:
        refused[place] = f"a picture has one label, not {', '.join(map(repr, chosen))}"
        return {}
    if not chosen and field is None:
        return {}
    return {field or LABEL: label_from(chosen[0] if chosen else None, ours)}


def _regions(refused: dict[str, str], place: str, shape: Any) -> Iterator[Region]:
    if not isinstance(shape, dict):
        refused[place] = "it is no shape"
        return
    try:
        box = read_box(list(_box(shape)))
    except BadContent as error:
        refused[place] = str(error)
        return
    yield region_from(box, shape.get("label"), label_of(shape.get("region_id")) or "", shape)


def _box(shape: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Return the box around a shape. Raises BadContent for one that is no region."""
    kind = shape.get("shape_type") or "polygon"
    points = _points(shape.get("points"))
    if kind == "circle" and len(points) == 2:
        (x, y), edge = points
        radius = math.hypot(edge[0] - x, edge[1] - y)
        points = [(x - radius, y - radius), (x + radius, y + radius)]
    elif kind not in ("rectangle", "polygon", "mask"):
        raise BadContent(f"a {kind} is no region; rectangles, polygons, circles and masks are")
    return around(points)


def _points(points: Any) -> list[tuple[float, float]]:
    found = []
    for pair in points if isinstance(points, list) else ():
        edges = [number(edge) for edge in pair] if isinstance(pair, list) else []
        if len(edges) != 2 or edges[0] is None or edges[1] is None:
            raise BadContent(f"its points have {pair!r}; write [x, y]")
        found.append((edges[0], edges[1]))
    if not found:
        raise BadContent("it has no points")
    return found


def _file(example: Example, name: str, labels: Iterable[str]) -> dict[str, Any]:
    own = {said.label for said in example.labels.values()}
    ours: dict[str, Any] = {"file_name": example.file_name, **names_of(example)}
    for field, said in list(example.labels.items())[:1]:
        ours |= {"field": field, **extras_of(said)}
    if example.split is not None:
        ours["split"] = example.split
    return {
        "version": _VERSION,
        "flags": {label: label in own for label in labels},
        "shapes": [_shape(one) for one in example.regions or ()],
        "imagePath": name,
        "imageData": None,
        "imageHeight": example.height,
        "imageWidth": example.width,
        _OURS: ours,
    }


def _shape(region: Region) -> dict[str, Any]:
    left, top, right, bottom = corners(region.box)
    return {
        "label": region.label or UNLABELLED,
        "points": [[left, top], [right, bottom]],
        "group_id": None,
        "description": "",
        "shape_type": "rectangle",
        "flags": {},
        "region_id": region.id,
        **extras_of(region),
    }


FORMAT = Format(
    name="labelme",
    title="LabelMe",
    reads=BOTH,
    writes=BOTH,
    target="a folder",
    keeps="keys of each shape and file",
    recognises=_recognises,
    read=read_labelme,
    write=write_labelme,
    needs_size=True,
)
