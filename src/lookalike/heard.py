"""What each label's references say of items, kept where it is not zero. Pure.

A reference reaches some hundred items, whatever their number: so columns are sparse, and memory
grows with the references alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lookalike.propagation import Evidence, Floats, Places


def side_by_side(columns: Sequence[Evidence], places: Places, items: int) -> Floats:
    """Return what columns say at `places` of any shape, side by side: float32 (…, columns).

    `items` is how many places there are.
    """
    asked, back = np.unique(places, return_inverse=True)
    table = np.zeros((len(asked), len(columns)), np.float32)
    if len(asked):
        row = np.zeros(items, np.int32)
        row[asked] = np.arange(1, len(asked) + 1)
        bounds = (asked[0], asked[-1] + 1)
        for column, said in enumerate(columns):
            part = slice(*np.searchsorted(said.places, bounds).tolist())
            rows = row[said.places[part]]
            here = rows > 0
            table[rows[here] - 1, column] = said.amounts[part][here]
    return table[back.reshape(places.shape)]


def largest(columns: Sequence[Evidence], factors: Sequence[float], items: int) -> Floats:
    """Return the largest that any column, times its factor, says of each item, float32 (items,)."""
    most = np.zeros(items, np.float32)
    for said, factor in zip(columns, factors, strict=True):
        amounts = said.amounts * np.float32(factor)
        most[said.places] = np.maximum(most[said.places], amounts)
    return most
