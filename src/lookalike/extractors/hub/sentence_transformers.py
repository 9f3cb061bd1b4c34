"""The extractor for text models of sentence-transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import BadSetting
from lookalike.extractors.base import Content, Extractor
from lookalike.extractors.hub.local_files import count_option, read_config
from lookalike.extractors.hub.torch import (
    TorchExtractor,
    check_installed,
    check_options,
    model_directory,
    model_files,
    model_name,
)

VERSION = "sentence_transformers_extractor.v1"
"""Changes whenever the preprocessing changes: it is then another space."""

_MAX_TOKENS = 32_768


def sentence_transformers_extractor(
    model: str,
    *,
    prompt: str = "",
    max_tokens: int | None = None,
    device: str | None = None,
    allow_download: bool = False,
) -> Extractor:
    """Return the extractor for a text model of sentence-transformers.

    `model` is its directory, or the name of a model in the hub's cache, downloaded if
    `allow_download`. `prompt` is put before each text; texts are truncated to `max_tokens`
    (default: the model's own limit).

    Raises BadSetting for impossible options and a model that does not exist, MissingExtra.
    """
    check_options(model, device, allow_download)
    if not isinstance(prompt, str):
        raise BadSetting(f"prompt cannot be {prompt!r}; give a text")
    if max_tokens is not None:
        count_option("max_tokens", max_tokens, at_most=_MAX_TOKENS)
    check_installed("sentence_transformers", "sentence-transformers")
    folder = model_directory(model, allow_download=allow_download)
    return SentencesExtractor(folder, prompt, max_tokens, device)


class SentencesExtractor(TorchExtractor):
    """Runs a SentenceTransformer on texts."""

    accepts = frozenset({"text"})

    def __init__(
        self, folder: Path, prompt: str, max_tokens: int | None, device: str | None
    ) -> None:
        settings = {"prompt": prompt, "max_tokens": max_tokens}
        super().__init__(VERSION, model_name(folder), model_files(folder), settings, device)
        self._folder = folder
        self._prompt = prompt
        self._max_tokens = max_tokens
        self._model: Any = None

    def _declared_dimension(self) -> int | None:
        """Return the dimension of the last layer that changes it: a Dense one, else the pooling."""
        dense = sorted(self._folder.glob("*_Dense/config.json"))
        if dense:
            dimension = read_config([dense[-1].parent], "config.json").get("out_features")
        else:
            config = read_config([self._folder / "1_Pooling"], "config.json")
            dimension = config.get("embedding_dimension", config.get("word_embedding_dimension"))
            modes = config.get("pooling_mode")
            flags = [flag for key, flag in config.items() if key.startswith("pooling_mode_")]
            if flags.count(True) > 1 or isinstance(modes, list):
                return None  # several poolings are concatenated
        return dimension if isinstance(dimension, int) else None

    def _loaded_dimension(self) -> int:
        return len(self._vectors(["a"])[0])

    def _load(self, device: str) -> None:
        from sentence_transformers import SentenceTransformer

        self._model = SentenceTransformer(str(self._folder), device=device, local_files_only=True)
        if self._max_tokens is not None:
            self._model.max_seq_length = self._max_tokens

    def _prepare(self, content: Content) -> str:
        return self._prompt + content.text()

    def _vectors(self, prepared: Sequence[Any]) -> Sequence[NDArray[np.float32]]:
        vectors = self._model.encode(
            list(prepared), batch_size=len(prepared), show_progress_bar=False
        )
        return list(np.asarray(vectors, np.float32))
