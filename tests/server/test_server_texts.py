"""Texts, and several label fields at once, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from goods import BALLOON, JIGSAW, THRESHOLD, Shop, asking, item, ok, pictures
from serving import Served

BALLOONS, JIGSAWS = pictures(BALLOON), pictures(JIGSAW)
INVOICES = (
    "Invoice number 4711: please pay the amount of 120 euros within 14 days.",
    "Invoice 9 for March: the amount due is 80 euros, please pay within 30 days.",
    "Your invoice: 3 chairs, total amount 450 euros, payable within 14 days.",
)
RECIPES = (
    "Whisk the eggs with sugar, fold in the flour and bake for forty minutes.",
    "Beat butter and sugar, add eggs and flour, then bake the cake until golden.",
    "Mix flour, eggs and milk to a batter and fry thin pancakes in butter.",
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    store: Path = tmp_path_factory.mktemp("texts") / "store"
    with Served(store) as server, asking(server.url) as asked:
        yield asked


def test_texts_label_each_other_without_a_retriever(client: httpx2.Client) -> None:
    properties = {"content": {"type": "text"}, "kind": {"type": "string"}}
    ok(
        client.post(
            "/v1/buckets",
            json={"bucket_name": "letters", "bucket_schema": {"properties": properties}},
        )
    )
    made = ok(
        client.post(
            "/v1/collections",
            json={
                "collection_name": "post",
                "source": {"type": "bucket", "bucket_ids": ["bkt_letters"]},
                "feature_extractor": {
                    "feature_extractor_name": "text_extractor",
                    "version": "v1",
                    "input_mappings": {"text": "content"},
                },
                "taxonomy": {"field_to_enrich": "kind", "confidence_threshold": 0.3},
            },
        )
    )
    as_blobs = [
        {"object_id": f"i{n}", "blobs": [{"property": "content", "type": "text", "data": text}]}
        for n, text in enumerate(INVOICES)
    ]
    as_metadata = [
        {"object_id": f"r{n}", "metadata": {"content": text}} for n, text in enumerate(RECIPES)
    ]
    put = ok(
        client.post(
            "/v1/buckets/letters/objects/batch?wait=60", json={"objects": as_blobs + as_metadata}
        )
    )
    for id, kind in (("i0", "Invoice"), ("r0", "Recipe")):
        ok(client.patch(f"/v1/buckets/letters/objects/{id}", json={"metadata": {"kind": kind}}))

    labels = Shop(client, "letters").labels("post", "kind")

    assert (made["fields"][0]["mode"], made["fields"][0]["field"]) == ("unified", "kind")
    assert put["failed"] == []
    assert labels == {
        **dict.fromkeys(("i0", "i1", "i2"), "Invoice"),
        **dict.fromkeys(("r0", "r1", "r2"), "Recipe"),
    }


def test_a_text_that_is_changed_is_read_again(client: httpx2.Client) -> None:
    path = "/v1/buckets/letters/objects/r2"

    ok(client.patch(f"{path}?wait=60", json={"metadata": {"content": INVOICES[2]}}))

    assert Shop(client, "letters").labels("post", "kind")["r2"] == "Invoice"


def test_a_list_of_fields_is_as_many_labels_each_on_its_own(client: httpx2.Client) -> None:
    shop = Shop(client, "two")
    shop.open(shelf="string")
    made = shop.collect(
        "two",
        taxonomy={"field_to_enrich": ["category", "shelf"], "confidence_threshold": THRESHOLD},
    )
    shop.put(*BALLOONS[:4], *JIGSAWS[:3])

    shop.say(BALLOONS[0], category=BALLOON, shelf="left")
    shop.say(JIGSAWS[0], shelf="right")

    assert [one["field"] for one in made["fields"]] == ["category", "shelf"]
    assert set(shop.labels("two", "category").values()) == {BALLOON, None}
    shelves = shop.labels("two", "shelf")
    assert {shelves[name] for name in BALLOONS[:4]} == {"left"}
    assert {shelves[name] for name in JIGSAWS[:3]} == {"right"}
    found = shop.document("two", BALLOONS[1])
    assert found["labels"].keys() == {"category", "shelf"}
    assert found["labels"]["shelf"]["match"]["source_document_id"] == BALLOONS[0]


def test_fields_to_enrich_are_a_label_and_what_is_copied_from_the_same_reference(
    client: httpx2.Client,
) -> None:
    curated = Shop(client, "catalogue")
    curated.open(price="number", brand="string")
    curated.collect("catalogue")
    working = Shop(client, "incoming")
    working.open()
    ok(client.post("/v1/retrievers", json=_retriever("catalogue")))
    fields: list[Any] = [
        {"field_path": "category", "target_field": "kind"},
        {"field_path": "price", "merge_mode": "replace"},
        "brand",
    ]
    working.collect(
        "incoming",
        taxonomy={
            "retriever_id": "ret_of_catalogue",
            "enrichment_fields": fields,
            "confidence_threshold": THRESHOLD,
        },
    )
    curated.put(BALLOONS[0], category=BALLOON, price=3, brand="Up")
    curated.put(JIGSAWS[0], category=JIGSAW, price=20, brand="Down")

    working.put(BALLOONS[1], JIGSAWS[1])

    balloon, jigsaw = (working.document("incoming", n) for n in (BALLOONS[1], JIGSAWS[1]))
    assert balloon["metadata"] == {"kind": BALLOON, "price": 3, "brand": "Up"}
    assert jigsaw["metadata"] == {"kind": JIGSAW, "price": 20, "brand": "Down"}
    assert balloon["taxonomy_match"]["source_document_id"] == BALLOONS[0]


def test_what_is_copied_follows_the_reference_and_can_be_filtered(client: httpx2.Client) -> None:
    curated, working = Shop(client, "catalogue"), Shop(client, "incoming")

    curated.say(BALLOONS[0], price=4)

    assert working.document("incoming", BALLOONS[1])["metadata"]["price"] == 4
    cheap = working.documents("incoming", {"field": "price", "operator": "lt", "value": 10})
    assert [one["document_id"] for one in cheap] == [BALLOONS[1]]
    by_price = working.documents("incoming", sort_by="-price")
    assert [one["document_id"] for one in by_price] == [JIGSAWS[1], BALLOONS[1]]


def test_labels_of_an_upload_are_imports_and_vote_at_once(client: httpx2.Client) -> None:
    shop = Shop(client, "arriving")
    shop.open()
    shop.collect("arriving", taxonomy={"field_to_enrich": "category", "confidence_threshold": 0.7})

    body = {"objects": [item(BALLOONS[0], category=BALLOON), item(BALLOONS[1])]}
    ok(client.post(f"{shop.bucket}/objects/batch?wait=60", json=body))

    given, other = (shop.document("arriving", name) for name in BALLOONS[:2])
    assert given["labels"]["category"]["origin"] == "import"
    assert given["taxonomy_match"] is None
    assert (other["labels"]["category"]["origin"], other["metadata"]["category"]) == (
        "auto",
        BALLOON,
    )


def _retriever(collection: str) -> dict[str, Any]:
    search = {"stage_type": "feature_search", "feature_extractor": {}, "top_k": 5}
    return {
        "retriever_name": f"of_{collection}",
        "collection_identifiers": [collection],
        "stages": [search],
    }
