"""The OpenAPI document is complete and true: whatever is sent, the answer is as it says."""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from furnished import DIMENSION, KINDS, Furnished, furnished, picture, said
from hunting import HUNTING, times
from lookalike.server.errors import ANSWERS, RESPONSES

EXAMPLES = times(3)
"""Requests to each operation that are as described, and as many that are not."""

_ERRORS = Path(__file__).parents[2] / "docs" / "errors.md"
_REFERENCE = re.compile(r"#/components/schemas/(\w+)")
_HTTP = {"connection", "content-length", "expect", "host", "transfer-encoding", "upgrade"}
"""Headers that are no part of what an operation is asked: they say how the bytes are sent."""

_UNSAID = ("positive_data_acceptance",)
"""Not asked for: a body may be of the right shape, and yet name what is not there."""

_FILTER = {"must": [{"key": "kind", "match": {"operator": "ne", "value": None}}]}
_FILTERS = [
    _FILTER,
    {"AND": [{"field": "title", "operator": "contains", "value": "thing"}]},
    {"NOT": [{"field": "taxonomy_match.confidence", "operator": "gte", "value": 0.5}]},
    {"field": "title", "operator": "like", "value": "thing"},
]


def _near(value: Any) -> dict[str, Any]:
    query = {"input_mode": "vector", "value": value}
    return {"config": {"stage_id": "feature_search", "parameters": {"query": query, "top_k": 3}}}


_EXTRACTOR = {
    "feature_extractor_name": "passthrough",
    "input_mappings": {"vector": "point"},
    "params": {"dimension": DIMENSION},
}
_STAGES = [
    {"stage_type": "filter", "filters": _FILTER},
    _near([1.0] * DIMENSION),
    _near("{{INPUT.point}}"),
    {"stage_type": "feature_search", "feature_extractor": _EXTRACTOR, "top_k": 2},
    {"stage_type": "nothing"},
]
_FIELDS = ["kind", "title", "metadata.title", "taxonomy_match.confidence", "document_id", "nothing"]
ROUTES = """
POST /v1/buckets, POST /v1/buckets/list
GET /v1/buckets/{bucket}, DELETE /v1/buckets/{bucket}
POST /v1/buckets/{bucket}/objects, POST /v1/buckets/{bucket}/objects/list
PATCH /v1/buckets/{bucket}/objects/{object_id}
POST /v1/buckets/{bucket}/uploads, POST /v1/buckets/{bucket}/uploads/{upload}/confirm
POST /v1/collections, POST /v1/collections/list
GET /v1/collections/{collection}, PATCH /v1/collections/{collection}
DELETE /v1/collections/{collection}
POST /v1/collections/{collection}/apply-taxonomy, POST /v1/collections/{collection}/export
GET /v1/collections/{collection}/documents, POST /v1/collections/{collection}/documents/list
GET /v1/collections/{collection}/documents/{document}
PATCH /v1/collections/{collection}/documents/{document}
POST /v1/collections/{collection}/documents/batch
POST /v1/collections/{collection}/documents/aggregate
POST /v1/collections/{collection}/documents/count
POST /v1/collections/{collection}/documents/distinct
GET /v1/collections/{collection}/documents/{document}/why
POST /v1/collections/{collection}/labels, POST /v1/collections/{collection}/rejections
POST /v1/collections/{collection}/promotions
GET /v1/collections/{collection}/queue, GET /v1/collections/{collection}/check
GET /v1/collections/{collection}/analytics/field-distribution
GET /v1/collections/{collection}/analytics/coverage
GET /v1/collections/{collection}/analytics/confidence
GET /v1/collections/{collection}/analytics/curve
GET /v1/collections/{collection}/analytics/error-rate
GET /v1/collections/{collection}/analytics/references
POST /v1/operations/{operation}/undo
POST /v1/retrievers, POST /v1/retrievers/list
GET /v1/retrievers/{retriever}, DELETE /v1/retrievers/{retriever}
POST /v1/retrievers/{retriever}/execute, POST /v1/retrievers/{retriever}/execute/batch
POST /v1/taxonomies, POST /v1/taxonomies/list
GET /v1/taxonomies/{taxonomy}, DELETE /v1/taxonomies/{taxonomy}
GET /v1/taxonomies/{taxonomy}/versions, POST /v1/taxonomies/{taxonomy}/clone
POST /v1/taxonomies/{taxonomy}/execute
GET /v1/tasks/{task}, GET /v1/events, GET /v1/changes
GET /v1/health, GET /v1/health/liveness, GET /v1/health/readiness
"""
"""What the contract has, without audits and trials."""


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Furnished]:
    with furnished(tmp_path_factory.mktemp("openapi") / "store") as held:
        yield held


@pytest.fixture(scope="module")
def document(held: Furnished) -> dict[str, Any]:
    return dict(said(held.client.get(f"{held.server.url}/openapi.json")))


# --- complete -----------------------------------------------------------------------------------


def test_every_route_of_the_contract_is_there(document: dict[str, Any]) -> None:
    described = {f"{method.upper()} {path}" for method, path, _ in _operations(document)}

    wanted = {route.strip() for route in re.split(r"[,\n]", ROUTES.strip())}

    assert not wanted - described


def test_every_operation_says_what_it_does_and_answers(document: dict[str, Any]) -> None:
    for method, path, operation in _operations(document):
        name = f"{method} {path}"
        assert operation["summary"], name
        assert operation["description"].strip(), name
        assert operation["tags"], name
        for status, answer in operation["responses"].items():
            json_answer = answer.get("content", {}).get("application/json", {"schema": True})
            assert json_answer.get("schema"), f"{name} {status}"


def test_every_operation_says_what_errors_look_like(document: dict[str, Any]) -> None:
    statuses = {str(status) for status in RESPONSES}
    for method, path, operation in _operations(document):
        assert statuses <= operation["responses"].keys(), f"{method} {path}"
        for status in statuses:
            schema = operation["responses"][status]["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/ErrorReply"}

    error = document["components"]["schemas"]["ErrorReply"]

    assert error["required"] == ["status", "success", "error"]


def test_every_code_is_documented_with_its_status() -> None:
    page = _ERRORS.read_text("utf-8")

    for status, code, meaning in ANSWERS:
        assert f"| {status} | `{code}` | {meaning} |" in page


def test_the_reference_page_shows_every_address(held: Furnished, document: dict[str, Any]) -> None:
    page = held.client.get(f"{held.server.url}/docs").text

    assert all(path in page for path in document["paths"])


# --- true ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_whatever_is_sent_the_answer_is_as_described(
    held: Furnished, document: dict[str, Any], mode: GenerationMode, subtests: pytest.Subtests
) -> None:
    """Neither a status nor a type nor a shape that is not described, and nothing fails."""
    api = schemathesis.openapi.from_dict(_offering(held, document))
    api.config.update(base_url=held.server.url)
    found: Any = api.exclude(path="/v1/events").get_all_operations()
    chosen = [one.ok() for one in found]
    statuses: Counter[int] = Counter()
    with requests.Session() as session:
        for operation in sorted(chosen, key=_last_what_erases):
            if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
                continue  # nothing in it can be wrong but an id
            with subtests.test(operation.label):
                statuses += _ask(held, operation, mode, session)

    expected = 200 if mode is GenerationMode.POSITIVE else 422
    assert statuses[expected] > 100, statuses
    assert "Traceback" not in held.server.log


def _ask(
    held: Furnished, operation: Any, mode: GenerationMode, session: requests.Session
) -> Counter[int]:
    statuses: Counter[int] = Counter()
    offered = ["nothing", *chain(*held.known.values(), *held.doomed.values())]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=not HUNTING,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        for name in [name for name in case.headers or () if name.lower() in _HTTP]:
            del case.headers[name]
        unsaid = list(_UNSAID)
        if any(one not in offered for one in (case.path_parameters or {}).values()):
            unsaid.append("negative_data_rejection")  # an earlier request may have made "null"
        excluded: Any = CHECKS.get_by_names(unsaid)
        answer = case.call_and_validate(session=session, excluded_checks=excluded)
        statuses[answer.status_code] += 1

    ask()
    return statuses


def _last_what_erases(operation: Any) -> tuple[bool, int]:
    erases = operation.method == "delete"
    return erases, -len(operation.path) if erases else 0


def _offering(held: Furnished, document: Mapping[str, Any]) -> Any:
    """Return a document that lets what the server holds be asked for, and not only anything."""
    document = copy.deepcopy(document)
    for method, _, operation in _operations(document):
        ids = held.doomed if method == "delete" else held.known
        for one in operation.get("parameters", ()):
            if one["in"] == "path" or one["name"] in ("bucket", "object"):
                one["schema"] = {"enum": [*ids[one["name"]][:3], "nothing"]}
            else:
                offers = {"field": _FIELDS, "filters": [json.dumps(tree) for tree in _FILTERS]}
                one["schema"] = _offered(held, one["name"], one["schema"], offers)
    offers = _offers(held)
    schemas = document["components"]["schemas"]
    for asked in _asked(document):
        properties = schemas[asked].get("properties", {})
        for name, one in properties.items():
            properties[name] = _offered(held, name, one, offers)
    return document


def _offered(held: Furnished, name: str, schema: Any, offers: Mapping[str, Any]) -> Any:
    if name in offers:
        return {"anyOf": [{"enum": offers[name]}, schema]}
    kind = name.removesuffix("s").removesuffix("_id")
    if name == "object_id":
        return schema  # an object may be given any
    if name.endswith("_id") and kind in held.known:
        return {"enum": [*held.known[kind][:4], "nothing"]}
    if name.endswith("_ids") and kind in held.known:
        return {"enum": [held.known[kind][:2], held.known[kind][:1], ["nothing"], []]}
    return schema


def _offers(held: Furnished) -> dict[str, list[Any]]:
    one, upload = held.known["document"][0], held.known["upload"][0]
    search = {"stages": _STAGES[1:2], "collection_identifiers": ["points"]}
    return {
        "aggregations": [[{"function": "count"}], [{"function": "max", "field": "title"}]],
        "collection_identifiers": [["shelf"], ["points"], ["shelf", "nothing"]],
        "config": [{"retriever_id": "points", "field_to_enrich": "kind"}],
        "confirmations": [[{"upload_id": upload}]],
        "cursor": ["1", "nothing"],
        "feature_extractor": [_EXTRACTOR, {"feature_extractor_name": "image_extractor"}],
        "field": _FIELDS,
        "field_to_enrich": ["kind", "title", ["kind", "sort"]],
        "filters": _FILTERS,
        "group_by": [["kind"], ["nothing"]],
        "inputs": [{"point": [1.0] * DIMENSION}, {"point": [1.0]}, {"point": "a bag"}, {}],
        "label": list(KINDS),
        "metadata": [{"kind": KINDS[0]}, {"kind": None, "title": "new"}],
        "op_id": ["", "once"],
        "queries": [[{"inputs": {"point": [1.0] * DIMENSION}}]],
        "rows": [[{"id": one, "label": KINDS[1]}], [{"file_name": "nothing", "label": None}]],
        "scroll_filters": _FILTERS,
        "sort_by": [*_FIELDS, "-kind", "-taxonomy_match.margin"],
        "source": [{"type": "bucket", "bucket_id": "points"}],
        "source_documents": [[{"document_id": one, "collection_id": "shelf"}]],
        "stages": [*([stage] for stage in _STAGES), _STAGES[:2], search["stages"]],
        "update_data": [{"kind": KINDS[0]}, {"metadata": {"title": "new"}}],
        "updates": [[{"document_id": one, "label": KINDS[0]}], [{"document_id": one}]],
    }


def _asked(document: Mapping[str, Any]) -> set[str]:
    """Return the names of the schemas that bodies of requests are made of."""
    found: set[str] = set()
    waiting = [json.dumps(one.get("requestBody")) for _, _, one in _operations(document)]
    while waiting:
        new = set(_REFERENCE.findall(waiting.pop())) - found
        found |= new
        waiting += [json.dumps(document["components"]["schemas"][name]) for name in new]
    return found


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


# --- what is no JSON ----------------------------------------------------------------------------


def test_events_are_told_as_described(held: Furnished, document: dict[str, Any]) -> None:
    described = document["paths"]["/v1/events"]["get"]["responses"]["200"]["content"]

    with held.client.stream("GET", "/events", params={"since": 0}) as answer:
        lines = answer.iter_lines()
        first = [next(lines) for _ in range(6)]

    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] in described
    assert first[0].startswith(": from 0")
    assert {line.partition(":")[0] for line in first[2:5]} == {"id", "event", "data"}


def test_bytes_and_thumbnails_come_as_described(held: Furnished) -> None:
    object_id = held.known["object_id"][1]
    blob = said(held.client.get(f"/buckets/shelf/objects/{object_id}"))["blobs"][0]

    whole = held.client.get(f"{held.server.url}{blob['url']}")
    small = held.client.get(f"/blobs/{blob['sha256']}/thumbnail?{whole.request.url.query.decode()}")

    assert (whole.content, whole.headers["content-type"]) == (picture(1), "image/png")
    assert (small.status_code, small.headers["content-type"]) == (200, "image/jpeg")


@pytest.mark.parametrize(
    ("format", "type"),
    [("json", "application/json"), ("jsonl", "application/x-ndjson"), ("csv", "text/csv")],
)
def test_exports_come_as_described(
    held: Furnished, document: dict[str, Any], format: str, type: str
) -> None:
    described = document["paths"]["/v1/blobs/exports/{name}"]["get"]["responses"]["200"]["content"]
    made = said(held.client.post("/collections/shelf/export", json={"format": format}))

    file = held.client.get(made["download_url"])
    part = held.client.get(made["download_url"], headers={"range": "bytes=9999999-"})

    assert file.status_code == part.status_code == 200
    assert file.headers["content-type"].partition(";")[0] == type
    assert type in described
    assert len(file.content) == made["file_size_bytes"]
