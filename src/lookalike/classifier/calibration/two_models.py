"""The two logistic models behind a probability: *known or new?* and *right or wrong?* Pure.

Both see the same features of an item and its winning label. `confidence` describes what keeps them
from being overconfident.

On the levels of parents (`hierarchy`), known items are of two kinds: the references themselves, and
new sub-labels, which simulate items of a new label below a known parent. New sub-labels get the
share of the total weight that new labels have among the items, as estimated one level down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lookalike.classifier.calibration.features import LeftOut
from lookalike.classifier.calibration.logistic import (
    Logistic,
    Vector,
    cross_fit_log_odds,
    fit_line,
    fit_logistic,
    sigmoid,
)
from lookalike.classifier.graph.propagation import Places

_FOLDS = 10
_REAL_WEIGHT = 20
"""The number of background answers that count as much as all simulated new rows together."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A model, and the cross-fitted log-odds (r,) of the references (`held_out`).

    `model` is calibrated on the confident rows, where the threshold lies; `overall` on all rows, to
    estimate shares.
    """

    model: Logistic
    overall: Logistic
    held_out: Vector


def fit_known(
    out: LeftOut, weight: Vector, calibration: Vector, sublabel_share: float = 0.0
) -> Fit:
    """Fit *known or new?*: known references against the background and references without their
    label.

    `weight` (r,) are the references' weights in the model, `calibration` (r,) in its calibration.
    One pseudo-negative label, and one pseudo-negative answer of the background, count as
    known-looking and new.
    """
    known = out.known.astype(np.float64)
    labels = max(len(np.unique(out.own[out.known & (calibration > 0)])), 1)
    simulated, answered = _negative_weights(out, calibration)
    weights, sublabels = _split_weights(out, calibration, sublabel_share)
    pseudo_negatives = np.append(weights * known, sublabels)
    every, every_sublabels = _split_weights(out, weight, sublabel_share)
    return _fit(
        rows=np.concatenate([out.features, out.new_sublabels.features, out.new_features]),
        hits=np.concatenate([known, np.ones(len(sublabels)), np.zeros(len(out.new_features))]),
        counts=_counts(out, every, every_sublabels, weight),
        folds=np.concatenate(
            [_folds(out), out.new_sublabels.own % _FOLDS, out.own[out.known] % _FOLDS]
        ),
        calibration=_counts(out, weights, sublabels, calibration),
        pseudo_negatives=pseudo_negatives
        * (simulated / labels + answered / max(float(calibration @ known), 1)),
    )


def fit_right(
    out: LeftOut, weight: Vector, calibration: Vector, sublabel_share: float = 0.0
) -> Fit:
    """Fit *right or wrong?* on known references, with one pseudo-negative answer that looked
    right.
    """
    known = out.known.astype(np.float64)
    weights, sublabels = _split_weights(out, calibration, sublabel_share)
    every, every_sublabels = _split_weights(out, weight, sublabel_share)
    rows = np.append(weights * known, sublabels)
    return _fit(
        rows=np.concatenate([out.features, out.new_sublabels.features]),
        hits=np.append(out.right, out.new_sublabels.right).astype(np.float64),
        counts=np.append(every * known, every_sublabels),
        folds=np.append(_folds(out), out.new_sublabels.own % _FOLDS),
        calibration=rows,
        pseudo_negatives=rows / max(float(calibration @ known), 1),
    )


def _split_weights(
    out: LeftOut, calibration: Vector, sublabel_share: float
) -> tuple[Vector, Vector]:
    """Return the weights of references and of new sub-labels, which have `sublabel_share` of the
    total.
    """
    sublabels = calibration[out.new_sublabels.rows]
    if len(sublabels) == 0 or sublabels.sum() == 0:
        return calibration, sublabels
    whole = float(calibration @ out.known)
    weights = np.where(out.known, (1 - sublabel_share) * calibration, calibration)
    return weights, sublabel_share * sublabels * (whole / sublabels.sum())


def _negative_weights(out: LeftOut, calibration: Vector) -> tuple[float, float]:
    """Return the weight of a reference without its label, and of an answer of the background.

    Together they weigh as much as the known references; k answers of the background get k/(k + 20)
    of that.
    """
    k = float(calibration @ ~out.known)
    simulated = _REAL_WEIGHT / (k + _REAL_WEIGHT)
    return simulated, (1 - simulated) * float(calibration @ out.known) / max(k, 1)


def _counts(out: LeftOut, weights: Vector, sublabels: Vector, calibration: Vector) -> Vector:
    """Return the weights of all rows: references, new sub-labels, and references without their
    label.
    """
    simulated, answered = _negative_weights(out, calibration)
    return np.concatenate(
        [
            weights * np.where(out.known, 1, answered),
            sublabels,
            simulated * calibration[out.known],
        ]
    )


def _folds(out: LeftOut) -> Places:
    """Return the cross-fitting fold (r,) of each reference: one label in one fold, the background
    spread.

    With fewer labels than folds each reference is assigned on its own: no model can spare a label.
    """
    rows = np.arange(len(out.own))
    if len(np.unique(out.own[out.known])) < _FOLDS:
        return rows % _FOLDS
    return np.where(out.known, out.own, rows) % _FOLDS


def _fit(
    rows: Vector,
    hits: Vector,
    counts: Vector,
    folds: Places,
    calibration: Vector,
    pseudo_negatives: Vector,
) -> Fit:
    """Fit a model to rows with weights `counts`, and calibrate it on cross-fitted log-odds.

    Rows weigh `calibration` in the calibration; the first r rows count again as negatives, by
    `pseudo_negatives` (r,). For `Fit.model` each row is also weighted by its predicted probability,
    so that the confident rows count most.
    """
    r = len(pseudo_negatives)
    model = fit_logistic(rows, hits, ridge=1 / r, counts=counts)
    held_out = cross_fit_log_odds(model, rows, hits, counts, folds, ridge=1 / r)
    odds = np.append(held_out, held_out[:r])
    hits, every = np.append(hits, np.zeros(r)), np.append(calibration, pseudo_negatives)
    slope, shift = fit_line(odds, hits, every * sigmoid(odds))
    overall = model.rescaled(*fit_line(odds, hits, every))
    return Fit(model.rescaled(slope, shift), overall, slope * held_out[:r] + shift)
