"""Taxonomies as they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
from typing import Any

from pydantic import Field
from sqlalchemy import select

from lookalike.catalog.reader import FieldRow
from lookalike.catalog.resources import CollectionRow, Kind
from lookalike.catalog.taxonomies import Spec, TaxonomyRow, attached_to
from lookalike.catalog.vocabulary import shown_labels
from lookalike.labels import check_label
from lookalike.library.versions import listed
from lookalike.model import LABEL_SEPARATOR
from lookalike.server.context import Asked
from lookalike.server.shapes import (
    Reply,
)
from lookalike.stores import schema
from lookalike.stores.base import Snapshot


class ConfigReply(Reply):
    """What a taxonomy says."""

    taxonomy_type: str
    retriever_id: str
    input_mappings: list[dict[str, Any]]
    source_collection: dict[str, Any]
    fields: dict[str, str]
    enrich: list[str]
    confidence_threshold: float | None
    target_precision: float | None
    targets: dict[str, float] | None
    top_k: int
    path_field: str | None
    path_separator: str
    exclusive: str | None
    low_quality: bool
    closed_set: bool | None
    labels: dict[str, str | None] | None


class NodeReply(Reply):
    """A label as a node of a tree."""

    node_id: str
    label: str
    path: list[str]
    level: int


class KeptVersion(Reply):
    """A point in the ledger of a label field that someone named while a version was the newest."""

    collection_id: str
    field: str
    name: str
    note: str
    kept_at: datetime


class TaxonomyReply(Reply):
    """A taxonomy."""

    taxonomy_id: str
    taxonomy_name: str
    description: str | None
    metadata: dict[str, Any]
    config: ConfigReply
    version: int
    ready: bool = True
    nodes: list[NodeReply]
    applied_to: list[str]
    kept_versions: list[KeptVersion] = Field(default_factory=list)
    created_at: datetime


def shown_taxonomy(
    here: Asked, snapshot: Snapshot, row: TaxonomyRow, number: int | None = None
) -> TaxonomyReply:
    """Return a taxonomy as it is shown, with where it is attached and the labels that vote.

    It is the newest version, or that of a `number`.
    """
    last = len(row.versions) if number is None else number
    until = row.versions[last][1] if last < len(row.versions) else inf
    row = replace(row, versions=row.versions[:last])
    attached = attached_to(snapshot, here.namespace, row.name)
    applied = list(dict.fromkeys(home.name for home, _ in attached))
    return TaxonomyReply(
        taxonomy_id=Kind.TAXONOMY.prefix + row.name,
        taxonomy_name=row.name,
        description=row.about.get("description"),
        metadata=row.about.get("metadata") or {},
        config=_config(row, row.spec, applied),
        version=len(row.versions),
        nodes=_nodes(snapshot, [field.reference_field_pk for _, field in attached]),
        applied_to=[Kind.COLLECTION.prefix + name for name in applied],
        kept_versions=_kept(snapshot, attached, row.versions[-1][1], until),
        created_at=datetime.fromtimestamp(row.created_at, UTC),
    )


def _kept(
    snapshot: Snapshot,
    attached: Sequence[tuple[CollectionRow, FieldRow]],
    since: float,
    until: float,
) -> list[KeptVersion]:
    """Return the points that were named in label fields while a version was the newest."""
    return [
        KeptVersion(
            collection_id=Kind.COLLECTION.prefix + home.name,
            name=one.name,
            field=one.field,
            note=one.note,
            kept_at=one.at,
        )
        for home, field in attached
        for one in listed(snapshot, home, field, retired=False)
        if since <= one.at.timestamp() < until
    ]


def _config(row: TaxonomyRow, spec: Spec, applied: Sequence[str]) -> ConfigReply:
    retriever = spec.retriever or row.name
    reference = spec.reference or next(iter(applied), "")
    fields = [{"field_path": source, "target_field": name} for name, source in spec.fields.items()]
    fields += [{"field_path": name, "target_field": name} for name in spec.enrich]
    is_id = retriever.startswith(Kind.RETRIEVER.prefix)
    return ConfigReply(
        taxonomy_type="flat" if spec.hierarchical is False else "hierarchical",
        retriever_id=retriever if is_id else Kind.RETRIEVER.prefix + retriever,
        input_mappings=row.about.get("input_mappings") or [],
        source_collection={"collection_id": reference, "enrichment_fields": fields},
        fields=dict(spec.fields),
        enrich=list(spec.enrich),
        confidence_threshold=spec.confidence_threshold,
        target_precision=spec.target_precision,
        targets=None if spec.targets is None else dict(spec.targets),
        top_k=spec.top_k or 10,
        path_field=spec.path_field,
        path_separator=spec.separator,
        exclusive=spec.exclusive or None,
        low_quality=bool(spec.low_quality),
        closed_set=spec.closed_set,
        labels=None if spec.labels is None else dict(spec.labels),
    )


def _nodes(snapshot: Snapshot, field_pks: Sequence[int]) -> list[NodeReply]:
    """Return the labels that vote or were declared, and all above them, as nodes of a tree."""
    table = schema.standing
    query = select(table.c.label).distinct()
    rows = snapshot.rows(query.where(table.c.field_pk.in_(field_pks), table.c.votes.is_(True)))
    declared = {label for pk in field_pks for label in shown_labels(snapshot, pk)}
    paths = {
        tuple(parts[: level + 1])
        for label in {row.label for row in rows} | declared
        for parts in [check_label(label).split(LABEL_SEPARATOR)]
        for level in range(len(parts))
    }
    return [
        NodeReply(
            node_id=node_id(LABEL_SEPARATOR.join(path)),
            label=path[-1],
            path=list(path),
            level=len(path) - 1,
        )
        for path in sorted(paths)
    ]


def node_id(label: str) -> str:
    """Return the id of a label as a node of a tree."""
    return "node_" + label.replace(LABEL_SEPARATOR, "/")
