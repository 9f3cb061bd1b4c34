"""Several people in one field: who said what, and how far they agree."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from lookalike.catalog.reader import FieldRow, ids_of
from lookalike.classifier.review.queue import QuestionKind
from lookalike.decisions.ledger.fold import Line, independent
from lookalike.decisions.queue import (
    PersonalAnswer,
    ReviewItem,
    answered_by_several,
    personal_answers,
)
from lookalike.errors import Conflict
from lookalike.model import Document, EventKind, Opinion, Question
from lookalike.quality.stats.agreement import Agreement, agreement
from lookalike.stores.base import Snapshot


def put(
    snapshot: Snapshot, field: FieldRow, asked: Sequence[ReviewItem], shown: Mapping[str, Document]
) -> list[Question]:
    """Return what is asked as questions: who said what is shown of a conflict, or else hidden."""
    questions = []
    for ids, question in by_ids(snapshot, field, asked):
        documents = tuple(shown[id] for id in ids)
        if question.kind == QuestionKind.SECOND_OPINION:
            documents = tuple(hidden(document, field.name) for document in documents)
        questions.append(replace(question, documents=documents))
    return questions


def by_ids(
    snapshot: Snapshot, field: FieldRow, asked: Sequence[ReviewItem]
) -> list[tuple[tuple[str, ...], Question]]:
    """Return what is asked as questions without their documents, each with the ids of these."""
    ids = ids_of(snapshot, [pk for one in asked for pk in one.pks])
    spoken = personal_answers(snapshot, field.pk, [one.pks[0] for one in asked if one.contested])
    return [
        (
            tuple(ids[pk] for pk in one.pks),
            Question(
                (),
                one.suggestion,
                one.worth,
                one.kind.value,
                one.place,
                tuple(map(_opinion, spoken.get(one.pks[0], ()))),
                one.suggestions or (one.suggestion,) * len(one.pks),
            ),
        )
        for one in asked
    ]


def opinions_of(snapshot: Snapshot, field: FieldRow, document_pk: int) -> tuple[Opinion, ...]:
    """Return each person's latest answer about a document, the earliest first."""
    return tuple(
        map(_opinion, personal_answers(snapshot, field.pk, [document_pk]).get(document_pk, ()))
    )


def agree(snapshot: Snapshot, collection: str, field: FieldRow, *, blind: bool) -> Agreement:
    """Return how far people agree on what several answered; `blind` counts only such documents.

    Raises Conflict where no two people answered the same document, MissingExtra.
    """
    several, people = answered_by_several(snapshot, field.pk)
    found = [independent(lines) for lines in several.values()]
    shared = [(said, is_blind) for said, is_blind in found if len(said) > 1]
    if blind:
        shared = [one for one in shared if one[1]]
    if not shared:
        raise Conflict(_nothing_shared(collection, field.name, people, blind=blind))
    answers = [_labels(said) for said, _ in shared]
    return agreement(collection, field.name, answers, sum(is_blind for _, is_blind in shared))


def hidden(document: Document, field: str) -> Document:
    """Return a document as somebody sees it who shall not see what it is said to be in a field."""
    standing = document.standings[field]
    decision = replace(standing.decision, label=None, runner_up=None, matches=())
    unsaid = replace(
        standing,
        label=None,
        origin=None,
        is_reference=False,
        answer=None,
        reviewed_by=None,
        suggestion=None,
        rejected=(),
        enriched={},
        decision=decision,
        actor=None,
        source=None,
    )
    metadata = {name: value for name, value in document.metadata.items() if name != field}
    standings = {**document.standings, field: unsaid}
    return replace(document, metadata=metadata, standings=standings)


def _opinion(one: PersonalAnswer) -> Opinion:
    at = datetime.fromtimestamp(one.at, UTC)
    return Opinion(one.line.actor, one.line.kind, one.line.label, at)


def _labels(said: Mapping[str, Line]) -> dict[str, str]:
    """Return what each person said, as a label; a new kind is one of its own."""
    return {
        actor: EventKind.NEW_KIND.value if line.label is None else line.label
        for actor, line in said.items()
    }


def _nothing_shared(collection: str, field: str, people: set[str], *, blind: bool) -> str:
    names = ", ".join(sorted(people)) or "nobody"
    lack = f"{names} answered, and no document was answered by two of them"
    if len(people) < 2:
        lack = f"{names} answered alone" if people else "nobody has answered yet"
    elif blind:
        lack = f"{names} answered, but no document twice without sight of the first label"
    return (
        f"in the field {field!r} of {collection!r} {lack}: another person gets a share of what is "
        f"answered with `lookalike queue {shlex.quote(collection)} --second-opinion 0.2`"
    )
