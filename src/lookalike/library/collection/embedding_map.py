"""The embedding map of a collection: the points of its layout with the documents' labels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from lookalike.catalog.embedding_map import Map, State, listed_labels, scores, space_version
from lookalike.catalog.fields import space_in_force
from lookalike.catalog.reader import FieldRow
from lookalike.catalog.references import epoch_of, newest_revision
from lookalike.catalog.resources import CollectionRow
from lookalike.classifier.graph.projection import Layout, ReportProgress, shuffled
from lookalike.classifier.graph.search import Ids
from lookalike.decisions.decider import Decider
from lookalike.decisions.queue import contested_documents
from lookalike.labels import NO_LABEL
from lookalike.library.runtime import Runtime
from lookalike.model import Progress
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, conditions

_STEPS = 100
_IDS_AT_ONCE = 50_000


@dataclass(frozen=True, slots=True)
class Points:
    """A map without the ids of documents, and their pks (n,) in its order."""

    map: Map
    pks: Ids


@dataclass(frozen=True, slots=True)
class _Labels:
    """The label states of documents `pks` (n,), sorted; `codes` index into `names`."""

    pks: Ids
    codes: NDArray[np.integer[Any]]
    confidence: NDArray[np.float32]
    is_given: NDArray[np.bool_]
    names: tuple[str, ...]


_NO_PKS: Ids = np.empty(0, np.int64)
_NO_LABELS = _Labels(_NO_PKS, _NO_PKS, np.empty(0, np.float32), np.empty(0, bool), ())


def whole_map(runtime: Runtime, row: CollectionRow, field: FieldRow, progress: Progress) -> Map:
    """Return the map of a collection with the ids of its documents; compute it if needed."""
    make(runtime, row, lambda done: progress(round(done * _STEPS), _STEPS))
    return with_ids(runtime, points_of(runtime, row, field))


def with_ids(runtime: Runtime, points: Points) -> Map:
    """Return a map with the ids of its documents; "" for a document erased meanwhile."""
    with runtime.store.read() as snapshot:
        ids = ids_in_order(snapshot, points.pks)
    return replace(points.map, ids=tuple(ids.get(pk, "") for pk in points.pks.tolist()))


def make(runtime: Runtime, row: CollectionRow, report: ReportProgress) -> None:
    """Compute the layout of a collection if it has none, or has outgrown it."""
    with runtime.store.read() as snapshot:
        space = space_in_force(snapshot, row.pk)
    if space is not None:
        runtime.layouts.make(space, report)


def layout_of(runtime: Runtime, snapshot: Snapshot, row: CollectionRow) -> Layout | None:
    """Return the layout of a collection, None if there is none yet."""
    space = space_in_force(snapshot, row.pk)
    return None if space is None else runtime.layouts.find(snapshot, space)


def points_of(runtime: Runtime, row: CollectionRow, field: FieldRow) -> Points:
    """Return the points of the existing layout, from one snapshot; none without a layout."""
    with runtime.store.read() as snapshot:
        has_items = space_in_force(snapshot, row.pk) is not None
    if not has_items:
        return _points(row, field, None, _NO_LABELS, _NO_PKS)
    with runtime.operations.deciders.consulted(field.pk, _labels) as (snapshot, labels):
        layout = layout_of(runtime, snapshot, row)
        contested = contested_documents(snapshot, field.pk)
    return _points(row, field, layout, labels, contested)


def order_of(layout: Layout) -> tuple[Ids, str]:
    """Return the documents of a layout in the order of the map, and a digest of that order."""
    pks = layout.pks[shuffled(layout.pks)]
    return pks, _digest_of(pks)


def tag_of(snapshot: Snapshot, row: CollectionRow, field: FieldRow, layout: Layout | None) -> str:
    """Return a tag that changes whenever the map does (an HTTP ETag); it is quick to compute."""
    space = space_in_force(snapshot, row.pk)
    version = None if space is None else tuple(space_version(snapshot, space))
    drawn = None if layout is None else (layout.made_of, len(layout))
    labels = (epoch_of(snapshot, field.pk), newest_revision(snapshot, field.pk))
    state = repr((row.name, field.name, version, drawn, labels))
    return hashlib.sha256(state.encode()).hexdigest()[:24]


def ids_in_order(snapshot: Snapshot, pks: Ids) -> dict[int, str]:
    """Return the ids of documents by pk, in the order of `pks`, without erased documents."""
    table, found = schema.document.c, dict[int, str]()
    ordered = np.sort(pks)
    for start in range(0, len(ordered), _IDS_AT_ONCE):
        for chosen in conditions(table.pk, ordered[start : start + _IDS_AT_ONCE]):
            rows = snapshot.rows(select(table.pk, table.id).where(chosen))
            found |= {row.pk: row.id for row in rows}
    return {pk: found[pk] for pk in pks.tolist() if pk in found}


def _labels(decider: Decider, _snapshot: Snapshot) -> _Labels:
    columns, codes = decider.state.columns, decider.state.codes
    return _Labels(
        columns.pks.copy(),
        columns["codes"].copy(),
        columns["confidence"].copy(),
        columns["settled"].copy(),
        tuple(codes.names),
    )


def _points(
    row: CollectionRow,
    field: FieldRow,
    layout: Layout | None,
    labels: _Labels,
    contested: Ids,
) -> Points:
    pks, square = _NO_PKS, np.empty((0, 2), np.uint16)
    if layout is not None:
        order = shuffled(layout.pks)
        pks, square = layout.pks[order], layout.square()[order]
    at = np.minimum(np.searchsorted(labels.pks, pks), max(len(labels.pks) - 1, 0))
    known = labels.pks[at] == pks if len(labels.pks) else np.zeros(len(pks), bool)
    codes = np.full(len(pks), NO_LABEL, np.int32)
    confidence, is_given = np.full(len(pks), np.nan, np.float32), np.zeros(len(pks), bool)
    codes[known] = labels.codes[at[known]]
    confidence[known], is_given[known] = labels.confidence[at[known]], labels.is_given[at[known]]
    state = np.where(codes < 0, State.NULL, np.where(is_given, State.GIVEN, State.AUTO))
    state[np.isin(pks, contested)] = State.DISPUTED
    names, label = listed_labels(codes, labels.names)
    drawn = Map(
        collection=row.name,
        field=field.name,
        ids=(),
        x=square[:, 0],
        y=square[:, 1],
        label=label,
        state=state.astype(np.uint8),
        score=scores(confidence),
        labels=names,
        snapshot=_digest_of(pks),
        made_of=0 if layout is None else layout.made_of,
        outgrown=layout is not None and layout.is_outgrown,
    )
    return Points(drawn, pks)


def _digest_of(pks: Ids) -> str:
    return hashlib.sha256(pks.tobytes()).hexdigest()[:24]
