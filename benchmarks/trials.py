"""How often a trial picks the better of two rules, with simulated people on public data.

    LOOKALIKE_DATA=… python benchmarks/trials.py --output docs/trials.md

Ten random items a label are references, a third of the labels is never shown, and the library
decides everything else by each of several limits and targets. Of the pairs of these rules whose
costs differ by about 3 reviews in 100 documents, as the truth has it, two are taken: the one that
disagrees least, as a small change of a rule does, and the one in the middle. A run of a trial draws
disagreements by chance; a person answers, and looks after every ten answers (fifty, from 200 on),
until there is a verdict or nothing is left to answer. For rules that do not differ the two sides of
each disagreement are dealt by a coin. Who errs names another label in a share of the answers.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from sqlalchemy import select

import lookalike
from lookalike.library.collection.collection import Collection
from lookalike.model import Origin
from lookalike.quality.stats.confidence_sequences import favours
from lookalike.quality.stats.paired_comparison import (
    CONFIDENCE,
    Answered,
    Outcome,
    answer_gains,
    paired_gains,
)
from lookalike.stores import schema
from quality_data import Data, read, split

_SHOTS = 10
_UNKNOWN = 1 / 3
_LOOK_EVERY = 10
_OFTEN_UPTO = 200
_LATER = 50
_DIFFERENCE = (2.7, 3.5)
_LIMITS = tuple(float(one) for one in np.arange(0.3, 0.95, 0.02).round(2))
_TARGETS = (0.8, 0.9, 0.95, 0.97, 0.99)
_BEGIN, _END = "<!-- figures of benchmarks/trials.py -->", "<!-- end of figures -->"

Labels = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rules on the same documents, and how many reviews in 100 the second one saves."""

    names: tuple[str, str]
    saves: float
    disagreements: tuple[Answered, ...]


@dataclass(frozen=True, slots=True)
class Runs:
    """Of how many runs the verdict was right or false, and after how many answers (median)."""

    right: int
    false: int
    answers: int | None


def main() -> None:
    """Measure, and write the table."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--folder", type=Path, default=Path("bench-store"))
    asked.add_argument("--output", type=Path)
    asked.add_argument("--runs", type=int, default=100)
    asked.add_argument("--upto", type=int, default=6000)
    asked.add_argument("--data", nargs="*", default=["grocery", "banking77"])
    given = asked.parse_args()
    root = Path(os.environ["LOOKALIKE_DATA"])
    lines = [
        "| data | rules | a wrong label costs | the better saves in 100 | disagreements | people "
        "err in | right | false | answers (median) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in given.data:
        data = read(name, root, given.folder, given.upto)
        for line in _lines(data, given.runs):
            print(line, flush=True)
            lines.append(line)
    if given.output is not None:
        _write(given.output, lines)


def _lines(data: Data, runs: int) -> Iterator[str]:
    truth, decided = _decided(data)
    for wrong_costs in (2.0, 5.0, 20.0):
        for pair in _pairs(truth, decided, wrong_costs):
            for errs in (0.0, 0.03):
                found = _run(pair, wrong_costs, runs, errs, dealt=False)
                yield _line(data, pair, wrong_costs, errs, found, f"{pair.saves:.1f}")
            found = _run(pair, wrong_costs, runs, 0.0, dealt=True)
            yield _line(data, pair, wrong_costs, 0.0, found, "0 (dealt)")


def _decided(data: Data) -> tuple[dict[str, str], dict[str, Labels]]:
    """Return the truth, and what each rule says of the documents that are the machine's."""
    parts = split(data.labels, _SHOTS, _UNKNOWN, seed=0)
    ids = [f"v{number}" for number in range(len(data.labels))]
    truth = {id: f"Label {label}" for id, label in zip(ids, data.labels.tolist(), strict=True)}
    decided = {}
    with TemporaryDirectory() as folder, lookalike.open(Path(folder, "store")) as library:
        collection = library.labeler("things", extractor="passthrough", target_precision=0.95)
        collection.add(vectors=data.vectors.astype(np.float32), ids=ids)
        collection.label({ids[place]: truth[ids[place]] for place in parts.references.tolist()})
        for target in _TARGETS:
            collection.run(target_precision=target)
            decided[f"target {target:g}"] = _labels(collection, -1.0)
        collection.run(confidence_threshold=_LIMITS[0])
        for limit in _LIMITS:
            decided[f"≥ {limit:g}"] = _labels(collection, limit)
    return truth, decided


def _labels(collection: Collection, limit: float) -> Labels:
    """Return the label of each document that is the machine's; none below a limit."""
    standing, document = schema.standing, schema.document
    query = select(document.c.id, standing.c.label, standing.c.confidence)
    query = query.join(standing, standing.c.document_pk == document.c.pk)
    machine = standing.c.origin.is_(None) | (standing.c.origin == Origin.AUTO)
    with collection._runtime.store.read() as snapshot:
        rows = snapshot.rows(query.where(machine))
    return {row.id: row.label if (row.confidence or 0.0) >= limit else None for row in rows}


def _pairs(
    truth: Mapping[str, str], decided: Mapping[str, Labels], wrong_costs: float
) -> list[Pair]:
    """Return of the pairs that differ as asked the one that disagrees least, and the middle one."""
    low, high = _DIFFERENCE
    pairs = []
    for one, other in itertools.permutations(decided, 2):
        first, second = decided[one], decided[other]
        differing = tuple(
            Answered(first[id], second[id], Outcome.LABEL, truth[id])
            for id in sorted(first)
            if first[id] != second[id]
        )
        gain = sum(item.gain(wrong_costs) for item in differing)
        pairs.append(Pair((one, other), 100 * gain / len(first), differing))
    fitting = [pair for pair in pairs if low <= pair.saves <= high]
    fitting.sort(key=lambda pair: len(pair.disagreements))
    return [fitting[0], fitting[len(fitting) // 2]]


def _run(pair: Pair, wrong_costs: float, runs: int, errs: float, *, dealt: bool) -> Runs:
    """Return how trials of a pair end."""
    verdicts, counts = [], []
    for seed in range(runs):
        chance = np.random.default_rng([seed, int(wrong_costs)])
        items = [pair.disagreements[place] for place in chance.permutation(len(pair.disagreements))]
        answered = [_said(item, chance, errs, dealt=dealt) for item in items]
        verdict, count = _verdict(answered, wrong_costs)
        verdicts.append(verdict)
        counts += [count] if verdict else []
    better = 0 if dealt else int(np.sign(pair.saves))
    return Runs(
        right=sum(one == better for one in verdicts),
        false=sum(one not in (0, better) for one in verdicts),
        answers=int(np.median(counts)) if counts else None,
    )


def _said(item: Answered, chance: np.random.Generator, errs: float, *, dealt: bool) -> Answered:
    """Return a disagreement as a person answers it, its sides dealt by a coin if told so."""
    sides = (item.champion, item.challenger)
    if dealt and chance.random() < 0.5:
        sides = (item.challenger, item.champion)
    truth = "another" if chance.random() < errs else item.truth
    return Answered(*sides, Outcome.LABEL, truth)


def _verdict(answered: Sequence[Answered], wrong_costs: float) -> tuple[int, int]:
    """Return the first verdict at any look, and after how many answers; 0 for none."""
    often = min(len(answered), _OFTEN_UPTO)
    looks = {*range(_LOOK_EVERY, often, _LOOK_EVERY), *range(_OFTEN_UPTO, len(answered), _LATER)}
    for count in sorted(looks | {len(answered)}):
        stakes = paired_gains(answer_gains(answered[:count], wrong_costs), wrong_costs)
        verdict = favours(stakes, CONFIDENCE)
        if verdict:
            return verdict, count
    return 0, len(answered)


def _line(data: Data, pair: Pair, wrong_costs: float, errs: float, found: Runs, saves: str) -> str:
    return (
        f"| {data.title} | {pair.names[0]}, {pair.names[1]} | {wrong_costs:g} reviews | {saves} | "
        f"{len(pair.disagreements)} | {errs:.0%} | {found.right} | {found.false} | "
        f"{found.answers or '–'} |"
    )


def _write(page: Path, lines: Sequence[str]) -> None:
    text = page.read_text("utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    table = "\n".join(lines)
    page.write_text(f"{before}{_BEGIN}\n\n{table}\n\n{_END}{after}", "utf-8")


if __name__ == "__main__":
    main()
