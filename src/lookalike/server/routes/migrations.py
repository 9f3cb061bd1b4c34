"""Another extractor over HTTP, for `lookalike.connect`: asked for at once, done by the worker."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from fastapi import APIRouter
from pydantic import Field, TypeAdapter
from ulid import ULID

from lookalike.catalog.idempotency import Request
from lookalike.catalog.resources import Kind, collection_from, named
from lookalike.catalog.spaces import count_left, spaces_beside
from lookalike.catalog.tasks import Task, TaskKind, ask_for, forget_task, task_of
from lookalike.errors import Conflict, NotFound
from lookalike.extractors.registry import extractor_name
from lookalike.library.changing import changes_to
from lookalike.library.migration import Migration, Outcome
from lookalike.model import Changed, Status
from lookalike.server.context import Asked, Here
from lookalike.server.shapes import Body, IdempotencyKey, JsonRoute, Wait
from lookalike.stores.base import Snapshot

router = APIRouter(prefix="/v1/verbs", tags=["verbs"], route_class=JsonRoute)

_UNFINISHED = (Status.PENDING, Status.PROCESSING)
_ID = "task_m_{}"


class ExtractorToBe(Body):
    """Which collections shall have which extractor; `options` left out are those it had before."""

    collections: list[str] = Field(max_length=1000)
    extractor: str
    options: dict[str, Any] | None = None
    confidence_threshold: float | None = None
    op_id: str = ""


class AskedBefore(Body):
    """What was asked for before, by the id that was answered."""

    task_id: str


@router.post("/prepare_migration")
def prepare_migration(body: ExtractorToBe, here: Here, idempotency_key: IdempotencyKey = "") -> str:
    """Let collections be extracted with another extractor, beside, and compared.

    The answer is the id of a task; `migration` tells what became of it.
    """
    return _asked(here, body, idempotency_key, switches=False)


@router.post("/migrate")
def migrate(body: ExtractorToBe, here: Here, idempotency_key: IdempotencyKey = "") -> str:
    """Let collections change to another extractor, in one step.

    The answer is the id of a task; `migration` tells what became of it.
    """
    return _asked(here, body, idempotency_key, switches=True)


@router.post("/migration")
def migration(body: AskedBefore, here: Here, wait: Wait = None) -> Outcome:
    """Return how far a migration is that was asked for, or what came of it."""

    def found() -> Task:
        with here.workshop.store.read() as snapshot:
            return _task(here, snapshot, body.task_id)

    here.wait(wait, lambda: found().status not in _UNFINISHED)
    task = found()
    if task.status in _UNFINISHED:
        with here.workshop.store.read() as snapshot:
            return Outcome(left=_left(here, snapshot, task))
    if task.error is not None:
        raise Conflict(task.error)
    prepared, changed = task.result.get("migration"), task.result.get("changed")
    return Outcome(
        left=0,
        migration=None if prepared is None else TypeAdapter(Migration).validate_python(prepared),
        changed=None if changed is None else TypeAdapter(Changed).validate_python(changed),
    )


# --- inside ---------------------------------------------------------------------------------------


def _asked(here: Asked, body: ExtractorToBe, key: str, *, switches: bool) -> str:
    """Write the task, once for what is asked for again. Raises at once what can be known now."""
    key = body.op_id or key or str(ULID())
    Request.of(key)  # raises for what cannot name an operation
    id, workshop = _ID.format(key), here.workshop
    asked = (body.collections, body.extractor, body.options)
    spec = {
        "collections": body.collections,
        "extractor": body.extractor,
        "options": body.options,
        "threshold": body.confidence_threshold,
        "switches": switches,
        "op_id": key,
    }
    with suppress(NotFound), workshop.store.write() as txn:
        before = _task(here, txn, id)
        if {name: before.spec.get(name) for name in spec} != spec:
            raise Conflict(f"{key!r} was another migration; give each a name of its own")
        if before.status is not Status.FAILED:
            return id
        forget_task(txn, before)
    changes = changes_to(workshop.store, workshop.new_extractor, here.namespace, *asked)
    row = changes[0].row
    spec |= {"collection_pk": row.pk, "collection": row.name, "actor": workshop.actor}
    with workshop.store.write() as txn:
        ask_for(txn, here.namespace, TaskKind.MIGRATE, spec, at=workshop.clock(), id=id)
    here.context.worker.wake()
    return id


def _task(here: Asked, snapshot: Snapshot, id: str) -> Task:
    task = task_of(snapshot, id)
    if task.namespace != here.namespace or task.kind is not TaskKind.MIGRATE:
        raise NotFound(f"there is no migration {id!r}; ask for it again")
    return task


def _left(here: Asked, snapshot: Snapshot, task: Task) -> int:
    """Return how many objects are to be extracted yet, in spaces beside of that extractor."""
    left, extractor = 0, extractor_name(task.spec["extractor"])
    for name in task.spec["collections"]:
        with suppress(NotFound):
            row = collection_from(named(snapshot, here.namespace, Kind.COLLECTION, name))
            left += sum(
                count_left(snapshot, row, one.space)
                for one in spaces_beside(snapshot, row.pk)
                if one.extractor == extractor
            )
    return left
