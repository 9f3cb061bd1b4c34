"""The report of a label field, rows of an export, operations and events, read from a snapshot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import func, select

from lookalike.catalog.label_names import naming_of, owner_of
from lookalike.catalog.reader import FieldRow
from lookalike.catalog.resources import CollectionRow
from lookalike.classifier.calibration.decision_rule import Ground
from lookalike.classifier.calibration.intervals import lower_bound
from lookalike.content.frames import ColumnType
from lookalike.decisions.ledger.samples import CheckedLabel, checked_labels, sample
from lookalike.errors import BadInput
from lookalike.labels import ancestors, is_within
from lookalike.model import Document, Event, EventKind, Operation, Origin, Reason, Status
from lookalike.quality.stats.metrics import HISTOGRAM_BINS, Depth, Point, Report, coverage, curve
from lookalike.quality.thresholds import depends_on_threshold
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, one_of
from lookalike.stores.json_sql import truncated

EXPORT_COLUMNS: dict[str, ColumnType] = {
    "id": "text",
    "file_name": "text",
    "sha256": "text",
    "label": "text",
    "label_source": "text",
    "suggestion": "text",
    "score": "number",
    "margin": "number",
    "threshold": "number",
    "policy": "text",
    "reason": "text",
    "rejected": "texts",
    "neighbor_ids": "texts",
    "neighbor_scores": "numbers",
    "review_state": "text",
    "reviewed_by": "text",
    "is_reference": "truth",
}
"""The columns of an export, in order, with the type of each."""

_NEAR_THRESHOLD = 0.05
_CONFIDENCE = 0.95
_STATES = {
    Ground.NONE: "suggests only",
    Ground.ESTIMATE: "labels by itself",
    Ground.CERTIFICATE: "labels by itself what is certified",
}

_ORDERS = {
    "added": (),
    "confidence": (schema.standing.c.confidence.asc().nulls_last(),),
    "-confidence": (schema.standing.c.confidence.desc().nulls_last(),),
    "margin": (schema.standing.c.margin.asc().nulls_last(),),
    "-margin": (schema.standing.c.margin.desc().nulls_last(),),
}


def order(name: str) -> tuple[Any, ...]:
    """Return the SQL order that `documents(order_by=…)` names."""
    if name not in _ORDERS:
        raise BadInput(f"cannot order by {name!r}; known: {', '.join(_ORDERS)}")
    return _ORDERS[name]


def count_documents(snapshot: Snapshot, collection_pk: int) -> int:
    """Return how many documents a collection has."""
    table = schema.document
    query = select(func.count().label("n")).where(table.c.collection_pk == collection_pk)
    return int(snapshot.rows(query)[0].n)


def report(snapshot: Snapshot, collection: CollectionRow, field: FieldRow) -> Report:
    """Return the state of one label field."""
    table = schema.standing.c
    here = table.field_pk == field.pk
    groups = select(table.label, table.origin, table.reason, func.count().label("n")).where(here)
    rows = snapshot.rows(groups.group_by(table.label, table.origin, table.reason))
    total = sum(row.n for row in rows)
    per_label, nulls = _count_labels(rows)
    naming = naming_of(snapshot, owner_of(snapshot, field.pk))
    declared: dict[str, dict[str, int]] = {
        one: {} for one in naming.notes if naming.retired_by(one) is None
    }
    labelled = {
        origin.value: sum(counts.get(origin.value, 0) for counts in per_label.values())
        for origin in Origin
    }
    histogram, near_limit = _histogram(snapshot, field)
    checks = checked_labels(snapshot, field.pk)
    checked, wrong = len(checks), sum(not one.right for one in checks)
    taxonomy = field.taxonomy
    calibrates = taxonomy.confidence_threshold is None
    return Report(
        collection=collection.name,
        field=field.name,
        policy=field.policy,
        target_precision=taxonomy.target_precision if calibrates else None,
        limit=field.limit,
        state=_state(field),
        missing=()
        if field.decision_rule is None or not calibrates
        else field.decision_rule.missing,
        documents=total,
        references=_count_references(snapshot, field),
        coverage=coverage(sum(labelled.values()), total),
        queue=sum(row.n for row in rows if row.label is None and row.origin is None),
        waiting=_count_extractions(snapshot, collection, failed=False),
        failed=_count_extractions(snapshot, collection, failed=True),
        labelled=labelled,
        per_label=dict(sorted((declared | per_label).items())),
        nulls=dict(sorted(nulls.items())),
        histogram=histogram,
        near_limit=near_limit,
        estimated_precision=_estimated_precision(snapshot, field) if calibrates else None,
        drawn=len(sample(snapshot, field.pk)),
        checked=checked,
        wrong=wrong,
        at_least=lower_bound(checked - wrong, checked, _CONFIDENCE) if checked else None,
        depths=_depths(per_label, checks, total),
        closed_set=taxonomy.closed_set,
    )


def _count_labels(rows: Iterable[Any]) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    """Count documents by label and origin, and those without a label by reason."""
    per_label: dict[str, dict[str, int]] = {}
    nulls: dict[str, int] = {}
    for row in rows:
        if row.label is None:
            by_person = row.origin == Origin.HUMAN
            reason = str(Reason.REJECTED) if by_person else row.reason or "not_decided"
            nulls[reason] = nulls.get(reason, 0) + row.n
        else:
            counts = per_label.setdefault(row.label, {})
            counts[row.origin] = counts.get(row.origin, 0) + row.n
    return per_label, nulls


def _depths(
    per_label: Mapping[str, Mapping[str, int]], checks: Sequence[CheckedLabel], documents: int
) -> tuple[Depth, ...]:
    """Return the precision and coverage at each depth; () where no label has a parent."""
    counts = Counter[int]()
    for label, origins in per_label.items():
        counts[_depth(label)] += sum(origins.values())
    deepest = max([*counts, *(_depth(one.label) for one in checks)], default=1)
    found = []
    for depth in range(1, deepest + 1) if deepest > 1 else ():
        deep = [one for one in checks if _depth(one.label) >= depth]
        wrong = sum(not _is_right(one, depth) for one in deep)
        checked = len(deep)
        labelled = sum(count for at, count in counts.items() if at >= depth)
        least = lower_bound(checked - wrong, checked, _CONFIDENCE) if checked else None
        found.append(Depth(depth, labelled, coverage(labelled, documents), checked, wrong, least))
    return tuple(found)


def _depth(label: str) -> int:
    return len(ancestors(label)) + 1


def _is_right(one: CheckedLabel, depth: int) -> bool:
    path = [*reversed(ancestors(one.label)), one.label]
    return one.truth is not None and is_within(one.truth, path[depth - 1])


def decided_curve(snapshot: Snapshot, field: FieldRow) -> list[Point]:
    """Return coverage and precision by threshold, from decisions that depend on it alone."""
    table = schema.standing.c
    here, depends = table.field_pk == field.pk, depends_on_threshold(field)
    query = select(table.confidence).where(depends)
    confidence = np.array([row.confidence for row in snapshot.rows(query)], np.float64)
    counts, labelled = select(func.count().label("n")).where(here), table.label.is_not(None)
    queries = counts, counts.where(labelled), counts.where(labelled, depends)
    total, all_labelled, by_threshold = (int(snapshot.rows(query)[0].n) for query in queries)
    others = all_labelled - by_threshold
    is_probability = field.taxonomy.confidence_threshold is None
    return curve(confidence, others, total, is_probability=is_probability)


def export_row(document: Document, field: str) -> dict[str, Any]:
    """Return a document as one row of an export, in EXPORT_COLUMNS."""
    standing = document.standings[field]
    decision = standing.decision
    review = {None: "waiting", Origin.AUTO: "automatic"}.get(standing.origin, "reviewed")
    values = (
        document.id,
        document.file_name,
        document.sha256,
        standing.label,
        None if standing.origin is None else standing.origin.value,
        decision.label or decision.runner_up or standing.suggestion,
        decision.confidence,
        decision.margin,
        decision.threshold,
        decision.policy,
        None if standing.label or standing.reason is None else standing.reason.value,
        list(standing.rejected),
        [match.document_id for match in decision.matches],
        [round(match.similarity, 6) for match in decision.matches],
        review,
        standing.reviewed_by,
        standing.is_reference,
    )
    return dict(zip(EXPORT_COLUMNS, values, strict=True))


def operations(snapshot: Snapshot, collection: CollectionRow, limit: int) -> list[Operation]:
    """Return the latest operations of a collection, the newest first."""
    table = schema.operation
    by = table.alias()
    query = (
        select(table, by.c.id.label("by"))
        .outerjoin(by, by.c.pk == table.c.undone_by)
        .where(table.c.collection_pk == collection.pk)
        .order_by(table.c.pk.desc())
        .limit(limit)
    )
    return [
        Operation(
            row.id,
            row.kind,
            collection.name,
            row.actor,
            _time(row.at),
            row.by,
            {name: value for name, value in row.summary.items() if name != "request"},
        )
        for row in snapshot.rows(query)
    ]


def events(snapshot: Snapshot, collection: CollectionRow, document_pk: int) -> list[Event]:
    """Return every event of a document, oldest first, including the renames of its labels."""
    event, operation, field = schema.event, schema.operation, schema.field
    document = schema.document
    query = (
        select(event, operation.c.id.label("operation"), operation.c.actor, operation.c.at)
        .add_columns(field.c.name.label("field"), document.c.id.label("document_id"))
        .join(operation, operation.c.pk == event.c.operation_pk)
        .join(field, field.c.pk == event.c.field_pk)
        .join(document, document.c.pk == event.c.document_pk)
        .where(event.c.document_pk == document_pk)
        .order_by(event.c.seq)
    )
    found = snapshot.rows(query)
    sources = {row.detail["source"] for row in found if row.detail and "source" in row.detail}
    known = select(document.c.pk, document.c.id).where(one_of(document.c.pk, sources))
    names = {row.pk: row.id for row in snapshot.rows(known)}
    events = [
        Event(
            seq=row.seq,
            operation=row.operation,
            kind=EventKind(row.kind),
            collection=collection.name,
            document_id=row.document_id,
            field=row.field,
            label=row.label,
            origin=None if row.origin is None else Origin(row.origin),
            actor=row.actor,
            at=_time(row.at),
            detail=_with_source_id(row.detail or {}, names),
        )
        for row in found
    ]
    events += _renames(snapshot, collection, found)
    return sorted(events, key=lambda one: one.seq)


def _renames(snapshot: Snapshot, collection: CollectionRow, found: Sequence[Any]) -> list[Event]:
    """Return the renames of the labels that were given to a document, each once, as its events."""
    event, operation = schema.event, schema.operation
    given = [row for row in found if row.label is not None and row.kind != EventKind.DECIDED]
    events = []
    for field_pk, field in sorted({(row.field_pk, row.field) for row in given}):
        naming = naming_of(snapshot, field_pk)
        steps = {
            step
            for row in given
            if row.field_pk == field_pk
            for step in naming.steps(row.label, row.operation_pk, row.document_pk)
        }
        query = (
            select(event.c.seq, event.c.operation_pk, operation.c.id, operation.c.actor)
            .add_columns(operation.c.at)
            .join(operation, operation.c.pk == event.c.operation_pk)
            .where(event.c.field_pk == field_pk, event.c.document_pk.is_(None))
            .where(event.c.kind == EventKind.RENAMED)
        )
        rows = {row.operation_pk: row for row in snapshot.rows(query)} if steps else {}
        events += [
            Event(
                seq=rows[pk].seq,
                operation=rows[pk].id,
                kind=EventKind.RENAMED,
                collection=collection.name,
                document_id=given[0].document_id,
                field=field,
                label=now,
                origin=None,
                actor=rows[pk].actor,
                at=_time(rows[pk].at),
                detail={"was": was},
            )
            for pk, was, now in sorted(steps)
        ]
    return events


def _with_source_id(detail: Mapping[str, Any], names: Mapping[int, str]) -> dict[str, Any]:
    """Return the detail of an event with its source's id instead of the pk; None if erased."""
    return dict(detail) | ({"source": names.get(detail["source"])} if "source" in detail else {})


def _state(field: FieldRow) -> str:
    """Return whether the field labels automatically, as the report's `state` says it."""
    if field.taxonomy.confidence_threshold is not None:
        return "labels by itself"
    ground = Ground.NONE if field.decision_rule is None else field.decision_rule.ground
    return _STATES[ground]


def _estimated_precision(snapshot: Snapshot, field: FieldRow) -> float | None:
    table = schema.standing.c
    query = select(func.avg(table.confidence).label("mean"))
    chosen = (table.field_pk == field.pk) & (table.origin == Origin.AUTO)
    mean = snapshot.rows(query.where(chosen))[0].mean
    return None if mean is None else round(float(mean), 4)


def _histogram(snapshot: Snapshot, field: FieldRow) -> tuple[list[int], int]:
    """Return the counts of each bin, and how many documents are near the threshold.

    Values outside 0 to 1 count in the first or last bin. The database counts, so that a million
    rows need not be loaded.
    """
    table = schema.standing.c
    known = (table.field_pk == field.pk) & table.confidence.is_not(None)
    place = truncated(table.confidence * HISTOGRAM_BINS)
    counts = select(place.label("place")).add_columns(func.count().label("n"))
    bins = [0] * HISTOGRAM_BINS
    for row in snapshot.rows(counts.where(known).group_by(place)):
        bins[min(max(row.place, 0), HISTOGRAM_BINS - 1)] += row.n
    if field.limit is None:
        return bins, 0
    near = func.abs(table.confidence - field.limit) <= _NEAR_THRESHOLD
    return bins, int(snapshot.rows(select(func.count().label("n")).where(known, near))[0].n)


def _count_references(snapshot: Snapshot, field: FieldRow) -> int:
    table = schema.standing.c
    query = select(func.count().label("n")).where(
        table.field_pk == field.reference_field_pk, table.votes
    )
    return int(snapshot.rows(query)[0].n)


def _count_extractions(snapshot: Snapshot, collection: CollectionRow, *, failed: bool) -> int:
    table = schema.extraction.c
    wanted = table.status == Status.FAILED if failed else table.status != Status.FAILED
    query = select(func.count().label("n")).where(table.collection_pk == collection.pk, wanted)
    return int(snapshot.rows(query)[0].n)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
