"""The gate: ASGI middleware that checks each request before the routes, and logs writes.

```
request ─▶ host ─▶ origin ─▶ key or signature ─▶ rate ─▶ scope ─▶ namespace ─▶ size ─▶ routes
```
Routes find `caller` (`Caller`, None where the URL is open to anybody), `namespace` and `request_id`
in `request.state`.
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

# --- the access log: writes and refused requests, one line of JSON each --------------------------

# It has neither bodies nor queries, so neither secrets nor signatures. Each line is one write to a
# file opened for appending: several processes may share the file, and log rotation may move it.

_MAX_PATH = 1000
_log = logging.getLogger(__name__)


class AccessLog:
    """The file `logs/audit.jsonl` of a store."""

    def __init__(self, root: Path) -> None:
        self._file = root / "logs" / "audit.jsonl"

    def write(self, *, at: float, path: str, **values: Any) -> None:
        """Append a line. `at` is in UTC seconds; `values` must be JSON values.

        If the write fails, the line goes to the program's own log.
        """
        time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": time, "path": path[:_MAX_PATH], **values}) + "\n"
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
"""The rate limit where other machines can reach the server and the setting is not given."""

_HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""Default response headers; a route may send its own."""

NAMESPACE = "namespace"
"""The parameter of a signed URL that binds it to a namespace."""

_SIGNED = "a signed address"
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
_REFUSED = frozenset({401, 403, 413, 429})
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_VISIT = "lookalike.visit"


@dataclass(slots=True)
class _Visit:
    """One request in the gate: what is known of it so far."""

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
    """ASGI middleware around `app`, for a server that listens on `host`."""

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
        self._entry = self._with_cors() if settings.cors_origins else self._admit

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> None:
        """Pass a request on, or send the error why it is refused."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        visit = self._visit(scope)
        scope[_VISIT] = visit

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._note(visit, message["status"])
                _complete(message, visit)
            await send(message)

        try:
            await self._entry(scope, receive, answer)
        finally:
            if not visit.is_answered:
                self._note(visit, None)

    def _with_cors(self) -> ASGIApp:
        return CORSMiddleware(
            self._admit,
            allow_origins=self._settings.cors_origins,
            allow_methods=_METHODS,
            allow_headers=["*"],
            expose_headers=["ETag", "Retry-After", "X-Request-Id"],
        )

    async def _admit(self, scope: HttpScope, receive: Receive, send: Send) -> None:
        visit: _Visit = scope[_VISIT]
        headers = Headers(scope=scope)
        is_file = rules.takes_file(visit.method, visit.path)
        settings = self._settings
        body = CountedBody(receive, settings.max_blob_bytes if is_file else settings.max_json_bytes)
        try:
            await self._check(visit, headers, scope["query_string"].decode("latin-1"))
            body.check_declared(headers.get("content-length"))
            state = scope.setdefault("state", {})
            state["caller"] = visit.caller
            state["namespace"] = visit.namespace
            state["request_id"] = visit.request_id
            await self._pass_on(scope, body, send)
        except Refusal as refusal:
            visit.is_noted = refusal.is_noted
            await refusal.answer(send)

    async def _pass_on(self, scope: HttpScope, body: CountedBody, send: Send) -> None:
        """Run the application. Raises a Refusal for a too large body, unless it responded before.

        Its response to an incomplete body is dropped.
        """
        visit: _Visit = scope[_VISIT]

        async def forward(message: Message) -> None:
            if visit.is_answered or not body.is_too_large:
                await send(message)

        try:
            await self._app(scope, body.receive, forward)
        except ClientDisconnect:
            if not body.is_too_large:
                raise
        if body.is_too_large and not visit.is_answered:
            raise body.refusal()

    async def _check(self, visit: _Visit, headers: Headers, query: str) -> None:
        """Identify the caller and check what the request may do. Raises a Refusal."""
        check_host(headers, self._host_names)
        if not rules.is_safe(visit.method):
            check_origin(headers, self._settings.cors_origins)
        try:
            if rules.is_open(visit.method, visit.path):
                visit.namespace = self._settings.namespace
                return
            visit.caller = await self._caller(visit, headers, query)
            self._rate.take(visit.caller.key_id or visit.address)
            _check_scope(visit, visit.caller)
            visit.namespace = self._namespace(visit.caller, headers.get("x-namespace"))
        except LookalikeError as error:
            raise refusal_of(error) from error

    async def _caller(self, visit: _Visit, headers: Headers, query: str) -> Caller:
        try:
            if rules.can_be_signed(visit.method, visit.path):
                params = dict(parse_qsl(query, keep_blank_values=True))
                if SIGNATURE in params:
                    self._signer.check(visit.path, query, self._clock())
                    scope = rules.needed(visit.method, visit.path)
                    return Caller(_SIGNED, scope, params.get(NAMESPACE))
            loopback = self._is_local and not any(name in headers for name in _FORWARDED)
            authorization = headers.get("authorization")
            if authorization is None:  # needs no look-up in the store, so no thread
                return self._access.caller(None, loopback=loopback)
            return await asyncio.to_thread(self._access.caller, authorization, loopback=loopback)
        except (Forbidden, Unauthorized):
            self._rate.take(visit.address)
            raise

    def _namespace(self, caller: Caller, requested: str | None) -> str:
        if requested:
            check_namespace(requested)
        if caller.namespace is not None and requested not in (None, "", caller.namespace):
            raise Forbidden(
                f"this key is for the namespace {caller.namespace!r}; leave out X-Namespace"
            )
        return requested or caller.namespace or self._settings.namespace

    def _visit(self, scope: HttpScope) -> _Visit:
        given = Headers(scope=scope).get("x-request-id", "")
        client = scope.get("client")
        return _Visit(
            request_id=given if _REQUEST_ID.fullmatch(given) else str(ULID()),
            method=scope["method"],
            path=scope["path"],
            address=client[0] if client else "",
            started=self._timer(),
        )

    def _note(self, visit: _Visit, status: int | None) -> None:
        """Log a write or a refused request before its response is sent; None is no response."""
        visit.is_answered = True
        if not visit.is_noted or not (visit.is_write or status in _REFUSED):
            return
        caller = visit.caller
        self._audit.write(
            at=self._clock(),
            request_id=visit.request_id,
            caller=caller and caller.name,
            key_id=caller and caller.key_id,
            namespace=visit.namespace,
            method=visit.method,
            path=visit.path,
            status=status,
            ms=round((self._timer() - visit.started) * 1000, 1),
            address=visit.address,
        )


def _check_scope(visit: _Visit, caller: Caller) -> None:
    needed = rules.needed(visit.method, visit.path)
    if not caller.scope.covers(needed):
        raise Forbidden(
            f"this key has the scope {caller.scope.value!r}, but {visit.method} "
            f"{visit.path[:200]} needs {needed.value!r}"
        )


def _complete(message: Message, visit: _Visit) -> None:
    """Set the headers that every response has."""
    headers = MutableHeaders(scope=message)
    del headers["server"]
    headers["x-request-id"] = visit.request_id
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
