"""Which rule a field may decide by, and what it says is missing."""

import pytest

from lookalike.calibration import Calibration
from lookalike.logistic import Logistic
from lookalike.standard import (
    MAX_ITEMS,
    MIN_ITEMS,
    MIN_LABELS,
    Rule,
    Standard,
    rule_for,
    standard_from,
    standard_to,
)


@pytest.mark.parametrize(
    ("counts", "items", "rule", "missing"),
    [
        ([3] * MIN_LABELS, MIN_ITEMS, Rule.LANDSCAPE, []),
        ([3] * MIN_LABELS, MAX_ITEMS, Rule.LANDSCAPE, []),
        ([3] * (MIN_LABELS - 1) + [2], MIN_ITEMS, Rule.NEAREST, ["19 of 20 labels"]),
        ([3] * MIN_LABELS, MIN_ITEMS - 1, Rule.NEAREST, ["1499 of 1500 items"]),
        ([9], 10, Rule.NEAREST, ["1 of 20 labels", "10 of 1500 items"]),
        ([], 0, Rule.NEAREST, ["0 of 20 labels", "0 of 1500 items"]),
        (
            [3] * MIN_LABELS,
            MAX_ITEMS + 1,
            Rule.NEAREST,
            [f"{MAX_ITEMS + 1} items with 20 labels are too many"],
        ),
        ([3] * 1001, 10_000, Rule.NEAREST, ["10000 items with 1001 labels are too many"]),
    ],
)
def test_the_landscape_rule_needs_enough_and_not_too_much(
    counts: list[int], items: int, rule: Rule, missing: list[str]
) -> None:
    chosen, lacks = rule_for(counts, items)

    assert chosen is rule
    assert len(lacks) == len(missing)
    for said, start in zip(lacks, missing, strict=True):
        assert said.startswith(start)


def test_a_standard_is_stored_and_read_back_exactly() -> None:
    model = Logistic((0.1, 0.2), (1.0, 0.3), (0.5, -0.25, 1 / 3))
    nearest = Calibration(0.1, model, model, 0.3, 0.91, 0.95)
    standard = Standard(Rule.NEAREST, ("10 of 1500 items",), limit=0.91, nearest=nearest)

    assert standard_from(standard_to(standard)) == standard
    assert standard_from(None) is None
