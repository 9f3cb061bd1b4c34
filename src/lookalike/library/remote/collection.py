"""A collection on a server and its past states: the verbs that are not generated in `verbs.py`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from lookalike.content import frames
from lookalike.content.frames import Frame, frame_rows, is_frame, labels_in
from lookalike.content.sources import items, json_values
from lookalike.errors import BadInput, BadSetting, NotFound
from lookalike.library.remote.calls import arguments, as_declared
from lookalike.library.remote.connection import Connection, place
from lookalike.library.remote.upload import Sender, content, described, encoded
from lookalike.library.remote.verbs import CollectionVerbs, PastVerbs, SharedVerbs
from lookalike.library.verb import PAGE
from lookalike.model import Added, Changed, Displayed, Document, Progress, Suggestion, quiet

if TYPE_CHECKING:
    from lookalike.catalog.embedding_map import Map
    from lookalike.decisions.as_of import At

_HERE = "threads"
_MAKING = 202
_PAUSE_S = 0.5


class RemoteDocuments(SharedVerbs, Displayed):
    """Read the documents of a collection on a server, now or as of an earlier point."""

    def __init__(self, connection: Connection, name: str) -> None:
        super().__init__(connection)
        self._name = name

    @property
    def name(self) -> str:
        """Return the collection's name."""
        return self._name

    def _place(self, verb: str) -> str:
        return place("collections", self.name, "verbs", verb)

    @as_declared(SharedVerbs.documents)
    def documents(self, **asked: Any) -> Iterator[Document]:
        """Yield documents like `Collection.documents`, up to 1,000 per request.

        A document that changes meanwhile is yielded in its new state, or left out if erased.
        """
        return self._pages(arguments(SharedVerbs.documents, self, **asked))

    def rows(self, *, field: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the rows that `export` writes, one mapping per document."""
        from lookalike.quality.reports import export_row

        for document in self.documents(field=field):
            yield export_row(document, document.field)

    def to_pandas(self, *, field: str | None = None, vectors: bool = False) -> Any:
        """Return the exported rows as a DataFrame of pandas. Raises MissingExtra without it."""
        return frames.pandas_frame(*self._exported(field, vectors))

    def to_polars(self, *, field: str | None = None, vectors: bool = False) -> Any:
        """Return the exported rows as a DataFrame of polars. Raises MissingExtra without it."""
        return frames.polars_frame(*self._exported(field, vectors))

    def to_arrow(self, *, field: str | None = None, vectors: bool = False) -> Any:
        """Return the exported rows as a table of Arrow. Raises MissingExtra without pyarrow."""
        return frames.arrow_table(*self._exported(field, vectors))

    def _exported(self, field: str | None, vectors: bool) -> tuple[Any, Any, None]:
        from lookalike.quality.reports import EXPORT_COLUMNS

        if vectors:
            raise BadInput("a server does not send vectors: leave out vectors=True")
        return self.rows(field=field), EXPORT_COLUMNS, None

    def _pages(self, asked: Mapping[str, Any]) -> Iterator[Document]:
        limit = asked.get("limit")
        if limit is not None and limit <= PAGE:
            yield from self._ask("documents", list[Document], asked)
            return
        order = self._ask("ids", list[str], asked)
        asked = {name: value for name, value in asked.items() if name not in ("ids", "limit")}
        for start in range(0, len(order), PAGE):
            yield from self._page(order[start : start + PAGE], asked)

    def _page(self, ids: Sequence[str], asked: Mapping[str, Any]) -> list[Document]:
        """Return documents by id, without those erased since their ids were read."""
        try:
            return self._ask("documents", list[Document], {**asked, "ids": ids})
        except NotFound:
            known = set(self._ask("ids", list[str], asked))
            left = [id for id in ids if id in known]
            return self._ask("documents", list[Document], {**asked, "ids": left})


class RemoteCollection(RemoteDocuments, CollectionVerbs):
    """One collection on a server. `lookalike.connect(…).labeler(…)` returns one.

    The holder of the API key is the actor; a key with the scope `admin` may name another `actor`. A
    request repeated because no answer came is executed once, as if each call had its own `op_id`.
    """

    def __repr__(self) -> str:
        return f"<RemoteCollection {self.name!r} at {self._connection.url}>"

    def add(
        self,
        source: Any = None,
        *,
        vectors: Any = None,
        ids: Sequence[Any] | None = None,
        metadata: Any = None,
        copy: bool = False,
        progress: Progress = quiet,
        engine: str = _HERE,
        address: str | None = None,
    ) -> Added:
        """Add items like `Collection.add`; the bytes of local files are sent and stored.

        The server reads URLs, and may refuse one (FetchRefused). `copy` also stores the bytes of a
        URL. If interrupted, the same call resumes; objects added by a request whose answer was lost
        then count as unchanged.
        """
        from lookalike.ingest.items import Tally
        from lookalike.library.collection.items import given_vectors

        self._refuse_engine(engine, address)
        tally, sender = Tally(), Sender(self._connection, self.name)
        if given := given_vectors(source, vectors, ids, metadata):
            sender.add_vectors(*given, tally, progress)
        else:
            stream = items(source, ids=ids, metadata=metadata)
            sender.add(stream, tally, copy=copy, progress=progress)
        return Added(
            added=tally.added,
            changed=tally.changed,
            unchanged=tally.unchanged,
            documents=tally.documents,
            skipped=tuple(tally.skipped),
            failed=dict(tally.failed),
            labelled=dict(sorted(tally.labelled.items())),
        )

    def extract(
        self, *, progress: Progress = quiet, engine: str = _HERE, address: str | None = None
    ) -> None:
        """Wait until the server has extracted the waiting objects of this collection."""
        self._refuse_engine(engine, address)
        Sender(self._connection, self.name).wait(progress)

    @as_declared(CollectionVerbs.label)
    def label(self, labels: Mapping[str, str | None] | Frame, **asked: Any) -> Changed:
        """Label documents, as a person: id → label, or a table with the columns `id`, `label`.

        The arguments are those of `Collection.label`.
        """
        given = arguments(CollectionVerbs.label, self, labels_in(labels), **asked)
        return self._ask("label", Changed, given)

    @as_declared(CollectionVerbs.amend)
    def amend(self, changes: Mapping[str, Mapping[str, Any]], **asked: Any) -> Changed:
        """Change metadata of documents, by id; a label field takes a person's label."""
        values = {id: json_values(change) for id, change in changes.items()}
        return self._ask("amend", Changed, arguments(CollectionVerbs.amend, self, values, **asked))

    @as_declared(CollectionVerbs.import_labels)
    def import_labels(self, rows: Iterable[Mapping[str, Any]], **asked: Any) -> Changed:
        """Import labels from rows that name documents by `id`, `sha256` or `file_name`."""
        listed = frame_rows(rows) if is_frame(rows) else rows
        given = arguments(CollectionVerbs.import_labels, self, map(json_values, listed), **asked)
        return self._ask("import_labels", Changed, given)

    @as_declared(CollectionVerbs.run)
    def run(self, *, engine: str = _HERE, address: str | None = None, **asked: Any) -> Changed:
        """Decide all documents again, with another policy if one is given, or declared labels."""
        self._refuse_engine(engine, address)
        return self._ask("run", Changed, arguments(CollectionVerbs.run, self, **asked))

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
        """Return the decisions that items would get if they were added now; record nothing.

        One request sends the whole source, so its files may have a few megabytes together.
        """
        import numpy as np

        sent = None
        if source is not None:
            sent = [described(item, content(item)) for item in items(source)]
        numbers = None if vectors is None else encoded(np.atleast_2d(np.asarray(vectors)))
        asked = {"items": sent, "text": text, "vectors": numbers, "ids": ids, "field": field}
        return self._ask("suggest", list[Suggestion], {**asked, "top_k": top_k})

    def map(self, *, field: str | None = None, progress: Progress = quiet) -> Map:
        """Return the embedding map: each document as a point on a plane, similar ones close.

        The server computes the layout at the first call, and again when the collection has grown.
        """
        from lookalike.catalog.embedding_map import unpacked

        path = place("collections", self.name, "map") + "?ids=true"
        path += "" if field is None else f"&field={quote(field, safe='')}"
        while (answer := self._connection.get(path)).status_code == _MAKING:
            progress(round(100 * answer.json()["done"]), 100)
            time.sleep(_PAUSE_S)
        return unpacked(answer.content)

    def as_of(self, at: At) -> RemotePast:
        """Return the collection as it was at a version, operation, event or time, read-only."""
        if isinstance(at, datetime):
            at = (at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat()
        return RemotePast(self._connection, self.name, self._ask("as_of", str, {"at": at}))

    def _refuse_engine(self, engine: str, address: str | None) -> None:
        if engine != _HERE or address is not None:
            raise BadSetting(
                f"a client cannot choose the server's engine ({engine!r}): run `lookalike run "
                f"{self.name} --engine {engine}` on a machine that opens the store itself"
            )


class RemotePast(RemoteDocuments, PastVerbs):
    """A read-only collection on a server as it was just after an operation, like `Past`."""

    def __init__(self, connection: Connection, name: str, operation: str) -> None:
        super().__init__(connection, name)
        self._operation = operation

    @property
    def operation(self) -> str:
        """Return the id of the operation just after which this state was."""
        return self._operation

    def __repr__(self) -> str:
        return f"<RemotePast of {self.name!r} as of {self.operation}>"

    def _place(self, verb: str) -> str:
        return super()._place(f"{verb}_as_of") + "?" + urlencode({"as_of": self.operation})
