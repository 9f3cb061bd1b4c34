"""Which label leads for an item, and by how much, kept up as single labels' scores change. Pure.

The winner has the largest S of all labels that may win. Its rivals are the largest S, L and C of
any other label, which may be three labels; the rest is what no further label exceeds. Where one
label's scores become others, winner and rivals follow from these, whatever the number of labels.
Only where the winner falls back to a rival, a rival to the rest, or another label overtakes, all
must be looked at again: such an item is open.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.propagation import Floats, Places

Columns = NDArray[np.int64]
Mix = tuple[float, float]
Quiet = tuple[int, ...]


@dataclass(slots=True)
class Leads:
    """Who leads for m items: the columns of `winners` and `runners_up` in S (−1: none).

    S, L and C, float32 (3, m), are those of the winner (`own`), the largest of any other label
    (`rivals`; −inf: there is none), and what no third one exceeds (`rest`).
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
        rows, parts = np.arange(len(logs)), scored(mix, logs, direct)
        total = parts[0].copy()
        total[:, list(quiet)] = -np.inf
        winners = total.argmax(axis=1)
        own = np.stack([part[rows, winners] for part in parts])
        for part in parts:
            part[rows, winners] = -np.inf
        alone, second = logs.shape[1] == 1, max(logs.shape[1] - 2, 0)
        runners_up = np.full(len(winners), -1) if alone else parts[0].argmax(axis=1)
        parts.partition(second, axis=2)
        return cls(winners, runners_up, own, parts[:, :, -1], parts[:, :, second])

    def at(self, chosen: Places) -> Leads:
        """Return those of some of the items."""
        parts = [part.take(chosen, axis=1) for part in self._parts]
        return Leads(self.winners.take(chosen), self.runners_up.take(chosen), *parts)

    def put(self, places: Places, leads: Leads) -> None:
        """Take over those of some of the items."""
        self.winners[places], self.runners_up[places] = leads.winners, leads.runners_up
        for part, new in zip(self._parts, leads._parts, strict=True):
            _put(part, places, new)

    def borne_on(self, before: Floats, now: Floats) -> NDArray[np.bool_]:
        """Return on which items (m,) it may bear that S, L and C (3, m) of a label were `before`
        and are `now`; to the others it is one of the rest.
        """
        # Where a quiet label is ahead of the winner, whoever overtakes the winner wins.
        found = np.maximum(before[0], now[0]) >= np.minimum(self.own[0], self.rivals[0])
        found |= np.maximum(before[2], now[2]) >= self.rivals[2]
        found |= (before[1] != now[1]) & (np.maximum(before[1], now[1]) >= self.rivals[1])
        places = np.flatnonzero(found)
        kept = self.rest.take(places, axis=1)
        np.maximum(self.rest, now, out=self.rest)
        _put(self.rest, places, kept)
        return np.asarray(found)

    def take(self, column: int, before: Floats, now: Floats, *, wins: bool) -> NDArray[np.bool_]:
        """Take over that S, L and C (3, m) of one label were `before` and are `now`; return which
        items are open. `wins` tells whether the label may win.
        """
        leads, rival = self.winners == column, before == self.rivals
        falls = (now[0] < before[0]) & (now[0] <= self.rivals[0])
        lost = (rival & (now < self.rivals) & (now <= self.rest)).any(axis=0)
        is_open = np.where(leads, falls, lost | (wins & (now[0] >= self.own[0])))
        first = (now[0] == self.rivals[0]) & (column < self.runners_up)
        self.runners_up[~leads & ((now[0] > self.rivals[0]) | first)] = column
        np.copyto(self.own, now, where=leads)
        third = np.where(rival, self.rest, np.maximum(self.rest, np.minimum(now, self.rivals)))
        self.rest = np.where(leads, self.rest, third)
        second = np.where(rival, now, np.maximum(self.rivals, now))
        self.rivals = np.where(leads, self.rivals, second)
        return np.asarray(is_open)

    def features(self, nearest: Floats) -> NDArray[np.float64]:
        """Return the margins of S, L and C, the root of the first, and Z (`nearest`), L and C of
        the winner (m, 7).
        """
        alone = np.isneginf(self.rivals)
        margins = np.where(alone, 0, self.own - self.rivals).astype(np.float64)
        root = np.sqrt(np.maximum(margins[0], 0))
        return np.stack([*margins, root, nearest, self.own[1], self.own[2]], axis=1)

    @property
    def _parts(self) -> tuple[Floats, Floats, Floats]:
        return self.own, self.rivals, self.rest


def _put(rows: Floats, places: Places, values: Floats) -> None:
    """Put `values` (r, m) into `rows` (r, n); one row after the other takes half as long as all."""
    for row, new in zip(rows, values, strict=True):
        row[places] = new


def scored(mix: Mix, logs: Floats, direct: Floats) -> Floats:
    """Return S = a·L + b·C, L and C side by side (3, …)."""
    parts = np.empty((3, *logs.shape), np.float32)
    parts[0], parts[1], parts[2] = mix[0] * logs, logs, direct
    parts[0] += mix[1] * direct
    return parts
