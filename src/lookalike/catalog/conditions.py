"""Filters as a syntax tree, and what the tree means. Pure; `filters.py` reads them.

What a condition says of a field's value, in Python and in SQL alike:

- A field that is missing is null. `eq null` and `is_null` find what is null, `ne null` and `exists`
  what is not; a value of false turns `exists` and `is_null` round.
- Numbers compare with numbers, texts with texts, true and false with themselves; values of two
  kinds are never equal. `ne` and `nin` are the opposites of `eq` and `in`: they hold for null too.
- `gt gte lt lte` hold for numbers against a number, texts against a text (by code points).
- `contains` finds a text in a text, and a member in an array. `starts_with` and `ends_with` are for
  texts. Upper and lower case differ, unless a condition or a group around it says
  `"case_sensitive": false`: then these three take A–Z for a–z.
- A dot goes into nested values: `size.width`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Scalar = str | int | float | bool | None


class Operator(StrEnum):
    """What a condition asks of a value."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    IN = "in"
    NIN = "nin"
    CONTAINS = "contains"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"
    EXISTS = "exists"
    IS_NULL = "is_null"


ORDERS = {
    Operator.GT: operator.gt,
    Operator.GTE: operator.ge,
    Operator.LT: operator.lt,
    Operator.LTE: operator.le,
}
"""The operators that compare by size, and what they do; they work on columns as well."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One question about one field; `fold` takes upper case for lower case in parts of texts.

    `value` is a tuple for `in` and `nin`, a bool for `exists` and `is_null`, else a scalar.
    """

    field: str
    operator: Operator
    value: Any
    fold: bool = False


@dataclass(frozen=True, slots=True)
class Every:
    """Holds when all parts hold; without any, always."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """Holds when at least one part holds."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Holds when its part does not."""

    part: Filter


Filter = Condition | Every | Some | Not

EVERYTHING = Every(())
"""The filter that lets everything through."""


def holds(tree: Filter, get: Callable[[str], Any]) -> bool:
    """Return whether a filter holds where `get` gives the value of a field, None for none."""
    match tree:
        case Every(parts):
            return all(holds(part, get) for part in parts)
        case Some(parts):
            return any(holds(part, get) for part in parts)
        case Not(part):
            return not holds(part, get)
        case Condition():
            return _answer(tree, get(tree.field))


def fields_in(tree: Filter) -> frozenset[str]:
    """Return the names of all fields that a filter asks about."""
    return frozenset(condition.field for condition in conditions_in(tree))


def conditions_in(tree: Filter) -> Iterator[Condition]:
    """Yield the conditions of a filter, in the order in which they were written."""
    match tree:
        case Condition():
            yield tree
        case Not(part):
            yield from conditions_in(part)
        case Every(parts) | Some(parts):
            for part in parts:
                yield from conditions_in(part)


def every(parts: Sequence[Filter]) -> Filter:
    """Return the filter that holds when all parts hold: the part itself where there is one.

    Parts that let everything through fall away.
    """
    narrow = tuple(part for part in parts if part != EVERYTHING)
    return narrow[0] if len(narrow) == 1 else Every(narrow)


def some(parts: Sequence[Filter]) -> Filter:
    """Return the filter that holds when one part holds: the part itself where there is one."""
    return parts[0] if len(parts) == 1 else Some(tuple(parts))


def reach(values: Mapping[str, Any], path: str) -> Any:
    """Return what lies at a dotted path in nested values, None where there is nothing.

    >>> reach({"size": {"width": 3}}, "size.width")
    3
    """
    found: Any = values
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


_FOLDED = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def folded(text: str) -> str:
    """Return a text with a–z for A–Z, and nothing else changed: what every database does alike."""
    return text.translate(_FOLDED)


def kind_of(value: object) -> str | None:
    """Return `number`, `text` or `boolean`; None for what compares with nothing."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else None


def _answer(condition: Condition, value: Any) -> bool:
    wanted = condition.value
    match condition.operator:
        case Operator.EQ:
            return _equal(value, wanted)
        case Operator.NE:
            return not _equal(value, wanted)
        case Operator.IN:
            return any(_equal(value, one) for one in wanted)
        case Operator.NIN:
            return not any(_equal(value, one) for one in wanted)
        case Operator.EXISTS:
            return _is_null(value) is not wanted
        case Operator.IS_NULL:
            return _is_null(value) is wanted
        case Operator.CONTAINS if isinstance(value, Sequence) and not isinstance(value, str):
            return any(_equal(one, wanted) for one in value)
        case Operator.CONTAINS | Operator.STARTS_WITH | Operator.ENDS_WITH:
            return _has_part(condition, value)
        case _:
            alike = kind_of(value) == kind_of(wanted)
            return alike and bool(ORDERS[condition.operator](value, wanted))


def _equal(value: Any, wanted: Scalar) -> bool:
    if wanted is None:
        return _is_null(value)
    return kind_of(value) == kind_of(wanted) and bool(value == wanted)


def _is_null(value: Any) -> bool:
    return value is None or value != value


def _has_part(condition: Condition, value: Any) -> bool:
    if not isinstance(value, str) or not isinstance(condition.value, str):
        return False
    text, part = value, condition.value
    if condition.fold:
        text, part = folded(text), folded(part)
    match condition.operator:
        case Operator.STARTS_WITH:
            return text.startswith(part)
        case Operator.ENDS_WITH:
            return text.endswith(part)
        case _:
            return part in text
