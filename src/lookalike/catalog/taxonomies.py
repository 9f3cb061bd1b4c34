"""Taxonomies as resources: rules with a name and versions, and what happens when one is attached.

A taxonomy says which field it fills, by whose labels, and when it is sure enough. Attached to a
collection it is one label field, or several.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lookalike.catalog.reader import FieldRow, fields_of
from lookalike.catalog.resources import CollectionRow, Kind, collection_from, find, listed, named
from lookalike.catalog.retrievers import Searching, requires_labels, stages_of
from lookalike.catalog.rules import Rule, taxonomy_of
from lookalike.catalog.vocabulary import LabelSet
from lookalike.errors import BadInput, Conflict
from lookalike.model import Taxonomy
from lookalike.stores.base import Snapshot

_DEFAULT_TOP_K = 10
_FEWEST = 2


@dataclass(frozen=True, slots=True)
class Spec:
    """What a taxonomy says.

    `fields` are the label fields that it fills, with the field of the reference that each is taken
    from; `enrich` is copied from the matched reference along with them. `reference` names the
    collection whose labels vote; where it is not said, that of the `retriever`, or the collection
    that the taxonomy is attached to. `path_field` tells that labels are paths, parted by
    `separator` in what is said, and always by ` > ` in what is shown. `exclusive`,
    `low_quality` and `hierarchical` are those of `Taxonomy`.
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
        """Return what it says of labels. Raises BadInput for labels of several fields at once."""
        if self.labels is not None and len(self.fields) > 1:
            raise BadInput(
                f"the taxonomy fills {', '.join(self.fields)}: say the labels of one field alone"
            )
        return LabelSet.of(self.labels, self.closed_set)


@dataclass(frozen=True, slots=True)
class TaxonomyRow:
    """A taxonomy as the store holds it; `versions` are its specs, the newest one last."""

    pk: int
    name: str
    versions: tuple[tuple[Spec, float], ...]
    about: Mapping[str, Any]
    created_at: float

    @property
    def spec(self) -> Spec:
        """Return what the newest version says."""
        return self.versions[-1][0]


def taxonomy_row(row: Any) -> TaxonomyRow:
    """Return the taxonomy that a row of `resource` is."""
    versions = tuple((_spec_from(one["spec"]), one["at"]) for one in row.spec["versions"])
    return TaxonomyRow(row.pk, row.name, versions, row.spec.get("about") or {}, row.created_at)


def stored(versions: Sequence[tuple[Spec, float]], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec of a row of `resource`; `taxonomy_row` reads it back."""
    written = [
        {"spec": asdict(spec) | {"enrich": list(spec.enrich)}, "at": at} for spec, at in versions
    ]
    return {"versions": written, "about": dict(about)}


def reference_of(snapshot: Snapshot, namespace: str, spec: Spec, own: str) -> str:
    """Return the name of the collection whose labels vote for one that is called `own`.

    Raises NotFound for an unknown retriever, Conflict for a collection that is not there yet, and
    BadInput for a retriever that chooses references by more than that they have a label.
    """
    name = spec.reference
    if spec.retriever is not None:
        retriever = named(snapshot, namespace, Kind.RETRIEVER, spec.retriever)
        if not requires_labels(stages_of(retriever.spec["stages"])):
            raise BadInput(
                f"the retriever {retriever.name!r} filters by more than that a label is there, and "
                "a taxonomy asks all references; take the other conditions out"
            )
        name = name or next(iter(retriever.spec["collections"]), None)
    if name is None or name.removeprefix(Kind.COLLECTION.prefix) == own:
        return own
    row = find(snapshot, namespace, Kind.COLLECTION, name)
    if row is None:
        raise Conflict(f"there is no collection {name!r} yet to take labels from; make it first")
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
        rule = Rule(
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
    """Return the label fields of a curated collection: all of them are taken over."""
    if reference == own:
        return {}
    curated = collection_from(named(snapshot, namespace, Kind.COLLECTION, reference))
    return {one.name: one.name for one in fields_of(snapshot, curated.pk)}


def _searched(snapshot: Snapshot, namespace: str, spec: Spec) -> tuple[int, float | None]:
    """Return how many references are asked, and from which similarity on."""
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
