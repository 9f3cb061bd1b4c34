"""The map of a collection as the store has it: its points, and the documents that they are."""

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
class _Stances:
    """What a decider knows of documents `pks` (n,), rising; `codes` are places in `names`."""

    pks: Ids
    codes: NDArray[np.integer[Any]]
    confidence: NDArray[np.float32]
    stands: NDArray[np.bool_]
    names: tuple[str, ...]


_NOTHING: Ids = np.empty(0, np.int64)
_NOBODY = _Stances(_NOTHING, _NOTHING, np.empty(0, np.float32), np.empty(0, bool), ())


def whole_map(runtime: Runtime, row: CollectionRow, field: FieldRow, progress: Progress) -> Map:
    """Return the map of a collection with the ids of its documents; it is made if need be."""
    make(runtime, row, lambda done: progress(round(done * _STEPS), _STEPS))
    return with_ids(runtime, points_of(runtime, row, field))


def with_ids(runtime: Runtime, points: Points) -> Map:
    """Return a map with the ids of its documents; one that was forgotten this moment has none."""
    with runtime.store.read() as snapshot:
        ids = ids_in_order(snapshot, points.pks)
    return replace(points.map, ids=tuple(ids.get(pk, "") for pk in points.pks.tolist()))


def make(runtime: Runtime, row: CollectionRow, tell: ReportProgress) -> None:
    """Make the layout of a collection where there is none or it is outgrown."""
    with runtime.store.read() as snapshot:
        space = space_in_force(snapshot, row.pk)
    if space is not None:
        runtime.layouts.make(space, tell)


def layout_of(runtime: Runtime, snapshot: Snapshot, row: CollectionRow) -> Layout | None:
    """Return the layout of a collection that there is; None where there is none yet."""
    space = space_in_force(snapshot, row.pk)
    return None if space is None else runtime.layouts.find(snapshot, space)


def points_of(runtime: Runtime, row: CollectionRow, field: FieldRow) -> Points:
    """Return the points of the layout that there is, as of one moment; none without a layout."""
    with runtime.store.read() as snapshot:
        has_items = space_in_force(snapshot, row.pk) is not None
    if not has_items:
        return _points(row, field, None, _NOBODY, _NOTHING)
    with runtime.operations.deciders.consulted(field.pk, _stances) as (snapshot, stances):
        layout = layout_of(runtime, snapshot, row)
        contested = contested_documents(snapshot, field.pk)
    return _points(row, field, layout, stances, contested)


def order_of(layout: Layout) -> tuple[Ids, str]:
    """Return the documents of a layout in the order of the map, and what names that order."""
    pks = layout.pks[shuffled(layout.pks)]
    return pks, _name_of(pks)


def tag_of(snapshot: Snapshot, row: CollectionRow, field: FieldRow, layout: Layout | None) -> str:
    """Return what tells one state of a map from another; finding it out is quick."""
    space = space_in_force(snapshot, row.pk)
    seen = None if space is None else tuple(space_version(snapshot, space))
    drawn = None if layout is None else (layout.made_of, len(layout))
    said = (epoch_of(snapshot, field.pk), newest_revision(snapshot, field.pk))
    told = repr((row.name, field.name, seen, drawn, said))
    return hashlib.sha256(told.encode()).hexdigest()[:24]


def ids_in_order(snapshot: Snapshot, pks: Ids) -> dict[int, str]:
    """Return the ids of documents by pk, in their order; those that are no more are left out."""
    table, found = schema.document.c, dict[int, str]()
    rising = np.sort(pks)
    for start in range(0, len(rising), _IDS_AT_ONCE):
        for chosen in conditions(table.pk, rising[start : start + _IDS_AT_ONCE]):
            rows = snapshot.rows(select(table.pk, table.id).where(chosen))
            found |= {row.pk: row.id for row in rows}
    return {pk: found[pk] for pk in pks.tolist() if pk in found}


def _stances(decider: Decider, _snapshot: Snapshot) -> _Stances:
    columns, codes = decider.state.columns, decider.state.codes
    return _Stances(
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
    stances: _Stances,
    contested: Ids,
) -> Points:
    pks, square = _NOTHING, np.empty((0, 2), np.uint16)
    if layout is not None:
        order = shuffled(layout.pks)
        pks, square = layout.pks[order], layout.square()[order]
    at = np.minimum(np.searchsorted(stances.pks, pks), max(len(stances.pks) - 1, 0))
    known = stances.pks[at] == pks if len(stances.pks) else np.zeros(len(pks), bool)
    codes = np.full(len(pks), NO_LABEL, np.int32)
    confidence, stands = np.full(len(pks), np.nan, np.float32), np.zeros(len(pks), bool)
    codes[known] = stances.codes[at[known]]
    confidence[known], stands[known] = stances.confidence[at[known]], stances.stands[at[known]]
    state = np.where(codes < 0, State.NULL, np.where(stands, State.GIVEN, State.AUTO))
    state[np.isin(pks, contested)] = State.DISPUTED
    labels, label = listed_labels(codes, stances.names)
    told = Map(
        collection=row.name,
        field=field.name,
        ids=(),
        x=square[:, 0],
        y=square[:, 1],
        label=label,
        state=state.astype(np.uint8),
        score=scores(confidence),
        labels=labels,
        snapshot=_name_of(pks),
        made_of=0 if layout is None else layout.made_of,
        outgrown=layout is not None and layout.is_outgrown,
    )
    return Points(told, pks)


def _name_of(pks: Ids) -> str:
    return hashlib.sha256(pks.tobytes()).hexdigest()[:24]
