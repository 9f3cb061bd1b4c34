"""Erasing documents: their vectors, their label states, and decisions that depend on them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack

import numpy as np
from sqlalchemy import delete, select, update

from lookalike.catalog.fields import dependents
from lookalike.catalog.spaces import erase_everywhere, forget_parts
from lookalike.decisions.ledger.samples import erase_items
from lookalike.decisions.operations import Operations, Running
from lookalike.model import EventKind, Origin
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, one_of

_GIVEN = (Origin.HUMAN, Origin.IMPORT, Origin.PROMOTED)


def erase_documents(
    operations: Operations, running: Running, pks: Sequence[int]
) -> tuple[int, int, int]:
    """Erase documents, of any collections; return the number of labels, events and vectors.

    Decisions that depend on their labels are made again. Their events stay without content.
    """
    txn, document, event = running.txn, schema.document, schema.event
    query = select(document.c.pk, document.c.collection_pk, document.c.object_pk)
    rows = txn.rows(query.where(one_of(document.c.pk, pks)))
    forget_parts(txn, {row.object_pk for row in rows}, pks)
    collections = sorted({row.collection_pk for row in rows})
    labels = _erase_label_states(operations, running, collections, pks)
    vectors = 0
    for collection_pk in collections:
        own = [row.pk for row in rows if row.collection_pk == collection_pk]
        vectors += erase_everywhere(txn, collection_pk, np.array(own, np.int64))
    events = txn.execute(
        update(event)
        .where(one_of(event.c.document_pk, pks))
        .values(label=None, origin=None, detail=None, kind=EventKind.FORGOTTEN)
    )
    erase_items(txn, pks)
    txn.execute(delete(document).where(one_of(document.c.pk, pks)))
    return labels, events, vectors


def removed_parts(
    snapshot: Snapshot,
    collection_pk: int,
    parts: Mapping[int, Collection[str]],
    given: Collection[int],
) -> list[int]:
    """Return the documents of objects whose part does not exist any more.

    `parts` are the existing ones, by the pk of the object. If a person or an import has `given` the
    parts of an object, the documents of all other parts are returned. If an extractor does not find
    a part again, its document is kept if a person or an import labelled it, or if it was promoted.
    """
    document, event = schema.document, schema.event
    query = select(document.c.pk, document.c.object_pk, document.c.part)
    in_collection = document.c.collection_pk == collection_pk
    rows = snapshot.rows(query.where(in_collection, one_of(document.c.object_pk, parts)))
    removed = {row.pk: row.object_pk for row in rows if row.part not in parts[row.object_pk]}
    found = [pk for pk, object_pk in removed.items() if object_pk not in given]
    labelled = select(event.c.document_pk).distinct().where(event.c.origin.in_(_GIVEN))
    labelled = labelled.where(
        event.c.kind != EventKind.SUGGESTED, one_of(event.c.document_pk, found)
    )
    kept = {row.document_pk for row in snapshot.rows(labelled)} if found else set()
    return [pk for pk in removed if pk not in kept]


def _erase_label_states(
    operations: Operations, running: Running, collections: Sequence[int], pks: Sequence[int]
) -> int:
    """Erase the label states of documents and decide again; return the number of labels."""
    table, field, txn = schema.standing, schema.field, running.txn
    own = select(field.c.pk).where(field.c.collection_pk.in_(collections))
    fields = [row.pk for row in txn.rows(own)]
    query = select(table.c.field_pk, table.c.document_pk, table.c.label)
    rows = txn.rows(query.where(table.c.field_pk.in_(fields), one_of(table.c.document_pk, pks)))
    by_field: dict[int, list[int]] = {}
    for row in rows:
        by_field.setdefault(row.field_pk, []).append(row.document_pk)
    with ExitStack() as stack:
        for field_pk, documents in sorted(by_field.items()):
            state, erased = running.decider(field_pk).state, np.array(documents, np.int64)
            same_images = state.image_groups.of(erased).tolist()
            stack.enter_context(operations.changing(running, field_pk, same_images))
            state.forget_documents(erased)
        for rows_of in (table, schema.rejection, schema.draw, schema.sheet):
            in_fields = rows_of.c.field_pk.in_(fields)
            txn.execute(delete(rows_of).where(in_fields, one_of(rows_of.c.document_pk, pks)))
    affected = {*by_field, *(pk for field_pk in by_field for pk in dependents(txn, field_pk))}
    for pk in sorted(affected):
        txn.execute(update(field).where(field.c.pk == pk).values(epoch=field.c.epoch + 1))
    return sum(row.label is not None for row in rows)
