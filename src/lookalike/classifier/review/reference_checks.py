"""What may be wrong with references: labels that look wrong, weak and confused labels. Pure.

A **trial** asks what label a reference would get if it had none: exact leave-one-out. Trials are
made from the landscape's scores, or, where there are too few items for those, from the references'
vectors alone; suspects, health and confused pairs are read off either. Both give each label a score
a·first + b·second with a, b by conditional logit, so a lead in score is a logarithm of odds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.intervals import wilson
from lookalike.classifier.calibration.logistic import fit_mixture
from lookalike.classifier.graph.propagation import Floats
from lookalike.classifier.graph.search import Matches, similarities
from lookalike.classifier.scores.leave_one_out import leave_one_out
from lookalike.classifier.scores.scores import Scores
from lookalike.labels import NO_LABEL

Codes = NDArray[np.int64]

THIN = 5
"""A label with fewer references is thin."""

CONFUSED = 0.2
"""Two labels are confused where more than this share of their trials ends in the other one."""

UNBALANCED = 4.0
"""A label is out of balance with so many times more or fewer references than the median label."""

SUSPECT_LEAD = math.log(0.95 / 0.05)
"""A reference looks wrong where another label is at least this far ahead: odds of 19 to 1."""

NO_TRIAL = -np.inf
"""The lead where nothing could be tried."""

_SAMPLE = 2000
_BLOCK = 1000


@dataclass(frozen=True, slots=True)
class LeaveOneOutTrials:
    """What each reference looks like when it does not vote; all (r,), by rising reference.

    `references` int64 are ids, `own` int64 their labels' codes; `rival` int64 is the best other
    label and `lead` float32 how far it is ahead of the own one, in log-odds. Where there is no
    other reference of the own label, or no other label: −1 and NO_TRIAL.
    """

    references: NDArray[np.int64]
    own: Codes
    rival: Codes
    lead: Floats

    def of(self, rows: NDArray[np.bool_]) -> LeaveOneOutTrials:
        """Return some of the trials."""
        return LeaveOneOutTrials(
            self.references[rows], self.own[rows], self.rival[rows], self.lead[rows]
        )

    @property
    def outcome(self) -> Codes:
        """Return the label that each reference would get (r,); −1 where nothing was tried."""
        return np.where(self.rival < 0, -1, np.where(self.lead > 0, self.rival, self.own))


@dataclass(frozen=True, slots=True)
class SuspectReference:
    """A reference whose label looks wrong, and the label that it looks like; `lead` in log-odds."""

    reference: int
    own: int
    looks_like: int
    lead: float


@dataclass(frozen=True, slots=True)
class LabelHealth:
    """How one label does in the trials.

    `recall` is the share of its tried references that would get it back, `precision` the share of
    all those that would get it that are its own; NaN where there are none. `confused_with` is the
    label that most of the others would get, −1 where all are right, and `confused` how many.
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
    """How often the labels that a reference caused were corrected and confirmed by people.

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

    `mix` is that of `Confidence`. Ids are the landscape's pks, codes the columns of
    `scores.labels`.
    """
    places = [scores.references(name) for name in scores.labels]
    every = np.sort(np.concatenate([np.empty(0, np.int64), *places]))
    parts = []
    for start in range(0, len(every), _BLOCK):
        left = leave_one_out(scores, every[start : start + _BLOCK])
        ids = scores.neighbour_graph.pks[left.places]
        parts.append(_tried(ids, left.own, left.counts[left.own] > 1, left.totals(mix)))
    return _joined(parts)


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
        nobody = np.full(len(ids), -1)
        return _joined([LeaveOneOutTrials(ids, codes.astype(np.int64), nobody, _no_lead(len(ids)))])
    sample = sample[:: -(-len(sample) // _SAMPLE)]
    mix = fit_mixture(*_likeness(unit, own, counts, sample), own[sample])
    parts = []
    for start in range(0, len(own), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(own)))
        nearest, mean = _likeness(unit, own, counts, rows)
        total = mix[0] * nearest + mix[1] * mean
        parts.append(_tried(ids[order[rows]], own[rows], ~alone[rows], total))
    trials = _joined(parts)
    rival = np.where(trials.rival < 0, -1, labels[trials.rival])
    return LeaveOneOutTrials(
        trials.references, labels[trials.own].astype(np.int64), rival, trials.lead
    )


def _likeness(
    unit: Floats, own: Codes, counts: Codes, rows: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Return the largest cosine and the cosine with the mean (m, labels), each row left out.

    `unit` (r, d) are in the order of their labels `own`; −1 where a label has no other reference.
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


def _tried(
    ids: NDArray[np.int64], own: Codes, tried: NDArray[np.bool_], total: Floats
) -> LeaveOneOutTrials:
    """Return the trials that scores `total` (r, labels) are, but of those that are not `tried`."""
    if total.shape[1] < 2:
        return LeaveOneOutTrials(ids, own, np.full(len(ids), -1), _no_lead(len(ids)))
    rows, rest = np.arange(len(own)), total.copy()
    rest[rows, own] = -np.inf
    rival = rest.argmax(axis=1)
    lead = rest[rows, rival] - total[rows, own]
    lead = np.where(tried, lead, NO_TRIAL).astype(np.float32)
    return LeaveOneOutTrials(ids, own, np.where(tried, rival, -1), lead)


def _joined(parts: Sequence[LeaveOneOutTrials]) -> LeaveOneOutTrials:
    if not parts:
        nothing = np.empty(0, np.int64)
        return LeaveOneOutTrials(nothing, nothing, nothing, _no_lead(0))
    ids = np.concatenate([part.references for part in parts])
    order = np.argsort(ids)
    own, rival, lead = (
        np.concatenate([getattr(part, name) for part in parts])[order]
        for name in ("own", "rival", "lead")
    )
    return LeaveOneOutTrials(ids[order], own, rival, lead)


def _no_lead(count: int) -> Floats:
    return np.full(count, NO_TRIAL, np.float32)


# --- what trials tell -----------------------------------------------------------------------------


def suspects(trials: LeaveOneOutTrials, lead: float = SUSPECT_LEAD) -> list[SuspectReference]:
    """Return the references whose label another one leads by `lead` or more, the worst first."""
    rows = np.flatnonzero(trials.lead >= lead)
    worst = rows[np.argsort(-trials.lead[rows], kind="stable")]
    columns = (trials.references, trials.own, trials.rival, trials.lead)
    return [
        SuspectReference(reference, own, rival, ahead)
        for reference, own, rival, ahead in zip(
            *(column[worst].tolist() for column in columns), strict=True
        )
    ]


def health(trials: LeaveOneOutTrials) -> list[LabelHealth]:
    """Return how each label does, by rising code."""
    ends = _ends(trials)
    tried, outcome, right = Counter[int](), Counter[int](), Counter[int]()
    worst: dict[int, tuple[int, int]] = {}
    for (own, label), count in ends.items():
        tried[own] += count
        outcome[label] += count
        if own == label:
            right[own] = count
        elif count > worst.get(own, (-1, 0))[1]:
            worst[own] = (label, count)
    return [
        LabelHealth(
            label=label,
            references=references,
            recall=_share(right[label], tried[label]),
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
    usual = float(np.median(counts)) if counts else 0.0
    return [
        one.label
        for one in labels
        if one.references > UNBALANCED * usual or UNBALANCED * one.references < usual
    ]


def confused_pairs(trials: LeaveOneOutTrials) -> list[ConfusedPair]:
    """Return the pairs of labels of which more than CONFUSED is confused, the worst first."""
    ends = _ends(trials)
    tried = Counter[int]()
    for (own, _), count in ends.items():
        tried[own] += count
    pairs = {(min(pair), max(pair)) for pair in ends if pair[0] != pair[1]}
    shares = [
        ConfusedPair(
            one, other, (ends[one, other] + ends[other, one]) / (tried[one] + tried[other])
        )
        for one, other in sorted(pairs)
    ]
    found = [pair for pair in shares if pair.share > CONFUSED]
    return sorted(found, key=lambda pair: -pair.share)


def _ends(trials: LeaveOneOutTrials) -> Counter[tuple[int, int]]:
    """Return how many trials of each label ended in each label."""
    tried = trials.rival >= 0
    return Counter(zip(trials.own[tried].tolist(), trials.outcome[tried].tolist(), strict=True))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


# --- what people's corrections tell ---------------------------------------------------------------


def blamed(
    sources: NDArray[np.int64], automatic: NDArray[np.integer], given: NDArray[np.integer]
) -> list[Attribution]:
    """Return the references that caused corrections, the surest first.

    For each answer of a person (m,): the reference that was the source of the automatic label, −1
    where there was none, the code of that label, and the code that the person gave, −1 for none.
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

# A **near-duplicate** is so similar that hardly any random pair is; see `duplicate_bound`.

_LEAST_QUANTILE = 0.999
_CHANCE_NEIGHBOURS = 0.1
IDENTICAL = 0.999
"""From this similarity on two documents are the same but for rounding, in every space."""

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
    of one of the `references` on average, and never below the 99.9 % one: so the share of what is
    taken for a duplicate by chance does not grow with the references. What is identical up to
    rounding always is one; where there are too few pairs to know the quantile, only that is.
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

    `ids` (r,) rise, `codes` (r,) are their labels; `matches` (r, k) each one's nearest references
    without itself.
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
    """Return of which documents (n,) the near-duplicate references contradict each other.

    `matches` (n, k) are their nearest references.
    """
    near = near_duplicates(matches, bound)
    lowest = np.where(near, matches.codes, _NO_CODE).min(axis=1, initial=_NO_CODE)
    highest = np.where(near, matches.codes, NO_LABEL).max(axis=1, initial=NO_LABEL)
    return np.asarray(highest > lowest)


def with_copies(similarities: NDArray[np.float32], bound: float) -> NDArray[np.int64]:
    """Return the places of lists, falling (n, k), with two near-duplicates or more: few to look at.

    Without two there is nothing to contradict.
    """
    return np.flatnonzero(similarities[:, :2].min(axis=1) >= np.float32(bound))


def near_duplicates(matches: Matches, bound: float) -> NDArray[np.bool_]:
    """Return which matches (n, k) are near-duplicates of the document whose list they are in."""
    alike = matches.similarities >= np.float32(bound)
    return np.asarray(alike & (matches.codes != NO_LABEL))


def _connected(count: int, rows: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each of `count` nodes the lowest that it is joined to by edges (rows, others)."""
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
