"""The commands `serve` and `worker`: where they listen, what they refuse, how they end."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import lookalike
import patient
from serving import Served

VECTORS = np.random.default_rng(5).normal(size=(20, 8))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        library.labeler("things", extractor="passthrough").add(vectors=VECTORS)
        library.labeler("notes", extractor="text")
    return tmp_path / "store"


def finish(store: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command that is to end by itself."""
    outside = {name: value for name, value in os.environ.items() if "LOOKALIKE" not in name}
    return subprocess.run(
        [sys.executable, "-m", "lookalike", "--store", str(store), *arguments],
        env=outside,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_server_says_where_it_is_and_ends_in_order(store: Path) -> None:
    with Served(store, forked=False) as server:
        documents = patient.get(f"{server.url}/v1/collections/things/documents?limit=5").json()
        server.stop()

        assert documents["total_count"] == len(VECTORS)
        assert f"serves {store} at {server.url}" in server.log
        assert "Traceback" not in server.log


def test_the_reference_page_shows_every_route_and_runs_no_script(store: Path) -> None:
    with Served(store, forked=False) as server:
        page = patient.get(f"{server.url}/docs")
        paths = patient.get(f"{server.url}/openapi.json").json()["paths"]

    assert [path for path in paths if f"<code>{path}</code>" not in page.text] == []
    assert "<script" not in page.text and "`" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_a_server_makes_the_store_that_is_not_there(tmp_path: Path) -> None:
    with Served(tmp_path / "new", forked=False) as server:
        listed = patient.get(f"{server.url}/v1/collections").json()

    assert listed["results"] == []


def test_no_other_address_than_loopback_without_a_key(store: Path) -> None:
    refused = finish(store, "serve", "--host", "0.0.0.0", "--port", "0")

    assert refused.returncode == 1
    assert "LOOKALIKE_API_KEY" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_port_that_is_taken_is_named(store: Path, taken: int) -> None:
    refused = finish(store, "serve", "--port", str(taken))

    assert refused.returncode == 1
    assert f"cannot listen on 127.0.0.1:{taken}" in refused.stderr
    assert "--port" in refused.stderr


def test_a_worker_ends_when_nothing_waits(store: Path) -> None:
    with Served(store, arguments=("--no-worker",), forked=False) as server:
        sent = patient.post(
            f"{server.url}/v1/buckets/notes/objects",
            json={"blobs": [{"property": "content", "type": "text", "data": "a walk by the sea"}]},
        )
        assert sent.status_code == 200, sent.text
        place = f"{server.url}/v1/buckets/notes/objects/{sent.json()['object_id']}"
        before = patient.get(place).json()["status"]

        done = finish(store, "worker", "--once")

        assert (before, done.returncode, done.stderr) == ("PENDING", 0, "")
        assert patient.get(place).json()["status"] == "COMPLETED"


def test_a_worker_that_is_terminated_ends_in_order(store: Path, tmp_path: Path) -> None:
    outside = {name: value for name, value in os.environ.items() if "LOOKALIKE" not in name}
    begun = tmp_path / "worker.json"
    command = [sys.executable, "-m", "lookalike", "--store", str(store), "worker"]
    command += ["--health-file", str(begun)]
    with subprocess.Popen(command, env=outside, stderr=subprocess.PIPE, text=True) as worker:
        deadline = time.monotonic() + 60
        while not begun.exists() and worker.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        worker.send_signal(signal.SIGTERM)
        _, told = worker.communicate(timeout=30)

    assert (worker.returncode, told) == (0, "")
