"""XML from elsewhere: read without a document type, so that no entity can grow or reach out."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers.expat import ExpatError, ParserCreate

from lookalike.errors import BadInput


def read_xml(path: Path) -> Element:
    """Return the root of an XML file. Raises BadInput with the line for what is none.

    A file with a document type is refused: only there can entities be declared.
    """
    builder = TreeBuilder()
    parser = ParserCreate(namespace_separator=None)
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data

    def refuse(*_: object) -> None:
        raise BadInput(
            f"{path.name} line {parser.CurrentLineNumber} has a document type (<!DOCTYPE …>), "
            "which could hide entities; take that line out"
        )

    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
    except ExpatError as error:
        raise BadInput(f"{path.name} is not XML: {error}") from error
    except OSError as error:
        raise BadInput(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    return builder.close()
