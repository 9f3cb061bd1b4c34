"""The audit log: who wrote what and who was refused, one line of JSON each.

Neither bodies nor queries are in it, so neither secrets nor signatures. Each line is one write to a
file opened for appending: several processes share the file, and it may be moved away at any time.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_LONGEST_PATH = 1000
_log = logging.getLogger(__name__)


class Audit:
    """The file `logs/audit.jsonl` of a store."""

    def __init__(self, root: Path) -> None:
        self._file = root / "logs" / "audit.jsonl"

    def write(self, *, at: float, path: str, **values: Any) -> None:
        """Append a line. `at` is in UTC seconds; `values` are what JSON can hold.

        A line that the disk does not take is reported in the program's own log.
        """
        time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": time, "path": path[:_LONGEST_PATH], **values}) + "\n"
        try:
            self._append(line.encode())
        except OSError as error:
            _log.error("the audit log misses a line (%s): %s", error.strerror, line.rstrip())

    def _append(self, line: bytes) -> None:
        self._file.parent.mkdir(exist_ok=True)
        descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
