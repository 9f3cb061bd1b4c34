"""Servers and workers as processes over one database: killed, ended, cut off from it, and told."""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psycopg
import pytest
from test_postgres_workers import ended, held, put

import lookalike
import patient
from databases import database, prepared, server
from lookalike.extractors.registry import extractors
from lookalike.testing.fakes import write_plugin
from processes import Command
from serving import Served

KILLS = 3
killing = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "kill_workers.py"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return where everything local is; the fake extractors are on the path of all processes."""
    folder: Path = tmp_path_factory.mktemp("servers")
    write_plugin(folder / "plugins")
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(folder / "plugins"))
        patched.setenv("LOOKALIKE_CACHE", str(folder / "derived"))
        extractors.cache_clear()
        yield folder
    extractors.cache_clear()


def environment(place: Path) -> dict[str, str]:
    paths = [str(place / "plugins"), *filter(None, sys.path)]
    cache = str(place / "derived")
    return {"PYTHONPATH": os.pathsep.join(paths), "LOOKALIKE_CACHE": cache}


@contextmanager
def working(url: str, place: Path) -> Iterator[Command]:
    """Start `lookalike worker`; it is killed at the end if it has not ended by then."""
    told = {**os.environ, **environment(place)}
    command = ("--store", url, "worker")
    process = Command(*command, environment=told, output=place / "worker.log")
    try:
        yield process
    finally:
        process.kill()
        process.wait(60)


@contextmanager
def cut_off(url: str) -> Iterator[None]:
    """Let nobody reach a database, for as long as the block lasts."""
    name = urlsplit(url).path[1:]
    allow = f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS '
    with psycopg.connect(server(), autocommit=True) as connection:
        connection.execute(allow + "false")
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
        )
        yield
        connection.execute(allow + "true")


@contextmanager
def listening(served: Served) -> Iterator[Callable[[], dict[str, object]]]:
    """Give what waits for the next event of a server."""
    with patient.stream("GET", f"{served.url}/v1/events") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith(": from ")
        data = (json.loads(line[6:]) for line in lines if line.startswith("data: "))
        yield lambda: next(data)


@pytest.fixture
def url(place: Path) -> Iterator[str]:
    """Return the URL of a database with an empty store."""
    assert place.is_dir()
    with database(template=prepared()) as made:
        yield made


@pytest.fixture(scope="module")
def shared(place: Path) -> Iterator[str]:
    """Return the URL of the database of two servers."""
    assert place.is_dir()
    with database(template=prepared()) as made:
        with lookalike.open(made, actor="ann") as library:
            goods = library.labeler("goods", extractor="passthrough", confidence_threshold=0.8)
            goods.add(vectors=np.eye(4, 8), ids=["a", "b", "c", "d"])
            library.labeler("texts", extractor="word_lengths")
        yield made


@pytest.fixture(scope="module")
def servers(shared: str, place: Path) -> Iterator[tuple[Served, Served]]:
    """Return two servers, the first with a worker."""
    known, idle = environment(place), ["--no-worker"]
    with (
        Served(place / "first", address=shared, environment=known) as first,
        Served(place / "second", address=shared, environment=known, arguments=idle) as second,
    ):
        yield first, second


class TestServers:
    """What two servers do for each other."""

    def test_what_one_answers_the_other_tells_and_keeps_when_the_one_is_killed(
        self, servers: tuple[Served, Served]
    ) -> None:
        first, second = servers
        with listening(second) as event, lookalike.connect(first.url) as remote:
            told = remote.collection("goods").label({"a": "cup"})
            first.kill()

            assert event()["operation"] == told.operation
        with lookalike.connect(second.url) as remote:
            assert remote.collection("goods").document("a").label == "cup"
            assert remote.collection("goods").label({"b": "mug"}).by_person == 1
        first.start()

    def test_without_the_database_it_is_said_and_all_goes_on_by_itself(
        self, servers: tuple[Served, Served], shared: str
    ) -> None:
        """A stream that was open goes on, too, and so does the worker."""
        first, second = servers
        with listening(second) as event, listening(first) as other:
            with cut_off(shared):
                answers = [patient.get(f"{one.url}/v1/changes") for one in servers]
                health = patient.get(f"{first.url}/v1/health")
            with lookalike.open(shared, actor="ann") as library:
                told = library.collection("goods").label({"c": "jug"})
                put(library, "t1")

                assert event()["operation"] == other()["operation"] == told.operation
                assert ended(lambda: held(library) == {})

        assert [one.status_code for one in answers] == [503, 503]
        assert answers[0].json()["error"]["details"]["retryable"] is True
        assert answers[0].headers["retry-after"]
        assert health.status_code == 200
        assert all(patient.get(f"{one.url}/v1/changes").status_code == 200 for one in servers)
        assert "postgresql://" in first.log


class TestWorkers:
    """`lookalike worker`, several at once."""

    def test_of_what_is_killed_nothing_is_lost_or_doubled(self, url: str, tmp_path: Path) -> None:
        """The same with 50 kills is `tools/kill_workers.py`."""
        seed = time.time_ns() % 2**32

        told = killing["killed"](url, tmp_path, kills=KILLS, seed=seed)

        faults = (told.lost, told.doubled, told.wrong, told.labels_lost, told.problems)
        assert faults == (0, 0, 0, 0, 0), f"seed {seed}: {told}"
        assert told.kills == KILLS

    def test_one_that_is_told_to_end_gives_back_what_it_holds(self, url: str, place: Path) -> None:
        ids = [f"t{number}" for number in range(300)]
        with lookalike.open(url, actor="ann") as library:
            library.labeler("texts", extractor="word_lengths", pause_ms=200)
            put(library, *ids)
            with working(url, place) as process:
                assert ended(lambda: any(held(library).values()))
                process.send_signal(signal.SIGTERM)
                code = process.wait(60)

            left = held(library)
            assert code == 0
            assert len(left) > 200
            assert set(left.values()) == {None}
            assert len(library.collection("texts")) == len(ids) - len(left)

    def test_one_goes_on_when_the_database_is_back(self, url: str, place: Path) -> None:
        """What it held when the connection broke is extracted as well."""
        with lookalike.open(url, actor="ann") as library:
            texts = library.labeler("texts", extractor="word_lengths", pause_ms=50)
            put(library, *(f"t{number}" for number in range(100)))
            with working(url, place):
                assert ended(lambda: any(held(library).values()))
                with cut_off(url):
                    time.sleep(1)

                assert ended(lambda: held(library) == {})
            assert len(texts) == 100
            assert library.check() == []
