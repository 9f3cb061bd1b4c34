"""The store contract: what the rest of Lookalike uses of a store.

A store gives snapshots (consistent reads) and transactions (one atomic, durable unit of writing).
Statements are SQLAlchemy Core over `schema.py`; vectors are read and written by the methods here,
so callers depend on neither engine nor index. `lookalike.testing.stores.StoreContract` tests every
rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, FromClause, Row, Select, Table, and_, bindparam
from sqlalchemy.sql.dml import UpdateBase

from lookalike.classifier.graph.arrays import sorted_unique
from lookalike.classifier.graph.search import Floats, Ids
from lookalike.model import Member, Space


@dataclass(frozen=True, slots=True)
class StoredSpace:
    """An embedding space of a collection; its vectors are in a file (or table) of their own."""

    pk: int
    name: str
    dimension: int
    generation: int
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True)
class Packed:
    """A compacted space, as it is now: the vector in slot i was in `slots[i]` before."""

    space: StoredSpace
    slots: Ids

    def moved(self, slots: Ids) -> Ids | None:
        """Return the new slots of vectors that were in `slots` (n,); negative values stay.

        None if one of them is not in this space.
        """
        new = np.searchsorted(self.slots, slots)
        found = np.append(self.slots, -1)[new] == slots
        return np.where(slots < 0, slots, new) if np.all(found | (slots < 0)) else None


@dataclass(frozen=True, slots=True)
class Compaction:
    """The disk usage of a store before and after compaction, and the compacted spaces."""

    packed: tuple[Packed, ...]
    bytes_before: int
    bytes_after: int


def members_from(stored: Sequence[tuple[str, int]] | None) -> tuple[Member, ...]:
    """Return the members stored in a row of the table `space`."""
    return tuple(Member(name, dimension) for name, dimension in stored or ())


def space_columns(space: Space) -> dict[str, Any]:
    """Return the columns of a new row of the table `space`."""
    members = [[member.name, member.dimension] for member in space.members] or None
    columns = {"name": space.name, "dimension": space.dimension, "members": members}
    return {**columns, "generation": 0, "next_slot": 0}


def stored_space(row: Row[Any]) -> StoredSpace:
    """Return a row of the table `space` as the argument of the store's methods."""
    members = members_from(row.members)
    return StoredSpace(row.pk, row.name, row.dimension, row.generation, members)


Cells = Mapping[str, Sequence[Any]]
"""Rows as columns, by name: the value of the first row, of the second, …"""


def cells_of(rows: Sequence[Mapping[str, Any]]) -> Cells:
    """Return rows, all with the same columns, as columns."""
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


class Snapshot(Protocol):
    """A consistent view: later commits are not visible."""

    def rows(self, select: Select[Any]) -> Sequence[Row[Any]]:
        """Return all rows of a statement."""
        ...

    def tuples(self, select: Select[Any]) -> list[tuple[Any, ...]]:
        """Return all rows of a statement over text and numbers, as the driver gives them.

        For many rows: SQLAlchemy takes longer to create a row than a database to find it.
        """
        ...

    def numbers(self, select: Select[Any]) -> Ids:
        """Return all rows of a statement over integers, int64 (n, columns)."""
        ...

    def vectors(self, space: StoredSpace, document_pks: Ids) -> NDArray[np.float16]:
        """Return the vectors of documents, float16 (n, dimension), in the order asked.

        Raises NotFound for a document without a vector in the space.
        """
        ...

    def nearest(
        self, space: StoredSpace, queries: NDArray[np.floating], k: int, among: Ids
    ) -> tuple[Ids, Floats]:
        """Return the k nearest of `among` (ascending pks): pks and similarities (n, k)."""
        ...

    def above(
        self, space: StoredSpace, vector: NDArray[np.float16], floor: float
    ) -> tuple[Ids, Floats]:
        """Return every document of the space with similarity ≥ `floor`, by rising pk."""
        ...

    def slots(self, space: StoredSpace) -> tuple[Ids, Ids]:
        """Return the slots in use and their documents' pks, by rising slot."""
        ...

    def above_floors(
        self, space: StoredSpace, vector: NDArray[np.float16], floors: Floats
    ) -> tuple[Ids, Floats]:
        """Return the slots whose similarity is ≥ the floor of that slot; +inf leaves one out."""
        ...

    def time_s(self) -> float | None:
        """Return the time of the database's own clock, in UTC seconds; None if it has none.

        The clock runs on during the snapshot.
        """
        ...


class OverlaySnapshot(Snapshot, Protocol):
    """A snapshot that can show other rows than the store has, without changing the store."""

    def show_rows(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """From now on show these rows, all with the same columns, in place of the table's own."""
        ...

    def show_only(self, table: Table, condition: ColumnElement[bool]) -> None:
        """From now on show only those of a table's own rows that meet a condition."""
        ...


class Txn(Snapshot, Protocol):
    """One atomic unit: it is durable as a whole when the block ends, or has no effect."""

    def execute(self, statement: UpdateBase) -> int:
        """Run an update or delete; return the number of changed rows."""
        ...

    def insert(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert many rows; an existing primary key is an error."""
        ...

    def insert_cells(self, table: Table, cells: Cells) -> None:
        """Insert like `insert`, from columns."""
        ...

    def insert_one(self, table: Table, **values: Any) -> int:
        """Insert one row and return its pk."""
        ...

    def insert_returning(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """Insert many rows of a numbered table; return their pks, rising, in the same order."""
        ...

    def upsert(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows, replacing those with the same primary key."""
        ...

    def update(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Update existing rows: each mapping holds the primary key and the new values."""
        ...

    def update_cells(self, table: Table, cells: Cells) -> None:
        """Update like `update`, from columns, including those of the primary key."""
        ...

    def append_vectors(
        self, space: StoredSpace, document_pks: Ids, vectors: NDArray[np.float16]
    ) -> None:
        """Write a vector for each document; it replaces an existing one."""
        ...

    def erase_vectors(self, space: StoredSpace, document_pks: Ids) -> None:
        """Remove vectors and overwrite their bytes."""
        ...

    def number_from(self, table: Table, last: int) -> None:
        """Make a numbered table give only pks above `last`."""
        ...


class Readable(Protocol):
    """Gives snapshots: a store, or a store as of an earlier operation."""

    def read(self) -> AbstractContextManager[OverlaySnapshot]:
        """Begin a snapshot."""
        ...


class Following(Protocol):
    """A subscription to commits."""

    @property
    def is_live(self) -> bool:
        """Return whether commits are reported as they happen; if not, poll."""
        ...

    def stop(self) -> None:
        """End the subscription. May be called twice."""
        ...


class Store(Readable, Protocol):
    """A store of rows and vectors."""

    def write(self) -> AbstractContextManager[Txn]:
        """Begin a transaction; only one writer of all processes runs at a time.

        Raises StoreUnwritable if the disk is full or read-only; nothing is stored then.
        """
        ...

    def claim(self) -> AbstractContextManager[Txn]:
        """Begin a transaction that changes only who holds work.

        It waits for no writer if the engine locks rows separately. To avoid deadlocks, rows are
        selected `with_for_update(skip_locked=True)` before they are changed.
        """
        ...

    def follow(self, notify: Callable[[], None]) -> Following | None:
        """Call `notify`, in another thread, whenever any process may have committed.

        None if the engine does not report commits: poll instead.
        """
        ...

    def tidy(self) -> None:
        """Checkpoint the write-ahead log, so that it keeps no erased data."""
        ...

    def compact(self, progress: Callable[[int, int], None]) -> Compaction:
        """Free unused space; writers wait, readers continue.

        `progress` gets the amount done and the total. After an interruption, or if the disk is full
        (StoreUnwritable), the store is either unchanged or fully compacted.
        """
        ...

    def close(self) -> None:
        """Release files and locks. May be called twice."""
        ...

    def last_numbers(self) -> dict[str, int]:
        """Return the last pk that each numbered table gave, 0 if none."""
        ...

    def engine_version(self) -> str:
        """Return the version of the database engine."""
        ...

    def check(self) -> list[str]:
        """Return the inconsistencies of the store; empty if there are none."""
        ...


# --- selection of many rows by primary key -------------------------------------------------------

_IN_LIST = 5000


def conditions(
    column: ColumnElement[int], pks: Ids | Sequence[int]
) -> Iterator[ColumnElement[bool]]:
    """Yield disjoint conditions that together select the rows whose `column` is in `pks`.

    Rows written together have consecutive pks: such a run is one range, which needs no bound
    values.
    """
    chosen = sorted_unique(np.asarray(pks, np.int64))
    if len(chosen) > 1 and chosen[-1] - chosen[0] == len(chosen) - 1:
        yield column.between(int(chosen[0]), int(chosen[-1]))
        return
    for start in range(0, len(chosen), _IN_LIST):
        yield column.in_(chosen[start : start + _IN_LIST].tolist())


def one_of(column: ColumnElement[int], pks: Iterable[int]) -> ColumnElement[bool]:
    """Return one condition that `column` is among `pks`, however many: they are not bound."""
    values = [int(pk) for pk in pks]
    return column.in_(bindparam(None, values, expanding=True, literal_execute=True))


def is_current_space(space: FromClause, collection_pk: Any) -> ColumnElement[bool]:
    """Return the condition that a row of `space` is the current space of a collection.

    `collection_pk` is a number, or the column of a table to be joined.
    """
    return and_(space.c.collection_pk == collection_pk, space.c.beside.is_not(True))
