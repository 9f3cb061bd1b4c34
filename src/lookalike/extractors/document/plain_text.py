"""Plain text of what is written in another way: HTML, Markdown, DOCX.

Plain text itself is taken as it is, to the letter: its vectors must never change. `READING` names
the way in which the others are turned into text; a change of it is another version.
"""

from __future__ import annotations

import re
from itertools import islice

from lookalike.errors import BadContent
from lookalike.extractors.base import Content
from lookalike.extractors.document import docx

READING = {"text/html": "html.v1", "text/markdown": "markdown.v1", docx.MEDIA_TYPE: "docx.v1"}
"""Media type → how it is read; any other text is read as it is."""

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
_MARKUP_PER_TEXT = 8  # characters of a file that are looked at for one of text
_MAX_TAGS = 50_000  # time grows with the square of their depth: 3 s if all are nested


def plain_text(content: Content, limit: int) -> str:
    """Return what a content says, up to about `limit` characters.

    Raises BadContent when it cannot be read, or has nothing but white space.
    """
    match content.media_type:
        case "text/html":
            return _seen(content, _html_text(_decoded_html(content, limit)))[:limit]
        case "text/markdown":
            return _seen(content, _markdown_text(content.text()[:limit]))
        case docx.MEDIA_TYPE:
            return docx.read_docx(content, limit)
    return content.text()[:limit]


def _decoded_html(content: Content, limit: int) -> str:
    """Return HTML decoded as it declares itself, else as any text."""
    declared = _CHARSET.search(content.data[:_DECLARED_WITHIN])
    if declared is not None and not content.data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return content.data.decode(declared[1].decode("ascii"))[: limit * _MARKUP_PER_TEXT]
        except (LookupError, UnicodeDecodeError):
            pass  # what a page says of itself is often wrong
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


def _seen(content: Content, text: str) -> str:
    if not text:
        raise BadContent(
            f"cannot read {content.name!r} as text: there is nothing to read but markup; "
            "fill it or remove it"
        )
    return text
