"""Health checks for the probes of a server and a worker, `doctor`, and orderly shutdown.

Anybody may call a server's probe, so the checks name no path, host or collection; the log does.
"""

from __future__ import annotations

import logging
import os
import platform
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from sqlalchemy import select

from lookalike.catalog.resources import Kind, collection_from
from lookalike.errors import LookalikeError, StoreError
from lookalike.extractors.registry import extractors
from lookalike.library.library import Library
from lookalike.library.runtime import Runtime
from lookalike.stores import schema
from lookalike.stores.sqlite.engine import driver

OK = "ok"
LEAST_FREE_BYTES = 64 * 2**20
"""With less free disk space, in bytes, a process is not ready for work."""

_LOG = logging.getLogger("lookalike.readiness")
_FRESH_S = 1.0
_NEEDS_DIMENSION = "passthrough"


class Readiness:
    """The health checks of a process; the `further` checks return OK or the problem.

    It runs the checks at most once a second, however many requests come. Thread-safe.
    """

    def __init__(
        self,
        runtime: Runtime,
        further: Mapping[str, Callable[[], str]] | None = None,
        *,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runtime = runtime
        self._further = dict(further or {})
        self._timer = timer
        self._turn = threading.Lock()
        self._checks: dict[str, str] = {}
        self._looked_at = float("-inf")

    def checks(self) -> Mapping[str, str]:
        """Return the checks by name, each with OK or the problem."""
        with self._turn:
            if self._timer() - self._looked_at >= _FRESH_S:
                before, self._checks = self._checks, self._look()
                self._looked_at = self._timer()
                self._log_change(problems_of(before), problems_of(self._checks))
            return self._checks

    def _log_change(self, before: str, now: str) -> None:
        if before != now:
            _LOG.warning("%s", f"not ready: {now}" if now else "ready again")

    def _look(self) -> dict[str, str]:
        further = {name: check() for name, check in self._further.items()}
        root, blobs = self._runtime.root, self._runtime.settings.blobs
        folders = [root, *([blobs] if isinstance(blobs, Path) and blobs.exists() else [])]
        disks = [disk_problem(folder) for folder in folders]
        disk = next((problem for problem in disks if problem), OK)
        return {**self._look_at_store(), "disk": disk, **further}

    def _look_at_store(self) -> dict[str, str]:
        """Check the store by a read, and the extractors of its collections by building them."""
        meta, resource = schema.meta, schema.resource
        version = select(meta.c.value).where(meta.c.key == "schema_version")
        collections = select(resource).where(resource.c.kind == Kind.COLLECTION)
        try:
            with self._runtime.store.read() as snapshot:
                number = int(snapshot.rows(version)[0].value)
                rows = snapshot.rows(collections)
        except StoreError as error:
            _LOG.info("%s", error)
            return {"store": error.code}
        if number != schema.SCHEMA_VERSION:
            return {"store": f"its schema has become version {number}; upgrade this process"}
        extractors = OK
        for row in map(collection_from, rows):
            if row.extractor == _NEEDS_DIMENSION:  # it has no model that could be missing
                continue
            try:
                self._runtime.extractor(row.extractor, row.options)
            except LookalikeError as error:
                _LOG.info("%s: %s", row.name, error)
                extractors = error.code
        return {"store": OK, "extractors": extractors}


def problems_of(checks: Mapping[str, str]) -> str:
    """Return the problems as one text; "" if there are none."""
    return "; ".join(f"{name}: {found}" for name, found in checks.items() if found != OK)


def disk_problem(folder: Path, *, least_bytes: int = LEAST_FREE_BYTES) -> str:
    """Return why a folder cannot be written; "" if it can."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return str(error.strerror).lower()
    if not os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        return "read-only"
    return f"{free // 2**20} MB free" if free < least_bytes else ""


# --- diagnosis of installation and store ---------------------------------------------------------

_PACKAGES = ("lookalike", "numpy", "onnxruntime", "sqlalchemy", "pysqlite3", "simsimd", "pillow")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The installed versions and the state of the store; `problems` is empty if it is sound."""

    python: str
    versions: Mapping[str, str]
    sqlite: str
    extractors: tuple[str, ...]
    store: str | None
    spaces: Mapping[str, str]
    problems: tuple[str, ...]


def diagnose(library: Library | None) -> Diagnosis:
    """Return the installed versions and, if there is a store, its problems."""
    return Diagnosis(
        python=platform.python_version(),
        versions={name: _version(name) for name in _PACKAGES},
        sqlite=str(driver().sqlite_version),
        extractors=tuple(sorted(extractors())),
        store=None if library is None else library.place,
        spaces={} if library is None else library.spaces(),
        problems=() if library is None else tuple(library.check()),
    )


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


# --- orderly shutdown ----------------------------------------------------------------------------

# Acknowledged writes are safe in any case; an orderly shutdown also completes running replies.

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Ending:
    """The shutdown of a process: whether and since when it was requested."""

    def __init__(
        self, *, at_once: Callable[[int], None], timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._at_once = at_once
        self._timer = timer
        self._since: float | None = None

    def on_signal(self, number: int, _frame: object = None) -> None:
        """Request the shutdown (a signal handler); a second call ends the process at once."""
        if self._since is None:
            self._since = self._timer()
        else:
            self._at_once(number)

    @property
    def has_begun(self) -> bool:
        """Return whether the shutdown was requested."""
        return self._since is not None

    def lasts(self, seconds: float) -> bool:
        """Return whether the shutdown was requested at least `seconds` ago."""
        return self._since is not None and self._timer() - self._since >= seconds


def end_at_once(number: int) -> None:
    """End the process at once, like a signal, without waiting for its threads."""
    _exit(128 + number, "ended at once")


def end_after(seconds: float) -> None:
    """End the process after `seconds` if it has not ended by then; return at once."""
    timer = threading.Timer(
        seconds, _exit, (1, f"ended the process, which had not ended after {seconds:g} s")
    )
    timer.daemon = True
    timer.start()


def _exit(code: int, message: str) -> None:
    os.write(2, f"lookalike: {message}; acknowledged writes are kept\n".encode())
    os._exit(code)
