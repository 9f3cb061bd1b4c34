"""Audits over HTTP: a frozen sample of automatic labels, answers to it, what they tell."""

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
from lookalike.server.context import Asked, Here
from lookalike.server.replies import ChangedReply, operation_reply
from lookalike.server.routes.documents import WaitingReply, waiting_replies
from lookalike.server.shapes import Body, Deleted, IdempotencyKey, JsonRoute, Reply

router = APIRouter(
    prefix="/v1/collections/{collection}/audits", tags=["audits"], route_class=JsonRoute
)

_HALF_WIDTHS = (0.1, 0.05, 0.02)
_AT_ONCE = 100


class AuditToBe(Body):
    """A sample of automatic labels to be drawn; more than one of the `strata` share it out."""

    size: int = Field(default=50, ge=1, le=audits.MAX_SIZE)
    strata: int = Field(default=1, ge=1, le=20)
    label: str | None = None
    field: str | None = None
    op_id: str = ""


class AuditAnswers(Body):
    """What documents of an audit are, by id; or of which the label is right, wrong or unclear."""

    labels: dict[str, str] = Field(default_factory=dict)
    right: list[str] = Field(default_factory=list)
    wrong: list[str] = Field(default_factory=list)
    cannot_tell: list[str] = Field(default_factory=list)
    op_id: str = ""


class AuditClosing(Body):
    """Whether the answers become the person's labels when the audit is closed."""

    keep: bool = False
    op_id: str = ""


class MoreChecks(Reply):
    """So many further checks bring the interval to ± `half_width`, as things look."""

    half_width: float
    checks: int


class ToCheck(WaitingReply):
    """A document of an audit that waits; it has the `label` that was drawn only if asked for."""

    label: str | None = None

    @model_serializer(mode="wrap")
    def _without_label(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        told: dict[str, Any] = handler(self)
        if self.label is None:
            told.pop("label", None)
        return told


class AuditReply(Reply):
    """A frozen sample of automatic labels, and what it tells so far.

    `at_least` so many are right with 95 % confidence: null while an answer is missing. `waiting`
    counts the documents without an answer; `next` shows the first of them.
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
    """Audits, the newest first."""

    results: list[AuditSummary]


@router.post("")
def draw(
    collection: str, body: AuditToBe, here: Here, idempotency_key: IdempotencyKey = ""
) -> AuditReply:
    """Draw a frozen sample of automatic labels; what is drawn votes only when it is closed."""
    audit = here.collection(collection).audit(
        body.size,
        strata=body.strata,
        label=body.label,
        field=body.field,
        op_id=body.op_id or idempotency_key,
    )
    return _reply(here, collection, audit, 1)


@router.get("")
def listed(collection: str, here: Here, field: str | None = None) -> AuditsReply:
    """Return the audits of a field, the newest first."""
    return AuditsReply(
        results=[
            AuditSummary(
                audit_id=one.id,
                field=one.field,
                at=one.at,
                closed_at=one.closed_at,
                estimate=one.estimate,
                at_least=one.at_least(),
                unanswered=one.unanswered,
            )
            for one in here.collection(collection).audits(field=field)
        ]
    )


@router.get("/{audit}")
def show(
    collection: str,
    audit: str,
    here: Here,
    limit: Annotated[int, Query(ge=0, le=_AT_ONCE, description="how many of `next`")] = 1,
    labels: Annotated[bool, Query(description="show what is audited, for right and wrong")] = False,
) -> AuditReply:
    """Return an audit with what it tells so far, and what to answer next.

    With `labels` that shows what was drawn, to be called right or wrong: a label that is shown
    persuades, so its answers are less to be trusted than those of who names the label.
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
    """Answer what waits in an audit: all is recorded, or nothing."""
    found = here.collection(collection).answer_audit(
        audit,
        body.labels,
        right=body.right,
        wrong=body.wrong,
        cannot_tell=body.cannot_tell,
        op_id=body.op_id or idempotency_key,
    )
    return _reply(here, collection, found, 1)


@router.post("/{audit}/close")
def close(
    collection: str,
    audit: str,
    body: AuditClosing,
    here: Here,
    idempotency_key: IdempotencyKey = "",
) -> ChangedReply:
    """Close an audit; with `keep` its answers become the person's labels, and rejections."""
    op_id = body.op_id or idempotency_key
    changed = here.collection(collection).close_audit(audit, keep=body.keep, op_id=op_id)
    return operation_reply(changed)


def _reply(
    here: Asked, collection: str, audit: Audit, limit: int, drawn: Mapping[str, str] | None = None
) -> AuditReply:
    """Return an audit as it is shown, with what was `drawn` by id, where that may be seen."""
    waiting = waiting_replies(here, collection, audit.waiting[:limit])
    return AuditReply(
        audit_id=audit.id,
        field=audit.field,
        at=audit.at,
        actor=audit.actor,
        closed_at=audit.closed_at,
        estimate=audit.estimate,
        labels=audit.labels,
        strata=list(audit.strata),
        at_least=audit.at_least(),
        more_checks=[
            MoreChecks(half_width=one, checks=audit.more_checks(one)) for one in _HALF_WIDTHS
        ],
        cannot_tell=audit.cannot_tell,
        unanswered=audit.unanswered,
        waiting=len(audit.waiting),
        next=[ToCheck(**dict(one), label=(drawn or {}).get(one.document_id)) for one in waiting],
        answered=list(audit.answered),
    )


# --- alerts --------------------------------------------------------------------------------------

alerts_router = APIRouter(
    prefix="/v1/collections/{collection}/alarms", tags=["analytics"], route_class=JsonRoute
)


class AlarmToBe(Body):
    """The bands of a field, each the lowest and the highest value, 0 to 1; null is no bound."""

    coverage: list[float | None] | None = Field(None, min_length=2, max_length=2)
    error_rate: list[float | None] | None = Field(None, min_length=2, max_length=2)
    webhook: str = ""
    field: str | None = None


class Alarms(Reply):
    """The alarms of a collection, in the order of its label fields."""

    results: list[Alarm]


@alerts_router.get("")
def alarms(collection: str, here: Here) -> Alarms:
    """List the alarms of a collection's label fields, with what was told."""
    with here.runtime.store.read() as snapshot:
        fields = fields_of(snapshot, here.row(snapshot, collection).pk)
        found = [alarm_of(snapshot, one.pk, one.name) for one in fields]
    return Alarms(results=[one for one in found if one is not None])


@alerts_router.put("")
def put_alarm(collection: str, body: AlarmToBe, here: Here) -> Alarm:
    """Set the alarm of a label field, in place of the one before."""
    return here.collection(collection).watch(
        coverage=_band(body.coverage),
        error_rate=_band(body.error_rate),
        webhook=body.webhook,
        field=body.field,
    )


@alerts_router.delete("")
def delete_alarm(collection: str, here: Here, field: str | None = None) -> Deleted:
    """Take the alarm of a label field away."""
    was_there = here.collection(collection).unwatch(field=field)
    return Deleted(message="took the alarm away" if was_there else "there was no alarm")


def _band(given: list[float | None] | None) -> tuple[float | None, float | None] | None:
    return None if given is None else (given[0], given[1])
