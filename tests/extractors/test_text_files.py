"""HTML, Markdown and DOCX, read as plain text; plain text itself as it is."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from lookalike.content.pictures import sniff
from lookalike.errors import BadContent
from lookalike.extractors.base import Content, Extractor
from lookalike.extractors.document.plain_text import DOCX_TYPE as DOCX
from lookalike.extractors.document.plain_text import plain_text
from lookalike.extractors.text import text_extractor
from lookalike.testing.extractors import ExtractorContract
from papers import WORD, docx_content, docx_of, paragraphs

LIMIT = 10_000


def html(text: str, name: str = "x.html") -> Content:
    return Content(text.encode(), "text/html", name=name)


def markdown(text: str, name: str = "x.md") -> Content:
    return Content(text.encode(), "text/markdown", name=name)


class TestWrittenContract(ExtractorContract):
    """The text extractor passes the contract with files that have markup."""

    @pytest.fixture
    def make(self) -> Callable[[], Extractor]:
        return text_extractor

    @pytest.fixture
    def good(self) -> Sequence[Content]:
        return [
            html("<h1>Rain</h1><p>It will rain <b>tomorrow</b>."),
            markdown("# Cards\n\n- lost\n- stolen\n"),
            docx_content(docx_of(paragraphs("Dear Margaret", "thank you for the letter"))),
        ]

    @pytest.fixture
    def bad(self) -> Sequence[Content]:
        return [
            html("<script>let only = 'code'</script>", "code.html"),
            html("", "empty.html"),
            markdown("***\n", "rule.md"),
            docx_content(docx_of(""), "blank.docx"),
            docx_content(docx_of(paragraphs("words"))[:200], "cut.docx"),
            docx_content(docx_of(paragraphs("words"), part="xl/workbook.xml"), "sheet.docx"),
            docx_content(b"\xd0\xcf\x11\xe0 an old .doc", "old.docx"),
            docx_content(b"", "empty.docx"),
        ]


def test_html_is_read_as_a_person_sees_it() -> None:
    page = html(
        "<!doctype html><html><head><title>Shop</title><style>p { color: red }</style></head>"
        "<body><script>track()</script><h1>Open&nbsp;daily</h1><p>Fresh <b>B</b>read<br>and "
        "&eacute;clairs</p><table><tr><td>Roll<td>0.40</table></body>"
    )

    assert plain_text(page, LIMIT) == "Shop\nOpen daily\nFresh Bread\nand éclairs\nRoll\n0.40"


@pytest.mark.parametrize(
    "data",
    [
        '<meta charset="windows-1251"><p>Счёт'.encode("cp1251"),
        "\ufeff<p>Счёт".encode("utf-16-le"),
        '<meta charset="nonsense"><p>Счёт'.encode(),
        '<meta charset="ascii"><p>Счёт'.encode(),
    ],
)
def test_html_is_decoded_as_it_says_or_as_it_is(data: bytes) -> None:
    assert plain_text(Content(data, "text/html"), LIMIT) == "Счёт"


def test_markdown_loses_its_marks_and_keeps_its_words() -> None:
    table = "| a | b |\n|---|---|\n| 1 | 2 |\n"
    text = f"# Head\n\nSome *soft* [link](http://a.b)\n\n{table}\n```\nx=1\n```\n"

    assert plain_text(markdown(text), LIMIT) == "Head\nSome soft link\na\nb\n1\n2\nx=1"


def test_markup_nested_without_end_takes_a_bounded_time() -> None:
    assert plain_text(html("<div>x" * 60_000), LIMIT).startswith("x\nx")


def test_docx_headings_tables_and_signs_count() -> None:
    table = "".join(
        f"<w:tr><w:tc>{paragraphs(left)}</w:tc><w:tc>{paragraphs(right)}</w:tc></w:tr>"
        for left, right in (("Flour", "12"), ("Doors", "2"))
    )
    body = (
        paragraphs("Invoice", style="Heading1")
        + f"<w:tbl>{table}</w:tbl>"
        + "<w:p><w:r><w:t>due</w:t><w:tab/><w:t>now</w:t><w:br/><w:t>&#233;</w:t></w:r></w:p>"
    )

    text = plain_text(docx_content(docx_of(body)), LIMIT)

    assert [line.split() for line in text.splitlines()] == [
        ["Invoice"],
        ["Flour", "12"],
        ["Doors", "2"],
        ["due", "now"],
        ["é"],
    ]


def test_docx_leaves_out_what_is_deleted_or_said_twice() -> None:
    body = (
        "<w:p><w:r><w:t>kept</w:t></w:r><w:del><w:r><w:delText>gone</w:delText></w:r></w:del>"
        "<w:r><w:instrText>PAGE</w:instrText></w:r></w:p>"
        '<mc:AlternateContent xmlns:mc="urn:mc"><mc:Choice><w:p><w:r><w:t>box</w:t></w:r></w:p>'
        "</mc:Choice><mc:Fallback><w:p><w:r><w:t>box</w:t></w:r></w:p></mc:Fallback>"
        "</mc:AlternateContent>"
    )

    assert plain_text(docx_content(docx_of(body)), LIMIT).split() == ["kept", "box"]


def test_a_docx_made_to_burst_is_refused_before_it_does() -> None:
    """Thirty megabytes without a word, in thirty kilobytes."""
    bomb = docx_content(docx_of(" " * 30_000_000), "bomb.docx")

    with pytest.raises(
        BadContent, match=r"'bomb\.docx' as DOCX: it unpacks to more than 16,777,216"
    ):
        plain_text(bomb, LIMIT)


def test_a_docx_is_unpacked_only_as_far_as_it_is_read() -> None:
    long = docx_content(docx_of(paragraphs("word " * 20) * 700_000))

    assert len(plain_text(long, LIMIT)) == LIMIT


def test_entities_that_multiply_are_refused() -> None:
    laughs = "".join(
        f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' if n else '<!ENTITY e0 "ha">' for n in range(10)
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        document = (
            f'<w:document xmlns:w="{WORD}"><w:p><w:r><w:t>&e9;</w:t></w:r></w:p></w:document>'
        )
        archive.writestr("word/document.xml", f"<!DOCTYPE d [{laughs}]>{document}")

    with pytest.raises(BadContent, match="damaged or encrypted"):
        plain_text(docx_content(file.getvalue()), 10**9)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (docx_content(docx_of("")), "save it as PDF and add it to a collection with document_e"),
        (docx_content(docx_of("<w:p>")), "open it in a word processor and save it again"),
        (docx_content(docx_of("", part="a")), r"a ZIP without word/document\.xml"),
        (html("<hr>"), "it has only markup; fill it or remove it"),
    ],
)
def test_what_cannot_be_read_says_what_to_do(content: Content, said: str) -> None:
    with pytest.raises(BadContent, match=said):
        plain_text(content, LIMIT)


def test_plain_text_is_taken_to_the_letter() -> None:
    text = "  <b>no</b> markup\r\n# here\n"

    assert plain_text(Content(text.encode(), "text/plain"), LIMIT) == text


def test_a_part_says_how_its_file_was_turned_into_text() -> None:
    contents = [html("<p>rain"), docx_content(docx_of(paragraphs("rain")))]
    plain = Content(b"rain", "text/plain")

    results = text_extractor().extract([*contents, plain])

    parts = [part for parts in results if not isinstance(parts, BadContent) for part in parts]
    assert [part.attributes.get("reading") for part in parts] == ["html.v1", "docx.v1", None]
    assert np.allclose(parts[0].vector, parts[2].vector, atol=1e-6)


def test_words_in_a_script_that_the_model_does_not_know_are_refused() -> None:
    amharic = Content("ሰላም ለዓለም እንዴት ነህ".encode(), "text/plain", name="letter.txt")

    (refused,) = text_extractor().extract([amharic])

    assert isinstance(refused, BadContent)
    assert "does not know; use model='multilingual-e5-small'" in str(refused)


def test_passages_are_the_text_itself_in_order() -> None:
    text = "The invoice is due in thirty days. " * 30 + "Penguins live in Antarctica."

    found = text_extractor().passages(Content(text.encode(), "text/plain"))  # type: ignore[attr-defined]

    assert len(found) == 3
    assert all(text[one.start :].startswith(one.text) for one in found)
    assert found[-1].text.endswith("Antarctica.")


def test_a_docx_is_known_by_its_content_and_by_its_name() -> None:
    data = docx_of(paragraphs("words"))

    assert sniff(data, "") == DOCX
    assert sniff(data[:30], "letter.docx") == DOCX
    assert sniff(data[:30], "") == "application/octet-stream"
