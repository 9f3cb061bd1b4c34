"""The region extractor: one vector for each region of a picture, given or found by a detector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lookalike.content.boxes import Box, clipped, corners, from_corners, overlaps, read_box
from lookalike.errors import BadContent, BadSetting, NotFound
from lookalike.extractors.base import Content, Extractor, Part, extract_each, unit
from lookalike.extractors.image import MODELS, ImageModel
from lookalike.extractors.onnx.bundled import ModelFile, OnnxModel, has_cuda
from lookalike.model import Space

if TYPE_CHECKING:
    from PIL.Image import Image


# --- the built-in detector -----------------------------------------------------------------------

# It is NanoDet-g (github.com/RangiLyu/nanodet), which knows the 80 classes of COCO. For each point
# of three grids it gives the probability that the center of each class is there, and the distance
# to each of the four edges: as a distribution over 0 … 10 strides, of which the mean is used (Li et
# al., Generalized Focal Loss, 2020, equation 6).

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
"""Non-maximum suppression: of two boxes with a larger IoU, of any class, the lower score goes."""

_CANDIDATES = 1000


@dataclass(frozen=True, slots=True)
class Detected:
    """A detection: its box in pixels of the picture, the name of its class, and its score."""

    box: Box
    name: str
    score: float


class Detector:
    """Detects objects of 80 classes; safe for threads."""

    def __init__(self, *, threads: int = 1) -> None:
        self._network = OnnxModel(FILE, threads=threads)

    def detect(self, picture: Image, *, min_score: float, limit: int) -> list[Detected]:
        """Return at most `limit` detections with `min_score` (0 … 1) or more, best first."""
        pixels, scale, left, top = _fitted(picture)
        heads = self._network.run(pixels=pixels[None])[0].astype(np.float64)
        boxes, scores, classes = _decoded(heads, min_score)
        boxes = (boxes - [left, top, left, top]) / scale
        boxes = np.clip(boxes, 0, [picture.width, picture.height] * 2)
        visible = np.all(boxes[:, 2:] - boxes[:, :2] >= 1, axis=1)
        boxes, scores, classes = boxes[visible], scores[visible], classes[visible]
        return [
            Detected(
                from_corners(*np.round(boxes[place], 1).tolist()),
                CLASSES[classes[place]],
                round(float(scores[place]), 4),
            )
            for place in _suppressed(boxes, limit)
        ]


def _fitted(picture: Image) -> tuple[NDArray[np.float32], float, int, int]:
    """Return float32 (3, 416, 416) from 0 to 255, its scale, and the picture's left and top there.

    As in training, the picture keeps its aspect ratio and has black margins.
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
    """Return corners (n, 4) in input pixels, scores (n,) and classes (n,), highest score first."""
    logits = heads[:, : len(CLASSES)]
    scores = 1 / (1 + np.exp(-logits.max(axis=1)))
    order = np.argsort(-scores, kind="stable")[:_CANDIDATES]
    chosen = order[scores[order] >= min_score]
    steps = heads[chosen, len(CLASSES) :].reshape(-1, 4, _STEPS)
    shares = np.exp(steps - steps.max(axis=2, keepdims=True))
    shares /= shares.sum(axis=2, keepdims=True)
    centers, strides = _grids()
    distances = (shares @ np.arange(_STEPS)) * strides[chosen, None]
    boxes = np.hstack([centers[chosen] - distances[:, :2], centers[chosen] + distances[:, 2:]])
    return boxes, scores[chosen], logits[chosen].argmax(axis=1)


def _grids() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the centers (3549, 2), as x and y, and the strides (3549,) of all grid points."""
    centers, strides = [], []
    for stride in _STRIDES:
        along = (np.arange(SIDE // stride) + 0.5) * stride
        across, down = np.meshgrid(along, along)
        centers.append(np.stack([across.ravel(), down.ravel()], axis=1))
        strides.append(np.full(across.size, float(stride)))
    return np.concatenate(centers), np.concatenate(strides)


def _suppressed(boxes: NDArray[np.float64], limit: int) -> list[int]:
    """Return the indices of the boxes, highest score first, that non-maximum suppression keeps."""
    kept: list[int] = []
    left = np.arange(len(boxes))
    while len(left) and len(kept) < limit:
        first, rest = int(left[0]), left[1:]
        kept.append(first)
        left = rest[overlaps(boxes[first], boxes[rest]) <= _OVERLAP]
    return kept


# --- the extractor -------------------------------------------------------------------------------

VERSION = "v1"
"""Changes whenever the preprocessing changes: it is then another space."""

CONTEXT = 0.0
"""The share of a box's width and height added at each edge; measured in `models/README.md`."""

MIN_SCORE = 0.35
MAX_REGIONS = 100

_MAX_CONTEXT = 4.0
_ATTRIBUTES = ("detected", "score")
"""The attributes of a drawn or imported region, besides its box."""


def region_extractor(
    model: str = "efficientnet-lite2",
    *,
    context: float = CONTEXT,
    min_score: float = MIN_SCORE,
    max_regions: int = MAX_REGIONS,
    suggest: bool = False,
    threads: int = 1,
) -> Extractor:
    """Return the extractor for regions of pictures.

    It uses the `regions` in an object's metadata (imported or drawn), if there are any. Else a
    detector proposes up to `max_regions` with at least `min_score` (0 … 1). `context` is the share
    of a box's width and height that is added at each edge before embedding. With `suggest` the
    detected class becomes a label suggestion. `threads` is the number of threads for one picture.

    Raises NotFound for an unknown model, BadSetting for an impossible value.

    >>> region_extractor(context=0.25).space.name
    'region_extractor.v1/efficientnet-lite2-context25@58723d90'
    """
    if model not in MODELS:
        raise NotFound.named("image model", model, MODELS)
    _check("context", context, 0, _MAX_CONTEXT)
    _check("min_score", min_score, 0, 1)
    _check("max_regions", max_regions, 1, 1000)
    if not isinstance(suggest, bool):
        raise BadSetting(f"suggest={suggest!r} is neither true nor false")
    if round(context * 100) != context * 100:
        raise BadSetting(f"context={context!r} is not a whole percentage; give 0.25, not 0.253")
    return RegionExtractor(
        MODELS[model],
        context=context,
        min_score=min_score,
        max_regions=int(max_regions),
        threads=threads,
    )


class RegionExtractor:
    """Crops each region with its context and resizes it to the model's square.

    The picture is decoded once for all its regions. A region that cannot be cropped fails alone.
    """

    accepts = frozenset({"image"})

    def __init__(
        self,
        model: ImageModel,
        *,
        context: float,
        min_score: float,
        max_regions: int,
        threads: int,
    ) -> None:
        self._model = model
        self._context = context
        self._min_score = min_score
        self._max_regions = max_regions
        self._network = OnnxModel(model.file, threads=threads)
        self._detector = Detector(threads=threads)

    @property
    def space(self) -> Space:
        """The model, the context, the digest of the weights and the preprocessing's version."""
        model = f"{self._model.name}-context{round(self._context * 100)}"
        digest = self._model.file.sha256[:8]
        return Space(f"region_extractor.{VERSION}/{model}@{digest}", self._model.dimension)

    def uses_gpu(self) -> bool:
        """Return whether the network would run on a GPU here."""
        return has_cuda()

    def extract(self, contents: Sequence[Content]) -> list[tuple[Part, ...] | BadContent]:
        """Return one part for each region; none for a picture without regions.

        The key is the region's id, or `region-0`, `region-1` … for detections, highest score first.
        Attributes: `box`, `picture_size` ([width, height]), and for detections the class
        (`detected`) and its `score`. Regions that are not boxes inside the picture are in
        `content.refused`, by key.
        """
        return extract_each(contents, self._extract_one)

    def _extract_one(self, content: Content) -> tuple[Part, ...]:
        picture = content.picture()
        if content.regions is None:
            found = self._proposed(picture)
        else:
            found = list(_given(content, picture))
        size = list(picture.size)
        return tuple(
            self._part(picture, key, {**attributes, "picture_size": size})
            for key, attributes in found
        )

    def _proposed(self, picture: Image) -> list[tuple[str, dict[str, Any]]]:
        found = self._detector.detect(picture, min_score=self._min_score, limit=self._max_regions)
        return [
            (
                f"region-{number}",
                {"box": list(one.box), "detected": one.name, "score": one.score},
            )
            for number, one in enumerate(found)
        ]

    def _part(self, picture: Image, key: str, attributes: Mapping[str, Any]) -> Part:
        from PIL.Image import Resampling

        outer = with_context(tuple(attributes["box"]), self._context, picture.size)
        size = (self._model.side, self._model.side)
        square = picture.resize(size, Resampling.BICUBIC, box=outer)
        vectors = self._network.run(pixels=np.asarray(square, np.float32).transpose(2, 0, 1)[None])
        return Part(unit(vectors[0]), key, attributes)


def with_context(
    box: Box, context: float, size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Return the corners of a box with context, clipped to a picture of this size.

    >>> with_context((10, 10, 20, 40), 0.25, (100, 50))
    (5.0, 0.0, 35.0, 50.0)
    """
    left, top, width, height = box
    across, down = context * width, context * height
    outer = from_corners(left - across, top - down, left + width + across, top + height + down)
    return corners(clipped(outer, *size))


def _given(content: Content, picture: Image) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield key and attributes of the regions that can be cropped; refuse the others."""
    seen: set[str] = set()
    for number, region in enumerate(content.regions or ()):
        key = str(region.get("id") or f"region-{number}")
        try:
            if key in seen:
                raise BadContent(f"there are two regions {key!r}; each one needs its own id")
            seen.add(key)
            box = clipped(read_box(region.get("box")), *picture.size)
        except BadContent as error:
            content.refuse(key, str(error))
        else:
            attributes = {
                name: region[name] for name in _ATTRIBUTES if region.get(name) is not None
            }
            yield key, {"box": list(box), **attributes}


def _check(name: str, value: object, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise BadSetting(f"{name}={value!r} is impossible; give a number from {low} to {high}")
