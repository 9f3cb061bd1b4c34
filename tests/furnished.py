"""A real server with something of everything in it, for tests that ask it anything."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

import lookalike
from serving import Served

DIMENSION = 8
KINDS = ("Bags", "Hats > Caps")
_SAMPLES = Path(lookalike.__file__).parent / "library" / "samples" / "pictures"
_EXTRACTORS = {"shelf": "image_extractor", "bin": "image_extractor", "points": "passthrough"}


@dataclass(frozen=True, slots=True)
class Furnished:
    """A server, a client of it, and the ids of what it holds, by the name of their parameter.

    `known` are for any request. `doomed` hold nothing that another request needs.
    """

    server: Served
    client: httpx2.Client
    known: dict[str, list[str]]
    doomed: dict[str, list[str]]


@contextmanager
def furnished(store: Path) -> Iterator[Furnished]:
    """Start a server over `store` and put something of everything in."""
    with (
        Served(store) as server,
        httpx2.Client(base_url=f"{server.url}/v1", timeout=60.0) as client,
    ):
        made = {name: _shelf(client, name) for name in _EXTRACTORS}
        known, doomed = _ids(client, "shelf", made), _ids(client, "bin", made)
        for name in ("bucket", "collection", "retriever", "taxonomy"):
            known[name].append("points")
        yield Furnished(server, client, known, doomed)


def picture(place: int = 0) -> bytes:
    """Return the bytes of a small picture."""
    return sorted(_SAMPLES.glob("*.png"))[place].read_bytes()


def said(answer: httpx2.Response) -> Any:
    """Return what a request that must succeed answered."""
    assert answer.is_success, answer.text
    return answer.json()


def _shelf(client: httpx2.Client, name: str) -> list[str]:
    """Make a bucket, a retriever, a taxonomy and a collection; return the ids of their objects."""
    of_pictures = _EXTRACTORS[name] == "image_extractor"
    kind, given = ("image", "photo") if of_pictures else ("vector", "point")
    schema = {"properties": {given: {"type": kind}, "title": {"type": "text"}}}
    said(client.post("/buckets", json={"bucket_name": name, "schema": schema}))
    extractor: dict[str, Any] = {
        "feature_extractor_name": _EXTRACTORS[name],
        "version": "v1",
        "input_mappings": {kind: given},
        "field_passthrough": ["title"],
    }
    if not of_pictures:
        extractor["params"] = {"dimension": DIMENSION}
    search = {
        "stage_type": "feature_search",
        "feature_extractor": extractor,
        "top_k": 5,
    }
    retriever = {"retriever_name": name, "collection_identifiers": [name], "stages": [search]}
    said(client.post("/retrievers", json=retriever))
    config = {"retriever_id": name, "field_to_enrich": "kind", "confidence_threshold": 0.5}
    said(client.post("/taxonomies", json={"taxonomy_name": name, "config": config}))
    collection = {
        "collection_name": name,
        "source": {"type": "bucket", "bucket_id": name},
        "feature_extractor": extractor,
        "taxonomy_applications": [{"taxonomy_id": name}],
    }
    said(client.post("/collections", json=collection))
    objects = [_object(given, place, of_pictures=of_pictures) for place in range(8)]
    address, body = f"/buckets/{name}/objects/batch?wait=60", {"objects": objects}
    made = said(client.post(address, json=body))
    assert not made["failed"]
    return [one["object_id"] for one in made["succeeded"]]


def _object(property: str, place: int, *, of_pictures: bool) -> dict[str, Any]:
    data: Any = {"base64": base64.b64encode(picture(place)).decode()}
    if not of_pictures:
        data = np.random.default_rng(place).normal(size=DIMENSION).tolist()
    blob = {"property": property, "type": "image" if of_pictures else "vector", "data": data}
    label = {"kind": KINDS[place % 2]} if place < 4 else {}
    return {"metadata": {"title": f"thing {place}", **label}, "blobs": [blob]}


def _ids(client: httpx2.Client, name: str, made: dict[str, list[str]]) -> dict[str, list[str]]:
    listed = said(client.get(f"/collections/{name}/documents"))["results"]
    documents = [one["document_id"] for one in listed]
    update = {"document_id": documents[0], "label": KINDS[0]}
    labelled = said(client.post(f"/collections/{name}/labels", json={"updates": [update]}))
    audit = said(client.post(f"/collections/{name}/audits", json={"size": 3}))
    rule = {"confidence_threshold": 0.9}
    trial = said(client.post(f"/collections/{name}/trials", json=rule))["trial_id"]
    said(client.post(f"/collections/{name}/versions", json={"name": "first"}))
    task = said(client.post(f"/collections/{name}/trigger", json={}))["task_id"]
    file = {"filename": "a.png", "content_type": "image/png"}
    upload = said(client.post(f"/buckets/{name}/uploads", json=file))
    said(client.put(upload["presigned_url"], content=picture()))
    exported = said(client.post(f"/collections/{name}/export", json={}))
    return {
        "bucket": [name, f"bkt_{name}"],
        "object_id": made[name],
        "object": list(made[name]),
        "collection": [name, f"col_{name}"],
        "document": documents,
        "audit": [audit["audit_id"]],
        "trial": [trial],
        "version": ["first"],
        "retriever": [name, f"ret_{name}"],
        "taxonomy": [name, f"tax_{name}"],
        "task": [task],
        "upload": [upload["upload_id"]],
        "operation": [labelled["operation_id"]],
        "sha256": [one["sha256"] for one in listed],
        "name": [exported["s3_path"].rpartition("/")[2]],
    }
