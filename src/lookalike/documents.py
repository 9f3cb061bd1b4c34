"""Documents, made: rows and vectors of what an extractor found, then their decisions."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import select

from lookalike.extractors.base import Extractor, Part
from lookalike.operations import Operations, Running
from lookalike.stores import schema
from lookalike.stores.base import StoredSpace, Txn
from lookalike.stores.selection import conditions


@dataclass(frozen=True, slots=True)
class Target:
    """The collection that items go to."""

    pk: int
    name: str
    bucket_pk: int
    extractor: Extractor
    space: StoredSpace
    field_pks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document to be written: one part of an object."""

    object_pk: int
    object_id: str
    file_name: str
    sha256: str
    metadata: Mapping[str, Any]
    part: Part


def write_documents(
    operations: Operations, running: Running, target: Target, new: Sequence[NewDocument]
) -> int:
    """Write documents with their vectors and decide them; return how many.

    A part that is here already gets the new vector and keeps its labels: ids are derived, so doing
    this twice gives the same documents.
    """
    if not new:
        return 0
    txn = running.txn
    known = _known(txn, target.pk, [one.object_pk for one in new])
    again = [(pk, one) for one in new if (pk := known.get((one.object_pk, one.part.key)))]
    fresh = [one for one in new if (one.object_pk, one.part.key) not in known] if again else new
    txn.update(
        schema.document,
        [
            {"pk": pk, "sha256": bytes.fromhex(one.sha256), "attributes": dict(one.part.attributes)}
            for pk, one in again
        ],
    )
    made = txn.insert_returning(schema.document, [_row(target, one) for one in fresh])
    pks = np.array([*(pk for pk, _ in again), *made], np.int64)
    vectors = np.stack([one.part.vector for one in (*(one for _, one in again), *fresh)])
    order = np.argsort(pks)
    txn.append_vectors(target.space, pks[order], vectors[order].astype(np.float16))
    for field_pk in target.field_pks:
        operations.arrive(running, field_pk, pks[order].tolist())
    return len(pks)


def document_id(collection: str, object_id: str, part: str) -> str:
    """Return the id of a part of an object in a collection, the same each time.

    An id that the user gave stays the id of a whole item.
    """
    if not object_id.startswith("obj_"):
        return object_id if part == "" else f"{object_id}#{part}"
    digest = hashlib.sha256("\0".join((collection, object_id, part)).encode()).digest()
    return "doc_" + base64.b32encode(digest[:15]).decode("ascii").lower()


def _row(target: Target, one: NewDocument) -> dict[str, Any]:
    return {
        "collection_pk": target.pk,
        "object_pk": one.object_pk,
        "part": one.part.key,
        "id": document_id(target.name, one.object_id, one.part.key),
        "file_name": one.file_name,
        "sha256": bytes.fromhex(one.sha256),
        "metadata": dict(one.metadata),
        "attributes": dict(one.part.attributes),
    }


def _known(txn: Txn, collection_pk: int, objects: Sequence[int]) -> dict[tuple[int, str], int]:
    table = schema.document
    known: dict[tuple[int, str], int] = {}
    for chosen in conditions(table.c.object_pk, objects):
        query = select(table.c.object_pk, table.c.part, table.c.pk)
        for row in txn.rows(query.where(table.c.collection_pk == collection_pk, chosen)):
            known[(row.object_pk, row.part)] = row.pk
    return known
