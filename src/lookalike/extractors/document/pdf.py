"""PDF, read: the text layer and the picture of each page.

PDFium is not safe from several threads: every call of it, in whichever document, is made under one
lock. What is done with the text and the pictures runs outside of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from lookalike.errors import BadContent
from lookalike.extractors.base import Content

if TYPE_CHECKING:
    from PIL.Image import Image
    from pypdfium2 import PdfDocument

MEDIA_TYPE = "application/pdf"

THUMBNAIL_SIDE = 512
"""Pixels of the longer side of a page that is rendered to be shown small."""

_ONE_AT_A_TIME = Lock()
_POINTS_PER_INCH = 72
_MOST_SIDE = 2200
"""Pixels of the longer side of a rendered page at most, however large the page is."""

_FEW_LETTERS = 32
"""Fewer letters than this, and a page with pictures or many lines on it is taken as a scan."""

_MANY_PATHS = 100
_PICTURE_SHARE = 0.02
_HYPHENATED = re.compile("[\\x02\\ufffe\\u00ad]\\s*")
_CONTROLS = re.compile("[\\x00-\\x08\\x0e-\\x1f\\x7f]")
_UNMAPPED = re.compile("[\\ufffd\\ue000-\\uf8ff]")


@dataclass(frozen=True, slots=True)
class PageText:
    """The text layer of a page; with `needs_reading`, the page shows more than the layer says."""

    text: str
    needs_reading: bool


class Pdf:
    """An open PDF; pages count from 1."""

    def __init__(self, document: PdfDocument, name: str) -> None:
        self._document = document
        self._name = name
        with _ONE_AT_A_TIME:
            self.pages = len(document)

    def where(self, page: int) -> str:
        """Return what a page is called in messages."""
        return self._name if self.pages == 1 else f"{self._name}, page {page}"

    def text(self, page: int) -> PageText:
        """Return what the text layer of a page says. Raises BadContent for a damaged page."""
        with self._page(page) as opened:
            words = opened.get_textpage()
            try:
                text = _clean(words.get_text_range())
            finally:
                words.close()
            letters = sum(sign.isalnum() for sign in text)
            unmapped = len(_UNMAPPED.findall(text))
            needs = letters < max(_FEW_LETTERS, unmapped) and _shows_more(opened)
        return PageText(text, needs)

    def picture(self, page: int, *, side: int = 0, per_inch: float = 0) -> Image:
        """Return a page as RGB: its longer side `side` pixels, or at `per_inch` pixels an inch.

        Raises BadContent for a damaged page.
        """
        with self._page(page) as opened:
            longer = max(*opened.get_size(), 1.0)
            wanted = side or longer * per_inch / _POINTS_PER_INCH
            bitmap = opened.render(scale=min(wanted, _MOST_SIDE) / longer)
            try:
                image: Image = bitmap.to_pil()
                return image.convert("RGB")
            finally:
                bitmap.close()

    @contextmanager
    def _page(self, page: int) -> Iterator[Any]:
        from pypdfium2 import PdfiumError

        with _ONE_AT_A_TIME:
            try:
                opened = self._document[page - 1]
                try:
                    yield opened
                finally:
                    opened.close()
            except (PdfiumError, IndexError, ValueError) as error:
                raise BadContent(
                    f"cannot read page {page} of {self._name!r} ({error}); print it into a new PDF"
                ) from error


@contextmanager
def opened(content: Content) -> Iterator[Pdf]:
    """Open a PDF. Raises BadContent when it is empty, damaged, encrypted, or has no pages."""
    from pypdfium2 import PdfDocument, PdfiumError

    try:
        with _ONE_AT_A_TIME:
            document = PdfDocument(content.data)
    except (PdfiumError, ValueError) as error:
        raise _unreadable(content, str(error)) from error
    try:
        pdf = Pdf(document, content.name)
        if not pdf.pages:
            raise BadContent(f"cannot read {content.name!r} as PDF: it has no pages; remove it")
        yield pdf
    finally:
        with _ONE_AT_A_TIME:
            document.close()


def render_page(content: Content, page: int) -> Image:
    """Return a page of a PDF, counted from 1, in the size that a thumbnail is made of.

    Raises BadContent.
    """
    with opened(content) as pdf:
        return pdf.picture(page, side=THUMBNAIL_SIDE)


def _shows_more(page: Any) -> bool:
    """Return whether a page has a picture of some size, or as many paths as drawn letters need."""
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


def _unreadable(content: Content, problem: str) -> BadContent:
    if not content.data:
        problem, cure = "it is empty (0 bytes)", "upload it again or remove it"
    elif "assword" in problem:
        problem, cure = "it is encrypted", "save it without a password, or remove it"
    else:
        problem, cure = f"it is damaged ({problem})", "open it in a viewer, print it anew or remove"
    return BadContent(f"cannot read {content.name!r} as PDF: {problem}; {cure}")
