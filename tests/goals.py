"""What the review page promises of its speed: the goals, what is measured, and both as a table.

The table goes into the page that the environment variable LOOKALIKE_GOALS_PAGE names, between
`BEGIN` and `END`; without it, nothing is written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

SLACK = 3
TRIES = 3
_WORK_S = 0.1
GOALS_PAGE = "LOOKALIKE_GOALS_PAGE"
BEGIN, END = "<!-- the review page: written by its test -->", "<!-- end of the review page -->"


@dataclass(frozen=True, slots=True)
class Goal:
    """What is measured, the goal, and beyond what it would be a fault."""

    what: str
    goal: float
    limit: float
    unit: str = "ms"


GOALS = {
    "key p50": Goal("key → visible change, p50 of {keys}", 16, 100),
    "key p95": Goal("key → visible change, p95", 50, 100),
    "label many": Goal("label 1,000 selected → painted", 50, 150),
    "write one": Goal("write acknowledged, 1 of {items} documents", 30, 500),
    "write many": Goal("write acknowledged, 1,000 of {items} documents", 150, 500),
    "ripple": Goal("first ripple after a label, {items} documents", 300, 1000),
    "next screen": Goal("next screen, all {tiles} thumbnails, prefetched", 50, 200),
    "jump": Goal("jump anywhere in {items} documents, all {tiles} thumbnails", 350, 1000),
    "drag": Goal("threshold drag, a frame, p95", 16.7, 33),
    "why": Goal("Why panel", 80, 250),
    "map first": Goal("map of 1,000,000 points: first draw", 400, 1000),
    "map pan": Goal("map of 1,000,000 points: a frame while moving", 16.7, 33),
    "map lasso": Goal("map of 1,000,000 points: lasso", 150, 500),
    "first paint": Goal("first paint, nothing in the browser's cache", 300, 1000),
    "usable grid": Goal("usable grid of {items} documents, nothing cached", 800, 2000),
    "nodes": Goal("elements on the page at 1,000,000 items", 1500, 2500, "elements"),
    "script": Goal("JavaScript shipped, as sent", 150, 250, "KB"),
}


@dataclass(slots=True)
class Measured:
    """The figures so far, and what the words of the goals stand for, such as `items`."""

    figures: dict[str, float] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    crowds: list[float] = field(default_factory=list)

    def take(self, measure: Callable[[], Mapping[str, float]]) -> None:
        """Measure, and again where that is beyond the slack: other work shares the machine.

        Where that work takes the processors away, what waits for them may wait longer.
        """
        for _ in range(TRIES):
            crowds = [crowding()]
            found = dict(measure())
            crowds.append(crowding())
            self.crowds += crowds
            slack = SLACK * max(crowds)
            late = {name: one for name, one in found.items() if one > slack * GOALS[name].goal}
            if not late:
                break
        self.figures |= found
        assert not late, f"more than {slack:.1f} times their goal: {late}"

    def table(self) -> str:
        """Return the figures as a section in Markdown."""
        rows = [self._row(name, self.figures[name]) for name in GOALS if name in self.figures]
        day, crowd = datetime.now(UTC).date().isoformat(), float(np.median(self.crowds))
        return "\n".join(
            [
                "## The review page",
                "",
                f"Measured by `tests/page/test_page_goals.py` on {day}, in Chromium, on the",
                "machine of the server. Each figure is the median of several, unless it says",
                "otherwise.",
                f"With the other work there was, all took {crowd:.1f} times its processor time.",
                "",
                "| measured | figure | goal | hard limit | |",
                "|---|---|---|---|---|",
                *rows,
            ]
        )

    def write(self) -> None:
        """Put the table into the page that the environment names, if it names one."""
        name = os.environ.get(GOALS_PAGE)
        if not name:
            return
        missing = [one for one in GOALS if one not in self.figures]
        assert not missing, f"no table without all its figures; missing: {missing}"
        page = Path(name)
        text = page.read_text("utf-8")
        before, begin, rest = text.partition(BEGIN)
        after = rest.partition(END)[2] if begin else "\n"
        page.write_text(f"{before.rstrip()}\n\n{BEGIN}\n{self.table()}\n{END}{after}", "utf-8")

    def _row(self, name: str, figure: float) -> str:
        goal, figure = GOALS[name], round(figure, 1)
        judged = "met" if figure <= goal.goal else "missed" if figure <= goal.limit else "beyond"
        what, unit = goal.what.format_map(self.words), goal.unit
        shown = f"{figure:.1f}" if figure < 100 else f"{figure:,.0f}"
        wanted, most = f"≤ {goal.goal:,} {unit}", f"{goal.limit:,} {unit}"
        return f"| {what} | {shown} {unit} | {wanted} | {most} | {judged} |"


def crowding() -> float:
    """Return how long work takes over the processor time that it needs: 1 on a quiet machine."""
    wall, spent = time.perf_counter(), time.process_time()
    while time.process_time() - spent < _WORK_S:
        sum(range(1000))
    return (time.perf_counter() - wall) / (time.process_time() - spent)


CLOCK = Path(__file__).with_name("clock.js")
"""Measures in the page; to be run in it before the page's own modules."""
