"""Covering tables for one connection: its statements see other rows, and nothing is written.

SQLite looks a name up among the temporary tables and views first. They are made inside the
connection's transaction, so that they are gone when it ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, MetaData, Table, bindparam, select
from sqlalchemy.schema import CreateTable

from lookalike.stores.base import cells_of
from lookalike.stores.sqlite.engine import execute_each


def cover(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Let statements see these rows, all with the same columns, in place of the table's own."""
    other = table.to_metadata(MetaData(), schema="temp")
    connection.execute(CreateTable(other))
    if not rows:
        return
    statement = other.insert().inline().values({name: bindparam(name) for name in rows[0]})
    cells = cells_of(rows)
    execute_each(connection, statement, {name: other.c[name] for name in cells}, cells)


def narrow(connection: Connection, table: Table, condition: ColumnElement[bool]) -> None:
    """Let statements see only those of a table's own rows for which a condition holds."""
    statement = select(table).where(condition)
    compiled = statement.compile(
        dialect=connection.dialect,
        schema_translate_map={None: "main"},
        render_schema_translate=True,
        compile_kwargs={"literal_binds": True},
    )
    connection.exec_driver_sql(f"CREATE TEMP VIEW {table.name} AS {compiled}")
