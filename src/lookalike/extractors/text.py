"""The text extractor: one vector for a whole text, by what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import BadContent, NotFound
from lookalike.extractors import docx, e5
from lookalike.extractors.base import Content, Extractor, Part, extract_each
from lookalike.extractors.onnx_model import ModelFile, OnnxModel, cuda_is_there
from lookalike.extractors.passages import MAX_PASSAGES, Passage, TextEncoder, pooled
from lookalike.extractors.plain_text import READING, plain_text
from lookalike.model import Space

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VERSION = "v1"
"""Changes with every change of cutting or pooling: it would be another space."""

CHUNK_TOKENS = 128
"""Tokens that the model reads at once, the two that mark start and end included."""

MAX_CHARACTERS = MAX_PASSAGES * CHUNK_TOKENS * 20
"""Characters that are looked at: 20 a token, far above any language's mean."""

_UNKNOWN_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class TextModel:
    """A network for token ids (n, length) → (n, dimension) of unit length, and its tokenizer."""

    name: str
    file: ModelFile
    tokenizer: ModelFile
    start_id: int
    end_id: int
    unknown_id: int
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
            unknown_id=100,
            dimension=384,
        ),
    )
}
"""The models that the package carries."""


def text_extractor(model: str = "minilm-l6-v2", *, threads: int = 1) -> Extractor:
    """Return the extractor for whole texts: plain, HTML, Markdown and DOCX.

    `minilm-l6-v2` knows English above all; `multilingual-e5-small`, of the extra `multilingual`,
    knows about a hundred languages and takes ten times as long. `threads` is how many threads one
    text may use; with several calls side by side, 1 is best. Raises NotFound for an unknown model,
    MissingExtra for one that is not installed.

    >>> text_extractor().space.dimension
    384
    """
    return TextExtractor(text_encoder(model, threads=threads))


def text_encoder(model: str, *, threads: int) -> TextEncoder:
    """Return the model that texts and documents are read with. Raises NotFound, MissingExtra."""
    if model == e5.NAME:
        return e5.E5Encoder()
    if model not in MODELS:
        raise NotFound.named("text model", model, [*MODELS, e5.NAME])
    return OnnxEncoder(MODELS[model], threads=threads)


class TextExtractor:
    """Reads each text in passages and pools their vectors."""

    accepts = frozenset({"text", docx.MEDIA_TYPE})

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder

    @property
    def space(self) -> Space:
        """Model, digest of its weights and version of its cutting and pooling."""
        return self._encoder.space

    def uses_gpu(self) -> bool:
        """Return whether its network would run on a GPU here."""
        return isinstance(self._encoder, OnnxEncoder) and cuda_is_there()

    def extract(self, contents: Sequence[Content]) -> list[tuple[Part, ...] | BadContent]:
        """Return one part for each text.

        Its attribute `chunks` says in how many passages it was read, `reading` in which way it was
        turned into plain text, where it was not.
        """
        return extract_each(contents, self._extract_one)

    def passages(self, content: Content, part: str = "") -> list[Passage]:
        """Return the passages of a text; it has one part, "". Raises BadContent."""
        text = plain_text(content, MAX_CHARACTERS)
        return [] if part else self._encoder.passages(text, name=content.name)

    def _extract_one(self, content: Content) -> tuple[Part, ...]:
        return (text_part(self.passages(content), content.media_type),)


def text_part(passages: Sequence[Passage], media_type: str) -> Part:
    """Return the part that the passages of a whole text make."""
    attributes: dict[str, object] = {"chunks": len(passages)}
    if media_type in READING:
        attributes["reading"] = READING[media_type]
    return Part(pooled(passages), attributes=attributes)


class OnnxEncoder:
    """Cuts texts into chunks of tokens that the network can read, all of nearly one length."""

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

    def passages(self, text: str, *, name: str) -> list[Passage]:
        """Return the chunks of a text, weighed by their tokens.

        Raises BadContent when it has no word, or hardly one that the model knows.
        """
        read = self._loaded_tokenizer().encode(text, add_special_tokens=False)
        self._check_words(read.ids, len(text), name)
        places = read.offsets
        found, first = [], 0
        for chunk in cut(np.array(read.ids, np.int64)):
            start, end = places[first][0], places[first + len(chunk) - 1][1]
            found.append(Passage(text[start:end], self._embed(chunk), len(chunk), start))
            first += len(chunk)
        return found

    def _check_words(self, ids: Sequence[int], length: int, name: str) -> None:
        if not ids:
            raise BadContent(
                f"cannot read {name!r} as text: no words in its {length:,} characters; remove it"
            )
        unknown = ids.count(self._model.unknown_id)
        if unknown > _UNKNOWN_SHARE * len(ids):
            raise BadContent(
                f"cannot read {name!r} as text: {unknown:,} of its {len(ids):,} words are in a "
                f"script that {self._model.name} does not know; use model={e5.NAME!r}, or remove it"
            )

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
    tokens = tokens[: MAX_PASSAGES * room]
    return np.array_split(tokens, max(1, -(-len(tokens) // room)))
