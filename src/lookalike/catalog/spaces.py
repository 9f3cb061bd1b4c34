"""The embedding spaces of a collection: the current one, and standby spaces.

Documents are decided in the current space. A standby space is one that is being filled before the
collection switches to it, or one that it switched from. For a standby space the store keeps a
*finding* per object: the key and attributes of each part, and the document that matches the part.
So a switch to a standby space needs no new extraction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Select, Text, and_, cast, delete, exists, func, select, update

from lookalike.catalog.resources import CollectionRow
from lookalike.catalog.tasks import has_died, lease_end, time_of
from lookalike.classifier.graph.search import Ids
from lookalike.errors import Conflict
from lookalike.extractors.registry import options_stored
from lookalike.model import Space, Status
from lookalike.stores import schema
from lookalike.stores.base import (
    Snapshot,
    StoredSpace,
    Txn,
    conditions,
    one_of,
    space_columns,
    stored_space,
)

_BLOCK = 5000


@dataclass(frozen=True, slots=True)
class StandbySpace:
    """A space that is not current, with its extractor and options."""

    space: StoredSpace
    extractor: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FoundPart:
    """A part extracted for a standby space, and the matching document, if there is one."""

    document_pk: int | None
    key: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ExtractedParts:
    """The result of extracting an object: parts, or an error; `sha256` is that of the content.

    `vectors` float16 (n, d) are those of the parts without a document, in their order.
    """

    object_pk: int
    parts: tuple[FoundPart, ...]
    vectors: NDArray[np.float16]
    sha256: str = ""
    error: str | None = None


def standby_spaces(snapshot: Snapshot, collection_pk: int) -> list[StandbySpace]:
    """Return the standby spaces of a collection, oldest first."""
    table = schema.space
    query = select(table).where(table.c.collection_pk == collection_pk, table.c.beside.is_(True))
    found = [(row, row.maker["extractor"]) for row in snapshot.rows(query.order_by(table.c.pk))]
    return [
        StandbySpace(stored_space(row), extractor, options_stored(extractor, row.maker["options"]))
        for row, extractor in found
    ]


def is_still_current(snapshot: Snapshot, space: StoredSpace) -> bool:
    """Return whether a space is still the current one of its collection."""
    table = schema.space
    query = select(table.c.pk).where(table.c.pk == space.pk, table.c.beside.is_not(True))
    return bool(snapshot.rows(query))


def was_standby(snapshot: Snapshot, space: StoredSpace) -> bool:
    """Return whether a collection switched to this space from another one."""
    table = schema.space
    query = select(table.c.pk).where(table.c.pk == space.pk, table.c.since.is_not(None))
    return bool(snapshot.rows(query))


# --- making and holding ---------------------------------------------------------------------------


def make_standby(
    txn: Txn, collection_pk: int, space: Space, maker: Mapping[str, Any]
) -> StoredSpace:
    """Return the standby space of that name, created if it is new."""
    table = schema.space
    here = (table.c.collection_pk == collection_pk) & (table.c.name == space.name)
    if not txn.rows(select(table.c.pk).where(here)):
        values = {"collection_pk": collection_pk, **space_columns(space)}
        txn.insert_one(table, **values, beside=True, maker=dict(maker))
    txn.execute(update(table).where(here, table.c.beside.is_(True)).values(maker=dict(maker)))
    return stored_space(txn.rows(select(table).where(here))[0])


def take_lease(txn: Txn, space: StoredSpace, owner: str, here_s: float) -> None:
    """Take or renew the lease of a standby space: only one process extracts into it.

    `here_s` is the time on this machine.

    Raises Conflict if another process has the lease, or if the space is now current or removed.
    """
    table = schema.space
    rows = txn.rows(select(table).where(table.c.pk == space.pk, table.c.beside.is_(True)))
    if not rows:
        raise Conflict(
            f"{space.name} is not a standby space any more: it is the current one, or was removed"
        )
    other, lasts = rows[0].owner, (rows[0].expires_at or 0.0) > time_of(txn, here_s)
    if other not in (None, owner) and lasts and not has_died(other):
        raise Conflict(
            f"another process extracts into {space.name} already; wait until it is done, or stop it"
        )
    mine = update(table).where(table.c.pk == space.pk)
    txn.execute(mine.values(owner=owner, expires_at=lease_end(txn, here_s)))


def release_lease(txn: Txn, space: StoredSpace, owner: str) -> None:
    """Return the lease of a space."""
    table = schema.space
    mine = (table.c.pk == space.pk) & (table.c.owner == owner)
    txn.execute(update(table).where(mine).values(owner=None, expires_at=None))


# --- findings -------------------------------------------------------------------------------------


def objects_left(collection: CollectionRow, space: StoredSpace) -> Select[Any]:
    """Return the statement that selects the `object` rows without a finding in a space.

    Pending objects are left out: they are extracted for the current space first.
    """
    finding = schema.finding
    known = (finding.c.space_pk == space.pk) & (finding.c.object_pk == schema.object_.c.pk)
    return _objects_of(collection).where(~_there_is(known))


def count_left(snapshot: Snapshot, collection: CollectionRow, space: StoredSpace) -> int:
    """Return the number of objects without a finding in a space."""
    query = objects_left(collection, space).with_only_columns(func.count().label("n"))
    return int(snapshot.rows(query)[0].n)


def write_findings(txn: Txn, space: StoredSpace, findings: Sequence[ExtractedParts]) -> None:
    """Write the findings of objects for a standby space."""
    rows = [
        {
            "space_pk": space.pk,
            "object_pk": one.object_pk,
            "error": one.error,
            "sha256": bytes.fromhex(one.sha256) or None,
            "parts": [[part.document_pk, part.key, dict(part.attributes)] for part in one.parts],
            "vectors": one.vectors.tobytes() or None,
        }
        for one in findings
    ]
    txn.upsert(schema.finding, rows)


def findings_of(
    snapshot: Snapshot, space: StoredSpace, *, after: int = 0, limit: int
) -> list[ExtractedParts]:
    """Return findings of a space by rising object, those `after` an object's pk."""
    table = schema.finding
    query = select(table).where(table.c.space_pk == space.pk, table.c.object_pk > after)
    return [
        ExtractedParts(
            row.object_pk,
            tuple(FoundPart(*part) for part in row.parts),
            np.frombuffer(row.vectors or b"", np.float16).reshape(-1, space.dimension),
            (row.sha256 or b"").hex(),
            row.error,
        )
        for row in snapshot.rows(query.order_by(table.c.object_pk).limit(limit))
    ]


def failures(snapshot: Snapshot, space: StoredSpace) -> list[tuple[str, str]]:
    """Return the objects whose extraction for a space failed, by name, with the error."""
    finding, object_ = schema.finding, schema.object_
    query = (
        select(object_.c.name, finding.c.error)
        .join(finding, finding.c.object_pk == object_.c.pk)
        .where(finding.c.space_pk == space.pk, finding.c.error.is_not(None))
        .order_by(object_.c.pk)
    )
    return [(row.name, row.error) for row in snapshot.rows(query)]


def count_lost_and_new(
    snapshot: Snapshot, collection_pk: int, space: StoredSpace
) -> tuple[int, int]:
    """Return the number of documents without a vector in a standby space, and of new parts."""
    document, embedding, finding = schema.document, schema.embedding, schema.finding
    here = and_(embedding.c.space_pk == space.pk, embedding.c.document_pk == document.c.pk)
    lost = select(func.count().label("n")).select_from(document)
    lost = lost.where(document.c.collection_pk == collection_pk, ~exists().where(here))
    size = select(func.sum(func.length(finding.c.vectors)).label("n"))
    size = size.where(finding.c.space_pk == space.pk)
    new_bytes = snapshot.rows(size)[0].n or 0
    return int(snapshot.rows(lost)[0].n), int(new_bytes) // (2 * space.dimension)


def low_quality_found(snapshot: Snapshot, space: StoredSpace) -> Ids:
    """Return the documents that have low quality in a standby space, rising."""
    table = schema.finding
    some = cast(table.c.parts, Text).contains('"low_quality": true')
    rows = snapshot.rows(select(table.c.parts).where(table.c.space_pk == space.pk, some))
    pks = {
        pk
        for row in rows
        for pk, _, attributes in row.parts
        if pk is not None and attributes.get("low_quality")
    }
    return np.array(sorted(pks), np.int64)


def forget_failures(txn: Txn, space: StoredSpace) -> None:
    """Delete failed findings of a space, so that they are tried again."""
    table = schema.finding
    txn.execute(delete(table).where(table.c.space_pk == space.pk, table.c.error.is_not(None)))


def write_standby_findings(txn: Txn, collection: CollectionRow, space: StoredSpace) -> None:
    """Write findings of the current space, which becomes a standby space, from its documents.

    Pending and failed objects get none: they are extracted if the space becomes current again.
    """
    document, embedding, failed = schema.document, schema.embedding, schema.extraction
    object_, after = schema.object_, 0
    here = and_(failed.c.collection_pk == collection.pk, failed.c.object_pk == object_.c.pk)
    objects = _objects_of(collection).where(~_there_is(here)).order_by(object_.c.pk)
    placed = and_(embedding.c.space_pk == space.pk, embedding.c.document_pk == document.c.pk)
    parts = select(document).join(embedding, placed).order_by(document.c.pk)
    while rows := txn.rows(objects.where(object_.c.pk > after).limit(_BLOCK)):
        after = rows[-1].pk
        found: dict[int, list[FoundPart]] = {row.pk: [] for row in rows}
        contents: dict[int, str] = {}
        for chosen in conditions(document.c.object_pk, list(found)):
            for row in txn.rows(parts.where(document.c.collection_pk == collection.pk, chosen)):
                part = FoundPart(row.pk, row.part, row.attributes)
                found[row.object_pk].append(part)
                contents[row.object_pk] = row.sha256.hex()
        nothing = np.empty((0, space.dimension), np.float16)
        write_findings(
            txn,
            space,
            [
                ExtractedParts(pk, tuple(some), nothing, contents.get(pk, ""))
                for pk, some in found.items()
            ],
        )


# --- erasing --------------------------------------------------------------------------------------


def erase_everywhere(txn: Txn, collection_pk: int, pks: Ids) -> int:
    """Erase the vectors of documents in all spaces of their collection; return their number."""
    table, count = schema.space, 0
    for row in txn.rows(select(table).where(table.c.collection_pk == collection_pk)):
        space = stored_space(row)
        there = _count_vectors(txn, space, pks)
        if there:
            txn.erase_vectors(space, pks)
        count += there
    return count


def forget_findings(txn: Txn, objects: Iterable[int]) -> None:
    """Erase the findings of objects in standby spaces."""
    table = schema.finding
    txn.execute(delete(table).where(one_of(table.c.object_pk, objects)))


def forget_parts(txn: Txn, objects: Iterable[int], documents: Iterable[int]) -> None:
    """Remove documents from the findings of objects."""
    table, gone = schema.finding, set(documents)
    rows = txn.rows(select(table).where(one_of(table.c.object_pk, objects)))
    txn.update(
        table,
        [
            {
                "space_pk": row.space_pk,
                "object_pk": row.object_pk,
                "parts": [part for part in row.parts if part[0] not in gone],
            }
            for row in rows
            if any(part[0] in gone for part in row.parts)
        ],
    )


def delete_stale_findings(txn: Txn, collection_pk: int, objects: Sequence[int]) -> None:
    """Erase the findings of objects that are extracted again."""
    standby = standby_spaces(txn, collection_pk)
    if not standby:
        return
    finding, document = schema.finding, schema.document
    query = select(document.c.pk).where(document.c.collection_pk == collection_pk)
    chosen = conditions(document.c.object_pk, objects)
    pks = np.array([row.pk for one in chosen for row in txn.rows(query.where(one))], np.int64)
    for one in standby:
        txn.erase_vectors(one.space, pks)
        for these in conditions(finding.c.object_pk, objects):
            txn.execute(delete(finding).where(finding.c.space_pk == one.space.pk, these))


def drop(txn: Txn, spaces: Sequence[StoredSpace]) -> int:
    """Remove spaces with all their data; return the number of vectors.

    The next `tidy` of the store deletes their files.
    """
    pks = [one.pk for one in spaces]
    embedding, count = schema.embedding, 0
    for table, column in ((schema.finding, "space_pk"), (embedding, "space_pk")):
        gone = txn.execute(delete(table).where(table.c[column].in_(pks)))
        count = gone if table is embedding else count
    txn.execute(delete(schema.space).where(schema.space.c.pk.in_(pks)))
    return count


def drop_all(txn: Txn, collection_pk: int) -> None:
    """Remove all spaces of a removed collection."""
    table = schema.space
    rows = txn.rows(select(table).where(table.c.collection_pk == collection_pk))
    drop(txn, [stored_space(row) for row in rows])


# --- inside ---------------------------------------------------------------------------------------


def _objects_of(collection: CollectionRow) -> Select[Any]:
    """Return the statement that selects the finished and failed objects of a collection."""
    object_, waiting, document = schema.object_, schema.extraction, schema.document
    waits = and_(
        waiting.c.collection_pk == collection.pk,
        waiting.c.object_pk == object_.c.pk,
        waiting.c.status != Status.FAILED,
    )
    query = select(object_).where(~_there_is(waits))
    if collection.source_pk is None:
        return query.where(object_.c.bucket_pk.in_(collection.bucket_pks))
    source = (document.c.collection_pk == collection.source_pk) & (
        document.c.object_pk == object_.c.pk
    )
    return query.where(_there_is(source))


def _there_is(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition that another table has a row for an object."""
    return exists().where(condition).correlate(schema.object_)


def _count_vectors(snapshot: Snapshot, space: StoredSpace, pks: Ids) -> int:
    table = schema.embedding
    query = select(func.count().label("n")).where(table.c.space_pk == space.pk)
    chosen = conditions(table.c.document_pk, pks)
    return sum(int(snapshot.rows(query.where(one))[0].n) for one in chosen)
