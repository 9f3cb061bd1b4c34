"""Views: what a person is shown of a content, whole or in part."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from lookalike.content.blobs import Thumbnails
from lookalike.content.boxes import view_of
from lookalike.errors import BadInput
from lookalike.extractors.base import Content
from lookalike.extractors.previews import crop, render

RED, BLUE = (220, 20, 20), (20, 20, 220)


def halves(width: int = 80, height: int = 40) -> Image.Image:
    """Return a picture that is red on the left and blue on the right."""
    picture = Image.new("RGB", (width, height), RED)
    picture.paste(BLUE, (width // 2, 0, width, height))
    return picture


def content_of(picture: Image.Image) -> Content:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return Content(file.getvalue(), "image/png", name="halves.png")


@pytest.mark.parametrize(
    ("attributes", "view"),
    [
        ({}, ""),
        ({"chunks": 3}, ""),
        ({"page": 3}, "p3"),
        ({"time_ms": 1200}, "t1200"),
        ({"box": [10.4, 20.6, 30, 40]}, "b10,21,30,40"),
        ({"box": [-3, 0, 30, 40], "page": 2}, "p2-b-3,0,30,40"),
    ],
)
def test_a_view_is_named_by_where_the_part_is(attributes: dict[str, object], view: str) -> None:
    assert view_of(attributes) == view


def test_the_whole_is_shown_whole_and_a_box_with_a_little_around_it() -> None:
    content = content_of(halves())

    assert render(content, "").size == (80, 40)
    shown = render(content, "b60,10,10,20")
    assert shown.size == (13 + 1, 26)  # 58.5 to 71.5, and 7 to 33
    assert shown.getcolors() == [(14 * 26, BLUE)]


@pytest.mark.parametrize(
    "box",
    [(-50, -50, 20, 20), (500, 500, 10, 10), (79, 39, 50, 50), (10, 10, 0, 0), (-9, -9, 999, 999)],
)
def test_a_box_at_the_border_or_outside_shows_at_least_a_pixel(
    box: tuple[float, float, float, float],
) -> None:
    shown = crop(halves(), box)

    assert 1 <= shown.width <= 80
    assert 1 <= shown.height <= 40


@pytest.mark.parametrize("view", ["x", "b1,2,3", "p", "../../etc", "b1,2,3,4-p1"])
def test_what_is_no_view_is_refused(view: str) -> None:
    with pytest.raises(BadInput, match="is not a view"):
        render(content_of(halves()), view)


def test_all_views_of_a_content_are_forgotten_together(tmp_path: Path) -> None:
    thumbnails = Thumbnails(tmp_path)
    mine, other = "ab" + "0" * 62, "ab" + "1" * 62
    thumbnails.keep(mine, halves())
    thumbnails.keep(mine, halves(), "p3")
    thumbnails.keep(other, halves(), "p3")

    assert thumbnails.forget_view(mine, "p2") is False
    assert thumbnails.forget(mine) == 2
    assert (thumbnails.read(mine), thumbnails.read(mine, "p3")) == (None, None)
    assert thumbnails.forget_view(other, "p3") is True
    assert thumbnails.forget(other) == 0
