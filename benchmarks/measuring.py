"""What a piece of work costs: processor time beside wall time, and the most memory it held.

The machine is shared: processor time is the fair column, and the least of several runs the fair
value. What is compared is measured in the same process, in turn.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self

MIB = 2**20
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of processor time (children included) and of wall time."""

    cpu_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the result: what was measured, and the goal where there is one."""

    what: str
    measured: str
    goal: str = ""
    met: bool | None = None

    def values(self) -> dict[str, Any]:
        """Return the figure as JSON values."""
        return asdict(self)


def cost(work: Callable[[], object]) -> Cost:
    """Return what `work` costs."""
    cpu, wall = _cpu_s(), time.perf_counter()
    work()
    return Cost(_cpu_s() - cpu, time.perf_counter() - wall)


def least(costs: Sequence[Cost]) -> Cost:
    """Return the least processor time and the least wall time of several runs."""
    return Cost(min(one.cpu_s for one in costs), min(one.wall_s for one in costs))


def median(costs: Sequence[Cost]) -> Cost:
    """Return the median processor time and the median wall time of several runs."""
    middle = len(costs) // 2
    cpu, wall = sorted(one.cpu_s for one in costs), sorted(one.wall_s for one in costs)
    return Cost(cpu[middle], wall[middle])


def peak_mib() -> float:
    """Return the most memory this process ever held, in MiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


class OwnMemory:
    """Watches, while it is entered, the memory of this process without pages of mapped files.

    Those the system takes back when it needs them. It looks twenty times a second; where the system
    does not tell (on Linux it does), all that is resident counts.
    """

    def __init__(self) -> None:
        self.peak_mib = 0.0
        self._ended = Event()
        self._watcher = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watcher.join()
        self.peak_mib = self.peak_mib or peak_mib()

    def _watch(self) -> None:
        status = Path("/proc/self/status")
        while status.exists() and not self._ended.wait(_LOOK_S):
            (line,) = (one for one in status.read_text().splitlines() if one.startswith("RssAnon"))
            self.peak_mib = max(self.peak_mib, int(line.split()[1]) / 1024)


def size_bytes(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _cpu_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
