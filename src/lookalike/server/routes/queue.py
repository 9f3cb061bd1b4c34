"""The review queue over HTTP: it stays as it was asked for while it is answered."""

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
from lookalike.server.context import Asked, Frozen, Here
from lookalike.server.replies import DocumentReply, LabelReply
from lookalike.server.routes.documents import document_replies, selecting_in
from lookalike.server.shapes import JsonRoute, Reply

router = APIRouter(prefix="/v1/collections/{collection}", tags=["labels"], route_class=JsonRoute)

FROZEN = 200
"""So many questions are frozen at once."""

_MINE = (None, Origin.AUTO.value)


class AskedReply(DocumentReply):
    """A document that is asked about, with the label that is suggested for it, or null."""

    suggestion: str | None


class QuestionReply(Reply):
    """What the queue asks: about a strip of look-alikes, about one document, or a sheet of them.

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
    """What is worth asking a person, the best question first.

    `snapshot` names the queue as it was when it was asked for: with it, `next_offset` leads to what
    comes next, and what was answered meanwhile is left out. `kinds` counts its questions by kind.
    """

    results: list[QuestionReply]
    snapshot: str
    total: int
    kinds: dict[str, int]
    next_offset: int | None


class CheckReply(Reply):
    """The check sheet that waits for an answer, if any does."""

    question: QuestionReply | None


@router.get("/queue")
def queue(
    collection: str,
    here: Here,
    limit: Annotated[int, Query(ge=1, le=FROZEN)] = 20,
    field: str | None = None,
    snapshot: Annotated[str | None, Query(description="of an answer before this one")] = None,
    offset: Annotated[int, Query(ge=0, le=FROZEN)] = 0,
    kind: Annotated[QuestionKind | None, Query(description="ask such questions only")] = None,
    second_opinion: Annotated[
        float, Query(ge=0, le=1, description="this share of what others answered, labels hidden")
    ] = 0,
) -> QueueReply:
    """Return what is worth asking a person, the best question first; answer with `asked` true."""
    if snapshot is None:
        asked = queue_by_ids(
            here.collection(collection), limit=FROZEN, field=field, second_opinion=second_opinion
        )
        frozen = Frozen(_owner(here, collection), field, tuple(asked))
        snapshot = here.context.queues.add(frozen)
    frozen = here.context.queues.find(snapshot, _owner(here, collection))
    kinds = Counter(str(question.kind) for _, question in frozen.questions)
    if kind is not None:
        chosen = [one for one in frozen.questions if one[1].kind == kind]
        frozen = replace(frozen, questions=tuple(chosen))
    results, place = _open(here, collection, frozen, offset, limit)
    return QueueReply(
        results=results,
        snapshot=snapshot,
        total=len(frozen.questions),
        kinds=dict(kinds),
        next_offset=place if place < len(frozen.questions) else None,
    )


@router.get("/check")
def check(collection: str, here: Here, field: str | None = None) -> CheckReply:
    """Return the check sheet that waits; answer with `labels` (`asked` true) and `rejections`."""
    question = here.collection(collection).check(field=field)
    if question is None:
        return CheckReply(question=None)
    ids = tuple(one.id for one in question.documents)
    documents = _found(here, collection, ids)
    left = [documents[id] for id in ids if id in documents]
    return CheckReply(question=_reply(question, ids, left) if left else None)


def _owner(here: Asked, collection: str) -> tuple[str, str]:
    return here.namespace, here.collection(collection).name


def _open(
    here: Asked, collection: str, frozen: Frozen, offset: int, limit: int
) -> tuple[list[QuestionReply], int]:
    """Return up to `limit` questions that are still open, and where the next one may be."""
    found: list[QuestionReply] = []
    place = offset
    while len(found) < limit and place < len(frozen.questions):
        some = frozen.questions[place : place + limit - len(found)]
        wanted = [id for ids, _ in some for id in ids]
        documents = _found(here, collection, wanted)
        for ids, question in some:
            there = [documents[id] for id in ids if id in documents]
            told = dict(zip(ids, question.suggestions, strict=True))
            left = _left(here, collection, frozen.field, question, there, told)
            if left:
                found.append(_reply(question, ids, left))
        place += len(some)
    return found, place


def _reply(question: Question, ids: Sequence[str], left: Sequence[DocumentReply]) -> QuestionReply:
    """Return a question about those of the documents `ids` that are `left`."""
    told = dict(zip(ids, question.suggestions, strict=True))
    return QuestionReply(
        documents=[
            AskedReply.model_validate({**dict(one), "suggestion": told[one.document_id]})
            for one in left
        ],
        suggestion=question.suggestion,
        suggestions=[told[one.document_id] for one in left],
        worth=question.worth,
        kind=question.kind,
        place=question.place,
        opinions=list(question.opinions),
    )


def _found(here: Asked, collection: str, ids: Sequence[str]) -> dict[str, DocumentReply]:
    """Return those of the documents that are here, by id."""
    chosen = parse({"field": "document_id", "operator": "in", "value": list(ids)})
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, collection)
        pks = [pk for chunk in selecting_in(snapshot, row).pks(chosen) for pk in chunk]
        replies = document_replies(here, snapshot, row, pks)
    return {one.document_id: one for one in replies}


def _left(
    here: Asked,
    collection: str,
    field: str | None,
    question: Question,
    documents: Sequence[DocumentReply],
    told: Mapping[str, str | None],
) -> list[DocumentReply]:
    """Return those of a question's documents that nobody has answered since it was asked.

    What is suggested for each is `told`. A label that looks wrong waits until somebody confirms it
    or gives another. What a second opinion is asked of does not show the first.
    """
    if question.kind == QuestionKind.SUSPECT:
        return _unconfirmed(here, collection, field, documents, told)
    if question.kind == QuestionKind.CHECK:
        states = [(one, _standing(one, field)) for one in documents]
        documents = [one for one, state in states if told[one.document_id] not in state.rejected]
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
    unsaid: dict[str, object] = {"label": None, "origin": None, "actor": None, "answer": None}
    unsaid |= {"is_reference": False, "suggestion": None, "rejected": [], "match": None}
    label = document.labels[field].model_copy(update=unsaid)
    told = {
        "labels": {**document.labels, field: label},
        "metadata": {**document.metadata, field: None},
        "taxonomy_match": None,
    }
    return document.model_copy(update=told)


def _unconfirmed(
    here: Asked,
    collection: str,
    field: str | None,
    documents: Sequence[DocumentReply],
    told: Mapping[str, str | None],
) -> list[DocumentReply]:
    """Return the documents that still have the labels that are `told`, said once only."""
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, collection)
        (chosen,) = [one for one in fields_of(snapshot, row.pk) if field in (None, one.name)][:1]
        pks = pks_of(snapshot, row, [one.document_id for one in documents])
        once = unconfirmed(snapshot, chosen.pk, pks.values())
    return [one for one in documents if (pks[one.document_id], told[one.document_id]) in once]


def _is_open(document: DocumentReply, field: str | None) -> bool:
    standing = _standing(document, field)
    return standing.origin in _MINE and standing.answer is None


def _standing(document: DocumentReply, field: str | None) -> LabelReply:
    return document.labels[field] if field else next(iter(document.labels.values()))
