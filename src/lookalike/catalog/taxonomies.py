"""Taxonomies as resources: named, versioned rules, and how they are attached to collections.

A taxonomy defines which field it fills, which references it uses, and its decision policy. Attached
to a collection it becomes one or more label fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lookalike.catalog.reader import FieldRow, fields_of
from lookalike.catalog.resources import CollectionRow, Kind, collection_from, find, listed, named
from lookalike.catalog.retrievers import Searching, requires_labels, stages_of
from lookalike.catalog.vocabulary import LabelSet
from lookalike.errors import BadInput, Conflict
from lookalike.labels import check_label
from lookalike.model import Taxonomy
from lookalike.stores.base import Snapshot

# --- rule arguments to a taxonomy ----------------------------------------------------------------

POLICY = ("confidence_threshold", "target_precision", "targets", "hierarchical")
"""The parts of a rule that a later run may change."""

DEFAULT_PRECISION = 0.95
"""The default target precision of automatic labels."""


@dataclass(frozen=True, slots=True)
class RuleArguments:
    """A user's arguments for a field's rule; None means not given. See `Taxonomy`."""

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


def taxonomy_of(collection: str, field: str, rule: RuleArguments) -> Taxonomy:
    """Return the taxonomy of a new field. Raises BadInput for an invalid value, naming it."""
    if not 2 <= rule.top_k <= 100:
        raise BadInput(f"top_k is {rule.top_k}; use 2 to 100")
    if rule.exclusive not in (None, "", "image"):
        raise BadInput(f"exclusive is {rule.exclusive!r}; give 'image', or leave it out")
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


def check_rule(collection: str, known: Taxonomy, rule: RuleArguments) -> None:
    """Raise Conflict if a rule would change what is fixed in an existing field."""
    for name in ("exclusive", "low_quality"):
        current, given = getattr(known, name), getattr(rule, name)
        if given not in (None, current):
            raise Conflict(
                f"the field {known.field!r} of {collection!r} has {name} {current!r}, which cannot "
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
    """Return the taxonomy of a field with another policy; None changes nothing.

    Raises BadInput for an invalid value, naming it.
    """
    if confidence_threshold is not None:
        if target_precision is not None or targets is not None:
            raise BadInput("give either a confidence_threshold or a target precision, not both")
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
    """Return the taxonomy of a field with the policy of another one."""
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
    """Return target precisions by label. Raises BadInput for an invalid one."""
    return {check_label(label): check_target(value) for label, value in sorted(targets.items())}


def check_target(value: float) -> float:
    """Return a target precision. Raises BadInput outside 0 < value ≤ 1."""
    if not 0 < value <= 1:
        raise BadInput(
            f"{value} is not a target precision: give a number above 0, up to 1, such as 0.95"
        )
    return float(value)


def check_share(value: float) -> float:
    """Return a threshold. Raises BadInput outside −1 … 1."""
    if not -1 <= value <= 1:
        raise BadInput(f"{value} is not a threshold: give a number between 0 and 1, such as 0.95")
    return float(value)


# -------------------------------------------------------------------------------------------------

_DEFAULT_TOP_K = 10
_FEWEST = 2


@dataclass(frozen=True, slots=True)
class Spec:
    """The definition of a taxonomy.

    `fields` are the label fields that it fills, each with the field of the reference collection it
    comes from; `enrich` lists metadata to copy from the matched reference. `reference` names the
    reference collection; if not given, that of the `retriever`, or the collection that the taxonomy
    is attached to. With `path_field` labels are paths, separated by `separator` in input and always
    by ` > ` in output. `exclusive`, `low_quality` and `hierarchical` are those of `Taxonomy`.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    reference: str | None = None
    retriever: str | None = None
    confidence_threshold: float | None = None
    target_precision: float | None = None
    targets: Mapping[str, float] | None = None
    top_k: int | None = None
    enrich: tuple[str, ...] = ()
    path_field: str | None = None
    separator: str = ">"
    exclusive: str | None = None
    low_quality: bool | None = None
    hierarchical: bool | None = None
    closed_set: bool | None = None
    labels: Mapping[str, str | None] | None = None

    @property
    def label_set(self) -> LabelSet:
        """Return its label set. Raises BadInput for labels with several fields."""
        if self.labels is not None and len(self.fields) > 1:
            raise BadInput(
                f"the taxonomy fills {', '.join(self.fields)}: say the labels of one field alone"
            )
        return LabelSet.of(self.labels, self.closed_set)


@dataclass(frozen=True, slots=True)
class TaxonomyRow:
    """A taxonomy in the store; `versions` are its specs, newest last."""

    pk: int
    name: str
    versions: tuple[tuple[Spec, float], ...]
    about: Mapping[str, Any]
    created_at: float

    @property
    def spec(self) -> Spec:
        """Return the newest spec."""
        return self.versions[-1][0]


def taxonomy_row(row: Any) -> TaxonomyRow:
    """Return the taxonomy of a row of `resource`."""
    versions = tuple((_spec_from(one["spec"]), one["at"]) for one in row.spec["versions"])
    return TaxonomyRow(row.pk, row.name, versions, row.spec.get("about") or {}, row.created_at)


def stored(versions: Sequence[tuple[Spec, float]], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec of a row of `resource`; `taxonomy_row` reads it."""
    written = [
        {"spec": asdict(spec) | {"enrich": list(spec.enrich)}, "at": at} for spec, at in versions
    ]
    return {"versions": written, "about": dict(about)}


def reference_of(snapshot: Snapshot, namespace: str, spec: Spec, own: str) -> str:
    """Return the name of the reference collection for a collection called `own`.

    Raises NotFound for an unknown retriever, Conflict for a collection that does not exist yet, and
    BadInput for a retriever that filters references by anything else than having a label.
    """
    name = spec.reference
    if spec.retriever is not None:
        retriever = named(snapshot, namespace, Kind.RETRIEVER, spec.retriever)
        if not requires_labels(stages_of(retriever.spec["stages"])):
            raise BadInput(
                f"the retriever {retriever.name!r} filters by more than having a label, and "
                "a taxonomy asks all references; take the other conditions out"
            )
        name = name or next(iter(retriever.spec["collections"]), None)
    if name is None or name.removeprefix(Kind.COLLECTION.prefix) == own:
        return own
    row = find(snapshot, namespace, Kind.COLLECTION, name)
    if row is None:
        raise Conflict(f"there is no collection {name!r} to take labels from yet; create it first")
    return str(row.name)


def rules_of(snapshot: Snapshot, namespace: str, name: str, spec: Spec, own: str) -> list[Taxonomy]:
    """Return the rule of each label field that a taxonomy fills in the collection `own`."""
    reference = reference_of(snapshot, namespace, spec, own)
    fields = spec.fields or _fields_of(snapshot, namespace, reference, own)
    if not fields:
        raise BadInput(f"the taxonomy {name!r} does not say which field it fills")
    top_k, floor = _searched(snapshot, namespace, spec)
    threshold = spec.confidence_threshold
    if threshold is not None and floor is not None:
        threshold = max(threshold, floor)
    rules = []
    for target, source in fields.items():
        rule = RuleArguments(
            reference=None if reference == own else reference,
            confidence_threshold=threshold,
            target_precision=spec.target_precision,
            top_k=top_k,
            enrich=spec.enrich,
            reference_field=target if reference == own else source,
            targets=spec.targets,
            separator=spec.separator,
            exclusive=spec.exclusive,
            low_quality=spec.low_quality,
            hierarchical=spec.hierarchical,
        )
        rules.append(replace(taxonomy_of(own, target, rule), taxonomy=name))
    return rules


def attached_to(
    snapshot: Snapshot, namespace: str, taxonomy: str
) -> list[tuple[CollectionRow, FieldRow]]:
    """Return the label fields that a taxonomy fills, with their collections."""
    rows = [collection_from(row) for row in listed(snapshot, namespace, Kind.COLLECTION)]
    return [
        (row, one)
        for row in rows
        for one in fields_of(snapshot, row.pk)
        if one.taxonomy.taxonomy == taxonomy
    ]


def _fields_of(snapshot: Snapshot, namespace: str, reference: str, own: str) -> dict[str, str]:
    """Return the label fields of a curated collection, all of which are used."""
    if reference == own:
        return {}
    curated = collection_from(named(snapshot, namespace, Kind.COLLECTION, reference))
    return {one.name: one.name for one in fields_of(snapshot, curated.pk)}


def _searched(snapshot: Snapshot, namespace: str, spec: Spec) -> tuple[int, float | None]:
    """Return the number of references to search, and the minimum similarity."""
    top_k, floor = spec.top_k, None
    if spec.retriever is not None:
        retriever = named(snapshot, namespace, Kind.RETRIEVER, spec.retriever)
        for stage in stages_of(retriever.spec["stages"]):
            if isinstance(stage, Searching):
                top_k = top_k or stage.top_k
                floor = stage.queries[0].floor if stage.queries else None
    wanted = _DEFAULT_TOP_K if top_k is None or top_k < _FEWEST else top_k
    return min(wanted, 100), floor


def _spec_from(raw: Mapping[str, Any]) -> Spec:
    return Spec(**{**raw, "enrich": tuple(raw["enrich"])})
