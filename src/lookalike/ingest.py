"""Bringing items in: objects first, then documents with vectors, decided as they arrive.

Work is state: an object that waits has a row in `extraction`, and a crash leaves rows that the next
run takes up again. Reading and extracting run in a few threads; writing is one transaction a batch.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select, update
from ulid import ULID

from lookalike.blobs import Blobs
from lookalike.documents import NewDocument, Target, write_documents
from lookalike.errors import BadContent, BadInput, Conflict
from lookalike.extractors.base import Extractor, Part
from lookalike.extractors.vectors import MEDIA_TYPE, problems
from lookalike.model import Blob, Status
from lookalike.operations import Operations, Running
from lookalike.pictures import sniff
from lookalike.sources import Item
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Store, Txn
from lookalike.stores.search import Floats

_REGISTER_ITEMS = 256
_VECTOR_ROWS = 10_000
_IN_LIST = 5000

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Tally:
    """What happened so far."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    documents: int = 0
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    labelled: Counter[str] = field(default_factory=Counter)

    def arrived(self, running: Running, documents: int) -> None:
        """Count documents that were made, and what labelled itself."""
        self.documents += documents
        self.labelled += running.effects.labelled


@dataclass(frozen=True, slots=True)
class _Read:
    """An item whose bytes have been looked at."""

    item: Item
    blob: Blob | None
    error: str | None

    @property
    def blobs(self) -> list[dict[str, Any]]:
        """Return the blobs as JSON values."""
        return [] if self.blob is None else [asdict(self.blob)]


class Registrar:
    """Makes objects of items: what is new waits for extraction, what is known stays as it is."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        clock: Callable[[], float],
        *,
        copy: bool,
        threads: int,
    ) -> None:
        self._store = store
        self._clock = clock
        self._blobs = blobs
        self._copy = copy
        self._threads = threads

    def register(
        self, target: Target, items: Iterable[Item], tally: Tally, progress: Progress
    ) -> None:
        """Write an object for each item, a few hundred in a transaction."""
        stream, done = iter(items), 0
        with ThreadPoolExecutor(self._threads) as pool:
            while batch := list(islice(stream, _REGISTER_ITEMS)):
                read = list(pool.map(lambda item: self._look(item, target), batch))
                kept = [one for one in read if not _foreign(one, target)]
                tally.skipped += [one.item.name for one in read if _foreign(one, target)]
                with self._store.write() as txn:
                    self._write(txn, target, kept, tally)
                done += len(batch)
                progress(done, done)

    def _look(self, item: Item, target: Target) -> _Read:
        try:
            data = item.data if item.data is not None else self._blobs.fetch(str(item.uri))
        except BadContent as error:
            return _Read(item, None, str(error))
        media_type = item.media_type or sniff(data[:4096], item.name)
        keep = item.uri is None or self._copy or item.uri.startswith("data:")
        blob = Blob("content", media_type, str(item.uri), _sha256(data), len(data))
        if keep and not _foreign(_Read(item, blob, None), target):
            blob = replace(blob, uri=self._blobs.keep(data))
        return _Read(item, blob, None)

    def _write(self, txn: Txn, target: Target, read: Sequence[_Read], tally: Tally) -> None:
        known = _known_objects(txn, target.bucket_pk, [one.item for one in read])
        new: dict[str, _Read] = {}
        for one in read:
            row = known.get(f"id {one.item.id}") or known.get(f"key {one.item.key}")
            if row is None:
                new[one.item.key] = one
            else:
                self._revisit(txn, target, one, row, tally)
        if new:
            _insert_objects(txn, target, list(new.values()), at=self._clock())
        tally.added += len(new)
        tally.failed |= {one.item.name: one.error for one in read if one.error is not None}

    def _revisit(self, txn: Txn, target: Target, one: _Read, row: Any, tally: Tally) -> None:
        if one.item.id is not None and one.item.id != row.id:
            raise Conflict(
                f"{one.item.name!r} is here already as {row.id!r}, not as {one.item.id!r}; "
                "use that id, or forget it first"
            )
        if one.blob is None or _same_content(row, one):
            tally.unchanged += 1
            _try_again(txn, target, row.pk)
            return
        chosen = update(schema.object_).where(schema.object_.c.pk == row.pk)
        txn.execute(chosen.values(blobs=one.blobs))
        pending = {"collection_pk": target.pk, "object_pk": row.pk, "status": Status.PENDING}
        txn.upsert(schema.extraction, [pending])
        tally.changed += 1


class VectorIngest:
    """Takes vectors that the user brings: objects, documents and decisions in one transaction a
    batch, without a file or a waiting row for each.
    """

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def add(
        self,
        target: Target,
        vectors: NDArray[np.floating],
        ids: Sequence[str],
        metadata: Sequence[Mapping[str, Any]],
        tally: Tally,
        *,
        actor: str,
        progress: Progress,
    ) -> None:
        """Add `vectors` (n, d) under `ids`; one that is not usable fails, the others go on."""
        bad = problems(vectors, target.space.dimension)
        tally.failed |= {ids[place]: reason for place, reason in bad.items()}
        good = np.array([place for place in range(len(vectors)) if place not in bad], np.int64)
        for start in range(0, len(good), _VECTOR_ROWS):
            places = good[start : start + _VECTOR_ROWS]
            wide = np.asarray(vectors[places], np.float64)
            unit = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)
            read = [
                _vector_item(ids[place], row, metadata[place])
                for place, row in zip(places.tolist(), unit, strict=True)
            ]
            with self._operations.operate(target.pk, "add", actor) as running:
                made = self._write(running, target, read, unit, tally)
            tally.arrived(running, made)
            progress(start + len(places), len(good))

    def _write(
        self, running: Running, target: Target, read: Sequence[_Read], rows: Floats, tally: Tally
    ) -> int:
        known = _known_objects(running.txn, target.bucket_pk, [one.item for one in read])
        new = [one for one in read if f"id {one.item.id}" not in known]
        pks = _insert_objects(running.txn, target, new, at=running.at, waiting=False)
        documents, changed = [], []
        for one, row in zip(read, rows, strict=True):
            stored = known.get(f"id {one.item.id}")
            if stored is not None:
                if _same_content(stored, one):
                    tally.unchanged += 1
                    continue
                changed.append({"pk": stored.pk, "blobs": one.blobs})
            id = str(one.item.id)
            object_pk = pks[id] if stored is None else stored.pk
            sha256 = one.blobs[0]["sha256"]
            part = Part(row)
            documents.append(NewDocument(object_pk, id, id, sha256, one.item.metadata, part))
        running.txn.update(schema.object_, changed)
        tally.added += len(new)
        tally.changed += len(changed)
        return write_documents(self._operations, running, target, documents)


def _try_again(txn: Txn, target: Target, object_pk: int) -> None:
    table = schema.extraction
    failed = update(table).where(
        table.c.collection_pk == target.pk,
        table.c.object_pk == object_pk,
        table.c.status == Status.FAILED,
    )
    txn.execute(failed.values(status=Status.PENDING, error=None))


def _vector_item(id: str, vector: Floats, metadata: Mapping[str, Any]) -> _Read:
    blob = Blob("vector", MEDIA_TYPE, "", _sha256(vector.tobytes()), vector.nbytes)
    return _Read(Item(key=id, name=id, id=id, metadata=metadata), blob, None)


def _same_content(stored: Any, read: _Read) -> bool:
    return bool(stored.blobs and read.blob and stored.blobs[0]["sha256"] == read.blob.sha256)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _foreign(read: _Read, target: Target) -> bool:
    """Return whether this is a file of a walked folder that the extractor does not read."""
    if not read.item.walked or read.blob is None:
        return False
    return not accepts(target.extractor, read.blob.media_type)


def accepts(extractor: Extractor, media_type: str) -> bool:
    """Return whether an extractor reads blobs of a media type."""
    family = "vector" if media_type == MEDIA_TYPE else media_type.partition("/")[0]
    return family in extractor.accepts or media_type in extractor.accepts


def _known_objects(snapshot: Snapshot, bucket_pk: int, items: Sequence[Item]) -> dict[str, Any]:
    """Return the objects that are here already, under `id …` and `key …`."""
    table = schema.object_
    known: dict[str, Any] = {}
    columns = (("id", [i.id for i in items if i.id]), ("key", [item.key for item in items]))
    for name, values in columns:
        for start in range(0, len(values), _IN_LIST):
            chosen = table.c[name].in_(values[start : start + _IN_LIST])
            rows = snapshot.rows(select(table).where(table.c.bucket_pk == bucket_pk, chosen))
            known |= {f"{name} {getattr(row, name)}": row for row in rows}
    return known


def _insert_objects(
    txn: Txn, target: Target, read: Sequence[_Read], *, at: float, waiting: bool = True
) -> dict[str, int]:
    """Insert objects; unless told otherwise they wait for extraction. Return pks by id."""
    ids = [one.item.id or f"obj_{ULID()}" for one in read]
    pks = txn.insert_returning(
        schema.object_,
        [
            {
                "bucket_pk": target.bucket_pk,
                "id": id,
                "key": one.item.key,
                "name": one.item.name,
                "metadata": json_values(one.item.metadata),
                "blobs": one.blobs,
                "created_at": at,
            }
            for id, one in zip(ids, read, strict=True)
        ],
    )
    if waiting:
        txn.insert(
            schema.extraction,
            [
                {
                    "collection_pk": target.pk,
                    "object_pk": pk,
                    "status": Status.PENDING if one.error is None else Status.FAILED,
                    "error": one.error,
                }
                for pk, one in zip(pks, read, strict=True)
            ],
        )
    return dict(zip(ids, pks, strict=True))


def json_values(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata as JSON values: numbers of NumPy become Python's, dates ISO text.

    Raises BadInput for a value that JSON cannot hold, naming the field.
    """
    return {str(name): _json_value(str(name), value) for name, value in metadata.items()}


def _json_value(name: str, value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _json_value(name, inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(name, inner) for inner in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return _json_value(name, value.tolist())
    raise BadInput(f"the metadata field {name!r} holds a {type(value).__name__}; use JSON values")


def quiet(_done: int, _total: int) -> None:
    """Show no progress."""


def vector_ids(vectors: np.ndarray[Any, Any], ids: Sequence[Any] | None) -> list[str]:
    """Return the ids of vectors: the user's, or made from the numbers, the same each time."""
    if ids is None:
        rows = np.ascontiguousarray(vectors, np.float32)
        seen: Counter[str] = Counter()
        names = []
        for row in rows:
            digest = hashlib.sha256(row.tobytes()).hexdigest()[:24]
            seen[digest] += 1
            names.append(f"vec_{digest}" + (f"_{seen[digest]}" if seen[digest] > 1 else ""))
        return names
    if len(ids) != len(vectors):
        raise BadInput(f"there are {len(ids)} ids for {len(vectors)} vectors; give one each")
    names = [str(id) for id in ids]
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise BadInput(f"the id {twice!r} comes twice; every vector needs its own")
    return names
