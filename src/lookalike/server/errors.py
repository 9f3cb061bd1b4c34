"""Errors as answers: one place gives each its status and its stable code."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from lookalike import errors
from lookalike.server.security.rules import error_body
from lookalike.server.shapes import ErrorReply

_LOG = logging.getLogger("lookalike.server")
_RETRY_S = 5
_WORDS = {
    "dict_type": "give an object",
    "missing": "it is required",
    "model_attributes_type": "give an object",
    "model_type": "give an object",
}
"""What is wrong with a value, where the library that checks it speaks of Python."""


_STATUSES: tuple[tuple[type[errors.LookalikeError], int], ...] = (
    (errors.Conflict, 409),
    (errors.NotFound, 404),
    (errors.BadInput, 422),
    (errors.Unauthorized, 401),
    (errors.Forbidden, 403),
    (errors.MissingExtra, 422),
    (errors.StoreError, 503),
)
"""The first that fits counts."""

_OTHERS = (
    (400, "malformed", "The body is not JSON, or broke off."),
    (403, "host_refused", "The server is not called by that name."),
    (403, "origin_refused", "A page of another origin may not write here."),
    (405, "method_not_allowed", "The address does not take this method."),
    (413, "too_large", "The body is larger than the setting allows."),
    (415, "unsupported_media_type", "The body is of another type than JSON."),
    (422, "bad_request", "A key, a parameter or a header is not as it is described."),
    (429, "rate_limited", "More requests a second than the setting allows; wait as told."),
    (500, "internal", "A defect of the server; its log has the rest."),
    (503, "not_ready", "A probe is told that the server cannot do its work now, and why."),
)
"""What no error of ours stands for."""


def _ours_by_status() -> Iterator[tuple[int, str, str]]:
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.LookalikeError):
            status = next((number for root, number in _STATUSES if issubclass(kind, root)), None)
            if status is not None and "code" in vars(kind):
                yield status, kind.code, " ".join(str(kind.__doc__).split())


ANSWERS: tuple[tuple[int, str, str], ...] = tuple(sorted([*_ours_by_status(), *_OTHERS]))
"""Status, code and meaning of every error that the server answers."""

RESPONSES: Mapping[int | str, dict[str, Any]] = {
    status: {
        "model": ErrorReply,
        "description": " ".join(
            f"`{code}`: {meaning}" for other, code, meaning in ANSWERS if other == status
        ),
    }
    for status, _, _ in ANSWERS
}
"""How the errors stand in the OpenAPI document; any route may answer any of them."""


def answer_errors(app: FastAPI) -> None:
    """Let an application answer every error as `{"error": {code, message, details}}`."""
    app.add_exception_handler(errors.LookalikeError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _broken_off)
    app.add_exception_handler(Exception, _unexpected)


def code_of(error: errors.LookalikeError) -> tuple[int, str]:
    """Return the status and the code of an error of ours."""
    status = next(status for kind, status in _STATUSES if isinstance(error, kind))
    return status, error.code


def _answer(
    status: int,
    code: str,
    message: str,
    details: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    body = error_body(status, code, message, details or {})
    return JSONResponse(body, status, headers=dict(headers or {}))


async def _ours(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.LookalikeError)
    status, code = code_of(error)
    if isinstance(error, errors.StoreError):
        _LOG.error("%s", error)
        passing = errors.StoreUnwritable | errors.StoreBusy | errors.StoreUnreachable
        retryable = isinstance(error, passing)
        details = {"retryable": retryable, "retry_after_seconds": _RETRY_S}
        message = "the store cannot do this now; the server's log says why"
        return _answer(status, code, message, details, {"retry-after": str(_RETRY_S)})
    return _answer(status, code, str(error), error.now if isinstance(error, errors.Stale) else None)


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = [_problem(one) for one in error.errors()]
    where = f"{found[0]['where']}: " if found[0]["where"] else ""
    return _answer(422, "bad_request", f"{where}{found[0]['problem']}", {"problems": found[:20]})


async def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = next((code for status, code, _ in ANSWERS if status == error.status_code), "malformed")
    message = {
        404: "there is no such address; /docs lists those that there are",
        405: "this address does not take this method; /docs tells which it takes",
    }.get(error.status_code, str(error.detail))
    return _answer(error.status_code, code, message, headers=error.headers)


async def _broken_off(_request: Request, _error: Exception) -> JSONResponse:
    return _answer(400, "malformed", "the body broke off; send the request again")


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    _LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
    message = "something went wrong here; the server's log says what, under the request's id"
    return _answer(500, "internal", message, {"retryable": False})


def _problem(found: Mapping[str, Any]) -> dict[str, str]:
    problem = _WORDS.get(found["type"], str(found["msg"]))
    return {"where": _where(found["loc"]), "problem": problem}


def _where(location: Sequence[Any]) -> str:
    """Return the place of a problem as a path: `stages.0.top_k`."""
    parts = [str(part)[:80] for part in location]
    named = len(parts) > 1 and parts[0] in ("body", "query", "path")
    return ".".join(parts[1:] if named else parts)
