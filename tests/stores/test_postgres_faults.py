"""What goes wrong with a database is said with its cure, and never with a password."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy import select

import lookalike
from databases import LOCKED, database, in_database, prepared, server
from lookalike.cli.group import cli
from lookalike.errors import (
    BadInput,
    BadSetting,
    LookalikeError,
    NotAStore,
    StoreClosed,
    StoreCorrupt,
    StoreTooNew,
    StoreUnreachable,
    StoreUnwritable,
)
from lookalike.stores import schema
from lookalike.stores.open import StoreAddress
from lookalike.stores.postgres.engine import address_of
from lookalike.stores.postgres.store import PostgresStore
from lookalike.testing.stores import filled, set_value, unit, value_in

PASSWORD = "tell-nobody"
POOR = "lookalike_poor"


@pytest.fixture(autouse=True)
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what is derived below `tmp_path`; there is no place for uploads."""
    monkeypatch.setenv("LOOKALIKE_CACHE", str(tmp_path / "derived"))
    monkeypatch.delenv("LOOKALIKE_BLOBS", raising=False)


@pytest.fixture
def url() -> Iterator[str]:
    with database(template=prepared()) as made:
        yield made


@pytest.fixture
def store(url: str, tmp_path: Path) -> Iterator[PostgresStore]:
    store = PostgresStore(address_of(url), tmp_path)
    yield store
    store.close()


@pytest.fixture
def role() -> Iterator[Callable[[str], None]]:
    """Return what makes a user with a password and no rights."""
    made = []

    def make(name: str) -> None:
        run(f"DROP ROLE IF EXISTS {name}", f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
        made.append(name)

    yield make
    for name in made:
        run(f"DROP ROLE {name}")


def run(*statements: str, url: str = "") -> None:
    with psycopg.connect(url or server(), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def as_user(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    host = f"{parts.hostname}:{parts.port or 5432}" if parts.hostname else ""
    return parts._replace(netloc=f"{user}:{password}@{host}").geturl()


def refused(url: str, kind: type[LookalikeError]) -> str:
    """Return what opening says, which has no password in it."""
    with pytest.raises(kind) as caught:
        lookalike.open(url)
    said = (
        f"{caught.value} {caught.value!r} {StoreAddress(url)}"
        if "@" not in url
        else str(caught.value)
    )
    assert PASSWORD not in said
    return str(caught.value)


class TestAddresses:
    """What cannot be reached, or not be read."""

    @pytest.mark.parametrize(
        "address",
        [
            f"postgresql://ann:{PASSWORD}@x@host/db",
            f"postgresql://ann:{PASSWORD}%zz@host/db",
            f"postgresql://ann:a/{PASSWORD}@host:x/db",
            f"postgresql://ann:{PASSWORD}@host/db?schema=a;b",
            f"postgresql://ann:{PASSWORD}@host/db?nonsense=1",
        ],
    )
    def test_an_address_that_cannot_be_read_is_not_shown(self, address: str) -> None:
        assert "%40" in refused(address, BadSetting)

    def test_another_kind_of_database_is_refused(self) -> None:
        said = refused(f"mysql://ann:{PASSWORD}@host/db", BadSetting)

        assert "postgresql://USER@HOST/NAME" in said

    def test_a_server_that_is_not_there(self) -> None:
        said = refused(f"postgresql://ann:{PASSWORD}@127.0.0.1:9/db", StoreUnreachable)

        assert said.startswith("postgresql://ann@127.0.0.1:9/db: ")
        assert "when the server is up" in said

    def test_a_database_that_is_not_there(self) -> None:
        assert "createdb" in refused(in_database("nothing_is_here"), NotAStore)

    def test_a_wrong_password(self, url: str, role: Callable[[str], None]) -> None:
        role(LOCKED)

        said = refused(as_user(url, LOCKED, f"{PASSWORD}-not"), StoreUnreachable)

        assert "check user and password" in said

    def test_the_command_line_does_not_make_a_store_for_a_question(self) -> None:
        with database() as empty:
            done = CliRunner().invoke(cli, ["--store", empty, "report", "goods"])

            assert isinstance(done.exception, NotAStore)
            assert StoreAddress(empty).is_there() is False

    def test_without_the_driver_the_extra_is_named(self) -> None:
        code = "import sys; sys.modules['psycopg'] = None\nimport lookalike\n"
        code += "lookalike.open('postgresql://ann@host/db')"

        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

        assert "pip install 'lookalike[postgres]'" in done.stderr


class TestRights:
    """What a user may not do, an administrator is told to do."""

    def test_no_right_to_make_tables(self, role: Callable[[str], None]) -> None:
        role(POOR)
        with database() as empty:
            run("CREATE EXTENSION vector", url=empty)

            said = refused(as_user(empty, POOR, PASSWORD), StoreUnwritable)

            assert f"CREATE SCHEMA lookalike AUTHORIZATION {POOR}" in said
            run(f"CREATE SCHEMA lookalike AUTHORIZATION {POOR}", url=empty)
            with lookalike.open(as_user(empty, POOR, PASSWORD)) as library:
                library.create_bucket("goods")
                assert PASSWORD not in f"{library.place} {library.runtime.store!r}"
            run(f"DROP OWNED BY {POOR}", url=empty)

    def test_no_right_to_make_the_extension(self, role: Callable[[str], None]) -> None:
        role(POOR)
        with database() as empty:
            said = refused(as_user(empty, POOR, PASSWORD), StoreUnwritable)

            assert "CREATE EXTENSION vector" in said

    def test_tables_of_someone_else(self, url: str, role: Callable[[str], None]) -> None:
        role(POOR)
        run(f"GRANT USAGE, CREATE ON SCHEMA lookalike TO {POOR}", url=url)

        said = refused(as_user(url, POOR, PASSWORD), StoreUnwritable)

        assert "use the user who created the store" in said
        run(f"DROP OWNED BY {POOR}", url=url)


class TestVersions:
    """A store of another version."""

    def test_a_newer_one_is_refused(self, url: str) -> None:
        run("UPDATE lookalike.meta SET value = '99' WHERE key = 'schema_version'", url=url)

        assert "pip install --upgrade lookalike" in refused(url, StoreTooNew)

    def test_one_that_another_makes_newer_meanwhile_is_not_written_any_more(
        self, store: PostgresStore, url: str
    ) -> None:
        """A newer program has brought it there; what is there can be read on."""
        set_value(store, "before")
        run("UPDATE lookalike.meta SET value = '99' WHERE key = 'schema_version'", url=url)

        with pytest.raises(StoreTooNew, match="on every machine"):
            set_value(store, "after")
        with pytest.raises(StoreTooNew), store.claim():
            pass
        with store.read() as snapshot:
            assert value_in(snapshot) == "before"

    def test_an_older_one_is_brought_to_this_one(self, url: str, tmp_path: Path) -> None:
        run("UPDATE lookalike.meta SET value = '5' WHERE key = 'schema_version'", url=url)

        store = PostgresStore(address_of(url), tmp_path)

        with store.read() as snapshot:
            (row,) = snapshot.rows(
                select(schema.meta.c.value).where(schema.meta.c.key == "schema_version")
            )
        store.close()
        assert int(row.value) == schema.SCHEMA_VERSION

    def test_a_table_that_is_gone(self, store: PostgresStore, url: str) -> None:
        run("DROP TABLE lookalike.resource", url=url)

        with pytest.raises(StoreCorrupt, match="backup"), store.read() as snapshot:
            snapshot.rows(select(schema.resource))


class TestMeanwhile:
    """What happens to a store that is open."""

    def test_the_database_goes_and_comes_back(self, store: PostgresStore, url: str) -> None:
        """What was being written is not kept, what was acknowledged is; then all goes on."""
        set_value(store, "before")
        name = urlsplit(url).path[1:]
        end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"

        lost = pytest.raises(StoreUnreachable, match="nothing acknowledged is lost")
        with lost, store.write() as txn:
            txn.upsert(schema.meta, [{"key": "test", "value": "after"}])
            run(end)
            txn.upsert(schema.meta, [{"key": "test", "value": "later"}])
        run(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false', end)
        with pytest.raises(StoreUnreachable), store.read():
            pass
        run(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')

        with store.read() as snapshot:
            assert value_in(snapshot) == "before"
        set_value(store, "again")

    def test_a_closed_store_says_so(self, store: PostgresStore) -> None:
        store.close()

        with pytest.raises(StoreClosed, match="open it again"), store.read():
            pass

    @pytest.mark.parametrize("text", ["a\0b", "\ud800"])
    def test_what_is_no_text_to_the_database_is_refused(
        self, store: PostgresStore, text: str
    ) -> None:
        values: dict[str, Any] = {"namespace": "n", "kind": "bucket", "created_at": 1.0}

        for name, spec in ((text, {}), ("fine", {"a": text})):
            with pytest.raises(BadInput, match="PostgreSQL cannot store"), store.write() as txn:
                txn.insert(schema.resource, [{**values, "name": name, "spec": spec}])
        with store.write() as txn:
            txn.insert(schema.resource, [{**values, "name": "\\u0000", "spec": {"a": "\\u0000"}}])

    def test_without_a_place_for_uploads_only_small_ones_are_kept(self, url: str) -> None:
        with lookalike.open(url) as library:
            notes = library.labeler("notes", extractor="text")
            assert notes.add([{"text": "a few words"}], copy=True).added == 1
            with pytest.raises(BadSetting, match="LOOKALIKE_BLOBS"):
                library.runtime.blobs.keep(bytes(10_000))


class TestCopiesOnDisk:
    """The vectors on the local disk follow from the database, whatever happens to them."""

    def test_they_may_be_deleted_at_any_time(self, store: PostgresStore) -> None:
        space, pks, vectors = filled(store, unit(40))
        for _ in range(2):
            with store.read() as snapshot:
                floors = np.full(40, -2, np.float32)
                assert len(snapshot.above_floors(space, vectors[0], floors)[0]) == 40
            for file in (*store.root.glob("vectors/*"), *store.root.glob("cache/*")):
                file.unlink()

        with store.read() as snapshot:
            assert np.array_equal(snapshot.vectors(space, pks), vectors)

    def test_those_of_another_past_are_not_trusted(self, url: str, tmp_path: Path) -> None:
        """A database that was put back to an older state has other vectors in the same slots."""
        store = PostgresStore(address_of(url), tmp_path)
        space, pks, _ = filled(store, unit(40))
        search(store, space, 40)
        with store.write() as txn:
            txn.erase_vectors(space, pks)
            txn.execute(schema.space.update().values(next_slot=0))
            txn.append_vectors(space, pks, unit(40, seed=3))
        store.close()

        again = PostgresStore(address_of(url), tmp_path)

        search(again, space, 40)
        with again.read() as snapshot:
            assert np.array_equal(snapshot.vectors(space, pks), unit(40, seed=3))
        again.close()

    def test_what_another_server_erases_goes_from_this_disk(
        self, store: PostgresStore, url: str, tmp_path: Path
    ) -> None:
        other = PostgresStore(address_of(url), tmp_path / "other")
        space, pks, vectors = filled(store, unit(40))
        search(other, space, 40)
        assert vectors[7].tobytes() in kept(other)

        with store.write() as txn:
            txn.erase_vectors(space, pks[7:8])
        search(other, space, 40)

        assert vectors[7].tobytes() not in kept(other)
        assert vectors[8].tobytes() in kept(other)
        other.close()

    def test_an_older_snapshot_still_finds_what_was_erased_since(
        self, store: PostgresStore
    ) -> None:
        space, pks, vectors = filled(store, unit(40))
        with store.read() as older:
            with store.write() as txn:
                txn.erase_vectors(space, pks[3:5])
            search(store, space, 40)

            floors = np.full(40, 0.99, np.float32)
            assert older.above_floors(space, vectors[3], floors)[0].tolist() == [3]
            assert np.array_equal(older.vectors(space, pks), vectors)


def search(store: PostgresStore, space: Any, count: int) -> None:
    """Let all vectors of a space come to the local disk."""
    with store.read() as snapshot:
        floors = np.full(count, np.inf, np.float32)
        snapshot.above_floors(space, unit(1)[0], floors)


def kept(store: PostgresStore) -> bytes:
    return b"".join(path.read_bytes() for path in store.root.rglob("*") if path.is_file())
