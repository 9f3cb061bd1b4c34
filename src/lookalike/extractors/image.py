"""The image extractor: one vector for a whole picture, by what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import BadContent, NotFound
from lookalike.extractors.base import Content, Extractor, Part, extract_each, unit
from lookalike.extractors.onnx.bundled import ModelFile, OnnxModel, cuda_is_there
from lookalike.model import Space

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
