"""Neighbour lists of the items of a space, which take longest to find, kept in a file.

Derived state: it may be deleted at any time. It is of its items while each has its vector in the
same slot; packing moves vectors, and what was kept follows.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from lookalike.classifier.graph.graph import Known, Landscape
from lookalike.classifier.graph.metric import Blend
from lookalike.classifier.graph.neighbours import Ranked
from lookalike.classifier.graph.propagation import Graph, Places
from lookalike.content.recall import recall, remember
from lookalike.stores.base import Packed

_FOUND_BY = "lists.6"
"""How lists are found; those that were kept under another name are found again."""

_GRAPH = ("starts", "columns", "weights")


class KeptLists:
    """What was found out about items: `pks` (n,) rising, with the `slots` of their vectors.

    `blend` is that of the members of a combined space. As a `nearness.Progress` it keeps how far
    the neighbours have been found.
    """

    def __init__(self, file: Path, pks: Places, slots: Places, blend: Blend | None) -> None:
        self._file, self._pks, self._slots = file, pks, slots
        self._weighed = "" if blend is None else repr(blend)
        self._mark = _mark_of(pks, slots, self._weighed)

    def known(self) -> Known | None:
        """Return what was kept of these items, if anything was."""
        found = recall(self._file)
        if found is None or found[0].get("items") != self._mark:
            return None
        arrays = found[1]
        graph = Graph.of(*(arrays[name] for name in _GRAPH))
        near = arrays["near"].astype(np.int64)
        return Known(near, arrays["cosines"], arrays["turn"], graph, arrays["degrees"])

    def keep_all(self, land: Landscape) -> None:
        """Keep what their landscape has."""
        arrays = {
            "pks": self._pks,
            "slots": self._slots,
            "near": land.near.astype(np.int32),
            "cosines": land.near_cosines,
            "turn": land.turn,
            "degrees": land.degrees,
            **{name: getattr(land.graph, name) for name in _GRAPH},
        }
        remember(self._file, {"items": self._mark, "weighed": self._weighed}, arrays)

    def kept(self) -> tuple[int, Ranked] | None:
        """Return how many items have their neighbours, and which, if that was kept."""
        found = recall(self._file)
        if found is None or found[0].get("partly") != self._mark:
            return None
        return found[0]["done"], found[1]["ranked"]

    def keep(self, done: int, found: Ranked) -> None:
        """Keep the neighbours of the first items."""
        remember(self._file, {"partly": self._mark, "done": done}, {"ranked": found})


def follow_packed(file: Path, packed: Packed) -> None:
    """Let what was kept of items of a space be of where their vectors are now."""
    found = recall(file)
    if found is None or "items" not in found[0]:
        return
    mark, arrays = found
    slots = packed.moved(arrays["slots"])
    if slots is not None:
        items = _mark_of(arrays["pks"], slots, mark["weighed"])
        remember(file, mark | {"items": items}, arrays | {"slots": slots})


def _mark_of(pks: Places, slots: Places, weighed: str) -> str:
    mark = hashlib.sha256(f"{_FOUND_BY}{weighed}".encode())
    mark.update(np.ascontiguousarray(pks, "<i8").data)
    mark.update(np.ascontiguousarray(slots, "<i8").data)
    return mark.hexdigest()
