"""The document extractor: one vector for a PDF, scan or text, or for each page of a PDF."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate

from lookalike.errors import BadContent, BadSetting, MissingExtra
from lookalike.extractors.base import Content, Extractor, Part, extract_each
from lookalike.extractors.document import pdf
from lookalike.extractors.document.pdf import OCR, PageReader, PdfPage, origin
from lookalike.extractors.document.plain_text import DOCX_TYPE, plain_text
from lookalike.extractors.text import MAX_CHARACTERS, text_encoder, text_part
from lookalike.extractors.text_models import DEFAULTS
from lookalike.extractors.text_passages import MAX_PASSAGES, Passage, TextEncoder, pooled
from lookalike.model import Space

UNITS = ("document", "page")
"""The values of the option `per`: what becomes one document of the collection."""

MAX_PAGES = 200
"""The default number of pages that are read of one PDF."""

MAX_MAX_PAGES = 10_000

QUOTED_SCANS = 3
"""The number of scanned pages that `passages` reads again, at seconds per page."""

THUMBNAIL_PAGES = 32
"""The pages whose thumbnails are made during extraction; those of others on request."""

_ENOUGH_CHARACTERS = MAX_PASSAGES * 1000
"""The text of a document after which no further pages are read: no model uses more."""

_PAGE_BREAK = "\n\n"


def document_extractor(
    model: str = DEFAULTS[-1],
    *,
    per: str = "document",
    max_pages: int = MAX_PAGES,
    threads: int = 1,
) -> Extractor:
    """Return the extractor for PDF, scanned pictures, and all that the text extractor reads.

    `model` is a text model, and the vectors are in its space: a PDF and a text with the same words
    have the same vector. `per` is "document", or "page" for one document per page of a PDF. Only
    the first `max_pages` of a PDF are read. Raises NotFound, MissingExtra, and BadSetting for other
    values.

    >>> document_extractor(per="page").space.dimension
    384
    """
    if per not in UNITS:
        raise BadSetting(f"per is {per!r}; choose one of {', '.join(UNITS)}")
    if not 1 <= max_pages <= MAX_MAX_PAGES:
        raise BadSetting(f"max_pages is {max_pages:,}; choose 1 to {MAX_MAX_PAGES:,}")
    encoder = text_encoder(model, threads=threads)
    return DocumentExtractor(encoder, by_page=per == "page", max_pages=max_pages)


class DocumentExtractor:
    """Reads the text layer of each page, or runs OCR on it if the layer has hardly any text."""

    accepts = frozenset({pdf.MEDIA_TYPE, "image", "text", DOCX_TYPE})

    def __init__(self, encoder: TextEncoder, *, by_page: bool, max_pages: int) -> None:
        self._encoder = encoder
        self._by_page = by_page
        self._max_pages = max_pages
        self.reader = PageReader()

    @property
    def space(self) -> Space:
        """The space of the text model: the text of a page is embedded like any text."""
        return self._encoder.space

    def extract(self, contents: Sequence[Content]) -> list[tuple[Part, ...] | BadContent]:
        """Return one part for each content, or one for each page with words.

        Attributes: `chunks`, the number of passages; `source`, "text layer" or "ocr" (for a whole
        PDF by page); `turned`, the rotation that made a scan upright, in degrees counter-clockwise
        (likewise by page). For a PDF also `pages`, their number; `unread`, the pages that could not
        be read; `pages_read` if there were too many; for a page `page`, from 1.
        """
        return extract_each(contents, self._extract_one)

    def passages(self, content: Content, part: str = "") -> list[Passage]:
        """Return the passages of a document, or of one of its pages. Raises BadContent.

        Scans are read again, because their text is not stored, but at most three pages of a PDF.
        """
        if _is_text(content):
            return self._encoder.passages(plain_text(content, MAX_CHARACTERS), name=content.name)
        with _extras_named(content):
            if content.media_type != pdf.MEDIA_TYPE:
                return self._passages([self.reader.scan(content)], content.name)
            with pdf.opened(content) as opened:
                page = int(part.rpartition("-")[2]) if part else None
                pages = list(self._pages(opened, page, scans=QUOTED_SCANS))
                return self._passages(pages, content.name)

    def _extract_one(self, content: Content) -> tuple[Part, ...]:
        if _is_text(content):
            return (text_part(self.passages(content), content.media_type),)
        with _extras_named(content):
            if content.media_type != pdf.MEDIA_TYPE:
                page = self.reader.scan(content)
                return (self._part("", [page], content.name, page.origin()),)
            with pdf.opened(content) as opened:
                if self._by_page:
                    return self._each_page(opened, content.name)
                pages = list(self._pages(opened))
                return (self._part("", pages, content.name, origin(pages, opened.pages)),)

    def _each_page(self, opened: pdf.Pdf, name: str) -> tuple[Part, ...]:
        parts, refused = [], _blank(name, opened.pages)
        for page in self._pages(opened):
            attributes = {"page": page.number, "pages": opened.pages, **page.origin()}
            try:
                parts.append(self._part(f"page-{page.number}", [page], name, attributes))
            except BadContent as error:
                refused = refused if page.error is None and page.is_blank else error
        if not parts:
            raise refused
        return tuple(parts)

    def _pages(
        self, opened: pdf.Pdf, only: int | None = None, scans: int = MAX_MAX_PAGES
    ) -> Iterator[PdfPage]:
        """Yield the pages of a PDF, or a single one, until there is enough text for a document.

        OCR runs on at most `scans` pages; further scans stay unread.
        """
        numbers = range(1, min(opened.pages, self._max_pages) + 1)
        thumbnails = 0 if only else THUMBNAIL_PAGES if self._by_page else 1
        read = 0
        for number in numbers if only is None else [only]:
            page = self.reader.page(opened, number, thumbnail=number <= thumbnails, scans=scans > 0)
            yield page
            scans -= page.source == OCR
            read += len(page.text)
            if read > _ENOUGH_CHARACTERS and not self._by_page:
                return

    def _part(
        self, key: str, pages: Sequence[PdfPage], name: str, attributes: Mapping[str, object]
    ) -> Part:
        passages = self._passages(pages, name)
        attributes = {"chunks": len(passages), **attributes}
        return Part(pooled(passages), key, attributes, pages[0].picture)

    def _passages(self, pages: Sequence[PdfPage], name: str) -> list[Passage]:
        """Return the passages of the joined text of pages; each has the page on which it begins."""
        if all(page.is_blank for page in pages):
            errors = (page.error for page in pages if page.error is not None)
            raise next(errors, _blank(name, len(pages)))
        found = self._encoder.passages(_PAGE_BREAK.join(page.text for page in pages), name=name)
        ends = list(accumulate(len(page.text) + len(_PAGE_BREAK) for page in pages))
        indices = [min(bisect_right(ends, passage.start), len(pages) - 1) for passage in found]
        return [
            replace(passage, page=pages[index].number)
            for passage, index in zip(found, indices, strict=True)
        ]


def _is_text(content: Content) -> bool:
    return content.media_type.startswith("text/") or content.media_type == DOCX_TYPE


@contextmanager
def _extras_named(content: Content) -> Iterator[None]:
    """Turn a MissingExtra into a BadContent: only the content that needs the extra fails."""
    try:
        yield
    except MissingExtra as error:
        raise BadContent(f"cannot read {content.name!r}: {error}") from error


def _blank(name: str, pages: int) -> BadContent:
    where = "the page has" if pages == 1 else f"its {pages:,} pages have"
    return BadContent(f"cannot read {name!r}: {where} no text; remove it")
