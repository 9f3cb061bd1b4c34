"""Small working extractors for tests, registered like those of a plugin.

`write_plugin(folder)` writes the metadata that installing a package with an entry point would
write. With the folder on `sys.path`, collections can use the extractors `word_lengths` and
`parts_listed`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lookalike.errors import BadContent
from lookalike.extractors.base import Content, Extractor, Part, extract_each, unit
from lookalike.extractors.hookspecs import RegisterExtractor, hookimpl
from lookalike.model import Space

DIMENSION = 16
"""The number of words that `word_lengths` reads."""


def word_lengths(log: str = "", pause_ms: int = 0) -> Extractor:
    """Return an extractor with readable vectors: the lengths of the first words of a text.

    It takes `pause_ms` for each text, then appends the text's name to the file `log`.

    >>> text = Content(b"one three", "text/plain", name="a.txt")
    >>> (part,) = word_lengths().extract([text])[0]
    >>> (part.vector[:3] * 34**0.5).round(3).tolist()
    [3.0, 5.0, 0.0]
    """
    return WordLengths(log, pause_ms)


class WordLengths:
    """Turns a text into the lengths of its first 16 words, scaled to unit length."""

    accepts = frozenset({"text"})
    space = Space("word_lengths.v1/lengths@00000000", DIMENSION)

    def __init__(self, log: str, pause_ms: int) -> None:
        self._log = log
        self._pause_s = pause_ms / 1000

    def extract(self, contents: Sequence[Content]) -> list[tuple[Part, ...] | BadContent]:
        """Return one part for each text."""
        return extract_each(contents, self._extract_one)

    def _extract_one(self, content: Content) -> tuple[Part, ...]:
        lengths = [len(word) for word in content.text().split()[:DIMENSION]]
        time.sleep(self._pause_s)
        if self._log:
            with Path(self._log).open("a", encoding="utf-8") as file:
                file.write(content.name + "\n")
        vector = np.zeros(DIMENSION, np.float32)
        vector[: len(lengths)] = lengths
        return (Part(unit(vector)),)


def parts_listed(dimension: int = DIMENSION, only: str = "") -> Extractor:
    """Return an extractor of texts that list their own parts as JSON.

    It returns the parts whose key begins with `only`.

    >>> text = Content(b'[{"key": "face-0", "vector": [3, 4]}]', "text/plain", name="a.json")
    >>> (part,) = parts_listed(2).extract([text])[0]
    >>> part.key, part.vector.tolist()
    ('face-0', [0.6000000238418579, 0.800000011920929])
    """
    return PartsListed(dimension, only)


class PartsListed:
    """Turns a JSON list of parts, each with `key`, `vector` and `attributes`, into these parts."""

    accepts = frozenset({"text"})

    def __init__(self, dimension: int, only: str) -> None:
        self._only = only
        self.space = Space(f"parts_listed.v1/json@{dimension:08x}", dimension)

    def extract(self, contents: Sequence[Content]) -> list[tuple[Part, ...] | BadContent]:
        """Return the parts that each text lists."""
        return extract_each(contents, self._extract_one)

    def _extract_one(self, content: Content) -> tuple[Part, ...]:
        try:
            listed = json.loads(content.text())
        except ValueError as error:
            raise BadContent(f"cannot read {content.name!r} as JSON: {error}") from error
        return tuple(
            Part(
                unit(np.array(one["vector"], np.float32)),
                one.get("key", ""),
                one.get("attributes", {}),
            )
            for one in listed
            if one.get("key", "").startswith(self._only)
        )


@hookimpl
def register_extractors(register: RegisterExtractor) -> None:
    """Register the extractors of this module."""
    register("word_lengths", word_lengths)
    register("parts_listed", parts_listed)


def write_plugin(folder: Path) -> None:
    """Write a plugin that registers this module into a folder, to be put on `sys.path`."""
    info = folder / "lookalike_fakes-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lookalike-fakes\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[lookalike]\nfakes = lookalike.testing.fakes\n")
