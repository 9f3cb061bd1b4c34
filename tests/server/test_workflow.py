"""The workflow from end to end, as its users write it: plain JSON to a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import patient
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

LABELLED = {"must": [{"key": "category", "match": {"operator": "ne", "value": None}}]}


def searching(collection: str) -> dict[str, Any]:
    """A retriever of labelled look-alikes, as the guide of the workflow writes it."""
    extractor = {
        "feature_extractor_name": "image",
        "version": "v1",
        "input_mappings": {"image": "image"},
    }
    search = {"stage_type": "feature_search", "feature_extractor": extractor, "top_k": 5}
    return {
        "retriever_name": f"labelled_{collection}",
        "collection_identifiers": [collection],
        "stages": [{"stage_type": "filter", "filters": LABELLED}, search],
    }


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    store: Path = tmp_path_factory.mktemp("workflow") / "store"
    with Served(store) as server, asking(server.url) as asked:
        yield asked


@pytest.fixture
def shop(client: httpx2.Client) -> Shop:
    return Shop(client, "unified")


@pytest.fixture
def curated(client: httpx2.Client) -> Shop:
    return Shop(client, "golden")


@pytest.fixture
def working(client: httpx2.Client) -> Shop:
    return Shop(client, "stock")


class TestUnified:
    """One collection that refers to itself: the tests are steps of one story, in their order."""

    balloons, jigsaws, signals = pictures(BALLOON), pictures(JIGSAW), pictures(SIGNAL)
    references = (balloons[0], jigsaws[0])

    def test_a_retriever_may_name_a_collection_that_is_not_there_yet(self, shop: Shop) -> None:
        opened = shop.open(price="number")
        made = ok(shop.client.post("/v1/retrievers", json=searching("products")))

        error = refused(
            shop.client.post(
                f"/v1/retrievers/{made['retriever_id']}/execute",
                json={"inputs": {"image": "https://example.com/a.png"}},
            ),
            409,
        )

        assert opened["bucket_id"] == "bkt_unified"
        assert made["retriever_id"] == "ret_labelled_products"
        assert "products" in error["message"]
        assert "does not exist" in error["message"]

    def test_a_collection_says_its_taxonomy_inline(self, shop: Shop) -> None:
        made = shop.collect(
            "products",
            feature_extractor={
                "feature_extractor_name": "image",
                "version": "v1",
                "input_mappings": {"image": "image"},
                "field_passthrough": ["price", {"source_path": "category"}],
            },
            taxonomy={
                "retriever_id": "ret_labelled_products",
                "field_to_enrich": "category",
                "confidence_threshold": THRESHOLD,
            },
        )

        (field,) = made["fields"]
        assert made["collection_id"] == "col_products"
        assert (field["field"], field["mode"], field["limit"]) == ("category", "unified", THRESHOLD)

    def test_what_is_uploaded_is_a_document_without_a_label(self, shop: Shop) -> None:
        shop.put(*self.balloons[:6], price=3)
        shop.put(*self.jigsaws[:6], price=5)

        found = shop.documents("products")

        assert len(found) == 12
        for one in found:
            assert one["metadata"] == {"price": one["metadata"]["price"], "category": None}
            assert one["taxonomy_match"]["matched"] is False
            assert one["taxonomy_match"]["reason"] == "no_references"
            assert "source_document_id" not in one["taxonomy_match"]

    def test_a_picture_can_be_sent_to_a_signed_address(self, shop: Shop) -> None:
        name = self.signals[0]
        body = {
            "filename": name,
            "content_type": "image/png",
            "blob_property": "image",
            "object_metadata": {"price": 7},
        }
        upload = ok(shop.client.post(f"{shop.bucket}/uploads", json=body))

        sent = patient.put(upload["presigned_url"], content=bytes_of(name))
        confirmed = ok(shop.client.post(f"{shop.bucket}/uploads/{upload['upload_id']}/confirm"))
        done = ok(
            shop.client.patch(
                f"{shop.bucket}/objects/{confirmed['object_id']}",
                json={"metadata": {"price": 8}},
                params={"wait": 60},
            )
        )

        assert sent.status_code == 200
        assert (done["status"], done["metadata"]) == ("COMPLETED", {"price": 8})
        (found,) = shop.documents("products", {"field": "price", "operator": "eq", "value": 8})
        assert found["object_id"] == confirmed["object_id"]
        assert found["metadata"]["category"] is None

    def test_a_label_on_an_object_labels_its_look_alikes_at_once(self, shop: Shop) -> None:
        balloon = shop.say(self.balloons[0], category=BALLOON)
        jigsaw = shop.say(self.jigsaws[0], category=JIGSAW)

        assert balloon["changed"]["labelled"] == {BALLOON: 5}
        assert jigsaw["changed"]["labelled"] == {JIGSAW: 5}
        labels = shop.labels("products")
        assert {labels.pop(name) for name in self.balloons[:6]} == {BALLOON}
        assert {labels.pop(name) for name in self.jigsaws[:6]} == {JIGSAW}
        assert list(labels.values()) == [None]

    def test_a_new_upload_labels_itself_and_tells_why(self, shop: Shop) -> None:
        shop.put(self.balloons[6])

        found = shop.document("products", self.balloons[6])

        match = found["taxonomy_match"]
        assert found["metadata"]["category"] == BALLOON
        assert (match["matched"], match["reason"]) == (True, None)
        assert match["source_document_id"] == self.balloons[0]
        assert match["confidence"] >= match["threshold"] == THRESHOLD
        assert {near["document_id"] for near in match["neighbors"]} <= set(self.references)
        assert match["neighbors"][0]["similarity"] == pytest.approx(match["confidence"], abs=1e-3)
        assert (match["policy"], match["taxonomy_version"]) == ("threshold.v1", 1)

    def test_what_is_null_waits_for_review_in_both_dialects(self, shop: Shop) -> None:
        shop.put(*self.signals[1:4])
        plain = {"AND": [{"field": "category", "operator": "eq", "value": None}]}
        nested = {"must": [{"key": "category", "match": {"operator": "eq", "value": None}}]}

        by_plain, by_nested = shop.documents("products", plain), shop.documents("products", nested)

        assert by_plain == by_nested
        assert {one["taxonomy_match"]["reason"] for one in by_plain} == {"below_threshold"}
        assert len(by_plain) == 4
        assert len(shop.documents("products", LABELLED)) == 13

    def test_labels_that_labelled_themselves_vote_only_when_they_are_promoted(
        self, shop: Shop
    ) -> None:
        before = shop.document("products", self.balloons[5])["taxonomy_match"]
        sure = {"field": "taxonomy_match.confidence", "operator": "gte", "value": 0.9}
        surest = shop.documents("products", sure)

        done = ok(
            shop.client.post(
                "/v1/collections/products/promotions",
                json={"filters": sure, "limit_per_label": 2, "op_id": "promote-the-sure"},
            )
        )

        promoted = {
            one["document_id"]: one["labels"]["category"]
            for one in shop.documents("products")
            if one["labels"]["category"]["origin"] == "promoted"
        }
        assert {near["document_id"] for near in before["neighbors"]} <= set(self.references)
        assert done["operation_id"] == "promote-the-sure"
        assert done["changed"]["by_person"] == len(promoted) > 0
        assert promoted.keys() <= {one["document_id"] for one in surest}
        assert all(one["is_reference"] for one in promoted.values())

    def test_the_distribution_of_a_field_counts_null_too(self, shop: Shop) -> None:
        found = ok(
            shop.client.get(
                "/v1/collections/products/analytics/field-distribution",
                params={"field": "category"},
            )
        )

        assert found["distribution"] == {BALLOON: 7, JIGSAW: 6}
        assert (found["null_count"], found["total"]) == (4, 17)

    def test_the_unsure_can_be_filtered_and_sorted_by_confidence(self, shop: Shop) -> None:
        path = "taxonomy_match.confidence"
        low = {"must": [{"key": path, "match": {"operator": "lt", "value": 0.9}}]}

        unsure = shop.documents("products", low, sort_by=path)
        rising = shop.documents("products", sort_by=path)
        falling = shop.documents("products", sort_by=f"-{path}")

        assert unsure
        assert all(one["taxonomy_match"]["confidence"] < 0.9 for one in unsure)
        for found, descending in ((unsure, False), (rising, False), (falling, True)):
            known = [one["taxonomy_match"]["confidence"] for one in found if one["taxonomy_match"]]
            known = [one for one in known if one is not None]
            assert known == sorted(known, reverse=descending)
        assert len(rising) == len(falling) == 17

    def test_the_retriever_finds_the_labelled_look_alikes(self, shop: Shop) -> None:
        found = ok(
            shop.client.post(
                "/v1/retrievers/labelled_products/execute",
                json={"inputs": {"image": data_url(self.balloons[7])}},
            )
        )

        assert len(found["documents"]) == 5
        assert {one["metadata"]["category"] for one in found["documents"]} == {BALLOON}
        scores = [one["score"] for one in found["documents"]]
        assert scores == sorted(scores, reverse=True)


class TestSeparate:
    """A working collection that refers to a curated one: steps of one story, in their order."""

    balloons, jigsaws = pictures(BALLOON), pictures(JIGSAW)

    def test_only_curated_labels_decide(self, curated: Shop, working: Shop) -> None:
        curated.open()
        working.open()
        curated.collect("reference")
        ok(curated.client.post("/v1/retrievers", json=searching("reference")))
        taxonomy = {
            "retriever_id": "labelled_reference",
            "field_to_enrich": "category",
            "confidence_threshold": THRESHOLD,
        }
        made = working.collect("goods", taxonomy=taxonomy)
        curated.put(self.balloons[0], category=BALLOON)

        working.put(*self.balloons[1:4], *self.jigsaws[:4])
        working.say(self.jigsaws[0], category=JIGSAW)

        (field,) = made["fields"]
        labels = working.labels("goods")
        assert (field["mode"], field["reference_collection_id"]) == ("separate", "col_reference")
        assert {labels[name] for name in self.balloons[1:4]} == {BALLOON}
        assert labels[self.jigsaws[0]] == JIGSAW
        assert {labels[name] for name in self.jigsaws[1:4]} == {None}

    def test_a_match_names_the_curated_document(self, working: Shop) -> None:
        match = working.document("goods", self.balloons[1])["taxonomy_match"]

        assert match["source_document_id"] == self.balloons[0]

    def test_a_label_in_the_curated_bucket_reaches_the_working_one(
        self, curated: Shop, working: Shop
    ) -> None:
        changed = curated.say(self.balloons[0], category="Toy")
        labels = working.labels("goods")
        back = curated.say(self.balloons[0], category=BALLOON)

        assert changed["changed"]["relabelled"] == {"Toy": 3}
        assert {labels[name] for name in self.balloons[1:4]} == {"Toy"}
        assert back["changed"]["relabelled"] == {BALLOON: 3}

    def test_what_is_promoted_becomes_a_curated_reference(
        self, curated: Shop, working: Shop
    ) -> None:
        chosen = {"field": "taxonomy_match.confidence", "operator": "gte", "value": THRESHOLD}

        done = ok(
            working.client.post(
                "/v1/collections/goods/promotions",
                json={"filters": chosen, "min_confidence": THRESHOLD, "limit_per_label": 1},
            )
        )

        (copy,) = (
            one
            for one in curated.documents("reference")
            if one["labels"]["category"]["origin"] == "promoted"
        )
        assert done["changed"]["refused"] == {}
        assert copy["document_id"] in self.balloons[1:4]
        assert copy["metadata"]["category"] == BALLOON
        assert working.labels("goods")[self.jigsaws[1]] is None

    def test_both_may_draw_on_one_bucket(self, curated: Shop) -> None:
        taxonomy = {
            "retriever_id": "ret_labelled_reference",
            "field_to_enrich": "category",
            "confidence_threshold": THRESHOLD,
        }
        curated.collect("twin", taxonomy=taxonomy)

        curated.put(self.balloons[5])

        found = curated.document("twin", self.balloons[5])
        assert found["metadata"]["category"] == BALLOON
        assert found["labels"]["category"]["origin"] == "auto"
