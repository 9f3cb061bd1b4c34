"""Counting over HTTP: how many documents, which values, and what groups come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import Field

from lookalike.catalog.aggregation import Metric, aggregate, distribution
from lookalike.catalog.conditions import Filter, fields_in, holds
from lookalike.catalog.filters import parse
from lookalike.catalog.object_values import ObjectValues
from lookalike.catalog.pages import count
from lookalike.catalog.resources import Kind
from lookalike.catalog.selecting import Selecting, filtered
from lookalike.errors import BadInput
from lookalike.server.context import Asked, Here
from lookalike.server.replies import filters_in
from lookalike.server.routes.documents import selecting_in, values_in
from lookalike.server.shapes import Body, JsonRoute, Reply, ValueCount

router = APIRouter(route_class=JsonRoute)

_DOCUMENTS = "/v1/collections/{collection}/documents"
_OBJECTS = "/v1/buckets/{bucket}/objects"


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
    """Groups, and what is computed of each; only groups for which the conditions of `having` hold.

    These are filters whose fields are the names that the answer has.
    """

    group_by: list[Grouping | str] | None = None
    aggregations: list[Aggregation] = Field(min_length=1, max_length=20)
    filters: Any = None
    having: Any = None
    sort_by: str | None = None
    sort_direction: Literal["asc", "desc"] = "desc"
    limit: int = Field(default=100, ge=1, le=1000)


class Group(Reply):
    """One group, and what was computed of it."""

    group: dict[str, Any]
    metrics: dict[str, Any]


class AggregateReply(Reply):
    """Groups."""

    results: list[Group]
    total_groups: int


@router.get(_DOCUMENTS + "/count", tags=["documents"])
def count_documents(collection: str, here: Here, filters: str | None = None) -> CountReply:
    """Count documents, however many there are."""
    return _count(here, collection, filters_in(filters, None))


@router.post(_DOCUMENTS + "/count", tags=["documents"])
def count_documents_post(collection: str, here: Here, body: CountBody | None = None) -> CountReply:
    """Count documents, however many there are."""
    return _count(here, collection, None if body is None else body.filters)


@router.post(_DOCUMENTS + "/distinct", tags=["documents"])
def distinct_values(collection: str, body: DistinctBody, here: Here) -> DistinctReply:
    """Return the values of a field with their counts."""
    with here.workshop.store.read() as snapshot:
        selecting = selecting_in(snapshot, here.row(snapshot, collection))
        counts = distribution(selecting, body.field, parse(body.filters))
    found = [ValueCount(value=one, count=number) for one, number in counts if one is not None]
    return DistinctReply(field=body.field, values=found[: body.limit], total_distinct=len(found))


@router.post(_DOCUMENTS + "/aggregate", tags=["documents"])
def aggregate_documents(collection: str, body: AggregateBody, here: Here) -> AggregateReply:
    """Group documents, and compute something of each group."""
    with here.workshop.store.read() as snapshot:
        return _aggregated(selecting_in(snapshot, here.row(snapshot, collection)), body)


@router.post(_OBJECTS + "/aggregate", tags=["objects"])
def aggregate_objects(bucket: str, body: AggregateBody, here: Here) -> AggregateReply:
    """Group objects, and compute something of each group."""
    home = here.bucket(bucket)
    with here.workshop.store.read() as snapshot:
        return _aggregated(Selecting(snapshot, ObjectValues(home.row.pk)), body)


def _aggregated(selecting: Selecting, body: AggregateBody) -> AggregateReply:
    given = [Grouping(field=one) if isinstance(one, str) else one for one in body.group_by or ()]
    named = {one.field: one.alias or one.field for one in given}
    metrics = [
        Metric(
            one.function,
            one.alias or f"{one.function}_{one.field or one.distinct_field or 'all'}",
            one.field or one.distinct_field,
        )
        for one in body.aggregations
    ]
    fields = {alias: name for name, alias in named.items()}
    sort_by = body.sort_by and fields.get(body.sort_by, body.sort_by)
    groups = aggregate(
        selecting,
        [one.field for one in given],
        metrics,
        parse(body.filters),
        sort_by=sort_by,
        descending=body.sort_direction != "asc",
    )
    results = [
        Group(
            group={named[name]: value for name, value in group.items() if name in named},
            metrics={name: value for name, value in group.items() if name not in named},
        )
        for group in groups
    ]
    wanted = parse(body.having)
    _check_having(wanted, [*fields, *(one.alias for one in metrics)])
    kept = [one for one in results if holds(wanted, (one.group | one.metrics).get)]
    return AggregateReply(results=kept[: body.limit], total_groups=len(kept))


def _check_having(tree: Filter, known: Sequence[str]) -> None:
    for name in sorted(fields_in(tree)):
        if name not in known:
            raise BadInput(f"having names no {name!r} (known: {', '.join(known)})")


def _count(here: Asked, collection: str, filters: Any) -> CountReply:
    with here.workshop.store.read() as snapshot:
        row = here.row(snapshot, collection)
        query, _ = filtered(values_in(snapshot, row), parse(filters))
        return CountReply(
            collection_id=Kind.COLLECTION.prefix + row.name, count=count(snapshot, query)
        )
