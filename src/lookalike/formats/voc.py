"""Pascal VOC: one XML file for each picture.

Corners are read and written as most tools do: `xmin` is the left edge, and `xmax - xmin` the width,
in whole pixels or with decimals. (The standard of 2007 counted pixels from 1.) `difficult` objects
are taken like others, the `part`s of an object are not. Written besides what VOC has: `score`,
`label_source` and `region_id`, which other readers pass over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from lookalike.content.boxes import corners
from lookalike.errors import BadInput
from lookalike.formats.annotations import (
    UNLABELLED,
    Annotations,
    Picture,
    Region,
    label_of,
    number,
    pixels,
    places,
    read_xml,
    said_label,
    write_text,
)

FOLDER = "Annotations"
_EDGES = ("xmin", "ymin", "xmax", "ymax")


def read_voc(path: Path) -> Annotations:
    """Return the pictures of an XML file, or of all XML files below a folder.

    A broken file of a folder is refused alone. Raises BadInput where nothing can be read.
    """
    found = Annotations()
    if path.is_file():
        _read(found, path)
        return found
    files = sorted(path.rglob("*.xml"))
    for file in files:
        try:
            _read(found, file)
        except BadInput as error:
            found.refused[file.relative_to(path).as_posix()] = str(error)
    if not found.pictures:
        first = next(iter(found.refused.values()), "there are no .xml files in it")
        raise BadInput(f"{str(path)!r} has no Pascal VOC annotations: {first}")
    return found


def write_voc(folder: Path, pictures: Sequence[Picture]) -> int:
    """Write `Annotations/<picture>.xml` for each picture into a folder; return how many regions."""
    for place, one in places(pictures, ".xml"):
        root = _annotation(one)
        indent(root)
        write_text(folder / FOLDER / place, tostring(root, "unicode") + "\n")
    return sum(len(one.regions) for one in pictures)


def _read(found: Annotations, file: Path) -> None:
    root = read_xml(file)
    if root.tag != "annotation":
        raise BadInput(f"{file.name} is not Pascal VOC: it begins with <{root.tag}>")
    name = label_of(root.findtext("filename")) or file.stem
    regions = [
        one
        for number_, each in enumerate(root.findall("object"), 1)
        for one in _regions(found, f"{file.name} object {number_}", each)
    ]
    size = pixels(root.findtext("size/width")), pixels(root.findtext("size/height"))
    found.pictures.append(Picture(name, regions, *size))


def _regions(found: Annotations, place: str, each: Element) -> Iterator[Region]:
    box = each.find("bndbox")
    if box is None:
        found.refused[place] = "it has no <bndbox>"
        return
    edges = [number(box.findtext(name)) for name in _EDGES]
    if None in edges:
        wrong = _EDGES[edges.index(None)]
        found.refused[place] = f"its <{wrong}> is {box.findtext(wrong)!r}; write a number"
        return
    left, top, right, bottom = (edge or 0.0 for edge in edges)
    ours = each.find("label_source") is not None
    source = label_of(each.findtext("label_source"))
    name = label_of(each.findtext("name"))
    yield from found.region(
        place,
        [left, top, right - left, bottom - top],
        label=said_label(name, source) if ours else name,
        id=label_of(each.findtext("region_id")) or "",
        score=number(each.findtext("score")),
        origin=source,
    )


def _annotation(picture: Picture) -> Element:
    root = Element("annotation")
    _add(root, "filename", picture.file_name)
    size = SubElement(root, "size")
    for name, value in (("width", picture.width), ("height", picture.height), ("depth", 3)):
        _add(size, name, value)
    _add(root, "segmented", 0)
    for one in picture.regions:
        each = SubElement(root, "object")
        _add(each, "name", one.label or UNLABELLED)
        _add(each, "pose", "Unspecified")
        _add(each, "truncated", 0)
        _add(each, "difficult", 0)
        box = SubElement(each, "bndbox")
        for name, edge in zip(_EDGES, corners(one.box), strict=True):
            _add(box, name, f"{edge:.2f}".rstrip("0").rstrip("."))
        if one.score is not None:
            _add(each, "score", one.score)
        _add(each, "label_source", one.origin or "")
        _add(each, "region_id", one.id)
    return root


def _add(parent: Element, name: str, value: object) -> None:
    SubElement(parent, name).text = str(value)
