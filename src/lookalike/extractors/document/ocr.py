"""Reading of scans: the words on a picture of a page, whichever way up it lies.

RapidOCR runs the PP-OCR networks that are inside its package (Apache-2.0). It turns upright what
is written sideways by itself; a page upside down is told by how unsure the reading is, and read
again the other way up.
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

PER_INCH = 150
"""Pixels an inch at which pages are rendered for reading; 8-point print has 17 of height."""

SURE = 0.85
"""The mean score, by length, from which a reading is believed. Measured on pages made for it, with
noise and skew: the right way up 0.98 to 0.99, upside down 0.56 to 0.70, Greek, Armenian and
Georgian, which the networks do not know, 0.72 to 0.81."""

_LETTERS = 0.1
"""The share of letters below which nothing was read: Arabic and Russian come out as figures."""

_DETECTED_SIDE = 1280
_TALL = 1.5


@dataclass(frozen=True, slots=True)
class Reading:
    """What stands on a page: lines from above, and by how many degrees it must be turned
    counter-clockwise to be upright. `sure` is the mean score of the lines by their length, 0 to 1.
    """

    text: str
    turn: int
    sure: float


_BLANK = Reading("", 0, 1.0)


class OcrReader:
    """Reads pictures of pages, one at a time: each reading uses all cores and much memory."""

    def __init__(self) -> None:
        self._engine: Any = None
        self._lock = Lock()

    def read(self, picture: Image, *, name: str) -> Reading:
        """Return what stands on a page, "" where nothing does.

        Raises BadContent, naming `name`, where it cannot be made out; MissingExtra.
        """
        with self._lock:
            engine = self._loaded()
            found = _lines(engine, picture, 0)
            if found is not None and found.sure < SURE:
                other = _lines(engine, picture.rotate(180), 180)
                found = found if other is None or other.sure < found.sure else other
        if found is None:
            return _BLANK
        signs = [sign for sign in found.text if not sign.isspace()]
        if found.sure < SURE or sum(map(str.isalpha, signs)) < _LETTERS * len(signs):
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
                    "Det.limit_side_len": _DETECTED_SIDE,
                    "EngineConfig.onnxruntime.intra_op_num_threads": min(4, os.cpu_count() or 1),
                    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                }
            )
        return self._engine


def _lines(engine: Any, picture: Image, turned: int) -> Reading | None:
    """Read a picture that was turned by some degrees; None where it has no writing."""
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
    order = _as_read(across, down, float(line))
    return Reading(
        text="\n".join(read.txts[place] for place in order),
        turn=(turned + (90 if tall else 0)) % 360,
        sure=float(np.average(read.scores, weights=lengths)),
    )


def _as_read(across: NDArray[np.float64], down: NDArray[np.float64], line: float) -> list[int]:
    """Return the places of boxes in the order of reading: lines from above, each from the left."""
    places = sorted(range(len(down)), key=lambda place: float(down[place]))
    rows: list[list[int]] = []
    for place in places:
        if rows and down[place] - down[rows[-1][0]] < line / 2:
            rows[-1].append(place)
        else:
            rows.append([place])
    return [place for row in rows for place in sorted(row, key=lambda place: float(across[place]))]
