"""Small videos for tests, made of plain pictures."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from PIL import Image

from lookalike.extractors.base import Content

SIZE = (96, 64)
RATE = 10

Shot = tuple[Image.Image, float]


def plain(colour: str, size: tuple[int, int] = SIZE) -> Image.Image:
    """Return a picture of one colour."""
    return Image.new("RGB", size, colour)


def film(
    shots: Iterable[Shot],
    *,
    codec: str = "mpeg4",
    container: str = "mp4",
    turned: float = 0,
    mirrored: bool = False,
    g: int = 12,
) -> bytes:
    """Return a video of pictures of one size, each shown for some seconds at ten frames each.

    Every frame whose number divides by `g` can be decoded without others.
    """
    shots = list(shots)
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = cast("VideoStream", output.add_stream(codec, rate=RATE))
        stream.width, stream.height = shots[0][0].size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = g
        stream.codec_context.bit_rate = 2_000_000
        if turned or mirrored:
            stream.set_display_rotation(turned, mirrored, False)
        for picture, seconds in shots:
            for _ in range(round(seconds * RATE)):
                output.mux(stream.encode(_frame(picture)))
        output.mux(stream.encode())
    return file.getvalue()


def film_at(times_ms: Sequence[int], pictures: Sequence[Image.Image]) -> bytes:
    """Return a video that shows each picture from a time on, whatever lies between."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        stream = output.add_stream("mpeg4", rate=1000)
        stream.width, stream.height = pictures[0].size
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, 1000)
        stream.codec_context.time_base = Fraction(1, 1000)
        for time_ms, picture in zip(times_ms, pictures, strict=True):
            frame = _frame(picture)
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return file.getvalue()


def sound_only() -> bytes:
    """Return an MP4 file with nothing but silence in it."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=8000)
        silence = np.zeros((1, 8000), np.float32)
        frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return file.getvalue()


def film_content(data: bytes, name: str = "film.mp4", *, max_pixels: int = 100_000_000) -> Content:
    """Return a video as a content."""
    return Content(data, "video/mp4", name=name, max_pixels=max_pixels)


def _frame(picture: Image.Image) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")
