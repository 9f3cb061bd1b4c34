"""Undo: which operations are undone, and the state before them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Select, select

from lookalike.catalog.fields import taxonomy_after
from lookalike.catalog.label_names import family_of, naming_of, owner_of
from lookalike.catalog.references import newest_revision
from lookalike.errors import Conflict, NotFound
from lookalike.labels import Naming
from lookalike.model import EventKind
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn, conditions

# --- which operations are undone -----------------------------------------------------------------

NO_FIELD = 0
"""The field of an event that belongs to no field."""


def effective_undos(targets: Mapping[int, int]) -> dict[int, int | None]:
    """Return, for each operation that was ever undone, the effective undo, or None.

    `targets` gives the operation that each undo undoes. An operation is undone while any undo of it
    is effective. An undo is newer than its target, so iterating from the newest visits each
    operation after all its undos.
    """
    undone_by: dict[int, int | None] = {}
    for undo, target in sorted(targets.items(), reverse=True):
        holds = undone_by.get(undo) is None
        undone_by[target] = undone_by.get(target) or (undo if holds else None)
    return undone_by


def last_by(targets: Mapping[int, int]) -> dict[int, int]:
    """Return, for each operation that was ever undone or restored, the last undo that did it.

    `targets` gives the operation that each undo undoes.
    """
    moved_by: dict[int, int] = {}
    for undo, target in sorted(targets.items()):
        moved: int | None = target
        while moved is not None:
            moved_by[moved] = undo
            moved = targets.get(moved)
    return moved_by


def undos(snapshot: Snapshot) -> dict[int, int]:
    """Return the operation that each undo undoes, oldest first."""
    event = schema.event
    query = _undone(select(event.c.operation_pk, event.c.detail)).order_by(event.c.seq)
    return {row.operation_pk: row.detail["operation"] for row in snapshot.rows(query)}


def any_undo_since(snapshot: Snapshot, operation: int) -> bool:
    """Return whether anything was undone after an operation (pk); cheaper than `undos`."""
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


# -------------------------------------------------------------------------------------------------


def undoable(snapshot: Snapshot, collection_pk: int, operation_id: str) -> Any:
    """Return the row of an operation that can be undone. Raises NotFound, Conflict."""
    table = schema.operation
    found = snapshot.rows(select(table).where(table.c.id == operation_id))
    if not found or found[0].collection_pk != collection_pk:
        raise NotFound(f"no operation {operation_id!r} in this collection; see its history")
    if found[0].undone_by is not None:
        raise Conflict(f"operation {operation_id} is undone already; undo that undo to redo it")
    if found[0].kind == "migrate":
        raise Conflict(
            f"operation {operation_id} changed the extractor; migrate back to the one before"
        )
    if found[0].kind in ("audit", "audit_answer"):
        raise Conflict(
            f"operation {operation_id} belongs to an audit, whose sample and answers stay; "
            "close the audit and draw another one"
        )
    if found[0].kind in ("trial", "trial_draw", "trial_answer"):
        raise Conflict(
            f"operation {operation_id} belongs to a trial, whose draws and answers stay; drop the "
            "trial instead"
        )
    if found[0].kind in ("version", "retire_version"):
        raise Conflict(
            f"operation {operation_id} named a version, or retired one, and changed nothing else; "
            "retire the version if it shall not be offered"
        )
    if found[0].kind in ("add", "forget", "create", "remove"):
        raise Conflict(
            f"operation {operation_id} is a {found[0].kind!r} and gave no labels to take back; "
            "use forget to remove documents"
        )
    return found[0]


def settle_undone(txn: Txn) -> list[int]:
    """Mark which operations are undone; return those that are newly undone or restored."""
    operation, undone_by = schema.operation, effective_undos(undos(txn))
    stored: dict[int, int | None] = {}
    for chosen in conditions(operation.c.pk, list(undone_by)):
        rows = txn.rows(select(operation.c.pk, operation.c.undone_by).where(chosen))
        stored |= {row.pk: row.undone_by for row in rows}
    moved = {pk: by for pk, by in undone_by.items() if stored[pk] != by}
    txn.update(operation, [{"pk": pk, "undone_by": by} for pk, by in moved.items()])
    return sorted(pk for pk, by in moved.items() if (stored[pk] is None) != (by is None))


def taxonomies(snapshot: Snapshot, configured: Any) -> tuple[Any, Any]:
    """Return the stored taxonomy, and the one after all events that are not undone."""
    table = schema.field
    chosen = select(table.c.taxonomy).where(table.c.pk == configured.field_pk)
    event, operation = schema.event, schema.operation
    query = (
        select(event.c.detail, operation.c.undone_by)
        .join(operation, operation.c.pk == event.c.operation_pk)
        .where(event.c.field_pk == configured.field_pk, event.c.kind == EventKind.CONFIGURED)
        .order_by(event.c.seq)
    )
    rows = snapshot.rows(query)
    effective = [row.detail for row in rows if row.undone_by is None]
    after = taxonomy_after(rows[0].detail["before"], effective)
    return snapshot.rows(chosen)[0].taxonomy, after


def namings_before(
    snapshot: Snapshot, events: Sequence[Any], flipped: Sequence[int]
) -> dict[int, Naming]:
    """Return the label names before the operations of these events were undone.

    They are those of all fields with these labels, including fields that did not exist yet.
    """
    owners = sorted({owner_of(snapshot, row.field_pk) for row in events})
    fields = [pk for owner in owners for pk in family_of(snapshot, owner)]
    fields += [row.field_pk for row in events if row.field_pk not in fields]
    return {pk: naming_of(snapshot, pk, flipped) for pk in fields}


def standards_before(snapshot: Snapshot, events: Sequence[Any]) -> Mapping[int, Any]:
    """Return the decision rules before events, for fields that have not changed since."""
    if len({row.operation_pk for row in events}) > 1:
        return {}
    since = {row.field_pk: newest_revision(snapshot, row.field_pk) for row in events}
    operation = max(row.operation_pk for row in events)
    if max(since.values()) > operation or any("standard" not in row.detail for row in events):
        return {}
    return {row.field_pk: row.detail["standard"] for row in events}
