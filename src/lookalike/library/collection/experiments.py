"""The verbs of experiments: compare a candidate policy with the current one before adopting it.

The public names call an experiment a trial, and the candidate a challenger.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial

import numpy as np
from sqlalchemy import select

from lookalike.catalog.idempotency import Replayed, idempotent
from lookalike.catalog.reader import FieldRow
from lookalike.catalog.resources import collection_row, resource
from lookalike.catalog.tasks import TaskKind, has_died, time_of
from lookalike.decisions.operations import Running
from lookalike.errors import BadInput, Conflict, LookalikeError
from lookalike.extractors.registry import extractor_name
from lookalike.library.collection.base import CollectionBase
from lookalike.library.migration import migrated
from lookalike.library.verb import verb
from lookalike.model import Changed, Status, quiet
from lookalike.quality import thresholds, trials
from lookalike.quality.challenger import (
    PairedDecisions,
    check_references,
    decide_by_both,
    known_answers,
    rule_with,
    spaces_for,
)
from lookalike.quality.stats.paired_comparison import (
    Challenger,
    Trial,
    answers,
    check_challenger,
    check_wrong_costs,
)
from lookalike.quality.thresholds import Flips
from lookalike.quality.trials import ADOPTED, DROPPED, OPEN, TrialRow, open_row, row_of, rows
from lookalike.stores import schema
from lookalike.stores.base import Snapshot

# --- running migrations and re-decisions ---------------------------------------------------------


def check_not_running(snapshot: Snapshot, field: FieldRow, local_s: float) -> None:
    """Raise Conflict while a migration or re-decision of a field's collections is running.

    `local_s` is the time on this machine.
    """
    table, now = schema.field, time_of(snapshot, local_s)
    fields = table.c.pk.in_([field.pk, field.reference_field_pk])
    rows = snapshot.rows(select(table.c.collection_pk).where(fields).distinct())
    for collection_pk in sorted(row.collection_pk for row in rows):
        name = collection_row(snapshot, collection_pk).name
        if _is_preparing(snapshot, collection_pk, now) or _waits(snapshot, collection_pk, name):
            raise Conflict(
                f"a migration or re-decision of {name!r} is running: wait until it has ended"
            )


def _is_preparing(snapshot: Snapshot, collection_pk: int, now: float) -> bool:
    """Return whether a process extracts into another space, to prepare a migration."""
    table = schema.space
    query = select(table.c.owner).where(
        table.c.collection_pk == collection_pk,
        table.c.owner.is_not(None),
        table.c.owner != "",
        table.c.expires_at > now,
    )
    return any(not has_died(row.owner) for row in snapshot.rows(query))


def _waits(snapshot: Snapshot, collection_pk: int, name: str) -> bool:
    """Return whether a task waits or runs that decides a collection again."""
    table = schema.task
    kinds = (TaskKind.DECIDE, TaskKind.MIGRATE)
    query = select(table.c.spec).where(
        table.c.kind.in_(kinds), table.c.status.in_((Status.PENDING, Status.PROCESSING))
    )
    return any(
        row.spec.get("collection_pk") == collection_pk or name in row.spec.get("collections", ())
        for row in snapshot.rows(query)
    )


# -------------------------------------------------------------------------------------------------

_DRAWN_AT_ONCE = 50


class ExperimentVerbs(CollectionBase):
    """Compare candidate policies, thresholds and extractors with the current policy."""

    @verb("label")
    def try_policy(
        self,
        *,
        confidence_threshold: float | None = None,
        target_precision: float | None = None,
        targets: Mapping[str, float] | None = None,
        top_k: int | None = None,
        extractor: str | None = None,
        references: str | None = None,
        wrong_costs: float = 20,
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Trial:
        """Begin an experiment: compare a candidate policy with the current one; it labels nothing.

        It replays the candidate on the answers to random samples, and decides all other documents
        in the background, also new ones; answers to the `waiting` documents show which policy is
        better. A wrong label costs as much as `wrong_costs` reviews. `extractor` must have been
        prepared by `prepare_migration`. `references`, an operation, limits the references to those
        that nobody has labelled or answered since.

        Raises Conflict if an experiment is open, BadInput for the current policy and impossible
        values, NotFound for an unknown operation.
        """
        named = None if extractor is None else extractor_name(extractor)
        rule = check_challenger(
            Challenger(confidence_threshold, target_precision, targets, top_k, named, references)
        )
        if named is not None and (target_precision, targets, top_k) != (None, None, None):
            raise BadInput("with extractor=… give no other value than its confidence_threshold")
        cost = check_wrong_costs(wrong_costs)
        with self._runtime.store.read() as snapshot:
            chosen = self._field(snapshot, field)
            _check(snapshot, chosen, rule)
        try:
            with self._operate("trial", actor, op_id, field, rule, cost) as running:
                chosen, name = self._field(running.txn, field), running.id
                _check(running.txn, chosen, rule)
                trials.begin(running, self._row, chosen, rule, cost)
        except Replayed as done:
            return self.trial(done.changed.operation)
        self.disagreements(name, limit=_DRAWN_AT_ONCE, actor=actor)
        return self.trial(name)

    @verb("read")
    def trials(self, *, field: str | None = None) -> list[Trial]:
        """Return the experiments of a field with their results so far, newest first."""
        with self._runtime.store.read() as snapshot:
            chosen = self._field(snapshot, field)
            return [self._trial(snapshot, one) for one in rows(snapshot, self._row, chosen.pk)]

    @verb("read")
    def trial(self, trial: str) -> Trial:
        """Return an experiment by its id, with its result so far. Raises NotFound."""
        with self._runtime.store.read() as snapshot:
            return self._trial(snapshot, row_of(snapshot, self._row, trial))

    @verb("label", paged=True)
    def disagreements(self, trial: str, *, limit: int = 20, actor: str = "") -> list[str]:
        """Return the next documents of an experiment to answer; sample more if fewer wait.

        They are a random sample of the documents, also new ones, that the two policies decide
        differently. Raises NotFound, and Conflict for an experiment that has ended or cannot
        continue.
        """
        with self._runtime.store.read() as snapshot:
            row = open_row(snapshot, self._row, trial)
            waiting = list(self._trial(snapshot, row).waiting)
            if len(waiting) >= limit:
                return waiting[:limit]
            paired = self._paired(snapshot, row)
            if not trials.drawable(snapshot, row, paired):
                return waiting
        with self._operate("trial_draw", actor) as running:
            row = open_row(running.txn, self._row, trial)
            trials.draw(running, row, paired, limit - len(waiting))
        return list(self.trial(trial).waiting)[:limit]

    @verb("label")
    def answer_trial(
        self,
        trial: str,
        labels: Mapping[str, str] | None = None,
        *,
        new_kind: Iterable[str] = (),
        cannot_tell: Iterable[str] = (),
        actor: str = "",
        op_id: str = "",
    ) -> Trial:
        """Answer waiting documents of an experiment: id → the correct label.

        `new_kind` are documents of a new category, `cannot_tell` those a person cannot judge. It
        records all answers or none. Answers count in the order of `waiting`: a skipped document
        delays those after it. Raises Conflict for a document answered before or an experiment that
        has ended, NotFound, BadInput.
        """
        given = answers(labels, new_kind, cannot_tell)
        with (
            suppress(Replayed),
            self._operate("trial_answer", actor, op_id, trial, given) as running,
        ):
            trials.answer(running, self._row, trial, given)
        return self.trial(trial)

    @verb("admin")
    @idempotent
    def adopt_trial(
        self, trial: str, *, keep: bool = True, actor: str = "", op_id: str = ""
    ) -> Changed:
        """Adopt the candidate policy: end the experiment and decide all documents with it.

        With `keep` its answers become the person's labels. Undo restores the old policy; for
        another extractor, migrate back. Raises Conflict if the policy changed since, the experiment
        has ended, or a migration or re-decision is running.
        """
        with self._runtime.store.read() as snapshot:
            row = row_of(snapshot, self._row, trial)
            chosen = self._field(snapshot, row.field)
            result = self._trial(snapshot, row)
        if row.rule.extractor is not None and row.state == OPEN:
            return self._migrate(row, result, keep, actor, op_id)
        with self._operate("trial_adopt", actor, op_id, trial, keep) as running:
            self._end(running, trial, ADOPTED, result, keep)
            chosen = self._field(running.txn, row.field)
            trials.adopt(self._runtime.operations, running, row, chosen)
        return running.changed()

    @verb("label")
    @idempotent
    def drop_trial(
        self, trial: str, *, keep: bool = True, actor: str = "", op_id: str = ""
    ) -> Changed:
        """End an experiment and keep the current policy; with `keep` its answers become labels.

        Raises Conflict if it has ended, NotFound.
        """
        with self._runtime.store.read() as snapshot:
            result = self._trial(snapshot, row_of(snapshot, self._row, trial))
        with self._operate("trial_drop", actor, op_id, trial, keep) as running:
            self._end(running, trial, DROPPED, result, keep)
        return running.changed()

    @verb("read", paged=True)
    def flips(
        self,
        *,
        at: float | None = None,
        target_precision: float | None = None,
        limit: int = 20,
        offset: int = 0,
        field: str | None = None,
    ) -> Flips:
        """Return the documents whose label would change at a threshold `at` or `target_precision`.

        `limit` and `offset` select the documents shown. It changes nothing. Raises BadInput unless
        exactly one of both is given, Conflict for a target under the policy `threshold`.
        """
        with self._runtime.store.read() as snapshot:
            return thresholds.flips(
                snapshot,
                self.name,
                self._field(snapshot, field),
                at=at,
                target_precision=target_precision,
                limit=limit,
                offset=offset,
            )

    # --- helpers --------------------------------------------------------------------------------

    def _trial(self, snapshot: Snapshot, row: TrialRow) -> Trial:
        """Return an experiment; one that cannot continue has the reason."""
        paired, problem = None, ""
        if row.state == OPEN:
            try:
                paired = self._paired(snapshot, row)
            except LookalikeError as error:
                problem = str(error)
        return trials.trial_of(snapshot, self._row, row, paired, problem)

    def _paired(self, snapshot: Snapshot, row: TrialRow) -> PairedDecisions:
        field = self._field(snapshot, row.field)
        trials.check_unchanged(row, field)
        answered = np.array(list(known_answers(snapshot, field.pk)), np.int64)
        cache, name = self._runtime.root / "cache", f"trial{row.pk}"
        return decide_by_both(snapshot, field, row.rule, answered, cache, name)

    def _end(self, running: Running, trial: str, state: str, result: Trial, keep: bool) -> None:
        row = open_row(running.txn, self._row, trial)
        if state == ADOPTED:
            field = self._field(running.txn, row.field)
            trials.check_unchanged(row, field)
            check_not_running(running.txn, field, running.at)
        trials.end(self._runtime.operations, running, row, state, result, keep=keep)

    def _migrate(self, row: TrialRow, result: Trial, keep: bool, actor: str, op_id: str) -> Changed:
        """Adopt another extractor: migrate the collection and that of its references to it."""
        extractor, runtime = str(row.rule.extractor), self._runtime
        with runtime.store.read() as snapshot:
            field = self._field(snapshot, row.field)
            spaces = spaces_for(snapshot, field, extractor)
            names = [collection_row(snapshot, pk).name for pk in spaces]
            namespace = str(resource(snapshot, self._row.pk).namespace)
            check_not_running(snapshot, field, runtime.clock())
        end = partial(self._end, trial=row.id, state=ADOPTED, result=result, keep=keep)
        return migrated(
            runtime.for_actor(actor or runtime.actor),
            namespace,
            names,
            extractor,
            None,
            row.rule.confidence_threshold,
            quiet,
            op_id,
            also=end,
        )


def _check(snapshot: Snapshot, field: FieldRow, rule: Challenger) -> None:
    """Raise BadInput, Conflict or NotFound if a field cannot have this candidate."""
    rule_with(field.taxonomy, rule)
    if rule.extractor is not None:
        spaces_for(snapshot, field, rule.extractor)
    if rule.references is not None:
        check_references(snapshot, field, rule.references)
