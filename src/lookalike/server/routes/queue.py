"""Review queue routes: a snapshot of the queue that pages can be read from, and check sheets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query

from lookalike.catalog.filters import parse
from lookalike.catalog.reader import fields_of, pks_of, unconfirmed
from lookalike.classifier.review.queue import QuestionKind
from lookalike.library.collection.read import queue_by_ids
from lookalike.model import Opinion, Origin, Question
from lookalike.server.context import Context, Frozen, Here
from lookalike.server.replies import DocumentReply, LabelReply
from lookalike.server.routes.documents import document_replies, selecting_in
from lookalike.server.shapes import JsonRoute, Reply

router = APIRouter(prefix="/v1/collections/{collection}", tags=["labels"], route_class=JsonRoute)

FROZEN = 200
"""The number of questions in a snapshot of the queue."""

_UNREVIEWED = (None, Origin.AUTO.value)


class AskedReply(DocumentReply):
    """A document of a question, with the suggested label, or null."""

    suggestion: str | None


class QuestionReply(Reply):
    """A question about one document, a group of similar documents, or a check sheet.

    `suggestions` has a label, or null, for each of `documents`.
    """

    documents: list[AskedReply]
    suggestion: str | None
    suggestions: list[str | None]
    worth: float
    kind: str
    place: str
    opinions: list[Opinion]


class QueueReply(Reply):
    """The questions with the highest value, best first.

    `snapshot` names the frozen queue: send it with `next_offset` to get its next questions, without
    those that are answered by then. `kinds` counts the questions by kind.
    """

    results: list[QuestionReply]
    snapshot: str
    total: int
    kinds: dict[str, int]
    next_offset: int | None


class CheckReply(Reply):
    """The pending check sheet, or null."""

    question: QuestionReply | None


@router.get("/queue")
def queue(
    collection: str,
    here: Here,
    limit: Annotated[int, Query(ge=1, le=FROZEN)] = 20,
    field: str | None = None,
    snapshot: Annotated[str | None, Query(description="the snapshot of an earlier reply")] = None,
    offset: Annotated[int, Query(ge=0, le=FROZEN)] = 0,
    kind: Annotated[QuestionKind | None, Query(description="only questions of this kind")] = None,
    second_opinion: Annotated[
        float, Query(ge=0, le=1, description="share of items that others have labelled, hidden")
    ] = 0,
) -> QueueReply:
    """Return the questions with the highest value, best first; answer them with `asked` true."""
    if snapshot is None:
        questions = queue_by_ids(
            here.collection(collection), limit=FROZEN, field=field, second_opinion=second_opinion
        )
        frozen = Frozen(_owner(here, collection), field, tuple(questions))
        snapshot = here.server.queues.add(frozen)
    frozen = here.server.queues.find(snapshot, _owner(here, collection))
    kinds = Counter(str(question.kind) for _, question in frozen.questions)
    if kind is not None:
        of_kind = [one for one in frozen.questions if one[1].kind == kind]
        frozen = replace(frozen, questions=tuple(of_kind))
    results, end = _open_questions(here, collection, frozen, offset, limit)
    return QueueReply(
        results=results,
        snapshot=snapshot,
        total=len(frozen.questions),
        kinds=dict(kinds),
        next_offset=end if end < len(frozen.questions) else None,
    )


@router.get("/check")
def check(collection: str, here: Here, field: str | None = None) -> CheckReply:
    """Return the pending check sheet; answer by `labels` (`asked` true) and `rejections`."""
    question = here.collection(collection).check(field=field)
    if question is None:
        return CheckReply(question=None)
    ids = tuple(one.id for one in question.documents)
    documents = _existing(here, collection, ids)
    left = [documents[id] for id in ids if id in documents]
    return CheckReply(question=_reply(question, ids, left) if left else None)


def _owner(here: Context, collection: str) -> tuple[str, str]:
    return here.namespace, here.collection(collection).name


def _open_questions(
    here: Context, collection: str, frozen: Frozen, offset: int, limit: int
) -> tuple[list[QuestionReply], int]:
    """Return up to `limit` questions that are still open, and the offset of the next ones."""
    replies: list[QuestionReply] = []
    end = offset
    while len(replies) < limit and end < len(frozen.questions):
        questions = frozen.questions[end : end + limit - len(replies)]
        documents = _existing(here, collection, [id for ids, _ in questions for id in ids])
        for ids, question in questions:
            existing = [documents[id] for id in ids if id in documents]
            suggested = dict(zip(ids, question.suggestions, strict=True))
            left = _left(here, collection, frozen.field, question, existing, suggested)
            if left:
                replies.append(_reply(question, ids, left))
        end += len(questions)
    return replies, end


def _reply(question: Question, ids: Sequence[str], left: Sequence[DocumentReply]) -> QuestionReply:
    """Return a question about those of the documents `ids` that are `left`."""
    suggested = dict(zip(ids, question.suggestions, strict=True))
    suggestions = [suggested[one.document_id] for one in left]
    return QuestionReply.of(
        question,
        documents=[
            AskedReply(**dict(one), suggestion=label)
            for one, label in zip(left, suggestions, strict=True)
        ],
        suggestions=suggestions,
    )


def _existing(here: Context, collection: str, ids: Sequence[str]) -> dict[str, DocumentReply]:
    """Return those of the documents that still exist, by id."""
    tree = parse({"field": "document_id", "operator": "in", "value": list(ids)})
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, collection)
        pks = [pk for chunk in selecting_in(snapshot, row).pks(tree) for pk in chunk]
        replies = document_replies(here, snapshot, row, pks)
    return {one.document_id: one for one in replies}


def _left(
    here: Context,
    collection: str,
    field: str | None,
    question: Question,
    documents: Sequence[DocumentReply],
    suggested: Mapping[str, str | None],
) -> list[DocumentReply]:
    """Return those of a question's documents that nobody has answered since the snapshot.

    `suggested` has their suggested labels by id. A suspect label stays open until a person confirms
    or replaces it. A document for a second opinion hides the first one.
    """
    if question.kind == QuestionKind.SUSPECT:
        return _unconfirmed(here, collection, field, documents, suggested)
    if question.kind == QuestionKind.CHECK:
        documents = [
            one
            for one in documents
            if suggested[one.document_id] not in _state(one, field).rejected
        ]
    if question.kind != QuestionKind.SECOND_OPINION and not question.opinions:
        return [one for one in documents if _is_open(one, field)]
    verbs, left = here.collection(collection), []
    for one in documents:
        opinions = verbs.opinions(one.document_id, field=field)
        if question.opinions and opinions == question.opinions:
            left.append(one)
        elif not question.opinions and here.runtime.actor not in {by.actor for by in opinions}:
            left.append(_hidden(one, field or next(iter(one.labels))))
    return left


def _hidden(document: DocumentReply, field: str) -> DocumentReply:
    """Return a document without the state of a label field."""
    blank: dict[str, object] = {"label": None, "origin": None, "actor": None, "answer": None}
    blank |= {"is_reference": False, "suggestion": None, "rejected": [], "match": None}
    label = document.labels[field].model_copy(update=blank)
    hidden = {
        "labels": {**document.labels, field: label},
        "metadata": {**document.metadata, field: None},
        "taxonomy_match": None,
    }
    return document.model_copy(update=hidden)


def _unconfirmed(
    here: Context,
    collection: str,
    field: str | None,
    documents: Sequence[DocumentReply],
    suspected: Mapping[str, str | None],
) -> list[DocumentReply]:
    """Return the documents that still have their `suspected` labels, given once and unconfirmed."""
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, collection)
        (first,) = [one for one in fields_of(snapshot, row.pk) if field in (None, one.name)][:1]
        pks = pks_of(snapshot, row, [one.document_id for one in documents])
        open_labels = unconfirmed(snapshot, first.pk, pks.values())
    return [
        one
        for one in documents
        if (pks[one.document_id], suspected[one.document_id]) in open_labels
    ]


def _is_open(document: DocumentReply, field: str | None) -> bool:
    state = _state(document, field)
    return state.origin in _UNREVIEWED and state.answer is None


def _state(document: DocumentReply, field: str | None) -> LabelReply:
    return document.labels[field] if field else next(iter(document.labels.values()))
