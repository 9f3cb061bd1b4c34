"""Commit notifications: one listening connection per process, which wakes all followers.

PostgreSQL sends a notification with each commit of a writer. A lost connection is opened again;
then all followers are called once, because a notification may have been missed.
"""

from __future__ import annotations

import logging
import os
import selectors
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

_LOG = logging.getLogger("lookalike.store")
_CHECK_S, _CLOSE_S = 30.0, 2.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0


class Listener:
    """Listens on a channel, with autocommit connections that `connect` opens.

    It starts a thread for the first follower. Thread-safe.
    """

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]], channel: str) -> None:
        self._connect = connect
        self._channel = channel
        self._guard = threading.Lock()
        self._followers: dict[int, Callable[[], None]] = {}
        self._last = 0
        self._thread: threading.Thread | None = None
        self._end: int | None = None
        self.is_live = False

    def follow(self, notify: Callable[[], None]) -> Follower:
        """Call `notify` after each commit, and whenever a commit may have been missed."""
        with self._guard:
            self._last += 1
            self._followers[self._last] = notify
            if self._thread is None:
                self._begin()
            return Follower(self, self._last)

    def leave(self, number: int) -> None:
        """Remove a follower."""
        with self._guard:
            self._followers.pop(number, None)

    def close(self) -> None:
        """Stop the thread and close the connection."""
        with self._guard:
            thread, end, self._thread, self._end = self._thread, self._end, None, None
            self._followers.clear()
        if end is not None:
            os.close(end)
        if thread is not None and thread is not threading.current_thread():
            thread.join(_CLOSE_S)

    # --- inside ---------------------------------------------------------------------------------

    def _begin(self) -> None:
        ended, self._end = os.pipe()  # closing the other end stops the thread
        run = threading.Thread(
            target=self._run, args=(ended,), name="lookalike listener", daemon=True
        )
        self._thread = run
        run.start()

    def _run(self, ended: int) -> None:
        pause = _FIRST_PAUSE_S
        try:
            while True:
                try:
                    with self._connect() as connection:
                        pause = _FIRST_PAUSE_S
                        self._listen(connection, ended)
                    return
                except (psycopg.Error, OSError) as error:
                    if self.is_live:
                        _LOG.warning(
                            "polling for commits until notifications work again: %s", error
                        )
                    self.is_live = False
                if _ready([ended], pause):
                    return
                pause = min(2 * pause, _LONGEST_PAUSE_S)
        finally:
            self.is_live = False
            os.close(ended)

    def _listen(self, connection: psycopg.Connection[Any], ended: int) -> None:
        """Call followers for each notification until closed. Raises psycopg.Error if cut off."""
        connection.execute(SQL("LISTEN {}").format(Identifier(self._channel)))
        self.is_live = True
        self._notify_all()
        while True:
            ready = _ready([connection.fileno(), ended], _CHECK_S)
            if ended in ready:
                return
            if not ready:
                connection.execute("SELECT 1")  # a dead connection shows only in use
            if list(connection.notifies(timeout=0)):
                self._notify_all()

    def _notify_all(self) -> None:
        with self._guard:
            followers = list(self._followers.values())
        for notify in followers:
            with suppress(RuntimeError):  # the follower's event loop has ended
                notify()


def _ready(descriptors: Sequence[int], timeout_s: float) -> set[int]:
    """Return the descriptors that can be read, once one can or the time is over."""
    with selectors.DefaultSelector() as selector:
        for descriptor in descriptors:
            selector.register(descriptor, selectors.EVENT_READ)
        return {key.fd for key, _ in selector.select(timeout_s)}


class Follower:
    """A subscription to commits."""

    def __init__(self, listener: Listener, number: int) -> None:
        self._listener = listener
        self._number = number

    @property
    def is_live(self) -> bool:
        """Return whether commits are reported as they happen; if not, poll."""
        return self._listener.is_live

    def stop(self) -> None:
        """End the subscription. May be called twice."""
        self._listener.leave(self._number)
