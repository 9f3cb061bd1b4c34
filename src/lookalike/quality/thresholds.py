"""What-if for thresholds: the labels that another threshold would add or remove, and its cost.

Read-only. Computed from the stored confidences, for the decisions that depend on the threshold
alone. A rule refitted for another target may give slightly different confidences; an experiment
(`trials.py`) measures that.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import and_, func, or_, select

from lookalike.catalog.reader import FieldRow
from lookalike.catalog.taxonomies import check_share, check_target
from lookalike.classifier.calibration.intervals import EVEN
from lookalike.decisions.ledger.samples import checked_labels
from lookalike.errors import BadInput, Conflict
from lookalike.model import EventKind, Origin, Reason
from lookalike.quality.stats.cost_curve import (
    ENOUGH_CHECKS,
    Check,
    CostCurve,
    CostPoint,
    cheapest,
    cost_points,
    current_cost,
    error_risks,
)
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, one_of

MAX_PAGE = 1000
_NEVER = 1.01
_STEP = 0.1

_CONFIDENCE = schema.standing.c.confidence + 0.0
"""The `+ 0.0` makes the database use the index by label, which covers it, and not read each row."""


@dataclass(frozen=True, slots=True)
class Flip:
    """A document whose automatic label would appear or vanish, and the confidence in that label."""

    id: str
    before: str | None
    after: str | None
    confidence: float


@dataclass(frozen=True, slots=True)
class Flips:
    """The labels that would change if the threshold of a field moved from `limit` to `at`.

    `target_precision` is the target that leads to the threshold `at`; None where the threshold is a
    similarity. `appear` and `vanish` count labels, `appearing` and `vanishing` count them by label.
    `documents` is one page of them: those nearest to the current threshold come first.
    """

    collection: str
    field: str
    policy: str
    limit: float | None
    at: float
    target_precision: float | None
    appear: int
    vanish: int
    appearing: Mapping[str, int]
    vanishing: Mapping[str, int]
    documents: tuple[Flip, ...]


def flips(
    snapshot: Snapshot,
    collection: str,
    field: FieldRow,
    *,
    at: float | None,
    target_precision: float | None,
    limit: int,
    offset: int,
) -> Flips:
    """Return the labels that would change at the threshold `at`, or at that of a target.

    Raises BadInput unless one of the two is given, Conflict for a target under policy `threshold`.
    """
    if (at is None) == (target_precision is None):
        raise BadInput("give either at=…, a threshold, or target_precision=…")
    if not (0 <= limit <= MAX_PAGE and offset >= 0):
        raise BadInput(f"give a limit from 0 to {MAX_PAGE:,}, and an offset of 0 or more")
    by_similarity = field.taxonomy.confidence_threshold is not None
    target: float | None
    if target_precision is not None:
        if by_similarity:
            raise Conflict(
                f"the field {field.name!r} decides by a similarity threshold, which has no target "
                "precision: give at=…, or try_policy(target_precision=…)"
            )
        target = check_target(target_precision)
        threshold = _threshold_for(snapshot, field, target)
    else:
        threshold = check_share(0.0 if at is None else at)
        target = None if by_similarity else _target_at(snapshot, field, threshold)
    appearing, vanishing, page = {}, {}, []
    # The current threshold changes no label. Do not compare: stored confidences have fewer digits.
    if threshold != field.limit:
        appearing = _counts(snapshot, schema.standing.c.runner_up, _appears(field, threshold))
        vanishing = _counts(snapshot, schema.standing.c.label, _vanishes(field, threshold))
        page = _page(snapshot, field, threshold, sum(appearing.values()), limit, offset)
    return Flips(
        collection=collection,
        field=field.name,
        policy=field.policy,
        limit=field.limit,
        at=threshold,
        target_precision=target,
        appear=sum(appearing.values()),
        vanish=sum(vanishing.values()),
        appearing=appearing,
        vanishing=vanishing,
        documents=tuple(page),
    )


def depends_on_threshold(field: FieldRow) -> Any:
    """Return the SQL condition for automatic decisions that depend on the field's threshold alone:
    automatic labels, and unlabelled documents that a lower threshold would label.
    """
    table = schema.standing.c
    given = and_(_labelled(field), table.origin == Origin.AUTO)
    null = and_(_nulls(field), table.origin.is_(None), looks_known())
    return and_(table.confidence.is_not(None), or_(given, null))


def looks_known() -> Any:
    """Return the SQL condition for documents that do not look like a new category.

    Those that do are never labelled.
    """
    table = schema.standing.c
    return or_(table.margin.is_(None), table.margin >= 0)


# --- inside ---------------------------------------------------------------------------------------


def _uses_field_threshold(field: FieldRow, label: Any) -> Any:
    """Return the SQL condition for decisions whose `label` (a column) has no threshold of its own.

    Those follow the threshold of the field.
    """
    own = {} if field.decision_rule is None else field.decision_rule.limits
    here = schema.standing.c.field_pk == field.pk
    return and_(here, func.coalesce(label, "").not_in(list(own))) if own else here


def _appears(field: FieldRow, threshold: float) -> Any:
    """Return the SQL condition for unlabelled documents that would get a label at `threshold`."""
    table = schema.standing.c
    is_open = and_(_nulls(field), table.answer.is_(None), looks_known())
    return and_(is_open, table.confidence >= threshold)


def _nulls(field: FieldRow) -> Any:
    """Return the SQL condition for documents that have no label only because of the threshold."""
    table = schema.standing.c
    by_similarity = field.taxonomy.confidence_threshold is not None
    near = (Reason.BELOW_THRESHOLD, *(() if by_similarity else (Reason.TOO_CLOSE,)))
    follows = _uses_field_threshold(field, table.runner_up)
    return and_(follows, table.label.is_(None), table.reason.in_(near))


def _vanishes(field: FieldRow, threshold: float) -> Any:
    """Return the SQL condition for documents that would lose their automatic label."""
    return and_(_labelled(field), threshold > _CONFIDENCE)


def _labelled(field: FieldRow) -> Any:
    """Return the SQL condition for labelled documents; only automatic labels have a confidence."""
    table = schema.standing.c
    return and_(_uses_field_threshold(field, table.label), table.label.is_not(None))


def _counts(snapshot: Snapshot, column: Any, chosen: Any) -> dict[str, int]:
    query = select(column.label("label"), func.count().label("n")).where(chosen).group_by(column)
    return {row.label: row.n for row in snapshot.rows(query.order_by(column))}


def _page(
    snapshot: Snapshot, field: FieldRow, threshold: float, appear: int, limit: int, offset: int
) -> list[Flip]:
    """Return a page of changes: first the `appear` labels that would appear, by falling confidence,
    then those that would vanish, by rising confidence.
    """
    table = schema.standing.c
    query = select(table.document_pk)
    appearing = query.where(_appears(field, threshold))
    appearing = appearing.order_by(table.confidence.desc(), table.document_pk)
    pks = [row.document_pk for row in snapshot.rows(appearing.limit(limit).offset(offset))]
    vanishing = query.where(_vanishes(field, threshold)).order_by(_CONFIDENCE, table.document_pk)
    vanishing = vanishing.limit(limit - len(pks)).offset(max(offset - appear, 0))
    pks += [row.document_pk for row in snapshot.rows(vanishing)]
    return _flips_of(snapshot, field, pks)


def _flips_of(snapshot: Snapshot, field: FieldRow, pks: Sequence[int]) -> list[Flip]:
    """Return the change of each document, in the order of `pks`."""
    table, document = schema.standing.c, schema.document.c
    query = select(document.pk, document.id, table.label, table.runner_up, table.confidence)
    query = query.join(schema.standing, table.document_pk == document.pk)
    rows = {
        row.pk: Flip(
            id=row.id,
            before=row.label,
            after=None if row.label is not None else row.runner_up,
            confidence=row.confidence,
        )
        for row in snapshot.rows(query.where(table.field_pk == field.pk, one_of(document.pk, pks)))
    }
    return [rows[pk] for pk in pks]


def _levels(snapshot: Snapshot, chosen: Any) -> list[tuple[float, int]]:
    """Return (confidence, number of decisions) pairs by falling confidence."""
    level = _CONFIDENCE.label("level")
    query = select(level, func.count().label("n")).where(chosen, _CONFIDENCE.is_not(None))
    rows = snapshot.rows(query.group_by(_CONFIDENCE))
    return sorted(((row.level, row.n) for row in rows), reverse=True)


def _threshold_for(snapshot: Snapshot, field: FieldRow, target: float) -> float:
    """Return the lowest threshold at which the mean confidence of the labels reaches a target.

    Reads unlabelled documents in steps of confidence, downwards from the least confident label,
    until the target is missed.
    """
    levels = _levels(snapshot, _labelled(field))
    low, high = (levels[-1][0] if levels else 1.0), _NEVER
    least = min(EVEN, target)
    while True:
        step = and_(_nulls(field), low <= _CONFIDENCE, high > _CONFIDENCE)
        levels += _levels(snapshot, step)
        threshold = _lowest(levels, target)
        if low <= least or threshold > low + _STEP / 2:
            return max(threshold, least)
        low, high = low - _STEP, low


def _lowest(levels: Sequence[tuple[float, int]], target: float) -> float:
    """Return the lowest level such that the mean of all levels from it up reaches a target."""
    total, mass, threshold = 0, 0.0, _NEVER
    for level, count in sorted(levels, reverse=True):
        total, mass = total + count, mass + level * count
        if mass >= target * total:
            threshold = level
    return threshold


def _target_at(snapshot: Snapshot, field: FieldRow, threshold: float) -> float | None:
    """Return the expected precision of the labels at a threshold, rounded down to 4 digits."""
    total, mass = 0, 0.0
    stays = and_(_labelled(field), threshold <= _CONFIDENCE)
    for chosen in (stays, _appears(field, threshold)):
        query = select(func.count().label("n")).add_columns(func.sum(_CONFIDENCE).label("mass"))
        (row,) = snapshot.rows(query.where(chosen))
        total, mass = total + row.n, mass + (row.mass or 0.0)
    return math.floor(mass / total * 1e4) / 1e4 or None if total else None


# --- what the thresholds of a field cost ---------------------------------------------------------

MAX_WRONG_COSTS = 1e9


def cost_curve(
    snapshot: Snapshot, collection: str, field: FieldRow, wrong_costs: float
) -> CostCurve:
    """Return the expected cost of each threshold.

    It covers the automatic decisions that depend on the threshold alone; a document that is
    unlabelled for another reason needs a review at any threshold. Raises BadInput for a
    `wrong_costs` out of range, Conflict where no decision has a probability.
    """
    if not (math.isfinite(wrong_costs) and 0 < wrong_costs <= MAX_WRONG_COSTS):
        raise BadInput(
            f"wrong_costs is {wrong_costs}; give the cost of a wrong label in reviews: above 0, up "
            "to 1e9"
        )
    probability, automatic = _decisions(snapshot, collection, field)
    documents, others, unanswered = _cost_counts(snapshot, field)
    checks = _checks(snapshot, field.pk)
    risks = error_risks(probability, checks, documents, others)
    is_counted = len(checks) >= ENOUGH_CHECKS
    best = cheapest(risks, wrong_costs)
    return CostCurve(
        collection=collection,
        field=field.name,
        wrong_costs=wrong_costs,
        basis="counted" if is_counted else "estimated",
        answers=len(checks),
        counted_from=min(one.confidence for one in checks) if is_counted else None,
        decisions=len(probability),
        anyway=unanswered - len(probability),
        by_rule=max(0.0, 1 - 1 / wrong_costs),
        best=best,
        now=current_cost(
            risks, error_risks(automatic, checks, documents, others), wrong_costs, field.limit
        ),
        points=cost_points(risks, wrong_costs),
        next_step=_next_step(collection, field.name, best),
    )


def _decisions(
    snapshot: Snapshot, collection: str, field: FieldRow
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the probabilities (n,) of the decisions that depend on the threshold alone, and (m,)
    of those among them that have a label. Raises Conflict where there are none.
    """
    if field.taxonomy.confidence_threshold is not None:
        raise Conflict(
            f"the field {field.name!r} of {collection!r} decides by a similarity threshold, and "
            "similarities are not probabilities: run "
            f"`{_run(collection, field.name, 0.95)}` first"
        )
    table = schema.standing.c
    near = table.reason.in_((Reason.BELOW_THRESHOLD, Reason.TOO_CLOSE))
    by_threshold = table.reason.is_(None) | near & looks_known()
    query = select(table.confidence, table.label).where(table.field_pk == field.pk)
    rows = snapshot.rows(query.where(_unanswered(), by_threshold, table.confidence.is_not(None)))
    if not rows:
        raise Conflict(
            f"no item of {collection!r} has a probability in the field {field.name!r} yet: label "
            "more items of each category, or add items; `lookalike report` shows what is missing"
        )
    probability = np.clip([row.confidence for row in rows], 0, 1).astype(np.float64)
    return probability, probability[[row.label is not None for row in rows]]


def _cost_counts(snapshot: Snapshot, field: FieldRow) -> tuple[int, int, int]:
    """Return three counts of documents: all, those with a label that is not automatic, and those
    that nobody has answered.
    """
    table = schema.standing.c
    others = table.label.is_not(None) & (table.origin != Origin.AUTO)
    counted = select(func.count().label("n")).where(table.field_pk == field.pk)
    queries = counted, counted.where(others), counted.where(_unanswered())
    documents, labelled, unanswered = (int(snapshot.rows(query)[0].n) for query in queries)
    return documents, labelled, unanswered


def _unanswered() -> Any:
    """Return the SQL condition for documents that nobody has answered."""
    table = schema.standing.c
    return (table.origin.is_(None) & table.answer.is_(None)) | (table.origin == Origin.AUTO)


def _checks(snapshot: Snapshot, field_pk: int) -> list[Check]:
    """Return the automatic labels that random answers checked since the policy was last changed."""
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
    """Return the command that sets the best threshold: its precision, rounded down, as the target.

    A target applies to all automatic labels together, so that target selects just these labels.
    """
    target = 0.0 if best.precision is None else math.floor(best.precision * 1e4) / 1e4
    if target <= 0:
        return f"lookalike queue {shlex.quote(collection)} --field {shlex.quote(field)}"
    return _run(collection, field, target)


def _run(collection: str, field: str, target: float) -> str:
    names = shlex.quote(collection), shlex.quote(field)
    return f"lookalike run {names[0]} --field {names[1]} --target-precision {target:g}"
