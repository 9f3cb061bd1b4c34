"""Collections over HTTP."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from sqlalchemy import func, select, update

from lookalike.errors import BadInput, Conflict
from lookalike.model import Status, Taxonomy
from lookalike.objects import let_wait, object_pks
from lookalike.reading import FieldRow, fields_of
from lookalike.removing import remove_collections
from lookalike.reporting import count_documents
from lookalike.resources import (
    CollectionRow,
    Kind,
    change,
    collection_from,
    find,
    listed,
    make,
    named,
    resource,
)
from lookalike.server.collection_bodies import (
    ApplicationReply,
    Applied,
    ApplyTaxonomy,
    CloneCollection,
    ClonedCollection,
    CollectionChange,
    CollectionReply,
    Collections,
    ExtractorReply,
    FieldReply,
    NewCollection,
    PassedReply,
    SourceReply,
    Trigger,
    Triggered,
    check_source,
)
from lookalike.server.context import Asked, Here
from lookalike.server.shapes import Deleted, IdempotencyKey, JsonRoute, ListBody, Pages
from lookalike.server.taxonomy_bodies import Application, InlineTaxonomy
from lookalike.setting_up import Plan, make_collection, make_field
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn
from lookalike.tasks import TaskKind, ask_for
from lookalike.taxonomies import Spec, attach, let_vote, rules_of, stored, taxonomy_row

router = APIRouter(prefix="/v1/collections", tags=["collections"], route_class=JsonRoute)

_INLINE = "inline"


@router.post("")
def create_collection(
    body: NewCollection, here: Here, idempotency_key: IdempotencyKey = ""
) -> CollectionReply:
    """Make a collection. What its buckets hold already is extracted and decided by itself."""
    check_source(body.source)
    plan = _plan(here, body)
    if idempotency_key:
        with here.workshop.store.read() as snapshot:
            known = find(snapshot, here.namespace, Kind.COLLECTION, body.collection_name)
            if known is not None and known.spec.get("about") == plan.about:
                return shown(here, snapshot, collection_from(known))
    inline, rules = _rules(here, body.collection_name, body.taxonomy, body.taxonomy_applications)
    _check_new(here, plan, rules)
    let_vote(here.workshop, here.namespace, rules, body.collection_name)
    with here.workshop.store.write() as txn:
        row = make_collection(here.workshop, txn, here.namespace, _passing(plan, rules))
        for rule in rules:
            make_field(txn, here.namespace, row, rule)
        if inline is not None:
            _make_taxonomy(here, txn, row, *inline)
    here.context.worker.wake()
    with here.workshop.store.read() as snapshot:
        return shown(here, snapshot, row)


@router.post("/list")
def list_collections(here: Here, paged: Pages, body: ListBody | None = None) -> Collections:
    """List collections."""
    with here.workshop.store.read() as snapshot:
        rows = [collection_from(r) for r in listed(snapshot, here.namespace, Kind.COLLECTION)]
        page, pagination = paged.of(body).of_list(rows)
        results = [shown(here, snapshot, row) for row in page]
    return Collections(results=results, total_count=len(rows), pagination=pagination)


@router.get("")
def list_collections_get(here: Here, paged: Pages) -> Collections:
    """List collections."""
    return list_collections(here, paged)


@router.get("/{collection}")
def get_collection(collection: str, here: Here) -> CollectionReply:
    """Return a collection by its name or id."""
    with here.workshop.store.read() as snapshot:
        return shown(here, snapshot, here.row(snapshot, collection))


@router.patch("/{collection}")
def change_collection(collection: str, body: CollectionChange, here: Here) -> CollectionReply:
    """Change what a collection says of itself; attach a taxonomy, or let one follow another rule.

    A changed rule decides everything again, as a run that can be undone.
    """
    with here.workshop.store.read() as snapshot:
        row = here.row(snapshot, collection)
    if body.taxonomy is not None and not body.taxonomy.taxonomy_id:
        _adopt(here, row, body.taxonomy)
    for one in body.taxonomy_applications or ():
        apply(here, row, one)
    if body.description is not None or body.metadata is not None:
        with here.workshop.store.write() as txn:
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
    with here.workshop.store.read() as snapshot:
        row = here.row(snapshot, collection)
        made = [
            one.pk
            for one in listed(snapshot, here.namespace, Kind.TAXONOMY)
            if (one.spec.get("about") or {}).get(_INLINE) == row.name
        ]
    remove_collections(here.workshop, [row.pk])
    table = schema.resource
    with here.workshop.store.write() as txn:
        txn.execute(table.delete().where(table.c.pk.in_(made)))
    return Deleted(message=f"removed the collection {row.name}")


@router.post("/{collection}/clone")
def clone_collection(collection: str, body: CloneCollection, here: Here) -> ClonedCollection:
    """Make a collection like another one: the same source, extractor and rules, no labels."""
    with here.workshop.store.write() as txn:
        row = here.row(txn, collection)
        about = dict(row.about)
        about |= {"description": body.description} if body.description is not None else {}
        about |= {"metadata": body.metadata} if body.metadata is not None else {}
        source = None if row.source_pk is None else resource(txn, row.source_pk).name
        plan = Plan(
            body.collection_name,
            tuple(resource(txn, pk).name for pk in row.bucket_pks),
            source,
            row.extractor,
            row.options,
            row.inputs,
            row.passthrough,
            about,
        )
        made = make_collection(here.workshop, txn, here.namespace, plan)
        for field in fields_of(txn, row.pk):
            own = field.taxonomy.reference == row.name
            rule = replace(field.taxonomy, version=1)
            make_field(
                txn, here.namespace, made, replace(rule, reference=made.name) if own else rule
            )
    here.context.worker.wake()
    with here.workshop.store.read() as snapshot:
        reply = shown(here, snapshot, made)
    return ClonedCollection(collection=reply, source_collection_id=_id(row.name))


@router.post("/{collection}/trigger", status_code=202)
def trigger_collection(collection: str, here: Here, body: Trigger | None = None) -> Triggered:
    """Extract what waits, and again what has failed; with `force` and `object_ids` those objects."""
    body = body or Trigger()
    if body.source_filters:
        raise BadInput("source_filters are not known here; name objects by object_ids")
    with here.workshop.store.write() as txn:
        row = here.row(txn, collection)
        table = schema.extraction
        failed = (table.c.collection_pk == row.pk) & (table.c.status == Status.FAILED)
        again = update(table).where(failed).values(status=Status.PENDING, error=None)
        txn.execute(again)
        if body.object_ids and body.dedup_strategy in ("force", "replace"):
            pks = object_pks(txn, row.bucket_pk, body.object_ids)
            let_wait(txn, row.pk, dict.fromkeys(pks.values()))
        task = _ask(here, txn, row, TaskKind.EXTRACT, {})
    here.context.worker.wake()
    message = f"what waits in {row.name} is extracted and decided"
    return Triggered(task_id=task, collection_id=_id(row.name), message=message)


@router.post("/{collection}/apply-taxonomy")
def apply_taxonomy(collection: str, body: ApplyTaxonomy, here: Here) -> Applied:
    """Decide all documents again by the newest version of a taxonomy, attached if it is not yet."""
    if body.scroll_filters:
        raise BadInput("scroll_filters are not known here: a run decides the whole collection")
    with here.workshop.store.read() as snapshot:
        row = here.row(snapshot, collection)
    task, name = apply(here, row, Application(taxonomy_id=body.taxonomy_id))
    return Applied(
        task_id=task,
        status=Status.PENDING.value,
        collection_id=_id(row.name),
        taxonomy_id=Kind.TAXONOMY.prefix + name,
    )


def apply(here: Asked, row: CollectionRow, given: Application) -> tuple[str, str]:
    """Attach a taxonomy, or let a run follow its newest version; return the task, and its name."""
    name, rules = _applied(here, row.name, given)
    with here.workshop.store.read() as snapshot:
        fields = {one.name: one for one in fields_of(snapshot, row.pk)}
    attached = [rule for rule in rules if rule.field in fields]
    for rule in attached:
        if fields[rule.field].taxonomy.reference != rule.reference:
            raise Conflict(
                f"the field {rule.field!r} of {row.name!r} refers to "
                f"{fields[rule.field].taxonomy.reference!r}, which cannot change; "
                "give the taxonomy another field"
            )
    new = [rule for rule in rules if rule.field not in fields]
    if new:
        attach(here.workshop, here.namespace, row, new)
    with here.workshop.store.write() as txn:
        runs = [_run(rule) for rule in attached]
        task = _ask(here, txn, row, TaskKind.DECIDE, {"taxonomy": name, "runs": runs})
    here.context.worker.wake()
    return task, name


def shown(here: Asked, snapshot: Snapshot, row: CollectionRow) -> CollectionReply:
    """Return a collection as it is shown."""
    fields = fields_of(snapshot, row.pk)
    space, waiting, failed = _state(snapshot, row.pk)
    source = None if row.source_pk is None else _id(resource(snapshot, row.source_pk).name)
    buckets = [Kind.BUCKET.prefix + resource(snapshot, pk).name for pk in row.bucket_pks]
    applied = dict.fromkeys(one.taxonomy.taxonomy for one in fields if one.taxonomy.taxonomy)
    return CollectionReply(
        collection_id=_id(row.name),
        collection_name=row.name,
        description=row.about.get("description"),
        metadata=row.about.get("metadata") or {},
        source=SourceReply(
            type="bucket" if source is None else "collection",
            bucket_ids=buckets if source is None else None,
            collection_id=source,
        ),
        feature_extractor=_extractor(row, space),
        space=space,
        document_count=count_documents(snapshot, row.pk),
        waiting_count=waiting,
        failed_count=failed,
        fields=[_field(one) for one in fields],
        taxonomy_applications=[
            ApplicationReply(taxonomy_id=Kind.TAXONOMY.prefix + name) for name in applied
        ],
        created_at=datetime.fromtimestamp(row.created_at, UTC),
    )


def _plan(here: Asked, body: NewCollection) -> Plan:
    extractor, source = body.feature_extractor, body.source
    buckets = source.bucket_ids or ([source.bucket_id] if source.bucket_id else [])
    over = (source.collection_ids or [source.collection_id])[0] if source.type != "bucket" else None
    if source.type == "collection" and over is None:
        raise BadInput("say which collection: source.collection_id")
    about = {
        "description": body.description,
        "metadata": body.metadata or {},
        "extractor_version": extractor.version,
    }
    return Plan(
        body.collection_name,
        tuple(buckets),
        over,
        extractor.feature_extractor_name,
        extractor.options,
        extractor.inputs,
        extractor.passthrough,
        about,
    )


def _rules(
    here: Asked, own: str, inline: InlineTaxonomy | None, applications: Sequence[Application] | None
) -> tuple[tuple[str, Spec] | None, list[Taxonomy]]:
    """Return the taxonomy to be made of an inline one, and the rules of all label fields."""
    made, rules = None, []
    given = list(applications or ())
    if inline is not None and inline.taxonomy_id:
        rest = inline.model_dump(include={"confidence_threshold", "target_precision", "targets"})
        given.append(Application(taxonomy_id=inline.taxonomy_id, **rest))
    elif inline is not None:
        spec = inline.spec()
        with here.workshop.store.read() as snapshot:
            made = (_free_name(here, snapshot, own, spec), spec)
            rules += rules_of(snapshot, here.namespace, *made, own)
    for one in given:
        rules += _applied(here, own, one)[1]
    return made, rules


def _applied(here: Asked, own: str, given: Application) -> tuple[str, list[Taxonomy]]:
    if given.scroll_filters:
        raise BadInput("scroll_filters are not known here: a taxonomy decides all documents")
    said: dict[str, Any] = given.model_dump(
        include={"confidence_threshold", "target_precision", "targets", "top_k"}, exclude_none=True
    )
    with here.workshop.store.read() as snapshot:
        row = taxonomy_row(named(snapshot, here.namespace, Kind.TAXONOMY, given.taxonomy_id))
        spec = replace(row.spec, **said)
        rules = rules_of(snapshot, here.namespace, row.name, spec, own)
    return row.name, [replace(rule, version=len(row.versions)) for rule in rules]


def _free_name(here: Asked, snapshot: Snapshot, own: str, spec: Spec) -> str:
    fields = "_".join(spec.fields) or "label"
    base = re.sub(r"[^A-Za-z0-9_-]", "_", f"{own}_{fields}")[:96]
    name, number = base, 1
    while find(snapshot, here.namespace, Kind.TAXONOMY, name) is not None:
        number += 1
        name = f"{base}_{number}"
    return name


def _check_new(here: Asked, plan: Plan, rules: Sequence[Taxonomy]) -> None:
    """Raise for what making the collection would raise, before a curated one is changed for it."""
    with here.workshop.store.read() as snapshot:
        if find(snapshot, here.namespace, Kind.COLLECTION, plan.name) is not None:
            raise Conflict(f"there is a collection {plan.name!r} already; choose another name")
        for name in plan.buckets:
            bucket = named(snapshot, here.namespace, Kind.BUCKET, name)
            _check_inputs(plan, bucket)
    twice = [rule.field for rule in rules]
    if len(set(twice)) < len(twice):
        raise BadInput(f"two taxonomies fill the same field of {plan.name!r}: {sorted(twice)}")


def _check_inputs(plan: Plan, bucket: Any) -> None:
    known = bucket.spec.get("properties") or {}
    for key, path in plan.inputs.items():
        if known and path.partition(".")[0] not in known:
            raise BadInput(
                f"the input {key!r} is mapped to {path!r}, which the bucket {bucket.name!r} has "
                f"not (known: {', '.join(sorted(known))})"
            )


def _passing(plan: Plan, rules: Sequence[Taxonomy]) -> Plan:
    """Let documents keep what the matched reference gives to others."""
    if plan.passthrough is None:
        return plan
    copied = {name: name for rule in rules for name in rule.enrich}
    return replace(plan, passthrough={**copied, **plan.passthrough})


def _make_taxonomy(here: Asked, txn: Txn, row: CollectionRow, name: str, spec: Spec) -> None:
    at = here.workshop.clock()
    about = {_INLINE: row.name}
    make(txn, here.namespace, Kind.TAXONOMY, name, stored([(spec, at)], about), at=at)


def _adopt(here: Asked, row: CollectionRow, inline: InlineTaxonomy) -> None:
    """Let the label fields of an inline taxonomy follow its rule; attach those that are new."""
    spec = inline.spec()
    with here.workshop.store.read() as snapshot:
        known = {one.name: one for one in fields_of(snapshot, row.pk)}
        if not spec.fields:
            spec = replace(spec, fields={name: name for name in list(known)[:1]})
        name = _free_name(here, snapshot, row.name, spec)
        rules = rules_of(snapshot, here.namespace, name, spec, row.name)
    new = [rule for rule in rules if rule.field not in known]
    collection = here.collection(row.name)
    for rule in rules:
        if rule.field in known:
            collection.run(**_run(rule))
    if new:
        attach(here.workshop, here.namespace, row, new)
        with here.workshop.store.write() as txn:
            _make_taxonomy(here, txn, row, name, spec)


def _run(rule: Taxonomy) -> dict[str, Any]:
    """Return what `Collection.run` is told, so that a field follows a rule."""
    if rule.confidence_threshold is not None:
        return {"field": rule.field, "confidence_threshold": rule.confidence_threshold}
    return {
        "field": rule.field,
        "target_precision": rule.target_precision,
        "targets": dict(rule.targets),
    }


def _ask(here: Asked, txn: Txn, row: CollectionRow, kind: TaskKind, more: Mapping[str, Any]) -> str:
    spec = {"collection_pk": row.pk, "collection": row.name, "actor": here.workshop.actor, **more}
    return ask_for(txn, here.namespace, kind, spec, at=here.workshop.clock())


def _state(snapshot: Snapshot, pk: int) -> tuple[str | None, int, int]:
    """Return the space of a collection, and how many objects wait and have failed."""
    spaces = snapshot.rows(select(schema.space.c.name).where(schema.space.c.collection_pk == pk))
    table = schema.extraction
    counts = select(table.c.status, func.count().label("n")).where(table.c.collection_pk == pk)
    by_status = {row.status: row.n for row in snapshot.rows(counts.group_by(table.c.status))}
    failed = by_status.pop(Status.FAILED, 0)
    return spaces[0].name if spaces else None, sum(by_status.values()), failed


def _extractor(row: CollectionRow, space: str | None) -> ExtractorReply:
    version = row.about.get("extractor_version") or "v1"
    if space is not None:
        version = space.partition("/")[0].rpartition(".")[2]
    passed = (row.passthrough or {}).items()
    return ExtractorReply(
        feature_extractor_name=row.extractor,
        version=version,
        feature_extractor_id=f"{row.extractor}_{version}",
        input_mappings=dict(row.inputs),
        field_passthrough=[
            PassedReply(source_path=source, target_path=target) for target, source in passed
        ],
    )


def _field(one: FieldRow) -> FieldReply:
    rule = one.taxonomy
    calibrates = rule.confidence_threshold is None
    return FieldReply(
        field=one.name,
        mode="unified" if one.pk == one.reference_field_pk else "separate",
        reference_collection_id=_id(rule.reference),
        reference_field=rule.reference_field,
        policy=one.policy,
        confidence_threshold=rule.confidence_threshold,
        target_precision=rule.target_precision if calibrates else None,
        limit=one.limit,
        top_k=rule.top_k,
        enrich=list(rule.enrich),
        version=rule.version,
        taxonomy_id=Kind.TAXONOMY.prefix + rule.taxonomy if rule.taxonomy else None,
    )


def _id(name: str) -> str:
    return Kind.COLLECTION.prefix + name
