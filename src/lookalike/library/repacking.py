"""What is left for the next process, carried over to where vectors are once they are packed.

All of it is derived, and would be made anew: neighbour lists of a million items take minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lookalike.catalog.embedding_map import follow_packed as map_follows
from lookalike.content.recall import recall, remember
from lookalike.decisions.field.kept_lists import follow_packed as lists_follow
from lookalike.stores.base import Packed


def follow_packed(cache: Path, packed: Sequence[Packed]) -> None:
    """Let the files in `cache` be of where the vectors of packed spaces are now."""
    for one in packed:
        for file in cache.glob(f"lists.{one.space.pk}.*.npz"):
            lists_follow(file, one)
        map_follows(cache / f"map-{one.space.pk}.npz", one)
    for file in cache.glob("field.*.npz") if packed else ():
        _field_follows(file, packed)


def _field_follows(file: Path, packed: Sequence[Packed]) -> None:
    kept = recall(file)
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
        remember(file, mark, arrays)
