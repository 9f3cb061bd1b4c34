"""Replaying: what people have answered of documents that chance had drawn, before a trial began."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from lookalike.decisions.ledger.audited import drawn_items
from lookalike.decisions.ledger.samples import sample
from lookalike.model import Answer, Origin, Verdict
from lookalike.quality.stats.paired_comparison import Outcome
from lookalike.stores import schema
from lookalike.stores.base import Snapshot
from lookalike.stores.selection import one_of


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a document: what it is, or what it is not.

    `q` is the probability with which the random slice or an audit had drawn it.
    """

    outcome: Outcome | None
    truth: str | None = None
    refuted: frozenset[str] = frozenset()
    q: float = 1.0


def share_drawn(snapshot: Snapshot, field_pk: int) -> float:
    """Return the share of a field's documents that the random slice has drawn and people answered.

    Chance is the same for all of them, so that is each one's probability.
    """
    table = schema.standing
    count = select(func.count().label("n")).where(table.c.field_pk == field_pk)
    documents = int(snapshot.rows(count)[0].n)
    return min(len(sample(snapshot, field_pk)) / max(documents, 1), 1.0)


def known_answers(snapshot: Snapshot, field_pk: int) -> dict[int, Known]:
    """Return what is known of documents by the random slice and by audits, by their pk."""
    share = share_drawn(snapshot, field_pk)
    drawn = sample(snapshot, field_pk).tolist()
    said = stated(snapshot, field_pk, drawn)
    missed: dict[int, float] = {}
    found: dict[int, Known] = {}
    for item in _audited(snapshot, field_pk):
        missed[item.document_pk] = missed.get(item.document_pk, 1.0) * (1 - item.probability)
        found[item.document_pk] = _of_audit(item)
    found |= {pk: said[pk] for pk in drawn if pk in said}
    return {
        pk: Known(one.outcome, one.truth, one.refuted, 1 - (1 - share) * missed.get(pk, 1.0))
        for pk, one in sorted(found.items())
        if share or missed.get(pk, 1.0) < 1
    }


def stated(snapshot: Snapshot, field_pk: int, documents: Sequence[int]) -> dict[int, Known]:
    """Return what people have said of documents, where they have said anything."""
    standing, rejection = schema.standing, schema.rejection
    query = select(standing.c.document_pk, standing.c.label, standing.c.origin, standing.c.answer)
    query = query.where(standing.c.field_pk == field_pk, one_of(standing.c.document_pk, documents))
    refuted: dict[int, set[str]] = {}
    refused = select(rejection.c.document_pk, rejection.c.label)
    refused = refused.where(rejection.c.field_pk == field_pk)
    for row in snapshot.rows(refused.where(one_of(rejection.c.document_pk, documents))):
        refuted.setdefault(row.document_pk, set()).add(row.label)
    found = {}
    for row in snapshot.rows(query):
        if row.origin == Origin.HUMAN and row.label is not None:
            found[row.document_pk] = Known(Outcome.LABEL, row.label)
        elif row.answer in (Answer.NEW_KIND, Answer.CANNOT_TELL):
            found[row.document_pk] = Known(Outcome(row.answer))
        elif row.document_pk in refuted:
            found[row.document_pk] = Known(None, None, frozenset(refuted[row.document_pk]))
    return found


def _audited(snapshot: Snapshot, field_pk: int) -> list[Any]:
    audit = schema.audit
    audits = snapshot.rows(select(audit.c.pk).where(audit.c.field_pk == field_pk))
    return [
        one
        for one in drawn_items(snapshot, [row.pk for row in audits])
        if None not in (one.verdict, one.document_pk, one.label)
    ]


def _of_audit(item: Any) -> Known:
    if item.verdict == Verdict.RIGHT:
        return Known(Outcome.LABEL, item.label)
    if item.verdict == Verdict.CANNOT_TELL:
        return Known(Outcome.CANNOT_TELL)
    if item.truth is not None:
        return Known(Outcome.LABEL, item.truth)
    return Known(None, None, frozenset([item.label]))
