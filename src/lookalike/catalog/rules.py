"""The rule of a label field, as a user says it: made into a taxonomy, compared with one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from lookalike.errors import BadInput, Conflict
from lookalike.labels import check_label
from lookalike.model import Taxonomy

POLICY = ("confidence_threshold", "target_precision", "targets", "hierarchical")
"""What of a rule a field may follow otherwise later, by a run."""

DEFAULT_PRECISION = 0.95
"""The share of automatic labels that must be right, unless told."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a user says of a field's rule; None is not said. `Taxonomy` tells what each means."""

    reference: str | None = None
    confidence_threshold: float | None = None
    target_precision: float | None = None
    top_k: int = 10
    enrich: tuple[str, ...] = ()
    reference_field: str | None = None
    targets: Mapping[str, float] | None = None
    separator: str = ">"
    exclusive: str | None = None
    low_quality: bool | None = None
    hierarchical: bool | None = None


def taxonomy_of(collection: str, field: str, rule: Rule) -> Taxonomy:
    """Return the taxonomy of a new field. Raises BadInput for an impossible value, naming it."""
    if not 2 <= rule.top_k <= 100:
        raise BadInput(f"top_k is {rule.top_k}; use 2 to 100")
    if rule.exclusive not in (None, "", "image"):
        raise BadInput(f"exclusive is {rule.exclusive!r}; say 'image', or leave it away")
    threshold, target = rule.confidence_threshold, rule.target_precision
    return Taxonomy(
        field=check_label(field),
        reference=rule.reference or collection,
        reference_field=rule.reference_field or field,
        confidence_threshold=None if threshold is None else check_share(threshold),
        target_precision=check_target(DEFAULT_PRECISION if target is None else target),
        top_k=rule.top_k,
        enrich=tuple(rule.enrich),
        targets=check_targets(rule.targets or {}),
        separator=rule.separator,
        exclusive=rule.exclusive or "",
        low_quality=bool(rule.low_quality),
        hierarchical=rule.hierarchical is not False,
    )


def check_rule(collection: str, known: Taxonomy, rule: Rule) -> None:
    """Raise Conflict where a rule asks of a field that is there what cannot change."""
    for name in ("exclusive", "low_quality"):
        now, said = getattr(known, name), getattr(rule, name)
        if said not in (None, now):
            raise Conflict(
                f"the field {known.field!r} of {collection!r} has {name} {now!r}, which cannot "
                "change; choose another field name"
            )
    other = rule.reference not in (None, known.reference)
    if other or (rule.enrich and rule.enrich != known.enrich):
        raise Conflict(
            f"the field {known.field!r} of {collection!r} refers to {known.reference!r} and copies "
            f"{list(known.enrich)}, which cannot change; choose another field name"
        )


def rule_of(
    known: Taxonomy,
    confidence_threshold: float | None,
    target_precision: float | None,
    targets: Mapping[str, float] | None,
    hierarchical: bool | None = None,
    closed_set: bool | None = None,
) -> Taxonomy:
    """Return the taxonomy of a field that follows another policy from now on; None changes nothing.

    Raises BadInput for an impossible value, naming it.
    """
    if confidence_threshold is not None:
        if target_precision is not None or targets is not None:
            raise BadInput("a confidence_threshold is one rule, a target another: give one of them")
        after = replace(known, confidence_threshold=check_share(confidence_threshold))
    else:
        after = known
        if target_precision is not None:
            target = check_target(target_precision)
            after = replace(after, confidence_threshold=None, target_precision=target)
        if targets is not None:
            after = replace(after, confidence_threshold=None, targets=check_targets(targets))
    if hierarchical is not None:
        after = replace(after, hierarchical=hierarchical)
    if closed_set is not None:
        after = replace(after, closed_set=closed_set)
    return known if after == known else replace(after, version=known.version + 1)


def with_policy_of(known: Taxonomy, other: Taxonomy) -> Taxonomy:
    """Return the taxonomy of a field that follows the policy of another one from now on."""
    after = replace(
        known,
        confidence_threshold=other.confidence_threshold,
        target_precision=other.target_precision,
        targets=other.targets,
        top_k=other.top_k,
        hierarchical=other.hierarchical,
        closed_set=other.closed_set,
    )
    return known if after == known else replace(after, version=known.version + 1)


def check_targets(targets: Mapping[str, float]) -> dict[str, float]:
    """Return the targets of labels that have their own. Raises BadInput for an impossible one."""
    return {check_label(label): check_target(value) for label, value in sorted(targets.items())}


def check_target(value: float) -> float:
    """Return a target, a share of right labels. Raises BadInput where it is not 0 to 1, or is 0."""
    if not 0 < value <= 1:
        raise BadInput(f"{value} is no target: give a number above 0, up to 1, such as 0.95")
    return float(value)


def check_share(value: float) -> float:
    """Return a limit or target. Raises BadInput outside −1 … 1."""
    if not -1 <= value <= 1:
        raise BadInput(f"{value} is no limit: give a number between 0 and 1, such as 0.95")
    return float(value)
