"""Suggesting: what something would be labelled, decided as on arrival and recorded nowhere."""

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
    """Something to be decided: what it is called, which part of it, and the part's vector."""

    name: str
    vector: NDArray[np.float16]
    part: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)


def asked_of(runtime: Runtime, target: Target, source: Any) -> list[Queried]:
    """Return the parts of a source, as `add` takes it, extracted as the collection would.

    Raises BadContent for one that cannot be extracted; of a folder, what is of another kind is left
    out.
    """
    contents = list(_contents(runtime, target, source))
    asked = []
    outcomes = target.extractor.extract(contents)
    for content, outcome in zip(contents, outcomes, strict=True):
        if isinstance(outcome, BadContent):
            raise outcome
        asked += [
            Queried(content.name, part.vector.astype(np.float16), part.key, part.attributes)
            for part in outcome
        ]
    return asked


def asked_vectors(target: Target, vectors: Any) -> list[Queried]:
    """Return vectors (n, d), or one (d,), as what is asked about. Raises BadInput, BadVector."""
    array = np.atleast_2d(np.asarray(vectors))
    if array.dtype.kind not in "fiu":
        raise BadInput(f"vectors are an array of {array.dtype}; give numbers")
    for place, problem in problems(array, target.space.dimension).items():
        raise BadVector(f"vector {place}: {problem}")
    if len(array) == 0:
        return []
    units = unit_rows(array).astype(np.float16)
    return [Queried(f"vector {place}", unit) for place, unit in enumerate(units)]


def suggest(
    runtime: Runtime, field: FieldRow, asked: Sequence[Queried], *, top_k: int | None = None
) -> list[Suggestion]:
    """Return how each would be decided if all arrived now; up to `top_k` matches are shown."""
    if not asked:
        return []
    vectors = np.stack([one.vector for one in asked])

    def ask(decider: Decider, snapshot: Snapshot) -> tuple[Ids, HypotheticalDecisions]:
        space = stored_field(snapshot, field.pk).space
        newest = snapshot.rows(select(func.max(schema.document.c.pk).label("pk")))[0].pk
        pks = np.arange(len(asked)) + (newest or 0) + 1
        unseen = [
            HypotheticalItem(
                one.name, one.attributes.get("time_ms"), bool(one.attributes.get("low_quality"))
            )
            for one in asked
        ]
        return pks, decider.what_if(WithMore(snapshot, space, pks, vectors), pks, unseen)

    with runtime.operations.deciders.consulted(field.pk, ask) as (snapshot, (pks, imagined)):
        reader = Reader(snapshot, runtime.book, [field])
        return _shown(reader, field, asked, imagined, vectors, pks, top_k)


def suggest_for(
    runtime: Runtime,
    collection: CollectionRow,
    field: FieldRow,
    ids: Iterable[str],
    *,
    top_k: int | None = None,
) -> list[Suggestion]:
    """Return what the machine says now of documents that are here, whatever people said of them.

    Raises NotFound.
    """
    wanted = list(ids)

    def ask(
        decider: Decider, snapshot: Snapshot
    ) -> tuple[dict[str, int], Ids, HypotheticalDecisions]:
        named = pks_of(snapshot, collection, wanted)
        pks = np.array(sorted(named.values()), np.int64)
        there = set(pks[placed(snapshot, decider.field.space, pks)].tolist())
        for id, pk in named.items():
            if pk not in there:
                raise Conflict(
                    f"{id!r} has no vector in {decider.field.space.name}: nothing can be said of "
                    "it; see why its object failed"
                )
        return named, pks, decider.decide_existing(snapshot, pks)

    with runtime.operations.deciders.consulted(field.pk, ask) as (
        snapshot,
        (named, pks, imagined),
    ):
        vectors = snapshot.vectors(stored_field(snapshot, field.pk).space, pks)
        names = {pk: id for id, pk in named.items()}
        asked = [
            Queried(names[pk], vector) for pk, vector in zip(pks.tolist(), vectors, strict=True)
        ]
        reader = Reader(snapshot, runtime.book, [field])
        barred = _barred(snapshot, field, pks)
        shown = _shown(reader, field, asked, imagined, vectors, pks, top_k, barred)
    by_name = {one.name: one for one in shown}
    return [by_name[id] for id in named]


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
                "ask a collection with another extractor"
            )


def _content(runtime: Runtime, target: Target, item: Item, data: bytes, media_type: str) -> Content:
    """Return an item with what of its metadata a combined extractor reads beside it."""
    own = Blob("content", media_type, "", "", len(data))
    blob, beside = chosen_inputs(target, input_of(target.row, [own], item.metadata) or [own])
    return read_content(
        item.name,
        (blob or own, beside),
        lambda one: data if one is own else runtime.blobs.read(one),
        max_pixels=runtime.settings.max_pixels,
    )


def _barred(snapshot: Snapshot, field: FieldRow, pks: Ids) -> list[list[str]] | None:
    """Return the labels that each document was refused, if there are any."""
    table = schema.rejection
    query = select(table).where(table.c.field_pk == field.pk, table.c.document_pk.in_(pks.tolist()))
    refused: dict[int, list[str]] = {}
    for row in snapshot.rows(query):
        refused.setdefault(row.document_pk, []).append(row.label)
    return [refused.get(pk, []) for pk in pks.tolist()] if refused else None


def _shown(
    reader: Reader,
    field: FieldRow,
    asked: Sequence[Queried],
    imagined: HypotheticalDecisions,
    vectors: NDArray[np.float16],
    pks: Ids,
    top_k: int | None,
    barred: Sequence[Sequence[str]] | None = None,
) -> list[Suggestion]:
    field = with_rule(field, imagined.rule)
    decisions, name = imagined.decisions, imagined.codes.name
    lists = reader.near(field, vectors, pks, barred)
    sources = {pk for pk in decisions.sources.tolist() if pk != NO_ID}
    known = reader.described(field, {near.pk for one in lists for near in one} | sources)
    shown = []
    for place, (one, near) in enumerate(zip(asked, lists, strict=True)):
        label, runner_up = name(int(decisions.codes[place])), name(int(decisions.runner_up[place]))
        source = known.get(int(decisions.sources[place])) if label is not None else None
        reason = int(decisions.reasons[place])
        decision = Decision(
            label=label,
            confidence=_number(decisions.confidence[place]),
            margin=_number(decisions.margin[place]),
            threshold=field.limit_of(label or runner_up),
            runner_up=runner_up,
            reason=None if reason < 0 else REASONS[reason],
            matches=matches_of(near, known)[:top_k],
            policy=field.policy,
            taxonomy_version=field.taxonomy.version,
        )
        copied = enriched(field, source)
        source_id = None if source is None else source.id
        shown.append(Suggestion(one.name, one.part, one.attributes, source_id, copied, decision))
    return shown


def _number(value: np.floating) -> float | None:
    return None if np.isnan(value) else float(value)


# --- ask a taxonomy about vectors ----------------------------------------------------------------


def collections_named(
    snapshot: Snapshot, namespace: str, wanted: Sequence[str]
) -> list[CollectionRow]:
    """Return collections by name or id. Raises Conflict for one that is not there (yet)."""
    rows = []
    for name in wanted:
        row = find(snapshot, namespace, Kind.COLLECTION, name)
        if row is None:
            known = ", ".join(names(snapshot, namespace, Kind.COLLECTION)) or "none yet"
            raise Conflict(
                f"the retriever asks the collection {name!r}, which is not there (known: {known}); "
                "make it first"
            )
        rows.append(collection_from(row))
    return rows


def collections_with_documents(snapshot: Snapshot, namespace: str) -> list[CollectionRow]:
    """Return the collections that can be searched. Raises Conflict where there is none."""
    spaces = {row.pk for row in snapshot.rows(select(schema.space.c.collection_pk.label("pk")))}
    rows = [collection_from(row) for row in listed(snapshot, namespace, Kind.COLLECTION)]
    found = [row for row in rows if row.pk in spaces]
    if not found:
        raise Conflict("there is no collection to search yet: make one, and put something in")
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
    """Return what a taxonomy says of vectors (n, d) of a collection's space: a mapping each.

    By field: the label of the nearest reference from `floor` or the taxonomy's own limit on, with
    its similarity as `score`; None below that.

    Raises BadInput where the references are in another space.
    """
    row = find(snapshot, namespace, Kind.TAXONOMY, taxonomy)
    assert row is not None
    spec = taxonomy_row(row).spec
    reference = reference_of(snapshot, namespace, spec, home.name)
    curated = collections_named(snapshot, namespace, [reference])[0]
    own, its = (runtime.target_in(snapshot, one).space.name for one in (home, curated))
    if own != its:
        raise BadInput(
            f"{home.name!r} is in the space {own}, the references of {curated.name!r} in {its}: "
            "vectors of two spaces cannot be compared"
        )
    known = {one.name: one for one in fields_of(snapshot, curated.pk)}
    limit = max(floor, spec.confidence_threshold or 0.0)
    said: list[dict[str, Any]] = [{} for _ in vectors]
    for target, source in spec.fields.items():
        if fields and target not in fields:
            continue
        voting = known.get(target if reference == home.name else source)
        if voting is None:
            raise Conflict(
                f"the collection {curated.name!r} has no label field {source!r} to take labels from"
            )
        copying = replace(voting.taxonomy, enrich=spec.enrich)
        voting = replace(voting, taxonomy=copying)
        nearest = _labels_near(runtime, snapshot, voting, vectors, pks)
        for one, near in zip(said, nearest, strict=True):
            one[target] = near if near is not None and near["score"] >= limit else None
    return said


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
    """Return what a taxonomy says of documents of a collection; nothing of what has no vector."""
    every = np.array(pks, np.int64)
    space = runtime.target_in(snapshot, home).space
    there = every[placed(snapshot, space, every)]
    vectors = snapshot.vectors(space, there)
    said = matched(
        runtime, snapshot, namespace, taxonomy, home, vectors, there, floor=floor, fields=fields
    )
    by_pk = dict(zip(there.tolist(), said, strict=True))
    return [by_pk.get(pk, {}) for pk in pks]


def matched_unkept(
    runtime: Runtime,
    snapshot: Snapshot,
    namespace: str,
    taxonomy: str,
    home: CollectionRow,
    vectors: NDArray[np.float32],
) -> list[dict[str, Any]]:
    """Return what a taxonomy says of vectors (n, d) that are of no document: a mapping each."""
    newest = snapshot.rows(select(func.max(schema.document.c.pk).label("pk")))[0].pk
    pks = np.arange(len(vectors), dtype=np.int64) + (newest or 0) + 1
    half = vectors.astype(np.float16)
    return matched(runtime, snapshot, namespace, taxonomy, home, half, pks)


def _labels_near(
    runtime: Runtime,
    snapshot: Snapshot,
    voting: FieldRow,
    vectors: NDArray[np.float16],
    pks: NDArray[np.int64],
) -> list[dict[str, Any] | None]:
    reader = Reader(snapshot, runtime.book, [voting])
    lists = reader.near(voting, vectors, pks)
    described = reader.described(voting, {near.pk for one in lists for near in one})
    return [
        None
        if not near
        else {
            "label": near[0].label,
            "score": float(near[0].similarity),
            "source_document_id": described[near[0].pk].id,
            "copied": enriched(voting, described[near[0].pk]),
        }
        for near in lists
    ]
