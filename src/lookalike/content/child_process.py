"""Read untrusted content in child processes, with limits of time and memory.

A small file can demand any amount of time and memory of a decoder, or crash it. In a child process
that costs the child: it is killed, the content gets a reason, and everything else goes on. Children
stay for later content; they end with the process that started them.

A child runs `python -m MODULE`, whose `main` calls `serve`. Questions and answers are a JSON object
and bytes; nothing that a child sends is executed.
"""

from __future__ import annotations

import atexit
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock
from typing import Any

from lookalike.errors import BadContent

Answer = tuple[Mapping[str, Any], bytes]
"""A JSON object, and bytes."""

_IDLE = 2
"""This many children wait for later content."""

_MIB = 2**20
_HEADER = struct.Struct(">I")
_PROBLEM = "problem"
_FIRST_TO_GO = "500"
"""Where memory runs out, the kernel ends a child before the process that holds the store."""


class ChildFailed(Exception):
    """A child did not answer: the message says why, and ends with the cure."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of reading one content: seconds for each answer, and memory in MiB."""

    seconds: float = 60.0
    memory_mib: int = 1500


_limits = Limits()


def set_limits(limits: Limits) -> None:
    """Use these limits in this process from the next child on."""
    global _limits
    _limits = limits


class Child:
    """A child process of a module, for one content at a time."""

    def __init__(self, module: str, limits: Limits) -> None:
        self.limits = limits
        (their_end, our_end), (our_start, their_start) = os.pipe(), os.pipe()
        try:
            given = map(str, (their_end, their_start, limits.memory_mib))
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *given],
                pass_fds=(their_end, their_start),
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": _import_path()},
                start_new_session=True,  # an interrupt from the terminal is for the parent
            )
        finally:
            os.close(their_end)
            os.close(their_start)
        self._questions = Connection(our_end, readable=False)
        self._answers = Connection(our_start, writable=False)

    def ask(self, question: Mapping[str, Any], data: bytes = b"") -> Answer:
        """Return the answer to a question.

        Raises ChildFailed if the child takes too long or ends, BadContent as the child did.
        """
        try:
            self._questions.send_bytes(_packed(question, data))
            if not self._answers.poll(self.limits.seconds):
                raise ChildFailed(
                    f"it takes longer than {self.limits.seconds:g} s (LOOKALIKE_READ_SECONDS)"
                )
            values, answer = _unpacked(self._answers.recv_bytes())
        except (EOFError, OSError) as error:
            raise ChildFailed(
                f"the reader crashed, or needs more than {self.limits.memory_mib} MiB of memory "
                "(LOOKALIKE_READ_MEMORY_MIB)"
            ) from error
        if _PROBLEM in values:
            raise BadContent(str(values[_PROBLEM]))
        return values, answer

    @property
    def is_alive(self) -> bool:
        """Return whether the child still runs."""
        return self._process.poll() is None

    def end(self) -> None:
        """Kill the child."""
        self._process.kill()
        self._process.wait()
        self._questions.close()
        self._answers.close()


class ChildPool:
    """The children of a module: borrowed for one content, and kept for the next."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._idle: list[Child] = []
        self._lock = Lock()
        atexit.register(self.end)
        os.register_at_fork(after_in_child=self._forget)

    @contextmanager
    def borrowed(self) -> Iterator[Child]:
        """Borrow a child; it is killed if the block raises anything but BadContent.

        One that died while it waited is replaced: what comes next is not to blame.
        """
        child = self._taken() or Child(self._module, _limits)
        try:
            yield child
        except BadContent:
            self._keep(child)
            raise
        except BaseException:
            child.end()
            raise
        self._keep(child)

    def end(self) -> None:
        """End all children that wait."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.end()

    def _taken(self) -> Child | None:
        while True:
            with self._lock:
                child = self._idle.pop() if self._idle else None
            if child is None or (child.limits == _limits and child.is_alive):
                return child
            child.end()

    def _keep(self, child: Child) -> None:
        with self._lock:
            if len(self._idle) < _IDLE:
                self._idle.append(child)
                return
        child.end()

    def _forget(self) -> None:
        """In a fork: the children belong to the parent."""
        self._lock = Lock()
        self._idle = []


def _import_path() -> str:
    """Return PYTHONPATH for a child: this package first, wherever the parent found it."""
    package = Path(__file__).parents[2]
    return os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")]))


# --- inside a child ------------------------------------------------------------------------------


def serve(answer: Callable[[Mapping[str, Any], bytes], Answer]) -> None:
    """Answer questions in a child until the parent ends. A BadContent is told as such."""
    questions, answers, memory_mib = map(int, sys.argv[1:])
    _limit_memory(memory_mib)
    asked, told = Connection(questions, writable=False), Connection(answers, readable=False)
    with suppress(EOFError, BrokenPipeError):
        while True:
            question, data = _unpacked(asked.recv_bytes())
            try:
                values, content = answer(question, data)
            except BadContent as error:
                values, content = {_PROBLEM: str(error)}, b""
            except MemoryError:
                return
            told.send_bytes(_packed(values, content))


def _limit_memory(mib: int) -> None:
    import resource

    with suppress(OSError, ValueError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (mib * _MIB, mib * _MIB))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO, encoding="ascii")


def _packed(values: Mapping[str, Any], data: bytes) -> bytes:
    head = json.dumps(values).encode()
    return b"".join((_HEADER.pack(len(head)), head, data))


def _unpacked(message: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = _HEADER.unpack_from(message)
    start = _HEADER.size + length
    return json.loads(message[_HEADER.size : start]), message[start:]
