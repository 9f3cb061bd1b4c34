"""What routes work with: the open store, and who asks in which namespace."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, cast
from urllib.parse import quote

from fastapi import Depends, Query, Request

from lookalike.catalog.api_keys import Scope, Signer
from lookalike.catalog.embedding_map import Layouts
from lookalike.catalog.resources import CollectionRow, Kind, collection_from, find, make, named
from lookalike.classifier.graph.search import Ids
from lookalike.content.fetch import GuardedFetcher
from lookalike.errors import LookalikeError, NotFound
from lookalike.library.bucket import Bucket, bucket_from
from lookalike.library.collection.collection import Collection
from lookalike.library.collection.history import past_runtime, position_at
from lookalike.library.library import Library
from lookalike.library.runtime import Runtime
from lookalike.library.worker import Worker
from lookalike.model import Question
from lookalike.server.events import Hub
from lookalike.settings import Settings
from lookalike.stores.base import Snapshot, StoredSpace, Txn

# --- frozen queues: kept for a while under a token -----------------------------------------------

_KEPT = 256


@dataclass(frozen=True, slots=True)
class Frozen:
    """The questions of a queue as they were asked: ids of documents stand for these themselves."""

    owner: tuple[str, str]
    field: str | None
    questions: tuple[tuple[tuple[str, ...], Question], ...]


class FrozenQueues:
    """The queues that were asked for last, by token. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Frozen] = OrderedDict()

    def keep(self, queue: Frozen) -> str:
        """Keep a queue, and return its token."""
        token = secrets.token_urlsafe(12)
        with self._lock:
            self._kept[token] = queue
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return token

    def find(self, token: str, owner: tuple[str, str]) -> Frozen:
        """Return a queue by its token. Raises NotFound for one of others, or no more kept."""
        with self._lock:
            found = self._kept.get(token)
            if found is not None and found.owner == owner:
                self._kept.move_to_end(token)
                return found
        raise NotFound(f"no queue is kept as {token[:80]!r} any more; ask again without a snapshot")


# --- map layouts in progress, one at a time for a space ------------------------------------------

_LAYOUTS_KEPT = 8
_STOP_S = 30.0
_log = logging.getLogger(__name__)


class _Ended(Exception):
    """The server ends, and nobody waits for a map any more."""


@dataclass(slots=True)
class _Making:
    """A layout in the making: which share is `done`, and why it failed, where it did."""

    thread: threading.Thread | None = None
    done: float = 0.0
    error: LookalikeError | None = None


class Makings:
    """Makes layouts in threads, and keeps the orders of documents of maps that were sent."""

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        self._lock = threading.Lock()
        self._making: dict[int, _Making] = {}
        self._orders: OrderedDict[tuple[str, int], Ids] = OrderedDict()
        self._is_ending = False

    def begin(self, space: StoredSpace) -> float:
        """Make the layout of a space, if nobody does; return which share is done.

        Raises what the last try failed for, once; the next who asks tries again.
        """
        with self._lock:
            making = self._making.get(space.pk)
            if making is not None and making.error is not None:
                del self._making[space.pk]
                raise making.error
            if making is None and not self._is_ending:
                making = self._making[space.pk] = _Making()
                making.thread = threading.Thread(
                    target=self._make, args=(space, making), name=f"map-{space.pk}", daemon=True
                )
                making.thread.start()
        return 0.0 if making is None else making.done

    def keep(self, name: str, collection_pk: int, pks: Ids) -> None:
        """Keep the order of the documents of a map that was sent; the last few are kept."""
        with self._lock:
            self._orders[name, collection_pk] = pks
            self._orders.move_to_end((name, collection_pk))
            while len(self._orders) > _LAYOUTS_KEPT:
                self._orders.popitem(last=False)

    def order(self, name: str, collection_pk: int) -> Ids | None:
        """Return the documents of a map in its order; None for one that is not kept."""
        with self._lock:
            return self._orders.get((name, collection_pk))

    def close(self) -> None:
        """Let what is being made end."""
        with self._lock:
            self._is_ending = True
            threads = [one.thread for one in self._making.values() if one.thread is not None]
        for thread in threads:
            thread.join(_STOP_S)

    def _make(self, space: StoredSpace, making: _Making) -> None:
        def tell(done: float) -> None:
            making.done = done
            if self._is_ending:
                raise _Ended

        try:
            self._layouts.make(space, tell)
        except _Ended:
            pass
        except LookalikeError as error:
            making.error = error
            return
        except BaseException:
            _log.exception("the map of %s could not be made", space.name)
            making.error = LookalikeError(
                f"the map of {space.name} could not be made; the log of the server says why"
            )
            raise
        with self._lock:
            self._making.pop(space.pk, None)


# -------------------------------------------------------------------------------------------------

MAX_WAIT_S = 60.0
"""So long may a request wait for the work that it causes."""

_URL_LIVES_S = 3600


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of a server, shared by all requests."""

    runtime: Runtime
    worker: Worker
    signer: Signer
    fetcher: GuardedFetcher
    hub: Hub
    queues: FrozenQueues
    makings: Makings
    is_ending: Callable[[], bool]

    @property
    def settings(self) -> Settings:
        """Return the settings in force."""
        return self.runtime.settings


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: who asks, in which namespace, under which address the server was called."""

    context: Context
    runtime: Runtime
    namespace: str
    allowed_namespace: str | None
    base_url: str
    may_speak_for_others: bool = False

    @property
    def library(self) -> Library:
        """Return the library as the one who asks sees it."""
        return Library(self.runtime, self.namespace)

    def row(self, snapshot: Snapshot, name: str) -> CollectionRow:
        """Return a collection by name or id. Raises NotFound."""
        return collection_from(named(snapshot, self.namespace, Kind.COLLECTION, name))

    def collection(self, name: str) -> Collection:
        """Return the verbs of a collection. Raises NotFound."""
        with self.runtime.store.read() as snapshot:
            return Collection(self.runtime, self.row(snapshot, name))

    def bucket(self, name: str) -> Bucket:
        """Return the verbs of a bucket. Raises NotFound."""
        with self.runtime.store.read() as snapshot:
            row = named(snapshot, self.namespace, Kind.BUCKET, name)
        return Bucket(self.runtime, bucket_from(row))

    def wait(self, seconds: float | None, is_done: Callable[[], bool]) -> None:
        """Let the worker begin, and wait for what it does, if the request asks for that.

        A server that ends keeps nobody waiting.
        """
        worker, is_ending = self.context.worker, self.context.is_ending
        worker.wake()
        if seconds:
            worker.wait_until(lambda: is_ending() or is_done(), min(seconds, MAX_WAIT_S))

    def signed(self, path: str, params: Mapping[str, str], lives_s: int = _URL_LIVES_S) -> str:
        """Return an address that needs no key, for a while."""
        expires = self.runtime.clock() + lives_s
        query = self.context.signer.sign(path, {**params, "namespace": self.namespace}, expires)
        return f"{self.base_url}{quote(path)}?{query}"


async def asked(request: Request) -> Asked:
    """Return what a request is about; it waits for nothing, so it needs no thread."""
    context = cast("Context", request.app.state.context)
    caller = request.state.caller
    actor = context.runtime.actor if caller is None else caller.name
    url = request.url
    return Asked(
        context=context,
        runtime=context.runtime.for_actor(actor),
        namespace=request.state.namespace,
        allowed_namespace=None if caller is None else caller.namespace,
        base_url=context.settings.public_url or f"{url.scheme}://{url.netloc}",
        may_speak_for_others=caller is not None and caller.scope.covers(Scope.ADMIN),
    )


Here = Annotated[Asked, Depends(asked)]


def asked_then(
    here: Here,
    collection: str,
    as_of: Annotated[
        str | None, Query(description="a version, an operation, the number of an event, or a time")
    ] = None,
) -> Asked:
    """Return what a request is about that may ask for a collection as it was."""
    if as_of is None:
        return here
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, collection)
        position = position_at(snapshot, here.runtime, row, as_of)
    return replace(here, runtime=past_runtime(here.runtime, row, position))


Then = Annotated[Asked, Depends(asked_then)]


def make_once(
    txn: Txn, here: Asked, kind: Kind, name: str, spec: Mapping[str, Any], key: str
) -> None:
    """Make a resource; asked for again under the same `key`, the one that is there will do."""
    row = find(txn, here.namespace, kind, name) if key else None
    if row is None or row.spec != spec:
        make(txn, here.namespace, kind, name, spec, at=here.runtime.clock())
