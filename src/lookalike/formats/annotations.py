"""What all annotation formats come down to: pictures with regions, each a box with a label."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers.expat import ExpatError, ParserCreate

from lookalike.content.boxes import Box, read_box
from lookalike.errors import BadContent, BadInput

UNLABELLED = "unlabelled"
"""The class of a region without a label, in formats that want one for every region."""

AUTO = "auto"
"""The origin of a label that a machine gave."""


@dataclass(frozen=True, slots=True)
class Region:
    """A box in pixels of its upright picture, with what is said of it.

    `id` is "" where the format has none. `origin` is who gave the label (`label_source`), `score`
    how sure it is; None where nothing says so.
    """

    box: Box
    label: str | None = None
    id: str = ""
    score: float | None = None
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture with its regions; `width` and `height` are pixels, 0 where nothing says them."""

    file_name: str
    regions: Sequence[Region]
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True)
class Annotations:
    """What a reader found: pictures, and by its place why a region or a file was not taken."""

    pictures: list[Picture] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    def region(self, place: str, box: Any, **said: Any) -> Iterator[Region]:
        """Yield the region whose `box` is a JSON value; note why there is none."""
        try:
            yield Region(read_box(box), **said)
        except BadContent as error:
            self.refused[place] = str(error)


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


def said_label(name: Any, source: str | None) -> str | None:
    """Return the label that a class is; None for the one that stands for none, in our exports."""
    label = label_of(name)
    return None if label == UNLABELLED and source is None else label


def classes_of(pictures: Iterable[Picture]) -> list[str]:
    """Return the labels of all regions, each once, in the order of the alphabet."""
    return sorted({one.label or UNLABELLED for picture in pictures for one in picture.regions})


def places(pictures: Iterable[Picture], suffix: str) -> list[tuple[PurePosixPath, Picture]]:
    """Return where the annotations of each picture go, one file each, its folders kept.

    Raises BadInput where two pictures differ in their suffix only: both would have one file.
    """
    found: dict[PurePosixPath, Picture] = {}
    for one in pictures:
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
    """Return the root of an XML file. Raises BadInput with the line for what is none.

    A file with a document type is refused: only there can entities be declared.
    """
    builder = TreeBuilder()
    parser = ParserCreate(namespace_separator=None)
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data

    def refuse(*_: object) -> None:
        raise BadInput(
            f"{path.name} line {parser.CurrentLineNumber} has a document type (<!DOCTYPE …>), "
            "which could hide entities; take that line out"
        )

    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
    except ExpatError as error:
        raise BadInput(f"{path.name} is not XML: {error}") from error
    except OSError as error:
        raise BadInput(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    return builder.close()
