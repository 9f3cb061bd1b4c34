"""Pending objects and the executors that extract them: local threads, or a cluster."""

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
_TASK_BYTES = 32 * 1024 * 1024  # in memory for each running or waiting task


@dataclass(frozen=True, slots=True)
class PendingObject:
    """An object that this process has claimed for extraction."""

    pk: int
    id: str
    name: str
    metadata: Mapping[str, Any]
    blob: Blob | None
    said_by: Collection[str]
    has_no_input: bool
    """Whether the object has no input for this collection, which is not an error."""

    beside: Mapping[str, Blob | None] = field(default_factory=dict)
    """The other inputs of a combined extractor, by its members' names."""

    error: str | None = None
    """Why its content could not be read when it was put in; then it has no input, and fails."""

    @property
    def regions(self) -> list[Mapping[str, Any]] | None:
        """Return the regions given to the object, or None.

        An invalid value becomes a region without a valid box, which is refused.
        """
        regions = self.metadata.get(REGIONS)
        if not isinstance(regions, list):
            return None
        return [one if isinstance(one, Mapping) else {"box": one} for one in regions]

    @property
    def content(self) -> str:
        """Return the key of the content: equal contents are extracted once."""
        assert self.blob is not None, "it has no content"
        if self.is_single_input:
            return self.blob.sha256
        beside = {name: blob and blob.sha256 for name, blob in self.beside.items()}
        others = json.dumps([self.regions, beside], sort_keys=True).encode()
        return f"{self.blob.sha256} {hashlib.sha256(others).hexdigest()}"

    @property
    def is_single_input(self) -> bool:
        """Return whether the blob is the only input."""
        return self.regions is None and not self.beside

    def has_forgotten(self, part: Part, gone: Forgotten) -> bool:
        """Return whether a part of this object's content was forgotten."""
        sha256 = "" if self.blob is None else self.blob.sha256
        return is_forgotten(gone, self.pk, sha256, part.key, part.attributes)


@dataclass(frozen=True, slots=True)
class Done:
    """The result of extracting one content: parts, or an error.

    `refused` gives the error of each missing part, by key, if others were extracted.
    """

    parts: tuple[Part, ...]
    error: str | None
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def message(self) -> str | None:
        """Return the error, or a summary of the missing parts; None if all is there."""
        if self.error is not None or not self.refused:
            return self.error
        key, reason = next(iter(self.refused.items()))
        total = len(self.refused) + len(self.parts)
        return f"{len(self.refused)} of {total} parts failed, the first {key!r}: {reason}"


def without_content(one: PendingObject) -> Done:
    """Return the result for an object without content: an error, unless it needs none here."""
    return Done((), one.error or (None if one.has_no_input else "it has no content"))


def tasks_of(waiting: Sequence[PendingObject]) -> Iterator[list[PendingObject]]:
    """Yield tasks: a few objects each, or a single one if it is large."""
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


def unsupported_type(name: str, media_type: str, accepted: Collection[str]) -> str:
    """Return the error for a content type that the extractor does not accept, with a remedy."""
    wanted = " or ".join(kinds_named(accepted))
    cure = "add it to a collection with another extractor"
    if media_type.startswith("video/") and "image" in accepted:
        cure = "make a collection whose extractor has the option frames, which also reads videos"
    return f"{name!r} is {media_type}, and this collection extracts {wanted}; {cure}"


def with_current_metadata(
    snapshot: Snapshot, batch: list[tuple[PendingObject, Done]]
) -> list[tuple[PendingObject, Done]]:
    """Return objects with their current metadata: labels may have been added meanwhile."""
    table = schema.object_
    query = select(table.c.pk, table.c.metadata, table.c.said_by)
    rows = snapshot.rows(query.where(one_of(table.c.pk, [one.pk for one, _ in batch])))
    said_by = {row.pk: row.said_by or () for row in rows}
    metadata = labels_as_they_stand(snapshot, {row.pk: row.metadata for row in rows})
    return [
        (replace(one, metadata=metadata[one.pk], said_by=said_by[one.pk]), done)
        for one, done in batch
    ]


def pending_from(row: Any, target: Target, error: str | None = None) -> PendingObject:
    """Return the object of a row with the input that a collection extracts from it, and the
    `error` of an earlier try.
    """
    found = input_of(target.row, [Blob(**blob) for blob in row.blobs], row.metadata)
    blob, beside = chosen_inputs(target, found or ())
    said_by = row.said_by or ()
    return PendingObject(
        row.pk, row.id, row.name, row.metadata, blob, said_by, found is None, beside, error
    )


def chosen_inputs(
    target: Target, found: Sequence[Blob]
) -> tuple[Blob | None, dict[str, Blob | None]]:
    """Return the blob that a collection extracts from, and the additional inputs.

    The additional inputs are those of a combined extractor's other members, by name; None for a
    member without input. A picture is chosen first, because people see it.
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
    inputs_found = [blob for blob in chosen.values() if blob is not None]
    if not inputs_found:
        return (found[0] if found else None), {}
    pictures = (blob for blob in inputs_found if blob.media_type.startswith("image/"))
    first = next(pictures, inputs_found[0])
    return first, {name: blob for name, blob in chosen.items() if blob != first}


def read_pending(
    one: PendingObject, extractor: Extractor, read: Callable[[Blob], bytes], max_pixels: int
) -> Content:
    """Read the inputs of an object for an extractor. Raises BadContent."""
    assert one.blob is not None
    if not accepts(extractor, one.blob.media_type):
        raise BadContent(unsupported_type(one.name, one.blob.media_type, extractor.accepts))
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
    """Read the inputs from `chosen_inputs` for an object called `name`. Raises BadContent."""
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
    """Return the parts of contents that a collection has already extracted in the same way.

    Objects with given regions are left out, because their parts are not those of the extractor;
    objects with forgotten parts are left out, because they are incomplete.
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
        space = StoredSpace(row.pk_1, row.name, row.dimension, row.generation)
        vector = snapshot.vectors(space, np.array([row.pk]))[0].astype(np.float32)
        parts.setdefault(digest, []).append(Part(vector, row.part, row.attributes))
    return {digest: tuple(found) for digest, found in parts.items()}


# --- executors: threads of this process, or a cluster --------------------------------------------

_WAIT_S = 2.0

Task = Sequence[PendingObject]
Results = list[tuple[str, Done]]
"""Contents with their results."""


class Executor(Protocol):
    """Extracts tasks in any order; returns a result for each content once."""

    @property
    def has_room(self) -> bool:
        """Return whether to submit more tasks before waiting for results."""

    def take(self, tasks: Iterable[Task]) -> None:
        """Submit tasks; a failed content may be submitted again with another object."""

    def results(self) -> Results:
        """Wait for a short time and return the finished results, possibly none."""

    def drop(self) -> None:
        """Start no more tasks."""

    def close(self) -> None:
        """Drop waiting tasks, and wait until the running ones have ended. May be called twice."""


@dataclass(frozen=True, slots=True)
class View:
    """A small JPEG of a content: the view called `view` of the part at index `place`.

    A view of the whole content has the place −1.
    """

    place: int
    view: str
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class ExecutorContext:
    """What a remote executor needs from the local process.

    `extract_locally` extracts a task in this process. `keep_views` stores the views of a content.
    """

    target: Target
    blobs: Blobs
    max_pixels: int
    extract_locally: Callable[[Task], Results]
    keep_views: Callable[[PendingObject, Done, Sequence[View]], None]


class Engine(Protocol):
    """Runs extraction outside this process."""

    def executor(self, context: ExecutorContext) -> Executor:
        """Return an executor for a collection."""


class ThreadExecutor:
    """Extracts tasks in threads of this process."""

    def __init__(self, extract: Callable[[Task], Results], threads: int) -> None:
        self._extract = extract
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads)
        self._running: set[Future[Results]] = set()

    @property
    def has_room(self) -> bool:
        """Return whether a thread would soon be idle."""
        return len(self._running) < 2 * self._threads

    def take(self, tasks: Iterable[Task]) -> None:
        """Submit tasks to the threads, in order."""
        self._running |= {self._pool.submit(self._extract, task) for task in tasks}

    def results(self) -> Results:
        """Wait for a short time and return the finished results."""
        ready, self._running = wait(self._running, timeout=_WAIT_S, return_when=FIRST_COMPLETED)
        return [result for future in ready for result in future.result()]

    def drop(self) -> None:
        """Cancel tasks that no thread has started."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Cancel tasks that no thread has started, and wait for the running ones."""
        self._pool.shutdown(wait=True, cancel_futures=True)
