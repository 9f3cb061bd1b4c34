"""Pictures of coloured shapes whose boxes are known, and annotations of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from lookalike.content.boxes import Box, corners
from lookalike.extractors.base import Content

SIZE = (320, 240)
BOXES: tuple[Box, ...] = (
    (20.0, 30.0, 80.0, 60.0),
    (150.0, 40.0, 90.0, 90.0),
    (60.0, 130.0, 70.0, 80.0),
)
COLOURS = ("red", "green", "blue")


def shapes(boxes: Sequence[Box] = BOXES, size: tuple[int, int] = SIZE) -> Image.Image:
    """Return a white picture with an ellipse in each box, of colours in turn."""
    picture = Image.new("RGB", size, "white")
    for number, box in enumerate(boxes):
        colour = COLOURS[number % len(COLOURS)]
        ImageDraw.Draw(picture).ellipse(corners(box), fill=colour)
    return picture


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def content(regions: object = None, picture: Image.Image | None = None) -> Content:
    """Return a content with regions that are given."""
    data = png(picture or shapes())
    return Content(data, "image/png", name="shapes.png", regions=regions)  # type: ignore[arg-type]


def write_pictures(folder: Path, names: Sequence[str]) -> None:
    """Write pictures that differ: each has its shapes one pixel lower."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        moved = [(left, top + number, width, height) for left, top, width, height in BOXES]
        shapes(moved).save(path)
