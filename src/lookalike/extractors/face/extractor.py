"""The face extractor: one document for each face of a picture, embedded by identity.

It detects faces, aligns them by five landmarks, and embeds them. A picture without a face has no
documents, which is not an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lookalike.errors import BadContent, BadSetting
from lookalike.extractors.base import Content, Extractor, Part, extract_each, unit
from lookalike.extractors.face.geometry import Face, rotated_back, sharpness
from lookalike.extractors.face.models import Embedded, FaceModel
from lookalike.model import Space

if TYPE_CHECKING:
    from PIL.Image import Image

VERSION = "v1"
"""Changes whenever the alignment changes: it is then another space."""

MARGIN = 0.3
"""The margin of a face's thumbnail on each side, as a share of the face's width and height."""

_TURNS = (90, 270, 180)
_PICTURE_SIDE = 256
_SIDES = (160, 8000)

_ZOOM = 2
"""The second detection scales the picture to this many times the side of the first."""

_SMALL = 1.5
"""A face less than this many times the smallest detectable one is a reason to detect again."""


def face_identity_extractor(
    model: str = "dlib",
    *,
    side: int = 1600,
    threads: int = 1,
    dimension: int = 0,
    directory: str = "",
    accept_non_commercial_licence: bool = False,
) -> Extractor:
    """Return the extractor for faces.

    `model` is `dlib`, a directory with `detector.onnx` (YuNet) and `embedder.onnx` (SFace), or
    `insightface`, whose models are in `directory`; their licence forbids commercial use, so you
    must accept it. Faces are detected in the picture scaled to `side` pixels, and again at twice
    that if there are small ones in a large picture; the smallest that dlib finds have 75 pixels
    there. `dimension` is the length of vectors, if the embedder is another one than SFace (128) or
    those of InsightFace (512). `threads` is the number of threads for one picture. Raises
    BadSetting, and MissingExtra if a package is not installed.
    """
    if not _SIDES[0] <= side <= _SIDES[1]:
        raise BadSetting(f"side={side} must be from {_SIDES[0]} to {_SIDES[1]} pixels")
    if model == "dlib":
        from lookalike.extractors.face.dlib import DlibFaces

        return FaceExtractor(DlibFaces(), side=side)
    if model == "insightface":
        from lookalike.extractors.face.insightface import InsightFaces

        accepted = accept_non_commercial_licence
        models = InsightFaces(directory, dimension=dimension or 512, licence_accepted=accepted)
        return FaceExtractor(models, side=side)

    from lookalike.extractors.face.onnx import OnnxFaces

    return FaceExtractor(OnnxFaces(model, threads=threads, dimension=dimension or 128), side=side)


class FaceExtractor:
    """Detects, aligns and embeds the faces of each picture.

    `face-0` is the largest face, `face-1` the next, and so on; of equal ones the upper, then the
    left one comes first. Versions of a detector differ in the smallest faces, so the keys of the
    others stay the same.
    """

    accepts = frozenset({"image"})

    def __init__(self, model: FaceModel, *, side: int) -> None:
        self._model = model
        self._side = side

    @property
    def space(self) -> Space:
        """The model, the digest of its weights and the version of the alignment."""
        name = f"face_identity_extractor.{VERSION}/{self._model.name}@{self._model.digest[:8]}"
        return Space(name, self._model.dimension)

    def extract(self, contents: Sequence[Content]) -> list[tuple[Part, ...] | BadContent]:
        """Return one part for each face of each picture."""
        return extract_each(contents, self._extract_one)

    def _extract_one(self, content: Content) -> tuple[Part, ...]:
        picture = content.picture()
        turn, turned, faces = self._detect(picture)
        faces.sort(key=lambda face: (-face.area, face.box[1], face.box[0]))
        embedded = self._model.embed(turned, faces)
        return tuple(
            Part(
                unit(result.vector),
                f"face-{place}",
                self._attributes(face, result, turn, picture.size),
                _thumbnail(turned, face),
            )
            for place, (face, result) in enumerate(zip(faces, embedded, strict=True))
        )

    def _detect(self, picture: Image) -> tuple[int, Image, list[Face]]:
        """Return the degrees counter-clockwise by which the picture was rotated, the rotated
        picture, and the faces in it.

        It is rotated only if no face has a sufficient score as it is, and one has after the
        rotation: else the noise of four pictures would count as faces. Rotated pictures are first
        searched at half the size, because most pictures without a face have none in any rotation.
        """
        faces = self._detect_upright(picture)
        min_score = self._model.limits.score
        if _best_score(faces) >= min_score:
            return 0, picture, faces
        scores = {
            turn: _best_score(self._model.find(_rotated(picture, turn), side=self._side // 2))
            for turn in _TURNS
        }
        best = max(_TURNS, key=lambda turn: scores[turn])
        if scores[best] < min_score:
            return 0, picture, faces
        rotated = _rotated(picture, best)
        return best, rotated, self._detect_upright(rotated)

    def _detect_upright(self, picture: Image) -> list[Face]:
        """Return the faces of a picture, without rotating it.

        If some are hardly larger than the smallest detectable face, smaller ones are likely: then a
        large picture is searched again at a larger scale.
        """
        faces = self._model.find(picture, side=self._side)
        side, largest = self._side, max(picture.size)
        larger_side = min(_ZOOM * side, largest)
        small = _SMALL * self._model.smallest * largest / side
        if larger_side > side and any(min(face.box[2:]) < small for face in faces):
            return self._model.find(picture, side=larger_side)
        return faces

    def _attributes(
        self, face: Face, embedded: Embedded, turn: int, size: tuple[int, int]
    ) -> dict[str, Any]:
        quality = {
            "size": round(min(face.box[2:]), 1),
            "sharpness": round(sharpness(embedded.square), 4),
            "yaw": round(face.yaw, 1),
            "score": round(face.score, 3),
        }
        missed = self._model.limits.missed(**quality)
        original = rotated_back(face, turn, size)
        attributes: dict[str, Any] = {
            "box": _clipped(original, size),
            "landmarks": [[round(float(x), 1), round(float(y), 1)] for x, y in original.landmarks],
            "quality": {**quality, "roll": round(original.roll, 1)},
        }
        if missed:
            attributes |= {"low_quality": True}
            attributes["quality"]["why_low"] = missed
        return attributes


def _best_score(faces: list[Face]) -> float:
    return max((face.score for face in faces), default=float("-inf"))


def _rotated(picture: Image, turn: int) -> Image:
    from PIL.Image import Transpose

    return picture.transpose(Transpose[f"ROTATE_{turn}"])


def _clipped(face: Face, size: tuple[int, int], margin: float = 0.0) -> list[float]:
    """Return the box of a face, with a margin around it, clipped to the picture."""
    left, top, width, height = face.box
    x, y = margin * width, margin * height
    right, bottom = min(size[0], left + width + x), min(size[1], top + height + y)
    left, top = max(0.0, left - x), max(0.0, top - y)
    width, height = max(1.0, right - left), max(1.0, bottom - top)
    return [round(number, 1) for number in (left, top, width, height)]


def _thumbnail(picture: Image, face: Face) -> Image:
    """Return a face with a margin, at most 256 × 256 pixels."""
    from PIL.Image import Resampling

    left, top, width, height = _clipped(face, picture.size, MARGIN)
    box = (left, top, min(picture.width, left + width), min(picture.height, top + height))
    scale = min(1.0, _PICTURE_SIDE / max(width, height))
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    return picture.resize(size, Resampling.LANCZOS, box=box, reducing_gap=3.0)
