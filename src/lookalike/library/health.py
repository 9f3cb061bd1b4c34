"""Whether a process can do its work now: what the probes of a server and of a worker are told.

Anybody may ask a server, so nothing here names a path, a host or a collection; the log does.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from sqlalchemy import select

from lookalike.catalog.resources import Kind, collection_from
from lookalike.errors import LookalikeError, StoreError
from lookalike.library.runtime import Workshop
from lookalike.stores import schema

OK = "ok"
LEAST_FREE_BYTES = 64 * 2**20
"""With less room on its disk a process takes no more work."""

_LOG = logging.getLogger("lookalike.readiness")
_FRESH_S = 1.0
_NEEDS_DIMENSION = "passthrough"


class Readiness:
    """What is checked of a process, and how it is; `further` checks return OK or what is wrong.

    However many ask, it is looked at once a second. Safe for threads.
    """

    def __init__(
        self,
        workshop: Workshop,
        further: Mapping[str, Callable[[], str]] | None = None,
        *,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workshop = workshop
        self._further = dict(further or {})
        self._timer = timer
        self._turn = threading.Lock()
        self._checks: dict[str, str] = {}
        self._looked_at = float("-inf")

    def checks(self) -> Mapping[str, str]:
        """Return what is checked, and OK or what is wrong with it."""
        with self._turn:
            if self._timer() - self._looked_at >= _FRESH_S:
                before, self._checks = self._checks, self._look()
                self._looked_at = self._timer()
                self._tell(troubles_of(before), troubles_of(self._checks))
            return self._checks

    def _tell(self, before: str, now: str) -> None:
        if before != now:
            _LOG.warning("%s", f"not ready: {now}" if now else "ready again")

    def _look(self) -> dict[str, str]:
        further = {name: check() for name, check in self._further.items()}
        root, blobs = self._workshop.root, self._workshop.settings.blobs
        folders = [root, *([blobs] if isinstance(blobs, Path) and blobs.exists() else [])]
        disks = [disk_trouble(folder) for folder in folders]
        disk = next((trouble for trouble in disks if trouble), OK)
        return {**self._look_at_store(), "disk": disk, **further}

    def _look_at_store(self) -> dict[str, str]:
        """Read from the store, and build the extractors of its collections."""
        meta, resource = schema.meta, schema.resource
        version = select(meta.c.value).where(meta.c.key == "schema_version")
        collections = select(resource).where(resource.c.kind == Kind.COLLECTION)
        try:
            with self._workshop.store.read() as snapshot:
                number = int(snapshot.rows(version)[0].value)
                rows = snapshot.rows(collections)
        except StoreError as error:
            _LOG.info("%s", error)
            return {"store": error.code}
        if number != schema.SCHEMA_VERSION:
            return {"store": f"its schema has become version {number}; upgrade this process"}
        extractors = OK
        for row in map(collection_from, rows):
            if row.extractor == _NEEDS_DIMENSION:  # and nothing that could be missing
                continue
            try:
                self._workshop.extractor(row.extractor, row.options)
            except LookalikeError as error:
                _LOG.info("%s: %s", row.name, error)
                extractors = error.code
        return {"store": OK, "extractors": extractors}


def troubles_of(checks: Mapping[str, str]) -> str:
    """Return what is wrong as a text; empty where nothing is."""
    return "; ".join(f"{name}: {found}" for name, found in checks.items() if found != OK)


def disk_trouble(folder: Path, *, least_bytes: int = LEAST_FREE_BYTES) -> str:
    """Return why nothing can be written to a folder; empty where something can."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return str(error.strerror).lower()
    if not os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        return "read-only"
    return f"{free // 2**20} MB free" if free < least_bytes else ""
