"""Parts of objects that were forgotten: remembered by where they were, so that none comes back.

A place is a key and, where there is one, a box in the object's content: nothing of what was seen
there. It goes with its object, and counts for that content only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn
from lookalike.stores.selection import one_of
from lookalike.views import view_of

_SAME = 0.4
"""Boxes of one face by two detectors overlap by about half, those of neighbours hardly at all."""

_AROUND = ("page", "time_ms")
_IN_LIST = 5000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a part is in a content: its key, and what its attributes say of it."""

    part: str
    box: tuple[float, ...] | None
    around: tuple[object, ...]

    @classmethod
    def of(cls, part: str, attributes: Mapping[str, Any]) -> Place:
        """Return the place of a part that has these attributes."""
        box = attributes.get("box")
        around = tuple(attributes.get(name) for name in _AROUND)
        return cls(part, None if box is None else tuple(map(float, box)), around)

    def is_that_of(self, other: Place) -> bool:
        """Return whether both show the same: by their boxes if they have some, else by key."""
        if self.around != other.around:
            return False
        if self.box is None or other.box is None:
            return self.part == other.part
        return _overlap(self.box, other.box) >= _SAME


Forgotten = Mapping[tuple[int, str], Sequence[Place]]
"""Places that were forgotten, by object pk and digest of the content."""


def remember(txn: Txn, parts: Iterable[tuple[int, bytes, str, Mapping[str, Any]]]) -> None:
    """Remember parts: object pk, digest of the content, key and attributes."""
    rows = [
        {
            "object_pk": object_pk,
            "sha256": sha256,
            "part": part,
            "place": {name: attributes[name] for name in ("box", *_AROUND) if name in attributes},
        }
        for object_pk, sha256, part, attributes in parts
    ]
    if rows:
        txn.insert_returning(schema.forgotten, rows)


def places(snapshot: Snapshot, objects: Sequence[int]) -> Forgotten:
    """Return the places of objects that were forgotten."""
    table = schema.forgotten
    found: dict[tuple[int, str], list[Place]] = {}
    for row in snapshot.rows(select(table).where(one_of(table.c.object_pk, objects))):
        key = (row.object_pk, row.sha256.hex())
        found.setdefault(key, []).append(Place.of(row.part, row.place))
    return found


def is_forgotten(
    gone: Forgotten,
    object_pk: int,
    sha256: str,
    part: str,
    attributes: Mapping[str, Any],
) -> bool:
    """Return whether a part is among the places of an object and content that were forgotten."""
    here = gone.get((object_pk, sha256))
    if here is None:
        return False
    place = Place.of(part, attributes)
    return any(place.is_that_of(other) for other in here)


def unshown(snapshot: Snapshot, views: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return those of the views of parts (digest of the content, view) that no document shows."""
    left = {(digest, view) for digest, view in views if view}
    table = schema.document
    digests = sorted({digest for digest, _ in left})
    for start in range(0, len(digests), _IN_LIST):
        chosen = [bytes.fromhex(digest) for digest in digests[start : start + _IN_LIST]]
        query = select(table.c.sha256, table.c.attributes).where(table.c.sha256.in_(chosen))
        left -= {(row.sha256.hex(), view_of(row.attributes)) for row in snapshot.rows(query)}
    return sorted(left)


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the common area of two boxes over the area of both."""
    common = 1.0
    for axis in (0, 1):
        low = max(one[axis], other[axis])
        high = min(one[axis] + one[axis + 2], other[axis] + other[axis + 2])
        common *= max(0.0, high - low)
    both = one[2] * one[3] + other[2] * other[3] - common
    return common / both if both > 0 else float(tuple(one) == tuple(other))
