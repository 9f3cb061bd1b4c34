"""The text extractor: one vector for a whole text, by what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import BadContent, NotFound
from lookalike.extractors.base import Content, Extractor, Part, extract_each, unit
from lookalike.extractors.onnx_model import ModelFile, OnnxModel
from lookalike.model import Space

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VERSION = "v1"
"""Changes with every change of cutting or pooling: it would be another space."""

CHUNK_TOKENS = 128
"""Tokens that the model reads at once, the two that mark start and end included."""

MAX_CHUNKS = 64
"""Chunks that are read of a long text; what comes after them does not count."""

_CHARACTERS_PER_TOKEN = 20  # far above any language's mean: bounds the work on a huge file


@dataclass(frozen=True, slots=True)
class TextModel:
    """A network for token ids (n, length) → (n, dimension) of unit length, and its tokenizer."""

    name: str
    file: ModelFile
    tokenizer: ModelFile
    start_id: int
    end_id: int
    dimension: int


MODELS = {
    model.name: model
    for model in (
        TextModel(
            name="minilm-l6-v2",
            file=ModelFile(
                "minilm-l6-v2.onnx",
                "f3c0bdbc44881bdd7d647111b480e8f0f02f05cd5cb341a5ed8adf65ecd7efca",
            ),
            tokenizer=ModelFile(
                "minilm-l6-v2.tokenizer.json",
                "5fd1c882abbd30517dced455a2c9768945ec726b96727927e4959348d9de550b",
            ),
            start_id=101,
            end_id=102,
            dimension=384,
        ),
    )
}
"""The models that the package carries."""


def text_extractor(model: str = "minilm-l6-v2", *, threads: int = 1) -> Extractor:
    """Return the extractor for whole texts, English above all.

    `threads` is how many threads one text may use; with several calls side by side, 1 is best.
    Raises NotFound for an unknown model.

    >>> text_extractor().space.dimension
    384
    """
    if model not in MODELS:
        raise NotFound.named("text model", model, MODELS)
    return TextExtractor(MODELS[model], threads=threads)


class TextExtractor:
    """Cuts each text into chunks that the model can read and pools their vectors."""

    accepts = frozenset({"text"})

    def __init__(self, model: TextModel, *, threads: int) -> None:
        self._model = model
        self._network = OnnxModel(model.file, threads=threads)
        self._tokenizer: Tokenizer | None = None
        self._lock = Lock()

    @property
    def space(self) -> Space:
        """Model, digest of its weights and version of its cutting and pooling."""
        name = f"text_extractor.{VERSION}/{self._model.name}@{self._model.file.sha256[:8]}"
        return Space(name, self._model.dimension)

    def extract(self, contents: Sequence[Content]) -> list[tuple[Part, ...] | BadContent]:
        """Return one part for each text; its attribute `chunks` says in how many it was read."""
        return extract_each(contents, self._extract_one)

    def _extract_one(self, content: Content) -> tuple[Part, ...]:
        chunks = cut(self._tokens(content))
        vectors = np.stack([self._embed(chunk) for chunk in chunks])
        lengths = np.array([len(chunk) for chunk in chunks], np.float32)
        return (Part(unit(lengths @ vectors), attributes={"chunks": len(chunks)}),)

    def _tokens(self, content: Content) -> NDArray[np.int64]:
        limit = MAX_CHUNKS * CHUNK_TOKENS * _CHARACTERS_PER_TOKEN
        text = content.text()[:limit]
        ids = self._loaded_tokenizer().encode(text, add_special_tokens=False).ids
        if not ids:
            raise BadContent(
                f"cannot read {content.name!r} as text: no words in its "
                f"{len(text):,} characters; remove it"
            )
        return np.array(ids, np.int64)

    def _embed(self, chunk: NDArray[np.int64]) -> NDArray[np.float32]:
        ids = np.concatenate([[self._model.start_id], chunk, [self._model.end_id]])[None]
        vector: NDArray[np.float32]
        (vector,) = self._network.run(input_ids=ids, attention_mask=np.ones_like(ids))
        return vector

    def _loaded_tokenizer(self) -> Tokenizer:
        from tokenizers import Tokenizer

        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = Tokenizer.from_str(self._model.tokenizer.read().decode())
            return self._tokenizer


def cut(tokens: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the fewest chunks that hold the tokens, all of nearly the same length.

    >>> [len(chunk) for chunk in cut(np.zeros(130, np.int64))]
    [65, 65]
    """
    room = CHUNK_TOKENS - 2
    tokens = tokens[: MAX_CHUNKS * room]
    return np.array_split(tokens, max(1, -(-len(tokens) // room)))
