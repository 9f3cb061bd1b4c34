"""The label fields of collections, as rows: reading them with the spaces they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from sqlalchemy import Select, select

from lookalike.errors import Conflict
from lookalike.model import Taxonomy
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, StoredSpace, members_from


@dataclass(frozen=True, slots=True)
class StoredField:
    """A label field as the store holds it, with the spaces its documents and references are in."""

    pk: int
    collection_pk: int
    taxonomy: Taxonomy
    reference_field_pk: int
    space: StoredSpace
    reference_space: StoredSpace

    @property
    def unified(self) -> bool:
        """Return whether the field's own labels vote."""
        return self.pk == self.reference_field_pk


def taxonomy_to(taxonomy: Taxonomy) -> dict[str, Any]:
    """Return a taxonomy as JSON values; `taxonomy_from` reads them back."""
    return asdict(taxonomy) | {"enrich": list(taxonomy.enrich), "targets": dict(taxonomy.targets)}


def taxonomy_from(stored: Mapping[str, Any]) -> Taxonomy:
    """Return the taxonomy that `taxonomy_to` wrote."""
    return Taxonomy(**{**stored, "enrich": tuple(stored["enrich"])})


def space_of(snapshot: Snapshot, collection_pk: int) -> StoredSpace:
    """Return the space that a collection's documents are in. Raises Conflict before the first."""
    space = _space(snapshot, collection_pk)
    if space is None:
        raise _no_documents()
    return space


def has_space(snapshot: Snapshot, field_pk: int) -> bool:
    """Return whether the collection of a field has a space: before, there is nothing to decide."""
    table = schema.field
    row = snapshot.rows(select(table.c.collection_pk).where(table.c.pk == field_pk))[0]
    return _space(snapshot, row.collection_pk) is not None


def stored_field(snapshot: Snapshot, field_pk: int) -> StoredField:
    """Return a field with its taxonomy and both spaces.

    Raises Conflict when the collection that it refers to lives in another space.
    """
    (row,) = snapshot.rows(_fields_with_spaces().where(schema.field.c.pk == field_pk))
    if row.own is None:
        raise _no_documents()
    members = members_from(row.members)
    space = StoredSpace(row.own, row.space, row.dimension, row.generation, members)
    reference_space = space
    if row.its is not None:
        one = (row.its, row.its_space, row.its_dimension, row.its_generation)
        reference_space = StoredSpace(*one, members_from(row.its_members))
    if space.name != reference_space.name:
        raise Conflict(
            f"the references are in space {reference_space.name}, the documents in {space.name}; "
            "vectors of two spaces cannot be compared: use one extractor for both"
        )
    taxonomy = taxonomy_from(row.taxonomy)
    return StoredField(
        row.pk, row.collection_pk, taxonomy, row.reference_field_pk, space, reference_space
    )


def dependents(snapshot: Snapshot, field_pk: int) -> list[int]:
    """Return the fields whose documents are decided by the labels of this one, if they have any."""
    table, space = schema.field, schema.space
    query = (
        select(table.c.pk)
        .join(space, space.c.collection_pk == table.c.collection_pk)
        .where(table.c.reference_field_pk == field_pk)
        .order_by(table.c.pk)
    )
    return [row.pk for row in snapshot.rows(query)]


@cache
def _fields_with_spaces() -> Select[Any]:
    table, reference = schema.field, schema.field.alias("reference")
    own, its = schema.space, schema.space.alias("its")
    return (
        select(table, own.c.pk.label("own"))
        .add_columns(own.c.name.label("space"), own.c.dimension, own.c.generation, own.c.members)
        .add_columns(its.c.pk.label("its"), its.c.name.label("its_space"))
        .add_columns(
            its.c.dimension.label("its_dimension"), its.c.generation.label("its_generation")
        )
        .add_columns(its.c.members.label("its_members"))
        .join(reference, reference.c.pk == table.c.reference_field_pk)
        .outerjoin(own, own.c.collection_pk == table.c.collection_pk)
        .outerjoin(its, its.c.collection_pk == reference.c.collection_pk)
    )


def _no_documents() -> Conflict:
    return Conflict("the collection has no documents yet; add some first")


def _space(snapshot: Snapshot, collection_pk: int) -> StoredSpace | None:
    table = schema.space
    rows = snapshot.rows(select(table).where(table.c.collection_pk == collection_pk))
    if not rows:
        return None
    row = rows[0]
    members = members_from(row.members)
    return StoredSpace(row.pk, row.name, row.dimension, row.generation, members)
