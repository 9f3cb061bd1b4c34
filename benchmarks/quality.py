"""Compare the decision rule with others on public data and write the quality page.

    LOOKALIKE_DATA=… python benchmarks/quality.py --output docs/quality.md
    LOOKALIKE_DATA=… python benchmarks/quality.py --quick       # a smoke run, in three minutes

Below LOOKALIKE_DATA lie `banking77` and `grocery`. All rules see the same splits in one run.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import quality_effort
import quality_hygiene
import quality_levels
import quality_page
import quality_promises
from lookalike.classifier.graph.graph import build_neighbour_graph
from quality_data import SOURCES, Data, read, split
from quality_measures import measure
from quality_page import Run, Set, Setting
from quality_rules import OURS, RULES, Case

_QUICK_ITEMS = 1600
_FEW_SEEDS = 3
_HYGIENE_SEEDS = 3
_SLOW, _SLOW_SEEDS = "random forest", 2
_TARGET, _STRICT = 0.95, 0.97
_SHOTS = 10
_SCRATCH_RUNS = 3
_FIRST_HOUR = Path(__file__).with_name("first_hour_peers.md")
"""The first section of the page, which `first_hour_peers.py` writes."""


def main() -> None:
    """Read the options, run everything and print or write the page."""
    options = _options()
    # With one label a class every rule has as many labels as rows; scikit-learn doubts that.
    warnings.filterwarnings("ignore", message="The number of unique classes")
    sets: list[Set] = []
    runs: list[Run] = []
    read_sets: list[Data] = []
    started = time.process_time()
    for name in SOURCES:
        upto = _QUICK_ITEMS if options.quick else None
        data = read(name, options.data, options.folder, upto)
        read_sets.append(data)
        runs += _runs(data, _settings(options), sets)
    sections = (
        _effort(options),
        quality_promises.section(read_sets, options.data, quick=options.quick),
        quality_levels.section(read_sets, options.data, quick=options.quick),
        quality_hygiene.section(
            [
                (data, build_neighbour_graph(np.arange(len(data.labels)), data.vectors))
                for data in read_sets
            ],
            1 if options.quick else _HYGIENE_SEEDS,
        ),
    )
    page = quality_page.page(
        sets,
        _settings(options),
        runs,
        options.quick,
        first_hour=_FIRST_HOUR.read_text("utf-8"),
        sections=sections,
    )
    print(f"{time.process_time() - started:.0f} s of processor time")
    if options.output:
        options.output.write_text(page, "utf-8")
    else:
        print(page)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    data = os.environ.get("LOOKALIKE_DATA")
    parser.add_argument("--quick", action="store_true", help="one split of a few items of each set")
    parser.add_argument("--seeds", type=int, default=30, help="splits of the main setting")
    parser.add_argument("--output", type=Path, help="write the page here")
    parser.add_argument("--data", type=Path, default=data, help="default: LOOKALIKE_DATA")
    folder = Path("bench-store/quality")
    parser.add_argument("--folder", type=Path, default=folder, help="where vectors are kept")
    options = parser.parse_args()
    if options.data is None:
        parser.error("say where the data is: set LOOKALIKE_DATA, or give --data")
    return options


def _effort(options: argparse.Namespace) -> str:
    """Return the section on human effort."""
    found = quality_effort.curves(list(SOURCES), options.data, options.folder, quick=options.quick)
    return quality_effort.section(found, judged=not options.quick)


def _settings(options: argparse.Namespace) -> list[Setting]:
    if options.quick:
        return [Setting(10, 1 / 3, 1), Setting(10, 0, 1)]
    few = min(options.seeds, _FEW_SEEDS)
    return [
        Setting(10, 1 / 3, options.seeds),
        Setting(1, 1 / 3, few),
        Setting(5, 1 / 3, few),
        Setting(20, 1 / 3, few),
        Setting(10, 0, few),
    ]


def _runs(data: Data, settings: list[Setting], sets: list[Set]) -> Iterator[Run]:
    """Yield the runs on one data set, whose description is added to `sets`."""
    started = time.process_time()
    neighbour_graph = build_neighbour_graph(np.arange(len(data.labels)), data.vectors)
    seconds = time.process_time() - started
    labels = len(np.unique(data.labels))
    scratch = _from_scratch(data)
    sets.append(Set(data.title, data.space, len(data.labels), labels, seconds, *scratch))
    print(f"{data.title}: {len(data.labels):,} items, graph in {seconds:.1f} s", flush=True)
    for setting in settings:
        for seed in range(setting.seeds):
            begun = time.perf_counter()
            parts = split(data.labels, setting.shots, setting.unknown, seed)
            case = Case(data.vectors, neighbour_graph, parts)
            yield from _compare(case, data, setting, seed)
            took = time.perf_counter() - begun
            print(f"{data.title}, {setting.title}, seed {seed}: {took:.1f} s", flush=True)


def _from_scratch(data: Data) -> tuple[int, float]:
    """Return how many items were taken, and the processor time from their vectors to answers, the
    median of some runs.
    """
    count = min(len(data.labels), quality_page.FROM_SCRATCH_ITEMS)
    chosen = np.sort(np.random.default_rng(0).choice(len(data.labels), count, replace=False))
    vectors, labels = data.vectors[chosen], data.labels[chosen]
    parts, seconds = split(labels, _SHOTS, 0, 0), []
    for _ in range(_SCRATCH_RUNS):
        started = time.process_time()
        case = Case(vectors, build_neighbour_graph(np.arange(count), vectors), parts)
        RULES[quality_page.OURS](case, _TARGET)
        seconds.append(time.process_time() - started)
    return count, float(np.median(seconds))


def _compare(case: Case, data: Data, setting: Setting, seed: int) -> Iterator[Run]:
    truth = data.labels[case.split.pool]
    for name, rule in RULES.items():
        if name == _SLOW and seed >= _SLOW_SEEDS:
            continue
        for target in (_TARGET, _STRICT) if name in OURS else (_TARGET,):
            started = time.process_time()
            answer = rule(case, target)
            seconds = time.process_time() - started
            measures = measure(answer, truth, case.split.known, seconds, target)
            yield Run(data.title, setting, name, target, measures)


if __name__ == "__main__":
    main()
