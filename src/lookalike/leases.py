"""Leases: work is held by a process that lives, and free again when it has died."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from ulid import ULID


def own_name() -> str:
    """Return a new name for a holder in this process."""
    pid = os.getpid()
    return f"{socket.gethostname()}/{pid}/{_started(pid)}/{ULID()}"


def has_died(owner: str) -> bool:
    """Return whether an owner was a process of this machine that is no more."""
    host, pid, started, _ = owner.split("/")
    return host == socket.gethostname() and _started(int(pid)) != started


def _started(pid: int) -> str:
    """Return when a process started, in ticks; what cannot be known is the empty text."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
