"""The worker: extracts and decides waiting objects, and runs the tasks of requests.

One or more workers run inside a server or as own processes; leases hold what each works on. Each
also runs a watch, which checks alerts.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import select, update

from lookalike.catalog.resources import CollectionRow, Kind, collection_from, collection_row, named
from lookalike.catalog.tasks import (
    Heartbeat,
    Task,
    TaskKind,
    claim_task,
    end_task,
    new_owner,
    renew_task,
    return_task,
)
from lookalike.errors import (
    BadSetting,
    LookalikeError,
    NotFound,
    StoreBusy,
    StoreError,
    StoreUnreachable,
    Unreachable,
)
from lookalike.library.collection.collection import Collection
from lookalike.library.health import OK, SIGNALS, Ending, Readiness, end_at_once, problems_of
from lookalike.library.migration import migrated, prepare
from lookalike.library.runtime import Runtime
from lookalike.model import Status
from lookalike.quality.alert_delivery import Watch
from lookalike.stores import schema

_LOG = logging.getLogger("lookalike.worker")
_POLL_S = 1.0
_WAIT_S = 0.1
_PATIENCE_S = 10.0


class _Stopped(Exception):
    """Raised to end the worker; the work it has begun waits again."""


class Worker:
    """Works for all namespaces of a store. `start` it as a thread, or `run` it."""

    def __init__(self, runtime: Runtime, *, poll_s: float = _POLL_S) -> None:
        self._runtime = runtime
        self._poll_s = poll_s
        self._owner = new_owner()
        self._changed = threading.Condition()
        self._is_woken = False
        self._is_stopping = threading.Event()
        self._resting_until: dict[int, float] = {}
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start to work in a thread."""
        self._thread = threading.Thread(target=self.run, name="lookalike worker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the running write."""
        self._is_stopping.set()
        self.wake()
        if self._thread is not None:
            self._thread.join()

    @property
    def has_died(self) -> bool:
        """Return whether its thread has ended without `stop`."""
        began = self._thread is not None and not self._thread.is_alive()
        return began and not self._is_stopping.is_set()

    def wake(self) -> None:
        """Look for work at once, without waiting for the next poll."""
        with self._changed:
            self._is_woken = True
            self._changed.notify_all()

    def wait_until(self, is_done: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `is_done()` or the timeout; return whether it is done."""
        end = time.monotonic() + timeout_s
        while not (done := is_done()) and (left := end - time.monotonic()) > 0:
            with self._changed:
                self._changed.wait(min(left, _WAIT_S))
        return done

    def run(self) -> None:
        """Work until `stop`; a failure of one piece of work does not stop the others."""
        runtime = self._runtime
        watch = Watch(runtime.store, runtime.settings, runtime.clock)
        following = runtime.store.follow(self.wake)
        watch.start()
        try:
            self._run()
        finally:
            if following is not None:
                following.stop()
            watch.stop()

    def _run(self) -> None:
        problem = ""
        while not self._is_stopping.is_set():
            with self._changed:
                self._is_woken = False
            try:
                busy, before, problem = self.work(), problem, ""
                if before:
                    _LOG.warning("the store can be used again")
            except _Stopped:
                return
            except StoreError as error:
                if str(error) != problem:
                    _LOG.warning("%s", error)
                busy, problem = False, str(error)
            with self._changed:
                if not busy and not self._is_woken and not self._is_stopping.is_set():
                    self._changed.wait(self._poll_s)

    def work(self) -> bool:
        """Do the waiting work; return whether there was any."""
        busy = False
        for row in self._waiting():
            busy = self._extract(row) or busy
        task = claim_task(self._runtime.store, self._owner, self._runtime.clock)
        if task is not None:
            self._do(task)
            self._notify()
        return busy or task is not None

    # --- helpers --------------------------------------------------------------------------------

    def _waiting(self) -> list[CollectionRow]:
        """Return the collections with waiting objects, without those that just failed."""
        table, resource = schema.extraction, schema.resource
        waits = select(table.c.collection_pk).where(table.c.status != Status.FAILED)
        query = select(resource).where(resource.c.pk.in_(waits)).order_by(resource.c.pk)
        with self._runtime.store.read() as snapshot:
            rows = [collection_from(row) for row in snapshot.rows(query)]
        now = time.monotonic()
        return [row for row in rows if self._resting_until.get(row.pk, 0.0) <= now]

    def _extract(self, row: CollectionRow) -> bool:
        done = 0

        def progress(count: int, _total: int) -> None:
            nonlocal done
            done = count
            self._notify()

        try:
            Collection(self._runtime, row).extract(progress=progress)
        except (StoreError, NotFound) as error:
            _LOG.warning("%s: %s", row.name, error)
            passes = isinstance(error, StoreUnreachable | StoreBusy)
            pause_s = self._poll_s if passes else _PATIENCE_S
            self._resting_until[row.pk] = time.monotonic() + pause_s
        except LookalikeError as error:
            self._fail(row, str(error))
            done += 1
        except _Stopped:
            raise
        except Exception:
            _LOG.exception("%s cannot be extracted now", row.name)
            self._resting_until[row.pk] = time.monotonic() + _PATIENCE_S
        return done > 0

    def _fail(self, row: CollectionRow, reason: str) -> None:
        """Mark all waiting objects of a collection as failed, because it cannot extract any."""
        _LOG.warning("%s: %s", row.name, reason)
        table = schema.extraction
        waiting = (table.c.collection_pk == row.pk) & (table.c.status == Status.PENDING)
        with self._runtime.store.write() as txn:
            failed = update(table).where(waiting)
            txn.execute(failed.values(status=Status.FAILED, error=reason))
        self._notify()

    def _do(self, task: Task) -> None:
        store, clock = self._runtime.store, self._runtime.clock
        result: dict[str, Any] | None = None
        error: str | None = None
        try:
            with Heartbeat(partial(renew_task, store, task, self._owner, clock)):
                result = self._done(task)
        except (StoreError, _Stopped):
            with suppress(StoreError):
                return_task(store, task, self._owner)
            raise
        except LookalikeError as failure:
            error = str(failure)
        except Exception:
            _LOG.exception("task %s", task.id)
            error = "the task failed; the server's log has the reason"
        if not end_task(store, task, self._owner, at=clock(), result=result, error=error):
            _LOG.warning("another worker has taken task %s meanwhile", task.id)

    def _done(self, task: Task) -> dict[str, Any]:
        with self._runtime.store.read() as snapshot:
            pk = task.spec["collection_pk"]
            name = task.spec["collection"]
            found = named(snapshot, task.namespace, Kind.COLLECTION, name)
            if found.pk != pk:
                raise NotFound(f"the collection {name!r} was removed meanwhile; create it again")
            row = collection_row(snapshot, pk)
        collection = Collection(self._runtime, row)
        if task.kind is TaskKind.EXTRACT:
            collection.extract(progress=lambda _done, _total: self._notify())
            return {"documents": len(collection)}
        if task.kind is TaskKind.MIGRATE:
            return self._migrate(task)
        # The task's id makes runs idempotent: a run of a worker that died is not repeated.
        changed = [
            collection.run(actor=task.spec["actor"], op_id=f"op_{task.id}.{number}", **run)
            for number, run in enumerate(task.spec["runs"])
        ]
        operations = [one.operation for one in changed]
        return {"operations": operations, "changed": sum(one.by_itself for one in changed)}

    def _migrate(self, task: Task) -> dict[str, Any]:
        """Prepare or execute a migration; extract waiting objects of other work in between."""

        def progress(_done: int, _total: int) -> None:
            self._notify()
            for row in self._waiting():
                self._extract(row)

        runtime, spec = self._runtime.for_actor(task.spec["actor"]), task.spec
        names = (spec["collections"], spec["extractor"], spec["options"])
        arguments = (runtime, task.namespace, *names, spec["threshold"], progress)
        if spec["switches"]:
            return {"changed": asdict(migrated(*arguments, op_id=spec["op_id"]))}
        return {"migration": asdict(prepare(*arguments))}

    def _notify(self) -> None:
        """Notify threads in `wait_until`, and raise _Stopped if the worker has to end."""
        with self._changed:
            self._changed.notify_all()
        if self._is_stopping.is_set():
            raise _Stopped


# --- a worker in its own process -----------------------------------------------------------------

# Such a worker has no HTTP address: it writes its health to a file, which a probe reads.

STALE_S = 30.0
"""A worker whose health file is older (in seconds) hangs or has ended."""

_BEAT_S = 5.0


def run_worker(runtime: Runtime, *, once: bool, health_file: Path | None = None) -> None:
    """Work until interrupted or terminated, or with `once` until no work waits.

    After a signal it ends the running write and releases its leases; a second signal ends it at
    once. Raises BadSetting if the health file cannot be written.
    """
    worker, ending = Worker(runtime), Ending(at_once=end_at_once)
    if once:
        while worker.work():
            pass
        Watch(runtime.store, runtime.settings, runtime.clock).check()
        return

    def on_signal(number: int, frame: object) -> None:
        ending.on_signal(number, frame)
        worker.stop()

    for number in SIGNALS:
        signal.signal(number, on_signal)
    checks = {"ending": lambda: "told to end" if ending.has_begun else OK}
    readiness = Readiness(runtime, checks)
    with nullcontext() if health_file is None else HealthFile(health_file, readiness):
        worker.run()


class HealthFile:
    """Writes the health of a process to a file during the `with` block; then removes the file."""

    def __init__(
        self, path: Path, readiness: Readiness, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._readiness = readiness
        self._clock = clock
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lookalike health", daemon=True)

    def __enter__(self) -> Self:
        self._write()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._is_over.wait(_BEAT_S):
            with suppress(BadSetting):  # a disk that is full now may have room again
                self._write()

    def _write(self) -> None:
        checks = dict(self._readiness.checks())
        state = {"at": self._clock(), "pid": os.getpid(), "checks": checks}
        draft = self._path.with_name(f"{self._path.name}.part")
        try:
            draft.write_text(json.dumps(state), "utf-8")
            draft.replace(self._path)
        except OSError as error:
            raise BadSetting(
                f"cannot write the health file {self._path}: {error.strerror}; choose another"
            ) from error


def check_file(path: Path, *, only_alive: bool, now: float) -> str:
    """Return the health of the process that writes a health file.

    Raises Unreachable if the file is missing or stale, or, unless `only_alive`, if it cannot work.
    """
    try:
        state = json.loads(path.read_text("utf-8"))
        age, checks = now - float(state["at"]), dict(state["checks"])
    except FileNotFoundError as error:
        raise Unreachable(f"there is no {path}: no worker writes its health there") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unreachable(f"{path} is not the health file of a worker: {error}") from error
    if age > STALE_S:
        raise Unreachable(f"the worker has not updated {path} for {age:.0f} s: start it again")
    if not only_alive and (problems := problems_of(checks)):
        raise Unreachable(f"the worker is not ready: {problems}")
    return "alive" if only_alive else "ready"
