"""What the references say of every item: evidence, direct likeness and nearness, label by label.

Pure and incremental: a change of a label's references makes only its columns again. Evidence is
added up by the same route each time, products are whole numbers whose sums are exact, so the result
does not depend on the history. Places are those of a `NeighbourGraph`.

With e_ic the mean evidence of label c's references for item i: L_ic = log(e_ic + 1e-5). With m_c
the sum of c's references, turned, each of one length: C_ic = the cosine of i and m_c. Both are told
where c is **heard**, e_ic > 0; elsewhere they are `UNREACHED`: a label says nothing of what none of
its references reaches, so a new reference concerns some thousand items of a million. Z_ic is the
largest centred cosine of i with one of c's references; it is made for the labels that are asked.
W_i is the mean of the largest L around i, as far as a walk goes (`surroundings`), R_i how remote i
is. Both are of no label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.arrays import Bytes, product, union, without
from lookalike.classifier.graph.graph import NeighbourGraph
from lookalike.classifier.graph.propagation import (
    DECAY,
    Evidence,
    Floats,
    GraphSmoother,
    Places,
    mean_evidence,
    remoteness,
)
from lookalike.classifier.scores.evidence import (
    FLOOR,
    NO_EVIDENCE,
    UNREACHED,
    Column,
    LabelIndex,
    MaxEvidence,
    TwoLargest,
    largest,
    two_largest,
)

# --- nearest reference of a label, computed on demand and cached ---------------------------------

_BLOCK_CELLS = 8_000_000
_NOBODY = -1

_ONE_BY_ONE = 16
"""When more references of one column come, all of it are looked at again together."""


class NearestReference:
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


# --- class similarity ----------------------------------------------------------------------------

# Only the sums are kept. A sum m is parted into digits, m = Σ_t (2h + 1)^t m_t with no component of
# m_t above h, small enough to fit bytes: so each product with m_t is exact. Put together they are
# exact in float64, whichever way references came and went.

_BLOCK = 4096
_BYTE = 127

Doubles = NDArray[np.float64]
Sums = NDArray[np.int64]


class ClassSimilarity:
    """⟨u, m⟩ of turned items u (int8 (n, d)) and the sums m of labels' references."""

    def __init__(self, whitened: Bytes) -> None:
        self._turned = whitened
        self._sums: dict[str, Sums] = {}
        self._squares: dict[str, float] = {}

    def extended_to(self, whitened: Bytes) -> ClassSimilarity:
        """Return the likeness of the same references to more items."""
        wider = ClassSimilarity(whitened)
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


# -------------------------------------------------------------------------------------------------

BACKGROUND = ""
"""The name under which "none of these" has references; it sorts first."""

_NOTHING = Evidence(np.empty(0, np.int64), np.empty(0, np.float32))
_SILENT = Column(np.empty(0, np.int64), np.empty((2, 0), np.float32))

_STEPS_OF_W = 4
"""W tells e-folds of evidence: a finer one changes at many more items and tells nothing more."""


@dataclass(frozen=True, slots=True)
class _ReferenceEvidence:
    """What one reference says: of all, and of itself."""

    evidence: Evidence
    itself: float


class LabelScores(Protocol):
    """What references say of the items of a landscape, label by label: `Scores`, or their parents.

    The columns are those of `labels`; the methods are told at `Scores`.
    """

    @property
    def neighbour_graph(self) -> NeighbourGraph:
        """Return the items."""

    @property
    def labels(self) -> list[str]:
        """Return the labels, sorted."""

    def column(self, label: str) -> Column:
        """Return L and C of one label, where it is heard."""

    def table(self, places: Places) -> Floats:
        """Return L and C of items (2, m, labels)."""

    def nearest(self, places: Places, columns: NDArray[np.int64]) -> tuple[Floats, Places]:
        """Return Z of different items, each with one label's column (m,), and whose it is."""

    def around(self, places: Places) -> Floats:
        """Return W and R of items (m, 2)."""


class Scores:
    """The columns of all labels that have references, over one landscape; labels are sorted.

    `_evidence` is e by label, sparse; `_columns` are L and C where there is any; `_hearing` tells
    who is heard where; `_likeness` are inner products of turned items with the sums m_c of turned
    references, whole numbers. `_peaks` are the largest e of any label but the background.
    """

    def __init__(self, neighbour_graph: NeighbourGraph) -> None:
        self._landscape = neighbour_graph
        self._voices: dict[int, _ReferenceEvidence] = {}
        self._references: dict[str, Places] = {}
        self._evidence: dict[str, Evidence] = {}
        self._columns: dict[str, Column] = {}
        self._likeness = ClassSimilarity(neighbour_graph.whitened)
        self._hearing = LabelIndex([], len(neighbour_graph))
        self._peaks = MaxEvidence([], len(neighbour_graph))
        self._surroundings: GraphSmoother | None = None
        self._remoteness: Floats | None = None
        self._closest = NearestReference(len(neighbour_graph), neighbour_graph.cosines)

    @property
    def neighbour_graph(self) -> NeighbourGraph:
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
            if not _same(before.get(name, nobody), references.get(name, nobody))
        ]

    def set_references(self, references: Mapping[str, Places]) -> Places:
        """Take over each label's references (places, rising), at least one; return the items of
        which W may be another now.
        """
        changed, before = self.changed_by(references), self._references
        moved = [self._arrange(sorted(references))]
        self._references = {name: references[name] for name in sorted(references)}
        nobody = np.empty(0, np.int64)
        for name in changed:
            if name in references:
                now, then = references[name], before.get(name, nobody)
                came, went = without(now, then), without(then, now)
                self._likeness.move(name, came, went)
                self._closest.changed(self.labels.index(name), came, went)
                moved.append(self._hear(name, now))
        if self._surroundings is None:
            return nobody
        peaks = union(*moved)
        return self._surroundings.update(peaks, np.log(self._peaks.most[peaks] + FLOOR))

    def extended_to(self, neighbour_graph: NeighbourGraph) -> Scores:
        """Return the scores of the same references over `neighbour_graph`, which is ours and more
        leaves.

        What the references say of the items that are here is the same there.
        """
        wider, known = Scores(neighbour_graph), len(self.neighbour_graph)
        wider._voices, wider._references = dict(self._voices), dict(self._references)
        wider._likeness = self._likeness.extended_to(neighbour_graph.whitened)
        wider._evidence = {
            name: neighbour_graph.with_out_of_graph(said, known)
            for name, said in self._evidence.items()
        }
        wider._columns = {
            name: wider._heard_of(name, after=column) for name, column in self._columns.items()
        }
        wider._hearing = wider._heard_where()
        wider._peaks = self._peaks.extended_to(wider._heard(), len(neighbour_graph))
        if self._surroundings is not None:
            wider._surroundings = self._surroundings.extended_to(neighbour_graph)
        return wider

    def column(self, label: str) -> Column:
        """Return L and C of one label, where it is heard."""
        return self._columns[label]

    def said(self, column: int) -> Evidence:
        """Return e of one label."""
        return self._evidence[self.labels[column]]

    def table(self, places: Places) -> Floats:
        """Return L and C of items side by side, float32 (2, m, labels)."""
        said = [column.said for column in self._columns.values()]
        return self._hearing.side_by_side(said, places, UNREACHED)

    def evidence(self, places: Places) -> Floats:
        """Return e of items side by side, float32 (m, labels)."""
        said = [evidence.amounts[None] for evidence in self._evidence.values()]
        table: Floats = self._hearing.side_by_side(said, places, NO_EVIDENCE)[0]
        return table

    def reached(self) -> Floats:
        """Return the largest sum of evidence of one label's references at each item (n,)."""
        counts = [len(places) for places in self._references.values()]
        return largest(list(self._evidence.values()), counts, len(self.neighbour_graph))

    def sums(self, places: Places, column: int) -> tuple[Doubles, float]:
        """Return ⟨u, m⟩ of turned items u (m,) for one label, and ⟨m, m⟩."""
        label = self.labels[column]
        return self._likeness.at(label, places), self._likeness.square(label)

    def nearest(self, places: Places, columns: NDArray[np.int64]) -> tuple[Floats, Places]:
        """Return Z of different items, each with one label's column (m,), and whose it is.

        Of equally near references it is that of the one at the lowest place. Where the column is
        −1, no label, it is 0.
        """
        every = list(self._references.values())
        return self._closest.of(places, columns, lambda column: every[column])

    def around(self, places: Places) -> Floats:
        """Return W and R of items (m, 2)."""
        if self._remoteness is None:
            self._remoteness = remoteness(self.neighbour_graph)
        return np.stack([self.walks.at(places), self._remoteness[places]], axis=1)

    @property
    def walks(self) -> GraphSmoother:
        """Return what tells W, and how far walks go: kept up with the references."""
        if self._surroundings is None:
            values = np.log(self._peaks.most + FLOOR)
            self._surroundings = GraphSmoother(self.neighbour_graph, values, steps=_STEPS_OF_W)
        return self._surroundings

    def rivals(self, groups: NDArray[np.int64]) -> TwoLargest:
        """Return the two largest e of any labels but the background, one from each of `groups`
        (labels,).
        """
        heard = self._heard()
        return two_largest(heard, groups[len(groups) - len(heard) :], len(self.neighbour_graph))

    def voice(self, place: int) -> _ReferenceEvidence:
        """Return what the reference at `place` says; computed once."""
        if place not in self._voices:
            land = self.neighbour_graph
            evidence = land.evidence(place)
            itself = float(evidence.at(np.array([place]))[0])
            if place >= land.nodes:  # a leaf hears itself through its neighbours too
                itself += float(
                    DECAY * (land.near_weights[place] * evidence.at(land.near[place])).sum()
                )
            self._voices[place] = _ReferenceEvidence(evidence, itself)
        return self._voices[place]

    def _arrange(self, labels: list[str]) -> Places:
        """Make room for the columns of `labels`, those that were not there are zero; return the
        items of which the largest e is another.
        """
        if labels == self.labels:
            return np.empty(0, np.int64)
        before = self._peaks.most
        self._evidence = {name: self._evidence.get(name, _NOTHING) for name in labels}
        self._columns = {name: self._columns.get(name, _SILENT) for name in labels}
        self._likeness.arrange(labels)
        self._hearing = self._heard_where()
        self._peaks = MaxEvidence(self._heard(), len(self.neighbour_graph))
        self._closest.forget()
        return np.flatnonzero(before != self._peaks.most)

    def _heard(self) -> list[Evidence]:
        """Return e of all labels but the background."""
        return [said for name, said in self._evidence.items() if name != BACKGROUND]

    def _hear(self, label: str, places: Places) -> Places:
        """Take over a label's references; return where the largest e may be another."""
        before = self._evidence[label]
        parts = [self.voice(place).evidence for place in places.tolist()]
        self._evidence[label] = now = self.neighbour_graph.with_out_of_graph(mean_evidence(parts))
        self._columns[label] = self._heard_of(label, after=_SILENT)
        self._hearing.change(self.labels.index(label), now.places)
        if label == BACKGROUND:
            return np.empty(0, np.int64)
        quiet = int(BACKGROUND in self._evidence)  # it sorts first
        return self._peaks.follow(before, now, lambda lost: self.evidence(lost)[:, quiet:])

    def _heard_where(self) -> LabelIndex:
        """Return which labels are heard where."""
        every = [said.places for said in self._evidence.values()]
        return LabelIndex(every, len(self.neighbour_graph))

    def _heard_of(self, label: str, *, after: Column) -> Column:
        """Return L and C of one label, where there is evidence of it; the first are known."""
        said, known = self._evidence[label], len(after.places)
        places, logs = said.places[known:], np.log(said.amounts[known:] + FLOOR)
        length = np.sqrt(max(self._likeness.square(label), 1))
        direct = self._likeness.at(label, places) / (
            self.neighbour_graph.whitened_lengths[places] * length
        )
        more = np.stack([logs, direct.astype(np.float32)])
        return Column(said.places, np.concatenate([after.said, more], axis=1))


def _same(one: Places, other: Places) -> bool:
    return one is other or (len(one) == len(other) and bool((one == other).all()))
