"""Calibration of the `nearest` rule: from similarities to the probability of being right.

Leave-one-out lists show the features of right and wrong predictions; leave-one-class-out lists
those of items that belong to no known label. Two logistic models, one for each question, are
combined with the share of new items, which EM estimates on the unlabelled documents. The threshold
is the lowest probability at which the accepted documents are right often enough on average. As in
`confidence`, one pseudo-negative label and one pseudo-negative answer are added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.intervals import EVEN
from lookalike.classifier.calibration.logistic import (
    Logistic,
    Vector,
    fit_logistic,
    logistic_from,
    new_share,
    sigmoid,
)
from lookalike.classifier.graph.search import (
    NO_ID,
    NO_SIMILARITY,
    Matches,
    ReferenceArrays,
    nearest,
    rival_similarity,
    votes,
)
from lookalike.labels import NO_LABEL

MIN_REFERENCES = 12
"""With fewer references nothing is calibrated."""

MIN_PER_LABEL = 3
"""A label with fewer references does not count as known well enough."""

_NEVER = 2.0
_P_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Calibration:
    """Everything that the `precision` policy decides with; small, stored with the field."""

    temperature: float
    known: Logistic
    right: Logistic
    new_share: float
    limit: float
    target: float


def features(matches: Matches, winner: NDArray[np.int32], share: NDArray[np.float32]) -> Vector:
    """Return the features of the models, float64 (n, 3).

    They are the best similarity of the winner, its margin over the best other label, and its share
    of the evidence.
    """
    own = matches.codes == winner[:, None]
    best = np.where(own, matches.similarities, NO_SIMILARITY).max(axis=1)
    rival, _ = rival_similarity(matches, winner)
    margin = np.where(rival > NO_SIMILARITY, best - rival, 0)
    return np.stack([best, margin, share], axis=1).astype(np.float64)


def probability(calibration: Calibration, rows: Vector) -> Vector:
    """Return the estimated probability (n,) that the winner is right, for feature rows (n, 3).

    It is rounded, so that it does not depend on which rows are computed together.
    """
    share = np.clip(calibration.new_share, 1e-3, 1 - 1e-3)
    known = calibration.known.log_odds(rows) + np.log((1 - share) / share)
    p = sigmoid(known) * sigmoid(calibration.right.log_odds(rows))
    return np.round(p, _P_DIGITS)


def calibrate(
    own: NDArray[np.int32],
    leave_one_out: Matches,
    leave_class_out: Matches,
    pool: Matches,
    target: float,
) -> Calibration | None:
    """Return the calibration for `target` precision, or None if the references do not suffice.

    `own` (r,) are the references' labels; the first two lists belong to these references, `pool` to
    the documents that wait for a label. None if there are fewer than MIN_REFERENCES, fewer than two
    labels with MIN_PER_LABEL, or leave-one-out is right less than half of the time.
    """
    counts = np.bincount(own) if len(own) else np.zeros(1, np.int64)
    if len(own) < MIN_REFERENCES or (counts >= MIN_PER_LABEL).sum() < 2:
        return None
    temperature = _temperature(leave_one_out)
    winner, share = votes(leave_one_out, temperature)
    right = winner == own
    if right.mean() < 0.5:
        return None
    inside = features(leave_one_out, winner, share)
    outside = features(leave_class_out, *votes(leave_class_out, temperature))
    labels = int((counts > 0).sum())
    known = _fit(np.concatenate([inside, outside]), np.repeat([1.0, 0.0], len(own)), 1 / labels)
    model = _fit(inside, right.astype(np.float64), 1 / len(own))
    waiting = features(pool, *votes(pool, temperature))
    share_of_new = max(new_share(sigmoid(known.log_odds(waiting))), 1 / (labels + 1))
    draft = Calibration(temperature, known, model, share_of_new, _NEVER, target)
    limit = _threshold(probability(draft, waiting), target)
    return Calibration(temperature, known, model, share_of_new, limit, target)


def _temperature(matches: Matches) -> float:
    real = matches.codes != NO_LABEL
    spread = (matches.similarities[:, :1] - matches.similarities)[real]
    return max(float(np.median(spread[spread > 0])) if (spread > 0).any() else 0.1, 1e-3)


def _fit(rows: Vector, hits: Vector, pseudo_negatives: float) -> Logistic:
    """Fit with a ridge of one pseudo-observation and softened hits (Platt 1999).

    Each hit counts once more as a negative, with weight `pseudo_negatives`.
    """
    ups = hits > 0
    total = ups.sum()
    softened = np.where(ups, (total + 1) / (total + 2), 1 / (len(hits) - total + 2))
    return fit_logistic(
        np.concatenate([rows, rows[ups]]),
        np.append(softened, np.zeros(total)),
        ridge=1 / len(rows),
        counts=np.append(np.ones(len(rows)), np.full(total, pseudo_negatives)),
    )


def _threshold(p: Vector, target: float) -> float:
    descending = np.sort(p)[::-1]
    mean = np.cumsum(descending) / np.arange(1, len(descending) + 1)
    good = np.flatnonzero(mean >= target)
    return max(float(descending[good[-1]]), min(EVEN, target)) if len(good) else _NEVER


def calibration_from(stored: dict[str, Any] | None) -> Calibration | None:
    """Return the calibration whose fields were stored as JSON values."""
    if stored is None:
        return None
    known, right = (logistic_from(stored[name]) for name in ("known", "right"))
    return Calibration(**(stored | {"known": known, "right": right}))


# --- training data of the `nearest` rule ---------------------------------------------------------

_CALIBRATE_WITH = 2000


def fit_nearest(
    references: ReferenceArrays, pool: Matches, k: int, target: float
) -> Calibration | None:
    """Return the calibration for lists of length `k`; `pool` are the lists of waiting documents."""
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
    references: ReferenceArrays, vectors: NDArray[np.float16], codes: NDArray[np.int32], k: int
) -> Matches:
    near = np.full((len(codes), k), NO_ID, np.int64)
    similarities = np.full((len(codes), k), NO_SIMILARITY, np.float32)
    for code in np.unique(codes):
        rows, others = codes == code, references.codes != code
        near[rows], similarities[rows] = nearest(
            vectors[rows], references.vectors[others], references.pks[others], k
        )
    return references.matches(near, similarities)
