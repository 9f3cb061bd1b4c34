"""Copy a whole store to another place, of the same or the other kind, and compare the two.

The copy has everything that cannot be computed again: all rows, with their pks and the ledger; all
vectors; all stored bytes. Vectors get new slots, without gaps.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np
from sqlalchemy import Row, Table, func, select, tuple_

from lookalike.content.blobs import Blobs
from lookalike.errors import BadContent, BadInput, Conflict, NotAStore, StoreCorrupt
from lookalike.model import Blob, Progress, quiet
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, StoredSpace, Txn, stored_space
from lookalike.stores.open import OpenedStore, StoreAddress

_PAGE_ROWS = 5000
_OWN_KEYS = ("schema_version", "store_id", "erasures")
"""The keys in `meta` that each store has for itself."""
_RESET: dict[str, Any] = {"next_slot": 0, "generation": 0}


@dataclass(frozen=True, slots=True)
class Copied:
    """The result of a copy: rows by table, vectors, stored bytes, and which are `missing`."""

    source: str
    target: str
    rows: Mapping[str, int]
    vectors: int
    blobs: int
    missing: tuple[str, ...] = field(default=())


def copy_store(source: str, target: str, *, blobs: str = "", progress: Progress = quiet) -> Copied:
    """Copy the store at one address to another, which has none or an empty one, and compare them.

    Readers and writers continue; the copy shows the moment when it began. After an interruption
    there is no copy. `blobs` is where the copy stores uploads and copies (default: by its
    settings).

    Raises NotAStore if there is no source, BadInput for one address twice, Conflict if the target
    is not empty, BadSetting if it has no place for stored bytes, StoreUnreachable if these cannot
    be read or written, StoreCorrupt if the copy differs.
    """
    copied, copy = StoreAddress(source), StoreAddress(target)
    if not copied.is_there():
        raise NotAStore(f"there is no store in {copied.shown()!r}; name the one to copy")
    if copied.shown() == copy.shown():
        raise BadInput(f"{copied.shown()!r} cannot be copied onto itself; name another target")
    with ExitStack() as stack:
        override = {"LOOKALIKE_BLOBS": blobs} if blobs else {}
        from_store = _opened(copied, os.environ, stack)
        to_store = _opened(copy, {**os.environ, **override}, stack)
        return _Copying(from_store, to_store, progress).run()


def _opened(
    place: StoreAddress, environment: Mapping[str, str], stack: ExitStack
) -> tuple[OpenedStore, Blobs]:
    settings = place.settings(environment)
    opened = place.open(settings, environment)
    stack.callback(opened.store.close)
    return opened, Blobs(opened.blobs, max_bytes=settings.max_blob_bytes)


class _Copying:
    """One copy; `source` and `target` are stores with their storage of bytes."""

    def __init__(
        self,
        source: tuple[OpenedStore, Blobs],
        target: tuple[OpenedStore, Blobs],
        progress: Progress,
    ) -> None:
        self._source, self._source_blobs = source
        self._target, self._target_blobs = target
        self._progress = progress
        self._done = self._total = 0

    def run(self) -> Copied:
        with self._source.store.read() as snapshot:
            self._total = 2 * sum(_count(snapshot, table) for table in _tables())
            blobs, missing = self._copy_blobs(snapshot)
            with self._target.store.write() as txn:
                _check_empty(txn, self._target)
                rows = {table.name: self._copy_rows(snapshot, txn, table) for table in _tables()}
                vectors = sum(
                    self._copy_vectors(snapshot, txn, stored_space(row))
                    for row in snapshot.rows(select(schema.space))
                )
                for table in schema.numbered():
                    txn.number_from(table, self._source.store.last_numbers()[table.name])
            with self._target.store.read() as copy:
                self._compare(snapshot, copy)
        problems = self._target.store.check()
        if problems:
            raise _differs(self._target, problems[0])
        self._target.store.tidy()
        return Copied(self._source.shown, self._target.shown, rows, vectors, blobs, missing)

    def _copy_rows(self, snapshot: Snapshot, txn: Txn, table: Table) -> int:
        count = 0
        for page in _pages(snapshot, table):
            txn.insert(table, [_stored(table, row) for row in page])
            count += len(page)
            self._step(len(page))
        return count

    def _copy_vectors(self, snapshot: Snapshot, txn: Txn, space: StoredSpace) -> int:
        copy = StoredSpace(space.pk, space.name, space.dimension, 0, space.members)
        pks = snapshot.slots(space)[1]
        for start in range(0, len(pks), _PAGE_ROWS):
            block = pks[start : start + _PAGE_ROWS]
            txn.append_vectors(copy, block, snapshot.vectors(space, block))
        return len(pks)

    def _copy_blobs(self, snapshot: Snapshot) -> tuple[int, tuple[str, ...]]:
        """Copy stored bytes, before the rows that name them; return missing ones, too."""
        count, missing = 0, []
        for blob in _stored_blobs(snapshot):
            try:
                data = self._source_blobs.read(blob)
            except BadContent:
                missing.append(blob.uri)
                continue
            self._target_blobs.keep(data)
            count += 1
        return count, tuple(sorted(missing))

    def _compare(self, snapshot: Snapshot, copy: Snapshot) -> None:
        """Raise StoreCorrupt if the copy has other content."""
        for table in _tables():
            for one, other in zip_longest(
                _pages(snapshot, table), _pages(copy, table), fillvalue=list[Row[Any]]()
            ):
                expected = [_stored(table, row) for row in one]
                if expected != [_stored(table, row) for row in other]:
                    raise _differs(self._target, f"table {table.name}")
                self._step(len(one))
        for row in snapshot.rows(select(schema.space)):
            space = stored_space(row)
            pks, others = snapshot.slots(space)[1], copy.slots(space)[1]
            if not np.array_equal(pks, others):
                raise _differs(self._target, f"documents of the space {space.name}")
            for start in range(0, len(pks), _PAGE_ROWS):
                block = pks[start : start + _PAGE_ROWS]
                if not np.array_equal(snapshot.vectors(space, block), copy.vectors(space, block)):
                    raise _differs(self._target, f"vectors of the space {space.name}")

    def _step(self, count: int) -> None:
        self._done += count
        self._progress(self._done, self._total)


def _tables() -> list[Table]:
    """Return the tables whose rows are copied; `embedding` is copied with the vectors."""
    return [table for table in schema.metadata.sorted_tables if table is not schema.embedding]


def _count(snapshot: Snapshot, table: Table) -> int:
    return int(snapshot.rows(select(func.count().label("n")).select_from(table))[0].n)


def _check_empty(txn: Txn, target: OpenedStore) -> None:
    for table in _tables():
        if any(_pages(txn, table)):
            raise Conflict(
                f"{target.shown} is not empty (table {table.name}); copy to another target"
            )


def _pages(snapshot: Snapshot, table: Table) -> Iterator[Sequence[Row[Any]]]:
    """Yield the rows of a table by rising key, in pages that fit in memory."""
    keys = list(table.primary_key)
    query = select(table).order_by(*keys)
    if table is schema.meta:
        query = query.where(table.c.key.not_in(_OWN_KEYS))
    page = snapshot.rows(query.limit(_PAGE_ROWS))
    while page:
        yield page
        last = tuple_(*(page[-1]._mapping[key] for key in keys))
        page = snapshot.rows(query.where(tuple_(*keys) > last).limit(_PAGE_ROWS))


def _stored(table: Table, row: Row[Any]) -> dict[str, Any]:
    """Return a row for the insert."""
    values = dict(row._mapping)
    return values | _RESET if table is schema.space else values


def _stored_blobs(snapshot: Snapshot) -> Iterator[Blob]:
    """Yield the blobs that objects and uploads have in the store, each once."""
    seen = set()
    for table, column in ((schema.object_, "blobs"), (schema.upload, "blob")):
        for page in _pages(snapshot, table):
            for row in page:
                stored = row._mapping[column] or []
                for one in stored if isinstance(stored, list) else [stored]:
                    if one["uri"].startswith("blob:") and one["uri"] not in seen:
                        seen.add(one["uri"])
                        yield Blob(**one)


def _differs(target: OpenedStore, what: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"the copy in {target.shown} differs from the source: {what}; remove it and copy again"
    )
