"""Several annotators in one field: review questions with their answers, and their agreement."""

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


def questions(
    snapshot: Snapshot,
    field: FieldRow,
    items: Sequence[ReviewItem],
    documents: Mapping[str, Document],
) -> list[Question]:
    """Return review items as questions with their documents, taken from `documents` by id.

    A question about a conflict shows who answered what; a second opinion hides all answers.
    """
    found = []
    for ids, question in questions_by_ids(snapshot, field, items):
        own = tuple(documents[id] for id in ids)
        if question.kind == QuestionKind.SECOND_OPINION:
            own = tuple(hidden(document, field.name) for document in own)
        found.append(replace(question, documents=own))
    return found


def questions_by_ids(
    snapshot: Snapshot, field: FieldRow, items: Sequence[ReviewItem]
) -> list[tuple[tuple[str, ...], Question]]:
    """Return review items as questions without documents, each with the ids of its documents."""
    ids = ids_of(snapshot, [pk for one in items for pk in one.pks])
    answers = personal_answers(snapshot, field.pk, [one.pks[0] for one in items if one.contested])
    return [
        (
            tuple(ids[pk] for pk in one.pks),
            Question(
                (),
                one.suggestion,
                one.value,
                one.kind.value,
                one.place,
                tuple(map(_opinion, answers.get(one.pks[0], ()))),
                one.suggestions or (one.suggestion,) * len(one.pks),
            ),
        )
        for one in items
    ]


def opinions_of(snapshot: Snapshot, field: FieldRow, document_pk: int) -> tuple[Opinion, ...]:
    """Return each person's latest answer about a document, in the order of time."""
    return tuple(
        map(_opinion, personal_answers(snapshot, field.pk, [document_pk]).get(document_pk, ()))
    )


def agreement_of(snapshot: Snapshot, collection: str, field: FieldRow, *, blind: bool) -> Agreement:
    """Return the agreement of people on documents that several of them answered.

    `blind` counts only documents that all but the first answered without seeing a label. Raises
    Conflict where no two people answered the same document, MissingExtra.
    """
    several, people = answered_by_several(snapshot, field.pk)
    found = [independent(lines) for lines in several.values()]
    shared = [(by_person, is_blind) for by_person, is_blind in found if len(by_person) > 1]
    if blind:
        shared = [one for one in shared if one[1]]
    if not shared:
        raise Conflict(_nothing_shared(collection, field.name, people, blind=blind))
    answers = [_labels(by_person) for by_person, _ in shared]
    return agreement(collection, field.name, answers, sum(is_blind for _, is_blind in shared))


def hidden(document: Document, field: str) -> Document:
    """Return a document without its label, answers and suggestions in a field."""
    standing = document.standings[field]
    decision = replace(standing.decision, label=None, runner_up=None, matches=())
    unanswered = replace(
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
    standings = {**document.standings, field: unanswered}
    return replace(document, metadata=metadata, standings=standings)


def _opinion(one: PersonalAnswer) -> Opinion:
    at = datetime.fromtimestamp(one.at, UTC)
    return Opinion(one.line.actor, one.line.kind, one.line.label, at)


def _labels(by_person: Mapping[str, Line]) -> dict[str, str]:
    """Return each person's label; "new category" counts as a label of its own."""
    return {
        actor: EventKind.NEW_KIND.value if line.label is None else line.label
        for actor, line in by_person.items()
    }


def _nothing_shared(collection: str, field: str, people: set[str], *, blind: bool) -> str:
    names = ", ".join(sorted(people)) or "nobody"
    lack = f"{names} answered, but no item was answered by two of them"
    if len(people) < 2:
        lack = f"only {names} answered" if people else "nobody has answered yet"
    elif blind:
        lack = f"{names} answered, but no item twice without seeing the first label"
    return (
        f"in the field {field!r} of {collection!r} {lack}: let another person answer some items "
        f"again with `lookalike queue {shlex.quote(collection)} --second-opinion 0.2`"
    )
