"""What audits have drawn, seen from the documents: who is under audit, and what erasing leaves."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select, update

from lookalike.auditing import Verdict
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn
from lookalike.stores.selection import one_of


def under_audit(snapshot: Snapshot, field_pk: int, documents: Sequence[int]) -> set[int]:
    """Return those of the documents that an open audit of a field holds: they do not vote."""
    audit, item = schema.audit, schema.audit_item
    query = (
        select(item.c.document_pk)
        .join(audit, audit.c.pk == item.c.audit_pk)
        .where(audit.c.field_pk == field_pk, audit.c.closed_at.is_(None))
        .where(one_of(item.c.document_pk, documents))
    )
    return {row.document_pk for row in snapshot.rows(query)}


def found_right(snapshot: Snapshot, field_pk: int, documents: Sequence[int]) -> set[int]:
    """Return those of the documents of which an audit found the label right that they have now."""
    audit, item, standing = schema.audit, schema.audit_item, schema.standing
    query = (
        select(item.c.document_pk)
        .join(audit, audit.c.pk == item.c.audit_pk)
        .join(standing, standing.c.document_pk == item.c.document_pk)
        .where(audit.c.field_pk == field_pk, standing.c.field_pk == field_pk)
        .where(item.c.verdict == Verdict.RIGHT, item.c.label == standing.c.label)
        .where(one_of(item.c.document_pk, documents))
    )
    return {row.document_pk for row in snapshot.rows(query)}


def erase_items(txn: Txn, documents: Sequence[int]) -> None:
    """Erase what audits know of documents; that some label was right or wrong stays counted."""
    item = schema.audit_item
    nothing = {"document_pk": None, "confidence": None, "source_pk": None, "truth": None}
    txn.execute(update(item).where(one_of(item.c.document_pk, documents)).values(nothing))
    caused = one_of(item.c.source_pk, documents)
    txn.execute(update(item).where(caused).values(source_pk=None))


def erase_label(txn: Txn, field_pk: int, label: str) -> None:
    """Erase what audits of a field know of a label: its name and how often it was drawn."""
    audit, item = schema.audit, schema.audit_item
    audits = select(audit.c.pk).where(audit.c.field_pk == field_pk)
    for column in (item.c.label, item.c.truth):
        named = item.c.audit_pk.in_(audits) & (column == label)
        txn.execute(update(item).where(named).values({column.name: None}))
    for row in txn.rows(select(audit.c.pk, audit.c.labels).where(audit.c.field_pk == field_pk)):
        kept = {name: sizes for name, sizes in row.labels.items() if name != label}
        txn.execute(update(audit).where(audit.c.pk == row.pk).values(labels=kept))


def drop_audits(txn: Txn, collections: Sequence[int]) -> None:
    """Erase the audits of collections that are no more."""
    audit, item = schema.audit, schema.audit_item
    gone = select(audit.c.pk).where(audit.c.collection_pk.in_(collections))
    txn.execute(delete(item).where(item.c.audit_pk.in_(gone)))
    txn.execute(delete(audit).where(audit.c.collection_pk.in_(collections)))
