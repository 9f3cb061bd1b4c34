"""Who extracts what was claimed: threads of this process, or others elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Protocol

from lookalike.content.blobs import Blobs
from lookalike.ingest.documents import Target
from lookalike.ingest.executors import Done, Waiting

_PATIENCE_S = 2.0

Task = Sequence[Waiting]
Results = list[tuple[str, Done]]
"""Contents with what came out of them."""


class Hands(Protocol):
    """Extracts tasks, in any order; what it was given it gives back, once each."""

    @property
    def has_room(self) -> bool:
        """Return whether more tasks should be given before results are waited for."""

    def take(self, tasks: Iterable[Task]) -> None:
        """Take tasks over; a content whose object failed may come again with another."""

    def results(self) -> Results:
        """Wait a little for results, and return those that came: it may be none."""

    def drop(self) -> None:
        """Begin with nothing more."""

    def close(self) -> None:
        """Drop what is not begun, and wait until what is has ended. Twice is harmless."""


@dataclass(frozen=True, slots=True)
class View:
    """A small picture, JPEG, of a content: what `view` names, of the part at `place`.

    That of no part in particular has the place −1.
    """

    place: int
    view: str
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class Bench:
    """What hands elsewhere need of those who claim and write.

    `here` extracts a task in this process. `keep` keeps what people will be shown of a content.
    """

    target: Target
    blobs: Blobs
    max_pixels: int
    here: Callable[[Task], Results]
    keep: Callable[[Waiting, Done, Sequence[View]], None]


class Engine(Protocol):
    """Where the heavy work is done, if not here."""

    def hands(self, bench: Bench) -> Hands:
        """Return who extracts for a collection."""


class Threads:
    """Extracts tasks in some threads of this process."""

    def __init__(self, extract: Callable[[Task], Results], threads: int) -> None:
        self._extract = extract
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads)
        self._running: set[Future[Results]] = set()

    @property
    def has_room(self) -> bool:
        """Return whether a thread would soon have nothing to do."""
        return len(self._running) < 2 * self._threads

    def take(self, tasks: Iterable[Task]) -> None:
        """Let threads begin with tasks, in their order."""
        self._running |= {self._pool.submit(self._extract, task) for task in tasks}

    def results(self) -> Results:
        """Wait a little for results, and return those that came."""
        ready, self._running = wait(self._running, timeout=_PATIENCE_S, return_when=FIRST_COMPLETED)
        return [result for future in ready for result in future.result()]

    def drop(self) -> None:
        """Drop what no thread has begun with."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Drop what no thread has begun with, and wait for those that are at something."""
        self._pool.shutdown(wait=True, cancel_futures=True)
