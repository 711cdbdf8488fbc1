from __future__ import annotations

import doctest
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import coldlm.asof.context
from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import FEATURES, NEVER, SCALE, AsOf
from coldlm.asof.grouped import Grouped, _stable_order, ranges
from coldlm.core.tables import DAY, Dataset, Floats, Ints, Log, sorted_log

MakeData = Callable[..., Dataset]


def _ints(*values: int) -> Ints:
    return np.array(values, np.int64)


HALF_LIVES = (10.0, 100.0, 1000.0)
"""Seconds, of the toy data."""

codes, times = st.integers(0, 3), st.integers(0, 40)
event_lists = st.lists(st.tuples(codes, codes, times, st.booleans()), min_size=1, max_size=30)
time_lists = st.lists(st.integers(0, 45), min_size=1, max_size=8).map(np.array)
item_lists = st.lists(codes, min_size=1, max_size=4, unique=True).map(np.array)


def _as_of(data: Dataset, log: Log | None = None) -> AsOf:
    log = data.log if log is None else log
    return AsOf(
        log, len(data.users), len(data.items), Catalogue(data).enters_at, data.half_lives_days
    )


def _toy(make_data: MakeData, events: list[tuple[int, int, int, bool]]) -> Dataset:
    return make_data(events, users=4, items=4)


def _decayed(log: Log, item: int, time: int, half_life: float) -> float:
    past = log.time[log.positive & (log.item == item) & (log.time < time)]
    return float((0.5 ** ((time - past) / half_life)).sum())


def _count(log: Log, item: int, time: int) -> int:
    return int((log.positive & (log.item == item) & (log.time < time)).sum())


def _history(log: Log, user: int, time: int, length: int) -> list[int]:
    mine = log.item[log.positive & (log.user == user) & (log.time < time)].tolist()
    return (mine[::-1] + [-1] * length)[:length]


def _planes(log: Log, enters_at: Ints, times: Ints, items: Ints) -> Floats:
    """[F, Q, M] what ``AsOf.features`` should say, one event, one item and one time after the
    other."""
    out = np.zeros((len(FEATURES), len(times), len(items)))
    for q, time in enumerate(times):
        for m, item in enumerate(items):
            age = max(time - enters_at[item], 0) / DAY
            values = [
                *(_decayed(log, item, time, h) for h in HALF_LIVES),
                _count(log, item, time),
                age,
            ]
            out[:5, q, m] = np.log1p(values) / SCALE
            out[5, q, m] = _count(log, item, time) == 0
    return out


def test_the_examples_in_the_docstrings_hold() -> None:
    found = doctest.testmod(coldlm.asof.context)
    assert found.attempted >= 2
    assert not found.failed


def test_ranges_skips_empty_ones() -> None:
    values, owner = ranges(np.array([5, 2, 9]), np.array([5, 4, 10]))
    assert values.tolist() == [2, 3, 9]
    assert owner.tolist() == [1, 1, 2]


def test_grouped_counts_strictly_earlier_or_up_to_the_time() -> None:
    grouped = Grouped(np.array([1, 0, 1, 1]), np.array([10, 10, 20, 20]), 3)
    assert grouped.start.tolist() == [0, 1, 4, 4]  # code 0: row 1; code 1: rows 0 2 3; code 2: none
    assert grouped.row.tolist() == [1, 0, 2, 3]
    ask = np.array([5, 10, 11, 20, 21, 10**10])
    assert (grouped.before(np.array(1), ask) - 1).tolist() == [0, 0, 1, 1, 3, 3]
    assert (grouped.before(np.array(1), ask, inclusive=True) - 1).tolist() == [0, 1, 1, 3, 3, 3]
    assert (grouped.before(np.array(2), ask) - 4).tolist() == [0] * 6


def test_counts_and_decays_of_a_toy_by_eye(make_data: MakeData) -> None:
    data = make_data([(0, 0, 10), (1, 0, 20), (0, 1, 20), (1, 1, 20, False)])
    as_of, at = _as_of(data), np.array([10, 20, 21, 30])
    assert as_of.n_item(np.array([0]), at).tolist() == [0, 1, 2, 2]
    # the event that is no positive does not count
    assert as_of.n_item(np.array([1]), at).tolist() == [
        0,
        0,
        1,
        1,
    ]
    assert as_of.n_user(np.array([1]), at).tolist() == [0, 0, 1, 1]
    assert as_of.counts(at).tolist() == [[0, 0], [1, 0], [2, 1], [2, 1]]
    # item 0 at 30 with a half-life of 10: a half for the event at 20, a quarter for the one at 10
    assert as_of.decayed_counts(at, 0)[:, 0].tolist() == pytest.approx(
        [0, 0.5, 2**-1.1 + 2**-0.1, 0.75]
    )
    assert as_of.history(np.array([0, 0, 1]), np.array([20, 21, 21]), 2).tolist() == [
        [0, -1],
        [1, 0],
        [0, -1],
    ]


def test_age_counts_days_from_the_entry_and_is_zero_before_it(make_data: MakeData) -> None:
    data = make_data([(0, 0, 3 * DAY), (0, 1, 5 * DAY)], released={0: DAY})
    age = _as_of(data).features(np.array([0, 2 * DAY, 5 * DAY, 6 * DAY + 1]), np.array([0, 1]))[
        FEATURES.index("age")
    ]
    assert age[:, 0] == pytest.approx(np.log1p([0, 1, 4, 5 + 1 / DAY]) / SCALE, abs=1e-6)
    # enters one second after its event
    assert age[:, 1] == pytest.approx(np.log1p([0, 0, 0, 1]) / SCALE, abs=1e-6)


@given(events=event_lists, at=time_lists, items=item_lists)
def test_everything_known_equals_a_recount_of_the_raw_events(
    make_data: MakeData, events: list[tuple[int, int, int, bool]], at: Ints, items: Ints
) -> None:
    data = _toy(make_data, events)
    as_of, log, users = _as_of(data), data.log, np.arange(4)
    enters_at = Catalogue(data).enters_at
    assert as_of.n_item(items[None, :], at[:, None]).tolist() == [
        [_count(log, i, t) for i in items] for t in at
    ]
    assert as_of.counts(at).tolist() == [[_count(log, i, t) for i in range(4)] for t in at]
    for user in users:
        mine = log.time[log.positive & (log.user == user)]
        assert as_of.n_user(np.full(len(at), user), at).tolist() == [(mine < t).sum() for t in at]
        for length in (1, 3):
            expected = [_history(log, user, t, length) for t in at]
            assert as_of.history(np.full(len(at), user), at, length).tolist() == expected
    for h, half_life in enumerate(HALF_LIVES):
        expected = [[_decayed(log, i, t, half_life) for i in range(4)] for t in np.sort(at)]
        np.testing.assert_allclose(
            as_of.decayed_counts(np.sort(at), h), expected, rtol=1e-6, atol=1e-6
        )
    np.testing.assert_allclose(
        as_of.features(at, items), _planes(log, enters_at, at, items), atol=1e-6
    )


@given(events=event_lists, at=time_lists, items=item_lists, chunk=st.integers(1, 4))
def test_asking_in_chunks_gives_the_same_values(
    make_data: MakeData, events: list[tuple[int, int, int, bool]], at: Ints, items: Ints, chunk: int
) -> None:
    as_of = _as_of(_toy(make_data, events))
    parts = [at[first : first + chunk] for first in range(0, len(at), chunk)]
    whole, pieces = as_of.features(at, items), [as_of.features(part, items) for part in parts]
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, atol=1e-6)
    count = FEATURES.index("count")
    assert np.array_equal(
        np.concatenate([piece[count:] for piece in pieces], axis=1), whole[count:]
    )
    assert np.array_equal(np.concatenate([as_of.counts(part) for part in parts]), as_of.counts(at))


@given(events=event_lists, at=time_lists, slot=st.integers(0, 20), seed=st.integers(0, 9))
def test_own_features_are_to_the_bit_those_of_the_item_where_its_time_alone_is_asked(
    make_data: MakeData, events: list[tuple[int, int, int, bool]], at: Ints, slot: int, seed: int
) -> None:
    data = _toy(make_data, events)
    enters_at = Catalogue(data).enters_at
    as_of = AsOf(data.log, 4, 4, enters_at, data.half_lives_days, enters_at + slot)
    items = np.random.default_rng(seed).integers(0, 4, len(at))
    alone = [
        as_of.features(np.array([time]), np.array([item]))[:, 0, 0]
        for time, item in zip(at, items, strict=True)
    ]
    assert np.array_equal(as_of.own_features(at, items), np.stack(alone, axis=1))


@given(events=event_lists, at=st.integers(0, 40), items=item_lists)
def test_events_at_or_after_a_time_change_nothing_at_it(
    make_data: MakeData, events: list[tuple[int, int, int, bool]], at: int, items: Ints
) -> None:
    data = _toy(make_data, events)
    known, full = _as_of(data, data.log.rows(data.log.time < at)), _as_of(data)
    time, users = np.array([at]), np.arange(4)
    assert np.array_equal(known.features(time, items), full.features(time, items))
    assert np.array_equal(
        known.history(users, np.repeat(time, 4), 5), full.history(users, np.repeat(time, 4), 5)
    )
    assert np.array_equal(known.n_user(users, time), full.n_user(users, time))


def test_the_event_at_the_time_itself_is_not_known_but_one_second_later_it_is(
    make_data: MakeData,
) -> None:
    as_of = _as_of(make_data([(0, 0, 100)]))
    is_new = as_of.features(np.array([100, 101]), np.array([0]))[FEATURES.index("is_new")]
    assert is_new[:, 0].tolist() == [1, 0]


def test_a_memory_without_any_positive_event_knows_nothing(make_data: MakeData) -> None:
    data = make_data([(0, 0, 10), (1, 1, 20)])
    for log in (
        data.log.rows(slice(0)),
        sorted_log(*(np.array([0]),) * 3, np.zeros(1), np.zeros(1, bool)),
    ):
        as_of, at = _as_of(data, log), np.array([5, 50, 50])
        assert as_of.history(np.array([0, 1, 1]), at, 2).tolist() == [[-1, -1]] * 3
        assert not as_of.counts(at).any()
        assert not as_of.decayed_counts(at, 1).any()
        assert as_of.features(at, np.array([1, 0]))[-1].all()
        assert not as_of.n_user(np.array([0, 1, 1]), at).any()


def test_no_time_gives_no_feature(make_data: MakeData) -> None:
    data = make_data([(0, 0, 10), (1, 1, 20)])
    nothing = np.zeros(0, np.int64)
    assert _as_of(data).features(nothing, np.array([0, 1])).shape == (len(FEATURES), 0, 2)
    assert _as_of(data).own_features(nothing, nothing).shape == (len(FEATURES), 0)


def test_thousands_of_events_of_one_item_keep_their_decay() -> None:
    draw = np.random.default_rng(0)
    time = np.sort(draw.integers(0, 50_000, 3000))
    item = np.where(draw.random(3000) < 0.9, 0, 1)
    log = sorted_log(np.zeros(3000), item, time, np.ones(3000), np.ones(3000, bool))
    as_of = AsOf(log, 1, 2, np.zeros(2, np.int64), (100 / DAY, 1000 / DAY, 10_000 / DAY))
    at = np.linspace(0, 60_000, 40).astype(np.int64)
    for h, half_life in enumerate((100, 1000, 10_000)):
        expected = [[_decayed(log, i, t, half_life) for i in (0, 1)] for t in at]
        np.testing.assert_allclose(as_of.decayed_counts(at, h), expected, rtol=1e-5, atol=1e-6)
        shuffled = np.random.default_rng(1).permutation(len(at))
        logs = as_of.log_decayed_counts(at[shuffled], h)
        assert ((logs == NEVER) == (np.array(expected)[shuffled] == 0)).all()
        np.testing.assert_allclose(
            np.exp2(np.maximum(logs, -1000)), np.array(expected)[shuffled], rtol=1e-9, atol=1e-300
        )


def test_what_was_long_ago_is_still_told_apart_from_what_never_was() -> None:
    day = DAY
    log = sorted_log(_ints(0, 0, 0), _ints(0, 1, 1), _ints(0, 0, day), np.ones(3), np.ones(3, bool))
    as_of = AsOf(log, 1, 3, np.zeros(3, np.int64), (1.0, 7.0, 30.0))
    late = np.array([5000 * day])
    assert as_of.decayed_counts(late, 0).tolist() == [[0, 0, 0]]  # a number has its limits
    first, second, never = as_of.log_decayed_counts(late, 0)[0]
    assert second > first > never == NEVER
    assert first == pytest.approx(-5000)
    assert second == pytest.approx(-4999 + np.log2(1.5))


def test_logarithms_of_what_a_slot_hides_are_those_of_nothing(make_data: MakeData) -> None:
    data = make_data([(0, 0, 10), (1, 1, 20)])
    catalogue = Catalogue(data)
    as_of = AsOf(data.log, 2, 2, catalogue.enters_at, (1.0, 7.0, 30.0), masked_until=_ints(100, 0))
    found = as_of.log_decayed_counts(_ints(50, 100), 0)
    assert (found == NEVER).tolist() == [[True, False], [False, False]]


@pytest.mark.parametrize("largest", [9, 70_000, 1 << 33])
def test_events_are_grouped_in_their_order_however_many_groups_there_are(largest: int) -> None:
    code = np.random.default_rng(0).integers(0, largest, 5000)
    code[:2] = largest, 0
    assert np.array_equal(_stable_order(code), np.argsort(code, kind="stable"))
