from __future__ import annotations

import numpy as np
import pytest

from coldlm.data.canonical.control import COHORT, anywhere, within_cohorts


def test_every_text_moves_to_another_item_and_none_is_lost() -> None:
    for seed in range(5):
        source = anywhere(7, seed)
        assert sorted(source) == list(range(7))
        assert (source != np.arange(7)).all()


def test_seed_decides() -> None:
    times = np.zeros(16, np.int64)
    for control in (lambda seed: anywhere(16, seed), lambda seed: within_cohorts(times, 1, seed)):
        assert np.array_equal(control(1), control(1))
        assert not np.array_equal(control(1), control(2))


def test_a_single_item_keeps_its_text() -> None:
    assert anywhere(1, 0).tolist() == [0]
    assert within_cohorts(np.array([5]), 9, 0).tolist() == [0]
    assert within_cohorts(np.array([9]), 5, 0).tolist() == [0]


@pytest.fixture
def meets_at() -> np.ndarray:
    """400 items known before second 0, then days of five and items that enter alone."""
    draw = np.random.default_rng(0)
    known, days = draw.integers(-1000, 0, 400), np.repeat(np.arange(1, 21) * 50, 5)
    alone = draw.permutation(np.arange(2001, 2400))
    times = np.concatenate([known, days, alone])
    return times[draw.permutation(len(times))]


def test_nobody_reads_a_text_before_it_could_be_read(meets_at: np.ndarray) -> None:
    source = within_cohorts(meets_at, 0, 1)
    assert (source != np.arange(len(source))).all()
    late = meets_at >= 0
    assert (meets_at[source[late]] <= meets_at[late]).all()
    assert (meets_at[source[~late]] < 0).all()


def test_texts_stay_in_their_time(meets_at: np.ndarray) -> None:
    source = within_cohorts(meets_at, 0, 1)
    known, day = meets_at < 0, (meets_at > 0) & (meets_at <= 2000)
    # whoever enters at one moment, or was there before, is permuted: no text is lost
    for times in (meets_at[known], *(np.array([t]) for t in np.unique(meets_at[day]))):
        members = np.flatnonzero(np.isin(meets_at, times))
        assert sorted(source[members]) == members.tolist()
    order = np.argsort(np.argsort(meets_at))
    assert (np.abs(order[source] - order)[known] <= COHORT).all()
    alone = meets_at > 2000
    distance = (order - order[source])[alone]
    assert distance.min() >= 1
    assert distance.max() < 2 * COHORT
    # and a hundred in a row read a hundred different ones
    first = np.flatnonzero(alone)[np.argsort(meets_at[alone])][:COHORT]
    assert len(set(source[first].tolist())) == COHORT


def test_what_enters_later_cannot_change_who_reads_what(meets_at: np.ndarray) -> None:
    source = within_cohorts(meets_at, 0, 1)
    for cut in (1, 500, 2200):
        late = meets_at >= cut
        other = meets_at.copy()
        other[late] = np.random.default_rng(1).integers(cut, 10**6, late.sum())
        assert np.array_equal(within_cohorts(other, 0, 1)[~late], source[~late])
