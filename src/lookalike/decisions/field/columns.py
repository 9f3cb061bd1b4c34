"""Arrays with one row per document, in the order of their pks, which grow together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, func, select

from lookalike.catalog.fields import StoredField
from lookalike.classifier.graph.arrays import sorted_unique
from lookalike.classifier.graph.search import NO_ID, Ids
from lookalike.classifier.policies import REASONS
from lookalike.labels import NO_LABEL, Codes
from lookalike.model import Answer, Origin
from lookalike.stores import schema
from lookalike.stores.base import Txn

Rows = NDArray[np.int64]

_PKS = "pks"
_SPARE = 4
"""Allocate 1/4 more rows than needed."""


class Columns:
    """Named arrays over documents `pks` (n,).

    `blanks` gives for each column its dtype, its row shape and the value of a new row.
    """

    def __init__(self, blanks: Mapping[str, NDArray[Any]]) -> None:
        self._blanks = {_PKS: np.array(0, np.int64), **blanks}
        self._arrays = {name: np.empty((0, *b.shape), b.dtype) for name, b in self._blanks.items()}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name][: self._count]

    @property
    def pks(self) -> NDArray[np.int64]:
        """Return the documents of the rows, int64 (n,), rising."""
        return self[_PKS]

    def rows_of(self, pks: NDArray[np.int64]) -> Rows:
        """Return the rows of those documents that are present, in the order asked."""
        place, here = self._found(pks)
        return np.asarray(place[here])

    def remove(self, pks: NDArray[np.int64]) -> None:
        """Remove the rows of documents."""
        kept = ~np.isin(self.pks, pks)
        self._arrays = {name: self[name][kept] for name in self._arrays}
        self._count = int(kept.sum())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all columns by name, `pks` among them."""
        return {name: self[name] for name in self._arrays}

    def extended(self) -> Columns:
        """Return columns to which rows can be added without changing these.

        Existing rows are shared: write only to new rows of either, until the new one reallocates.
        """
        other = Columns(self._blanks)
        other._arrays, other._count = dict(self._arrays), self._count
        return other

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace all rows by those that `arrays` returned."""
        self._arrays = {name: arrays[name] for name in self._blanks}
        self._count = len(arrays[_PKS])

    def place(self, pks: NDArray[np.int64]) -> Rows:
        """Add rows for documents that are not present; return the rows of all `pks`."""
        place, here = self._found(pks)
        if here.all():
            return place
        self._append(sorted_unique(pks[~here]))
        return np.searchsorted(self.pks, pks)

    def _found(self, pks: NDArray[np.int64]) -> tuple[Rows, NDArray[np.bool_]]:
        """Return the insertion places of documents, and whether they are present."""
        if self._count == 0:
            return np.zeros(len(pks), np.int64), np.zeros(len(pks), bool)
        place = np.minimum(np.searchsorted(self.pks, pks), self._count - 1)
        return place, self.pks[place] == pks

    def _append(self, new: NDArray[np.int64]) -> None:
        start = self._count
        self._make_room(start + len(new))
        self._count += len(new)
        for name, blank in self._blanks.items():
            self[name][start:] = blank
        self.pks[start:] = new
        if start and new[0] < self.pks[start - 1]:
            order = np.argsort(self.pks, kind="stable")
            self._arrays = {name: self[name][order] for name in self._arrays}

    def _make_room(self, rows: int) -> None:
        """Allocate `rows` and some spare, so that few additions copy the arrays."""
        if rows <= len(self._arrays[_PKS]):
            return
        for name, blank in self._blanks.items():
            roomy = np.empty((rows + rows // _SPARE, *blank.shape), blank.dtype)
            roomy[: self._count] = self[name]
            self._arrays[name] = roomy


# --- decision rows to columns --------------------------------------------------------------------

# Columns of the stored decision: `stored` bool (the document has a row in the store), `settled`
# bool (not decided automatically, because someone gave a label), `unclear` bool (a person answered
# "can't tell"), `asked` bool (the given label answers a question of the queue), `codes`,
# `runner_up` int32, `confidence`, `margin` float32, `reasons` int8, `sources` int64. The caller
# sets `low_quality` bool (the quality is too low to decide).

_AUTO = str(Origin.AUTO)
_NOT_GIVEN = (None, Origin.AUTO)
_NAN = np.array(np.nan, np.float32)
_REASON_CELLS = np.array([*map(str, REASONS), None], object)
_REASON_CODES = {None: -1} | {str(reason): code for code, reason in enumerate(REASONS)}

BLANKS = {
    "stored": np.array(False),
    "settled": np.array(False),
    "unclear": np.array(False),
    "asked": np.array(False),
    "low_quality": np.array(False),
    "codes": np.array(NO_LABEL, np.int32),
    "confidence": _NAN,
    "margin": _NAN,
    "runner_up": np.array(NO_LABEL, np.int32),
    "reasons": np.array(-1, np.int8),
    "sources": np.array(NO_ID, np.int64),
}
"""The column values of a document without a row."""


def stored_rows(field: StoredField) -> Select[Any]:
    """Return the query of a field's rows, by rising document, in the format of `keep_rows`."""
    standing, embedding = schema.standing, schema.embedding
    same = embedding.c.document_pk == standing.c.document_pk
    return (
        select(
            standing.c.document_pk,
            embedding.c.slot,
            standing.c.origin,
            standing.c.answer,
            standing.c.asked,
            standing.c.label,
            standing.c.runner_up,
            standing.c.confidence,
            standing.c.margin,
            standing.c.reason,
            func.coalesce(standing.c.source_pk, NO_ID),
        )
        .select_from(standing.join(embedding, same))
        .where(standing.c.field_pk == field.pk)
        .where(embedding.c.space_pk == field.space.pk)
        .order_by(standing.c.document_pk)
    )


def keep_rows(columns: Columns, codes: Codes, rows: Sequence[Any]) -> tuple[Ids, Ids]:
    """Copy rows of the store into columns; return their documents and vector slots (n,)."""
    if not rows:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    pks, slots, origins, answers, asked, labels, runners_up, *rest = zip(*rows, strict=True)
    confidence, margin, reasons, sources = rest
    documents = np.array(pks, np.int64)
    at = columns.place(documents)
    given = [origin not in _NOT_GIVEN for origin in origins]
    new = [answer == Answer.NEW_KIND for answer in answers]
    columns["settled"][at] = np.logical_or(given, new)
    columns["unclear"][at] = [answer == Answer.CANNOT_TELL for answer in answers]
    columns["asked"][at] = [bool(one) for one in asked]
    columns["codes"][at] = [codes.code(label) for label in labels]
    columns["runner_up"][at] = [codes.code(label) for label in runners_up]
    columns["confidence"][at] = np.array(confidence, np.float32)
    columns["margin"][at] = np.array(margin, np.float32)
    columns["reasons"][at] = [_REASON_CODES[reason] for reason in reasons]
    columns["sources"][at] = sources
    columns["stored"][at] = True
    return documents, np.array(slots, np.int64)


def decision_cells(
    field_pk: int, operation: int, columns: Columns, codes: Codes, rows: Rows
) -> dict[str, list[Any]]:
    """Return the decisions in rows of columns as table cells, without the labels."""
    confidence, margin = columns["confidence"][rows], columns["margin"][rows]
    sources = columns["sources"][rows]
    return {
        "field_pk": [field_pk] * len(rows),
        "document_pk": columns.pks[rows].tolist(),
        "confidence": _or_null(confidence, np.isnan(confidence)),
        "margin": _or_null(margin, np.isnan(margin)),
        "runner_up": _label_cells(codes, columns["runner_up"][rows]),
        "reason": _REASON_CELLS[columns["reasons"][rows]].tolist(),
        "source_pk": _or_null(sources, sources == NO_ID),
        "revision": [operation] * len(rows),
    }


def write_decisions(
    txn: Txn,
    field_pk: int,
    operation: int,
    columns: Columns,
    codes: Codes,
    rows: Rows,
    label_differs: NDArray[np.bool_],
    confidence_differs: NDArray[np.bool_],
) -> None:
    """Write the decisions in rows of columns, all of which differ from the stored ones.

    `label_differs` and `confidence_differs` (n,) tell what changed: unchanged columns are not
    written, which saves index updates.
    """
    table, stored = schema.standing, columns["stored"][rows]
    columns["stored"][rows] = True

    def cells(chosen: NDArray[np.bool_]) -> dict[str, list[Any]]:
        return decision_cells(field_pk, operation, columns, codes, rows[chosen])

    def labelled(chosen: NDArray[np.bool_]) -> dict[str, list[Any]]:
        labels = _label_cells(codes, columns["codes"][rows[chosen]])
        origins = [None if label is None else _AUTO for label in labels]
        votes = [False] * len(labels)
        return {**cells(chosen), "label": labels, "origin": origins, "votes": votes}

    alike = cells(stored & ~label_differs & ~confidence_differs)
    del alike["confidence"]
    txn.update_cells(table, alike)
    txn.update_cells(table, cells(stored & ~label_differs & confidence_differs))
    txn.update_cells(table, labelled(stored & label_differs))
    txn.insert_cells(table, labelled(~stored))


def _label_cells(codes: Codes, coded: NDArray[np.int32]) -> list[str | None]:
    """Return the labels of codes (n,) as stored."""
    # None is the last name, because its code is -1.
    names = np.array([*map(str, codes.names), None], object)
    return cast("list[str | None]", names[coded].tolist())


def _or_null(values: NDArray[Any], none: NDArray[np.bool_]) -> list[Any]:
    cells = values.astype(object)
    cells[none] = None
    return cast("list[Any]", cells.tolist())
