"""Views: what a person is shown of a content, whole or in part, named so that it can be kept.

A view is "" for the whole, else its parts joined by `-`: `p3` the third page, `t1200` the frame
at 1,200 ms, `b10,20,30,40` the box at left 10, top 20, of width 30 and height 40.
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
"""The share of a box that is shown around it on each side."""


def render(content: Content, view: str) -> Image:
    """Return what `view` shows of a content; of a video without a time, its first frame.

    Raises BadInput for no view, BadContent, and MissingExtra for a video without PyAV.
    """
    found = _VIEW.fullmatch(view)
    if found is None:
        raise BadInput(f"{view[:80]!r} is no view; take it from the document's thumbnail_url")
    if is_video(content):
        picture = picture_at(content, int(found["time"] or 0))
    elif content.media_type == pdf.MEDIA_TYPE:
        picture = pdf.render_page(content, int(found["page"] or 1))
    else:
        picture = content.picture()
    return picture if found["box"] is None else crop(picture, _numbers(found["box"]))


def views_of(content: Content, parts: Sequence[Part]) -> Iterator[tuple[str, Image]]:
    """Yield the views that a person will be shown of a content and its parts, now it is decoded.

    The first of a name counts: a scan set upright comes before the picture as it is.
    """
    for part in parts:
        shown = part_view(content, part)
        if shown is not None:
            yield shown
    if is_picture(content):
        yield "", content.picture()


def part_view(content: Content, part: Part) -> tuple[str, Image] | None:
    """Return the view of a part that a person will be shown, or None where it has none."""
    view = view_of(part.attributes)
    if part.picture is not None:
        return view, part.picture
    return (view, render(content, view)) if view and is_picture(content) else None


def is_picture(content: Content) -> bool:
    """Return whether a content is a picture by its media type."""
    return content.media_type.startswith("image/")


def crop(picture: Image, box: tuple[float, float, float, float]) -> Image:
    """Return a box (left, top, width, height) of a picture with a little around it."""
    left, top, width, height = box
    beside, above = _MARGIN * width, _MARGIN * height
    edges = (left - beside, top - above, left + width + beside, top + height + above)
    first_x = max(0, min(math.floor(edges[0]), picture.width - 1))
    first_y = max(0, min(math.floor(edges[1]), picture.height - 1))
    last_x = max(first_x + 1, min(math.ceil(edges[2]), picture.width))
    last_y = max(first_y + 1, min(math.ceil(edges[3]), picture.height))
    return picture.crop((first_x, first_y, last_x, last_y))


def _numbers(box: str) -> tuple[float, float, float, float]:
    left, top, width, height = map(float, box.split(","))
    return left, top, width, height
