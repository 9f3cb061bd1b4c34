"""Retrievers over HTTP: stored searches, and running them."""

from __future__ import annotations

from typing import Any, ClassVar

from fastapi import APIRouter
from pydantic import Field

from lookalike.catalog.resources import Kind, change, listed, make, named, remove
from lookalike.catalog.retrievers import stages_of
from lookalike.errors import Conflict
from lookalike.server.context import Here, make_once
from lookalike.server.listing import resources_chosen
from lookalike.server.shapes import (
    Body,
    Deleted,
    IdempotencyKey,
    JsonRoute,
    ListBody,
    Name,
    Pages,
    Pagination,
    Reply,
)

router = APIRouter(prefix="/v1/retrievers", tags=["retrievers"], route_class=JsonRoute)


class NewRetriever(Body):
    """A stored search to be. A collection that it names need not be there yet."""

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
    """What of a stored search shall change."""

    idle: ClassVar = NewRetriever.idle
    retriever_name: str | None = None
    collection_identifiers: list[str] | None = None
    stages: list[dict[str, Any]] | None = Field(default=None, min_length=1, max_length=20)
    input_schema: dict[str, Any] | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None


class CloneRetriever(RetrieverChange):
    """A stored search that is to be like another one."""

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
    """Stored searches, a page of them."""

    results: list[RetrieverReply]
    total: int
    total_count: int
    pagination: Pagination


class ChangedRetriever(Reply):
    """A stored search as it is now."""

    retriever: RetrieverReply


class ClonedRetriever(ChangedRetriever):
    """A stored search that was made like another one."""

    source_retriever_id: str


@router.post("")
def create_retriever(
    body: NewRetriever, here: Here, idempotency_key: IdempotencyKey = ""
) -> RetrieverReply:
    """Store a search. A collection that it names may be made later."""
    stages_of(body.stages)
    spec = {
        "collections": body.collection_identifiers or body.collection_ids or [],
        "stages": body.stages,
        "input_schema": body.input_schema or {},
        "about": {"description": body.description, "metadata": body.metadata or {}},
        "version": 1,
    }
    with here.workshop.store.write() as txn:
        make_once(txn, here, Kind.RETRIEVER, body.retriever_name, spec, idempotency_key)
    return get_retriever(body.retriever_name, here)


@router.post("/list")
def list_retrievers(here: Here, paged: Pages, body: ListBody | None = None) -> Retrievers:
    """List stored searches: by filters or a text in their name, id or description; sorted."""
    with here.workshop.store.read() as snapshot:
        rows = resources_chosen(
            listed(snapshot, here.namespace, Kind.RETRIEVER), Kind.RETRIEVER, body
        )
    page, pagination = paged.of(body).of_list(rows, lambda row: int(row.pk))
    results = [_shown(row) for row in page]
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
    with here.workshop.store.read() as snapshot:
        return _shown(named(snapshot, here.namespace, Kind.RETRIEVER, retriever))


@router.patch("/{retriever}")
def change_retriever(retriever: str, body: RetrieverChange, here: Here) -> ChangedRetriever:
    """Change a stored search."""
    with here.workshop.store.write() as txn:
        row = named(txn, here.namespace, Kind.RETRIEVER, retriever)
        if body.retriever_name not in (None, row.name):
            raise Conflict(f"the name {row.name!r} is for ever; clone the retriever instead")
        change(txn, row.pk, _changed(row.spec, body) | {"version": row.spec["version"] + 1})
    return ChangedRetriever(retriever=get_retriever(row.name, here))


@router.delete("/{retriever}")
def delete_retriever(retriever: str, here: Here) -> Deleted:
    """Remove a stored search; label fields that were made with it stay as they are."""
    with here.workshop.store.write() as txn:
        row = named(txn, here.namespace, Kind.RETRIEVER, retriever)
        remove(txn, row.pk)
    return Deleted(message=f"removed the retriever {row.name}")


@router.post("/{retriever}/clone")
def clone_retriever(retriever: str, body: CloneRetriever, here: Here) -> ClonedRetriever:
    """Store a search like another one."""
    with here.workshop.store.write() as txn:
        row = named(txn, here.namespace, Kind.RETRIEVER, retriever)
        spec = _changed(row.spec, body) | {"version": 1}
        at = here.workshop.clock()
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
    about = dict(after["about"])
    if body.description is not None:
        about["description"] = body.description
    if body.metadata is not None:
        about["metadata"] = body.metadata
    return after | {"about": about}


def _shown(row: Any) -> RetrieverReply:
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
    """Return a stage in the one shape that both kinds of clients read."""
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
