"""Views: the pictures that people see of a content or of a part of it, as for thumbnails.

The name of a view is "" for the whole content, else its elements joined by `-`: `p3` the third
page, `t1200` the frame at 1,200 ms, `b10,20,30,40` the box at left 10, top 20, of width 30 and
height 40.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lookalike.content.boxes import view_of
from lookalike.errors import BadInput
from lookalike.extractors.base import Content, Part
from lookalike.extractors.document import pdf
from lookalike.extractors.video_decoder import is_video, picture_at

if TYPE_CHECKING:
    from PIL.Image import Image

_VIEW = re.compile(r"(?:p(?P<page>\d+))?-?(?:t(?P<time>\d+))?-?(?:b(?P<box>-?\d+(?:,-?\d+){3}))?")
_MARGIN = 0.15
"""The margin around a box on each side, as a share of its width or height."""


def render(content: Content, view: str) -> Image:
    """Return the picture of a `view` of a content; for a video without a time, its first frame.

    Raises BadInput if `view` is not the name of a view, BadContent, and MissingExtra for a video
    without PyAV.
    """
    found = _VIEW.fullmatch(view)
    if found is None:
        raise BadInput(f"{view[:80]!r} is not a view; take it from the document's thumbnail_url")
    if is_video(content):
        picture = picture_at(content, int(found["time"] or 0))
    elif content.media_type == pdf.MEDIA_TYPE:
        picture = pdf.render_page(content, int(found["page"] or 1))
    else:
        picture = content.picture()
    return picture if found["box"] is None else crop(picture, _numbers(found["box"]))


def views_of(content: Content, parts: Sequence[Part]) -> Iterator[tuple[str, Image]]:
    """Yield the views of a content and its parts, with their names, while it is decoded.

    The first view of a name counts: the upright picture of a scan comes before the original.
    """
    for part in parts:
        view = part_view(content, part)
        if view is not None:
            yield view
    if is_picture(content):
        yield "", content.picture()


def part_view(content: Content, part: Part) -> tuple[str, Image] | None:
    """Return the name and picture of a part's view, or None if it has none."""
    view = view_of(part.attributes)
    if part.picture is not None:
        return view, part.picture
    return (view, render(content, view)) if view and is_picture(content) else None


def is_picture(content: Content) -> bool:
    """Return whether a content is a picture by its media type."""
    return content.media_type.startswith("image/")


def crop(picture: Image, box: tuple[float, float, float, float]) -> Image:
    """Return a box (left, top, width, height) of a picture, with a margin."""
    left, top, width, height = box
    across, down = _MARGIN * width, _MARGIN * height
    edges = (left - across, top - down, left + width + across, top + height + down)
    first_x = max(0, min(math.floor(edges[0]), picture.width - 1))
    first_y = max(0, min(math.floor(edges[1]), picture.height - 1))
    last_x = max(first_x + 1, min(math.ceil(edges[2]), picture.width))
    last_y = max(first_y + 1, min(math.ceil(edges[3]), picture.height))
    return picture.crop((first_x, first_y, last_x, last_y))


def _numbers(box: str) -> tuple[float, float, float, float]:
    left, top, width, height = map(float, box.split(","))
    return left, top, width, height
