"""News and bytes over HTTP: events that can be resumed, changes, signed addresses, thumbnails."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
import pytest

import patient
from goods import BALLOON, JIGSAW, THRESHOLD, Shop, asking, bytes_of, ok, pictures, refused
from serving import Served

BALLOONS, JIGSAWS = pictures(BALLOON), pictures(JIGSAW)
KEY = "a-key-of-the-tests-of-events"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    store: Path = tmp_path_factory.mktemp("events") / "store"
    with Served(store, environment={"LOOKALIKE_API_KEY": KEY}) as served:
        yield served


@pytest.fixture
def client(server: Served) -> Iterator[httpx2.Client]:
    with asking(server.url, authorization=f"Bearer {KEY}") as asked:
        yield asked


@pytest.fixture(scope="module")
def ready(server: Served) -> None:
    """Eight pictures that wait for their first label."""
    with asking(server.url, authorization=f"Bearer {KEY}") as asked:
        shop = Shop(asked, "shop")
        shop.open()
        taxonomy = {"field_to_enrich": "category", "confidence_threshold": THRESHOLD}
        shop.collect("goods", taxonomy=taxonomy)
        shop.put(*BALLOONS[:4], *JIGSAWS[:4])


@pytest.fixture
def shop(client: httpx2.Client, ready: None) -> Shop:
    return Shop(client, "shop")


def told(client: httpx2.Client, count: int, **headers: str) -> list[dict[str, Any]]:
    """Return the next events of a stream that is opened now."""
    with client.stream("GET", "/v1/events", headers=headers) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        return list(islice(events(stream), count))


def events(stream: httpx2.Response) -> Iterator[dict[str, Any]]:
    fields: dict[str, str] = {}
    for line in stream.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            data = json.loads(fields["data"])
            yield {"id": fields["id"], "event": fields["event"], **data}
            fields = {}


def test_who_listens_is_told_at_once(shop: Shop) -> None:
    with shop.client.stream("GET", "/v1/events") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith(": from ")
        with asking(str(shop.client.base_url), authorization=f"Bearer {KEY}") as other:
            changed = Shop(other, "shop").say(BALLOONS[0], category=BALLOON)["changed"]
        began = time.monotonic()
        data = json.loads(next(line for line in lines if line.startswith("data: "))[6:])

    assert time.monotonic() - began < 3
    assert data["operation"] == changed["operation_id"]
    assert data["collection_id"] == "col_goods"
    assert data["changed"]["labelled"] == {BALLOON: 3}


def test_who_was_away_is_told_what_happened_meanwhile(shop: Shop) -> None:
    seen = newest(shop.client)
    done = [
        shop.say(JIGSAWS[0], category=label)["changed"]["operation_id"] for label in ("A", "B", "C")
    ]

    first = told(shop.client, 2, **{"Last-Event-ID": str(seen)})
    rest = told(shop.client, 1, **{"Last-Event-ID": first[-1]["id"]})

    assert [one["operation"] for one in (*first, *rest)] == done
    assert first[0]["id"] == str(first[0]["revision"])
    nonsense = shop.client.get("/v1/events", headers={"Last-Event-ID": "yesterday"})
    assert refused(nonsense, 422)["code"] == "bad_input"


def newest(client: httpx2.Client) -> int:
    since, more = 0, True
    while more:
        found = ok(client.get("/v1/changes", params={"since": since}))
        since, more = found["revision"], found["more"]
    return int(since)


def test_changes_are_told_once_each_across_a_restart_of_the_server(
    server: Served, shop: Shop
) -> None:
    seen = since = newest(shop.client)
    said: list[str] = []
    heard: list[str] = []
    for turn in range(6):
        for name in BALLOONS[:2]:
            changed = shop.say(name, category=f"{turn} {name}")["changed"]
            said.append(changed["operation_id"])
        if turn == 2:
            server.kill()
            server.start()
        page = ok(shop.client.get("/v1/changes", params={"since": since, "limit": 1}))
        heard += [one["operation"] for one in page["operations"]]
        since = page["revision"]

    while True:
        page = ok(shop.client.get("/v1/changes", params={"since": since, "limit": 2}))
        heard += [one["operation"] for one in page["operations"]]
        since = page["revision"]
        if not page["more"]:
            break

    assert heard == said
    assert [one["operation"] for one in told(shop.client, 12, **{"Last-Event-ID": str(seen)})] == (
        said
    )


def test_a_server_that_is_stopped_lets_its_listeners_go(server: Served, shop: Shop) -> None:
    seen = newest(shop.client)
    with shop.client.stream("GET", "/v1/events") as stream:
        lines = stream.iter_lines()
        next(lines)
        began = time.monotonic()
        server.stop()
        ended = time.monotonic()
        server.start()
        rest = [line for line in lines if line.startswith("data")]

    said = shop.say(BALLOONS[0], category="After")["changed"]["operation_id"]
    (first,) = told(shop.client, 1, **{"Last-Event-ID": str(seen)})
    assert rest == []
    assert ended - began < 8
    assert first["operation"] == said


def test_changes_name_the_documents_that_now_stand_otherwise(shop: Shop) -> None:
    since = newest(shop.client)
    shop.say(JIGSAWS[0], category=JIGSAW)

    found = ok(shop.client.get("/v1/changes", params={"since": since}))

    labels = {one["document_id"]: (one["label"], one["origin"]) for one in found["documents"]}
    assert labels.pop(JIGSAWS[0]) == (JIGSAW, "human")
    assert labels == dict.fromkeys(JIGSAWS[1:4], (JIGSAW, "auto"))
    assert (
        ok(shop.client.get("/v1/changes", params={"since": found["revision"]}))["documents"] == []
    )


def test_a_signed_address_gives_the_picture_without_a_key_and_to_nobody_else(shop: Shop) -> None:
    (document, *_) = shop.documents("goods", return_presigned_urls="true")
    blob = document["document_blobs"][0]
    signed = blob["presigned_url"]

    whole = patient.get(signed)
    thumbnail = patient.get(document["thumbnail_url"])
    plain = patient.get(f"{shop.client.base_url}{blob['url']}")

    assert whole.content == bytes_of(document["document_id"])
    assert whole.headers["content-type"] == "image/png"
    assert thumbnail.headers["content-type"] == "image/jpeg"
    assert refused(plain, 401)["code"] == "unauthorized"
    assert (
        shop.document("goods", document["document_id"])["document_blobs"][0]["presigned_url"]
        is None
    )


@pytest.mark.parametrize("changed", ["object", "bucket", "expires", "namespace", "signature"])
def test_a_signed_address_that_was_changed_is_refused(shop: Shop, changed: str) -> None:
    (document, *_) = shop.documents("goods", return_presigned_urls="true")
    address = urlsplit(document["document_blobs"][0]["presigned_url"])
    query = dict(parse_qsl(address.query))
    assert changed in query
    query[changed] = str(int(query[changed]) + 60) if changed == "expires" else query[changed] + "0"

    answer = patient.get(address._replace(query=urlencode(query)).geturl())

    assert refused(answer, 403)["code"] == "forbidden"


def test_a_signed_address_ends(shop: Shop) -> None:
    body = {"filename": "a.png", "presigned_url_expiration": 1}
    upload = ok(shop.client.post(f"{shop.bucket}/uploads", json=body))
    time.sleep(1.3)

    late = patient.put(upload["presigned_url"], content=bytes_of(BALLOONS[0]))

    assert refused(late, 403)["code"] == "forbidden"
    assert "expired" in refused(late, 403)["message"]


def test_an_address_to_read_does_not_let_write(shop: Shop) -> None:
    (document, *_) = shop.documents("goods", return_presigned_urls="true")

    answer = patient.put(document["document_blobs"][0]["presigned_url"], content=b"x")

    assert answer.status_code in (401, 403, 405)


def test_a_thumbnail_never_changes_and_need_not_be_sent_twice(shop: Shop) -> None:
    address = shop.document("goods", BALLOONS[0])["thumbnail_url"]

    first = shop.client.get(address)
    again = shop.client.get(address, headers={"If-None-Match": first.headers["etag"]})
    other = shop.client.get(address, headers={"If-None-Match": '"another"'})

    assert "immutable" in first.headers["cache-control"]
    assert re.search(r"max-age=\d{6,}", first.headers["cache-control"])
    assert len(first.content) < 40_000
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert other.content == first.content


def test_a_picture_is_shown_and_what_could_be_a_page_is_only_saved(shop: Shop) -> None:
    page = {
        "object_id": "page",
        "blobs": [{"property": "image", "type": "text", "data": "<script>alert(1)</script>"}],
    }
    made = ok(shop.client.post(f"{shop.bucket}/objects", json=page))

    answer = shop.client.get(made["blobs"][0]["url"])
    picture = shop.client.get(shop.document("goods", BALLOONS[0])["document_blobs"][0]["url"])

    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not answer.headers["content-type"].startswith("text/html")
    assert picture.headers["content-disposition"].startswith("inline")
    assert "sha256" in made["blobs"][0]
    missing = f"/v1/blobs/{made['blobs'][0]['sha256']}"
    of_another = {"bucket": "shop", "object": BALLOONS[0]}
    assert refused(shop.client.get(missing, params=of_another), 404)["code"] == "not_found"
