"""The verbs that tell what a collection on a server holds."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lookalike.content.sources import items
from lookalike.library.remote.connection import place
from lookalike.library.remote.remote_shown import RemoteShown
from lookalike.library.remote.upload import content, described, encoded
from lookalike.model import Event, Operation, Progress, Question, Suggestion, quiet

if TYPE_CHECKING:
    from lookalike.catalog.embedding_map import Map
    from lookalike.library.collection.explanations import Why

_MAKING = 202
_PAUSE_S = 0.5


class RemoteTelling(RemoteShown):
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

    def check(self, *, field: str | None = None) -> Question | None:
        """Return the check sheet that waits for an answer, or None."""
        return self._ask("check_sheet", Question | None, field=field)  # type: ignore[arg-type] # a union

    def why(self, id: str, *, field: str | None = None) -> Why:
        """Return what caused a document's label or null, and what would be without the nearest."""
        from lookalike.library.collection.explanations import Why

        return self._ask("why", Why, id=id, field=field)

    def map(self, *, field: str | None = None, progress: Progress = quiet) -> Map:
        """Return every document as a point on a plane, look-alikes together.

        The server lays it out at the first call, and again when the collection has grown.
        """
        from lookalike.catalog.embedding_map import unpacked

        path = place("collections", self.name, "map") + "?ids=true"
        path += "" if field is None else f"&field={quote(field, safe='')}"
        while (answer := self._connection.get(path)).status_code == _MAKING:
            progress(round(100 * answer.json()["done"]), 100)
            time.sleep(_PAUSE_S)
        return unpacked(answer.content)

    def operations(self, *, limit: int = 100) -> list[Operation]:
        """Return the latest operations, up to 1,000, the newest first."""
        return self._ask("operations", list[Operation], limit=limit)

    def history(self, id: str) -> list[Event]:
        """Return every event of a document, oldest first."""
        return self._ask("history", list[Event], id=id)
