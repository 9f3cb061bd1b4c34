"""The JSON shapes of taxonomies, inline or as resources, and attaching them to collections."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
from typing import Any, ClassVar, Literal

from pydantic import Field
from sqlalchemy import select

from lookalike.catalog.filters import check_field
from lookalike.catalog.reader import FieldRow, fields_of
from lookalike.catalog.resources import CollectionRow, Kind, find, make, named
from lookalike.catalog.tasks import TaskKind, request_task
from lookalike.catalog.taxonomies import (
    Spec,
    TaxonomyRow,
    attached_to,
    rules_of,
    stored,
    taxonomy_row,
)
from lookalike.catalog.vocabulary import LabelSet, shown_labels
from lookalike.errors import BadInput, Conflict
from lookalike.labels import check_label
from lookalike.library.create import attach
from lookalike.library.versions import listed
from lookalike.model import LABEL_SEPARATOR, Taxonomy
from lookalike.server.context import Context
from lookalike.server.shapes import Body, Reply
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn

# --- bodies --------------------------------------------------------------------------------------

Share = float | None


class EnrichmentField(Body):
    """A field to copy from the reference, and its name in the document."""

    field_path: str
    target_field: str | None = None
    merge_mode: Literal["replace", "append"] | None = None

    @property
    def names(self) -> tuple[str, str]:
        """Return the name in the document and the one in the reference."""
        source = _bare(self.field_path)
        return _bare(self.target_field or source), source


class SourceCollection(Body):
    """The collection with the references, and the fields to copy from them."""

    collection_id: str | None = None
    enrichment_fields: list[EnrichmentField | str] | None = None


class InputMapping(Body):
    """The input of a search; a taxonomy searches by the document's own vector."""

    input_key: str
    source_type: str | None = None
    path: str | None = None
    override: Any = None


class Rules(Body):
    """The policy of a taxonomy, and its labels.

    With `confidence_threshold` the similarity must reach it. Otherwise the threshold follows from
    `target_precision`, or for a label from its own in `targets`. `labels` declares labels: names,
    or descriptions by name; with `closed_set` there can be no others.
    """

    confidence_threshold: float | None = Field(None, ge=-1, le=1)
    target_precision: float | None = Field(None, gt=0, le=1)
    targets: dict[str, float] | None = None
    top_k: int | None = Field(None, ge=1, le=1000)
    closed_set: bool | None = None
    labels: list[str] | dict[str, str | None] | None = None

    @property
    def named_labels(self) -> dict[str, str | None] | None:
        """Return the labels, each with its description or None."""
        named = LabelSet.of(self.labels, None).labels
        return None if named is None else dict(named)


class TaxonomyConfig(Rules):
    """The configuration of a taxonomy resource.

    A `flat` one never gives a parent's label. The default is `hierarchical`, which makes a
    difference only for labels that are paths.
    """

    idle: ClassVar = frozenset(
        {
            *("llm_sample_size", "cluster_overlap_threshold", "inference_strategy", "step_size"),
            *("inference_type", "inference_collections"),
        }
    )
    taxonomy_type: Literal["flat", "hierarchical"] | None = None
    retriever_id: str | None = None
    input_mappings: list[InputMapping] | dict[str, str] | None = None
    source_collection: SourceCollection | None = None
    field_to_enrich: str | list[str] | None = None
    enrich: list[str] | None = None
    path_field: str | None = None
    path_separator: str | None = None
    hierarchical_nodes: list[Any] | None = None
    exclusive: Literal["image"] | None = None
    low_quality: bool | None = None

    def spec(self) -> Spec:
        """Return the specification. Raises BadInput for options that are not supported."""
        if self.hierarchical_nodes:
            raise BadInput(
                "hierarchical_nodes are not supported: give labels that are paths, such as "
                "'Shoes > Running', and their field as path_field"
            )
        source = self.source_collection or SourceCollection()
        given = [
            EnrichmentField(field_path=one) if isinstance(one, str) else one
            for one in source.enrichment_fields or ()
        ]
        named = [one.names for one in given]
        fields = {name: name for name in _listed(self.field_to_enrich)}
        if not fields and self.path_field:
            fields = {_bare(self.path_field): _bare(self.path_field)}
        if not fields:
            fields = dict(named[:1])
        rest = [target for target, _ in named if target not in fields]
        enrich = tuple(dict.fromkeys([*(self.enrich or ()), *rest]))
        for field in (*fields, *enrich):
            check_field(field)
        return Spec(
            fields=fields,
            reference=source.collection_id,
            retriever=self.retriever_id,
            confidence_threshold=self.confidence_threshold,
            target_precision=self.target_precision,
            targets=self.targets,
            top_k=self.top_k,
            enrich=enrich,
            path_field=self.path_field,
            separator=self.path_separator or ("/" if self.path_field else ">"),
            exclusive=self.exclusive,
            low_quality=self.low_quality,
            hierarchical=None if self.taxonomy_type is None else self.taxonomy_type != "flat",
            closed_set=self.closed_set,
            labels=self.named_labels,
        )


class InlineTaxonomy(Rules):
    """A taxonomy in the body of a collection; without a retriever it uses its own references."""

    retriever_id: str | None = None
    taxonomy_id: str | None = None
    field_to_enrich: str | list[str] | None = None
    enrichment_fields: list[EnrichmentField | str] | None = None
    enrich: list[str] | None = None
    reference_collection: str | None = None
    source_collection: SourceCollection | None = None
    taxonomy_type: Literal["flat", "hierarchical"] | None = None
    path_field: str | None = None
    path_separator: str | None = None
    exclusive: Literal["image"] | None = None
    low_quality: bool | None = None

    def spec(self) -> Spec:
        """Return the specification."""
        source = self.source_collection or SourceCollection(collection_id=self.reference_collection)
        if source.enrichment_fields is None:
            source.enrichment_fields = self.enrichment_fields
        shared = TaxonomyConfig.model_fields.keys() & type(self).model_fields.keys()
        values = {name: getattr(self, name) for name in shared} | {"source_collection": source}
        return TaxonomyConfig(**values).spec()


class Application(Rules):
    """A taxonomy that is attached to a collection."""

    idle: ClassVar = frozenset({"execution_phase", "priority", "target_collection_id"})
    taxonomy_id: str
    execution_mode: Literal["materialize"] | None = None
    scroll_filters: Any = None


def _listed(names: str | list[str] | None) -> list[str]:
    given = [names] if isinstance(names, str) else names or []
    return [_bare(name) for name in given]


def _bare(path: str) -> str:
    return path.removeprefix("metadata.").removeprefix("payload.")


# -------------------------------------------------------------------------------------------------

_THRESHOLDS = {"confidence_threshold", "target_precision", "targets"}
_LABEL_SET = {"closed_set", "labels"}

INLINE = "inline"
"""The key in `about` with the collection of an inline taxonomy, which is deleted with it."""


def apply(here: Context, row: CollectionRow, given: Application) -> tuple[str, str]:
    """Attach a taxonomy, or run its newest version; return the task id and its name."""
    name, rules, labels = _applied(here, row.name, given)
    with here.runtime.store.read() as snapshot:
        fields = {one.name: one for one in fields_of(snapshot, row.pk)}
    attached = [rule for rule in rules if rule.field in fields]
    for rule in attached:
        if fields[rule.field].taxonomy.reference != rule.reference:
            raise Conflict(
                f"the field {rule.field!r} of {row.name!r} has references in "
                f"{fields[rule.field].taxonomy.reference!r}, which cannot change; "
                "give the taxonomy another field"
            )
        _check_fixed(row, fields[rule.field].taxonomy, rule)
    new = [rule for rule in rules if rule.field not in fields]
    if new:
        attach(here.runtime, here.namespace, row, new, labels)
    with here.runtime.store.write() as txn:
        runs = [
            _next_run(here, txn, row, given, fields[rule.field], rule) | labels.run_values()
            for rule in attached
        ]
        task = ask(here, txn, row, TaskKind.DECIDE, {"taxonomy": name, "runs": runs})
    here.server.worker.wake()
    return task, name


def rules_in(
    here: Context,
    own: str,
    inline: InlineTaxonomy | None,
    applications: Sequence[Application] | None,
) -> tuple[tuple[str, Spec] | None, list[tuple[Taxonomy, LabelSet]]]:
    """Return the name and specification for an inline taxonomy, and the policies of all label
    fields, each with its declared labels.
    """
    made, rules = None, list[tuple[Taxonomy, LabelSet]]()
    given = list(applications or ())
    if inline is not None and inline.taxonomy_id:
        rest = inline.model_dump(include=_THRESHOLDS | _LABEL_SET)
        given.append(Application.model_validate({**rest, "taxonomy_id": inline.taxonomy_id}))
    elif inline is not None:
        spec = inline.spec()
        with here.runtime.store.read() as snapshot:
            made = (_free_name(here, snapshot, own, spec), spec)
            found = rules_of(snapshot, here.namespace, *made, own)
        rules += [(rule, spec.label_set) for rule in found]
    for one in given:
        _, found, labels = _applied(here, own, one)
        rules += [(rule, labels) for rule in found]
    return made, rules


def _applied(here: Context, own: str, given: Application) -> tuple[str, list[Taxonomy], LabelSet]:
    """Return a taxonomy's name, and its policies and labels with what an application changes."""
    if given.scroll_filters:
        raise BadInput("scroll_filters are not supported: a taxonomy decides all documents")
    changes: dict[str, Any] = given.model_dump(
        include={*_THRESHOLDS, "top_k", "closed_set"}, exclude_none=True
    )
    if given.labels is not None:
        changes["labels"] = given.named_labels
    with here.runtime.store.read() as snapshot:
        row = taxonomy_row(named(snapshot, here.namespace, Kind.TAXONOMY, given.taxonomy_id))
        spec = replace(row.spec, **changes)
        rules = rules_of(snapshot, here.namespace, row.name, spec, own)
    rules = [replace(rule, version=len(row.versions)) for rule in rules]
    return row.name, rules, spec.label_set


def _free_name(here: Context, snapshot: Snapshot, own: str, spec: Spec) -> str:
    fields = "_".join(spec.fields) or "label"
    base = re.sub(r"[^A-Za-z0-9_-]", "_", f"{own}_{fields}")[:96]
    name, number = base, 1
    while find(snapshot, here.namespace, Kind.TAXONOMY, name) is not None:
        number += 1
        name = f"{base}_{number}"
    return name


def make_taxonomy(here: Context, txn: Txn, row: CollectionRow, name: str, spec: Spec) -> None:
    """Create the resource of an inline taxonomy."""
    at = here.runtime.clock()
    about = {INLINE: row.name}
    make(txn, here.namespace, Kind.TAXONOMY, name, stored([(spec, at)], about), at=at)


def adopt(here: Context, row: CollectionRow, inline: InlineTaxonomy) -> None:
    """Apply an inline taxonomy's policy to its label fields; attach new fields.

    A taxonomy that only declares labels keeps the fields' policies.
    """
    spec = inline.spec()
    with here.runtime.store.read() as snapshot:
        known = {one.name: one for one in fields_of(snapshot, row.pk)}
        if not spec.fields:
            spec = replace(spec, fields={name: name for name in list(known)[:1]})
        name = _free_name(here, snapshot, row.name, spec)
        rules = rules_of(snapshot, here.namespace, name, spec, row.name)
    new = [rule for rule in rules if rule.field not in known]
    for rule in rules:
        if rule.field in known:
            _check_fixed(row, known[rule.field].taxonomy, rule)
    collection, labels = here.collection(row.name), spec.label_set
    for rule in rules:
        if rule.field in known:
            run = _run(rule)
            if labels.is_given and not inline.model_dump(include=_THRESHOLDS, exclude_none=True):
                run = {"field": rule.field, "hierarchical": spec.hierarchical}
            collection.run(**run, **labels.run_values())
    if new:
        attach(here.runtime, here.namespace, row, new, labels)
        with here.runtime.store.write() as txn:
            make_taxonomy(here, txn, row, name, spec)


def _check_fixed(row: CollectionRow, known: Taxonomy, rule: Taxonomy) -> None:
    """Raise Conflict where a policy has an option that an existing field was created without."""
    for name in ("exclusive", "low_quality"):
        wanted = getattr(rule, name)
        if wanted and wanted != getattr(known, name):
            raise Conflict(
                f"the field {known.field!r} of {row.name!r} was created without {name} {wanted!r}, "
                "which cannot change; give the taxonomy another field"
            )


def _run(rule: Taxonomy) -> dict[str, Any]:
    """Return the arguments of `Collection.run` that make a field follow a policy."""
    run: dict[str, Any] = {"field": rule.field, "hierarchical": rule.hierarchical}
    if rule.confidence_threshold is not None:
        return run | {"confidence_threshold": rule.confidence_threshold}
    return run | {"target_precision": rule.target_precision, "targets": dict(rule.targets)}


def _next_run(
    here: Context,
    snapshot: Snapshot,
    row: CollectionRow,
    given: Application,
    field: FieldRow,
    rule: Taxonomy,
) -> dict[str, Any]:
    """Return the run for a field's taxonomy; a threshold that the field got elsewhere is kept."""
    taxonomy = taxonomy_row(named(snapshot, here.namespace, Kind.TAXONOMY, given.taxonomy_id))
    earlier = [
        one
        for spec, _ in taxonomy.versions
        for one in rules_of(snapshot, here.namespace, taxonomy.name, spec, row.name)
        if one.field == field.name
    ]
    has_own = all(_thresholds(one) != _thresholds(field.taxonomy) for one in earlier)
    gives_another = given.model_dump(include=_THRESHOLDS, exclude_none=True)
    return {"field": field.name} if has_own and not gives_another else _run(rule)


def _thresholds(rule: Taxonomy) -> Any:
    """Return the threshold of a policy, or its target precisions."""
    if rule.confidence_threshold is not None:
        return rule.confidence_threshold
    return rule.target_precision, dict(rule.targets)


def ask(
    here: Context, txn: Txn, row: CollectionRow, kind: TaskKind, more: Mapping[str, Any]
) -> str:
    """Write a task for a collection; return its id."""
    spec = {"collection_pk": row.pk, "collection": row.name, "actor": here.runtime.actor, **more}
    return request_task(txn, here.namespace, kind, spec, at=here.runtime.clock())


# --- replies -------------------------------------------------------------------------------------


class ConfigReply(Reply):
    """The configuration of a taxonomy."""

    taxonomy_type: str
    retriever_id: str
    input_mappings: list[dict[str, Any]]
    source_collection: dict[str, Any]
    fields: dict[str, str]
    enrich: list[str]
    confidence_threshold: float | None
    target_precision: float | None
    targets: dict[str, float] | None
    top_k: int
    path_field: str | None
    path_separator: str
    exclusive: str | None
    low_quality: bool
    closed_set: bool | None
    labels: dict[str, str | None] | None


class NodeReply(Reply):
    """A label as a node of the label tree."""

    node_id: str
    label: str
    path: list[str]
    level: int


class KeptVersion(Reply):
    """A named point of a label field's history, kept while a taxonomy's version was the newest."""

    collection_id: str
    field: str
    name: str
    note: str
    kept_at: datetime


class TaxonomyReply(Reply):
    """A taxonomy."""

    taxonomy_id: str
    taxonomy_name: str
    description: str | None
    metadata: dict[str, Any]
    config: ConfigReply
    version: int
    ready: bool = True
    nodes: list[NodeReply]
    applied_to: list[str]
    kept_versions: list[KeptVersion] = Field(default_factory=list)
    created_at: datetime


def taxonomy_reply(
    here: Context, snapshot: Snapshot, row: TaxonomyRow, number: int | None = None
) -> TaxonomyReply:
    """Return a taxonomy as JSON, with its collections and the labels of the references.

    `number` names a version; the default is the newest.
    """
    last = len(row.versions) if number is None else number
    until = row.versions[last][1] if last < len(row.versions) else inf
    row = replace(row, versions=row.versions[:last])
    attached = attached_to(snapshot, here.namespace, row.name)
    applied = list(dict.fromkeys(home.name for home, _ in attached))
    return TaxonomyReply(
        taxonomy_id=Kind.TAXONOMY.prefix + row.name,
        taxonomy_name=row.name,
        description=row.about.get("description"),
        metadata=row.about.get("metadata") or {},
        config=_config(row, row.spec, applied),
        version=len(row.versions),
        nodes=_nodes(snapshot, [field.reference_field_pk for _, field in attached]),
        applied_to=[Kind.COLLECTION.prefix + name for name in applied],
        kept_versions=_kept(snapshot, attached, row.versions[-1][1], until),
        created_at=datetime.fromtimestamp(row.created_at, UTC),
    )


def _kept(
    snapshot: Snapshot,
    attached: Sequence[tuple[CollectionRow, FieldRow]],
    since: float,
    until: float,
) -> list[KeptVersion]:
    """Return the points of label fields that were named from `since` until `until`, in seconds."""
    return [
        KeptVersion.of(one, collection_id=Kind.COLLECTION.prefix + home.name, kept_at=one.at)
        for home, field in attached
        for one in listed(snapshot, home, field, retired=False)
        if since <= one.at.timestamp() < until
    ]


def _config(row: TaxonomyRow, spec: Spec, applied: Sequence[str]) -> ConfigReply:
    retriever = spec.retriever or row.name
    reference = spec.reference or next(iter(applied), "")
    fields = [{"field_path": source, "target_field": name} for name, source in spec.fields.items()]
    fields += [{"field_path": name, "target_field": name} for name in spec.enrich]
    is_id = retriever.startswith(Kind.RETRIEVER.prefix)
    return ConfigReply.of(
        spec,
        taxonomy_type="flat" if spec.hierarchical is False else "hierarchical",
        retriever_id=retriever if is_id else Kind.RETRIEVER.prefix + retriever,
        input_mappings=row.about.get("input_mappings") or [],
        source_collection={"collection_id": reference, "enrichment_fields": fields},
        top_k=spec.top_k or 10,
        path_separator=spec.separator,
        exclusive=spec.exclusive or None,
        low_quality=bool(spec.low_quality),
    )


def _nodes(snapshot: Snapshot, field_pks: Sequence[int]) -> list[NodeReply]:
    """Return the labels of the references, the declared labels and their parents, as nodes."""
    table = schema.standing
    query = select(table.c.label).distinct()
    rows = snapshot.rows(query.where(table.c.field_pk.in_(field_pks), table.c.votes.is_(True)))
    declared = {label for pk in field_pks for label in shown_labels(snapshot, pk)}
    paths = {
        tuple(parts[: level + 1])
        for label in {row.label for row in rows} | declared
        for parts in [check_label(label).split(LABEL_SEPARATOR)]
        for level in range(len(parts))
    }
    return [
        NodeReply(
            node_id=node_id(LABEL_SEPARATOR.join(path)),
            label=path[-1],
            path=list(path),
            level=len(path) - 1,
        )
        for path in sorted(paths)
    ]


def node_id(label: str) -> str:
    """Return the id of a label as a node of the label tree."""
    return "node_" + label.replace(LABEL_SEPARATOR, "/")
