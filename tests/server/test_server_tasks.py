"""Work that is asked for over HTTP: how far it is, how it fails, and who does it."""

from __future__ import annotations

import base64
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest

import lookalike
import patient
from goods import (
    BALLOON,
    JIGSAW,
    SIGNAL,
    THRESHOLD,
    Shop,
    asking,
    bytes_of,
    item,
    ok,
    pictures,
    refused,
)
from lookalike.catalog.tasks import TaskKind, claim_task, request_task
from processes import Command, finished
from serving import Served

BALLOONS, JIGSAWS, SIGNALS = pictures(BALLOON), pictures(JIGSAW), pictures(SIGNAL)
MANY = (*BALLOONS, *JIGSAWS, *SIGNALS)
TAXONOMY = {"field_to_enrich": "category", "confidence_threshold": THRESHOLD}


@contextmanager
def shelf() -> Iterator[tuple[str, dict[str, bytes]]]:
    """A web server with pictures on this machine: its address, and what it has by path."""
    files: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = files.get(self.path)
            self.send_response(404 if data is None else 200)
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", files
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    store: Path = tmp_path_factory.mktemp("tasks") / "store"
    allowed = {"LOOKALIKE_FETCH_ALLOW": "127.0.0.1"}
    with Served(store, environment=allowed) as server, asking(server.url) as asked:
        yield asked


@pytest.fixture
def shop(client: httpx2.Client, request: pytest.FixtureRequest) -> Shop:
    """A bucket with a collection of its own, both named after the test."""
    shop = Shop(client, request.node.name[5:95])
    shop.open()
    shop.collect(shop.name, taxonomy=TAXONOMY)
    return shop


def until(is_so: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.02)


def status(shop: Shop, name: str) -> str:
    found: str = ok(shop.client.get(f"{shop.bucket}/objects/{name}"))["status"]
    return found


def test_an_upload_is_a_task_that_ends(shop: Shop) -> None:
    objects = [item(name) for name in MANY[:40]]
    put = ok(shop.client.post(f"{shop.bucket}/objects/batch", json={"objects": objects}))
    task = put["succeeded"][-1]["task_id"]
    seen = [ok(shop.client.get(f"/v1/tasks/{task}"))]

    while not is_over(seen[-1]):
        seen.append(ok(shop.client.get(f"/v1/tasks/{task}")))

    assert seen[0]["status"] in ("PENDING", "PROCESSING")
    assert (seen[-1]["status"], seen[-1]["error"]) == ("COMPLETED", None)
    order = ["PENDING", "PROCESSING", "COMPLETED"]
    places = [order.index(one["status"]) for one in seen]
    assert places == sorted(places)
    assert seen[-1]["additional_data"]["object_id"] == MANY[39]


def is_over(task: dict[str, Any]) -> bool:
    return task["status"] in ("COMPLETED", "FAILED")


def test_who_waits_is_answered_when_it_is_done(shop: Shop) -> None:
    one = ok(
        shop.client.post(f"{shop.bucket}/objects", json=item(BALLOONS[0]), params={"wait": 30})
    )
    too_long = shop.client.post(
        f"{shop.bucket}/objects", json=item(BALLOONS[1]), params={"wait": 61}
    )

    assert one["status"] == "COMPLETED"
    assert shop.document(shop.name, BALLOONS[0])["metadata"]["category"] is None
    assert refused(too_long, 422)["code"] == "bad_request"


def test_who_confirms_an_upload_may_wait_for_it_too(shop: Shop) -> None:
    uploads = [{"filename": name, "blob_property": "image"} for name in BALLOONS[:3]]
    made = ok(shop.client.post(f"{shop.bucket}/uploads/batch", json={"uploads": uploads}))
    ids = [one["upload_id"] for one in made["uploads"]]
    for name, one in zip(BALLOONS, made["uploads"], strict=False):
        assert patient.put(one["presigned_url"], content=bytes_of(name)).status_code == 200

    alone = ok(shop.client.post(f"{shop.bucket}/uploads/{ids[0]}/confirm", params={"wait": 60}))
    documents = len(shop.documents(shop.name))
    confirmations = {"confirmations": [{"upload_id": id} for id in ids[1:]]}
    both = ok(
        shop.client.post(
            f"{shop.bucket}/uploads/confirm/batch", json=confirmations, params={"wait": 60}
        )
    )

    assert ok(shop.client.get(f"/v1/tasks/{alone['task_id']}"))["status"] == "COMPLETED"
    assert documents == 1
    assert both["status"] == "COMPLETED"
    assert len(shop.documents(shop.name)) == 3


def test_a_broken_picture_fails_alone_and_says_why(shop: Shop) -> None:
    whole = bytes_of(BALLOONS[1])
    broken = item(BALLOONS[1])
    broken["blobs"][0]["data"] = {"base64": base64.b64encode(whole[: len(whole) // 2]).decode()}
    no_picture = item(BALLOONS[2])
    no_picture["blobs"][0]["data"] = {"base64": base64.b64encode(b"no picture").decode()}
    body = {"objects": [item(BALLOONS[0]), broken, no_picture, item(BALLOONS[3])]}

    put = ok(shop.client.post(f"{shop.bucket}/objects/batch", json=body, params={"wait": 60}))

    by_id = {one["object_id"]: one for one in put["succeeded"]}
    assert by_id[BALLOONS[0]]["status"] == by_id[BALLOONS[3]]["status"] == "COMPLETED"
    assert by_id[BALLOONS[1]]["status"] == "FAILED"
    task = ok(shop.client.get(f"/v1/tasks/{by_id[BALLOONS[1]]['task_id']}"))
    assert task["status"] == "FAILED"
    assert task["error"] == by_id[BALLOONS[1]]["error"]
    assert BALLOONS[1] in task["error"]
    (failed,) = put["failed"]
    assert (failed["object_index"], failed["error_type"]) == (2, "bad_content")
    assert put["succeeded_count"] + put["failed_count"] == put["total_requested"] == 4
    assert ok(shop.client.get(f"/v1/collections/{shop.name}"))["failed_count"] == 1


def test_what_an_address_gives_is_copied_and_what_it_does_not_give_fails(shop: Shop) -> None:
    with shelf() as (address, files):
        files["/there.png"] = bytes_of(BALLOONS[0])
        objects = [
            {
                "object_id": name,
                "blobs": [
                    {"property": "image", "type": "image", "data": {"url": f"{address}/{name}.png"}}
                ],
            }
            for name in ("there", "gone")
        ]
        put = ok(
            shop.client.post(
                f"{shop.bucket}/objects/batch", json={"objects": objects}, params={"wait": 60}
            )
        )
    there, gone = put["succeeded"]

    assert there["status"] == "COMPLETED"
    assert shop.client.get(there["blobs"][0]["url"]).content == bytes_of(BALLOONS[0])
    assert gone["status"] == "FAILED"
    assert "nothing at" in gone["error"]


def test_what_has_failed_can_be_tried_again(shop: Shop) -> None:
    whole = bytes_of(BALLOONS[0])
    broken = item(BALLOONS[0])
    broken["blobs"][0]["data"] = {"base64": base64.b64encode(whole[:-500]).decode()}
    first = ok(shop.client.post(f"{shop.bucket}/objects", json=broken, params={"wait": 60}))

    triggered = shop.client.post(f"/v1/collections/{shop.name}/trigger")
    task = ok(triggered, 202)["task_id"]
    until(lambda: is_over(ok(shop.client.get(f"/v1/tasks/{task}"))))

    listed = ok(shop.client.post("/v1/tasks/list", json={"status": "COMPLETED"}))["results"]
    assert first["status"] == "FAILED"
    assert task in {one["task_id"] for one in listed}
    assert status(shop, BALLOONS[0]) == "FAILED"


def test_what_could_not_be_read_fails_again_for_the_same_reason(shop: Shop) -> None:
    with shelf() as (address, _):
        blob = {"property": "image", "type": "image", "data": {"url": f"{address}/gone.png"}}
        body = {"object_id": "gone", "blobs": [blob]}
        first = ok(shop.client.post(f"{shop.bucket}/objects", json=body, params={"wait": 60}))

    def tried_again(**body: Any) -> dict[str, Any]:
        triggered = shop.client.post(f"/v1/collections/{shop.name}/trigger", json=body)
        task = ok(triggered, 202)["task_id"]
        until(lambda: is_over(ok(shop.client.get(f"/v1/tasks/{task}"))))
        return ok(shop.client.get(f"{shop.bucket}/objects/gone"))

    for again in (tried_again(), tried_again(object_ids=["gone"], dedup_strategy="force")):
        assert first["status"] == again["status"] == "FAILED"
        assert first["error"] == again["error"] and "nothing at" in again["error"]


def test_a_task_that_nobody_knows_is_not_found(client: httpx2.Client) -> None:
    for task in ("task_0_x", "task_99999_x", "tsk_x", "task_1_nothing"):
        assert refused(client.get(f"/v1/tasks/{task}"), 404)["code"] == "not_found"


def test_a_server_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    with Served(tmp_path / "store") as server, asking(server.url) as asked:
        shop = Shop(asked, "shop")
        shop.open()
        shop.collect("goods", taxonomy=TAXONOMY)
        objects = {"objects": [item(name) for name in MANY]}
        ok(asked.post(f"{shop.bucket}/objects/batch", json=objects))
        until(lambda: status(shop, MANY[-1]) == "PROCESSING")
        said = shop.say(MANY[-1], category="Mine")

        server.kill()
        server.start()
        until(lambda: ok(asked.get("/v1/collections/goods"))["waiting_count"] == 0)

        assert said["status"] == "PROCESSING"
        found = {one["document_id"]: one for one in shop.documents("goods", limit=1000)}
        assert found.keys() == set(MANY)
        standing = found[MANY[-1]]["labels"]["category"]
        assert (standing["label"], standing["origin"]) == ("Mine", "human")


class TestWorkersOutside:
    """A server that does not work itself, and workers as processes of their own."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Path:
        return tmp_path / "store"

    @pytest.fixture
    def idle(self, store: Path) -> Iterator[Shop]:
        with Served(store, arguments=["--no-worker"]) as server, asking(server.url) as asked:
            shop = Shop(asked, "shop")
            shop.open()
            shop.collect("goods", taxonomy=TAXONOMY)
            yield shop

    def test_they_do_what_waits(self, store: Path, idle: Shop) -> None:
        objects = {"objects": [item(name) for name in BALLOONS[:4]]}
        put = ok(idle.client.post(f"{idle.bucket}/objects/batch", json=objects))
        waited = ok(
            idle.client.patch(
                f"{idle.bucket}/objects/{BALLOONS[0]}",
                json={"metadata": {"category": BALLOON}},
                params={"wait": 0.3},
            )
        )

        done = finished(*working(store, "--once"), environment=os.environ)

        assert {one["status"] for one in put["succeeded"]} == {"PENDING"}
        assert waited["status"] == "PENDING"
        assert done.returncode == 0
        assert idle.labels("goods") == dict.fromkeys(BALLOONS[:4], BALLOON)
        assert idle.document("goods", BALLOONS[0])["labels"]["category"]["origin"] == "human"

    def test_what_a_killed_one_was_at_is_taken_up_again(self, store: Path, idle: Shop) -> None:
        objects = {"objects": [item(name) for name in MANY]}
        ok(idle.client.post(f"{idle.bucket}/objects/batch", json=objects))
        log = store.parent / "worker.log"
        first = Command(*working(store), environment=os.environ, output=log)
        until(lambda: status(idle, MANY[-1]) == "PROCESSING")
        first.send_signal(signal.SIGKILL)
        first.wait(30)
        left = status(idle, MANY[-1])

        done = finished(*working(store, "--once"), environment=os.environ)

        assert left == "PROCESSING"
        assert done.returncode == 0
        assert {one["document_id"] for one in idle.documents("goods", limit=1000)} == set(MANY)
        assert ok(idle.client.get("/v1/collections/goods"))["waiting_count"] == 0

    def test_they_decide_again_too(self, store: Path, idle: Shop) -> None:
        objects = {"objects": [item(name) for name in BALLOONS[:2]]}
        ok(idle.client.post(f"{idle.bucket}/objects/batch", json=objects))
        asked = ok(
            idle.client.post(
                "/v1/collections/goods/apply-taxonomy",
                json={"taxonomy_id": "tax_goods_category"},
            )
        )

        done = finished(*working(store, "--once"), environment=os.environ)

        assert done.returncode == 0
        assert asked["status"] == "PENDING"
        assert ok(idle.client.get(f"/v1/tasks/{asked['task_id']}"))["status"] == "COMPLETED"


def test_a_task_of_a_machine_that_is_gone_is_done_by_another(tmp_path: Path) -> None:
    """A container that is made anew has another name, so nobody sees that the old one has died."""
    gone, now = "old-container/7/1/01J", 1000.0
    with lookalike.open(tmp_path / "store") as library:
        store = library.runtime.store
        with store.write() as txn:
            request_task(txn, "default", TaskKind.EXTRACT, {"collection": "goods"}, at=now)

        begun = claim_task(store, gone, lambda: now)
        too_early = claim_task(store, "new-container/7/1/01K", lambda: now + 60)
        late = claim_task(store, "new-container/7/1/01K", lambda: now + 86_400)

    assert begun is not None
    assert too_early is None
    assert late is not None
    assert late.id == begun.id


def working(store: Path, *arguments: str) -> list[str]:
    return ["--store", str(store), "worker", *arguments]
