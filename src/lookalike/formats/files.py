"""Files as formats read and write them: text, JSON, XML, numbers, names. Errors name the place."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers.expat import ExpatError, ParserCreate

from lookalike.errors import BadInput
from lookalike.formats.base import SPLITS, UNLABELLED, Example

PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".avif", ".heic"}
)

_SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}

_PEEKED_BYTES = 65_536


def read_json(path: Path) -> Any:
    """Return what a JSON file holds. Raises BadInput with the line where it is none."""
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadInput(f"{path.name} is not UTF-8; save it as UTF-8") from error
    except json.JSONDecodeError as error:
        raise BadInput(f"{path.name} line {error.lineno} is not JSON: {error.msg}") from error
    except RecursionError as error:
        raise BadInput(f"{path.name} is nested too deeply for annotations") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def read_text(path: Path) -> str:
    """Return the text of a file. Raises BadInput where it is none."""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path.name} is not UTF-8; save it as UTF-8") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def write_text(path: Path, text: str) -> None:
    """Write a file, and the folders above it. Raises BadInput where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8", newline="\n")
    except OSError as error:
        raise BadInput(
            f"cannot write {str(path)!r}: {error.strerror or error}; choose another place"
        ) from error


def number(value: Any) -> float | None:
    """Return a finite number that a format gives, also as text; None for anything else."""
    if value is None or isinstance(value, bool):
        return None
    with suppress(TypeError, ValueError, OverflowError):
        found = float(value)
        return found if math.isfinite(found) else None
    return None


def pixels(value: Any) -> int:
    """Return a length that a format gives, 0 where it gives none."""
    length = number(value)
    return int(length) if length is not None and 0 < length < 1e9 else 0


def label_of(value: Any) -> str | None:
    """Return a label without white space around it, None where there is none."""
    text = "" if value is None else str(value).strip()
    return text or None


def classes_of(examples: Iterable[Example]) -> list[str]:
    """Return the labels of all regions, each once, in the order of the alphabet."""
    return sorted({one.label or UNLABELLED for each in examples for one in each.regions or ()})


def split_of(name: str) -> str | None:
    """Return which split a folder's name stands for: train, val, test, or None.

    >>> split_of("valid"), split_of("Training"), split_of("trains")
    ('val', 'train', None)
    """
    return _SPLIT_NAMES.get(name.lower())


def split_by_name(example: Example) -> str:
    """Return the split of an example: its own, else one that its name decides, a fifth for val."""
    if example.split in SPLITS:
        return str(example.split)
    digest = hashlib.sha256(example.file_name.encode("utf-8", "replace")).digest()
    return "val" if digest[0] % 5 == 0 else "train"


def splits_of(examples: Sequence[Example]) -> list[str]:
    """Return a split for each example; both train and val have some where there are two."""
    found = [split_by_name(one) for one in examples]
    for wanted, other in (("train", "val"), ("val", "train")):
        if wanted not in found and found.count(other) > 1:
            found[found.index(other)] = wanted
    return found


def peek(path: Path) -> str:
    """Return the beginning of a file as text, "" where there is none."""
    try:
        with path.open("rb") as file:
            return file.read(_PEEKED_BYTES).decode("utf-8-sig", "replace").lstrip()
    except OSError:
        return ""


def places(examples: Iterable[Example], suffix: str) -> list[tuple[PurePosixPath, Example]]:
    """Return where the annotations of each picture go, one file each, its folders kept.

    Raises BadInput where two pictures differ in their suffix only: both would have one file.
    """
    found: dict[PurePosixPath, Example] = {}
    for one in examples:
        place = inner_path(one.file_name).with_suffix(suffix)
        if place in found:
            raise BadInput(
                f"{found[place].file_name!r} and {one.file_name!r} would both have {place}; "
                "this format tells pictures apart by their names without suffix: rename one"
            )
        found[place] = one
    return list(found.items())


def inner_path(name: str) -> PurePosixPath:
    """Return a file name as a path that stays inside the folder it is put into.

    >>> str(inner_path("C:\\\\photos\\\\..\\\\a.jpg"))
    'photos/a.jpg'
    """
    parts = re.split(r"[\\/]+", name)
    kept = [one for one in parts if one not in ("", ".", "..") and not one.endswith(":")]
    return PurePosixPath(*kept or ["picture"])


def _unreadable(path: Path, error: OSError) -> BadInput:
    return BadInput(f"cannot read {str(path)!r}: {error.strerror or error}; check the path")


# --- safe XML: no document type, no entities -----------------------------------------------------


def read_xml(path: Path) -> Element:
    """Return the root of an XML file. Raises BadInput with the line for what is none."""
    try:
        return parse_xml(path.read_bytes(), path.name)
    except OSError as error:
        raise BadInput(f"cannot read {str(path)!r}: {error.strerror or error}") from error


def parse_xml(data: bytes, name: str) -> Element:
    """Return the root of XML, which messages call `name`. Raises BadInput for what is none.

    XML with a document type is refused: only there can entities be declared.
    """
    builder = TreeBuilder()
    parser = ParserCreate(namespace_separator=None)
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data

    def refuse(*_: object) -> None:
        raise BadInput(
            f"{name} line {parser.CurrentLineNumber} has a document type (<!DOCTYPE …>), "
            "which could hide entities; take that line out"
        )

    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except ExpatError as error:
        raise BadInput(f"{name} is not XML: {error}") from error
    return builder.close()
