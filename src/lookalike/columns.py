"""Arrays that belong to documents: one row a document, by rising pk, all growing together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


class Columns:
    """Named arrays over documents `pks` (n,). `blanks` gives each column's fill: its dtype, its
    row shape and the value of a row that nobody has set yet.
    """

    def __init__(self, blanks: Mapping[str, NDArray[Any]]) -> None:
        self.pks: NDArray[np.int64] = np.empty(0, np.int64)
        self._blanks = dict(blanks)
        self._arrays = {name: np.empty((0, *b.shape), b.dtype) for name, b in blanks.items()}

    def __len__(self) -> int:
        return len(self.pks)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name]

    def rows_of(self, pks: NDArray[np.int64]) -> Rows:
        """Return the rows of those documents that are here, in the order asked."""
        if len(self.pks) == 0:
            return np.empty(0, np.int64)
        place = np.minimum(np.searchsorted(self.pks, pks), len(self.pks) - 1)
        return np.asarray(place[self.pks[place] == pks])

    def remove(self, pks: NDArray[np.int64]) -> None:
        """Take the rows of documents away."""
        kept = ~np.isin(self.pks, pks)
        self.pks = self.pks[kept]
        self._arrays = {name: array[kept] for name, array in self._arrays.items()}

    def place(self, pks: NDArray[np.int64]) -> Rows:
        """Make rows for documents that are not here yet; return the rows of all `pks`."""
        new = np.unique(pks[~np.isin(pks, self.pks)])
        if len(new):
            order = np.argsort(np.concatenate([self.pks, new]), kind="stable")
            self.pks = np.concatenate([self.pks, new])[order]
            for name, array in self._arrays.items():
                fill = np.broadcast_to(self._blanks[name], (len(new), *self._blanks[name].shape))
                grown = np.concatenate([array, fill])
                in_place = new[0] > self.pks[len(array) - 1] if len(array) else True
                self._arrays[name] = grown if in_place else grown[order]
        return np.searchsorted(self.pks, pks)
