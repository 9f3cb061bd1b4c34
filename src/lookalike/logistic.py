"""Small models: logistic regression, a mixture of two scores, and the share of what is new."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

_CLIP_SD = 6.0
_MIX_START = (1.0, 5.0)
_MIX_RANGE = 5.0
_LONGEST_STEP = 5.0
_REFIT_ROUNDS = 4
_LEAST_SHARE = 1e-3
_SHARE_ROUNDS = 60


@dataclass(frozen=True, slots=True)
class Logistic:
    """Logistic regression on standardised, clipped features; `weights` ends with the intercept."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    weights: tuple[float, ...]

    def log_odds(self, rows: Vector) -> Vector:
        """Return the log-odds (n,) of feature rows (n, m)."""
        total = np.full(len(rows), self.weights[-1])
        for column, (mean, deviation, weight) in enumerate(
            zip(self.mean, self.deviation, self.weights[:-1], strict=True)
        ):
            z = np.clip((rows[:, column] - mean) / deviation, -_CLIP_SD, _CLIP_SD)
            total += weight * z
        return total


def sigmoid(x: Vector) -> Vector:
    """Return 1 / (1 + e^−x)."""
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -60, 60))))


def fit_logistic(rows: Vector, hits: Vector, *, ridge: float) -> Logistic:
    """Return the model of `hits` (n,) in {0, 1} from `rows` (n, m).

    The mean log-loss plus ridge/2 times the squared weights is minimised, intercept aside.
    """
    mean, deviation = rows.mean(axis=0), rows.std(axis=0) + 1e-9
    start = np.zeros(rows.shape[1] + 1)
    z = _standardised(rows, mean, deviation)
    weights = _newton(z, hits, start, ridge)
    return Logistic(tuple(mean.tolist()), tuple(deviation.tolist()), tuple(weights.tolist()))


def refit_log_odds(
    model: Logistic, rows: Vector, hits: Vector, counts: Vector, asked: Vector, *, ridge: float
) -> Vector:
    """Return the log-odds (b, k) of rows `asked` (k, m) by b models, each fitted from `model` on.

    In the b-th the `rows` (n, m) count `counts` (b, n) times. A few steps on the same scale, all
    models at once: what bootstraps need.
    """
    mean, deviation = np.array(model.mean), np.array(model.deviation)
    z = _standardised(rows, mean, deviation)
    weights = np.tile(np.array(model.weights), (len(counts), 1))
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-12)
    squares = (z[:, :, None] * z[:, None, :]).reshape(len(z), -1)
    penalty = _penalty(z, ridge)
    for _ in range(_REFIT_ROUNDS):
        p = sigmoid(weights @ z.T)
        gradient = (share * (p - hits)) @ z + penalty * weights
        curvature = (share * (p * (1 - p) + 1e-12)) @ squares
        curvature = curvature.reshape(len(counts), len(penalty), -1) + np.diag(penalty)
        weights = weights - _bounded(np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0])
    return np.asarray(weights @ _standardised(asked, mean, deviation).T)


def new_share(known: Vector) -> float:
    """Return the share of new items among those that are `known` with probabilities (n,).

    The likeliest one, which EM climbs to: the root of its falling slope, by Newton's method within
    halving bounds. The model behind `known` was fitted on as many known as new rows; 0.5 where
    there are no items.
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


def _newton(z: Vector, hits: Vector, weights: Vector, ridge: float) -> Vector:
    penalty = _penalty(z, ridge)
    for _ in range(60):
        p = sigmoid(z @ weights)
        gradient = z.T @ (p - hits) / len(z) + penalty * weights
        curvature = (z * ((p * (1 - p) + 1e-12) / len(z))[:, None]).T @ z + np.diag(penalty)
        step = _bounded(np.asarray(np.linalg.solve(curvature, gradient), np.float64))
        weights = weights - step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def _penalty(z: Vector, ridge: float) -> Vector:
    return np.append(np.full(z.shape[1] - 1, ridge), 1e-6)


def _bounded(step: Vector) -> Vector:
    """Return Newton steps (…, m), none longer than is safe."""
    longest = np.abs(step).max(axis=-1, keepdims=True)
    return np.asarray(step * np.minimum(1, _LONGEST_STEP / np.maximum(longest, 1e-12)))


def fit_mixture(
    first: NDArray[np.float32], second: NDArray[np.float32], own: NDArray[np.int64]
) -> tuple[float, float]:
    """Return a, b > 0 of a·first + b·second, scores (n, labels), for labels `own` (n,).

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
    """Return gradient (2,) and curvature (2, 2) of the penalised loss at log a, log b."""
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
