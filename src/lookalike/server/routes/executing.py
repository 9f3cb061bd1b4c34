"""Running retrievers over HTTP: stored ones, and searches that are not stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from fastapi import APIRouter
from pydantic import Field
from ulid import ULID

from lookalike.catalog.resources import Kind, named
from lookalike.catalog.retrievers import Searching, Stage, stages_of
from lookalike.errors import BadInput
from lookalike.library.collection.matching import collections_named, collections_with_documents
from lookalike.library.retrieve import Found, Retrieval, retrieve
from lookalike.server.context import Asked, Here
from lookalike.server.replies import DocumentReply
from lookalike.server.routes.documents import shown
from lookalike.server.routes.retrievers import NewRetriever
from lookalike.server.shapes import (
    Body,
    JsonRoute,
    Presigned,
    Reply,
    whole_number,
)

router = APIRouter(prefix="/v1/retrievers", tags=["retrievers"], route_class=JsonRoute)


MAX_RUNS = 50


class Execution(Body):
    """What is asked for in one run."""

    idle: ClassVar = frozenset(
        {
            *("stream", "skip_cache", "return_vectors", "explain", "expand", "write_token"),
            *("consistency", "target_collection_id", "settings", "include_legacy_results"),
        }
    )
    inputs: dict[str, Any] | None = None
    filters: Any = None
    limit: int | None = Field(default=None, ge=1, le=1000)
    pagination: dict[str, Any] | None = None
    return_presigned_urls: bool = False


class AdHoc(Execution):
    """A search that is not stored; where it names no collection, all are searched that can be."""

    idle: ClassVar = Execution.idle | NewRetriever.idle
    collection_identifiers: list[str] | None = None
    input_schema: dict[str, Any] | None = None
    stages: list[dict[str, Any]] = Field(min_length=1, max_length=20)


class Executions(Body):
    """Several runs."""

    idle: ClassVar = Execution.idle | {"concurrency"}
    queries: list[Execution] = Field(min_length=1, max_length=MAX_RUNS)
    return_presigned_urls: bool = False


class StageStatistics(Reply):
    """What a stage took in and gave out."""

    input_count: int
    output_count: int
    duration_ms: float
    efficiency: float


class Statistics(Reply):
    """What each stage did."""

    stages: dict[str, StageStatistics]


class ExecutionReply(Reply):
    """What a run found, the best first; `results` and `documents` are the same."""

    execution_id: str
    status: str = "completed"
    retriever_id: str
    documents: list[DocumentReply]
    results: list[DocumentReply]
    total: int
    pagination: dict[str, Any]
    stage_statistics: Statistics


class ExecutionsReply(Reply):
    """What several runs found, in the order asked."""

    results: list[ExecutionReply]


@router.post("/execute")
def execute_ad_hoc(
    body: AdHoc, here: Here, return_presigned_urls: Presigned = False
) -> ExecutionReply:
    """Run a search that is not stored."""
    signed = return_presigned_urls or body.return_presigned_urls
    return _run(here, "", body.collection_identifiers or [], body.stages, body, signed=signed)


@router.post("/{retriever}/execute")
def execute_retriever(
    retriever: str,
    here: Here,
    body: Execution | None = None,
    return_presigned_urls: Presigned = False,
) -> ExecutionReply:
    """Run a stored search: by text, picture, vector or document."""
    body = body or Execution()
    with here.workshop.store.read() as snapshot:
        row = named(snapshot, here.namespace, Kind.RETRIEVER, retriever)
    signed = return_presigned_urls or body.return_presigned_urls
    spec = row.spec
    return _run(here, row.name, spec["collections"], spec["stages"], body, signed=signed)


@router.post("/{retriever}/execute/batch")
def execute_batch(
    retriever: str, body: Executions, here: Here, return_presigned_urls: Presigned = False
) -> ExecutionsReply:
    """Run a stored search several times."""
    signed = return_presigned_urls or body.return_presigned_urls
    runs = [execute_retriever(retriever, here, one, signed) for one in body.queries]
    return ExecutionsReply(results=runs)


def _run(
    here: Asked,
    name: str,
    collections: Sequence[str],
    stages: Sequence[dict[str, Any]],
    body: Execution,
    *,
    signed: bool,
) -> ExecutionReply:
    parsed, inputs = stages_of(stages), body.inputs or {}
    wanted = [*collections] or _named_in(parsed)
    with here.workshop.store.read() as snapshot:
        if wanted:
            rows = collections_named(snapshot, here.namespace, wanted)
        else:
            rows = collections_with_documents(snapshot, here.namespace)
        run = retrieve(
            here.workshop,
            snapshot,
            here.namespace,
            rows,
            parsed,
            inputs,
            body.filters,
            everywhere=not wanted,
        )
        start, size = _page(body)
        page = run.found[start : start + size]
        by_pk: dict[int, DocumentReply] = {}
        for row in rows:
            pks = [one.pk for one in page if one.collection.pk == row.pk]
            replies = shown(here, snapshot, row, pks, signed=signed)
            by_pk |= dict(zip(pks, replies, strict=True))
    documents = [_with_score(by_pk[one.pk], one) for one in page]
    return ExecutionReply(
        execution_id=f"exec_{ULID()}",
        retriever_id=Kind.RETRIEVER.prefix + name if name else "",
        documents=documents,
        results=documents,
        total=len(run.found),
        pagination={
            "offset": start,
            "page_size": size,
            "total": len(run.found),
            "next_cursor": str(start + size) if start + size < len(run.found) else None,
        },
        stage_statistics=_statistics(run),
    )


def _named_in(stages: Sequence[Stage]) -> list[str]:
    """Return the collections that stages name, where the retriever itself names none."""
    searches = [one for one in stages if isinstance(one, Searching)]
    return list(dict.fromkeys(name for one in searches for name in one.collections))


def _page(body: Execution) -> tuple[int, int]:
    """Return from which result on, and how many, are asked for."""
    given = body.pagination or {}
    size = _number(given, ("page_size", "limit"), body.limit or 1000)
    start = _number(given, ("offset",), 0)
    cursor = given.get("cursor")
    if cursor is not None:
        after = whole_number(cursor) if isinstance(cursor, str) else None
        if after is None:
            raise BadInput(f"pagination.cursor is {str(cursor)[:80]!r}, which no answer gave")
        start = after
    elif given.get("page_number"):
        start = (max(_number(given, ("page_number",), 1), 1) - 1) * size
    return start, max(min(size, body.limit or size), 1)


def _number(given: dict[str, Any], names: Sequence[str], default: int) -> int:
    for name in names:
        value = given.get(name)
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
                raise BadInput(f"pagination.{name} is {str(value)[:80]!r}; give a whole number")
            return value
    return default


def _with_score(reply: DocumentReply, one: Found) -> DocumentReply:
    reply.score = one.score
    if one.enriched:
        reply.taxonomies = one.enriched
        for said in one.enriched.values():
            for name, match in said.items():
                if match is not None and reply.metadata.get(name) is None:
                    reply.metadata[name] = match["label"]
    return reply


def _statistics(run: Retrieval) -> Statistics:
    stages = {
        f"{place}_{one.name}": StageStatistics(
            input_count=one.given if one.taken is None else one.taken,
            output_count=one.given,
            duration_ms=one.ms,
            efficiency=1.0 if not one.taken else one.given / one.taken,
        )
        for place, one in enumerate(run.stages)
    }
    return Statistics(stages=stages)
