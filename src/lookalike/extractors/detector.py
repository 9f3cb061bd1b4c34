"""The built-in detector: what it takes for a thing in a picture, where, and how surely.

It is NanoDet-g (github.com/RangiLyu/nanodet), which knows the 80 classes of COCO. A place on one of
three grids says how likely each class has its middle there, and how far away each of the four edges
is: as a distribution over 0 … 10 strides, whose mean counts (Li et al., Generalized Focal Loss,
2020, equation 6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lookalike.content.boxes import Box, from_corners, overlaps
from lookalike.extractors.onnx.bundled import ModelFile, OnnxModel

if TYPE_CHECKING:
    from PIL.Image import Image

FILE = ModelFile(
    "nanodet-g.onnx", "00212e88bf8edde5aaa0bd4b8be97dd9e80cc0f4924c052ba775da53a315a68e"
)

CLASSES = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
    *("traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat"),
    *("dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack"),
    *("umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball"),
    *("kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket"),
    *("bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple"),
    *("sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair"),
    *("couch", "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote"),
    *("keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book"),
    *("clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush"),
)
"""The classes of COCO, in the order of the network's outputs."""

SIDE = 416
_STRIDES = (8, 16, 32)
_STEPS = 11
_OVERLAP = 0.6
"""Of two boxes that overlap more, the less sure one goes, whatever its class."""

_CANDIDATES = 1000


@dataclass(frozen=True, slots=True)
class Detected:
    """A thing that was found: its box in pixels of the picture, its class, and how sure it is."""

    box: Box
    name: str
    score: float


class Detector:
    """Finds things of 80 classes. May be used from several threads at once."""

    def __init__(self, *, threads: int = 1) -> None:
        self._network = OnnxModel(FILE, threads=threads)

    def detect(self, picture: Image, *, min_score: float, limit: int) -> list[Detected]:
        """Return at most `limit` things of at least `min_score` (0 … 1), the surest first."""
        pixels, scale, left, top = _fitted(picture)
        heads = self._network.run(pixels=pixels[None])[0].astype(np.float64)
        boxes, scores, classes = _decoded(heads, min_score)
        boxes = (boxes - [left, top, left, top]) / scale
        boxes = np.clip(boxes, 0, [picture.width, picture.height] * 2)
        whole = np.all(boxes[:, 2:] - boxes[:, :2] >= 1, axis=1)
        boxes, scores, classes = boxes[whole], scores[whole], classes[whole]
        return [
            Detected(
                from_corners(*np.round(boxes[place], 1).tolist()),
                CLASSES[classes[place]],
                round(float(scores[place]), 4),
            )
            for place in _distinct(boxes, limit)
        ]


def _fitted(picture: Image) -> tuple[NDArray[np.float32], float, int, int]:
    """Return float32 (3, 416, 416) from 0 to 255, how it was scaled, and where the picture begins.

    As in training, the picture keeps its shape and has black margins.
    """
    from PIL.Image import Resampling

    scale = SIDE / max(picture.size)
    width, height = (max(round(length * scale), 1) for length in picture.size)
    left, top = (SIDE - width) // 2, (SIDE - height) // 2
    small = picture.resize((width, height), Resampling.BILINEAR)
    canvas = np.zeros((SIDE, SIDE, 3), np.float32)
    canvas[top : top + height, left : left + width] = np.asarray(small)
    return canvas.transpose(2, 0, 1), scale, left, top


def _decoded(
    heads: NDArray[np.float64], min_score: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return corners (n, 4) in pixels of the input, scores (n,) and classes (n,), surest first."""
    logits = heads[:, : len(CLASSES)]
    scores = 1 / (1 + np.exp(-logits.max(axis=1)))
    order = np.argsort(-scores, kind="stable")[:_CANDIDATES]
    chosen = order[scores[order] >= min_score]
    steps = heads[chosen, len(CLASSES) :].reshape(-1, 4, _STEPS)
    shares = np.exp(steps - steps.max(axis=2, keepdims=True))
    shares /= shares.sum(axis=2, keepdims=True)
    middles, strides = _grids()
    reach = (shares @ np.arange(_STEPS)) * strides[chosen, None]
    boxes = np.hstack([middles[chosen] - reach[:, :2], middles[chosen] + reach[:, 2:]])
    return boxes, scores[chosen], logits[chosen].argmax(axis=1)


def _grids() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the middles (3549, 2), x before y, and the strides (3549,) of all places."""
    middles, strides = [], []
    for stride in _STRIDES:
        along = (np.arange(SIDE // stride) + 0.5) * stride
        across, down = np.meshgrid(along, along)
        middles.append(np.stack([across.ravel(), down.ravel()], axis=1))
        strides.append(np.full(across.size, float(stride)))
    return np.concatenate(middles), np.concatenate(strides)


def _distinct(boxes: NDArray[np.float64], limit: int) -> list[int]:
    """Return the places of boxes, surest first, that overlap with no surer one that stays."""
    kept: list[int] = []
    left = np.arange(len(boxes))
    while len(left) and len(kept) < limit:
        first, rest = int(left[0]), left[1:]
        kept.append(first)
        left = rest[overlaps(boxes[first], boxes[rest]) <= _OVERLAP]
    return kept
