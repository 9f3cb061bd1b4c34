"""What the references say of every item: evidence, direct likeness and nearness, label by label.

Pure and incremental: each label has columns of its own, and a change of its references makes only
its columns again, by the same route, so the result does not depend on the history. Places are
those of a `Landscape`.

With e_ic the mean evidence of label c's references for item i: L_ic = log(e_ic + 1e-5). With m_c
the sum of c's references, each of unit length under the metric M: C_ic = the cosine of i and m_c
under M. Z_ic is the largest centred cosine of i with one of c's references.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.landscape import Landscape
from lookalike.propagation import DECAY, Evidence, Floats, Places, Pusher, combine

FLOOR = np.float32(1e-5)
"""Added to evidence before its logarithm."""

_TINY = np.float32(1e-12)


@dataclass(frozen=True, slots=True)
class LabelScores:
    """The columns of one label over all items, float32 (n,), and what they were made of.

    `references` are rising places; `evidence` is e, `direct` C, `nearest` Z and
    `nearest_place` int64 (n,) the place of the reference that it belongs to; `total` (d,) is m_c.
    """

    references: Places
    evidence: Floats
    direct: Floats
    nearest: Floats
    nearest_place: Places
    total: Floats


class Scores:
    """The columns of all labels that have references, over one landscape."""

    def __init__(self, landscape: Landscape) -> None:
        self.landscape = landscape
        self._pusher = Pusher(landscape.graph)
        self._evidence: dict[int, Evidence] = {}
        self._labels: dict[str, LabelScores] = {}

    @property
    def labels(self) -> list[str]:
        """Return the labels that have references, sorted: the order of all columns."""
        return sorted(self._labels)

    def set_references(self, references: Mapping[str, Places]) -> None:
        """Make the columns of labels again whose references (places, rising) changed."""
        for gone in [name for name in self._labels if name not in references]:
            del self._labels[gone]
        used = {int(place) for places in references.values() for place in places}
        for place in [place for place in self._evidence if place not in used]:
            del self._evidence[place]
        for name, places in references.items():
            known = self._labels.get(name)
            if known is None or not np.array_equal(known.references, places):
                self._labels[name] = self._score(places)

    def over(self, landscape: Landscape) -> Scores:
        """Return the scores of the same references over `landscape`, which is ours and more leaves.

        What the references say of the nodes is the same there and is not computed again.
        """
        wider = Scores(landscape)
        wider._evidence = dict(self._evidence)
        wider.set_references({name: self._labels[name].references for name in self._labels})
        return wider

    def label(self, name: str) -> LabelScores:
        """Return the columns of a label."""
        return self._labels[name]

    def evidence_of(self, place: int) -> Evidence:
        """Return what the reference at `place` says of others; computed once."""
        if place not in self._evidence:
            self._evidence[place] = self.landscape.evidence(self._pusher, place)
        return self._evidence[place]

    def _score(self, places: Places) -> LabelScores:
        land = self.landscape
        parts = [self.evidence_of(int(place)) for place in places]
        centred = land.centred[places]
        total = (centred / land.metric_lengths[places, None]).sum(axis=0)
        pull = self.pull(total)
        rows = centred / land.lengths[places, None]
        cosines = land.centred @ rows.T
        return LabelScores(
            references=places,
            evidence=land.with_leaves(combine(parts, len(land))),
            direct=(land.centred @ pull) / land.metric_lengths,
            nearest=cosines.max(axis=1) / land.lengths,
            nearest_place=places[cosines.argmax(axis=1)],
            total=total,
        )

    def pull(self, total: Floats) -> Floats:
        """Return M m / |m| under M: its product with an item, over the item's length, is C."""
        pulled = self.landscape.metric @ total
        return np.asarray(pulled / np.sqrt(max(float(total @ pulled), float(_TINY))))

    def table(self, name: str, places: Places | None = None) -> Floats:
        """Return one kind of column side by side, float32 (n or len(places), labels)."""
        columns = [getattr(self._labels[label], name) for label in self.labels]
        if places is not None:
            columns = [column[places] for column in columns]
        return np.stack(columns, axis=1)


@dataclass(frozen=True, slots=True)
class Left:
    """What would be said of the references themselves if they did not vote: leave-one-out.

    All float32 (r, labels): `logs` is L, `direct` C, `nearest` Z. `around` (r, ≤ CONTEXT, labels)
    is the logarithm of the evidence of the items around each. `own` int64 (r,) is each reference's
    label as a column. `places` (r,) are their places.
    """

    places: Places
    own: NDArray[np.int64]
    counts: NDArray[np.int64]
    logs: Floats
    direct: Floats
    nearest: Floats
    around: Floats


def leave_one_out(scores: Scores, sample: Places) -> Left:
    """Return the exact leave-one-out scores of those references that are in `sample`."""
    land, labels = scores.landscape, scores.labels
    members = [scores.label(label).references for label in labels]
    places = np.concatenate(members)
    own = np.repeat(np.arange(len(labels)), [len(part) for part in members])
    chosen = np.isin(places, sample)
    places, own = places[chosen], own[chosen]
    counts = np.array([len(part) for part in members])
    rows, context = np.arange(len(places)), land.near[places][:, : land.context.shape[1]]
    evidence = scores.table("evidence", places)
    around = np.stack([scores.label(label).evidence[context] for label in labels], axis=2)
    size = counts[own]
    rest = np.maximum(size - 1, 1)
    selves = np.array([_self(scores, place) for place in places.tolist()], np.float32)
    evidence[rows, own] = np.where(size > 1, (evidence[rows, own] * size - selves) / rest, 0)
    given = np.stack(
        [scores.evidence_of(p).at(c) for p, c in zip(places.tolist(), context, strict=True)]
    )
    ours = np.take_along_axis(around, own[:, None, None], axis=2)[:, :, 0]
    left = np.where(size[:, None] > 1, (ours * size[:, None] - given) / rest[:, None], 0)
    np.put_along_axis(around, own[:, None, None], left[:, :, None], axis=2)
    direct, nearest = scores.table("direct", places), scores.table("nearest", places)
    direct[rows, own], nearest[rows, own] = _own_left(scores, places, own)
    return Left(
        places=places,
        own=own,
        counts=counts,
        logs=np.log(np.maximum(evidence, 0) + FLOOR),
        direct=direct,
        nearest=nearest,
        around=np.log(np.maximum(around, 0) + FLOOR),
    )


def _self(scores: Scores, place: int) -> float:
    """Return what a reference says of itself; a leaf hears itself through its neighbours too."""
    land, evidence = scores.landscape, scores.evidence_of(place)
    own = float(evidence.at(np.array([place]))[0])
    if place < land.nodes:
        return own
    return own + float(DECAY * (land.hops[place] * evidence.at(land.near[place])).sum())


def _own_left(scores: Scores, places: Places, own: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return C and Z (r,) of each reference with its own label, itself left out; −1 when alone."""
    land = scores.landscape
    direct = np.full(len(places), -1, np.float32)
    nearest = np.full(len(places), -1, np.float32)
    for column, name in enumerate(scores.labels):
        rows = np.flatnonzero(own == column)
        label = scores.label(name)
        if len(rows) == 0 or len(label.references) < 2:
            continue
        here = land.centred[places[rows]]
        unit = here / land.metric_lengths[places[rows], None]
        rest = label.total - unit
        pulled = rest @ land.metric
        lengths = np.sqrt(np.maximum(np.einsum("rd,rd->r", pulled, rest), _TINY))
        direct[rows] = np.einsum("rd,rd->r", pulled, unit) / lengths
        others = land.centred[label.references] / land.lengths[label.references, None]
        cosines = (here / land.lengths[places[rows], None]) @ others.T
        cosines[places[rows][:, None] == label.references] = -1
        nearest[rows] = cosines.max(axis=1)
    return direct, nearest
