"""What people refused in one label field: "not this", by document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from lookalike.labels import Codes
from lookalike.references import References
from lookalike.stores import schema
from lookalike.stores.base import Snapshot
from lookalike.stores.search import Ids
from lookalike.stores.selection import conditions


class Rejections(Mapping[int, set[str]]):
    """The labels that each document was refused, of those documents that were refused any."""

    def __init__(self, field_pk: int) -> None:
        self._field_pk = field_pk
        self._labels: dict[int, set[str]] = {}

    def __getitem__(self, pk: int) -> set[str]:
        return self._labels[pk]

    def __iter__(self) -> Iterator[int]:
        return iter(self._labels)

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def pks(self) -> Ids:
        """Return the documents, rising."""
        return np.array(sorted(self._labels), np.int64)

    def read(self, snapshot: Snapshot, pks: Ids) -> None:
        """Take over what the rows of documents say now."""
        self.forget(pks)
        table = schema.rejection
        query = select(table.c.document_pk, table.c.label).where(table.c.field_pk == self._field_pk)
        for chosen in conditions(table.c.document_pk, pks):
            for row in snapshot.rows(query.where(chosen)):
                self._labels.setdefault(row.document_pk, set()).add(row.label)

    def forget(self, pks: Ids) -> None:
        """Take documents away."""
        for pk in pks.tolist() if self._labels else ():
            self._labels.pop(pk, None)

    def allowed(self, pk: int, references: References, codes: Codes) -> NDArray[np.bool_]:
        """Return which references have a label that a document was not refused."""
        refused = [codes.code(name) for name in self._labels.get(pk, ())]
        return ~np.isin(references.codes, refused)

    def as_pairs(self, codes: Codes) -> NDArray[np.int64]:
        """Return pairs (n, 2) of document and label code; `from_pairs` takes them back."""
        pairs = [(pk, codes.code(name)) for pk, names in self.items() for name in names]
        return np.array(sorted(pairs), np.int64).reshape(-1, 2)

    def from_pairs(self, pairs: NDArray[np.int64], codes: Codes) -> None:
        """Take over pairs of document and label code, in place of all that is here."""
        self._labels = {}
        for pk, code in pairs.tolist():
            self._labels.setdefault(pk, set()).add(str(codes.name(code)))
