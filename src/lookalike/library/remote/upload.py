"""Send items and vectors to a server in batches: local files as bytes, URLs as they are."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lookalike.content.sources import Item, json_values
from lookalike.errors import BadContent, BadInput
from lookalike.library.remote.connection import Connection, place
from lookalike.library.remote.wire import Arrived, Registered, UploadTarget
from lookalike.model import Added, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lookalike.ingest.items import Tally

_BATCH_ITEMS = 200
_BATCH_BYTES = 3_000_000
_BATCH_ROWS = 2000
_LARGE_BYTES = 2_000_000
_FOLLOWED = 1000
WAIT_S = 2
"""The longest time in seconds that the server may hold a request before it answers."""


class Sender:
    """Sends items and vectors to one collection of a server."""

    def __init__(self, connection: Connection, collection: str) -> None:
        self._connection = connection
        self._collection = collection

    def add(self, stream: Iterable[Item], tally: Tally, *, copy: bool, progress: Progress) -> None:
        """Send items, and wait until all new objects are extracted.

        Raises BadInput if there are no items, or none that the collection extracts.
        """
        from lookalike.library.collection.items import check_any_accepted

        waiting: list[str] = []
        accepts: list[str] = []
        sent = False
        for batch in self._batches(stream, tally):
            body = {"items": batch, "copy": copy}
            answer = self._connection.ask(self._place("add"), Registered, body)
            sent = True
            accepts = answer.accepts
            waiting += answer.object_ids
            _count(tally, answer)
        if not sent:
            raise BadInput(next(iter(tally.failed.values()), "there is nothing to add"))
        check_any_accepted(tally, accepts)
        self._follow(list(dict.fromkeys(waiting)), tally, progress)

    def add_vectors(
        self, vectors: Any, ids: Any, metadata: Any, tally: Tally, progress: Progress
    ) -> None:
        """Send vectors (n, d) with ids and metadata. Raises BadInput for another shape."""
        from lookalike.library.collection.items import checked_vectors

        array, named = checked_vectors(vectors, ids, metadata)
        row_bytes = max(1, array.dtype.itemsize * array.shape[1])
        step = max(1, min(_BATCH_ROWS, _BATCH_BYTES // row_bytes))
        for start in range(0, len(array), step):
            batch = named[start : start + step]
            body = {
                "vectors": encoded(array[start : start + step]),
                "ids": [id for id, _ in batch],
                "metadata": [values for _, values in batch],
            }
            answer = self._connection.ask(self._place("add_vectors"), Added, body)
            tally.documents += answer.documents
            tally.labelled.update(answer.labelled)
            _count(tally, answer)
            progress(start + len(batch), len(array))

    def wait(self, progress: Progress) -> None:
        """Wait until no object of the collection waits for extraction."""
        total = 0
        while left := self._connection.ask(self._place("waiting") + f"?wait={WAIT_S}", int, {}):
            total = max(total, left)
            progress(total - left, total)

    def _follow(self, ids: Sequence[str], tally: Tally, progress: Progress) -> None:
        """Wait until objects are extracted, and count the results."""
        done, path = 0, self._place("arrived") + f"?wait={WAIT_S}"
        for start in range(0, len(ids), _FOLLOWED):
            batch = ids[start : start + _FOLLOWED]
            answer = self._connection.ask(path, Arrived, {"object_ids": list(batch)})
            while answer.waiting:
                progress(done + len(batch) - answer.waiting, len(ids))
                answer = self._connection.ask(path, Arrived, {"object_ids": list(batch)})
            done += len(batch)
            progress(done, len(ids))
            tally.documents += answer.documents
            tally.labelled.update(answer.labelled)
            for failure in answer.failed:
                tally.fail(failure.name, failure.reason)

    def _batches(self, stream: Iterable[Item], tally: Tally) -> Iterator[list[dict[str, Any]]]:
        """Yield batches of items for requests; a missing or refused item fails alone."""
        batch: list[dict[str, Any]] = []
        size = 0
        for item in stream:
            try:
                body = self._item_body(item)
            except BadContent as error:
                tally.fail(item.name, str(error))
                continue
            batch.append(body)
            size += len(body.get("base64", ""))
            if len(batch) >= _BATCH_ITEMS or size >= _BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _item_body(self, item: Item) -> dict[str, Any]:
        """Return the request's part for an item; a large file is uploaded first, on its own."""
        data = content(item)
        if data is None or len(data) <= _LARGE_BYTES:
            return described(item, data)
        name = item.name[-500:] or "file"
        body = {"name": name, "size_bytes": len(data)}
        upload = self._connection.ask(self._place("upload"), UploadTarget, body)
        target = urlsplit(upload.presigned_url)
        try:
            self._connection.send(f"{target.path}?{target.query}", data)
        except BadInput as error:
            raise BadContent(f"{item.name!r} was refused: {error}") from error
        return {**described(item, None), "uri": None, "upload_id": upload.upload_id}

    def _place(self, verb: str) -> str:
        return place("collections", self._collection, "verbs", verb)


def content(item: Item) -> bytes | None:
    """Return the local bytes of an item; None for a URL that the server must read.

    Raises BadContent if there are none.
    """
    from lookalike.content.blobs import inline_bytes, local_path

    if item.error is not None:
        raise BadContent(item.error)
    uri = item.uri or ""
    if item.data is not None:
        return item.data
    if uri.startswith("data:"):
        return inline_bytes(uri)
    if not uri.startswith("file:"):
        return None
    try:
        return Path(local_path(uri)).read_bytes()
    except OSError as error:
        raise BadContent(f"cannot read {uri!r}: {error.strerror}; put the file back") from error


def described(item: Item, data: bytes | None) -> dict[str, Any]:
    """Return the JSON of an item: its `data`, or the address that the server reads."""
    source = {"uri": item.uri} if data is None else {"base64": base64.b64encode(data).decode()}
    return {
        **source,
        "key": item.key,
        "name": item.name,
        "media_type": item.media_type,
        "metadata": json_values(item.metadata),
        "id": item.id,
        "walked": item.walked,
    }


def encoded(array: NDArray[Any]) -> Mapping[str, Any]:
    """Return vectors (n, d) as JSON: base64 in their own dtype (at most 8 bytes), little-endian."""
    plain = array.astype("<f8") if array.dtype.itemsize > 8 else array
    dtype = plain.dtype.newbyteorder("<")
    return {
        "dtype": "<" + dtype.str[1:],
        "dimension": array.shape[1],
        "base64": base64.b64encode(plain.astype(dtype).tobytes()).decode(),
    }


def _count(tally: Tally, answer: Registered | Added) -> None:
    tally.added += answer.added
    tally.changed += answer.changed
    tally.unchanged += answer.unchanged
    tally.skipped += answer.skipped
    for name, reason in answer.failed.items():
        tally.fail(name, reason)
