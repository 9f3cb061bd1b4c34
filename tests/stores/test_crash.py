"""Eight clients upload and label while the server is killed again and again.

A client sends everything under an idempotency key, again and again until there is an answer. So at
the end all that it sent is acknowledged, and must be there: once.
"""

from __future__ import annotations

import base64
import itertools
import random
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import httpx2
import numpy as np
import pytest
from sqlalchemy import func, select

import lookalike
import patient
from folded import assert_folded
from hunting import times
from lookalike.stores import schema
from patient import WAIT_S
from serving import Served

CLIENTS = 8
KILLS = times(7)
KILLS_EVERY_S = (1.5, 5.0)
DIMENSION = 16
KINDS = "ABCD"
PICTURES = ("apple.png", "apple-bw.png", "aiga-bus.png", "aiga-bus1.png", "arrow02-1.png")
_GIVE_UP_S = 90.0


@dataclass
class Client:
    """One of those who work: what it has put in and said, as far as that was acknowledged."""

    number: int
    url: str
    over: threading.Event
    said: dict[tuple[str, str], str | None] = field(default_factory=dict)
    sent: int = 0
    repeated: int = 0
    trouble: str = ""

    def __post_init__(self) -> None:
        self._chance = random.Random(self.number)
        self._keys = itertools.count()
        self._http = httpx2.Client(base_url=self.url, timeout=WAIT_S)

    def work(self) -> None:
        """Do one thing after another until it is over; note what should not have been."""
        try:
            with self._http:
                while not self.over.is_set():
                    self._step()
        except AssertionError as trouble:
            self.trouble = str(trouble)

    def _step(self) -> None:
        chosen = self._chance.random()
        if not self.said or chosen < 0.3:
            self._put_vectors()
        elif chosen < 0.4:
            self._put_pictures()
        elif chosen < 0.8:
            self._label()
        elif chosen < 0.95:
            self._label_many()
        else:
            self._take_back()

    def _put_vectors(self) -> None:
        """Put vectors in, near the centre of a kind; the server gives them their ids."""
        kind = self._chance.choice(KINDS)
        count = self._chance.randint(1, 6)
        body = {"objects": [{"metadata": {"kind": kind}, "blobs": [_vector(kind, self._chance)]}]}
        body["objects"] *= count
        answer = self._send("POST", "/v1/buckets/things/objects/batch", body)
        assert answer["succeeded_count"] == count, answer
        for one in answer["succeeded"]:
            self.said["things", one["object_id"]] = None

    def _put_pictures(self) -> None:
        name = self._chance.choice(PICTURES)
        data = files("lookalike.library.samples").joinpath("pictures", name).read_bytes()
        encoded = {"base64": base64.b64encode(data).decode(), "filename": name}
        body = {"blobs": [{"property": "picture", "type": "image", "data": encoded}]}
        answer = self._send("POST", "/v1/buckets/pictures/objects", body)
        self.said["pictures", answer["object_id"]] = None

    def _label(self) -> None:
        bucket, id = self._chance.choice(list(self.said))
        label = self._chance.choice([*KINDS, None])
        body = {"metadata": {"label": label}}
        self._send("PATCH", f"/v1/buckets/{bucket}/objects/{id}", body)
        self.said[bucket, id] = label

    def _label_many(self) -> None:
        """Label documents of ready vectors in one operation: they are there with their object."""
        mine = [id for bucket, id in self.said if bucket == "things"]
        if not mine:
            return
        chosen = self._chance.sample(mine, min(len(mine), 4))
        label = self._chance.choice(KINDS)
        filters = {"field": "object_id", "operator": "in", "value": chosen}
        found = self._send("POST", "/v1/collections/things/documents/list", {"filters": filters})
        assert {one["object_id"] for one in found["results"]} == set(chosen), found
        updates = [{"document_id": one["document_id"], "label": label} for one in found["results"]]
        self._send("POST", "/v1/collections/things/labels", {"updates": updates})
        self.said |= {("things", id): label for id in chosen}

    def _take_back(self) -> None:
        """Label one document and undo that: it is as it was before."""
        bucket, id = self._chance.choice(list(self.said))
        body = {"metadata": {"label": "undone"}}
        answer = self._send("PATCH", f"/v1/buckets/{bucket}/objects/{id}", body)
        operation = answer["changed"]["operation_id"]
        self._send("POST", f"/v1/operations/{operation}/undo", {})

    def _send(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        """Send a request until there is an answer, and return that."""
        headers = {"idempotency-key": f"client{self.number}-{next(self._keys)}"}
        deadline = time.monotonic() + _GIVE_UP_S
        while time.monotonic() < deadline:
            try:
                answer = self._http.request(method, path, json=dict(body), headers=headers)
            except httpx2.TransportError:
                self.repeated += 1
                time.sleep(0.1)
                continue
            if answer.status_code == 503:
                time.sleep(0.2)
                continue
            assert answer.status_code == 200, f"{method} {path}: {answer.text[:500]}"
            self.sent += 1
            return answer.json()
        raise AssertionError(f"{method} {path}: no answer in {_GIVE_UP_S:.0f} s")


@dataclass(frozen=True)
class Aftermath:
    """What was acknowledged by all clients, and the store and server after it all."""

    clients: list[Client]
    server: Served

    @property
    def said(self) -> dict[tuple[str, str], str | None]:
        return {key: label for one in self.clients for key, label in one.said.items()}


def _vector(kind: str, chance: random.Random) -> dict[str, Any]:
    centre = np.random.default_rng(KINDS.index(kind)).standard_normal(DIMENSION)
    near = centre + 0.5 * np.random.default_rng(chance.getrandbits(60)).standard_normal(DIMENSION)
    return {"property": "vector", "type": "vector", "data": near.tolist()}


def _set_up(url: str) -> None:
    def make(path: str, body: Mapping[str, Any]) -> None:
        answer = patient.post(url + path, json=dict(body))
        assert answer.status_code == 200, answer.text

    for name, extractor, params in (
        ("things", "passthrough", {"dimension": DIMENSION}),
        ("pictures", "image_extractor", {}),
    ):
        make("/v1/buckets", {"bucket_name": name})
        body = {
            "collection_name": name,
            "source": {"type": "bucket", "bucket_id": name},
            "feature_extractor": {"feature_extractor_name": extractor, "params": params},
            "taxonomy": {"field_to_enrich": "label", "confidence_threshold": 0.6},
        }
        make("/v1/collections", body)


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    with Served(tmp_path_factory.mktemp("crash") / "store") as server:
        _set_up(server.url)
        over = threading.Event()
        clients = [Client(number, server.url, over) for number in range(CLIENTS)]
        threads = [threading.Thread(target=one.work) for one in clients]
        for thread in threads:
            thread.start()
        try:
            _kill_again_and_again(server)
        finally:
            over.set()
            for thread in threads:
                thread.join(_GIVE_UP_S + 30)
        _wait_until_all_is_done(server.url)
        yield Aftermath(clients, server)


def _kill_again_and_again(server: Served) -> None:
    chance = random.Random(5)
    for _ in range(KILLS):
        time.sleep(chance.uniform(*KILLS_EVERY_S))
        server.kill()
        server.start()
    time.sleep(KILLS_EVERY_S[0])


def _wait_until_all_is_done(url: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = patient.get(f"{url}/v1/collections/pictures").json()
        if found["waiting_count"] == 0:
            return
        time.sleep(0.2)
    raise AssertionError("pictures are still waiting")


def _all(url: str, path: str) -> list[dict[str, Any]]:
    """Every row of a list, page by page."""
    rows: list[dict[str, Any]] = []
    cursor = None
    while True:
        body = {"limit": 500} | ({} if cursor is None else {"cursor": cursor})
        page = patient.post(f"{url}{path}/list", json=body).json()
        rows += page["results"]
        cursor = page["pagination"]["next_cursor"]
        if cursor is None:
            return rows


def test_every_client_got_on_through_all_the_kills(aftermath: Aftermath) -> None:
    assert [one.trouble for one in aftermath.clients] == [""] * CLIENTS
    assert min(one.sent for one in aftermath.clients) > 4 * KILLS
    assert sum(one.repeated for one in aftermath.clients) >= KILLS
    assert "Traceback" not in aftermath.server.log


@pytest.mark.parametrize("name", ["things", "pictures"])
def test_nothing_acknowledged_is_lost_and_nothing_is_there_twice(
    aftermath: Aftermath, name: str
) -> None:
    objects = _all(aftermath.server.url, f"/v1/buckets/{name}/objects")
    documents = _all(aftermath.server.url, f"/v1/collections/{name}/documents")

    mine = {id: label for (bucket, id), label in aftermath.said.items() if bucket == name}
    assert sorted(one["object_id"] for one in objects) == sorted(mine)
    assert sorted(one["object_id"] for one in documents) == sorted(mine)
    assert {one["status"] for one in objects} == {"COMPLETED"}
    human = {
        one["object_id"]: one["metadata"]["label"]
        for one in documents
        if one["labels"]["label"]["origin"] == "human"
    }
    assert human == {id: label for id, label in mine.items() if label is not None}


def test_the_tables_are_what_the_ledger_says_and_what_a_decision_from_scratch_gives(
    aftermath: Aftermath,
) -> None:
    aftermath.server.stop()

    with lookalike.open(aftermath.server.store, actor="ann") as library:
        problems = library.check()
        with library.runtime.store.read() as snapshot:
            assert_folded(snapshot)
            twice = snapshot.rows(_documents_twice())
        changed = [library.collection(name).run().by_itself for name in ("things", "pictures")]

    assert problems == []
    assert twice == []
    assert changed == [0, 0]


def _documents_twice() -> Any:
    table = schema.document.c
    groups = (table.collection_pk, table.object_pk, table.part)
    return select(*groups).group_by(*groups).having(func.count() > 1)
