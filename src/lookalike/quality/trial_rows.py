"""Trials as the store holds them: their rows, and the disagreements that they have drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from lookalike.catalog.label_names import naming_of
from lookalike.catalog.resources import CollectionRow
from lookalike.errors import Conflict, NotFound
from lookalike.quality.stats.paired_comparison import Challenger
from lookalike.stores import schema
from lookalike.stores.base import Snapshot

OPEN, ADOPTED, DROPPED, TAKEN_BACK = "open", "adopted", "dropped", "taken_back"


@dataclass(frozen=True, slots=True)
class TrialRow:
    """A trial as the store holds it."""

    pk: int
    id: str
    field_pk: int
    field: str
    operation_pk: int
    at: datetime
    actor: str
    rule: Challenger
    champion: Mapping[str, Any]
    wrong_costs: float
    state: str
    ended_at: datetime | None
    result: Mapping[str, Any] | None


def rows(snapshot: Snapshot, collection: CollectionRow, field_pk: int | None) -> list[TrialRow]:
    """Return the trials of a field, or of all, the newest first."""
    trial, operation, field = schema.trial, schema.operation, schema.field
    ended = operation.alias("ended")
    query = (
        select(trial, operation.c.id, operation.c.actor, operation.c.at, field.c.name)
        .add_columns(ended.c.at.label("ended_at"), ended.c.undone_by)
        .join(operation, operation.c.pk == trial.c.operation_pk)
        .join(field, field.c.pk == trial.c.field_pk)
        .outerjoin(ended, ended.c.pk == trial.c.ended_by)
        .where(trial.c.collection_pk == collection.pk)
        .order_by(trial.c.pk.desc())
    )
    if field_pk is not None:
        query = query.where(trial.c.field_pk == field_pk)
    return [
        TrialRow(
            pk=row.pk,
            id=row.id,
            field_pk=row.field_pk,
            field=row.name,
            operation_pk=row.operation_pk,
            at=datetime.fromtimestamp(row.at, UTC),
            actor=row.actor,
            rule=Challenger(**row.challenger),
            champion=row.champion,
            wrong_costs=row.wrong_costs,
            state=TAKEN_BACK if row.state == ADOPTED and row.undone_by else row.state,
            ended_at=None if row.ended_at is None else datetime.fromtimestamp(row.ended_at, UTC),
            result=row.result,
        )
        for row in snapshot.rows(query)
    ]


def row_of(snapshot: Snapshot, collection: CollectionRow, trial: str) -> TrialRow:
    """Return a trial by its id. Raises NotFound."""
    for one in rows(snapshot, collection, None):
        if one.id == trial:
            return one
    raise NotFound(
        f"{collection.name!r} has no trial {trial!r}; see `lookalike trial list {collection.name}`"
    )


def open_row(snapshot: Snapshot, collection: CollectionRow, trial: str) -> TrialRow:
    """Return a trial that is open. Raises NotFound, or Conflict where it has ended."""
    row = row_of(snapshot, collection, trial)
    if row.state != OPEN:
        raise Conflict(f"the trial {trial!r} has ended; begin another one")
    return row


@dataclass(frozen=True, slots=True)
class ItemRow:
    """A disagreement as `schema.trial_item` holds it, its labels under the names of today."""

    pk: int
    document_pk: int
    champion: str | None
    challenger: str | None
    probability: float
    answer: str | None
    truth: str | None
    actor: str | None


def items_of(snapshot: Snapshot, trial_pk: int) -> list[ItemRow]:
    """Return the disagreements that a trial has drawn, the first drawn first."""
    table, trial = schema.trial_item, schema.trial
    query = select(trial.c.field_pk, trial.c.operation_pk).where(trial.c.pk == trial_pk)
    (begun,) = snapshot.rows(query)
    naming = naming_of(snapshot, begun.field_pk)

    def now(label: str | None, document_pk: int) -> str | None:
        return None if label is None else naming.now(label, begun.operation_pk, document_pk)

    rows = snapshot.rows(select(table).where(table.c.trial_pk == trial_pk).order_by(table.c.pk))
    return [
        ItemRow(
            pk=row.pk,
            document_pk=row.document_pk,
            champion=now(row.champion, row.document_pk),
            challenger=now(row.challenger, row.document_pk),
            probability=row.probability,
            answer=row.answer,
            truth=now(row.truth, row.document_pk),
            actor=row.actor,
        )
        for row in rows
    ]
