"""The two models behind a probability, fitted to references that were left out. Pure.

*Known or new?* and *right or wrong?* see the same features of an item and the label that wins. What
keeps them from being too sure is told in `confidence`.

Above the labels with references (`levels`) what is known comes in two kinds: the references
themselves, and their kin, which stand for items of a new label below a known parent. Kin take the
share of the whole that such labels have among the items, as the level one down sees it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lookalike.classifier.calibration.features import LeftOut
from lookalike.classifier.calibration.logistic import (
    Logistic,
    Places,
    Vector,
    fit_apart,
    fit_line,
    fit_logistic,
    sigmoid,
)

_PARTS = 10
_REAL_WEIGHT = 20


@dataclass(frozen=True, slots=True)
class Fit:
    """A model, and the log-odds (r,) of references by models that have not seen their part.

    `model` is put right for the sure, among whom the limit lies; `overall` for all: it tells
    shares.
    """

    model: Logistic
    overall: Logistic
    unseen: Vector


def known_or_new(out: LeftOut, weight: Vector, scale: Vector, kin_share: float = 0.0) -> Fit:
    """Fit on what is known against what is of the background, and what had its label left out.

    References weigh `weight` (r,), and `scale` (r,) where the model is put right. What looked known
    and was not weighs as one label of those left out, and as one answer of the background.
    """
    known = out.known.astype(np.float64)
    labels = max(len(np.unique(out.own[out.known & (scale > 0)])), 1)
    made, real = _negative_weights(out, scale)
    seen, kin = _shared(out, scale, kin_share)
    pretended = np.append(seen * known, kin)
    every, every_kin = _shared(out, weight, kin_share)
    return _fit(
        rows=np.concatenate([out.seen, out.kin.seen, out.unseen]),
        hits=np.concatenate([known, np.ones(len(kin)), np.zeros(len(out.unseen))]),
        counts=_counts(out, every, every_kin, weight),
        parts=np.concatenate([_parts(out), out.kin.own % _PARTS, out.own[out.known] % _PARTS]),
        scale=_counts(out, seen, kin, scale),
        pretended=pretended * (made / labels + real / max(float(scale @ known), 1)),
    )


def right_or_wrong(out: LeftOut, weight: Vector, scale: Vector, kin_share: float = 0.0) -> Fit:
    """Fit on what is known; one answer more looked right and was wrong."""
    known = out.known.astype(np.float64)
    seen, kin = _shared(out, scale, kin_share)
    every, every_kin = _shared(out, weight, kin_share)
    weights = np.append(seen * known, kin)
    return _fit(
        rows=np.concatenate([out.seen, out.kin.seen]),
        hits=np.append(out.right, out.kin.right).astype(np.float64),
        counts=np.append(every * known, every_kin),
        parts=np.append(_parts(out), out.kin.own % _PARTS),
        scale=weights,
        pretended=weights / max(float(scale @ known), 1),
    )


def _shared(out: LeftOut, scale: Vector, kin_share: float) -> tuple[Vector, Vector]:
    """Return the weights of references, and of their kin, who have a share of what is known."""
    kin = scale[out.kin.of]
    if len(kin) == 0 or kin.sum() == 0:
        return scale, kin
    whole = float(scale @ out.known)
    seen = np.where(out.known, (1 - kin_share) * scale, scale)
    return seen, kin_share * kin * (whole / kin.sum())


def _negative_weights(out: LeftOut, scale: Vector) -> tuple[float, float]:
    """Return what a row with its label left out weighs, and what an answer of the background.

    All together weigh as much as what is known; the k of the background k/(k + 20) of that.
    """
    k = float(scale @ ~out.known)
    made = _REAL_WEIGHT / (k + _REAL_WEIGHT)
    return made, (1 - made) * float(scale @ out.known) / max(k, 1)


def _counts(out: LeftOut, seen: Vector, kin: Vector, scale: Vector) -> Vector:
    """Return the weights of all rows: `seen`, kin, and those of `scale` with their label out."""
    made, real = _negative_weights(out, scale)
    return np.concatenate([seen * np.where(out.known, 1, real), kin, made * scale[out.known]])


def _parts(out: LeftOut) -> Places:
    """Return a part (r,) for each reference: those of a label together, the background's apart.

    Of fewer labels than parts no model could do without one: there each reference is apart.
    """
    rows = np.arange(len(out.own))
    if len(np.unique(out.own[out.known])) < _PARTS:
        return rows % _PARTS
    return np.where(out.known, out.own, rows) % _PARTS


def _fit(
    rows: Vector, hits: Vector, counts: Vector, parts: Places, scale: Vector, pretended: Vector
) -> Fit:
    """Fit a model to rows that count `counts`, and put it right by rows that count `scale`, as
    models see them that have not seen their part; the first r count again, as no hits, by
    `pretended` (r,).

    For the model that is put right for the sure a row counts the more, the more likely a hit the
    model takes it for.
    """
    r = len(pretended)
    model = fit_logistic(rows, hits, ridge=1 / r, counts=counts)
    unseen = fit_apart(model, rows, hits, counts, parts, ridge=1 / r)
    odds = np.append(unseen, unseen[:r])
    hits, every = np.append(hits, np.zeros(r)), np.append(scale, pretended)
    slope, shift = fit_line(odds, hits, every * sigmoid(odds))
    overall = model.along(*fit_line(odds, hits, every))
    return Fit(model.along(slope, shift), overall, slope * unseen[:r] + shift)
