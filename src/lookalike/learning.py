"""What the `nearest` rule learns from: the references' own lists, left out one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lookalike.calibration import Calibration, calibrate
from lookalike.matches import NO_SIMILARITY, Matches, with_codes
from lookalike.stores.search import NOBODY, Floats, Ids, nearest

if TYPE_CHECKING:  # who has only vectors loads no database code
    from lookalike.field_state import FieldState

_CALIBRATE_WITH = 2000


@dataclass(frozen=True, slots=True)
class Voters:
    """The references: rising `ids` (r,), label `codes` int32 (r,), `vectors` float16 (r, d)."""

    ids: Ids
    codes: NDArray[np.int32]
    vectors: NDArray[np.float16]

    def matches(self, near: Ids, similarities: Floats) -> Matches:
        """Return lists of ids as matches with label codes."""
        return with_codes(near, similarities, self.ids, self.codes)


def learn_nearest(state: FieldState) -> Calibration | None:
    """Return the calibration of the `nearest` rule, or None where the references cannot tell."""
    columns, taxonomy = state.columns, state.field.taxonomy
    voters = Voters(state.reference_pks, state.reference_codes, state.reference_vectors)
    waiting = np.flatnonzero(~columns["stands"])
    pool = voters.matches(columns["near"][waiting], columns["similarities"][waiting])
    return calibrate_voters(voters, pool, taxonomy.top_k, taxonomy.target_precision)


def calibrate_voters(voters: Voters, pool: Matches, k: int, target: float) -> Calibration | None:
    """Return the calibration for lists of `k`; `pool` are those of what waits for a label."""
    sample = np.arange(len(voters.ids))
    if len(sample) > _CALIBRATE_WITH:
        sample = sample[:: -(-len(sample) // _CALIBRATE_WITH)]
    ids, codes, vectors = voters.ids[sample], voters.codes[sample], voters.vectors[sample]
    own = nearest(vectors, voters.vectors, voters.ids, k, query_ids=ids)
    without = _leave_class_out(voters, vectors, codes, k)
    return calibrate(codes, voters.matches(*own), without, pool, target)


def _leave_class_out(
    voters: Voters, vectors: NDArray[np.float16], codes: NDArray[np.int32], k: int
) -> Matches:
    near = np.full((len(codes), k), NOBODY, np.int64)
    similarities = np.full((len(codes), k), NO_SIMILARITY, np.float32)
    for code in np.unique(codes):
        rows, others = codes == code, voters.codes != code
        near[rows], similarities[rows] = nearest(
            vectors[rows], voters.vectors[others], voters.ids[others], k
        )
    return voters.matches(near, similarities)
