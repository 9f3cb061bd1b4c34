"""The gate that every request passes: who may in, how often, how much, and what is written down.

```
request ─▶ host ─▶ origin ─▶ key or signature ─▶ rate ─▶ scope ─▶ namespace ─▶ size ─▶ routes
```
Routes find `caller` (`Caller`, None where anybody may ask), `namespace` and `request_id` in
`request.state`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as HttpScope
from ulid import ULID

from lookalike.catalog.api_keys import (
    SIGNATURE,
    Access,
    Caller,
    Scope,
    Signer,
    check_namespace,
    is_loopback,
)
from lookalike.errors import Forbidden, LookalikeError, Unauthorized
from lookalike.server.security import rules
from lookalike.server.security.rules import (
    CountedBody,
    RateLimit,
    Refusal,
    check_host,
    check_origin,
    host_names,
    refusal_of,
)
from lookalike.settings import Settings

# --- the access log: writes and refusals, one line of JSON each ----------------------------------

# Neither bodies nor queries are in it, so neither secrets nor signatures. Each line is one write to
# a file opened for appending: several processes share the file, and it may be moved away at any
# time.

_LONGEST_PATH = 1000
_log = logging.getLogger(__name__)


class AccessLog:
    """The file `logs/audit.jsonl` of a store."""

    def __init__(self, root: Path) -> None:
        self._file = root / "logs" / "audit.jsonl"

    def write(self, *, at: float, path: str, **values: Any) -> None:
        """Append a line. `at` is in UTC seconds; `values` are what JSON can hold.

        A line that the disk does not take is reported in the program's own log.
        """
        time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": time, "path": path[:_LONGEST_PATH], **values}) + "\n"
        try:
            self._append(line.encode())
        except OSError as error:
            _log.error("the audit log misses a line (%s): %s", error.strerror, line.rstrip())

    def _append(self, line: bytes) -> None:
        self._file.parent.mkdir(exist_ok=True)
        descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)


# -------------------------------------------------------------------------------------------------

DEFAULT_RATE_PER_S = 200.0
"""Where others can reach the server and no setting says otherwise."""

_HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""Sent where a route sends no other."""

NAMESPACE = "namespace"
"""The parameter of a signed address that binds it to a namespace."""

_SIGNED = "a signed address"
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
_REFUSED = frozenset({401, 403, 413, 429})
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PASSAGE = "lookalike.passage"


@dataclass(slots=True)
class _Passage:
    """One request on its way through the gate."""

    request_id: str
    method: str
    path: str
    address: str
    started: float
    caller: Caller | None = None
    namespace: str | None = None
    is_answered: bool = False
    is_noted: bool = True

    @property
    def is_write(self) -> bool:
        return rules.needed(self.method, self.path) is not Scope.READ


class Gate:
    """An ASGI application in front of another one, `app`, that listens on `host`."""

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        settings: Settings,
        audit: AccessLog,
        *,
        signer: Signer,
        host: str,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._access = access
        self._settings = settings
        self._audit = audit
        self._signer = signer
        self._clock = clock
        self._timer = timer
        self._is_local = is_loopback(host)
        self._host_names = host_names(host, settings.allowed_hosts)
        unset = 0.0 if self._is_local else DEFAULT_RATE_PER_S
        self._rate = RateLimit(unset if settings.rate_per_s is None else settings.rate_per_s, timer)
        self._way_in = self._with_cors() if settings.cors_origins else self._admit

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it with the reason why not."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        passage = self._passage(scope)
        scope[_PASSAGE] = passage

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._note(passage, message["status"])
                _complete(message, passage)
            await send(message)

        try:
            await self._way_in(scope, receive, answer)
        finally:
            if not passage.is_answered:
                self._note(passage, None)

    def _with_cors(self) -> ASGIApp:
        return CORSMiddleware(
            self._admit,
            allow_origins=self._settings.cors_origins,
            allow_methods=_METHODS,
            allow_headers=["*"],
            expose_headers=["ETag", "Retry-After", "X-Request-Id"],
        )

    async def _admit(self, scope: HttpScope, receive: Receive, send: Send) -> None:
        passage: _Passage = scope[_PASSAGE]
        headers = Headers(scope=scope)
        is_file = rules.takes_file(passage.method, passage.path)
        settings = self._settings
        body = CountedBody(receive, settings.max_blob_bytes if is_file else settings.max_json_bytes)
        try:
            await self._check(passage, headers, scope["query_string"].decode("latin-1"))
            body.check_declared(headers.get("content-length"))
            state = scope.setdefault("state", {})
            state["caller"] = passage.caller
            state["namespace"] = passage.namespace
            state["request_id"] = passage.request_id
            await self._pass_on(scope, body, send)
        except Refusal as refusal:
            passage.is_noted = refusal.is_noted
            await refusal.answer(send)

    async def _pass_on(self, scope: HttpScope, body: CountedBody, send: Send) -> None:
        """Run the application. Raises a Refusal when more comes than may, and it has not answered.

        What it would answer to half a body is dropped.
        """
        passage: _Passage = scope[_PASSAGE]

        async def forward(message: Message) -> None:
            if passage.is_answered or not body.is_too_large:
                await send(message)

        try:
            await self._app(scope, body.receive, forward)
        except ClientDisconnect:
            if not body.is_too_large:
                raise
        if body.is_too_large and not passage.is_answered:
            raise body.refusal()

    async def _check(self, passage: _Passage, headers: Headers, query: str) -> None:
        """Find out who it is and whether they may. Raises a Refusal."""
        check_host(headers, self._host_names)
        if not rules.is_safe(passage.method):
            check_origin(headers, self._settings.cors_origins)
        try:
            if rules.is_open(passage.method, passage.path):
                passage.namespace = self._settings.namespace
                return
            passage.caller = await self._caller(passage, headers, query)
            self._rate.take(passage.caller.key_id or passage.address)
            _check_scope(passage, passage.caller)
            passage.namespace = self._namespace(passage.caller, headers.get("x-namespace"))
        except LookalikeError as error:
            raise refusal_of(error) from error

    async def _caller(self, passage: _Passage, headers: Headers, query: str) -> Caller:
        try:
            if rules.can_be_signed(passage.method, passage.path):
                params = dict(parse_qsl(query, keep_blank_values=True))
                if SIGNATURE in params:
                    self._signer.check(passage.path, query, self._clock())
                    scope = rules.needed(passage.method, passage.path)
                    return Caller(_SIGNED, scope, params.get(NAMESPACE))
            loopback = self._is_local and not any(name in headers for name in _FORWARDED)
            authorization = headers.get("authorization")
            if authorization is None:  # nothing to be looked up in the store
                return self._access.caller(None, loopback=loopback)
            return await asyncio.to_thread(self._access.caller, authorization, loopback=loopback)
        except (Forbidden, Unauthorized):
            self._rate.take(passage.address)
            raise

    def _namespace(self, caller: Caller, asked: str | None) -> str:
        if asked:
            check_namespace(asked)
        if caller.namespace is not None and asked not in (None, "", caller.namespace):
            raise Forbidden(
                f"this key is for the namespace {caller.namespace!r}; leave X-Namespace away"
            )
        return asked or caller.namespace or self._settings.namespace

    def _passage(self, scope: HttpScope) -> _Passage:
        given = Headers(scope=scope).get("x-request-id", "")
        client = scope.get("client")
        return _Passage(
            request_id=given if _REQUEST_ID.fullmatch(given) else str(ULID()),
            method=scope["method"],
            path=scope["path"],
            address=client[0] if client else "",
            started=self._timer(),
        )

    def _note(self, passage: _Passage, status: int | None) -> None:
        """Write a write or a refusal down before the answer goes out; None is no answer at all."""
        passage.is_answered = True
        if not passage.is_noted or not (passage.is_write or status in _REFUSED):
            return
        caller = passage.caller
        self._audit.write(
            at=self._clock(),
            request_id=passage.request_id,
            caller=caller and caller.name,
            key_id=caller and caller.key_id,
            namespace=passage.namespace,
            method=passage.method,
            path=passage.path,
            status=status,
            ms=round((self._timer() - passage.started) * 1000, 1),
            address=passage.address,
        )


def _check_scope(passage: _Passage, caller: Caller) -> None:
    needed = rules.needed(passage.method, passage.path)
    if not caller.scope.covers(needed):
        raise Forbidden(
            f"this key has the scope {caller.scope.value!r}, and {passage.method} "
            f"{passage.path[:200]} needs {needed.value!r}"
        )


def _complete(message: Message, passage: _Passage) -> None:
    """Give a response the headers that all have."""
    headers = MutableHeaders(scope=message)
    del headers["server"]
    headers["x-request-id"] = passage.request_id
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
