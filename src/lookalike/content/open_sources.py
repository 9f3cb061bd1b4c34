"""Open stores and connections, asked for pictures and texts when a notebook shows a document.

A document holds the addresses of its contents and not the store that can read them. Contents are
named by their digest, so any open source that has one gives the right one.
"""

from __future__ import annotations

from typing import Protocol
from weakref import WeakSet

from lookalike.errors import LookalikeError
from lookalike.model import Blob


class ContentSource(Protocol):
    """What can read contents: an open store, or a connection to a server."""

    def thumbnail(self, blob: Blob, view: str = "") -> bytes:
        """Return a view of a blob as JPEG. Raises LookalikeError for what it cannot show."""

    def text(self, blob: Blob) -> str:
        """Return the text of a blob. Raises LookalikeError for what it cannot read."""

    def content_of(self, document_id: str) -> tuple[Blob, str] | None:
        """Return the blob and view of a document; None if not exactly one has this id."""


_sources: WeakSet[ContentSource] = WeakSet()


def register(source: ContentSource) -> None:
    """Ask a source from now on, until it is closed or collected."""
    _sources.add(source)


def unregister(source: ContentSource) -> None:
    """Ask a source no more."""
    _sources.discard(source)


def thumbnail_of(blob: Blob, view: str = "") -> bytes | None:
    """Return a view of a blob as JPEG of at most 256 pixels a side, None if no source has it."""
    for source in list(_sources):
        try:
            return source.thumbnail(blob, view)
        except LookalikeError:
            continue
    return None


def text_of(blob: Blob) -> str | None:
    """Return the text of a blob, None if no source has it."""
    for source in list(_sources):
        try:
            return source.text(blob)
        except LookalikeError:
            continue
    return None


def content_of(document_id: str) -> tuple[Blob, str] | None:
    """Return the blob and view of a document by its id, None if no source knows exactly one."""
    found = (source.content_of(document_id) for source in list(_sources))
    return next((one for one in found if one is not None), None)
