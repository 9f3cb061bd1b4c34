"""Backups: a store as it is at one moment, kept in another directory, which is a store itself.

To restore one is to back it up to where the store shall be.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lookalike.catalog.embedding_map import move_cached_slots as map_follows
from lookalike.content.files import read_cache, write_cache
from lookalike.decisions.field.classifier import move_cached_slots as lists_follow
from lookalike.errors import BadInput, NotAStore
from lookalike.library.runtime import Runtime
from lookalike.model import Progress, quiet
from lookalike.stores.base import Packed
from lookalike.stores.open import StoreAddress
from lookalike.stores.sqlite.backup import Backup, copy_bytes


def back_up(
    place: StoreAddress,
    target: str | Path,
    *,
    earlier: str | Path | None = None,
    progress: Progress = quiet,
) -> Backup:
    """Keep the store at a place in the directory `target`, which is new or empty.

    Others go on reading and writing. It is there as a whole and checked or, interrupted, not at
    all. Kept files that the `earlier` backup has are shared with it (hard links), where both are on
    one file system. Without caches and logs, and without what the setting `blobs` keeps elsewhere.
    `progress` gets bytes.

    Raises NotAStore where there is none, BadInput for a store in a database and for a target that
    is in the store, Conflict where it holds something, StoreUnwritable where it has no room,
    StoreCorrupt where the store contradicts itself, StoreTooNew for one of a newer version.
    """
    if place.is_database:
        raise BadInput(
            f"{place.shown()} is in a database, which has backups of its own: pg_dump; "
            "`lookalike copy` brings it to a directory"
        )
    source, goal = Path(place.given).absolute(), Path(target).absolute()
    if not place.is_there():
        raise NotAStore(f"there is no store in {place.given!r}; name the one to be kept")
    _check_apart(source, goal)
    kept = None if earlier is None else Path(earlier).absolute()
    if kept is not None and not (kept / "lookalike.db").exists():
        raise BadInput(f"{earlier} is no earlier backup: there is no store in it")
    if kept is not None and kept.resolve() == source.resolve():
        raise BadInput(f"{earlier} is the store itself: what shares its files is no backup of them")
    backup = copy_bytes(source, goal, earlier=kept, progress=progress)
    if place.settings(os.environ).blobs is None:
        return backup
    return replace(backup, elsewhere=len(backup.missing), missing=())


def _check_apart(source: Path, target: Path) -> None:
    one, other = source.resolve(), target.resolve()
    if other.is_relative_to(one):
        raise BadInput(f"{target} is in the store itself; name a directory outside of {source}")
    if one.is_relative_to(other):
        raise BadInput(f"the store is in {target}; name a directory that holds nothing")


# --- cache carry-over after packing --------------------------------------------------------------

# All of it is derived, and would be made anew: neighbour lists of a million items take minutes.


def move_cached_slots(cache: Path, packed: Sequence[Packed]) -> None:
    """Let the files in `cache` be of where the vectors of packed spaces are now."""
    for one in packed:
        for file in cache.glob(f"lists.{one.space.pk}.*.npz"):
            lists_follow(file, one)
        map_follows(cache / f"map-{one.space.pk}.npz", one)
    for file in cache.glob("field.*.npz") if packed else ():
        _field_follows(file, packed)


def _field_follows(file: Path, packed: Sequence[Packed]) -> None:
    kept = read_cache(file)
    if kept is None:
        return
    (mark, arrays), moved = kept, False
    for one in packed:
        for name in ("space", "reference_space"):
            was = mark.get(name, {})
            if (was.get("pk"), was.get("generation")) != (one.space.pk, one.space.generation - 1):
                continue
            if name == "space":
                slots = one.moved(arrays["slots"])
                if slots is None:
                    return
                arrays["slots"] = slots
            was["generation"], moved = one.space.generation, True
    if moved:
        write_cache(file, mark, arrays)


# --- compaction ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a store took on the disk before, and takes now; `spaces` counts those packed anew."""

    spaces: int
    bytes_before: int
    bytes_after: int


def compact(runtime: Runtime, *, progress: Progress = quiet) -> Compacted:
    """Give back the room that removed documents left in a store.

    Others go on reading, and wait with what they write. While it works the disk holds vectors and
    database twice, and the memory the database once. Interrupted, all is as it was or as it shall
    be. What a reader of an older state still needs goes with the next compaction.

    Raises StoreUnwritable where the disk has no room; nothing is lost.
    """
    deciders = runtime.operations.deciders
    deciders.close()
    done = runtime.store.compact(progress)
    move_cached_slots(runtime.root / "cache", done.packed)
    return Compacted(len(done.packed), done.bytes_before, done.bytes_after)
