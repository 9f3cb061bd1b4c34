"""The JSON shapes of collections: bodies of requests, and replies."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from pydantic import Field
from sqlalchemy import func, select

from lookalike.catalog.filters import check_field
from lookalike.catalog.reader import FieldRow, fields_of
from lookalike.catalog.resources import CollectionRow, Kind, resource
from lookalike.catalog.vocabulary import shown_labels
from lookalike.errors import BadInput
from lookalike.model import Status
from lookalike.quality.reports import count_documents
from lookalike.server.routes.taxonomy_shapes import Application, InlineTaxonomy
from lookalike.server.shapes import Body, Name, Pagination, Reply
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, is_current_space

_FOREIGN_OPTIONS = frozenset(
    {"extractor_type", "enable_thumbnails", "use_cdn", "source_type", "split_by"}
)
"""Options of Mixpeek's extractors that Lookalike's do not have."""


class Source(Body):
    """The source of a collection: buckets, or the documents of another collection."""

    idle: ClassVar = frozenset({"field_map"})
    type: Literal["bucket", "collection"] = "bucket"
    bucket_id: str | None = None
    bucket_ids: list[str] | None = None
    collection_id: str | None = None
    collection_ids: list[str] | None = None
    source_filters: Any = None


class InputKey(Body):
    """An input of the extractor, and the property of an object that it reads."""

    idle: ClassVar = frozenset({"override", "source_type"})
    input_key: str
    path: str


class PassedField(Body):
    """A field of an object's metadata that its documents copy, and its name in them."""

    idle: ClassVar = frozenset({"required", "default"})
    source_path: str
    target_path: str | None = None


class FeatureExtractor(Body):
    """The extractor, which makes documents of objects, with its inputs and options."""

    feature_extractor_name: str
    version: str | None = None
    input_mappings: dict[str, str] | list[InputKey] | None = None
    field_passthrough: list[PassedField | str] | None = None
    include_all_source_fields: bool = False
    params: dict[str, Any] | None = None
    parameters: dict[str, Any] | None = None

    @property
    def inputs(self) -> dict[str, str]:
        """Return the path of the property of each input."""
        given = self.input_mappings or {}
        if isinstance(given, list):
            given = {one.input_key: one.path for one in given}
        return {key: path.removeprefix("payload.") for key, path in given.items()}

    @property
    def passthrough(self) -> dict[str, str] | None:
        """Return the copied fields: name in the document → path in the object's metadata."""
        if self.field_passthrough is None or self.include_all_source_fields:
            return None
        passed = [
            PassedField(source_path=one) if isinstance(one, str) else one
            for one in self.field_passthrough
        ]
        pairs = [(one.target_path or one.source_path, one.source_path) for one in passed]
        return {_field(target): _field(source) for target, source in pairs}

    @property
    def options(self) -> dict[str, Any]:
        """Return the options of the extractor, without those of Mixpeek's extractors."""
        given = {**(self.parameters or {}), **(self.params or {})}
        if "extractor_type" in given:
            return {}
        return {key: value for key, value in given.items() if key not in _FOREIGN_OPTIONS}


class NewCollection(Body):
    """A new collection."""

    idle: ClassVar = frozenset(
        {
            *("enabled", "input_schema", "features", "embedding_task", "schedule", "tags"),
            *("schema_validation", "feature_extractors", "output_schema", "cluster_applications"),
            *("alert_applications", "retriever_enrichments", "storage_tier"),
        }
    )
    collection_name: Name
    source: Source
    feature_extractor: FeatureExtractor
    taxonomy: InlineTaxonomy | None = None
    taxonomy_applications: list[Application] | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None


class CollectionChange(Body):
    """Changes of a collection: its description, metadata, taxonomies and their policies."""

    idle: ClassVar = NewCollection.idle
    taxonomy: InlineTaxonomy | None = None
    taxonomy_applications: list[Application] | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None


class CloneCollection(Body):
    """The name of a copy: same objects, extractor and policies, without labels."""

    collection_name: Name
    description: str | None = None
    metadata: dict[str, Any] | None = None


class Trigger(Body):
    """What to extract again: failed objects, or with `force` or `replace` the `object_ids`."""

    idle: ClassVar = frozenset({"include_buckets", "include_collections"})
    object_ids: list[str] | None = None
    source_filters: Any = None
    dedup_strategy: Literal["skip", "replace", "force"] | None = None


class SourceReply(Reply):
    """The source of a collection."""

    type: str
    bucket_ids: list[str] | None
    collection_id: str | None


class PassedReply(Reply):
    """A field of an object's metadata that its documents copy, and its name in them."""

    source_path: str
    target_path: str


class ExtractorReply(Reply):
    """The extractor of a collection, with its inputs."""

    feature_extractor_name: str
    version: str
    feature_extractor_id: str
    input_mappings: dict[str, str]
    field_passthrough: list[PassedReply]


class ApplicationReply(Reply):
    """A taxonomy that is attached to a collection."""

    taxonomy_id: str
    execution_mode: str = "materialize"


class FieldReply(Reply):
    """A label field and its policy.

    `labels` are the declared or described ones; with `closed_set` there can be no others.
    """

    field: str
    mode: str
    reference_collection_id: str
    reference_field: str
    policy: str
    confidence_threshold: float | None
    target_precision: float | None
    limit: float | None
    top_k: int
    enrich: list[str]
    exclusive: str | None
    low_quality: bool
    hierarchical: bool
    closed_set: bool
    labels: list[str]
    version: int
    taxonomy_id: str | None


class CollectionReply(Reply):
    """A collection."""

    collection_id: str
    collection_name: str
    description: str | None
    metadata: dict[str, Any]
    source: SourceReply
    feature_extractor: ExtractorReply
    space: str | None
    document_count: int
    waiting_count: int
    failed_count: int
    fields: list[FieldReply]
    taxonomy_applications: list[ApplicationReply]
    enabled: bool = True
    created_at: datetime


class Collections(Reply):
    """A page of collections."""

    results: list[CollectionReply]
    total_count: int
    pagination: Pagination


class ClonedCollection(Reply):
    """A collection that was created as a copy of another one."""

    collection: CollectionReply
    source_collection_id: str


class FeatureIndex(Reply):
    """A vector index: its name, and the size and kind of its vectors."""

    name: str
    description: str
    dimensions: int
    type: str = "dense"
    distance: str = "cosine"


class FeatureReply(Reply):
    """The vectors of a collection; searches name them by `feature_uri`."""

    feature_uri: str
    feature_address: str
    feature_extractor_name: str
    version: str
    primary: bool = True
    vector_index: FeatureIndex


class Features(Reply):
    """The vectors by which a collection can be searched; none before the first extraction."""

    features: list[FeatureReply]


class Triggered(Reply):
    """The task of an extraction."""

    task_id: str
    collection_id: str
    total_tiers: int = 1
    message: str


class ApplyTaxonomy(Body):
    """The taxonomy by which to decide all documents again."""

    idle: ClassVar = frozenset({"batch_size", "parallelism"})
    taxonomy_id: str
    scroll_filters: Any = None


class Applied(Reply):
    """The task of deciding all documents again."""

    task_id: str
    status: str
    collection_id: str
    taxonomy_id: str


class ExportBody(Body):
    """What to export: format, fields, filters, or a random sample."""

    idle: ClassVar = frozenset({"include_lineage", "include_media", "samples_per_shard"})
    format: Literal["json", "jsonl", "csv"] = "json"
    include_vectors: bool = False
    select_fields: list[str] | None = None
    filters: Any = None
    sample_size: int | None = Field(None, ge=1, le=10_000_000)


class Exported(Reply):
    """An exported file; `download_url` needs no key until it expires."""

    download_url: str
    s3_path: str
    format: str
    document_count: int
    file_size_bytes: int
    exported_at: datetime


def _field(path: str) -> str:
    return check_field(path.removeprefix("metadata."))


def check_source(source: Source) -> None:
    """Raise BadInput for a source with filters, which are not supported."""
    if source.source_filters:
        raise BadInput(
            "source_filters are not supported: a collection has all objects of its source; put the "
            "objects of this collection into a bucket of their own"
        )


# --- replies -------------------------------------------------------------------------------------


def collection_reply(snapshot: Snapshot, row: CollectionRow) -> CollectionReply:
    """Return a collection as JSON."""
    fields = fields_of(snapshot, row.pk)
    space, waiting, failed = _state(snapshot, row.pk)
    source = (
        None if row.source_pk is None else collection_id(resource(snapshot, row.source_pk).name)
    )
    buckets = [Kind.BUCKET.prefix + resource(snapshot, pk).name for pk in row.bucket_pks]
    applied = dict.fromkeys(one.taxonomy.taxonomy for one in fields if one.taxonomy.taxonomy)
    return CollectionReply(
        collection_id=collection_id(row.name),
        collection_name=row.name,
        description=row.about.get("description"),
        metadata=row.about.get("metadata") or {},
        source=SourceReply(
            type="bucket" if source is None else "collection",
            bucket_ids=buckets if source is None else None,
            collection_id=source,
        ),
        feature_extractor=_extractor(row, space),
        space=space,
        document_count=count_documents(snapshot, row.pk),
        waiting_count=waiting,
        failed_count=failed,
        fields=[_field_reply(snapshot, one) for one in fields],
        taxonomy_applications=[
            ApplicationReply(taxonomy_id=Kind.TAXONOMY.prefix + name) for name in applied
        ],
        created_at=datetime.fromtimestamp(row.created_at, UTC),
    )


def features(snapshot: Snapshot, row: CollectionRow) -> Features:
    """Return the vectors by which a collection can be searched."""
    table = schema.space
    spaces = snapshot.rows(select(table).where(is_current_space(table, row.pk)))
    replies = []
    for space in spaces:
        extractor = _extractor(row, space.name)
        uri = f"lookalike://{extractor.feature_extractor_name}@{extractor.version}/embedding"
        replies.append(
            FeatureReply(
                feature_uri=uri,
                feature_address=uri,
                feature_extractor_name=extractor.feature_extractor_name,
                version=extractor.version,
                vector_index=FeatureIndex(
                    name=space.name,
                    description=f"vectors of documents of {row.name}, in the space {space.name}",
                    dimensions=space.dimension,
                ),
            )
        )
    return Features(features=replies)


def _state(snapshot: Snapshot, pk: int) -> tuple[str | None, int, int]:
    """Return a collection's embedding space, and its numbers of pending and failed objects."""
    spaces = snapshot.rows(select(schema.space.c.name).where(is_current_space(schema.space, pk)))
    table = schema.extraction
    counts = select(table.c.status, func.count().label("n")).where(table.c.collection_pk == pk)
    by_status = {row.status: row.n for row in snapshot.rows(counts.group_by(table.c.status))}
    failed = by_status.pop(Status.FAILED, 0)
    return spaces[0].name if spaces else None, sum(by_status.values()), failed


def _extractor(row: CollectionRow, space: str | None) -> ExtractorReply:
    version = row.about.get("extractor_version") or "v1"
    if space is not None:
        version = space.partition("/")[0].rpartition(".")[2]
    passed = (row.passthrough or {}).items()
    return ExtractorReply(
        feature_extractor_name=row.extractor,
        version=version,
        feature_extractor_id=f"{row.extractor}_{version}",
        input_mappings=dict(row.inputs),
        field_passthrough=[
            PassedReply(source_path=source, target_path=target) for target, source in passed
        ],
    )


def _field_reply(snapshot: Snapshot, one: FieldRow) -> FieldReply:
    rule = one.taxonomy
    calibrates = rule.confidence_threshold is None
    return FieldReply.of(
        rule,
        field=one.name,
        mode="unified" if one.pk == one.reference_field_pk else "separate",
        reference_collection_id=collection_id(rule.reference),
        policy=one.policy,
        target_precision=rule.target_precision if calibrates else None,
        limit=one.limit,
        exclusive=rule.exclusive or None,
        labels=shown_labels(snapshot, one.pk),
        taxonomy_id=Kind.TAXONOMY.prefix + rule.taxonomy if rule.taxonomy else None,
    )


def collection_id(name: str) -> str:
    """Return the id of a collection, which contains its name."""
    return Kind.COLLECTION.prefix + name
