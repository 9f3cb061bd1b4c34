"""What is said of an object reaches its documents and all that follows, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from goods import BALLOON, JIGSAW, SIGNAL, THRESHOLD, Shop, asking, item, ok, pictures
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
