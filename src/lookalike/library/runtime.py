"""`Runtime`: an open store with its blobs, caches, extractors and operations, used by all verbs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Select, select

from lookalike.catalog.embedding_map import Layouts
from lookalike.catalog.fields import space_of
from lookalike.catalog.objects import waiting_dimension
from lookalike.catalog.reader import fields_of
from lookalike.catalog.references import ReferenceBook
from lookalike.catalog.resources import CollectionRow, check_there, collection_row
from lookalike.content import open_sources
from lookalike.content.blobs import Blobs, Thumbnails
from lookalike.content.boxes import can_show, view_of
from lookalike.content.child_process import Limits, set_limits
from lookalike.decisions.label_vectors import NameReader
from lookalike.decisions.operations import Operations
from lookalike.errors import BadContent, BadInput, Conflict, NotFound
from lookalike.extractors.base import Content, Extractor
from lookalike.extractors.previews import render
from lookalike.extractors.registry import build_extractor
from lookalike.ingest.documents import Target
from lookalike.ingest.extraction import Extraction
from lookalike.model import Blob
from lookalike.settings import Settings
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn, is_current_space, space_columns
from lookalike.stores.locks import OncePerKey
from lookalike.stores.open import OpenedStore


class Runtime:
    """An open store with its blobs, thumbnails, extractors and operations; thread-safe."""

    def __init__(
        self, opened: OpenedStore, settings: Settings, actor: str, clock: Callable[[], float]
    ) -> None:
        self.store = opened.store
        self.root = opened.root
        self.place = opened.shown
        self.settings = settings
        self.actor = actor
        self.clock = clock
        self._storage = opened.blobs
        self.blobs = Blobs(opened.blobs, max_bytes=settings.max_blob_bytes)
        self.thumbnails = Thumbnails(opened.root / "cache" / "thumbnails")
        self.operations = Operations(opened.store, opened.root / "cache", clock)
        self.layouts = Layouts(opened.store, opened.root / "cache")
        self.book = ReferenceBook()
        self.label_names = NameReader()
        self._extractors: OncePerKey[tuple[str, str], Extractor] = OncePerKey()
        self._check: Callable[[str], None] | None = None
        set_limits(Limits(settings.read_seconds, settings.read_memory_mib))
        open_sources.register(self)

    def for_actor(self, actor: str) -> Runtime:
        """Return the same runtime with another actor, who is recorded with operations."""
        other = copy.copy(self)
        other.actor = actor
        return other

    def guarded(
        self, fetch: Callable[[str], tuple[bytes, str | None]], check: Callable[[str], None]
    ) -> Runtime:
        """Return the same runtime for a server: it reads URLs in requests only through `fetch`.

        `check` raises FetchRefused for a path that requests must not name.
        """
        other = copy.copy(self)
        size = self.settings.max_blob_bytes
        other.blobs = Blobs(self._storage, max_bytes=size, guarded=fetch)
        other._check = check
        return other

    def close(self) -> None:
        """Release the store after running writes have ended. Closing twice is harmless.

        Any later call raises StoreClosed.
        """
        open_sources.unregister(self)
        self.operations.deciders.close()
        self.store.close()

    def thumbnail(self, blob: Blob, view: str = "") -> bytes:
        """Return the thumbnail of a view of a blob, JPEG; make it if there is none yet.

        Raises NotFound for content that has none, such as text; BadContent, BadInput for a view.
        """
        data = self.thumbnails.read(blob.sha256, view)
        if data is None:
            if not can_show(blob.media_type):
                raise NotFound(f"a blob of type {blob.media_type} has no thumbnail")
            pixels = self.settings.max_pixels
            content = Content(self.blobs.read(blob), blob.media_type, max_pixels=pixels)
            self.thumbnails.keep(blob.sha256, render(content, view), view)
            data = self.thumbnails.read(blob.sha256, view)
        if data is None:
            raise BadContent("the image cannot be made into a thumbnail; get the blob itself")
        return data

    def text(self, blob: Blob) -> str:
        """Return the text of a blob. Raises BadContent."""
        return self.blobs.read(blob).decode("utf-8", "replace")

    def content_of(self, document_id: str) -> tuple[Blob, str] | None:
        """Return the blob and view of the only document with an id, in all collections."""
        document, object_ = schema.document, schema.object_
        query = (
            select(document.c.sha256, document.c.attributes, object_.c.blobs)
            .join(object_, object_.c.pk == document.c.object_pk)
            .where(document.c.id == document_id)
        )
        with self.store.read() as snapshot:
            rows = snapshot.rows(query)
        if len(rows) != 1:
            return None
        digest = rows[0].sha256.hex()
        blob = next((Blob(**one) for one in rows[0].blobs if one["sha256"] == digest), None)
        return None if blob is None else (blob, view_of(rows[0].attributes))

    def extraction(self) -> Extraction:
        """Return the extraction of objects with the current settings."""
        return Extraction(
            self.store,
            self.operations,
            self.blobs,
            self.thumbnails,
            self.clock,
            threads=self.settings.threads,
            max_pixels=self.settings.max_pixels,
        )

    def extractor(self, name: str, options: Mapping[str, Any]) -> Extractor:
        """Return an extractor, built once. Raises NotFound, BadSetting or MissingExtra."""
        key = (name, repr(sorted(options.items())))
        return self._extractors.get(key, partial(build_extractor, name, options))

    def new_extractor(self, name: str, options: Mapping[str, Any]) -> Extractor:
        """Return an extractor that a user requests, as `extractor`.

        Raises FetchRefused if the options name a file, such as a model, that requests must not
        name.
        """
        for value in _paths_in(options) if self._check is not None else ():
            assert self._check is not None
            self._check(value)
        return self.extractor(name, options)

    def target(self, row: CollectionRow, dimension: int | None = None) -> Target:
        """Return a collection as the target of items; create its embedding space if it has none.

        `dimension` is that of the vectors to add, for a collection without a set dimension.
        """
        with self.store.read() as snapshot:
            known = snapshot.rows(_spaces(row))
        if not known:
            with self.store.write() as txn:
                row = _current(txn, row)
                if not txn.rows(_spaces(row)):
                    self._make_space(txn, row, dimension or waiting_dimension(txn, row))
        with self.store.read() as snapshot:
            return self.target_in(snapshot, row)

    def target_in(self, snapshot: Snapshot, row: CollectionRow) -> Target:
        """Return a collection that has its embedding space as the target of documents.

        It has the current extractor, even if `row` was read before a migration.
        """
        row, space = _current(snapshot, row), space_of(snapshot, row.pk)
        extractor = self._built(row, space.dimension)
        if extractor.space.name != space.name:
            raise Conflict(
                f"the collection {row.name!r} was extracted in {space.name}, and its extractor "
                f"{row.extractor!r} is now {extractor.space.name}; install the version that made it"
            )
        fields = {field.name: field.pk for field in fields_of(snapshot, row.pk)}
        return Target(row, fields, extractor, space)

    def _built(self, row: CollectionRow, dimension: int | None) -> Extractor:
        options = dict(row.options)
        if row.extractor == "passthrough" and "dimension" not in options:
            if dimension is None:
                raise BadInput(f"the collection {row.name!r} takes vectors: add(vectors=…)")
            options["dimension"] = dimension
        return self.extractor(row.extractor, options)

    def _make_space(self, txn: Txn, row: CollectionRow, dimension: int | None) -> None:
        space = self._built(row, dimension).space
        txn.insert_one(schema.space, collection_pk=row.pk, **space_columns(space))


_NAMES = frozenset({"extractor", "name"})
"""Options whose values are names, also where a file has that name."""


def _paths_in(value: Any) -> Iterator[str]:
    """Yield the values of options that may be paths."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _paths_in(inner) if name not in _NAMES else ()
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _paths_in(inner)
    elif isinstance(value, str) and (value.startswith(("/", "~", ".")) or Path(value).exists()):
        yield value


def _spaces(row: CollectionRow) -> Select[Any]:
    return select(schema.space.c.pk).where(is_current_space(schema.space, row.pk))


def _current(snapshot: Snapshot, row: CollectionRow) -> CollectionRow:
    """Return the current row of a collection. Raises NotFound if it was removed."""
    check_there(snapshot, row.pk)
    return collection_row(snapshot, row.pk)
