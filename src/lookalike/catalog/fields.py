"""The label fields of collections as rows, with the embedding spaces they need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, select

from lookalike.catalog.label_names import naming_of, owner_of
from lookalike.classifier.graph.search import Ids
from lookalike.errors import Conflict
from lookalike.model import Taxonomy
from lookalike.stores import schema
from lookalike.stores.base import (
    Snapshot,
    StoredSpace,
    conditions,
    is_current_space,
    members_from,
    stored_space,
)


@dataclass(frozen=True, slots=True)
class StoredField:
    """A label field in the store, with the spaces of its documents and of its references.

    `since` is the operation that switched to the space; None for the first one. Everything computed
    for the field before that is invalid, even if the same space was used before.
    """

    pk: int
    collection_pk: int
    taxonomy: Taxonomy
    reference_field_pk: int
    space: StoredSpace
    reference_space: StoredSpace
    since: int | None = None

    @property
    def unified(self) -> bool:
        """Return whether the field's references are its own documents."""
        return self.pk == self.reference_field_pk


def taxonomy_to(taxonomy: Taxonomy) -> dict[str, Any]:
    """Return a taxonomy as JSON values; `taxonomy_from` reads them."""
    return asdict(taxonomy) | {"enrich": list(taxonomy.enrich), "targets": dict(taxonomy.targets)}


def taxonomy_from(stored: Mapping[str, Any]) -> Taxonomy:
    """Return the taxonomy that `taxonomy_to` wrote."""
    return Taxonomy(**{**stored, "enrich": tuple(stored["enrich"])})


def taxonomy_after(
    first: Mapping[str, Any], changes: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return a taxonomy after changes (`before`, `after`) that are not undone (JSON values).

    The last change of the rule gives the rule. Whether the label set is closed is separate:
    reopening a set does not change the rule, and undoing a rule neither opens nor closes a set.
    """
    rule, closed, version = first, first.get("closed_set", False), first["version"]
    for change in changes:
        before, after = change["before"], change["after"]
        version = after["version"]
        if before.get("closed_set", False) != after.get("closed_set", False):
            closed = after["closed_set"]
        if _rule_alone(before) != _rule_alone(after):
            rule = after
    return {**rule, "closed_set": closed, "version": version}


def _rule_alone(taxonomy: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in taxonomy.items() if name not in ("closed_set", "version")
    }


def space_of(snapshot: Snapshot, collection_pk: int) -> StoredSpace:
    """Return the current space of a collection's documents. Raises Conflict before the first."""
    space = space_in_force(snapshot, collection_pk)
    if space is None:
        raise _no_documents()
    return space


def space_in_force(snapshot: Snapshot, collection_pk: int) -> StoredSpace | None:
    """Return the current space of a collection's documents; None before the first."""
    table = schema.space
    rows = snapshot.rows(select(table).where(is_current_space(table, collection_pk)))
    return stored_space(rows[0]) if rows else None


def current_space_since(snapshot: Snapshot, field_pk: int) -> int:
    """Return the operation that switched a field to its current space; 0 for the first."""
    table, space = schema.field, schema.space
    query = select(space.c.since).join(table, is_current_space(space, table.c.collection_pk))
    rows = snapshot.rows(query.where(table.c.pk == field_pk))
    return (rows[0].since or 0) if rows else 0


def has_space(snapshot: Snapshot, field_pk: int) -> bool:
    """Return whether the collection of a field has a space; without one nothing is decided."""
    table = schema.field
    row = snapshot.rows(select(table.c.collection_pk).where(table.c.pk == field_pk))[0]
    return space_in_force(snapshot, row.collection_pk) is not None


def placed(snapshot: Snapshot, space: StoredSpace, pks: Ids) -> NDArray[np.bool_]:
    """Return which of the documents have a vector in a space: bool (n,), in their order.

    A document has none if its extraction failed, or if no part in that space matches it.
    """
    table = schema.embedding
    query = select(table.c.document_pk).where(table.c.space_pk == space.pk)
    chosen = conditions(table.c.document_pk, pks)
    there = [row.document_pk for one in chosen for row in snapshot.rows(query.where(one))]
    return np.isin(pks, there)


def stored_field(snapshot: Snapshot, field_pk: int) -> StoredField:
    """Return a field with its taxonomy and both spaces.

    Raises Conflict if the reference collection uses another space.
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
    return StoredField(
        row.pk,
        row.collection_pk,
        _as_named(snapshot, field_pk, taxonomy_from(row.taxonomy)),
        row.reference_field_pk,
        space,
        reference_space,
        row.since,
    )


def _as_named(snapshot: Snapshot, field_pk: int, taxonomy: Taxonomy) -> Taxonomy:
    """Return a taxonomy with its targets under the current label names."""
    if not taxonomy.targets:
        return taxonomy
    naming = naming_of(snapshot, owner_of(snapshot, field_pk))
    named = {naming.resolve_one(label): target for label, target in taxonomy.targets.items()}
    own = {label: target for label, target in taxonomy.targets.items() if label in named}
    return replace(taxonomy, targets=named | own)


def dependents(snapshot: Snapshot, field_pk: int) -> list[int]:
    """Return the fields that are decided by the labels of this one, and that have a space."""
    table, space = schema.field, schema.space
    query = (
        select(table.c.pk)
        .join(space, is_current_space(space, table.c.collection_pk))
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
        .add_columns(own.c.name.label("space"), own.c.dimension, own.c.generation)
        .add_columns(own.c.members, own.c.since)
        .add_columns(its.c.pk.label("its"), its.c.name.label("its_space"))
        .add_columns(
            its.c.dimension.label("its_dimension"), its.c.generation.label("its_generation")
        )
        .add_columns(its.c.members.label("its_members"))
        .join(reference, reference.c.pk == table.c.reference_field_pk)
        .outerjoin(own, is_current_space(own, table.c.collection_pk))
        .outerjoin(its, is_current_space(its, reference.c.collection_pk))
    )


def _no_documents() -> Conflict:
    return Conflict("the collection has no documents yet; add some first")
