"""Label names: the events of the ledger that rename, merge, split or retire labels.

The label tree belongs to the field that has the references. A change of a label is recorded as an
event in every field that refers there, so each field can be folded on its own.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select, update

from lookalike.labels import LABEL_EVENTS, LabelEvent, Naming, path_of
from lookalike.model import EventKind
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn


def naming_of(snapshot: Snapshot, field_pk: int, flipped: Collection[int] = ()) -> Naming:
    """Return the current label names of a field.

    With `flipped`: the names before these operations (pks) were undone or restored.
    """
    event, operation = schema.event, schema.operation
    query = (
        select(event.c.operation_pk, event.c.kind, event.c.detail, operation.c.undone_by)
        .join(operation, operation.c.pk == event.c.operation_pk)
        .where(event.c.document_pk.is_(None), event.c.field_pk == field_pk)
        .where(event.c.kind.in_(LABEL_EVENTS))
        .order_by(event.c.seq)
    )
    return Naming(
        LabelEvent(row.operation_pk, EventKind(row.kind), row.detail)
        for row in snapshot.rows(query)
        if (row.undone_by is None) != (row.operation_pk in flipped)
    )


def owner_of(snapshot: Snapshot, field_pk: int) -> int:
    """Return the field that owns the labels of a field: the end of its chain of references."""
    table, seen = schema.field, {field_pk}
    while True:
        query = select(table.c.reference_field_pk).where(table.c.pk == field_pk)
        reference = int(snapshot.rows(query)[0].reference_field_pk)
        if reference in seen:
            return reference
        seen.add(reference)
        field_pk = reference


def family_of(snapshot: Snapshot, owner: int) -> list[int]:
    """Return all fields with the labels of a field: itself first, then those that refer to it."""
    table, family = schema.field, [owner]
    for one in family:
        query = select(table.c.pk).where(table.c.reference_field_pk == one).order_by(table.c.pk)
        family += [row.pk for row in snapshot.rows(query) if row.pk not in family]
    return family


def erase_names(txn: Txn, field_pk: int, names: Collection[str]) -> None:
    """Erase a label with any of these names from the events about labels."""
    event = schema.event
    query = select(event.c.seq, event.c.kind, event.c.detail)
    query = query.where(event.c.document_pk.is_(None), event.c.field_pk == field_pk)
    for row in txn.rows(query.where(event.c.kind.in_(LABEL_EVENTS))):
        detail = {name: value for name, value in row.detail.items() if name != "standard"}
        own = detail.get("label")
        if "sources" in detail:
            sources = [one for one in detail["sources"] if one not in names]
            own = None if sources else detail["sources"][0]
            detail["sources"] = sources
        if "labels" in detail:
            detail["labels"] = {
                one: value for one, value in detail["labels"].items() if one not in names
            }
        if "parts" in detail:
            detail["parts"] = {one: pks for one, pks in detail["parts"].items() if one not in names}
        gone = {"kind": EventKind.FORGOTTEN, "detail": None} if own in names else {}
        txn.execute(update(event).where(event.c.seq == row.seq).values({"detail": detail} | gone))


def current_name(snapshot: Snapshot, field_pk: int, label: str) -> str:
    """Return the current name of a label; a label that was not renamed is returned as it is.

    Only an old name is read as a path: a current label stays as written.
    """
    naming = naming_of(snapshot, owner_of(snapshot, field_pk))
    if not naming.aliases:
        return label
    path = path_of(label, _separator(snapshot, field_pk))
    today = naming.resolve_one(path)
    return label if today == path else today


def resolved_label(snapshot: Snapshot, field_pk: int, label: str) -> str:
    """Return the label that would be stored if this one was given in a field now."""
    naming = naming_of(snapshot, owner_of(snapshot, field_pk))
    return naming.resolve_one(path_of(label, _separator(snapshot, field_pk)))


def why_not(snapshot: Snapshot, naming: Naming, label: str) -> str | None:
    """Return the reason why a label cannot be given any more; None if it can."""
    meant = naming.resolve(label)
    if len(meant) > 1:
        return f"{label!r} was split into {' and '.join(map(repr, meant))}; say one of them"
    retired = naming.retired_by(meant[0])
    if retired is None:
        return None
    table = schema.operation
    (row,) = snapshot.rows(select(table.c.id).where(table.c.pk == retired))
    return f"{meant[0]!r} is retired; undo {row.id} to use it again, or give another label"


def _separator(snapshot: Snapshot, field_pk: int) -> str:
    table = schema.field
    (row,) = snapshot.rows(select(table.c.taxonomy).where(table.c.pk == field_pk))
    return str(row.taxonomy["separator"])
