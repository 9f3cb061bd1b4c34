"""Quality of references: label errors, weak and confused labels, near-duplicates. Pure.

A **trial** is an exact leave-one-out test: which label would a reference get without its own?
Trials are computed from the scores over the neighbour graph or, if there are too few items for
those, from the references' vectors alone; suspects, label health and confused pairs follow from
either. Both give each label a score a·first + b·second with a, b by conditional logit, so a margin
in score is in log-odds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.intervals import wilson
from lookalike.classifier.calibration.logistic import fit_mixture
from lookalike.classifier.graph.propagation import Floats, Places
from lookalike.classifier.graph.search import Matches, similarities
from lookalike.classifier.scores.leave_one_out import leave_one_out, scores_of_answered
from lookalike.classifier.scores.scores import Scores
from lookalike.labels import NO_LABEL

Codes = NDArray[np.int64]

THIN = 5
"""A label with fewer references is thin."""

CONFUSED = 0.2
"""Two labels are confused if more than this share of their trials ends in the other one."""

UNBALANCED = 4.0
"""A label is unbalanced if it has this many times more or fewer references than the median
label."""

SUSPECT_MARGIN = math.log(0.95 / 0.05)
"""A reference looks wrong if another label has at least this margin: odds of 19 to 1."""

NO_MARGIN = -np.inf
"""The margin of references that could not be tested."""

_SAMPLE = 2000
_BLOCK = 1000


@dataclass(frozen=True, slots=True)
class LeaveOneOutTrials:
    """Leave-one-out trials of the references; all (r,), sorted by reference.

    `references` int64 are ids, `own` int64 their label codes; `rival` int64 is the best other label
    and `margin` float32 its margin over the own one, in log-odds. If there is no other reference of
    the own label, or no other label: −1 and NO_MARGIN.
    """

    references: NDArray[np.int64]
    own: Codes
    rival: Codes
    margin: Floats

    def of(self, rows: NDArray[np.bool_]) -> LeaveOneOutTrials:
        """Return some of the trials."""
        return LeaveOneOutTrials(
            self.references[rows], self.own[rows], self.rival[rows], self.margin[rows]
        )

    @property
    def outcome(self) -> Codes:
        """Return the label that each reference would get (r,); −1 if it could not be tested."""
        return np.where(self.rival < 0, -1, np.where(self.margin > 0, self.rival, self.own))


@dataclass(frozen=True, slots=True)
class SuspectReference:
    """A reference whose label looks wrong, and the label it looks like; `margin` in log-odds."""

    reference: int
    own: int
    looks_like: int
    margin: float


@dataclass(frozen=True, slots=True)
class LabelHealth:
    """Leave-one-out results of one label.

    `recall` is the share of its tested references that would get it back, `precision` the share of
    its own among all references that would get it; NaN if there are none. `confused_with` is the
    label that most of the others would get, −1 if all are right, and `confused` their number.
    """

    label: int
    references: int
    recall: float
    precision: float
    confused_with: int
    confused: int


@dataclass(frozen=True, slots=True)
class ConfusedPair:
    """Two labels; `share` of the trials of both ends in the other one."""

    first: int
    second: int
    share: float


@dataclass(frozen=True, slots=True)
class Attribution:
    """How often people corrected and confirmed the labels that a reference caused.

    `at_least` is the lower end of the 95 % Wilson interval of the share corrected; `instead` the
    label that was given most often, −1 for none.
    """

    reference: int
    corrected: int
    confirmed: int
    at_least: float
    instead: int


# --- trials ---------------------------------------------------------------------------------------


def landscape_trials(scores: Scores, mix: tuple[float, float]) -> LeaveOneOutTrials:
    """Return the trials of all references of `scores`, with S = a·L + b·C.

    `mix` is that of `Confidence`. Ids are the graph's pks, codes the columns of `scores.labels`.
    """
    places = [scores.references(name) for name in scores.labels]
    every = np.sort(np.concatenate([np.empty(0, np.int64), *places]))
    parts = []
    for start in range(0, len(every), _BLOCK):
        left = leave_one_out(scores, every[start : start + _BLOCK])
        ids = scores.neighbour_graph.pks[left.places]
        parts.append(_trials_of(ids, left.own, left.counts[left.own] > 1, left.totals(mix)))
    return joined(parts)


def answered_trials(
    scores: Scores, mix: tuple[float, float], answered: Mapping[str, Places]
) -> LeaveOneOutTrials:
    """Return the trials of labelled items that are no references, by label; otherwise the same."""
    left = scores_of_answered(scores, answered)
    ids = scores.neighbour_graph.pks[left.places]
    tested = np.ones(len(ids), bool)
    return joined([_trials_of(ids, left.own, tested, left.totals(mix))])


def vector_trials(
    ids: NDArray[np.int64], codes: NDArray[np.integer], vectors: NDArray[np.floating]
) -> LeaveOneOutTrials:
    """Return the trials of references by their `ids` and `codes` (r,) and unit `vectors` (r, d).

    The two scores of a label are the largest cosine with one of its other references and the cosine
    with their mean, of vectors centred on the mean of all.
    """
    labels, column = np.unique(codes, return_inverse=True)
    order = np.argsort(column, kind="stable")
    own, counts = column[order], np.bincount(column, minlength=len(labels))
    wide = vectors[order].astype(np.float32)
    centred = wide - wide.mean(axis=0) if len(wide) else wide
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
    alone = counts[own] < 2
    sample = np.flatnonzero(~alone)
    if len(sample) == 0 or len(labels) < 2:
        none = np.full(len(ids), -1)
        return joined([LeaveOneOutTrials(ids, codes.astype(np.int64), none, _no_margin(len(ids)))])
    sample = sample[:: -(-len(sample) // _SAMPLE)]
    mix = fit_mixture(*_similarities(unit, own, counts, sample), own[sample])
    parts = []
    for start in range(0, len(own), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(own)))
        nearest, mean = _similarities(unit, own, counts, rows)
        total = mix[0] * nearest + mix[1] * mean
        parts.append(_trials_of(ids[order[rows]], own[rows], ~alone[rows], total))
    trials = joined(parts)
    rival = np.where(trials.rival < 0, -1, labels[trials.rival])
    return LeaveOneOutTrials(
        trials.references, labels[trials.own].astype(np.int64), rival, trials.margin
    )


def _similarities(
    unit: Floats, own: Codes, counts: Codes, rows: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Return the largest cosine and the cosine with the mean (m, labels), each row left out.

    `unit` (r, d) are sorted by their labels `own`; −1 if a label has no other reference.
    """
    starts = np.cumsum(counts) - counts
    places = np.arange(len(rows))
    cosines = unit[rows] @ unit.T
    cosines[places, rows] = -1
    nearest = np.maximum.reduceat(cosines, starts, axis=1)
    totals = np.add.reduceat(unit, starts, axis=0)
    lengths = np.maximum(np.linalg.norm(totals, axis=1), 1e-6)
    mean = unit[rows] @ totals.T / lengths
    rest = totals[own[rows]] - unit[rows]
    length = np.maximum(np.linalg.norm(rest, axis=1), 1e-6)
    left = np.einsum("rd,rd->r", rest, unit[rows]) / length
    mean[places, own[rows]] = np.where(counts[own[rows]] > 1, left, -1)
    return nearest, mean


def _trials_of(
    ids: NDArray[np.int64], own: Codes, tested: NDArray[np.bool_], total: Floats
) -> LeaveOneOutTrials:
    """Return the trials of the scores `total` (r, labels); rows that are not `tested` have no
    rival.
    """
    if total.shape[1] < 2:
        return LeaveOneOutTrials(ids, own, np.full(len(ids), -1), _no_margin(len(ids)))
    rows, rest = np.arange(len(own)), total.copy()
    rest[rows, own] = -np.inf
    rival = rest.argmax(axis=1)
    margin = rest[rows, rival] - total[rows, own]
    margin = np.where(tested, margin, NO_MARGIN).astype(np.float32)
    return LeaveOneOutTrials(ids, own, np.where(tested, rival, -1), margin)


def joined(parts: Sequence[LeaveOneOutTrials]) -> LeaveOneOutTrials:
    """Return the trials of several parts as one, sorted by reference."""
    if not parts:
        nothing = np.empty(0, np.int64)
        return LeaveOneOutTrials(nothing, nothing, nothing, _no_margin(0))
    ids = np.concatenate([part.references for part in parts])
    order = np.argsort(ids)
    own, rival, margin = (
        np.concatenate([getattr(part, name) for part in parts])[order]
        for name in ("own", "rival", "margin")
    )
    return LeaveOneOutTrials(ids[order], own, rival, margin)


def _no_margin(count: int) -> Floats:
    return np.full(count, NO_MARGIN, np.float32)


# --- results of trials --------------------------------------------------------------------------


def suspects(trials: LeaveOneOutTrials, margin: float = SUSPECT_MARGIN) -> list[SuspectReference]:
    """Return the references whose label another one exceeds by `margin` or more, the worst
    first.
    """
    rows = np.flatnonzero(trials.margin >= margin)
    worst = rows[np.argsort(-trials.margin[rows], kind="stable")]
    columns = (trials.references, trials.own, trials.rival, trials.margin)
    return [
        SuspectReference(reference, own, rival, margin)
        for reference, own, rival, margin in zip(
            *(column[worst].tolist() for column in columns), strict=True
        )
    ]


def health(trials: LeaveOneOutTrials) -> list[LabelHealth]:
    """Return the leave-one-out results of each label, sorted by code."""
    outcomes = _outcomes(trials)
    tested, outcome, right = Counter[int](), Counter[int](), Counter[int]()
    worst: dict[int, tuple[int, int]] = {}
    for (own, label), count in outcomes.items():
        tested[own] += count
        outcome[label] += count
        if own == label:
            right[own] = count
        elif count > worst.get(own, (-1, 0))[1]:
            worst[own] = (label, count)
    return [
        LabelHealth(
            label=label,
            references=references,
            recall=_share(right[label], tested[label]),
            precision=_share(right[label], outcome[label]),
            confused_with=worst.get(label, (-1, 0))[0],
            confused=worst.get(label, (-1, 0))[1],
        )
        for label, references in sorted(Counter(trials.own.tolist()).items())
    ]


def thin(labels: Sequence[LabelHealth]) -> list[int]:
    """Return the labels with fewer than THIN references."""
    return [one.label for one in labels if one.references < THIN]


def unbalanced(labels: Sequence[LabelHealth]) -> list[int]:
    """Return the labels with UNBALANCED times more or fewer references than the median label."""
    counts = [one.references for one in labels]
    median = float(np.median(counts)) if counts else 0.0
    return [
        one.label
        for one in labels
        if one.references > UNBALANCED * median or UNBALANCED * one.references < median
    ]


def confused_pairs(trials: LeaveOneOutTrials) -> list[ConfusedPair]:
    """Return the pairs of labels of which more than CONFUSED is confused, the worst first."""
    outcomes = _outcomes(trials)
    tested = Counter[int]()
    for (own, _), count in outcomes.items():
        tested[own] += count
    pairs = {(min(pair), max(pair)) for pair in outcomes if pair[0] != pair[1]}
    shares = [
        ConfusedPair(
            one,
            other,
            (outcomes[one, other] + outcomes[other, one]) / (tested[one] + tested[other]),
        )
        for one, other in sorted(pairs)
    ]
    found = [pair for pair in shares if pair.share > CONFUSED]
    return sorted(found, key=lambda pair: -pair.share)


def _outcomes(trials: LeaveOneOutTrials) -> Counter[tuple[int, int]]:
    """Return how many trials of each label ended in each label."""
    tested = trials.rival >= 0
    return Counter(zip(trials.own[tested].tolist(), trials.outcome[tested].tolist(), strict=True))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


# --- attribution of corrections ------------------------------------------------------------------


def attributions(
    sources: NDArray[np.int64], automatic: NDArray[np.integer], given: NDArray[np.integer]
) -> list[Attribution]:
    """Return the references that caused corrections, the most certain first.

    For each answer of a person (m,): the reference that was the source of the automatic label, −1
    if there was none, the code of that label, and the code that the person gave, −1 for none.
    """
    corrected, confirmed = Counter[int](), Counter[int]()
    instead: dict[int, Counter[int]] = {}
    for source, label, answer in zip(
        sources.tolist(), automatic.tolist(), given.tolist(), strict=True
    ):
        if label == answer:
            confirmed[source] += 1
        elif source >= 0:
            corrected[source] += 1
            instead.setdefault(source, Counter())[answer] += 1
    found = [
        Attribution(
            source,
            wrong,
            confirmed[source],
            wilson(wrong, wrong + confirmed[source], 0.95).low,
            min(instead[source], key=lambda label: (-instead[source][label], label)),
        )
        for source, wrong in corrected.items()
    ]
    return sorted(found, key=lambda one: (-one.at_least, -one.corrected, one.reference))


# --- near-duplicates -----------------------------------------------------------------------------

# **Near-duplicates** are so similar that hardly any random pair is; see `duplicate_bound`.

_LEAST_QUANTILE = 0.999
_CHANCE_NEIGHBOURS = 0.1
IDENTICAL = 0.999
"""From this similarity on two documents are identical up to rounding, in every space."""

_NO_CODE = 0x7FFFFFFF


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """References that are near-duplicates, each of at least one other; `labels` are theirs."""

    references: tuple[int, ...]
    labels: tuple[int, ...]

    @property
    def conflict(self) -> bool:
        """Return whether they contradict each other; if not, all but one are redundant."""
        return len(set(self.labels)) > 1


def duplicate_bound(vectors: NDArray[np.floating], references: int, seed: int = 0) -> float:
    """Return the similarity from which two documents are near-duplicates.

    It is the quantile of random pairs of `vectors` (n, d) above which a random document has a tenth
    of one of the `references` on average, and at least the 99.9 % quantile: so the share of false
    duplicates does not grow with the number of references. Documents identical up to rounding are
    always duplicates; if there are too few pairs to estimate the quantile, only they are.
    """
    quantile = max(_LEAST_QUANTILE, 1 - _CHANCE_NEIGHBOURS / max(references, 1))
    count = min(len(vectors), _SAMPLE)
    if count * (count - 1) / 2 * (1 - quantile) < 1:
        return IDENTICAL
    chosen = np.random.default_rng(seed).choice(len(vectors), count, replace=False)
    sample = vectors[np.sort(chosen)]
    pairs = similarities(sample, sample)[np.triu_indices(count, 1)]
    return min(float(np.quantile(pairs, quantile)), IDENTICAL)


def duplicates(
    ids: NDArray[np.int64], codes: NDArray[np.integer], matches: Matches, bound: float
) -> list[DuplicateGroup]:
    """Return the groups of near-duplicate references, conflicts first.

    `ids` (r,) are sorted, `codes` (r,) are their labels; `matches` (r, k) each one's nearest
    references without itself.
    """
    rows, places = np.nonzero(near_duplicates(matches, bound))
    others = np.searchsorted(ids, matches.ids[rows, places])
    group = _connected(len(ids), rows, others)
    order = np.argsort(group, kind="stable")
    cuts = np.flatnonzero(np.diff(group[order])) + 1
    found = [
        DuplicateGroup(tuple(ids[members].tolist()), tuple(codes[members].tolist()))
        for members in np.split(order, cuts)
        if len(members) > 1
    ]
    return sorted(found, key=lambda one: (not one.conflict, one.references))


def conflicting(matches: Matches, bound: float) -> NDArray[np.bool_]:
    """Return which documents (n,) have near-duplicate references that contradict each other.

    `matches` (n, k) are their nearest references.
    """
    near = near_duplicates(matches, bound)
    lowest = np.where(near, matches.codes, _NO_CODE).min(axis=1, initial=_NO_CODE)
    highest = np.where(near, matches.codes, NO_LABEL).max(axis=1, initial=NO_LABEL)
    return np.asarray(highest > lowest)


def with_copies(similarities: NDArray[np.float32], bound: float) -> NDArray[np.int64]:
    """Return the rows of similarity lists (n, k), descending, with two near-duplicates or more.

    They are few, and documents with fewer near-duplicates cannot have a conflict.
    """
    return np.flatnonzero(similarities[:, :2].min(axis=1) >= np.float32(bound))


def near_duplicates(matches: Matches, bound: float) -> NDArray[np.bool_]:
    """Return which matches (n, k) are near-duplicates of the document whose list they are in."""
    near = matches.similarities >= np.float32(bound)
    return np.asarray(near & (matches.codes != NO_LABEL))


def _connected(count: int, rows: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each of `count` nodes the lowest node of its connected component (rows,
    others).
    """
    group = np.arange(count)
    while True:
        least = np.minimum(group[rows], group[others])
        lower = group.copy()
        np.minimum.at(lower, rows, least)
        np.minimum.at(lower, others, least)
        lower = lower[lower]
        if np.array_equal(lower, group):
            return group
        group = lower
