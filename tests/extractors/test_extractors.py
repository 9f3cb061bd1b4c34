"""The built-in extractors: all pass the contract, and each does its own thing right."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lookalike.errors import BadContent, BadSetting, LookalikeError, NotFound
from lookalike.extractors import image, text_models
from lookalike.extractors.base import VECTOR_TYPE, Content, Extractor, Part
from lookalike.extractors.image import image_extractor
from lookalike.extractors.onnx.bundled import ModelFile
from lookalike.extractors.text import cut, text_extractor
from lookalike.extractors.vectors import passthrough
from lookalike.testing.extractors import ExtractorContract

IMAGE_PLACES = [318, 1100, 1165, 66]
IMAGE_VALUES = [0.2237, 0.1801, 0.1539, 0.1529]
TEXT_VALUES = {
    "minilm-l6-v2": [-0.0272, 0.0259, 0.0019, 0.0129],
    "bge-small-en-v1.5": [-0.0383, -0.0096, 0.0832, 0.0021],
}


def drawn(shape: str, colour: str, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """Return a picture of one coloured shape on white."""
    picture = Image.new("RGB", size, "white")
    box = (size[0] // 6, size[1] // 6, size[0] * 5 // 6, size[1] * 5 // 6)
    getattr(ImageDraw.Draw(picture), shape)(box, fill=colour)
    return picture


def picture_content(picture: Image.Image, name: str = "x.png", **options: Any) -> Content:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return Content(file.getvalue(), "image/png", name=name, **options)


def text_content(words: str, name: str = "x.txt") -> Content:
    return Content(words.encode(), "text/plain", name=name)


def vector_content(numbers: Sequence[float], name: str = "x") -> Content:
    return Content(np.array(numbers, "<f4").tobytes(), VECTOR_TYPE, name=name)


def only(extractor: Extractor, content: Content) -> Part:
    """Return the single part of a content that is good."""
    (parts,) = extractor.extract([content])
    assert not isinstance(parts, BadContent), parts
    (part,) = parts
    return part


def refusal(extractor: Extractor, content: Content) -> str:
    (error,) = extractor.extract([content])
    assert isinstance(error, BadContent)
    return str(error)


class TestImageContract(ExtractorContract):
    """The image extractor passes the contract."""

    @pytest.fixture
    def make(self) -> Callable[[], Extractor]:
        return image_extractor

    @pytest.fixture
    def good(self) -> Sequence[Content]:
        return [
            picture_content(drawn("ellipse", "red")),
            picture_content(drawn("rectangle", "green", (50, 200))),
            picture_content(drawn("ellipse", "blue", (1, 1))),
        ]

    @pytest.fixture
    def bad(self) -> Sequence[Content]:
        whole = picture_content(drawn("ellipse", "red")).data
        return [
            Content(b"", "image/png", name="empty.png"),
            Content(whole[:200], "image/png", name="cut.png"),
            Content(b"<svg/>", "image/svg+xml", name="drawing.svg"),
            Content(whole, "image/png", name="large.png", max_pixels=100),
        ]


class TestTextContract(ExtractorContract):
    """The text extractor passes the contract."""

    @pytest.fixture
    def make(self) -> Callable[[], Extractor]:
        return text_extractor

    @pytest.fixture
    def good(self) -> Sequence[Content]:
        return [
            text_content("My card has not arrived."),
            text_content("rain"),
            text_content("The quick brown fox jumps over the lazy dog. " * 60),
        ]

    @pytest.fixture
    def bad(self) -> Sequence[Content]:
        return [
            Content(b"", "text/plain", name="empty.txt"),
            Content(b" \n\t", "text/plain", name="blank.txt"),
            Content("\u200b\u200b".encode(), "text/plain", name="invisible.txt"),
            Content(b"\x89PNG\r\n\x1a\n\0\1\2\3", "text/plain", name="picture.txt"),
        ]


class TestPassthroughContract(ExtractorContract):
    """Vectors that the user brings pass the contract."""

    @pytest.fixture
    def make(self) -> Callable[[], Extractor]:
        return lambda: passthrough(3)

    @pytest.fixture
    def good(self) -> Sequence[Content]:
        return [vector_content(v) for v in ([3.0, 4.0, 0.0], [-1.0, 0.0, 1e-30], [1e30, 1e30, 0.0])]

    @pytest.fixture
    def bad(self) -> Sequence[Content]:
        return [
            vector_content([0.0, 0.0, 0.0], "zero"),
            vector_content([1.0, float("nan"), 0.0], "nan"),
            vector_content([1.0, 2.0], "short"),
            Content(b"hello", "text/plain", name="words"),
        ]


@pytest.mark.parametrize(
    "file",
    [
        *(model.file for model in image.MODELS.values()),
        *(model.file for model in text_models.MODELS.values()),
        *(model.tokenizer for model in text_models.MODELS.values()),
    ],
    ids=lambda file: file.name,
)
def test_each_model_in_the_package_is_the_one_that_its_space_names(file: ModelFile) -> None:
    """The bytes have the digest in the table, and the README beside them says the same."""
    data = files("lookalike.extractors.onnx").joinpath("weights", file.name).read_bytes()
    readme = files("lookalike.extractors.onnx").joinpath("weights", "README.md").read_text("utf-8")

    assert hashlib.sha256(data).hexdigest() == file.sha256
    assert file.sha256 in readme


def test_a_model_with_other_bytes_is_refused() -> None:
    """Weights that are not the known ones would fill a space with strangers."""
    with pytest.raises(LookalikeError, match=r"it is damaged.*pip install --force-reinstall"):
        ModelFile("README.md", "0" * 64).read()


def test_a_missing_model_is_named() -> None:
    """A broken installation says which file is missing and how to mend it."""
    with pytest.raises(LookalikeError, match=r"nothing\.onnx is missing; run `pip install"):
        ModelFile("nothing.onnx", "0" * 64).read()


@pytest.mark.parametrize("make", [image_extractor, text_extractor])
def test_an_unknown_model_lists_the_known_ones(make: Callable[..., Extractor]) -> None:
    """A misspelt model is refused at once, not at the first picture."""
    with pytest.raises(NotFound, match=r"'nothing'.*known: (efficientnet-lite2|bge-small-en-v1.5)"):
        make("nothing")


def test_importing_extractors_loads_nothing_heavy() -> None:
    """Only the first extraction pays for the model's libraries."""
    code = (
        "import sys, lookalike.extractors.image, lookalike.extractors.text;"
        "print({'onnxruntime', 'tokenizers', 'PIL', 'pillow_heif'} & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


def test_image_vectors_stay_what_they_were() -> None:
    """A space is for ever: a change of weights or preprocessing fails here."""
    vector = only(image_extractor(), picture_content(drawn("ellipse", "red"))).vector

    found = vector[np.argsort(vector)[::-1][:4]]
    assert np.argsort(vector)[::-1][:4].tolist() == IMAGE_PLACES
    assert np.allclose(found, IMAGE_VALUES, atol=1e-3)


@pytest.mark.parametrize("model", TEXT_VALUES)
def test_text_vectors_stay_what_they_were(model: str) -> None:
    """A space is for ever: a change of weights, tokenizer or pooling fails here.

    What the integers of the newer model are rounded from differs a little among processors.
    """
    vector = only(text_extractor(model), text_content("My card has not arrived.")).vector

    assert np.allclose(vector[:4], TEXT_VALUES[model], atol=1e-3 if "minilm" in model else 8e-3)


def test_the_vector_of_a_text_is_the_same_whatever_is_read_with_it() -> None:
    """To the last bit, whether texts of the same length are there, or none."""
    questions = [f"My card number {number} has not arrived." for number in range(40)]
    contents = [text_content(words) for words in ("rain", *questions, "It will rain tomorrow.")]
    extractor = text_extractor()

    together = extractor.extract(contents)

    alone = [only(extractor, content).vector for content in contents]
    vectors = [parts[0].vector for parts in together if not isinstance(parts, BadContent)]
    assert np.array_equal(vectors, alone)


def test_pictures_of_one_shape_are_nearer_than_pictures_of_two() -> None:
    """Two circles are more alike than a circle and a bar, whatever their size."""
    pictures = [
        drawn("ellipse", "red"),
        drawn("ellipse", "red", (240, 180)),
        drawn("rectangle", "blue"),
    ]
    circle, large_circle, bar = (
        only(image_extractor(), picture_content(picture)).vector for picture in pictures
    )

    assert circle @ large_circle > circle @ bar


def test_a_picture_is_decoded_once() -> None:
    """Several extractors of one content share its picture."""
    content = picture_content(drawn("ellipse", "red"))

    assert content.picture() is content.picture()


def test_texts_of_one_meaning_are_nearer_than_texts_of_two() -> None:
    """Meaning counts, not shared words."""
    extractor = text_extractor()
    lost, gone, rain = (
        only(extractor, text_content(words)).vector
        for words in ("I lost my card", "My debit card was stolen", "It will rain tomorrow")
    )

    assert lost @ gone > lost @ rain + 0.3


def test_a_long_text_is_read_in_chunks_to_its_end() -> None:
    """What stands after the first 128 tokens still counts."""
    extractor = text_extractor()
    start = "The invoice is due in thirty days. " * 30
    plain, with_end = (
        only(extractor, text_content(words))
        for words in (start, start + "Penguins live in Antarctica. " * 30)
    )

    assert (plain.attributes["chunks"], with_end.attributes["chunks"]) == (3, 4)
    assert plain.vector @ with_end.vector < 0.95


def test_a_huge_text_is_read_as_far_as_64_chunks() -> None:
    """A file of any size takes a bounded time."""
    part = only(text_extractor(), text_content("word " * 1_000_000))

    assert part.attributes["chunks"] == 64


@pytest.mark.parametrize(
    ("tokens", "lengths"),
    [(1, [1]), (126, [126]), (127, [64, 63]), (300, [100] * 3), (10_000, [126] * 64)],
)
def test_tokens_are_cut_evenly(tokens: int, lengths: list[int]) -> None:
    """There are as few chunks as fit, none of them a scrap, and no token is lost below the cap."""
    chunks = cut(np.arange(tokens))

    assert [len(chunk) for chunk in chunks] == lengths
    assert np.array_equal(np.concatenate(chunks), np.arange(sum(lengths)))


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"]
)
def test_text_is_read_in_the_encodings_that_files_have(encoding: str) -> None:
    """The same words come out of every encoding."""
    content = Content("Größe: 12 cm\r\n".encode(encoding), "text/plain")

    assert content.text() == "Größe: 12 cm\r\n"


@pytest.mark.parametrize("data", [b"\0\0\0\1", b"\xff\xfe\0", b"PK\3\4 words", b"\xff\xfe\0\xd8"])
def test_binary_is_not_read_as_text(data: bytes) -> None:
    """Bytes that no text has are refused, with the name."""
    with pytest.raises(BadContent, match=r"'a\.zip' as text: it has binary data"):
        Content(data, "text/plain", name="a.zip").text()


def test_a_brought_vector_keeps_its_direction() -> None:
    """Only its length changes."""
    part = only(passthrough(2), vector_content([3.0, 4.0]))

    assert np.allclose(part.vector, [0.6, 0.8])


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ([1.0, float("nan")], "number 1 is nan"),
        ([float("-inf"), 1.0], "number 0 is -inf"),
        ([0.0, 0.0], "all its 2 numbers are 0"),
        ([1.0], "4 bytes, and 2 float32 numbers have 8"),
    ],
)
def test_a_bad_vector_is_refused_with_its_value(numbers: list[float], said: str) -> None:
    """The message names the vector, the value, and what would be right."""
    message = refusal(passthrough(2), vector_content(numbers, "row 7"))

    assert "'row 7'" in message
    assert said in message


def test_vectors_of_two_names_or_dimensions_never_share_a_space() -> None:
    """The name and the dimension are both in the space's name."""
    names = {passthrough(2).space.name, passthrough(3).space.name, passthrough(2, "b").space.name}

    assert len(names) == 3


@pytest.mark.parametrize(("dimension", "name"), [(0, "a"), (-1, "a"), (2, ""), (2, "a/b@c")])
def test_an_impossible_space_is_refused(dimension: int, name: str) -> None:
    """A name that would not parse, or no dimension, is an error when it is asked for."""
    with pytest.raises(BadSetting):
        passthrough(dimension, name)
