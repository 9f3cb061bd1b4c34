"""The verbs that show what a collection on a server holds, now or at a point of the past."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lookalike.errors import NotFound
from lookalike.library.remote.remote_opened import RemoteOpened
from lookalike.library.remote.wire import PAGE
from lookalike.model import ANY, Document, Origin, Reason

if TYPE_CHECKING:
    from lookalike.quality.stats.metrics import Point, Report


class RemoteShown(RemoteOpened):
    """What a collection on a server shows of its documents and their labels."""

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
        """Yield documents, as `Collection.documents` does, some hundred in a request.

        What changes meanwhile is yielded as it is by then, or not any more.
        """
        asked = _given(label=label, origin=origin, reason=reason, field=field, order_by=order_by)
        named = None if ids is None else list(ids)
        if limit is not None and limit <= PAGE:
            yield from self._ask("documents", list[Document], **asked, ids=named, limit=limit)
            return
        order = self._ask("ids", list[str], **asked, ids=named, limit=limit)
        for start in range(0, len(order), PAGE):
            yield from self._page(order[start : start + PAGE], asked)

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
        asked = _given(label=label, origin=origin, reason=reason, field=field, order_by=order_by)
        named = None if ids is None else list(ids)
        return self._ask("ids", list[str], **asked, ids=named, limit=limit)

    def document(self, id: str) -> Document:
        """Return one document. Raises NotFound."""
        return self._ask("document", Document, id=id)

    def curve(self, *, field: str | None = None) -> list[Point]:
        """Return what other limits would give: coverage, and the precision to be expected."""
        from lookalike.quality.stats.metrics import Point

        return self._ask("curve", list[Point], field=field)

    def report(self, *, field: str | None = None) -> Report:
        """Return coverage, queue, counts per label and the confidence histogram."""
        from lookalike.quality.stats.metrics import Report

        return self._ask("report", Report, field=field)

    def rows(self, *, field: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield what `export` writes, one mapping a document."""
        from lookalike.quality.reports import export_row

        for document in self.documents(field=field):
            yield export_row(document, document.field)

    def to_pandas(self, *, field: str | None = None) -> Any:
        """Return the exported rows as a DataFrame. Raises MissingExtra without pandas."""
        from lookalike.quality.reports import data_frame

        return data_frame(self.rows(field=field))

    def _page(self, ids: Sequence[str], asked: Mapping[str, Any]) -> list[Document]:
        """Return documents that were there a moment ago; what was forgotten since is left out."""
        try:
            return self._ask("documents", list[Document], **asked, ids=list(ids))
        except NotFound:
            known = set(self._ask("ids", list[str], **asked))
            left = [id for id in ids if id in known]
            return self._ask("documents", list[Document], **asked, ids=left)


def _given(**said: Any) -> dict[str, Any]:
    """Return what was said; ANY says nothing."""
    return {name: value for name, value in said.items() if value is not ANY}
