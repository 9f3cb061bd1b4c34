"""Direct likeness: products of turned items with the sum of each label's references. Pure.

Only the sums are kept, and whole columns of as many labels as there is room for, those asked for
last: so memory does not grow with items times labels. A sum m is parted into digits,
m = Σ_t (2h + 1)^t m_t with no component of m_t above h, small enough for each product with m_t to
be exact in float32, or for m_t to fit bytes. Put together they are exact in float64, the same by
any route.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lookalike.grid import Bytes, Floats, largest_digit, product

_SCANS_AT_MOST = 8
"""So many references are added to a kept column by one pass each; more by another reading of it."""

_KEPT_BYTES = 128 * 2**20
_BLOCK = 4096
_BYTE = 127

Doubles = NDArray[np.float64]
Places = NDArray[np.int64]
Sums = NDArray[np.int64]


class Likeness:
    """⟨u, m⟩ of n turned items u (int8 (n, d)) and the sums m of labels' references."""

    def __init__(self, turned: Bytes) -> None:
        self._turned = turned
        self._sums: dict[str, Sums] = {}
        self._squares: dict[str, float] = {}
        self._kept: OrderedDict[str, Doubles] = OrderedDict()
        self._digits: _Digits | None = None

    def over(self, turned: Bytes) -> Likeness:
        """Return the likeness of the same references to more items."""
        wider = Likeness(turned)
        wider._sums = {name: total.copy() for name, total in self._sums.items()}
        wider._squares = dict(self._squares)
        return wider

    def arrange(self, labels: Sequence[str]) -> None:
        """Take over which labels there are, in the order of all columns."""
        if list(self._sums) == list(labels):
            return
        nothing = np.zeros(self._turned.shape[1], np.int64)
        self._sums = {name: self._sums.get(name, nothing.copy()) for name in labels}
        self._squares = {name: self._squares.get(name, 0.0) for name in labels}
        for name in [name for name in self._kept if name not in self._sums]:
            del self._kept[name]
        self._digits = None

    def move(self, label: str, came: Places, went: Places) -> None:
        """Take over that references of a label came and went."""
        for places, sign in ((came, 1), (went, -1)):
            self._sums[label] += sign * self._turned[places].sum(axis=0, dtype=np.int64)
        self._squares[label] = float((self._sums[label].astype(np.float64) ** 2).sum())
        self._digits = None
        if len(came) + len(went) > _SCANS_AT_MOST:
            self._kept.pop(label, None)
        if (column := self._kept.get(label)) is not None:
            for places, sign in ((came, 1), (went, -1)):
                for place in places.tolist():
                    column += sign * product(self._turned, self._turned[place])

    def squares(self) -> Doubles:
        """Return ⟨m, m⟩ of all labels (labels,)."""
        return np.array([self._squares[name] for name in self._sums])

    def square(self, label: str) -> float:
        """Return ⟨m, m⟩ of a label."""
        return self._squares[label]

    def column(self, label: str) -> Doubles:
        """Return ⟨u, m⟩ of all items (n,) for one label; it is ours."""
        column = self._kept.pop(label, None)
        if column is None:
            column = _scanned(self._turned, self._sums[label])
        self._kept[label] = column
        while len(self._kept) > max(1, _KEPT_BYTES // max(column.nbytes, 1)):
            self._kept.popitem(last=False)
        return column

    def keep_all(self) -> None:
        """Make the columns of all labels at once, if there is room for them."""
        missing = [name for name in self._sums if name not in self._kept]
        cells = len(self._turned) * len(self._sums)
        if not missing or cells * np.dtype(float).itemsize > _KEPT_BYTES:
            return
        digits = _Digits(np.array([self._sums[name] for name in missing]))
        columns = [np.empty(len(self._turned)) for _ in missing]
        for start in range(0, len(self._turned), _BLOCK):
            block = np.arange(start, min(start + _BLOCK, len(self._turned)))
            for column, values in zip(columns, digits.table(self._turned, block).T, strict=True):
                column[block] = values
        self._kept.update(zip(missing, columns, strict=True))

    def at(self, places: Places, columns: Places) -> Doubles:
        """Return ⟨u, m⟩ of items, each with one label's column (m,)."""
        sums = np.stack(list(self._sums.values()))[columns]
        rows = self._turned[places].astype(np.float64)
        return np.asarray((rows * sums).sum(axis=1))

    def table(self, places: Places) -> Doubles:
        """Return ⟨u, m⟩ of items for all labels, float64 (m, labels)."""
        if len(self._kept) == len(self._sums):
            columns = [self._kept[name].take(places) for name in self._sums]
            return np.array(columns).reshape(len(columns), len(places)).T
        if self._digits is None:
            sums = np.array(list(self._sums.values()), np.int64)
            self._digits = _Digits(sums.reshape(-1, self._turned.shape[1]))
        return self._digits.table(self._turned, places)


class _Digits:
    """The digits of sums (labels, d) as columns of one matrix."""

    def __init__(self, sums: Sums) -> None:
        digits = _digits(sums, largest_digit(sums.shape[1]))
        self._parts = [(power, np.flatnonzero(digit.any(axis=1))) for power, digit in digits]
        rows = [digit[who] for (_, digit), (_, who) in zip(digits, self._parts, strict=True)]
        self._matrix: Floats = np.concatenate([sums[:0], *rows]).astype(np.float32).T
        self._labels = len(sums)

    def table(self, turned: Bytes, places: Places) -> Doubles:
        """Return the products of `turned` (n, d) at `places` (m,) with all sums (m, labels)."""
        table = np.zeros((len(places), self._labels))
        for first in range(0, len(places), _BLOCK):
            block = slice(first, first + _BLOCK)
            found, start = turned[places[block]].astype(np.float32) @ self._matrix, 0
            for power, who in self._parts:
                part = found[:, start : start + len(who)].astype(np.float64)
                table[block, who] += power * part
                start += len(who)
        return table


def _digits(total: Sums, half: int) -> list[tuple[int, Sums]]:
    """Return the digits of sums, none above `half`, each with the power it counts."""
    base, power, digits = 2 * half + 1, 1, []
    while total.any():
        digit = (total + half) % base - half
        digits.append((power, digit))
        total, power = (total - digit) // base, power * base
    return digits


def _scanned(turned: Bytes, total: Sums) -> Doubles:
    """Return ⟨u, m⟩ of all items with one sum: one pass over the bytes, for all its digits."""
    column = np.zeros(len(turned))
    digits = [(power, digit.astype(np.int8)) for power, digit in _digits(total, _BYTE)]
    for start in range(0, len(turned), _BLOCK):
        rows, part = turned[start : start + _BLOCK], column[start : start + _BLOCK]
        for power, digit in digits:
            part += power * product(rows, digit)
    return column
