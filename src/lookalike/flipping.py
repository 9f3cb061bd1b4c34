"""Flipping: which labels of the machine would come or go at another limit. Nothing is written.

It is read off the recorded decisions: of what only the limit bears on. A rule that is learned anew
for another target may see things a little differently; a trial says how it does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, func, or_, select

from lookalike.claims import EVEN
from lookalike.errors import BadInput, Conflict
from lookalike.model import Origin, Reason
from lookalike.reading import FieldRow
from lookalike.rules import check_share, check_target
from lookalike.stores import schema
from lookalike.stores.base import Snapshot

MAX_PAGE = 1000
_NEVER = 1.01


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
    come, go = _coming(field, edge), _going(field, edge)
    appearing = _counts(snapshot, schema.standing.c.runner_up, come)
    vanishing = _counts(snapshot, schema.standing.c.label, go)
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
        documents=tuple(_page(snapshot, come, go, sum(appearing.values()), limit, offset)),
    )


# --- inside ---------------------------------------------------------------------------------------


def _by_limit(field: FieldRow) -> Any:
    """Return the condition of the decisions that the limit of a field bears on, and nothing else.

    Labels that have a limit of their own do not follow it.
    """
    table = schema.standing.c
    here = and_(table.field_pk == field.pk, table.confidence.is_not(None))
    if field.taxonomy.confidence_threshold is not None:
        return and_(here, or_(table.reason.is_(None), table.reason == Reason.BELOW_THRESHOLD))
    near = (Reason.BELOW_THRESHOLD, Reason.TOO_CLOSE)
    here = and_(here, or_(table.reason.is_(None), table.reason.in_(near)))
    own = {} if field.standard is None else field.standard.limits
    if own:
        here = and_(here, func.coalesce(table.label, table.runner_up, "").not_in(list(own)))
    return here


def _coming(field: FieldRow, edge: float) -> Any:
    """Return the condition of what has no label and would get one."""
    table = schema.standing.c
    null = and_(table.origin.is_(None), table.answer.is_(None), table.reason.is_not(None))
    ahead = or_(table.margin.is_(None), table.margin >= 0)  # what looks new is never labelled
    return and_(_by_limit(field), null, ahead, table.confidence >= edge)


def _going(field: FieldRow, edge: float) -> Any:
    """Return the condition of what has an automatic label and would lose it."""
    table = schema.standing.c
    return and_(_by_limit(field), table.origin == Origin.AUTO, table.confidence < edge)


def _counts(snapshot: Snapshot, column: Any, chosen: Any) -> dict[str, int]:
    query = select(column.label("label"), func.count().label("n")).where(chosen).group_by(column)
    return {row.label: row.n for row in snapshot.rows(query.order_by(column))}


def _page(
    snapshot: Snapshot, come: Any, go: Any, coming: int, limit: int, offset: int
) -> list[Flip]:
    """Return a page of what would come, the surest first, and then of what would go, the least."""
    table, document = schema.standing.c, schema.document.c
    query = select(document.id, table.label, table.runner_up, table.confidence).join(
        schema.standing, table.document_pk == document.pk
    )
    first = query.where(come).order_by(table.confidence.desc(), document.pk)
    then = query.where(go).order_by(table.confidence, document.pk)
    found = [
        Flip(row.id, None, row.runner_up, row.confidence)
        for row in snapshot.rows(first.limit(limit).offset(offset))
        if limit
    ]
    rest = limit - len(found)
    if rest:
        rows = snapshot.rows(then.limit(rest).offset(max(offset - coming, 0)))
        found += [Flip(row.id, row.label, None, row.confidence) for row in rows]
    return found


def _levels(snapshot: Snapshot, field: FieldRow) -> list[tuple[float, int]]:
    """Return how many decisions there are of each confidence, the surest first."""
    table = schema.standing.c
    machine = or_(table.origin.is_(None), table.origin == Origin.AUTO)
    query = select(table.confidence, func.count().label("n")).where(_by_limit(field), machine)
    rows = snapshot.rows(query.group_by(table.confidence).order_by(table.confidence.desc()))
    return [(row.confidence, row.n) for row in rows]


def _limit_of(snapshot: Snapshot, field: FieldRow, target: float) -> float:
    """Return the lowest confidence down to which decisions are right at a target, on average."""
    total, mass, limit = 0, 0.0, _NEVER
    for level, count in _levels(snapshot, field):
        total, mass = total + count, mass + level * count
        if mass >= target * total:
            limit = level
    return max(limit, min(EVEN, target))


def _target_at(snapshot: Snapshot, field: FieldRow, edge: float) -> float | None:
    """Return what share of the labels from a limit on is right, on average, rounded down."""
    levels = [(level, count) for level, count in _levels(snapshot, field) if level >= edge]
    total = sum(count for _, count in levels)
    mean = sum(level * count for level, count in levels) / total if total else 0.0
    return math.floor(mean * 1e4) / 1e4 or None
