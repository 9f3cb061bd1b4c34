"""What routes work with: the open store, and who asks in which namespace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, cast
from urllib.parse import quote

from fastapi import Depends, Query, Request

from lookalike.catalog.api_keys import Scope
from lookalike.catalog.resources import CollectionRow, Kind, collection_from, find, make, named
from lookalike.catalog.signing import Signer
from lookalike.content.fetch import GuardedFetcher
from lookalike.library.bucket import Bucket, bucket_from
from lookalike.library.collection.collection import Collection
from lookalike.library.collection.history import point, travelled
from lookalike.library.library import Library
from lookalike.library.runtime import Workshop
from lookalike.library.worker import Worker
from lookalike.server.events import Hub
from lookalike.server.frozen import FrozenQueues
from lookalike.server.making import Makings
from lookalike.settings import Settings
from lookalike.stores.base import Snapshot, Txn

MAX_WAIT_S = 60.0
"""So long may a request wait for the work that it causes."""

_URL_LIVES_S = 3600


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of a server, shared by all requests."""

    workshop: Workshop
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
        return self.workshop.settings


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: who asks, in which namespace, under which address the server was called."""

    context: Context
    workshop: Workshop
    namespace: str
    allowed_namespace: str | None
    base_url: str
    may_speak_for_others: bool = False

    @property
    def library(self) -> Library:
        """Return the library as the one who asks sees it."""
        return Library(self.workshop, self.namespace)

    def row(self, snapshot: Snapshot, name: str) -> CollectionRow:
        """Return a collection by name or id. Raises NotFound."""
        return collection_from(named(snapshot, self.namespace, Kind.COLLECTION, name))

    def collection(self, name: str) -> Collection:
        """Return the verbs of a collection. Raises NotFound."""
        with self.workshop.store.read() as snapshot:
            return Collection(self.workshop, self.row(snapshot, name))

    def bucket(self, name: str) -> Bucket:
        """Return the verbs of a bucket. Raises NotFound."""
        with self.workshop.store.read() as snapshot:
            row = named(snapshot, self.namespace, Kind.BUCKET, name)
        return Bucket(self.workshop, bucket_from(row))

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
        expires = self.workshop.clock() + lives_s
        query = self.context.signer.sign(path, {**params, "namespace": self.namespace}, expires)
        return f"{self.base_url}{quote(path)}?{query}"


async def asked(request: Request) -> Asked:
    """Return what a request is about; it waits for nothing, so it needs no thread."""
    context = cast("Context", request.app.state.context)
    caller = request.state.caller
    actor = context.workshop.actor if caller is None else caller.name
    url = request.url
    return Asked(
        context=context,
        workshop=context.workshop.speaking(actor),
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
    with here.workshop.store.read() as snapshot:
        row = here.row(snapshot, collection)
        position = point(snapshot, here.workshop, row, as_of)
    return replace(here, workshop=travelled(here.workshop, row, position))


Then = Annotated[Asked, Depends(asked_then)]


def make_once(
    txn: Txn, here: Asked, kind: Kind, name: str, spec: Mapping[str, Any], key: str
) -> None:
    """Make a resource; asked for again under the same `key`, the one that is there will do."""
    row = find(txn, here.namespace, kind, name) if key else None
    if row is None or row.spec != spec:
        make(txn, here.namespace, kind, name, spec, at=here.workshop.clock())
