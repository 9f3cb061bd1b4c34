"""Compaction: what was removed gives its room on the disk back."""

from __future__ import annotations

from dataclasses import dataclass

from lookalike.library.repacking import follow_packed
from lookalike.library.runtime import Workshop
from lookalike.model import Progress, quiet


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a store took on the disk before, and takes now; `spaces` counts those packed anew."""

    spaces: int
    bytes_before: int
    bytes_after: int


def compact(workshop: Workshop, *, progress: Progress = quiet) -> Compacted:
    """Give back the room that removed documents left in a store.

    Others go on reading, and wait with what they write. While it works the disk holds vectors and
    database twice, and the memory the database once. Interrupted, all is as it was or as it shall
    be. What a reader of an older state still needs goes with the next compaction.

    Raises StoreUnwritable where the disk has no room; nothing is lost.
    """
    deciders = workshop.operations.deciders
    deciders.close()
    done = workshop.store.compact(progress)
    follow_packed(workshop.root / "cache", done.packed)
    return Compacted(len(done.packed), done.bytes_before, done.bytes_after)
