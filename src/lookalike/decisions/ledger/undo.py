"""What an undo takes back: which operations are undone, and what stood before them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from lookalike.catalog.fields import taxonomy_after
from lookalike.catalog.label_names import family_of, naming_of, owner_of
from lookalike.catalog.references import newest_revision
from lookalike.decisions.ledger.undos import in_force_by, undos
from lookalike.errors import Conflict, NotFound
from lookalike.labels import Naming
from lookalike.model import EventKind
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn
from lookalike.stores.selection import conditions


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
    """Mark which operations are undone; return those that came to be, or are in force again."""
    operation, undone_by = schema.operation, in_force_by(undos(txn))
    stored: dict[int, int | None] = {}
    for chosen in conditions(operation.c.pk, list(undone_by)):
        rows = txn.rows(select(operation.c.pk, operation.c.undone_by).where(chosen))
        stored |= {row.pk: row.undone_by for row in rows}
    moved = {pk: by for pk, by in undone_by.items() if stored[pk] != by}
    txn.update(operation, [{"pk": pk, "undone_by": by} for pk, by in moved.items()])
    return sorted(pk for pk, by in moved.items() if (stored[pk] is None) != (by is None))


def taxonomies(snapshot: Snapshot, configured: Any) -> tuple[Any, Any]:
    """Return the taxonomy as it is, and as the events make it that are not undone."""
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
    standing = [row.detail for row in rows if row.undone_by is None]
    after = taxonomy_after(rows[0].detail["before"], standing)
    return snapshot.rows(chosen)[0].taxonomy, after


def namings_before(
    snapshot: Snapshot, events: Sequence[Any], flipped: Sequence[int]
) -> dict[int, Naming]:
    """Return what labels were called before operations were undone that had these events.

    It is that of all fields whose labels they are, also of those that were not there yet.
    """
    owners = sorted({owner_of(snapshot, row.field_pk) for row in events})
    fields = [pk for owner in owners for pk in family_of(snapshot, owner)]
    fields += [row.field_pk for row in events if row.field_pk not in fields]
    return {pk: naming_of(snapshot, pk, flipped) for pk in fields}


def standards_before(snapshot: Snapshot, events: Sequence[Any]) -> Mapping[int, Any]:
    """Return by what fields decided before events, where nothing has happened to them since."""
    if len({row.operation_pk for row in events}) > 1:
        return {}
    since = {row.field_pk: newest_revision(snapshot, row.field_pk) for row in events}
    operation = max(row.operation_pk for row in events)
    if max(since.values()) > operation or any("standard" not in row.detail for row in events):
        return {}
    return {row.field_pk: row.detail["standard"] for row in events}
