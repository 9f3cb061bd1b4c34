"""From what users call documents to the store's rows."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from lookalike.errors import NotFound
from lookalike.stores import schema
from lookalike.stores.base import Snapshot
from lookalike.workshop import CollectionRow

_IN_LIST = 5000


def pks_of(snapshot: Snapshot, collection: CollectionRow, ids: Sequence[str]) -> dict[str, int]:
    """Return pks by document id, in the order asked. Raises NotFound naming the unknown ones."""
    table = schema.document
    found: dict[str, int] = {}
    for start in range(0, len(ids), _IN_LIST):
        chosen = table.c.id.in_(ids[start : start + _IN_LIST])
        query = select(table.c.id, table.c.pk)
        rows = snapshot.rows(query.where(table.c.collection_pk == collection.pk, chosen))
        found |= {row.id: row.pk for row in rows}
    unknown = [id for id in ids if id not in found]
    if unknown:
        names = ", ".join(repr(id) for id in unknown[:5]) + (" …" if len(unknown) > 5 else "")
        raise NotFound(
            f"the collection {collection.name!r} has no document {names}; "
            "see its ids with `lookalike export`"
        )
    return {id: found[id] for id in ids}


def standing_labels(
    snapshot: Snapshot, field_pk: int, pks: Sequence[int]
) -> dict[int, tuple[str | None, str | None]]:
    """Return label and origin of documents in a field, by pk."""
    table = schema.standing
    found: dict[int, tuple[str | None, str | None]] = {}
    for start in range(0, len(pks), _IN_LIST):
        chosen = table.c.document_pk.in_(pks[start : start + _IN_LIST])
        query = select(table.c.document_pk, table.c.label, table.c.origin)
        for row in snapshot.rows(query.where(table.c.field_pk == field_pk, chosen)):
            found[row.document_pk] = (row.label, row.origin)
    return found
