"""Parts of an item: documents of their own, seen and extracted by where they are in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

import lookalike
from lookalike.cli.output import show_document
from lookalike.stores import schema

FACES = json.dumps(
    [
        {"key": "face-0", "vector": [3, 4], "attributes": {"box": [1, 2, 3, 4]}},
        {"key": "face-1", "vector": [4, -3], "attributes": {"box": [5, 6, 7, 8]}},
    ]
)


MARK = {"seen": True}


def mark_documents(library: lookalike.Library) -> None:
    """Change what is stored of all documents, so that one sees where parts come from."""
    with library._runtime.store.write() as txn:
        txn.execute(schema.document.update().values(attributes=MARK))


def test_each_part_is_a_document_with_what_is_known_of_it(library: lookalike.Library) -> None:
    faces = library.labeler("faces", extractor="parts_listed", dimension=2)
    faces.add({"text": FACES, "id": "photo"})

    found = {one.part: one for one in faces.documents()}

    assert sorted(found) == ["face-0", "face-1"]
    assert found["face-1"].attributes == {"box": [5, 6, 7, 8]}
    assert found["face-0"].object_id == found["face-1"].object_id == "photo"


@pytest.mark.parametrize("options", [{"only": "face"}, {}])
def test_what_was_extracted_likewise_is_not_extracted_again(
    library: lookalike.Library, options: dict[str, Any]
) -> None:
    """Only then: with other options the same content may have other parts."""
    first = library.labeler("first", extractor="parts_listed", dimension=2, only="face")
    first.add({"text": FACES})
    mark_documents(library)

    second = library.labeler("second", extractor="parts_listed", dimension=2, **options)
    second.add({"text": FACES})

    assert [one.attributes == MARK for one in second.documents()] == [bool(options)] * 2


def test_an_object_that_was_given_regions_is_no_model_for_one_that_was_not(
    library: lookalike.Library,
) -> None:
    first = library.labeler("first", extractor="parts_listed", dimension=2)
    given = [{"id": "r1", "box": [0, 0, 1, 1]}]
    first.add([{"text": FACES, "id": "a", "regions": given}])
    mark_documents(library)

    first.add([{"text": FACES, "id": "b"}, {"text": FACES, "id": "c", "regions": []}])

    fresh = [one.attributes for one in first.documents() if one.object_id != "a"]
    assert len(fresh) == 4
    assert MARK not in fresh


def test_a_line_tells_which_part_it_is_about_and_what_was_suggested(
    library: lookalike.Library,
) -> None:
    faces = library.labeler("faces", extractor="parts_listed", dimension=2)
    faces.add({"text": FACES, "id": "photo", "file_name": "photo.jpg"})
    row = {"id": "photo#face-1", "label": "Ada"}

    faces.import_labels([row], trusted=False)

    shown = show_document(faces.document("photo#face-1"))
    assert shown.split() == ["photo#face-1", "?", "Ada", "(no_references)", "photo.jpg", "face-1"]
