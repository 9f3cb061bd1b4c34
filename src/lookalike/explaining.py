"""Why: what caused a decision, who said so, and what would be without its nearest reference."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import and_, select

from lookalike.model import Document, EventKind, Match, Origin, Standing
from lookalike.reading import FieldRow
from lookalike.stores import schema
from lookalike.stores.base import Snapshot
from lookalike.workshop import Workshop


@dataclass(frozen=True, slots=True)
class Witness:
    """A reference that took part in a decision: who gave its label, and when."""

    match: Match
    file_name: str
    origin: Origin
    actor: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """What the decision would be if one reference did not vote."""

    without: str
    label: str | None


@dataclass(frozen=True, slots=True)
class Why:
    """The whole explanation of one document's label or null."""

    document: Document
    field: str
    standing: Standing
    witnesses: tuple[Witness, ...]
    counterfactual: Counterfactual | None


def why(
    workshop: Workshop, snapshot: Snapshot, field: FieldRow, pk: int, document: Document
) -> Why:
    """Return the explanation of a document's standing in a field."""
    standing = document.standings[field.name]
    return Why(
        document=document,
        field=field.name,
        standing=standing,
        witnesses=_witnesses(snapshot, field, standing),
        counterfactual=_counterfactual(workshop, snapshot, field, pk, standing),
    )


def _witnesses(snapshot: Snapshot, field: FieldRow, standing: Standing) -> tuple[Witness, ...]:
    table, operation, document = schema.event, schema.operation, schema.document
    now = schema.standing
    query = (
        select(table.c.document_pk, table.c.origin, operation.c.actor, operation.c.at)
        .add_columns(document.c.file_name, document.c.id)
        .join(operation, operation.c.pk == table.c.operation_pk)
        .join(document, document.c.pk == table.c.document_pk)
        .join(now, and_(now.c.field_pk == table.c.field_pk, now.c.document_pk == document.c.pk))
        .where(table.c.field_pk == field.reference_field_pk)
        .where(table.c.origin == now.c.origin, table.c.label == now.c.label)
        .where(document.c.id.in_([match.document_id for match in standing.decision.matches]))
        .where(table.c.kind.in_([EventKind.LABELLED, EventKind.PROMOTED]))
        .where(operation.c.undone_by.is_(None))
        .order_by(table.c.seq)
    )
    latest = {row.id: row for row in snapshot.rows(query)}
    return tuple(
        Witness(
            match, row.file_name, Origin(row.origin), row.actor, datetime.fromtimestamp(row.at, UTC)
        )
        for match in standing.decision.matches
        if (row := latest.get(match.document_id)) is not None
    )


def _counterfactual(
    workshop: Workshop, snapshot: Snapshot, field: FieldRow, pk: int, standing: Standing
) -> Counterfactual | None:
    matches = standing.decision.matches
    if standing.origin is not Origin.AUTO or not matches:
        return None
    source = matches[0].document_id
    document, home = schema.document, schema.field
    query = (
        select(document.c.pk)
        .join(home, home.c.collection_pk == document.c.collection_pk)
        .where(home.c.pk == field.reference_field_pk, document.c.id == source)
    )
    reference = snapshot.rows(query)[0].pk
    with workshop.operations.consulted(snapshot, field.pk) as decider:
        return Counterfactual(source, decider.label_without(snapshot, pk, reference))
