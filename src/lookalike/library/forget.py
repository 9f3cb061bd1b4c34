"""Erase objects, or parts of them, with everything derived from them; return a receipt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Text, and_, cast, delete, or_, select, true, update

from lookalike.catalog.idempotency import Replayed
from lookalike.catalog.label_names import erase_names, naming_of
from lookalike.catalog.objects import is_same, remember, unshown
from lookalike.catalog.resources import Kind, collections_over
from lookalike.catalog.spaces import delete_stale_findings, forget_findings
from lookalike.content.boxes import PartRegion, view_of
from lookalike.decisions.decision_log import erase_from_log
from lookalike.decisions.ledger.samples import erase_label
from lookalike.decisions.operations import Running
from lookalike.ingest.erasure import erase_documents
from lookalike.library.runtime import Runtime
from lookalike.model import Blob, Changed, EventKind
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn, conditions, one_of

_KEPT = "blob:"
_BLOB = schema.upload.c.blob
_NAMED = 32
"""Up to this number of copies are searched by name; for more, all names are read."""

_PAGE_ROWS = 20_000

_FORGOTTEN = {"label": None, "origin": None, "detail": None, "kind": EventKind.FORGOTTEN}
"""The values of an erased event."""

_COUNTED = ("labelled", "relabelled", "unlabelled", "promoted", "renamed", "given")
"""The values in the summary of an operation that are counted by label."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The counts of what `forget` erased. It has no names, ids or labels of erased data."""

    operation: str
    objects: int
    documents: int
    vectors: int
    labels: int
    events: int
    copies: int
    thumbnails: int
    effects: Changed


def forget(runtime: Runtime, running: Running, pks: Sequence[int]) -> None:
    """Erase the objects of documents from every collection of their bucket, in a transaction."""
    table = schema.document
    query = select(table.c.object_pk).distinct().where(one_of(table.c.pk, pks))
    erase_objects(runtime, running, [row.object_pk for row in running.txn.rows(query)])


def forget_parts(runtime: Runtime, running: Running, pks: Sequence[int]) -> None:
    """Erase documents, in a transaction, and documents of the same part in other collections.

    The objects stay with their other parts, and record the erased places, so that no extraction
    recreates the parts. A document that is a whole item is erased with its object.
    """
    txn, document = running.txn, schema.document
    chosen = txn.rows(select(document).where(one_of(document.c.pk, pks)))
    whole = with_copies(txn, sorted({row.object_pk for row in chosen if row.part == ""}))
    parts = [row for row in chosen if row.object_pk not in set(whole)]
    parts += _same_elsewhere(txn, parts)
    remember(txn, [(row.object_pk, row.sha256, row.part, row.attributes) for row in parts])
    views = [(row.sha256.hex(), view_of(row.attributes)) for row in parts]
    kept = sorted({row.object_pk for row in parts})
    _erase(runtime, running, whole, sorted({row.pk for row in parts}), views, kept)


def forget_label(txn: Txn, collection_pk: int, field_pk: int, label: str) -> None:
    """Erase the name of a label without documents, and its old names, from events and summaries."""
    event, rejection = schema.event, schema.rejection
    names = naming_of(txn, field_pk).all_names(label)
    for name, before in names.items():
        has_label = (event.c.field_pk == field_pk) & (event.c.label == name)
        is_older = true() if before is None else event.c.operation_pk < before
        txn.execute(update(event).where(has_label, is_older).values(_FORGOTTEN))
        erase_label(txn, field_pk, name)
        erase_from_log(txn, field_pk, name, before)
        _forget_counts(txn, collection_pk, name)
    erase_names(txn, field_pk, names)
    rejected = (rejection.c.field_pk == field_pk) & (rejection.c.label == label)
    txn.execute(delete(rejection).where(rejected))


def _forget_counts(txn: Txn, collection_pk: int, label: str) -> None:
    operation = schema.operation
    has_name = cast(operation.c.summary, Text).contains(json.dumps(label)[1:-1], autoescape=True)
    query = select(operation.c.pk, operation.c.summary)
    for row in txn.rows(query.where(operation.c.collection_pk == collection_pk, has_name)):
        counts = {
            name: {
                key: value
                for key, value in row.summary.get(name, {}).items()
                if label not in (key, value)
            }
            for name in _COUNTED
        }
        chosen = update(operation).where(operation.c.pk == row.pk)
        txn.execute(chosen.values(summary={**row.summary, **counts}))


def erase_objects(runtime: Runtime, running: Running, pks: Sequence[int]) -> None:
    """Erase objects of any status from every collection, in a transaction."""
    _erase(runtime, running, with_copies(running.txn, pks))


def _erase(
    runtime: Runtime,
    running: Running,
    objects: Sequence[int],
    parts: Sequence[int] = (),
    views: Sequence[tuple[str, str]] = (),
    kept: Sequence[int] = (),
) -> None:
    """Erase `objects` with all their documents; and `parts` with `views` of the `kept` objects."""
    txn, document = running.txn, schema.document
    chosen = or_(one_of(document.c.object_pk, objects), one_of(document.c.pk, parts))
    doomed = [row.pk for row in txn.rows(select(document.c.pk).where(chosen))]
    blobs = blobs_of(txn, objects)
    labels, events, vectors = erase_documents(runtime.operations, running, doomed)
    for collection_pk in _over(txn, kept):
        delete_stale_findings(txn, collection_pk, kept)
    erase_rows(txn, objects)
    copies, thumbnails = erase_files(runtime, txn, blobs)
    hidden = unshown(txn, views)
    thumbnails += sum(runtime.thumbnails.forget_view(*one) for one in hidden)
    running.erased = {
        "objects": len(objects),
        "documents": len(doomed),
        "vectors": vectors,
        "labels": labels,
        "events": events,
        "copies": copies,
        "thumbnails": thumbnails,
    }


def erase_rows(txn: Txn, objects: Sequence[int]) -> None:
    """Erase objects without documents, with their waiting extractions, findings and uploads."""
    waiting, upload = schema.extraction, schema.upload
    resource, object_ = schema.resource, schema.object_
    collections = select(resource.c.pk).where(resource.c.kind == Kind.COLLECTION)
    everywhere = waiting.c.collection_pk.in_(collections)
    txn.execute(delete(waiting).where(everywhere, one_of(waiting.c.object_pk, objects)))
    forget_findings(txn, objects)
    sent = select(upload.c.pk).join(
        object_, (object_.c.bucket_pk == upload.c.bucket_pk) & (object_.c.id == upload.c.object_id)
    )
    uploads = [row.pk for row in txn.rows(sent.where(one_of(object_.c.pk, objects)))]
    txn.execute(delete(upload).where(one_of(upload.c.pk, uploads)))
    txn.execute(delete(schema.forgotten).where(one_of(schema.forgotten.c.object_pk, objects)))
    txn.execute(delete(schema.amendment).where(one_of(schema.amendment.c.object_pk, objects)))
    txn.execute(delete(object_).where(one_of(object_.c.pk, objects)))


def erase_files(runtime: Runtime, txn: Txn, blobs: Sequence[Blob]) -> tuple[int, int]:
    """Erase the files of blobs that no row has; return the counts of copies and thumbnails.

    Call it last before the commit: after the commit, an interruption would leave files that no row
    names.
    """
    copies = runtime.blobs.forget(unheld(txn, blobs))
    seen = unseen(txn, [one.sha256 for one in blobs])
    return copies, sum(runtime.thumbnails.forget(sha256) for sha256 in seen)


def receipt_of(runtime: Runtime, running: Running) -> Receipt:
    """Return the receipt of a committed erasure, after erasing caches, layouts and logs as well."""
    runtime.operations.deciders.rewrite_caches()
    runtime.layouts.forget_erased()
    runtime.store.tidy()
    return Receipt(running.id, effects=running.changed(), **running.erased)


def receipt_again(done: Replayed) -> Receipt:
    """Return the receipt of an erasure that was done before with the same `op_id`."""
    return Receipt(done.changed.operation, effects=done.changed, **done.erased)


def blobs_of(snapshot: Snapshot, objects: Sequence[int]) -> tuple[Blob, ...]:
    """Return all blobs of objects."""
    object_ = schema.object_
    rows = snapshot.rows(select(object_.c.blobs).where(one_of(object_.c.pk, objects)))
    return tuple(Blob(**blob) for row in rows for blob in row.blobs)


def unheld(snapshot: Snapshot, blobs: Sequence[Blob]) -> tuple[Blob, ...]:
    """Return the stored copies among `blobs` that no object and no upload has, without repeats."""
    copies = {blob.uri: blob for blob in blobs if blob.uri.startswith(_KEPT)}
    if not copies:
        return ()
    for uri in _held(snapshot, sorted(copies)):
        copies.pop(uri, None)
    return tuple(copies.values())


def unseen(snapshot: Snapshot, contents: Sequence[str]) -> tuple[str, ...]:
    """Return the contents (digests) that no document has."""
    table = schema.document
    left = sorted(set(contents))
    seen: set[str] = set()
    for start in range(0, len(left), _PAGE_ROWS):
        digests = [bytes.fromhex(one) for one in left[start : start + _PAGE_ROWS]]
        rows = snapshot.rows(select(table.c.sha256).distinct().where(table.c.sha256.in_(digests)))
        seen |= {row.sha256.hex() for row in rows}
    return tuple(one for one in left if one not in seen)


def with_copies(snapshot: Snapshot, pks: Sequence[int]) -> list[int]:
    """Return objects (pks) and the copies that promotion made of them in other buckets."""
    chosen = conditions(schema.document.c.object_pk, pks)
    copies = [row.object_pk for one in chosen for row in _copied(snapshot, one)]
    return sorted({*pks, *copies})


def _copied(snapshot: Snapshot, chosen: ColumnElement[bool]) -> Sequence[Any]:
    """Return pk and object of the copies that promotion made of the chosen documents.

    A document with the same id and content is a copy only if an operation of the original's
    collection promoted it.
    """
    document, object_, event = schema.document, schema.object_, schema.event
    operation = schema.operation
    copied, copy = document.alias(), object_.alias()
    query = (
        select(copied.c.pk, copied.c.object_pk)
        .distinct()
        .select_from(document)
        .join(object_, object_.c.pk == document.c.object_pk)
        .join(copied, and_(copied.c.sha256 == document.c.sha256, copied.c.part == document.c.part))
        .join(copy, copy.c.pk == copied.c.object_pk)
        .join(event, event.c.document_pk == copied.c.pk)
        .join(operation, operation.c.pk == event.c.operation_pk)
        .where(copy.c.id == object_.c.id, copy.c.key == object_.c.key)
        .where(copied.c.pk != document.c.pk, event.c.kind == EventKind.PROMOTED)
        .where(operation.c.collection_pk == document.c.collection_pk)
    )
    return snapshot.rows(query.where(chosen))


def _over(snapshot: Snapshot, objects: Sequence[int]) -> list[int]:
    """Return the pks of the collections over the buckets of objects."""
    object_ = schema.object_
    query = select(object_.c.bucket_pk).distinct().where(one_of(object_.c.pk, objects))
    return sorted(
        {
            collection.pk
            for row in snapshot.rows(query)
            for collection in collections_over(snapshot, row.bucket_pk, derived=True)
        }
    )


def _same_elsewhere(snapshot: Snapshot, parts: Sequence[Any]) -> list[Any]:
    """Return other documents of the same parts: promoted copies, and those of other collections."""
    document = schema.document
    known = {row.pk for row in parts}
    copies = {row.pk for row in _copied(snapshot, one_of(document.c.pk, known))}
    places: dict[tuple[int, bytes], list[tuple[int, PartRegion]]] = {}
    for row in parts:
        place = (row.collection_pk, PartRegion(row.part, row.attributes))
        places.setdefault((row.object_pk, row.sha256), []).append(place)
    objects = one_of(document.c.object_pk, {object_pk for object_pk, _ in places})
    query = select(document).where(or_(objects, one_of(document.c.pk, copies)))

    def is_shown(row: Any) -> bool:
        place = PartRegion(row.part, row.attributes)
        here = places.get((row.object_pk, row.sha256), ())
        return any(
            collection_pk != row.collection_pk and is_same(place, other)
            for collection_pk, other in here
        )

    return [
        row
        for row in snapshot.rows(query.where(document.c.part != ""))
        if row.pk not in known and (row.pk in copies or is_shown(row))
    ]


def _held(snapshot: Snapshot, uris: Sequence[str]) -> Iterator[str]:
    """Yield the URIs of objects and uploads; at least those among `uris` that one of them has."""
    for table, column in ((schema.object_, schema.object_.c.blobs), (schema.upload, _BLOB)):
        text, last = cast(column, Text), 0
        named: ColumnElement[bool] = text.contains(_KEPT)
        if len(uris) <= _NAMED:
            named = or_(*(text.contains(uri) for uri in uris))
        query = select(table.c.pk, column.label("blobs")).where(named).order_by(table.c.pk)
        while rows := snapshot.rows(query.where(table.c.pk > last).limit(_PAGE_ROWS)):
            last = rows[-1].pk
            for row in rows:
                for blob in row.blobs if isinstance(row.blobs, list) else [row.blobs]:
                    yield blob["uri"]
