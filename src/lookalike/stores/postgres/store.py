"""The shared store: PostgreSQL with pgvector, for several servers and workers.

The tables are those of the embedded store; the table `vector` replaces its vector files. Search is
exact and reads a copy of the vectors on the local disk (`vectors.py`), which is derived from the
table.

```
ROOT/vectors/  ROOT/cache/    derived: may be deleted at any time
```
Only one writer of all processes runs at a time, by an advisory lock; pks and slots are given under
this lock, too, so they rise with the commits. Each commit is reported to all followers.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    Connection,
    Table,
    column,
    delete,
    select,
    table,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.sql.dml import UpdateBase
from ulid import ULID

from lookalike.classifier.graph.search import Ids
from lookalike.errors import StoreClosed
from lookalike.stores import schema
from lookalike.stores.base import Cells, Compaction, StoredSpace, cells_of, conditions, stored_space
from lookalike.stores.directory import erase_vectors_but
from lookalike.stores.json_sql import FUNCTIONS
from lookalike.stores.locks import FairLock
from lookalike.stores.migrations import check_current, migrate, version_of
from lookalike.stores.postgres.engine import (
    Address,
    connection_to,
    open_engine,
    prepare,
    settle_collation,
    translated,
)
from lookalike.stores.postgres.listen import Follower, Listener
from lookalike.stores.postgres.snapshot import (
    ERASURES,
    PostgresSnapshot,
    copy_vectors_in,
    insert_rows,
    sequence_of,
    update_rows,
    upsert_rows,
)
from lookalike.stores.vectors import Mirrors, inconsistencies

_IDENTITY = "store_id"
_NUMBERS = "SELECT oid, 'meta'::regclass::oid FROM pg_database WHERE datname = current_database()"
_TABLES = ("vector", *schema.metadata.tables)
_VECTOR = table("vector", column("space_pk"), column("slot"))
_VECTOR_TABLE = (
    "CREATE TABLE IF NOT EXISTS vector (space_pk bigint, slot bigint, vector halfvec NOT NULL, "
    "PRIMARY KEY (space_pk, slot))",
    "ALTER TABLE vector ALTER COLUMN vector SET STORAGE MAIN",
)


class PostgresStore:
    """A store in the database at `address`, created if there is none.

    Derived data is below `caches`, in the store's own directory `root`. Raises StoreUnreachable,
    NotAStore, StoreTooOld, StoreTooNew or StoreUnwritable, each with a remedy. Thread-safe, with
    fair order among writers; do not use it after a fork.
    """

    def __init__(self, address: Address, caches: Path) -> None:
        self.address = address
        self._write_lock = FairLock()
        self._closed = False
        digest = hashlib.sha256(f"lookalike {address.schema}".encode()).digest()
        self._lock_key = int.from_bytes(digest[:8], "big", signed=True)
        self._channel = f"lookalike_{digest[:8].hex()}"
        self._listener = Listener(lambda: connection_to(address, autocommit=True), self._channel)
        prepare(address)
        self._engine = open_engine(address)
        self._finalizer = weakref.finalize(self, self._engine.dispose)
        try:
            self.root = caches / self._migrated()
        except BaseException:
            self._finalizer()
            raise
        for folder in ("vectors", "cache"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        self._mirrors = Mirrors(self.root)

    @property
    def place(self) -> str:
        """Return the address of the store, without a password."""
        return self.address.shown

    def close(self) -> None:
        """Release connections after a running write. May be called twice."""
        with self._write_lock.taken(first=True):
            self._closed = True
            self._listener.close()
            self._finalizer()

    @contextmanager
    def read(self) -> Iterator[PostgresSnapshot]:
        """Begin a snapshot. It stays valid if the store is closed meanwhile.

        It writes nothing, but the transaction is not read-only, which would forbid overlays.
        """
        self._check_open()
        with (
            translated(self.address),
            self._engine.connect().execution_options(
                isolation_level="REPEATABLE READ"
            ) as connection,
        ):
            connection.exec_driver_sql("SELECT 1")  # BEGIN alone takes no snapshot
            driver: Any = connection.connection.driver_connection
            threshold = driver.prepare_threshold
            try:
                yield PostgresSnapshot(connection, self._mirrors)
            finally:
                driver.prepare_threshold = threshold

    @contextmanager
    def write(self) -> Iterator[PostgresTxn]:
        """Begin a transaction; only one writer of all processes runs at a time."""
        with self._write_lock.taken():
            self._check_open()
            with translated(self.address), self._engine.connect() as connection:
                with connection.begin():
                    self._take_lock(connection)
                    check_current(connection)
                    txn = PostgresTxn(connection, self._mirrors)
                    yield txn
                for space, slots in txn.erased:
                    self._mirrors.of(space).erase(slots)

    @contextmanager
    def claim(self) -> Iterator[PostgresTxn]:
        """Begin a transaction that changes only who holds work; no write lock, no notification."""
        self._check_open()
        with translated(self.address), self._engine.begin() as connection:
            check_current(connection)
            yield PostgresTxn(connection, self._mirrors)

    def follow(self, notify: Callable[[], None]) -> Follower:
        """Call `notify`, in another thread, whenever any process may have committed."""
        self._check_open()
        return self._listener.follow(notify)

    def tidy(self) -> None:
        """Erase vectors without a document, in the database and in the local copy.

        PostgreSQL overwrites the bytes of erased rows when it reuses the space; VACUUM FULL at
        once.
        """
        self._erase_unheld()
        self._vacuum("ANALYZE, SKIP_LOCKED")

    def _erase_unheld(self) -> None:
        with self.write() as txn:
            gone = "NOT EXISTS (SELECT 1 FROM embedding e WHERE e.space_pk = v.space_pk "
            txn.connection.exec_driver_sql(f"DELETE FROM vector v WHERE {gone}AND e.slot = v.slot)")
        with self.read() as snapshot:
            spaces = [stored_space(row) for row in snapshot.rows(select(schema.space))]
            erase_vectors_but(self.root, {f"{one.pk}.{one.generation}" for one in spaces})
            for space in spaces:
                self._mirrors.of(space).erase_but(snapshot.slots(space)[0], snapshot.count(space))

    def compact(self, progress: Callable[[int, int], None]) -> Compaction:
        """Rewrite the database's tables (VACUUM FULL), except those in use at the moment.

        Slots stay the same: free slots use no space in a table.
        """
        before = self._bytes()
        self._erase_unheld()
        with self._write_lock.taken():
            self._vacuum("FULL, ANALYZE, SKIP_LOCKED", progress)
        return Compaction((), before, self._bytes())

    def _vacuum(self, options: str, progress: Callable[[int, int], None] = lambda *_: None) -> None:
        with translated(self.address), self._engine.connect() as connection:
            free = connection.execution_options(isolation_level="AUTOCOMMIT")
            for done, name in enumerate(_TABLES, 1):
                free.exec_driver_sql(f'VACUUM ({options}) "{name}"')
                progress(done, len(_TABLES))

    def _bytes(self) -> int:
        names = ", ".join(f"'\"{name}\"'" for name in _TABLES)
        query = f"SELECT sum(pg_total_relation_size(one::regclass)) FROM unnest(ARRAY[{names}]) one"
        with self.read() as snapshot:
            return int(snapshot.connection.exec_driver_sql(query).scalar_one())

    def last_numbers(self) -> dict[str, int]:
        """Return the last pk that each numbered table gave, 0 if none."""
        query = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM"
        with self.read() as snapshot:
            run = snapshot.connection.exec_driver_sql
            return {
                one.name: run(f"{query} {sequence_of(one)}").scalar_one()
                for one in schema.numbered()
            }

    def engine_version(self) -> str:
        """Return the version of PostgreSQL."""
        with self.read() as snapshot:
            return str(snapshot.connection.exec_driver_sql("SHOW server_version").scalar_one())

    def check(self) -> list[str]:
        """Return the inconsistencies of the store; empty if there are none."""
        with self.read() as snapshot:
            known = {row.pk for row in snapshot.rows(select(schema.document.c.pk))}
            spaces = [stored_space(row) for row in snapshot.rows(select(schema.space))]
            return [
                f"space {space.name}: {problem}"
                for space in spaces
                for problem in inconsistencies(
                    *snapshot.slots(space), snapshot.count(space), known, snapshot.fetch(space)
                )
            ]

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed(f"{self.place}: the store is closed; open it again")

    def _migrated(self) -> str:
        """Migrate the tables to this version; return the store's identity.

        No other store has the same identity, not even one restored from a backup of this one.
        """
        with translated(self.address), self._engine.begin() as connection:
            if version_of(connection) != schema.SCHEMA_VERSION:
                self._take_lock(connection)
                migrate(connection)
                for statement in (*_VECTOR_TABLE, *FUNCTIONS):
                    connection.exec_driver_sql(statement)
                settle_collation(connection)
                made = postgres_insert(schema.meta).values(key=_IDENTITY, value=str(ULID()).lower())
                connection.execute(made.on_conflict_do_nothing())
            named = select(schema.meta.c.value).where(schema.meta.c.key == _IDENTITY)
            numbers = connection.exec_driver_sql(_NUMBERS).one()
            return ".".join(map(str, (connection.execute(named).scalar_one(), *numbers)))

    def _take_lock(self, connection: Connection) -> None:
        """Wait for the write lock, held until the commit; the commit notifies all followers."""
        lock = text("SELECT pg_advisory_xact_lock(:key), pg_notify(:channel, '')")
        connection.execute(lock, {"key": self._lock_key, "channel": self._channel})


class PostgresTxn(PostgresSnapshot):
    """One atomic unit of writing in the shared store; `erased` slots are erased in copies, too."""

    def __init__(self, connection: Connection, mirrors: Mirrors) -> None:
        super().__init__(connection, mirrors)
        self.erased: list[tuple[StoredSpace, Ids]] = []

    def execute(self, statement: UpdateBase) -> int:
        """Run an update or delete; return the number of changed rows."""
        return self.connection.execute(statement).rowcount

    def insert(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert many rows; an existing primary key is an error."""
        self.insert_cells(table, cells_of(rows))

    def insert_cells(self, table: Table, cells: Cells) -> None:
        """Insert like `insert`, from columns."""
        insert_rows(self.connection, table, cells)

    def insert_one(self, table: Table, **values: Any) -> int:
        """Insert one row and return its pk."""
        key = self.connection.execute(table.insert(), values).inserted_primary_key
        return int(key[0]) if key is not None else 0

    def insert_returning(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """Insert many rows of a numbered table; return their pks, rising, in the same order."""
        if not rows:
            return []
        (column,) = table.primary_key
        query = text("SELECT nextval(:name) FROM generate_series(1, :count)")
        parameters = {"name": sequence_of(table), "count": len(rows)}
        pks = sorted(self.connection.execute(query, parameters).scalars().all())
        insert_rows(self.connection, table, {column.name: pks, **cells_of(rows)})
        return pks

    def upsert(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows, replacing those with the same primary key."""
        if rows:
            upsert_rows(self.connection, table, cells_of(rows))

    def update(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Update existing rows: each mapping holds the primary key and the new values."""
        self.update_cells(table, cells_of(rows))

    def update_cells(self, table: Table, cells: Cells) -> None:
        """Update like `update`, from columns, including those of the primary key."""
        if any(cells.values()):
            update_rows(self.connection, table, cells)

    def append_vectors(
        self, space: StoredSpace, document_pks: Ids, vectors: NDArray[np.float16]
    ) -> None:
        """Write a vector for each document; it replaces an existing one."""
        if not len(document_pks):
            return
        slot = self.count(space)
        self._first_own.setdefault(space.pk, slot)
        self._delete_embeddings(space, document_pks)
        slots = np.arange(slot, slot + len(document_pks))
        copy_vectors_in(self.connection, space.pk, slots, vectors)
        self._last_own[space.pk] = (slot, np.array(vectors, np.float16))
        spaces = [space.pk] * len(slots)
        held = {"space_pk": spaces, "slot": slots.tolist(), "document_pk": document_pks.tolist()}
        self.insert_cells(schema.embedding, held)
        moved = update(schema.space).where(schema.space.c.pk == space.pk)
        self.execute(moved.values(next_slot=slot + len(document_pks)))

    def erase_vectors(self, space: StoredSpace, document_pks: Ids) -> None:
        """Remove vectors, here and, after the commit, from the copies on local disks."""
        if len(document_pks):
            self.erased.append((space, np.sort(self.known_slots(space, document_pks))))
            self._delete_embeddings(space, document_pks)
            self.upsert(schema.meta, [{"key": ERASURES, "value": str(ULID())}])

    def number_from(self, table: Table, last: int) -> None:
        """Make a numbered table give only pks above `last`."""
        raised = text("SELECT setval(:name, greatest(:last, nextval(:name) - 1) + 1, false)")
        self.connection.execute(raised, {"name": sequence_of(table), "last": last})

    def _delete_embeddings(self, space: StoredSpace, document_pks: Ids) -> None:
        slots = np.sort(self.known_slots(space, document_pks))
        for vectors in (_VECTOR, schema.embedding):
            for chosen in conditions(vectors.c.slot, slots):
                self.execute(delete(vectors).where(vectors.c.space_pk == space.pk, chosen))
