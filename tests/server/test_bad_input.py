"""Whatever is wrong with a request, its answer says so: a clear 4xx, and the server goes on."""

from __future__ import annotations

import base64
import json
import re
import socket
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

import patient
from furnished import DIMENSION, KINDS, Furnished, furnished, picture, said
from lookalike.labels import LONGEST_LABEL
from lookalike.server.errors import ANSWERS

JSON = {"content-type": "application/json"}
_LEAKS = ("Traceback", "site-packages", "/home", "/root", "/tmp", "/usr")
_DOCUMENTS = "/collections/shelf/documents"
_OBJECTS = "/buckets/shelf/objects"


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Furnished]:
    with furnished(tmp_path_factory.mktemp("bad") / "store") as held:
        yield held
        assert "Traceback" not in held.server.log


@pytest.fixture(autouse=True)
def goes_on(held: Furnished) -> Iterator[None]:
    """Whatever was asked, the server answers afterwards, and nothing failed inside."""
    already = len(held.server.log)
    yield
    assert patient.get(f"{held.server.url}/v1/health").json()["status"] == "OK"
    assert "Traceback" not in held.server.log[already:]


def check_silent(held: Furnished, answer: httpx2.Response) -> None:
    """Check that neither body nor headers tell where anything is on the machine."""
    text = f"{answer.headers!r} {answer.text}"
    for leak in (*_LEAKS, str(held.server.store), str(held.server.store.parent)):
        assert leak not in text


def refused(held: Furnished, answer: httpx2.Response, status: int, code: str) -> str:
    """Check that an answer is a documented error that tells nothing of the machine."""
    check_silent(held, answer)
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert (answer.status_code, body["error"]["code"]) == (status, code), answer.text[:500]
    assert body.keys() == {"status", "success", "error"}
    assert (body["status"], body["success"]) == (status, False)
    assert body["error"].keys() == {"code", "type", "message", "details"}
    assert (status, code) in {(one, other) for one, other, _ in ANSWERS}
    message = str(body["error"]["message"])
    assert 0 < len(message) < 2100
    return message


def nested(levels: int) -> dict[str, Any]:
    """Return a filter so many levels deep."""
    tree: dict[str, Any] = {"field": "title", "operator": "eq", "value": "x"}
    for _ in range(levels):
        tree = {"AND": [tree]}
    return tree


def bomb(side: int) -> bytes:
    """Return a small PNG that says it is `side` × `side`."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))]
    parts += [(b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def in_bytes(name: str, value: str, encoding: str = "utf-8") -> dict[bytes, bytes]:
    """Return a header that is not ASCII."""
    return {name.encode(): value.encode(encoding)}


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# --- bodies -------------------------------------------------------------------------------------

MANY_KEYS = b'{%s, "k39999": 2}' % b",".join(b'"k%d": 1' % number for number in range(40_000))
"""To look for the key by comparing all pairs took 26 s."""


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"bucket_name": ', "EOF"),
        (b'{"bucket_name": "aaa"} {}', "trailing"),
        (b'{"bucket_name": "aaa", "metadata": {"x": NaN}}', "line 1"),
        (b'{"bucket_name": "aaa", "metadata": {"x": -Infinity}}', "line 1"),
        (b'{"bucket_name": "aaa", "metadata": {"x": 1e999}}', "1e999 is too large"),
        (b'{"bucket_name": "aaa", "metadata": {"x": ' + b"9" * 400 + b"}}", "too large"),
        (b'{"bucket_name": "aaa", "metadata": {"x": ' + b"9" * 9000 + b"}}", "number"),
        (b'{"bucket_name": "aaa", "bucket_name": "bbb"}', "'bucket_name' is given twice"),
        (b'{"bucket_name": "aaa", "metadata": {"a": [{"b": 1, "b": 1}]}}', "'b' is given twice"),
        pytest.param(MANY_KEYS, "'k39999' is given twice", id="one of 40,000 keys twice"),
        ('{"bucket_name": "aaa"}'.encode("utf-16"), "send UTF-8"),
        ('{"bucket_name": "aaa", "description": "é"}'.encode("latin-1"), "send UTF-8"),
        (b'{"bucket_name": "aaa", "description": "\\ud800"}', "line 1"),
        (b'{"bucket_name": "aaa", "description": "\x00"}', "line 1"),
        (b'{"bucket_name": "aaa", "metadata": ' + b"[" * 9000 + b"]" * 9000 + b"}", "recursion"),
    ],
)
def test_a_body_that_is_no_json_is_refused_with_the_reason(
    held: Furnished, body: bytes, reason: str
) -> None:
    answer = held.client.post("/buckets", content=body, headers=JSON)

    assert reason in refused(held, answer, 400, "malformed")


@pytest.mark.parametrize("body", ["[1, 2]", '"text"', "null", "5", "[{}]"])
def test_json_that_is_no_object_is_refused(held: Furnished, body: str) -> None:
    answer = held.client.post("/buckets", content=body, headers=JSON)

    assert refused(held, answer, 422, "bad_request").startswith("body: ")


def test_an_empty_body_is_refused(held: Furnished) -> None:
    answer = held.client.post("/buckets", headers=JSON)

    assert refused(held, answer, 422, "bad_request") == "body: it is required"


@pytest.mark.parametrize(
    "type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "nonsense"]
)
def test_a_body_of_another_type_is_refused(held: Furnished, type: str) -> None:
    answer = held.client.post("/buckets", content=b"{}", headers={"content-type": type})

    assert "application/json" in refused(held, answer, 415, "unsupported_media_type")


def test_a_body_without_a_type_is_refused(held: Furnished) -> None:
    answer = held.client.post("/buckets", content=b"{}")

    assert "no Content-Type" in refused(held, answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("type", ["application/json; charset=utf-8", "application/vnd.api+json"])
def test_json_by_any_of_its_names_is_taken(held: Furnished, type: str) -> None:
    answer = held.client.post("/buckets/list", content=b"{}", headers={"content-type": type})

    assert said(answer)["results"]


def test_10_mb_of_json_are_refused(held: Furnished) -> None:
    body = b'{"bucket_name": "' + b"a" * 10_000_000 + b'"}'

    answer = held.client.post("/buckets", content=body, headers=JSON)

    assert "larger than" in refused(held, answer, 413, "too_large")


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/buckets", {"bucket_name": "aaa", "colour": 1}, ("'colour'", "bucket_schema")),
        (
            "/collections",
            {
                "collection_name": "aaa",
                "source": {"kind": "bucket"},
                "feature_extractor": {"feature_extractor_name": "image_extractor"},
            },
            ("source: ", "'kind'", "bucket_id"),
        ),
        (f"{_DOCUMENTS}/list", {"filter": {}}, ("'filter'", "filters")),
        ("/collections/shelf/labels", {"updates": [{"id": "x"}]}, ("updates.0", "document_id")),
        ("/retrievers/shelf/execute", {"input": {}}, ("'input'", "inputs")),
        ("/taxonomies/shelf/execute", {"documents": []}, ("'documents'", "source_documents")),
        ("/buckets/shelf/uploads", {"filename": "a", "size": 1}, ("'size'", "file_size_bytes")),
    ],
)
def test_an_unknown_key_is_named_with_the_known_ones(
    held: Furnished, path: str, body: Any, words: tuple[str, ...]
) -> None:
    message = refused(held, held.client.post(path, json=body), 422, "bad_request")

    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", _OBJECTS, {"metadata": [1]}),
        ("POST", _OBJECTS, {"blobs": [{"property": "photo", "data": ["a"]}]}),
        ("POST", f"{_OBJECTS}/batch", {"objects": []}),
        ("POST", f"{_OBJECTS}/batch", {"objects": [{}] * 10_001}),
        ("POST", f"{_OBJECTS}/batch", {"objects": [[]]}),
        ("POST", "/collections/shelf/labels", {"updates": []}),
        ("POST", "/collections/shelf/labels", {"updates": [{"document_id": "x", "label": 3}]}),
        ("POST", "/collections/shelf/rejections/new-kind", {"document_ids": ["d"] * 100_001}),
        ("POST", "/collections/shelf/export", {"format": "xml"}),
        ("POST", "/collections/shelf/trigger", {"dedup_strategy": "nothing"}),
        ("POST", "/retrievers/shelf/execute/batch", {"queries": []}),
        ("POST", "/buckets/shelf/uploads", {"filename": "x" * 501}),
        ("POST", "/buckets/shelf/uploads", {"filename": "x", "presigned_url_expiration": 10**9}),
        ("POST", f"{_DOCUMENTS}/list", {"limit": -1}),
        ("POST", f"{_DOCUMENTS}/list", {"limit": True}),
        ("POST", f"{_DOCUMENTS}/list", {"limit": 10**30}),
        ("GET", f"{_DOCUMENTS}?limit=-1", None),
        ("GET", f"{_DOCUMENTS}?limit=1000000000", None),
        ("GET", f"{_DOCUMENTS}?limit=some", None),
        ("GET", f"{_DOCUMENTS}?page={10**30}", None),
        ("GET", f"/changes?since={10**30}", None),
        ("GET", "/events?since=-1", None),
        ("POST", f"{_OBJECTS}?wait=-1", {}),
        ("POST", f"{_OBJECTS}?wait=nan", {}),
    ],
)
def test_a_value_of_another_shape_is_refused_naming_its_place(
    held: Furnished, method: str, path: str, body: Any
) -> None:
    answer = held.client.request(method, path, json=body)

    refused(held, answer, 422, "bad_request")
    assert answer.json()["error"]["details"]["problems"][0]["where"]


# --- names and ids ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../../etc", "a/b", "", "ab", "a" * 50_000, "a\0b", "é-name", "."]
)
@pytest.mark.parametrize(
    ("path", "key", "more"),
    [
        ("/buckets", "bucket_name", {}),
        ("/retrievers", "retriever_name", {"stages": [{"stage_type": "filter", "filters": None}]}),
        ("/taxonomies", "taxonomy_name", {"config": {"field_to_enrich": "kind"}}),
        ("/collections/shelf/clone", "collection_name", {}),
    ],
)
def test_what_cannot_be_a_name_is_refused(
    held: Furnished, path: str, key: str, more: dict[str, Any], name: str
) -> None:
    answer = held.client.post(path, json={key: name, **more})

    assert "letters, digits" in refused(held, answer, 422, "bad_input")


@pytest.mark.parametrize("id", ["../../x", "a/b", "a\0b", "..", " ", "a\u2028b", "x" * 201])
def test_what_cannot_stand_in_an_address_is_no_object_id(held: Furnished, id: str) -> None:
    answer = held.client.post(_OBJECTS, json={"object_id": id})

    refused(held, answer, 422, "bad_request" if len(id) > 200 else "bad_input")


@pytest.mark.parametrize("name", ["", "x" * 301, "a\0b"])
def test_what_cannot_be_seen_is_no_property(held: Furnished, name: str) -> None:
    schema = {"properties": {name: {"type": "text"}}}

    answer = held.client.post("/buckets", json={"bucket_name": "odd", "schema": schema})

    refused(held, answer, 422, "bad_input")


@pytest.mark.parametrize(
    "path",
    [
        "/buckets/nothing",
        "/buckets/%00",
        "/buckets/%ff%fe",
        "/buckets/..%2f..%2fetc",
        f"/buckets/{'x' * 5000}",
        "/collections/nothing",
        "/collections/nothing/documents",
        f"{_DOCUMENTS}/nothing",
        f"{_DOCUMENTS}/nothing/why",
        f"{_OBJECTS}/nothing",
        "/buckets/shelf/uploads/nothing",
        "/retrievers/nothing",
        "/taxonomies/nothing",
        "/tasks/nothing",
        "/tasks/task_99999999999999999999_x",
        f"/tasks/task_{'9' * 5000}_x",
        "/tasks/task_1_nothing",
        "/tasks/task_²_nothing",
        f"/blobs/{'0' * 64}?bucket=shelf&object=nothing",
        "/blobs/exports/..%2f..%2fstore.json",
        "/blobs/exports/nothing.json",
        "/nothing",
        "/",
    ],
)
def test_what_is_not_there_is_not_found(held: Furnished, path: str) -> None:
    refused(held, held.client.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", f"{_DOCUMENTS}/gone", {"kind": KINDS[0]}),
        ("PATCH", f"{_OBJECTS}/gone", {"kind": KINDS[0]}),
        ("DELETE", f"{_DOCUMENTS}/gone", None),
        ("DELETE", f"{_OBJECTS}/gone", None),
        ("POST", "/collections/shelf/labels", {"updates": [{"document_id": "x", "label": "a"}]}),
        ("POST", "/collections/shelf/promotions", {"document_ids": ["gone"]}),
        ("POST", "/collections/shelf/apply-taxonomy", {"taxonomy_id": "gone"}),
        ("POST", "/operations/gone/undo", None),
        ("POST", "/buckets/shelf/uploads/gone/confirm", {}),
        ("POST", _OBJECTS, {"blobs": [{"property": "photo", "upload_id": "gone"}]}),
    ],
)
def test_what_is_gone_cannot_be_changed(held: Furnished, method: str, path: str, body: Any) -> None:
    refused(held, held.client.request(method, path, json=body), 404, "not_found")


def test_a_huge_number_of_unknown_ids_is_answered_with_some_of_them(held: Furnished) -> None:
    updates = [{"document_id": f"gone{place}", "label": "Bags"} for place in range(100_000)]

    answer = held.client.post("/collections/shelf/labels", json={"updates": updates})

    assert "'gone0'" in refused(held, answer, 404, "not_found")


def test_a_change_of_many_says_of_each_what_became_of_it(held: Furnished) -> None:
    """One that is gone fails alone, also when the revision is told at which it was seen."""
    good = held.known["document"][5]
    updates = [
        {"document_id": "gone", "base_revision": 5, "update_data": {"title": "new"}},
        {"document_id": good, "update_data": {"title": "new"}},
    ]

    changed = said(held.client.post(f"{_DOCUMENTS}/batch", json={"updates": updates}))

    assert (changed["updated_count"], changed["failed_count"]) == (1, 1)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "MOVE"])
def test_a_method_that_an_address_does_not_take_is_refused(held: Furnished, method: str) -> None:
    answer = held.client.request(method, "/buckets")

    check_silent(held, answer)
    assert answer.status_code == 405
    if method != "HEAD":
        refused(held, answer, 405, "method_not_allowed")


# --- filters, fields, pages ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"field": "title", "operator": "like", "value": "x"}, ("'like'", "contains")),
        (nested(50), ("20 levels",)),
        ([1], ("1",)),
        ("text", ("'text'",)),
        ({"field": "title", "operator": "eq", "value": {"a": 1}}, ("title",)),
        ({"field": "ti\0tle", "operator": "eq", "value": "x"}, ("ti",)),
        ({"field": "x" * 10_000, "operator": "eq", "value": "x"}, ("300",)),
        ({"OR": [{"field": "t", "operator": "eq", "value": v} for v in range(5000)]}, ("1,000",)),
        ({"field": "title", "operator": "in", "value": list(range(20_000))}, ("10,000",)),
    ],
)
def test_a_filter_that_cannot_be_is_refused(
    held: Furnished, filters: Any, words: tuple[str, ...]
) -> None:
    bodies = [
        held.client.post(f"{_DOCUMENTS}/list", json={"filters": filters}),
        held.client.post(f"{_OBJECTS}/list", json={"filters": filters}),
        held.client.post("/collections/shelf/export", json={"filters": filters}),
        held.client.post("/collections/shelf/promotions", json={"filters": filters}),
    ]

    for answer in bodies:
        message = refused(held, answer, 422, "bad_input")
        assert all(word in message for word in words), message


@pytest.mark.parametrize(
    "filters", ["{", "[" * 3000, '{"field": "a", "operator": "eq", "value": NaN}', '{"a":1,"a":1}']
)
def test_a_filter_in_an_address_is_read_as_strictly(held: Furnished, filters: str) -> None:
    answer = held.client.get(_DOCUMENTS, params={"filters": filters})

    assert "is not JSON" in refused(held, answer, 422, "bad_input")


def test_a_field_that_nothing_has_is_empty_everywhere(held: Furnished) -> None:
    """Metadata may have any field; one that no document has is null for all, and no error."""
    client = held.client
    given = {"field": "nothing", "operator": "exists", "value": True}

    assert said(client.post(f"{_DOCUMENTS}/list", json={"filters": given}))["results"] == []
    assert len(said(client.get(_DOCUMENTS, params={"sort_by": "nothing"}))["results"]) == 8
    assert said(client.post(f"{_DOCUMENTS}/distinct", json={"field": "nothing"}))["values"] == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"{_DOCUMENTS}/DOCUMENT/why?field=nothing", None),
        ("GET", "/collections/shelf/queue?field=nothing", None),
        ("GET", "/collections/shelf/analytics/coverage?field=nothing", None),
        (
            "POST",
            "/collections/shelf/labels",
            {"updates": [{"document_id": "DOCUMENT", "label": "a"}], "field": "nothing"},
        ),
    ],
)
def test_a_label_field_that_is_not_there_is_named_with_the_known_ones(
    held: Furnished, method: str, path: str, body: Any
) -> None:
    one = held.known["document"][0]
    known = json.loads(json.dumps(body).replace("DOCUMENT", one))

    answer = held.client.request(method, path.replace("DOCUMENT", one), json=known)

    assert "known: kind" in refused(held, answer, 404, "not_found")


@pytest.mark.parametrize(
    "impossible",
    [
        {"taxonomy": {}},
        {"taxonomy": {"field_to_enrich": "a..b"}},
        {"taxonomy": {"field_to_enrich": ""}},
        {"taxonomy": {"field_to_enrich": "kind", "enrich": ["a\0"]}},
        {"taxonomy": {"field_to_enrich": "kind", "targets": {"a > > b": 0.9}}},
        {"taxonomy": {"field_to_enrich": "kind", "targets": {"a": 5}}},
        {"taxonomy": {"field_to_enrich": "kind", "targets": {"a": -1}}},
        {"passed": ["a..b"]},
        {"passed": [{"source_path": "title", "target_path": "a\0"}]},
        {"extractor": "passthrough", "params": {"dimension": -1}},
        {"extractor": "passthrough", "params": {"dimension": 8.5}},
        {"extractor": "passthrough", "params": {"dimension": True}},
        {"extractor": "passthrough", "params": {"dimension": "some"}},
        {"extractor": "passthrough", "params": {"dimension": 10**12}},
        {"extractor": "passthrough", "params": {"dimension": 8, "name": "../x"}},
        {"params": {"colour": 1}},
        {"inputs": {"image": "nothing"}},
    ],
)
def test_a_collection_that_cannot_be_is_refused(held: Furnished, impossible: Any) -> None:
    body = {
        "collection_name": "impossible",
        "source": {"type": "bucket", "bucket_id": "shelf"},
        "feature_extractor": {
            "feature_extractor_name": impossible.get("extractor", "image_extractor"),
            "input_mappings": impossible.get("inputs", {"image": "photo"}),
            "field_passthrough": impossible.get("passed"),
            "params": impossible.get("params"),
        },
        "taxonomy": impossible.get("taxonomy"),
    }

    code = "bad_input" if impossible.get("params") is None else "bad_setting"
    refused(held, held.client.post("/collections", json=body), 422, code)
    refused(held, held.client.get("/collections/impossible"), 404, "not_found")


@pytest.mark.parametrize("path", [_DOCUMENTS, _OBJECTS, "/buckets", "/taxonomies/shelf/versions"])
@pytest.mark.parametrize("cursor", ["nonsense", "²", "9" * 5000, "é\0", "-1", "[]"])
def test_what_is_no_cursor_is_refused(held: Furnished, path: str, cursor: str) -> None:
    answer = held.client.get(path, params={"cursor": cursor})

    assert "not a cursor" in refused(held, answer, 422, "bad_input")


def test_a_cursor_of_another_list_is_refused(held: Furnished) -> None:
    mine: dict[str, Any] = {"limit": 2, "sort_by": "title"}
    cursor = said(held.client.get(_DOCUMENTS, params=mine))["pagination"]["next_cursor"]
    only = '{"field": "title", "operator": "exists", "value": true}'
    others: list[tuple[str, dict[str, Any]]] = [
        (_DOCUMENTS, {"limit": 2}),
        (_DOCUMENTS, {**mine, "filters": only}),
        ("/collections/points/documents", mine),
        (_OBJECTS, mine),
    ]

    for path, params in others:
        answer = held.client.get(path, params={**params, "cursor": cursor})
        assert "another list" in refused(held, answer, 422, "bad_input")


# --- labels and revisions -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "label", [["a", 1], {"a": 1}, 1.5, True, "a > > b", "x" * 1001, "a\0b", "a\nb"]
)
def test_what_is_no_label_is_refused_wherever_it_is_said(held: Furnished, label: Any) -> None:
    document, item = held.known["document"][0], held.known["object_id"][0]

    answers = [
        held.client.patch(f"{_DOCUMENTS}/{document}", json={"metadata": {"kind": label}}),
        held.client.patch(f"{_OBJECTS}/{item}", json={"kind": label}),
        held.client.post(_OBJECTS, json={"metadata": {"kind": label}}),
    ]

    for answer in answers:
        assert "label" in refused(held, answer, 422, "bad_input")
    assert said(held.client.get(f"{_DOCUMENTS}/{document}"))["metadata"]["kind"] == KINDS[0]


def test_a_label_may_be_long_but_not_longer(held: Furnished) -> None:
    one = held.known["document"][1]
    path = "/collections/shelf/labels"

    long = {"updates": [{"document_id": one, "label": "x" * LONGEST_LABEL}]}
    longer = {"updates": [{"document_id": one, "label": "x" * (LONGEST_LABEL + 1)}]}

    assert said(held.client.post(path, json=long))["changed"]["by_person"] == 1
    assert "1,001 characters" in refused(
        held, held.client.post(path, json=longer), 422, "bad_input"
    )


@pytest.mark.parametrize("etag", ["garbage", '"²"', "9" * 5000, "W/", '"-1"', '"0"'])
def test_an_etag_that_was_not_read_is_stale(held: Furnished, etag: str) -> None:
    headers = in_bytes("if-match", etag, "latin-1")
    document, item = held.known["document"][0], held.known["object_id"][0]

    for path in (f"{_DOCUMENTS}/{document}", f"{_OBJECTS}/{item}"):
        answer = held.client.patch(path, json={"kind": KINDS[0]}, headers=headers)
        refused(held, answer, 409, "stale")


# --- headers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("namespace", ["../x", "a" * 3000, "é", "a b"])
def test_what_is_no_namespace_is_refused(held: Furnished, namespace: str) -> None:
    answer = held.client.get("/buckets", headers=in_bytes("x-namespace", namespace))

    assert "not a valid namespace" in refused(held, answer, 422, "bad_input")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "", "a b", "127.0.0.1:1@evil.example", "127.0.0.1:80/../x", "[::1", "[::1]x"],
)
def test_another_host_is_refused(held: Furnished, host: str) -> None:
    answer = held.client.get("/buckets", headers={"host": host})

    refused(held, answer, 403, "host_refused")


def test_another_origin_is_refused(held: Furnished) -> None:
    answer = held.client.post("/buckets", json={}, headers={"origin": "http://evil.example"})

    refused(held, answer, 403, "origin_refused")


def test_who_comes_through_a_proxy_needs_a_key(held: Furnished) -> None:
    answer = held.client.get("/buckets", headers={"x-forwarded-for": "192.0.2.1"})

    assert "needs a key" in refused(held, answer, 401, "unauthorized")


@pytest.mark.parametrize(
    ("key", "code"), [("x" * 101, "bad_request"), ("a b", "bad_input"), ("é", "bad_input")]
)
def test_what_cannot_name_a_request_is_refused(held: Furnished, key: str, code: str) -> None:
    headers = in_bytes("idempotency-key", key)

    refused(held, held.client.post(_OBJECTS, json={}, headers=headers), 422, code)
    path = f"{_DOCUMENTS}/{held.known['document'][0]}"
    refused(held, held.client.patch(path, json={"kind": "a"}, headers=headers), 422, code)


def test_a_name_of_a_request_stands_for_one_body(held: Furnished) -> None:
    headers = {"idempotency-key": "mine"}
    path = f"{_DOCUMENTS}/{held.known['document'][2]}"
    asked: list[tuple[str, str, Any, Any]] = [
        ("POST", _OBJECTS, {"title": "a"}, {"title": "b"}),
        ("POST", f"{_OBJECTS}/batch", {"objects": [{}]}, {"objects": [{}, {}]}),
        ("PATCH", path, {"kind": "a"}, {"kind": "b"}),
        ("POST", "/buckets", {"bucket_name": "mine"}, {"bucket_name": "mine", "description": "b"}),
    ]
    for place, (method, address, first, other) in enumerate(asked):
        named = {"idempotency-key": f"mine{place}"} if place else headers
        once = held.client.request(method, address, json=first, headers=named)

        again = held.client.request(method, address, json=first, headers=named)
        changed = held.client.request(method, address, json=other, headers=named)

        assert said(again) == said(once)
        refused(held, changed, 409, "conflict")


def test_a_name_in_the_body_of_an_object_stands_for_it(held: Furnished) -> None:
    first, other = ({"title": title, "idempotency_key": "inner"} for title in "ab")
    made = said(held.client.post(_OBJECTS, json=first))

    assert said(held.client.post(_OBJECTS, json=first))["object_id"] == made["object_id"]
    refused(held, held.client.post(_OBJECTS, json=other), 409, "conflict")


@pytest.mark.parametrize("id", ["nonsense", "²", "9" * 30])
def test_what_is_no_event_cannot_be_resumed_from(held: Furnished, id: str) -> None:
    answer = held.client.get("/events", headers=in_bytes("last-event-id", id, "latin-1"))

    refused(held, answer, 422, "bad_input")


# --- pictures, vectors, addresses ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "svg"),
        (b"<!doctype html><script>alert(1)</script>", "html"),
        (bomb(60_000), "pixels"),
        (picture()[:300], "damaged"),
        (b"", "empty"),
        (b"GIF89a", "photo"),
    ],
)
def test_what_is_no_picture_is_refused_and_does_not_fail_others(
    held: Furnished, data: bytes, reason: str
) -> None:
    bad = {"blobs": [{"property": "photo", "type": "image", "data": {"base64": in_base64(data)}}]}
    sent = in_base64(picture(9))
    good = {"blobs": [{"property": "photo", "type": "image", "data": {"base64": sent}}]}

    alone = held.client.post(_OBJECTS, json=bad)
    batch = held.client.post(f"{_OBJECTS}/batch?wait=30", json={"objects": [good, bad, good]})

    assert reason in refused(held, alone, 422, "bad_content")
    check_silent(held, batch)
    said_of = said(batch)
    assert [one["object_index"] for one in said_of["failed"]] == [1]
    assert said_of["failed"][0]["error_type"] == "bad_content"
    assert {one["status"] for one in said_of["succeeded"]} == {"COMPLETED"}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"base64": "%%%"}, "bad_input"),
        ("!!! no base64 !!!", "bad_input"),
        ({}, "bad_input"),
        ({"url": "file:///etc/passwd"}, "fetch_refused"),
        ({"url": "/etc/passwd"}, "fetch_refused"),
        ({"url": "http://169.254.169.254/latest"}, "fetch_refused"),
        ({"url": "http://127.0.0.1:1/a.png"}, "fetch_refused"),
        ({"url": "http://[::ffff:10.0.0.1]/a.png"}, "fetch_refused"),
        ({"url": "s3://bucket/key"}, "fetch_refused"),
        ({"url": "ftp://example.org/a.png"}, "bad_input"),
        ({"url": "http://"}, "fetch_refused"),
        ({"url": "http://[::1"}, "fetch_refused"),
        ({"url": "http://exa\0mple/"}, "fetch_refused"),
        ({"url": "data:image/png;base64,???"}, "bad_content"),
    ],
)
def test_data_that_must_not_or_cannot_be_read_is_refused(
    held: Furnished, data: Any, code: str
) -> None:
    body = {"blobs": [{"property": "photo", "type": "image", "data": data}]}

    refused(held, held.client.post(_OBJECTS, json=body), 422, code)


@pytest.mark.parametrize("point", [[1.0], [0.0] * DIMENSION, [1e300] * DIMENSION, [1.0] * 5000, []])
def test_a_vector_that_fits_nowhere_fails_alone(held: Furnished, point: list[float]) -> None:
    """It is there and has failed, with the reason, and others beside it have not."""
    path = "/buckets/points/objects"
    body = {"blobs": [{"property": "point", "type": "vector", "data": point}]}
    fitting = {"blobs": [{"property": "point", "type": "vector", "data": [1.0] * DIMENSION}]}

    alone = held.client.post(f"{path}?wait=30", json=body)
    batch = held.client.post(f"{path}/batch?wait=30", json={"objects": [body, fitting]})

    check_silent(held, alone)
    check_silent(held, batch)
    assert said(alone)["status"] == "FAILED"
    assert said(alone)["error"]
    assert [one["status"] for one in said(batch)["succeeded"]] == ["FAILED", "COMPLETED"]


def _near(**query: Any) -> dict[str, Any]:
    return {"config": {"stage_id": "feature_search", "parameters": {"query": query}}}


def _searching(**parameters: Any) -> dict[str, Any]:
    return {"config": {"stage_id": "feature_search", "parameters": parameters}}


@pytest.mark.parametrize(
    "stage",
    [
        {"stage_type": "nothing"},
        {"stage_type": 5},
        {"config": 5},
        {"config": {"stage_id": "feature_search", "parameters": 5}},
        {"stage_type": "filter", "filters": 5},
        {"stage_type": "feature_search", "top_k": -1},
        {"stage_type": "feature_search", "colour": 1},
        {"config": {"stage_id": "taxonomy_enrich", "parameters": {"taxonomy_id": 5}}},
        _searching(searches=5),
        _searching(searches=[5]),
        _searching(searches=[{"filters": 5}]),
        _searching(searches=[{"query": {"value": "x"}, "collection_identifiers": 5}]),
        _searching(query={"value": "x"}, collection_identifiers=5),
        _searching(query={"value": "x"}, collection_identifiers=[5]),
        _searching(query={"value": "x"}, feature_uri=5),
        _searching(query={"value": "x"}, min_score="high"),
        _searching(query={"value": "x"}, top_k=1.5),
        _searching(searches=[{"query": {"value": "x"}, "weight": "heavy"}]),
        _near(input_mode="smell", value="x"),
        _near(input_mode="vector", value=[1.0]),
        _near(input_mode="vector", value=[0.0] * DIMENSION),
        _near(input_mode="vector", value=["a"] * DIMENSION),
        _near(input_mode="vector", value=[None] * DIMENSION),
        _near(input_mode="vector", value="x"),
        _near(input_mode="vector", value={"a": 1}),
        _near(input_mode="vector", value=[]),
        _near(document_ref=5),
        _near(document_ref={}),
        _near(document_ref={"document_id": 5, "collection_id": 5}),
        _near(input_mode="text", value=5),
        _near(input_mode="text", value="a text, in a space of vectors"),
        _near(input_mode="content", value="file:///etc/passwd"),
        _near(input_mode="content", value="http://127.0.0.1:1/"),
        _near(input_mode="content", value="%%%"),
        _near(input_mode="content", value=5),
        _near(input_mode="content", value="{{INPUT.nothing}}"),
    ],
)
def test_a_search_that_cannot_be_is_refused(held: Furnished, stage: Any) -> None:
    body = {"collection_identifiers": ["points"], "stages": [stage], "inputs": {}}

    answer = held.client.post("/retrievers/execute", json=body)

    code = answer.json().get("error", {}).get("code")
    assert code in ("bad_input", "bad_vector", "bad_content", "fetch_refused"), answer.text[:300]
    refused(held, answer, 422, code)


def test_a_search_in_what_is_not_there_is_refused(held: Furnished) -> None:
    near = _near(document_ref={"document_id": "gone", "collection_id": "points"})
    nowhere = {"collection_identifiers": ["nothing"], "stages": [near]}
    unknown = {"collection_identifiers": ["points"], "stages": [near]}

    refused(held, held.client.post("/retrievers/execute", json=nowhere), 409, "conflict")
    refused(held, held.client.post("/retrievers/execute", json=unknown), 404, "not_found")


# --- uploads ------------------------------------------------------------------------------------


def test_an_upload_that_broke_off_is_sent_again(held: Furnished) -> None:
    """Half a file is no file: it cannot be confirmed, and the address takes the whole one."""
    upload = said(held.client.post("/buckets/shelf/uploads", json={"filename": "a.png"}))
    address = upload["presigned_url"]
    confirm = f"/buckets/shelf/uploads/{upload['upload_id']}/confirm"

    half = talk(held, _put(address, picture(3)[:200], said_bytes=len(picture(3))))
    early = held.client.post(confirm, json={})
    held.client.put(address, content=picture(3))
    made = said(held.client.post(confirm, json={}))

    assert b" 200 " not in half[:20]
    refused(held, early, 409, "conflict")
    blob = said(held.client.get(f"{_OBJECTS}/{made['object_id']}"))["blobs"][0]
    assert held.client.get(f"{held.server.url}{blob['url']}").content == picture(3)


def test_a_file_of_another_size_than_was_said_is_refused(held: Furnished) -> None:
    body = {"filename": "a.png", "file_size_bytes": 5}
    upload = said(held.client.post("/buckets/shelf/uploads", json=body))

    longer = held.client.put(upload["presigned_url"], content=picture())
    empty = held.client.put(upload["presigned_url"], content=b"")

    refused(held, longer, 422, "bad_input")
    refused(held, empty, 422, "bad_input")


def test_a_changed_address_takes_no_file(held: Furnished) -> None:
    upload = said(held.client.post("/buckets/shelf/uploads", json={"filename": "../../a.png"}))

    forged = held.client.put(f"{upload['presigned_url'][:-4]}0000", content=picture())

    refused(held, forged, 403, "forbidden")


def test_a_file_that_is_no_picture_is_refused_when_it_is_confirmed(held: Furnished) -> None:
    body = {"filename": "../../a.png", "blob_property": "photo", "blob_type": "image"}
    upload = said(held.client.post("/buckets/shelf/uploads", json=body))
    held.client.put(upload["presigned_url"], content=b"<svg/>")

    answer = held.client.post(f"/buckets/shelf/uploads/{upload['upload_id']}/confirm", json={})

    refused(held, answer, 422, "bad_content")


def test_a_deleted_upload_leaves_no_copy(held: Furnished) -> None:
    upload = said(held.client.post("/buckets/shelf/uploads", json={"filename": "a.bin"}))
    kept = set(_copies(held.server.store))
    held.client.put(upload["presigned_url"], content=b"something of its own" * 1000)
    assert len(set(_copies(held.server.store)) - kept) == 1

    gone = held.client.delete(f"/buckets/shelf/uploads/{upload['upload_id']}")

    assert gone.status_code == 204
    assert set(_copies(held.server.store)) == kept


def test_a_bucket_goes_with_the_files_that_were_sent_to_it(held: Furnished) -> None:
    said(held.client.post("/buckets", json={"bucket_name": "brief"}))
    upload = said(held.client.post("/buckets/brief/uploads", json={"filename": "a.bin"}))
    kept = set(_copies(held.server.store))
    held.client.put(upload["presigned_url"], content=b"another thing" * 1000)

    said(held.client.delete("/buckets/brief?cascade=true"))

    assert set(_copies(held.server.store)) == kept


def test_a_batch_that_names_an_object_twice_makes_it_once(held: Furnished) -> None:
    one = {"object_id": "twice", "metadata": {"title": "once"}}

    made = said(held.client.post(f"{_OBJECTS}/batch?wait=30", json={"objects": [one, one]}))

    assert [item["object_id"] for item in made["succeeded"]] == ["twice", "twice"]


def _copies(store: Path) -> list[Path]:
    return [path for path in (store / "blobs").rglob("*") if path.is_file()]


# --- what is hardly HTTP ------------------------------------------------------------------------


def talk(held: Furnished, request: bytes) -> bytes:
    """Send bytes, say that no more come, and return what is answered."""
    answer = b""
    with socket.create_connection(("127.0.0.1", held.server.port), timeout=20.0) as connection:
        with suppress(OSError):  # it may have heard enough, and hang up
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while part := connection.recv(65536):
                answer += part
    for leak in _LEAKS:
        assert leak.encode() not in answer
    return answer


def _put(address: str, data: bytes, *, said_bytes: int) -> bytes:
    path = address.partition("127.0.0.1")[2].partition("/")[2]
    head = f"PUT /{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {said_bytes}\r\n\r\n"
    return head.encode() + data


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET /v1/buckets HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /v1/buckets HTTP/1.1\r\n\r\n",
        b"POST /v1/buckets HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/buckets HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5, 6\r\n\r\nabcdef",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    ],
)
def test_what_is_no_http_is_turned_away(held: Furnished, request_: bytes) -> None:
    answer = talk(held, request_)

    assert not answer or re.match(rb"HTTP/1\.1 4\d\d ", answer)


@pytest.mark.parametrize("path", ["/v1/buckets", "/v1/collections/shelf/labels"])
def test_half_a_body_changes_nothing(held: Furnished, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    before = said(held.client.get("/changes"))["revision"]

    answer = talk(held, f'{head}Content-Length: 500\r\n\r\n{{"bucket_name": "half"}}'.encode())

    assert not answer or re.match(rb"HTTP/1\.1 4\d\d ", answer)
    assert said(held.client.get("/changes"))["revision"] == before
    refused(held, held.client.get("/buckets/half"), 404, "not_found")
