"""Back up a store to another directory, which is a store itself, and compact a store.

To restore a backup, back it up to the place of the store.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lookalike.catalog.embedding_map import move_cached_slots as move_map_slots
from lookalike.content.files import read_cache, write_cache
from lookalike.decisions.field.classifier import move_cached_slots as move_list_slots
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
    """Back up the store at a place to the directory `target`, which must be new or empty.

    Others keep reading and writing. The backup is checked; an interrupted backup leaves none. Files
    of the `earlier` backup on the same file system are shared with it (hard links). Caches, logs
    and files that the setting `blobs` keeps elsewhere are left out. `progress` counts bytes.

    Raises NotAStore if there is no store, BadInput for a store in a database and for a target
    inside the store, Conflict for a target that is not empty, StoreUnwritable without disk space,
    StoreCorrupt for an inconsistent store, StoreTooNew for a store of a newer version.
    """
    if place.is_database:
        raise BadInput(
            f"{place.shown()} is in a database, which has backups of its own: pg_dump; "
            "`lookalike copy` copies it to a directory"
        )
    source, goal = Path(place.given).absolute(), Path(target).absolute()
    if not place.is_there():
        raise NotAStore(f"there is no store in {place.given!r}; give the store to back up")
    _check_apart(source, goal)
    kept = None if earlier is None else Path(earlier).absolute()
    if kept is not None and not (kept / "lookalike.db").exists():
        raise BadInput(f"{earlier} is not an earlier backup: there is no store in it")
    if kept is not None and kept.resolve() == source.resolve():
        raise BadInput(f"{earlier} is the store itself: a backup must not share files with it")
    backup = copy_bytes(source, goal, earlier=kept, progress=progress)
    if place.settings(os.environ).blobs is None:
        return backup
    return replace(backup, elsewhere=len(backup.missing), missing=())


def _check_apart(source: Path, target: Path) -> None:
    one, other = source.resolve(), target.resolve()
    if other.is_relative_to(one):
        raise BadInput(f"{target} is in the store itself; give a directory outside of {source}")
    if one.is_relative_to(other):
        raise BadInput(f"the store is in {target}; give an empty directory")


# --- update caches after packing -----------------------------------------------------------------

# The caches could be computed again, but neighbour lists of a million items take minutes.


def move_cached_slots(cache: Path, packed: Sequence[Packed]) -> None:
    """Update the files in `cache` to the new slots of vectors in packed spaces."""
    for one in packed:
        for file in cache.glob(f"lists.{one.space.pk}.*.npz"):
            move_list_slots(file, one)
        move_map_slots(cache / f"map-{one.space.pk}.npz", one)
    for file in cache.glob("field.*.npz") if packed else ():
        _move_field_slots(file, packed)


def _move_field_slots(file: Path, packed: Sequence[Packed]) -> None:
    kept = read_cache(file)
    if kept is None:
        return
    (mark, arrays), moved = kept, False
    for one in packed:
        for name in ("space", "reference_space"):
            space = mark.get(name, {})
            known = space.get("pk"), space.get("generation")
            if known != (one.space.pk, one.space.generation - 1):
                continue
            if name == "space":
                slots = one.moved(arrays["slots"])
                if slots is None:
                    return
                arrays["slots"] = slots
            space["generation"], moved = one.space.generation, True
    if moved:
        write_cache(file, mark, arrays)


# --- compaction ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Compacted:
    """The size of a store on disk before and after; `spaces` counts the packed spaces."""

    spaces: int
    bytes_before: int
    bytes_after: int


def compact(runtime: Runtime, *, progress: Progress = quiet) -> Compacted:
    """Free the disk space of removed documents.

    Others keep reading; writers wait. Meanwhile the disk holds vectors and database twice, and the
    memory the database once. An interruption leaves the old or the new state. Files that a reader
    of an older state still needs are removed by the next compaction.

    Raises StoreUnwritable without enough disk space; nothing is lost.
    """
    deciders = runtime.operations.deciders
    deciders.close()
    done = runtime.store.compact(progress)
    move_cached_slots(runtime.root / "cache", done.packed)
    return Compacted(len(done.packed), done.bytes_before, done.bytes_after)
