"""Collections as they are written and shown."""

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

_ENGINE = frozenset({"extractor_type", "enable_thumbnails", "use_cdn", "source_type", "split_by"})


class Source(Body):
    """What a collection draws on: buckets, or what another collection has extracted."""

    idle: ClassVar = frozenset({"field_map"})
    type: Literal["bucket", "collection"] = "bucket"
    bucket_id: str | None = None
    bucket_ids: list[str] | None = None
    collection_id: str | None = None
    collection_ids: list[str] | None = None
    source_filters: Any = None


class InputKey(Body):
    """Which property of an object is an input of the extractor."""

    idle: ClassVar = frozenset({"override", "source_type"})
    input_key: str
    path: str


class PassedField(Body):
    """A field of an object's metadata that documents keep, and what they call it."""

    idle: ClassVar = frozenset({"required", "default"})
    source_path: str
    target_path: str | None = None


class FeatureExtractor(Body):
    """What makes documents of objects."""

    feature_extractor_name: str
    version: str | None = None
    input_mappings: dict[str, str] | list[InputKey] | None = None
    field_passthrough: list[PassedField | str] | None = None
    include_all_source_fields: bool = False
    params: dict[str, Any] | None = None
    parameters: dict[str, Any] | None = None

    @property
    def inputs(self) -> dict[str, str]:
        """Return the property of each input."""
        given = self.input_mappings or {}
        if isinstance(given, list):
            given = {one.input_key: one.path for one in given}
        return {key: path.removeprefix("payload.") for key, path in given.items()}

    @property
    def passthrough(self) -> dict[str, str] | None:
        """Return what documents keep: the path in an object's metadata, by the name in theirs."""
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
        """Return the options of the extractor; those of other engines are left out."""
        given = {**(self.parameters or {}), **(self.params or {})}
        if "extractor_type" in given:
            return {}
        return {key: value for key, value in given.items() if key not in _ENGINE}


class NewCollection(Body):
    """A collection to be."""

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
    """What of a collection shall change; a taxonomy is attached, or follows another rule."""

    idle: ClassVar = NewCollection.idle
    taxonomy: InlineTaxonomy | None = None
    taxonomy_applications: list[Application] | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None


class CloneCollection(Body):
    """A copy to be: over the same objects, by the same extractor and rules, with no labels."""

    collection_name: Name
    description: str | None = None
    metadata: dict[str, Any] | None = None


class Trigger(Body):
    """What shall be extracted again: what has failed, or `force`: all that some objects are."""

    idle: ClassVar = frozenset({"include_buckets", "include_collections"})
    object_ids: list[str] | None = None
    source_filters: Any = None
    dedup_strategy: Literal["skip", "replace", "force"] | None = None


class SourceReply(Reply):
    """What a collection draws on."""

    type: str
    bucket_ids: list[str] | None
    collection_id: str | None


class PassedReply(Reply):
    """A field of an object's metadata that documents keep, and what they call it."""

    source_path: str
    target_path: str


class ExtractorReply(Reply):
    """What makes documents of objects."""

    feature_extractor_name: str
    version: str
    feature_extractor_id: str
    input_mappings: dict[str, str]
    field_passthrough: list[PassedReply]


class ApplicationReply(Reply):
    """A taxonomy that is attached."""

    taxonomy_id: str
    execution_mode: str = "materialize"


class FieldReply(Reply):
    """A label field and the rule that fills it.

    `labels` are those that were declared or described; with `closed_set` all that there can be.
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
    """Collections, a page of them."""

    results: list[CollectionReply]
    total_count: int
    pagination: Pagination


class ClonedCollection(Reply):
    """A collection that was made like another one."""

    collection: CollectionReply
    source_collection_id: str


class FeatureIndex(Reply):
    """Where vectors are kept, and what they are."""

    name: str
    description: str
    dimensions: int
    type: str = "dense"
    distance: str = "cosine"


class FeatureReply(Reply):
    """Vectors that can be searched by; requests name them by `feature_uri`."""

    feature_uri: str
    feature_address: str
    feature_extractor_name: str
    version: str
    primary: bool = True
    vector_index: FeatureIndex


class Features(Reply):
    """What a collection can be searched by: one kind of vectors, once something is extracted."""

    features: list[FeatureReply]


class Triggered(Reply):
    """The task that extracts."""

    task_id: str
    collection_id: str
    total_tiers: int = 1
    message: str


class ApplyTaxonomy(Body):
    """The taxonomy that shall decide again."""

    idle: ClassVar = frozenset({"batch_size", "parallelism"})
    taxonomy_id: str
    scroll_filters: Any = None


class Applied(Reply):
    """The task that decides."""

    task_id: str
    status: str
    collection_id: str
    taxonomy_id: str


class ExportBody(Body):
    """What shall be written out."""

    idle: ClassVar = frozenset({"include_lineage", "include_media", "samples_per_shard"})
    format: Literal["json", "jsonl", "csv"] = "json"
    include_vectors: bool = False
    select_fields: list[str] | None = None
    filters: Any = None
    sample_size: int | None = Field(None, ge=1, le=10_000_000)


class Exported(Reply):
    """A file that was written; `download_url` needs no key, for a while."""

    download_url: str
    s3_path: str
    format: str
    document_count: int
    file_size_bytes: int
    exported_at: datetime


def _field(path: str) -> str:
    return check_field(path.removeprefix("metadata."))


def check_source(source: Source) -> None:
    """Raise BadInput for a source that is not known here."""
    if source.source_filters:
        raise BadInput(
            "source_filters are not known here: a collection takes all objects of its source; "
            "put what belongs together into a bucket of its own"
        )


# --- replies -------------------------------------------------------------------------------------


def shown(snapshot: Snapshot, row: CollectionRow) -> CollectionReply:
    """Return a collection as it is shown."""
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
    """Return what a collection can be searched by."""
    table = schema.space
    spaces = snapshot.rows(select(table).where(is_current_space(table, row.pk)))
    found = []
    for space in spaces:
        extractor = _extractor(row, space.name)
        uri = f"lookalike://{extractor.feature_extractor_name}@{extractor.version}/embedding"
        found.append(
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
    return Features(features=found)


def _state(snapshot: Snapshot, pk: int) -> tuple[str | None, int, int]:
    """Return the space of a collection, and how many objects wait and have failed."""
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
    return FieldReply(
        field=one.name,
        mode="unified" if one.pk == one.reference_field_pk else "separate",
        reference_collection_id=collection_id(rule.reference),
        reference_field=rule.reference_field,
        policy=one.policy,
        confidence_threshold=rule.confidence_threshold,
        target_precision=rule.target_precision if calibrates else None,
        limit=one.limit,
        top_k=rule.top_k,
        enrich=list(rule.enrich),
        exclusive=rule.exclusive or None,
        low_quality=rule.low_quality,
        hierarchical=rule.hierarchical,
        closed_set=rule.closed_set,
        labels=shown_labels(snapshot, one.pk),
        version=rule.version,
        taxonomy_id=Kind.TAXONOMY.prefix + rule.taxonomy if rule.taxonomy else None,
    )


def collection_id(name: str) -> str:
    """Return the id that is made of a name."""
    return Kind.COLLECTION.prefix + name
