"""From the syntax tree of a filter to the clause of a statement."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import false, func, or_

from lookalike.catalog.conditions import ORDERS, Condition, Every, Filter, Not, Operator, Some
from lookalike.catalog.filter_sql import Clause, StoredValue, all_of, any_of

_OPPOSITE = {Operator.NE: Operator.EQ, Operator.NIN: Operator.IN}


def clause_of(tree: Filter, value_of: Callable[[str], StoredValue]) -> Clause:
    """Return the clause that holds where a filter does; `value_of` knows the names of fields.

    Negations are brought to the conditions, where null is still known to be false.
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
