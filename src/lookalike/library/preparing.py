"""Preparing: the objects of a collection, extracted into a space beside the one in force.

Nothing that anyone sees changes. What is done has a finding, so a preparation that was interrupted
goes on where it stopped; one process at a time holds the lease of the space.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from lookalike.catalog.forgotten import places
from lookalike.catalog.leases import Heartbeat, end, own_name
from lookalike.catalog.spaces import (
    count_left,
    forget_failures,
    hold,
    let_go,
    objects_left,
    write_findings,
)
from lookalike.ingest.documents import Target
from lookalike.ingest.executors import Done, Waiting, waiting_from
from lookalike.ingest.extraction import Extraction
from lookalike.ingest.part_matching import Seen, documents_of, matched
from lookalike.model import Progress
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Store
from lookalike.stores.selection import one_of

_CLAIM_OBJECTS = 256

_Batch = list[tuple[Waiting, Done]]


class Preparation:
    """Extracts for a space that is beside; `target` has that space and what extracts for it."""

    def __init__(
        self, store: Store, extraction: Extraction, target: Target, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._extraction = extraction
        self._target = target
        self._clock = clock
        self._owner = ""
        self._after = 0
        self._written = 0

    def run(self, progress: Progress) -> int:
        """Extract until something is known of every object; return how many were extracted.

        What had failed is tried again. Raises Conflict while another process is at it.
        """
        space, self._owner = self._target.space, own_name()
        with self._store.write() as txn:
            hold(txn, space, self._owner, self._clock())
            forget_failures(txn, space)
            left = count_left(txn, self._target.row, space)
        self._written = 0
        try:
            with Heartbeat(self._renew):
                while self._once(lambda: progress(self._written, max(left, self._written))):
                    pass
        finally:
            end(self._owner)
            with self._store.claim() as txn:
                let_go(txn, space, self._owner)
        return self._written

    # --- inside ---------------------------------------------------------------------------------

    def _renew(self) -> None:
        with self._store.claim() as txn:
            hold(txn, self._target.space, self._owner, self._clock())

    def _once(self, tell: Callable[[], None]) -> bool:
        """Extract what is left now, from the first object on; return whether anything was."""
        self._after, before = 0, self._written
        for batch in self._extraction.found(self._target, self._claim):
            self._written += self._write(batch) if batch else 0
            tell()
        return self._written > before

    def _claim(self) -> list[Waiting]:
        object_ = schema.object_
        query = objects_left(self._target.row, self._target.space)
        query = query.where(object_.c.pk > self._after).order_by(object_.c.pk)
        with self._store.read() as snapshot:
            rows = snapshot.rows(query.limit(_CLAIM_OBJECTS))
        self._after = rows[-1].pk if rows else self._after
        return [waiting_from(row, self._target) for row in rows]

    def _write(self, batch: _Batch) -> int:
        space = self._target.space
        with self._store.write() as txn:
            hold(txn, space, self._owner, self._clock())
            batch = self._still_left(txn, batch)
            objects = [one.pk for one, _ in batch]
            known, gone = documents_of(txn, self._target.pk, objects), places(txn, objects)
            findings, vectors = [], dict[int, np.ndarray]()
            for one, done in batch:
                sha256 = "" if one.blob is None else one.blob.sha256
                is_gone = partial(one.has_forgotten, gone=gone)
                seen = Seen(sha256, done.parts, done.error, is_gone)
                finding, own = matched(one.pk, seen, known.get(one.pk, ()), space.dimension)
                findings.append(finding)
                vectors |= own
            pks = np.array(sorted(vectors), np.int64)
            if len(pks):
                txn.append_vectors(space, pks, np.stack([vectors[pk] for pk in pks.tolist()]))
            write_findings(txn, space, findings)
        return len(batch)

    def _still_left(self, snapshot: Snapshot, batch: _Batch) -> _Batch:
        """Return what has not been forgotten, changed or done meanwhile."""
        chosen = one_of(schema.object_.c.pk, [one.pk for one, _ in batch])
        rows = snapshot.rows(objects_left(self._target.row, self._target.space).where(chosen))
        now = {row.pk: waiting_from(row, self._target) for row in rows}
        return [
            (one, done)
            for one, done in batch
            if one.pk in now and _content(now[one.pk]) == _content(one)
        ]


def _content(one: Waiting) -> str:
    return "" if one.blob is None else one.content
