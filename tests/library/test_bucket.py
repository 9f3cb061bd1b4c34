"""What is put into a bucket directly, as a server does it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import lookalike
from lookalike.catalog.resources import Kind, named
from lookalike.library.bucket import Bucket, NewBlob, NewObject, bucket_from
from lookalike.library.collection.collection import Collection


@pytest.fixture
def letters(tmp_path: Path) -> Iterator[Bucket]:
    with lookalike.open(tmp_path / "store") as library:
        library.create_bucket("letters", {"content": "text"})
        runtime = library.runtime
        with runtime.store.read() as snapshot:
            row = named(snapshot, runtime.settings.namespace, Kind.BUCKET, "letters")
        yield Bucket(runtime, bucket_from(row))


def test_what_is_twice_in_one_batch_is_put_in_once(letters: Bucket) -> None:
    same_key = letters.put([NewObject({"n": 1}, key="a"), NewObject({"n": 2}, key="a")])
    same_id = letters.put([NewObject(id="b", key="k1"), NewObject(id="b", key="k2")])

    assert same_key[0] == same_key[1] and same_key[0].metadata == {"n": 1}
    assert [one.key for one in same_id] == ["k1", "k1"]


def test_what_is_here_stays_as_it_is(letters: Bucket) -> None:
    before = letters.put([NewObject({"n": 1}, key="a"), NewObject({"n": 2}, id="b")])

    again = letters.put([NewObject({"n": 3}, id="c"), NewObject({"n": 4}, id="b", key="a")])

    assert again[1] == before[0]
    assert again[0].metadata == {"n": 3}


# --- what was said of an object is taken back -----------------------------------------------------


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[tuple[Bucket, Collection]]:
    """A bucket with one text that waits for its extraction, and the collection over it."""
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        library.labeler("notes", extractor="text", field="topic")
        runtime = library.runtime
        with runtime.store.read() as snapshot:
            row = named(snapshot, runtime.settings.namespace, Kind.BUCKET, "notes")
        bucket = Bucket(runtime, bucket_from(row))
        blob = NewBlob("content", b"a walk by the sea", kind="text")
        bucket.put([NewObject({"colour": "red"}, [blob], id="first")])
        yield bucket, library.collection("notes")


def label_of(collection: Collection) -> str | None:
    return next(iter(collection.documents())).label


def test_a_label_undone_before_the_extraction_does_not_come_with_it(
    notes: tuple[Bucket, Collection],
) -> None:
    bucket, collection = notes
    said = bucket.amend({"first": {"topic": "Walks"}})

    collection.undo(said.operation)
    collection.extract()

    assert label_of(collection) is None
    assert "topic" not in bucket.object("first").metadata


def test_a_label_that_came_with_the_extraction_is_undone_and_redone(
    notes: tuple[Bucket, Collection],
) -> None:
    bucket, collection = notes
    said = bucket.amend({"first": {"topic": "Walks"}})
    collection.extract()
    with_it = label_of(collection)

    undone = collection.undo(said.operation)
    without = label_of(collection)
    collection.undo(undone.operation)

    assert (with_it, without, label_of(collection)) == ("Walks", None, "Walks")
    assert collection.document("first").origin == "human"


def test_the_last_one_in_force_counts_whichever_is_undone_first(
    notes: tuple[Bucket, Collection],
) -> None:
    bucket, collection = notes
    first, second = (bucket.amend({"first": {"topic": one}}) for one in ("Walks", "Seas"))

    collection.undo(first.operation)
    still = bucket.object("first").metadata["topic"]
    collection.undo(second.operation)
    collection.extract()

    assert (still, label_of(collection)) == ("Seas", None)


def test_other_metadata_go_back_in_the_object_and_in_its_document(
    notes: tuple[Bucket, Collection],
) -> None:
    bucket, collection = notes
    collection.extract()
    said = bucket.amend({"first": {"colour": "blue", "size": 3}})

    collection.undo(said.operation)

    assert bucket.object("first").metadata == {"colour": "red"}
    assert collection.document("first").metadata == {"colour": "red"}


def test_an_undone_label_is_none_for_a_collection_that_is_made_later(
    notes: tuple[Bucket, Collection], tmp_path: Path
) -> None:
    bucket, collection = notes
    collection.extract()
    said = bucket.amend({"first": {"topic": "Walks"}})
    collection.undo(said.operation)

    with lookalike.open(tmp_path / "store", actor="ann") as library:
        library.create_collection("later", bucket="notes", extractor="text")
        library.add_taxonomy("later", "topic")
        later = library.collection("later")
        later.extract()

        assert label_of(later) is None
