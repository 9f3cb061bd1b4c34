"""Bringing items and vectors into a collection, from whatever a user has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.catalog.objects import Draft
from lookalike.catalog.resources import CollectionRow
from lookalike.content.sources import json_values
from lookalike.errors import BadInput
from lookalike.ingest.documents import Target
from lookalike.ingest.items import Registrar, Tally, VectorIngest, vector_ids
from lookalike.library.runtime import Workshop
from lookalike.model import Progress, quiet


def register(
    workshop: Workshop, row: CollectionRow, stream: Iterable[Any], tally: Tally, *, copy: bool
) -> None:
    """Register items as objects that wait for extraction. Raises BadInput where none can be."""
    target = take_in(workshop, row, stream, tally, copy=copy)
    check_some(tally, target.extractor.accepts)


def take_in(
    workshop: Workshop, row: CollectionRow, stream: Iterable[Any], tally: Tally, *, copy: bool
) -> Target:
    """Register items as objects that wait for extraction, and return what they go to."""
    target = workshop.target(row)
    registrar = Registrar(
        workshop.store,
        workshop.blobs,
        workshop.clock,
        copy=copy,
        threads=workshop.settings.threads,
    )
    registrar.register(target, stream, tally, quiet)
    return target


def check_some(tally: Tally, accepts: Iterable[str]) -> None:
    """Raise BadInput where all that came was left out, as the extractor does not read it."""
    if tally.skipped and not (tally.added or tally.changed or tally.unchanged):
        wanted = " or ".join(sorted(accepts))
        raise BadInput(
            f"none of the {len(tally.skipped)} files is {wanted}, the first is "
            f"{tally.skipped[0]!r}; check the folder"
        )


def add_vectors(
    workshop: Workshop,
    row: CollectionRow,
    vectors: Any,
    ids: Any,
    metadata: Any,
    tally: Tally,
    progress: Progress,
) -> None:
    """Add vectors (n, d) as documents. Raises BadInput for another shape, or other lengths."""
    array, named = checked_vectors(vectors, ids, metadata)
    VectorIngest(workshop.operations).add(
        workshop.target(row, array.shape[1]),
        array,
        [Draft(id, id, one, id=id) for id, one in named],
        tally,
        actor=workshop.actor,
        progress=progress,
    )


def checked_vectors(
    vectors: Any, ids: Any, metadata: Any
) -> tuple[NDArray[Any], list[tuple[str, dict[str, Any]]]]:
    """Return vectors (n, d), and of each its id and metadata. Raises BadInput where it cannot."""
    array = np.asarray(vectors)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise BadInput(f"vectors are a {array.dtype} array of shape {array.shape}; give (n, d)")
    names = vector_ids(array, ids)
    if isinstance(metadata, Mapping) or metadata is None:
        metadata = [metadata or {}] * len(array)
    if len(metadata) != len(array):
        raise BadInput(f"there are {len(metadata)} metadata rows for {len(array)} vectors")
    return array, [(id, json_values(one)) for id, one in zip(names, metadata, strict=True)]
