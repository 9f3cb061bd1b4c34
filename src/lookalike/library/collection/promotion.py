"""Promotion: make automatically labelled documents references, if they pass a gate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, select

from lookalike.catalog.idempotency import Previewed, idempotent
from lookalike.catalog.reader import FieldRow, document_query, ids_of, label_states
from lookalike.catalog.resources import CollectionRow, collection_row
from lookalike.classifier.graph.search import Matches, similarities
from lookalike.classifier.review.reference_checks import near_duplicates
from lookalike.decisions.ledger.samples import audited_right, held_out
from lookalike.decisions.operations import LabelStatement, Running
from lookalike.errors import BadInput, Conflict
from lookalike.extractors.base import Part
from lookalike.ingest.documents import NewDocument, write_documents
from lookalike.library.collection.base import CollectionBase
from lookalike.library.runtime import Runtime
from lookalike.library.verb import verb
from lookalike.model import Changed, EventKind, Origin
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, one_of

# --- the gate: which automatic labels may become references --------------------------------------

# Automatic labels as references would reinforce the classifier's own mistakes. So the gate requires
# more confidence than labelling does, new information, no conflict with a reference, and no more
# promoted references than people's. Promoted references propagate evidence but are left out of
# calibration: they are a selection of easy documents.

MIN_CONFIDENCE = 0.99
"""The confidence that promotion requires by default."""

CAP = 1.0
"""The number of promoted references allowed per reference from people, by default."""


class Hold(StrEnum):
    """Why the gate does not promote a document."""

    CONFLICT = "conflict"
    UNSURE = "unsure"
    DUPLICATE = "duplicate"
    ENOUGH = "enough"


@dataclass(frozen=True, slots=True)
class Candidates:
    """Automatically labelled documents, arrays (m,) except `vectors` float16 (m, d).

    `ids` int64, `codes` their labels, `confidence` and `margin` of the decisions, `matches` (m, k)
    their nearest references.
    """

    ids: NDArray[np.int64]
    codes: NDArray[np.integer]
    confidence: NDArray[np.floating]
    margin: NDArray[np.floating]
    vectors: NDArray[np.float16]
    matches: Matches


def gate(
    candidates: Candidates,
    given: NDArray[np.integer],
    promoted: NDArray[np.integer],
    *,
    bound: float,
    min_confidence: float = MIN_CONFIDENCE,
    cap: float = CAP,
) -> list[Hold | None]:
    """Return for each candidate why it is not promoted, None if it is.

    `given` and `promoted` count the references from people and those promoted before, by code;
    `bound` is the similarity from `duplicate_bound`. The most confident candidates come first: a
    later near-duplicate of a promoted candidate is held back.
    """
    holds: list[Hold | None] = [None] * len(candidates.ids)
    near = near_duplicates(candidates.matches, bound)
    other = candidates.matches.codes != candidates.codes[:, None]
    conflict = np.asarray((near & other).any(axis=1))
    duplicate = np.asarray(near.any(axis=1))
    room = np.floor(cap * given) - promoted
    vectors = candidates.vectors.astype(np.float64)
    passed: list[int] = []
    for row in _most_confident_first(candidates):
        if conflict[row]:
            holds[row] = Hold.CONFLICT
        elif candidates.confidence[row] < min_confidence:
            holds[row] = Hold.UNSURE
        elif duplicate[row]:
            holds[row] = Hold.DUPLICATE
        elif room[candidates.codes[row]] < 1:
            holds[row] = Hold.ENOUGH
        elif same := _near_duplicates(vectors, row, passed, bound):
            agree = {candidates.codes[other] for other in same} == {candidates.codes[row]}
            holds[row] = Hold.DUPLICATE if agree else Hold.CONFLICT
        else:
            room[candidates.codes[row]] -= 1
            passed.append(row)
    return holds


def _most_confident_first(candidates: Candidates) -> list[int]:
    order = np.lexsort((candidates.ids, -candidates.margin, -candidates.confidence))
    return [int(row) for row in order]


def _near_duplicates(
    vectors: NDArray[np.float64], row: int, passed: list[int], bound: float
) -> list[int]:
    """Return the candidates in `passed` that are near-duplicates of the candidate `row`."""
    if not passed:
        return []
    similarity = similarities(vectors[row : row + 1], vectors[passed])[0]
    return [passed[place] for place in np.flatnonzero(similarity >= np.float32(bound))]


# -------------------------------------------------------------------------------------------------

_HELD = {
    Hold.CONFLICT: "has another label than a near-duplicate reference",
    Hold.UNSURE: f"has a confidence below {MIN_CONFIDENCE}, which promotion requires",
    Hold.DUPLICATE: "adds nothing: it is a near-duplicate of a reference",
    Hold.ENOUGH: "its label already has as many promoted references as references from people",
}


def promotable(
    collection_pk: int, field_pk: int, label: str | None, min_confidence: float | None
) -> Select[Any]:
    """Return the query for the automatically labelled documents that pass the filters."""
    standing = schema.standing.c
    query = document_query(collection_pk, field_pk).where(standing.origin == Origin.AUTO)
    if label is not None:
        query = query.where(standing.label == label)
    if min_confidence is not None:
        query = query.where(standing.confidence >= min_confidence)
    return query.order_by(schema.document.c.pk)


def not_automatic(snapshot: Snapshot, field_pk: int, pks: Mapping[str, int]) -> dict[str, str]:
    """Return why documents cannot be promoted, by id: they have no automatic label."""
    now = label_states(snapshot, field_pk, pks.values())
    return {
        id: "has no label" if now[pk].label is None else f"its label is {now[pk].origin}, not auto"
        for id, pk in pks.items()
        if now[pk].origin != Origin.AUTO
    }


def promote(
    runtime: Runtime,
    running: Running,
    collection: CollectionRow,
    field: FieldRow,
    query: Select[Any],
    *,
    gated: bool,
    audited_only: bool = False,
) -> None:
    """Promote the documents of a query: here in unified mode, else as copies where references are.

    If `gated`, it refuses what the gate holds back, with the reason; with `audited_only` also
    every document whose label no audit found right.
    """
    pks = _not_held_out(running, field, [row.pk for row in running.txn.rows(query)])
    if audited_only:
        pks = _audited_right(running, field, pks)
    if gated and pks:
        pks = _through_gate(running, field, pks)
    labels = label_states(running.txn, field.pk, pks)
    chosen = {pk: str(labels[pk].label) for pk in pks}
    running.promoted = dict(sorted(Counter(chosen.values()).items()))
    if field.reference_field_pk != field.pk:
        chosen = _copied(runtime, running, collection, field, chosen)
    running.by_person = len(chosen)
    statements = [
        LabelStatement(pk, EventKind.PROMOTED, label, Origin.PROMOTED)
        for pk, label in chosen.items()
    ]
    runtime.operations.append(running, field.reference_field_pk, statements)


def _not_held_out(running: Running, field: FieldRow, pks: Sequence[int]) -> list[int]:
    """Return the documents that no open audit or experiment holds out; refuse the others."""
    held = held_out(running.txn, field.pk, pks)
    reason = "is in an open audit or experiment: close or end that first"
    running.refused |= dict.fromkeys(ids_of(running.txn, held).values(), reason)
    return [pk for pk in pks if pk not in held]


def _audited_right(running: Running, field: FieldRow, pks: Sequence[int]) -> list[int]:
    """Return the documents whose label an audit found right; refuse the others."""
    right = audited_right(running.txn, field.pk, pks)
    others = ids_of(running.txn, set(pks) - right)
    running.refused |= dict.fromkeys(others.values(), "no audit has found its label right")
    return [pk for pk in pks if pk in right]


def _through_gate(running: Running, field: FieldRow, pks: Sequence[int]) -> list[int]:
    """Return the documents that pass the gate; refuse the others."""
    txn, standing = running.txn, schema.standing
    decider = running.decider(field.pk)
    state = decider.state
    rows = state.columns.rows_of(np.array(sorted(pks), np.int64))
    bound = decider.duplicate_bound(txn)
    ids = state.columns.pks[rows]
    candidates = Candidates(
        ids=ids,
        codes=state.columns["codes"][rows],
        confidence=state.columns["confidence"][rows],
        margin=np.nan_to_num(state.columns["margin"][rows]),
        vectors=state.vectors(txn, rows),
        matches=state.matches(rows),
    )
    promoted = select(standing.c.document_pk).where(
        standing.c.field_pk == field.reference_field_pk, standing.c.origin == Origin.PROMOTED
    )
    promoted_pks = [row.document_pk for row in txn.rows(promoted)]
    is_given = ~np.isin(state.references.pks, promoted_pks)
    count = len(state.codes.names)
    given = np.bincount(state.references.codes[is_given], minlength=count)
    before = np.bincount(state.references.codes[~is_given], minlength=count)
    holds = dict(zip(ids.tolist(), gate(candidates, given, before, bound=bound), strict=True))
    table = schema.document
    names = select(table.c.pk, table.c.id).where(one_of(table.c.pk, pks))
    running.refused |= {
        row.id: _HELD[hold] for row in txn.rows(names) if (hold := holds[row.pk]) is not None
    }
    return [pk for pk in pks if holds[pk] is None]


def _copied(
    runtime: Runtime,
    running: Running,
    collection: CollectionRow,
    field: FieldRow,
    labels: Mapping[int, str],
) -> dict[int, str]:
    """Copy documents into the collection of the references; return the labels of copies by pk."""
    txn = running.txn
    table = schema.field
    home = txn.rows(select(table.c.collection_pk).where(table.c.pk == field.reference_field_pk))
    curated = collection_row(txn, home[0].collection_pk)
    target = runtime.target_in(txn, curated)
    own_space = runtime.target_in(txn, collection).space
    vectors = txn.vectors(own_space, np.array(list(labels), np.int64)).astype(np.float32)
    rows = _with_objects(txn, list(labels))
    new = []
    for pk, vector in zip(labels, vectors, strict=True):
        row = rows[pk]
        object_pk, object_id = _object_in(running, curated.bucket_pk, row)
        part = Part(vector, row.part, row.attributes)
        new.append(
            NewDocument(object_pk, object_id, row.file_name, row.sha256.hex(), row.metadata, part)
        )
    write_documents(runtime.operations, running, target, new)
    document = schema.document
    copies: dict[int, str] = {}
    for one, label in zip(new, labels.values(), strict=True):
        query = select(document.c.pk).where(
            document.c.collection_pk == curated.pk,
            document.c.object_pk == one.object_pk,
            document.c.part == one.part.key,
        )
        for row in txn.rows(query):  # no row if the part was erased there
            copies[row.pk] = label
    return copies


def _with_objects(snapshot: Snapshot, pks: Sequence[int]) -> dict[int, Any]:
    document, object_ = schema.document, schema.object_
    query = (
        select(document, object_.c.id.label("object_id"), object_.c.key, object_.c.name)
        .add_columns(object_.c.blobs, object_.c.metadata.label("object_metadata"))
        .join(object_, object_.c.pk == document.c.object_pk)
        .where(document.c.pk.in_(pks))
    )
    return {row.pk: row for row in snapshot.rows(query)}


def _object_in(running: Running, bucket_pk: int, row: Any) -> tuple[int, str]:
    """Return the copy of a document's object in another bucket (pk, id); create it if needed.

    If an object with other content has the id there, the copy's id also has the content's digest.
    """
    for id in (row.object_id, f"{row.object_id}~{row.sha256.hex()[:12]}"):
        found = _object_named(running.txn, bucket_pk, id)
        if found is None:
            return _made_in(running, bucket_pk, id, row), id
        if _contents(found.blobs) == _contents(row.blobs):
            return found.pk, id
    raise Conflict(f"the curated bucket has other objects named {row.object_id!r}; rename this one")


def _object_named(snapshot: Snapshot, bucket_pk: int, id: str) -> Any:
    table = schema.object_
    query = select(table.c.pk, table.c.blobs)
    rows = snapshot.rows(query.where(table.c.bucket_pk == bucket_pk, table.c.id == id))
    return rows[0] if rows else None


def _contents(blobs: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted(blob["sha256"] for blob in blobs)


def _made_in(running: Running, bucket_pk: int, id: str, row: Any) -> int:
    values = {
        "bucket_pk": bucket_pk,
        "id": id,
        "key": row.key if id == row.object_id else id,
        "name": row.name,
        "metadata": row.object_metadata,
        "blobs": row.blobs,
        "size_bytes": sum(blob["size_bytes"] for blob in row.blobs),
        "created_at": running.at,
    }
    return running.txn.insert_returning(schema.object_, [values])[0]


# --- the verb ------------------------------------------------------------------------------------


class PromotionVerbs(CollectionBase):
    """Make automatically labelled documents references."""

    @verb("label")
    @idempotent
    def promote(
        self,
        ids: Iterable[str] | None = None,
        *,
        label: str | None = None,
        min_confidence: float | None = None,
        gated: bool = True,
        audited_only: bool = False,
        preview: bool = False,
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Make automatically labelled documents references: those of `ids` or of the filters.

        Under the policy `precision` a gate holds back documents with a confidence below 0.99,
        near-duplicates of references, and documents of labels that would get more promoted
        references than people gave. In separate mode the documents are copied into the reference
        collection. With `audited_only` an audit must also have found the label right. `refused` in
        the result has the reason for each document held back; undoing the operation removes the
        promoted references. With `preview` the result is the same and nothing is written.
        """
        if ids is None and label is None and min_confidence is None:
            raise BadInput("give the documents to promote: ids, label=… or min_confidence=…")
        named = None if ids is None else list(ids)
        arguments = (field, named, label, min_confidence, gated, *([True] if audited_only else []))
        with self._operate("promote", actor, "" if preview else op_id, *arguments) as running:
            chosen = self._field(running.txn, field)
            query = promotable(self._row.pk, chosen.pk, label, min_confidence)
            if named is not None:
                pks = self._pks(running.txn, named)
                query = query.where(one_of(schema.document.c.pk, pks.values()))
                running.refused |= not_automatic(running.txn, chosen.pk, pks)
            gated = gated and chosen.taxonomy.confidence_threshold is None
            options = {"gated": gated, "audited_only": audited_only}
            promote(self._runtime, running, self._row, chosen, query, **options)
            if preview:
                raise Previewed(running.changed())
        return running.changed()
