"""Extractors for tests that change them: real ones, small enough to be read by eye.

`letters` and `endings` see a text by the letters in it, all or the last of each word. `sketched`
finds boxes: each line of a text is `left top width height word`, and two detectors differ in the
order in which they name what they find, and in what they overlook.
"""

from __future__ import annotations

import hashlib
import string
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import BadContent
from lookalike.extractors.base import Content, Extractor, Part, extract_each, unit
from lookalike.extractors.hookspecs import RegisterExtractor, hookimpl
from lookalike.model import Space

ALPHABET = string.ascii_lowercase


class Sketcher:
    """Reads texts by a function; what it has extracted is a line of the file `log`."""

    accepts = frozenset({"text"})

    def __init__(
        self,
        name: str,
        read: Callable[[Content], tuple[Part, ...]],
        log: str,
        pause_ms: int,
    ) -> None:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        self.space = Space(f"{name}.v1/sketch@{digest}", len(ALPHABET))
        self._read = read
        self._log = log
        self._pause_s = pause_ms / 1000

    def extract(self, contents: Sequence[Content]) -> list[tuple[Part, ...] | BadContent]:
        """Return the parts of each text."""
        return extract_each(contents, self._extract_one)

    def _extract_one(self, content: Content) -> tuple[Part, ...]:
        time.sleep(self._pause_s)
        parts = self._read(content)
        if self._log:
            with Path(self._log).open("a", encoding="utf-8") as file:
                file.write(f"{content.name}\n")
        return parts


def letters(log: str = "", pause_ms: int = 0) -> Extractor:
    """Return an extractor that counts the letters of a text."""
    return Sketcher("letters", lambda one: (Part(counted(one.text())),), log, pause_ms)


def endings(log: str = "", pause_ms: int = 0) -> Extractor:
    """Return an extractor that counts the last letters of words; it cannot read digits."""

    def read(content: Content) -> tuple[Part, ...]:
        text = content.text()
        if any(letter.isdigit() for letter in text):
            raise BadContent(f"cannot read {content.name!r}: it has digits; leave them out")
        return (Part(counted("".join(word[-1] for word in text.split()))),)

    return Sketcher("endings", read, log, pause_ms)


def sketched(detector: str = "rows", shift: int = 0, least: int = 0, poor: int = 0) -> Extractor:
    """Return an extractor of boxes: `rows` names them from the top, `columns` from the left.

    It sees all of them `shift` pixels further right, none that is smaller than `least`, and what is
    smaller than `poor` badly.
    """

    def read(content: Content) -> tuple[Part, ...]:
        found = []
        for line in content.text().splitlines():
            *numbers, word = line.split()
            left, top, width, height = map(float, numbers)
            if width * height >= least:
                box = [left + shift, top, width, height]
                found.append((box[1] if detector == "rows" else box[0], box, word))
        return tuple(
            Part(counted(word), f"box-{place}", _seen(box, poor))
            for place, (_, box, word) in enumerate(sorted(found))
        )

    return Sketcher(f"sketched-{detector}", read, "", 0)


def _seen(box: list[float], poor: int) -> dict[str, object]:
    low = {"low_quality": True} if box[2] * box[3] < poor else {}
    return {"box": box, **low}


def counted(text: str) -> NDArray[np.float32]:
    """Return how often each letter is in a text, at unit length, as float32 (26,)."""
    counts = [text.lower().count(letter) for letter in ALPHABET]
    return unit(np.array(counts, np.float32))


@hookimpl
def register_extractors(register: RegisterExtractor) -> None:
    """Register them all."""
    register("letters", letters)
    register("endings", endings)
    register("sketched", sketched)


def write_plugin(folder: Path) -> None:
    """Write the entry point of this module into a folder that will be on the path."""
    info = folder / "lookalike_sketches-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lookalike-sketches\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[lookalike]\nsketches = sketches\n")
