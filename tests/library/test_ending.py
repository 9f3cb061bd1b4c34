"""How servers and workers end: in order at the first signal, at once at the second."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

import lookalike
import patient
from lookalike.catalog.resources import Kind, named
from lookalike.library.bucket import Bucket, NewBlob, NewObject, bucket_from
from lookalike.library.health import Ending
from lookalike.model import Status
from lookalike.stores import schema
from serving import Served

IN_ORDER, AT_ONCE = 0, 128 + signal.SIGTERM
SLOW_MS = 60_000


@pytest.fixture
def store(tmp_path: Path, plugins: Path) -> Path:
    """A store with a collection of texts that are quick, and one of which each takes a minute."""
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        library.labeler("notes", extractor="word_lengths")
        library.labeler("books", extractor="word_lengths", pause_ms=SLOW_MS)
    return tmp_path / "store"


def served(store: Path, plugins: Path, **settings: str) -> Served:
    environment = {f"LOOKALIKE_{name.upper()}": value for name, value in settings.items()}
    path = os.pathsep.join([str(plugins), os.environ.get("PYTHONPATH", "")])
    return Served(store, environment={"PYTHONPATH": path, **environment})


def put(url: str, bucket: str, *, wait: int = 0) -> httpx2.Response:
    blob = {"property": "content", "type": "text", "data": "one three"}
    place = f"{url}/v1/buckets/{bucket}/objects?wait={wait}"
    return patient.post(place, json={"blobs": [blob]})


@contextmanager
def beside(work: Any) -> Iterator[list[Any]]:
    """Do something in a thread meanwhile; what it returns is in the list at the end."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    yield results
    thread.join(30)


def wait_for(is_so: Any) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.05)


def status(url: str, path: str) -> int:
    try:
        return httpx2.get(f"{url}/v1/health/{path}", timeout=5.0).status_code
    except httpx2.TransportError:
        return 0


def at_work(store: Path) -> bool:
    """Tell whether a worker has begun with an object of the slow collection."""
    table = schema.extraction
    begun = select(table.c.object_pk).where(table.c.status == Status.PROCESSING)
    with lookalike.open(store) as library, library.runtime.store.read() as snapshot:
        return bool(snapshot.rows(begun))


def left(store: Path) -> int:
    """Return how many objects of the slow collection wait, in a store that must be sound."""
    with lookalike.open(store) as library:
        assert library.check() == []
        return library.collection("books").report().waiting


# --- a server -------------------------------------------------------------------------------------


def test_a_server_that_leaves_says_so_while_it_still_answers(store: Path, plugins: Path) -> None:
    with served(store, plugins, drain_s="2") as server:
        before = status(server.url, "readiness")
        server.tell(signal.SIGTERM)
        wait_for(lambda: status(server.url, "readiness") != before)
        while_it_leaves = [status(server.url, path) for path in ("readiness", "liveness")]
        answered = put(server.url, "notes", wait=5)

        code = server.ended()

        assert (before, while_it_leaves, answered.status_code) == (200, [503, 200], 200)
        assert code == IN_ORDER
        assert status(server.url, "readiness") == 0
        assert "Traceback" not in server.log


def test_who_waits_for_the_worker_is_answered_before_the_server_ends(
    store: Path, plugins: Path
) -> None:
    with served(store, plugins, grace_s="1") as server:
        with beside(lambda: put(server.url, "books", wait=50)) as answers:
            wait_for(lambda: server.log and at_work(store))
            server.tell(signal.SIGTERM)
        code = server.ended()

        assert [one.status_code for one in answers] == [200], "it is kept, and is told so"
        assert code == 1, "the extractor did not end in time"
        assert "ended the process, which had not ended after 4 s" in server.log

    assert left(store) == 1


def test_a_second_signal_ends_a_server_at_once(store: Path, plugins: Path) -> None:
    with served(store, plugins, grace_s="60") as server:
        put(server.url, "books")
        wait_for(lambda: at_work(store))
        server.tell(signal.SIGTERM)
        wait_for(lambda: status(server.url, "liveness") == 0)
        began = time.monotonic()
        server.tell(signal.SIGTERM)
        code = server.ended()

        assert code == AT_ONCE
        assert time.monotonic() - began < 5
        assert "ended at once; acknowledged writes are kept" in server.log


def test_streams_end_cleanly_and_go_on_at_another_server(store: Path, plugins: Path) -> None:
    with served(store, plugins) as first, served(store, plugins) as second:
        with patient.stream("GET", f"{first.url}/v1/events") as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith(": from ")
            label(store, "a")
            told = [next(numbers(lines))]
            first.tell(signal.SIGTERM)
            told += numbers(lines)
        assert first.ended() == IN_ORDER
        label(store, "b")
        again = {"last-event-id": str(told[-1])}
        with patient.stream("GET", f"{second.url}/v1/events", headers=again) as stream:
            told += islice(numbers(stream.iter_lines()), 4 - len(told))

    assert told == [1, 2, 3, 4], "each operation once: two times one is added and labelled"


def numbers(lines: Iterator[str]) -> Iterator[int]:
    """Yield the ids of the events of a stream, until it ends."""
    return (int(line[4:]) for line in lines if line.startswith("id: "))


def label(store: Path, name: str) -> None:
    with lookalike.open(store, actor="ann") as library:
        notes = library.collection("notes")
        notes.add([{"id": name, "text": f"{name} word"}])
        notes.label({name: "short"})


# --- a worker -------------------------------------------------------------------------------------


@contextmanager
def worker(store: Path, plugins: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    outside = {name: value for name, value in os.environ.items() if "LOOKALIKE" not in name}
    path = os.pathsep.join([str(plugins), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "lookalike", "--store", str(store), "worker", *arguments]
    with subprocess.Popen(
        command, env={**outside, "PYTHONPATH": path}, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_worker_shows_its_health_and_takes_it_away_when_it_ends(
    store: Path, plugins: Path, tmp_path: Path
) -> None:
    file = tmp_path / "worker.json"
    with worker(store, plugins, "--health-file", str(file)) as process:
        wait_for(file.exists)
        asked = [
            subprocess.run(
                [sys.executable, "-m", "lookalike", "health", "--file", str(file), *more],
                capture_output=True,
                text=True,
            )
            for more in ([], ["--live"])
        ]
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=30)

    assert [(one.returncode, one.stdout) for one in asked] == [(0, "ready\n"), (0, "alive\n")]
    assert (process.returncode, told) == (IN_ORDER, "")
    assert not file.exists()


def test_a_second_signal_ends_a_worker_at_once_and_its_work_waits(
    store: Path, plugins: Path
) -> None:
    with lookalike.open(store) as library:
        with library.runtime.store.read() as snapshot:
            row = bucket_from(named(snapshot, "default", Kind.BUCKET, "books"))
        text = NewBlob("content", b"one three", kind="text")
        Bucket(library.runtime, row).put([NewObject(blobs=[text])])
    with worker(store, plugins) as process:
        wait_for(lambda: at_work(store))
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=10)

    assert process.returncode == AT_ONCE
    assert told == "lookalike: ended at once; acknowledged writes are kept\n"
    assert left(store) == 1


def test_it_is_told_once_in_order_and_then_at_once() -> None:
    now, forced = [100.0], list[int]()
    ending = Ending(at_once=forced.append, timer=lambda: now[0])

    states = [(ending.has_begun, ending.lasts(0))]
    ending.on_signal(signal.SIGTERM)
    states.append((ending.has_begun, ending.lasts(5)))
    now[0] += 5
    states.append((ending.has_begun, ending.lasts(5)))
    ending.on_signal(signal.SIGINT)

    assert states == [(False, False), (True, False), (True, True)]
    assert forced == [signal.SIGINT]
