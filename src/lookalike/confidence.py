"""From scores to the probability that a label is right, learned from the references themselves.

Two questions, each with a logistic model on the same features of an item and its winning label.
**Known or new?** learns from leave-one-out rows (known) against the same rows with their own label
left out altogether (new), and against what people called "none of these". **Right or wrong?**
learns from leave-one-out rows alone. The probability is
p = σ(known + log((1 − π)/π)) · σ(right), π the share of new items. The limit is the lowest p at
which the mean p of what is accepted reaches the target, and no less than an even chance.

What keeps the promise where there is little to learn from:

- The log-odds are put right (Platt 1999) on what models say that have not seen the label in
  question. In its own words a model is always too sure.
- **Rule of succession.** Beside the labels that were left out stands one more label, beside the
  answers one more answer, that looked just like what is known and right, and was not. So three
  labels, or thirty answers, cannot bring p near 0.95, and a hundred hardly notice. Chance shrinks
  with the number of labels, so of more than 24 it is less than one: 24/n.
- Until random answers count it, the share of new items is no less than one label as large as the
  others; with fewer than ten labels no estimate of it will do.

A **certificate** needs no such care: `claims.certified_limit` counts random answers. The lower of
both limits counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.claims import EVEN, certified_limit, checks_needed
from lookalike.features import BACKGROUND, Barred, Columns, LeftOut, Sight, leave_out
from lookalike.logistic import (
    Logistic,
    Vector,
    fit_apart,
    fit_line,
    fit_logistic,
    logistic_from,
    logistic_to,
    new_share,
    sigmoid,
)
from lookalike.propagation import Floats, Places
from lookalike.scoring import Left, Scores

OUT_OF_REACH = 2.0
"""The limit where nothing can be accepted at the target."""

ALONE = 100
"""From so many random answers on they alone calibrate; before, what people chose does, too. Beside
what a queue picked, no fewer will do."""

COUNTED = 30
"""From so many random answers on they tell the share of new items."""

FEW_LABELS = 10
"""With fewer labels nothing but counting tells the share of new items."""

SUSPECT_LEAD = math.log(0.95 / 0.05)
"""A reference looks wrong where another label is at least this far ahead: odds of 19 to 1."""

CERTAINTY = 0.90
"""How sure a certificate is."""

_WHOLE = 24
"""Up to so many labels a whole one is pretended; of more, the less, the more there are."""

_PROVABLE = 0.999
"""No number of answers proves that all are right; so much takes 2,300."""

_PARTS = 10
_REAL_WEIGHT = 20
_P_DIGITS = 6
_LIMIT_ITEMS = 5_000


@dataclass(frozen=True, slots=True)
class Confidence:
    """Everything that turns scores into probabilities; the columns are `labels`.

    `limits` are the lowest p at which each label is given, `limit` that of the labels with the
    default `target`; `certified` tells that it is a certificate's. `answers` calibrated it,
    `drawn` of them drawn at random, `suspects` look wrong; `fair_missing` more are needed beside
    what a queue picked, and about `drawn_missing` more drawn ones would certify a limit.
    """

    labels: tuple[str, ...]
    sight: Sight
    known: Logistic
    right: Logistic
    new_share: float
    target: float
    limits: tuple[float, ...]
    limit: float
    certified: bool
    leave_one_out_accuracy: float
    answers: int
    drawn: int
    suspects: int
    fair_missing: int
    drawn_missing: int


def confidence_to(confidence: Confidence) -> dict[str, Any]:
    """Return a confidence as JSON values; `confidence_from` reads them back exactly."""
    values = {part.name: getattr(confidence, part.name) for part in fields(confidence)}
    sight, models = confidence.sight, ("known", "right")
    return values | {
        "labels": list(confidence.labels),
        "limits": list(confidence.limits),
        "sight": {
            "mix": list(sight.mix),
            "typical": sight.typical.tolist(),
            "background": sight.background,
        },
        **{name: logistic_to(values[name]) for name in models},
    }


def confidence_from(stored: Mapping[str, Any]) -> Confidence:
    """Return the confidence that `confidence_to` wrote."""
    sight = stored["sight"]
    first, second = sight["mix"]
    typical = np.array(sight["typical"], np.float32)
    parts = {
        "labels": tuple(stored["labels"]),
        "limits": tuple(stored["limits"]),
        "sight": Sight((first, second), typical, sight["background"]),
        "known": logistic_from(stored["known"]),
        "right": logistic_from(stored["right"]),
    }
    return Confidence(**{**stored, **parts})


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the scores say of items, all (m,).

    `winners` and `runners_up` are columns (−1: none), `sources` the places of the winner's nearest
    references, `features` (m, 13) what the models see, `probability` that the winner is right,
    `limits` from which probability on it is given, `known` the probability that the item is of a
    known label at all, `margin` the winner's lead in S over the runner-up.
    """

    winners: Columns
    runners_up: Columns
    sources: Places
    features: Vector
    probability: Vector
    limits: Vector
    known: Vector
    margin: Floats

    @property
    def accepted(self) -> NDArray[np.bool_]:
        """Return where the winner is sure enough (m,)."""
        return (self.winners >= 0) & (self.probability >= self.limits) & (self.margin >= 0)


def learn(
    scores: Scores,
    left: Left,
    waiting: Places,
    target: float,
    *,
    targets: Mapping[str, float] | None = None,
    fair: NDArray[np.bool_] | None = None,
    drawn: NDArray[np.bool_] | None = None,
) -> Confidence:
    """Return the confidence for `target` precision of labelling the items `waiting`.

    `left` are leave-one-out scores of the references, those of the background included. All shape
    the models; those that are `fair` (r,), random draws or as good as, calibrate: by default all.
    `drawn` (r,) tells which come from a uniform draw over all items. Where nothing is fair, only a
    certificate counts. `targets` are those of labels that have their own.
    """
    fair, drawn = _rows(fair, left, default=True), _rows(drawn, left, default=False)
    background = scores.labels[0] == BACKGROUND
    sight, out = leave_out(left, scores.landscape.context[left.places], background=background)
    scale = (fair if (fair & out.known).any() else np.ones_like(fair)).astype(np.float64)
    known, right = _known_or_new(out, scale), _right_or_wrong(out, scale)
    labels, seen = len(scores.labels) - background, sight.seen(scores, _thinned(waiting))
    share = _share_of_new(known.model.log_odds(seen.features), out.known[drawn], labels)
    p = _probability(known.model, right.model, seen.features, share)
    trials = _Trials(out.winners, _combined(known.unseen, right.unseen, share), out.right).of(drawn)
    missing = 0 if fair.all() else max(ALONE - int(fair.sum()), 0)
    promising = missing == 0 and (drawn.sum() >= COUNTED or labels >= FEW_LABELS)
    wanted = np.array([(targets or {}).get(label, target) for label in scores.labels])
    limits = {
        one: _limit(one, p[(wanted == one)[seen.winners] & promising], trials, wanted == one)
        for one in {target, *wanted.tolist()}
    }
    return Confidence(
        labels=tuple(scores.labels),
        sight=sight,
        known=known.model,
        right=right.model,
        new_share=share,
        target=target,
        limits=tuple(limits[one].lowest for one in wanted.tolist()),
        limit=limits[target].lowest,
        certified=limits[target].certified,
        leave_one_out_accuracy=float(np.average(out.right, weights=scale * out.known)),
        answers=int(fair.sum()),
        drawn=int(drawn.sum()),
        suspects=out.suspects(SUSPECT_LEAD),
        fair_missing=missing,
        drawn_missing=limits[target].drawn_missing,
    )


def judge(
    confidence: Confidence, scores: Scores, places: Places, barred: Barred | None = None
) -> Judgement:
    """Return winner, runner-up and probability of items.

    `barred` (m, labels) tells which labels an item may not get; where that is all of them, the
    winner is -1.
    """
    seen = confidence.sight.seen(scores, places, barred)
    rows = seen.features
    real = slice(int(confidence.sight.background), None)
    open_ = np.ones(len(places), bool) if barred is None else ~barred[:, real].all(axis=1)
    share = confidence.new_share
    p = _probability(confidence.known, confidence.right, rows, share)
    return Judgement(
        winners=np.where(open_, seen.winners, -1),
        runners_up=seen.runners_up,
        sources=seen.sources,
        features=rows,
        probability=np.where(open_, p, 0),
        limits=np.array(confidence.limits)[seen.winners],
        known=sigmoid(confidence.known.log_odds(rows) + _odds_of_known(share)),
        margin=rows[:, 0].astype(np.float32),
    )


@dataclass(frozen=True, slots=True)
class _Fit:
    """A model, and the log-odds (r,) of references by models that have not seen their part."""

    model: Logistic
    unseen: Vector


@dataclass(frozen=True, slots=True)
class _Trials:
    """Random answers (m,): what each would be taken for, how surely, and whether rightly."""

    winners: Columns
    p: Vector
    right: NDArray[np.bool_]

    def of(self, rows: NDArray[np.bool_]) -> _Trials:
        """Return some of them."""
        return _Trials(self.winners[rows], self.p[rows], self.right[rows])


@dataclass(frozen=True, slots=True)
class _Limit:
    lowest: float
    certified: bool
    drawn_missing: int


def _known_or_new(out: LeftOut, scale: Vector) -> _Fit:
    """Fit on what is known against what is of the background, and what had its label left out.

    What looked known and was not weighs as one label of those left out (of many, as less), and as
    one answer of the background.
    """
    known = out.known.astype(np.float64)
    labels = max(len(np.unique(out.own[out.known & (scale > 0)])), 1)
    made, real = _negative_weights(out, scale)
    share = min(1, _WHOLE / labels) / labels
    return _fit(
        rows=np.concatenate([out.seen, out.unseen]),
        hits=np.append(known, np.zeros(len(out.unseen))),
        counts=_counts(out, np.ones(len(known))),
        parts=np.append(_parts(out), out.own[out.known] % _PARTS),
        scale=_counts(out, scale),
        pretended=scale * known * (made * share + real / max(float(scale @ known), 1)),
    )


def _right_or_wrong(out: LeftOut, scale: Vector) -> _Fit:
    """Fit on what is known; one answer more looked right and was wrong."""
    known = out.known.astype(np.float64)
    return _fit(
        rows=out.seen,
        hits=out.right.astype(np.float64),
        counts=known,
        parts=_parts(out),
        scale=scale * known,
        pretended=scale * known / max(float(scale @ known), 1),
    )


def _negative_weights(out: LeftOut, scale: Vector) -> tuple[float, float]:
    """Return what a row with its label left out weighs, and what an answer of the background.

    All together weigh as much as what is known; the k of the background k/(k + 20) of that.
    """
    k = float(scale @ ~out.known)
    made = _REAL_WEIGHT / (k + _REAL_WEIGHT)
    return made, (1 - made) * float(scale @ out.known) / max(k, 1)


def _counts(out: LeftOut, scale: Vector) -> Vector:
    """Return the weights of the rows of `seen` and `unseen`, of references that weigh `scale`."""
    made, real = _negative_weights(out, scale)
    return np.append(scale * np.where(out.known, 1, real), made * scale[out.known])


def _parts(out: LeftOut) -> Places:
    """Return a part (r,) for each reference: those of a label together, the background's apart."""
    return np.where(out.known, out.own, np.arange(len(out.own))) % _PARTS


def _fit(
    rows: Vector, hits: Vector, counts: Vector, parts: Places, scale: Vector, pretended: Vector
) -> _Fit:
    """Fit a model to rows that count `counts`, and put it right by rows that count `scale`, as
    models see them that have not seen their part; the first r count again, as no hits, by
    `pretended` (r,).
    """
    r = len(pretended)
    model = fit_logistic(rows, hits, ridge=1 / r, counts=counts)
    unseen = fit_apart(model, rows, hits, counts, parts, ridge=1 / r)
    slope, shift = fit_line(
        odds=np.append(unseen, unseen[:r]),
        hits=np.append(hits, np.zeros(r)),
        counts=np.append(scale, pretended),
    )
    return _Fit(model.along(slope, shift), slope * unseen[:r] + shift)


def _rows(mask: NDArray[np.bool_] | None, left: Left, *, default: bool) -> NDArray[np.bool_]:
    return np.full(len(left.own), default) if mask is None else mask


def _thinned(waiting: Places) -> Places:
    """Return items spread over all that wait, enough to find the limit on."""
    return waiting[:: max(1, -(-len(waiting) // _LIMIT_ITEMS))]


def _share_of_new(odds: Vector, drawn_known: NDArray[np.bool_], labels: int) -> float:
    """Return π: counted, where enough were drawn; else by EM over log-odds that what waits is
    known, and no less than one label as large as the others.
    """
    drawn = len(drawn_known)
    if drawn >= COUNTED:
        return float((drawn - drawn_known.sum() + 1) / (drawn + 2))
    return max(new_share(sigmoid(odds)), 1 / (labels + 1))


def _limit(target: float, p: Vector, trials: _Trials, labels: NDArray[np.bool_]) -> _Limit:
    """Return the lower limit of two: estimated from the `p` of what waits, and certified by trials
    of some `labels` (labels,).
    """
    trials = trials.of(labels[trials.winners])
    falling = np.sort(p)[::-1]
    good = np.flatnonzero(np.cumsum(falling) / np.arange(1, len(falling) + 1) >= target)
    estimated = float(falling[good[-1]]) if len(good) else OUT_OF_REACH
    provable = min(target, _PROVABLE)
    proven = certified_limit(trials.p, trials.right, provable, CERTAINTY)
    certified = OUT_OF_REACH if proven is None else proven
    return _Limit(
        lowest=max(min(estimated, certified), min(EVEN, target)),
        certified=certified < estimated,
        drawn_missing=_drawn_missing(provable, trials),
    )


def _drawn_missing(target: float, trials: _Trials) -> int:
    """Return about how many more random answers would certify a limit, all going well."""
    wrong = ~trials.right[np.argsort(-trials.p, kind="stable")]
    leading = int(wrong.argmax()) if wrong.any() else len(wrong)
    missing = max(checks_needed(target, CERTAINTY) - leading, 0)
    return math.ceil(missing * (len(wrong) + 1) / (leading + 1))


def _probability(known: Logistic, right: Logistic, rows: Vector, share: float) -> Vector:
    return _combined(known.log_odds(rows), right.log_odds(rows), share)


def _combined(known: Vector, right: Vector, share: float) -> Vector:
    """Return p (m,), rounded so that it does not depend on which rows are computed together."""
    return np.round(sigmoid(known + _odds_of_known(share)) * sigmoid(right), _P_DIGITS)


def _odds_of_known(share: float) -> float:
    return math.log((1 - share) / share)
