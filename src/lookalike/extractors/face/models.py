"""The interface of face models, each a detector with an embedder, and what they share."""

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
"""The points of the eyes, the tip of the nose and the corners of the mouth in the square of 112
pixels that most embedders were trained on (ArcFace's, and OpenCV's `FaceRecognizerSF`), measured
from the center of the first pixel."""

_NOSE_DEPTH = 0.6
"""The tip of the nose is about 38 mm in front of the eyes, which are 63 mm apart."""

_MAX_ENLARGEMENT = 2
"""The largest factor by which small pictures are enlarged; more would show no more detail."""


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """The quality that a face needs to be a reference and to be labelled automatically.

    `size`: the shorter side of its box in pixels of the picture. `sharpness`: the value of
    `geometry.sharpness`. `yaw`: at most this many degrees. `score`: the detector's score.
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
    """A detector with an embedder; loads at first use, and is safe for threads."""

    @property
    def name(self) -> str:
        """The model's name in the name of the space."""

    @property
    def digest(self) -> str:
        """A digest of the weights that determine the vectors, hexadecimal."""

    @property
    def dimension(self) -> int:
        """The length of a vector."""

    @property
    def limits(self) -> QualityLimits:
        """The limits of quality that suit this model."""

    @property
    def smallest(self) -> float:
        """About the width of the smallest face that it detects, in pixels of the scaled picture."""

    def find(self, picture: Image, *, side: int) -> list[Face]:
        """Return the faces of an upright RGB picture, in its pixels; detect at `side` pixels.

        See `shrunk`.
        """

    def embed(self, picture: Image, faces: list[Face]) -> Iterator[Embedded]:
        """Yield the vector and the aligned square of each face of a picture, in order."""


def five_point_face(box: Sequence[float], points: NDArray[np.float64], score: float) -> Face:
    """Return a face with the points of the template: eyes, tip of the nose, corners of the mouth.

    `box` is left, top, width and height.
    """
    left, top, width, height = map(float, box)
    return Face(
        box=(left, top, width, height),
        landmarks=points,
        eyes=points[:2],
        nose=points[2],
        nose_depth=_NOSE_DEPTH,
        score=float(score),
    )


def shrunk(picture: Image, side: int) -> tuple[Image, float]:
    """Return a picture scaled to a longer side of `side`, and the factor that undoes the scaling.

    A small picture is enlarged to at most twice its size.
    """
    from PIL.Image import Resampling

    factor = min(_MAX_ENLARGEMENT, side / max(picture.size))
    if factor == 1:
        return picture, 1.0
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, Resampling.BILINEAR, reducing_gap=2.0), 1 / factor
