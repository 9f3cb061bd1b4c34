"""Pages, read: from their text layer, or from how they look where there is none to speak of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lookalike.errors import BadContent
from lookalike.extractors.base import Content
from lookalike.extractors.document import pdf
from lookalike.extractors.document.ocr import PER_INCH, Reader

if TYPE_CHECKING:
    from PIL.Image import Image

TEXT_LAYER = "text layer"
OCR = "ocr"


@dataclass(frozen=True, slots=True)
class Page:
    """What was read of a page, from where, and by how many degrees it had to be turned.

    `number` counts from 1, None for a picture that is a page by itself. An `error` says why the
    page could not be read; `picture` is small and upright.
    """

    number: int | None
    text: str = ""
    source: str = ""
    turn: int = 0
    picture: Image | None = None
    error: BadContent | None = None

    @property
    def is_blank(self) -> bool:
        """Return whether nothing was read."""
        return not self.text.strip()

    def origin(self) -> dict[str, object]:
        """Return the attributes that say where its text is from."""
        turned = {"turned": self.turn} if self.turn else {}
        return {"source": self.source, **turned}


def origin(pages: Sequence[Page], total: int) -> dict[str, object]:
    """Return the attributes that say where the text of a PDF of `total` pages is from."""
    said: dict[str, object] = {"pages": total}
    if len(pages) < total:
        said["pages_read"] = len(pages)
    unread = [page.number for page in pages if page.error is not None]
    turned = {str(page.number): page.turn for page in pages if page.turn}
    said["source"] = {str(page.number): page.source for page in pages if not page.is_blank}
    return said | ({"unread": unread} if unread else {}) | ({"turned": turned} if turned else {})


class PageReader:
    """Reads pages; what reads their pictures is loaded when it is first needed."""

    def __init__(self) -> None:
        self._reader = Reader()

    def page(self, opened: pdf.Pdf, number: int, *, pictured: bool, scans: bool = True) -> Page:
        """Return a page of a PDF, with its picture if that is asked for. Raises MissingExtra.

        Without `scans`, what has no text layer stays unread: the page is as if blank.
        """
        try:
            layer = opened.text(number)
            if not layer.needs_reading:
                picture = opened.picture(number, side=pdf.THUMBNAIL_SIDE) if pictured else None
                return Page(number, layer.text, TEXT_LAYER, picture=picture)
            if not scans:
                return Page(number)
            scan = opened.picture(number, per_inch=PER_INCH)
            read = self._read(scan, number, opened.where(number))
            return read if pictured else replace(read, picture=None)
        except BadContent as error:
            return Page(number, error=error)

    def scan(self, content: Content) -> Page:
        """Return a picture that is a page by itself. Raises BadContent, MissingExtra."""
        return self._read(content.picture(), None, content.name)

    def _read(self, picture: Image, number: int | None, name: str) -> Page:
        reading = self._reader.read(picture, name=name)
        small = picture.copy()
        small.thumbnail((pdf.THUMBNAIL_SIDE, pdf.THUMBNAIL_SIDE))
        upright = small.rotate(reading.turn, expand=True)
        return Page(number, reading.text, OCR, reading.turn, upright)
