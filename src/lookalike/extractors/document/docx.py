"""DOCX, read: the words of a Word document in their order, tables and headings among them.

The file is a ZIP with XML inside (ECMA-376, part 1). It is read as a stream and only as far as
asked, so that neither a long document nor one made to burst costs more than that.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from xml.etree.ElementTree import ParseError, XMLParser

from lookalike.errors import BadContent
from lookalike.extractors.base import Content

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

_MAIN = "word/document.xml"
_PIECE_BYTES = 65_536
_MAX_BYTES = 16 * 1024 * 1024
_SIGNS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_NOT_SEEN = frozenset({"Fallback", "instrText", "delText", "del", "moveFrom"})


def read_docx(content: Content, limit: int) -> str:
    """Return the text of a DOCX up to about `limit` characters: a line a paragraph or table row.

    Cells are told apart by tabs. Raises BadContent for what is no DOCX, is damaged or encrypted,
    unpacks to more than 16 MiB before the limit is reached, or has no text.
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
    """Gathers what a reader of the document sees; by local names, as there are two namespaces."""

    def __init__(self) -> None:
        self.length = 0
        self._found: list[str] = []
        self._unseen = 0
        self._in_text = False
        self._rows = 0

    def start(self, tag: str, _attributes: dict[str, str]) -> None:
        """Note what is opened."""
        name = tag.rpartition("}")[2]
        self._unseen += name in _NOT_SEEN
        self._in_text = name == "t"
        self._rows += name == "tr"
        if not self._unseen and tag.startswith("{") and name in _SIGNS:
            self._add(_SIGNS[name])

    def data(self, data: str) -> None:
        """Take the characters of a run of text."""
        if self._in_text and not self._unseen:
            self._add(data)

    def end(self, tag: str) -> None:
        """Note what is closed: paragraphs end lines, cells end with a tab."""
        name = tag.rpartition("}")[2]
        self._unseen -= name in _NOT_SEEN
        self._in_text = False
        self._rows -= name == "tr"
        if not self._unseen and name in ("p", "tr", "tc"):
            self._add({"tc": "\t", "tr": "\n"}.get(name, " " if self._rows else "\n"))

    def close(self) -> None:
        """Note that there is no more."""

    def text(self) -> str:
        """Return what was gathered."""
        return "".join(self._found)

    def _add(self, piece: str) -> None:
        if piece == "\n" and (not self._found or self._found[-1] == "\n"):
            return  # what has no words must not count as read
        self._found.append(piece)
        self.length += len(piece)


def _unreadable(content: Content, problem: str) -> BadContent:
    return BadContent(
        f"cannot read {content.name!r} as DOCX: {problem}; open it in a word processor and save "
        "it again, or remove it"
    )
