"""Bring the figures of `docs/decision.md` up to date: `python tools/explain_decision.py`.

One shipped picture is followed from its vector to its label, by the package's pure modules. A part
stands between `<!-- made by tools/explain_decision.py: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.confidence import (
    Confidence,
    Predictions,
    Terms,
    fit_level,
    predict,
)
from lookalike.classifier.graph.graph import NeighbourGraph, build_neighbour_graph
from lookalike.classifier.scores.leave_one_out import leave_one_out
from lookalike.classifier.scores.scores import Scores
from lookalike.extractors.base import Content
from lookalike.extractors.image import image_extractor

PAGE = Path(__file__).parent.parent / "docs" / "decision.md"
PICTURE = "home4.png"
"""Its nearest reference bears another label than it gets: the figures show why."""

LABELS_EACH = 10
TARGET = 0.95
_NEIGHBOURS = 6
_REFERENCES = 3
_LABELS = 4
_BLOCK = 32
_PART = re.compile(
    r"(<!-- made by tools/explain_decision\.py: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL
)


@dataclass(frozen=True)
class Story:
    """The samples as the rule sees them, and the one document that is followed."""

    names: Sequence[str]
    examples: Mapping[str, Sequence[int]]
    neighbour_graph: NeighbourGraph

    @cached_property
    def place(self) -> int:
        """The place of the document."""
        return self.names.index(PICTURE)

    @cached_property
    def scores(self) -> Scores:
        """What all references say."""
        return self._scores(-1)

    @cached_property
    def confidence(self) -> Confidence:
        """What the references say of how sure to be."""
        references = np.concatenate([np.array(one) for one in self.examples.values()])
        waiting = np.setdiff1d(np.arange(len(self.names)), references)
        left = leave_one_out(self.scores, np.sort(references))
        return fit_level(self.scores, left, waiting, Terms.for_all(left, TARGET)).confidence

    @cached_property
    def here(self) -> NDArray[np.int64]:
        """The document's place as the modules take it."""
        return np.array([self.place])

    @cached_property
    def predictions(self) -> Predictions:
        """What is said of the document."""
        return predict(self.confidence, self.scores, self.here)

    @cached_property
    def sources(self) -> Sequence[tuple[str, int, float]]:
        """Each reference with its label and its evidence for the document, most first."""
        said = [
            (label, place, float(self.scores.reference_evidence(place).evidence.at(self.here)[0]))
            for label, places in self.examples.items()
            for place in places
        ]
        return sorted(said, key=lambda one: -one[2])

    def without(self, reference: int) -> Predictions:
        """Return what would be said if a reference did not vote."""
        return predict(self.confidence, self._scores(reference), self.here)

    def without_label(self, column: int) -> Predictions:
        """Return what would be said if the document could not get a label."""
        barred = np.arange(len(self.confidence.labels))[None] == column
        return predict(self.confidence, self.scores, self.here, barred)

    def cosine(self, place: int) -> float:
        """Return the centred cosine of the document with another."""
        return float(self.neighbour_graph.cosines(self.here, np.array([place]))[0, 0])

    def _scores(self, silent: int) -> Scores:
        references = {
            label: np.array([place for place in sorted(places) if place != silent])
            for label, places in self.examples.items()
        }
        return Scores(self.neighbour_graph).for_references(references)


def read_story() -> Story:
    """Return the story of the samples, with ten examples of each known kind, as in the demo."""
    samples = Path(str(resources.files("lookalike.library.samples")))
    with (samples / "truth.csv").open(encoding="utf-8", newline="") as file:
        truth = {row["file_name"]: row for row in csv.DictReader(file)}
    names, kinds, chooser = sorted(truth), dict[str, list[int]](), random.Random(0)
    for place, name in enumerate(names):
        if truth[name]["demo"] == "known":
            kinds.setdefault(truth[name]["label"], []).append(place)
    examples = {label: chooser.sample(places, LABELS_EACH) for label, places in kinds.items()}
    vectors = _vectors([samples / "pictures" / name for name in names])
    return Story(names, examples, build_neighbour_graph(np.arange(len(names)), vectors))


def _vectors(pictures: Sequence[Path]) -> NDArray[np.float16]:
    extractor, rows = image_extractor(), []
    for start in range(0, len(pictures), _BLOCK):
        block = pictures[start : start + _BLOCK]
        contents = [Content(one.read_bytes(), "image/png", name=one.name) for one in block]
        for parts in extractor.extract(contents):
            assert isinstance(parts, tuple), "a shipped picture can be read"
            rows.append(parts[0].vector)
    return np.array(rows, np.float16)


# --- parts of the page ----------------------------------------------------------------------------


def neighbours(story: Story) -> str:
    """Return the nearest documents, labelled or not."""
    labels = {place: label for label, places in story.examples.items() for place in places}
    near = zip(
        story.neighbour_graph.near[story.place, :_NEIGHBOURS].tolist(),
        story.neighbour_graph.near_cosines[story.place].tolist(),
        strict=False,
    )
    rows = [(f"`{story.names[p]}`", f"{c:.2f}", labels.get(p, "not labelled")) for p, c in near]
    return _table(("document", "cosine", "label"), rows)


def evidence(story: Story) -> str:
    """Return the references that say most, of the winner and of the label of the nearest one."""
    _, nearest = _nearest(story)
    rows = []
    for label in (_winner(story), nearest):
        own = [(place, said) for name, place, said in story.sources if name == label]
        total = sum(said for _, said in own)
        rows += [
            (
                label,
                f"`{story.names[place]}`",
                f"{story.cosine(place):.2f}",
                f"{said:.4f}",
                f"{said / total:.0%}",
            )
            for place, said in own[:_REFERENCES]
        ]
    return _table(("label", "reference", "cosine", "evidence", "share of the label's"), rows)


def scores(story: Story) -> str:
    """Return evidence, direct likeness and S of the labels with the largest S."""
    a, b = story.confidence.sight.mix
    logs, direct = story.scores.table(story.here)[:, 0]
    evidence = story.scores.evidence(story.here)[0]
    total = a * logs + b * direct
    rows = [
        (
            story.scores.labels[label],
            f"{evidence[label]:.4f}",
            f"{logs[label]:.2f}",
            f"{direct[label]:.2f}",
            f"{story.scores.nearest(story.here, np.array([label]))[0][0]:.2f}",
            f"{total[label]:.2f}",
        )
        for label in np.argsort(-total)[:_LABELS].tolist()
    ]
    text = f"S = {a:.2f} · L + {b:.2f} · C, learned from {len(story.sources)} references.\n\n"
    return text + _table(("label", "e", "L", "C", "Z", "S"), rows)


def decision(story: Story) -> str:
    """Return the way from S to the decision."""
    said, sure = story.predictions, story.confidence
    p, known = float(said.probability[0]), float(said.known[0])
    labelled = p >= sure.limit
    rows = [
        ("lead in S over the runner-up", f"{said.margin[0]:.2f}"),
        ("share of new documents among those that wait, π", f"{sure.new_share:.2f}"),
        ("probability that it is of a known label", f"{known:.3f}"),
        ("probability that the winner is right, if it is", f"{p / known:.3f}"),
        ("**p**, the product", f"**{p:.3f}**"),
        (f"limit for a precision of {sure.target}", f"{sure.limit:.3f}"),
        ("decision", f"**{_winner(story)}**" if labelled else "null, `below_threshold`"),
        ("runner-up", sure.labels[int(said.runners_up[0])]),
    ]
    return _table(("", ""), rows)


def otherwise(story: Story) -> str:
    """Return what would be said with less."""
    label, place, _ = story.sources[0]
    nearest_place, nearest = _nearest(story)
    winner = int(story.predictions.winners[0])
    ways = {
        f"`{story.names[place]}` ({label}), the most evidence": story.without(place),
        f"`{story.names[nearest_place]}` ({nearest}), the nearest": story.without(nearest_place),
        f"all of {_winner(story)}": story.without_label(winner),
    }
    rows = [(what, *_outcome(story, said)) for what, said in ways.items()]
    return _table(("without", "winner", "p"), rows)


def _outcome(story: Story, said: Predictions) -> tuple[str, str]:
    winner = int(said.winners[0])
    name = story.confidence.labels[winner] if winner >= 0 else "no label is heard"
    return name, f"{said.probability[0]:.3f}"


def _winner(story: Story) -> str:
    return story.confidence.labels[int(story.predictions.winners[0])]


def _nearest(story: Story) -> tuple[int, str]:
    """Return the nearest reference and its label."""
    return max(((p, label) for label, p, _ in story.sources), key=lambda one: story.cosine(one[0]))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


PARTS: Mapping[str, Callable[[Story], str]] = {
    "decision": decision,
    "evidence": evidence,
    "neighbours": neighbours,
    "otherwise": otherwise,
    "scores": scores,
}


def filled(page: str, story: Story) -> str:
    """Return the page with every part made again. Raises KeyError for one that nobody makes."""
    return _PART.sub(
        lambda found: f"{found[1]}\n{PARTS[found[2]](story).strip()}\n\n{found[3]}", page
    )


def main() -> None:
    """Write the page if its figures have changed."""
    old = PAGE.read_text("utf-8")
    new = filled(old, read_story())
    if new != old:
        PAGE.write_text(new, "utf-8")
        print(f"made {PAGE.name}")


if __name__ == "__main__":
    main()
