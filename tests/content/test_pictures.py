"""Pictures: every format and mode is read right, everything else is refused in plain words."""

from __future__ import annotations

import io
import random
import struct
import zlib
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from lookalike.content.pictures import decode, sniff, thumbnail
from lookalike.errors import BadContent

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quadrants(width: int = 64, height: int = 32) -> Image.Image:
    """Red, green above blue, white: any turn or flip shows."""
    image = Image.new("RGB", (2, 2))
    image.putdata([RED, GREEN, BLUE, WHITE])
    return image.resize((width, height), Image.Resampling.NEAREST)


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def read(data: bytes, name: str = "x", max_pixels: int = 1_000_000) -> Image.Image:
    return decode(data, name=name, max_pixels=max_pixels)


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    """Return the colours in the middle of the four quadrants, in reading order."""
    width, height = image.size
    places = [(x * width // 4, y * height // 4) for y in (1, 3) for x in (1, 3)]
    return [image.getpixel(place) for place in places]  # type: ignore[misc]  # RGB: a tuple


def assert_near(found: list[tuple[int, ...]], expected: list[tuple[int, ...]]) -> None:
    difference = np.abs(np.subtract(found, expected)).max()
    assert difference <= 12, f"{found} is not {expected}"


@pytest.mark.parametrize(
    ("format", "media_type"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("GIF", "image/gif"),
        ("WEBP", "image/webp"),
        ("TIFF", "image/tiff"),
        ("BMP", "image/bmp"),
        ("AVIF", "image/avif"),
    ],
)
def test_each_format_is_recognised_and_read(format: str, media_type: str) -> None:
    """The type comes from the bytes even when the suffix lies, and the colours are right."""
    data = saved(quadrants(), format)

    image = read(data)

    assert sniff(data, "wrong.txt") == media_type
    assert (image.mode, image.size) == ("RGB", (64, 32))
    assert_near(corners(image), [RED, GREEN, BLUE, WHITE])


def test_heic_is_recognised_and_read() -> None:
    """Pictures from an iPhone are read, upright."""
    file = io.BytesIO()
    pillow_heif.from_pillow(quadrants()).save(file, quality=95)

    image = read(file.getvalue())

    assert sniff(file.getvalue(), "") == "image/heic"
    assert image.size == (64, 32)
    assert_near(corners(image), [RED, GREEN, BLUE, WHITE])


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    ("orientation", "undone_by"),
    [
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (4, Image.Transpose.FLIP_TOP_BOTTOM),
        (5, Image.Transpose.TRANSPOSE),
        (6, Image.Transpose.ROTATE_90),
        (7, Image.Transpose.TRANSVERSE),
        (8, Image.Transpose.ROTATE_270),
    ],
)
def test_exif_orientation_is_applied_once(
    format: str, orientation: int, undone_by: Image.Transpose
) -> None:
    """However the camera was held, the picture comes out upright."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(quadrants().transpose(undone_by), format, exif=exif)

    image = read(data)

    assert image.size == (64, 32)
    assert_near(corners(image), [RED, GREEN, BLUE, WHITE])


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's remark, which is right
def test_damaged_exif_does_not_cost_the_picture() -> None:
    """Pixels that are sound are read although the EXIF block is not."""
    data = saved(quadrants(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")

    assert read(data).size == (64, 32)


def test_cmyk_is_read_in_its_colours() -> None:
    """A JPEG from a print shop is not inverted."""
    image = read(saved(quadrants().convert("CMYK"), "JPEG", quality=95))

    assert image.mode == "RGB"
    assert_near(corners(image), [RED, GREEN, BLUE, WHITE])


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_and_not_clipped(format: str) -> None:
    """Half of 65,535 is half of 255, not white."""
    values = np.array([[0, 32768, 65535]], np.uint16)

    image = read(saved(Image.fromarray(values), format))

    assert [image.getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]  # type: ignore[index]


def test_16_bit_grey_of_the_other_byte_order_is_scaled() -> None:
    """A big-endian TIFF gives the same greys as a little-endian one."""
    pixels = struct.pack(">3H", 0, 32768, 65535)
    tags = [(256, 3), (257, 1), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1)]
    entries = [*tags, (279, len(pixels))]
    directory = struct.pack(">H", len(entries))
    directory += b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in entries)
    data = b"MM\0*" + struct.pack(">I", 14) + pixels + directory + bytes(4)

    image = read(data)

    assert [image.getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]  # type: ignore[index]


@pytest.mark.parametrize(
    ("values", "greys"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 128.0, 255.0], [0, 128, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([7.0, 7.0, 7.0], [7, 7, 7]),
        ([-7.0, -7.0, -7.0], [0, 0, 0]),
        ([0.0, float("nan"), float("inf")], [0, 0, 0]),
    ],
)
def test_float_tiff_is_scaled(values: list[float], greys: list[int]) -> None:
    """Floats in 0…1, in 0…255 or in any other range become greys; what is no number is black."""
    image = read(saved(Image.fromarray(np.array([values], np.float32)), "TIFF"))

    assert [image.getpixel((x, 0))[0] for x in range(3)] == greys  # type: ignore[index]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_on_white(mode: str) -> None:
    """What cannot be seen is white, not black."""
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    options = {"transparency": 0} if mode == "P" else {}

    image = read(saved(clear.convert(mode), "PNG", **options))

    assert image.getpixel((1, 1)) == WHITE


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_simple_modes_become_rgb(mode: str) -> None:
    """Black and white, greys and palettes are read as RGB."""
    image = read(saved(Image.new("RGB", (4, 4), WHITE).convert(mode), "PNG"))

    assert (image.mode, image.getpixel((0, 0))) == ("RGB", WHITE)


def test_the_first_frame_of_an_animation_is_read() -> None:
    """An animated GIF counts as its first picture."""
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])

    assert_near([read(data).getpixel((0, 0))], [RED])  # type: ignore[list-item]


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and holds no pixels."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", b"")]
    packed = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    """A header that claims too many pixels is enough; the message names size, limit, setting."""
    with pytest.raises(BadContent) as caught:
        read(png_header(60_000, 50_000), "bomb.png", max_pixels=100_000_000)

    for part in ("bomb.png", "60,000", "3,000,000,000", "100,000,000", "LOOKALIKE_MAX_PIXELS"):
        assert part in str(caught.value)


def test_the_limit_is_ours_and_not_that_of_pillow() -> None:
    """A limit above Pillow's own (179 million) is honoured: such a file is not called too large."""
    with pytest.raises(BadContent) as caught:
        read(png_header(20_000, 10_000), max_pixels=200_000_000)

    assert "LOOKALIKE_MAX_PIXELS" not in str(caught.value)


def test_a_picture_of_exactly_the_limit_is_read() -> None:
    """The limit is the last size that is allowed."""
    data = saved(quadrants(), "PNG")

    assert read(data, max_pixels=64 * 32).size == (64, 32)
    with pytest.raises(BadContent, match="2,048 pixels, above 2,047"):
        read(data, max_pixels=64 * 32 - 1)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        (b"<?xml version='1.0'?>\n<svg/>", "image/svg+xml"),
        (b"<!DOCTYPE html><title>404</title>", "text/html"),
        (b"not a picture", "text/plain"),
        (b"%PDF-1.7", "application/pdf"),
        (bytes(100), "application/octet-stream"),
    ],
)
def test_what_is_no_picture_is_refused(data: bytes, said: str) -> None:
    """The message names the file and what its bytes are, whatever its suffix says."""
    with pytest.raises(BadContent, match=r"photo\.jpg") as caught:
        read(data, "photo.jpg")

    assert said in str(caught.value)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"])
def test_a_truncated_picture_is_refused(format: str) -> None:
    """Half a file is not half a picture."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    data = saved(Image.fromarray(noise), format)

    with pytest.raises(BadContent, match="cut"):
        read(data[: len(data) // 2], "cut")


def test_the_message_for_a_truncated_picture_says_where_it_ends() -> None:
    """The number of bytes that arrived is the clue to a broken upload."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)

    with pytest.raises(BadContent, match=r"'x\.jpg': truncated after 1,024 bytes"):
        read(saved(Image.fromarray(noise), "JPEG")[:1024], "x.jpg")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow remarks on what is damaged
@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "HEIC"])
def test_damage_is_either_survived_or_refused(format: str) -> None:
    """Whatever bytes are changed, there is a picture or a BadContent, and no other error."""
    pillow_heif.register_heif_opener()
    whole = saved(quadrants(), "HEIF" if format == "HEIC" else format)
    chance = random.Random(0)
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)

        try:
            image = read(bytes(data))
        except BadContent:
            continue
        assert image.mode == "RGB"


@pytest.mark.parametrize(
    ("data", "name", "media_type"),
    [
        (b"# Title", "notes.md", "text/markdown"),
        (b"plain words", "", "text/plain"),
        ("grüß".encode()[:3], "", "text/plain"),
        ("Wörter".encode("utf-16"), "", "text/plain"),
        (b"\xef\xbb\xbf<html>", "", "text/html"),
        (b"%PDF-1.7", "scan.png", "application/pdf"),
        (b"\0\0\0\x18ftypmp42", "", "video/mp4"),
        (b"\0\0\0\x14ftypqt  ", "", "video/quicktime"),
        (b"\x1aE\xdf\xa3", "", "video/webm"),
        (b"RIFF\0\0\0\0AVI LIST", "", "video/x-msvideo"),
        (b"\0\1\2\3", "", "application/octet-stream"),
        (b"\0\1\2\3", "PHOTO.JPG", "image/jpeg"),
        (b"", "", "application/octet-stream"),
        (b"", "empty.txt", "text/plain"),
    ],
)
def test_the_type_comes_from_the_bytes_then_from_the_suffix(
    data: bytes, name: str, media_type: str
) -> None:
    """Magic bytes first, then the suffix, then whether it reads as text."""
    assert sniff(data, name) == media_type


def test_a_thumbnail_is_a_small_jpeg_of_the_same_shape() -> None:
    """The longer side is the one that is limited; the picture itself stays as it is."""
    picture = quadrants(800, 400)

    small = Image.open(io.BytesIO(thumbnail(picture)))

    assert (small.format, small.size) == ("JPEG", (256, 128))
    assert picture.size == (800, 400)


def test_a_thumbnail_is_never_larger_than_the_picture() -> None:
    """A small picture keeps its size."""
    small = Image.open(io.BytesIO(thumbnail(quadrants(20, 10))))

    assert small.size == (20, 10)
