"""References as arrays: who votes, for what, with which vector. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.graph.matches import Matches, with_codes
from lookalike.classifier.graph.search import Floats, Ids


@dataclass(frozen=True, slots=True)
class References:
    """Who votes: `pks` int64 (r,) rising, label `codes` int32 (r,), `vectors` float16 (r, d)."""

    pks: Ids
    codes: NDArray[np.int32]
    vectors: NDArray[np.float16]

    @staticmethod
    def none(dimension: int) -> References:
        """Return no references at all."""
        vectors = np.empty((0, dimension), np.float16)
        return References(np.empty(0, np.int64), np.empty(0, np.int32), vectors)

    def __len__(self) -> int:
        return len(self.pks)

    def vectors_of(self, pks: Ids) -> NDArray[np.float16]:
        """Return the vectors of some of these references, in the order asked."""
        return self.vectors[np.searchsorted(self.pks, pks)]

    def matches(self, near: Ids, similarities: Floats) -> Matches:
        """Return lists of reference pks as matches with label codes."""
        return with_codes(near, similarities, self.pks, self.codes)

    def without(self, pks: Ids) -> References:
        """Return the references that are not among `pks`."""
        kept = ~np.isin(self.pks, pks)
        return References(self.pks[kept], self.codes[kept], self.vectors[kept])

    def joined(self, more: References) -> References:
        """Return these and `more`, none of which is here."""
        pks = np.concatenate([self.pks, more.pks])
        order = np.argsort(pks)
        codes = np.concatenate([self.codes, more.codes])
        return References(
            pks[order], codes[order], np.concatenate([self.vectors, more.vectors])[order]
        )
