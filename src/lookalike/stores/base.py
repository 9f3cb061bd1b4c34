"""What the rest of Lookalike sees of a store.

A store gives snapshots (consistent reads) and transactions (one atomic, durable unit of writing).
Statements are SQLAlchemy Core over `schema.py`; vectors come and go through the methods here, so
neither engine nor index shows. `lookalike.testing.stores.StoreContract` is the law in tests.
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
    """A space as a collection holds it: its vectors are in a file (or table) of their own."""

    pk: int
    name: str
    dimension: int
    generation: int
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True)
class Packed:
    """That the vectors of a space, as it is now, lie close together: the i-th was in `slots[i]`."""

    space: StoredSpace
    slots: Ids

    def moved(self, slots: Ids) -> Ids | None:
        """Return where vectors that were in `slots` (n,) are now; what is below 0 stays.

        None where one of them is not here.
        """
        place = np.searchsorted(self.slots, slots)
        here = np.append(self.slots, -1)[place] == slots
        return np.where(slots < 0, slots, place) if np.all(here | (slots < 0)) else None


@dataclass(frozen=True, slots=True)
class Compaction:
    """What a store took on the disk before and takes after, and which spaces were packed."""

    packed: tuple[Packed, ...]
    bytes_before: int
    bytes_after: int


def members_from(stored: Sequence[tuple[str, int]] | None) -> tuple[Member, ...]:
    """Return the members that the table `space` holds of one."""
    return tuple(Member(name, dimension) for name, dimension in stored or ())


def space_columns(space: Space) -> dict[str, Any]:
    """Return what a new row of the table `space` holds of one."""
    members = [[member.name, member.dimension] for member in space.members] or None
    columns = {"name": space.name, "dimension": space.dimension, "members": members}
    return {**columns, "generation": 0, "next_slot": 0}


def stored_space(row: Row[Any]) -> StoredSpace:
    """Return a row of the table `space` as what the store's methods take."""
    members = members_from(row.members)
    return StoredSpace(row.pk, row.name, row.dimension, row.generation, members)


Cells = Mapping[str, Sequence[Any]]
"""Many rows as columns, by name: values of the first row, of the second, …"""


def cells_of(rows: Sequence[Mapping[str, Any]]) -> Cells:
    """Return rows, all with the same columns, as columns."""
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


class Snapshot(Protocol):
    """A consistent view: what commits after it began is not seen."""

    def rows(self, select: Select[Any]) -> Sequence[Row[Any]]:
        """Return all rows of a statement."""
        ...

    def tuples(self, select: Select[Any]) -> list[tuple[Any, ...]]:
        """Return all rows of a statement over text and numbers, as the driver gives them.

        For many rows: SQLAlchemy takes longer to make a row than a database to find it.
        """
        ...

    def numbers(self, select: Select[Any]) -> Ids:
        """Return all rows of a statement over whole numbers, int64 (n, columns)."""
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
        """Return what the database's own clock shows, in UTC seconds; None where it has none.

        It goes on while the snapshot lasts.
        """
        ...


class Coverable(Snapshot, Protocol):
    """A snapshot that can be made to show other rows than the store has, which stays as it is."""

    def show_rows(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """From now on show these rows, all with the same columns, in place of the table's own."""
        ...

    def show_only(self, table: Table, condition: ColumnElement[bool]) -> None:
        """From now on show only those of a table's own rows for which a condition holds."""
        ...


class Txn(Snapshot, Protocol):
    """One atomic unit: all of it is durable when the block ends, or none of it happened."""

    def execute(self, statement: UpdateBase) -> int:
        """Run an update or delete; return how many rows it touched."""
        ...

    def insert(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert many rows; an existing primary key is an error."""
        ...

    def insert_cells(self, table: Table, cells: Cells) -> None:
        """Insert as `insert` does what is at hand in columns."""
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
        """Change rows that exist: each mapping holds the primary key and the new values."""
        ...

    def update_cells(self, table: Table, cells: Cells) -> None:
        """Change as `update` does what is at hand in columns, those of the primary key included."""
        ...

    def append_vectors(
        self, space: StoredSpace, document_pks: Ids, vectors: NDArray[np.float16]
    ) -> None:
        """Give documents a vector; one that has one already gets a new one."""
        ...

    def erase_vectors(self, space: StoredSpace, document_pks: Ids) -> None:
        """Take vectors away and overwrite their bytes."""
        ...

    def number_from(self, table: Table, last: int) -> None:
        """Let a numbered table give no pk up to `last` any more."""
        ...


class Readable(Protocol):
    """What gives snapshots: a store, or one as it was."""

    def read(self) -> AbstractContextManager[Coverable]:
        """Begin a snapshot."""
        ...


class Following(Protocol):
    """That somebody is told of commits."""

    @property
    def is_live(self) -> bool:
        """Return whether commits are told as they happen; if not, look from time to time."""
        ...

    def stop(self) -> None:
        """Be told no more. Stopping twice is harmless."""
        ...


class Store(Readable, Protocol):
    """Where everything is kept."""

    def write(self) -> AbstractContextManager[Txn]:
        """Begin a transaction; writers of all processes take turns.

        Raises StoreUnwritable when the disk is full or the place read-only; nothing is then kept.
        """
        ...

    def claim(self) -> AbstractContextManager[Txn]:
        """Begin a transaction that changes who holds work, and nothing else.

        It waits for no one who writes, where the engine keeps rows apart. So that nobody waits in a
        circle, rows are chosen `with_for_update(skip_locked=True)` before they are changed.
        """
        ...

    def follow(self, tell: Callable[[], None]) -> Following | None:
        """Let `tell` be called, by another thread, whenever any process may have committed.

        None where nothing tells of commits: look from time to time.
        """
        ...

    def tidy(self) -> None:
        """Fold the write-ahead log in, so that nothing that was erased lingers there."""
        ...

    def compact(self, tell: Callable[[int, int], None]) -> Compaction:
        """Give back the room that nothing uses; who wants to write waits, who reads goes on.

        `tell` hears how much of how much is done. Interrupted, or where the disk is full
        (StoreUnwritable), all is as it was or as it shall be.
        """
        ...

    def close(self) -> None:
        """Release files and locks. Closing twice is harmless."""
        ...

    def last_numbers(self) -> dict[str, int]:
        """Return the last pk that each numbered table gave, 0 where it gave none."""
        ...

    def engine_version(self) -> str:
        """Return the version of the database engine."""
        ...

    def check(self) -> list[str]:
        """Return what contradicts itself in the store; empty when it is sound."""
        ...


# --- selection of many rows by primary key -------------------------------------------------------

_IN_LIST = 5000


def conditions(
    column: ColumnElement[int], pks: Ids | Sequence[int]
) -> Iterator[ColumnElement[bool]]:
    """Yield conditions, each true for other rows, that choose those whose `column` is in `pks`.

    What was written together has pks without gaps: that is one range, which costs nothing to bind.
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


def in_force(space: FromClause, collection_pk: Any) -> ColumnElement[bool]:
    """Return the condition that a row of `space` is the one that a collection's documents are in.

    `collection_pk` is a number, or the column of a table to be joined.
    """
    return and_(space.c.collection_pk == collection_pk, space.c.beside.is_not(True))
