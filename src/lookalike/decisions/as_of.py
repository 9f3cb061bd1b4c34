"""Read the store as it was just after an earlier operation.

`PastStore` gives snapshots with the same tables, so readers need no special code. A snapshot is
made in steps: show the ledger up to the position, the label states by folding that ledger, the
decisions by the decision log, and the decision rule of that time. Items erased since then are not
shown. Metadata, contents and vectors are the current ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import Select, and_, false, func, or_, select

from lookalike.catalog.fields import taxonomy_after
from lookalike.catalog.resources import CollectionRow
from lookalike.decisions.decision_log import LoggedDecisions, decisions_at
from lookalike.decisions.field.columns import Columns, decision_cells
from lookalike.decisions.ledger.fold import Statement
from lookalike.decisions.ledger.statements import silent_among, statements_of
from lookalike.decisions.ledger.undo import effective_undos, last_by, undos
from lookalike.errors import BadInput, NotFound
from lookalike.labels import NO_LABEL, Codes
from lookalike.model import EventKind, Origin
from lookalike.stores import schema
from lookalike.stores.base import OverlaySnapshot, Readable, Snapshot

_CHUNK = 5000
_NOTHING = Statement()


@dataclass(frozen=True, slots=True)
class PastStore:
    """A store whose snapshots show some fields as they were at `position`, an operation.

    With `all_documents` the documents that were added later are there too, without labels or
    decisions.
    """

    store: Readable
    fields: tuple[int, ...]
    position: int
    at: float
    all_documents: bool = False

    @contextmanager
    def read(self) -> Iterator[OverlaySnapshot]:
        """Begin a snapshot."""
        with self.store.read() as snapshot:
            self._show_past(snapshot)
            yield snapshot

    def _show_past(self, snapshot: OverlaySnapshot) -> None:
        """Replace the tables of a snapshot; each step reads what the earlier steps show."""
        rows = snapshot.rows(select(schema.field).where(schema.field.c.pk.in_(self.fields)))
        logs = {row.pk: decisions_at(snapshot, row.pk, self.position) for row in rows}
        taxonomies = {row.pk: _first_taxonomy(snapshot, row) for row in rows}
        self._show_ledger(snapshot)
        self._show_documents(snapshot, {row.collection_pk for row in rows})
        snapshot.show_rows(
            schema.field,
            [
                dict(row._mapping)
                | {
                    "taxonomy": _taxonomy(snapshot, row.pk, taxonomies[row.pk]),
                    "standard": logs[row.pk].rule,
                }
                for row in rows
            ],
        )
        standing: list[dict[str, Any]] = []
        rejections: list[dict[str, Any]] = []
        for row in rows:
            pks = _documents(snapshot, row.collection_pk)
            statements = _statements(snapshot, row.pk, pks)
            standing += _label_states(snapshot, row.pk, pks, statements, logs[row.pk])
            rejections += [
                {"field_pk": row.pk, "document_pk": pk, "label": label}
                for pk, statement in statements.items()
                for label in sorted(statement.rejected)
            ]
        snapshot.show_rows(schema.standing, standing)
        snapshot.show_rows(schema.rejection, rejections)

    def _show_ledger(self, snapshot: OverlaySnapshot) -> None:
        """Show the ledger up to the position, and as undone only what was undone by then."""
        event, operation, position = schema.event, schema.operation, self.position
        snapshot.show_only(event, event.c.operation_pk <= position)
        for drawn in (schema.draw, schema.sheet):
            snapshot.show_only(drawn, drawn.c.operation_pk <= position)
        done = snapshot.rows(select(operation).where(operation.c.pk <= position))
        undone = effective_undos(undos(snapshot))
        shown = [dict(row._mapping) | {"undone_by": undone.get(row.pk)} for row in done]
        snapshot.show_rows(operation, shown)
        audit, trial = schema.audit, schema.trial
        audits = snapshot.rows(select(audit).where(audit.c.operation_pk <= position))
        by_then = {
            row.pk for row in audits if row.closed_at is not None and row.closed_at <= self.at
        }
        shown = [
            dict(row._mapping) | ({} if row.pk in by_then else {"closed_at": None})
            for row in audits
        ]
        snapshot.show_rows(audit, shown)
        begun = snapshot.rows(select(trial).where(trial.c.operation_pk <= position))
        by_then = {row.pk for row in begun if row.ended_by is not None and row.ended_by <= position}
        shown = [
            dict(row._mapping) | ({} if row.pk in by_then else {"ended_by": None}) for row in begun
        ]
        snapshot.show_rows(trial, shown)

    def _show_documents(self, snapshot: OverlaySnapshot, collections: set[int]) -> None:
        """Show the documents that existed then; without vectors if the space was another one."""
        table, space = schema.document, schema.space
        here = table.c.collection_pk.in_(collections)
        by_then = or_(table.c.arrived_in.is_(None), table.c.arrived_in <= self.position)
        snapshot.show_only(table, here if self.all_documents else and_(here, by_then))
        snapshot.show_only(schema.extraction, false())
        later = space.c.collection_pk.in_(collections) & (space.c.since > self.position)
        spaces = snapshot.rows(select(space.c.pk).where(later, space.c.beside.is_not(True)))
        if spaces:
            embedding = schema.embedding
            snapshot.show_only(embedding, embedding.c.space_pk.not_in([row.pk for row in spaces]))


def _documents(snapshot: Snapshot, collection_pk: int) -> list[int]:
    table = schema.document
    query = select(table.c.pk).where(table.c.collection_pk == collection_pk)
    return [row.pk for row in snapshot.rows(query.order_by(table.c.pk))]


def _first_taxonomy(snapshot: Snapshot, field: Any) -> Any:
    """Return the taxonomy of a field before it was first changed."""
    event = schema.event
    query = select(event.c.detail).where(event.c.field_pk == field.pk)
    query = query.where(event.c.kind == EventKind.CONFIGURED).order_by(event.c.seq).limit(1)
    rows = snapshot.rows(query)
    return rows[0].detail["before"] if rows else field.taxonomy


def _taxonomy(snapshot: Snapshot, field_pk: int, first: Any) -> Any:
    """Return a field's taxonomy after all changes that are not undone; `first` is the original."""
    event, operation = schema.event, schema.operation
    query = (
        select(event.c.detail)
        .join(operation, operation.c.pk == event.c.operation_pk)
        .where(event.c.field_pk == field_pk, event.c.kind == EventKind.CONFIGURED)
        .where(operation.c.undone_by.is_(None))
        .order_by(event.c.seq)
    )
    return taxonomy_after(first, [row.detail for row in snapshot.rows(query)])


def _statements(snapshot: Snapshot, field_pk: int, pks: Sequence[int]) -> dict[int, Statement]:
    """Return the statement of each of the documents that has label events."""
    event = schema.event
    query = select(event.c.document_pk).distinct().where(event.c.field_pk == field_pk)
    query = query.where(event.c.kind != EventKind.DECIDED, event.c.document_pk.is_not(None))
    known = set(pks)
    changed = sorted({row.document_pk for row in snapshot.rows(query)} & known)
    found: dict[int, Statement] = {}
    for start in range(0, len(changed), _CHUNK):
        found |= statements_of(snapshot, field_pk, changed[start : start + _CHUNK])
    return found


def _label_states(
    snapshot: Snapshot,
    field_pk: int,
    pks: Sequence[int],
    statements: dict[int, Statement],
    log: LoggedDecisions,
) -> list[dict[str, Any]]:
    """Return the `standing` rows of a field's documents (pks rising)."""
    documents = np.array(pks, np.int64)
    columns, codes = log.columns, log.codes
    columns.remove(np.setdiff1d(columns.pks, documents))
    columns.place(documents)
    labels = _labels(snapshot, field_pk, columns, codes, log)
    latest = _latest_events(snapshot, field_pk)
    silent = silent_among(snapshot, field_pk, [pk for pk, one in statements.items() if one.votes])
    decided = decision_cells(field_pk, 0, columns, codes, np.arange(len(columns)))
    rows = []
    for place, values in enumerate(zip(*decided.values(), strict=True)):
        row = dict(zip(decided, values, strict=True))
        pk = int(documents[place])
        statement = statements.get(pk, _NOTHING)
        auto = labels[place]
        revision = max(int(columns["operations"][place]), latest.get(pk, 0))
        rows.append(
            row
            | {
                "label": statement.label if statement.is_settled else auto,
                "origin": statement.origin
                if statement.is_settled
                else (None if auto is None else Origin.AUTO),
                "votes": statement.votes and pk not in silent,
                "answer": statement.answer,
                "asked": statement.asked if statement.is_settled else None,
                "actor": statement.actor,
                "suggestion": statement.suggestion,
                "contested": statement.contested,
                "revision": revision,
            }
        )
    return rows


def _labels(
    snapshot: Snapshot, field_pk: int, columns: Columns, codes: Codes, log: LoggedDecisions
) -> list[str | None]:
    """Return the automatic label of each document; from the ledger if the log began later."""
    if log.is_complete:
        return [None if c == NO_LABEL else codes.name(c) for c in columns["codes"].tolist()]
    event = schema.event
    query = select(event.c.document_pk, event.c.label).where(event.c.field_pk == field_pk)
    query = query.where(event.c.kind == EventKind.DECIDED).order_by(event.c.seq)
    last = {row.document_pk: row.label for row in snapshot.rows(query)}
    return [last.get(pk) for pk in columns.pks.tolist()]


def _latest_events(snapshot: Snapshot, field_pk: int) -> dict[int, int]:
    """Return the last operation that wrote an event of each document or undid one.

    An undone decision leads to another decision, which is in the decision log if it was written.
    """
    event, moved_by = schema.event, last_by(undos(snapshot))
    is_decided = (event.c.kind == EventKind.DECIDED).label("is_decided")
    query = select(event.c.document_pk, event.c.operation_pk, is_decided).distinct()
    query = query.where(event.c.field_pk == field_pk, event.c.document_pk.is_not(None))
    latest: dict[int, int] = {}
    for row in snapshot.rows(query):
        own = row.operation_pk
        operation = own if row.is_decided else moved_by.get(own, own)
        latest[row.document_pk] = max(operation, latest.get(row.document_pk, 0))
    return latest


# --- ledger positions: version, operation, event or time -----------------------------------------

# All changes of an operation take effect together, so a position is always just after an operation.

At = str | int | float | datetime
"""The name of a version, the id of an operation, the number of an event, or a time."""

_NAME = re.compile(r"[\w.+-][\w .+-]{0,99}", re.ASCII)
_EVENT = re.compile(r"[0-9]{1,18}")
_OPERATION = "op_"
_TIME_RESOLUTION_S = 1e-6
"""Times are shown to the microsecond, so an operation up to 1 µs after a given time is included."""


@dataclass(frozen=True, slots=True)
class Position:
    """A position in the ledger: just after `operation`, which was at the time `at`.

    `at` is in UTC seconds; `pk` is the operation's number in the store.
    """

    pk: int
    operation: str
    at: float


def position_of(
    snapshot: Snapshot, collection: CollectionRow, fields: Sequence[int], at: At, now: float
) -> Position:
    """Return the position in a collection's ledger that a user gave; `now` is in UTC seconds.

    Raises NotFound for an unknown version, operation or event, and for a time before the first
    operation; BadInput for a time in the future, and for a value that is not a position.
    """
    if isinstance(at, bool) or not isinstance(at, str | int | float | datetime):
        raise BadInput(f"{at!r} is not a version, operation, event or time")
    if isinstance(at, datetime):
        return _by_time(snapshot, collection, at, now)
    if isinstance(at, int) or (isinstance(at, str) and _EVENT.fullmatch(at)):
        return _by_event(snapshot, collection, fields, int(at))
    if isinstance(at, float):
        return _by_time(snapshot, collection, _time(at), now)
    if at.startswith(_OPERATION):
        return _by_operation(snapshot, collection, fields, at)
    if (time := _as_time(at)) is not None:
        return _by_time(snapshot, collection, time, now)
    return _by_version(snapshot, collection, fields, at)


def newest(snapshot: Snapshot) -> Position:
    """Return the position just after the newest operation of the store, of any collection."""
    table = schema.operation
    rows = snapshot.rows(select(table).order_by(table.c.pk.desc()).limit(1))
    return _position(rows[0]) if rows else Position(0, "", 0.0)


def check_name(name: str) -> str:
    """Return the name of a version. Raises BadInput if it could be another kind of position.

    >>> check_name("before spring")
    'before spring'
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name != name.strip():
        raise BadInput(
            f"{str(name)[:100]!r} is not a valid name for a version: use 1 to 100 letters, digits, "
            "blanks and the signs _ - + ."
        )
    if name.startswith(_OPERATION) or _EVENT.fullmatch(name) or _as_time(name) is not None:
        raise BadInput(
            f"{name!r} could be an operation, an event or a time; begin the name of a version "
            f"otherwise, such as 'v{name}'"
        )
    return name


def _by_time(snapshot: Snapshot, collection: CollectionRow, time: datetime, now: float) -> Position:
    """Return the last operation up to a time; a time without a zone is in UTC."""
    table = schema.operation
    seconds = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    if seconds > now:
        raise BadInput(f"{time.isoformat()} is in the future; give a past time")
    own = select(func.min(table.c.at).label("first")).where(table.c.collection_pk == collection.pk)
    first = snapshot.rows(own)[0].first
    until = seconds + _TIME_RESOLUTION_S
    if first is None or until < first:
        began = "" if first is None else f", its first operation was at {_time(first).isoformat()}"
        raise NotFound(
            f"there was nothing of {collection.name!r} at {time.isoformat()}{began}; see "
            f"`lookalike history {collection.name}`"
        )
    query = select(table).where(table.c.at <= until).order_by(table.c.pk.desc()).limit(1)
    return _position(snapshot.rows(query)[0])


def _by_event(
    snapshot: Snapshot, collection: CollectionRow, fields: Sequence[int], seq: int
) -> Position:
    event, operation = schema.event, schema.operation
    query = _operations(collection, fields).join(event, event.c.operation_pk == operation.c.pk)
    rows = snapshot.rows(query.where(event.c.seq == seq))
    if not rows:
        last = select(func.max(event.c.seq).label("last")).where(event.c.field_pk.in_(fields))
        known = snapshot.rows(last)[0].last
        until = "none yet" if known is None else f"its last one is {known}"
        raise NotFound(f"{collection.name!r} has no event {seq}: {until}")
    return _position(rows[0])


def _by_operation(
    snapshot: Snapshot, collection: CollectionRow, fields: Sequence[int], id: str
) -> Position:
    operation = schema.operation
    rows = snapshot.rows(_operations(collection, fields).where(operation.c.id == id))
    if not rows:
        raise NotFound(f"no operation {id!r} in {collection.name!r}; see its history")
    return _position(rows[0])


def _by_version(
    snapshot: Snapshot, collection: CollectionRow, fields: Sequence[int], name: str
) -> Position:
    version, operation = schema.version, schema.operation
    query = (
        select(operation)
        .join(version, version.c.operation_pk == operation.c.pk)
        .where(version.c.field_pk.in_(fields), version.c.name == name)
        .order_by(version.c.operation_pk)
    )
    rows = snapshot.rows(query)
    if not rows:
        names = select(version.c.name).where(version.c.field_pk.in_(fields))
        offered = snapshot.rows(names.where(version.c.retired_at.is_(None)))
        raise NotFound.named(
            f"version of {collection.name!r}", name, sorted({row.name for row in offered})
        )
    return _position(rows[0])


def _operations(collection: CollectionRow, fields: Sequence[int]) -> Select[Any]:
    """Return the query of the operations that affected a collection."""
    operation, event = schema.operation, schema.event
    touched = select(event.c.operation_pk).where(event.c.field_pk.in_(fields))
    own = operation.c.collection_pk == collection.pk
    return select(operation).where(own | operation.c.pk.in_(touched))


def _position(row: Any) -> Position:
    return Position(row.pk, row.id, row.at)


def _as_time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _time(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        raise BadInput(f"{seconds} is not a time: give UTC seconds, or 2026-01-31T12:00") from None
