"""OCR of scans: the words on a picture of a page, in any of four rotations.

RapidOCR runs the PP-OCR networks inside its package (Apache-2.0). It handles sideways text itself;
a low score means that the page may be upside down, so it is read again, rotated by 180 degrees.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import BadContent, MissingExtra

if TYPE_CHECKING:
    from PIL.Image import Image

PIXELS_PER_INCH = 150
"""The resolution at which pages are rendered for OCR; 8-point print is 17 pixels high."""

MIN_SCORE = 0.85
"""The lowest mean score, weighted by length, of an accepted reading. Measured on synthetic pages
with noise and skew: upright 0.98 to 0.99, upside down 0.56 to 0.70, Greek, Armenian and Georgian,
which the networks do not know, 0.72 to 0.81."""

_MIN_LETTERS = 0.1
"""The lowest share of letters of an accepted reading: Arabic and Russian are read as digits."""

_DETECTION_SIDE = 1280
_TALL = 1.5


@dataclass(frozen=True, slots=True)
class Reading:
    """The text of a page, line by line, and the rotation that makes the page upright, in degrees
    counter-clockwise. `score` is the mean score of the lines, weighted by length, 0 to 1.
    """

    text: str
    turn: int
    score: float


_BLANK = Reading("", 0, 1.0)


class OcrReader:
    """Reads pictures of pages, one at a time, because each takes all cores and much memory."""

    def __init__(self) -> None:
        self._engine: Any = None
        self._lock = Lock()

    def read(self, picture: Image, *, name: str) -> Reading:
        """Return the reading of a page; its text is "" if the page has no writing.

        Raises BadContent, with `name`, if the writing cannot be recognized; MissingExtra.
        """
        with self._lock:
            engine = self._loaded()
            found = _lines(engine, picture, 0)
            if found is not None and found.score < MIN_SCORE:
                other = _lines(engine, picture.rotate(180), 180)
                found = found if other is None or other.score < found.score else other
        if found is None:
            return _BLANK
        characters = [character for character in found.text if not character.isspace()]
        letters = sum(map(str.isalpha, characters))
        if found.score < MIN_SCORE or letters < _MIN_LETTERS * len(characters):
            raise BadContent(
                f"cannot read {name!r}: its letters are too faint, or of a script that the reader "
                "does not know (it knows Latin and Chinese); scan it again with more contrast, or "
                "add its text"
            )
        return found

    def _loaded(self) -> Any:
        if self._engine is None:
            try:
                from rapidocr import RapidOCR
            except ImportError as error:
                raise MissingExtra.named("reading a scan", "ocr") from error
            self._engine = RapidOCR(
                params={
                    "Global.log_level": "error",
                    "Global.text_score": 0.0,
                    "Global.use_cls": False,
                    "Det.limit_type": "max",
                    "Det.limit_side_len": _DETECTION_SIDE,
                    "EngineConfig.onnxruntime.intra_op_num_threads": min(4, os.cpu_count() or 1),
                    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                }
            )
        return self._engine


def _lines(engine: Any, picture: Image, turned: int) -> Reading | None:
    """Read a picture that was rotated by `turned` degrees; None if it has no writing."""
    read = engine(np.asarray(picture)[..., ::-1])  # it expects BGR
    if not read.txts:
        return None
    boxes = np.asarray(read.boxes, np.float64)  # (n, 4 corners, 2)
    lengths = np.array([max(1, len(text)) for text in read.txts], np.float64)
    width, height = np.ptp(boxes, axis=1).T
    tall = float(lengths[height > _TALL * width].sum()) > lengths.sum() / 2
    x, y = boxes.mean(axis=1).T
    across, down = (y, picture.width - x) if tall else (x, y)
    line = np.median(np.where(tall, width, height))
    order = _reading_order(across, down, float(line))
    return Reading(
        text="\n".join(read.txts[place] for place in order),
        turn=(turned + (90 if tall else 0)) % 360,
        score=float(np.average(read.scores, weights=lengths)),
    )


def _reading_order(
    across: NDArray[np.float64], down: NDArray[np.float64], line: float
) -> list[int]:
    """Return the indices of boxes by line from the top, then from the left."""
    places = sorted(range(len(down)), key=lambda place: float(down[place]))
    rows: list[list[int]] = []
    for place in places:
        if rows and down[place] - down[rows[-1][0]] < line / 2:
            rows[-1].append(place)
        else:
            rows.append([place])
    return [place for row in rows for place in sorted(row, key=lambda place: float(across[place]))]
