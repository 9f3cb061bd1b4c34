"""The geometry of faces: box, rotation, sharpness, and alignment to an upright square.

Points are (x, y) in pixels, with (0, 0) at the outer corner of the first pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lookalike.content.boxes import overlap

if TYPE_CHECKING:
    from PIL.Image import Image

Points = NDArray[np.float64]

_INNER = 0.15
"""The share at each edge of an aligned face that is hair and background, and not measured."""


@dataclass(frozen=True, slots=True)
class Face:
    """A face that a detector found.

    `box` is left, top, width and height; it may extend beyond the picture. `landmarks` are the
    model's five points, `eyes` (2, 2) the centers of the eyes, the left one in an upright face
    first, and `nose` (2,) a point of the nose. `nose_depth` is how far that point is in front of
    the eyes, in units of the distance between the eyes.
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
        """Return the in-plane rotation of the head in degrees, clockwise in the picture."""
        across, down = self.eyes[1] - self.eyes[0]
        return math.degrees(math.atan2(down, across))

    @property
    def yaw(self) -> float:
        """Return about how many degrees the head turns sideways, positive to the viewer's right.

        In a head turned by α, seen from afar, the distance of the eyes shrinks by cos α, and the
        nose moves sideways by sin α of its depth; so the nose is off the center by `nose_depth` ·
        tan α eye distances.
        """
        across = self.eyes[1] - self.eyes[0]
        length = float(np.hypot(*across))
        if length == 0:
            return 90.0
        off = float((self.nose - self.eyes.mean(axis=0)) @ across) / length**2
        return math.degrees(math.atan(off / self.nose_depth))

    def scaled(self, factor: float) -> Face:
        """Return the same face in a picture that is `factor` times as large."""
        left, top, width, height = (factor * number for number in self.box)
        return replace(
            self,
            box=(left, top, width, height),
            landmarks=self.landmarks * factor,
            eyes=self.eyes * factor,
            nose=self.nose * factor,
        )


def sharpness(aligned: NDArray[np.uint8]) -> float:
    """Return the sharpness of an aligned RGB face (side, side, 3): 0 for none, above 0.1 is good.

    The variance of the Laplacian of the grey values (J. L. Pech-Pacheco et al., 2000) over the
    variance of the grey values themselves, so that low contrast does not count as blur.
    """
    grey = aligned.mean(axis=2)
    edge = round(_INNER * len(grey))
    grey = grey[edge:-edge, edge:-edge]
    middle = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    variance = float(middle.var())
    return float((around - 4 * middle).var()) / variance if variance > 0 else 0.0


def similarity(source: Points, target: Points) -> Points:
    """Return the similarity transform (2, 3) that best maps points `source` (n, 2) to `target`.

    It rotates, scales and shifts, by least squares (S. Umeyama, 1991); in the plane this is a
    product of complex numbers. It never mirrors.
    """
    start, goal = source @ [1, 1j], target @ [1, 1j]
    centered = start - start.mean()
    spread = float((abs(centered) ** 2).sum())
    factor = np.vdot(centered, goal - goal.mean()) / spread if spread > 0 else 1.0
    shift = goal.mean() - factor * start.mean()
    a, b = np.real(factor), np.imag(factor)
    return np.array([[a, -b, np.real(shift)], [b, a, np.imag(shift)]])


def aligned(picture: Image, landmarks: Points, template: Points, side: int) -> NDArray[np.uint8]:
    """Return the RGB square (side, side, 3) in which the landmarks are at the template's points.

    `template` counts from the center of the first pixel. Areas outside the picture are black. A
    face much larger than the square is averaged down first, to avoid aliasing.
    """
    from PIL.Image import Resampling, Transform

    back = similarity(template + 0.5, landmarks)
    corners = np.array([[0, 0, 1], [side, 0, 1], [0, side, 1], [side, side, 1]]) @ back.T
    step = max(1, math.floor(math.hypot(back[0, 0], back[1, 0])))
    left, top = (max(0, math.floor(low) - 2 * step) for low in corners.min(axis=0))
    right, bottom = (math.ceil(high) + 2 * step for high in corners.max(axis=0))
    right, bottom = min(picture.width, right), min(picture.height, bottom)
    if left >= right or top >= bottom:
        return np.zeros((side, side, 3), np.uint8)
    part = picture.crop((left, top, right, bottom)).reduce(step)
    back = (back - [[0, 0, left], [0, 0, top]]) / step
    square = part.transform(
        (side, side), Transform.AFFINE, tuple(back.ravel()), Resampling.BILINEAR
    )
    return np.asarray(square)


def suppressed(faces: list[Face], max_overlap: float) -> list[Face]:
    """Return the faces that non-maximum suppression keeps, highest score first.

    `max_overlap` is the largest intersection over union with a face of higher score.
    """
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(overlap(face.box, other.box) <= max_overlap for other in kept):
            kept.append(face)
    return kept


def rotated_back(face: Face, turn: int, size: tuple[int, int]) -> Face:
    """Return a face of a rotated picture in the coordinates of the original picture.

    `turn` is the rotation in degrees counter-clockwise: 0, 90, 180 or 270; `size` is the width and
    height of the original picture.
    """
    left, top, width, height = face.box
    corners = np.array([[left, top], [left + width, top + height]])
    low, high = (pick(_rotate_back(corners, turn, size), axis=0) for pick in (np.min, np.max))
    return replace(
        face,
        box=(float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])),
        landmarks=_rotate_back(face.landmarks, turn, size),
        eyes=_rotate_back(face.eyes, turn, size),
        nose=_rotate_back(face.nose[None], turn, size)[0],
    )


def _rotate_back(points: Points, turn: int, size: tuple[int, int]) -> Points:
    (x, y), (width, height) = points.T, size
    back = {
        0: (x, y),
        90: (width - y, x),
        180: (width - x, height - y),
        270: (y, height - x),
    }
    return np.stack(back[turn], axis=1)
