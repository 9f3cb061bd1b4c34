"""A worker in a process of its own: it works until it is told to end, and shows that it lives.

Without an address to ask, it writes how it is to a file, every few seconds; a probe reads that.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from lookalike.errors import BadSetting, Unreachable
from lookalike.library.ending import SIGNALS, Ending, end_at_once
from lookalike.library.health import OK, Readiness, troubles_of
from lookalike.library.runtime import Workshop
from lookalike.library.worker import Worker
from lookalike.quality.alert_delivery import Watch

STALE_S = 30.0
"""A worker that has written nothing for so long hangs, or is gone."""

_BEAT_S = 5.0


def run_worker(workshop: Workshop, *, once: bool, health_file: Path | None = None) -> None:
    """Work until interrupted or terminated, or with `once` until nothing waits.

    What it holds is given back as soon as what it writes is written; a second signal ends it at
    once. Raises BadSetting where the health file cannot be written.
    """
    worker, ending = Worker(workshop), Ending(at_once=end_at_once)
    if once:
        while worker.work():
            pass
        Watch(workshop.store, workshop.settings, workshop.clock).look()
        return

    def told(number: int, frame: object) -> None:
        ending.told(number, frame)
        worker.stop()

    for number in SIGNALS:
        signal.signal(number, told)
    leaves = {"ending": lambda: "told to end" if ending.has_begun else OK}
    readiness = Readiness(workshop, leaves)
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
