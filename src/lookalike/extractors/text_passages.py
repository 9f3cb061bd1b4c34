"""Passages: the pieces into which a long text is split, and the pooling of their vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import BadContent
from lookalike.extractors.base import Content, unit
from lookalike.model import Space

MAX_PASSAGES = 64
"""The number of passages that are read of a text; the rest of it is ignored."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a text that a model encoded.

    `vector` is float32 (dimension,) of unit length, `weight` its weight in the pooling (tokens or
    characters), `start` the position of its first character; `page` counts from 1, None if the text
    has no pages.
    """

    text: str
    vector: NDArray[np.float32]
    weight: int
    start: int = 0
    page: int | None = None


class NamedText(NamedTuple):
    """A text and the name of its source, for messages."""

    text: str
    name: str


class TextEncoder(Protocol):
    """A text model with its chunking: the same text gives the same passages."""

    @property
    def space(self) -> Space:
        """The embedding space of the vectors; known without loading the model."""

    def passages(self, text: str, *, name: str) -> list[Passage]:
        """Return the passages of a text, one or more, in order.

        Raises BadContent, with `name`, if it has no word that the model knows.
        """

    def passages_of(self, texts: Sequence[NamedText]) -> list[list[Passage] | BadContent]:
        """Return what `passages` returns or raises for each text; faster than one by one."""


@runtime_checkable
class ShowsPassages(Protocol):
    """An extractor that can read the passages of a content again; they are not stored."""

    def passages(self, content: Content, part: str = "") -> list[Passage]:
        """Return the passages of one part of a content. Raises BadContent."""


def pooled(passages: Sequence[Passage]) -> NDArray[np.float32]:
    """Return the weighted mean of the passages' vectors, float32 scaled to unit length."""
    vectors = np.stack([passage.vector for passage in passages])
    return unit(np.array([passage.weight for passage in passages], np.float32) @ vectors)


def cut_evenly(text: str, room: int, most: int) -> list[tuple[int, int]]:
    """Cut a text between words into as few spans of about `room` characters as possible, at most
    `most`; return their starts and ends.

    Where no white space is near, as in Chinese, a span may end anywhere.

    >>> cut_evenly("one two three four five six", 16, 64)
    [(0, 13), (13, 27)]
    """
    text = text[: room * most]
    count = max(1, -(-len(text) // room))
    ends = [_word_end(text, len(text) * place // count, room // 4) for place in range(1, count)]
    spans = zip([0, *ends], [*ends, len(text)], strict=True)
    return [(start, end) for start, end in spans if text[start:end].strip()]


def _word_end(text: str, place: int, reach: int) -> int:
    near = text[place : place + reach]
    gap = next((offset for offset, character in enumerate(near) if character.isspace()), 0)
    return place + gap
