"""What waits for extraction, what came out of it, and what need not be extracted again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from sqlalchemy import exists, select

from lookalike.catalog.objects import (
    REGIONS,
    Forgotten,
    input_of,
    is_forgotten,
    labels_as_they_stand,
)
from lookalike.catalog.resources import alike
from lookalike.content.blobs import Blobs
from lookalike.content.pictures import kinds_named
from lookalike.errors import BadContent
from lookalike.extractors.base import Content, Extractor, Part, accepts
from lookalike.extractors.combined import CombinedExtractor
from lookalike.ingest.documents import Target
from lookalike.model import Blob
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, StoredSpace, one_of

_TASK_OBJECTS = 8
_TASK_BYTES = 32 * 1024 * 1024  # held in memory by each of the tasks that run or wait


@dataclass(frozen=True, slots=True)
class PendingObject:
    """An object that this process has claimed."""

    pk: int
    id: str
    name: str
    metadata: Mapping[str, Any]
    blob: Blob | None
    said_by: Collection[str]
    nothing: bool
    """Whether the object has nothing for this collection, which is no failure."""

    beside: Mapping[str, Blob | None] = field(default_factory=dict)
    """What else is extracted with the blob, by the members of a combined extractor."""

    @property
    def regions(self) -> list[Mapping[str, Any]] | None:
        """Return the regions that the object has been given, if it has been given any.

        What is no mapping is one without a box, and is refused as such.
        """
        given = self.metadata.get(REGIONS)
        if not isinstance(given, list):
            return None
        return [one if isinstance(one, Mapping) else {"box": one} for one in given]

    @property
    def content(self) -> str:
        """Return what tells one content from another: what has the same is extracted once."""
        assert self.blob is not None, "it has no content"
        if self.alone:
            return self.blob.sha256
        beside = {name: one and one.sha256 for name, one in self.beside.items()}
        given = json.dumps([self.regions, beside], sort_keys=True).encode()
        return f"{self.blob.sha256} {hashlib.sha256(given).hexdigest()}"

    @property
    def alone(self) -> bool:
        """Return whether the blob is all that is extracted from."""
        return self.regions is None and not self.beside

    def has_forgotten(self, part: Part, gone: Forgotten) -> bool:
        """Return whether a part of this object's content is among what was forgotten."""
        sha256 = "" if self.blob is None else self.blob.sha256
        return is_forgotten(gone, self.pk, sha256, part.key, part.attributes)


@dataclass(frozen=True, slots=True)
class Done:
    """What came out of one content: parts, or the reason why there are none.

    `refused` says by its key why a part is missing, while others are there.
    """

    parts: tuple[Part, ...]
    error: str | None
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def complaint(self) -> str | None:
        """Return why something is missing, if anything is."""
        if self.error is not None or not self.refused:
            return self.error
        key, reason = next(iter(self.refused.items()))
        total = len(self.refused) + len(self.parts)
        return f"{len(self.refused)} of {total} parts failed, the first {key!r}: {reason}"


MISSING = Done((), "it has no content")
NOTHING = Done((), None)


def tasks_of(waiting: Sequence[PendingObject]) -> Iterator[list[PendingObject]]:
    """Yield what is extracted in one go: a few objects, or one where they are large."""
    task: list[PendingObject] = []
    size = 0
    for one in waiting:
        assert one.blob is not None
        if task and (len(task) == _TASK_OBJECTS or size + one.blob.size_bytes > _TASK_BYTES):
            yield task
            task, size = [], 0
        task.append(one)
        size += one.blob.size_bytes
    if task:
        yield task


def not_read(name: str, media_type: str, accepted: Collection[str]) -> str:
    """Return why a content cannot be extracted here, and what can be done."""
    wanted = " or ".join(kinds_named(accepted))
    cure = "add it to a collection with another extractor"
    if media_type.startswith("video/") and "image" in accepted:
        cure = "make a collection whose extractor has the option frames, which reads videos as well"
    return f"{name!r} is {media_type}, and this collection extracts {wanted}; {cure}"


def as_said_now(
    snapshot: Snapshot, batch: list[tuple[PendingObject, Done]]
) -> list[tuple[PendingObject, Done]]:
    """Return objects with the metadata that they have now: a label may have come meanwhile."""
    table = schema.object_
    query = select(table.c.pk, table.c.metadata, table.c.said_by)
    rows = snapshot.rows(query.where(one_of(table.c.pk, [one.pk for one, _ in batch])))
    said_by = {row.pk: row.said_by or () for row in rows}
    metadata = labels_as_they_stand(snapshot, {row.pk: row.metadata for row in rows})
    return [
        (replace(one, metadata=metadata[one.pk], said_by=said_by[one.pk]), done)
        for one, done in batch
    ]


def waiting_from(row: Any, target: Target) -> PendingObject:
    """Return the object of a row with the content that a collection extracts of it."""
    found = input_of(target.row, [Blob(**blob) for blob in row.blobs], row.metadata)
    blob, beside = chosen_inputs(target, found or ())
    said_by = row.said_by or ()
    return PendingObject(
        row.pk, row.id, row.name, row.metadata, blob, said_by, found is None, beside
    )


def chosen_inputs(
    target: Target, found: Sequence[Blob]
) -> tuple[Blob | None, dict[str, Blob | None]]:
    """Return the blob that a collection extracts of those found, and what goes beside it.

    That is what other members of a combined extractor read, by their names; None where there is
    nothing for one. A picture comes first: it is what people are shown.
    """
    extractor = target.extractor
    if not isinstance(extractor, CombinedExtractor):
        fitting = (blob for blob in found if accepts(extractor, blob.media_type))
        return next(fitting, found[0] if found else None), {}
    inputs, chosen = target.row.inputs, dict[str, Blob | None]()
    for name, member in extractor.members.items():
        mapped = (blob for blob in found if blob.property == inputs.get(name))
        free = (blob for blob in found if blob.property not in inputs.values())
        fitting = (blob for blob in free if accepts(member, blob.media_type))
        chosen[name] = next(mapped if name in inputs else fitting, None)
    given = [blob for blob in chosen.values() if blob is not None]
    if not given:
        return (found[0] if found else None), {}
    pictures = (blob for blob in given if blob.media_type.startswith("image/"))
    first = next(pictures, given[0])
    return first, {name: blob for name, blob in chosen.items() if blob != first}


def read_waiting(
    one: PendingObject, extractor: Extractor, read: Callable[[Blob], bytes], max_pixels: int
) -> Content:
    """Return what an object has for an extractor, read. Raises BadContent."""
    assert one.blob is not None
    if not accepts(extractor, one.blob.media_type):
        raise BadContent(not_read(one.name, one.blob.media_type, extractor.accepts))
    inputs = (one.blob, one.beside)
    return read_content(one.name, inputs, read, max_pixels=max_pixels, regions=one.regions)


def read_content(
    name: str,
    inputs: tuple[Blob, Mapping[str, Blob | None]],
    read: Callable[[Blob], bytes],
    *,
    max_pixels: int,
    regions: Sequence[Mapping[str, Any]] | None = None,
) -> Content:
    """Return what `chosen_inputs` chose of an object called `name`, read. Raises BadContent."""
    blob, beside = inputs
    others = {
        member: None
        if one is None
        else Content(
            read(one), one.media_type, name=f"{name}: {one.property}", max_pixels=max_pixels
        )
        for member, one in beside.items()
    }
    return Content(
        read(blob),
        blob.media_type,
        name=name,
        max_pixels=max_pixels,
        regions=regions,
        beside=others,
    )


def extracted_before(
    snapshot: Snapshot, target: Target, digests: Sequence[str]
) -> dict[str, tuple[Part, ...]]:
    """Return the parts of contents that a collection has extracted in just this way.

    Those of an object that was given regions are not what the extractor finds by itself, and those
    of which some were forgotten are not all.
    """
    document, embedding, stored = schema.document, schema.embedding, schema.space
    object_ = schema.object_
    query = (
        select(document.c.sha256, document.c.pk, document.c.object_pk, document.c.part)
        .add_columns(document.c.attributes, stored)
        .join(embedding, embedding.c.document_pk == document.c.pk)
        .join(stored, stored.c.pk == embedding.c.space_pk)
        .join(object_, object_.c.pk == document.c.object_pk)
        .where(document.c.sha256.in_([bytes.fromhex(digest) for digest in digests]))
        .where(document.c.collection_pk.in_(alike(snapshot, target.row)))
        .where(stored.c.name == target.space.name, stored.c.beside.is_not(True))
        .where(object_.c.metadata[REGIONS].as_string().is_(None))
        .where(~exists().where(schema.forgotten.c.object_pk == document.c.object_pk))
        .order_by(document.c.pk)
    )
    owners: dict[str, tuple[int, int]] = {}
    parts: dict[str, list[Part]] = {}
    for row in snapshot.rows(query):
        digest = row.sha256.hex()
        owner = (row.collection_pk, row.object_pk)
        if owners.setdefault(digest, owner) != owner:
            continue
        its_space = StoredSpace(row.pk_1, row.name, row.dimension, row.generation)
        vector = snapshot.vectors(its_space, np.array([row.pk]))[0].astype(np.float32)
        parts.setdefault(digest, []).append(Part(vector, row.part, row.attributes))
    return {digest: tuple(found) for digest, found in parts.items()}


# --- executors: threads of this process, or a cluster --------------------------------------------

_PATIENCE_S = 2.0

Task = Sequence[PendingObject]
Results = list[tuple[str, Done]]
"""Contents with what came out of them."""


class Executor(Protocol):
    """Extracts tasks, in any order; what it was given it gives back, once each."""

    @property
    def has_room(self) -> bool:
        """Return whether more tasks should be given before results are waited for."""

    def take(self, tasks: Iterable[Task]) -> None:
        """Take tasks over; a content whose object failed may come again with another."""

    def results(self) -> Results:
        """Wait a little for results, and return those that came: it may be none."""

    def drop(self) -> None:
        """Begin with nothing more."""

    def close(self) -> None:
        """Drop what is not begun, and wait until what is has ended. Twice is harmless."""


@dataclass(frozen=True, slots=True)
class View:
    """A small picture, JPEG, of a content: what `view` names, of the part at `place`.

    That of no part in particular has the place −1.
    """

    place: int
    view: str
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class ExecutorContext:
    """What hands elsewhere need of those who claim and write.

    `here` extracts a task in this process. `keep` keeps what people will be shown of a content.
    """

    target: Target
    blobs: Blobs
    max_pixels: int
    here: Callable[[Task], Results]
    keep: Callable[[PendingObject, Done, Sequence[View]], None]


class Engine(Protocol):
    """Where the heavy work is done, if not here."""

    def hands(self, bench: ExecutorContext) -> Executor:
        """Return who extracts for a collection."""


class Threads:
    """Extracts tasks in some threads of this process."""

    def __init__(self, extract: Callable[[Task], Results], threads: int) -> None:
        self._extract = extract
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads)
        self._running: set[Future[Results]] = set()

    @property
    def has_room(self) -> bool:
        """Return whether a thread would soon have nothing to do."""
        return len(self._running) < 2 * self._threads

    def take(self, tasks: Iterable[Task]) -> None:
        """Let threads begin with tasks, in their order."""
        self._running |= {self._pool.submit(self._extract, task) for task in tasks}

    def results(self) -> Results:
        """Wait a little for results, and return those that came."""
        ready, self._running = wait(self._running, timeout=_PATIENCE_S, return_when=FIRST_COMPLETED)
        return [result for future in ready for result in future.result()]

    def drop(self) -> None:
        """Drop what no thread has begun with."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Drop what no thread has begun with, and wait for those that are at something."""
        self._pool.shutdown(wait=True, cancel_futures=True)
