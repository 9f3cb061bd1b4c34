"""What would be if more documents were there: a snapshot and a state with some that are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, Select

from lookalike.catalog.image_groups import Unseen
from lookalike.classifier.graph.search import Floats, Ids
from lookalike.decisions.field.columns import Rows
from lookalike.decisions.field.state import FieldState
from lookalike.stores.base import Snapshot, StoredSpace


@dataclass(frozen=True, slots=True)
class WithMore:
    """A snapshot that also gives the vectors of documents that are not there.

    `more` float16 (n, d) are those of the documents `pks` (n,), rising and above all that `space`
    has. Rows and searches are those of the snapshot alone.
    """

    snapshot: Snapshot
    space: StoredSpace
    pks: Ids
    more: NDArray[np.float16]

    def rows(self, select: Select[Any]) -> Sequence[Row[Any]]:
        """Return all rows of a statement."""
        return self.snapshot.rows(select)

    def tuples(self, select: Select[Any]) -> list[tuple[Any, ...]]:
        """Return all rows of a statement over text and numbers, as the driver gives them."""
        return self.snapshot.tuples(select)

    def numbers(self, select: Select[Any]) -> Ids:
        """Return all rows of a statement over whole numbers, int64 (n, columns)."""
        return self.snapshot.numbers(select)

    def vectors(self, space: StoredSpace, document_pks: Ids) -> NDArray[np.float16]:
        """Return the vectors of documents, float16 (n, dimension), in the order asked."""
        if space != self.space:
            return self.snapshot.vectors(space, document_pks)
        ours = np.isin(document_pks, self.pks)
        vectors = np.empty((len(document_pks), space.dimension), np.float16)
        vectors[~ours] = self.snapshot.vectors(space, document_pks[~ours])
        vectors[ours] = self.more[np.searchsorted(self.pks, document_pks[ours])]
        return vectors

    def nearest(
        self, space: StoredSpace, queries: NDArray[np.floating], k: int, among: Ids
    ) -> tuple[Ids, Floats]:
        """Return the k nearest of `among`: pks and similarities (n, k)."""
        return self.snapshot.nearest(space, queries, k, among)

    def above(
        self, space: StoredSpace, vector: NDArray[np.float16], floor: float
    ) -> tuple[Ids, Floats]:
        """Return every document of the space with similarity ≥ `floor`."""
        return self.snapshot.above(space, vector, floor)

    def slots(self, space: StoredSpace) -> tuple[Ids, Ids]:
        """Return the slots in use and their documents' pks."""
        return self.snapshot.slots(space)

    def above_floors(
        self, space: StoredSpace, vector: NDArray[np.float16], floors: Floats
    ) -> tuple[Ids, Floats]:
        """Return the slots whose similarity is ≥ the floor of that slot."""
        return self.snapshot.above_floors(space, vector, floors)

    def time_s(self) -> float | None:
        """Return what the database's own clock shows."""
        return self.snapshot.time_s()


def imagined(
    state: FieldState, snapshot: Snapshot, documents: Ids, unseen: Mapping[int, Unseen]
) -> tuple[FieldState, Rows]:
    """Return a state in which documents, above all pks, have arrived, and their rows.

    `snapshot` has their vectors; `unseen` tells more of those that it has. The answer shares
    arrays with `state`: drop it before that one changes.
    """
    other = copy(state)
    other.columns = state.columns.longer()
    other.neighbourhood = state.neighbourhood.longer(other.columns)
    first = state.neighbourhood.next_slot
    taxonomy = state.field.taxonomy
    if taxonomy.exclusive:
        other.companions = state.companions.imagine(unseen)
    rows = other.settle(snapshot, documents, np.arange(first, first + len(documents)))
    if not taxonomy.low_quality:
        poor = np.array([pk for pk, one in unseen.items() if one.low_quality], np.int64)
        other.columns["poor"][other.columns.rows_of(poor)] = True
    return other, rows
