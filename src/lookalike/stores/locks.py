"""Fair locks, granted in the order of requests, so that no thread starves.

A `threading.Lock` has no order: a thread that takes it again and again can make others wait for
seconds.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class FairLock:
    """A lock that is granted in the order of requests; requests with `first` come before others."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._first: deque[threading.Lock] = deque()
        self._others: deque[threading.Lock] = deque()
        self._taken = False
        self._holder: int | None = None

    @contextmanager
    def taken(self, *, first: bool = False) -> Iterator[None]:
        """Hold the lock inside. Not reentrant."""
        assert self._holder != threading.get_ident(), (
            "the lock is not reentrant: this thread would wait for itself"
        )
        self._take(self._first if first else self._others)
        self._holder = threading.get_ident()
        try:
            yield
        finally:
            self._holder = None
            self._pass_on()

    def _take(self, queue: deque[threading.Lock]) -> None:
        ticket = threading.Lock()
        ticket.acquire()
        with self._guard:
            if not self._taken:
                self._taken = True
                return
            queue.append(ticket)
        try:
            ticket.acquire()
        except BaseException:  # a signal: leave the queue, or pass on the lock just granted
            with self._guard:
                granted = ticket not in queue
                if not granted:
                    queue.remove(ticket)
            if granted:
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        with self._guard:
            queue = self._first or self._others
            if queue:
                queue.popleft().release()
            else:
                self._taken = False


class OncePerKey(Generic[_K, _V]):
    """Makes one value per key, even if many threads ask at once.

    Threads wait only for their own key. If making a value failed, the next call tries again.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[_K, FairLock] = {}
        self._made: dict[_K, _V] = {}

    def get(self, key: _K, make: Callable[[], _V]) -> _V:
        """Return the value of a key, made by `make` if there is none yet."""
        if key in self._made:
            return self._made[key]
        with self._guard:
            lock = self._locks.setdefault(key, FairLock())
        with lock.taken():
            if key not in self._made:
                self._made[key] = make()
            return self._made[key]
