"""A snapshot of the shared store; for an earlier state it overlays tables with other rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Float,
    Integer,
    Table,
    Text,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError

from lookalike.classifier.graph import search
from lookalike.classifier.graph.search import Floats, Ids
from lookalike.stores import schema
from lookalike.stores.base import Cells, StoredSpace, cells_of
from lookalike.stores.postgres.engine import as_json, unstorable_text
from lookalike.stores.snapshots import TableSnapshot
from lookalike.stores.vectors import Fetch, Mirrors, fetched

# --- many rows in one statement: COPY and unnest -------------------------------------------------

# A vector is sent in pgvector's binary form (`halfvec_recv`): its length and a zero as int16, then
# each number as float16, most significant byte first.

_FEW = 8
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = b"\xff\xff"


def insert_rows(connection: Connection, table: Table, cells: Cells) -> None:
    """Insert rows; columns without any value are left out and become null."""
    known = {n: column for n, column in cells.items() if column.count(None) < len(column)}
    if not known:
        return
    names, columns = list(known), _encoded(table, known)
    with _cursor(connection) as cursor:
        if len(columns[0]) <= _FEW:
            cursor.execute(f"INSERT INTO {_named(table, names)} {_unnested(table, names)}", columns)
            return
        with cursor.copy(f"COPY {_named(table, names)} FROM STDIN") as copy:
            for row in zip(*columns, strict=True):
                copy.write_row(row)


def upsert_rows(connection: Connection, table: Table, cells: Cells) -> None:
    """Insert rows, replacing those with the same primary key; of equal keys the last row counts."""
    keys = [column.name for column in table.primary_key]
    names = list(cells)
    others = [f'"{name}" = excluded."{name}"' for name in names if name not in keys]
    then = f"UPDATE SET {', '.join(others)}" if others else "NOTHING"
    listed = ", ".join(f'"{key}"' for key in keys)
    with _cursor(connection) as cursor:
        cursor.execute(
            f"INSERT INTO {_named(table, names)} {_unnested(table, names)} "
            f"ON CONFLICT ({listed}) DO {then}",
            _encoded(table, _last_of_each(keys, cells)),
        )


def update_rows(connection: Connection, table: Table, cells: Cells) -> None:
    """Update rows by primary key; of equal keys the last row counts."""
    keys = [column.name for column in table.primary_key]
    names = list(cells)
    changes = ", ".join(f'"{name}" = new."{name}"' for name in names if name not in keys)
    same = " AND ".join(f'old."{key}" = new."{key}"' for key in keys)
    listed = ", ".join(f'"{name}"' for name in names)
    with _cursor(connection) as cursor:
        cursor.execute(
            f'UPDATE "{table.name}" AS old SET {changes} '
            f"FROM ({_unnested(table, names)}) AS new ({listed}) WHERE {same}",
            _encoded(table, _last_of_each(keys, cells)),
        )


def copy_vectors_in(
    connection: Connection, space_pk: int, slots: Ids, vectors: NDArray[np.float16]
) -> None:
    """Insert vectors (n, d) at slots (n,) of a space."""
    dimension = vectors.shape[1]
    rows = np.zeros(len(slots), _row_type(dimension, with_space=True))
    rows["fields"], rows["space_bytes"], rows["slot_bytes"] = 3, 8, 8
    rows["space"], rows["slot"] = space_pk, slots
    rows["vector_bytes"], rows["dimension"] = 4 + 2 * dimension, dimension
    rows["vector"] = vectors
    with (
        _cursor(connection) as cursor,
        cursor.copy("COPY vector (space_pk, slot, vector) FROM STDIN (FORMAT BINARY)") as copy,
    ):
        copy.write(_COPY_HEADER + rows.tobytes() + _COPY_END)


def copy_vectors_out(
    connection: Connection, dimension: int, chosen: str
) -> tuple[Ids, NDArray[np.float16]]:
    """Return slots (n,) and vectors (n, d) of one space for an SQL condition, by rising slot."""
    query = f"SELECT slot, vector FROM vector WHERE {chosen} ORDER BY slot"
    with (
        _cursor(connection) as cursor,
        cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT BINARY)") as copy,
    ):
        data = b"".join(bytes(block) for block in copy)
    kind = _row_type(dimension, with_space=False)
    body = data[len(_COPY_HEADER) : -len(_COPY_END)]
    rows = np.frombuffer(body, kind, count=len(body) // kind.itemsize)
    return rows["slot"].astype(np.int64), rows["vector"].astype(np.float16)


def as_literal(vector: NDArray[np.float16]) -> str:
    """Return a vector (d,) in pgvector's text form."""
    return "[" + ",".join(map(repr, vector.astype(np.float64).tolist())) + "]"


def _row_type(dimension: int, *, with_space: bool) -> np.dtype[Any]:
    """Return the dtype of a binary COPY row: field count, then each field's size and value."""
    space = [("space_bytes", ">i4"), ("space", ">i8")] if with_space else []
    return np.dtype(
        [
            ("fields", ">i2"),
            *space,
            *(("slot_bytes", ">i4"), ("slot", ">i8")),
            *(("vector_bytes", ">i4"), ("dimension", ">i2"), ("blank", ">i2")),
            ("vector", ">f2", (dimension,)),
        ]
    )


@contextmanager
def _cursor(connection: Connection) -> Iterator[psycopg.Cursor[Any]]:
    """Yield the driver's own cursor in the open transaction; errors are SQLAlchemy's."""
    driver: Any = connection.connection
    try:
        with driver.cursor() as cursor:
            yield cursor
    except psycopg.Error as error:
        raise DBAPIError.instance(None, None, error, psycopg.Error) from error


def _named(table: Table, names: Sequence[str]) -> str:
    return f'"{table.name}" ({", ".join(chr(34) + name + chr(34) for name in names)})'


def _unnested(table: Table, names: Sequence[str]) -> str:
    arrays = ", ".join(f"%s::{_array_type(table.c[name])}" for name in names)
    casts = ", ".join(
        f'"{name}"::json' if isinstance(table.c[name].type, JSON) else f'"{name}"' for name in names
    )
    listed = ", ".join(f'"{name}"' for name in names)
    return f"SELECT {casts} FROM unnest({arrays}) AS given ({listed})"


def _array_type(column: Column[Any]) -> str:
    kinds: tuple[tuple[type, str], ...] = (
        (JSON, "text"),
        (BigInteger, "bigint"),
        (Integer, "integer"),
        (Float, "float8"),
        (Text, "text"),
    )
    for kind, name in kinds:
        if isinstance(column.type, kind):
            return f"{name}[]"
    return {"BOOLEAN": "boolean[]", "BLOB": "bytea[]", "BYTEA": "bytea[]"}[str(column.type)]


def _encoded(table: Table, cells: Cells) -> list[list[Any]]:
    """Return the values of each column in the driver's types."""
    encoded = []
    for name, values in cells.items():
        encode = _encoder(table.c[name])
        encoded.append([encode(value) for value in values])
    return encoded


def _encoder(column: Column[Any]) -> Callable[[Any], Any]:
    kind = column.type
    if isinstance(kind, JSON):  # null is JSON null, as in the embedded store; most are empty
        return lambda value: "{}" if value == {} else as_json(value)
    plain = _PLAIN.get(next((one for one in _PLAIN if isinstance(kind, one)), object))
    if plain is None:
        return lambda value: value
    return lambda value: None if value is None else plain(value)


def _plain_text(value: str) -> str:
    text = str(value)
    if "\0" in text:  # in an array the driver would cut the text there
        raise unstorable_text()
    return text


_PLAIN: Mapping[type, Callable[[Any], Any]] = {Integer: int, Float: float, Text: _plain_text}
"""Converts NumPy numbers and text enumeration members to Python's own types."""


def _last_of_each(keys: Sequence[str], cells: Cells) -> Cells:
    """Return the rows without those for which a later row has the same key."""
    named = list(zip(*(cells[key] for key in keys), strict=True))
    last = {key: place for place, key in enumerate(named)}
    if len(last) == len(named):
        return cells
    return {name: [values[place] for place in last.values()] for name, values in cells.items()}


def sequence_of(table: Table) -> str:
    """Return the name of the sequence of a table's pks, quoted for SQL."""
    (column,) = table.primary_key
    return f'"{table.name}_{column.name}_seq"'


# --- covering tables: one connection sees other rows ---------------------------------------------

# PostgreSQL looks a name up among temporary tables and views first, but a statement prepared
# earlier keeps its tables, so nothing is prepared on such a connection. All overlays are removed
# when the transaction is rolled back, as every snapshot's is.


def overlay(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Make statements see these rows, all with the same columns, in place of the table's own."""
    own = f'"{_prepare_nothing(connection)}"."{table.name}"'
    connection.exec_driver_sql(f'CREATE TEMPORARY TABLE "{table.name}" (LIKE {own})')
    insert_rows(connection, table, cells_of(rows))


def overlay_filtered(connection: Connection, table: Table, condition: ColumnElement[bool]) -> None:
    """Make statements see only those of a table's own rows that meet a condition."""
    compiled = (
        select(table)
        .where(condition)
        .compile(
            dialect=connection.dialect,
            schema_translate_map={None: _prepare_nothing(connection)},
            render_schema_translate=True,
            compile_kwargs={"literal_binds": True},
        )
    )
    connection.exec_driver_sql(f'CREATE TEMPORARY VIEW "{table.name}" AS {compiled}')


def _prepare_nothing(connection: Connection) -> str:
    """Turn prepared statements off; return the schema of the store's own tables."""
    driver: Any = connection.connection.driver_connection
    driver.prepare_threshold = None
    return str(connection.exec_driver_sql("SELECT current_schema()").scalar_one())


# -------------------------------------------------------------------------------------------------

ERASURES = "erasures"
"""The key in `meta` of a value that changes with each erasure."""

_ALL = 2**62
_FEW_VECTORS = 2000
_SLACK = 1e-3
"""An upper bound of the error of pgvector's single-precision sums for unit vectors."""


class PostgresSnapshot(TableSnapshot):
    """A consistent view of the shared store."""

    def __init__(self, connection: Connection, mirrors: Mirrors) -> None:
        super().__init__(connection)
        self._mirrors = mirrors
        self._first_own: dict[int, int] = {}
        self._last_own: dict[int, tuple[int, NDArray[np.float16]]] = {}

    def vectors(self, space: StoredSpace, document_pks: Ids) -> NDArray[np.float16]:
        """Return the vectors of documents, float16 (n, dimension), in the order asked."""
        slots = self.slots_of(space, document_pks)
        if not len(slots):
            return np.empty((0, space.dimension), np.float16)
        first, own = self._last_own.get(space.pk, (_ALL, None))
        if own is not None and int(slots.min()) >= first:
            return own[slots - first]  # the vectors just appended, which are decided next
        mirror, fetch = self._mirrors.of(space), self.fetch(space)
        count = int(slots.max()) + 1
        if count > self._first_uncommitted(space) or (
            count > len(mirror) and len(slots) <= _FEW_VECTORS
        ):
            return fetched(slots, space.dimension, fetch)
        self._fill_copy(space, count)
        return mirror.rows(slots, fetch)

    def above(
        self, space: StoredSpace, vector: NDArray[np.float16], floor: float
    ) -> tuple[Ids, Floats]:
        """Return every document of the space with similarity ≥ `floor`, by rising pk.

        The database selects candidates in single precision; the exact test is done here.
        """
        query = text(
            "SELECT e.document_pk FROM vector v JOIN embedding e USING (space_pk, slot) "
            "WHERE v.space_pk = :space AND -(v.vector <#> CAST(:vector AS halfvec)) >= :floor "
            "ORDER BY e.document_pk"
        )
        values = {"space": space.pk, "vector": as_literal(vector), "floor": floor - _SLACK}
        pks = np.array(self.connection.execute(query, values).scalars().all(), np.int64)
        exact = search.similarities(vector[None, :], self.vectors(space, pks))[0]
        kept = exact >= np.float32(floor)
        return pks[kept], exact[kept]

    def above_floors(
        self, space: StoredSpace, vector: NDArray[np.float16], floors: Floats
    ) -> tuple[Ids, Floats]:
        """Return the slots whose similarity is ≥ the floor of that slot; +inf leaves one out."""
        fetch, shared = self.fetch(space), min(len(floors), self._first_uncommitted(space))
        self._fill_copy(space, shared)
        found, values = self._mirrors.of(space).above(vector, floors[:shared], fetch)
        own = np.flatnonzero(np.isfinite(floors[shared:])) + shared
        if not len(own):
            return found, values
        exact = search.similarities(vector[None, :], fetched(own, space.dimension, fetch))[0]
        more = exact >= floors[own]
        return np.concatenate([found, own[more]]), np.concatenate([values, exact[more]])

    def show_rows(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """From now on show these rows, all with the same columns, in place of the table's own."""
        overlay(self.connection, table, rows)

    def show_only(self, table: Table, condition: ColumnElement[bool]) -> None:
        """From now on show only those of a table's own rows that meet a condition."""
        overlay_filtered(self.connection, table, condition)

    def time_s(self) -> float:
        """Return the time of the database's own clock, in UTC seconds."""
        now = "SELECT extract(epoch FROM clock_timestamp())::float8"
        return float(self.connection.exec_driver_sql(now).scalar_one())

    def count(self, space: StoredSpace) -> int:
        """Return the number of slots given in a space."""
        counter = select(schema.space.c.next_slot).where(schema.space.c.pk == space.pk)
        return int(self.connection.execute(counter).scalar_one())

    def _first_uncommitted(self, space: StoredSpace) -> int:
        """Return the first slot that the local copy must not have: its row is not committed."""
        return self._first_own.get(space.pk, _ALL)

    def _fill_copy(self, space: StoredSpace, count: int) -> None:
        """Bring the local copy of a space up to date, without vectors erased since."""
        mirror, table = self._mirrors.of(space), schema.meta
        mirror.fill(count, self.fetch(space))
        rows = self.rows(select(table.c.value).where(table.c.key == ERASURES))
        seen, key = rows[0].value if rows else None, (space.pk, space.generation)
        if self._mirrors.erasures.get(key) != seen:
            mirror.erase_but(self.slots(space)[0], self.count(space))
            self._mirrors.erasures[key] = seen

    def fetch(self, space: StoredSpace) -> Fetch:
        """Return the function that reads vectors of a space from the database."""
        here = f"space_pk = {space.pk} AND "
        return lambda chosen: copy_vectors_out(self.connection, space.dimension, here + chosen)
