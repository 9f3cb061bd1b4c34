"""Queues as they were when somebody asked for them, kept for a while under a token."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

from lookalike.errors import NotFound
from lookalike.model import Question

_KEPT = 256


@dataclass(frozen=True, slots=True)
class Frozen:
    """The questions of a queue as they were asked: ids of documents stand for these themselves."""

    owner: tuple[str, str]
    field: str | None
    questions: tuple[tuple[tuple[str, ...], Question], ...]


class FrozenQueues:
    """The queues that were asked for last, by token. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Frozen] = OrderedDict()

    def keep(self, queue: Frozen) -> str:
        """Keep a queue, and return its token."""
        token = secrets.token_urlsafe(12)
        with self._lock:
            self._kept[token] = queue
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return token

    def find(self, token: str, owner: tuple[str, str]) -> Frozen:
        """Return a queue by its token. Raises NotFound for one of others, or no more kept."""
        with self._lock:
            found = self._kept.get(token)
            if found is not None and found.owner == owner:
                self._kept.move_to_end(token)
                return found
        raise NotFound(f"no queue is kept as {token[:80]!r} any more; ask again without a snapshot")
