"""Frames: how an extractor of pictures reads videos, by a sample of their frames.

It decodes a video once and chooses a few frames on the way: after every cut and every few seconds,
except near-duplicates of frames seen before. It keeps only their vectors and thumbnails, so memory
does not grow with the length of the video.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lookalike.content.pictures import kinds_named, shrunk
from lookalike.errors import BadContent, BadSetting
from lookalike.extractors.base import Content, Extractor, Part, extract_each, uses_gpu
from lookalike.extractors.previews import crop
from lookalike.extractors.video_decoder import Frame, Video, check_extra, is_video
from lookalike.model import Space

if TYPE_CHECKING:
    from PIL.Image import Image

OPTION = "frames"
"""The option of a collection's extractor that makes it read videos as well."""

SAME_BELOW = 40
"""Two frames are near-duplicates if no value of their 16 × 16 thumbnails differs by this, of 255.

Measured on 480 pairs of 640 × 360 frames with noise, coded as H.264 at CRF 28: it separates still
and shaky shots (1 %) and changed exposure (6 %) from pans, cuts and small objects that come into
view with an area under the ROC curve of 1.00; difference hashes of 64 bits reach 0.90, mean
absolute differences 0.85, because a small object hardly changes a mean.
"""

MAX_FRAMES = 10_000
_MAX_SEEN = 4096  # glimpses: 6 MB
_BATCH = 4  # stills extracted in one call: enough for a GPU, few enough for memory


@dataclass(frozen=True, slots=True)
class FrameSampling:
    """How to choose frames of a video; `every_s` or `scene` may be None, for never.

    `every_s`: consider a frame every so many seconds. `scene`: also each frame whose scene score is
    at least this, from 0 to 1. Whenever there are more than `max_frames`, every second one is
    dropped: at least half of `max_frames` are left, evenly over the whole video.
    """

    every_s: float | None = 2.0
    scene: float | None = 0.3
    max_frames: int = 200

    @classmethod
    def of(cls, option: Any) -> FrameSampling:
        """Return the sampling for the option `frames`: True, or a mapping. Raises BadSetting."""
        if option is True:
            return cls()
        if not isinstance(option, Mapping):
            raise BadSetting(
                f"frames cannot be {option!r}; give true, false, or keys of {_example()}"
            )
        known = [field.name for field in fields(cls)]
        for name in option:
            if name not in known:
                raise BadSetting(f"frames has no option {name!r}; use {', '.join(known)}")
        sampling = cls(**option)
        sampling._check()
        return sampling

    def _check(self) -> None:
        if self.every_s is None and self.scene is None:
            raise BadSetting(
                "frames without every_s and scene would choose no frame; give one of them"
            )
        if self.every_s is not None and not _within(self.every_s, 0, math.inf):
            raise BadSetting(
                f"every_s cannot be {self.every_s!r}; give seconds above 0, or null for none"
            )
        if self.scene is not None and not _within(self.scene, 0, 1):
            raise BadSetting(
                f"scene cannot be {self.scene!r}; give a score above 0 and up to 1, or null for "
                "none"
            )
        if type(self.max_frames) is not int or not 1 <= self.max_frames <= MAX_FRAMES:
            raise BadSetting(
                f"max_frames cannot be {self.max_frames!r}; give a whole number from 1 to "
                f"{MAX_FRAMES:,}"
            )


def with_frames(inner: Extractor, option: Any) -> Extractor:
    """Return an extractor that reads what `inner` reads, and videos if the option `frames` is set.

    Raises BadSetting for an impossible option and if `inner` does not read pictures, MissingExtra
    without PyAV.
    """
    if option is False or option is None:
        return inner
    sampling = FrameSampling.of(option)
    if "image" not in inner.accepts:
        read = " and ".join(kinds_named(inner.accepts))
        raise BadSetting(
            f"{inner.space.name.partition('.')[0]} reads {read}, "
            "not pictures: it cannot read frames of a video; leave frames out"
        )
    check_extra()
    return FramesExtractor(inner, sampling)


class FramesExtractor:
    """Runs a picture extractor on chosen frames of videos, and on other contents as they are.

    A part of a frame has the key `t<ms>`, or `t<ms>/<its own key>`, its own attributes, `time_ms`,
    `frame` (the frame's number, from 0), and a `note` if some of the video is missing. Frames that
    the picture extractor refuses have no parts; if it refuses all, this one refuses the video.
    """

    def __init__(self, inner: Extractor, sampling: FrameSampling) -> None:
        self._inner = inner
        self._sampling = sampling

    @property
    def space(self) -> Space:
        """The space of the picture extractor: photos and frames can be compared."""
        return self._inner.space

    @property
    def accepts(self) -> frozenset[str]:
        """The media types that the picture extractor reads, and videos."""
        return self._inner.accepts | {"video"}

    def uses_gpu(self) -> bool:
        """Return whether the picture extractor would run on a GPU here."""
        return uses_gpu(self._inner)

    def extract(self, contents: Sequence[Content]) -> list[tuple[Part, ...] | BadContent]:
        """Return the parts of each content, those of a video in the order of its frames."""
        others = [content for content in contents if not is_video(content)]
        results = iter(self._inner.extract(others))
        return [
            extract_each([content], self._extract_video)[0] if is_video(content) else next(results)
            for content in contents
        ]

    def _extract_video(self, content: Content) -> tuple[Part, ...]:
        chosen = _Chosen(self._sampling)
        with Video(content) as video:
            for frame in video.frames():
                if chosen.takes(frame):
                    self._extract_stills(content, chosen.waiting(_BATCH))
            self._extract_stills(content, chosen.waiting(1))
            note = {"note": video.note} if video.note else {}
        refusals = [still.refusal for still in chosen.stills if still.refusal is not None]
        if len(refusals) == len(chosen.stills):
            raise refusals[0]
        return tuple(
            replace(part, attributes={**part.attributes, **note})
            for still in chosen.stills
            for part in still.parts
        )

    def _extract_stills(self, content: Content, stills: Sequence[_Still]) -> None:
        """Set the parts of stills, or the reason why they have none, and release their pictures."""
        outcomes = self._inner.extract(
            [
                Content(
                    b"",
                    "image/x-frame",
                    name=f"{content.name} at {still.time_ms} ms",
                    max_pixels=content.max_pixels,
                    picture=still.picture,
                )
                for still in stills
            ]
        )
        for still, outcome in zip(stills, outcomes, strict=True):
            if isinstance(outcome, BadContent):
                still.refusal = outcome
            else:
                still.parts = tuple(still.locate(part) for part in outcome)
            still.picture = None


@dataclass(slots=True)
class _Still:
    """A chosen frame. It holds its picture until its parts are extracted."""

    index: int
    time_ms: int
    picture: Image | None
    parts: tuple[Part, ...] = ()
    refusal: BadContent | None = None

    def locate(self, part: Part) -> Part:
        """Return a part of the still as a part of the video, with a thumbnail of it."""
        picture = part.picture or self.picture
        assert picture is not None
        box: Any = part.attributes.get("box")
        if box is not None and part.picture is None:
            picture = crop(picture, box)
        return Part(
            part.vector,
            f"t{self.time_ms}/{part.key}" if part.key else f"t{self.time_ms}",
            {**part.attributes, "time_ms": self.time_ms, "frame": self.index},
            shrunk(picture),
        )


class _Chosen:
    """The chosen frames of one video, in order."""

    def __init__(self, sampling: FrameSampling) -> None:
        self.stills: list[_Still] = []
        self._sampling = sampling
        self._previous: NDArray[np.int16] | None = None
        self._change = 0.0
        self._considered_ms: int | None = None
        self._seen: deque[NDArray[np.int16]] = deque(maxlen=_MAX_SEEN)
        self._rank = -1
        self._step = 1

    def takes(self, frame: Frame) -> bool:
        """Return whether the next frame of the video is chosen; if it is, add it."""
        glimpse = frame.glimpse()
        if not self._due(frame.time_ms, self._scene_score(glimpse)):
            return False
        self._considered_ms = frame.time_ms
        if self._is_duplicate(glimpse) or any(one.time_ms == frame.time_ms for one in self.stills):
            return False
        self._seen.append(glimpse)
        self._rank += 1
        if self._rank % self._step:
            return False
        self.stills.append(_Still(frame.index, frame.time_ms, frame.picture()))
        if len(self.stills) > self._sampling.max_frames:
            self.stills = self.stills[::2]
            self._step *= 2
        return True

    def waiting(self, at_least: int) -> list[_Still]:
        """Return the stills that have no parts yet; none if they are fewer than `at_least`."""
        found = [still for still in self.stills if still.picture is not None]
        return found if len(found) >= at_least else []

    def _due(self, time_ms: int, score: float) -> bool:
        every_s, scene = self._sampling.every_s, self._sampling.scene
        if self._considered_ms is None:
            return True
        if every_s is not None and abs(time_ms - self._considered_ms) >= 1000 * every_s:
            return True
        return scene is not None and score >= scene

    def _is_duplicate(self, glimpse: NDArray[np.int16]) -> bool:
        """Return whether a frame is a near-duplicate of an earlier one, chosen or dropped later."""
        if not self._seen:
            return False
        differences = np.abs(np.stack(self._seen) - glimpse)
        return bool((differences.max(axis=(1, 2, 3)) < SAME_BELOW).any())

    def _scene_score(self, glimpse: NDArray[np.int16]) -> float:
        """Return the score that a frame is the first of a new scene, from 0 to 1.

        As in FFmpeg's filter `select`: the mean absolute difference from the previous frame, or the
        change of that difference if it is smaller, divided by 100: steady movement is not a cut.
        """
        previous = glimpse if self._previous is None else self._previous
        change = float(np.abs(glimpse - previous).mean())
        score = min(change, abs(change - self._change)) / 100
        self._previous, self._change = glimpse, change
        return min(score, 1.0)


def _within(value: object, above: float, up_to: float) -> bool:
    """Return whether a value is a finite number above `above`, and at most `up_to`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and above < value <= up_to


def _example() -> str:
    return json.dumps(asdict(FrameSampling()))
