"""Who may ask a server for what: keys with a scope, and for one namespace or for all of them.

A key reads `lk_<id>_<secret>`. The id is public; of the secret only its SHA-256 is kept. It is 256
random bits: nobody can try them all, so a slow hash would protect nothing and cost every request.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, select

from lookalike.errors import BadInput, BadSetting, NotFound, Unauthorized
from lookalike.settings import Settings
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Store

PREFIX = "lk_"
"""What every key of ours begins with."""

SETTING_KEY_ID = "LOOKALIKE_API_KEY"
"""Stands where a key's id would, for the key that a setting gives."""

_SECRET_BYTES = 32
_ID_BYTES = 6
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,100}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_-]{1,100}")
_NO_DIGEST = bytes(hashlib.sha256().digest_size)


class Scope(StrEnum):
    """What a key may do; each may do what the ones before it may."""

    READ = "read"
    LABEL = "label"
    ADMIN = "admin"

    def covers(self, needed: Scope) -> bool:
        """Tell whether this scope is enough where `needed` is asked for."""
        order = list(Scope)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. Without a `namespace` it may go to all; without a `key_id` it came without key."""

    name: str
    scope: Scope
    namespace: str | None = None
    key_id: str | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it can be shown. Times are UTC seconds."""

    id: str
    name: str
    scope: Scope
    namespace: str | None
    created_at: float
    revoked_at: float | None


class Access:
    """The keys of a store, and who a request comes from."""

    def __init__(self, store: Store, settings: Settings, clock: Callable[[], float]) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock

    def create(self, name: str, scope: Scope | str, namespace: str | None = None) -> str:
        """Make a key and return its text, which cannot be had again.

        Raises BadInput for an unknown scope, or a name or namespace that cannot be one.
        """
        if not _NAME.fullmatch(name):
            raise BadInput(f"{name!r} is no name for a key: use 1 to 100 printable characters")
        if namespace is not None:
            check_namespace(namespace)
        id, secret = secrets.token_hex(_ID_BYTES), secrets.token_urlsafe(_SECRET_BYTES)
        with self._store.write() as txn:
            txn.insert_one(
                schema.api_key,
                id=id,
                name=name,
                sha256=_digest(secret),
                scope=_scope(scope).value,
                namespace=namespace,
                created_at=self._clock(),
            )
        return f"{PREFIX}{id}_{secret}"

    def listed(self) -> list[Key]:
        """Return all keys, the oldest first, revoked ones too."""
        with self._store.read() as snapshot:
            rows = snapshot.rows(select(schema.api_key).order_by(schema.api_key.c.pk))
        return [_key(row) for row in rows]

    def revoke(self, id: str) -> Key:
        """End a key: from the next request on it is refused. Raises NotFound."""
        table = schema.api_key
        with self._store.write() as txn:
            if _find(txn, id) is None:
                known = [row.id for row in txn.rows(select(table.c.id))]
                raise NotFound.named("key", id, known)
            ended = table.update().where(table.c.id == id, table.c.revoked_at.is_(None))
            txn.execute(ended.values(revoked_at=self._clock()))
            row = _find(txn, id)
        assert row is not None
        return _key(row)

    def has_keys(self) -> bool:
        """Tell whether any key holds that is not revoked."""
        table = schema.api_key
        query = select(table.c.pk).where(table.c.revoked_at.is_(None)).limit(1)
        with self._store.read() as snapshot:
            return bool(snapshot.rows(query))

    def caller(self, authorization: str | None, *, loopback: bool) -> Caller:
        """Return who sends a request with this Authorization header.

        On `loopback` whoever is on this machine is an admin: no key is needed, and a token that is
        none of ours does not matter; but one of ours holds to its scope there, too. Where the
        setting `api_key` is given, everybody needs a key everywhere: a proxy on this machine, for
        one, makes the whole world look local.

        Raises Unauthorized for a missing, unknown or revoked key.
        """
        token = _token(authorization)
        configured = self._settings.api_key
        if configured and _same(_digest(token or ""), _digest(configured)):
            return Caller(self._settings.actor or "admin", Scope.ADMIN, key_id=SETTING_KEY_ID)
        is_open = loopback and not configured
        if token is not None and (token.startswith(PREFIX) or not is_open):
            return self._holder(token)
        if not is_open:
            raise Unauthorized(
                "this server needs a key: send it as 'Authorization: Bearer lk_…'; "
                "`lookalike keys create` makes one"
            )
        return Caller(self._settings.actor or "local", Scope.ADMIN)

    def _holder(self, token: str) -> Caller:
        """Return whose key it is; an unknown id costs the same work as a wrong secret."""
        id, _, secret = token.removeprefix(PREFIX).partition("_")
        with self._store.read() as snapshot:
            row = _find(snapshot, id)
        holds = _same(_digest(secret), _NO_DIGEST if row is None else bytes(row.sha256))
        if row is None or not holds or row.revoked_at is not None:
            raise Unauthorized(
                "this key is unknown or was revoked; `lookalike keys list` shows those that hold"
            )
        return Caller(row.name, Scope(row.scope), row.namespace, row.id)


def check_bind(host: str, settings: Settings, *, has_keys: bool) -> None:
    """Raise BadSetting when a server at this address would be open to others without a key."""
    if not (is_loopback(host) or settings.api_key or has_keys):
        raise BadSetting(
            f"the address {host!r} can be reached from other machines, and there is no key: make "
            "one with `lookalike keys create`, or set LOOKALIKE_API_KEY, or listen on 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Tell whether an address, or the name `localhost`, stays on this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_namespace(namespace: str) -> None:
    """Raise BadInput for what cannot be a namespace."""
    if not _NAMESPACE.fullmatch(namespace):
        raise BadInput(
            f"{namespace[:100]!r} is no namespace: use 1 to 100 letters, digits, '_' and '-'"
        )


def _token(authorization: str | None) -> str | None:
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _same(one: bytes, other: bytes) -> bool:
    return hmac.compare_digest(one, other)


def _scope(scope: Scope | str) -> Scope:
    try:
        return Scope(scope)
    except ValueError:
        known = ", ".join(Scope)
        raise BadInput(f"{scope!r} is no scope of a key; known: {known}") from None


def _find(snapshot: Snapshot, id: str) -> Row[Any] | None:
    rows = snapshot.rows(select(schema.api_key).where(schema.api_key.c.id == id))
    return rows[0] if rows else None


def _key(row: Row[Any]) -> Key:
    return Key(row.id, row.name, Scope(row.scope), row.namespace, row.created_at, row.revoked_at)
