"""How statements choose many rows by their pks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, FromClause, and_, bindparam

from lookalike.classifier.graph.rising import distinct
from lookalike.classifier.graph.search import Ids

_IN_LIST = 5000


def conditions(
    column: ColumnElement[int], pks: Ids | Sequence[int]
) -> Iterator[ColumnElement[bool]]:
    """Yield conditions, each true for other rows, that choose those whose `column` is in `pks`.

    What was written together has pks without gaps: that is one range, which costs nothing to bind.
    """
    chosen = distinct(np.asarray(pks, np.int64))
    if len(chosen) > 1 and chosen[-1] - chosen[0] == len(chosen) - 1:
        yield column.between(int(chosen[0]), int(chosen[-1]))
        return
    for start in range(0, len(chosen), _IN_LIST):
        yield column.in_(chosen[start : start + _IN_LIST].tolist())


def one_of(column: ColumnElement[int], pks: Iterable[int]) -> ColumnElement[bool]:
    """Return one condition that `column` is among `pks`, however many: they are not bound."""
    values = [int(pk) for pk in pks]
    return column.in_(bindparam(None, values, expanding=True, literal_execute=True))


def in_force(space: FromClause, collection_pk: Any) -> ColumnElement[bool]:
    """Return the condition that a row of `space` is the one that a collection's documents are in.

    `collection_pk` is a number, or the column of a table to be joined.
    """
    return and_(space.c.collection_pk == collection_pk, space.c.beside.is_not(True))
