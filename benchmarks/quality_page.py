"""The quality benchmark's figures as a page of the documentation."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np

from page import machine
from quality_measures import Measures, mean, share_above
from quality_rules import KNOWN_CUT, LOGISTIC_C, PARTS, RULES, SHARE_CUT

_PACKAGES = ("lookalike", "numpy", "onnxruntime", "scikit-learn", "scipy")
OURS = "**neighbour graph**"
_TARGET, _STRICT = 0.95, 0.97
_NEARLY = 0.93
FROM_SCRATCH_ITEMS = 5_000
"""So many items of a set are taken to time everything from scratch."""

_FROM_SCRATCH_S = 2


@dataclass(frozen=True, slots=True)
class Setting:
    """How many labels a class are given, which share of classes never, on how many splits."""

    shots: int
    unknown: float
    seeds: int

    @property
    def title(self) -> str:
        """Return the setting in words."""
        labels = "1 label" if self.shots == 1 else f"{self.shots} labels"
        rest = "a third of the classes never labelled" if self.unknown else "no unknown classes"
        return f"{labels} a class, {rest}"


@dataclass(frozen=True, slots=True)
class Set:
    """A data set as it was used; `seconds` of processor time made its graph.

    `scratch_seconds` took everything from vectors to answers for `scratch_items` of it, with ten
    labels of every class.
    """

    title: str
    space: str
    items: int
    labels: int
    seconds: float
    scratch_items: int
    scratch_seconds: float


@dataclass(frozen=True, slots=True)
class Run:
    """One rule on one split."""

    data: str
    setting: Setting
    rule: str
    target: float
    measures: Measures


@dataclass(frozen=True, slots=True)
class _Goal:
    """A goal for one data set at the main setting: what it bounds, from where to where."""

    what: str
    figure: Callable[[Sequence[Measures]], float]
    target: float
    least: dict[str, float]
    most: float = np.inf


_BOTH = ("Banking77", "Grocery81")
_GOALS = (
    _Goal(
        "mean realised precision, target 0.95",
        lambda runs: mean(runs).precision,
        _TARGET,
        dict.fromkeys(_BOTH, 0.94),
        0.98,
    ),
    _Goal(
        "share of runs with precision ≥ 0.93, target 0.95",
        lambda runs: share_above(runs, _NEARLY),
        _TARGET,
        dict.fromkeys(_BOTH, 0.85),
    ),
    _Goal(
        "share of runs with precision ≥ 0.95, target 0.97",
        lambda runs: share_above(runs, _TARGET),
        _STRICT,
        dict.fromkeys(_BOTH, 0.95),
    ),
    _Goal(
        "yield, target 0.95",
        lambda runs: mean(runs).yielded,
        _TARGET,
        {"Banking77": 0.58, "Grocery81": 0.42},
    ),
    _Goal(
        "novelty AUROC",
        lambda runs: mean(runs).novelty,
        _TARGET,
        {"Banking77": 0.93, "Grocery81": 0.88},
    ),
    _Goal(
        "accuracy when all must be answered",
        lambda runs: mean(runs).accuracy,
        _TARGET,
        {"Banking77": 0.875, "Grocery81": 0.885},
    ),
)

_TEXT = """\
# Quality

{first_hour}

## The decision rule

Written by `{command}` on {day}{quick}. {sets}

Labels are drawn at random; all other items are decided. Every rule sees the same splits. Figures
are means over the splits.

## Goals

At {main}: the rule of the neighbour graph (`neighbour graph`, here
the graph rule), {splits}.
A miss stays on this page; the last lines are measured where all classes are known.
A share of thirty runs has a standard error of about 0.05.

| goal | data | asked | measured | |
|---|---|---|---|---|
{goals}

{tables}

{sections}

## How to read it

- **Accuracy**: of items of known classes, when all must be answered. The graph rule says
  nothing of an item that no reference reaches; there the nearest reference answers, as
  `LookalikeClassifier.predict` does.
- **Novelty AUROC**: how often an item of a known class scores above one of an unknown class.
- **Coverage** and **precision**: which share of all items the rule labels from its own limit on,
  and which share of that is right. A rule that labels nothing has no precision.
- **Runs ≥ 0.93**: the share of splits on which that precision was at least 0.93, of those on which
  the rule labels anything.
- **Yield**: right automatic labels over items of known classes. **At an oracle limit**: the same at
  the best limit for a precision of 0.95, chosen in hindsight by the true labels. No rule has that
  limit in practice; it tells a good order from a good limit.
- **ECE**: expected calibration error of the probability, ten equal bins, over all items.
- **Seconds**: processor time from labels to answers on one thread; vectors are ready. The graph
  itself needs no label and is made once: {graphs}.

## The rules

| rule | what it does | its own limit |
|---|---|---|
{rules}

The product decides by `neighbour graph`, by `nearest` where there are too many items for it, and
where neither can be calibrated (one label a class) it suggests only: there both rows label nothing,
and a novelty AUROC of 0.5 means that no probability was given.

**Machine:** {machine}.
**Versions:** {versions}.

`make bench-quality` runs all of it, with `LOOKALIKE_DATA` set to a folder with `banking77` and
`grocery`; `make bench-quality BENCH=--quick` one split of 1,600 items of each, in three minutes.
"""

_EXPLAINED = {
    "nearest ≥ 0.30": ("the nearest reference's label", f"cosine {KNOWN_CUT:.2f}"),
    "share of 10 nearest": ("the most frequent label of the ten nearest", f"share {SHARE_CUT}"),
    "class means": ("the nearest mean of centred references", f"cosine {SHARE_CUT}"),
    "logistic": (
        f"scikit-learn's LogisticRegression (C = {LOGISTIC_C:g}) on centred unit vectors",
        f"probability {SHARE_CUT}",
    ),
    "LabelSpreading": (
        "scikit-learn's, its defaults, over all items, on the graph of ten nearest neighbours",
        f"probability {SHARE_CUT}",
    ),
    "random forest": (
        "scikit-learn's RandomForestClassifier, 100 trees; on the first two splits only",
        f"probability {SHARE_CUT}",
    ),
    OURS: ("ours: evidence over the graph and direct likeness, calibrated", "for target 0.95"),
    "**nearest**": ("ours with very many items: nearest references, calibrated", "the same"),
    "without graph evidence": (
        "without evidence over the graph, nor what is heard around, which is read off it",
        "the same",
    ),
    "without class similarity": ("without likeness to the label's mean", "the same"),
    "without nearest similarity": ("without the largest cosine to a reference", "the same"),
    "without neighbourhood evidence": ("without what lies around an item, W and R", "the same"),
    "without class means": ("without what is usual for the winning label", "the same"),
}

_HEAD = (
    "| rule | accuracy | novelty AUROC | coverage | precision | runs ≥ 0.93 | yield | yield at an "
    "oracle limit | ECE | seconds |\n|---|---|---|---|---|---|---|---|---|---|"
)
_STRICT_HEAD = (
    "| target 0.97 | data | coverage | precision | runs ≥ 0.95 | yield |\n|---|---|---|---|---|---|"
)


def page(
    sets: Sequence[Set],
    settings: Sequence[Setting],
    runs: Sequence[Run],
    quick: bool,
    *,
    first_hour: str,
    sections: Sequence[str],
) -> str:
    """Return the page in Markdown; the first of `settings` is the one with goals, in
    the last all classes are known. It begins with `first_hour`; `sections` come after its tables.
    """
    return _TEXT.format(
        first_hour=first_hour.strip(),
        command="make bench-quality" + (" BENCH=--quick" if quick else ""),
        day=datetime.now(UTC).date().isoformat(),
        quick=" **on a part of the data, as a smoke test: its figures mean little**"
        if quick
        else "",
        sets=" ".join(
            f"{one.title}: {one.items:,} items, {one.labels} classes, `{one.space}`."
            for one in sets
        ),
        main=settings[0].title,
        splits=_splits(settings[0]),
        goals="\n".join(
            [
                *_goal_rows(settings[0], runs, judged=not quick),
                *_time_rows(sets, judged=not quick),
            ]
        ),
        tables="\n\n".join(_section(setting, sets, runs) for setting in settings),
        sections="\n\n".join(section.strip() for section in sections),
        graphs=", ".join(f"{one.title} {one.seconds:.1f} s" for one in sets),
        rules="\n".join(f"| {name} | {what} | {at} |" for name, (what, at) in _EXPLAINED.items()),
        machine=machine(),
        versions=", ".join(
            [f"Python {platform.python_version()}"]
            + [f"{name} {version(name)}" for name in _PACKAGES]
        ),
    )


def _goal_rows(setting: Setting, runs: Sequence[Run], *, judged: bool) -> list[str]:
    rows = []
    for goal in _GOALS:
        for data, least in goal.least.items():
            value = goal.figure(_measures(runs, data, setting, OURS, goal.target))
            asked = f"≥ {least}" if goal.most == np.inf else f"{least}–{goal.most}"
            met = "met" if least <= value <= goal.most else "**missed**"
            verdict = met if judged else ""
            rows.append(f"| {goal.what} | {data} | {asked} | {_number(value)} | {verdict} |")
    return rows


def _time_rows(sets: Sequence[Set], *, judged: bool) -> list[str]:
    rows = []
    for one in sets:
        seconds, items = one.scratch_seconds, one.scratch_items
        met = "met" if seconds <= _FROM_SCRATCH_S else "**missed**"
        what = f"seconds from scratch with all {one.labels} classes, one thread"
        asked = f"≤ {_FROM_SCRATCH_S} ({FROM_SCRATCH_ITEMS:,} items)"
        verdict = met if judged and items == FROM_SCRATCH_ITEMS else ""
        rows.append(f"| {what} | {one.title} | {asked} | {seconds:.2f} ({items:,}) | {verdict} |")
    return rows


def _section(setting: Setting, sets: Sequence[Set], runs: Sequence[Run]) -> str:
    parts = [f"## {setting.title[0].upper()}{setting.title[1:]}\n\n{_splits(setting)}."]
    for one in sets:
        rows = [_row(name, _measures(runs, one.title, setting, name, _TARGET)) for name in RULES]
        parts.append(f"**{one.title}**\n\n{_HEAD}\n" + "\n".join(rows))
    strict = [
        _strict_row(name, one.title, _measures(runs, one.title, setting, name, _STRICT))
        for name in (OURS, "**nearest**")
        for one in sets
    ]
    return "\n\n".join([*parts, f"{_STRICT_HEAD}\n" + "\n".join(strict)])


def _splits(setting: Setting) -> str:
    return "1 split" if setting.seeds == 1 else f"{setting.seeds} splits"


def _measures(
    runs: Sequence[Run], data: str, setting: Setting, rule: str, target: float
) -> list[Measures]:
    key = (data, setting, rule, target)
    return [run.measures for run in runs if (run.data, run.setting, run.rule, run.target) == key]


def _row(name: str, runs: Sequence[Measures]) -> str:
    one = mean(runs)
    figures = (
        one.accuracy,
        one.novelty,
        one.coverage,
        one.precision,
        share_above(runs, _NEARLY),
        one.yielded,
        one.oracle,
        one.error,
    )
    cells = " | ".join(map(_number, figures))
    seconds = "" if name in PARTS else f"{one.seconds:.2f}"  # they share the scores of the whole
    return f"| {name} | {cells} | {seconds} |"


def _strict_row(name: str, data: str, runs: Sequence[Measures]) -> str:
    one = mean(runs)
    figures = (one.coverage, one.precision, share_above(runs, _TARGET), one.yielded)
    return f"| {name} | {data} | " + " | ".join(map(_number, figures)) + " |"


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"
