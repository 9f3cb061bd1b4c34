"""Audit routes: a random sample of automatic labels, answers, precision estimates; and alerts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from lookalike.catalog.reader import fields_of
from lookalike.quality import audits
from lookalike.quality.alerts import Alarm, alarm_of
from lookalike.quality.stats.audit_estimate import CONFIDENCE, Audit, AuditItem, Estimate, Stratum
from lookalike.server.context import Context, Here
from lookalike.server.replies import ChangedReply, operation_reply
from lookalike.server.routes.documents import WaitingReply, waiting_replies
from lookalike.server.shapes import Body, Deleted, IdempotencyKey, JsonRoute, Reply

router = APIRouter(
    prefix="/v1/collections/{collection}/audits", tags=["audits"], route_class=JsonRoute
)

_HALF_WIDTHS = (0.1, 0.05, 0.02)
_AT_ONCE = 100


class AuditToBe(Body):
    """The sample to draw from the automatic labels; with several `strata` it is stratified."""

    size: int = Field(default=50, ge=1, le=audits.MAX_SIZE)
    strata: int = Field(default=1, ge=1, le=20)
    label: str | None = None
    field: str | None = None
    op_id: str = ""


class AuditAnswers(Body):
    """Answers for documents of an audit: the labels by id; or ids of right, wrong, unclear ones."""

    labels: dict[str, str] = Field(default_factory=dict)
    right: list[str] = Field(default_factory=list)
    wrong: list[str] = Field(default_factory=list)
    cannot_tell: list[str] = Field(default_factory=list)
    op_id: str = ""


class AuditClosing(Body):
    """The end of an audit; with `keep` its answers become the person's labels."""

    keep: bool = False
    op_id: str = ""


class MoreChecks(Reply):
    """The estimated number of further checks for an interval of ± `half_width`."""

    half_width: float
    checks: int


class ToCheck(WaitingReply):
    """A document of an audit that waits for an answer; its sampled `label` only on request."""

    label: str | None = None

    @model_serializer(mode="wrap")
    def _without_label(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        if self.label is None:
            values.pop("label", None)
        return values


class AuditReply(Reply):
    """A random sample of automatic labels, and the estimates from its answers so far.

    `at_least` is the lower bound of the precision at 95 % confidence, null while an answer is
    missing. `waiting` counts the documents without an answer; `next` has the first of them.
    """

    audit_id: str
    field: str
    at: datetime
    actor: str
    closed_at: datetime | None
    confidence: float = CONFIDENCE
    estimate: Estimate
    labels: dict[str, Estimate]
    strata: list[Stratum]
    at_least: float | None
    more_checks: list[MoreChecks]
    cannot_tell: int
    unanswered: int
    waiting: int
    next: list[ToCheck]
    answered: list[AuditItem]


class AuditSummary(Reply):
    """An audit in a list."""

    audit_id: str
    field: str
    at: datetime
    closed_at: datetime | None
    estimate: Estimate
    at_least: float | None
    unanswered: int


class AuditsReply(Reply):
    """Audits, newest first."""

    results: list[AuditSummary]


@router.post("")
def draw(
    collection: str, body: AuditToBe, here: Here, idempotency_key: IdempotencyKey = ""
) -> AuditReply:
    """Draw a random sample of automatic labels; until it is closed none of them is a reference."""
    audit = here.collection(collection).audit(**body.arguments(idempotency_key))
    return _reply(here, collection, audit, 1)


@router.get("")
def listed(collection: str, here: Here, field: str | None = None) -> AuditsReply:
    """Return the audits of a field, newest first."""
    found = here.collection(collection).audits(field=field)
    summaries = [AuditSummary.of(one, audit_id=one.id, at_least=one.at_least()) for one in found]
    return AuditsReply(results=summaries)


@router.get("/{audit}")
def show(
    collection: str,
    audit: str,
    here: Here,
    limit: Annotated[int, Query(ge=0, le=_AT_ONCE, description="how many of `next`")] = 1,
    labels: Annotated[bool, Query(description="show the labels, to answer right or wrong")] = False,
) -> AuditReply:
    """Return an audit with its estimates so far, and the next documents to answer.

    `labels` shows the sampled labels, to be judged right or wrong. A visible label biases answers,
    so they are less reliable than labels entered without seeing it.
    """
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, collection)
        found = audits.audit_of(snapshot, row, audit)
        drawn = audits.drawn_labels(snapshot, row, audit) if labels else {}
    return _reply(here, collection, found, limit, drawn)


@router.post("/{audit}/answers")
def answer(
    collection: str,
    audit: str,
    body: AuditAnswers,
    here: Here,
    idempotency_key: IdempotencyKey = "",
) -> AuditReply:
    """Answer pending documents of an audit: all answers are recorded, or none."""
    verbs = here.collection(collection)
    answered = verbs.answer_audit(audit, **body.arguments(idempotency_key))
    return _reply(here, collection, answered, 1)


@router.post("/{audit}/close")
def close(
    collection: str,
    audit: str,
    body: AuditClosing,
    here: Here,
    idempotency_key: IdempotencyKey = "",
) -> ChangedReply:
    """Close an audit; with `keep` its answers become the person's labels and rejections."""
    verbs = here.collection(collection)
    return operation_reply(verbs.close_audit(audit, **body.arguments(idempotency_key)))


def _reply(
    here: Context, collection: str, audit: Audit, limit: int, drawn: Mapping[str, str] | None = None
) -> AuditReply:
    """Return an audit as JSON, with the sampled labels (`drawn`, by id) if they may be seen."""
    waiting = waiting_replies(here, collection, audit.waiting[:limit])
    return AuditReply.of(
        audit,
        audit_id=audit.id,
        confidence=CONFIDENCE,
        at_least=audit.at_least(),
        more_checks=[
            MoreChecks(half_width=one, checks=audit.more_checks(one)) for one in _HALF_WIDTHS
        ],
        waiting=len(audit.waiting),
        next=[ToCheck(**dict(one), label=(drawn or {}).get(one.document_id)) for one in waiting],
    )


# --- alerts --------------------------------------------------------------------------------------

alerts_router = APIRouter(
    prefix="/v1/collections/{collection}/alarms", tags=["analytics"], route_class=JsonRoute
)


class AlarmToBe(Body):
    """The allowed ranges of a field: lowest and highest value, 0 to 1; null is no bound."""

    coverage: list[float | None] | None = Field(None, min_length=2, max_length=2)
    error_rate: list[float | None] | None = Field(None, min_length=2, max_length=2)
    webhook: str = ""
    field: str | None = None


class Alarms(Reply):
    """The alerts of a collection, in the order of its label fields."""

    results: list[Alarm]


@alerts_router.get("")
def alarms(collection: str, here: Here) -> Alarms:
    """List the alerts of a collection's label fields, with the notifications sent."""
    with here.runtime.store.read() as snapshot:
        fields = fields_of(snapshot, here.row(snapshot, collection).pk)
        found = [alarm_of(snapshot, one.pk, one.name) for one in fields]
    return Alarms(results=[one for one in found if one is not None])


@alerts_router.put("")
def put_alarm(collection: str, body: AlarmToBe, here: Here) -> Alarm:
    """Set the alert of a label field; it replaces the previous one."""
    return here.collection(collection).watch(
        coverage=_band(body.coverage),
        error_rate=_band(body.error_rate),
        webhook=body.webhook,
        field=body.field,
    )


@alerts_router.delete("")
def delete_alarm(collection: str, here: Here, field: str | None = None) -> Deleted:
    """Remove the alert of a label field."""
    existed = here.collection(collection).unwatch(field=field)
    return Deleted(message="removed the alert" if existed else "there was no alert")


def _band(given: list[float | None] | None) -> tuple[float | None, float | None] | None:
    return None if given is None else (given[0], given[1])
