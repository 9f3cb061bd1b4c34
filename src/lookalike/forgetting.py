"""Forgetting: erasing documents and everything derived from them, with a receipt."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Text, cast, delete, select, update

from lookalike.fields import dependents, space_of
from lookalike.model import Blob, Changed, EventKind
from lookalike.operations import Running
from lookalike.stores import schema
from lookalike.stores.selection import one_of
from lookalike.workshop import Workshop


@dataclass(frozen=True, slots=True)
class Receipt:
    """What `forget` erased. It names nothing of what is gone but its counts."""

    operation: str
    objects: int
    documents: int
    vectors: int
    labels: int
    events: int
    copies: int
    thumbnails: int
    effects: Changed


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased from the database, and which files go with it after the commit."""

    objects: int
    documents: int
    labels: int
    events: int
    blobs: tuple[Blob, ...]


def forget(workshop: Workshop, running: Running, pks: Sequence[int]) -> Erased:
    """Erase the objects of documents from every collection of their bucket, in a transaction."""
    txn, document = running.txn, schema.document
    objects = _with_copies(running, pks)
    rows = txn.rows(select(document).where(one_of(document.c.object_pk, objects)))
    blobs = _blobs_only_here(running, objects)
    doomed = [row.pk for row in rows]
    labels = _silence(workshop, running, doomed)
    for collection_pk in sorted({row.collection_pk for row in rows}):
        gone = [row.pk for row in rows if row.collection_pk == collection_pk]
        txn.erase_vectors(space_of(txn, collection_pk), np.array(gone, np.int64))
    event = schema.event
    events = txn.execute(
        update(event)
        .where(one_of(event.c.document_pk, doomed))
        .values(label=None, origin=None, detail=None, kind=EventKind.FORGOTTEN)
    )
    txn.execute(delete(document).where(one_of(document.c.pk, doomed)))
    txn.execute(delete(schema.extraction).where(one_of(schema.extraction.c.object_pk, objects)))
    txn.execute(delete(schema.object_).where(one_of(schema.object_.c.pk, objects)))
    return Erased(len(objects), len(doomed), labels, events, blobs)


def erase_files(workshop: Workshop, running: Running, erased: Erased) -> Receipt:
    """Erase copies and thumbnails, after the commit, and return the receipt."""
    workshop.operations.forget_memory()
    workshop.store.tidy()
    return Receipt(
        operation=running.id,
        objects=erased.objects,
        documents=erased.documents,
        vectors=erased.documents,
        labels=erased.labels,
        events=erased.events,
        copies=sum(workshop.blobs.forget(blob) for blob in erased.blobs),
        thumbnails=sum(workshop.thumbnails.forget(blob.sha256) for blob in erased.blobs),
        effects=running.changed(),
    )


def _with_copies(running: Running, pks: Sequence[int]) -> list[int]:
    """Return the objects of documents, with the copies that promotion made of them elsewhere."""
    document, event, object_ = schema.document, schema.event, schema.object_
    own = select(document.c.object_pk, document.c.sha256, object_.c.id, object_.c.key)
    own = own.join(object_, object_.c.pk == document.c.object_pk).where(one_of(document.c.pk, pks))
    objects = set()
    for row in running.txn.rows(own):
        copies = (
            select(document.c.object_pk)
            .join(object_, object_.c.pk == document.c.object_pk)
            .join(event, event.c.document_pk == document.c.pk)
            .where(object_.c.id == row.id, object_.c.key == row.key)
            .where(document.c.sha256 == row.sha256, event.c.kind == EventKind.PROMOTED)
        )
        objects |= {row.object_pk, *(copy.object_pk for copy in running.txn.rows(copies))}
    return sorted(objects)


def _silence(workshop: Workshop, running: Running, pks: Sequence[int]) -> int:
    """Erase the standings of documents and decide what depended on them; return how many labels."""
    table, txn, operations = schema.standing, running.txn, workshop.operations
    query = select(table.c.field_pk, table.c.document_pk, table.c.label)
    rows = txn.rows(query.where(one_of(table.c.document_pk, pks)))
    gone: dict[int, list[int]] = {}
    for row in rows:
        gone.setdefault(row.field_pk, []).append(row.document_pk)
    with ExitStack() as stack:
        for field_pk, documents in sorted(gone.items()):
            stack.enter_context(operations.changing(running, field_pk, documents))
            state = operations.decider(running, field_pk).state
            state.forget_documents(np.array(documents, np.int64))
        for erased in (table, schema.rejection, schema.draw):
            txn.execute(delete(erased).where(one_of(erased.c.document_pk, pks)))
    field = schema.field
    for pk in sorted({*gone, *(pk for field_pk in gone for pk in dependents(txn, field_pk))}):
        txn.execute(update(field).where(field.c.pk == pk).values(epoch=field.c.epoch + 1))
    return sum(row.label is not None for row in rows)


def _blobs_only_here(running: Running, objects: Sequence[int]) -> tuple[Blob, ...]:
    """Return the blobs of objects whose content no other object has."""
    object_ = schema.object_
    rows = running.txn.rows(select(object_.c.blobs).where(one_of(object_.c.pk, objects)))
    blobs = [Blob(**blob) for row in rows for blob in row.blobs]
    return tuple(blob for blob in blobs if not _held_elsewhere(running, blob, objects))


def _held_elsewhere(running: Running, blob: Blob, objects: Sequence[int]) -> bool:
    """Return whether another object has the content: by its documents, or waiting for them."""
    document, object_, waiting = schema.document, schema.object_, schema.extraction
    extracted = select(document.c.pk).where(
        document.c.sha256 == bytes.fromhex(blob.sha256), ~one_of(document.c.object_pk, objects)
    )
    pending = (
        select(object_.c.pk)
        .join(waiting, waiting.c.object_pk == object_.c.pk)
        .where(cast(object_.c.blobs, Text).contains(blob.sha256), ~one_of(object_.c.pk, objects))
    )
    return any(running.txn.rows(query.limit(1)) for query in (extracted, pending))
