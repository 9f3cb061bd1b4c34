"""Faces with two ONNX files in a directory: a detector like YuNet, an embedder like SFace.

Both are in OpenCV's model zoo (github.com/opencv/opencv_zoo): `face_detection_yunet` under MIT,
`face_recognition_sface` under Apache-2.0. The conventions are those of OpenCV's `FaceDetectorYN`
and `FaceRecognizerSF` (modules/objdetect).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import BadSetting
from lookalike.extractors.face.geometry import Face, aligned, suppressed
from lookalike.extractors.face.models import (
    TEMPLATE,
    TEMPLATE_SIDE,
    Embedded,
    QualityLimits,
    five_point_face,
    shrunk,
)
from lookalike.extractors.onnx.bundled import open_session

if TYPE_CHECKING:
    from onnxruntime import InferenceSession  # has no stubs
    from PIL.Image import Image

DETECTOR, EMBEDDER = "detector.onnx", "embedder.onnx"

_STRIDES = (8, 16, 32)
_SQUARE = 32
"""The sides of the detector's input are multiples of its largest stride."""

_OUTPUT_SIZES = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
"""The detector's outputs for each stride, and their numbers of values per cell."""

_SCORE = 0.6
_MAX_OVERLAP = 0.3


class OnnxFaces:
    """Detects and embeds faces with the files `detector.onnx` and `embedder.onnx`.

    The detector takes BGR (1, 3, height, width) from 0 to 255 and returns, for the strides 8, 16
    and 32, `cls`, `obj`, `bbox` and `kps` of each cell; for a network of fixed input size, pictures
    are scaled to fit. The embedder takes RGB (1, 3, 112, 112) from 0 to 255.
    """

    name = "onnx"
    smallest = 12.0
    limits = QualityLimits(size=32, sharpness=0.008, yaw=60, score=0.8)

    def __init__(self, directory: str, *, threads: int, dimension: int) -> None:
        folder = Path(directory)
        for name in (DETECTOR, EMBEDDER):
            if not (folder / name).is_file():
                raise BadSetting(
                    f"model={directory!r} is neither dlib nor insightface nor a directory with "
                    f"{DETECTOR} and {EMBEDDER}: {name} is missing"
                )
        self.dimension = dimension
        self._detector = FaceNetwork(folder / DETECTOR, threads=threads)
        self._embedder = FaceNetwork(folder / EMBEDDER, threads=threads)

    @cached_property
    def digest(self) -> str:
        """Return the digest of the embedder; the detector does not change the vectors' space."""
        return self._embedder.sha256()

    def find(self, picture: Image, *, side: int) -> list[Face]:
        """Return the faces of an upright RGB picture, in its pixels."""
        width, height = self._detector.picture_size() or (None, None)
        if width is None or height is None:
            small, factor = shrunk(picture, side)
            width, height = (-(-length // _SQUARE) * _SQUARE for length in small.size)
        else:
            scale = min(width / picture.width, height / picture.height)
            small, factor = shrunk(picture, max(1, int(scale * max(picture.size))))
        pixels = np.zeros((1, 3, height, width), np.float32)
        pixels[0, :, : small.height, : small.width] = _channels(np.asarray(small))[::-1]
        found = decoded(self._detector.run(pixels), width=width, height=height)
        return [face.scaled(factor) for face in suppressed(found, _MAX_OVERLAP)]

    def embed(self, picture: Image, faces: list[Face]) -> Iterator[Embedded]:
        """Yield for each face its vector and the aligned RGB square (112, 112, 3)."""
        for face in faces:
            square = aligned(picture, face.landmarks, TEMPLATE, TEMPLATE_SIDE)
            vector = next(iter(self._embedder.run(_channels(square)[None]).values())).ravel()
            if len(vector) != self.dimension:
                raise BadSetting(
                    f"{EMBEDDER} gives vectors of {len(vector)} numbers, not {self.dimension}; "
                    f"make the collection with the option dimension={len(vector)}"
                )
            yield Embedded(vector, square)


class FaceNetwork:
    """A network in an ONNX file with one input; loaded at first use, safe for threads."""

    def __init__(self, path: Path, *, threads: int) -> None:
        self._path = path
        self._threads = threads
        self._session: InferenceSession | None = None
        self._lock = Lock()

    def sha256(self) -> str:
        """Return the digest of the file, hexadecimal."""
        with self._path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def picture_size(self) -> tuple[int, int] | None:
        """Return the width and height of its input; None if they are not fixed."""
        height, width = self._loaded().get_inputs()[0].shape[2:]
        return (width, height) if isinstance(width, int) and isinstance(height, int) else None

    def run(self, pixels: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return its outputs by name for pixels (1, 3, height, width)."""
        session = self._loaded()
        names = [output.name for output in session.get_outputs()]
        inputs = {session.get_inputs()[0].name: pixels}
        return dict(zip(names, session.run(names, inputs), strict=True))

    def _loaded(self) -> InferenceSession:
        with self._lock:
            if self._session is None:
                self._session = self._open()
            return self._session

    def _open(self) -> InferenceSession:
        from onnxruntime.capi import onnxruntime_pybind11_state as errors

        refused = (errors.InvalidProtobuf, errors.InvalidGraph, errors.Fail, errors.NotImplemented)
        try:
            return open_session(self._path.read_bytes(), threads=self._threads)
        except refused as error:
            raise BadSetting(
                f"{self._path.name} is not an ONNX model that runs: {error}"
            ) from error


def decoded(outputs: Mapping[str, NDArray[np.float32]], *, width: int, height: int) -> list[Face]:
    """Return the faces in YuNet's outputs, before non-maximum suppression.

    A cell (row, column) of stride s has the score √(cls · obj), each clipped to 0…1; the center of
    its box is ((column, row) + bbox[:2]) · s, width and height are exp(bbox[2:]) · s, and its
    points are ((column, row) + kps) · s.
    """
    found = []
    for stride in _STRIDES:
        rows, columns = height // stride, width // stride
        cls, obj, bbox, kps = (
            _output(outputs, f"{kind}_{stride}").reshape(rows * columns, size)
            for kind, size in _OUTPUT_SIZES.items()
        )
        scores = np.sqrt(np.clip(cls[:, 0], 0, 1) * np.clip(obj[:, 0], 0, 1))
        for cell in np.flatnonzero(scores >= _SCORE):
            corner = np.array([cell % columns, cell // columns], np.float64)
            center = (corner + bbox[cell, :2]) * stride
            size = np.exp(bbox[cell, 2:].astype(np.float64)) * stride
            points = (corner + kps[cell].reshape(5, 2)) * stride
            found.append(five_point_face((*(center - size / 2), *size), points, scores[cell]))
    return found


def _output(outputs: Mapping[str, NDArray[np.float32]], name: str) -> NDArray[np.float32]:
    if name not in outputs:
        raise BadSetting(
            f"{DETECTOR} has no output {name!r}, so it is not like YuNet; its outputs are "
            f"{', '.join(sorted(outputs))}"
        )
    return outputs[name]


def _channels(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return RGB (height, width, 3) as float32 (3, height, width)."""
    return pixels.astype(np.float32).transpose(2, 0, 1)
