"""The tables of a store in PostgreSQL: those of both stores, one for vectors, and its identity."""

from __future__ import annotations

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert
from ulid import ULID

from lookalike.stores import schema
from lookalike.stores.migrations import migrate
from lookalike.stores.portable_sql import FUNCTIONS

_IDENTITY = "store_id"
_NUMBERS = "SELECT oid, 'meta'::regclass::oid FROM pg_database WHERE datname = current_database()"
_VECTOR_TABLE = (
    "CREATE TABLE IF NOT EXISTS vector (space_pk bigint, slot bigint, vector halfvec NOT NULL, "
    "PRIMARY KEY (space_pk, slot))",
    "ALTER TABLE vector ALTER COLUMN vector SET STORAGE MAIN",
)
"""What a vector is kept in: in its row, not beside it, unless it is longer than a page."""


def bring_up(connection: Connection) -> None:
    """Let the tables be those of this version, in the transaction of one who may write now."""
    migrate(connection)
    for statement in (*_VECTOR_TABLE, *FUNCTIONS):
        connection.exec_driver_sql(statement)
    _settle_collation(connection)
    made = insert(schema.meta).values(key=_IDENTITY, value=str(ULID()).lower())
    connection.execute(made.on_conflict_do_nothing())


def identity(connection: Connection) -> str:
    """Return a name that no other store has, not even one restored from a backup of this one."""
    named = select(schema.meta.c.value).where(schema.meta.c.key == _IDENTITY)
    numbers = connection.exec_driver_sql(_NUMBERS).one()
    return ".".join(map(str, (connection.execute(named).scalar_one(), *numbers)))


def _settle_collation(connection: Connection) -> None:
    """Let texts compare byte by byte, as in the embedded store, whatever the database's language.

    It changes columns that were made since the last call.
    """
    query = (
        "SELECT table_name, "
        "string_agg('ALTER ' || quote_ident(column_name) || ' TYPE text COLLATE \"C\"', ', ') "
        "FROM information_schema.columns WHERE data_type = 'text' "
        "AND table_schema = current_schema() AND collation_name IS DISTINCT FROM 'C' "
        "GROUP BY table_name"
    )
    for table, changes in connection.exec_driver_sql(query).all():
        connection.exec_driver_sql(f'ALTER TABLE "{table}" {changes}')
