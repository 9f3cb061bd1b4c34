"""The default text model has changed: old collections keep theirs, and can migrate to the new."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from shutil import copytree
from typing import Any

import httpx2
import pytest
from sqlalchemy import select, update

import lookalike
from lookalike.errors import Conflict
from lookalike.extractors.registry import build_extractor, options_stored, options_to_store
from lookalike.extractors.text_models import DEFAULTS
from lookalike.stores import schema
from patient import WAIT_S
from serving import Served

FIRST, NOW = DEFAULTS[0], DEFAULTS[-1]
MINILM = "text_extractor.v1/minilm-l6-v2@f3c0bdbc"
BGE = "text_extractor.v1/bge-small-en-v1.5@bdc61557"
NOTES = {
    "lost": "I lost my bank card yesterday",
    "stolen": "My debit card was stolen",
    "rain": "It will rain tomorrow afternoon",
    "snow": "Snow is expected in the mountains",
}
LABELS = {"lost": "Bank", "rain": "Weather"}
LIMIT = 0.4
"""A similarity of MiniLM: that of texts about one thing is above it."""


def fill(collection: lookalike.Collection, texts: Mapping[str, str] = NOTES) -> None:
    collection.add([text.encode() for text in texts.values()], ids=list(texts))


def labels_of(collection: lookalike.Collection) -> dict[str, str | None]:
    return {one.id: one.standing.label for one in collection.documents()}


def without_model(value: Any) -> Any:
    """Return options as the first versions stored them: no text model is named."""
    if isinstance(value, dict):
        kept = {name: without_model(inner) for name, inner in value.items() if name != "model"}
        return kept["extractor"] if list(kept) == ["extractor"] else kept
    return [without_model(inner) for inner in value] if isinstance(value, list) else value


def make_old(library: lookalike.Library) -> None:
    """Let all collections be stored as the first versions stored them."""
    table = schema.resource
    with library.runtime.store.write() as txn:
        for row in txn.rows(select(table).where(table.c.kind == "collection")):
            spec = {**row.spec, "options": without_model(row.spec["options"])}
            txn.execute(update(table).where(table.c.pk == row.pk).values(spec=spec))


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of a version that knew one text model only, with labels given and decided."""
    place = tmp_path_factory.mktemp("old") / "store"
    rule: dict[str, Any] = {"confidence_threshold": LIMIT}
    with lookalike.open(place) as library:
        notes = library.labeler("notes", extractor="text", model=FIRST, **rule)
        fill(notes)
        notes.label(LABELS)
        pages = library.labeler("pages", extractor="documents", model=FIRST, per="page", **rule)
        fill(pages)
        both = library.labeler("both", extractor=["image", {"extractor": "text", "model": FIRST}])
        both.add([{"text": "a red toy", "id": "a"}])
        make_old(library)
        with library.runtime.store.read() as snapshot:
            rows = snapshot.rows(select(schema.resource.c.spec))
        assert FIRST not in str(rows)
    return place


@pytest.fixture
def store(old: Path, tmp_path: Path) -> Path:
    return Path(copytree(old, tmp_path / "store"))


@pytest.fixture
def library(store: Path) -> Iterator[lookalike.Library]:
    with lookalike.open(store) as opened:
        yield opened


def test_a_new_collection_has_the_new_model_and_writes_it_down(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "store") as library:
        fill(library.labeler("notes", extractor="text"))

        assert library.spaces() == {"notes": BGE}
        with library.runtime.store.read() as snapshot:
            specs = [row.spec for row in snapshot.rows(select(schema.resource))]
    assert {"model": NOW} in [spec.get("options") for spec in specs]


def test_the_first_model_is_there_by_its_name(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "store") as library:
        fill(library.labeler("notes", extractor="text", model=FIRST))

        assert library.spaces() == {"notes": MINILM}


def test_an_old_collection_goes_on_in_its_space(library: lookalike.Library) -> None:
    """What is added is read by the model that read the rest, and decided."""
    notes = library.collection("notes")

    fill(notes, {"pin": "How do I change the PIN of my bank card?"})

    assert labels_of(notes)["pin"] == "Bank"
    assert library.spaces()["notes"] == MINILM
    assert library.check() == []


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("notes", {"extractor": "text"}),
        ("notes", {}),
        ("notes", {"model": FIRST}),
        ("pages", {"extractor": "documents", "per": "page"}),
        ("both", {"extractor": ["image", "text"]}),
    ],
)
def test_a_program_that_names_no_model_finds_its_old_collection(
    library: lookalike.Library, name: str, asked: dict[str, Any]
) -> None:
    assert library.labeler(name, **asked).name == name


@pytest.mark.parametrize(
    ("name", "asked"), [("notes", {"model": NOW}), ("pages", {"per": "document"})]
)
def test_other_options_are_still_refused(
    library: lookalike.Library, name: str, asked: dict[str, Any]
) -> None:
    with pytest.raises(Conflict, match=f"'model': '{FIRST}'"):
        library.labeler(name, **asked)


def test_a_collection_that_several_read_keeps_its_space(library: lookalike.Library) -> None:
    both = library.collection("both")

    both.add([{"text": "ten nails of steel", "id": "b"}])

    assert "/efficientnet-lite2+minilm-l6-v2@" in library.spaces()["both"]
    assert {one.id for one in both.documents()} == {"a", "b"}


def test_what_refers_to_an_old_collection_is_read_by_its_model(library: lookalike.Library) -> None:
    new = library.labeler("new", extractor="text", reference="notes", confidence_threshold=LIMIT)

    fill(new, {"pin": "How do I change the PIN of my bank card?"})

    assert library.spaces()["new"] == MINILM
    assert labels_of(new) == {"pin": "Bank"}


def test_over_http_as_well(store: Path) -> None:
    bodies = [
        {
            "collection_name": name,
            "source": {"type": "bucket", "bucket_id": "notes"},
            "feature_extractor": {"feature_extractor_name": "text_extractor", "version": "v1"},
            "taxonomy": {**taxonomy, "confidence_threshold": LIMIT, "field_to_enrich": "label"},
        }
        for name, taxonomy in (("new", {"reference_collection": "notes"}), ("alone", {}))
    ]
    with (
        Served(store) as server,
        httpx2.Client(base_url=f"{server.url}/v1", timeout=WAIT_S) as client,
    ):
        made = [client.post("/collections", json=body) for body in bodies]

    assert [answer.status_code for answer in made] == [200, 200], made[0].text
    with lookalike.open(store) as library:
        for name in ("new", "alone"):
            library.collection(name).extract()
        spaces = library.spaces()
    assert (spaces["new"], spaces["alone"]) == (MINILM, BGE)


def test_migrating_without_options_brings_the_new_model_and_back(
    library: lookalike.Library,
) -> None:
    notes = library.collection("notes")

    library.migrate("notes", extractor="text", confidence_threshold=0.6)

    assert library.spaces()["notes"] == BGE
    assert labels_of(notes) == {
        "lost": "Bank",
        "stolen": "Bank",
        "rain": "Weather",
        "snow": "Weather",
    }

    library.migrate("notes", extractor="text", confidence_threshold=LIMIT)

    assert library.spaces()["notes"] == MINILM
    assert library.prepare_migration("notes", extractor="text").extracted == 0


def test_a_space_beside_of_an_old_version_is_the_first_model(library: lookalike.Library) -> None:
    """The way back from another extractor leads to where the collection was."""
    library.migrate("notes", extractor="documents", options={"model": NOW})
    table = schema.space
    with library.runtime.store.write() as txn:
        beside = table.c.beside.is_(True)
        txn.execute(
            update(table).where(beside).values(maker={"extractor": "text_extractor", "options": {}})
        )

    library.migrate("notes", extractor="text")

    assert library.spaces()["notes"] == MINILM


@pytest.mark.parametrize("members", [["image", "text"], ["image", {"extractor": "text"}]])
def test_options_with_members_name_the_model_of_those_that_read_texts(members: list[Any]) -> None:
    named = options_to_store("combined_extractor", {"members": members})

    assert named == {"members": ["image", {"extractor": "text", "model": NOW}]}
    old = options_stored("combined_extractor", {"members": members})
    assert options_to_store("combined_extractor", {"members": members}, old) == old
    names = [one.name for one in build_extractor("combined_extractor", named).space.members]
    assert names == ["image", "text"]


@pytest.mark.parametrize("options", [{"members": "image"}, {"members": [3]}, {}])
def test_options_that_cannot_be_are_left_to_the_one_who_refuses_them(
    options: dict[str, Any],
) -> None:
    assert options_to_store("combined_extractor", options) == options
