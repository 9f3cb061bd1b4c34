"""Versions of a label field: named points in its ledger, and how two of them differ.

A version holds nothing: it names a point, and what was there then is folded from the ledger.
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
_RULE = tuple(
    one.name for one in fields(Taxonomy) if one.name not in ("field", "version", "taxonomy")
)


@dataclass(frozen=True, slots=True)
class Version:
    """A named point in the ledger of a label field: what was so just after `operation`.

    `taxonomy_version` counts the rules that the field had had: what its decisions were made by. A
    version that is retired is not offered any more, and gives what it gave.
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
    """How the references of one label differ: ids of documents."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a label field differs between two points, `before` and `after`, operations both.

    `labels_added` and `labels_gone` are those that documents have. `references` are those that came
    or went, by label; `relabelled` those that vote for another label now, by id. `decisions` are
    the machine's labels that differ, by id, of documents that it decided at both points; `arrived`
    counts documents that came in between. `policy` is what the rule says otherwise. All pairs are
    (before, after).
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
        more = ", and is retired" if known[0].retired_at is not None else ""
        raise Conflict(
            f"{collection.name!r} has a version {name!r} already{more}; choose another name"
        )
    running.txn.insert_one(
        schema.version, field_pk=field.pk, operation_pk=running.pk, name=name, note=note
    )
    running.details |= {"version": name, "taxonomy_version": field.taxonomy.version}


def retire(running: Running, collection: CollectionRow, name: str) -> None:
    """Offer a version no more. Raises NotFound, and Conflict for one that is retired."""
    table = schema.version
    row = _found(running.txn, collection, name)
    if row.retired_at is not None:
        raise Conflict(f"the version {name!r} is retired already; it can still be asked for")
    chosen = update(table).where(table.c.pk == row.pk)
    running.txn.execute(chosen.values(retired_at=running.at))
    running.details["version"] = name


def listed(
    snapshot: Snapshot, collection: CollectionRow, field: FieldRow | None, *, retired: bool
) -> list[Version]:
    """Return the versions of a field, or of all, the newest first; those `retired` on request."""
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
    """A field at one point, as `compare` needs it: by the pk of the document.

    `decided` are the machine's labels, `labels` all there are.
    """

    operation: str
    votes: Mapping[int, str]
    decided: Mapping[int, str | None]
    labels: frozenset[str]
    documents: frozenset[int]
    taxonomy: Taxonomy


def side(store: Readable, field: FieldRow, operation: str) -> FieldAt:
    """Return a field as a store, of now or of the past, has it; `operation` names the point."""
    table, rule = schema.standing, schema.field
    query = select(table.c.document_pk, table.c.label, table.c.origin, table.c.answer)
    voting = select(table.c.document_pk, table.c.label).where(table.c.votes)
    with store.read() as snapshot:
        rows = snapshot.rows(query.where(table.c.field_pk == field.pk))
        votes = snapshot.rows(voting.where(table.c.field_pk == field.reference_field_pk))
        (stored,) = snapshot.rows(select(rule.c.taxonomy).where(rule.c.pk == field.pk))
    return FieldAt(
        operation=operation,
        votes={row.document_pk: row.label for row in votes},
        decided={row.document_pk: row.label for row in rows if row.origin in _MACHINE},
        labels=frozenset(row.label for row in rows if row.label is not None),
        documents=frozenset(row.document_pk for row in rows),
        taxonomy=taxonomy_from(stored.taxonomy),
    )


def compare(snapshot: Snapshot, field: str, before: FieldAt, after: FieldAt) -> Comparison:
    """Return how two points differ; `snapshot`, of now, names the documents."""
    changed = {
        pk: (label, after.decided[pk])
        for pk, label in before.decided.items()
        if pk in after.decided and after.decided[pk] != label
    }
    moved = {
        pk: (label, after.votes[pk])
        for pk, label in before.votes.items()
        if pk in after.votes and after.votes[pk] != label
    }
    came, went = after.votes.keys() - before.votes, before.votes.keys() - after.votes
    ids = ids_of(snapshot, {*changed, *moved, *came, *went})
    return Comparison(
        field=field,
        before=before.operation,
        after=after.operation,
        labels_added=tuple(sorted(after.labels - before.labels)),
        labels_gone=tuple(sorted(before.labels - after.labels)),
        references=_by_label(ids, before, after, came, went),
        relabelled={ids[pk]: pair for pk, pair in sorted(moved.items()) if pk in ids},
        decisions={ids[pk]: pair for pk, pair in sorted(changed.items()) if pk in ids},
        arrived=len(after.documents - before.documents),
        policy={
            name: (was, now)
            for name in _RULE
            if (was := getattr(before.taxonomy, name)) != (now := getattr(after.taxonomy, name))
        },
    )


def _by_label(
    ids: Mapping[int, str], before: FieldAt, after: FieldAt, came: set[int], went: set[int]
) -> dict[str, ReferenceChanges]:
    added: dict[str, list[str]] = {}
    removed: dict[str, list[str]] = {}
    for pks, votes, into in ((came, after.votes, added), (went, before.votes, removed)):
        for pk in sorted(pks & ids.keys()):
            into.setdefault(votes[pk], []).append(ids[pk])
    return {
        label: ReferenceChanges(tuple(added.get(label, ())), tuple(removed.get(label, ())))
        for label in sorted({*added, *removed})
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
