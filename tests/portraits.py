"""Photos of two people, made of the portraits that the package ships, and contents of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from PIL import Image, ImageEnhance

from lookalike.extractors.base import Content

PEOPLE = Path(str(files("lookalike.library.samples"))) / "people"
HOPPER, COLLINS = "grace-hopper", "eileen-collins"


def portrait(name: str, *, height: int = 300) -> Image.Image:
    """Return the portrait of a person, so many pixels high."""
    with Image.open(PEOPLE / f"{name}.jpg") as file:
        picture = file.convert("RGB")
    return picture.resize((round(picture.width * height / picture.height), height))


def together(pictures: Sequence[Image.Image]) -> Image.Image:
    """Return pictures side by side on a plain wall."""
    wide, high = sum(one.width for one in pictures), max(one.height for one in pictures)
    wall = Image.new("RGB", (wide, high), "lightgrey")
    left = 0
    for one in pictures:
        wall.paste(one, (left, 0))
        left += one.width
    return wall


def taken_again(picture: Image.Image, number: int) -> Image.Image:
    """Return another photo of the same: lighter or darker, turned a little, another size."""
    brightness = 0.7 + 0.15 * (number % 5)
    changed = ImageEnhance.Brightness(picture).enhance(brightness)
    changed = changed.rotate((-8, 5, 0, 9, -4)[number % 5], Image.Resampling.BICUBIC)
    scale = 1 - 0.07 * (number % 4)
    return changed.resize((round(scale * changed.width), round(scale * changed.height)))


def encoded(picture: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    """Return a picture as a file."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def content(picture: Image.Image, name: str = "photo.png") -> Content:
    """Return a picture as a content."""
    return Content(encoded(picture, "PNG"), "image/png", name=name)
