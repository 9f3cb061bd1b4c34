"""Trials (experiments) in the store: begin one, sample disagreements, record answers, end it.

A trial compares the current rule of a field (champion) with another one (challenger). A
disagreement keeps the labels that it had when it was sampled. Until a trial ends, its answers are
not labels, and its documents are not used as references.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import select, update

from lookalike.catalog.fields import taxonomy_from, taxonomy_to
from lookalike.catalog.label_names import current_name, naming_of
from lookalike.catalog.reader import FieldRow, ids_of, label_states, pks_of
from lookalike.catalog.resources import CollectionRow
from lookalike.catalog.vocabulary import check_not_outside
from lookalike.decisions.ledger.samples import under_audit
from lookalike.decisions.operations import LabelStatement, Operations, Running
from lookalike.errors import Conflict, NotFound
from lookalike.labels import path_of
from lookalike.model import EventKind, Origin
from lookalike.quality.challenger import (
    KnownAnswer,
    PairedDecisions,
    answers_of,
    known_answers,
    rule_with,
    sampled_share,
)
from lookalike.quality.stats.paired_comparison import (
    Answered,
    Challenger,
    Comparison,
    Crossing,
    Outcome,
    Side,
    Trial,
    TrialItem,
    answer_gains,
    better_of,
    compare,
    crossing,
    side,
)
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, one_of

# --- rows of trials and of their sampled disagreements -------------------------------------------

OPEN, ADOPTED, DROPPED, TAKEN_BACK = "open", "adopted", "dropped", "taken_back"


@dataclass(frozen=True, slots=True)
class TrialRow:
    """A trial as the store holds it."""

    pk: int
    id: str
    field_pk: int
    field: str
    operation_pk: int
    at: datetime
    actor: str
    rule: Challenger
    champion: Mapping[str, Any]
    wrong_costs: float
    state: str
    ended_at: datetime | None
    result: Mapping[str, Any] | None


def rows(snapshot: Snapshot, collection: CollectionRow, field_pk: int | None) -> list[TrialRow]:
    """Return the trials of a field, or of all, the newest first."""
    trial, operation, field = schema.trial, schema.operation, schema.field
    ended = operation.alias("ended")
    query = (
        select(trial, operation.c.id, operation.c.actor, operation.c.at, field.c.name)
        .add_columns(ended.c.at.label("ended_at"), ended.c.undone_by)
        .join(operation, operation.c.pk == trial.c.operation_pk)
        .join(field, field.c.pk == trial.c.field_pk)
        .outerjoin(ended, ended.c.pk == trial.c.ended_by)
        .where(trial.c.collection_pk == collection.pk)
        .order_by(trial.c.pk.desc())
    )
    if field_pk is not None:
        query = query.where(trial.c.field_pk == field_pk)
    return [
        TrialRow(
            pk=row.pk,
            id=row.id,
            field_pk=row.field_pk,
            field=row.name,
            operation_pk=row.operation_pk,
            at=datetime.fromtimestamp(row.at, UTC),
            actor=row.actor,
            rule=Challenger(**row.challenger),
            champion=row.champion,
            wrong_costs=row.wrong_costs,
            state=TAKEN_BACK if row.state == ADOPTED and row.undone_by else row.state,
            ended_at=None if row.ended_at is None else datetime.fromtimestamp(row.ended_at, UTC),
            result=row.result,
        )
        for row in snapshot.rows(query)
    ]


def row_of(snapshot: Snapshot, collection: CollectionRow, trial: str) -> TrialRow:
    """Return a trial by its id. Raises NotFound."""
    for one in rows(snapshot, collection, None):
        if one.id == trial:
            return one
    raise NotFound(
        f"{collection.name!r} has no trial {trial!r}; see `lookalike trial list {collection.name}`"
    )


def open_row(snapshot: Snapshot, collection: CollectionRow, trial: str) -> TrialRow:
    """Return a trial that is open. Raises NotFound, or Conflict where it has ended."""
    row = row_of(snapshot, collection, trial)
    if row.state != OPEN:
        raise Conflict(f"the trial {trial!r} has ended; begin a new one")
    return row


@dataclass(frozen=True, slots=True)
class ItemRow:
    """A row of `schema.trial_item`, a disagreement, with the current names of its labels."""

    pk: int
    document_pk: int
    champion: str | None
    challenger: str | None
    probability: float
    answer: str | None
    truth: str | None
    actor: str | None


def items_of(snapshot: Snapshot, trial_pk: int) -> list[ItemRow]:
    """Return the disagreements that a trial has sampled, first sampled first."""
    table, trial = schema.trial_item, schema.trial
    query = select(trial.c.field_pk, trial.c.operation_pk).where(trial.c.pk == trial_pk)
    (start,) = snapshot.rows(query)
    naming = naming_of(snapshot, start.field_pk)

    def now(label: str | None, document_pk: int) -> str | None:
        return None if label is None else naming.current(label, start.operation_pk, document_pk)

    rows = snapshot.rows(select(table).where(table.c.trial_pk == trial_pk).order_by(table.c.pk))
    return [
        ItemRow(
            pk=row.pk,
            document_pk=row.document_pk,
            champion=now(row.champion, row.document_pk),
            challenger=now(row.challenger, row.document_pk),
            probability=row.probability,
            answer=row.answer,
            truth=now(row.truth, row.document_pk),
            actor=row.actor,
        )
        for row in rows
    ]


# -------------------------------------------------------------------------------------------------


def begin(
    running: Running,
    collection: CollectionRow,
    field: FieldRow,
    rule: Challenger,
    wrong_costs: float,
) -> None:
    """Begin a trial of `rule` against the current one. Raises Conflict if one is open already."""
    open_ones = [one for one in rows(running.txn, collection, field.pk) if one.state == OPEN]
    if open_ones:
        raise Conflict(
            f"{field.name!r} has a trial already, {open_ones[0].id}: adopt it or drop it first"
        )
    running.txn.insert_one(
        schema.trial,
        collection_pk=collection.pk,
        field_pk=field.pk,
        operation_pk=running.pk,
        challenger=asdict(rule),
        champion=taxonomy_to(field.taxonomy),
        wrong_costs=wrong_costs,
        state=OPEN,
    )


def draw(running: Running, trial: TrialRow, decisions: PairedDecisions, count: int) -> None:
    """Sample up to `count` more of the documents on which the two rules disagree."""
    txn = running.txn
    items, free = items_of(txn, trial.pk), drawable(txn, trial, decisions)
    rng = np.random.default_rng([trial.pk, len(items)])
    chosen = rng.permutation(np.array(free, np.int64))[:count].tolist()
    places = np.searchsorted(decisions.pks, chosen)
    probability = (len(items) + len(chosen)) / max(len(items) + len(free), 1)
    txn.insert(
        schema.trial_item,
        [
            {
                "trial_pk": trial.pk,
                "document_pk": pk,
                "champion": decisions.name(int(decisions.champion[place])),
                "challenger": decisions.name(int(decisions.challenger[place])),
                "probability": probability,
            }
            for pk, place in zip(chosen, places.tolist(), strict=True)
        ],
    )
    running.details["drawn"] = len(chosen)


def drawable(snapshot: Snapshot, trial: TrialRow, decisions: PairedDecisions) -> list[int]:
    """Return the disagreements that may be sampled next: pks of documents, rising."""
    sampled = {item.document_pk for item in items_of(snapshot, trial.pk)}
    pool = decisions.pks[decisions.champion != decisions.challenger]
    pool = pool[~np.isin(pool, decisions.answered)]
    held_out = under_audit(snapshot, trial.field_pk, pool.tolist()) | sampled
    unanswered = _unanswered(snapshot, trial.field_pk, pool.tolist())
    return [pk for pk in unanswered if pk not in held_out]


def answer(
    running: Running,
    collection: CollectionRow,
    trial: str,
    given: Mapping[str, tuple[Outcome, str | None]],
) -> None:
    """Record answers, by document id: all or none.

    Raises Conflict for a trial that has ended and a document that was answered before, NotFound for
    an unknown trial and a document that is not sampled, BadInput for a label outside a closed set.
    """
    txn = running.txn
    row, pks = open_row(txn, collection, trial), pks_of(running.txn, collection, list(given))
    check_not_outside(txn, row.field_pk, [truth for _, truth in given.values()])
    items = {one.document_pk: one for one in items_of(txn, row.pk)}
    changes = []
    for id, (outcome, truth) in given.items():
        item = items.get(pks[id])
        if item is None:
            raise NotFound(f"{id!r} is not in the trial {trial!r}; answer the items waiting in it")
        if item.answer is not None:
            raise Conflict(
                f"{id!r} was answered in the trial {trial!r}: {item.truth or item.answer}; answers "
                "are final"
            )
        label = None
        if truth is not None:
            label = current_name(txn, row.field_pk, path_of(truth, str(row.champion["separator"])))
        changes.append({"pk": item.pk, "answer": outcome, "truth": label, "actor": running.actor})
    txn.update(schema.trial_item, changes)
    running.details["answered"] = len(changes)


def end(
    operations: Operations,
    running: Running,
    row: TrialRow,
    state: str,
    result: Trial,
    *,
    keep: bool,
) -> None:
    """End a trial, so that its documents may be references again; `keep` makes answers labels.

    These labels become references, but are left out of calibration, as the sample is not random. An
    answer that a person gave outside the trial stays.
    """
    txn, table = running.txn, schema.trial
    stored = {
        name: asdict(getattr(result, name))
        for name in ("comparison", "champion", "challenger", "crossing")
    }
    values = {"state": state, "ended_by": running.pk}
    values |= {"result": stored | {"replayed": result.replayed}}
    txn.execute(update(table).where(table.c.pk == row.pk).values(values))
    items = items_of(txn, row.pk)
    now = label_states(txn, row.field_pk, [one.document_pk for one in items])
    free = [one for one in items if now[one.document_pk].origin in (None, Origin.AUTO)]
    answered = set(answers_of(txn, row.field_pk, [one.document_pk for one in items]))
    statements = [
        LabelStatement(
            one.document_pk, _EVENTS[Outcome(one.answer)], one.truth, Origin.HUMAN, asked=True
        )
        for one in free
        if keep and one.answer is not None and one.document_pk not in answered
    ]
    running.by_person = len(statements)
    running.details["trial"] = row.id
    operations.append(running, row.field_pk, statements)
    by_others = {one.document_pk for one in items} - {one.document_pk for one in free}
    operations.fold_again(running, row.field_pk, sorted(by_others))


def adopt(operations: Operations, running: Running, row: TrialRow, field: FieldRow) -> None:
    """Make the challenger the rule of the field, and decide all documents by it."""
    after = taxonomy_to(rule_with(field.taxonomy, row.rule))
    operations.configure(running, field.pk, taxonomy_to(field.taxonomy), after)


def check_unchanged(row: TrialRow, field: FieldRow) -> None:
    """Raise Conflict where the field's rule has changed since the trial began."""
    if field.taxonomy != taxonomy_from(row.champion):
        raise Conflict(
            f"the rule of {field.name!r} was changed since the trial {row.id} began: drop the "
            "trial, and begin a new one against the current rule"
        )


def trial_of(
    snapshot: Snapshot,
    collection: CollectionRow,
    row: TrialRow,
    decisions: PairedDecisions | None,
    trouble: str = "",
) -> Trial:
    """Return a trial with its results; `decisions` are those of both rules now, if it is open."""
    items = items_of(snapshot, row.pk)
    pks = [one.document_pk for one in items]
    ids = ids_of(snapshot, pks)
    elsewhere = answers_of(snapshot, row.field_pk, pks) if row.state == OPEN else {}
    known = [_known(one, elsewhere) for one in items]
    return replace(
        _results(snapshot, row, items, known, decisions),
        collection=collection.name,
        waiting=tuple(
            ids[one.document_pk]
            for one, answer in zip(items, known, strict=True)
            if row.state == OPEN and answer is None
        ),
        answered=tuple(
            _trial_item(one, answer, ids, row.wrong_costs)
            for one, answer in zip(items, known, strict=True)
            if answer is not None
        ),
        trouble=trouble,
    )


# --- inside ---------------------------------------------------------------------------------------

_EVENTS = {
    Outcome.LABEL: EventKind.LABELLED,
    Outcome.NEW_KIND: EventKind.NEW_KIND,
    Outcome.CANNOT_TELL: EventKind.CANNOT_TELL,
}


def _unanswered(snapshot: Snapshot, field_pk: int, documents: Sequence[int]) -> list[int]:
    """Return those of the documents that nobody has answered, rising."""
    table = schema.standing
    query = select(table.c.document_pk).where(
        table.c.field_pk == field_pk,
        table.c.origin.is_(None) | (table.c.origin == Origin.AUTO),
        table.c.answer.is_(None),
        one_of(table.c.document_pk, documents),
    )
    return sorted(row.document_pk for row in snapshot.rows(query))


def _known(item: Any, elsewhere: Mapping[int, KnownAnswer]) -> KnownAnswer | None:
    """Return the answer to a disagreement, in the trial or outside it (`elsewhere`), if any."""
    if item.answer is not None:
        return KnownAnswer(Outcome(item.answer), item.truth)
    answer = elsewhere.get(item.document_pk)
    return answer if answer is not None and answer.outcome is not None else None


def _results(
    snapshot: Snapshot,
    row: TrialRow,
    items: Sequence[Any],
    known: Sequence[KnownAnswer | None],
    decisions: PairedDecisions | None,
) -> Trial:
    """Return a trial with its statistics; if it has ended, those that were stored at its end."""
    trial = _without_results(row)
    if row.result is not None:
        return replace(
            trial,
            comparison=Comparison(**row.result["comparison"]),
            champion=Side(**row.result["champion"]),
            challenger=Side(**row.result["challenger"]),
            crossing=Crossing(**row.result["crossing"]),
            replayed=row.result["replayed"],
        )
    sampled = _in_order(snapshot, row, items, known)
    if decisions is None:
        gains = answer_gains(sampled, row.wrong_costs)
        return replace(trial, comparison=compare(gains, Crossing(), row.wrong_costs))
    crossed = crossing(decisions.champion, decisions.challenger)
    earlier = _replayed(snapshot, row, decisions, {one.document_pk for one in items})
    last = items[-1].probability if items else 0.0
    weighted = [replace(one, q=1 - (1 - one.q) * (1 - last)) for one in earlier]
    gains = answer_gains([*weighted, *sampled], row.wrong_costs)
    sides = [
        side(labels, earlier, int((codes >= 0).sum()), crossed.documents)
        for labels, codes in (
            ([one.champion for one in earlier], decisions.champion),
            ([one.challenger for one in earlier], decisions.challenger),
        )
    ]
    return replace(
        trial,
        comparison=compare(gains, crossed, row.wrong_costs),
        champion=sides[0],
        challenger=sides[1],
        crossing=crossed,
        replayed=len(earlier),
    )


def _without_results(row: TrialRow) -> Trial:
    """Return a trial with its settings, and statistics of no answers."""
    return Trial(
        id=row.id,
        collection="",
        field=row.field,
        at=row.at,
        actor=row.actor,
        state=row.state,
        ended_at=row.ended_at,
        rule=row.rule,
        wrong_costs=row.wrong_costs,
        comparison=compare(answer_gains([], row.wrong_costs), Crossing(), row.wrong_costs),
        champion=Side(),
        challenger=Side(),
        crossing=Crossing(),
        replayed=0,
        waiting=(),
        answered=(),
    )


def _in_order(
    snapshot: Snapshot, row: TrialRow, items: Sequence[Any], known: Sequence[KnownAnswer | None]
) -> list[Answered]:
    """Return the answers before the first open question, in the order of sampling.

    People may have answered the easy ones of those that come after it first.
    """
    share = sampled_share(snapshot, row.field_pk)
    last = items[-1].probability if items else 0.0
    found = []
    for item, answer in zip(items, known, strict=True):
        if answer is None:
            break
        q = 1 - (1 - share) * (1 - last)
        pair = (item.champion, item.challenger)
        found.append(Answered(*pair, outcome=answer.outcome, truth=answer.truth, q=q))
    return found


def _replayed(
    snapshot: Snapshot, row: TrialRow, decisions: PairedDecisions, sampled: set[int]
) -> list[Answered]:
    """Return the earlier answers to random samples and audits, with the labels of both rules."""
    known = known_answers(snapshot, row.field_pk)
    sides = (decisions.champion_left.tolist(), decisions.challenger_left.tolist())
    return [
        Answered(
            champion=decisions.name(one),
            challenger=decisions.name(other),
            outcome=known[pk].outcome,
            truth=known[pk].truth,
            refuted=known[pk].refuted,
            q=known[pk].q,
        )
        for pk, one, other in zip(decisions.answered.tolist(), *sides, strict=True)
        if pk in known and pk not in sampled
    ]


def _trial_item(
    item: Any, answer: KnownAnswer, ids: Mapping[int, str], wrong_costs: float
) -> TrialItem:
    pair = Answered(item.champion, item.challenger, answer.outcome, answer.truth)
    assert answer.outcome is not None, "`_known` returns only answers with an outcome"
    return TrialItem(
        document=ids[item.document_pk],
        champion=item.champion,
        challenger=item.challenger,
        probability=item.probability,
        answer=answer.outcome,
        truth=answer.truth,
        actor=item.actor,
        better=better_of(pair, wrong_costs),
    )
