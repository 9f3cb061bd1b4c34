"""Trials over HTTP: another rule for a label field, disagreements to answer, adopting or dropping.

They belong to a collection's field. A taxonomy that is attached to one collection names it, too.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from lookalike.catalog.taxonomies import attached_to
from lookalike.errors import BadInput, NotFound
from lookalike.quality.stats.paired_comparison import (
    Challenger,
    Comparison,
    Crossing,
    Side,
    Trial,
    TrialItem,
)
from lookalike.quality.trials import row_of
from lookalike.server.context import Asked, Here
from lookalike.server.replies import ChangedReply, operation_reply
from lookalike.server.routes.documents import WaitingReply, waiting_replies
from lookalike.server.routes.taxonomies import taxonomy_named
from lookalike.server.shapes import Body, IdempotencyKey, JsonRoute, Reply

router = APIRouter(
    prefix="/v1/collections/{collection}/trials", tags=["trials"], route_class=JsonRoute
)
of_taxonomy = APIRouter(
    prefix="/v1/taxonomies/{taxonomy}/trials", tags=["trials"], route_class=JsonRoute
)

_AT_ONCE = 100
_Limit = Annotated[int, Query(ge=0, le=_AT_ONCE, description="how many of `next`")]


class TrialToBe(Body):
    """Another rule to be tried; what is not said is as in the rule in force."""

    confidence_threshold: float | None = None
    target_precision: float | None = None
    targets: dict[str, float] | None = None
    top_k: int | None = None
    extractor: str | None = None
    references: str | None = Field(default=None, description="the operation that they are of")
    wrong_costs: float = Field(default=20, description="what a wrong label costs, in reviews")
    field: str | None = None
    op_id: str = ""


class TrialAnswers(Body):
    """What documents of a trial are, by id; or that they are a new kind, or one cannot tell."""

    labels: dict[str, str] = Field(default_factory=dict)
    new_kind: list[str] = Field(default_factory=list)
    cannot_tell: list[str] = Field(default_factory=list)
    op_id: str = ""


class TrialDraw(Body):
    """How many disagreements shall wait; more are drawn where fewer do."""

    limit: int = Field(default=20, ge=1, le=_AT_ONCE)


class TrialEnd(Body):
    """Whether the answers become the person's labels when the trial ends."""

    keep: bool = True
    op_id: str = ""


class TrialSummary(Reply):
    """A trial in a list."""

    trial_id: str
    field: str
    at: datetime
    state: str
    ended_at: datetime | None
    rule: Challenger
    verdict: str
    comparison: Comparison


class TrialReply(TrialSummary):
    """A trial, and what it tells so far.

    `waiting` counts the disagreements without an answer; `next` shows the first of them, and
    nothing that either rule says.
    """

    actor: str
    wrong_costs: float
    champion: Side
    challenger: Side
    crossing: Crossing
    replayed: int
    trouble: str
    waiting: int
    next: list[WaitingReply]
    answered: list[TrialItem]


class TrialsReply(Reply):
    """Trials, the newest first."""

    results: list[TrialSummary]


@router.post("")
def begin(
    collection: str, body: TrialToBe, here: Here, idempotency_key: IdempotencyKey = ""
) -> TrialReply:
    """Try another rule against the one in force; it labels nothing."""
    return _begun(here, collection, body, idempotency_key, body.field)


@router.get("")
def listed(collection: str, here: Here, field: str | None = None) -> TrialsReply:
    """Return the trials of a field, the newest first."""
    found = here.collection(collection).trials(field=field)
    return TrialsReply(results=[_summary(one) for one in found])


@router.get("/{trial}")
def show(collection: str, trial: str, here: Here, limit: _Limit = 1) -> TrialReply:
    """Return a trial with what it tells so far, and what to answer next."""
    return _reply(here, collection, here.collection(collection).trial(trial), limit)


@router.post("/{trial}/draw")
def draw(collection: str, trial: str, body: TrialDraw, here: Here) -> TrialReply:
    """Let chance draw disagreements until so many wait, and return the trial with these."""
    verbs = here.collection(collection)
    verbs.disagreements(trial, limit=body.limit)
    return _reply(here, collection, verbs.trial(trial), body.limit)


@router.post("/{trial}/answers")
def answer(
    collection: str,
    trial: str,
    body: TrialAnswers,
    here: Here,
    idempotency_key: IdempotencyKey = "",
) -> TrialReply:
    """Answer what waits in a trial: all is recorded, or nothing."""
    found = here.collection(collection).answer_trial(
        trial,
        body.labels,
        new_kind=body.new_kind,
        cannot_tell=body.cannot_tell,
        op_id=body.op_id or idempotency_key,
    )
    return _reply(here, collection, found, 1)


@router.post("/{trial}/adopt")
def adopt(
    collection: str, trial: str, body: TrialEnd, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """Let the challenger be the rule in force, and decide all by it; undo brings the old one back.

    With `keep` the answers become the person's labels.
    """
    op_id = body.op_id or idempotency_key
    verbs = here.collection(collection)
    return operation_reply(verbs.adopt_trial(trial, keep=body.keep, op_id=op_id))


@router.post("/{trial}/drop")
def drop(
    collection: str, trial: str, body: TrialEnd, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """End a trial and leave the rule as it is; with `keep` its answers become labels."""
    op_id = body.op_id or idempotency_key
    verbs = here.collection(collection)
    return operation_reply(verbs.drop_trial(trial, keep=body.keep, op_id=op_id))


# --- by a taxonomy ------------------------------------------------------------------------------


@of_taxonomy.post("")
def begin_of(
    taxonomy: str,
    body: TrialToBe,
    here: Here,
    collection: str | None = None,
    idempotency_key: IdempotencyKey = "",
) -> TrialReply:
    """Try another rule than a taxonomy's, where it is attached; it labels nothing."""
    name, fields = _places(here, taxonomy, collection)
    if body.field not in (None, *fields):
        raise NotFound.named("label field", str(body.field), fields)
    return _begun(here, name, body, idempotency_key, body.field or fields[0])


@of_taxonomy.get("")
def listed_of(taxonomy: str, here: Here, collection: str | None = None) -> TrialsReply:
    """Return the trials of the fields that a taxonomy fills, the newest first."""
    name, fields = _places(here, taxonomy, collection)
    found = [one for field in fields for one in here.collection(name).trials(field=field)]
    newest = sorted(found, key=lambda one: one.at, reverse=True)
    return TrialsReply(results=[_summary(one) for one in newest])


@of_taxonomy.get("/{trial}")
def show_of(
    taxonomy: str, trial: str, here: Here, collection: str | None = None, limit: _Limit = 1
) -> TrialReply:
    """Return a trial with what it tells so far, and what to answer next."""
    return show(_home(here, taxonomy, collection, trial), trial, here, limit)


@of_taxonomy.post("/{trial}/draw")
def draw_of(
    taxonomy: str, trial: str, body: TrialDraw, here: Here, collection: str | None = None
) -> TrialReply:
    """Let chance draw disagreements until so many wait, and return the trial with these."""
    return draw(_home(here, taxonomy, collection, trial), trial, body, here)


@of_taxonomy.post("/{trial}/answers")
def answer_of(
    taxonomy: str,
    trial: str,
    body: TrialAnswers,
    here: Here,
    collection: str | None = None,
    idempotency_key: IdempotencyKey = "",
) -> TrialReply:
    """Answer what waits in a trial: all is recorded, or nothing."""
    return answer(_home(here, taxonomy, collection, trial), trial, body, here, idempotency_key)


@of_taxonomy.post("/{trial}/adopt")
def adopt_of(
    taxonomy: str,
    trial: str,
    body: TrialEnd,
    here: Here,
    collection: str | None = None,
    idempotency_key: IdempotencyKey = "",
) -> ChangedReply:
    """Let the challenger be the rule in force, and decide all by it; undo brings the old one back.

    With `keep` the answers become the person's labels.
    """
    return adopt(_home(here, taxonomy, collection, trial), trial, body, here, idempotency_key)


@of_taxonomy.post("/{trial}/drop")
def drop_of(
    taxonomy: str,
    trial: str,
    body: TrialEnd,
    here: Here,
    collection: str | None = None,
    idempotency_key: IdempotencyKey = "",
) -> ChangedReply:
    """End a trial and leave the rule as it is; with `keep` its answers become labels."""
    return drop(_home(here, taxonomy, collection, trial), trial, body, here, idempotency_key)


# --- inside -------------------------------------------------------------------------------------


def _begun(
    here: Asked, collection: str, body: TrialToBe, key: str, field: str | None
) -> TrialReply:
    trial = here.collection(collection).try_policy(
        confidence_threshold=body.confidence_threshold,
        target_precision=body.target_precision,
        targets=body.targets,
        top_k=body.top_k,
        extractor=body.extractor,
        references=body.references,
        wrong_costs=body.wrong_costs,
        field=field,
        op_id=body.op_id or key,
    )
    return _reply(here, collection, trial, 1)


def _places(here: Asked, taxonomy: str, collection: str | None) -> tuple[str, list[str]]:
    """Return the collection that a taxonomy is attached to, and the fields that it fills there.

    Raises NotFound where it is attached to none, BadInput where to several and none is named.
    """
    with here.runtime.store.read() as snapshot:
        row = taxonomy_named(here, snapshot, taxonomy)
        pairs = attached_to(snapshot, here.namespace, row.name)
        if collection is not None:
            chosen = here.row(snapshot, collection).name
            pairs = [pair for pair in pairs if pair[0].name == chosen]
    names = sorted({one.name for one, _ in pairs})
    if not names:
        raise NotFound(
            f"the taxonomy {row.name!r} labels no such collection: attach it to one first"
        )
    if len(names) > 1:
        raise BadInput(f"the taxonomy {row.name!r} labels {', '.join(names)}: give ?collection=")
    return names[0], [field.name for _, field in pairs]


def _home(here: Asked, taxonomy: str, collection: str | None, trial: str) -> str:
    """Return the collection of a trial of a taxonomy's field. Raises NotFound."""
    name, fields = _places(here, taxonomy, collection)
    with here.runtime.store.read() as snapshot:
        found = row_of(snapshot, here.row(snapshot, name), trial)
    if found.field not in fields:
        raise NotFound(f"the taxonomy {taxonomy!r} has no trial {trial!r}; see its trials")
    return name


def _summary(trial: Trial) -> TrialSummary:
    return TrialSummary(
        trial_id=trial.id,
        field=trial.field,
        at=trial.at,
        state=trial.state,
        ended_at=trial.ended_at,
        rule=trial.rule,
        verdict=trial.verdict,
        comparison=trial.comparison,
    )


def _reply(here: Asked, collection: str, trial: Trial, limit: int) -> TrialReply:
    return TrialReply(
        **dict(_summary(trial)),
        actor=trial.actor,
        wrong_costs=trial.wrong_costs,
        champion=trial.champion,
        challenger=trial.challenger,
        crossing=trial.crossing,
        replayed=trial.replayed,
        trouble=trial.trouble,
        waiting=len(trial.waiting),
        next=waiting_replies(here, collection, trial.waiting[:limit]),
        answered=list(trial.answered),
    )
