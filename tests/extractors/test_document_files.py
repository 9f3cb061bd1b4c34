"""PDF and scans: text layer or reading of the picture, whole or by page, and all that is bad."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from PIL import Image

from lookalike.content.boxes import can_show
from lookalike.errors import BadContent, BadSetting
from lookalike.extractors.base import Content, Extractor, Part
from lookalike.extractors.document import ocr
from lookalike.extractors.document.extractor import DocumentExtractor, document_extractor
from lookalike.extractors.previews import render
from lookalike.extractors.text import text_extractor
from lookalike.testing.extractors import ExtractorContract
from papers import (
    INVOICE,
    LETTER,
    POEM,
    docx_content,
    docx_of,
    paragraphs,
    pdf_content,
    pdf_of,
    scan_content,
    scan_of,
)


def parts_of(extractor: Extractor, content: Content) -> tuple[Part, ...]:
    (parts,) = extractor.extract([content])
    assert not isinstance(parts, BadContent), parts
    return parts


def refusal(content: Content, per: str) -> str:
    (error,) = document_extractor(per=per).extract([content])
    assert isinstance(error, BadContent), "it was accepted"
    return str(error)


@pytest.fixture(scope="module")
def reader() -> DocumentExtractor:
    """One extractor for those who read scans: the networks are loaded once."""
    extractor = document_extractor()
    assert isinstance(extractor, DocumentExtractor)
    return extractor


class TestDocumentContract(ExtractorContract):
    """The document extractor passes the contract with files that have a text layer."""

    @pytest.fixture
    def make(self) -> Callable[[], Extractor]:
        return document_extractor

    @pytest.fixture
    def good(self) -> Sequence[Content]:
        return [
            pdf_content(pdf_of(INVOICE)),
            pdf_content(pdf_of(LETTER, POEM)),
            docx_content(docx_of(paragraphs(*POEM))),
            Content(b"My card has not arrived.", "text/plain"),
        ]

    @pytest.fixture
    def bad(self) -> Sequence[Content]:
        whole = pdf_of(INVOICE)
        return [
            pdf_content(b"", "empty.pdf"),
            pdf_content(whole[:100], "cut.pdf"),
            pdf_content(b"%PDF-1.4 and then nothing of the kind", "false.pdf"),
            pdf_content(pdf_of(INVOICE, password="secret"), "locked.pdf"),
            pdf_content(pdf_of([]), "blank.pdf"),
            Content(b" ", "text/plain", name="blank.txt"),
            Content(b"\x89PNG\r\n\x1a\n", "image/png", name="cut.png"),
        ]


class TestPagesContract(TestDocumentContract):
    """It passes the contract as well when each page is a document."""

    @pytest.fixture
    def make(self) -> Callable[[], Extractor]:
        return lambda: document_extractor(per="page")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is empty (0 bytes); upload it again"),
        (pdf_of(INVOICE)[:100], "it is damaged ("),
        (pdf_of(INVOICE, password="secret"), "it is encrypted; save it without a password"),
        (pdf_of([], []), "its 2 pages have no text; remove it"),
    ],
)
@pytest.mark.parametrize("per", ["document", "page"])
def test_a_bad_pdf_says_what_it_is_and_what_to_do(data: bytes, said: str, per: str) -> None:
    assert said in refusal(pdf_content(data), per=per)


def test_a_pdf_and_a_text_that_say_the_same_are_the_same() -> None:
    """That is why they share a space."""
    texts, documents = text_extractor(), document_extractor()
    text = Content("\n".join(INVOICE).encode(), "text/plain")

    (of_text,) = parts_of(texts, text)
    (of_pdf,) = parts_of(documents, pdf_content(pdf_of(INVOICE)))

    assert documents.space == texts.space
    assert np.allclose(of_text.vector, of_pdf.vector, atol=1e-6)


def test_a_whole_document_tells_its_pages_and_shows_the_first() -> None:
    (part,) = parts_of(document_extractor(), pdf_content(pdf_of(INVOICE, LETTER)))

    assert part.key == ""
    assert part.attributes == {
        "chunks": 1,
        "pages": 2,
        "source": {"1": "text layer", "2": "text layer"},
    }
    assert part.picture is not None
    assert part.picture.size == (362, 512)


def test_each_page_with_words_is_a_document_when_asked() -> None:
    parts = parts_of(document_extractor(per="page"), pdf_content(pdf_of(INVOICE, [], LETTER)))

    assert [part.key for part in parts] == ["page-1", "page-3"]
    assert parts[1].attributes == {"page": 3, "pages": 3, "chunks": 1, "source": "text layer"}
    assert all(part.picture is not None for part in parts)


def test_a_page_is_shown_from_its_content_too() -> None:
    content = pdf_content(pdf_of([], LETTER))

    blank, written = render(content, "p1"), render(content, "p2")

    assert can_show("application/pdf")
    assert blank.getextrema() == ((255, 255),) * 3
    assert written.getextrema() != blank.getextrema()
    assert render(content, "").tobytes() == blank.tobytes()
    with pytest.raises(BadContent, match="page 9 of"):
        render(content, "p9")


def test_a_long_pdf_is_read_as_far_as_its_limit_and_says_so() -> None:
    long = pdf_content(pdf_of(*([f"Page {number}", *INVOICE] for number in range(500))))

    (whole,) = parts_of(document_extractor(), long)
    pages = parts_of(document_extractor(per="page", max_pages=40), long)

    assert (whole.attributes["pages"], whole.attributes["pages_read"]) == (500, 200)
    assert [part.key for part in pages] == [f"page-{number}" for number in range(1, 41)]
    assert sum(part.picture is not None for part in pages) == 32


def test_impossible_options_are_refused() -> None:
    with pytest.raises(BadSetting, match="per is 'line'; choose one of document, page"):
        document_extractor(per="line")
    with pytest.raises(BadSetting, match="max_pages is 0"):
        document_extractor(max_pages=0)


def test_passages_of_a_pdf_name_their_pages() -> None:
    extractor = document_extractor()
    assert isinstance(extractor, DocumentExtractor)
    content = pdf_content(pdf_of(INVOICE * 8, POEM * 8))

    whole = extractor.passages(content)
    second = extractor.passages(content, "page-2")

    assert [one.page for one in whole][:: len(whole) - 1] == [1, 2]
    assert {one.page for one in second} == {2}
    assert second[0].text.startswith("Whose woods")


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_scan_is_read_whichever_way_up_it_lies(turn: int, reader: DocumentExtractor) -> None:
    page = reader.reader.scan(scan_content(scan_of(INVOICE, turn=turn)))

    assert words(page.text) == words("\n".join(INVOICE))
    assert page.turn == -turn % 360
    assert page.picture is not None
    assert page.picture.width > page.picture.height


def test_a_scanned_picture_is_a_document_that_says_how_it_was_turned(
    reader: DocumentExtractor,
) -> None:
    (part,) = parts_of(reader, scan_content(scan_of(INVOICE, turn=90)))

    assert part.attributes == {"chunks": 1, "source": "ocr", "turned": 270}
    assert part.picture is not None


def test_a_page_without_a_text_layer_is_read_from_its_picture(reader: DocumentExtractor) -> None:
    text = Content(
        "\n\n".join("\n".join(page) for page in (LETTER, INVOICE)).encode(), "text/plain"
    )

    (part,) = parts_of(reader, pdf_content(pdf_of(LETTER, scan_of(INVOICE))))

    assert part.attributes["source"] == {"1": "text layer", "2": "ocr"}
    assert part.vector @ parts_of(text_extractor(), text)[0].vector > 0.99


def test_a_script_that_the_reader_does_not_know_is_no_crash(reader: DocumentExtractor) -> None:
    """Strokes like writing, but of no script."""
    chance = np.random.default_rng(0)
    scan = scan_of(["".join(chance.choice(list("⌇⍦⌀⍉⌘⍟"), 30)) for _ in range(3)])

    (outcome,) = reader.extract([scan_content(scan, "runes.png")])

    assert isinstance(outcome, BadContent)
    assert "'runes.png'" in str(outcome)


def test_a_picture_without_words_is_refused(reader: DocumentExtractor) -> None:
    (outcome,) = reader.extract([scan_content(Image.new("RGB", (300, 200), "white"), "white.png")])

    assert "'white.png': the page has no text" in str(outcome)


def test_without_the_extra_only_what_needs_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)  # import fails
    scanned = pdf_content(pdf_of(LETTER, scan_of(INVOICE)), "scan.pdf")
    contents = [pdf_content(pdf_of(INVOICE)), scanned, pdf_content(pdf_of(LETTER))]

    for per in ("document", "page"):
        first, failed, last = document_extractor(per=per).extract(contents)

        assert isinstance(failed, BadContent)
        assert "'scan.pdf'" in str(failed)
        assert "pip install 'lookalike[ocr]'" in str(failed)
        assert not isinstance(first, BadContent)
        assert not isinstance(last, BadContent)


def test_lines_are_put_in_the_order_of_reading() -> None:
    across, down = np.array([300.0, 10.0, 10.0]), np.array([12.0, 60.0, 10.0])

    assert ocr._reading_order(across, down, 20.0) == [2, 0, 1]


def words(text: str) -> set[str]:
    return {word.strip(".,").lower() for word in text.split()}
