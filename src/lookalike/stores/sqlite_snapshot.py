"""What one transaction sees of the embedded store; a past state covers its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    select,
)

from lookalike.errors import NotFound
from lookalike.stores import schema, search
from lookalike.stores.base import StoredSpace
from lookalike.stores.covering import cover, narrow
from lookalike.stores.search import Floats, Ids
from lookalike.stores.selection import conditions
from lookalike.stores.vectors import VectorFile


class SqliteSnapshot:
    """A consistent view of the embedded store."""

    def __init__(self, connection: Connection, file: Callable[[StoredSpace], VectorFile]) -> None:
        self.connection = connection
        self._file = file

    def rows(self, select: Select[Any]) -> Sequence[Row[Any]]:
        """Return all rows of a statement."""
        return self.connection.execute(select).all()

    def vectors(self, space: StoredSpace, document_pks: Ids) -> NDArray[np.float16]:
        """Return the vectors of documents, float16 (n, dimension), in the order asked."""
        table = schema.embedding
        query = select(table.c.document_pk, table.c.slot).order_by(table.c.document_pk)
        query = query.where(table.c.space_pk == space.pk)
        chosen = conditions(table.c.document_pk, document_pks)
        pairs = _pairs([row for condition in chosen for row in self.rows(query.where(condition))])
        absent = document_pks[~np.isin(document_pks, pairs[:, 0])]
        if len(absent):
            raise NotFound(f"document {absent[0]} has no vector in {space.name}")
        slots = pairs[np.searchsorted(pairs[:, 0], document_pks), 1]
        return self._file(space).read(slots)

    def nearest(
        self, space: StoredSpace, queries: NDArray[np.floating], k: int, among: Ids
    ) -> tuple[Ids, Floats]:
        """Return the k nearest of `among` (ascending pks): pks and similarities (n, k)."""
        return search.nearest(queries, self.vectors(space, among), among, k)

    def above(
        self, space: StoredSpace, vector: NDArray[np.float16], floor: float
    ) -> tuple[Ids, Floats]:
        """Return every document of the space with similarity ≥ `floor`, by rising pk."""
        slots, pks = self.slots(space)
        floors = np.full(int(slots[-1]) + 1 if len(slots) else 0, np.inf, np.float32)
        floors[slots] = floor
        found, similarity = self.above_floors(space, vector, floors)
        found_pks = pks[np.searchsorted(slots, found)]
        order = np.argsort(found_pks)
        return found_pks[order], similarity[order]

    def slots(self, space: StoredSpace) -> tuple[Ids, Ids]:
        """Return the slots in use and their documents' pks, by rising slot."""
        table = schema.embedding
        query = select(table.c.slot, table.c.document_pk).where(table.c.space_pk == space.pk)
        pairs = _pairs(self.rows(query.order_by(table.c.slot)))
        return pairs[:, 0], pairs[:, 1]

    def above_floors(
        self, space: StoredSpace, vector: NDArray[np.float16], floors: Floats
    ) -> tuple[Ids, Floats]:
        """Return the slots whose similarity is ≥ the floor of that slot; +inf leaves one out."""
        return self._file(space).above(vector, floors)

    def show_rows(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """From now on show these rows, all with the same columns, in place of the table's own."""
        cover(self.connection, table, rows)

    def show_only(self, table: Table, condition: ColumnElement[bool]) -> None:
        """From now on show only those of a table's own rows for which a condition holds."""
        narrow(self.connection, table, condition)


def _pairs(rows: Sequence[Row[Any]]) -> Ids:
    return np.array([tuple(row) for row in rows], np.int64).reshape(-1, 2)
