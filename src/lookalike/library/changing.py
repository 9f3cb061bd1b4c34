"""Changing the extractor: which collections, from which space to which, and whether that can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select

from lookalike.catalog.fields import space_in_force
from lookalike.catalog.reader import fields_of
from lookalike.catalog.resources import CollectionRow, Kind, collection_from, collection_row, named
from lookalike.catalog.spaces import make_beside, spaces_beside
from lookalike.content.pictures import kinds_named
from lookalike.errors import BadInput, Conflict
from lookalike.extractors.base import Extractor
from lookalike.extractors.registry import extractor_name, options_to_store
from lookalike.ingest.documents import Target
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Store, StoredSpace, Txn

Build = Callable[[str, Mapping[str, Any]], Extractor]
"""Returns the extractor of a name with its options."""

_BROUGHT = "passthrough"


@dataclass(frozen=True, slots=True)
class Change:
    """A collection as it is, what shall extract for it, and the space of that, which is beside.

    `before` is the space in force; None where the collection has no documents yet.
    """

    row: CollectionRow
    target: Target
    before: StoredSpace | None

    @property
    def pk(self) -> int:
        """Return the collection's pk."""
        return self.row.pk

    @property
    def after(self) -> StoredSpace:
        """Return the space that the collection changes to."""
        return self.target.space


def changes_to(
    store: Store,
    build: Build,
    namespace: str,
    collections: Sequence[str],
    extractor: str,
    options: Mapping[str, Any] | None,
) -> list[Change]:
    """Return how collections change to an extractor; its space beside is made where it is new.

    Without `options` they are those that were in force with that extractor before, if it was.

    Raises NotFound for an unknown collection or extractor, BadInput where vectors are the user's
    own, Conflict where it is in force already, or where a collection that decides by the labels of
    another would be in another space than that one.
    """
    full = extractor_name(extractor)
    if not collections:
        raise BadInput("say which collection shall have another extractor")
    with store.write() as txn:
        rows = [
            collection_from(named(txn, namespace, Kind.COLLECTION, name))
            for name in dict.fromkeys(collections)
        ]
        _check_together(txn, rows, full)
        return [_change(build, txn, row, full, options) for row in rows]


def as_planned(snapshot: Snapshot, change: Change) -> bool:
    """Return whether a collection is still as it was when its change was planned."""
    row = collection_row(snapshot, change.pk)
    same = (row.extractor, row.options) == (change.row.extractor, change.row.options)
    return same and space_in_force(snapshot, change.pk) == change.before


# --- inside ---------------------------------------------------------------------------------------


def _change(
    build: Build,
    txn: Txn,
    row: CollectionRow,
    extractor: str,
    options: Mapping[str, Any] | None,
) -> Change:
    if _BROUGHT in (extractor, row.extractor):
        raise BadInput(
            f"vectors that you bring cannot be extracted again, from or to {row.name!r}: make a "
            "collection for the new ones, and import the labels into it by id"
        )
    known = [one for one in spaces_beside(txn, row.pk) if one.extractor == extractor]
    if options is None:
        options = known[-1].options if known else {}
    options = options_to_store(extractor, options)
    built = build(extractor, options)
    _check_reads(build(row.extractor, row.options), row, extractor, built.accepts)
    before = space_in_force(txn, row.pk)
    if before is not None and before.name == built.space.name:
        raise Conflict(
            f"the collection {row.name!r} is in {before.name} already: there is nothing to "
            "extract anew; other options that leave the space as it is need another collection"
        )
    maker = {"extractor": extractor, "options": options}
    after = make_beside(txn, row.pk, built.space, maker)
    fields = {field.name: field.pk for field in fields_of(txn, row.pk)}
    new = replace(row, extractor=extractor, options=options)
    return Change(row, Target(new, fields, built, after), before)


def _check_reads(
    before: Extractor, row: CollectionRow, extractor: str, accepts: frozenset[str]
) -> None:
    """Raise BadInput for an extractor that reads nothing of what the one in force reads."""
    if not before.accepts & accepts:
        raise BadInput(
            f"{extractor!r} reads {' and '.join(kinds_named(accepts))}, and {row.name!r} holds "
            f"{' and '.join(kinds_named(before.accepts))}: make another collection for that"
        )


def _check_together(snapshot: Snapshot, rows: Sequence[CollectionRow], extractor: str) -> None:
    """Raise Conflict where one of a pair would be in a space of its own."""
    table, referred = schema.field, schema.field.alias()
    query = select(table.c.collection_pk, referred.c.collection_pk.label("reference_pk")).join(
        referred, referred.c.pk == table.c.reference_field_pk
    )
    pairs = [(one.collection_pk, one.reference_pk) for one in snapshot.rows(query)]
    asked = {row.pk for row in rows}
    linked = set(asked)
    while more := {pk for pair in pairs if linked & {*pair} for pk in pair} - linked:
        linked |= more
    if linked == asked:
        return
    names = [row.name for row in rows]
    others = sorted(collection_row(snapshot, pk).name for pk in linked - asked)
    raise Conflict(
        f"the labels of {', '.join(map(repr, names))} and {', '.join(map(repr, others))} decide "
        "each other, so they must be in one space; migrate them together: "
        f"lookalike migrate {' '.join([*names, *others])} --extractor {extractor}"
    )
