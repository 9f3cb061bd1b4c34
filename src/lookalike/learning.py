"""What the `nearest` rule learns from: the references' own lists, left out one by one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lookalike.calibration import Calibration, calibrate
from lookalike.field_state import FieldState
from lookalike.matches import NO_SIMILARITY, Matches
from lookalike.stores.search import NOBODY, nearest

_CALIBRATE_WITH = 2000


def learn_nearest(state: FieldState) -> Calibration | None:
    """Return the calibration of the `nearest` rule, or None where the references cannot tell."""
    columns, taxonomy = state.columns, state.field.taxonomy
    sample = np.arange(len(state.reference_pks))
    if len(sample) > _CALIBRATE_WITH:
        sample = sample[:: -(-len(sample) // _CALIBRATE_WITH)]
    pks, codes = state.reference_pks[sample], state.reference_codes[sample]
    vectors = state.reference_vectors[sample]
    everyone = (state.reference_vectors, state.reference_pks, taxonomy.top_k)
    own = nearest(vectors, *everyone, query_ids=pks)
    waiting = np.flatnonzero(~columns["stands"])
    pool = state.matches(columns["near"][waiting], columns["similarities"][waiting])
    return calibrate(
        codes,
        state.matches(*own),
        _leave_class_out(state, vectors, codes),
        pool,
        taxonomy.target_precision,
    )


def _leave_class_out(
    state: FieldState, vectors: NDArray[np.float16], codes: NDArray[np.int32]
) -> Matches:
    k = state.field.taxonomy.top_k
    near = np.full((len(codes), k), NOBODY, np.int64)
    similarities = np.full((len(codes), k), NO_SIMILARITY, np.float32)
    for code in np.unique(codes):
        rows, others = codes == code, state.reference_codes != code
        near[rows], similarities[rows] = nearest(
            vectors[rows], state.reference_vectors[others], state.reference_pks[others], k
        )
    return state.matches(near, similarities)
