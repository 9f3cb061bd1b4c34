"""What the names of fields mean in a bucket.

```
object_id key key_prefix name size_bytes    of the object; key and key_prefix are one
created_at                                  when it came
status                                      PENDING, PROCESSING, FAILED or COMPLETED: where one
                                            collection still waits, or failed, that is what it says
<name>, metadata.<name>                     its metadata
```
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, select

from lookalike.catalog.filter_sql import (
    ChoiceValue,
    Clause,
    ColumnValue,
    JsonValue,
    StoredValue,
    TimeValue,
)
from lookalike.model import Status
from lookalike.stores import schema

_WORST_FIRST = (Status.PENDING, Status.PROCESSING, Status.FAILED)


class ObjectValues:
    """The values of the objects of one bucket."""

    def __init__(self, bucket_pk: int) -> None:
        self._pk = bucket_pk

    @property
    def scope(self) -> str:
        """What tells the objects from those of other buckets."""
        return f"objects of {self._pk}"

    def value_of(self, name: str) -> StoredValue:
        """Return what a name stands for."""
        known = self._own.get(name)
        if known is not None:
            return known
        return JsonValue(schema.object_.c.metadata, name.removeprefix("metadata."))

    def query(self, values: Sequence[StoredValue]) -> tuple[Select[Any], ColumnElement[int]]:
        """Return the statement that selects the pks of all objects, and the pk."""
        assert not any(value.needs for value in values), "a value of another table"
        table = schema.object_.c
        return select(table.pk).where(table.bucket_pk == self._pk), table.pk

    @cached_property
    def _own(self) -> dict[str, StoredValue]:
        table = schema.object_.c
        return {
            "object_id": ColumnValue(table.id, "text"),
            "key": ColumnValue(table.key, "text"),
            "key_prefix": ColumnValue(table.key, "text"),
            "name": ColumnValue(table.name, "text"),
            "size_bytes": ColumnValue(table.size_bytes, "number"),
            "created_at": TimeValue(table.created_at),
            "status": ChoiceValue(_statuses()),
        }


def _statuses() -> dict[Any, Clause]:
    """Return where an object has which status; what is not among the extractions is done."""
    clauses: dict[Any, Clause] = {}
    worse: list[Clause] = []
    for status in _WORST_FIRST:
        here = _extracted(status)
        clauses[status.value] = and_(here, *(~clause for clause in worse))
        worse.append(here)
    clauses[Status.COMPLETED.value] = and_(*(~clause for clause in worse))
    return clauses


def _extracted(status: Status) -> Clause:
    table = schema.extraction.c
    chosen = select(table.object_pk).where(table.status == status.value)
    return chosen.where(table.object_pk == schema.object_.c.pk).exists()
