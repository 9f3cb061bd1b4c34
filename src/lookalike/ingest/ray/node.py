"""Code for the nodes of a cluster: reads and extracts objects, without a store.

Rows are passed as text and bytes, so they do not depend on how the cluster serializes objects.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lookalike import __version__
from lookalike.catalog.objects import REGIONS
from lookalike.content.blobs import Blobs
from lookalike.content.pictures import thumbnail
from lookalike.errors import BadContent, LookalikeError, StoreError
from lookalike.extractors.base import Content, Extractor, Part, uses_gpu
from lookalike.extractors.previews import is_picture, part_view
from lookalike.extractors.registry import build_extractor
from lookalike.ingest.executors import Done, PendingObject, Task, View, read_pending
from lookalike.model import Blob

_REMOTE_SCHEMES = ("s3:", "s3a:", "gs:", "gcs:", "http:", "https:", "data:")
_TEXT_COLUMNS = ("content", "parts", "refused", "views", "error", "trouble")
_BINARY_COLUMNS = ("vectors", "pictures")


@dataclass(frozen=True, slots=True)
class Order:
    """How to extract: the extractor by its name and options, and where blobs are read."""

    extractor: str
    options: Mapping[str, Any]
    space: str
    blobs: Blobs
    max_pixels: int


def about(extractor: tuple[str, Mapping[str, Any]] | None) -> dict[str, Any]:
    """Return the version on a node, and whether an extractor uses a GPU there."""
    gpu = extractor is not None and uses_gpu(build_extractor(*extractor))
    return {"version": __version__, "gpu": gpu}


def task_to(task: Task) -> str:
    """Return a task as JSON for a node; `task_from` reads it."""
    return json.dumps([_pending_to(one) for one in task])


def task_from(text: str) -> list[PendingObject]:
    """Return the task from `task_to`, with only what a node needs."""
    return [_pending_from(one) for one in json.loads(text)]


def carry(batch: Any, blobs: Blobs) -> Any:
    """Read files that other nodes may be unable to read, on their machine: one row per task.

    The bytes are concatenated; `index` gives the position by digest, or the error.
    """
    import pyarrow

    task = batch["task"][0].as_py()
    carried, index = bytearray(), dict[str, Any]()
    for one in task_from(task):
        for blob in _blobs_of(one):
            if blob.uri.startswith(_REMOTE_SCHEMES) or blob.sha256 in index:
                continue
            try:
                data = blobs.read(blob)
            except BadContent as error:
                index[blob.sha256] = str(error)
                continue
            index[blob.sha256] = [len(carried), len(data)]
            carried += data
    columns = {
        "task": pyarrow.array([task]),
        "index": pyarrow.array([json.dumps(index)]),
        "carried": pyarrow.array([bytes(carried)], pyarrow.large_binary()),
    }
    return pyarrow.table(columns)


class ExtractActor:
    """An actor that extracts: it loads the model once, at the first task.

    `trouble` reports an error that affects more than one object; with `unread` it may be temporary.
    Without `trouble`, `unread` means that another node may be able to read the file.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._extractor: Extractor | None = None

    def __call__(self, batch: Any) -> Iterator[Any]:
        """Yield the result rows for rows of tasks, one table per task."""
        for row in batch.to_pylist():
            task, index = task_from(row["task"]), json.loads(row.get("index") or "{}")
            reading = _Reading(self._order.blobs, index, row.get("carried") or b"")
            try:
                yield _table(list(self._rows(task, self._loaded_extractor(), reading)))
            except MemoryError:
                raise  # Ray retries, then each object is tried alone
            except LookalikeError as error:
                temporary = isinstance(error, StoreError)
                yield _table([_row(one, trouble=str(error), unread=temporary) for one in task])
            except Exception as error:  # Ray would hide the reason
                trouble = f"{type(error).__name__}: {error}"
                yield _table([_row(one, trouble=trouble) for one in task])

    def _loaded_extractor(self) -> Extractor:
        if self._extractor is None:
            order = self._order
            extractor = build_extractor(order.extractor, order.options)
            if extractor.space.name != order.space:
                raise LookalikeError(
                    f"a node of the cluster extracts in {extractor.space.name}, and the collection "
                    f"is in {order.space}; give all nodes the same model and versions"
                )
            self._extractor = extractor
        return self._extractor

    def _rows(
        self, task: Task, extractor: Extractor, reading: _Reading
    ) -> Iterator[dict[str, Any]]:
        readable: list[tuple[PendingObject, Content]] = []
        for one in task:
            try:
                content = read_pending(one, extractor, reading.read, self._order.max_pixels)
            except _NotOnThisNode as error:
                yield _row(one, error=str(error), unread=True)
            except BadContent as error:
                yield _row(one, error=str(error))
            else:
                readable.append((one, content))
        outcomes = extractor.extract([content for _, content in readable])
        for (one, content), outcome in zip(readable, outcomes, strict=True):
            if isinstance(outcome, BadContent):
                yield _row(one, error=str(outcome))
            else:
                yield _row(one, parts=outcome, content=content)


def result_of(row: Mapping[str, Any]) -> tuple[Done, list[View]]:
    """Return the result and the views in a row of `ExtractActor`."""
    described = json.loads(row["parts"])
    vectors = np.split(np.frombuffer(row["vectors"], "<f4"), max(len(described), 1))
    parts = tuple(
        Part(vector, key, attributes)
        for vector, (key, attributes) in zip(vectors, described, strict=False)
    )
    views, start = [], 0
    for place, view, size in json.loads(row["views"]):
        views.append(View(place, view, row["pictures"][start : start + size]))
        start += size
    return Done(parts, row["error"], json.loads(row["refused"])), views


class _NotOnThisNode(BadContent):
    """The file is not on this node; it may be on another."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """Reads blobs: from the carried bytes, or from where they are stored."""

    blobs: Blobs
    index: Mapping[str, Any]
    carried: bytes

    def read(self, blob: Blob) -> bytes:
        match self.index.get(blob.sha256):
            case [start, size]:
                return self.carried[start : start + size]
            case str(reason):
                raise BadContent(reason)
        try:
            return self.blobs.read(blob)
        except BadContent as error:
            if blob.uri.startswith(_REMOTE_SCHEMES):
                raise
            raise _NotOnThisNode(str(error)) from error


def _row(
    one: PendingObject,
    *,
    parts: Sequence[Part] = (),
    content: Content | None = None,
    error: str | None = None,
    trouble: str | None = None,
    unread: bool = False,
) -> dict[str, Any]:
    views = [] if content is None else list(_views(content, parts))
    refused = {} if content is None else content.refused
    return {
        "content": one.content,
        "parts": json.dumps([[part.key, part.attributes] for part in parts]),
        "vectors": b"".join(part.vector.astype("<f4").tobytes() for part in parts),
        "refused": json.dumps(refused),
        "views": json.dumps([[view.place, view.view, len(view.jpeg)] for view in views]),
        "pictures": b"".join(view.jpeg for view in views),
        "error": error,
        "trouble": trouble,
        "unread": unread,
    }


def _views(content: Content, parts: Sequence[Part]) -> Iterator[View]:
    """Yield small pictures for people: of each part, then of the whole."""
    for place, part in enumerate(parts):
        if (named := part_view(content, part)) is not None:
            view, picture = named
            yield View(place, view, thumbnail(picture))
    if is_picture(content):
        yield View(-1, "", thumbnail(content.picture()))


def _table(rows: Sequence[Mapping[str, Any]]) -> Any:
    import pyarrow

    kinds = {
        **dict.fromkeys(_TEXT_COLUMNS, pyarrow.string()),
        **dict.fromkeys(_BINARY_COLUMNS, pyarrow.large_binary()),
        "unread": pyarrow.bool_(),
    }
    columns = {
        name: pyarrow.array([row[name] for row in rows], kind) for name, kind in kinds.items()
    }
    return pyarrow.table(columns)


def _blobs_of(one: PendingObject) -> list[Blob]:
    return [blob for blob in (one.blob, *one.beside.values()) if blob is not None]


def _pending_to(one: PendingObject) -> dict[str, Any]:
    assert one.blob is not None
    values: dict[str, Any] = {"pk": one.pk, "name": one.name, "blob": asdict(one.blob)}
    if one.regions is not None:
        values["regions"] = one.regions
    if one.beside:
        values["beside"] = {name: blob and asdict(blob) for name, blob in one.beside.items()}
    return values


def _pending_from(values: Mapping[str, Any]) -> PendingObject:
    beside = {name: blob and Blob(**blob) for name, blob in values.get("beside", {}).items()}
    metadata = {REGIONS: values["regions"]} if "regions" in values else {}
    blob = Blob(**values["blob"])
    return PendingObject(values["pk"], "", values["name"], metadata, blob, (), False, beside)
