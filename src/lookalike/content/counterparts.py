"""Counterparts: which part of an item, as another extractor finds it, is which that is known. Pure.

Names are given by the extractor that found the parts: "face-0" of two detectors may be two faces.
So what has a box is recognised by its place, and only what has none by its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OVERLAP = 0.5
"""From this share on of what two boxes cover together, they are the same thing."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an item: its name, "" for the whole, and what the extractor says of it."""

    key: str
    attributes: Mapping[str, Any]

    @property
    def box(self) -> Box | None:
        """Return left, top, width and height in pixels, if the part has a place."""
        box = self.attributes.get("box")
        if box is None:
            return None
        left, top, width, height = (float(number) for number in box)
        return left, top, width, height

    @property
    def picture(self) -> tuple[Any, Any]:
        """Return in which picture of the item it is: its page and its time, None for neither."""
        return self.attributes.get("page"), self.attributes.get("time_ms")


def counterparts(known: Sequence[Part], found: Sequence[Part]) -> dict[int, int]:
    """Return for places in `found` the place in `known` of the same thing, one to one.

    The pairs of boxes that overlap most come first.

    >>> face, other = {"box": [10, 10, 40, 40]}, {"box": [200, 10, 40, 40]}
    >>> near = {"box": [12, 12, 40, 40]}
    >>> counterparts([Part("f0", face), Part("f1", other)], [Part("f0", other), Part("f1", near)])
    {0: 1, 1: 0}
    """
    overlaps = [
        (-overlap(one.box, other.box), place, there)
        for place, one in enumerate(found)
        for there, other in enumerate(known)
        if one.box is not None and other.box is not None and one.picture == other.picture
    ]
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for share, place, there in sorted(overlaps):
        if -share >= OVERLAP and place not in pairs and there not in taken:
            pairs[place] = there
            taken.add(there)
    names = {part.key: there for there, part in enumerate(known) if part.box is None}
    for place, part in enumerate(found):
        if part.box is None and part.key in names:
            pairs[place] = names[part.key]
    return dict(sorted(pairs.items()))


def overlap(one: Box, other: Box) -> float:
    """Return the share of what two boxes cover that both cover (intersection over union).

    >>> overlap((0, 0, 10, 10), (5, 0, 10, 10))
    0.3333333333333333
    """
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    both = max(width, 0.0) * max(height, 0.0)
    together = one[2] * one[3] + other[2] * other[3] - both
    return both / together if together > 0 else 0.0
