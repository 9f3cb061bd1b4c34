"""Migrating: another extractor for collections that are labelled, compared first, then switched."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from lookalike.catalog.idempotency import Request, refuse_repetition
from lookalike.catalog.reader import fields_of
from lookalike.catalog.resources import CollectionRow
from lookalike.catalog.spaces import count_left, drop, failures, hold, lost_and_new, spaces_beside
from lookalike.decisions.operations import Running
from lookalike.errors import BadInput
from lookalike.ingest.items import Tally
from lookalike.library.changing import Change, changes_to
from lookalike.library.migration_switch import switch
from lookalike.library.preparing import Preparation
from lookalike.library.runtime import Workshop
from lookalike.model import Changed, Progress
from lookalike.quality.space_comparison import FieldComparison, compare
from lookalike.stores.base import StoredSpace


@dataclass(frozen=True, slots=True)
class Migration:
    """What collections would be like with another extractor; nothing has changed yet.

    `before` and `after` name the spaces. `extracted` counts the objects that were extracted for
    this, and `failed` gives the reason for each that could not be. Of the documents in force
    `without_counterpart` have none in the other space, and `new_parts` would be documents there.
    """

    collections: tuple[str, ...]
    extractor: str
    before: str
    after: str
    extracted: int
    failed: Mapping[str, str]
    without_counterpart: int
    new_parts: int
    fields: tuple[FieldComparison, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far a server is: objects `left` to extract, or what came of it."""

    left: int
    migration: Migration | None = None
    changed: Changed | None = None


@dataclass(frozen=True, slots=True)
class DroppedSpaces:
    """Spaces that were erased, by the collection's name, and what went with them."""

    spaces: Mapping[str, tuple[str, ...]]
    vectors: int
    freed_bytes: int


def prepared(
    workshop: Workshop,
    namespace: str,
    collections: Sequence[str],
    extractor: str,
    options: Mapping[str, Any] | None,
    confidence_threshold: float | None,
    progress: Progress,
) -> Migration:
    """Extract collections into the space of another extractor, and compare. Nothing else changes.

    Interrupted, the same call goes on. Raises what `changes_to` raises.
    """
    begun, tally = time.perf_counter(), Tally()
    changes = changes_to(
        workshop.store, workshop.extractor, namespace, collections, extractor, options
    )
    extracted = _extracted(workshop, changes, progress)
    spaces = {one.pk: one.after for one in changes}
    deciders = workshop.operations.deciders
    with workshop.store.read() as snapshot:
        counts = [lost_and_new(snapshot, one.pk, one.after) for one in changes]
        for name, error in (pair for one in changes for pair in failures(snapshot, one.after)):
            tally.fail(name, error)
        fields = [
            (one.row.name, field)
            for one in changes
            if one.before is not None
            for field in fields_of(snapshot, one.pk)
        ]
    return Migration(
        collections=tuple(one.row.name for one in changes),
        extractor=changes[0].target.row.extractor,
        before=next((one.before.name for one in changes if one.before is not None), ""),
        after=changes[0].after.name,
        extracted=extracted,
        failed=dict(tally.failed),
        without_counterpart=sum(lost for lost, _ in counts),
        new_parts=sum(new for _, new in counts),
        fields=tuple(
            compare(deciders, name, field, spaces, confidence_threshold) for name, field in fields
        ),
        seconds=time.perf_counter() - begun,
    )


def migrated(
    workshop: Workshop,
    namespace: str,
    collections: Sequence[str],
    extractor: str,
    options: Mapping[str, Any] | None,
    confidence_threshold: float | None,
    progress: Progress,
    op_id: str,
    also: Callable[[Running], None] | None = None,
) -> Changed:
    """Change collections to another extractor, all in one operation, and return what it changed.

    What is not extracted for it yet is extracted first; what comes in meanwhile afterwards. What
    else belongs to the operation is done by `also`, before anything is decided anew. Raises
    what `changes_to` raises, and AlreadyDone for an operation that was done before.
    """
    asked = (collections, extractor, options)
    request = Request.of(op_id, namespace, "migrate", *asked, confidence_threshold)
    with workshop.store.read() as snapshot:
        refuse_repetition(snapshot, request)
    changes = changes_to(
        workshop.store, workshop.extractor, namespace, collections, extractor, options
    )
    _extracted(workshop, changes, progress)
    operate = workshop.operations.operate
    with operate(changes[0].pk, "migrate", workshop.actor, request) as running:
        running.told["spaces"] = {
            one.row.name: [one.before.name if one.before else None, one.after.name]
            for one in changes
        }
        if also is not None:
            also(running)
        switch(workshop.operations, running, changes, confidence_threshold)
    for one in changes:
        target = workshop.target(one.row)
        workshop.extraction().run(target, Tally(), workshop.actor, progress)
    return running.changed()


def dropped(workshop: Workshop, rows: Sequence[CollectionRow]) -> DroppedSpaces:
    """Erase the spaces of collections that are not in force, for good.

    Raises Conflict while one is being extracted into.
    """
    if not rows:
        raise BadInput("say of which collection the spaces beside shall go")
    with workshop.store.write() as txn:
        doomed = {row.name: [one.space for one in spaces_beside(txn, row.pk)] for row in rows}
        spaces = [space for some in doomed.values() for space in some]
        for space in spaces:
            hold(txn, space, "", workshop.clock())
        vectors = drop(txn, spaces)
    size = sum(_erase_files(workshop, space) for space in spaces)
    workshop.layouts.forget_erased()
    workshop.store.tidy()
    names = {name: tuple(one.name for one in some) for name, some in doomed.items()}
    return DroppedSpaces(names, vectors, size)


# --- inside ---------------------------------------------------------------------------------------


def _extracted(workshop: Workshop, changes: Sequence[Change], progress: Progress) -> int:
    """Extract what is left of all collections; return how many objects that were."""
    with workshop.store.read() as snapshot:
        total = sum(count_left(snapshot, one.row, one.after) for one in changes)
    done = 0
    for one in changes:
        preparation = Preparation(workshop.store, workshop.extraction(), one.target, workshop.clock)
        done += preparation.run(partial(_tell, progress, done, total))
    return done


def _tell(progress: Progress, before: int, total: int, done: int, _left: int) -> None:
    progress(before + done, max(total, before + done))


def _erase_files(workshop: Workshop, space: StoredSpace) -> int:
    """Erase what derived files know of a space that is no more; return what all of it took."""
    cache, vectors = workshop.root / "cache", workshop.root / "vectors"
    lists = list(cache.glob(f"lists.{space.pk}.*.npz"))
    files = [*vectors.glob(f"{space.pk}.*.f16"), *cache.glob(f"{space.pk}.*.*"), *lists]
    size = sum(file.stat().st_size for file in files)
    for file in lists:
        file.unlink(missing_ok=True)
    return size
