"""How far people agree who answered the same documents. Pure.

Chance-corrected, for labels without an order: Cohen's kappa (1960) for two people, Krippendorff's
alpha (2004) for all, who need not have answered the same. 1 is full agreement, 0 what guesses by
each one's habits would reach.
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
    """Two people: on how many `shared` documents they said the `same`; `kappa` is Cohen's.

    It is None where both used one label only: there is nothing to agree on.
    """

    people: tuple[str, str]
    shared: int
    same: int
    kappa: float | None


@dataclass(frozen=True, slots=True)
class Disputed:
    """Two labels that people gave to the same document, so many `times`."""

    labels: tuple[str, str]
    times: int


@dataclass(frozen=True, slots=True)
class Consent:
    """On how many of the shared `documents` that anybody gave a label all gave it (`agreed`)."""

    label: str
    documents: int
    agreed: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far people agree in a label field; who is right is not guessed.

    `people` tells how many shared documents each answered. Of `shared` documents that several
    answered, all said the same of `agreed`; `blind` were answered by all but the first without
    sight of a label. `alpha` is Krippendorff's, None where only one label was used. `disputed` are
    the labels most often confused, `labels` the ones least agreed on, first.
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
    """Return how far people agree; an answer maps people to labels, several in each.

    Raises MissingExtra.
    """
    people = Counter(person for one in answers for person in one)
    disputed = Counter(
        tuple(sorted(two)) for one in answers for two in combinations(sorted(set(one.values())), 2)
    )
    named = Counter(label for one in answers for label in set(one.values()))
    unanimous = Counter(next(iter(one.values())) for one in answers if len(set(one.values())) == 1)
    consents = [Consent(label, count, unanimous[label]) for label, count in named.items()]
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
    """Return any two people who share documents, those with most first."""
    shared: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for one in answers:
        for first, second in combinations(sorted(one), 2):
            both = {first: one[first], second: one[second]}
            shared.setdefault((first, second), []).append(both)
    found = [
        Two(
            two,
            len(some),
            sum(len(set(one.values())) == 1 for one in some),
            _coefficient("kappa", some),
        )
        for two, some in shared.items()
    ]
    return sorted(found, key=lambda two: (-two.shared, two.people))


def _coefficient(name: str, answers: Sequence[Mapping[str, str]]) -> float | None:
    """Return `alpha` or `kappa` of answers; None where there is one label only."""
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
