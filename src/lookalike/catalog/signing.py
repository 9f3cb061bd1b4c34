"""Signed addresses: who holds one may read or send this one file, until it expires, without a key.

The signature is an HMAC-SHA256 over the path, the parameters in order and the time it expires.
Webhooks are signed as the Standard Webhooks specification has it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

from sqlalchemy import select

from lookalike.errors import BadInput, BadSetting, Forbidden
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Store

EXPIRES = "expires"
SIGNATURE = "signature"
"""The two parameters that a signed address has beside its own."""

_SECRET_BYTES = 32
_META_KEY = "signing_secret"
_WEBHOOK_PREFIX = "whsec_"


class Signer:
    """Signs paths and checks them, with one secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, path: str, params: Mapping[str, str], expires_at: float) -> str:
        """Return the query string that allows `path` (not percent-encoded) until `expires_at`.

        Raises BadInput for a parameter that is named like one of the signature's own.
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
    """Return the headers that tell who sent a webhook's body, and when.

    The signature is an HMAC-SHA256 over id, time and body, in base64 (standardwebhooks.com). A
    secret that begins with `whsec_` is base64, as receivers' libraries take it; another one is
    taken as it is. Raises BadSetting without a secret, or where that is no base64.

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
                "LOOKALIKE_WEBHOOK_SECRET begins with 'whsec_', and no base64 follows; make one "
                "with `openssl rand -base64 32`"
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
    """Return the secret of a store, made the first time that anybody asks."""
    with store.read() as snapshot:
        known = _stored(snapshot)
    if known is not None:
        return known
    with store.write() as txn:
        known = _stored(txn)  # another process may have been first
        if known is None:
            known = secrets.token_bytes(_SECRET_BYTES)
            txn.insert(schema.meta, [{"key": _META_KEY, "value": known.hex()}])
    return known


def _stored(snapshot: Snapshot) -> bytes | None:
    table = schema.meta
    rows = snapshot.rows(select(table.c.value).where(table.c.key == _META_KEY))
    return bytes.fromhex(rows[0].value) if rows else None
