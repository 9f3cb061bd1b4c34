"""Covering tables for one connection to PostgreSQL: its statements see other rows.

PostgreSQL looks a name up among the temporary tables and views first, but a statement that was
prepared before goes on with what it had found, so nothing is prepared on such a connection. All is
gone when the transaction is rolled back, as that of a snapshot is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, select

from lookalike.stores.base import cells_of
from lookalike.stores.postgres.rows import insert_rows


def cover(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Let statements see these rows, all with the same columns, in place of the table's own."""
    own = f'"{_prepare_nothing(connection)}"."{table.name}"'
    connection.exec_driver_sql(f'CREATE TEMPORARY TABLE "{table.name}" (LIKE {own})')
    insert_rows(connection, table, cells_of(rows))


def narrow(connection: Connection, table: Table, condition: ColumnElement[bool]) -> None:
    """Let statements see only those of a table's own rows for which a condition holds."""
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
    """Return the schema of the store's own tables; statements are prepared no more."""
    driver: Any = connection.connection.driver_connection
    driver.prepare_threshold = None
    return str(connection.exec_driver_sql("SELECT current_schema()").scalar_one())
