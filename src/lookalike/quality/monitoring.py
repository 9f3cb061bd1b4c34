"""Monitoring of a label field: daily counts, queue forecast, precision by label, open alerts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import func, or_, select

from lookalike.catalog.label_names import naming_of
from lookalike.catalog.reader import FieldRow, ids_of, label_states
from lookalike.catalog.resources import CollectionRow
from lookalike.classifier.calibration.intervals import lower_bound, upper_bound
from lookalike.classifier.graph.search import NO_ID
from lookalike.classifier.review import reference_checks
from lookalike.decisions.ledger.fold import Line, decided_label, fold
from lookalike.decisions.ledger.samples import checks_by_label
from lookalike.errors import BadInput
from lookalike.labels import Codes, is_within
from lookalike.model import EventKind, Origin, Reason
from lookalike.quality import reports
from lookalike.quality.alerts import Alarm, Breach, alarm_of, breaches_of
from lookalike.quality.audits import latest
from lookalike.quality.stats.metrics import Report
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, conditions

# --- daily counts, folded from operations and events ---------------------------------------------

DAY_S = 86_400.0
VERDICTS = (EventKind.LABELLED, EventKind.REJECTED, EventKind.NEW_KIND)
"""The answers that tell whether an automatic label was right."""

_ANSWERS = (*VERDICTS, EventKind.CANNOT_TELL)


@dataclass(frozen=True, slots=True)
class Day:
    """The events of a field on one day (UTC), as counts.

    `arrived` documents were added; `without_label` counts, by reason, those of them that have no
    label now. People gave `answers`; of these, `confirmed` and `corrected` answered an automatic
    label. Lookalike gave `labelled` automatic labels and removed `taken_back`.
    """

    day: str
    arrived: int
    without_label: Mapping[str, int]
    answers: int
    confirmed: int
    corrected: int
    labelled: int
    taken_back: int


@dataclass(slots=True)
class _Tally:
    arrived: int = 0
    without_label: dict[str, int] = field(default_factory=dict)
    answers: int = 0
    confirmed: int = 0
    corrected: int = 0
    labelled: int = 0
    taken_back: int = 0


def window_start(now: float, days: int) -> float:
    """Return the start of the first of the last `days` days (UTC), the last of which is today."""
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return (today - timedelta(days=days - 1)).timestamp()


def first_operation(snapshot: Snapshot, since: float) -> int | None:
    """Return the pk of a store's first operation at or after a time, if there is one."""
    table = schema.operation
    query = select(func.min(table.c.pk).label("first")).where(table.c.at >= since)
    first = snapshot.rows(query)[0].first
    return None if first is None else int(first)


def history(
    snapshot: Snapshot, collection_pk: int, field_pk: int, now: float, days: int
) -> tuple[Day, ...]:
    """Return the counts of the last `days` days of a field, the oldest first."""
    start = datetime.fromtimestamp(window_start(now, days), UTC).date()
    tallies = {start + timedelta(days=place): _Tally() for place in range(days)}
    first = first_operation(snapshot, window_start(now, days))
    if first is not None:
        table = schema.operation
        query = select(table.c.pk, table.c.at).where(table.c.pk >= first)
        days_of = {
            row.pk: datetime.fromtimestamp(row.at, UTC).date() for row in snapshot.rows(query)
        }
        last = max(tallies)

        def tally(operation: int) -> _Tally:
            return tallies[min(max(days_of[operation], start), last)]

        _count_arrivals(snapshot, collection_pk, field_pk, first, tally)
        _count_decisions(snapshot, field_pk, first, tally)
        _count_answers(snapshot, field_pk, first, tally)
    return tuple(_day(day, one) for day, one in sorted(tallies.items()))


def queue_before(
    snapshot: Snapshot, collection_pk: int, field_pk: int, queue: int, first: int | None
) -> int:
    """Return the length of the queue before the operation `first`, given its length now, `queue`.

    Replays the events of the documents that changed since. Operations undone since then count, as
    they were effective at that time. Documents erased since then are unknown and not counted.
    """
    if first is None:
        return queue
    newest = _first_document(snapshot, collection_pk, first)
    arrived = 0 if newest is None else _count_waiting(snapshot, field_pk, newest)
    changed = _changed(snapshot, field_pk, first, newest)
    now = sum(
        len(snapshot.rows(_waiting(field_pk).where(chosen)))
        for chosen in conditions(schema.standing.c.document_pk, changed)
    )
    return queue - arrived - now + _count_waiting_before(snapshot, field_pk, changed, first)


# --- counts by day ------------------------------------------------------------------------------


def _count_arrivals(
    snapshot: Snapshot,
    collection_pk: int,
    field_pk: int,
    first: int,
    tally: Callable[[int], _Tally],
) -> None:
    document, standing = schema.document, schema.standing
    here = (document.c.collection_pk == collection_pk) & (document.c.arrived_in >= first)
    counts = select(document.c.arrived_in, func.count().label("n")).where(here)
    for row in snapshot.rows(counts.group_by(document.c.arrived_in)):
        tally(row.arrived_in).arrived += row.n
    query = (
        select(document.c.arrived_in, standing.c.origin, standing.c.reason)
        .add_columns(func.count().label("n"))
        .join(standing, standing.c.document_pk == document.c.pk)
        .where(here, standing.c.field_pk == field_pk, standing.c.label.is_(None))
        .group_by(document.c.arrived_in, standing.c.origin, standing.c.reason)
    )
    for row in snapshot.rows(query):
        by_person = row.origin == Origin.HUMAN
        reason = str(Reason.REJECTED) if by_person else row.reason or "not_decided"
        counts_by_reason = tally(row.arrived_in).without_label
        counts_by_reason[reason] = counts_by_reason.get(reason, 0) + row.n


def _count_decisions(
    snapshot: Snapshot, field_pk: int, first: int, tally: Callable[[int], _Tally]
) -> None:
    event = schema.event
    query = (
        select(event.c.operation_pk, func.count().label("n"), func.count(event.c.label).label("on"))
        .where(event.c.operation_pk >= first, event.c.field_pk == field_pk)
        .where(event.c.kind == EventKind.DECIDED)
        .group_by(event.c.operation_pk)
    )
    for row in snapshot.rows(query):
        tally(row.operation_pk).labelled += row.on
        tally(row.operation_pk).taken_back += row.n - row.on


def _count_answers(
    snapshot: Snapshot, field_pk: int, first: int, tally: Callable[[int], _Tally]
) -> None:
    event, operation = schema.event, schema.operation
    query = (
        select(event.c.operation_pk, event.c.kind, event.c.label, event.c.detail)
        .join(operation, operation.c.pk == event.c.operation_pk)
        .where(event.c.operation_pk >= first, event.c.field_pk == field_pk)
        .where(event.c.origin == Origin.HUMAN, event.c.kind.in_(_ANSWERS))
        .where(operation.c.undone_by.is_(None))
    )
    for row in snapshot.rows(query):
        counted = tally(row.operation_pk)
        counted.answers += 1
        was = (row.detail or {}).get("was")
        if was is None or row.kind not in VERDICTS:
            continue
        if row.kind == EventKind.LABELLED and is_within(row.label, was):
            counted.confirmed += 1
        elif row.kind != EventKind.REJECTED or row.label == was:
            counted.corrected += 1


def _day(day: date, counted: _Tally) -> Day:
    return Day(
        day=day.isoformat(),
        arrived=counted.arrived,
        without_label=dict(sorted(counted.without_label.items())),
        answers=counted.answers,
        confirmed=counted.confirmed,
        corrected=counted.corrected,
        labelled=counted.labelled,
        taken_back=counted.taken_back,
    )


# --- the earlier length of the queue ------------------------------------------------------------


def _waiting(field_pk: int) -> Any:
    table = schema.standing
    query = select(table.c.document_pk).where(table.c.field_pk == field_pk)
    return query.where(table.c.label.is_(None), table.c.origin.is_(None))


def _count_waiting(snapshot: Snapshot, field_pk: int, newest: int) -> int:
    """Count the waiting documents with the pk `newest` or a higher one."""
    table = schema.standing
    waiting = _waiting(field_pk).where(table.c.document_pk >= newest).subquery()
    return int(snapshot.rows(select(func.count().label("n")).select_from(waiting))[0].n)


def _first_document(snapshot: Snapshot, collection_pk: int, first: int) -> int | None:
    """Return the pk of the first document added since then; all higher pks were, too."""
    table = schema.document
    query = select(func.min(table.c.pk).label("pk")).where(
        table.c.collection_pk == collection_pk, table.c.arrived_in >= first
    )
    found = snapshot.rows(query)[0].pk
    return None if found is None else int(found)


def _changed(snapshot: Snapshot, field_pk: int, first: int, newest: int | None) -> list[int]:
    """Return the documents older than `first` that have events, or undone ones, since then."""
    event, operation = schema.event, schema.operation
    query = (
        select(event.c.document_pk)
        .where(event.c.field_pk == field_pk, event.c.document_pk.is_not(None))
        .distinct()
    )
    if newest is not None:
        query = query.where(event.c.document_pk < newest)
    undone = select(operation.c.pk).where(operation.c.undone_by >= first)
    since = snapshot.rows(query.where(event.c.operation_pk >= first))
    taken_back = snapshot.rows(query.where(event.c.operation_pk.in_(undone)))
    return sorted({row.document_pk for row in (*since, *taken_back)})


def _count_waiting_before(
    snapshot: Snapshot, field_pk: int, documents: Iterable[int], first: int
) -> int:
    """Count those of the documents that were waiting before the operation `first`."""
    pks = np.fromiter(documents, np.int64)
    lines: dict[int, list[Line]] = {int(pk): [] for pk in pks}
    for row in _lines_before(snapshot, field_pk, pks.tolist(), first):
        origin = None if row.origin is None else Origin(row.origin)
        line = Line(EventKind(row.kind), row.label, origin, row.actor)
        lines[row.document_pk].append(line)
    return sum(not fold(one).is_settled and decided_label(one) is None for one in lines.values())


def _lines_before(
    snapshot: Snapshot, field_pk: int, documents: list[int], first: int
) -> Iterator[Any]:
    event, operation = schema.event, schema.operation
    was_effective = or_(
        operation.c.undone_by.is_(None),
        operation.c.undone_by >= first,
        event.c.kind == EventKind.DECIDED,
    )
    query = (
        select(event.c.document_pk, event.c.kind, event.c.label, event.c.origin, operation.c.actor)
        .join(operation, operation.c.pk == event.c.operation_pk)
        .where(event.c.field_pk == field_pk, event.c.operation_pk < first, was_effective)
        .order_by(event.c.seq)
    )
    for chosen in conditions(event.c.document_pk, documents):
        yield from snapshot.rows(query.where(chosen))


# --- references that caused corrections ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReferenceAttribution:
    """A reference that caused automatic labels which people `corrected` or `confirmed`.

    `at_least` is a lower bound of the share of wrong ones (Wilson interval, 95 %); `instead` the
    label that people gave most often.
    """

    id: str
    label: str | None
    corrected: int
    confirmed: int
    at_least: float
    instead: str | None


def attributions(
    snapshot: Snapshot, field: FieldRow, codes: Codes
) -> list[reference_checks.Attribution]:
    """Attribute people's corrections of automatic labels to the references that caused these.

    References are given by pk, labels by `codes`, to which unknown labels are added.
    """
    event, operation = schema.event, schema.operation
    query = (
        select(event.c.kind, event.c.label, event.c.detail)
        .add_columns(event.c.operation_pk, event.c.document_pk)
        .join(operation, operation.c.pk == event.c.operation_pk)
        .where(event.c.field_pk == field.pk, event.c.origin == Origin.HUMAN)
        .where(event.c.kind.in_(VERDICTS), operation.c.undone_by.is_(None))
    )
    rows = [
        row
        for row in snapshot.rows(query)
        if row.detail and "was" in row.detail
        # Rejecting another label than the automatic one does not correct that one.
        if row.kind != EventKind.REJECTED or row.label == row.detail["was"]
    ]
    sources = [row.detail["source"] for row in rows]
    naming = naming_of(snapshot, field.pk)

    def code(label: str | None, row: Any) -> int:
        current = label and naming.current(label, row.operation_pk, row.document_pk)
        return codes.code(current)

    return reference_checks.attributions(
        np.array([NO_ID if one is None else one for one in sources], np.int64),
        np.array([code(row.detail["was"], row) for row in rows], np.int64),
        np.array([code(_given_label(row), row) for row in rows], np.int64),
    )


def _given_label(row: Any) -> str | None:
    """Return the label that a person gave; the automatic one if that is its ancestor or equal."""
    if row.kind != EventKind.LABELLED:
        return None
    was = str(row.detail["was"])
    return was if is_within(row.label, was) else str(row.label)


# -------------------------------------------------------------------------------------------------

MOST_DAYS = 366
FORECAST_DAYS = 7
"""The number of days, today included, from which the forecast is made."""

_SHOWN_REFERENCES = 20
_TAIL = 0.975
"""The confidence of each bound of a two-sided 95 % interval."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """The forecast of the queue, if the next days are like the last `days`.

    The queue had `before` documents at their beginning, and has `queue` now. It changes by
    `per_day` documents; `arrived_per_day` were added and `answers_per_day` were given. `outlook` is
    `empty`, `shrinks`, `steady` or `grows`; if it shrinks, it is empty in `days_left`.
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
    """The `precision` of a label's automatic labels.

    `basis` is `counted` where random answers checked `checked` of them, `wrong` of them wrong, with
    the exact interval (Clopper-Pearson, 95 %) from `low` to `high`; else `estimated`, the mean
    confidence, which is in `estimated` in any case; `unknown` without both.
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
    """The state of a label field (`report`), and its last days.

    `history` has one entry a day, the oldest first. `precision` is by label. `blamed` are the
    references that caused most corrections. `breaches` are the measures outside the bands of the
    alert (`alarm`) now; the alert itself has the result of the worker's last check.
    """

    report: Report
    history: tuple[Day, ...]
    forecast: Forecast
    precision: tuple[LabelPrecision, ...]
    blamed: tuple[ReferenceAttribution, ...]
    alarm: Alarm | None
    breaches: tuple[Breach, ...]


def monitor(
    snapshot: Snapshot, collection: CollectionRow, field: FieldRow, now: float, days: int
) -> Monitoring:
    """Return the state and the last `days` (1 to 366) days of a field. Raises BadInput."""
    if isinstance(days, bool) or not 1 <= days <= MOST_DAYS:
        raise BadInput(f"cannot look back {days!r} days; give 1 to {MOST_DAYS}")
    report = reports.report(snapshot, collection, field)
    past = history(snapshot, collection.pk, field.pk, now, max(days, FORECAST_DAYS))
    alarm = alarm_of(snapshot, field.pk, field.name)
    breaches: tuple[Breach, ...] = ()
    if alarm is not None:
        audited = latest(snapshot, collection, field)
        breaches = breaches_of(report, alarm.coverage, alarm.error_rate, audited)
    return Monitoring(
        report=report,
        history=past[-days:],
        forecast=_forecast(snapshot, collection, field, report, past[-FORECAST_DAYS:], now),
        precision=_precision(snapshot, field),
        blamed=_blamed(snapshot, field),
        alarm=alarm,
        breaches=breaches,
    )


def forecast(days: float, before: int, queue: int, arrived: int, answers: int) -> Forecast:
    """Return the forecast of a queue that changed from `before` to `queue` items in `days` days.

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
    past: tuple[Day, ...],
    now: float,
) -> Forecast:
    since = window_start(now, len(past))
    first = first_operation(snapshot, since)
    before = queue_before(snapshot, collection.pk, field.pk, report.queue, first)
    span = max(now - max(since, collection.created_at), DAY_S) / DAY_S
    arrived, answers = (sum(day.arrived for day in past), sum(day.answers for day in past))
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


def _blamed(snapshot: Snapshot, field: FieldRow) -> tuple[ReferenceAttribution, ...]:
    codes = Codes()
    found = attributions(snapshot, field, codes)[:_SHOWN_REFERENCES]
    pks = [one.reference for one in found]
    ids, states = ids_of(snapshot, pks), label_states(snapshot, field.reference_field_pk, pks)
    return tuple(
        ReferenceAttribution(
            id=ids[one.reference],
            label=states[one.reference].label if one.reference in states else None,
            corrected=one.corrected,
            confirmed=one.confirmed,
            at_least=one.at_least,
            instead=codes.name(one.instead),
        )
        for one in found
        if one.reference in ids
    )
