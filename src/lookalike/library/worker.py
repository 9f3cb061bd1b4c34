"""The worker: extracts and decides what waits, and does the tasks that were asked for.

One or many, inside a server or as processes of their own: what they are at is held by leases. Each
has a watch beside it, which checks alarms.
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
from lookalike.library.health import OK, SIGNALS, Ending, Readiness, end_at_once, troubles_of
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
    """The worker shall end: what it has begun waits again."""


class Worker:
    """Works for all namespaces of a store. Start it as a thread, or `run` it."""

    def __init__(self, runtime: Runtime, *, poll_s: float = _POLL_S) -> None:
        self._runtime = runtime
        self._poll_s = poll_s
        self._owner = new_owner()
        self._news = threading.Condition()
        self._is_asked = False
        self._is_stopping = threading.Event()
        self._resting_until: dict[int, float] = {}
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to work in a thread."""
        self._thread = threading.Thread(target=self.run, name="lookalike worker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, as soon as what is being written is written."""
        self._is_stopping.set()
        self.wake()
        if self._thread is not None:
            self._thread.join()

    @property
    def has_died(self) -> bool:
        """Return whether its thread has ended although nobody told it to."""
        began = self._thread is not None and not self._thread.is_alive()
        return began and not self._is_stopping.is_set()

    def wake(self) -> None:
        """Tell that there is something to do: nobody needs to wait for the next look."""
        with self._news:
            self._is_asked = True
            self._news.notify_all()

    def wait_until(self, is_done: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until something is so, as long as the timeout allows; return whether it is."""
        end = time.monotonic() + timeout_s
        while not (done := is_done()) and (left := end - time.monotonic()) > 0:
            with self._news:
                self._news.wait(min(left, _WAIT_S))
        return done

    def run(self) -> None:
        """Work until `stop`; whatever goes wrong with one piece of work, the rest goes on."""
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
        trouble = ""
        while not self._is_stopping.is_set():
            with self._news:
                self._is_asked = False
            try:
                busy, before, trouble = self.work(), trouble, ""
                if before:
                    _LOG.warning("the store can be used again")
            except _Stopped:
                return
            except StoreError as error:
                if str(error) != trouble:
                    _LOG.warning("%s", error)
                busy, trouble = False, str(error)
            with self._news:
                if not busy and not self._is_asked and not self._is_stopping.is_set():
                    self._news.wait(self._poll_s)

    def work(self) -> bool:
        """Do what waits now; return whether there was something."""
        busy = False
        for row in self._waiting():
            busy = self._extract(row) or busy
        task = claim_task(self._runtime.store, self._owner, self._runtime.clock)
        if task is not None:
            self._do(task)
            self._tell()
        return busy or task is not None

    # --- inside ---------------------------------------------------------------------------------

    def _waiting(self) -> list[CollectionRow]:
        """Return the collections in which objects wait, but for those that just went wrong."""
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
            self._tell()

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
        """Let all fail that waits in a collection which cannot extract anything."""
        _LOG.warning("%s: %s", row.name, reason)
        table = schema.extraction
        waiting = (table.c.collection_pk == row.pk) & (table.c.status == Status.PENDING)
        with self._runtime.store.write() as txn:
            failed = update(table).where(waiting)
            txn.execute(failed.values(status=Status.FAILED, error=reason))
        self._tell()

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
            error = "it could not be done; the server's log says why"
        if not end_task(store, task, self._owner, at=clock(), result=result, error=error):
            _LOG.warning("task %s is another worker's by now", task.id)

    def _done(self, task: Task) -> dict[str, Any]:
        with self._runtime.store.read() as snapshot:
            pk = task.spec["collection_pk"]
            name = task.spec["collection"]
            found = named(snapshot, task.namespace, Kind.COLLECTION, name)
            if found.pk != pk:
                raise NotFound(f"the collection {name!r} was removed meanwhile; make it again")
            row = collection_row(snapshot, pk)
        collection = Collection(self._runtime, row)
        if task.kind is TaskKind.EXTRACT:
            collection.extract(progress=lambda _done, _total: self._tell())
            return {"documents": len(collection)}
        if task.kind is TaskKind.MIGRATE:
            return self._migrate(task)
        # Named by the task: what another worker did, who died before it said so, is not done again.
        changed = [
            collection.run(actor=task.spec["actor"], op_id=f"op_{task.id}.{number}", **run)
            for number, run in enumerate(task.spec["runs"])
        ]
        operations = [one.operation for one in changed]
        return {"operations": operations, "changed": sum(one.by_itself for one in changed)}

    def _migrate(self, task: Task) -> dict[str, Any]:
        """Prepare a migration, or carry it out; what waits meanwhile is extracted in between."""

        def progress(_done: int, _total: int) -> None:
            self._tell()
            for row in self._waiting():
                self._extract(row)

        runtime, spec = self._runtime.for_actor(task.spec["actor"]), task.spec
        names = (spec["collections"], spec["extractor"], spec["options"])
        asked = (runtime, task.namespace, *names, spec["threshold"], progress)
        if spec["switches"]:
            return {"changed": asdict(migrated(*asked, op_id=spec["op_id"]))}
        return {"migration": asdict(prepare(*asked))}

    def _tell(self) -> None:
        """Let those know who wait for something, and end here when the worker shall."""
        with self._news:
            self._news.notify_all()
        if self._is_stopping.is_set():
            raise _Stopped


# --- a worker in its own process -----------------------------------------------------------------

# Without an address to ask, it writes how it is to a file, every few seconds; a probe reads that.

STALE_S = 30.0
"""A worker that has written nothing for so long hangs, or is gone."""

_BEAT_S = 5.0


def run_worker(runtime: Runtime, *, once: bool, health_file: Path | None = None) -> None:
    """Work until interrupted or terminated, or with `once` until nothing waits.

    What it holds is given back as soon as what it writes is written; a second signal ends it at
    once. Raises BadSetting where the health file cannot be written.
    """
    worker, ending = Worker(runtime), Ending(at_once=end_at_once)
    if once:
        while worker.work():
            pass
        Watch(runtime.store, runtime.settings, runtime.clock).look()
        return

    def told(number: int, frame: object) -> None:
        ending.told(number, frame)
        worker.stop()

    for number in SIGNALS:
        signal.signal(number, told)
    leaves = {"ending": lambda: "told to end" if ending.has_begun else OK}
    readiness = Readiness(runtime, leaves)
    with nullcontext() if health_file is None else HealthFile(health_file, readiness):
        worker.run()


class HealthFile:
    """Writes how a process is to a file while the `with` block lasts; then the file is gone."""

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
        told = {"at": self._clock(), "pid": os.getpid(), "checks": dict(self._readiness.checks())}
        draft = self._path.with_name(f"{self._path.name}.part")
        try:
            draft.write_text(json.dumps(told), "utf-8")
            draft.replace(self._path)
        except OSError as error:
            raise BadSetting(
                f"the health file {self._path} cannot be written: {error.strerror}; name another"
            ) from error


def check_file(path: Path, *, only_alive: bool, now: float) -> str:
    """Return how the process that writes a health file says it is.

    Raises Unreachable where it says nothing, and unless `only_alive` where it cannot work.
    """
    try:
        told = json.loads(path.read_text("utf-8"))
        age, checks = now - float(told["at"]), dict(told["checks"])
    except FileNotFoundError as error:
        raise Unreachable(f"there is no {path}: no worker writes its health there") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unreachable(f"{path} is no health file of a worker: {error}") from error
    if age > STALE_S:
        raise Unreachable(f"the worker of {path} has said nothing for {age:.0f} s: start it again")
    if not only_alive and (troubles := troubles_of(checks)):
        raise Unreachable(f"the worker is not ready: {troubles}")
    return "alive" if only_alive else "ready"
