"""The nearest references of every document in one label field, updated exactly.

Arrays only; rows are documents by rising pk. A new reference changes the rows where it is nearer
than their k-th reference; a removed one changes the rows that list it. The result always equals a
search from scratch, because a similarity does not depend on how it is computed (see
`classifier.graph.search`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.arrays import sorted_unique, union
from lookalike.classifier.graph.search import NO_ID, NO_SIMILARITY, Floats, Ids, merge, nearest
from lookalike.decisions.field.columns import Columns, Rows

Vectors = NDArray[np.float16]

_NOWHERE = -1
"""The slot of a row whose vector has no slot yet."""

_BLOCK = 65536
_COMPARE_AT_MOST = 8
"""Up to this number of references, search all lists for each of them."""

_SCAN_AT_MOST = 48
"""Up to this number of new references, scan once per reference; above, use a blocked product."""


class NeighbourLists:
    """The lists `near` int64 (n, k) and `similarities` float32 (n, k) of the rows of `columns`.

    References less similar than `least` are in no list.
    """

    def __init__(self, columns: Columns, least: np.float32 = NO_SIMILARITY) -> None:
        self._columns = columns
        self._least = least
        self._floors: Floats = np.empty(0, np.float32)
        self._pk_of_slot: Ids = np.empty(0, np.int64)

    def extended(self, columns: Columns) -> NeighbourLists:
        """Return these lists for `columns`, an extended copy that may get more rows."""
        other = NeighbourLists(columns, self._least)
        other._floors, other._pk_of_slot = self._floors, self._pk_of_slot
        return other

    @property
    def next_slot(self) -> int:
        """Return the first slot above all known ones."""
        return len(self._floors)

    @staticmethod
    def blanks(k: int) -> dict[str, NDArray[Any]]:
        """Return the columns that the lists need, for `Columns`."""
        return {
            "slots": np.array(_NOWHERE, np.int64),
            "near": np.full(k, NO_ID, np.int64),
            "similarities": np.full(k, NO_SIMILARITY, np.float32),
        }

    @property
    def near(self) -> Ids:
        """Return the lists' ids, int64 (n, k), NO_ID in empty places."""
        return self._columns["near"]

    @property
    def similarities(self) -> Floats:
        """Return the lists' similarities, float32 (n, k), falling."""
        return self._columns["similarities"]

    def place(self, rows: Rows, slots: Ids) -> None:
        """Set the vector slots of `rows`, and the similarity floors from their lists."""
        self.release(rows)
        more = int(slots.max(initial=-1)) + 1 - len(self._floors)
        if more > 0:
            self._floors = np.concatenate([self._floors, np.full(more, np.inf, np.float32)])
            self._pk_of_slot = np.concatenate([self._pk_of_slot, np.full(more, NO_ID)])
        self._columns["slots"][rows] = slots
        self._floors[slots] = np.maximum(self.similarities[rows, -1], self._least)
        self._pk_of_slot[slots] = self._columns.pks[rows]

    def restore(self) -> None:
        """Read the slots and lists again after the columns were restored."""
        slots = self._columns["slots"].copy()
        self._columns["slots"][:] = _NOWHERE
        self.place(np.arange(len(slots)), slots)

    def release(self, rows: Rows) -> None:
        """Free the slots of `rows`."""
        slots = self._columns["slots"][rows]
        self._floors[slots[slots != _NOWHERE]] = np.inf
        self._columns["slots"][rows] = _NOWHERE

    def listing(self, references: Ids) -> Rows:
        """Return the rows that list any of `references`."""
        flat, k = self.near.ravel(), self.near.shape[1]
        if len(references) > _COMPARE_AT_MOST:
            return sorted_unique(np.flatnonzero(np.isin(flat, references)) // k)
        found = [np.flatnonzero(flat == reference) // k for reference in references.tolist()]
        return union(np.empty(0, np.int64), *found)

    def requery(
        self,
        rows: Rows,
        queries: Vectors,
        references: Ids,
        vectors: Vectors,
        hidden: NDArray[np.bool_] | None = None,
    ) -> Rows:
        """Search `rows` (vectors `queries`) again among all references (ascending pks).

        References `hidden` (one column per reference) from a row are left out. Return the rows
        whose list changed.
        """
        near, similarities = nearest(
            queries,
            vectors,
            references,
            self.near.shape[1],
            query_ids=self._columns.pks[rows],
            hidden=hidden,
        )
        return self._replace(rows, near, similarities)

    def add(
        self,
        references: Ids,
        vectors: Vectors,
        above: Callable[[Vectors, Floats], tuple[Ids, Floats]],
        all_vectors: Callable[[Rows], Vectors],
    ) -> Rows:
        """Insert new references (ascending pks) into the lists; return the rows that changed.

        `above(vector, floors)` gives the slots at or above their floor with their similarity;
        `all_vectors(rows)` gives the vectors of documents.
        """
        if len(references) > _SCAN_AT_MOST or len(self._columns) < 4 * len(references):
            return self._add_many(references, vectors, all_vectors)
        touched = [
            self._add_one(int(pk), *above(vector, self._floors))
            for pk, vector in zip(references.tolist(), vectors, strict=True)
        ]
        return union(np.empty(0, np.int64), *touched)

    def _add_one(self, reference: int, slots: Ids, similarity: Floats) -> Rows:
        pks = self._pk_of_slot[slots]
        others = pks != reference
        rows, similarity = self._columns.rows_of(pks[others]), similarity[others]
        candidate = np.full((len(rows), 1), reference)
        return self._merge(rows, candidate, similarity[:, None])

    def _add_many(
        self, references: Ids, vectors: Vectors, all_vectors: Callable[[Rows], Vectors]
    ) -> Rows:
        touched = []
        for start in range(0, len(self._columns), _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, len(self._columns)))
            more, similarities = nearest(
                all_vectors(rows),
                vectors,
                references,
                self.near.shape[1],
                query_ids=self._columns.pks[rows],
            )
            touched.append(self._merge(rows, more, similarities))
        return np.concatenate(touched) if touched else np.empty(0, np.int64)

    def _merge(self, rows: Rows, more: Ids, similarities: Floats) -> Rows:
        listed = (more[:, :, None] == self.near[rows][:, None, :]).any(axis=2)
        more = np.where(listed, NO_ID, more)
        similarities = np.where(listed, NO_SIMILARITY, similarities)
        near, merged = merge(self.near[rows], self.similarities[rows], more, similarities)
        return self._replace(rows, near, merged)

    def _replace(self, rows: Rows, near: Ids, similarities: Floats) -> Rows:
        far = similarities < self._least
        near, similarities = np.where(far, NO_ID, near), np.where(far, NO_SIMILARITY, similarities)
        same = (near == self.near[rows]) & (similarities == self.similarities[rows])
        moved = ~same.all(axis=1)
        rows = rows[moved]
        self.near[rows] = near[moved]
        self.similarities[rows] = similarities[moved]
        slots = self._columns["slots"][rows]
        self._floors[slots] = np.maximum(similarities[moved, -1], self._least)
        return rows
