"""What the shared store takes: ready vectors into PostgreSQL, one label there with all it changes.

A real server is started, with every commit on the disk. Processor time is that of both sides.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import psycopg
from numpy.typing import NDArray

import lookalike
from made_vectors import BLOCK, labels, names, vectors
from measuring import Cost, Figure, cost, median, peak_mib

REFERENCES = 800
_DIMENSION = 128
_LABELS = 20
_VECTORS_GOAL = 8_000
_LABEL_GOAL_S = 1.0


def ready(folder: Path, count: int) -> list[Figure]:
    """Measure the adding of `count` vectors of 512 to an empty store."""
    with _store(folder) as (library, server):
        spent = [server.cost(add) for add in _adding(library, count, 512)]
    cpu_s, wall_s = sum(one.cpu_s for one in spent), sum(one.wall_s for one in spent)
    return [
        Figure(
            f"PostgreSQL: {count:,} ready vectors of 512 into the store",
            f"{count / cpu_s:,.0f}/s of processor time of both sides, "
            f"{count / wall_s:,.0f}/s of wall time",
            f"≥ {_VECTORS_GOAL:,}/s",
            count / cpu_s >= _VECTORS_GOAL,
        )
    ]


def one_label(folder: Path, count: int) -> list[Figure]:
    """Measure one label among `count` documents of 128 numbers, and everything from scratch."""
    order = np.random.default_rng(11).permutation(count)[: REFERENCES + _LABELS + 1].tolist()
    shown = labels(count)
    said = [{f"v{place}": shown[place]} for place in order]
    with _store(folder) as (library, server):
        for add in _adding(library, count, _DIMENSION):
            add()
        things = library.collection("things")
        things.label({id: label for one in said[:REFERENCES] for id, label in one.items()})
        things.label(said[REFERENCES])
        changed: list[int] = []

        def label(one: dict[str, str]) -> None:
            changed.append(things.label(one).by_itself)

        spent = [server.cost(partial(label, one)) for one in said[REFERENCES + 1 :]]
        whole = server.cost(things.run)
    one, name = median(spent), f"PostgreSQL, {count:,} documents of 128, {REFERENCES} references"
    return [
        Figure(
            f"{name}: one label with all that it changes ({np.median(changed):.0f} others), "
            f"stored, median of {_LABELS}",
            f"{1000 * one.cpu_s:.0f} ms of processor time of both sides, {1000 * one.wall_s:.0f} "
            "ms of wall time",
            f"≤ {_LABEL_GOAL_S:.0f} s",
            one.cpu_s <= _LABEL_GOAL_S,
        ),
        Figure(
            f"{name}: decide everything from scratch (`run`)",
            f"{whole.cpu_s:.2f} s of processor time of both sides, {whole.wall_s:.2f} s",
        ),
        Figure(f"{name}: peak memory of the client", f"{peak_mib():.0f} MiB"),
    ]


class _Server:
    """A PostgreSQL server of this machine, whose processor time counts, too."""

    def __init__(self, url: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            for setting in ("fsync = on", "full_page_writes = on"):
                connection.execute(f"ALTER SYSTEM SET {setting}")
            connection.execute("SELECT pg_reload_conf()")
            (folder,) = connection.execute("SHOW data_directory").fetchone() or ("",)
        self._pid = int((Path(folder) / "postmaster.pid").read_text().split()[0])

    def cost(self, work: Callable[[], object]) -> Cost:
        """Return what `work` costs here and at the server."""
        before = self._cpu_s()
        spent = cost(work)
        time.sleep(0.02)  # the kernel counts in hundredths of a second
        return Cost(spent.cpu_s + self._cpu_s() - before, spent.wall_s)

    def _cpu_s(self) -> float:
        """Return the processor time of the server and its children, those that ended included."""
        ticks = 0
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                told = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(folder.name) == self._pid:
                ticks += sum(map(int, told[11:15]))
            elif int(told[1]) == self._pid:
                ticks += int(told[11]) + int(told[12])
        return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def _store(folder: Path) -> Iterator[tuple[lookalike.Library, _Server]]:
    """Give an empty store in a new database, and its server."""
    sys.path.append(str(Path(__file__).parent.parent / "tests"))
    import databases

    os.environ["LOOKALIKE_CACHE"] = str(folder / "shared")
    server = _Server(databases.server())
    with databases.database() as url, lookalike.open(url, actor="benchmark") as library:
        yield library, server


def _adding(
    library: lookalike.Library, count: int, dimension: int
) -> Iterator[Callable[[], object]]:
    """Yield what adds one block of vectors after the other."""
    things = library.labeler("things", extractor="passthrough", confidence_threshold=0.5)
    for start in range(0, count, BLOCK):
        more = min(BLOCK, count - start)
        block, ids = _cut(vectors(start // BLOCK)[:more], dimension), names(start, more)
        yield partial(things.add, vectors=block, ids=ids)


def _cut(made: NDArray[np.float32], dimension: int) -> NDArray[np.float32]:
    """Return vectors of fewer numbers, as far from each other on the whole."""
    return np.ascontiguousarray(made[:, :dimension])
