"""The context of a request: the open store, the caller and the namespace. Routes depend on it."""

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

# --- frozen queues: snapshots of review queues, found by a token ---------------------------------

_MAX_QUEUES = 256


@dataclass(frozen=True, slots=True)
class Frozen:
    """A snapshot of a review queue: each question with the ids of its documents."""

    owner: tuple[str, str]
    field: str | None
    questions: tuple[tuple[tuple[str, ...], Question], ...]


class FrozenQueues:
    """The most recently used frozen queues, by token. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: OrderedDict[str, Frozen] = OrderedDict()

    def add(self, queue: Frozen) -> str:
        """Store a queue, and return its token. The least recently used one may be dropped."""
        token = secrets.token_urlsafe(12)
        with self._lock:
            self._queues[token] = queue
            while len(self._queues) > _MAX_QUEUES:
                self._queues.popitem(last=False)
        return token

    def find(self, token: str, owner: tuple[str, str]) -> Frozen:
        """Return a queue by its token. Raises NotFound for another owner's or a dropped one."""
        with self._lock:
            found = self._queues.get(token)
            if found is not None and found.owner == owner:
                self._queues.move_to_end(token)
                return found
        raise NotFound(
            f"the queue snapshot {token[:80]!r} has expired; request the queue without a snapshot"
        )


# --- layout jobs: compute the layouts of maps, one job at a time for an embedding space ----------

_MAX_ORDERS = 8
_STOP_S = 30.0
_log = logging.getLogger(__name__)


class _Stopped(Exception):
    """Stops a layout job because the server shuts down."""


@dataclass(slots=True)
class _Job:
    """A layout that is being computed: the share that is `done`, and the error if it failed."""

    thread: threading.Thread | None = None
    done: float = 0.0
    error: LookalikeError | None = None


class LayoutJobs:
    """Computes layouts in threads, and remembers the document order of the latest maps."""

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        self._lock = threading.Lock()
        self._jobs: dict[int, _Job] = {}
        self._orders: OrderedDict[tuple[str, int], Ids] = OrderedDict()
        self._is_ending = False

    def start(self, space: StoredSpace) -> float:
        """Start the layout of a space unless a job runs; return the share that is done, 0 to 1.

        Raises the error of a failed job once; the next call starts a new job.
        """
        with self._lock:
            job = self._jobs.get(space.pk)
            if job is not None and job.error is not None:
                del self._jobs[space.pk]
                raise job.error
            if job is None and not self._is_ending:
                job = self._jobs[space.pk] = _Job()
                job.thread = threading.Thread(
                    target=self._run, args=(space, job), name=f"map-{space.pk}", daemon=True
                )
                job.thread.start()
        return 0.0 if job is None else job.done

    def remember(self, name: str, collection_pk: int, pks: Ids) -> None:
        """Remember the order of the documents in a map; only the latest few maps are kept."""
        with self._lock:
            self._orders[name, collection_pk] = pks
            self._orders.move_to_end((name, collection_pk))
            while len(self._orders) > _MAX_ORDERS:
                self._orders.popitem(last=False)

    def order(self, name: str, collection_pk: int) -> Ids | None:
        """Return the documents of a map in its order; None for a map that was dropped."""
        with self._lock:
            return self._orders.get((name, collection_pk))

    def close(self) -> None:
        """Stop the running jobs."""
        with self._lock:
            self._is_ending = True
            threads = [job.thread for job in self._jobs.values() if job.thread is not None]
        for thread in threads:
            thread.join(_STOP_S)

    def _run(self, space: StoredSpace, job: _Job) -> None:
        def report(done: float) -> None:
            job.done = done
            if self._is_ending:
                raise _Stopped

        try:
            self._layouts.make(space, report)
        except _Stopped:
            pass
        except LookalikeError as error:
            job.error = error
            return
        except BaseException:
            _log.exception("computing the map of %s failed", space.name)
            job.error = LookalikeError(
                f"computing the map of {space.name} failed; see the server's log for the reason"
            )
            raise
        with self._lock:
            self._jobs.pop(space.pk, None)


# -------------------------------------------------------------------------------------------------

MAX_WAIT_S = 60.0
"""The longest time that a request may wait for the work it causes."""

_URL_LIVES_S = 3600


@dataclass(frozen=True, slots=True)
class Server:
    """The parts of a server that all requests share."""

    runtime: Runtime
    worker: Worker
    signer: Signer
    fetcher: GuardedFetcher
    hub: Hub
    queues: FrozenQueues
    layout_jobs: LayoutJobs
    is_ending: Callable[[], bool]

    @property
    def settings(self) -> Settings:
        """Return the settings."""
        return self.runtime.settings


@dataclass(frozen=True, slots=True)
class Context:
    """The context of one request: the caller's rights, the namespace and the server's base URL."""

    server: Server
    runtime: Runtime
    namespace: str
    allowed_namespace: str | None
    base_url: str
    may_speak_for_others: bool = False

    @property
    def library(self) -> Library:
        """Return the library of the request's namespace; its actor is the caller."""
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
        """Wake the worker, and wait up to `seconds` until its work is done.

        Without `seconds`, or when the server shuts down, do not wait.
        """
        worker, is_ending = self.server.worker, self.server.is_ending
        worker.wake()
        if seconds:
            worker.wait_until(lambda: is_ending() or is_done(), min(seconds, MAX_WAIT_S))

    def signed(self, path: str, params: Mapping[str, str], lives_s: int = _URL_LIVES_S) -> str:
        """Return a signed URL, which needs no key for `lives_s` seconds."""
        expires = self.runtime.clock() + lives_s
        query = self.server.signer.sign(path, {**params, "namespace": self.namespace}, expires)
        return f"{self.base_url}{quote(path)}?{query}"


async def request_context(request: Request) -> Context:
    """Return the context of a request. It is async since it never blocks and needs no thread."""
    server = cast("Server", request.app.state.server)
    caller = request.state.caller
    actor = server.runtime.actor if caller is None else caller.name
    url = request.url
    return Context(
        server=server,
        runtime=server.runtime.for_actor(actor),
        namespace=request.state.namespace,
        allowed_namespace=None if caller is None else caller.namespace,
        base_url=server.settings.public_url or f"{url.scheme}://{url.netloc}",
        may_speak_for_others=caller is not None and caller.scope.covers(Scope.ADMIN),
    )


Here = Annotated[Context, Depends(request_context)]
"""The type of the parameter `here` of a route: FastAPI passes the context of the request."""


def context_as_of(
    here: Here,
    collection: str,
    as_of: Annotated[
        str | None, Query(description="a version, an operation, the number of an event, or a time")
    ] = None,
) -> Context:
    """Return the context of a request that may read a collection as of an earlier point."""
    if as_of is None:
        return here
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, collection)
        position = position_at(snapshot, here.runtime, row, as_of)
    return replace(here, runtime=past_runtime(here.runtime, row, position))


AsOf = Annotated[Context, Depends(context_as_of)]
"""The same for routes that can read a collection as of an earlier point."""


def make_once(
    txn: Txn, here: Context, kind: Kind, name: str, spec: Mapping[str, Any], key: str
) -> None:
    """Create a resource. A repeated request with an idempotency `key` finds it and does nothing."""
    row = find(txn, here.namespace, kind, name) if key else None
    if row is None or row.spec != spec:
        make(txn, here.namespace, kind, name, spec, at=here.runtime.clock())


def changed_about(
    about: Mapping[str, Any] | None, description: str | None, metadata: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return `about` with a new description and metadata; None keeps the old value."""
    given = {"description": description, "metadata": metadata}
    return {**(about or {}), **{key: value for key, value in given.items() if value is not None}}
