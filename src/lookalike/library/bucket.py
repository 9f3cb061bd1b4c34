"""The verbs of a bucket: put objects in, read them, change what they say, take them out."""

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
    """Bytes for one property of an object to be; `uri` says where they came from, if anywhere.

    `kind` is what they are said to be: "image", "text", "vector" …, or a media type, or "".
    """

    property: str
    data: bytes
    kind: str = ""
    uri: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class NewObject:
    """An object to be put into a bucket; an `error` says why its content could not be had.

    With a `key` that is known in the bucket the object that is there is meant.
    """

    metadata: Mapping[str, Any] = field(default_factory=dict)
    blobs: Sequence[NewBlob] = ()
    id: str | None = None
    key: str | None = None
    name: str = ""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class BucketRow:
    """A bucket as the store holds it: `properties` gives the type of each field of its objects."""

    pk: int
    name: str
    properties: Mapping[str, str]
    about: Mapping[str, Any]
    created_at: float


def _each_once(drafts: Sequence[Draft]) -> list[Draft]:
    """Return the first draft of each key and of each id."""
    kept, keys, ids = [], set(), set()
    for one in drafts:
        if one.key not in keys and one.id not in ids:
            kept.append(one)
            keys.add(one.key)
            ids.add(one.id)
    return kept


def _kind_of(type: str) -> str:
    """Return what a property of a type holds, where that says it; a text may be anything."""
    return type if type in ("image", "vector") else ""


def bucket_from(row: Any) -> BucketRow:
    """Return the bucket that a row of `resource` is."""
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
        """Return how many objects there are, and how many bytes they have together."""
        table = schema.object_
        size = func.sum(table.c.size_bytes).label("bytes")
        query = select(func.count().label("n")).add_columns(size)
        with self._runtime.store.read() as snapshot:
            row = snapshot.rows(query.where(table.c.bucket_pk == self.row.pk))[0]
            return int(row.n), int(row.bytes or 0)

    def put(self, objects: Sequence[NewObject]) -> list[Object]:
        """Put objects in; they wait for extraction in all collections over the bucket.

        Vectors are documents at once, where one collection takes them. An object whose id or key is
        known stays as it is, and is returned.

        Raises BadInput for what cannot be an object, naming it; then nothing is put in.
        """
        return self.put_drafts([self.draft(one) for one in objects])

    def draft(self, new: NewObject) -> Draft:
        """Return an object to be, whose bytes are kept. Raises BadInput for what cannot be one."""
        metadata = json_values(new.metadata)
        check_values(metadata, self.row.properties)
        self._check_labels(metadata)
        id = new.id or f"obj_{ULID()}"
        blobs = tuple(self._blob(one) for one in new.blobs)
        named = new.name or next((one.name for one in new.blobs if one.name), "") or id
        return Draft(new.key or id, named, metadata, blobs, id, new.error)

    def put_drafts(self, drafts: Sequence[Draft]) -> list[Object]:
        """Put objects in that `draft` returned."""
        with self._runtime.store.read() as snapshot:
            known = self._known(snapshot, drafts)
            takers = collections_over(snapshot, self.row.pk)
        new = _each_once([one for one in drafts if one.key not in known])
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
        """Change metadata of objects, by id; a label field's value is a person's label, None none.

        It reaches the documents, the references and every decision it changes in one transaction.
        `fresh` are objects as the caller knows them: raises Stale where one is not so any more.
        """
        checked = {id: json_values(one) for id, one in changes.items()}
        for one in checked.values():
            check_values(one, self.row.properties)
        request = Request.of(op_id, self.row.pk, "amend", checked)
        with self._operate("label", actor, request) as running:
            pks = object_pks(running.txn, self.row.pk, list(checked))
            if fresh:
                self._check_fresh(running.txn, pks, fresh)
            sync = Sync(self._runtime.operations, running)
            sync.objects({pks[id]: one for id, one in checked.items()})
            sync.say()
        return running.changed()

    def move(self, id: str, prefix: str) -> None:
        """Let an object be under another key prefix, with the copies that promotion made of it.

        Raises NotFound; Conflict where its key is no path: an address, or that of a request.
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
                raise Conflict(f"the bucket {self.name!r} has {moved!r} already; choose another")
            table = schema.object_
            moves = update(table).where(table.c.pk.in_(with_copies(txn, [pk])))
            txn.execute(moves.values(key=moved))

    # --- inside ---------------------------------------------------------------------------------

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
                raise BadContent(f"{name!r} is said to be a text, and is {media_type}")
            media_type = "text/plain"
        digest = hashlib.sha256(data).hexdigest()
        referenced = new.uri.startswith(_REFERENCED)
        uri = new.uri if referenced else blobs.keep(data, inline=media_type == VECTOR_TYPE)
        return Blob(new.property, media_type, uri, digest, len(data))

    def _check_labels(self, metadata: Mapping[str, Any]) -> None:
        """Raise BadInput for a value that is no label where a collection has a label field."""
        for source in self._label_sources:
            label_in(dig(metadata, source))

    @cached_property
    def _label_sources(self) -> set[str]:
        """Return where objects' metadata give labels."""
        with self._runtime.store.read() as snapshot:
            return {
                row.source_of(one.name)
                for row in collections_over(snapshot, self.row.pk, derived=True)
                for one in fields_of(snapshot, row.pk)
            }

    def _known(self, snapshot: Snapshot, drafts: Sequence[Draft]) -> dict[str, int]:
        """Return the pks of objects that are there already, by the key they would have."""
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
        """Return the vectors (n, d) of objects that are nothing else, where one collection takes
        them; None where they have to wait like everything else.
        """
        if len(takers) != 1 or takers[0].extractor != "passthrough" or not drafts:
            return None
        found = [input_of(takers[0], one.blobs, one.metadata) or [] for one in drafts]
        sizes = {blobs[0].size_bytes for blobs in found if len(blobs) == 1}
        plain = all(len(blobs) == 1 and blobs[0].media_type == VECTOR_TYPE for blobs in found)
        alone = all(len(one.blobs) == 1 and one.error is None for one in drafts)
        wanted = takers[0].options.get("dimension")
        if not (plain and alone) or len(sizes) != 1 or wanted not in (None, next(iter(sizes)) // 4):
            return None
        read = self._runtime.blobs.read
        vectors = np.stack([np.frombuffer(read(blobs[0]), "<f4") for blobs in found])
        return None if problems(vectors, vectors.shape[1]) else vectors
