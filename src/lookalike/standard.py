"""What a field decides by under `precision`, and what is missing for more. Pure.

The **landscape** rule needs enough labels and items to be calibrated from the references alone;
measured, it broke its promise below them. There the **nearest** rule stands in: it labels less, and
its estimate is weaker, which the standard says under `missing`. Without enough references for
that either, the field only **suggests**.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from lookalike.calibration import Calibration, calibration_from

MIN_LABELS = 20
"""So many labels with MIN_REFERENCES references are needed to know what new things look like."""

MIN_REFERENCES = 3

MIN_ITEMS = 1500
"""So many items are needed for the landscape rule; with fewer its calibration is too bold."""

MAX_ITEMS = 200_000
"""Beyond, the landscape takes minutes, and its approximate lists have been measured no further.

It holds 3 bytes × dimensions, 12 bytes × labels and about 1 KiB an item; 4 bytes × dimensions more
while it is made.
"""

MAX_SCORES = 10_000_000
"""Items times labels, of which several numbers each are held in memory."""

MIN_ACCURACY = 0.5
"""Below this leave-one-out accuracy the vectors cannot tell the labels apart."""


class Rule(StrEnum):
    """By what a field decides."""

    LANDSCAPE = "landscape"
    NEAREST = "nearest"
    SUGGEST = "suggest"


@dataclass(frozen=True, slots=True)
class Standard:
    """The rule in force, its limit, and what is missing to label by itself (or better).

    `nodes_upto` is the last document of the landscape's graph; later ones are leaves of it.
    """

    rule: Rule
    missing: tuple[str, ...] = ()
    limit: float | None = None
    new_share: float | None = None
    accuracy: float | None = None
    nodes_upto: int = 0
    nearest: Calibration | None = None


def rule_for(counts: Sequence[int], items: int) -> tuple[Rule, tuple[str, ...]]:
    """Return the rule that references per label and the number of items allow, and what lacks."""
    known = sum(count >= MIN_REFERENCES for count in counts)
    missing = []
    if known < MIN_LABELS:
        missing.append(
            f"{known} of {MIN_LABELS} labels with {MIN_REFERENCES} references; with fewer, how "
            "often something new is taken for something known is a weak estimate: check a sample"
        )
    if items < MIN_ITEMS:
        missing.append(f"{items} of {MIN_ITEMS} items for the rule that labels most")
    if items > MAX_ITEMS or items * len(counts) > MAX_SCORES:
        missing.append(
            f"{items} items with {len(counts)} labels are too many for the rule that labels most: "
            f"it takes up to {MAX_ITEMS} items and {MAX_SCORES} items times labels"
        )
    return (Rule.NEAREST if missing else Rule.LANDSCAPE), tuple(missing)


def standard_to(standard: Standard) -> dict[str, Any]:
    """Return a standard as JSON values; `standard_from` reads them back exactly."""
    return asdict(standard)


def standard_from(stored: Mapping[str, Any] | None) -> Standard | None:
    """Return the standard that `standard_to` wrote."""
    if stored is None:
        return None
    parts = {
        "rule": Rule(stored["rule"]),
        "missing": tuple(stored["missing"]),
        "nearest": calibration_from(stored["nearest"]),
    }
    return Standard(**{**stored, **parts})
