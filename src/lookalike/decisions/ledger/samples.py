"""Random samples for the queue, and the documents that audits and experiments hold out.

A **draw** is uniform among all documents of a field that were not sampled before, whatever is known
of them. So the sampled documents are a random sample of all, and only answers to them give unbiased
rates. Each draw logs the probability of having been sampled so far.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, or_, select, update

from lookalike.catalog.fields import current_space_since
from lookalike.catalog.label_names import naming_of
from lookalike.classifier.graph.search import Ids
from lookalike.labels import Naming, is_within
from lookalike.model import EventKind, Origin, Verdict
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn, conditions, one_of

_VERDICTS = (EventKind.LABELLED, EventKind.REJECTED, EventKind.NEW_KIND)

DUE = 50
"""One in this number of answers is about a random sample; it finds unknown categories."""

SAMPLED_AHEAD = 10
"""This number of sampled documents always wait for an answer."""


@dataclass(frozen=True, slots=True)
class CheckedLabel:
    """An automatic label that a person checked in an operation, and whether it was right.

    It is right if it is the `truth` that the person gave, or a parent of it. `inclusion` is the
    probability with which the document had been sampled by then.
    """

    operation: int
    label: str
    truth: str | None
    right: bool
    confidence: float | None
    inclusion: float


def sampled_among(snapshot: Snapshot, field_pk: int, documents: Iterable[int]) -> dict[int, float]:
    """Return those of the documents that were sampled, with their probability."""
    table = schema.draw
    query = select(table.c.document_pk, table.c.probability).where(table.c.field_pk == field_pk)
    return {
        row.document_pk: row.probability
        for chosen in conditions(table.c.document_pk, sorted(documents))
        for row in snapshot.rows(query.where(chosen))
    }


def contexts(
    snapshot: Snapshot, field_pk: int, documents: Iterable[int]
) -> dict[int, dict[str, Any]]:
    """Return, for each document, the context of an answer given now: JSON values.

    `was` is the automatic label just now, `source` the document that caused it, `confidence` its
    confidence; `drawn` the probability with which the document was sampled. Values that do not
    apply are left out.
    """
    pks = sorted(documents)
    drawn = sampled_among(snapshot, field_pk, pks)
    found = {pk: {"drawn": drawn[pk]} if pk in drawn else {} for pk in pks}
    table = schema.standing
    query = select(table.c.document_pk, table.c.label, table.c.source_pk, table.c.confidence)
    query = query.where(table.c.field_pk == field_pk, table.c.origin == Origin.AUTO)
    for row in snapshot.rows(query.where(one_of(table.c.document_pk, pks))):
        auto = {"was": row.label, "source": row.source_pk, "confidence": row.confidence}
        found[row.document_pk] |= auto
    return found


def draw(txn: Txn, field_pk: int, operation: int, documents: Ids, count: int) -> Ids:
    """Sample up to `count` of `documents` that were not sampled before; return them, rising.

    The seed is made of the field, the operation and the number of earlier samples, so the same
    history gives the same sample.
    """
    table = schema.draw
    before = select(table.c.document_pk).where(table.c.field_pk == field_pk)
    known = txn.numbers(before)[:, 0]
    left = np.setdiff1d(documents, known)
    chance = np.random.default_rng([field_pk, operation, len(known)])
    chosen = np.sort(chance.choice(left, min(count, len(left)), replace=False))
    probability = (len(known) + len(chosen)) / max(len(documents), 1)
    txn.insert(
        table,
        [
            {
                "field_pk": field_pk,
                "document_pk": pk,
                "probability": min(probability, 1.0),
                "operation_pk": operation,
            }
            for pk in chosen.tolist()
        ],
    )
    return chosen


def unanswered_samples(snapshot: Snapshot, field_pk: int) -> Ids:
    """Return the sampled documents that no person has answered yet, first sampled first."""
    pks, answered = _draws(snapshot, field_pk)
    return pks[~answered]


def due_samples(snapshot: Snapshot, field_pk: int, answers: int) -> Ids:
    """Return the sampled documents to ask about now, first sampled first.

    One in DUE of the `answers` that the queue got must be about a sampled document, whether the
    queue asked about it or not.
    """
    pks, answered = _draws(snapshot, field_pk)
    return pks[~answered][: max(answers // DUE - int(answered.sum()), 0)]


def sample(snapshot: Snapshot, field_pk: int) -> Ids:
    """Return the sampled documents before the first unanswered one, first sampled first.

    All of them are answered, so they are a random sample of all documents. The answered ones after
    it are left out: they may be the easy ones.
    """
    pks, answered = _draws(snapshot, field_pk)
    return pks if answered.all() else pks[: int((~answered).argmax())]


def checks_by_label(snapshot: Snapshot, field_pk: int) -> dict[str, tuple[int, int]]:
    """Return by automatic label how many random answers checked it, and how many were wrong."""
    found: dict[str, tuple[int, int]] = {}
    for one in checked_labels(snapshot, field_pk):
        checked, wrong = found.get(one.label, (0, 0))
        found[one.label] = (checked + 1, wrong + (not one.right))
    return found


def checked_labels(snapshot: Snapshot, field_pk: int) -> list[CheckedLabel]:
    """Return the automatic labels that random answers checked, latest first.

    A sampled document counts if it had an automatic label when a person first answered, and if that
    was in the current space: labels made by another extractor are left out.
    """
    event, operation = schema.event, schema.operation
    drawn = sample(snapshot, field_pk)
    query = (
        select(event.c.document_pk, event.c.kind, event.c.label, event.c.detail)
        .add_columns(operation.c.pk.label("operation"))
        .join(operation, operation.c.pk == event.c.operation_pk)
        .where(event.c.field_pk == field_pk, event.c.origin == Origin.HUMAN)
        .where(event.c.kind.in_(_VERDICTS), operation.c.undone_by.is_(None))
        .where(one_of(event.c.document_pk, drawn.tolist()))
        .order_by(event.c.seq.desc())
    )
    first = {row.document_pk: row for row in snapshot.rows(query)}
    since, naming = current_space_since(snapshot, field_pk), naming_of(snapshot, field_pk)
    return [
        _checked(row, naming)
        for row in first.values()
        if row.operation > since and "was" in (row.detail or {})
    ]


def _checked(row: Any, naming: Naming) -> CheckedLabel:
    was = naming.current(row.detail["was"], row.operation, row.document_pk)
    truth = None
    if row.kind == EventKind.LABELLED:
        truth = naming.current(row.label, row.operation, row.document_pk)
    return CheckedLabel(
        operation=row.operation,
        label=was,
        truth=truth,
        right=truth is not None and is_within(truth, was),
        confidence=row.detail["confidence"],
        inclusion=row.detail.get("drawn", 1.0),
    )


def _draws(snapshot: Snapshot, field_pk: int) -> tuple[Ids, NDArray[np.bool_]]:
    """Return all sampled documents, first sampled first, and whether a person answered each."""
    table, standing = schema.draw, schema.standing
    drawn = select(table.c.document_pk).where(table.c.field_pk == field_pk)
    drawn = drawn.order_by(table.c.operation_pk, table.c.document_pk)
    pks = snapshot.numbers(drawn)[:, 0]
    # Two queries instead of a join: SQLite might scan all documents for the few sampled ones.
    query = select(standing.c.document_pk, standing.c.answer, standing.c.origin)
    query = query.where(standing.c.field_pk == field_pk)
    answered = {
        row.document_pk: row.answer is not None or row.origin == Origin.HUMAN
        for chosen in conditions(standing.c.document_pk, pks)
        for row in snapshot.rows(query.where(chosen))
    }
    there = [pk for pk in pks.tolist() if pk in answered]
    return np.array(there, np.int64), np.array([answered[pk] for pk in there], bool)


# --- documents held by audits and trials ---------------------------------------------------------


def held_out(snapshot: Snapshot, field_pk: int, documents: Sequence[int]) -> set[int]:
    """Return those of the documents that an open audit or experiment of a field holds out.

    They are not used as references.
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
class AuditItem:
    """A label of an audit sample, as in `schema.audit_item`, with current label names."""

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


def audit_items(snapshot: Snapshot, audits: Sequence[int]) -> list[AuditItem]:
    """Return the items of audits, in the order of sampling."""
    audit, item = schema.audit, schema.audit_item
    query = select(item, audit.c.field_pk, audit.c.operation_pk)
    query = query.join(audit, audit.c.pk == item.c.audit_pk).where(one_of(audit.c.pk, audits))
    rows = snapshot.rows(query.order_by(item.c.pk))
    namings = {pk: naming_of(snapshot, pk) for pk in {row.field_pk for row in rows}}
    names = [one.name for one in fields(AuditItem)]

    def now(label: str | None, row: Any) -> str | None:
        if label is None:
            return None
        return namings[row.field_pk].current(label, row.operation_pk, row.document_pk or 0)

    return [
        AuditItem(
            **{name: getattr(row, name) for name in names}
            | {"label": now(row.label, row), "truth": now(row.truth, row)}
        )
        for row in rows
    ]


def audited_right(snapshot: Snapshot, field_pk: int, documents: Sequence[int]) -> set[int]:
    """Return those of the documents whose current label an audit found right."""
    audit, standing = schema.audit, schema.standing
    audits = [
        row.pk for row in snapshot.rows(select(audit.c.pk).where(audit.c.field_pk == field_pk))
    ]
    query = select(standing.c.document_pk, standing.c.label).where(standing.c.field_pk == field_pk)
    rows = snapshot.rows(query.where(one_of(standing.c.document_pk, documents)))
    labels = {row.document_pk: row.label for row in rows}
    return {
        item.document_pk
        for item in audit_items(snapshot, audits)
        if item.verdict == Verdict.RIGHT
        and item.document_pk is not None
        and item.label == labels.get(item.document_pk, "")
    }


def stratum_sizes(snapshot: Snapshot, audit: Any) -> dict[str, list[int]]:
    """Return the number of labels in each stratum of an audit, by current label name."""
    naming = naming_of(snapshot, audit.field_pk)
    sizes: dict[str, list[int]] = {}
    for label, counts in audit.labels.items():
        name = naming.current(label, audit.operation_pk)
        known = sizes.get(name, [0] * len(counts))
        sizes[name] = [one + other for one, other in zip(known, counts, strict=True)]
    return sizes


def erase_items(txn: Txn, documents: Sequence[int]) -> None:
    """Erase documents from audits and experiments.

    An audit keeps the count of right and wrong labels.
    """
    tried = one_of(schema.trial_item.c.document_pk, documents)
    txn.execute(delete(schema.trial_item).where(tried))
    item = schema.audit_item
    nothing = {"document_pk": None, "confidence": None, "source_pk": None, "truth": None}
    txn.execute(update(item).where(one_of(item.c.document_pk, documents)).values(nothing))
    caused = one_of(item.c.source_pk, documents)
    txn.execute(update(item).where(caused).values(source_pk=None))


def erase_label(txn: Txn, field_pk: int, label: str) -> None:
    """Erase a label from the audits and experiments of a field."""
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
    """Erase the audits and experiments of removed collections."""
    audits = (schema.audit, schema.audit_item.c.audit_pk)
    trials = (schema.trial, schema.trial_item.c.trial_pk)
    for table, owner in (audits, trials):
        gone = select(table.c.pk).where(table.c.collection_pk.in_(collections))
        txn.execute(delete(owner.table).where(owner.in_(gone)))
        txn.execute(delete(table).where(table.c.collection_pk.in_(collections)))
