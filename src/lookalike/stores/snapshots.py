"""The common part of both stores' snapshots: reads that need only the tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, Select, select

from lookalike.classifier.graph import search
from lookalike.classifier.graph.search import Floats, Ids
from lookalike.errors import NotFound
from lookalike.stores import schema
from lookalike.stores.base import StoredSpace, conditions


class TableSnapshot(ABC):
    """A consistent view of the tables of a store."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def rows(self, select: Select[Any]) -> Sequence[Row[Any]]:
        """Return all rows of a statement."""
        return self.connection.execute(select).all()

    def tuples(self, select: Select[Any]) -> list[tuple[Any, ...]]:
        """Return all rows of a statement over text and numbers, as the driver gives them.

        For many rows: SQLAlchemy takes longer to create a row than a database to find it.
        """
        result = self.connection.execute(select)
        assert result.cursor is not None, "not a statement that gives rows"
        try:
            return list(result.cursor.fetchall())
        finally:
            result.close()

    def numbers(self, select: Select[Any]) -> Ids:
        """Return all rows of a statement over integers, int64 (n, columns)."""
        width, rows = len(select.selected_columns), self.tuples(select)
        flat = np.fromiter(chain.from_iterable(rows), np.int64, count=width * len(rows))
        return flat.reshape(-1, width)

    @abstractmethod
    def vectors(self, space: StoredSpace, document_pks: Ids) -> NDArray[np.float16]:
        """Return the vectors of documents, float16 (n, dimension), in the order asked."""

    def nearest(
        self, space: StoredSpace, queries: NDArray[np.floating], k: int, among: Ids
    ) -> tuple[Ids, Floats]:
        """Return the k nearest of `among` (ascending pks): pks and similarities (n, k)."""
        return search.nearest(queries, self.vectors(space, among), among, k)

    def slots(self, space: StoredSpace) -> tuple[Ids, Ids]:
        """Return the slots in use and their documents' pks, by rising slot."""
        table = schema.embedding
        query = select(table.c.slot, table.c.document_pk).where(table.c.space_pk == space.pk)
        pairs = self.numbers(query.order_by(table.c.slot))
        return pairs[:, 0], pairs[:, 1]

    def known_slots(self, space: StoredSpace, document_pks: Ids) -> Ids:
        """Return the slots (m,) of the documents that have one, by rising pk."""
        return self._pks_and_slots(space, document_pks)[:, 1]

    def slots_of(self, space: StoredSpace, document_pks: Ids) -> Ids:
        """Return the slots (n,) of documents in the order asked. Raises NotFound without one."""
        pairs = self._pks_and_slots(space, document_pks)
        absent = document_pks[~np.isin(document_pks, pairs[:, 0])]
        if len(absent):
            raise NotFound(f"document {absent[0]} has no vector in {space.name}")
        return np.asarray(pairs[np.searchsorted(pairs[:, 0], document_pks), 1])

    def _pks_and_slots(self, space: StoredSpace, document_pks: Ids) -> Ids:
        """Return pk and slot (m, 2) of the documents that have one, by rising pk."""
        table = schema.embedding
        query = select(table.c.document_pk, table.c.slot).order_by(table.c.document_pk)
        query = query.where(table.c.space_pk == space.pk)
        chosen = conditions(table.c.document_pk, document_pks)
        pairs = [self.numbers(query.where(condition)) for condition in chosen]
        return np.concatenate([np.empty((0, 2), np.int64), *pairs])
