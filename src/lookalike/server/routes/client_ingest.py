"""Verbs of `lookalike.connect` with hand-written routes: add items and vectors, wait, suggest."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter
from numpy.typing import NDArray
from pydantic import Field
from sqlalchemy import func, select

from lookalike.catalog.objects import known_object_pks
from lookalike.catalog.resources import CollectionRow, resource
from lookalike.content.sources import Item
from lookalike.errors import BadInput
from lookalike.ingest.items import Tally
from lookalike.library.bucket import Bucket
from lookalike.library.collection.items import take_in
from lookalike.library.remote.wire import Arrived, Failure, Registered, UploadTarget
from lookalike.model import Added, Blob, Origin, Status, Suggestion
from lookalike.server.context import Context, Here
from lookalike.server.routes.uploads import complete, new_upload, upload_of
from lookalike.server.shapes import Body, JsonRoute, Wait
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, one_of

router = APIRouter(prefix="/v1/collections/{collection}/verbs", tags=["verbs"])
router.route_class = JsonRoute

MAX_ITEMS = 1000
_MAX_IDS = 10_000
_LIVES_S = 3600


class NewItem(Body):
    """A new item: its bytes as base64, the id of an upload that has them, or their URI."""

    key: str = Field(min_length=1, max_length=4000)
    name: str = Field(max_length=4000)
    uri: str | None = None
    base64: str | None = None
    upload_id: str | None = None
    media_type: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    id: str | None = Field(default=None, min_length=1, max_length=200)
    walked: bool = Field(default=False, description="whether the file was found in a folder")


class NewItems(Body):
    """New items; with `copy` the store also copies the bytes at a URI."""

    items: list[NewItem] = Field(min_length=1, max_length=MAX_ITEMS)
    copy_: bool = Field(default=False, alias="copy")


class Vectors(Body):
    """Vectors (n, d), row by row, as base64 of little-endian numbers."""

    dtype: Literal["<f2", "<f4", "<f8", "<i1", "<i2", "<i4", "<i8", "<u1", "<u2", "<u4", "<u8"]
    dimension: int = Field(ge=1, le=100_000)
    base64: str

    def array(self) -> NDArray[Any]:
        """Return the vectors (n, d). Raises BadInput for bytes that are no whole rows."""
        data, dtype = _decoded(self.base64, "vectors"), np.dtype(self.dtype)
        if len(data) % (dtype.itemsize * self.dimension):
            raise BadInput(f"{len(data):,} bytes are no rows of {self.dimension} {self.dtype}")
        return np.frombuffer(data, dtype).reshape(-1, self.dimension)


class NewVectors(Body):
    """Vectors of new documents, with their ids and metadata."""

    vectors: Vectors
    ids: list[str]
    metadata: list[dict[str, Any]]


class FileToBe(Body):
    """A file that is too large for a JSON body."""

    name: str = Field(min_length=1, max_length=500)
    size_bytes: int = Field(ge=1, le=2**53)


class ObjectIds(Body):
    """Objects by their ids."""

    object_ids: list[str] = Field(max_length=_MAX_IDS)


class Things(Body):
    """What to suggest labels for: either items, a text, vectors, or ids of documents."""

    items: list[NewItem] | None = Field(default=None, min_length=1, max_length=MAX_ITEMS)
    text: str | None = None
    vectors: Vectors | None = None
    ids: list[str] | None = Field(default=None, max_length=_MAX_IDS)
    field: str | None = None
    top_k: int | None = Field(default=None, ge=0, le=10_000)


@router.post("/add")
def add(collection: str, body: NewItems, here: Here) -> Registered:
    """Add items as objects. An object with the same key is kept, or gets the new content."""
    row = _row(here, collection)
    items = [_item(here, row, one) for one in body.items]
    tally = Tally()
    target = take_in(here.runtime, row, items, tally, copy=body.copy_)
    with here.runtime.store.read() as snapshot:
        known = _objects_of(snapshot, row, items)
        waiting = _pending(snapshot, row, known.values())
    for one, item in zip(body.items, items, strict=True):
        if one.upload_id is not None and item.key in known:
            complete(here, _upload(here, row, one.upload_id), known[item.key])
    here.server.worker.wake()
    return Registered(
        added=tally.added,
        changed=tally.changed,
        unchanged=tally.unchanged,
        skipped=tally.skipped,
        failed=tally.failed,
        object_ids=[id for id in dict.fromkeys(known.values()) if id in waiting],
        accepts=sorted(target.extractor.accepts),
    )


@router.post("/upload")
def upload(collection: str, body: FileToBe, here: Here) -> UploadTarget:
    """Return a signed URL for the PUT of a large file; `add` then names the upload."""
    spec = {
        "filename": body.name,
        "file_size_bytes": body.size_bytes,
        "content_type": "application/octet-stream",
        "create_object_on_confirm": False,
        "presigned_url_expiration": _LIVES_S,
    }
    made = new_upload(here, _bucket(here, _row(here, collection)), spec, _LIVES_S)
    return UploadTarget(made.id, here.signed(f"/v1/uploads/{made.id}", {}, _LIVES_S))


@router.post("/add_vectors")
def add_vectors(collection: str, body: NewVectors, here: Here) -> Added:
    """Add vectors as documents, and decide them."""
    verbs = here.collection(collection)
    return verbs.add(vectors=body.vectors.array(), ids=body.ids, metadata=body.metadata)


@router.post("/arrived")
def arrived(collection: str, body: ObjectIds, here: Here, wait: Wait = None) -> Arrived:
    """Return the state of objects that `add` has added."""
    row = _row(here, collection)

    def pending() -> set[str]:
        with here.runtime.store.read() as snapshot:
            return _pending(snapshot, row, body.object_ids)

    here.wait(wait, lambda: not pending())
    with here.runtime.store.read() as snapshot:
        pks = known_object_pks(snapshot, row.bucket_pk, body.object_ids)
        return Arrived(
            waiting=len(_pending(snapshot, row, pks)),
            documents=_count_documents(snapshot, row, list(pks.values())),
            failed=_failures(snapshot, row, list(pks.values())),
            labelled=_labelled(snapshot, row, list(pks.values())),
        )


@router.post("/waiting")
def waiting(collection: str, here: Here, wait: Wait = None) -> int:
    """Return the number of objects that wait for extraction."""
    row, table = _row(here, collection), schema.extraction

    def count() -> int:
        pending = (table.c.collection_pk == row.pk) & (table.c.status != Status.FAILED)
        query = select(func.count().label("n")).where(pending)
        with here.runtime.store.read() as snapshot:
            return int(snapshot.rows(query)[0].n)

    here.wait(wait, lambda: not count())
    return count()


@router.post("/suggest")
def suggest(collection: str, body: Things, here: Here) -> list[Suggestion]:
    """Return the labels that items would get if they were added now; record nothing."""
    verbs, row = here.collection(collection), _row(here, collection)
    source = None if body.items is None else [_item(here, row, one) for one in body.items]
    return verbs.suggest(
        source,
        text=body.text,
        vectors=None if body.vectors is None else body.vectors.array(),
        ids=body.ids,
        field=body.field,
        top_k=body.top_k,
    )


# --- inside -------------------------------------------------------------------------------------


def _row(here: Context, collection: str) -> CollectionRow:
    with here.runtime.store.read() as snapshot:
        return here.row(snapshot, collection)


def _item(here: Context, row: CollectionRow, one: NewItem) -> Item:
    """Return the item of a body. Raises FetchRefused for a URI that must not be read."""
    given = [part for part in (one.uri, one.base64, one.upload_id) if part is not None]
    if len(given) != 1:
        raise BadInput(f"the item {one.name[:100]!r} needs one of uri, base64 and upload_id")
    data = None if one.base64 is None else _decoded(one.base64, one.name)
    if one.uri is not None:
        here.server.fetcher.check(one.uri)
    if one.upload_id is not None:
        blob = _upload(here, row, one.upload_id).blob
        if blob is None:
            raise BadInput(f"the upload {one.upload_id!r} has no file yet; send the file first")
        data = here.runtime.blobs.read(Blob(**blob))
    values = (one.key, one.name, one.uri, data, one.media_type, one.metadata, one.id)
    return Item(*values, walked=one.walked)


def _upload(here: Context, row: CollectionRow, id: str) -> Any:
    return upload_of(here, _bucket(here, row), id)


def _bucket(here: Context, row: CollectionRow) -> Bucket:
    with here.runtime.store.read() as snapshot:
        return here.bucket(str(resource(snapshot, row.bucket_pk).name))


def _objects_of(snapshot: Snapshot, row: CollectionRow, items: Sequence[Item]) -> Mapping[str, str]:
    """Return the ids of the items' objects, by the key of the item."""
    table = schema.object_
    in_bucket = select(table.c.key, table.c.id).where(table.c.bucket_pk == row.bucket_pk)
    by_key = snapshot.rows(in_bucket.where(table.c.key.in_([one.key for one in items])))
    ids = [one.id for one in items if one.id is not None]
    known = {one.id for one in snapshot.rows(in_bucket.where(table.c.id.in_(ids)))}
    found = {one.key: str(one.id) for one in by_key}
    return found | {one.key: str(one.id) for one in items if one.id in known}


def _pending(snapshot: Snapshot, row: CollectionRow, ids: Iterable[str]) -> set[str]:
    """Return those of the objects that wait for extraction in a collection."""
    table, pks = schema.extraction, known_object_pks(snapshot, row.bucket_pk, list(ids))
    query = select(table.c.object_pk).where(
        table.c.collection_pk == row.pk,
        table.c.status != Status.FAILED,
        one_of(table.c.object_pk, pks.values()),
    )
    waiting = {one.object_pk for one in snapshot.rows(query)}
    return {id for id, pk in pks.items() if pk in waiting}


def _count_documents(snapshot: Snapshot, row: CollectionRow, pks: Sequence[int]) -> int:
    table = schema.document
    query = select(func.count().label("n")).where(
        table.c.collection_pk == row.pk, one_of(table.c.object_pk, pks)
    )
    return int(snapshot.rows(query)[0].n)


def _failures(snapshot: Snapshot, row: CollectionRow, pks: Sequence[int]) -> list[Failure]:
    table, object_ = schema.extraction, schema.object_
    query = (
        select(object_.c.name, table.c.error)
        .join(object_, object_.c.pk == table.c.object_pk)
        .where(table.c.collection_pk == row.pk, table.c.status == Status.FAILED)
        .where(one_of(table.c.object_pk, pks))
        .order_by(table.c.object_pk)
    )
    return [Failure(one.name, str(one.error)) for one in snapshot.rows(query)]


def _labelled(snapshot: Snapshot, row: CollectionRow, pks: Sequence[int]) -> dict[str, int]:
    """Return the number of automatically labelled documents of objects, by label."""
    document, standing = schema.document, schema.standing
    query = (
        select(standing.c.label, func.count().label("n"))
        .join(document, document.c.pk == standing.c.document_pk)
        .where(document.c.collection_pk == row.pk, one_of(document.c.object_pk, pks))
        .where(standing.c.origin == Origin.AUTO)
        .group_by(standing.c.label)
        .order_by(standing.c.label)
    )
    return {one.label: int(one.n) for one in snapshot.rows(query)}


def _decoded(text: str, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadInput(f"the data of {name[:100]!r} are not base64: {text[:40]!r}") from error
