"""The verbs: what a person does with a collection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lookalike.catalog.idempotency import Replayed, idempotent
from lookalike.catalog.reader import fields_of
from lookalike.catalog.taxonomies import rule_of, with_policy_of
from lookalike.catalog.vocabulary import Labels, LabelSet
from lookalike.content.frames import frame_rows, is_frame
from lookalike.content.sources import items, json_values
from lookalike.decisions.operations import LabelStatement
from lookalike.errors import BadInput, NotFound
from lookalike.ingest.items import Tally
from lookalike.ingest.ray.jobs import engine_at
from lookalike.labels import check_label
from lookalike.library import declared_labels, forget
from lookalike.library.collection import labels as answering
from lookalike.library.collection import labels as importing
from lookalike.library.collection.experiments import Trying
from lookalike.library.collection.history import Travelling
from lookalike.library.collection.items import (
    add_vectors,
    extract_free,
    extract_to_the_end,
    register,
)
from lookalike.library.collection.label_tree import Shaping
from lookalike.library.collection.promotion import Promoting
from lookalike.library.collection.quality import Trusting
from lookalike.library.collection.read import Telling
from lookalike.library.metadata import Sync, redrawn
from lookalike.library.verb import verb
from lookalike.model import ANY, Added, Changed, EventKind, Origin, Progress, quiet
from lookalike.stores.base import Snapshot


class Collection(Promoting, Shaping, Travelling, Trying, Trusting, Telling):
    """One collection of a store. `lookalike.open(…).labeler(…)` gives one."""

    # --- bring in -------------------------------------------------------------------------------

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
        """Bring items in: extract them and decide them. What is here already stays as it is.

        `source` is a folder, a file, a URL, bytes, a picture, an array, a row, a DataFrame or a
        list of these. `vectors` (n, d) brings vectors instead, for a `passthrough` collection.
        `ids` become the documents' ids; `metadata` is one mapping for all, or one each. `copy`
        keeps the bytes in the store instead of a reference. `progress(done, total)` is called as
        objects are finished. Interrupted, the same call resumes. What other processes are at is
        waited for: at the end all of it is there. `engine` says who extracts, as in `extract`.

        Raises BadInput for a source with nothing in it; one bad object only fails itself.
        """
        tally = Tally()
        if vectors is not None:
            add_vectors(self._runtime, self._row, vectors, ids, metadata, tally, progress)
        else:
            if source is None:
                raise BadInput("nothing to add: give a source, or vectors=…")
            stream = items(source, ids=ids, metadata=metadata)
            register(self._runtime, self._row, stream, tally, copy=copy)
            with engine_at(engine, address) as there:
                extract_to_the_end(self._runtime, self._row, tally, progress, there)
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
        """Extract what waits in this collection, also what an interrupted run left.

        With the `engine` "ray" a Ray cluster extracts: the one at `address`, or that Ray finds.
        """
        with engine_at(engine, address) as there:
            extract_free(self._runtime, self._row, tally or Tally(), progress, there)

    # --- say ------------------------------------------------------------------------------------

    @verb("label")
    @idempotent
    def label(
        self,
        labels: Mapping[str, str | None],
        *,
        field: str | None = None,
        asked: bool = False,
        new_labels: bool = False,
        actor: str = "",
        op_id: str = "",
        revisions: Mapping[str, int] | None = None,
    ) -> Changed:
        """Label documents, as a person: id → label. None takes back what the person said.

        All decisions that this changes are made in the same transaction; the answer tells them.
        An operation that was given an `op_id` is done once, however often it is asked for. Raises
        Stale where another person said something else of a document since the revision that
        `revisions` gives, by id; what the machine decided since then does not matter.
        `asked` tells that the queue had asked: what a clever queue chose is no random sample, so
        such labels vote, but only a whole check tells from them how sure to be. Another name of a
        label means that label, as `renamed` tells. Raises BadInput for one that is retired, and for
        one that is not in a closed set, unless `new_labels` adds it.
        """
        checked = {
            id: None if label is None else check_label(label) for id, label in labels.items()
        }
        asks = (checked, *([True] if new_labels else []))
        with self._operate("label", actor, op_id, field, *asks) as running:
            chosen = self._field(running.txn, field)
            pks = self._pks(running.txn, list(checked))
            answering.check_fresh(
                running.txn, pks, revisions or {}, {chosen.pk: checked}, running.actor
            )
            if new_labels:
                declared_labels.add_new(self._runtime.operations, running, chosen, checked.values())
            said = answering.labelled(
                running.txn, chosen.pk, pks, checked, asked=asked, actor=running.actor
            )
            running.by_person = len(said)
            self._runtime.operations.append(running, chosen.pk, said)
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
        """Change metadata of documents, by id; a label field's value is a person's label, or None.

        A label stays with the document; what else is said of a whole item is said of its object.
        None takes back what was said, and refuses what the machine says. Raises Stale for a
        document that changed since the revision that `revisions` gives, by id; for a label only
        where another person said something else since then.
        """
        checked = {id: json_values(one) for id, one in changes.items()}
        with self._operate("label", actor, op_id, checked) as running:
            pks = self._pks(running.txn, list(checked))
            fields = {one.name: one.pk for one in fields_of(running.txn, self._row.pk)}
            answering.check_amendable(
                running.txn, fields, pks, checked, revisions or {}, running.actor
            )
            sync = Sync(self._runtime.operations, running)
            sync.documents(self._row, {pks[id]: one for id, one in checked.items()})
            sync.say()
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
        """Draw, move or take away regions of objects, by the object's id and the region's.

        A box is [left, top, width, height] in pixels of the upright picture; None takes a region
        away, with its document and label. The other regions stay as they are, labels too; what the
        detector had proposed becomes the person's own. Raises BadInput for a box that is none, or a
        collection without regions; NotFound.
        """
        with self._operate("draw", actor, op_id, regions) as running:
            sync = Sync(self._runtime.operations, running)
            sync.objects(redrawn(running.txn, self._row, regions))
            sync.say()
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
        """Say "not this": id → label, or None for the label in force or, without one, suggested.

        It is remembered: no later run proposes that label for that document again.
        """
        with self._operate("reject", actor, op_id, field, rejections) as running:
            chosen = self._field(running.txn, field)
            pks = self._pks(running.txn, list(rejections))
            shown = {one.id: one for one in self._by_pk(running.txn, pks.values(), chosen)}
            said = answering.rejected(pks, shown, rejections)
            running.by_person = len(said)
            self._runtime.operations.append(running, chosen.pk, said)
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
        """Say that documents belong to none of the labels there are.

        They are not decided any more, until they are labelled, and teach what new things look like.
        A closed set is open from then on, as `reopened` tells.
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
        """Say that a person cannot tell what documents are: the queue asks no more about them."""
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
        """Take labels from rows that name documents by `id`, `sha256` or `file_name`.

        `rows` are mappings, or a DataFrame of pandas or polars, a table of Arrow, or a
        `datasets.Dataset`.

        With `origin` human they count as said by the person. Trusted labels vote; they never
        overwrite a person's. With `trusted` off, and for rows whose `label_source` is `auto`, they
        are suggestions only. `refused` in the answer says which rows were not taken, and why.

        `asked` tells that the rows are a check sheet given back by a person: see `label`. Then a
        row without a label says that the label in its column `shown` is wrong, and a row is not
        taken whose document was answered otherwise, or has another content, since it was shown.
        """
        if asked and origin is not Origin.HUMAN:
            raise BadInput("only a person answers what was asked: say origin='human', too")
        given = list(frame_rows(rows) if is_frame(rows) else rows)
        request = (field, label_column, origin, trusted, given, *([asked] if asked else []))
        with self._operate("import", actor, op_id, *request) as running:
            chosen = self._field(running.txn, field)
            said, refused = importing.read_labels(
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
            running.by_person = len(said)
            running.refused |= refused
            self._runtime.operations.append(running, chosen.pk, said)
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
        """Decide everything again; change nothing that a person said.

        With `confidence_threshold` (the policy `threshold`) or `target_precision` (the policy
        `precision`; `targets` are those of labels that need another one, `{}` takes them back) the
        field is decided by that from now on, or by parents, too, if `hierarchical`, until undone.
        `labels` (names, or each with its description) are there from now on; with `closed_set` the
        labels are all there can be. Raises BadInput where others, or new kinds, are there.
        `version` names a point, as in `as_of`, whose policy it shall be, with today's references.
        With the `engine` "ray" the cluster at `address` extracts what waits, and then compares.
        """
        policy = (confidence_threshold, target_precision, targets, hierarchical)
        said = LabelSet.of(labels, closed_set)
        if version is not None and (policy != (None, None, None, None) or said.is_given):
            raise BadInput("a version has its policy: give either a version or a policy")
        asked = [field, *policy, *filter(None, [version, said.run_values()])]
        then = None if version is None else self._rule_at(field, version)
        with engine_at(engine, address) as there:
            if there is not None:
                extract_to_the_end(self._runtime, self._row, Tally(), quiet, there)
            find = None if there is None else there.neighbour_lists
            with self._operate("run", actor, op_id, *asked) as running:
                chosen, operations = self._field(running.txn, field), self._runtime.operations
                now = chosen.taxonomy
                own = rule_of(now, *policy, said.closed)
                after = own if then is None else with_policy_of(now, then)
                declared_labels.follow(operations, running, chosen, after, said, find)
        return running.changed()

    @verb("label")
    @idempotent
    def undo(self, operation: str, *, actor: str = "", op_id: str = "") -> Changed:
        """Take back an operation and everything that labelled itself because of it."""
        with self._operate("undo", actor, op_id, operation) as running:
            sync = Sync(self._runtime.operations, running)
            sync.restore(self._runtime.operations.undo(running, operation))
            sync.say()
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
            said = [LabelStatement(pk, kind, None, Origin.HUMAN, asked) for pk in pks.values()]
            running.by_person = len(said)
            self._runtime.operations.append(running, chosen.pk, said)
        return running.changed()

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
        if pks := [row.pk for row in snapshot.rows(query)]:
            return pks
        raise NotFound(f"no document of {self.name!r} has the label {label!r}")
