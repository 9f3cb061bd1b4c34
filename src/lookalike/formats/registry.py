"""All formats by name, and which of them a file or folder is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lookalike.errors import BadInput, NotFound
from lookalike.formats import (
    coco,
    cvat,
    fiftyone,
    folders,
    huggingface,
    label_studio,
    labelme,
    tables,
    voc,
    yolo,
)
from lookalike.formats.base import Format

FORMATS: Mapping[str, Format] = {
    one.name: one
    for one in (
        folders.FORMAT,
        tables.CSV,
        tables.JSONL,
        tables.PARQUET,
        huggingface.FORMAT,
        label_studio.FORMAT,
        fiftyone.FORMAT,
        coco.FORMAT,
        yolo.FORMAT,
        voc.FORMAT,
        cvat.FORMAT,
        labelme.FORMAT,
    )
}

_ORDER = (
    "yolo",
    "cvat",
    "voc",
    "fiftyone",
    "labelme",
    "label-studio",
    "coco",
    "huggingface",
    "csv",
    "jsonl",
    "parquet",
    "folders",
)
"""The order in which they are tried: what is less likely to be taken for another comes first."""


def format_named(name: str) -> Format:
    """Return a format. Raises NotFound, listing the known ones."""
    if name not in FORMATS:
        raise NotFound.named("format", name, list(FORMATS))
    return FORMATS[name]


def recognised(path: Path) -> Format:
    """Return the format of a file or folder, by its content, and by its suffix for tables.

    Raises BadInput for what is not there or not known.
    """
    if not path.exists():
        raise BadInput(f"there is no file or folder {str(path)!r}; check the path")
    for name in _ORDER:
        if FORMATS[name].recognises(path):
            return FORMATS[name]
    raise BadInput(
        f"{path.name!r} is not recognised; say what it is: --labels-from {', '.join(FORMATS)}"
    )
