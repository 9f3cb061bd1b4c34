"""The OpenAPI document is complete and true: whatever is sent, the answer is as it says."""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import requests
import schemathesis
from furnished import DIMENSION, KINDS, Furnished, furnished, picture
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

EXAMPLES = 12
_REFERENCE = re.compile(r"#/components/schemas/(\w+)")

_FILTER = {"must": [{"key": "kind", "match": {"operator": "ne", "value": None}}]}
_FILTERS = [
    _FILTER,
    {"AND": [{"field": "title", "operator": "contains", "value": "thing"}]},
    {"NOT": [{"field": "taxonomy_match.confidence", "operator": "gte", "value": 0.5}]},
    {"field": "nothing", "operator": "eq", "value": 1},
    {"field": "title", "operator": "like", "value": "thing"},
]
_FIELDS = ["kind", "title", "metadata.title", "taxonomy_match.confidence", "document_id", "nothing"]
_SORTS = [*_FIELDS, "-kind", "-taxonomy_match.margin"]
_STAGES = [
    {"stage_type": "filter", "filters": _FILTER},
    {"stage_type": "feature_search", "top_k": 3},
    {"stage_name": "near", "config": {"stage_id": "feature_search", "parameters": {"top_k": 2}}},
    {"stage_type": "nothing"},
]
_INPUTS = [
    {"vector": [1.0] * DIMENSION},
    {"vector": [1.0]},
    {"query": "a bag"},
    {"document_id": "nothing"},
]
_OFFERS = {
    "sort_by": _SORTS,
    "field": _FIELDS,
    "label": list(KINDS),
    "op_id": ["", "once"],
    "stages": [*([one] for one in _STAGES), _STAGES[:2]],
    "metadata": [{"kind": KINDS[0]}, {"kind": None, "title": "new"}],
    "update_data": [{"kind": KINDS[0]}, {"metadata": {"title": "new"}}],
    "group_by": [["kind"], ["nothing"]],
    "function": ["count", "avg", "max", "nothing"],
    "field_to_enrich": ["kind", "title", ["kind", "sort"]],
    "feature_extractor_name": ["image_extractor", "passthrough", "nothing"],
    "collection_identifiers": [["shelf"], ["points"], ["shelf", "nothing"]],
    "cursor": ["1", "nothing"],
    "inputs": _INPUTS,
}


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Furnished]:
    with furnished(tmp_path_factory.mktemp("openapi") / "store") as held:
        yield held


@pytest.fixture(scope="module")
def document(held: Furnished) -> dict[str, Any]:
    return dict(held.client.get(f"{held.server.url}/openapi.json").json())


@pytest.fixture(scope="module")
def api(held: Furnished, document: dict[str, Any]) -> Any:
    schema = schemathesis.openapi.from_dict(_offering(held, document))
    schema.config.update(base_url=held.server.url)
    return schema


def _offering(held: Furnished, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document that lets what the server holds be asked for, and not only anything."""
    document = copy.deepcopy(dict(document))
    for methods in document["paths"].values():
        for method, operation in methods.items():
            ids = held.doomed if method == "delete" else held.known
            for one in operation.get("parameters", ()):
                if one["in"] == "path" or one["name"] in ("bucket", "object"):
                    one["schema"] = {"enum": [*ids[one["name"]][:3], "nothing"]}
                else:
                    one["schema"] = _offered(held, one["name"], one["schema"], in_query=True)
    schemas = document["components"]["schemas"]
    for asked in _asked(document):
        properties = schemas[asked].get("properties", {})
        for name, one in properties.items():
            properties[name] = _offered(held, name, one, in_query=False)
    return document


def _asked(document: Mapping[str, Any]) -> set[str]:
    """Return the names of the schemas of which bodies are made."""
    found: set[str] = set()
    waiting = [
        json.dumps(operation.get("requestBody"))
        for methods in document["paths"].values()
        for operation in methods.values()
    ]
    while waiting:
        new = set(_REFERENCE.findall(waiting.pop())) - found
        found |= new
        waiting += [json.dumps(document["components"]["schemas"][name]) for name in new]
    return found


def _offered(held: Furnished, name: str, schema: Any, *, in_query: bool) -> Any:
    filters = [json.dumps(one) for one in _FILTERS] if in_query else _FILTERS
    offers = {**_OFFERS, "filters": filters, "scroll_filters": filters}
    if name in offers:
        return {"anyOf": [{"enum": offers[name]}, schema]}
    kind = name.removesuffix("s").removesuffix("_id")
    if name.endswith("_id") and kind in held.known:
        return {"enum": [*held.known[kind][:4], "nothing"]}
    if name.endswith("_ids") and kind in held.known:
        return {"enum": [held.known[kind][:2], held.known[kind][:1], ["nothing"], []]}
    return schema


SEEN: Counter = Counter()
BY: dict = {}

@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_any_request(held: Furnished, api: Any, mode: GenerationMode, subtests: pytest.Subtests) -> None:
    with requests.Session() as session:
        for result in api.exclude(path="/v1/events").get_all_operations():
            operation = result.ok()
            if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
                continue
            with subtests.test(operation.label):
                _ask(operation, mode, session)
    print(SEEN)
    for k, v in sorted(BY.items(), key=lambda kv: str(kv)): print(mode, k, dict(v))
    BY.clear()
    print(held.server.log[-6000:])


def _ask(operation: Any, mode: GenerationMode, session: requests.Session) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate])
    @given(case=operation.as_strategy(generation_mode=mode))
    def any_request(case: schemathesis.Case) -> None:
        r = case.call_and_validate(session=session, excluded_checks=CHECKS.get_by_names(["positive_data_acceptance"]))
        SEEN[r.status_code] += 1
        BY.setdefault(operation.label, Counter())[r.status_code] += 1

    any_request()
