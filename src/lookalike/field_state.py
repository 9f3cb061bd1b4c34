"""What a decider knows of its field: arrays loaded from the rows, catching up with other processes.

Derived state: it can be dropped at any time and comes back from the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Column, ColumnElement, func, select, true

from lookalike.columns import Columns, Rows
from lookalike.matches import NO_LABEL, NO_SIMILARITY, Matches, with_codes
from lookalike.model import Taxonomy
from lookalike.neighbourhood import Neighbourhood
from lookalike.policy import REASONS
from lookalike.standard import Standard, standard_from
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, StoredSpace
from lookalike.stores.search import NOBODY, Floats, Ids
from lookalike.stores.selection import conditions

_LOAD_ROWS = 20_000
_REASON_CODES = {None: -1} | {str(reason): code for code, reason in enumerate(REASONS)}
_NAN = np.array(np.nan, np.float32)


@dataclass(frozen=True, slots=True)
class StoredField:
    """A label field as the store holds it, with the spaces its documents and references are in."""

    pk: int
    collection_pk: int
    taxonomy: Taxonomy
    reference_field_pk: int
    space: StoredSpace
    reference_space: StoredSpace

    @property
    def unified(self) -> bool:
        """Return whether the field's own labels vote."""
        return self.pk == self.reference_field_pk


class FieldState:
    """Documents, lists, decisions, rejections and references of one field, in memory.

    Columns beside those of the neighbourhood: `stored` bool (the document has a row in the store),
    `stands` bool (someone other than the machine gave the label), `codes`, `runner_up` int32,
    `confidence`, `margin` float32, `reasons` int8, `sources` int64: the decision that is stored.
    """

    def __init__(self, stored: StoredField) -> None:
        self.field = stored
        self._names: list[str] = []
        self._codes: dict[str, int] = {}
        self._epoch = -1
        self._references_seen = -1
        self.seen = -1
        self._clear()

    def refresh(self, snapshot: Snapshot) -> None:
        """Catch up with everything that was committed since the last call."""
        query = select(schema.field.c.epoch).where(schema.field.c.pk == self.field.pk)
        epoch = snapshot.rows(query)[0].epoch
        if epoch != self._epoch:
            self._epoch = epoch
            self._reload(snapshot)
            return
        newer, newest = self._newer(snapshot, self.field.pk, self.seen)
        if len(newer):
            self.read_documents(snapshot, newer)
            self.seen = newest
        newer, newest = self._newer(snapshot, self.field.reference_field_pk, self._references_seen)
        if len(newer):
            self.read_references(snapshot, newer)
            self._references_seen = newest
        self._load_standard(snapshot)

    def _reload(self, snapshot: Snapshot) -> None:
        self._clear()
        pks, self.seen = self._newer(snapshot, self.field.pk, -1)
        self.columns.place(pks)
        self._load_documents(snapshot, pks)
        self._load_rejections(snapshot, None)
        self._references_seen = self._newest(snapshot, self.field.reference_field_pk)
        self._load_references(snapshot)
        self._load_standard(snapshot)

    def committed(self, operation: int) -> None:
        """Note that everything up to `operation`, ours, is here already."""
        self.seen = max(self.seen, operation)
        self._references_seen = max(self._references_seen, operation)

    def code(self, name: str | None) -> int:
        """Return the code of a label; a new one for a new label."""
        if name is None:
            return NO_LABEL
        if name not in self._codes:
            self._codes[name] = len(self._names)
            self._names.append(name)
        return self._codes[name]

    def name(self, code: int) -> str | None:
        """Return the label of a code."""
        return None if code == NO_LABEL else self._names[code]

    def read_documents(self, snapshot: Snapshot, pks: Ids) -> Rows:
        """Take over what the rows of documents say now; return their rows here."""
        self._load_documents(snapshot, pks)
        self._load_rejections(snapshot, pks)
        return self.columns.rows_of(pks)

    def standing_among(self, pks: Ids) -> Ids:
        """Return those of `pks` whose label someone other than the machine gave, as known here."""
        rows = self.columns.rows_of(pks)
        return np.asarray(self.columns.pks[rows[self.columns["stands"][rows]]])

    def place_documents(self, snapshot: Snapshot, pks: Ids) -> Rows:
        """Make blank rows for the documents that are new here; return the rows of all `pks`.

        Take over where their vectors are now.
        """
        table = schema.embedding
        query = select(table.c.slot).where(table.c.space_pk == self.field.space.pk)
        query = query.order_by(table.c.document_pk)
        chosen = conditions(table.c.document_pk, pks)
        slots = [row.slot for condition in chosen for row in snapshot.rows(query.where(condition))]
        rows = self.columns.place(pks)
        self.neighbourhood.place(rows, np.array(slots, np.int64))
        return rows

    def forget_documents(self, pks: Ids) -> None:
        """Take documents away that are about to be erased."""
        self.neighbourhood.release(self.columns.rows_of(pks))
        self.columns.remove(pks)
        for pk in pks.tolist():
            self.rejected.pop(pk, None)

    def read_references(self, snapshot: Snapshot, changed: Ids) -> tuple[Ids, Ids, Ids]:
        """Take over which of `changed` vote now, and how; return which came, stayed and went."""
        known = changed[np.isin(changed, self.reference_pks)]
        votes: dict[int, str] = {}
        for chosen in conditions(schema.standing.c.document_pk, changed):
            for row in snapshot.rows(self._voting().where(chosen)):
                votes[row.document_pk] = row.label
        pks = np.array(sorted(votes), np.int64)
        if len(known) or len(pks):
            kept = ~np.isin(self.reference_pks, known)
            codes = np.array([self.code(votes[pk]) for pk in pks.tolist()], np.int32)
            self._set_references(
                np.concatenate([self.reference_pks[kept], pks]),
                np.concatenate([self.reference_codes[kept], codes]),
                np.concatenate(
                    [
                        self.reference_vectors[kept],
                        snapshot.vectors(self.field.reference_space, pks),
                    ]
                ),
            )
        stayed = np.isin(known, pks)
        return pks[~np.isin(pks, known)], known[stayed], known[~stayed]

    def matches(self, near: Ids, similarities: Floats) -> Matches:
        """Return lists of reference pks as matches with label codes."""
        return with_codes(near, similarities, self.reference_pks, self.reference_codes)

    def refused(self, pks: Ids) -> NDArray[np.bool_]:
        """Return which references (one a column) have a label that each document was refused."""
        return np.array([~self.allowed(pk) for pk in pks.tolist()]).reshape(len(pks), -1)

    def allowed(self, pk: int) -> NDArray[np.bool_]:
        """Return which references have a label that the document has not been refused."""
        refused = [self.code(name) for name in self.rejected.get(pk, ())]
        return ~np.isin(self.reference_codes, refused)

    def rows_with_rejections(self) -> Rows:
        """Return the rows whose document has a "not this"."""
        return self.columns.rows_of(np.array(sorted(self.rejected), np.int64))

    def _clear(self) -> None:
        self.columns = Columns(
            Neighbourhood.blanks(self.field.taxonomy.top_k)
            | {
                "stored": np.array(False),
                "stands": np.array(False),
                "codes": np.array(NO_LABEL, np.int32),
                "confidence": _NAN,
                "margin": _NAN,
                "runner_up": np.array(NO_LABEL, np.int32),
                "reasons": np.array(-1, np.int8),
                "sources": np.array(NOBODY, np.int64),
            }
        )
        self.neighbourhood = Neighbourhood(self.columns)
        self.rejected: dict[int, set[str]] = {}
        self.standard: Standard | None = None
        self.reference_pks: Ids = np.empty(0, np.int64)
        self.reference_codes: NDArray[np.int32] = np.empty(0, np.int32)
        shape = (0, self.field.reference_space.dimension)
        self.reference_vectors: NDArray[np.float16] = np.empty(shape, np.float16)

    def _newest(self, snapshot: Snapshot, field_pk: int) -> int:
        table = schema.standing
        query = select(func.max(table.c.revision).label("newest"))
        row = snapshot.rows(query.where(table.c.field_pk == field_pk))[0]
        return -1 if row.newest is None else int(row.newest)

    def _newer(self, snapshot: Snapshot, field_pk: int, seen: int) -> tuple[Ids, int]:
        """Return the documents of a field written after revision `seen`, and the newest one."""
        table = schema.standing
        query = select(table.c.document_pk, table.c.revision)
        rows = snapshot.rows(query.where(table.c.field_pk == field_pk, table.c.revision > seen))
        pks, revisions = zip(*rows, strict=True) if rows else ((), ())
        return np.sort(np.array(pks, np.int64)), max(revisions, default=seen)

    def _load_documents(self, snapshot: Snapshot, pks: Ids) -> None:
        column = schema.standing.c.document_pk
        for start in range(0, len(pks), _LOAD_ROWS):
            for chosen in conditions(column, pks[start : start + _LOAD_ROWS]):
                self._take(snapshot.rows(self._stored().where(chosen)))

    def _stored(self) -> Any:
        standing, embedding = schema.standing, schema.embedding
        same = embedding.c.document_pk == standing.c.document_pk
        return (
            select(
                standing.c.document_pk,
                embedding.c.slot,
                standing.c.near_pks,
                standing.c.near_similarities,
                standing.c.votes,
                standing.c.label,
                standing.c.runner_up,
                standing.c.confidence,
                standing.c.margin,
                standing.c.reason,
                func.coalesce(standing.c.source_pk, NOBODY),
            )
            .select_from(standing.join(embedding, same))
            .where(standing.c.field_pk == self.field.pk)
            .where(embedding.c.space_pk == self.field.space.pk)
            .order_by(standing.c.document_pk)
        )

    def _take(self, rows: Sequence[Any]) -> None:
        if not rows:
            return
        pks, slots, near, similarities, votes, labels, runners_up, *rest = zip(*rows, strict=True)
        confidence, margin, reasons, sources = rest
        columns, k = self.columns, self.field.taxonomy.top_k
        at = columns.rows_of(np.array(pks, np.int64))
        if len(at) < len(pks):
            at = columns.place(np.array(pks, np.int64))
        columns["near"][at] = _unpack(near, np.int64, k, NOBODY)
        columns["similarities"][at] = _unpack(similarities, np.float32, k, NO_SIMILARITY)
        columns["stands"][at] = votes
        columns["codes"][at] = [self.code(label) for label in labels]
        columns["runner_up"][at] = [self.code(label) for label in runners_up]
        columns["confidence"][at] = np.array(confidence, np.float32)
        columns["margin"][at] = np.array(margin, np.float32)
        columns["reasons"][at] = [_REASON_CODES[reason] for reason in reasons]
        columns["sources"][at] = sources
        columns["stored"][at] = True
        self.neighbourhood.place(at, np.array(slots, np.int64))

    def _load_rejections(self, snapshot: Snapshot, pks: Ids | None) -> None:
        table = schema.rejection
        query = select(table.c.document_pk, table.c.label).where(table.c.field_pk == self.field.pk)
        for pk in self.rejected.copy() if pks is None else pks.tolist():
            self.rejected.pop(pk, None)
        for chosen in _conditions(table.c.document_pk, pks):
            for row in snapshot.rows(query.where(chosen)):
                self.rejected.setdefault(row.document_pk, set()).add(row.label)

    def _voting(self) -> Any:
        table = schema.standing
        return (
            select(table.c.document_pk, table.c.label)
            .where(table.c.field_pk == self.field.reference_field_pk, table.c.votes)
            .order_by(table.c.document_pk)
        )

    def _load_references(self, snapshot: Snapshot) -> None:
        rows = snapshot.rows(self._voting())
        pks = np.array([row.document_pk for row in rows], np.int64)
        codes = np.array([self.code(row.label) for row in rows], np.int32)
        self._set_references(pks, codes, snapshot.vectors(self.field.reference_space, pks))

    def _set_references(
        self, pks: Ids, codes: NDArray[np.int32], vectors: NDArray[np.float16]
    ) -> None:
        order = np.argsort(pks)
        self.reference_pks = pks[order]
        self.reference_codes = codes[order]
        self.reference_vectors = vectors[order]

    def _load_standard(self, snapshot: Snapshot) -> None:
        query = select(schema.field.c.standard).where(schema.field.c.pk == self.field.pk)
        self.standard = standard_from(snapshot.rows(query)[0].standard)


def _conditions(column: Column[int], pks: Ids | None) -> Iterable[ColumnElement[bool]]:
    return [true()] if pks is None else conditions(column, pks)


def _unpack(blobs: Sequence[bytes], dtype: Any, k: int, blank: Any) -> NDArray[Any]:
    width = k * np.dtype(dtype).itemsize
    counts = np.array([len(blob) for blob in blobs]) // np.dtype(dtype).itemsize
    lists = np.full((len(blobs), k), blank, dtype)
    values = np.frombuffer(b"".join([blob[:width] for blob in blobs]), dtype)
    lists[np.arange(k) < counts[:, None]] = values
    return lists
