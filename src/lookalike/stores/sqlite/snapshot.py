"""A snapshot of the embedded store; for an earlier state it overlays tables with other rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, MetaData, Table, bindparam, select
from sqlalchemy.schema import CreateTable

from lookalike.classifier.graph.search import Floats, Ids
from lookalike.stores.base import StoredSpace, cells_of
from lookalike.stores.snapshots import TableSnapshot
from lookalike.stores.sqlite.engine import execute_each
from lookalike.stores.vectors import VectorFile

# --- overlaid tables: one connection sees other rows ---------------------------------------------

# SQLite looks a name up among temporary tables and views first. They are created inside the
# connection's transaction, so they are removed when it ends.


def overlay(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Make statements see these rows, all with the same columns, in place of the table's own."""
    other = table.to_metadata(MetaData(), schema="temp")
    connection.execute(CreateTable(other))
    if not rows:
        return
    statement = other.insert().inline().values({name: bindparam(name) for name in rows[0]})
    cells = cells_of(rows)
    execute_each(connection, statement, {name: other.c[name] for name in cells}, cells)


def overlay_filtered(connection: Connection, table: Table, condition: ColumnElement[bool]) -> None:
    """Make statements see only those of a table's own rows that meet a condition."""
    statement = select(table).where(condition)
    compiled = statement.compile(
        dialect=connection.dialect,
        schema_translate_map={None: "main"},
        render_schema_translate=True,
        compile_kwargs={"literal_binds": True},
    )
    connection.exec_driver_sql(f"CREATE TEMP VIEW {table.name} AS {compiled}")


# -------------------------------------------------------------------------------------------------


class SqliteSnapshot(TableSnapshot):
    """A consistent view of the embedded store."""

    def __init__(self, connection: Connection, file: Callable[[StoredSpace], VectorFile]) -> None:
        super().__init__(connection)
        self._file = file
        self._current_files: dict[int, VectorFile] = {}

    def vectors(self, space: StoredSpace, document_pks: Ids) -> NDArray[np.float16]:
        """Return the vectors of documents, float16 (n, dimension), in the order asked."""
        return self.file_of(space).read(self.slots_of(space, document_pks))

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

    def above_floors(
        self, space: StoredSpace, vector: NDArray[np.float16], floors: Floats
    ) -> tuple[Ids, Floats]:
        """Return the slots whose similarity is ≥ the floor of that slot; +inf leaves one out."""
        return self.file_of(space).above(vector, floors)

    def time_s(self) -> None:
        """Return None: all users of the store share the clock of one machine."""

    def rows_of(self, space: StoredSpace, count: int) -> NDArray[np.float16]:
        """Return the first `count` slots of a space as stored, float16 (count, dimension).

        Raises StoreCorrupt if there are fewer.
        """
        return self.file_of(space).rows(count)

    def file_of(self, space: StoredSpace) -> VectorFile:
        """Return the current file of a space.

        Compaction may have replaced the file since the caller read the space.
        """
        if space.pk not in self._current_files:
            query = "SELECT generation FROM main.space WHERE pk = ?"
            stored = self.connection.exec_driver_sql(query, (space.pk,)).scalar()
            generation = space.generation if stored is None else int(stored)
            self._current_files[space.pk] = self._file(replace(space, generation=generation))
        return self._current_files[space.pk]

    def show_rows(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """From now on show these rows, all with the same columns, in place of the table's own."""
        overlay(self.connection, table, rows)

    def show_only(self, table: Table, condition: ColumnElement[bool]) -> None:
        """From now on show only those of a table's own rows that meet a condition."""
        overlay_filtered(self.connection, table, condition)
