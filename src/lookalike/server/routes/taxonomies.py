"""Taxonomy routes: named policies with versions, and executing them without recording."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from fastapi import APIRouter
from pydantic import Field

from lookalike.catalog.filters import parse
from lookalike.catalog.objects import input_of, object_pks, read_objects
from lookalike.catalog.reader import ids_of, pks_of
from lookalike.catalog.resources import (
    CollectionRow,
    Kind,
    change,
    dig,
    find,
    listed,
    make,
    named,
    remove,
)
from lookalike.catalog.taxonomies import TaxonomyRow, attached_to, stored, taxonomy_row
from lookalike.errors import BadInput, Conflict, NotFound
from lookalike.ingest.documents import Target
from lookalike.ingest.executors import chosen_inputs
from lookalike.library.collection.suggestions import (
    collections_named,
    matched_known,
    matched_vectors,
)
from lookalike.library.create import detach
from lookalike.library.retrieve import mode_of, vectors_of, vectors_of_inputs
from lookalike.model import LABEL_SEPARATOR, Blob
from lookalike.server.context import Context, Here, changed_about, make_once
from lookalike.server.listing import select_resources
from lookalike.server.routes.documents import selecting_in
from lookalike.server.routes.taxonomy_shapes import (
    TaxonomyConfig,
    TaxonomyReply,
    node_id,
    taxonomy_reply,
)
from lookalike.server.shapes import (
    Body,
    Deleted,
    IdempotencyKey,
    JsonRoute,
    ListBody,
    Name,
    OpenBody,
    Pages,
    Pagination,
    Reply,
)
from lookalike.stores.base import Snapshot

router = APIRouter(prefix="/v1/taxonomies", tags=["taxonomies"], route_class=JsonRoute)


class NewTaxonomy(Body):
    """A new taxonomy."""

    idle: ClassVar = frozenset({"tags", "ready", "version"})
    taxonomy_name: Name
    config: TaxonomyConfig
    description: str | None = None
    metadata: dict[str, Any] | None = None


class TaxonomyChange(Body):
    """A new description or metadata of a taxonomy; its config changes by a new version."""

    taxonomy_name: str | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None


class NewVersion(Body):
    """The next version of a taxonomy."""

    config: TaxonomyConfig


class CloneTaxonomy(Body):
    """The name of a copy of a taxonomy, and changes of it."""

    taxonomy_name: Name
    config: TaxonomyConfig | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None


class Taxonomies(Reply):
    """A page of taxonomies, or of versions of one."""

    results: list[TaxonomyReply]
    total_count: int
    pagination: Pagination


class ClonedTaxonomy(Reply):
    """A taxonomy that was created as a copy of another one."""

    taxonomy: TaxonomyReply
    source_taxonomy_id: str


@router.post("")
def create_taxonomy(
    body: NewTaxonomy, here: Here, idempotency_key: IdempotencyKey = ""
) -> TaxonomyReply:
    """Create a taxonomy. It decides nothing until it is attached to a collection."""
    spec, at = body.config.spec(), here.runtime.clock()
    about = _about(body.config, body.description, body.metadata)
    with here.runtime.store.write() as txn:
        written = stored([(spec, at)], about)
        known = find(txn, here.namespace, Kind.TAXONOMY, body.taxonomy_name)
        same = known is not None and taxonomy_row(known).spec == spec
        if not (idempotency_key and same):
            make_once(txn, here, Kind.TAXONOMY, body.taxonomy_name, written, "")
    return get_taxonomy(body.taxonomy_name, here)


@router.post("/list")
def list_taxonomies(here: Here, paged: Pages, body: ListBody | None = None) -> Taxonomies:
    """List taxonomies that fit filters or a text in name, id or description; sorted."""
    with here.runtime.store.read() as snapshot:
        found = listed(snapshot, here.namespace, Kind.TAXONOMY)
        rows = [taxonomy_row(row) for row in select_resources(found, Kind.TAXONOMY, body)]
        page, pagination = paged.of(body).of_list(rows, lambda row: row.pk)
        results = [taxonomy_reply(here, snapshot, row) for row in page]
    return Taxonomies(results=results, total_count=len(rows), pagination=pagination)


@router.get("")
def list_taxonomies_get(here: Here, paged: Pages) -> Taxonomies:
    """List taxonomies."""
    return list_taxonomies(here, paged)


@router.get("/{taxonomy}")
def get_taxonomy(taxonomy: str, here: Here, version: int | None = None) -> TaxonomyReply:
    """Return a taxonomy by its name or id: a version, by default the newest."""
    with here.runtime.store.read() as snapshot:
        row = taxonomy_named(here, snapshot, taxonomy)
        if version is None:
            return taxonomy_reply(here, snapshot, row)
        if not 1 <= version <= len(row.versions):
            raise BadInput(f"the taxonomy {row.name!r} has versions 1 to {len(row.versions)}")
        return taxonomy_reply(here, snapshot, row, version)


@router.patch("/{taxonomy}")
def change_taxonomy(taxonomy: str, body: TaxonomyChange, here: Here) -> TaxonomyReply:
    """Change a taxonomy's description or metadata; its name cannot change."""
    with here.runtime.store.write() as txn:
        row = taxonomy_named(here, txn, taxonomy)
        if body.taxonomy_name not in (None, row.name):
            raise Conflict(f"the name {row.name!r} cannot change; clone the taxonomy instead")
        about = changed_about(row.about, body.description, body.metadata)
        change(txn, row.pk, stored(row.versions, about))
    return get_taxonomy(row.name, here)


@router.delete("/{taxonomy}")
def delete_taxonomy(taxonomy: str, here: Here) -> Deleted:
    """Remove a taxonomy; its label fields stay, with their labels."""
    with here.runtime.store.write() as txn:
        row = taxonomy_named(here, txn, taxonomy)
        detach(txn, [field.pk for _, field in attached_to(txn, here.namespace, row.name)])
        remove(txn, row.pk)
    return Deleted(message=f"removed the taxonomy {row.name}")


@router.get("/{taxonomy}/versions")
def list_versions(taxonomy: str, here: Here, paged: Pages) -> Taxonomies:
    """List the versions of a taxonomy, oldest first."""
    with here.runtime.store.read() as snapshot:
        row = taxonomy_named(here, snapshot, taxonomy)
        numbers = range(1, len(row.versions) + 1)
        page, pagination = paged.of(None).of_list(numbers, lambda number: number)
        results = [taxonomy_reply(here, snapshot, row, number) for number in page]
    return Taxonomies(results=results, total_count=len(numbers), pagination=pagination)


@router.post("/{taxonomy}/versions")
def create_version(taxonomy: str, body: NewVersion, here: Here) -> TaxonomyReply:
    """Add a version to a taxonomy. A collection uses it once the taxonomy is applied again."""
    with here.runtime.store.write() as txn:
        row = taxonomy_named(here, txn, taxonomy)
        versions = (*row.versions, (body.config.spec(), here.runtime.clock()))
        change(txn, row.pk, stored(versions, row.about))
    return get_taxonomy(row.name, here)


@router.post("/{taxonomy}/clone")
def clone_taxonomy(taxonomy: str, body: CloneTaxonomy, here: Here) -> ClonedTaxonomy:
    """Create a copy of a taxonomy, with changes."""
    with here.runtime.store.write() as txn:
        row, at = taxonomy_named(here, txn, taxonomy), here.runtime.clock()
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


def taxonomy_named(here: Context, snapshot: Snapshot, name: str) -> TaxonomyRow:
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


# --- execution: decide without recording ---------------------------------------------------------

MAX_DOCUMENTS = 1000
_MODES = {"image": "content", "content": "content", "url": "content", "base64": "content"}
_MODES |= {"text": "text", "vector": "vector"}


class SourceDocument(OpenBody):
    """An existing document, an existing object, or a content in any other key.

    A content is a text, a URL, base64 or a vector. Its key is that of the `input_mappings` of the
    taxonomy or the collection, else `image`, `text`, `vector`, `url` or `base64`. An unknown id is
    the caller's own name for the content.
    """

    document_id: str | None = None
    collection_id: str | None = None
    object_id: str | None = None


class TaxonomyExecution(Body):
    """What to decide: documents, one content as `inputs`, or the documents of a collection.

    Nothing is recorded.
    """

    idle: ClassVar = frozenset(
        {"join_mode", "batch_size", "taxonomy", "target_collection_id", "mode"}
    )
    source_documents: list[SourceDocument] | None = Field(default=None, max_length=MAX_DOCUMENTS)
    inputs: dict[str, Any] | None = None
    source_collection_id: str | None = None
    scroll_filters: Any = None


class MatchedNode(Reply):
    """A label that a taxonomy gives to a document."""

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
    """The number of documents decided, and of those that got a label."""

    processed_docs: int
    batches: int
    errors: int
    enriched: int


class TaxonomyExecuted(Reply):
    """The decisions of a taxonomy, in request order; a content has a result for each part."""

    stats: ExecutionStats
    results: list[dict[str, Any]]
    matches: list[MatchedNode]


@router.post("/execute/{taxonomy}")
@router.post("/{taxonomy}/execute")
def execute_taxonomy(
    taxonomy: str, body: TaxonomyExecution, here: Here, version: int | None = None
) -> TaxonomyExecuted:
    """Return the labels that a taxonomy gives to documents, objects or contents; record nothing."""
    with here.runtime.store.read() as snapshot:
        row = taxonomy_named(here, snapshot, taxonomy)
        if version is not None and version != len(row.versions):
            raise BadInput(f"only the newest version, {len(row.versions)}, can be executed")
        if body.source_collection_id is None:
            decided = _of_each(here, snapshot, row, body)
        else:
            home = collections_named(snapshot, here.namespace, [body.source_collection_id])[0]
            chunks = selecting_in(snapshot, home).pks(
                parse(body.scroll_filters), limit=MAX_DOCUMENTS
            )
            pks = [pk for chunk in chunks for pk in chunk]
            decided = _of_known(here, snapshot, row, home, pks)
    labelled = sum(any(one is not None for one in fields.values()) for _, _, fields in decided)
    stats = ExecutionStats(processed_docs=len(decided), batches=1, errors=0, enriched=labelled)
    return TaxonomyExecuted(
        stats=stats,
        results=[_result(home, id, fields) for home, id, fields in decided],
        matches=[node for _, id, fields in decided for node in _matches(row, id, fields)],
    )


_Decided = tuple[CollectionRow, str, Mapping[str, Any]]
"""The collection of a document or content, its id, and by field its match or None."""


def _of_each(
    here: Context, snapshot: Snapshot, row: TaxonomyRow, body: TaxonomyExecution
) -> list[_Decided]:
    """Decide each document, object and content of a request; return them in request order."""
    sources = list(body.source_documents or ())
    if body.inputs is not None:
        sources.append(SourceDocument(metadata=body.inputs))
    if not sources:
        raise BadInput("give source_documents, inputs, or a source_collection_id")
    attached = attached_to(snapshot, here.namespace, row.name)
    default = attached[0][0].name if attached else row.spec.reference
    by_index: dict[int, list[_Decided]] = {}
    known: dict[str, list[tuple[int, int]]] = {}
    homes: dict[str, CollectionRow] = {}
    for index, one in enumerate(sources):
        name = one.collection_id or default
        if name is None:
            raise BadInput(f"name the collection of {one.document_id!r}: collection_id")
        home = collections_named(snapshot, here.namespace, [name])[0]
        homes[home.name] = home
        pk = _known_pk(snapshot, home, one.document_id)
        if pk is not None:
            known.setdefault(home.name, []).append((index, pk))
        else:
            by_index[index] = _of_new(here, snapshot, row, home, one)
    for name, pairs in known.items():
        decided = _of_known(here, snapshot, row, homes[name], [pk for _, pk in pairs])
        by_index |= {index: [one] for (index, _), one in zip(pairs, decided, strict=True)}
    return [one for index in sorted(by_index) for one in by_index[index]]


def _known_pk(snapshot: Snapshot, home: CollectionRow, id: str | None) -> int | None:
    if id is None:
        return None
    try:
        return pks_of(snapshot, home, [id])[id]
    except NotFound:
        return None


def _of_known(
    here: Context, snapshot: Snapshot, row: TaxonomyRow, home: CollectionRow, pks: list[int]
) -> list[_Decided]:
    if not pks:
        return []
    matches = matched_known(here.runtime, snapshot, here.namespace, row.name, home, pks)
    ids = ids_of(snapshot, pks)
    return [(home, ids[pk], one) for pk, one in zip(pks, matches, strict=True)]


def _of_new(
    here: Context, snapshot: Snapshot, row: TaxonomyRow, home: CollectionRow, one: SourceDocument
) -> list[_Decided]:
    """Decide each part of a content, or of an object of the bucket."""
    target = here.runtime.target_in(snapshot, home)
    given = _input(row, home, one.all_metadata())
    if given is not None:
        value, mode = given
        vectors = vectors_of(here.runtime, target, value, mode or mode_of(value, target))
    elif one.object_id is not None:
        inputs = _inputs(snapshot, target, one.object_id)
        vectors = vectors_of_inputs(here.runtime, target, *inputs)
    elif one.document_id is not None:
        raise NotFound(
            f"{home.name!r} has no document {one.document_id!r}, and no content comes with it"
        )
    else:
        raise BadInput(f"there is no content: give it as {', '.join(_MODES)}")
    matches = matched_vectors(here.runtime, snapshot, here.namespace, row.name, home, vectors)
    return [(home, one.document_id or one.object_id or "", fields) for fields in matches]


def _inputs(
    snapshot: Snapshot, target: Target, object_id: str
) -> tuple[Blob, dict[str, Blob | None]]:
    """Return the blobs of an object that a collection extracts. Raises NotFound, BadInput."""
    home = target.row
    for number, bucket_pk in enumerate(home.bucket_pks, 1):
        try:
            pk = object_pks(snapshot, bucket_pk, [object_id])[object_id]
            break
        except NotFound:
            if number == len(home.bucket_pks):
                raise
    found = read_objects(snapshot, home.name, [pk])[0]
    blobs = input_of(home, found.blobs, found.metadata)
    blob, others = chosen_inputs(target, blobs or ())
    if blob is None:
        raise BadInput(f"the object {object_id!r} has nothing that {home.name!r} extracts")
    return blob, others


def _input(
    row: TaxonomyRow, home: CollectionRow, given: Mapping[str, Any]
) -> tuple[Any, str] | None:
    """Return the content in a request and its mode ("" for any); None without a content."""
    paths = [(one["input_key"], one.get("path")) for one in row.about.get("input_mappings") or ()]
    paths += [*home.inputs.items(), *((key, key) for key in _MODES)]
    for key, path in paths:
        for payload in (given, given.get("payload")):
            value = dig(payload, path) if path and isinstance(payload, Mapping) else None
            if value is not None and value != "":
                return value, _mode(key, value)
    return None


def _mode(key: str, value: Any) -> str:
    """Return the mode of a value, by its type first and then by its key."""
    if isinstance(value, list):
        return "vector"
    return "content" if isinstance(value, Mapping) else _MODES.get(key, "")


def _result(home: CollectionRow, id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    labels = {name: None if one is None else one["label"] for name, one in fields.items()}
    copied = {key: value for one in fields.values() if one for key, value in one["copied"].items()}
    return {
        "document_id": id,
        "collection_id": Kind.COLLECTION.prefix + home.name,
        "enrichment": labels | copied,
        "matches": dict(fields),
    }


def _matches(row: TaxonomyRow, id: str, fields: Mapping[str, Any]) -> list[MatchedNode]:
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
        for name, one in fields.items()
        if one is not None
    ]
