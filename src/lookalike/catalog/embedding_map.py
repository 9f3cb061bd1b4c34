"""Embedding maps: 2-d layouts of the spaces of a store, cached in files and updated.

Derived data: a file may be deleted at any time and is never needed to open a store. New documents
are placed in the layout when it is next used. A layout that has too many new documents is used
until it is computed again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from lookalike.classifier.graph.metric import Blend, Whitening, blend
from lookalike.classifier.graph.projection import Axes, Layout, ReportProgress, lay_out
from lookalike.classifier.graph.search import Ids
from lookalike.content.files import read_cache, write_cache
from lookalike.stores import schema
from lookalike.stores.base import Packed, Snapshot, Store, StoredSpace, stored_space
from lookalike.stores.locks import FairLock

_FORMAT = 1
_REWRITE_SHARE = 0.01
"""Write the file again when the share of new documents exceeds this."""


class SpaceVersion(NamedTuple):
    """Identifies the vectors in a space: it changes when vectors are added or removed."""

    space: int
    generation: int
    next_slot: int
    vectors: int


class Layouts:
    """The layouts of a store's spaces; their files go to `cache`. Thread-safe."""

    def __init__(self, store: Store, cache: Path) -> None:
        self._store = store
        self._cache = cache
        self._known: dict[int, tuple[SpaceVersion, Layout]] = {}
        self._written: dict[int, int] = {}
        self._locks: dict[int, FairLock] = {}
        self._makers: dict[int, FairLock] = {}
        self._erasures = 0

    def find(self, snapshot: Snapshot, space: StoredSpace) -> Layout | None:
        """Return the layout of a space as of a snapshot, or None if it was not computed yet."""
        seen = space_version(snapshot, space)
        with self._locks.setdefault(space.pk, FairLock()).taken():
            known = self._known.get(space.pk)
            if known is not None and known[0] == seen:
                return known[1]
            fits = known is not None and known[0].generation == seen.generation
            layout = known[1] if known is not None and fits else self._read(space)
            if layout is None:
                return None
            before, layout = layout, _caught_up(snapshot, space, layout)
            if layout is None:
                return None
            if len(layout.anchors) < len(before.anchors):
                self._written.pop(space.pk, None)  # rewrite the file without erased documents
            self._keep(space, seen, layout)
            return layout

    def make(self, space: StoredSpace, tell: ReportProgress) -> Layout | None:
        """Compute the layout of a space if there is none or if it is outdated; return it.

        None for a space without vectors. `tell` is called with the share that is done; an exception
        in it stops the computation. Concurrent calls wait for the same layout.
        """
        with self._makers.setdefault(space.pk, FairLock()).taken():
            with self._store.read() as snapshot:
                layout = self.find(snapshot, space)
                if layout is not None and not layout.is_outgrown:
                    return layout
                pks, slots = _items(snapshot, space)
                if len(pks) == 0:
                    return None
                layout = lay_out(
                    pks, slots, lambda some: snapshot.vectors(space, some), _blend(space), tell
                )
            return self._store_layout(space, layout)

    def forget_erased(self) -> None:
        """Remove erased documents from all layouts, in memory and in files."""
        self._erasures += 1
        with self._store.read() as snapshot:
            there = {row.pk: stored_space(row) for row in snapshot.rows(select(schema.space))}
            for file in sorted(self._cache.glob("map-*.npz")):
                pk = int(file.stem.partition("-")[2].partition(".")[0])
                self._written.pop(pk, None)
                if pk not in there or self.find(snapshot, there[pk]) is None:
                    file.unlink(missing_ok=True)
                else:
                    self._rewrite(there[pk])

    def _store_layout(self, space: StoredSpace, layout: Layout) -> Layout | None:
        """Store a new layout, without documents that were erased while it was computed."""
        while True:
            erasures = self._erasures
            with self._store.read() as snapshot:
                now, seen = _caught_up(snapshot, space, layout), space_version(snapshot, space)
                with self._locks.setdefault(space.pk, FairLock()).taken():
                    if erasures != self._erasures:
                        continue
                    self._written.pop(space.pk, None)
                    if now is not None:
                        self._keep(space, seen, now)
                    return now

    def _rewrite(self, space: StoredSpace) -> None:
        with self._locks.setdefault(space.pk, FairLock()).taken():
            if space.pk in self._known:
                self._write(space, self._known[space.pk][1])

    def _keep(self, space: StoredSpace, seen: SpaceVersion, layout: Layout) -> None:
        self._known[space.pk] = seen, layout
        written = self._written.get(space.pk, 0)
        if abs(len(layout) - written) > _REWRITE_SHARE * len(layout):
            self._write(space, layout)

    def _file(self, space: StoredSpace) -> Path:
        return self._cache / f"map-{space.pk}.npz"

    def _write(self, space: StoredSpace, layout: Layout) -> None:
        mark = _mark(space) | {"made_of": layout.made_of}
        arrays: dict[str, NDArray[np.generic]] = {
            "pks": layout.pks,
            "slots": layout.slots,
            "places": layout.places,
            "anchors": layout.anchors,
            "reduced": layout.reduced,
            "mean": layout.axes.frame.mean,
            "basis": layout.axes.basis,
        }
        write_cache(self._file(space), mark, arrays)
        self._written[space.pk] = len(layout)

    def _read(self, space: StoredSpace) -> Layout | None:
        kept = read_cache(self._file(space))
        if kept is None:
            return None
        mark, arrays = kept
        made_of = mark.pop("made_of", 0)
        if mark != _mark(space):
            return None
        axes = Axes(Whitening(arrays.pop("mean"), _blend(space)), arrays.pop("basis"))
        self._written[space.pk] = len(arrays["pks"])
        return Layout(axes=axes, made_of=made_of, **arrays)


def move_cached_slots(file: Path, packed: Packed) -> None:
    """Update the layout file of a space after compaction moved its vectors to other slots."""
    kept, space = read_cache(file), packed.space
    if kept is None:
        return
    mark, arrays = kept
    slots = packed.moved(arrays["slots"])
    before = _mark(replace(space, generation=space.generation - 1))
    if slots is not None and before.items() <= mark.items():
        write_cache(file, mark | _mark(space), arrays | {"slots": slots})


def space_version(snapshot: Snapshot, space: StoredSpace) -> SpaceVersion:
    """Return the version of a space's vectors."""
    table, embedding = schema.space.c, schema.embedding.c
    row = snapshot.rows(select(table.next_slot).where(table.pk == space.pk))[0]
    query = select(func.count().label("vectors")).where(embedding.space_pk == space.pk)
    return SpaceVersion(space.pk, space.generation, row.next_slot, snapshot.rows(query)[0].vectors)


def _mark(space: StoredSpace) -> dict[str, object]:
    return {"format": _FORMAT, "space": space.name, "generation": space.generation}


def _blend(space: StoredSpace) -> Blend | None:
    return blend(tuple(member.dimension for member in space.members), ())


def _items(snapshot: Snapshot, space: StoredSpace) -> tuple[Ids, Ids]:
    """Return the documents of a space, rising, with the slots of their vectors."""
    slots, pks = snapshot.slots(space)
    order = np.argsort(pks, kind="stable")
    return pks[order], slots[order]


def _caught_up(snapshot: Snapshot, space: StoredSpace, layout: Layout) -> Layout | None:
    """Return a layout without removed and with new documents; None if nothing of it is left."""
    pks, slots = _items(snapshot, space)
    at = np.minimum(np.searchsorted(pks, layout.pks), max(len(pks) - 1, 0))
    same = (pks[at] == layout.pks) & (slots[at] == layout.slots) if len(pks) else at < 0
    layout = layout if same.all() else layout.without(layout.pks[~same])
    if len(layout.anchors) == 0:
        return None
    new = ~np.isin(pks, layout.pks)
    if new.any():
        layout = layout.with_more(pks[new], slots[new], lambda some: snapshot.vectors(space, some))
    return layout


# --- map points and their wire format ------------------------------------------------------------

# Packed, little-endian: u32 n, u16 x[n], u16 y[n], u8 label[n], u8 state[n], u8 score[n], u32
# length, then the legend as JSON of that length in bytes. The page reads the same format.

NO_LABEL, OTHER_LABEL = 255, 254
"""The values of `label` for a point without a label, and for one whose label is not listed."""

MOST_LABELS = OTHER_LABEL
"""The maximum number of listed labels; the most frequent ones are listed."""

NO_SCORE, MOST_SCORE = 255, 254

_COLUMNS = (("x", "<u2"), ("y", "<u2"), ("label", "u1"), ("state", "u1"), ("score", "u1"))
_COUNT = np.dtype("<u4")


class State(IntEnum):
    """The state of a point: no label, given by a person or an import, automatic, or disputed."""

    NULL = 0
    GIVEN = 1
    AUTO = 2
    DISPUTED = 3


@dataclass(frozen=True, slots=True)
class MapLabel:
    """A label on the map, and the number of documents with it."""

    name: str
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """Every document of a collection as a 2-d point, similar ones near each other.

    The positions do not depend on labels. `x`, `y` are uint16 (n,) on a square from 0 to 65,535.
    `label` uint8 (n,) is the index in `labels` (most frequent first), 254 for a label that is not
    listed, 255 for none. `state` uint8 (n,) has `State`s; `score` uint8 (n,) is the confidence
    times 254, 255 if there is none. `ids` (n,) are the documents in pseudo-random order: any first
    part is a sample of all. `snapshot` identifies this order of documents. The layout was computed
    from `made_of` documents; later ones were placed among them. If it is `outgrown`, it should be
    computed again.
    """

    collection: str
    field: str
    ids: tuple[str, ...]
    x: NDArray[np.uint16]
    y: NDArray[np.uint16]
    label: NDArray[np.uint8]
    state: NDArray[np.uint8]
    score: NDArray[np.uint8]
    labels: tuple[MapLabel, ...]
    snapshot: str
    made_of: int
    outgrown: bool

    def __len__(self) -> int:
        return len(self.x)


def listed_labels(
    codes: NDArray[np.integer[Any]], names: Sequence[str]
) -> tuple[tuple[MapLabel, ...], NDArray[np.uint8]]:
    """Return the labels to list, most frequent first, and the index of each of `codes` (n,).

    A code is an index in `names`, negative for no label.
    """
    counts = np.bincount(codes[codes >= 0], minlength=len(names)).tolist()
    used = sorted(
        (-count, name, code)
        for code, (count, name) in enumerate(zip(counts, names, strict=True))
        if count
    )
    places = np.full(len(names) + 1, OTHER_LABEL, np.uint8)
    places[-1] = NO_LABEL
    for place, (_, _, code) in enumerate(used[:MOST_LABELS]):
        places[code] = place
    listed = tuple(MapLabel(name, -count) for count, name, _ in used[:MOST_LABELS])
    return listed, places[np.where(codes < 0, len(names), codes)]


def scores(confidence: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Return confidences (n,) as bytes."""
    known = np.isfinite(confidence)
    scaled = np.rint(np.clip(np.where(known, confidence, 0), 0, 1) * MOST_SCORE)
    return np.where(known, scaled, NO_SCORE).astype(np.uint8)


def packed(embedding_map: Map, more: Mapping[str, Any] | None = None) -> bytes:
    """Return a map in the wire format.

    Empty ids are left out; `more` is added to the legend.
    """
    legend = {
        "collection": embedding_map.collection,
        "field": embedding_map.field,
        "labels": [[one.name, one.count] for one in embedding_map.labels],
        "states": [state.name.lower() for state in State],
        "snapshot": embedding_map.snapshot,
        "made_of": embedding_map.made_of,
        "outgrown": embedding_map.outgrown,
        **({"ids": embedding_map.ids} if embedding_map.ids else {}),
        **(more or {}),
    }
    text = json.dumps(legend, ensure_ascii=False).encode()
    columns = [getattr(embedding_map, name).astype(kind).tobytes() for name, kind in _COLUMNS]
    return b"".join([_number(len(embedding_map)), *columns, _number(len(text)), text])


def unpacked(data: bytes) -> Map:
    """Return the map from the wire format. Raises ValueError for other data."""
    count, at, columns = _number_at(data, 0), _COUNT.itemsize, {}
    for name, kind in _COLUMNS:
        columns[name] = np.frombuffer(data, kind, count, at).astype(kind.strip("<"))
        at += columns[name].nbytes
    at += _COUNT.itemsize
    legend = json.loads(data[at : at + _number_at(data, at - _COUNT.itemsize)])
    return Map(
        collection=legend["collection"],
        field=legend["field"],
        ids=tuple(legend.get("ids", ())),
        labels=tuple(MapLabel(name, count) for name, count in legend["labels"]),
        snapshot=legend["snapshot"],
        made_of=legend["made_of"],
        outgrown=legend["outgrown"],
        **columns,
    )


def _number(value: int) -> bytes:
    return np.array(value, _COUNT).tobytes()


def _number_at(data: bytes, place: int) -> int:
    return int(np.frombuffer(data, _COUNT, 1, place)[0])
