"""Pages of rows in an order, each continued from a cursor.

A cursor holds the last row's place in the order, not its number: rows that come, go or change while
someone pages move no other row, so none that stays as it is is shown twice or left out.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, func, literal, select, tuple_

from lookalike.catalog.conditions import Filter
from lookalike.catalog.filter_sql import StoredValue
from lookalike.catalog.filters import check_field
from lookalike.errors import BadInput
from lookalike.stores.base import Snapshot

MAX_PAGE = 1_000
"""How many rows a page may have."""

_DIRECTIONS = {"asc": False, "ascending": False, "desc": True, "descending": True}
_LARGEST = 2**63
_FEW = 2_000


@dataclass(frozen=True, slots=True)
class Sort:
    """By which field, and which way round; what has no value comes last either way.

    Without a field, by arrival. Among equals it is by arrival, the same way round.
    """

    field: str | None = None
    descending: bool = False


ARRIVAL = Sort()
"""The oldest first."""


@dataclass(frozen=True, slots=True)
class Page:
    """Rows by their pks, in order, and where the next page begins; None after the last."""

    pks: tuple[int, ...]
    next_cursor: str | None


def sort_from(field: str, direction: str | None = None) -> Sort:
    """Return a sort: by `field` or, the other way round, `-field`; or with `asc` or `desc`.

    Raises BadInput for another direction.

    >>> sort_from("-taxonomy_match.confidence")
    Sort(field='taxonomy_match.confidence', descending=True)
    """
    if direction is None:
        return Sort(check_field(field.removeprefix("-")), field.startswith("-"))
    if direction.lower() not in _DIRECTIONS:
        raise BadInput(f"a sort goes 'asc' or 'desc', not {direction!r}")
    return Sort(check_field(field), _DIRECTIONS[direction.lower()])


@dataclass(frozen=True, slots=True)
class Paging:
    """Reads pages: `query` selects the rows, `pk` tells them apart, `value` is their order.

    `of` tells what is paged through: a cursor of something else is refused. With `by_range` an
    index finds the rows by a range of numbers: where they are few, faster than by arrival.
    """

    snapshot: Snapshot
    query: Select[Any]
    pk: ColumnElement[int]
    value: StoredValue | None
    descending: bool
    of: str
    by_range: bool = False

    def after(self, cursor: str | None, limit: int) -> Page:
        """Return the page that a cursor leads to, the first one without. Raises BadInput."""
        _check_limit(limit)
        place = _Place(None, None) if cursor is None else _decoded(cursor, self.of)
        rows = self._with_value(limit + 1, 0, place) if place.in_values else []
        if len(rows) <= limit:
            rows += self._without(limit + 1 - len(rows), 0, None if place.in_values else place.pk)
        return self._page(rows, limit)

    def at(self, offset: int, limit: int) -> Page:
        """Return the page that begins after `offset` rows. Raises BadInput."""
        _check_limit(limit)
        if not 0 <= offset < _LARGEST:
            raise BadInput(f"an offset counts rows from 0, not {offset}")
        rows = self._with_value(limit + 1, offset, _Place(None, None))
        if len(rows) <= limit:
            skipped = 0 if rows else offset - self._count_values(offset)
            rows += self._without(limit + 1 - len(rows), skipped, None)
        return self._page(rows, limit)

    def _with_value(self, limit: int, offset: int, place: _Place) -> list[Row[Any]]:
        if self.value is None:
            return []
        key = self.value.key()
        query = self._ordered(self.query.add_columns(key.label("key")), key, self.pk)
        query = query.where(~self.value.is_null())
        if place.pk is not None:
            query = query.where(
                self._beyond(tuple_(key, self.pk), tuple_(literal(place.key, key.type), place.pk))
            )
        return list(self.snapshot.rows(query.limit(limit).offset(offset)))

    def _without(self, limit: int, offset: int, pk: int | None) -> list[Row[Any]]:
        if self.value is None and self.by_range:
            few = self.snapshot.rows(self.query.limit(_FEW + 1))
            if len(few) <= _FEW:
                rows = sorted(few, key=lambda row: int(row.pk), reverse=self.descending)
                left = [row for row in rows if pk is None or self._beyond(row.pk, pk)]
                return left[offset : offset + limit]
        query = self._ordered(self.query, self.pk)
        if self.value is not None:
            query = query.where(self.value.is_null())
        if pk is not None:
            query = query.where(self._beyond(self.pk, pk))
        return list(self.snapshot.rows(query.limit(limit).offset(offset)))

    def _count_values(self, offset: int) -> int:
        if self.value is None:
            return 0
        some = self.query.where(~self.value.is_null()).limit(offset)
        return count(self.snapshot, some)

    def _ordered(self, query: Select[Any], *keys: ColumnElement[Any]) -> Select[Any]:
        return query.order_by(*(key.desc() if self.descending else key for key in keys))

    def _beyond(self, row: Any, last: Any) -> Any:
        return row < last if self.descending else row > last

    def _page(self, rows: Sequence[Row[Any]], limit: int) -> Page:
        shown = rows[:limit]
        if len(rows) <= limit:
            return Page(tuple(row.pk for row in shown), None)
        last = shown[-1]
        place = _Place(last.pk, getattr(last, "key", None))
        return Page(tuple(row.pk for row in shown), _encoded(place, self.of))


def count(snapshot: Snapshot, query: Select[Any]) -> int:
    """Return how many rows a statement selects."""
    inner = query.subquery()
    (row,) = snapshot.rows(select(func.count().label("rows")).select_from(inner))
    return int(row.rows)


def digest(scope: str, tree: Filter, sort: Sort) -> str:
    """Return what tells one list from others: its scope, filter and order."""
    return hashlib.sha256(repr((scope, tree, sort)).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class _Place:
    """The last row that was shown; without a key it has no value, without a pk it is the start."""

    pk: int | None
    key: str | int | float | None

    @property
    def in_values(self) -> bool:
        return self.pk is None or self.key is not None


def _encoded(place: _Place, of: str) -> str:
    text = json.dumps([of, place.pk, place.key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded(cursor: str, of: str) -> _Place:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        whose, pk, key = json.loads(text, parse_constant=_refuse)
        str(key).encode()
    except (binascii.Error, ValueError, TypeError, RecursionError) as error:
        raise BadInput(f"{cursor[:40]!r} is no cursor: take the 'next_cursor' of a page") from error
    known = isinstance(key, str | int | float | None) and isinstance(pk, int)
    if whose != of or not known or any(abs(n) >= _LARGEST for n in (pk, key) if type(n) is int):
        raise BadInput("the cursor is of another list: filter and sort must be the same all along")
    return _Place(pk, key)


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MAX_PAGE:
        raise BadInput(f"a page has 1 to {MAX_PAGE:,} rows, not {limit}")
