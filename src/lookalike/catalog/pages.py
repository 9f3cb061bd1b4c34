"""Keyset pagination: sorted pages of rows, each continued from a cursor.

A cursor holds the sort key of the last row, not its number. So rows that are added, removed or
changed between pages do not shift other rows: an unchanged row is never repeated or left out.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Row, Select, func, literal, select, tuple_

from lookalike.catalog.filter_sql import ColumnValue, StoredValue, clause_of
from lookalike.catalog.filters import (
    EVERYTHING,
    ORDERS,
    Condition,
    Every,
    Filter,
    check_field,
    fields_in,
)
from lookalike.errors import BadInput
from lookalike.stores.base import Snapshot

MAX_PAGE = 1_000
"""The maximum number of rows on a page."""

_DIRECTIONS = {"asc": False, "ascending": False, "desc": True, "descending": True}
_LARGEST = 2**63
_FEW = 2_000


@dataclass(frozen=True, slots=True)
class Sort:
    """The field to sort by, and the direction; rows without a value come last in both directions.

    Without a field, and among equal values, rows are sorted by arrival in the same direction.
    """

    field: str | None = None
    descending: bool = False


ARRIVAL = Sort()
"""Oldest first."""


@dataclass(frozen=True, slots=True)
class Page:
    """Rows by their pks, in order, and the cursor of the next page; None after the last."""

    pks: tuple[int, ...]
    next_cursor: str | None


def sort_from(field: str, direction: str | None = None) -> Sort:
    """Return a sort by `field` with `asc` or `desc`; `-field` reverses the direction.

    Raises BadInput for another direction.

    >>> sort_from("-taxonomy_match.confidence")
    Sort(field='taxonomy_match.confidence', descending=True)
    """
    if direction is None:
        return Sort(check_field(field.removeprefix("-")), field.startswith("-"))
    if direction.lower() not in _DIRECTIONS:
        raise BadInput(f"the direction of a sort is {direction!r}; give 'asc' or 'desc'")
    return Sort(check_field(field), _DIRECTIONS[direction.lower()])


@dataclass(frozen=True, slots=True)
class Paging:
    """Reads pages: `query` selects the rows, `pk` is their key, `value` is the sort value.

    `of` identifies the list: a cursor of another list is refused. With `by_range` an index finds
    the rows by a range of numbers, which is faster than by arrival if they are few.
    """

    snapshot: Snapshot
    query: Select[Any]
    pk: ColumnElement[int]
    value: StoredValue | None
    descending: bool
    of: str
    by_range: bool = False

    def after(self, cursor: str | None, limit: int) -> Page:
        """Return the page after a cursor, or the first page. Raises BadInput."""
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
            raise BadInput(f"the offset is {offset}; give 0 or more")
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
    """Return the number of rows that a statement selects."""
    inner = query.subquery()
    (row,) = snapshot.rows(select(func.count().label("rows")).select_from(inner))
    return int(row.rows)


def digest(scope: str, tree: Filter, sort: Sort) -> str:
    """Return a key that identifies a list by its scope, filter and order."""
    return hashlib.sha256(repr((scope, tree, sort)).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class _Place:
    """The last row shown: without a key it has no value, without a pk it is the start."""

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
        raise BadInput(
            f"{cursor[:40]!r} is not a cursor: give the 'next_cursor' of a page"
        ) from error
    known = isinstance(key, str | int | float | None) and isinstance(pk, int)
    if whose != of or not known or any(abs(n) >= _LARGEST for n in (pk, key) if type(n) is int):
        raise BadInput(
            "the cursor belongs to another list: keep filter and sort the same for all pages"
        )
    return _Place(pk, key)


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MAX_PAGE:
        raise BadInput(f"a page has 1 to {MAX_PAGE:,} rows, not {limit}")


# --- which documents or objects a filter selects, page by page -----------------------------------

# Reads one snapshot and returns pks in order; `reader.py` makes documents of them.

MAX_COUNT = 10_000
"""Count up to this number of rows by default; counting a million takes longer than a page."""

_CHUNK = 5_000


class Values(Protocol):
    """Resolves field names, and selects the rows that have them."""

    @property
    def scope(self) -> str:
        """Identifies these rows in cursors."""
        ...

    def value_of(self, name: str) -> StoredValue:
        """Return the value of a field name. Raises BadInput for an invalid one."""
        ...

    def query(self, values: Sequence[StoredValue]) -> tuple[Select[Any], ColumnElement[int]]:
        """Return the statement that selects the pks of all rows, and the pk column."""
        ...


@dataclass(frozen=True, slots=True)
class Selecting:
    """Selects rows of one snapshot: documents with `DocumentValues`, objects with others."""

    snapshot: Snapshot
    values: Values

    def page(
        self,
        tree: Filter = EVERYTHING,
        sort: Sort = ARRIVAL,
        *,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """Return the page after a cursor, or the first page.

        Raises BadInput for a limit outside 1…1,000 and for a cursor of another list.
        """
        return self._paging(tree, sort).after(cursor, limit)

    def page_at(
        self, offset: int, tree: Filter = EVERYTHING, sort: Sort = ARRIVAL, *, limit: int = 100
    ) -> Page:
        """Return the page after `offset` rows; slow for large offsets, and shifted by changes."""
        return self._paging(tree, sort).at(offset, limit)

    def count(self, tree: Filter = EVERYTHING, *, at_most: int | None = MAX_COUNT) -> int | None:
        """Return the number of rows; None if they are more than `at_most`."""
        query, _ = self._query(tree)
        if at_most is None:
            return count(self.snapshot, query)
        found = count(self.snapshot, query.limit(at_most + 1))
        return found if found <= at_most else None

    def pks(self, tree: Filter = EVERYTHING, *, limit: int | None = None) -> Iterator[list[int]]:
        """Yield the pks of all rows, or of the first `limit`, by rising pk, in chunks."""
        query, pk = self._query(tree)
        last, left = -1, limit
        while left is None or left > 0:
            wanted = _CHUNK if left is None else min(left, _CHUNK)
            rows = self.snapshot.rows(query.where(pk > last).order_by(pk).limit(wanted))
            if rows:
                yield [row.pk for row in rows]
            if len(rows) < wanted:
                return
            last, left = rows[-1].pk, None if left is None else left - len(rows)

    def _paging(self, tree: Filter, sort: Sort) -> Paging:
        value = None if sort.field is None else self.values.value_of(sort.field)
        query, pk = self._query(tree, () if value is None else (value,))
        of = digest(self.values.scope, tree, sort)
        by_range = any(self._is_range(one) for one in _required(tree))
        return Paging(self.snapshot, query, pk, value, sort.descending, of, by_range)

    def _is_range(self, condition: Condition) -> bool:
        value = self.values.value_of(condition.field)
        is_number = isinstance(value, ColumnValue) and value.kind == "number"
        return is_number and condition.operator in ORDERS

    def _query(
        self, tree: Filter, others: Sequence[StoredValue] = ()
    ) -> tuple[Select[Any], ColumnElement[int]]:
        return filtered(self.values, tree, others)


def _required(tree: Filter) -> Iterator[Condition]:
    """Yield the conditions that all rows must meet."""
    match tree:
        case Condition():
            yield tree
        case Every(parts):
            for part in parts:
                yield from _required(part)


def filtered(
    values: Values, tree: Filter, others: Sequence[StoredValue] = ()
) -> tuple[Select[Any], ColumnElement[int]]:
    """Return the statement that selects the pks of the filtered rows, and the pk column.

    The tables of the `others` are joined as well.
    """
    named = {name: values.value_of(name) for name in sorted(fields_in(tree))}
    query, pk = values.query([*named.values(), *others])
    return (query if tree == EVERYTHING else query.where(clause_of(tree, named.__getitem__))), pk
