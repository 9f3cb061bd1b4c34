"""Decodes untrusted videos frame by frame: upright pictures, each with its time.

The bytes decide the format, not the file name: only the containers in `_CONTAINERS` are tried, and
none may open another file or address, as a playlist would. Needs the extra `video`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import BadContent, MissingExtra
from lookalike.extractors.base import Content

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream
    from PIL.Image import Image

GLIMPSE_SIDE = 16
"""Width and height in pixels of a glimpse: a small copy of a frame, to compare frames."""

_CONTAINERS = "asf,avi,flv,ivf,m4v,matroska,mov,mpeg,mpegts,mpegvideo,mxf,ogg"
_USUAL_RATE = 25  # frames per second, for a stream with neither times nor a rate
_LOSS_MS = 1000  # a shorter loss at the end, in ms or as a share, is not noted, because
_LOSS_SHARE = 0.05  # the length that a file declares is not exact


def is_video(content: Content) -> bool:
    """Return whether a content's media type is that of a video."""
    return content.media_type.startswith("video/")


def check_extra() -> None:
    """Raise MissingExtra unless PyAV is installed; do not import it."""
    if find_spec("av") is None:
        raise MissingExtra.named("reading videos", "video")


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame. `index` counts the frames from 0, `time_ms` is from the video's start."""

    index: int
    time_ms: int
    decoded: VideoFrame
    reformatter: VideoReformatter

    def glimpse(self) -> NDArray[np.int16]:
        """Return the frame, not yet upright, as RGB (16, 16, 3) from 0 to 255, by area means.

        int16, so that two can be subtracted.
        """
        side = GLIMPSE_SIDE
        scale = self.reformatter.reformat  # shared by all frames: it caches its tables
        small = scale(self.decoded, side, side, "rgb24", interpolation="AREA")
        return small.to_ndarray().astype(np.int16)

    def picture(self) -> Image:
        """Return the frame as an RGB image, upright by the file's display matrix."""
        from PIL.Image import fromarray

        image = fromarray(self.decoded.to_ndarray(format="rgb24"))
        turn = _turn(self.decoded)
        return image if turn is None else image.transpose(turn)


class Video:
    """An open video for one reader; a context manager.

    Opening raises MissingExtra without PyAV, and BadContent if the content is not a video, has only
    sound, or has frames of more than the content's `max_pixels`.
    """

    def __init__(self, content: Content) -> None:
        check_extra()
        if not content.data:
            raise unreadable(content, "it is empty (0 bytes)", "upload it again or remove it")
        self._content = content
        self._container = _open(content)
        try:
            self._stream = self._video_stream()
            self._check_size(self._stream.width, self._stream.height)
        except BadContent:
            self._container.close()
            raise
        self._stream.thread_type = "AUTO"
        self._end_ms = 0
        self._damaged = False

    def __enter__(self) -> Video:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._container.close()

    def frames(self) -> Iterator[Frame]:
        """Yield the frames in the order of display, without damaged ones.

        Raises BadContent at the end if there was none.
        """
        from av.video.reformatter import VideoReformatter

        index, reformatter = -1, VideoReformatter()
        for index, decoded in enumerate(self._decoded()):
            self._check_size(decoded.width, decoded.height)
            frame = Frame(index, self._time_ms(decoded, index), decoded, reformatter)
            self._end_ms = max(self._end_ms, frame.time_ms)
            yield frame
        if index < 0:
            raise unreadable(
                self._content, "no frame of it can be decoded", "it is damaged: upload it again"
            )

    def frames_near(self, time_ms: int) -> Iterator[Frame]:
        """Yield the frames from the last key frame before a time; indices count from there.

        Some containers can only seek near it, or start after it; there may be no frames.
        """
        from av import FFmpegError

        start, base = self._stream.start_time or 0, self._stream.time_base
        pts = start + int((time_ms - 1) / 1000 / base) if base else start
        with suppress(FFmpegError, BadContent):
            self._container.seek(max(pts, start), stream=self._stream)
            yield from self.frames()

    @property
    def note(self) -> str:
        """What was missing in the video, after all frames are read; the empty text if nothing."""
        declared = self._declared_ms()
        if declared - self._end_ms > max(_LOSS_MS, _LOSS_SHARE * declared):
            seconds = f"{self._end_ms / 1000:.1f} s of {declared / 1000:.1f} s"
            return f"the video breaks off after {seconds}; the part before it is used"
        return "damaged parts of the video were skipped" if self._damaged else ""

    def _video_stream(self) -> VideoStream:
        """Return the first video stream that is not the cover image of a song."""
        from av.stream import Disposition

        for stream in self._container.streams.video:
            if not stream.disposition & Disposition.attached_pic:
                return stream
        raise unreadable(self._content, "it has no video stream", "give a video or remove it")

    def _decoded(self) -> Iterator[VideoFrame]:
        from av import FFmpegError

        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except FFmpegError:  # the container is cut off or damaged: nothing can follow
                self._damaged = True
                return
            if packet is None:
                return
            try:
                decoded = packet.decode()
            except FFmpegError:  # the next one may be intact
                self._damaged = True
                continue
            for frame in decoded:
                self._damaged |= frame.is_corrupt
                if not frame.is_corrupt:
                    yield frame

    def _time_ms(self, decoded: VideoFrame, index: int) -> int:
        """Return a frame's time in ms: its time stamp, because frames' durations may differ."""
        if decoded.pts is None or decoded.time_base is None:
            return round(1000 * index / (self._stream.average_rate or _USUAL_RATE))
        start = self._stream.start_time or 0
        return max(0, round(1000 * (decoded.pts - start) * decoded.time_base))

    def _declared_ms(self) -> int:
        """Return the length of the video stream in ms that the file declares; 0 if it does not."""
        stream = self._stream
        if stream.duration is not None and stream.time_base is not None:
            return round(1000 * stream.duration * stream.time_base)
        single = len(self._container.streams) == 1  # else the length may be that of the sound
        return (self._container.duration or 0) // 1000 if single else 0

    def _check_size(self, width: int, height: int) -> None:
        limit = self._content.max_pixels
        if width * height > limit:
            size = f"its frames have {width:,} × {height:,} = {width * height:,} pixels"
            remedy = "make it smaller or raise LOOKALIKE_MAX_PIXELS"
            raise unreadable(self._content, f"{size}, above {limit:,}", remedy)


def picture_at(content: Content, time_ms: int) -> Image:
    """Return the frame that a video shows at a time, upright; after its end, the last one.

    Raises as `Video` does.
    """
    with Video(content) as video:
        found = _first_from(time_ms, video.frames_near(time_ms))
        if found is not None and found.time_ms == time_ms:
            return found.picture()
    with Video(content) as video:  # not every container can seek
        found = _first_from(time_ms, video.frames())
        assert found is not None
        return found.picture()


def unreadable(content: Content, problem: str, remedy: str) -> BadContent:
    """Return the error for a video that cannot be read."""
    return BadContent(f"cannot read the video {content.name!r}: {problem}; {remedy}")


def _open(content: Content) -> InputContainer:
    import av

    try:
        return av.open(
            io.BytesIO(content.data),
            "r",
            container_options={"format_whitelist": _CONTAINERS},
            metadata_errors="replace",
            io_open=_refuse,
        )
    except av.FFmpegError as error:
        raise unreadable(
            content,
            f"its {len(content.data):,} bytes are not a video, or it is cut off ({error.strerror})",
            "open it in a player, then upload it again or remove it",
        ) from error


def _first_from(time_ms: int, frames: Iterator[Frame]) -> Frame | None:
    """Return the first frame from a time on, else the last one."""
    frame = None
    for frame in frames:
        if frame.time_ms >= time_ms:
            break
    return frame


def _refuse(url: str, *_: Any) -> Any:
    raise PermissionError(f"a video may not open {url!r}")


def _turn(decoded: VideoFrame) -> Any:
    """Return Pillow's transposition for a frame's display matrix; None if there is none.

    The matrix is nine int32, by rows (a, b, u, c, d, v, x, y, w): a point (p, q) is shown at
    (a p + c q, b p + d q) (FFmpeg, libavutil/display.h). Only quarter turns are handled.
    """
    from av.sidedata.sidedata import Type
    from PIL.Image import Transpose

    side_data: Any = decoded.side_data  # the types of PyAV know only one kind
    if Type.DISPLAYMATRIX not in side_data:
        return None
    matrix = np.frombuffer(bytes(side_data[Type.DISPLAYMATRIX]), np.int32)
    return {
        (-1, 0, 0, 1): Transpose.FLIP_LEFT_RIGHT,
        (1, 0, 0, -1): Transpose.FLIP_TOP_BOTTOM,
        (-1, 0, 0, -1): Transpose.ROTATE_180,
        (0, 1, -1, 0): Transpose.ROTATE_270,
        (0, -1, 1, 0): Transpose.ROTATE_90,
        (0, 1, 1, 0): Transpose.TRANSPOSE,
        (0, -1, -1, 0): Transpose.TRANSVERSE,
    }.get(tuple(np.sign(matrix[[0, 1, 3, 4]]).tolist()))
