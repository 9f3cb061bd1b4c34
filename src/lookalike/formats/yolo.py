"""YOLO detection: a folder with `data.yaml`, `images/` and `labels/`, one text file a picture.

A line is a class number, the middle, width and height, as shares of the upright picture. A line of
more numbers is a polygon, and has the box around it. The names of the classes stand in `data.yaml`
as a list or by number. Written besides: `lookalike.jsonl`, a line for each region in the order of
the label files, with what the format has no place for: id, origin, score.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lookalike.content.boxes import Box, around, read_box, same
from lookalike.content.pictures import upright_size
from lookalike.errors import BadContent, BadInput
from lookalike.formats.annotations import (
    UNLABELLED,
    Annotations,
    Picture,
    Region,
    classes_of,
    inner_path,
    label_of,
    number,
    places,
    read_text,
    said_label,
    write_text,
)

SIDECAR = "lookalike.jsonl"
_SPLITS = ("train", "val", "test")
_PICTURES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".avif", ".heic"}
)


def read_yolo(path: Path, images: Path | None = None) -> Annotations:
    """Return the pictures of a data set: its folder, or its `data.yaml`.

    The pictures must be there, as their sizes are needed; `images` is where they are, if not where
    `data.yaml` says. Raises BadInput where that cannot be read, or there is no picture.
    """
    file = path / "data.yaml" if path.is_dir() else path
    settings = _settings(file)
    names = _names(file, settings.get("names"))
    found = Annotations()
    extra = _sidecar(file.parent / SIDECAR)
    try:
        pairs = sorted(_pairs(file.parent, settings, images))
    except (OSError, ValueError) as error:  # what is said to be a path is none
        raise BadInput(f"{file.name} names a folder that cannot be read: {error}") from error
    if not pairs:
        where = images or file.parent
        raise BadInput(f"there is no picture in {str(where)!r}; say where they are (--images)")
    for picture, labels, name in pairs:
        try:
            width, height = upright_size(picture.read_bytes(), name=name)
        except (BadContent, OSError) as error:
            found.refused[name] = str(error)
            continue
        lines = read_text(labels).splitlines() if labels.is_file() else []
        regions = list(_regions(found, labels.name, lines, names, (width, height)))
        regions = _with_extra(regions, extra.get(name, []))
        found.pictures.append(Picture(name, regions, width, height))
    return found


def write_yolo(folder: Path, pictures: Sequence[Picture]) -> int:
    """Write `data.yaml`, `labels/` and the sidecar; return how many regions.

    The pictures belong into `images/`, under the names that they have here. Raises BadInput for a
    picture without a size.
    """
    classes = classes_of(pictures)
    ids = {name: place for place, name in enumerate(classes)}
    sidecar = []
    for place, one in places(pictures, ".txt"):
        if not (one.width and one.height) and one.regions:
            raise BadInput(f"the size of {one.file_name!r} is not known, and YOLO needs it")
        lines = [_line(one, region, ids[region.label or UNLABELLED]) for region in one.regions]
        write_text(folder / "labels" / place, "".join(f"{line}\n" for line in lines))
        sidecar += [_extra(one, region) for region in one.regions]
    named = "".join(f"  {place}: {json.dumps(name)}\n" for place, name in enumerate(classes))
    heads = "path: .\ntrain: images\nval: images\n"
    write_text(
        folder / "data.yaml", f"{heads}names:\n{named}" if named else f"{heads}names: {{}}\n"
    )
    write_text(folder / SIDECAR, "".join(f"{json.dumps(one)}\n" for one in sidecar))
    return len(sidecar)


def _line(picture: Picture, region: Region, class_id: int) -> str:
    left, top, width, height = region.box
    across, down = picture.width, picture.height
    shares = (
        (left + width / 2) / across,
        (top + height / 2) / down,
        width / across,
        height / down,
    )
    return f"{class_id} " + " ".join(f"{share:.6f}" for share in shares)


def _extra(picture: Picture, region: Region) -> dict[str, Any]:
    return {
        "file_name": inner_path(picture.file_name).as_posix(),
        "box": [round(edge, 2) for edge in region.box],
        "region_id": region.id,
        "label_source": region.origin,
        "score": region.score,
    }


def _settings(file: Path) -> Mapping[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(read_text(file))
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise BadInput(f"{file.name}{line} is not YAML: {problem}") from error
    if not isinstance(found, dict):
        raise BadInput(f"{file.name} is no data.yaml: it has no names")
    return found


def _names(file: Path, names: Any) -> dict[int, str]:
    """Return the names of classes by number, from a list or a mapping."""
    listed = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(listed, dict):
        raise BadInput(f"{file.name} has no names; write names: [apple, pear]")
    found = {}
    for key, name in listed.items():
        place, label = number(key), label_of(name)
        if place is None or place != int(place) or label is None:
            raise BadInput(f"{file.name} names {key!r}: {name!r}; write a number and a name")
        found[int(place)] = label
    return found


def _pairs(
    base: Path, settings: Mapping[str, Any], images: Path | None
) -> Iterator[tuple[Path, Path, str]]:
    """Yield picture, label file, and the picture's name below the folder of its split."""
    if images is not None:
        for picture in _walk(images):
            inner = picture.relative_to(images)
            near = (base / "labels" / inner, base / inner)
            labels = next((one for one in map(_text, near) if one.is_file()), _text(near[0]))
            yield picture, labels, inner.as_posix()
        return
    root = base / str(settings.get("path") or ".")
    roots = [root, base] if root.is_dir() else [base]
    for folder in _folders(roots, settings):
        for picture in _walk(folder) if folder.is_dir() else _listed(folder, roots):
            inner = picture.relative_to(folder) if folder.is_dir() else Path(picture.name)
            yield picture, _labels_of(picture), inner.as_posix()


def _folders(roots: Sequence[Path], settings: Mapping[str, Any]) -> list[Path]:
    """Return the folders, or lists, of the splits: where they are said to be, or near there."""
    said = [settings.get(name) for name in _SPLITS]
    named = [
        str(one) for each in said for one in (each if isinstance(each, list) else [each]) if one
    ]
    found: list[Path] = []
    for name in named or ["images"]:
        near = (root / form for form in (name, name.removeprefix("../")) for root in roots)
        place = next((one for one in near if one.exists()), None)
        if place is not None and place.resolve() not in found:
            found.append(place.resolve())
    return found


def _walk(folder: Path) -> Iterator[Path]:
    return (one for one in sorted(folder.rglob("*")) if one.suffix.lower() in _PICTURES)


def _listed(file: Path, roots: Sequence[Path]) -> Iterator[Path]:
    """Yield the pictures that a text file lists, one a line."""
    for line in read_text(file).splitlines():
        near = (root / line.strip() for root in roots)
        yield from [one for one in near if line.strip() and one.is_file()][:1]


def _labels_of(picture: Path) -> Path:
    """Return the label file of a picture: below `labels` instead of `images`, or beside it."""
    parts = list(picture.parts)
    if "images" not in parts:
        return _text(picture)
    last = len(parts) - 1 - parts[::-1].index("images")
    return _text(Path(*parts[:last], "labels", *parts[last + 1 :]))


def _text(path: Path) -> Path:
    return path.with_suffix(".txt")


def _regions(
    found: Annotations,
    file: str,
    lines: Sequence[str],
    names: Mapping[int, str],
    size: tuple[int, int],
) -> Iterator[Region]:
    for count, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{file} line {count}"
        numbers = [number(one) for one in line.split()]
        values = [one for one in numbers if one is not None]
        if len(values) != len(numbers) or len(values) < 5 or values[0] != values[0] // 1:
            found.refused[place] = f"it is {line.strip()[:80]!r}; write class x y width height"
        elif int(values[0]) not in names:
            found.refused[place] = f"its class {int(values[0])} has no name in data.yaml"
        else:
            score = values[5] if len(values) == 6 else None
            label = names[int(values[0])]
            yield from found.region(place, _box(values[1:], size), label=label, score=score)


def _box(shares: Sequence[float], size: tuple[int, int]) -> list[float]:
    """Return the box of x, y, width, height (and a score), or around a polygon of x and y."""
    width, height = size
    if len(shares) >= 6:
        points = zip(shares[::2], shares[1::2], strict=False)
        return list(around([(x * width, y * height) for x, y in points]))
    x, y, across, down = shares[:4]
    left, top = (x - across / 2) * width, (y - down / 2) * height
    return [round(left, 3), round(top, 3), round(across * width, 3), round(down * height, 3)]


def _sidecar(file: Path) -> dict[str, list[tuple[Box, Mapping[str, Any]]]]:
    """Return what the sidecar says, by picture; lines that say nothing usable are passed over."""
    found: dict[str, list[tuple[Box, Mapping[str, Any]]]] = {}
    for line in read_text(file).splitlines() if file.is_file() else ():
        try:
            said = json.loads(line)
            found.setdefault(said["file_name"], []).append((read_box(said["box"]), said))
        except (ValueError, KeyError, TypeError, BadContent):
            continue
    return found


def _with_extra(
    regions: Sequence[Region], extra: Sequence[tuple[Box, Mapping[str, Any]]]
) -> list[Region]:
    """Return regions with what the sidecar says of the same box."""
    left, found = list(extra), []
    for one in regions:
        near = next((pair for pair in left if same(pair[0], one.box, pixels=1)), None)
        if near is None:
            found.append(one)
            continue
        left.remove(near)
        said = near[1]
        source = label_of(said.get("label_source"))
        id, score = str(said.get("region_id") or ""), number(said.get("score"))
        found.append(Region(near[0], said_label(one.label, source), id, score, source))
    return found
