"""Writing documents: rows and vectors of extracted parts, then their decisions."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sqlalchemy import select
from ulid import ULID

from lookalike.catalog.objects import REGIONS, is_forgotten, places
from lookalike.catalog.resources import CollectionRow, dig
from lookalike.catalog.spaces import delete_stale_findings, is_still_current
from lookalike.catalog.vocabulary import Vocabulary
from lookalike.decisions.operations import LabelStatement, Operations, Running
from lookalike.errors import BadInput, Conflict
from lookalike.extractors.base import Extractor, Part
from lookalike.labels import label_in
from lookalike.model import EventKind, Origin
from lookalike.stores import schema
from lookalike.stores.base import StoredSpace, Txn, conditions, one_of

_IN_LIST = 5000


@dataclass(frozen=True, slots=True)
class Home:
    """A collection that documents are in; `fields` are its label fields, their pks by name."""

    row: CollectionRow
    fields: Mapping[str, int]

    def kept(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Return the metadata that documents copy from an object.

        Labels, which are events, and regions, which are documents, are left out.
        """
        left_out = {*self.fields, REGIONS}
        values = self.row.passed(metadata)
        return {name: value for name, value in values.items() if name not in left_out}

    def given_labels(
        self, metadata: Mapping[str, Any], said_by: Collection[str]
    ) -> dict[int, tuple[str, Origin]]:
        """Return the labels in an object's metadata, by the pk of their field.

        The origin is human if `said_by` has their key, else import.
        """
        labels = {}
        for name, pk in self.fields.items():
            source = self.row.source_of(name)
            with suppress(BadInput):  # an invalid label stays in the object's metadata
                label = label_in(dig(metadata, source))
                if label is not None:
                    labels[pk] = (label, Origin.HUMAN if source in said_by else Origin.IMPORT)
        return labels


@dataclass(frozen=True, slots=True)
class Target(Home):
    """A collection that items are added to: with its extractor, and the space of its vectors."""

    extractor: Extractor
    space: StoredSpace

    @property
    def pk(self) -> int:
        """Return the collection's pk."""
        return self.row.pk

    @property
    def name(self) -> str:
        """Return the collection's name."""
        return self.row.name

    @property
    def bucket_pk(self) -> int:
        """Return the bucket of new items."""
        return self.row.bucket_pk


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document to write: one part of an object, with the object's metadata.

    `said_by` are the metadata keys that a person has changed.
    """

    object_pk: int
    object_id: str
    file_name: str
    sha256: str
    metadata: Mapping[str, Any]
    part: Part
    said_by: Collection[str] = ()


def write_documents(
    operations: Operations, running: Running, target: Target, new: Sequence[NewDocument]
) -> int:
    """Write documents with their vectors and decide them; return their number.

    For a new document, labels in the object's metadata are imported. An existing part gets the new
    vector and keeps its labels; document ids are derived, so a repetition gives the same documents.
    A forgotten part gets no document.
    """
    if not new:
        return 0
    txn = running.txn
    if not is_still_current(txn, target.space):
        raise Conflict(
            f"the collection {target.name!r} has switched to another extractor meanwhile; nothing "
            f"was written to {target.space.name}: run the same command again"
        )
    target = _with_current_fields(txn, target)
    known = _known(txn, target.pk, [one.object_pk for one in new])
    existing = [(pk, one) for one in new if (pk := known.get((one.object_pk, one.part.key)))]
    added = [one for one in new if (one.object_pk, one.part.key) not in known] if existing else new
    added = _without_forgotten(txn, added)
    if not existing and not added:
        return 0
    txn.update(
        schema.document,
        [
            {"pk": pk, "sha256": bytes.fromhex(one.sha256), "attributes": dict(one.part.attributes)}
            for pk, one in existing
        ],
    )
    delete_stale_findings(txn, target.pk, [one.object_pk for one in new])
    rows = [_row(target, one) | {"arrived_in": running.pk} for one in added]
    if len(target.row.bucket_pks) > 1 or any(one.part.key for one in added):
        _make_ids_unique(txn, target, added, rows)
    made = txn.insert_returning(schema.document, rows)
    pks = np.array([*(pk for pk, _ in existing), *made], np.int64)
    vectors = np.stack([one.part.vector for one in (*(one for _, one in existing), *added)])
    order = np.argsort(pks)
    txn.append_vectors(target.space, pks[order], vectors[order].astype(np.float16))
    for field_pk in target.fields.values():
        operations.add_documents(running, field_pk, pks[order].tolist(), [pk for pk, _ in existing])
    arrived = ((pk, one.metadata, one.said_by) for pk, one in zip(made, added, strict=True))
    import_labels(operations, running, target, arrived)
    if target.row.options.get("suggest") is True:
        _suggest_detected(operations, running, target, dict(zip(made, added, strict=True)))
    return len(pks)


def _without_forgotten(txn: Txn, new: Sequence[NewDocument]) -> Sequence[NewDocument]:
    """Return the new documents without those of forgotten parts."""
    objects = {one.object_pk for one in new if one.part.key}
    forgotten = places(txn, sorted(objects)) if objects else {}
    if not forgotten:
        return new
    return [
        one
        for one in new
        if not is_forgotten(forgotten, one.object_pk, one.sha256, one.part.key, one.part.attributes)
    ]


def _suggest_detected(
    operations: Operations, running: Running, target: Target, new: Mapping[int, NewDocument]
) -> None:
    """Suggest the classes from a detector, in the first label field; they are no references."""
    statements = []
    for pk, one in new.items():
        with suppress(BadInput):  # an invalid label stays an attribute only
            label = label_in(one.part.attributes.get("detected"))
            if label is not None:
                statements.append(LabelStatement(pk, EventKind.SUGGESTED, label, Origin.IMPORT))
    if statements and target.fields:
        operations.append(running, min(target.fields.values()), statements)


def _with_current_fields(txn: Txn, target: Target) -> Target:
    """Return a collection with its current label fields: one may have been added meanwhile."""
    table = schema.field
    rows = txn.rows(select(table.c.name, table.c.pk).where(table.c.collection_pk == target.pk))
    return replace(target, fields={row.name: row.pk for row in rows})


def import_labels(
    operations: Operations,
    running: Running,
    home: Home,
    documents: Iterable[tuple[int, Mapping[str, Any], Collection[str]]],
) -> None:
    """Import the labels that objects give to their documents (pk, metadata, said_by).

    A label outside a closed set is only suggested, with the reason in `refused`.
    """
    by_field: dict[int, list[LabelStatement]] = {}
    vocabularies = {pk: Vocabulary(running.txn, pk) for pk in home.fields.values()}
    outside: dict[int, str] = {}
    for pk, metadata, said_by in documents if home.fields else ():
        for field_pk, (label, origin) in home.given_labels(metadata, said_by).items():
            statement = LabelStatement(pk, EventKind.LABELLED, label, origin)
            if (reason := vocabularies[field_pk].why_outside(label)) is not None:
                statement = LabelStatement(pk, EventKind.SUGGESTED, label, Origin.IMPORT)
                outside[pk] = reason
            by_field.setdefault(field_pk, []).append(statement)
    for field_pk, statements in by_field.items():
        operations.append(running, field_pk, statements)
        running.by_person += sum(one.kind is EventKind.LABELLED for one in statements)
    table = schema.document
    query = select(table.c.pk, table.c.id).where(one_of(table.c.pk, outside))
    running.refused |= {row.id: outside[row.pk] for row in running.txn.rows(query)}


def document_id(collection: str, object_id: str, part: str) -> str:
    """Return the id of a part of an object in a collection, the same for each call.

    A whole item keeps the id that the user gave to the object.
    """
    if not object_id.startswith("obj_"):
        return object_id if part == "" else f"{object_id}#{part}"
    digest = hashlib.sha256("\0".join((collection, object_id, part)).encode()).digest()
    return "doc_" + base64.b32encode(digest[:15]).decode("ascii").lower()


def _make_ids_unique(
    txn: Txn, target: Target, new: Sequence[NewDocument], rows: Sequence[dict[str, Any]]
) -> None:
    """Give rows another id if an existing document has it.

    Such a document belongs to an object of another bucket, or was a part of this name under another
    extractor.
    """
    table = schema.document
    taken: set[str] = set()
    others = [document_id(target.name, f"obj_{one.object_pk}", one.part.key) for one in new]
    ids = [*(row["id"] for row in rows), *others]
    for start in range(0, len(ids), _IN_LIST):
        chosen = table.c.id.in_(ids[start : start + _IN_LIST])
        query = select(table.c.id).where(table.c.collection_pk == target.pk, chosen)
        taken |= {row.id for row in txn.rows(query)}
    for other, row in zip(others, rows, strict=True):
        if row["id"] in taken:
            row["id"] = other if other not in taken else f"doc_{ULID()}".lower()
        taken.add(row["id"])


def _row(target: Target, one: NewDocument) -> dict[str, Any]:
    return {
        "collection_pk": target.pk,
        "object_pk": one.object_pk,
        "part": one.part.key,
        "id": document_id(target.name, one.object_id, one.part.key),
        "file_name": one.file_name,
        "sha256": bytes.fromhex(one.sha256),
        "metadata": target.kept(one.metadata),
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
