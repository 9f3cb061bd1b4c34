"""Short lists over HTTP, there as a whole: which rows a request asks for, and in which order."""

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
    Query(max_length=MAX_SEARCH_CHARACTERS, description="a text that is in a name, or beside it"),
]


def chosen(
    rows: Iterable[_Row],
    known: Sequence[str],
    told: Callable[[_Row], Mapping[str, Any]],
    body: ListBody | None,
    search: str | None = None,
) -> list[_Row]:
    """Return the rows that a request asks for, in the order that it asks for.

    `told` gives what can be filtered and sorted by, under the names that are `known`; what ends in
    `_at` is a time, in seconds. Raises BadInput for another name.
    """
    sort = sort_in(None, body)
    texts = [name for name in known if not _is_time(name)]
    tree = _timed(every([parse(body.filters if body else None), searched(texts, body, search)]))
    for name in sorted({*fields_in(tree), *([sort.field] if sort.field else [])}):
        if name.partition(".")[0] not in known:
            raise BadInput(f"this list knows no field {name!r} (known: {', '.join(known)})")
    if tree == EVERYTHING and sort == ARRIVAL:
        return list(rows)
    values = [(told(row), row) for row in rows]
    kept = [(said, row) for said, row in values if holds(tree, partial(reach, said))]
    if sort.field is not None:
        placed = [(reach(said, sort.field), row) for said, row in kept]
        placed.sort(key=lambda pair: _place(pair[0]), reverse=sort.descending)
        placed.sort(key=lambda pair: pair[0] is None)
        return [row for _, row in placed]
    return [row for _, row in kept]


def searched(names: Iterable[str], body: ListBody | None, search: str | None) -> Filter:
    """Return the filter that finds a text in any of the fields, as the query or the body asks.

    Raises BadInput for what can be in no text.
    """
    text = search or (body.search if body else None)
    if not text:
        return EVERYTHING
    parse({"field": "name", "operator": "contains", "value": text})
    fold = not (body and body.case_sensitive)
    can_be_asked = [name for name in names if is_field(name)]
    return some([Condition(name, Operator.CONTAINS, text, fold) for name in can_be_asked])


def resources_chosen(
    rows: Iterable[Any], kind: Kind, body: ListBody | None, search: str | None = None
) -> list[Any]:
    """Return the rows of named resources that a request asks for."""
    known = (f"{kind}_name", f"{kind}_id", "name", "description", "metadata", "created_at")

    def told(row: Any) -> dict[str, Any]:
        about = row.spec.get("about") or {}
        return {
            f"{kind}_name": row.name,
            f"{kind}_id": kind.prefix + row.name,
            "name": row.name,
            "description": about.get("description"),
            "metadata": about.get("metadata") or {},
            "created_at": row.created_at,
        }

    return chosen(rows, known, told, body, search)


def _timed(tree: Filter) -> Filter:
    """Return a filter that asks about times by their seconds."""
    match tree:
        case Every(parts):
            return Every(tuple(_timed(part) for part in parts))
        case Some(parts):
            return Some(tuple(_timed(part) for part in parts))
        case Not(part):
            return Not(_timed(part))
        case Condition(field, operator, value) if _is_time(field):
            if operator in _PRESENCE:
                return tree
            listed = value if isinstance(value, tuple) else (value,)
            seconds = tuple(None if one is None else seconds_of(one) for one in listed)
            return replace(tree, value=seconds if isinstance(value, tuple) else seconds[0])
        case _:
            return tree


def _is_time(name: str) -> bool:
    return name.endswith("_at")


def _place(value: Any) -> tuple[str, Any]:
    """Return what puts values of all kinds into one order: kinds apart, each in its own."""
    kind = kind_of(value)
    return kind or "", value if kind else 0
