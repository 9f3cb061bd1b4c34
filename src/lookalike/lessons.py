"""What the answers of a field teach: which of them calibrate, and what is missing. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lookalike.confidence import (
    ALONE,
    COUNTED,
    FEW_LABELS,
    Confidence,
    Lesson,
    Rank,
    Terms,
    judge,
    learn,
    thinned,
)
from lookalike.leaving_out import Left, as_they_are, leave_one_out
from lookalike.levels import Parents, levels_of, quiet_among, raised
from lookalike.limits import OUT_OF_REACH
from lookalike.propagation import Places
from lookalike.scoring import BACKGROUND, Said, Scores
from lookalike.standard import (
    MIN_ACCURACY,
    Rule,
    Standard,
    estimated,
    out_of_reach,
    suspected,
    too_alike,
    uncounted,
    unmeasured,
)

_CALIBRATE_WITH = 2000
_USUAL = 0.02
"""So many of the references look wrong where none is."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers came about, by the pks of their documents.

    `asked` were picked by the queue: they vote and do not calibrate. `drawn` come from a uniform
    draw over all documents. Other references are given: chosen by a person, and taken for random
    draws. `new` are no references: the answer was "none of these", whether asked or drawn. `apart`
    are drawn ones that do not vote, by the label they were given: others' labels vote there.
    """

    asked: Places = field(default_factory=lambda: np.empty(0, np.int64))
    drawn: Places = field(default_factory=lambda: np.empty(0, np.int64))
    new: Places = field(default_factory=lambda: np.empty(0, np.int64))
    apart: Mapping[str, Places] = field(default_factory=dict)


def with_background(references: Mapping[str, Places], new: Places) -> dict[str, Places]:
    """Return references by label with those of the background, if there are any."""
    return {**references, **({BACKGROUND: new} if len(new) else {})}


def learn_confidence(
    scores: Scores,
    waiting: Places,
    target: float,
    *,
    targets: Mapping[str, float] | None = None,
    sampling: Sampling | None = None,
    hierarchical: bool = False,
) -> Confidence:
    """Return how sure to be of what `scores` say of the items `waiting`; all pks are places here.

    Random draws alone calibrate where there are enough of them; before, what was given does, too.
    If labels are `hierarchical`, it is learned of their parents as well.
    """
    sampling = sampling or Sampling()
    every = np.sort(np.concatenate([scores.references(name) for name in scores.labels]))
    calibrates = np.intersect1d(every, sampling.drawn)
    if len(calibrates) + sum(map(len, sampling.apart.values())) < ALONE:
        calibrates = np.setdiff1d(every, np.setdiff1d(sampling.asked, calibrates))
    levels = [level.below for level in levels_of(scores.labels)] if hierarchical else []
    left = leave_one_out(scores, _sample(calibrates, every), levels)
    left = left.joined(as_they_are(scores, sampling.apart, levels))
    calibrates = np.union1d(calibrates, left.places[~np.isin(left.places, every)])
    fair, drawn = np.isin(left.places, calibrates), np.isin(left.places, sampling.drawn)
    terms = Terms(target, targets or {}, fair, drawn)
    rank = Rank(quiet_among(scores.labels, hierarchical=hierarchical))
    lesson = learn(scores, left, waiting, terms, rank)
    if not hierarchical:
        return lesson.confidence
    return _with_parents(scores, left, waiting, terms, lesson)


def _with_parents(
    scores: Scores, left: Left, waiting: Places, terms: Terms, lesson: Lesson
) -> Confidence:
    """Return what was learned with what each level above learns.

    A level gives its labels to what those below it leave open. So its limit is found on such items,
    and of the random answers those count that would be left open, too.
    """
    learned, waiting = [lesson.confidence], thinned(waiting)
    said: Said = scores
    for level in levels_of(scores.labels):
        below = learned[-1]
        waiting = waiting[~judge(below, said, waiting).accepted]
        terms = replace(terms, drawn=terms.drawn & ~lesson.labelled)
        left, kin, of = raised(left, level)
        said = Parents(scores, level)
        rank = Rank(level.quiet, level.given, kin, of, below.new_share)
        lesson = learn(said, left, waiting, terms, rank)
        learned.append(lesson.confidence)
    return _linked(learned)


def _linked(levels: Sequence[Confidence]) -> Confidence:
    first, *others = levels
    return replace(first, above=_linked(others)) if others else first


def standard_of(confidence: Confidence, nodes_upto: int) -> Standard:
    """Return the standard by which a field decides with this confidence."""
    accuracy = confidence.leave_one_out_accuracy
    if accuracy < MIN_ACCURACY:
        missing = (too_alike(accuracy),)
        return Standard(Rule.SUGGEST, missing, accuracy=accuracy, nodes_upto=nodes_upto)
    own = {
        label: limit
        for label, limit in zip(confidence.labels, confidence.limits, strict=True)
        if label != BACKGROUND and limit != confidence.limit
    }
    for level in confidence.all_levels[1:]:
        own |= {
            label: limit
            for label, limit in zip(level.labels, level.limits, strict=True)
            if limit < OUT_OF_REACH
        }
    return Standard(
        Rule.LANDSCAPE,
        _missing(confidence),
        limit=confidence.limit,
        new_share=confidence.new_share,
        accuracy=accuracy,
        nodes_upto=nodes_upto,
        limits=own,
        certified=confidence.certified,
    )


def _sample(chosen: Places, every: Places) -> Places:
    """Return up to _CALIBRATE_WITH of the `chosen` references, filled up with others."""
    first = _thinned(chosen, _CALIBRATE_WITH)
    rest = np.setdiff1d(every, chosen)
    return np.union1d(first, _thinned(rest, _CALIBRATE_WITH - len(first)))


def _thinned(places: Places, upto: int) -> Places:
    return places[:: -(-len(places) // upto)] if 0 < upto < len(places) else places[: max(upto, 0)]


def _missing(confidence: Confidence) -> tuple[str, ...]:
    labels = len(confidence.labels) - len(confidence.sight.quiet)
    more = max(COUNTED - confidence.drawn, 0)
    if min(confidence.limits) < OUT_OF_REACH:
        return (estimated(more),) if more else ()
    if confidence.fair_missing:
        return (unmeasured(confidence.fair_missing),)
    wrong = (suspected(n),) if (n := confidence.suspects) > _USUAL * confidence.answers else ()
    if more and labels < FEW_LABELS:
        return (*wrong, uncounted(labels, more))
    target, answers = confidence.target, confidence.answers
    return (*wrong, out_of_reach(target, answers, labels, confidence.drawn_missing))
