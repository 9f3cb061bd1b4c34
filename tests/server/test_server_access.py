"""Who may do what on a real server: every route by its scope, namespaces apart, limits, the log."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

import patient
from goods import BALLOON, IMAGE, THRESHOLD, Shop, asking, bytes_of, ok, pictures, refused
from patient import WAIT_S
from processes import finished
from serving import Served

BALLOONS = pictures(BALLOON)
COLLECTION, DOCUMENT = "/v1/collections/{collection}", "/v1/collections/{collection}/documents"
STUDIO = "/v1/label-studio/{collection}"
TRIED = (COLLECTION, "/v1/taxonomies/{taxonomy}")
_TRIED_AS = ("answers", "draw", "drop")
READ = {
    *("GET /v1/buckets", "POST /v1/buckets/list", "GET /v1/buckets/{bucket}"),
    *("GET /v1/buckets/{bucket}/objects", "POST /v1/buckets/{bucket}/objects/list"),
    *("GET /v1/buckets/{bucket}/objects/{object_id}", "GET /v1/buckets/{bucket}/uploads/{upload}"),
    *("POST /v1/buckets/{bucket}/uploads/list", "GET /v1/collections"),
    *("POST /v1/collections/list", f"GET {COLLECTION}", f"GET {COLLECTION}/operations"),
    *(f"GET {DOCUMENT}", f"POST {DOCUMENT}/list", f"GET {DOCUMENT}/{{document}}"),
    *(f"GET {DOCUMENT}/count", f"POST {DOCUMENT}/count", f"POST {DOCUMENT}/distinct"),
    *(f"POST {DOCUMENT}/aggregate", f"GET {DOCUMENT}/{{document}}/why"),
    *(f"GET {DOCUMENT}/{{document}}/history", f"GET {COLLECTION}/queue"),
    f"GET {COLLECTION}/check",
    *(f"GET {COLLECTION}/analytics/field-distribution", f"GET {COLLECTION}/analytics/coverage"),
    *(f"GET {COLLECTION}/analytics/confidence", f"GET {COLLECTION}/analytics/curve"),
    *(f"GET {COLLECTION}/analytics/error-rate", f"GET {COLLECTION}/analytics/diagnosis"),
    *(f"GET {COLLECTION}/audits", f"GET {COLLECTION}/audits/{{audit}}"),
    *(f"GET {COLLECTION}/versions{more}" for more in ("", "/compare", "/decide")),
    *(f"GET {place}/trials" for place in TRIED),
    *(f"GET {place}/trials/{{trial}}" for place in TRIED),
    f"GET {COLLECTION}/analytics/flips",
    *(f"GET {COLLECTION}/analytics/cost", f"GET {COLLECTION}/analytics/agreement"),
    f"GET {DOCUMENT}/{{document}}/opinions",
    *(f"GET {COLLECTION}/alarms", "GET /metrics"),
    f"GET {COLLECTION}/analytics/monitoring",
    *(f"GET {COLLECTION}/analytics/references", f"POST {COLLECTION}/export"),
    *("GET /v1/blobs/exports/{name}", "GET /v1/blobs/{sha256}", "GET /v1/blobs/{sha256}/thumbnail"),
    *("POST /v1/retrievers/execute", "POST /v1/retrievers/{retriever}/execute"),
    *("POST /v1/retrievers/{retriever}/execute/batch", "GET /v1/retrievers"),
    *("POST /v1/retrievers/list", "GET /v1/retrievers/{retriever}", "GET /v1/taxonomies"),
    *("POST /v1/taxonomies/list", "GET /v1/taxonomies/{taxonomy}"),
    "GET /v1/taxonomies/{taxonomy}/labels",
    *("GET /v1/taxonomies/{taxonomy}/versions", "POST /v1/taxonomies/{taxonomy}/execute"),
    *("POST /v1/buckets/{bucket}/objects/aggregate", "POST /v1/taxonomies/execute/{taxonomy}"),
    f"GET {COLLECTION}/features",
    *(f"GET {COLLECTION}/map", f"POST {COLLECTION}/map/documents"),
    *(f"POST {STUDIO}/{one}" for one in ("setup", "predict")),
    f"GET {STUDIO}/health",
    *("GET /v1/tasks/{task}", "POST /v1/tasks/list", "GET /v1/changes", "GET /v1/events"),
}
LABEL = {
    *("POST /v1/buckets/{bucket}/objects", "POST /v1/buckets/{bucket}/objects/batch"),
    *(f"{method} /v1/buckets/{{bucket}}/objects/{{object_id}}" for method in ("PUT", "PATCH")),
    *("POST /v1/buckets/{bucket}/uploads", "POST /v1/buckets/{bucket}/uploads/batch"),
    *("POST /v1/buckets/{bucket}/uploads/confirm/batch", "PUT /v1/uploads/{upload}"),
    "POST /v1/buckets/{bucket}/uploads/{upload}/confirm",
    *(f"{method} {DOCUMENT}/{{document}}" for method in ("PUT", "PATCH")),
    f"PATCH {DOCUMENT}/bulk",
    *(f"POST {COLLECTION}/audits", f"POST {COLLECTION}/audits/{{audit}}/answers"),
    f"POST {COLLECTION}/audits/{{audit}}/close",
    *(f"POST {COLLECTION}/versions", f"POST {COLLECTION}/versions/{{version}}/retire"),
    *(f"POST {place}/trials" for place in TRIED),
    *(f"POST {place}/trials/{{trial}}/{one}" for place in TRIED for one in _TRIED_AS),
    *(f"POST {STUDIO}/{one}" for one in ("webhook", "train")),
    *(f"POST {DOCUMENT}/batch", f"POST {COLLECTION}/labels", f"POST {COLLECTION}/promotions"),
    *(f"POST {COLLECTION}/rejections", f"POST {COLLECTION}/rejections/new-kind"),
    *(f"POST {COLLECTION}/rejections/cannot-tell", "POST /v1/operations/{operation}/undo"),
}
ADMIN = {
    *(f"{method} /v1/buckets/{{bucket}}" for method in ("PUT", "PATCH", "DELETE")),
    *("POST /v1/buckets", "DELETE /v1/buckets/{bucket}/objects/{object_id}", "POST /v1/samples"),
    *("DELETE /v1/buckets/{bucket}/uploads/{upload}", "POST /v1/collections"),
    *(f"PATCH {COLLECTION}", f"DELETE {COLLECTION}", f"POST {COLLECTION}/clone"),
    *(f"POST {COLLECTION}/trigger", f"POST {COLLECTION}/apply-taxonomy"),
    *(f"DELETE {DOCUMENT}/{{document}}", f"POST {COLLECTION}/labels/import"),
    *("POST /v1/retrievers", "PATCH /v1/retrievers/{retriever}"),
    *("DELETE /v1/retrievers/{retriever}", "POST /v1/retrievers/{retriever}/clone"),
    *("POST /v1/taxonomies", "PATCH /v1/taxonomies/{taxonomy}", "DELETE /v1/taxonomies/{taxonomy}"),
    *("POST /v1/taxonomies/{taxonomy}/versions", "POST /v1/taxonomies/{taxonomy}/clone"),
    "PATCH /v1/taxonomies/{taxonomy}/labels",
    *(f"POST /v1/taxonomies/{{taxonomy}}/labels/{verb}" for verb in ("rename", "merge")),
    *(f"POST /v1/taxonomies/{{taxonomy}}/labels/{verb}" for verb in ("split", "retire")),
    *("DELETE /v1/tasks/{task}", f"DELETE {DOCUMENT}/batch"),
    *(f"PUT {COLLECTION}/alarms", f"DELETE {COLLECTION}/alarms"),
    *(f"POST {place}/trials/{{trial}}/adopt" for place in TRIED),
}
OPEN = {
    "GET /v1/health",
    "GET /v1/health/liveness",
    "GET /v1/health/readiness",
    "GET /v1/health/deep",
}


def made_key(store: Path, name: str, scope: str, namespace: str | None = None) -> str:
    """Return a key that was made on the command line."""
    command = ["--store", str(store), "keys", "create", "--name", name, "--scope", scope]
    command += [] if namespace is None else ["--namespace", namespace]
    done = finished(*command, environment=os.environ)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    store: Path = tmp_path_factory.mktemp("access") / "store"
    made = {name: made_key(store, name, name) for name in ("read", "label", "admin")}
    made |= {name: made_key(store, name, "admin", name) for name in ("north", "south")}
    return {"store": str(store), **made}


@pytest.fixture(scope="module")
def server(keys: dict[str, str]) -> Iterator[Served]:
    environment = {"LOOKALIKE_API_KEY": "the-key-of-the-setting"}
    with Served(Path(keys["store"]), environment=environment) as served:
        yield served


def client(server: Served, keys: dict[str, str], name: str) -> httpx2.Client:
    headers = {"authorization": f"Bearer {keys[name]}"}
    return httpx2.Client(base_url=server.url, timeout=60, headers=headers)


class TestScopes:
    def test_every_route_is_in_the_table(self, server: Served) -> None:
        key = {"authorization": "Bearer the-key-of-the-setting"}
        paths = ok(patient.get(f"{server.url}/openapi.json", headers=key))["paths"]

        routes = {
            f"{method.upper()} {path}"
            for path, one in paths.items()
            for method in one
            if "/verbs/" not in path  # those of the remote library, which are its own matter
        }

        assert routes == READ | LABEL | ADMIN | OPEN

    @pytest.mark.parametrize(
        ("scope", "allowed"),
        [("read", READ), ("label", READ | LABEL), ("admin", READ | LABEL | ADMIN)],
    )
    def test_a_key_may_what_its_scope_covers_and_nothing_else(
        self, server: Served, keys: dict[str, str], scope: str, allowed: set[str]
    ) -> None:
        with client(server, keys, scope) as asked:
            refused_to = {
                route for route in READ | LABEL | ADMIN if self._status(asked, route) == 403
            }

        assert refused_to == (READ | LABEL | ADMIN) - allowed

    def test_without_a_key_or_with_a_wrong_one_only_health_answers(self, server: Served) -> None:
        wrong = {"authorization": "Bearer lk_000000000000_" + "x" * 43}
        with httpx2.Client(base_url=server.url, timeout=WAIT_S) as nobody:
            without = {self._status(nobody, route) for route in READ | LABEL | ADMIN}
            opened = {self._status(nobody, route) for route in OPEN}
        with httpx2.Client(base_url=server.url, headers=wrong, timeout=WAIT_S) as stranger:
            with_a_wrong_one = {self._status(stranger, route) for route in READ | LABEL | ADMIN}

        assert without == with_a_wrong_one == {401}
        assert opened == {200}

    def _status(self, asked: httpx2.Client, route: str) -> int:
        """Ask for something that is nowhere: what counts is whether one may ask at all."""
        method, path = route.split()
        address = re.sub(r"\{\w+\}", "nowhere", path)
        body = {"unknown": 1} if method in ("POST", "PUT", "PATCH") else None
        with asked.stream(method, address, json=body) as answer:
            return answer.status_code


class TestNamespaces:
    """Two namespaces with the same names: each sees its own. Steps of one story, in their order."""

    RESOURCES = ("buckets", "collections", "retrievers", "taxonomies")

    def test_each_has_resources_of_the_same_names(
        self, server: Served, keys: dict[str, str]
    ) -> None:
        for name, picture in (("north", BALLOONS[0]), ("south", BALLOONS[1])):
            with client(server, keys, name) as asked:
                shop = Shop(asked, "shop")
                shop.open()
                taxonomy = {"field_to_enrich": "category", "confidence_threshold": THRESHOLD}
                shop.collect("goods", taxonomy=taxonomy, description=name)
                search = {"stage_type": "feature_search", "feature_extractor": {}}
                body = {"retriever_name": "near", "collection_identifiers": ["goods"]}
                ok(asked.post("/v1/retrievers", json={**body, "stages": [search]}))
                shop.put(picture)
                shop.say(picture, category=name)

        for name, picture in (("north", BALLOONS[0]), ("south", BALLOONS[1])):
            with client(server, keys, name) as asked:
                shop = Shop(asked, "shop")
                assert shop.labels("goods") == {picture: name}
                assert ok(asked.get("/v1/collections/goods"))["description"] == name
                for kind in self.RESOURCES:
                    assert ok(asked.get(f"/v1/{kind}"))["total_count"] == 1

    def test_nothing_of_one_is_in_the_other(self, server: Served, keys: dict[str, str]) -> None:
        with client(server, keys, "north") as north, client(server, keys, "south") as south:
            shop = Shop(north, "shop")
            only = Shop(north, "only")
            only.open()
            taxonomy = {"field_to_enrich": "category", "confidence_threshold": THRESHOLD}
            only.collect("only", taxonomy=taxonomy)
            stages = [{"stage_type": "filter", "filters": {}}]
            ok(north.post("/v1/retrievers", json={"retriever_name": "only", "stages": stages}))
            made = only.put(BALLOONS[2])[0]
            said = only.say(BALLOONS[2], category=BALLOON)
            upload = ok(north.post("/v1/buckets/only/uploads", json={"filename": "a.png"}))
            task = ok(north.post("/v1/collections/only/trigger"), 202)["task_id"]
            export = ok(north.post("/v1/collections/only/export"))
            named = export["s3_path"].removeprefix("exports/")
            operation = said["changed"]["operation_id"]
            blob = made["blobs"][0]
            paths = [
                *(
                    "buckets/only",
                    "collections/only",
                    "retrievers/only",
                    "taxonomies/only_category",
                ),
                *(f"buckets/only/objects/{BALLOONS[2]}", "collections/only/documents"),
                *(f"buckets/only/uploads/{upload['upload_id']}", f"tasks/{task}"),
                *(f"collections/only/documents/{BALLOONS[2]}", f"tasks/{made['task_id']}"),
                *(f"blobs/exports/{named}", blob["url"].removeprefix("/v1/")),
                *("collections/only/queue", "collections/only/operations"),
                f"buckets/shop/objects/{BALLOONS[2]}",
            ]

            statuses = {path: south.get(f"/v1/{path}").status_code for path in paths}
            own = {path: north.get(f"/v1/{path}").status_code for path in paths[:-1]}
            undone = south.post(f"/v1/operations/{operation}/undo").status_code
            asked = {
                "collection_identifiers": ["only"],
                "stages": [{"stage_type": "filter", "filters": {}}],
            }
            run = south.post("/v1/retrievers/execute", json=asked).status_code
            derived = south.post(
                "/v1/collections",
                json={
                    "collection_name": "stolen",
                    "source": {"type": "bucket", "bucket_id": "only"},
                    "feature_extractor": IMAGE,
                },
            ).status_code
            confirmed = south.post(
                f"/v1/buckets/shop/uploads/{upload['upload_id']}/confirm"
            ).status_code
            changes = ok(south.get("/v1/changes"))
            tasks = ok(south.post("/v1/tasks/list"))

            assert set(statuses.values()) == {404}, statuses
            assert set(own.values()) == {200}, own
            assert (undone, derived, confirmed) == (404, 404, 404)
            assert run in (404, 409)
            assert {one["collection_id"] for one in changes["operations"]} == {"col_goods"}
            assert {one["document_id"] for one in changes["documents"]} == {BALLOONS[1]}
            assert tasks["results"] == []
            assert shop.labels("goods") == {BALLOONS[0]: "north"}

    def test_a_signed_address_stays_in_its_namespace(
        self, server: Served, keys: dict[str, str]
    ) -> None:
        with client(server, keys, "north") as north:
            (document, *_) = Shop(north, "shop").documents("goods", return_presigned_urls="true")
        signed = document["document_blobs"][0]["presigned_url"]

        moved = patient.get(signed.replace("namespace=north", "namespace=south"))

        assert patient.get(signed).content == bytes_of(BALLOONS[0])
        assert "namespace=north" in signed
        assert refused(moved, 403)["code"] == "forbidden"

    def test_a_key_of_one_cannot_choose_the_other_and_a_key_of_all_can(
        self, server: Served, keys: dict[str, str]
    ) -> None:
        with client(server, keys, "north") as north, client(server, keys, "admin") as admin:
            other = north.get("/v1/buckets", headers={"X-Namespace": "south"})
            chosen = ok(admin.get("/v1/buckets/only", headers={"X-Namespace": "north"}))
            default = ok(admin.get("/v1/buckets"))

        assert refused(other, 403)["code"] == "forbidden"
        assert chosen["bucket_name"] == "only"
        assert "only" not in [one["bucket_name"] for one in default["results"]]

    def test_the_name_of_an_operation_of_the_other_is_refused_and_tells_nothing(
        self, server: Served, keys: dict[str, str]
    ) -> None:
        body = {"updates": [{"document_id": BALLOONS[0], "label": "Again"}], "op_id": "the-first"}
        with client(server, keys, "north") as north, client(server, keys, "south") as south:
            ok(north.post("/v1/collections/goods/labels", json=body))
            updates = [{"document_id": BALLOONS[1], "label": "Again"}]
            error = refused(
                south.post("/v1/collections/goods/labels", json={**body, "updates": updates}), 409
            )

            assert error["details"] == {}
            assert "north" not in error["message"]
            assert Shop(south, "shop").labels("goods") == {BALLOONS[1]: "south"}

    def test_what_is_removed_in_one_stays_in_the_other(
        self, server: Served, keys: dict[str, str]
    ) -> None:
        with client(server, keys, "north") as north, client(server, keys, "south") as south:
            ok(south.delete("/v1/collections/goods"))
            ok(south.delete("/v1/buckets/shop"))

            assert Shop(north, "shop").labels("goods") == {BALLOONS[0]: "Again"}


class TestBrowsers:
    def test_pages_of_other_origins_read_nothing_and_write_nothing(self, tmp_path: Path) -> None:
        origin = {"Origin": "https://elsewhere.example"}
        with Served(tmp_path / "store") as server, asking(server.url, **origin) as page:
            read = page.get("/v1/buckets")
            preflight = page.options(
                "/v1/buckets", headers={"Access-Control-Request-Method": "POST"}
            )
            write = page.post("/v1/buckets", json={"bucket_name": "theirs"})
            renamed = patient.get(f"{server.url}/v1/buckets", headers={"Host": "evil.example"})

        for answer in (read, preflight, write):
            assert "access-control-allow-origin" not in answer.headers
        assert refused(write, 403)["code"] == "origin_refused"
        assert renamed.status_code in (400, 403, 421)

    def test_who_asks_too_often_is_told_when_to_come_again(self, tmp_path: Path) -> None:
        slow = {"LOOKALIKE_RATE_PER_S": "2"}
        with Served(tmp_path / "store", environment=slow) as server, asking(server.url) as asked:
            answers = [asked.get("/v1/buckets") for _ in range(8)]
            health = [asked.get("/v1/health").status_code for _ in range(8)]

        late = [one for one in answers if one.status_code == 429]
        assert late
        assert all(int(one.headers["retry-after"]) >= 1 for one in late)
        assert refused(late[0], 429)["details"]["retryable"] is True
        assert set(health) == {200}


def test_writes_and_refusals_are_in_the_log_with_who_asked(
    server: Served, keys: dict[str, str]
) -> None:
    log = Path(keys["store"]) / "logs" / "audit.jsonl"
    before = len(log.read_text("utf-8").splitlines())
    with client(server, keys, "label") as asked:
        asked.get("/v1/buckets")
        asked.post("/v1/buckets", json={"bucket_name": "no", "description": "a secret"})
        asked.post("/v1/operations/nothing/undo?token=secret", headers={"X-Request-Id": "mine"})

    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()[before:]]
    assert [(one["method"], one["status"], one["caller"]) for one in lines] == [
        ("POST", 403, "label"),
        ("POST", 404, "label"),
    ]
    assert lines[1]["request_id"] == "mine"
    assert lines[1]["path"] == "/v1/operations/nothing/undo"
    assert keys["label"] not in log.read_text("utf-8")
    assert "secret" not in log.read_text("utf-8")
