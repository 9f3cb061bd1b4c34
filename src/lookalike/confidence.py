"""From scores to the probability that a label is right, learned from the references themselves.

Two questions, each with a logistic model on the same features of an item and its winning label.
**Known or new?** learns from leave-one-out rows (known) against the same rows with their own label
left out altogether (new). **Right or wrong?** learns from leave-one-out rows alone. The probability
is p = σ(known + log((1 − π)/π)) · σ(right), π the share of new items, by EM over what waits.
The limit is the lowest p at which, in four of five bootstraps of the labels, the mean p of
what is accepted reaches the target.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lookalike.logistic import (
    Logistic,
    Vector,
    fit_logistic,
    fit_mixture,
    new_share,
    refit_log_odds,
    sigmoid,
)
from lookalike.propagation import Floats, Places
from lookalike.scoring import FLOOR, Left, Scores

OUT_OF_REACH = 2.0
"""The limit where nothing can be accepted at the target."""

_RIDGE = 2e-3
_TYPICAL_WEIGHT = 3.0
_BOOTSTRAPS = 20
_QUANTILE = 0.3
_P_DIGITS = 6
_LIMIT_ITEMS = 5_000
_ABSENT = np.float32(-1e9)


@dataclass(frozen=True, slots=True)
class Confidence:
    """Everything that turns scores into probabilities; the columns are `labels`.

    `mix` are a and b of S = a·L + b·C. `typical` float32 (4, labels): what L, C, Z and the
    surroundings of a label's own references are, left out one at a time.
    """

    labels: tuple[str, ...]
    mix: tuple[float, float]
    typical: Floats
    known: Logistic
    right: Logistic
    new_share: float
    limit: float
    target: float
    leave_one_out_accuracy: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the scores say of items, all (m,).

    `winners` and `runners_up` are columns (−1: none), `sources` the places of the winner's nearest
    references, `features` (m, 13) what the models see, `probability` that the winner is right,
    `known` the probability that the item is of a known label at all, `margin` the winner's lead in
    S over the runner-up.
    """

    winners: NDArray[np.int64]
    runners_up: NDArray[np.int64]
    sources: Places
    features: Vector
    probability: Vector
    known: Vector
    margin: Floats


def learn(scores: Scores, left: Left, waiting: Places, target: float, seed: int = 0) -> Confidence:
    """Return the confidence for `target` precision of labelling the items `waiting`.

    `left` are leave-one-out scores of the references that calibrate; `seed` draws the bootstraps.
    """
    mix = fit_mixture(left.logs, left.direct, left.own)
    context = scores.landscape.context[left.places]
    inside = _Rows(left.logs, left.direct, left.nearest, left.around)
    typical, beside = _typical(inside.of_label(left.own, context), left.own, len(scores.labels))
    winner = inside.winner(mix)
    right = winner == left.own
    usual = np.where(right, beside, typical[:, winner])
    hits = _with_usual(inside.features(mix, winner, context), usual)
    outside = inside.without(left.own)
    lost = outside.winner(mix)
    misses = _with_usual(outside.features(mix, lost, context), typical[:, lost])
    lessons = _Lessons(hits, misses, right.astype(np.float64), left.own)
    draft = Confidence(
        labels=tuple(scores.labels),
        mix=mix,
        typical=typical,
        known=fit_logistic(lessons.rows, lessons.known, ridge=_RIDGE),
        right=fit_logistic(hits, lessons.right, ridge=_RIDGE),
        new_share=0.5,
        limit=OUT_OF_REACH,
        target=target,
        leave_one_out_accuracy=float(right.mean()),
    )
    return _with_limit(draft, lessons, scores, waiting, seed)


def judge(
    confidence: Confidence,
    scores: Scores,
    places: Places,
    barred: NDArray[np.bool_] | None = None,
) -> Judgement:
    """Return winner, runner-up and probability of items.

    `barred` (m, labels) tells which labels an item may not get; where that is all of them, the
    winner is -1.
    """
    columns, runner, sources, rows = _pool_features(confidence, scores, places, barred)
    open_ = np.ones(len(places), bool) if barred is None else ~barred.all(axis=1)
    return Judgement(
        winners=np.where(open_, columns, -1),
        runners_up=runner,
        sources=sources,
        features=rows,
        probability=np.where(open_, _probability(confidence, rows), 0),
        known=_known_probability(confidence, rows),
        margin=rows[:, 0].astype(np.float32),
    )


_TYPED = (5, 6, 4, 7)
"""The features L, C, Z and surroundings of the winner, in the order of `Confidence.typical`."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """Scores of rows (m, labels), and of the items around each (m, k, labels)."""

    logs: Floats
    direct: Floats
    nearest: Floats
    around: Floats

    def without(self, own: NDArray[np.int64]) -> _Rows:
        """Return the rows as if each one's own label did not exist."""
        rows = np.arange(len(own))
        parts = [part.copy() for part in (self.logs, self.direct, self.nearest, self.around)]
        for part in parts[:3]:
            part[rows, own] = _ABSENT
        np.put_along_axis(parts[3], own[:, None, None], np.log(FLOOR) - 88, axis=2)
        return _Rows(*parts)

    def of_label(self, label: NDArray[np.int64], context: Floats) -> Floats:
        """Return what L, C, Z and the surroundings (4, m) say of one label a row."""
        rows = np.arange(len(label))
        own = [part[rows, label] for part in (self.logs, self.direct, self.nearest)]
        return np.stack([*own, _surroundings(self.around, context, label)[:, 0]])

    def winner(self, mix: tuple[float, float]) -> NDArray[np.int64]:
        """Return the label with the largest S in each row."""
        return np.asarray((mix[0] * self.logs + mix[1] * self.direct).argmax(axis=1))

    def features(
        self, mix: tuple[float, float], winner: NDArray[np.int64], context: Floats
    ) -> Vector:
        """Return the nine features (m, 9) of rows with their winner."""
        nearest = self.nearest[np.arange(len(winner)), winner]
        own, _ = _own_features(mix, self.logs, self.direct, nearest, winner)
        return np.concatenate([own, _surroundings(self.around, context, winner)], axis=1)


def _own_features(
    mix: tuple[float, float],
    logs: Floats,
    direct: Floats,
    nearest: Floats,
    winner: NDArray[np.int64],
) -> tuple[Vector, NDArray[np.int64]]:
    """Return seven features (m, 7) of rows with their winner, and the runner-up's column or −1."""
    rows = np.arange(len(winner))
    total = mix[0] * logs + mix[1] * direct
    runner, margins = np.full(len(winner), -1), np.zeros((3, len(winner)))
    if logs.shape[1] > 1:
        runner = _others(total, winner).argmax(axis=1)
        for place, part in enumerate((total, logs, direct)):
            margins[place] = part[rows, winner] - _others(part, winner).max(axis=1)
    own = [nearest, logs[rows, winner], direct[rows, winner]]
    root = np.sqrt(np.maximum(margins[0], 0))
    return np.stack([*margins, root, *own], axis=1).astype(np.float64), runner


def _others(part: Floats, winner: NDArray[np.int64]) -> Floats:
    """Return the scores (m, labels) without those of the `winner`: −inf."""
    rest = part.copy()
    rest[np.arange(len(winner)), winner] = -np.inf
    return rest


def _surroundings(around: Floats, context: Floats, winner: NDArray[np.int64]) -> Vector:
    """Return two features (m, 2): what the surroundings say of the winner, and prefer to it."""
    own = np.take_along_axis(around, winner[:, None, None], axis=2)[:, :, 0]
    lead = around.max(axis=2) - own
    return np.stack([(context * own).sum(axis=1), (context * lead).sum(axis=1)], axis=1)


def _with_usual(rows: Vector, usual: Floats) -> Vector:
    """Add how far four features are from what is usual (4, m) for the winner: (m, 13)."""
    return np.concatenate([rows, rows[:, _TYPED] - usual.T], axis=1)


def _typical(values: Floats, own: NDArray[np.int64], labels: int) -> tuple[Floats, Floats]:
    """Return the shrunk means of `values` (4, r) by label (4, labels), and for each row (4, r) that
    of the others of its label.
    """
    counts = np.bincount(own, minlength=labels).astype(np.float64)
    overall = values.mean(axis=1, keepdims=True)
    sums = np.stack([np.bincount(own, row, minlength=labels) for row in values])
    prior = _TYPICAL_WEIGHT * overall
    typical = (sums + prior) / (counts + _TYPICAL_WEIGHT)
    beside = (sums[:, own] - values + prior) / (counts[own] - 1 + _TYPICAL_WEIGHT)
    return typical.astype(np.float32), beside.astype(np.float32)


def _pool_features(
    confidence: Confidence,
    scores: Scores,
    places: Places,
    barred: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], Places, Vector]:
    """Return winner and runner-up columns (m,) of items, sources, and all features (m, 13)."""
    logs = np.log(scores.table("evidence", places) + FLOOR)
    direct = scores.table("direct", places)
    if barred is not None:
        logs[barred], direct[barred] = _ABSENT, _ABSENT
    winner = (confidence.mix[0] * logs + confidence.mix[1] * direct).argmax(axis=1)
    nearest, sources = scores.nearest(places, winner)
    own, runner = _own_features(confidence.mix, logs, direct, nearest, winner)
    context = scores.landscape.context[places]
    said, most = scores.around(places, winner)
    lead = most - said
    surroundings = np.stack([(context * said).sum(axis=1), (context * lead).sum(axis=1)], axis=1)
    rows = np.concatenate([own, surroundings], axis=1)
    return winner, runner, sources, _with_usual(rows, confidence.typical[:, winner])


def _probability(confidence: Confidence, rows: Vector) -> Vector:
    """Return p (m,), rounded so that it does not depend on which rows are computed together."""
    known, right = confidence.known.log_odds(rows), confidence.right.log_odds(rows)
    return np.round(_combined(known, right, confidence.new_share), _P_DIGITS)


def _known_probability(confidence: Confidence, rows: Vector) -> Vector:
    share = np.clip(confidence.new_share, 1e-3, 1 - 1e-3)
    return sigmoid(confidence.known.log_odds(rows) + np.log((1 - share) / share))


def _combined(known: Vector, right: Vector, new_share: float | Vector) -> Vector:
    share = np.clip(new_share, 1e-3, 1 - 1e-3)
    return sigmoid(known + np.log((1 - share) / share)) * sigmoid(right)


@dataclass(frozen=True, slots=True)
class _Lessons:
    """What the models learn from: rows (r, 13) as known and as new, which were right, labels."""

    hits: Vector
    misses: Vector
    right: Vector
    own: NDArray[np.int64]

    @property
    def rows(self) -> Vector:
        """Return the known rows, then the new ones."""
        return np.concatenate([self.hits, self.misses])

    @property
    def known(self) -> Vector:
        """Return 1 for each known row and 0 for each new one."""
        return np.repeat([1.0, 0.0], len(self.hits))


def _with_limit(
    draft: Confidence, lessons: _Lessons, scores: Scores, waiting: Places, seed: int
) -> Confidence:
    chance = np.random.default_rng(seed)
    if len(waiting) > _LIMIT_ITEMS:
        waiting = np.sort(chance.choice(waiting, _LIMIT_ITEMS, replace=False))
    winner, _, _, rows = _pool_features(draft, scores, waiting)
    share = new_share(sigmoid(draft.known.log_odds(rows)))
    estimated = replace(draft, new_share=share)
    p = _probability(estimated, rows)
    order = np.argsort(-p, kind="stable")
    means = _running_means(estimated, lessons, rows[order], winner[order], chance)
    low = np.quantile(means, _QUANTILE, axis=0)
    good = np.flatnonzero(low >= draft.target)
    return replace(estimated, limit=float(p[order][good[-1]]) if len(good) else OUT_OF_REACH)


def _running_means(
    confidence: Confidence,
    lessons: _Lessons,
    rows: Vector,
    winner: NDArray[np.int64],
    chance: np.random.Generator,
) -> Vector:
    """Return the mean p of the first 1, 2, … of m rows (bootstraps, m).

    Each time learned and counted on a bootstrap of labels.
    """
    labels = len(confidence.labels)
    drawn = np.stack([chance.integers(0, labels, labels) for _ in range(_BOOTSTRAPS)])
    times = (drawn[:, :, None] == np.arange(labels)).sum(axis=1).astype(np.float64)
    counts = times[:, lessons.own]
    known = refit_log_odds(
        confidence.known, lessons.rows, lessons.known, np.tile(counts, 2), rows, ridge=_RIDGE
    )
    right = refit_log_odds(
        confidence.right, lessons.hits, lessons.right, counts, rows, ridge=_RIDGE
    )
    share = np.array([[new_share(sigmoid(odds))] for odds in known])
    weights = times[:, winner]
    p = weights * _combined(known, right, share)
    return np.asarray(np.cumsum(p, axis=1) / np.maximum(np.cumsum(weights, axis=1), 1))
