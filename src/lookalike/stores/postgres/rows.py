"""Many rows to and from PostgreSQL in one statement: COPY, and arrays that are unnested.

A vector is sent as pgvector reads it (`halfvec_recv`): its length and a blank as int16, then each
number as float16, the most significant byte first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from sqlalchemy import JSON, BigInteger, Column, Connection, Float, Integer, Table, Text
from sqlalchemy.exc import DBAPIError

from lookalike.classifier.graph.search import Ids
from lookalike.stores.base import Cells
from lookalike.stores.postgres.engine import as_json, no_text

_FEW = 8
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = b"\xff\xff"


def insert_rows(connection: Connection, table: Table, cells: Cells) -> None:
    """Insert rows; what has no value in any of them is left to be null."""
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
    """Insert rows, replacing those with the same primary key; of two with one, the last counts."""
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
    """Change rows by primary key; of two changes of one row the last counts."""
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
    """Return slots (n,) and vectors (n, d) of one space, by rising slot, where SQL is true."""
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
    """Return a vector (d,) as pgvector reads it."""
    return "[" + ",".join(map(repr, vector.astype(np.float64).tolist())) + "]"


def _row_type(dimension: int, *, with_space: bool) -> np.dtype[Any]:
    """Return a row of a binary COPY: how many fields, and of each its bytes and value."""
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
    """Give the driver's own cursor, in the transaction that is open; errors as SQLAlchemy's."""
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
    """Return the values of each column as the driver takes them."""
    encoded = []
    for name, values in cells.items():
        encode = _encoder(table.c[name])
        encoded.append([encode(value) for value in values])
    return encoded


def _encoder(column: Column[Any]) -> Callable[[Any], Any]:
    kind = column.type
    if isinstance(kind, JSON):  # null is JSON's, as in the embedded store; most are empty
        return lambda value: "{}" if value == {} else as_json(value)
    plain = _PLAIN.get(next((one for one in _PLAIN if isinstance(kind, one)), object))
    if plain is None:
        return lambda value: value
    return lambda value: None if value is None else plain(value)


def _plain_text(value: str) -> str:
    text = str(value)
    if "\0" in text:  # in an array the driver would end the text there
        raise no_text()
    return text


_PLAIN: Mapping[type, Callable[[Any], Any]] = {Integer: int, Float: float, Text: _plain_text}
"""Numbers of NumPy and texts that are members of an enumeration become Python's own."""


def _last_of_each(keys: Sequence[str], cells: Cells) -> Cells:
    """Return the rows but those of which a later one has the same key."""
    named = list(zip(*(cells[key] for key in keys), strict=True))
    last = {key: place for place, key in enumerate(named)}
    if len(last) == len(named):
        return cells
    return {name: [values[place] for place in last.values()] for name, values in cells.items()}


def sequence_of(table: Table) -> str:
    """Return the name of what numbers the rows of a table, as SQL has it."""
    (column,) = table.primary_key
    return f'"{table.name}_{column.name}_seq"'
