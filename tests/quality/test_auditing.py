"""What an audit may claim: its intervals hold the truth, whoever answers, however it is drawn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lookalike.classifier.calibration.intervals import lower_bound, upper_bound
from lookalike.errors import BadInput
from lookalike.quality.stats.audit_estimate import (
    Stratum,
    allocation,
    estimate,
    interval,
    lower,
    more_checks,
    strata_of,
    upper,
)

RUNS, CHECKS, LABELS = 100, 50, 3000

Floats = NDArray[np.float64]


def labels(truth: str, seed: int) -> tuple[Floats, NDArray[np.bool_]]:
    """How sure the machine is of LABELS labels, and which of them are wrong."""
    chance = np.random.default_rng([seed, len(truth)])
    confidence = chance.beta(8, 0.8, LABELS)
    rates = {
        "calibrated": 1 - confidence,
        "far too sure": np.minimum(3 * (1 - confidence), 1),
        "the surest are wrong": np.where(confidence > 0.99, 0.2, 0.01),
        "nearly all right": np.full(LABELS, 0.004),
    }
    return confidence, chance.random(LABELS) < rates[truth]


def sampled(
    confidence: Floats, said: NDArray[np.bool_], strata: int, seed: int, count: int = CHECKS
) -> list[Stratum]:
    """A sample as an audit draws it; `said` tells of which labels a person says they are wrong."""
    chance = np.random.default_rng([seed, strata])
    codes = strata_of(confidence, strata)
    sizes = np.bincount(codes).tolist()
    errors = [float(1 - confidence[codes == one].mean()) for one in range(len(sizes))]
    found = []
    for place, drawn in enumerate(allocation(sizes, errors, count)):
        chosen = chance.choice(np.flatnonzero(codes == place), drawn, replace=False)
        found.append(Stratum(0, 1, sizes[place], drawn, drawn, int(said[chosen].sum())))
    return found


def coverage(truth: str, strata: int, slips: float) -> tuple[float, float]:
    """How often, and how closely, the interval holds the true share of wrong labels.

    The person takes a right label for wrong, or a wrong one for right, as often as `slips`.
    """
    held, widths = 0, []
    for seed in range(RUNS):
        confidence, wrong = labels(truth, seed)
        said = wrong ^ (np.random.default_rng(seed).random(LABELS) < slips)
        found = estimate(sampled(confidence, said, strata, seed)).corrected(slips)
        held += found.low <= wrong.mean() <= found.high
        widths.append(found.high - found.low)
    return held / RUNS, float(np.mean(widths))


@pytest.mark.parametrize("slips", [0.0, 0.05])
@pytest.mark.parametrize("strata", [1, 4])
@pytest.mark.parametrize(
    "truth", ["calibrated", "far too sure", "the surest are wrong", "nearly all right"]
)
def test_the_interval_holds_the_share_in_93_of_100_audits_of_50(
    truth: str, strata: int, slips: float
) -> None:
    held, width = coverage(truth, strata, slips)

    assert held >= 0.93
    assert width < 0.5


def test_strata_make_the_estimate_err_less_where_confidence_tells_something() -> None:
    errors: dict[int, list[float]] = {1: [], 4: []}
    for seed in range(100):
        confidence, wrong = labels("far too sure", seed)
        for strata, missed in errors.items():
            rate = estimate(sampled(confidence, wrong, strata, seed)).rate
            assert rate is not None
            missed.append(rate - float(wrong.mean()))

    assert np.std(errors[4]) < np.std(errors[1])
    assert abs(np.mean(errors[4])) < 0.02


@st.composite
def strata(draw: st.DrawFn) -> list[Stratum]:
    found = []
    for _ in range(draw(st.integers(1, 4))):
        checked = draw(st.integers(0, 40))
        wrong = draw(st.integers(0, checked))
        found.append(Stratum(0, 1, draw(st.integers(40, 5000)), checked, checked, wrong))
    return found


def test_an_answer_that_is_as_often_wrong_as_right_tells_nothing() -> None:
    found = estimate([Stratum(0, 1, 4000, 50, 50, 5)])

    assert found.corrected(0.0) == interval([Stratum(0, 1, 4000, 50, 50, 5)])
    assert found.corrected(0.02).high < found.high
    with pytest.raises(BadInput, match=r"slips of 0\.5"):
        found.corrected(0.5)


@given(strata())
def test_the_estimate_lies_in_its_interval(drawn: list[Stratum]) -> None:
    found = estimate(drawn)

    assert 0 <= found.low <= found.high <= 1
    assert found.rate is None or found.low - 1e-9 <= found.rate <= found.high + 1e-9
    assert (found.rate is None) == any(not one.checked for one in drawn)


@given(st.integers(1, 200), st.data())
def test_one_stratum_is_bounded_by_clopper_and_pearson(checked: int, data: st.DataObject) -> None:
    wrong = data.draw(st.integers(0, checked))
    drawn = [Stratum(0, 1, 4000, checked, checked, wrong)]

    assert upper(drawn, 0.95) == upper_bound(wrong, checked, 0.95)
    assert lower(drawn, 0.95) == lower_bound(wrong, checked, 0.95)


@given(st.integers(1, 40), st.integers(0, 40), st.floats(0.6, 0.99))
def test_strata_that_are_alike_are_bounded_a_little_wider_than_one(
    half: int, wrong: int, confidence: float
) -> None:
    wrong = min(wrong, half)
    both = [Stratum(0, 1, 1000, half, half, wrong), Stratum(0, 1, 1000, half, half, wrong)]
    exact = upper_bound(2 * wrong, 2 * half, confidence)

    bound = upper(both, confidence)

    assert exact - 1e-6 <= bound <= exact + 0.6 / np.sqrt(half)
    if not wrong:
        assert bound == pytest.approx(exact, abs=1e-6)


def test_a_stratum_without_a_check_may_be_all_wrong() -> None:
    drawn = [Stratum(0, 0.5, 300, 0), Stratum(0.5, 1, 700, 700, 700, 0)]

    found = interval(drawn)

    assert 0.3 <= found.high < 0.31
    assert found.low == 0


def test_fewer_wrong_ones_never_make_a_higher_bound() -> None:
    bounds = [
        upper([Stratum(0, 1, 400, 15, 15, wrong), Stratum(0, 1, 1600, 35, 35, 2)], 0.95)
        for wrong in range(16)
    ]

    assert bounds == sorted(bounds)


@pytest.mark.parametrize("count", [1, 4])
def test_so_many_more_checks_bring_the_interval_to_the_width(count: int) -> None:
    confidence, wrong = labels("far too sure", 1)
    more = more_checks(sampled(confidence, wrong, count, 1), 0.06)

    after = interval(sampled(confidence, wrong, count, 2, CHECKS + more))

    assert more > 20
    assert (after.high - after.low) / 2 == pytest.approx(0.06, abs=0.02)


def test_no_more_checks_are_asked_for_than_there_are_labels() -> None:
    few = [Stratum(0, 1, 60, 50, 50, 5)]

    assert more_checks(few, 0.001) == 10
    assert more_checks(few, 0.5) == 0


def test_a_plan_for_a_very_narrow_interval_is_the_textbooks() -> None:
    more = more_checks([Stratum(0, 1, 2_000_000, 50, 50, 2)], 0.001)

    assert more == pytest.approx(1.96**2 * 0.0402 * 0.9598 / 0.001**2, rel=0.02)


@pytest.mark.parametrize("half_width", [0.0, 1.0, -0.1, float("nan")])
def test_a_half_width_that_is_none_is_refused(half_width: float) -> None:
    with pytest.raises(BadInput, match="half_width is"):
        more_checks([Stratum(0, 1, 60)], half_width)


@given(
    st.lists(st.tuples(st.integers(1, 500), st.floats(0, 1)), min_size=1, max_size=6),
    st.integers(6, 400),
)
def test_all_that_is_asked_for_is_shared_out_and_no_stratum_gets_more_than_it_has(
    given_strata: list[tuple[int, float]], count: int
) -> None:
    sizes = [size for size, _ in given_strata]

    shared = allocation(sizes, [error for _, error in given_strata], count)

    assert sum(shared) == min(count, sum(sizes))
    assert all(1 <= one <= size for one, size in zip(shared, sizes, strict=True))


def test_where_more_may_be_wrong_more_is_drawn() -> None:
    assert allocation([1000] * 3, [0.3, 0.05, 0.0], 60) == [34, 16, 10]


def test_strata_rise_with_confidence_and_tear_no_equal_ones_apart() -> None:
    confidence = np.array([0.9, 0.2, 0.9, 0.9, 0.4, 0.9, 0.1, 0.9])

    assert strata_of(confidence, 4).tolist() == [1, 0, 1, 1, 0, 1, 0, 1] or (
        np.ptp(strata_of(confidence, 4)[confidence == 0.9]) == 0
    )
    assert set(strata_of(np.full(9, 0.5), 5)) == {0}
