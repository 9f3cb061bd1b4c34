"""The embedded store: it passes the contract, and refuses what it cannot hold."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import create_engine, inspect, select, update

import lookalike
from lookalike.errors import (
    LookalikeError,
    NotAStore,
    StoreCorrupt,
    StoreTooNew,
    StoreUnwritable,
)
from lookalike.library.collection.collection import Collection
from lookalike.library.library import place_of
from lookalike.library.maintenance import back_up, compact
from lookalike.stores import schema
from lookalike.stores.base import Store, StoredSpace, stored_space
from lookalike.stores.directory import prepare
from lookalike.stores.migrations import MIGRATIONS, migrate, version_of
from lookalike.stores.sqlite.store import SqliteStore
from lookalike.testing.stores import (
    StoreContract,
    add_documents,
    assert_same,
    filled,
    set_value,
    unit,
    value_in,
    with_a_gap,
)
from lookalike.testing.stores import above as brute_above

MEGABYTE = 2**20


class TestSqliteStore(StoreContract):
    """The embedded store keeps the law of stores."""

    @pytest.fixture
    def open_store(self, tmp_path: Path) -> Callable[[], Store]:
        return lambda: SqliteStore(tmp_path / "store")

    @pytest.fixture
    def bytes_kept(self, tmp_path: Path) -> Callable[[], bytes]:
        def read() -> bytes:
            files = sorted(path for path in (tmp_path / "store").rglob("*") if path.is_file())
            return b"".join(path.read_bytes() for path in files)

        return read

    @pytest.fixture
    def lose_vectors(self, tmp_path: Path) -> Callable[[], None]:
        def cut() -> None:
            (file,) = (tmp_path / "store" / "vectors").iterdir()
            os.truncate(file, file.stat().st_size // 2)

        return cut


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return where a store is that holds a value, closed."""
    store = SqliteStore(tmp_path / "store")
    set_value(store, "old")
    store.close()
    return tmp_path / "store"


# --- places where no store can be ---------------------------------------------------------------


def test_a_directory_with_other_files_is_no_store(tmp_path: Path) -> None:
    """It is refused by name, and nothing is put into it."""
    (tmp_path / "holiday.jpg").write_bytes(b"x")

    with pytest.raises(NotAStore, match="has other files") as caught:
        SqliteStore(tmp_path)

    assert str(tmp_path) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_file_is_no_store(tmp_path: Path) -> None:
    file = tmp_path / "photos.zip"
    file.write_bytes(b"x")

    with pytest.raises(NotAStore, match=r"photos\.zip is a file"):
        SqliteStore(file)


def test_a_directory_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")

    with pytest.raises(LookalikeError, match="file/store"):
        SqliteStore(tmp_path / "file" / "store")


def test_an_empty_directory_and_one_with_settings_become_stores(tmp_path: Path) -> None:
    """Settings may be written before the store is made."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "settings").mkdir()
    (tmp_path / "settings" / "lookalike.toml").write_text("")

    for name in ("empty", "settings", "deep/down"):
        store = SqliteStore(tmp_path / name)
        assert store.check() == []
        store.close()


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs"])
@pytest.mark.parametrize("name", ["share", "my share"])
def test_a_network_file_system_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    """The message names the file system and two ways out."""
    point = str(tmp_path / name).replace(" ", "\\040")
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/vda / ext4 rw,relatime,discard 0 0\n"
        "proc /proc proc rw,relatime 0 0\n"
        f"server:/export {point} {kind} rw,vers=4.2,addr=10.0.0.7 0 0\n"
        "tmpfs /run tmpfs rw,nosuid,nodev 0 0\n"
    )

    with pytest.raises(StoreUnwritable) as caught:
        prepare(tmp_path / name / "store", mounts=mounts)

    for part in (kind, "local disk", "PostgreSQL"):
        assert part in str(caught.value)


def test_the_innermost_mount_counts(tmp_path: Path) -> None:
    """A local disk mounted inside a share is local; a share of a similar name is another place."""
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"server:/a {tmp_path} nfs4 rw 0 0\n"
        f"/dev/sdb {tmp_path}/local ext4 rw 0 0\n"
        f"server:/b {tmp_path}/local/sto nfs4 rw 0 0\n"
    )

    prepare(tmp_path / "local" / "store", mounts=mounts)

    assert (tmp_path / "local" / "store" / "vectors").is_dir()


def test_where_no_mounts_are_told_no_place_is_refused(tmp_path: Path) -> None:
    """Other systems than Linux have no such table."""
    prepare(tmp_path / "store", mounts=tmp_path / "none")

    assert (tmp_path / "store" / "vectors").is_dir()


# --- versions -----------------------------------------------------------------------------------


def test_a_store_of_a_newer_version_is_left_alone(place: Path) -> None:
    """The error names both versions and the line that helps, and the store stays as it is."""
    newer = str(schema.SCHEMA_VERSION + 3)
    store = SqliteStore(place)
    with store.write() as txn:
        txn.execute(update(schema.meta).values(value=newer))
    store.close()

    for _ in range(2):
        with pytest.raises(StoreTooNew) as caught:
            SqliteStore(place)

        for part in (newer, str(schema.SCHEMA_VERSION), "pip install --upgrade lookalike"):
            assert part in str(caught.value)


def test_migrations_are_numbered_without_gaps() -> None:
    assert list(MIGRATIONS) == list(range(1, schema.SCHEMA_VERSION + 1))


def test_an_empty_database_becomes_the_newest_version() -> None:
    """All tables of the schema are made, and migrating again changes nothing."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        assert version_of(connection) == 0

        for _ in range(2):
            migrate(connection)

            assert version_of(connection) == schema.SCHEMA_VERSION
            assert set(inspect(connection).get_table_names()) == set(schema.metadata.tables)
    engine.dispose()


def test_a_store_of_version_1_loses_only_its_lists() -> None:
    """Version 1 kept the neighbour lists in the rows; what was said and decided stays."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        MIGRATIONS[1](connection)
        for name in ("near_pks", "near_similarities"):
            connection.exec_driver_sql(f"ALTER TABLE standing ADD {name} BLOB NOT NULL DEFAULT ''")
        connection.execute(schema.meta.insert().values(key="schema_version", value="1"))
        row = {"field_pk": 1, "document_pk": 2, "label": "A", "votes": True, "revision": 3}
        connection.execute(schema.standing.insert().values(row))

        migrate(connection)

        assert version_of(connection) == schema.SCHEMA_VERSION
        known = {column["name"] for column in inspect(connection).get_columns("standing")}
        assert known == set(schema.standing.c.keys())
        (stored,) = connection.execute(select(schema.standing))
        assert (stored.label, stored.votes, stored.revision) == ("A", True, 3)
    engine.dispose()


def test_a_store_of_version_6_learns_to_list_by_reason() -> None:
    """In the order of arrival, without a look at rows of other reasons."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        MIGRATIONS[1](connection)
        connection.exec_driver_sql("DROP INDEX standing_by_reason")
        connection.execute(schema.meta.insert().values(key="schema_version", value="6"))

        migrate(connection)

        asked = "field_pk = 1 AND reason = 'rejected' AND label IS NULL AND document_pk > 5"
        query = f"SELECT document_pk FROM standing WHERE {asked} ORDER BY document_pk"
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")]
        assert len(plan) == 1
        assert "COVERING INDEX standing_by_reason" in plan[0]
    engine.dispose()


def test_a_store_of_version_2_learns_the_size_of_its_objects() -> None:
    """What a server lists and counts is there after the migration."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        for number in (1, 2):
            MIGRATIONS[number](connection)
        connection.exec_driver_sql("DROP INDEX object_by_size")
        connection.exec_driver_sql("ALTER TABLE object DROP COLUMN size_bytes")
        connection.exec_driver_sql("DROP INDEX document_by_arrival")
        connection.exec_driver_sql("ALTER TABLE document DROP COLUMN arrived_in")
        connection.execute(schema.meta.insert().values(key="schema_version", value="2"))
        columns = "bucket_pk, id, key, name, metadata, blobs, created_at"
        blobs = '[{"size_bytes": 3}, {"size_bytes": 4}]'
        connection.exec_driver_sql(
            f"INSERT INTO object ({columns}) VALUES (1, 'a', 'a', 'a', '{{}}', '{blobs}', 0)"
        )

        migrate(connection)

        assert connection.execute(select(schema.object_.c.size_bytes)).scalar_one() == 7
        names = {index["name"] for index in inspect(connection).get_indexes("object")}
        assert {"object_by_bucket", "object_by_size"} <= names
    engine.dispose()


def test_a_store_of_version_4_has_spaces_without_members() -> None:
    """Vectors that were there before spaces had members are one block, as they were."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        for number in range(1, 5):
            MIGRATIONS[number](connection)
        connection.exec_driver_sql("ALTER TABLE space DROP COLUMN members")
        connection.exec_driver_sql("DROP INDEX document_by_arrival")
        connection.exec_driver_sql("ALTER TABLE document DROP COLUMN arrived_in")
        connection.execute(schema.meta.insert().values(key="schema_version", value="4"))
        columns = "collection_pk, name, dimension, generation, next_slot"
        connection.exec_driver_sql(f"INSERT INTO space ({columns}) VALUES (1, 'a', 3, 0, 7)")

        migrate(connection)

        (space,) = connection.execute(select(schema.space)).all()
        assert stored_space(space) == StoredSpace(space.pk, "a", 3, 0, members=())
        indexes = {index["name"] for index in inspect(connection).get_indexes("document")}
        assert "document_by_arrival" in indexes
    engine.dispose()


def test_several_may_make_the_same_store_at_once(tmp_path: Path) -> None:
    """Whoever comes second finds it made."""
    with ThreadPoolExecutor(4) as threads:
        stores = list(threads.map(SqliteStore, [tmp_path / "store"] * 4))

    for number, store in enumerate(stores):
        set_value(store, str(number))
    with stores[0].read() as snapshot:
        assert value_in(snapshot) == "3"
    for store in stores:
        store.close()


@pytest.mark.parametrize("early", ["lookalike.db-journal", "lookalike.db-wal", "write.lock"])
def test_a_store_that_another_process_is_making_is_no_foreign_directory(
    tmp_path: Path, early: str
) -> None:
    """SQLite may write beside the database before the database is there."""
    (tmp_path / early).touch()

    prepare(tmp_path)

    assert (tmp_path / "vectors").is_dir()


# --- read-only ----------------------------------------------------------------------------------

OPEN_AND_WRITE = """
import os, sys
from pathlib import Path
from lookalike.errors import StoreUnwritable
from lookalike.stores.sqlite.store import SqliteStore
from lookalike.stores.sqlite.engine import driver
from lookalike.testing.stores import set_value
driver()
if os.geteuid() == 0:  # root may write everywhere; what is imported by now stays
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    set_value(SqliteStore(Path(sys.argv[1])), "new")
except StoreUnwritable as error:
    print("refused:", error)
"""


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """Return a directory that every user may enter, unlike those that pytest makes."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)
        for path in [Path(name), *Path(name).rglob("*")]:
            path.chmod(0o755)


@pytest.mark.parametrize("writable", ["nothing", "the directory", "the database only"])
def test_a_store_that_may_not_be_written_says_so(open_to_all: Path, writable: str) -> None:
    """As an ordinary user, whichever part is read-only: an error with the place and the cure."""
    place = open_to_all / "store"
    SqliteStore(place).close()
    for path in [*place.rglob("*"), place]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    if writable == "the directory":
        place.chmod(0o777)
    elif writable == "the database only":
        (place / "lookalike.db").chmod(0o666)

    script = [sys.executable, "-c", OPEN_AND_WRITE, str(place)]
    ran = subprocess.run(script, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("refused:")
    assert str(place) in ran.stdout
    assert "writable" in ran.stdout


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a disk of 80 megabytes of our own, where the user may mount one."""
    point = tmp_path / "disk"
    point.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(point)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk; the test with a file limit runs everywhere")
    yield point
    subprocess.run(["umount", "--lazy", str(point)], check=True)


def test_a_store_on_a_read_only_disk_says_so(disk: Path) -> None:
    """Opening it is refused, with the place and the cure."""
    store = SqliteStore(disk / "store")
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

    with pytest.raises(StoreUnwritable, match="make it writable"):
        SqliteStore(disk / "store")


# --- full ---------------------------------------------------------------------------------------


def fill(disk: Path, *, leaving: int) -> Path:
    """Fill a disk up to some bytes; return the file that does it."""
    filler = disk / "filler"
    free = shutil.disk_usage(disk).free
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free - leaving))
    return filler


def things(library: lookalike.Library) -> Collection:
    return library.labeler(
        "things", extractor="passthrough", dimension=64, confidence_threshold=0.3
    )


def test_a_full_disk_loses_nothing(disk: Path) -> None:
    """Wherever in a write the space ends: the write is there whole, or refused and not at all.

    Afterwards, with the space freed, everything goes on.
    """
    expected: dict[str, str | None] = {}
    refused = 0
    with lookalike.open(disk / "store", actor="ann") as library:
        collection = things(library)
        for attempt, leaving in enumerate(range(0, 320 * 1024, 12 * 1024)):
            ids = [f"{attempt}-{number}" for number in range(100)]
            vectors = np.random.default_rng(attempt).standard_normal((100, 64))
            filler = fill(disk, leaving=leaving)
            try:
                collection.add(vectors=vectors, ids=ids)
                expected |= dict.fromkeys(ids)
                collection.label({ids[0]: "A"})
                expected[ids[0]] = "A"
            except StoreUnwritable as error:
                assert "free some space" in str(error)
                refused += 1
            filler.unlink()

            human = {d.id: d.label if d.origin == "human" else None for d in collection.documents()}
            assert human == expected
            assert library.check() == []

        assert 3 < refused < attempt
        collection.add(vectors=np.eye(64), ids=[f"last {number}" for number in range(64)])
        assert collection.run().by_itself == 0
        assert len(collection) == len(expected) + 64


def test_a_commit_that_fits_is_kept_where_folding_the_log_does_not(disk: Path) -> None:
    """The log is safe as it is: that it cannot be folded in yet is no error of the write."""
    store = SqliteStore(disk / "store")
    filler = fill(disk, leaving=24 * MEGABYTE)

    set_value(store, "x" * 18 * MEGABYTE)

    with store.read() as snapshot:
        assert value_in(snapshot) == "x" * 18 * MEGABYTE
    filler.unlink()
    set_value(store, "y")
    assert (disk / "store" / "lookalike.db").stat().st_size > 18 * MEGABYTE
    assert store.check() == []
    store.close()


def test_a_compaction_without_room_leaves_all_as_it_is(disk: Path) -> None:
    vectors = np.random.default_rng(1).normal(size=(20_000, 64))
    ids = [f"d{number}" for number in range(len(vectors))]
    with lookalike.open(disk / "store", actor="ann") as library:
        collection = things(library)
        collection.add(vectors=vectors, ids=ids)
        collection.label({ids[0]: "a", ids[1]: "b"})
        collection.forget(ids[10:8000])
        before = [(one.id, one.label, one.confidence) for one in collection.documents()]

        refused, leaving, done = 0, MEGABYTE // 2, None
        while done is None:
            filler = fill(disk, leaving=leaving)
            try:
                done = compact(library.runtime)
            except StoreUnwritable as error:
                assert "free some space" in str(error)
                refused, leaving = refused + 1, leaving + MEGABYTE
            filler.unlink()
            now = [(one.id, one.label, one.confidence) for one in collection.documents()]
            assert now == before
            assert library.check() == []

        assert refused > 3
        assert done.bytes_after < done.bytes_before
        assert collection.run().by_itself == 0
        assert len(list((disk / "store" / "vectors").iterdir())) == 1


LIMITED = """
import resource, signal, sys
from pathlib import Path
from lookalike.errors import StoreUnwritable
from lookalike.stores.sqlite.store import SqliteStore
from lookalike.testing.stores import filled, set_value, unit
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = SqliteStore(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
for write in (lambda: set_value(store, "x" * 2**20), lambda: filled(store, unit(50_000))):
    try:
        write()
    except StoreUnwritable as error:
        print("refused:", error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(store.check())
set_value(store, "works")
"""


def test_files_that_may_not_grow_are_refused_too(place: Path) -> None:
    """A limit of the system acts as a full disk does, for the database and for the vectors."""
    limited = [sys.executable, "-c", LIMITED, str(place)]
    ran = subprocess.run(limited, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr
    assert [line[:8] for line in ran.stdout.splitlines()] == ["refused:", "refused:", "[]"]
    store = SqliteStore(place)
    with store.read() as snapshot:
        assert value_in(snapshot) == "works"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    store.close()


# --- damaged ------------------------------------------------------------------------------------


def test_what_is_no_database_is_reported_as_damage(place: Path) -> None:
    """The error names the file and says to restore it."""
    (place / "lookalike.db").write_bytes(b"This is a shopping list.\n" * 500)

    with pytest.raises(StoreCorrupt, match="restore it from a backup") as caught:
        SqliteStore(place)

    assert str(place) in str(caught.value)


def test_damage_inside_the_database_is_found_by_check(place: Path) -> None:
    """Pages of rubbish: `check` tells of them; reading them is a StoreCorrupt, not a crash."""
    store = SqliteStore(place)
    filled(store, unit(2000))
    store.close()
    file = place / "lookalike.db"
    data = bytearray(file.read_bytes())
    for start in range(len(data) // 8192 * 4096, len(data), 4096):
        data[start : start + 1000] = b"\xa5" * 1000
    file.write_bytes(data)
    store = SqliteStore(place)

    problems = store.check()

    assert problems
    assert all("database" in problem for problem in problems)
    with (
        pytest.raises(StoreCorrupt, match="restore it from a backup"),
        store.read() as snapshot,
    ):
        snapshot.rows(select(schema.document))
    store.close()


def test_vectors_without_their_database_are_not_written_over(place: Path) -> None:
    """A lost database is reported; a new one would take the vectors for leftovers."""
    store = SqliteStore(place)
    filled(store, unit(5))
    store.close()
    (place / "lookalike.db").unlink()

    with pytest.raises(StoreCorrupt, match=r"no lookalike\.db"):
        SqliteStore(place)

    assert not (place / "lookalike.db").exists()


def test_reading_lost_vectors_is_an_error_that_names_the_file(place: Path) -> None:
    """Also where the file was in use before it was cut."""
    store = SqliteStore(place)
    space, pks, vectors = filled(store, unit(100, seed=3))
    with store.read() as snapshot:
        snapshot.above(space, vectors[0], 0.5)

        os.truncate(place / "vectors" / f"{space.pk}.0.f16", 1000)

        with pytest.raises(StoreCorrupt, match=rf"{space.pk}\.0\.f16 has 31 vectors"):
            snapshot.vectors(space, pks)
        with pytest.raises(StoreCorrupt, match="restore the file from a backup"):
            snapshot.above(space, vectors[0], 0.5)
    store.close()


# --- derived ------------------------------------------------------------------------------------


def test_the_cache_may_be_deleted_at_any_time(place: Path) -> None:
    """Before a search, between two, before an append, by another process: nothing is lost."""
    store, other = SqliteStore(place), SqliteStore(place)
    space, pks, vectors = filled(store, unit(30))
    for step in range(12):
        if step % 3:
            shutil.rmtree(place / "cache", ignore_errors=True)
        if step % 2:
            with (store, other)[step % 4 == 1].write() as txn:
                more = unit(4, seed=step)
                pks = np.append(pks, add_documents(txn, space, more))
                vectors = np.concatenate([vectors, more])

        for reader in (store, other):
            with reader.read() as snapshot:
                for query in vectors[[0, -1]]:
                    expected = brute_above(vectors, pks, query, 0.1)
                    assert_same(snapshot.above(space, query, 0.1), expected)
    assert store.check() == []
    store.close()
    other.close()


def test_decisions_do_not_depend_on_the_cache(tmp_path: Path) -> None:
    """Labels are decided the same with the cache deleted before each of them."""
    vectors = np.random.default_rng(0).standard_normal((200, 64))
    vectors[50:] = vectors[:50].repeat(3, axis=0) + 0.8 * vectors[50:]
    rows = []
    for name in ("kept", "deleted"):
        with lookalike.open(tmp_path / name, actor="ann") as library:
            collection = things(library)
            for start in range(0, 200, 50):
                part = range(start, start + 50)
                collection.add(vectors=vectors[part], ids=[str(number) for number in part])
                for number in part[:3]:
                    if name == "deleted":
                        shutil.rmtree(tmp_path / name / "cache")
                    collection.label({str(number): f"Kind {number}"})
            rows.append(list(collection.rows()))
            assert collection.run().by_itself == 0

    assert rows[0] == rows[1]
    assert sum(row["label_source"] == "auto" for row in rows[0]) > 20


# --- long readers -------------------------------------------------------------------------------


def test_what_is_erased_under_a_reader_goes_when_the_reader_has_gone(place: Path) -> None:
    """Tidying does not wait for ever for one who reads; the next write ends the work."""
    store = SqliteStore(place)
    log = place / "lookalike.db-wal"
    set_value(store, "a secret name")
    with store.read() as snapshot:
        set_value(store, "nothing")
        started = time.monotonic()
        store.tidy()
        took_s = time.monotonic() - started
        assert value_in(snapshot) == "a secret name"
        assert b"a secret name" in log.read_bytes()

    set_value(store, "anything")

    assert took_s < 10
    assert log.read_bytes() == b""
    assert b"a secret name" not in (place / "lookalike.db").read_bytes()
    store.close()


def test_what_was_packed_under_a_reader_goes_when_the_reader_has_gone(place: Path) -> None:
    """With what was erased since, of which the old file still holds the vectors."""
    store = SqliteStore(place)
    vectors = unit(40, seed=2)
    space, pks = with_a_gap(store, vectors, slice(10))
    with store.read() as reader:
        assert len(reader.slots(space)[0]) == 30
        store.compact(lambda *_: None)
        with store.write() as txn:
            txn.erase_vectors(space, pks[10:12])
        assert len(list((place / "vectors").iterdir())) == 2

    set_value(store, "anything")

    (file,) = (place / "vectors").iterdir()
    assert vectors[10].tobytes() not in file.read_bytes()
    assert vectors[12].tobytes() in file.read_bytes()
    assert store.check() == []
    store.close()


def test_a_long_reader_does_not_hold_up_writers(place: Path) -> None:
    """The log is folded in when the reader has left, not while writers wait for it."""
    store = SqliteStore(place)
    log = place / "lookalike.db-wal"
    with store.read() as snapshot:
        started = time.monotonic()
        for letter in "abc":
            set_value(store, letter * 12 * MEGABYTE)
        took_s = time.monotonic() - started
        assert value_in(snapshot) == "old"

    assert log.stat().st_size > 16 * MEGABYTE
    assert took_s < 15
    set_value(store, "y")
    assert log.stat().st_size < MEGABYTE
    store.close()


def test_a_log_of_the_usual_length_is_folded_in_and_written_over(place: Path) -> None:
    store = SqliteStore(place)
    log, database = place / "lookalike.db-wal", place / "lookalike.db"

    sizes = []
    for letter in "abcdef":
        set_value(store, letter * 9 * MEGABYTE)
        sizes.append(log.stat().st_size // MEGABYTE)

    assert sizes[0] in (9, 10) and set(sizes[1:]) == {sizes[1]} <= {18, 19, 20}, sizes
    assert database.stat().st_size > 9 * MEGABYTE
    with store.read() as snapshot:
        assert value_in(snapshot) == "f" * 9 * MEGABYTE
    store.close()
    reopened = SqliteStore(place)
    assert reopened.check() == []
    with reopened.read() as snapshot:
        assert value_in(snapshot) == "f" * 9 * MEGABYTE
    reopened.close()


def test_a_log_much_longer_than_usual_does_not_stay(place: Path) -> None:
    store = SqliteStore(place)

    set_value(store, "a" * 36 * MEGABYTE)

    assert (place / "lookalike.db-wal").stat().st_size == 0
    assert (place / "lookalike.db").stat().st_size > 36 * MEGABYTE
    store.close()


@pytest.mark.parametrize("name", ["100%", "a%20b", "a?mode=ro", "a#b", "ä b", "file:x"])
def test_a_store_may_have_any_path(tmp_path: Path, name: str) -> None:
    place = tmp_path / name / "store"
    with lookalike.open(place) as library:
        library.labeler("texts", extractor="text").add([{"text": "a letter"}])
    back_up(place_of(place), tmp_path / name / "copy")
    with lookalike.open(place) as library:
        assert len(library.collection("texts").ids()) == 1
    assert (place / "lookalike.db").exists()
