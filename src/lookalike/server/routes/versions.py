"""Versions over HTTP: named points in a collection's ledger, how they differ, an old rule tried."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from lookalike.library.collection.redeciding import Redecided
from lookalike.library.versions import Comparison, Version
from lookalike.server.context import Here
from lookalike.server.shapes import Body, IdempotencyKey, JsonRoute, Reply

router = APIRouter(
    prefix="/v1/collections/{collection}/versions", tags=["versions"], route_class=JsonRoute
)

_POINT = "a version, an operation, the number of an event, or a time"


class VersionToBe(Body):
    """A name for the point where a label field is now."""

    name: str
    note: str = ""
    field: str | None = None
    op_id: str = ""


class VersionsReply(Reply):
    """Versions, the newest first."""

    results: list[Version]


@router.post("")
def keep(
    collection: str, body: VersionToBe, here: Here, idempotency_key: IdempotencyKey = ""
) -> Version:
    """Name the point where a label field is now; it can be asked for as of then, for ever."""
    op_id = body.op_id or idempotency_key
    verbs = here.collection(collection)
    return verbs.keep_version(body.name, note=body.note, field=body.field, op_id=op_id)


@router.get("")
def listed(
    collection: str, here: Here, field: str | None = None, retired: bool = False
) -> VersionsReply:
    """Return the versions of a collection, the newest first; those that are retired on request."""
    found = here.collection(collection).versions(field=field, retired=retired)
    return VersionsReply(results=found)


@router.get("/compare")
def compare(
    collection: str,
    here: Here,
    before: Annotated[str, Query(description=_POINT)],
    after: Annotated[str | None, Query(description=f"{_POINT}; now, where it is left away")] = None,
    field: str | None = None,
) -> Comparison:
    """Return how two points differ: labels, references, the machine's decisions, the policy."""
    return here.collection(collection).compare_versions(before, after, field=field)


@router.get("/decide")
def decide(
    collection: str,
    here: Here,
    as_of: Annotated[str, Query(description=_POINT)],
    field: str | None = None,
) -> Redecided:
    """Return what the references and the policy of a point say of the documents of now."""
    return here.collection(collection).as_of(as_of).decide(field=field)


@router.post("/{version}/retire")
def retire(
    collection: str, version: str, here: Here, idempotency_key: IdempotencyKey = ""
) -> Version:
    """Offer a version no more; who asks for it still gets what it gave, to the digit."""
    verbs = here.collection(collection)
    verbs.retire_version(version, op_id=idempotency_key)
    return next(one for one in verbs.versions(retired=True) if one.name == version)
