"""The latest answer about documents since a given operation, to detect conflicting writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from lookalike.catalog.label_names import naming_of
from lookalike.decisions.ledger.fold import PERSONAL
from lookalike.decisions.ledger.statements import read_now
from lookalike.decisions.ledger.undo import any_undo_since, effective_undos, last_by, undos
from lookalike.model import EventKind, Origin
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, one_of

_GIVEN = (Origin.HUMAN, Origin.IMPORT)


@dataclass(frozen=True, slots=True)
class LatestAnswer:
    """The latest answer of an `actor` about a document; `label` has its current name.

    The kind is `retracted` if the actor took an answer back.
    """

    actor: str
    kind: EventKind
    label: str | None

    @property
    def answer(self) -> dict[str, str | None]:
        """Return it as JSON values for an error."""
        return {"actor": self.actor, "kind": self.kind.value, "label": self.label}

    def is_label(self, label: str | None) -> bool:
        """Return whether it gives this label; for None, whether it took a label back."""
        kind = EventKind.RETRACTED if label is None else EventKind.LABELLED
        return (self.kind, self.label) == (kind, label)

    def in_words(self, document: str) -> str:
        """Return it in words, to follow the name of the actor."""
        if self.kind is EventKind.LABELLED:
            return f"labelled document {document!r} as {self.label!r}"
        if self.kind is EventKind.REJECTED:
            return f"rejected {self.label!r} for document {document!r}"
        if self.kind is EventKind.NEW_KIND:
            return f"marked document {document!r} as a new category"
        if self.kind is EventKind.CANNOT_TELL:
            return f'answered "can\'t tell" for document {document!r}'
        return f"took back an answer about document {document!r}"


def latest_answers(
    snapshot: Snapshot, field_pk: int, since: Mapping[int, int]
) -> dict[int, LatestAnswer]:
    """Return the latest answer of a person or an import after an operation (pk) per document (pk).

    An answer that was given and undone since is ignored. An earlier answer that was undone since
    counts as retracted by whoever undid it.
    """
    if not since:
        return {}
    latest: dict[int, _Change] = {}
    for move in _changes(snapshot, field_pk, since):
        known = latest.get(move.event.document_pk)
        if known is None or known.at <= move.at:
            latest[move.event.document_pk] = move
    if not latest:
        return {}
    actors = _actors(snapshot, latest.values())
    naming = naming_of(snapshot, field_pk)
    return {
        pk: LatestAnswer(actors[one.at], EventKind(one.event.kind), read_now(naming, one.event)[0])
        if one.holds
        else LatestAnswer(actors[one.at], EventKind.RETRACTED, None)
        for pk, one in latest.items()
    }


@dataclass(frozen=True, slots=True)
class _Change:
    """An event whose effect changed since the operation `at` (pk): it `holds` now or no more."""

    event: Any
    at: int
    holds: bool


def _changes(snapshot: Snapshot, field_pk: int, since: Mapping[int, int]) -> Iterator[_Change]:
    event, operation = schema.event, schema.operation
    query = (
        select(event.c.document_pk, event.c.operation_pk, event.c.kind, event.c.label)
        .add_columns(operation.c.undone_by)
        .join(operation, operation.c.pk == event.c.operation_pk)
        .where(one_of(event.c.document_pk, since), event.c.field_pk == field_pk)
        .where(event.c.kind.in_(PERSONAL), event.c.origin.in_(_GIVEN))
        .order_by(event.c.seq)
    )
    targets = undos(snapshot) if any_undo_since(snapshot, min(since.values())) else {}
    moved_by = last_by(targets)
    undone_at: dict[int, Mapping[int, int | None]] = {}
    for row in snapshot.rows(query):
        then, at = since[row.document_pk], moved_by.get(row.operation_pk, row.operation_pk)
        if at <= then:
            continue
        if then not in undone_at:
            undone_at[then] = effective_undos({by: of for by, of in targets.items() if by <= then})
        held = row.operation_pk <= then and undone_at[then].get(row.operation_pk) is None
        holds = row.undone_by is None
        if held != holds:
            yield _Change(row, at, holds)


def _actors(snapshot: Snapshot, moves: Iterable[_Change]) -> dict[int, str]:
    table = schema.operation
    query = select(table.c.pk, table.c.actor)
    rows = snapshot.rows(query.where(one_of(table.c.pk, {one.at for one in moves})))
    return {row.pk: row.actor for row in rows}
