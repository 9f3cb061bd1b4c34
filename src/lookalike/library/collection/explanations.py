"""Explain a decision: its references and causes, and the label without the main reference."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from datetime import UTC, datetime

import numpy as np
from sqlalchemy import and_, select

from lookalike.catalog.fields import stored_field
from lookalike.catalog.label_names import naming_of
from lookalike.catalog.objects import input_of
from lookalike.catalog.reader import FieldRow, ids_of
from lookalike.catalog.resources import CollectionRow, collection_row
from lookalike.classifier.calibration.decision_rule import Method
from lookalike.classifier.graph.metric import blend, unit_blocks
from lookalike.classifier.graph.search import NO_ID
from lookalike.content.blobs import Blobs
from lookalike.decisions.decider import Decider
from lookalike.errors import BadContent, Conflict, MissingExtra
from lookalike.extractors.base import Content, Extractor, accepts
from lookalike.extractors.combined import CombinedExtractor
from lookalike.extractors.text_passages import Passage, ShowsPassages
from lookalike.ingest.documents import Target
from lookalike.ingest.executors import chosen_inputs
from lookalike.labels import is_within
from lookalike.library.runtime import Runtime
from lookalike.model import Blob, Displayed, Document, EventKind, Match, Origin, Standing
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Store

# --- highlights: similar passages ----------------------------------------------------------------

# The store keeps no texts. An explanation reads both contents again; if one is missing or cannot be
# read any more, it has no quotes.


@dataclass(frozen=True, slots=True)
class Quote:
    """A passage of a document; `page` counts from 1, None without pages."""

    document_id: str
    text: str
    page: int | None


@dataclass(frozen=True, slots=True)
class Quotes:
    """The most similar pair of passages of a document and a reference, by cosine.

    `similarity` is the cosine of these two passages; the documents themselves are compared by the
    mean of all their passages.
    """

    here: Quote
    there: Quote
    similarity: float


@dataclass(frozen=True, slots=True)
class _Source:
    """The content from which an extractor made a document."""

    id: str
    part: str
    name: str
    blob: Blob
    extractor: ShowsPassages


class QuoteReader:
    """Reads the contents of documents again. `target_of` returns a collection's target."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        target_of: Callable[[Snapshot, CollectionRow], Target],
        *,
        max_pixels: int,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._target_of = target_of
        self._max_pixels = max_pixels

    def quotes(self, pk: int, reference_pk: int) -> Quotes | None:
        """Return the most similar passages of two documents; None if one is no text, or missing."""
        try:
            with self._store.read() as snapshot:
                sources = [self._source(snapshot, one) for one in (pk, reference_pk)]
            passages = [self._passages(source) for source in sources if source is not None]
        except (BadContent, Conflict, MissingExtra):
            return None
        if len(passages) < len(sources) or not all(passages):
            return None
        own, other = (np.stack([one.vector for one in each]) for each in passages)
        cosines = own @ other.T
        row, column = np.unravel_index(int(cosines.argmax()), cosines.shape)
        here, there = passages[0][row], passages[1][column]
        ids = [source.id for source in sources if source is not None]
        return Quotes(
            Quote(ids[0], here.text, here.page),
            Quote(ids[1], there.text, there.page),
            float(np.clip(cosines[row, column], -1, 1)),
        )

    def _source(self, snapshot: Snapshot, pk: int) -> _Source | None:
        document, object_ = schema.document, schema.object_
        query = (
            select(document.c.collection_pk, document.c.id, document.c.part, document.c.sha256)
            .add_columns(object_.c.name, object_.c.blobs, object_.c.metadata)
            .join(object_, object_.c.pk == document.c.object_pk)
            .where(document.c.pk == pk)
        )
        row = next(iter(snapshot.rows(query)), None)
        if row is None:
            return None
        collection = collection_row(snapshot, row.collection_pk)
        target = self._target_of(snapshot, collection)
        blobs = input_of(collection, [Blob(**blob) for blob in row.blobs], row.metadata)
        for blob, extractor in _inputs(target, blobs or (), row.sha256.hex()):
            if isinstance(extractor, ShowsPassages):
                return _Source(row.id, row.part, row.name, blob, extractor)
        return None

    def _passages(self, source: _Source) -> list[Passage]:
        content = Content(
            self._blobs.read(source.blob),
            source.blob.media_type,
            name=source.name,
            max_pixels=self._max_pixels,
        )
        return source.extractor.passages(content, source.part)


def _inputs(target: Target, blobs: Sequence[Blob], sha256: str) -> Iterator[tuple[Blob, Extractor]]:
    """Yield the inputs of a document with this digest, each with the extractor that reads it.

    For a combined extractor these are its members.
    """
    extractor = target.extractor
    if not isinstance(extractor, CombinedExtractor):
        yield from ((blob, extractor) for blob in blobs if blob.sha256 == sha256)
        return
    first, others = chosen_inputs(target, blobs)
    if first is None or first.sha256 != sha256:
        return
    for name, member in extractor.members.items():
        blob = others.get(name, first)
        if blob is not None and accepts(member, blob.media_type):
            yield blob, member


# -------------------------------------------------------------------------------------------------

_CAUSES = 5
_MACHINE = (None, Origin.AUTO)


@dataclass(frozen=True, slots=True)
class Witness:
    """A supporting reference of a decision: its match, who gave its label, and when.

    `by_member` has the similarity by each member of a combined extractor that both items have.
    """

    match: Match
    file_name: str
    origin: Origin
    actor: str
    at: datetime
    by_member: Mapping[str, float] = dataclass_field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """The label that a document would have without one reference."""

    without: str
    label: str | None


@dataclass(frozen=True, slots=True)
class Cause:
    """A reference whose evidence reached a document, and its share of all evidence there.

    `by_member` has the similarity by each member of a combined extractor that both items have.
    """

    document_id: str
    label: str
    share: float
    by_member: Mapping[str, float] = dataclass_field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Why(Displayed):
    """The explanation of one document's label, or of why it has none.

    `witnesses` are the most similar references; `causes` are the references with the most evidence
    along the neighbour graph, largest share first. `weights` are the weights of the members of a
    combined extractor; they sum to 1. `quotes`, for texts, are the most similar passages of the
    document and the nearest reference of its label.
    """

    document: Document
    field: str
    standing: Standing
    witnesses: tuple[Witness, ...]
    causes: tuple[Cause, ...]
    counterfactual: Counterfactual | None
    weights: Mapping[str, float] = dataclass_field(default_factory=dict)
    quotes: Quotes | None = None


def why(runtime: Runtime, field: FieldRow, find: Callable[[Snapshot], tuple[int, Document]]) -> Why:
    """Return the explanation of a document's label in a field.

    `find` returns the document and its pk from a snapshot.
    """

    def explain(decider: Decider, snapshot: Snapshot) -> _Attribution:
        pk, document = find(snapshot)
        return _attribution(decider, snapshot, field, pk, document)

    with runtime.operations.deciders.consulted(field.pk, explain) as (snapshot, found):
        ids = ids_of(snapshot, {pk for pk, _, _ in found.causes} | {found.without})
        standing = found.document.standings[field.name]
        members = _Members(snapshot, field, found.pk)
        nearest = _nearest(snapshot, field, standing, standing.label)
        counterfactual = None
        if found.without != NO_ID:
            counterfactual = Counterfactual(ids[found.without], found.label)
        explanation = Why(
            document=found.document,
            field=field.name,
            standing=standing,
            witnesses=_witnesses(snapshot, field, standing, members),
            causes=tuple(
                Cause(ids[pk], label, share, members.similarities(pk))
                for pk, label, share in found.causes
            ),
            weights=members.weights,
            counterfactual=counterfactual,
        )
    if nearest is None:
        return explanation
    reader = QuoteReader(
        runtime.store,
        runtime.blobs,
        runtime.target_in,
        max_pixels=runtime.settings.max_pixels,
    )
    return replace(explanation, quotes=reader.quotes(found.pk, nearest))


@dataclass(frozen=True, slots=True)
class _Attribution:
    """A document's causes (pk, label, share), and its `label` `without` its main reference.

    `without` is NO_ID if that was not computed.
    """

    pk: int
    document: Document
    causes: Sequence[tuple[int, str, float]]
    without: int
    label: str | None


def _attribution(
    decider: Decider, snapshot: Snapshot, field: FieldRow, pk: int, document: Document
) -> _Attribution:
    standing = document.standings[field.name]
    causes = decider.causes(snapshot, pk, _CAUSES) if standing.origin in _MACHINE else []
    source = causes[0][0] if causes else _nearest(snapshot, field, standing)
    if standing.origin is not Origin.AUTO or source is None:
        return _Attribution(pk, document, causes, NO_ID, None)
    label = decider.label_without(snapshot, pk, source)
    return _Attribution(pk, document, causes, source, label)


def _nearest(
    snapshot: Snapshot, field: FieldRow, standing: Standing, label: str | None = None
) -> int | None:
    """Return the pk of the nearest reference, of one with the label if there is any."""
    if not standing.decision.matches:
        return None
    nearest = min(
        standing.decision.matches,
        key=lambda match: label is not None and not is_within(match.label, label),
    )
    document, home = schema.document, schema.field
    query = (
        select(document.c.pk)
        .join(home, home.c.collection_pk == document.c.collection_pk)
        .where(home.c.pk == field.reference_field_pk)
        .where(document.c.id == nearest.document_id)
    )
    row = next(iter(snapshot.rows(query)), None)
    return None if row is None else int(row.pk)


class _Members:
    """The members of a combined extractor: their weights, and similarities to a document."""

    def __init__(self, snapshot: Snapshot, field: FieldRow, pk: int) -> None:
        self._snapshot = snapshot
        self._pk = pk
        self._stored = stored = stored_field(snapshot, field.pk)
        rule, weights = field.decision_rule, tuple[float, ...]()
        if rule is not None and rule.rule is Method.LANDSCAPE:
            weights = rule.weights
        self._blend = blend(tuple(one.dimension for one in stored.space.members), weights)

    @property
    def weights(self) -> dict[str, float]:
        """Return the weight of each member, which sum to 1; {} without members."""
        return {} if self._blend is None else self._named(self._blend.weights)

    def similarities(self, reference: int) -> dict[str, float]:
        """Return the cosines of the document and a reference, by the members that both have."""
        if self._blend is None:
            return {}
        pairs = (self._stored.space, self._pk), (self._stored.reference_space, reference)
        own, other = (
            unit_blocks(
                self._snapshot.vectors(space, np.array([pk])).astype(np.float32),
                self._blend.blocks,
            )[0]
            for space, pk in pairs
        )
        both = [own[block].any() and other[block].any() for block in self._blend.blocks]
        cosines = [round(float(own[block] @ other[block]), 4) for block in self._blend.blocks]
        return {
            name: cosine
            for (name, cosine), is_known in zip(self._named(cosines).items(), both, strict=True)
            if is_known
        }

    def _named(self, values: Iterable[float]) -> dict[str, float]:
        names = (member.name for member in self._stored.space.members)
        return dict(zip(names, values, strict=True))


def _witnesses(
    snapshot: Snapshot, field: FieldRow, standing: Standing, members: _Members
) -> tuple[Witness, ...]:
    table, operation, document = schema.event, schema.operation, schema.document
    now = schema.standing
    query = (
        select(table.c.document_pk, table.c.origin, operation.c.actor, operation.c.at)
        .add_columns(document.c.file_name, document.c.id, now.c.label.label("current"))
        .add_columns(table.c.label, table.c.operation_pk)
        .join(operation, operation.c.pk == table.c.operation_pk)
        .join(document, document.c.pk == table.c.document_pk)
        .join(now, and_(now.c.field_pk == table.c.field_pk, now.c.document_pk == document.c.pk))
        .where(table.c.field_pk == field.reference_field_pk)
        .where(table.c.origin == now.c.origin)
        .where(document.c.id.in_([match.document_id for match in standing.decision.matches]))
        .where(table.c.kind.in_([EventKind.LABELLED, EventKind.PROMOTED]))
        .where(operation.c.undone_by.is_(None))
        .order_by(table.c.seq)
    )
    naming = naming_of(snapshot, field.reference_field_pk)
    latest = {
        row.id: row
        for row in snapshot.rows(query)
        if naming.current(row.label, row.operation_pk, row.document_pk) == row.current
    }
    return tuple(
        Witness(
            match,
            row.file_name,
            Origin(row.origin),
            row.actor,
            datetime.fromtimestamp(row.at, UTC),
            members.similarities(row.document_pk),
        )
        for match in standing.decision.matches
        if (row := latest.get(match.document_id)) is not None
    )
