"""Analytics routes: coverage, error rate, thresholds, diagnosis; counts, values and groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import Field

from lookalike.catalog.aggregation import Metric, aggregate, distribution
from lookalike.catalog.field_values import ObjectValues
from lookalike.catalog.filters import Filter, fields_in, holds, parse
from lookalike.catalog.pages import Selecting, count, filtered
from lookalike.catalog.resources import Kind
from lookalike.classifier.calibration.intervals import lower_bound, upper_bound
from lookalike.errors import BadInput
from lookalike.quality.diagnosis.findings import Checkup
from lookalike.quality.monitoring import Monitoring
from lookalike.quality.reference_health import Inspection
from lookalike.quality.stats.agreement import Agreement
from lookalike.quality.stats.cost_curve import CostCurve
from lookalike.quality.stats.metrics import HISTOGRAM_BINS, Point, Report
from lookalike.server.context import AsOf, Context, Here
from lookalike.server.replies import filters_in
from lookalike.server.routes.documents import WaitingReply, selecting_in, values_in, waiting_replies
from lookalike.server.shapes import Body, JsonRoute, Reply, ValueCount

router = APIRouter(
    prefix="/v1/collections/{collection}/analytics", tags=["analytics"], route_class=JsonRoute
)

_TAIL = 0.975
"""The confidence of each bound of a two-sided 95 % interval."""


class DistributionReply(Reply):
    """How often each value of a field occurs; null counts as a value."""

    field: str
    total: int
    values: list[ValueCount]
    distribution: dict[str, int]
    null_count: int


class Bin(Reply):
    """The number of documents with a confidence from `low` to `high`."""

    low: float
    high: float
    count: int


class ConfidenceReply(Reply):
    """The confidence histogram; `near_limit` counts documents within 0.05 of the threshold."""

    field: str
    policy: str
    limit: float | None
    near_limit: int
    bins: list[Bin]


class CurveReply(Reply):
    """Coverage and expected precision at other thresholds."""

    field: str
    policy: str
    limit: float | None
    points: list[Point]


class FlipReply(WaitingReply):
    """A document that would gain or lose its automatic label."""

    before: str | None
    after: str | None
    confidence: float


class FlipsReply(Reply):
    """The labels that would change if the threshold moved from `limit` to `at`.

    `target_precision` is the target with that threshold; null where it is a similarity.
    """

    field: str
    policy: str
    limit: float | None
    at: float
    target_precision: float | None
    appear: int
    vanish: int
    appearing: dict[str, int]
    vanishing: dict[str, int]
    documents: list[FlipReply]


class ErrorRateReply(Reply):
    """The error rate of the automatic labels.

    Random answers `checked` so many of them, and `wrong` of these were wrong: `rate` with its exact
    interval (Clopper–Pearson, 95 %). `estimated` is the rate that the classifier expects.
    """

    field: str
    checked: int
    wrong: int
    rate: float | None
    low: float | None
    high: float | None
    confidence: float = 0.95
    estimated: float | None


@router.get("/field-distribution")
def field_distribution(
    collection: str, field: str, here: Here, filters: str | None = None
) -> DistributionReply:
    """Return how often each value of a field occurs."""
    with here.runtime.store.read() as snapshot:
        selecting = selecting_in(snapshot, here.row(snapshot, collection))
        counts = distribution(selecting, field, parse(filters_in(filters, None)))
    return DistributionReply(
        field=field,
        total=sum(number for _, number in counts),
        values=[ValueCount(value=value, count=number) for value, number in counts],
        distribution={str(value): number for value, number in counts if value is not None},
        null_count=sum(number for value, number in counts if value is None),
    )


@router.get("/coverage")
def coverage(collection: str, here: AsOf, field: str | None = None) -> Report:
    """Return coverage, queue size, counts per label and the confidence histogram."""
    return here.collection(collection).report(field=field)


@router.get("/monitoring")
def monitoring(collection: str, here: Here, days: int = 30, field: str | None = None) -> Monitoring:
    """Return a field's last days, the forecast of its queue, its precision and its alert."""
    return here.collection(collection).monitor(days=days, field=field)


@router.get("/references")
def references(collection: str, here: Here, field: str | None = None) -> Inspection:
    """Return possible problems of the references, worst first."""
    return here.collection(collection).inspect(field=field)


@router.get("/diagnosis")
def diagnosis(collection: str, here: Here, field: str | None = None) -> Checkup:
    """Return why items are unlabelled, labels wrong or nothing improves, and what to do next."""
    return here.collection(collection).diagnose(field=field)


@router.get("/confidence")
def confidence(collection: str, here: Here, field: str | None = None) -> ConfidenceReply:
    """Return the confidence of the automatic decisions, as a histogram from 0 to 1."""
    report = here.collection(collection).report(field=field)
    bins = [
        Bin(low=index / HISTOGRAM_BINS, high=(index + 1) / HISTOGRAM_BINS, count=count)
        for index, count in enumerate(report.histogram)
    ]
    return ConfidenceReply.of(report, bins=bins)


@router.get("/curve")
def curve(collection: str, here: Here, field: str | None = None) -> CurveReply:
    """Return the coverage and the expected precision at other thresholds."""
    verbs = here.collection(collection)
    return CurveReply.of(verbs.report(field=field), points=verbs.curve(field=field))


@router.get("/flips")
def flips(
    collection: str,
    here: Here,
    at: float | None = None,
    target_precision: float | None = None,
    limit: int = 20,
    offset: int = 0,
    field: str | None = None,
) -> FlipsReply:
    """Return the labels that would change at the threshold `at`, or that of a target precision."""
    flips = here.collection(collection).flips(
        at=at, target_precision=target_precision, limit=limit, offset=offset, field=field
    )
    existing = waiting_replies(here, collection, [one.id for one in flips.documents])
    by_id = {one.document_id: one for one in existing}
    documents = [
        FlipReply.of(one, **dict(by_id[one.id])) for one in flips.documents if one.id in by_id
    ]
    return FlipsReply.of(flips, documents=documents)


@router.get("/agreement")
def agreement(
    collection: str, here: Here, field: str | None = None, blind: bool = False
) -> Agreement:
    """Return how far people agree on items that several labelled, and which labels they confuse."""
    return here.collection(collection).agreement(field=field, blind=blind)


@router.get("/cost")
def cost(
    collection: str, here: Here, wrong_costs: float = 20, field: str | None = None
) -> CostCurve:
    """Return the cost of thresholds, in reviews, if a wrong label costs `wrong_costs` reviews."""
    return here.collection(collection).cost(wrong_costs, field=field)


@router.get("/error-rate")
def error_rate(collection: str, here: Here, field: str | None = None) -> ErrorRateReply:
    """Return the error rate of automatic labels by random answers, with an exact interval."""
    report = here.collection(collection).report(field=field)
    checked, wrong, expected = report.checked, report.wrong, report.estimated_precision
    return ErrorRateReply(
        field=report.field,
        checked=checked,
        wrong=wrong,
        rate=wrong / checked if checked else None,
        low=lower_bound(wrong, checked, _TAIL) if checked else None,
        high=upper_bound(wrong, checked, _TAIL) if checked else None,
        estimated=None if expected is None else round(1 - expected, 4),
    )


# --- aggregation: counts, values, groups ---------------------------------------------------------

counting_router = APIRouter(route_class=JsonRoute)

_DOCUMENTS = "/v1/collections/{collection}/documents"
_OBJECTS = "/v1/buckets/{bucket}/objects"


class CountReply(Reply):
    """The number of documents."""

    collection_id: str
    count: int


class CountBody(Body):
    """The filters of the documents to count."""

    filters: Any = None


class DistinctBody(Body):
    """The field whose values to return."""

    field: str
    filters: Any = None
    limit: int = Field(default=100, ge=1, le=1000)


class DistinctReply(Reply):
    """The values of a field, most frequent first."""

    field: str
    values: list[ValueCount]
    total_distinct: int


class Grouping(Body):
    """A field to group by."""

    field: str
    alias: str | None = None


class Aggregation(Body):
    """A metric to compute for each group."""

    function: str
    alias: str | None = None
    field: str | None = None
    distinct_field: str | None = None


class AggregateBody(Body):
    """Fields to group by and metrics to compute; only groups that fit `having` are returned.

    `having` is a filter whose fields are the names in the reply.
    """

    group_by: list[Grouping | str] | None = None
    aggregations: list[Aggregation] = Field(min_length=1, max_length=20)
    filters: Any = None
    having: Any = None
    sort_by: str | None = None
    sort_direction: Literal["asc", "desc"] = "desc"
    limit: int = Field(default=100, ge=1, le=1000)


class Group(Reply):
    """One group and its metrics."""

    group: dict[str, Any]
    metrics: dict[str, Any]


class AggregateReply(Reply):
    """The groups, and the number of all."""

    results: list[Group]
    total_groups: int


@counting_router.get(_DOCUMENTS + "/count", tags=["documents"])
def count_documents(collection: str, here: Here, filters: str | None = None) -> CountReply:
    """Count the documents that fit filters, without an upper limit."""
    return _count(here, collection, filters_in(filters, None))


@counting_router.post(_DOCUMENTS + "/count", tags=["documents"])
def count_documents_post(collection: str, here: Here, body: CountBody | None = None) -> CountReply:
    """Count the documents that fit filters, without an upper limit."""
    return _count(here, collection, None if body is None else body.filters)


@counting_router.post(_DOCUMENTS + "/distinct", tags=["documents"])
def distinct_values(collection: str, body: DistinctBody, here: Here) -> DistinctReply:
    """Return the values of a field with their counts."""
    with here.runtime.store.read() as snapshot:
        selecting = selecting_in(snapshot, here.row(snapshot, collection))
        counts = distribution(selecting, body.field, parse(body.filters))
    found = [ValueCount(value=one, count=number) for one, number in counts if one is not None]
    return DistinctReply(field=body.field, values=found[: body.limit], total_distinct=len(found))


@counting_router.post(_DOCUMENTS + "/aggregate", tags=["documents"])
def aggregate_documents(collection: str, body: AggregateBody, here: Here) -> AggregateReply:
    """Group documents, and compute metrics of each group."""
    with here.runtime.store.read() as snapshot:
        return _aggregated(selecting_in(snapshot, here.row(snapshot, collection)), body)


@counting_router.post(_OBJECTS + "/aggregate", tags=["objects"])
def aggregate_objects(bucket: str, body: AggregateBody, here: Here) -> AggregateReply:
    """Group objects, and compute metrics of each group."""
    home = here.bucket(bucket)
    with here.runtime.store.read() as snapshot:
        return _aggregated(Selecting(snapshot, ObjectValues(home.row.pk)), body)


def _aggregated(selecting: Selecting, body: AggregateBody) -> AggregateReply:
    given = [Grouping(field=one) if isinstance(one, str) else one for one in body.group_by or ()]
    aliases = {one.field: one.alias or one.field for one in given}
    metrics = [
        Metric(
            one.function,
            one.alias or f"{one.function}_{one.field or one.distinct_field or 'all'}",
            one.field or one.distinct_field,
        )
        for one in body.aggregations
    ]
    fields = {alias: name for name, alias in aliases.items()}
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
            group={aliases[name]: value for name, value in group.items() if name in aliases},
            metrics={name: value for name, value in group.items() if name not in aliases},
        )
        for group in groups
    ]
    having = parse(body.having)
    _check_having(having, [*fields, *(one.alias for one in metrics)])
    fitting = [one for one in results if holds(having, (one.group | one.metrics).get)]
    return AggregateReply(results=fitting[: body.limit], total_groups=len(fitting))


def _check_having(tree: Filter, known: Sequence[str]) -> None:
    for name in sorted(fields_in(tree)):
        if name not in known:
            raise BadInput(f"having has no name {name!r} (known: {', '.join(known)})")


def _count(here: Context, collection: str, filters: Any) -> CountReply:
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, collection)
        query, _ = filtered(values_in(snapshot, row), parse(filters))
        return CountReply(
            collection_id=Kind.COLLECTION.prefix + row.name, count=count(snapshot, query)
        )
