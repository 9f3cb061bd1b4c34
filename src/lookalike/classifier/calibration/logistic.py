"""Small models: logistic regression, Platt scaling, a mix of two scores, and the share of new
items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Places = NDArray[np.int64]

_CLIP_SD = 6.0
_MIX_START = (1.0, 5.0)
_MIX_RANGE = 5.0
_LONGEST_STEP = 5.0
_LONGEST_ODDS = 30.0
_LEAST_SHARE = 1e-3
_SHIFT_ROUNDS, _LONGEST_SHIFT = 100, 1.0
_SHARE_ROUNDS = 60


@dataclass(frozen=True, slots=True)
class Logistic:
    """Logistic regression on standardised, clipped features; `weights` ends with the intercept."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    weights: tuple[float, ...]

    def log_odds(self, rows: Vector) -> Vector:
        """Return the log-odds (n,) of feature rows (n, m).

        Columns after those that the model was fitted on are ignored.
        """
        mean, deviation, weights = (
            np.array(part)[:, None] for part in (self.mean, self.deviation, self.weights)
        )
        z = (rows.T[: len(mean)] - mean) / deviation
        z = weights[:-1] * np.clip(z, -_CLIP_SD, _CLIP_SD, out=z)
        total = np.full(len(rows), self.weights[-1])
        for term in z:  # in order, so that a row's sum does not depend on the number of rows
            total += term
        return total

    def rescaled(self, slope: float, shift: float) -> Logistic:
        """Return the model whose log-odds are slope times these plus shift."""
        *weights, intercept = (slope * weight for weight in self.weights)
        return Logistic(self.mean, self.deviation, (*weights, intercept + shift))


def logistic_to(model: Logistic) -> dict[str, list[float]]:
    """Return a model as JSON values; `logistic_from` reads them back exactly."""
    return {name: list(values) for name, values in asdict(model).items()}


def logistic_from(stored: Mapping[str, Sequence[float]]) -> Logistic:
    """Return the model that `logistic_to` wrote."""
    return Logistic(*(tuple(stored[name]) for name in ("mean", "deviation", "weights")))


def sigmoid(x: Vector) -> Vector:
    """Return 1 / (1 + e^−x)."""
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -60, 60))))


def fit_logistic(
    rows: Vector, hits: Vector, *, ridge: float, counts: Vector | None = None
) -> Logistic:
    """Fit `hits` (n,) in {0, 1} from `rows` (n, m) with weights `counts` (n,).

    Minimises the mean log-loss plus ridge/2 times the squared weights, without the intercept.
    """
    mean, deviation = rows.mean(axis=0), rows.std(axis=0) + 1e-9
    start = np.zeros(rows.shape[1] + 1)
    z = _standardised(rows, mean, deviation)
    weights = _newton(z, hits, np.ones(len(z)) if counts is None else counts, start, ridge, 60)
    return Logistic(tuple(mean.tolist()), tuple(deviation.tolist()), tuple(weights.tolist()))


def cross_fit_log_odds(
    model: Logistic, rows: Vector, hits: Vector, counts: Vector, folds: Places, *, ridge: float
) -> Vector:
    """Return the cross-fitted log-odds (n,): those of each row by a model that has not seen its
    fold.

    `folds` (n,) are the fold numbers of the rows. Each of these models takes a few Newton steps
    from `model`, which was fitted to all rows, on the same scale.
    """
    z = _standardised(rows, np.array(model.mean), np.array(model.deviation))
    odds = np.empty(len(rows))
    for fold in np.unique(folds):
        held_out = folds == fold
        start = np.array(model.weights)
        odds[held_out] = z[held_out] @ _newton(z, hits, counts * ~held_out, start, ridge, 6)
    return odds


def fit_line(
    odds: Vector, hits: Vector, counts: Vector, *, prior: float = 1.0
) -> tuple[float, float]:
    """Return slope and shift that calibrate log-odds (n,) to `hits` (n,) (Platt 1999).

    Rows have weights `counts` (n,). A prior with the weight of `prior` rows pulls the line to slope
    1 and shift 0; the slope is at least 0.05, so that the order stays.
    """
    x = np.clip(odds, -_LONGEST_ODDS, _LONGEST_ODDS)
    rows = np.stack([x, np.ones(len(x))], axis=1)
    line = neutral = np.array([1.0, 0.0])
    loss = _line_loss(rows, hits, counts, line, prior)
    for _ in range(50):
        p = sigmoid(rows @ line)
        gradient = rows.T @ (counts * (p - hits)) + prior * (line - neutral)
        curvature = (rows * (counts * p * (1 - p))[:, None]).T @ rows + prior * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        after = _line_loss(rows, hits, counts, line - step, prior)
        while after > loss and np.abs(step).max() > 1e-9:
            step /= 2
            after = _line_loss(rows, hits, counts, line - step, prior)
        line, loss = line - step, min(after, loss)
        if np.abs(step).max() < 1e-8:
            break
    return max(float(line[0]), 0.05), float(line[1])


def fit_shift(odds: Vector, hits: Vector, counts: Vector, *, prior: float) -> float:
    """Return the shift that calibrates log-odds (n,) to `hits` (n,) with weights `counts` (n,).

    The mean probability becomes the share of hits. A prior with the weight of `prior` rows pulls
    the shift to 0.
    """
    x, shift = np.clip(odds, -_LONGEST_ODDS, _LONGEST_ODDS), 0.0
    for _ in range(_SHIFT_ROUNDS):
        p = sigmoid(x + shift)
        slope = float(counts @ (p - hits)) + prior * shift
        curvature = float(counts @ (p * (1 - p))) + prior
        step = float(np.clip(slope / curvature, -_LONGEST_SHIFT, _LONGEST_SHIFT))
        shift -= step
        if abs(step) < 1e-8:
            break
    return shift


def _line_loss(rows: Vector, hits: Vector, counts: Vector, line: Vector, prior: float) -> float:
    odds = rows @ line
    losses = np.logaddexp(0, odds) - hits * odds
    return float(counts @ losses + prior * ((line - (1.0, 0.0)) ** 2).sum() / 2)


def new_share(known: Vector) -> float:
    """Return the share of new items, given the probabilities `known` (n,) that items are known.

    It is the maximum-likelihood share, to which EM converges: the root of its decreasing
    derivative, by Newton's method within bisection bounds. The model behind `known` was fitted on
    as many known as new rows. Return 0.5 if there are no items.
    """
    low, high, share = _LEAST_SHARE, 1 - _LEAST_SHARE, 0.5
    lean = 1 - 2 * known
    for _ in range(_SHARE_ROUNDS):
        ratio = lean / (known + share * lean)
        slope, curvature = float(ratio.sum()), float(ratio @ ratio)
        low, high = (share, high) if slope > 0 else (low, share)
        after = share + slope / max(curvature, 1e-12)
        after = after if low < after < high else (low + high) / 2
        if abs(after - share) < 1e-9 or curvature == 0:
            break
        share = after
    return share


def _standardised(rows: Vector, mean: Vector, deviation: Vector) -> Vector:
    z = np.clip((rows - mean) / deviation, -_CLIP_SD, _CLIP_SD)
    return np.concatenate([z, np.ones((len(z), 1))], axis=1)


def _newton(
    z: Vector, hits: Vector, counts: Vector, weights: Vector, ridge: float, rounds: int
) -> Vector:
    share = counts / max(counts.sum(), 1e-12)
    penalty = np.append(np.full(z.shape[1] - 1, ridge), 1e-6)
    for _ in range(rounds):
        p = sigmoid(z @ weights)
        gradient = z.T @ (share * (p - hits)) + penalty * weights
        curvature = (z * (share * (p * (1 - p) + 1e-12))[:, None]).T @ z + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        step *= min(1.0, _LONGEST_STEP / max(float(np.abs(step).max()), 1e-12))
        weights = weights - step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def fit_mixture(
    first: NDArray[np.float32], second: NDArray[np.float32], own: NDArray[np.int64]
) -> tuple[float, float]:
    """Return a, b > 0 of the score a·first + b·second, (n, labels), for labels `own` (n,).

    Conditional logit; log a and log b have a normal prior of width 1 around log 1 and log 5.
    """
    start = np.log(_MIX_START)
    theta = start.copy()
    for _ in range(50):
        gradient, curvature = _mixture_slope(first, second, own, theta, start)
        step = np.linalg.solve(curvature, gradient)
        step *= min(1.0, 1.0 / max(np.abs(step).max(), 1e-12))
        theta = np.clip(theta - step, start - _MIX_RANGE, start + _MIX_RANGE)
        if np.abs(step).max() < 1e-6:
            break
    return float(np.exp(theta[0])), float(np.exp(theta[1]))


def _mixture_slope(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    own: NDArray[np.int64],
    theta: Vector,
    start: Vector,
) -> tuple[Vector, Vector]:
    """Return gradient (2,) and Hessian (2, 2) of the penalised loss at log a, log b."""
    scale, rows = np.exp(theta), np.arange(len(own))
    total = scale[0] * first.astype(np.float64) + scale[1] * second
    total -= total.max(axis=1, keepdims=True)
    share = np.exp(total)
    share /= share.sum(axis=1, keepdims=True)
    parts = (scale[0] * first, scale[1] * second)
    means = [(share * part).sum(axis=1) for part in parts]
    gradient = np.array([(m - p[rows, own]).sum() for m, p in zip(means, parts, strict=True)])
    curvature = np.empty((2, 2))
    for i in range(2):
        for j in range(2):
            product = (share * parts[i] * parts[j]).sum(axis=1) - means[i] * means[j]
            curvature[i, j] = product.sum()
    return gradient + (theta - start), curvature + np.eye(2) * (1 + 1e-6)
