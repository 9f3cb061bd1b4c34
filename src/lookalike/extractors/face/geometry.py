"""Faces as geometry: where one is, how it is turned, how sharp it is, and its upright square.

Points are (x, y) in pixels, with (0, 0) at the outer corner of the first pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

Points = NDArray[np.float64]

_INNER = 0.15
"""The share at each edge of an aligned face that is hair and background, so tells no sharpness."""


@dataclass(frozen=True, slots=True)
class Face:
    """A face that a detector found.

    `box` is left, top, width and height; it may reach beyond the picture. `landmarks` are the five
    points of the model, `eyes` (2, 2) the centres of the eyes, the one further left in an upright
    face first, and `nose` (2,) the nose. `nose_depth` is how far that point of the nose lies before
    the eyes, in distances between them.
    """

    box: tuple[float, float, float, float]
    landmarks: Points
    eyes: Points
    nose: Points
    nose_depth: float
    score: float

    @property
    def area(self) -> float:
        """Return the area of the box in square pixels."""
        return self.box[2] * self.box[3]

    @property
    def roll(self) -> float:
        """Return by how many degrees the head leans, clockwise in the picture."""
        across, down = self.eyes[1] - self.eyes[0]
        return math.degrees(math.atan2(down, across))

    @property
    def yaw(self) -> float:
        """Return about how many degrees the head is turned aside, positive to the viewer's right.

        The eyes and the nose of a head turned by α, seen from afar, are cos α and sin α of their
        distances apart; so the nose is off the middle by `nose_depth` · tan α eye distances.
        """
        across = self.eyes[1] - self.eyes[0]
        length = float(np.hypot(*across))
        if length == 0:
            return 90.0
        off = float((self.nose - self.eyes.mean(axis=0)) @ across) / length**2
        return math.degrees(math.atan(off / self.nose_depth))

    def scaled(self, factor: float) -> Face:
        """Return the same face in a picture that is `factor` times as large."""
        left, top, width, height = (factor * one for one in self.box)
        return replace(
            self,
            box=(left, top, width, height),
            landmarks=self.landmarks * factor,
            eyes=self.eyes * factor,
            nose=self.nose * factor,
        )


def sharpness(aligned: NDArray[np.uint8]) -> float:
    """Return how sharp an aligned RGB face (side, side, 3) is: 0 for none, above 0.1 for fine.

    The variance of the Laplacian of the grey values (J. L. Pech-Pacheco et al., 2000) over the
    variance of the grey values themselves, so that a pale picture is not taken for a blurred one.
    """
    grey = aligned.mean(axis=2)
    edge = round(_INNER * len(grey))
    grey = grey[edge:-edge, edge:-edge]
    middle = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    variance = float(middle.var())
    return float((around - 4 * middle).var()) / variance if variance > 0 else 0.0


def similarity(source: Points, target: Points) -> Points:
    """Return the (2, 3) map of turn, scale and shift that brings `source` (n, 2) to `target` best.

    Least squares (S. Umeyama, 1991); in the plane a product of complex numbers. A mirror image is
    not allowed.
    """
    start, goal = source @ [1, 1j], target @ [1, 1j]
    centred = start - start.mean()
    spread = float((abs(centred) ** 2).sum())
    factor = np.vdot(centred, goal - goal.mean()) / spread if spread > 0 else 1.0
    shift = goal.mean() - factor * start.mean()
    a, b = np.real(factor), np.imag(factor)
    return np.array([[a, -b, np.real(shift)], [b, a, np.imag(shift)]])


def aligned(picture: Image, landmarks: Points, template: Points, side: int) -> NDArray[np.uint8]:
    """Return the RGB square (side, side, 3) in which landmarks lie where the template says.

    `template` counts from the centre of the first pixel. What lies beyond the picture is black. A
    face much larger than the square is first averaged down, or single pixels would be picked.
    """
    from PIL.Image import Resampling, Transform

    back = similarity(template + 0.5, landmarks)
    corners = np.array([[0, 0, 1], [side, 0, 1], [0, side, 1], [side, side, 1]]) @ back.T
    step = max(1, math.floor(math.hypot(back[0, 0], back[1, 0])))
    left, top = (max(0, math.floor(one) - 2 * step) for one in corners.min(axis=0))
    right, bottom = (math.ceil(one) + 2 * step for one in corners.max(axis=0))
    right, bottom = min(picture.width, right), min(picture.height, bottom)
    if left >= right or top >= bottom:
        return np.zeros((side, side, 3), np.uint8)
    part = picture.crop((left, top, right, bottom)).reduce(step)
    back = (back - [[0, 0, left], [0, 0, top]]) / step
    square = part.transform(
        (side, side), Transform.AFFINE, tuple(back.ravel()), Resampling.BILINEAR
    )
    return np.asarray(square)


def without_doubles(faces: list[Face], overlap: float) -> list[Face]:
    """Return faces, the surest first, without those that overlap a surer one by more.

    The overlap of two boxes is their common area over the area of both.
    """
    kept: list[Face] = []
    for face in sorted(faces, key=lambda one: -one.score):
        if all(_overlap(face, other) <= overlap for other in kept):
            kept.append(face)
    return kept


def turned_back(face: Face, turn: int, size: tuple[int, int]) -> Face:
    """Return a face found in a picture that was turned, as it lies in the unturned picture.

    `turn` is by how many degrees counter-clockwise it was turned: 0, 90, 180 or 270; `size` is the
    width and height of the unturned picture.
    """
    left, top, width, height = face.box
    corners = np.array([[left, top], [left + width, top + height]])
    low, high = (pick(_unturn(corners, turn, size), axis=0) for pick in (np.min, np.max))
    return replace(
        face,
        box=(float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])),
        landmarks=_unturn(face.landmarks, turn, size),
        eyes=_unturn(face.eyes, turn, size),
        nose=_unturn(face.nose[None], turn, size)[0],
    )


def _unturn(points: Points, turn: int, size: tuple[int, int]) -> Points:
    (x, y), (width, height) = points.T, size
    back = {
        0: (x, y),
        90: (width - y, x),
        180: (width - x, height - y),
        270: (y, height - x),
    }
    return np.stack(back[turn], axis=1)


def _overlap(one: Face, other: Face) -> float:
    common = 1.0
    for axis in (0, 1):
        low = max(one.box[axis], other.box[axis])
        high = min(one.box[axis] + one.box[axis + 2], other.box[axis] + other.box[axis + 2])
        common *= max(0.0, high - low)
    total = one.area + other.area - common
    return common / total if total > 0 else 0.0
