"""What answers tell of two rules: what each decision costs, and bets on the difference. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.intervals import Interval
from lookalike.model import LABEL_SEPARATOR
from lookalike.quality.stats.confidence_sequences import (
    Stakes,
    Vector,
    bounds,
    favours,
    mcnemar,
    more_needed,
)
from lookalike.quality.stats.paired_comparison import (
    CONFIDENCE,
    Comparison,
    Crossing,
    Outcome,
    Side,
)

_PER = 100
_REVIEW = 1.0


@dataclass(frozen=True, slots=True)
class Answered:
    """A document with what both rules say of it, what is known of it, and how it came about.

    `outcome` None with `refuted` labels: it is none of these, and nobody said what. `q` is the
    probability with which it came to be answered.
    """

    champion: str | None
    challenger: str | None
    outcome: Outcome | None
    truth: str | None = None
    refuted: frozenset[str] = frozenset()
    q: float = 1.0

    @property
    def differs(self) -> bool:
        """Return whether the two rules decide otherwise."""
        return self.champion != self.challenger

    def is_right(self, label: str | None) -> bool | None:
        """Return whether a label is right; None for no label, or where that is not known."""
        if label is None or self.outcome is Outcome.CANNOT_TELL:
            return None
        if self.outcome is Outcome.LABEL:
            return label == self.truth or str(self.truth).startswith(label + LABEL_SEPARATOR)
        return False if self.outcome is Outcome.NEW_KIND or label in self.refuted else None

    def cost(self, label: str | None, wrong_costs: float) -> float | None:
        """Return what a label, or None, costs here; None where that is not known."""
        if label is None:
            return _REVIEW
        right = self.is_right(label)
        return None if right is None else 0.0 if right else wrong_costs

    def gain(self, wrong_costs: float) -> float:
        """Return how many reviews the challenger saves here; 0 where that is not known."""
        costs = [self.cost(one, wrong_costs) for one in (self.champion, self.challenger)]
        return 0.0 if None in costs else float(costs[0] or 0.0) - float(costs[1] or 0.0)


@dataclass(frozen=True, slots=True)
class Replay:
    """What is kept of answers to disagreements: numbers alone, (n,) each, as in `Stakes`.

    `rights` (n, 2) tells whether the champion and the challenger are right.
    """

    gains: Sequence[float] = ()
    least: Sequence[float] = ()
    most: Sequence[float] = ()
    q: Sequence[float] = ()
    rights: Sequence[Sequence[bool]] = field(default_factory=list)

    def joined(self, more: Replay) -> Replay:
        """Return these answers and more."""
        return Replay(
            [*self.gains, *more.gains],
            [*self.least, *more.least],
            [*self.most, *more.most],
            [*self.q, *more.q],
            [*self.rights, *more.rights],
        )


def replay(answered: Iterable[Answered], wrong_costs: float) -> Replay:
    """Return what is kept of those of the answers on which the two rules decide otherwise."""
    some = [one for one in answered if one.differs]
    ends = [_at_stake(one, wrong_costs) for one in some]
    return Replay(
        gains=[one.gain(wrong_costs) for one in some],
        least=[low for low, _ in ends],
        most=[high for _, high in ends],
        q=[one.q for one in some],
        rights=[
            [bool(one.is_right(one.champion)), bool(one.is_right(one.challenger))] for one in some
        ],
    )


def compare(known: Replay, crossing: Crossing, wrong_costs: float) -> Comparison:
    """Return what answers to disagreements tell, as if those that are drawn were like the others.

    The share of disagreements is counted, and the mean of what one saves bet on.
    """
    stakes = stakes_of(known, wrong_costs)
    planned = stakes if len(stakes) else stakes_of(_at_best(crossing, wrong_costs), wrong_costs)
    per = _PER * crossing.disagreements / max(crossing.documents, 1)
    found = bounds(stakes, CONFIDENCE) if len(stakes) else Interval(-wrong_costs, wrong_costs)
    side = favours(stakes, CONFIDENCE) if len(stakes) else 0
    firsts = sum(first and not second for first, second in known.rights)
    seconds = sum(second and not first for first, second in known.rights)
    return Comparison(
        answers=len(stakes),
        wins=int((stakes.gains > 0).sum()),
        losses=int((stakes.gains < 0).sum()),
        saves=_mean(stakes.gains, stakes.weights, per),
        saves_low=per * found.low,
        saves_high=per * found.high,
        better={1: "challenger", -1: "champion"}.get(side),
        more=None if side else more_needed(planned, CONFIDENCE),
        only_champion_right=firsts,
        only_challenger_right=seconds,
        p_value=mcnemar(firsts, seconds),
    )


def stakes_of(known: Replay, wrong_costs: float) -> Stakes:
    """Return answers to disagreements as what was at stake in each."""
    columns = (known.gains, known.least, known.most, known.q)
    gains, least, most, q = (np.array(one, np.float64) for one in columns)
    unit = min(_REVIEW, wrong_costs - _REVIEW)
    return Stakes(gains, least, most, 1 / q, unit=unit, scale=wrong_costs)


def side(
    labels: Sequence[str | None], answered: Sequence[Answered], labelled: int, documents: int
) -> Side:
    """Return how a rule does that says `labels` (m,) of the answered, and labels so many at all."""
    said = [(one, one.is_right(label)) for one, label in zip(answered, labels, strict=True)]
    judged = [(float(right), 1 / one.q) for one, right in said if right is not None]
    share, low, high = None, 0.0, 1.0
    if judged:
        rights, weights = np.array(judged).T
        edge = np.zeros(len(judged))
        share = _mean(rights, weights, 1.0)
        found = bounds(Stakes(rights, edge, edge + 1, weights, unit=1 / 64, scale=1.0), CONFIDENCE)
        low, high = found.low, found.high
    return Side(
        labelled=labelled,
        coverage=labelled / documents if documents else 0.0,
        right=sum(right is True for _, right in said),
        wrong=sum(right is False for _, right in said),
        null=sum(label is None for label in labels),
        precision=share,
        low=low,
        high=high,
    )


def crossing(champion: NDArray[np.int32], challenger: NDArray[np.int32]) -> Crossing:
    """Return how two rules decide documents, by their label codes (n,), −1 for none."""
    one, other = champion >= 0, challenger >= 0
    both, same = one & other, champion == challenger
    return Crossing(
        documents=len(champion),
        same=int((both & same).sum()),
        neither=int((~one & ~other).sum()),
        only_champion=int((one & ~other).sum()),
        only_challenger=int((other & ~one).sum()),
        different=int((both & ~same).sum()),
    )


def better_of(item: Answered, wrong_costs: float) -> str | None:
    """Return whose decision cost less in a document, if any did."""
    gain = item.gain(wrong_costs)
    return None if gain == 0 else "challenger" if gain > 0 else "champion"


def _at_best(crossed: Crossing, wrong_costs: float) -> Replay:
    """Return an answer of each kind of disagreement that there is, all as good as can be."""
    pairs: list[tuple[str | None, str | None]] = [("", "b")] * bool(crossed.different)
    pairs += [("", None)] * bool(crossed.only_champion)
    pairs += [(None, "")] * bool(crossed.only_challenger)
    kinds = [Answered(*pair, outcome=None) for pair in pairs]
    ends = replay(kinds, wrong_costs)
    return replace(ends, gains=ends.most)


def _at_stake(one: Answered, wrong_costs: float) -> tuple[float, float]:
    """Return what the challenger may lose and save at most in a document, before an answer."""
    if one.champion is None:
        return _REVIEW - wrong_costs, _REVIEW
    if one.challenger is None:
        return -_REVIEW, wrong_costs - _REVIEW
    return -wrong_costs, wrong_costs


def _mean(values: Vector, weights: Vector, factor: float) -> float | None:
    return float(factor * np.average(values, weights=weights)) if len(values) else None
