"""Faces with InsightFace's models and loader, from the extra `insightface`.

The package is MIT; its well-known models are for non-commercial research only, so the user must
accept their licence. Nothing is downloaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import BadSetting, MissingExtra
from lookalike.extractors.face.geometry import Face, aligned
from lookalike.extractors.face.models import (
    TEMPLATE,
    TEMPLATE_SIDE,
    Embedded,
    QualityLimits,
    five_point_face,
)

if TYPE_CHECKING:
    from PIL.Image import Image

_MULTIPLE = 32


class InsightFaces:
    """Detects and embeds faces with the models in a directory, such as `buffalo_l`.

    InsightFace's loader finds out what each file is; the alignment is ours, to the same template.
    """

    name = "insightface"
    smallest = 12.0
    limits = QualityLimits(size=32, sharpness=0.008, yaw=60, score=0.6)

    def __init__(self, directory: str, *, dimension: int, licence_accepted: bool) -> None:
        if not licence_accepted:
            raise BadSetting(
                "the models of InsightFace are licensed for non-commercial research only "
                "(github.com/deepinsight/insightface); give accept_non_commercial_licence=True if "
                "that is your use, or use model='dlib'"
            )
        if find_spec("insightface") is None:
            raise MissingExtra.named("model='insightface'", "insightface")
        self._folder = Path(directory)
        if not directory or not self._files():
            raise BadSetting(
                f"directory={directory!r} has no .onnx files; give the directory of a model pack "
                "of InsightFace, unpacked, such as buffalo_l"
            )
        self.dimension = dimension
        self._app: Any = None
        self._lock = Lock()

    @cached_property
    def digest(self) -> str:
        """Return the digest of all files of the pack: the loader decides which is the embedder."""
        digest = hashlib.sha256()
        for path in self._files():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def find(self, picture: Image, *, side: int) -> list[Face]:
        """Return the faces of an upright RGB picture, in its pixels."""
        detector = self._loaded().models["detection"]
        square = max(_MULTIPLE, side // _MULTIPLE * _MULTIPLE)
        boxes, points = detector.detect(_bgr(np.asarray(picture)), input_size=(square, square))
        return [_face(box, five) for box, five in zip(boxes, points, strict=True)]

    def embed(self, picture: Image, faces: list[Face]) -> Iterator[Embedded]:
        """Yield for each face its vector and an aligned RGB square (112, 112, 3)."""
        recognition = self._loaded().models["recognition"]
        for face in faces:
            square = aligned(picture, face.landmarks, TEMPLATE, TEMPLATE_SIDE)
            vector = recognition.get_feat(_bgr(square)).astype(np.float32).ravel()
            if len(vector) != self.dimension:
                raise BadSetting(
                    f"the model gives vectors of {len(vector)} numbers, not {self.dimension}; "
                    f"make the collection with the option dimension={len(vector)}"
                )
            yield Embedded(vector, square)

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.onnx"))

    def _loaded(self) -> Any:
        """Return InsightFace's FaceAnalysis with a detector and an embedder."""
        with self._lock:
            if self._app is None:
                self._app = self._open()
            return self._app

    def _open(self) -> Any:
        from insightface.app import FaceAnalysis

        tasks = ["detection", "recognition"]
        try:
            app = FaceAnalysis(str(self._folder.resolve()), allowed_modules=tasks)
        except (AssertionError, RuntimeError, ValueError) as error:
            raise BadSetting(
                f"InsightFace cannot load {str(self._folder)!r}: {error or 'no detector in it'}"
            ) from error
        missing = [task for task in tasks if task not in app.models]
        if missing:
            raise BadSetting(f"{str(self._folder)!r} has no model for {' and '.join(missing)}")
        app.prepare(ctx_id=0)
        return app


def _face(box: NDArray[np.float32], points: NDArray[np.float32]) -> Face:
    left, top, right, bottom, score = map(float, box)
    return five_point_face(
        (left, top, right - left, bottom - top), points.astype(np.float64), score
    )


def _bgr(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(pixels[:, :, ::-1])
