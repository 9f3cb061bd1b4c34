"""The demo: add the package's sample pictures, label a few, and measure the automatic labels."""

from __future__ import annotations

import csv
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from lookalike.labels import is_within
from lookalike.library.collection.collection import Collection
from lookalike.library.library import Library
from lookalike.model import Origin, Progress

COLLECTION = "demo"
"""The collection that the demo creates."""

LABELS_EACH = 10
"""The number of pictures of each category that get their true label."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The result of the demo, measured against the shipped true labels.

    `coverage` and `precision` are those of the pictures that got no true label; a label is right if
    it is the true one or a parent of it. `unseen_labelled` counts the pictures of categories
    without examples that got a label.
    """

    pictures: int
    labelled: int
    automatic: int
    right: int
    known: int
    unseen: int
    unseen_labelled: int
    nulls: Mapping[str, int]
    limit: float | None
    extract_s: float
    decide_s: float

    @property
    def coverage(self) -> float:
        """Return the share of the other pictures that were labelled automatically."""
        rest = self.pictures - self.labelled
        return self.automatic / rest if rest else 0.0

    @property
    def precision(self) -> float:
        """Return the share of automatic labels that are right."""
        return self.right / self.automatic if self.automatic else 0.0


def run_demo(library: Library, *, seed: int = 0, progress: Progress) -> DemoResult:
    """Run the demo in a store; a second run continues with the existing collection.

    `seed` selects the pictures to label.
    """
    samples = Path(str(resources.files("lookalike.library.samples")))
    with (samples / "truth.csv").open(encoding="utf-8", newline="") as file:
        truth = {row["file_name"]: row for row in csv.DictReader(file)}
    started = time.perf_counter()
    collection = library.labeler(COLLECTION, extractor="image", field="label")
    collection.add(samples / "pictures", progress=progress)
    extracted = time.perf_counter()
    _label_examples(collection, truth, seed)
    decided = time.perf_counter()
    documents = list(collection.documents())
    automatic = [one for one in documents if one.origin is Origin.AUTO]
    unseen = [one for one in documents if truth[one.file_name]["demo"] == "unseen"]
    return DemoResult(
        pictures=len(documents),
        labelled=sum(one.origin is Origin.HUMAN for one in documents),
        automatic=len(automatic),
        right=sum(is_within(truth[one.file_name]["label"], str(one.label)) for one in automatic),
        known=len(documents) - len(unseen),
        unseen=len(unseen),
        unseen_labelled=sum(one.label is not None for one in unseen),
        nulls=dict(Counter(str(one.reason) for one in documents if one.label is None)),
        limit=collection.report().limit,
        extract_s=extracted - started,
        decide_s=decided - extracted,
    )


def _label_examples(
    collection: Collection, truth: Mapping[str, Mapping[str, str]], seed: int
) -> None:
    """Label the examples that no person has labelled yet; write nothing if all are labelled."""
    chosen = set(_examples(truth, seed))
    new = {
        one.id: truth[one.file_name]["label"]
        for one in collection.documents()
        if one.file_name in chosen and one.origin is not Origin.HUMAN
    }
    if new:
        collection.label(new)


def _examples(truth: Mapping[str, Mapping[str, str]], seed: int) -> list[str]:
    by_label: dict[str, list[str]] = {}
    for name, row in sorted(truth.items()):
        if row["demo"] == "known":
            by_label.setdefault(row["label"], []).append(name)
    generator = random.Random(seed)
    return [name for names in by_label.values() for name in generator.sample(names, LABELS_EACH)]
