"""Which documents of a collection, and which objects of a bucket, a filter chooses: page by page.

Reads one snapshot. What it gives are pks, in order; `reading.py` makes documents of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Select

from lookalike.catalog.compiling import clause_of
from lookalike.catalog.conditions import EVERYTHING, ORDERS, Condition, Every, Filter, fields_in
from lookalike.catalog.filter_sql import ColumnValue, StoredValue
from lookalike.catalog.pages import ARRIVAL, Page, Paging, Sort, count, digest
from lookalike.stores.base import Snapshot

MAX_COUNT = 10_000
"""Up to so many rows are counted unasked: counting a million takes longer than a page of them."""

_CHUNK = 5_000


class Values(Protocol):
    """What the names of fields stand for, and the rows that have them."""

    @property
    def scope(self) -> str:
        """What tells these rows from all others, in cursors."""
        ...

    def value_of(self, name: str) -> StoredValue:
        """Return what a name stands for. Raises BadInput for one that cannot be."""
        ...

    def query(self, values: Sequence[StoredValue]) -> tuple[Select[Any], ColumnElement[int]]:
        """Return the statement that selects the pks of all rows, and the pk."""
        ...


@dataclass(frozen=True, slots=True)
class Selecting:
    """Selects rows of one snapshot: of documents with `DocumentValues`, of objects with others."""

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
        """Return the page that a cursor leads to, the first one without.

        Raises BadInput for a limit outside 1…1,000 and for a cursor of another list.
        """
        return self._paging(tree, sort).after(cursor, limit)

    def page_at(
        self, offset: int, tree: Filter = EVERYTHING, sort: Sort = ARRIVAL, *, limit: int = 100
    ) -> Page:
        """Return the page after `offset` rows: slower the deeper, and moved by what changes."""
        return self._paging(tree, sort).at(offset, limit)

    def count(self, tree: Filter = EVERYTHING, *, at_most: int | None = MAX_COUNT) -> int | None:
        """Return how many rows there are; None where they are more than `at_most`."""
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
    """Yield the conditions that all rows meet."""
    match tree:
        case Condition():
            yield tree
        case Every(parts):
            for part in parts:
                yield from _required(part)


def filtered(
    values: Values, tree: Filter, others: Sequence[StoredValue] = ()
) -> tuple[Select[Any], ColumnElement[int]]:
    """Return the statement that selects the pks of the rows that a filter chooses, and the pk.

    What the `others` are read from is joined as well.
    """
    named = {name: values.value_of(name) for name in sorted(fields_in(tree))}
    query, pk = values.query([*named.values(), *others])
    return (query if tree == EVERYTHING else query.where(clause_of(tree, named.__getitem__))), pk
