"""Add items and vectors to a collection, and extract the objects that wait."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.catalog.objects import Draft, held_in, waits_in
from lookalike.catalog.resources import CollectionRow
from lookalike.catalog.spaces import is_still_current
from lookalike.content.frames import VECTOR, VectorRows, column_names, is_frame, vectors_in
from lookalike.content.sources import CONTENT_KEYS, json_values
from lookalike.errors import BadInput
from lookalike.ingest.documents import Target
from lookalike.ingest.executors import Engine
from lookalike.ingest.items import Registrar, Tally, VectorIngest, vector_ids
from lookalike.library.runtime import Runtime
from lookalike.model import Progress, quiet


def register(
    runtime: Runtime, row: CollectionRow, stream: Iterable[Any], tally: Tally, *, copy: bool
) -> None:
    """Register items as objects that wait for extraction. Raises BadInput if all were skipped."""
    target = take_in(runtime, row, stream, tally, copy=copy)
    check_any_accepted(tally, target.extractor.accepts)


def take_in(
    runtime: Runtime, row: CollectionRow, stream: Iterable[Any], tally: Tally, *, copy: bool
) -> Target:
    """Register items as objects that wait for extraction; return the target they belong to."""
    target = runtime.target(row)
    registrar = Registrar(
        runtime.store,
        runtime.blobs,
        runtime.clock,
        copy=copy,
        threads=runtime.settings.threads,
    )
    registrar.register(target, stream, tally, quiet)
    return target


def check_any_accepted(tally: Tally, accepts: Iterable[str]) -> None:
    """Raise BadInput if all files were skipped because the extractor does not read them."""
    if tally.skipped and not (tally.added or tally.changed or tally.unchanged):
        wanted = " or ".join(sorted(accepts))
        raise BadInput(
            f"none of the {len(tally.skipped)} files is {wanted}, the first is "
            f"{tally.skipped[0]!r}; check the folder"
        )


def add_vectors(
    runtime: Runtime,
    row: CollectionRow,
    vectors: Any,
    ids: Any,
    metadata: Any,
    tally: Tally,
    progress: Progress,
) -> None:
    """Add vectors (n, d) as documents. Raises BadInput for another shape or unequal lengths."""
    array, named = checked_vectors(vectors, ids, metadata)
    VectorIngest(runtime.operations).add(
        runtime.target(row, array.shape[1]),
        array,
        [Draft(id, id, one, id=id) for id, one in named],
        tally,
        actor=runtime.actor,
        progress=progress,
    )


def given_vectors(
    source: Any, vectors: Any, ids: Any, metadata: Any
) -> tuple[Any, Any, Any] | None:
    """Return the vectors, ids and metadata that the arguments of `add` give, None for a source.

    A table gives vectors if `vectors` names a column of it, or if it has a column `vector` and
    none with content. Raises BadInput where there is nothing to add, or two things.
    """
    if source is None and vectors is None:
        raise BadInput("nothing to add: give a source, or vectors=…")
    if is_frame(source):
        names = set(column_names(source))
        if vectors is None and VECTOR in names and not names & set(CONTENT_KEYS):
            vectors = VECTOR
        if isinstance(vectors, str):
            return _table_vectors(vectors_in(source, vectors), ids, metadata)
    if isinstance(vectors, str):
        raise BadInput(f"vectors={vectors!r} names a column: give the DataFrame that has it, too")
    if vectors is not None and source is not None:
        raise BadInput("give either a source or vectors=…; metadata=… describes vectors")
    return None if vectors is None else (vectors, ids, metadata)


def _table_vectors(found: VectorRows, ids: Any, metadata: Any) -> tuple[Any, Any, Any]:
    rows: Any = found.metadata
    if metadata is not None:
        more = [metadata] * len(rows) if isinstance(metadata, Mapping) else list(metadata)
        _check_length(more, rows)
        rows = [{**row, **given} for row, given in zip(rows, more, strict=True)]
    return found.vectors, found.ids if ids is None else ids, rows


def _check_length(metadata: Any, vectors: Any) -> None:
    if len(metadata) != len(vectors):
        raise BadInput(f"there are {len(metadata)} metadata rows for {len(vectors)} vectors")


def checked_vectors(
    vectors: Any, ids: Any, metadata: Any
) -> tuple[NDArray[Any], list[tuple[str, dict[str, Any]]]]:
    """Return vectors (n, d), and the id and metadata of each. Raises BadInput for a misfit."""
    array = np.asarray(vectors)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise BadInput(
            f"vectors is an array of {array.dtype} with shape {array.shape}; give numbers (n, d)"
        )
    names = vector_ids(array, ids)
    if isinstance(metadata, Mapping) or metadata is None:
        metadata = [metadata or {}] * len(array)
    _check_length(metadata, array)
    return array, [(id, json_values(row)) for id, row in zip(names, metadata, strict=True)]


# --- extraction of waiting objects ---------------------------------------------------------------

_POLL_S = 0.2


def extract_free(
    runtime: Runtime,
    row: CollectionRow,
    tally: Tally,
    progress: Progress,
    engine: Engine | None,
) -> None:
    """Extract waiting objects that no other process holds, in threads here or on an `engine`."""
    is_done = False
    while not is_done:
        with runtime.store.read() as snapshot:
            if not waits_in(snapshot, row.pk):
                return
        target = runtime.target(row)
        runtime.extraction().run(target, tally, runtime.actor, progress, engine)
        with runtime.store.read() as snapshot:
            is_done = is_still_current(snapshot, target.space)  # or a migration came between


def extract_to_the_end(
    runtime: Runtime,
    row: CollectionRow,
    tally: Tally,
    progress: Progress,
    engine: Engine | None,
) -> None:
    """Extract as `extract_free`, then wait for the objects that other processes hold.

    Objects that they leave are extracted here. So every object that waited at the start is
    extracted at the end.
    """
    extract_free(runtime, row, tally, progress, engine)
    held = _held(runtime, row)
    while held:
        time.sleep(_POLL_S)
        extract_free(runtime, row, tally, progress, engine)
        held &= _held(runtime, row)


def _held(runtime: Runtime, row: CollectionRow) -> set[int]:
    with runtime.store.read() as snapshot:
        return held_in(snapshot, row.pk)
