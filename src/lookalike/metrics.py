"""What a collection looks like from above: counts and curves. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

HISTOGRAM_BINS = 20


@dataclass(frozen=True, slots=True)
class Report:
    """The state of one label field.

    `labelled` counts documents by origin, `per_label` by label and origin, `nulls` by reason.
    `state` says whether the field labels by itself, and `missing` what is needed for more.
    `histogram` counts documents the machine looked at by confidence, in HISTOGRAM_BINS equal bins
    from 0 to 1. `near_limit` counts those within 0.05 of the limit.

    `estimated_precision` is what the machine thinks of its own labels: always an estimate. `drawn`
    answers were a random sample; `checked` of them met an automatic label, and `wrong` of those
    were wrong, so at least `at_least` of all such labels were right (at 95 % confidence, for the
    rule as it was while they were given).
    """

    collection: str
    field: str
    policy: str
    target_precision: float | None
    limit: float | None
    state: str
    missing: tuple[str, ...]
    documents: int
    references: int
    coverage: float
    queue: int
    waiting: int
    failed: int
    labelled: Mapping[str, int]
    per_label: Mapping[str, Mapping[str, int]]
    nulls: Mapping[str, int]
    histogram: Sequence[int]
    near_limit: int
    estimated_precision: float | None
    drawn: int
    checked: int
    wrong: int
    at_least: float | None


def coverage(labelled: int, documents: int) -> float:
    """Return the share of documents with a label; 0 where there are none."""
    return labelled / documents if documents else 0.0


def bin_of(confidence: float) -> int:
    """Return the histogram's bin of a confidence; values outside count at the ends."""
    return min(max(int(confidence * HISTOGRAM_BINS), 0), HISTOGRAM_BINS - 1)
