"""Task routes: the state of background work; and migrations to another extractor."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, ClassVar

from fastapi import APIRouter
from pydantic import Field, TypeAdapter
from ulid import ULID

from lookalike.catalog.idempotency import Request
from lookalike.catalog.objects import any_waiting, object_pks
from lookalike.catalog.resources import Kind, collection_from, named, resource
from lookalike.catalog.spaces import count_left, standby_spaces
from lookalike.catalog.tasks import (
    Task,
    TaskKind,
    cancel_task,
    forget_task,
    request_task,
    task_of,
    tasks,
)
from lookalike.errors import Conflict, NotFound
from lookalike.extractors.registry import extractor_name
from lookalike.library.bucket import Bucket, bucket_from
from lookalike.library.migration import Migration, MigrationProgress
from lookalike.library.migration_switch import changes_to
from lookalike.model import Changed, Object, Status
from lookalike.server.context import Context, Here
from lookalike.server.listing import select_rows
from lookalike.server.shapes import (
    Body,
    Deleted,
    IdempotencyKey,
    JsonRoute,
    ListBody,
    Pages,
    Pagination,
    Reply,
    Wait,
    whole_number,
)
from lookalike.stores.base import Snapshot

router = APIRouter(prefix="/v1/tasks", tags=["tasks"], route_class=JsonRoute)

_OBJECT_TASK = "task_{pk}_{id}"
_TYPES = {
    TaskKind.EXTRACT: "api_collections_trigger",
    TaskKind.DECIDE: "api_taxonomies_materialize",
    TaskKind.MIGRATE: "lookalike_collections_migrate",
}
_MAX_TASKS = 10_000
_KNOWN = ("task_id", "task_type", "status", "error", "created_at", "ended_at", "additional_data")


class TaskList(ListBody):
    """The filters, order and page of a list of tasks."""

    idle: ClassVar = ListBody.idle
    status: str | None = None
    task_type: str | None = None


class TaskReply(Reply):
    """A task: background work that a request started."""

    task_id: str
    task_type: str
    status: str
    inputs: list[str]
    outputs: list[str]
    error: str | None
    additional_data: dict[str, Any]
    created_at: datetime
    ended_at: datetime | None


class Tasks(Reply):
    """A page of tasks, newest first."""

    results: list[TaskReply]
    total_count: int
    pagination: Pagination


@router.get("/{task}")
def get_task(task: str, here: Here) -> TaskReply:
    """Return a task, also the extraction of an object by the task id in an object's reply."""
    home = _bucket_of(here, task)
    if home is not None:
        return object_task(home, task.split("_", 2)[2])
    with here.runtime.store.read() as snapshot:
        return _reply(_task(here, snapshot, task))


@router.post("/list")
def list_tasks(here: Here, paged: Pages, body: TaskList | None = None) -> Tasks:
    """List tasks, by default newest first, without the extractions of objects."""
    with here.runtime.store.read() as snapshot:
        namespace = here.allowed_namespace or here.namespace
        rows = tasks(snapshot, namespace, limit=_MAX_TASKS)
    pks = {one.id: one.pk for one in rows}
    found = [_reply(one) for one in rows]
    if body is not None:
        found = [
            one
            for one in found
            if body.status in (None, one.status) and body.task_type in (None, one.task_type)
        ]
    found = select_rows(found, _KNOWN, _values, body)
    page, pagination = paged.of(body).of_list(found, lambda one: -pks[one.task_id])
    return Tasks(results=page, total_count=len(found), pagination=pagination)


@router.delete("/{task}")
def delete_task(task: str, here: Here) -> Deleted:
    """Cancel a pending task."""
    with here.runtime.store.write() as txn:
        found = _task(here, txn, task)
        if not cancel_task(txn, found.id):
            raise Conflict(
                f"the task {task!r} is {found.status.value}; only PENDING tasks can be cancelled"
            )
    return Deleted(message=f"cancelled the task {task}")


def object_task(home: Bucket, id: str) -> TaskReply:
    """Return the extraction of an object as a task."""
    one: Object = home.object(id)
    ended = one.status.value in ("COMPLETED", "FAILED")
    return TaskReply(
        task_id=object_task_id(home, id),
        task_type="api_buckets_objects_create",
        status=one.status.value,
        inputs=[id],
        outputs=[id] if ended else [],
        error=one.error,
        additional_data={"object_id": id, "bucket_id": Kind.BUCKET.prefix + home.name},
        created_at=one.created_at,
        ended_at=None,
    )


def object_task_id(home: Bucket, id: str) -> str:
    """Return the task id of the extraction of an object."""
    return _OBJECT_TASK.format(pk=home.row.pk, id=id)


def wait_for(here: Context, home: Bucket, ids: Sequence[str], seconds: float | None) -> None:
    """Wake the worker, and wait up to `seconds` until objects are extracted or have failed."""

    def is_done() -> bool:
        with here.runtime.store.read() as snapshot:
            pks = object_pks(snapshot, home.row.pk, ids)
            return not any_waiting(snapshot, list(pks.values()))

    here.wait(seconds if ids else None, is_done)


def _bucket_of(here: Context, task: str) -> Bucket | None:
    """Return the bucket in the task id of an object's extraction; None for other tasks."""
    parts = task.split("_", 2)
    pk = whole_number(parts[1]) if len(parts) == 3 else None
    if pk is None:
        return None
    with here.runtime.store.read() as snapshot:
        try:
            row = resource(snapshot, pk)
        except IndexError:
            return None
        if row.kind != Kind.BUCKET or not _may_see(here, row.namespace):
            return None
        named(snapshot, row.namespace, Kind.BUCKET, row.name)
    return Bucket(here.runtime, bucket_from(row))


def _task(here: Context, snapshot: Snapshot, id: str) -> Task:
    found = task_of(snapshot, id)
    if not _may_see(here, found.namespace):
        raise NotFound(f"there is no task {id!r}; ask for it again")
    return found


def _may_see(here: Context, namespace: str) -> bool:
    """Return whether the caller may see tasks of a namespace; a key for all namespaces sees all."""
    return here.allowed_namespace in (None, namespace)


def _values(one: TaskReply) -> dict[str, Any]:
    """Return a task's values for filters and sorting; times are in seconds."""
    values = one.model_dump(include=set(_KNOWN))
    for name in ("created_at", "ended_at"):
        values[name] = None if values[name] is None else values[name].timestamp()
    return values


def _reply(task: Task) -> TaskReply:
    collection = Kind.COLLECTION.prefix + task.spec["collection"]
    return TaskReply(
        task_id=task.id,
        task_type=_TYPES[task.kind],
        status=task.status.value,
        inputs=[collection],
        outputs=[collection] if task.ended_at is not None else [],
        error=task.error,
        additional_data=dict(task.result),
        created_at=task.created_at,
        ended_at=task.ended_at,
    )


# --- migrations to another extractor -------------------------------------------------------------

migrations_router = APIRouter(prefix="/v1/verbs", tags=["verbs"], route_class=JsonRoute)

_UNFINISHED = (Status.PENDING, Status.PROCESSING)
_MIGRATION_TASK = "task_m_{}"


class ExtractorToBe(Body):
    """The new extractor of some collections; without `options` they keep the ones they have."""

    collections: list[str] = Field(max_length=1000)
    extractor: str
    options: dict[str, Any] | None = None
    confidence_threshold: float | None = None
    op_id: str = ""


class AskedBefore(Body):
    """A migration, by the id in the reply to its request."""

    task_id: str


@migrations_router.post("/prepare_migration")
def prepare_migration(body: ExtractorToBe, here: Here, idempotency_key: IdempotencyKey = "") -> str:
    """Extract collections with another extractor into a standby space, and compare the two.

    Returns the id of a task; `migration` returns its progress and result.
    """
    return _request(here, body, idempotency_key, switches=False)


@migrations_router.post("/migrate")
def migrate(body: ExtractorToBe, here: Here, idempotency_key: IdempotencyKey = "") -> str:
    """Switch collections to another extractor, in one step.

    Returns the id of a task; `migration` returns its progress and result.
    """
    return _request(here, body, idempotency_key, switches=True)


@migrations_router.post("/migration")
def migration(body: AskedBefore, here: Here, wait: Wait = None) -> MigrationProgress:
    """Return the progress of a migration, or its result."""

    def found() -> Task:
        with here.runtime.store.read() as snapshot:
            return _migration_task(here, snapshot, body.task_id)

    here.wait(wait, lambda: found().status not in _UNFINISHED)
    task = found()
    if task.status in _UNFINISHED:
        with here.runtime.store.read() as snapshot:
            return MigrationProgress(left=_left(here, snapshot, task))
    if task.error is not None:
        raise Conflict(task.error)
    prepared, changed = task.result.get("migration"), task.result.get("changed")
    return MigrationProgress(
        left=0,
        migration=None if prepared is None else TypeAdapter(Migration).validate_python(prepared),
        changed=None if changed is None else TypeAdapter(Changed).validate_python(changed),
    )


# --- inside ---------------------------------------------------------------------------------------


def _request(here: Context, body: ExtractorToBe, key: str, *, switches: bool) -> str:
    """Write the task unless a repeated request wrote it. Raises errors that show before it runs."""
    key = body.op_id or key or str(ULID())
    Request.of(key)  # raises for an invalid name of an operation
    id, runtime = _MIGRATION_TASK.format(key), here.runtime
    spec = {
        "collections": body.collections,
        "extractor": body.extractor,
        "options": body.options,
        "threshold": body.confidence_threshold,
        "switches": switches,
        "op_id": key,
    }
    with suppress(NotFound), runtime.store.write() as txn:
        before = _migration_task(here, txn, id)
        if {name: before.spec.get(name) for name in spec} != spec:
            raise Conflict(f"{key!r} belongs to another migration; give each its own op_id")
        if before.status is not Status.FAILED:
            return id
        forget_task(txn, before)
    wanted = (body.collections, body.extractor, body.options)
    changes = changes_to(runtime.store, runtime.new_extractor, here.namespace, *wanted)
    row = changes[0].row
    spec |= {"collection_pk": row.pk, "collection": row.name, "actor": runtime.actor}
    with runtime.store.write() as txn:
        request_task(txn, here.namespace, TaskKind.MIGRATE, spec, at=runtime.clock(), id=id)
    here.server.worker.wake()
    return id


def _migration_task(here: Context, snapshot: Snapshot, id: str) -> Task:
    task = task_of(snapshot, id)
    if task.namespace != here.namespace or task.kind is not TaskKind.MIGRATE:
        raise NotFound(f"there is no migration {id!r}; ask for it again")
    return task


def _left(here: Context, snapshot: Snapshot, task: Task) -> int:
    """Return the number of objects still to extract into the standby spaces of the extractor."""
    left, extractor = 0, extractor_name(task.spec["extractor"])
    for name in task.spec["collections"]:
        with suppress(NotFound):
            row = collection_from(named(snapshot, here.namespace, Kind.COLLECTION, name))
            left += sum(
                count_left(snapshot, row, one.space)
                for one in standby_spaces(snapshot, row.pk)
                if one.extractor == extractor
            )
    return left
