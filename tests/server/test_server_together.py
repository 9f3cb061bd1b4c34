"""Many at once over HTTP: nothing is lost, and a run from scratch decides the same."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from goods import BALLOON, JIGSAW, SEMAPHORE, SIGNAL, THRESHOLD, Shop, asking, item, ok, pictures
from serving import Served

KINDS = {kind: pictures(kind) for kind in (BALLOON, JIGSAW, SIGNAL, SEMAPHORE)}
MANY = [(name, kind) for kind, names in KINDS.items() for name in names]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    store: Path = tmp_path_factory.mktemp("together") / "store"
    with Served(store) as server, asking(server.url) as asked:
        yield asked


def test_what_four_say_at_once_all_stands(client: httpx2.Client) -> None:
    shop = Shop(client, "shop")
    shop.open()
    taxonomy = {"field_to_enrich": "category", "confidence_threshold": THRESHOLD}
    shop.collect("goods", taxonomy=taxonomy)
    told = MANY[::3]

    def work(part: int) -> None:
        """Put pictures in, and say of some what they are, without waiting for anything."""
        with asking(str(client.base_url)) as own:
            mine = Shop(own, "shop")
            for name, kind in MANY[part::4]:
                ok(own.post(f"{mine.bucket}/objects", json=item(name)))
                if (name, kind) in told:
                    mine.say(name, category=kind)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    for name, _ in MANY:  # each is waited for: they become documents in any order
        ok(client.patch(f"{shop.bucket}/objects/{name}?wait=60", json={"metadata": {}}))

    found = {one["document_id"]: one for one in shop.documents("goods", limit=1000)}
    assert found.keys() == {name for name, _ in MANY}
    for name, kind in told:
        standing = found[name]["labels"]["category"]
        assert (standing["label"], standing["origin"]) == (kind, "human")


def test_a_run_from_scratch_changes_nothing_of_it(client: httpx2.Client) -> None:
    shop = Shop(client, "shop")
    before = shop.labels("goods")

    task = ok(
        client.post(
            "/v1/collections/goods/apply-taxonomy", json={"taxonomy_id": "tax_goods_category"}
        )
    )["task_id"]
    done = ok(client.get(f"/v1/tasks/{task}"))
    while done["status"] not in ("COMPLETED", "FAILED"):
        done = ok(client.get(f"/v1/tasks/{task}"))

    assert done["status"] == "COMPLETED"
    assert done["additional_data"]["changed"] == 0
    assert shop.labels("goods") == before
    kinds = dict(MANY)
    wrong = [name for name, label in before.items() if label not in (None, kinds[name])]
    assert len(wrong) <= 3, "most of what labelled itself is right"
    assert sum(label is not None for label in before.values()) > len(MANY) / 2


def test_without_a_number_it_says_what_it_needs_before_it_labels_by_itself(
    client: httpx2.Client,
) -> None:
    shop = Shop(client, "shop")
    made = shop.collect("calibrated", taxonomy={"field_to_enrich": "kind"})
    ok(client.patch(f"{shop.bucket}/objects/{MANY[-1][0]}?wait=60", json={"metadata": {}}))
    for name, kind in MANY[::4]:
        shop.say(name, kind=kind)

    report = ok(client.get("/v1/collections/calibrated/analytics/coverage"))
    unsure = shop.documents("calibrated", {"field": "kind", "operator": "eq", "value": None})

    (field,) = made["fields"]
    assert (field["confidence_threshold"], field["target_precision"]) == (None, 0.95)
    assert report["documents"] == len(MANY)
    assert report["references"] == len(MANY[::4])
    assert report["state"]
    assert report["missing"] or report["labelled"].get("auto", 0) > 0
    assert all(one["taxonomy_match"]["reason"] for one in unsure)
    known = [one["taxonomy_match"]["confidence"] for one in unsure]
    assert all(one is None or 0 <= one <= 1 for one in known)
