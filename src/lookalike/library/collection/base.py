"""A collection of an open store: its name, its label fields, and helpers that its verbs share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Select, select

from lookalike.catalog.idempotency import Request
from lookalike.catalog.reader import FieldRow, Reader, document_query, fields_of, filtered, pks_of
from lookalike.catalog.resources import CollectionRow
from lookalike.decisions.operations import Running
from lookalike.errors import Conflict, NotFound
from lookalike.library.runtime import Runtime
from lookalike.library.verb import verb
from lookalike.model import Displayed, Document, Origin, Reason
from lookalike.quality import reports
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, one_of


class CollectionBase(Displayed):
    """Base class of each group of verbs: an open store and the row of one collection."""

    def __init__(self, runtime: Runtime, row: CollectionRow) -> None:
        self._runtime = runtime
        self._row = row

    @property
    def name(self) -> str:
        """Return the collection's name."""
        return self._row.name

    @property
    @verb("read")
    def fields(self) -> tuple[str, ...]:
        """Return the names of the label fields, the collection's first field first."""
        with self._runtime.store.read() as snapshot:
            return tuple(field.name for field in fields_of(snapshot, self._row.pk))

    @property
    @verb("read")
    def extractor(self) -> str:
        """Return the full name of the extractor that makes the documents."""
        return self._row.extractor

    def __repr__(self) -> str:
        return f"<Collection {self.name!r}>"

    @verb("read", name="size")
    def __len__(self) -> int:
        """Return the number of documents."""
        with self._runtime.store.read() as snapshot:
            return reports.count_documents(snapshot, self._row.pk)

    def _operate(
        self, kind: str, actor: str, op_id: str = "", *arguments: Any
    ) -> AbstractContextManager[Running]:
        actor = actor or self._runtime.actor
        request = Request.of(op_id, self._row.pk, kind, *arguments)
        return self._runtime.operations.operate(self._row.pk, kind, actor, request)

    def _field(self, snapshot: Snapshot, name: str | None) -> FieldRow:
        return self._fields_first(snapshot, name)[0]

    def _fields_first(self, snapshot: Snapshot, name: str | None) -> list[FieldRow]:
        """Return all fields, the field `name` first; None keeps their order."""
        fields = fields_of(snapshot, self._row.pk)
        for field in fields:
            if name is None or field.name == name:
                return [field, *(other for other in fields if other is not field)]
        if name is None:
            raise Conflict(f"{self.name!r} has no label field yet; add one with add_taxonomy")
        raise NotFound.named("label field", name, [field.name for field in fields])

    def _document_query(
        self,
        snapshot: Snapshot,
        field: FieldRow,
        label: str | None,
        origin: Origin | str | None,
        reason: Reason | str | None,
        ids: Iterable[str] | None,
    ) -> Select[Any]:
        query = filtered(document_query(self._row.pk, field.pk), label, origin, reason)
        if ids is None:
            return query
        pks = self._pks(snapshot, list(ids))
        return query.where(one_of(schema.document.c.pk, pks.values()))

    def _by_pk(
        self, snapshot: Snapshot, pks: Iterable[int], first: FieldRow | None = None
    ) -> Iterator[Document]:
        table = schema.document
        query = select(table.c.pk).where(one_of(table.c.pk, pks)).order_by(table.c.pk)
        fields = self._fields_first(snapshot, None if first is None else first.name)
        return Reader(snapshot, self._runtime.book, fields).documents(self.name, query)

    def _pks(self, snapshot: Snapshot, ids: Sequence[str]) -> dict[str, int]:
        return pks_of(snapshot, self._row, ids)
