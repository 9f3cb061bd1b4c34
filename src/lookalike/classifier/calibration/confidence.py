"""Calibrated probability that the winning label of an item is right, fitted on the references.

Two logistic models see the same features of an item and its winning label (`two_models`). **Known
or new?** is fitted on leave-one-out rows (known) against the same rows with their own label left
out altogether (new), and against answers "none of these". **Right or wrong?** is fitted on
leave-one-out rows alone. The probability is p = σ(known + log((1 − π)/π)) · σ(right), π the share
of new items. The threshold is the lowest p at which the mean p of the accepted items reaches the
target precision, and at least 0.5.

With little data, these rules keep the precision at the target:

- Log-odds are calibrated (Platt 1999) on models that have not seen the label in question, because a
  model is overconfident on its own training data. The calibration weights confident rows most,
  because they lie near the threshold: a line through all rows would bend to the many doubtful ones;
  that line only estimates shares.
- **Rule of succession.** One pseudo-negative label and one pseudo-negative answer are added: they
  looked known and right, and were not. So three labels, or thirty answers, cannot bring p near
  0.95, while a hundred hardly change.
- Until random answers measure it, the share of new items is at least one label as large as the
  others; with fewer than ten labels no estimate of it is accepted.
- Answers to random samples correct p once more (`recalibration`), for errors that no model of the
  references can see.

In a **closed set** nothing is new: only *right or wrong?* counts. A **certificate** needs none of
these rules: `intervals.certified_threshold` counts random answers. The lower of both thresholds is
used. If no label reaches an item, p is 0.
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
    ExcludedLabels,
    LeftOut,
    Scales,
    ScoredItems,
    leave_out,
)
from lookalike.classifier.calibration.intervals import EVEN
from lookalike.classifier.calibration.logistic import (
    Logistic,
    Vector,
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
    PredictedItems,
    Threshold,
    threshold_for,
)
from lookalike.classifier.calibration.two_models import Fit, fit_known, fit_right
from lookalike.classifier.graph.propagation import Floats, Places
from lookalike.classifier.scores.evidence import Columns, NeverPredicted
from lookalike.classifier.scores.hierarchy import ParentScores, levels_of, never_predicted_columns
from lookalike.classifier.scores.leave_one_out import LeftOutScores
from lookalike.classifier.scores.scores import BACKGROUND, LabelScores, Scores

ALONE = 100
"""With at least this many random answers, only they calibrate; before, answers that people chose
do, too."""

COUNTED = 30
"""With at least this many random answers, they measure the share of new items."""

FEW_LABELS = 10
"""With fewer labels, only random answers measure the share of new items."""

_PRIOR_ANSWERS = 30.0
"""The weight of p in answers, if references are representative and of many labels."""

_LEAST_REFERENCES = 3
"""With fewer references a label only suggests: with one there is no leave-one-out trial of it, and
with two each was tried against the other alone."""

_P_DIGITS = 6
_THRESHOLD_ITEMS = 5_000


@dataclass(frozen=True, slots=True)
class Confidence:
    """The calibrated model of one level: turns scores into probabilities; the columns are `labels`.

    `sight` are the scales of the features, `known` and `right` the two models. `limits` are the
    lowest p at which each label is assigned (thresholds), `limit` that of the labels with the
    default `target`; `certified` is True if a certificate set it. `answers` calibrated it, `drawn`
    of them from a uniform random sample, `sampled` of them drawn or checked. `fair_missing` more
    sampled ones are needed if a queue picked most answers, and about `drawn_missing` more drawn
    ones would certify a threshold. `line` corrects p by random samples. `fine_propagation` is that
    of the scores it was fitted on (`Scores`). `above` is the model of the parents, for items that
    get none of these labels (`hierarchy`).
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
    fine_propagation: bool = False
    above: Confidence | None = None

    @property
    def all_levels(self) -> list[Confidence]:
        """Return this model and those of the levels above, the deepest level first."""
        return [self, *(self.above.all_levels if self.above else ())]


def confidence_to(confidence: Confidence) -> dict[str, Any]:
    """Return a confidence as JSON values; `confidence_from` reads them back exactly."""
    values = {part.name: getattr(confidence, part.name) for part in fields(confidence)}
    above = values.pop("above")
    scales, models = confidence.sight, ("known", "right")
    return values | {
        "labels": list(confidence.labels),
        "limits": list(confidence.limits),
        "line": list(confidence.line),
        "sight": {
            "mix": list(scales.mix),
            "typical": scales.class_means.tolist(),
            **_never_predicted_to(confidence),
        },
        **{name: logistic_to(values[name]) for name in models},
        **({"above": confidence_to(above)} if above else {}),
    }


def confidence_from(stored: Mapping[str, Any]) -> Confidence:
    """Return the confidence that `confidence_to` wrote."""
    scales = stored["sight"]
    first, second = scales["mix"]
    typical = np.array(scales["typical"], np.float32)
    folds = {
        "labels": tuple(stored["labels"]),
        "limits": tuple(stored["limits"]),
        "line": tuple(stored["line"]),
        "sight": Scales((first, second), typical, _never_predicted_from(scales)),
        "known": logistic_from(stored["known"]),
        "right": logistic_from(stored["right"]),
        "above": confidence_from(stored["above"]) if "above" in stored else None,
    }
    return Confidence(**{**stored, **folds})


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions for items, all (m,).

    `winners` and `runners_up` are columns (−1: none), `sources` the places of the winner's nearest
    references, `probability` that the winner is right, `limits` the threshold of the winner,
    `known` the probability that the item has a known label at all, `margin` the winner's margin in
    S over the runner-up.
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
        """Return where the winner's probability reaches its threshold (m,)."""
        return (self.winners >= 0) & (self.probability >= self.limits) & (self.margin >= 0)


@dataclass(frozen=True, slots=True)
class Rank:
    """The role of labels in their hierarchy (`hierarchy`).

    Columns in `never_predicted` do not win; `assignable` (labels,; None: all) may be assigned. For
    parents, `new_sublabels` simulate new labels below them: they are the references
    `sublabel_rows`, and `sublabel_share` is their share of the known items.
    """

    never_predicted: NeverPredicted
    assignable: NDArray[np.bool_] | None = None
    new_sublabels: LeftOutScores | None = None
    sublabel_rows: Places = dataclass_field(default_factory=lambda: np.empty(0, np.int64))
    sublabel_share: float = 0.0

    def leave_out(self, left: LeftOutScores) -> tuple[Scales, LeftOut]:
        """Fit the scales of the features; return them and the left-out references' features."""
        return leave_out(
            left,
            never_predicted=self.never_predicted,
            new_sublabels=self.new_sublabels,
            sublabel_rows=self.sublabel_rows,
        )


@dataclass(frozen=True, slots=True)
class CalibrationData:
    """The fitted model, and which references (r,) held-out models would label automatically."""

    confidence: Confidence
    labelled: NDArray[np.bool_]


class RefutedAnswers(NamedTuple):
    """Items (k,) that are no references, and the column (k,) of a label that each does not have."""

    places: Places
    columns: Columns


NOTHING_REFUTED = RefutedAnswers(np.empty(0, np.int64), np.empty(0, np.int64))


@dataclass(frozen=True, slots=True)
class Terms:
    """Training terms: the target precision and the roles of the answers; all arrays (r,).

    `target` is the precision, `targets` those of labels with their own. All references fit the
    models; those in `calibration_sample`, random samples or similar, calibrate them. `drawn` come
    from a uniform sample of all items, `checked` from one of the items that would be labelled
    automatically, and the `corrected` ones of these got another label than the one shown.
    `error_probability` is how likely each answer is wrong; answers that look wrong have a `weight`
    below 1. `refuted` answers of a check give no label and are no references. If a queue picked
    most references they are not `representative`: then only sampled answers count. In a `closed`
    set nothing is new.
    """

    target: float
    targets: Mapping[str, float]
    calibration_sample: NDArray[np.bool_]
    drawn: NDArray[np.bool_]
    checked: NDArray[np.bool_]
    corrected: NDArray[np.bool_]
    error_probability: Vector
    weight: Vector
    refuted: RefutedAnswers = NOTHING_REFUTED
    representative: bool = True
    closed: bool = False

    @classmethod
    def for_all(cls, left: LeftOutScores, target: float, *, closed: bool = False) -> Terms:
        """Return the terms where all references calibrate, and none is drawn or checked."""
        every = np.ones(len(left.own), bool)
        ones = np.ones(len(every))
        return cls(
            target,
            {},
            every,
            ~every,
            ~every,
            ~every,
            error_probability=0 * ones,
            weight=ones,
            closed=closed,
        )

    @property
    def sampled(self) -> NDArray[np.bool_]:
        """Return which references are random samples, drawn or checked (r,)."""
        return self.drawn | self.checked

    @property
    def fair_missing(self) -> int:
        """Return how many more sampled answers are needed if references are not representative."""
        missing = enough_samples(self.target) - int(self.sampled.sum())
        return 0 if self.representative else max(missing, 0)

    def calibration_weight(self, known: NDArray[np.bool_]) -> Vector:
        """Return the weight (r,) of references in the calibration: if no `known` one is in the
        calibration sample, all calibrate.
        """
        sample = self.calibration_sample
        return self.weight * (sample if (sample & known).any() else 1)

    def left_open(self, labelled: NDArray[np.bool_]) -> Terms:
        """Return the terms for the level above, without the samples that would be `labelled` (r,):
        they tell nothing of the rest. Corrections of labels tell nothing of their parents.
        """
        return replace(
            self,
            drawn=self.drawn & ~labelled,
            checked=self.checked & ~labelled,
            corrected=np.zeros(len(labelled), bool),
            refuted=NOTHING_REFUTED,
        )


def fit_level(
    scores: LabelScores,
    left: LeftOutScores,
    waiting: Places,
    terms: Terms,
    rank: Rank | None = None,
) -> CalibrationData:
    """Fit and calibrate the model for the items `waiting`, from the leave-one-out scores `left` of
    all references, the background included. `rank` defaults to equal labels.
    """
    rank = rank or Rank(never_predicted_columns(scores.labels, hierarchical=False))
    scales, out = rank.leave_out(left)
    calibration, drawn = terms.calibration_weight(out.known), out.known[terms.drawn]
    known = fit_known(out, terms.weight, calibration, rank.sublabel_share)
    right = fit_right(out, terms.weight, calibration, rank.sublabel_share)
    labels = len(scores.labels) - len(scales.never_predicted)
    items = scales.score_items(scores, subsampled(waiting))
    models = known.overall, known.model, right.model
    odds, of_known, of_right = (model.log_odds(items.features) for model in models)
    share = _share_of_new(odds, drawn, labels, terms, left.counts)
    p, r = _combined(of_known, of_right, share, items.top_two.winners), len(out.own)
    held_out_p = _combined(known.held_out[:r], right.held_out[:r], share, out.winners)
    wrong = _refuted_probabilities(scores, scales, terms, (known.model, right.model), share)
    tested = _tested(held_out_p, _new_p(known, right, out, share), out, terms)
    line = _fit_recalibration(*tested, terms, wrong, labels)
    p, held_out_p = recalibrated(line, p), recalibrated(line, held_out_p)
    held_out = PredictedItems(out.winners, held_out_p, out.right)
    used = slice(None if _may_estimate(held_out_p, terms, labels) else 0)
    candidates = PredictedItems(items.top_two.winners[used], p[used], np.empty(0, bool))
    threshold, thresholds = _thresholds(scores.labels, candidates, held_out, terms, rank, left)
    confidence = Confidence(
        labels=tuple(scores.labels),
        sight=scales,
        known=known.model,
        right=right.model,
        new_share=share,
        target=terms.target,
        limits=tuple(thresholds.tolist()),
        limit=threshold.lowest,
        certified=threshold.certified,
        leave_one_out_accuracy=float(np.average(out.right, weights=calibration * out.known)),
        answers=int((terms.calibration_sample if terms.representative else terms.sampled).sum()),
        drawn=len(drawn),
        sampled=int(terms.sampled.sum()),
        fair_missing=terms.fair_missing,
        drawn_missing=threshold.drawn_missing,
        line=line,
    )
    labelled = (held_out.p >= thresholds[held_out.winners]) & (out.features[:, 0] >= 0)
    return CalibrationData(confidence, labelled)


def levels_with_scores(
    confidence: Confidence, scores: Scores
) -> list[tuple[Confidence, Scores | ParentScores]]:
    """Return the model of each level with its scores, the deepest level first.

    If a label has lost its last reference since the fit, return only levels whose labels are
    unchanged.
    """
    first, *above = confidence.all_levels
    levels = levels_of(scores.labels) if above else []
    found = [(first, scores)] if scores.labels == list(first.labels) else []
    models = {one.labels: one for one in above}
    parents = [
        (models[level.labels], ParentScores(scores, level))
        for level in levels
        if level.labels in models
    ]
    return [*found, *parents]


def subsampled(waiting: Places) -> Places:
    """Return evenly spaced items of those waiting, enough to find the threshold."""
    return waiting[:: max(1, -(-len(waiting) // _THRESHOLD_ITEMS))]


def predict(
    confidence: Confidence,
    scores: LabelScores,
    places: Places,
    excluded: ExcludedLabels | None = None,
) -> Predictions:
    """Return winner, runner-up and probability of items.

    `excluded` (m, labels) marks labels that an item may not get; if no other label reaches the
    item, the winner is −1.
    """
    return predictions_of(confidence, confidence.sight.score_items(scores, places, excluded))


def predictions_of(confidence: Confidence, scored: ScoredItems) -> Predictions:
    """Return the predictions for items from their features."""
    rows, share, top_two = scored.features, confidence.new_share, scored.top_two
    known, right = confidence.known.log_odds(rows), confidence.right.log_odds(rows)
    p = _combined(known, right, share, top_two.winners)
    return Predictions(
        winners=top_two.winners,
        runners_up=top_two.runners_up,
        sources=scored.sources,
        probability=recalibrated(confidence.line, p),
        limits=np.array(confidence.limits)[top_two.winners],
        known=sigmoid(known + _odds_of_known(share)),
        margin=rows[:, 0].astype(np.float32),
    )


def _never_predicted_to(confidence: Confidence) -> dict[str, Any]:
    """Return the never-predicted columns as JSON values; mostly the background alone."""
    never_predicted, background = (
        confidence.sight.never_predicted,
        confidence.labels[0] == BACKGROUND,
    )
    others = {"quiet": list(never_predicted)} if len(never_predicted) > background else {}
    return {"background": background, **others}


def _never_predicted_from(scales: Mapping[str, Any]) -> NeverPredicted:
    return tuple(scales.get("quiet", [0] if scales["background"] else []))


def _refuted_probabilities(
    scores: LabelScores,
    scales: Scales,
    terms: Terms,
    models: tuple[Logistic, Logistic],
    share: float,
) -> Vector:
    """Return the probabilities (k,) of refuted labels that the model would still assign."""
    places, columns = terms.refuted
    scored = scales.score_items(scores, places)
    known, right = (model.log_odds(scored.features) for model in models)
    same = scored.top_two.winners == columns
    p: Vector = _combined(known, right, share, scored.top_two.winners)[same]
    return p


def _new_p(known: Fit, right: Fit, out: LeftOut, share: float) -> Vector:
    """Return the probabilities (known,) of references whose whole label is left out."""
    is_known = known.held_out[len(known.held_out) - len(out.new_features) :]
    is_right = right.model.log_odds(out.new_features)
    return _combined(is_known, is_right, share, np.zeros(len(is_known), np.int64))


def _tested(
    p: Vector, new_p: Vector, out: LeftOut, terms: Terms
) -> tuple[Vector, NDArray[np.bool_]]:
    """Return p (r,) of left-out references, and if they are right (r,), as sheets tested them.

    If a sheet corrected just one document to a label, it discovered the label: when the sheet was
    shown there was no such reference, or hardly one. The document then tests what the model says of
    an item whose label is left out, `new_p` (known,), and that was wrong. The share of what is seen
    once estimates how likely the next item is new (Good 1953).
    """
    corrected = np.flatnonzero(terms.corrected & terms.sampled & out.known)
    _, labels, counts = np.unique(out.own[corrected], return_inverse=True, return_counts=True)
    discovered = np.zeros(len(p), bool)
    discovered[corrected[counts[labels] == 1]] = not terms.closed
    without_label = p.copy()
    without_label[out.known] = new_p
    return np.where(discovered, without_label, p), out.right & ~discovered


def _fit_recalibration(
    p: Vector, right: NDArray[np.bool_], terms: Terms, refuted: Vector, labels: int
) -> Line:
    """Fit the correction of p to random samples, and to the p (k,) of `refuted` labels.

    If references are representative, a few samples change nothing. If there are enough `labels`,
    too, p itself counts as some answers.
    """
    sampled, wrong = terms.sampled, np.zeros(len(refuted), bool)
    if terms.representative and sampled.sum() + len(refuted) < enough_samples(terms.target):
        return UNCHANGED
    return fit_recalibration(
        np.append(p[sampled], refuted),
        np.append(right[sampled], wrong),
        np.append(terms.error_probability[sampled], np.zeros(len(refuted))),
        trust=_PRIOR_ANSWERS if terms.representative and labels >= FEW_LABELS else 0.0,
    )


def _may_estimate(p: Vector, terms: Terms, labels: int) -> bool:
    """Return whether the mean of p is reliable enough to set a threshold.

    It is if enough samples have p ≥ 0.5, by the p (r,) of references; or if references are
    representative and the share of new items is measured or bounded.
    """
    if terms.sampled[p >= EVEN].sum() >= enough_samples(terms.target):
        return True
    counted = terms.closed or terms.drawn.sum() >= COUNTED or labels >= FEW_LABELS
    return terms.representative and counted


def _share_of_new(
    odds: Vector, drawn_known: NDArray[np.bool_], labels: int, terms: Terms, counts: Columns
) -> float:
    """Return π, the share of new items; 0 in a closed set.

    It is measured if enough random answers were drawn. Otherwise EM estimates it from the log-odds
    that waiting items are known, with a minimum of one label as large as the others. EM
    overestimates it if a queue picked the answers, because the queue asks where nothing is known:
    then π is at most the rate of new labels among the latest answers (`_discovery_rate`).
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
    """Return the approximate probability that the next answer is a new label (Good 1953).

    It is the share of labels seen once among all answers. Look-alikes that were named together are
    no independent answers, so n answers of a label, `counts` (labels,), count as √n.
    """
    return float(((counts == 1).sum() + 1) / (np.sqrt(counts).sum() + 2))


def _thresholds(
    labels: Sequence[str],
    candidates: PredictedItems,
    held_out: PredictedItems,
    terms: Terms,
    rank: Rank,
    left: LeftOutScores,
) -> tuple[Threshold, Vector]:
    """Return the threshold for the default target, and that of each label (labels,)."""
    drawn = held_out.of(terms.drawn)
    targets = np.array([terms.targets.get(label, terms.target) for label in labels])
    targets[left.counts < _LEAST_REFERENCES] = np.nan
    if rank.assignable is not None:
        targets[~rank.assignable] = np.nan
    known = {
        one: threshold_for(
            one, candidates.p[(targets == one)[candidates.winners]], drawn, targets == one
        )
        for one in {terms.target, *targets[~np.isnan(targets)].tolist()}
    }
    lowest = [known[one].lowest if one in known else UNREACHABLE for one in targets.tolist()]
    return known[terms.target], np.array(lowest)


def _combined(known: Vector, right: Vector, share: float, winners: Columns) -> Vector:
    """Return p (m,), rounded so that it does not depend on which rows are computed together."""
    p = np.round(sigmoid(known + _odds_of_known(share)) * sigmoid(right), _P_DIGITS)
    return p * (winners >= 0)


def _odds_of_known(share: float) -> float:
    return math.log((1 - share) / share) if share else math.inf
