"""Passages: the pieces that a long text is read in, and the one vector that they make together."""

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
"""Passages that are read of a long text; what comes after them does not count."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a text as a model read it.

    `vector` is float32 (dimension,) of unit length, `weight` how much it counts (tokens or
    characters), `start` the place of its first character; `page` counts from 1, None where there
    are no pages.
    """

    text: str
    vector: NDArray[np.float32]
    weight: int
    start: int = 0
    page: int | None = None


class NamedText(NamedTuple):
    """A text and the name of what it was read from."""

    text: str
    name: str


class TextEncoder(Protocol):
    """A text model with its way of cutting: the same text gives the same passages."""

    @property
    def space(self) -> Space:
        """Where the vectors live; known without loading the model."""

    def passages(self, text: str, *, name: str) -> list[Passage]:
        """Return the passages of a text, one or more, in order.

        Raises BadContent, naming `name`, when there is no word in it that the model knows.
        """

    def passages_of(self, texts: Sequence[NamedText]) -> list[list[Passage] | BadContent]:
        """Return what `passages` returns or raises for each text; many cost less together."""


@runtime_checkable
class ShowsPassages(Protocol):
    """An extractor that can say again what it has read; nothing of it is kept."""

    def passages(self, content: Content, part: str = "") -> list[Passage]:
        """Return the passages of one part of a content. Raises BadContent."""


def pooled(passages: Sequence[Passage]) -> NDArray[np.float32]:
    """Return the mean of the passages' vectors by their weights, float32 of unit length."""
    vectors = np.stack([passage.vector for passage in passages])
    return unit(np.array([passage.weight for passage in passages], np.float32) @ vectors)


def cut_evenly(text: str, room: int, most: int) -> list[tuple[int, int]]:
    """Return the fewest spans of about `room` characters, at most `most`, cut between words.

    Where no white space is near, as in Chinese, a span ends anywhere.

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
    gap = next((offset for offset, sign in enumerate(near) if sign.isspace()), 0)
    return place + gap
