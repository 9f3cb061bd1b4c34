"""Change routes: the changes since a revision as a list, or as a stream of events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from sqlalchemy import func, select

from lookalike.catalog.resources import Kind
from lookalike.errors import BadInput
from lookalike.server.context import Here
from lookalike.server.events import newest_revision, operations_since
from lookalike.server.shapes import JsonRoute, Reply, whole_number
from lookalike.stores import schema
from lookalike.stores.base import Snapshot

router = APIRouter(prefix="/v1", tags=["events"], route_class=JsonRoute)

_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "events"}
}
_MAX_LIMIT = 10_000


class OperationReply(Reply):
    """An operation, and what it changed."""

    revision: int
    operation: str
    kind: str
    collection_id: str | None
    actor: str
    at: datetime
    changed: dict[str, Any]


class DocumentChanged(Reply):
    """A document whose label state changed, and the revision of the last change."""

    document_id: str
    collection_id: str
    field: str
    label: str | None
    origin: str | None
    revision: int


class Changes(Reply):
    """The changes since a revision; if `more` is true, send `revision` as the next `since`."""

    revision: int
    more: bool
    operations: list[OperationReply]
    documents: list[DocumentChanged]


@router.get("/changes")
def changes(
    here: Here,
    since: Annotated[int, Query(ge=0, le=2**62, description="the last revision you have")] = 0,
    limit: Annotated[int, Query(ge=1, le=_MAX_LIMIT)] = 1000,
) -> Changes:
    """Return operations after a revision, and the documents whose label states changed.

    The reply never splits a revision, so it may have more than `limit` documents.
    """
    with here.runtime.store.read() as snapshot:
        fields = _fields(snapshot, here.namespace)
        operations = operations_since(snapshot, here.namespace, since, limit=limit)
        newest = newest_revision(snapshot)
        until = newest if len(operations) < limit else operations[-1].revision
        until = min(until, _until(snapshot, [one.pk for one in fields], since, limit, newest))
        documents = [changed for one in fields for changed in _changed(snapshot, one, since, until)]
    return Changes(
        revision=until,
        more=until < newest,
        operations=[OperationReply.of(one) for one in operations if one.revision <= until],
        documents=sorted(documents, key=lambda one: one.revision),
    )


@router.get("/events", response_class=StreamingResponse, responses=_EVENTS)
async def events(
    request: Request,
    here: Here,
    last_event_id: Annotated[str, Header(alias="Last-Event-ID")] = "",
    since: Annotated[int | None, Query(ge=0, le=2**62)] = None,
) -> StreamingResponse:
    """Stream operations as server-sent events; `Last-Event-ID` resumes a stream."""
    if last_event_id:
        since = whole_number(last_event_id)
        if since is None:
            raise BadInput(f"Last-Event-ID is {last_event_id[:80]!r}; send the id of an event")
    stream = here.server.hub.listen(here.namespace, since, request.is_disconnected)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


def _fields(snapshot: Snapshot, namespace: str) -> Sequence[Any]:
    """Return the label fields of a namespace, with the names of their collections (`home`)."""
    field, resource = schema.field, schema.resource
    query = select(field.c.pk, field.c.name, resource.c.name.label("home"))
    joined = query.join(resource, resource.c.pk == field.c.collection_pk)
    return snapshot.rows(joined.where(resource.c.namespace == namespace))


def _until(
    snapshot: Snapshot, field_pks: Sequence[int], since: int, limit: int, newest: int
) -> int:
    """Return the last revision up to which at most `limit` documents changed, at least the next."""
    table = schema.standing
    counts: Counter[int] = Counter()
    for pk in field_pks:
        query = select(table.c.revision, func.count().label("n"))
        later = (table.c.field_pk == pk) & (table.c.revision > since)
        grouped = query.where(later).group_by(table.c.revision).order_by(table.c.revision)
        counts.update({row.revision: row.n for row in snapshot.rows(grouped.limit(limit + 1))})
    total, until = 0, newest
    for revision in sorted(counts):
        total += counts[revision]
        if total > limit:
            return revision if until == newest else until
        until = revision
    return newest if len(counts) <= limit else until


def _changed(snapshot: Snapshot, field: Any, since: int, until: int) -> list[DocumentChanged]:
    document, standing = schema.document, schema.standing
    query = (
        select(document.c.id, standing.c.label, standing.c.origin, standing.c.revision)
        .join(standing, standing.c.document_pk == document.c.pk)
        .where(standing.c.field_pk == field.pk)
        .where(standing.c.revision > since, standing.c.revision <= until)
    )
    return [
        DocumentChanged(
            document_id=row.id,
            collection_id=Kind.COLLECTION.prefix + field.home,
            field=field.name,
            label=row.label,
            origin=row.origin,
            revision=row.revision,
        )
        for row in snapshot.rows(query)
    ]
