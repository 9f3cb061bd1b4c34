"""Trials: two rules of a label field, and what the answers tell of which is better. Pure.

What a decision costs is counted in reviews, as in `costs`: a right label nothing, a null one
review, a wrong label as much as `wrong_costs` reviews. A parent of the right label is right. The
rule that costs less is better. Only documents on which the two decide otherwise can tell, so only
these are asked about, as in McNemar's test; but each is a bet, by what was at stake.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from lookalike.catalog.rules import check_share, check_target, check_targets
from lookalike.errors import BadInput
from lookalike.labels import check_label

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
