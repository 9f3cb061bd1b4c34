"""Part matching: map the parts found by a new extractor to the documents of known parts.

A document keeps its identity if the name of its part changes. `matching_parts` decides which parts
match.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from lookalike.catalog.fields import placed
from lookalike.catalog.spaces import ExtractedParts, FoundPart, was_standby
from lookalike.content.boxes import PartRegion, matching_parts
from lookalike.extractors.base import Part as Extracted
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, StoredSpace, Txn, conditions


@dataclass(frozen=True, slots=True)
class KnownDocument:
    """A document of an object, with its part as the previous extractor found it."""

    pk: int
    part: PartRegion


@dataclass(frozen=True, slots=True)
class ExtractedContent:
    """What an extractor found in the content with that digest: parts, or an error."""

    sha256: str
    parts: Sequence[Extracted]
    error: str | None = None
    is_forgotten: Callable[[Extracted], bool] = lambda _part: False


def documents_of(
    snapshot: Snapshot, collection_pk: int, objects: Sequence[int]
) -> dict[int, list[KnownDocument]]:
    """Return the documents of objects in a collection, by the object's pk."""
    table = schema.document
    query = select(table).where(table.c.collection_pk == collection_pk).order_by(table.c.pk)
    known: dict[int, list[KnownDocument]] = {}
    for chosen in conditions(table.c.object_pk, objects):
        for row in snapshot.rows(query.where(chosen)):
            part = PartRegion(row.part, row.attributes)
            known.setdefault(row.object_pk, []).append(KnownDocument(row.pk, part))
    return known


def matched(
    object_pk: int, content: ExtractedContent, known: Sequence[KnownDocument], dimension: int
) -> tuple[ExtractedParts, dict[int, NDArray[np.float16]]]:
    """Return the parts found in an object, and the vectors (d,) of those that match documents.

    Forgotten parts are left out.
    """
    every = [PartRegion(part.key, part.attributes) for part in content.parts]
    pairs = matching_parts([document.part for document in known], every)
    kept = [
        place
        for place, part in enumerate(content.parts)
        if place in pairs or not content.is_forgotten(part)
    ]
    found = [every[place] for place in kept]
    vectors = [content.parts[place].vector.astype(np.float16) for place in kept]
    pks = [known[pairs[place]].pk if place in pairs else None for place in kept]
    parts = (FoundPart(pk, part.key, part.attributes) for pk, part in zip(pks, found, strict=True))
    new = [vector for pk, vector in zip(pks, vectors, strict=True) if pk is None]
    rows = np.stack(new) if new else np.empty((0, dimension), np.float16)
    finding = ExtractedParts(object_pk, tuple(parts), rows, content.sha256, content.error)
    return finding, {pk: vector for pk, vector in zip(pks, vectors, strict=True) if pk is not None}


def rename(txn: Txn, collection_pk: int, findings: Sequence[ExtractedParts]) -> list[int]:
    """Give documents the names and attributes of their matching parts.

    A document without a matching part keeps its name, unless another document has that name now.
    Return the documents whose quality changed from low to sufficient, or the reverse.
    """
    table = schema.document
    contents = {each.object_pk: each.sha256 for each in findings}
    parts = {part.document_pk: part for each in findings for part in each.parts}
    taken = {(each.object_pk, part.key) for each in findings for part in each.parts}
    query = select(table).where(table.c.collection_pk == collection_pk).order_by(table.c.pk)
    rows = [
        row
        for chosen in conditions(table.c.object_pk, list(contents))
        for row in txn.rows(query.where(chosen))
    ]
    names: dict[int, str] = {}
    quality_changed: list[int] = []
    changed: list[dict[str, Any]] = []
    for row in rows:
        part = parts.get(row.pk)
        if part is None:
            free = (row.object_pk, row.part) not in taken
            names[row.pk] = row.part if free else f"{row.part}~{row.pk}"
            continue
        names[row.pk] = part.key
        sha256 = bytes.fromhex(contents[row.object_pk])
        if (row.attributes, row.sha256) != (part.attributes, sha256):
            values = {"attributes": dict(part.attributes), "sha256": sha256}
            changed.append({"pk": row.pk, **values})
            if row.attributes.get("low_quality") != part.attributes.get("low_quality"):
                quality_changed.append(row.pk)
    txn.update(table, changed)
    renamed = {row.pk: names[row.pk] for row in rows if names[row.pk] != row.part}
    for step in ({pk: f"~{pk}" for pk in renamed}, renamed):  # two may swap their names
        txn.update(table, [{"pk": pk, "part": name} for pk, name in step.items()])
    return quality_changed


def match_new_parts(
    txn: Txn, collection_pk: int, space: StoredSpace, found: Mapping[int, ExtractedContent]
) -> None:
    """Match documents that only another extractor had found with the parts found now.

    So a label stays on its part if a collection has changed its extractor and an object is
    extracted later. `found` are the parts found in each object.
    """
    if not was_standby(txn, space):
        return
    known = documents_of(txn, collection_pk, list(found))
    pks = np.array(sorted(each.pk for group in known.values() for each in group), np.int64)
    without_vector = set(pks[~placed(txn, space, pks)].tolist())
    findings = [
        matched(object_pk, found[object_pk], documents, space.dimension)[0]
        for object_pk, documents in known.items()
        if all(each.pk in without_vector for each in documents)
    ]
    rename(txn, collection_pk, findings)
