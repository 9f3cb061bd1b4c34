"""Schema migrations: numbered functions, run in order, that bring an older store to this version.

Number 1 creates the current schema in an empty database; the others change existing databases. A
released migration never changes. Those up to 6 are for SQLite only, because no PostgreSQL store is
older; later ones are for both.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, bindparam, inspect, select

from lookalike.errors import StoreTooNew
from lookalike.stores import schema

_LATER_INDEXES = frozenset({"document_by_arrival", "standing_contested", "standing_confirmed"})
"""Indexes on columns that a later migration adds to an existing table."""


def _create_schema(connection: Connection) -> None:
    schema.metadata.create_all(connection)


def _keep_answers(connection: Connection) -> None:
    """Drop stored neighbour lists, which are derived; store the origin of labels."""
    known = {column["name"] for column in inspect(connection).get_columns("standing")}
    for name in sorted(known & {"near_pks", "near_similarities"}):
        connection.exec_driver_sql(f"ALTER TABLE standing DROP COLUMN {name}")
    for name, kind in (("answer", "TEXT"), ("asked", "BOOLEAN")):
        if name not in known:
            connection.exec_driver_sql(f"ALTER TABLE standing ADD COLUMN {name} {kind}")
    schema.metadata.create_all(connection)


def _serve(connection: Connection) -> None:
    """Tables for the server: tasks, uploads, keys, sizes of objects, and indexes for lists."""
    known = {column["name"] for column in inspect(connection).get_columns("object")}
    if "said_by" not in known:
        connection.exec_driver_sql("ALTER TABLE object ADD COLUMN said_by JSON")
    if "size_bytes" not in known:
        connection.exec_driver_sql("ALTER TABLE object ADD COLUMN size_bytes INTEGER")
        rows = connection.execute(select(schema.object_.c.pk, schema.object_.c.blobs)).all()
        sizes = [
            {"row": pk, "size": sum(blob["size_bytes"] for blob in blobs)} for pk, blobs in rows
        ]
        table = schema.object_
        change = table.update().where(table.c.pk == bindparam("row"))
        if sizes:
            connection.execute(change.values(size_bytes=bindparam("size")), sizes)
    schema.metadata.create_all(connection)
    for table in (schema.object_, schema.extraction, schema.document, schema.standing):
        for index in table.indexes:
            if index.name not in _LATER_INDEXES:
                index.create(connection, checkfirst=True)


def _keep_amendments(connection: Connection) -> None:
    """Edits of objects' metadata can be undone."""
    schema.metadata.create_all(connection)


def _keep_spaces_beside(connection: Connection) -> None:
    """A collection may have standby spaces; a combined space stores its members.

    Forgotten parts are stored. Labels can be audited. Documents store the operation that added
    them; fields can have alerts. Disagreement is recorded from the next answer on.
    """
    if "contested" not in {one["name"] for one in inspect(connection).get_columns("standing")}:
        connection.exec_driver_sql("ALTER TABLE standing ADD COLUMN contested BOOLEAN")
    known = {column["name"] for column in inspect(connection).get_columns("space")}
    kinds = {
        "members": "JSON",
        "beside": "BOOLEAN",
        "since": "BIGINT",
        "maker": "JSON",
        "owner": "TEXT",
        "expires_at": "FLOAT",
    }
    for name, kind in kinds.items():
        if name not in known:
            connection.exec_driver_sql(f"ALTER TABLE space ADD COLUMN {name} {kind}")
    known = {column["name"] for column in inspect(connection).get_columns("document")}
    if "arrived_in" not in known:
        connection.exec_driver_sql("ALTER TABLE document ADD COLUMN arrived_in BIGINT")
    schema.metadata.create_all(connection)
    for index in (*schema.document.indexes, *schema.standing.indexes):
        index.create(connection, checkfirst=True)


def _keep_versions_and_trials(connection: Connection) -> None:
    """Taxonomies have versions, label trees and experiments."""
    schema.metadata.create_all(connection)


def _find_reasons(connection: Connection) -> None:
    """Indexes for lists by reason, which avoid a scan of all unlabelled documents."""
    for index in schema.standing.indexes:
        index.create(connection, checkfirst=True)


def _check_sheets(connection: Connection) -> None:
    """Documents are checked in sheets; a label that was given twice is confirmed."""
    if "confirmed" not in {one["name"] for one in inspect(connection).get_columns("standing")}:
        connection.exec_driver_sql("ALTER TABLE standing ADD COLUMN confirmed BOOLEAN")
    schema.metadata.create_all(connection)
    for index in schema.standing.indexes:
        index.create(connection, checkfirst=True)


MIGRATIONS: dict[int, Callable[[Connection], None]] = {
    1: _create_schema,
    2: _keep_answers,
    3: _serve,
    4: _keep_amendments,
    5: _keep_spaces_beside,
    6: _keep_versions_and_trials,
    7: _find_reasons,
    8: _check_sheets,
}


def version_of(connection: Connection) -> int:
    """Return the schema version of the database; 0 if it is empty."""
    if not inspect(connection).has_table("meta"):
        return 0
    query = select(schema.meta.c.value).where(schema.meta.c.key == "schema_version")
    return int(connection.execute(query).scalar_one())


def check_current(connection: Connection) -> None:
    """Raise StoreTooNew if another program has migrated the database to a newer version."""
    query = select(schema.meta.c.value).where(schema.meta.c.key == "schema_version")
    check_version(int(connection.execute(query).scalar_one()))


def check_version(version: int) -> None:
    """Raise StoreTooNew if a schema version is newer than this code."""
    if version > schema.SCHEMA_VERSION:
        raise StoreTooNew(
            f"the store has schema version {version}, this Lookalike knows up to "
            f"{schema.SCHEMA_VERSION}: pip install --upgrade lookalike, on every machine that uses "
            "the store, and start it again there"
        )


def migrate(connection: Connection) -> None:
    """Migrate the database to SCHEMA_VERSION, inside the caller's transaction.

    Raises StoreTooNew if it is newer than this code.
    """
    version = version_of(connection)
    check_version(version)
    newest = schema.SCHEMA_VERSION if version else 1  # an empty database gets the current schema
    for number in range(version + 1, newest + 1):
        MIGRATIONS[number](connection)
    key = schema.meta.c.key == "schema_version"
    connection.execute(schema.meta.delete().where(key))
    value = str(schema.SCHEMA_VERSION)
    connection.execute(schema.meta.insert().values(key="schema_version", value=value))
