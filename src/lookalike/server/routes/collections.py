"""Collections over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from sqlalchemy import update

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
from lookalike.library.create import CollectionPlan, let_vote, make_collection, make_fields, making
from lookalike.library.declared_labels import declared_in
from lookalike.library.remove import remove_collections
from lookalike.model import Status, Taxonomy
from lookalike.server.context import Asked, Here
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
    features,
    shown,
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
    """Make a collection. What its buckets hold already is extracted and decided by itself."""
    check_source(body.source)
    plan = _plan(body)
    if idempotency_key:
        with here.runtime.store.read() as snapshot:
            known = find(snapshot, here.namespace, Kind.COLLECTION, body.collection_name)
            if known is not None and known.spec.get("about") == plan.about:
                return shown(snapshot, collection_from(known))
    inline, given = rules_in(here, body.collection_name, body.taxonomy, body.taxonomy_applications)
    rules = [rule for rule, _ in given]
    _check_new(here, plan, rules)
    let_vote(here.runtime, here.namespace, rules, body.collection_name)
    with making(here.runtime, recorded=any(said.is_given for _, said in given)) as begun:
        passed, references = _passing(plan, rules), [rule.reference for rule in rules]
        row = make_collection(here.runtime, begun[0], here.namespace, passed, references)
        make_fields(here.runtime, begun, here.namespace, row, given)
        if inline is not None:
            make_taxonomy(here, begun[0], row, *inline)
    here.context.worker.wake()
    with here.runtime.store.read() as snapshot:
        return shown(snapshot, row)


@router.post("/list")
def list_collections(
    here: Here, paged: Pages, body: ListBody | None = None, search: Search = None
) -> Collections:
    """List collections: by filters or a text in their name, id or description; sorted."""
    with here.runtime.store.read() as snapshot:
        found = listed(snapshot, here.namespace, Kind.COLLECTION)
        found = select_resources(found, Kind.COLLECTION, body, search)
        rows = [collection_from(row) for row in found]
        page, pagination = paged.of(body).of_list(rows, lambda row: row.pk)
        results = [shown(snapshot, row) for row in page]
    return Collections(results=results, total_count=len(rows), pagination=pagination)


@router.get("")
def list_collections_get(here: Here, paged: Pages, search: Search = None) -> Collections:
    """List collections, those with a text in their name, id or description."""
    return list_collections(here, paged, None, search)


@router.get("/{collection}")
def get_collection(collection: str, here: Here) -> CollectionReply:
    """Return a collection by its name or id."""
    with here.runtime.store.read() as snapshot:
        return shown(snapshot, here.row(snapshot, collection))


@router.get("/{collection}/features")
def describe_features(collection: str, here: Here) -> Features:
    """Return what a collection can be searched by, and what searches call it."""
    with here.runtime.store.read() as snapshot:
        return features(snapshot, here.row(snapshot, collection))


@router.patch("/{collection}")
def change_collection(collection: str, body: CollectionChange, here: Here) -> CollectionReply:
    """Change what a collection says of itself; attach a taxonomy, or let one follow another rule.

    A changed rule decides everything again, as a run that can be undone.
    """
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, collection)
    if body.taxonomy is not None and not body.taxonomy.taxonomy_id:
        adopt(here, row, body.taxonomy)
    for one in body.taxonomy_applications or ():
        apply(here, row, one)
    if body.description is not None or body.metadata is not None:
        with here.runtime.store.write() as txn:
            known = resource(txn, row.pk)
            about = dict(known.spec.get("about") or {})
            if body.description is not None:
                about["description"] = body.description
            if body.metadata is not None:
                about["metadata"] = body.metadata
            change(txn, row.pk, {**known.spec, "about": about})
    return get_collection(row.name, here)


@router.delete("/{collection}")
def delete_collection(collection: str, here: Here) -> Deleted:
    """Remove a collection with its documents and labels; its bucket and objects stay."""
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, collection)
        made = [
            one.pk
            for one in listed(snapshot, here.namespace, Kind.TAXONOMY)
            if (one.spec.get("about") or {}).get(INLINE) == row.name
        ]
    remove_collections(here.runtime, [row.pk])
    table = schema.resource
    with here.runtime.store.write() as txn:
        txn.execute(table.delete().where(table.c.pk.in_(made)))
    return Deleted(message=f"removed the collection {row.name}")


@router.post("/{collection}/clone")
def clone_collection(collection: str, body: CloneCollection, here: Here) -> ClonedCollection:
    """Make a collection like another one: the same source, extractor and rules, no labels."""
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, collection)
        rules = [
            _cloned(snapshot, row, one, body.collection_name) for one in fields_of(snapshot, row.pk)
        ]
        source = None if row.source_pk is None else resource(snapshot, row.source_pk).name
        buckets = tuple(resource(snapshot, pk).name for pk in row.bucket_pks)
    about = dict(row.about)
    about |= {"description": body.description} if body.description is not None else {}
    about |= {"metadata": body.metadata} if body.metadata is not None else {}
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
    with making(here.runtime, recorded=any(said.is_given for _, said in rules)) as begun:
        made = make_collection(here.runtime, begun[0], here.namespace, plan)
        make_fields(here.runtime, begun, here.namespace, made, rules)
    here.context.worker.wake()
    with here.runtime.store.read() as snapshot:
        reply = shown(snapshot, made)
    return ClonedCollection(collection=reply, source_collection_id=collection_id(row.name))


@router.post("/{collection}/trigger", status_code=202)
def trigger_collection(collection: str, here: Here, body: Trigger | None = None) -> Triggered:
    """Extract what waits, and again what has failed; with `force` the objects that are named."""
    body = body or Trigger()
    if body.source_filters:
        raise BadInput("source_filters are not known here; name objects by object_ids")
    with here.runtime.store.write() as txn:
        row = here.row(txn, collection)
        table = schema.extraction
        failed = (table.c.collection_pk == row.pk) & (table.c.status == Status.FAILED)
        again = update(table).where(failed).values(status=Status.PENDING, error=None)
        txn.execute(again)
        if body.object_ids and body.dedup_strategy in ("force", "replace"):
            pks = objects_named(txn, row.bucket_pks, body.object_ids)
            mark_pending(txn, row.pk, dict.fromkeys(pks))
        task = ask(here, txn, row, TaskKind.EXTRACT, {})
    here.context.worker.wake()
    message = f"what waits in {row.name} is extracted and decided"
    return Triggered(task_id=task, collection_id=collection_id(row.name), message=message)


@router.post("/{collection}/apply-taxonomy")
def apply_taxonomy(collection: str, body: ApplyTaxonomy, here: Here) -> Applied:
    """Decide all documents again by the newest version of a taxonomy, attached if it is not yet."""
    if body.scroll_filters:
        raise BadInput("scroll_filters are not known here: a run decides the whole collection")
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
    """Return the rule of a field of a clone with that name; a closed set keeps its labels."""
    rule = replace(field.taxonomy, version=1, closed_set=False)
    said = declared_in(snapshot, field) if field.taxonomy.closed_set else NOT_GIVEN
    return (replace(rule, reference=name) if rule.reference == row.name else rule), said


def _plan(body: NewCollection) -> CollectionPlan:
    extractor, source = body.feature_extractor, body.source
    buckets = source.bucket_ids or ([source.bucket_id] if source.bucket_id else [])
    over = None
    if source.type == "collection":
        over = next(iter(source.collection_ids or ()), source.collection_id)
        if over is None:
            raise BadInput("say which collection: source.collection_id")
    about = {
        "description": body.description,
        "metadata": body.metadata or {},
        "extractor_version": extractor.version,
    }
    return CollectionPlan(
        body.collection_name,
        tuple(buckets),
        over,
        extractor.feature_extractor_name,
        extractor.options,
        extractor.inputs,
        extractor.passthrough,
        about,
    )


def _check_new(here: Asked, plan: CollectionPlan, rules: Sequence[Taxonomy]) -> None:
    """Raise for what making the collection would raise, before a curated one is changed for it."""
    with here.runtime.store.read() as snapshot:
        if find(snapshot, here.namespace, Kind.COLLECTION, plan.name) is not None:
            raise Conflict(f"there is a collection {plan.name!r} already; choose another name")
        for name in plan.buckets:
            bucket = named(snapshot, here.namespace, Kind.BUCKET, name)
            _check_inputs(plan, bucket)
    twice = [rule.field for rule in rules]
    if len(set(twice)) < len(twice):
        raise BadInput(f"two taxonomies fill the same field of {plan.name!r}: {sorted(twice)}")


def _check_inputs(plan: CollectionPlan, bucket: Any) -> None:
    known = bucket.spec.get("properties") or {}
    for key, path in plan.inputs.items():
        if known and path.partition(".")[0] not in known:
            raise BadInput(
                f"the input {key!r} is mapped to {path!r}, which the bucket {bucket.name!r} has "
                f"not (known: {', '.join(sorted(known))})"
            )


def _passing(plan: CollectionPlan, rules: Sequence[Taxonomy]) -> CollectionPlan:
    """Let documents keep what the matched reference gives to others."""
    if plan.passthrough is None:
        return plan
    copied = {name: name for rule in rules for name in rule.enrich}
    return replace(plan, passthrough={**copied, **plan.passthrough})
