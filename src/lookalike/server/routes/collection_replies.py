"""Collections as they are shown."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import func, select

from lookalike.catalog.reader import FieldRow, fields_of
from lookalike.catalog.resources import CollectionRow, Kind, resource
from lookalike.catalog.vocabulary import shown_labels
from lookalike.model import Status
from lookalike.quality.reports import count_documents
from lookalike.server.routes.collection_shapes import (
    ApplicationReply,
    CollectionReply,
    ExtractorReply,
    FeatureIndex,
    FeatureReply,
    Features,
    FieldReply,
    PassedReply,
    SourceReply,
)
from lookalike.stores import schema
from lookalike.stores.base import Snapshot
from lookalike.stores.selection import in_force


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
        fields=[_field(snapshot, one) for one in fields],
        taxonomy_applications=[
            ApplicationReply(taxonomy_id=Kind.TAXONOMY.prefix + name) for name in applied
        ],
        created_at=datetime.fromtimestamp(row.created_at, UTC),
    )


def features(snapshot: Snapshot, row: CollectionRow) -> Features:
    """Return what a collection can be searched by."""
    table = schema.space
    spaces = snapshot.rows(select(table).where(in_force(table, row.pk)))
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
    spaces = snapshot.rows(select(schema.space.c.name).where(in_force(schema.space, pk)))
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


def _field(snapshot: Snapshot, one: FieldRow) -> FieldReply:
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
