"""The face extractor: one document for each face of a picture, by who it is.

Faces are found, aligned by five landmarks, and embedded. A picture without a face has no documents,
which is no failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lookalike.errors import BadContent, BadSetting
from lookalike.extractors.base import Content, Extractor, Part, extract_each, unit
from lookalike.extractors.face.geometry import Face, sharpness, turned_back
from lookalike.extractors.face.models import Embedded, FaceModel
from lookalike.model import Space

if TYPE_CHECKING:
    from PIL.Image import Image

VERSION = "v1"
"""Changes with every change of alignment: it would be another space."""

MARGIN = 0.3
"""The share of a face's width and height that its picture shows around it, at each side."""

_TURNS = (90, 270, 180)
_PICTURE_SIDE = 256
_SIDES = (160, 8000)

_CLOSER = 2
"""A second look is at so many times the side of the first."""

_SMALL = 1.5
"""A face up to so many times the smallest that can be found is a reason for a second look."""


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
    `insightface`, whose models lie in `directory`; their licence forbids commercial use, so it must
    be accepted. Faces are looked for in the picture scaled to `side` pixels, and where small ones
    are found in a large picture, to twice as many; the smallest that dlib finds are 75 there.
    `dimension` is the length of the vectors of another embedder than SFace (128) or those of
    InsightFace (512). `threads` is how many threads one picture may use. Raises BadSetting, and
    MissingExtra for what is not installed.
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
    """Finds, aligns and embeds the faces of each picture.

    `face-0` is the largest face, `face-1` the next, and so on; of equal ones the upper, then the
    left one comes first. What a detector finds or misses from one version to the next are the
    smallest, so the keys of the others stay as they are.
    """

    accepts = frozenset({"image"})

    def __init__(self, model: FaceModel, *, side: int) -> None:
        self._model = model
        self._side = side

    @property
    def space(self) -> Space:
        """Model, digest of its weights and version of the alignment."""
        name = f"face_identity_extractor.{VERSION}/{self._model.name}@{self._model.digest[:8]}"
        return Space(name, self._model.dimension)

    def extract(self, contents: Sequence[Content]) -> list[tuple[Part, ...] | BadContent]:
        """Return a part for each face of each picture."""
        return extract_each(contents, self._extract_one)

    def _extract_one(self, content: Content) -> tuple[Part, ...]:
        picture = content.picture()
        turn, turned, faces = self._found(picture)
        faces.sort(key=lambda face: (-face.area, face.box[1], face.box[0]))
        embedded = self._model.embed(turned, faces)
        return tuple(
            Part(
                unit(one.vector),
                f"face-{place}",
                self._attributes(face, one, turn, picture.size),
                _portrait(turned, face),
            )
            for place, (face, one) in enumerate(zip(faces, embedded, strict=True))
        )

    def _found(self, picture: Image) -> tuple[int, Image, list[Face]]:
        """Return the faces, in the picture turned by so many degrees counter-clockwise.

        A picture is turned only where nothing sure is found in it as it is, and only for something
        sure: else the noise of four pictures would be taken for faces. Turned pictures are first
        looked at in half their size, for most pictures without a face have none either way.
        """
        faces = self._seen(picture)
        least = self._model.limits.score
        if _surest(faces) >= least:
            return 0, picture, faces
        scores = {
            turn: _surest(self._model.find(_turned(picture, turn), side=self._side // 2))
            for turn in _TURNS
        }
        best = max(_TURNS, key=lambda turn: scores[turn])
        if scores[best] < least:
            return 0, picture, faces
        turned = _turned(picture, best)
        return best, turned, self._seen(turned)

    def _seen(self, picture: Image) -> list[Face]:
        """Return the faces of a picture as it lies.

        Where some are hardly larger than what can be found, smaller ones are likely: then a large
        picture is looked at once more, less scaled down.
        """
        faces = self._model.find(picture, side=self._side)
        side, largest = self._side, max(picture.size)
        closer = min(_CLOSER * side, largest)
        small = _SMALL * self._model.smallest * largest / side
        if closer > side and any(min(face.box[2:]) < small for face in faces):
            return self._model.find(picture, side=closer)
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
        low = self._model.limits.missed(**quality)
        there = turned_back(face, turn, size)
        attributes: dict[str, Any] = {
            "box": _clipped(there, size),
            "landmarks": [[round(float(x), 1), round(float(y), 1)] for x, y in there.landmarks],
            "quality": {**quality, "roll": round(there.roll, 1)},
        }
        if low:
            attributes |= {"low_quality": True}
            attributes["quality"]["why_low"] = low
        return attributes


def _surest(faces: list[Face]) -> float:
    return max((face.score for face in faces), default=float("-inf"))


def _turned(picture: Image, turn: int) -> Image:
    from PIL.Image import Transpose

    return picture.transpose(Transpose[f"ROTATE_{turn}"])


def _clipped(face: Face, size: tuple[int, int], margin: float = 0.0) -> list[float]:
    """Return the box of a face, with a margin around it, as far as it lies in the picture."""
    left, top, width, height = face.box
    x, y = margin * width, margin * height
    right, bottom = min(size[0], left + width + x), min(size[1], top + height + y)
    left, top = max(0.0, left - x), max(0.0, top - y)
    return [round(one, 1) for one in (left, top, max(1.0, right - left), max(1.0, bottom - top))]


def _portrait(picture: Image, face: Face) -> Image:
    """Return a face with some margin, of at most 256 pixels each way."""
    from PIL.Image import Resampling

    left, top, width, height = _clipped(face, picture.size, MARGIN)
    box = (left, top, min(picture.width, left + width), min(picture.height, top + height))
    scale = min(1.0, _PICTURE_SIDE / max(width, height))
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    return picture.resize(size, Resampling.LANCZOS, box=box, reducing_gap=3.0)
