"""Filter, search and sort short lists in memory, such as buckets, tasks and taxonomies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import Query

from lookalike.catalog.filter_sql import seconds_of
from lookalike.catalog.filters import (
    EVERYTHING,
    Condition,
    Every,
    Filter,
    Not,
    Operator,
    Some,
    every,
    fields_in,
    holds,
    is_field,
    kind_of,
    parse,
    reach,
    some,
)
from lookalike.catalog.pages import ARRIVAL
from lookalike.catalog.resources import Kind
from lookalike.errors import BadInput
from lookalike.server.replies import sort_in
from lookalike.server.shapes import MAX_SEARCH_CHARACTERS, ListBody

_Row = TypeVar("_Row")
_PRESENCE = (Operator.EXISTS, Operator.IS_NULL)

Search = Annotated[
    str | None,
    Query(
        max_length=MAX_SEARCH_CHARACTERS, description="only rows with this text in a name or text"
    ),
]


def select_rows(
    rows: Iterable[_Row],
    known: Sequence[str],
    values_of: Callable[[_Row], Mapping[str, Any]],
    body: ListBody | None,
    search: str | None = None,
) -> list[_Row]:
    """Return the rows that fit the filters and the search of a request, sorted as it says.

    `values_of` gives a row's values for filters and sorting, under the `known` names; names that
    end in `_at` are times in seconds. Raises BadInput for another name.
    """
    sort = sort_in(None, body)
    texts = [name for name in known if not _is_time(name)]
    tree = _in_seconds(
        every([parse(body.filters if body else None), searched(texts, body, search)])
    )
    for name in sorted({*fields_in(tree), *([sort.field] if sort.field else [])}):
        if name.partition(".")[0] not in known:
            raise BadInput(f"this list has no field {name!r} (known: {', '.join(known)})")
    if tree == EVERYTHING and sort == ARRIVAL:
        return list(rows)
    pairs = [(values_of(row), row) for row in rows]
    fitting = [(values, row) for values, row in pairs if holds(tree, partial(reach, values))]
    if sort.field is not None:
        keyed = [(reach(values, sort.field), row) for values, row in fitting]
        keyed.sort(key=lambda pair: _sort_key(pair[0]), reverse=sort.descending)
        keyed.sort(key=lambda pair: pair[0] is None)
        return [row for _, row in keyed]
    return [row for _, row in fitting]


def searched(names: Iterable[str], body: ListBody | None, search: str | None) -> Filter:
    """Return the filter for the search text of the query or the body: any of the fields has it.

    Raises BadInput for a text that no field can contain.
    """
    text = search or (body.search if body else None)
    if not text:
        return EVERYTHING
    parse({"field": "name", "operator": "contains", "value": text})
    fold = not (body and body.case_sensitive)
    return some(
        [Condition(name, Operator.CONTAINS, text, fold) for name in names if is_field(name)]
    )


def select_resources(
    rows: Iterable[Any], kind: Kind, body: ListBody | None, search: str | None = None
) -> list[Any]:
    """Return the rows of named resources that fit a request, as `select_rows` does."""
    known = (f"{kind}_name", f"{kind}_id", "name", "description", "metadata", "created_at")

    def values_of(row: Any) -> dict[str, Any]:
        about = row.spec.get("about") or {}
        return {
            f"{kind}_name": row.name,
            f"{kind}_id": kind.prefix + row.name,
            "name": row.name,
            "description": about.get("description"),
            "metadata": about.get("metadata") or {},
            "created_at": row.created_at,
        }

    return select_rows(rows, known, values_of, body, search)


def _in_seconds(tree: Filter) -> Filter:
    """Return a filter whose times are numbers of seconds."""
    match tree:
        case Every(parts):
            return Every(tuple(_in_seconds(part) for part in parts))
        case Some(parts):
            return Some(tuple(_in_seconds(part) for part in parts))
        case Not(part):
            return Not(_in_seconds(part))
        case Condition(field, operator, value) if _is_time(field):
            if operator in _PRESENCE:
                return tree
            values = value if isinstance(value, tuple) else (value,)
            seconds = tuple(None if one is None else seconds_of(one) for one in values)
            return replace(tree, value=seconds if isinstance(value, tuple) else seconds[0])
        case _:
            return tree


def _is_time(name: str) -> bool:
    return name.endswith("_at")


def _sort_key(value: Any) -> tuple[str, Any]:
    """Return a sort key for values of mixed types: by type, then by value."""
    kind = kind_of(value)
    return kind or "", value if kind else 0
