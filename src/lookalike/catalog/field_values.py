"""Field names in filters and sorts of a collection, and the tables that hold their values.

```
document_id object_id collection_id file_name part     of the document
created_at                                             when its object was added
<field>, metadata.<field>                              of a label field: the current label
<name>, metadata.<name>                                other names: the document's metadata, and
                                                       what the taxonomy copies from the reference
taxonomy_match.<x>, taxonomy_match.<field>.<x>         the decision: matched, confidence and so on
labels.<field>.<x>                                     the label state in a label field
```

The decision is null if a person or an import gave the label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, and_, case, func, literal, select

from lookalike.catalog.filter_sql import (
    ChoiceValue,
    Clause,
    ColumnValue,
    JsonValue,
    StoredValue,
    TimeValue,
)
from lookalike.catalog.reader import FieldRow
from lookalike.errors import BadInput
from lookalike.model import Origin, Status
from lookalike.stores import schema

_MATCH = "taxonomy_match"
_LABELS = "labels"
_METADATA = "metadata."
_DOCUMENT, _OBJECT = "document", "object"
_DECIDED = {
    "confidence": "number",
    "margin": "number",
    "runner_up": "text",
    "reason": "text",
}
_SAID = {"label": "text", "origin": "text", "actor": "text", "answer": "text"}
_STOOD = _SAID | {"suggestion": "text", "revision": "number"}
_MATCH_NAMES = (*_DECIDED, "matched", "source_document_id")
_LABEL_NAMES = (*_MATCH_NAMES, *_STOOD, "is_reference")
_BY_MACHINE = (Origin.AUTO, Origin.PROMOTED)


class DocumentValues:
    """The values of the documents of one collection; `fields` are its label fields."""

    def __init__(self, pk: int, collection_id: str, fields: Sequence[FieldRow]) -> None:
        self._pk = pk
        self._collection_id = collection_id
        self._fields = {field.name: field for field in fields}
        self._order = {f"{_LABELS}.{field.name}": field for field in fields}
        self._standings = {name: schema.standing.alias() for name in self._order}
        self._sources = {name: schema.document.alias() for name in self._order}

    @property
    def scope(self) -> str:
        """Identifies the documents of this collection, in cursors."""
        return f"documents of {self._pk}"

    def value_of(self, name: str) -> StoredValue:
        """Return the value of a field name. Raises BadInput for an unknown part of a decision."""
        known = self._own.get(name)
        if known is not None:
            return known
        first, _, rest = name.partition(".")
        if first == _MATCH:
            return self._of_decision(name, rest)
        if first == _LABELS:
            return self._of_label(name, rest)
        return self._of_metadata(name.removeprefix(_METADATA))

    def query(self, values: Sequence[StoredValue]) -> tuple[Select[Any], ColumnElement[int]]:
        """Return the statement that selects the pks of all documents, and the pk column.

        The tables of `values` are joined; the query starts from a label field if one is needed.
        """
        needs = frozenset().union(*(value.needs for value in values))
        labels = [name for name in self._order if name in needs]
        document = schema.document
        if not labels:
            query = select(document.c.pk).where(document.c.collection_pk == self._pk)
            return query.select_from(self._with_object(document, needs)), document.c.pk
        first = self._standings[labels[0]]
        pk: ColumnElement[int] = first.c.document_pk
        tables: FromClause = first
        if needs & {_DOCUMENT, _OBJECT}:
            tables = self._with_object(tables.join(document, document.c.pk == pk), needs)
        for name in labels[1:]:
            tables = tables.join(self._standings[name], self._same(name, pk))
        for name in labels:
            if f"{name} source" in needs:
                source, standing = self._sources[name], self._standings[name]
                tables = tables.outerjoin(source, source.c.pk == standing.c.source_pk)
        query = select(pk.label("pk")).select_from(tables)
        return query.where(first.c.field_pk == self._order[labels[0]].pk), pk

    @cached_property
    def _own(self) -> Mapping[str, StoredValue]:
        document, object_ = schema.document.c, schema.object_.c
        here, there = frozenset({_DOCUMENT}), frozenset({_DOCUMENT, _OBJECT})
        return {
            "document_id": ColumnValue(document.id, "text", here),
            "object_id": ColumnValue(object_.id, "text", there),
            "collection_id": ColumnValue(literal(self._collection_id), "text"),
            "file_name": ColumnValue(document.file_name, "text", here),
            "part": ColumnValue(document.part, "text", here),
            "created_at": TimeValue(object_.created_at, there),
        }

    def _of_decision(self, name: str, rest: str) -> StoredValue:
        field, _, part = rest.rpartition(".")
        if not field and (rest in self._fields or not rest):
            field, part = rest, "matched"
        if not self._fields:
            raise BadInput(f"there is no {name!r}: the collection has no label field")
        return self._standing_value(name, field or next(iter(self._fields)), part, _MATCH_NAMES)

    def _of_label(self, name: str, rest: str) -> StoredValue:
        field, _, part = rest.rpartition(".")
        if not field:
            field, part = rest, "label"
        return self._standing_value(name, field, part, _LABEL_NAMES)

    def _standing_value(
        self, name: str, field: str, part: str, known: Sequence[str]
    ) -> StoredValue:
        if field not in self._fields:
            listed = ", ".join(self._fields) or "none yet"
            raise BadInput(f"{name!r} names no label field of the collection (known: {listed})")
        if part not in known:
            raise BadInput(f"{name!r} names no {part!r} (known: {', '.join(sorted(known))})")
        key = f"{_LABELS}.{field}"
        columns, needs = self._standings[key].c, frozenset({key})
        if part == "matched":
            # Most documents have a decision, so an index on origins would be slower.
            given = func.coalesce(columns.origin, "").in_(_BY_MACHINE)
            none = and_(columns.label.is_(None), columns.origin.is_(None))
            return ChoiceValue({True: given, False: none}, needs)
        if part == "is_reference":
            return ChoiceValue({True: columns.votes, False: ~columns.votes}, needs)
        if part == "source_document_id":
            return ColumnValue(self._sources[key].c.id, "text", needs | {f"{key} source"})
        return ColumnValue(columns[part], (_DECIDED | _STOOD)[part], needs)

    def _of_metadata(self, name: str) -> StoredValue:
        if name in self._fields:
            return self._standing_value(name, name, "label", _LABEL_NAMES)
        own, top = schema.document.c.metadata, name.partition(".")[0]
        here = frozenset({_DOCUMENT})
        for key, field in self._order.items():
            if top in field.taxonomy.enrich:
                there, standing = self._sources[key].c.metadata, self._standings[key]
                copied = and_(standing.c.label.is_not(None), ~JsonValue(there, top).is_absent())
                needs = here | {key, f"{key} source"}
                return JsonValue(case((copied, there), else_=own), name, needs)
        return JsonValue(own, name, here)

    def _with_object(self, tables: FromClause, needs: frozenset[str]) -> FromClause:
        object_ = schema.object_
        if _OBJECT not in needs:
            return tables
        return tables.join(object_, object_.c.pk == schema.document.c.object_pk)

    def _same(self, name: str, pk: ColumnElement[int]) -> ColumnElement[bool]:
        other = self._standings[name].c
        return and_(other.field_pk == self._order[name].pk, other.document_pk == pk)


# --- field names of buckets ----------------------------------------------------------------------

# ```
# object_id key key_prefix name size_bytes    of the object; key and key_prefix are the same
# created_at                                  when it was added
# status                                      PENDING, PROCESSING, FAILED or COMPLETED: the first
#                                             of these in any collection
# <name>, metadata.<name>                     its metadata
# ```

_WORST_FIRST = (Status.PENDING, Status.PROCESSING, Status.FAILED)


class ObjectValues:
    """The values of the objects of one bucket."""

    def __init__(self, bucket_pk: int) -> None:
        self._pk = bucket_pk

    @property
    def scope(self) -> str:
        """Identifies the objects of this bucket, in cursors."""
        return f"objects of {self._pk}"

    def value_of(self, name: str) -> StoredValue:
        """Return the value of a field name."""
        known = self._own.get(name)
        if known is not None:
            return known
        return JsonValue(schema.object_.c.metadata, name.removeprefix("metadata."))

    def query(self, values: Sequence[StoredValue]) -> tuple[Select[Any], ColumnElement[int]]:
        """Return the statement that selects the pks of all objects, and the pk column."""
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
    """Return the condition of each status; an object without an extraction row is completed."""
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
