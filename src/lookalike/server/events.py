"""Events: what happens in a store, told to whoever listens, from where they left off."""

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

_POLL_S, _TOLD_POLL_S = 0.25, 5.0
_PING_S = 15.0
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Happened:
    """An operation as it is told: `revision` is where to go on after it."""

    revision: int
    operation: str
    kind: str
    collection_id: str | None
    actor: str
    at: datetime
    changed: dict[str, Any]


def happened_since(
    snapshot: Snapshot, namespace: str, revision: int, *, limit: int = _BATCH
) -> list[Happened]:
    """Return the operations of a namespace after a revision, the oldest first."""
    operation, resource = schema.operation, schema.resource
    query = (
        select(operation, resource.c.name.label("collection"))
        .join(resource, resource.c.pk == operation.c.collection_pk)
        .where(operation.c.pk > revision, resource.c.namespace == namespace)
        .order_by(operation.c.pk)
        .limit(limit)
    )
    return [
        Happened(
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
    """Return the revision of the last operation there was."""
    rows = snapshot.rows(select(func.max(schema.operation.c.pk).label("newest")))
    return int(rows[0].newest or 0)


class Hub:
    """Looks for news once for all who listen, while anybody does.

    It looks as soon as the store tells of a commit, by whatever process, and from time to time.
    Who listens is let go when `is_ending` says that the server waits for them to go; while the
    store cannot be read they wait.
    """

    def __init__(self, store: Store, is_ending: Callable[[], bool]) -> None:
        self._store = store
        self._is_ending = is_ending
        self._news = asyncio.Condition()
        self._newest = -1
        self._listeners = 0
        self._watch: asyncio.Task[None] | None = None
        self._is_closed = False

    async def listen(
        self, namespace: str, since: int | None, is_gone: Callable[[], Any]
    ) -> AsyncIterator[str]:
        """Yield server-sent events, from after `since` on, or from now; a comment keeps it open."""
        self._listeners += 1
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._look())
        try:
            last = await asyncio.to_thread(self._read_newest) if since is None else since
            yield f": from {last}\n\n"
            while not self._is_closed and not await is_gone():
                seen = self._newest
                told = await asyncio.to_thread(self._since, namespace, last)
                for one in told:
                    yield _event(one)
                last = told[-1].revision if told else max(last, 0)
                if not told and not await self._changes(seen):
                    yield ": still here\n\n"
        finally:
            self._listeners -= 1

    async def close(self) -> None:
        """Let all who listen go."""
        self._is_closed = True
        async with self._news:
            self._news.notify_all()
        if self._watch is not None:
            await asyncio.wait([self._watch])

    async def _look(self) -> None:
        loop, told = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            loop.call_soon_threadsafe(told.set)

        following = self._store.follow(tell)
        try:
            while self._listeners and not self._is_closed:
                if self._is_ending():
                    self._is_closed = True
                    break
                told.clear()
                newest = self._newest
                with suppress(StoreUnreachable, StoreBusy):
                    newest = await asyncio.to_thread(self._read_newest)
                if newest != self._newest:
                    self._newest = newest
                    async with self._news:
                        self._news.notify_all()
                await self._pause(told, is_told=following is not None and following.is_live)
        finally:
            if following is not None:
                following.stop()
        async with self._news:
            self._news.notify_all()

    async def _pause(self, told: asyncio.Event, *, is_told: bool) -> None:
        """Wait until the store tells of a commit, or until it is time to look."""
        until = time.monotonic() + (_TOLD_POLL_S if is_told else _POLL_S)
        while not told.is_set() and (left := until - time.monotonic()) > 0:
            if self._is_closed or self._is_ending():
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(told.wait(), min(left, _POLL_S))

    async def _changes(self, seen: int) -> bool:
        """Wait for news; return whether there are some."""
        async with self._news:
            try:
                await asyncio.wait_for(
                    self._news.wait_for(lambda: self._is_closed or self._newest != seen), _PING_S
                )
            except TimeoutError:
                return False
        return True

    def _read_newest(self) -> int:
        with self._store.read() as snapshot:
            return newest_revision(snapshot)

    def _since(self, namespace: str, revision: int) -> list[Happened]:
        try:
            with self._store.read() as snapshot:
                return happened_since(snapshot, namespace, revision)
        except (StoreUnreachable, StoreBusy):
            return []  # it is told with what comes next


def _event(one: Happened) -> str:
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
