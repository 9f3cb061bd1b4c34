"""Backups: a store as it is at one moment, kept in another directory, which is a store itself.

To restore one is to back it up to where the store shall be.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from lookalike.errors import BadInput, NotAStore
from lookalike.model import Progress, quiet
from lookalike.stores.open import Place
from lookalike.stores.sqlite.backup import Backup, copy_bytes


def back_up(
    place: Place,
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
