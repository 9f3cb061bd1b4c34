"""What audits and trials have drawn, seen from the documents: who is held, what erasing leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import delete, or_, select, update

from lookalike.catalog.label_names import naming_of
from lookalike.model import Verdict
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn
from lookalike.stores.selection import one_of


def held(snapshot: Snapshot, field_pk: int, documents: Sequence[int]) -> set[int]:
    """Return those of the documents that an open audit or trial of a field holds.

    They do not vote.
    """
    trial, item = schema.trial, schema.trial_item
    query = (
        select(item.c.document_pk)
        .join(trial, trial.c.pk == item.c.trial_pk)
        .where(trial.c.field_pk == field_pk, trial.c.ended_by.is_(None))
        .where(one_of(item.c.document_pk, documents))
    )
    tried = {row.document_pk for row in snapshot.rows(query)}
    return tried | under_audit(snapshot, field_pk, documents)


def under_audit(snapshot: Snapshot, field_pk: int, documents: Sequence[int]) -> set[int]:
    """Return those of the documents that an open audit of a field holds."""
    audit, item = schema.audit, schema.audit_item
    query = (
        select(item.c.document_pk)
        .join(audit, audit.c.pk == item.c.audit_pk)
        .where(audit.c.field_pk == field_pk, audit.c.closed_at.is_(None))
        .where(one_of(item.c.document_pk, documents))
    )
    return {row.document_pk for row in snapshot.rows(query)}


@dataclass(frozen=True, slots=True)
class DrawnItem:
    """A label of a sample, as `schema.audit_item` holds it, under the names of today."""

    pk: int
    audit_pk: int
    document_pk: int | None
    stratum: int
    label: str | None
    confidence: float | None
    source_pk: int | None
    probability: float
    verdict: str | None
    truth: str | None
    actor: str | None


def drawn_items(snapshot: Snapshot, audits: Sequence[int]) -> list[DrawnItem]:
    """Return what audits hold, in the order in which it was drawn."""
    audit, item = schema.audit, schema.audit_item
    query = select(item, audit.c.field_pk, audit.c.operation_pk)
    query = query.join(audit, audit.c.pk == item.c.audit_pk).where(one_of(audit.c.pk, audits))
    rows = snapshot.rows(query.order_by(item.c.pk))
    namings = {pk: naming_of(snapshot, pk) for pk in {row.field_pk for row in rows}}
    names = [one.name for one in fields(DrawnItem)]

    def now(label: str | None, row: Any) -> str | None:
        if label is None:
            return None
        return namings[row.field_pk].now(label, row.operation_pk, row.document_pk or 0)

    return [
        DrawnItem(
            **{name: getattr(row, name) for name in names}
            | {"label": now(row.label, row), "truth": now(row.truth, row)}
        )
        for row in rows
    ]


def found_right(snapshot: Snapshot, field_pk: int, documents: Sequence[int]) -> set[int]:
    """Return those of the documents of which an audit found the label right that they have now."""
    audit, standing = schema.audit, schema.standing
    audits = [
        row.pk for row in snapshot.rows(select(audit.c.pk).where(audit.c.field_pk == field_pk))
    ]
    query = select(standing.c.document_pk, standing.c.label).where(standing.c.field_pk == field_pk)
    rows = snapshot.rows(query.where(one_of(standing.c.document_pk, documents)))
    labels = {row.document_pk: row.label for row in rows}
    return {
        item.document_pk
        for item in drawn_items(snapshot, audits)
        if item.verdict == Verdict.RIGHT
        and item.document_pk is not None
        and item.label == labels.get(item.document_pk, "")
    }


def drawn_sizes(snapshot: Snapshot, audit: Any) -> dict[str, list[int]]:
    """Return how many labels there were in each stratum of an audit, by what they are called."""
    naming = naming_of(snapshot, audit.field_pk)
    sizes: dict[str, list[int]] = {}
    for label, counts in audit.labels.items():
        name = naming.now(label, audit.operation_pk)
        known = sizes.get(name, [0] * len(counts))
        sizes[name] = [one + other for one, other in zip(known, counts, strict=True)]
    return sizes


def erase_items(txn: Txn, documents: Sequence[int]) -> None:
    """Erase what audits and trials know of documents.

    That some label was right or wrong stays counted in an audit.
    """
    tried = one_of(schema.trial_item.c.document_pk, documents)
    txn.execute(delete(schema.trial_item).where(tried))
    item = schema.audit_item
    nothing = {"document_pk": None, "confidence": None, "source_pk": None, "truth": None}
    txn.execute(update(item).where(one_of(item.c.document_pk, documents)).values(nothing))
    caused = one_of(item.c.source_pk, documents)
    txn.execute(update(item).where(caused).values(source_pk=None))


def erase_label(txn: Txn, field_pk: int, label: str) -> None:
    """Erase what audits and trials of a field know of a label: where it was drawn or said."""
    tried = schema.trial_item
    trials = select(schema.trial.c.pk).where(schema.trial.c.field_pk == field_pk)
    named = or_(*(one == label for one in (tried.c.champion, tried.c.challenger, tried.c.truth)))
    txn.execute(delete(tried).where(tried.c.trial_pk.in_(trials), named))
    audit, item = schema.audit, schema.audit_item
    audits = select(audit.c.pk).where(audit.c.field_pk == field_pk)
    for column in (item.c.label, item.c.truth):
        named = item.c.audit_pk.in_(audits) & (column == label)
        txn.execute(update(item).where(named).values({column.name: None}))
    for row in txn.rows(select(audit.c.pk, audit.c.labels).where(audit.c.field_pk == field_pk)):
        kept = {name: sizes for name, sizes in row.labels.items() if name != label}
        txn.execute(update(audit).where(audit.c.pk == row.pk).values(labels=kept))


def drop_audits(txn: Txn, collections: Sequence[int]) -> None:
    """Erase the audits and trials of collections that are no more."""
    audits = (schema.audit, schema.audit_item.c.audit_pk)
    trials = (schema.trial, schema.trial_item.c.trial_pk)
    for table, owner in (audits, trials):
        gone = select(table.c.pk).where(table.c.collection_pk.in_(collections))
        txn.execute(delete(owner.table).where(owner.in_(gone)))
        txn.execute(delete(table).where(table.c.collection_pk.in_(collections)))
