"""The map of a collection: every document as a point, and how such a map is sent. Pure.

Packed, little-endian: u32 n, u16 x[n], u16 y[n], u8 label[n], u8 state[n], u8 score[n], u32 length,
and so many bytes of JSON: the legend. The page reads the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

NO_LABEL, OTHER_LABEL = 255, 254
"""What `label` is of a point without one, and of one whose label is not among those listed."""

MOST_LABELS = OTHER_LABEL
"""So many labels are listed, those of most documents."""

NO_SCORE, MOST_SCORE = 255, 254

_COLUMNS = (("x", "<u2"), ("y", "<u2"), ("label", "u1"), ("state", "u1"), ("score", "u1"))
_COUNT = np.dtype("<u4")


class State(IntEnum):
    """What a point stands for: no label, one that a person or an import gave, one that labelled
    itself, or one that people contradict each other on.
    """

    NULL = 0
    GIVEN = 1
    AUTO = 2
    DISPUTED = 3


@dataclass(frozen=True, slots=True)
class MapLabel:
    """A label on the map, and how many documents have it."""

    name: str
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """Every document of a collection as a point, look-alikes together; labels do not move them.

    `x`, `y` are uint16 (n,) on a square from 0 to 65,535. `label` uint8 (n,) is the place in
    `labels` (the commonest first), 254 of one that is not listed, 255 of none. `state` uint8 (n,)
    has `State`s; `score` uint8 (n,) is the confidence times 254, 255 where there is none. `ids`
    (n,) are the documents, in an order like chance: any first part is a sample of all. `snapshot`
    names this order of documents. The points lie as they were laid out when there were `made_of`
    documents; what came since was placed among them. It is `outgrown` when it should be made again.
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
    """Return the labels to list, the commonest first, and the place of each of `codes` (n,).

    A code is a place in `names`, negative for no label.
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


def packed(told: Map, more: Mapping[str, Any] | None = None) -> bytes:
    """Return a map as it is sent. Its ids are left away where it has none; `more` is added to the
    legend.
    """
    legend = {
        "collection": told.collection,
        "field": told.field,
        "labels": [[one.name, one.count] for one in told.labels],
        "states": [state.name.lower() for state in State],
        "snapshot": told.snapshot,
        "made_of": told.made_of,
        "outgrown": told.outgrown,
        **({"ids": told.ids} if told.ids else {}),
        **(more or {}),
    }
    text = json.dumps(legend, ensure_ascii=False).encode()
    columns = [getattr(told, name).astype(kind).tobytes() for name, kind in _COLUMNS]
    return b"".join([_number(len(told)), *columns, _number(len(text)), text])


def unpacked(data: bytes) -> Map:
    """Return the map that was sent. Raises ValueError for what is none."""
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
