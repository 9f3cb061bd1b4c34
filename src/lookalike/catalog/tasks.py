"""Tasks: long work that someone asked for, kept until it is done, taken up again after a crash."""

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

# What is held is renewed by a thread of its own for as long as the work takes. That a holder has
# died is known at once to processes that see each other; to all others by its lease, which runs out
# by the database's clock. A clock that is wrong on some machine takes nothing away and keeps
# nothing.

LEASE_S = 60.0
"""So long is kept what a process holds of which nothing is heard any more."""

_LOG = logging.getLogger("lookalike.leases")
_RENEW_S = LEASE_S / 4
_LIVING: set[str] = set()
"""The holders in this process that have not ended."""


class Heartbeat:
    """Renews what is held, in a thread of its own, while the `with` block lasts.

    `renew` is called every quarter of a lease; that it cannot be done now is no reason to end.
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
    """Return when a lease runs out that is taken or renewed now."""
    return time_of(snapshot, here_s) + LEASE_S


def time_of(snapshot: Snapshot, here_s: float) -> float:
    """Return the time that all who share a store go by, in UTC seconds: `here_s` is this machine's.

    It is that of the database, where one has a clock of its own.
    """
    told = snapshot.time_s()
    return here_s if told is None else told


def own_name() -> str:
    """Return a new name for a holder in this process."""
    pid = os.getpid()
    name = f"{_machine()}/{pid}/{_started(pid)}/{ULID()}"
    _LIVING.add(name)
    return name


def end(owner: str) -> None:
    """Let it be known that a holder in this process has ended, whatever it still seems to hold."""
    _LIVING.discard(owner)


def has_died(owner: str) -> bool:
    """Return whether an owner is known to be no more, since it was a process beside this one.

    Of other machines and containers nothing is known.
    """
    machine, pid, started, _ = owner.split("/")
    if not machine or machine != _machine():
        return False
    if _started(int(pid)) != started:
        return True
    return int(pid) == os.getpid() and owner not in _LIVING


def _machine() -> str:
    """Return what only processes have in common that see each other; nothing where that is unknown.

    A host's name is not enough: clones and containers may have the same, and the same pids.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{socket.gethostname()}~{boot}~{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return when a process started, in ticks; what cannot be known is the empty text."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


# -------------------------------------------------------------------------------------------------


class TaskKind(StrEnum):
    """What can be asked for."""

    EXTRACT = "extract"
    DECIDE = "decide"
    MIGRATE = "migrate"


@dataclass(frozen=True, slots=True)
class Task:
    """Work that was asked for; `spec` says what of, `result` what came of it."""

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


def ask_for(
    txn: Txn,
    namespace: str,
    kind: TaskKind,
    spec: Mapping[str, Any],
    *,
    at: float,
    id: str = "",
) -> str:
    """Write a task that waits for a worker; return its id, a new one unless told."""
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
    """Return the latest tasks of a namespace, the newest first; those older than a pk."""
    table = schema.task
    query = select(table).where(table.c.namespace == namespace)
    if before is not None:
        query = query.where(table.c.pk < before)
    return [_task(row) for row in snapshot.rows(query.order_by(table.c.pk.desc()).limit(limit))]


def take_task(store: Store, owner: str, clock: Callable[[], float]) -> Task | None:
    """Return the oldest task that nobody is at, which is the owner's from now on.

    An owner is at one task at a time: what else seems to be its own was begun and not ended.
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


def keep_task(store: Store, task: Task, owner: str, clock: Callable[[], float]) -> None:
    """Renew the lease of a task, unless it is another's by now."""
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
    """Write how a task ended; return whether it was still the owner's to say."""
    status = Status.COMPLETED if error is None else Status.FAILED
    values = {"status": status.value, "error": error, "result": result, "ended_at": at}
    with store.write() as txn:
        return txn.execute(_held(task, owner).values(owner=None, **values)) > 0


def return_task(store: Store, task: Task, owner: str) -> None:
    """Let a task wait again, which was begun and not done."""
    with store.claim() as txn:
        txn.execute(_held(task, owner).values(status=Status.PENDING.value, owner=None))


def forget_task(txn: Txn, task: Task) -> None:
    """Forget a task that has ended."""
    txn.execute(schema.task.delete().where(schema.task.c.pk == task.pk))


def cancel_task(txn: Txn, id: str) -> bool:
    """Forget a task that nobody has begun; return whether that was so."""
    table = schema.task
    waiting = (table.c.id == id) & (table.c.status == Status.PENDING)
    return txn.execute(table.delete().where(waiting)) > 0


def _held(task: Task, owner: str) -> Update:
    """Return the statement that changes a task while it is an owner's."""
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
