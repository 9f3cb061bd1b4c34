"""Recalibration: what a random sample shows corrects every probability, and never spreads them."""

from __future__ import annotations

import numpy as np
import pytest

from lookalike.classifier.calibration.recalibration import (
    UNCHANGED,
    fit_recalibration,
    recalibrated,
)

SURE, DOUBTFUL = np.full(20, 0.98), np.full(20, 0.6)


def fitted(
    p: np.ndarray, wrong: int, *, error_probability: float = 0.0, trust: float = 0.0
) -> tuple[float, float]:
    """Return the line for a sample of which the last are wrong."""
    right = np.arange(len(p)) < len(p) - wrong
    return fit_recalibration(p, right, np.full(len(p), error_probability), trust=trust)


def test_without_a_sample_nothing_changes() -> None:
    assert fitted(np.empty(0), 0) == UNCHANGED
    assert recalibrated(UNCHANGED, SURE) is SURE


@pytest.mark.parametrize("wrong", [10, 15, 19])
def test_wrong_answers_among_the_doubtful_make_the_sure_no_surer(wrong: int) -> None:
    line = fitted(np.append(np.full(20, 0.9), DOUBTFUL), wrong)

    assert line[0] == 1.0
    assert recalibrated(line, np.array([0.9]))[0] < 0.9


def test_wrong_answers_among_the_sure_lower_them_and_keep_the_order() -> None:
    line = fitted(np.append(DOUBTFUL, SURE), 5)
    low, high = recalibrated(line, np.array([0.6, 0.98]))

    assert low < high < 0.98


def test_all_right_the_mean_is_that_of_the_rule_of_succession() -> None:
    p = np.linspace(0.6, 0.9, 24)

    after = recalibrated(fitted(p, 0), p)

    assert after.mean() == pytest.approx(24 / 25, abs=0.01)


def test_where_people_err_a_wrong_answer_counts_less() -> None:
    strict, lenient = fitted(SURE, 1), fitted(SURE, 1, error_probability=0.05)

    assert recalibrated(strict, SURE)[0] < recalibrated(lenient, SURE)[0]


def test_a_small_sample_changes_what_is_trusted_less() -> None:
    for wrong in (0, 1, 5):
        trusted, untrusted = (recalibrated(fitted(SURE, wrong, trust=t), SURE)[0] for t in (30, 0))

        assert abs(trusted - 0.98) < abs(untrusted - 0.98)


def test_a_large_sample_is_believed_although_the_probabilities_were_trusted() -> None:
    p = np.full(1_000, 0.98)

    assert recalibrated(fitted(p, 200, trust=30), p)[0] == pytest.approx(0.8, abs=0.02)
