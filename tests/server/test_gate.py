"""The gate before the routes, over a real server on loopback; behind it a small application."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import Body, FastAPI, Request, Response
from starlette.types import ASGIApp, Message

from lookalike.catalog.api_keys import Access, Signer
from lookalike.server.security.gate import DEFAULT_RATE_PER_S, AccessLog, Gate
from lookalike.server.security.rules import RateLimit, Refusal
from lookalike.settings import read_settings
from lookalike.stores.sqlite.store import SqliteStore
from patient import WAIT_S

NOW = 1_700_000_000.0
LIMIT = 10_000
FILE_LIMIT = 200_000
LABEL_PATH = "/v1/collections/notes/labels"
SIGNER = Signer(b"x" * 32)

READS = [
    ("GET", "/v1/buckets/b"),
    ("HEAD", "/v1/collections/c/documents"),
    ("GET", "/openapi.json"),
    ("POST", "/v1/buckets/list"),
    ("POST", "/v1/buckets/b/objects/list"),
    ("POST", "/v1/collections/c/documents/list"),
    ("POST", "/v1/collections/c/documents/count"),
    ("POST", "/v1/collections/c/documents/aggregate"),
    ("POST", "/v1/collections/c/documents/distinct"),
    ("POST", "/v1/collections/c/export"),
    ("POST", "/v1/retrievers/r/execute"),
    ("POST", "/v1/retrievers/execute"),
    ("POST", "/v1/taxonomies/t/execute"),
    ("POST", "/v1/taxonomies/execute/t"),
    ("POST", "/v1/buckets/b/objects/aggregate"),
    ("GET", "/v1/collections/c/features"),
]
LABELS = [
    ("PATCH", "/v1/buckets/b/objects/o"),
    ("PATCH", "/v1/collections/c/documents/d"),
    ("POST", "/v1/collections/c/documents/batch"),
    ("PATCH", "/v1/collections/c/documents/bulk"),
    ("POST", "/v1/collections/list/labels"),
    ("POST", "/v1/collections/c/rejections"),
    ("POST", "/v1/collections/c/rejections/new-kind"),
    ("POST", "/v1/collections/c/rejections/cannot-tell"),
    ("POST", "/v1/collections/c/promotions"),
    ("POST", "/v1/operations/op/undo"),
    ("POST", "/v1/collections/c/operations/op/undo"),
    ("POST", "/v1/buckets/b/objects"),
    ("POST", "/v1/buckets/b/objects/batch"),
    ("POST", "/v1/buckets/b/uploads"),
    ("POST", "/v1/buckets/b/uploads/u/confirm"),
]
ADMINS = [
    ("POST", "/v1/buckets"),
    ("POST", "/v1/collections"),
    ("POST", "/v1/retrievers"),
    ("POST", "/v1/taxonomies"),
    ("POST", "/v1/keys"),
    ("POST", "/v1/collections/c/apply-taxonomy"),
    ("POST", "/v1/collections/labels"),
    ("POST", "/v1/not/known/at/all/list"),
    ("PATCH", "/v1/collections/c"),
    ("PATCH", "/v1/collections/list"),
    ("PUT", "/v1/taxonomies/t"),
    ("DELETE", "/v1/buckets/b"),
    ("DELETE", "/v1/collections/c/documents/d"),
    ("DELETE", "/v1/collections/c/documents/batch"),
    ("POST", "/v1/health"),
]


class Clock:
    """A time that stands still until it is moved."""

    now = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class House:
    """A store, its keys, and a client of a server before it. `seen` is what passed the gate."""

    access: Access
    client: httpx2.Client
    log: Path
    clock: Clock
    seen: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, key: str = "", **options: Any) -> httpx2.Response:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        headers |= options.pop("headers", {})
        return self.client.request(method, path, headers=headers, **options)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def application(seen: list[str]) -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.post("/v1/collections/parsed/labels")
    def parsed(body: dict[str, Any] = Body()) -> int:  # noqa: B008 how FastAPI reads a body
        seen.append("parsed")
        return len(body)

    @app.put("/v1/uploads/half")
    async def half(request: Request) -> None:
        async for part in request.stream():
            size = len(part)
            seen.append(str(size))

    @app.get("/v1/broken")
    @app.post("/v1/broken")
    def broken() -> None:
        raise KeyError("broken")

    @app.get("/own")
    def own() -> Response:
        return Response(headers={"Server": "ours", "Content-Security-Policy": "default-src *"})

    @app.api_route("/{path:path}", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
    async def echo(request: Request) -> dict[str, Any]:
        body = await request.body()
        seen.append(f"{request.method} {request.url.path}")
        caller, state = request.state.caller, request.state
        return {
            "caller": caller and caller.name,
            "namespace": state.namespace,
            "request_id": state.request_id,
            "size": len(body),
        }

    return app


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.005)


@contextmanager
def serving(app: Any) -> Iterator[str]:
    options: dict[str, Any] = {"log_level": "critical", "server_header": False}
    config = uvicorn.Config(app, host="127.0.0.1", port=0, proxy_headers=False, **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


Build = Callable[..., House]


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Start a server that thinks that it listens on `host`, under these settings."""
    with ExitStack() as stack:

        def start(host: str = "127.0.0.1", **values: str) -> House:
            values = {"max_json_bytes": str(LIMIT), "max_blob_bytes": str(FILE_LIMIT)} | values
            settings = read_settings({f"LOOKALIKE_{n.upper()}": v for n, v in values.items()})
            store = SqliteStore(tmp_path / "store")
            stack.callback(store.close)
            clock, seen = Clock(), list[str]()
            access = Access(store, settings, clock)
            gate = Gate(
                application(seen),
                access,
                settings,
                AccessLog(store.path),
                signer=SIGNER,
                host=host,
                clock=clock,
                timer=clock,
            )
            address = stack.enter_context(serving(gate))
            client = stack.enter_context(httpx2.Client(base_url=address, timeout=WAIT_S))
            return House(access, client, store.path / "logs" / "audit.jsonl", clock, seen)

        yield start


def code(response: httpx2.Response) -> tuple[int, str]:
    """The status and the code; the body has the shape that all errors have."""
    error = response.json()["error"]
    assert set(error) >= {"code", "message", "details"}
    return response.status_code, error["code"]


# --- scopes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "may", "may_not"),
    [
        ("read", READS, [*LABELS, *ADMINS]),
        ("label", [*READS, *LABELS], ADMINS),
        ("admin", [*READS, *LABELS, *ADMINS], []),
    ],
)
def test_a_key_may_what_its_scope_covers(
    build: Build, scope: str, may: list[tuple[str, str]], may_not: list[tuple[str, str]]
) -> None:
    house = build("0.0.0.0", rate_per_s="0")
    key = house.access.create("ann", scope)

    allowed = [request for request in may if house.ask(*request, key).status_code == 200]
    refused = [request for request in may_not if code(house.ask(*request, key))[0] == 403]

    assert allowed == may
    assert refused == may_not
    assert len(house.seen) == len(may), "what is refused reaches no route"


def test_without_a_key_only_health_answers_to_others(build: Build) -> None:
    house = build("0.0.0.0")

    refused = [request for request in [*READS, *LABELS, *ADMINS] if request[0] != "HEAD"]

    assert {code(house.ask(*request)) for request in refused} == {(401, "unauthorized")}
    assert house.ask("GET", "/v1/health").json()["caller"] is None
    assert house.ask("GET", "/v1/health/liveness").status_code == 200
    assert house.ask("GET", "/v1/healthy").status_code == 401
    assert house.ask("GET", "/v1/buckets/b").headers["www-authenticate"] == "Bearer"


def test_on_loopback_no_key_is_needed_and_a_foreign_token_does_not_matter(build: Build) -> None:
    house = build()

    assert house.ask("DELETE", "/v1/buckets/b").json()["caller"] == "local"
    assert house.ask("DELETE", "/v1/buckets/b", "sk_other").json()["caller"] == "local"
    assert code(house.ask("GET", "/v1/buckets/b", "lk_not_ours")) == (401, "unauthorized")
    read = house.access.create("ann", "read")
    assert code(house.ask("DELETE", "/v1/buckets/b", read)) == (403, "forbidden")


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_who_comes_through_a_proxy_is_not_local(build: Build, name: str) -> None:
    house = build()

    assert code(house.ask("GET", "/v1/buckets/b", headers={name: "1.2.3.4"}))[0] == 401


def test_a_revoked_key_is_refused_at_once(build: Build) -> None:
    house = build("0.0.0.0")
    key = house.access.create("ann", "admin")
    assert house.ask("GET", "/v1/buckets/b", key).status_code == 200

    house.access.revoke(house.access.listed()[0].id)

    assert code(house.ask("GET", "/v1/buckets/b", key)) == (401, "unauthorized")


# --- namespaces ---------------------------------------------------------------------------------


def test_a_key_of_a_namespace_reaches_no_other(build: Build) -> None:
    house = build("0.0.0.0")
    mine, yours = (
        house.access.create("a", "admin", "mine"),
        house.access.create("b", "read", "yours"),
    )

    def namespace(key: str, **headers: str) -> Any:
        return house.ask("GET", "/v1/buckets/b", key, headers=headers).json().get("namespace")

    assert (namespace(mine), namespace(yours)) == ("mine", "yours")
    assert namespace(mine, **{"X-Namespace": "mine"}) == "mine"
    for key, other in ((mine, "yours"), (yours, "mine"), (mine, "default")):
        response = house.ask("GET", "/v1/buckets/b", key, headers={"X-Namespace": other})
        assert code(response) == (403, "forbidden")


def test_a_key_of_all_namespaces_chooses_and_has_a_default(build: Build) -> None:
    house = build("0.0.0.0", namespace="home")
    key = house.access.create("ann", "read")

    chosen = house.ask("GET", "/v1/buckets/b", key, headers={"X-Namespace": "other"}).json()
    bad = house.ask("GET", "/v1/buckets/b", key, headers={"X-Namespace": "../other"})

    assert chosen["namespace"] == "other"
    assert house.ask("GET", "/v1/buckets/b", key).json()["namespace"] == "home"
    assert code(bad) == (422, "bad_input")


# --- signed addresses ---------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/blobs/a"), ("PUT", "/v1/uploads/a")])
def test_a_signed_address_needs_no_key_until_it_expires(
    build: Build, method: str, path: str
) -> None:
    house = build("0.0.0.0")
    query = SIGNER.sign(path, {"namespace": "shop"}, NOW + 60)

    good = house.ask(method, f"{path}?{query}")
    changed = house.ask(method, f"{path}b?{query}")
    house.clock.now = NOW + 60
    late = house.ask(method, f"{path}?{query}")

    assert (good.status_code, good.json()["namespace"]) == (200, "shop")
    assert (code(changed), code(late)) == ((403, "forbidden"), (403, "forbidden"))
    assert code(house.ask(method, path)) == (401, "unauthorized")


def test_a_signature_opens_nothing_but_blobs_and_uploads(build: Build) -> None:
    house = build("0.0.0.0")

    for method, path in (
        ("GET", "/v1/buckets/b"),
        ("DELETE", "/v1/blobs/a"),
        ("POST", "/v1/uploads/a"),
        ("GET", "/v1/uploads/a"),
    ):
        query = SIGNER.sign(path, {}, NOW + 60)
        assert code(house.ask(method, f"{path}?{query}"))[0] == 401


# --- browsers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8710", 200),
        ("localhost", 200),
        ("LocalHost:1", 200),
        ("[::1]:8710", 200),
        ("shop.example:8710", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:8710", 403),
        ("", 403),
    ],
)
def test_on_loopback_only_names_of_this_machine_are_answered(
    build: Build, host: str, status: int
) -> None:
    house = build(allowed_hosts="shop.example")

    response = house.ask("GET", "/v1/health", headers={"host": host})

    assert response.status_code == status
    if status == 403:
        assert code(response) == (403, "host_refused")


def test_where_all_need_a_key_any_name_is_answered_unless_names_are_set(build: Build) -> None:
    anybody = build("0.0.0.0")
    named = build("0.0.0.0", allowed_hosts="shop.example")
    other = {"host": "other.example"}

    assert anybody.ask("GET", "/v1/health", headers=other).status_code == 200
    assert named.ask("GET", "/v1/health", headers=other).status_code == 403
    assert named.ask("GET", "/v1/health", headers={"host": "shop.example"}).status_code == 200


def test_a_page_of_another_origin_may_not_write(build: Build) -> None:
    house = build(cors_origins="https://labels.example")
    own = str(house.client.base_url).rstrip("/")
    foreign = [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": own + "0"},
        {"origin": "http://localhost:1"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "https://evil.example", "sec-fetch-site": "same-origin"},
    ]
    fine: list[dict[str, str]] = [
        {},
        {"origin": own},
        {"origin": own, "sec-fetch-site": "same-origin"},
        {"origin": "https://labels.example", "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "none"},
    ]

    for method in ("POST", "PATCH", "PUT", "DELETE"):
        refused = [house.ask(method, LABEL_PATH, headers=one) for one in foreign]
        assert {code(one) for one in refused} == {(403, "origin_refused")}
        assert {house.ask(method, LABEL_PATH, headers=one).status_code for one in fine} == {200}
    assert house.ask("GET", "/v1/buckets/b", headers=foreign[0]).status_code == 200


PREFLIGHT = {
    "access-control-request-method": "PATCH",
    "access-control-request-headers": "authorization,x-namespace",
}


def test_pages_of_other_origins_read_nothing_unless_they_are_named(build: Build) -> None:
    closed, opened = build(), build("0.0.0.0", cors_origins="https://labels.example")
    known, unknown = {"origin": "https://labels.example"}, {"origin": "https://evil.example"}
    allow = "access-control-allow-origin"

    assert allow not in closed.ask("GET", "/v1/health", headers=known).headers
    assert allow not in closed.ask("OPTIONS", "/v1/health", headers=known | PREFLIGHT).headers
    assert opened.ask("GET", "/v1/health", headers=known).headers[allow] == known["origin"]
    assert allow not in opened.ask("GET", "/v1/health", headers=unknown).headers
    refused = opened.ask("GET", "/v1/buckets/b", headers=known)
    assert (refused.status_code, refused.headers[allow]) == (401, known["origin"])


def test_a_preflight_of_a_named_origin_is_answered_without_a_key(build: Build) -> None:
    house = build("0.0.0.0", cors_origins="https://labels.example")

    def ask(origin: str) -> httpx2.Response:
        return house.ask("OPTIONS", LABEL_PATH, headers={"origin": origin} | PREFLIGHT)

    good = ask("https://labels.example")
    assert good.status_code == 200
    assert "PATCH" in good.headers["access-control-allow-methods"]
    assert "authorization" in good.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in good.headers
    assert ask("https://evil.example").status_code == 400
    assert house.seen == []


# --- sizes --------------------------------------------------------------------------------------


def chunked(size: int) -> Iterator[bytes]:
    for start in range(0, size, 1000):
        yield b" " * min(1000, size - start)


@pytest.mark.parametrize("path", [LABEL_PATH, "/v1/collections/parsed/labels"])
@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream", "text/plain"])
def test_a_body_over_the_limit_is_refused_whatever_it_says_it_is(
    build: Build, path: str, kind: str
) -> None:
    house = build()
    headers = {"content-type": kind}

    declared = house.ask("POST", path, headers=headers, content=b" " * (LIMIT + 1))
    streamed = house.ask("POST", path, headers=headers, content=chunked(LIMIT + 1))

    assert code(declared) == code(streamed) == (413, "too_large")
    assert declared.json()["error"]["details"] == {"most_bytes": LIMIT}
    assert house.seen == []


def test_a_body_of_just_the_limit_passes(build: Build) -> None:
    house = build()

    assert house.ask("POST", LABEL_PATH, content=b" " * LIMIT).json()["size"] == LIMIT
    assert house.ask("POST", LABEL_PATH, content=chunked(LIMIT)).json()["size"] == LIMIT


def test_a_file_that_is_sent_has_a_limit_of_its_own(build: Build) -> None:
    house = build()
    path = "/v1/uploads/a"

    assert house.ask("PUT", path, content=chunked(FILE_LIMIT)).json()["size"] == FILE_LIMIT
    assert code(house.ask("PUT", path, content=chunked(FILE_LIMIT + 1)))[0] == 413
    assert code(house.ask("PUT", path, content=b" " * (FILE_LIMIT + 1)))[0] == 413


def test_a_route_that_reads_in_parts_is_cut_off_in_the_middle(build: Build) -> None:
    house = build()

    response = house.ask("PUT", "/v1/uploads/half", content=chunked(10 * FILE_LIMIT))

    assert code(response) == (413, "too_large")
    assert 0 < sum(map(int, house.seen)) <= FILE_LIMIT


def test_a_client_hears_why_ten_megabytes_were_refused(build: Build) -> None:
    house = build()

    for content in (b"x" * 10_000_000, chunked(10_000_000)):
        assert code(house.ask("POST", LABEL_PATH, content=content)) == (413, "too_large")
    assert house.ask("GET", "/v1/health").status_code == 200


# --- rates --------------------------------------------------------------------------------------


def test_who_asks_too_often_is_told_when_to_come_again(build: Build) -> None:
    house = build("0.0.0.0", rate_per_s="2")
    ann, ben = house.access.create("ann", "read"), house.access.create("ben", "read")

    first = [house.ask("GET", "/v1/buckets/b", ann).status_code for _ in range(6)]
    refused = house.ask("GET", "/v1/buckets/b", ann)
    other = house.ask("GET", "/v1/buckets/b", ben)
    house.clock.now += 0.5
    later = house.ask("GET", "/v1/buckets/b", ann)

    assert first == [200] * 4 + [429] * 2
    assert code(refused) == (429, "rate_limited")
    assert refused.json()["error"]["details"] == {"retryable": True, "retry_after_seconds": 0.5}
    assert refused.headers["retry-after"] == "1"
    assert (other.status_code, later.status_code) == (200, 200)


def test_guessing_keys_is_limited_by_address(build: Build) -> None:
    house = build("0.0.0.0", rate_per_s="1")

    statuses = [house.ask("GET", "/v1/buckets/b", f"lk_a_{n}").status_code for n in range(4)]

    assert statuses == [401, 401, 429, 429]
    assert [line["status"] for line in house.lines()] == [401, 401, 429], "one line is enough"
    assert house.ask("GET", "/v1/health").status_code == 200


def test_the_default_limits_others_and_nobody_on_loopback(build: Build) -> None:
    local, public = build(), build("0.0.0.0")
    burst = int(2 * DEFAULT_RATE_PER_S)
    key = public.access.create("ann", "read")

    assert {local.ask("GET", "/v1/a").status_code for _ in range(burst + 1)} == {200}
    statuses = [public.ask("GET", "/v1/a", key).status_code for _ in range(burst + 1)]
    assert statuses == [200] * burst + [429]


def test_a_bucket_refills_no_further_than_its_burst() -> None:
    clock = Clock()
    limit = RateLimit(10, clock)
    clock.now += 1_000_000
    for _ in range(20):
        limit.take("ann")

    with pytest.raises(Refusal):
        limit.take("ann")


def test_only_the_callers_seen_last_are_remembered() -> None:
    limit = RateLimit(0.5, Clock())
    for number in range(30_000):
        limit.take(str(number))

    limit.take("0")
    with pytest.raises(Refusal):
        limit.take("29999")


def test_a_store_that_cannot_be_read_is_no_wrong_key_and_names_no_path(
    build: Build, tmp_path: Path
) -> None:
    house = build("0.0.0.0")
    key = house.access.create("ann", "read")
    with sqlite3.connect(tmp_path / "store" / "lookalike.db") as connection:
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("UPDATE sqlite_schema SET sql = 'damaged' WHERE name = 'api_key'")
        connection.execute("PRAGMA schema_version=999")
    connection.close()

    response = house.ask("GET", "/v1/buckets/b", key)

    assert code(response) == (503, "store_unavailable")
    assert response.json()["error"]["details"]["retryable"] is True
    assert str(tmp_path) not in response.text


# --- headers ------------------------------------------------------------------------------------


def test_every_answer_has_the_headers_that_protect_it(build: Build) -> None:
    house = build("0.0.0.0")

    for response in (house.ask("GET", "/v1/health"), house.ask("GET", "/v1/buckets/b")):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["content-security-policy"].startswith("default-src 'none'")
        assert response.headers["referrer-policy"] == "no-referrer"
        assert response.headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in response.headers


def test_a_route_may_send_another_policy_but_no_server_name(build: Build) -> None:
    headers = build().ask("GET", "/own").headers

    assert headers.get_list("content-security-policy") == ["default-src *"]
    assert "server" not in headers


def test_a_request_keeps_the_id_that_it_brings_if_it_is_one(build: Build) -> None:
    house = build()

    def ids(given: str) -> tuple[str, str]:
        response = house.ask("GET", "/v1/health", headers={"x-request-id": given})
        return response.json()["request_id"], response.headers["x-request-id"]

    assert ids("abc-1") == ("abc-1", "abc-1")
    for bad in ("a b", "x" * 65, '{"'):
        seen, sent = ids(bad)
        assert seen == sent != bad
        assert len(sent) == 26


# --- the audit log ------------------------------------------------------------------------------


def test_writes_and_refusals_are_written_down_and_reads_are_not(build: Build) -> None:
    house = build("0.0.0.0")
    key = house.access.create("ann", "label", "shop")
    id = house.access.listed()[0].id

    house.ask("GET", "/v1/buckets/b", key)
    house.ask("POST", "/v1/buckets/list", key, json={})
    house.ask("POST", f"{LABEL_PATH}?token=hush", key, json={"secret": "hush"})
    house.ask("DELETE", "/v1/buckets/b", key)
    house.ask("GET", "/v1/buckets/b", "lk_wrong_hush")

    lines = house.lines()
    common = {"time": "2023-11-14T22:13:20.000+00:00", "ms": 0.0, "address": "127.0.0.1"}
    named = common | {"caller": "ann", "key_id": id}
    nobody = common | {"caller": None, "key_id": None, "namespace": None}
    assert len({line.pop("request_id") for line in lines}) == 3
    assert lines == [
        named | {"namespace": "shop", "method": "POST", "path": LABEL_PATH, "status": 200},
        named | {"namespace": None, "method": "DELETE", "path": "/v1/buckets/b", "status": 403},
        nobody | {"method": "GET", "path": "/v1/buckets/b", "status": 401},
    ]
    assert "hush" not in house.log.read_text()
    assert key not in house.log.read_text()
    assert house.log.stat().st_mode & 0o077 == 0, "nobody else on this machine reads it"


def test_the_line_is_there_before_the_answer(build: Build) -> None:
    house = build()

    for number in range(1, 20):
        house.ask("DELETE", "/v1/buckets/b")
        assert len(house.lines()) == number


def test_a_write_that_fails_or_breaks_off_is_written_down_too(build: Build) -> None:
    house = build()
    address = house.client.base_url
    alone = {"connection": "close"}  # the server hangs up where something broke
    house.ask("POST", "/v1/broken", headers=alone)
    house.ask("GET", "/v1/broken", headers=alone)
    with socket.create_connection((address.host, address.port or 80)) as connection:
        head = "PUT /v1/uploads/half HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf"
        connection.sendall(head.encode())
        while house.seen != ["4"]:
            time.sleep(0.005)
    deadline = time.monotonic() + 10
    while len(house.lines()) < 2 and time.monotonic() < deadline:
        time.sleep(0.005)

    assert [(line["path"], line["status"]) for line in house.lines()] == [
        ("/v1/broken", 500),
        ("/v1/uploads/half", 500),
    ]


def test_a_write_that_nothing_answers_is_written_down_without_a_status(tmp_path: Path) -> None:
    async def dying(*_: Any) -> None:
        raise KeyError("dying")

    with pytest.raises(KeyError, match="dying"):
        asyncio.run(ask_alone(dying, "DELETE", "/v1/buckets/b", tmp_path / "store"))

    line = json.loads((tmp_path / "store" / "logs" / "audit.jsonl").read_text())
    assert (line["path"], line["status"]) == ("/v1/buckets/b", None)


def test_a_line_cannot_be_forged(build: Build) -> None:
    house = build()

    house.ask("DELETE", "/v1/a%0A%7B%22status%22:200%7D/b")
    house.ask("DELETE", "/v1/" + "a" * 5000)

    lines = house.lines()
    assert lines[0]["path"] == '/v1/a\n{"status":200}/b'
    assert len(lines[1]["path"]) == 1000


def test_lines_of_several_processes_stay_whole(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; "
        "from lookalike.server.security.gate import AccessLog; "
        "audit = AccessLog(Path(sys.argv[1])); print(flush=True); input(); "
        "[audit.write(at=0.0, path='/v1/' + 'x' * n, who=sys.argv[2], n=n) for n in range(900)]"
    )

    pipe = subprocess.PIPE
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), str(number)],
            stdin=pipe,
            stdout=pipe,
            text=True,
        )
        for number in range(3)
    ]
    for process in running:
        assert process.stdout is not None
        process.stdout.readline()
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in running:
        process.communicate(timeout=60)

    text = (tmp_path / "logs" / "audit.jsonl").read_text()
    found = sorted((line["who"], line["n"]) for line in map(json.loads, text.splitlines()))
    assert found == [(str(who), n) for who in range(3) for n in range(900)]


def test_a_log_that_was_moved_away_begins_again(build: Build) -> None:
    house = build()
    house.ask("DELETE", "/v1/a")

    house.log.rename(house.log.with_suffix(".old"))
    house.ask("DELETE", "/v1/b")

    assert [line["path"] for line in house.lines()] == ["/v1/b"]


def test_a_full_disk_is_reported_and_the_answer_still_comes(
    build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    house = build()
    house.log.mkdir(parents=True)  # what is a directory takes no line

    assert house.ask("DELETE", "/v1/buckets/b").status_code == 200
    assert "misses a line" in caplog.text


def test_a_store_with_a_log_is_still_a_store(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()

    SqliteStore(tmp_path).close()

    assert (tmp_path / "lookalike.db").exists()


# --- what is no request -------------------------------------------------------------------------


async def ask_alone(app: ASGIApp, method: str, path: str, root: Path) -> list[Message]:
    """Send a request through a gate without a server; an empty method opens a websocket."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request" if method else "websocket.connect"}

    store, settings = SqliteStore(root), read_settings({})
    access, audit = Access(store, settings, Clock()), AccessLog(root)
    gate = Gate(app, access, settings, audit, signer=SIGNER, host="127.0.0.1")
    scope = {
        "type": "http" if method else "websocket",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }
    try:
        await gate(scope, receive, send)
    finally:
        store.close()
    return sent


def test_a_websocket_is_closed_before_it_reaches_a_route(tmp_path: Path) -> None:
    async def unreachable(*_: Any) -> None:
        raise AssertionError("the gate let it pass")

    sent = asyncio.run(ask_alone(unreachable, "", "/v1/events", tmp_path / "store"))

    assert sent == [{"type": "websocket.close", "code": 1008}]
