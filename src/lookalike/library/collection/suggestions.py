"""Suggesting: what something would be labelled, decided as on arrival and recorded nowhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from lookalike.catalog.fields import placed, stored_field
from lookalike.catalog.image_groups import Unseen
from lookalike.catalog.lookup import pks_of
from lookalike.catalog.objects import input_of
from lookalike.catalog.reader import FieldRow, Reader, by_standard, enriched, matches_of
from lookalike.catalog.resources import CollectionRow
from lookalike.classifier.graph.search import NOBODY, Ids
from lookalike.classifier.policies import REASONS
from lookalike.content.pictures import kinds_named, sniff
from lookalike.content.sources import Item, items
from lookalike.decisions.decider import Decider, Imagined
from lookalike.decisions.field.imagining import WithMore
from lookalike.errors import BadContent, BadInput, BadVector, Conflict
from lookalike.extractors.base import Content, accepts
from lookalike.extractors.vectors import problems, unit_rows
from lookalike.ingest.documents import Target
from lookalike.ingest.executors import chosen_inputs, read_content
from lookalike.library.runtime import Workshop
from lookalike.model import Blob, Decision, Suggestion
from lookalike.stores import schema
from lookalike.stores.base import Snapshot

_SNIFFED_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Asked:
    """Something to be decided: what it is called, which part of it, and the part's vector."""

    name: str
    vector: NDArray[np.float16]
    part: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)


def asked_of(workshop: Workshop, target: Target, source: Any) -> list[Asked]:
    """Return the parts of a source, as `add` takes it, extracted as the collection would.

    Raises BadContent for one that cannot be extracted; of a folder, what is of another kind is left
    out.
    """
    contents = list(_contents(workshop, target, source))
    asked = []
    outcomes = target.extractor.extract(contents)
    for content, outcome in zip(contents, outcomes, strict=True):
        if isinstance(outcome, BadContent):
            raise outcome
        asked += [
            Asked(content.name, part.vector.astype(np.float16), part.key, part.attributes)
            for part in outcome
        ]
    return asked


def asked_vectors(target: Target, vectors: Any) -> list[Asked]:
    """Return vectors (n, d), or one (d,), as what is asked about. Raises BadInput, BadVector."""
    array = np.atleast_2d(np.asarray(vectors))
    if array.dtype.kind not in "fiu":
        raise BadInput(f"vectors are an array of {array.dtype}; give numbers")
    for place, problem in problems(array, target.space.dimension).items():
        raise BadVector(f"vector {place}: {problem}")
    if len(array) == 0:
        return []
    units = unit_rows(array).astype(np.float16)
    return [Asked(f"vector {place}", unit) for place, unit in enumerate(units)]


def suggest(
    workshop: Workshop, field: FieldRow, asked: Sequence[Asked], *, top_k: int | None = None
) -> list[Suggestion]:
    """Return how each would be decided if all arrived now; up to `top_k` matches are shown."""
    if not asked:
        return []
    vectors = np.stack([one.vector for one in asked])

    def ask(decider: Decider, snapshot: Snapshot) -> tuple[Ids, Imagined]:
        space = stored_field(snapshot, field.pk).space
        newest = snapshot.rows(select(func.max(schema.document.c.pk).label("pk")))[0].pk
        pks = np.arange(len(asked)) + (newest or 0) + 1
        unseen = [
            Unseen(one.name, one.attributes.get("time_ms"), bool(one.attributes.get("low_quality")))
            for one in asked
        ]
        return pks, decider.imagine(WithMore(snapshot, space, pks, vectors), pks, unseen)

    with workshop.operations.deciders.consulted(field.pk, ask) as (snapshot, (pks, imagined)):
        reader = Reader(snapshot, workshop.book, [field])
        return _shown(reader, field, asked, imagined, vectors, pks, top_k)


def suggest_for(
    workshop: Workshop,
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

    def ask(decider: Decider, snapshot: Snapshot) -> tuple[dict[str, int], Ids, Imagined]:
        named = pks_of(snapshot, collection, wanted)
        pks = np.array(sorted(named.values()), np.int64)
        there = set(pks[placed(snapshot, decider.field.space, pks)].tolist())
        for id, pk in named.items():
            if pk not in there:
                raise Conflict(
                    f"{id!r} has no vector in {decider.field.space.name}: nothing can be said of "
                    "it; see why its object failed"
                )
        return named, pks, decider.reconsider(snapshot, pks)

    with workshop.operations.deciders.consulted(field.pk, ask) as (
        snapshot,
        (named, pks, imagined),
    ):
        vectors = snapshot.vectors(stored_field(snapshot, field.pk).space, pks)
        names = {pk: id for id, pk in named.items()}
        asked = [Asked(names[pk], vector) for pk, vector in zip(pks.tolist(), vectors, strict=True)]
        reader = Reader(snapshot, workshop.book, [field])
        barred = _barred(snapshot, field, pks)
        shown = _shown(reader, field, asked, imagined, vectors, pks, top_k, barred)
    by_name = {one.name: one for one in shown}
    return [by_name[id] for id in named]


def _contents(workshop: Workshop, target: Target, source: Any) -> Iterator[Content]:
    for item in items(source):
        if item.error is not None:
            raise BadContent(item.error)
        data = item.data if item.data is not None else workshop.blobs.fetch(str(item.uri))
        workshop.blobs.check_size(len(data), repr(item.name))
        media_type = item.media_type or sniff(data[:_SNIFFED_BYTES], item.name)
        if accepts(target.extractor, media_type):
            yield _content(workshop, target, item, data, media_type)
        elif not item.walked:
            wanted = " or ".join(kinds_named(target.extractor.accepts))
            raise BadContent(
                f"{item.name!r} is {media_type}, and {target.name!r} extracts {wanted}; "
                "ask a collection with another extractor"
            )


def _content(
    workshop: Workshop, target: Target, item: Item, data: bytes, media_type: str
) -> Content:
    """Return an item with what of its metadata a combined extractor reads beside it."""
    own = Blob("content", media_type, "", "", len(data))
    blob, beside = chosen_inputs(target, input_of(target.row, [own], item.metadata) or [own])
    return read_content(
        item.name,
        (blob or own, beside),
        lambda one: data if one is own else workshop.blobs.read(one),
        max_pixels=workshop.settings.max_pixels,
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
    asked: Sequence[Asked],
    imagined: Imagined,
    vectors: NDArray[np.float16],
    pks: Ids,
    top_k: int | None,
    barred: Sequence[Sequence[str]] | None = None,
) -> list[Suggestion]:
    field = by_standard(field, imagined.standard)
    decisions, name = imagined.decisions, imagined.codes.name
    lists = reader.near(field, vectors, pks, barred)
    sources = {pk for pk in decisions.sources.tolist() if pk != NOBODY}
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
