"""CVAT for images 1.1: one XML file with an `image` for each picture.

Boxes are taken; one that is turned has the upright box around it. So have polygons, ellipses and
masks. Polylines, points, cuboids, skeletons and tags are no regions. What CVAT's own models made
(`source="auto"`) has the origin `auto`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from lookalike.content.boxes import around, from_corners, turned
from lookalike.errors import BadContent, BadInput
from lookalike.formats.annotations import (
    AUTO,
    Annotations,
    Picture,
    Region,
    label_of,
    number,
    pixels,
    read_xml,
)


def read_cvat(path: Path) -> Annotations:
    """Return the pictures of a CVAT file, `annotations.xml` of a folder.

    Raises BadInput for what is none, or for a video's tracks.
    """
    file = path / "annotations.xml" if path.is_dir() else path
    root = read_xml(file)
    if root.tag != "annotations":
        raise BadInput(f"{file.name} is not CVAT for images: it begins with <{root.tag}>")
    images = root.findall("image")
    if not images:
        tracks = "tracks of a video" if root.findall("track") else "no <image>"
        raise BadInput(f"{file.name} has {tracks}; export it from CVAT as 'CVAT for images 1.1'")
    found = Annotations()
    for image in images:
        name = label_of(image.get("name"))
        if name is None:
            found.refused[f"{file.name} image {image.get('id')}"] = "it has no name"
            continue
        regions = [
            one
            for number_, shape in enumerate(image, 1)
            for one in _regions(found, f"{file.name} {name} shape {number_}", shape)
        ]
        size = pixels(image.get("width")), pixels(image.get("height"))
        found.pictures.append(Picture(name, regions, *size))
    return found


def _regions(found: Annotations, place: str, shape: Element) -> Iterator[Region]:
    try:
        box = _box(shape)
    except BadContent as error:
        found.refused[place] = str(error)
        return
    origin = AUTO if shape.get("source") == "auto" else None
    label = label_of(shape.get("label"))
    yield from found.region(place, list(box), label=label, origin=origin)


def _box(shape: Element) -> tuple[float, float, float, float]:
    """Return the upright box around a shape. Raises BadContent for one that is no region."""
    if shape.tag == "box":
        box = from_corners(*_numbers(shape, "xtl", "ytl", "xbr", "ybr"))
    elif shape.tag == "ellipse":
        x, y, across, down = _numbers(shape, "cx", "cy", "rx", "ry")
        box = from_corners(x - across, y - down, x + across, y + down)
    elif shape.tag == "mask":
        left, top, width, height = _numbers(shape, "left", "top", "width", "height")
        return left, top, width, height
    elif shape.tag == "polygon":
        return around(_points(shape))
    else:
        raise BadContent(f"a {shape.tag} is no region; boxes, polygons, ellipses and masks are")
    angle = number(shape.get("rotation")) or 0.0
    if not angle:
        return box
    left, top, width, height = box
    return turned(box, angle, (left + width / 2, top + height / 2))


def _numbers(shape: Element, *names: str) -> list[float]:
    found = []
    for name in names:
        value = number(shape.get(name))
        if value is None:
            raise BadContent(f"its {name} is {shape.get(name)!r}; write a number")
        found.append(value)
    return found


def _points(shape: Element) -> list[tuple[float, float]]:
    """Return the points of "x,y;x,y;…"."""
    points = []
    for pair in (shape.get("points") or "").split(";"):
        x, comma, y = pair.partition(",")
        across, down = number(x), number(y)
        if not comma or across is None or down is None:
            raise BadContent(f"its points have {pair!r}; write x,y;x,y")
        points.append((across, down))
    return points
