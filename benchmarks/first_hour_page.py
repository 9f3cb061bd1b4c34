"""The section of the quality page on the first hour, of Lookalike and its peers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from first_hour import ENOUGH, FIRST, SETS, SETTLED, Point, Set, first

KNOWN_CUT = 0.30
"""The known rule's limit."""

MOST_ANSWERS = 1_500
"""So many answers a peer takes at the most."""

OURS, KNOWN = "**Lookalike**", f"threshold {KNOWN_CUT:.2f}"
_NEARLY, _LEAST_SHARE = 0.93, 0.85
_LEAST, _MOST = 0.94, 0.98


@dataclass(frozen=True, slots=True)
class Result:
    """What one method did on one data set of so many `documents`, a run a seed."""

    data: Set
    documents: int
    errors: float
    method: str
    runs: Sequence[Sequence[Point]]

    @property
    def firsts(self) -> list[Point]:
        """Where automatic labels began, of the runs in which they did."""
        found = [first(points, self.documents) for points in self.runs]
        return [point for point in found if point]

    @property
    def settled(self) -> list[Point]:
        """Where 90 % were settled, of the runs in which they were."""
        return [point for points in self.runs if (point := self._settled(points))]

    @property
    def ends(self) -> list[Point]:
        """The last point of each run."""
        return [points[-1] for points in self.runs]

    @property
    def precisions(self) -> list[float]:
        """The precision at the end of the runs with enough automatic labels to tell."""
        return [point.precision for point in self.ends if point.automatic >= ENOUGH]

    def _settled(self, points: Sequence[Point]) -> Point | None:
        least = SETTLED * self.documents
        return next((one for one in points if one.given + one.automatic >= least), None)


_TEXT = """\
## The first hour

How many actions a person needs until a collection labels itself, from nothing labelled, at a target
precision of 0.95: Lookalike, and other methods at the same cost. Written by
`benchmarks/first_hour_peers.py` on {day}, means of {seeds} seeds. An action is one key or click,
and costs seconds as on [The first hour](first-hour.md); with *errors* the person errs as often.
*First*: {first} automatic labels, or one in a hundred documents, and their precision. *90 %*: so
many have a label, given or automatic; "–" and the share that has one where a run does not come that
far. *By hand* are labels that people gave. *Precision at the end* is that of the automatic labels,
where the run ends; *runs ≥ 0.93* are those in which it is at least that, of those that end with
{enough} automatic labels or more. In bold: the fewest actions and seconds to 90 % of the methods
whose automatic labels have a precision of {least} or more there, where all were measured.

{table}

Not measured: {missing}.

{goals}

{misses} With errors, 90 % may take 1.2 times the actions without. A precision above 0.98 is
outside its goal, too; the goals of precision are of runs that end with {enough} automatic labels.

- **{known}** gives each document the label of its nearest reference from a similarity of 0.30 on:
  Lookalike's policy `threshold` with the same queue. It labels nearly all pictures after the first
  answers, categories that nobody has named yet included; so that it can mend that, it goes on until
  it has taken as many actions as Lookalike. Its *first* and *90 %* are not worth their precision.
- **margin + logistic** asks for the smallest margin, and labels from the confidence on at which
  five folds of the answers are 95 % right.
- **PAC labelling** ([2506.10908](https://arxiv.org/abs/2506.10908)) bounds the errors of the whole
  data set by 5 %, with a confidence of 95 %. What the person labels is in it, so the automatic
  labels alone may be wrong more often.
- **Conformal Labeling** ([2510.14581](https://arxiv.org/abs/2510.14581)) selects by conformal
  p-values, at a false discovery rate of 5 %.
- **Colander** ([2404.16188](https://arxiv.org/abs/2404.16188)) learns a confidence for coverage on
  half of the validation answers, and sets a limit for each label on the other half.

The peers are written from their papers, over a logistic regression on the same vectors; what is
simplified is told in `benchmarks/first_hour_peers.py`. Each asks about one document at a time;
where a paper wants a random sample to calibrate with, every second answer is one. They make their
limits again every few answers, where the papers make them once, and end after {most:,} answers.
"""

_COLUMNS = (
    "data",
    "errors",
    "method",
    "first: actions",
    "seconds",
    "precision",
    "90 %: actions",
    "seconds",
    "by hand",
    "precision at the end",
    "runs ≥ 0.93",
)
HEAD = f"| {' | '.join(_COLUMNS)} |\n|---|--:|---|{'--:|' * (len(_COLUMNS) - 3)}"


def section(found: Sequence[Result]) -> str:
    """Return the section of the quality page; its goals are those of Lookalike."""
    goals = [goal for one in found if one.method == OURS for goal in _goals(one, found)]
    missed = sum("missed" in goal for goal in goals)
    head = "| goal of Lookalike | data | errors | asked | measured | |\n|---|---|--:|--:|--:|---|"
    return _TEXT.format(
        day=datetime.now(UTC).date().isoformat(),
        seeds=min(len(one.runs) for one in found),
        first=FIRST,
        enough=ENOUGH,
        least=_LEAST,
        table="\n".join([HEAD, *(row(one, found) for one in found)]),
        missing=_missing(found),
        goals="\n".join([head, *goals]),
        misses=f"{missed} of {len(goals)} goals are missed.",
        known=KNOWN,
        most=MOST_ANSWERS,
    )


def _missing(found: Sequence[Result]) -> str:
    """Return which data sets of the first hour are not in the table, and which of its rows."""
    titles = {one.data.title for one in found}
    missing = [one.title for one in SETS.values() if one.title not in titles]
    known = {(one.data.title, one.errors, one.method) for one in found}
    for title in sorted(titles):
        for errors in sorted({one.errors for one in found}):
            methods = dict.fromkeys(one.method for one in found)
            rest = [name.strip("*") for name in methods if (title, errors, name) not in known]
            if rest:
                missing.append(f"{title} with {errors:.0%} errors ({', '.join(rest)})")
    return "; ".join(missing) or "nothing"


def row(one: Result, found: Sequence[Result] = ()) -> str:
    """Return the row of one result; in bold what is the least effort of those that were found."""
    whole = len(one.runs)
    ends, settled, firsts = one.ends, one.settled, one.firsts
    share = np.mean([(point.given + point.automatic) / one.documents for point in ends])
    precise = [point.precision for point in ends if point.automatic]
    cells = [
        one.data.title,
        f"{one.errors:.0%}",
        one.method,
        *(_effort(firsts) if len(firsts) == whole else ("–", "–")),
        f"{np.mean([point.precision for point in firsts]):.3f}" if firsts else "–",
        *(
            _bold(_effort(settled), one, found)
            if len(settled) == whole
            else (f"– ({share:.0%})", "–")
        ),
        f"{np.mean([point.given for point in ends]):,.0f}",
        f"{np.mean(precise):.3f}" if precise else "–",
        f"{np.mean(np.array(one.precisions) >= _NEARLY):.2f}" if one.precisions else "–",
    ]
    return f"| {' | '.join(cells)} |"


def _effort(points: Sequence[Point]) -> tuple[str, str]:
    actions, seconds = (np.mean([getattr(p, of) for p in points]) for of in ("actions", "seconds"))
    return f"{actions:,.0f}", f"{seconds:,.0f}"


def _bold(cells: tuple[str, str], one: Result, found: Sequence[Result]) -> Iterator[str]:
    same = [other for other in found if (other.data, other.errors) == (one.data, one.errors)]
    if len(same) < len({other.method for other in found}):
        same = []  # nobody is the best of a part
    precise = [other.settled for other in same if _is_precise(other)]
    for cell, of in zip(cells, ("actions", "seconds"), strict=True):
        efforts = [np.mean([getattr(point, of) for point in points]) for points in precise]
        ours = np.mean([getattr(point, of) for point in one.settled])
        yield f"**{cell}**" if _is_precise(one) and efforts and ours <= min(efforts) else cell


def _is_precise(one: Result) -> bool:
    """Return whether all runs settled 90 %, and what was automatic then was precise."""
    precisions = [point.precision for point in one.settled if point.automatic]
    mean = np.mean(precisions) if precisions else 1.0
    return len(one.settled) == len(one.runs) and bool(mean >= _LEAST)


def _limit(goal: int | None) -> float:
    return math.inf if goal is None else goal


def _actions(points: Sequence[Point]) -> float:
    return float(np.mean([point.actions for point in points]))


def _goals(one: Result, found: Sequence[Result]) -> Iterator[str]:
    where = f"{one.data.title} | {one.errors:.0%}"
    first_goal, last_goal = map(_limit, one.data.goals)
    if one.errors:
        first_goal, last_goal = math.inf, math.inf
        for other in found:
            if (other.data, other.method, other.errors) == (one.data, OURS, 0) and other.settled:
                last_goal = 1.2 * _actions(other.settled)
    for what, points, goal in (
        ("actions to the first", one.firsts, first_goal),
        ("actions to 90 %", one.settled, last_goal),
    ):
        if goal < math.inf:
            actions = _actions(points) if len(points) == len(one.runs) else math.inf
            measured = f"{actions:.1f}" if actions < math.inf else "–"
            verdict = "met" if actions <= goal else "**missed**"
            yield f"| {what} | {where} | ≤ {goal:.4g} | {measured} | {verdict} |"
    if one.precisions:
        mean, share = np.mean(one.precisions), np.mean(np.array(one.precisions) >= _NEARLY)
        verdict = (
            "met" if _LEAST <= mean <= _MOST else "**missed**" + " (above)" * bool(mean > _MOST)
        )
        yield f"| precision | {where} | 0.94–0.98 | {mean:.3f} | {verdict} |"
        verdict = "met" if share >= _LEAST_SHARE else "**missed**"
        yield f"| runs ≥ 0.93 | {where} | ≥ 0.85 | {share:.2f} | {verdict} |"
