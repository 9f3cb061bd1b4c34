"""The published client puts things in: buckets and objects."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

import patient
from published import Published, inline, mixpeek, picture, refused, thing
from serving import Served

LARGE = "1989-chevrolet-celebrit-01"
"""A picture that is too large to be kept in the database."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("buckets") / "store") as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Served) -> Published:
    return Published(server.url)


@pytest.fixture(scope="module")
def shop(client: Published) -> str:
    """A bucket with three apples and a balloon."""
    bucket = client.make_bucket("shop")
    client.put(
        "shop",
        [
            thing("apple", "Apple", price=1),
            thing("apple-bw", "apple", price=2),
            thing("applf", "pear", price=3),
            thing("balloon-red-aj", price=4),
        ],
    )
    return str(bucket.bucket_id)


def objects_found(client: Published, **asked: Any) -> list[str]:
    body = mixpeek.ListObjectsRequest.from_dict(asked)
    found = client.objects.list_objects_buckets("shop", list_objects_request=body)
    return [one.additional_properties["metadata"]["title"] for one in found.results]


# --- buckets ------------------------------------------------------------------------------------


def test_a_bucket_reads_back_as_it_was_made(client: Published, shop: str) -> None:
    found = client.buckets.get_bucket(shop)

    assert found.bucket_name == "shop"
    assert found.bucket_schema.properties["photo"].type == "image"
    assert found.object_count == 4
    assert found.total_size_bytes > 1000
    assert client.short.buckets.get("shop").bucket_id == shop


def test_both_doors_list_the_same_buckets(client: Published, shop: str) -> None:
    listed = client.buckets.list_buckets()

    names = [one.bucket_name for one in listed.results]
    assert "shop" in names
    assert names == [one.bucket_name for one in client.short.buckets.list().results]
    assert listed.total_count == len(names)


def test_a_list_of_buckets_is_searched_filtered_and_sorted(client: Published, shop: str) -> None:
    for name in ("old_b", "old_a"):
        client.short.buckets.create(name=name, metadata={"floor": 3}, description="Old Things")

    def names(**asked: Any) -> list[str]:
        body = mixpeek.ListBucketsRequest.from_dict(asked)
        found = client.buckets.list_buckets(list_buckets_request=body)
        return [one.bucket_name for one in found.results]

    assert names(search="OLD_") == ["old_b", "old_a"]
    assert names(search="OLD_", case_sensitive=True) == []
    assert names(search="old th") == ["old_b", "old_a"], "the description counts"
    assert names(filters={"metadata.floor": 3}, sort={"field": "bucket_name"}) == [
        "old_a",
        "old_b",
    ]
    assert names(sorts=[{"field": "name", "direction": "desc"}])[0] == "shop"
    assert (
        names(filters={"AND": [{"field": "created_at", "operator": "lt", "value": "2001-01-01"}]})
        == []
    )
    got = client.buckets.list_buckets_get(search="old_")
    assert [one.bucket_name for one in got.results] == ["old_b", "old_a"]


@pytest.mark.parametrize("body", [{"filters": {"object_count": 4}}, {"sort": {"field": "size"}}])
def test_a_list_of_buckets_names_the_fields_that_it_knows(
    client: Published, body: dict[str, Any]
) -> None:
    asked = mixpeek.ListBucketsRequest.from_dict(body)

    status, message = refused(lambda: client.buckets.list_buckets(list_buckets_request=asked))

    assert status == 422
    assert "known: bucket_name" in message


def test_a_bucket_changes_but_for_its_name(client: Published) -> None:
    client.make_bucket("changing")

    changed = client.buckets.patch_bucket(
        "changing", mixpeek.BucketPatchRequest.from_dict({"description": "kitchen"})
    )

    assert changed.description == "kitchen"
    renamed = mixpeek.BucketPatchRequest.from_dict({"bucket_name": "other"})
    assert refused(lambda: client.buckets.patch_bucket("changing", renamed))[0] == 409


# --- objects ------------------------------------------------------------------------------------


def test_an_object_reads_back_with_its_blobs(client: Published) -> None:
    client.make_bucket("attic")
    body = mixpeek.CreateObjectRequest.from_dict(thing(LARGE, key_prefix="cars/old"))
    made = client.objects.create_object_buckets("attic", body)

    found = client.objects.get_object_buckets("attic", made.object_id, return_presigned_urls=True)
    blob = found.blobs[0]

    assert found.key_prefix == "cars/old"
    assert found.additional_properties["metadata"]["title"] == LARGE
    assert blob.details.mime_type == "image/png"
    assert blob.details.size_bytes == len(picture(LARGE))
    assert blob.details.hash == hashlib.sha256(picture(LARGE)).hexdigest()
    assert patient.get(blob.presigned_url).content == picture(LARGE)


def test_the_short_client_takes_the_property_from_the_schema(client: Published) -> None:
    client.make_bucket("short")

    made = client.short.buckets.upload("short", url=inline("apple"), metadata={"title": "one"})
    listed = client.short.buckets.list_objects("short", page_size=1)

    assert made.blobs[0].property == "photo"
    assert [one.object_id for one in listed.results] == [made.object_id]


def test_objects_are_filtered_by_the_clients_own_conditions(client: Published, shop: str) -> None:
    def where(*conditions: Any) -> list[str]:
        return objects_found(client, filters={"AND": list(conditions)})

    assert where({"field": "price", "operator": "gte", "value": 3}) == ["applf", "balloon-red-aj"]
    assert where({"field": "kind", "operator": "is_null", "value": True}) == ["balloon-red-aj"]
    assert where({"field": "kind", "operator": "starts_with", "value": "app"}) == [
        "apple",
        "apple-bw",
    ], "the client asks for every case of letters"
    assert where({"OR": [{"field": "price", "operator": "in", "value": [1, 4]}]}) == [
        "apple",
        "balloon-red-aj",
    ]
    assert objects_found(client, filters={"metadata.kind": "pear"}) == ["applf"]


def test_objects_are_searched_and_sorted(client: Published, shop: str) -> None:
    by_price = {"field": "price", "direction": "desc"}

    assert objects_found(client, search="APPL", sort=by_price) == ["applf", "apple-bw", "apple"]
    assert objects_found(client, search="nothing of that kind") == []


def test_a_search_passes_over_fields_that_no_filter_can_name(client: Published) -> None:
    properties = {"photo": {"type": "image"}, 'a"b': {"type": "string"}, "c..d": {"type": "string"}}
    client.short.buckets.create(name="odd", bucket_schema={"properties": properties})
    made = client.put("odd", [{**thing("apple"), "object_id": "one-two"}])[0]

    found = client.objects.list_objects_get_buckets("odd").results
    searched = client.short._request("POST", "/buckets/odd/objects/list", body={"search": "ONE-"})

    assert [one.object_id for one in found] == [made.object_id]
    assert [one.object_id for one in searched.results] == [made.object_id]
    status, message = refused(
        lambda: client.short._request("POST", "/buckets/odd/objects/list", body={"search": "a\0"})
    )
    assert (status, "cannot be stored" in message) == (422, True)


def test_a_list_of_objects_may_show_chosen_fields_only(client: Published, shop: str) -> None:
    body = mixpeek.ListObjectsRequest.from_dict({"select": ["metadata.title", "status"]})

    found = client.objects.list_objects_buckets("shop", list_objects_request=body).results[0]

    assert found.object_id.startswith("obj_")
    assert found.status is not None
    assert found.additional_properties == {"metadata": {"title": "apple"}}
    assert found.blobs is None


def test_pages_of_objects_go_on_at_a_cursor(client: Published, shop: str) -> None:
    seen: list[str] = []
    cursor = None
    for _ in range(4):
        page = client.objects.list_objects_buckets("shop", page_size=1, cursor=cursor)
        seen += [one.additional_properties["metadata"]["title"] for one in page.results]
        cursor = page.pagination.next_cursor

    assert seen == ["apple", "apple-bw", "applf", "balloon-red-aj"]
    assert cursor is None


def test_objects_are_grouped_and_summed(client: Published, shop: str) -> None:
    body = {
        "group_by": [{"field": "kind", "alias": "sort"}],
        "aggregations": [
            {"function": "count", "alias": "number"},
            {"function": "sum", "field": "price", "alias": "worth"},
        ],
        "having": [{"field": "worth", "operator": "gt", "value": 1}],
        "sort_by": "worth",
        "sort_direction": "asc",
    }
    asked = mixpeek.ObjectAggregationRequest.from_dict(body)

    found = client.objects.aggregate_objects_buckets("shop", asked)

    assert [one.group for one in found.results] == [
        {"sort": "apple"},
        {"sort": "pear"},
        {"sort": None},
    ]
    assert [one.metrics for one in found.results] == [
        {"number": 1, "worth": 2},
        {"number": 1, "worth": 3},
        {"number": 1, "worth": 4},
    ]
    assert found.total_groups == 3


def test_what_cannot_be_grouped_by_is_said(client: Published, shop: str) -> None:
    body = {
        "group_by": [{"field": "created_at", "date_trunc": "day"}],
        "aggregations": [{"function": "count", "alias": "number"}],
    }
    asked = mixpeek.ObjectAggregationRequest.from_dict(body)

    status, message = refused(lambda: client.objects.aggregate_objects_buckets("shop", asked))

    assert status == 422
    assert "date_trunc" in message


def test_an_object_of_a_batch_fails_alone(client: Published) -> None:
    client.make_bucket("mixed")
    bad = {"blobs": [{"property": "colour", "type": "image", "data": inline("apple")}]}
    body = mixpeek.CreateObjectsBatchRequest.from_dict({"objects": [thing("apple"), bad]})

    made = client.objects.create_objects_batch_buckets("mixed", body)

    assert (made.succeeded_count, made.failed_count) == (1, 1)
    assert made.failed[0].object_index == 1
    assert "colour" in made.failed[0].error


def test_an_object_moves_to_another_prefix(client: Published) -> None:
    client.make_bucket("moving")
    made = client.put("moving", [thing("apple", key_prefix="new")])[0]

    moved = client.objects.update_object_buckets(
        "moving",
        made.object_id,
        mixpeek.UpdateObjectRequest.from_dict({"key_prefix": "sold/2026", "title": "gone"}),
    )

    assert moved.key_prefix == "sold/2026"
    assert moved.additional_properties["metadata"]["title"] == "gone"
    by_key = {"field": "key", "operator": "eq", "value": f"sold/2026/{made.object_id}"}
    body = mixpeek.ListObjectsRequest.from_dict({"filters": {"AND": [by_key]}})
    found = client.objects.list_objects_buckets("moving", list_objects_request=body)
    assert [one.object_id for one in found.results] == [made.object_id]


def test_an_object_that_was_made_under_a_name_keeps_its_key(client: Published) -> None:
    client.make_bucket("named")
    body = thing("apple", idempotency_key="first")
    first, again = (client.put("named", [body])[0] for _ in range(2))
    moved = mixpeek.UpdateObjectRequest.from_dict({"key_prefix": "sold"})

    assert first.object_id == again.object_id
    assert (
        refused(lambda: client.objects.update_object_buckets("named", first.object_id, moved))[0]
        == 409
    )


def test_an_erased_object_is_gone(client: Published) -> None:
    client.make_bucket("erasing")
    made = client.put("erasing", [thing("apple")])[0]

    client.objects.delete_object_buckets("erasing", made.object_id)

    assert refused(lambda: client.objects.get_object_buckets("erasing", made.object_id))[0] == 404
