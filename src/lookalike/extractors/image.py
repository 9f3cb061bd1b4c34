"""The image extractor: one vector for a whole picture, by what it shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import BadContent, BadSetting, NotFound
from lookalike.extractors.base import Content, Extractor, Part, extract_each, unit
from lookalike.extractors.hub.local_files import a_choice, a_count
from lookalike.extractors.onnx.bundled import ModelFile, OnnxModel, cuda_is_there
from lookalike.model import Space

if TYPE_CHECKING:
    from PIL.Image import Image

VERSION = "v1"
"""Changes with every change of preprocessing: it would be another space."""

MARGIN = 1 / 16
"""The share of a picture that is left out at each edge: measured, better than none."""


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
"""The models that the package carries."""


def image_extractor(model: str = "efficientnet-lite2", *, threads: int = 1) -> Extractor:
    """Return the extractor for whole pictures.

    `threads` is how many threads one picture may use; with several calls side by side, 1 is best.
    Raises NotFound for an unknown model.

    >>> image_extractor().space.dimension
    1280
    """
    if model not in MODELS:
        raise NotFound.named("image model", model, MODELS)
    return ImageExtractor(MODELS[model], threads=threads)


class ImageExtractor:
    """Squeezes the inner part of each picture, whatever its shape, to the model's square.

    Squeezing distorts, but loses nothing of a wide picture. Measured against cutting out a square
    and against padding: `models/README.md`.
    """

    accepts = frozenset({"image"})

    def __init__(self, model: ImageModel, *, threads: int) -> None:
        self._model = model
        self._network = OnnxModel(model.file, threads=threads)

    @property
    def space(self) -> Space:
        """Model, digest of its weights and version of its preprocessing."""
        name = f"image_extractor.{VERSION}/{self._model.name}@{self._model.file.sha256[:8]}"
        return Space(name, self._model.dimension)

    def uses_gpu(self) -> bool:
        """Return whether its network would run on a GPU here."""
        return cuda_is_there()

    def extract(self, contents: Sequence[Content]) -> list[tuple[Part, ...] | BadContent]:
        """Return one part for each picture.

        One picture at a time: measured, a batch is no faster on a processor, and this way a vector
        cannot depend on its neighbours, not in its last bit.
        """
        return extract_each(contents, self._extract_one)

    def _extract_one(self, content: Content) -> tuple[Part, ...]:
        vectors = self._network.run(pixels=self._pixels(content)[None])
        return (Part(unit(vectors[0])),)

    def _pixels(self, content: Content) -> NDArray[np.float32]:
        """Return float32 (3, side, side) from 0 to 255."""
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

Three = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Pixels:
    """RGB of `width` × `height`: (value × `scale` − `mean`) / `std`, `value` from 0 to 255.

    `fit` "squeeze" distorts the picture to that size; "crop" brings its shorter edge to `shorter`
    and takes the middle. `resample` is one of Pillow's filters.
    """

    width: int
    height: int
    fit: str = "squeeze"
    shorter: int = 0
    resample: int = _BICUBIC
    scale: float = 1 / 255
    mean: Three = _IMAGENET_MEAN
    std: Three = _IMAGENET_STD

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
        shaped = picture.resize(size, Resampling(self.resample), box=box)
        values = np.asarray(shaped, np.float32) * np.float32(self.scale)
        mean, std = (np.array(three, np.float32) for three in (self.mean, self.std))
        return np.ascontiguousarray(((values - mean) / std).transpose(2, 0, 1), np.float32)


def pixels_from(
    config: Mapping[str, Any], own: Mapping[str, Any], fixed: tuple[int, int] | None
) -> Pixels:
    """Return the pixels that a model wants.

    `config` is its preprocessor_config.json, which `own`, the options side, shorter, fit, mean, std
    and scale, overrule; `fixed` is the width and height that its input tells, if it does. Raises
    BadSetting for options that cannot be, and where nothing tells the size.
    """
    size, shorter = _size(config)
    given = own.get("side")
    if given is not None:
        given = a_count("side", given, at_most=_MAX_SIDE)
        size = (given, given)
    if fixed is not None:
        if given is not None and fixed != size:
            raise BadSetting(
                f"side cannot be {given}: the model takes {fixed[0]} × {fixed[1]}; leave it out"
            )
        size = fixed
    if size is None:
        raise BadSetting(
            "nothing tells which size of pictures the model takes; give side, such as 224"
        )
    if own.get("shorter") is not None:
        shorter = a_count("shorter", own["shorter"], at_most=_MAX_SIDE)
    crops = bool(config.get("do_center_crop", shorter > 0)) or own.get("shorter") is not None
    fit = "crop" if crops else "squeeze"
    if own.get("fit") is not None:
        fit = a_choice("fit", own["fit"], _FITS)
    scaled = config.get("do_rescale", True)
    scale = config.get("rescale_factor", 1 / 255) if scaled else 1.0
    normal = config.get("do_normalize", True)
    return Pixels(
        *size,
        fit,
        (shorter or max(size)) if fit == "crop" else 0,
        config.get("resample", _BICUBIC),
        _number("scale", own.get("scale"), scale),
        _three("mean", own.get("mean"), config.get("image_mean", _IMAGENET_MEAN), normal, 0.0),
        _three("std", own.get("std"), config.get("image_std", _IMAGENET_STD), normal, 1.0),
    )


def _size(config: Mapping[str, Any]) -> tuple[tuple[int, int] | None, int]:
    """Return width and height, and the shorter edge before cropping, as a config tells them."""
    shorter = 0
    size = _edges(config.get("size"))
    crop = _edges(config.get("crop_size")) if config.get("do_center_crop") else None
    told = config.get("size")
    if isinstance(told, Mapping) and "shortest_edge" in told:
        shorter = int(told["shortest_edge"])
    elif crop is not None and size is not None:
        shorter = min(size)
    if not config.get("do_resize", True):
        shorter = 0
    return crop or size or ((shorter, shorter) if shorter else None), shorter


def _edges(told: Any) -> tuple[int, int] | None:
    if isinstance(told, int):
        return told, told
    if isinstance(told, Mapping) and {"width", "height"} <= told.keys():
        return int(told["width"]), int(told["height"])
    return None


def _number(option: str, given: Any, told: Any) -> float:
    value = told if given is None else given
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadSetting(f"{option} cannot be {value!r}; give a number")
    return float(value)


def _three(option: str, given: Any, told: Any, normal: bool, without: float) -> Three:
    value = (told if normal else (without,) * 3) if given is None else given
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 3:
        raise BadSetting(f"{option} cannot be {value!r}; give three numbers, for red, green, blue")
    red, green, blue = (_number(option, one, 0.0) for one in value)
    if option == "std" and not all((red, green, blue)):
        raise BadSetting(f"std cannot be {value!r}: it is divided by; give numbers that are not 0")
    return red, green, blue
