"""The published client before a server that asks for a key, and in namespaces of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from published import SCHEMA, Published, inline, mixpeek, refused, until
from serving import Served

KEY = "a-key-of-some-length-for-tests"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    store = tmp_path_factory.mktemp("access") / "store"
    with Served(store, environment={"LOOKALIKE_API_KEY": KEY}) as running:
        yield running


def short(server: Served, namespace: str | None = None) -> mixpeek.Mixpeek:
    return mixpeek.Mixpeek(KEY, base_url=f"{server.url}/v1", namespace=namespace)


def generated(server: Served, namespace: str) -> mixpeek.BucketsApi:
    settings = mixpeek.Configuration(
        host=server.url, access_token=KEY, api_key={"NamespaceHeader": namespace}
    )
    return mixpeek.BucketsApi(mixpeek.ApiClient(settings))


def test_a_wrong_key_is_refused(server: Served) -> None:
    client = Published(server.url)

    assert refused(client.short.buckets.list)[0] == 401
    assert refused(client.buckets.list_buckets)[0] == 401


def test_both_doors_are_in_the_namespace_that_they_name(server: Served) -> None:
    body = {"bucket_name": "mine", "bucket_schema": {"properties": SCHEMA}}
    generated(server, "left").create_bucket(mixpeek.BucketCreateRequest.from_dict(body))

    assert short(server, "left").buckets.get("mine").bucket_id == "bkt_mine"
    assert generated(server, "right").list_buckets().results == []
    assert short(server).buckets.list().results == []


def test_a_call_may_name_another_namespace(server: Served) -> None:
    properties = {"photo": {"type": "image"}}
    short(server, "up").buckets.create(name="mine", bucket_schema={"properties": properties})

    made = short(server).buckets.upload("mine", url=inline("apple"), namespace="up")

    assert made.bucket_id == "bkt_mine"
    assert short(server, "up").buckets.get("mine").object_count == 1


def test_indexing_in_one_call_uploads_and_extracts(server: Served) -> None:
    client = short(server, "quick")
    properties = {"photo": {"type": "image"}, "title": {"type": "string"}}
    client.buckets.create(name="quick", bucket_schema={"properties": properties})
    client.collections.create(
        name="quick",
        source={"type": "bucket", "bucket_ids": ["quick"]},
        feature_extractor={
            "feature_extractor_name": "image_extractor",
            "version": "v1",
            "input_mappings": {"image": "photo"},
        },
    )

    client.index(inline("apple"), collection="quick", metadata={"title": "apple"})

    until(lambda: len(client.documents.list("quick").results) == 1)
    task = client.tasks.list(task_type="api_collections_trigger").results[0]
    assert client.tasks.get(task.task_id).inputs == ["col_quick"]
