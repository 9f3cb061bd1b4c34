"""The verbs: what a person does with a collection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Any

from sqlalchemy import Select, select

from lookalike import (
    agreeing,
    answering,
    audits,
    costing,
    diagnosing,
    explaining,
    forgetting,
    importing,
    inspecting,
    promotion,
    reporting,
    suggesting,
)
from lookalike.agreement import Agreement
from lookalike.alarms import Alarm, alarm_of, drop_alarm, set_alarm
from lookalike.asking import ask
from lookalike.auditing import Audit
from lookalike.bringing import add_vectors, register
from lookalike.costs import CostCurve
from lookalike.errors import BadInput, Conflict, NotFound
from lookalike.fields import taxonomy_to
from lookalike.findings import Checkup
from lookalike.ingest import (
    Progress,
    Tally,
    quiet,
)
from lookalike.inspecting import Inspection
from lookalike.labels import check_label
from lookalike.lookup import pks_of
from lookalike.metrics import Point, Report
from lookalike.model import (
    ANY,
    Added,
    Changed,
    Document,
    Event,
    EventKind,
    Operation,
    Opinion,
    Origin,
    Question,
    Reason,
    Suggestion,
)
from lookalike.monitoring import Monitoring, monitor
from lookalike.objects import waits_in
from lookalike.once import AlreadyDone, Request, once
from lookalike.operations import Running, Said
from lookalike.reading import FieldRow, Reader, document_query, fields_of, filtered
from lookalike.regions import redrawn
from lookalike.resources import CollectionRow
from lookalike.rules import rule_of
from lookalike.sources import items, json_values
from lookalike.spaces import in_force_now
from lookalike.stores import schema
from lookalike.stores.base import Snapshot
from lookalike.stores.selection import one_of
from lookalike.syncing import Sync
from lookalike.workshop import Workshop


class Collection:
    """One collection of a store. `lookalike.open(…).labeler(…)` gives one."""

    def __init__(self, workshop: Workshop, row: CollectionRow) -> None:
        self._workshop = workshop
        self._row = row

    @property
    def name(self) -> str:
        """Return the collection's name."""
        return self._row.name

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the names of the label fields, the first one first."""
        with self._workshop.store.read() as snapshot:
            return tuple(field.name for field in fields_of(snapshot, self._row.pk))

    @property
    def extractor(self) -> str:
        """Return the full name of what makes its documents."""
        return self._row.extractor

    def __repr__(self) -> str:
        return f"<Collection {self.name!r}>"

    def __len__(self) -> int:
        with self._workshop.store.read() as snapshot:
            return reporting.count_documents(snapshot, self._row.pk)

    # --- bring in -------------------------------------------------------------------------------

    def add(
        self,
        source: Any = None,
        *,
        vectors: Any = None,
        ids: Sequence[Any] | None = None,
        metadata: Any = None,
        copy: bool = False,
        progress: Progress = quiet,
    ) -> Added:
        """Bring items in: extract them and decide them. What is here already stays as it is.

        `source` is a folder, a file, a URL, bytes, a picture, an array, a row, a DataFrame or a
        list of these. `vectors` (n, d) brings vectors instead, for a `passthrough` collection.
        `ids` become the documents' ids; `metadata` is one mapping for all, or one each. `copy`
        keeps the bytes in the store instead of a reference. `progress(done, total)` is called as
        objects are finished. Interrupted, the same call resumes.

        Raises BadInput for a source with nothing in it; one bad object only fails itself.
        """
        tally = Tally()
        if vectors is not None:
            add_vectors(self._workshop, self._row, vectors, ids, metadata, tally, progress)
        else:
            if source is None:
                raise BadInput("nothing to add: give a source, or vectors=…")
            stream = items(source, ids=ids, metadata=metadata)
            register(self._workshop, self._row, stream, tally, copy=copy)
            self.extract(tally=tally, progress=progress)
        return Added(
            added=tally.added,
            changed=tally.changed,
            unchanged=tally.unchanged,
            documents=tally.documents,
            skipped=tuple(tally.skipped),
            failed=dict(tally.failed),
            labelled=dict(sorted(tally.labelled.items())),
        )

    def extract(self, *, tally: Tally | None = None, progress: Progress = quiet) -> None:
        """Extract what waits in this collection, also what an interrupted run left."""
        tally, is_done = tally or Tally(), False
        while not is_done:
            with self._workshop.store.read() as snapshot:
                if not waits_in(snapshot, self._row.pk):
                    return
            target = self._workshop.target(self._row)
            self._workshop.extraction().run(target, tally, self._workshop.actor, progress)
            with self._workshop.store.read() as snapshot:
                is_done = in_force_now(snapshot, target.space)  # or a migration came in between

    # --- say ------------------------------------------------------------------------------------

    @once
    def label(
        self,
        labels: Mapping[str, str | None],
        *,
        field: str | None = None,
        asked: bool = False,
        actor: str = "",
        op_id: str = "",
        revisions: Mapping[str, int] | None = None,
    ) -> Changed:
        """Label documents, as a person: id → label. None takes back what the person said.

        All decisions that this changes are made in the same transaction; the answer tells them.
        An operation that was given an `op_id` is done once, however often it is asked for. Raises
        Stale for a document that changed since the revision that `revisions` gives, by id.
        `asked` tells that the queue had asked: what a clever queue chose is no random sample, so
        such labels vote, but nothing is learned from them of how sure to be.
        """
        checked = {
            id: None if label is None else check_label(label) for id, label in labels.items()
        }
        with self._operate("label", actor, op_id, field, checked) as running:
            chosen = self._field(running.txn, field)
            pks = self._pks(running.txn, list(checked))
            answering.check_fresh(running.txn, [chosen.pk], pks, revisions or {})
            said = answering.labelled(
                running.txn, chosen.pk, pks, checked, asked=asked, actor=running.actor
            )
            running.by_person = len(said)
            self._workshop.operations.say(running, chosen.pk, said)
        return running.changed()

    @once
    def amend(
        self,
        changes: Mapping[str, Mapping[str, Any]],
        *,
        actor: str = "",
        op_id: str = "",
        revisions: Mapping[str, int] | None = None,
    ) -> Changed:
        """Change metadata of documents, by id; a label field's value is a person's label, or None.

        A label stays with the document; what else is said of a whole item is said of its object.
        None takes back what was said, and refuses what the machine says. Raises Stale for a
        document that changed since the revision that `revisions` gives, by id.
        """
        checked = {id: json_values(one) for id, one in changes.items()}
        with self._operate("label", actor, op_id, checked) as running:
            pks = self._pks(running.txn, list(checked))
            fields = [one.pk for one in fields_of(running.txn, self._row.pk)]
            answering.check_fresh(running.txn, fields, pks, revisions or {})
            sync = Sync(self._workshop.operations, running)
            sync.documents(self._row, {pks[id]: one for id, one in checked.items()})
            sync.say()
        return running.changed()

    @once
    def draw(
        self,
        regions: Mapping[str, Mapping[str, Sequence[float] | None]],
        *,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Draw, move or take away regions of objects, by the object's id and the region's.

        A box is [left, top, width, height] in pixels of the upright picture; None takes a region
        away, with its document and label. The other regions stay as they are, labels too; what the
        detector had proposed becomes the person's own. Raises BadInput for a box that is none, or a
        collection without regions; NotFound.
        """
        with self._operate("draw", actor, op_id, regions) as running:
            sync = Sync(self._workshop.operations, running)
            sync.objects(redrawn(running.txn, self._row, regions))
            sync.say()
        self.extract()
        return running.changed()

    @once
    def reject(
        self,
        rejections: Mapping[str, str | None],
        *,
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Say "not this": id → label, or None for the label in force or, without one, suggested.

        It is remembered: no later run proposes that label for that document again.
        """
        with self._operate("reject", actor, op_id, field, rejections) as running:
            chosen = self._field(running.txn, field)
            pks = self._pks(running.txn, list(rejections))
            shown = {one.id: one for one in self._by_pk(running.txn, pks.values(), chosen)}
            said = answering.rejected(pks, shown, rejections)
            running.by_person = len(said)
            self._workshop.operations.say(running, chosen.pk, said)
        return running.changed()

    def new_kind(
        self,
        ids: Iterable[str],
        *,
        field: str | None = None,
        asked: bool = False,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Say that documents belong to none of the labels there are.

        They are not decided any more, until they are labelled, and teach what new things look like.
        """
        return self._answer(EventKind.NEW_KIND, list(ids), field, asked, actor, op_id)

    def cannot_tell(
        self,
        ids: Iterable[str],
        *,
        field: str | None = None,
        asked: bool = False,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Say that a person cannot tell what documents are: the queue asks no more about them."""
        return self._answer(EventKind.CANNOT_TELL, list(ids), field, asked, actor, op_id)

    @once
    def import_labels(
        self,
        rows: Iterable[Mapping[str, Any]],
        *,
        field: str | None = None,
        label_column: str = "label",
        origin: Origin = Origin.IMPORT,
        trusted: bool = True,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Take labels from rows that name documents by `id`, `sha256` or `file_name`.

        With `origin` human they count as said by the person. Trusted labels vote; they never
        overwrite a person's. With `trusted` off, and for rows whose `label_source` is `auto`, they
        are suggestions only. `refused` in the answer says which rows were not taken, and why.
        """
        given = list(rows)
        asked = (field, label_column, origin, trusted, given)
        with self._operate("import", actor, op_id, *asked) as running:
            chosen = self._field(running.txn, field)
            said, refused = importing.read_labels(
                running.txn,
                self._row.pk,
                chosen,
                given,
                label_column=label_column,
                origin=origin,
                trusted=trusted,
                actor=running.actor,
            )
            running.by_person = len(said)
            running.refused |= refused
            self._workshop.operations.say(running, chosen.pk, said)
        return running.changed()

    @once
    def promote(
        self,
        ids: Iterable[str] | None = None,
        *,
        label: str | None = None,
        min_confidence: float | None = None,
        gated: bool = True,
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Let auto-labelled documents vote: those of `ids`, or those that the filters choose.

        Under `precision` a gate holds back what is not surer than labelling asks for, says nothing
        new, contradicts a reference, or would outnumber what people said. In separate mode they are
        copied into the curated collection. `refused` in the answer says which stayed out, and why.
        """
        if ids is None and label is None and min_confidence is None:
            raise BadInput("say what to promote: ids, label=… or min_confidence=…")
        named = None if ids is None else list(ids)
        asked_for = (field, named, label, min_confidence, gated)
        with self._operate("promote", actor, op_id, *asked_for) as running:
            chosen = self._field(running.txn, field)
            query = promotion.promotable(self._row.pk, chosen.pk, label, min_confidence)
            if named is not None:
                pks = self._pks(running.txn, named)
                query = query.where(one_of(schema.document.c.pk, pks.values()))
                running.refused |= promotion.not_automatic(running.txn, chosen.pk, pks)
            gated = gated and chosen.taxonomy.confidence_threshold is None
            promotion.promote(self._workshop, running, self._row, chosen, query, gated=gated)
        return running.changed()

    # --- decide ---------------------------------------------------------------------------------

    @once
    def run(
        self,
        *,
        field: str | None = None,
        confidence_threshold: float | None = None,
        target_precision: float | None = None,
        targets: Mapping[str, float] | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Decide everything again; change nothing that a person said.

        With `confidence_threshold` (the policy `threshold`) or `target_precision` (the policy
        `precision`; `targets` are those of labels that need another one, `{}` takes them back) the
        field is decided by that from now on; undoing the run brings the old one back.
        """
        asked = (field, confidence_threshold, target_precision, targets)
        with self._operate("run", actor, op_id, *asked) as running:
            chosen = self._field(running.txn, field)
            before = chosen.taxonomy
            after = rule_of(before, confidence_threshold, target_precision, targets)
            if after == before:
                self._workshop.operations.decide_all(running, chosen.pk)
            else:
                changed = (taxonomy_to(before), taxonomy_to(after))
                self._workshop.operations.configured(running, chosen.pk, *changed)
        return running.changed()

    @once
    def undo(self, operation: str, *, actor: str = "", op_id: str = "") -> Changed:
        """Take back an operation and everything that labelled itself because of it."""
        with self._operate("undo", actor, op_id, operation) as running:
            sync = Sync(self._workshop.operations, running)
            sync.restore(self._workshop.operations.undo(running, operation))
            sync.say()
        return running.changed()

    def forget(
        self,
        ids: Iterable[str] | None = None,
        *,
        label: str | None = None,
        only_parts: bool = False,
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> forgetting.Receipt:
        """Erase documents with their objects, vectors, labels, copies and thumbnails, for good.

        The user's own files stay. What their labels had caused is decided again. With `only_parts`
        an object of which something else is left stays, such as a photo with other faces; no later
        extraction of the same content brings back what was forgotten. `label` instead of `ids`
        forgets in this way all that has the label, whoever gave it, and who was said not to be it.
        """
        if (ids is None) == (label is None):
            raise BadInput("say what to forget: ids or label=…, and not both")
        named = None if ids is None else list(ids)
        asked = [named] if label is None and not only_parts else [named, label, only_parts, field]
        try:
            with self._operate("forget", actor, op_id, *asked) as running:
                pks = self._forgettable(running.txn, named, label, field)
                if only_parts or label is not None:
                    forgetting.forget_parts(self._workshop, running, pks)
                else:
                    forgetting.forget(self._workshop, running, pks)
                if label is not None:
                    chosen = self._field(running.txn, field)
                    forgetting.forget_label(running.txn, self._row.pk, chosen.pk, label)
        except AlreadyDone as done:
            return forgetting.receipt_again(done)
        return forgetting.receipt_of(self._workshop, running)

    # --- audit ----------------------------------------------------------------------------------

    def audit(
        self,
        size: int = 50,
        *,
        strata: int = 1,
        label: str | None = None,
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Audit:
        """Draw a frozen sample of automatic labels, or of those of one `label`, to be checked.

        More than one of the `strata` share it out by confidence: the estimate errs less, and its
        interval is wider. What is drawn votes only when the audit is closed. Raises Conflict where
        there is nothing to audit, BadInput for a size that cannot be drawn.
        """
        try:
            with self._operate("audit", actor, op_id, field, size, strata, label) as running:
                chosen, name = self._field(running.txn, field), running.id
                audits.draw(running, self._row, chosen, size=size, strata=strata, label=label)
        except AlreadyDone as done:
            name = done.changed.operation
        with self._workshop.store.read() as snapshot:
            return audits.found(snapshot, self._row, name)

    def audits(self, *, field: str | None = None) -> list[Audit]:
        """Return the audits of a field, the newest first, with what they tell so far."""
        with self._workshop.store.read() as snapshot:
            return audits.listed(snapshot, self._row, self._field(snapshot, field))

    def answer_audit(
        self,
        audit: str,
        labels: Mapping[str, str] | None = None,
        *,
        right: Iterable[str] = (),
        wrong: Iterable[str] = (),
        cannot_tell: Iterable[str] = (),
        actor: str = "",
        op_id: str = "",
    ) -> Audit:
        """Answer what is waiting in an audit, by its id: what documents are, id → label.

        Who has seen the label may say instead which are `right` or `wrong`; of some one
        `cannot_tell`. All are recorded, or none. Raises Conflict for what was answered before and
        for a closed audit, NotFound for what is not in it, BadInput.
        """
        said = audits.answers(labels, right, wrong, cannot_tell)
        with (
            suppress(AlreadyDone),
            self._operate("audit_answer", actor, op_id, audit, said) as running,
        ):
            audits.answer(running, self._row, audit, said)
        with self._workshop.store.read() as snapshot:
            return audits.found(snapshot, self._row, audit)

    @once
    def close_audit(
        self, audit: str, *, keep: bool = False, actor: str = "", op_id: str = ""
    ) -> Changed:
        """Close an audit. With `keep` its answers become the person's labels, and rejections.

        What a person has said of a document otherwise stands. Raises Conflict for a closed audit.
        """
        with self._operate("audit_close", actor, op_id, audit, keep) as running:
            audits.close(self._workshop.operations, running, self._row, audit, keep=keep)
        return running.changed()

    # --- look -----------------------------------------------------------------------------------

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
        with self._workshop.store.read() as snapshot:
            chosen = self._field(snapshot, field)
            target = self._workshop.target_in(snapshot, self._row)
        if ids is not None:
            return suggesting.suggest_for(self._workshop, self._row, chosen, ids, top_k=top_k)
        if vectors is not None:
            asked = suggesting.asked_vectors(target, vectors)
        else:
            content = source if text is None else {"text": text}
            asked = suggesting.asked_of(self._workshop, target, content)
        return suggesting.suggest(self._workshop, chosen, asked, top_k=top_k)

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
        needs that. Answer with `asked=True`. What people contradict each other on comes first. With
        a share as `second_opinion`, so much is asked of what others than the `actor` answered, with
        the label hidden. Raises BadInput for a share beyond 0 to 1.
        """
        if not 0 <= second_opinion <= 1:
            raise BadInput(f"second_opinion is {second_opinion}; say a share, from 0 to 1")
        with self._workshop.store.read() as snapshot:
            chosen = self._field(snapshot, field)
            if reporting.count_documents(snapshot, self._row.pk) == 0:
                return []
        actor, consulted = actor or self._workshop.actor, self._workshop.operations.deciders
        best = partial(ask, count=limit, actor=actor, second_opinion=second_opinion)
        with consulted.consulted(chosen.pk, best) as (snapshot, asked):
            chosen = self._field(snapshot, chosen.name)
            pks = [pk for one in asked for pk in one.pks]
            shown = {one.id: one for one in self._by_pk(snapshot, pks, chosen)}
            return agreeing.put(snapshot, chosen, asked, shown)

    def why(self, id: str, *, field: str | None = None) -> explaining.Why:
        """Return what caused a document's label or null, and what would be without the nearest."""
        with self._workshop.store.read() as snapshot:
            chosen = self._field(snapshot, field)

        def shown(snapshot: Snapshot) -> tuple[int, Document]:
            pk = self._pks(snapshot, [id])[id]
            return pk, next(self._by_pk(snapshot, [pk]))

        return explaining.why(self._workshop, chosen, shown)

    def inspect(self, *, field: str | None = None) -> Inspection:
        """Return what may be wrong with the references: wrong and contradictory labels, weak ones.

        Each label is tried by leaving its references out, one by one.
        """
        with self._workshop.store.read() as snapshot:
            chosen = self._field(snapshot, field)
        return inspecting.inspect(self._workshop, chosen)

    def diagnose(self, *, field: str | None = None) -> Checkup:
        """Return why too much has no label, labels are wrong, or nothing improves; what to do next.

        The findings that explain most come first; each names a command and a request.
        """
        with self._workshop.store.read() as snapshot:
            fields, chosen = fields_of(snapshot, self._row.pk), self._field(snapshot, field)
        first = chosen.pk == fields[0].pk
        return diagnosing.diagnose(self._workshop, self._row, chosen, first=first)

    def opinions(self, id: str, *, field: str | None = None) -> tuple[Opinion, ...]:
        """Return each person's latest answer about a document, the earliest first."""
        with self._workshop.store.read() as snapshot:
            pk = self._pks(snapshot, [id])[id]
            return agreeing.opinions_of(snapshot, self._field(snapshot, field), pk)

    def agreement(self, *, field: str | None = None, blind: bool = False) -> Agreement:
        """Return how far people agree on what several of them answered, by their latest answers.

        What was said of a contested document is left out: it was said in sight of the others' word.
        So are corrections with `blind`, for which alone the coefficients mean what they say. Raises
        Conflict where no two people answered the same document; MissingExtra.
        """
        with self._workshop.store.read() as snapshot:
            return agreeing.agree(snapshot, self.name, self._field(snapshot, field), blind=blind)

    def curve(self, *, field: str | None = None) -> list[Point]:
        """Return what other limits would give: coverage, and the precision to be expected.

        Under `precision` a document is counted by its probability of being right; under `threshold`
        nothing is known of that.
        """
        with self._workshop.store.read() as snapshot:
            return reporting.decided_curve(snapshot, self._field(snapshot, field))

    def cost(self, wrong_costs: float = 20, *, field: str | None = None) -> CostCurve:
        """Return what limits cost where a wrong label costs as much as `wrong_costs` reviews.

        Raises Conflict where nothing has a probability of being right, as under `threshold`.
        """
        with self._workshop.store.read() as snapshot:
            chosen = self._field(snapshot, field)
            return costing.cost_curve(snapshot, self.name, chosen, wrong_costs)

    def report(self, *, field: str | None = None) -> Report:
        """Return coverage, queue, counts per label and the confidence histogram."""
        with self._workshop.store.read() as snapshot:
            chosen = self._field(snapshot, field)
            return reporting.report(snapshot, self._row, chosen)

    def monitor(self, *, days: int = 30, field: str | None = None) -> Monitoring:
        """Return how a label field does: its report, its last days, the queue's forecast, precision
        by label, references that caused corrections, and its alarm.

        Raises BadInput unless `days` is 1 to 366.
        """
        with self._workshop.store.read() as snapshot:
            chosen = self._field(snapshot, field)
            return monitor(snapshot, self._row, chosen, self._workshop.clock(), days)

    def watch(
        self,
        *,
        coverage: tuple[float | None, float | None] | None = None,
        error_rate: tuple[float | None, float | None] | None = None,
        webhook: str = "",
        field: str | None = None,
        actor: str = "",
    ) -> Alarm:
        """Set the alarm of a field: what its coverage and error rate shall be, lowest and highest.

        The worker raises it when one leaves its band, clears it when all are back, and sends both
        to `webhook`, an http or https address, signed. Raises BadInput for an impossible band,
        BadSetting without a secret, FetchRefused for an address that must not be reached.
        """
        with self._workshop.store.write() as txn:
            chosen = self._field(txn, field)
            actor, now = actor or self._workshop.actor, self._workshop.clock()
            bands = {"coverage": coverage, "error_rate": error_rate}
            set_alarm(txn, self._workshop.settings, chosen.pk, bands, webhook, actor=actor, at=now)
            alarm = alarm_of(txn, chosen.pk, chosen.name)
        assert alarm is not None
        return alarm

    def unwatch(self, *, field: str | None = None) -> bool:
        """Take the alarm of a field away; return whether it had one."""
        with self._workshop.store.write() as txn:
            return drop_alarm(txn, self._field(txn, field).pk)

    def rows(self, *, field: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield what `export` writes, one mapping a document."""
        with self._workshop.store.read() as snapshot:
            chosen = self._field(snapshot, field).name
        for document in self.documents(field=field):
            yield reporting.export_row(document, chosen)

    def to_pandas(self, *, field: str | None = None) -> Any:
        """Return the exported rows as a DataFrame. Raises MissingExtra without pandas."""
        return reporting.data_frame(self.rows(field=field))

    def operations(self, *, limit: int = 100) -> list[Operation]:
        """Return the latest operations, the newest first."""
        with self._workshop.store.read() as snapshot:
            return reporting.operations(snapshot, self._row, limit)

    def history(self, id: str) -> list[Event]:
        """Return every event of a document, oldest first."""
        with self._workshop.store.read() as snapshot:
            pk = self._pks(snapshot, [id])[id]
            return reporting.events(snapshot, self._row, pk)

    # --- inside ---------------------------------------------------------------------------------

    @once
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
            said = [Said(pk, kind, None, Origin.HUMAN, asked) for pk in pks.values()]
            running.by_person = len(said)
            self._workshop.operations.say(running, chosen.pk, said)
        return running.changed()

    def _operate(
        self, kind: str, actor: str, op_id: str = "", *asked: Any
    ) -> AbstractContextManager[Running]:
        actor = actor or self._workshop.actor
        request = Request.of(op_id, self._row.pk, kind, *asked)
        return self._workshop.operations.operate(self._row.pk, kind, actor, request)

    def _field(self, snapshot: Snapshot, name: str | None) -> FieldRow:
        return self._fields_first(snapshot, name)[0]

    def _fields_first(self, snapshot: Snapshot, name: str | None) -> list[FieldRow]:
        """Return all fields, the one of that name first; None leaves the order as it is."""
        fields = fields_of(snapshot, self._row.pk)
        for field in fields:
            if name is None or field.name == name:
                return [field, *(other for other in fields if other is not field)]
        if name is None:
            raise Conflict(f"{self.name!r} has no label field yet; give it one with add_taxonomy")
        raise NotFound.named("label field", name, [field.name for field in fields])

    def _forgettable(
        self,
        snapshot: Snapshot,
        ids: Sequence[str] | None,
        label: str | None,
        field: str | None,
    ) -> list[int]:
        """Return the pks of documents by id, or of those that have a label. Raises NotFound."""
        if ids is not None:
            return list(self._pks(snapshot, ids).values())
        chosen = self._field(snapshot, field)
        query = self._chosen(snapshot, chosen, label, ANY, None, None)
        pks = [row.pk for row in snapshot.rows(query)]
        if not pks:
            raise NotFound(f"no document of {self.name!r} has the label {label!r}")
        return pks

    def _chosen(
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
        return Reader(snapshot, self._workshop.book, fields).documents(self.name, query)

    def _pks(self, snapshot: Snapshot, ids: Sequence[str]) -> dict[str, int]:
        return pks_of(snapshot, self._row, ids)


def _ordered(query: Select[Any], order_by: str, limit: int | None) -> Select[Any]:
    return query.order_by(*reporting.order(order_by), schema.document.c.pk).limit(limit)
