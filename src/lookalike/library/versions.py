"""Versions of a label field: named points in its event log, and how two of them differ.

A version stores no labels: it names a point, and the state there is computed from the event log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, update

from lookalike.catalog.fields import taxonomy_from
from lookalike.catalog.reader import FieldRow, ids_of
from lookalike.catalog.resources import CollectionRow
from lookalike.decisions.as_of import check_name
from lookalike.decisions.operations import Running
from lookalike.errors import Conflict, NotFound
from lookalike.model import Origin, Taxonomy
from lookalike.stores import schema
from lookalike.stores.base import Readable, Snapshot

_MACHINE = (None, Origin.AUTO)
_POLICY = tuple(
    one.name for one in fields(Taxonomy) if one.name not in ("field", "version", "taxonomy")
)


@dataclass(frozen=True, slots=True)
class Version:
    """A named point in the event log of a label field: its state just after `operation`.

    `taxonomy_version` is the number of the policy that made the decisions of that time. A retired
    version is hidden from lists and still readable.
    """

    name: str
    field: str
    operation: str
    at: datetime
    actor: str
    note: str
    taxonomy_version: int
    retired_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ReferenceChanges:
    """The ids of documents that became references of one label, or stopped being one."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a label field differs between two points, the operations `before` and `after`.

    `labels_added` and `labels_gone` are labels of documents. `references` are those added or
    removed, by label; `relabelled` are references with another label, by id. `decisions` are the
    automatic labels that differ, by id, of documents decided automatically at both points;
    `arrived` counts the documents added in between. `policy` has the settings that differ. All
    pairs are (before, after).
    """

    field: str
    before: str
    after: str
    labels_added: tuple[str, ...]
    labels_gone: tuple[str, ...]
    references: Mapping[str, ReferenceChanges]
    relabelled: Mapping[str, tuple[str, str]]
    decisions: Mapping[str, tuple[str | None, str | None]]
    arrived: int
    policy: Mapping[str, tuple[Any, Any]]


def keep(
    running: Running, collection: CollectionRow, field: FieldRow, name: str, note: str
) -> None:
    """Name the point just after an operation. Raises BadInput, Conflict for a name in use."""
    check_name(name)
    known = _rows(running.txn, collection, name)
    if known:
        retired = " (retired)" if known[0].retired_at is not None else ""
        raise Conflict(
            f"{collection.name!r} already has a version {name!r}{retired}; choose another name"
        )
    running.txn.insert_one(
        schema.version, field_pk=field.pk, operation_pk=running.pk, name=name, note=note
    )
    running.details |= {"version": name, "taxonomy_version": field.taxonomy.version}


def retire(running: Running, collection: CollectionRow, name: str) -> None:
    """Hide a version from lists. Raises NotFound, and Conflict for one that is already retired."""
    table = schema.version
    row = _found(running.txn, collection, name)
    if row.retired_at is not None:
        raise Conflict(f"the version {name!r} is already retired; you can still read it")
    chosen = update(table).where(table.c.pk == row.pk)
    running.txn.execute(chosen.values(retired_at=running.at))
    running.details["version"] = name


def listed(
    snapshot: Snapshot, collection: CollectionRow, field: FieldRow | None, *, retired: bool
) -> list[Version]:
    """Return the versions of a field, or of all, newest first; with `retired` also retired ones."""
    return [
        _version(row)
        for row in _rows(snapshot, collection)
        if (field is None or row.field_pk == field.pk) and (retired or row.retired_at is None)
    ]


def version_named(snapshot: Snapshot, collection: CollectionRow, name: str) -> Version:
    """Return a version, also a retired one. Raises NotFound."""
    return _version(_found(snapshot, collection, name))


@dataclass(frozen=True, slots=True)
class FieldAt:
    """The state of a field at one point, by the pks of documents.

    `references` are the labels of references, `decided` those of documents without a person's or
    imported label, `labels` all labels of documents.
    """

    operation: str
    references: Mapping[int, str]
    decided: Mapping[int, str | None]
    labels: frozenset[str]
    documents: frozenset[int]
    taxonomy: Taxonomy


def field_at(store: Readable, field: FieldRow, operation: str) -> FieldAt:
    """Return the state of a field in a store of now or of the past; `operation` names the point."""
    table, fields_ = schema.standing, schema.field
    query = select(table.c.document_pk, table.c.label, table.c.origin, table.c.answer)
    voting = select(table.c.document_pk, table.c.label).where(table.c.votes)
    with store.read() as snapshot:
        rows = snapshot.rows(query.where(table.c.field_pk == field.pk))
        references = snapshot.rows(voting.where(table.c.field_pk == field.reference_field_pk))
        (stored,) = snapshot.rows(select(fields_.c.taxonomy).where(fields_.c.pk == field.pk))
    return FieldAt(
        operation=operation,
        references={row.document_pk: row.label for row in references},
        decided={row.document_pk: row.label for row in rows if row.origin in _MACHINE},
        labels=frozenset(row.label for row in rows if row.label is not None),
        documents=frozenset(row.document_pk for row in rows),
        taxonomy=taxonomy_from(stored.taxonomy),
    )


def compare(snapshot: Snapshot, field: str, before: FieldAt, after: FieldAt) -> Comparison:
    """Return how two points differ; the current `snapshot` gives the ids of the documents."""
    changed = {
        pk: (label, after.decided[pk])
        for pk, label in before.decided.items()
        if pk in after.decided and after.decided[pk] != label
    }
    relabelled = {
        pk: (label, after.references[pk])
        for pk, label in before.references.items()
        if pk in after.references and after.references[pk] != label
    }
    added = after.references.keys() - before.references
    removed = before.references.keys() - after.references
    ids = ids_of(snapshot, {*changed, *relabelled, *added, *removed})
    return Comparison(
        field=field,
        before=before.operation,
        after=after.operation,
        labels_added=tuple(sorted(after.labels - before.labels)),
        labels_gone=tuple(sorted(before.labels - after.labels)),
        references=_by_label(ids, before, after, added, removed),
        relabelled={ids[pk]: pair for pk, pair in sorted(relabelled.items()) if pk in ids},
        decisions={ids[pk]: pair for pk, pair in sorted(changed.items()) if pk in ids},
        arrived=len(after.documents - before.documents),
        policy={
            name: (old, new)
            for name in _POLICY
            if (old := getattr(before.taxonomy, name)) != (new := getattr(after.taxonomy, name))
        },
    )


def _by_label(
    ids: Mapping[int, str], before: FieldAt, after: FieldAt, added: set[int], removed: set[int]
) -> dict[str, ReferenceChanges]:
    changes: dict[str, tuple[list[str], list[str]]] = {}
    for place, (pks, labels) in enumerate(
        ((added, after.references), (removed, before.references))
    ):
        for pk in sorted(pks & ids.keys()):
            changes.setdefault(labels[pk], ([], []))[place].append(ids[pk])
    return {
        label: ReferenceChanges(tuple(new), tuple(gone))
        for label, (new, gone) in sorted(changes.items())
    }


def _rows(snapshot: Snapshot, collection: CollectionRow, name: str | None = None) -> Sequence[Any]:
    version, operation, field = schema.version, schema.operation, schema.field
    query = (
        select(version, operation.c.id, operation.c.actor, operation.c.at, operation.c.summary)
        .add_columns(field.c.name.label("field"))
        .join(operation, operation.c.pk == version.c.operation_pk)
        .join(field, field.c.pk == version.c.field_pk)
        .where(field.c.collection_pk == collection.pk)
        .order_by(version.c.operation_pk.desc())
    )
    return snapshot.rows(query if name is None else query.where(version.c.name == name))


def _found(snapshot: Snapshot, collection: CollectionRow, name: str) -> Any:
    rows = _rows(snapshot, collection, name)
    if not rows:
        known = [row.name for row in _rows(snapshot, collection) if row.retired_at is None]
        raise NotFound.named(f"version of {collection.name!r}", name, known)
    return rows[0]


def _version(row: Any) -> Version:
    return Version(
        name=row.name,
        field=row.field,
        operation=row.id,
        at=_time(row.at),
        actor=row.actor,
        note=row.note,
        taxonomy_version=row.summary.get("taxonomy_version", 0),
        retired_at=None if row.retired_at is None else _time(row.retired_at),
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
