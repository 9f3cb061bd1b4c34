"""Trials: two rules of a label field, and what the answers tell of which is better. Pure.

What a decision costs is counted in reviews, as in `costs`: a right label nothing, a null one
review, a wrong label as much as `wrong_costs` reviews. A parent of the right label is right. The
rule that costs less is better. Only documents on which the two decide otherwise can tell, so only
these are asked about, as in McNemar's test; but each is a bet, by what was at stake.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from lookalike.catalog.taxonomies import check_share, check_target, check_targets
from lookalike.classifier.calibration.intervals import Interval
from lookalike.errors import BadInput
from lookalike.labels import check_label
from lookalike.model import LABEL_SEPARATOR
from lookalike.quality.stats.confidence_sequences import (
    PairedGains,
    Vector,
    bounds,
    favours,
    mcnemar,
    more_needed,
)

CONFIDENCE = 0.95
"""So often no verdict of a trial is false, however often one looks at it."""

MAX_WRONG_COSTS = 1e6


class Outcome(StrEnum):
    """What a person says of a document that is asked about in a trial."""

    LABEL = "label"
    NEW_KIND = "new_kind"
    CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True, slots=True)
class Challenger:
    """What a trial changes of the rule in force; None leaves it as it is.

    `extractor` names one that a migration has prepared; `references` the operation after which
    nobody has touched the references that vote.
    """

    confidence_threshold: float | None = None
    target_precision: float | None = None
    targets: Mapping[str, float] | None = None
    top_k: int | None = None
    extractor: str | None = None
    references: str | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """How one of the two rules does.

    It labels `labelled` of the documents that are the machine's. Of the answers that were there
    before the trial, it would have got so many `right`, `wrong`, and `null`; `precision` is the
    share of right ones among its labels by them, weighted by how probably each was drawn, and lies
    between `low` and `high`; None where nothing was drawn.
    """

    labelled: int = 0
    coverage: float = 0.0
    right: int = 0
    wrong: int = 0
    null: int = 0
    precision: float | None = None
    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True, slots=True)
class Crossing:
    """How the two rules decide the `documents` that are the machine's.

    Both give the `same` label, or `neither` gives one; only the one or the other does; or they give
    `different` ones.
    """

    documents: int = 0
    same: int = 0
    neither: int = 0
    only_champion: int = 0
    only_challenger: int = 0
    different: int = 0

    @property
    def disagreements(self) -> int:
        """Return on how many they decide otherwise."""
        return self.only_champion + self.only_challenger + self.different


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the answers to disagreements tell.

    Of `answers` the challenger's decision cost less in `wins`, more in `losses`. `saves` is how
    many reviews it saves in 100 documents, within `saves_low` and `saves_high` at all looks
    together with 95 % confidence. `better` is "challenger", "champion", or None where nobody can
    tell yet; then about `more` answers are needed, where that can be said: at least, before the
    first one. `only_champion_right` and `only_challenger_right` are what McNemar's test counts,
    whose exact `p_value` holds for one look and asks only who was right.
    """

    answers: int
    wins: int
    losses: int
    saves: float | None
    saves_low: float
    saves_high: float
    better: str | None
    more: int | None
    only_champion_right: int
    only_challenger_right: int
    p_value: float


@dataclass(frozen=True, slots=True)
class TrialItem:
    """A disagreement that was answered: what both rules say, and what the person says.

    `better` is "challenger", "champion" or None.
    """

    document: str
    champion: str | None
    challenger: str | None
    probability: float
    answer: Outcome
    truth: str | None
    actor: str | None
    better: str | None


@dataclass(frozen=True, slots=True)
class Trial:
    """A challenger to the rule of a field, and what is known of the two.

    `state` is "open", "adopted" or "dropped". `waiting` are the disagreements that were drawn and
    that nobody has answered, in the order of asking; what either rule says of them is not shown.
    `replayed` answers were there before. `trouble` says why it cannot go on, if so.
    """

    id: str
    collection: str
    field: str
    at: datetime
    actor: str
    state: str
    ended_at: datetime | None
    rule: Challenger
    wrong_costs: float
    comparison: Comparison
    champion: Side
    challenger: Side
    crossing: Crossing
    replayed: int
    waiting: tuple[str, ...]
    answered: tuple[TrialItem, ...]
    trouble: str = ""

    @property
    def verdict(self) -> str:
        """Return in words who is better."""
        return verdict(self.comparison, self.crossing)


def check_challenger(rule: Challenger) -> Challenger:
    """Return a challenger with its values checked. Raises BadInput, naming what is wrong."""
    if rule == Challenger():
        raise BadInput(
            "say what shall be tried: a confidence_threshold, a target_precision, targets, a "
            "top_k, an extractor or references"
        )
    if rule.confidence_threshold is not None:
        check_share(rule.confidence_threshold)
    if rule.target_precision is not None:
        check_target(rule.target_precision)
    if rule.targets is not None:
        check_targets(rule.targets)
    if rule.top_k is not None and not 2 <= rule.top_k <= 100:
        raise BadInput(f"top_k is {rule.top_k}; use 2 to 100")
    return rule


def check_wrong_costs(value: float) -> float:
    """Return what a wrong label costs, in reviews. Raises BadInput unless it is above 1."""
    if not 1 < value <= MAX_WRONG_COSTS:
        raise BadInput(
            f"wrong_costs is {value}; say how many reviews a wrong label costs: above 1, as a null "
            "costs one, up to 1e6"
        )
    return float(value)


def answers(
    labels: Mapping[str, str] | None, new_kind: Iterable[str], cannot_tell: Iterable[str]
) -> dict[str, tuple[Outcome, str | None]]:
    """Return what was said of each document. Raises BadInput for nothing, or two of one."""
    said: list[tuple[str, tuple[Outcome, str | None]]] = [
        (id, (Outcome.LABEL, check_label(label))) for id, label in (labels or {}).items()
    ]
    said += [(id, (Outcome.NEW_KIND, None)) for id in new_kind]
    said += [(id, (Outcome.CANNOT_TELL, None)) for id in cannot_tell]
    found = dict(said)
    if len(found) < len(said):
        raise BadInput("there are two answers for one document; give one for each")
    if not said:
        raise BadInput("no answer was given: name labels, new_kind or cannot_tell")
    return found


def verdict(found: Comparison, crossed: Crossing) -> str:
    """Return in words who is better."""
    if found.better is not None:
        low, high = sorted((abs(found.saves_low), abs(found.saves_high)))
        return (
            f"the {found.better} is better: it saves {low:.1f} to {high:.1f} reviews in 100 "
            "documents"
        )
    if not crossed.disagreements and not found.answers:
        return "the two decide alike: there is nothing to choose between them"
    if found.more is None:
        return "cannot tell yet: nothing speaks for either so far"
    left = crossed.disagreements
    beyond = f", and there are {left} disagreements" if found.more > left else ""
    about = "about" if found.answers else "at least"
    return f"cannot tell yet: {about} {found.more} more answers{beyond}"


# --- cost-weighted comparison of two rules -------------------------------------------------------

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
    """What is kept of answers to disagreements: numbers alone, (n,) each, as in `PairedGains`.

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


def stakes_of(known: Replay, wrong_costs: float) -> PairedGains:
    """Return answers to disagreements as what was at stake in each."""
    columns = (known.gains, known.least, known.most, known.q)
    gains, least, most, q = (np.array(one, np.float64) for one in columns)
    unit = min(_REVIEW, wrong_costs - _REVIEW)
    return PairedGains(gains, least, most, 1 / q, unit=unit, scale=wrong_costs)


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
        found = bounds(
            PairedGains(rights, edge, edge + 1, weights, unit=1 / 64, scale=1.0), CONFIDENCE
        )
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
