"""Models of open_clip: pictures and texts in one space."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import BadSetting
from lookalike.extractors.base import Content, Extractor
from lookalike.extractors.hub.local_files import choice_option, local_path, read_config
from lookalike.extractors.hub.torch import (
    TorchExtractor,
    check_installed,
    check_options,
    model_directory,
    weights_of,
)

VERSION = "open_clip_extractor.v1"
"""Changes whenever the preprocessing changes: it is then another space."""

KINDS = ("image", "text")
CONFIG = "open_clip_config.json"


def open_clip_extractor(
    model: str,
    *,
    checkpoint: str | None = None,
    kind: str | None = None,
    device: str | None = None,
    allow_download: bool = False,
) -> Extractor:
    """Return the extractor for a model of open_clip.

    `model` is a directory downloaded from a hub, with `open_clip_config.json`; or the name of an
    architecture whose weights are in the file `checkpoint`; or the name of a model in the hub's
    cache, downloaded if `allow_download`. It reads pictures and texts, or only one `kind`. Texts
    are truncated to the model's length, often 77 tokens.

    Raises BadSetting for impossible options and a model that does not exist, MissingExtra.
    """
    check_options(model, device, allow_download)
    kinds = KINDS if kind is None else (choice_option("kind", kind, KINDS),)
    weights = None if checkpoint is None else local_path("checkpoint", checkpoint)
    check_installed("open_clip", "open-clip")
    if weights is not None:
        if not allow_download:
            _check_complete(_architecture(model), kinds, alone=True)
        return ClipExtractor(model, weights, kinds, device)
    folder = model_directory(model, allow_download=allow_download)
    if not (folder / CONFIG).is_file():
        raise BadSetting(f"{str(folder)!r} has no {CONFIG}; give a directory of open_clip")
    if not allow_download:
        _check_complete(read_config([folder], CONFIG).get("model_cfg"), kinds, alone=False)
    return ClipExtractor(folder, None, kinds, device)


class ClipExtractor(TorchExtractor):
    """Runs the towers of a CLIP model on whole pictures and texts."""

    def __init__(
        self,
        model: Path | str,
        checkpoint: Path | None,
        kinds: Sequence[str],
        device: str | None,
    ) -> None:
        name, files = weights_of(model, checkpoint)
        super().__init__(VERSION, name, files, {}, device)
        self._source = model
        self._checkpoint = checkpoint
        self._accepts = frozenset(kinds)
        self._model: Any = None
        self._transform: Any = None
        self._tokenizer: Any = None

    @property
    def accepts(self) -> frozenset[str]:
        """The media types that it reads: pictures, texts, or both."""
        return self._accepts

    def _declared_dimension(self) -> int | None:
        if isinstance(self._source, Path):
            config = read_config([self._source], CONFIG).get("model_cfg")
        else:
            config = _architecture(self._source)
        dimension = config.get("embed_dim") if isinstance(config, dict) else None
        return dimension if isinstance(dimension, int) else None

    def _loaded_dimension(self) -> int:
        from PIL.Image import new

        probe = "a" if "text" in self._accepts else self._transform(new("RGB", (64, 64)))
        return len(self._vectors([probe])[0])

    def _load(self, device: str) -> None:
        import open_clip

        local = isinstance(self._source, Path)
        name = f"local-dir:{self._source}" if local else str(self._source)
        model, _, self._transform = open_clip.create_model_and_transforms(
            name, pretrained=None if local else str(self._checkpoint), device=device
        )
        if "text" in self._accepts:
            self._tokenizer = open_clip.get_tokenizer(name)
        self._model = model.eval()

    def _prepare(self, content: Content) -> Any:
        if content.media_type.startswith("text/"):
            return content.text()
        return self._transform(content.picture())

    def _vectors(self, prepared: Sequence[Any]) -> Sequence[NDArray[np.float32]]:
        import torch

        device = next(self._model.parameters()).device
        vectors: list[Any] = [None] * len(prepared)
        texts = [place for place, one in enumerate(prepared) if isinstance(one, str)]
        pictures = [place for place, one in enumerate(prepared) if not isinstance(one, str)]
        with torch.inference_mode():
            if texts:
                tokens = self._tokenizer([prepared[place] for place in texts]).to(device)
                encoded = self._model.encode_text(tokens).float().cpu().numpy()
                for place, vector in zip(texts, encoded, strict=True):
                    vectors[place] = vector
            if pictures:
                pixels = torch.stack([prepared[place] for place in pictures]).to(device)
                encoded = self._model.encode_image(pixels).float().cpu().numpy()
                for place, vector in zip(pictures, encoded, strict=True):
                    vectors[place] = vector
        return vectors


def _check_complete(config: Any, kinds: Sequence[str], *, alone: bool) -> None:
    """Raise BadSetting if open_clip would download a part of the model from a hub.

    `alone`: a single checkpoint file, without its tokenizer.
    """
    texts = config.get("text_cfg") if isinstance(config, dict) else None
    texts = texts if isinstance(texts, dict) else {}
    if texts.get("hf_model_name"):
        raise BadSetting(
            f"open_clip loads the text tower {texts['hf_model_name']!r} from a hub; put it into "
            "the cache and give allow_download: true, or use another model"
        )
    if alone and "text" in kinds and texts.get("hf_tokenizer_name"):
        raise BadSetting(
            f"a checkpoint alone lacks its tokenizer {texts['hf_tokenizer_name']!r}; give the "
            "model's directory, which has it, or kind: image"
        )


def _architecture(name: str) -> Any:
    """Return the configuration of an architecture; import open_clip only if it has no file."""
    found = find_spec("open_clip")
    folders = list(found.submodule_search_locations or ()) if found is not None else []
    for folder in folders:
        path = Path(folder) / "model_configs" / f"{name.replace('/', '-')}.json"
        if path.is_file():
            return json.loads(path.read_text("utf-8"))
    import open_clip

    added = open_clip.get_model_config(name)  # one that the calling program has registered
    if added is None:
        raise BadSetting(
            f"open_clip has no architecture {name!r}; give one of open_clip.list_models(), or a "
            "directory"
        )
    return added
