"""From rows to documents: what a collection shows, with the matches behind every decision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Select, and_, select

from lookalike.fields import taxonomy_from
from lookalike.matches import shares
from lookalike.model import Decision, Document, Match, Origin, Reason, Standing, Taxonomy
from lookalike.standard import Standard, standard_from
from lookalike.stores import schema
from lookalike.stores.base import Snapshot

ANY: Any = object()
"""A filter that lets everything through; None is a value."""

_PAGE_ROWS = 500
_NEAREST_ONLY = 1e-6
_EVIDENCE_TEMPERATURE = 0.1


@dataclass(frozen=True, slots=True)
class FieldRow:
    """A label field as readers need it."""

    pk: int
    name: str
    taxonomy: Taxonomy
    reference_field_pk: int
    limit: float | None
    temperature: float
    standard: Standard | None

    @property
    def policy(self) -> str:
        """Return the policy's name with its version."""
        return "threshold.v1" if self.taxonomy.confidence_threshold is not None else "precision.v1"


def fields_of(snapshot: Snapshot, collection_pk: int) -> list[FieldRow]:
    """Return the label fields of a collection, the first one first."""
    table = schema.field
    query = select(table).where(table.c.collection_pk == collection_pk).order_by(table.c.pk)
    return [_field_row(row) for row in snapshot.rows(query)]


def documents(
    snapshot: Snapshot, collection: str, query: Select[Any], fields: Sequence[FieldRow]
) -> Iterator[Document]:
    """Yield the documents whose pks `query` selects (column `pk`), in its order."""
    pks = [row.pk for row in snapshot.rows(query)]
    for start in range(0, len(pks), _PAGE_ROWS):
        yield from _page(snapshot, collection, pks[start : start + _PAGE_ROWS], fields)


def document_query(collection_pk: int, field_pk: int) -> Select[Any]:
    """Return the statement that selects `document.pk` joined with its standing in a field."""
    document, standing = schema.document, schema.standing
    same = and_(standing.c.document_pk == document.c.pk, standing.c.field_pk == field_pk)
    joined = document.join(standing, same)
    query = select(document.c.pk).select_from(joined)
    return query.where(document.c.collection_pk == collection_pk)


def filtered(query: Select[Any], label: Any, origin: Any, reason: Any) -> Select[Any]:
    """Return a `document_query` narrowed: a label or origin of None means there is none."""
    standing = schema.standing.c
    if label is not ANY:
        query = query.where(standing.label.is_not_distinct_from(label))
    if origin is not ANY:
        wanted = None if origin is None else Origin(origin)
        query = query.where(standing.origin.is_not_distinct_from(wanted))
    if reason is not None:
        query = query.where(standing.reason == Reason(reason), standing.label.is_(None))
    return query


def _field_row(row: Any) -> FieldRow:
    taxonomy = taxonomy_from(row.taxonomy)
    standard = standard_from(row.standard)
    limit, temperature = taxonomy.confidence_threshold, _NEAREST_ONLY
    if limit is None and standard is not None:
        limit, temperature = standard.limit, _EVIDENCE_TEMPERATURE
    return FieldRow(
        row.pk, row.name, taxonomy, row.reference_field_pk, limit, temperature, standard
    )


def _page(
    snapshot: Snapshot, collection: str, pks: list[int], fields: Sequence[FieldRow]
) -> Iterator[Document]:
    document, object_ = schema.document, schema.object_
    query = (
        select(document, object_.c.id.label("object_id"))
        .join(object_, object_.c.pk == document.c.object_pk)
        .where(document.c.pk.in_(pks))
    )
    rows = {row.pk: row for row in snapshot.rows(query)}
    standings = {field.name: _standings(snapshot, pks, field) for field in fields}
    for pk in pks:
        row = rows[pk]
        yield Document(
            id=row.id,
            collection=collection,
            object_id=row.object_id,
            part=row.part,
            file_name=row.file_name,
            sha256=row.sha256.hex(),
            metadata=row.metadata,
            attributes=row.attributes,
            field=fields[0].name,
            standings={name: by_pk[pk] for name, by_pk in standings.items() if pk in by_pk},
        )


def _standings(snapshot: Snapshot, pks: list[int], field: FieldRow) -> dict[int, Standing]:
    table, rejection = schema.standing, schema.rejection
    here = (table.c.field_pk == field.pk) & table.c.document_pk.in_(pks)
    rows = snapshot.rows(select(table).where(here))
    refused: dict[int, list[str]] = {}
    chosen = (rejection.c.field_pk == field.pk) & rejection.c.document_pk.in_(pks)
    for row in snapshot.rows(select(rejection).where(chosen)):
        refused.setdefault(row.document_pk, []).append(row.label)
    known = _references(snapshot, field, rows)
    return {
        row.document_pk: _standing(
            row, field, known, tuple(sorted(refused.get(row.document_pk, ())))
        )
        for row in rows
    }


def _references(
    snapshot: Snapshot, field: FieldRow, rows: Sequence[Any]
) -> dict[int, tuple[str, str, dict[str, Any]]]:
    """Return id, label and metadata of all references that the rows list, by pk."""
    near = np.frombuffer(b"".join(row.near_pks for row in rows), np.int64)
    pks = np.unique(near[near >= 0]).tolist()
    document, standing = schema.document, schema.standing
    known: dict[int, tuple[str, str, dict[str, Any]]] = {}
    for start in range(0, len(pks), _PAGE_ROWS * 10):
        query = (
            select(document.c.pk, document.c.id, document.c.metadata, standing.c.label)
            .join(standing, standing.c.document_pk == document.c.pk)
            .where(standing.c.field_pk == field.reference_field_pk)
            .where(document.c.pk.in_(pks[start : start + _PAGE_ROWS * 10]))
        )
        known |= {row.pk: (row.id, row.label, row.metadata) for row in snapshot.rows(query)}
    return known


def _standing(
    row: Any,
    field: FieldRow,
    known: dict[int, tuple[str, str, dict[str, Any]]],
    rejected: tuple[str, ...],
) -> Standing:
    origin = None if row.origin is None else Origin(row.origin)
    source = known.get(row.source_pk)
    copied = {} if source is None or row.label is None else source[2]
    return Standing(
        label=row.label,
        origin=origin,
        is_reference=bool(row.votes),
        reviewed_by=row.actor if origin is Origin.HUMAN else None,
        suggestion=row.suggestion,
        rejected=rejected,
        enriched={name: copied[name] for name in field.taxonomy.enrich if name in copied},
        decision=Decision(
            label=row.label if origin is Origin.AUTO else None,
            confidence=row.confidence,
            margin=row.margin,
            threshold=field.limit,
            runner_up=row.runner_up,
            reason=None if row.reason is None else Reason(row.reason),
            matches=_matches(row, field, known),
            policy=field.policy,
            taxonomy_version=field.taxonomy.version,
        ),
    )


def _matches(
    row: Any, field: FieldRow, known: dict[int, tuple[str, str, dict[str, Any]]]
) -> tuple[Match, ...]:
    pks = np.frombuffer(row.near_pks, np.int64)
    similarities = np.frombuffer(row.near_similarities, np.float32)
    if len(pks) == 0:
        return ()
    parts = shares(similarities[None, :], field.temperature)[0].tolist()
    return tuple(
        Match(known[pk][0], similarity, known[pk][1], share)
        for pk, similarity, share in zip(pks.tolist(), similarities.tolist(), parts, strict=True)
        if pk in known
    )
