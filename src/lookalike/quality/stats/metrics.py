"""What a collection looks like from above: counts and curves. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HISTOGRAM_BINS = 20
CURVE_STEPS = 100


@dataclass(frozen=True, slots=True)
class Depth:
    """How labels that are paths do, cut to `depth` parts.

    `labelled` documents, `coverage` of all, have a label at least so deep. Random answers `checked`
    automatic ones, of which `wrong` were wrong as far down: at least `at_least` are right (at 95 %
    confidence).
    """

    depth: int
    labelled: int
    coverage: float
    checked: int
    wrong: int
    at_least: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """The state of one label field.

    `labelled` counts documents by origin, `per_label` by label and origin, `nulls` by reason. What
    was declared or described is in `per_label`, too, where no document has it; `closed_set` says
    that these are all the labels there can be.
    `state` says whether the field labels by itself, and `missing` what is needed for more.
    `histogram` counts documents the machine looked at by confidence, in HISTOGRAM_BINS equal bins
    from 0 to 1. `near_limit` counts those within 0.05 of the limit.

    `estimated_precision` is what the machine thinks of its own labels: always an estimate. `drawn`
    answers were a random sample; `checked` of them met an automatic label, and `wrong` of those
    were wrong, so at least `at_least` of all such labels were right (at 95 % confidence, for the
    rule as it was while they were given). A label is right if it is above the true one, too;
    `depths` tell how far down it is, where labels are paths.
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
    """What a `limit` would give: `labelled` documents by the machine, `coverage` with the others.

    `precision` is the share of these that may be right, where confidence is a probability.
    """

    limit: float
    labelled: int
    coverage: float
    precision: float | None


def curve(
    confidence: NDArray[np.float64], others: int, documents: int, *, is_probability: bool
) -> list[Point]:
    """Return what limits from 1 down to 0 would give, in steps of 1 / CURVE_STEPS.

    `confidence` (n,) is that of the decisions that only the limit bears on; `others` documents have
    a label anyway.
    """
    import numpy as np  # the command line shows reports without it

    falling = np.sort(confidence)[::-1]
    sums = np.concatenate([[0.0], np.cumsum(falling)])
    points = []
    for step in range(CURVE_STEPS, -1, -1):
        limit = step / CURVE_STEPS
        count = int(np.searchsorted(-falling, -limit, side="right"))
        expected = float(sums[count] / count) if count and is_probability else None
        points.append(Point(limit, count, coverage(count + others, documents), expected))
    return points


def coverage(labelled: int, documents: int) -> float:
    """Return the share of documents with a label; 0 where there are none."""
    return labelled / documents if documents else 0.0
