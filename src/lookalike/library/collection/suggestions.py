"""Suggest labels: decide items as if they were added now, without writing anything.

Also the labels that a taxonomy resource gives to vectors and documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from lookalike.catalog.fields import placed, stored_field
from lookalike.catalog.image_groups import HypotheticalItem
from lookalike.catalog.objects import input_of
from lookalike.catalog.reader import (
    FieldRow,
    Reader,
    enriched,
    fields_of,
    matches_of,
    pks_of,
    with_rule,
)
from lookalike.catalog.resources import CollectionRow, Kind, collection_from, find, listed, names
from lookalike.catalog.taxonomies import reference_of, taxonomy_row
from lookalike.classifier.graph.search import NO_ID, Ids
from lookalike.classifier.policies import REASONS
from lookalike.content.pictures import kinds_named, sniff
from lookalike.content.sources import Item, items
from lookalike.decisions.decider import Decider, HypotheticalDecisions
from lookalike.decisions.field.state import WithMore
from lookalike.errors import BadContent, BadInput, BadVector, Conflict
from lookalike.extractors.base import Content, accepts
from lookalike.extractors.vectors import problems, unit_rows
from lookalike.ingest.documents import Target
from lookalike.ingest.executors import chosen_inputs, read_content
from lookalike.library.runtime import Runtime
from lookalike.model import Blob, Decision, Suggestion
from lookalike.stores import schema
from lookalike.stores.base import Snapshot

_SNIFFED_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Queried:
    """One part of an item to be decided: the item's name, the part's key and its vector."""

    name: str
    vector: NDArray[np.float16]
    part: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)


def queried_parts(runtime: Runtime, target: Target, source: Any) -> list[Queried]:
    """Return the parts of a source, given as for `add`, extracted with the collection's extractor.

    Raises BadContent for content that cannot be extracted; it skips the files of a folder that the
    extractor does not read.
    """
    contents = list(_contents(runtime, target, source))
    queried = []
    outcomes = target.extractor.extract(contents)
    for content, outcome in zip(contents, outcomes, strict=True):
        if isinstance(outcome, BadContent):
            raise outcome
        queried += [
            Queried(content.name, part.vector.astype(np.float16), part.key, part.attributes)
            for part in outcome
        ]
    return queried


def queried_vectors(target: Target, vectors: Any) -> list[Queried]:
    """Return vectors (n, d), or one (d,), as items to decide. Raises BadInput, BadVector."""
    array = np.atleast_2d(np.asarray(vectors))
    if array.dtype.kind not in "fiu":
        raise BadInput(f"vectors is an array of {array.dtype}; give numbers")
    for place, problem in problems(array, target.space.dimension).items():
        raise BadVector(f"vector {place}: {problem}")
    if len(array) == 0:
        return []
    units = unit_rows(array).astype(np.float16)
    return [Queried(f"vector {place}", unit) for place, unit in enumerate(units)]


def suggest(
    runtime: Runtime, field: FieldRow, queried: Sequence[Queried], *, top_k: int | None = None
) -> list[Suggestion]:
    """Return the decisions if all parts were added now, with up to `top_k` matches each."""
    if not queried:
        return []
    vectors = np.stack([one.vector for one in queried])

    def decide(decider: Decider, snapshot: Snapshot) -> tuple[Ids, HypotheticalDecisions]:
        space = stored_field(snapshot, field.pk).space
        pks = _unused_pks(snapshot, len(queried))
        items = [
            HypotheticalItem(
                one.name, one.attributes.get("time_ms"), bool(one.attributes.get("low_quality"))
            )
            for one in queried
        ]
        return pks, decider.what_if(WithMore(snapshot, space, pks, vectors), pks, items)

    with runtime.operations.deciders.consulted(field.pk, decide) as (snapshot, (pks, hypothetical)):
        reader = Reader(snapshot, runtime.book, [field])
        return _suggestions(reader, field, queried, hypothetical, vectors, pks, top_k)


def suggest_for(
    runtime: Runtime,
    collection: CollectionRow,
    field: FieldRow,
    ids: Iterable[str],
    *,
    top_k: int | None = None,
) -> list[Suggestion]:
    """Return the automatic decisions for existing documents, also for those that people labelled.

    Raises NotFound, and Conflict for a document without a vector.
    """
    wanted = list(ids)

    def decide(
        decider: Decider, snapshot: Snapshot
    ) -> tuple[dict[str, int], Ids, HypotheticalDecisions]:
        pk_of = pks_of(snapshot, collection, wanted)
        pks = np.array(sorted(pk_of.values()), np.int64)
        with_vector = set(pks[placed(snapshot, decider.field.space, pks)].tolist())
        for id, pk in pk_of.items():
            if pk not in with_vector:
                raise Conflict(
                    f"{id!r} has no vector in {decider.field.space.name}, so it cannot be decided; "
                    "see why the extraction of its object failed"
                )
        return pk_of, pks, decider.decide_existing(snapshot, pks)

    with runtime.operations.deciders.consulted(field.pk, decide) as (
        snapshot,
        (pk_of, pks, hypothetical),
    ):
        vectors = snapshot.vectors(stored_field(snapshot, field.pk).space, pks)
        id_of = {pk: id for id, pk in pk_of.items()}
        queried = [
            Queried(id_of[pk], vector) for pk, vector in zip(pks.tolist(), vectors, strict=True)
        ]
        reader = Reader(snapshot, runtime.book, [field])
        rejected = _rejected(snapshot, field, pks)
        found = _suggestions(reader, field, queried, hypothetical, vectors, pks, top_k, rejected)
    by_id = {one.name: one for one in found}
    return [by_id[id] for id in pk_of]


def _unused_pks(snapshot: Snapshot, count: int) -> Ids:
    """Return pks (count,) that no document has."""
    newest = snapshot.rows(select(func.max(schema.document.c.pk).label("pk")))[0].pk
    return np.arange(count, dtype=np.int64) + (newest or 0) + 1


def _contents(runtime: Runtime, target: Target, source: Any) -> Iterator[Content]:
    for item in items(source):
        if item.error is not None:
            raise BadContent(item.error)
        data = item.data if item.data is not None else runtime.blobs.fetch(str(item.uri))
        runtime.blobs.check_size(len(data), repr(item.name))
        media_type = item.media_type or sniff(data[:_SNIFFED_BYTES], item.name)
        if accepts(target.extractor, media_type):
            yield _content(runtime, target, item, data, media_type)
        elif not item.walked:
            wanted = " or ".join(kinds_named(target.extractor.accepts))
            raise BadContent(
                f"{item.name!r} is {media_type}, and {target.name!r} extracts {wanted}; "
                "use a collection with another extractor"
            )


def _content(runtime: Runtime, target: Target, item: Item, data: bytes, media_type: str) -> Content:
    """Return the content of an item, with the other inputs that a combined extractor reads."""
    own = Blob("content", media_type, "", "", len(data))
    blob, others = chosen_inputs(target, input_of(target.row, [own], item.metadata) or [own])
    return read_content(
        item.name,
        (blob or own, others),
        lambda one: data if one is own else runtime.blobs.read(one),
        max_pixels=runtime.settings.max_pixels,
    )


def _rejected(snapshot: Snapshot, field: FieldRow, pks: Ids) -> list[list[str]] | None:
    """Return the rejected labels of each document; None if there are none."""
    table = schema.rejection
    query = select(table).where(table.c.field_pk == field.pk, table.c.document_pk.in_(pks.tolist()))
    labels: dict[int, list[str]] = {}
    for row in snapshot.rows(query):
        labels.setdefault(row.document_pk, []).append(row.label)
    return [labels.get(pk, []) for pk in pks.tolist()] if labels else None


def _suggestions(
    reader: Reader,
    field: FieldRow,
    queried: Sequence[Queried],
    hypothetical: HypotheticalDecisions,
    vectors: NDArray[np.float16],
    pks: Ids,
    top_k: int | None,
    rejected: Sequence[Sequence[str]] | None = None,
) -> list[Suggestion]:
    field = with_rule(field, hypothetical.rule)
    decisions, name = hypothetical.decisions, hypothetical.codes.name
    lists = reader.near(field, vectors, pks, rejected)
    sources = {pk for pk in decisions.sources.tolist() if pk != NO_ID}
    known = reader.described(field, {match.pk for near in lists for match in near} | sources)
    suggestions = []
    for row, (one, near) in enumerate(zip(queried, lists, strict=True)):
        label, runner_up = name(int(decisions.codes[row])), name(int(decisions.runner_up[row]))
        source = known.get(int(decisions.sources[row])) if label is not None else None
        reason = int(decisions.reasons[row])
        decision = Decision(
            label=label,
            confidence=_number(decisions.confidence[row]),
            margin=_number(decisions.margin[row]),
            threshold=field.limit_of(label or runner_up),
            runner_up=runner_up,
            reason=None if reason < 0 else REASONS[reason],
            matches=matches_of(near, known)[:top_k],
            policy=field.policy,
            taxonomy_version=field.taxonomy.version,
        )
        copied = enriched(field, source)
        source_id = None if source is None else source.id
        suggestions.append(
            Suggestion(one.name, one.part, one.attributes, source_id, copied, decision)
        )
    return suggestions


def _number(value: np.floating) -> float | None:
    return None if np.isnan(value) else float(value)


# --- apply a taxonomy resource -------------------------------------------------------------------


def collections_named(
    snapshot: Snapshot, namespace: str, wanted: Sequence[str]
) -> list[CollectionRow]:
    """Return collections by name or id. Raises Conflict for one that does not exist (yet)."""
    rows = []
    for name in wanted:
        row = find(snapshot, namespace, Kind.COLLECTION, name)
        if row is None:
            known = ", ".join(names(snapshot, namespace, Kind.COLLECTION)) or "none yet"
            raise Conflict(
                f"the retriever searches the collection {name!r}, which does not exist "
                f"(known: {known}); create it first"
            )
        rows.append(collection_from(row))
    return rows


def collections_with_documents(snapshot: Snapshot, namespace: str) -> list[CollectionRow]:
    """Return the collections that can be searched. Raises Conflict if there are none."""
    spaces = {row.pk for row in snapshot.rows(select(schema.space.c.collection_pk.label("pk")))}
    rows = [collection_from(row) for row in listed(snapshot, namespace, Kind.COLLECTION)]
    found = [row for row in rows if row.pk in spaces]
    if not found:
        raise Conflict("there is no collection to search yet: create one and add items")
    return found


def matched(
    runtime: Runtime,
    snapshot: Snapshot,
    namespace: str,
    taxonomy: str,
    home: CollectionRow,
    vectors: NDArray[np.float16],
    pks: NDArray[np.int64],
    *,
    floor: float = 0.0,
    fields: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Return the labels that a taxonomy gives to vectors (n, d) of a collection: a mapping each.

    By field: the label of the nearest reference with its similarity as `score`, or None if that is
    below `floor` or the taxonomy's own threshold.

    Raises BadInput if the references are in another embedding space.
    """
    row = find(snapshot, namespace, Kind.TAXONOMY, taxonomy)
    assert row is not None
    spec = taxonomy_row(row).spec
    reference = reference_of(snapshot, namespace, spec, home.name)
    curated = collections_named(snapshot, namespace, [reference])[0]
    own, other = (runtime.target_in(snapshot, one).space.name for one in (home, curated))
    if own != other:
        raise BadInput(
            f"{home.name!r} is in the space {own}, the references of {curated.name!r} in {other}: "
            "vectors of two spaces cannot be compared"
        )
    known = {field.name: field for field in fields_of(snapshot, curated.pk)}
    threshold = max(floor, spec.confidence_threshold or 0.0)
    results: list[dict[str, Any]] = [{} for _ in vectors]
    for target, source in spec.fields.items():
        if fields and target not in fields:
            continue
        referenced = known.get(target if reference == home.name else source)
        if referenced is None:
            raise Conflict(
                f"the collection {curated.name!r} has no label field {source!r} to take labels from"
            )
        taxonomy_used = replace(referenced.taxonomy, enrich=spec.enrich)
        referenced = replace(referenced, taxonomy=taxonomy_used)
        nearest = _labels_near(runtime, snapshot, referenced, vectors, pks)
        for result, near in zip(results, nearest, strict=True):
            result[target] = near if near is not None and near["score"] >= threshold else None
    return results


def matched_known(
    runtime: Runtime,
    snapshot: Snapshot,
    namespace: str,
    taxonomy: str,
    home: CollectionRow,
    pks: Sequence[int],
    *,
    floor: float = 0.0,
    fields: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Return the labels that a taxonomy gives to documents; {} for one without a vector."""
    every = np.array(pks, np.int64)
    space = runtime.target_in(snapshot, home).space
    present = every[placed(snapshot, space, every)]
    vectors = snapshot.vectors(space, present)
    results = matched(
        runtime, snapshot, namespace, taxonomy, home, vectors, present, floor=floor, fields=fields
    )
    by_pk = dict(zip(present.tolist(), results, strict=True))
    return [by_pk.get(pk, {}) for pk in pks]


def matched_vectors(
    runtime: Runtime,
    snapshot: Snapshot,
    namespace: str,
    taxonomy: str,
    home: CollectionRow,
    vectors: NDArray[np.float32],
) -> list[dict[str, Any]]:
    """Return the labels that a taxonomy gives to vectors (n, d) of no stored document."""
    pks = _unused_pks(snapshot, len(vectors))
    half = vectors.astype(np.float16)
    return matched(runtime, snapshot, namespace, taxonomy, home, half, pks)


def _labels_near(
    runtime: Runtime,
    snapshot: Snapshot,
    field: FieldRow,
    vectors: NDArray[np.float16],
    pks: NDArray[np.int64],
) -> list[dict[str, Any] | None]:
    reader = Reader(snapshot, runtime.book, [field])
    lists = reader.near(field, vectors, pks)
    described = reader.described(field, {match.pk for near in lists for match in near})
    return [
        None
        if not near
        else {
            "label": near[0].label,
            "score": float(near[0].similarity),
            "source_document_id": described[near[0].pk].id,
            "copied": enriched(field, described[near[0].pk]),
        }
        for near in lists
    ]
