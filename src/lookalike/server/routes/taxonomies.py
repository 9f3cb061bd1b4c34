"""Taxonomies over HTTP: rules with a name, their versions, and asking them without recording."""

from __future__ import annotations

from typing import Any, ClassVar

from fastapi import APIRouter

from lookalike.catalog.resources import Kind, change, find, listed, make, named, remove
from lookalike.catalog.taxonomies import TaxonomyRow, attached_to, stored, taxonomy_row
from lookalike.errors import BadInput, Conflict
from lookalike.library.create import detach
from lookalike.server.context import Asked, Here, make_once
from lookalike.server.listing import resources_chosen
from lookalike.server.routes.taxonomy_bodies import TaxonomyConfig
from lookalike.server.routes.taxonomy_replies import TaxonomyReply, shown_taxonomy
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
from lookalike.stores.base import Snapshot

router = APIRouter(prefix="/v1/taxonomies", tags=["taxonomies"], route_class=JsonRoute)


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


class Taxonomies(Reply):
    """Taxonomies, or versions of one; a page of them."""

    results: list[TaxonomyReply]
    total_count: int
    pagination: Pagination


class ClonedTaxonomy(Reply):
    """A taxonomy that was made like another one."""

    taxonomy: TaxonomyReply
    source_taxonomy_id: str


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
    """List taxonomies: by filters or a text in their name, id or description; sorted."""
    with here.workshop.store.read() as snapshot:
        found = listed(snapshot, here.namespace, Kind.TAXONOMY)
        rows = [taxonomy_row(row) for row in resources_chosen(found, Kind.TAXONOMY, body)]
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
        row = taxonomy_named(here, snapshot, taxonomy)
        if version is None:
            return shown_taxonomy(here, snapshot, row)
        if not 1 <= version <= len(row.versions):
            raise BadInput(f"the taxonomy {row.name!r} has versions 1 to {len(row.versions)}")
        return shown_taxonomy(here, snapshot, row, version)


@router.patch("/{taxonomy}")
def change_taxonomy(taxonomy: str, body: TaxonomyChange, here: Here) -> TaxonomyReply:
    """Change what a taxonomy says of itself; its name is for ever."""
    with here.workshop.store.write() as txn:
        row = taxonomy_named(here, txn, taxonomy)
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
        row = taxonomy_named(here, txn, taxonomy)
        detach(txn, [field.pk for _, field in attached_to(txn, here.namespace, row.name)])
        remove(txn, row.pk)
    return Deleted(message=f"removed the taxonomy {row.name}")


@router.get("/{taxonomy}/versions")
def list_versions(taxonomy: str, here: Here, paged: Pages) -> Taxonomies:
    """List the versions of a taxonomy, the oldest first."""
    with here.workshop.store.read() as snapshot:
        row = taxonomy_named(here, snapshot, taxonomy)
        all_of_them = list(range(1, len(row.versions) + 1))
        page, pagination = paged.of(None).of_list(all_of_them, lambda number: number)
        results = [shown_taxonomy(here, snapshot, row, number) for number in page]
    return Taxonomies(results=results, total_count=len(all_of_them), pagination=pagination)


@router.post("/{taxonomy}/versions")
def create_version(taxonomy: str, body: NewVersion, here: Here) -> TaxonomyReply:
    """Give a taxonomy its next version. Collections follow it when it is applied to them."""
    with here.workshop.store.write() as txn:
        row = taxonomy_named(here, txn, taxonomy)
        versions = (*row.versions, (body.config.spec(), here.workshop.clock()))
        change(txn, row.pk, stored(versions, row.about))
    return get_taxonomy(row.name, here)


@router.post("/{taxonomy}/clone")
def clone_taxonomy(taxonomy: str, body: CloneTaxonomy, here: Here) -> ClonedTaxonomy:
    """Make a taxonomy like another one."""
    with here.workshop.store.write() as txn:
        row, at = taxonomy_named(here, txn, taxonomy), here.workshop.clock()
        spec = row.spec if body.config is None else body.config.spec()
        about = {
            "description": body.description or row.about.get("description"),
            "metadata": body.metadata or row.about.get("metadata") or {},
        }
        written = stored([(spec, at)], about)
        make(txn, here.namespace, Kind.TAXONOMY, body.taxonomy_name, written, at=at)
    return ClonedTaxonomy(
        taxonomy=get_taxonomy(body.taxonomy_name, here),
        source_taxonomy_id=Kind.TAXONOMY.prefix + row.name,
    )


def taxonomy_named(here: Asked, snapshot: Snapshot, name: str) -> TaxonomyRow:
    """Return a taxonomy by its name or id. Raises NotFound."""
    return taxonomy_row(named(snapshot, here.namespace, Kind.TAXONOMY, name))


def _about(
    config: TaxonomyConfig, description: str | None, metadata: dict[str, Any] | None
) -> dict[str, Any]:
    return {
        "description": description,
        "metadata": metadata or {},
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
