from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldlm.asof.catalogue import Catalogue
from coldlm.core.tables import UNKNOWN, Dataset

MakeData = Callable[..., Dataset]

EVENTS = [
    (0, 0, 10),
    (0, 1, 20, False),
    (1, 0, 20),
    (0, 2, 20),
    (0, 0, 30),
]
"""(user, item, time[, is positive])."""

codes, times = st.integers(0, 3), st.integers(0, 30)
event_lists = st.lists(st.tuples(codes, codes, times, st.booleans()), min_size=1, max_size=25)


def _pairs(catalogue: Catalogue, user: int, time: int, block: bool = False) -> list[int]:
    rows, items = catalogue.had(np.array([user]), np.array([time]), block)
    assert not rows.any()
    return sorted(items.tolist())


def test_an_item_with_a_release_time_is_a_candidate_from_it_on_taken_or_not(
    make_data: MakeData,
) -> None:
    catalogue = Catalogue(make_data([(0, 0, 50)], items=2, released={0: 10, 1: 40}))
    assert catalogue.enters_at.tolist() == [10, 40]
    at = np.array([9, 10, 39, 40, 51])
    assert catalogue.released(at)[:, 0].tolist() == [False, True, True, True, True]
    assert catalogue.released(at)[:, 1].tolist() == [False, False, False, True, True]


def test_an_item_without_a_release_time_enters_after_its_first_event_only(
    make_data: MakeData,
) -> None:
    catalogue = Catalogue(make_data([(0, 0, 50), (1, 0, 90)], items=2))
    assert catalogue.first_event[0] == 50
    assert catalogue.released(np.array([49, 50, 51]))[:, 0].tolist() == [False, False, True]
    assert not catalogue.released(np.array([0, 10**12]))[:, 1].any()  # nobody ever met item 1


def test_an_event_of_any_label_lets_its_item_in(make_data: MakeData) -> None:
    assert Catalogue(make_data([(0, 0, 50, False), (0, 0, 60)])).enters_at.tolist() == [51]


def test_an_item_met_before_its_release_time_enters_after_that_event(make_data: MakeData) -> None:
    assert Catalogue(make_data([(0, 0, 50)], released={0: 70})).enters_at.tolist() == [51]


def test_an_item_leaves_when_its_time_to_live_is_over(make_data: MakeData) -> None:
    data = make_data([(0, 0, 50), (0, 1, 5)], items=3, released={0: 10}, ttl_seconds=30)
    catalogue = Catalogue(data)
    assert catalogue.leaves_at.tolist() == [40, 36, UNKNOWN]
    assert catalogue.released(np.array([10, 39, 40]))[:, 0].tolist() == [True, True, False]


def test_without_a_time_to_live_nothing_leaves(make_data: MakeData) -> None:
    assert (Catalogue(make_data(EVENTS)).leaves_at == UNKNOWN).all()


def test_a_user_has_had_what_was_met_strictly_earlier_with_any_label(make_data: MakeData) -> None:
    catalogue = Catalogue(make_data(EVENTS))
    assert _pairs(catalogue, 0, 10) == []
    assert _pairs(catalogue, 0, 20) == [0]
    assert _pairs(catalogue, 0, 21) == [0, 1, 2]
    assert _pairs(catalogue, 1, 99) == [0]


def test_the_block_itself_is_added_on_request(make_data: MakeData) -> None:
    catalogue = Catalogue(make_data(EVENTS))
    assert _pairs(catalogue, 0, 20, block=True) == [0, 1, 2]
    assert _pairs(catalogue, 0, 15, block=True) == [0]


def test_where_items_repeat_only_the_block_itself_leaves(make_data: MakeData) -> None:
    catalogue = Catalogue(make_data(EVENTS, repeats=True))
    assert _pairs(catalogue, 0, 99) == []
    assert _pairs(catalogue, 0, 20, block=True) == [1, 2]
    assert _pairs(catalogue, 0, 25, block=True) == []
    assert catalogue.mask(np.array([0]), np.array([99])).all()


def test_the_mask_of_a_toy_by_eye(make_data: MakeData) -> None:
    catalogue = Catalogue(make_data(EVENTS, items=4, released={3: 15}))
    users, at = np.array([0, 1, 0, 1]), np.array([11, 20, 25, 25])
    assert catalogue.mask(users, at).tolist() == [
        # item 0 is out, had; 1 and 2 have not entered; 3 is not released
        [
            False,
            False,
            False,
            False,
        ],
        [True, False, False, True],  # user 1 meets item 0 only now
        [False, False, False, True],  # user 0 has had 0, 1 and 2
        [False, True, True, True],
    ]


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("ttl_seconds", [None, 8.0])
@given(events=event_lists, users=st.lists(codes, min_size=1, max_size=6), data=st.data())
def test_candidates_equal_a_recount_of_the_raw_events(
    make_data: MakeData,
    repeats: bool,
    ttl_seconds: float | None,
    events: list[tuple[int, int, int, bool]],
    users: list[int],
    data: st.DataObject,
) -> None:
    released = data.draw(st.dictionaries(codes, times))
    asked = data.draw(st.lists(st.integers(0, 35), min_size=len(users), max_size=len(users)))
    toy = make_data(
        events, users=4, items=4, released=released, repeats=repeats, ttl_seconds=ttl_seconds
    )
    catalogue = Catalogue(toy)
    expected = np.zeros((len(users), 4), bool)
    for q, (user, time) in enumerate(zip(users, asked, strict=True)):
        for item in range(4):
            met = [t for u, i, t, _ in events if i == item]
            entry = min([released.get(item, 10**9), *(t + 1 for t in met)])
            is_there = entry <= time and (ttl_seconds is None or time < entry + ttl_seconds)
            had = any((u, i) == (user, item) and t < time for u, i, t, _ in events)
            expected[q, item] = is_there and (repeats or not had)
    assert catalogue.mask(np.array(users), np.array(asked)).tolist() == expected.tolist()
    columns = np.array([3, 1])
    whole = catalogue.released(np.array(asked))
    assert np.array_equal(catalogue.released(np.array(asked), columns), whole[:, columns])
    log = toy.log
    known = [
        any((u, i) == (user, item) and t < time for u, i, t, _ in events)
        for user, item, time in zip(log.user, log.item, log.time, strict=True)
    ]
    assert catalogue.has_had(log.user, log.item, log.time).tolist() == known
