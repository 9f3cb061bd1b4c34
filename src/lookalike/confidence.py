"""From scores to the probability that a label is right, learned from the references themselves.

Two questions, each with a logistic model on the same features of an item and its winning label.
**Known or new?** learns from leave-one-out rows (known) against the same rows with their own label
left out altogether (new), and against what people called "none of these". **Right or wrong?**
learns from leave-one-out rows alone. The probability is
p = σ(known + log((1 − π)/π)) · σ(right), π the share of new items. The limit is the lowest p at
which the mean p of what is accepted reaches the target.

What keeps the promise where there is little to learn from:

- The log-odds are put right (Platt 1999) on what models say that have not seen the label in
  question. In its own words a model is always too sure.
- **Rule of succession.** Beside the labels that were left out stands one more label, beside the
  answers one more answer, that looked just like what is known and right, and was not. So three
  labels, or thirty answers, cannot bring p near 0.95, and a hundred hardly notice.
- Without enough random answers at least one label as large as the others counts as missing.

A **certificate** needs no such care: `claims.certified_limit` counts random answers. The lower of
both limits counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lookalike.claims import certified_limit, checks_needed
from lookalike.features import Barred, Columns, LeftOut, Sight, leave_out
from lookalike.logistic import (
    Logistic,
    Vector,
    fit_apart,
    fit_line,
    fit_logistic,
    fit_mixture,
    new_share,
    sigmoid,
)
from lookalike.propagation import Floats, Places
from lookalike.scoring import Left, Scores

OUT_OF_REACH = 2.0
"""The limit where nothing can be accepted at the target."""

ALONE = 100
"""From so many random answers on they alone calibrate; before, what people chose does, too."""

COUNTED = 30
"""From so many random answers on they tell the share of new items."""

CERTAINTY = 0.90
"""How sure a certificate is."""

_PARTS = 10
_REAL_WEIGHT = 20
_P_DIGITS = 6
_LIMIT_ITEMS = 5_000
_NOWHERE: Places = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Drawn:
    """Answers to a uniform random draw over all items, as rising places: `known` are references,
    `new` were answered "none of these".
    """

    known: Places = field(default_factory=_NOWHERE.copy)
    new: Places = field(default_factory=_NOWHERE.copy)

    def __len__(self) -> int:
        return len(self.known) + len(self.new)


@dataclass(frozen=True, slots=True)
class Confidence:
    """Everything that turns scores into probabilities; the columns are `labels`.

    `limits` are the lowest p at which each label is given, `limit` that of the labels with the
    default `target`; `certified` tells that it is a certificate's. `answers` calibrated it,
    `drawn` of them drawn at random, and about `drawn_missing` more of these would certify a limit.
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
    drawn_missing: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the scores say of items, all (m,).

    `winners` and `runners_up` are columns (−1: none), `probability` that the winner is right,
    `limits` from which probability on it is given, `known` the probability that the item is of a
    known label at all, `margin` the winner's lead in S over the runner-up.
    """

    winners: Columns
    runners_up: Columns
    probability: Vector
    limits: Vector
    known: Vector
    margin: Floats

    @property
    def accepted(self) -> NDArray[np.bool_]:
        """Return where the winner is sure enough (m,)."""
        return (self.winners >= 0) & (self.probability >= self.limits)


def learn(
    scores: Scores,
    left: Left,
    waiting: Places,
    target: float,
    *,
    targets: Mapping[str, float] | None = None,
    drawn: Drawn | None = None,
    fair: bool = True,
    seed: int = 0,
) -> Confidence:
    """Return the confidence for `target` precision of labelling the items `waiting`.

    `left` are leave-one-out scores of the references that calibrate, at least one. `fair` tells
    that they are random draws, or as good as; if not, only a certificate lets anything be labelled.
    `targets` are those of labels that have their own. `seed` chooses the items on which the limit
    is found, where there are very many.
    """
    drawn, targets = drawn or Drawn(), targets or {}
    mix = fit_mixture(left.logs, left.direct, left.own)
    sight, out = leave_out(left, scores.landscape.context[left.places], mix)
    taken_for, _, new = sight.seen(scores, drawn.new)
    known, right = _known_or_new(out, new), _right_or_wrong(out)
    winners, _, rows = sight.seen(scores, _some(waiting, seed))
    share = _share_of_new(known.model.log_odds(rows), drawn, len(scores.labels))
    random = np.isin(left.places, drawn.known)
    trials = _Trials(
        winners=np.append(out.winners[random], taken_for),
        p=np.append(
            _combined(known.unseen[: len(random)][random], right.unseen[random], share),
            _combined(known.unseen[2 * len(random) :], right.model.log_odds(new), share),
        ),
        right=np.append(out.right[random], np.zeros(len(new), bool)),
    )
    p = _probability(known.model, right.model, rows, share)
    wanted = np.array([targets.get(label, target) for label in scores.labels])
    limits = {
        one: _limit(one, p[wanted[winners] == one] if fair else p[:0], trials.of(wanted == one))
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
        leave_one_out_accuracy=float(out.right.mean()),
        answers=len(left.places) + len(new),
        drawn=len(drawn),
        drawn_missing=limits[target].drawn_missing,
    )


def judge(
    confidence: Confidence, scores: Scores, places: Places, barred: Barred | None = None
) -> Judgement:
    """Return winner, runner-up and probability of items.

    `barred` (m, labels) tells which labels an item may not get; where that is all of them, the
    winner is -1.
    """
    columns, runner, rows = confidence.sight.seen(scores, places, barred)
    open_ = np.ones(len(places), bool) if barred is None else ~barred.all(axis=1)
    share = confidence.new_share
    p = _probability(confidence.known, confidence.right, rows, share)
    return Judgement(
        winners=np.where(open_, columns, -1),
        runners_up=runner,
        probability=np.where(open_, p, 0),
        limits=np.array(confidence.limits)[columns],
        known=sigmoid(confidence.known.log_odds(rows) + _odds_of_known(share)),
        margin=rows[:, 0].astype(np.float32),
    )


@dataclass(frozen=True, slots=True)
class _Fit:
    """A model, and the log-odds of its own rows by models that have not seen their part."""

    model: Logistic
    unseen: Vector


@dataclass(frozen=True, slots=True)
class _Trials:
    """Random answers (m,): what each would be taken for, how surely, and whether rightly."""

    winners: Columns
    p: Vector
    right: NDArray[np.bool_]

    def of(self, labels: NDArray[np.bool_]) -> _Trials:
        """Return those that would be taken for one of these labels (labels,)."""
        mine = labels[self.winners]
        return _Trials(self.winners[mine], self.p[mine], self.right[mine])


@dataclass(frozen=True, slots=True)
class _Limit:
    lowest: float
    certified: bool
    drawn_missing: int


def _known_or_new(out: LeftOut, new: Vector) -> _Fit:
    """Fit on hits, misses and the rows of what is really `new` (k, 13), in this order.

    All negatives weigh as much as all hits, and the real ones k/(k + 20) of that. What looked known
    and was not is of the weight of one label, of those left out, and of one real answer.
    """
    n, k = len(out.hits), len(new)
    made = _REAL_WEIGHT / (k + _REAL_WEIGHT)
    real = n * (1 - made) / max(k, 1)
    labels = len(np.unique(out.own))
    return _fit(
        rows=np.concatenate([out.hits, out.misses, new]),
        hits=np.repeat([1.0, 0.0], [n, n + k]),
        counts=np.repeat([1.0, made, real], [n, n, k]),
        parts=np.concatenate([out.own, out.own, np.arange(k)]) % _PARTS,
        pretended=np.full(n, made / labels + real / n),
    )


def _right_or_wrong(out: LeftOut) -> _Fit:
    """Fit on the hits; one answer more looked right and was wrong."""
    n = len(out.hits)
    return _fit(
        out.hits, out.right.astype(np.float64), np.ones(n), out.own % _PARTS, np.full(n, 1 / n)
    )


def _fit(rows: Vector, hits: Vector, counts: Vector, parts: Places, pretended: Vector) -> _Fit:
    """Fit a model, put right by what is not seen in fitting it; the first n rows count once more,
    as no hits, with weights `pretended` (n,).
    """
    n = len(pretended)
    model = fit_logistic(rows, hits, ridge=1 / n, counts=counts)
    unseen = fit_apart(model, rows, hits, counts, parts, ridge=1 / n)
    slope, shift = fit_line(
        np.append(unseen, unseen[:n]), np.append(hits, np.zeros(n)), np.append(counts, pretended)
    )
    return _Fit(model.along(slope, shift), slope * unseen + shift)


def _some(waiting: Places, seed: int) -> Places:
    if len(waiting) <= _LIMIT_ITEMS:
        return waiting
    return np.sort(np.random.default_rng(seed).choice(waiting, _LIMIT_ITEMS, replace=False))


def _share_of_new(known: Vector, drawn: Drawn, labels: int) -> float:
    """Return π: by counting, or by EM over log-odds `known` of what waits, and no less than one
    label as large as the others.
    """
    if len(drawn) >= COUNTED:
        return (len(drawn.new) + 1) / (len(drawn) + 2)
    return max(new_share(sigmoid(known)), 1 / (labels + 1))


def _limit(target: float, p: Vector, trials: _Trials) -> _Limit:
    """Return the limit for what waits with `p`: the lower one of estimate and certificate."""
    falling = np.sort(p)[::-1]
    good = np.flatnonzero(np.cumsum(falling) / np.arange(1, len(falling) + 1) >= target)
    estimated = float(falling[good[-1]]) if len(good) else OUT_OF_REACH
    proven = certified_limit(trials.p, trials.right, target, CERTAINTY)
    certified = OUT_OF_REACH if proven is None else proven
    return _Limit(
        lowest=min(estimated, certified),
        certified=certified < estimated,
        drawn_missing=_drawn_missing(target, trials),
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
