"""Arrays that belong to documents: one row a document, by rising pk, all growing together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.rising import distinct

Rows = NDArray[np.int64]

_PKS = "pks"
_SPARE = 4
"""A quarter more than is needed."""


class Columns:
    """Named arrays over documents `pks` (n,). `blanks` gives each column's fill: its dtype, its
    row shape and the value of a row that nobody has set yet.
    """

    def __init__(self, blanks: Mapping[str, NDArray[Any]]) -> None:
        self._blanks = {_PKS: np.array(0, np.int64), **blanks}
        self._arrays = {name: np.empty((0, *b.shape), b.dtype) for name, b in self._blanks.items()}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name][: self._count]

    @property
    def pks(self) -> NDArray[np.int64]:
        """Return the documents of the rows, int64 (n,), rising."""
        return self[_PKS]

    def rows_of(self, pks: NDArray[np.int64]) -> Rows:
        """Return the rows of those documents that are here, in the order asked."""
        place, here = self._found(pks)
        return np.asarray(place[here])

    def remove(self, pks: NDArray[np.int64]) -> None:
        """Take the rows of documents away."""
        kept = ~np.isin(self.pks, pks)
        self._arrays = {name: self[name][kept] for name in self._arrays}
        self._count = int(kept.sum())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all columns by name, `pks` among them."""
        return {name: self[name] for name in self._arrays}

    def longer(self) -> Columns:
        """Return columns to which rows can be added while these stay as they are.

        What is here is shared: of both, only the new rows may be written, until these grow too.
        """
        other = Columns(self._blanks)
        other._arrays, other._count = dict(self._arrays), self._count
        return other

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over the rows that `arrays` gave, in place of all that is here."""
        self._arrays = {name: arrays[name] for name in self._blanks}
        self._count = len(arrays[_PKS])

    def place(self, pks: NDArray[np.int64]) -> Rows:
        """Make rows for documents that are not here yet; return the rows of all `pks`."""
        place, here = self._found(pks)
        if here.all():
            return place
        self._append(distinct(pks[~here]))
        return np.searchsorted(self.pks, pks)

    def _found(self, pks: NDArray[np.int64]) -> tuple[Rows, NDArray[np.bool_]]:
        """Return where documents are, or would be, and whether they are here."""
        if self._count == 0:
            return np.zeros(len(pks), np.int64), np.zeros(len(pks), bool)
        place = np.minimum(np.searchsorted(self.pks, pks), self._count - 1)
        return place, self.pks[place] == pks

    def _append(self, new: NDArray[np.int64]) -> None:
        start = self._count
        self._make_room(start + len(new))
        self._count += len(new)
        for name, blank in self._blanks.items():
            self[name][start:] = blank
        self.pks[start:] = new
        if start and new[0] < self.pks[start - 1]:
            order = np.argsort(self.pks, kind="stable")
            self._arrays = {name: self[name][order] for name in self._arrays}

    def _make_room(self, rows: int) -> None:
        """Let the arrays hold `rows` and some more, so that few additions copy them."""
        if rows <= len(self._arrays[_PKS]):
            return
        for name, blank in self._blanks.items():
            roomy = np.empty((rows + rows // _SPARE, *blank.shape), blank.dtype)
            roomy[: self._count] = self[name]
            self._arrays[name] = roomy
