"""The filter language: what both dialects mean, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from lookalike.catalog.filters import (
    EVERYTHING,
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_VALUES,
    Every,
    Not,
    Some,
    fields_in,
    holds,
    parse,
    reach,
)
from lookalike.errors import BadInput


def matches(raw: object, **document: Any) -> bool:
    return holds(parse(raw), lambda name: reach(document, name))


def condition(operator: str, value: Any, field: str = "x") -> dict[str, Any]:
    return {"field": field, "operator": operator, "value": value}


SAME = [
    [{"key": "x", "match": {"operator": "gt", "value": 3}}, condition("gt", 3)],
    [{"key": "x", "match": {"value": 3}}, condition("eq", 3), {"x": 3}, {"key": "x", "match": 3}],
    [{"key": "x", "match": {"any": [1, 2]}}, condition("in", [1, 2])],
    [{"key": "x", "match": {"except": [1, 2]}}, condition("nin", [1, 2])],
    [{"key": "x", "match": {"operator": "exists"}}, condition("exists", True)],
    [{"field": "x", "value": None}, {"x": None}, condition("eq", None)],
    [{"field": "x", "operator": None, "value": 1}, condition("eq", 1)],
    [None, {}, [], {"AND": []}, {"should": []}, {"must_not": []}, {"must": [{}]}, [None]],
    [{"must": [{"x": 1}, {"y": 2}]}, {"AND": [{"x": 1}, {"y": 2}]}, [{"x": 1}, {"y": 2}]],
    [{"must": [{"x": 1}, {"y": 2}]}, {"x": 1, "y": 2}],
    [{"should": [{"x": 1}, {"y": 2}]}, {"OR": [{"x": 1}, {"y": 2}]}],
    [{"must_not": [{"x": 1}, {"y": 2}]}, {"NOT": [{"x": 1}, {"y": 2}]}],
    [{"NOT": {"x": 1}}, {"NOT": [{"x": 1}]}, {"must_not": [condition("eq", 1)]}],
]


@pytest.mark.parametrize("written", SAME, ids=str)
def test_ways_to_write_a_filter_give_one_tree(written: list[Any]) -> None:
    trees = {parse(raw) for raw in written if raw not in ({"must": [{}]}, [None])}

    assert len(trees) == 1


def test_dialects_nest_in_one_another() -> None:
    raw = {
        "must": [{"AND": [condition("eq", 1)]}, {"key": "y", "match": {"value": 2}}],
        "OR": [condition("eq", 3, "z"), {"must_not": [{"z": 5}]}],
    }

    one, two = parse({"x": 1}), parse({"y": 2})
    assert parse(raw) == Every((one, two, Some((parse({"z": 3}), Not(parse({"z": 5}))))))
    assert fields_in(parse(raw)) == {"x", "y", "z"}


def test_groups_beside_one_another_must_all_hold() -> None:
    raw = {"must": [{"a": 1}], "should": [{"b": 1}, {"b": 2}], "must_not": [{"c": 1}, {"d": 1}]}

    assert matches(raw, a=1, b=2, c=0)
    assert not matches(raw, a=1, b=3)
    assert not matches(raw, a=2, b=2)
    assert not matches(raw, a=1, b=2, d=1)


HOLDS: list[tuple[str, Any, list[Any], list[Any]]] = [
    ("eq", 1, [1, 1.0], [True, "1", None, [1]]),
    ("eq", "a", ["a"], ["A", None, ["a"]]),
    ("eq", True, [True], [1, "true", None]),
    ("eq", None, [None, float("nan")], [0, "", False, []]),
    ("ne", 1, [2, "1", None, True], [1, 1.0]),
    ("ne", None, [0, "", False, [], {}], [None]),
    ("gt", 1, [2, 1.5], [1, "2", None, True]),
    ("gte", "b", ["b", "ä"], ["a", "B", 3]),
    ("lt", 0, [-1], [0, None, False, float("nan")]),
    ("lte", 0.5, [0.5, 0], [1]),
    ("in", [1, "a", None], [1, "a", None], ["b", True]),
    ("in", [], [], [None, 1]),
    ("nin", [1, "a"], [None, True, "b"], [1, "a"]),
    ("nin", [None], [1], [None]),
    ("contains", "cm", ["Acme", ["cm"]], ["ACME", ["Acme"], None, {"cm": 1}, 3]),
    ("contains", "", ["", "a", [""]], [None, [], 1]),
    ("contains", 1, [[1], [2, 1.0]], [1, [True], ["1"], "1"]),
    ("starts_with", "Ac", ["Acme", "Ac"], ["acme", "A", None, ["Ac"]]),
    ("ends_with", "me", ["Acme", "me"], ["e", None]),
    ("exists", True, [0, "", []], [None]),
    ("exists", False, [None], [0]),
    ("is_null", True, [None], [0]),
    ("is_null", False, [0], [None]),
]


@pytest.mark.parametrize(("operator", "value", "true", "false"), HOLDS)
def test_what_an_operator_says(
    operator: str, value: Any, true: list[Any], false: list[Any]
) -> None:
    raw = condition(operator, value)

    assert all(matches(raw, x=one) for one in true)
    assert not any(matches(raw, x=one) for one in false)
    assert matches(raw) == matches(raw, x=None), "what is missing is null"


def test_case_matters_unless_a_group_says_that_it_does_not() -> None:
    text = condition("contains", "CM")

    assert not matches(text, x="Acme")
    assert matches({"AND": [{"OR": [text]}], "case_sensitive": False}, x="Acme")
    assert not matches(
        {"AND": [{"OR": [text], "case_sensitive": True}], "case_sensitive": False}, x="Acme"
    )
    assert not matches({"AND": [condition("contains", "Ä")], "case_sensitive": False}, x="ä")
    assert not matches({"AND": [condition("eq", "ACME")], "case_sensitive": False}, x="Acme")


def test_a_condition_too_may_say_that_case_does_not_matter() -> None:
    folding = {"case_sensitive": False}

    assert matches(condition("contains", "CM") | folding, x="Acme")
    assert matches(
        {"key": "x", "match": {"operator": "ends_with", "value": "ME"}} | folding, x="me"
    )
    assert not matches(
        {"AND": [condition("contains", "CM") | {"case_sensitive": True}]} | folding, x="Acme"
    )
    assert parse({"x": "Acme"} | folding) == parse({"x": "Acme"}), "equal is equal"


def test_a_dot_goes_into_nested_values() -> None:
    assert matches({"size.width": 3}, size={"width": 3})
    assert not matches({"size.width": 3}, size=[{"width": 3}])


def nested(levels: int) -> Any:
    raw: Any = {"x": 1}
    for level in range(levels):
        raw = [{"AND": [raw]}, {"must_not": [raw]}, [raw]][level % 3]
    return raw


def test_a_filter_may_be_nested_so_deep_and_no_deeper() -> None:
    assert fields_in(parse(nested(MAX_DEPTH))) == {"x"}
    for levels in (MAX_DEPTH + 1, 50, 5_000, 100_000):
        with pytest.raises(BadInput, match="nested deeper than 20 levels"):
            parse(nested(levels))


def test_a_filter_has_so_many_conditions_and_no_more() -> None:
    assert parse([{"x": 1}] * (MAX_CONDITIONS - 1)) != EVERYTHING
    with pytest.raises(BadInput, match="more than 1,000 conditions"):
        parse([{"x": 1}] * MAX_CONDITIONS)


def test_lists_hold_so_many_values_together_and_no_more() -> None:
    half = list(range(MAX_VALUES // 2))

    assert parse([condition("in", half), condition("nin", half)]) != EVERYTHING
    with pytest.raises(BadInput, match="more than 10,000 values"):
        parse([condition("in", half), condition("nin", half), condition("in", [1])])


REFUSED: list[tuple[Any, str]] = [
    ("x = 1", "an object or a list, not 'x = 1'"),
    (3, "an object or a list, not 3"),
    ({"musst": [{"x": 1}]}, "knows no 'musst' .known: must, AND, should"),
    ({"must": [{"x": 1}], "filter": []}, "knows no 'filter'"),
    ({"x": {"gt": 3}}, "knows no 'x'"),
    (condition("like", 1), "no operator is named 'like', on 'x' .known: eq, ne, gt"),
    ({"key": "x", "match": {"operator": "~", "value": 1}}, "no operator is named '~'"),
    ({"key": "x", "match": {"gt": 1}}, "knows no 'gt' .known: operator, value, any, except"),
    ({"key": "x", "match": {}}, "is empty"),
    ({"key": "x", "match": {"any": [1], "value": 2}}, "more than one key: any, value"),
    ({"key": "x", "match": 1, "operator": "eq"}, "'match' and 'operator'"),
    ({"key": "x", "field": "y", "value": 1}, "names its field once"),
    ({"operator": "eq", "value": 1}, "names its field once"),
    ({"feild": "x", "operator": "eq", "value": 1}, "knows no 'feild'"),
    ({"field": "x", "operator": "gt"}, "gt on 'x' has no value"),
    ({"field": "", "value": 1}, "named by a text, not ''"),
    ({"field": 3, "value": 1}, "named by a text, not 3"),
    ({"field": "a..b", "value": 1}, "empty part"),
    ({"field": 'a"b', "value": 1}, "quotation mark"),
    ({"field": "a" * 301, "value": 1}, "at most 300"),
    (condition("gt", None), "takes a number or a text, not None"),
    (condition("lt", True), "takes a number or a text, not True"),
    (condition("in", "a"), "in on 'x' takes a list, not 'a'"),
    (condition("in", [[1]]), "not a list"),
    (condition("eq", [1]), "not a list"),
    (condition("eq", {"type": 1}), "not an object"),
    (condition("contains", None), "not null"),
    (condition("starts_with", 3), "takes a text, not 3"),
    (condition("exists", "yes"), "takes true or false, not 'yes'"),
    (condition("eq", float("nan")), "finite"),
    (condition("eq", 10**400), "finite"),
    (condition("eq", "a\0b"), "character that cannot be stored"),
    (condition("eq", "\ud800"), "character that cannot be stored"),
    ({"AND": [{"x": 1}], "case_sensitive": "no"}, "true or false, not 'no'"),
    (condition("contains", "a") | {"case_sensitive": 1}, "true or false, not 1"),
]


@pytest.mark.parametrize(("raw", "message"), REFUSED, ids=lambda one: str(one)[:60])
def test_what_cannot_be_used_is_named(raw: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        parse(raw)


def test_a_great_whole_number_is_taken_as_it_is_stored() -> None:
    assert matches(condition("gt", 10**30), x=10.0**31)
