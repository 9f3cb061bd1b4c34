"""The report of a label field: its counts, and coverage and precision by threshold. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lookalike.model import Displayed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HISTOGRAM_BINS = 20
CURVE_STEPS = 100


@dataclass(frozen=True, slots=True)
class Depth:
    """How good hierarchical labels are when cut to `depth` levels.

    `labelled` documents, a share of `coverage`, have a label with at least that many levels. Random
    answers `checked` automatic ones, of which `wrong` were wrong within these levels: at least
    `at_least` are right (at 95 % confidence).
    """

    depth: int
    labelled: int
    coverage: float
    checked: int
    wrong: int
    at_least: float | None


@dataclass(frozen=True, slots=True)
class Report(Displayed):
    """The state of one label field.

    `labelled` counts documents by origin, `per_label` by label and origin, `nulls` by reason.
    `per_label` also has the labels that were declared or described and that no document has;
    `closed_set` tells whether no other label is allowed. `state` tells whether the field labels
    automatically, and `missing` lists what it still needs. `limit` is the threshold in use.
    `histogram` counts documents with a confidence, in HISTOGRAM_BINS equal bins from 0 to 1.
    `near_limit` counts those within 0.05 of the threshold.

    `estimated_precision` is the mean confidence of the automatic labels: always an estimate.
    `drawn` answers are a random sample; `checked` of them checked an automatic label, and `wrong`
    of those were wrong, so at least `at_least` of all such labels were right (at 95 % confidence,
    for the rule as it was at the time of the answers). An ancestor of the true label is right, too;
    `depths` show the precision by level, where labels are hierarchical.
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
    depths: tuple[Depth, ...] = ()
    closed_set: bool = False


@dataclass(frozen=True, slots=True)
class Point:
    """What the threshold `limit` would give: automatically `labelled` documents, and `coverage`.

    `coverage` is the share of documents with any label. `precision` is the expected precision of
    the automatic labels, None where confidence is no probability.
    """

    limit: float
    labelled: int
    coverage: float
    precision: float | None


def curve(
    confidence: NDArray[np.float64], others: int, documents: int, *, is_probability: bool
) -> list[Point]:
    """Return what thresholds from 1 down to 0 would give, in steps of 1 / CURVE_STEPS.

    `confidence` (n,) is that of the decisions that depend on the threshold alone; `others`
    documents have a label at any threshold.
    """
    import numpy as np  # the command line shows reports without it

    falling = np.sort(confidence)[::-1]
    sums = np.concatenate([[0.0], np.cumsum(falling)])
    points = []
    for step in range(CURVE_STEPS, -1, -1):
        threshold = step / CURVE_STEPS
        count = int(np.searchsorted(-falling, -threshold, side="right"))
        expected = float(sums[count] / count) if count and is_probability else None
        points.append(Point(threshold, count, coverage(count + others, documents), expected))
    return points


def coverage(labelled: int, documents: int) -> float:
    """Return the share of documents with a label; 0 where there are none."""
    return labelled / documents if documents else 0.0
