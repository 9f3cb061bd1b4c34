"""Server-sent events: a stream of a store's operations that a client can resume."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select

from lookalike.catalog.resources import Kind
from lookalike.errors import StoreBusy, StoreUnreachable
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Store

_POLL_S, _NOTIFIED_POLL_S = 0.25, 5.0
_PING_S = 15.0
_BATCH = 500


@dataclass(frozen=True, slots=True)
class OperationEvent:
    """An operation as an event; a client resumes after its `revision`."""

    revision: int
    operation: str
    kind: str
    collection_id: str | None
    actor: str
    at: datetime
    changed: dict[str, Any]


def operations_since(
    snapshot: Snapshot, namespace: str, revision: int, *, limit: int = _BATCH
) -> list[OperationEvent]:
    """Return up to `limit` operations of a namespace after a revision, oldest first."""
    operation, resource = schema.operation, schema.resource
    query = (
        select(operation, resource.c.name.label("collection"))
        .join(resource, resource.c.pk == operation.c.collection_pk)
        .where(operation.c.pk > revision, resource.c.namespace == namespace)
        .order_by(operation.c.pk)
        .limit(limit)
    )
    return [
        OperationEvent(
            row.pk,
            row.id,
            row.kind,
            None if row.collection is None else Kind.COLLECTION.prefix + row.collection,
            row.actor,
            datetime.fromtimestamp(row.at, UTC),
            {key: value for key, value in row.summary.items() if key != "request"},
        )
        for row in snapshot.rows(query)
    ]


def newest_revision(snapshot: Snapshot) -> int:
    """Return the revision of the latest operation; 0 without any."""
    rows = snapshot.rows(select(func.max(schema.operation.c.pk).label("newest")))
    return int(rows[0].newest or 0)


class Hub:
    """Polls the store once for all listeners, while there are any.

    It polls at once when the store notifies it of a commit, by any process, and at intervals. It
    ends the streams when `is_ending` tells that the server shuts down; while the store cannot be
    read, listeners wait.
    """

    def __init__(self, store: Store, is_ending: Callable[[], bool]) -> None:
        self._store = store
        self._is_ending = is_ending
        self._changed = asyncio.Condition()
        self._newest = -1
        self._listeners = 0
        self._poller: asyncio.Task[None] | None = None
        self._is_closed = False

    async def listen(
        self, namespace: str, since: int | None, is_gone: Callable[[], Any]
    ) -> AsyncIterator[str]:
        """Yield server-sent events after `since`, or from now on; comments keep the stream open."""
        self._listeners += 1
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        try:
            last = await asyncio.to_thread(self._read_newest) if since is None else since
            yield f": from {last}\n\n"
            while not self._is_closed and not await is_gone():
                seen = self._newest
                operations = await asyncio.to_thread(self._since, namespace, last)
                for one in operations:
                    yield _event(one)
                last = operations[-1].revision if operations else max(last, 0)
                if not operations and not await self._wait_for_change(seen):
                    yield ": still here\n\n"
        finally:
            self._listeners -= 1

    async def close(self) -> None:
        """End all streams."""
        self._is_closed = True
        async with self._changed:
            self._changed.notify_all()
        if self._poller is not None:
            await asyncio.wait([self._poller])

    async def _poll(self) -> None:
        loop, commit = asyncio.get_running_loop(), asyncio.Event()

        def notify() -> None:
            loop.call_soon_threadsafe(commit.set)

        following = self._store.follow(notify)
        try:
            while self._listeners and not self._is_closed:
                if self._is_ending():
                    self._is_closed = True
                    break
                commit.clear()
                newest = self._newest
                with suppress(StoreUnreachable, StoreBusy):
                    newest = await asyncio.to_thread(self._read_newest)
                if newest != self._newest:
                    self._newest = newest
                    async with self._changed:
                        self._changed.notify_all()
                await self._pause(commit, is_notified=following is not None and following.is_live)
        finally:
            if following is not None:
                following.stop()
        async with self._changed:
            self._changed.notify_all()

    async def _pause(self, commit: asyncio.Event, *, is_notified: bool) -> None:
        """Wait for the store's notification of a commit, or until the next poll is due."""
        until = time.monotonic() + (_NOTIFIED_POLL_S if is_notified else _POLL_S)
        while not commit.is_set() and (left := until - time.monotonic()) > 0:
            if self._is_closed or self._is_ending():
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(commit.wait(), min(left, _POLL_S))

    async def _wait_for_change(self, seen: int) -> bool:
        """Wait for a newer revision than `seen`; return False where none came for a while."""
        async with self._changed:
            try:
                await asyncio.wait_for(
                    self._changed.wait_for(lambda: self._is_closed or self._newest != seen), _PING_S
                )
            except TimeoutError:
                return False
        return True

    def _read_newest(self) -> int:
        with self._store.read() as snapshot:
            return newest_revision(snapshot)

    def _since(self, namespace: str, revision: int) -> list[OperationEvent]:
        try:
            with self._store.read() as snapshot:
                return operations_since(snapshot, namespace, revision)
        except (StoreUnreachable, StoreBusy):
            return []  # the next read returns these, too


def _event(one: OperationEvent) -> str:
    data = {
        "revision": one.revision,
        "operation": one.operation,
        "kind": one.kind,
        "collection_id": one.collection_id,
        "actor": one.actor,
        "at": one.at.isoformat(),
        "changed": one.changed,
    }
    return f"id: {one.revision}\nevent: {one.kind}\ndata: {json.dumps(data)}\n\n"
