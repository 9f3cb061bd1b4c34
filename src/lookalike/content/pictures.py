"""Pictures: find the media type of a file, decode it, make thumbnails.

`decode` always returns upright 8-bit RGB: it applies the EXIF orientation, puts transparent pixels
on white, and scales 16-bit and float values. It checks the size before it decodes any pixel.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from importlib import import_module
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from lookalike.errors import BadContent

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

_DECODERS = {
    "image/jpeg": ("PIL.JpegImagePlugin", "jpeg_factory"),
    "image/png": ("PIL.PngImagePlugin", "PngImageFile"),
    "image/gif": ("PIL.GifImagePlugin", "GifImageFile"),
    "image/webp": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "image/tiff": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "image/bmp": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "image/avif": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "image/heic": ("pillow_heif", "HeifImageFile"),
}
"""Media type → module and decoder. We call decoders directly, because `PIL.Image.open` has its own
limit of pixels, which only a process-wide variable can change."""

_DECODER_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, AttributeError),
    *(EOFError, OverflowError, NotImplementedError, RuntimeError, ZeroDivisionError),
    *(struct.error, zlib.error),
)
"""The errors that Pillow and its plugins raise on damaged files."""

_MAGIC = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"II+\x00", "image/tiff"),
    (0, b"MM\x00+", "image/tiff"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (8, b"AVI ", "video/x-msvideo"),
)
"""Offset, bytes, media type."""

_PDF = "application/pdf"
_DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "image/heic"),
    **dict.fromkeys((b"mif1", b"msf1"), "image/heic"),
    b"qt  ": "video/quicktime",
}
"""Major brands of ISO media files; any other is a video."""

_SUFFIXES = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "image/jpeg"),
    **dict.fromkeys((".tif", ".tiff"), "image/tiff"),
    **dict.fromkeys((".heic", ".heif"), "image/heic"),
    **dict.fromkeys((".md", ".markdown"), "text/markdown"),
    **dict.fromkeys((".htm", ".html", ".xhtml"), "text/html"),
    **dict.fromkeys((".txt", ".text", ".log"), "text/plain"),
    ".png": "image/png",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".avif": "image/avif",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
    ".docx": _DOCX,
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
    ".mkv": "video/webm",
    **dict.fromkeys((".mpg", ".mpeg"), "video/mpeg"),
    **dict.fromkeys((".mts", ".m2ts"), "video/mp2t"),
    ".3gp": "video/3gpp",
    ".ogv": "video/ogg",
    ".wmv": "video/x-ms-wmv",
    ".flv": "video/x-flv",
    ".avi": "video/x-msvideo",
}

_TRANSPOSED = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""

_UNKNOWN = "application/octet-stream"
_SIDE = 256


def kinds_named(kinds: Iterable[str]) -> list[str]:
    """Return readable names of media types and families of them, sorted.

    >>> kinds_named(["text", "application/pdf"])
    ['PDF', 'text']
    """
    return sorted({_PDF: "PDF", _DOCX: "DOCX"}.get(kind, kind) for kind in kinds)


def sniff(data: bytes, name: str) -> str:
    """Return the media type of `data`: from its first bytes, else from the suffix of `name`.

    Text has no signature: data that decodes as text is `text/plain` unless the suffix is known.
    Anything else is `application/octet-stream`.

    >>> sniff(b"GIF89a", "photo.jpg"), sniff(b"# Title", "notes.md"), sniff(b"hello", "")
    ('image/gif', 'text/markdown', 'text/plain')
    """
    return (
        _signature(data)
        or _SUFFIXES.get(PurePath(name).suffix.lower())
        or ("text/plain" if _is_text(data[:4096]) else _UNKNOWN)
    )


def decode(data: bytes, *, name: str, max_pixels: int) -> Image:
    """Return the picture as an upright RGB image; the first frame, if it has several.

    Reads JPEG, PNG, GIF, WebP, TIFF, BMP, HEIC and AVIF, in any color mode. Raises BadContent if
    `data` is empty, not a picture, damaged, or has more than `max_pixels` pixels, which is checked
    before decoding.
    """
    from PIL.Image import DecompressionBombError

    media_type = sniff(data, "")
    _check_media_type(data, media_type, name)
    try:
        image = _open(data, media_type)
        _check_size(image, name=name, max_pixels=max_pixels)
        image.load()
        return _to_rgb(_upright(image))
    except (*_DECODER_ERRORS, DecompressionBombError) as error:
        damage = f"damaged {media_type} ({error})"
        if "truncated" in str(error).lower():
            damage = f"truncated after {len(data):,} bytes"
        raise _unreadable(name, damage, "open it in a viewer or remove it") from error


def check_picture(data: bytes, *, name: str, max_pixels: int) -> None:
    """Raise BadContent if `data` is not a picture or has too many pixels, without decoding it."""
    from PIL.Image import DecompressionBombError

    media_type = sniff(data, "")
    _check_media_type(data, media_type, name)
    try:
        _check_size(_open(data, media_type), name=name, max_pixels=max_pixels)
    except (*_DECODER_ERRORS, DecompressionBombError) as error:
        damage = f"damaged {media_type} ({error})"
        raise _unreadable(name, damage, "open it in a viewer or remove it") from error


def upright_size(data: bytes, *, name: str) -> tuple[int, int]:
    """Return width and height of the upright picture, without decoding it. Raises BadContent."""
    media_type = sniff(data, "")
    _check_media_type(data, media_type, name)
    try:
        image = _open(data, media_type)
        width, height = image.size
        return (height, width) if _orientation(image) in _TRANSPOSED else (width, height)
    except _DECODER_ERRORS as error:
        damage = f"damaged {media_type} ({error})"
        raise _unreadable(name, damage, "open it in a viewer or remove it") from error


def thumbnail(image: Image) -> bytes:
    """Return an RGB `image` as a JPEG of at most 256 × 256 pixels; never enlarged."""
    file = io.BytesIO()
    shrunk(image).save(file, "JPEG", quality=85)
    return file.getvalue()


def shrunk(image: Image) -> Image:
    """Return a copy of an image of at most 256 × 256 pixels; never enlarged."""
    from PIL.Image import Resampling

    small = image.copy()
    small.thumbnail((_SIDE, _SIDE), Resampling.LANCZOS, reducing_gap=3.0)
    return small


def _signature(data: bytes) -> str:
    for offset, magic, media_type in _MAGIC:
        if data[offset : offset + len(magic)] == magic:
            return media_type
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "video/mp4")
    if data.startswith(b"PK\3\4") and b"word/document.xml" in data:
        return _DOCX
    if data[:2] == b"BM" and data[6:10] == bytes(4):
        return "image/bmp"
    return _markup(data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower())


def _markup(start: bytes) -> str:
    if start.startswith(b"<svg") or (start.startswith((b"<?xml", b"<!--")) and b"<svg" in start):
        return "image/svg+xml"
    return "text/html" if start.startswith((b"<!doctype html", b"<html")) else ""


def _is_text(start: bytes) -> bool:
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    try:
        start.decode()
    except UnicodeDecodeError as error:
        return error.start > len(start) - 4 and b"\0" not in start  # cut inside a character
    return bool(start) and b"\0" not in start


def _unreadable(name: str, problem: str, remedy: str) -> BadContent:
    return BadContent(f"cannot decode the picture {name!r}: {problem}; {remedy}")


def _check_media_type(data: bytes, media_type: str, name: str) -> None:
    if not data:
        raise _unreadable(name, "it is empty (0 bytes)", "upload it again or remove it")
    if media_type not in _DECODERS:
        kinds = ", ".join(kind.removeprefix("image/").upper() for kind in _DECODERS)
        raise _unreadable(name, f"its bytes are {media_type}", f"give one of {kinds}")


def _open(data: bytes, media_type: str) -> Image:
    module, decoder = _DECODERS[media_type]
    opened: Image = getattr(import_module(module), decoder)(io.BytesIO(data))
    return opened


def _check_size(image: Image, *, name: str, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        size = f"{width:,} × {height:,} = {width * height:,} pixels, above {max_pixels:,}"
        raise _unreadable(name, size, "make it smaller or raise LOOKALIKE_MAX_PIXELS")


def _upright(image: Image) -> Image:
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    turn = turns.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image) -> Any:
    """Return the EXIF orientation; 1 if the EXIF data is damaged, since the pixels may be fine."""
    try:
        return image.getexif().get(0x0112, 1)
    except _DECODER_ERRORS:
        return 1


def _to_rgb(image: Image) -> Image:
    from PIL.Image import fromarray, new

    if image.mode.startswith(("I", "F")):
        import numpy as np

        return fromarray(_to_8_bits(np.asarray(image), image.mode)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    canvas = new("RGBA", image.size, "white")
    canvas.alpha_composite(image.convert("RGBA"))
    return canvas.convert("RGB")


def _to_8_bits(values: np.ndarray[Any, Any], mode: str) -> np.ndarray[Any, Any]:
    """Scale grey values to 0…255.

    Mode `I;16` has the scale 65,535. Modes `I` and `F` have no fixed scale: take the smallest of
    the usual ones (1 for floats, 255, 65,535) that fits all values, else stretch min…max to 0…255.
    """
    import numpy as np

    values = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = values.min(), values.max()
    usual = {"I": (255, 65535), "F": (1, 255, 65535)}.get(mode, (65535,))
    full = next((scale for scale in usual if low >= 0 and high <= scale), None)
    if full is None:
        values, full = values - low, high - low
    return np.rint(values * (255 / (full or 1))).astype(np.uint8)
