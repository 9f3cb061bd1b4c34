"""The same calls on the embedded and on the shared store have the same answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sqlalchemy import delete, func, select

from databases import database, prepared
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Store, StoredSpace
from lookalike.stores.postgres.engine import address_of
from lookalike.stores.postgres.store import PostgresStore
from lookalike.stores.sqlite.store import SqliteStore
from lookalike.testing.stores import KINDS, make_space, standing

Pair = tuple[Store, Store]

texts = st.one_of(st.none(), st.text(st.characters(codec="utf-8", exclude_characters="\0")))
json_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        texts, st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)
    ),
    lambda inner: st.one_of(
        st.lists(inner), st.dictionaries(st.text("aä\"'\\%:", max_size=3), inner)
    ),
    max_leaves=6,
)
places = st.lists(st.integers(0, 11), min_size=1, max_size=6, unique=True)
calls = st.one_of(
    st.tuples(st.just("append"), places, st.sampled_from(sorted(KINDS)), st.booleans()),
    st.tuples(st.just("erase"), places, st.just(None), st.booleans()),
    st.tuples(st.just("upsert"), places, texts, st.booleans()),
    st.tuples(st.just("update"), places, texts, st.booleans()),
    st.tuples(st.just("delete"), places, st.just(None), st.booleans()),
    st.tuples(st.just("event"), places, json_values, st.just(False)),
)
"""What is done, to which documents, with what, and whether it fails before the commit."""


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder: Path = tmp_path_factory.mktemp("stores")
    with database(template=prepared()) as url:
        both = SqliteStore(folder / "embedded"), PostgresStore(address_of(url), folder / "derived")
        yield both
        for store in both:
            store.close()


class Failed(Exception):
    """What makes a transaction fail."""


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(calls, min_size=1, max_size=6), st.integers(0, 11), st.floats(-1, 1))
def test_the_same_calls_have_the_same_answers(
    stores: Pair, asked: list[Any], query: int, floor: float
) -> None:
    spaces = [begun(store) for store in stores]
    for number, call in enumerate(asked):
        done = [
            perform(store, space, number, *call)
            for store, space in zip(stores, spaces, strict=True)
        ]

        assert done[0] == done[1]
        answers = [
            answered(store, space, query, floor)
            for store, space in zip(stores, spaces, strict=True)
        ]
        assert answers[0] == answers[1]


def begun(store: Store) -> StoredSpace:
    """Return a new space, whose pk is also that of its field."""
    with store.write() as txn:
        return make_space(txn, f"space {len(txn.rows(select(schema.space.c.pk)))}")


def perform(
    store: Store, space: StoredSpace, number: int, name: str, at: list[int], what: Any, fails: bool
) -> Any:
    table, pks = schema.standing, np.array(at, np.int64)
    rows = [{**standing(space.pk, pk, label=what), "revision": number} for pk in at]
    try:
        with store.write() as txn:
            told: Any = None
            if name == "append":
                txn.append_vectors(space, pks, KINDS[what](24)[pks + number])
            elif name == "erase":
                txn.erase_vectors(space, pks)
            elif name == "upsert":
                txn.upsert(table, rows)
            elif name == "update":
                changes = ("field_pk", "document_pk", "label")
                txn.update(table, [{key: row[key] for key in changes} for row in rows])
            elif name == "delete":
                here = (table.c.field_pk == space.pk) & table.c.document_pk.in_(at)
                told = txn.execute(delete(table).where(here))
            else:
                one = {"operation_pk": number, "kind": "said", "field_pk": space.pk}
                txn.insert(schema.event, [{**one, "document_pk": pk, "detail": what} for pk in at])
            if fails:
                raise Failed
            return told
    except Failed:
        return "failed"


def answered(store: Store, space: StoredSpace, query: int, floor: float) -> Any:
    """Return all that the store says of a space and its field."""
    vector = KINDS["random"](24)[query]
    with store.read() as snapshot:
        slots, pks = snapshot.slots(space)
        owners = np.unique(pks)
        floors = np.full(int(slots[-1]) + 1 if len(slots) else 0, np.inf, np.float32)
        floors[slots] = floor
        found: list[NDArray[Any]] = [
            snapshot.vectors(space, owners),
            *snapshot.nearest(space, vector[None, :], 4, owners),
            *snapshot.above(space, vector, floor),
            *(np.sort(part) for part in snapshot.above_floors(space, vector, floors)),
        ]
        return [
            slots.tolist(),
            pks.tolist(),
            *(part.tolist() for part in found),
            *rows(snapshot, space),
        ]


def rows(snapshot: Snapshot, space: StoredSpace) -> list[Any]:
    table, event = schema.standing, schema.event
    stood = select(table).where(table.c.field_pk == space.pk)
    ordered = stood.order_by(table.c.label.asc().nulls_first(), table.c.document_pk)
    grouped = select(table.c.label, func.count().label("n")).where(table.c.field_pk == space.pk)
    said = select(event.c.operation_pk, event.c.document_pk, event.c.detail)
    said = said.where(event.c.field_pk == space.pk).order_by(event.c.seq)
    counts = snapshot.rows(grouped.group_by(table.c.label))
    return [
        [tuple(row)[1:] for row in snapshot.rows(ordered)],
        sorted(map(repr, counts)),
        [tuple(row) for row in snapshot.rows(said)],
    ]
