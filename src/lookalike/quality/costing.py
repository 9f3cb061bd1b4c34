"""What the limits of a field cost: its recorded decisions, weighed by what a wrong label costs."""

from __future__ import annotations

import math
import shlex
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from lookalike.catalog.reader import FieldRow
from lookalike.decisions.ledger.samples import checked_labels
from lookalike.errors import BadInput, Conflict
from lookalike.model import EventKind, Origin, Reason
from lookalike.quality.stats.cost_curve import (
    ENOUGH_CHECKS,
    Check,
    CostCurve,
    CostPoint,
    as_it_stands,
    cheapest,
    cost_points,
    weighed,
)
from lookalike.quality.thresholds import looks_known
from lookalike.stores import schema
from lookalike.stores.base import Snapshot

MAX_WRONG_COSTS = 1e9


def cost_curve(
    snapshot: Snapshot, collection: str, field: FieldRow, wrong_costs: float
) -> CostCurve:
    """Return what limits cost. Raises BadInput for an impossible cost, Conflict without estimates.

    Decisions are those of the machine that only the limit bears on; a null for another reason needs
    a review at any limit.
    """
    if not (math.isfinite(wrong_costs) and 0 < wrong_costs <= MAX_WRONG_COSTS):
        raise BadInput(f"wrong_costs is {wrong_costs}; say how many reviews: above 0, up to 1e9")
    probability, automatic = _decisions(snapshot, collection, field)
    documents, others, waiting = _counts(snapshot, field)
    checks = _checks(snapshot, field.pk)
    these = weighed(probability, checks, documents, others)
    is_counted = len(checks) >= ENOUGH_CHECKS
    best = cheapest(these, wrong_costs)
    return CostCurve(
        collection=collection,
        field=field.name,
        wrong_costs=wrong_costs,
        basis="counted" if is_counted else "estimated",
        answers=len(checks),
        counted_from=min(one.confidence for one in checks) if is_counted else None,
        decisions=len(probability),
        anyway=waiting - len(probability),
        by_rule=max(0.0, 1 - 1 / wrong_costs),
        best=best,
        now=as_it_stands(
            these, weighed(automatic, checks, documents, others), wrong_costs, field.limit
        ),
        points=cost_points(these, wrong_costs),
        next_step=_next_step(collection, field.name, best),
    )


def _decisions(
    snapshot: Snapshot, collection: str, field: FieldRow
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the probabilities of what only the limit bears on, and of what has a label of those.

    Raises Conflict where there are none.
    """
    if field.taxonomy.confidence_threshold is not None:
        raise Conflict(
            f"the field {field.name!r} of {collection!r} is decided by similarities, which are no "
            f"probabilities of being right: {_run(collection, field.name, 0.95)} first"
        )
    table = schema.standing.c
    near = table.reason.in_((Reason.BELOW_THRESHOLD, Reason.TOO_CLOSE))
    by_limit = table.reason.is_(None) | near & looks_known()
    query = select(table.confidence, table.label).where(table.field_pk == field.pk)
    rows = snapshot.rows(query.where(_left(), by_limit, table.confidence.is_not(None)))
    if not rows:
        raise Conflict(
            f"nothing of {collection!r} has a probability in the field {field.name!r} yet: label "
            "more documents of each kind, or add some; `lookalike report` says what is missing"
        )
    probability = np.clip([row.confidence for row in rows], 0, 1).astype(np.float64)
    return probability, probability[[row.label is not None for row in rows]]


def _counts(snapshot: Snapshot, field: FieldRow) -> tuple[int, int, int]:
    """Return how many documents there are, have a label from others, and are the machine's."""
    table = schema.standing.c
    others = table.label.is_not(None) & (table.origin != Origin.AUTO)
    counted = select(func.count().label("n")).where(table.field_pk == field.pk)
    queries = counted, counted.where(others), counted.where(_left())
    documents, labelled, left = (int(snapshot.rows(query)[0].n) for query in queries)
    return documents, labelled, left


def _left() -> Any:
    """Return the condition of what nobody has said anything of."""
    table = schema.standing.c
    return (table.origin.is_(None) & table.answer.is_(None)) | (table.origin == Origin.AUTO)


def _checks(snapshot: Snapshot, field_pk: int) -> list[Check]:
    """Return the automatic labels that random answers met since the field has its policy."""
    event, operation = schema.event, schema.operation
    latest = func.max(func.coalesce(operation.c.undone_by, operation.c.pk)).label("latest")
    query = select(latest).join(event, event.c.operation_pk == operation.c.pk)
    query = query.where(event.c.field_pk == field_pk, event.c.kind == EventKind.CONFIGURED)
    since = snapshot.rows(query)[0].latest or 0
    return [
        Check(float(one.confidence), one.right, one.inclusion)
        for one in checked_labels(snapshot, field_pk)
        if one.operation > since and one.confidence is not None
    ]


def _next_step(collection: str, field: str, best: CostPoint) -> str:
    """Return the command that brings the best limit about: its precision, rounded down, as target.

    Labels reach a target together, so what reaches that of the best labels is what they are.
    """
    target = 0.0 if best.precision is None else math.floor(best.precision * 1e4) / 1e4
    if target <= 0:
        return f"lookalike queue {shlex.quote(collection)} --field {shlex.quote(field)}"
    return _run(collection, field, target)


def _run(collection: str, field: str, target: float) -> str:
    names = shlex.quote(collection), shlex.quote(field)
    return f"lookalike run {names[0]} --field {names[1]} --target-precision {target:g}"
