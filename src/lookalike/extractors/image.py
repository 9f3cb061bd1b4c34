"""The image extractor: one vector for a whole picture; and the preprocessing of pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import BadContent, BadSetting, NotFound
from lookalike.extractors.base import Content, Extractor, Part, extract_each, unit
from lookalike.extractors.hub.local_files import choice_option, count_option
from lookalike.extractors.onnx.bundled import ModelFile, OnnxModel, has_cuda
from lookalike.model import Space

if TYPE_CHECKING:
    from PIL.Image import Image

VERSION = "v1"
"""Changes whenever the preprocessing changes: it is then another space."""

MARGIN = 1 / 16
"""The share of a picture that is cut off at each edge; better than 0 in our measurements."""


@dataclass(frozen=True, slots=True)
class ImageModel:
    """A network for square RGB pictures: (n, 3, side, side) from 0 to 255 → (n, dimension)."""

    name: str
    file: ModelFile
    side: int
    dimension: int


MODELS = {
    model.name: model
    for model in (
        ImageModel(
            name="efficientnet-lite2",
            file=ModelFile(
                "efficientnet-lite2.onnx",
                "58723d900a38e3bc5c041d3c15c7f92fbad2a4898191971173b06cfee35dc874",
            ),
            side=260,
            dimension=1280,
        ),
    )
}
"""The models bundled with the package."""


def image_extractor(model: str = "efficientnet-lite2", *, threads: int = 1) -> Extractor:
    """Return the extractor for whole pictures.

    `threads` is the number of threads for one picture; with parallel calls, 1 is best.
    Raises NotFound for an unknown model.

    >>> image_extractor().space.dimension
    1280
    """
    if model not in MODELS:
        raise NotFound.named("image model", model, MODELS)
    return ImageExtractor(MODELS[model], threads=threads)


class ImageExtractor:
    """Resizes the inner part of each picture, whatever its shape, to the model's square.

    This distorts a wide picture, but loses nothing of it. `models/README.md` compares it with
    cropping a square and with padding.
    """

    accepts = frozenset({"image"})

    def __init__(self, model: ImageModel, *, threads: int) -> None:
        self._model = model
        self._network = OnnxModel(model.file, threads=threads)

    @property
    def space(self) -> Space:
        """The model, the digest of its weights and the version of the preprocessing."""
        name = f"image_extractor.{VERSION}/{self._model.name}@{self._model.file.sha256[:8]}"
        return Space(name, self._model.dimension)

    def uses_gpu(self) -> bool:
        """Return whether the network would run on a GPU here."""
        return has_cuda()

    def extract(self, contents: Sequence[Content]) -> list[tuple[Part, ...] | BadContent]:
        """Return one part for each picture.

        It runs one picture at a time: a batch is not faster on a CPU in our measurements, and so
        a vector cannot depend on other pictures, not even in its last bit.
        """
        return extract_each(contents, self._extract_one)

    def _extract_one(self, content: Content) -> tuple[Part, ...]:
        vectors = self._network.run(pixels=self._pixels(content)[None])
        return (Part(unit(vectors[0])),)

    def _pixels(self, content: Content) -> NDArray[np.float32]:
        """Return the network's input: float32 (3, side, side) from 0 to 255."""
        from PIL.Image import Resampling

        picture = content.picture()
        left, top = (MARGIN * length for length in picture.size)
        inner = (left, top, picture.width - left, picture.height - top)
        size = (self._model.side, self._model.side)
        square = picture.resize(size, Resampling.BICUBIC, box=inner)
        return np.asarray(square, np.float32).transpose(2, 0, 1)


# --- pixels: from picture to network input -------------------------------------------------------

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_FITS = ("crop", "squeeze")
_BICUBIC = 3  # as Pillow and preprocessor_config.json number it
_MAX_SIDE = 4096

RGB = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Pixels:
    """The preprocessing of a model: RGB of `width` × `height`, (value × `scale` − `mean`) / `std`,
    with `value` from 0 to 255.

    `fit` "squeeze" distorts the picture to that size; "crop" resizes its shorter edge to `shorter`
    and crops the center. `resample` is the number of one of Pillow's filters.
    """

    width: int
    height: int
    fit: str = "squeeze"
    shorter: int = 0
    resample: int = _BICUBIC
    scale: float = 1 / 255
    mean: RGB = _IMAGENET_MEAN
    std: RGB = _IMAGENET_STD

    def of(self, picture: Image) -> NDArray[np.float32]:
        """Return an RGB picture as float32 (3, height, width)."""
        from PIL.Image import Resampling

        box = (0.0, 0.0, float(picture.width), float(picture.height))
        if self.fit == "crop":
            share = min(picture.size) / max(self.shorter, self.width, self.height)
            left = (picture.width - share * self.width) / 2
            top = (picture.height - share * self.height) / 2
            box = (left, top, picture.width - left, picture.height - top)
        size = (self.width, self.height)
        resized = picture.resize(size, Resampling(self.resample), box=box)
        values = np.asarray(resized, np.float32) * np.float32(self.scale)
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        return np.ascontiguousarray(((values - mean) / std).transpose(2, 0, 1), np.float32)


def pixels_from(
    config: Mapping[str, Any], own: Mapping[str, Any], fixed: tuple[int, int] | None
) -> Pixels:
    """Return the preprocessing that a model needs.

    `config` is its preprocessor_config.json. `own` are the user's options side, shorter, fit, mean,
    std and scale, which take precedence. `fixed` is the width and height of the network's input, if
    it declares them. Raises BadSetting for impossible options, and if the size is unknown.
    """
    size, shorter = _size(config)
    given = own.get("side")
    if given is not None:
        given = count_option("side", given, at_most=_MAX_SIDE)
        size = (given, given)
    if fixed is not None:
        if given is not None and fixed != size:
            raise BadSetting(
                f"side cannot be {given}: the model takes {fixed[0]} × {fixed[1]}; leave it out"
            )
        size = fixed
    if size is None:
        raise BadSetting(
            "the model does not declare the size of its pictures; give side, such as 224"
        )
    if own.get("shorter") is not None:
        shorter = count_option("shorter", own["shorter"], at_most=_MAX_SIDE)
    crops = bool(config.get("do_center_crop", shorter > 0)) or own.get("shorter") is not None
    fit = "crop" if crops else "squeeze"
    if own.get("fit") is not None:
        fit = choice_option("fit", own["fit"], _FITS)
    scaled = config.get("do_rescale", True)
    scale = config.get("rescale_factor", 1 / 255) if scaled else 1.0
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if config.get("do_normalize", True):
        mean, std = config.get("image_mean", _IMAGENET_MEAN), config.get("image_std", _IMAGENET_STD)
    return Pixels(
        *size,
        fit,
        (shorter or max(size)) if fit == "crop" else 0,
        config.get("resample", _BICUBIC),
        _number("scale", own.get("scale"), scale),
        _rgb("mean", own.get("mean"), mean),
        _rgb("std", own.get("std"), std),
    )


def _size(config: Mapping[str, Any]) -> tuple[tuple[int, int] | None, int]:
    """Return width and height, and the shorter edge before cropping, from a config."""
    shorter = 0
    size = _edges(config.get("size"))
    crop = _edges(config.get("crop_size")) if config.get("do_center_crop") else None
    declared = config.get("size")
    if isinstance(declared, Mapping) and "shortest_edge" in declared:
        shorter = int(declared["shortest_edge"])
    elif crop is not None and size is not None:
        shorter = min(size)
    if not config.get("do_resize", True):
        shorter = 0
    return crop or size or ((shorter, shorter) if shorter else None), shorter


def _edges(declared: Any) -> tuple[int, int] | None:
    if isinstance(declared, int):
        return declared, declared
    if isinstance(declared, Mapping) and {"width", "height"} <= declared.keys():
        return int(declared["width"]), int(declared["height"])
    return None


def _number(option: str, given: Any, default: Any) -> float:
    value = default if given is None else given
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadSetting(f"{option} cannot be {value!r}; give a number")
    return float(value)


def _rgb(option: str, given: Any, default: Any) -> RGB:
    value = default if given is None else given
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 3:
        raise BadSetting(f"{option} cannot be {value!r}; give three numbers, for red, green, blue")
    red, green, blue = (_number(option, number, 0.0) for number in value)
    if option == "std" and not all((red, green, blue)):
        raise BadSetting(f"std cannot be {value!r}: it is a divisor; give numbers that are not 0")
    return red, green, blue
