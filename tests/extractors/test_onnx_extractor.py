"""Any ONNX model: its files tell what they can, options the rest, and wrong ones are refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from PIL import Image

import lookalike
from films import film, film_content, plain
from lookalike.errors import BadContent, BadSetting
from lookalike.extractors.base import Content, Extractor, Part, unit
from lookalike.extractors.registry import build_extractor
from lookalike.testing.extractors import ExtractorContract
from networks import (
    DIMENSION,
    WORDS,
    picture_directory,
    picture_model,
    text_directory,
    text_model,
    tokenizer_file,
    write_json,
)

CLIP = {
    "do_resize": True,
    "size": {"shortest_edge": 40},
    "do_center_crop": True,
    "crop_size": {"height": 32, "width": 32},
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.2, 0.2],
    "resample": 2,
}


def built(path: Path, **options: Any) -> Extractor:
    return build_extractor("onnx_extractor", {"path": str(path), **options})


def shown(picture: Image.Image, name: str = "x.png") -> Content:
    return Content(b"", "image/png", name=name, picture=picture)


def said(words: str, name: str = "x.txt") -> Content:
    return Content(words.encode(), "text/plain", name=name)


def noise(seed: int, size: tuple[int, int] = (48, 36)) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(values)


def only(extractor: Extractor, content: Content) -> Part:
    (parts,) = extractor.extract([content])
    assert not isinstance(parts, BadContent), parts
    (part,) = parts
    return part


def table() -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).normal(size=(len(WORDS), DIMENSION)).astype(np.float32)


def pooled(*words: str) -> np.ndarray[Any, Any]:
    return unit(table()[[WORDS.index(word) for word in words]].mean(axis=0))


class TestPicturesContract(ExtractorContract):
    """A model of pictures passes the contract."""

    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[[], Extractor]:
        folder = picture_directory(tmp_path / "tiny", CLIP)
        return lambda: built(folder)

    @pytest.fixture
    def good(self) -> Sequence[Content]:
        return [shown(noise(seed)) for seed in range(3)]

    @pytest.fixture
    def bad(self) -> Sequence[Content]:
        return [Content(b"", "image/png", name="empty.png")]


class TestTextsContract(ExtractorContract):
    """A model of texts passes the contract."""

    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[[], Extractor]:
        folder = text_directory(tmp_path / "tiny")
        return lambda: built(folder)

    @pytest.fixture
    def good(self) -> Sequence[Content]:
        return [said("rain"), said("late order thanks"), said("sun card " * 40)]

    @pytest.fixture
    def bad(self) -> Sequence[Content]:
        return [said("", "empty.txt"), said(" \n", "blank.txt")]


# --- pictures -----------------------------------------------------------------------------------


def test_a_picture_is_prepared_as_the_file_beside_the_model_says(tmp_path: Path) -> None:
    extractor = built(picture_directory(tmp_path / "tiny", CLIP), output="last_hidden_state")
    picture = noise(3, (80, 40))  # its shorter edge is 40: nothing is scaled, the middle is cut

    vector = only(extractor, shown(picture)).vector

    middle = np.asarray(picture.crop((24, 4, 56, 36)), np.float32) / 255
    first = (middle[:8, :8].mean(axis=(0, 1)) - [0.5, 0.4, 0.3]) / 0.2
    assert np.allclose(vector, unit(first.astype(np.float32)), atol=1e-5)
    assert extractor.space.dimension == 3


def test_options_overrule_the_file_and_make_another_space(tmp_path: Path) -> None:
    folder = picture_directory(tmp_path / "tiny", CLIP)
    own = built(folder, mean=[0, 0, 0], std=[1, 1, 1], scale=1, fit="squeeze", pooling="mean")
    picture = noise(4, (32, 32))

    vector = only(own, shown(picture)).vector

    mean = np.asarray(picture, np.float32).mean(axis=(0, 1))
    assert np.allclose(vector, unit(mean), atol=1e-5)
    assert own.space.name != built(folder).space.name


@pytest.mark.parametrize(
    ("shape", "element"),
    [
        (("n", 3, "h", "w"), TensorProto.FLOAT),
        ((1, 3, 32, 32), TensorProto.FLOAT),
        (("n", 3, 32, 32), TensorProto.FLOAT16),
        (("n", 3, 32, 32), TensorProto.UINT8),
    ],
)
def test_inputs_of_other_shapes_and_types_are_served(
    tmp_path: Path, shape: tuple[int | str, ...], element: int
) -> None:
    """A byte per colour is given as it is; other types as numbers that `scale` brings there."""
    model = picture_model(tmp_path / "any.onnx", shape=shape, element=element)
    plain_numbers: dict[str, Any] = {"mean": [0, 0, 0], "std": [1, 1, 1], "scale": 1}
    own = {} if element == TensorProto.UINT8 else plain_numbers
    extractor = built(model, **own, **({"side": 32} if "h" in shape else {}))
    exact = built(picture_model(tmp_path / "exact.onnx"), **plain_numbers)

    vector = only(extractor, shown(noise(5))).vector

    assert float(vector @ only(exact, shown(noise(5))).vector) > 0.999
    assert extractor.space.dimension == DIMENSION


@pytest.mark.parametrize(
    ("config", "fit"),
    [
        ({"size": {"height": 32, "width": 32}}, "squeeze"),
        ({"size": 32}, "squeeze"),
        ({"size": 32, "do_center_crop": True, "crop_size": 32}, "crop"),
        ({"size": {"shortest_edge": 36}, "crop_size": 32, "do_center_crop": True}, "crop"),
        ({}, "squeeze"),
    ],
)
def test_the_forms_in_which_hubs_tell_a_size_are_understood(
    tmp_path: Path, config: dict[str, Any], fit: str
) -> None:
    folder = picture_directory(tmp_path / "tiny", config)
    shorter = {"shorter": 36} if "shortest_edge" in str(config) else {}
    told = {"fit": fit, **(shorter if fit == "crop" else {})}

    assert built(folder).space == built(folder, **told).space


def test_frames_of_videos_go_through_a_model_of_ones_own(tmp_path: Path) -> None:
    extractor = built(picture_model(tmp_path / "tiny.onnx"), frames=True)

    (parts,) = extractor.extract([film_content(film([(plain("red"), 1), (plain("blue"), 1)]))])

    assert not isinstance(parts, BadContent)
    assert [part.key for part in parts] == ["t0", "t1000"]


# --- texts --------------------------------------------------------------------------------------


def test_a_text_is_the_mean_of_its_tokens_and_a_long_one_of_its_chunks(tmp_path: Path) -> None:
    extractor = built(text_directory(tmp_path / "tiny"))  # 6 tokens at once, 2 of them marks

    short = only(extractor, said("rain late"))
    long = only(extractor, said("rain late sun card order"))

    assert np.allclose(short.vector, pooled("[CLS]", "rain", "late", "[SEP]"), atol=1e-6)
    assert short.attributes == {"chunks": 1}
    assert long.attributes == {"chunks": 2}
    words = ("rain", "late", "sun", "card", "[CLS]", "[SEP]", "order", "[CLS]", "[SEP]")
    assert np.allclose(long.vector, pooled(*words), atol=1e-6)


@pytest.mark.parametrize(("pooling", "token"), [("cls", "[CLS]"), ("last", "[SEP]")])
def test_pooling_can_be_said(tmp_path: Path, pooling: str, token: str) -> None:
    extractor = built(text_directory(tmp_path / "tiny"), pooling=pooling)

    assert np.allclose(only(extractor, said("rain")).vector, pooled(token), atol=1e-6)


def test_a_prefix_and_a_fixed_length_do_what_they_say(tmp_path: Path) -> None:
    free = built(text_directory(tmp_path / "free"), max_tokens=5)
    fixed = built(text_directory(tmp_path / "fixed", length=5), prefix="late ")

    one, other = only(free, said("late rain")), only(fixed, said("rain"))

    assert np.allclose(one.vector, other.vector, atol=1e-6)
    assert only(fixed, said("rain sun card")).attributes == {"chunks": 2}


# --- spaces -------------------------------------------------------------------------------------


def test_a_space_names_the_weights_wherever_they_lie(tmp_path: Path) -> None:
    folder = picture_directory(tmp_path / "tiny", CLIP)
    copy = Path(shutil.copytree(folder, tmp_path / "elsewhere" / "tiny"))
    space = built(folder).space

    assert built(copy).space == space
    assert space.name.startswith("onnx_extractor.v1/tiny@")
    picture_model(copy / "model.onnx", seed=7)
    assert built(copy).space.name != space.name


def test_weights_beside_the_model_are_part_of_it(tmp_path: Path) -> None:
    model = picture_model(tmp_path / "tiny.onnx", beside="tiny.data")
    space = built(model).space
    assert only(built(model), shown(noise(1))).vector.shape == (DIMENSION,)

    data = tmp_path / "tiny.data"
    data.write_bytes(data.read_bytes()[:-4] + b"\0\0\0\1")
    assert built(model).space.name != space.name
    data.unlink()
    with pytest.raises(BadSetting, match=r"weights in 'tiny\.data'; put that file into its folder"):
        built(model)


def test_a_collection_takes_a_model_by_its_path(tmp_path: Path) -> None:
    folder = picture_directory(tmp_path / "tiny", CLIP)
    (tmp_path / "photos").mkdir()
    for seed in range(3):
        noise(seed).save(tmp_path / "photos" / f"{seed}.png")
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        own = library.labeler("own", extractor="onnx_extractor", path=str(folder))
        own.add(tmp_path / "photos")
        assert own.report().documents == 3
        with pytest.raises(BadSetting, match="not on this machine"):
            library.labeler("none", extractor="onnx_extractor", path=str(tmp_path / "gone"))


# --- wrong models and options -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is empty"),
        (b"this is no model, but words", "is not an ONNX model"),
        (b"\x89PNG\r\n\x1a\n" + bytes(90), "is not an ONNX model"),
        (b"PK\3\4" + bytes(90), "is not an ONNX model"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    ],
)
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, data: bytes, problem: str) -> None:
    file = tmp_path / "wrong.onnx"
    file.write_bytes(data)

    with pytest.raises(BadSetting, match=problem) as caught:
        built(file)

    assert "wrong.onnx" in str(caught.value)


def test_a_model_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    whole = picture_model(tmp_path / "tiny.onnx").read_bytes()
    for share in (1, 3, 5, 7):
        (tmp_path / "tiny.onnx").write_bytes(whole[: len(whole) * share // 8])
        with pytest.raises(BadSetting, match="not an ONNX model, or is cut off"):
            built(tmp_path / "tiny.onnx")


def test_what_only_the_runtime_sees_is_told_at_the_first_picture(tmp_path: Path) -> None:
    model = picture_model(tmp_path / "tiny.onnx")
    model.write_bytes(model.read_bytes().replace(b"AveragePool", b"AveragePuul"))

    with pytest.raises(BadSetting, match=r"ONNX Runtime cannot run .*tiny\.onnx"):
        built(model).extract([shown(noise(1))])


def test_a_directory_must_have_one_model_and_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(BadSetting, match=r"has no file \*\.onnx"):
        built(tmp_path / "none")
    picture_model(tmp_path / "none" / "vision_model.onnx")
    text_model(tmp_path / "none" / "text_model.onnx")
    with pytest.raises(BadSetting, match=r"text_model\.onnx, vision_model\.onnx; give the path"):
        built(tmp_path / "none")
    assert built(tmp_path / "none" / "vision_model.onnx").accepts == {"image"}
    with pytest.raises(BadSetting, match=r"no tokenizer\.json in the folder of"):
        built(tmp_path / "none" / "text_model.onnx")
    (tmp_path / "none" / "tokenizer.json").write_text("{}")
    with pytest.raises(BadSetting, match="is not a tokenizer"):
        built(tmp_path / "none" / "text_model.onnx").extract([said("rain")])
    tokenizer_file(tmp_path / "none" / "tokenizer.json")
    write_json(tmp_path / "none" / "config.json", ["no mapping"])
    with pytest.raises(BadSetting, match="is not a mapping"):
        built(tmp_path / "none" / "text_model.onnx")


def test_inputs_that_nothing_has_are_refused_by_name(tmp_path: Path) -> None:
    folder = text_directory(tmp_path / "tiny", extra=["pixel_mask"])
    with pytest.raises(BadSetting, match=r"that a text cannot fill: pixel_mask \(\?, \?\)"):
        built(folder)
    grey = picture_model(tmp_path / "grey.onnx", shape=("n", 1, 32, 32))
    with pytest.raises(BadSetting, match=r"pixel_values \(\?, 1, 32, 32\), not one RGB picture"):
        built(grey)
    flat = picture_model(tmp_path / "flat.onnx", shape=("n", 3, 32, 32), element=TensorProto.DOUBLE)
    with pytest.raises(BadSetting, match="neither texts nor pictures: pixel_values"):
        built(flat)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"kind": "sound"}, "image, text"),
        ({"pooling": "max"}, "cls, last, mean, pooled"),
        ({"output": "logits"}, "last_hidden_state"),
        ({"side": 64}, "leave it out"),
        ({"side": "large"}, "whole number"),
        ({"fit": "pad"}, "crop, squeeze"),
        ({"mean": [0.5]}, "three numbers"),
        ({"std": [1, 0, 1]}, "a divisor"),
        ({"scale": "small"}, "give a number"),
        ({"max_tokens": 5}, "no option 'max_tokens'"),
        ({"threads": 0}, "whole number from 1"),
        ({"path": ""}, "give the path"),
    ],
)
def test_impossible_options_are_refused_with_what_is_possible(
    tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    model = picture_model(tmp_path / "tiny.onnx")

    with pytest.raises(BadSetting, match=told):
        build_extractor("onnx_extractor", {"path": str(model), **options})


def test_a_model_whose_inputs_leave_the_size_open_needs_it_told(tmp_path: Path) -> None:
    model = picture_model(tmp_path / "open.onnx", shape=("n", 3, "h", "w"))

    with pytest.raises(BadSetting, match="give side, such as 224"):
        built(model)
    with pytest.raises(BadSetting, match="does not take"):
        build_extractor("onnx_extractor", {})
