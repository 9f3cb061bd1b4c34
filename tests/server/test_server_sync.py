"""What is said of an object reaches its documents and all that follows, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

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
    item,
    ok,
    pictures,
    refused,
)
from serving import Served

BALLOONS, JIGSAWS, SIGNALS = pictures(BALLOON), pictures(JIGSAW), pictures(SIGNAL)
TAXONOMY = {"field_to_enrich": "category", "confidence_threshold": THRESHOLD}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    store: Path = tmp_path_factory.mktemp("sync") / "store"
    with Served(store) as server, asking(server.url) as asked:
        yield asked


@pytest.fixture
def shop(client: httpx2.Client, request: pytest.FixtureRequest) -> Shop:
    """A bucket with a collection of its own, both named after the test."""
    shop = Shop(client, request.node.name[5:95])
    shop.open()
    shop.collect(shop.name, taxonomy=TAXONOMY)
    return shop


def test_a_label_that_comes_while_its_object_is_extracted_is_not_lost(shop: Shop) -> None:
    names = [*BALLOONS, *JIGSAWS, *SIGNALS]
    body = {"objects": [item(name) for name in names]}
    made = ok(shop.client.post(f"{shop.bucket}/objects/batch", json=body))

    for name in names:
        shop.say(name, category=f"mine {name}")
    ok(
        shop.client.patch(
            f"{shop.bucket}/objects/{names[-1]}", json={"metadata": {}}, params={"wait": 60}
        )
    )

    assert {one["status"] for one in made["succeeded"]} <= {"PENDING", "PROCESSING"}
    assert shop.labels(shop.name) == {name: f"mine {name}" for name in names}
    found = shop.documents(shop.name, limit=1000)
    assert {one["labels"]["category"]["origin"] for one in found} == {"human"}


def test_a_taxonomy_that_comes_while_objects_are_extracted_decides_all_of_them(
    client: httpx2.Client,
) -> None:
    shop = Shop(client, "taxonomy_meanwhile")
    shop.open()
    shop.collect(shop.name)
    names = [*BALLOONS, *JIGSAWS, *SIGNALS]
    body = {"objects": [item(name) for name in names]}
    ok(client.post(f"{shop.bucket}/objects/batch", json=body))

    while ok(client.get(f"/v1/collections/{shop.name}"))["space"] is None:
        pass
    changed = ok(client.patch(f"/v1/collections/{shop.name}", json={"taxonomy": TAXONOMY}))
    ok(client.patch(f"{shop.bucket}/objects/{names[-1]}?wait=60", json={"metadata": {}}))

    assert changed["document_count"] < len(names)
    found = shop.documents(shop.name, limit=1000)
    assert [one["taxonomy_match"]["reason"] for one in found] == ["no_references"] * len(names)


def test_one_answer_is_one_transaction_and_tells_all_that_it_changed(shop: Shop) -> None:
    shop.put(*BALLOONS[:5], *JIGSAWS[:2])

    reply = shop.say(BALLOONS[0], category=BALLOON)

    changed = reply["changed"]
    assert reply["metadata"]["category"] == BALLOON
    assert (changed["by_person"], changed["by_itself"]) == (1, 4)
    assert changed["labelled"] == {BALLOON: 4}
    found = {one["document_id"]: one for one in shop.documents(shop.name)}
    moved = {name for name, one in found.items() if one["revision"] == changed["revision"]}
    assert moved == {*BALLOONS[:5], *JIGSAWS[:2]}, "the reason why there is no label is another"
    assert found[BALLOONS[0]]["labels"]["category"]["is_reference"] is True
    (news,) = ok(shop.client.get("/v1/changes", params={"since": changed["revision"] - 1}))[
        "operations"
    ]
    assert news["operation"] == changed["operation_id"]


def test_a_person_outranks_an_import_and_that_a_promotion_and_that_the_machine(shop: Shop) -> None:
    shop.put(BALLOONS[0], category=BALLOON)
    shop.put(*BALLOONS[1:4])

    def origin() -> tuple[str, str]:
        standing = shop.document(shop.name, BALLOONS[1])["labels"]["category"]
        return standing["label"], standing["origin"]

    def bring(label: str) -> dict[str, str]:
        rows = [{"id": BALLOONS[1], "label": label}]
        path = f"/v1/collections/{shop.name}/labels/import"
        refused: dict[str, str] = ok(shop.client.post(path, json={"rows": rows}))["changed"][
            "refused"
        ]
        return refused

    seen = [origin()]
    body = {"document_ids": [BALLOONS[1]]}
    ok(shop.client.post(f"/v1/collections/{shop.name}/promotions", json=body))
    seen.append(origin())
    bring("Imported")
    seen.append(origin())
    shop.say(BALLOONS[1], category="Mine")
    seen.append(origin())
    bring("Imported again")
    seen.append(origin())
    ok(shop.client.post(f"/v1/collections/{shop.name}/promotions", json=body))
    seen.append(origin())
    task = ok(
        shop.client.post(
            f"/v1/collections/{shop.name}/apply-taxonomy",
            json={"taxonomy_id": f"tax_{shop.name}_category"},
        )
    )["task_id"]
    while ok(shop.client.get(f"/v1/tasks/{task}"))["status"] not in ("COMPLETED", "FAILED"):
        pass
    seen.append(origin())

    assert seen == [
        (BALLOON, "auto"),
        (BALLOON, "promoted"),
        ("Imported", "import"),
        *[("Mine", "human")] * 4,
    ]


def test_what_is_asked_again_under_one_key_is_done_once(shop: Shop) -> None:
    shop.put(*BALLOONS[:3])
    path = f"{shop.bucket}/objects/{BALLOONS[0]}"
    keyed = {"Idempotency-Key": f"once-{shop.name}"}

    first = ok(shop.client.patch(path, json={"metadata": {"category": "A"}}, headers=keyed))
    shop.say(BALLOONS[0], category="B")
    again = ok(shop.client.patch(path, json={"metadata": {"category": "A"}}, headers=keyed))
    other = shop.client.patch(path, json={"metadata": {"category": "C"}}, headers=keyed)

    assert again["changed"] == first["changed"]
    assert again["metadata"]["category"] == "B"
    assert refused(other, 409)["code"] == "conflict"
    history = ok(shop.client.get(f"/v1/collections/{shop.name}/documents/{BALLOONS[0]}/history"))
    said = [one["label"] for one in history["results"] if one["kind"] == "labelled"]
    assert said == ["A", "B"]


@pytest.mark.parametrize("verb", ["new-kind", "cannot-tell"])
def test_every_answer_can_be_asked_again(client: httpx2.Client, verb: str) -> None:
    shop = Shop(client, f"again_{verb}")
    shop.open()
    shop.collect(shop.name, taxonomy=TAXONOMY)
    shop.put(BALLOONS[0])
    path = f"/v1/collections/{shop.name}/rejections/{verb}"
    keyed = {"Idempotency-Key": f"again-{verb}"}

    first, second = (
        ok(client.post(path, json={"document_ids": [BALLOONS[0]]}, headers=keyed)) for _ in "ab"
    )

    assert first["operation_id"] == f"again-{verb}"
    assert second == first


def test_an_object_is_uploaded_once_under_one_key(shop: Shop) -> None:
    body = item(BALLOONS[0])
    del body["object_id"]
    keyed = {"Idempotency-Key": "the-same"}

    first, second = (
        ok(shop.client.post(f"{shop.bucket}/objects", json=body, headers=keyed)) for _ in "ab"
    )

    assert first["object_id"] == second["object_id"]
    assert ok(shop.client.get(shop.bucket))["object_count"] == 1


def test_a_label_is_refused_with_its_revision_where_another_person_said_something_else(
    shop: Shop,
) -> None:
    shop.put(*BALLOONS[:2])
    path = f"/v1/collections/{shop.name}/documents/{BALLOONS[1]}"
    seen = shop.client.get(path).headers["etag"]
    shop.say(BALLOONS[0], category=BALLOON)
    late = {"If-Match": seen}
    moved = shop.client.get(path).headers["etag"]

    of_machine = shop.client.patch(path, json={"category": "X"}, headers=late)
    said = {"labels": {BALLOONS[1]: "Y"}, "actor": "bob"}
    ok(shop.client.post(f"/v1/collections/{shop.name}/verbs/label", json=said))
    now = shop.document(shop.name, BALLOONS[1])["revision"]
    by_etag = shop.client.patch(path, json={"category": "X"}, headers=late)
    update = {"document_id": BALLOONS[1], "label": "X", "base_revision": int(seen.strip('"'))}
    updates = [{"document_id": BALLOONS[0], "label": "Z"}, update]
    by_revision = shop.client.post(f"/v1/collections/{shop.name}/labels", json={"updates": updates})
    fresh = shop.client.patch(path, json={"category": "X"}, headers={"If-Match": f'"{now}"'})

    assert moved != seen
    assert ok(of_machine)["metadata"]["category"] == "X"
    for answer in (by_etag, by_revision):
        error = refused(answer, 409)
        assert error["code"] == "stale"
        assert error["details"]["revisions"] == {BALLOONS[1]: now}
        answered = {"actor": "bob", "kind": "labelled", "label": "Y"}
        assert error["details"]["answers"] == {BALLOONS[1]: answered}
    assert ok(fresh)["metadata"]["category"] == "X"
    assert shop.document(shop.name, BALLOONS[0])["metadata"]["category"] == BALLOON


def test_metadata_are_refused_where_anything_moved_meanwhile(shop: Shop) -> None:
    shop.put(*BALLOONS[:2])
    path = f"/v1/collections/{shop.name}/documents/{BALLOONS[1]}"
    seen = shop.client.get(path).headers["etag"]
    shop.say(BALLOONS[0], category=BALLOON)
    now = shop.document(shop.name, BALLOONS[1])["revision"]

    for change in ({"shade": "red"}, {"category": None}):
        error = refused(shop.client.patch(path, json=change, headers={"If-Match": seen}), 409)
        assert (error["code"], error["details"]) == ("stale", {"revisions": {BALLOONS[1]: now}})


def test_a_change_of_an_object_that_moved_meanwhile_is_refused_with_its_etag(shop: Shop) -> None:
    shop.put(BALLOONS[0])
    path = f"{shop.bucket}/objects/{BALLOONS[0]}"
    seen = shop.client.get(path).headers["etag"]
    shop.say(BALLOONS[0], category="A")
    now = shop.client.get(path).headers["etag"]

    stale = shop.client.patch(
        path, json={"metadata": {"category": "B"}}, headers={"If-Match": seen}
    )
    fresh = shop.client.patch(path, json={"metadata": {"category": "B"}}, headers={"If-Match": now})

    error = refused(stale, 409)
    assert (error["code"], error["details"]["etag"]) == ("stale", now)
    assert ok(fresh)["metadata"]["category"] == "B"


def test_null_takes_back_what_a_person_said_and_what_followed_from_it(shop: Shop) -> None:
    shop.put(*BALLOONS[:4])
    shop.say(BALLOONS[0], category=BALLOON)

    taken = shop.say(BALLOONS[0], category=None)

    assert taken["metadata"]["category"] is None
    assert taken["changed"]["unlabelled"] == {BALLOON: 3}
    assert set(shop.labels(shop.name).values()) == {None}


def test_null_on_what_labelled_itself_means_not_this_and_is_remembered(shop: Shop) -> None:
    shop.put(*BALLOONS[:3])
    shop.say(BALLOONS[0], category=BALLOON)

    shop.say(BALLOONS[1], category=None)
    shop.say(BALLOONS[2], category=BALLOON)
    ok(
        shop.client.patch(
            f"/v1/collections/{shop.name}",
            json={"taxonomy": {"field_to_enrich": "category", "confidence_threshold": 0.5}},
        )
    )

    found = shop.document(shop.name, BALLOONS[1])
    assert found["metadata"]["category"] is None
    assert found["labels"]["category"]["rejected"] == [BALLOON]
    assert found["taxonomy_match"]["reason"] == "rejected"


def test_a_rejection_says_not_this_and_the_next_best_may_follow(shop: Shop) -> None:
    shop.put(*SIGNALS[1:4])
    shop.say(SIGNALS[1], category="Square")
    shop.say(SIGNALS[2], category="Round")
    before = shop.document(shop.name, SIGNALS[3])

    answer = ok(
        shop.client.post(
            f"/v1/collections/{shop.name}/rejections", json={"document_id": SIGNALS[3]}
        )
    )

    after = shop.document(shop.name, SIGNALS[3])
    assert answer["changed"]["by_person"] == 1
    assert after["labels"]["category"]["rejected"] == [before["metadata"]["category"]]
    assert after["metadata"]["category"] != before["metadata"]["category"]


def test_undo_takes_back_an_operation_with_all_that_it_caused(shop: Shop) -> None:
    shop.put(*BALLOONS[:4])
    done = shop.say(BALLOONS[0], category=BALLOON)
    operation = done["changed"]["operation_id"]

    undone = ok(shop.client.post(f"/v1/operations/{operation}/undo"))
    twice = shop.client.post(f"/v1/operations/{operation}/undo")
    labels, object_ = (
        shop.labels(shop.name),
        ok(shop.client.get(f"{shop.bucket}/objects/{BALLOONS[0]}")),
    )
    redone = ok(shop.client.post(f"/v1/operations/{undone['operation_id']}/undo"))

    assert undone["changed"]["unlabelled"] == {BALLOON: 3}
    assert set(labels.values()) == {None}
    assert object_["metadata"].get("category") is None
    assert refused(twice, 409)["code"] == "conflict"
    assert redone["changed"]["labelled"] == {BALLOON: 3}
    assert set(shop.labels(shop.name).values()) == {BALLOON}


def test_what_an_erased_reference_had_caused_is_decided_again(shop: Shop) -> None:
    shop.put(*BALLOONS[:4])
    shop.say(BALLOONS[0], category=BALLOON)
    before = set(shop.labels(shop.name).values())

    erased = shop.client.delete(f"{shop.bucket}/objects/{BALLOONS[0]}")

    assert before == {BALLOON}
    assert erased.status_code == 204
    assert shop.labels(shop.name) == dict.fromkeys(BALLOONS[1:4])
    refused(shop.client.get(f"{shop.bucket}/objects/{BALLOONS[0]}"), 404)


def test_a_label_that_was_taken_back_does_not_return_in_a_new_collection(shop: Shop) -> None:
    shop.put(*BALLOONS[:3])
    undone = shop.say(BALLOONS[0], category="Undone")["changed"]["operation_id"]
    ok(shop.client.post(f"/v1/operations/{undone}/undo"))
    shop.say(BALLOONS[1], category="Mistaken")
    path = f"/v1/collections/{shop.name}/labels"
    ok(shop.client.post(path, json={"updates": [{"document_id": BALLOONS[1], "label": None}]}))
    shop.say(BALLOONS[2], category="Kept")

    shop.collect(f"{shop.name}_2", taxonomy={**TAXONOMY, "confidence_threshold": 1.0})
    ok(shop.client.patch(f"{shop.bucket}/objects/{BALLOONS[0]}?wait=60", json={"metadata": {}}))

    assert shop.labels(f"{shop.name}_2") == dict(
        zip(BALLOONS[:3], [None, None, "Kept"], strict=True)
    )


def test_a_label_on_one_collection_reaches_the_others_over_the_same_bucket(shop: Shop) -> None:
    shop.collect(f"{shop.name}_2", taxonomy=TAXONOMY)
    shop.put(*BALLOONS[:3])

    changed = shop.say(BALLOONS[0], category=BALLOON)["changed"]

    assert changed["by_itself"] == 4
    assert set(shop.labels(shop.name).values()) == {BALLOON}
    assert set(shop.labels(f"{shop.name}_2").values()) == {BALLOON}
    ok(shop.client.post(f"/v1/operations/{changed['operation_id']}/undo"))
    assert set(shop.labels(f"{shop.name}_2").values()) == {None}


def test_regions_of_an_object_are_documents_and_follow_what_is_said(
    client: httpx2.Client,
) -> None:
    """Over HTTP as well, drawing is a change of the object: it is extracted again."""
    shop = Shop(client, "regions_drawn")
    shop.open(regions="array")
    extractor = {**IMAGE, "feature_extractor_name": "region"}
    shop.collect(shop.name, taxonomy=TAXONOMY, feature_extractor=extractor)
    boxes = [{"id": f"r{place}", "box": [place * 30, 10, 25, 40]} for place in range(3)]
    shop.put(BALLOONS[0], regions=boxes)
    first = f"{BALLOONS[0]}#r0"
    body = {"metadata": {"category": "mine"}}
    ok(client.patch(f"/v1/collections/{shop.name}/documents/{quote(first)}", json=body))

    changed = {"metadata": {"regions": [boxes[0], {"id": "new", "box": [5, 5, 50, 50]}]}}
    ok(client.patch(f"{shop.bucket}/objects/{BALLOONS[0]}?wait=60", json=changed))

    found = {one["document_id"]: one for one in shop.documents(shop.name)}
    assert found.keys() == {first, f"{BALLOONS[0]}#new"}
    assert found[first]["metadata"]["category"] == "mine"
    assert found[first]["labels"]["category"]["origin"] == "human"
