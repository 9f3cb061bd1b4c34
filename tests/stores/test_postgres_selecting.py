"""Filters, sorts, pages and groups over PostgreSQL: the rules of `test_selecting.py` hold here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_selecting import (
    documents,
    names,
    test_every_operator_says_the_same_of_every_value_in_sql,
    test_groups_have_counts_sums_means_and_extremes,
    test_pages_hold_still_while_rows_come_go_and_change,
    test_sql_and_python_choose_the_same_documents,
    test_values_are_counted_and_told_apart,
    test_what_has_no_value_comes_last_and_equals_are_by_arrival,
    things,
    trees,
)

from databases import database, prepared
from lookalike.stores.json_sql import key_of, value_of
from lookalike.stores.postgres.engine import address_of
from lookalike.stores.postgres.store import PostgresStore

__all__ = [
    "test_every_operator_says_the_same_of_every_value_in_sql",
    "test_groups_have_counts_sums_means_and_extremes",
    "test_pages_hold_still_while_rows_come_go_and_change",
    "test_values_are_counted_and_told_apart",
    "test_what_has_no_value_comes_last_and_equals_are_by_arrival",
    "things",
]

_every_choice: Any = test_sql_and_python_choose_the_same_documents
del test_sql_and_python_choose_the_same_documents


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresStore]:
    with database(template=prepared()) as url:
        store = PostgresStore(address_of(url), tmp_path_factory.mktemp("derived"))
        yield store
        store.close()


@settings(max_examples=25, deadline=None)
@given(rows=documents, tree=trees, sort=st.tuples(names, st.booleans()), limit=st.integers(1, 5))
def test_the_database_and_python_choose_the_same_documents(
    store: PostgresStore, rows: Any, tree: Any, sort: Any, limit: int
) -> None:
    _every_choice.hypothesis.inner_test(store, rows, tree, sort, limit)


@settings(max_examples=50)
@given(
    st.lists(
        st.one_of(
            st.integers(),
            st.floats(allow_nan=False, allow_infinity=False),
            st.text(st.characters(codec="utf-8", exclude_characters="\0")),
        ),
        min_size=2,
        max_size=2,
    )
)
def test_keys_sort_as_what_they_are_of(pair: list[Any]) -> None:
    """Numbers before texts; numbers by value, texts by their bytes."""

    def order(value: Any) -> Any:
        if isinstance(value, str):
            return (1, value.encode())
        return (0, value if abs(value) < 2**63 else float(value))

    one, other = sorted(pair, key=order)

    assert (key_of(one).encode() <= key_of(other).encode()) or order(one) == order(other)
    for value in pair:
        back = value_of(key_of(value))
        assert back == value or float(back) == float(order(value)[1])
