"""SQLite connections: the newest available SQLite, durable settings, translated errors.

SQLite before 3.51.3 can corrupt a WAL database when two connections write and checkpoint at the
same time. So automatic checkpoints are off, and the store's lock is held during writes and
checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from sqlalchemy import (
    JSON,
    URL,
    Boolean,
    Column,
    Connection,
    Dialect,
    Engine,
    Insert,
    LargeBinary,
    Text,
    Update,
    create_engine,
)
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.sql.compiler import SQLCompiler

from lookalike.errors import StoreBusy, StoreCorrupt, StoreError, StoreUnwritable

BUSY_TIMEOUT_MS = 30_000
CONNECTIONS = 80
"""The maximum number of open snapshots and transactions; further ones wait."""

_IDLE_CONNECTIONS, _WAIT_S = 16, 30

_READER_CACHE_KIB, _WRITER_CACHE_KIB = 64 * 1024, 192 * 1024
"""Page caches. The single writer has a larger one: changed pages that do not fit are written to the
log twice."""


def open_engine(file: Path) -> Engine:
    """Return an engine whose writers begin with `execution_options(immediate=True)`."""
    engine = create_engine(
        URL.create("sqlite", database=str(file)),
        module=driver(),
        pool_size=_IDLE_CONNECTIONS,
        max_overflow=CONNECTIONS - _IDLE_CONNECTIONS,
        pool_timeout=_WAIT_S,
        pool_use_lifo=True,  # reuse the connection with the warmest page cache
    )

    @sqlalchemy_event.listens_for(engine, "connect")
    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        for pragma in (
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "wal_autocheckpoint=0",
            "secure_delete=ON",  # erased data is overwritten, not only unlinked
            "temp_store=MEMORY",
            "mmap_size=268435456",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @sqlalchemy_event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate", False)
        cache_kib = _WRITER_CACHE_KIB if immediate else _READER_CACHE_KIB
        connection.exec_driver_sql(f"PRAGMA cache_size=-{cache_kib}")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def driver() -> ModuleType:
    """Return pysqlite3 if it is installed, else the interpreter's own module."""
    try:
        import pysqlite3.dbapi2 as newest  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        import sqlite3 as newest
    return newest  # type: ignore[no-any-return,unused-ignore]


def execute_each(
    connection: Connection,
    statement: Insert | Update,
    columns: Mapping[str, Column[Any]],
    cells: Mapping[str, Sequence[Any]],
) -> None:
    """Run a statement for many rows; `columns` and `cells` are by parameter.

    It uses the driver: SQLAlchemy takes longer to build a row's parameters than SQLite to write it.
    """
    dialect = connection.dialect
    compiled = statement.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler) and compiled.positiontup is not None
    encoded = []
    for name in compiled.positiontup:
        values = cells[name]
        encode = _encoder(columns[name], dialect)
        if not isinstance(columns[name].type, JSON) and set(map(type, values)) <= _PLAIN:
            encode = None
        encoded.append(values if encode is None else [encode(value) for value in values])
    connection.exec_driver_sql(str(compiled), list(zip(*encoded, strict=True)))


_PLAIN = {int, float, str, bytearray, type(None)}
"""Types that the driver stores without conversion.

For any other type, such as bytes or a subclass of str, it first searches an adapter, which takes
longer than writing the row.
"""


def _encoder(column: Column[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    """Return the conversion of a column's values for the driver, or None if none is needed."""
    if isinstance(column.type, LargeBinary):
        return bytearray
    if isinstance(column.type, Text):
        return _plain_text
    if isinstance(column.type, Boolean):
        return _TRUTH.__getitem__
    encode: Callable[[Any], Any] | None = column.type.dialect_impl(dialect).bind_processor(dialect)
    if encode is not None and isinstance(column.type, JSON):
        return lambda value: "{}" if value == {} else encode(value)  # the most frequent one
    return encode


_TRUTH = {None: None, False: 0, True: 1}


def _plain_text(value: str | None) -> str | None:
    return value if value is None or type(value) is str else str(value)


_TRANSLATIONS: tuple[tuple[str, type[StoreError], str], ...] = (
    ("disk is full", StoreUnwritable, "the disk is full: free some space and run it again"),
    ("disk i/o error", StoreUnwritable, "the disk refused a write: free some space or check it"),
    ("readonly", StoreUnwritable, "the store is read-only: make it writable, or copy it"),
    ("unable to open", StoreUnwritable, "the database cannot be opened: check its permissions"),
    ("malformed", StoreCorrupt, "the database is damaged: restore it from a backup"),
    ("not a database", StoreCorrupt, "lookalike.db is not a database: restore it from a backup"),
    ("locked", StoreBusy, "another program holds the database: end it, or run this again"),
)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Translate the engine's errors into ours, each with a remedy."""
    try:
        yield
    except NoConnection as error:
        raise StoreBusy(
            f"{path}: {CONNECTIONS} snapshots are open at once, and none ended in {_WAIT_S} s: try "
            "again, and exhaust or close the iterators of `documents()` and `rows()`"
        ) from error
    except (DBAPIError, driver().Error) as error:
        text = str(getattr(error, "orig", error)).lower()
        for part, kind, cure in _TRANSLATIONS:
            if part in text:
                raise kind(f"{path}: {cure} (nothing acknowledged is lost)") from error
        raise
