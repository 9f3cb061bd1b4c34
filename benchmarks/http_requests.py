"""How fast the server answers on loopback: reads, labels, uploads, an import, and its start."""

from __future__ import annotations

import base64
import http.client
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import numpy as np

from made_vectors import DIMENSION, labels, names, vectors
from measuring import Figure

_GET_MS, _LIST_MS, _LABEL_MS, _START_S, _VECTORS_PER_S = 5.0, 30.0, 150.0, 2.0, 2000.0
_LABEL_STUDIO_PER_S = 330.0
_TIMES = 20
"""The import shall be so many times the rate of Label Studio's REST import, 200 to 330 tasks/s."""

_READS, _LISTS, _LABELS = 200, 40, 40
_BATCH, _LARGE_BATCH, _UPLOADED, _IMPORTED = 500, 5000, 10_000, 10_000
_SMALL = 64
_DOCUMENTS = "/v1/collections/things/documents"
_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
_FILTERS = (
    ("label null", {"field": "label", "operator": "eq", "value": None}, None),
    ("one label", {"field": "label", "operator": "eq", "value": "Kind 7"}, None),
    (
        "labelled, the least sure first",
        {"field": "label", "operator": "ne", "value": None},
        "taxonomy_match.confidence",
    ),
)


def reading(folder: Path, count: int) -> list[Figure]:
    """Start a server on a store of `count` documents; get documents and lists."""
    with _served(folder / f"store-{count}") as (client, start_s):
        began = time.perf_counter()
        _get(client, "/v1/collections/things/documents", limit=1)
        first_s = start_s + time.perf_counter() - began
        places = np.random.default_rng(3).integers(0, count, _READS + 1).tolist()
        paths = iter([f"{_DOCUMENTS}/v{place}" for place in places])
        reader = _Reader(client.base_url.host, client.base_url.port)
        reader.read(next(paths))
        one_ms = _median_ms(_READS, lambda: reader.read(next(paths)))
        lists = [(name, _list_ms(reader, filters, sort)) for name, filters, sort in _FILTERS]
    name = f"HTTP, {count:,} documents"
    return [
        Figure(f"{name}: start to the first health", f"{start_s:.2f} s"),
        Figure(
            f"{name}: start to the first list",
            f"{first_s:.2f} s",
            f"≤ {_START_S} s",
            first_s <= _START_S,
        ),
        Figure(
            f"{name}: GET of one, p50", f"{one_ms:.1f} ms", f"≤ {_GET_MS} ms", one_ms <= _GET_MS
        ),
        *(
            Figure(
                f"{name}: 100 of: {what}, p50", f"{ms:.1f} ms", f"≤ {_LIST_MS} ms", ms <= _LIST_MS
            )
            for what, ms in lists
        ),
    ]


def labelling(folder: Path, count: int) -> list[Figure]:
    """PATCH the label of one document at a time that is null, with every decision it changes."""
    shows, nothing = labels(count), {"field": "label", "operator": "eq", "value": None}
    changed = []
    with _served(folder / f"store-{count}") as (client, _):
        path = "/v1/collections/things/documents"
        found = _get(client, path, filters=json.dumps(nothing), limit=_LABELS + 1)["results"]
        policy = found[0]["taxonomy_match"]["policy"]
        ids = iter([one["object_id"] for one in found])

        def label() -> None:
            id = next(ids)
            body = {"metadata": {"label": shows[int(id[1:])]}}
            answer = _ok(client.patch(f"/v1/buckets/things/objects/{id}", json=body))
            changed.append(answer["changed"]["by_itself"])

        label()
        ms = _median_ms(_LABELS, label)
    name = f"HTTP, {count:,} documents, `{policy}`: label by PATCH, all decisions"
    each = sum(changed) / len(changed)
    return [_within(f"{name} ({each:.1f} others a label)", ms, _LABEL_MS)]


def uploading(folder: Path, count: int) -> list[Figure]:
    """Upload ready vectors in batches, and import labelled tasks."""
    store = folder / "store-uploading"
    shutil.rmtree(store, ignore_errors=True)
    uploaded, imported = (
        max(_BATCH, _UPLOADED * count // 100),
        max(_BATCH, _IMPORTED * count // 100),
    )
    ready = vectors(0)[: max(uploaded, imported)]
    with _served(store) as (client, _):
        _collection(client, "things", DIMENSION)
        bodies = [_bodies(ready, uploaded, form) for form in (_as_base64, _as_numbers)]
        rates = []
        for one in bodies:
            began = time.perf_counter()
            _send(client, "things", one)
            rates.append(uploaded / (time.perf_counter() - began))
        _collection(client, "tasks", _SMALL)
        tasks = _tasks(ready[:imported, :_SMALL], labels(imported))
        decided = _rate(client, "tasks", tasks)
    goal = f"≥ {_VECTORS_PER_S:,.0f}/s"
    name = f"HTTP: ready vectors of {DIMENSION} in batches of {_BATCH}"
    return [
        Figure(f"{name}, base64", f"{rates[0]:,.0f}/s", goal, rates[0] >= _VECTORS_PER_S),
        Figure(f"{name}, JSON numbers", f"{rates[1]:,.0f}/s", goal, rates[1] >= _VECTORS_PER_S),
        Figure(
            f"HTTP: import of {imported:,} labelled tasks with vectors, decided", _times(decided)
        ),
    ]


def importing(folder: Path, count: int) -> list[Figure]:
    """Import labelled texts as tasks: stored and queued for extraction, as a labelling tool does.

    Workers of other processes would extract them; none runs here.
    """
    store = folder / "store-importing"
    shutil.rmtree(store, ignore_errors=True)
    tasks: list[dict[str, object]] = [
        {
            "metadata": {"label": kind},
            "blobs": [{"property": "content", "type": "text", "data": f"{kind}, the {number}th"}],
        }
        for number, kind in enumerate(labels(count))
    ]
    with _served(store, "--no-worker") as (client, _):
        _ok(client.post("/v1/buckets", json={"bucket_name": "tasks"}))
        body = {
            "collection_name": "tasks",
            "source": {"type": "bucket", "bucket_id": "tasks"},
            "feature_extractor": {"feature_extractor_name": "text_extractor"},
            "taxonomy": {"field_to_enrich": "label"},
        }
        _ok(client.post("/v1/collections", json=body))
        rate = _rate(client, "tasks", tasks)
    return [
        Figure(
            f"HTTP: import of {count:,} labelled texts, stored",
            _times(rate),
            f"≥ {_TIMES}×",
            rate >= _TIMES * _LABEL_STUDIO_PER_S,
        )
    ]


def _rate(client: httpx2.Client, bucket: str, tasks: list[dict[str, object]]) -> float:
    began = time.perf_counter()
    _send(client, bucket, tasks, _LARGE_BATCH)
    return len(tasks) / (time.perf_counter() - began)


def _times(rate: float) -> str:
    return f"{rate:,.0f}/s, {rate / _LABEL_STUDIO_PER_S:.1f}× Label Studio's best"


def _within(name: str, ms: float, goal_ms: float) -> Figure:
    return Figure(f"{name}, p50", f"{ms:.1f} ms", f"≤ {goal_ms} ms", ms <= goal_ms)


@contextmanager
def _served(store: Path, *options: str) -> Iterator[tuple[httpx2.Client, float]]:
    command = [sys.executable, "-m", "lookalike", "--store", str(store), "serve", "--port", "0"]
    command += options
    began = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = _ADDRESS.search(line)
        assert found is not None, line + process.stderr.read()
        with httpx2.Client(base_url=found[0], timeout=600) as client:
            while True:
                try:
                    _get(client, "/v1/health")
                    break
                except httpx2.TransportError:
                    time.sleep(0.005)
            yield client, time.perf_counter() - began
    finally:
        process.terminate()
        process.wait()


class _Reader:
    """The leanest client, so that the server is what is measured: it reads, and parses nothing."""

    def __init__(self, host: str, port: int | None) -> None:
        self._connection = http.client.HTTPConnection(host, port)

    def read(self, path: str) -> bytes:
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body[:500]
        return body


def _list_ms(reader: _Reader, filters: object, sort: str | None) -> float:
    asked = {"filters": json.dumps(filters), "limit": 100} | ({"sort_by": sort} if sort else {})
    path = f"{_DOCUMENTS}?{urlencode(asked)}"
    reader.read(path)
    return _median_ms(_LISTS, lambda: reader.read(path))


def _collection(client: httpx2.Client, name: str, dimension: int) -> None:
    _ok(client.post("/v1/buckets", json={"bucket_name": name}))
    body = {
        "collection_name": name,
        "source": {"type": "bucket", "bucket_id": name},
        "feature_extractor": {
            "feature_extractor_name": "passthrough",
            "params": {"dimension": dimension, "name": name},
        },
        "taxonomy": {"field_to_enrich": "label", "confidence_threshold": 0.5},
    }
    _ok(client.post("/v1/collections", json=body))


def _bodies(
    ready: np.ndarray, count: int, form: Callable[[np.ndarray], object]
) -> list[dict[str, object]]:
    ids = names(0, count)
    return [
        {
            "object_id": f"{form.__name__}{id}",
            "blobs": [{"property": "vector", "type": "vector", "data": form(row)}],
        }
        for id, row in zip(ids, ready, strict=False)
    ]


def _tasks(ready: np.ndarray, kinds: list[str]) -> list[dict[str, object]]:
    return [
        {
            "metadata": {"label": kind, "text": f"task {number}"},
            "blobs": [{"property": "vector", "type": "vector", "data": _as_base64(row)}],
        }
        for number, (row, kind) in enumerate(zip(ready, kinds, strict=True))
    ]


def _as_base64(row: np.ndarray) -> object:
    return base64.b64encode(row.tobytes()).decode()


def _as_numbers(row: np.ndarray) -> object:
    return [round(value, 6) for value in row.tolist()]


def _send(
    client: httpx2.Client, bucket: str, bodies: list[dict[str, object]], size: int = _BATCH
) -> None:
    for start in range(0, len(bodies), size):
        batch = {"objects": bodies[start : start + size]}
        answer = _ok(client.post(f"/v1/buckets/{bucket}/objects/batch", json=batch))
        assert answer["failed_count"] == 0, answer["failed"][:1]


def _get(client: httpx2.Client, path: str, **asked: str | int | float | None) -> Any:
    return _ok(client.get(path, params=asked))


def _ok(answer: httpx2.Response) -> Any:
    assert answer.status_code == 200, answer.text[:500]
    return answer.json()


def _median_ms(times: int, work: Callable[[], object]) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return sorted(taken)[times // 2] * 1000
