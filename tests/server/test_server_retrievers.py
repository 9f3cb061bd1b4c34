"""Stored searches over HTTP: their stages, and what they are asked by."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from goods import (
    BALLOON,
    JIGSAW,
    SIGNAL,
    THRESHOLD,
    Shop,
    asking,
    bytes_of,
    data_url,
    ok,
    pictures,
    refused,
)
from serving import Served

BALLOONS, JIGSAWS, SIGNALS = pictures(BALLOON), pictures(JIGSAW), pictures(SIGNAL)
TEXTS = {"a": "pay the invoice within 14 days", "b": "bake the cake for forty minutes"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that requests may name files of."""
    folder: Path = tmp_path_factory.mktemp("files")
    (folder / "balloon.png").write_bytes(bytes_of(BALLOONS[7]))
    return folder


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, files: Path) -> Iterator[httpx2.Client]:
    store: Path = tmp_path_factory.mktemp("retrievers") / "store"
    roots = {"LOOKALIKE_FETCH_ROOTS": str(files)}
    with Served(store, environment=roots) as server, asking(server.url) as asked:
        shop = Shop(asked, "shop")
        shop.open(price="number")
        taxonomy = {"field_to_enrich": "category", "confidence_threshold": THRESHOLD}
        shop.collect("goods", taxonomy=taxonomy)
        shop.put(*BALLOONS[:6], price=3)
        shop.put(*JIGSAWS[:6], price=20)
        shop.put(*SIGNALS[:4])
        shop.say(BALLOONS[0], category=BALLOON)
        shop.say(JIGSAWS[0], category=JIGSAW)
        ok(asked.post("/v1/buckets", json={"bucket_name": "texts"}))
        source = {"type": "bucket", "bucket_id": "texts"}
        extractor = {"feature_extractor_name": "text", "input_mappings": {"text": "content"}}
        body = {"collection_name": "texts", "source": source, "feature_extractor": extractor}
        ok(asked.post("/v1/collections", json=body))
        objects = [{"object_id": id, "metadata": {"content": text}} for id, text in TEXTS.items()]
        ok(asked.post("/v1/buckets/texts/objects/batch?wait=60", json={"objects": objects}))
        yield asked


def ask(
    client: httpx2.Client, stages: list[dict[str, Any]], *collections: str, **body: Any
) -> dict[str, Any]:
    """Run a search that is not stored."""
    named = list(collections) or ["goods"]
    whole = {"collection_identifiers": named, "stages": stages, **body}
    return ok(client.post("/v1/retrievers/execute", json=whole))


def search(query: Any = None, **parameters: Any) -> dict[str, Any]:
    """A search as the published client writes it."""
    given = {} if query is None else {"query": query}
    one = {"feature_uri": "mixpeek://image_extractor@v1/embedding", **given}
    config = {"stage_id": "feature_search", "parameters": {"searches": [one], **parameters}}
    return {"stage_name": "search", "config": config}


def ids(found: dict[str, Any]) -> list[str]:
    return [one["document_id"] for one in found["documents"]]


@pytest.mark.parametrize("by", ["base64", "data", "file", "path"])
def test_a_picture_is_searched_by_as_base64_and_as_an_address(
    client: httpx2.Client, files: Path, by: str
) -> None:
    picture = {
        "base64": base64.b64encode(bytes_of(BALLOONS[7])).decode(),
        "data": data_url(BALLOONS[7]),
        "file": f"file://{files / 'balloon.png'}",
        "path": {"url": f"file://{files / 'balloon.png'}"},
    }[by]
    stage = search({"input_mode": "content", "value": "{{INPUT.picture}}"}, final_top_k=3)

    found = ask(client, [stage], inputs={"picture": picture})

    assert len(found["documents"]) == 3
    assert {one["metadata"]["category"] for one in found["documents"]} == {BALLOON}


def test_a_text_is_searched_by_in_the_flat_shape(client: httpx2.Client) -> None:
    mappings = {"input_mappings": {"text": "question"}}
    stage = {"stage_type": "feature_search", "feature_extractor": mappings, "top_k": 1}

    found = ask(client, [stage], "texts", inputs={"question": "please pay this bill"})

    assert ids(found) == ["a"]


def test_a_vector_is_searched_by_and_must_fit_the_space(client: httpx2.Client) -> None:
    nearest = ask(client, [search({"input_mode": "vector", "value": [1.0] + [0.0] * 1279})])

    short = client.post(
        "/v1/retrievers/execute",
        json={
            "collection_identifiers": ["goods"],
            "stages": [search({"input_mode": "vector", "value": [1.0, 0.0]})],
        },
    )

    assert len(nearest["documents"]) == 16
    assert "1280" in refused(short, 422)["message"]


def test_a_document_is_searched_by_and_is_not_its_own_look_alike(client: httpx2.Client) -> None:
    reference = {"collection_id": "col_goods", "document_id": "{{INPUT.id}}"}
    stage = search({"input_mode": "document", "document_ref": reference}, final_top_k=5)

    found = ask(client, [stage], inputs={"id": JIGSAWS[0]})

    assert set(ids(found)) == set(JIGSAWS[1:6])


def test_a_score_threshold_and_top_k_bound_what_is_found(client: httpx2.Client) -> None:
    mappings = {"input_mappings": {"image": "image"}}
    flat = {"stage_type": "feature_search", "feature_extractor": mappings}
    inputs = {"image": data_url(JIGSAWS[8])}

    alike = ask(client, [{**flat, "top_k": 50, "score_threshold": THRESHOLD}], inputs=inputs)
    few = ask(client, [{**flat, "top_k": 2, "score_threshold": THRESHOLD}], inputs=inputs)
    all_of_them = ask(client, [{**flat, "top_k": 50}], inputs=inputs)

    assert set(ids(alike)) == set(JIGSAWS[:6])
    assert all(one["score"] >= THRESHOLD for one in alike["documents"])
    assert ids(few) == ids(alike)[:2]
    assert ids(all_of_them)[:6] == ids(alike)
    assert len(ids(all_of_them)) == 16


def test_a_filter_before_the_search_bounds_what_is_searched_one_behind_it_what_is_shown(
    client: httpx2.Client,
) -> None:
    cheap = {"AND": [{"field": "price", "operator": "lt", "value": 10}]}
    nested = {"must": [{"key": "price", "match": {"operator": "lt", "value": 10}}]}
    attribute = {"stage_id": "attribute_filter", "parameters": {"conditions": cheap}}
    before = {"stage_type": "filter", "filters": nested}
    after = {"stage_name": "cheap", "config": attribute}
    near_jigsaws = search({"input_mode": "content", "value": data_url(JIGSAWS[7])}, final_top_k=4)

    first = ask(client, [before, near_jigsaws])
    last = ask(client, [near_jigsaws, after])
    asked_with = ask(client, [near_jigsaws], filters=cheap)

    assert len(ids(first)) == 4
    assert set(ids(first)) <= set(BALLOONS)
    assert ids(asked_with) == ids(first)
    assert ids(last) == []


def test_two_searches_are_fused(client: httpx2.Client) -> None:
    searches = [
        {"query": {"input_mode": "content", "value": data_url(name)}, "top_k": 6}
        for name in (BALLOONS[7], JIGSAWS[7])
    ]
    parameters = {"searches": searches, "final_top_k": 6, "fusion": "rrf"}
    stage = {
        "stage_name": "both",
        "config": {"stage_id": "feature_search", "parameters": parameters},
    }

    found = ask(client, [stage])

    kinds = [one["metadata"]["category"] for one in found["documents"]]
    assert {kinds.count(BALLOON), kinds.count(JIGSAW)} == {3}


def test_a_taxonomy_tells_what_it_would_say_of_what_is_found(client: httpx2.Client) -> None:
    enrich = {"stage_id": "taxonomy_enrich", "parameters": {"taxonomy_id": "tax_goods_category"}}
    near_jigsaws = search({"input_mode": "content", "value": data_url(JIGSAWS[7])}, final_top_k=2)

    found = ask(client, [near_jigsaws, {"stage_name": "enrich", "config": enrich}])

    for one in found["documents"]:
        if one["document_id"] != JIGSAWS[0]:
            said = one["taxonomies"]["goods_category"]["category"]
            assert said["label"] == JIGSAW
            assert said["source_document_id"] == JIGSAWS[0]


def test_what_is_found_comes_in_pages(client: httpx2.Client) -> None:
    stage = search({"input_mode": "content", "value": data_url(JIGSAWS[7])}, final_top_k=16)
    whole = ask(client, [stage])

    pages: list[str] = []
    cursor: str | None = None
    while cursor is not None or not pages:
        page = ask(client, [stage], pagination={"page_size": 5, "cursor": cursor})
        pages += ids(page)
        cursor = page["pagination"]["next_cursor"]

    assert pages == ids(whole)


def test_a_search_that_lacks_an_input_says_which(client: httpx2.Client) -> None:
    mappings = {"input_mappings": {"image": "picture"}}
    stage = {"stage_type": "feature_search", "feature_extractor": mappings}
    body = {"collection_identifiers": ["goods"], "stages": [stage]}

    error = refused(client.post("/v1/retrievers/execute", json={**body, "inputs": {}}), 422)
    outside = client.post(
        "/v1/retrievers/execute", json={**body, "inputs": {"picture": "file:///etc/hostname"}}
    )

    assert "'picture'" in error["message"]
    assert refused(outside, 422)["code"] == "fetch_refused"


def test_a_stored_search_can_be_changed_and_removed(client: httpx2.Client) -> None:
    stage = {"stage_type": "filter", "filters": {"field": "price", "operator": "eq", "value": 3}}
    body = {"retriever_name": "cheap", "collection_identifiers": ["col_goods"], "stages": [stage]}
    ok(client.post("/v1/retrievers", json=body))
    twice = client.post("/v1/retrievers", json=body)
    found = ok(client.post("/v1/retrievers/ret_cheap/execute", json={}))

    stage = {"stage_type": "filter", "filters": {"field": "price", "operator": "gt", "value": 3}}
    ok(client.patch("/v1/retrievers/cheap", json={"stages": [stage]}))
    after = ok(client.post("/v1/retrievers/cheap/execute"))
    ok(client.delete("/v1/retrievers/cheap"))

    assert refused(twice, 409)["code"] == "conflict"
    assert set(ids(found)) == set(BALLOONS[:6])
    assert set(ids(after)) == set(JIGSAWS[:6])
    refused(client.get("/v1/retrievers/cheap"), 404)
