"""Documents of the same image, and documents of low quality.

An image is an object, or one moment of it if it is a video. In a field that is exclusive by image,
no two documents of one image may have the same label.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, select

from lookalike.classifier.graph.search import Ids
from lookalike.classifier.policies import Decisions
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, conditions

_FEW = 20_000
"""Up to this number of documents, select them by pk; above, select all of the collection."""

Image = tuple[int | str, int | None]
"""An object, and the moment in it in milliseconds."""


@dataclass(frozen=True, slots=True)
class HypotheticalItem:
    """An item that is not in the store: its source, the moment in it, and its quality."""

    source: str = ""
    time_ms: int | None = None
    low_quality: bool = False


class ImageGroups:
    """The documents of each image, for the documents that were read."""

    def __init__(self) -> None:
        self._image: dict[int, Image] = {}
        self._members: dict[Image, list[int]] = {}

    def read(self, snapshot: Snapshot, collection_pk: int, pks: Ids) -> None:
        """Read the images of documents."""
        table = schema.document
        moment = table.c.attributes["time_ms"].as_integer().label("moment")
        query = select(table.c.pk, table.c.object_pk, moment)
        for one in _asked(query, collection_pk, pks):
            for row in snapshot.rows(one):
                self._add(row.pk, (row.object_pk, row.moment))

    def with_items(self, unseen: Mapping[int, HypotheticalItem]) -> ImageGroups:
        """Return a copy with hypothetical documents added."""
        other = ImageGroups()
        other._image = copy(self._image)
        other._members = {image: list(members) for image, members in self._members.items()}
        for pk, one in unseen.items():
            other._add(pk, (one.source, one.time_ms))
        return other

    def forget(self, pks: Iterable[int]) -> None:
        """Remove documents."""
        for pk in pks:
            image = self._image.pop(pk, None)
            if image is not None:
                self._members[image].remove(pk)

    def of(self, pks: Ids) -> Ids:
        """Return all documents of the images of `pks`, rising, including `pks`."""
        images = {self._image[pk] for pk in pks.tolist() if pk in self._image}
        found = [pk for image in images for pk in self._members[image]]
        return np.union1d(pks, np.array(found, np.int64))

    def together(self, pks: Ids) -> list[list[int]]:
        """Return the groups of two or more of `pks` that belong to one image."""
        groups: dict[Image, list[int]] = {}
        for pk in pks.tolist():
            if pk in self._image:
                groups.setdefault(self._image[pk], []).append(pk)
        return [group for group in groups.values() if len(group) > 1]

    def outranked(
        self, pks: Ids, free: NDArray[np.bool_], decisions: Decisions
    ) -> NDArray[np.int64]:
        """Return the indices, rising, of documents (n,) that lose their label within their image.

        Another document of the image has the same label with higher confidence. Only those that are
        `free` (n,) compete; with equal confidence the first pk keeps the label.
        """
        places = {pk: place for place, pk in enumerate(pks.tolist())}
        confidence, codes = decisions.confidence.tolist(), decisions.codes.tolist()
        lost: list[int] = []
        for group in self.together(pks[free]):
            seen: set[int] = set()
            for pk in sorted(group, key=lambda pk: (-confidence[places[pk]], pk)):
                code = codes[places[pk]]
                lost += [places[pk]] if code in seen else []
                seen.add(code)
        return np.array(sorted(lost), np.int64)

    def _add(self, pk: int, image: Image) -> None:
        self.forget([pk])
        self._image[pk] = image
        self._members.setdefault(image, []).append(pk)


def low_quality_among(snapshot: Snapshot, collection_pk: int, pks: Ids) -> Ids:
    """Return those of the documents that their extractor marked as low quality; rising."""
    table = schema.document
    low = table.c.attributes["low_quality"].as_boolean()
    query = select(table.c.pk).where(table.c.part != "", low)
    rows = [row.pk for one in _asked(query, collection_pk, pks) for row in snapshot.rows(one)]
    return np.intersect1d(np.array(rows, np.int64), pks) if rows else np.empty(0, np.int64)


def _asked(query: Select[Any], collection_pk: int, pks: Ids) -> Iterator[Select[Any]]:
    table = schema.document
    query = query.where(table.c.collection_pk == collection_pk)
    if len(pks) > _FEW:
        yield query
        return
    for chosen in conditions(table.c.pk, pks):
        yield query.where(chosen)
