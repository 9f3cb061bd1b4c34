"""Decision rule of a field under the `precision` policy: the method, its basis and its gaps. Pure.

Items are classified on the neighbour graph (`landscape`). If there are too many items for it, the
`nearest` rule is used; if references do not distinguish labels, the field only suggests
(`suggest`). A field labels automatically only if an estimate meets the target precision, or within
what a certificate of random answers covers. Otherwise the rule says what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from lookalike.classifier.calibration.nearest_rule import Calibration, calibration_from
from lookalike.classifier.scores.hierarchy import MIN_LABELS

MIN_REFERENCES = 2
"""A reference is tested against the other references of its label, so each label needs two."""

MAX_ITEMS = 1_500_000
"""Beyond, building the neighbour graph takes half an hour and many GiB; it has been measured at a
million.

It holds 3 bytes × dimensions and about 1 KiB an item."""

QUICK_ITEMS = 200_000
"""With more items, read-only requests do not wait for a neighbour graph: the first decision builds
it."""

MAX_SCORES = 1_000_000_000
"""The most items times labels, all of which are compared when everything is decided. Each takes one
bit in memory: does the label reach the item?"""

EDITION = 5
"""The edition of the rule. Models of another edition, which has other features, are refitted."""

MIN_ACCURACY = 0.5
"""Below this leave-one-out accuracy the vectors cannot distinguish the labels."""


class Method(StrEnum):
    """The method by which a field classifies."""

    LANDSCAPE = "landscape"
    NEAREST = "nearest"
    SUGGEST = "suggest"


class Ground(StrEnum):
    """The basis on which a field labels automatically."""

    NONE = "none"
    """It only suggests."""

    ESTIMATE = "estimate"
    """The mean probability of the labelled items reaches the target precision."""

    CERTIFICATE = "certificate"
    """Random answers prove the target precision, at 90 % confidence."""


@dataclass(frozen=True, slots=True)
class DecisionRule:
    """The current decision rule, its threshold, and what is missing for a better one.

    `limit` is the threshold, `limits` those of labels with their own target, and of parents.
    `certified` is True if a certificate set `limit`. `nodes_upto` is the last document in the
    neighbour graph; later ones are out-of-graph items. `learned` is the `Confidence` as JSON
    values, fitted on `learned_from` answers, of which `moved` have changed since, under that
    `version` of the taxonomy. `weights` are those of the members of a combined space, fitted on
    `weighed_from` references. `edition` is that of the rule. `suspects` are references, by document
    pk, whose label looks wrong: they are not used until somebody changes or confirms the label.
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
        """Return the basis on which the field labels automatically."""
        if self.limit is None or min([self.limit, *self.limits.values()]) > 1:
            return Ground.NONE
        return Ground.CERTIFICATE if self.certified else Ground.ESTIMATE


def method_for(counts: Sequence[int], items: int) -> tuple[Method, tuple[str, ...]]:
    """Return the method for these reference counts per label and number of items, and what is
    missing.
    """
    usable = sum(count >= MIN_REFERENCES for count in counts)
    if usable < MIN_LABELS:
        return Method.SUGGEST, (
            f"{MIN_LABELS} labels with {MIN_REFERENCES} references each (has {usable})",
        )
    if items > MAX_ITEMS or items * len(counts) > MAX_SCORES:
        return Method.NEAREST, (
            f"{items} items with {len(counts)} labels are too many for the neighbour graph, which "
            f"labels most: it takes up to {MAX_ITEMS} items and {MAX_SCORES} items times labels",
        )
    return Method.LANDSCAPE, ()


def too_alike(accuracy: float) -> str:
    """Return the message that leave-one-out accuracy is too low to label anything."""
    return (
        f"the vectors separate your labels in only {accuracy:.0%} of leave-one-out trials; "
        "another extractor may do better"
    )


def uncounted(labels: int, more: int) -> str:
    """Return the message that too few labels bound the share of new items, and the remedy: `more`
    checks.
    """
    return (
        f"{labels} labels are too few to estimate the share of unknown categories: check {more} "
        "documents, or declare that there are no other labels (closed_set)"
    )


def unmeasured(more: int) -> str:
    """Return the message that too few answers are random samples where a queue picked most."""
    return f"too few answers to random samples: check {more} more documents"


def suspected(references: int) -> str:
    """Return the message that labels look wrong and are not used, and the remedy."""
    look, them = ("label looks wrong and is", "it")
    if references > 1:
        look, them = "labels look wrong and are", "them"
    return f"{references} {look} not used until you confirm {them}: the queue asks about {them}"


def estimated(more: int) -> str:
    """Return the message that the share of new items is only an estimate, and the remedy: `more`
    answers.
    """
    return (
        f"the share of unknown categories is estimated: {more} more random answers will measure it"
    )


def out_of_reach(target: float, answers: int, labels: int, drawn_missing: int) -> str:
    """Return the message that the target cannot be met yet, and the remedy."""
    return (
        f"{answers} answers over {labels} labels cannot prove a precision of {target:.0%} yet: "
        f"about {drawn_missing} more random answers if all are right, or more labels and references"
    )


def decision_rule_to(decision_rule: DecisionRule) -> dict[str, Any]:
    """Return a decision rule as JSON values; `decision_rule_from` reads them back exactly."""
    # `learned` holds JSON values already and is large: do not copy it.
    parts = {part.name: getattr(decision_rule, part.name) for part in fields(decision_rule)}
    return parts | {"nearest": decision_rule.nearest and asdict(decision_rule.nearest)}


def renamed(stored: Mapping[str, Any] | None, names: Mapping[str, str]) -> dict[str, Any] | None:
    """Return a decision rule (JSON values) with labels renamed, no two of them to the same name.

    Parents are among the names; the label hierarchy stays the same.
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
    """Return the confidence with labels renamed, its columns reordered: they are sorted by
    label.
    """
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


def current_decision_rule(stored: Mapping[str, Any] | None) -> DecisionRule | None:
    """Return the stored decision rule, or None if another edition of the rule made it."""
    decision_rule = decision_rule_from(stored)
    return decision_rule if decision_rule and decision_rule.edition == EDITION else None


def decision_rule_from(stored: Mapping[str, Any] | None) -> DecisionRule | None:
    """Return the decision rule that `decision_rule_to` wrote."""
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
