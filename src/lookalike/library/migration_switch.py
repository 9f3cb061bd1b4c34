"""Switch collections to their standby space, all in one transaction.

Documents keep their pks, ids, labels and history. Their parts take the names and attributes of the
other extractor; the old ones are stored, so that a later migration can switch back. Objects that
are not extracted in the new space yet wait for extraction, like new objects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sqlalchemy import and_, delete, exists, insert, literal, select, update

from lookalike.catalog.fields import space_in_force, taxonomy_to
from lookalike.catalog.objects import finish, labels_as_they_stand
from lookalike.catalog.reader import FieldRow, fields_of
from lookalike.catalog.resources import CollectionRow, Kind, collection_from, collection_row, named
from lookalike.catalog.resources import change as write_spec
from lookalike.catalog.spaces import (
    ExtractedParts,
    findings_of,
    make_standby,
    objects_left,
    standby_spaces,
    write_standby_findings,
)
from lookalike.catalog.taxonomies import rule_of
from lookalike.content.pictures import kinds_named
from lookalike.decisions.decider import LabelChange
from lookalike.decisions.decision_log import log_unplaced
from lookalike.decisions.ledger.statements import write_statements
from lookalike.decisions.operations import Operations, Running
from lookalike.errors import BadInput, Conflict
from lookalike.extractors.base import Extractor, Part
from lookalike.extractors.registry import extractor_name, options_to_store
from lookalike.ingest.documents import NewDocument, Target, write_documents
from lookalike.ingest.part_matching import rename
from lookalike.model import Answer, EventKind, Origin, Reason, Status
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Store, StoredSpace, Txn, conditions

# --- checks before a switch ----------------------------------------------------------------------

Build = Callable[[str, Mapping[str, Any]], Extractor]
"""Returns the extractor with a name and options."""

_OWN_VECTORS = "passthrough"


@dataclass(frozen=True, slots=True)
class Change:
    """A collection before a switch, and the target: its new extractor and standby space.

    `before` is the current space; None if the collection has no documents yet.
    """

    row: CollectionRow
    target: Target
    before: StoredSpace | None

    @property
    def pk(self) -> int:
        """Return the collection's pk."""
        return self.row.pk

    @property
    def after(self) -> StoredSpace:
        """Return the space to which the collection switches."""
        return self.target.space


def changes_to(
    store: Store,
    build: Build,
    namespace: str,
    collections: Sequence[str],
    extractor: str,
    options: Mapping[str, Any] | None,
) -> list[Change]:
    """Return the changes of collections to an extractor; create its standby spaces if missing.

    Without `options` they are those that the extractor last had in the collection.

    Raises NotFound for an unknown collection or extractor, BadInput for a collection of the user's
    own vectors, Conflict if the extractor is the current one, or if a collection and that of its
    references would be in different spaces.
    """
    full = extractor_name(extractor)
    if not collections:
        raise BadInput("nothing to migrate: give one or more collections")
    with store.write() as txn:
        rows = [
            collection_from(named(txn, namespace, Kind.COLLECTION, name))
            for name in dict.fromkeys(collections)
        ]
        _check_together(txn, rows, full)
        return [_change(build, txn, row, full, options) for row in rows]


def is_as_planned(snapshot: Snapshot, change: Change) -> bool:
    """Return whether a collection has not changed since its change was planned."""
    row = collection_row(snapshot, change.pk)
    same = (row.extractor, row.options) == (change.row.extractor, change.row.options)
    return same and space_in_force(snapshot, change.pk) == change.before


# --- helpers --------------------------------------------------------------------------------------


def _change(
    build: Build,
    txn: Txn,
    row: CollectionRow,
    extractor: str,
    options: Mapping[str, Any] | None,
) -> Change:
    if _OWN_VECTORS in (extractor, row.extractor):
        raise BadInput(
            f"cannot migrate {row.name!r} from or to your own vectors, which are not extracted: "
            "create a collection for the new vectors, and import the labels into it by id"
        )
    known = [one for one in standby_spaces(txn, row.pk) if one.extractor == extractor]
    if options is None:
        options = known[-1].options if known else {}
    options = options_to_store(extractor, options)
    built = build(extractor, options)
    _check_reads(build(row.extractor, row.options), row, extractor, built.accepts)
    before = space_in_force(txn, row.pk)
    if before is not None and before.name == built.space.name:
        raise Conflict(
            f"the collection {row.name!r} is already in {before.name}: there is nothing to "
            "extract again; for other options with the same space create another collection"
        )
    maker = {"extractor": extractor, "options": options}
    after = make_standby(txn, row.pk, built.space, maker)
    fields = {field.name: field.pk for field in fields_of(txn, row.pk)}
    new = replace(row, extractor=extractor, options=options)
    return Change(row, Target(new, fields, built, after), before)


def _check_reads(
    before: Extractor, row: CollectionRow, extractor: str, accepts: frozenset[str]
) -> None:
    """Raise BadInput for an extractor that reads none of the content of the current one."""
    if not before.accepts & accepts:
        raise BadInput(
            f"{extractor!r} reads {' and '.join(kinds_named(accepts))}, and {row.name!r} holds "
            f"{' and '.join(kinds_named(before.accepts))}: create another collection for that"
        )


def _check_together(snapshot: Snapshot, rows: Sequence[CollectionRow], extractor: str) -> None:
    """Raise Conflict if a collection and that of its references would be in different spaces."""
    table, referred = schema.field, schema.field.alias()
    query = select(table.c.collection_pk, referred.c.collection_pk.label("reference_pk")).join(
        referred, referred.c.pk == table.c.reference_field_pk
    )
    pairs = [(one.collection_pk, one.reference_pk) for one in snapshot.rows(query)]
    given = {row.pk for row in rows}
    linked = set(given)
    while more := {pk for pair in pairs if linked & {*pair} for pk in pair} - linked:
        linked |= more
    if linked == given:
        return
    names = [row.name for row in rows]
    others = sorted(collection_row(snapshot, pk).name for pk in linked - given)
    raise Conflict(
        f"{', '.join(map(repr, names))} and {', '.join(map(repr, others))} use references of each "
        "other, so they must be in one embedding space; migrate them together: "
        f"lookalike migrate {' '.join([*names, *others])} --extractor {extractor}"
    )


# -------------------------------------------------------------------------------------------------

_BLOCK = 2000
_NOTHING_DECIDED: Mapping[str, Any] = {
    "confidence": None,
    "margin": None,
    "runner_up": None,
    "source_pk": None,
    "reason": None,
}


def switch(
    operations: Operations,
    running: Running,
    changes: Sequence[Change],
    confidence_threshold: float | None,
) -> None:
    """Switch collections to their standby spaces, and decide all documents again.

    Fields with the policy `threshold` get `confidence_threshold`, if given. Raises Conflict if a
    collection has changed since the change was planned.
    """
    txn = running.txn
    for one in changes:
        if not is_as_planned(txn, one):
            raise Conflict(f"the collection {one.row.name!r} was changed meanwhile: migrate again")
    fields = [(one, field) for one in changes for field in fields_of(txn, one.pk)]
    for one in changes:
        _exchange(txn, one, running.pk)
    new = [(one, _adopted(running, one)) for one in changes]
    for one, documents in new:
        for start in range(0, len(documents), _BLOCK):
            block = documents[start : start + _BLOCK]
            write_documents(operations, running, one.target, block)
    for one, field in fields:
        _decide(operations, running, field, confidence_threshold)
        _clear_unplaced(running, field.pk, one)


# --- the collection -------------------------------------------------------------------------------


def _exchange(txn: Txn, one: Change, operation: int) -> None:
    """Make the current space standby and the other one current; drop the fitted decision rules."""
    table, field, waiting = schema.space, schema.field, schema.extraction
    if one.before is not None:
        write_standby_findings(txn, one.row, one.before)
        maker = {"extractor": one.row.extractor, "options": dict(one.row.options)}
        old = update(table).where(table.c.pk == one.before.pk)
        txn.execute(old.values(beside=True, maker=maker))
    new = update(table).where(table.c.pk == one.after.pk)
    alone = {"beside": False, "maker": None, "owner": None, "expires_at": None}
    txn.execute(new.values(since=operation, **alone))
    write_spec(txn, one.pk, one.target.row.spec)
    moved = {"standard": None, "epoch": field.c.epoch + 1}
    txn.execute(update(field).where(field.c.collection_pk == one.pk).values(moved))
    here = waiting.c.collection_pk == one.pk
    waits = {"status": Status.PENDING.value, "owner": None, "expires_at": None, "error": None}
    txn.execute(update(waiting).where(here, waiting.c.status == Status.PROCESSING).values(waits))
    left = objects_left(one.row, one.after).with_only_columns(schema.object_.c.pk)
    failed = here & waiting.c.object_pk.in_(left)
    txn.execute(update(waiting).where(failed).values(waits))
    also = exists().where(here, waiting.c.object_pk == schema.object_.c.pk)
    also = also.correlate(schema.object_)
    rows = left.where(~also).add_columns(literal(one.pk), literal(Status.PENDING.value))
    txn.execute(insert(waiting).from_select(["object_pk", "collection_pk", "status"], rows))


def _adopted(running: Running, one: Change) -> list[NewDocument]:
    """Match documents to the extracted parts, and return the parts that become new documents."""
    txn, table, after, new = running.txn, schema.finding, 0, list[NewDocument]()
    while findings := findings_of(txn, one.after, after=after, limit=_BLOCK):
        after = findings[-1].object_pk
        _write_statuses(txn, one, findings)
        changed = rename(txn, one.pk, findings)
        for field in fields_of(txn, one.pk):
            write_statements(txn, running.pk, field.pk, changed)
        new += _new_documents(txn, findings)
    txn.execute(delete(table).where(table.c.space_pk == one.after.pk))
    return new


def _write_statuses(txn: Txn, one: Change, findings: Sequence[ExtractedParts]) -> None:
    """Mark failed objects, and mark those as done that had failed before and have not now."""
    waiting = schema.extraction
    key = {"collection_pk": one.pk, "owner": None, "expires_at": None}
    good = [finding.object_pk for finding in findings if finding.error is None]
    here = select(waiting.c.object_pk).where(waiting.c.collection_pk == one.pk)
    had_failed = [
        row.object_pk
        for chosen in conditions(waiting.c.object_pk, good)
        for row in txn.rows(here.where(waiting.c.status == Status.FAILED, chosen))
    ]
    if had_failed:
        finish(txn, one.pk, had_failed)
    waits = {row.object_pk for row in txn.rows(here.where(waiting.c.status != Status.FAILED))}
    txn.upsert(
        waiting,
        [
            {**key, "object_pk": each.object_pk, "status": Status.FAILED, "error": each.error}
            for each in findings
            if each.error is not None and each.object_pk not in waits
        ],
    )


def _new_documents(txn: Txn, findings: Sequence[ExtractedParts]) -> list[NewDocument]:
    """Return the parts that are not documents yet."""
    table = schema.object_
    found = {each.object_pk: each for each in findings if len(each.vectors)}
    query = select(table)
    rows = {
        row.pk: row
        for chosen in conditions(table.c.pk, list(found))
        for row in txn.rows(query.where(chosen))
    }
    metadata = labels_as_they_stand(txn, {pk: row.metadata for pk, row in rows.items()})
    return [
        NewDocument(pk, row.id, row.name, found[pk].sha256, metadata[pk], part, row.said_by or ())
        for pk, row in rows.items()
        for part in _new_parts(found[pk])
    ]


def _new_parts(finding: ExtractedParts) -> list[Part]:
    new = (part for part in finding.parts if part.document_pk is None)
    vectors = finding.vectors.astype(np.float32)
    return [
        Part(vector, part.key, part.attributes) for part, vector in zip(new, vectors, strict=True)
    ]


# --- its fields -----------------------------------------------------------------------------------


def _decide(
    operations: Operations, running: Running, field: FieldRow, confidence_threshold: float | None
) -> None:
    """Decide a field from scratch, with the new threshold if its policy is `threshold`."""
    before = field.taxonomy
    if before.confidence_threshold is None or confidence_threshold is None:
        operations.decide_all(running, field.pk)
        return
    after = rule_of(before, confidence_threshold, None, None)
    if after == before:
        operations.decide_all(running, field.pk)
        return
    changed = (taxonomy_to(before), taxonomy_to(after))
    operations.configure(running, field.pk, *changed)


def _clear_unplaced(running: Running, field_pk: int, one: Change) -> None:
    """Remove the automatic decisions of documents without a vector in the new space."""
    txn, standing = running.txn, schema.standing
    failed = {"label": None, "origin": None, "reason": Reason.EXTRACTION_FAILED.value}
    lost: dict[int, LabelChange] = {}
    cleared: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for row in _unplaced(txn, field_pk, one.after):
        is_given = row.origin not in (None, Origin.AUTO) or row.answer == Answer.NEW_KIND
        values = {**_NOTHING_DECIDED} | ({} if is_given else failed)
        if all(getattr(row, name) == value for name, value in values.items()):
            continue
        key = {"field_pk": field_pk, "document_pk": row.document_pk, "revision": running.pk}
        cleared[is_given].append({**key, **values})
        if not is_given and row.label is not None:
            lost[row.document_pk] = (row.label, None)
    for rows in cleared.values():
        txn.update(standing, rows)
    given, others = ([row["document_pk"] for row in cleared[key]] for key in (True, False))
    log_unplaced(txn, field_pk, running.pk, given, others)
    event = {"operation_pk": running.pk, "kind": EventKind.DECIDED, "field_pk": field_pk}
    no_label = {"label": None, "origin": Origin.AUTO}
    txn.insert(schema.event, [{**event, "document_pk": pk, **no_label} for pk in lost])
    running.effects.add(field_pk, lost)


def _unplaced(txn: Txn, field_pk: int, space: StoredSpace) -> Sequence[Any]:
    standing, embedding = schema.standing, schema.embedding
    has = and_(embedding.c.space_pk == space.pk, embedding.c.document_pk == standing.c.document_pk)
    return txn.rows(select(standing).where(standing.c.field_pk == field_pk, ~exists().where(has)))
