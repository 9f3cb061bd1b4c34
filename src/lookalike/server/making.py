"""The layouts of maps that are being made while the server answers: one at a time for a space."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass

from lookalike.catalog.embedding_map import Layouts
from lookalike.classifier.graph.search import Ids
from lookalike.errors import LookalikeError
from lookalike.stores.base import StoredSpace

_KEPT = 8
_STOP_S = 30.0
_log = logging.getLogger(__name__)


class _Ended(Exception):
    """The server ends, and nobody waits for a map any more."""


@dataclass(slots=True)
class _Making:
    """A layout in the making: which share is `done`, and why it failed, where it did."""

    thread: threading.Thread | None = None
    done: float = 0.0
    error: LookalikeError | None = None


class Makings:
    """Makes layouts in threads, and keeps the orders of documents of maps that were sent."""

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        self._lock = threading.Lock()
        self._making: dict[int, _Making] = {}
        self._orders: OrderedDict[tuple[str, int], Ids] = OrderedDict()
        self._is_ending = False

    def begin(self, space: StoredSpace) -> float:
        """Make the layout of a space, if nobody does; return which share is done.

        Raises what the last try failed for, once; the next who asks tries again.
        """
        with self._lock:
            making = self._making.get(space.pk)
            if making is not None and making.error is not None:
                del self._making[space.pk]
                raise making.error
            if making is None and not self._is_ending:
                making = self._making[space.pk] = _Making()
                making.thread = threading.Thread(
                    target=self._make, args=(space, making), name=f"map-{space.pk}", daemon=True
                )
                making.thread.start()
        return 0.0 if making is None else making.done

    def keep(self, name: str, collection_pk: int, pks: Ids) -> None:
        """Keep the order of the documents of a map that was sent; the last few are kept."""
        with self._lock:
            self._orders[name, collection_pk] = pks
            self._orders.move_to_end((name, collection_pk))
            while len(self._orders) > _KEPT:
                self._orders.popitem(last=False)

    def order(self, name: str, collection_pk: int) -> Ids | None:
        """Return the documents of a map in its order; None for one that is not kept."""
        with self._lock:
            return self._orders.get((name, collection_pk))

    def close(self) -> None:
        """Let what is being made end."""
        with self._lock:
            self._is_ending = True
            threads = [one.thread for one in self._making.values() if one.thread is not None]
        for thread in threads:
            thread.join(_STOP_S)

    def _make(self, space: StoredSpace, making: _Making) -> None:
        def tell(done: float) -> None:
            making.done = done
            if self._is_ending:
                raise _Ended

        try:
            self._layouts.make(space, tell)
        except _Ended:
            pass
        except LookalikeError as error:
            making.error = error
            return
        except BaseException:
            _log.exception("the map of %s could not be made", space.name)
            making.error = LookalikeError(
                f"the map of {space.name} could not be made; the log of the server says why"
            )
            raise
        with self._lock:
            self._making.pop(space.pk, None)
