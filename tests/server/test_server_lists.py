"""Lists over HTTP: pages that stay in order whatever changes, orders with nulls, two dialects."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx2
import pytest

from goods import asking, ok, refused
from serving import Served

COUNT = 60
COLOURS = ("red", "green", None, "blue")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    store: Path = tmp_path_factory.mktemp("lists") / "store"
    with Served(store) as served, asking(served.url) as client:
        properties = {"vector": {"type": "vector"}, "price": {"type": "number"}}
        for name in ("still", "busy"):
            schema = {"properties": properties}
            ok(client.post("/v1/buckets", json={"bucket_name": name, "schema": schema}))
            body = {
                "collection_name": name,
                "source": {"type": "bucket", "bucket_id": name},
                "feature_extractor": {
                    "feature_extractor_name": "passthrough",
                    "params": {"dimension": 3},
                },
                "taxonomy": {"field_to_enrich": "kind", "confidence_threshold": 0.99},
            }
            ok(client.post("/v1/collections", json=body))
            put(client, name, *range(COUNT))
        yield served


@pytest.fixture
def client(server: Served) -> Iterator[httpx2.Client]:
    with asking(server.url) as asked:
        yield asked


def put(client: httpx2.Client, bucket: str, *numbers: int, prefix: str = "") -> None:
    """Put vectors in; a third of them has no price, a quarter no colour."""
    objects = [
        {
            "object_id": f"{prefix}{number:04d}",
            "metadata": {
                "number": number,
                "colour": COLOURS[number % 4],
                **({} if number % 3 == 0 else {"price": number * 7 % 11 / 2}),
            },
            "blobs": [{"property": "vector", "type": "vector", "data": [1.0, number, number**2]}],
        }
        for number in numbers
    ]
    body = {"objects": objects}
    done = ok(client.post(f"/v1/buckets/{bucket}/objects/batch", json=body, params={"wait": 60}))
    assert done["failed"] == []


def pages(
    client: httpx2.Client, path: str, between: Callable[[], None] = lambda: None, **query: Any
) -> list[dict[str, Any]]:
    """Return all rows of a list, read page by page; `between` two pages something happens."""
    rows: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = ok(client.get(path, params={"limit": 7, **query, **cursor}))
        rows += page["results"]
        after = page["pagination"]["next_cursor"]
        if after is None:
            return rows
        cursor = {"cursor": after}
        between()


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [one["document_id"] for one in rows]


DOCUMENTS = "/v1/collections/still/documents"
BUSY = "/v1/collections/busy/documents"


@pytest.mark.parametrize("sort", ["", "price", "-price", "number", "-number"])
def test_pages_lose_nothing_and_repeat_nothing_while_others_write(
    client: httpx2.Client, server: Served, sort: str
) -> None:
    prefix = {"": "a", "price": "b", "-price": "c", "number": "d", "-number": "e"}[sort]
    put(client, "busy", *range(10), prefix=f"{prefix}gone")
    before = {one for one in ids(pages(client, BUSY, limit=100)) if "gone" not in one}
    stop, failures, written = Event(), list[Exception](), list[int]()

    def write() -> None:
        number = 0
        try:
            with asking(server.url) as other:
                while not stop.is_set():
                    number += 1
                    put(other, "busy", number, prefix=f"{prefix}new")
                    labels = [{"document_id": f"{number % COUNT:04d}", "label": f"{number}"}]
                    ok(other.post("/v1/collections/busy/labels", json={"updates": labels}))
                    if number <= 10:
                        gone = f"/v1/buckets/busy/objects/{prefix}gone{number - 1:04d}"
                        assert other.delete(gone).status_code == 204
                    written.append(number)
        except Exception as error:
            failures.append(error)

    def let_write() -> None:
        seen = len(written)
        while len(written) == seen and not failures:
            stop.wait(0.002)

    writer = Thread(target=write)
    writer.start()
    try:
        found = ids(pages(client, BUSY, let_write, **({"sort_by": sort} if sort else {})))
    finally:
        stop.set()
        writer.join()

    assert failures == []
    assert len(found) == len(set(found)), "a row was shown twice"
    assert before <= set(found), "a row was left out"


@pytest.mark.parametrize("descending", [False, True])
def test_what_has_no_value_comes_last_either_way(client: httpx2.Client, descending: bool) -> None:
    rows = pages(client, DOCUMENTS, sort_by="-price" if descending else "price")

    prices = [one["metadata"].get("price") for one in rows]
    known = [price for price in prices if price is not None]
    assert len(rows) == COUNT
    assert prices == [*sorted(known, reverse=descending), *[None] * (COUNT - len(known))]


@pytest.mark.parametrize(
    ("operator", "value"),
    [
        ("eq", "red"),
        ("ne", "red"),
        ("eq", None),
        ("ne", None),
        ("in", ["red", "blue"]),
        ("nin", ["red", "blue"]),
        ("contains", "e"),
        ("starts_with", "bl"),
        ("ends_with", "n"),
        ("exists", True),
        ("is_null", True),
    ],
)
def test_both_dialects_mean_the_same(client: httpx2.Client, operator: str, value: Any) -> None:
    said = {"operator": operator, "value": value}
    trees = [
        {"must": [{"key": "colour", "match": said}]},
        {"AND": [{"field": "colour", **said}]},
        {"field": "colour", **said},
        {"must_not": [{"must_not": [{"key": "colour", "match": said}]}]},
        {"NOT": [{"NOT": [{"field": "colour", **said}]}]},
    ]

    found = [ids(pages(client, DOCUMENTS, filters=json.dumps(tree))) for tree in trees]
    posted = [
        ids(ok(client.post(f"{DOCUMENTS}/list", json={"filters": tree, "limit": 100}))["results"])
        for tree in trees
    ]

    assert found[0]
    assert found == [found[0]] * len(trees)
    assert posted == found


def test_either_and_neither_can_be_nested(client: httpx2.Client) -> None:
    red = {"operator": "eq", "value": "red"}
    dear = {"operator": "gte", "value": 3}
    first = {
        "should": [{"key": "colour", "match": red}, {"must": [{"key": "price", "match": dear}]}],
        "must_not": [{"key": "number", "match": {"operator": "lt", "value": 30}}],
    }
    second = {
        "AND": [
            {"OR": [{"field": "colour", **red}, {"AND": [{"field": "price", **dear}]}]},
            {"NOT": [{"field": "number", "operator": "lt", "value": 30}]},
        ]
    }

    found = [ids(pages(client, DOCUMENTS, filters=json.dumps(tree))) for tree in (first, second)]

    expected = [
        f"{n:04d}" for n in range(30, COUNT) if n % 4 == 0 or (n % 3 != 0 and n * 7 % 11 / 2 >= 3)
    ]
    assert found == [expected, expected]


def test_an_offset_and_a_page_number_reach_the_same_rows(client: httpx2.Client) -> None:
    by_offset = ok(client.get(DOCUMENTS, params={"offset": 14, "limit": 7, "sort": "-number"}))
    posted = {"offset": 14, "limit": 7, "sort": {"field": "number", "direction": "desc"}}
    by_post = ok(client.post(f"{DOCUMENTS}/list", json=posted))
    numbered = {"page": 3, "page_size": 7, "sort_by": "-number", "include_total": True}
    by_page = ok(client.post(f"{DOCUMENTS}/list", json=numbered))

    assert ids(by_offset["results"]) == [f"{n:04d}" for n in range(45, 38, -1)]
    assert by_post["results"] == by_page["results"] == by_offset["results"]
    assert by_page["total_count"] == COUNT
    assert by_page["pagination"]["page"] == 3
    assert by_page["pagination"]["total_pages"] == 9


def test_a_cursor_of_another_list_is_refused(client: httpx2.Client) -> None:
    cursor = ok(client.get(DOCUMENTS, params={"limit": 7}))["pagination"]["next_cursor"]

    for query in (
        {"sort_by": "price"},
        {"filters": '{"field": "price", "operator": "gt", "value": 1}'},
    ):
        answer = client.get(DOCUMENTS, params={"limit": 7, "cursor": cursor, **query})
        assert refused(answer, 422)["code"] == "bad_input"
    assert refused(client.get(DOCUMENTS, params={"limit": 1001}), 422)["code"] == "bad_request"


def test_objects_are_listed_like_documents(client: httpx2.Client) -> None:
    path = "/v1/buckets/still/objects"
    dear = {"field": "price", "operator": "gte", "value": 3}

    rows = pages(client, path, filters=json.dumps(dear), sort_by="-price")
    posted = ok(
        client.post(f"{path}/list", json={"filters": dear, "sort_by": "-price", "limit": 100})
    )

    prices = [one["metadata"]["price"] for one in rows]
    assert prices == sorted(prices, reverse=True)
    assert min(prices) >= 3
    assert posted["results"] == rows
    assert posted["total_count"] == len(rows)


@pytest.mark.parametrize("kind", ["buckets", "retrievers", "taxonomies"])
def test_resources_that_go_while_one_pages_move_no_others(client: httpx2.Client, kind: str) -> None:
    single = {"buckets": "bucket", "retrievers": "retriever", "taxonomies": "taxonomy"}[kind]
    more: dict[str, dict[str, Any]] = {
        "buckets": {},
        "retrievers": {"stages": [{"stage_type": "filter", "filters": {}}]},
        "taxonomies": {"config": {"field_to_enrich": "kind"}},
    }
    names = [f"page_{number:02d}" for number in range(12)]
    for name in names:
        ok(client.post(f"/v1/{kind}", json={f"{single}_name": name, **more[kind]}))
    gone = iter(names)

    def remove_one() -> None:
        ok(client.delete(f"/v1/{kind}/{next(gone)}"))

    rows = pages(client, f"/v1/{kind}", remove_one, limit=3)

    found = [one[f"{single}_name"] for one in rows]
    assert [name for name in found if name.startswith("page_")] == names
    assert len(found) == len(set(found))


def test_the_newest_come_first_and_newer_ones_repeat_none(client: httpx2.Client) -> None:
    path = "/v1/buckets/still/uploads"

    def begin() -> None:
        ok(client.post(path, json={"filename": "a.png"}))

    for _ in range(7):
        begin()
    first = ok(client.post(f"{path}/list", json={"limit": 4}))
    begin()
    cursor = first["pagination"]["next_cursor"]
    second = ok(client.post(f"{path}/list", json={"limit": 4, "cursor": cursor}))

    found = [one["upload_id"] for one in (*first["results"], *second["results"])]
    assert len(found) == len(set(found)) == 7
    assert second["pagination"]["next_cursor"] is None


def test_chosen_fields_say_what_whole_documents_say(client: httpx2.Client) -> None:
    """What a document was compared with is looked for only where it is chosen."""
    answer = {"document_id": "0001", "label": "odd"}
    ok(client.post("/v1/collections/busy/labels", json={"updates": [answer]}))
    whole = ok(client.post(f"{BUSY}/list", json={"limit": 20}))["results"]
    said = ["part", "labels.kind.label", "labels.kind.origin", "labels.kind.revision"]

    bare = ok(client.post(f"{BUSY}/list", json={"limit": 20, "select": said}))["results"]
    chosen = {"limit": 20, "select": ["labels.kind.match"]}
    matched = ok(client.post(f"{BUSY}/list", json=chosen))["results"]

    for one, other, match in zip(whole, bare, matched, strict=True):
        names = ("label", "origin", "revision")
        assert other["labels"] == {"kind": {name: one["labels"]["kind"][name] for name in names}}
        assert (other["document_id"], other["part"]) == (one["document_id"], one["part"])
        assert match["labels"]["kind"]["match"] == one["labels"]["kind"]["match"]
    assert any(one["labels"]["kind"]["match"]["neighbors"] for one in matched)
