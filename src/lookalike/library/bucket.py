"""The verbs of a bucket: put objects in, read them, change their metadata, move them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select, update
from ulid import ULID

from lookalike.catalog.idempotency import Request, idempotent
from lookalike.catalog.objects import Draft, input_of, insert_objects, object_pks, read_objects
from lookalike.catalog.reader import fields_of
from lookalike.catalog.resources import CollectionRow, check_values, collections_over, dig
from lookalike.content.pictures import check_picture, sniff
from lookalike.content.sources import json_values
from lookalike.decisions.operations import NO_COLLECTION, Running
from lookalike.errors import BadContent, BadInput, Conflict, Stale
from lookalike.extractors.base import VECTOR_TYPE
from lookalike.extractors.vectors import problems
from lookalike.ingest.items import Tally, VectorIngest
from lookalike.labels import label_in
from lookalike.library.forget import with_copies
from lookalike.library.metadata import Sync
from lookalike.library.runtime import Runtime
from lookalike.model import Blob, Changed, Object, quiet
from lookalike.stores import schema
from lookalike.stores.base import Snapshot

_IN_LIST = 5000
_REFERENCED = ("file://", "s3://", "gs://")


@dataclass(frozen=True, slots=True)
class NewBlob:
    """Bytes for one property of a new object; `uri` is their source, or "".

    `kind` is the declared type: "image", "text", "vector" …, a media type, or "".
    """

    property: str
    data: bytes
    kind: str = ""
    uri: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class NewObject:
    """An object to put into a bucket; `error` is the reason if its content could not be read.

    A `key` that exists in the bucket means the existing object.
    """

    metadata: Mapping[str, Any] = field(default_factory=dict)
    blobs: Sequence[NewBlob] = ()
    id: str | None = None
    key: str | None = None
    name: str = ""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class BucketRow:
    """The row of a bucket: `properties` gives the type of each field of its objects."""

    pk: int
    name: str
    properties: Mapping[str, str]
    about: Mapping[str, Any]
    created_at: float


def _without_repeats(drafts: Sequence[Draft]) -> list[Draft]:
    """Return the first draft of each key and of each id."""
    first, keys, ids = [], set(), set()
    for draft in drafts:
        if draft.key not in keys and draft.id not in ids:
            first.append(draft)
            keys.add(draft.key)
            ids.add(draft.id)
    return first


def _kind_of(type: str) -> str:
    """Return the kind of content that a property's type implies; "" for a text: it may be a URL."""
    return type if type in ("image", "vector") else ""


def bucket_from(row: Any) -> BucketRow:
    """Return the bucket of a row of `resource`."""
    about = row.spec.get("about") or {}
    return BucketRow(row.pk, row.name, row.spec.get("properties") or {}, about, row.created_at)


class Bucket:
    """One bucket of a store."""

    def __init__(self, runtime: Runtime, row: BucketRow) -> None:
        self._runtime = runtime
        self.row = row

    @property
    def name(self) -> str:
        """Return the bucket's name."""
        return self.row.name

    def __repr__(self) -> str:
        return f"<Bucket {self.name!r}>"

    def __len__(self) -> int:
        return self.size()[0]

    def size(self) -> tuple[int, int]:
        """Return the number of objects, and their total size in bytes."""
        table = schema.object_
        size = func.sum(table.c.size_bytes).label("bytes")
        query = select(func.count().label("n")).add_columns(size)
        with self._runtime.store.read() as snapshot:
            row = snapshot.rows(query.where(table.c.bucket_pk == self.row.pk))[0]
            return int(row.n), int(row.bytes or 0)

    def put(self, objects: Sequence[NewObject]) -> list[Object]:
        """Put objects in; they wait for extraction in all collections over the bucket.

        Vectors become documents at once if exactly one collection takes them. It returns an
        existing object with the same id or key unchanged.

        Raises BadInput for an invalid object, with its name; then it puts nothing in.
        """
        return self.put_drafts([self.draft(one) for one in objects])

    def draft(self, new: NewObject) -> Draft:
        """Return a new object, with its bytes stored. Raises BadInput for an invalid one."""
        metadata = json_values(new.metadata)
        check_values(metadata, self.row.properties)
        self._check_labels(metadata)
        id = new.id or f"obj_{ULID()}"
        blobs = tuple(self._blob(blob) for blob in new.blobs)
        name = new.name or next((blob.name for blob in new.blobs if blob.name), "") or id
        return Draft(new.key or id, name, metadata, blobs, id, new.error)

    def put_drafts(self, drafts: Sequence[Draft]) -> list[Object]:
        """Put in objects that `draft` returned."""
        with self._runtime.store.read() as snapshot:
            known = self._known(snapshot, drafts)
            takers = collections_over(snapshot, self.row.pk)
        new = _without_repeats([one for one in drafts if one.key not in known])
        vectors = self._vectors(takers, new)
        if vectors is not None:
            self._put_vectors(takers[0], new, vectors)
        elif new:
            with self._runtime.store.write() as txn:
                known = self._known(txn, drafts)
                rest = [one for one in new if one.key not in known]
                pks = insert_objects(txn, self.row.pk, rest, at=self._runtime.clock())
            known |= {one.key: pk for one, pk in zip(rest, pks, strict=True)}
        with self._runtime.store.read() as snapshot:
            known |= self._known(snapshot, [one for one in drafts if one.key not in known])
            return read_objects(snapshot, self.name, [known[one.key] for one in drafts])

    def object(self, id: str) -> Object:
        """Return one object. Raises NotFound."""
        with self._runtime.store.read() as snapshot:
            pks = object_pks(snapshot, self.row.pk, [id])
            return read_objects(snapshot, self.name, list(pks.values()))[0]

    @idempotent
    def amend(
        self,
        changes: Mapping[str, Mapping[str, Any]],
        *,
        actor: str = "",
        op_id: str = "",
        fresh: Mapping[str, Object] | None = None,
    ) -> Changed:
        """Change metadata of objects, by id; a label field takes a person's label, None removes it.

        One transaction updates documents and references, and decides all that they affect. `fresh`
        are objects as the caller read them: raises Stale if one has changed since.
        """
        checked = {id: json_values(change) for id, change in changes.items()}
        for change in checked.values():
            check_values(change, self.row.properties)
        request = Request.of(op_id, self.row.pk, "amend", checked)
        with self._operate("label", actor, request) as running:
            pks = object_pks(running.txn, self.row.pk, list(checked))
            if fresh:
                self._check_fresh(running.txn, pks, fresh)
            sync = Sync(self._runtime.operations, running)
            sync.objects({pks[id]: change for id, change in checked.items()})
            sync.append()
        return running.changed()

    def move(self, id: str, prefix: str) -> None:
        """Move an object, and the copies that promotion made of it, to another key prefix.

        Raises NotFound; Conflict if its key is not a path but a URL or the key of a request.
        """
        with self._runtime.store.write() as txn:
            pk = object_pks(txn, self.row.pk, [id])[id]
            key = read_objects(txn, self.name, [pk])[0].key
            moved = f"{prefix}/{id}" if prefix else id
            if key == moved:
                return
            if key != id and not key.endswith(f"/{id}"):
                raise Conflict(f"object {id!r} is known by {key!r}, which has no prefix to change")
            if self._pks_by("key", txn, [moved]):
                raise Conflict(f"the bucket {self.name!r} already has {moved!r}; choose another")
            table = schema.object_
            moves = update(table).where(table.c.pk.in_(with_copies(txn, [pk])))
            txn.execute(moves.values(key=moved))

    # --- helpers --------------------------------------------------------------------------------

    def _operate(
        self, kind: str, actor: str, request: Request | None
    ) -> AbstractContextManager[Running]:
        with self._runtime.store.read() as snapshot:
            takers = collections_over(snapshot, self.row.pk, derived=True)
        home = takers[0].pk if takers else NO_COLLECTION
        actor = actor or self._runtime.actor
        return self._runtime.operations.operate(home, kind, actor, request)

    def _check_fresh(
        self, snapshot: Snapshot, pks: Mapping[str, int], fresh: Mapping[str, Object]
    ) -> None:
        for now in read_objects(snapshot, self.name, [pks[id] for id in fresh]):
            if now != fresh[now.id]:
                raise Stale(f"object {now.id!r} has changed since: read it again")

    def _blob(self, new: NewBlob) -> Blob:
        properties, data = self.row.properties, new.data
        if properties and new.property not in properties:
            known = ", ".join(sorted(properties))
            raise BadInput(
                f"the bucket {self.name!r} has no property {new.property!r} (known: {known})"
            )
        blobs, settings = self._runtime.blobs, self._runtime.settings
        name = new.name or new.property
        kind = new.kind or _kind_of(properties.get(new.property, ""))
        media_type = VECTOR_TYPE if kind == "vector" else sniff(data[:4096], name)
        blobs.check_size(len(data), repr(name))
        if kind.startswith("image") or (not new.kind and media_type.startswith("image/")):
            check_picture(data, name=name, max_pixels=settings.max_pixels)
        elif kind == "text" and not media_type.startswith("text/"):
            if media_type.startswith(("image/", "application/", "video/")):
                raise BadContent(f"{name!r} is declared as text, and is {media_type}")
            media_type = "text/plain"
        digest = hashlib.sha256(data).hexdigest()
        referenced = new.uri.startswith(_REFERENCED)
        uri = new.uri if referenced else blobs.keep(data, inline=media_type == VECTOR_TYPE)
        return Blob(new.property, media_type, uri, digest, len(data))

    def _check_labels(self, metadata: Mapping[str, Any]) -> None:
        """Raise BadInput for an invalid label in the label field of a collection."""
        for source in self._label_sources:
            label_in(dig(metadata, source))

    @cached_property
    def _label_sources(self) -> set[str]:
        """Return the metadata keys (or paths) from which collections read labels."""
        with self._runtime.store.read() as snapshot:
            return {
                row.source_of(one.name)
                for row in collections_over(snapshot, self.row.pk, derived=True)
                for one in fields_of(snapshot, row.pk)
            }

    def _known(self, snapshot: Snapshot, drafts: Sequence[Draft]) -> dict[str, int]:
        """Return the pks of drafts that exist already, by the draft's key."""
        by_key = self._pks_by("key", snapshot, [one.key for one in drafts])
        by_id = self._pks_by("id", snapshot, [str(one.id) for one in drafts])
        found = {one.key: by_key.get(one.key, by_id.get(str(one.id))) for one in drafts}
        return {key: pk for key, pk in found.items() if pk is not None}

    def _pks_by(self, column: str, snapshot: Snapshot, values: Sequence[str]) -> dict[str, int]:
        table = schema.object_
        found: dict[str, int] = {}
        for start in range(0, len(values), _IN_LIST):
            chosen = table.c[column].in_(values[start : start + _IN_LIST])
            query = select(table.c.pk, table.c[column].label("value"))
            rows = snapshot.rows(query.where(table.c.bucket_pk == self.row.pk, chosen))
            found |= {row.value: row.pk for row in rows}
        return found

    def _put_vectors(
        self, taker: CollectionRow, drafts: Sequence[Draft], vectors: NDArray[np.float32]
    ) -> None:
        target = self._runtime.target(taker, vectors.shape[1])
        ingest = VectorIngest(self._runtime.operations)
        actor = self._runtime.actor
        ingest.add(target, vectors, drafts, Tally(), actor=actor, progress=quiet)

    def _vectors(
        self, takers: Sequence[CollectionRow], drafts: Sequence[Draft]
    ) -> NDArray[np.float32] | None:
        """Return the vectors (n, d) of objects that are only vectors, if exactly one collection
        takes them; None if the objects have to wait for extraction.
        """
        if len(takers) != 1 or takers[0].extractor != "passthrough" or not drafts:
            return None
        inputs = [input_of(takers[0], one.blobs, one.metadata) or [] for one in drafts]
        sizes = {blobs[0].size_bytes for blobs in inputs if len(blobs) == 1}
        are_vectors = all(
            len(blobs) == 1 and blobs[0].media_type == VECTOR_TYPE for blobs in inputs
        )
        are_alone = all(len(one.blobs) == 1 and one.error is None for one in drafts)
        if not (are_vectors and are_alone) or len(sizes) != 1:
            return None
        if takers[0].options.get("dimension") not in (None, next(iter(sizes)) // 4):
            return None
        read = self._runtime.blobs.read
        vectors = np.stack([np.frombuffer(read(blobs[0]), "<f4") for blobs in inputs])
        return None if problems(vectors, vectors.shape[1]) else vectors
