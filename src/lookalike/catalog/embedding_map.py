"""The layouts of the spaces of a store: made once, kept in a file, following what comes and goes.

Derived state: a file may be deleted at any time and is never needed to open a store. What came is
placed at once when someone asks; a layout that is outgrown goes on answering until it is made anew.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from lookalike.classifier.graph.metric import Blend, Frame, blend
from lookalike.classifier.graph.projection import Axes, Layout, Tell, lay_out
from lookalike.classifier.graph.search import Ids
from lookalike.content.recall import recall, remember
from lookalike.stores import schema
from lookalike.stores.base import Packed, Snapshot, Store, StoredSpace, stored_space
from lookalike.stores.locks import Turns

_FORMAT = 1
_KEPT_AHEAD = 0.01
"""So large a part may have come since the file was written: the next process places it again."""


class Seen(NamedTuple):
    """Which vectors a space had: another tuple tells that some came or went."""

    space: int
    generation: int
    next_slot: int
    vectors: int


class Layouts:
    """The layouts of a store's spaces; their files go to `cache`. Safe for several threads."""

    def __init__(self, store: Store, cache: Path) -> None:
        self._store = store
        self._cache = cache
        self._known: dict[int, tuple[Seen, Layout]] = {}
        self._written: dict[int, int] = {}
        self._turns: dict[int, Turns] = {}
        self._makers: dict[int, Turns] = {}
        self._erasures = 0

    def find(self, snapshot: Snapshot, space: StoredSpace) -> Layout | None:
        """Return the layout of a space as of a snapshot; None where none was made yet."""
        seen = seen_of(snapshot, space)
        with self._turns.setdefault(space.pk, Turns()).taken():
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
                self._written.pop(space.pk, None)  # what was erased elsewhere stays in no file
            self._keep(space, seen, layout)
            return layout

    def make(self, space: StoredSpace, tell: Tell) -> Layout | None:
        """Make the layout of a space where there is none, or one that is outgrown, and return it.

        None for a space without vectors. `tell` hears which share is done; what it raises ends it.
        Who asks meanwhile waits for the same one.
        """
        with self._makers.setdefault(space.pk, Turns()).taken():
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
            return self._take(space, layout)

    def forget_erased(self) -> None:
        """Take out of all layouts, in memory and in files, what the store holds no more."""
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

    def _take(self, space: StoredSpace, layout: Layout) -> Layout | None:
        """Keep a layout that was just made, without what was erased while it was being made."""
        while True:
            erasures = self._erasures
            with self._store.read() as snapshot:
                now, seen = _caught_up(snapshot, space, layout), seen_of(snapshot, space)
                with self._turns.setdefault(space.pk, Turns()).taken():
                    if erasures != self._erasures:
                        continue
                    self._written.pop(space.pk, None)
                    if now is not None:
                        self._keep(space, seen, now)
                    return now

    def _rewrite(self, space: StoredSpace) -> None:
        with self._turns.setdefault(space.pk, Turns()).taken():
            if space.pk in self._known:
                self._write(space, self._known[space.pk][1])

    def _keep(self, space: StoredSpace, seen: Seen, layout: Layout) -> None:
        self._known[space.pk] = seen, layout
        written = self._written.get(space.pk, 0)
        if abs(len(layout) - written) > _KEPT_AHEAD * len(layout):
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
        remember(self._file(space), mark, arrays)
        self._written[space.pk] = len(layout)

    def _read(self, space: StoredSpace) -> Layout | None:
        kept = recall(self._file(space))
        if kept is None:
            return None
        mark, arrays = kept
        made_of = mark.pop("made_of", 0)
        if mark != _mark(space):
            return None
        axes = Axes(Frame(arrays.pop("mean"), _blend(space)), arrays.pop("basis"))
        self._written[space.pk] = len(arrays["pks"])
        return Layout(axes=axes, made_of=made_of, **arrays)


def follow_packed(file: Path, packed: Packed) -> None:
    """Let the layout of a space in a file be of where its vectors are now."""
    kept, space = recall(file), packed.space
    if kept is None:
        return
    mark, arrays = kept
    slots = packed.moved(arrays["slots"])
    before = _mark(replace(space, generation=space.generation - 1))
    if slots is not None and before.items() <= mark.items():
        remember(file, mark | _mark(space), arrays | {"slots": slots})


def seen_of(snapshot: Snapshot, space: StoredSpace) -> Seen:
    """Return which vectors a space has."""
    table, embedding = schema.space.c, schema.embedding.c
    row = snapshot.rows(select(table.next_slot).where(table.pk == space.pk))[0]
    query = select(func.count().label("vectors")).where(embedding.space_pk == space.pk)
    return Seen(space.pk, space.generation, row.next_slot, snapshot.rows(query)[0].vectors)


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
    """Return a layout without what went, and with what came; None where nothing is left of it."""
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
