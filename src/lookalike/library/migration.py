"""Migrate collections to another extractor: extract into a new space, compare, then switch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lookalike.catalog.idempotency import Request, refuse_repetition
from lookalike.catalog.objects import places
from lookalike.catalog.reader import fields_of
from lookalike.catalog.resources import CollectionRow
from lookalike.catalog.spaces import (
    count_left,
    count_lost_and_new,
    drop,
    failures,
    forget_failures,
    objects_left,
    release_lease,
    standby_spaces,
    take_lease,
    write_findings,
)
from lookalike.catalog.tasks import Heartbeat, end, new_owner
from lookalike.decisions.operations import Running
from lookalike.errors import BadInput
from lookalike.ingest.documents import Target
from lookalike.ingest.executors import Done, PendingObject, pending_from
from lookalike.ingest.extraction import Extraction
from lookalike.ingest.items import Tally
from lookalike.ingest.part_matching import ExtractedContent, documents_of, matched
from lookalike.library.migration_switch import Change, changes_to, switch
from lookalike.library.runtime import Runtime
from lookalike.model import Changed, Progress
from lookalike.quality.space_comparison import FieldComparison, compare
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Store, StoredSpace, one_of

# --- prepare: extract into a standby space -------------------------------------------------------

# The standby space is not visible to readers. Each extracted object gets a finding, so an
# interrupted preparation continues where it stopped; one process at a time holds the space's lease.

_CLAIM_OBJECTS = 256

_Batch = list[tuple[PendingObject, Done]]


class Preparation:
    """Extracts into a standby space; `target` has that space and its extractor."""

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
        """Extract until every object has a finding; return the number of extracted objects.

        It retries failed objects. Raises Conflict while another process holds the lease.
        """
        space, self._owner = self._target.space, new_owner()
        with self._store.write() as txn:
            take_lease(txn, space, self._owner, self._clock())
            forget_failures(txn, space)
            left = count_left(txn, self._target.row, space)
        self._written = 0
        try:
            with Heartbeat(self._renew):
                while self._pass(lambda: progress(self._written, max(left, self._written))):
                    pass
        finally:
            end(self._owner)
            with self._store.claim() as txn:
                release_lease(txn, space, self._owner)
        return self._written

    # --- helpers --------------------------------------------------------------------------------

    def _renew(self) -> None:
        with self._store.claim() as txn:
            take_lease(txn, self._target.space, self._owner, self._clock())

    def _pass(self, report: Callable[[], None]) -> bool:
        """Extract the objects left, from the first one on; return whether there were any."""
        self._after, before = 0, self._written
        for batch in self._extraction.found(self._target, self._claim):
            self._written += self._write(batch) if batch else 0
            report()
        return self._written > before

    def _claim(self) -> list[PendingObject]:
        object_ = schema.object_
        query = objects_left(self._target.row, self._target.space)
        query = query.where(object_.c.pk > self._after).order_by(object_.c.pk)
        with self._store.read() as snapshot:
            rows = snapshot.rows(query.limit(_CLAIM_OBJECTS))
        self._after = rows[-1].pk if rows else self._after
        return [pending_from(row, self._target) for row in rows]

    def _write(self, batch: _Batch) -> int:
        space = self._target.space
        with self._store.write() as txn:
            take_lease(txn, space, self._owner, self._clock())
            batch = self._still_left(txn, batch)
            objects = [one.pk for one, _ in batch]
            known, gone = documents_of(txn, self._target.pk, objects), places(txn, objects)
            findings, vectors = [], dict[int, np.ndarray]()
            for one, done in batch:
                sha256 = "" if one.blob is None else one.blob.sha256
                is_gone = partial(one.has_forgotten, gone=gone)
                seen = ExtractedContent(sha256, done.parts, done.error, is_gone)
                finding, own = matched(one.pk, seen, known.get(one.pk, ()), space.dimension)
                findings.append(finding)
                vectors |= own
            pks = np.array(sorted(vectors), np.int64)
            if len(pks):
                txn.append_vectors(space, pks, np.stack([vectors[pk] for pk in pks.tolist()]))
            write_findings(txn, space, findings)
        return len(batch)

    def _still_left(self, snapshot: Snapshot, batch: _Batch) -> _Batch:
        """Return the objects that were not erased, changed or extracted meanwhile."""
        chosen = one_of(schema.object_.c.pk, [one.pk for one, _ in batch])
        rows = snapshot.rows(objects_left(self._target.row, self._target.space).where(chosen))
        left = {row.pk: pending_from(row, self._target) for row in rows}
        return [
            (one, done)
            for one, done in batch
            if one.pk in left and _content(left[one.pk]) == _content(one)
        ]


def _content(one: PendingObject) -> str:
    return "" if one.blob is None else one.content


# -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Migration:
    """The comparison of collections with another extractor; nothing has changed yet.

    `before` and `after` name the embedding spaces. `extracted` counts the objects extracted for it;
    `failed` has the reason for each failed object. `without_counterpart` counts current documents
    without a matching part in the other space, `new_parts` the new documents there.
    """

    collections: tuple[str, ...]
    extractor: str
    before: str
    after: str
    extracted: int
    failed: Mapping[str, str]
    without_counterpart: int
    new_parts: int
    fields: tuple[FieldComparison, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class MigrationProgress:
    """The progress of a migration on a server: objects `left` to extract, or the result."""

    left: int
    migration: Migration | None = None
    changed: Changed | None = None


@dataclass(frozen=True, slots=True)
class DroppedSpaces:
    """The erased embedding spaces, by collection, with the counts of vectors and bytes."""

    spaces: Mapping[str, tuple[str, ...]]
    vectors: int
    freed_bytes: int


def prepare(
    runtime: Runtime,
    namespace: str,
    collections: Sequence[str],
    extractor: str,
    options: Mapping[str, Any] | None,
    confidence_threshold: float | None,
    progress: Progress,
) -> Migration:
    """Extract collections into the space of another extractor, and compare; change nothing else.

    If interrupted, the same call continues. Raises as `changes_to`.
    """
    begun, tally = time.perf_counter(), Tally()
    changes = changes_to(
        runtime.store, runtime.extractor, namespace, collections, extractor, options
    )
    extracted = _extract_left(runtime, changes, progress)
    spaces = {one.pk: one.after for one in changes}
    deciders = runtime.operations.deciders
    with runtime.store.read() as snapshot:
        counts = [count_lost_and_new(snapshot, one.pk, one.after) for one in changes]
        for name, error in (pair for one in changes for pair in failures(snapshot, one.after)):
            tally.fail(name, error)
        fields = [
            (one.row.name, field)
            for one in changes
            if one.before is not None
            for field in fields_of(snapshot, one.pk)
        ]
    return Migration(
        collections=tuple(one.row.name for one in changes),
        extractor=changes[0].target.row.extractor,
        before=next((one.before.name for one in changes if one.before is not None), ""),
        after=changes[0].after.name,
        extracted=extracted,
        failed=dict(tally.failed),
        without_counterpart=sum(lost for lost, _ in counts),
        new_parts=sum(new for _, new in counts),
        fields=tuple(
            compare(deciders, name, field, spaces, confidence_threshold) for name, field in fields
        ),
        seconds=time.perf_counter() - begun,
    )


def migrated(
    runtime: Runtime,
    namespace: str,
    collections: Sequence[str],
    extractor: str,
    options: Mapping[str, Any] | None,
    confidence_threshold: float | None,
    progress: Progress,
    op_id: str,
    also: Callable[[Running], None] | None = None,
) -> Changed:
    """Switch collections to another extractor in one operation, and return its changes.

    It first extracts what is left, and objects that arrive meanwhile afterwards. `also` does other
    work in the operation, before documents are decided again. Raises as `changes_to`, and Replayed
    for an operation that was done before.
    """
    arguments = (collections, extractor, options)
    request = Request.of(op_id, namespace, "migrate", *arguments, confidence_threshold)
    with runtime.store.read() as snapshot:
        refuse_repetition(snapshot, request)
    changes = changes_to(
        runtime.store, runtime.extractor, namespace, collections, extractor, options
    )
    _extract_left(runtime, changes, progress)
    operate = runtime.operations.operate
    with operate(changes[0].pk, "migrate", runtime.actor, request) as running:
        running.details["spaces"] = {
            one.row.name: [one.before.name if one.before else None, one.after.name]
            for one in changes
        }
        if also is not None:
            also(running)
        switch(runtime.operations, running, changes, confidence_threshold)
    for one in changes:
        target = runtime.target(one.row)
        runtime.extraction().run(target, Tally(), runtime.actor, progress)
    return running.changed()


def drop_standby(runtime: Runtime, rows: Sequence[CollectionRow]) -> DroppedSpaces:
    """Erase the standby spaces of collections, for good.

    Raises Conflict while a process extracts into one.
    """
    if not rows:
        raise BadInput("nothing to drop: give the collections whose old spaces to erase")
    with runtime.store.write() as txn:
        dropped = {row.name: [one.space for one in standby_spaces(txn, row.pk)] for row in rows}
        spaces = [space for own in dropped.values() for space in own]
        for space in spaces:
            take_lease(txn, space, "", runtime.clock())
        vectors = drop(txn, spaces)
    size = sum(_erase_files(runtime, space) for space in spaces)
    runtime.layouts.forget_erased()
    runtime.store.tidy()
    names = {name: tuple(space.name for space in own) for name, own in dropped.items()}
    return DroppedSpaces(names, vectors, size)


# --- helpers --------------------------------------------------------------------------------------


def _extract_left(runtime: Runtime, changes: Sequence[Change], progress: Progress) -> int:
    """Extract the objects left in all collections; return their number."""
    with runtime.store.read() as snapshot:
        total = sum(count_left(snapshot, one.row, one.after) for one in changes)
    done = 0
    for one in changes:
        preparation = Preparation(runtime.store, runtime.extraction(), one.target, runtime.clock)
        done += preparation.run(partial(_report, progress, done, total))
    return done


def _report(progress: Progress, before: int, total: int, done: int, _left: int) -> None:
    progress(before + done, max(total, before + done))


def _erase_files(runtime: Runtime, space: StoredSpace) -> int:
    """Erase the cache files of an erased space; return the size of all its files in bytes."""
    cache, vectors = runtime.root / "cache", runtime.root / "vectors"
    lists = list(cache.glob(f"lists.{space.pk}.*.npz"))
    files = [*vectors.glob(f"{space.pk}.*.f16"), *cache.glob(f"{space.pk}.*.*"), *lists]
    size = sum(file.stat().st_size for file in files)
    for file in lists:
        file.unlink(missing_ok=True)
    return size
