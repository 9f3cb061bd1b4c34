"""The filter language: two dialects, one syntax tree. Pure.

```
{"must": [...], "should": [...], "must_not": [...]}  of  {"key": …, "match": {operator, value}}
{"AND": [...], "OR": [...], "NOT": [...]}            of  {"field": …, "operator": …, "value": …}
```

The dialects can be nested and mixed. A condition may stand alone; a list means that all its parts
must hold; None, `{}` and an empty list select everything. Several groups in one object must all
hold: all of `must` and `AND`, one of `should`, one of `OR`, none of `must_not` and `NOT`.
`{"brand": "Acme"}` is short for `eq`, and so is `"match": "Acme"`; `"match": {"any": [...]}` is
`in`, `{"except": [...]}` is `nin`.

A group or a condition may have `case_sensitive`. The meaning of each operator is described below.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lookalike.errors import BadInput

# --- the syntax tree of a filter, and what it means ----------------------------------------------

# The meaning of a condition, the same in Python and in SQL:
#
# - A missing field is null. `eq null` and `is_null` match null; `ne null` and `exists` match all
#   other values; the value false inverts `exists` and `is_null`.
# - Numbers compare with numbers, texts with texts, booleans with booleans; values of two kinds are
#   never equal. `ne` and `nin` are the opposites of `eq` and `in`, so they match null, too.
# - `gt gte lt lte` compare a number with a number, or a text with a text (by code points).
# - `contains` matches a text in a text, or a member of an array. `starts_with` and `ends_with` are
#   for texts. Matching is case-sensitive unless the condition or a group around it has
#   `"case_sensitive": false`: then these three ignore the case of A–Z.
# - A dot addresses nested values: `size.width`.

Scalar = str | int | float | bool | None


class Operator(StrEnum):
    """The operators of conditions."""

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
    """A condition on one field; with `fold` parts of texts are matched without case.

    `value` is a tuple for `in` and `nin`, a bool for `exists` and `is_null`, else a scalar.
    """

    field: str
    operator: Operator
    value: Any
    fold: bool = False


@dataclass(frozen=True, slots=True)
class Every:
    """Holds if all parts hold, also without parts."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """Holds if at least one part holds."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Holds if its part does not."""

    part: Filter


Filter = Condition | Every | Some | Not

EVERYTHING = Every(())
"""The filter that selects everything."""


def holds(tree: Filter, get: Callable[[str], Any]) -> bool:
    """Return whether a filter holds; `get` gives the value of a field, None if there is none."""
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
    """Return the names of all fields in a filter."""
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
    """Return the filter that holds if all parts hold; a single part is returned as it is.

    Parts that select everything are left out.
    """
    narrow = tuple(part for part in parts if part != EVERYTHING)
    return narrow[0] if len(narrow) == 1 else Every(narrow)


def some(parts: Sequence[Filter]) -> Filter:
    """Return the filter that holds if one part holds; a single part is returned as it is."""
    return parts[0] if len(parts) == 1 else Some(tuple(parts))


def reach(values: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path in nested values, None if there is none.

    >>> reach({"size": {"width": 3}}, "size.width")
    3
    """
    found: Any = values
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


_FOLDED = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def folded(text: str) -> str:
    """Return a text with A–Z in lower case and nothing else changed, as every database does."""
    return text.translate(_FOLDED)


def kind_of(value: object) -> str | None:
    """Return `number`, `text` or `boolean`; None for values that cannot be compared."""
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


# -------------------------------------------------------------------------------------------------

MAX_DEPTH = 20
"""The maximum depth of nested groups."""

MAX_CONDITIONS = 1_000
"""The maximum number of conditions and groups in a filter."""

MAX_VALUES = 10_000
"""The maximum number of values in all lists of a filter together."""

MAX_FIELD_CHARACTERS = 300
"""The maximum length of a field name."""


def parse(raw: object) -> Filter:
    """Return the tree of a filter in either dialect, or in a mixture of both.

    Raises BadInput that names the unusable part and the allowed values.

    >>> parse({"must": [{"key": "size", "match": {"operator": "gt", "value": 3}}]})
    Condition(field='size', operator=<Operator.GT: 'gt'>, value=3, fold=False)
    """
    return _Parser().tree(raw)


def check_field(name: object) -> str:
    """Return the name of a field. Raises BadInput for an invalid name."""
    if not isinstance(name, str) or not name:
        raise BadInput(f"a field is named by a text, not {_shown(name)}")
    if len(name) > MAX_FIELD_CHARACTERS:
        raise BadInput(f"a field's name has at most {MAX_FIELD_CHARACTERS} characters")
    if not all(name.split(".")):
        raise BadInput(f"the field {name!r} has an empty part: write it like 'size.width'")
    if any(sign in name for sign in '"\\') or not _is_sound(name):
        raise BadInput(f"the field {name!r} has a quotation mark, backslash or invalid character")
    return name


def is_field(name: str) -> bool:
    """Return whether a text is a valid field name in a filter."""
    try:
        check_field(name)
    except BadInput:
        return False
    return True


_LISTS = frozenset({Operator.IN, Operator.NIN})
_TEXTS = frozenset({Operator.STARTS_WITH, Operator.ENDS_WITH})
_PRESENCE = frozenset({Operator.EXISTS, Operator.IS_NULL})


_ALL = ("must", "AND")
_ANY = ("should", "OR")
_NONE = ("must_not", "NOT")
_GROUPS = (*_ALL, *_ANY, *_NONE)
_CASE = "case_sensitive"
_NAMES = ("field", "key")
_CONDITION = (*_NAMES, "match", "operator", "value")
_MATCH = {"value": Operator.EQ, "any": Operator.IN, "except": Operator.NIN}
_ABSENT: Any = object()


@dataclass(slots=True)
class _Parser:
    """Parses one filter and counts its parts."""

    parts: int = field(default=0)
    values: int = field(default=0)

    def tree(self, raw: object, depth: int = 0, *, fold: bool = False) -> Filter:
        if raw is None:
            return EVERYTHING
        self._count()
        if isinstance(raw, list | tuple):
            return every(self._inside(raw, depth, fold=fold))
        if not isinstance(raw, Mapping):
            raise BadInput(f"a filter is an object or a list, not {_shown(raw)}")
        fold = _folding(raw, fold=fold)
        rest = {key: value for key, value in raw.items() if key != _CASE}
        if all(key in _GROUPS for key in rest):
            return self._group(rest, depth, fold=fold)
        if any(name in rest for name in _CONDITION):
            return self._condition(rest, fold=fold)
        return self._short(rest)

    def _group(self, raw: Mapping[str, Any], depth: int, *, fold: bool) -> Filter:
        parts: list[Filter] = []
        for name in _GROUPS:
            given = raw.get(name)
            if given is None:
                continue
            listed = given if isinstance(given, list | tuple) else [given]
            inside = self._inside(listed, depth, fold=fold)
            if not inside:
                continue
            if name in _ALL:
                parts += inside
            elif name in _ANY:
                parts.append(some(inside))
            else:
                parts.append(Not(some(inside)))
        return every(parts)

    def _inside(self, listed: Sequence[object], depth: int, *, fold: bool) -> list[Filter]:
        if depth >= MAX_DEPTH:
            raise BadInput(f"the filter is nested deeper than {MAX_DEPTH} levels: make it flatter")
        return [self.tree(one, depth + 1, fold=fold) for one in listed]

    def _condition(self, raw: Mapping[str, Any], *, fold: bool) -> Filter:
        _check_keys(raw, _CONDITION, "a condition")
        given = [raw[name] for name in _NAMES if name in raw]
        if len(given) != 1:
            raise BadInput("a condition names its field once: as 'field' or as 'key'")
        name = check_field(given[0])
        if "match" in raw:
            if "operator" in raw or "value" in raw:
                raise BadInput(f"the condition on {name!r} has 'match' and 'operator': give one")
            operator, value = _matched(name, raw["match"])
        else:
            operator, value = _operator(name, raw.get("operator")), raw.get("value", _ABSENT)
        return Condition(name, operator, self._value(name, operator, value), fold)

    def _short(self, raw: Mapping[str, Any]) -> Filter:
        """Parse `{"brand": "Acme"}`; a list or an object there is a misspelt group or operator."""
        for key, value in raw.items():
            if key in _GROUPS or not (value is None or kind_of(value)):
                unknown = next(one for one in raw if one not in _GROUPS)
                known = (*_GROUPS, _CASE, *_CONDITION)
                raise BadInput(f"a filter knows no {unknown!r} (known: {', '.join(known)})")
        parts = [
            Condition(check_field(key), Operator.EQ, self._value(key, Operator.EQ, value))
            for key, value in raw.items()
        ]
        return every(parts)

    def _value(self, name: str, operator: Operator, value: Any) -> Any:
        where = f"{operator.value} on {name!r}"
        if operator in _PRESENCE:
            if value is _ABSENT or value is None:
                return True
            if not isinstance(value, bool):
                raise BadInput(f"{where} takes true or false, not {_shown(value)}")
            return value
        if value is _ABSENT:
            raise BadInput(f"{where} has no value: give one; null is one")
        if operator in _LISTS:
            return self._listed(where, value)
        scalar = _scalar(where, value)
        if operator in ORDERS and kind_of(scalar) not in ("number", "text"):
            raise BadInput(f"{where} takes a number or a text, not {_shown(value)}")
        if operator in _TEXTS and kind_of(scalar) != "text":
            raise BadInput(f"{where} takes a text, not {_shown(value)}")
        if operator is Operator.CONTAINS and scalar is None:
            raise BadInput(f"{where} takes a text, a number, true or false, not null")
        return scalar

    def _listed(self, where: str, value: Any) -> tuple[Scalar, ...]:
        if not isinstance(value, list | tuple):
            raise BadInput(f"{where} takes a list, not {_shown(value)}")
        self.values += len(value)
        if self.values > MAX_VALUES:
            raise BadInput(f"the lists of the filter hold more than {MAX_VALUES:,} values")
        return tuple(_scalar(where, one) for one in value)

    def _count(self) -> None:
        self.parts += 1
        if self.parts > MAX_CONDITIONS:
            raise BadInput(f"the filter has more than {MAX_CONDITIONS:,} conditions and groups")


def _folding(raw: Mapping[str, Any], *, fold: bool) -> bool:
    """Return whether case is ignored from here on, by this group or an outer one."""
    given = raw.get(_CASE)
    if not isinstance(given, bool | None):
        raise BadInput(f"{_CASE} is true or false, not {_shown(given)}")
    return fold if given is None else not given


def _matched(name: str, match: object) -> tuple[Operator, Any]:
    if not isinstance(match, Mapping):
        return Operator.EQ, match
    known = ("operator", *_MATCH)
    _check_keys(match, known, f"the match of {name!r}")
    short = [key for key in match if key in _MATCH]
    if len(short) > 1 or ("operator" in match and any(key != "value" for key in short)):
        raise BadInput(f"the match of {name!r} has more than one key: {', '.join(match)}")
    if "operator" in match:
        return _operator(name, match["operator"]), match.get("value", _ABSENT)
    if not short:
        raise BadInput(f"the match of {name!r} is empty (known: {', '.join(known)})")
    return _MATCH[short[0]], match[short[0]]


def _operator(name: str, given: object) -> Operator:
    if given is None:
        return Operator.EQ
    if not isinstance(given, str) or given not in list(Operator):
        known = ", ".join(Operator)
        raise BadInput(f"no operator is named {_shown(given)}, on {name!r} (known: {known})")
    return Operator(given)


def _check_keys(raw: Mapping[str, Any], known: Iterable[str], what: str) -> None:
    listed = tuple(known)
    for key in raw:
        if key not in listed:
            raise BadInput(f"{what} knows no {_shown(key)} (known: {', '.join(listed)})")


def _scalar(where: str, value: object) -> Scalar:
    if isinstance(value, str):
        if not _is_sound(value):
            raise BadInput(f"{where}: {_shown(value)} has a character that cannot be stored")
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        value = float(value) if abs(value) < sys.float_info.max else math.inf
    if isinstance(value, float) and not math.isfinite(value):
        raise BadInput(f"{where} takes a finite number")
    if value is None or isinstance(value, bool | int | float):
        return value
    raise BadInput(f"{where} takes a text, a number, true, false or null, not {_shown(value)}")


def _is_sound(text: str) -> bool:
    """Return whether a text can be stored: no NUL and no lone surrogate."""
    return "\0" not in text and not any("\ud800" <= sign <= "\udfff" for sign in text)


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
