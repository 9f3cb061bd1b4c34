"""Removing collections and buckets, and forgetting objects that never became documents."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import func, select

import lookalike
from lookalike.errors import Conflict, LookalikeError, NotFound
from lookalike.library import remove as removing
from lookalike.library.collection.collection import Collection
from lookalike.model import Origin
from lookalike.stores import schema

CENTRES = np.random.default_rng(9).standard_normal((3, 16))


@pytest.fixture
def library(tmp_path: Path) -> Iterator[lookalike.Library]:
    with lookalike.open(tmp_path / "store", actor="ann") as opened:
        yield opened


def vectors_of(count: int, seed: int = 0) -> tuple[Any, Any]:
    """Vectors (count, 16) around three centres, and each one's centre."""
    chance = np.random.default_rng(seed)
    kind = chance.integers(0, 3, count)
    return CENTRES[kind] + 0.3 * chance.standard_normal((count, 16)), kind


def filled(library: lookalike.Library, name: str, count: int = 60, **rule: Any) -> Collection:
    """A collection of vectors, of which a person labelled the first six unless it refers."""
    vectors, kind = vectors_of(count)
    rule = {"confidence_threshold": 0.6} | rule
    collection = library.labeler(name, extractor="passthrough", **rule)
    collection.add(vectors=vectors, ids=[f"v{number}" for number in range(count)])
    if "reference" not in rule:
        collection.label({f"v{number}": f"K{kind[number]}" for number in range(6)})
    return collection


def rows_in(library: lookalike.Library) -> dict[str, int]:
    """How many rows each table holds, but for what was done when and by whom."""
    with library._runtime.store.read() as snapshot:
        return {
            table.name: count
            for table in schema.metadata.sorted_tables
            if (count := snapshot.rows(select(func.count().label("n")).select_from(table))[0].n)
            and table.name not in ("meta", "operation")
        }


def files_in(library: lookalike.Library) -> set[str]:
    """The files of the store beside the database."""
    paths = (path.relative_to(library.path) for path in library.path.rglob("*") if path.is_file())
    return {str(path) for path in paths if len(path.parts) > 1}


# --- collections --------------------------------------------------------------------------------


def test_of_a_removed_collection_nothing_is_left_but_its_objects(
    library: lookalike.Library,
) -> None:
    collection = filled(library, "things")
    collection.reject({"v20": None})

    removed = library.remove_collection("things")

    assert (removed.collections, removed.documents) == (("things",), 60)
    assert rows_in(library) == {"object": 60, "resource": 1}
    assert files_in(library) == set()
    assert (library.collections(), library.buckets()) == ([], ["things"])
    assert library.check() == []


def test_another_collection_is_left_as_it_was(library: lookalike.Library) -> None:
    other = filled(library, "other", 40)
    before = [(one.id, one.label, one.confidence) for one in other.documents()]
    past = [(one.id, one.summary) for one in other.operations()]
    filled(library, "things")

    library.remove_collection("things")

    assert [(one.id, one.label, one.confidence) for one in other.documents()] == before
    assert [(one.id, one.summary) for one in other.operations()] == past
    assert len(other.history("v0")) > 0
    assert library.check() == []


@pytest.mark.parametrize("again", [False, True], ids=["same process", "another process"])
def test_a_new_collection_of_the_name_begins_empty(tmp_path: Path, again: bool) -> None:
    """Ids of documents are made from names, so the new ones are called like those that went."""
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        first = filled(library, "things", target_precision=0.8, confidence_threshold=None)
        list(first.documents())
        library.remove_bucket("things", cascade=True)
        if not again:
            begin_anew(library)
    if again:
        with lookalike.open(tmp_path / "store", actor="ann") as library:
            begin_anew(library)


def begin_anew(library: lookalike.Library) -> None:
    vectors, _ = vectors_of(50, seed=1)
    collection = library.labeler("things", extractor="passthrough", confidence_threshold=0.6)
    collection.add(vectors=vectors, ids=[f"v{number}" for number in range(50)])

    assert {one.label for one in collection.documents()} == {None}
    assert collection.document("v0").neighbors == ()
    assert [one.kind for one in collection.operations()] == ["add"]
    collection.label({"v0": "New"})
    assert {one.label for one in collection.documents()} == {None, "New"}
    assert library.check() == []


def test_what_others_refer_to_is_kept_and_named(library: lookalike.Library) -> None:
    filled(library, "curated", 20)
    stock = filled(library, "stock", reference="curated")
    before = [(one.id, one.label) for one in stock.documents()]

    with pytest.raises(Conflict, match="the collection 'curated': used by the collection 'stock'"):
        library.remove_collection("curated")

    assert [(one.id, one.label) for one in stock.documents()] == before
    assert len(library.collection("curated")) == 20


def test_collections_that_refer_to_each_other_go_together(library: lookalike.Library) -> None:
    filled(library, "curated", 20)
    filled(library, "stock", reference="curated")
    library.add_taxonomy("curated", "colour", reference="stock", reference_field="label")

    with pytest.raises(Conflict, match="used by the collection 'curated'"):
        library.remove_collection("stock")
    removed = library.remove_collection("stock", "curated")

    assert removed.collections == ("curated", "stock")
    assert rows_in(library) == {"object": 80, "resource": 2}


def test_what_was_promoted_stays_with_the_curated_collection(library: lookalike.Library) -> None:
    curated = filled(library, "curated", 20)
    stock = filled(library, "stock", reference="curated")
    *_, mine = stock.documents(origin="auto")
    stock.promote([mine.id])

    library.remove_collection("stock")

    assert curated.document(mine.id).origin is Origin.PROMOTED
    changed = curated.label({"v1": None})
    curated.undo(changed.operation)
    assert library.check() == []


def test_a_handle_to_what_is_gone_makes_nothing(library: lookalike.Library, tmp_path: Path) -> None:
    things = filled(library, "things")
    photos = library.labeler("photos")
    picture = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(picture)
    library.remove_bucket("things", cascade=True)
    library.remove_bucket("photos", cascade=True)

    for late in (
        lambda: things.add(vectors=np.ones((1, 16))),
        lambda: things.label({"v0": "A"}),
        lambda: photos.add(picture),
    ):
        with pytest.raises(LookalikeError):
            late()

    assert rows_in(library) == {}


def test_another_process_gives_up_what_it_knew(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "store") as library:
        filled(library, "things")
        with lookalike.open(tmp_path / "store") as other:
            other.collection("things").label({"v9": "K1"})
            library.remove_bucket("things", cascade=True)
            with pytest.raises(NotFound):
                other.collection("things")
        assert files_in(library) == set()


def test_unknown_names_are_not_found(library: lookalike.Library) -> None:
    filled(library, "things")

    for name, remove in (
        ("thngs", library.remove_collection),
        ("thngs", library.remove_bucket),
    ):
        with pytest.raises(NotFound, match="did you mean 'things'"):
            remove(name)


def test_a_removal_is_recorded_and_past_operations_say_nothing(library: lookalike.Library) -> None:
    filled(library, "things")

    library.remove_collection("things")

    with library._runtime.store.read() as snapshot:
        operations = snapshot.rows(select(schema.operation).order_by(schema.operation.c.pk))
    assert [one.kind for one in operations] == ["add", "label", "remove"]
    assert all(str(one.summary).count("K0") == 0 for one in operations)


# --- buckets ------------------------------------------------------------------------------------


def test_a_bucket_in_use_is_kept(library: lookalike.Library) -> None:
    filled(library, "things")

    with pytest.raises(Conflict, match="the bucket 'things': used by the collection 'things'"):
        library.remove_bucket("things")

    assert rows_in(library)["object"] == 60


def test_with_cascade_the_collections_of_a_bucket_go_too(library: lookalike.Library) -> None:
    filled(library, "things")
    library.create_collection("again", bucket="things", extractor="text")

    removed = library.remove_bucket("things", cascade=True)

    assert (removed.collections, removed.buckets) == (("things", "again"), ("things",))
    assert rows_in(library) == {}


def test_cascade_ends_where_a_collection_of_another_bucket_refers(
    library: lookalike.Library,
) -> None:
    filled(library, "curated", 20)
    filled(library, "stock", reference="curated")

    with pytest.raises(Conflict, match="used by the collection 'stock'"):
        library.remove_bucket("curated", cascade=True)

    assert len(library.collection("curated")) == 20


def test_forgetting_does_not_reach_what_only_looks_like_a_promoted_copy(
    library: lookalike.Library,
) -> None:
    one = filled(library, "one")
    with lookalike.open(library.path, actor="ann", namespace="others") as other:
        namesake = filled(other, "two")
        promoted = next(iter(namesake.documents(origin="auto")))
        namesake.promote([promoted.id])

        receipt = one.forget([promoted.id])

        assert (receipt.objects, receipt.documents) == (1, 1)
        assert len(namesake) == 60


def test_copies_that_another_bucket_holds_stay(library: lookalike.Library, tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    pictures = [Image.fromarray(chance.integers(0, 255, (64, 64, 3), np.uint8)) for _ in range(3)]
    one = library.labeler("one", confidence_threshold=0.9)
    two = library.labeler("two", confidence_threshold=0.9)
    one.add(pictures[:2])
    two.add(pictures[1:])
    assert len([name for name in files_in(library) if name.startswith("blobs")]) == 3

    removed = library.remove_bucket("one", cascade=True)

    assert (removed.objects, removed.copies, removed.thumbnails) == (2, 1, 1)
    assert len([name for name in files_in(library) if name.startswith("blobs")]) == 2
    library.remove_bucket("two", cascade=True)
    assert files_in(library) == set()


def test_a_copy_that_only_a_bucket_without_collections_holds_stays(
    library: lookalike.Library,
) -> None:
    chance = np.random.default_rng(0)
    picture = Image.fromarray(chance.integers(0, 255, (64, 64, 3), np.uint8))
    for name in ("one", "two"):
        library.labeler(name, confidence_threshold=0.9).add(picture)
    library.remove_collection("two")

    forgotten = library.collection("one").forget([next(library.collection("one").documents()).id])

    assert (forgotten.copies, forgotten.thumbnails) == (0, 1)
    assert len([name for name in files_in(library) if name.startswith("blobs")]) == 1


# --- interrupted --------------------------------------------------------------------------------


KILLED = """
import os, signal, sys
import lookalike
from lookalike.library import remove as removing

removing._REMOVE_ROWS = 7
with lookalike.open(sys.argv[1]) as library:
    store, write, left = library._runtime.store, library._runtime.store.write, int(sys.argv[2])
    def counted():
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return write()
    store.write = counted
    library.remove_bucket("things", cascade=True)
"""


@pytest.mark.parametrize("writes", [1, 2, 5, 8, 9, 10, 11, 12, 15])
def test_a_removal_that_was_killed_goes_on(tmp_path: Path, writes: int) -> None:
    path = tmp_path / "store"
    with lookalike.open(path) as library:
        filled(library, "things", 40)
        filled(library, "other", 20)

    line = [sys.executable, "-c", KILLED, str(path), str(writes)]
    done = subprocess.run(line, check=False, timeout=60)

    assert done.returncode == -signal.SIGKILL
    with lookalike.open(path) as library:
        assert library.check() == []
        if "things" in library.collections():
            list(library.collection("things").documents())
            library.collection("things").run()
        library.remove_bucket("things", cascade=True)
        assert library.check() == []
        assert (library.collections(), library.buckets()) == (["other"], ["other"])
        assert (rows_in(library)["object"], rows_in(library)["document"]) == (20, 20)
        assert {name for name in files_in(library) if name.startswith("vectors")} == {
            "vectors/2.0.f16"
        }
        begin_anew(library)


KILLED_WHEN_FORGOTTEN = """
import os, signal, sys
import lookalike

with lookalike.open(sys.argv[1]) as library:
    things = library.collection("things")
    library.runtime.store.tidy = lambda: os.kill(os.getpid(), signal.SIGKILL)
    things.forget([document.id for document in things.documents()])
"""


def test_no_copy_outlives_what_was_forgotten_whenever_that_was_killed(tmp_path: Path) -> None:
    """Once the documents are gone, nobody can name their copies any more."""
    picture, path = tmp_path / "one.png", tmp_path / "store"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)  # not kept inline
    Image.fromarray(noise).save(picture)
    with lookalike.open(path) as library:
        library.labeler("things").add(picture, copy=True)
        kept = [name for name in files_in(library) if name.startswith("blobs")]

    line = [sys.executable, "-c", KILLED_WHEN_FORGOTTEN, str(path)]
    done = subprocess.run(line, check=False, timeout=60)

    assert (len(kept), done.returncode) == (1, -signal.SIGKILL)
    with lookalike.open(path) as library:
        assert len(library.collection("things")) == 0
        assert [name for name in files_in(library) if name.startswith("blobs")] == []


def test_what_comes_meanwhile_goes_too(
    library: lookalike.Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another process adds while a collection is emptied is removed with it."""
    things = filled(library, "things", 30)
    monkeypatch.setattr(removing, "_REMOVE_ROWS", 10)
    drop, late = removing._drop_collections, iter([1])

    def drop_late(*arguments: Any) -> Any:
        for _ in late:
            things.add(vectors=np.eye(16)[:3], ids=["a", "b", "c"])
        return drop(*arguments)

    monkeypatch.setattr(removing, "_drop_collections", drop_late)

    assert library.remove_collection("things").documents == 33
    assert rows_in(library) == {"object": 33, "resource": 1}


# --- objects ------------------------------------------------------------------------------------


def test_objects_that_failed_or_wait_can_be_forgotten(
    plugins: Path, library: lookalike.Library, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.txt", tmp_path / "bad.txt"
    good.write_text("one two three")
    bad.write_bytes(b"\0\1\2")
    texts = library.labeler("texts", extractor="word_lengths", confidence_threshold=0.9)
    texts.add([{"file": good, "id": "good"}, {"file": bad, "id": "bad"}])
    library.create_bucket("later")
    assert texts.report().failed == 1

    receipt = library.forget_objects("texts", ["bad"])

    assert (receipt.objects, receipt.documents) == (1, 0)
    assert texts.report().failed == 0
    assert rows_in(library)["object"] == 1
    assert texts.add([{"file": good, "id": "good"}]).unchanged == 1


def test_objects_are_forgotten_in_every_collection_and_decided_without(
    library: lookalike.Library,
) -> None:
    things = filled(library, "things")
    labelled = things.report().labelled["auto"]
    witness = things.document("v0").label
    mine = [one.id for one in things.documents(label=witness, origin="human")]

    receipt = library.forget_objects("things", mine)

    assert (receipt.objects, receipt.documents) == (len(mine), len(mine))
    assert receipt.labels == len(mine)
    assert receipt.effects.unlabelled[str(witness)] > 0
    assert things.report().labelled["auto"] < labelled
    assert list(things.documents(label=witness)) == []
    before = {one.id: one.label for one in things.documents()}
    things.run()
    assert {one.id: one.label for one in things.documents()} == before


def test_many_objects_are_forgotten_in_several_operations(
    library: lookalike.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    things = filled(library, "things")
    monkeypatch.setattr(removing, "_FORGET_OBJECTS", 10)

    receipt = library.forget_objects("things", [f"v{number}" for number in range(25)])

    assert (receipt.objects, receipt.documents, len(things)) == (25, 25, 35)
    assert [one.kind for one in things.operations(limit=4)] == ["forget"] * 3 + ["label"]


def test_of_unknown_objects_nothing_is_forgotten(library: lookalike.Library) -> None:
    filled(library, "things")

    with pytest.raises(NotFound, match="'nope'"):
        library.forget_objects("things", ["v1", "nope"])

    assert rows_in(library)["object"] == 60


@pytest.mark.parametrize("removes", ["object", "collection", "bucket"])
def test_an_extraction_that_ends_later_brings_nothing_back(
    tmp_path: Path, plugins: Path, removes: str
) -> None:
    """Its objects go while it holds their leases and their texts are extracted."""
    texts = [{"text": f"word {'x' * number}", "id": f"t{number}"} for number in range(1, 41)]
    with lookalike.open(tmp_path / "store") as library:
        collection = library.labeler("texts", extractor="word_lengths", pause_ms=10)

        def remove(*_: int) -> None:
            with lookalike.open(tmp_path / "store") as other:
                if removes == "object":
                    other.forget_objects("texts", [f"t{number}" for number in range(1, 31)])
                elif removes == "collection":
                    other.remove_collection("texts")
                else:
                    other.remove_bucket("texts", cascade=True)

        extraction = library._runtime.extraction()
        claim, calls = extraction._claim, iter([1])

        def claim_then_remove(target: Any) -> Any:
            claimed = claim(target)
            for _ in calls:
                remove()
            return claimed

        extraction._claim = claim_then_remove  # type: ignore[method-assign]
        library._runtime.extraction = lambda: extraction  # type: ignore[method-assign]
        collection.add(texts)

        left = rows_in(library)
        assert library.check() == []
        expected = {"object": (10, 10), "collection": (40, 0), "bucket": (0, 0)}[removes]
        assert (left.get("object", 0), left.get("document", 0)) == expected
        assert left.get("extraction", 0) == 0


def test_no_thumbnail_comes_back_of_what_was_forgotten(tmp_path: Path) -> None:
    """The pictures are small, so their bytes were read with the object's row."""
    chance = np.random.default_rng(0)
    pictures = [
        {"image": Image.fromarray(chance.integers(0, 255, (32, 32, 3), np.uint8)), "id": f"p{n}"}
        for n in range(4)
    ]
    with lookalike.open(tmp_path / "store") as library:
        photos = library.labeler("photos")
        extraction = library._runtime.extraction()
        extract = extraction._extract

        def forget_then_extract(target: Any, task: Any) -> Any:
            with lookalike.open(tmp_path / "store") as other:
                doomed = [one.id for one in task if one.id in ("p0", "p1")]
                other.forget_objects("photos", doomed)
            return extract(target, task)

        extraction._extract = forget_then_extract  # type: ignore[method-assign]
        library._runtime.extraction = lambda: extraction  # type: ignore[method-assign]
        photos.add(pictures)

        thumbnails = [name for name in files_in(library) if name.endswith(".jpg")]
        assert (len(photos), len(thumbnails)) == (2, 2)
