"""Preparing: the objects of a collection, extracted into a space beside the one in force.

Nothing that anyone sees changes. What is done has a finding, so a preparation that was interrupted
goes on where it stopped; one process at a time holds the lease of the space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select

from lookalike.counterparts import Part, counterparts
from lookalike.documents import Target
from lookalike.extraction import Extraction
from lookalike.forgotten import Forgotten, places
from lookalike.ingest import Progress
from lookalike.leases import own_name
from lookalike.spaces import (
    Finding,
    FoundPart,
    count_left,
    forget_failures,
    hold,
    let_go,
    objects_left,
    write_findings,
)
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Store
from lookalike.stores.selection import conditions, one_of
from lookalike.waiting import Done, Waiting, waiting_from

_CLAIM_OBJECTS = 256

_Batch = list[tuple[Waiting, Done]]


@dataclass(frozen=True, slots=True)
class _Known:
    """A document of an object, as the extractor in force calls it."""

    pk: int
    part: Part


class Preparation:
    """Extracts for a space that is beside; `target` has that space and what extracts for it."""

    def __init__(
        self, store: Store, extraction: Extraction, target: Target, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._extraction = extraction
        self._target = target
        self._clock = clock
        self._owner = own_name()
        self._after = 0
        self._written = 0

    def run(self, progress: Progress) -> int:
        """Extract until something is known of every object; return how many were extracted.

        What had failed is tried again. Raises Conflict while another process is at it.
        """
        space = self._target.space
        with self._store.write() as txn:
            hold(txn, space, self._owner, self._clock())
            forget_failures(txn, space)
            left = count_left(txn, self._target.row, space)
        self._written = 0
        try:
            while self._once(lambda: progress(self._written, max(left, self._written))):
                pass
        finally:
            with self._store.write() as txn:
                let_go(txn, space, self._owner)
        return self._written

    # --- inside ---------------------------------------------------------------------------------

    def _once(self, tell: Callable[[], None]) -> bool:
        """Extract what is left now, from the first object on; return whether anything was."""
        self._after, before = 0, self._written
        for batch in self._extraction.found(self._target, self._claim):
            self._written += self._write(batch)
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
            known = self._documents(txn, [one.pk for one, _ in batch])
            gone = places(txn, [one.pk for one, _ in batch])
            findings, vectors = [], dict[int, np.ndarray]()
            for one, done in batch:
                finding, own = _matched(one, done, known.get(one.pk, ()), gone, space.dimension)
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

    def _documents(self, snapshot: Snapshot, objects: Sequence[int]) -> dict[int, list[_Known]]:
        table = schema.document
        query = select(table).where(table.c.collection_pk == self._target.pk).order_by(table.c.pk)
        known: dict[int, list[_Known]] = {}
        for chosen in conditions(table.c.object_pk, objects):
            for row in snapshot.rows(query.where(chosen)):
                part = Part(row.part, row.attributes)
                known.setdefault(row.object_pk, []).append(_Known(row.pk, part))
        return known


def _matched(
    one: Waiting, done: Done, known: Sequence[_Known], gone: Forgotten, dimension: int
) -> tuple[Finding, dict[int, np.ndarray]]:
    """Return the finding of an object, and the vectors (d,) of those parts that are documents.

    What was forgotten is not found.
    """
    every = [Part(part.key, part.attributes) for part in done.parts]
    pairs = counterparts([document.part for document in known], every)
    kept = [
        place
        for place, part in enumerate(done.parts)
        if place in pairs or not one.has_forgotten(part, gone)
    ]
    found = [every[place] for place in kept]
    halves = [done.parts[place].vector.astype(np.float16) for place in kept]
    pks = [known[pairs[place]].pk if place in pairs else None for place in kept]
    parts = (FoundPart(pk, part.key, part.attributes) for pk, part in zip(pks, found, strict=True))
    new = [half for pk, half in zip(pks, halves, strict=True) if pk is None]
    vectors = np.stack(new) if new else np.empty((0, dimension), np.float16)
    sha256 = "" if one.blob is None else one.blob.sha256
    finding = Finding(one.pk, tuple(parts), vectors, sha256, done.error)
    return finding, {pk: half for pk, half in zip(pks, halves, strict=True) if pk is not None}


def _content(one: Waiting) -> str:
    return "" if one.blob is None else one.content
