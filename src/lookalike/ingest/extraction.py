"""Extraction of pending objects: claim with a lease, extract in threads, write in batches.

A process renews its lease while it lives, however long one content takes. If a process dies or its
lease expires, another process takes its objects: only the holder of the lease writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select

from lookalike.catalog.objects import finish, mark_pending, places, unshown
from lookalike.catalog.spaces import delete_stale_findings, is_still_current
from lookalike.catalog.tasks import Heartbeat, end, has_died, lease_end, new_owner, time_of
from lookalike.content.blobs import Blobs, Thumbnails
from lookalike.content.boxes import view_of
from lookalike.decisions.operations import Operations, Running
from lookalike.errors import BadContent
from lookalike.extractors.base import Content
from lookalike.extractors.previews import views_of
from lookalike.ingest.documents import NewDocument, Target, write_documents
from lookalike.ingest.erasure import erase_documents, removed_parts
from lookalike.ingest.executors import (
    Done,
    Engine,
    Executor,
    ExecutorContext,
    PendingObject,
    Results,
    Task,
    ThreadExecutor,
    View,
    extracted_before,
    pending_from,
    read_pending,
    tasks_of,
    with_current_metadata,
    without_content,
)
from lookalike.ingest.items import Tally
from lookalike.ingest.part_matching import ExtractedContent, match_new_parts
from lookalike.model import Progress, Status
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Store, Txn, one_of

_CLAIM_OBJECTS = 256
_WRITE_OBJECTS = 256
_WRITE_S = 2.0

_Batch = list[tuple[PendingObject, Done]]


class Extraction:
    """Extracts the pending objects of a collection. `clock` gives UTC seconds."""

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
        self._owner = ""

    def run(
        self,
        target: Target,
        tally: Tally,
        actor: str,
        progress: Progress,
        engine: Engine | None = None,
    ) -> None:
        """Extract until nothing is pending, in local threads or on an `engine`.

        After an interruption, unwritten objects are pending again. `progress` is called every two
        seconds; an exception in it stops the work.
        """
        done, total = 0, self._count(target)
        executor = (
            self._threads_for(target) if engine is None else engine.executor(self._context(target))
        )
        self._owner = new_owner()
        try:
            with Heartbeat(partial(self._renew, target)):
                for batch in self._finished(target, executor, partial(self._claim, target)):
                    self._write(target, batch, tally, actor)
                    done += len(batch)
                    progress(done, max(total, done))
        finally:
            executor.drop()
            end(self._owner)
            try:
                self._release(target)
            finally:
                executor.close()

    def found(self, target: Target, claim: Callable[[], list[PendingObject]]) -> Iterator[_Batch]:
        """Yield the results for the objects that `claim` gives, in batches, until it gives none.

        A batch comes at least every two seconds; it may be empty. Nothing is written except views.
        """
        executor = self._threads_for(target)
        try:
            for batch in self._finished(target, executor, claim):
                yield batch
                self._forget_thumbnails(batch)
        finally:
            executor.close()

    # --- claim ----------------------------------------------------------------------------------

    def _count(self, target: Target) -> int:
        table = schema.extraction
        query = select(func.count().label("n")).where(
            table.c.collection_pk == target.pk, table.c.status != Status.FAILED
        )
        with self._store.read() as snapshot:
            return int(snapshot.rows(query)[0].n)

    def _claim(self, target: Target) -> list[PendingObject]:
        table, object_ = schema.extraction, schema.object_
        with self._store.claim() as txn:
            if not is_still_current(txn, target.space):
                return []
            chosen = (
                select(table.c.object_pk, table.c.error)
                .where(table.c.collection_pk == target.pk, self._is_free(txn, target))
                .order_by(table.c.object_pk)
                .limit(_CLAIM_OBJECTS)
            )
            found = txn.rows(chosen.with_for_update(skip_locked=True))
            errors = {row.object_pk: row.error for row in found}
            values = {
                "collection_pk": target.pk,
                "status": Status.PROCESSING,
                "owner": self._owner,
                "expires_at": lease_end(txn, self._clock()),
            }
            txn.update(table, [{"object_pk": pk, **values} for pk in errors])
            # Read the objects inside the claim: a later change would take them away from us.
            objects = select(object_).where(one_of(object_.c.pk, list(errors)))
            rows = txn.rows(objects.order_by(object_.c.pk))
        return [pending_from(row, target, errors[row.pk]) for row in rows]

    def _is_free(self, snapshot: Snapshot, target: Target) -> ColumnElement[bool]:
        """Return the condition that no living process has claimed an object."""
        table = schema.extraction
        taken = table.c.status == Status.PROCESSING
        owned = (table.c.collection_pk == target.pk) & taken & table.c.owner.is_not(None)
        owners = [row.owner for row in snapshot.rows(select(table.c.owner).distinct().where(owned))]
        dead = [owner for owner in owners if has_died(owner)]
        expired = table.c.expires_at < time_of(snapshot, self._clock())
        abandoned = and_(table.c.owner != self._owner, or_(expired, table.c.owner.in_(dead)))
        return or_(table.c.status == Status.PENDING, and_(taken, abandoned))

    def _renew(self, target: Target) -> None:
        with self._store.claim() as txn:
            self._change_held(txn, target, expires_at=lease_end(txn, self._clock()))

    def _release(self, target: Target) -> None:
        with self._store.claim() as txn:
            pending = {"status": Status.PENDING, "owner": None, "expires_at": None}
            self._change_held(txn, target, **pending)

    def _change_held(self, txn: Txn, target: Target, **values: Any) -> None:
        """Update the rows that this process holds, except rows that another process is changing."""
        table = schema.extraction
        own = (table.c.collection_pk == target.pk) & (table.c.owner == self._owner)
        chosen = select(table.c.object_pk).where(own, table.c.status == Status.PROCESSING)
        held = [row.object_pk for row in txn.rows(chosen.with_for_update(skip_locked=True))]
        key = {"collection_pk": target.pk}
        txn.update(table, [{**key, "object_pk": pk, **values} for pk in held])

    # --- extract --------------------------------------------------------------------------------

    def _finished(
        self, target: Target, executor: Executor, claim: Callable[[], list[PendingObject]]
    ) -> Iterator[_Batch]:
        """Yield batches of finished objects every two seconds, so a crash loses at most that.

        While a content takes longer, empty batches are yielded. Equal contents are extracted once.
        """
        in_progress: dict[str, list[PendingObject]] = {}
        finished: _Batch = []
        exhausted, yielded_at = False, self._clock()
        while True:
            if not exhausted and executor.has_room:
                claimed = claim()
                exhausted = not claimed
                finished += [(one, without_content(one)) for one in claimed if one.blob is None]
                known = self._known(target, claimed, in_progress, finished)
                finished += known
                new = {one.pk for one in claimed} - {one.pk for one, _ in known}
                rest = [one for one in claimed if one.pk in new and one.blob is not None]
                _submit(executor, rest, in_progress)
            if in_progress and (exhausted or not executor.has_room):
                for content, done in executor.results():
                    first, *others = in_progress.pop(content)
                    finished.append((first, done))
                    if done.error is None:
                        finished += [(one, done) for one in others]
                    else:  # the file of another object with this content may still exist
                        _submit(executor, others, in_progress)
            due = len(finished) >= _WRITE_OBJECTS or self._clock() - yielded_at > _WRITE_S
            if due or (finished and not in_progress):
                yield finished
                finished, yielded_at = [], self._clock()
            if exhausted and not in_progress:
                return

    def _known(
        self,
        target: Target,
        claimed: Sequence[PendingObject],
        in_progress: dict[str, list[PendingObject]],
        finished: Sequence[tuple[PendingObject, Done]],
    ) -> _Batch:
        """Return the objects whose content was already extracted in the same way."""
        recent = {one.content: done for one, done in finished if one.blob and done.error is None}
        pending = [one for one in claimed if one.blob is not None]
        new = {one.content for one in pending if one.is_single_input}
        new -= in_progress.keys() | recent.keys()
        with self._store.read() as snapshot:
            parts = extracted_before(snapshot, target, sorted(new))
        results = recent | {digest: Done(found, None) for digest, found in parts.items()}
        return [(one, results[one.content]) for one in pending if one.content in results]

    def _extract(self, target: Target, task: Task) -> Results:
        results: Results = []
        readable: list[tuple[PendingObject, Content]] = []
        for one in task:
            try:
                content = read_pending(one, target.extractor, self._blobs.read, self._max_pixels)
                readable.append((one, content))
            except BadContent as error:
                results.append((one.content, Done((), str(error))))
        outcomes = target.extractor.extract([content for _, content in readable])
        with self._store.read() as snapshot:
            forgotten = places(snapshot, [one.pk for one, _ in readable])
        for (one, content), outcome in zip(readable, outcomes, strict=True):
            if isinstance(outcome, BadContent):
                results.append((one.content, Done((), str(outcome))))
                continue
            assert one.blob is not None
            shown = [part for part in outcome if not one.has_forgotten(part, forgotten)]
            for view, picture in views_of(content, shown):
                self._thumbnails.keep(one.blob.sha256, picture, view)
            parts = tuple(replace(part, picture=None) for part in outcome)
            results.append((one.content, Done(parts, None, dict(content.refused))))
        return results

    def _context(self, target: Target) -> ExecutorContext:
        locally = partial(self._extract, target)
        return ExecutorContext(target, self._blobs, self._max_pixels, locally, self._keep_views)

    def _threads_for(self, target: Target) -> ThreadExecutor:
        return ThreadExecutor(partial(self._extract, target), self._threads)

    def _keep_views(self, one: PendingObject, done: Done, views: Sequence[View]) -> None:
        """Store views that were made elsewhere, except those of forgotten parts."""
        assert one.blob is not None
        with self._store.read() as snapshot:
            forgotten = places(snapshot, [one.pk])
        hidden = {
            place for place, part in enumerate(done.parts) if one.has_forgotten(part, forgotten)
        }
        for view in views:
            if view.place not in hidden:
                self._thumbnails.keep_jpeg(one.blob.sha256, view.jpeg, view.view)

    # --- write ----------------------------------------------------------------------------------

    def _write(self, target: Target, batch: _Batch, tally: Tally, actor: str) -> None:
        if not batch:
            return
        with self._store.read() as snapshot:
            held = self._still_held(snapshot, target, batch, self._held_query(target, batch))
        if held:
            self._write_held(target, held, tally, actor)
        self._forget_thumbnails(batch)

    def _write_held(self, target: Target, batch: _Batch, tally: Tally, actor: str) -> None:
        with self._operations.operate(target.pk, "add", actor) as running:
            query = self._held_query(target, batch).with_for_update()  # locked until all is written
            held = self._still_held(running.txn, target, batch, query)
            batch = with_current_metadata(running.txn, held)
            documents = [
                NewDocument(
                    one.pk, one.id, one.name, one.blob.sha256, one.metadata, part, one.said_by
                )
                for one, done in batch
                if one.blob is not None
                for part in done.parts
            ]
            delete_stale_findings(running.txn, target.pk, [one.pk for one, _ in batch])
            found = {
                one.pk: ExtractedContent(one.blob.sha256, done.parts)
                for one, done in batch
                if one.blob is not None and done.error is None
            }
            match_new_parts(running.txn, target.pk, target.space, found)
            self._erase_removed_parts(running, target, batch)
            made = write_documents(self._operations, running, target, documents)
            finish(running.txn, target.pk, [one.pk for one, done in batch if done.error is None])
            failed = {one.pk: done.message for one, done in batch if done.message is not None}
            mark_pending(running.txn, target.pk, failed)
        tally.arrived(running, made)
        for one, done in batch:
            if done.error is not None:
                tally.fail(one.name, done.error)
            for key, reason in done.refused.items():
                tally.fail(f"{one.name} {key}", reason)

    def _erase_removed_parts(self, running: Running, target: Target, batch: _Batch) -> None:
        """Erase the documents of parts that do not exist any more."""
        parts = {
            one.pk: {part.key for part in done.parts}
            for one, done in batch
            if one.blob is not None and done.error is None
        }
        given = {one.pk for one, _ in batch if one.regions is not None}
        removed = removed_parts(running.txn, target.pk, parts, given)
        if removed:
            erase_documents(self._operations, running, removed)

    def _still_held(
        self,
        snapshot: Snapshot,
        target: Target,
        batch: _Batch,
        query: Select[tuple[int]],
    ) -> _Batch:
        """Return the objects that this process still holds: not changed or removed meanwhile.

        None of them, if the collection has switched to another extractor.
        """
        if not is_still_current(snapshot, target.space):
            return []
        held = {row.object_pk for row in snapshot.rows(query)}
        return [(one, done) for one, done in batch if one.pk in held]

    def _held_query(
        self, target: Target, batch: Sequence[tuple[PendingObject, Done]]
    ) -> Select[tuple[int]]:
        """Return the statement that selects the objects of a batch that this process holds."""
        table = schema.extraction
        own = (table.c.collection_pk == target.pk) & (table.c.owner == self._owner)
        in_batch = one_of(table.c.object_pk, [one.pk for one, _ in batch])
        return select(table.c.object_pk).where(own, in_batch)

    def _forget_thumbnails(self, batch: Sequence[tuple[PendingObject, Done]]) -> None:
        """Erase the thumbnails of objects that were forgotten meanwhile."""
        object_, document = schema.object_, schema.document
        waiting = [one for one, _ in batch]
        with self._store.read() as snapshot:
            query = select(object_.c.pk).where(one_of(object_.c.pk, [one.pk for one in waiting]))
            existing = {row.pk for row in snapshot.rows(query)}
            digests = {one.blob.sha256 for one in waiting if one.blob and one.pk not in existing}
            known = document.c.sha256.in_([bytes.fromhex(digest) for digest in digests])
            rows = snapshot.rows(select(document.c.sha256).distinct().where(known))
            forgotten = places(snapshot, sorted(existing))
            views = {
                (one.blob.sha256, view_of(part.attributes))
                for one, done in batch
                for part in done.parts
                if one.blob and one.has_forgotten(part, forgotten)
            }
            hidden = unshown(snapshot, views)
        for digest in digests - {row.sha256.hex() for row in rows}:
            self._thumbnails.forget(digest)
        for digest, view in hidden:
            self._thumbnails.forget_view(digest, view)


def _submit(
    executor: Executor,
    claimed: Sequence[PendingObject],
    in_progress: dict[str, list[PendingObject]],
) -> None:
    """Submit objects for extraction, unless another one with the same content is in progress."""
    new = []
    for one in claimed:
        if one.content not in in_progress:
            new.append(one)
        in_progress.setdefault(one.content, []).append(one)
    executor.take(tasks_of(new))
