"""A request that is refused before any route sees it, and the answer that it gets."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from starlette.types import Send

from lookalike.errors import Forbidden, LookalikeError, StoreError, Unauthorized

_RETRY_S = 5
_LONGEST = 2000
"""So many characters has a message at most: it quotes what came, and much may come."""
_log = logging.getLogger(__name__)


class Refusal(Exception):
    """Why a request is refused: status, stable code, message with the cure, details.

    The audit log has a line of it where `is_noted`: who knocks without end does not fill the disk.
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
        """Send it as a response."""
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
    """Return what every error of the server looks like."""
    if len(message) > _LONGEST:
        message = f"{message[:_LONGEST]}…"
    error = {"code": code, "type": code, "message": message, "details": dict(details)}
    return {"status": status, "success": False, "error": error}


def refusal_of(error: LookalikeError) -> Refusal:
    """Return the refusal that an error about keys, addresses or headers stands for."""
    if isinstance(error, Unauthorized):
        headers = {"www-authenticate": "Bearer"}
        return Refusal(401, "unauthorized", str(error), headers=headers)
    if isinstance(error, Forbidden):
        return Refusal(403, "forbidden", str(error))
    if isinstance(error, StoreError):
        _log.error("%s", error)
        details = {"retryable": True, "retry_after_seconds": _RETRY_S}
        message = "the store cannot tell who you are now; the server's log says why"
        headers = {"retry-after": str(_RETRY_S)}
        return Refusal(503, "store_unavailable", message, details=details, headers=headers)
    return Refusal(422, "bad_input", str(error))
