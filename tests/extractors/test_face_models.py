"""Face models of one's own: ONNX files like YuNet and SFace, and InsightFace's loader."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lookalike.errors import BadContent, BadSetting, MissingExtra
from lookalike.extractors.base import Content, Extractor, Part
from lookalike.extractors.face.extractor import face_identity_extractor
from lookalike.extractors.face.geometry import aligned
from lookalike.testing.extractors import ExtractorContract
from portraits import content
from small_models import FIVE, save_embedder, save_scrfd, save_yunet

WALL = (160, 128)
SHADES = ("red", "#ff0060", "#ff6000")


def photo(*places: tuple[int, int], shade: str = "red") -> Image.Image:
    """Return a dark picture with a red square of 32 pixels at each place."""
    picture = Image.new("RGB", WALL, "black")
    for place in places:
        picture.paste(Image.new("RGB", (32, 32), shade), place)
    return picture


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a detector and an embedder."""
    folder = tmp_path_factory.mktemp("models")
    save_yunet(folder / "detector.onnx")
    save_embedder(folder / "embedder.onnx")
    return folder


def made(models: Path, **options: Any) -> Extractor:
    """Return the extractor that looks at pictures of WALL's size as they are."""
    given: dict[str, Any] = {"side": 160, "dimension": 192, **options}
    return face_identity_extractor(str(models), **given)


def found(extractor: Extractor, picture: Image.Image) -> tuple[Part, ...]:
    (parts,) = extractor.extract([content(picture)])
    assert not isinstance(parts, BadContent), parts
    return parts


class TestContract(ExtractorContract):
    """Faces by ONNX files pass the contract."""

    @pytest.fixture
    def make(self, models: Path) -> Callable[[], Extractor]:
        return lambda: made(models)

    @pytest.fixture
    def good(self) -> Sequence[Content]:
        return [
            content(photo((32, 32), shade=shade), f"{place}.png")
            for place, shade in enumerate(SHADES)
        ]

    @pytest.fixture
    def bad(self) -> Sequence[Content]:
        return [Content(b"", "image/png", name="empty.png")]


def test_boxes_and_landmarks_are_those_of_the_cells(models: Path) -> None:
    """What the detector says of its cells is told in pixels of the picture."""
    first, second = found(made(models), photo((32, 64), (96, 32)))

    assert first.attributes["box"] == [96.0, 32.0, 32.0, 32.0]  # equal sizes: the upper one
    assert second.attributes["box"] == [32.0, 64.0, 32.0, 32.0]
    landmarks = np.array(first.attributes["landmarks"])
    assert np.allclose(landmarks, FIVE * 32 + [96, 32], atol=0.06)


def test_a_large_picture_is_looked_at_scaled_down(models: Path) -> None:
    """Boxes are in pixels of the picture, whatever size the detector saw."""
    large = photo((32, 64)).resize((4 * WALL[0], 4 * WALL[1]), Image.Resampling.NEAREST)

    (part,) = found(made(models), large)

    assert part.attributes["box"] == [128.0, 256.0, 128.0, 128.0]


def test_a_detector_of_one_size_is_given_pictures_of_that_size(
    models: Path, tmp_path: Path
) -> None:
    """The picture is scaled into what the graph takes, and the rest is black."""
    save_yunet(tmp_path / "detector.onnx", size=(160, 160))
    (tmp_path / "embedder.onnx").write_bytes((models / "embedder.onnx").read_bytes())
    large = photo((32, 64)).resize((2 * WALL[0], 2 * WALL[1]), Image.Resampling.NEAREST)

    (part,) = found(made(tmp_path), large)

    assert part.attributes["box"] == [64.0, 128.0, 64.0, 64.0]


def test_a_face_is_turned_and_scaled_into_the_template() -> None:
    """Landmarks come to lie where the template has them, from a picture of any size and turn."""
    template = np.array([[20.0, 20.0], [80.0, 20.0], [50.0, 50.0], [30.0, 80.0], [70.0, 80.0]])
    for scale in (1, 7):
        picture = Image.new("RGB", (200 * scale, 200 * scale))
        marks = (template + 30) * scale
        lying = np.stack([marks[:, 1], 200 * scale - marks[:, 0]], axis=1)
        dot = Image.new("RGB", (10 * scale, 10 * scale), "white")
        for x, y in lying - 5 * scale:
            picture.paste(dot, (round(x), round(y)))

        square = aligned(picture, lying, template, 100)

        for x, y in template:
            assert square[round(y), round(x)].min() > 200
        assert square.mean() < 40


def test_a_face_beyond_the_picture_is_black() -> None:
    """Landmarks that lie outside give no error."""
    points = np.array([[900.0, 900.0], [950.0, 900.0], [925.0, 930.0]])

    square = aligned(Image.new("RGB", (50, 50), "white"), points, points - 890, 60)

    assert square.max() == 0


def test_a_directory_without_the_files_is_refused(tmp_path: Path) -> None:
    """The message says what `model` may be."""
    with pytest.raises(BadSetting, match=r"neither dlib nor insightface nor a directory with"):
        face_identity_extractor(str(tmp_path))


def test_a_file_that_is_no_model_is_refused(models: Path, tmp_path: Path) -> None:
    """It is told which."""
    (tmp_path / "detector.onnx").write_bytes(b"not a model")
    (tmp_path / "embedder.onnx").write_bytes((models / "embedder.onnx").read_bytes())

    with pytest.raises(BadSetting, match=r"detector\.onnx is not an ONNX model"):
        made(tmp_path).extract([content(photo((32, 32)))])


def test_a_detector_of_another_kind_is_refused(models: Path, tmp_path: Path) -> None:
    """Its outputs are listed."""
    for name in ("detector.onnx", "embedder.onnx"):
        (tmp_path / name).write_bytes((models / "embedder.onnx").read_bytes())

    with pytest.raises(BadSetting, match=r"has no output 'cls_8'.*vector"):
        made(tmp_path).extract([content(photo((32, 32)))])


def test_vectors_of_another_length_are_refused(models: Path) -> None:
    """The option that would fit is told."""
    with pytest.raises(BadSetting, match="dimension=192"):
        made(models, dimension=128).extract([content(photo((32, 32)))])


# --- InsightFace --------------------------------------------------------------------------------


def test_the_licence_of_insightface_must_be_accepted(tmp_path: Path) -> None:
    """Whoever takes these models says that the use is not commercial."""
    with pytest.raises(BadSetting, match="non-commercial research only"):
        face_identity_extractor("insightface", directory=str(tmp_path))


def test_a_missing_insightface_is_told_with_the_pip_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its package is an extra of its own."""
    monkeypatch.setitem(sys.modules, "insightface", None)

    with pytest.raises(MissingExtra, match=r"pip install 'lookalike\[insightface\]'"):
        face_identity_extractor(
            "insightface", directory=str(tmp_path), accept_non_commercial_licence=True
        )


def test_insightface_loads_the_models_of_a_directory(tmp_path: Path) -> None:
    """Its own loader recognises what finds and what embeds; an empty directory is refused."""
    pytest.importorskip("insightface", reason="insightface is not installed: an extra of its own")
    accepted: dict[str, Any] = {"accept_non_commercial_licence": True, "dimension": 192}
    options = {"directory": str(tmp_path), "side": 160, **accepted}
    with pytest.raises(BadSetting, match=r"has no \.onnx files"):
        face_identity_extractor("insightface", **options)
    save_scrfd(tmp_path / "found.onnx")
    save_embedder(tmp_path / "known.onnx")

    extractor = face_identity_extractor("insightface", **options)
    first, second = found(extractor, photo((32, 64), (96, 32)))

    assert first.attributes["box"] == [96.0, 32.0, 32.0, 32.0]
    assert second.vector.shape == (192,)
    assert extractor.space.name.startswith("face_identity_extractor.v1/insightface@")
