"""API keys: authentication and authorization by keys with a scope and an optional namespace.

A key has the form `lk_<id>_<secret>`. The id is public; only the SHA-256 of the secret is stored.
The secret has 256 random bits, so a brute-force attack is impossible, and a slow hash would only
slow down each request.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import math
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl, urlencode

from sqlalchemy import Row, select

from lookalike.errors import BadInput, BadSetting, Forbidden, NotFound, Unauthorized
from lookalike.settings import Settings
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Store

PREFIX = "lk_"
"""The prefix of every key."""

SETTING_KEY_ID = "LOOKALIKE_API_KEY"
"""The key id of the key that is given by a setting."""

_SECRET_BYTES = 32
_ID_BYTES = 6
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,100}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_-]{1,100}")
_NO_DIGEST = bytes(hashlib.sha256().digest_size)


class Scope(StrEnum):
    """The permissions of a key; each scope includes the ones before it."""

    READ = "read"
    LABEL = "label"
    ADMIN = "admin"

    def covers(self, needed: Scope) -> bool:
        """Return whether this scope includes `needed`."""
        order = list(Scope)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request.

    Without a `namespace` it may access all namespaces; without a `key_id` it sent no key.
    """

    name: str
    scope: Scope
    namespace: str | None = None
    key_id: str | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its secret. Times are UTC seconds."""

    id: str
    name: str
    scope: Scope
    namespace: str | None
    created_at: float
    revoked_at: float | None


class Access:
    """The keys of a store, and the callers of requests."""

    def __init__(self, store: Store, settings: Settings, clock: Callable[[], float]) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock

    def create(self, name: str, scope: Scope | str, namespace: str | None = None) -> str:
        """Create a key and return its text, which cannot be read again later.

        Raises BadInput for an unknown scope, or an invalid name or namespace.
        """
        if not _NAME.fullmatch(name):
            raise BadInput(
                f"{name!r} is not a valid name for a key: use 1 to 100 printable characters"
            )
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
        """Return all keys, oldest first, including revoked ones."""
        with self._store.read() as snapshot:
            rows = snapshot.rows(select(schema.api_key).order_by(schema.api_key.c.pk))
        return [_key(row) for row in rows]

    def revoke(self, id: str) -> Key:
        """Revoke a key from the next request on. Raises NotFound."""
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
        """Return whether there is any key that is not revoked."""
        table = schema.api_key
        query = select(table.c.pk).where(table.c.revoked_at.is_(None)).limit(1)
        with self._store.read() as snapshot:
            return bool(snapshot.rows(query))

    def caller(self, authorization: str | None, *, loopback: bool) -> Caller:
        """Return the caller of a request with this Authorization header.

        On `loopback` every request without a key of this store is an admin's; a key of this store
        keeps its scope. If the setting `api_key` is given, every request needs a key, also on
        loopback: behind a proxy on this machine all requests look local.

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
        """Return the caller with this key; an unknown id takes the same time as a wrong secret."""
        id, _, secret = token.removeprefix(PREFIX).partition("_")
        with self._store.read() as snapshot:
            row = _find(snapshot, id)
        holds = _same(_digest(secret), _NO_DIGEST if row is None else bytes(row.sha256))
        if row is None or not holds or row.revoked_at is not None:
            raise Unauthorized(
                "this key is unknown or was revoked; `lookalike keys list` shows the valid ones"
            )
        return Caller(row.name, Scope(row.scope), row.namespace, row.id)


def check_bind(host: str, settings: Settings, *, has_keys: bool) -> None:
    """Raise BadSetting if a server at this address could be reached by others without a key."""
    if not (is_loopback(host) or settings.api_key or has_keys):
        raise BadSetting(
            f"the address {host!r} can be reached from other machines, and there is no key: make "
            "one with `lookalike keys create`, or set LOOKALIKE_API_KEY, or listen on 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Return whether an address, or the name `localhost`, is on this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_namespace(namespace: str) -> None:
    """Raise BadInput for an invalid namespace."""
    if not _NAMESPACE.fullmatch(namespace):
        raise BadInput(
            f"{namespace[:100]!r} is not a valid namespace: use 1 to 100 letters, digits, '_' and "
            "'-'"
        )


def _token(authorization: str | None) -> str | None:
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() == "basic":
        return _password(token)
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _password(token: str) -> str | None:
    """Return the password of Basic authentication (RFC 7617), as Label Studio sends a key."""
    try:
        user_and_password = base64.b64decode(token, validate=True).decode()
    except ValueError:
        return None
    return user_and_password.partition(":")[2] or None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _same(one: bytes, other: bytes) -> bool:
    return hmac.compare_digest(one, other)


def _scope(scope: Scope | str) -> Scope:
    try:
        return Scope(scope)
    except ValueError:
        known = ", ".join(Scope)
        raise BadInput(f"{scope!r} is not a scope of a key; known: {known}") from None


def _find(snapshot: Snapshot, id: str) -> Row[Any] | None:
    rows = snapshot.rows(select(schema.api_key).where(schema.api_key.c.id == id))
    return rows[0] if rows else None


def _key(row: Row[Any]) -> Key:
    return Key(row.id, row.name, Scope(row.scope), row.namespace, row.created_at, row.revoked_at)


# --- signed URLs: read or send one file without a key --------------------------------------------

# The signature is an HMAC-SHA256 over the path, the parameters in order and the expiry time.
# Webhooks are signed as in the Standard Webhooks specification.

EXPIRES = "expires"
SIGNATURE = "signature"
"""The two parameters that a signed URL has in addition to its own."""

_META_KEY = "signing_secret"
_WEBHOOK_PREFIX = "whsec_"


class Signer:
    """Signs paths and checks signatures with one secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, path: str, params: Mapping[str, str], expires_at: float) -> str:
        """Return the query string that allows `path` (not percent-encoded) until `expires_at`.

        Raises BadInput for a parameter with the name of one of the signature's parameters.
        """
        taken = sorted({EXPIRES, SIGNATURE} & set(params))
        if taken:
            raise BadInput(f"a signed address cannot have a parameter named {taken[0]!r}")
        pairs = sorted(params.items())
        expires = str(math.floor(expires_at))
        signature = self._signature(path, pairs, expires)
        return urlencode([*pairs, (EXPIRES, expires), (SIGNATURE, signature)])

    def check(self, path: str, query: str, now: float) -> None:
        """Raise Forbidden unless `query` was signed for `path` and has not expired at `now`."""
        pairs = parse_qsl(query, keep_blank_values=True)
        own = sorted(pair for pair in pairs if pair[0] not in (EXPIRES, SIGNATURE))
        expires = [value for name, value in pairs if name == EXPIRES]
        given = [value for name, value in pairs if name == SIGNATURE]
        if len(expires) != 1 or len(given) != 1:
            raise Forbidden(f"a signed address has one {EXPIRES!r} and one {SIGNATURE!r}")
        expected = self._signature(path, own, expires[0])
        if not hmac.compare_digest(expected.encode(), given[0].encode("utf-8", "replace")):
            raise Forbidden("this address was changed after it was signed; ask for another one")
        if now >= int(expires[0]):
            raise Forbidden("this signed address has expired; ask for another one")

    def _signature(self, path: str, pairs: list[tuple[str, str]], expires: str) -> str:
        message = json.dumps([path, pairs, expires]).encode()
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()


def webhook_headers(secret: str, id: str, now: float, body: bytes) -> dict[str, str]:
    """Return the headers that prove the sender and the time of a webhook's body.

    The signature is an HMAC-SHA256 over id, time and body, in base64 (standardwebhooks.com). A
    secret that begins with `whsec_` is decoded as base64, as receivers' libraries do; any other
    secret is used as it is. Raises BadSetting without a secret, or if it is not valid base64.

    >>> webhook_headers("sixteen-characters", "msg_1", 1700000000.5, b"{}")["webhook-timestamp"]
    '1700000000'
    """
    if not secret:
        raise BadSetting("a webhook is signed: set LOOKALIKE_WEBHOOK_SECRET for the worker")
    key = secret.encode()
    if secret.startswith(_WEBHOOK_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(_WEBHOOK_PREFIX), validate=True)
        except binascii.Error as error:
            raise BadSetting(
                "LOOKALIKE_WEBHOOK_SECRET begins with 'whsec_', but the rest is not base64; make "
                "one with `openssl rand -base64 32`"
            ) from error
    timestamp = str(math.floor(now))
    message = f"{id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
    }


def signing_secret(store: Store) -> bytes:
    """Return the secret of a store, created at the first call."""
    with store.read() as snapshot:
        known = _stored(snapshot)
    if known is not None:
        return known
    with store.write() as txn:
        known = _stored(txn)  # another process may have created it
        if known is None:
            known = secrets.token_bytes(_SECRET_BYTES)
            txn.insert(schema.meta, [{"key": _META_KEY, "value": known.hex()}])
    return known


def _stored(snapshot: Snapshot) -> bytes | None:
    table = schema.meta
    rows = snapshot.rows(select(table.c.value).where(table.c.key == _META_KEY))
    return bytes.fromhex(rows[0].value) if rows else None
