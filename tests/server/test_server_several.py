"""A collection over several buckets, whose objects may be called the same, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

import patient
from goods import (
    BALLOON,
    IMAGE,
    JIGSAW,
    SIGNAL,
    THRESHOLD,
    Shop,
    asking,
    bytes_of,
    item,
    ok,
    pictures,
)
from serving import Served

BALLOONS, JIGSAWS, SIGNALS = pictures(BALLOON), pictures(JIGSAW), pictures(SIGNAL)
TAXONOMY = {"field_to_enrich": "category", "confidence_threshold": THRESHOLD}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    store: Path = tmp_path_factory.mktemp("several") / "store"
    with Served(store) as server, asking(server.url) as asked:
        yield asked


def named(name: str, id: str) -> dict[str, object]:
    return {**item(name), "object_id": id}


class TestTwoBuckets:
    """Steps of one story, in their order."""

    @pytest.fixture
    def first(self, client: httpx2.Client) -> Shop:
        return Shop(client, "first")

    @pytest.fixture
    def second(self, client: httpx2.Client) -> Shop:
        return Shop(client, "second")

    def test_a_label_in_one_bucket_labels_look_alikes_in_the_other(
        self, client: httpx2.Client, first: Shop, second: Shop
    ) -> None:
        first.open()
        second.open()
        source = {"type": "bucket", "bucket_ids": ["bkt_first", "second"]}
        body = {"collection_name": "both", "source": source, "feature_extractor": IMAGE}
        made = ok(client.post("/v1/collections", json={**body, "taxonomy": TAXONOMY}))
        first.put(*BALLOONS[:2])
        second.put(*BALLOONS[2:4])

        changed = second.say(BALLOONS[2], category=BALLOON)["changed"]

        assert made["source"]["bucket_ids"] == ["bkt_first", "bkt_second"]
        assert changed["labelled"] == {BALLOON: 3}
        assert first.labels("both") == dict.fromkeys(BALLOONS[:4], BALLOON)

    def test_pictures_of_either_bucket_can_be_seen(
        self, client: httpx2.Client, first: Shop
    ) -> None:
        documents = first.documents("both", return_presigned_urls="true")
        strips = ok(client.get("/v1/collections/both/queue"))["results"]

        for one in documents:
            blob = one["document_blobs"][0]
            assert client.get(blob["url"]).content == bytes_of(one["document_id"])
            assert patient.get(blob["presigned_url"]).content == bytes_of(one["document_id"])
            assert client.get(one["thumbnail_url"]).status_code == 200
        for one in (document for strip in strips for document in strip["documents"]):
            assert client.get(one["thumbnail_url"]).status_code == 200

    def test_two_objects_of_one_name_are_two_documents(
        self, client: httpx2.Client, first: Shop, second: Shop
    ) -> None:
        for shop, picture in ((first, JIGSAWS[0]), (second, SIGNALS[0])):
            put = shop.client.post(
                f"{shop.bucket}/objects", json=named(picture, "same"), params={"wait": 10}
            )
            assert ok(put)["status"] == "COMPLETED"

        second.say("same", category=SIGNAL)

        found = [one for one in first.documents("both") if one["object_id"] == "same"]
        assert [one["metadata"]["category"] for one in found] == [None, SIGNAL]
        assert found[0]["document_id"] == "same"
        assert found[1]["document_id"] != "same"
        assert client.get(found[1]["document_blobs"][0]["url"]).content == bytes_of(SIGNALS[0])

    def test_objects_of_either_bucket_can_be_extracted_again(self, client: httpx2.Client) -> None:
        body = {"object_ids": [BALLOONS[2]], "dedup_strategy": "force"}

        answer = client.post("/v1/collections/both/trigger", json=body)

        assert ok(answer, 202)["collection_id"] == "col_both"


def test_a_promotion_does_not_take_another_object_of_that_name_for_its_own(
    client: httpx2.Client,
) -> None:
    curated, working = Shop(client, "curated"), Shop(client, "working")
    curated.open()
    working.open()
    curated.collect("curated", taxonomy=TAXONOMY)
    working.collect("working", taxonomy={**TAXONOMY, "reference_collection": "curated"})
    for shop, picture, id in (
        (curated, BALLOONS[0], "known"),
        (curated, JIGSAWS[0], "IMG_0001"),
        (working, BALLOONS[1], "IMG_0001"),
    ):
        path, body = f"{shop.bucket}/objects", named(picture, id)
        assert ok(client.post(path, json=body, params={"wait": 10}))["status"] == "COMPLETED"
    curated.say("known", category=BALLOON)
    curated.say("IMG_0001", category=JIGSAW)

    for _ in range(2):
        ok(client.post("/v1/collections/working/promotions", json={"document_ids": ["IMG_0001"]}))

    found = {one["document_id"]: one for one in curated.documents("curated")}
    assert found["IMG_0001"]["metadata"]["category"] == JIGSAW
    assert client.get(found["IMG_0001"]["document_blobs"][0]["url"]).content == bytes_of(JIGSAWS[0])
    (copy,) = (one for id, one in found.items() if id not in ("known", "IMG_0001"))
    assert copy["metadata"]["category"] == BALLOON
    assert client.get(copy["document_blobs"][0]["url"]).content == bytes_of(BALLOONS[1])
