"""Intervals against brute force, Holm by hand."""

from __future__ import annotations

import numpy as np
import pytest

from coldlm.core.errors import DataError
from coldlm.core.seeding import generator
from coldlm.report import statistics
from coldlm.report.statistics import (
    difference,
    differences,
    holm,
    interval,
    smallest_effect,
    wilcoxon,
)

VALUES = np.array([0.0, 0.0, 0.1, 0.3, 0.05, 0.0, 0.2])


def test_interval_equals_a_brute_force_bootstrap() -> None:
    random = generator(5, "bootstrap")
    means = [np.mean([VALUES[i] for i in random.integers(0, 7, 7)]) for _ in range(400)]
    assert interval(VALUES, draws=400, seed=5) == pytest.approx(
        tuple(np.percentile(means, [2.5, 97.5])), abs=1e-12
    )


def test_interval_does_not_depend_on_the_chunk_size(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = interval(VALUES, draws=1000)
    monkeypatch.setattr(statistics, "CHUNK", 50)
    assert interval(VALUES, draws=1000) == pytest.approx(whole, abs=1e-15)


def test_interval_covers_the_true_mean_in_about_95_of_100_samples() -> None:
    random = np.random.default_rng(0)
    intervals = [interval(random.normal(0.3, 1, 80), draws=500, seed=i) for i in range(200)]
    assert 0.90 < np.mean([low <= 0.3 <= high for low, high in intervals]) < 0.99


def test_interval_of_no_users_is_nan() -> None:
    assert np.isnan(interval(np.array([]))).all()


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(DataError, match="1 of 2 per-user values are not finite"):
        interval(np.array([0.1, np.inf]))


def test_difference_is_paired_so_that_shared_luck_cancels() -> None:
    luck = np.random.default_rng(1).exponential(1, 100)
    found = difference(luck + 0.01, luck, draws=1000)
    assert (found.mean, found.low, found.high) == pytest.approx((0.01, 0.01, 0.01))
    assert found.users == 100
    assert found.p == pytest.approx(2 / 1001)


def test_difference_of_equal_vectors_has_p_1() -> None:
    assert difference(VALUES, VALUES, draws=100).p == 1.0


def test_a_pair_is_measured_alike_alone_and_among_others_of_other_length() -> None:
    random = np.random.default_rng(2)
    pairs = [(random.exponential(1, n), random.exponential(1.1, n)) for n in (40, 7, 40, 12)]
    for found, pair in zip(differences(pairs, 500, seed=3, level=1.0), pairs, strict=True):
        alone = difference(*pair, 500, seed=3)
        assert (found.mean, found.users) == (alone.mean, alone.users)
        assert (found.low, found.high, found.p) == pytest.approx(
            (alone.low, alone.high, alone.p), abs=1e-12
        )


@pytest.mark.parametrize("length", [1, 10, 300])
def test_a_clear_difference_shows_in_a_table_of_any_length(length: int) -> None:
    clear = (np.linspace(1, 2, 30), np.zeros(30))
    found = holm([d.p for d in differences([clear] * length, draws=100)])
    assert max(found) < 0.0101 * 2
    assert found[0] == pytest.approx(length * 2 / (max(100, 200 * length) + 1))


@pytest.mark.parametrize("right", [VALUES[:3], np.array([])])
def test_vectors_of_unequal_length_are_refused(right: np.ndarray) -> None:
    with pytest.raises(DataError, match="align the vectors by user"):
        difference(VALUES[:0] if not len(right) else VALUES, right)


def test_holm_follows_the_hand_example() -> None:
    # ordered: .005 x 4 = .02, .01 x 3 = .03, .03 x 2 = .06, .04 x 1 = .04 but never below the one
    # before: .06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_wilcoxon_of_no_difference_is_1_and_of_a_clear_one_small() -> None:
    assert wilcoxon(VALUES, VALUES) == 1.0
    assert wilcoxon(np.arange(20.0) + 1, np.zeros(20)) < 0.001


def test_smallest_effect_follows_its_formula() -> None:
    differences = np.array([-1.0, 1.0, -1.0, 1.0])  # sd with n - 1: sqrt(4 / 3)
    assert smallest_effect(differences) == pytest.approx(2.8 * (4 / 3) ** 0.5 / 2)
    assert np.isnan(smallest_effect(differences[:1]))
