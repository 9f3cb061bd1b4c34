"""Regions of objects: drawn by a person, taken from annotations of elsewhere, and given back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from lookalike.catalog.objects import REGIONS, reads_regions
from lookalike.catalog.resources import CollectionRow
from lookalike.content.boxes import read_box
from lookalike.errors import BadContent, BadInput, NotFound
from lookalike.stores import schema
from lookalike.stores.base import Snapshot

_IN_LIST = 5000
_KEPT = ("box", "detected", "score")


@dataclass(slots=True)
class _Drawn:
    """The regions of one object, by id, while they change."""

    regions: dict[str, dict[str, Any]] = field(default_factory=dict)

    def change(self, id: str, box: Sequence[float] | None) -> None:
        """Draw or move a region, or take it away. Raises BadInput."""
        if box is None:
            if id not in self.regions:
                known = ", ".join(map(repr, self.regions)) or "none"
                raise NotFound(f"there is no region {id!r} to take away (known: {known})")
            del self.regions[id]
            return
        if not id or len(id) > 200 or "/" in id:
            raise BadInput(f"{id[:200]!r} is no id of a region; use 1 to 200 letters without /")
        try:
            drawn = list(read_box(box))
        except BadContent as error:
            raise BadInput(f"region {id!r}: {error}") from error
        self.regions[id] = {"id": id, "box": drawn}


def redrawn(
    snapshot: Snapshot,
    row: CollectionRow,
    changes: Mapping[str, Mapping[str, Sequence[float] | None]],
) -> dict[int, dict[str, Any]]:
    """Return what the metadata of objects (pk) become when their regions change.

    `changes` give by the object's id, and the region's, its box or None. An object that was given
    none until now keeps those that the detector had proposed. Raises BadInput, or NotFound.
    """
    check_reads_regions(row.name, row.extractor)
    table = schema.object_
    query = select(table.c.pk, table.c.id, table.c.metadata)
    here = table.c.bucket_pk.in_(row.bucket_pks)
    objects: dict[str, Any] = {}
    for start in range(0, len(changes), _IN_LIST):
        named = table.c.id.in_(list(changes)[start : start + _IN_LIST])
        objects |= {one.id: one for one in snapshot.rows(query.where(here, named))}
    unknown = [id for id in changes if id not in objects]
    if unknown:
        raise NotFound(f"there is no object {unknown[0]!r} here; see a document's object_id")
    result = {}
    for id, boxes in changes.items():
        drawn = _as_they_are(snapshot, row, objects[id])
        for region, box in boxes.items():
            drawn.change(region, box)
        result[objects[id].pk] = {REGIONS: list(drawn.regions.values())}
    return result


def check_reads_regions(name: str, extractor: str) -> None:
    """Raise BadInput for a collection whose documents are no regions."""
    if not reads_regions(extractor):
        raise BadInput(
            f"the collection {name!r} has the extractor {extractor}, whose documents are no "
            "regions; make one with `lookalike create NAME --extractor region`"
        )


def _as_they_are(snapshot: Snapshot, row: CollectionRow, one: Any) -> _Drawn:
    given = one.metadata.get(REGIONS)
    if isinstance(given, list):
        listed = (each for each in enumerate(given) if isinstance(each[1], Mapping))
        return _Drawn(
            {_id(number, each): {**each, "id": _id(number, each)} for number, each in listed}
        )
    document = schema.document
    query = select(document.c.part, document.c.attributes).order_by(document.c.pk)
    here = (document.c.collection_pk == row.pk) & (document.c.object_pk == one.pk)
    found = snapshot.rows(query.where(here))
    if any("time_ms" in each.attributes for each in found):
        raise BadInput(
            f"{one.id!r} is a video, whose frames have regions of their own: draw on pictures only"
        )
    return _Drawn({each.part: {"id": each.part} | _said(each.attributes) for each in found})


def _id(number: int, region: Mapping[str, Any]) -> str:
    return str(region.get("id") or f"region-{number}")


def _said(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: attributes[name] for name in _KEPT if name in attributes}
