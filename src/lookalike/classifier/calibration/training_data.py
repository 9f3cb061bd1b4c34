"""Training data of the confidence model: which answers calibrate it, and what is missing. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from lookalike.classifier.calibration.confidence import (
    ALONE,
    COUNTED,
    FEW_LABELS,
    CalibrationData,
    Confidence,
    Rank,
    RefutedAnswers,
    Terms,
    fit_level,
    predict,
    subsampled,
)
from lookalike.classifier.calibration.decision_rule import (
    MIN_ACCURACY,
    DecisionRule,
    Method,
    estimated,
    out_of_reach,
    suspected,
    too_alike,
    uncounted,
    unmeasured,
)
from lookalike.classifier.calibration.logistic import Vector
from lookalike.classifier.calibration.recalibration import enough_samples
from lookalike.classifier.calibration.suspects import find_suspects
from lookalike.classifier.calibration.thresholds import UNREACHABLE
from lookalike.classifier.graph.arrays import without
from lookalike.classifier.graph.propagation import Places
from lookalike.classifier.scores.hierarchy import (
    ParentScores,
    at_level,
    levels_of,
    never_predicted_columns,
)
from lookalike.classifier.scores.leave_one_out import (
    LeftOutScores,
    leave_one_out,
    scores_of_answered,
)
from lookalike.classifier.scores.scores import BACKGROUND, LabelScores, Scores

_CALIBRATE_WITH = 2000


class Doubted(NamedTuple):
    """References that look wrong and are not used, by the label that each was given.

    `right` is the probability that the label is right nevertheless, by place. `error_rate` is the
    share of all labels that are wrong.
    """

    references: Mapping[str, Places]
    right: Mapping[int, float]
    error_rate: float

    @property
    def places(self) -> Places:
        """Return the places of all of them, sorted."""
        return np.sort(np.concatenate([np.empty(0, np.int64), *self.references.values()]))


NOTHING_DOUBTED = Doubted({}, {}, 0.0)


@dataclass(frozen=True, slots=True)
class AnswerSampling:
    """How answers were sampled, by the pks of their documents.

    `asked` were picked by the queue: they are references and do not calibrate. `drawn` come from a
    uniform sample of all documents, `checked` from one of the documents that would be labelled
    automatically. All other references were chosen by a person and are treated as random samples.
    `new` are no references: the answer was "none of these", whether asked or drawn. `apart` are
    drawn or checked answers, by label, that are no references because other people's labels are
    used there. `refuted` are checked, too, by a label that a person called wrong without giving
    another; `corrected` are checked ones with another label than the one shown. `confirmed` were
    reviewed by a second look; `doubted` look wrong and are not used.
    """

    asked: Places = field(default_factory=lambda: np.empty(0, np.int64))
    drawn: Places = field(default_factory=lambda: np.empty(0, np.int64))
    new: Places = field(default_factory=lambda: np.empty(0, np.int64))
    apart: Mapping[str, Places] = field(default_factory=dict)
    checked: Places = field(default_factory=lambda: np.empty(0, np.int64))
    refuted: Mapping[str, Places] = field(default_factory=dict)
    confirmed: Places = field(default_factory=lambda: np.empty(0, np.int64))
    corrected: Places = field(default_factory=lambda: np.empty(0, np.int64))
    doubted: Doubted = NOTHING_DOUBTED


def with_background(references: Mapping[str, Places], new: Places) -> dict[str, Places]:
    """Return references by label, with those of the background if there are any."""
    return {**references, **({BACKGROUND: new} if len(new) else {})}


def fit_confidence(
    scores: Scores,
    waiting: Places,
    target: float,
    *,
    targets: Mapping[str, float] | None = None,
    sampling: AnswerSampling | None = None,
    hierarchical: bool = False,
    closed: bool = False,
) -> Confidence:
    """Fit and calibrate the model for the items `waiting`; all pks are places here.

    Random samples alone calibrate if there are enough of them; before, references chosen by people
    do, too. If labels are `hierarchical`, models of their parents are fitted as well. In a `closed`
    set every item has one of the labels.
    """
    sampling = sampling or AnswerSampling()
    every = np.sort(np.concatenate([scores.references(name) for name in scores.labels]))
    calibrates, representative = _calibration_sample(every, sampling)
    levels = [level.label_columns for level in levels_of(scores.labels)] if hierarchical else []
    left = leave_one_out(scores, _sample(calibrates, every), levels)
    left = left.joined(scores_of_answered(scores, sampling.apart, levels))
    left = left.joined(scores_of_answered(scores, sampling.doubted.references, levels))
    calibrates = np.union1d(calibrates, left.places[~np.isin(left.places, every)])
    confirmed = np.isin(left.places, sampling.confirmed)
    terms = Terms(
        target,
        targets or {},
        calibration_sample=np.isin(left.places, calibrates),
        drawn=np.isin(left.places, np.setdiff1d(sampling.drawn, sampling.doubted.places)),
        checked=np.isin(left.places, np.setdiff1d(sampling.checked, sampling.doubted.places)),
        corrected=np.isin(left.places, sampling.corrected),
        error_probability=np.where(confirmed, 0.0, sampling.doubted.error_rate),
        weight=_weights(left.places, sampling.doubted),
        refuted=_refuted(scores, sampling.refuted),
        representative=representative,
        closed=closed,
    )
    rank = Rank(never_predicted_columns(scores.labels, hierarchical=hierarchical))
    data = fit_level(scores, left, waiting, terms, rank)
    if not hierarchical:
        return data.confidence
    return _with_parents(scores, left, waiting, terms, data)


def _calibration_sample(every: Places, sampling: AnswerSampling) -> tuple[Places, bool]:
    """Return which of the references `every` calibrate, and whether they are representative.

    If a queue picked most of them, all calibrate and they are not representative.
    """
    drawn = np.intersect1d(every, sampling.drawn)
    if len(drawn) + sum(map(len, sampling.apart.values())) >= ALONE:
        return drawn, True
    not_picked = np.setdiff1d(every, np.setdiff1d(sampling.asked, drawn))
    representative = 2 * len(not_picked) > len(every) or len(not_picked) >= ALONE
    return (not_picked, True) if representative else (every, False)


def _weights(places: Places, doubted: Doubted) -> Vector:
    return np.array([doubted.right.get(place, 1.0) for place in places.tolist()])


def without_suspects(
    scores: Scores, confirmed: Places, sample: int = _CALIBRATE_WITH
) -> tuple[dict[str, Places], Doubted]:
    """Return the references of each label that are used, and those that look wrong and are not.

    Of many references only `sample` are tested. If most references of a label look wrong, all stay:
    the label itself is hard to distinguish.
    """
    references = {name: scores.references(name) for name in scores.labels}
    every = np.sort(np.concatenate(list(references.values())))
    left = leave_one_out(scores, _evenly_spaced(every, sample))
    settled = np.isin(left.places, confirmed) | (left.own == _column(scores, BACKGROUND))
    found = find_suspects(left, settled)
    trusted, doubted = dict(references), dict[str, Places]()
    for name, places in references.items():
        looks_right = without(places, found.places)
        if len(places) > len(looks_right) >= len(places) / 2:
            trusted[name] = looks_right
            doubted[name] = without(places, looks_right)
    right = dict(zip(found.places.tolist(), found.right.tolist(), strict=True))
    return trusted, Doubted(doubted, right, found.error_rate)


def _refuted(scores: Scores, refuted: Mapping[str, Places]) -> RefutedAnswers:
    """Return the items with a refuted label, and the columns of these labels."""
    known = {label: places for label, places in refuted.items() if label in scores.labels}
    nothing = np.empty(0, np.int64)
    columns = [np.full(len(places), _column(scores, label)) for label, places in known.items()]
    return RefutedAnswers(
        np.concatenate([nothing, *known.values()]), np.concatenate([nothing, *columns])
    )


def _column(scores: Scores, label: str) -> int:
    return scores.labels.index(label) if label in scores.labels else -1


def _with_parents(
    scores: Scores, left: LeftOutScores, waiting: Places, terms: Terms, data: CalibrationData
) -> Confidence:
    """Return the model with the models of all levels of parents.

    A level assigns its labels to items that the levels below leave unlabelled. So its threshold is
    found on such items, and only random answers that would be left unlabelled count.
    """
    confidences, waiting = [data.confidence], subsampled(waiting)
    level_scores: LabelScores = scores
    for level in levels_of(scores.labels):
        below = confidences[-1]
        waiting = waiting[~predict(below, level_scores, waiting).accepted]
        terms = terms.left_open(data.labelled)
        left, new_sublabels, of = at_level(left, level)
        level_scores = ParentScores(scores, level)
        rank = Rank(level.never_predicted, level.assignable, new_sublabels, of, below.new_share)
        data = fit_level(level_scores, left, waiting, terms, rank)
        confidences.append(data.confidence)
    return _linked(confidences)


def _linked(levels: Sequence[Confidence]) -> Confidence:
    first, *others = levels
    return replace(first, above=_linked(others)) if others else first


def decision_rule_of(confidence: Confidence, nodes_upto: int, suspects: int = 0) -> DecisionRule:
    """Return the decision rule of a field with this confidence and number of `suspects`."""
    accuracy = confidence.leave_one_out_accuracy
    if accuracy < MIN_ACCURACY:
        missing = (too_alike(accuracy),)
        return DecisionRule(Method.SUGGEST, missing, accuracy=accuracy, nodes_upto=nodes_upto)
    own = {
        label: limit
        for label, limit in zip(confidence.labels, confidence.limits, strict=True)
        if label != BACKGROUND and limit != confidence.limit
    }
    for level in confidence.all_levels[1:]:
        own |= {
            label: limit
            for label, limit in zip(level.labels, level.limits, strict=True)
            if limit < UNREACHABLE
        }
    return DecisionRule(
        Method.LANDSCAPE,
        (*((suspected(suspects),) if suspects else ()), *_missing(confidence)),
        limit=confidence.limit,
        new_share=confidence.new_share,
        accuracy=accuracy,
        nodes_upto=nodes_upto,
        limits=own,
        certified=confidence.certified,
    )


def _sample(chosen: Places, every: Places) -> Places:
    """Return up to _CALIBRATE_WITH of the `chosen` references, filled up with others."""
    first = _evenly_spaced(chosen, _CALIBRATE_WITH)
    rest = np.setdiff1d(every, chosen)
    return np.union1d(first, _evenly_spaced(rest, _CALIBRATE_WITH - len(first)))


def _evenly_spaced(places: Places, upto: int) -> Places:
    return places[:: -(-len(places) // upto)] if 0 < upto < len(places) else places[: max(upto, 0)]


def _missing(confidence: Confidence) -> tuple[str, ...]:
    labels = len(confidence.labels) - len(confidence.sight.never_predicted)
    more = max(COUNTED - confidence.drawn, 0)
    if min(confidence.limits) < UNREACHABLE:
        return (estimated(more),) if more and confidence.new_share else ()
    if confidence.fair_missing:
        return (unmeasured(confidence.fair_missing),)
    if more and labels < FEW_LABELS and confidence.new_share:
        return (uncounted(labels, enough_samples(confidence.target)),)
    target, answers = confidence.target, confidence.answers
    return (out_of_reach(target, answers, labels, confidence.drawn_missing),)
