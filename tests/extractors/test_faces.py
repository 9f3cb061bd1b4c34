"""Faces are found, aligned and told apart, however they lie in the picture."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from lookalike.errors import BadContent, BadSetting, MissingExtra
from lookalike.extractors import registry
from lookalike.extractors.base import Content, Extractor, Part
from lookalike.extractors.face.extractor import FaceExtractor, face_identity_extractor
from lookalike.extractors.face.geometry import Face, similarity, suppressed
from lookalike.testing.extractors import ExtractorContract
from portraits import COLLINS, HOPPER, content, encoded, portrait, together

SAME = 0.97
"""Photos of one person by dlib, in these tests: above; of two people: below."""


@pytest.fixture(scope="module")
def faces() -> Extractor:
    return face_identity_extractor()


def found(extractor: Extractor, picture: Image.Image) -> tuple[Part, ...]:
    (parts,) = extractor.extract([content(picture)])
    assert not isinstance(parts, BadContent), parts
    return parts


def told(part: Part) -> dict[str, Any]:
    """Return the attributes of a part."""
    return dict(part.attributes)


def alike(one: Part, other: Part) -> float:
    return float(one.vector @ other.vector)


class TestFaceContract(ExtractorContract):
    """The face extractor passes the contract."""

    @pytest.fixture
    def make(self) -> Callable[[], Extractor]:
        return face_identity_extractor

    @pytest.fixture
    def good(self) -> Sequence[Content]:
        return [
            content(portrait(HOPPER)),
            content(together([portrait(HOPPER), portrait(COLLINS)])),
            content(portrait(COLLINS)),
        ]

    @pytest.fixture
    def bad(self) -> Sequence[Content]:
        whole = encoded(portrait(HOPPER))
        return [
            Content(b"", "image/jpeg", name="empty.jpg"),
            Content(whole[:500], "image/jpeg", name="cut.jpg"),
            Content(whole, "image/jpeg", name="large.jpg", max_pixels=100),
        ]


def test_each_face_is_one_part_with_its_place_and_quality(faces: Extractor) -> None:
    """Box, five landmarks and quality are told in pixels of the photo, and a crop is made."""
    photo = together([portrait(HOPPER), portrait(COLLINS, height=200)])

    first, second = found(faces, photo)

    assert (first.key, second.key) == ("face-0", "face-1")
    left, top, width, height = told(first)["box"]
    assert 60 < left < 180
    assert 60 < top < 160
    assert 80 < width < 200
    assert abs(width - height) < 2
    assert np.shape(told(first)["landmarks"]) == (5, 2)
    quality = told(first)["quality"]
    assert set(quality) == {"size", "sharpness", "yaw", "roll", "score"}
    assert "low_quality" not in first.attributes
    assert first.picture is not None
    assert max(first.picture.size) <= 256
    assert told(second)["box"][0] > portrait(HOPPER).width


def test_people_are_told_apart(faces: Extractor) -> None:
    """Two photos of one person are more alike than those of two people."""
    (hopper,), (collins,) = found(faces, portrait(HOPPER)), found(faces, portrait(COLLINS))
    (again,) = found(faces, portrait(HOPPER, height=240))

    assert alike(hopper, again) > SAME > alike(hopper, collins)


def test_larger_faces_have_the_lower_numbers(faces: Extractor) -> None:
    """Keys follow size, not place, so that what is added to a photo does not rename the others."""
    small, large = portrait(COLLINS, height=200), portrait(HOPPER, height=300)

    first, second = found(faces, together([small, large]))
    (alone,) = found(faces, large)

    assert alike(first, alone) > SAME
    assert told(second)["quality"]["size"] < told(first)["quality"]["size"]


def test_a_picture_without_a_face_has_no_parts(faces: Extractor) -> None:
    """No face is no failure, not even in a picture of one pixel."""
    for size in ((1, 1), (3, 900), (640, 480)):
        assert found(faces, Image.new("RGB", size, "navy")) == ()


def test_forty_faces_are_forty_parts(faces: Extractor) -> None:
    """A group photo gives a part for each, all with keys of their own."""
    row = together([portrait(name, height=220) for name in (HOPPER, COLLINS) * 4])
    photo = Image.new("RGB", (row.width, 5 * row.height))
    for number in range(5):
        photo.paste(row, (0, number * row.height))

    parts = found(faces, photo)

    sure = [part for part in parts if "low_quality" not in part.attributes]
    assert len(sure) == 40
    assert len({part.key for part in parts}) == len(parts)


def test_where_small_faces_are_found_smaller_ones_are_looked_for(faces: Extractor) -> None:
    """A large photo is looked at twice, but only then."""
    near, far = portrait(HOPPER, height=600), portrait(COLLINS, height=280)
    for large, count in ((near, 2), (near.resize((2 * near.width, 1200)), 1)):
        photo = Image.new("RGB", (4000, 1500), "lightgrey")
        photo.paste(large, (100, 100))
        photo.paste(far, (3000, 900))

        assert len(found(faces, photo)) == count


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_photo_that_lies_on_its_side_is_turned(faces: Extractor, turn: int) -> None:
    """Faces are found in it, and their boxes are those of the photo as it lies."""
    (upright,) = found(faces, portrait(HOPPER))
    lying = portrait(HOPPER).rotate(turn, expand=True)

    (part,) = found(faces, lying)

    assert alike(part, upright) > SAME
    left, top, width, height = told(part)["box"]
    there = lying.crop((round(left), round(top), round(left + width), round(top + height)))
    (again,) = found(faces, there.rotate(-turn, expand=True))
    assert alike(again, upright) > 0.9
    assert abs(abs(told(part)["quality"]["roll"]) - min(turn, 360 - turn)) < 12


def test_exif_turns_a_photo_before_faces_are_looked_for(faces: Extractor) -> None:
    """A camera held upright writes a lying photo and says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(portrait(HOPPER).rotate(90, expand=True), "JPEG", exif=exif)

    (parts,) = faces.extract([Content(data, "image/jpeg", name="camera.jpg")])

    assert not isinstance(parts, BadContent)
    (part,) = parts
    assert abs(told(part)["quality"]["roll"]) < 12


def test_a_grey_photo_shows_the_same_person(faces: Extractor) -> None:
    """Colour tells little of who it is."""
    (colour,) = found(faces, portrait(COLLINS))
    (grey,) = found(faces, portrait(COLLINS).convert("L").convert("RGB"))

    assert alike(colour, grey) > SAME


def test_a_face_at_the_border_is_padded(faces: Extractor) -> None:
    """A face that is cut off has a box inside the photo, and a vector."""
    whole = portrait(HOPPER)
    cut = whole.crop((whole.width // 3, 0, whole.width, whole.height))

    parts = found(faces, cut)

    assert len(parts) == 1
    left, top, width, height = told(parts[0])["box"]
    assert left >= 0
    assert top >= 0
    assert left + width <= cut.width
    assert top + height <= cut.height


@pytest.mark.parametrize(
    ("worse", "why"),
    [
        (lambda photo: photo.resize((photo.width * 2 // 7, photo.height * 2 // 7)), "small"),
        (lambda photo: photo.filter(ImageFilter.GaussianBlur(4)), "blurred"),
    ],
    ids=["small", "blurred"],
)
def test_a_poor_face_says_why(
    faces: Extractor, worse: Callable[[Image.Image], Image.Image], why: str
) -> None:
    """What is under a limit of quality is kept, and marked with the reason."""
    picture = Image.new("RGB", (500, 400), "lightgrey")
    picture.paste(worse(portrait(HOPPER, height=350)), (40, 20))

    parts = found(faces, picture)

    assert told(parts[0])["low_quality"] is True
    assert why in told(parts[0])["quality"]["why_low"]


def test_a_head_turned_away_has_a_yaw(faces: Extractor) -> None:
    """Of a mirrored photo the yaw has the other sign."""
    (straight,) = found(faces, portrait(COLLINS))
    (mirrored,) = found(faces, portrait(COLLINS).transpose(Image.Transpose.FLIP_LEFT_RIGHT))

    first, second = (told(one)["quality"]["yaw"] for one in (straight, mirrored))

    assert abs(first + second) < 6
    assert abs(first) < 20


def test_faces_are_there_by_their_short_name() -> None:
    """`face` and `faces` are the face extractor, with its options."""
    built = registry.build_extractor("faces", {"side": 800})

    assert isinstance(built, FaceExtractor)
    assert registry.extractor_name("face") == "face_identity_extractor"
    assert built.space.name == face_identity_extractor().space.name


def test_what_is_not_installed_is_told_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without dlib the extractor is refused when it is made."""
    monkeypatch.setitem(sys.modules, "dlib", None)

    with pytest.raises(MissingExtra, match=r"pip install 'lookalike\[faces\]'"):
        face_identity_extractor()


@pytest.mark.parametrize("side", [0, 9000])
def test_an_impossible_side_is_refused(side: int) -> None:
    """The message names the value and what is possible."""
    with pytest.raises(BadSetting, match=f"side={side} must be from 160 to 8000"):
        face_identity_extractor(side=side)


def test_a_similarity_turns_scales_and_shifts() -> None:
    """Points that were turned, scaled and shifted are mapped back exactly."""
    points = np.array([[0.0, 0.0], [4.0, 1.0], [2.0, 5.0]])
    turned = points @ [[0, 3], [-3, 0]] + [10, -2]

    there = similarity(points, turned)

    assert np.allclose(points @ there[:, :2].T + there[:, 2], turned)


def test_of_faces_that_overlap_the_surest_is_kept() -> None:
    """Detectors find a face several times."""

    def face(left: float, score: float) -> Face:
        points = np.array([[left, 0.0], [left + 5, 0.0]])
        return Face((left, 0, 10, 10), points, points, points[0], 0.5, score)

    sure, double, other = face(0, 0.9), face(2, 0.5), face(8, 0.4)

    assert suppressed([other, double, sure], 0.3) == [sure, other]
