"""Which events each policy chooses, on logs that the eye can check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from coldlm.core.tables import Floats, Ints, sorted_log
from coldlm.online.data import Cumulative, NewOnly, Oracle, Past, Policy, Shuffled, Window
from coldlm.online.replay import Keep, Replay


def past(
    learned: int,
    visible: int,
    *,
    number: int = 1,
    seed: int = 0,
    users: list[int] | None = None,
    items: list[int] | None = None,
    vectors: Callable[[Ints], Floats] | None = None,
    n: int = 100,
) -> Past:
    """Events 0, 1, 2, ... of one second each; all of user 0 and item 0 unless said otherwise."""
    zeros = [0] * len(users or items or range(n))
    user, item = (np.array(column or zeros, np.int64) for column in (users, items))
    time = np.arange(len(user))
    log = sorted_log(user, item, time, np.ones(len(user)), np.ones(len(user), bool))

    def unseen() -> Ints:
        raise AssertionError("only the oracle may look")

    def no_vectors(rows: Ints) -> Floats:
        raise AssertionError("only herding may look")

    return Past(log, learned, visible, number, seed, unseen, vectors or no_vectors)


def test_new_only_is_what_has_become_visible() -> None:
    assert NewOnly().choose(past(4, 7)).tolist() == [4, 5, 6]
    assert NewOnly().choose(past(4, 4)).tolist() == []


def test_a_window_is_the_last_events_learned_from_or_not() -> None:
    assert Window(n=3).choose(past(6, 7)).tolist() == [4, 5, 6]
    assert Window(n=3).choose(past(0, 2)).tolist() == [0, 1]


def test_cumulative_is_everything_visible() -> None:
    assert Cumulative().choose(past(6, 9)).tolist() == list(range(9))


def test_shuffled_is_as_many_of_everything() -> None:
    one, again, other, next_one = (
        Shuffled().choose(past(80, 100, **keys)).tolist()  # type: ignore[arg-type]
        for keys in ({}, {}, {"seed": 1}, {"number": 2})
    )
    assert one == again == sorted(set(one))
    assert len(one) == 20
    assert min(one) < 80
    assert one != other
    assert one != next_one


def test_the_oracle_learns_from_what_comes() -> None:
    its = past(4, 7)
    coming = Past(**{**vars(its), "coming": lambda: np.array([7, 8, 9])})
    assert Oracle().choose(coming).tolist() == [7, 8, 9]


# --- replay -----------------------------------------------------------------------------------------------------------


def buffer(policy: Policy) -> list[int]:
    return policy.memory["buffer"].tolist()


def kept(keep: Keep, size: int, learned: int, **keys: Any) -> list[int]:
    """What is left in a buffer that is filled with the first ``learned`` events."""
    policy = Replay(keep=keep, size=size)
    policy.choose(past(learned, learned, **keys))
    return buffer(policy)


def test_old_events_are_drawn_from_what_was_there_before() -> None:
    policy = Replay(size=10, share=0.5)
    chosen = policy.choose(past(20, 24))
    old = [row for row in chosen.tolist() if row < 20]
    assert chosen.tolist()[-4:] == [20, 21, 22, 23]
    assert len(old) == 4
    assert len(buffer(policy)) == 10


@pytest.mark.parametrize(("share", "old"), [(0.0, 0), (0.2, 3), (0.5, 12), (0.75, 36), (0.95, 50)])
def test_share_is_of_old_ones_in_all(share: float, old: int) -> None:
    """Never more than the buffer has."""
    chosen = Replay(size=50, share=share).choose(past(80, 92))
    assert len(chosen) == 12 + old
    assert (chosen < 80).sum() == old
    assert len(set(chosen.tolist())) == len(chosen)


@pytest.mark.parametrize("keep", ["reservoir", "recency", "per_user", "per_item", "popularity"])
def test_a_buffer_is_never_larger_than_it_may_be(keep: Keep) -> None:
    draw = np.random.default_rng(0)
    codes = {"users": draw.integers(0, 4, 100).tolist(), "items": draw.integers(0, 7, 100).tolist()}
    policy, seen = Replay(keep=keep, size=15), 0
    for number, visible in enumerate((5, 9, 30, 31, 100), 1):
        policy.choose(past(seen, visible, number=number, **codes))
        assert buffer(policy) == sorted(set(buffer(policy)))
        assert len(buffer(policy)) == min(15, visible)
        assert max(buffer(policy)) < visible
        seen = visible


def test_a_reservoir_is_a_uniform_sample_of_all_that_was_seen() -> None:
    """However it came in; over many seeds, every event is as likely as every other."""
    n, size, seeds = 40, 10, 400
    count = np.zeros(n)
    for seed in range(seeds):
        policy, seen = Replay(size=size), 10
        for number, visible in enumerate((12, 25, 40), 1):
            policy.choose(past(seen, visible, number=number, seed=seed))
            seen = visible
        count[policy.memory["buffer"]] += 1
        assert buffer(policy) == kept("reservoir", size, n, seed=seed)
    expected, deviation = seeds * size / n, np.sqrt(seeds * size / n * (1 - size / n))
    assert abs(count - expected).max() < 4 * deviation
    chi_square = ((count - expected) ** 2 / expected).sum() / (1 - size / n)
    assert 15 < chi_square < 75  # of about 39


def test_recency_keeps_the_latest() -> None:
    assert kept("recency", 3, 9) == [6, 7, 8]


def test_per_user_keeps_the_latest_of_each() -> None:
    #              0  1  2  3  4  5  6  7  8
    users = [0, 0, 1, 0, 2, 0, 0, 1, 0]
    assert kept("per_user", 3, 9, users=users) == [4, 7, 8]
    assert kept("per_user", 5, 9, users=users) == [2, 4, 6, 7, 8]
    # user 2 has no more: the rest is shared by those who have
    assert kept("per_user", 6, 9, users=users) == [2, 4, 5, 6, 7, 8]


def test_per_item_keeps_the_latest_of_each() -> None:
    items = [3, 3, 3, 1, 3, 3, 2]
    assert kept("per_item", 3, 7, items=items) == [3, 5, 6]
    assert kept("per_item", 4, 7, items=items) == [3, 4, 5, 6]


def test_popularity_keeps_in_proportion_to_the_items_events() -> None:
    """One place, three items with 6, 3 and 1 events: the draw is by event, so that an item is kept
    in proportion to its events times their number."""
    items = [0] * 6 + [1] * 3 + [2]
    count = np.zeros(3)
    for seed in range(1500):
        (row,) = kept("popularity", 1, 10, items=items, seed=seed)
        count[items[row]] += 1
    expected = np.array([36, 9, 1]) / 46
    assert abs(count / 1500 - expected).max() < 4 * np.sqrt(0.25 / 1500)


def nearest_mean(vectors: np.ndarray, n: int) -> list[int]:
    """One after the other the vector with which the mean of the chosen comes nearest to that of
    all."""
    chosen: list[int] = []
    for _ in range(n):
        rest = [i for i in range(len(vectors)) if i not in chosen]
        far = [
            np.linalg.norm(vectors.mean(0) - vectors[[*chosen, i]].mean(0)).round(12) for i in rest
        ]
        chosen.append(rest[int(np.argmin(far))])
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_herding_keeps_the_mean_of_each_items_users(seed: int) -> None:
    draw = np.random.default_rng(seed)
    items = draw.permutation([0] * 12 + [1] * 6 + [2] * 3).tolist()
    table = draw.normal(size=(21, 3))
    found = kept("herding", 7, 21, items=items, vectors=lambda rows: table[rows])
    expected = []
    for item, places in ((0, 4), (1, 2), (2, 1)):
        rows = np.flatnonzero(np.array(items) == item)
        expected += rows[nearest_mean(table[rows], places)].tolist()
    assert found == sorted(expected)


def test_places_that_whole_shares_leave_go_to_the_largest_remainders() -> None:
    items = [0] * 5 + [1] * 3 + [2] * 2  # of 4 places: 2, 1.2, 0.8
    table = np.random.default_rng(0).normal(size=(10, 2))
    found = kept("herding", 4, 10, items=items, vectors=lambda rows: table[rows])
    assert np.bincount(np.array(items)[found]).tolist() == [2, 1, 1]


def test_what_is_remembered_is_all_that_matters() -> None:
    """A policy with the memory of another goes on as it would have."""
    first, second = Replay(size=10), Replay(size=10)
    first.choose(past(20, 30, number=1))
    second.memory = {name: rows.copy() for name, rows in first.memory.items()}
    one, two = (policy.choose(past(30, 50, number=2)).tolist() for policy in (first, second))
    assert one == two
    assert buffer(first) == buffer(second)
