"""The text extractor: one vector for a whole text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import BadContent, NotFound
from lookalike.extractors import text_multilingual
from lookalike.extractors.base import Content, Extractor, Part
from lookalike.extractors.document.plain_text import DOCX_TYPE, READING, plain_text
from lookalike.extractors.onnx.bundled import OnnxModel, has_cuda
from lookalike.extractors.text_models import DEFAULTS, MODELS, TextModel
from lookalike.extractors.text_passages import MAX_PASSAGES, NamedText, Passage, TextEncoder, pooled
from lookalike.model import Space

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VERSION = "v1"
"""Changes whenever chunking or pooling changes: it is then another space."""

CHUNK_TOKENS = 128
"""The largest number of tokens in a chunk, with the two that mark start and end."""

MAX_CHARACTERS = MAX_PASSAGES * CHUNK_TOKENS * 20
"""The characters that are read: 20 per token, far above the mean of any language."""

_UNKNOWN_SHARE = 0.5
_BATCH_TOKENS = 256  # longer batches are not faster: they do not fit the CPU's cache


def text_extractor(model: str = DEFAULTS[-1], *, threads: int = 1) -> Extractor:
    """Return the extractor for whole texts: plain, HTML, Markdown and DOCX.

    `bge-small-en-v1.5` and `minilm-l6-v2`, the default of earlier versions, are mainly for English;
    `multilingual-e5-small`, from the extra `multilingual`, knows about a hundred languages and
    takes ten times as long. `threads` is the number of threads for one text; with parallel calls,
    1 is best. Raises NotFound for an unknown model, MissingExtra for one that is not installed.

    >>> text_extractor().space.dimension
    384
    """
    return TextExtractor(text_encoder(model, threads=threads))


def text_encoder(model: str, *, threads: int) -> TextEncoder:
    """Return the encoder of texts and documents for a model. Raises NotFound, MissingExtra."""
    if model == text_multilingual.NAME:
        return text_multilingual.E5Encoder()
    if model not in MODELS:
        raise NotFound.named("text model", model, [*MODELS, text_multilingual.NAME])
    return OnnxEncoder(MODELS[model], threads=threads)


class TextExtractor:
    """Splits each text into passages and pools their vectors."""

    accepts = frozenset({"text", DOCX_TYPE})

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder

    @property
    def space(self) -> Space:
        """Model, digest of its weights and version of its cutting and pooling."""
        return self._encoder.space

    def uses_gpu(self) -> bool:
        """Return whether the encoder's network would run on a GPU here."""
        return isinstance(self._encoder, OnnxEncoder) and self._encoder.uses_gpu()

    def extract(self, contents: Sequence[Content]) -> list[tuple[Part, ...] | BadContent]:
        """Return one part for each text.

        Its attribute `chunks` is the number of its passages. `reading` is the way of conversion to
        plain text, if it was not plain.
        """
        texts: list[NamedText] = []
        found: list[tuple[Part, ...] | BadContent | None] = []
        for content in contents:
            try:
                texts.append(NamedText(plain_text(content, MAX_CHARACTERS), content.name))
                found.append(None)
            except BadContent as error:
                found.append(error)
        read = iter(self._encoder.passages_of(texts))
        return [
            outcome if outcome is not None else _parts(next(read), content.media_type)
            for content, outcome in zip(contents, found, strict=True)
        ]

    def passages(self, content: Content, part: str = "") -> list[Passage]:
        """Return the passages of a text; it has one part, "". Raises BadContent."""
        text = plain_text(content, MAX_CHARACTERS)
        return [] if part else self._encoder.passages(text, name=content.name)


def _parts(read: list[Passage] | BadContent, media_type: str) -> tuple[Part, ...] | BadContent:
    return read if isinstance(read, BadContent) else (text_part(read, media_type),)


def text_part(passages: Sequence[Passage], media_type: str) -> Part:
    """Return the part for a whole text from its passages."""
    attributes: dict[str, object] = {"chunks": len(passages)}
    if media_type in READING:
        attributes["reading"] = READING[media_type]
    return Part(pooled(passages), attributes=attributes)


class OnnxEncoder:
    """Splits texts into chunks of nearly equal numbers of tokens, short enough for the network.

    A batch holds chunks of equal length, so nothing is padded.
    """

    def __init__(self, model: TextModel, *, threads: int) -> None:
        self._model = model
        self._network = OnnxModel(model.file, threads=threads, gpu=model.gpu)
        self._tokenizer: Tokenizer | None = None
        self._lock = Lock()

    @property
    def space(self) -> Space:
        """Model, digest of its weights and version of its cutting and pooling."""
        name = f"text_extractor.{VERSION}/{self._model.name}@{self._model.file.sha256[:8]}"
        return Space(name, self._model.dimension)

    def uses_gpu(self) -> bool:
        """Return whether the network would run on a GPU here."""
        return self._model.gpu and has_cuda()

    def passages(self, text: str, *, name: str) -> list[Passage]:
        """Return the chunks of a text, weighted by their numbers of tokens.

        Raises BadContent if it has no words, or if the model does not know most of them.
        """
        (found,) = self.passages_of([NamedText(text, name)])
        if isinstance(found, BadContent):
            raise found
        return found

    def passages_of(self, texts: Sequence[NamedText]) -> list[list[Passage] | BadContent]:
        """Return what `passages` returns or raises for each text."""
        chunked = [self._chunks(named) for named in texts]
        tokens = [one.tokens for chunks in chunked if isinstance(chunks, list) for one in chunks]
        vectors = iter(self._embed(tokens))
        return [
            chunks
            if isinstance(chunks, BadContent)
            else [Passage(one.text, next(vectors), len(one.tokens), one.start) for one in chunks]
            for chunks in chunked
        ]

    def _chunks(self, named: NamedText) -> list[_Chunk] | BadContent:
        encoding = self._loaded_tokenizer().encode(named.text, add_special_tokens=False)
        problem = self._problem(encoding.ids, named)
        if problem is not None:
            return problem
        spans = encoding.offsets
        found, first = [], 0
        for tokens in cut(np.array(encoding.ids, np.int64)):
            start, end = spans[first][0], spans[first + len(tokens) - 1][1]
            found.append(_Chunk(named.text[start:end], start, tokens))
            first += len(tokens)
        return found

    def _problem(self, ids: Sequence[int], named: NamedText) -> BadContent | None:
        if not ids:
            return BadContent(
                f"cannot read {named.name!r} as text: no words in its {len(named.text):,} "
                "characters; remove it"
            )
        unknown = ids.count(self._model.unknown_id)
        if unknown > _UNKNOWN_SHARE * len(ids):
            return BadContent(
                f"cannot read {named.name!r} as text: {unknown:,} of its {len(ids):,} words are in "
                f"a script that {self._model.name} does not know; use "
                f"model={text_multilingual.NAME!r}, or remove it"
            )
        return None

    def _embed(self, chunks: Sequence[NDArray[np.int64]]) -> list[NDArray[np.float32]]:
        """Return the vector of each chunk; the network runs chunks of equal length as a batch."""
        found: dict[int, NDArray[np.float32]] = {}
        for batch in _of_equal_length(chunks):
            tokens = np.stack([chunks[place] for place in batch])
            start = np.full((len(tokens), 1), self._model.start_id)
            end = np.full((len(tokens), 1), self._model.end_id)
            ids = np.concatenate([start, tokens, end], axis=1)
            vectors = self._network.run(input_ids=ids, attention_mask=np.ones_like(ids))
            found |= zip(batch, vectors, strict=True)
        return [found[place] for place in range(len(chunks))]

    def _loaded_tokenizer(self) -> Tokenizer:
        from tokenizers import Tokenizer

        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = Tokenizer.from_str(self._model.tokenizer.read().decode())
            return self._tokenizer


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A piece of a text, the position of its first character, and its tokens."""

    text: str
    start: int
    tokens: NDArray[np.int64]


def _of_equal_length(chunks: Sequence[NDArray[np.int64]]) -> Iterator[list[int]]:
    """Yield the indices of chunks of equal length, up to `_BATCH_TOKENS` tokens or one chunk."""
    by_length: dict[int, list[int]] = {}
    for place, chunk in enumerate(chunks):
        by_length.setdefault(len(chunk), []).append(place)
    for length, places in by_length.items():
        size = max(1, _BATCH_TOKENS // (length + 2))
        yield from (places[first : first + size] for first in range(0, len(places), size))


def cut(tokens: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Split tokens into as few chunks as possible, all of nearly the same length.

    >>> [len(chunk) for chunk in cut(np.zeros(130, np.int64))]
    [65, 65]
    """
    room = CHUNK_TOKENS - 2
    tokens = tokens[: MAX_PASSAGES * room]
    return np.array_split(tokens, max(1, -(-len(tokens) // room)))
