"""Taxonomies over HTTP: rules with a name, their versions, and asking them without recording."""

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
    matched_unkept,
)
from lookalike.library.create import detach
from lookalike.library.retrieve import mode_of, vectors_of, vectors_of_inputs
from lookalike.model import LABEL_SEPARATOR, Blob
from lookalike.server.context import Asked, Here, make_once
from lookalike.server.listing import select_resources
from lookalike.server.routes.documents import selecting_in
from lookalike.server.routes.taxonomy_shapes import (
    TaxonomyConfig,
    TaxonomyReply,
    node_id,
    shown_taxonomy,
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
    """List taxonomies: by filters or a text in their name, id or description; sorted."""
    with here.runtime.store.read() as snapshot:
        found = listed(snapshot, here.namespace, Kind.TAXONOMY)
        rows = [taxonomy_row(row) for row in select_resources(found, Kind.TAXONOMY, body)]
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
    with here.runtime.store.read() as snapshot:
        row = taxonomy_named(here, snapshot, taxonomy)
        if version is None:
            return shown_taxonomy(here, snapshot, row)
        if not 1 <= version <= len(row.versions):
            raise BadInput(f"the taxonomy {row.name!r} has versions 1 to {len(row.versions)}")
        return shown_taxonomy(here, snapshot, row, version)


@router.patch("/{taxonomy}")
def change_taxonomy(taxonomy: str, body: TaxonomyChange, here: Here) -> TaxonomyReply:
    """Change what a taxonomy says of itself; its name is for ever."""
    with here.runtime.store.write() as txn:
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
    with here.runtime.store.write() as txn:
        row = taxonomy_named(here, txn, taxonomy)
        detach(txn, [field.pk for _, field in attached_to(txn, here.namespace, row.name)])
        remove(txn, row.pk)
    return Deleted(message=f"removed the taxonomy {row.name}")


@router.get("/{taxonomy}/versions")
def list_versions(taxonomy: str, here: Here, paged: Pages) -> Taxonomies:
    """List the versions of a taxonomy, the oldest first."""
    with here.runtime.store.read() as snapshot:
        row = taxonomy_named(here, snapshot, taxonomy)
        all_of_them = list(range(1, len(row.versions) + 1))
        page, pagination = paged.of(None).of_list(all_of_them, lambda number: number)
        results = [shown_taxonomy(here, snapshot, row, number) for number in page]
    return Taxonomies(results=results, total_count=len(all_of_them), pagination=pagination)


@router.post("/{taxonomy}/versions")
def create_version(taxonomy: str, body: NewVersion, here: Here) -> TaxonomyReply:
    """Give a taxonomy its next version. Collections follow it when it is applied to them."""
    with here.runtime.store.write() as txn:
        row = taxonomy_named(here, txn, taxonomy)
        versions = (*row.versions, (body.config.spec(), here.runtime.clock()))
        change(txn, row.pk, stored(versions, row.about))
    return get_taxonomy(row.name, here)


@router.post("/{taxonomy}/clone")
def clone_taxonomy(taxonomy: str, body: CloneTaxonomy, here: Here) -> ClonedTaxonomy:
    """Make a taxonomy like another one."""
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


# --- execution: what a taxonomy says, nothing kept -----------------------------------------------

MAX_DOCUMENTS = 1000
_MODES = {"image": "content", "content": "content", "url": "content", "base64": "content"}
_MODES |= {"text": "text", "vector": "vector"}


class SourceDocument(OpenBody):
    """A document that is here, an object that is, or a content in any other key.

    A content is a text, a URL, base64 or a vector; it is looked for where the taxonomy's
    `input_mappings` or those of the collection say, then under `image`, `text`, `vector`, `url` and
    `base64`. An id that is not known is the caller's own name for it.
    """

    document_id: str | None = None
    collection_id: str | None = None
    object_id: str | None = None


class TaxonomyExecution(Body):
    """Of what a taxonomy is asked: documents, one content as `inputs`, or a collection's documents.

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
    """What a taxonomy says, in the order asked; a content has a result for each of its parts."""

    stats: ExecutionStats
    results: list[dict[str, Any]]
    matches: list[MatchedNode]


@router.post("/execute/{taxonomy}")
@router.post("/{taxonomy}/execute")
def execute_taxonomy(
    taxonomy: str, body: TaxonomyExecution, here: Here, version: int | None = None
) -> TaxonomyExecuted:
    """Return what a taxonomy says of documents, objects or contents, and record nothing."""
    with here.runtime.store.read() as snapshot:
        row = taxonomy_named(here, snapshot, taxonomy)
        if version is not None and version != len(row.versions):
            raise BadInput(f"only the newest version, {len(row.versions)}, can be asked")
        if body.source_collection_id is None:
            answered = _of_each(here, snapshot, row, body)
        else:
            home = collections_named(snapshot, here.namespace, [body.source_collection_id])[0]
            chosen = selecting_in(snapshot, home).pks(
                parse(body.scroll_filters), limit=MAX_DOCUMENTS
            )
            pks = [pk for chunk in chosen for pk in chunk]
            answered = _of_known(here, snapshot, row, home, pks)
    labelled = sum(any(one is not None for one in said.values()) for _, _, said in answered)
    stats = ExecutionStats(processed_docs=len(answered), batches=1, errors=0, enriched=labelled)
    return TaxonomyExecuted(
        stats=stats,
        results=[_result(home, id, said) for home, id, said in answered],
        matches=[node for _, id, said in answered for node in _matches(row, id, said)],
    )


_Answer = tuple[CollectionRow, str, Mapping[str, Any]]
"""In which collection, the id, and what the taxonomy says of it."""


def _of_each(
    here: Asked, snapshot: Snapshot, row: TaxonomyRow, body: TaxonomyExecution
) -> list[_Answer]:
    """Return what a taxonomy says of each thing that a request names or brings along."""
    things = list(body.source_documents or ())
    if body.inputs is not None:
        things.append(SourceDocument(metadata=body.inputs))
    if not things:
        raise BadInput("say of what: source_documents, inputs, or a source_collection_id")
    attached = attached_to(snapshot, here.namespace, row.name)
    default = attached[0][0].name if attached else row.spec.reference
    placed: dict[int, list[_Answer]] = {}
    known: dict[str, list[tuple[int, int]]] = {}
    homes: dict[str, CollectionRow] = {}
    for place, one in enumerate(things):
        name = one.collection_id or default
        if name is None:
            raise BadInput(f"say in which collection {one.document_id!r} is: collection_id")
        home = collections_named(snapshot, here.namespace, [name])[0]
        homes[home.name] = home
        pk = _known_pk(snapshot, home, one.document_id)
        if pk is not None:
            known.setdefault(home.name, []).append((place, pk))
        else:
            placed[place] = _of_unkept(here, snapshot, row, home, one)
    for name, pairs in known.items():
        answers = _of_known(here, snapshot, row, homes[name], [pk for _, pk in pairs])
        placed |= {place: [one] for (place, _), one in zip(pairs, answers, strict=True)}
    return [one for place in sorted(placed) for one in placed[place]]


def _known_pk(snapshot: Snapshot, home: CollectionRow, id: str | None) -> int | None:
    if id is None:
        return None
    try:
        return pks_of(snapshot, home, [id])[id]
    except NotFound:
        return None


def _of_known(
    here: Asked, snapshot: Snapshot, row: TaxonomyRow, home: CollectionRow, pks: list[int]
) -> list[_Answer]:
    if not pks:
        return []
    said = matched_known(here.runtime, snapshot, here.namespace, row.name, home, pks)
    ids = ids_of(snapshot, pks)
    return [(home, ids[pk], one) for pk, one in zip(pks, said, strict=True)]


def _of_unkept(
    here: Asked, snapshot: Snapshot, row: TaxonomyRow, home: CollectionRow, one: SourceDocument
) -> list[_Answer]:
    """Return what a taxonomy says of each part of a content, or of an object of the bucket."""
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
        raise BadInput(f"there is no content to ask about: give it as {', '.join(_MODES)}")
    said = matched_unkept(here.runtime, snapshot, here.namespace, row.name, home, vectors)
    return [(home, one.document_id or one.object_id or "", what) for what in said]


def _inputs(
    snapshot: Snapshot, target: Target, object_id: str
) -> tuple[Blob, dict[str, Blob | None]]:
    """Return what a collection would extract of an object. Raises NotFound, BadInput."""
    home = target.row
    for place, bucket_pk in enumerate(home.bucket_pks, 1):
        try:
            pk = object_pks(snapshot, bucket_pk, [object_id])[object_id]
            break
        except NotFound:
            if place == len(home.bucket_pks):
                raise
    found = read_objects(snapshot, home.name, [pk])[0]
    blobs = input_of(home, found.blobs, found.metadata)
    blob, beside = chosen_inputs(target, blobs or ())
    if blob is None:
        raise BadInput(f"the object {object_id!r} has nothing that {home.name!r} extracts")
    return blob, beside


def _input(
    row: TaxonomyRow, home: CollectionRow, given: Mapping[str, Any]
) -> tuple[Any, str] | None:
    """Return the content that comes with a request, and how it is meant, where that is said."""
    paths = [(one["input_key"], one.get("path")) for one in row.about.get("input_mappings") or ()]
    paths += [*home.inputs.items(), *((key, key) for key in _MODES)]
    for key, path in paths:
        for payload in (given, given.get("payload")):
            value = dig(payload, path) if path and isinstance(payload, Mapping) else None
            if value is not None and value != "":
                return value, _mode(key, value)
    return None


def _mode(key: str, value: Any) -> str:
    """Return how a value is meant: what is no text is never one, whatever its key says."""
    if isinstance(value, list):
        return "vector"
    return "content" if isinstance(value, Mapping) else _MODES.get(key, "")


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
