"""PostgreSQL connections: addresses that hide their password, errors with a remedy.

All tables of a store are in one schema of the database, `lookalike` unless the address names
another one: `postgresql://ann@db.example.org/shop?schema=labels`. All other parts of an address are
those of libpq.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import conninfo
from psycopg.adapt import Buffer, Loader
from psycopg.sql import SQL, Identifier
from psycopg.types.json import set_json_dumps
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnection

from lookalike.errors import (
    BadInput,
    BadSetting,
    LookalikeError,
    NotAStore,
    StoreBusy,
    StoreCorrupt,
    StoreTooOld,
    StoreUnreachable,
    StoreUnwritable,
)

CONNECTIONS = 24
"""The maximum number of open snapshots and transactions; further ones wait."""

_IDLE_CONNECTIONS, _WAIT_S, _CONNECT_S = 8, 30, 10
_KEEPALIVE_S, _PROBE_S, _PROBES = 30, 10, 3
_SERVER_OPTIONS = (
    "-c synchronous_commit=on "
    # If a writer's machine fails, the others must not wait for hours.
    f"-c tcp_keepalives_idle={_KEEPALIVE_S} -c tcp_keepalives_interval={_PROBE_S} "
    f"-c tcp_keepalives_count={_PROBES}"
)
_PREPARING = 0x6C6F6F6B  # the key of the advisory lock for preparing a database
_OLDEST = 140_000
_HAS_HALFVEC = (0, 7)
_SCHEMA = "lookalike"
_SAFE = "nothing acknowledged is lost"


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a database. Its text form has no password."""

    schema: str
    parameters: Mapping[str, Any] = field(repr=False)

    @property
    def shown(self) -> str:
        """Return the address without secrets."""
        known = self.parameters
        user = f"{known['user']}@" if known.get("user") else ""
        host = str(known.get("host") or "")
        where = "" if host.startswith("/") else host
        port = f":{known['port']}" if known.get("port") and where else ""
        query = f"?host={host}" if host.startswith("/") else ""
        if self.schema != _SCHEMA:
            query += ("&" if query else "?") + f"schema={self.schema}"
        return f"postgresql://{user}{where}{port}/{known.get('dbname') or ''}{query}"

    def without_secrets(self, text: str) -> str:
        """Return a text with the password replaced, if it contains it."""
        secret = str(self.parameters.get("password") or "")
        return text.replace(secret, "…") if len(secret) > 2 else text


def address_of(url: str) -> Address:
    """Parse a URL. Raises BadSetting, which shows no part that may be a password."""
    parts, schema = [], _SCHEMA
    base, _, query = url.partition("?")
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        if name == "schema":
            schema = value
        else:
            parts.append(part)
    try:
        parsed = conninfo.conninfo_to_dict(f"{base}?{'&'.join(parts)}" if parts else base)
    except psycopg.Error as error:
        raise _unreadable() from error
    names = "".join(str(parsed.get(name, "")) for name in ("host", "dbname", "user"))
    port = str(parsed.get("port", "")).replace(",", "")
    if "@" in names or not (port or "0").isdigit() or not schema.replace("_", "").isalnum():
        raise _unreadable()
    return Address(schema, parsed)


def _unreadable() -> BadSetting:
    return BadSetting(
        "the address of the database cannot be read: write postgresql://USER:PASSWORD@HOST/NAME, "
        "characters such as @ : / ? # % in a password as %40 %3A %2F %3F %23 %25, and "
        "?schema=NAME of letters, digits and underscores; or put the password "
        "into PGPASSWORD or ~/.pgpass"
    )


def prepare(address: Address) -> None:
    """Prepare the database for tables: create the extension and the schema if missing.

    Raises StoreUnreachable, NotAStore, StoreTooOld or StoreUnwritable, each with a remedy.
    """
    with translated(address), connection_to(address) as connection:
        _check_version(address, connection)
        connection.execute(
            "SELECT pg_advisory_lock(%s)", (_PREPARING,)
        )  # held until the connection closes
        _make_extension(address, connection)
        _make_schema(address, connection)
        if connection.execute("SELECT to_regtype('halfvec')").fetchone() == (None,):
            raise NotAStore(
                f"{address.shown}: the extension vector is in a schema that is not on the search "
                "path; run ALTER EXTENSION vector SET SCHEMA public"
            )


def is_there(address: Address) -> bool:
    """Return whether there is a store in the database. Raises like `prepare`."""
    with translated(address), connection_to(address) as connection:
        found = connection.execute("SELECT to_regclass(%s)", (f"{address.schema}.meta",))
        return found.fetchone() != (None,)


def open_engine(address: Address) -> Engine:
    """Return an engine on the schema of an existing store."""
    return create_engine(
        "postgresql+psycopg://",
        creator=lambda: connection_to(address),
        pool_size=_IDLE_CONNECTIONS,
        max_overflow=CONNECTIONS - _IDLE_CONNECTIONS,
        pool_timeout=_WAIT_S,
        pool_pre_ping=True,
    )


def settle_collation(connection: Connection) -> None:
    """Make texts compare byte by byte, as in the embedded store, in any database language.

    It changes columns that were created since the last call.
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


def connection_to(address: Address, *, autocommit: bool = False) -> psycopg.Connection[Any]:
    """Return a new connection with the settings of a store. Raises psycopg.Error."""
    known = address.parameters
    required = f'-c search_path="{address.schema}",public {_SERVER_OPTIONS}'
    options = f"{known['options']} {required}" if known.get("options") else required
    defaults: dict[str, Any] = {
        "connect_timeout": _CONNECT_S,
        "application_name": "lookalike",
        "keepalives_idle": _KEEPALIVE_S,
        "keepalives_interval": _PROBE_S,
        "keepalives_count": _PROBES,
    }
    parameters = defaults | dict(known) | {"options": options}
    connection = psycopg.connect(**parameters, autocommit=autocommit)
    connection.adapters.register_loader("numeric", _NumberLoader)
    set_json_dumps(as_json, connection)
    return connection


class _NumberLoader(Loader):
    """Loads numbers of any length: integers as int, others as float."""

    def load(self, data: Buffer) -> int | float:
        text = bytes(data).decode()
        return int(text) if text.lstrip("-").isdigit() else float(text)


def as_json(value: Any) -> str:
    """Return JSON for the database. Raises BadInput for a text that it cannot store."""
    text = json.dumps(value)
    if "\\u" in text:
        plain = json.dumps(value, ensure_ascii=False)
        try:
            plain.encode("utf-8")
        except UnicodeEncodeError as error:
            raise unstorable_text() from error
        if "\\u0000" in plain.replace("\\\\", ""):
            raise unstorable_text()
    return text


def unstorable_text() -> BadInput:
    """Return the error for a text with characters that the database cannot store."""
    return BadInput(
        "a text has the character U+0000 or half a surrogate pair, which PostgreSQL cannot store; "
        "remove it"
    )


def _check_version(address: Address, connection: psycopg.Connection[Any]) -> None:
    if connection.info.server_version < _OLDEST:
        raise StoreTooOld(
            f"{address.shown}: PostgreSQL {connection.info.server_version // 10_000} is too old; "
            f"use {_OLDEST // 10_000} or later"
        )


def _make_extension(address: Address, connection: psycopg.Connection[Any]) -> None:
    known = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
    row = connection.execute(known).fetchone()
    if row is None:
        offered = "SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"
        if connection.execute(offered).fetchone() is None:
            raise NotAStore(
                f"{address.shown}: the server has no pgvector; install it there (a package such as "
                "postgresql-17-pgvector, or the image pgvector/pgvector)"
            )
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            connection.commit()
        except psycopg.errors.InsufficientPrivilege as error:
            raise StoreUnwritable(
                f"{address.shown}: {_user(address)} may not create the extension; let an "
                "administrator run, in this database: CREATE EXTENSION vector"
            ) from error
        row = connection.execute(known).fetchone()
    version = tuple(int(part) for part in str(row[0] if row else "0.0").split(".")[:2])
    if version < _HAS_HALFVEC:
        raise StoreTooOld(
            f"{address.shown}: pgvector {row[0] if row else ''} is too old; install 0.7 or later, "
            "then let an administrator run: ALTER EXTENSION vector UPDATE"
        )


def _make_schema(address: Address, connection: psycopg.Connection[Any]) -> None:
    named = "SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = %s"
    row = connection.execute(named, (address.schema,)).fetchone()
    if row is None:
        try:
            make = SQL("CREATE SCHEMA IF NOT EXISTS {}").format(Identifier(address.schema))
            connection.execute(make)
        except psycopg.errors.InsufficientPrivilege as error:
            raise _no_rights(address) from error
    elif not row[0]:
        raise _no_rights(address)


def _no_rights(address: Address) -> StoreUnwritable:
    return StoreUnwritable(
        f"{address.shown}: {_user(address)} may not create tables; let an administrator run, in "
        f"this database: CREATE SCHEMA {address.schema} AUTHORIZATION {_user(address)}"
    )


def _user(address: Address) -> str:
    return str(address.parameters.get("user") or "the user")


_TRANSLATIONS: tuple[tuple[str, type[LookalikeError], str], ...] = (
    # The first entry that is a prefix of the SQLSTATE applies.
    ("28", StoreUnreachable, "the database rejects the credentials: check user and password"),
    ("3D000", NotAStore, "there is no such database: create it with createdb, or name another"),
    ("42501", StoreUnwritable, "the user lacks a right: use the user who created the store"),
    ("25006", StoreUnwritable, "the database is read-only: name the primary server"),
    ("53300", StoreBusy, "the server has no connection left: raise max_connections or end some"),
    ("53", StoreUnwritable, "the server has no disk space or memory left: free some"),
    ("40", StoreBusy, "another writer changed the same rows: run it again"),
    ("55", StoreBusy, "another program holds a table: end it, or run this again"),
    ("57014", StoreBusy, "the statement took longer than the server allows: run it again"),
    ("57P", StoreUnreachable, "the server has ended the connection: run it again when it is up"),
    ("08", StoreUnreachable, "the connection was lost: run it again when the server is up"),
    ("42P01", StoreCorrupt, "a table is missing: restore the store from a backup"),
    ("XX", StoreCorrupt, "the database is damaged: restore it from a backup"),
)


@contextmanager
def translated(address: Address) -> Iterator[None]:
    """Translate the engine's errors into ours, each with a remedy and without a password."""
    try:
        yield
    except NoConnection as error:
        raise StoreBusy(
            f"{address.shown}: {CONNECTIONS} snapshots are open at once, and none ended in "
            f"{_WAIT_S} s: try again, and exhaust or close the iterators of `documents()` and "
            "`rows()`"
        ) from error
    except UnicodeEncodeError as error:
        raise unstorable_text() from error
    except (DBAPIError, psycopg.Error) as error:
        original = getattr(error, "orig", error)
        known = _translation(address, original)
        if known is None:
            raise
        raise known from error


def _translation(address: Address, error: Any) -> LookalikeError | None:
    message = address.without_secrets(str(error).strip().splitlines()[0] if str(error) else "")
    state = getattr(error, "sqlstate", None)
    if state is None and isinstance(error, psycopg.DataError):
        return unstorable_text() if "NUL" in message else None
    if state is None and isinstance(error, psycopg.OperationalError):
        states = (code for pattern, code in _STATES.items() if re.search(pattern, message))
        state = next(states, "08000")
    for start, kind, cure in _TRANSLATIONS:
        if (state or "").startswith(start):
            return kind(f"{address.shown}: {cure} ({message}; {_SAFE})")
    return None


_STATES = {
    "password authentication failed|no password supplied": "28P01",
    'no pg_hba.conf entry|role ".*" (does not exist|is not permitted)': "28000",
    'database ".*" does not exist': "3D000",
    "too many clients|remaining connection slots": "53300",
}
"""Error texts of failed connections, which have no SQLSTATE."""
