"""The main job on the pictures that the package ships: bring in, label a few, label the rest."""

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
"""The collection that the demo makes."""

LABELS_EACH = 10
"""How many pictures of each kind are labelled by the shipped truth."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo reached. `precision` and `unseen_labelled` are against the shipped truth.

    `coverage` and `precision` speak of the pictures that nobody labelled; right is their kind, or
    one above it in the tree. `unseen_labelled` counts pictures of kinds that nobody named, and that
    got a label.
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
        """Return the share of the unlabelled pictures that labelled themselves."""
        rest = self.pictures - self.labelled
        return self.automatic / rest if rest else 0.0

    @property
    def precision(self) -> float:
        """Return the share of automatic labels that are right."""
        return self.right / self.automatic if self.automatic else 0.0


def run_demo(library: Library, *, seed: int = 0, progress: Progress) -> DemoResult:
    """Run the demo in a store; a second run starts from what is there.

    `seed` chooses the pictures that are labelled.
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
    """Label the examples that no person has labelled yet; nothing is written when all are."""
    chosen = set(_examples(truth, seed))
    new = {
        one.id: truth[one.file_name]["label"]
        for one in collection.documents()
        if one.file_name in chosen and one.origin is not Origin.HUMAN
    }
    if new:
        collection.label(new)


def _examples(truth: Mapping[str, Mapping[str, str]], seed: int) -> list[str]:
    kinds: dict[str, list[str]] = {}
    for name, row in sorted(truth.items()):
        if row["demo"] == "known":
            kinds.setdefault(row["label"], []).append(name)
    chooser = random.Random(seed)
    return [name for names in kinds.values() for name in chooser.sample(names, LABELS_EACH)]
