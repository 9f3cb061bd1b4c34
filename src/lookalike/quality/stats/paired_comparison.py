"""Paired comparison of two rules of a label field, from answers to their disagreements. Pure.

The cost of a decision is counted in reviews, as in `cost_curve.py`: 0 for a right label, 1 for no
label, `wrong_costs` for a wrong label. An ancestor of the right label is right. The rule with the
lower cost is better. Only documents on which the rules disagree carry information, so people answer
only these, as in McNemar's test; each answer counts by the reviews that it saves.
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
"""The probability that no verdict of a trial is false, however often it is looked at."""

MAX_WRONG_COSTS = 1e6


class Outcome(StrEnum):
    """A person's answer about a document of a trial."""

    LABEL = "label"
    NEW_KIND = "new_kind"
    CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True, slots=True)
class Challenger:
    """What a trial changes of the current rule; None leaves a setting as it is.

    `extractor` names one that a migration has prepared. `references` is an operation: references
    that people changed after it are left out.
    """

    confidence_threshold: float | None = None
    target_precision: float | None = None
    targets: Mapping[str, float] | None = None
    top_k: int | None = None
    extractor: str | None = None
    references: str | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """The results of one of the two rules.

    It labels `labelled` of the documents that nobody has answered, a share of `coverage`. Of the
    documents answered before the trial, its labels are `right`, `wrong` or missing (`null`).
    `precision` is the share of right ones among these labels, weighted by 1 / probability of being
    sampled, with the interval `low` to `high`; None where no label could be checked.
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
    """The cross table of the two rules, over the `documents` that nobody has answered.

    Both give the `same` label, or `neither` gives one; `only_champion` or `only_challenger` gives
    one; or both give `different` ones.
    """

    documents: int = 0
    same: int = 0
    neither: int = 0
    only_champion: int = 0
    only_challenger: int = 0
    different: int = 0

    @property
    def disagreements(self) -> int:
        """Return the number of documents on which the two rules differ."""
        return self.only_champion + self.only_challenger + self.different


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of the answers to disagreements.

    Of `answers` the challenger's decision cost less in `wins`, more in `losses`. `saves` is the
    number of reviews that it saves in 100 documents, with the 95 % confidence interval `saves_low`
    to `saves_high`, which holds at all looks together. `better` is "challenger", "champion", or
    None while undecided; then about `more` answers are needed (before the first answer, at least),
    or None if unknown. `only_champion_right` and `only_challenger_right` are the counts of
    McNemar's test; its exact `p_value` holds for a single look and ignores the costs.
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
    """A disagreement that was answered: the labels of both rules, and the person's answer.

    `better` is "challenger", "champion" or None; `probability` that of having been sampled.
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
    """An experiment: a challenger against the current rule of a field, and the results so far.

    `state` is "open", "adopted", "dropped", or "taken_back" where the adoption was undone.
    `waiting` are the sampled disagreements that nobody has answered, in the order of asking; the
    labels of the two rules are hidden. `replayed` counts the earlier answers that are used.
    `trouble` says why the trial cannot go on, "" if it can.
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
        """Return in words which rule is better."""
        return verdict(self.comparison, self.crossing)


def check_challenger(rule: Challenger) -> Challenger:
    """Return a challenger once its values are checked. Raises BadInput, naming the wrong value."""
    if rule == Challenger():
        raise BadInput(
            "there is nothing to try: give a confidence_threshold, a target_precision, targets, a "
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
    """Return the cost of a wrong label, in reviews. Raises BadInput unless 1 < value ≤ 1e6."""
    if not 1 < value <= MAX_WRONG_COSTS:
        raise BadInput(
            f"wrong_costs is {value}; give the cost of a wrong label in reviews: above 1, which is "
            "the cost of no label, up to 1e6"
        )
    return float(value)


def answers(
    labels: Mapping[str, str] | None, new_kind: Iterable[str], cannot_tell: Iterable[str]
) -> dict[str, tuple[Outcome, str | None]]:
    """Return the answer by document id. Raises BadInput for no answer, or two for one document."""
    given: list[tuple[str, tuple[Outcome, str | None]]] = [
        (id, (Outcome.LABEL, check_label(label))) for id, label in (labels or {}).items()
    ]
    given += [(id, (Outcome.NEW_KIND, None)) for id in new_kind]
    given += [(id, (Outcome.CANNOT_TELL, None)) for id in cannot_tell]
    found = dict(given)
    if len(found) < len(given):
        raise BadInput("there are two answers for one item; give one for each")
    if not given:
        raise BadInput("no answer was given: give labels, new_kind or cannot_tell")
    return found


def verdict(found: Comparison, crossed: Crossing) -> str:
    """Return in words which rule is better."""
    if found.better is not None:
        low, high = sorted((abs(found.saves_low), abs(found.saves_high)))
        return (
            f"the {found.better} is better: it saves {low:.1f} to {high:.1f} reviews in 100 "
            "documents"
        )
    if not crossed.disagreements and not found.answers:
        return "no difference: both rules decide all documents alike"
    if found.more is None:
        return "cannot tell yet: the answers so far favour neither rule"
    left = crossed.disagreements
    only = f", but there are only {left} disagreements" if found.more > left else ""
    about = "about" if found.answers else "at least"
    return f"cannot tell yet: {about} {found.more} more answers needed{only}"


# --- cost-weighted comparison of two rules -------------------------------------------------------

_PER = 100
_REVIEW = 1.0


@dataclass(frozen=True, slots=True)
class Answered:
    """A document with the labels of both rules and a person's answer.

    An `outcome` of None with `refuted` labels: the person said which labels are wrong, not which is
    right. `q` is the probability with which the document was sampled.
    """

    champion: str | None
    challenger: str | None
    outcome: Outcome | None
    truth: str | None = None
    refuted: frozenset[str] = frozenset()
    q: float = 1.0

    @property
    def differs(self) -> bool:
        """Return whether the two rules differ."""
        return self.champion != self.challenger

    def is_right(self, label: str | None) -> bool | None:
        """Return whether a label is right; None for no label, or where the answer is unknown."""
        if label is None or self.outcome is Outcome.CANNOT_TELL:
            return None
        if self.outcome is Outcome.LABEL:
            return label == self.truth or str(self.truth).startswith(label + LABEL_SEPARATOR)
        return False if self.outcome is Outcome.NEW_KIND or label in self.refuted else None

    def cost(self, label: str | None, wrong_costs: float) -> float | None:
        """Return the cost of a label, or of no label; None where it is unknown."""
        if label is None:
            return _REVIEW
        right = self.is_right(label)
        return None if right is None else 0.0 if right else wrong_costs

    def gain(self, wrong_costs: float) -> float:
        """Return the number of reviews that the challenger saves here; 0 where it is unknown."""
        costs = [self.cost(one, wrong_costs) for one in (self.champion, self.challenger)]
        return 0.0 if None in costs else float(costs[0] or 0.0) - float(costs[1] or 0.0)


@dataclass(frozen=True, slots=True)
class AnswerGains:
    """The answers to n disagreements as numbers, (n,) each, as in `PairedGains`.

    `rights` (n, 2) tells whether the champion and the challenger are right.
    """

    gains: Sequence[float] = ()
    least: Sequence[float] = ()
    most: Sequence[float] = ()
    q: Sequence[float] = ()
    rights: Sequence[Sequence[bool]] = field(default_factory=list)


def answer_gains(answered: Iterable[Answered], wrong_costs: float) -> AnswerGains:
    """Return the numbers of those answers on which the two rules differ."""
    differing = [one for one in answered if one.differs]
    ranges = [_gain_range(one, wrong_costs) for one in differing]
    return AnswerGains(
        gains=[one.gain(wrong_costs) for one in differing],
        least=[low for low, _ in ranges],
        most=[high for _, high in ranges],
        q=[one.q for one in differing],
        rights=[
            [bool(one.is_right(one.champion)), bool(one.is_right(one.challenger))]
            for one in differing
        ],
    )


def compare(known: AnswerGains, crossing: Crossing, wrong_costs: float) -> Comparison:
    """Return the result of answers to a random sample of the disagreements.

    The share of disagreements is known; the mean gain of one is estimated from the answers.
    """
    gains = paired_gains(known, wrong_costs)
    planned = gains if len(gains) else paired_gains(_at_best(crossing, wrong_costs), wrong_costs)
    per = _PER * crossing.disagreements / max(crossing.documents, 1)
    found = bounds(gains, CONFIDENCE) if len(gains) else Interval(-wrong_costs, wrong_costs)
    sign = favours(gains, CONFIDENCE) if len(gains) else 0
    only_champion = sum(first and not second for first, second in known.rights)
    only_challenger = sum(second and not first for first, second in known.rights)
    return Comparison(
        answers=len(gains),
        wins=int((gains.gains > 0).sum()),
        losses=int((gains.gains < 0).sum()),
        saves=_mean(gains.gains, gains.weights, per),
        saves_low=per * found.low,
        saves_high=per * found.high,
        better={1: "challenger", -1: "champion"}.get(sign),
        more=None if sign else more_needed(planned, CONFIDENCE),
        only_champion_right=only_champion,
        only_challenger_right=only_challenger,
        p_value=mcnemar(only_champion, only_challenger),
    )


def paired_gains(known: AnswerGains, wrong_costs: float) -> PairedGains:
    """Return the answers to disagreements as weighted gains in reviews."""
    columns = (known.gains, known.least, known.most, known.q)
    gains, least, most, q = (np.array(one, np.float64) for one in columns)
    unit = min(_REVIEW, wrong_costs - _REVIEW)
    return PairedGains(gains, least, most, 1 / q, unit=unit, scale=wrong_costs)


def side(
    labels: Sequence[str | None], answered: Sequence[Answered], labelled: int, documents: int
) -> Side:
    """Return the results of a rule that gives `labels` (m,) to the `answered` documents (m,).

    It labels `labelled` of all `documents`.
    """
    checked = [(one, one.is_right(label)) for one, label in zip(answered, labels, strict=True)]
    known = [(float(right), 1 / one.q) for one, right in checked if right is not None]
    precision, low, high = None, 0.0, 1.0
    if known:
        rights, weights = np.array(known).T
        zeros = np.zeros(len(known))
        precision = _mean(rights, weights, 1.0)
        found = bounds(
            PairedGains(rights, zeros, zeros + 1, weights, unit=1 / 64, scale=1.0), CONFIDENCE
        )
        low, high = found.low, found.high
    return Side(
        labelled=labelled,
        coverage=labelled / documents if documents else 0.0,
        right=sum(right is True for _, right in checked),
        wrong=sum(right is False for _, right in checked),
        null=sum(label is None for label in labels),
        precision=precision,
        low=low,
        high=high,
    )


def crossing(champion: NDArray[np.int32], challenger: NDArray[np.int32]) -> Crossing:
    """Return the cross table of two rules from their label codes (n,), −1 for no label."""
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
    """Return the rule whose decision cost less for a document; None for no difference."""
    gain = item.gain(wrong_costs)
    return None if gain == 0 else "challenger" if gain > 0 else "champion"


def _at_best(crossed: Crossing, wrong_costs: float) -> AnswerGains:
    """Return the best answer for the challenger to one disagreement of each type that occurs."""
    pairs: list[tuple[str | None, str | None]] = [("", "b")] * bool(crossed.different)
    pairs += [("", None)] * bool(crossed.only_champion)
    pairs += [(None, "")] * bool(crossed.only_challenger)
    unknown = answer_gains([Answered(*pair, outcome=None) for pair in pairs], wrong_costs)
    return replace(unknown, gains=unknown.most)


def _gain_range(one: Answered, wrong_costs: float) -> tuple[float, float]:
    """Return the lowest and the highest gain that an answer to a document can bring, in reviews."""
    if one.champion is None:
        return _REVIEW - wrong_costs, _REVIEW
    if one.challenger is None:
        return -_REVIEW, wrong_costs - _REVIEW
    return -wrong_costs, wrong_costs


def _mean(values: Vector, weights: Vector, factor: float) -> float | None:
    return float(factor * np.average(values, weights=weights)) if len(values) else None
