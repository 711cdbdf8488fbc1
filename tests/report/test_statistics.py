"""Intervals that hold users and seeds: against brute force, by simulation, and at their edges."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from coldlm.core.errors import DataError
from coldlm.core.tables import Floats
from coldlm.report.statistics import (
    MIN_SEEDS,
    estimate,
    holm,
    is_small,
    seeds_needed,
    sign_flips,
)

Y = np.array(
    [
        [0.1, 0.4, 0.0, 0.3],
        [0.2, 0.5, 0.1, 0.1],
        [0.0, 0.7, 0.2, 0.2],
        [0.3, 0.3, 0.1, 0.4],
        [0.1, 0.6, 0.0, 0.0],
    ]
)
"""Five seeds, four users."""


def made_up(
    draw: np.random.Generator, seeds: int, users: int, *, of_seeds: float = 0.1, mean: float = 0.0
) -> Floats:
    """[S, U] with skewed users and heavy tails, as differences of nDCG have: per user as much chance
    as in MovieLens, ``of_seeds`` times as much per seed."""
    b = 0.5 * (draw.exponential(size=users) - 1)
    e = draw.standard_t(4, size=(seeds, users))
    panel: Floats = mean + of_seeds * draw.normal(size=(seeds, 1)) + b + e
    return panel


def test_the_error_is_that_of_the_crossed_model_by_brute_force() -> None:
    seeds, users = Y.shape
    mean = sum(Y[s, u] for s in range(seeds) for u in range(users)) / 20
    row = [sum(Y[s]) / users for s in range(seeds)]
    column = [sum(Y[:, u]) / seeds for u in range(users)]
    ms_a = users * sum((r - mean) ** 2 for r in row) / 4
    ms_b = seeds * sum((c - mean) ** 2 for c in column) / 3
    rest = sum(
        (Y[s, u] - row[s] - column[u] + mean) ** 2 for s in range(seeds) for u in range(users)
    )
    ms_e = rest / 12
    whole = ms_a + ms_b - ms_e
    found = estimate(Y)
    least = max((ms_a, 4), (ms_b, 3))
    freedom = whole**2 / (ms_a**2 / 4 + ms_b**2 / 3 + ms_e**2 / 12)
    variance, freedom = (whole, freedom) if whole > least[0] else least
    error = (variance / 20) ** 0.5
    half = stats.t.ppf(0.975, freedom) * error
    assert (found.mean, found.error) == pytest.approx((mean, error))
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half))
    assert found.p == pytest.approx(2 * stats.t.sf(mean / error, freedom))
    assert found.sd_seeds == pytest.approx(np.std(row, ddof=1))
    assert found.findable == pytest.approx(half + stats.t.ppf(0.8, freedom) * error)
    assert (found.users, found.seeds) == (4, 5)


def test_seeds_without_chance_leave_that_of_users_and_the_other_way_round() -> None:
    values = np.random.default_rng(0).exponential(size=30)
    same = estimate(np.stack([values] * 4))
    assert same.error == pytest.approx(values.std(ddof=1) / 30**0.5)
    by_seed = estimate(np.array([[0.1], [0.3], [0.2], [0.5]]) + np.zeros(30))
    assert by_seed.error == pytest.approx(np.std([0.1, 0.3, 0.2, 0.5], ddof=1) / 2)


@pytest.mark.parametrize("seeds", [MIN_SEEDS, 6])
@pytest.mark.parametrize("of_seeds", [0.0, 0.1])
def test_differences_that_are_none_are_called_one_in_2_to_6_of_100(
    seeds: int, of_seeds: float
) -> None:
    draw = np.random.default_rng(1)
    p = [estimate(made_up(draw, seeds, 150, of_seeds=of_seeds)).p for _ in range(1000)]
    assert 0.02 <= np.mean(np.array(p) < 0.05) <= 0.065
    # users alone, as if every seed were the same: wrong far more often
    alone = [
        estimate(made_up(draw, seeds, 150, of_seeds=0.3).mean(axis=0, keepdims=True))
        for _ in range(300)
    ]
    wrong = np.mean([not d.low <= 0 <= d.high for d in alone])
    assert wrong > 0.2


def test_an_interval_holds_the_true_mean_in_about_95_of_100_samples() -> None:
    draw = np.random.default_rng(2)
    found = [estimate(made_up(draw, 5, 100, mean=0.3)) for _ in range(400)]
    assert 0.92 < np.mean([d.low <= 0.3 <= d.high for d in found]) < 0.99


def test_one_seed_gives_an_interval_of_users_and_no_p() -> None:
    values = np.random.default_rng(0).exponential(size=30)
    found = estimate(values[None])
    half = stats.t.ppf(0.975, 29) * values.std(ddof=1) / 30**0.5
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half))
    assert np.isnan([found.p, found.p_seeds, found.sd_seeds, found.findable]).all()
    two = estimate(np.stack([values, values + 1]))
    assert np.isnan([two.p, two.p_seeds]).all()
    assert two.sd_seeds == pytest.approx(0.5**0.5)
    assert estimate(made_up(np.random.default_rng(0), MIN_SEEDS, 30)).p > 0


def test_values_that_are_not_there_or_not_finite() -> None:
    assert np.isnan([estimate(np.zeros((2, 0))).mean, estimate(np.zeros((3, 1))).low]).all()
    with pytest.raises(DataError, match="1 of 2 per-user values are not finite"):
        estimate(np.array([[0.1, np.inf]]))


def test_equal_rows_have_p_1_and_a_shift_that_nothing_moves_has_none() -> None:
    assert estimate(np.zeros((MIN_SEEDS, 20))).p == 1
    clear = estimate(np.full((MIN_SEEDS, 20), 0.01))
    assert (clear.mean, clear.low, clear.high, clear.p) == pytest.approx((0.01, 0.01, 0.01, 0))


def test_sign_flips_are_counted_one_by_one() -> None:
    means = np.array([0.3, -0.1, 0.2, 0.4])
    flipped = [abs(np.mean(means * signs)) for signs in product((1, -1), repeat=4)]
    assert sign_flips(means) == pytest.approx(np.mean(np.array(flipped) >= means.mean() - 1e-12))
    assert sign_flips(np.arange(1.0, 6)) == 2**-4
    assert sign_flips(np.arange(1.0, 7)) == 2**-5


@pytest.mark.parametrize("comparisons", [1, 2, 10, 40])
def test_as_many_seeds_are_needed_as_let_sign_flips_reach_a_claim(comparisons: int) -> None:
    seeds = seeds_needed(comparisons)
    for n, reaches in ((seeds, True), (seeds - 1, False)):
        assert (comparisons * sign_flips(np.arange(1.0, n + 1)) <= 0.05) == reaches


def test_holm_follows_the_hand_example() -> None:
    # ordered: .005 x 4 = .02, .01 x 3 = .03, .03 x 2 = .06, .04 x 1 = .04 but never below the one
    # before: .06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
    assert holm([0.01, float("nan"), 0.04]) == pytest.approx([0.02, np.nan, 0.04], nan_ok=True)


def test_twenty_users_with_fifty_events_are_not_small() -> None:
    assert [is_small(*n) for n in ((20, 50), (19, 500), (200, 49))] == [False, True, True]
