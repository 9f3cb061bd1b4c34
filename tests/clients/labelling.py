"""A real Label Studio on loopback, of an environment of its own, driven by its API."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx2

ROOT = Path(__file__).parents[2]
PROGRAM = (
    Path(os.environ.get("LABEL_STUDIO_VENV", ROOT / ".venv-label-studio")) / "bin/label-studio"
)

_START_S = 180.0
_TOKEN = "token" * 8
_EMAIL = "ann@example.org"


class LabelStudio:
    """A server with one person, which may call servers on this machine. Use it in a `with`."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None
        self._port = _free_port()
        self.client = httpx2.Client(
            base_url=f"http://127.0.0.1:{self._port}",
            headers={"authorization": f"Token {_TOKEN}"},
            timeout=120,
        )

    def __enter__(self) -> Self:
        self._place.mkdir(parents=True)
        here = {
            "LABEL_STUDIO_BASE_DATA_DIR": str(self._place),
            "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
            "SSRF_PROTECTION_ENABLED": "false",
            "ML_BLOCK_LOCAL_IP": "false",
            "LATEST_VERSION_CHECK": "false",
            "COLLECT_ANALYTICS": "false",
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
        }
        command = [str(PROGRAM), "start", "--no-browser", "--port", str(self._port)]
        command += ["--username", _EMAIL, "--password", "a-long-secret", "--user-token", _TOKEN]
        with (self._place / "log.txt").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                env=os.environ | here,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait()
        return self

    def __exit__(self, *_error: object) -> None:
        self.client.close()
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def project(self, config: str, tasks: Sequence[Mapping[str, Any]] = ()) -> Project:
        """Make a project with these tasks."""
        made = self.ask("POST", "/api/projects", json={"title": "things", "label_config": config})
        project = Project(self, made["id"])
        if tasks:
            self.ask("POST", f"/api/projects/{project.id}/import", json=list(tasks))
        return project

    def ask(self, method: str, path: str, **values: Any) -> Any:
        """Return the JSON that a request is answered with. Fails for any error."""
        answer = self.client.request(method, path, **values)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:2000]}"
        return answer.json() if answer.content else None

    def _wait(self) -> None:
        end = time.monotonic() + _START_S
        while time.monotonic() < end:
            try:
                if self.client.get("/health").is_success:
                    return
            except httpx2.TransportError:
                time.sleep(0.5)
        raise AssertionError((self._place / "log.txt").read_text("utf-8", "replace")[-3000:])


class Project:
    """A project of a Label Studio."""

    def __init__(self, server: LabelStudio, id: int) -> None:
        self._server = server
        self.id = id

    def connect(self, url: str) -> Any:
        """Connect a machine-learning backend; return its state."""
        asked = {"project": self.id, "url": url, "title": "lookalike"}
        return self._server.ask("POST", "/api/ml", json=asked)

    def upload(self, path: Path) -> None:
        """Upload a file, as a person drops it on the page."""
        files = {"file": (path.name, path.read_bytes())}
        self._server.ask("POST", f"/api/projects/{self.id}/import", files=files)

    def retrieve_predictions(self) -> None:
        """Ask the backend about all tasks, as the button of the data manager does."""
        action = f"/api/dm/actions?id=retrieve_tasks_predictions&project={self.id}"
        self._server.ask("POST", action, json={"selectedItems": {"all": True, "excluded": []}})

    def tasks(self) -> list[dict[str, Any]]:
        """Return all tasks, with annotations and predictions."""
        asked = {"project": str(self.id), "page_size": "1000", "fields": "all"}
        found: list[dict[str, Any]] = self._server.ask("GET", "/api/tasks", params=asked)["tasks"]
        return found

    def annotate(self, task: int, results: Sequence[Mapping[str, Any]]) -> int:
        """Annotate a task as its person; return the id of the annotation."""
        asked = {"result": list(results)}
        made = self._server.ask("POST", f"/api/tasks/{task}/annotations", json=asked)
        return int(made["id"])

    def change(self, annotation: int, results: Sequence[Mapping[str, Any]]) -> None:
        """Give an annotation other results."""
        asked = {"result": list(results)}
        self._server.ask("PATCH", f"/api/annotations/{annotation}", json=asked)

    def delete(self, annotation: int) -> None:
        """Delete an annotation."""
        self._server.ask("DELETE", f"/api/annotations/{annotation}")

    def export(self, kind: str, target: Path) -> Path:
        """Write an export in one of Label Studio's formats."""
        answer = self._server.client.get(
            f"/api/projects/{self.id}/export", params={"exportType": kind}
        )
        assert answer.is_success, answer.text[:2000]
        target.write_bytes(answer.content)
        return target


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
