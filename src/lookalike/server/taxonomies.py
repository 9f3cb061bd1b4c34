"""Taxonomies over HTTP: rules with a name, their versions, and asking them without recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from fastapi import APIRouter
from numpy.typing import NDArray
from pydantic import Field

from lookalike.errors import BadInput, Conflict
from lookalike.filters import parse
from lookalike.lookup import ids_of, pks_of
from lookalike.matching import collections_named, matched
from lookalike.model import LABEL_SEPARATOR
from lookalike.resources import CollectionRow, Kind, change, find, listed, make, named, remove
from lookalike.server.context import Asked, Here, make_once
from lookalike.server.documents import selecting_in
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
from lookalike.server.taxonomy_bodies import TaxonomyConfig
from lookalike.server.taxonomy_replies import TaxonomyReply, node_id, shown_taxonomy
from lookalike.stores.base import Snapshot
from lookalike.taxonomies import TaxonomyRow, attached_to, detach, stored, taxonomy_row

router = APIRouter(prefix="/v1/taxonomies", tags=["taxonomies"], route_class=JsonRoute)

MAX_DOCUMENTS = 1000


class NewTaxonomy(Body):
    """A taxonomy to be."""

    idle: ClassVar = frozenset({"tags", "ready", "version"})
    taxonomy_name: Name
    config: TaxonomyConfig
    description: str | None = None
    metadata: dict[str, Any] | None = None


class TaxonomyChange(Body):
    """What a taxonomy says of itself; its rule changes by a new version."""

    taxonomy_name: str | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None


class NewVersion(Body):
    """The next version of a taxonomy."""

    config: TaxonomyConfig


class CloneTaxonomy(Body):
    """A taxonomy that is to be like another one."""

    taxonomy_name: Name
    config: TaxonomyConfig | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None


class SourceDocument(Body):
    """A document that is here."""

    idle: ClassVar = frozenset({"metadata", "object_id"})
    document_id: str
    collection_id: str | None = None


class TaxonomyExecution(Body):
    """Of what a taxonomy is asked; nothing is recorded."""

    idle: ClassVar = frozenset(
        {"join_mode", "batch_size", "taxonomy", "target_collection_id", "mode"}
    )
    source_documents: list[SourceDocument] | None = Field(default=None, max_length=MAX_DOCUMENTS)
    source_collection_id: str | None = None
    scroll_filters: Any = None


class Taxonomies(Reply):
    """Taxonomies, or versions of one; a page of them."""

    results: list[TaxonomyReply]
    total_count: int
    pagination: Pagination


class ClonedTaxonomy(Reply):
    """A taxonomy that was made like another one."""

    taxonomy: TaxonomyReply
    source_taxonomy_id: str


class MatchedNode(Reply):
    """What a taxonomy says of a document."""

    document_id: str
    taxonomy_id: str
    taxonomy_name: str
    node_id: str
    label: str
    score: float
    path: list[str]
    hierarchy_level: int
    enriched_fields: list[str]
    source_document_id: str


class ExecutionStats(Reply):
    """How many documents were asked of, and how many got a label."""

    processed_docs: int
    batches: int
    errors: int
    enriched: int


class TaxonomyExecuted(Reply):
    """What a taxonomy says; nothing was recorded."""

    stats: ExecutionStats
    results: list[dict[str, Any]]
    matches: list[MatchedNode]


@router.post("")
def create_taxonomy(
    body: NewTaxonomy, here: Here, idempotency_key: IdempotencyKey = ""
) -> TaxonomyReply:
    """Make a taxonomy. It decides nothing until it is attached to a collection."""
    spec, at = body.config.spec(), here.workshop.clock()
    about = _about(body.config, body.description, body.metadata)
    with here.workshop.store.write() as txn:
        written = stored([(spec, at)], about)
        known = find(txn, here.namespace, Kind.TAXONOMY, body.taxonomy_name)
        same = known is not None and taxonomy_row(known).spec == spec
        if not (idempotency_key and same):
            make_once(txn, here, Kind.TAXONOMY, body.taxonomy_name, written, "")
    return get_taxonomy(body.taxonomy_name, here)


@router.post("/list")
def list_taxonomies(here: Here, paged: Pages, body: ListBody | None = None) -> Taxonomies:
    """List taxonomies."""
    with here.workshop.store.read() as snapshot:
        rows = [taxonomy_row(row) for row in listed(snapshot, here.namespace, Kind.TAXONOMY)]
        page, pagination = paged.of(body).of_list(rows, lambda row: row.pk)
        results = [shown_taxonomy(here, snapshot, row) for row in page]
    return Taxonomies(results=results, total_count=len(rows), pagination=pagination)


@router.get("")
def list_taxonomies_get(here: Here, paged: Pages) -> Taxonomies:
    """List taxonomies."""
    return list_taxonomies(here, paged)


@router.get("/{taxonomy}")
def get_taxonomy(taxonomy: str, here: Here, version: int | None = None) -> TaxonomyReply:
    """Return a taxonomy by its name or id: the newest version, or the one asked for."""
    with here.workshop.store.read() as snapshot:
        row = _row(here, snapshot, taxonomy)
        if version is None:
            return shown_taxonomy(here, snapshot, row)
        if not 1 <= version <= len(row.versions):
            raise BadInput(f"the taxonomy {row.name!r} has versions 1 to {len(row.versions)}")
        return shown_taxonomy(here, snapshot, replace(row, versions=row.versions[:version]))


@router.patch("/{taxonomy}")
def change_taxonomy(taxonomy: str, body: TaxonomyChange, here: Here) -> TaxonomyReply:
    """Change what a taxonomy says of itself; its name is for ever."""
    with here.workshop.store.write() as txn:
        row = _row(here, txn, taxonomy)
        if body.taxonomy_name not in (None, row.name):
            raise Conflict(f"the name {row.name!r} is for ever; clone the taxonomy instead")
        about = dict(row.about)
        if body.description is not None:
            about["description"] = body.description
        if body.metadata is not None:
            about["metadata"] = body.metadata
        change(txn, row.pk, stored(row.versions, about))
    return get_taxonomy(row.name, here)


@router.delete("/{taxonomy}")
def delete_taxonomy(taxonomy: str, here: Here) -> Deleted:
    """Remove a taxonomy; the label fields that it made stay, with their labels."""
    with here.workshop.store.write() as txn:
        row = _row(here, txn, taxonomy)
        detach(txn, [field.pk for _, field in attached_to(txn, here.namespace, row.name)])
        remove(txn, row.pk)
    return Deleted(message=f"removed the taxonomy {row.name}")


@router.get("/{taxonomy}/versions")
def list_versions(taxonomy: str, here: Here, paged: Pages) -> Taxonomies:
    """List the versions of a taxonomy, the oldest first."""
    with here.workshop.store.read() as snapshot:
        row = _row(here, snapshot, taxonomy)
        all_of_them = [
            replace(row, versions=row.versions[:number])
            for number in range(1, len(row.versions) + 1)
        ]
        page, pagination = paged.of(None).of_list(all_of_them, lambda one: len(one.versions))
        results = [shown_taxonomy(here, snapshot, one) for one in page]
    return Taxonomies(results=results, total_count=len(all_of_them), pagination=pagination)


@router.post("/{taxonomy}/versions")
def create_version(taxonomy: str, body: NewVersion, here: Here) -> TaxonomyReply:
    """Give a taxonomy its next version. Collections follow it when it is applied to them."""
    with here.workshop.store.write() as txn:
        row = _row(here, txn, taxonomy)
        versions = (*row.versions, (body.config.spec(), here.workshop.clock()))
        about = {**row.about, "taxonomy_type": body.config.taxonomy_type}
        change(txn, row.pk, stored(versions, about))
    return get_taxonomy(row.name, here)


@router.post("/{taxonomy}/clone")
def clone_taxonomy(taxonomy: str, body: CloneTaxonomy, here: Here) -> ClonedTaxonomy:
    """Make a taxonomy like another one."""
    with here.workshop.store.write() as txn:
        row, at = _row(here, txn, taxonomy), here.workshop.clock()
        spec = row.spec if body.config is None else body.config.spec()
        about = {
            "description": body.description or row.about.get("description"),
            "metadata": body.metadata or row.about.get("metadata") or {},
            "taxonomy_type": row.about.get("taxonomy_type", "flat"),
        }
        written = stored([(spec, at)], about)
        make(txn, here.namespace, Kind.TAXONOMY, body.taxonomy_name, written, at=at)
    return ClonedTaxonomy(
        taxonomy=get_taxonomy(body.taxonomy_name, here),
        source_taxonomy_id=Kind.TAXONOMY.prefix + row.name,
    )


@router.post("/{taxonomy}/execute")
def execute_taxonomy(
    taxonomy: str, body: TaxonomyExecution, here: Here, version: int | None = None
) -> TaxonomyExecuted:
    """Return what a taxonomy says of documents that are here, and record nothing."""
    with here.workshop.store.read() as snapshot:
        row = _row(here, snapshot, taxonomy)
        if version is not None and version != len(row.versions):
            raise BadInput(f"only the newest version, {len(row.versions)}, can be asked")
        results: list[dict[str, Any]] = []
        matches: list[MatchedNode] = []
        for home, pks in _documents(here, snapshot, row, body):
            space = here.workshop.target_in(snapshot, home).space
            numbers: NDArray[np.int64] = np.array(pks, np.int64)
            vectors = snapshot.vectors(space, numbers)
            said = matched(
                here.workshop, snapshot, here.namespace, row.name, home, vectors, numbers
            )
            ids = ids_of(snapshot, pks)
            for pk, one in zip(pks, said, strict=True):
                results.append(_result(home, ids[pk], one))
                matches += _matches(row, ids[pk], one)
    labelled = sum(any(one["enrichment"].values()) for one in results)
    stats = ExecutionStats(processed_docs=len(results), batches=1, errors=0, enriched=labelled)
    return TaxonomyExecuted(stats=stats, results=results, matches=matches)


def _documents(
    here: Asked, snapshot: Snapshot, row: TaxonomyRow, body: TaxonomyExecution
) -> list[tuple[CollectionRow, list[int]]]:
    """Return the documents that are asked about, by collection."""
    if body.source_collection_id is not None:
        home = collections_named(snapshot, here.namespace, [body.source_collection_id])[0]
        chunks = selecting_in(snapshot, home).pks(parse(body.scroll_filters), limit=MAX_DOCUMENTS)
        return [(home, [pk for chunk in chunks for pk in chunk])]
    if not body.source_documents:
        raise BadInput("say of what: source_documents, or a source_collection_id")
    attached = attached_to(snapshot, here.namespace, row.name)
    default = attached[0][0].name if attached else row.spec.reference
    wanted: dict[str, list[str]] = {}
    for one in body.source_documents:
        name = one.collection_id or default
        if name is None:
            raise BadInput(f"say in which collection {one.document_id!r} is: collection_id")
        wanted.setdefault(name, []).append(one.document_id)
    found = []
    for name, ids in wanted.items():
        home = collections_named(snapshot, here.namespace, [name])[0]
        found.append((home, list(pks_of(snapshot, home, list(dict.fromkeys(ids))).values())))
    return found


def _result(home: CollectionRow, id: str, said: Mapping[str, Any]) -> dict[str, Any]:
    labels = {name: None if one is None else one["label"] for name, one in said.items()}
    copied = {key: value for one in said.values() if one for key, value in one["copied"].items()}
    return {
        "document_id": id,
        "collection_id": Kind.COLLECTION.prefix + home.name,
        "enrichment": labels | copied,
        "matches": dict(said),
    }


def _matches(row: TaxonomyRow, id: str, said: Mapping[str, Any]) -> list[MatchedNode]:
    return [
        MatchedNode(
            document_id=id,
            taxonomy_id=Kind.TAXONOMY.prefix + row.name,
            taxonomy_name=row.name,
            node_id=node_id(one["label"]),
            label=one["label"],
            score=one["score"],
            path=one["label"].split(LABEL_SEPARATOR),
            hierarchy_level=one["label"].count(LABEL_SEPARATOR),
            enriched_fields=[name, *one["copied"]],
            source_document_id=one["source_document_id"],
        )
        for name, one in said.items()
        if one is not None
    ]


def _row(here: Asked, snapshot: Snapshot, name: str) -> TaxonomyRow:
    return taxonomy_row(named(snapshot, here.namespace, Kind.TAXONOMY, name))


def _about(
    config: TaxonomyConfig, description: str | None, metadata: dict[str, Any] | None
) -> dict[str, Any]:
    return {
        "description": description,
        "metadata": metadata or {},
        "taxonomy_type": config.taxonomy_type,
        "input_mappings": _mappings(config),
    }


def _mappings(config: TaxonomyConfig) -> list[dict[str, Any]]:
    given = config.input_mappings or []
    if isinstance(given, dict):
        return [{"input_key": key, "source_type": "payload", "path": p} for key, p in given.items()]
    return [
        {"input_key": one.input_key, "source_type": one.source_type or "payload", "path": one.path}
        for one in given
    ]
