"""Taxonomies over HTTP: flat and as paths, versions, copies, and asking without recording."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from goods import (
    BALLOON,
    IMAGE,
    JIGSAW,
    SIGNAL,
    THRESHOLD,
    Shop,
    asking,
    data_url,
    ok,
    pictures,
    refused,
)
from serving import Served

BALLOONS, JIGSAWS, SIGNALS = pictures(BALLOON), pictures(JIGSAW), pictures(SIGNAL)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    store: Path = tmp_path_factory.mktemp("taxonomies") / "store"
    with Served(store) as server, asking(server.url) as asked:
        yield asked


def done(client: httpx2.Client, task: str) -> dict[str, Any]:
    """Return a task when it has ended."""
    while True:
        found = ok(client.get(f"/v1/tasks/{task}"))
        if found["status"] in ("COMPLETED", "FAILED"):
            return found


def taxonomy(client: httpx2.Client, name: str, **config: Any) -> dict[str, Any]:
    return ok(client.post("/v1/taxonomies", json={"taxonomy_name": name, "config": config}))


class TestFlat:
    """Steps of one story, in their order."""

    def test_a_taxonomy_decides_where_it_is_attached(self, client: httpx2.Client) -> None:
        curated, working = Shop(client, "golden"), Shop(client, "stock")
        curated.open(price="number")
        curated.collect("golden", taxonomy={"field_to_enrich": "category"})
        curated.put(BALLOONS[0], category=BALLOON, price=3)
        curated.put(JIGSAWS[0], category=JIGSAW, price=20)
        working.open()
        source = {
            "collection_id": "col_golden",
            "enrichment_fields": [{"field_path": "category"}, {"field_path": "price"}],
        }
        made = taxonomy(
            client,
            "kinds",
            taxonomy_type="flat",
            input_mappings=[{"input_key": "image", "source_type": "payload", "path": "image"}],
            source_collection=source,
            confidence_threshold=THRESHOLD,
        )
        applied = [{"taxonomy_id": made["taxonomy_id"], "execution_mode": "materialize"}]
        collection = working.collect("stock", taxonomy_applications=applied)

        working.put(BALLOONS[1], JIGSAWS[1], SIGNALS[1])

        assert made["taxonomy_id"] == "tax_kinds"
        assert made["version"] == 1
        assert collection["taxonomy_applications"][0]["taxonomy_id"] == "tax_kinds"
        found = {one["document_id"]: one["metadata"] for one in working.documents("stock")}
        assert found[BALLOONS[1]] == {"category": BALLOON, "price": 3}
        assert found[JIGSAWS[1]] == {"category": JIGSAW, "price": 20}
        assert found[SIGNALS[1]]["category"] is None

    def test_it_can_be_asked_and_records_nothing(self, client: httpx2.Client) -> None:
        shop = Shop(client, "aside")
        shop.open()
        shop.collect("aside")
        shop.put(BALLOONS[2], SIGNALS[2])
        documents = [
            {"document_id": name, "collection_id": "col_aside"}
            for name in (BALLOONS[2], SIGNALS[2])
        ]

        by_id = ok(
            client.post("/v1/taxonomies/kinds/execute", json={"source_documents": documents})
        )
        by_collection = ok(
            client.post("/v1/taxonomies/kinds/execute", json={"source_collection_id": "aside"})
        )

        first, second = by_id["results"]
        assert first["enrichment"] == {"category": BALLOON, "price": 3}
        assert second["enrichment"] == {"category": None}
        assert by_id["stats"] == {"processed_docs": 2, "batches": 1, "errors": 0, "enriched": 1}
        assert by_collection["results"] == by_id["results"]
        (match,) = by_id["matches"]
        assert (match["label"], match["source_document_id"]) == (BALLOON, BALLOONS[0])
        assert match["score"] >= THRESHOLD
        assert shop.document("aside", BALLOONS[2])["labels"] == {}

    def test_a_retriever_enriches_what_it_finds_with_all_of_it(self, client: httpx2.Client) -> None:
        mappings = {"input_mappings": {"image": "image"}}
        enrich = {"stage_id": "taxonomy_enrich", "parameters": {"taxonomy_id": "tax_kinds"}}
        body = {
            "collection_identifiers": ["aside"],
            "stages": [
                {"stage_type": "feature_search", "feature_extractor": mappings, "top_k": 1},
                {"stage_name": "enrich", "config": enrich},
            ],
            "inputs": {"image": data_url(BALLOONS[3])},
        }

        (found,) = ok(client.post("/v1/retrievers/execute", json=body))["documents"]

        assert found["metadata"]["category"] == BALLOON
        said = found["taxonomies"]["kinds"]["category"]
        assert (said["label"], said["copied"]) == (BALLOON, {"price": 3})

    def test_a_new_version_counts_when_it_is_applied(self, client: httpx2.Client) -> None:
        shop = Shop(client, "stock")
        source = {"collection_id": "col_golden", "enrichment_fields": ["category", "price"]}
        config = {"source_collection": source, "confidence_threshold": 0.99}

        second = ok(client.post("/v1/taxonomies/kinds/versions", json={"config": config}))
        before = shop.labels("stock")
        task = ok(
            client.post("/v1/collections/stock/apply-taxonomy", json={"taxonomy_id": "tax_kinds"})
        )
        result = done(client, task["task_id"])

        assert (second["version"], second["config"]["confidence_threshold"]) == (2, 0.99)
        assert before[BALLOONS[1]] == BALLOON
        assert result["status"] == "COMPLETED", result
        assert set(shop.labels("stock").values()) == {None}
        versions = ok(client.get("/v1/taxonomies/kinds/versions"))["results"]
        assert [one["version"] for one in versions] == [1, 2]
        first = ok(client.get("/v1/taxonomies/kinds", params={"version": 1}))
        assert first["config"]["confidence_threshold"] == THRESHOLD

    def test_a_run_by_a_taxonomy_can_be_undone(self, client: httpx2.Client) -> None:
        shop = Shop(client, "stock")
        newest = ok(client.get("/v1/collections/stock/operations"))["results"][0]

        ok(client.post(f"/v1/operations/{newest['id']}/undo"))

        assert shop.labels("stock")[BALLOONS[1]] == BALLOON

    def test_a_copy_is_a_taxonomy_of_its_own(self, client: httpx2.Client) -> None:
        copied = ok(client.post("/v1/taxonomies/kinds/clone", json={"taxonomy_name": "kinds_2"}))

        assert copied["source_taxonomy_id"] == "tax_kinds"
        assert copied["taxonomy"]["version"] == 1
        assert copied["taxonomy"]["config"]["confidence_threshold"] == 0.99
        assert copied["taxonomy"]["applied_to"] == []

    def test_labels_outlive_their_taxonomy(self, client: httpx2.Client) -> None:
        ok(client.delete("/v1/taxonomies/kinds"))

        refused(client.get("/v1/taxonomies/kinds"), 404)
        assert Shop(client, "stock").labels("stock")[BALLOONS[1]] == BALLOON
        assert ok(client.get("/v1/collections/stock"))["taxonomy_applications"] == []


class TestPaths:
    """A tree of labels: steps of one story, in their order."""

    def test_a_path_is_a_text_or_a_list_of_its_parts(self, client: httpx2.Client) -> None:
        shop = Shop(client, "tree")
        ok(client.post("/v1/buckets", json={"bucket_name": "tree", "schema": {"properties": {}}}))
        taxonomy(
            client,
            "tree",
            taxonomy_type="hierarchical",
            path_field="folder",
            confidence_threshold=THRESHOLD,
        )
        shop.collect("tree", taxonomy_applications=[{"taxonomy_id": "tax_tree"}])
        shop.put(BALLOONS[0], folder=["Party", "Balloon"])
        shop.put(JIGSAWS[0], folder="Game/Jigsaw")
        shop.put(SIGNALS[0], folder="Flag > Signal")

        shop.put(BALLOONS[1], JIGSAWS[1])

        assert shop.labels("tree", "folder") == {
            BALLOONS[0]: BALLOON,
            BALLOONS[1]: BALLOON,
            JIGSAWS[0]: JIGSAW,
            JIGSAWS[1]: JIGSAW,
            SIGNALS[0]: SIGNAL,
        }

    def test_a_person_may_say_a_path_in_any_of_these_ways(self, client: httpx2.Client) -> None:
        shop = Shop(client, "tree")

        by_list = shop.say(BALLOONS[1], folder=["Party", "Balloon", "Round"])
        labelled = ok(
            client.post(
                "/v1/collections/tree/labels",
                json={"updates": [{"document_id": JIGSAWS[1], "label": "Game/Jigsaw/Blue"}]},
            )
        )

        assert by_list["metadata"]["folder"] == "Party > Balloon > Round"
        assert labelled["changed"]["by_person"] == 1
        assert shop.labels("tree", "folder")[JIGSAWS[1]] == "Game > Jigsaw > Blue"

    def test_the_nodes_are_the_paths_with_all_above_them(self, client: httpx2.Client) -> None:
        nodes = ok(client.get("/v1/taxonomies/tree"))["nodes"]

        by_path = {tuple(one["path"]): one for one in nodes}
        assert by_path.keys() == {
            ("Flag",),
            ("Flag", "Signal"),
            ("Game",),
            ("Game", "Jigsaw"),
            ("Game", "Jigsaw", "Blue"),
            ("Party",),
            ("Party", "Balloon"),
            ("Party", "Balloon", "Round"),
        }
        assert by_path["Party", "Balloon"]["level"] == 1
        assert by_path["Party", "Balloon"]["label"] == "Balloon"

    def test_a_branch_is_found_by_how_its_paths_begin(self, client: httpx2.Client) -> None:
        branch = {"field": "folder", "operator": "starts_with", "value": "Party"}

        found = Shop(client, "tree").documents("tree", branch)

        assert [one["document_id"] for one in found] == list(BALLOONS[:2])

    def test_another_separator_can_be_said(self, client: httpx2.Client) -> None:
        shop = Shop(client, "dots")
        shop.open()
        inline = {
            "taxonomy_type": "hierarchical",
            "path_field": "category",
            "path_separator": ".",
            "confidence_threshold": THRESHOLD,
        }
        shop.collect("dots", taxonomy=inline)

        shop.put(BALLOONS[0], category="Party.Balloon")
        shop.put(JIGSAWS[0], category="Either/or")

        assert shop.labels("dots") == {BALLOONS[0]: BALLOON, JIGSAWS[0]: "Either/or"}

    def test_a_field_is_exclusive_from_the_beginning_or_never(self, client: httpx2.Client) -> None:
        shop = Shop(client, "once")
        shop.open()
        inline = {"field_to_enrich": "category", "confidence_threshold": THRESHOLD}
        shop.collect("once", taxonomy={**inline, "exclusive": "image"})
        shop.collect("often", taxonomy=inline)

        (once,) = ok(client.get("/v1/collections/once"))["fields"]
        late = {"taxonomy": {**inline, "exclusive": "image"}}

        assert (once["exclusive"], once["low_quality"]) == ("image", False)
        assert (
            "exclusive 'image'"
            in refused(client.patch("/v1/collections/often", json=late), 409)["message"]
        )

    def test_without_a_path_field_a_slash_is_a_slash(self, client: httpx2.Client) -> None:
        shop = Shop(client, "slash")
        shop.open()
        shop.collect("slash", taxonomy={"field_to_enrich": "category"})

        shop.put(BALLOONS[0], category="Either/or")

        assert shop.labels("slash") == {BALLOONS[0]: "Either/or"}


class TestDerived:
    """A collection that draws on another collection."""

    def test_it_has_what_the_other_one_extracts_with_labels_of_its_own(
        self, client: httpx2.Client
    ) -> None:
        shop = Shop(client, "origin")
        shop.open()
        shop.collect(
            "origin", taxonomy={"field_to_enrich": "category", "confidence_threshold": 0.7}
        )
        shop.put(*BALLOONS[:3])
        source = {"type": "collection", "collection_id": "col_origin"}
        body = {"collection_name": "derived", "source": source, "feature_extractor": IMAGE}
        rule = {"field_to_enrich": "tone", "confidence_threshold": THRESHOLD}
        made = ok(client.post("/v1/collections", json={**body, "taxonomy": rule}))
        shop.put(*BALLOONS[3:5])
        shop.say(BALLOONS[0], tone="bright", category=BALLOON)

        assert made["source"]["type"] == "collection"
        assert made["source"]["collection_id"] == "col_origin"
        labels = {
            shop.document("derived", one["document_id"])["object_id"]: one["metadata"]["tone"]
            for one in shop.documents("derived")
        }
        assert labels == dict.fromkeys(BALLOONS[:5], "bright")
        assert set(shop.labels("origin").values()) == {BALLOON}

    def test_the_other_one_cannot_go_while_it_is_drawn_on(self, client: httpx2.Client) -> None:
        error = refused(client.delete("/v1/collections/origin"), 409)

        assert "derived" in error["message"]
        ok(client.delete("/v1/collections/derived"))
        ok(client.delete("/v1/collections/origin"))
