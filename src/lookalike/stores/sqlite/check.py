"""Whether an embedded store contradicts itself: the database, and the vectors that it names.

Only columns that every version has are read, so that a store need not be of this version.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from sqlalchemy import select

from lookalike.errors import StoreCorrupt
from lookalike.stores import schema
from lookalike.stores.base import StoredSpace
from lookalike.stores.sqlite.snapshot import SqliteSnapshot

_PART_ROWS = 65536
_NORM_SLACK = 0.01


def problems_of(snapshot: SqliteSnapshot) -> Iterator[str]:
    """Yield what contradicts itself in a store."""
    for (line,) in snapshot.connection.exec_driver_sql("PRAGMA integrity_check"):
        if line != "ok":
            yield f"database: {line}"
    for space, _ in spaces_of(snapshot):
        yield from _check_space(snapshot, space)


def spaces_of(snapshot: SqliteSnapshot) -> list[tuple[StoredSpace, int]]:
    """Return all spaces, without their members, each with the slot that it gives next."""
    table = schema.space
    kept = (table.c.pk, table.c.name, table.c.dimension, table.c.generation, table.c.next_slot)
    rows = snapshot.rows(select(*kept).order_by(table.c.pk))
    return [
        (StoredSpace(row.pk, row.name, row.dimension, row.generation), row.next_slot)
        for row in rows
    ]


def _check_space(snapshot: SqliteSnapshot, space: StoredSpace) -> list[str]:
    slots, pks = snapshot.slots(space)
    known = select(schema.document.c.pk)
    documents = {row.pk for row in snapshot.rows(known)}
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
