"""Quotes: what a document says that is most like what its reference says.

Nothing of a text is kept: both contents are read again when somebody asks, and where one is gone,
or cannot be read any more, there is no quote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select

from lookalike.catalog.objects import input_of
from lookalike.catalog.resources import CollectionRow, collection_row
from lookalike.content.blobs import Blobs
from lookalike.errors import BadContent, Conflict, MissingExtra
from lookalike.extractors.base import Content, Extractor, accepts
from lookalike.extractors.combined import CombinedExtractor
from lookalike.extractors.text_passages import Passage, ShowsPassages
from lookalike.ingest.documents import Target
from lookalike.ingest.executors import chosen_inputs
from lookalike.model import Blob
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Store


@dataclass(frozen=True, slots=True)
class Quote:
    """A passage of a document; `page` counts from 1, None where there are no pages."""

    document_id: str
    text: str
    page: int | None


@dataclass(frozen=True, slots=True)
class Quotes:
    """Of all pairs of passages of a document and a reference the pair with the greatest cosine.

    `similarity` is that cosine, of these two passages alone; the documents are compared by the
    mean of all their passages.
    """

    here: Quote
    there: Quote
    similarity: float


@dataclass(frozen=True, slots=True)
class _Source:
    """What a document was made of."""

    id: str
    part: str
    name: str
    blob: Blob
    extractor: ShowsPassages


class Quoting:
    """Reads documents again. `target_of` returns a collection with its extractor."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        target_of: Callable[[Snapshot, CollectionRow], Target],
        *,
        max_pixels: int,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._target_of = target_of
        self._max_pixels = max_pixels

    def quotes(self, pk: int, reference_pk: int) -> Quotes | None:
        """Return what a document and a reference say alike; None where one is no text, or gone."""
        try:
            with self._store.read() as snapshot:
                sources = [self._source(snapshot, one) for one in (pk, reference_pk)]
            read = [self._passages(source) for source in sources if source is not None]
        except (BadContent, Conflict, MissingExtra):
            return None
        if len(read) < len(sources) or not all(read):
            return None
        cosines = (
            np.stack([one.vector for one in read[0]]) @ np.stack([one.vector for one in read[1]]).T
        )
        place, other = np.unravel_index(int(cosines.argmax()), cosines.shape)
        here, there = read[0][place], read[1][other]
        ids = [source.id for source in sources if source is not None]
        return Quotes(
            Quote(ids[0], here.text, here.page),
            Quote(ids[1], there.text, there.page),
            float(np.clip(cosines[place, other], -1, 1)),
        )

    def _source(self, snapshot: Snapshot, pk: int) -> _Source | None:
        document, object_ = schema.document, schema.object_
        query = (
            select(document.c.collection_pk, document.c.id, document.c.part, document.c.sha256)
            .add_columns(object_.c.name, object_.c.blobs, object_.c.metadata)
            .join(object_, object_.c.pk == document.c.object_pk)
            .where(document.c.pk == pk)
        )
        row = next(iter(snapshot.rows(query)), None)
        if row is None:
            return None
        collection = collection_row(snapshot, row.collection_pk)
        target = self._target_of(snapshot, collection)
        blobs = input_of(collection, [Blob(**blob) for blob in row.blobs], row.metadata)
        for blob, extractor in _read_by(target, blobs or (), row.sha256.hex()):
            if isinstance(extractor, ShowsPassages):
                return _Source(row.id, row.part, row.name, blob, extractor)
        return None

    def _passages(self, source: _Source) -> list[Passage]:
        content = Content(
            self._blobs.read(source.blob),
            source.blob.media_type,
            name=source.name,
            max_pixels=self._max_pixels,
        )
        return source.extractor.passages(content, source.part)


def _read_by(
    target: Target, blobs: Sequence[Blob], sha256: str
) -> Iterator[tuple[Blob, Extractor]]:
    """Yield what a document with this digest was made of, and what reads it.

    That of a combined extractor is the member and its input.
    """
    extractor = target.extractor
    if not isinstance(extractor, CombinedExtractor):
        yield from ((blob, extractor) for blob in blobs if blob.sha256 == sha256)
        return
    first, beside = chosen_inputs(target, blobs)
    if first is None or first.sha256 != sha256:
        return
    for name, member in extractor.members.items():
        blob = beside.get(name, first)
        if blob is not None and accepts(member, blob.media_type):
            yield blob, member
