"""Compaction of an embedded store's vectors, and the integrity check.

Compaction writes the vectors in use to a file of the space's next generation, in the order of their
slots; the transaction that records the new slots makes it the current one. Files left by a process
that was killed belong to no generation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from sqlalchemy import delete, select, update

from lookalike.errors import StoreCorrupt
from lookalike.stores import schema
from lookalike.stores.base import Packed, StoredSpace, Txn, stored_space
from lookalike.stores.sqlite.snapshot import SqliteSnapshot
from lookalike.stores.vectors import VectorFile

_BLOCK_ROWS = 50_000


def pack(
    txn: Txn, file_of: Callable[[StoredSpace], VectorFile], progress: Callable[[int, int], None]
) -> tuple[Packed, ...]:
    """Compact all spaces with free slots; return the moved slots."""
    spaces = [(stored_space(row), row.next_slot) for row in txn.rows(select(schema.space))]
    used = {space: txn.slots(space) for space, _ in spaces}
    with_gaps = [space for space, next_slot in spaces if len(used[space][0]) < next_slot]
    done, total = 0, sum(len(used[space][0]) for space in with_gaps)
    packed: list[Packed] = []
    try:
        for space in with_gaps:
            slots, pks = used[space]
            compacted = Packed(replace(space, generation=space.generation + 1), slots)
            packed.append(compacted)
            file, before = file_of(compacted.space), file_of(space)
            file.remove()
            for start in range(0, len(slots), _BLOCK_ROWS):
                part = slots[start : start + _BLOCK_ROWS]
                file.append(start, before.read(part))
                done += len(part)
                progress(done, total)
            _move(txn, compacted, pks.tolist())
    except BaseException:
        for one in packed:
            file_of(one.space).remove()
        raise
    return tuple(packed)


def bytes_of(path: Path) -> int:
    """Return the disk usage of database, vectors and sidecars of a store."""
    files = [*path.glob("lookalike.db*"), *path.glob("vectors/*"), *path.glob("cache/*")]
    size = 0
    for file in files:
        with suppress(FileNotFoundError):
            size += file.stat().st_blocks * 512 if file.is_file() else 0
    return size


def _move(txn: Txn, packed: Packed, pks: list[int]) -> None:
    """Record that the vectors of documents are in the slots from 0 on."""
    space, count, embedding = packed.space, len(pks), schema.embedding
    txn.execute(delete(embedding).where(embedding.c.space_pk == space.pk))
    cells = {"space_pk": [space.pk] * count, "slot": list(range(count)), "document_pk": pks}
    txn.insert_cells(embedding, cells)
    row = update(schema.space).where(schema.space.c.pk == space.pk)
    txn.execute(row.values(generation=space.generation, next_slot=count))


# --- integrity check of the database and its vectors ---------------------------------------------

# Only columns of every version are read, so the store need not be of this version.

_PART_ROWS = 65536
_NORM_SLACK = 0.01


def problems_of(snapshot: SqliteSnapshot) -> Iterator[str]:
    """Yield the inconsistencies of a store."""
    for (line,) in snapshot.connection.exec_driver_sql("PRAGMA integrity_check"):
        if line != "ok":
            yield f"database: {line}"
    for space, _ in spaces_of(snapshot):
        yield from _check_space(snapshot, space)


def spaces_of(snapshot: SqliteSnapshot) -> list[tuple[StoredSpace, int]]:
    """Return all spaces, without their members, each with its next slot."""
    table = schema.space
    columns = (table.c.pk, table.c.name, table.c.dimension, table.c.generation, table.c.next_slot)
    rows = snapshot.rows(select(*columns).order_by(table.c.pk))
    return [
        (StoredSpace(row.pk, row.name, row.dimension, row.generation), row.next_slot)
        for row in rows
    ]


def _check_space(snapshot: SqliteSnapshot, space: StoredSpace) -> list[str]:
    slots, pks = snapshot.slots(space)
    documents = {row.pk for row in snapshot.rows(select(schema.document.c.pk))}
    problems = [
        f"space {space.name}: slot {slot} names document {pk}, which does not exist"
        for slot, pk in zip(slots.tolist(), pks.tolist(), strict=True)
        if pk not in documents
    ]
    try:
        rows = snapshot.rows_of(space, int(slots[-1]) + 1 if len(slots) else 0)
    except StoreCorrupt as error:
        return [*problems, str(error)]
    for start in range(0, len(slots), _PART_ROWS):
        part = slots[start : start + _PART_ROWS]
        norms = np.linalg.norm(rows[part].astype(np.float32), axis=1)
        problems += [
            f"space {space.name}: the vector in slot {slot} has length {norm:.3f}, not 1"
            for slot, norm in zip(part.tolist(), norms.tolist(), strict=True)
            if abs(norm - 1) > _NORM_SLACK
        ]
    return problems
