"""Reads PDF files: the text layer of each page, or its rendered picture with OCR.

PDFium reads them in child processes (`pdf_child`), with limits of time and memory: a small file can
demand any amount of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lookalike.content.child_process import Answer, Child, ChildFailed, ChildPool
from lookalike.errors import BadContent
from lookalike.extractors.base import Content
from lookalike.extractors.document.ocr import PIXELS_PER_INCH, OcrReader

if TYPE_CHECKING:
    from PIL.Image import Image

MEDIA_TYPE = "application/pdf"

THUMBNAIL_SIDE = 512
"""The longer side in pixels of a page that is rendered for a thumbnail."""

_READERS = ChildPool("lookalike.extractors.document.pdf_child")


@dataclass(frozen=True, slots=True)
class PageText:
    """The text layer of a page. `needs_ocr`: the page shows more text than the layer has."""

    text: str
    needs_ocr: bool


class Pdf:
    """An open PDF; pages count from 1."""

    def __init__(self, child: Child, name: str, pages: int) -> None:
        self._child = child
        self._name = name
        self.pages = pages

    def where(self, page: int) -> str:
        """Return the name of a page for messages."""
        return self._name if self.pages == 1 else f"{self._name}, page {page}"

    def text(self, page: int) -> PageText:
        """Return the text layer of a page. Raises BadContent for a damaged page."""
        values, _ = self._ask(page, {"ask": "text", "page": page})
        return PageText(values["text"], values["needs_ocr"])

    def picture(self, page: int, *, side: int = 0, per_inch: float = 0) -> Image:
        """Return a page as RGB: its longer side has `side` pixels, or `per_inch` pixels per inch.

        Raises BadContent for a damaged page.
        """
        from PIL.Image import frombytes

        asked = {"ask": "picture", "page": page, "side": side, "per_inch": per_inch}
        values, pixels = self._ask(page, asked)
        return frombytes("RGB", tuple(values["size"]), pixels)

    def _ask(self, page: int, question: Mapping[str, Any]) -> Answer:
        try:
            return self._child.ask(question)
        except BadContent as error:
            raise BadContent(
                f"cannot read page {page} of {self._name!r} ({error}); print it into a new PDF"
            ) from error


@contextmanager
def opened(content: Content) -> Iterator[Pdf]:
    """Open a PDF.

    Raises BadContent if it is empty, damaged, encrypted, or has no pages, and where a page takes
    too long or too much memory.
    """
    try:
        with _READERS.borrowed() as child:
            try:
                values, _ = child.ask({"ask": "open"}, content.data)
            except BadContent as error:
                raise _unreadable(content, str(error)) from error
            if not values["pages"]:
                raise BadContent(f"cannot read {content.name!r} as PDF: it has no pages; remove it")
            yield Pdf(child, content.name, values["pages"])
    except ChildFailed as error:
        raise BadContent(
            f"cannot read {content.name!r} as PDF: {error}; print it into a new PDF, or remove it"
        ) from error


def render_page(content: Content, page: int) -> Image:
    """Return a page of a PDF, counted from 1, in the size for thumbnails.

    Raises BadContent.
    """
    with opened(content) as pdf:
        return pdf.picture(page, side=THUMBNAIL_SIDE)


def _unreadable(content: Content, problem: str) -> BadContent:
    if not content.data:
        problem, cure = "it is empty (0 bytes)", "upload it again or remove it"
    elif "assword" in problem:
        problem, cure = "it is encrypted", "save it without a password, or remove it"
    else:
        problem, cure = (
            f"it is damaged ({problem})",
            "open it in a viewer and print it into a new PDF, or remove it",
        )
    return BadContent(f"cannot read {content.name!r} as PDF: {problem}; {cure}")


# --- pages: the text layer, or OCR ---------------------------------------------------------------

TEXT_LAYER = "text layer"
OCR = "ocr"


@dataclass(frozen=True, slots=True)
class PdfPage:
    """The text of a page, its source, and the rotation in degrees that made the page upright.

    `number` counts from 1, None for a picture of a single page. `error` is the reason why the page
    could not be read; `picture` is an upright thumbnail.
    """

    number: int | None
    text: str = ""
    source: str = ""
    turn: int = 0
    picture: Image | None = None
    error: BadContent | None = None

    @property
    def is_blank(self) -> bool:
        """Return whether the page has no text."""
        return not self.text.strip()

    def origin(self) -> dict[str, object]:
        """Return the attributes about the source of its text."""
        turned = {"turned": self.turn} if self.turn else {}
        return {"source": self.source, **turned}


def origin(pages: Sequence[PdfPage], total: int) -> dict[str, object]:
    """Return the attributes about the source of the text of a PDF of `total` pages."""
    found: dict[str, object] = {"pages": total}
    if len(pages) < total:
        found["pages_read"] = len(pages)
    unread = [page.number for page in pages if page.error is not None]
    turned = {str(page.number): page.turn for page in pages if page.turn}
    found["source"] = {str(page.number): page.source for page in pages if not page.is_blank}
    return found | ({"unread": unread} if unread else {}) | ({"turned": turned} if turned else {})


class PageReader:
    """Reads pages; it loads the OCR at first use."""

    def __init__(self) -> None:
        self._reader = OcrReader()

    def page(self, opened: Pdf, number: int, *, thumbnail: bool, scans: bool = True) -> PdfPage:
        """Return a page of a PDF, with its picture if `thumbnail`. Raises MissingExtra.

        Without `scans`, a page without a text layer is returned as blank.
        """
        try:
            layer = opened.text(number)
            if not layer.needs_ocr:
                picture = opened.picture(number, side=THUMBNAIL_SIDE) if thumbnail else None
                return PdfPage(number, layer.text, TEXT_LAYER, picture=picture)
            if not scans:
                return PdfPage(number)
            scan = opened.picture(number, per_inch=PIXELS_PER_INCH)
            read = self._read(scan, number, opened.where(number))
            return read if thumbnail else replace(read, picture=None)
        except BadContent as error:
            return PdfPage(number, error=error)

    def scan(self, content: Content) -> PdfPage:
        """Return the page of a scanned picture. Raises BadContent, MissingExtra."""
        return self._read(content.picture(), None, content.name)

    def _read(self, picture: Image, number: int | None, name: str) -> PdfPage:
        reading = self._reader.read(picture, name=name)
        small = picture.copy()
        small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        upright = small.rotate(reading.turn, expand=True)
        return PdfPage(number, reading.text, OCR, reading.turn, upright)
