"""CVAT for images 1.1: one XML file with an `image` for each picture, or a folder of such files.

Boxes are taken; one that is turned has the upright box around it. So have polygons, ellipses and
masks. A tag is a label of the whole picture. Polylines, points, cuboids and skeletons are neither.
What CVAT's own models made (`source="auto"`) has the origin `auto`. Written besides: attributes of
each box or tag, `region_id`, `label_source`, `score` and other extras, which CVAT passes over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from lookalike.content.boxes import around, corners, from_corners, read_box, turned
from lookalike.errors import BadContent, BadInput
from lookalike.formats.base import (
    AUTO,
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
)
from lookalike.formats.extras import (
    SOURCE,
    extras_of,
    label_from,
    names_of,
    region_from,
    said_in,
)
from lookalike.formats.files import (
    label_of,
    number,
    peek,
    pixels,
    read_xml,
    split_of,
    write_text,
)
from lookalike.formats.finding import Finder

_FILE = "annotations.xml"


def read_cvat(path: Path, images: Path | None = None) -> Dataset:
    """Return the pictures of a CVAT file, or of all files of a folder.

    Raises BadInput for what is none, or for a video's tracks.
    """
    files = sorted(one for one in path.rglob("*.xml") if _is_cvat(one)) if path.is_dir() else []
    if path.is_dir() and not files:
        files = [next(iter(sorted(path.rglob("*.xml"))), path / _FILE)]
    refused: dict[str, str] = {}
    parts = [_read(file, images, refused) for file in files or [path]]
    return Dataset((one for part in parts for one in part), refused)


def write_cvat(path: Path, examples: Iterable[Example], _put: Put = copied) -> int:
    """Write a CVAT file, `annotations.xml` of a folder; return how many tags and boxes.

    The pictures stay where they are.
    """
    file = path if path.suffix.lower() == ".xml" else path / _FILE
    listed = list(examples)
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    _add_labels(root, listed)
    count = 0
    for id, one in enumerate(listed):
        image = SubElement(root, "image", {"id": str(id), "name": one.file_name})
        image.set("width", str(one.width))
        image.set("height", str(one.height))
        if one.split is not None:
            image.set("subset", one.split)
        for region in one.regions or ():
            edges = zip(("xtl", "ytl", "xbr", "ybr"), corners(region.box), strict=True)
            said = {name: f"{edge:.2f}" for name, edge in edges}
            _add(image, "box", said_in(region), {"region_id": region.id}, {"occluded": "0"} | said)
            count += 1
        for field, label in one.labels.items():
            _add(image, "tag", label, {"field": field, **names_of(one)}, {})
            count += 1
    indent(root)
    write_text(file, '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, "unicode") + "\n")
    return count


def _add_labels(root: Element, listed: Sequence[Example]) -> None:
    """Add the labels of the task, as CVAT's own export has them."""
    names = {one.label or UNLABELLED for each in listed for one in each.regions or ()}
    names |= {said.label or UNLABELLED for each in listed for said in each.labels.values()}
    task = SubElement(SubElement(root, "meta"), "task")
    SubElement(task, "size").text = str(len(listed))
    labels = SubElement(task, "labels")
    for name in sorted(names):
        SubElement(SubElement(labels, "label"), "name").text = name


def _add(
    image: Element, tag: str, said: Label, names: Mapping[str, str], place: Mapping[str, str]
) -> None:
    """Add a shape with its extras as attributes."""
    source = "auto" if said.origin == AUTO else "manual"
    start = {"label": said.label or UNLABELLED, "source": source}
    shape = SubElement(image, tag, start | dict(place))
    for name, value in {**names, **extras_of(said)}.items():
        text = json.dumps(value) if isinstance(value, list) else "" if value is None else str(value)
        SubElement(shape, "attribute", {"name": name}).text = text


def _is_cvat(path: Path) -> bool:
    return "<annotations>" in peek(path)


def _recognises(path: Path) -> bool:
    if path.is_dir():
        return any(_is_cvat(one) for one in (*path.glob("*.xml"), *path.glob("*/*.xml")))
    return path.suffix.lower() == ".xml" and _is_cvat(path)


def _read(file: Path, images: Path | None, refused: dict[str, str]) -> Iterator[Example]:
    """Check a file, and return its pictures."""
    root = read_xml(file)
    if root.tag != "annotations":
        raise BadInput(f"{file.name} is not CVAT for images: it begins with <{root.tag}>")
    if not root.findall("image"):
        tracks = "tracks of a video" if root.findall("track") else "no <image>"
        raise BadInput(f"{file.name} has {tracks}; export it from CVAT as 'CVAT for images 1.1'")
    return _examples(root, file, Finder(file.parent, images), refused)


def _examples(
    root: Element, file: Path, finder: Finder, refused: dict[str, str]
) -> Iterator[Example]:
    for image in root.findall("image"):
        name = label_of(image.get("name"))
        if name is None:
            refused[f"{file.name} image {image.get('id')}"] = "it has no name"
            continue
        regions: list[Region] = []
        labels: dict[str, Label] = {}
        names: dict[str, str | None] = {}
        for number_, shape in enumerate(image, 1):
            place = f"{file.name} {name} shape {number_}"
            if shape.tag == "tag":
                _take_tag(refused, place, shape, labels, names)
            else:
                regions += _regions(refused, place, shape)
        size = pixels(image.get("width")), pixels(image.get("height"))
        yield Example(
            name,
            None if labels and not regions else regions,
            *size,
            labels=labels,
            id=names.get("id") or "",
            sha256=names.get("sha256") or "",
            path=finder.find(name),
            split=split_of(image.get("subset") or ""),
        )


def _take_tag(
    refused: dict[str, str],
    place: str,
    shape: Element,
    labels: dict[str, Label],
    names: dict[str, str | None],
) -> None:
    """Take the label of a whole picture; a second one is told, as there is one label a field."""
    extras = _extras(shape)
    field = extras.get("field") or LABEL
    if field in labels:
        refused[place] = f"the picture has the label {labels[field].label!r} already"
        return
    labels[field] = label_from(shape.get("label"), extras)
    names |= extras


def _extras(shape: Element) -> dict[str, str | None]:
    """Return the attributes of a shape, and that a model made it where CVAT says so."""
    found = {str(one.get("name")): label_of(one.text) for one in shape.findall("attribute")}
    if shape.get("source") == "auto" and SOURCE not in found:
        found[SOURCE] = AUTO
    return found


def _regions(refused: dict[str, str], place: str, shape: Element) -> Iterator[Region]:
    extras: Mapping[str, Any] = _extras(shape)
    try:
        box = read_box(list(_box(shape)))
    except BadContent as error:
        refused[place] = str(error)
        return
    yield region_from(box, shape.get("label"), extras.get("region_id") or "", extras)


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


FORMAT = Format(
    name="cvat",
    title="CVAT for images 1.1",
    reads=BOTH,
    writes=BOTH,
    target="an XML file, or a folder for it",
    keeps="attributes of each box or tag",
    recognises=_recognises,
    read=read_cvat,
    write=write_cvat,
    needs_size=True,
)
