"""The figures as a page of the documentation."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from lookalike.stores.sqlite.engine import driver
from measuring import Figure

BEGIN, END = "<!-- the review page: written by its test -->", "<!-- end of the review page -->"
"""Between these, `tests/page/test_page_goals.py` writes how fast the review page is."""

_PACKAGES = ("lookalike", "numpy", "onnxruntime", "simsimd", "sqlalchemy", "pillow")

_TEXT = """\
# Performance

Written by `{command}` on {day}. Each part runs in a process of its own; compared figures come from
the same process, in turn. Other work shares the machine, so **processor time is the fair figure**.

| measured | figure | goal | |
|---|---|---|---|
{rows}

What one label costs under `threshold` is one scan of all documents and the rows whose decision
changes. Lists of nearest references are kept in memory alone, and what is less than half as similar
as the threshold is in no list: with a lower threshold, more rows change with each label.

Peak memory counts pages of mapped vector files, which the system takes back when it needs them.
Parts run with `OPENBLAS_THREAD_TIMEOUT=16`, as the command does (see [Settings](settings.md)).

**Machine:** {machine}.
**Versions:** {versions}.

`make bench` runs all of it; `make bench BENCH=--quick` at a twentieth of the size, in about a
minute. What each part does is said in `benchmarks/README.md`.
"""


def line(figure: Figure) -> str:
    """Return a figure as a line for a terminal."""
    goal = f"  [goal {figure.goal}: {_verdict(figure)}]" if figure.goal else ""
    return f"{figure.what}: {figure.measured}{goal}"


def page(
    figures: Sequence[Figure], command: str, before: str = "", *, only: Sequence[str] = ()
) -> str:
    """Return the figures as a page in Markdown, with what a test wrote into the page `before`.

    A run of some parts `only` leaves the rows of what it did not measure as they were.
    """
    old = _rows(before) if only else {}
    where = before.partition("**Machine:** ")[2].partition(".\n")[0] if old else ""
    own = f"`{' '.join(only)}`: {machine()}"
    rows = old | {
        one.what: f"| {one.what} | {one.measured} | {one.goal} | {_verdict(one)} |"
        for one in figures
    }
    text = _TEXT.format(
        command=command,
        day=datetime.now(UTC).date().isoformat(),
        rows="\n".join(rows.values()),
        machine=f"{where}; {own}" if where and machine() not in where else where or machine(),
        versions=versions(),
    )
    _, begin, rest = before.partition(BEGIN)
    kept, end, _ = rest.partition(END)
    return f"{text}\n{begin}{kept}{end}\n" if end else text


def _rows(page: str) -> dict[str, str]:
    """Return the rows of a page by what they tell."""
    table = page.partition("|---|---|---|---|\n")[2].partition("\n\n")[0]
    return {row.split(" | ")[0].removeprefix("| "): row for row in table.splitlines()}


def machine() -> str:
    """Return what the machine is."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{_processor()}, {os.cpu_count()} processors, {memory:.0f} GiB, {platform.system()}"


def versions() -> str:
    """Return the versions of what the figures depend on."""
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return f"Python {platform.python_version()}, SQLite {driver().sqlite_version}, {packages}"


def _verdict(figure: Figure) -> str:
    return {None: "", True: "met", False: "missed"}[figure.met]


def _processor() -> str:
    known = Path("/proc/cpuinfo")
    if known.exists():
        for row in known.read_text("utf-8").splitlines():
            if row.startswith("model name"):
                return row.partition(":")[2].strip()
    return platform.processor() or platform.machine()
