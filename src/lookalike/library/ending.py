"""How a process ends that goes on until it is told to: in order the first time, at once the second.

Nothing that was acknowledged is lost either way; in order, nobody is answered with half a reply.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Ending:
    """Whether the process shall end, and since when. `told` takes signals."""

    def __init__(
        self, *, at_once: Callable[[int], None], timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._at_once = at_once
        self._timer = timer
        self._since: float | None = None

    def told(self, number: int, _frame: object = None) -> None:
        """Note that the process shall end; told again, it ends here."""
        if self._since is None:
            self._since = self._timer()
        else:
            self._at_once(number)

    @property
    def has_begun(self) -> bool:
        """Return whether the process shall end."""
        return self._since is not None

    def lasts(self, seconds: float) -> bool:
        """Return whether the process was told to end so long ago, or longer."""
        return self._since is not None and self._timer() - self._since >= seconds


def end_at_once(number: int) -> None:
    """End the process as a signal would, whatever its threads are at."""
    _leave(128 + number, "ended at once")


def end_after(seconds: float) -> None:
    """End the process after so long, if it has not ended by then; nobody has to wait for that."""
    timer = threading.Timer(
        seconds, _leave, (1, f"ended what had not ended by itself after {seconds:g} s")
    )
    timer.daemon = True
    timer.start()


def _leave(code: int, message: str) -> None:
    os.write(2, f"lookalike: {message}; what was acknowledged is kept\n".encode())
    os._exit(code)
