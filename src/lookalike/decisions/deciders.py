"""The deciders of all fields: one per field, used by one thread at a time.

**Lock order.** A writer takes the store's write lock first, then the lock of each field that it
decides, and holds them until the commit. A reader takes the lock of one field, then a snapshot, so
that the decider never knows more than the snapshot, and needs no other lock. So there is no
deadlock, and a reader of one field does not wait for other fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from sqlalchemy import select

from lookalike.catalog.fields import stored_field
from lookalike.classifier.graph.neighbours import FindLists
from lookalike.decisions.decider import Decider
from lookalike.errors import LookalikeError
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Store, Txn
from lookalike.stores.locks import FairLock

_SCANS_WHILE_OPEN = 64
"""While the store is open, save a cache if the unsaved work exceeds this number of scans.

See `FieldState.unsaved_exceeds`.
"""
_SCANS_AT_END = 4

_T = TypeVar("_T")


class Deciders:
    """The deciders of a store's fields; derived files go to `cache`. Thread-safe."""

    def __init__(self, store: Store, cache: Path) -> None:
        self._store = store
        self._cache = cache
        self._deciders: dict[int, Decider] = {}
        self._locks: dict[int, FairLock] = {}

    @contextmanager
    def consulted(
        self, field_pk: int, consult: Callable[[Decider, Snapshot], _T]
    ) -> Iterator[tuple[Snapshot, _T]]:
        """Call `consult` with the decider of a field; yield its result with the snapshot it used.

        No decision is written in the field during the call. A thread that already holds a snapshot
        must not call this: it takes another snapshot, and their number is limited.
        """
        with ExitStack() as stack:
            with self.lock_of(field_pk).taken():
                snapshot = stack.enter_context(self._store.read())
                try:
                    answer = consult(self.caught_up(snapshot, field_pk), snapshot)
                except LookalikeError:
                    raise
                except BaseException:
                    self._forget([field_pk])
                    raise
            yield snapshot, answer

    @contextmanager
    def lent(self, collection_pk: int) -> Iterator[LentDeciders]:
        """Lend deciders to an operation that begins and ends inside.

        If it fails, drop the deciders of its fields: their memory may hold uncommitted data.
        """
        self._wait_for_readers(collection_pk)
        with ExitStack() as locks:
            lent = LentDeciders(self, locks)
            try:
                yield lent
            except BaseException:
                self._forget(lent.locked)
                raise
            self._save_caches(lent.locked, beyond=_SCANS_WHILE_OPEN)

    def close(self) -> None:
        """Save for the next process what it would have to compute again."""
        for field_pk in list(self._deciders):
            with self.lock_of(field_pk).taken(first=True):
                self._save_caches([field_pk], beyond=_SCANS_AT_END)
                self._forget([field_pk])

    def rewrite_caches(self) -> None:
        """Delete the cache files and save them again, because an item was erased."""
        for field_pk, decider in list(self._deciders.items()):
            with self.lock_of(field_pk).taken(first=True):
                decider.state.delete_cache()
                self._save_caches([field_pk], beyond=0)

    def lock_of(self, field_pk: int) -> FairLock:
        """Return the lock of a field."""
        return self._locks.setdefault(field_pk, FairLock())

    def caught_up(self, snapshot: Snapshot, field_pk: int) -> Decider:
        """Return the decider of a field, up to date with `snapshot`; the caller holds the lock."""
        stored = stored_field(snapshot, field_pk)
        decider = self._deciders.get(field_pk)
        if decider is None or decider.field != stored:
            decider = self._deciders[field_pk] = Decider(stored, self._cache)
        decider.refresh(snapshot)
        return decider

    def rebuilt(self, snapshot: Snapshot, field_pk: int, find: FindLists | None = None) -> Decider:
        """Return a new decider of a field, as of `snapshot`, without anything cached.

        It uses `find` to search neighbours.
        """
        stored = stored_field(snapshot, field_pk)
        decider = self._deciders[field_pk] = Decider(stored, self._cache, find)
        decider.state.delete_cache()
        decider.refresh(snapshot)
        return decider

    def erase(self, field_pk: int) -> None:
        """Drop the decider and the cache files of a field that was removed."""
        self._deciders.pop(field_pk, None)
        for file in self._cache.glob(f"*.{field_pk}.npz"):
            file.unlink(missing_ok=True)

    def _wait_for_readers(self, collection_pk: int) -> None:
        """Wait for readers of a collection before the write lock is taken and others wait too."""
        for field_pk, decider in list(self._deciders.items()):
            if decider.field.collection_pk == collection_pk:
                with self.lock_of(field_pk).taken(first=True):
                    pass

    def _forget(self, field_pks: Iterable[int]) -> None:
        for field_pk in field_pks:
            self._deciders.pop(field_pk, None)

    def _save_caches(self, field_pks: Iterable[int], *, beyond: float) -> None:
        states = {pk: self._deciders[pk].state for pk in field_pks if pk in self._deciders}
        ahead = {pk: state for pk, state in states.items() if state.unsaved_exceeds(beyond)}
        if not ahead:
            return
        with self._store.read() as snapshot:
            there = {row.pk for row in snapshot.rows(select(schema.field.c.pk))}
            for pk, state in ahead.items():
                if pk in there:
                    state.save_cache(snapshot)
                else:
                    self.erase(pk)


@dataclass(slots=True)
class LentDeciders:
    """The deciders that an operation holds, by field. No other thread has them until it ends."""

    deciders: Deciders
    locks: ExitStack
    locked: set[int] = field(default_factory=set)
    held: dict[int, Decider] = field(default_factory=dict)

    def decider(self, txn: Txn, field_pk: int) -> Decider:
        """Return the decider of a field, up to date."""
        self._hold(field_pk)
        self.held[field_pk] = decider = self.deciders.caught_up(txn, field_pk)
        return decider

    def rebuilt(self, txn: Txn, field_pk: int, find: FindLists | None) -> Decider:
        """Return a new decider without anything cached; it searches neighbours with `find`."""
        self._hold(field_pk)
        self.held[field_pk] = decider = self.deciders.rebuilt(txn, field_pk, find)
        return decider

    def erase(self, field_pks: Iterable[int]) -> None:
        """Drop the deciders and the cache files of fields that were removed."""
        for field_pk in field_pks:
            self._hold(field_pk)
            self.deciders.erase(field_pk)

    def _hold(self, field_pk: int) -> None:
        if field_pk not in self.locked:
            self.locks.enter_context(self.deciders.lock_of(field_pk).taken(first=True))
            self.locked.add(field_pk)
