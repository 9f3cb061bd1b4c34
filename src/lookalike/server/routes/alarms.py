"""Alarms over HTTP: what someone wants to be told of a collection's label fields."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

from lookalike.catalog.reader import fields_of
from lookalike.quality.alerts import Alarm, alarm_of
from lookalike.server.context import Here
from lookalike.server.shapes import Body, Deleted, JsonRoute, Reply

router = APIRouter(
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


@router.get("")
def alarms(collection: str, here: Here) -> Alarms:
    """List the alarms of a collection's label fields, with what was told."""
    with here.workshop.store.read() as snapshot:
        fields = fields_of(snapshot, here.row(snapshot, collection).pk)
        found = [alarm_of(snapshot, one.pk, one.name) for one in fields]
    return Alarms(results=[one for one in found if one is not None])


@router.put("")
def put_alarm(collection: str, body: AlarmToBe, here: Here) -> Alarm:
    """Set the alarm of a label field, in place of the one before."""
    return here.collection(collection).watch(
        coverage=_band(body.coverage),
        error_rate=_band(body.error_rate),
        webhook=body.webhook,
        field=body.field,
    )


@router.delete("")
def delete_alarm(collection: str, here: Here, field: str | None = None) -> Deleted:
    """Take the alarm of a label field away."""
    was_there = here.collection(collection).unwatch(field=field)
    return Deleted(message="took the alarm away" if was_there else "there was no alarm")


def _band(given: list[float | None] | None) -> tuple[float | None, float | None] | None:
    return None if given is None else (given[0], given[1])
