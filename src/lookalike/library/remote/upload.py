"""Sending what a person has to a server: files by their bytes, the rest as it is, in batches."""

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
"""How long a server may let one wait for an answer."""


class Sender:
    """Sends to one collection of a server."""

    def __init__(self, connection: Connection, collection: str) -> None:
        self._connection = connection
        self._collection = collection

    def add(self, stream: Iterable[Item], tally: Tally, *, copy: bool, progress: Progress) -> None:
        """Send items, and wait until all that was not known is extracted.

        Raises BadInput where nothing is there, or nothing that the collection extracts.
        """
        from lookalike.library.collection.items import check_any_accepted

        waiting: list[str] = []
        accepts: list[str] = []
        sent = False
        for batch in self._batches(stream, tally):
            body = {"items": batch, "copy": copy}
            told = self._connection.ask(self._place("add"), Registered, body)
            sent = True
            accepts = told.accepts
            waiting += told.object_ids
            _count(tally, told)
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
            some = named[start : start + step]
            body = {
                "vectors": encoded(array[start : start + step]),
                "ids": [id for id, _ in some],
                "metadata": [one for _, one in some],
            }
            told = self._connection.ask(self._place("add_vectors"), Added, body)
            tally.documents += told.documents
            tally.labelled.update(told.labelled)
            _count(tally, told)
            progress(start + len(some), len(array))

    def wait(self, progress: Progress) -> None:
        """Wait until nothing waits in the collection."""
        total = 0
        while left := self._connection.ask(self._place("waiting") + f"?wait={WAIT_S}", int, {}):
            total = max(total, left)
            progress(total - left, total)

    def _follow(self, ids: Sequence[str], tally: Tally, progress: Progress) -> None:
        """Wait until objects are extracted, and count what became of them."""
        done, path = 0, self._place("arrived") + f"?wait={WAIT_S}"
        for start in range(0, len(ids), _FOLLOWED):
            some = ids[start : start + _FOLLOWED]
            told = self._connection.ask(path, Arrived, {"object_ids": list(some)})
            while told.waiting:
                progress(done + len(some) - told.waiting, len(ids))
                told = self._connection.ask(path, Arrived, {"object_ids": list(some)})
            done += len(some)
            progress(done, len(ids))
            tally.documents += told.documents
            tally.labelled.update(told.labelled)
            for one in told.failed:
                tally.fail(one.name, one.reason)

    def _batches(self, stream: Iterable[Item], tally: Tally) -> Iterator[list[dict[str, Any]]]:
        """Yield items as they are sent; what is not there, or is refused, fails alone."""
        batch: list[dict[str, Any]] = []
        size = 0
        for item in stream:
            try:
                one = self._sent(item)
            except BadContent as error:
                tally.fail(item.name, str(error))
                continue
            batch.append(one)
            size += len(one.get("base64", ""))
            if len(batch) >= _BATCH_ITEMS or size >= _BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _sent(self, item: Item) -> dict[str, Any]:
        """Return an item as it is sent; a large file is sent before, to an address of its own."""
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
    """Return the bytes of an item that are here; None where a server shall read them elsewhere.

    Raises BadContent where there are none.
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
    """Return what is sent of an item: its `data`, or the address that the server reads."""
    held = {"uri": item.uri} if data is None else {"base64": base64.b64encode(data).decode()}
    return {
        **held,
        "key": item.key,
        "name": item.name,
        "media_type": item.media_type,
        "metadata": json_values(item.metadata),
        "id": item.id,
        "walked": item.walked,
    }


def encoded(array: NDArray[Any]) -> Mapping[str, Any]:
    """Return vectors (n, d) as they are sent: numbers keep their kind, little-endian."""
    plain = array.astype("<f8") if array.dtype.itemsize > 8 else array
    kind = plain.dtype.newbyteorder("<")
    return {
        "dtype": "<" + kind.str[1:],
        "dimension": array.shape[1],
        "base64": base64.b64encode(plain.astype(kind).tobytes()).decode(),
    }


def _count(tally: Tally, told: Registered | Added) -> None:
    tally.added += told.added
    tally.changed += told.changed
    tally.unchanged += told.unchanged
    tally.skipped += told.skipped
    for name, reason in told.failed.items():
        tally.fail(name, reason)
