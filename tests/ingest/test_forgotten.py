"""One person can be forgotten: every face of theirs is erased, and none comes back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

import lookalike
from lookalike.catalog.objects import is_same, mark_pending
from lookalike.content.boxes import PartRegion
from lookalike.errors import BadContent, BadInput, NotFound
from lookalike.extractors.base import Content
from lookalike.extractors.base import Part as Found
from lookalike.extractors.registry import extractors
from lookalike.model import EventKind, Space
from lookalike.stores import schema
from lookalike.testing.fakes import parts_listed
from portraits import COLLINS, HOPPER, encoded, portrait, taken_again, together

ADA, BOB = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
PLACES = ([0, 0, 10, 10], [50, 0, 10, 10], [0, 50, 10, 10])


def photo(*people: Sequence[float], keys: str = "face") -> dict[str, str]:
    """Return a photo of people, each at a place of their own."""
    parts = [
        {"key": f"{keys}-{place}", "vector": vector, "attributes": {"box": PLACES[place]}}
        for place, vector in enumerate(people)
    ]
    return {"text": json.dumps(parts)}


@pytest.fixture
def people(library: lookalike.Library) -> lookalike.Collection:
    """Three photos: Ada and Bob, Ada alone, Bob alone; one face of each is labelled."""
    faces = library.labeler(
        "people", extractor="parts_listed", dimension=3, confidence_threshold=0.9
    )
    faces.add(
        [
            {**photo(ADA, BOB), "id": "both"},
            {**photo(ADA), "id": "ada"},
            {**photo(BOB), "id": "bob"},
        ]
    )
    faces.label({"both#face-0": "Ada", "both#face-1": "Bob"})
    return faces


def who(collection: lookalike.Collection) -> dict[str, str | None]:
    return {one.id: one.label for one in collection.documents()}


def objects_of(library: lookalike.Library) -> list[str]:
    with library._runtime.store.read() as snapshot:
        return sorted(row.id for row in snapshot.rows(select(schema.object_.c.id)))


def parts_in(library: lookalike.Library, collection: lookalike.Collection) -> list[str]:
    table = schema.document
    query = select(table.c.id).where(table.c.collection_pk == collection._row.pk)
    with library._runtime.store.read() as snapshot:
        return sorted(row.id for row in snapshot.rows(query))


def extracted_again(library: lookalike.Library, collection: lookalike.Collection) -> None:
    """Extract every object of a collection once more."""
    with library._runtime.store.write() as txn:
        pks = [row.pk for row in txn.rows(select(schema.object_.c.pk))]
        mark_pending(txn, collection._row.pk, dict.fromkeys(pks))
    collection.extract()


def test_a_person_is_forgotten_and_the_others_on_the_photo_stay(
    library: lookalike.Library, people: lookalike.Collection
) -> None:
    """All faces with the label go, whoever labelled them; the receipt counts them."""
    receipt = people.forget(label="Ada")

    assert who(people) == {"both#face-1": "Bob", "bob#face-0": "Bob"}
    assert (receipt.objects, receipt.documents, receipt.vectors, receipt.labels) == (0, 2, 2, 2)
    assert receipt.events == 2
    assert objects_of(library) == ["ada", "bob", "both"]
    assert library.check() == []


def test_nothing_that_is_stored_names_the_person_any_more(
    library: lookalike.Library, people: lookalike.Collection
) -> None:
    """Neither events nor rejections of others' faces keep the name."""
    people.label({"bob#face-0": "Ada"})
    people.label({"bob#face-0": "Bob"})
    people.reject({"bob#face-0": "Ada"})

    people.forget(label="Ada")

    with library._runtime.store.read() as snapshot:
        tables = (schema.event, schema.rejection, schema.standing, schema.operation)
        rows = [str(row) for table in tables for row in snapshot.rows(select(table))]
    assert [row for row in rows if "Ada" in row] == []
    kinds = [one.kind for one in people.history("bob#face-0")]
    assert kinds.count(EventKind.FORGOTTEN) == 2
    assert who(people)["bob#face-0"] == "Bob"


def test_a_forgotten_face_does_not_come_back(
    library: lookalike.Library, people: lookalike.Collection
) -> None:
    """Not when the photo is extracted again, nor in a collection that is made later."""
    people.forget(label="Ada")

    extracted_again(library, people)
    later = library.create_collection(
        "later", bucket="people", extractor="parts_listed", dimension=3
    )
    later.extract()

    assert sorted(who(people)) == ["bob#face-0", "both#face-1"]
    assert parts_in(library, later) == ["bob#face-0", "both#face-1"]


class ListedAgain:
    """Another extractor, which finds the same and calls it otherwise."""

    accepts = frozenset({"text"})
    space = Space("listed_again.v1/json@00000003", 3)

    def extract(self, contents: Sequence[Content]) -> list[tuple[Found, ...] | BadContent]:
        found = parts_listed(3).extract(contents)
        return [
            one
            if isinstance(one, BadContent)
            else tuple(Found(part.vector, f"head-{part.key}", part.attributes) for part in one)
            for one in found
        ]


def test_another_extractor_does_not_bring_a_face_back(
    library: lookalike.Library, people: lookalike.Collection
) -> None:
    """Neither one that the collection changes to, nor the one that it changes back to."""
    extractors()["listed_again"] = ListedAgain
    library.migrate("people", extractor="listed_again")
    assert len(people) == 4

    receipt = people.forget(label="Ada")
    library.migrate("people", extractor="parts_listed", options={"dimension": 3})
    back = {one.part for one in people.documents()}
    library.migrate("people", extractor="listed_again")

    assert receipt.vectors == 4
    assert back == {"face-0", "face-1"}
    assert who(people) == {"both#face-1": "Bob", "bob#face-0": "Bob"}
    with library._runtime.store.read() as snapshot:
        rows = snapshot.rows(select(schema.finding.c.parts, schema.finding.c.vectors))
    assert sorted(len(row.parts) for row in rows) == [0, 1, 1]
    assert not any(row.vectors for row in rows)
    assert library.check() == []


def test_another_photo_of_the_person_is_another_thing(
    library: lookalike.Library, people: lookalike.Collection
) -> None:
    """What is added anew, the same file even, has all its faces."""
    people.forget(label="Ada")

    people.add({**photo(ADA, BOB), "id": "again"})

    assert {"again#face-0", "again#face-1"} <= set(people.ids())


def test_single_faces_can_be_forgotten_and_what_hung_on_them_is_decided_again(
    people: lookalike.Collection,
) -> None:
    """Without the reference, the other face of the same person has no label any more."""
    assert who(people)["ada#face-0"] == "Ada"

    receipt = people.forget(["both#face-0"], only_parts=True)

    assert who(people) == {"ada#face-0": None, "both#face-1": "Bob", "bob#face-0": "Bob"}
    assert receipt.documents == 1


def test_a_name_that_was_taken_in_a_photo_is_free_again(library: lookalike.Library) -> None:
    """Where a name is given once an image, its next bearer has it when the first is forgotten."""
    faces = library.labeler(
        "people",
        extractor="parts_listed",
        dimension=3,
        confidence_threshold=0.8,
        exclusive="image",
    )
    faces.add([{**photo(ADA), "id": "known"}, {**photo(ADA, (1.0, 0.3, 0.0)), "id": "two"}])
    faces.label({"known#face-0": "Ada"})
    assert who(faces) == {"known#face-0": "Ada", "two#face-0": "Ada", "two#face-1": None}

    faces.forget(["two#face-0"], only_parts=True)

    assert who(faces) == {"known#face-0": "Ada", "two#face-1": "Ada"}
    assert library.check() == []


def test_a_whole_item_among_the_parts_goes_with_its_object(library: lookalike.Library) -> None:
    """Of an item that is one document nothing is left."""
    notes = library.labeler("notes", extractor="parts_listed", dimension=3)
    whole = [{"key": "", "vector": ADA}, {"key": "face-0", "vector": BOB}]
    notes.add([{"text": json.dumps(whole), "id": "a"}, {**photo(BOB), "id": "b"}])

    receipt = notes.forget(["a", "b#face-0"], only_parts=True)

    assert (receipt.objects, receipt.documents) == (1, 3)
    assert objects_of(library) == ["b"]


def test_forgetting_an_item_still_erases_the_whole_photo(people: lookalike.Collection) -> None:
    """Without `only_parts`, nothing of the object is left."""
    people.forget(["both#face-0"])

    assert who(people) == {"ada#face-0": None, "bob#face-0": None}


def test_the_same_face_in_another_collection_is_erased_too(
    library: lookalike.Library, people: lookalike.Collection
) -> None:
    """Collections over one bucket show the same photos, whatever they call the parts."""
    other = library.create_collection(
        "other", bucket="people", extractor="parts_listed", dimension=3, only="f"
    )
    other.extract()

    receipt = people.forget(label="Ada")

    assert parts_in(library, other) == ["bob#face-0", "both#face-1"]
    assert receipt.documents == 4
    assert library.check() == []


def test_a_promoted_copy_is_erased_with_its_face(library: lookalike.Library) -> None:
    """The copy in the curated collection shows the same person."""
    options: dict[str, Any] = {"extractor": "parts_listed", "dimension": 3}
    curated = library.labeler("curated", **options, confidence_threshold=0.9)
    curated.add({**photo(ADA, BOB), "id": "known"})
    curated.label({"known#face-0": "Ada", "known#face-1": "Bob"})
    stock = library.labeler("stock", **options, reference="curated", confidence_threshold=0.9)
    stock.add({**photo(BOB, ADA), "id": "new"})
    stock.promote(["new#face-0", "new#face-1"], gated=False)
    assert len(curated) == 4

    stock.forget(label="Ada")

    assert sorted(curated.ids()) == ["known#face-0", "known#face-1", "new#face-0"]


def test_an_id_or_a_label_is_needed(people: lookalike.Collection) -> None:
    """Both, neither, and a label that nothing has are refused; nothing is erased."""
    wrongs: list[dict[str, Any]] = [{}, {"ids": ["ada#face-0"], "label": "Ada"}]
    for wrong in wrongs:
        with pytest.raises(BadInput, match="give the documents to forget"):
            people.forget(**wrong)
    with pytest.raises(NotFound, match="no document of 'people' has the label 'Eve'"):
        people.forget(label="Eve")

    assert len(people) == 4


def test_what_is_forgotten_once_is_told_again_under_the_same_name(
    people: lookalike.Collection,
) -> None:
    """A request that was sent twice is done once."""
    first = people.forget(label="Ada", op_id="once")

    assert people.forget(label="Ada", op_id="once") == first


def test_a_photo_with_other_bytes_is_another_photo(
    library: lookalike.Library, people: lookalike.Collection
) -> None:
    """At the place of who was forgotten there may be somebody else now."""
    people.forget(label="Ada")

    people.add({**photo(BOB, BOB), "id": "both"})

    assert {"both#face-0", "both#face-1"} <= set(people.ids())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"box": [0, 0, 10, 10]}, {"box": [1, 1, 11, 11]}, True),
        ({"box": [0, 0, 10, 10]}, {"box": [9, 0, 10, 10]}, False),
        ({"box": [0, 0, 10, 10], "page": 1}, {"box": [0, 0, 10, 10], "page": 2}, False),
        ({"box": [0, 0, 10, 10], "time_ms": 5}, {"box": [0, 0, 10, 10], "time_ms": 5}, True),
        ({}, {}, True),
        ({"box": [3, 3, 0, 0]}, {"box": [3, 3, 0, 0]}, True),
        ({"box": [3, 3, 0, 0]}, {"box": [4, 3, 0, 0]}, False),
    ],
)
def test_places_are_the_same_where_their_boxes_are(
    one: dict[str, Any], other: dict[str, Any], same: bool
) -> None:
    """Whatever they are called; on the same page, at the same moment."""
    assert is_same(PartRegion("x", one), PartRegion("x", other)) is same


def test_without_a_box_the_key_tells() -> None:
    """Pages have keys and no boxes."""
    assert not is_same(PartRegion("page-1", {}), PartRegion("page-2", {}))


def test_no_crop_of_a_forgotten_person_is_left(tmp_path: Path) -> None:
    """Thumbnails of real faces go, those of other people and of whole photos stay."""
    group = together([portrait(HOPPER), portrait(COLLINS)])
    again = taken_again(portrait(HOPPER), 1)
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        people = library.labeler("people", extractor="faces", confidence_threshold=0.93)
        people.add(
            [{"image": encoded(one), "id": name} for name, one in (("g", group), ("h", again))]
        )
        people.label({"g#face-0": "Grace", "g#face-1": "Eileen"})
        assert who(people)["h#face-0"] == "Grace"
        before = sorted(one.name for one in tmp_path.rglob("thumbnails/*/*.jpg"))

        receipt = people.forget(label="Grace")
        extracted_again(library, people)

        left = sorted(one.name for one in tmp_path.rglob("thumbnails/*/*.jpg"))
        assert (len(before), len(left), receipt.thumbnails) == (5, 3, 2)
        assert who(people) == {"g#face-1": "Eileen"}
        shown = np.array(people.document("g#face-1").attributes["box"])
        assert shown[0] > portrait(HOPPER).width
