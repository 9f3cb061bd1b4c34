"""The verbs that only read a collection: documents, suggestions, queue, map and history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from sqlalchemy import Select

from lookalike.catalog.embedding_map import Map
from lookalike.catalog.fields import space_in_force
from lookalike.catalog.reader import FieldRow, Reader, document_query
from lookalike.classifier.scores.zero_shot import Names
from lookalike.content import frames
from lookalike.decisions.queue import ReviewItem, ask, ask_check
from lookalike.errors import BadInput, LookalikeError
from lookalike.library.collection import embedding_map, explanations, suggestions
from lookalike.library.collection.base import CollectionBase
from lookalike.library.declared_labels import described_in
from lookalike.library.verb import verb
from lookalike.model import (
    ANY,
    Document,
    Event,
    Operation,
    Origin,
    Progress,
    Question,
    Reason,
    Suggestion,
    quiet,
)
from lookalike.quality import annotators, reports
from lookalike.quality.stats.metrics import Point, Report
from lookalike.stores import schema
from lookalike.stores.base import Snapshot

# --- verbs that a collection and its past states share -------------------------------------------


class DocumentVerbs(CollectionBase):
    """Read the documents of a collection and their labels, now or as of an earlier point."""

    @verb("read", client=False, paged=True)
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
        """Yield documents; filter them by `label` (None: unlabelled), `origin`, `reason` or `ids`.

        `order_by` is `added`, `confidence`, `-confidence`, `margin` or `-margin`.
        """
        with self._runtime.store.read() as snapshot:
            fields = self._fields_first(snapshot, field)
            query = self._document_query(snapshot, fields[0], label, origin, reason, ids)
            query = _ordered(query, order_by, limit)
            yield from Reader(snapshot, self._runtime.book, fields).documents(self.name, query)

    @verb("read")
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
        with self._runtime.store.read() as snapshot:
            chosen = self._field(snapshot, field)
            query = self._document_query(snapshot, chosen, label, origin, reason, ids)
            query = _ordered(query, order_by, limit)
            return [row.id for row in snapshot.rows(query.add_columns(schema.document.c.id))]

    @verb("read")
    def document(self, id: str) -> Document:
        """Return one document. Raises NotFound."""
        with self._runtime.store.read() as snapshot:
            pks = self._pks(snapshot, [id])
            return next(self._by_pk(snapshot, pks.values()))

    @verb("read")
    def curve(self, *, field: str | None = None) -> list[Point]:
        """Return coverage and expected precision at other thresholds.

        Under the policy `precision` the expected precision is the mean probability of being right;
        under `threshold` no probability is known.
        """
        with self._runtime.store.read() as snapshot:
            return reports.decided_curve(snapshot, self._field(snapshot, field))

    @verb("read")
    def report(self, *, field: str | None = None) -> Report:
        """Return coverage, queue, counts per label and the confidence histogram."""
        with self._runtime.store.read() as snapshot:
            chosen = self._field(snapshot, field)
            return reports.report(snapshot, self._row, chosen)

    @verb("read", route=False)
    def rows(self, *, field: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the rows that `export` writes, one mapping per document."""
        with self._runtime.store.read() as snapshot:
            yield from self._rows_in(snapshot, field)

    @verb("read", route=False)
    def to_pandas(self, *, field: str | None = None, vectors: bool = False) -> Any:
        """Return the exported rows as a DataFrame of pandas.

        With `vectors` the column `vector` has the vector of each document, float32 (d,), of unit
        length. Raises MissingExtra without pandas.
        """
        return frames.pandas_frame(*self._exported(field, vectors))

    @verb("read", route=False)
    def to_polars(self, *, field: str | None = None, vectors: bool = False) -> Any:
        """Return the exported rows as a DataFrame of polars; `vectors` as in `to_pandas`.

        Raises MissingExtra without polars.
        """
        return frames.polars_frame(*self._exported(field, vectors))

    @verb("read", route=False)
    def to_arrow(self, *, field: str | None = None, vectors: bool = False) -> Any:
        """Return the exported rows as a table of Arrow; `vectors` as in `to_pandas`.

        Raises MissingExtra without pyarrow.
        """
        return frames.arrow_table(*self._exported(field, vectors))

    def _rows_in(self, snapshot: Snapshot, field: str | None) -> Iterator[dict[str, Any]]:
        fields = self._fields_first(snapshot, field)
        query = _ordered(document_query(self._row.pk, fields[0].pk), "added", None)
        for document in Reader(snapshot, self._runtime.book, fields).documents(self.name, query):
            yield reports.export_row(document, fields[0].name)

    def _exported(self, field: str | None, vectors: bool) -> tuple[Any, Any, Any]:
        """Return the exported rows, their columns, and the vectors, float32 (n, d), if wanted."""
        with self._runtime.store.read() as snapshot:
            rows = list(self._rows_in(snapshot, field))
            if not vectors:
                return rows, reports.EXPORT_COLUMNS, None
            space = space_in_force(snapshot, self._row.pk)
            if space is None:
                return rows, reports.EXPORT_COLUMNS, np.empty((0, 1), np.float32)
            pks = self._pks(snapshot, [row["id"] for row in rows])
            found = snapshot.vectors(space, np.array([pks[row["id"]] for row in rows], np.int64))
            return rows, reports.EXPORT_COLUMNS, found.astype(np.float32)


def _ordered(query: Select[Any], order_by: str, limit: int | None) -> Select[Any]:
    return query.order_by(*reports.order(order_by), schema.document.c.pk).limit(limit)


# -------------------------------------------------------------------------------------------------


class ReadVerbs(DocumentVerbs):
    """Read suggestions, the review queue, explanations, the map and the history."""

    @verb("read", route=False)
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
        """Return the decisions that items would get if all were added now; record nothing.

        Give one of: a `source` as for `add`, a `text`, `vectors` (n, d) or (d,), or `ids` of
        documents in the collection: these get the automatic decision even where a person gave a
        label. Each part gets one suggestion. `top_k` limits the matches shown, not those used.

        Above 2,000 documents the items join the existing neighbour graph; `add` rebuilds the graph
        when a collection has grown by a fifth. Raises BadContent for content that cannot be
        extracted, BadVector, NotFound.
        """
        given = [one is not None for one in (source, text, vectors, ids)]
        if sum(given) != 1:
            raise BadInput("give exactly one of a source, text=…, vectors=… or ids=…")
        with self._runtime.store.read() as snapshot:
            chosen = self._field(snapshot, field)
            target = self._runtime.target_in(snapshot, self._row)
        if ids is not None:
            return suggestions.suggest_for(self._runtime, self._row, chosen, ids, top_k=top_k)
        if vectors is not None:
            queried = suggestions.queried_vectors(target, vectors)
        else:
            content = source if text is None else {"text": text}
            queried = suggestions.queried_parts(self._runtime, target, content)
        return suggestions.suggest(self._runtime, chosen, queried, top_k=top_k)

    @verb("read", paged=True)
    def queue(
        self,
        *,
        limit: int = 20,
        field: str | None = None,
        second_opinion: float = 0,
        actor: str = "",
    ) -> list[Question]:
        """Return the questions to ask a person, the most valuable first; it works without labels.

        Some documents are a random sample, which calibration needs; they look like any other. The
        documents on which people disagree come first. `second_opinion` is the share (0 to 1) of
        duplicate annotations: documents that others than the `actor` answered, label hidden. Raises
        BadInput for another share.

        Answer with `label({id: label, …}, asked=True)`: give `suggestions` that are right, and the
        right labels of the others. `reject({id: label})` only rejects a suggestion;
        `new_kind(ids, asked=True)` says that no label fits. So one call for all its documents
        confirms a `check`, and giving a `suspect` label again confirms it.
        """
        with self._review_items(limit, field, second_opinion, actor) as (snapshot, chosen, items):
            pks = [pk for item in items for pk in item.pks]
            documents = {one.id: one for one in self._by_pk(snapshot, pks, chosen)}
            return annotators.questions(snapshot, chosen, items, documents)

    @verb("read", name="check_sheet")
    def check(self, *, field: str | None = None) -> Question | None:
        """Return the check sheet that waits for an answer, or None; the queue asks it as `check`.

        It is a random sample of the documents that may be labelled automatically, grouped by label;
        everybody gets the same sheet until somebody answers it (see `queue`). There is no sheet
        under the policy `threshold`, nor before some labels have three references.
        """
        with self._runtime.store.read() as snapshot:
            chosen = self._field(snapshot, field)
            if reports.count_documents(snapshot, self._row.pk) == 0:
                return None
        deciders = self._runtime.operations.deciders
        with deciders.consulted(chosen.pk, ask_check) as (snapshot, sheet):
            if sheet is None:
                return None
            documents = {one.id: one for one in self._by_pk(snapshot, sheet.pks, chosen)}
            return annotators.questions(snapshot, chosen, [sheet], documents)[0]

    @contextmanager
    def _review_items(
        self, limit: int, field: str | None, second_opinion: float, actor: str
    ) -> Iterator[tuple[Snapshot, FieldRow, list[ReviewItem]]]:
        if not 0 <= second_opinion <= 1:
            raise BadInput(f"second_opinion is {second_opinion}; give a share from 0 to 1")
        with self._runtime.store.read() as snapshot:
            chosen = self._field(snapshot, field)
            is_empty = reports.count_documents(snapshot, self._row.pk) == 0
            if is_empty:
                yield snapshot, chosen, []
        if is_empty:
            return
        actor, deciders = actor or self._runtime.actor, self._runtime.operations.deciders
        names = self._names(chosen)
        best = partial(ask, count=limit, actor=actor, second_opinion=second_opinion, names=names)
        with deciders.consulted(chosen.pk, best) as (snapshot, review_items):
            yield snapshot, self._field(snapshot, chosen.name), review_items

    def _names(self, field: FieldRow) -> Names | None:
        """Return the names of the declared labels, embedded in the space of the documents.

        None if the extractor reads no texts or is not installed; the queue works without them.
        """
        with self._runtime.store.read() as snapshot:
            labels = described_in(snapshot, field)
            if not labels:
                return None
            try:
                extractor = self._runtime.target_in(snapshot, self._row).extractor
            except LookalikeError:
                return None
        return self._runtime.label_names.names(extractor, labels)

    @verb("read")
    def why(self, id: str, *, field: str | None = None) -> explanations.Why:
        """Explain a document's label, or why it has none: its references, and what they decide."""
        with self._runtime.store.read() as snapshot:
            chosen = self._field(snapshot, field)

        def find(snapshot: Snapshot) -> tuple[int, Document]:
            pk = self._pks(snapshot, [id])[id]
            return pk, next(self._by_pk(snapshot, [pk]))

        return explanations.why(self._runtime, chosen, find)

    @verb("read", route=False)
    def map(self, *, field: str | None = None, progress: Progress = quiet) -> Map:
        """Return the embedding map: each document as a point on a plane, similar ones close.

        The first call computes the layout, and later calls again once the collection has grown by a
        fifth: about 7 s for 50,000 documents, a minute for a million. The labels are current.
        """
        with self._runtime.store.read() as snapshot:
            chosen = self._field(snapshot, field)
        return embedding_map.whole_map(self._runtime, self._row, chosen, progress)

    @verb("read", paged=True)
    def operations(self, *, limit: int = 100) -> list[Operation]:
        """Return the latest operations, newest first."""
        with self._runtime.store.read() as snapshot:
            return reports.operations(snapshot, self._row, limit)

    @verb("read")
    def history(self, id: str) -> list[Event]:
        """Return every event of a document, oldest first."""
        with self._runtime.store.read() as snapshot:
            pk = self._pks(snapshot, [id])[id]
            return reports.events(snapshot, self._row, pk)


def queue_by_ids(
    collection: ReadVerbs, *, limit: int, field: str | None, second_opinion: float
) -> list[tuple[tuple[str, ...], Question]]:
    """Return the questions of `queue` without documents, each with the ids of its documents."""
    asking = collection._review_items(limit, field, second_opinion, "")
    with asking as (snapshot, chosen, review_items):
        return annotators.questions_by_ids(snapshot, chosen, review_items)
