"""From scores to the probability that a label is right, learned from the references themselves.

Two questions, each with a logistic model on the same features of an item and its winning label.
**Known or new?** learns from leave-one-out rows (known) against the same rows with their own label
left out altogether (new), and against what people called "none of these". **Right or wrong?**
learns from leave-one-out rows alone. The probability is
p = σ(known + log((1 − π)/π)) · σ(right), π the share of new items. The limit is the lowest p at
which the mean p of what is accepted reaches the target, and no less than an even chance.

What keeps the promise where there is little to learn from:

- The log-odds are put right (Platt 1999) on what models say that have not seen the label in
  question: in its own words a model is always too sure. They are put right for the sure ones, who
  lie near the limit: a line through all bends to the many doubtful, and tells the share of what is
  new.
- **Rule of succession.** Beside the labels that were left out stands one more label, beside the
  answers one more answer, that looked just like what is known and right, and was not. So three
  labels, or thirty answers, cannot bring p near 0.95, and a hundred hardly notice.
- Until random answers count it, the share of new items is no less than one label as large as the
  others; with fewer than ten labels no estimate of it will do.

- What people said of random samples corrects p once more (`recalibration`): it sees what no model
  of the references can.

In a **closed set** nothing is new: only *right or wrong?* counts.

A **certificate** needs no such care: `claims.certified_limit` counts random answers. The lower of
both limits counts.

Where no label is heard none can be right: p is 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from dataclasses import field as dataclass_field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.features import (
    Barred,
    LeftOut,
    Scales,
    ScoredItems,
    leave_out,
)
from lookalike.classifier.calibration.intervals import EVEN
from lookalike.classifier.calibration.logistic import (
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
from lookalike.classifier.calibration.recalibration import (
    UNCHANGED,
    Line,
    enough_samples,
    fit_recalibration,
    recalibrated,
)
from lookalike.classifier.calibration.thresholds import (
    UNREACHABLE,
    JudgedItems,
    Threshold,
    threshold_for,
)
from lookalike.classifier.graph.propagation import Floats, Places
from lookalike.classifier.scores.evidence import Columns, NeverPredicted
from lookalike.classifier.scores.hierarchy import ParentScores, levels_of, never_predicted_columns
from lookalike.classifier.scores.leave_one_out import LeftOutScores
from lookalike.classifier.scores.scores import BACKGROUND, LabelScores, Scores

# --- the two models behind a probability ---------------------------------------------------------

# *Known or new?* and *right or wrong?* see the same features of an item and the label that wins.
# What keeps them from being too sure is told in `confidence`.
#
# Above the labels with references (`levels`) what is known comes in two kinds: the references
# themselves, and their kin, which stand for items of a new label below a known parent. Kin take the
# share of the whole that such labels have among the items, as the level one down sees it.

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


# -------------------------------------------------------------------------------------------------

ALONE = 100
"""From so many random answers on they alone calibrate; before, what people chose does, too."""

COUNTED = 30
"""From so many random answers on they tell the share of new items."""

FEW_LABELS = 10
"""With fewer labels nothing but counting tells the share of new items."""

_TRUSTED = 30.0
"""So many answers p is worth where references are representative and of many labels."""

_P_DIGITS = 6
_LIMIT_ITEMS = 5_000


@dataclass(frozen=True, slots=True)
class Confidence:
    """Everything that turns scores into probabilities; the columns are `labels`.

    `limits` are the lowest p at which each label is given, `limit` that of the labels with the
    default `target`; `certified` tells that it is a certificate's. `answers` calibrated it,
    `drawn` of them drawn at random, `sampled` of them drawn or checked; `fair_missing` more sampled
    ones are needed beside what a queue picked, and about `drawn_missing` more drawn ones would
    certify a limit. `line` corrects p by what was sampled. `above` is that of their parents, for
    what none of these labels is given (`levels`).
    """

    labels: tuple[str, ...]
    sight: Scales
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
    sampled: int
    fair_missing: int
    drawn_missing: int
    line: Line = UNCHANGED
    above: Confidence | None = None

    @property
    def all_levels(self) -> list[Confidence]:
        """Return this one and those above it, the deepest first."""
        return [self, *(self.above.all_levels if self.above else ())]


def confidence_to(confidence: Confidence) -> dict[str, Any]:
    """Return a confidence as JSON values; `confidence_from` reads them back exactly."""
    values = {part.name: getattr(confidence, part.name) for part in fields(confidence)}
    above = values.pop("above")
    sight, models = confidence.sight, ("known", "right")
    return values | {
        "labels": list(confidence.labels),
        "limits": list(confidence.limits),
        "line": list(confidence.line),
        "sight": {
            "mix": list(sight.mix),
            "typical": sight.typical.tolist(),
            **_quiet_to(confidence),
        },
        **{name: logistic_to(values[name]) for name in models},
        **({"above": confidence_to(above)} if above else {}),
    }


def confidence_from(stored: Mapping[str, Any]) -> Confidence:
    """Return the confidence that `confidence_to` wrote."""
    sight = stored["sight"]
    first, second = sight["mix"]
    typical = np.array(sight["typical"], np.float32)
    parts = {
        "labels": tuple(stored["labels"]),
        "limits": tuple(stored["limits"]),
        "line": tuple(stored["line"]),
        "sight": Scales((first, second), typical, _quiet_from(sight)),
        "known": logistic_from(stored["known"]),
        "right": logistic_from(stored["right"]),
        "above": confidence_from(stored["above"]) if "above" in stored else None,
    }
    return Confidence(**{**stored, **parts})


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the scores say of items, all (m,).

    `winners` and `runners_up` are columns (−1: none), `sources` the places of the winner's nearest
    references, `probability` that the winner is right, `limits` from which probability on it is
    given, `known` the probability that the item is of a known label at all, `margin` the winner's
    lead in S over the runner-up.
    """

    winners: Columns
    runners_up: Columns
    sources: Places
    probability: Vector
    limits: Vector
    known: Vector
    margin: Floats

    @property
    def accepted(self) -> NDArray[np.bool_]:
        """Return where the winner is sure enough (m,)."""
        return (self.winners >= 0) & (self.probability >= self.limits) & (self.margin >= 0)


@dataclass(frozen=True, slots=True)
class Rank:
    """How labels stand in their tree (`levels`): which are `never_predicted`, and which may be `assignable`
    (labels,; None: all). Of parents there are `kin`, the rows of the references that these are
    (`kin_of`), and the share of what is known that they stand for.
    """

    never_predicted: NeverPredicted
    assignable: NDArray[np.bool_] | None = None
    kin: LeftOutScores | None = None
    kin_of: Places = dataclass_field(default_factory=lambda: np.empty(0, np.int64))
    kin_share: float = 0.0


@dataclass(frozen=True, slots=True)
class CalibrationData:
    """What was learned: how sure to be, and which references (r,) would be labelled if they did not
    vote, by models that have not seen them.
    """

    confidence: Confidence
    labelled: NDArray[np.bool_]


class RefutedAnswers(NamedTuple):
    """Items (k,) that do not vote, and the column (k,) of a label that each has not."""

    places: Places
    columns: Columns


NOTHING_REFUTED = RefutedAnswers(np.empty(0, np.int64), np.empty(0, np.int64))


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked, and whose answers tell; all arrays (r,).

    `target` is the precision, `targets` are those of labels that have their own. All references
    shape the models, and those that are `fair`, random draws or as good as, calibrate them. `drawn`
    come from a uniform draw over all items, `checked` from one over what would be labelled, and
    `doubt` is how likely each answer is wrong. What looks wrong has a `weight` below 1. What a
    check only `refuted` is no reference. Where a queue picked most references they are not
    `representative`: then nothing holds but what was sampled. In a `closed` set nothing is new.
    """

    target: float
    targets: Mapping[str, float]
    fair: NDArray[np.bool_]
    drawn: NDArray[np.bool_]
    checked: NDArray[np.bool_]
    doubt: Vector
    weight: Vector
    refuted: RefutedAnswers = NOTHING_REFUTED
    representative: bool = True
    closed: bool = False

    @classmethod
    def for_all(cls, left: LeftOutScores, target: float, *, closed: bool = False) -> Terms:
        """Return the terms where all references are fair, and none was drawn or checked."""
        fair = np.ones(len(left.own), bool)
        one = np.ones(len(fair))
        return cls(target, {}, fair, ~fair, ~fair, doubt=0 * one, weight=one, closed=closed)

    @property
    def sampled(self) -> NDArray[np.bool_]:
        """Return which references are random samples (r,)."""
        return self.drawn | self.checked

    @property
    def fair_missing(self) -> int:
        """Return how many sampled answers are missing beside those that are not."""
        missing = enough_samples(self.target) - int(self.sampled.sum())
        return 0 if self.representative else max(missing, 0)

    def left_open(self, labelled: NDArray[np.bool_]) -> Terms:
        """Return the terms where what would be `labelled` (r,) tells nothing of the rest."""
        return replace(
            self,
            drawn=self.drawn & ~labelled,
            checked=self.checked & ~labelled,
            refuted=NOTHING_REFUTED,
        )


def learn(
    scores: LabelScores,
    left: LeftOutScores,
    waiting: Places,
    terms: Terms,
    rank: Rank | None = None,
) -> CalibrationData:
    """Return how sure to be of what `scores` say of the items `waiting`.

    `left` are leave-one-out scores of the references, those of the background included. Without a
    `rank` all labels are peers but the background.
    """
    rank = rank or Rank(never_predicted_columns(scores.labels, hierarchical=False))
    sight, out = leave_out(
        left, never_predicted=rank.never_predicted, kin=rank.kin, kin_of=rank.kin_of
    )
    fair = terms.fair if (terms.fair & out.known).any() else np.ones_like(terms.fair)
    scale, drawn = fair * terms.weight, out.known[terms.drawn]
    known = known_or_new(out, terms.weight, scale, rank.kin_share)
    right = right_or_wrong(out, terms.weight, scale, rank.kin_share)
    labels, seen = (
        len(scores.labels) - len(sight.never_predicted),
        sight.seen(scores, thinned(waiting)),
    )
    share = _share_of_new(known.overall.log_odds(seen.features), drawn, labels, terms, left.counts)
    of_known, of_right = (one.model.log_odds(seen.features) for one in (known, right))
    p, r = _combined(of_known, of_right, share, seen.leads.winners), len(out.own)
    in_trial = _combined(known.unseen[:r], right.unseen[:r], share, out.winners)
    wrong = _refuted(scores, sight, terms, (known.model, right.model), share)
    line = _line(in_trial, out.right, terms, wrong, labels)
    p, in_trial = recalibrated(line, p), recalibrated(line, in_trial)
    trials = JudgedItems(out.winners, in_trial, out.right)
    promising = _may_promise(in_trial, terms, labels)
    some = slice(None if promising else 0)
    offered = JudgedItems(seen.leads.winners[some], p[some], np.empty(0, bool))
    limit, limits = _limits(scores.labels, offered, trials.of(terms.drawn), terms, rank)
    confidence = Confidence(
        labels=tuple(scores.labels),
        sight=sight,
        known=known.model,
        right=right.model,
        new_share=share,
        target=terms.target,
        limits=tuple(limits.tolist()),
        limit=limit.lowest,
        certified=limit.certified,
        leave_one_out_accuracy=float(np.average(out.right, weights=scale * out.known)),
        answers=int((terms.fair if terms.representative else terms.sampled).sum()),
        drawn=len(drawn),
        sampled=int(terms.sampled.sum()),
        fair_missing=terms.fair_missing,
        drawn_missing=limit.drawn_missing,
        line=line,
    )
    return CalibrationData(confidence, (trials.p >= limits[trials.winners]) & (out.seen[:, 0] >= 0))


def levels_with_scores(
    confidence: Confidence, scores: Scores
) -> list[tuple[Confidence, Scores | ParentScores]]:
    """Return how sure to be at each level, the deepest first, and what the references say there.

    Where a label has lost its last reference since, only of levels whose labels are the same.
    """
    first, *above = confidence.all_levels
    levels = levels_of(scores.labels) if above else []
    found = [(first, scores)] if scores.labels == list(first.labels) else []
    sure = {one.labels: one for one in above}
    parents = [
        (sure[level.labels], ParentScores(scores, level))
        for level in levels
        if level.labels in sure
    ]
    return [*found, *parents]


def thinned(waiting: Places) -> Places:
    """Return items spread over all that wait, enough to find the limit on."""
    return waiting[:: max(1, -(-len(waiting) // _LIMIT_ITEMS))]


def judge(
    confidence: Confidence, scores: LabelScores, places: Places, barred: Barred | None = None
) -> Judgement:
    """Return winner, runner-up and probability of items.

    `barred` (m, labels) tells which labels an item may not get; where no other is heard, the winner
    is −1.
    """
    return judged(confidence, confidence.sight.seen(scores, places, barred))


def judged(confidence: Confidence, seen: ScoredItems) -> Judgement:
    """Return the judgement of items of which that is seen."""
    rows, share, leads = seen.features, confidence.new_share, seen.leads
    known, right = confidence.known.log_odds(rows), confidence.right.log_odds(rows)
    p = _combined(known, right, share, leads.winners)
    return Judgement(
        winners=leads.winners,
        runners_up=leads.runners_up,
        sources=seen.sources,
        probability=recalibrated(confidence.line, p),
        limits=np.array(confidence.limits)[leads.winners],
        known=sigmoid(known + _odds_of_known(share)),
        margin=rows[:, 0].astype(np.float32),
    )


def _quiet_to(confidence: Confidence) -> dict[str, Any]:
    """Return which columns are quiet, as JSON values; mostly it is the background alone."""
    never_predicted, background = (
        confidence.sight.never_predicted,
        confidence.labels[0] == BACKGROUND,
    )
    others = {"quiet": list(never_predicted)} if len(never_predicted) > background else {}
    return {"background": background, **others}


def _quiet_from(sight: Mapping[str, Any]) -> NeverPredicted:
    return tuple(sight.get("quiet", [0] if sight["background"] else []))


def _refuted(
    scores: LabelScores,
    sight: Scales,
    terms: Terms,
    models: tuple[Logistic, Logistic],
    share: float,
) -> Vector:
    """Return how sure the rule is of refuted labels (k,), where it would still give them."""
    places, columns = terms.refuted
    seen = sight.seen(scores, places)
    known, right = (model.log_odds(seen.features) for model in models)
    same = seen.leads.winners == columns
    p: Vector = _combined(known, right, share, seen.leads.winners)[same]
    return p


def _line(p: Vector, right: NDArray[np.bool_], terms: Terms, refuted: Vector, labels: int) -> Line:
    """Return what corrects p by random samples, and by the p (k,) of what they `refuted`.

    Where references are representative a few samples change nothing; and where they are of enough
    `labels`, p itself is worth some answers.
    """
    some, wrong = terms.sampled, np.zeros(len(refuted), bool)
    if terms.representative and some.sum() + len(refuted) < enough_samples(terms.target):
        return UNCHANGED
    return fit_recalibration(
        np.append(p[some], refuted),
        np.append(right[some], wrong),
        np.append(terms.doubt[some], np.zeros(len(refuted))),
        trust=_TRUSTED if terms.representative and labels >= FEW_LABELS else 0.0,
    )


def _may_promise(p: Vector, terms: Terms, labels: int) -> bool:
    """Return whether the mean of p may be believed: enough was sampled of what is more likely right
    than wrong, by the p (r,) of references, or these are fair and tell how much is new.
    """
    if terms.sampled[p >= EVEN].sum() >= enough_samples(terms.target):
        return True
    counted = terms.closed or terms.drawn.sum() >= COUNTED or labels >= FEW_LABELS
    return terms.representative and counted


def _share_of_new(
    odds: Vector, drawn_known: NDArray[np.bool_], labels: int, terms: Terms, counts: Columns
) -> float:
    """Return π, 0 in a closed set: counted, where enough were drawn; else by EM over log-odds that
    what waits is known, and no less than one label as large as the others.

    Beside what a queue picked EM is too timid: the queue goes where nothing is known, so π is no
    more than how often its latest answer was a new label (`_discovery_rate`).
    """
    if terms.closed:
        return 0.0
    drawn = len(drawn_known)
    if drawn >= COUNTED:
        return float((drawn - drawn_known.sum() + 1) / (drawn + 2))
    share = new_share(sigmoid(odds))
    if not terms.representative:
        share = min(share, _discovery_rate(counts))
    return max(share, 1 / (labels + 1))


def _discovery_rate(counts: Columns) -> float:
    """Return about how likely the next answer is a label that nobody gave yet (Good 1953).

    That is the share of labels seen once among all answers. Look-alikes that were named together
    are no independent answers, so n of a label `counts` (labels,) as √n.
    """
    return float(((counts == 1).sum() + 1) / (np.sqrt(counts).sum() + 2))


def _limits(
    labels: Sequence[str], offered: JudgedItems, trials: JudgedItems, terms: Terms, rank: Rank
) -> tuple[Threshold, Vector]:
    """Return the limit for the default target, and that of each of the labels (labels,)."""
    wanted = np.array([terms.targets.get(label, terms.target) for label in labels])
    if rank.assignable is not None:
        wanted[~rank.assignable] = np.nan
    known = {
        one: threshold_for(one, offered.p[(wanted == one)[offered.winners]], trials, wanted == one)
        for one in {terms.target, *wanted[~np.isnan(wanted)].tolist()}
    }
    lowest = [known[one].lowest if one in known else UNREACHABLE for one in wanted.tolist()]
    return known[terms.target], np.array(lowest)


def _combined(known: Vector, right: Vector, share: float, winners: Columns) -> Vector:
    """Return p (m,), rounded so that it does not depend on which rows are computed together."""
    p = np.round(sigmoid(known + _odds_of_known(share)) * sigmoid(right), _P_DIGITS)
    return p * (winners >= 0)


def _odds_of_known(share: float) -> float:
    return math.log((1 - share) / share) if share else math.inf
