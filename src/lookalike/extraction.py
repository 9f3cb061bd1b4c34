"""The extraction of what waits: claimed with a lease, done in threads, written a batch at a time.

A lease names its process, which renews it while it lives. A process that has died, or whose lease
ran out, loses its work to the next: only who holds the lease writes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sqlalchemy import and_, func, or_, select, update

from lookalike.blobs import Blobs
from lookalike.documents import NewDocument, Target, write_documents
from lookalike.errors import BadContent
from lookalike.extractors.base import Content, Part
from lookalike.ingest import Progress, Tally, accepts
from lookalike.leases import has_died, own_name
from lookalike.model import Blob, Status
from lookalike.objects import finish, input_of, labels_as_they_stand
from lookalike.operations import Operations
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Store, StoredSpace
from lookalike.stores.selection import one_of
from lookalike.thumbnails import Thumbnails

_LEASE_S = 120.0
_RENEW_S = _LEASE_S / 4
_CLAIM_OBJECTS = 256
_TASK_OBJECTS = 8
_WRITE_OBJECTS = 256
_WRITE_S = 2.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An object that this process has claimed."""

    pk: int
    id: str
    name: str
    metadata: Mapping[str, Any]
    blob: Blob | None
    said_by: Collection[str]
    nothing: bool
    """Whether the object has nothing for this collection, which is no failure."""


@dataclass(frozen=True, slots=True)
class _Done:
    """What came out of one content: parts, or the reason why there are none."""

    parts: tuple[Part, ...]
    error: str | None


class Extraction:
    """Extracts what waits in a collection. `clock` gives UTC seconds."""

    def __init__(
        self,
        store: Store,
        operations: Operations,
        blobs: Blobs,
        thumbnails: Thumbnails,
        clock: Callable[[], float],
        *,
        threads: int,
        max_pixels: int,
    ) -> None:
        self._store = store
        self._operations = operations
        self._blobs = blobs
        self._thumbnails = thumbnails
        self._clock = clock
        self._threads = threads
        self._max_pixels = max_pixels
        self._owner = own_name()
        self._renewed_at = clock()

    def run(self, target: Target, tally: Tally, actor: str, progress: Progress) -> None:
        """Extract until nothing waits. Interrupted, what was not written waits again."""
        done, total = 0, self._count(target)
        pool = ThreadPoolExecutor(self._threads)
        try:
            for batch in self._finished(target, pool):
                self._write(target, batch, tally, actor)
                done += len(batch)
                progress(done, max(total, done))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            self._release(target)

    # --- claim ----------------------------------------------------------------------------------

    def _count(self, target: Target) -> int:
        table = schema.extraction
        query = select(func.count().label("n")).where(
            table.c.collection_pk == target.pk, table.c.status != Status.FAILED
        )
        with self._store.read() as snapshot:
            return int(snapshot.rows(query)[0].n)

    def _claim(self, target: Target) -> list[_Waiting]:
        table, object_ = schema.extraction, schema.object_
        with self._store.write() as txn:
            free = or_(
                table.c.status == Status.PENDING,
                and_(
                    table.c.status == Status.PROCESSING,
                    table.c.owner != self._owner,
                    or_(
                        table.c.expires_at < self._clock(),
                        table.c.owner.in_(self._dead_owners(txn, target)),
                    ),
                ),
            )
            chosen = (
                select(object_)
                .join(table, table.c.object_pk == object_.c.pk)
                .where(table.c.collection_pk == target.pk, free)
                .order_by(object_.c.pk)
                .limit(_CLAIM_OBJECTS)
            )
            rows = txn.rows(chosen)
            mine = {
                "status": Status.PROCESSING,
                "owner": self._owner,
                "expires_at": self._clock() + _LEASE_S,
            }
            key = {"collection_pk": target.pk}
            txn.update(table, [{**key, "object_pk": row.pk, **mine} for row in rows])
        return [_waiting(row, target) for row in rows]

    def _dead_owners(self, snapshot: Snapshot, target: Target) -> list[str]:
        table = schema.extraction
        query = select(table.c.owner).distinct()
        rows = snapshot.rows(
            query.where(table.c.collection_pk == target.pk, table.c.owner.is_not(None))
        )
        return [row.owner for row in rows if has_died(row.owner)]

    def _renew(self, target: Target) -> None:
        """Keep what this process has claimed, however long one content takes."""
        now = self._clock()
        if now - self._renewed_at < _RENEW_S:
            return
        table = schema.extraction
        mine = (table.c.collection_pk == target.pk) & (table.c.owner == self._owner)
        with self._store.write() as txn:
            txn.execute(update(table).where(mine).values(expires_at=now + _LEASE_S))
        self._renewed_at = now

    def _release(self, target: Target) -> None:
        table = schema.extraction
        mine = (table.c.collection_pk == target.pk) & (table.c.owner == self._owner)
        with self._store.write() as txn:
            waiting = update(table).where(mine, table.c.status == Status.PROCESSING)
            txn.execute(waiting.values(status=Status.PENDING, owner=None, expires_at=None))

    # --- extract --------------------------------------------------------------------------------

    def _finished(
        self, target: Target, pool: ThreadPoolExecutor
    ) -> Iterator[list[tuple[_Waiting, _Done]]]:
        """Yield batches of finished objects, at least every two seconds: a crash costs no more.

        Equal contents are extracted once.
        """
        asking: dict[str, list[_Waiting]] = {}
        running: set[Future[list[tuple[str, _Done]]]] = set()
        finished: list[tuple[_Waiting, _Done]] = []
        exhausted, yielded_at = False, self._clock()
        while True:
            if not exhausted and len(running) < 2 * self._threads:
                claimed = self._claim(target)
                exhausted = not claimed
                finished += [
                    (one, _NOTHING if one.nothing else _MISSING)
                    for one in claimed
                    if one.blob is None
                ]
                known = self._known(target, claimed, asking, finished)
                finished += known
                new = {one.pk for one in claimed} - {one.pk for one, _ in known}
                rest = [one for one in claimed if one.pk in new and one.blob is not None]
                running |= self._submit(pool, target, rest, asking)
            if running:
                ready, running = wait(running, timeout=_RENEW_S, return_when=FIRST_COMPLETED)
                self._renew(target)
                for sha256, done in (pair for future in ready for pair in future.result()):
                    first, *others = asking.pop(sha256)
                    finished.append((first, done))
                    if done.error is None:
                        finished += [(one, done) for one in others]
                    else:  # the file of one may be gone, that of another not
                        running |= self._submit(pool, target, others, asking)
            due = len(finished) >= _WRITE_OBJECTS or self._clock() - yielded_at > _WRITE_S
            if finished and (due or not running):
                yield finished
                finished, yielded_at = [], self._clock()
            if exhausted and not running:
                return

    def _known(
        self,
        target: Target,
        claimed: Sequence[_Waiting],
        asking: dict[str, list[_Waiting]],
        finished: Sequence[tuple[_Waiting, _Done]],
    ) -> list[tuple[_Waiting, _Done]]:
        """Return those whose content has been extracted in this space before, or a moment ago."""
        just = {one.blob.sha256: done for one, done in finished if one.blob and done.error is None}
        digests = {one.blob.sha256 for one in claimed if one.blob is not None} - asking.keys()
        with self._store.read() as snapshot:
            parts = _extracted_before(snapshot, target.space, sorted(digests - just.keys()))
        results = just | {digest: _Done(found, None) for digest, found in parts.items()}
        return [
            (one, results[one.blob.sha256])
            for one in claimed
            if one.blob is not None and one.blob.sha256 in results
        ]

    def _submit(
        self,
        pool: ThreadPoolExecutor,
        target: Target,
        claimed: Sequence[_Waiting],
        asking: dict[str, list[_Waiting]],
    ) -> set[Future[list[tuple[str, _Done]]]]:
        new = []
        for one in claimed:
            assert one.blob is not None
            if one.blob.sha256 not in asking:
                new.append(one)
            asking.setdefault(one.blob.sha256, []).append(one)
        tasks = (new[start : start + _TASK_OBJECTS] for start in range(0, len(new), _TASK_OBJECTS))
        return {pool.submit(self._extract, target, task) for task in tasks}

    def _extract(self, target: Target, task: Sequence[_Waiting]) -> list[tuple[str, _Done]]:
        results: list[tuple[str, _Done]] = []
        readable: list[tuple[str, Content]] = []
        for one in task:
            assert one.blob is not None
            try:
                readable.append((one.blob.sha256, self._content(target, one.name, one.blob)))
            except BadContent as error:
                results.append((one.blob.sha256, _Done((), str(error))))
        outcomes = target.extractor.extract([content for _, content in readable])
        for (sha256, content), outcome in zip(readable, outcomes, strict=True):
            if isinstance(outcome, BadContent):
                results.append((sha256, _Done((), str(outcome))))
                continue
            if "image" in target.extractor.accepts:
                self._thumbnails.keep(sha256, content.picture())
            results.append((sha256, _Done(outcome, None)))
        return results

    def _content(self, target: Target, name: str, blob: Blob) -> Content:
        if not accepts(target.extractor, blob.media_type):
            wanted = " or ".join(sorted(target.extractor.accepts))
            raise BadContent(
                f"{name!r} is {blob.media_type}, and this collection extracts {wanted}; "
                "add it to a collection with another extractor"
            )
        data = self._blobs.read(blob)
        return Content(data, blob.media_type, name=name, max_pixels=self._max_pixels)

    # --- write ----------------------------------------------------------------------------------

    def _write(
        self, target: Target, batch: list[tuple[_Waiting, _Done]], tally: Tally, actor: str
    ) -> None:
        with self._store.read() as snapshot:
            held = self._still_held(snapshot, target, batch)
        if held:
            self._write_held(target, held, tally, actor)
        self._forget_thumbnails([one for one, _ in batch])

    def _write_held(
        self, target: Target, batch: list[tuple[_Waiting, _Done]], tally: Tally, actor: str
    ) -> None:
        with self._operations.operate(target.pk, "add", actor) as running:
            batch = _as_said_now(running.txn, self._still_held(running.txn, target, batch))
            documents = [
                NewDocument(
                    one.pk, one.id, one.name, one.blob.sha256, one.metadata, part, one.said_by
                )
                for one, done in batch
                if one.blob is not None
                for part in done.parts
            ]
            made = write_documents(self._operations, running, target, documents)
            key = {"collection_pk": target.pk, "owner": None, "expires_at": None}
            running.txn.update(
                schema.extraction,
                [
                    {**key, "object_pk": one.pk, "status": Status.FAILED, "error": done.error}
                    for one, done in batch
                    if done.error is not None
                ],
            )
            finish(running.txn, target.pk, [one.pk for one, done in batch if done.error is None])
        tally.arrived(running, made)
        for one, done in batch:
            if done.error is not None:
                tally.fail(one.name, done.error)

    def _still_held(
        self, snapshot: Snapshot, target: Target, batch: list[tuple[_Waiting, _Done]]
    ) -> list[tuple[_Waiting, _Done]]:
        """Return what is still this process's: not changed, forgotten or removed meanwhile."""
        table = schema.extraction
        mine = (table.c.collection_pk == target.pk) & (table.c.owner == self._owner)
        held = {row.object_pk for row in snapshot.rows(select(table.c.object_pk).where(mine))}
        return [(one, done) for one, done in batch if one.pk in held]

    def _forget_thumbnails(self, batch: Sequence[_Waiting]) -> None:
        """Erase the thumbnails that were made of objects while these were forgotten."""
        object_, document = schema.object_, schema.document
        with self._store.read() as snapshot:
            query = select(object_.c.pk).where(one_of(object_.c.pk, [one.pk for one in batch]))
            there = {row.pk for row in snapshot.rows(query)}
            digests = {one.blob.sha256 for one in batch if one.blob and one.pk not in there}
            known = document.c.sha256.in_([bytes.fromhex(digest) for digest in digests])
            rows = snapshot.rows(select(document.c.sha256).distinct().where(known))
        for digest in digests - {row.sha256.hex() for row in rows}:
            self._thumbnails.forget(digest)


_MISSING = _Done((), "it has no content")
_NOTHING = _Done((), None)


def _as_said_now(
    snapshot: Snapshot, batch: list[tuple[_Waiting, _Done]]
) -> list[tuple[_Waiting, _Done]]:
    """Return objects with the metadata that they have now: a label may have come meanwhile."""
    table = schema.object_
    query = select(table.c.pk, table.c.metadata, table.c.said_by)
    rows = snapshot.rows(query.where(one_of(table.c.pk, [one.pk for one, _ in batch])))
    said_by = {row.pk: row.said_by or () for row in rows}
    metadata = labels_as_they_stand(snapshot, {row.pk: row.metadata for row in rows})
    return [
        (replace(one, metadata=metadata[one.pk], said_by=said_by[one.pk]), done)
        for one, done in batch
    ]


def _waiting(row: Any, target: Target) -> _Waiting:
    found = input_of(target.row, [Blob(**blob) for blob in row.blobs], row.metadata)
    fitting = (blob for blob in found or () if accepts(target.extractor, blob.media_type))
    blob = next(fitting, found[0] if found else None)
    said_by = row.said_by or ()
    return _Waiting(row.pk, row.id, row.name, row.metadata, blob, said_by, found is None)


def _extracted_before(
    snapshot: Snapshot, space: StoredSpace, digests: Sequence[str]
) -> dict[str, tuple[Part, ...]]:
    """Return the parts of contents that any collection has extracted in a space of this name."""
    document, embedding, stored = schema.document, schema.embedding, schema.space
    query = (
        select(document.c.sha256, document.c.pk, document.c.object_pk, document.c.part)
        .add_columns(document.c.attributes, stored)
        .join(embedding, embedding.c.document_pk == document.c.pk)
        .join(stored, stored.c.pk == embedding.c.space_pk)
        .where(document.c.sha256.in_([bytes.fromhex(digest) for digest in digests]))
        .where(stored.c.name == space.name)
        .order_by(document.c.pk)
    )
    owners: dict[str, tuple[int, int]] = {}
    parts: dict[str, list[Part]] = {}
    for row in snapshot.rows(query):
        digest = row.sha256.hex()
        owner = (row.collection_pk, row.object_pk)
        if owners.setdefault(digest, owner) != owner:
            continue
        its_space = StoredSpace(row.pk_1, row.name, row.dimension, row.generation)
        vector = snapshot.vectors(its_space, np.array([row.pk]))[0].astype(np.float32)
        parts.setdefault(digest, []).append(Part(vector, row.part, row.attributes))
    return {digest: tuple(found) for digest, found in parts.items()}
