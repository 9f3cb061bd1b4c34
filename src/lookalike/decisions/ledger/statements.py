"""The label states of documents in one field: the fold of the ledger, written to the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sqlalchemy import delete, select, update

from lookalike.catalog.fields import taxonomy_from
from lookalike.catalog.image_groups import low_quality_among
from lookalike.catalog.label_names import naming_of
from lookalike.decisions.ledger.fold import Line, Statement, fold
from lookalike.decisions.ledger.samples import held_out
from lookalike.labels import Naming
from lookalike.model import EventKind, Origin
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn, conditions

_CHUNK = 5000


def write_statements(
    txn: Txn, operation: int, field_pk: int, documents: Sequence[int]
) -> list[int]:
    """Write the current label states of documents; return those that are settled.

    An automatic label is kept if nothing else is given.
    """
    stand = []
    for start in range(0, len(documents), _CHUNK):
        chunk = documents[start : start + _CHUNK]
        statements = statements_of(txn, field_pk, chunk)
        stand += [pk for pk, one in statements.items() if one.is_settled]
        _write_rejections(txn, field_pk, statements)
        auto = _automatic(txn, field_pk, chunk)
        silent = silent_among(txn, field_pk, chunk)
        rows = [
            _row(field_pk, pk, statement, auto.get(pk))
            | {"revision": operation, "votes": statement.votes and pk not in silent}
            for pk, statement in statements.items()
        ]
        txn.update(schema.standing, rows)
    return stand


def statements_of(
    snapshot: Snapshot, field_pk: int, documents: Sequence[int]
) -> dict[int, Statement]:
    """Return the fold of the ledger for documents: label states without automatic decisions."""
    event, operation = schema.event, schema.operation
    query = (
        select(event.c.document_pk, event.c.kind, event.c.label, event.c.origin, event.c.detail)
        .add_columns(operation.c.actor, event.c.operation_pk)
        .join(operation, operation.c.pk == event.c.operation_pk)
        .where(event.c.document_pk.in_(documents), event.c.field_pk == field_pk)
        .where(operation.c.undone_by.is_(None), event.c.kind != EventKind.DECIDED)
        .order_by(event.c.seq)
    )
    naming = naming_of(snapshot, field_pk)
    lines: dict[int, list[Line]] = {pk: [] for pk in documents}
    for row in snapshot.rows(query):
        origin = None if row.origin is None else Origin(row.origin)
        asked = bool((row.detail or {}).get("asked"))
        lines[row.document_pk] += [
            Line(EventKind(row.kind), label, origin, row.actor, asked)
            for label in read_now(naming, row)
        ]
    folded = {pk: fold(own) for pk, own in lines.items()}
    return {
        pk: one if naming.retired_by(one.label) is None else replace(one, retired=True)
        for pk, one in folded.items()
    }


def read_now(naming: Naming, event: Any) -> Sequence[str | None]:
    """Return the current names of an event's label: all parts of a split label if rejected."""
    if event.label is None:
        return (None,)
    if event.kind == EventKind.REJECTED:
        return naming.all_current(event.label, event.operation_pk)
    return (naming.current(event.label, event.operation_pk, event.document_pk),)


def touch(txn: Txn, field_pk: int, documents: Sequence[int], operation: int) -> None:
    """Mark documents as changed, so that other processes read them again."""
    table = schema.standing
    for chosen in conditions(table.c.document_pk, documents):
        touched = update(table).where(table.c.field_pk == field_pk, chosen)
        txn.execute(touched.values(revision=operation))


def touched_since(snapshot: Snapshot, field_pk: int, operation: str) -> set[int]:
    """Return the documents whose statements changed in a field after an operation."""
    event, done = schema.event, schema.operation
    that = select(done.c.pk).where(done.c.id == operation).scalar_subquery()
    query = (
        select(event.c.document_pk)
        .join(done, done.c.pk == event.c.operation_pk)
        .where(done.c.pk > that, done.c.undone_by.is_(None), event.c.field_pk == field_pk)
        .where(event.c.kind != EventKind.DECIDED, event.c.document_pk.is_not(None))
        .distinct()
    )
    return {row.document_pk for row in snapshot.rows(query)}


def _write_rejections(txn: Txn, field_pk: int, statements: Mapping[int, Statement]) -> None:
    table = schema.rejection
    here = (table.c.field_pk == field_pk) & table.c.document_pk.in_(list(statements))
    txn.execute(delete(table).where(here))
    txn.insert(
        table,
        [
            {"field_pk": field_pk, "document_pk": pk, "label": label}
            for pk, statement in statements.items()
            for label in sorted(statement.rejected)
        ],
    )


def silent_among(snapshot: Snapshot, field_pk: int, documents: Sequence[int]) -> set[int]:
    """Return the documents that are not used as references, whatever their label.

    Their quality is too low, they were labelled too late, or an audit or experiment holds them out.
    """
    table = schema.field
    query = select(table.c.collection_pk, table.c.taxonomy).where(table.c.pk == field_pk)
    (field,) = snapshot.rows(query)
    taxonomy, silent = taxonomy_from(field.taxonomy), held_out(snapshot, field_pk, documents)
    if not taxonomy.low_quality:
        pks = np.array(sorted(documents), np.int64)
        silent |= set(low_quality_among(snapshot, field.collection_pk, pks).tolist())
    if taxonomy.references:
        silent |= touched_since(snapshot, field_pk, taxonomy.references)
    return silent


def _automatic(snapshot: Snapshot, field_pk: int, documents: Sequence[int]) -> dict[int, str]:
    """Return the automatic label of those documents that have one."""
    table = schema.standing
    query = select(table.c.document_pk, table.c.label).where(table.c.origin == Origin.AUTO)
    here = (table.c.field_pk == field_pk) & table.c.document_pk.in_(documents)
    return {row.document_pk: row.label for row in snapshot.rows(query.where(here))}


def _row(field_pk: int, pk: int, statement: Statement, auto: str | None) -> dict[str, Any]:
    return {
        "field_pk": field_pk,
        "document_pk": pk,
        "label": statement.label if statement.is_settled else auto,
        "origin": statement.origin
        if statement.is_settled
        else (None if auto is None else Origin.AUTO),
        "answer": statement.answer,
        "asked": statement.asked if statement.is_settled else None,
        "actor": statement.actor,
        "suggestion": statement.suggestion,
        "contested": statement.contested,
        "confirmed": statement.confirmed,
    }
