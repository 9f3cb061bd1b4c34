"""Documents chosen by filters: SQL and Python agree, and pages hold still while rows move."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, update

import lookalike
from hunting import times
from lookalike.catalog import pages
from lookalike.catalog.aggregation import Metric, aggregate, distribution
from lookalike.catalog.field_values import DocumentValues, ObjectValues
from lookalike.catalog.filters import (
    EVERYTHING,
    Condition,
    Every,
    Filter,
    Not,
    Operator,
    Some,
    holds,
    parse,
    reach,
)
from lookalike.catalog.pages import ARRIVAL, Selecting, Sort, sort_from
from lookalike.catalog.reader import fields_of, ids_of
from lookalike.errors import BadInput
from lookalike.library.collection.collection import Collection
from lookalike.library.library import Library
from lookalike.model import Origin, Reason, Status
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn
from lookalike.stores.sqlite.store import SqliteStore

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

    return st.one_of(
        of([Operator.EQ, Operator.NE], scalars | st.none()),
        of([Operator.GT, Operator.GTE, Operator.LT, Operator.LTE], texts | numbers),
        of([Operator.IN, Operator.NIN], st.lists(scalars | st.none(), max_size=4).map(tuple)),
        of([Operator.CONTAINS], scalars),
        of([Operator.STARTS_WITH, Operator.ENDS_WITH], texts),
        of([Operator.EXISTS, Operator.IS_NULL], st.booleans()),
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


@settings(max_examples=times(250), deadline=None)
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
        more, everything = select.count(tree, at_most=limit), select.count(tree, at_most=None)

    expected = [
        pk
        for place, (pk, row) in enumerate(zip(pks, rows, strict=True))
        if holds(tree, value_in(f"d{place}", row[0], {"kind": row[1], "colour": row[2]}))
    ]
    assert found == expected
    assert paged == expected
    assert sorted(sorted_) == expected
    assert list(whole) == sorted_
    assert counted == everything == len(expected)
    assert more == (len(expected) if len(expected) <= limit else None)


VALUES: list[Any] = [None, 0, 1, -1, 0.5, 1e300, True, False, "", "0", "1", "0.5", "true", "null"]
VALUES += ["a", "A", "ab", "ba", "ä", "Ä", "\U0001f600", "%", "_", "a%", "[1]", '["a"]', "{}"]
VALUES += [[], [1], ["a"], [True], [None], ["ab", 1.0], {}, {"a": 1}, {"in": "a"}]


def test_every_operator_says_the_same_of_every_value_in_sql(store: SqliteStore) -> None:
    """All values against all values: what a random search may miss."""
    labels = ["0", "1", "0.5", "a", "A", "ab", "true"]
    with store.write() as txn:
        collection = make_collection(txn)
        rows = {}
        for place, value in enumerate(VALUES):
            label = labels[place % len(labels)]
            row = standing(label, Origin.AUTO, confidence=(place % 3) / 2)
            rows[add(txn, collection, f"d{place}", {"x": value}, row)] = {
                "x": value,
                "kind": label,
                "taxonomy_match.confidence": (place % 3) / 2,
                "taxonomy_match.matched": True,
            }
    plain = [one for one in VALUES if not isinstance(one, list | dict)]
    tried = 0
    with store.read() as snapshot:
        select = selecting(snapshot, collection)
        for name, operator, value in itertools.product(next(iter(rows.values())), Operator, plain):
            for wanted in (value, [value], [value, None], True):
                try:
                    tree = parse({"field": name, "operator": operator.value, "value": wanted})
                except BadInput:
                    continue
                found = [pk for chunk in select.pks(tree) for pk in chunk]
                tried += 1

                assert found == [pk for pk, row in rows.items() if holds(tree, row.get)], tree

    assert tried > 1000


# --- pages --------------------------------------------------------------------------------------


@pytest.fixture
def things(store: SqliteStore) -> tuple[int, dict[str, int]]:
    """Forty documents of one collection: confidences repeat, every fifth has none."""
    with store.write() as txn:
        collection = make_collection(txn)
        pks = {}
        for place in range(40):
            confidence = None if place % 5 == 0 else place % 4 / 4
            label, origin = (None, None) if place % 3 == 0 else (f"kind {place % 2}", Origin.AUTO)
            row = standing(label, origin, confidence=confidence)
            pks[f"d{place}"] = add(txn, collection, f"d{place}", {"size": place % 7}, row)
    return collection, pks


SORTS = [ARRIVAL, Sort(None, True)] + [
    Sort(field, descending)
    for field in ("taxonomy_match.confidence", "size", "document_id", "absent", "created_at")
    for descending in (False, True)
]


@pytest.mark.parametrize("sort", SORTS, ids=str)
def test_what_has_no_value_comes_last_and_equals_are_by_arrival(
    store: SqliteStore, things: tuple[int, dict[str, int]], sort: Sort
) -> None:
    collection, pks = things

    def key(pk: int) -> Any:
        place = list(pks.values()).index(pk)
        return {
            None: 0,
            "taxonomy_match.confidence": None if place % 5 == 0 else place % 4 / 4,
            "size": place % 7,
            "document_id": f"d{place}",
            "absent": None,
            "created_at": len(f"d{place}"),
        }[sort.field]

    with store.read() as snapshot:
        found = all_pages(selecting(snapshot, collection), EVERYTHING, sort, 7)
        places = [
            selecting(snapshot, collection).page_at(offset, EVERYTHING, sort, limit=1).pks
            for offset in (0, 9, 31, 32, 33, 39, 40, 100)
        ]

    order = sorted(pks.values(), reverse=sort.descending)
    known = sorted((pk for pk in order if key(pk) is not None), key=key, reverse=sort.descending)
    expected = known + [pk for pk in order if key(pk) is None]
    assert found == expected
    assert places == [tuple(expected[at : at + 1]) for at in (0, 9, 31, 32, 33, 39, 40, 100)]


@pytest.mark.parametrize("sort", SORTS, ids=str)
def test_pages_hold_still_while_rows_come_go_and_change(
    store: SqliteStore, things: tuple[int, dict[str, int]], sort: Sort
) -> None:
    collection, pks = things
    moved = {pks[f"d{place}"] for place in (3, 11, 20, 34)}
    gone = {pks[f"d{place}"] for place in (1, 8, 25, 39)}
    found: list[int] = []
    cursor = None
    for step in range(100):
        with store.read() as snapshot:
            page = selecting(snapshot, collection).page(sort=sort, limit=3, cursor=cursor)
        found += page.pks
        cursor = page.next_cursor
        if cursor is None:
            break
        with store.write() as txn:
            add(txn, collection, f"new{step}", {"size": step % 7}, standing(confidence=0.3))
            field = field_pks(txn, collection)["kind"]
            if moved:
                table = schema.standing
                here = (table.c.field_pk == field) & (table.c.document_pk == list(moved)[step % 4])
                txn.execute(update(table).where(here).values(confidence=step % 10 / 10))
            if step < 4:
                one = sorted(gone)[step]
                txn.execute(delete(schema.standing).where(schema.standing.c.document_pk == one))
                txn.execute(delete(schema.document).where(schema.document.c.pk == one))

    still = set(pks.values()) - moved - gone
    assert cursor is None
    assert sorted(pk for pk in found if pk in still) == sorted(still)


def test_a_cursor_belongs_to_one_list(
    store: SqliteStore, things: tuple[int, dict[str, int]]
) -> None:
    collection, _ = things
    with store.read() as snapshot:
        select = selecting(snapshot, collection)
        cursor = select.page(limit=5).next_cursor
        other = selecting(snapshot, collection + 1)

        lists: list[tuple[Selecting, Filter, Sort]] = [
            (select, parse({"size": 1}), ARRIVAL),
            (select, EVERYTHING, Sort(None, True)),
            (other, EVERYTHING, ARRIVAL),
        ]
        for where, tree, sort in lists:
            with pytest.raises(BadInput, match="another list"):
                where.page(tree, sort, cursor=cursor)


@pytest.mark.parametrize(
    "cursor", ["", "x", "é", "W10", "bnVsbA", "eyJhIjoxfQ", "W1tbW1tb", "AAAA"]
)
def test_what_is_no_cursor_is_refused(store: SqliteStore, cursor: str) -> None:
    with store.read() as snapshot, pytest.raises(BadInput, match="cursor"):
        selecting(snapshot, 1).page(cursor=cursor)


@pytest.mark.parametrize("forged", [["OF", 2**70, 1], ["OF", 1, 2**70], ["OF", True, "\ud800"]])
def test_a_forged_cursor_is_refused(store: SqliteStore, forged: list[Any]) -> None:
    with store.read() as snapshot:
        select = selecting(snapshot, 1)
        forged[0] = select._paging(EVERYTHING, ARRIVAL).of
        cursor = base64.urlsafe_b64encode(json.dumps(forged).encode()).decode()

        with pytest.raises(BadInput, match="cursor"):
            select.page(cursor=cursor)


@pytest.mark.parametrize("limit", [0, 1001, -1])
def test_a_page_has_a_size(store: SqliteStore, limit: int) -> None:
    with store.read() as snapshot, pytest.raises(BadInput, match=f"not {limit}"):
        selecting(snapshot, 1).page(limit=limit)


def test_a_sort_is_read_in_both_shapes() -> None:
    assert sort_from("-size") == sort_from("size", "desc") == Sort("size", True)
    assert sort_from("size") == sort_from("size", "ASC") == Sort("size")
    with pytest.raises(BadInput, match="'up'; give 'asc' or 'desc'"):
        sort_from("size", "up")


def test_few_rows_of_a_range_are_paged_like_many(
    store: SqliteStore, things: tuple[int, dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = parse({"field": "taxonomy_match.confidence", "operator": "lt", "value": 0.5})
    found = []
    for few in (2_000, 3):
        monkeypatch.setattr(pages, "_FEW", few)
        with store.read() as snapshot:
            select = selecting(snapshot, things[0])
            found.append([all_pages(select, tree, Sort(None, down), 4) for down in (False, True)])
            found[-1].append(list(select.page_at(5, tree, limit=3).pks))

    assert found[0] == found[1]
    assert len(found[0][0]) == 16
    assert found[0][1] == found[0][0][::-1]
    assert found[0][2] == found[0][0][5:8]


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("taxonomy_match.score", "no 'score' .known: confidence, margin, matched"),
        ("taxonomy_match.shape.confidence", "no label field .* .known: kind, colour"),
        ("labels.shape", "no label field"),
        ("labels.kind.score", "known: actor, answer"),
    ],
)
def test_an_unknown_part_of_a_decision_is_refused(
    store: SqliteStore, things: tuple[int, dict[str, int]], name: str, message: str
) -> None:
    with store.read() as snapshot, pytest.raises(BadInput, match=message):
        selecting(snapshot, things[0]).page(parse({name: 1}))


def test_without_label_fields_there_is_no_decision(store: SqliteStore) -> None:
    with store.read() as snapshot, pytest.raises(BadInput, match="has no label field"):
        selecting(snapshot, 10**6).page(sort=Sort("taxonomy_match.confidence"))


def test_a_time_is_written_as_a_date_or_in_seconds(
    store: SqliteStore, things: tuple[int, dict[str, int]]
) -> None:
    collection, _ = things

    def found(raw: object) -> int | None:
        with store.read() as snapshot:
            return selecting(snapshot, collection).count(parse(raw))

    before = {"field": "created_at", "operator": "lt"}
    assert found(before | {"value": 3}) == 10
    assert found(before | {"value": "1970-01-01T00:00:03Z"}) == 10
    assert found(before | {"value": "1970-01-02"}) == 40
    assert found({"created_at": "1970-01-01T01:00:02+01:00"}) == 10
    with pytest.raises(BadInput, match="'soon' is not a time"):
        found(before | {"value": "soon"})


def test_a_filter_of_the_greatest_size_is_answered(
    store: SqliteStore, things: tuple[int, dict[str, int]]
) -> None:
    collection, _ = things
    conditions = [{"field": "size", "operator": "in", "value": [7 + n] * 20} for n in range(480)]
    raw: object = {"OR": [*conditions, {"size": 1}]}
    for _ in range(9):
        raw = {"NOT": [{"NOT": [raw, *[{"brand": str(n)} for n in range(25)]]}]}
    with store.read() as snapshot:
        select = selecting(snapshot, collection)

        assert select.count(parse({"OR": conditions})) == 0
        assert select.count(parse(raw)) == 6
        assert select.count(parse({"AND": [{"NOT": [one]} for one in conditions]})) == 40


# --- groups -------------------------------------------------------------------------------------


def test_values_are_counted_and_told_apart(store: SqliteStore) -> None:
    values = [1, 1.0, True, "1", None, ["a"], {"b": 1}, "x", "x", "x"]
    with store.write() as txn:
        collection = make_collection(txn)
        for place, value in enumerate(values):
            add(txn, collection, f"d{place}", {"v": value})
        add(txn, collection, "without", {})

    with store.read() as snapshot:
        found = distribution(selecting(snapshot, collection), "v")

    assert found[0] == ("x", 3)
    assert {(repr(value), count) for value, count in found[1:]} == {
        ("1", 2),
        ("True", 1),
        ("'1'", 1),
        ("None", 2),
        ("['a']", 1),
        ("{'b': 1}", 1),
    }


def test_groups_have_counts_sums_means_and_extremes(
    store: SqliteStore, things: tuple[int, dict[str, int]]
) -> None:
    collection, _ = things
    metrics = [
        Metric("count", "n"),
        Metric("sum", "total", "size"),
        Metric("avg", "mean", "size"),
        Metric("max", "most", "size"),
        Metric("count_distinct", "sizes", "size"),
        Metric("min", "least", "taxonomy_match.confidence"),
    ]
    with store.read() as snapshot:
        select = selecting(snapshot, collection)
        groups = aggregate(select, ["kind"], metrics, sort_by="kind", descending=False)
        whole = aggregate(select, [], [Metric("count", "n")], parse({"size": 3}))

    sizes = {
        label: [n % 7 for n in range(40) if (None if n % 3 == 0 else f"kind {n % 2}") == label]
        for label in (None, "kind 0", "kind 1")
    }
    assert [group["kind"] for group in groups] == [None, "kind 0", "kind 1"]
    for group in groups:
        own = sizes[group["kind"]]
        assert (group["n"], group["total"], group["most"]) == (len(own), sum(own), max(own))
        assert group["mean"] == pytest.approx(sum(own) / len(own))
        assert (group["sizes"], group["least"]) == (
            len(set(own)),
            min(
                n % 4 / 4
                for n in range(40)
                if n % 5 and (None if n % 3 == 0 else f"kind {n % 2}") == group["kind"]
            ),
        )
    assert whole == [{"n": 6}]


def test_a_bad_aggregation_is_refused(
    store: SqliteStore, things: tuple[int, dict[str, int]]
) -> None:
    count = Metric("count", "n")
    with pytest.raises(BadInput, match=r"no function is named 'median' .known: count, sum"):
        Metric("median", "m", "size")
    with pytest.raises(BadInput, match="'sum' needs a field"):
        Metric("sum", "m")
    with store.read() as snapshot:
        select = selecting(snapshot, things[0])
        with pytest.raises(BadInput, match=r"two columns .* named 'n'"):
            aggregate(select, ["n"], [count])
        with pytest.raises(BadInput, match=r"sorted by 'm' .known: size, n"):
            aggregate(select, ["size"], [count], sort_by="m")
        with pytest.raises(BadInput, match="not 0"):
            aggregate(select, ["size"], [count], limit=0)
        with pytest.raises(BadInput, match="needs a metric"):
            aggregate(select, ["size"], [])


# --- objects ------------------------------------------------------------------------------------


def test_objects_are_chosen_by_what_they_are_and_how_far_they_have_come(
    store: SqliteStore,
) -> None:
    bucket = next(_numbers)
    states: dict[str, list[Status]] = {
        "a/1": [],
        "a/2": [Status.FAILED],
        "a/3": [Status.FAILED, Status.PENDING],
        "b/4": [Status.PROCESSING],
        "b/5": [Status.PROCESSING, Status.PENDING],
    }
    with store.write() as txn:
        for place, (key, waits) in enumerate(states.items()):
            row: dict[str, Any] = {"id": key, "key": key, "name": key[-1], "blobs": []}
            row |= {"metadata": {"size": place}, "created_at": 0.0}
            pk = txn.insert_one(schema.object_, bucket_pk=bucket, **row)
            for collection, status in enumerate(waits):
                txn.insert_one(
                    schema.extraction, collection_pk=collection, object_pk=pk, status=status
                )

    with store.read() as snapshot:
        select = Selecting(snapshot, ObjectValues(bucket))
        first = select.page().pks[0]

        def found(raw: object) -> list[int]:
            return [pk - first + 1 for pk in select.page(parse(raw)).pks]

        assert found({"status": "COMPLETED"}) == [1]
        assert found({"status": "FAILED"}) == [2]
        assert found({"status": "PENDING"}) == [3, 5]
        assert found({"status": "PROCESSING"}) == [4]
        assert found({"must_not": [{"status": "PENDING"}]}) == [1, 2, 4]
        assert found(
            {"key": "key_prefix", "match": {"operator": "starts_with", "value": "a/"}}
        ) == [
            1,
            2,
            3,
        ]
        assert found({"AND": [{"field": "size", "operator": "gt", "value": 2}]}) == [4, 5]
        assert dict(distribution(select, "status"))["PENDING"] == 2
        assert all_pages(select, EVERYTHING, Sort("metadata.size", True), 2) == sorted(
            range(first, first + 5), reverse=True
        )


# --- a collection as the library makes it -------------------------------------------------------


def found_in(library: Library, collection: Collection, raw: object) -> str:
    """The ids of what a filter chooses, in a row."""
    with library._runtime.store.read() as snapshot:
        pk = collection._row.pk
        values = DocumentValues(pk, "col_c", fields_of(snapshot, pk))
        pks = Selecting(snapshot, values).page(parse(raw)).pks
        return " ".join(ids_of(snapshot, pks).values())


def test_what_stands_in_a_real_collection_is_found(tmp_path: Path) -> None:
    """A person's label has no decision, the machine's has one, and its reference is copied from."""
    options: dict[str, Any] = {"extractor": "passthrough", "confidence_threshold": 0.9}
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        curated = library.labeler("curated", **options)
        shelves = [{"shelf": "A"}, {"shelf": "B"}, {}]
        curated.add(vectors=np.eye(8)[[0, 1, 1]], ids=["r0", "r1", "r2"], metadata=shelves)
        curated.label({"r0": "Bags", "r1": "Boots"})
        curated.promote(ids=["r2"])
        stock = library.labeler("stock", reference="curated", enrich=("shelf",), **options)
        vectors = np.eye(8)[[0, 0, 1, 2]]
        stock.add(vectors=vectors, ids=list("abcd"), metadata={"shelf": "?"})
        stock.label({"a": "Hats"})
        label, match = stock.fields[0], "taxonomy_match."
        sure = {"field": match + "confidence", "operator": "gte", "value": 0.9}

        assert found_in(library, curated, {match + "matched": True}) == "r2"
        assert found_in(library, curated, {f"labels.{label}.origin": "promoted"}) == "r2"
        assert found_in(library, curated, {match + "confidence": None}) == "r0 r1 r2"
        assert found_in(library, stock, {label: "Bags"}) == "b"
        assert found_in(library, stock, {label: None, match + "matched": False}) == "d"
        assert found_in(library, stock, {match + "matched": True}) == "b c"
        assert found_in(library, stock, {"field": "taxonomy_match", "value": None}) == "a"
        assert found_in(library, stock, {match + "reason": "below_threshold"}) == "d"
        assert found_in(library, stock, {match + "source_document_id": "r1"}) == "c"
        assert found_in(library, stock, sure) == "b c"
        assert found_in(library, stock, {"metadata.shelf": "B"}) == "c"
        assert found_in(library, stock, {"shelf": "?"}) == "a d"
