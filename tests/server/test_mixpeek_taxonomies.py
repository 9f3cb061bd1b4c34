"""The published client makes rules that label, and asks them about what is not kept."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from published import Published, inline, mixpeek, picture, refused, thing
from serving import Served


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    with Served(tmp_path_factory.mktemp("taxonomies") / "store") as running:
        yield Published(running.url)


@pytest.fixture(scope="module")
def goods(client: Published) -> dict[str, str]:
    """A collection that nobody changes: document ids by title."""
    return client.make_labelled("goods")


def ask(client: Published, taxonomy: str, **asked: Any) -> Any:
    body = mixpeek.Payload1(asked)
    return client.taxonomies.execute_taxonomy_taxonomies_0(taxonomy, body)


def labels(found: Any) -> list[Any]:
    return [one["enrichment"]["kind"] for one in found.results]


def limit_of(client: Published, collection: str) -> Any:
    (field,) = client.short.collections.get(collection).fields
    return field.confidence_threshold


# --- as resources -------------------------------------------------------------------------------


def test_a_taxonomy_reads_back_as_it_was_made(client: Published, goods: dict[str, str]) -> None:
    found = client.taxonomies.get_taxonomy_taxonomies("tax_goods_kinds")

    config = found.config.actual_instance
    assert found.version == 1
    assert config.retriever_id == "ret_goods_kinds_near"
    assert config.input_mappings[0].path == "photo"
    assert config.source_collection.enrichment_fields[0].field_path == "kind"
    assert sorted(node.label for node in found.nodes) == ["apple", "balloon"]


def test_taxonomies_are_listed_searched_and_cloned(
    client: Published, goods: dict[str, str]
) -> None:
    made = client.taxonomies.clone_taxonomy_taxonomies(
        "goods_kinds", mixpeek.CloneTaxonomyRequest(taxonomy_name="copied_kinds")
    )

    body = mixpeek.ListTaxonomiesRequest.from_dict({"search": "COPIED"})
    found = client.taxonomies.list_taxonomies_0(list_taxonomies_request=body)

    assert made.source_taxonomy_id == "tax_goods_kinds"
    assert [one.taxonomy_name for one in found.results] == ["copied_kinds"]
    assert found.total_count == 1


def test_a_taxonomy_has_versions_and_a_name_for_ever(client: Published) -> None:
    client.make_taxonomy("versioned", "goods")
    config = {"retriever_id": "ret_versioned_near", "field_to_enrich": "kind"}

    client.taxonomies.create_taxonomy_version_taxonomies("versioned", {"config": config})
    described = mixpeek.PatchTaxonomyRequest.from_dict({"description": "by looks"})
    changed = client.taxonomies.patch_taxonomy_taxonomies("versioned", described)

    assert (changed.version, changed.description) == (2, "by looks")
    versions = client.taxonomies.list_taxonomy_versions_taxonomies("versioned").results
    assert [one.version for one in versions] == [1, 2]
    renamed = mixpeek.PatchTaxonomyRequest.from_dict({"taxonomy_name": "other"})
    assert (
        refused(lambda: client.taxonomies.patch_taxonomy_taxonomies("versioned", renamed))[0] == 409
    )
    client.taxonomies.delete_taxonomy_taxonomies("versioned")
    assert refused(lambda: client.taxonomies.get_taxonomy_taxonomies("versioned"))[0] == 404


# --- applied ------------------------------------------------------------------------------------


def test_applying_a_taxonomy_again_keeps_the_limit_of_the_collection(client: Published) -> None:
    client.make_labelled("limited")

    asked = client.applying.apply_taxonomy_to_collection(
        "limited", mixpeek.ApplyTaxonomyRequest(taxonomy_id="tax_limited_kinds")
    )

    assert client.await_task(asked.task_id).status.value == "COMPLETED"
    assert limit_of(client, "limited") == 0.6


def test_a_collection_follows_the_next_version_of_its_taxonomy(client: Published) -> None:
    client.make_bucket("following")
    client.put("following", [thing("apple", "apple"), thing("applf", "apple")])
    client.make_taxonomy("following_kinds", "following")

    def next_version(limit: float) -> None:
        config = {"field_to_enrich": "kind", "confidence_threshold": limit}
        client.taxonomies.create_taxonomy_version_taxonomies("following_kinds", {"config": config})

    next_version(0.5)
    applied = {"taxonomy_id": "following_kinds"}
    client.make_collection("following", "following", taxonomy_applications=[applied])
    client.await_documents("following", 2)
    first = limit_of(client, "following")

    next_version(0.7)
    asked = client.applying.apply_taxonomy_to_collection(
        "following", mixpeek.ApplyTaxonomyRequest(taxonomy_id="following_kinds")
    )

    assert client.await_task(asked.task_id).status.value == "COMPLETED"
    assert (first, limit_of(client, "following")) == (0.5, 0.7)


def test_filters_of_a_run_are_refused(client: Published, goods: dict[str, str]) -> None:
    body = mixpeek.ApplyTaxonomyRequest(taxonomy_id="goods_kinds", scroll_filters={"price": 1})

    status, message = refused(lambda: client.applying.apply_taxonomy_to_collection("goods", body))

    assert status == 422
    assert "scroll_filters" in message


# --- asked --------------------------------------------------------------------------------------


def test_a_taxonomy_is_asked_about_documents(client: Published, goods: dict[str, str]) -> None:
    found = ask(
        client,
        "goods_kinds",
        source_documents=[{"document_id": goods[one]} for one in ("balloon-green-aj", "applf")],
    )

    assert labels(found) == ["balloon", "apple"]
    assert found.stats.processed_docs == 2
    assert [one.label for one in found.matches] == ["balloon", "apple"]
    assert found.matches[0].document_id == goods["balloon-green-aj"]


@pytest.mark.parametrize(
    "content",
    [
        {"photo": inline("balloon-purple-aj")},
        {"image": inline("balloon-purple-aj")},
        {"image": {"url": inline("balloon-purple-aj")}},
        {"payload": {"photo": base64.b64encode(picture("balloon-purple-aj")).decode()}},
        {"base64": base64.b64encode(picture("balloon-purple-aj")).decode(), "document_id": "mine"},
    ],
    ids=["mapped", "image", "url", "payload", "base64"],
)
def test_a_taxonomy_is_asked_about_a_picture_that_is_not_kept(
    client: Published, goods: dict[str, str], content: dict[str, Any]
) -> None:
    found = ask(client, "goods_kinds", source_documents=[content], join_mode="on_demand")

    assert labels(found) == ["balloon"]
    assert found.results[0]["document_id"] == content.get("document_id", "")
    assert found.matches[0].score > 0.8
    assert client.documents.count_documents("goods").count == len(goods), "nothing is recorded"


def test_a_taxonomy_is_asked_about_a_text_that_is_not_kept(client: Published) -> None:
    properties = {"note": {"type": "text"}, "kind": {"type": "string"}}
    client.short.buckets.create(name="notes", bucket_schema={"properties": properties})
    for text, kind in (("a loaf of rye bread", "food"), ("the engine of a car", "machine")):
        blob = {"property": "note", "type": "text", "data": text}
        client.short.buckets.upload("notes", blobs=[blob], metadata={"kind": kind})
    client.short.collections.create(
        name="notes",
        source={"type": "bucket", "bucket_ids": ["notes"]},
        feature_extractor={
            "feature_extractor_name": "text_extractor",
            "version": "v1",
            "input_mappings": {"text": "note"},
        },
        taxonomy={"field_to_enrich": "kind"},
    )
    client.await_documents("notes", 2)

    found = ask(client, "notes_kind", source_documents=[{"note": "cake"}, {"text": "a motor"}])

    assert labels(found) == ["food", "machine"]
    assert client.documents.count_documents("notes").count == 2


@pytest.mark.filterwarnings("ignore:POST /v1/taxonomies/execute:DeprecationWarning")
def test_both_addresses_of_asking_give_the_same(client: Published, goods: dict[str, str]) -> None:
    payload = {"inputs": {"image": inline("apple-with-worm-dan-gerh-01")}}

    one = client.taxonomies.execute_taxonomy_taxonomies("goods_kinds", mixpeek.Payload(payload))
    other = ask(client, "goods_kinds", **payload)

    assert labels(one) == ["apple"]
    assert one.results == other.results


def test_a_taxonomy_is_asked_about_vectors(client: Published, goods: dict[str, str]) -> None:
    (feature,) = client.collections.describe_collection_features("goods").features
    ones = [1.0] * feature.vector_index.dimensions

    found = ask(client, "goods_kinds", source_documents=[{"vector": ones}])
    status, message = refused(
        lambda: ask(client, "goods_kinds", source_documents=[{"vector": [1.0, 2.0]}])
    )

    assert len(found.results) == 1
    assert status == 422
    assert str(feature.vector_index.dimensions) in message


def test_a_taxonomy_is_asked_about_an_object_whose_file_is_kept_apart(
    client: Published, goods: dict[str, str]
) -> None:
    found = client.short.buckets.list_objects("goods").results
    large = next(one for one in found if one.metadata.title == "balloon-green-aj")

    told = ask(client, "goods_kinds", source_documents=[{"object_id": large.object_id}])

    assert large.blobs[0].size_bytes > 4096, "so large that it lies in a file of its own"
    assert labels(told) == ["balloon"]
    assert told.results[0]["document_id"] == large.object_id


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ({}, 422, "source_documents"),
        ({"source_documents": [{"document_id": "doc_none"}]}, 404, "doc_none"),
        ({"source_documents": [{"title": "words"}]}, 422, "no content"),
        ({"source_documents": [{"image": "what?"}]}, 422, "neither a URL nor base64"),
        ({"source_documents": [{"object_id": "obj_none"}]}, 404, "obj_none"),
        ({"source_documents": [{"image": "http://127.0.0.1:1/x.png"}]}, 422, "127.0.0.1"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_about_is_said(
    client: Published, goods: dict[str, str], asked: dict[str, Any], status: int, part: str
) -> None:
    refusal = refused(lambda: ask(client, "goods_kinds", **asked))

    assert refusal[0] == status
    assert part in refusal[1]
