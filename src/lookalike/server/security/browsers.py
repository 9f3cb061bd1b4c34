"""What a browser tells of a request, against pages that reach for a server they do not belong to.

A page of any site can send requests to this machine. Its own name for this machine (DNS rebinding)
shows in `Host`, and itself in `Origin`.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from starlette.datastructures import Headers

from lookalike.catalog.api_keys import is_loopback
from lookalike.server.security.refusal import Refusal

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


def host_names(bound: str, allowed: Collection[str]) -> frozenset[str] | None:
    """Return the names a server may be called by, or None for any.

    Any is right only where no name opens a door: where everybody needs a key.
    """
    if not allowed and not is_loopback(bound):
        return None
    own = f"[{bound}]" if ":" in bound and not bound.startswith("[") else bound
    return frozenset({*_LOCAL_NAMES, own.lower(), *allowed})


def check_host(headers: Headers, names: frozenset[str] | None) -> None:
    """Raise a Refusal for a name that is none of the server's, or no name.

    Addresses that the server signs begin with it.
    """
    host = headers.get("host", "")
    is_name = not host or _HOST.fullmatch(host)
    if not is_name or (names is not None and _name(host) not in names):
        raise Refusal(
            403,
            "host_refused",
            f"this server is not called {host[:100]!r}; add the name to LOOKALIKE_ALLOWED_HOSTS "
            "if it is",
        )


def check_origin(headers: Headers, allowed: Collection[str]) -> None:
    """Raise a Refusal for a write that a page of another origin sends."""
    origin = headers.get("origin", "").lower()
    if origin in allowed:
        return
    own = origin.partition("://")[2] == headers.get("host", "").lower()
    foreign = not own if origin else headers.get("sec-fetch-site") == "cross-site"
    if foreign:
        raise Refusal(
            403,
            "origin_refused",
            f"a page of {origin[:100] or 'another site'!r} may not write here; add its origin to "
            "LOOKALIKE_CORS_ORIGINS if it may",
        )


def _name(host: str) -> str:
    """Return a host without its port."""
    if host.startswith("["):
        return (host.partition("]")[0] + "]").lower()
    return host.partition(":")[0].lower()
