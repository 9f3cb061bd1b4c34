"""How a label field does, and how that came about: what there is, what moves, what is right."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from lookalike.catalog.lookup import ids_of, stances
from lookalike.catalog.reader import FieldRow
from lookalike.catalog.resources import CollectionRow
from lookalike.classifier.calibration.intervals import lower_bound, upper_bound
from lookalike.decisions.ledger.samples import checks_by_label
from lookalike.errors import BadInput
from lookalike.labels import Codes
from lookalike.model import Origin
from lookalike.quality import reports as reporting
from lookalike.quality.alerts import Alarm, Breach, alarm_of, breaches_of
from lookalike.quality.audits import latest
from lookalike.quality.blaming import Blame, blamed
from lookalike.quality.flows import DAY_S, Day, first_operation, history, queue_before, window_start
from lookalike.quality.stats.metrics import Report
from lookalike.stores import schema
from lookalike.stores.base import Snapshot

MOST_DAYS = 366
FORECAST_DAYS = 7
"""So many days, today included, say how the queue moves."""

_BLAMED = 20
_TAIL = 0.975
"""Two bounds that each hold so often make an interval that holds 95 % of the time."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Where the queue goes if the days to come are like the last `days`.

    `before` documents waited when these began. It changes by `per_day` documents; `arrived_per_day`
    came and `answers_per_day` were given. `outlook` is `empty`, `shrinks`, `steady` or `grows`;
    where it shrinks, `days_left` says when nothing waits any more.
    """

    days: float
    before: int
    queue: int
    per_day: float
    arrived_per_day: float
    answers_per_day: float
    outlook: str
    days_left: float | None


@dataclass(frozen=True, slots=True)
class LabelPrecision:
    """How often the machine is right with a label: `precision`, and what that stands on.

    `basis` is `counted` where random answers met `checked` such labels, `wrong` of them wrong, with
    the exact interval (Clopper-Pearson, 95 %) from `low` to `high`; else `estimated`, the mean of
    the decisions' own probabilities, which is in `estimated` in any case; `unknown` without both.
    """

    label: str
    automatic: int
    basis: str
    precision: float | None
    estimated: float | None
    checked: int
    wrong: int
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Monitoring:
    """How a label field does: its `report` now, and the last days.

    `history` has one entry a day, the oldest first. `precision` is by label. `blamed` are the
    references whose labels people corrected most surely, with their number. `breaches` is what is
    outside the bands of the `alarm` now; the alarm has what the worker found last.
    """

    report: Report
    history: tuple[Day, ...]
    forecast: Forecast
    precision: tuple[LabelPrecision, ...]
    blamed: tuple[Blame, ...]
    alarm: Alarm | None
    breaches: tuple[Breach, ...]


def monitor(
    snapshot: Snapshot, collection: CollectionRow, field: FieldRow, now: float, days: int
) -> Monitoring:
    """Return how a field does, with its last `days` days. Raises BadInput for too few or many."""
    if isinstance(days, bool) or not 1 <= days <= MOST_DAYS:
        raise BadInput(f"cannot look back {days!r} days; give 1 to {MOST_DAYS}")
    report = reporting.report(snapshot, collection, field)
    told = history(snapshot, collection.pk, field.pk, now, max(days, FORECAST_DAYS))
    alarm = alarm_of(snapshot, field.pk, field.name)
    breaches: tuple[Breach, ...] = ()
    if alarm is not None:
        audited = latest(snapshot, collection, field)
        breaches = breaches_of(report, alarm.coverage, alarm.error_rate, audited)
    return Monitoring(
        report=report,
        history=told[-days:],
        forecast=_forecast(snapshot, collection, field, report, told[-FORECAST_DAYS:], now),
        precision=_precision(snapshot, field),
        blamed=_blamed(snapshot, field),
        alarm=alarm,
        breaches=breaches,
    )


def forecast(days: float, before: int, queue: int, arrived: int, answers: int) -> Forecast:
    """Return where a queue goes that moved from `before` to `queue` in so many days.

    >>> forecast(7, 100, 30, 14, 84).days_left
    3.0
    """
    per_day = (queue - before) / days
    outlook = "steady"
    if queue == 0:
        outlook = "empty"
    elif per_day:
        outlook = "grows" if per_day > 0 else "shrinks"
    left = round(queue / -per_day, 1) if outlook == "shrinks" else None
    return Forecast(
        days=round(days, 2),
        before=before,
        queue=queue,
        per_day=round(per_day, 2),
        arrived_per_day=round(arrived / days, 2),
        answers_per_day=round(answers / days, 2),
        outlook=outlook,
        days_left=left,
    )


def _forecast(
    snapshot: Snapshot,
    collection: CollectionRow,
    field: FieldRow,
    report: Report,
    told: tuple[Day, ...],
    now: float,
) -> Forecast:
    since = window_start(now, len(told))
    first = first_operation(snapshot, since)
    before = queue_before(snapshot, collection.pk, field.pk, report.queue, first)
    span = max(now - max(since, collection.created_at), DAY_S) / DAY_S
    arrived, answers = (sum(day.arrived for day in told), sum(day.answers for day in told))
    return forecast(span, before, report.queue, arrived, answers)


def _precision(snapshot: Snapshot, field: FieldRow) -> tuple[LabelPrecision, ...]:
    table = schema.standing.c
    query = (
        select(table.label, func.count().label("n"), func.avg(table.confidence).label("mean"))
        .where(table.field_pk == field.pk, table.origin == Origin.AUTO)
        .group_by(table.label)
    )
    rows = {row.label: row for row in snapshot.rows(query)}
    checks = checks_by_label(snapshot, field.pk)
    calibrates = field.taxonomy.confidence_threshold is None
    found = []
    for label in sorted(rows.keys() | checks):
        row, (checked, wrong) = rows.get(label), checks.get(label, (0, 0))
        known = row is not None and row.mean is not None and calibrates
        estimated = round(float(row.mean), 4) if known and row is not None else None
        basis = "counted" if checked else "unknown" if estimated is None else "estimated"
        found.append(
            LabelPrecision(
                label=label,
                automatic=0 if row is None else row.n,
                basis=basis,
                precision=1 - wrong / checked if checked else estimated,
                estimated=estimated,
                checked=checked,
                wrong=wrong,
                low=lower_bound(checked - wrong, checked, _TAIL) if checked else None,
                high=upper_bound(checked - wrong, checked, _TAIL) if checked else None,
            )
        )
    return tuple(found)


def _blamed(snapshot: Snapshot, field: FieldRow) -> tuple[Blame, ...]:
    codes = Codes()
    found = blamed(snapshot, field, codes)[:_BLAMED]
    pks = [one.reference for one in found]
    ids, stand = ids_of(snapshot, pks), stances(snapshot, field.reference_field_pk, pks)
    return tuple(
        Blame(
            id=ids[one.reference],
            label=stand[one.reference].label if one.reference in stand else None,
            corrected=one.corrected,
            confirmed=one.confirmed,
            at_least=one.at_least,
            instead=codes.name(one.instead),
        )
        for one in found
        if one.reference in ids
    )
