"""Conversion of HTML, Markdown and DOCX to plain text.

Plain text itself is not changed in any character, because its vectors must never change. `READING`
names the version of each conversion; a changed conversion gets a new version.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from itertools import islice
from xml.etree.ElementTree import ParseError, XMLParser

from lookalike.errors import BadContent
from lookalike.extractors.base import Content

# --- DOCX ----------------------------------------------------------------------------------------

# The file is a ZIP with XML inside (ECMA-376, part 1). It is read as a stream, and only as far as
# needed, so that the cost is bounded for a long document and for a zip bomb.

DOCX_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

_MAIN = "word/document.xml"
_PIECE_BYTES = 65_536
_MAX_BYTES = 16 * 1024 * 1024
_CHARACTERS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_HIDDEN = frozenset({"Fallback", "instrText", "delText", "del", "moveFrom"})


def read_docx(content: Content, limit: int) -> str:
    """Return the text of a DOCX up to about `limit` characters: a line per paragraph or table row.

    Tabs separate cells. Raises BadContent if it is not a DOCX, is damaged or encrypted, unpacks to
    more than 16 MiB before the limit is reached, or has no text.
    """
    words = _Words()
    try:
        with zipfile.ZipFile(io.BytesIO(content.data)) as archive, archive.open(_MAIN) as file:
            parser = XMLParser(target=words)
            left = _MAX_BYTES
            while words.length < limit and (piece := file.read(_PIECE_BYTES)):
                left -= len(piece)
                if left < 0:
                    raise _unreadable(content, f"it unpacks to more than {_MAX_BYTES:,} bytes")
                parser.feed(piece)
    except KeyError as error:
        raise _unreadable(content, f"it is a ZIP without {_MAIN}") from error
    except (
        *(zipfile.BadZipFile, zlib.error, ParseError),
        *(EOFError, NotImplementedError, OSError, RuntimeError, ValueError),
    ) as error:
        raise _unreadable(content, f"it is damaged or encrypted ({error})") from error
    text = words.text()
    if not text.strip():
        raise BadContent(
            f"cannot read {content.name!r} as DOCX: it has no text; if it is a scan, save it as "
            "PDF and add it to a collection with document_extractor"
        )
    return text[:limit]


class _Words:
    """An XML target that collects the visible text. It uses local names of elements, because DOCX
    has two namespaces.
    """

    def __init__(self) -> None:
        self.length = 0
        self._found: list[str] = []
        self._hidden = 0
        self._in_text = False
        self._rows = 0

    def start(self, tag: str, _attributes: dict[str, str]) -> None:
        """Handle the start of an element."""
        name = tag.rpartition("}")[2]
        self._hidden += name in _HIDDEN
        self._in_text = name == "t"
        self._rows += name == "tr"
        if not self._hidden and tag.startswith("{") and name in _CHARACTERS:
            self._add(_CHARACTERS[name])

    def data(self, data: str) -> None:
        """Collect the characters of a run of text."""
        if self._in_text and not self._hidden:
            self._add(data)

    def end(self, tag: str) -> None:
        """Handle the end of an element: a paragraph ends its line, a cell ends with a tab."""
        name = tag.rpartition("}")[2]
        self._hidden -= name in _HIDDEN
        self._in_text = False
        self._rows -= name == "tr"
        if not self._hidden and name in ("p", "tr", "tc"):
            self._add({"tc": "\t", "tr": "\n"}.get(name, " " if self._rows else "\n"))

    def close(self) -> None:
        """Handle the end of the file."""

    def text(self) -> str:
        """Return the collected text."""
        return "".join(self._found)

    def _add(self, piece: str) -> None:
        if piece == "\n" and (not self._found or self._found[-1] == "\n"):
            return  # empty lines must not count towards the limit
        self._found.append(piece)
        self.length += len(piece)


def _unreadable(content: Content, problem: str) -> BadContent:
    return BadContent(
        f"cannot read {content.name!r} as DOCX: {problem}; open it in a word processor and save "
        "it again, or remove it"
    )


# --- HTML and Markdown ---------------------------------------------------------------------------

READING = {"text/html": "html.v1", "text/markdown": "markdown.v1", DOCX_TYPE: "docx.v1"}
"""Media type → the version of its conversion; other texts are not converted."""

_NOT_TEXT = "script, style, template, noscript, svg, math, iframe, object, select, head > *"
_BLOCKS = (
    "address, article, aside, blockquote, br, caption, dd, div, dl, dt, figcaption, figure, "
    "footer, form, h1, h2, h3, h4, h5, h6, header, hr, li, main, nav, ol, p, pre, section, "
    "table, td, th, tr, ul"
)
_CHARSET = re.compile(
    rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]{2,40})""", re.IGNORECASE
)
_DECLARED_WITHIN = 1024  # bytes, as browsers do
_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r"\s*\n\s*")
_MARKUP_PER_TEXT = 8  # characters of a file that are read for one of text
_MAX_TAGS = 50_000  # time grows with the square of their depth: 3 s if all are nested


def plain_text(content: Content, limit: int) -> str:
    """Return the text of a content, up to about `limit` characters.

    Raises BadContent if it cannot be read, or has only white space.
    """
    match content.media_type:
        case "text/html":
            return _not_empty(content, _html_text(_decoded_html(content, limit)))[:limit]
        case "text/markdown":
            return _not_empty(content, _markdown_text(content.text()[:limit]))
        case kind if kind == DOCX_TYPE:
            return read_docx(content, limit)
    return content.text()[:limit]


def _decoded_html(content: Content, limit: int) -> str:
    """Return HTML decoded with the encoding that it declares, else as any text."""
    declared = _CHARSET.search(content.data[:_DECLARED_WITHIN])
    if declared is not None and not content.data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return content.data.decode(declared[1].decode("ascii"))[: limit * _MARKUP_PER_TEXT]
        except (LookupError, UnicodeDecodeError):
            pass  # declared encodings are often wrong
    return content.text()[: limit * _MARKUP_PER_TEXT]


def _html_text(html: str) -> str:
    from selectolax.lexbor import LexborHTMLParser

    beyond = next(islice(re.finditer("<", html), _MAX_TAGS, None), None)
    tree = LexborHTMLParser(html if beyond is None else html[: beyond.start()])
    title = tree.css_first("head > title")
    heading = "" if title is None else title.text()
    for node in tree.css(_NOT_TEXT):
        node.decompose()
    for node in tree.css(_BLOCKS):
        node.insert_before("\n")
        node.insert_after("\n")
    body = tree.body
    text = f"{heading}\n{'' if body is None else body.text(deep=True)}"
    return _LINES.sub("\n", _SPACES.sub(" ", text)).strip()


def _markdown_text(markdown: str) -> str:
    from markdown_it import MarkdownIt

    return _html_text(MarkdownIt("commonmark").enable("table").render(markdown))


def _not_empty(content: Content, text: str) -> str:
    if not text:
        raise BadContent(
            f"cannot read {content.name!r} as text: it has only markup; fill it or remove it"
        )
    return text
