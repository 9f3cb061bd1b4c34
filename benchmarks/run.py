"""Run the benchmarks, each part in a process of its own, and print the figures.

    python benchmarks/run.py --quick                      # all, at a twentieth of the size
    python benchmarks/run.py --output docs/performance.md
    python benchmarks/run.py --only one_label first_decision

Stores are made in `--folder` (default: a temporary one; 3 GiB at full size).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import deciding
import growing_up
import http_requests
import neighbour_graph
import page
import peers
import pictures
import ready_vectors
import selecting
import shared
from measuring import Figure

_QUICK = 20
_REVIEW_PAGE = Path(__file__).parent.parent / "tests" / "page" / "test_page_goals.py"


@dataclass(frozen=True, slots=True)
class Part:
    """One benchmark: what it measures, at which sizes, and which part makes what it needs."""

    measure: Callable[[Path, int], list[Figure]]
    sizes: tuple[int, ...]
    after: str = ""
    in_quick: bool = True
    """Whether it is quick at a twentieth of the size."""


PARTS = {
    "pictures": Part(pictures.measure, (500,)),
    "ready_vectors": Part(ready_vectors.measure, (100_000, 200_000)),
    "fill": Part(ready_vectors.fill, (100_000, 1_000_000)),
    "in_memory": Part(neighbour_graph.measure, (100_000,)),
    "fill_kinds": Part(ready_vectors.fill_kinds, (1_000_000,)),
    "first_decision": Part(deciding.first_decision, (100_000, 1_000_000), "fill"),
    "opening": Part(deciding.opening, (100_000, 1_000_000), "first_decision"),
    "one_label": Part(deciding.one_label, (100_000, 1_000_000), "first_decision"),
    "learned": Part(deciding.learned, (100_000,), "first_decision"),
    "whole_rule": Part(growing_up.whole_rule, (1_000_000,), "fill_kinds"),
    "reopening": Part(growing_up.reopening, (1_000_000,), "whole_rule"),
    "upkeep": Part(growing_up.upkeep, (1_000_000,), "reopening"),
    "growth": Part(growing_up.growth, (10_000, 100_000)),
    "shared_vectors": Part(shared.ready, (100_000,)),
    "shared_label": Part(shared.one_label, (500_000,)),
    "http_reading": Part(http_requests.reading, (100_000, 1_000_000), "first_decision"),
    "http_labelling": Part(http_requests.labelling, (100_000,), "first_decision"),
    "http_uploading": Part(http_requests.uploading, (100,)),
    "http_importing": Part(http_requests.importing, (10_000,)),
    "lists": Part(selecting.measure, (1_000_000,)),
    "disk": Part(ready_vectors.disk, (100_000, 1_000_000), "fill"),
    "peers": Part(peers.measure, (5_000, 20_000, 100_000), in_quick=False),
}
"""In the order in which they run; those of one size share a store."""


def main() -> None:
    """Read the options, run, print and, when asked to, write the page."""
    options = _options()
    if options.part:
        figures = PARTS[options.part].measure(options.folder, options.size)
        print(json.dumps([figure.values() for figure in figures]))
        return
    with tempfile.TemporaryDirectory(prefix="lookalike-") as temporary:
        folder = options.folder or Path(temporary)
        usual = [name for name, part in PARTS.items() if part.in_quick or not options.quick]
        chosen = _with_needs(options.only or usual)
        figures = []
        for figure in _figures(folder, chosen, _QUICK if options.quick else 1):
            print(page.line(figure), flush=True)
            figures.append(figure)
    if options.output:
        command = "make bench BENCH=--quick" if options.quick else "make bench"
        before = options.output.read_text("utf-8") if options.output.exists() else ""
        text = page.page(figures, command, before, only=options.only or ())
        options.output.write_text(text, "utf-8")
        if not options.only and not options.quick:
            _measure_review_page(options.output)
    if any(figure.met is False for figure in figures) and options.strict:
        raise SystemExit("a goal is missed")


def _measure_review_page(output: Path) -> None:
    """Let the test of the review page write its table into the page."""
    subprocess.run(
        [sys.executable, "-m", "pytest", "--quiet", _REVIEW_PAGE.name],
        cwd=_REVIEW_PAGE.parent,
        env={**os.environ, "LOOKALIKE_GOALS_PAGE": str(output.resolve())},
        check=True,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a twentieth of the size")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), help="run these, and their needs")
    parser.add_argument("--folder", type=Path, help="where stores are made (and stay)")
    parser.add_argument("--output", type=Path, help="write the page with the figures here")
    parser.add_argument("--strict", action="store_true", help="fail when a goal is missed")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def _with_needs(names: list[str]) -> list[str]:
    chosen = set(names)
    for name in reversed(list(PARTS)):
        if name in chosen and PARTS[name].after:
            chosen.add(PARTS[name].after)
    return [name for name in PARTS if name in chosen]


def _figures(folder: Path, names: list[str], divisor: int) -> Iterator[Figure]:
    for name in names:
        for size in PARTS[name].sizes:
            command = [sys.executable, __file__, "--part", name, "--folder", str(folder)]
            finished = subprocess.run(
                [*command, "--size", str(size // divisor)],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            for values in json.loads(finished.stdout):
                yield Figure(**values)


if __name__ == "__main__":
    main()
