"""What finds and embeds faces: the interface of the models, and what they share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from lookalike.extractors.face_geometry import Face

if TYPE_CHECKING:
    from PIL.Image import Image

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

    def find(self, picture: Image) -> list[Face]:
        """Return the faces of an upright RGB picture, in its pixels."""

    def embed(self, picture: Image, faces: list[Face]) -> Iterator[Embedded]:
        """Yield what each face of a picture gives, in order."""


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
