"""Adding items: register objects first, then write documents with vectors and decide them.

The state of the work is in the store: a pending object has a row in `extraction`, and the next run
continues after a crash. Reading and extracting run in a few threads; writing is one transaction per
batch.
"""

from __future__ import annotations

import gc
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, count, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select, update

from lookalike.catalog.objects import (
    REGIONS,
    Draft,
    change_contents,
    content_changed,
    finish,
    insert_objects,
    mark_pending,
    regions_changed,
)
from lookalike.catalog.resources import check_there, collections_over
from lookalike.classifier.graph.search import Floats
from lookalike.content.blobs import Blobs
from lookalike.content.pictures import sniff
from lookalike.content.sources import Item, json_values, unique_ids
from lookalike.decisions.operations import Operations, Running
from lookalike.errors import BadContent, BadInput, Conflict
from lookalike.extractors.base import VECTOR_TYPE, Part, accepts
from lookalike.extractors.vectors import problems, unit_rows
from lookalike.ingest.documents import NewDocument, Target, write_documents
from lookalike.model import Blob, Progress, Status
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Store, Txn

_REGISTER_ITEMS = 256
_VECTOR_ROWS = 4000
_IN_LIST = 5000


@dataclass(slots=True)
class Tally:
    """Counts of what happened so far."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    documents: int = 0
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    labelled: Counter[str] = field(default_factory=Counter)

    def fail(self, name: str, reason: str) -> None:
        """Record why an item failed; equal names get a number."""
        names = chain([name], (f"{name} ({number})" for number in count(2)))
        self.failed[next(name for name in names if name not in self.failed)] = reason

    def arrived(self, running: Running, documents: int) -> None:
        """Count new documents and automatic labels."""
        self.documents += documents
        self.labelled += running.effects.labelled


@dataclass(frozen=True, slots=True)
class _Read:
    """An item whose bytes have been read."""

    item: Item
    blob: Blob | None
    error: str | None

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """Return the contents of the object."""
        return () if self.blob is None else (self.blob,)

    @property
    def draft(self) -> Draft:
        """Return the object to insert."""
        item, metadata = self.item, json_values(self.item.metadata)
        return Draft(item.key, item.name, metadata, self.blobs, item.id, self.error)


@dataclass(frozen=True, slots=True)
class _Vectors:
    """A batch of vectors at unit length, float32 (n, d), and their objects."""

    drafts: Sequence[Draft]
    digests: list[str]
    unit: Floats

    def object(self, place: int, target: Target, at: float) -> dict[str, Any]:
        """Return the row of the object of one vector."""
        draft = self.drafts[place]
        return {
            "bucket_pk": target.bucket_pk,
            "id": draft.id,
            "key": draft.key,
            "name": draft.name,
            "metadata": draft.metadata,
            "blobs": self.blobs(place),
            "created_at": at,
            "size_bytes": self.size_bytes,
        }

    @property
    def size_bytes(self) -> int:
        """Return the size of one vector."""
        return int(self.unit[0].nbytes)

    def blobs(self, place: int) -> list[dict[str, Any]]:
        """Return the blob of one vector as JSON values."""
        blobs = self.drafts[place].blobs
        return [
            {
                "property": blobs[0].property if blobs else "vector",
                "media_type": VECTOR_TYPE,
                "uri": "",
                "sha256": self.digests[place],
                "size_bytes": self.size_bytes,
            }
        ]

    def document(self, place: int, object_pk: int) -> NewDocument:
        """Return the document of one vector."""
        draft, part = self.drafts[place], Part(self.unit[place])
        digest = self.digests[place]
        return NewDocument(object_pk, str(draft.id), draft.name, digest, draft.metadata, part)


class Registrar:
    """Registers items as objects: new ones are pending, known ones are unchanged."""

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
        """Write an object for each item, a few hundred per transaction.

        An item that does not exist fails and becomes no object. Raises BadInput if none exists.
        """
        stream, done, missing = iter(items), 0, 0
        with ThreadPoolExecutor(self._threads) as pool:
            while batch := list(islice(stream, _REGISTER_ITEMS)):
                existing = [item for item in batch if item.error is None]
                for item in batch:
                    if item.error is not None:
                        tally.fail(item.name, item.error)
                missing += len(batch) - len(existing)
                read = list(pool.map(lambda item: self._inspect(item, target), existing))
                usable = [one for one in read if not _is_skipped(one, target)]
                tally.skipped += [one.item.name for one in read if _is_skipped(one, target)]
                with self._store.write() as txn:
                    check_there(txn, target.pk, target.bucket_pk)
                    self._write(txn, target, usable, tally)
                done += len(batch)
                progress(done, done)
        if missing == done:
            raise BadInput(next(iter(tally.failed.values()), "there is nothing to add"))

    def _inspect(self, item: Item, target: Target) -> _Read:
        try:
            data = item.data if item.data is not None else self._blobs.fetch(str(item.uri))
            self._blobs.check_size(len(data), repr(item.name))
        except BadContent as error:
            return _Read(item, None, str(error))
        media_type = item.media_type or sniff(data[:4096], item.name)
        keep = item.uri is None or self._copy or item.uri.startswith("data:")
        blob = Blob("content", media_type, str(item.uri), _sha256(data), len(data))
        if keep and not _is_skipped(_Read(item, blob, None), target):
            blob = replace(blob, uri=self._blobs.keep(data))
        return _Read(item, blob, None)

    def _write(self, txn: Txn, target: Target, read: Sequence[_Read], tally: Tally) -> None:
        known = _known_objects(txn, target.bucket_pk, [one.item for one in read])
        new: dict[str, _Read] = {}
        for one in read:
            row = known.get(f"id {one.item.id}") or known.get(f"key {one.item.key}")
            if row is not None:
                self._revisit(txn, target, one, row, tally)
                continue
            twin = new.setdefault(one.item.key, one)
            if twin.item.id != one.item.id:
                raise _id_conflict(one.item, str(twin.item.id))
        if new:
            drafts = [one.draft for one in new.values()]
            insert_objects(txn, target.bucket_pk, drafts, at=self._clock())
        tally.added += len(new)
        for one in read:
            if one.error is not None:
                tally.fail(one.item.name, one.error)

    def _revisit(self, txn: Txn, target: Target, one: _Read, row: Any, tally: Tally) -> None:
        if one.item.id is not None and one.item.id != row.id:
            raise _id_conflict(one.item, row.id)
        table, status = schema.extraction, Status.PENDING if one.error is None else Status.FAILED
        if _regions_changed(row, one):
            regions_changed(txn, target.bucket_pk, row, one.item.metadata[REGIONS])
            tally.changed += 1
            return
        if one.blob is None or _same_content(row, one):
            tally.unchanged += 1
            work = (table.c.collection_pk == target.pk) & (table.c.object_pk == row.pk)
            failed = update(table).where(work, table.c.status == Status.FAILED)
            txn.execute(failed.values(status=status, error=one.error))
            if one.blob is not None and not _has_own_copy(row, one):
                change_contents(txn, row.pk, one.blobs)
        else:
            tally.changed += 1
            content_changed(txn, target.bucket_pk, row.pk, one.blobs)


class VectorIngest:
    """Adds the user's own vectors: objects, documents and decisions in one transaction per batch.

    There is no file and no pending row for a vector.
    """

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def add(
        self,
        target: Target,
        vectors: NDArray[np.floating],
        drafts: Sequence[Draft],
        tally: Tally,
        *,
        actor: str,
        progress: Progress,
    ) -> None:
        """Add `vectors` (n, d), one for each of `drafts` (with ids); invalid ones fail alone."""
        bad = problems(vectors, target.space.dimension)
        tally.failed |= {str(drafts[place].id): reason for place, reason in bad.items()}
        good = np.array([place for place in range(len(vectors)) if place not in bad], np.int64)
        for start in range(0, len(good), _VECTOR_ROWS):
            places = good[start : start + _VECTOR_ROWS]
            unit = unit_rows(vectors[places])
            chosen = [drafts[place] for place in places.tolist()]
            batch = _Vectors(chosen, [_sha256(row.tobytes()) for row in unit], unit)
            with self._operations.operate(target.pk, "add", actor) as running, _gc_paused():
                made = self._write(running, target, batch, tally)
            tally.arrived(running, made)
            progress(start + len(places), len(good))

    def _write(self, running: Running, target: Target, batch: _Vectors, tally: Tally) -> int:
        txn, table = running.txn, schema.object_
        ids = [str(draft.id) for draft in batch.drafts]
        known = _objects_by("id", ids, txn, target.bucket_pk)
        new = [place for place, id in enumerate(ids) if id not in known]
        changed = [
            place
            for place, (id, digest) in enumerate(zip(ids, batch.digests, strict=True))
            if id in known and not _holds(known[id], digest)
        ]
        made = txn.insert_returning(table, [batch.object(i, target, running.at) for i in new])
        pks = {place: known[ids[place]].pk for place in changed}
        txn.update(table, [{"pk": pk, "blobs": batch.blobs(place)} for place, pk in pks.items()])
        pks |= dict(zip(new, made, strict=True))
        tally.added += len(new)
        tally.changed += len(changed)
        tally.unchanged += len(ids) - len(pks)
        documents = [batch.document(place, pk) for place, pk in sorted(pks.items())]
        written = write_documents(self._operations, running, target, documents)
        for sibling in collections_over(txn, target.bucket_pk):
            if sibling.pk != target.pk:
                mark_pending(txn, sibling.pk, dict.fromkeys(pks.values()))
        finish(txn, target.pk, list(pks.values()))
        return written


@contextmanager
def _gc_paused() -> Iterator[None]:
    """Pause Python's cyclic garbage collection.

    Thousands of rows are created at once, none of them in a reference cycle; the collection took an
    eighth of the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _id_conflict(item: Item, id: str) -> Conflict:
    return Conflict(
        f"{item.name!r} has already been added as {id!r}, not as {item.id!r}; "
        "use that id, or forget it first"
    )


def _same_content(stored: Any, read: _Read) -> bool:
    return read.blob is not None and _holds(stored, read.blob.sha256)


def _regions_changed(stored: Any, read: _Read) -> bool:
    """Return whether the same content comes with other regions than before."""
    regions = read.item.metadata.get(REGIONS)
    changed = regions is not None and regions != stored.metadata.get(REGIONS)
    return changed and _same_content(stored, read)


def _holds(stored: Any, sha256: str) -> bool:
    return bool(stored.blobs and stored.blobs[0]["sha256"] == sha256)


def _has_own_copy(stored: Any, read: _Read) -> bool:
    """Return whether the same content is stored as a copy, which a link must not replace."""
    copied = stored.blobs and stored.blobs[0]["uri"].startswith(("blob:", "data:"))
    return bool(copied and _same_content(stored, read))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _is_skipped(read: _Read, target: Target) -> bool:
    """Return whether this is a file of an added folder that the extractor does not read."""
    if not read.item.walked or read.blob is None:
        return False
    return not accepts(target.extractor, read.blob.media_type)


def _known_objects(snapshot: Snapshot, bucket_pk: int, items: Sequence[Item]) -> dict[str, Any]:
    """Return the existing objects, under `id …` and `key …`."""
    by_id = _objects_by("id", [item.id for item in items if item.id], snapshot, bucket_pk)
    by_key = _objects_by("key", [item.key for item in items], snapshot, bucket_pk)
    return {f"id {id}": row for id, row in by_id.items()} | {
        f"key {key}": row for key, row in by_key.items()
    }


def _objects_by(
    column: str, values: Sequence[str], snapshot: Snapshot, bucket_pk: int
) -> dict[str, Any]:
    """Return the existing objects, by their value of a column."""
    table = schema.object_
    known: dict[str, Any] = {}
    for start in range(0, len(values), _IN_LIST):
        chosen = table.c[column].in_(values[start : start + _IN_LIST])
        rows = snapshot.rows(select(table).where(table.c.bucket_pk == bucket_pk, chosen))
        known |= {getattr(row, column): row for row in rows}
    return known


def vector_ids(vectors: np.ndarray[Any, Any], ids: Sequence[Any] | None) -> list[str]:
    """Return the ids of vectors: the user's, or hashes of the numbers, the same for each call."""
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
    return unique_ids(ids, "vector")
