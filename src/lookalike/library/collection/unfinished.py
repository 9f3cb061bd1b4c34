"""What is under way in a label field: a migration being prepared, a re-decision that waits."""

from __future__ import annotations

from sqlalchemy import select

from lookalike.catalog.leases import has_died, time_of
from lookalike.catalog.reader import FieldRow
from lookalike.catalog.resources import collection_row
from lookalike.catalog.tasks import TaskKind
from lookalike.errors import Conflict
from lookalike.model import Status
from lookalike.stores import schema
from lookalike.stores.base import Snapshot


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
