"""Collection routes: create, list, read, change, copy and delete; extract or decide again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from sqlalchemy import select, update

from lookalike.catalog.objects import mark_pending, objects_named
from lookalike.catalog.reader import FieldRow, fields_of
from lookalike.catalog.resources import (
    CollectionRow,
    Kind,
    change,
    collection_from,
    find,
    listed,
    named,
    resource,
)
from lookalike.catalog.tasks import TaskKind
from lookalike.catalog.vocabulary import NOT_GIVEN, LabelSet
from lookalike.errors import BadInput, Conflict
from lookalike.library.create import (
    CollectionPlan,
    add_reference_fields,
    make_collection,
    make_fields,
    making,
)
from lookalike.library.declared_labels import declared_in
from lookalike.library.remove import remove_collections
from lookalike.model import Status, Taxonomy
from lookalike.server.context import Context, Here, changed_about
from lookalike.server.listing import Search, select_resources
from lookalike.server.routes.collection_shapes import (
    Applied,
    ApplyTaxonomy,
    CloneCollection,
    ClonedCollection,
    CollectionChange,
    CollectionReply,
    Collections,
    Features,
    NewCollection,
    Trigger,
    Triggered,
    check_source,
    collection_id,
    collection_reply,
    features,
)
from lookalike.server.routes.taxonomy_shapes import (
    INLINE,
    Application,
    adopt,
    apply,
    ask,
    make_taxonomy,
    rules_in,
)
from lookalike.server.shapes import Deleted, IdempotencyKey, JsonRoute, ListBody, Pages
from lookalike.stores import schema
from lookalike.stores.base import Snapshot

router = APIRouter(prefix="/v1/collections", tags=["collections"], route_class=JsonRoute)


@router.post("")
def create_collection(
    body: NewCollection, here: Here, idempotency_key: IdempotencyKey = ""
) -> CollectionReply:
    """Create a collection. A worker extracts and decides the objects that its buckets have."""
    check_source(body.source)
    plan = _plan(body)
    if idempotency_key:
        with here.runtime.store.read() as snapshot:
            known = find(snapshot, here.namespace, Kind.COLLECTION, body.collection_name)
            if known is not None and known.spec.get("about") == plan.about:
                return collection_reply(snapshot, collection_from(known))
    inline, given = rules_in(here, body.collection_name, body.taxonomy, body.taxonomy_applications)
    rules = [rule for rule, _ in given]
    _check_new(here, plan, rules)
    add_reference_fields(here.runtime, here.namespace, rules, body.collection_name)
    with making(here.runtime, recorded=any(labels.is_given for _, labels in given)) as begun:
        full, references = _with_enriched(plan, rules), [rule.reference for rule in rules]
        row = make_collection(here.runtime, begun[0], here.namespace, full, references)
        make_fields(here.runtime, begun, here.namespace, row, given)
        if inline is not None:
            make_taxonomy(here, begun[0], row, *inline)
    here.server.worker.wake()
    with here.runtime.store.read() as snapshot:
        return collection_reply(snapshot, row)


@router.post("/list")
def list_collections(
    here: Here, paged: Pages, body: ListBody | None = None, search: Search = None
) -> Collections:
    """List collections that fit filters or a text in name, id or description; sorted."""
    with here.runtime.store.read() as snapshot:
        found = listed(snapshot, here.namespace, Kind.COLLECTION)
        found = select_resources(found, Kind.COLLECTION, body, search)
        rows = [collection_from(row) for row in found]
        page, pagination = paged.of(body).of_list(rows, lambda row: row.pk)
        results = [collection_reply(snapshot, row) for row in page]
    return Collections(results=results, total_count=len(rows), pagination=pagination)


@router.get("")
def list_collections_get(here: Here, paged: Pages, search: Search = None) -> Collections:
    """List collections; with `search`, those with a text in name, id or description."""
    return list_collections(here, paged, None, search)


@router.get("/{collection}")
def get_collection(collection: str, here: Here) -> CollectionReply:
    """Return a collection by its name or id."""
    with here.runtime.store.read() as snapshot:
        return collection_reply(snapshot, here.row(snapshot, collection))


@router.get("/{collection}/features")
def describe_features(collection: str, here: Here) -> Features:
    """Return the vectors by which a collection can be searched, with their names for searches."""
    with here.runtime.store.read() as snapshot:
        return features(snapshot, here.row(snapshot, collection))


@router.patch("/{collection}")
def change_collection(collection: str, body: CollectionChange, here: Here) -> CollectionReply:
    """Change a collection's description or metadata; attach a taxonomy, or change its policy.

    A changed policy decides all documents again, in an operation that can be undone.
    """
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, collection)
    if body.taxonomy is not None and not body.taxonomy.taxonomy_id:
        adopt(here, row, body.taxonomy)
    for one in body.taxonomy_applications or ():
        apply(here, row, one)
    if body.description is not None or body.metadata is not None:
        with here.runtime.store.write() as txn:
            spec = resource(txn, row.pk).spec
            about = changed_about(spec.get("about"), body.description, body.metadata)
            change(txn, row.pk, {**spec, "about": about})
    return get_collection(row.name, here)


@router.delete("/{collection}")
def delete_collection(collection: str, here: Here) -> Deleted:
    """Remove a collection with its documents and labels; its bucket and objects stay."""
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, collection)
        inline = [
            one.pk
            for one in listed(snapshot, here.namespace, Kind.TAXONOMY)
            if (one.spec.get("about") or {}).get(INLINE) == row.name
        ]
    remove_collections(here.runtime, [row.pk])
    table = schema.resource
    with here.runtime.store.write() as txn:
        txn.execute(table.delete().where(table.c.pk.in_(inline)))
    return Deleted(message=f"removed the collection {row.name}")


@router.post("/{collection}/clone")
def clone_collection(collection: str, body: CloneCollection, here: Here) -> ClonedCollection:
    """Create a copy of a collection: same source, extractor and policies, without labels."""
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, collection)
        rules = [
            _cloned(snapshot, row, one, body.collection_name) for one in fields_of(snapshot, row.pk)
        ]
        source = None if row.source_pk is None else resource(snapshot, row.source_pk).name
        buckets = tuple(resource(snapshot, pk).name for pk in row.bucket_pks)
    about = changed_about(row.about, body.description, body.metadata)
    plan = CollectionPlan(
        body.collection_name,
        buckets,
        source,
        row.extractor,
        row.options,
        row.inputs,
        row.passthrough,
        about,
    )
    with making(here.runtime, recorded=any(labels.is_given for _, labels in rules)) as begun:
        made = make_collection(here.runtime, begun[0], here.namespace, plan)
        make_fields(here.runtime, begun, here.namespace, made, rules)
    here.server.worker.wake()
    with here.runtime.store.read() as snapshot:
        reply = collection_reply(snapshot, made)
    return ClonedCollection(collection=reply, source_collection_id=collection_id(row.name))


@router.post("/{collection}/trigger", status_code=202)
def trigger_collection(collection: str, here: Here, body: Trigger | None = None) -> Triggered:
    """Extract pending and failed objects; with `force` or `replace` also the `object_ids`."""
    body = body or Trigger()
    if body.source_filters:
        raise BadInput("source_filters are not supported; name objects by object_ids")
    with here.runtime.store.write() as txn:
        row = here.row(txn, collection)
        table = schema.extraction
        failed = (table.c.collection_pk == row.pk) & (table.c.status == Status.FAILED)
        again = update(table).where(failed).values(status=Status.PENDING)
        txn.execute(again)  # the reason stays: what never had content fails again for it
        if body.object_ids and body.dedup_strategy in ("force", "replace"):
            pks = objects_named(txn, row.bucket_pks, body.object_ids)
            known = select(table.c.object_pk).where(table.c.collection_pk == row.pk)
            waiting = {one.object_pk for one in txn.rows(known)}
            mark_pending(txn, row.pk, dict.fromkeys(pk for pk in pks if pk not in waiting))
        task = ask(here, txn, row, TaskKind.EXTRACT, {})
    here.server.worker.wake()
    message = f"extracting and deciding the pending objects of {row.name}"
    return Triggered(task_id=task, collection_id=collection_id(row.name), message=message)


@router.post("/{collection}/apply-taxonomy")
def apply_taxonomy(collection: str, body: ApplyTaxonomy, here: Here) -> Applied:
    """Decide all documents by a taxonomy's newest version; attach it if it is not attached yet."""
    if body.scroll_filters:
        raise BadInput("scroll_filters are not supported: a run decides the whole collection")
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, collection)
    task, name = apply(here, row, Application.model_validate({"taxonomy_id": body.taxonomy_id}))
    return Applied(
        task_id=task,
        status=Status.PENDING.value,
        collection_id=collection_id(row.name),
        taxonomy_id=Kind.TAXONOMY.prefix + name,
    )


def _cloned(
    snapshot: Snapshot, row: CollectionRow, field: FieldRow, name: str
) -> tuple[Taxonomy, LabelSet]:
    """Return a field's policy and labels for the copy `name`; a closed set keeps its labels."""
    rule = replace(field.taxonomy, version=1, closed_set=False)
    labels = declared_in(snapshot, field) if field.taxonomy.closed_set else NOT_GIVEN
    return (replace(rule, reference=name) if rule.reference == row.name else rule), labels


def _plan(body: NewCollection) -> CollectionPlan:
    extractor, source = body.feature_extractor, body.source
    buckets = source.bucket_ids or ([source.bucket_id] if source.bucket_id else [])
    collection = None
    if source.type == "collection":
        collection = next(iter(source.collection_ids or ()), source.collection_id)
        if collection is None:
            raise BadInput("name the source collection: source.collection_id")
    about = {
        "description": body.description,
        "metadata": body.metadata or {},
        "extractor_version": extractor.version,
    }
    return CollectionPlan(
        body.collection_name,
        tuple(buckets),
        collection,
        extractor.feature_extractor_name,
        extractor.options,
        extractor.inputs,
        extractor.passthrough,
        about,
    )


def _check_new(here: Context, plan: CollectionPlan, rules: Sequence[Taxonomy]) -> None:
    """Raise the errors of creating the collection before its reference collections are changed."""
    with here.runtime.store.read() as snapshot:
        if find(snapshot, here.namespace, Kind.COLLECTION, plan.name) is not None:
            raise Conflict(f"there is a collection {plan.name!r} already; choose another name")
        for name in plan.buckets:
            bucket = named(snapshot, here.namespace, Kind.BUCKET, name)
            _check_inputs(plan, bucket)
    fields = [rule.field for rule in rules]
    if len(set(fields)) < len(fields):
        raise BadInput(f"two taxonomies fill the same field of {plan.name!r}: {sorted(fields)}")


def _check_inputs(plan: CollectionPlan, bucket: Any) -> None:
    known = bucket.spec.get("properties") or {}
    for key, path in plan.inputs.items():
        if known and path.partition(".")[0] not in known:
            raise BadInput(
                f"the input {key!r} is mapped to {path!r}, but the bucket {bucket.name!r} has no "
                f"such property (known: {', '.join(sorted(known))})"
            )


def _with_enriched(plan: CollectionPlan, rules: Sequence[Taxonomy]) -> CollectionPlan:
    """Return the plan with the fields that references give to matched documents passed through."""
    if plan.passthrough is None:
        return plan
    copied = {name: name for rule in rules for name in rule.enrich}
    return replace(plan, passthrough={**copied, **plan.passthrough})
