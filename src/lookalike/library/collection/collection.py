"""`Collection`: the verbs that add items, label documents and decide them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lookalike.catalog.idempotency import Replayed, idempotent
from lookalike.catalog.reader import fields_of
from lookalike.catalog.taxonomies import rule_of, with_policy_of
from lookalike.catalog.vocabulary import Labels, LabelSet
from lookalike.content.frames import Frame, frame_rows, is_frame, labels_in
from lookalike.content.sources import items, json_values
from lookalike.decisions.operations import LabelStatement
from lookalike.errors import BadInput, NotFound
from lookalike.ingest.items import Tally
from lookalike.ingest.ray.jobs import engine_at
from lookalike.labels import check_label
from lookalike.library import declared_labels, forget
from lookalike.library.collection.experiments import ExperimentVerbs
from lookalike.library.collection.history import HistoryVerbs
from lookalike.library.collection.items import (
    add_vectors,
    extract_free,
    extract_to_the_end,
    given_vectors,
    register,
)
from lookalike.library.collection.label_tree import LabelTreeVerbs
from lookalike.library.collection.labels import (
    check_amendable,
    check_fresh,
    imported_statements,
    label_statements,
    rejection_statements,
)
from lookalike.library.collection.promotion import PromotionVerbs
from lookalike.library.collection.quality import QualityVerbs
from lookalike.library.collection.read import ReadVerbs
from lookalike.library.metadata import Sync, changed_regions
from lookalike.library.verb import verb
from lookalike.model import ANY, Added, Changed, EventKind, Origin, Progress, quiet
from lookalike.stores.base import Snapshot


class Collection(
    PromotionVerbs, LabelTreeVerbs, HistoryVerbs, ExperimentVerbs, QualityVerbs, ReadVerbs
):
    """One collection of a store. `lookalike.open(…).labeler(…)` returns one."""

    # --- add ------------------------------------------------------------------------------------

    @verb("label", route=False)
    def add(
        self,
        source: Any = None,
        *,
        vectors: Any = None,
        ids: Sequence[Any] | None = None,
        metadata: Any = None,
        copy: bool = False,
        progress: Progress = quiet,
        engine: str = "threads",
        address: str | None = None,
    ) -> Added:
        """Add items: extract them and decide their labels. Items that exist already do not change.

        `source` is a folder, a file, a URL, bytes, a picture, an array, a row, a DataFrame or a
        list of these. `vectors` (n, d) adds vectors instead, to a `passthrough` collection; of a
        DataFrame, or another table, it names the column of vectors. `ids` become the documents'
        ids; `metadata` is one mapping for all items, or one for each. `copy`
        stores the bytes instead of a link to them. It calls `progress(done, total)` after each
        object, and waits for objects that other processes extract: all are there when it returns.
        If interrupted, the same call resumes. `engine` selects what extracts, as in `extract`.

        Raises BadInput for an empty source; an object that cannot be extracted fails alone.
        """
        tally = Tally()
        if given := given_vectors(source, vectors, ids, metadata):
            add_vectors(self._runtime, self._row, *given, tally, progress)
        else:
            stream = items(source, ids=ids, metadata=metadata)
            register(self._runtime, self._row, stream, tally, copy=copy)
            with engine_at(engine, address) as chosen:
                extract_to_the_end(self._runtime, self._row, tally, progress, chosen)
        return Added(
            added=tally.added,
            changed=tally.changed,
            unchanged=tally.unchanged,
            documents=tally.documents,
            skipped=tuple(tally.skipped),
            failed=dict(tally.failed),
            labelled=dict(sorted(tally.labelled.items())),
        )

    @verb("label", route=False)
    def extract(
        self,
        *,
        tally: Tally | None = None,
        progress: Progress = quiet,
        engine: str = "threads",
        address: str | None = None,
    ) -> None:
        """Extract the objects that wait in this collection, also those an interrupted run left.

        With `engine="ray"` a Ray cluster extracts: the cluster at `address`, or one that Ray finds.
        """
        with engine_at(engine, address) as chosen:
            extract_free(self._runtime, self._row, tally or Tally(), progress, chosen)

    # --- label ----------------------------------------------------------------------------------

    @verb("label", client=False)
    @idempotent
    def label(
        self,
        labels: Mapping[str, str | None] | Frame,
        *,
        field: str | None = None,
        asked: bool = False,
        new_labels: bool = False,
        actor: str = "",
        op_id: str = "",
        revisions: Mapping[str, int] | None = None,
    ) -> Changed:
        """Label documents, as a person: id → label. None removes the person's label or answer.

        A table with the columns `id` and `label` labels the documents of the rows that have a
        label: a DataFrame of pandas or polars, a table of Arrow, a `datasets.Dataset`.

        The same transaction decides all documents that this affects; the result counts them. A
        repeated call with the same `op_id` changes nothing. `revisions` gives the revision at which
        the caller saw a document, by id: raises Stale if another person answered differently since
        then; automatic decisions since then do not matter. `asked` marks answers to questions of
        the queue: these labels become references, but calibration uses them only as part of a
        complete check, because the queue does not sample at random. An alias means its label;
        `renamed` in the result shows which. Raises BadInput for a retired label, and for a label
        outside a closed set, unless `new_labels` adds it.
        """
        checked = {
            id: None if label is None else check_label(label)
            for id, label in labels_in(labels).items()
        }
        arguments = (checked, *([True] if new_labels else []))
        with self._operate("label", actor, op_id, field, *arguments) as running:
            chosen = self._field(running.txn, field)
            pks = self._pks(running.txn, list(checked))
            check_fresh(running.txn, pks, revisions or {}, {chosen.pk: checked}, running.actor)
            if new_labels:
                declared_labels.add_new(self._runtime.operations, running, chosen, checked.values())
            statements = label_statements(
                running.txn, chosen.pk, pks, checked, asked=asked, actor=running.actor
            )
            running.by_person = len(statements)
            self._runtime.operations.append(running, chosen.pk, statements)
        return running.changed()

    @verb("label", client=False)
    @idempotent
    def amend(
        self,
        changes: Mapping[str, Mapping[str, Any]],
        *,
        actor: str = "",
        op_id: str = "",
        revisions: Mapping[str, int] | None = None,
    ) -> Changed:
        """Change metadata of documents, by id; a label field takes a person's label, or None.

        A label is stored with the document; other metadata of a whole item with its object. None
        removes a person's label, and rejects an automatic one. Raises Stale for a document that
        changed since its revision in `revisions`, by id; for a label only if another person
        answered differently since then.
        """
        checked = {id: json_values(change) for id, change in changes.items()}
        with self._operate("label", actor, op_id, checked) as running:
            pks = self._pks(running.txn, list(checked))
            fields = {row.name: row.pk for row in fields_of(running.txn, self._row.pk)}
            check_amendable(running.txn, fields, pks, checked, revisions or {}, running.actor)
            sync = Sync(self._runtime.operations, running)
            sync.documents(self._row, {pks[id]: change for id, change in checked.items()})
            sync.append()
        return running.changed()

    @verb("label")
    @idempotent
    def draw(
        self,
        regions: Mapping[str, Mapping[str, Sequence[float] | None]],
        *,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Draw, move or remove regions of objects, by the object's id and the region's.

        A box is [left, top, width, height] in pixels of the upright picture; None removes a region
        with its document and label. The other regions of the picture keep their labels; those that
        the detector proposed count as the person's from then on. Raises BadInput for an invalid box
        or a collection without regions; NotFound.
        """
        with self._operate("draw", actor, op_id, regions) as running:
            sync = Sync(self._runtime.operations, running)
            sync.objects(changed_regions(running.txn, self._row, regions))
            sync.append()
        self.extract()
        return running.changed()

    @verb("label")
    @idempotent
    def reject(
        self,
        rejections: Mapping[str, str | None],
        *,
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Reject labels: id → label, or None for the document's label or else its suggestion.

        No later run gives or suggests a rejected label for that document again.
        """
        with self._operate("reject", actor, op_id, field, rejections) as running:
            chosen = self._field(running.txn, field)
            pks = self._pks(running.txn, list(rejections))
            documents = {one.id: one for one in self._by_pk(running.txn, pks.values(), chosen)}
            statements = rejection_statements(pks, documents, rejections)
            running.by_person = len(statements)
            self._runtime.operations.append(running, chosen.pk, statements)
        return running.changed()

    @verb("label")
    def new_kind(
        self,
        ids: Iterable[str],
        *,
        field: str | None = None,
        asked: bool = False,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Mark documents as a new category: no existing label fits them.

        They are not decided again until a person labels them, and calibration learns from them how
        items of new categories score. This opens a closed set; `reopened` in the result is then
        True.
        """
        return self._answer(EventKind.NEW_KIND, list(ids), field, asked, actor, op_id)

    @verb("label")
    def cannot_tell(
        self,
        ids: Iterable[str],
        *,
        field: str | None = None,
        asked: bool = False,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Record that a person cannot tell the label of documents; the queue skips them."""
        return self._answer(EventKind.CANNOT_TELL, list(ids), field, asked, actor, op_id)

    @verb("admin", client=False)
    @idempotent
    def import_labels(
        self,
        rows: Iterable[Mapping[str, Any]],
        *,
        field: str | None = None,
        label_column: str = "label",
        origin: Origin = Origin.IMPORT,
        trusted: bool = True,
        asked: bool = False,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Import labels from rows that name documents by `id`, `sha256` or `file_name`.

        `rows` are mappings, or a DataFrame of pandas or polars, a table of Arrow, or a
        `datasets.Dataset`.

        With `origin` human they count as the actor's own labels. Trusted labels become references;
        they never overwrite a person's. With `trusted=False`, and for rows whose `label_source` is
        `auto`, they are suggestions only. `refused` in the result gives the reason for each row
        that was not imported.

        With `asked` the rows are a check sheet that a person filled in: see `label`. Then a row
        without a label rejects the label in its column `shown`. A row is refused if its document
        got another answer or other content since the sheet was written.
        """
        if asked and origin is not Origin.HUMAN:
            raise BadInput("asked=True marks a person's answers: give origin='human' as well")
        given = list(frame_rows(rows) if is_frame(rows) else rows)
        request = (field, label_column, origin, trusted, given, *([asked] if asked else []))
        with self._operate("import", actor, op_id, *request) as running:
            chosen = self._field(running.txn, field)
            statements, refused = imported_statements(
                running.txn,
                self._row.pk,
                chosen,
                given,
                label_column=label_column,
                origin=origin,
                trusted=trusted,
                asked=asked,
                actor=running.actor,
            )
            running.by_person = len(statements)
            running.refused |= refused
            self._runtime.operations.append(running, chosen.pk, statements)
        return running.changed()

    # --- decide ---------------------------------------------------------------------------------

    @verb("admin", client=False)
    @idempotent
    def run(
        self,
        *,
        field: str | None = None,
        confidence_threshold: float | None = None,
        target_precision: float | None = None,
        targets: Mapping[str, float] | None = None,
        hierarchical: bool | None = None,
        closed_set: bool | None = None,
        labels: Labels | None = None,
        version: str | None = None,
        engine: str = "threads",
        address: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Decide all documents again, with another policy if one is given; keep people's labels.

        `confidence_threshold` sets the policy `threshold`, `target_precision` the policy
        `precision`, until undone; `targets` are target precisions of single labels (`{}` removes
        them), and `hierarchical` lets the field fall back to parents. `labels` (names, or a mapping
        name → description) declares labels; `closed_set` allows only those that exist. Raises
        BadInput if documents have other labels or are marked as a new category. `version` takes the
        policy of an earlier point, as in `as_of`, with the current references. With `engine="ray"`
        the cluster at `address` extracts the waiting objects and searches the neighbours.
        """
        policy = (confidence_threshold, target_precision, targets, hierarchical)
        label_set = LabelSet.of(labels, closed_set)
        if version is not None and (policy != (None, None, None, None) or label_set.is_given):
            raise BadInput("a version has its own policy: give either a version or a policy")
        arguments = [field, *policy, *filter(None, [version, label_set.run_values()])]
        past = None if version is None else self._taxonomy_at(field, version)
        with engine_at(engine, address) as chosen_engine:
            if chosen_engine is not None:
                extract_to_the_end(self._runtime, self._row, Tally(), quiet, chosen_engine)
            find = None if chosen_engine is None else chosen_engine.neighbour_lists
            with self._operate("run", actor, op_id, *arguments) as running:
                chosen, operations = self._field(running.txn, field), self._runtime.operations
                now = chosen.taxonomy
                own = rule_of(now, *policy, label_set.closed)
                after = own if past is None else with_policy_of(now, past)
                declared_labels.apply_taxonomy(operations, running, chosen, after, label_set, find)
        return running.changed()

    @verb("label")
    @idempotent
    def undo(self, operation: str, *, actor: str = "", op_id: str = "") -> Changed:
        """Undo an operation, with all automatic labels that depend on it."""
        with self._operate("undo", actor, op_id, operation) as running:
            sync = Sync(self._runtime.operations, running)
            sync.restore(self._runtime.operations.undo(running, operation))
            sync.append()
        return running.changed()

    @verb("admin")
    def forget(
        self,
        ids: Iterable[str] | None = None,
        *,
        label: str | None = None,
        only_parts: bool = False,
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> forget.Receipt:
        """Erase documents with their objects, vectors, labels, copies and thumbnails, for good.

        The user's own files stay. Documents that depended on the erased labels are decided again.
        With `only_parts` an object stays that has other parts, such as a photo with other faces;
        extracting the same content later does not recreate the erased parts. `label` instead of
        `ids` erases in this way every document with the label, whoever gave it, and the rejections
        of the label.
        """
        if (ids is None) == (label is None):
            raise BadInput("give the documents to forget: either ids or label=…")
        named = None if ids is None else list(ids)
        by_ids = label is None and not only_parts
        arguments = [named] if by_ids else [named, label, only_parts, field]
        try:
            with self._operate("forget", actor, op_id, *arguments) as running:
                pks = self._forgettable(running.txn, named, label, field)
                if only_parts or label is not None:
                    forget.forget_parts(self._runtime, running, pks)
                else:
                    forget.forget(self._runtime, running, pks)
                if label is not None:
                    chosen = self._field(running.txn, field)
                    forget.forget_label(running.txn, self._row.pk, chosen.pk, label)
        except Replayed as done:
            return forget.receipt_again(done)
        return forget.receipt_of(self._runtime, running)

    @idempotent
    def _answer(
        self,
        kind: EventKind,
        ids: Sequence[str],
        field: str | None,
        asked: bool,
        actor: str,
        op_id: str,
    ) -> Changed:
        with self._operate(kind.value, actor, op_id, field, ids) as running:
            chosen = self._field(running.txn, field)
            pks = self._pks(running.txn, ids)
            answers = [LabelStatement(pk, kind, None, Origin.HUMAN, asked) for pk in pks.values()]
            running.by_person = len(answers)
            self._runtime.operations.append(running, chosen.pk, answers)
        return running.changed()

    def _forgettable(
        self,
        snapshot: Snapshot,
        ids: Sequence[str] | None,
        label: str | None,
        field: str | None,
    ) -> list[int]:
        """Return the pks of documents with these ids, or with a label. Raises NotFound."""
        if ids is not None:
            return list(self._pks(snapshot, ids).values())
        chosen = self._field(snapshot, field)
        query = self._document_query(snapshot, chosen, label, ANY, None, None)
        if pks := [row.pk for row in snapshot.rows(query)]:
            return pks
        raise NotFound(f"no document of {self.name!r} has the label {label!r}")
