"""From items to documents: what is kept, what is extracted once, what fails alone, what resumes."""

import datetime
import io
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import lookalike
from lookalike.catalog import tasks
from lookalike.errors import BadInput, BadVector, Conflict
from lookalike.ingest import extraction
from lookalike.library.collection.collection import Collection
from lookalike.settings import read_settings


@pytest.fixture
def texts(library: lookalike.Library, tmp_path: Path) -> Collection:
    """An empty collection of texts, whose extractor writes what it extracts into log.txt."""
    log = str(tmp_path / "log.txt")
    return library.labeler("texts", extractor="word_lengths", confidence_threshold=0.99, log=log)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of three texts."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, text in (("a", "one two"), ("b", "three hundred"), ("c", "a b c d e f")):
        (folder / f"{name}.txt").write_text(text)
    return folder


def extracted(tmp_path: Path) -> Counter[str]:
    """How often each text was extracted, by name."""
    log = tmp_path / "log.txt"
    return Counter(log.read_text().splitlines()) if log.exists() else Counter()


def file_names(collection: Collection) -> list[str]:
    return [document.file_name for document in collection.documents()]


def png(color: str = "red", size: tuple[int, int] = (300, 200)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


def blob_files(store: Path) -> list[Path]:
    return [path for path in (store / "blobs").rglob("*") if path.is_file()]


# --- once -------------------------------------------------------------------------------------


def test_equal_content_is_extracted_once(texts: Collection, tmp_path: Path) -> None:
    """However many objects have it, in one call, in the next, and in another collection."""
    contents = [f"the same words {'x' * (number % 290)}" for number in range(600)]
    copies = [{"id": f"copy-{number}", "text": text} for number, text in enumerate(contents)]

    added = texts.add(copies)
    texts.add({"id": "late", "text": contents[0]})

    assert added.documents == 600
    assert sum(extracted(tmp_path).values()) == 290
    assert len({document.sha256 for document in texts.documents()}) == 290


def test_another_collection_of_the_space_extracts_nothing_again(
    library: lookalike.Library, texts: Collection, folder: Path, tmp_path: Path
) -> None:
    texts.add(folder)
    log = str(tmp_path / "log.txt")
    other = library.labeler("others", extractor="word_lengths", log=log)

    added = other.add(folder)

    assert added.documents == 3
    assert sum(extracted(tmp_path).values()) == 3


def test_what_is_here_already_stays_as_it_is(texts: Collection, folder: Path) -> None:
    first = texts.add(folder)
    before = list(texts.documents())

    second = texts.add(folder)

    assert (first.added, first.documents) == (3, 3)
    assert (second.added, second.changed, second.unchanged, second.documents) == (0, 0, 3, 0)
    assert list(texts.documents()) == before


def test_equal_files_are_documents_of_their_own(texts: Collection, folder: Path) -> None:
    (folder / "twin.txt").write_text("one two")

    texts.add(folder)

    assert sorted(file_names(texts)) == ["a.txt", "b.txt", "c.txt", "twin.txt"]


def test_the_progress_reaches_the_total(texts: Collection, folder: Path) -> None:
    (folder / "empty.txt").write_text("")
    seen: list[tuple[int, int]] = []

    texts.add(folder, progress=lambda done, total: seen.append((done, total)))

    assert seen[-1] == (4, 4), "what failed is finished, too"
    assert seen == sorted(seen)


# --- changes ----------------------------------------------------------------------------------


def test_a_changed_file_is_extracted_again_and_keeps_what_a_person_said(
    texts: Collection, folder: Path
) -> None:
    texts.add(folder)
    before = next(texts.documents())
    texts.label({before.id: "Mine"})
    (folder / "a.txt").write_text("quite another text than before")

    added = texts.add(folder)

    now = texts.document(before.id)
    assert (added.added, added.changed, added.unchanged) == (0, 1, 2)
    assert (now.label, now.origin) == ("Mine", "human")
    assert now.sha256 != before.sha256


def test_the_new_content_of_a_reference_decides_the_others_again(
    texts: Collection, folder: Path
) -> None:
    texts.add([folder, {"id": "alike", "text": "six two"}])
    reference = next(texts.documents())
    texts.label({reference.id: "Mine"})
    labelled_before = texts.document("alike").label
    (folder / "a.txt").write_text("extraordinarily i")

    texts.add(folder)

    assert (labelled_before, texts.document("alike").label) == ("Mine", None)


def test_a_file_that_is_gone_is_noticed_and_its_document_stays(
    texts: Collection, folder: Path
) -> None:
    texts.add(folder)
    (folder / "b.txt").unlink()

    added = texts.add([folder / "a.txt", folder / "b.txt"])

    assert "there is no file or folder" in added.failed[str(folder / "b.txt")]
    assert file_names(texts) == ["a.txt", "b.txt", "c.txt"]
    assert texts.report().failed == 0


def test_an_id_whose_file_moved_is_the_same_object(texts: Collection, folder: Path) -> None:
    texts.add({"id": "shoe", "file": folder / "a.txt"})
    (folder / "a.txt").rename(folder / "moved.txt")

    moved = texts.add({"id": "shoe", "file": folder / "moved.txt"})
    (folder / "moved.txt").write_text("other words entirely")
    changed = texts.add({"id": "shoe", "file": folder / "moved.txt"})

    assert (moved.unchanged, changed.changed, len(texts)) == (1, 1, 1)


@pytest.mark.parametrize("at_once", [True, False])
def test_one_file_cannot_be_two_ids(texts: Collection, folder: Path, at_once: bool) -> None:
    one, two = ({"id": id, "file": folder / "a.txt"} for id in ("x", "y"))
    if not at_once:
        texts.add(one)

    with pytest.raises(Conflict, match=r"'a.txt' has already been added as 'x', not as 'y'"):
        texts.add([one, two] if at_once else two)


def test_what_is_forgotten_can_be_added_anew(texts: Collection, folder: Path) -> None:
    texts.add(folder)
    texts.forget([next(texts.documents()).id])

    added = texts.add(folder)

    assert (added.added, added.unchanged, len(texts)) == (1, 2, 3)


# --- what fails alone -------------------------------------------------------------------------


def test_another_kind_of_file_in_a_folder_is_skipped_and_named(
    texts: Collection, folder: Path
) -> None:
    (folder / "photo.png").write_bytes(png())

    added = texts.add(folder)

    assert added.skipped == ("photo.png",)
    assert (added.documents, texts.report().failed) == (3, 0)


def test_another_kind_of_file_that_is_named_itself_fails_with_the_reason(
    texts: Collection, tmp_path: Path
) -> None:
    (tmp_path / "photo.png").write_bytes(png())

    added = texts.add([tmp_path / "photo.png", b"text"])

    assert "is image/png, and this collection extracts text" in added.failed["photo.png"]
    assert (added.documents, texts.report().failed) == (1, 1)


def test_a_folder_with_nothing_of_this_kind_is_refused(texts: Collection, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "photo.png").write_bytes(png())

    with pytest.raises(BadInput, match=r"none of the 1 files is text, the first is 'photo.png'"):
        texts.add(tmp_path / "pictures")


def test_a_missing_file_does_not_stop_the_others(texts: Collection, folder: Path) -> None:
    added = texts.add([folder / "no.txt", folder / "a.txt", folder / "b.txt"])

    assert list(added.failed) == [str(folder / "no.txt")]
    assert (added.added, texts.report().failed) == (2, 0), "what is not there is no object"


@pytest.mark.parametrize("source", [[], ["no.txt"], pd.DataFrame({"file": []})])
def test_nothing_but_what_is_not_there_is_refused(texts: Collection, source: Any) -> None:
    with pytest.raises(BadInput, match=r"nothing to add|no file or folder 'no\.txt'"):
        texts.add(source)


def test_failures_of_one_name_are_told_apart(texts: Collection, tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.txt").write_bytes(b"\0\1" + name.encode())

    added = texts.add([tmp_path / "x" / "same.txt", tmp_path / "y" / "same.txt", b"good"])

    assert added.documents == 1
    assert set(added.failed) == {"same.txt", "same.txt (2)"}


def test_an_empty_file_fails_with_the_reason(texts: Collection, folder: Path) -> None:
    (folder / "empty.txt").write_text("")

    added = texts.add(folder)

    assert "it is empty (0 bytes" in added.failed["empty.txt"]
    assert added.documents == 3


def test_a_failure_is_reported_until_it_is_repaired(texts: Collection, folder: Path) -> None:
    (folder / "bad.txt").write_bytes(b"\0\1\2")
    texts.add(folder)
    again = texts.add(folder)
    failed_before = texts.report().failed
    (folder / "bad.txt").write_text("repaired now")

    added = texts.add(folder)

    assert "binary data" in again.failed["bad.txt"]
    assert (failed_before, texts.report().failed) == (1, 0)
    assert (added.changed, added.documents) == (1, 1)


def test_a_file_that_is_gone_does_not_fail_its_twin(texts: Collection, tmp_path: Path) -> None:
    """Equal contents are extracted once, from whichever file can be read."""
    pair = [tmp_path / "first.txt", tmp_path / "second.txt"]
    for path in pair:
        path.write_text("equal words")

    def paths() -> Iterator[Path]:
        yield from pair
        for number in range(300):  # the first two are registered before the third batch
            path = tmp_path / f"other-{number}.txt"
            path.write_text(f"others {'x' * number}")
            yield path
            pair[0].unlink(missing_ok=True) if number == 290 else None

    added = texts.add(paths())

    assert list(added.failed) == ["first.txt"]
    assert "put the file back" in added.failed["first.txt"]
    assert added.documents == 301


def test_content_above_the_limit_fails_with_the_setting(tmp_path: Path, plugins: Path) -> None:
    settings = read_settings({"LOOKALIKE_MAX_BLOB_BYTES": "100"})
    (tmp_path / "huge.txt").write_text("word " * 100)
    huge = b"word " * 100
    with lookalike.open(tmp_path / "store", settings=settings) as library:
        texts = library.labeler("texts", extractor="word_lengths")

        added = texts.add([tmp_path / "huge.txt", huge, "data:," + "x" * 101, b"small"])

    assert added.documents == 1
    assert len(added.failed) == 3
    assert all("more than 100 bytes; raise LOOKALIKE_MAX" in why for why in added.failed.values())


def test_the_settings_file_of_a_store_counts_however_the_store_is_named(
    tmp_path: Path, plugins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "lookalike.toml").write_text("max_blob_bytes = 100")
    monkeypatch.setenv("LOOKALIKE_STORE", str(store))
    with lookalike.open() as library:
        texts = library.labeler("texts", extractor="word_lengths")

        added = texts.add([b"word " * 100, b"small"])

    assert (added.documents, len(added.failed)) == (1, 1)


# --- the same collection again ----------------------------------------------------------------


def test_the_door_gives_the_same_collection_again(
    library: lookalike.Library, texts: Collection, folder: Path
) -> None:
    """By its name alone; nothing is decided again and no field is made."""
    texts.add(folder)
    operations = texts.operations()

    again = library.labeler("texts")

    assert (len(again), again.fields) == (3, ("label",))
    assert again.operations() == operations


def test_the_door_adds_a_field_that_is_not_there(
    library: lookalike.Library, texts: Collection, folder: Path
) -> None:
    texts.add(folder)

    again = library.labeler("texts", field="color", confidence_threshold=0.5)

    assert again.fields == ("label", "color")
    assert [again.report(field=name).limit for name in again.fields] == [0.99, 0.5]


@pytest.mark.parametrize("other", [{"reference": "curated"}, {"enrich": ("price",)}])
def test_the_door_refuses_what_a_field_cannot_become(
    library: lookalike.Library, texts: Collection, other: dict[str, Any]
) -> None:
    with pytest.raises(Conflict, match="which cannot change; choose another field name"):
        library.labeler(texts.name, **other)


# --- pictures ---------------------------------------------------------------------------------


def test_pictures_corrupt_huge_and_good_each_get_their_due(tmp_path: Path) -> None:
    """One thumbnail for each content that could be decoded, made once."""
    (tmp_path / "in").mkdir()
    for name, content in {
        "good.png": png("blue"),
        "twin.png": png("blue"),
        "cut.png": png("green")[:100],
        "empty.png": b"",
        "huge.png": png("red", (500, 500)),
    }.items():
        (tmp_path / "in" / name).write_bytes(content)
    settings = read_settings({"LOOKALIKE_MAX_PIXELS": "100000"})
    with lookalike.open(tmp_path / "store", settings=settings) as library:
        pictures = library.labeler("pictures")

        added = pictures.add(tmp_path / "in")

        thumbnails = list((tmp_path / "store" / "cache" / "thumbnails").rglob("*.jpg"))
        made_at = [path.stat().st_mtime_ns for path in thumbnails]
        (tmp_path / "in" / "cut.png").write_bytes(png("blue"))
        repaired = pictures.add(tmp_path / "in")

    assert (added.added, added.documents) == (5, 2)
    assert set(added.failed) == {"cut.png", "empty.png", "huge.png"}
    assert "above 100,000; make it smaller or raise LOOKALIKE_MAX" in added.failed["huge.png"]
    assert len(thumbnails) == 1
    with Image.open(thumbnails[0]) as shown:
        assert shown.size == (256, 171)
    assert (repaired.changed, repaired.documents, len(repaired.failed)) == (1, 1, 2)
    assert [path.stat().st_mtime_ns for path in thumbnails] == made_at


# --- bytes that are kept ----------------------------------------------------------------------

LONG_TEXT = b"a long text " * 500


def test_files_are_referenced_and_uploads_kept_once(texts: Collection, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_bytes(b"another " + LONG_TEXT)

    texts.add(tmp_path / "file.txt")
    texts.add([LONG_TEXT, {"id": "again", "content": LONG_TEXT}, b"short"])

    (kept,) = blob_files(tmp_path / "store")
    assert kept.read_bytes() == LONG_TEXT
    assert kept.parent.name + kept.name in {one.sha256 for one in texts.documents()}


def test_a_copy_survives_the_file(texts: Collection, folder: Path, tmp_path: Path) -> None:
    (folder / "a.txt").write_bytes(LONG_TEXT)
    texts.add(folder)
    without = blob_files(tmp_path / "store")

    added = texts.add(folder, copy=True)

    again = texts.add(folder)
    (kept,) = blob_files(tmp_path / "store")
    assert (without, kept.read_bytes()) == ([], LONG_TEXT)
    assert (added.unchanged, again.unchanged) == (3, 3)


def test_forgetting_erases_the_copy_and_no_file(
    texts: Collection, folder: Path, tmp_path: Path
) -> None:
    (folder / "a.txt").write_bytes(LONG_TEXT)
    texts.add(folder, copy=True)

    receipt = texts.forget([next(texts.documents()).id])

    assert (receipt.copies, blob_files(tmp_path / "store")) == (1, [])
    assert (folder / "a.txt").exists()


# --- vectors ----------------------------------------------------------------------------------


@pytest.fixture
def vectors(library: lookalike.Library) -> Collection:
    return library.labeler("vectors", extractor="passthrough", confidence_threshold=0.9)


def test_vectors_of_any_length_and_type_come_to_unit_length(vectors: Collection) -> None:
    added = vectors.add(
        vectors=np.array([[3, 4], [3e-200, 4e-200], [3e200, 4e200]]), ids=["a", "b", "c"]
    )

    vectors.label({"a": "Same"})
    assert added.failed == {}
    assert [one.label for one in vectors.documents()] == ["Same"] * 3


def test_a_vector_that_cannot_be_used_fails_alone(vectors: Collection) -> None:
    bad = [[1, np.nan], [0, 0], [np.inf, 1], [1, 1]]

    added = vectors.add(vectors=bad, ids=["nan", "zero", "inf", "good"])

    assert set(added.failed) == {"nan", "zero", "inf"}
    assert "number 1 of the vector is nan; all must be finite" in added.failed["nan"]
    assert "it has no direction" in added.failed["zero"]
    assert [one.id for one in vectors.documents()] == ["good"]


def test_vectors_of_another_dimension_are_refused(vectors: Collection) -> None:
    vectors.add(vectors=np.ones((1, 3)))

    with pytest.raises(BadVector, match=r"shape \(1, 4\), and this collection needs \(n, 3\)"):
        vectors.add(vectors=np.ones((1, 4)))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"vectors": np.ones(3)}, r"shape \(3,\); give numbers \(n, d\)"),
        ({"vectors": [["a", "b"]]}, r"give numbers \(n, d\)"),
        ({"vectors": np.ones((2, 3)), "ids": ["x"]}, "1 ids for 2 vectors; give one each"),
        ({"vectors": np.ones((2, 3)), "ids": ["x", "x"]}, "the id 'x' is given twice"),
        ({"vectors": np.ones((2, 3)), "metadata": [{}]}, "1 metadata rows for 2 vectors"),
        ({}, "nothing to add: give a source"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(
    vectors: Collection, given: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        vectors.add(**given)


def test_a_vector_under_a_known_id_replaces_the_old_one(vectors: Collection) -> None:
    vectors.add(vectors=[[1, 0], [0, 1]], ids=["a", "b"])
    vectors.label({"a": "A"})

    added = vectors.add(vectors=[[1, 0], [1, 0.1]], ids=["a", "b"])

    assert (added.added, added.changed, added.unchanged) == (0, 1, 1)
    assert vectors.document("b").label == "A"


def test_vectors_of_two_models_are_named_apart(library: lookalike.Library) -> None:
    made = library.labeler("clip", extractor="passthrough", dimension=2, name="clip")

    made.add(vectors=[[1, 0]])

    assert library.spaces()["clip"].startswith("passthrough.v1/clip@")


# --- metadata ---------------------------------------------------------------------------------


def test_metadata_becomes_plain_values(texts: Collection) -> None:
    when = datetime.datetime(2024, 5, 1, 12, 30, tzinfo=datetime.UTC)
    metadata = {
        "integer": np.int64(3),
        "float": np.float32(0.5),
        "array": np.array([1, 2]),
        "when": when,
        "date": datetime.date(2024, 5, 1),
        "stamp": pd.Timestamp("2024-05-01"),
        "nothing": [None, float("nan"), pd.NA, pd.NaT, np.datetime64("NaT")],
        "inner": {1: (True, "text")},
    }

    texts.add({"id": "x", "text": "words", **metadata})

    assert texts.document("x").metadata == {
        "integer": 3,
        "float": 0.5,
        "array": [1, 2],
        "when": "2024-05-01T12:30:00+00:00",
        "date": "2024-05-01",
        "stamp": "2024-05-01T00:00:00",
        "nothing": [None] * 5,
        "inner": {"1": [True, "text"]},
    }


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", Decimal("1.5"), object(), 1j])
def test_metadata_that_json_cannot_hold_is_refused_by_name(texts: Collection, value: Any) -> None:
    kind = type(value).__name__

    with pytest.raises(BadInput, match=rf"field 'price' holds a {kind}; use JSON values"):
        texts.add([{"text": "good"}, {"text": "bad", "price": [value]}])

    assert len(texts) == 0


# --- interruptions ----------------------------------------------------------------------------

ADD = """
import sys, lookalike
store, folder, log = sys.argv[1:]
with lookalike.open(store) as library:
    options = dict(log=log, pause_ms=50)
    library.labeler("texts", extractor="word_lengths", **options).add(folder)
"""


def test_a_killed_extraction_is_taken_up_at_once(
    tmp_path: Path, plugins: Path, folder: Path
) -> None:
    """The lease of a dead process counts for nothing; what it had written stays."""
    for number in range(60):
        (folder / f"{number}.txt").write_text("x " * number + "long")
    store, log = tmp_path / "store", tmp_path / "log.txt"
    process = subprocess.Popen(
        [sys.executable, "-c", ADD, str(store), str(folder), str(log)],
        env={**os.environ, "PYTHONPATH": str(plugins)},
    )
    while not log.exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with lookalike.open(store) as library:
        texts = library.collection("texts")
        waiting = texts.report().waiting

        texts.extract()

        assert waiting > 0
        assert sorted(file_names(texts)) == sorted(path.name for path in folder.iterdir())
        assert (texts.report().waiting, library.check()) == (0, [])


class Clock:
    """Time of which some seconds pass whenever someone looks."""

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s
        self.now = 1e9

    def __call__(self) -> float:
        self.now += self.step_s
        return self.now


def test_an_extraction_that_outlasts_its_lease_still_writes_each_document_once(
    tmp_path: Path, plugins: Path, folder: Path
) -> None:
    """Its lease is renewed while it works, and it never claims its own work again."""
    log = tmp_path / "log.txt"
    for number in range(60):
        (folder / f"{number}.txt").write_text("x " * (number % 16) + "y" * (number + 1))
    with lookalike.open(tmp_path / "store", clock=Clock(50)) as library:
        texts = library.labeler("texts", extractor="word_lengths", pause_ms=5, log=str(log))

        added = texts.add(folder)

        assert (added.documents, len(texts)) == (63, 63)
        assert set(extracted(tmp_path).values()) == {1}
        assert library.check() == []


def test_what_one_process_works_at_another_leaves_alone(
    tmp_path: Path, plugins: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes, as long as it lives: here, several times as long as a lease."""
    monkeypatch.setattr(tasks, "LEASE_S", 1.0)
    monkeypatch.setattr(tasks, "_RENEW_S", 0.1)
    monkeypatch.setattr(extraction, "_WRITE_S", 0.2)
    log, asked = tmp_path / "log.txt", 0
    for number in range(60):
        (folder / f"{number}.txt").write_text("y" * (number + 1))
    with (
        lookalike.open(tmp_path / "store") as library,
        lookalike.open(tmp_path / "store") as other,
    ):
        texts = library.labeler("texts", extractor="word_lengths", pause_ms=100, log=str(log))

        def take_over(_done: int, _total: int) -> None:
            nonlocal asked
            asked += 1
            other.collection("texts").extract()

        texts.add(folder, progress=take_over)

        assert asked > 2
        assert (len(texts), set(extracted(tmp_path).values())) == (63, {1})


def test_what_is_forgotten_while_it_is_extracted_makes_no_document(
    tmp_path: Path, plugins: Path, folder: Path
) -> None:
    """Who finishes late writes only what still waits for it."""
    paths = [folder / f"{number}.txt" for number in range(40)]
    for path in paths:
        path.write_text(f"first {path.stem}")
    with lookalike.open(tmp_path / "store", clock=Clock(50)) as library:
        texts = library.labeler("texts", extractor="word_lengths", pause_ms=5)
        texts.add(paths)
        (doomed,) = (one.id for one in texts.documents() if one.file_name == "39.txt")
        for path in paths:
            path.write_text(f"second {'x' * int(path.stem)}")
        with lookalike.open(tmp_path / "store") as other:
            waiting = iter([doomed])

            def forget(_done: int, _total: int) -> None:
                for id in waiting:
                    other.collection("texts").forget([id])

            added = texts.add(paths, progress=forget)

        assert (added.documents, len(texts)) == (39, 39)
        assert library.check() == []


def test_many_vectors_of_one_dimension_are_decided(library: lookalike.Library) -> None:
    """All neighbours are copies of each other, so that their differences are rounding."""
    numbers = np.random.default_rng(0).normal(size=(2500, 1))
    points = library.labeler("points", extractor="passthrough")
    points.add(vectors=numbers, ids=[f"p{place}" for place in range(2500)])

    points.label({f"p{place}": "up" if numbers[place] > 0 else "down" for place in range(30)})

    nulls = points.documents(label=None)
    best = {one.id: one.standing.decision.runner_up for one in nulls}
    assert len(best) == 2470
    assert best["p40"] == ("up" if numbers[40] > 0 else "down")


@pytest.mark.parametrize(
    ("id", "said"),
    [
        ("", "is blank"),
        (" \t", "is blank"),
        ("a\x00b", r"U\+0000"),
        ("a\nb", "line break"),
        ("a\u2028", "line break"),
        ("a\ud800b", "half a surrogate pair"),
    ],
)
def test_an_id_that_would_be_lost_is_refused_at_every_door(
    library: lookalike.Library, id: str, said: str
) -> None:
    texts = library.labeler("texts", extractor="text")
    vectors = library.labeler("vectors", extractor="vectors")

    with pytest.raises(BadInput, match=said):
        texts.add([{"text": "a letter", "id": id}])
    with pytest.raises(BadInput, match=said):
        texts.add([{"text": "a letter"}], ids=[id])
    with pytest.raises(BadInput, match=said):
        vectors.add(vectors=np.eye(2, dtype=np.float32), ids=["one", id])
    assert texts.ids() == vectors.ids() == []


def test_a_text_with_half_a_surrogate_pair_is_refused(library: lookalike.Library) -> None:
    texts = library.labeler("texts", extractor="text")

    with pytest.raises(BadInput, match="half a surrogate pair"):
        texts.add([{"text": "broken \ud800 text"}])
