"""Asking a server whether it is well, as the probe of a container does: with nothing heavy."""

from __future__ import annotations

import json
import os
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

from lookalike.errors import BadInput, Unreachable
from lookalike.settings import read_settings
from lookalike.stores.open import Place

_TIMEOUT_S = 5.0
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}


def own_address(store: str | None) -> str:
    """Return the address at which a server of this machine listens by its settings."""
    given = read_settings(os.environ).store if store is None else store
    settings = Place(given).settings(os.environ)
    host = _EVERYWHERE.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host and '[' not in host else host}:{settings.port}"


def check_server(url: str, *, only_alive: bool) -> str:
    """Return how the server at an address says it is.

    Raises Unreachable where it does not answer, or says that it is not well, BadInput for what is
    no address.
    """
    if not url.startswith(("http://", "https://")):
        raise BadInput(f"{url!r} is no address of a server; write http://HOST:PORT")
    address = f"{url.rstrip('/')}/v1/health/{'liveness' if only_alive else 'readiness'}"
    try:
        with build_opener(ProxyHandler({})).open(address, timeout=_TIMEOUT_S) as reply:
            reply.read()
    except HTTPError as error:
        raise Unreachable(f"{url} is not well: {_told(error)}") from error
    except (URLError, HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Unreachable(f"{url} does not answer: {reason}") from error
    return "alive" if only_alive else "ready"


def _told(error: HTTPError) -> str:
    try:
        return str(json.loads(error.read())["error"]["message"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"it answers {error.code}"
