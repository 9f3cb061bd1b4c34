"""The extractor for picture models of timm, with weights on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.extractors.base import Content, Extractor
from lookalike.extractors.hub.local_files import count_option, local_path, read_config
from lookalike.extractors.hub.torch import (
    TorchExtractor,
    check_installed,
    check_options,
    model_directory,
    weights_of,
)

VERSION = "timm_extractor.v1"
"""Changes whenever the preprocessing changes: it is then another space."""

_MAX_DIMENSION = 65_536


def timm_extractor(
    model: str,
    *,
    checkpoint: str | None = None,
    dimension: int | None = None,
    device: str | None = None,
    allow_download: bool = False,
) -> Extractor:
    """Return the extractor for a picture model of timm, without its classifier.

    `model` is a directory downloaded from a hub; or the name of an architecture whose weights are
    in the file `checkpoint`; or the name of a model in the hub's cache, downloaded if
    `allow_download`. The model's configuration defines the preprocessing. `dimension` corrects the
    dimension that the directory declares.

    Raises BadSetting for impossible options and a model that does not exist, MissingExtra.
    """
    check_options(model, device, allow_download)
    if dimension is not None:
        count_option("dimension", dimension, at_most=_MAX_DIMENSION)
    weights = None if checkpoint is None else local_path("checkpoint", checkpoint)
    check_installed("timm", "timm")
    if weights is not None:
        return TimmExtractor(model, weights, dimension, device)
    hub = model if "/" in model or Path(model).expanduser().is_dir() else f"timm/{model}"
    folder = model_directory(hub, allow_download=allow_download)
    return TimmExtractor(folder, None, dimension, device)


class TimmExtractor(TorchExtractor):
    """Runs a timm model without its classifier on whole pictures."""

    accepts = frozenset({"image"})

    def __init__(
        self,
        model: Path | str,
        checkpoint: Path | None,
        dimension: int | None,
        device: str | None,
    ) -> None:
        name, files = weights_of(model, checkpoint)
        super().__init__(VERSION, name, files, {}, device)
        self._source = model
        self._checkpoint = checkpoint
        self._dimension = dimension
        self._model: Any = None
        self._transform: Any = None

    def _declared_dimension(self) -> int | None:
        if self._dimension is not None or isinstance(self._source, str):
            return self._dimension
        dimension = read_config([self._source], "config.json").get("num_features")
        return dimension if isinstance(dimension, int) else None

    def _loaded_dimension(self) -> int:
        from PIL.Image import new

        return len(self._vectors([self._transform(new("RGB", (64, 64)))])[0])

    def _load(self, device: str) -> None:
        import timm
        from timm.data import create_transform, resolve_model_data_config

        local = isinstance(self._source, Path)
        model = timm.create_model(
            f"local-dir:{self._source}" if local else self._source,
            pretrained=local,
            checkpoint_path=str(self._checkpoint or ""),
        )
        model.reset_classifier(0)
        self._transform = create_transform(**resolve_model_data_config(model), is_training=False)
        self._model = model.eval().to(device)

    def _prepare(self, content: Content) -> Any:
        return self._transform(content.picture())

    def _vectors(self, prepared: Sequence[Any]) -> Sequence[NDArray[np.float32]]:
        import torch

        device = next(self._model.parameters()).device
        with torch.inference_mode():
            vectors = self._model(torch.stack(list(prepared)).to(device))
        return list(vectors.float().cpu().numpy())
