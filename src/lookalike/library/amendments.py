"""What was said of the metadata of objects: kept by operation, so that it can be taken back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn
from lookalike.stores.selection import one_of


@dataclass(slots=True)
class Amended:
    """What stands for an object now: `values` by key, and who said them; `gone` keys have none."""

    values: dict[str, Any] = field(default_factory=dict)
    actors: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)


def record_amendments(
    txn: Txn,
    operation_pk: int,
    before: Mapping[int, Mapping[str, Any]],
    changes: Mapping[int, Mapping[str, Any]],
) -> None:
    """Record what an operation says of objects by pk, whose metadata were `before`."""
    rows = [
        {
            "operation_pk": operation_pk,
            "object_pk": pk,
            "before": {name: before[pk][name] for name in said if name in before[pk]},
            "after": dict(said),
        }
        for pk, said in changes.items()
        if pk in before
    ]
    txn.insert(schema.amendment, rows)


def standing_after(snapshot: Snapshot, operations: Sequence[int]) -> dict[int, Amended]:
    """Return what stands for the objects that operations amended, now that some are undone.

    A key has what the last operation in force said of it; where none is, what it had before all.
    """
    amendment, operation = schema.amendment, schema.operation
    touched = select(amendment.c.object_pk, amendment.c.after)
    keys: dict[int, set[str]] = {}
    for row in snapshot.rows(touched.where(one_of(amendment.c.operation_pk, operations))):
        keys.setdefault(row.object_pk, set()).update(row.after)
    history = (
        select(amendment, operation.c.actor, operation.c.undone_by)
        .join(operation, operation.c.pk == amendment.c.operation_pk)
        .order_by(amendment.c.pk)
    )
    said: dict[int, list[Any]] = {}
    for row in snapshot.rows(history.where(one_of(amendment.c.object_pk, keys))):
        said.setdefault(row.object_pk, []).append(row)
    return {pk: _standing(names, said[pk]) for pk, names in keys.items()}


def _standing(names: Iterable[str], history: Sequence[Any]) -> Amended:
    standing = Amended()
    for name in names:
        rows = [row for row in history if name in row.after]
        in_force = [row for row in rows if row.undone_by is None]
        if in_force:
            standing.values[name] = in_force[-1].after[name]
            standing.actors[name] = in_force[-1].actor
        elif name in rows[0].before:
            standing.values[name] = rows[0].before[name]
        else:
            standing.gone.add(name)
    return standing
