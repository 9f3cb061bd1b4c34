"""What the references say of every item: evidence, direct likeness and nearness, label by label.

Pure and incremental: a change of a label's references makes only its columns again. Evidence is
added up by the same route each time, products are whole numbers whose sums are exact, so the result
does not depend on the history. Places are those of a `Landscape`.

With e_ic the mean evidence of label c's references for item i: L_ic = log(e_ic + 1e-5). With m_c
the sum of c's references, turned, each of one length: C_ic = the cosine of i and m_c. Z_ic is the
largest centred cosine of i with one of c's references; it is made for the labels that are asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lookalike.closest import Closest
from lookalike.grid import most_added, product, products
from lookalike.landscape import CONTEXT, Landscape
from lookalike.propagation import DECAY, Evidence, Floats, Places, combine

FLOOR = np.float32(1e-5)
"""Added to evidence before its logarithm."""

_SCANS_AT_MOST = 8
"""So many references are added to the products by one pass each; more by a product of matrices."""

Doubles = NDArray[np.float64]
Column = tuple[Floats, Floats]


@dataclass(frozen=True, slots=True)
class _Voice:
    """What one reference says: of all, of itself, and of its surroundings (≤ CONTEXT,)."""

    evidence: Evidence
    itself: float
    around: Floats


class Said(Protocol):
    """What references say of the items of a landscape, label by label: `Scores`, or their parents.

    The columns are those of `labels`; the methods are told at `Scores`.
    """

    @property
    def landscape(self) -> Landscape:
        """Return the items."""

    @property
    def labels(self) -> list[str]:
        """Return the labels, sorted."""

    def column(self, label: str) -> Column:
        """Return L and C of all items (n,) for one label."""

    def table(self, name: str, places: Places | None = None) -> Floats:
        """Return `evidence` or `direct` (n or m…, labels)."""

    def around(self, places: Places, columns: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return L around each item of one label's column (m,), and the largest L there."""

    def nearest(self, places: Places, columns: NDArray[np.int64]) -> tuple[Floats, Places]:
        """Return Z of different items, each with one label's column (m,), and whose it is."""


class Scores:
    """The columns of all labels that have references, over one landscape; labels are sorted.

    `_evidence` float32 (n, labels) is e. `_products` (n, labels) are inner products of turned items
    with the sums m_c of turned references, whole numbers; `_squares` (labels,) those of m_c itself.
    `_peaks` (n,) is the largest e of any label.
    """

    def __init__(self, landscape: Landscape) -> None:
        self._landscape = landscape
        self._voices: dict[int, _Voice] = {}
        self._references: dict[str, Places] = {}
        self._evidence: Floats = np.zeros((len(landscape), 0), np.float32)
        self._products: Doubles = np.zeros((len(landscape), 0))
        self._squares: Doubles = np.zeros(0)
        self._peaks: Floats = np.zeros(len(landscape), np.float32)
        self._closest = Closest(len(landscape), landscape.cosines)

    @property
    def landscape(self) -> Landscape:
        """Return the items."""
        return self._landscape

    @property
    def labels(self) -> list[str]:
        """Return the labels that have references, sorted: the order of all columns."""
        return list(self._references)

    def references(self, label: str) -> Places:
        """Return the rising places of a label's references."""
        return self._references[label]

    def changed_by(self, references: Mapping[str, Places]) -> list[str]:
        """Return the labels, sorted, whose references (places, rising) are not those of now."""
        before, nobody = self._references, np.empty(0, np.int64)
        return [
            name
            for name in sorted({*before, *references})
            if not np.array_equal(before.get(name, nobody), references.get(name, nobody))
        ]

    def set_references(self, references: Mapping[str, Places]) -> None:
        """Take over each label's references (places, rising), at least one."""
        changed, before = self.changed_by(references), self._references
        self._arrange(sorted(references))
        self._references = {name: references[name] for name in sorted(references)}
        nobody = np.empty(0, np.int64)
        moved = []
        for column, name in enumerate(self.labels):
            if name in changed:
                now, then = references[name], before.get(name, nobody)
                moved += [(column, 1, place) for place in np.setdiff1d(now, then).tolist()]
                moved += [(column, -1, place) for place in np.setdiff1d(then, now).tolist()]
                self._hear(column, now)
        self._add_products(moved)
        for column in {column for column, *_ in moved}:
            members = self._references[self.labels[column]]
            self._squares[column] = self._products[members, column].sum()

    def over(self, landscape: Landscape) -> Scores:
        """Return the scores of the same references over `landscape`, which is ours and more leaves.

        What the references say of the items that are here is the same there.
        """
        wider, known = Scores(landscape), len(self.landscape)
        wider._voices, wider._references = dict(self._voices), dict(self._references)
        more = ((0, len(landscape) - known), (0, 0))
        wider._evidence = np.pad(self._evidence, more)
        wider._products = np.pad(self._products, more)
        wider._squares = self._squares.copy()
        wider._peaks[:known] = self._peaks
        for column in wider._evidence.T:
            landscape.with_leaves(column, known)
        every = [
            (column, 1, place)
            for column, places in enumerate(self._references.values())
            for place in places.tolist()
        ]
        wider._peaks[known:] = wider._evidence[known:].max(axis=1, initial=0)
        wider._add_by_matrix(every, known)
        return wider

    def column(self, label: str) -> Column:
        """Return L and C of all items (n,) for one label."""
        column = self.labels.index(label)
        direct = self._products[:, column] / self.landscape.turned_lengths
        direct /= np.sqrt(max(self._squares[column], 1))
        return np.log(self._evidence[:, column] + FLOOR), direct.astype(np.float32)

    def table(self, name: str, places: Places | None = None) -> Floats:
        """Return `evidence` or `direct` of items side by side, float32 (n or m…, labels)."""
        assert name in ("evidence", "direct"), name
        chosen = np.arange(len(self.landscape)) if places is None else places
        if name == "evidence":
            return self._evidence[chosen]
        sums = np.sqrt(np.maximum(self._squares, 1))
        lengths = self.landscape.turned_lengths[chosen, None] * sums
        return np.asarray(self._products[chosen] / lengths, np.float32)

    @property
    def peaks(self) -> Floats:
        """Return the largest evidence of any label, float32 (n,)."""
        return self._peaks.copy()

    def peaks_at(self, places: Places) -> Floats:
        """Return the largest evidence of any label at `places`, in their shape."""
        return np.asarray(self._peaks[places])

    def around(self, places: Places, columns: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return L of the items around each, of one label's column (m,), and the largest L there.

        Both float32 (m, ≤ CONTEXT).
        """
        around = self.landscape.near[places, :CONTEXT]
        own, most = self._evidence[around, columns[:, None]], self._peaks[around]
        return np.log(own + FLOOR), np.log(most + FLOOR)

    def strongest(self, places: Places, columns: NDArray[np.int64]) -> Floats:
        """Return the largest evidence of any of some labels at `places`, in their shape."""
        return np.asarray(self._evidence[places[..., None], columns].max(axis=-1))

    def sums(self, places: Places, columns: NDArray[np.int64]) -> tuple[Doubles, Doubles]:
        """Return ⟨u, m⟩ of turned items u, each with one label's column (m,), and ⟨m, m⟩."""
        return self._products[places, columns], self._squares[columns]

    def nearest(self, places: Places, columns: NDArray[np.int64]) -> tuple[Floats, Places]:
        """Return Z of different items, each with one label's column (m,), and whose it is.

        Of equally near references it is that of the one at the lowest place.
        """
        every = list(self._references.values())
        return self._closest.of(places, columns, lambda column: every[column])

    def voice(self, place: int) -> _Voice:
        """Return what the reference at `place` says; computed once."""
        if place not in self._voices:
            land = self.landscape
            evidence = land.evidence(place)
            itself = float(evidence.at(np.array([place]))[0])
            if place >= land.nodes:  # a leaf hears itself through its neighbours too
                itself += float(DECAY * (land.hops[place] * evidence.at(land.near[place])).sum())
            around = evidence.at(land.near[place, :CONTEXT])
            self._voices[place] = _Voice(evidence, itself, around)
        return self._voices[place]

    def _arrange(self, labels: list[str]) -> None:
        """Make room for the columns of `labels`; those that were not there are zero."""
        if labels == self.labels:
            return
        known = {name: column for column, name in enumerate(self.labels)}
        kept = [column for column, name in enumerate(labels) if name in known]
        old = [known[labels[column]] for column in kept]
        evidence = np.zeros((len(self.landscape), len(labels)), np.float32)
        sums = np.zeros((len(self.landscape), len(labels)))
        squares = np.zeros(len(labels))
        evidence[:, kept], sums[:, kept] = self._evidence[:, old], self._products[:, old]
        squares[kept] = self._squares[old]
        self._evidence, self._products, self._squares = evidence, sums, squares
        self._peaks = evidence.max(axis=1, initial=0)
        self._closest.forget()

    def _hear(self, column: int, places: Places) -> None:
        land = self.landscape
        parts = [self.voice(place).evidence for place in places.tolist()]
        now = land.with_leaves(combine(parts, len(land)))
        before = self._evidence[:, column].copy()
        self._evidence[:, column] = now
        lost = np.flatnonzero((before == self._peaks) & (now < before))
        np.maximum(self._peaks, now, out=self._peaks)
        self._peaks[lost] = self._evidence[lost].max(axis=1)
        self._closest.forget(column)

    def _add_products(self, moved: Sequence[tuple[int, int, int]]) -> None:
        """Add (column, sign, place) of references to the products; exact by either route."""
        if len(moved) > _SCANS_AT_MOST:
            self._add_by_matrix(moved, 0)
            return
        turned = self.landscape.turned
        for column, sign, place in moved:
            self._products[:, column] += sign * product(turned, turned[place])

    def _add_by_matrix(self, moved: Sequence[tuple[int, int, int]], first: int) -> None:
        """Do so for items from place `first` on, by one product with sums of references."""
        turned = self.landscape.turned
        together = most_added(turned.shape[1])
        runs: dict[tuple[int, int], list[int]] = {}
        for column, sign, place in moved:
            runs.setdefault((column, sign), []).append(place)
        columns, sums = [], []
        for (column, sign), places in runs.items():
            for start in range(0, len(places), together):
                part = turned[places[start : start + together]].astype(np.float32)
                columns.append(column)
                sums.append(sign * part.sum(axis=0))
        if not sums:
            return
        for block, table in products(turned[first:], np.stack(sums)):
            rows = slice(first + block.start, first + block.stop)
            for column, part in zip(columns, table.T, strict=True):
                self._products[rows, column] += part
