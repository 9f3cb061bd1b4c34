"""Embedding map routes: all points in one binary reply, and the documents of selected points."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from lookalike.catalog.embedding_map import packed, space_version
from lookalike.catalog.fields import space_in_force
from lookalike.catalog.reader import FieldRow, fields_of
from lookalike.catalog.resources import CollectionRow
from lookalike.classifier.graph.search import Ids
from lookalike.errors import BadInput, Conflict, NotFound
from lookalike.library.collection.embedding_map import (
    ids_in_order,
    layout_of,
    order_of,
    points_of,
    tag_of,
    with_ids,
)
from lookalike.server.context import Context, Here
from lookalike.server.replies import DocumentReply
from lookalike.server.routes.documents import document_replies
from lookalike.server.routes.uploads import IfNoneMatch
from lookalike.server.shapes import Body, JsonRoute, Reply
from lookalike.stores.base import Snapshot, StoredSpace

router = APIRouter(prefix="/v1/collections/{collection}/map", tags=["maps"], route_class=JsonRoute)

MOST_ROWS = 100_000
"""The most points in one selection."""

_MAX_DOCUMENTS = 200
_RETRY_S = "1"
_POINTS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"application/octet-stream": {}},
        "description": "little-endian: u32 n, u16 x[n], u16 y[n], u8 label[n], u8 state[n], "
        "u8 score[n], u32 length, the legend as JSON",
    },
    202: {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"status": {"type": "string"}, "done": {"type": "number"}},
                }
            }
        },
        "description": "the map is being computed; `done` is the finished share; try again",
    },
    304: {"description": "the map has not changed"},
}


class PointsChosen(Body):
    """Selected points of a map, by their index; `snapshot` is the one in its legend."""

    snapshot: Annotated[str, Field(max_length=100)]
    rows: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=MOST_ROWS)]
    limit: Annotated[int, Field(ge=0, le=_MAX_DOCUMENTS)] = _MAX_DOCUMENTS


class ChosenReply(Reply):
    """The documents of points: the ids of all in the requested order, and the first in full.

    Deleted documents are left out.
    """

    document_ids: list[str]
    results: list[DocumentReply]


@router.get("", response_class=Response, responses=_POINTS)
def get_map(
    collection: str,
    here: Here,
    field: str | None = None,
    ids: Annotated[bool, Query(description="add the document ids to the legend")] = False,
    if_none_match: IfNoneMatch = "",
) -> Response:
    """Return every document as a point near similar ones, with its label, state and score.

    The first request starts the computation of the layout; the status is 202 until it is done.
    New documents are placed at once; an `outgrown` layout is recomputed in the background.
    """
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, collection)
        labels = _field(snapshot, row, field)
        space, layout = space_in_force(snapshot, row.pk), layout_of(here.runtime, snapshot, row)
        etag = f'"{tag_of(snapshot, row, labels, layout)}{"-ids" * ids}"'
    done = 0.0
    if space is not None and (layout is None or layout.is_outgrown):
        done = here.server.layout_jobs.start(space)
        if layout is None and _has_items(here, space):
            headers = {"retry-after": _RETRY_S, "cache-control": "no-store"}
            return JSONResponse({"status": "making", "done": round(done, 3)}, 202, headers)
    headers = {"etag": etag, "cache-control": "private, no-cache"}
    if etag in if_none_match:
        return Response(status_code=304, headers=headers)
    points = points_of(here.runtime, row, labels)
    here.server.layout_jobs.remember(points.map.snapshot, row.pk, points.pks)
    full = with_ids(here.runtime, points) if ids else points.map
    return Response(packed(full), media_type="application/octet-stream", headers=headers)


@router.post("/documents")
def map_documents(collection: str, body: PointsChosen, here: Here) -> ChosenReply:
    """Return the documents of selected points of a map: all ids, and the first in full."""
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, collection)
        pks = here.server.layout_jobs.order(body.snapshot, row.pk)
        if pks is None:
            pks = _current_order(here, snapshot, row, body.snapshot)
        rows = np.array(body.rows, np.int64)
        if len(rows) and rows.max() >= len(pks):
            raise BadInput(f"the map has {len(pks)} points, so there is no row {rows.max()}")
        ids = ids_in_order(snapshot, pks[rows])
        first = list(ids)[: body.limit]
        return ChosenReply(
            document_ids=list(ids.values()), results=document_replies(here, snapshot, row, first)
        )


def _field(snapshot: Snapshot, row: CollectionRow, name: str | None) -> FieldRow:
    """Return a label field, by default the first. Raises NotFound, Conflict if there is none."""
    fields = fields_of(snapshot, row.pk)
    if not fields:
        raise Conflict(f"{row.name!r} has no label field yet; give it one with a taxonomy")
    for field in fields:
        if name in (None, field.name):
            return field
    raise NotFound.named("label field", str(name), [field.name for field in fields])


def _has_items(here: Context, space: StoredSpace) -> bool:
    with here.runtime.store.read() as snapshot:
        return space_version(snapshot, space).vectors > 0


def _current_order(here: Context, snapshot: Snapshot, row: CollectionRow, name: str) -> Ids:
    """Return the document order of a map that another process sent, if it is still current."""
    layout = layout_of(here.runtime, snapshot, row)
    pks, now = (None, "") if layout is None else order_of(layout)
    if pks is None or now != name:
        raise NotFound(f"the map snapshot {name!r} has expired; get the map again")
    return pks
