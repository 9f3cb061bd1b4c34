"""Flipping: which labels of the machine would come or go at another limit. Nothing is written.

It is read off the recorded decisions: of what only the limit bears on. A rule that is learned anew
for another target may see things a little differently; a trial says how it does.
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
    as_it_stands,
    cheapest,
    cost_points,
    weighed,
)
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, one_of

MAX_PAGE = 1000
_NEVER = 1.01
_STRIP = 0.1

_CONFIDENCE = schema.standing.c.confidence + 0.0
"""So that labels are read off the index by label, which has it, too, and not off each row."""


@dataclass(frozen=True, slots=True)
class Flip:
    """A document whose automatic label would come or go, and how sure the machine is of it."""

    id: str
    before: str | None
    after: str | None
    confidence: float


@dataclass(frozen=True, slots=True)
class Flips:
    """What would flip if the limit of a field was `at`, where it is `limit` now.

    `target_precision` is the target that brings about that limit; None where the limit is a
    similarity. So many labels would `appear` and `vanish`, by label, too. `documents` are some of
    them, those that flip first when the limit is moved before the others.
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
    """Return what would flip at a limit, or at that of a target.

    Raises BadInput unless one of both is given, Conflict for a target of a field that is decided by
    similarities.
    """
    if (at is None) == (target_precision is None):
        raise BadInput("say one of both: at=… a limit, or target_precision=…")
    if not (0 <= limit <= MAX_PAGE and offset >= 0):
        raise BadInput(f"limit is 0 to {MAX_PAGE:,}, and offset 0 or more")
    by_similarity = field.taxonomy.confidence_threshold is not None
    target: float | None
    if target_precision is not None:
        if by_similarity:
            raise Conflict(
                f"the field {field.name!r} is decided by similarities, which tell nothing of a "
                "target: give at=…, or try_policy(target_precision=…)"
            )
        target, edge = target_precision, _limit_of(snapshot, field, check_target(target_precision))
    else:
        edge = check_share(0.0 if at is None else at)
        target = None if by_similarity else _target_at(snapshot, field, edge)
    appearing, vanishing, page = {}, {}, []
    if edge != field.limit:  # at which nothing flips, though recorded decisions have fewer digits
        appearing = _counts(snapshot, schema.standing.c.runner_up, _coming(field, edge))
        vanishing = _counts(snapshot, schema.standing.c.label, _going(field, edge))
        page = _page(snapshot, field, edge, sum(appearing.values()), limit, offset)
    return Flips(
        collection=collection,
        field=field.name,
        policy=field.policy,
        limit=field.limit,
        at=edge,
        target_precision=target,
        appear=sum(appearing.values()),
        vanish=sum(vanishing.values()),
        appearing=appearing,
        vanishing=vanishing,
        documents=tuple(page),
    )


def led_by_limit(field: FieldRow) -> Any:
    """Return the condition of the machine's decisions that have a label, or would get one, as far
    as the limit of a field goes.
    """
    table = schema.standing.c
    given = and_(_labelled(field), table.origin == Origin.AUTO)
    null = and_(_nulls(field), table.origin.is_(None), looks_known())
    return and_(table.confidence.is_not(None), or_(given, null))


def looks_known() -> Any:
    """Return the condition of what looks like something known: what looks new is never labelled."""
    table = schema.standing.c
    return or_(table.margin.is_(None), table.margin >= 0)


# --- inside ---------------------------------------------------------------------------------------


def _follows(field: FieldRow, label: Any) -> Any:
    """Return the condition of the decisions for labels that have no limit of their own."""
    own = {} if field.standard is None else field.standard.limits
    here = schema.standing.c.field_pk == field.pk
    return and_(here, func.coalesce(label, "").not_in(list(own))) if own else here


def _coming(field: FieldRow, edge: float) -> Any:
    """Return the condition of what has no label and would get one."""
    table = schema.standing.c
    return and_(_nulls(field), table.answer.is_(None), looks_known(), table.confidence >= edge)


def _nulls(field: FieldRow) -> Any:
    """Return the condition of what has no label, and that for its limit alone."""
    table = schema.standing.c
    by_similarity = field.taxonomy.confidence_threshold is not None
    near = (Reason.BELOW_THRESHOLD, *(() if by_similarity else (Reason.TOO_CLOSE,)))
    return and_(_follows(field, table.runner_up), table.label.is_(None), table.reason.in_(near))


def _going(field: FieldRow, edge: float) -> Any:
    """Return the condition of what has an automatic label and would lose it."""
    return and_(_labelled(field), edge > _CONFIDENCE)


def _labelled(field: FieldRow) -> Any:
    """Return the condition of what has a label; only what the machine gave has a confidence."""
    table = schema.standing.c
    return and_(_follows(field, table.label), table.label.is_not(None))


def _counts(snapshot: Snapshot, column: Any, chosen: Any) -> dict[str, int]:
    query = select(column.label("label"), func.count().label("n")).where(chosen).group_by(column)
    return {row.label: row.n for row in snapshot.rows(query.order_by(column))}


def _page(
    snapshot: Snapshot, field: FieldRow, edge: float, coming: int, limit: int, offset: int
) -> list[Flip]:
    """Return a page of what would come, the surest first, and then of what would go, the least."""
    table = schema.standing.c
    query = select(table.document_pk)
    first = query.where(_coming(field, edge)).order_by(table.confidence.desc(), table.document_pk)
    pks = [row.document_pk for row in snapshot.rows(first.limit(limit).offset(offset))]
    then = query.where(_going(field, edge)).order_by(_CONFIDENCE, table.document_pk)
    then = then.limit(limit - len(pks)).offset(max(offset - coming, 0))
    pks += [row.document_pk for row in snapshot.rows(then)]
    return _shown(snapshot, field, pks)


def _shown(snapshot: Snapshot, field: FieldRow, pks: Sequence[int]) -> list[Flip]:
    """Return documents, in their order, as they would flip."""
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
    """Return how many decisions there are of each confidence, the surest first."""
    level = _CONFIDENCE.label("level")
    query = select(level, func.count().label("n")).where(chosen, _CONFIDENCE.is_not(None))
    rows = snapshot.rows(query.group_by(_CONFIDENCE))
    return sorted(((row.level, row.n) for row in rows), reverse=True)


def _limit_of(snapshot: Snapshot, field: FieldRow, target: float) -> float:
    """Return the lowest confidence down to which decisions are right at a target, on average.

    What has no label is read in strips, from the limit in force down, until the target is missed.
    """
    levels = _levels(snapshot, _labelled(field))
    low, high = (levels[-1][0] if levels else 1.0), _NEVER
    least = min(EVEN, target)
    while True:
        strip = and_(_nulls(field), low <= _CONFIDENCE, high > _CONFIDENCE)
        levels += _levels(snapshot, strip)
        limit = _lowest(levels, target)
        if low <= least or limit > low + _STRIP / 2:
            return max(limit, least)
        low, high = low - _STRIP, low


def _lowest(levels: Sequence[tuple[float, int]], target: float) -> float:
    """Return the lowest level down to which the mean reaches a target."""
    total, mass, limit = 0, 0.0, _NEVER
    for level, count in sorted(levels, reverse=True):
        total, mass = total + count, mass + level * count
        if mass >= target * total:
            limit = level
    return limit


def _target_at(snapshot: Snapshot, field: FieldRow, edge: float) -> float | None:
    """Return what share of the labels from a limit on is right, on average, rounded down."""
    total, mass = 0, 0.0
    stays = and_(_labelled(field), edge <= _CONFIDENCE)
    for chosen in (stays, _coming(field, edge)):
        query = select(func.count().label("n")).add_columns(func.sum(_CONFIDENCE).label("mass"))
        (row,) = snapshot.rows(query.where(chosen))
        total, mass = total + row.n, mass + (row.mass or 0.0)
    return math.floor(mass / total * 1e4) / 1e4 or None if total else None


# --- what the thresholds of a field cost ---------------------------------------------------------

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
    documents, others, waiting = _cost_counts(snapshot, field)
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


def _cost_counts(snapshot: Snapshot, field: FieldRow) -> tuple[int, int, int]:
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
