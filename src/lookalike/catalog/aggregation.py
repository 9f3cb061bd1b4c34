"""Aggregation: count the values of a field, and sums, means and extremes by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Label, distinct, func, literal_column

from lookalike.catalog.filter_sql import StoredValue
from lookalike.catalog.filters import EVERYTHING, Filter, check_field
from lookalike.catalog.pages import Selecting, filtered
from lookalike.errors import BadInput

MAX_GROUPS = 10_000
"""The maximum number of groups in an answer."""

_FUNCTIONS = ("count", "sum", "avg", "min", "max", "count_distinct")


@dataclass(frozen=True, slots=True)
class Metric:
    """One number per group; `alias` names it. Only `count` needs no field.

    `sum`, `avg`, `min` and `max` use numbers and skip other values. Raises BadInput for another
    function, and for a missing field.
    """

    function: str
    alias: str
    field: str | None = None

    def __post_init__(self) -> None:
        if self.function not in _FUNCTIONS:
            known = ", ".join(_FUNCTIONS)
            raise BadInput(f"no function is named {self.function!r} (known: {known})")
        if self.field is None and self.function != "count":
            raise BadInput(f"{self.function!r} needs a field")
        if self.field is not None:
            check_field(self.field)


def distribution(
    selecting: Selecting, field: str, tree: Filter = EVERYTHING, *, limit: int = MAX_GROUPS
) -> list[tuple[Any, int]]:
    """Return the values of a field with their counts, most frequent first.

    Null is a value, too; `true` and 1 are different.
    """
    count = Metric("count", "count")
    groups = aggregate(selecting, [field], [count], tree, limit=limit)
    return [(group[field], group["count"]) for group in groups]


def aggregate(
    selecting: Selecting,
    group_by: Sequence[str],
    metrics: Sequence[Metric],
    tree: Filter = EVERYTHING,
    *,
    sort_by: str | None = None,
    descending: bool = True,
    limit: int = MAX_GROUPS,
) -> list[dict[str, Any]]:
    """Return one mapping for each combination of the values of `group_by`: fields and metrics.

    Sorted by a field of `group_by` or a metric's alias, by default the first metric. Without
    `group_by` there is one group. Raises BadInput for an unknown sort, a name that is used twice,
    or a limit outside 1…10,000.
    """
    _check(group_by, metrics, limit)
    values = selecting.values
    named = {name: values.value_of(name) for name in group_by}
    measured = {
        one.alias: None if one.field is None else values.value_of(one.field) for one in metrics
    }
    others = [*named.values(), *(value for value in measured.values() if value is not None)]
    query, pk = filtered(values, tree, others)
    cells = {name: _labelled(place, value) for place, (name, value) in enumerate(named.items())}
    numbers = {
        one.alias: _number(one, measured[one.alias], pk).label(f"m{place}")
        for place, one in enumerate(metrics)
    }
    flat = [cell for group in cells.values() for cell in group]
    query = query.with_only_columns(*flat, *numbers.values(), maintain_column_froms=True)
    if flat:
        query = query.group_by(*(literal_column(cell.name) for cell in flat))
    for key in (*_sort_keys(sort_by, cells, numbers, metrics), *flat):
        falls = descending and key not in flat
        query = query.order_by(key.desc().nulls_last() if falls else key.asc().nulls_first())
    return [_shown(row, named, metrics) for row in selecting.snapshot.rows(query.limit(limit))]


def _check(group_by: Sequence[str], metrics: Sequence[Metric], limit: int) -> None:
    names = [*group_by, *(one.alias for one in metrics)]
    if not metrics:
        raise BadInput("an aggregation needs a metric: count, for one")
    for name in group_by:
        check_field(name)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput(f"two columns of the answer are named {twice[0]!r}: give one another alias")
    if not 1 <= limit <= MAX_GROUPS:
        raise BadInput(f"an aggregation gives 1 to {MAX_GROUPS:,} groups, not {limit}")


def _labelled(place: int, value: StoredValue) -> tuple[Label[Any], ...]:
    return tuple(cell.label(f"g{place}_{at}") for at, cell in enumerate(value.groups()))


def _number(
    metric: Metric, value: StoredValue | None, pk: ColumnElement[int]
) -> ColumnElement[Any]:
    if value is None:
        return func.count(pk)
    match metric.function:
        case "count":
            return func.count(value.key())
        case "count_distinct":
            return func.count(distinct(value.key()))
        case function:
            named: ColumnElement[Any] = getattr(func, function)(value.number())
            return named


def _sort_keys(
    sort_by: str | None,
    cells: Mapping[str, tuple[Label[Any], ...]],
    numbers: Mapping[str, ColumnElement[Any]],
    metrics: Sequence[Metric],
) -> tuple[ColumnElement[Any], ...]:
    name = metrics[0].alias if sort_by is None else sort_by
    if name in numbers:
        return (numbers[name],)
    if name in cells:
        return (cells[name][-1],)
    known = ", ".join([*cells, *numbers])
    raise BadInput(f"groups cannot be sorted by {name!r} (known: {known})")


def _shown(row: Any, named: Mapping[str, StoredValue], metrics: Sequence[Metric]) -> dict[str, Any]:
    cells = list(row)
    shown: dict[str, Any] = {}
    for name, value in named.items():
        width = len(value.groups())
        shown[name], cells = value.shown(cells[:width]), cells[width:]
    return shown | {one.alias: cell for one, cell in zip(metrics, cells, strict=True)}
