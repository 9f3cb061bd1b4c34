"""The shared store: PostgreSQL with pgvector, for several servers and workers.

The tables are those of the embedded store; the table `vector` has what is a file there. Search is
exact and reads a copy of the vectors on the local disk (`mirror.py`), which follows from the table.

```
ROOT/vectors/  ROOT/cache/    derived: may be deleted at any time
```
Writers of all processes take turns by an advisory lock; numbers of rows and slots are given in
turns, too, so they rise with the commits.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    column,
    delete,
    select,
    table,
    text,
    update,
)
from sqlalchemy.sql.dml import UpdateBase
from ulid import ULID

from lookalike.errors import NotFound, StoreClosed
from lookalike.stores import schema, search
from lookalike.stores.base import StoredSpace, stored_space
from lookalike.stores.directory import erase_vectors_but
from lookalike.stores.migrations import version_of
from lookalike.stores.mirror import Fetch, Mirrors, contradictions, fetched
from lookalike.stores.postgres_engine import (
    Address,
    open_engine,
    prepare,
    translated,
)
from lookalike.stores.postgres_rows import (
    as_literal,
    copy_vectors_in,
    copy_vectors_out,
    cover,
    insert_rows,
    narrow,
    sequence_of,
    update_rows,
    upsert_rows,
)
from lookalike.stores.postgres_tables import bring_up, identity
from lookalike.stores.search import Floats, Ids
from lookalike.stores.selection import conditions
from lookalike.turns import Turns

_ERASURES = "erasures"
_ALL = 2**62
_FEW_VECTORS = 2000
_SLACK = 1e-3
"""More than pgvector's sums in single precision can err for vectors of length 1."""
_VECTOR = table("vector", column("space_pk"), column("slot"))


class PostgresStore:
    """A store in the database at `address`, made when there is none.

    What is derived is below `caches`, in the directory `root` that is the store's own. Raises
    StoreUnreachable, NotAStore, StoreTooOld, StoreTooNew or StoreUnwritable, each with its cure.
    Safe for several threads, which write in the order of asking; not to be used after a fork.
    """

    def __init__(self, address: Address, caches: Path) -> None:
        self.address = address
        self._turns = Turns()
        self._closed = False
        digest = hashlib.sha256(f"lookalike {address.schema}".encode()).digest()
        self._lock_key = int.from_bytes(digest[:8], "big", signed=True)
        prepare(address)
        self._engine = open_engine(address)
        self._finalizer = weakref.finalize(self, self._engine.dispose)
        try:
            self.root = caches / self._migrated()
        except BaseException:
            self._finalizer()
            raise
        for folder in ("vectors", "cache"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        self._mirrors = Mirrors(self.root)

    @property
    def place(self) -> str:
        """Return where the store is, without a password."""
        return self.address.shown

    def close(self) -> None:
        """Release connections, once a write in progress has ended. Twice is harmless."""
        with self._turns.taken(first=True):
            self._closed = True
            self._finalizer()

    @contextmanager
    def read(self) -> Iterator[PostgresSnapshot]:
        """Begin a snapshot. It lasts, also when the store is closed meanwhile."""
        self._check_open()
        options = {"isolation_level": "REPEATABLE READ"}
        with (
            translated(self.address),
            self._engine.connect().execution_options(**options) as connection,
        ):
            connection.exec_driver_sql("SELECT 1")  # BEGIN alone takes no snapshot
            yield PostgresSnapshot(connection, self._mirrors)

    @contextmanager
    def write(self) -> Iterator[PostgresTxn]:
        """Begin a transaction; writers of all processes take turns."""
        with self._turns.taken():
            self._check_open()
            with translated(self.address), self._engine.connect() as connection:
                with connection.begin():
                    self._take_lock(connection)
                    txn = PostgresTxn(connection, self._mirrors)
                    yield txn
                for space, slots in txn.erased:
                    self._mirrors.of(space).erase(slots)

    def tidy(self) -> None:
        """Erase vectors that no document holds any more, in the database and in its copy here.

        PostgreSQL overwrites the bytes of erased rows when it needs the room; VACUUM FULL at once.
        """
        with self.write() as txn:
            gone = "NOT EXISTS (SELECT 1 FROM embedding e WHERE e.space_pk = v.space_pk "
            txn.connection.exec_driver_sql(f"DELETE FROM vector v WHERE {gone}AND e.slot = v.slot)")
        with self.read() as snapshot:
            spaces = [stored_space(row) for row in snapshot.rows(select(schema.space))]
            erase_vectors_but(self.root, {f"{one.pk}.{one.generation}" for one in spaces})
            for space in spaces:
                self._mirrors.of(space).erase_but(snapshot.slots(space)[0], snapshot.count(space))
        with translated(self.address), self._engine.connect() as connection:
            free = connection.execution_options(isolation_level="AUTOCOMMIT")
            for name in ("vector", *schema.metadata.tables):
                free.exec_driver_sql(f'VACUUM (ANALYZE, SKIP_LOCKED) "{name}"')

    def last_numbers(self) -> dict[str, int]:
        """Return the last pk that each numbered table gave, 0 where it gave none."""
        query = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM"
        with self.read() as snapshot:
            run = snapshot.connection.exec_driver_sql
            return {
                one.name: run(f"{query} {sequence_of(one)}").scalar_one()
                for one in schema.numbered()
            }

    def engine_version(self) -> str:
        """Return the version of PostgreSQL."""
        with self.read() as snapshot:
            return str(snapshot.connection.exec_driver_sql("SHOW server_version").scalar_one())

    def check(self) -> list[str]:
        """Return what contradicts itself in the store; empty when it is sound."""
        with self.read() as snapshot:
            known = {row.pk for row in snapshot.rows(select(schema.document.c.pk))}
            spaces = [stored_space(row) for row in snapshot.rows(select(schema.space))]
            return [
                f"space {space.name}: {problem}"
                for space in spaces
                for problem in contradictions(
                    *snapshot.slots(space), snapshot.count(space), known, snapshot.fetch(space)
                )
            ]

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed(f"{self.place}: the store was closed; open it again to go on")

    def _migrated(self) -> str:
        """Let the tables be those of this version; return the store's identity."""
        with translated(self.address), self._engine.begin() as connection:
            if version_of(connection) != schema.SCHEMA_VERSION:
                self._take_lock(connection)
                bring_up(connection)
            return identity(connection)

    def _take_lock(self, connection: Connection) -> None:
        """Wait for one's turn to write, which lasts to the end of the transaction."""
        lock = text("SELECT pg_advisory_xact_lock(:key)")
        connection.execute(lock, {"key": self._lock_key})


class PostgresSnapshot:
    """A consistent view of the shared store."""

    def __init__(self, connection: Connection, mirrors: Mirrors) -> None:
        self.connection = connection
        self._mirrors = mirrors
        self._first_own: dict[int, int] = {}

    def rows(self, select: Select[Any]) -> Sequence[Row[Any]]:
        """Return all rows of a statement."""
        return self.connection.execute(select).all()

    def vectors(self, space: StoredSpace, document_pks: Ids) -> NDArray[np.float16]:
        """Return the vectors of documents, float16 (n, dimension), in the order asked."""
        pairs = self._slots_of(space, document_pks)
        absent = document_pks[~np.isin(document_pks, pairs[:, 0])]
        if len(absent):
            raise NotFound(f"document {absent[0]} has no vector in {space.name}")
        slots = pairs[np.searchsorted(pairs[:, 0], document_pks), 1]
        if not len(slots):
            return np.empty((0, space.dimension), np.float16)
        mirror, fetch = self._mirrors.of(space), self.fetch(space)
        count = int(slots.max()) + 1
        if count > self._shared(space) or (count > len(mirror) and len(slots) <= _FEW_VECTORS):
            return fetched(slots, space.dimension, fetch)
        self._filled(space, count)
        return mirror.rows(slots, fetch)

    def nearest(
        self, space: StoredSpace, queries: NDArray[np.floating], k: int, among: Ids
    ) -> tuple[Ids, Floats]:
        """Return the k nearest of `among` (ascending pks): pks and similarities (n, k)."""
        return search.nearest(queries, self.vectors(space, among), among, k)

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
        rows = self.rows(select(table.c.value).where(table.c.key == _ERASURES))
        seen, key = rows[0].value if rows else None, (space.pk, space.generation)
        if self._mirrors.erasures.get(key) != seen:
            mirror.erase_but(self.slots(space)[0], self.count(space))
            self._mirrors.erasures[key] = seen

    def _slots_of(self, space: StoredSpace, document_pks: Ids) -> Ids:
        table = schema.embedding
        query = select(table.c.document_pk, table.c.slot).order_by(table.c.document_pk)
        query = query.where(table.c.space_pk == space.pk)
        chosen = conditions(table.c.document_pk, document_pks)
        return _pairs([row for condition in chosen for row in self.rows(query.where(condition))])

    def fetch(self, space: StoredSpace) -> Fetch:
        """Return what reads vectors of a space from the database."""
        here = f"space_pk = {space.pk} AND "
        return lambda chosen: copy_vectors_out(self.connection, space.dimension, here + chosen)


class PostgresTxn(PostgresSnapshot):
    """One atomic unit of writing in the shared store. `erased` slots go from the copies, too."""

    def __init__(self, connection: Connection, mirrors: Mirrors) -> None:
        super().__init__(connection, mirrors)
        self.erased: list[tuple[StoredSpace, Ids]] = []

    def execute(self, statement: UpdateBase) -> int:
        """Run an update or delete; return how many rows it touched."""
        return self.connection.execute(statement).rowcount

    def insert(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert many rows; an existing primary key is an error."""
        if rows:
            insert_rows(self.connection, table, rows)

    def insert_one(self, table: Table, **values: Any) -> int:
        """Insert one row and return its pk."""
        key = self.connection.execute(table.insert(), values).inserted_primary_key
        return int(key[0]) if key is not None else 0

    def insert_returning(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """Insert many rows of a numbered table; return their pks, rising, in the same order."""
        if not rows:
            return []
        (column,) = table.primary_key
        given = text("SELECT nextval(:name) FROM generate_series(1, :count)")
        named = {"name": sequence_of(table), "count": len(rows)}
        pks = sorted(self.connection.execute(given, named).scalars().all())
        numbered = zip(pks, rows, strict=True)
        insert_rows(self.connection, table, [{column.name: pk, **row} for pk, row in numbered])
        return pks

    def upsert(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows, replacing those with the same primary key."""
        if rows:
            upsert_rows(self.connection, table, rows)

    def update(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Change rows that exist: each mapping holds the primary key and the new values."""
        if rows:
            update_rows(self.connection, table, rows)

    def append_vectors(
        self, space: StoredSpace, document_pks: Ids, vectors: NDArray[np.float16]
    ) -> None:
        """Give documents a vector; one that has one already gets a new one."""
        if not len(document_pks):
            return
        slot = self.count(space)
        self._first_own.setdefault(space.pk, slot)
        self._delete_embeddings(space, document_pks)
        slots = np.arange(slot, slot + len(document_pks))
        copy_vectors_in(self.connection, space.pk, slots, vectors)
        pairs = zip(slots.tolist(), document_pks.tolist(), strict=True)
        columns = [{"space_pk": space.pk, "slot": at, "document_pk": pk} for at, pk in pairs]
        self.insert(schema.embedding, columns)
        moved = update(schema.space).where(schema.space.c.pk == space.pk)
        self.execute(moved.values(next_slot=slot + len(document_pks)))

    def erase_vectors(self, space: StoredSpace, document_pks: Ids) -> None:
        """Take vectors away, here and, after the commit, from the copies on local disks."""
        if len(document_pks):
            self.erased.append((space, np.sort(self._slots_of(space, document_pks)[:, 1])))
            self._delete_embeddings(space, document_pks)
            self.upsert(schema.meta, [{"key": _ERASURES, "value": str(ULID())}])

    def number_from(self, table: Table, last: int) -> None:
        """Let a numbered table give no pk up to `last` any more."""
        raised = text("SELECT setval(:name, greatest(:last, nextval(:name) - 1) + 1, false)")
        self.connection.execute(raised, {"name": sequence_of(table), "last": last})

    def _delete_embeddings(self, space: StoredSpace, document_pks: Ids) -> None:
        slots = np.sort(self._slots_of(space, document_pks)[:, 1])
        for kept in (_VECTOR, schema.embedding):
            for chosen in conditions(kept.c.slot, slots):
                self.execute(delete(kept).where(kept.c.space_pk == space.pk, chosen))


def _pairs(rows: Sequence[Row[Any]]) -> Ids:
    return np.array([tuple(row) for row in rows], np.int64).reshape(-1, 2)
