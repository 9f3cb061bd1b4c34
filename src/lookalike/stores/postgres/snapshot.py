"""What one transaction sees of the shared store; a past state covers its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Table, select, text

from lookalike.classifier.graph import search
from lookalike.classifier.graph.search import Floats, Ids
from lookalike.stores import schema
from lookalike.stores.base import StoredSpace
from lookalike.stores.mirror import Fetch, Mirrors, fetched
from lookalike.stores.postgres.covering import cover, narrow
from lookalike.stores.postgres.rows import as_literal, copy_vectors_out
from lookalike.stores.snapshots import TableSnapshot

ERASURES = "erasures"
"""The key of what is another value after each erasure."""

_ALL = 2**62
_FEW_VECTORS = 2000
_SLACK = 1e-3
"""More than pgvector's sums in single precision can err for vectors of length 1."""


class PostgresSnapshot(TableSnapshot):
    """A consistent view of the shared store."""

    def __init__(self, connection: Connection, mirrors: Mirrors) -> None:
        super().__init__(connection)
        self._mirrors = mirrors
        self._first_own: dict[int, int] = {}
        self._last_own: dict[int, tuple[int, NDArray[np.float16]]] = {}

    def vectors(self, space: StoredSpace, document_pks: Ids) -> NDArray[np.float16]:
        """Return the vectors of documents, float16 (n, dimension), in the order asked."""
        slots = self.slots_of(space, document_pks)
        if not len(slots):
            return np.empty((0, space.dimension), np.float16)
        first, own = self._last_own.get(space.pk, (_ALL, None))
        if own is not None and int(slots.min()) >= first:
            return own[slots - first]  # what was just appended is asked for to be decided
        mirror, fetch = self._mirrors.of(space), self.fetch(space)
        count = int(slots.max()) + 1
        if count > self._shared(space) or (count > len(mirror) and len(slots) <= _FEW_VECTORS):
            return fetched(slots, space.dimension, fetch)
        self._filled(space, count)
        return mirror.rows(slots, fetch)

    def above(
        self, space: StoredSpace, vector: NDArray[np.float16], floor: float
    ) -> tuple[Ids, Floats]:
        """Return every document of the space with similarity ≥ `floor`, by rising pk.

        The database chooses candidates in single precision; what they are is decided here.
        """
        query = text(
            "SELECT e.document_pk FROM vector v JOIN embedding e USING (space_pk, slot) "
            "WHERE v.space_pk = :space AND -(v.vector <#> CAST(:vector AS halfvec)) >= :floor "
            "ORDER BY e.document_pk"
        )
        values = {"space": space.pk, "vector": as_literal(vector), "floor": floor - _SLACK}
        pks = np.array(self.connection.execute(query, values).scalars().all(), np.int64)
        exact = search.similarities(vector[None, :], self.vectors(space, pks))[0]
        kept = exact >= np.float32(floor)
        return pks[kept], exact[kept]

    def above_floors(
        self, space: StoredSpace, vector: NDArray[np.float16], floors: Floats
    ) -> tuple[Ids, Floats]:
        """Return the slots whose similarity is ≥ the floor of that slot; +inf leaves one out."""
        fetch, shared = self.fetch(space), min(len(floors), self._shared(space))
        self._filled(space, shared)
        found, values = self._mirrors.of(space).above(vector, floors[:shared], fetch)
        own = np.flatnonzero(np.isfinite(floors[shared:])) + shared
        if not len(own):
            return found, values
        exact = search.similarities(vector[None, :], fetched(own, space.dimension, fetch))[0]
        more = exact >= floors[own]
        return np.concatenate([found, own[more]]), np.concatenate([values, exact[more]])

    def show_rows(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """From now on show these rows, all with the same columns, in place of the table's own."""
        cover(self.connection, table, rows)

    def show_only(self, table: Table, condition: ColumnElement[bool]) -> None:
        """From now on show only those of a table's own rows for which a condition holds."""
        narrow(self.connection, table, condition)

    def time_s(self) -> float:
        """Return what the database's own clock shows, in UTC seconds."""
        now = "SELECT extract(epoch FROM clock_timestamp())::float8"
        return float(self.connection.exec_driver_sql(now).scalar_one())

    def count(self, space: StoredSpace) -> int:
        """Return how many slots of a space have been given."""
        counter = select(schema.space.c.next_slot).where(schema.space.c.pk == space.pk)
        return int(self.connection.execute(counter).scalar_one())

    def _shared(self, space: StoredSpace) -> int:
        """Return below which slot all may be in the copy: one that is new here may not last."""
        return self._first_own.get(space.pk, _ALL)

    def _filled(self, space: StoredSpace, count: int) -> None:
        """Let the copy have the first slots of a space, and nothing that was erased since."""
        mirror, table = self._mirrors.of(space), schema.meta
        mirror.fill(count, self.fetch(space))
        rows = self.rows(select(table.c.value).where(table.c.key == ERASURES))
        seen, key = rows[0].value if rows else None, (space.pk, space.generation)
        if self._mirrors.erasures.get(key) != seen:
            mirror.erase_but(self.slots(space)[0], self.count(space))
            self._mirrors.erasures[key] = seen

    def fetch(self, space: StoredSpace) -> Fetch:
        """Return what reads vectors of a space from the database."""
        here = f"space_pk = {space.pk} AND "
        return lambda chosen: copy_vectors_out(self.connection, space.dimension, here + chosen)
