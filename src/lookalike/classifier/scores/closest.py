"""Which reference of one label lies nearest to an item: found when it is asked, then remembered."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.propagation import Floats, Places

_BLOCK_CELLS = 8_000_000
_NOBODY = -1

_ONE_BY_ONE = 16
"""When more references of one column come, all of it are looked at again together."""


class Closest:
    """The nearest reference of the column that each of n items was asked about last.

    `cosines` gives those of items (m,) and references (k,), float32 (m, k).
    `_nearest` float32 (n,) is its centred cosine, `_sources` its place; of equally near ones it is
    the one at the lowest place.
    """

    def __init__(self, items: int, cosines: Callable[[Places, Places], Floats]) -> None:
        self._cosines = cosines
        self._asked = np.full(items, _NOBODY)
        self._nearest: Floats = np.zeros(items, np.float32)
        self._sources: Places = np.zeros(items, np.int64)

    def of(
        self, places: Places, columns: NDArray[np.int64], references: Callable[[int], Places]
    ) -> tuple[Floats, Places]:
        """Return the cosines of different items, each with the nearest of one column's references,
        and where that is (m,); both are 0 for the column −1. `references` gives the rising places
        of a column's.
        """
        some = columns >= 0
        new = np.flatnonzero(some & (self._asked[places] != columns))
        self._ask(places[new], columns[new], references)
        return self._nearest[places] * some, self._sources[places] * some

    def forget(self, column: int | None = None) -> None:
        """Find what was asked about a column again when it is asked next, or about any."""
        chosen = slice(None) if column is None else self._asked == column
        self._asked[chosen] = _NOBODY

    def changed(self, column: int, came: Places, went: Places) -> None:
        """Take over that references of a column came and went."""
        if len(came) > _ONE_BY_ONE:
            self.forget(column)
        items = np.flatnonzero(self._asked == column)
        if len(items) == 0:
            return
        if len(went):
            self._asked[items[np.isin(self._sources[items], went)]] = _NOBODY
        for place in came.tolist():
            cosines = self._cosines(items, np.array([place]))[:, 0]
            known = self._nearest[items]
            first = (cosines == known) & (place < self._sources[items])
            better = items[(cosines > known) | first]
            self._nearest[better] = cosines[(cosines > known) | first]
            self._sources[better] = place

    def _ask(
        self, places: Places, columns: NDArray[np.int64], references: Callable[[int], Places]
    ) -> None:
        self._asked[places] = columns
        order = np.argsort(columns, kind="stable")
        asked, starts = np.unique(columns[order], return_index=True)
        for column, rows in zip(asked.tolist(), np.split(order, starts[1:]), strict=False):
            among = references(column)
            step = max(1, _BLOCK_CELLS // len(among))
            for start in range(0, len(rows), step):
                part = places[rows[start : start + step]]
                table = self._cosines(part, among)
                self._nearest[part] = table.max(axis=1)
                self._sources[part] = among[table.argmax(axis=1)]
