"""Processes that are forked from one that has imported everything: to start one costs no import.

By itself a server imports for two seconds, and hundreds of processes are started in the tests.
`test_serving` and `test_deploying` start theirs as a user does, and so do two tests of `test_cli`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Mapping
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

_IMPORTED = [
    "lookalike.cli",
    "lookalike.server.run",
    "lookalike.extractors.image",
    "onnxruntime",
    "PIL.Image",
    "pytest",
]


@cache
def forking() -> ForkServerContext:
    """Return what forks processes: a server of this session, which runs no thread."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    return context


class Command:
    """A process of the command `lookalike`; what it prints is added to files."""

    def __init__(
        self,
        *arguments: str,
        environment: Mapping[str, str],
        output: Path,
        errors: Path | None = None,
        folder: Path | None = None,
    ) -> None:
        told = (arguments, dict(environment), output, errors or output, folder or Path.cwd())
        self._process = forking().Process(target=_run, args=told, daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Return its exit code, if it has ended."""
        return self._process.exitcode

    def wait(self, timeout_s: float) -> int:
        """Wait until it has ended, and return its exit code. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout_s)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired("lookalike", timeout_s)
        return code

    def send_signal(self, how: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self._process.is_alive():
            os.kill(self.pid, how)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self._process.kill()


def finished(
    *arguments: str,
    environment: Mapping[str, str],
    folder: Path | None = None,
    timeout_s: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run the command `lookalike` to its end, and return its exit code and what it printed."""
    with TemporaryDirectory() as place:
        output, errors = Path(place, "output"), Path(place, "errors")
        how: Any = {"environment": environment, "folder": folder}
        command = Command(*arguments, output=output, errors=errors, **how)
        try:
            code = command.wait(timeout_s)
        finally:
            command.kill()
        told = [file.read_text("utf-8") if file.exists() else "" for file in (output, errors)]
    return subprocess.CompletedProcess(arguments, code, *told)


def _run(
    arguments: tuple[str, ...],
    environment: Mapping[str, str],
    output: Path,
    errors: Path,
    folder: Path,
) -> None:
    """Be the command: with its environment, path, folder and streams, and not the test's."""
    import lookalike
    from lookalike.cli import main

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, file in ((1, output), (2, errors)):
        opened = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    if environment.get("PYTHONWARNINGS") == "error":
        warnings.simplefilter("error")
    ours = (sys.prefix, sys.base_prefix, str(Path(lookalike.__file__).parents[1]))
    given = [one for one in environment.get("PYTHONPATH", "").split(os.pathsep) if one]
    sys.path[:] = [*given, *(one for one in sys.path if one.startswith(ours) and one not in given)]
    sys.argv = ["lookalike", *arguments]
    main()
