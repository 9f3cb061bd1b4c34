"""Quality of a field's references: likely label errors, near-duplicates, confused labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lookalike.catalog.reader import FieldRow, ids_of
from lookalike.classifier.graph.search import ReferenceArrays, nearest
from lookalike.classifier.review import reference_checks
from lookalike.classifier.review.reference_checks import DuplicateGroup, duplicates
from lookalike.decisions.decider import Decider
from lookalike.decisions.deciders import Deciders
from lookalike.decisions.queue import contested_documents
from lookalike.labels import NO_LABEL, Codes
from lookalike.quality.monitoring import ReferenceAttribution, attributions
from lookalike.stores.base import Snapshot


@dataclass(frozen=True, slots=True)
class Suspect:
    """A reference whose label looks wrong: the odds are `odds` to 1 that it is `looks_like`."""

    id: str
    label: str
    looks_like: str
    odds: float


@dataclass(frozen=True, slots=True)
class Duplicates:
    """References that are near-duplicates, with their labels; different labels are a conflict."""

    ids: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def conflict(self) -> bool:
        """Return whether the labels differ; if not, one of the references is enough."""
        return len(set(self.labels)) > 1


@dataclass(frozen=True, slots=True)
class LabelHealth:
    """Leave-one-out results of a label; `recall` and `precision` are None without results.

    `confused_with` is the label that most of its misclassified references get, and `confused` their
    number. `thin` tells that the label has too few references, `unbalanced` that it has many times
    more or fewer than the median label.
    """

    label: str
    references: int
    recall: float | None
    precision: float | None
    confused_with: str | None
    confused: int
    thin: bool
    unbalanced: bool


@dataclass(frozen=True, slots=True)
class Confusion:
    """Two labels, and the `share` of their references that look like the other one."""

    labels: tuple[str, str]
    share: float


@dataclass(frozen=True, slots=True)
class Inspection:
    """Possible errors in the references of a label field, the worst first in each list.

    `contested` are ids of documents on which people disagree; the latest answer is the reference's
    label.
    """

    suspects: tuple[Suspect, ...]
    duplicates: tuple[Duplicates, ...]
    blamed: tuple[ReferenceAttribution, ...]
    confused: tuple[Confusion, ...]
    labels: tuple[LabelHealth, ...]
    contested: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _DeciderFacts:
    """What `inspect` needs of the decider; the rest runs after the decider is released."""

    codes: Codes
    references: ReferenceArrays
    bound: float
    trials: Callable[[], reference_checks.LeaveOneOutTrials]
    unused: reference_checks.LeaveOneOutTrials


@dataclass(frozen=True, slots=True)
class _Results:
    """The results of the checks, by pk and label code; `codes` maps label codes to names."""

    codes: Codes
    trials: reference_checks.LeaveOneOutTrials
    suspects: Sequence[reference_checks.SuspectReference]
    groups: Sequence[DuplicateGroup]
    attributions: Sequence[reference_checks.Attribution]


def inspect(deciders: Deciders, field: FieldRow) -> Inspection:
    """Return the possible errors in the references that a field uses."""
    k = field.taxonomy.top_k

    def ask(decider: Decider, snapshot: Snapshot) -> _DeciderFacts:
        state, bound = decider.state, decider.duplicate_bound(snapshot)
        trials, unused = decider.trials(snapshot), decider.suspect_trials(snapshot)
        return _DeciderFacts(state.codes, state.references, bound, trials, unused)

    with deciders.consulted(field.pk, ask) as (snapshot, facts):
        trials, references = facts.trials(), facts.references
        results = _Results(
            facts.codes,
            trials,
            _suspects(trials, facts.unused),
            _duplicates(references, k, facts.bound),
            attributions(snapshot, field, facts.codes),
        )
        pks = {one.reference for one in results.suspects}
        pks |= {one.reference for one in results.attributions}
        pks |= {pk for group in results.groups for pk in group.references}
        found = _inspection(results, ids_of(snapshot, pks))
        contested = contested_documents(snapshot, field.reference_field_pk)
        return replace(found, contested=tuple(ids_of(snapshot, contested.tolist()).values()))


def _suspects(
    trials: reference_checks.LeaveOneOutTrials, unused: reference_checks.LeaveOneOutTrials
) -> list[reference_checks.SuspectReference]:
    """Return the references that look wrong, and those that are `unused` because they did."""
    found = reference_checks.suspects(trials)
    found += reference_checks.suspects(unused, -np.inf)
    return sorted(found, key=lambda one: -one.margin)


def _inspection(results: _Results, ids: Mapping[int, str]) -> Inspection:
    codes, trials = results.codes, results.trials
    labels = dict(zip(trials.references.tolist(), trials.own.tolist(), strict=True))
    return Inspection(
        suspects=tuple(
            Suspect(
                ids[one.reference],
                _name(codes, one.own),
                _name(codes, one.looks_like),
                float(np.exp(one.margin)),
            )
            for one in results.suspects
        ),
        duplicates=tuple(
            Duplicates(
                tuple(ids[pk] for pk in group.references),
                tuple(_name(codes, label) for label in group.labels),
            )
            for group in results.groups
        ),
        blamed=tuple(
            ReferenceAttribution(
                ids[one.reference],
                codes.name(labels.get(one.reference, NO_LABEL)),
                one.corrected,
                one.confirmed,
                one.at_least,
                codes.name(one.instead),
            )
            for one in results.attributions
            if one.reference in ids
        ),
        confused=tuple(
            Confusion((_name(codes, one.first), _name(codes, one.second)), one.share)
            for one in reference_checks.confused_pairs(trials)
        ),
        labels=_label_health(reference_checks.health(trials), codes),
    )


def _label_health(
    labels: Sequence[reference_checks.LabelHealth], codes: Codes
) -> tuple[LabelHealth, ...]:
    thin, unbalanced = set(reference_checks.thin(labels)), set(reference_checks.unbalanced(labels))
    found = (
        LabelHealth(
            label=_name(codes, one.label),
            references=one.references,
            recall=_none_if_nan(one.recall),
            precision=_none_if_nan(one.precision),
            confused_with=codes.name(one.confused_with),
            confused=one.confused,
            thin=one.label in thin,
            unbalanced=one.label in unbalanced,
        )
        for one in labels
    )
    return tuple(sorted(found, key=lambda one: 1.0 if one.recall is None else one.recall))


def _duplicates(references: ReferenceArrays, k: int, bound: float) -> list[DuplicateGroup]:
    own = nearest(
        references.vectors, references.vectors, references.pks, k, query_ids=references.pks
    )
    return duplicates(references.pks, references.codes, references.matches(*own), bound)


def _name(codes: Codes, code: int) -> str:
    return str(codes.name(code))


def _none_if_nan(value: float) -> float | None:
    return None if value != value else value
