"""Which label leads for an item, and by how much, kept up as single labels' scores change. Pure.

The winner has the largest S of all labels that are heard and may win. Its rivals are the largest
S, L and C of any other label, which may be three labels; the rest is what no further label exceeds.
A label that is not heard has an S of −inf, so it never leads; its L and C are those of **nobody**,
who is everywhere.

Where one label's scores become others, winner and rivals follow from these, whatever the number of
labels. Only where the winner falls back to a rival, a rival to the rest, or another label
overtakes, all must be looked at again: such an item is open.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.propagation import Floats, Places
from lookalike.classifier.scores.evidence import UNHEARD

Columns = NDArray[np.int64]
Items = NDArray[np.bool_]
Mix = tuple[float, float]
Quiet = tuple[int, ...]

NOBODY: Floats = np.array([[-np.inf], UNHEARD[:1], UNHEARD[1:]], np.float32)
"""S, L and C (3, 1) of a label that is not heard."""


@dataclass(slots=True)
class Leads:
    """Who leads for m items: the columns of `winners` and `runners_up` in S (−1: nobody).

    S, L and C, float32 (3, m), are those of the winner (`own`), the largest of any other label
    (`rivals`), and what no third one exceeds (`rest`).
    """

    winners: Columns
    runners_up: Columns
    own: Floats
    rivals: Floats
    rest: Floats

    @classmethod
    def among(cls, mix: Mix, logs: Floats, direct: Floats, quiet: Quiet) -> Leads:
        """Return those of items whose labels' L and C (m, labels) are all known; the columns
        `quiet` never win.
        """
        rows, labels = np.arange(len(logs)), logs.shape[1]
        parts = np.empty((3, len(logs), labels + 1), np.float32)
        parts[:, :, 0], parts[:, :, 1:] = NOBODY, scored(mix, logs, direct)
        total = parts[0].copy()
        total[:, [column + 1 for column in quiet]] = -np.inf
        winners = total.argmax(axis=1)
        own = np.stack([part[rows, winners] for part in parts])
        for part in parts:
            part[rows, winners] = -np.inf
        runners_up = parts[0].argmax(axis=1)
        parts.partition(labels - 1, axis=2)
        return cls(winners - 1, runners_up - 1, own, parts[:, :, -1], parts[:, :, labels - 1])

    def at(self, chosen: Places) -> Leads:
        """Return those of some of the items."""
        parts = [part.take(chosen, axis=1) for part in self._parts]
        return Leads(self.winners.take(chosen), self.runners_up.take(chosen), *parts)

    def put(self, places: Places, leads: Leads) -> None:
        """Take over those of some of the items."""
        self.winners[places], self.runners_up[places] = leads.winners, leads.runners_up
        for part, new in zip(self._parts, leads._parts, strict=True):
            _put(part, places, new)

    def take(self, column: int, before: Floats, now: Floats, *, wins: bool) -> tuple[Items, Items]:
        """Take over that S, L and C (3, m) of one label were `before` and are `now`; return of
        which items winner or rivals are others now, and which are open. `wins` tells whether the
        label may win.
        """
        leads, rival = self.winners == column, (before == self.rivals) & (before > NOBODY)
        falls = (now[0] < before[0]) & (now[0] <= self.rivals[0])
        lost = (rival & (now < self.rivals) & (now <= self.rest)).any(axis=0)
        overtakes = (now[0] >= self.own[0]) & (now[0] > NOBODY[0])
        is_open = np.where(leads, falls, lost | (wins & overtakes))
        first = (now[0] == self.rivals[0]) & (column < self.runners_up)
        follows = ~leads & ((now[0] > self.rivals[0]) | first)
        self.runners_up[follows] = column
        np.copyto(self.own, now, where=leads)
        third = np.where(rival, self.rest, np.maximum(self.rest, np.minimum(now, self.rivals)))
        self.rest = np.where(leads, self.rest, third)
        second = np.where(rival, now, np.maximum(self.rivals, now))
        changed = leads | follows | is_open | (second != self.rivals).any(axis=0)
        self.rivals = np.where(leads, self.rivals, second)
        return np.asarray(changed), np.asarray(is_open)

    def features(self, mix: Mix, nearest: Floats) -> NDArray[np.float64]:
        """Return the margins of S, L and C over the next label or nobody, the root of the first,
        and Z (`nearest`), L and C of the winner (m, 7).
        """
        silence = mixed(mix, *UNHEARD)
        own = np.where(self.winners < 0, silence, self.own[0])
        lead = own - np.maximum(self.rivals[0], silence)
        margins = np.stack([lead, *(self.own[1:] - self.rivals[1:])]).astype(np.float64)
        root = np.sqrt(np.maximum(margins[0], 0))
        return np.stack([*margins, root, nearest, self.own[1], self.own[2]]).T

    @property
    def _parts(self) -> tuple[Floats, Floats, Floats]:
        return self.own, self.rivals, self.rest


def _put(rows: Floats, places: Places, values: Floats) -> None:
    """Put `values` (r, m) into `rows` (r, n); one row after the other takes half as long as all."""
    for row, new in zip(rows, values, strict=True):
        row[places] = new


def scored(mix: Mix, logs: Floats, direct: Floats) -> Floats:
    """Return S, L and C side by side (3, …)."""
    parts = np.empty((3, *logs.shape), np.float32)
    parts[0], parts[1], parts[2] = mixed(mix, logs, direct), logs, direct
    np.copyto(parts[0], -np.inf, where=logs == UNHEARD[0])
    return parts


def mixed(mix: Mix, logs: Floats, direct: Floats) -> Floats:
    """Return a·L + b·C, which is S where the label is heard."""
    return np.asarray(mix[0] * logs + mix[1] * direct, np.float32)
