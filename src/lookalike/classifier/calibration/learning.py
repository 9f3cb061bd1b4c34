"""What the `nearest` rule learns from: the references' own lists, left out one by one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.nearest_rule import Calibration, calibrate
from lookalike.classifier.graph.matches import NO_SIMILARITY, Matches
from lookalike.classifier.graph.references import References
from lookalike.classifier.graph.search import NOBODY, nearest

_CALIBRATE_WITH = 2000


def learn_nearest(
    references: References, pool: Matches, k: int, target: float
) -> Calibration | None:
    """Return the calibration for lists of `k`; `pool` are those of what waits for a label."""
    sample = np.arange(len(references.pks))
    if len(sample) > _CALIBRATE_WITH:
        sample = sample[:: -(-len(sample) // _CALIBRATE_WITH)]
    ids, codes, vectors = (
        references.pks[sample],
        references.codes[sample],
        references.vectors[sample],
    )
    own = nearest(vectors, references.vectors, references.pks, k, query_ids=ids)
    without = _leave_class_out(references, vectors, codes, k)
    return calibrate(codes, references.matches(*own), without, pool, target)


def _leave_class_out(
    references: References, vectors: NDArray[np.float16], codes: NDArray[np.int32], k: int
) -> Matches:
    near = np.full((len(codes), k), NOBODY, np.int64)
    similarities = np.full((len(codes), k), NO_SIMILARITY, np.float32)
    for code in np.unique(codes):
        rows, others = codes == code, references.codes != code
        near[rows], similarities[rows] = nearest(
            vectors[rows], references.vectors[others], references.pks[others], k
        )
    return references.matches(near, similarities)
