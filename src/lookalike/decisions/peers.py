"""What several people said in one field: of one document, of all, and whom to ask once more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from sqlalchemy import Select, select

from lookalike.catalog.label_names import naming_of
from lookalike.classifier.graph.search import Ids
from lookalike.decisions.ledger.fold import PERSONAL, Line, opinions
from lookalike.decisions.ledger.statements import read_now
from lookalike.model import EventKind, Origin
from lookalike.stores import schema
from lookalike.stores.base import Snapshot
from lookalike.stores.selection import conditions

_ANSWERED = (EventKind.LABELLED, EventKind.NEW_KIND)


@dataclass(frozen=True, slots=True)
class Spoken:
    """A person's latest answer about a document, and when it was given (UTC seconds)."""

    line: Line
    at: float


def contested_documents(snapshot: Snapshot, field_pk: int) -> Ids:
    """Return the documents of which people contradict each other, the longest known first."""
    table = schema.standing.c
    query = select(table.document_pk).where(table.field_pk == field_pk, table.contested)
    return snapshot.numbers(query.order_by(table.revision, table.document_pk))[:, 0]


def spoken_of(
    snapshot: Snapshot, field_pk: int, documents: Iterable[int]
) -> dict[int, list[Spoken]]:
    """Return each person's latest answer about each of the documents, the earliest first."""
    found: dict[int, list[Spoken]] = {}
    for chosen in conditions(schema.event.c.document_pk, sorted(documents)):
        times: dict[int, dict[Line, float]] = {}
        for pk, line, at in _lines(snapshot, field_pk, _said(field_pk).where(chosen)):
            lines = times.setdefault(pk, {})
            lines.pop(line, None)
            lines[line] = at
        for pk, lines in times.items():
            found[pk] = [Spoken(line, lines[line]) for line in opinions(lines).values()]
    return found


def said_by_several(snapshot: Snapshot, field_pk: int) -> tuple[dict[int, list[Line]], set[str]]:
    """Return what was said of each document that several people spoke of; and all who spoke."""
    lines: dict[int, list[Line]] = {}
    for pk, line, _ in _lines(snapshot, field_pk, _said(field_pk)):
        lines.setdefault(pk, []).append(line)
    people = {line.actor for some in lines.values() for line in some}
    several = {pk: some for pk, some in lines.items() if len({one.actor for one in some}) > 1}
    return several, people


def answered_by_others(snapshot: Snapshot, field_pk: int, actor: str, count: int) -> list[int]:
    """Return up to `count` documents that others answered and the actor did not, by chance.

    The order is the actor's own, and stays: who asks again is asked the same. What is contested is
    left out.
    """
    event, operation, standing = schema.event, schema.operation, schema.standing
    same = (standing.c.document_pk == event.c.document_pk) & (standing.c.field_pk == field_pk)
    query = (
        select(event.c.document_pk, operation.c.actor, standing.c.contested, standing.c.origin)
        .join(operation, operation.c.pk == event.c.operation_pk)
        .join(standing, same)
        .where(event.c.field_pk == field_pk, event.c.origin == Origin.HUMAN)
        .where(event.c.kind.in_(_ANSWERED), operation.c.undone_by.is_(None))
        .distinct()
    )
    mine: set[int] = set()
    others: set[int] = set()
    for row in snapshot.rows(query):
        is_open = row.origin == Origin.HUMAN and not row.contested
        (others if row.actor != actor and is_open else mine).add(row.document_pk)
    return sorted(others - mine, key=lambda pk: _chance(field_pk, actor, pk))[:count]


def _chance(field_pk: int, actor: str, pk: int) -> bytes:
    return blake2b(f"{field_pk}:{pk}:{actor}".encode(), digest_size=8).digest()


def _said(field_pk: int) -> Select[tuple[int]]:
    """Return the query of what people said in a field, in order; what was undone is left out."""
    event, operation = schema.event, schema.operation
    return (
        select(event.c.document_pk, event.c.kind, event.c.label, event.c.detail)
        .add_columns(operation.c.actor, operation.c.at, event.c.operation_pk)
        .join(operation, operation.c.pk == event.c.operation_pk)
        .where(event.c.field_pk == field_pk, event.c.origin == Origin.HUMAN)
        .where(event.c.kind.in_(PERSONAL), operation.c.undone_by.is_(None))
        .order_by(event.c.seq)
    )


def _lines(
    snapshot: Snapshot, field_pk: int, query: Select[tuple[int]]
) -> Iterable[tuple[int, Line, float]]:
    naming = naming_of(snapshot, field_pk)
    for row in snapshot.rows(query):
        asked = bool((row.detail or {}).get("asked"))
        for label in read_now(naming, row):
            line = Line(EventKind(row.kind), label, Origin.HUMAN, row.actor, asked)
            yield row.document_pk, line, row.at
