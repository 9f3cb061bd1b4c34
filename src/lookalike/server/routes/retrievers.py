"""Retriever routes: stored searches, and executing them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from fastapi import APIRouter
from pydantic import Field
from ulid import ULID

from lookalike.catalog.resources import Kind, change, listed, make, named, remove
from lookalike.catalog.retrievers import Searching, Stage, stages_of
from lookalike.errors import BadInput, Conflict
from lookalike.library.collection.suggestions import collections_named, collections_with_documents
from lookalike.library.retrieve import Found, Retrieval, retrieve
from lookalike.server.context import Context, Here, changed_about, make_once
from lookalike.server.listing import select_resources
from lookalike.server.replies import DocumentReply
from lookalike.server.routes.documents import document_replies
from lookalike.server.shapes import (
    Body,
    Deleted,
    IdempotencyKey,
    JsonRoute,
    ListBody,
    Name,
    Pages,
    Pagination,
    Presigned,
    Reply,
    whole_number,
)

router = APIRouter(prefix="/v1/retrievers", tags=["retrievers"], route_class=JsonRoute)


class NewRetriever(Body):
    """A new stored search. The collections that it names need not exist yet."""

    idle: ClassVar = frozenset(
        {"requires_subscription", "tags", "cache_config", "budget_limits", "display_config"}
    )
    retriever_name: Name
    collection_identifiers: list[str] | None = None
    collection_ids: list[str] | None = None
    stages: list[dict[str, Any]] = Field(min_length=1, max_length=20)
    input_schema: dict[str, Any] | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None


class RetrieverChange(Body):
    """Changes of a stored search; its name cannot change."""

    idle: ClassVar = NewRetriever.idle
    retriever_name: str | None = None
    collection_identifiers: list[str] | None = None
    stages: list[dict[str, Any]] | None = Field(default=None, min_length=1, max_length=20)
    input_schema: dict[str, Any] | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None


class CloneRetriever(RetrieverChange):
    """The name of a copy of a stored search, and changes of it."""

    retriever_name: Name


class StageReply(Reply):
    """One stage of a stored search."""

    stage_name: str
    stage_type: str
    config: dict[str, Any]
    parameters: dict[str, Any]


class RetrieverReply(Reply):
    """A stored search."""

    retriever_id: str
    retriever_name: str
    collection_identifiers: list[str]
    stages: list[StageReply]
    input_schema: dict[str, Any]
    fusion: dict[str, Any] | None = None
    description: str | None
    metadata: dict[str, Any]
    version: int


class Retrievers(Reply):
    """A page of stored searches."""

    results: list[RetrieverReply]
    total: int
    total_count: int
    pagination: Pagination


class ChangedRetriever(Reply):
    """A stored search after a change."""

    retriever: RetrieverReply


class ClonedRetriever(ChangedRetriever):
    """A stored search that was created as a copy of another one."""

    source_retriever_id: str


@router.post("")
def create_retriever(
    body: NewRetriever, here: Here, idempotency_key: IdempotencyKey = ""
) -> RetrieverReply:
    """Store a search. The collections that it names may be created later."""
    stages_of(body.stages)
    spec = {
        "collections": body.collection_identifiers or body.collection_ids or [],
        "stages": body.stages,
        "input_schema": body.input_schema or {},
        "about": {"description": body.description, "metadata": body.metadata or {}},
        "version": 1,
    }
    with here.runtime.store.write() as txn:
        make_once(txn, here, Kind.RETRIEVER, body.retriever_name, spec, idempotency_key)
    return get_retriever(body.retriever_name, here)


@router.post("/list")
def list_retrievers(here: Here, paged: Pages, body: ListBody | None = None) -> Retrievers:
    """List stored searches that fit filters or a text in name, id or description; sorted."""
    with here.runtime.store.read() as snapshot:
        rows = select_resources(
            listed(snapshot, here.namespace, Kind.RETRIEVER), Kind.RETRIEVER, body
        )
    page, pagination = paged.of(body).of_list(rows, lambda row: int(row.pk))
    results = [_reply(row) for row in page]
    return Retrievers(
        results=results, total=len(rows), total_count=len(rows), pagination=pagination
    )


@router.get("")
def list_retrievers_get(here: Here, paged: Pages) -> Retrievers:
    """List stored searches."""
    return list_retrievers(here, paged)


@router.get("/{retriever}")
def get_retriever(retriever: str, here: Here) -> RetrieverReply:
    """Return a stored search by its name or id."""
    with here.runtime.store.read() as snapshot:
        return _reply(named(snapshot, here.namespace, Kind.RETRIEVER, retriever))


@router.patch("/{retriever}")
def change_retriever(retriever: str, body: RetrieverChange, here: Here) -> ChangedRetriever:
    """Change a stored search; its version rises by one."""
    with here.runtime.store.write() as txn:
        row = named(txn, here.namespace, Kind.RETRIEVER, retriever)
        if body.retriever_name not in (None, row.name):
            raise Conflict(f"the name {row.name!r} cannot change; clone the retriever instead")
        change(txn, row.pk, _changed(row.spec, body) | {"version": row.spec["version"] + 1})
    return ChangedRetriever(retriever=get_retriever(row.name, here))


@router.delete("/{retriever}")
def delete_retriever(retriever: str, here: Here) -> Deleted:
    """Remove a stored search; label fields that were created with it stay."""
    with here.runtime.store.write() as txn:
        row = named(txn, here.namespace, Kind.RETRIEVER, retriever)
        remove(txn, row.pk)
    return Deleted(message=f"removed the retriever {row.name}")


@router.post("/{retriever}/clone")
def clone_retriever(retriever: str, body: CloneRetriever, here: Here) -> ClonedRetriever:
    """Store a copy of a search, with changes."""
    with here.runtime.store.write() as txn:
        row = named(txn, here.namespace, Kind.RETRIEVER, retriever)
        spec = _changed(row.spec, body) | {"version": 1}
        at = here.runtime.clock()
        make(txn, here.namespace, Kind.RETRIEVER, body.retriever_name, spec, at=at)
    return ClonedRetriever(
        retriever=get_retriever(body.retriever_name, here),
        source_retriever_id=Kind.RETRIEVER.prefix + row.name,
    )


def _changed(spec: dict[str, Any], body: RetrieverChange) -> dict[str, Any]:
    after = dict(spec)
    if body.stages is not None:
        stages_of(body.stages)
        after["stages"] = body.stages
    if body.collection_identifiers is not None:
        after["collections"] = body.collection_identifiers
    if body.input_schema is not None:
        after["input_schema"] = body.input_schema
    return after | {"about": changed_about(spec["about"], body.description, body.metadata)}


def _reply(row: Any) -> RetrieverReply:
    spec = row.spec
    return RetrieverReply(
        retriever_id=Kind.RETRIEVER.prefix + row.name,
        retriever_name=row.name,
        collection_identifiers=spec["collections"],
        stages=[_stage(one, place) for place, one in enumerate(spec["stages"])],
        input_schema=spec["input_schema"],
        description=spec["about"].get("description"),
        metadata=spec["about"].get("metadata") or {},
        version=spec["version"],
    )


def _stage(raw: dict[str, Any], place: int) -> StageReply:
    """Return a stage in the shape that both the review page and the Mixpeek client read."""
    config = dict(raw.get("config") or {})
    if not config:
        kind = raw.get("stage_type") or raw.get("type")
        kind = "attribute_filter" if kind == "filter" else kind
        names = ("stage_type", "type", "stage_name")
        parameters = {key: value for key, value in raw.items() if key not in names}
        config = {"stage_id": kind, "parameters": parameters}
    kind = str(config.get("stage_id") or "feature_search")
    return StageReply(
        stage_name=str(raw.get("stage_name") or f"{kind}_{place}"),
        stage_type="apply" if kind == "taxonomy_enrich" else "filter",
        config=config,
        parameters=config.get("parameters") or {},
    )


# --- execution -----------------------------------------------------------------------------------

MAX_RUNS = 50


class Execution(Body):
    """The inputs, filters and page of one execution."""

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
    """A search that is not stored; without collections it covers all that have documents."""

    idle: ClassVar = Execution.idle | NewRetriever.idle
    collection_identifiers: list[str] | None = None
    input_schema: dict[str, Any] | None = None
    stages: list[dict[str, Any]] = Field(min_length=1, max_length=20)


class Executions(Body):
    """Several executions of one stored search."""

    idle: ClassVar = Execution.idle | {"concurrency"}
    queries: list[Execution] = Field(min_length=1, max_length=MAX_RUNS)
    return_presigned_urls: bool = False


class StageStatistics(Reply):
    """The number of documents before and after a stage, and its time."""

    input_count: int
    output_count: int
    duration_ms: float
    efficiency: float


class Statistics(Reply):
    """The statistics of each stage, by its index and name."""

    stages: dict[str, StageStatistics]


class ExecutionReply(Reply):
    """The documents that a search found, best first; `results` and `documents` are the same."""

    execution_id: str
    status: str = "completed"
    retriever_id: str
    documents: list[DocumentReply]
    results: list[DocumentReply]
    total: int
    pagination: dict[str, Any]
    stage_statistics: Statistics


class ExecutionsReply(Reply):
    """The results of several executions, in the order of the queries."""

    results: list[ExecutionReply]


@router.post("/execute")
def execute_ad_hoc(
    body: AdHoc, here: Here, return_presigned_urls: Presigned = False
) -> ExecutionReply:
    """Execute a search that is not stored."""
    signed = return_presigned_urls or body.return_presigned_urls
    return _run(here, "", body.collection_identifiers or [], body.stages, body, signed=signed)


@router.post("/{retriever}/execute")
def execute_retriever(
    retriever: str,
    here: Here,
    body: Execution | None = None,
    return_presigned_urls: Presigned = False,
) -> ExecutionReply:
    """Execute a stored search: by text, image, vector or document."""
    body = body or Execution()
    with here.runtime.store.read() as snapshot:
        row = named(snapshot, here.namespace, Kind.RETRIEVER, retriever)
    signed = return_presigned_urls or body.return_presigned_urls
    spec = row.spec
    return _run(here, row.name, spec["collections"], spec["stages"], body, signed=signed)


@router.post("/{retriever}/execute/batch")
def execute_batch(
    retriever: str, body: Executions, here: Here, return_presigned_urls: Presigned = False
) -> ExecutionsReply:
    """Execute a stored search several times."""
    signed = return_presigned_urls or body.return_presigned_urls
    runs = [execute_retriever(retriever, here, one, signed) for one in body.queries]
    return ExecutionsReply(results=runs)


def _run(
    here: Context,
    name: str,
    collections: Sequence[str],
    stages: Sequence[dict[str, Any]],
    body: Execution,
    *,
    signed: bool,
) -> ExecutionReply:
    parsed, inputs = stages_of(stages), body.inputs or {}
    wanted = [*collections] or _named_in(parsed)
    with here.runtime.store.read() as snapshot:
        if wanted:
            rows = collections_named(snapshot, here.namespace, wanted)
        else:
            rows = collections_with_documents(snapshot, here.namespace)
        run = retrieve(
            here.runtime,
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
            replies = document_replies(here, snapshot, row, pks, signed=signed)
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
    """Return the collections that stages name; used where the retriever itself names none."""
    searches = [one for one in stages if isinstance(one, Searching)]
    return list(dict.fromkeys(name for one in searches for name in one.collections))


def _page(body: Execution) -> tuple[int, int]:
    """Return the offset and the number of results that are requested."""
    given = body.pagination or {}
    size = _number(given, ("page_size", "limit"), body.limit or 1000)
    start = _number(given, ("offset",), 0)
    cursor = given.get("cursor")
    if cursor is not None:
        after = whole_number(cursor) if isinstance(cursor, str) else None
        if after is None:
            raise BadInput(
                f"pagination.cursor is {str(cursor)[:80]!r}; send the next_cursor of a reply"
            )
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
        for matches in one.enriched.values():
            for name, match in matches.items():
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
