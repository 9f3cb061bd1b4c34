"""Objects (source files) as rows: stored once, pending in every collection over their bucket."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import and_, delete, exists, insert, literal, select, update
from ulid import ULID

from lookalike.catalog.resources import (
    CollectionRow,
    collection_row,
    collections_from,
    collections_over,
    dig,
)
from lookalike.content.boxes import PartRegion, overlap, view_of
from lookalike.errors import NotFound
from lookalike.extractors.base import VECTOR_TYPE
from lookalike.extractors.combined import COMBINED
from lookalike.model import Blob, Object, Origin, Status
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn, conditions, one_of

REGIONS = "regions"
"""The metadata key for the regions given to an object: mappings with `id` and `box`."""

TEXT_KEYS = ("text", "description", "title", "caption")
"""Metadata keys for the text of a combined extractor; the first key present is used."""

_LOOK_AHEAD = 100
_IN_LIST = 5000
_BLOB = tuple(one.name for one in fields(Blob))
_GIVEN = (Origin.HUMAN, Origin.IMPORT)
_WAITING_RANK = (Status.PENDING, Status.PROCESSING, Status.FAILED)


@dataclass(frozen=True, slots=True)
class Draft:
    """An object to insert, identified by `key` in its bucket; `error` is why it cannot be read."""

    key: str
    name: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    blobs: tuple[Blob, ...] = ()
    id: str | None = None
    error: str | None = None


def insert_objects(txn: Txn, bucket_pk: int, drafts: Sequence[Draft], *, at: float) -> list[int]:
    """Insert objects, pending in each collection that can extract them; return their pks."""
    pks = txn.insert_returning(
        schema.object_,
        [
            {
                "bucket_pk": bucket_pk,
                "id": draft.id or f"obj_{ULID()}",
                "key": draft.key,
                "name": draft.name,
                "metadata": dict(draft.metadata),
                "created_at": at,
                **contents(draft.blobs),
            }
            for draft in drafts
        ],
    )
    for collection in collections_over(txn, bucket_pk):
        waiting = {
            pk: draft.error
            for pk, draft in zip(pks, drafts, strict=True)
            if _has(draft, collection)
        }
        mark_pending(txn, collection.pk, waiting)
    return pks


def contents(blobs: Sequence[Blob]) -> dict[str, Any]:
    """Return the columns of an object for its contents."""
    return {
        "blobs": [{name: getattr(blob, name) for name in _BLOB} for blob in blobs],
        "size_bytes": sum(blob.size_bytes for blob in blobs),
    }


def mark_pending(txn: Txn, collection_pk: int, errors: Mapping[int, str | None]) -> None:
    """Mark objects as pending in a collection, whatever their status; with an error as failed."""
    row = {"collection_pk": collection_pk, "owner": None, "expires_at": None}
    txn.upsert(
        schema.extraction,
        [
            {
                **row,
                "object_pk": pk,
                "status": Status.PENDING if error is None else Status.FAILED,
                "error": error,
            }
            for pk, error in errors.items()
        ],
    )


def mark_all_pending(txn: Txn, collection: CollectionRow) -> int:
    """Mark all existing objects as pending in a new collection; return their number."""
    object_, waiting = schema.object_, schema.extraction
    if collection.source_pk is None:
        query = select(object_.c.pk).where(object_.c.bucket_pk.in_(collection.bucket_pks))
    else:
        document = schema.document
        query = (
            select(document.c.object_pk)
            .where(document.c.collection_pk == collection.source_pk)
            .distinct()
        )
    rows = query.add_columns(literal(collection.pk), literal(Status.PENDING.value))
    return txn.execute(insert(waiting).from_select(["object_pk", "collection_pk", "status"], rows))


def content_changed(txn: Txn, bucket_pk: int, pk: int, blobs: Sequence[Blob]) -> None:
    """Write new contents of an object, and mark it as pending in every collection."""
    change_contents(txn, pk, blobs)
    for collection in collections_over(txn, bucket_pk):
        mark_pending(txn, collection.pk, {pk: None})


def reads_regions(extractor: str) -> bool:
    """Return whether an extractor, by its full name, uses the regions given to objects."""
    return extractor == "region_extractor"


def regions_changed(txn: Txn, bucket_pk: int, row: Any, regions: Any) -> None:
    """Write new regions of an object, and mark it as pending where they are extracted."""
    metadata = {**row.metadata, REGIONS: regions}
    txn.update(schema.object_, [{"pk": row.pk, "metadata": metadata}])
    for collection in collections_over(txn, bucket_pk, derived=True):
        if reads_regions(collection.extractor):
            mark_pending(txn, collection.pk, {row.pk: None})


def change_contents(txn: Txn, pk: int, blobs: Sequence[Blob]) -> None:
    """Write new contents of an object."""
    chosen = update(schema.object_).where(schema.object_.c.pk == pk)
    txn.execute(chosen.values(contents(blobs)))


def finish(txn: Txn, collection_pk: int, pks: Sequence[int]) -> None:
    """Mark objects as done in a collection, and as pending in collections derived from it."""
    waiting = schema.extraction
    for chosen in conditions(waiting.c.object_pk, pks):
        txn.execute(delete(waiting).where(waiting.c.collection_pk == collection_pk, chosen))
    for derived in collections_from(txn, collection_pk):
        mark_pending(txn, derived.pk, dict.fromkeys(pks))


def input_of(
    collection: CollectionRow, blobs: Iterable[Blob], metadata: Mapping[str, Any]
) -> list[Blob] | None:
    """Return the blobs that a collection may extract from, best first.

    A mapped property may be a text in the metadata. None if the object has none of the mapped
    properties. A combined extractor may also use all other blobs, and a text under one of
    TEXT_KEYS.
    """
    given = list(blobs)
    if not collection.inputs and collection.extractor != COMBINED:
        return given
    by_property = {blob.property: blob for blob in given}
    paths = list(collection.inputs.values())
    found = [one for path in paths if (one := by_property.get(path) or _text_at(metadata, path))]
    if collection.extractor == COMBINED:
        found += [blob for blob in given if blob.property not in paths]
        texts = (_text_at(metadata, key) for key in TEXT_KEYS if key not in paths)
        found += [text for text in texts if text is not None][:1]
    return found or None


def _text_at(metadata: Mapping[str, Any], path: str) -> Blob | None:
    text = dig(metadata, path)
    return Blob.of_text(path, text) if isinstance(text, str) and text.strip() else None


def known_object_pks(snapshot: Snapshot, bucket_pk: int, ids: Sequence[str]) -> dict[str, int]:
    """Return pks by object id, for existing objects."""
    table = schema.object_
    found: dict[str, int] = {}
    for start in range(0, len(ids), _IN_LIST):
        chosen = table.c.id.in_(ids[start : start + _IN_LIST])
        query = select(table.c.id, table.c.pk).where(table.c.bucket_pk == bucket_pk, chosen)
        found |= {row.id: row.pk for row in snapshot.rows(query)}
    return found


def object_pks(snapshot: Snapshot, bucket_pk: int, ids: Sequence[str]) -> dict[str, int]:
    """Return pks by object id, in the order asked. Raises NotFound naming the unknown ones."""
    found = known_object_pks(snapshot, bucket_pk, ids)
    unknown = [id for id in ids if id not in found]
    if unknown:
        names = ", ".join(repr(id) for id in unknown[:5]) + (" …" if len(unknown) > 5 else "")
        raise NotFound(f"the bucket has no object {names}; list its objects to see their ids")
    return {id: found[id] for id in ids}


def objects_named(snapshot: Snapshot, bucket_pks: Collection[int], ids: Sequence[str]) -> list[int]:
    """Return the pks of the objects with these ids, in any of the buckets. Raises NotFound."""
    table, found, known = schema.object_, list[int](), set[str]()
    for start in range(0, len(ids), 5000):
        chosen = table.c.id.in_(ids[start : start + 5000])
        query = select(table.c.pk, table.c.id).where(table.c.bucket_pk.in_(bucket_pks), chosen)
        for row in snapshot.rows(query):
            found.append(row.pk)
            known.add(row.id)
    unknown = [id for id in ids if id not in known]
    if unknown:
        names = ", ".join(map(repr, unknown[:5])) + (" …" if len(unknown) > 5 else "")
        raise NotFound(f"there is no object {names} here; list the bucket's objects for their ids")
    return found


def read_objects(snapshot: Snapshot, bucket: str, pks: Sequence[int]) -> list[Object]:
    """Return objects in the order of `pks`; their metadata show the current labels."""
    table = schema.object_
    rows = {row.pk: row for row in snapshot.rows(select(table).where(one_of(table.c.pk, pks)))}
    statuses = _statuses(snapshot, pks)
    labels = _labels(snapshot, pks)
    return [
        Object(
            id=row.id,
            bucket=bucket,
            key=row.key,
            name=row.name,
            metadata=_overlaid(row.metadata, labels.get(pk, {})),
            blobs=tuple(Blob(**blob) for blob in row.blobs),
            status=statuses.get(pk, (Status.COMPLETED, None))[0],
            error=statuses.get(pk, (Status.COMPLETED, None))[1],
            created_at=datetime.fromtimestamp(row.created_at, UTC),
        )
        for pk in pks
        if (row := rows.get(pk)) is not None
    ]


def labels_as_they_stand(
    snapshot: Snapshot, metadata: Mapping[int, Mapping[str, Any]]
) -> dict[int, Mapping[str, Any]]:
    """Return the metadata of objects, by pk; a retracted label in it is None."""
    labels = _labels(snapshot, [pk for pk, one in metadata.items() if one])
    return {
        pk: {**one, **{name: label for name, label in labels.get(pk, {}).items() if name in one}}
        for pk, one in metadata.items()
    }


def waits_in(snapshot: Snapshot, collection_pk: int) -> bool:
    """Return whether anything is pending or being extracted in a collection."""
    table = schema.extraction
    here = (table.c.collection_pk == collection_pk) & (table.c.status != Status.FAILED)
    return bool(snapshot.rows(select(exists().where(here).label("waits")))[0].waits)


def held_in(snapshot: Snapshot, collection_pk: int) -> set[int]:
    """Return the objects of a collection that are being extracted."""
    table = schema.extraction
    query = select(table.c.object_pk).where(table.c.collection_pk == collection_pk)
    return {
        row.object_pk for row in snapshot.rows(query.where(table.c.status == Status.PROCESSING))
    }


def waiting_dimension(snapshot: Snapshot, collection: CollectionRow) -> int | None:
    """Return the length of the first pending vector of a collection, or None."""
    table, object_ = schema.extraction, schema.object_
    query = (
        select(object_.c.blobs, object_.c.metadata)
        .join(table, table.c.object_pk == object_.c.pk)
        .where(table.c.collection_pk == collection.pk)
        .order_by(object_.c.pk)
        .limit(_LOOK_AHEAD)
    )
    for row in snapshot.rows(query):
        blobs = [Blob(**blob) for blob in row.blobs]
        for blob in input_of(collection, blobs, row.metadata) or ():
            if blob.media_type == VECTOR_TYPE:
                return blob.size_bytes // 4
    return None


def any_waiting(snapshot: Snapshot, pks: Sequence[int]) -> bool:
    """Return whether an object is pending or being extracted in any collection."""
    table = schema.extraction
    waits = exists().where(one_of(table.c.object_pk, pks), table.c.status != Status.FAILED)
    return bool(snapshot.rows(select(waits.label("waits")))[0].waits)


def _has(draft: Draft, collection: CollectionRow) -> bool:
    return draft.error is not None or (
        input_of(collection, draft.blobs, draft.metadata) is not None
    )


def _statuses(snapshot: Snapshot, pks: Sequence[int]) -> dict[int, tuple[Status, str | None]]:
    """Return the status of objects that are not complete everywhere: the least advanced one."""
    table = schema.extraction
    found: dict[int, tuple[Status, str | None]] = {}
    query = select(table.c.object_pk, table.c.status, table.c.error)
    for row in snapshot.rows(query.where(one_of(table.c.object_pk, pks))):
        one = (Status(row.status), row.error if row.status == Status.FAILED else None)
        known = found.get(row.object_pk)
        if known is None or _WAITING_RANK.index(one[0]) < _WAITING_RANK.index(known[0]):
            found[row.object_pk] = one
    return found


def _labels(snapshot: Snapshot, pks: Sequence[int]) -> dict[int, dict[str, str | None]]:
    """Return the labels given to whole items, by object and by field name."""
    document, standing, field_ = schema.document, schema.standing, schema.field
    same = standing.c.document_pk == document.c.pk
    query = (
        select(document.c.object_pk, document.c.collection_pk, field_.c.name)
        .add_columns(standing.c.label, standing.c.origin)
        .join(field_, field_.c.collection_pk == document.c.collection_pk)
        .join(standing, and_(standing.c.field_pk == field_.c.pk, same))
        .where(one_of(document.c.object_pk, pks), document.c.part == "")
        .order_by(document.c.pk.desc())
    )
    rows = snapshot.rows(query)
    homes = {pk: collection_row(snapshot, pk) for pk in {row.collection_pk for row in rows}}
    found: dict[int, dict[str, str | None]] = {}
    for row in rows:
        label = row.label if row.origin in _GIVEN else None
        source = homes[row.collection_pk].source_of(row.name)
        labels = found.setdefault(row.object_pk, {})
        labels[source] = label if label is not None else labels.get(source)
    return found


def _overlaid(metadata: Mapping[str, Any], labels: Mapping[str, str | None]) -> dict[str, Any]:
    shown = {name: label for name, label in labels.items() if label is not None or name in metadata}
    return {**metadata, **shown}


# --- forgotten parts: remembered by their box, so that none comes back ---------------------------

# A place is a key and, if there is one, a box in the object's content; nothing of the image is
# kept. It is deleted with its object, and applies to that content only.

_SAME = 0.4
"""Boxes with at least this overlap are the same part.

Boxes of one face by two detectors overlap by 0.5 and more, those of neighbours hardly at all. In
doubt, the part counts as forgotten.
"""

_AROUND = ("page", "time_ms")


Forgotten = Mapping[tuple[int, str], Sequence[PartRegion]]
"""Forgotten places, by object pk and digest of the content."""


def remember(txn: Txn, parts: Iterable[tuple[int, bytes, str, Mapping[str, Any]]]) -> None:
    """Store the places of forgotten parts: object pk, digest of the content, key and attributes."""
    rows = [
        {
            "object_pk": object_pk,
            "sha256": sha256,
            "part": part,
            "place": {name: attributes[name] for name in ("box", *_AROUND) if name in attributes},
        }
        for object_pk, sha256, part, attributes in parts
    ]
    if rows:
        txn.insert_returning(schema.forgotten, rows)


def places(snapshot: Snapshot, objects: Sequence[int]) -> Forgotten:
    """Return the forgotten places of objects."""
    table = schema.forgotten
    found: dict[tuple[int, str], list[PartRegion]] = {}
    for row in snapshot.rows(select(table).where(one_of(table.c.object_pk, objects))):
        key = (row.object_pk, row.sha256.hex())
        found.setdefault(key, []).append(PartRegion(row.part, row.place))
    return found


def is_forgotten(
    gone: Forgotten,
    object_pk: int,
    sha256: str,
    part: str,
    attributes: Mapping[str, Any],
) -> bool:
    """Return whether a part is at a forgotten place of this object and content."""
    here = gone.get((object_pk, sha256))
    if here is None:
        return False
    return any(is_same(PartRegion(part, attributes), other) for other in here)


def unshown(snapshot: Snapshot, views: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return those views of parts (digest of the content, view) that no document uses."""
    left = {(digest, view) for digest, view in views if view}
    table = schema.document
    digests = sorted({digest for digest, _ in left})
    for start in range(0, len(digests), _IN_LIST):
        chosen = [bytes.fromhex(digest) for digest in digests[start : start + _IN_LIST]]
        query = select(table.c.sha256, table.c.attributes).where(table.c.sha256.in_(chosen))
        left -= {(row.sha256.hex(), view_of(row.attributes)) for row in snapshot.rows(query)}
    return sorted(left)


def is_same(one: PartRegion, other: PartRegion) -> bool:
    """Return whether two parts of a content are the same: by box, or by key without boxes.

    >>> one = PartRegion("face-0", {"box": [0, 0, 9, 9]})
    >>> is_same(one, PartRegion("face-4", {"box": [1, 0, 9, 9]}))
    True
    """
    if one.picture != other.picture:
        return False
    if one.box is None or other.box is None:
        return one.key == other.key
    return one.box == other.box or overlap(one.box, other.box) >= _SAME
