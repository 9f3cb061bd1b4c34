"""What stands of each document in one field: the fold of its ledger, as rows of the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import delete, select

from lookalike.audited import under_audit
from lookalike.companions import poorly_seen
from lookalike.fields import taxonomy_from
from lookalike.ledger import Line, Statement, fold
from lookalike.model import EventKind, Origin
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn

_CHUNK = 5000


def write_statements(
    txn: Txn, operation: int, field_pk: int, documents: Sequence[int]
) -> list[int]:
    """Write what stands of documents now; return those that are not the machine's to decide.

    The label that the machine gave stays where nothing else stands.
    """
    stand = []
    for start in range(0, len(documents), _CHUNK):
        chunk = documents[start : start + _CHUNK]
        statements = statements_of(txn, field_pk, chunk)
        stand += [pk for pk, one in statements.items() if one.stands]
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
    """Return the fold of the ledger for documents: what stands, the machine's decision aside."""
    event, operation = schema.event, schema.operation
    query = (
        select(event.c.document_pk, event.c.kind, event.c.label, event.c.origin, event.c.detail)
        .add_columns(operation.c.actor)
        .join(operation, operation.c.pk == event.c.operation_pk)
        .where(event.c.document_pk.in_(documents), event.c.field_pk == field_pk)
        .where(operation.c.undone_by.is_(None), event.c.kind != EventKind.DECIDED)
        .order_by(event.c.seq)
    )
    lines: dict[int, list[Line]] = {pk: [] for pk in documents}
    for row in snapshot.rows(query):
        origin = None if row.origin is None else Origin(row.origin)
        asked = bool((row.detail or {}).get("asked"))
        line = Line(EventKind(row.kind), row.label, origin, row.actor, asked)
        lines[row.document_pk].append(line)
    return {pk: fold(said) for pk, said in lines.items()}


def silent_among(snapshot: Snapshot, field_pk: int, documents: Sequence[int]) -> set[int]:
    """Return those of the documents whose label does not vote, whoever gave it."""
    poor = _poor(snapshot, field_pk, documents)
    return poor | under_audit(snapshot, field_pk, documents)


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


def _poor(snapshot: Snapshot, field_pk: int, documents: Sequence[int]) -> set[int]:
    """Return the documents that were seen too badly to vote in a field."""
    table = schema.field
    query = select(table.c.collection_pk, table.c.taxonomy).where(table.c.pk == field_pk)
    (field,) = snapshot.rows(query)
    if taxonomy_from(field.taxonomy).low_quality:
        return set()
    pks = np.array(sorted(documents), np.int64)
    return set(poorly_seen(snapshot, field.collection_pk, pks).tolist())


def _automatic(snapshot: Snapshot, field_pk: int, documents: Sequence[int]) -> dict[int, str]:
    """Return the machine's label of those documents that have one."""
    table = schema.standing
    query = select(table.c.document_pk, table.c.label).where(table.c.origin == Origin.AUTO)
    here = (table.c.field_pk == field_pk) & table.c.document_pk.in_(documents)
    return {row.document_pk: row.label for row in snapshot.rows(query.where(here))}


def _row(field_pk: int, pk: int, statement: Statement, auto: str | None) -> dict[str, Any]:
    return {
        "field_pk": field_pk,
        "document_pk": pk,
        "label": statement.label if statement.stands else auto,
        "origin": statement.origin if statement.stands else (None if auto is None else Origin.AUTO),
        "answer": statement.answer,
        "asked": statement.asked if statement.stands else None,
        "actor": statement.actor,
        "suggestion": statement.suggestion,
        "contested": statement.contested,
    }
