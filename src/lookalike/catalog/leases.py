"""Leases: work is held by a process that lives, and free again when it has died.

What is held is renewed by a thread of its own for as long as the work takes. That a holder has died
is known at once to processes that see each other; to all others by its lease, which runs out by the
database's clock. A clock that is wrong on some machine takes nothing away and keeps nothing.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from ulid import ULID

from lookalike.errors import LookalikeError
from lookalike.stores.base import Snapshot

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
