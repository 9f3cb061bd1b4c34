"""Documents chosen by filters: SQL and Python agree, and pages hold still while rows move."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, update

from lookalike.conditions import (
    EVERYTHING,
    Condition,
    Every,
    Filter,
    Not,
    Operator,
    Some,
    holds,
    reach,
)
from lookalike.document_values import DocumentValues
from lookalike.errors import BadInput
from lookalike.filters import parse
from lookalike.model import Origin, Reason
from lookalike.paging import ARRIVAL, Sort, sort_from
from lookalike.reading import fields_of
from lookalike.selecting import Selecting
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn
from lookalike.stores.sqlite import SqliteStore

FIELDS = ("kind", "colour")
Rows = Mapping[int, Mapping[str, Any]]
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path_factory.mktemp("store"))
    yield store
    store.close()


def make_collection(txn: Txn) -> int:
    """A collection's pk, with two label fields."""
    pk = next(_numbers)
    for name in FIELDS:
        taxonomy = {"field": name, "reference": "c", "reference_field": name, "enrich": []}
        txn.insert_one(
            schema.field,
            collection_pk=pk,
            name=name,
            taxonomy=taxonomy,
            reference_field_pk=0,
            epoch=0,
        )
    return pk


def field_pks(snapshot: Snapshot, collection: int) -> dict[str, int]:
    return {field.name: field.pk for field in fields_of(snapshot, collection)}


def standing(label: str | None = None, origin: Origin | None = None, **more: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("confidence", "margin", "runner_up", "reason", "actor", "answer"))
    return {"label": label, "origin": origin, **empty, **more}


def add(
    txn: Txn, collection: int, id: str, metadata: Mapping[str, Any], *stood: Mapping[str, Any]
) -> int:
    """A document with what stands in the first fields, the others empty; its pk."""
    object_pk = txn.insert_one(
        schema.object_,
        bucket_pk=collection,
        id=f"obj_{id}",
        key=id,
        name=id,
        metadata={},
        blobs=[],
        created_at=float(len(id)),
    )
    pk = txn.insert_one(
        schema.document,
        collection_pk=collection,
        object_pk=object_pk,
        part="",
        id=id,
        file_name=f"{id}.jpg",
        sha256=b"",
        metadata=dict(metadata),
        attributes={},
    )
    for place, field in enumerate(field_pks(txn, collection).values()):
        row = stood[place] if place < len(stood) else standing()
        votes = row["origin"] in (Origin.HUMAN, Origin.PROMOTED)
        txn.insert_one(
            schema.standing, field_pk=field, document_pk=pk, votes=votes, revision=1, **row
        )
    return pk


def selecting(snapshot: Snapshot, collection: int) -> Selecting:
    fields = fields_of(snapshot, collection)
    return Selecting(snapshot, DocumentValues(collection, "col_c", fields))


def all_pages(select: Selecting, tree: Filter, sort: Sort, limit: int) -> list[int]:
    found: list[int] = []
    page = select.page(tree, sort, limit=limit)
    found += page.pks
    while page.next_cursor is not None:
        page = select.page(tree, sort, limit=limit, cursor=page.next_cursor)
        assert page.pks, "a cursor that leads nowhere"
        found += page.pks
    return found


# --- one meaning in two languages ---------------------------------------------------------------

texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4
) | st.sampled_from(
    ["Acme", "acme", "ACME", "Äcme", "a'b", '"q"', "100%", "a_b", "[1]", "1", "true"]
)
numbers = st.integers(-3, 3) | st.sampled_from([0.5, -0.25, 2.0, 2**53, -(2**53), 1e300])
scalars = texts | numbers | st.booleans()
members = st.lists(scalars | st.none(), max_size=3)
metadata_values = scalars | st.none() | members | st.fixed_dictionaries({"in": scalars | members})
keys = st.sampled_from(["brand", "size", "größe", "a-b", "tags"])
metadatas = st.dictionaries(keys, metadata_values, max_size=4)
stances = st.sampled_from([(None, None), (None, Origin.HUMAN)]) | st.tuples(
    st.sampled_from(["Bags", "Boots", "bags"]), st.sampled_from(Origin)
)
decisions = st.fixed_dictionaries(
    {
        "confidence": st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0]),
        "margin": st.none() | st.just(0.5),
        "runner_up": st.sampled_from([None, "Boots"]),
        "reason": st.sampled_from([None, Reason.TOO_CLOSE]),
    }
)
stoods = st.builds(lambda stance, decision: standing(*stance, **decision), stances, decisions)
documents = st.lists(st.tuples(metadatas, stoods, stoods), max_size=8)

names = st.one_of(
    keys,
    keys.map("metadata.{}".format),
    keys.map("{}.in".format),
    st.sampled_from(["kind", "metadata.colour", "document_id", "file_name", "part", "object_id"]),
    st.sampled_from(["collection_id", "labels.colour.origin", "labels.kind.label"]),
    st.sampled_from(["taxonomy_match.confidence", "taxonomy_match.colour.reason"]),
    st.sampled_from(["taxonomy_match.matched", "labels.kind.is_reference", "taxonomy_match"]),
)


def conditions(name: str) -> st.SearchStrategy[Condition]:
    """Conditions as the parser makes them, on one field."""

    def of(operators: Sequence[Operator], values: st.SearchStrategy[Any]) -> Any:
        return st.builds(
            Condition, st.just(name), st.sampled_from(operators), values, st.booleans()
        )

    O = Operator
    return st.one_of(
        of([O.EQ, O.NE], scalars | st.none()),
        of([O.GT, O.GTE, O.LT, O.LTE], texts | numbers),
        of([O.IN, O.NIN], st.lists(scalars | st.none(), max_size=4).map(tuple)),
        of([O.CONTAINS], scalars),
        of([O.STARTS_WITH, O.ENDS_WITH], texts),
        of([O.EXISTS, O.IS_NULL], st.booleans()),
    )


trees = st.recursive(
    names.flatmap(conditions),
    lambda inside: st.one_of(
        st.lists(inside, max_size=3).map(lambda parts: Every(tuple(parts))),
        st.lists(inside, max_size=3).map(lambda parts: Some(tuple(parts))),
        inside.map(Not),
    ),
    max_leaves=8,
)


def value_in(
    id: str, metadata: Mapping[str, Any], stood: Mapping[str, Any]
) -> Callable[[str], Any]:
    """What a field of a document is, as a person would look it up."""
    decisions = {
        field: {
            "matched": {None: False, "auto": True, "promoted": True}.get(row["origin"]),
            "confidence": row["confidence"],
            "reason": row["reason"],
        }
        for field, row in stood.items()
    }
    labels = {
        field: {
            "label": row["label"],
            "origin": row["origin"],
            "is_reference": row["origin"] in ("human", "promoted"),
        }
        for field, row in stood.items()
    }
    known = {
        "document_id": id,
        "object_id": f"obj_{id}",
        "collection_id": "col_c",
        "file_name": f"{id}.jpg",
        "part": "",
        "taxonomy_match": decisions["kind"]["matched"],
        **{name: row["label"] for name, row in stood.items()},
    }
    nested = {"taxonomy_match": {**decisions["kind"], **decisions}, "labels": labels}

    def get(name: str) -> Any:
        plain = name.removeprefix("metadata.")
        if plain in known:
            return known[plain]
        if name.partition(".")[0] in nested:
            return reach(nested, name)
        return reach(metadata, plain)

    return get


@settings(max_examples=400, deadline=None)
@given(rows=documents, tree=trees, sort=st.tuples(names, st.booleans()), limit=st.integers(1, 5))
def test_sql_and_python_choose_the_same_documents(
    store: SqliteStore,
    rows: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]],
    tree: Filter,
    sort: tuple[str, bool],
    limit: int,
) -> None:
    with store.write() as txn:
        collection = make_collection(txn)
        pks = [add(txn, collection, f"d{place}", *row) for place, row in enumerate(rows)]

    with store.read() as snapshot:
        select = selecting(snapshot, collection)
        found = [pk for chunk in select.pks(tree) for pk in chunk]
        paged = all_pages(select, tree, ARRIVAL, limit)
        sorted_ = all_pages(select, tree, Sort(*sort), limit)
        whole = select.page_at(0, tree, Sort(*sort), limit=1000).pks
        counted = select.count(tree)

    expected = [
        pk
        for place, (pk, row) in enumerate(zip(pks, rows, strict=True))
        if holds(tree, value_in(f"d{place}", row[0], {"kind": row[1], "colour": row[2]}))
    ]
    assert found == expected
    assert paged == expected
    assert sorted(sorted_) == expected
    assert list(whole) == sorted_
    assert counted == len(expected)
