"""By which rule a field judges, on what ground it labels, and what it says is missing."""

import json

import pytest

from lookalike.classifier.calibration.decision_rule import (
    MAX_ITEMS,
    DecisionRule,
    Ground,
    Method,
    decision_rule_from,
    decision_rule_to,
    method_for,
)
from lookalike.classifier.calibration.logistic import Logistic
from lookalike.classifier.calibration.nearest_rule import Calibration


@pytest.mark.parametrize(
    ("counts", "items", "rule", "missing"),
    [
        ([2, 2], 4, Method.LANDSCAPE, []),
        ([3] * 20, MAX_ITEMS, Method.LANDSCAPE, []),
        ([9, 1], 10, Method.SUGGEST, ["2 labels with 2 references each (has 1)"]),
        ([1] * 20, 2000, Method.SUGGEST, ["2 labels with 2 references each (has 0)"]),
        ([], 0, Method.SUGGEST, ["2 labels with 2 references each (has 0)"]),
        ([3] * 20, MAX_ITEMS + 1, Method.NEAREST, [f"{MAX_ITEMS + 1} items with 20 labels are"]),
        ([3] * 1001, 10**6, Method.NEAREST, ["1000000 items with 1001 labels are too many"]),
    ],
)
def test_the_landscape_rule_needs_two_labels_and_not_too_much(
    counts: list[int], items: int, rule: Method, missing: list[str]
) -> None:
    chosen, lacks = method_for(counts, items)

    assert chosen is rule
    assert len(lacks) == len(missing)
    for said, start in zip(lacks, missing, strict=True):
        assert said.startswith(start)


@pytest.mark.parametrize(
    ("standard", "ground"),
    [
        (DecisionRule(Method.SUGGEST), Ground.NONE),
        (DecisionRule(Method.LANDSCAPE, limit=2.0), Ground.NONE),
        (DecisionRule(Method.LANDSCAPE, limit=0.9), Ground.ESTIMATE),
        (DecisionRule(Method.LANDSCAPE, limit=0.9, certified=True), Ground.CERTIFICATE),
        (DecisionRule(Method.LANDSCAPE, limit=2.0, limits={"cat": 0.8}), Ground.ESTIMATE),
    ],
)
def test_it_labels_by_itself_where_any_limit_can_be_reached(
    standard: DecisionRule, ground: Ground
) -> None:
    assert standard.ground is ground


def test_a_standard_is_stored_and_read_back_exactly() -> None:
    model = Logistic((0.1, 0.2), (1.0, 0.3), (0.5, -0.25, 1 / 3))
    nearest = Calibration(0.1, model, model, 0.3, 0.91, 0.95)
    standard = DecisionRule(
        Method.NEAREST,
        ("10 more",),
        limit=0.91,
        nearest=nearest,
        limits={"cat": 1 / 3},
        certified=True,
    )

    stored = json.loads(json.dumps(decision_rule_to(standard)))

    assert decision_rule_from(stored) == standard
    assert decision_rule_from(None) is None
