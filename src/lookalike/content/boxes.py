"""Boxes of regions: left, top, width and height in pixels of the upright picture.

Also `view_of`, the name of the view that shows a part, and `matching_parts`, which pairs the parts
that two extractors found in the same item.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import BadContent

Box = tuple[float, float, float, float]
"""Left, top, width, height."""

SAME_PIXELS = 0.5
"""Two boxes are the same if no edge differs by more pixels than this."""


_FINITE = 1e15
"""Larger numbers are refused: no picture is that large, and huge integers overflow a float."""


def read_box(value: object) -> Box:
    """Return a JSON value as a box. Raises BadContent, with the value, if it is not a box.

    >>> read_box([10, 20, 30.5, 40])
    (10.0, 20.0, 30.5, 40.0)
    """
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 4:
        raise BadContent(f"its box is {_shown(value)}; write [left, top, width, height] in pixels")
    if not all(_is_number(number) for number in value):
        raise BadContent(f"its box is {_shown(value)}; all four must be finite numbers")
    left, top, width, height = (float(number) for number in value)
    if width <= 0 or height <= 0:
        raise BadContent(f"its box {_shown(value)} has no size; width and height must be above 0")
    return left, top, width, height


def clipped(box: Box, width: int, height: int) -> Box:
    """Return the part of a box that is inside a picture. Raises BadContent if there is none.

    >>> clipped((-5, 10, 20, 20), 100, 25)
    (0.0, 10.0, 15.0, 15.0)
    """
    left, top, right, bottom = corners(box)
    inside = max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height)
    if inside[2] <= inside[0] or inside[3] <= inside[1]:
        raise BadContent(
            f"its box {_shown(box)} lies outside the picture of {width} x {height} pixels; "
            "draw it again or remove it"
        )
    return from_corners(*inside)


def corners(box: Box) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom.

    >>> corners((10, 20, 30, 40))
    (10, 20, 40, 60)
    """
    left, top, width, height = box
    return left, top, left + width, top + height


def from_corners(left: float, top: float, right: float, bottom: float) -> Box:
    """Return the box between two corners.

    >>> from_corners(10, 20, 40, 60)
    (10.0, 20.0, 30.0, 40.0)
    """
    return float(left), float(top), round(float(right - left), 6), round(float(bottom - top), 6)


def around(points: Sequence[tuple[float, float]]) -> Box:
    """Return the bounding box of points (x, y).

    >>> around([(3, 1), (1, 4), (2, 2)])
    (1.0, 1.0, 2.0, 3.0)
    """
    across, down = [x for x, _ in points], [y for _, y in points]
    return from_corners(min(across), min(down), max(across), max(down))


def turned(box: Box, degrees: float, pivot: tuple[float, float]) -> Box:
    """Return the bounding box of a box that is rotated clockwise by `degrees` about a point (x, y).

    >>> turned((0, 0, 4, 2), 90, (0, 0))
    (-2.0, 0.0, 2.0, 4.0)
    """
    left, top, right, bottom = corners(box)
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    points = []
    for x, y in ((left, top), (right, top), (right, bottom), (left, bottom)):
        dx, dy = x - pivot[0], y - pivot[1]
        turned_x = pivot[0] + dx * cosine - dy * sine
        turned_y = pivot[1] + dx * sine + dy * cosine
        points.append((round(turned_x, 6), round(turned_y, 6)))
    return around(points)


def same(one: Box, other: Box, pixels: float = SAME_PIXELS) -> bool:
    """Return whether no edge of two boxes differs by more than `pixels`.

    >>> same((10, 20, 30, 40), (10.4, 20, 29.9, 40)), same((10, 20, 30, 40), (11, 20, 30, 40))
    (True, False)
    """
    pairs = zip(corners(one), corners(other), strict=True)
    return all(abs(a - b) <= pixels + 1e-6 for a, b in pairs)


def overlaps(box: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the intersection over union (n,) of a box (4,) with others (n, 4), all as corners."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=1)
    own = np.prod(box[2:] - box[:2])
    union = own + np.prod(others[:, 2:] - others[:, :2], axis=1) - common
    shares: NDArray[np.float64] = common / np.maximum(union, 1e-9)
    return shares


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < _FINITE


def _shown(value: object) -> str:
    """Return a value for a message, cut to 80 characters."""
    if isinstance(value, tuple):
        value = list(value)
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def view_of(attributes: Mapping[str, Any]) -> str:
    """Return the name of the view that shows the part of a content with these attributes.

    >>> view_of({"time_ms": 1200, "box": [10, 20.4, 30, 40]})
    't1200-b10,20,30,40'
    """
    names = []
    if "page" in attributes:
        names.append(f"p{attributes['page']}")
    if "time_ms" in attributes:
        names.append(f"t{attributes['time_ms']}")
    if "box" in attributes:
        names.append("b" + ",".join(str(round(number)) for number in attributes["box"]))
    return "-".join(names)


def can_show(media_type: str) -> bool:
    """Return whether contents of a media type have views."""
    return media_type.startswith(("image/", "video/")) or media_type == "application/pdf"


# --- matching parts of two extractors ------------------------------------------------------------

# The extractor that finds the parts names them: "face-0" of two detectors may be two faces. So
# parts with a box match by their boxes, and only parts without one match by name.

OVERLAP = 0.5
"""The smallest intersection over union of two boxes that are the same thing."""


@dataclass(frozen=True, slots=True)
class PartRegion:
    """A part of an item: its name ("" for the whole), and the attributes from the extractor."""

    key: str
    attributes: Mapping[str, Any]

    @property
    def box(self) -> Box | None:
        """Return left, top, width and height in pixels, or None if the part has no box."""
        box = self.attributes.get("box")
        if box is None:
            return None
        left, top, width, height = (float(number) for number in box)
        return left, top, width, height

    @property
    def picture(self) -> tuple[Any, Any]:
        """Return the picture of the item that shows the part: page and time, None where unset."""
        return self.attributes.get("page"), self.attributes.get("time_ms")


def matching_parts(known: Sequence[PartRegion], found: Sequence[PartRegion]) -> dict[int, int]:
    """Return a one-to-one matching: index in `found` → index in `known` of the same thing.

    It is greedy: boxes that overlap most are matched first.

    >>> face, other = {"box": [10, 10, 40, 40]}, {"box": [200, 10, 40, 40]}
    >>> near = {"box": [12, 12, 40, 40]}
    >>> known = [PartRegion("f0", face), PartRegion("f1", other)]
    >>> matching_parts(known, [PartRegion("f0", other), PartRegion("f1", near)])
    {0: 1, 1: 0}
    """
    candidates = [
        (-overlap(new.box, old.box), i, j)
        for i, new in enumerate(found)
        for j, old in enumerate(known)
        if new.box is not None and old.box is not None and new.picture == old.picture
    ]
    pairs: dict[int, int] = {}
    matched: set[int] = set()
    for negative_overlap, i, j in sorted(candidates):
        if -negative_overlap >= OVERLAP and i not in pairs and j not in matched:
            pairs[i] = j
            matched.add(j)
    names = {part.key: j for j, part in enumerate(known) if part.box is None}
    for i, part in enumerate(found):
        if part.box is None and part.key in names:
            pairs[i] = names[part.key]
    return dict(sorted(pairs.items()))


def overlap(one: Box, other: Box) -> float:
    """Return the intersection over union of two boxes.

    >>> overlap((0, 0, 10, 10), (5, 0, 10, 10))
    0.3333333333333333
    """
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    intersection = max(width, 0.0) * max(height, 0.0)
    union = one[2] * one[3] + other[2] * other[3] - intersection
    return intersection / union if union > 0 else 0.0
