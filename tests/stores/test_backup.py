"""Backups of the embedded store: of a live one, whole or not at all, restored and opened."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from sqlalchemy import select

import lookalike
from lookalike.cli.group import cli
from lookalike.cli.output import show_backup
from lookalike.errors import BadInput, Conflict, NotAStore, StoreCorrupt, StoreTooNew
from lookalike.library.maintenance import back_up
from lookalike.model import Blob
from lookalike.stores import schema
from lookalike.stores.base import stored_space
from lookalike.stores.open import StoreAddress
from lookalike.stores.sqlite.backup import Backup
from lookalike.stores.sqlite.engine import driver
from processes import forking

KINDS = ("cup", "mug", "jug")
TEXTS = [f"about {word} " * 600 for word in ("cups", "mugs", "jugs")]


def vectors(count: int, seed: int) -> NDArray[np.float32]:
    """Return things of three kinds in turn, each near a direction of its own."""
    chance = np.random.default_rng(seed)
    centres = np.eye(3, 24)[np.arange(count) % 3]
    return np.asarray(centres + 0.15 * chance.standard_normal((count, 24)), np.float32)


def ids(count: int, name: str) -> list[str]:
    return [f"{name} {number:04}" for number in range(count)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with vectors, some labelled, and three texts whose bytes it keeps."""
    place = tmp_path_factory.mktemp("made") / "store"
    with lookalike.open(place, actor="ann") as library:
        things = library.labeler("things", extractor="passthrough", confidence_threshold=0.8)
        things.add(vectors=vectors(60, 1), ids=ids(60, "old"))
        things.label({one: KINDS[number % 3] for number, one in enumerate(ids(12, "old"))})
        library.labeler("texts", extractor="text").add([{"text": text} for text in TEXTS])
        texts = library.collection("texts")
        texts.label({texts.ids()[0]: "cup"})
    return place


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    """A store of one's own, as `made`."""
    shutil.copytree(made, tmp_path / "store")
    return tmp_path / "store"


def keep(store: Path, target: Path, earlier: Path | None = None) -> Backup:
    return back_up(StoreAddress(str(store)), target, earlier=earlier)


def everything(store: Path) -> dict[str, list[Any]]:
    """Return all rows of a store by table, and its vectors by space; it must be sound."""
    with lookalike.open(store) as library, library.runtime.store.read() as snapshot:
        found: dict[str, list[Any]] = {
            name: [tuple(row) for row in snapshot.rows(select(table).order_by(*table.primary_key))]
            for name, table in schema.metadata.tables.items()
        }
        for row in snapshot.rows(select(schema.space)):
            _, pks = snapshot.slots(stored_space(row))
            found[f"vectors of {row.name}"] = snapshot.vectors(stored_space(row), pks).tolist()
        assert library.check() == []
    return found


def vector_of(library: lookalike.Library, id: str) -> bytes:
    """Return the bytes of a document's vector as they lie on the disk."""
    with library.runtime.store.read() as snapshot:
        space = stored_space(snapshot.rows(select(schema.space).order_by(schema.space.c.pk))[0])
        document = schema.document
        pk = snapshot.rows(select(document.c.pk).where(document.c.id == id))[0].pk
        return snapshot.vectors(space, np.array([pk])).tobytes()


def contents(library: lookalike.Library) -> list[str]:
    """Return the texts of the bucket, read from where they are kept."""
    blobs = library.runtime.blobs
    with library.runtime.store.read() as snapshot:
        rows = snapshot.rows(select(schema.object_.c.blobs))
    kept = [Blob(**one) for row in rows for one in row.blobs if one["uri"].startswith("blob:")]
    return [blobs.read(one).decode() for one in kept]


def files_of(store: Path) -> dict[str, int]:
    """Return the inode of each kept file."""
    kept = (path for path in (store / "blobs").rglob("*") if path.is_file())
    return {path.name: path.stat().st_ino for path in kept}


# --- what a backup is -----------------------------------------------------------------------------


def test_a_backup_is_a_store_that_says_the_same(store: Path, tmp_path: Path) -> None:
    told = keep(store, tmp_path / "kept")

    assert (told.documents, told.vectors, told.files, told.missing) == (63, 63, 3, ())
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [
        "blobs",
        "lookalike.db",
        "vectors",
    ], "no cache, no log, no lock"
    assert everything(tmp_path / "kept") == everything(store)


def test_what_is_restored_goes_on_where_the_store_was(store: Path, tmp_path: Path) -> None:
    keep(store, tmp_path / "kept")
    with lookalike.open(store, actor="bob") as library:
        library.collection("things").label({"old 0030": "wrong"})
    store.rename(tmp_path / "broken")

    keep(tmp_path / "kept", store)

    with lookalike.open(store, actor="ann") as library:
        things = library.collection("things")
        before = list(things.rows())
        assert things.document("old 0030").label != "wrong"
        assert things.run().by_itself == 0, "decisions are those of the labels that were kept"
        assert list(things.rows()) == before
        assert sorted(contents(library)) == sorted(TEXTS)
        assert things.label({"old 0031": "cup"}).by_person == 1
        assert library.check() == []


def test_settings_that_lie_in_the_store_are_kept(store: Path, tmp_path: Path) -> None:
    (store / "lookalike.toml").write_text('actor = "the shop"\n')

    keep(store, tmp_path / "kept")

    with lookalike.open(tmp_path / "kept") as library:
        assert library.settings.actor == "the shop"


def test_what_was_replaced_or_forgotten_is_not_in_a_backup(store: Path, tmp_path: Path) -> None:
    with lookalike.open(store) as library:
        things = library.collection("things")
        secret = vector_of(library, "old 0003")
        things.forget(["old 0003"])
        texts = library.collection("texts")
        gone = texts.forget(texts.ids()[:1])

    told = keep(store, tmp_path / "kept")

    assert (gone.copies, told.files, told.documents) == (1, 2, 61)
    written = [path.read_bytes() for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert not any(secret in data for data in written)
    assert everything(tmp_path / "kept") == everything(store)


def test_files_are_shared_with_an_earlier_backup_and_never_with_the_store(
    store: Path, tmp_path: Path
) -> None:
    first = keep(store, tmp_path / "monday")
    with lookalike.open(store) as library:
        library.collection("texts").add([{"text": "about jars " * 600}])

    second = keep(store, tmp_path / "tuesday", earlier=tmp_path / "monday")

    live, monday, tuesday = (files_of(tmp_path / name) for name in ("store", "monday", "tuesday"))
    assert (first.files, first.shared, second.files, second.shared) == (3, 0, 4, 3)
    assert {name: inode for name, inode in tuesday.items() if name in monday} == monday
    assert not set(live.values()) & set(tuesday.values())
    assert everything(tmp_path / "tuesday") == everything(store)


def test_a_file_that_is_gone_or_not_what_it_was_is_named(store: Path, tmp_path: Path) -> None:
    one, other, _ = sorted(path for path in (store / "blobs").rglob("*") if path.is_file())
    one.unlink()
    other.write_bytes(b"something else")

    told = keep(store, tmp_path / "kept")

    lost = {path.parent.name + path.name for path in (one, other)}
    assert set(told.missing) == {f"blob:{digest}" for digest in lost}
    assert told.files == 1


def test_what_a_setting_keeps_elsewhere_stays_there_and_is_counted(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_BLOBS", str(tmp_path / "shared"))
    with lookalike.open(store) as library:
        library.collection("texts").add([{"text": "about jars " * 600}], copy=True)

    told = keep(store, tmp_path / "kept")

    assert (told.files, told.elsewhere, told.missing) == (3, 1, ())
    assert "files that stay where LOOKALIKE_BLOBS keeps them: 1" in show_backup(told)
    with lookalike.open(tmp_path / "kept") as library:
        assert len(contents(library)) == 4, "all are found from the backup as well"


def test_a_store_of_an_older_version_is_kept_as_it_is(store: Path, tmp_path: Path) -> None:
    set_version(store, 2)
    run_sql(store, "DROP TABLE upload")

    keep(store, tmp_path / "kept")

    assert version(store) == version(tmp_path / "kept") == 2
    with lookalike.open(tmp_path / "kept") as library:
        assert library.collection("things").document("old 0000").label == "cup"


# --- while others write ---------------------------------------------------------------------------


def write_on(store: Path, name: str, pipe: Connection) -> None:
    """Add, label, replace and forget for ever; say what is done, each when it is acknowledged."""
    with lookalike.open(store, actor=name) as library:
        things = library.collection("things")
        texts = library.collection("texts")
        for number in range(10_000):
            new = [f"{name} {number} {place}" for place in range(6)]
            things.add(vectors=vectors(6, number), ids=new)
            things.label({new[0]: KINDS[0]})
            pipe.send((new[0], KINDS[0]))
            things.forget(new[3:4])
            if number % 3 == 0:
                text = texts.add([{"id": f"{name}-{number}", "text": f"{name} {number} " * 700}])
                assert text.added == 1
                if number % 2 == 0:
                    texts.forget([f"{name}-{number}"])


def test_a_backup_of_a_live_store_holds_all_that_was_acknowledged(
    store: Path, tmp_path: Path
) -> None:
    """Two write and forget as fast as they can: each backup is sound, and of one moment."""
    context = forking()
    writers = []
    for name in ("bob", "cem"):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=write_on, args=(store, name, theirs), daemon=True)
        process.start()
        theirs.close()
        writers.append((process, ours))
    said: dict[str, str] = {}
    try:
        for round_ in range(3):
            while len(said) < 4 * (round_ + 1):
                said |= dict([writers[0][1].recv(), writers[1][1].recv()])
            earlier = tmp_path / f"kept {round_ - 1}" if round_ else None

            told = keep(store, tmp_path / f"kept {round_}", earlier=earlier)

            assert told.missing == ()
            with lookalike.open(tmp_path / f"kept {round_}", actor="ann") as library:
                assert library.check() == []
                things = library.collection("things")
                found = {one.id: one.label for one in things.documents(origin="human")}
                assert {id: found.get(id) for id in said} == said
                before = list(things.rows())
                assert things.run().by_itself == 0
                assert list(things.rows()) == before
                library.collection("texts").extract()
                assert library.collection("texts").report().failed == 0
    finally:
        for process, pipe in writers:
            process.kill()
            process.join()
            pipe.close()


def test_a_backup_that_is_killed_leaves_no_store_and_the_next_one_clears_up(
    store: Path, tmp_path: Path
) -> None:
    kept = 0
    for number in range(4):
        target = tmp_path / f"kept {number}"
        command = [sys.executable, "-m", "lookalike", "--store", str(store), "backup", str(target)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as one:
            draft = target.with_name(f"{target.name}.part")
            deadline = time.monotonic() + 60
            while one.poll() is None and not draft.exists() and time.monotonic() < deadline:
                time.sleep(0.002)
            time.sleep(0.01 * number)
            one.send_signal(signal.SIGKILL)
        if target.exists():
            kept += 1
            assert everything(target) == everything(store)
            continue
        if (draft / "lookalike.db").exists():  # killed between the two last steps: it is whole
            assert everything(draft) == everything(store)

        keep(store, target)

        assert not draft.exists()
        assert everything(target) == everything(store)
    assert kept < 4, "some were killed on the way"


# --- what is refused ------------------------------------------------------------------------------


def test_a_place_that_holds_something_is_refused(store: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note.txt").write_text("mine")
    (tmp_path / "empty").mkdir()

    with pytest.raises(Conflict, match="is not empty; name a new directory"):
        keep(store, tmp_path / "full")
    with pytest.raises(Conflict, match="is not empty"):
        keep(store, tmp_path / "full" / "note.txt")

    keep(store, tmp_path / "empty")
    assert (tmp_path / "full" / "note.txt").read_text() == "mine"
    assert not list(tmp_path.glob("*.part"))


def test_one_place_in_the_other_is_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is in the store itself"):
        keep(store, store / "backups" / "monday")
    with pytest.raises(BadInput, match="is in the store itself"):
        keep(store, store)
    with pytest.raises(BadInput, match="the store is in"):
        keep(store, tmp_path)
    assert not (store / "backups").exists()


def test_no_store_and_a_database_are_named(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotAStore, match="no store in"):
        keep(tmp_path / "nothing", tmp_path / "kept")
    with pytest.raises(BadInput, match="is not an earlier backup"):
        keep(store, tmp_path / "kept", earlier=tmp_path / "nothing")
    with pytest.raises(BadInput, match="is the store itself"):
        keep(store, tmp_path / "kept", earlier=store)
    with pytest.raises(BadInput, match="pg_dump") as told:
        back_up(StoreAddress("postgresql://ann:secret@db.example.org/labels"), tmp_path / "kept")
    assert "secret" not in str(told.value)
    assert not (tmp_path / "kept").exists()


def test_a_damaged_or_newer_store_is_not_kept_as_if_it_were_sound(
    store: Path, tmp_path: Path
) -> None:
    set_version(store, 999)
    with pytest.raises(StoreTooNew, match="schema version 999"):
        keep(store, tmp_path / "kept")
    set_version(store, schema.SCHEMA_VERSION)
    largest = max((store / "vectors").iterdir(), key=lambda path: path.stat().st_size)
    os.truncate(largest, 100)

    with pytest.raises(StoreCorrupt, match="was not made, because the copy is not intact"):
        keep(store, tmp_path / "kept")

    assert not list(tmp_path.glob("kept*"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 65 MB, which only a superuser can make."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=65m", "tmpfs", str(place)], capture_output=True
    )
    if made.returncode:
        pytest.skip("no disk can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_without_room_is_told_before_it_is_full(store: Path, small_disk: Path) -> None:
    with lookalike.open(store) as library:
        chance = np.random.default_rng(3)
        library.collection("texts").add(
            [{"text": chance.bytes(200_000).hex()} for _ in range(4)], copy=True
        )
    done = CliRunner().invoke(cli, ["--store", str(store), "backup", str(small_disk / "kept")])

    assert done.exit_code == 1
    assert "GB free: free some space or choose another disk" in str(done.exception)
    assert list(small_disk.iterdir()) == []


def test_the_command_tells_what_was_kept(store: Path, tmp_path: Path) -> None:
    target = tmp_path / "kept"
    done = CliRunner().invoke(cli, ["--store", str(store), "backup", str(target)])
    again = CliRunner().invoke(cli, ["--store", str(store), "backup", str(target)])

    assert done.exit_code == 0, done.output
    assert "63 documents" in done.output and f"{store} → {target}, checked" in done.output
    assert isinstance(again.exception, Conflict)


# --- by hand --------------------------------------------------------------------------------------


def run_sql(store: Path, *statements: str) -> list[Any]:
    connection = driver().connect(str(store / "lookalike.db"))
    try:
        found = [connection.execute(one).fetchall() for one in statements]
        connection.commit()
    finally:
        connection.close()
    return found


def set_version(store: Path, number: int) -> None:
    run_sql(store, f"UPDATE meta SET value = '{number}' WHERE key = 'schema_version'")


def version(store: Path) -> int:
    ((row,),) = run_sql(store, "SELECT value FROM meta WHERE key = 'schema_version'")
    return int(row[0])
