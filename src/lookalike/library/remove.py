"""Remove collections and buckets with everything in them, in batches that may be interrupted.

A batch is one transaction: after an interruption the store is sound, and removing again continues.
The resource itself is removed last, so until then its name shows what is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from sqlalchemy import Table, delete, func, select, update

from lookalike.catalog.idempotency import Request, refuse_repetition
from lookalike.catalog.objects import object_pks
from lookalike.catalog.resources import (
    CollectionRow,
    collection_row,
    collections_from,
    collections_over,
    resource,
)
from lookalike.catalog.spaces import drop_all, erase_everywhere
from lookalike.decisions.ledger.samples import drop_audits
from lookalike.errors import BadInput, Conflict
from lookalike.library import forget
from lookalike.library.runtime import Runtime
from lookalike.model import Blob
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn, conditions, one_of

_FORGET_OBJECTS = 5000
_REMOVE_ROWS = 5000
_NAMES_SHOWN = 5
_DOCUMENT = schema.standing.c.document_pk


@dataclass(frozen=True, slots=True)
class Removed:
    """The names of removed collections and buckets, and counts of what was in them.

    `copies` counts removed files of the store; the user's own files stay.
    """

    collections: tuple[str, ...] = ()
    buckets: tuple[str, ...] = ()
    objects: int = 0
    documents: int = 0
    labels: int = 0
    copies: int = 0
    thumbnails: int = 0

    def and_also(self, more: Removed) -> Removed:
        """Return the sum of both."""
        names = [part.name for part in fields(self)]
        return Removed(**{name: getattr(self, name) + getattr(more, name) for name in names})


def forget_objects(
    runtime: Runtime,
    bucket_pk: int,
    object_ids: Sequence[str],
    *,
    actor: str = "",
    op_id: str = "",
) -> forget.Receipt:
    """Erase objects of a bucket, extracted or not, with their documents in every collection.

    Documents that depended on their labels are decided again. More than 5,000 objects take several
    operations; the receipt names the last one and counts all. Raises NotFound, and erases nothing,
    for unknown ids. With an `op_id` (up to 5,000 objects) a repeated call changes nothing.
    """
    request = Request.of(op_id, bucket_pk, "forget", list(object_ids))
    if request is not None and len(object_ids) > _FORGET_OBJECTS:
        raise BadInput(f"an operation forgets up to {_FORGET_OBJECTS:,} objects; give fewer")
    with runtime.store.read() as snapshot:
        refuse_repetition(snapshot, request)
        pks = sorted(object_pks(snapshot, bucket_pk, object_ids).values())
        over = collections_over(snapshot, bucket_pk)
    home = over[0].pk if over else bucket_pk
    receipts = [
        _forget(runtime, home, pks[start : start + _FORGET_OBJECTS], actor, request)
        for start in range(0, max(len(pks), 1), _FORGET_OBJECTS)
    ]
    counted = ("objects", "documents", "vectors", "labels", "events", "copies", "thumbnails")
    sums = {name: sum(getattr(one, name) for one in receipts) for name in counted}
    return replace(receipts[-1], **sums)


def remove_collections(runtime: Runtime, pks: Iterable[int], *, actor: str = "") -> Removed:
    """Remove collections with documents, vectors, labels and history; their objects stay.

    Raises Conflict while another collection refers to one of them, or has it as source.
    """
    doomed = sorted(set(pks), reverse=True)  # a collection that refers to another is mostly newer
    if not doomed:
        raise BadInput("nothing to remove: give one or more collections")
    with runtime.store.write() as txn:
        _check_unreferred(txn, doomed)
        _stop_extraction(txn, doomed)
    removed = Removed()
    while True:
        for pk in doomed:
            while (batch := _empty(runtime, pk)).documents:
                removed = removed.and_also(batch)
        if (names := _drop_collections(runtime, doomed, actor)) is not None:
            runtime.layouts.forget_erased()
            runtime.store.tidy()
            return replace(removed, collections=names)


def remove_bucket(runtime: Runtime, pk: int, *, cascade: bool = False, actor: str = "") -> Removed:
    """Remove a bucket with its objects, and the copies of their files if nothing else has them.

    With `cascade` it first removes the collections that use the bucket. Raises Conflict if there
    are any without `cascade`, or if others refer to them.
    """
    with runtime.store.read() as snapshot:
        over = collections_over(snapshot, pk, derived=True)
        bucket = resource(snapshot, pk)
    if over and not cascade:
        raise Conflict(
            f"cannot remove the bucket {bucket.name!r}: used by {_named(over)}; remove these "
            "first, or give cascade"
        )
    removed = Removed()
    if over:
        removed = remove_collections(runtime, [one.pk for one in over], actor=actor)
    while (batch := _empty_bucket(runtime, pk)).objects:
        removed = removed.and_also(batch)
    with runtime.operations.operate(pk, "remove", actor or runtime.actor) as running:
        late = collections_over(running.txn, pk, derived=True)
        if late or _first_objects(running.txn, pk):
            raise Conflict(f"the bucket {bucket.name!r} is in use again; remove it once more")
        running.txn.execute(delete(schema.resource).where(schema.resource.c.pk == pk))
    runtime.layouts.forget_erased()
    runtime.store.tidy()
    return replace(removed, buckets=(bucket.name,))


# --- objects ------------------------------------------------------------------------------------


def _forget(
    runtime: Runtime, home: int, pks: Sequence[int], actor: str, request: Request | None
) -> forget.Receipt:
    actor = actor or runtime.actor
    with runtime.operations.operate(home, "forget", actor, request) as running:
        forget.erase_objects(runtime, running, pks)
    return forget.receipt_of(runtime, running)


def _first_objects(snapshot: Snapshot, bucket_pk: int) -> list[int]:
    table = schema.object_
    query = select(table.c.pk).where(table.c.bucket_pk == bucket_pk).order_by(table.c.pk)
    return [row.pk for row in snapshot.rows(query.limit(_REMOVE_ROWS))]


def _empty_bucket(runtime: Runtime, bucket_pk: int) -> Removed:
    """Remove a batch of objects of a bucket that no collection uses, or else all its uploads.

    It erases their files before the commit; after the commit, an interruption would leave files
    that no row names.
    """
    upload = schema.upload
    with runtime.store.write() as txn:
        pks = _first_objects(txn, bucket_pk)
        blobs = list(forget.blobs_of(txn, pks))
        if not pks:
            sent = upload.c.bucket_pk == bucket_pk
            kept = txn.rows(select(upload.c.blob).where(sent, upload.c.blob.is_not(None)))
            blobs = [Blob(**row.blob) for row in kept if row.blob]
            txn.execute(delete(upload).where(sent))
        forget.erase_rows(txn, pks)
        copies, thumbnails = forget.erase_files(runtime, txn, blobs)
    return Removed(objects=len(pks), copies=copies, thumbnails=thumbnails)


# --- collections --------------------------------------------------------------------------------


def _fields(snapshot: Snapshot, collections: Sequence[int]) -> list[int]:
    table = schema.field
    query = select(table.c.pk).where(table.c.collection_pk.in_(collections))
    return [row.pk for row in snapshot.rows(query)]


def _check_unreferred(snapshot: Snapshot, doomed: Sequence[int]) -> None:
    """Raise Conflict while another collection refers to one of these, or has one as source."""
    field = schema.field
    refers = field.c.reference_field_pk.in_(_fields(snapshot, doomed))
    referring = {row.collection_pk for row in snapshot.rows(select(field).where(refers))}
    derived = {one.pk for pk in doomed for one in collections_from(snapshot, pk)}
    others = sorted((referring | derived) - set(doomed))
    if others:
        first = _named([collection_row(snapshot, pk) for pk in others])
        names = _named([collection_row(snapshot, pk) for pk in sorted(doomed)])
        raise Conflict(f"cannot remove {names}: used by {first}; remove these first, or together")


def _stop_extraction(txn: Txn, collections: Sequence[int]) -> None:
    waiting = schema.extraction
    txn.execute(delete(waiting).where(waiting.c.collection_pk.in_(collections)))


def _empty(runtime: Runtime, collection_pk: int) -> Removed:
    """Remove a batch of documents of a collection with their vectors, labels and events."""
    document, standing, field = schema.document, schema.standing, schema.field
    query = select(document.c.pk, document.c.sha256).where(
        document.c.collection_pk == collection_pk
    )
    with runtime.store.write() as txn:
        rows = txn.rows(query.order_by(document.c.pk).limit(_REMOVE_ROWS))
        if not rows:
            return Removed()
        pks = np.array([row.pk for row in rows], np.int64)
        fields = _fields(txn, [collection_pk])
        labels = sum(_count_labels(txn, fields, one) for one in conditions(_DOCUMENT, pks))
        for table in (standing, schema.rejection, schema.draw, schema.sheet):
            for chosen in conditions(table.c.document_pk, pks):
                txn.execute(delete(table).where(table.c.field_pk.in_(fields), chosen))
        for table, column in ((schema.event, "document_pk"), (document, "pk")):
            for chosen in conditions(table.c[column], pks):
                txn.execute(delete(table).where(chosen))
        erase_everywhere(txn, collection_pk, pks)
        moved = update(field).where(field.c.pk.in_(fields))
        txn.execute(moved.values(epoch=field.c.epoch + 1))
        contents = forget.unseen(txn, [row.sha256.hex() for row in rows])
    thumbnails = sum(runtime.thumbnails.forget(sha256) for sha256 in contents)
    return Removed(documents=len(rows), labels=labels, thumbnails=thumbnails)


def _count_labels(snapshot: Snapshot, fields: Sequence[int], chosen: Any) -> int:
    table = schema.standing
    query = select(func.count().label("n")).where(table.c.label.is_not(None), chosen)
    return int(snapshot.rows(query.where(table.c.field_pk.in_(fields)))[0].n)


def _drop_collections(
    runtime: Runtime, doomed: Sequence[int], actor: str
) -> tuple[str, ...] | None:
    """Remove collections without documents; return their names, or None if one has documents."""
    operations, document = runtime.operations, schema.document
    with operations.operate(doomed[-1], "remove", actor or runtime.actor) as running:
        txn = running.txn
        _check_unreferred(txn, doomed)
        any_document = select(document.c.pk).where(document.c.collection_pk.in_(doomed)).limit(1)
        if txn.rows(any_document):
            return None
        _stop_extraction(txn, doomed)
        names = tuple(collection_row(txn, pk).name for pk in sorted(doomed))
        fields = _fields(txn, doomed)
        for table in (schema.event, schema.alarm, schema.decided, schema.version):
            txn.execute(delete(table).where(table.c.field_pk.in_(fields)))
        operation = schema.operation
        past = update(operation).where(operation.c.collection_pk.in_(doomed))
        txn.execute(past.values(summary={}))
        drop_audits(txn, doomed)
        _delete(txn, schema.field, "collection_pk", doomed)
        for pk in doomed:
            drop_all(txn, pk)
        _delete(txn, schema.resource, "pk", doomed)
        running.lent.erase(fields)
    runtime.book.drop(fields)
    return names


def _delete(txn: Txn, table: Table, column: str, pks: Sequence[int]) -> None:
    txn.execute(delete(table).where(one_of(table.c[column], pks)))


def _named(collections: Sequence[CollectionRow]) -> str:
    names = [repr(one.name) for one in collections]
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ("the collections " if len(names) > 1 else "the collection ") + (
        ", ".join(names[:_NAMES_SHOWN]) + more
    )
