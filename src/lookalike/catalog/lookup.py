"""From what users call documents to the store's rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import select

from lookalike.catalog.resources import CollectionRow
from lookalike.classifier.calibration.decision_rule import standard_in_force
from lookalike.errors import NotFound
from lookalike.model import Origin
from lookalike.stores import schema
from lookalike.stores.base import Snapshot
from lookalike.stores.selection import one_of

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


def ids_of(snapshot: Snapshot, pks: Iterable[int]) -> dict[int, str]:
    """Return document ids by pk."""
    table = schema.document
    query = select(table.c.pk, table.c.id).where(one_of(table.c.pk, pks))
    return {row.pk: row.id for row in snapshot.rows(query)}


class Stance(NamedTuple):
    """What stands for a document in a field."""

    label: str | None
    origin: str | None
    suggestion: str | None
    actor: str | None
    contested: bool

    def is_news(self, label: str, actor: str) -> bool:
        """Return whether a person's label says something: another one, or another person's word.

        Of a contested document every word is one.
        """
        said = (self.label, self.origin, self.actor)
        return said != (label, Origin.HUMAN, actor) or self.contested


def suspects_of(snapshot: Snapshot, field_pk: int) -> set[tuple[int, str]]:
    """Return the references of a field that look wrong somewhere: document pk and label."""
    table = schema.field
    query = select(table.c.standard).where(table.c.reference_field_pk == field_pk)
    standards = [standard_in_force(row.standard) for row in snapshot.rows(query)]
    return {one for standard in standards if standard for one in standard.suspects}


def said_once(snapshot: Snapshot, field_pk: int, pks: Iterable[int]) -> set[tuple[int, str]]:
    """Return what has a label that nobody has confirmed: document pk and label."""
    table = schema.standing
    query = select(table.c.document_pk, table.c.label)
    query = query.where(table.c.label.is_not(None), table.c.confirmed.is_not(True))
    rows = snapshot.rows(
        query.where(table.c.field_pk == field_pk, one_of(table.c.document_pk, pks))
    )
    return {(row.document_pk, row.label) for row in rows}


def rejections(snapshot: Snapshot, field_pk: int, pks: Iterable[int]) -> set[tuple[int, str]]:
    """Return which labels documents were said not to have: document pk and label."""
    table = schema.rejection
    query = select(table.c.document_pk, table.c.label).where(table.c.field_pk == field_pk)
    rows = snapshot.rows(query.where(one_of(table.c.document_pk, pks)))
    return {(row.document_pk, row.label) for row in rows}


def stances(snapshot: Snapshot, field_pk: int, pks: Iterable[int]) -> dict[int, Stance]:
    """Return what stands for documents in a field, by pk."""
    table = schema.standing
    query = select(table.c.document_pk, table.c.label, table.c.origin, table.c.suggestion)
    query = query.add_columns(table.c.actor, table.c.contested)
    rows = snapshot.rows(
        query.where(table.c.field_pk == field_pk, one_of(table.c.document_pk, pks))
    )
    return {
        row.document_pk: Stance(
            row.label, row.origin, row.suggestion, row.actor, bool(row.contested)
        )
        for row in rows
    }
