"""The published client works with what was extracted: collections, documents, tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from published import Published, mixpeek, refused, thing
from serving import Served


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    with Served(tmp_path_factory.mktemp("documents") / "store") as running:
        yield Published(running.url)


@pytest.fixture(scope="module")
def goods(client: Published) -> dict[str, str]:
    """A collection that nobody changes: document ids by title."""
    return client.make_labelled("goods")


def titles(found: Any) -> list[str]:
    return [one.additional_properties["metadata"]["title"] for one in found]


def kind_of(client: Published, collection: str, document: str) -> Any:
    found = client.documents.get_document(collection, document)
    return found.additional_properties["metadata"]["kind"]


# --- collections --------------------------------------------------------------------------------


def test_a_collection_reads_back_as_it_was_made(client: Published, goods: dict[str, str]) -> None:
    found = client.collections.get_collection("col_goods")

    assert found.collection_name == "goods"
    assert found.source.bucket_ids == ["bkt_goods"]
    assert found.feature_extractor.feature_extractor_name == "image_extractor"
    assert found.document_count == len(goods)
    assert [one.taxonomy_id for one in found.taxonomy_applications] == ["tax_goods_kinds"]


def test_a_list_of_collections_is_searched(client: Published, goods: dict[str, str]) -> None:
    found = client.collections.list_collections_get(search="GOOD")

    assert [one.collection_name for one in found.results] == ["goods"]
    assert client.collections.list_collections_get(search="bads").results == []
    body = mixpeek.ListCollectionsRequest.from_dict({"filters": {"collection_id": "col_goods"}})
    listed = client.collections.list_collections(list_collections_request=body)
    assert [one.collection_id for one in listed.results] == ["col_goods"]


def test_the_features_of_a_collection_can_be_searched_by(
    client: Published, goods: dict[str, str]
) -> None:
    (feature,) = client.collections.describe_collection_features("goods").features
    near = {
        "feature_uri": feature.feature_uri,
        "query": {
            "input_mode": "document",
            "document_ref": {"collection_id": "goods", "document_id": goods["balloon-red-aj"]},
        },
        "top_k": 1,
    }

    found = client.short._request(
        "POST",
        "/retrievers/execute",
        body={
            "collection_identifiers": ["goods"],
            "stages": [
                {
                    "stage_name": "near",
                    "config": {"stage_id": "feature_search", "parameters": {"searches": [near]}},
                }
            ],
        },
    )

    assert feature.vector_index.dimensions > 100
    assert found.results[0].metadata.title == "balloon-green-aj"


def test_a_collection_changes_what_it_says_of_itself(
    client: Published, goods: dict[str, str]
) -> None:
    changed = client.short.collections.update("goods", metadata={"floor": 2})

    assert changed.metadata == {"floor": 2}
    assert client.collections.get_collection("goods").metadata == {"floor": 2}


def test_a_clone_extracts_the_same_things(client: Published, goods: dict[str, str]) -> None:
    body = mixpeek.CloneCollectionRequest(collection_name="goods_again")
    made = client.collections.clone_collection("goods", body)

    client.await_documents("goods_again", len(goods))

    assert made.source_collection_id == "col_goods"
    assert made.collection.collection_name == "goods_again"


def test_a_trigger_is_a_task_that_ends(client: Published, goods: dict[str, str]) -> None:
    asked = client.collections.trigger_collection(
        "goods", mixpeek.TriggerCollectionRequest.from_dict({"dedup_strategy": "skip"})
    )

    assert client.await_task(asked.task_id).status.value == "COMPLETED"
    body = mixpeek.ListTasksRequest.from_dict({"task_type": "api_collections_trigger"})
    listed = client.tasks.list_tasks(list_tasks_request=body).results
    assert asked.task_id in [one.task_id for one in listed]
    none = mixpeek.ListTasksRequest.from_dict({"filters": {"task_id": "task_none"}})
    assert client.tasks.list_tasks(list_tasks_request=none).results == []


def test_a_deleted_collection_is_gone(client: Published) -> None:
    client.make_bucket("empty")
    client.make_collection("short_lived", "empty")

    client.collections.delete_collection("short_lived")

    assert refused(lambda: client.short.collections.get("short_lived"))[0] == 404


# --- reading documents --------------------------------------------------------------------------


def test_what_looks_like_references_has_their_label(
    client: Published, goods: dict[str, str]
) -> None:
    found = {
        one.metadata.title: one.metadata.kind
        for one in client.short.documents.list("goods").results
    }

    assert found["another-apple-01"] == "apple"
    assert found["balloon-green-aj"] == "balloon"
    assert found["car"] is None


def test_a_document_says_why_it_has_its_label(client: Published, goods: dict[str, str]) -> None:
    found = client.documents.get_document(
        "goods", goods["another-apple-01"], return_presigned_urls=True
    )

    match = found.additional_properties["taxonomy_match"]
    assert match["matched"] is True
    assert match["threshold"] == 0.6
    assert match["confidence"] >= 0.6
    assert match["source_document_id"] in (goods["apple"], goods["applf"])
    assert found.document_blobs[0].presigned_url.startswith(client.url)


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"filters": {"metadata.kind": "balloon", "price": 6}}, {"balloon-green-aj"}),
        ({"filters": {"AND": [{"field": "price", "operator": "gt", "value": 6}]}}, {"car"}),
        ({"filters": {"AND": [{"field": "kind", "operator": "eq", "value": None}]}}, {"car"}),
        ({"filters": {"NOT": [{"field": "title", "operator": "contains", "value": "A"}]}}, set()),
        ({"search": "BALLOON-b"}, {"balloon-blue-aj"}),
        ({"search": "apple", "filters": {"price": 5}}, {"another-apple-01"}),
        ({"search": "zeppelin"}, set()),
    ],
    ids=str,
)  # fmt: skip
def test_documents_are_filtered_and_searched(
    client: Published, goods: dict[str, str], asked: dict[str, Any], wanted: set[str]
) -> None:
    assert set(titles(client.list_documents("goods", **asked).results)) == wanted


def test_a_search_in_the_address_finds_the_same(client: Published, goods: dict[str, str]) -> None:
    got = client.documents.list_documents_0("goods", search="BALLOON-b")
    posted = client.documents.list_documents("goods", search="BALLOON-b")

    assert titles(got.results) == titles(posted.results) == ["balloon-blue-aj"]


def test_documents_are_sorted_and_paged(client: Published, goods: dict[str, str]) -> None:
    by_price = {"field": "price", "direction": "desc"}
    first = client.list_documents("goods", sort=by_price, limit=4)
    rest = client.list_documents(
        "goods", sort=by_price, limit=4, cursor=first.pagination.next_cursor, include_total=True
    )

    assert titles(first.results)[:2] == ["car", "balloon-green-aj"]
    assert len(titles(first.results) + titles(rest.results)) == len(goods)
    assert rest.pagination.next_cursor is None
    assert rest.pagination.total == len(goods)


def test_a_list_may_show_chosen_fields_only(client: Published, goods: dict[str, str]) -> None:
    found = client.list_documents("goods", select=["title", "taxonomy_match.reason"], search="car")

    (one,) = found.results
    assert one.document_id == goods["car"]
    assert one.collection_id == "col_goods"
    assert one.document_blobs is None
    assert one.additional_properties == {
        "metadata": {"title": "car"},
        "taxonomy_match": {"reason": "below_threshold"},
    }


def test_documents_come_in_groups(client: Published, goods: dict[str, str]) -> None:
    found = client.list_documents(
        "goods", group_by="metadata.kind", sort={"field": "price"}, select=["title"]
    )

    assert found.group_by_field == "metadata.kind"
    assert not found.results
    assert {one.group_key: one.count for one in found.groups} == {"apple": 3, "balloon": 3, None: 1}
    shown = {one.group_key: titles(one.documents) for one in found.groups}
    assert shown[None] == ["car"]
    assert shown["apple"] == ["apple", "applf", "another-apple-01"]


def test_groups_are_paged(client: Published, goods: dict[str, str]) -> None:
    first = client.list_documents("goods", group_by="kind", limit=2)
    rest = client.list_documents(
        "goods", group_by="kind", limit=2, cursor=first.pagination.next_cursor
    )

    assert [one.group_key for one in first.groups + rest.groups][-1] is None
    assert len(rest.groups) == 1
    assert rest.pagination.next_cursor is None


def test_documents_are_counted_grouped_and_their_values_listed(
    client: Published, goods: dict[str, str]
) -> None:
    distinct = mixpeek.DistinctValuesRequest(field="kind")
    body = {
        "group_by": [{"field": "kind"}],
        "aggregations": [{"function": "avg", "field": "price", "alias": "mean"}],
        "having": [{"field": "mean", "operator": "lt", "value": 5}],
    }
    asked = mixpeek.DocumentAggregationRequest.from_dict(body)

    values = client.documents.distinct_document_values("goods", distinct).values
    groups = client.documents.aggregate_documents("goods", asked).results

    assert client.documents.count_documents("goods").count == len(goods)
    assert {one.value: one.count for one in values} == {"apple": 3, "balloon": 3}
    assert {one.group["kind"]: one.metrics["mean"] for one in groups} == {
        "apple": pytest.approx(8 / 3),
        "balloon": pytest.approx(13 / 3),
    }


def test_having_names_what_the_answer_has(client: Published, goods: dict[str, str]) -> None:
    body = {
        "aggregations": [{"function": "count", "alias": "number"}],
        "having": [{"field": "nunber", "operator": "gt", "value": 1}],
    }
    asked = mixpeek.DocumentAggregationRequest.from_dict(body)

    status, message = refused(lambda: client.documents.aggregate_documents("goods", asked))

    assert status == 422
    assert "known: number" in message


def test_an_unknown_document_is_a_404(client: Published, goods: dict[str, str]) -> None:
    status, message = refused(lambda: client.short.documents.get("goods", "doc_none"))

    assert status == 404
    assert "doc_none" in message


# --- changing documents -------------------------------------------------------------------------


def test_a_label_on_a_document_teaches_the_rest(client: Published) -> None:
    ids = client.make_labelled("taught", thing("chevrolet-celebirt", price=8))

    client.documents.patch_document("taught", ids["car"], {"kind": "vehicle"})
    client.short.documents.update(
        "taught", ids["applf"], update_data={"metadata": {"kind": "pear"}}
    )

    assert kind_of(client, "taught", ids["car"]) == "vehicle"
    assert kind_of(client, "taught", ids["applf"]) == "pear"
    found = client.documents.get_document("taught", ids["car"]).additional_properties
    assert found["labels"]["kind"]["origin"] == "human"


def test_a_batch_changes_what_is_there_and_names_what_is_not(client: Published) -> None:
    ids = client.make_labelled("batched")
    updates = [
        {"document_id": ids["car"], "update_data": {"kind": "vehicle"}},
        {"document_id": "doc_none", "update_data": {"kind": "vehicle"}},
    ]
    body = mixpeek.BatchUpdateDocumentsRequest.from_dict({"updates": updates})

    done = client.documents.batch_update("batched", body)

    assert (done.updated_count, done.failed_count) == (1, 1)
    assert {one.document_id: one.success for one in done.results} == {
        ids["car"]: True,
        "doc_none": False,
    }
    assert kind_of(client, "batched", ids["car"]) == "vehicle"


def test_one_change_reaches_all_that_a_filter_chooses(client: Published) -> None:
    ids = client.make_labelled("bulky")
    body = mixpeek.BulkUpdateDocumentsRequest.from_dict(
        {
            "filters": {"AND": [{"field": "price", "operator": "gte", "value": 6}]},
            "update_data": {"kind": "sold"},
        }
    )

    done = client.documents.bulk_update("bulky", body)

    assert done.updated_count == 2
    assert kind_of(client, "bulky", ids["car"]) == "sold"
    assert kind_of(client, "bulky", ids["balloon-green-aj"]) == "sold"
    assert kind_of(client, "bulky", ids["balloon-red-aj"]) == "balloon"


def test_documents_are_erased_by_ids_and_by_filters(client: Published) -> None:
    ids = client.make_labelled("erased")
    by_id = mixpeek.BatchDeleteDocumentsRequest(
        document_ids=[ids["car"], "doc_none"], reason="a test"
    )
    by_filter = mixpeek.BatchDeleteDocumentsRequest.from_dict(
        {"filters": {"AND": [{"field": "kind", "operator": "eq", "value": "balloon"}]}}
    )

    first = client.documents.batch_delete("erased", by_id)
    second = client.documents.batch_delete("erased", by_filter)

    assert (first.deleted_count, first.failed_count) == (1, 1)
    assert second.deleted_count == 3
    left = titles(client.list_documents("erased").results)
    assert sorted(left) == ["another-apple-01", "apple", "applf"]


@pytest.mark.parametrize("body", [{}, {"filters": {"AND": []}}], ids=str)
def test_all_documents_are_not_erased_by_mistake(
    client: Published, goods: dict[str, str], body: dict[str, Any]
) -> None:
    asked = mixpeek.BatchDeleteDocumentsRequest.from_dict(body)

    assert refused(lambda: client.documents.batch_delete("goods", asked))[0] == 422
    assert client.documents.count_documents("goods").count == len(goods)


def test_an_erased_document_is_gone(client: Published) -> None:
    ids = client.make_labelled("single")

    gone = client.documents.delete_document("single", ids["car"])

    assert gone.success
    assert refused(lambda: client.documents.get_document("single", ids["car"]))[0] == 404
