"""What a field decides by under `precision`, on what ground, and what is missing for more. Pure.

Items are judged by the **landscape** rule; where there are too many for it the **nearest** rule
stands in, and without references that tell labels apart the field only **suggests**. Whether it
labels by itself is another question: only on an estimate that holds the promise, or on what a
certificate of random answers covers. Otherwise it says what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from lookalike.classifier.calibration.nearest_rule import Calibration, calibration_from
from lookalike.classifier.scores.hierarchy import MIN_LABELS

MIN_REFERENCES = 2
"""A label's reference is judged by the others."""

MAX_ITEMS = 1_500_000
"""Beyond, the landscape takes half an hour and many GiB; it has been measured at a million.

It holds 3 bytes × dimensions and about 1 KiB an item.
"""

QUICK_ITEMS = 200_000
"""Of more, who only asks does not wait for a landscape: the first decision makes it."""

MAX_SCORES = 1_000_000_000
"""Items times labels, all of which are compared when everything is decided; of each a bit is held:
is the label heard there?
"""

EDITION = 5
"""The edition of the rule. What another one learned, by other features, is learned anew."""

MIN_ACCURACY = 0.5
"""Below this leave-one-out accuracy the vectors cannot tell the labels apart."""


class Method(StrEnum):
    """By what a field judges."""

    LANDSCAPE = "landscape"
    NEAREST = "nearest"
    SUGGEST = "suggest"


class Ground(StrEnum):
    """On what ground a field labels by itself."""

    NONE = "none"
    """It only suggests."""

    ESTIMATE = "estimate"
    """The mean probability of what is labelled reaches the target."""

    CERTIFICATE = "certificate"
    """Random answers prove the target, at 90 % confidence."""


@dataclass(frozen=True, slots=True)
class DecisionRule:
    """The rule in force, its limit, and what is missing to label by itself (or better).

    `limits` are those of labels that have a target of their own, and of parents. `certified` tells
    that `limit` is a certificate's. `nodes_upto` is the last document of the landscape's graph;
    later ones are leaves of it. `learned` is the confidence of the landscape rule as JSON values,
    learned from so many answers (`learned_from`), of which `moved` have changed since, under that
    `version` of the taxonomy. `weights` are those of the members of a combined space, chosen on so
    many references (`weighed_from`). `edition` is that of the rule. `suspects` are references, by
    document pk, whose label looks wrong: while they have it and nobody confirms it they do not
    vote.
    """

    rule: Method
    missing: tuple[str, ...] = ()
    limit: float | None = None
    new_share: float | None = None
    accuracy: float | None = None
    nodes_upto: int = 0
    nearest: Calibration | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    certified: bool = False
    learned: Mapping[str, Any] | None = None
    learned_from: int = 0
    moved: int = 0
    version: int = 0
    weights: tuple[float, ...] = ()
    weighed_from: int = 0
    edition: int = EDITION
    suspects: tuple[tuple[int, str], ...] = ()

    @property
    def ground(self) -> Ground:
        """Return on what ground the field labels by itself."""
        if self.limit is None or min([self.limit, *self.limits.values()]) > 1:
            return Ground.NONE
        return Ground.CERTIFICATE if self.certified else Ground.ESTIMATE


def method_for(counts: Sequence[int], items: int) -> tuple[Method, tuple[str, ...]]:
    """Return by what references per label and the number of items let judge, and what lacks."""
    able = sum(count >= MIN_REFERENCES for count in counts)
    if able < MIN_LABELS:
        return Method.SUGGEST, (f"{able} of {MIN_LABELS} labels with {MIN_REFERENCES} references",)
    if items > MAX_ITEMS or items * len(counts) > MAX_SCORES:
        return Method.NEAREST, (
            f"{items} items with {len(counts)} labels are too many for the rule that labels most: "
            f"it takes up to {MAX_ITEMS} items and {MAX_SCORES} items times labels",
        )
    return Method.LANDSCAPE, ()


def too_alike(accuracy: float) -> str:
    """Say that leave-one-out accuracy is too low to label anything."""
    return (
        f"these vectors tell your labels apart in {accuracy:.0%} of leave-one-out trials; "
        "another extractor may do better"
    )


def uncounted(labels: int, more: int) -> str:
    """Say that too few labels tell how much is new, and that a check of `more` documents would."""
    return (
        f"{labels} labels do not tell how much is new: check {more} documents, or say that these "
        "are all the labels there are (closed_set)"
    )


def unmeasured(more: int) -> str:
    """Say that too few answers are a random sample, beside those that the queue picked."""
    return f"nobody has checked what would be labelled: check {more} more documents"


def suspected(references: int) -> str:
    """Say that labels look wrong, that they do not vote, and what would mend it."""
    one = references == 1
    looks, votes = ("label looks", "does") if one else ("labels look", "do")
    return (
        f"{references} {looks} wrong and {votes} not count until you look at "
        f"{'it' if one else 'them'}: the queue asks about {'it' if one else 'them'}"
    )


def estimated(more: int) -> str:
    """Say that nobody has counted how much is new, and how many `more` random answers would."""
    return f"how much is new is only an estimate: {more} more random answers until that is counted"


def out_of_reach(target: float, answers: int, labels: int, drawn_missing: int) -> str:
    """Say that a target cannot be promised yet, and what would let it be."""
    return (
        f"{answers} answers over {labels} labels cannot promise {target:.0%} yet: about "
        f"{drawn_missing} more random answers, if all goes well, or more labels and references"
    )


def decision_rule_to(standard: DecisionRule) -> dict[str, Any]:
    """Return a standard as JSON values; `decision_rule_from` reads them back exactly."""
    # What was learned is of JSON values already, and there is much of it: no copy of that.
    parts = {part.name: getattr(standard, part.name) for part in fields(standard)}
    return parts | {"nearest": standard.nearest and asdict(standard.nearest)}


def renamed(stored: Mapping[str, Any] | None, names: Mapping[str, str]) -> dict[str, Any] | None:
    """Return a standard (JSON values) of which labels have other names; none becomes another's.

    Parents are among the names, and the tree stays as it is.
    """
    if stored is None:
        return None
    limits = {names.get(label, label): limit for label, limit in stored["limits"].items()}
    suspects = [[pk, names.get(label, label)] for pk, label in stored.get("suspects", ())]
    after = {**stored, "limits": limits, "suspects": suspects}
    if stored["learned"] is None:
        return after
    return after | {"learned": _renamed(stored["learned"], names)}


def _renamed(learned: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return what was learned: it is by label in the order of names, so columns change places."""
    labels = [names.get(label, label) for label in learned["labels"]]
    order = sorted(range(len(labels)), key=labels.__getitem__)
    sight = dict(learned["sight"])
    sight["typical"] = [[*(row[place] for place in order), row[-1]] for row in sight["typical"]]
    if "quiet" in sight:
        sight["quiet"] = sorted(order.index(column) for column in sight["quiet"])
    above = {"above": _renamed(learned["above"], names)} if "above" in learned else {}
    return {
        **learned,
        "labels": [labels[place] for place in order],
        "limits": [learned["limits"][place] for place in order],
        "sight": sight,
        **above,
    }


def decision_rule_in_force(stored: Mapping[str, Any] | None) -> DecisionRule | None:
    """Return the standard that is stored, unless another edition of the rule made it."""
    standard = decision_rule_from(stored)
    return standard if standard and standard.edition == EDITION else None


def decision_rule_from(stored: Mapping[str, Any] | None) -> DecisionRule | None:
    """Return the standard that `decision_rule_to` wrote."""
    if stored is None:
        return None
    parts = {
        "rule": Method(stored["rule"]),
        "missing": tuple(stored["missing"]),
        "weights": tuple(stored.get("weights", ())),
        "suspects": tuple((pk, label) for pk, label in stored.get("suspects", ())),
        "nearest": calibration_from(stored["nearest"]),
        "edition": stored.get("edition", 1),
    }
    return DecisionRule(**{**stored, **parts})
