"""An answer that comes late: refused only where another person said something else meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import lookalike
from databases import database, prepared
from lookalike.errors import BadInput, Stale
from lookalike.library.collection.collection import Collection


@pytest.fixture(params=["embedded", "postgres"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Where a store may be made: a directory, or the URL of a database."""
    if request.param == "embedded":
        yield str(tmp_path / "store")
        return
    monkeypatch.setenv("LOOKALIKE_CACHE", str(tmp_path / "derived"))
    monkeypatch.setenv("LOOKALIKE_BLOBS", str(tmp_path / "blobs"))
    with database(template=prepared()) as url:
        yield url


@pytest.fixture
def cups(place: str) -> Iterator[Collection]:
    """Forty vectors `v0` … `v39` of two kinds in turn, in a store that Ann opened."""
    with lookalike.open(place, actor="ann") as library:
        collection = library.labeler("cups", extractor="passthrough", confidence_threshold=0.5)
        collection.add(vectors=vectors(40), ids=[f"v{number}" for number in range(40)])
        yield collection


def vectors(count: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    chance = np.random.default_rng(7)
    return np.eye(2, 16)[np.arange(count) % 2] + 0.1 * chance.standard_normal((count, 16))


def seen(collection: Collection, id: str) -> dict[str, int]:
    """The revision of a document as a client sees it now."""
    return {id: collection.document(id).standing.revision}


def test_what_the_machine_decided_meanwhile_refuses_no_answer(cups: Collection) -> None:
    before = seen(cups, "v2")
    cups.label({"v0": "Cup", "v1": "Mug"}, actor="bob")
    cups.add(vectors=vectors(3), ids=["late0", "late1", "late2"])
    after = cups.document("v2").standing

    changed = cups.label({"v2": "Mug"}, revisions=before)

    assert (after.label, after.origin) == ("Cup", "auto")
    assert after.revision > before["v2"]
    assert changed.by_person == 1


OTHERS: dict[str, Callable[[Collection], object]] = {
    "labelled document 'v2' as 'Jug'": lambda one: one.label({"v2": "Jug"}, actor="bob"),
    "rejected 'Cup' for document 'v2'": lambda one: one.reject({"v2": "Cup"}, actor="bob"),
    "marked document 'v2' as a new category": lambda one: one.new_kind(["v2"], actor="bob"),
    "answered \"can't tell\" for document 'v2'": lambda one: one.cannot_tell(["v2"], actor="bob"),
    "took back an answer about document 'v2'": lambda one: one.label({"v2": None}, actor="bob"),
}


@pytest.mark.parametrize("told", OTHERS)
def test_what_another_person_said_meanwhile_refuses_it_and_is_told(
    cups: Collection, told: str
) -> None:
    cups.label({"v2": "Cup"}, actor="cat")
    before = seen(cups, "v2")
    OTHERS[told](cups)

    with pytest.raises(
        Stale, match=f"^bob {told} after revision {before['v2']}.*read it again$"
    ) as error:
        cups.label({"v2": "Mug"}, revisions=before)

    assert error.value.now["revisions"] == seen(cups, "v2")
    assert error.value.now["answers"]["v2"]["actor"] == "bob"
    assert cups.label({"v2": "Mug"}, revisions=seen(cups, "v2")).by_person == 1


def test_what_an_import_said_meanwhile_refuses_it(cups: Collection) -> None:
    before = seen(cups, "v2")
    cups.import_labels([{"id": "v2", "label": "Jug"}], actor="bob")

    with pytest.raises(Stale) as error:
        cups.label({"v2": "Mug"}, revisions=before)

    assert error.value.now["answers"] == {
        "v2": {"actor": "bob", "kind": "labelled", "label": "Jug"}
    }


def test_the_same_label_of_another_person_refuses_nothing(cups: Collection) -> None:
    before = seen(cups, "v2")
    cups.label({"v2": "Cup"}, actor="bob")
    cups.rename_label("Cup", "Dishes > Cup", actor="bob")

    assert cups.label({"v2": "Cup"}, revisions=before).by_person == 1
    assert {one.actor for one in cups.opinions("v2")} == {"ann", "bob"}


def test_what_was_said_of_other_documents_refuses_nothing(cups: Collection) -> None:
    before = seen(cups, "v2")
    cups.label({"v4": "Jug", "v6": "Cup"}, actor="bob")

    assert cups.label({"v2": "Mug", "v4": "Mug"}, revisions=before).by_person == 2


def test_of_several_documents_those_are_told_that_others_answered(cups: Collection) -> None:
    before = seen(cups, "v2") | seen(cups, "v4") | seen(cups, "v6")
    cups.label({"v4": "Jug", "v6": "Cup"}, actor="bob")

    with pytest.raises(Stale) as error:
        cups.label({"v2": "Cup", "v4": "Cup", "v6": "Cup"}, revisions=before)

    assert error.value.now["revisions"] == seen(cups, "v4")
    assert cups.document("v2").standing.origin == "auto", "it is one operation, or none"


def test_what_the_person_said_meanwhile_refuses_nothing(cups: Collection) -> None:
    before = seen(cups, "v2")
    cups.label({"v2": "Jug"}, actor="bob")
    cups.label({"v2": "Cup"})

    assert cups.label({"v2": "Mug"}, revisions=before).by_person == 1


def test_what_was_said_and_undone_meanwhile_refuses_nothing(cups: Collection) -> None:
    before = seen(cups, "v2")
    said = cups.label({"v2": "Jug"}, actor="bob")
    cups.undo(said.operation, actor="cat")

    assert cups.label({"v2": "Mug"}, revisions=before).by_person == 1


def test_an_undo_meanwhile_of_what_was_seen_refuses_it(cups: Collection) -> None:
    said = cups.label({"v2": "Jug"})
    before = seen(cups, "v2")
    undone = cups.undo(said.operation, actor="bob")

    with pytest.raises(Stale, match=r"^bob took back an answer about document 'v2' after"):
        cups.label({"v2": "Mug"}, revisions=before)
    cups.undo(undone.operation, actor="bob")

    assert cups.label({"v2": "Mug"}, revisions=before).by_person == 1, "it stands as it was seen"


def test_what_was_undone_and_is_brought_back_meanwhile_refuses_it(cups: Collection) -> None:
    said = cups.label({"v2": "Jug"}, actor="cat")
    undone = cups.undo(said.operation, actor="cat")
    before = seen(cups, "v2")
    cups.undo(undone.operation, actor="bob")

    with pytest.raises(Stale, match=r"^bob labelled document 'v2' as 'Jug' after"):
        cups.label({"v2": "Mug"}, revisions=before)


def test_metadata_are_meant_for_all_that_was_seen_and_labels_for_what_people_said(
    cups: Collection,
) -> None:
    before = seen(cups, "v2")
    cups.label({"v0": "Cup", "v1": "Mug"}, actor="bob")
    shown = cups.document("v2").standing.label

    for change in ({"title": "old"}, {"label": None}, {"label": "Mug", "title": "old"}):
        with pytest.raises(Stale, match="document 'v2' is at revision"):
            cups.amend({"v2": change}, revisions=before)
    changed = cups.amend({"v2": {"label": "Mug"}}, revisions=before)

    assert shown == "Cup", "null would refuse a label that nobody had seen"
    assert changed.by_person == 1
    with pytest.raises(Stale, match=r"^ann labelled document 'v2' as 'Mug'"):
        cups.amend({"v2": {"label": "Jug"}}, revisions=before, actor="bob")


def test_a_revision_of_what_nothing_is_said_of_is_bad_input(cups: Collection) -> None:
    with pytest.raises(BadInput, match="revisions names 'v3', which gets no label"):
        cups.label({"v2": "Cup"}, revisions={"v3": 1})
    with pytest.raises(BadInput, match="revisions names 'v3', which gets no label"):
        cups.amend({"v2": {"label": "Cup"}}, revisions={"v3": 1})
