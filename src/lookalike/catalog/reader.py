"""Reads rows as `Document`s, with the matches behind every decision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, and_, select

from lookalike.catalog.fields import StoredField, placed, stored_field, taxonomy_from
from lookalike.catalog.references import ReferenceBook
from lookalike.catalog.resources import CollectionRow
from lookalike.classifier.calibration.decision_rule import (
    DecisionRule,
    current_decision_rule,
    decision_rule_from,
)
from lookalike.classifier.graph.search import NO_ID, Ids, ReferenceArrays, nearest, shares
from lookalike.errors import BadInput, NotFound
from lookalike.labels import Codes
from lookalike.model import (
    ANY,
    Answer,
    Blob,
    Decision,
    Document,
    Match,
    Origin,
    Reason,
    Standing,
    Taxonomy,
)
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, conditions, one_of

_Choice = TypeVar("_Choice", bound=StrEnum)
_PAGE_ROWS = 500
_NEAREST_ONLY = 1e-6
_EVIDENCE_TEMPERATURE = 0.1


@dataclass(frozen=True, slots=True)
class FieldRow:
    """A label field with what readers need."""

    pk: int
    name: str
    taxonomy: Taxonomy
    reference_field_pk: int
    limit: float | None
    temperature: float
    decision_rule: DecisionRule | None

    def limit_of(self, label: str | None) -> float | None:
        """Return the confidence from which on a label is given."""
        limits = {} if self.decision_rule is None else self.decision_rule.limits
        return limits.get(str(label), self.limit)

    @property
    def policy(self) -> str:
        """Return the policy's name with its version."""
        return "threshold.v1" if self.taxonomy.confidence_threshold is not None else "precision.v1"


def fields_of(snapshot: Snapshot, collection_pk: int) -> list[FieldRow]:
    """Return the label fields of a collection, oldest first."""
    table = schema.field
    query = select(table).where(table.c.collection_pk == collection_pk).order_by(table.c.pk)
    return [_field_row(row) for row in snapshot.rows(query)]


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads documents of one snapshot, with the matches of their `fields`, oldest first.

    Without `matches` no decision shows matches: searching them takes most of the time.
    """

    snapshot: Snapshot
    book: ReferenceBook
    fields: Sequence[FieldRow]
    matches: bool = True
    _votes: dict[int, tuple[StoredField, ReferenceArrays, Codes]] = field(default_factory=dict)

    def documents(self, collection: str, query: Select[Any]) -> Iterator[Document]:
        """Yield the documents whose pks `query` selects (column `pk`), in its order."""
        return self.documents_by_pk(collection, [row.pk for row in self.snapshot.rows(query)])

    def documents_by_pk(self, collection: str, pks: Sequence[int]) -> Iterator[Document]:
        """Yield the documents of pks, in their order."""
        for start in range(0, len(pks), _PAGE_ROWS):
            yield from self._page(collection, pks[start : start + _PAGE_ROWS])

    def _page(self, collection: str, pks: Sequence[int]) -> Iterator[Document]:
        document, object_ = schema.document, schema.object_
        query = (
            select(document, object_.c.id.label("object_id"))
            .add_columns(object_.c.created_at, object_.c.blobs)
            .join(object_, object_.c.pk == document.c.object_pk)
            .where(document.c.pk.in_(pks))
        )
        rows = {row.pk: row for row in self.snapshot.rows(query)}
        standings = {field.name: self._standings(pks, field) for field in self.fields}
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
                field=self.fields[0].name if self.fields else "",
                standings={name: by_pk[pk] for name, by_pk in standings.items() if pk in by_pk},
                created_at=datetime.fromtimestamp(row.created_at, UTC),
                blobs=tuple(Blob(**blob) for blob in row.blobs),
            )

    def _standings(self, pks: Sequence[int], field: FieldRow) -> dict[int, Standing]:
        table, rejection = schema.standing, schema.rejection
        here = (table.c.field_pk == field.pk) & table.c.document_pk.in_(pks)
        rows = self.snapshot.rows(select(table).where(here).order_by(table.c.document_pk))
        refused: dict[int, list[str]] = {}
        chosen = (rejection.c.field_pk == field.pk) & rejection.c.document_pk.in_(pks)
        for row in self.snapshot.rows(select(rejection).where(chosen)):
            refused.setdefault(row.document_pk, []).append(row.label)
        lists = self._lists([row.document_pk for row in rows], field, refused)
        sources = {row.source_pk for row in rows if row.source_pk is not None}
        known = self.described(field, {near.pk for one in lists for near in one} | sources)
        return {
            row.document_pk: _standing(
                row, field, near, known, tuple(sorted(refused.get(row.document_pk, ())))
            )
            for row, near in zip(rows, lists, strict=True)
        }

    def _lists(
        self, pks: list[int], field: FieldRow, refused: Mapping[int, Sequence[str]]
    ) -> list[list[Near]]:
        """Return the nearest references of documents, without those of rejected labels.

        They are derived from vectors and labels: the same that the decision used.
        """
        if not pks or not self.matches:
            return [[] for _ in pks]
        stored, _, _ = self._votes_on(field.pk)
        documents = np.array(pks, np.int64)
        documents = documents[placed(self.snapshot, stored.space, documents)]
        barred = [refused.get(pk, ()) for pk in documents.tolist()] if refused else None
        vectors = self.snapshot.vectors(stored.space, documents)
        near = zip(documents.tolist(), self.near(field, vectors, documents, barred), strict=True)
        lists = dict(near)
        return [lists.get(pk, []) for pk in pks]

    def near(
        self,
        field: FieldRow,
        vectors: NDArray[np.float16],
        pks: Ids,
        barred: Sequence[Sequence[str]] | None = None,
    ) -> list[list[Near]]:
        """Return the nearest references of each of `vectors` (n, d), nearest first.

        The document itself, by `pks` (n,), and references with a label in `barred` are left out.
        """
        _, references, codes = self._votes_on(field.pk)
        hidden = None
        if barred is not None:
            refused = [[codes.code(name) for name in names] for names in barred]
            hidden = np.stack([np.isin(references.codes, one) for one in refused])
        near, similarities = nearest(
            vectors,
            references.vectors,
            references.pks,
            field.taxonomy.top_k,
            query_ids=pks,
            hidden=hidden,
        )
        labels = references.matches(near, similarities).codes
        parts = shares(similarities, field.temperature)
        found = (near, labels, similarities, parts)
        return [
            [
                Near(pk, str(codes.name(code)), similarity, share)
                for pk, code, similarity, share in zip(*row, strict=True)
                if pk != NO_ID
            ]
            for row in zip(*(one.tolist() for one in found), strict=True)
        ]

    def _votes_on(self, field_pk: int) -> tuple[StoredField, ReferenceArrays, Codes]:
        if field_pk not in self._votes:
            stored = stored_field(self.snapshot, field_pk)
            space, voting = stored.reference_space, stored.reference_field_pk
            self._votes[field_pk] = (stored, *self.book.of(self.snapshot, voting, space))
        return self._votes[field_pk]

    def described(self, field: FieldRow, pks: Iterable[int]) -> dict[int, Any]:
        """Return the ids of references by pk, and their metadata if the field copies some."""
        table = schema.document
        query = select(table.c.pk, table.c.id)
        if field.taxonomy.enrich:
            query = query.add_columns(table.c.metadata)
        return {
            row.pk: row
            for chosen in conditions(table.c.pk, list(pks))
            for row in self.snapshot.rows(query.where(chosen))
        }


def with_rule(field: FieldRow, decision_rule: DecisionRule | None) -> FieldRow:
    """Return a field with another decision rule."""
    limit, temperature = _limit(field.taxonomy, decision_rule)
    return replace(field, decision_rule=decision_rule, limit=limit, temperature=temperature)


def document_query(collection_pk: int, field_pk: int) -> Select[Any]:
    """Return the statement that selects `document.pk` joined with its label state in a field."""
    document, standing = schema.document, schema.standing
    same = and_(standing.c.document_pk == document.c.pk, standing.c.field_pk == field_pk)
    joined = document.join(standing, same)
    query = select(document.c.pk).select_from(joined)
    return query.where(document.c.collection_pk == collection_pk)


def filtered(query: Select[Any], label: Any, origin: Any, reason: Any) -> Select[Any]:
    """Return a `document_query` with conditions: a label or origin of None means no label."""
    standing = schema.standing.c
    if label is not ANY:
        query = query.where(standing.label.is_not_distinct_from(label))
    if origin is not ANY:
        wanted = None if origin is None else _one_of(Origin, origin)
        query = query.where(standing.origin.is_not_distinct_from(wanted))
    if reason is not None:
        query = query.where(standing.reason == _one_of(Reason, reason), standing.label.is_(None))
    return query


def _one_of(kind: type[_Choice], name: str) -> _Choice:
    """Return the member of an enumeration. Raises BadInput for an unknown name."""
    try:
        return kind(name)
    except ValueError:
        known = ", ".join(kind)
        raise BadInput(f"{name!r} is not a known {kind.__name__.lower()}; known: {known}") from None


def _field_row(row: Any) -> FieldRow:
    taxonomy = taxonomy_from(row.taxonomy)
    decision_rule = decision_rule_from(row.standard)
    limit, temperature = _limit(taxonomy, decision_rule)
    return FieldRow(
        row.pk, row.name, taxonomy, row.reference_field_pk, limit, temperature, decision_rule
    )


def _limit(taxonomy: Taxonomy, decision_rule: DecisionRule | None) -> tuple[float | None, float]:
    """Return the current threshold, and the temperature of the shares of matches."""
    if taxonomy.confidence_threshold is not None or decision_rule is None:
        return taxonomy.confidence_threshold, _NEAREST_ONLY
    return decision_rule.limit, _EVIDENCE_TEMPERATURE


@dataclass(frozen=True, slots=True)
class Near:
    """A nearest reference: its label, its similarity and its share of the evidence."""

    pk: int
    label: str
    similarity: float
    share: float


def _standing(
    row: Any,
    field: FieldRow,
    near: Sequence[Near],
    known: Mapping[int, Any],
    rejected: tuple[str, ...],
) -> Standing:
    origin = None if row.origin is None else Origin(row.origin)
    source = known.get(row.source_pk)
    copied = None if row.label is None else source
    return Standing(
        label=row.label,
        origin=origin,
        is_reference=bool(row.votes),
        answer=None if row.answer is None else Answer(row.answer),
        reviewed_by=row.actor if origin is Origin.HUMAN else None,
        suggestion=row.suggestion,
        rejected=rejected,
        enriched=enriched(field, copied),
        decision=Decision(
            label=row.label if origin is Origin.AUTO else None,
            confidence=row.confidence,
            margin=row.margin,
            threshold=field.limit_of(row.label or row.runner_up),
            runner_up=row.runner_up,
            reason=None if row.reason is None else Reason(row.reason),
            matches=matches_of(near, known),
            policy=field.policy,
            taxonomy_version=field.taxonomy.version,
        ),
        actor=row.actor,
        source=None if source is None else source.id,
        revision=row.revision,
    )


def enriched(field: FieldRow, source: Any) -> dict[str, Any]:
    """Return the metadata copied from the matched reference, as given by `described`."""
    names = () if source is None else field.taxonomy.enrich
    return {name: source.metadata[name] for name in names if name in source.metadata}


def matches_of(near: Sequence[Near], known: Mapping[int, Any]) -> tuple[Match, ...]:
    """Return nearest references as matches; `known` describes them by pk."""
    return tuple(Match(known[one.pk].id, one.similarity, one.label, one.share) for one in near)


# --- ids to primary keys -------------------------------------------------------------------------

_IN_LIST = 5000


def pks_of(snapshot: Snapshot, collection: CollectionRow, ids: Sequence[str]) -> dict[str, int]:
    """Return pks by document id, in the order asked. Raises NotFound naming the unknown ones."""
    table = schema.document
    found: dict[str, int] = {}
    for start in range(0, len(ids), _IN_LIST):
        chosen = table.c.id.in_(ids[start : start + _IN_LIST])
        query = select(table.c.id, table.c.pk)
        rows = snapshot.rows(query.where(table.c.collection_pk == collection.pk, chosen))
        found |= {row.id: row.pk for row in rows}
    unknown = [id for id in ids if id not in found]
    if unknown:
        names = ", ".join(repr(id) for id in unknown[:5]) + (" …" if len(unknown) > 5 else "")
        raise NotFound(
            f"the collection {collection.name!r} has no document {names}; "
            "see its ids with `lookalike export`"
        )
    return {id: found[id] for id in ids}


def ids_of(snapshot: Snapshot, pks: Iterable[int]) -> dict[int, str]:
    """Return document ids by pk."""
    table = schema.document
    query = select(table.c.pk, table.c.id).where(one_of(table.c.pk, pks))
    return {row.pk: row.id for row in snapshot.rows(query)}


class LabelState(NamedTuple):
    """The label state of a document in a field."""

    label: str | None
    origin: str | None
    suggestion: str | None
    actor: str | None
    contested: bool

    def adds_information(self, label: str, actor: str) -> bool:
        """Return whether a person's label adds something: it or the person is another one.

        Every answer adds something if people disagree on the document.
        """
        given = (self.label, self.origin, self.actor)
        return given != (label, Origin.HUMAN, actor) or self.contested


def suspects_of(snapshot: Snapshot, field_pk: int) -> set[tuple[int, str]]:
    """Return the references of a field that look wrong in any field: document pk and label."""
    table = schema.field
    query = select(table.c.standard).where(table.c.reference_field_pk == field_pk)
    rules = [current_decision_rule(row.standard) for row in snapshot.rows(query)]
    return {one for rule in rules if rule for one in rule.suspects}


def unconfirmed(snapshot: Snapshot, field_pk: int, pks: Iterable[int]) -> set[tuple[int, str]]:
    """Return the labels that nobody has confirmed: document pk and label."""
    table = schema.standing
    query = select(table.c.document_pk, table.c.label)
    query = query.where(table.c.label.is_not(None), table.c.confirmed.is_not(True))
    rows = snapshot.rows(
        query.where(table.c.field_pk == field_pk, one_of(table.c.document_pk, pks))
    )
    return {(row.document_pk, row.label) for row in rows}


def rejections(snapshot: Snapshot, field_pk: int, pks: Iterable[int]) -> set[tuple[int, str]]:
    """Return the rejected labels of documents: document pk and label."""
    table = schema.rejection
    query = select(table.c.document_pk, table.c.label).where(table.c.field_pk == field_pk)
    rows = snapshot.rows(query.where(one_of(table.c.document_pk, pks)))
    return {(row.document_pk, row.label) for row in rows}


def label_states(snapshot: Snapshot, field_pk: int, pks: Iterable[int]) -> dict[int, LabelState]:
    """Return the label states of documents in a field, by pk."""
    table = schema.standing
    query = select(table.c.document_pk, table.c.label, table.c.origin, table.c.suggestion)
    query = query.add_columns(table.c.actor, table.c.contested)
    rows = snapshot.rows(
        query.where(table.c.field_pk == field_pk, one_of(table.c.document_pk, pks))
    )
    return {
        row.document_pk: LabelState(
            row.label, row.origin, row.suggestion, row.actor, bool(row.contested)
        )
        for row in rows
    }
