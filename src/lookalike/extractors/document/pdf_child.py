"""The child process that reads PDFs with PDFium: the text layer or the picture of a page.

It has no access to the store and ends with its parent; see `content.child_process`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lookalike.content.child_process import Answer, serve
from lookalike.errors import BadContent

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

_POINTS_PER_INCH = 72
_MAX_SIDE = 2200
"""The largest longer side in pixels of a rendered page, however large the page is."""

_FEW_LETTERS = 32
"""A page with fewer letters, and with pictures or many paths, counts as a scan."""

_MANY_PATHS = 100
_PICTURE_SHARE = 0.02
_HYPHENATED = re.compile("[\\x02\\ufffe\\u00ad]\\s*")
_CONTROLS = re.compile("[\\x00-\\x08\\x0e-\\x1f\\x7f]")
_UNMAPPED = re.compile("[\\ufffd\\ue000-\\uf8ff]")


class _Reader:
    """Answers questions about the PDF that was opened last; pages count from 1."""

    def __init__(self) -> None:
        self._document: PdfDocument | None = None

    def answer(self, question: Mapping[str, Any], data: bytes) -> Answer:
        """Answer one question: `open` with the PDF, then `text` and `picture` of a page."""
        if question["ask"] == "open":
            return {"pages": self._open(data)}, b""
        with self._page(question["page"]) as page:
            return _text(page) if question["ask"] == "text" else _picture(page, question)

    def _open(self, data: bytes) -> int:
        from pypdfium2 import PdfDocument, PdfiumError

        if self._document is not None:
            self._document.close()
            self._document = None
        try:
            self._document = PdfDocument(data)
        except (PdfiumError, ValueError) as error:
            raise BadContent(str(error)) from error
        return len(self._document)

    @contextmanager
    def _page(self, page: int) -> Iterator[Any]:
        from pypdfium2 import PdfiumError

        assert self._document is not None, "no PDF is open"
        try:
            opened = self._document[page - 1]
            try:
                yield opened
            finally:
                opened.close()
        except (PdfiumError, IndexError, ValueError) as error:
            raise BadContent(str(error)) from error


def _text(page: Any) -> Answer:
    """Return the text layer of a page, and whether the page shows more text than the layer has."""
    words = page.get_textpage()
    try:
        text = _clean(words.get_text_range())
    finally:
        words.close()
    letters = sum(character.isalnum() for character in text)
    unmapped = len(_UNMAPPED.findall(text))
    needs_ocr = letters < max(_FEW_LETTERS, unmapped) and _shows_more(page)
    return {"text": text, "needs_ocr": needs_ocr}, b""


def _picture(page: Any, question: Mapping[str, Any]) -> Answer:
    """Return the size of a page's picture, and its pixels as RGB."""
    longer = max(*page.get_size(), 1.0)
    wanted = question["side"] or longer * question["per_inch"] / _POINTS_PER_INCH
    bitmap = page.render(scale=min(wanted, _MAX_SIDE) / longer)
    try:
        image = bitmap.to_pil().convert("RGB")
    finally:
        bitmap.close()
    return {"size": image.size}, image.tobytes()


def _shows_more(page: Any) -> bool:
    """Return whether a page has a large picture, or so many paths that letters may be drawn."""
    from pypdfium2 import raw

    width, height = page.get_size()
    paths = 0
    for shape in page.get_objects(max_depth=4):
        if shape.type == raw.FPDF_PAGEOBJ_IMAGE:
            left, bottom, right, top = shape.get_bounds()
            if (right - left) * (top - bottom) > _PICTURE_SHARE * width * height:
                return True
        paths += shape.type == raw.FPDF_PAGEOBJ_PATH
    return paths > _MANY_PATHS


def _clean(text: str) -> str:
    return _CONTROLS.sub(" ", _HYPHENATED.sub("", text).replace("\r\n", "\n"))


if __name__ == "__main__":
    serve(_Reader().answer)
