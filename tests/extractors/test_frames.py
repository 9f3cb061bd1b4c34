"""Videos: a few telling frames of each become documents, like photos."""

from __future__ import annotations

import base64
import io
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import goods
import lookalike
from films import RATE, film, film_at, film_content, plain, sound_only
from goods import BALLOON, JIGSAW
from lookalike.errors import BadContent, BadSetting, MissingExtra
from lookalike.extractors.base import Content, Extractor, Part, extract_each, unit
from lookalike.extractors.previews import crop, render
from lookalike.extractors.registry import build_extractor
from lookalike.extractors.video_decoder import Video, picture_at
from lookalike.model import Space
from lookalike.testing.extractors import ExtractorContract
from serving import Served

COLOURS = ("red", "lime", "blue", "white", "navy", "yellow", "magenta", "cyan")


class Halves:
    """An extractor of the mean colours of a picture's left and right half; refuses black ones."""

    accepts = frozenset({"image"})
    space = Space("halves.v1/mean@00000000", 3)

    def __init__(self) -> None:
        self.most_together = 0

    def extract(self, contents: Sequence[Content]) -> list[tuple[Part, ...] | BadContent]:
        self.most_together = max(self.most_together, len(contents))
        return extract_each(contents, self._extract_one)

    def _extract_one(self, content: Content) -> tuple[Part, ...]:
        picture = content.picture()
        half, height = picture.width // 2, picture.height
        boxes = {"left": (0, 0, half, height), "right": (half, 0, half, height)}
        if np.asarray(picture).max() < 20:
            raise BadContent(f"{content.name} is black")
        return tuple(
            Part(unit(1 + np.asarray(crop(picture, box)).mean((0, 1))), key, {"box": list(box)})
            for key, box in boxes.items()
        )


def sample(name: str) -> Image.Image:
    """Return a sample picture as a square of a size that a codec takes."""
    return Content(goods.bytes_of(name), "image/png").picture().resize((192, 192))


def framed(option: Any = True) -> Extractor:
    return build_extractor("image", {"frames": option})


def halves(option: Any = True) -> Extractor:
    from lookalike.extractors.video import with_frames

    return with_frames(Halves(), option)


def parts_of(extractor: Extractor, data: bytes) -> tuple[Part, ...]:
    (parts,) = extractor.extract([film_content(data)])
    assert not isinstance(parts, BadContent), parts
    return parts


def times_of(option: Any, data: bytes) -> list[Any]:
    parts = parts_of(halves(option), data)
    return [part.attributes["time_ms"] for part in parts if part.key.endswith("left")]


def refusal(extractor: Extractor, content: Content) -> str:
    (error,) = extractor.extract([content])
    assert isinstance(error, BadContent)
    return str(error)


def show(seconds: float = 1.0, colours: Sequence[str] = COLOURS[:4]) -> bytes:
    """Return a film of plain colours, in a container that is readable when it is cut off."""
    shots = [(plain(colour), seconds) for colour in colours]
    return film(shots, container="matroska", g=5)


class TestFramesContract(ExtractorContract):
    """The image extractor that reads videos, too, passes the contract."""

    @pytest.fixture
    def make(self) -> Callable[[], Extractor]:
        return framed

    @pytest.fixture
    def good(self) -> Sequence[Content]:
        photo = goods.bytes_of(goods.pictures(BALLOON)[0])
        return [
            film_content(show(0.3, ["red", "blue"])),
            Content(photo, "image/png", name="photo.png"),
            film_content(show(0.3, ["lime"])),
        ]

    @pytest.fixture
    def bad(self) -> Sequence[Content]:
        whole = show()
        return [
            film_content(b"", "empty.mp4"),
            film_content(b"no film, but words " * 40, "words.mp4"),
            film_content(film([(plain("red"), 1)])[:-600], "cut.mp4"),
            film_content(whole[:400], "stump.mkv"),
            film_content(sound_only(), "song.mp4"),
            film_content(whole, "large.mkv", max_pixels=100),
            film_content(b"#EXTM3U\n#EXTINF:4,\nfile:///etc/hostname\n", "list.mp4"),
            Content(b"", "image/png", name="empty.png"),
        ]


def test_a_frame_is_taken_after_each_cut_and_each_so_many_seconds() -> None:
    greys = [30 + 18 * step for step in range(12)]
    rising = [Image.new("RGB", (96, 64), (grey, grey, 0)) for grey in greys]
    data = film([*((one, 0.5) for one in rising), (plain("cyan"), 1)])

    assert times_of({"scene": None, "every_s": 1.5}, data) == [0, 1500, 3000, 4500, 6000]
    assert times_of({"scene": 0.3, "every_s": None}, data) == [0, 6000]
    assert times_of({"scene": 0.3, "every_s": 2.5}, data) == [0, 2500, 5000, 6000]


def test_what_was_seen_before_is_not_taken_again_but_something_small_that_is_new_is() -> None:
    empty, visited = plain("white"), plain("white")
    visited.paste((200, 30, 30), (70, 40, 82, 48))  # an eighth of the width, 1/64 of the area
    data = film([(empty, 2), (visited, 2), (empty, 2), (plain("blue"), 1), (empty, 1)])

    assert times_of({"every_s": 1}, data) == [0, 2000, 6000]


@pytest.mark.parametrize(("most", "expected"), [(8, 8), (7, 4), (4, 4), (3, 2), (1, 1)])
def test_of_too_many_frames_some_are_left_from_the_whole_video(most: int, expected: int) -> None:
    data = show(0.5, COLOURS)
    extractor = halves({"max_frames": most})

    times = [part.attributes["time_ms"] for part in parts_of(extractor, data)[::2]]

    assert len(times) == expected
    assert times == list(range(0, 4000, 4000 // expected))


def test_only_a_few_full_pictures_are_held_at_once() -> None:
    from lookalike.extractors.video import FrameSampling, FramesExtractor

    inner = Halves()
    shots = [(plain(colour, (400, 300)), 0.2) for colour in COLOURS]

    parts = parts_of(FramesExtractor(inner, FrameSampling()), film(shots))

    assert len(parts) == 16
    assert inner.most_together == 4
    assert all(part.picture and max(part.picture.size) <= 256 for part in parts)


def test_parts_of_frames_keep_their_keys_boxes_and_what_to_show() -> None:
    picture = plain("red")
    picture.paste((0, 0, 255), (48, 0, 96, 64))
    data = film([(picture, 1)])

    left, right = parts_of(halves(), data)

    assert (left.key, right.key) == ("t0/left", "t0/right")
    assert right.attributes == {"box": [48, 0, 48, 64], "time_ms": 0, "frame": 0}
    assert right.picture is not None
    assert right.picture.getpixel((right.picture.width - 1, 5))[2] > 200  # type: ignore[index]
    assert [part.key for part in parts_of(framed(), data)] == ["t0"]


def test_frames_that_the_extractor_refuses_have_no_parts_unless_it_refuses_all() -> None:
    black = film([(plain("black"), 1)])
    data = film([(plain("black"), 1), (plain("red"), 1)])

    assert {part.attributes["time_ms"] for part in parts_of(halves(), data)} == {1000}
    assert "film.mp4 at 0 ms is black" in refusal(halves(), film_content(black))


def test_a_frame_and_a_photo_of_the_same_share_a_space() -> None:
    photo = sample(goods.pictures(BALLOON)[0])
    (part,) = parts_of(framed(), film([(photo, 1)], codec="libx264"))
    (still,) = build_extractor("image", {}).extract([Content(b"", "image/x", picture=photo)])

    assert framed().space == build_extractor("image", {}).space
    assert not isinstance(still, BadContent)
    assert float(part.vector @ still[0].vector) > 0.95


def test_times_are_those_that_the_frames_tell() -> None:
    times = [0, 40, 700, 5210, 5250]
    data = film_at(times, [plain(colour) for colour in COLOURS[:5]])

    with Video(film_content(data)) as video:
        assert [(one.index, one.time_ms) for one in video.frames()] == list(enumerate(times))
        assert video.note == ""


@pytest.mark.parametrize(
    ("turned", "mirrored", "corner"),
    [(0, False, 0), (90, False, 2), (180, False, 3), (-90, False, 1), (0, True, 1)],
)
def test_frames_are_upright(turned: float, mirrored: bool, corner: int) -> None:
    """Phones store pictures as the sensor lies, and beside them how they are to be turned."""
    picture = plain("blue")
    picture.paste((255, 0, 0), (0, 0, 40, 30))
    data = film([(picture, 0.3)], turned=turned, mirrored=mirrored)

    shown = picture_at(film_content(data), 0)

    assert shown.size == ((64, 96) if abs(turned) == 90 else (96, 64))
    right, bottom = shown.width - 5, shown.height - 5
    corners = [(5, 5), (right, 5), (5, bottom), (right, bottom)]
    red = [shown.getpixel(place)[0] > 128 for place in corners]  # type: ignore[index]
    assert red.index(True) == corner
    assert red.count(True) == 1


@pytest.mark.parametrize(
    ("codec", "container"),
    [
        ("mpeg4", "mp4"),
        ("mpeg4", "avi"),
        ("libx264", "mp4"),
        ("libx264", "matroska"),
        ("libx264", "mpegts"),
        ("libvpx", "webm"),
    ],
)
def test_a_view_of_a_video_is_the_very_frame(codec: str, container: str) -> None:
    shots = [(plain(colour), 0.5) for colour in COLOURS]
    data = film(shots, codec=codec, container=container, g=7)
    content = film_content(data)

    with Video(content) as video:
        frames = {one.time_ms: np.asarray(one.picture()) for one in video.frames()}
        assert video.note == ""

    assert sorted(frames) == list(range(0, 4000, 1000 // RATE))
    for time_ms in (0, 600, 2100, 3900):
        assert np.array_equal(np.asarray(render(content, f"t{time_ms}")), frames[time_ms])
    assert np.array_equal(np.asarray(render(content, "")), frames[0])
    assert np.array_equal(np.asarray(render(content, "t9000")), frames[3900])
    assert render(content, "t600-b10,10,20,20").size == (26, 26)


def test_of_a_video_that_breaks_off_what_there_is_is_used_and_a_note_says_so() -> None:
    whole = show(1, COLOURS)

    parts = parts_of(framed(), whole[: len(whole) * 5 // 8])

    assert [part.key for part in parts][:4] == ["t0", "t1000", "t2000", "t3000"]
    assert {str(part.attributes["note"])[:27] for part in parts} == {"the video breaks off after "}
    assert "note" not in parts_of(framed(), whole)[0].attributes


def test_damaged_frames_are_left_out_and_a_note_says_so() -> None:
    noise = np.random.default_rng(3).integers(0, 255, (3, 64, 96, 3), np.uint8)
    shots = [(Image.fromarray(one), 1.0) for one in noise]
    data = bytearray(film(shots, codec="libx264", container="matroska", g=10))
    place = len(data) * 2 // 5
    data[place : place + 500] = bytes(500)

    parts = parts_of(framed(), bytes(data))

    assert {part.attributes["note"] for part in parts} == {
        "damaged parts of the video were skipped"
    }


@pytest.mark.parametrize(
    ("option", "named"),
    [
        (3, "true, false"),
        ("yes", "true, false"),
        ({"every": 2}, "every_s, scene, max_frames"),
        ({"every_s": 0}, "above 0"),
        ({"every_s": "2"}, "above 0"),
        ({"every_s": float("nan")}, "above 0"),
        ({"scene": 1.5}, "up to 1"),
        ({"scene": None, "every_s": None}, "give one of them"),
        ({"max_frames": 0}, "from 1 to"),
        ({"max_frames": True}, "from 1 to"),
    ],
)
def test_an_impossible_option_is_refused_with_what_is_possible(option: Any, named: str) -> None:
    with pytest.raises(BadSetting, match=named) as caught:
        framed(option)

    value = next(iter(option.values())) if isinstance(option, dict) else option
    assert repr(value) in str(caught.value) or next(iter(option)) in str(caught.value)


def test_only_extractors_of_pictures_take_frames() -> None:
    with pytest.raises(BadSetting, match="text_extractor reads DOCX and text, not pictures"):
        build_extractor("text", {"frames": True})


@pytest.mark.parametrize("option", [False, None])
def test_without_the_option_videos_are_not_read(option: Any) -> None:
    assert framed(option).accepts == {"image"}


def test_without_the_extra_the_pip_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)

    with pytest.raises(MissingExtra, match=r"pip install 'lookalike\[video\]'"):
        framed()
    assert framed(False)


# --- through a collection -----------------------------------------------------------------------


@pytest.fixture
def library(tmp_path: Path) -> Iterator[lookalike.Library]:
    with lookalike.open(tmp_path / "store", actor="ann") as opened:
        yield opened


def test_frames_of_videos_are_labelled_and_decided_like_photos(
    library: lookalike.Library, tmp_path: Path
) -> None:
    kinds = (BALLOON, JIGSAW)
    names = {kind: goods.pictures(kind)[:4] for kind in kinds}
    (tmp_path / "clips").mkdir()
    for number in range(3):
        shots = [(sample(names[kind][number]), 1.0) for kind in kinds]
        (tmp_path / "clips" / f"{number}.mp4").write_bytes(film(shots))
    clips = library.labeler("clips", confidence_threshold=goods.THRESHOLD, frames=True)

    clips.add(tmp_path / "clips")
    clips.add({"image": goods.bytes_of(names[BALLOON][3]), "id": "photo"})
    documents = {(one.file_name, one.part): one for one in clips.documents()}
    first = {part: documents["0.mp4", part].id for part in ("t0", "t1000")}
    clips.label({first["t0"]: BALLOON, first["t1000"]: JIGSAW})

    labels = {(one.file_name, one.part): one.label for one in clips.documents()}
    photo = next(one for one in clips.documents() if one.object_id == "photo")
    assert photo.label == BALLOON
    assert photo.part == ""
    del labels[photo.file_name, ""]
    assert labels == {
        (f"{number}.mp4", part): label
        for number in range(3)
        for part, label in (("t0", BALLOON), ("t1000", JIGSAW))
    }


def test_a_bad_video_fails_alone_and_extracting_again_gives_the_same_documents(
    library: lookalike.Library, tmp_path: Path
) -> None:
    whole = show(0.5)
    (tmp_path / "good.mkv").write_bytes(whole)
    (tmp_path / "bad.mkv").write_bytes(whole[:300])
    clips = library.labeler("clips", frames={"every_s": 1})

    added = clips.add(tmp_path)
    ids = {one.id: one.part for one in clips.documents()}
    again = library.labeler("again", frames={"every_s": 1, "scene": 0.4})
    again.add(tmp_path / "good.mkv")

    assert "are not a video, or it is cut off" in added.failed["bad.mkv"]
    assert sorted(ids.values()) == ["t0", "t1000", "t1500", "t500"]
    assert {one.part for one in again.documents()} == set(ids.values())


def test_a_collection_without_the_option_says_how_to_read_a_video(
    library: lookalike.Library, tmp_path: Path
) -> None:
    (tmp_path / "clip.mp4").write_bytes(film([(plain("red"), 0.2)]))

    added = library.labeler("photos").add(tmp_path / "clip.mp4")

    assert "video/mp4" in added.failed["clip.mp4"]
    assert "the option frames" in added.failed["clip.mp4"]


def test_over_http_a_video_is_uploaded_and_its_frames_are_seen(tmp_path: Path) -> None:
    data = base64.b64encode(film([(plain("red"), 1), (plain("blue"), 1)])).decode()
    blob = {"property": "clip", "type": "video", "data": {"base64": data, "filename": "clip.mp4"}}
    extractor = {"feature_extractor_name": "image", "input_mappings": {"image": "clip"}}
    made = {"collection_name": "frames", "source": {"type": "bucket", "bucket_ids": ["clips"]}}
    bodies = [
        {**made, "feature_extractor": {**extractor, "params": {"frames": {"every_s": every_s}}}}
        for every_s in (-1, 5)
    ]
    with Served(tmp_path / "store") as server, goods.asking(server.url) as client:
        schema = {"properties": {"clip": {"type": "video"}}}
        goods.ok(client.post("/v1/buckets", json={"bucket_name": "clips", "schema": schema}))
        refused, accepted = (client.post("/v1/collections", json=body) for body in bodies)
        body = {"object_id": "one", "metadata": {}, "blobs": [blob]}
        put = client.post("/v1/buckets/clips/objects", json=body, params={"wait": 30})
        listed = goods.ok(client.post("/v1/collections/frames/documents/list", json={}))["results"]
        shown = [client.get(one["thumbnail_url"]) for one in listed]
        shutil.rmtree(tmp_path / "store" / "cache" / "thumbnails")
        again = [client.get(one["thumbnail_url"]) for one in listed]

    assert "every_s cannot be -1" in refused.text
    assert goods.ok(accepted)["collection_name"] == "frames"
    assert goods.ok(put)["status"] == "COMPLETED"
    assert [one.status_code for one in (*shown, *again)] == [200] * 4
    for answers in (shown, again):
        colours = [np.asarray(Image.open(io.BytesIO(one.content)))[30, 40] for one in answers]
        assert sorted(np.argmax(colours, axis=1).tolist()) == [0, 2]
