"""What may be wrong with a field's references: by their looks, by what people corrected."""

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
from lookalike.quality.monitoring import ReferenceAttribution, blamed
from lookalike.stores.base import Snapshot


@dataclass(frozen=True, slots=True)
class Suspect:
    """A reference whose label looks wrong; `odds` to one that it is `looks_like` instead."""

    id: str
    label: str
    looks_like: str
    odds: float


@dataclass(frozen=True, slots=True)
class Duplicates:
    """References that are all but the same, with their labels; several labels are a conflict."""

    ids: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def conflict(self) -> bool:
        """Return whether they contradict each other; if not, all but one add nothing."""
        return len(set(self.labels)) > 1


@dataclass(frozen=True, slots=True)
class LabelHealth:
    """How a label does when its references are left out one by one; None where nothing was tried.

    `confused_with` is what most of those are taken for that are not recognised, and `confused` how
    many they are. `thin` and `unbalanced` tell that it has too few references, or out of proportion
    with the others.
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
    """Two labels; `share` of the references of both is taken for the other one."""

    labels: tuple[str, str]
    share: float


@dataclass(frozen=True, slots=True)
class Inspection:
    """What may be wrong with the references of a label field, the worst first.

    People contradict each other on the documents that are `contested`, by id; the last word votes.
    """

    suspects: tuple[Suspect, ...]
    duplicates: tuple[Duplicates, ...]
    blamed: tuple[ReferenceAttribution, ...]
    confused: tuple[Confusion, ...]
    labels: tuple[LabelHealth, ...]
    contested: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Asked:
    """What only the decider knows; the rest is told from that while others use it."""

    codes: Codes
    references: ReferenceArrays
    bound: float
    trials: Callable[[], reference_checks.LeaveOneOutTrials]
    unused: reference_checks.LeaveOneOutTrials


@dataclass(frozen=True, slots=True)
class _Found:
    """What may be wrong, by pk and label code; `codes` names these."""

    codes: Codes
    trials: reference_checks.LeaveOneOutTrials
    suspects: Sequence[reference_checks.SuspectReference]
    groups: Sequence[DuplicateGroup]
    blames: Sequence[reference_checks.Attribution]


def inspect(deciders: Deciders, field: FieldRow) -> Inspection:
    """Return what may be wrong with the references that a field refers to."""
    k = field.taxonomy.top_k

    def ask(decider: Decider, snapshot: Snapshot) -> _Asked:
        state, bound = decider.state, decider.duplicate_bound(snapshot)
        trials, unused = decider.trials(snapshot), decider.suspect_trials(snapshot)
        return _Asked(state.codes, state.references, bound, trials, unused)

    with deciders.consulted(field.pk, ask) as (snapshot, asked):
        trials, references = asked.trials(), asked.references
        found = _Found(
            asked.codes,
            trials,
            _suspects(trials, asked.unused),
            _duplicates(references, k, asked.bound),
            blamed(snapshot, field, asked.codes),
        )
        named = {one.reference for one in found.suspects}
        named |= {one.reference for one in found.blames}
        grouped = {pk for group in found.groups for pk in group.references}
        shown = _inspection(found, ids_of(snapshot, named | grouped))
        contested = contested_documents(snapshot, field.reference_field_pk)
        return replace(shown, contested=tuple(ids_of(snapshot, contested.tolist()).values()))


def _suspects(
    trials: reference_checks.LeaveOneOutTrials, unused: reference_checks.LeaveOneOutTrials
) -> list[reference_checks.SuspectReference]:
    """Return the references that look wrong, and those that are `unused` because they did."""
    found = reference_checks.suspects(trials)
    found += reference_checks.suspects(unused, -np.inf)
    return sorted(found, key=lambda one: -one.margin)


def _inspection(found: _Found, ids: Mapping[int, str]) -> Inspection:
    codes, trials = found.codes, found.trials
    labels = dict(zip(trials.references.tolist(), trials.own.tolist(), strict=True))
    return Inspection(
        suspects=tuple(
            Suspect(
                ids[one.reference],
                _name(codes, one.own),
                _name(codes, one.looks_like),
                float(np.exp(one.margin)),
            )
            for one in found.suspects
        ),
        duplicates=tuple(
            Duplicates(
                tuple(ids[pk] for pk in group.references),
                tuple(_name(codes, label) for label in group.labels),
            )
            for group in found.groups
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
            for one in found.blames
            if one.reference in ids
        ),
        confused=tuple(
            Confusion((_name(codes, one.first), _name(codes, one.second)), one.share)
            for one in reference_checks.confused_pairs(trials)
        ),
        labels=_healths(reference_checks.health(trials), codes),
    )


def _healths(
    labels: Sequence[reference_checks.LabelHealth], codes: Codes
) -> tuple[LabelHealth, ...]:
    thin, unbalanced = set(reference_checks.thin(labels)), set(reference_checks.unbalanced(labels))
    shown = (
        LabelHealth(
            label=_name(codes, one.label),
            references=one.references,
            recall=_number(one.recall),
            precision=_number(one.precision),
            confused_with=codes.name(one.confused_with),
            confused=one.confused,
            thin=one.label in thin,
            unbalanced=one.label in unbalanced,
        )
        for one in labels
    )
    return tuple(sorted(shown, key=lambda one: 1.0 if one.recall is None else one.recall))


def _duplicates(references: ReferenceArrays, k: int, bound: float) -> list[DuplicateGroup]:
    own = nearest(
        references.vectors, references.vectors, references.pks, k, query_ids=references.pks
    )
    return duplicates(references.pks, references.codes, references.matches(*own), bound)


def _name(codes: Codes, code: int) -> str:
    return str(codes.name(code))


def _number(value: float) -> float | None:
    return None if value != value else value
