"""Parts of objects that were forgotten: remembered by where they were, so that none comes back.

A place is a key and, where there is one, a box in the object's content: nothing of what was seen
there. It goes with its object, and counts for that content only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import select

from lookalike.content.boxes import view_of
from lookalike.content.counterparts import Part, overlap
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn
from lookalike.stores.selection import one_of

_SAME = 0.4
"""Boxes of one face by two detectors overlap by half and more, those of neighbours hardly at all.
In doubt, something is forgotten."""

_AROUND = ("page", "time_ms")
_IN_LIST = 5000


Forgotten = Mapping[tuple[int, str], Sequence[Part]]
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
    found: dict[tuple[int, str], list[Part]] = {}
    for row in snapshot.rows(select(table).where(one_of(table.c.object_pk, objects))):
        key = (row.object_pk, row.sha256.hex())
        found.setdefault(key, []).append(Part(row.part, row.place))
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
    return any(is_same(Part(part, attributes), other) for other in here)


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


def is_same(one: Part, other: Part) -> bool:
    """Return whether two parts of a content are the same: by their boxes, without any by their key.

    >>> is_same(Part("face-0", {"box": [0, 0, 9, 9]}), Part("face-4", {"box": [1, 0, 9, 9]}))
    True
    """
    if one.picture != other.picture:
        return False
    if one.box is None or other.box is None:
        return one.key == other.key
    return one.box == other.box or overlap(one.box, other.box) >= _SAME
