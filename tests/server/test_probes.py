"""What probes are told: that a process lives, and whether it can do its work now, and why not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from click.testing import CliRunner

import lookalike
import patient
from databases import database, prepared, server
from lookalike.cli.group import cli
from lookalike.cli.serve import check_server
from lookalike.errors import BadInput, BadSetting, Unreachable
from lookalike.library.health import OK, Readiness, disk_problem, problems_of
from lookalike.library.worker import HealthFile, check_file
from lookalike.stores.sqlite.engine import driver
from serving import Served


@pytest.fixture
def store(tmp_path: Path, plugins: Path) -> Path:
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        library.labeler("notes", extractor="word_lengths").add([{"text": "one three"}])
        library.labeler("things", extractor="passthrough")
    return tmp_path / "store"


def asked(url: str, probe: str) -> tuple[int, dict[str, Any]]:
    """Return what a probe is answered, and that it tells nothing of where things are."""
    answer = patient.get(f"{url}/v1/health/{probe}")
    assert "/" not in answer.text and "postgres" not in answer.text
    said = answer.json()
    return answer.status_code, said.get("checks") or said.get("error") or said


class Ticking:
    """Time that goes on when it is told to, so that nothing is asked twice in one moment."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 10
        return self.now


@pytest.fixture
def checked(store: Path) -> Iterator[Callable[[], dict[str, str]]]:
    """What is wrong with a process over the store, looked at anew each time."""
    with lookalike.open(store) as library:
        readiness = Readiness(library.runtime, timer=Ticking())

        def look() -> dict[str, str]:
            return {name: found for name, found in readiness.checks().items() if found != OK}

        assert look() == {}
        yield look


# --- what is checked ------------------------------------------------------------------------------


def test_a_store_of_a_newer_version_is_no_more_for_this_process(
    store: Path, checked: Callable[[], dict[str, str]]
) -> None:
    set_version(store, "999")

    assert checked() == {"store": "its schema has become version 999; upgrade this process"}


def test_a_collection_whose_extractor_is_not_installed_is_told(
    store: Path, plugins: Path, checked: Callable[[], dict[str, str]]
) -> None:
    from lookalike.extractors.registry import extractors

    (plugins / "lookalike_fakes-1.dist-info" / "entry_points.txt").write_text("")
    extractors.cache_clear()

    with lookalike.open(store) as library:
        checks = Readiness(library.runtime).checks()

    assert checks["extractors"] == "not_found"
    assert problems_of(checks) == "extractors: not_found"


def test_a_disk_that_is_full_gone_is_told(tmp_path: Path) -> None:
    assert disk_problem(tmp_path) == ""
    assert disk_problem(tmp_path, least_bytes=2**60).endswith(" MB free")
    assert disk_problem(tmp_path / "gone") == "no such file or directory"


def test_many_who_ask_at_once_are_one_look(store: Path) -> None:
    looks: list[float] = []

    def look() -> str:
        looks.append(time.monotonic())
        return OK

    with lookalike.open(store) as library:
        readiness = Readiness(library.runtime, {"it": look})
        for _ in range(50):
            readiness.checks()

    assert len(looks) < 5


# --- a server -------------------------------------------------------------------------------------


def test_a_server_whose_database_goes_is_not_ready_until_it_is_back(tmp_path: Path) -> None:
    with database(template=prepared()) as url:
        name = urlsplit(url).path[1:]
        end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        places = {"LOOKALIKE_CACHE": str(tmp_path / "derived")}
        with Served(tmp_path / "served", address=url, environment=places) as served:
            before = asked(served.url, "readiness")
            run(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false', end)
            gone = when(lambda: asked(served.url, "readiness"), 503)
            alive = asked(served.url, "liveness")[0]
            command = CliRunner().invoke(cli, ["health", "--url", served.url])
            run(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
            back = when(lambda: asked(served.url, "readiness"), 200)
            said = CliRunner().invoke(cli, ["health", "--url", served.url])

    assert set(before[1].values()) == {OK}
    assert gone[1]["code"] == "not_ready"
    assert gone[1]["message"] == "store: store_unavailable"
    assert alive == 200, "to start it again would not help"
    assert isinstance(command.exception, Unreachable)
    assert "is not healthy: store: store_unavailable" in str(command.exception)
    assert back[0] == 200
    assert (said.exit_code, said.output) == (0, "ready\n")


def test_the_probe_finds_the_server_by_its_settings(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "a-key-that-nobody-guesses"
    with Served(store, environment={"LOOKALIKE_API_KEY": key}) as served:
        monkeypatch.setenv("LOOKALIKE_PORT", str(served.port))
        monkeypatch.setenv("LOOKALIKE_HOST", "0.0.0.0")
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        found = CliRunner().invoke(cli, ["health", "--live", "--json"])

    assert found.exit_code == 0, "it needs no key"
    assert json.loads(found.output) == {"health": "alive"}


def test_a_server_that_does_not_answer_is_named() -> None:
    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:9 does not answer: .+refused"):
        check_server("http://127.0.0.1:9", only_alive=True)
    with pytest.raises(BadInput, match="is not the address of a server"):
        check_server("file:///etc/passwd", only_alive=True)


# --- a worker -------------------------------------------------------------------------------------


def test_a_worker_writes_how_it_is_to_a_file(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "worker.json"
    with lookalike.open(store) as library:
        with HealthFile(file, Readiness(library.runtime, {}), clock=lambda: 1000.0):
            well = check_file(file, only_alive=False, now=1001.0)
            with pytest.raises(Unreachable, match="for 60 s: start it again"):
                check_file(file, only_alive=True, now=1060.0)
        with HealthFile(
            file, Readiness(library.runtime, {"disk": lambda: "read-only"}), clock=lambda: 1000.0
        ):
            alive = check_file(file, only_alive=True, now=1001.0)
            with pytest.raises(Unreachable, match="is not ready: disk: read-only"):
                check_file(file, only_alive=False, now=1001.0)

    assert (well, alive) == ("ready", "alive")
    with pytest.raises(Unreachable, match="no worker writes its health there"):
        check_file(file, only_alive=True, now=1001.0)


def test_a_health_file_that_is_none_or_cannot_be_written_is_named(
    store: Path, tmp_path: Path
) -> None:
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(Unreachable, match="is not the health file of a worker"):
        check_file(tmp_path / "other.json", only_alive=True, now=0.0)
    place = tmp_path / "not-there" / "worker.json"
    with lookalike.open(store) as library, pytest.raises(BadSetting, match="cannot write"):
        HealthFile(place, Readiness(library.runtime)).__enter__()


# --- by hand --------------------------------------------------------------------------------------


def when(look: Callable[[], tuple[int, dict[str, Any]]], status: int) -> tuple[int, dict[str, Any]]:
    """Ask until the answer has a status; each look may be a second old."""
    for _ in range(200):
        found = look()
        if found[0] == status:
            return found
        time.sleep(0.05)
    raise AssertionError(f"it is still {found}")


def run(*statements: str) -> None:
    with psycopg.connect(server(), autocommit=True) as connection:
        for one in statements:
            connection.execute(one.encode())


def set_version(store: Path, value: str) -> None:
    connection = driver().connect(str(store / "lookalike.db"))
    connection.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (value,))
    connection.commit()
    connection.close()
