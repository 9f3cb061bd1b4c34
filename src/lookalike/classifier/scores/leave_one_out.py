"""What would be said of the references themselves if they did not vote: leave-one-out. Pure.

Each reference is taken out of its own label exactly, whose other references remain; or with the
whole of it, as if nobody had ever named that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.propagation import Floats, Places
from lookalike.classifier.scores.evidence import FLOOR, UNREACHED, Mix, mixed
from lookalike.classifier.scores.scores import BACKGROUND, Scores

_LEAST = 1e-5
"""Evidence below is what rounding leaves where nothing of the rest is heard."""

_BY_ROW = ("places", "own", "logs", "direct", "likeness", "nearest", "wide", "remote")


@dataclass(frozen=True, slots=True)
class LeftOutScores:
    """What would be said of the references themselves if they did not vote: leave-one-out.

    All float32 (r, labels): `logs` is L, `direct` C, `nearest` Z. `own` int64 (r,) is each
    reference's label as a column, `likeness` (r,) C of that, heard or not. `places` (r,) are their
    places. `wide` (r, 2…) is W: as all else is; with their whole label left out; and with all of
    their parent left out, for each level that is asked. `remote` (r,) is R.
    """

    places: Places
    own: NDArray[np.int64]
    counts: NDArray[np.int64]
    logs: Floats
    direct: Floats
    likeness: Floats
    nearest: Floats
    wide: Floats
    remote: Floats

    def joined(self, more: LeftOutScores) -> LeftOutScores:
        """Return these rows and more, of the same labels."""
        parts = {
            name: np.concatenate([getattr(self, name), getattr(more, name)]) for name in _BY_ROW
        }
        return replace(self, **parts)

    def some(self, rows: NDArray[np.int64]) -> LeftOutScores:
        """Return some of the rows."""
        return replace(self, **{name: getattr(self, name)[rows] for name in _BY_ROW})

    def totals(self, mix: Mix) -> Floats:
        """Return a·L + b·C (r, labels): of each one's own label even where it is not heard, since
        how little a wrong reference is like it tells most.
        """
        total, rows = mixed(mix, self.logs, self.direct), np.arange(len(self.own))
        total[rows, self.own] = mixed(mix, self.logs[rows, self.own], self.likeness)
        return total

    def without_own(self) -> LeftOutScores:
        """Return what would be said if each one's own label did not exist."""
        rows = np.arange(len(self.own))
        logs, direct, nearest = (part.copy() for part in (self.logs, self.direct, self.nearest))
        for part, said in ((logs, UNREACHED[0]), (direct, UNREACHED[1]), (nearest, -1)):
            part[rows, self.own] = said
        wide = np.concatenate([self.wide[:, 1:2], self.wide[:, 1:]], axis=1)
        return replace(self, logs=logs, direct=direct, nearest=nearest, wide=wide)


def as_they_are(
    scores: Scores, answered: Mapping[str, Places], levels: Sequence[Places] = ()
) -> LeftOutScores:
    """Return the scores of items that are no references, by the label that a person gave each.

    They do not vote, so nothing is left out. Labels without references here are passed over.
    `levels` are as in `leave_one_out`.
    """
    labels = scores.labels
    known = [(labels.index(name), places) for name, places in answered.items() if name in labels]
    places = np.concatenate([np.empty(0, np.int64), *(part for _, part in known)])
    own = np.repeat([column for column, _ in known], [len(part) for _, part in known])
    members = [scores.references(label) for label in labels]
    logs, direct = scores.table(places)
    likeness = [_likeness_left(scores, column, part, voting=False) for column, part in known]
    return LeftOutScores(
        places=places,
        own=own.astype(np.int64),
        counts=np.array([len(part) for part in members]),
        logs=logs,
        direct=direct,
        likeness=np.concatenate([np.empty(0, np.float32), *likeness]),
        nearest=nearest_of_each(scores, places),
        wide=_wide_left(scores, places, own, levels, counts=None),
        remote=scores.around(places)[:, 1],
    )


def leave_one_out(scores: Scores, sample: Places, levels: Sequence[Places] = ()) -> LeftOutScores:
    """Return the leave-one-out scores of those references that are in `sample`; exact, but for W.

    `levels` tell for each level of parents which one each label is of (labels,).
    """
    members = [scores.references(label) for label in scores.labels]
    every = np.concatenate(members)
    counts = np.array([len(part) for part in members])
    own = np.repeat(np.arange(len(members)), counts)
    chosen = np.isin(every, sample)
    places, own = every[chosen], own[chosen]
    logs, direct = scores.table(places)
    likeness = np.empty(len(own), np.float32)
    for column in range(len(members)):
        rows = np.flatnonzero(own == column)
        likeness[rows] = _likeness_left(scores, column, places[rows], voting=True)
        logs[rows, column] = _logs_left(scores, column, places[rows])
        heard = logs[rows, column] > UNREACHED[0]
        direct[rows, column] = np.where(heard, likeness[rows], UNREACHED[1])
    return LeftOutScores(
        places=places,
        own=own,
        counts=counts,
        logs=logs,
        direct=direct,
        likeness=likeness,
        nearest=nearest_of_each(scores, places),
        wide=_wide_left(scores, places, own, levels, counts),
        remote=scores.around(places)[:, 1],
    )


def _logs_left(scores: Scores, column: int, places: Places) -> Floats:
    """Return L (r,) of one label for references of it, each without itself."""
    count = len(scores.references(scores.labels[column]))
    given = np.array([scores.voice(place).itself for place in places.tolist()], np.float32)
    rest = scores.said(column).at(places) * np.float32(count) - given
    logs = np.log(np.maximum(rest, 0) / max(count - 1, 1) + FLOOR)
    return np.asarray(np.where((rest > _LEAST) & (count > 1), logs, UNREACHED[0]), np.float32)


def _likeness_left(scores: Scores, column: int, places: Places, *, voting: bool) -> Floats:
    """Return C (r,) of one label, heard or not; for references of it (`voting`) each without
    itself, −1 where it is alone.

    That is ⟨u, m − u⟩ / |u| |m − u| for a reference u among those that add up to m.
    """
    product, square = scores.sums(places, column)
    length = scores.neighbour_graph.whitened_lengths[places]
    alone = voting and len(scores.references(scores.labels[column])) == 1
    itself = length * voting
    rest = np.sqrt(np.maximum(square - 2 * product * voting + itself**2, 1))
    return np.asarray(np.where(alone, -1, (product - itself**2) / (length * rest)), np.float32)


def nearest_of_each(scores: Scores, places: Places) -> Floats:
    """Return Z (m, labels) of items, of a reference's own label without itself; −1 where it is
    alone.
    """
    members = [scores.references(label) for label in scores.labels]
    every = np.concatenate(members)
    cosines = scores.neighbour_graph.cosines(places, every)
    cosines[places[:, None] == every] = -1
    starts = np.cumsum([0, *(len(part) for part in members[:-1])])
    return np.maximum.reduceat(cosines, starts, axis=1)


def _wide_left(
    scores: Scores,
    places: Places,
    own: NDArray[np.int64],
    levels: Sequence[Places],
    counts: NDArray[np.int64] | None,
) -> Floats:
    """Return W (r, 2…), as `LeftOutScores` has it, of items with labels `own` (r,).

    Those that vote are among the references of their label, of which there are `counts` (labels,).
    """
    groups = [np.arange(len(scores.labels)), *levels]
    rivals = [scores.rivals(group) for group in groups]
    wide = np.empty((len(places), 1 + len(groups)), np.float32)
    heard, given = np.zeros((2, len(scores.neighbour_graph)), np.float32)
    for label in np.unique(own).tolist():
        said, voting = scores.said(label), 0 if counts is None else int(counts[label])
        if scores.labels[label] != BACKGROUND:
            heard[said.places] = said.amounts
        for row in np.flatnonzero(own == label).tolist():
            ends = scores.walks.smoothing_weights(int(places[row]))
            mine = heard[ends.places]
            if voting:
                voice = scores.voice(int(places[row])).evidence
                given[voice.places] = voice.amounts
                rest = mine * voting - given[ends.places]
                mine = np.asarray(rest / max(voting - 1, 1) * (voting > 1), np.float32)
                given[voice.places] = 0
            others = [
                one.beside(group[label], ends.places)
                for one, group in zip(rivals, groups, strict=True)
            ]
            amounts = np.stack([np.maximum(others[0], mine), *others])
            wide[row] = np.log(amounts + FLOOR) @ ends.amounts
        heard[said.places] = 0
    return wide
