"""What waits for extraction, what came out of it, and what need not be extracted again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sqlalchemy import exists, select

from lookalike.documents import Target
from lookalike.extractors.base import Part, accepts
from lookalike.forgotten import Forgotten, is_forgotten
from lookalike.model import Blob
from lookalike.objects import input_of, labels_as_they_stand
from lookalike.resources import alike
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, StoredSpace
from lookalike.stores.selection import one_of


@dataclass(frozen=True, slots=True)
class Waiting:
    """An object that this process has claimed."""

    pk: int
    id: str
    name: str
    metadata: Mapping[str, Any]
    blob: Blob | None
    said_by: Collection[str]
    nothing: bool
    """Whether the object has nothing for this collection, which is no failure."""

    @property
    def regions(self) -> list[Mapping[str, Any]] | None:
        """Return the regions that the object has been given, if it has been given any."""
        given = self.metadata.get("regions")
        if isinstance(given, list) and all(isinstance(one, Mapping) for one in given):
            return given
        return None

    @property
    def content(self) -> str:
        """Return what tells one content from another: what has the same is extracted once."""
        assert self.blob is not None, "it has no content"
        if self.regions is None:
            return self.blob.sha256
        given = json.dumps(self.regions, sort_keys=True).encode()
        return f"{self.blob.sha256} {hashlib.sha256(given).hexdigest()}"

    def has_forgotten(self, part: Part, gone: Forgotten) -> bool:
        """Return whether a part of this object's content is among what was forgotten."""
        sha256 = "" if self.blob is None else self.blob.sha256
        return is_forgotten(gone, self.pk, sha256, part.key, part.attributes)


@dataclass(frozen=True, slots=True)
class Done:
    """What came out of one content: parts, or the reason why there are none."""

    parts: tuple[Part, ...]
    error: str | None


MISSING = Done((), "it has no content")
NOTHING = Done((), None)


def as_said_now(
    snapshot: Snapshot, batch: list[tuple[Waiting, Done]]
) -> list[tuple[Waiting, Done]]:
    """Return objects with the metadata that they have now: a label may have come meanwhile."""
    table = schema.object_
    query = select(table.c.pk, table.c.metadata, table.c.said_by)
    rows = snapshot.rows(query.where(one_of(table.c.pk, [one.pk for one, _ in batch])))
    said_by = {row.pk: row.said_by or () for row in rows}
    metadata = labels_as_they_stand(snapshot, {row.pk: row.metadata for row in rows})
    return [
        (replace(one, metadata=metadata[one.pk], said_by=said_by[one.pk]), done)
        for one, done in batch
    ]


def waiting_from(row: Any, target: Target) -> Waiting:
    """Return the object of a row with the content that a collection extracts of it."""
    found = input_of(target.row, [Blob(**blob) for blob in row.blobs], row.metadata)
    fitting = (blob for blob in found or () if accepts(target.extractor, blob.media_type))
    blob = next(fitting, found[0] if found else None)
    said_by = row.said_by or ()
    return Waiting(row.pk, row.id, row.name, row.metadata, blob, said_by, found is None)


def extracted_before(
    snapshot: Snapshot, target: Target, digests: Sequence[str]
) -> dict[str, tuple[Part, ...]]:
    """Return the parts of contents that a collection has extracted in just this way.

    Those of an object that was given regions are not what the extractor finds by itself, and those
    of which some were forgotten are not all.
    """
    document, embedding, stored = schema.document, schema.embedding, schema.space
    object_ = schema.object_
    query = (
        select(document.c.sha256, document.c.pk, document.c.object_pk, document.c.part)
        .add_columns(document.c.attributes, stored)
        .join(embedding, embedding.c.document_pk == document.c.pk)
        .join(stored, stored.c.pk == embedding.c.space_pk)
        .join(object_, object_.c.pk == document.c.object_pk)
        .where(document.c.sha256.in_([bytes.fromhex(digest) for digest in digests]))
        .where(document.c.collection_pk.in_(alike(snapshot, target.row)))
        .where(stored.c.name == target.space.name)
        .where(object_.c.metadata["regions"].as_string().is_(None))
        .where(~exists().where(schema.forgotten.c.object_pk == document.c.object_pk))
        .order_by(document.c.pk)
    )
    owners: dict[str, tuple[int, int]] = {}
    parts: dict[str, list[Part]] = {}
    for row in snapshot.rows(query):
        digest = row.sha256.hex()
        owner = (row.collection_pk, row.object_pk)
        if owners.setdefault(digest, owner) != owner:
            continue
        its_space = StoredSpace(row.pk_1, row.name, row.dimension, row.generation)
        vector = snapshot.vectors(its_space, np.array([row.pk]))[0].astype(np.float32)
        parts.setdefault(digest, []).append(Part(vector, row.part, row.attributes))
    return {digest: tuple(found) for digest, found in parts.items()}
