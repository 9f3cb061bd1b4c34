"""The verbs that tell what a collection on a server holds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lookalike.connection import place
from lookalike.errors import NotFound
from lookalike.model import ANY, Document, Event, Operation, Origin, Question, Reason, Suggestion
from lookalike.remote_opened import RemoteOpened
from lookalike.sending import Progress, content, described, encoded, quiet
from lookalike.sources import items

if TYPE_CHECKING:
    from lookalike.explaining import Why
    from lookalike.maps import Map
    from lookalike.metrics import Point, Report

PAGE = 1000
"""So many documents, questions or operations are in one answer of a server."""

_MAKING = 202
_PAUSE_S = 0.5


class RemoteTelling(RemoteOpened):
    """What a collection on a server tells about its documents and labels."""

    def suggest(
        self,
        source: Any = None,
        *,
        text: str | None = None,
        vectors: Any = None,
        ids: Iterable[str] | None = None,
        field: str | None = None,
        top_k: int | None = None,
    ) -> list[Suggestion]:
        """Return what things would be labelled if they were added now; record nothing.

        A source is sent whole, in one request: its files may have a few megabytes together.
        """
        import numpy as np

        sent = None
        if source is not None:
            sent = [described(item, content(item)) for item in items(source)]
        return self._ask(
            "suggest",
            list[Suggestion],
            items=sent,
            text=text,
            vectors=None if vectors is None else encoded(np.atleast_2d(np.asarray(vectors))),
            ids=None if ids is None else list(ids),
            field=field,
            top_k=top_k,
        )

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

    def queue(
        self,
        *,
        limit: int = 20,
        field: str | None = None,
        second_opinion: float = 0,
        actor: str = "",
    ) -> list[Question]:
        """Return what is worth asking a person, up to 1,000 questions, the best one first."""
        given = {"limit": limit, "field": field, "second_opinion": second_opinion}
        return self._ask("queue", list[Question], **given, actor=actor)

    def why(self, id: str, *, field: str | None = None) -> Why:
        """Return what caused a document's label or null, and what would be without the nearest."""
        from lookalike.explaining import Why

        return self._ask("why", Why, id=id, field=field)

    def curve(self, *, field: str | None = None) -> list[Point]:
        """Return what other limits would give: coverage, and the precision to be expected."""
        from lookalike.metrics import Point

        return self._ask("curve", list[Point], field=field)

    def report(self, *, field: str | None = None) -> Report:
        """Return coverage, queue, counts per label and the confidence histogram."""
        from lookalike.metrics import Report

        return self._ask("report", Report, field=field)

    def map(self, *, field: str | None = None, progress: Progress = quiet) -> Map:
        """Return every document as a point on a plane, look-alikes together.

        The server lays it out at the first call, and again when the collection has grown.
        """
        from lookalike.maps import unpacked

        path = place("collections", self.name, "map") + "?ids=true"
        path += "" if field is None else f"&field={quote(field, safe='')}"
        while (answer := self._connection.get(path)).status_code == _MAKING:
            progress(round(100 * answer.json()["done"]), 100)
            time.sleep(_PAUSE_S)
        return unpacked(answer.content)

    def rows(self, *, field: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield what `export` writes, one mapping a document."""
        from lookalike.reporting import export_row

        for document in self.documents(field=field):
            yield export_row(document, document.field)

    def to_pandas(self, *, field: str | None = None) -> Any:
        """Return the exported rows as a DataFrame. Raises MissingExtra without pandas."""
        from lookalike.reporting import data_frame

        return data_frame(self.rows(field=field))

    def operations(self, *, limit: int = 100) -> list[Operation]:
        """Return the latest operations, up to 1,000, the newest first."""
        return self._ask("operations", list[Operation], limit=limit)

    def history(self, id: str) -> list[Event]:
        """Return every event of a document, oldest first."""
        return self._ask("history", list[Event], id=id)

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
