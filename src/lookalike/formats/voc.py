"""Pascal VOC: one XML file for each picture, in `Annotations/`; pictures in `JPEGImages/`.

Corners are read and written as most tools do: `xmin` is the left edge, and `xmax - xmin` the width,
in whole pixels or with decimals. (The standard of 2007 counted pixels from 1.) `difficult` objects
are taken like others, the `part`s of an object are not. Written besides what VOC has: `region_id`,
`label_source`, `score` and other extras of each object, which other readers pass over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from lookalike.content.boxes import corners, read_box
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
    has_content,
)
from lookalike.formats.extras import COLUMNS, extras_of, region_from
from lookalike.formats.files import (
    classes_of,
    inner_path,
    label_of,
    number,
    peek,
    pixels,
    places,
    read_xml,
    splits_of,
    write_text,
)
from lookalike.formats.finding import Finder

FOLDER = "Annotations"
_EDGES = ("xmin", "ymin", "xmax", "ymax")


def read_voc(path: Path, images: Path | None = None) -> Dataset:
    """Return the pictures of an XML file, or of all XML files below a folder.

    A broken file of a folder is refused alone. Raises BadInput where nothing can be read.
    """
    refused: dict[str, str] = {}
    if path.is_file() or not path.exists():
        return Dataset([_read(refused, path, Finder(path.parent, images), {})], refused)
    files = sorted(path.rglob("*.xml"))
    if not files:
        raise BadInput(
            f"{str(path)!r} has no Pascal VOC annotations: there are no .xml files in it"
        )
    return Dataset(_examples(path, files, images, refused), refused)


def write_voc(folder: Path, examples: Iterable[Example], put: Put = copied) -> int:
    """Write a folder; return how many regions.

    It has `Annotations/`, `JPEGImages/`, the lists of `ImageSets/Main/` and `labelmap.txt`.
    """
    listed = list(examples)
    for place, one in places(listed, ".xml"):
        root = _annotation(one)
        indent(root)
        write_text(folder / FOLDER / place, tostring(root, "unicode") + "\n")
        if has_content(one):
            put(one, folder / "JPEGImages" / inner_path(one.file_name))
    _write_lists(folder, [(place.with_suffix(""), one) for place, one in places(listed, ".xml")])
    names = (name.replace(":", " ") for name in classes_of(listed))
    lines = "".join(f"{name}:::\n" for name in names)
    write_text(folder / "labelmap.txt", f"# label:color_rgb:parts:actions\n{lines}")
    return sum(len(one.regions or ()) for one in listed)


def _write_lists(folder: Path, named: Sequence[tuple[PurePosixPath, Example]]) -> None:
    """Write which pictures are for training, validation and tests."""
    splits = splits_of([one for _, one in named])
    lists: dict[str, list[str]] = {"train": [], "val": [], "trainval": []}
    for (name, _), split in zip(named, splits, strict=True):
        lists.setdefault(split, []).append(str(name))
        if split != "test":
            lists["trainval"].append(str(name))
    for split, names in lists.items():
        text = "".join(f"{name}\n" for name in names)
        write_text(folder / "ImageSets" / "Main" / f"{split}.txt", text)


def _recognises(path: Path) -> bool:
    if path.is_file():
        return path.suffix.lower() == ".xml" and "<annotation>" in peek(path)
    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    first = next(folder.rglob("*.xml"), None) if folder.is_dir() else None
    return first is not None and "<annotation>" in peek(first)


def _examples(
    path: Path, files: Sequence[Path], images: Path | None, refused: dict[str, str]
) -> Iterator[Example]:
    splits = _splits(path)
    is_empty = True
    for file in files:
        base = path / FOLDER if (path / FOLDER) in file.parents else path
        try:
            one = _read(refused, file, Finder(base, images), splits)
        except BadInput as error:
            refused[file.relative_to(path).as_posix()] = str(error)
            continue
        is_empty = False
        yield one
    if is_empty:
        first = next(iter(refused.values()))
        raise BadInput(f"{str(path)!r} has no Pascal VOC annotations: {first}")


def _splits(path: Path) -> dict[str, str]:
    """Return the splits of pictures by their names without suffix."""
    found: dict[str, str] = {}
    for split in ("train", "val", "test"):
        file = path / "ImageSets" / "Main" / f"{split}.txt"
        if file.is_file():
            lines = file.read_text("utf-8", "replace").splitlines()
            found |= dict.fromkeys((line.strip() for line in lines if line.strip()), split)
    return found


def _read(refused: dict[str, str], file: Path, finder: Finder, splits: dict[str, str]) -> Example:
    root = read_xml(file)
    if root.tag != "annotation":
        raise BadInput(f"{file.name} is not Pascal VOC: it begins with <{root.tag}>")
    name = label_of(root.findtext("filename")) or file.stem
    regions = [
        one
        for number_, each in enumerate(root.findall("object"), 1)
        for one in _regions(refused, f"{file.name} object {number_}", each)
    ]
    size = pixels(root.findtext("size/width")), pixels(root.findtext("size/height"))
    split = splits.get(str(inner_path(name).with_suffix("")), splits.get(file.stem))
    return Example(name, regions, *size, path=finder.find(name), split=split)


def _regions(refused: dict[str, str], place: str, each: Element) -> Iterator[Region]:
    frame = each.find("bndbox")
    if frame is None:
        refused[place] = "it has no <bndbox>"
        return
    edges = [number(frame.findtext(name)) for name in _EDGES]
    if None in edges:
        wrong = _EDGES[edges.index(None)]
        refused[place] = f"its <{wrong}> is {frame.findtext(wrong)!r}; write a number"
        return
    left, top, right, bottom = (edge or 0.0 for edge in edges)
    try:
        box = read_box([left, top, right - left, bottom - top])
    except BadContent as error:
        refused[place] = str(error)
        return
    extras = {name: each.findtext(name) for name in COLUMNS if each.find(name) is not None}
    name, id = label_of(each.findtext("name")), label_of(each.findtext("region_id")) or ""
    yield region_from(box, name, id, extras)


def _annotation(picture: Example) -> Element:
    root = Element("annotation")
    _add(root, "filename", picture.file_name)
    size = SubElement(root, "size")
    for name, value in (("width", picture.width), ("height", picture.height), ("depth", 3)):
        _add(size, name, value)
    _add(root, "segmented", 0)
    for one in picture.regions or ():
        each = SubElement(root, "object")
        _add(each, "name", one.label or UNLABELLED)
        _add(each, "pose", "Unspecified")
        _add(each, "truncated", 0)
        _add(each, "difficult", 0)
        box = SubElement(each, "bndbox")
        for name, edge in zip(_EDGES, corners(one.box), strict=True):
            _add(box, name, f"{edge:.2f}".rstrip("0").rstrip("."))
        _add(each, "region_id", one.id)
        for name, value in extras_of(one).items():
            _add(
                each,
                name,
                json.dumps(value) if isinstance(value, list) else "" if value is None else value,
            )
    return root


def _add(parent: Element, name: str, value: object) -> None:
    SubElement(parent, name).text = str(value)


FORMAT = Format(
    name="voc",
    title="Pascal VOC",
    reads=frozenset({REGIONS}),
    writes=frozenset({REGIONS}),
    target="a folder",
    keeps="elements of each object",
    recognises=_recognises,
    read=read_voc,
    write=write_voc,
)
