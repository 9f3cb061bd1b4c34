"""What finds and embeds faces: the interface of the models, and what they share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from lookalike.extractors.face.geometry import Face

if TYPE_CHECKING:
    from PIL.Image import Image

TEMPLATE_SIDE = 112
TEMPLATE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
"""Where eyes, tip of the nose and corners of the mouth lie in the square of 112 pixels that most
embedders were trained on (ArcFace's, and OpenCV's `FaceRecognizerSF`), from the first pixel's
centre."""

_NOSE_DEPTH = 0.6
"""The tip of the nose lies about 38 mm before the eyes, and these 63 mm apart."""

_ENLARGED = 2
"""Small pictures are at most doubled before faces are looked for: beyond that is nothing to see."""


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """What a face must have to vote and to be decided.

    `size`: the shorter side of its box in pixels of the picture. `sharpness`: as `sharpness` in
    `face_geometry` has it. `yaw`: degrees aside, at most. `score`: the detector's own.
    """

    size: float
    sharpness: float
    yaw: float
    score: float

    def missed(self, size: float, sharpness: float, yaw: float, score: float) -> list[str]:
        """Return the names of the limits that a face misses."""
        missed = {
            "small": size < self.size,
            "blurred": sharpness < self.sharpness,
            "turned_away": abs(yaw) > self.yaw,
            "unsure": score < self.score,
        }
        return [name for name, failed in missed.items() if failed]


@dataclass(frozen=True, slots=True)
class Embedded:
    """The vector (dimension,) of a face, of any length, and the aligned RGB square it is from."""

    vector: NDArray[np.float32]
    square: NDArray[np.uint8]


class FaceModel(Protocol):
    """A detector with an embedder; loads at first use, and serves several threads at once."""

    @property
    def name(self) -> str:
        """The model in the name of the space."""

    @property
    def digest(self) -> str:
        """A digest of the weights that vectors depend on, hexadecimal."""

    @property
    def dimension(self) -> int:
        """The length of a vector."""

    @property
    def limits(self) -> QualityLimits:
        """The limits of quality that suit this model."""

    @property
    def smallest(self) -> float:
        """About the width of the smallest face that it finds, in pixels of what it looks at."""

    def find(self, picture: Image, *, side: int) -> list[Face]:
        """Return the faces of an upright RGB picture, in its pixels; look at `side` pixels of it.

        See `shrunk`.
        """

    def embed(self, picture: Image, faces: list[Face]) -> Iterator[Embedded]:
        """Yield what each face of a picture gives, in order."""


def five_point_face(box: Sequence[float], points: NDArray[np.float64], score: float) -> Face:
    """Return a face with the points of the template: eyes, tip of the nose, corners of the mouth.

    `box` is left, top, width and height.
    """
    left, top, width, height = (float(one) for one in box)
    return Face(
        box=(left, top, width, height),
        landmarks=points,
        eyes=points[:2],
        nose=points[2],
        nose_depth=_NOSE_DEPTH,
        score=float(score),
    )


def shrunk(picture: Image, side: int) -> tuple[Image, float]:
    """Return a picture scaled until its longer side is `side`, and what undoes the scaling.

    A small picture is enlarged, but at most doubled.
    """
    from PIL.Image import Resampling

    factor = min(_ENLARGED, side / max(picture.size))
    if factor == 1:
        return picture, 1.0
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, Resampling.BILINEAR, reducing_gap=2.0), 1 / factor
