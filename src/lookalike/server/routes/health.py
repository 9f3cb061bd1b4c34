"""Whether the server is well: what probes and load balancers are told. Anybody may ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from lookalike import __version__
from lookalike.library.health import OK, Readiness, troubles_of
from lookalike.server.context import Here
from lookalike.server.events import newest_revision
from lookalike.server.security.refusal import error_body
from lookalike.server.shapes import JsonRoute, Reply

router = APIRouter(prefix="/v1/health", tags=["health"], route_class=JsonRoute)

_RETRY_S = 5


def _readiness(request: Request) -> Readiness:
    return cast("Readiness", request.app.state.readiness)


Probed = Annotated[Readiness, Depends(_readiness)]


class Health(Reply):
    """That requests can be served."""

    status: str = "OK"
    version: str = __version__


class Ready(Health):
    """That the server can do its work now, and what was looked at."""

    checks: dict[str, str]


class DeepHealth(Health):
    """Which parts work."""

    data: dict[str, bool]


@router.get("")
def health() -> Health:
    """Answer as soon as requests can be served."""
    return Health()


@router.get("/liveness", response_model=Health)
def liveness(request: Request) -> Response | Health:
    """Answer while the server lives; 503 where only a new start helps."""
    if request.app.state.context.worker.has_died:
        return _unwell({"worker": "has died"})
    return Health()


@router.get("/readiness", response_model=Ready)
def readiness(probed: Probed) -> Response | Ready:
    """Answer whether the server can do its work now; 503 with what is wrong, and while it ends."""
    checks = probed.checks()
    if any(found != OK for found in checks.values()):
        return _unwell(checks)
    return Ready(checks=dict(checks))


@router.get("/deep")
def deep(here: Here) -> DeepHealth:
    """Read from the store, and tell which parts work."""
    with here.workshop.store.read() as snapshot:
        works = newest_revision(snapshot) >= 0
    parts = ("cache", "metadata", "vector_store", "object_storage", "task_queue", "inference")
    return DeepHealth(data=dict.fromkeys(parts, works))


def _unwell(checks: Mapping[str, str]) -> Response:
    details = {"checks": dict(checks), "retryable": True, "retry_after_seconds": _RETRY_S}
    body = error_body(503, "not_ready", troubles_of(checks), details)
    return JSONResponse(body, 503, headers={"retry-after": str(_RETRY_S)})
