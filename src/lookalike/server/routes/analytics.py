"""What a collection looks like from above, over HTTP: coverage, error rates, references."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter

from lookalike.catalog.aggregation import distribution
from lookalike.catalog.filters import parse
from lookalike.classifier.calibration.intervals import lower_bound, upper_bound
from lookalike.quality.diagnosis.findings import Checkup
from lookalike.quality.monitoring import Monitoring
from lookalike.quality.reference_health import Inspection
from lookalike.quality.stats.agreement import Agreement
from lookalike.quality.stats.cost_curve import CostCurve
from lookalike.quality.stats.metrics import HISTOGRAM_BINS, Point, Report
from lookalike.server.context import Here, Then
from lookalike.server.replies import filters_in
from lookalike.server.routes.documents import WaitingReply, selecting_in, waiting_replies
from lookalike.server.shapes import JsonRoute, Reply, ValueCount

router = APIRouter(
    prefix="/v1/collections/{collection}/analytics", tags=["analytics"], route_class=JsonRoute
)

_TAIL = 0.975
"""Two bounds that each hold so often make an interval that holds 95 % of the time."""


class DistributionReply(Reply):
    """How often each value of a field occurs; null is one of them."""

    field: str
    total: int
    values: list[ValueCount]
    distribution: dict[str, int]
    null_count: int


class Bin(Reply):
    """How many documents the machine was so sure of: from `low` up to `high`."""

    low: float
    high: float
    count: int


class ConfidenceReply(Reply):
    """How sure the machine is of all that it decides; `near_limit` are within 0.05 of the limit."""

    field: str
    policy: str
    limit: float | None
    near_limit: int
    bins: list[Bin]


class CurveReply(Reply):
    """What other limits would give: how much would be labelled, and how much of it may be right."""

    field: str
    policy: str
    limit: float | None
    points: list[Point]


class FlipReply(WaitingReply):
    """A document whose automatic label would come or go."""

    before: str | None
    after: str | None
    confidence: float


class FlipsReply(Reply):
    """What would flip if the limit was `at`, where it is `limit` now.

    `target_precision` is the target that brings about that limit; null where it is a similarity.
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
    """How many automatic labels are wrong.

    `checked` were met by answers that chance had drawn, and `wrong` of them were wrong: `rate` with
    its exact interval (Clopper–Pearson, 95 %). `estimated` is what the machine itself expects.
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
    with here.workshop.store.read() as snapshot:
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
def coverage(collection: str, here: Then, field: str | None = None) -> Report:
    """Return coverage, queue, counts per label and the confidence histogram."""
    return here.collection(collection).report(field=field)


@router.get("/monitoring")
def monitoring(collection: str, here: Here, days: int = 30, field: str | None = None) -> Monitoring:
    """Return how a field does: its last days, the queue's forecast, precision, and its alarm."""
    return here.collection(collection).monitor(days=days, field=field)


@router.get("/references")
def references(collection: str, here: Here, field: str | None = None) -> Inspection:
    """Return what may be wrong with the references, the worst first."""
    return here.collection(collection).inspect(field=field)


@router.get("/diagnosis")
def diagnosis(collection: str, here: Here, field: str | None = None) -> Checkup:
    """Return why too much has no label, labels are wrong, or nothing improves; what to do next."""
    return here.collection(collection).diagnose(field=field)


@router.get("/confidence")
def confidence(collection: str, here: Here, field: str | None = None) -> ConfidenceReply:
    """Return how sure the machine is of its decisions, as a histogram from 0 to 1."""
    report = here.collection(collection).report(field=field)
    bins = [
        Bin(low=place / HISTOGRAM_BINS, high=(place + 1) / HISTOGRAM_BINS, count=count)
        for place, count in enumerate(report.histogram)
    ]
    return ConfidenceReply(
        field=report.field,
        policy=report.policy,
        limit=report.limit,
        near_limit=report.near_limit,
        bins=bins,
    )


@router.get("/curve")
def curve(collection: str, here: Here, field: str | None = None) -> CurveReply:
    """Return what other limits would give: coverage, and the precision to be expected."""
    verbs = here.collection(collection)
    report = verbs.report(field=field)
    return CurveReply(
        field=report.field,
        policy=report.policy,
        limit=report.limit,
        points=verbs.curve(field=field),
    )


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
    """Return what would flip if the limit was `at`, or as a target precision makes it."""
    found = here.collection(collection).flips(
        at=at, target_precision=target_precision, limit=limit, offset=offset, field=field
    )
    shown = waiting_replies(here, collection, [one.id for one in found.documents])
    beside = {one.document_id: one for one in shown}
    documents = [
        FlipReply(
            **dict(beside[one.id]),
            before=one.before,
            after=one.after,
            confidence=one.confidence,
        )
        for one in found.documents
        if one.id in beside
    ]
    figures = {name: value for name, value in asdict(found).items() if name != "collection"}
    return FlipsReply(**figures | {"documents": documents})


@router.get("/agreement")
def agreement(
    collection: str, here: Here, field: str | None = None, blind: bool = False
) -> Agreement:
    """Return how far people agree on what several answered, and which labels they confuse."""
    return here.collection(collection).agreement(field=field, blind=blind)


@router.get("/cost")
def cost(
    collection: str, here: Here, wrong_costs: float = 20, field: str | None = None
) -> CostCurve:
    """Return what limits cost, in reviews, where a wrong label costs as much as `wrong_costs`."""
    return here.collection(collection).cost(wrong_costs, field=field)


@router.get("/error-rate")
def error_rate(collection: str, here: Here, field: str | None = None) -> ErrorRateReply:
    """Return how many automatic labels are wrong, by random answers, with an exact interval."""
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
