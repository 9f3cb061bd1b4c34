"""Create collections over buckets or other collections, and their label fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import select

from lookalike.catalog.fields import taxonomy_from, taxonomy_to
from lookalike.catalog.objects import labels_as_they_stand, mark_all_pending
from lookalike.catalog.reader import FieldRow, fields_of
from lookalike.catalog.resources import (
    CollectionRow,
    Kind,
    collection_from,
    collection_row,
    find,
    make,
    named,
    names,
)
from lookalike.catalog.taxonomies import RuleArguments, taxonomy_of
from lookalike.catalog.vocabulary import NOT_GIVEN, LabelSet
from lookalike.decisions.operations import NO_COLLECTION, Running
from lookalike.errors import BadInput, Conflict, NotFound
from lookalike.extractors.registry import are_options_of, as_one, extractor_name, options_to_store
from lookalike.ingest.documents import Home, import_labels
from lookalike.library import declared_labels
from lookalike.library.runtime import Runtime
from lookalike.model import Taxonomy
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn

_EXACT = 1.0
_ROWS = 5000


@dataclass(frozen=True, slots=True)
class CollectionPlan:
    """A collection to create: over `buckets`, or over the objects of the collection `source`.

    `inputs`, `passthrough` and `about` are those of `CollectionRow`.
    """

    name: str
    buckets: tuple[str, ...] = ()
    source: str | None = None
    extractor: str = "image"
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    passthrough: Mapping[str, str] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


@contextmanager
def making(runtime: Runtime, *, recorded: bool) -> Iterator[tuple[Txn, Running | None]]:
    """Begin a transaction that creates a collection; if `recorded`, as an operation.

    Declaring labels with the collection needs an operation, because declarations are events.
    """
    if recorded:
        with runtime.operations.operate(NO_COLLECTION, "create", runtime.actor) as running:
            yield running.txn, running
    else:
        with runtime.store.write() as txn:
            yield txn, None


def make_collection(
    runtime: Runtime,
    txn: Txn,
    namespace: str,
    plan: CollectionPlan,
    references: Sequence[str] = (),
) -> CollectionRow:
    """Create a collection, in which all existing objects wait for extraction.

    It stores a default model by name: the model of a collection among `references`, which will have
    its references, else the current default.

    Raises NotFound for an unknown bucket, collection or extractor, Conflict for a name in use.
    """
    full = extractor_name(plan.extractor)
    options = _options_of(txn, namespace, full, plan.options, references)
    if full != "passthrough" or "dimension" in plan.options:
        runtime.new_extractor(full, options)
    source_pk, bucket_pks = _sources_of(txn, namespace, plan)
    row = CollectionRow(
        0,
        plan.name,
        bucket_pks,
        full,
        options,
        source_pk=source_pk,
        inputs=plan.inputs,
        passthrough=plan.passthrough,
        about=plan.about,
    )
    pk = make(txn, namespace, Kind.COLLECTION, plan.name, row.spec, at=runtime.clock())
    row = collection_row(txn, pk)
    mark_all_pending(txn, row)
    return row


def check_same(
    row: Any,
    extractor: str | Sequence[str | Mapping[str, Any]] | None,
    options: Mapping[str, Any],
    inputs: Mapping[str, str] | None,
) -> CollectionRow:
    """Return an existing collection. Raises Conflict if its extractor or inputs differ."""
    known = collection_from(row)
    name, wanted = as_one(known.extractor if extractor is None else extractor, options)
    name = extractor_name(name)
    if known.extractor != name or not are_options_of(name, wanted, known.options):
        raise Conflict(
            f"the collection {known.name!r} exists with the extractor {known.extractor!r} "
            f"{dict(known.options)}, not {name!r} {wanted}; choose another name, or migrate it"
        )
    if inputs is not None and known.inputs != inputs:
        raise Conflict(
            f"the collection {known.name!r} exists with the inputs {dict(known.inputs)}, not "
            f"{dict(inputs)}; choose another name"
        )
    return known


def make_fields(
    runtime: Runtime,
    begun: tuple[Txn, Running | None],
    namespace: str,
    row: CollectionRow,
    rules: Iterable[tuple[Taxonomy, LabelSet]],
) -> None:
    """Create the label fields of a new collection, with their declared labels.

    `begun` is the value of `making`. Raises as `make_field`, and BadInput for a set without labels.
    """
    txn, running = begun
    if running is not None:
        running.collection_pk = row.pk  # `making` began it before the collection existed
        chosen = schema.operation.update().where(schema.operation.c.pk == running.pk)
        txn.execute(chosen.values(collection_pk=row.pk))
    for taxonomy, label_set in rules:
        field_pk = make_field(txn, namespace, row, taxonomy)
        if running is not None:
            field = _field(txn, row, field_pk)
            declared_labels.declare_first(runtime.operations, running, field, label_set)


def make_field(txn: Txn, namespace: str, row: CollectionRow, taxonomy: Taxonomy) -> int:
    """Create a label field of a collection; return its pk.

    Raises Conflict if the name is in use, or the references are in another embedding space;
    NotFound for an unknown reference collection.
    """
    known = [field.name for field in fields_of(txn, row.pk)]
    if taxonomy.field in known:
        raise Conflict(f"the collection {row.name!r} already has a label field {taxonomy.field!r}")
    pk = txn.insert_one(
        schema.field,
        collection_pk=row.pk,
        name=taxonomy.field,
        taxonomy=taxonomy_to(taxonomy),
        reference_field_pk=0,
        epoch=0,
    )
    reference_pk = pk
    if taxonomy.reference != row.name:
        reference_pk = _reference_field(txn, namespace, row, taxonomy).pk
    chosen = schema.field.update().where(schema.field.c.pk == pk)
    txn.execute(chosen.values(reference_field_pk=reference_pk))
    return pk


def add_field(
    runtime: Runtime,
    running: Running,
    namespace: str,
    row: CollectionRow,
    taxonomy: Taxonomy,
    label_set: LabelSet = NOT_GIVEN,
) -> None:
    """Add a label field to a collection, and decide its documents.

    It imports the labels that the metadata of objects have for the field, then applies
    `label_set`. Raises BadInput for a set that cannot be closed.
    """
    txn, operations = running.txn, runtime.operations
    document, object_ = schema.document, schema.object_
    query = (
        select(document.c.pk, document.c.object_pk, document.c.metadata)
        .add_columns(object_.c.metadata.label("object_metadata"))
        .add_columns(object_.c.said_by)
        .join(object_, object_.c.pk == document.c.object_pk)
        .where(document.c.collection_pk == row.pk)
        .order_by(document.c.pk)
    )
    rows = txn.rows(query)
    source = row.source_of(taxonomy.field).partition(".")[0]
    given = {one.object_pk: one.object_metadata for one in rows if source in one.object_metadata}
    current = labels_as_they_stand(txn, given)
    field_pk = make_field(txn, namespace, row, taxonomy)
    if rows:
        _remove_key(txn, taxonomy.field, rows)
        operations.add_documents(running, field_pk, [one.pk for one in rows])
        labelled = (one for one in rows if one.object_pk in current)
        labels = ((one.pk, current[one.object_pk], one.said_by or ()) for one in labelled)
        import_labels(operations, running, Home(row, {taxonomy.field: field_pk}), labels)
    declared_labels.declare_first(operations, running, _field(txn, row, field_pk), label_set)


def add_reference_fields(
    runtime: Runtime, namespace: str, rules: Sequence[Taxonomy], own: str
) -> None:
    """Add to reference collections the label fields that policies take labels from, if missing.

    This imports the labels in their objects' metadata, and gives no automatic labels.
    """
    for rule in rules:
        if rule.reference == own:
            continue
        with runtime.store.read() as snapshot:
            curated = collection_from(named(snapshot, namespace, Kind.COLLECTION, rule.reference))
            known = [one.name for one in fields_of(snapshot, curated.pk)]
        if rule.reference_field not in known:
            exact = RuleArguments(
                confidence_threshold=_EXACT,
                separator=rule.separator,
                low_quality=rule.low_quality,
            )
            taxonomy = taxonomy_of(curated.name, rule.reference_field, exact)
            with runtime.operations.operate(curated.pk, "create", runtime.actor) as running:
                add_field(runtime, running, namespace, curated, taxonomy)


def attach(
    runtime: Runtime,
    namespace: str,
    row: CollectionRow,
    rules: Sequence[Taxonomy],
    label_set: LabelSet,
) -> str | None:
    """Add the label fields of a taxonomy resource to a collection; return the operation's id.

    It decides the documents. Raises Conflict for a field that exists, BadInput for a set that
    cannot be closed.
    """
    add_reference_fields(runtime, namespace, rules, row.name)
    with runtime.operations.operate(row.pk, "create", runtime.actor) as running:
        for rule in rules:
            add_field(runtime, running, namespace, row, rule, label_set)
    return running.id


def detach(txn: Txn, field_pks: Sequence[int]) -> None:
    """Keep label fields when the taxonomy resource that created them is removed."""
    table = schema.field
    for row in txn.rows(select(table).where(table.c.pk.in_(field_pks))):
        rule = replace(taxonomy_from(row.taxonomy), taxonomy="")
        txn.update(table, [{"pk": row.pk, "taxonomy": taxonomy_to(rule)}])


def _field(snapshot: Snapshot, row: CollectionRow, pk: int) -> FieldRow:
    return next(one for one in fields_of(snapshot, row.pk) if one.pk == pk)


def _options_of(
    snapshot: Snapshot,
    namespace: str,
    extractor: str,
    options: Mapping[str, Any],
    references: Sequence[str],
) -> dict[str, Any]:
    for name in references:
        stored = find(snapshot, namespace, Kind.COLLECTION, name)
        if stored is not None:
            return options_to_store(extractor, options, collection_from(stored).options)
    return options_to_store(extractor, options)


def _remove_key(txn: Txn, name: str, rows: Any) -> None:
    """Remove a key from the metadata of documents, because it is now a label field."""
    changed = [
        {"pk": row.pk, "metadata": {key: row.metadata[key] for key in row.metadata if key != name}}
        for row in rows
        if name in row.metadata
    ]
    for start in range(0, len(changed), _ROWS):
        txn.update(schema.document, changed[start : start + _ROWS])


def _sources_of(
    snapshot: Snapshot, namespace: str, plan: CollectionPlan
) -> tuple[int | None, tuple[int, ...]]:
    """Return the source collection (pk or None) and the buckets of a plan."""
    if plan.source is not None:
        row = collection_from(named(snapshot, namespace, Kind.COLLECTION, plan.source))
        return row.pk, row.bucket_pks
    if not plan.buckets:
        raise BadInput(f"give a bucket or a source for the collection {plan.name!r}")
    pks = [named(snapshot, namespace, Kind.BUCKET, bucket).pk for bucket in plan.buckets]
    return None, tuple(dict.fromkeys(pks))


def _reference_field(
    snapshot: Snapshot, namespace: str, row: CollectionRow, taxonomy: Taxonomy
) -> FieldRow:
    stored = find(snapshot, namespace, Kind.COLLECTION, taxonomy.reference)
    if stored is None:
        known = names(snapshot, namespace, Kind.COLLECTION)
        raise NotFound.named("reference collection", taxonomy.reference, known)
    curated = collection_from(stored)
    if (curated.extractor, curated.options) != (row.extractor, row.options):
        raise Conflict(
            f"{row.name!r} extracts with {row.extractor} {dict(row.options)}, its reference "
            f"{curated.name!r} with {curated.extractor} {dict(curated.options)}; "
            "vectors of two spaces cannot be compared: use one extractor for both"
        )
    fields = fields_of(snapshot, curated.pk)
    for one in fields:
        if one.name == taxonomy.reference_field:
            return one
    known = [one.name for one in fields]
    raise NotFound.named(f"label field of {curated.name!r}", taxonomy.reference_field, known)
