"""What a person says of documents, made into lines of the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import select

from lookalike.catalog.label_names import label_meant
from lookalike.catalog.lookup import stances, suspects_of
from lookalike.catalog.vocabulary import check_in_use
from lookalike.decisions.ledger.last_answers import LastWord, last_words
from lookalike.decisions.operations import Said
from lookalike.errors import BadInput, Stale
from lookalike.labels import check_label, label_in
from lookalike.model import Document, EventKind, Origin
from lookalike.stores import schema
from lookalike.stores.base import Snapshot
from lookalike.stores.selection import one_of


def labelled(
    snapshot: Snapshot,
    field_pk: int,
    pks: Mapping[str, int],
    labels: Mapping[str, str | None],
    *,
    asked: bool,
    actor: str,
) -> list[Said]:
    """Return the lines of giving labels by document id; what the actor said already is left out.

    None takes back what the person said. Of a label that looks wrong it is news that somebody gives
    it again. Raises BadInput for a label that is retired, or not in a closed set.
    """
    check_in_use(snapshot, field_pk, labels.values())
    now, suspects = stances(snapshot, field_pk, pks.values()), suspects_of(snapshot, field_pk)
    said = []
    for id, label in labels.items():
        if label is None:
            said.append(Said(pks[id], EventKind.RETRACTED, None, Origin.HUMAN))
        elif now[pks[id]].is_news(label, actor) or (pks[id], label) in suspects:
            said.append(Said(pks[id], EventKind.LABELLED, label, Origin.HUMAN, asked))
    return said


def check_fresh(
    snapshot: Snapshot,
    pks: Mapping[str, int],
    revisions: Mapping[str, int],
    labels: Mapping[int, Mapping[str, str | None]],
    actor: str,
) -> None:
    """Raise Stale where another person has said something else since a client saw a document.

    `labels` is what the `actor` is about to say, by field (pk) and document id. What the machine
    decided meanwhile does not matter, nor what the actor said, nor the same label of somebody else.
    Raises BadInput for the revision of a document that nothing is said of.
    """
    _check_named(pks, revisions)
    said: dict[str, LastWord] = {}
    for field_pk, own in labels.items():
        since = {pks[id]: revision for id, revision in revisions.items() if id in own}
        words = last_words(snapshot, field_pk, since)
        others = {id: word for id in own if (word := words.get(pks[id])) and word.actor != actor}
        labels_now: dict[str | None, str | None] = {None: None}
        for label in {own[id] for id in others} - {None}:
            labels_now[label] = label_meant(snapshot, field_pk, str(label))
        said |= {id: word for id, word in others.items() if not word.says(labels_now[own[id]])}
    for id, word in said.items():
        now = _revisions(snapshot, labels, {one: pks[one] for one in said})
        raise Stale(
            f"{word.actor} {word.told(id)} after revision {revisions[id]}, which this was meant "
            "for: read it again",
            {"revisions": now, "answers": {one: by.answer for one, by in said.items()}},
        )


def check_amendable(
    snapshot: Snapshot,
    fields: Mapping[str, int],
    pks: Mapping[str, int],
    changes: Mapping[str, Mapping[str, Any]],
    revisions: Mapping[str, int],
    actor: str,
) -> None:
    """Raise Stale where a client's changes of metadata, by document id, come too late.

    A label, under the name of one of the `fields` (name → pk), does as `check_fresh` says. Other
    metadata, and None, which refuses the label that a document shows, are meant for what was seen.
    """
    _check_named(pks, revisions)
    labels: dict[int, dict[str, str | None]] = {}
    shown: set[str] = set()
    for id in revisions:
        for name, value in changes[id].items():
            label = label_in(value) if name in fields else None
            if label is None:
                shown.add(id)
            else:
                labels.setdefault(fields[name], {})[id] = label
    now = _revisions(snapshot, fields.values(), {id: pks[id] for id in shown})
    moved = {id: revision for id, revision in now.items() if revision > revisions[id]}
    for id, revision in moved.items():
        raise Stale(
            f"document {id!r} is at revision {revision}, and this was meant for "
            f"{revisions[id]}: read it again",
            {"revisions": moved},
        )
    check_fresh(snapshot, pks, revisions, labels, actor)


def _check_named(pks: Mapping[str, int], revisions: Mapping[str, int]) -> None:
    if others := revisions.keys() - pks.keys():
        raise BadInput(f"there is a revision for {min(others)!r}, of which nothing is said")


def _revisions(
    snapshot: Snapshot, field_pks: Iterable[int], pks: Mapping[str, int]
) -> dict[str, int]:
    """Return the revisions that documents have now in these fields, by id."""
    table = schema.standing
    query = select(table.c.document_pk, table.c.revision)
    query = query.where(table.c.field_pk.in_(list(field_pks)))
    now: dict[int, int] = {}
    for row in snapshot.rows(query.where(one_of(table.c.document_pk, pks.values()))):
        now[row.document_pk] = max(row.revision, now.get(row.document_pk, 0))
    return {id: now.get(pk, 0) for id, pk in pks.items()}


def rejected(
    pks: Mapping[str, int], shown: Mapping[str, Document], labels: Mapping[str, str | None]
) -> list[Said]:
    """Return the lines of refusing labels by document id; None is the one that the document shows.

    Raises BadInput for a document that shows none.
    """
    said = []
    for id, label in labels.items():
        standing = shown[id].standing
        refused = label or standing.label or standing.suggestion or standing.decision.runner_up
        if refused is None:
            raise BadInput(f"document {id!r} has no label and no suggestion to reject")
        said.append(Said(pks[id], EventKind.REJECTED, check_label(refused), Origin.HUMAN))
    return said
