"""Who is shown which events of, on a log that the eye can check."""

from __future__ import annotations

import doctest
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import coldlm.split.k_shot
from coldlm.asof.catalogue import Catalogue
from coldlm.core.tables import STREAM, TRAIN, VALIDATION, Dataset, Split
from coldlm.split.k_shot import SIDES, Plan, Side, make_plan, midpoint
from coldlm.split.queries import ask, cold

MakeData = Callable[..., Dataset]

T_TEST, M = 10, 20
EVENTS = [
    (0, 0, 5),  # 0, train
    (1, 0, 6),  # 1, validation
    (2, 1, 10),  # 2, the stream: item 1 is new, and so are users 2, 3 and 4
    (3, 1, 11),  # 3
    (2, 1, 11, False),  # 4, no positive
    (2, 0, 12),  # 5
    (0, 2, 12),  # 6, item 2 is new, too, but has one event only
    (2, 1, 13),  # 7
    (3, 1, 20),  # 8, half of the stream's 13 events: the midpoint
    (3, 0, 20),  # 9, in the same block
    (0, 3, 21),  # 10, item 3 was not met before the midpoint
    (1, 2, 22),  # 11
    (4, 1, 23),  # 12
    (4, 3, 23),  # 13
    (2, 3, 24),  # 14
]

codes = st.integers(0, 3)
event_lists = st.lists(
    st.tuples(codes, codes, st.integers(0, 12), st.booleans()), min_size=3, max_size=40
)


@pytest.fixture(scope="module")
def data(make_data: MakeData) -> Dataset:
    return make_data(EVENTS, repeats=True, released=dict.fromkeys(range(4), 0))


def _split(data: Dataset, t_val: int, t_test: int) -> Split:
    part = (data.log.time >= t_val).astype(np.int8) + (data.log.time >= t_test)
    return Split("time", t_val, t_test, part, np.array([t_test, data.log.time[-1] + 1]))


def _plan(data: Dataset, side: Side, most: int, t_val: int = 6, t_test: int = T_TEST) -> Plan:
    split = _split(data, t_val, t_test)
    stream = ask(data.log, Catalogue(data), split.rows(STREAM), split.edges)
    cold_users, cold_items = cold(data, split)
    return make_plan(
        side, data.log, split, stream, cold_items if side == "item" else cold_users, most
    )


def _known(plan: Plan, data: Dataset, shots: int) -> list[int]:
    return np.flatnonzero(plan.known(data.log, shots)).tolist()


def _asked(plan: Plan) -> list[int]:
    return plan.queries.event[plan.asked].tolist()


def test_the_examples_in_the_docstring_hold() -> None:
    found = doctest.testmod(coldlm.split.k_shot)
    assert found.attempted
    assert not found.failed


def test_of_an_item_the_first_k_positives_are_known_and_what_comes_after_the_kth_is_not(
    data: Dataset,
) -> None:
    plan = _plan(data, "item", most=2)
    assert plan.midpoint == M
    assert np.flatnonzero(plan.eligible).tolist() == [1]
    assert plan.n_cold == 3
    assert _known(plan, data, 0) == [0, 1, 5, 6]
    assert _known(plan, data, 1) == [0, 1, 2, 5, 6]
    assert _known(plan, data, 2) == [0, 1, 2, 3, 5, 6]
    assert _known(plan, data, 3) == [0, 1, 2, 3, 4, 5, 6, 7]


def test_of_a_user_the_first_k_positives_are_known_and_the_negatives_before_the_kth(
    data: Dataset,
) -> None:
    plan = _plan(data, "user", most=3)
    assert np.flatnonzero(plan.eligible).tolist() == [2]
    assert plan.n_cold == 3
    assert _known(plan, data, 0) == [0, 1, 3, 6]
    assert _known(plan, data, 1) == [0, 1, 2, 3, 6]
    assert _known(plan, data, 2) == [0, 1, 2, 3, 4, 5, 6]
    assert _known(plan, data, 3) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert _asked(plan) == [14]


def test_whoever_had_fewer_events_in_the_first_half_is_counted_out(data: Dataset) -> None:
    assert np.flatnonzero(_plan(data, "item", most=1).eligible).tolist() == [1, 2]
    assert np.flatnonzero(_plan(data, "item", most=3).eligible).tolist() == [1]
    nobody = _plan(data, "item", most=4)
    assert not nobody.eligible.any()
    assert nobody.n_cold == 3
    assert len(nobody.queries) == 0
    assert _known(nobody, data, 0) == list(range(8))


def test_the_positives_of_eligible_items_are_asked_in_queries_that_keep_their_whole_block(
    data: Dataset,
) -> None:
    plan = _plan(data, "item", most=2)
    assert plan.queries.event.tolist() == [8, 9, 12, 13]
    assert plan.queries.time.tolist() == [20, 23]
    assert _asked(plan) == [8, 12]


def test_the_block_at_the_midpoint_is_asked_whole_and_revealed_not_at_all(
    make_data: MakeData,
) -> None:
    # the stream's six events: half of them lies inside the block of time 20, which begins with the
    # second
    events = [(0, 0, 5), (0, 0, 6), (1, 1, 10), *((1, 1, 20) for _ in range(4)), (1, 1, 21)]
    data = make_data(events, repeats=True, released={0: 0, 1: 0})
    plan = _plan(data, "item", most=1)
    assert plan.midpoint == 20
    assert _known(plan, data, 1) == [0, 1, 2]
    assert _asked(plan) == [3, 4, 5, 6, 7]
    assert not _plan(data, "item", most=2).eligible.any()


def test_a_first_half_without_an_event_reveals_nothing(make_data: MakeData) -> None:
    data = make_data(
        [(0, 0, 5), (0, 0, 6), *((1, 1, 10) for _ in range(4))], repeats=True, released={0: 0, 1: 0}
    )
    assert midpoint(data.log, _split(data, 6, 10)) == 10
    assert not _plan(data, "item", most=1).eligible.any()


@pytest.mark.parametrize("side", SIDES)
@given(events=event_lists, most=st.integers(1, 4), shots=st.integers(0, 4))
def test_what_is_known_is_what_a_walk_through_the_log_says(
    make_data: MakeData, side: Side, events: list[tuple[int, int, int, bool]], most: int, shots: int
) -> None:
    data = make_data(events, users=4, items=4, repeats=True, released=dict.fromkeys(range(4), -1))
    log = data.log
    split = _split(data, 2, 4)
    if not (split.part == STREAM).any():
        return
    plan = _plan(data, side, most, 2, 4)
    past = {int(plan.code[row]) for row in split.rows(TRAIN, VALIDATION) if log.positive[row]}
    first_half = [row for row in split.rows(STREAM) if log.time[row] < plan.midpoint]
    had = Counter(int(plan.code[row]) for row in first_half if log.positive[row])
    eligible = {code for code in range(4) if code not in past and had[code] >= most}
    assert set(np.flatnonzero(plan.eligible).tolist()) == eligible
    expected, seen = [], Counter[int]()
    for row in range(len(log)):
        code = int(plan.code[row])
        is_first_half = split.t_test <= log.time[row] < plan.midpoint
        if log.time[row] < plan.midpoint and not (
            is_first_half and code in eligible and seen[code] >= shots
        ):
            expected.append(row)
        seen[code] += bool(is_first_half and log.positive[row])
    assert _known(plan, data, shots) == expected
    late = [
        row for row in split.rows(STREAM) if log.time[row] >= plan.midpoint and log.positive[row]
    ]
    assert sorted(_asked(plan)) == [row for row in late if int(plan.code[row]) in eligible]
    for code in eligible:
        known = np.flatnonzero(plan.known(log, min(shots, most)))
        assert int((log.positive[known] & (plan.code[known] == code)).sum()) == min(shots, most)
