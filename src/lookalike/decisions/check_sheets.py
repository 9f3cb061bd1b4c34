"""Check sheets in the store: sampled in advance, answered as a whole, used for calibration.

An operation that changes decisions samples the next sheet from the items that may be labelled soon
(`review.check_sheets`), and logs each document with its inclusion probability. So every process
shows the same sheet until it is answered. The answers of a sheet count as a random sample only when
the whole sheet is answered: the items that are answered first are the easy ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from lookalike.classifier.graph.search import Ids
from lookalike.classifier.policies import REASONS
from lookalike.classifier.review.check_sheets import (
    CHECK_ITEMS,
    CHECK_TEXTS,
    CheckDraw,
    CheckPlan,
    draw_check,
    plan_check,
)
from lookalike.decisions.field.state import FieldState
from lookalike.labels import NO_LABEL
from lookalike.model import Origin, Reason
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn, conditions

_CONFLICT = REASONS.index(Reason.CONFLICT)
_OF_TEXTS = ("text", "document", "sentence_transformers")
"""Name prefixes of the spaces whose documents are read as texts."""

_SAME_SHARE = 0.75
"""Keep a sheet without answers if this share of it would be sampled again."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet that an `operation` sampled: its `documents` (pks, rising), and which are `answered`.

    For the documents in `refuted` a person only rejected the label shown.
    """

    operation: int
    documents: Ids
    labels: tuple[str | None, ...]
    answered: NDArray[np.bool_]
    refuted: NDArray[np.bool_]

    @property
    def left(self) -> Ids:
        """Return the documents without an answer (pks, rising)."""
        return self.documents[~self.answered]


@dataclass(frozen=True, slots=True)
class Checked:
    """The answers of completed sheets.

    `shown` is the label shown for each of their documents (pks); `refuted` has, by label, the
    documents for which a person only rejected that label.
    """

    shown: dict[int, str | None]
    refuted: dict[str, Ids]

    @property
    def sample(self) -> Ids:
        """Return all documents of the sheets (pks, rising)."""
        return np.array(sorted(self.shown), np.int64)


def open_sheet(snapshot: Snapshot, field_pk: int) -> Sheet | None:
    """Return the latest sheet if it has documents without an answer, else None.

    Sheets of undone operations do not count: after an undo the sheet before is open again.
    """
    table, operation = schema.sheet, schema.operation
    query = select(table.c.operation_pk).where(table.c.field_pk == field_pk)
    query = query.join(operation, operation.c.pk == table.c.operation_pk)
    query = query.where(operation.c.undone_by.is_(None))
    latest = snapshot.rows(query.order_by(table.c.operation_pk.desc()).limit(1))
    if not latest:
        return None
    (sheet,) = _sheets(snapshot, field_pk, latest[0].operation_pk)
    return sheet if len(sheet.left) else None


def checked_in(snapshot: Snapshot, field_pk: int) -> Checked:
    """Return the result of all completed sheets of a field."""
    shown: dict[int, str | None] = {}
    refuted: dict[str, list[int]] = {}
    for sheet in _sheets(snapshot, field_pk):
        if len(sheet.left):
            continue
        rows = zip(sheet.documents.tolist(), sheet.labels, sheet.refuted.tolist(), strict=True)
        for pk, label, is_refuted in rows:
            shown[pk] = label
            if label is not None and is_refuted:
                refuted.setdefault(label, []).append(pk)
    return Checked(shown, {label: np.array(pks, np.int64) for label, pks in refuted.items()})


def draw_sheet(txn: Txn, operation: int, state: FieldState) -> None:
    """Sample the next sheet of a field, unless the open one can be kept.

    Keep a sheet that has answers. Check a sheet without answers again when the rule was refitted.
    """
    columns, rule = state.columns, state.rule
    if rule is None or rule.learned is None:
        return
    before = open_sheet(txn, state.field.pk)
    if before is not None and (before.answered.any() or rule.moved):
        return
    plan = plan_sheet(state)
    if plan is None:
        return
    p, candidates, automatic = _parts(state)
    seed = state.field.pk * 2**32 + int(rule.learned["sampled"])
    drawn = draw_check(plan, p, candidates, automatic, columns.pks, seed)
    if before is None or not _is_similar(before, columns.pks[drawn.rows]):
        _write(txn, operation, state, drawn)


def plan_sheet(state: FieldState) -> CheckPlan | None:
    """Return the plan for the next sheet of a field, or None if no document may be sampled."""
    assert state.rule is not None and state.rule.learned is not None, "no rule is fitted"
    p, candidates, automatic = _parts(state)
    return plan_check(
        p,
        candidates,
        automatic,
        target=state.field.taxonomy.target_precision,
        sampled=int(state.rule.learned["sampled"]),
        size=size_of(state.field.space.name),
    )


def _parts(
    state: FieldState,
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return per row: the probability, whether it has only a suggestion, or an automatic label."""
    columns = state.columns
    waiting = state.undecided & ~columns["unclear"]
    automatic = waiting & (columns["codes"] != NO_LABEL)
    candidates = waiting & ~automatic & (columns["runner_up"] != NO_LABEL)
    candidates &= columns["reasons"] != _CONFLICT
    return np.nan_to_num(columns["confidence"]), candidates, automatic


def size_of(space: str) -> int:
    """Return the maximum number of documents on a sheet; it is lower for texts."""
    return CHECK_TEXTS if space.startswith(_OF_TEXTS) else CHECK_ITEMS


def _is_similar(sheet: Sheet, drawn: Ids) -> bool:
    same = len(np.intersect1d(sheet.documents, drawn))
    return same >= _SAME_SHARE * max(len(drawn), len(sheet.documents))


def _write(txn: Txn, operation: int, state: FieldState, drawn: CheckDraw) -> None:
    columns, name = state.columns, state.codes.name
    codes = columns["codes"][drawn.rows]
    shown = np.where(codes == NO_LABEL, columns["runner_up"][drawn.rows], codes)
    txn.insert(
        schema.sheet,
        [
            {
                "field_pk": state.field.pk,
                "operation_pk": operation,
                "document_pk": pk,
                "probability": probability,
                "label": name(code),
                "confidence": confidence,
            }
            for pk, probability, code, confidence in zip(
                columns.pks[drawn.rows].tolist(),
                drawn.inclusion.tolist(),
                shown.tolist(),
                columns["confidence"][drawn.rows].tolist(),
                strict=True,
            )
        ],
    )


def _sheets(snapshot: Snapshot, field_pk: int, operation: int | None = None) -> list[Sheet]:
    """Return the sheets of a field, earliest first, or only the sheet of one operation."""
    table = schema.sheet
    query = select(table.c.operation_pk, table.c.document_pk, table.c.label)
    query = query.where(table.c.field_pk == field_pk)
    if operation is not None:
        query = query.where(table.c.operation_pk == operation)
    rows = snapshot.rows(query.order_by(table.c.operation_pk, table.c.document_pk))
    pks = np.unique(np.array([row.document_pk for row in rows], np.int64))
    answered, rejected = _answered(snapshot, field_pk, pks)
    found: dict[int, list[tuple[int, str | None]]] = {}
    for row in rows:
        if row.document_pk in answered:
            found.setdefault(row.operation_pk, []).append((row.document_pk, row.label))
    return [_sheet(operation, items, answered, rejected) for operation, items in found.items()]


def _sheet(
    operation: int,
    items: list[tuple[int, str | None]],
    answered: dict[int, bool],
    rejected: set[tuple[int, str | None]],
) -> Sheet:
    is_answered = np.array([answered[pk] for pk, _ in items], bool)
    refuted = ~is_answered & np.array([item in rejected for item in items], bool)
    return Sheet(
        operation,
        np.array([pk for pk, _ in items], np.int64),
        tuple(label for _, label in items),
        is_answered | refuted,
        refuted,
    )


def _answered(
    snapshot: Snapshot, field_pk: int, pks: Ids
) -> tuple[dict[int, bool], set[tuple[int, str | None]]]:
    """Return which existing documents a person answered, and rejected (document, label) pairs."""
    standing, rejection = schema.standing, schema.rejection
    states = select(standing.c.document_pk, standing.c.answer, standing.c.origin)
    states = states.where(standing.c.field_pk == field_pk)
    answered = {
        row.document_pk: row.answer is not None or row.origin == Origin.HUMAN
        for chosen in conditions(standing.c.document_pk, pks)
        for row in snapshot.rows(states.where(chosen))
    }
    rejections = select(rejection.c.document_pk, rejection.c.label)
    rejections = rejections.where(rejection.c.field_pk == field_pk)
    rejected = {
        (row.document_pk, row.label)
        for chosen in conditions(rejection.c.document_pk, pks)
        for row in snapshot.rows(rejections.where(chosen))
    }
    return answered, rejected
