"""The extraction of what waits: claimed with a lease, done in threads, written a batch at a time.

A lease names its process, which renews it while it lives, however long one content takes. A process
that has died, or whose lease ran out, loses its work to the next: only who holds the lease writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select

from lookalike.blobs import Blobs
from lookalike.documents import NewDocument, Target, write_documents
from lookalike.erasing import erase_documents, vanished
from lookalike.errors import BadContent
from lookalike.extractors.base import Content, Part, accepts
from lookalike.forgotten import places, unshown
from lookalike.ingest import Progress, Tally
from lookalike.leases import Heartbeat, end, has_died, lease_end, own_name, time_of
from lookalike.model import Status
from lookalike.objects import finish, let_wait
from lookalike.operations import Operations, Running
from lookalike.renaming import Seen, recognise
from lookalike.spaces import in_force_now, outdate
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Store, Txn
from lookalike.stores.selection import one_of
from lookalike.thumbnails import Thumbnails
from lookalike.views import render, view_of
from lookalike.waiting import (
    MISSING,
    NOTHING,
    Done,
    Waiting,
    as_said_now,
    extracted_before,
    not_read,
    read_content,
    tasks_of,
    waiting_from,
)

_CLAIM_OBJECTS = 256
_WRITE_OBJECTS = 256
_WRITE_S = 2.0

_Batch = list[tuple[Waiting, Done]]


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
        self._owner = ""

    def run(self, target: Target, tally: Tally, actor: str, progress: Progress) -> None:
        """Extract until nothing waits. Interrupted, what was not written waits again.

        `progress` is told every two seconds; what it raises ends the work.
        """
        done, total = 0, self._count(target)
        self._owner, pool = own_name(), ThreadPoolExecutor(self._threads)
        try:
            with Heartbeat(partial(self._renew, target)):
                for batch in self._finished(target, pool, partial(self._claim, target)):
                    self._write(target, batch, tally, actor)
                    done += len(batch)
                    progress(done, max(total, done))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            end(self._owner)
            try:
                self._release(target)
            finally:
                pool.shutdown(wait=True)

    def found(self, target: Target, claim: Callable[[], list[Waiting]]) -> Iterator[_Batch]:
        """Yield what is found in the objects that `claim` gives until it gives none, in batches.

        A batch may be empty: one comes at least every two seconds.
        Nothing is written but what a person will be shown.
        """
        pool = ThreadPoolExecutor(self._threads)
        try:
            for batch in self._finished(target, pool, claim):
                yield batch
                self._forget_thumbnails(batch)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    # --- claim ----------------------------------------------------------------------------------

    def _count(self, target: Target) -> int:
        table = schema.extraction
        query = select(func.count().label("n")).where(
            table.c.collection_pk == target.pk, table.c.status != Status.FAILED
        )
        with self._store.read() as snapshot:
            return int(snapshot.rows(query)[0].n)

    def _claim(self, target: Target) -> list[Waiting]:
        table, object_ = schema.extraction, schema.object_
        with self._store.claim() as txn:
            if not in_force_now(txn, target.space):
                return []
            chosen = (
                select(table.c.object_pk)
                .where(table.c.collection_pk == target.pk, self._is_free(txn, target))
                .order_by(table.c.object_pk)
                .limit(_CLAIM_OBJECTS)
            )
            held = [row.object_pk for row in txn.rows(chosen.with_for_update(skip_locked=True))]
            mine = {
                "collection_pk": target.pk,
                "status": Status.PROCESSING,
                "owner": self._owner,
                "expires_at": lease_end(txn, self._clock()),
            }
            txn.update(table, [{"object_pk": pk, **mine} for pk in held])
            # Read when nobody can change them unnoticed: who does takes them away again.
            objects = select(object_).where(one_of(object_.c.pk, held))
            rows = txn.rows(objects.order_by(object_.c.pk))
        return [waiting_from(row, target) for row in rows]

    def _is_free(self, snapshot: Snapshot, target: Target) -> ColumnElement[bool]:
        """Return the condition that nobody who lives is at an object."""
        table = schema.extraction
        taken = table.c.status == Status.PROCESSING
        here = (table.c.collection_pk == target.pk) & taken & table.c.owner.is_not(None)
        owners = [row.owner for row in snapshot.rows(select(table.c.owner).distinct().where(here))]
        dead = [owner for owner in owners if has_died(owner)]
        ended = table.c.expires_at < time_of(snapshot, self._clock())
        left = and_(table.c.owner != self._owner, or_(ended, table.c.owner.in_(dead)))
        return or_(table.c.status == Status.PENDING, and_(taken, left))

    def _renew(self, target: Target) -> None:
        with self._store.claim() as txn:
            self._change_held(txn, target, expires_at=lease_end(txn, self._clock()))

    def _release(self, target: Target) -> None:
        with self._store.claim() as txn:
            waits = {"status": Status.PENDING, "owner": None, "expires_at": None}
            self._change_held(txn, target, **waits)

    def _change_held(self, txn: Txn, target: Target, **values: Any) -> None:
        """Change the rows that this process holds, but for those that someone is just changing."""
        table = schema.extraction
        mine = (table.c.collection_pk == target.pk) & (table.c.owner == self._owner)
        chosen = select(table.c.object_pk).where(mine, table.c.status == Status.PROCESSING)
        held = [row.object_pk for row in txn.rows(chosen.with_for_update(skip_locked=True))]
        key = {"collection_pk": target.pk}
        txn.update(table, [{**key, "object_pk": pk, **values} for pk in held])

    # --- extract --------------------------------------------------------------------------------

    def _finished(
        self, target: Target, pool: ThreadPoolExecutor, claim: Callable[[], list[Waiting]]
    ) -> Iterator[_Batch]:
        """Yield batches of finished objects every two seconds: a crash costs no more.

        One that takes longer is waited for with empty batches. Equal contents are extracted once.
        """
        asking: dict[str, list[Waiting]] = {}
        running: set[Future[list[tuple[str, Done]]]] = set()
        finished: _Batch = []
        exhausted, yielded_at = False, self._clock()
        while True:
            if not exhausted and len(running) < 2 * self._threads:
                claimed = claim()
                exhausted = not claimed
                finished += [
                    (one, NOTHING if one.nothing else MISSING)
                    for one in claimed
                    if one.blob is None
                ]
                known = self._known(target, claimed, asking, finished)
                finished += known
                new = {one.pk for one in claimed} - {one.pk for one, _ in known}
                rest = [one for one in claimed if one.pk in new and one.blob is not None]
                running |= self._submit(pool, target, rest, asking)
            if running:
                ready, running = wait(running, timeout=_WRITE_S, return_when=FIRST_COMPLETED)
                for content, done in (pair for future in ready for pair in future.result()):
                    first, *others = asking.pop(content)
                    finished.append((first, done))
                    if done.error is None:
                        finished += [(one, done) for one in others]
                    else:  # the file of one may be gone, that of another not
                        running |= self._submit(pool, target, others, asking)
            due = len(finished) >= _WRITE_OBJECTS or self._clock() - yielded_at > _WRITE_S
            if due or (finished and not running):
                yield finished
                finished, yielded_at = [], self._clock()
            if exhausted and not running:
                return

    def _known(
        self,
        target: Target,
        claimed: Sequence[Waiting],
        asking: dict[str, list[Waiting]],
        finished: Sequence[tuple[Waiting, Done]],
    ) -> _Batch:
        """Return those whose content has been extracted likewise before, or a moment ago."""
        just = {one.content: done for one, done in finished if one.blob and done.error is None}
        asked = [one for one in claimed if one.blob is not None]
        new = {one.content for one in asked if one.alone} - asking.keys() - just.keys()
        with self._store.read() as snapshot:
            parts = extracted_before(snapshot, target, sorted(new))
        results = just | {digest: Done(found, None) for digest, found in parts.items()}
        return [(one, results[one.content]) for one in asked if one.content in results]

    def _submit(
        self,
        pool: ThreadPoolExecutor,
        target: Target,
        claimed: Sequence[Waiting],
        asking: dict[str, list[Waiting]],
    ) -> set[Future[list[tuple[str, Done]]]]:
        new = []
        for one in claimed:
            if one.content not in asking:
                new.append(one)
            asking.setdefault(one.content, []).append(one)
        return {pool.submit(self._extract, target, task) for task in tasks_of(new)}

    def _extract(self, target: Target, task: Sequence[Waiting]) -> list[tuple[str, Done]]:
        results: list[tuple[str, Done]] = []
        readable: list[tuple[Waiting, Content]] = []
        for one in task:
            try:
                readable.append((one, self._read(target, one)))
            except BadContent as error:
                results.append((one.content, Done((), str(error))))
        outcomes = target.extractor.extract([content for _, content in readable])
        with self._store.read() as snapshot:
            gone = places(snapshot, [one.pk for one, _ in readable])
        for (one, content), outcome in zip(readable, outcomes, strict=True):
            if isinstance(outcome, BadContent):
                results.append((one.content, Done((), str(outcome))))
                continue
            assert one.blob is not None
            shown = [part for part in outcome if not one.has_forgotten(part, gone)]
            self._keep_views(one.blob.sha256, content, shown)
            seen = tuple(replace(part, picture=None) for part in outcome)
            results.append((one.content, Done(seen, None, dict(content.refused))))
        return results

    def _read(self, target: Target, one: Waiting) -> Content:
        assert one.blob is not None
        if not accepts(target.extractor, one.blob.media_type):
            raise BadContent(not_read(one.name, one.blob.media_type, target.extractor.accepts))
        return read_content(
            one.name,
            (one.blob, one.beside),
            self._blobs.read,
            max_pixels=self._max_pixels,
            regions=one.regions,
        )

    def _keep_views(self, sha256: str, content: Content, parts: Sequence[Part]) -> None:
        """Keep what a person will be shown of a content, now that it is decoded."""
        is_picture = content.media_type.startswith("image/")
        for part in parts:
            view = view_of(part.attributes)
            if part.picture is not None:
                self._thumbnails.keep(sha256, part.picture, view)
            elif view and is_picture:
                self._thumbnails.keep(sha256, render(content, view), view)
        if is_picture:  # last: what is there already, such as a scan set upright, stays
            self._thumbnails.keep(sha256, content.picture())

    # --- write ----------------------------------------------------------------------------------

    def _write(self, target: Target, batch: _Batch, tally: Tally, actor: str) -> None:
        if not batch:
            return
        with self._store.read() as snapshot:
            held = self._still_held(snapshot, target, batch, self._mine(target, batch))
        if held:
            self._write_held(target, held, tally, actor)
        self._forget_thumbnails(batch)

    def _write_held(self, target: Target, batch: _Batch, tally: Tally, actor: str) -> None:
        with self._operations.operate(target.pk, "add", actor) as running:
            mine = self._mine(target, batch).with_for_update()  # till all of it is written
            held = self._still_held(running.txn, target, batch, mine)
            batch = as_said_now(running.txn, held)
            documents = [
                NewDocument(
                    one.pk, one.id, one.name, one.blob.sha256, one.metadata, part, one.said_by
                )
                for one, done in batch
                if one.blob is not None
                for part in done.parts
            ]
            outdate(running.txn, target.pk, [one.pk for one, _ in batch])
            found = {
                one.pk: Seen(one.blob.sha256, done.parts)
                for one, done in batch
                if one.blob is not None and done.error is None
            }
            recognise(running.txn, target.pk, target.space, found)
            self._erase_vanished(running, target, batch)
            made = write_documents(self._operations, running, target, documents)
            finish(running.txn, target.pk, [one.pk for one, done in batch if done.error is None])
            failed = {one.pk: done.complaint for one, done in batch if done.complaint is not None}
            let_wait(running.txn, target.pk, failed)
        tally.arrived(running, made)
        for one, done in batch:
            if done.error is not None:
                tally.fail(one.name, done.error)
            for key, reason in done.refused.items():
                tally.fail(f"{one.name} {key}", reason)

    def _erase_vanished(self, running: Running, target: Target, batch: _Batch) -> None:
        """Erase the documents of parts that are not there any more."""
        parts = {
            one.pk: {part.key for part in done.parts}
            for one, done in batch
            if one.blob is not None and done.error is None
        }
        given = {one.pk for one, _ in batch if one.regions is not None}
        gone = vanished(running.txn, target.pk, parts, given)
        if gone:
            erase_documents(self._operations, running, gone)

    def _still_held(
        self,
        snapshot: Snapshot,
        target: Target,
        batch: _Batch,
        mine: Select[tuple[int]],
    ) -> _Batch:
        """Return what is still this process's: not changed, forgotten or removed meanwhile.

        Nothing is, once the collection has changed to another extractor.
        """
        if not in_force_now(snapshot, target.space):
            return []
        held = {row.object_pk for row in snapshot.rows(mine)}
        return [(one, done) for one, done in batch if one.pk in held]

    def _mine(self, target: Target, batch: Sequence[tuple[Waiting, Done]]) -> Select[tuple[int]]:
        """Return the statement that selects, of a batch, the objects that this process holds."""
        table = schema.extraction
        mine = (table.c.collection_pk == target.pk) & (table.c.owner == self._owner)
        these = one_of(table.c.object_pk, [one.pk for one, _ in batch])
        return select(table.c.object_pk).where(mine, these)

    def _forget_thumbnails(self, batch: Sequence[tuple[Waiting, Done]]) -> None:
        """Erase the thumbnails that were made of what was forgotten meanwhile."""
        object_, document = schema.object_, schema.document
        waiting = [one for one, _ in batch]
        with self._store.read() as snapshot:
            query = select(object_.c.pk).where(one_of(object_.c.pk, [one.pk for one in waiting]))
            there = {row.pk for row in snapshot.rows(query)}
            digests = {one.blob.sha256 for one in waiting if one.blob and one.pk not in there}
            known = document.c.sha256.in_([bytes.fromhex(digest) for digest in digests])
            rows = snapshot.rows(select(document.c.sha256).distinct().where(known))
            gone = places(snapshot, sorted(there))
            views = {
                (one.blob.sha256, view_of(part.attributes))
                for one, done in batch
                for part in done.parts
                if one.blob and one.has_forgotten(part, gone)
            }
            hidden = unshown(snapshot, views)
        for digest in digests - {row.sha256.hex() for row in rows}:
            self._thumbnails.forget(digest)
        for digest, view in hidden:
            self._thumbnails.forget_view(digest, view)
