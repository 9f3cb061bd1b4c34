"""Goods for tests over HTTP: the sample pictures by their true label, and what all tests ask."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx2

import lookalike.library.samples

BALLOON, JIGSAW = "Party > Balloon", "Game > Jigsaw"
SIGNAL, SEMAPHORE = "Flag > Signal", "Sign > Semaphore"
THRESHOLD = 0.7
"""Balloons are 0.73 and more like each other, jigsaws 0.88, and all else is 0.65 or less like them
(cosines that `image` gives for the sample pictures).
"""

IMAGE = {
    "feature_extractor_name": "image",
    "version": "v1",
    "input_mappings": {"image": "image"},
}
_SAMPLES = Path(lookalike.library.samples.__file__).parent


@cache
def pictures(label: str) -> tuple[str, ...]:
    """Return the file names of the sample pictures that are what the label says, in order."""
    with (_SAMPLES / "truth.csv").open(encoding="utf-8") as table:
        return tuple(row["file_name"] for row in csv.DictReader(table) if row["label"] == label)


def bytes_of(name: str) -> bytes:
    """Return the content of a sample picture."""
    return (_SAMPLES / "pictures" / name).read_bytes()


def data_url(name: str) -> str:
    """Return a sample picture as the text that a page sends."""
    return "data:image/png;base64," + base64.b64encode(bytes_of(name)).decode()


def item(name: str, **metadata: Any) -> dict[str, Any]:
    """Return the body of an upload of a sample picture, whose file name is its object id."""
    data = {"base64": base64.b64encode(bytes_of(name)).decode(), "filename": name}
    blob = {"property": "image", "type": "image", "data": data}
    return {"object_id": name, "metadata": metadata, "blobs": [blob]}


def ok(response: httpx2.Response, status: int = 200) -> dict[str, Any]:
    """Return the body of an answer that is as it should be."""
    assert response.status_code == status, f"{response.status_code}: {response.text[:2000]}"
    body: dict[str, Any] = response.json()
    return body


def refused(response: httpx2.Response, status: int) -> dict[str, Any]:
    """Return the error of an answer that refuses, which has the shape that all errors have."""
    body = ok(response, status)
    assert (body["status"], body["success"]) == (status, False)
    error: dict[str, Any] = body["error"]
    assert error.keys() == {"code", "type", "message", "details"}
    return error


class Shop:
    """A bucket and collections over it, asked as a user asks: by plain JSON over HTTP."""

    def __init__(self, client: httpx2.Client, name: str) -> None:
        self.client = client
        self.name = name
        self.bucket = f"/v1/buckets/{name}"

    def open(self, **properties: str) -> dict[str, Any]:
        """Make the bucket: pictures with a category, and more properties by their types."""
        types = {"image": "image", "category": "string", **properties}
        schema = {"properties": {name: {"type": type} for name, type in types.items()}}
        body = {"bucket_name": self.name, "schema": schema}
        return ok(self.client.post("/v1/buckets", json=body))

    def collect(self, collection: str, **more: Any) -> dict[str, Any]:
        """Make a collection over the bucket."""
        source = {"type": "bucket", "bucket_id": self.name}
        body = {"collection_name": collection, "source": source, "feature_extractor": IMAGE, **more}
        return ok(self.client.post("/v1/collections", json=body))

    def put(self, *names: str, **metadata: Any) -> list[dict[str, Any]]:
        """Put pictures in, and wait until they are documents."""
        body = {"objects": [item(name, **metadata) for name in names]}
        done = ok(self.client.post(f"{self.bucket}/objects/batch", json=body, params={"wait": 60}))
        assert done["failed"] == []
        found: list[dict[str, Any]] = done["succeeded"]
        return found

    def say(self, name: str, **metadata: Any) -> dict[str, Any]:
        """Change an object's metadata."""
        body = {"metadata": metadata}
        return ok(self.client.patch(f"{self.bucket}/objects/{name}", json=body))

    def document(self, collection: str, name: str) -> dict[str, Any]:
        """Return a document."""
        return ok(self.client.get(f"/v1/collections/{collection}/documents/{name}"))

    def documents(self, collection: str, filters: Any = None, **query: Any) -> list[dict[str, Any]]:
        """Return documents, the first hundred of them."""
        given = {} if filters is None else {"filters": json.dumps(filters)}
        params = {**given, **query}
        found = ok(self.client.get(f"/v1/collections/{collection}/documents", params=params))
        results: list[dict[str, Any]] = found["results"]
        return results

    def labels(self, collection: str, field: str = "category") -> dict[str, Any]:
        """Return the label of each document, by its id."""
        found = self.documents(collection, limit=1000)
        return {one["document_id"]: one["metadata"].get(field) for one in found}


@contextmanager
def asking(url: str, **headers: str) -> Iterator[httpx2.Client]:
    """Give a client of a server."""
    with httpx2.Client(base_url=url, timeout=90.0, headers=headers) as client:
        yield client
