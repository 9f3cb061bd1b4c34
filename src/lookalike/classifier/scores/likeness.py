"""Direct likeness: products of turned items with the sum of each label's references. Pure.

Only the sums are kept. A sum m is parted into digits, m = Σ_t (2h + 1)^t m_t with no component of
m_t above h, small enough to fit bytes: so each product with m_t is exact. Put together they are
exact in float64, whichever way references came and went.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.arrays import Bytes, product

_BLOCK = 4096
_BYTE = 127

Doubles = NDArray[np.float64]
Places = NDArray[np.int64]
Sums = NDArray[np.int64]


class Likeness:
    """⟨u, m⟩ of turned items u (int8 (n, d)) and the sums m of labels' references."""

    def __init__(self, turned: Bytes) -> None:
        self._turned = turned
        self._sums: dict[str, Sums] = {}
        self._squares: dict[str, float] = {}

    def over(self, turned: Bytes) -> Likeness:
        """Return the likeness of the same references to more items."""
        wider = Likeness(turned)
        wider._sums = {name: total.copy() for name, total in self._sums.items()}
        wider._squares = dict(self._squares)
        return wider

    def arrange(self, labels: Sequence[str]) -> None:
        """Take over which labels there are."""
        nothing = np.zeros(self._turned.shape[1], np.int64)
        self._sums = {name: self._sums.get(name, nothing.copy()) for name in labels}
        self._squares = {name: self._squares.get(name, 0.0) for name in labels}

    def move(self, label: str, came: Places, went: Places) -> None:
        """Take over that references of a label came and went."""
        for places, sign in ((came, 1), (went, -1)):
            self._sums[label] += sign * self._turned[places].sum(axis=0, dtype=np.int64)
        self._squares[label] = float((self._sums[label].astype(np.float64) ** 2).sum())

    def square(self, label: str) -> float:
        """Return ⟨m, m⟩ of a label."""
        return self._squares[label]

    def at(self, label: str, places: Places) -> Doubles:
        """Return ⟨u, m⟩ of items (k,) for one label."""
        found = np.zeros(len(places))
        digits = list(_digits(self._sums[label]))
        for start in range(0, len(places), _BLOCK):
            rows = self._turned.take(places[start : start + _BLOCK], axis=0)
            part = found[start : start + _BLOCK]
            for power, digit in digits:
                part += power * product(rows, digit)
        return found


def _digits(total: Sums) -> Iterator[tuple[int, Bytes]]:
    """Yield the digits of a sum as bytes, each with the power it counts."""
    power = 1
    while total.any():
        digit = (total + _BYTE) % (2 * _BYTE + 1) - _BYTE
        yield power, digit.astype(np.int8)
        total, power = (total - digit) // (2 * _BYTE + 1), power * (2 * _BYTE + 1)
