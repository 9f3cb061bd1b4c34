"""Errors as HTTP responses: the only place that maps an error to its status and stable code."""

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
_MESSAGES = {
    "dict_type": "give an object",
    "missing": "it is required",
    "model_attributes_type": "give an object",
    "model_type": "give an object",
}
"""Messages that replace Pydantic's own where these speak of Python types."""

_STATUSES: tuple[tuple[type[errors.LookalikeError], int], ...] = (
    (errors.Conflict, 409),
    (errors.NotFound, 404),
    (errors.BadInput, 422),
    (errors.Unauthorized, 401),
    (errors.Forbidden, 403),
    (errors.MissingExtra, 422),
    (errors.StoreError, 503),
)
"""The status of an error class; the first class that an error is an instance of counts."""

_OTHERS = (
    (400, "malformed", "The body is not JSON, or is incomplete."),
    (403, "host_refused", "The `Host` header is none of the server's names."),
    (403, "origin_refused", "A page of another origin may not write."),
    (405, "method_not_allowed", "The URL does not allow this method."),
    (413, "too_large", "The body is larger than the setting allows."),
    (415, "unsupported_media_type", "The body has a content type other than JSON."),
    (422, "bad_request", "A key, parameter or header does not match its description."),
    (429, "rate_limited", "More requests per second than the setting allows; see `Retry-After`."),
    (500, "internal", "A bug in the server; its log has the details."),
    (503, "not_ready", "A probe's answer while the server cannot do its work; it says why."),
)
"""Status, code and meaning of errors that are no LookalikeError."""


def _lookalike_errors() -> Iterator[tuple[int, str, str]]:
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, errors.LookalikeError):
            status = next((number for root, number in _STATUSES if issubclass(error, root)), None)
            if status is not None and "code" in vars(error):
                yield status, error.code, " ".join(str(error.__doc__).split())


ANSWERS: tuple[tuple[int, str, str], ...] = tuple(sorted([*_lookalike_errors(), *_OTHERS]))
"""Status, code and meaning of every error that the server returns."""

RESPONSES: Mapping[int | str, dict[str, Any]] = {
    status: {
        "model": ErrorReply,
        "description": " ".join(
            f"`{code}`: {meaning}" for other, code, meaning in ANSWERS if other == status
        ),
    }
    for status, _, _ in ANSWERS
}
"""The errors in the OpenAPI document; any route may return any of them."""


def answer_errors(app: FastAPI) -> None:
    """Make an application return every error as `{"error": {code, message, details}}`."""
    app.add_exception_handler(errors.LookalikeError, _lookalike_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _disconnected)
    app.add_exception_handler(Exception, _unexpected)


def code_of(error: errors.LookalikeError) -> tuple[int, str]:
    """Return the status and the code of a LookalikeError."""
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


async def _lookalike_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.LookalikeError)
    status, code = code_of(error)
    if isinstance(error, errors.StoreError):
        _LOG.error("%s", error)
        temporary = errors.StoreUnwritable | errors.StoreBusy | errors.StoreUnreachable
        retryable = isinstance(error, temporary)
        details = {"retryable": retryable, "retry_after_seconds": _RETRY_S}
        message = "the store cannot do this now; see the server's log for the reason"
        return _answer(status, code, message, details, {"retry-after": str(_RETRY_S)})
    return _answer(status, code, str(error), error.now if isinstance(error, errors.Stale) else None)


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = [_problem(one) for one in error.errors()]
    first = problems[0]
    message = f"{first['where']}: {first['problem']}" if first["where"] else first["problem"]
    return _answer(422, "bad_request", message, {"problems": problems[:20]})


async def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = next((code for status, code, _ in ANSWERS if status == error.status_code), "malformed")
    message = {
        404: "there is no such URL; see /docs for all URLs",
        405: "this URL does not allow this method; see /docs for its methods",
    }.get(error.status_code, str(error.detail))
    return _answer(error.status_code, code, message, headers=error.headers)


async def _disconnected(_request: Request, _error: Exception) -> JSONResponse:
    return _answer(400, "malformed", "the body is incomplete; send the request again")


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    _LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
    message = "the server has a bug; its log has the details under the request's id"
    return _answer(500, "internal", message, {"retryable": False})


def _problem(error: Mapping[str, Any]) -> dict[str, str]:
    problem = _MESSAGES.get(error["type"], str(error["msg"]))
    return {"where": _where(error["loc"]), "problem": problem}


def _where(location: Sequence[Any]) -> str:
    """Return the location of a problem as a path, such as `stages.0.top_k`."""
    parts = [str(part)[:80] for part in location]
    named = len(parts) > 1 and parts[0] in ("body", "query", "path")
    return ".".join(parts[1:] if named else parts)
