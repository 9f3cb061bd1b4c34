"""The embedded store: one directory, SQLite for primary data, files for vectors.

```
lookalike.db       records, labels, events (WAL, synchronous=FULL)
write.lock         the lock of writers of all processes
vectors/           <space>.<generation>.f16, append only
blobs/             uploads and copies, by digest
cache/             derived: may be deleted at any time
logs/              access logs of the server
```
"""

from __future__ import annotations

import fcntl
import functools
import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    Connection,
    Engine,
    Table,
    bindparam,
    delete,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.sql.dml import UpdateBase

from lookalike.classifier.graph.search import Ids
from lookalike.errors import StoreCorrupt, StoreUnwritable
from lookalike.stores import schema
from lookalike.stores.base import Cells, Compaction, StoredSpace, cells_of, conditions, stored_space
from lookalike.stores.directory import check_open, erase_vectors_but, open_lock, prepare
from lookalike.stores.locks import FairLock
from lookalike.stores.migrations import check_current, migrate, version_of
from lookalike.stores.sqlite.engine import (
    BUSY_TIMEOUT_MS,
    driver,
    execute_each,
    open_engine,
    translated,
)
from lookalike.stores.sqlite.maintenance import bytes_of, pack, problems_of
from lookalike.stores.sqlite.snapshot import SqliteSnapshot
from lookalike.stores.vectors import VectorFile

_LOG_BYTES, _LOG_SHARE = 16 * 2**20, 0.34
"""The log size that starts a checkpoint, in bytes and as a share of the database.

A larger log saves work, because a page that changes several times is copied once.
"""

_LOG_TRUNCATE = 2
"""A log file longer than this multiple of the limit is truncated."""

_NOOP_SINCE = (3, 51, 0)
"""The first SQLite version that reports how much of a log is in use."""

_TIDY_WAIT_MS = 1000


class SqliteStore:
    """A store in the directory `path`, created if it is absent or empty.

    Raises NotAStore, StoreTooNew, StoreUnwritable or StoreCorrupt, each with a remedy. Thread-safe,
    with fair order among writers; do not use it after a fork.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        prepare(path)
        self._files: dict[tuple[int, int], VectorFile] = {}
        self._write_lock = FairLock()
        self._closed = False
        self._checkpoint_is_due = False
        self._lock_file = open_lock(path)
        self._engine = open_engine(path / "lookalike.db")
        self._finalizer = weakref.finalize(self, _release, self._engine, self._lock_file)
        self._begin_log()
        self._migrate()

    def close(self) -> None:
        """Release files and locks after a running write. May be called twice."""
        with self._write_lock.taken(first=True):
            self._closed = True
            self._finalizer()

    @contextmanager
    def read(self) -> Iterator[SqliteSnapshot]:
        """Begin a snapshot. It stays valid if the store is closed meanwhile."""
        check_open(self.path, closed=self._closed)
        with translated(self.path), self._engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1 FROM sqlite_schema")  # BEGIN alone waits for one
            yield SqliteSnapshot(connection, self._file)

    @contextmanager
    def write(self) -> Iterator[SqliteTxn]:
        """Begin a transaction; only one writer of all processes runs at a time."""
        with self._transaction() as txn:
            check_current(txn.connection)
            yield txn

    def claim(self) -> AbstractContextManager[SqliteTxn]:
        """Begin a transaction that changes only who holds work; it needs the write lock, too."""
        return self.write()

    def follow(self, notify: Callable[[], None]) -> None:
        """Return None: SQLite does not report commits, so callers poll."""

    def tidy(self) -> None:
        """Checkpoint the write-ahead log and overwrite vectors without a document.

        Such vectors were replaced, or a process died while erasing; removed spaces leave files.
        """
        with self._locked(), translated(self.path):
            self._checkpoint(wait_ms=_TIDY_WAIT_MS)
            self._drop_files()
            with self.read() as snapshot:
                for row in snapshot.rows(select(schema.space)):
                    used, _ = snapshot.slots(stored_space(row))
                    unused = np.setdiff1d(np.arange(row.next_slot), used, assume_unique=True)
                    file = self._file(stored_space(row))
                    file.erase(file.remains(unused))

    def compact(self, progress: Callable[[int, int], None]) -> Compaction:
        """Write vectors without gaps to new files, and the database without free pages.

        The old files are deleted when the last reader that may use them has ended.
        """
        with self._locked(), translated(self.path):
            before = bytes_of(self.path)
            self._vacuum()
            with self._begin() as txn:
                packed = pack(txn, self._file, progress)
            with (
                suppress(StoreUnwritable),
                translated(self.path),
            ):  # the compacted vectors stay valid
                self._checkpoint(wait_ms=_TIDY_WAIT_MS)
                self._drop_files()
            return Compaction(packed, before, bytes_of(self.path))

    def _vacuum(self) -> None:
        connection = self._engine.raw_connection()
        try:
            connection.cursor().execute("VACUUM")
        finally:
            connection.close()

    def _drop_files(self) -> None:
        """Delete the files of removed spaces, and those that compaction replaced.

        Earlier readers may still use them: they stay until a full checkpoint is possible.
        """
        with self.read() as snapshot:
            spaces = [stored_space(row) for row in snapshot.rows(select(schema.space))]
        known = {(space.pk, space.generation) for space in spaces}
        if self._checkpoint_is_due:
            known |= {(one.pk, before) for one in spaces for before in range(one.generation)}
        self._files = {key: file for key, file in self._files.items() if key in known}
        erase_vectors_but(self.path, {f"{pk}.{number}" for pk, number in known})

    def last_numbers(self) -> dict[str, int]:
        """Return the last pk that each numbered table gave, 0 if none."""
        with self.read() as snapshot:
            rows = snapshot.connection.exec_driver_sql("SELECT name, seq FROM sqlite_sequence")
            last = {row.name: int(row.seq) for row in rows}
        return {table.name: last.get(table.name, 0) for table in schema.numbered()}

    def engine_version(self) -> str:
        """Return the version of SQLite."""
        return str(driver().sqlite_version)

    def check(self) -> list[str]:
        """Return the inconsistencies of the store; empty if there are none."""
        problems: list[str] = []
        try:
            with self.read() as snapshot:
                problems.extend(problems_of(snapshot))
        except StoreCorrupt as error:
            problems.append(str(error))
        return problems

    def _begin_log(self) -> None:
        """Switch a new database to WAL, one process at a time, because SQLite does not wait there.

        The size of the file shows whether it is done. Opening the file would release the locks that
        other connections of this process hold on it.
        """
        database = self.path / "lookalike.db"
        if not database.exists() or database.stat().st_size == 0:
            with self._locked(), translated(self.path):
                self._engine.connect().close()

    def _migrate(self) -> None:
        with translated(self.path), self._engine.connect() as connection:
            current = version_of(connection) == schema.SCHEMA_VERSION
        if not current:
            with self._transaction() as txn:
                migrate(txn.connection)

    @contextmanager
    def _transaction(self) -> Iterator[SqliteTxn]:
        with self._locked(), translated(self.path):
            with self._begin() as txn:
                yield txn
            self._checkpoint_when_long()

    @contextmanager
    def _begin(self) -> Iterator[SqliteTxn]:
        """Begin a transaction; the caller holds the lock."""
        with self._engine.connect().execution_options(immediate=True) as connection:
            txn = SqliteTxn(connection, self._file)
            with connection.begin():
                yield txn
            for erase in txn.after_commit:
                erase()

    def _file(self, space: StoredSpace) -> VectorFile:
        key = (space.pk, space.generation)
        if key not in self._files:
            path = self.path / "vectors" / f"{space.pk}.{space.generation}.f16"
            self._files.setdefault(key, VectorFile(path, self.path / "cache", space.dimension))
        return self._files[key]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._write_lock.taken():
            check_open(self.path, closed=self._closed)
            fcntl.flock(self._lock_file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._lock_file, fcntl.LOCK_UN)

    def _checkpoint_when_long(self) -> None:
        database, log = self.path / "lookalike.db", self.path / "lookalike.db-wal"
        # Committed data is safe in the log; if it cannot be checkpointed yet, a later write does
        # it.
        with suppress(FileNotFoundError, StoreUnwritable), translated(self.path):
            size = log.stat().st_size
            most = max(_LOG_BYTES, int(_LOG_SHARE * database.stat().st_size))
            if self._checkpoint_is_due:
                self._checkpoint(wait_ms=0)
                self._drop_files()
            elif size > _LOG_TRUNCATE * most:
                self._checkpoint(wait_ms=0)
            elif size > most:
                self._checkpoint_beyond(most)

    def _checkpoint_beyond(self, most: int) -> None:
        """Checkpoint the log if more than `most` bytes of its file are in use.

        The file stays: overwriting it takes little more than half the time of a new file.
        """
        if driver().sqlite_version_info < _NOOP_SINCE:
            self._checkpoint(wait_ms=0)
            return
        connection = self._engine.raw_connection()
        try:
            cursor = connection.cursor()
            ((page_bytes,),) = cursor.execute("PRAGMA page_size").fetchall()
            ((_, written, copied),) = cursor.execute("PRAGMA wal_checkpoint(NOOP)").fetchall()
        finally:
            connection.close()
        if written > copied and written * page_bytes > most:
            self._checkpoint(wait_ms=0, mode="RESTART")

    def _checkpoint(self, *, wait_ms: int, mode: str = "TRUNCATE") -> None:
        """Checkpoint the log; leave what readers use longer than `wait_ms` to the next writer."""
        connection = self._engine.raw_connection()
        cursor = connection.cursor()
        try:
            cursor.execute(f"PRAGMA busy_timeout={wait_ms}")
            ((busy, *_),) = cursor.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
            self._checkpoint_is_due = bool(busy)
        finally:
            cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
            connection.close()


class SqliteTxn(SqliteSnapshot):
    """One atomic unit of writing in the embedded store."""

    def __init__(self, connection: Connection, file: Callable[[StoredSpace], VectorFile]) -> None:
        super().__init__(connection, file)
        self.after_commit: list[Callable[[], None]] = []

    def execute(self, statement: UpdateBase) -> int:
        """Run an update or delete; return the number of changed rows."""
        return self.connection.execute(statement).rowcount

    def insert(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert many rows; an existing primary key is an error."""
        self.insert_cells(table, cells_of(rows))

    def insert_cells(self, table: Table, cells: Cells) -> None:
        """Insert like `insert`, from columns; columns without any value are left out."""
        used = {n: column for n, column in cells.items() if column.count(None) < len(column)}
        if used:
            statement = table.insert().inline().values({name: bindparam(name) for name in used})
            execute_each(self.connection, statement, {name: table.c[name] for name in used}, used)

    def insert_one(self, table: Table, **values: Any) -> int:
        """Insert one row and return its pk."""
        key = self.connection.execute(table.insert(), values).inserted_primary_key
        return int(key[0]) if key is not None else 0

    def insert_returning(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """Insert many rows of a numbered table; return their pks, rising, in the same order."""
        sequence = "SELECT seq FROM sqlite_sequence WHERE name = ?"
        last = self.connection.exec_driver_sql(sequence, (table.name,)).scalar() or 0
        pks = list(range(int(last) + 1, int(last) + 1 + len(rows)))
        if rows:
            self.insert_cells(table, {"pk": pks, **cells_of(rows)})
        return pks

    def upsert(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows, replacing those with the same primary key."""
        if not rows:
            return
        statement = sqlite_insert(table)
        keys = [column.name for column in table.primary_key]
        others = {name: statement.excluded[name] for name in rows[0] if name not in keys}
        if others:
            statement = statement.on_conflict_do_update(index_elements=keys, set_=others)
        else:
            statement = statement.on_conflict_do_nothing(index_elements=keys)
        self.connection.execute(statement, rows)

    def update(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Update existing rows: each mapping holds the primary key and the new values."""
        self.update_cells(table, cells_of(rows))

    def update_cells(self, table: Table, cells: Cells) -> None:
        """Update like `update`, from columns, including those of the primary key."""
        if not any(cells.values()):
            return
        keys = [column.name for column in table.primary_key]
        statement = update(table).where(*(table.c[key] == bindparam(f"_{key}") for key in keys))
        statement = statement.values({n: bindparam(n) for n in cells if n not in keys})
        parameters = {(f"_{name}" if name in keys else name): name for name in cells}
        columns = {bound: table.c[name] for bound, name in parameters.items()}
        values = {bound: cells[name] for bound, name in parameters.items()}
        execute_each(self.connection, statement, columns, values)

    def append_vectors(
        self, space: StoredSpace, document_pks: Ids, vectors: NDArray[np.float16]
    ) -> None:
        """Write a vector for each document; it replaces an existing one."""
        counter = select(schema.space.c.next_slot).where(schema.space.c.pk == space.pk)
        slot = int(self.connection.execute(counter).scalar_one())
        self.file_of(space).append(slot, vectors)
        self._delete_embeddings(space, document_pks)
        after = slot + len(document_pks)
        held = {"slot": list(range(slot, after)), "document_pk": document_pks.tolist()}
        self.insert_cells(schema.embedding, {"space_pk": [space.pk] * (after - slot), **held})
        moved = update(schema.space).where(schema.space.c.pk == space.pk)
        self.execute(moved.values(next_slot=after))

    def erase_vectors(self, space: StoredSpace, document_pks: Ids) -> None:
        """Remove vectors and overwrite their bytes (after the commit)."""
        table = schema.embedding
        in_space = table.c.space_pk == space.pk
        for chosen in conditions(table.c.document_pk, document_pks):
            slots = self.numbers(select(table.c.slot).where(in_space, chosen))[:, 0]
            self.after_commit.append(functools.partial(self.file_of(space).erase, slots))
        self._delete_embeddings(space, document_pks)

    def number_from(self, table: Table, last: int) -> None:
        """Make a numbered table give only pks above `last`."""
        run = self.connection.exec_driver_sql
        raised = "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?"
        if run(raised, (last, table.name)).rowcount == 0:
            run("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table.name, last))

    def _delete_embeddings(self, space: StoredSpace, document_pks: Ids) -> None:
        table = schema.embedding
        for chosen in conditions(table.c.document_pk, document_pks):
            self.execute(delete(table).where(table.c.space_pk == space.pk, chosen))


def _release(engine: Engine, lock_file: int) -> None:
    fcntl.flock(lock_file, fcntl.LOCK_EX)
    engine.dispose()
    os.close(lock_file)
