"""YOLO: for regions a folder with `data.yaml`, `images/` and `labels/`, one text file a picture.

A line is a class number, the middle, width and height, as shares of the upright picture. A line of
more numbers is a polygon, and has the box around it. The names of the classes stand in `data.yaml`
as a list or by number, or in `classes.txt` or `obj.names`, one a line. Whole pictures are in class
folders below `train/` and `val/`. Written besides: the side file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lookalike.content.boxes import around, read_box
from lookalike.content.pictures import upright_size
from lookalike.errors import BadContent, BadInput
from lookalike.formats.base import (
    BOTH,
    SPLITS,
    UNLABELLED,
    Dataset,
    Example,
    Format,
    Put,
    Region,
    copied,
    has_content,
)
from lookalike.formats.extras import SIDE_FILE, SideFile, example_lines, write_side_file
from lookalike.formats.files import (
    PICTURE_SUFFIXES,
    classes_of,
    inner_path,
    label_of,
    number,
    places,
    read_text,
    split_of,
    splits_of,
    write_text,
)
from lookalike.formats.folders import read_folders, safe_name, write_classes

_SETTINGS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_NAMES = ("classes.txt", "obj.names")


def read_yolo(path: Path, images: Path | None = None) -> Dataset:
    """Return the pictures of a data set: its folder, its `data.yaml`, or its list of names.

    For regions the pictures must be there, as their sizes are needed; `images` is where they are,
    if not where `data.yaml` says. Raises BadInput where that cannot be read, where there is no
    picture, or where no file of labels has the name of a picture.
    """
    file = _file(path)
    if file is None:
        return read_folders(path, images)
    settings = _settings(file)
    names = _names(file, settings.get("names"))
    try:
        pairs = sorted(_pairs(file.parent, settings, images))
    except (OSError, ValueError) as error:  # what is said to be a path is none
        raise BadInput(f"{file.name} names a folder that cannot be read: {error}") from error
    if not pairs:
        where = images or file.parent
        raise BadInput(f"there is no picture in {str(where)!r}; say where they are (--images)")
    refused = _unmatched(file.parent, pairs)
    return Dataset(_examples(file.parent, pairs, names, refused), refused)


def write_yolo(folder: Path, examples: Iterable[Example], put: Put = copied) -> int:
    """Write regions with `data.yaml`, `images/` and `labels/`, or documents in class folders.

    Returns how many regions or documents. Raises BadInput for regions of a picture without a size.
    """
    listed = list(examples)
    if any(one.regions is None for one in listed):
        return write_classes(folder, listed, put, splits_of(listed), lambda one: [safe_name(one)])
    classes = classes_of(listed)
    ids = {name: place for place, name in enumerate(classes)}
    lines = []
    for place, one in places(listed, ".txt"):
        regions = one.regions or ()
        if not (one.width and one.height) and regions:
            raise BadInput(f"the size of {one.file_name!r} is not known, and YOLO needs it")
        shares = [_line(one, region, ids[region.label or UNLABELLED]) for region in regions]
        write_text(folder / "labels" / place, "".join(f"{line}\n" for line in shares))
        if has_content(one):
            put(one, folder / "images" / inner_path(one.file_name))
        lines += example_lines(inner_path(one.file_name).as_posix(), one)
    _write_settings(folder, listed, classes)
    write_side_file(folder, lines)
    return len(lines)


def _write_settings(folder: Path, listed: Sequence[Example], classes: Sequence[str]) -> None:
    """Write `data.yaml`, and the list of pictures of each split."""
    splits = splits_of(listed)
    heads = "path: .\n"
    for split in SPLITS:
        names = [
            inner_path(one.file_name).as_posix()
            for one, own in zip(listed, splits, strict=True)
            if own == split
        ]
        if names or split != "test":
            write_text(folder / f"{split}.txt", "".join(f"./images/{name}\n" for name in names))
            heads += f"{split}: {split}.txt\n"
    named = "".join(f"  {place}: {json.dumps(name)}\n" for place, name in enumerate(classes))
    names_ = f"names:\n{named}" if named else "names: {}\n"
    write_text(folder / "data.yaml", heads + names_)


def _file(path: Path) -> Path | None:
    """Return the file with the names of the classes; None for class folders."""
    if not path.is_dir():
        return path
    found = next((path / name for name in (*_SETTINGS, *_NAMES) if (path / name).is_file()), None)
    if found is None and (path / "labels").is_dir():
        raise BadInput(f"{str(path)!r} has no data.yaml and no classes.txt; the classes need names")
    return found


def _recognises(path: Path) -> bool:
    if path.is_dir():
        settings = any((path / name).is_file() for name in _SETTINGS)
        return settings or ((path / "labels").is_dir() and _file(path) is not None)
    return path.suffix.lower() in (".yaml", ".yml") or path.name in _NAMES


def _unmatched(base: Path, pairs: Sequence[tuple[Path, Path, str]]) -> dict[str, str]:
    """Return the files of labels that no picture has, where there is such a folder.

    Raises BadInput where no picture has any: then the names do not match.
    """
    labels = {path.resolve() for _, path, _ in pairs if path.is_file()}
    folders = {path.parent.resolve() for _, path, _ in pairs if path.parent.is_dir()}
    folders |= {base.resolve() / "labels"} if (base / "labels").is_dir() else set()
    known = {*_NAMES, *(f"{split}.txt" for split in SPLITS)}
    every = {one for folder in folders for one in folder.glob("*.txt") if one.name not in known}
    others = sorted(one for one in every - labels if _has_shares(one))
    if not labels:
        hint = f"such as {others[0].name}" if others else "there are none"
        raise BadInput(
            f"no picture of {len(pairs)} has a file of labels ({hint}; the first picture is "
            f"{pairs[0][2]}): they must have the same name, in labels/ instead of images/"
        )
    return {one.name: "there is no picture of this name" for one in others}


def _has_shares(file: Path) -> bool:
    """Return whether a text file has a line of YOLO, or none at all."""
    first = next((line for line in read_text(file).splitlines() if line.strip()), "0 0 0 0 0")
    return len(first.split()) >= 5 and all(number(one) is not None for one in first.split())


def _examples(
    base: Path,
    pairs: Sequence[tuple[Path, Path, str]],
    names: Mapping[int, str],
    refused: dict[str, str],
) -> Iterator[Example]:
    side, splits = SideFile(base), _listed_splits(base)
    strict = bool(refused)
    for picture, labels, name in pairs:
        if strict and not labels.is_file():
            refused[name] = (
                "it has no file of labels, and others match no picture; "
                "an empty file says that nothing is there"
            )
            continue
        try:
            width, height = upright_size(picture.read_bytes(), name=name)
        except (BadContent, OSError) as error:
            refused[name] = str(error)
            continue
        lines = read_text(labels).splitlines() if labels.is_file() else []
        regions = list(_regions(refused, labels.name, lines, names, (width, height)))
        inner = picture.relative_to(base).parts if base in picture.parents else ()
        named = (one for part in reversed(inner[:-1]) if (one := split_of(part)))
        split = splits.get(picture.resolve()) or next(named, None)
        yield Example(name, side.regions(name, regions), width, height, path=picture, split=split)


def _listed_splits(base: Path) -> dict[Path, str]:
    """Return the splits of the pictures that the lists of a folder name."""
    found = {}
    for split in SPLITS:
        file = base / f"{split}.txt"
        for line in read_text(file).splitlines() if file.is_file() else ():
            found[(base / line.strip()).resolve()] = split
    return found


def _line(picture: Example, region: Region, class_id: int) -> str:
    left, top, width, height = region.box
    across, down = picture.width, picture.height
    shares = (
        (left + width / 2) / across,
        (top + height / 2) / down,
        width / across,
        height / down,
    )
    return f"{class_id} " + " ".join(f"{share:.6f}" for share in shares)


def _settings(file: Path) -> Mapping[str, Any]:
    import yaml

    if file.suffix.lower() not in (".yaml", ".yml"):
        names = [line.strip() for line in read_text(file).splitlines()]
        return {"names": [name for name in names if name]}
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
            yield picture, _labels_of(picture), _inner(picture, folder)


def _folders(roots: Sequence[Path], settings: Mapping[str, Any]) -> list[Path]:
    """Return the folders, or lists, of the splits: where they are said to be, or near there."""
    said = [settings.get(name) for name in SPLITS]
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
    return (one for one in sorted(folder.rglob("*")) if one.suffix.lower() in PICTURE_SUFFIXES)


def _listed(file: Path, roots: Sequence[Path]) -> Iterator[Path]:
    """Yield the pictures that a text file lists, one a line."""
    for line in read_text(file).splitlines():
        near = (root / line.strip() for root in roots)
        yield from [one for one in near if line.strip() and one.is_file()][:1]


def _inner(picture: Path, folder: Path) -> str:
    """Return a picture's name below the folder of its split, or below `images`."""
    if folder.is_dir():
        return picture.relative_to(folder).as_posix()
    parts = picture.parts
    last = len(parts) - 1 - parts[::-1].index("images") if "images" in parts else len(parts) - 2
    return Path(*parts[last + 1 :]).as_posix()


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
    refused: dict[str, str],
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
            refused[place] = f"it is {line.strip()[:80]!r}; write class x y width height"
        elif int(values[0]) not in names:
            refused[place] = f"its class {int(values[0])} has no name in data.yaml"
        else:
            score = values[5] if len(values) == 6 else None
            label = names[int(values[0])]
            try:
                yield Region(read_box(_box(values[1:], size)), label, score=score)
            except BadContent as error:
                refused[place] = str(error)


def _box(shares: Sequence[float], size: tuple[int, int]) -> list[float]:
    """Return the box of x, y, width, height (and a score), or around a polygon of x and y."""
    width, height = size
    if len(shares) >= 6:
        points = zip(shares[::2], shares[1::2], strict=False)
        return list(around([(x * width, y * height) for x, y in points]))
    x, y, across, down = shares[:4]
    left, top = (x - across / 2) * width, (y - down / 2) * height
    return [round(left, 3), round(top, 3), round(across * width, 3), round(down * height, 3)]


FORMAT = Format(
    name="yolo",
    title="YOLO",
    reads=BOTH,
    writes=BOTH,
    target="a folder",
    keeps=f"side file `{SIDE_FILE}`",
    recognises=_recognises,
    read=read_yolo,
    write=write_yolo,
)
