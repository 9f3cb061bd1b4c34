"""Why, for texts: the passage that mattered, of the document and of its reference."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import lookalike
import patient
from lookalike import Collection
from lookalike.cli.group import cli
from lookalike.extractors.document import extractor as documents
from lookalike.extractors.document.extractor import DocumentExtractor, document_extractor
from papers import INVOICE, LETTER, POEM, pdf_content, pdf_of, scan_of
from serving import Served

HEATING = (
    "The annual service of the boiler is due in May",
    "Our engineer will test the burner and the valves",
    "Please keep the boiler room free on that morning",
    "The old pump will be replaced at no further cost",
)
BOILER = (
    "We shall come to service your boiler on Tuesday",
    "The engineer checks the burner, pump and valves",
    "Somebody should be at home to let him in at nine",
    "A receipt for the service is sent to you by post",
)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("papers")
    (folder / "reference.pdf").write_bytes(pdf_of(POEM * 5, HEATING * 4))
    (folder / "other.pdf").write_bytes(pdf_of(INVOICE * 4))
    (folder / "question.pdf").write_bytes(pdf_of(LETTER * 4, LETTER * 4, BOILER * 4))
    return folder


@pytest.fixture(scope="module")
def store(papers: Path) -> Iterator[Path]:
    """A store in which the question has taken its label from the reference."""
    store = papers.parent / "store"
    with lookalike.open(store, actor="ann") as library:
        made = library.labeler("papers", extractor="documents", confidence_threshold=0.2)
        made.add(str(papers))
        ids = {one.file_name: one.id for one in made.documents()}
        made.label({ids["reference.pdf"]: "Heating", ids["other.pdf"]: "Invoice"})
    yield store


def id_of(collection: Collection, name: str) -> str:
    return next(one.id for one in collection.documents() if one.file_name == name)


def test_why_quotes_the_passages_that_are_most_alike(store: Path) -> None:
    with lookalike.open(store) as library:
        papers = library.collection("papers")
        question = id_of(papers, "question.pdf")

        why = papers.why(question)

        assert why.standing.label == "Heating"
        assert why.quotes is not None
        assert (why.quotes.here.page, why.quotes.there.page) == (3, 2)
        assert "boiler" in why.quotes.here.text
        assert "boiler" in why.quotes.there.text
        assert why.quotes.here.document_id == question
        assert why.quotes.there.document_id == id_of(papers, "reference.pdf")
        assert 0.5 < why.quotes.similarity <= 1


def test_the_command_line_shows_both_passages(store: Path) -> None:
    with lookalike.open(store) as library:
        question = id_of(library.collection("papers"), "question.pdf")

    shown = CliRunner().invoke(cli, ["--store", str(store), "why", "papers", question])
    told = CliRunner().invoke(cli, ["--store", str(store), "why", "papers", question, "--json"])

    assert "it says on page 3: '" in shown.output
    assert "says on page 2: '" in shown.output
    assert json.loads(told.output)["quotes"]["here"]["page"] == 3


def test_a_server_and_a_connection_tell_the_same_passages(store: Path) -> None:
    with lookalike.open(store) as library:
        papers = library.collection("papers")
        question = id_of(papers, "question.pdf")
        here = papers.why(question)

    with Served(store) as server:
        address = f"{server.url}/v1/collections/papers/documents/{question}/why"
        over_http = patient.get(address).json()
        shown = patient.get(address.removesuffix("/why")).json()["thumbnail_url"]
        thumbnail = patient.get(server.url + shown)
        with lookalike.connect(server.url) as remote:
            there = remote.collection("papers").why(question)

    assert here.quotes is not None
    assert there.quotes == here.quotes
    assert over_http["quotes"]["there"]["page"] == 2
    assert thumbnail.headers["content-type"] == "image/jpeg"


def test_the_thumbnail_of_a_pdf_is_its_first_page(store: Path) -> None:
    with lookalike.open(store) as library:
        (digest,) = {
            one.sha256
            for one in library.collection("papers").documents()
            if one.file_name == "question.pdf"
        }
    kept = list((store / "cache" / "thumbnails" / digest[:2]).glob(f"{digest[2:]}*.jpg"))

    assert [path.name for path in kept] == [f"{digest[2:]}.jpg"]


def test_a_content_that_is_gone_gives_no_passage_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The boiler is broken", "utf-8")
    (tmp_path / "b.txt").write_text("The boiler is out of order", "utf-8")
    with lookalike.open(tmp_path / "store") as library:
        texts = library.labeler("texts", extractor="text", confidence_threshold=0.2)
        texts.add([str(tmp_path / "a.txt"), str(tmp_path / "b.txt")])
        texts.label({id_of(texts, "a.txt"): "Heating"})
        before = texts.why(id_of(texts, "b.txt"))

        (tmp_path / "a.txt").unlink()
        after = texts.why(id_of(texts, "b.txt"))

    assert before.quotes is not None
    assert before.quotes.there.text == "The boiler is broken"
    assert before.quotes.here.page is None
    assert after == replace(before, quotes=None)


def test_the_text_beside_a_picture_is_quoted(tmp_path: Path) -> None:
    """Of several extractors the one that reads texts has passages."""
    said = {"a": "a red kettle", "b": "a kettle in red"}
    for name in said:
        Image.new("RGB", (40, 40), "red").save(tmp_path / f"{name}.png")
    rows = [
        {"image": tmp_path / f"{name}.png", "text": text, "id": name} for name, text in said.items()
    ]
    with lookalike.open(tmp_path / "store") as library:
        products = library.labeler(
            "products", extractor=["image", "text"], confidence_threshold=0.2
        )
        products.add(rows)
        products.label({"a": "Kettle"})

        why = products.why("b")

    assert why.quotes is not None
    assert (why.quotes.here.text, why.quotes.there.text) == ("a kettle in red", "a red kettle")


def test_vectors_have_no_passages(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "store") as library:
        things = library.labeler("things", extractor="passthrough", confidence_threshold=0.2)
        things.add(vectors=np.eye(3) + 1, ids=["a", "b", "c"])
        things.label({"a": "A"})

        assert things.why("b").quotes is None


def test_only_so_many_scanned_pages_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "QUOTED_SCANS", 1)
    scan = scan_of(INVOICE[:1])
    extractor = cast("DocumentExtractor", document_extractor())

    passages = extractor.passages(pdf_content(pdf_of(scan, scan, LETTER)))

    assert passages[0].text.lower().count("invoice number") == 1
