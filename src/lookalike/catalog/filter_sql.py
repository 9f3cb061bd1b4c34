"""SQL conditions for filters: the value of each field name, and the comparisons with it.

Every clause is true exactly where `filters.holds` is; elsewhere it is false or null, which `where`
treats alike.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Float, and_, case, cast, false, func, literal, null, or_, true

from lookalike.catalog.filters import (
    ORDERS,
    Condition,
    Every,
    Filter,
    Not,
    Operator,
    Some,
    folded,
    kind_of,
)
from lookalike.errors import BadInput
from lookalike.stores.json_sql import (
    has_member,
    json_key,
    json_kind,
    json_number,
    json_text,
    path_to,
)

Clause = ColumnElement[bool]

_CHAIN = 32
_NUMBERS = ("integer", "real")
_NO_NUMBER = cast(null(), Float)
_JSON_KINDS = {"number": _NUMBERS, "text": ("text",), "boolean": ("true", "false")}


class StoredValue(Protocol):
    """A value of each row that can be filtered, sorted and grouped by."""

    @property
    def needs(self) -> frozenset[str]:
        """The joined tables that hold the value."""
        ...

    def is_null(self) -> Clause:
        """Return the clause: there is no value."""
        ...

    def among(self, wanted: Sequence[Any]) -> Clause:
        """Return the clause: it equals one of the values, none of which is null."""
        ...

    def ordered(self, condition: Condition) -> Clause:
        """Return the clause: it compares with the condition's value by the operator."""
        ...

    def has_part(self, condition: Condition) -> Clause:
        """Return the clause: it contains, begins or ends with the condition's value."""
        ...

    def key(self) -> ColumnElement[Any]:
        """Return the sort key."""
        ...

    def number(self) -> ColumnElement[Any]:
        """Return the value if it is a number, else null."""
        ...

    def groups(self) -> tuple[ColumnElement[Any], ...]:
        """Return the columns that distinguish values; `shown` converts them."""
        ...

    def shown(self, cells: Sequence[Any]) -> Any:
        """Return the value for a row of `groups`."""
        ...


@dataclass(frozen=True, slots=True)
class ColumnValue:
    """A column with `text` or `number` values."""

    column: ColumnElement[Any]
    kind: str
    needs: frozenset[str] = frozenset()

    def is_null(self) -> Clause:
        """Return the clause: the column is null."""
        return self.column.is_(None)

    def among(self, wanted: Sequence[Any]) -> Clause:
        """Return the clause: the column equals one of the values of its kind."""
        return _one_of(self.column, [one for one in wanted if kind_of(one) == self.kind])

    def ordered(self, condition: Condition) -> Clause:
        """Return the clause: the column compares with a value of its kind."""
        if kind_of(condition.value) != self.kind:
            return false()
        return ORDERS[condition.operator](self.column, condition.value)  # type: ignore[no-any-return]

    def has_part(self, condition: Condition) -> Clause:
        """Return the clause: the text of the column has the part."""
        return text_part(self.column, condition) if self.kind == "text" else false()

    def key(self) -> ColumnElement[Any]:
        """Return the column."""
        return self.column

    def number(self) -> ColumnElement[Any]:
        """Return the column if it holds numbers, else null."""
        return self.column if self.kind == "number" else _NO_NUMBER

    def groups(self) -> tuple[ColumnElement[Any], ...]:
        """Return the column."""
        return (self.column,)

    def shown(self, cells: Sequence[Any]) -> Any:
        """Return the value of the column."""
        return cells[0]


@dataclass(frozen=True, slots=True)
class TimeValue:
    """Seconds since 1970, written as a date: `2026-01-31` or `2026-01-31T12:00:00Z`."""

    column: ColumnElement[Any]
    needs: frozenset[str] = frozenset()

    def is_null(self) -> Clause:
        """Return the clause: the time is null."""
        return self.column.is_(None)

    def among(self, wanted: Sequence[Any]) -> Clause:
        """Return the clause: the time equals one of some times."""
        return _one_of(self.column, [seconds_of(one) for one in wanted])

    def ordered(self, condition: Condition) -> Clause:
        """Return the clause: the time is before or after another."""
        wanted = seconds_of(condition.value)
        return ORDERS[condition.operator](self.column, wanted)  # type: ignore[no-any-return]

    def has_part(self, condition: Condition) -> Clause:
        """Raise BadInput: a time has no parts."""
        raise BadInput(f"{condition.operator.value} is not for the time {condition.field!r}")

    def key(self) -> ColumnElement[Any]:
        """Return the seconds."""
        return self.column

    def number(self) -> ColumnElement[Any]:
        """Return the seconds."""
        return self.column

    def groups(self) -> tuple[ColumnElement[Any], ...]:
        """Return the seconds."""
        return (self.column,)

    def shown(self, cells: Sequence[Any]) -> Any:
        """Return the time in ISO format."""
        return None if cells[0] is None else datetime.fromtimestamp(cells[0], UTC).isoformat()


@dataclass(frozen=True, slots=True)
class ChoiceValue:
    """One of a few known values, each with the clause that is true where it applies."""

    choices: Mapping[Any, Clause]
    needs: frozenset[str] = frozenset()

    def is_null(self) -> Clause:
        """Return the clause: none of the values applies."""
        return self.key().is_(None)

    def among(self, wanted: Sequence[Any]) -> Clause:
        """Return the clause: one of the wanted values applies."""
        chosen = [(kind_of(one), one) for one in wanted]
        return any_of(clause for value, clause in self._known() if (value in chosen))

    def ordered(self, condition: Condition) -> Clause:
        """Return the clause: the value compares by the operator."""
        wanted, order = condition.value, ORDERS[condition.operator]
        alike = (
            (value, clause) for (kind, value), clause in self._known() if kind == kind_of(wanted)
        )
        return any_of(clause for value, clause in alike if order(value, wanted))

    def has_part(self, condition: Condition) -> Clause:
        """Return the clause: the value is a text and has the part."""
        is_text = all(isinstance(value, str) for value in self.choices)
        return text_part(self.key(), condition) if is_text else false()

    def key(self) -> ColumnElement[Any]:
        """Return the value; true sorts as 1, false as 0."""
        return case(*((clause, literal(value)) for value, clause in self.choices.items()))

    def number(self) -> ColumnElement[Any]:
        """Return null: a choice is not a number."""
        return _NO_NUMBER

    def groups(self) -> tuple[ColumnElement[Any], ...]:
        """Return the value."""
        return (self.key(),)

    def shown(self, cells: Sequence[Any]) -> Any:
        """Return the value itself."""
        return next((value for value in self.choices if value == cells[0]), None)

    def _known(self) -> list[tuple[tuple[str | None, Any], Clause]]:
        return [((kind_of(value), value), clause) for value, clause in self.choices.items()]


@dataclass(frozen=True, slots=True)
class JsonValue:
    """The value at a dotted path in a JSON column, of any kind."""

    column: ColumnElement[Any]
    path: str
    needs: frozenset[str] = frozenset()

    def is_null(self) -> Clause:
        """Return the clause: there is no value, or null."""
        return self.key().is_(None)

    def is_absent(self) -> Clause:
        """Return the clause: there is no value, not even null."""
        return self._kind().is_(None)

    def among(self, wanted: Sequence[Any]) -> Clause:
        """Return the clause: the value equals one of the values of its own kind."""
        return any_of(self._is(kind, of) for kind, of in _by_kind(wanted).items())

    def ordered(self, condition: Condition) -> Clause:
        """Return the clause: the value is of the same kind and compares by the operator."""
        kind = kind_of(condition.value)
        clause = ORDERS[condition.operator](self.key(), condition.value)
        return and_(self._kind().in_(_JSON_KINDS[str(kind)]), clause)

    def has_part(self, condition: Condition) -> Clause:
        """Return the clause: the text has the part, or the array the member."""
        text = json_text(self.column, self._path)
        has = and_(self._kind() == "text", text_part(text, condition))
        if condition.operator is not Operator.CONTAINS:
            return has
        kind = str(kind_of(condition.value))
        member = has_member(self.column, self._path, kind, condition.value)
        return or_(has, and_(self._kind() == "array", member))

    def key(self) -> ColumnElement[Any]:
        """Return the value; true sorts as 1, false as 0, objects and arrays as their JSON."""
        return json_key(self.column, self._path)

    def number(self) -> ColumnElement[Any]:
        """Return the value if it is a number."""
        return case((self._kind().in_(_NUMBERS), json_number(self.column, self._path)))

    def groups(self) -> tuple[ColumnElement[Any], ...]:
        """Return kind and value: 1 and true differ, 1 and 1.0 do not."""
        kind = case((self._kind() == "real", "integer"), else_=func.coalesce(self._kind(), "null"))
        return kind, self.key()

    def shown(self, cells: Sequence[Any]) -> Any:
        """Return the value as it was given."""
        kind, value = cells
        if kind in ("true", "false"):
            return bool(value)
        return json.loads(value) if kind in ("array", "object") else value

    @property
    def _path(self) -> ColumnElement[Any]:
        return path_to(self.path)

    def _kind(self) -> ColumnElement[Any]:
        return json_kind(self.column, self._path)

    def _is(self, kind: str, wanted: Sequence[Any]) -> Clause:
        if kind == "boolean":
            return self._kind().in_(["true" if one else "false" for one in set(wanted)])
        return and_(self._kind().in_(_JSON_KINDS[kind]), _one_of(self.key(), wanted))


def text_part(text: ColumnElement[Any], condition: Condition) -> Clause:
    """Return the clause: a text contains, begins or ends with the text of a condition."""
    part = condition.value
    if not isinstance(part, str):
        return false()
    if condition.fold:
        text, part = func.lower(text), folded(part)
    if not part:
        return text.is_not(None)
    match condition.operator:
        case Operator.STARTS_WITH:
            return func.substr(text, 1, len(part)) == part
        case Operator.ENDS_WITH:
            start = func.length(text) - len(part) + 1
            return func.substr(text, start) == part
        case _:
            return func.replace(text, part, "") != text


def any_of(clauses: Iterable[Clause]) -> Clause:
    """Return the clause: one of the clauses is true; false without clauses.

    Many clauses are joined as a balanced tree, because databases limit the depth of expressions.
    """
    listed = list(clauses)
    if not listed:
        return false()
    return _balanced(or_, listed)


def all_of(clauses: Iterable[Clause]) -> Clause:
    """Return the clause: all clauses are true; true without clauses."""
    listed = list(clauses)
    return _balanced(and_, listed) if listed else true()


def _balanced(join: Any, clauses: list[Clause]) -> Clause:
    if len(clauses) <= _CHAIN:
        return join(*clauses)  # type: ignore[no-any-return]
    middle = len(clauses) // 2
    halves = (_balanced(join, clauses[:middle]), _balanced(join, clauses[middle:]))
    return join(*(func.coalesce(half, false()) for half in halves))  # type: ignore[no-any-return]


def _one_of(column: ColumnElement[Any], wanted: Sequence[Any]) -> Clause:
    if not wanted:
        return false()
    return column == wanted[0] if len(wanted) == 1 else column.in_(wanted)


def _by_kind(wanted: Sequence[Any]) -> dict[str, list[Any]]:
    kinds: dict[str, list[Any]] = {}
    for one in wanted:
        kinds.setdefault(str(kind_of(one)), []).append(one)
    return kinds


def seconds_of(value: object) -> float:
    """Return a time as seconds. Raises BadInput for other values."""
    if kind_of(value) == "number":
        return float(value)  # type: ignore[arg-type]
    try:
        time = datetime.fromisoformat(str(value))
        seconds = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise BadInput(
            f"{value!r} is not a time: write it like '2026-01-31T12:00:00Z', or as seconds"
        ) from error
    assert math.isfinite(seconds), "a date is finite"
    return seconds


# --- syntax tree to SQL clause -------------------------------------------------------------------

_OPPOSITE = {Operator.NE: Operator.EQ, Operator.NIN: Operator.IN}


def clause_of(tree: Filter, value_of: Callable[[str], StoredValue]) -> Clause:
    """Return the clause that is true where a filter holds; `value_of` resolves field names.

    Negations are moved to the conditions, where null counts as false.
    """
    return _clause(tree, value_of, positive=True)


def _clause(tree: Filter, value_of: Callable[[str], StoredValue], *, positive: bool) -> Clause:
    match tree:
        case Not(part):
            return _clause(part, value_of, positive=not positive)
        case Every(parts) | Some(parts):
            join = all_of if isinstance(tree, Every) == positive else any_of
            return join(_clause(part, value_of, positive=positive) for part in parts)
        case Condition():
            return _condition(tree, value_of(tree.field), positive=positive)


def _condition(condition: Condition, value: StoredValue, *, positive: bool) -> Clause:
    wanted = condition.value
    match condition.operator:
        case Operator.EXISTS | Operator.IS_NULL:
            null = (condition.operator is Operator.IS_NULL) == wanted
            return _nullness(value, null=null == positive)
        case Operator.EQ | Operator.NE | Operator.IN | Operator.NIN:
            if condition.operator in _OPPOSITE:
                positive = not positive
            listed = wanted if isinstance(wanted, tuple) else (wanted,)
            return _membership(value, listed, positive=positive)
        case operator if operator in ORDERS:
            return _signed(value.ordered(condition), positive=positive)
        case _:
            return _signed(value.has_part(condition), positive=positive)


def _membership(value: StoredValue, wanted: tuple[object, ...], *, positive: bool) -> Clause:
    known = [one for one in wanted if one is not None]
    if not known:
        return _nullness(value, null=positive) if wanted else _signed(false(), positive=positive)
    equal = value.among(known)
    return _signed(or_(equal, value.is_null()) if None in wanted else equal, positive=positive)


def _nullness(value: StoredValue, *, null: bool) -> Clause:
    return value.is_null() if null else ~value.is_null()


def _signed(clause: Clause, *, positive: bool) -> Clause:
    return clause if positive else ~func.coalesce(clause, false())
