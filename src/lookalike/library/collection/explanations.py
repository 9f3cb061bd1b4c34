"""Why: what caused a decision, who said so, and what would be without its main cause."""

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
from lookalike.classifier.graph.search import NOBODY
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
from lookalike.model import Blob, Document, EventKind, Match, Origin, Standing
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Store

# --- highlights: passages that are alike ---------------------------------------------------------

# Nothing of a text is kept: both contents are read again when somebody asks, and where one is gone,
# or cannot be read any more, there is no quote.


@dataclass(frozen=True, slots=True)
class Quote:
    """A passage of a document; `page` counts from 1, None where there are no pages."""

    document_id: str
    text: str
    page: int | None


@dataclass(frozen=True, slots=True)
class Quotes:
    """Of all pairs of passages of a document and a reference the pair with the greatest cosine.

    `similarity` is that cosine, of these two passages alone; the documents are compared by the
    mean of all their passages.
    """

    here: Quote
    there: Quote
    similarity: float


@dataclass(frozen=True, slots=True)
class _Source:
    """What a document was made of."""

    id: str
    part: str
    name: str
    blob: Blob
    extractor: ShowsPassages


class Quoting:
    """Reads documents again. `target_of` returns a collection with its extractor."""

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
        """Return what a document and a reference say alike; None where one is no text, or gone."""
        try:
            with self._store.read() as snapshot:
                sources = [self._source(snapshot, one) for one in (pk, reference_pk)]
            read = [self._passages(source) for source in sources if source is not None]
        except (BadContent, Conflict, MissingExtra):
            return None
        if len(read) < len(sources) or not all(read):
            return None
        cosines = (
            np.stack([one.vector for one in read[0]]) @ np.stack([one.vector for one in read[1]]).T
        )
        place, other = np.unravel_index(int(cosines.argmax()), cosines.shape)
        here, there = read[0][place], read[1][other]
        ids = [source.id for source in sources if source is not None]
        return Quotes(
            Quote(ids[0], here.text, here.page),
            Quote(ids[1], there.text, there.page),
            float(np.clip(cosines[place, other], -1, 1)),
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
        for blob, extractor in _read_by(target, blobs or (), row.sha256.hex()):
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


def _read_by(
    target: Target, blobs: Sequence[Blob], sha256: str
) -> Iterator[tuple[Blob, Extractor]]:
    """Yield what a document with this digest was made of, and what reads it.

    That of a combined extractor is the member and its input.
    """
    extractor = target.extractor
    if not isinstance(extractor, CombinedExtractor):
        yield from ((blob, extractor) for blob in blobs if blob.sha256 == sha256)
        return
    first, beside = chosen_inputs(target, blobs)
    if first is None or first.sha256 != sha256:
        return
    for name, member in extractor.members.items():
        blob = beside.get(name, first)
        if blob is not None and accepts(member, blob.media_type):
            yield blob, member


# -------------------------------------------------------------------------------------------------

_CAUSES = 5
_MACHINE = (None, Origin.AUTO)


@dataclass(frozen=True, slots=True)
class Witness:
    """A reference that took part in a decision: who gave its label, and when.

    `by_member` is its similarity by each member of a combined extractor that both items have.
    """

    match: Match
    file_name: str
    origin: Origin
    actor: str
    at: datetime
    by_member: Mapping[str, float] = dataclass_field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """What the decision would be if one reference did not vote."""

    without: str
    label: str | None


@dataclass(frozen=True, slots=True)
class Cause:
    """A reference whose evidence reached a document, and its share of all that did.

    `by_member` is its similarity by each member of a combined extractor that both items have.
    """

    document_id: str
    label: str
    share: float
    by_member: Mapping[str, float] = dataclass_field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Why:
    """The whole explanation of one document's label or null.

    `witnesses` are the nearest references; `causes` those that said most, where evidence travels
    over look-alikes, the most first. `weights` are those of the members of a combined extractor:
    what each counts of 1. `quotes`, of texts, is what the document and the nearest reference of its
    label say alike, with their passages read again.
    """

    document: Document
    field: str
    standing: Standing
    witnesses: tuple[Witness, ...]
    causes: tuple[Cause, ...]
    counterfactual: Counterfactual | None
    weights: Mapping[str, float] = dataclass_field(default_factory=dict)
    quotes: Quotes | None = None


def why(
    runtime: Runtime, field: FieldRow, shown: Callable[[Snapshot], tuple[int, Document]]
) -> Why:
    """Return the explanation of a document's standing in a field.

    `shown` gives its pk, and it, as a snapshot has it.
    """

    def ask(decider: Decider, snapshot: Snapshot) -> _Said:
        pk, document = shown(snapshot)
        return _asked(decider, snapshot, field, pk, document)

    with runtime.operations.deciders.consulted(field.pk, ask) as (snapshot, said):
        ids = ids_of(snapshot, {one for one, _, _ in said.causes} | {said.without})
        standing = said.document.standings[field.name]
        members = _Members(snapshot, field, said.pk)
        nearest = _nearest(snapshot, field, standing, standing.label)
        found = Why(
            document=said.document,
            field=field.name,
            standing=standing,
            witnesses=_witnesses(snapshot, field, standing, members),
            causes=tuple(
                Cause(ids[one], label, share, members.likeness(one))
                for one, label, share in said.causes
            ),
            weights=members.weights,
            counterfactual=(
                None if said.without == NOBODY else Counterfactual(ids[said.without], said.label)
            ),
        )
    if nearest is None:
        return found
    quoting = Quoting(
        runtime.store,
        runtime.blobs,
        runtime.target_in,
        max_pixels=runtime.settings.max_pixels,
    )
    return replace(found, quotes=quoting.quotes(said.pk, nearest))


@dataclass(frozen=True, slots=True)
class _Said:
    """What a decider says of a document: its causes (pk, label, share), and what would be its
    `label` `without` the one that matters most (NOBODY: that was not asked).
    """

    pk: int
    document: Document
    causes: Sequence[tuple[int, str, float]]
    without: int
    label: str | None


def _asked(
    decider: Decider, snapshot: Snapshot, field: FieldRow, pk: int, document: Document
) -> _Said:
    standing = document.standings[field.name]
    causes = decider.causes(snapshot, pk, _CAUSES) if standing.origin in _MACHINE else []
    source = causes[0][0] if causes else _nearest(snapshot, field, standing)
    if standing.origin is not Origin.AUTO or source is None:
        return _Said(pk, document, causes, NOBODY, None)
    return _Said(pk, document, causes, source, decider.label_without(snapshot, pk, source))


def _nearest(
    snapshot: Snapshot, field: FieldRow, standing: Standing, label: str | None = None
) -> int | None:
    """Return the pk of the nearest reference, of those with a label if there are such."""
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
    """The members of a combined extractor, and how alike they find a document and references."""

    def __init__(self, snapshot: Snapshot, field: FieldRow, pk: int) -> None:
        self._snapshot = snapshot
        self._pk = pk
        self._stored = stored = stored_field(snapshot, field.pk)
        standard, weights = field.standard, tuple[float, ...]()
        if standard is not None and standard.rule is Method.LANDSCAPE:
            weights = standard.weights
        self._blend = blend(tuple(one.dimension for one in stored.space.members), weights)

    @property
    def weights(self) -> dict[str, float]:
        """Return what each member counts of 1; nothing without members."""
        return {} if self._blend is None else self._named(self._blend.weights)

    def likeness(self, reference: int) -> dict[str, float]:
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
            for (name, cosine), there in zip(self._named(cosines).items(), both, strict=True)
            if there
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
        .add_columns(document.c.file_name, document.c.id, now.c.label.label("stands"))
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
        if naming.current(row.label, row.operation_pk, row.document_pk) == row.stands
    }
    return tuple(
        Witness(
            match,
            row.file_name,
            Origin(row.origin),
            row.actor,
            datetime.fromtimestamp(row.at, UTC),
            members.likeness(row.document_pk),
        )
        for match in standing.decision.matches
        if (row := latest.get(match.document_id)) is not None
    )
