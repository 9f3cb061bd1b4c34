"""Which operations are undone, told from the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, select

from lookalike.model import EventKind
from lookalike.stores import schema
from lookalike.stores.base import Snapshot

NO_FIELD = 0
"""The field of an event that is of no field."""


def in_force_by(targets: Mapping[int, int]) -> dict[int, int | None]:
    """Return, of each operation that was ever undone, the undo that is in force, or None.

    `targets` tells which operation each undo undoes. An operation is undone while any undo of it is
    in force. An undo is younger than what it undoes, so going back in time meets each after
    everything that could undo it.
    """
    undone_by: dict[int, int | None] = {}
    for undo, target in sorted(targets.items(), reverse=True):
        holds = undone_by.get(undo) is None
        undone_by[target] = undone_by.get(target) or (undo if holds else None)
    return undone_by


def last_by(targets: Mapping[int, int]) -> dict[int, int]:
    """Return, of each operation that was ever undone or brought back, the last undo that did it.

    `targets` tells which operation each undo undoes.
    """
    moved_by: dict[int, int] = {}
    for undo, target in sorted(targets.items()):
        moved: int | None = target
        while moved is not None:
            moved_by[moved] = undo
            moved = targets.get(moved)
    return moved_by


def undos(snapshot: Snapshot) -> dict[int, int]:
    """Return which operation each undo undoes, the oldest first."""
    event = schema.event
    query = _undone(select(event.c.operation_pk, event.c.detail)).order_by(event.c.seq)
    return {row.operation_pk: row.detail["operation"] for row in snapshot.rows(query)}


def any_undo_since(snapshot: Snapshot, operation: int) -> bool:
    """Return whether anything was undone after an operation (pk): less work than all undos."""
    event = schema.event
    query = _undone(select(event.c.seq)).where(event.c.operation_pk > operation)
    return bool(snapshot.rows(query.limit(1)))


def _undone(query: Select[Any]) -> Select[Any]:
    event = schema.event
    return query.where(
        event.c.document_pk.is_(None),
        event.c.field_pk == NO_FIELD,
        event.c.kind == EventKind.UNDONE,
    )
