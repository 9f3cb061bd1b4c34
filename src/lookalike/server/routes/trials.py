"""Trial routes: compare another policy with a label field's current one, then adopt or drop it.

A trial belongs to a collection's field. The routes exist for collections and for taxonomies: there
the collection is the one that the taxonomy is attached to.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
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
from lookalike.server.context import Context, Here
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
    """The policy to try; what is left out is as in the current policy."""

    confidence_threshold: float | None = None
    target_precision: float | None = None
    targets: dict[str, float] | None = None
    top_k: int | None = None
    extractor: str | None = None
    references: str | None = Field(
        default=None, description="only references unchanged since this operation"
    )
    wrong_costs: float = Field(default=20, description="the cost of a wrong label, in reviews")
    field: str | None = None
    op_id: str = ""


class TrialAnswers(Body):
    """Answers for documents of a trial: labels by id, a new category, or "cannot tell"."""

    labels: dict[str, str] = Field(default_factory=dict)
    new_kind: list[str] = Field(default_factory=list)
    cannot_tell: list[str] = Field(default_factory=list)
    op_id: str = ""


class TrialDraw(Body):
    """How many disagreements should be pending; a random sample fills up to it."""

    limit: int = Field(default=20, ge=1, le=_AT_ONCE)


class TrialEnd(Body):
    """The end of a trial; with `keep` its answers become the person's labels."""

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
    """A trial and its results so far.

    `waiting` counts the disagreements without an answer; `next` has the first of them, without the
    labels of either policy.
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
    """Trials, newest first."""

    results: list[TrialSummary]


@router.post("")
def begin(
    collection: str, body: TrialToBe, here: Here, idempotency_key: IdempotencyKey = ""
) -> TrialReply:
    """Compare another policy with the current one; it changes no label."""
    trial = here.collection(collection).try_policy(**body.arguments(idempotency_key))
    return _reply(here, collection, trial, 1)


@router.get("")
def listed(collection: str, here: Here, field: str | None = None) -> TrialsReply:
    """Return the trials of a field, newest first."""
    found = here.collection(collection).trials(field=field)
    return TrialsReply(results=[_summary(one) for one in found])


@router.get("/{trial}")
def show(collection: str, trial: str, here: Here, limit: _Limit = 1) -> TrialReply:
    """Return a trial with its results so far, and the next documents to answer."""
    return _reply(here, collection, here.collection(collection).trial(trial), limit)


@router.post("/{trial}/draw")
def draw(collection: str, trial: str, body: TrialDraw, here: Here) -> TrialReply:
    """Sample disagreements at random until `limit` are pending; return the trial with them."""
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
    """Answer pending documents of a trial: all answers are recorded, or none."""
    verbs = here.collection(collection)
    answered = verbs.answer_trial(trial, **body.arguments(idempotency_key))
    return _reply(here, collection, answered, 1)


@router.post("/{trial}/adopt")
def adopt(
    collection: str, trial: str, body: TrialEnd, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """Make the challenger the current policy and decide all documents by it; undo reverts it.

    With `keep` the answers become the person's labels.
    """
    verbs = here.collection(collection)
    return operation_reply(verbs.adopt_trial(trial, **body.arguments(idempotency_key)))


@router.post("/{trial}/drop")
def drop(
    collection: str, trial: str, body: TrialEnd, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """End a trial without changing the policy; with `keep` its answers become labels."""
    verbs = here.collection(collection)
    return operation_reply(verbs.drop_trial(trial, **body.arguments(idempotency_key)))


# --- the same routes for taxonomies --------------------------------------------------------------


@of_taxonomy.post("")
def begin_of(
    taxonomy: str,
    body: TrialToBe,
    here: Here,
    collection: str | None = None,
    idempotency_key: IdempotencyKey = "",
) -> TrialReply:
    """Compare another policy with a taxonomy's, where it is attached; it changes no label."""
    name, fields = _places(here, taxonomy, collection)
    if body.field not in (None, *fields):
        raise NotFound.named("label field", str(body.field), fields)
    body.field = body.field or fields[0]
    return begin(name, body, here, idempotency_key)


@of_taxonomy.get("")
def listed_of(taxonomy: str, here: Here, collection: str | None = None) -> TrialsReply:
    """Return the trials of the fields that a taxonomy fills, newest first."""
    name, fields = _places(here, taxonomy, collection)
    found = [one for field in fields for one in here.collection(name).trials(field=field)]
    newest = sorted(found, key=lambda one: one.at, reverse=True)
    return TrialsReply(results=[_summary(one) for one in newest])


def _home(here: Here, taxonomy: str, trial: str, collection: str | None = None) -> str:
    """Return the collection of a trial of a taxonomy's field. Raises NotFound."""
    name, fields = _places(here, taxonomy, collection)
    with here.runtime.store.read() as snapshot:
        found = row_of(snapshot, here.row(snapshot, name), trial)
    if found.field not in fields:
        raise NotFound(f"the taxonomy {taxonomy!r} has no trial {trial!r}; see its trials")
    return name


def _add_to_taxonomy(method: str, path: str, handler: Callable[..., Any]) -> None:
    """Add a collection's route to the taxonomies: `_home` gives its handler the collection."""

    def answer(**given: Any) -> Any:
        return handler(**given)

    home = Annotated[str, Depends(_home)]
    signature = inspect.signature(handler, eval_str=True)
    parameters = [
        one.replace(annotation=home) if one.name == "collection" else one
        for one in signature.parameters.values()
    ]
    answer.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    name, description = f"{handler.__name__}_of", inspect.getdoc(handler)
    of_taxonomy.add_api_route(path, answer, methods=[method], name=name, description=description)


_add_to_taxonomy("GET", "/{trial}", show)
_add_to_taxonomy("POST", "/{trial}/draw", draw)
_add_to_taxonomy("POST", "/{trial}/answers", answer)
_add_to_taxonomy("POST", "/{trial}/adopt", adopt)
_add_to_taxonomy("POST", "/{trial}/drop", drop)


# --- inside -------------------------------------------------------------------------------------


def _places(here: Context, taxonomy: str, collection: str | None) -> tuple[str, list[str]]:
    """Return the collection that a taxonomy is attached to, and the fields that it fills there.

    Raises NotFound if it is attached to none, BadInput if to several and `collection` is None.
    """
    with here.runtime.store.read() as snapshot:
        row = taxonomy_named(here, snapshot, taxonomy)
        pairs = attached_to(snapshot, here.namespace, row.name)
        if collection is not None:
            wanted = here.row(snapshot, collection).name
            pairs = [pair for pair in pairs if pair[0].name == wanted]
    names = sorted({one.name for one, _ in pairs})
    if not names:
        raise NotFound(
            f"the taxonomy {row.name!r} is not attached to such a collection; attach it first"
        )
    if len(names) > 1:
        raise BadInput(
            f"the taxonomy {row.name!r} is attached to {', '.join(names)}: give ?collection="
        )
    return names[0], [field.name for _, field in pairs]


def _summary(trial: Trial) -> TrialSummary:
    return TrialSummary.of(trial, trial_id=trial.id)


def _reply(here: Context, collection: str, trial: Trial, limit: int) -> TrialReply:
    return TrialReply.of(
        trial,
        trial_id=trial.id,
        waiting=len(trial.waiting),
        next=waiting_replies(here, collection, trial.waiting[:limit]),
    )
