"""Labels that documents cannot have: rejected, or taken by an item of the same image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from lookalike.classifier.graph.search import Ids, ReferenceArrays
from lookalike.labels import Codes, ancestors
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, conditions


class Rejections(Mapping[int, set[str]]):
    """The labels that each document cannot have, for documents that have any.

    A person rejected them, or in an exclusive field another item of the same image has them.
    """

    def __init__(self, field_pk: int) -> None:
        self._field_pk = field_pk
        self._labels: dict[int, set[str]] = {}
        self._taken: dict[int, set[str]] = {}

    def __getitem__(self, pk: int) -> set[str]:
        if pk not in self._taken:
            return self._labels[pk]
        return self._taken[pk] | self._labels.get(pk, set())

    def __iter__(self) -> Iterator[int]:
        return iter(self._labels.keys() | self._taken.keys() if self._taken else self._labels)

    def __len__(self) -> int:
        return len(self._labels.keys() | self._taken.keys())

    @property
    def pks(self) -> Ids:
        """Return the documents, rising."""
        return np.array(sorted(self), np.int64)

    def has_rejection(self, pks: Ids) -> NDArray[np.bool_]:
        """Return for which documents a person rejected some label (n,)."""
        return np.array([pk in self._labels for pk in pks.tolist()], bool)

    def set_taken(self, pk: int, labels: set[str]) -> None:
        """Set the labels that other items of the document's image have."""
        if labels:
            self._taken[pk] = labels
        else:
            self._taken.pop(pk, None)

    def read(self, snapshot: Snapshot, pks: Ids) -> None:
        """Read the stored rejections of documents again."""
        for pk in pks.tolist() if self._labels else ():
            self._labels.pop(pk, None)
        table = schema.rejection
        query = select(table.c.document_pk, table.c.label).where(table.c.field_pk == self._field_pk)
        for chosen in conditions(table.c.document_pk, pks):
            for row in snapshot.rows(query.where(chosen)):
                self._labels.setdefault(row.document_pk, set()).add(row.label)

    def forget(self, pks: Ids) -> None:
        """Remove documents."""
        for pk in pks.tolist() if self else ():
            self._labels.pop(pk, None)
            self._taken.pop(pk, None)

    def allowed(self, pk: int, references: ReferenceArrays, codes: Codes) -> NDArray[np.bool_]:
        """Return which references have a label that the document may have."""
        rejected = [codes.code(name) for name in self.get(pk, ())]
        return ~np.isin(references.codes, rejected)

    def among(self, pks: Ids) -> NDArray[np.int64]:
        """Return the places in `pks` of documents that cannot have some label."""
        return np.flatnonzero(np.isin(pks, self.pks))

    def excluded(self, pks: Ids, labels: Sequence[str]) -> NDArray[np.bool_]:
        """Return which of the labels (n, labels) each document cannot have.

        A rejected label excludes all labels below it; a taken label excludes only itself.
        """
        excluded = np.zeros((len(pks), len(labels)), bool)
        for row, pk in zip(excluded, pks.tolist(), strict=True):
            rejected, taken = self._labels.get(pk, set()), self._taken.get(pk, set())
            row[:] = [
                name in taken or any(one in rejected for one in (name, *ancestors(name)))
                for name in labels
            ]
        return excluded

    def as_pairs(self, codes: Codes) -> NDArray[np.int64]:
        """Return the rejections by people: pairs (n, 2) of document and label code."""
        pairs = [(pk, codes.code(name)) for pk, names in self._labels.items() for name in names]
        return np.array(sorted(pairs), np.int64).reshape(-1, 2)

    def from_pairs(self, pairs: NDArray[np.int64], codes: Codes) -> None:
        """Replace everything by the pairs that `as_pairs` returned."""
        self._labels = {}
        for pk, code in pairs.tolist():
            self._labels.setdefault(pk, set()).add(str(codes.name(code)))
