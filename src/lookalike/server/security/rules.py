"""The rules that the gate applies: refusals, rate, body size, host and origin, scopes."""

from __future__ import annotations

import json
import logging
import math
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Send

from lookalike.catalog.api_keys import Scope, is_loopback
from lookalike.errors import Forbidden, LookalikeError, StoreError, Unauthorized
from lookalike.library.collection.collection import Collection
from lookalike.library.library import Library
from lookalike.library.verb import verbs_of

# --- refusals before any route -------------------------------------------------------------------

_RETRY_S = 5
_MAX_MESSAGE = 2000
"""The longest message, in characters: messages quote the request, which may be long."""
_log = logging.getLogger(__name__)


class Refusal(Exception):
    """Why a request is refused: status, stable code, message with the next step, details.

    The access log gets a line unless `is_noted` is off, so that endless requests fill no disk.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        is_noted: bool = True,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.details = dict(details or {})
        self.headers = dict(headers or {})
        self.is_noted = is_noted

    async def answer(self, send: Send) -> None:
        """Send the refusal as a response."""
        body = json.dumps(error_body(self.status, self.code, str(self), self.details)).encode()
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            **self.headers,
        }
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": raw})
        await send({"type": "http.response.body", "body": body})


def error_body(status: int, code: str, message: str, details: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of an error response."""
    if len(message) > _MAX_MESSAGE:
        message = f"{message[:_MAX_MESSAGE]}…"
    error = {"code": code, "type": code, "message": message, "details": dict(details)}
    return {"status": status, "success": False, "error": error}


def refusal_of(error: LookalikeError) -> Refusal:
    """Return the refusal for an error about keys, signed URLs or headers."""
    if isinstance(error, Unauthorized):
        headers = {"www-authenticate": "Bearer"}
        return Refusal(401, "unauthorized", str(error), headers=headers)
    if isinstance(error, Forbidden):
        return Refusal(403, "forbidden", str(error))
    if isinstance(error, StoreError):
        _log.error("%s", error)
        details = {"retryable": True, "retry_after_seconds": _RETRY_S}
        message = "the store cannot check your key now; see the server's log for the reason"
        headers = {"retry-after": str(_RETRY_S)}
        return Refusal(503, "store_unavailable", message, details=details, headers=headers)
    return Refusal(422, "bad_input", str(error))


# -------------------------------------------------------------------------------------------------

_CALLERS = 10_000


class RateLimit:
    """A token bucket per caller: a request takes one, `rate_per_s` are added, up to two seconds'.

    Only the most recent callers are remembered; any other starts with a full bucket.
    """

    def __init__(self, rate_per_s: float, timer: Callable[[], float]) -> None:
        self._rate_per_s = rate_per_s
        self._burst = max(1.0, 2 * rate_per_s)
        self._timer = timer
        self._buckets: OrderedDict[str, tuple[float, float, bool]] = OrderedDict()

    def take(self, who: str) -> None:
        """Take a token of a caller. Raises a Refusal with the time to wait if there is none."""
        if not self._rate_per_s:
            return
        now = self._timer()
        tokens, since, was_refused = self._buckets.pop(who, (self._burst, now, False))
        tokens = min(self._burst, tokens + (now - since) * self._rate_per_s)
        has_one = tokens >= 1
        self._buckets[who] = (tokens - has_one, now, not has_one)
        if len(self._buckets) > _CALLERS:
            self._buckets.popitem(last=False)
        if not has_one:
            wait_s = (1 - tokens) / self._rate_per_s
            raise _too_many(self._rate_per_s, wait_s, is_noted=not was_refused)


class CountedBody:
    """The body of a request, counted while it is read, and cut off after `most_bytes`.

    To the application a cut-off body looks like a client that disconnected.
    """

    def __init__(self, receive: Receive, most_bytes: int) -> None:
        self._receive = receive
        self._most_bytes = most_bytes
        self._seen_bytes = 0

    @property
    def is_too_large(self) -> bool:
        """Return whether the body is larger than allowed."""
        return self._seen_bytes > self._most_bytes

    async def receive(self) -> Message:
        """Return the next part of the body, as an ASGI message."""
        if self.is_too_large:
            return {"type": "http.disconnect"}
        message = await self._receive()
        self._seen_bytes += len(message.get("body", b""))
        return {"type": "http.disconnect"} if self.is_too_large else message

    def check_declared(self, content_length: str | None) -> None:
        """Raise a Refusal where the declared length is larger than allowed."""
        declared = content_length or ""
        if declared.isdecimal() and int(declared) > self._most_bytes:
            raise self.refusal()

    def refusal(self) -> Refusal:
        """Return the refusal of a body that is too large."""
        return Refusal(
            413,
            "too_large",
            f"the body is larger than {self._most_bytes} bytes; send it in parts",
            details={"most_bytes": self._most_bytes},
        )


def _too_many(rate_per_s: float, wait_s: float, *, is_noted: bool) -> Refusal:
    return Refusal(
        429,
        "rate_limited",
        f"more than {rate_per_s:g} requests per second; wait {wait_s:.3f} s, or set "
        "LOOKALIKE_RATE_PER_S",
        details={"retryable": True, "retry_after_seconds": round(wait_s, 3)},
        headers={"retry-after": str(max(1, math.ceil(wait_s)))},
        is_noted=is_noted,
    )


# --- origin and host checks ----------------------------------------------------------------------

# A page of any site can send requests to this machine. `Host` shows the name by which it reached
# this machine (DNS rebinding), `Origin` shows the site.

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


def host_names(bound: str, allowed: Sequence[str]) -> frozenset[str] | None:
    """Return the names allowed in `Host`, or None for any name.

    Any name is safe only where every request needs a key: where the server binds no loopback.
    """
    if not allowed and not is_loopback(bound):
        return None
    own = f"[{bound}]" if ":" in bound and not bound.startswith("[") else bound
    return frozenset({*_LOCAL_NAMES, own.lower(), *allowed})


def check_host(headers: Headers, names: frozenset[str] | None) -> None:
    """Raise a Refusal for a `Host` that is invalid or none of the allowed names.

    The URLs that the server signs start with it.
    """
    host = headers.get("host", "")
    is_name = not host or _HOST.fullmatch(host)
    if not is_name or (names is not None and _name(host) not in names):
        raise Refusal(
            403,
            "host_refused",
            f"{host[:100]!r} is no name of this server; if it should be, add it to "
            "LOOKALIKE_ALLOWED_HOSTS",
        )


def check_origin(headers: Headers, allowed: Sequence[str]) -> None:
    """Raise a Refusal for a write that comes from a page of another origin."""
    origin = headers.get("origin", "").lower()
    if origin in allowed:
        return
    own = origin.partition("://")[2] == headers.get("host", "").lower()
    foreign = not own if origin else headers.get("sec-fetch-site") == "cross-site"
    if foreign:
        raise Refusal(
            403,
            "origin_refused",
            f"a page of {origin[:100] or 'another site'!r} may not write; if it should, add its "
            "origin to LOOKALIKE_CORS_ORIGINS",
        )


def _name(host: str) -> str:
    """Return a `Host` header without the port, in lower case."""
    if host.startswith("["):
        return (host.partition("]")[0] + "]").lower()
    return host.partition(":")[0].lower()


# --- scopes: which scope a route needs, `admin` for routes that no table names -------------------

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

_OPEN = re.compile(r"/v1/health(/.*)?|/|/static/.+")
"""Health probes, and the review page, which asks the user for a key if one is needed."""

_READ_POSTS = re.compile(
    r"/v1/(\w+|\w+/[^/]+|\w+/[^/]+/\w+)"
    r"/(list|count|aggregate|distinct|export|execute|execute/batch)"
    r"|/v1/taxonomies/execute/[^/]+"
    r"|/v1/label-studio/[^/]+/(setup|predict)"
    r"|/v1/collections/[^/]+/map/documents"
)
"""POST routes that only read. No other may end in a name that users choose, such as `list`."""

_VERB = re.compile(r"/v1/(collections/[^/]+/)?verbs/(\w+)")
_READ_VERBS = re.compile(
    r"/v1/verbs/migration"
    r"|/v1/collections/[^/]+/verbs/(arrived|as_of|name|suggest|waiting|\w+_as_of)"
)
"""Read-only verbs with hand-written routes, and all verbs `as_of`."""

_LABEL = re.compile(
    r"(PATCH|PUT) /v1/buckets/[^/]+/objects/[^/]+"
    r"|(PATCH|PUT) /v1/collections/[^/]+/documents(/[^/]+)?"
    r"|POST /v1/collections/[^/]+/documents/batch"
    r"|POST /v1/collections/[^/]+/(labels|rejections|promotions)"
    r"|POST /v1/collections/[^/]+/rejections/(new-kind|cannot-tell)"
    r"|POST /v1/collections/[^/]+/audits(/[^/]+/(answers|close))?"
    r"|POST /v1/collections/[^/]+/versions(/[^/]+/retire)?"
    r"|POST /v1/(collections|taxonomies)/[^/]+/trials(/[^/]+/(answers|draw|drop))?"
    r"|POST /v1/(collections/[^/]+/)?operations/[^/]+/undo"
    r"|POST /v1/buckets/[^/]+/(objects|uploads)(/batch)?"
    r"|POST /v1/buckets/[^/]+/uploads/([^/]+/confirm|confirm/batch)"
    r"|POST /v1/collections/[^/]+/verbs/(add|add_vectors|upload)"
    r"|POST /v1/label-studio/[^/]+/(webhook|train)"
)

_SIGNED_READ = re.compile(r"(GET|HEAD) /v1/blobs/.+")
_SIGNED_WRITE = re.compile(r"PUT /v1/uploads/.+")


_DECLARED = {
    (owner is Collection, one.route): Scope(one.scope)
    for owner in (Collection, Library)
    for one in verbs_of(owner)
    if one.route is not None
}
"""The scope that each verb declares, by whether it is a collection's, and the route's name."""


def is_open(method: str, path: str) -> bool:
    """Tell whether a request needs no key."""
    return method in ("GET", "HEAD") and _OPEN.fullmatch(path) is not None


def can_be_signed(method: str, path: str) -> bool:
    """Tell whether a signed URL may replace a key: to read or to send one file."""
    request = f"{method} {path}"
    return bool(_SIGNED_READ.fullmatch(request) or _SIGNED_WRITE.fullmatch(request))


def takes_file(method: str, path: str) -> bool:
    """Tell whether the body is a file, which may be much larger than JSON."""
    return _SIGNED_WRITE.fullmatch(f"{method} {path}") is not None


def is_safe(method: str) -> bool:
    """Tell whether a method cannot change anything."""
    return method in _SAFE


def needed(method: str, path: str) -> Scope:
    """Return the scope that a request needs."""
    verb = _VERB.fullmatch(path) if method == "POST" else None
    declared = verb and _DECLARED.get((bool(verb[1]), verb[2]))
    if declared:
        return declared
    reads = _READ_POSTS.fullmatch(path) or _READ_VERBS.fullmatch(path)
    if method in _SAFE or (method == "POST" and reads):
        return Scope.READ
    labels = _LABEL.fullmatch(f"{method} {path}") or takes_file(method, path)
    return Scope.LABEL if labels else Scope.ADMIN
