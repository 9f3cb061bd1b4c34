"""The facts of a diagnosis: a field's references, unlabelled documents and answers, from the store.

The checks (`checks.py`) read only these facts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from lookalike.catalog.fields import dependents
from lookalike.catalog.reader import FieldRow, fields_of, ids_of
from lookalike.catalog.resources import CollectionRow, Kind, dig, find, resource
from lookalike.catalog.retrievers import demands, stages_of
from lookalike.catalog.taxonomies import taxonomy_row
from lookalike.classifier.calibration.decision_rule import MIN_ACCURACY, MIN_REFERENCES, Method
from lookalike.classifier.graph.search import nearest
from lookalike.decisions.decider import Decider
from lookalike.decisions.deciders import Deciders
from lookalike.decisions.queue import unknown_groups
from lookalike.errors import BadInput
from lookalike.labels import label_in
from lookalike.model import Origin, Reason, Status
from lookalike.quality.diagnosis.findings import Steps
from lookalike.quality.reference_health import Inspection, inspect
from lookalike.quality.reports import report
from lookalike.quality.stats.metrics import Report
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, one_of

SHOWN = 5
"""The number of ids that a finding shows."""

ENOUGH_TRIALS = 20
"""The least number of references from which to estimate the precision of a similarity."""

RIGHT = 0.95
"""The precision that a good similarity threshold has."""

FEW_TRIALS = 10
"""With fewer references, their leave-one-out accuracy is too uncertain."""

_SAMPLE = 2000
_OF_ALL, _OF_NULLS, _FEW = 0.05, 0.2, 5


@dataclass(frozen=True, slots=True)
class NearestAgreement:
    """The `similarity` (n,) of each reference to its nearest other one, and whether that has the
    same label (`right` (n,)).
    """

    similarity: NDArray[np.float32]
    right: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A group of unlabelled documents that look alike; `near` is their median confidence.

    None where most of them have no confidence, because no reference resembles them.
    """

    ids: tuple[str, ...]
    near: float | None


@dataclass(frozen=True, slots=True)
class Failures:
    """Objects that could not be extracted: counts by reason, and keys and ids of the first ones."""

    reasons: Mapping[str, int] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Metadata:
    """Labels in the metadata of objects that the field does not use.

    `elsewhere` counts objects by a key that may hold labels, other than the field's key; `apart`
    are ids of documents whose imported label differs from their object's metadata.
    """

    elsewhere: Mapping[str, int] = field(default_factory=dict)
    apart: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Retriever:
    """The retriever of a taxonomy, and whether it finds only documents with a label."""

    name: str
    stages: Sequence[Mapping[str, Any]]
    demands_label: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts about one label field that the checks read.

    `steps` makes the suggested steps. `media_type` is that of the first document's content, "" for
    a given vector. `leaning` counts unlabelled documents by their most likely label; `caused`
    counts automatic labels by the id of the reference that caused them. `groups` look alike, and
    like no known label. `near` (n,) is the confidence of documents below the threshold, `sure` (m,)
    that of automatic labels. Of the references, a person chose `own` ones, the queue picked `asked`
    ones, and `drawn` ones were sampled at random; `idle` answers were given in a collection whose
    labels are not used as references. `stale` are documents whose object has changed since or could
    not be extracted again; `unclear` those of low quality.
    """

    steps: Steps
    extractor: str
    media_type: str
    reference: str
    target: float | None
    report: Report
    inspection: Inspection
    rule: Method | None
    nearest: NearestAgreement
    leaning: Mapping[str, int] = field(default_factory=dict)
    caused: Mapping[str, int] = field(default_factory=dict)
    groups: Sequence[Unknown] = ()
    near: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    sure: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    asked: int = 0
    drawn: int = 0
    own: int = 0
    idle: int = 0
    metadata: Metadata = field(default_factory=Metadata)
    failures: Failures = field(default_factory=Failures)
    stale: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()
    retriever: Retriever | None = None

    @property
    def nulls(self) -> int:
        """Return the number of unlabelled, unanswered documents and of failed objects."""
        return self.report.queue + self.report.failed

    @property
    def automatic(self) -> int:
        """Return the number of automatic labels."""
        return self.report.labelled[Origin.AUTO]

    @property
    def usable_labels(self) -> int:
        """Return the number of labels with enough references for leave-one-out."""
        return sum(one.references >= MIN_REFERENCES for one in self.inspection.labels)

    @property
    def accuracy(self) -> float | None:
        """Return the leave-one-out accuracy of the references, if there is any."""
        tried = sum(one.references for one in self.inspection.labels if one.recall is not None)
        right = sum(one.references * (one.recall or 0) for one in self.inspection.labels)
        return right / tried if tried else None

    @property
    def cannot_tell(self) -> bool:
        """Return whether the leave-one-out accuracy is below MIN_ACCURACY, with enough trials."""
        tried = sum(one.references for one in self.inspection.labels if one.recall is not None)
        accuracy = self.accuracy
        return tried >= FEW_TRIALS and accuracy is not None and accuracy < MIN_ACCURACY

    def matters(self, count: int) -> bool:
        """Return whether `count` documents are worth a finding: 5 % of all, or 20 % of the
        unlabelled ones and at least 5.
        """
        many = count >= _OF_ALL * self.report.documents
        return count > 0 and (many or (count >= _FEW and count >= _OF_NULLS * self.nulls))

    def of_nulls(self, count: int) -> float | None:
        """Return the share of the unlabelled documents; None where all have a label."""
        return min(count / self.nulls, 1.0) if self.nulls else None


def gather(deciders: Deciders, row: CollectionRow, chosen: FieldRow, *, first: bool) -> Facts:
    """Return the facts about a label field with documents; `first` tells whether it is the first.

    Read-only. Raises Conflict where the collection has no documents.
    """

    def ask(decider: Decider, snapshot: Snapshot) -> tuple[list[tuple[int, ...]], Any, Report]:
        groups = unknown_groups(decider, snapshot)
        return groups, decider.state.references, report(snapshot, row, chosen)

    inspection = inspect(deciders, chosen)
    with deciders.consulted(chosen.pk, ask) as (snapshot, asked):
        groups, references, now = asked
        answers = _answers(snapshot, chosen)
        return Facts(
            steps=Steps(row.name, None if first else chosen.name),
            extractor=row.extractor,
            media_type=_media_type(snapshot, row),
            reference=chosen.taxonomy.reference,
            target=now.target_precision,
            report=now,
            inspection=inspection,
            rule=None if chosen.decision_rule is None else chosen.decision_rule.rule,
            nearest=_nearest_agreement(references),
            sure=_confidences(snapshot, chosen, automatic=True),
            leaning=_leaning(snapshot, chosen),
            caused=_caused(snapshot, chosen),
            groups=tuple(_unknown(snapshot, chosen, group) for group in groups),
            near=_confidences(snapshot, chosen, automatic=False),
            asked=answers[True],
            drawn=now.drawn,
            own=answers[False],
            idle=_idle(snapshot, chosen),
            metadata=_metadata(snapshot, row, chosen, now.references),
            failures=_failures(snapshot, row),
            stale=_stale(snapshot, row),
            unclear=_unclear(snapshot, chosen),
            retriever=_retriever(snapshot, row, chosen),
        )


def _unknown(snapshot: Snapshot, chosen: FieldRow, group: Sequence[int]) -> Unknown:
    table, names = schema.standing.c, ids_of(snapshot, group)
    query = select(table.confidence).where(table.field_pk == chosen.pk)
    rows = snapshot.rows(query.where(one_of(table.document_pk, group)))
    near = float(np.median([-np.inf if one.confidence is None else one.confidence for one in rows]))
    return Unknown(tuple(names[pk] for pk in group), near if np.isfinite(near) else None)


def _nearest_agreement(references: Any) -> NearestAgreement:
    """Compare each reference with its nearest other one; of many references, use a sample."""
    if len(references) < 2:
        return NearestAgreement(np.empty(0, np.float32), np.empty(0, bool))
    rows = np.arange(len(references))[:: -(-len(references) // _SAMPLE)]
    pks, codes = references.pks[rows], references.codes[rows]
    vectors = references.vectors
    near = nearest(vectors[rows], vectors, references.pks, 1, query_ids=pks)
    matches = references.matches(*near)
    return NearestAgreement(matches.similarities[:, 0], matches.codes[:, 0] == codes)


def _answers(snapshot: Snapshot, chosen: FieldRow) -> Counter[bool]:
    """Return the number of references that people chose (False), and that the queue did (True)."""
    table, draw = schema.standing.c, schema.draw
    drawn = select(draw.c.document_pk).where(draw.c.field_pk == chosen.reference_field_pk)
    asked = func.coalesce(table.asked, False).label("asked")
    query: Any = select(asked, func.count().label("n"))
    query = query.where(table.field_pk == chosen.reference_field_pk, table.votes)
    query = query.where(table.document_pk.not_in(drawn)).group_by("asked")
    return Counter({bool(row.asked): row.n for row in snapshot.rows(query)})


def _idle(snapshot: Snapshot, chosen: FieldRow) -> int:
    if chosen.pk == chosen.reference_field_pk or dependents(snapshot, chosen.pk):
        return 0
    table = schema.standing.c
    given = (table.field_pk == chosen.pk) & (table.origin == Origin.HUMAN)
    query = select(func.count().label("n")).where(given, table.label.is_not(None))
    return int(snapshot.rows(query)[0].n)


def _leaning(snapshot: Snapshot, chosen: FieldRow) -> dict[str, int]:
    table = schema.standing.c
    query = select(table.runner_up, func.count().label("n")).where(table.field_pk == chosen.pk)
    query = query.where(table.label.is_(None), table.origin.is_(None))
    rows = snapshot.rows(query.where(table.runner_up.is_not(None)).group_by(table.runner_up))
    return {row.runner_up: row.n for row in rows}


def _caused(snapshot: Snapshot, chosen: FieldRow) -> dict[str, int]:
    table, document = schema.standing.c, schema.document.c
    query = (
        select(document.id, func.count().label("n"))
        .join(schema.standing, table.source_pk == document.pk)
        .where(table.field_pk == chosen.pk, table.origin == Origin.AUTO)
        .group_by(document.id)
    )
    return {row.id: row.n for row in snapshot.rows(query)}


def _confidences(snapshot: Snapshot, chosen: FieldRow, *, automatic: bool) -> NDArray[np.float64]:
    table = schema.standing.c
    query = select(table.confidence).where(table.field_pk == chosen.pk)
    query = query.where(table.confidence.is_not(None))
    if automatic:
        query = query.where(table.origin == Origin.AUTO)
    else:
        query = query.where(table.origin.is_(None), table.label.is_(None))
        query = query.where(table.reason.in_((Reason.BELOW_THRESHOLD, Reason.TOO_CLOSE)))
    return np.array([row.confidence for row in snapshot.rows(query)], np.float64)


def _unclear(snapshot: Snapshot, chosen: FieldRow) -> tuple[str, ...]:
    table, document = schema.standing.c, schema.document.c
    query = select(document.id).join(schema.standing, table.document_pk == document.pk)
    bad = (table.label.is_(None)) & (table.reason == Reason.LOW_QUALITY)
    query = query.where(table.field_pk == chosen.pk, bad).order_by(document.pk).limit(SHOWN)
    return tuple(row.id for row in snapshot.rows(query))


def _media_type(snapshot: Snapshot, row: CollectionRow) -> str:
    """Return the media type of the first document's content; "" for a given vector."""
    document, object_ = schema.document.c, schema.object_.c
    query = select(object_.blobs).join(schema.document, document.object_pk == object_.pk)
    query = query.where(document.collection_pk == row.pk).order_by(document.pk).limit(1)
    blobs = [blob for one in snapshot.rows(query) for blob in one.blobs]
    return str(blobs[0]["media_type"]) if blobs else ""


def _failures(snapshot: Snapshot, row: CollectionRow) -> Failures:
    table, object_ = schema.extraction.c, schema.object_.c
    failed = (table.collection_pk == row.pk) & (table.status == Status.FAILED)
    counts = select(table.error, func.count().label("n")).where(failed).group_by(table.error)
    first = select(object_.id, object_.key).join(schema.extraction, table.object_pk == object_.pk)
    shown = snapshot.rows(first.where(failed).order_by(object_.pk).limit(SHOWN))
    reasons = {str(one.error): one.n for one in snapshot.rows(counts)}
    return Failures(reasons, tuple(one.key for one in shown), tuple(one.id for one in shown))


def _stale(snapshot: Snapshot, row: CollectionRow) -> tuple[str, ...]:
    table, document = schema.extraction.c, schema.document.c
    query = select(document.id).join(schema.extraction, table.object_pk == document.object_pk)
    here = (table.collection_pk == row.pk) & (document.collection_pk == row.pk)
    return tuple(one.id for one in snapshot.rows(query.where(here).order_by(document.pk)))


def _metadata(
    snapshot: Snapshot, row: CollectionRow, chosen: FieldRow, references: int
) -> Metadata:
    """Return the unused labels in the metadata of up to 2,000 objects."""
    document, object_, standing = schema.document.c, schema.object_.c, schema.standing.c
    query = (
        select(document.id, object_.metadata, standing.label, standing.origin)
        .select_from(schema.document)
        .join(schema.object_, object_.pk == document.object_pk)
        .join(schema.standing, standing.document_pk == document.pk)
        .where(standing.field_pk == chosen.pk, document.part == "")
        .order_by(document.pk)
        .limit(_SAMPLE)
    )
    rows, source = snapshot.rows(query), row.source_of(chosen.name)
    apart = [
        one.id
        for one in rows
        if one.origin == Origin.IMPORT and _label(one.metadata, source) not in (None, one.label)
    ]
    known = {row.source_of(one.name) for one in fields_of(snapshot, row.pk)}
    found = {} if references else _label_keys([one.metadata for one in rows], known)
    return Metadata(found, tuple(apart))


def _label_keys(metadata: Sequence[Mapping[str, Any]], known: set[str]) -> dict[str, int]:
    """Return the keys that may hold labels, with their counts: texts that several objects share."""
    values: dict[str, Counter[str]] = {}
    for one in metadata:
        for key, value in one.items():
            if key not in known and isinstance(value, str) and value:
                values.setdefault(key, Counter())[value] += 1
    return {
        key: counts.total()
        for key, counts in values.items()
        if 2 <= len(counts) <= counts.total() / 2
    }


def _label(metadata: Mapping[str, Any], source: str) -> str | None:
    try:
        return label_in(dig(metadata, source))
    except BadInput:  # not a valid label
        return None


def _retriever(snapshot: Snapshot, collection: CollectionRow, chosen: FieldRow) -> Retriever | None:
    namespace = resource(snapshot, collection.pk).namespace
    row = find(snapshot, namespace, Kind.TAXONOMY, chosen.taxonomy.taxonomy or "-")
    name = None if row is None else taxonomy_row(row).spec.retriever
    found = None if name is None else find(snapshot, namespace, Kind.RETRIEVER, name)
    if found is None:
        return None
    stages = found.spec["stages"]
    demands_label = demands(stages_of(stages), chosen.taxonomy.reference_field)
    return Retriever(str(found.name), stages, demands_label)
