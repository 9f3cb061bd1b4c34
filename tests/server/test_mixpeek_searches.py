"""The published client searches: retrievers that are stored, and searches that are not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from published import PICTURES, Published, inline, mixpeek, refused
from serving import Served


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    with Served(tmp_path_factory.mktemp("searches") / "store") as running:
        yield Published(running.url)


@pytest.fixture(scope="module")
def goods(client: Published) -> dict[str, str]:
    ids = client.make_labelled("goods")
    client.make_retriever("near", "goods")
    return ids


@pytest.fixture(scope="module")
def notes(client: Published) -> str:
    """A collection of texts."""
    properties = {"note": {"type": "text"}}
    client.short.buckets.create(name="notes", bucket_schema={"properties": properties})
    for text in ("a red car with a big engine", "how to bake bread", "the history of Rome"):
        blob = {"property": "note", "type": "text", "data": text}
        client.short.buckets.upload("notes", blobs=[blob])
    client.short.collections.create(
        name="notes",
        source={"type": "bucket", "bucket_ids": ["notes"]},
        feature_extractor={"feature_extractor_name": "text_extractor", "version": "v1"},
    )
    client.await_documents("notes", 3)
    return "notes"


def run(client: Published, retriever: str, **asked: Any) -> Any:
    body = mixpeek.ExecuteRetrieverRequest.from_dict(asked)
    return client.retrievers.execute_retriever(retriever, execute_retriever_request=body)


def titles(found: Any) -> list[str]:
    return [one["metadata"]["title"] for one in found.results]


# --- stored -------------------------------------------------------------------------------------


def test_a_retriever_reads_back_as_it_was_made(client: Published, goods: dict[str, str]) -> None:
    found = client.retrievers.get_retriever("ret_near")

    assert found.retriever_name == "near"
    assert found.collection_identifiers == ["goods"]
    assert found.stages[0].config["stage_id"] == "feature_search"
    assert found.input_schema["image"].type == "image"


def test_a_list_of_retrievers_is_searched(client: Published, goods: dict[str, str]) -> None:
    body = mixpeek.ListRetrieversRequest.from_dict({"search": "NEAR", "sort": {"field": "name"}})

    found = client.retrievers.list_retrievers(list_retrievers_request=body).results

    assert [one.retriever_name for one in found] == ["goods_kinds_near", "near"]


def test_a_search_by_a_picture_finds_what_looks_like_it(
    client: Published, goods: dict[str, str]
) -> None:
    found = run(client, "near", inputs={"image": inline("balloon-purple-aj")}, limit=2)

    assert titles(found) == ["balloon-green-aj", "balloon-blue-aj"]
    assert found.results[0]["score"] > 0.9
    assert found.retriever_id == "ret_near"
    assert found.stage_statistics.stages["0_feature_search"].output_count == 5


def test_filters_narrow_a_search(client: Published, goods: dict[str, str]) -> None:
    cheap = {"AND": [{"field": "price", "operator": "lt", "value": 4}]}

    found = client.short.retrievers.execute(
        "near", inputs={"image": inline("balloon-purple-aj")}, filters=cheap
    )

    assert titles(found)[0] == "balloon-red-aj"
    assert len(found.results) == 3


def test_pages_of_a_search_go_on(client: Published, goods: dict[str, str]) -> None:
    asked = {"inputs": {"image": inline("balloon-purple-aj")}}
    first = run(client, "near", pagination={"method": "offset", "page_size": 3}, **asked)
    rest = run(
        client, "near", pagination={"method": "offset", "page_size": 3, "page_number": 2}, **asked
    )

    both = titles(first) + titles(rest)
    assert both == titles(run(client, "near", **asked))
    assert len(both) == 5


def test_many_queries_are_answered_in_order(client: Published, goods: dict[str, str]) -> None:
    queries = [{"image": inline(one)} for one in ("apple", "car")] * 10

    found = client.short.retrievers.execute_batch("near", queries=queries, concurrency=2)

    assert [titles(one)[0] for one in found.results] == ["apple", "car"] * 10


def test_a_missing_input_is_named(client: Published, goods: dict[str, str]) -> None:
    status, message = refused(lambda: run(client, "near", inputs={"picture": inline("apple")}))

    assert status == 422
    assert "'image'" in message


def test_a_retriever_changes_but_for_its_name(client: Published) -> None:
    client.make_retriever("changing", "goods")
    described = mixpeek.PatchRetrieverRequest.from_dict({"description": "by looks"})
    renamed = mixpeek.PatchRetrieverRequest.from_dict({"retriever_name": "other"})

    changed = client.retrievers.patch_retriever("changing", described).retriever

    assert changed.description == "by looks"
    assert changed.version == 2
    assert refused(lambda: client.retrievers.patch_retriever("changing", renamed))[0] == 409


def test_a_clone_searches_elsewhere(client: Published, goods: dict[str, str]) -> None:
    body = mixpeek.CloneRetrieverRequest.from_dict(
        {"retriever_name": "near_notes", "collection_identifiers": ["elsewhere"]}
    )

    made = client.retrievers.clone_retriever("near", body)

    assert made.source_retriever_id == "ret_near"
    assert made.retriever.collection_identifiers == ["elsewhere"]
    status, message = refused(lambda: run(client, "near_notes", inputs={"image": inline("apple")}))
    assert status == 409
    assert "elsewhere" in message


def test_a_deleted_retriever_is_gone(client: Published) -> None:
    client.make_retriever("short_lived", "goods")

    client.short.retrievers.delete("short_lived")

    assert refused(lambda: client.retrievers.get_retriever("short_lived"))[0] == 404


def test_a_stage_gives_what_a_taxonomy_says(client: Published, goods: dict[str, str]) -> None:
    enriching = {"stage_id": "taxonomy_enrich", "parameters": {"taxonomy_id": "tax_goods_kinds"}}
    stages = [
        client.retrievers.get_retriever("near").to_dict()["stages"][0] | {"parameters": {}},
        {"stage_name": "what", "stage_type": "apply", "config": enriching},
    ]
    client.short.retrievers.create(
        retriever_name="telling", collection_identifiers=["goods"], stages=stages
    )

    found = client.short.retrievers.execute("telling", inputs={"image": inline("car")}, limit=1)

    (one,) = found.results
    assert one.metadata.title == "car"
    assert one.taxonomies["goods_kinds"]["kind"]["label"] in ("apple", "balloon"), "without a limit"


# --- not stored ---------------------------------------------------------------------------------


def test_a_search_that_is_not_stored_leaves_nothing(
    client: Published, goods: dict[str, str]
) -> None:
    stages = client.retrievers.get_retriever("near").to_dict()["stages"]
    before = client.short.retrievers.list().total_count
    body = mixpeek.AdhocExecuteRequest.from_dict(
        {
            "collection_identifiers": ["goods"],
            "stages": [{key: one[key] for key in ("stage_name", "config")} for one in stages],
            "inputs": {"image": inline("car")},
            "input_schema": {"image": {"type": "image"}},
        }
    )

    found = client.ad_hoc.execute_adhoc_retriever(body)

    assert found["results"][0]["metadata"]["title"] == "car"
    assert client.short.retrievers.list().total_count == before


def test_the_short_search_finds_texts(client: Published, goods: dict[str, str], notes: str) -> None:
    found = client.short.search("automobile", collection=notes, limit=1)
    everywhere = client.short.search("automobile", limit=1)

    (one,) = found.results
    assert one.collection_id == "col_notes"
    assert one.document_id == everywhere.results[0].document_id, "pictures cannot be asked by text"


def test_the_short_search_takes_filters(client: Published, notes: str) -> None:
    wanted = {"field": "file_name", "operator": "eq", "value": "none"}

    assert client.short.search("automobile", collection=notes, filters=wanted).results == []


def test_the_short_search_by_vectors_cleans_up(
    client: Published, goods: dict[str, str], notes: str
) -> None:
    (feature,) = client.collections.describe_collection_features(notes).features
    before = client.short.retrievers.list().total_count
    ones = [1.0] * feature.vector_index.dimensions

    found = client.short.search(
        queries=[{"vector_name": feature.feature_uri, "vector": ones, "top_k": 2}]
    )

    assert [one.collection_id for one in found.results] == ["col_notes"] * 2
    assert client.short.retrievers.list().total_count == before


def test_a_file_of_the_servers_machine_is_not_read(
    client: Published, goods: dict[str, str]
) -> None:
    status, message = refused(
        lambda: run(client, "near", inputs={"image": f"file://{PICTURES / 'apple.png'}"})
    )

    assert status == 422
    assert "fetch_roots" in message.lower()
