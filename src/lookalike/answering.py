"""What a person says of documents, made into lines of the ledger."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import select

from lookalike.errors import BadInput, Stale
from lookalike.labels import check_label
from lookalike.lookup import stances, suspects_of
from lookalike.model import Document, EventKind, Origin
from lookalike.operations import Said
from lookalike.stores import schema
from lookalike.stores.base import Snapshot
from lookalike.stores.selection import one_of
from lookalike.vocabulary import check_in_use


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
    field_pks: Collection[int],
    pks: Mapping[str, int],
    revisions: Mapping[str, int],
) -> None:
    """Raise Stale where documents have changed in these fields since a client saw them.

    Raises BadInput for the revision of a document that nothing is said of.
    """
    if others := revisions.keys() - pks.keys():
        raise BadInput(f"there is a revision for {min(others)!r}, of which nothing is said")
    if not revisions:
        return
    table = schema.standing
    query = select(table.c.document_pk, table.c.revision).where(table.c.field_pk.in_(field_pks))
    now: dict[int, int] = {}
    for row in snapshot.rows(query.where(one_of(table.c.document_pk, pks.values()))):
        now[row.document_pk] = max(row.revision, now.get(row.document_pk, 0))
    moved = {
        id: now.get(pks[id], 0) for id, seen in revisions.items() if now.get(pks[id], 0) > seen
    }
    for id, revision in moved.items():
        raise Stale(
            f"document {id!r} is at revision {revision}, and this was meant for "
            f"{revisions[id]}: read it again",
            {"revisions": moved},
        )


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
