"""The verbs by which another rule is tried against the one in force."""

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

# --- what is under way in a field ----------------------------------------------------------------


def check_quiet(snapshot: Snapshot, field: FieldRow, here_s: float) -> None:
    """Raise Conflict where a migration or a re-decision of a field's collections is under way.

    `here_s` is the time on this machine.
    """
    table, now = schema.field, time_of(snapshot, here_s)
    fields = table.c.pk.in_([field.pk, field.reference_field_pk])
    rows = snapshot.rows(select(table.c.collection_pk).where(fields).distinct())
    for collection_pk in sorted(row.collection_pk for row in rows):
        name = collection_row(snapshot, collection_pk).name
        if _is_prepared(snapshot, collection_pk, now) or _waits(snapshot, collection_pk, name):
            raise Conflict(
                f"a migration or re-decision of {name!r} is under way: wait until it has ended"
            )


def _is_prepared(snapshot: Snapshot, collection_pk: int, now: float) -> bool:
    """Return whether somebody extracts into a space beside."""
    table = schema.space
    query = select(table.c.owner).where(
        table.c.collection_pk == collection_pk,
        table.c.owner.is_not(None),
        table.c.owner != "",
        table.c.expires_at > now,
    )
    return any(not has_died(row.owner) for row in snapshot.rows(query))


def _waits(snapshot: Snapshot, collection_pk: int, name: str) -> bool:
    """Return whether a task that was asked for will decide a collection again."""
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


class Trying(CollectionBase):
    """What a person does to find a better rule."""

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
        """Try another rule against the one in force; it labels nothing.

        It is replayed on the answers that chance had drawn, and decides all else in the background,
        new documents too; answers to what is `waiting` tell who is better. A wrong label costs as
        much as `wrong_costs` reviews. `extractor` is one that a migration has prepared; with
        `references` only those vote of which nobody has said anything after that operation.

        Raises Conflict where a trial is open, BadInput for the rule in force and impossible values,
        NotFound for an operation that is none.
        """
        named = None if extractor is None else extractor_name(extractor)
        rule = check_challenger(
            Challenger(confidence_threshold, target_precision, targets, top_k, named, references)
        )
        if named is not None and (target_precision, targets, top_k) != (None, None, None):
            raise BadInput("another extractor is tried alone, or with its confidence_threshold")
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
        """Return the trials of a field, the newest first, with what they tell so far."""
        with self._runtime.store.read() as snapshot:
            chosen = self._field(snapshot, field)
            return [self._told(snapshot, one) for one in rows(snapshot, self._row, chosen.pk)]

    @verb("read")
    def trial(self, trial: str) -> Trial:
        """Return a trial by its id, with what it tells so far. Raises NotFound."""
        with self._runtime.store.read() as snapshot:
            return self._told(snapshot, row_of(snapshot, self._row, trial))

    @verb("label", paged=True)
    def disagreements(self, trial: str, *, limit: int = 20, actor: str = "") -> list[str]:
        """Return the documents to ask about next in a trial; more are drawn where fewer wait.

        They are a random sample of those on which the two rules decide otherwise, new ones too.
        Raises NotFound, and Conflict for a trial that has ended or cannot go on.
        """
        with self._runtime.store.read() as snapshot:
            row = open_row(snapshot, self._row, trial)
            waiting = list(self._told(snapshot, row).waiting)
            if len(waiting) >= limit:
                return waiting[:limit]
            found = self._decisions_of_both(snapshot, row)
            if not trials.drawable(snapshot, row, found):
                return waiting
        with self._operate("trial_draw", actor) as running:
            row = open_row(running.txn, self._row, trial)
            trials.draw(running, row, found, limit - len(waiting))
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
        """Answer what is waiting in a trial: what documents are, id → label.

        Of some they are a `new_kind`, or one `cannot_tell`. All are recorded, or none. Answers
        count in the order of asking: one that is passed over holds up those after it. Raises
        Conflict for what was answered before and for a trial that has ended, NotFound, BadInput.
        """
        said = answers(labels, new_kind, cannot_tell)
        with (
            suppress(Replayed),
            self._operate("trial_answer", actor, op_id, trial, said) as running,
        ):
            trials.answer(running, self._row, trial, said)
        return self.trial(trial)

    @verb("admin")
    @idempotent
    def adopt_trial(
        self, trial: str, *, keep: bool = True, actor: str = "", op_id: str = ""
    ) -> Changed:
        """Let the challenger be the rule in force, decide all by it, and end the trial.

        With `keep` its answers become the person's labels. Undoing it brings the old rule back; of
        another extractor, migrating back does. Raises Conflict where the rule was changed since,
        where the trial has ended, or while a migration or re-decision is under way.
        """
        with self._runtime.store.read() as snapshot:
            row = row_of(snapshot, self._row, trial)
            chosen = self._field(snapshot, row.field)
            told = self._told(snapshot, row)
        if row.rule.extractor is not None and row.state == OPEN:
            return self._migrate(row, told, keep, actor, op_id)
        with self._operate("trial_adopt", actor, op_id, trial, keep) as running:
            self._end(running, trial, ADOPTED, told, keep)
            chosen = self._field(running.txn, row.field)
            trials.adopt(self._runtime.operations, running, row, chosen)
        return running.changed()

    @verb("label")
    @idempotent
    def drop_trial(
        self, trial: str, *, keep: bool = True, actor: str = "", op_id: str = ""
    ) -> Changed:
        """End a trial and leave the rule as it is; with `keep` its answers become labels.

        Raises Conflict where it has ended, NotFound.
        """
        with self._runtime.store.read() as snapshot:
            told = self._told(snapshot, row_of(snapshot, self._row, trial))
        with self._operate("trial_drop", actor, op_id, trial, keep) as running:
            self._end(running, trial, DROPPED, told, keep)
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
        """Return what would flip if the limit was `at`, or as a target precision makes it.

        `limit` and `offset` bound the documents that are shown. Nothing is changed. Raises BadInput
        unless one of both is given, Conflict for a target where similarities decide.
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

    # --- inside ---------------------------------------------------------------------------------

    def _told(self, snapshot: Snapshot, row: TrialRow) -> Trial:
        """Return a trial; one that cannot go on says why."""
        decisions, trouble = None, ""
        if row.state == OPEN:
            try:
                decisions = self._decisions_of_both(snapshot, row)
            except LookalikeError as error:
                trouble = str(error)
        return trials.trial_of(snapshot, self._row, row, decisions, trouble)

    def _decisions_of_both(self, snapshot: Snapshot, row: TrialRow) -> PairedDecisions:
        field = self._field(snapshot, row.field)
        trials.check_unchanged(row, field)
        answered = np.array(list(known_answers(snapshot, field.pk)), np.int64)
        cache, name = self._runtime.root / "cache", f"trial{row.pk}"
        return decide_by_both(snapshot, field, row.rule, answered, cache, name)

    def _end(self, running: Running, trial: str, state: str, told: Trial, keep: bool) -> None:
        row = open_row(running.txn, self._row, trial)
        if state == ADOPTED:
            field = self._field(running.txn, row.field)
            trials.check_unchanged(row, field)
            check_quiet(running.txn, field, running.at)
        trials.end(self._runtime.operations, running, row, state, told, keep=keep)

    def _migrate(self, row: TrialRow, told: Trial, keep: bool, actor: str, op_id: str) -> Changed:
        """Adopt another extractor: its space comes into force, for the references too."""
        extractor, runtime = str(row.rule.extractor), self._runtime
        with runtime.store.read() as snapshot:
            field = self._field(snapshot, row.field)
            spaces = spaces_for(snapshot, field, extractor)
            names = [collection_row(snapshot, pk).name for pk in spaces]
            namespace = str(resource(snapshot, self._row.pk).namespace)
            check_quiet(snapshot, field, runtime.clock())
        ended = partial(self._end, trial=row.id, state=ADOPTED, told=told, keep=keep)
        return migrated(
            runtime.speaking(actor or runtime.actor),
            namespace,
            names,
            extractor,
            None,
            row.rule.confidence_threshold,
            quiet,
            op_id,
            also=ended,
        )


def _check(snapshot: Snapshot, field: FieldRow, rule: Challenger) -> None:
    """Raise BadInput, Conflict or NotFound where a rule cannot be tried on a field."""
    rule_with(field.taxonomy, rule)
    if rule.extractor is not None:
        spaces_for(snapshot, field, rule.extractor)
    if rule.references is not None:
        check_references(snapshot, field, rule.references)
