"""What may be claimed from counted answers, held to the definition of each bound."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lookalike.classifier.calibration.intervals import (
    certifies,
    checks_needed,
    lower_bound,
    upper_bound,
    wilson,
)

CONFIDENCES = st.floats(0.5, 0.99)


@st.composite
def counted(draw: st.DrawFn) -> tuple[int, int]:
    checked = draw(st.integers(1, 300))
    return draw(st.integers(0, checked)), checked


@given(counted(), CONFIDENCES)
def test_at_the_lower_bound_so_many_right_ones_are_as_rare_as_the_risk(
    answers: tuple[int, int], confidence: float
) -> None:
    right, checked = answers

    bound = lower_bound(right, checked, confidence)

    ways = [math.comb(checked, hits) * bound**hits for hits in range(right, checked + 1)]
    rare = math.fsum(
        way * (1 - bound) ** (checked - hits)
        for hits, way in zip(range(right, checked + 1), ways, strict=True)
    )
    assert rare == pytest.approx(1 - confidence) if right else bound == 0


@given(counted(), CONFIDENCES, st.floats(0.05, 0.99))
def test_what_certifies_is_what_the_lower_bound_reaches(
    answers: tuple[int, int], confidence: float, target: float
) -> None:
    bound = lower_bound(*answers, confidence)

    assume(abs(bound - target) > 1e-9)
    assert certifies(*answers, target, confidence) is (bound > target)


@given(counted(), CONFIDENCES)
def test_the_upper_bound_mirrors_the_lower_one(answers: tuple[int, int], confidence: float) -> None:
    hits, checked = answers

    upper = upper_bound(hits, checked, confidence)

    assert upper == pytest.approx(1 - lower_bound(checked - hits, checked, confidence))
    assert hits / checked <= upper <= 1


@pytest.mark.parametrize(("confidence", "needed"), [(0.90, [45, 77, 105, 132]), (0.95, [59, 93])])
def test_the_checks_for_95_percent_are_those_of_the_tables(
    confidence: float, needed: list[int]
) -> None:
    assert [checks_needed(0.95, confidence, wrong) for wrong in range(len(needed))] == needed


@given(st.floats(0.05, 0.99), CONFIDENCES, st.integers(0, 20))
def test_the_checks_needed_are_enough_and_one_fewer_is_not(
    target: float, confidence: float, wrong: int
) -> None:
    needed = checks_needed(target, confidence, wrong)

    rounding = 1e-12  # the bound is found by halving
    assert lower_bound(needed - wrong, needed, confidence) >= target - rounding
    assert lower_bound(needed - 1 - wrong, needed - 1, confidence) < target + rounding


@given(counted(), CONFIDENCES)
def test_a_wilson_interval_holds_the_share_and_stays_within_0_and_1(
    answers: tuple[int, int], confidence: float
) -> None:
    hits, count = answers

    interval = wilson(hits, count, confidence)

    assert 0 <= interval.low <= hits / count + 1e-9
    assert hits / count - 1e-9 <= interval.high <= 1


def test_wilson_of_nothing_tells_nothing() -> None:
    interval = wilson(0, 0, 0.9)

    assert (interval.low, interval.high) == (0, 1)


def test_wilson_agrees_with_its_table() -> None:
    interval = wilson(10, 100, 0.95)

    assert (interval.low, interval.high) == pytest.approx((0.0552, 0.1744), abs=1e-4)
