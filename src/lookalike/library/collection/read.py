"""The verbs that tell what a collection holds; they record nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from sqlalchemy import Select

from lookalike.catalog.embedding_map import Map
from lookalike.catalog.reader import FieldRow, Reader
from lookalike.classifier.scores.zero_shot import Names
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

# --- reads that serve the present and the past ---------------------------------------------------


class Shown(CollectionBase):
    """What a collection shows of its documents and their labels."""

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
        """Yield documents: `label=None` those without one, `origin="auto"` and so on.

        `order_by` is `added`, `confidence`, `-confidence`, `margin` or `-margin`.
        """
        with self._runtime.store.read() as snapshot:
            fields = self._fields_first(snapshot, field)
            chosen = self._chosen(snapshot, fields[0], label, origin, reason, ids)
            query = _ordered(chosen, order_by, limit)
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
            query = self._chosen(snapshot, chosen, label, origin, reason, ids)
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
        """Return what other limits would give: coverage, and the precision to be expected.

        Under `precision` a document is counted by its probability of being right; under `threshold`
        nothing is known of that.
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
        """Yield what `export` writes, one mapping a document."""
        with self._runtime.store.read() as snapshot:
            chosen = self._field(snapshot, field).name
        for document in self.documents(field=field):
            yield reports.export_row(document, chosen)

    @verb("read", route=False)
    def to_pandas(self, *, field: str | None = None) -> Any:
        """Return the exported rows as a DataFrame. Raises MissingExtra without pandas."""
        return reports.data_frame(self.rows(field=field))


def _ordered(query: Select[Any], order_by: str, limit: int | None) -> Select[Any]:
    return query.order_by(*reports.order(order_by), schema.document.c.pk).limit(limit)


# -------------------------------------------------------------------------------------------------


class Telling(Shown):
    """What a collection tells about its documents and labels."""

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
        """Return what things would be labelled if they were added now, together; record nothing.

        Give one of: a `source` as `add` takes it, a `text`, `vectors` (n, d) or (d,), or `ids` of
        documents that are here: for these, what the machine says now, whatever people said. There
        is one suggestion a part. `top_k` bounds the matches that are shown, not those that count.

        Beyond 2,000 documents, what comes hangs on the graph as it is; adding makes it again when a
        fifth has come. Raises BadContent for what cannot be extracted, BadVector, NotFound.
        """
        given = [one is not None for one in (source, text, vectors, ids)]
        if sum(given) != 1:
            raise BadInput("say what to suggest for: one of a source, text=…, vectors=… or ids=…")
        with self._runtime.store.read() as snapshot:
            chosen = self._field(snapshot, field)
            target = self._runtime.target_in(snapshot, self._row)
        if ids is not None:
            return suggestions.suggest_for(self._runtime, self._row, chosen, ids, top_k=top_k)
        if vectors is not None:
            asked = suggestions.asked_vectors(target, vectors)
        else:
            content = source if text is None else {"text": text}
            asked = suggestions.asked_of(self._runtime, target, content)
        return suggestions.suggest(self._runtime, chosen, asked, top_k=top_k)

    @verb("read", paged=True)
    def queue(
        self,
        *,
        limit: int = 20,
        field: str | None = None,
        second_opinion: float = 0,
        actor: str = "",
    ) -> list[Question]:
        """Return what is worth asking a person, best question first; it needs no label to begin.

        Some of it was drawn by chance, and looks like any other: what is learned from the answers
        needs that. What people contradict each other on comes first. With a share as
        `second_opinion`, so much is asked of what others than the `actor` answered, with the label
        hidden. Raises BadInput for a share beyond 0 to 1.

        Answer with `label({id: label, …}, asked=True)`: the `suggestions` that are right, and the
        right labels of the others. `reject({id: label})` says only that a suggestion is wrong,
        `new_kind(ids, asked=True)` that no label fits. So a `check` is confirmed by one call for
        all its documents, and a label that looks wrong (`suspect`) by giving it again.
        """
        with self._asked(limit, field, second_opinion, actor) as (snapshot, chosen, asked):
            pks = [pk for one in asked for pk in one.pks]
            shown = {one.id: one for one in self._by_pk(snapshot, pks, chosen)}
            return annotators.questions(snapshot, chosen, asked, shown)

    @verb("read", name="check_sheet")
    def check(self, *, field: str | None = None) -> Question | None:
        """Return the check sheet that waits for an answer, or None: the queue has it as `check`.

        It shows documents that were drawn at random from those that may be labelled automatically,
        grouped by label, and stays the same for everybody until it is answered (see `queue`).
        There is none under the policy `threshold`, nor before some labels have three references.
        """
        with self._runtime.store.read() as snapshot:
            chosen = self._field(snapshot, field)
            if reports.count_documents(snapshot, self._row.pk) == 0:
                return None
        consulted = self._runtime.operations.deciders
        with consulted.consulted(chosen.pk, ask_check) as (snapshot, asked):
            if asked is None:
                return None
            shown = {one.id: one for one in self._by_pk(snapshot, asked.pks, chosen)}
            return annotators.questions(snapshot, chosen, [asked], shown)[0]

    @contextmanager
    def _asked(
        self, limit: int, field: str | None, second_opinion: float, actor: str
    ) -> Iterator[tuple[Snapshot, FieldRow, list[ReviewItem]]]:
        if not 0 <= second_opinion <= 1:
            raise BadInput(f"second_opinion is {second_opinion}; say a share, from 0 to 1")
        with self._runtime.store.read() as snapshot:
            chosen = self._field(snapshot, field)
            is_empty = reports.count_documents(snapshot, self._row.pk) == 0
            if is_empty:
                yield snapshot, chosen, []
        if is_empty:
            return
        actor, consulted = actor or self._runtime.actor, self._runtime.operations.deciders
        names = self._names(chosen)
        best = partial(ask, count=limit, actor=actor, second_opinion=second_opinion, names=names)
        with consulted.consulted(chosen.pk, best) as (snapshot, asked):
            yield snapshot, self._field(snapshot, chosen.name), asked

    def _names(self, field: FieldRow) -> Names | None:
        """Return the names of the labels that were declared, in the space of the documents.

        None where the extractor reads no texts, or is not installed: the queue can do without.
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
        """Return what caused a document's label or null, and what would be without the nearest."""
        with self._runtime.store.read() as snapshot:
            chosen = self._field(snapshot, field)

        def shown(snapshot: Snapshot) -> tuple[int, Document]:
            pk = self._pks(snapshot, [id])[id]
            return pk, next(self._by_pk(snapshot, [pk]))

        return explanations.why(self._runtime, chosen, shown)

    @verb("read", route=False)
    def map(self, *, field: str | None = None, progress: Progress = quiet) -> Map:
        """Return every document as a point on a plane, look-alikes together.

        It is laid out at the first call, and again when the collection has grown by a fifth: about
        7 s for 50,000 documents, a minute for a million. The labels are those of now.
        """
        with self._runtime.store.read() as snapshot:
            chosen = self._field(snapshot, field)
        return embedding_map.whole_map(self._runtime, self._row, chosen, progress)

    @verb("read", paged=True)
    def operations(self, *, limit: int = 100) -> list[Operation]:
        """Return the latest operations, the newest first."""
        with self._runtime.store.read() as snapshot:
            return reports.operations(snapshot, self._row, limit)

    @verb("read")
    def history(self, id: str) -> list[Event]:
        """Return every event of a document, oldest first."""
        with self._runtime.store.read() as snapshot:
            pk = self._pks(snapshot, [id])[id]
            return reports.events(snapshot, self._row, pk)


def queue_by_ids(
    collection: Telling, *, limit: int, field: str | None, second_opinion: float
) -> list[tuple[tuple[str, ...], Question]]:
    """Return what `queue` returns without its documents: each question with the ids of these."""
    asking = collection._asked(limit, field, second_opinion, "")
    with asking as (snapshot, chosen, asked):
        return annotators.questions_by_ids(snapshot, chosen, asked)
