"""Extracting what waits in a collection, alone or beside others who are at it, too."""

from __future__ import annotations

import time

from lookalike.catalog.objects import held_in, waits_in
from lookalike.catalog.resources import CollectionRow
from lookalike.catalog.spaces import in_force_now
from lookalike.ingest.hands import Engine
from lookalike.ingest.items import Tally
from lookalike.library.runtime import Workshop
from lookalike.model import Progress

_POLL_S = 0.2


def extract_free(
    workshop: Workshop,
    row: CollectionRow,
    tally: Tally,
    progress: Progress,
    engine: Engine | None,
) -> None:
    """Extract what waits and nobody is at, in threads here or on an `engine`."""
    is_done = False
    while not is_done:
        with workshop.store.read() as snapshot:
            if not waits_in(snapshot, row.pk):
                return
        target = workshop.target(row)
        workshop.extraction().run(target, tally, workshop.actor, progress, engine)
        with workshop.store.read() as snapshot:
            is_done = in_force_now(snapshot, target.space)  # or a migration came in between


def extract_to_the_end(
    workshop: Workshop,
    row: CollectionRow,
    tally: Tally,
    progress: Progress,
    engine: Engine | None,
) -> None:
    """Do as `extract_free`, and wait for what others are at then; what they leave is taken over.

    So whatever waited at the beginning has been extracted at the end, by whomever.
    """
    extract_free(workshop, row, tally, progress, engine)
    held = _held(workshop, row)
    while held:
        time.sleep(_POLL_S)
        extract_free(workshop, row, tally, progress, engine)
        held &= _held(workshop, row)


def _held(workshop: Workshop, row: CollectionRow) -> set[int]:
    with workshop.store.read() as snapshot:
        return held_in(snapshot, row.pk)
