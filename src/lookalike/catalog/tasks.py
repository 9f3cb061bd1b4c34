"""Tasks: long work on request, stored until it is done, resumed after a crash."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Update, and_, or_, select, update
from ulid import ULID

from lookalike.errors import LookalikeError, NotFound
from lookalike.model import Status
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Store, Txn

# --- leases: work held by a living process -------------------------------------------------------

# A thread renews a lease for as long as the work takes. Processes that see each other notice the
# death of a holder at once; all others when its lease expires by the database's clock. So a wrong
# clock on one machine neither frees nor keeps anything.

LEASE_S = 60.0
"""Seconds after which a lease expires if its holder does not renew it."""

_LOG = logging.getLogger("lookalike.leases")
_RENEW_S = LEASE_S / 4
_LIVING: set[str] = set()
"""The holders in this process that have not ended."""


class Heartbeat:
    """Renews a lease in a thread while the `with` block lasts.

    `renew` is called every quarter of a lease; a failed renewal is logged and tried again.
    """

    def __init__(self, renew: Callable[[], object]) -> None:
        self._renew = renew
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lookalike heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._has_ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._has_ended.wait(_RENEW_S):
            try:
                self._renew()
            except LookalikeError as error:
                _LOG.warning("a lease was not renewed: %s", error)


def lease_end(snapshot: Snapshot, here_s: float) -> float:
    """Return the expiry time of a lease that is taken or renewed now."""
    return time_of(snapshot, here_s) + LEASE_S


def time_of(snapshot: Snapshot, here_s: float) -> float:
    """Return the time that all users of a store share, in UTC seconds.

    It is the database's clock, or `here_s`, this machine's, if the database has none.
    """
    store_s = snapshot.time_s()
    return here_s if store_s is None else store_s


def new_owner() -> str:
    """Return a new holder name for this process."""
    pid = os.getpid()
    name = f"{_machine()}/{pid}/{_started(pid)}/{ULID()}"
    _LIVING.add(name)
    return name


def end(owner: str) -> None:
    """Mark a holder in this process as ended, even if it still has leases."""
    _LIVING.discard(owner)


def has_died(owner: str) -> bool:
    """Return whether an owner is known to be dead, which needs a process on this machine.

    Nothing is known of processes on other machines and in other containers.
    """
    machine, pid, started, _ = owner.split("/")
    if not machine or machine != _machine():
        return False
    if _started(int(pid)) != started:
        return True
    return int(pid) == os.getpid() and owner not in _LIVING


def _machine() -> str:
    """Return an id shared only by processes that see each other; empty if unknown.

    A host's name is not enough: clones and containers may have the same name and the same pids.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{socket.gethostname()}~{boot}~{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return when a process started, in ticks; the empty text if unknown."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


# -------------------------------------------------------------------------------------------------


class TaskKind(StrEnum):
    """The kinds of tasks."""

    EXTRACT = "extract"
    DECIDE = "decide"
    MIGRATE = "migrate"


@dataclass(frozen=True, slots=True)
class Task:
    """A task; `spec` holds its arguments, `result` its result."""

    pk: int
    id: str
    namespace: str
    kind: TaskKind
    spec: Mapping[str, Any]
    status: Status
    error: str | None
    result: Mapping[str, Any]
    created_at: datetime
    ended_at: datetime | None


def request_task(
    txn: Txn,
    namespace: str,
    kind: TaskKind,
    spec: Mapping[str, Any],
    *,
    at: float,
    id: str = "",
) -> str:
    """Write a task for a worker; return its id, a new one unless given."""
    id = id or f"task_{ULID()}"
    txn.insert_one(
        schema.task,
        id=id,
        namespace=namespace,
        kind=kind.value,
        spec=dict(spec),
        status=Status.PENDING.value,
        created_at=at,
    )
    return id


def task_of(snapshot: Snapshot, id: str) -> Task:
    """Return a task. Raises NotFound."""
    rows = snapshot.rows(select(schema.task).where(schema.task.c.id == id))
    if not rows:
        raise NotFound(f"there is no task {id!r}; ask for it again")
    return _task(rows[0])


def tasks(
    snapshot: Snapshot, namespace: str, *, limit: int, before: int | None = None
) -> list[Task]:
    """Return the latest tasks of a namespace, newest first; only those before a pk."""
    table = schema.task
    query = select(table).where(table.c.namespace == namespace)
    if before is not None:
        query = query.where(table.c.pk < before)
    return [_task(row) for row in snapshot.rows(query.order_by(table.c.pk.desc()).limit(limit))]


def claim_task(store: Store, owner: str, clock: Callable[[], float]) -> Task | None:
    """Return the oldest free task, now claimed by the owner.

    An owner has one task at a time: another unfinished task of the owner was interrupted.
    """
    table = schema.task
    with store.read() as snapshot:
        if not snapshot.rows(select(table.c.pk).where(_unfinished()).limit(1)):
            return None
    with store.claim() as txn:
        held = select(table.c.owner).where(table.c.status == Status.PROCESSING).distinct()
        dead = [row.owner for row in txn.rows(held) if row.owner == owner or has_died(row.owner)]
        ended = table.c.expires_at < time_of(txn, clock())
        abandoned = and_(table.c.status == Status.PROCESSING, or_(table.c.owner.in_(dead), ended))
        free = or_(table.c.status == Status.PENDING, abandoned)
        oldest = select(table).where(free).order_by(table.c.pk).limit(1)
        rows = txn.rows(oldest.with_for_update(skip_locked=True))
        if not rows:
            return None
        mine = update(table).where(table.c.pk == rows[0].pk)
        expires_at = lease_end(txn, clock())
        txn.execute(mine.values(status=Status.PROCESSING, owner=owner, expires_at=expires_at))
    return _task(rows[0])


def renew_task(store: Store, task: Task, owner: str, clock: Callable[[], float]) -> None:
    """Renew the lease of a task, unless another owner has claimed it."""
    with store.claim() as txn:
        txn.execute(_held(task, owner).values(expires_at=lease_end(txn, clock())))


def end_task(
    store: Store,
    task: Task,
    owner: str,
    *,
    at: float,
    result: Mapping[str, Any] | None,
    error: str | None,
) -> bool:
    """Write the end of a task; return whether the owner still had it."""
    status = Status.COMPLETED if error is None else Status.FAILED
    values = {"status": status.value, "error": error, "result": result, "ended_at": at}
    with store.write() as txn:
        return txn.execute(_held(task, owner).values(owner=None, **values)) > 0


def return_task(store: Store, task: Task, owner: str) -> None:
    """Mark an unfinished task as pending again."""
    with store.claim() as txn:
        txn.execute(_held(task, owner).values(status=Status.PENDING.value, owner=None))


def forget_task(txn: Txn, task: Task) -> None:
    """Delete a task that has ended."""
    txn.execute(schema.task.delete().where(schema.task.c.pk == task.pk))


def cancel_task(txn: Txn, id: str) -> bool:
    """Delete a task that no worker has begun; return whether it was deleted."""
    table = schema.task
    waiting = (table.c.id == id) & (table.c.status == Status.PENDING)
    return txn.execute(table.delete().where(waiting)) > 0


def _held(task: Task, owner: str) -> Update:
    """Return the statement that updates a task while the owner has it."""
    table = schema.task
    return update(table).where(table.c.pk == task.pk, table.c.owner == owner)


def _unfinished() -> Any:
    return schema.task.c.status.in_([Status.PENDING, Status.PROCESSING])


def _task(row: Any) -> Task:
    return Task(
        row.pk,
        row.id,
        row.namespace,
        TaskKind(row.kind),
        row.spec,
        Status(row.status),
        row.error,
        row.result or {},
        datetime.fromtimestamp(row.created_at, UTC),
        None if row.ended_at is None else datetime.fromtimestamp(row.ended_at, UTC),
    )
