"""Errors as answers: one place gives each its status and its stable code."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from lookalike import errors
from lookalike.server.refusal import error_body

_LOG = logging.getLogger("lookalike.server")
_RETRY_S = 5

_KINDS: tuple[tuple[type[errors.LookalikeError], int, str], ...] = (
    (errors.Stale, 409, "stale"),
    (errors.Conflict, 409, "conflict"),
    (errors.NotFound, 404, "not_found"),
    (errors.FetchRefused, 422, "fetch_refused"),
    (errors.BadContent, 422, "bad_content"),
    (errors.BadVector, 422, "bad_vector"),
    (errors.BadInput, 422, "bad_input"),
    (errors.Unauthorized, 401, "unauthorized"),
    (errors.Forbidden, 403, "forbidden"),
    (errors.MissingExtra, 422, "missing_extra"),
    (errors.StoreError, 503, "store_unavailable"),
)
"""The first that fits counts."""

CODES: Mapping[int, str] = {
    400: "malformed",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "too_large",
    415: "unsupported_media_type",
    429: "too_many_requests",
}
"""What a status alone means."""


def answer_errors(app: FastAPI) -> None:
    """Let an application answer every error as `{"error": {code, message, details}}`."""
    app.add_exception_handler(errors.LookalikeError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def code_of(error: Exception) -> tuple[int, str]:
    """Return the status and the code of an error of ours."""
    return next((status, code) for kind, status, code in _KINDS if isinstance(error, kind))


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
    status, code = code_of(error)
    if isinstance(error, errors.StoreError):
        _LOG.error("%s", error)
        retryable = isinstance(error, errors.StoreUnwritable)
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
    code = CODES.get(error.status_code, f"http_{error.status_code}")
    message = {
        404: "there is no such address; /docs lists those that there are",
        405: "this address does not take this method; /docs tells which it takes",
    }.get(error.status_code, str(error.detail))
    return _answer(error.status_code, code, message, headers=error.headers)


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    _LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
    message = "something went wrong here; the server's log says what, under the request's id"
    return _answer(500, "internal", message, {"retryable": False})


def _problem(found: Mapping[str, Any]) -> dict[str, str]:
    return {"where": _where(found["loc"]), "problem": str(found["msg"])}


def _where(location: Sequence[Any]) -> str:
    """Return the place of a problem as a path: `stages.0.top_k`."""
    parts = [str(part) for part in location]
    return ".".join(parts[1:] if parts and parts[0] in ("body", "query", "path") else parts)
