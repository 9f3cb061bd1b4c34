"""Points in the ledger: by a version, an operation, an event or a time, told as an operation's pk.

What happened in one operation happened at once, so a point is always just after one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, func, select

from lookalike.catalog.resources import CollectionRow
from lookalike.errors import BadInput, NotFound
from lookalike.stores import schema
from lookalike.stores.base import Snapshot

At = str | int | float | datetime
"""A version's name, an operation's id, the number of an event, or a time."""

_NAME = re.compile(r"[\w.+-][\w .+-]{0,99}", re.ASCII)
_EVENT = re.compile(r"[0-9]{1,18}")
_OPERATION = "op_"
_TIME_TOLD_S = 1e-6
"""Times are told to the microsecond: what was within one of a time had happened by then."""


@dataclass(frozen=True, slots=True)
class Position:
    """A point in the ledger: the `operation` that it is just after, and when that was.

    `at` is in UTC seconds; `pk` is the operation's number in the store.
    """

    pk: int
    operation: str
    at: float


def position_of(
    snapshot: Snapshot, collection: CollectionRow, fields: Sequence[int], at: At, now: float
) -> Position:
    """Return the point in a collection's ledger that a person names; `now` is in UTC seconds.

    Raises NotFound for an unknown version, operation or event, and for a time before the first
    operation; BadInput for a time that is yet to come, and for what is no point at all.
    """
    if isinstance(at, bool) or not isinstance(at, str | int | float | datetime):
        raise BadInput(f"{at!r} is no version, operation, event or time")
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
    """Return the point just after the newest operation of the store, whatever it belongs to."""
    table = schema.operation
    rows = snapshot.rows(select(table).order_by(table.c.pk.desc()).limit(1))
    return _position(rows[0]) if rows else Position(0, "", 0.0)


def check_name(name: str) -> str:
    """Return the name of a version. Raises BadInput for one that could be taken for another point.

    >>> check_name("before spring")
    'before spring'
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name != name.strip():
        raise BadInput(
            f"{str(name)[:100]!r} is no name for a version: use 1 to 100 letters, digits, blanks "
            "and the signs _ - + ."
        )
    if name.startswith(_OPERATION) or _EVENT.fullmatch(name) or _as_time(name) is not None:
        raise BadInput(
            f"{name!r} could be an operation, an event or a time; begin the name of a version "
            f"otherwise, such as 'v{name}'"
        )
    return name


def _by_time(snapshot: Snapshot, collection: CollectionRow, time: datetime, now: float) -> Position:
    """Return the last operation up to a time; one without a zone is taken for UTC."""
    table = schema.operation
    seconds = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    if seconds > now:
        raise BadInput(f"{time.isoformat()} is yet to come; give a time that was")
    own = select(func.min(table.c.at).label("first")).where(table.c.collection_pk == collection.pk)
    first = snapshot.rows(own)[0].first
    until = seconds + _TIME_TOLD_S
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
    """Return the query of the operations that bore on a collection."""
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
        raise BadInput(f"{seconds} is no time: give UTC seconds, or 2026-01-31T12:00") from None
