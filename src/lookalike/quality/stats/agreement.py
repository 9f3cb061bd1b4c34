"""Annotator agreement on documents that several people answered. Pure.

Chance-corrected, for nominal labels: Cohen's kappa (1960) for two people, Krippendorff's alpha
(2004) for all people, who need not have answered the same documents. 1 is full agreement, 0 the
agreement expected by chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from lookalike.errors import MissingExtra


@dataclass(frozen=True, slots=True)
class Two:
    """The agreement of two people: of `shared` documents, `same` got the same label from both.

    `kappa` is Cohen's; None where both used only one label, the same one.
    """

    people: tuple[str, str]
    shared: int
    same: int
    kappa: float | None


@dataclass(frozen=True, slots=True)
class Disputed:
    """Two labels that different people gave to the same document, and the number of `times`."""

    labels: tuple[str, str]
    times: int


@dataclass(frozen=True, slots=True)
class Consent:
    """The agreement on a label: of `documents` that got it, `agreed` got it from all people."""

    label: str
    documents: int
    agreed: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """The agreement of people in a label field; it does not tell who is right.

    `people` counts the shared documents that each person answered. Of the `shared` documents, which
    several people answered, `agreed` got the same label from all; `blind` were answered by all but
    the first person without seeing a label. `alpha` is Krippendorff's, None where only one label
    was used. `disputed` has the most confused labels first, `labels` those with least agreement.
    """

    collection: str
    field: str
    people: Mapping[str, int]
    shared: int
    agreed: int
    blind: int
    alpha: float | None
    pairs: Sequence[Two]
    disputed: Sequence[Disputed]
    labels: Sequence[Consent]


def agreement(
    collection: str, field: str, answers: Sequence[Mapping[str, str]], blind: int
) -> Agreement:
    """Return the agreement; `answers` has, for each document, the labels of two or more people.

    Raises MissingExtra.
    """
    people = Counter(person for one in answers for person in one)
    disputed = Counter(
        tuple(sorted(two)) for one in answers for two in combinations(sorted(set(one.values())), 2)
    )
    given = Counter(label for one in answers for label in set(one.values()))
    unanimous = Counter(next(iter(one.values())) for one in answers if len(set(one.values())) == 1)
    consents = [Consent(label, count, unanimous[label]) for label, count in given.items()]
    return Agreement(
        collection=collection,
        field=field,
        people=dict(sorted(people.items())),
        shared=len(answers),
        agreed=sum(unanimous.values()),
        blind=blind,
        alpha=_coefficient("alpha", answers),
        pairs=_pairs(answers),
        disputed=[
            Disputed((labels[0], labels[1]), times)
            for labels, times in sorted(disputed.items(), key=lambda one: (-one[1], one[0]))
        ],
        labels=sorted(consents, key=lambda one: (one.agreed / one.documents, one.label)),
    )


def _pairs(answers: Sequence[Mapping[str, str]]) -> list[Two]:
    """Return all pairs of people who share documents, those with most documents first."""
    shared: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for one in answers:
        for first, second in combinations(sorted(one), 2):
            both = {first: one[first], second: one[second]}
            shared.setdefault((first, second), []).append(both)
    found = [
        Two(
            two,
            len(pairs),
            sum(len(set(one.values())) == 1 for one in pairs),
            _coefficient("kappa", pairs),
        )
        for two, pairs in shared.items()
    ]
    return sorted(found, key=lambda two: (-two.shared, two.people))


def _coefficient(name: str, answers: Sequence[Mapping[str, str]]) -> float | None:
    """Return `alpha` or `kappa` of answers; None where only one label was used."""
    if len({label for one in answers for label in one.values()}) < 2:
        return None
    try:
        from nltk.metrics.agreement import AnnotationTask
    except ImportError as error:
        raise MissingExtra.named("agreement between people", "agreement") from error
    data = [
        (person, str(place), label)
        for place, one in enumerate(answers)
        for person, label in one.items()
    ]
    task: Any = AnnotationTask(data=data)
    return float(getattr(task, name)())
