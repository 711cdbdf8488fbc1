"""Probabilities against what happened."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss

from coldlm.evaluate.calibration import BINS, calibration


def _pairs(n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    p = draw.beta(0.5, 2, n)
    return p, draw.random(n) < p


def test_probabilities_that_are_right_have_almost_no_error() -> None:
    p, taken = _pairs()
    found = calibration(p, taken)
    assert found.ece < 0.01
    assert found.ece_adaptive < 0.01
    assert sum(each.pairs for each in found.bins) == len(p)
    assert all(abs(each.said - each.taken) < 0.05 for each in found.bins if each.pairs > 500)


def test_log_loss_and_brier_are_those_of_scikit_learn() -> None:
    p, taken = _pairs(500)
    found = calibration(p, taken)
    assert found.log_loss == pytest.approx(log_loss(taken, p))
    assert found.brier == pytest.approx(brier_score_loss(taken, p))
    assert np.isfinite(calibration(np.array([0.0, 1.0]), np.array([True, False])).log_loss)


def test_too_sure_is_an_error_that_both_bins_see() -> None:
    p, taken = _pairs()
    sure = p**3 / (p**3 + (1 - p) ** 3)
    found = calibration(sure, taken)
    assert found.ece > 0.05
    assert found.ece_adaptive > 0.05
    assert found.brier > calibration(p, taken).brier


def test_one_probability_for_all_has_one_bin_and_the_base_rate_as_its_error() -> None:
    taken = np.arange(100) < 30
    found = calibration(np.full(100, 0.5), taken)
    assert [(each.said, each.pairs) for each in found.bins] == [(0.5, 100)]
    assert found.ece == found.ece_adaptive == pytest.approx(0.2)
    assert found.base_rate == 0.3


def test_the_order_of_pairs_changes_nothing_and_certainty_has_a_bin() -> None:
    p, taken = _pairs(300)
    p = np.append(np.round(p, 1)[1:], 1.0)  # many ties, and one that is certain
    order = np.random.default_rng(1).permutation(len(p))
    first, second = calibration(p, taken), calibration(p[order], taken[order])
    assert first.ece_adaptive == pytest.approx(second.ece_adaptive)
    assert first.plain()["bins"][-1]["said"] >= 1 - 1 / BINS
