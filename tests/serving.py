"""A real server on loopback, killed as a machine kills it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import httpx2

from processes import Command

START_S = 60.0
STOP_S = 30.0
_PAUSE_S = 0.02
_ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")


class Served:
    """`lookalike serve` over a store, in a process of its own. Use it in a `with` block.

    It listens on a free port and keeps that port when it is started again. `environment` is added
    to ours, from which every LOOKALIKE_ variable is taken out; `arguments` follow `serve`. With the
    `address` of a database, `store` only says where the log is. `forked` saves it two seconds of
    imports.
    """

    def __init__(
        self,
        store: Path,
        *,
        address: str = "",
        environment: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        forked: bool = True,
    ) -> None:
        self.store = store
        self._place = address or str(store)
        self.port = 0
        self._log = store.parent / f"{store.name}.log"
        self._arguments = tuple(arguments)
        outside = {name: value for name, value in os.environ.items() if "LOOKALIKE" not in name}
        self._environment = {**outside, "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._forked = forked
        self._process: Command | subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where it listens, without a path: `http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """Everything it has printed, over all its starts."""
        return self._log.read_text("utf-8", errors="replace") if self._log.exists() else ""

    @property
    def pid(self) -> int:
        """The process that serves now."""
        return self._running().pid

    def start(self) -> None:
        """Start it and wait until `/v1/health` answers. Fails with its log when it does not."""
        assert self._process is None, "it runs already"
        already = len(self.log)
        command = ["--store", self._place, "serve", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), *self._arguments]
        self._process = self._started(command)
        deadline = time.monotonic() + START_S
        while not self._is_ready(already):
            if self._process.poll() is not None or time.monotonic() > deadline:
                ended = self._process.poll()
                self.kill()
                raise AssertionError(f"no server (exit code {ended}):\n{self.log[already:]}")
            time.sleep(_PAUSE_S)

    def kill(self) -> None:
        """End it as `kill -9` does: it has no time for anything."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end, and wait. Fails with its log when it will not."""
        if self._process is not None:
            self._end(signal.SIGTERM)

    def tell(self, how: signal.Signals) -> None:
        """Send it a signal; what it makes of that is its own affair."""
        self._running().send_signal(how)

    def ended(self, within_s: float = STOP_S) -> int:
        """Wait until it has ended by itself, and return its exit code."""
        code = self._running().wait(within_s)
        self._process = None
        return code

    def restart(self) -> None:
        """Start it again on the same store and the same port; it is stopped first if it runs."""
        self.stop()
        self.start()

    def _started(self, command: Sequence[str]) -> Command | subprocess.Popen[bytes]:
        if self._forked:
            return Command(*command, environment=self._environment, output=self._log)
        typed = [sys.executable, "-m", "lookalike", *command]
        with self._log.open("ab") as log:
            return subprocess.Popen(
                typed, stdout=log, stderr=subprocess.STDOUT, env=self._environment
            )

    def _running(self) -> Command | subprocess.Popen[bytes]:
        assert self._process is not None, "it does not run"
        return self._process

    def _is_ready(self, already: int) -> bool:
        told = _ADDRESS.search(self.log, already)
        if told is None:
            return False
        self.port = int(told[1])
        try:
            return httpx2.get(f"{self.url}/v1/health", timeout=5.0).status_code == 200
        except httpx2.TransportError:
            return False

    def _end(self, how: signal.Signals) -> None:
        process = self._running()
        process.send_signal(how)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)
            raise AssertionError(f"it did not end in {STOP_S:.0f} s:\n{self.log}") from None
        finally:
            self._process = None
