"""Counting documents over HTTP: how many, which values, and what groups of them come to."""

from __future__ import annotations

from typing import Any, ClassVar

from fastapi import APIRouter
from pydantic import Field

from lookalike.aggregating import Metric, aggregate, distribution
from lookalike.filters import parse
from lookalike.paging import count
from lookalike.resources import Kind
from lookalike.selecting import filtered
from lookalike.server.context import Asked, Here
from lookalike.server.documents import selecting_in, values_in
from lookalike.server.shapes import Body, JsonRoute, Reply, ValueCount
from lookalike.server.wire import filters_in

router = APIRouter(
    prefix="/v1/collections/{collection}/documents", tags=["documents"], route_class=JsonRoute
)


class CountReply(Reply):
    """How many documents there are."""

    collection_id: str
    count: int


class CountBody(Body):
    """What shall be counted."""

    filters: Any = None


class DistinctBody(Body):
    """Of which field the values are asked for."""

    field: str
    filters: Any = None
    limit: int = Field(default=100, ge=1, le=1000)


class DistinctReply(Reply):
    """The values of a field, the most frequent first."""

    field: str
    values: list[ValueCount]
    total_distinct: int


class Grouping(Body):
    """A field that is grouped by."""

    field: str
    alias: str | None = None


class Aggregation(Body):
    """What is computed of each group."""

    function: str
    alias: str | None = None
    field: str | None = None
    distinct_field: str | None = None


class AggregateBody(Body):
    """Groups, and what is computed of each."""

    idle: ClassVar = frozenset({"having"})
    group_by: list[Grouping | str] | None = None
    aggregations: list[Aggregation] = Field(min_length=1, max_length=20)
    filters: Any = None
    sort_by: str | None = None
    sort_direction: str = "desc"
    limit: int = Field(default=100, ge=1, le=1000)


class Group(Reply):
    """One group, and what was computed of it."""

    group: dict[str, Any]
    metrics: dict[str, Any]


class AggregateReply(Reply):
    """Groups."""

    results: list[Group]
    total_groups: int


@router.get("/count")
def count_documents(collection: str, here: Here, filters: str | None = None) -> CountReply:
    """Count documents, however many there are."""
    return _count(here, collection, filters_in(filters, None))


@router.post("/count")
def count_documents_post(collection: str, here: Here, body: CountBody | None = None) -> CountReply:
    """Count documents, however many there are."""
    return _count(here, collection, None if body is None else body.filters)


@router.post("/distinct")
def distinct_values(collection: str, body: DistinctBody, here: Here) -> DistinctReply:
    """Return the values of a field with their counts."""
    with here.workshop.store.read() as snapshot:
        selecting = selecting_in(snapshot, here.row(snapshot, collection))
        counts = distribution(selecting, body.field, parse(body.filters))
    found = [ValueCount(value=one, count=number) for one, number in counts if one is not None]
    return DistinctReply(field=body.field, values=found[: body.limit], total_distinct=len(found))


@router.post("/aggregate")
def aggregate_documents(collection: str, body: AggregateBody, here: Here) -> AggregateReply:
    """Group documents, and compute something of each group."""
    named = [
        Grouping(field=one, alias=None) if isinstance(one, str) else one
        for one in body.group_by or ()
    ]
    metrics = [
        Metric(
            one.function,
            one.alias or f"{one.function}_{one.field or one.distinct_field or 'all'}",
            one.field or one.distinct_field,
        )
        for one in body.aggregations
    ]
    with here.workshop.store.read() as snapshot:
        groups = aggregate(
            selecting_in(snapshot, here.row(snapshot, collection)),
            [one.field for one in named],
            metrics,
            parse(body.filters),
            sort_by=body.sort_by,
            descending=body.sort_direction != "asc",
        )
    aliases = {one.field: one.alias or one.field for one in named}
    return AggregateReply(
        results=[
            Group(
                group={aliases[name]: value for name, value in group.items() if name in aliases},
                metrics={name: value for name, value in group.items() if name not in aliases},
            )
            for group in groups[: body.limit]
        ],
        total_groups=len(groups),
    )


def _count(here: Asked, collection: str, filters: Any) -> CountReply:
    with here.workshop.store.read() as snapshot:
        row = here.row(snapshot, collection)
        query, _ = filtered(values_in(snapshot, row), parse(filters))
        return CountReply(
            collection_id=Kind.COLLECTION.prefix + row.name, count=count(snapshot, query)
        )
