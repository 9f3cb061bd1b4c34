"""The interface of extractors: content in, parts with vectors out.

Every implementation must pass the tests of `lookalike.testing.extractors.ExtractorContract`.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lookalike.content.pictures import decode
from lookalike.errors import BadContent
from lookalike.model import Space

if TYPE_CHECKING:
    from PIL.Image import Image

VECTOR_TYPE = "application/x-vector"
"""The media type of a vector: its bytes are float32 numbers, little-endian."""

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROL_CHARACTERS = frozenset(range(32)) - frozenset(b"\t\n\v\f\r\x1b")


class Content:
    """One blob to extract from; its picture is decoded only once.

    `regions` are those drawn on the object, if any: mappings with `id` and `box`. `picture` is
    given if the content is decoded already, such as a frame of a video. `beside` holds other
    contents of the same item for members of a combined extractor, by member name, None if the item
    has nothing for one; members without an entry read this content. `refused` holds, by part key,
    why a part could not be extracted while others could.
    """

    def __init__(
        self,
        data: bytes,
        media_type: str,
        *,
        name: str = "",
        max_pixels: int = 100_000_000,
        regions: Sequence[Mapping[str, Any]] | None = None,
        picture: Image | None = None,
        beside: Mapping[str, Content | None] | None = None,
    ) -> None:
        self.data = data
        self.media_type = media_type
        self.name = name
        self.max_pixels = max_pixels
        self.regions = None if regions is None else tuple(regions)
        self.refused: dict[str, str] = {}
        self.beside = dict(beside or {})
        self._picture = picture
        self._lock = Lock()

    def refuse(self, key: str, reason: str) -> None:
        """Record why one part cannot be extracted; the others can."""
        self.refused[key] = reason

    def picture(self) -> Image:
        """Return the blob as an upright RGB image. It is shared: do not modify it.

        Raises BadContent if it is not a picture, is damaged, or has more than `max_pixels` pixels.
        """
        with self._lock:
            if self._picture is None:
                self._picture = decode(self.data, name=self.name, max_pixels=self.max_pixels)
            return self._picture

    def text(self) -> str:
        """Return the blob as text: by its byte order mark, else UTF-8, UTF-16 or Latin-1.

        Raises BadContent if it is binary, or has only white space.
        """
        text = _decode_text(self.data)
        if text is None:
            raise BadContent(
                f"cannot read {self.name!r} as text: it has binary data; "
                "check its media type or remove it"
            )
        if not text.strip():
            raise BadContent(
                f"cannot read {self.name!r} as text: it is empty ({len(self.data):,} bytes, "
                "only white space); fill it or remove it"
            )
        return text


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an item, from which a document is made.

    `vector` is float32 (dimension,) of unit length. `key` is "" for the whole item, else a name of
    the part that stays the same when the item is extracted again ("face-0", "page-3").

    `attributes` are JSON values. `box` ([left, top, width, height] in pixels of the upright
    picture), `page` (from 1) and `time_ms` say where in the item the part is. A part with
    `low_quality` true is neither a reference nor labelled automatically, unless the taxonomy
    allows it. `picture` is the image to show to people, if the extractor has it.
    """

    vector: NDArray[np.float32]
    key: str = ""
    attributes: Mapping[str, object] = field(default_factory=dict)
    picture: Image | None = field(default=None, compare=False, repr=False)


class Extractor(Protocol):
    """Turns contents into parts whose vectors share one space."""

    @property
    def space(self) -> Space:
        """The embedding space of the vectors; known without loading a model."""

    @property
    def accepts(self) -> frozenset[str]:
        """The media types that it reads: whole ones or families ("image", "text", "vector")."""

    def extract(self, contents: Sequence[Content]) -> list[tuple[Part, ...] | BadContent]:
        """Return for each content, in order, its parts, or the error why it has none.

        A bad content must not affect the others, and a vector must not depend on the other
        `contents`. Several threads may call this at the same time.
        """


def accepts(extractor: Extractor, media_type: str) -> bool:
    """Return whether an extractor reads blobs of a media type."""
    family = "vector" if media_type == VECTOR_TYPE else media_type.partition("/")[0]
    return family in extractor.accepts or media_type in extractor.accepts


def uses_gpu(extractor: Extractor) -> bool:
    """Return whether an extractor would run on a GPU here: the result of its `uses_gpu()`, if it
    has that method.
    """
    own: Callable[[], bool] | None = getattr(extractor, "uses_gpu", None)
    return own is not None and own()


def extract_each(
    contents: Sequence[Content], extract_one: Callable[[Content], tuple[Part, ...]]
) -> list[tuple[Part, ...] | BadContent]:
    """Return the parts of each content, or the BadContent that `extract_one` raised for it."""
    results: list[tuple[Part, ...] | BadContent] = []
    for content in contents:
        try:
            results.append(extract_one(content))
        except BadContent as error:
            results.append(error)
    return results


def unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a vector (dimension,) scaled to length 1, as float32; it must not be zero."""
    wide = vector.astype(np.float64)
    return (wide / np.linalg.norm(wide)).astype(np.float32)


def _decode_text(data: bytes) -> str | None:
    """Return the text, or None if the bytes are not text."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return _decoded(data, encoding)
    if b"\0" in data:
        return _decoded(data, _utf_16_order(data)) if len(data) % 2 == 0 else None
    if not _CONTROL_CHARACTERS.isdisjoint(data):
        return None
    text = _decoded(data, "utf-8")
    return data.decode("latin-1") if text is None else text


def _utf_16_order(data: bytes) -> str:
    """Return the byte order for which the zero bytes are the high bytes of Latin letters."""
    return "utf-16-le" if data[1::2].count(0) > data[::2].count(0) else "utf-16-be"


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return text if _CONTROL_CHARACTERS.isdisjoint(map(ord, text)) else None
