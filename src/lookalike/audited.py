"""What audits and trials have drawn, seen from the documents: who is held, what erasing leaves."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, or_, select, update

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
