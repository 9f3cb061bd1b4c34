"""Matching: what a taxonomy says of vectors, asked and not recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from lookalike.catalog.fields import placed
from lookalike.catalog.reader import FieldRow, Reader, enriched, fields_of
from lookalike.catalog.resources import CollectionRow, Kind, collection_from, find, listed, names
from lookalike.catalog.taxonomies import reference_of, taxonomy_row
from lookalike.errors import BadInput, Conflict
from lookalike.library.runtime import Workshop
from lookalike.stores import schema
from lookalike.stores.base import Snapshot


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
    workshop: Workshop,
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
    own, its = (workshop.target_in(snapshot, one).space.name for one in (home, curated))
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
        nearest = _labels_near(workshop, snapshot, voting, vectors, pks)
        for one, near in zip(said, nearest, strict=True):
            one[target] = near if near is not None and near["score"] >= limit else None
    return said


def matched_known(
    workshop: Workshop,
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
    space = workshop.target_in(snapshot, home).space
    there = every[placed(snapshot, space, every)]
    vectors = snapshot.vectors(space, there)
    said = matched(
        workshop, snapshot, namespace, taxonomy, home, vectors, there, floor=floor, fields=fields
    )
    by_pk = dict(zip(there.tolist(), said, strict=True))
    return [by_pk.get(pk, {}) for pk in pks]


def matched_unkept(
    workshop: Workshop,
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
    return matched(workshop, snapshot, namespace, taxonomy, home, half, pks)


def _labels_near(
    workshop: Workshop,
    snapshot: Snapshot,
    voting: FieldRow,
    vectors: NDArray[np.float16],
    pks: NDArray[np.int64],
) -> list[dict[str, Any] | None]:
    reader = Reader(snapshot, workshop.book, [voting])
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
