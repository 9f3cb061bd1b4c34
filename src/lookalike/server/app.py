"""The server as an ASGI application: the routes, a worker, and the gate that checks requests."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse
from starlette.types import ASGIApp

from lookalike import __version__
from lookalike.catalog.api_keys import Access, Signer, signing_secret
from lookalike.content.fetch import FetchRules, GuardedFetcher
from lookalike.library.health import OK, Readiness
from lookalike.library.runtime import Runtime
from lookalike.library.worker import Worker
from lookalike.server import label_studio
from lookalike.server.api_docs import PAGE_HEADERS, reference_page
from lookalike.server.context import FrozenQueues, LayoutJobs, Server
from lookalike.server.errors import RESPONSES, answer_errors
from lookalike.server.events import Hub
from lookalike.server.page import PageFirst, make_router, read_page
from lookalike.server.routes import (
    analytics,
    audits,
    buckets,
    client_ingest,
    collections,
    document_batches,
    documents,
    embedding_map,
    events,
    exports,
    health,
    label_tree,
    labels,
    objects,
    queue,
    retrievers,
    tasks,
    taxonomies,
    trials,
    uploads,
    verbs,
)
from lookalike.server.security.gate import AccessLog, Gate

_ROUTERS: tuple[APIRouter, ...] = (
    uploads.blobs_router,
    events.router,
    health.router,
    collections.router,
    analytics.counting_router,
    document_batches.router,
    documents.router,
    labels.router,
    queue.router,
    analytics.router,
    audits.router,
    buckets.router,
    objects.router,
    uploads.router,
    audits.alerts_router,
    health.metrics_router,
    embedding_map.router,
    exports.router,
    retrievers.router,
    taxonomies.router,
    label_tree.router,
    trials.router,
    trials.of_taxonomy,
    tasks.router,
    tasks.migrations_router,
    buckets.samples_router,
    labels.versions_router,
    verbs.router,
    client_ingest.router,
    label_studio.router,
)
"""FastAPI tries routes one by one in this order, so what the review page needs comes first."""

_ABOUT = (
    "Lookalike labels a collection from a few examples. Every resource answers to its id and to "
    "its name. Errors are `{error: {code, message, details}}`; `code` is stable."
)


def make_app(
    runtime: Runtime,
    *,
    host: str,
    works: bool = True,
    is_leaving: Callable[[], bool] = lambda: False,
    is_ending: Callable[[], bool] = lambda: False,
) -> ASGIApp:
    """Return the server as an ASGI application that listens on `host`.

    Without `works`, worker processes do the pending work. `is_leaving` tells whether the server
    should get no new requests, `is_ending` whether it waits for event streams to end.
    """
    store, settings = runtime.store, runtime.settings
    fetcher = GuardedFetcher(FetchRules.of(settings))
    runtime = runtime.guarded(fetcher.fetch, fetcher.check)
    signer = Signer(signing_secret(store))
    worker, hub = Worker(runtime), Hub(store, is_ending)
    layout_jobs = LayoutJobs(runtime.layouts)

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        if works:
            worker.start()
        yield
        await hub.close()
        layout_jobs.close()
        worker.stop()

    app = FastAPI(
        title="Lookalike",
        version=__version__,
        description=_ABOUT,
        lifespan=life,
        docs_url=None,
        redoc_url=None,
        responses=dict(RESPONSES),
        separate_input_output_schemas=False,
    )
    parts = (runtime, worker, signer, fetcher, hub, FrozenQueues(), layout_jobs, is_ending)
    app.state.server = Server(*parts)
    app.state.readiness = _readiness(runtime, worker, is_leaving)
    app.state.scrapes = health.Scrapes(time.monotonic)
    answer_errors(app)
    for router in (*_ROUTERS, make_router()):
        app.include_router(router)
    _serve_docs(app)
    access = Access(store, settings, runtime.clock)
    page = PageFirst(app, read_page())
    return Gate(page, access, settings, AccessLog(runtime.root), signer=signer, host=host)


def _readiness(runtime: Runtime, worker: Worker, is_leaving: Callable[[], bool]) -> Readiness:
    further = {
        "worker": lambda: "has died" if worker.has_died else OK,
        "ending": lambda: "told to end" if is_leaving() else OK,
    }
    return Readiness(runtime, further)


def _serve_docs(app: FastAPI) -> None:
    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(reference_page(app.openapi()), headers=PAGE_HEADERS)
