"""The verbs that show what stands and was decided of documents, now or at a point of the past."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Select

from lookalike.catalog.reader import Reader
from lookalike.library.collection.base import Opened
from lookalike.model import ANY, Document, Origin, Reason
from lookalike.quality import reports as reporting
from lookalike.quality.stats.metrics import Point, Report
from lookalike.stores import schema


class Shown(Opened):
    """What a collection shows of its documents and their labels."""

    def documents(
        self,
        *,
        label: str | None = ANY,
        origin: Origin | str | None = ANY,
        reason: Reason | str | None = None,
        ids: Iterable[str] | None = None,
        field: str | None = None,
        order_by: str = "added",
        limit: int | None = None,
    ) -> Iterator[Document]:
        """Yield documents: `label=None` those without one, `origin="auto"` and so on.

        `order_by` is `added`, `confidence`, `-confidence`, `margin` or `-margin`.
        """
        with self._workshop.store.read() as snapshot:
            fields = self._fields_first(snapshot, field)
            chosen = self._chosen(snapshot, fields[0], label, origin, reason, ids)
            query = _ordered(chosen, order_by, limit)
            yield from Reader(snapshot, self._workshop.book, fields).documents(self.name, query)

    def ids(
        self,
        *,
        label: str | None = ANY,
        origin: Origin | str | None = ANY,
        reason: Reason | str | None = None,
        ids: Iterable[str] | None = None,
        field: str | None = None,
        order_by: str = "added",
        limit: int | None = None,
    ) -> list[str]:
        """Return the ids of the documents that `documents` yields, in its order."""
        with self._workshop.store.read() as snapshot:
            chosen = self._field(snapshot, field)
            query = self._chosen(snapshot, chosen, label, origin, reason, ids)
            query = _ordered(query, order_by, limit)
            return [row.id for row in snapshot.rows(query.add_columns(schema.document.c.id))]

    def document(self, id: str) -> Document:
        """Return one document. Raises NotFound."""
        with self._workshop.store.read() as snapshot:
            pks = self._pks(snapshot, [id])
            return next(self._by_pk(snapshot, pks.values()))

    def curve(self, *, field: str | None = None) -> list[Point]:
        """Return what other limits would give: coverage, and the precision to be expected.

        Under `precision` a document is counted by its probability of being right; under `threshold`
        nothing is known of that.
        """
        with self._workshop.store.read() as snapshot:
            return reporting.decided_curve(snapshot, self._field(snapshot, field))

    def report(self, *, field: str | None = None) -> Report:
        """Return coverage, queue, counts per label and the confidence histogram."""
        with self._workshop.store.read() as snapshot:
            chosen = self._field(snapshot, field)
            return reporting.report(snapshot, self._row, chosen)

    def rows(self, *, field: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield what `export` writes, one mapping a document."""
        with self._workshop.store.read() as snapshot:
            chosen = self._field(snapshot, field).name
        for document in self.documents(field=field):
            yield reporting.export_row(document, chosen)

    def to_pandas(self, *, field: str | None = None) -> Any:
        """Return the exported rows as a DataFrame. Raises MissingExtra without pandas."""
        return reporting.data_frame(self.rows(field=field))


def _ordered(query: Select[Any], order_by: str, limit: int | None) -> Select[Any]:
    return query.order_by(*reporting.order(order_by), schema.document.c.pk).limit(limit)
