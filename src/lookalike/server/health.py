"""Whether the server is well. Anybody may ask."""

from __future__ import annotations

from fastapi import APIRouter

from lookalike.server.context import Here
from lookalike.server.events import newest_revision
from lookalike.server.shapes import JsonRoute, Reply
from lookalike.version import __version__

router = APIRouter(prefix="/v1/health", tags=["health"], route_class=JsonRoute)


class Health(Reply):
    """That requests can be served."""

    status: str = "OK"
    version: str = __version__


class DeepHealth(Health):
    """Which parts work."""

    data: dict[str, bool]


@router.get("")
def health() -> Health:
    """Answer as soon as requests can be served."""
    return Health()


@router.get("/liveness")
def liveness() -> Health:
    """Answer while the server lives."""
    return Health()


@router.get("/deep")
def deep(here: Here) -> DeepHealth:
    """Read from the store, and tell which parts work."""
    with here.workshop.store.read() as snapshot:
        works = newest_revision(snapshot) >= 0
    parts = ("cache", "metadata", "vector_store", "object_storage", "task_queue", "inference")
    return DeepHealth(data=dict.fromkeys(parts, works))
