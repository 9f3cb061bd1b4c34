"""Which operations are undone, told from the ledger."""

from __future__ import annotations

from sqlalchemy import select

from lookalike.model import EventKind
from lookalike.stores import schema
from lookalike.stores.base import Snapshot

NO_FIELD = 0
"""The field of an event that is of no field."""


def undos_in_force(snapshot: Snapshot) -> dict[int, int | None]:
    """Return, of each operation that was ever undone, the undo that is in force in a snapshot.

    An operation is undone while any undo of it is in force. An undo is younger than what it undoes,
    so going back in time meets each after everything that could undo it.
    """
    undone_by: dict[int, int | None] = {}
    for undo, target in reversed(_undos(snapshot).items()):
        in_force = undone_by.get(undo) is None
        undone_by[target] = undone_by.get(target) or (undo if in_force else None)
    return undone_by


def last_undos(snapshot: Snapshot) -> dict[int, int]:
    """Return, of each operation that was ever undone or brought back, the last undo that did it."""
    targets, last = _undos(snapshot), dict[int, int]()
    for undo, target in targets.items():
        moved: int | None = target
        while moved is not None:
            last[moved] = undo
            moved = targets.get(moved)
    return last


def _undos(snapshot: Snapshot) -> dict[int, int]:
    """Return which operation each undo undoes, the oldest first."""
    event = schema.event
    query = select(event.c.operation_pk, event.c.detail).where(
        event.c.document_pk.is_(None),
        event.c.field_pk == NO_FIELD,
        event.c.kind == EventKind.UNDONE,
    )
    rows = snapshot.rows(query.order_by(event.c.seq))
    return {row.operation_pk: row.detail["operation"] for row in rows}
