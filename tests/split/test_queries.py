from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldlm.asof.catalogue import Catalogue
from coldlm.core.errors import DataError
from coldlm.core.tables import STREAM, TRAIN, VALIDATION, Dataset, Impressions, Queries, Split
from coldlm.split import cuts
from coldlm.split.queries import (
    ask,
    ask_lists,
    cold,
    count_lists,
    draw,
    on_probe,
    others_would_drop,
    trainable,
)

MakeData = Callable[..., Dataset]
Shown = Callable[..., Impressions]

codes = st.integers(0, 3)
event_lists = st.lists(
    st.tuples(codes, codes, st.integers(0, 30), st.booleans()), min_size=1, max_size=40
)

FIRST, GONE, REPEAT = (
    "first event of an item without a release time",
    "item past its time to live",
    "repeat of an item the user had",
)


def _ask(data: Dataset, first: int = 0, edges: list[int] | None = None) -> Queries:
    return ask(
        data.log,
        Catalogue(data),
        np.arange(first, len(data.log)),
        None if edges is None else np.array(edges),
    )


def _blocks(queries: Queries, data: Dataset) -> list[tuple[int, int, list[int]]]:
    parts = np.split(data.log.item[queries.event], queries.start[1:-1])
    return [
        (int(user), int(time), items.tolist())
        for user, time, items in zip(queries.user, queries.time, parts, strict=True)
    ]


def _split(data: Dataset, t_test: int) -> Split:
    part = np.where(data.log.time < t_test, VALIDATION, STREAM).astype(np.int8)
    part[: (part == VALIDATION).sum() // 2] = TRAIN
    return Split("time", t_test - 1, t_test, part, np.array([t_test, 10**6]))


def test_events_of_one_user_at_one_time_are_one_query(make_data: MakeData) -> None:
    events = [
        (1, 0, 20),
        (0, 1, 20),
        (1, 2, 20),  # same block as the first
        (0, 2, 10),
        (1, 1, 30),
        (1, 3, 30, False),  # no positive: not asked
    ]
    data = make_data(events, released=dict.fromkeys(range(4), 0))
    queries = _ask(data)
    assert _blocks(queries, data) == [(0, 10, [2]), (0, 20, [1]), (1, 20, [0, 2]), (1, 30, [1])]
    assert queries.window.tolist() == [-1] * 4
    assert not any(queries.counts.values())


def test_the_first_event_of_an_item_without_a_release_time_is_not_asked_but_counted(
    make_data: MakeData,
) -> None:
    data = make_data([(0, 0, 10), (1, 0, 10), (2, 0, 20), (0, 1, 10)], released={1: 10})
    queries = _ask(data)
    # at time 10 item 0 enters nobody's candidates, item 1 is just released
    assert _blocks(queries, data) == [(0, 10, [1]), (2, 20, [0])]
    assert queries.counts == {FIRST: 2, GONE: 0, REPEAT: 0}


@pytest.mark.parametrize(("repeats", "asked", "counted"), [(False, 1, 1), (True, 2, 0)])
def test_a_repeat_is_asked_only_where_items_repeat(
    make_data: MakeData, repeats: bool, asked: int, counted: int
) -> None:
    queries = _ask(make_data([(0, 0, 10), (0, 0, 20)], released={0: 0}, repeats=repeats))
    assert len(queries) == asked
    assert queries.counts[REPEAT] == counted


def test_an_event_of_any_label_makes_the_next_one_a_repeat(make_data: MakeData) -> None:
    queries = _ask(make_data([(0, 0, 10, False), (0, 0, 20)], released={0: 0}))
    assert (len(queries), queries.counts[REPEAT]) == (0, 1)


def test_an_item_past_its_time_to_live_is_not_asked_but_counted(make_data: MakeData) -> None:
    data = make_data([(0, 0, 10), (1, 0, 14), (2, 0, 15)], released={0: 5}, ttl_seconds=10)
    queries = _ask(data)
    assert queries.time.tolist() == [10, 14]
    assert queries.counts == {FIRST: 0, GONE: 1, REPEAT: 0}


def test_windows_are_those_of_the_edges(make_data: MakeData) -> None:
    data = make_data([(0, 0, t) for t in (5, 10, 19, 20, 29)], released={0: 0}, repeats=True)
    queries = _ask(data, first=1, edges=[10, 20, 30])
    assert queries.time.tolist() == [10, 19, 20, 29]
    assert queries.window.tolist() == [0, 0, 1, 1]


def test_a_part_without_positives_asks_nothing(make_data: MakeData) -> None:
    queries = _ask(make_data([(0, 0, 10, False)], released={0: 0}))
    assert (len(queries), queries.start.tolist(), len(queries.event)) == (0, [0], 0)


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("ttl_seconds", [None, 9.0])
@given(
    events=event_lists,
    released=st.dictionaries(codes, st.integers(0, 30)),
    first=st.integers(0, 10),
)
def test_no_positive_is_dropped_and_every_asked_one_is_a_candidate(
    make_data: MakeData,
    repeats: bool,
    ttl_seconds: float | None,
    events: list[tuple[int, int, int, bool]],
    released: dict[int, int],
    first: int,
) -> None:
    data = make_data(
        events, users=4, items=4, released=released, repeats=repeats, ttl_seconds=ttl_seconds
    )
    log, catalogue = data.log, Catalogue(data)
    first = min(first, len(log))
    queries = _ask(data, first)
    assert len(queries.event) + sum(queries.counts.values()) == log.positive[first:].sum()
    assert len(set(queries.event.tolist())) == len(queries.event)
    assert (queries.event >= first).all()
    assert log.positive[queries.event].all()
    owner = np.repeat(np.arange(len(queries)), np.diff(queries.start))
    assert np.array_equal(log.user[queries.event], queries.user[owner])
    assert np.array_equal(log.time[queries.event], queries.time[owner])
    assert catalogue.mask(queries.user, queries.time)[owner, log.item[queries.event]].all()
    blocks = list(zip(queries.time.tolist(), queries.user.tolist(), strict=True))
    assert blocks == sorted(set(blocks))


def test_events_of_any_label_train_if_their_item_was_a_candidate(make_data: MakeData) -> None:
    events = [
        (0, 0, 10),  # row 0: enters only afterwards
        (1, 0, 20, False),  # row 1
        (0, 0, 30),  # row 2: had
        (2, 0, 40),  # row 3
        (0, 1, 50),  # row 4: beyond the last row
    ]
    data = make_data(events, released={1: 0})
    assert trainable(data.log, Catalogue(data), np.arange(4)).tolist() == [1, 3]
    assert trainable(data.log, Catalogue(data), np.array([2, 4])).tolist() == [4]
    assert trainable(data.log, Catalogue(data), np.arange(0)).tolist() == []


def test_a_draw_asks_some_whole_queries_and_counts_the_other_positives(make_data: MakeData) -> None:
    # ten blocks of one user each; block 4 holds two positives
    data = make_data([(u, 0, 10 * u) for u in range(10)] + [(4, 1, 40)], released={0: 0, 1: 0})
    queries = _ask(data)
    assert draw(queries, None) is draw(queries, 10) is queries
    drawn = draw(queries, 6)
    blocks = _blocks(drawn, data)
    assert len(blocks) == 6
    assert all(block in _blocks(queries, data) for block in blocks)
    assert drawn.counts["of a query that was not drawn"] == 11 - len(drawn.event)
    assert _blocks(draw(queries, 6), data) == blocks
    assert blocks not in (_blocks(queries, data)[:6], _blocks(queries, data)[4:])


def test_a_probe_has_its_share_of_whole_queries(make_data: MakeData) -> None:
    """Of each, all its events or none; of 2,000 queries of two events, a tenth."""
    data = make_data(
        [(n % 7, 2 * n + m, n // 3) for n in range(2000) for m in (0, 1)], released={0: -1}
    )
    data = replace(data, items=replace(data.items, released_at=np.full(len(data.items), -1)))
    queries = _ask(data)
    on = on_probe(data.log, [queries], 0.1)
    by_query = [on[events].tolist() for events in np.split(queries.event, queries.start[1:-1])]
    assert all(len(set(events)) == 1 for events in by_query)
    share = np.mean([events[0] for events in by_query])
    assert abs(share - 0.1) < 4 * np.sqrt(0.09 / len(queries))
    assert not on_probe(data.log, [queries], 0.0).any()
    assert not on_probe(data.log, [queries.slice(0, 0)], 0.5).any()


@given(events=event_lists, cut=st.integers(0, 30))
def test_later_queries_change_nobodys_place_on_the_probe(
    make_data: MakeData, events: list[tuple[int, int, int, bool]], cut: int
) -> None:
    data = make_data(events, users=4, items=4, repeats=True)
    before = int(np.searchsorted(data.log.time, cut))
    early = [event for event in events if event[2] < cut]
    whole = on_probe(data.log, [_ask(data)], 0.5)
    if early:
        known = make_data(early, users=4, items=4, repeats=True)
        assert np.array_equal(on_probe(known.log, [_ask(known)], 0.5), whole[:before])


def test_cold_means_without_a_positive_before_the_test_time(make_data: MakeData) -> None:
    events = [
        (0, 0, 10),
        (1, 1, 20, False),  # no positive: user 1 and item 1 stay cold
        (2, 2, 30),  # at T_test itself: cold
        (0, 3, 40),
    ]
    data = make_data(events, users=4, items=5)
    users, items = cold(data, _split(data, t_test=30))
    assert users.tolist() == [False, True, True, True]
    assert items.tolist() == [False, True, True, True, True]


@given(events=event_lists, released=st.dictionaries(codes, st.integers(0, 30)))
def test_cold_items_have_no_training_rows(
    make_data: MakeData, events: list[tuple[int, int, int, bool]], released: dict[int, int]
) -> None:
    data = make_data([event[:3] for event in events], users=4, items=4, released=released)
    log, catalogue = data.log, Catalogue(data)
    for t_test in range(1, 31, 5):
        split = _split(data, t_test)
        users, items = cold(data, split)
        rows = trainable(log, catalogue, split.rows(TRAIN, VALIDATION))
        assert not items[log.item[rows]].any()
        assert not users[log.user[rows]].any()


@given(events=event_lists)
def test_cold_items_have_no_positive_training_rows_where_labels_differ(
    make_data: MakeData, events: list[tuple[int, int, int, bool]]
) -> None:
    data = make_data(events, users=4, items=4, released=dict.fromkeys(range(4), 0))
    for t_test in range(1, 31, 5):
        split = _split(data, t_test)
        users, items = cold(data, split)
        rows = trainable(data.log, Catalogue(data), split.rows(TRAIN, VALIDATION))
        rows = rows[data.log.positive[rows]]
        assert not items[data.log.item[rows]].any()
        assert not users[data.log.user[rows]].any()


def test_cohorts_are_frozen_whatever_happens_in_the_stream(make_data: MakeData) -> None:
    past, stream = [(0, 0, t) for t in range(7)], [(1, 1, 7), (1, 1, 8), (1, 2, 9)]
    data = make_data([*past, *stream], repeats=True, released={0: 0, 1: 0, 2: 0})
    split = cuts.time(data.log, train=0.5, validation=0.2, windows=3)
    assert split.t_test == 7
    users, items = cold(data, split)
    assert (users.tolist(), items.tolist()) == ([False, True], [False, True, True])


def test_what_other_evaluators_would_drop_by_eye(make_data: MakeData) -> None:
    events = [
        (0, 0, 10),  # the past: user 0 and item 0 are warm
        (2, 0, 20, False),  # user 2 is known, but has no positive
        (0, 1, 30),  # unseen item
        (0, 0, 40),  # nothing unusual
        (1, 0, 40),  # unseen user, empty history
        (1, 1, 50),  # unseen user and item
        (2, 0, 50),  # empty history; a cold user too, since nothing before was positive
    ]
    data = make_data(events, released={0: 0, 1: 0}, repeats=True)
    queries = _ask(data, first=2)
    users, items = cold(data, _split(data, t_test=30))
    assert list(zip(queries.time.tolist(), queries.user.tolist(), strict=True)) == [
        (30, 0),
        (40, 0),
        (40, 1),
        (50, 1),
        (50, 2),
    ]
    n_user = np.array([1, 2, 0, 1, 0])
    assert others_would_drop(queries, data.log, users, items, n_user) == {
        "unseen user": 3,
        "unseen item": 2,
        "empty history": 2,
        "any": 4,
        "of": 5,
    }


def test_every_positive_of_a_block_counts_as_dropped_on_its_own(make_data: MakeData) -> None:
    data = make_data([(0, 0, 10), (1, 0, 20), (1, 1, 20)], released={0: 0, 1: 0})
    queries = _ask(data, first=1)
    users, items = cold(data, _split(data, t_test=20))
    dropped = others_would_drop(queries, data.log, users, items, np.array([0]))
    assert dropped == {"unseen user": 2, "unseen item": 1, "empty history": 2, "any": 2, "of": 2}


# --- lists as they were shown -----------------------------------------------------------------------------------------

ALONE, OUTSIDE = "in a list of clicks alone", "outside the lists"


def test_lists_with_a_click_and_something_else_are_asked_as_they_were_shown(
    make_data: MakeData, shown: Shown
) -> None:
    events = [
        (0, 1, 10),  # row 0: the past
        (0, 1, 20),  # row 1: had already
        (1, 3, 20),  # row 2: new to the catalogue
        (1, 0, 20),  # row 3: clicked with it
        (0, 0, 30),  # row 4: in a list of its own
        (0, 2, 40),  # row 5: shown by no list
    ]
    lists = shown(
        (0, 10, "1* 2"),
        (0, 20, "2 1*"),
        (1, 20, "3* 2 0*"),
        (1, 25, "0 2"),  # no click
        (0, 30, "0*"),
        (0, 30, "3 3"),
    )
    data = make_data(events, items=4)
    queries = ask_lists(data.log, lists, np.arange(1, 6), np.array([20, 30, 50]))
    assert _blocks(queries, data) == [(0, 20, [1]), (1, 20, [3, 0])]
    assert queries.event.tolist() == [1, 2, 3]
    assert queries.window.tolist() == [0, 0]
    assert queries.lists is not None
    assert queries.lists.item.tolist() == [2, 1, 3, 2, 0]
    assert queries.counts == {ALONE: 1, OUTSIDE: 1}
    assert count_lists(lists, 20) == {"shown": 5, "without a click": 2, "of clicks alone": 1}


def test_the_lists_of_a_part_are_those_between_its_times(make_data: MakeData, shown: Shown) -> None:
    data = make_data([(0, 0, t) for t in (10, 20, 30)], items=2, repeats=True)
    lists = shown(*((0, t, "0* 1") for t in (10, 20, 30)), (0, 35, "0 1"))
    asked = [
        ask_lists(data.log, lists, np.arange(first, last)).time.tolist()
        for first, last in ((0, 1), (1, 2), (1, 3))
    ]
    assert asked == [[10], [20], [20, 30]]
    assert ask_lists(data.log, lists, np.arange(1, 2)).window.tolist() == [-1]


def test_one_event_may_be_asked_in_two_lists_of_its_second(
    make_data: MakeData, shown: Shown
) -> None:
    data = make_data([(0, 0, 10), (0, 1, 10)], items=3)
    queries = ask_lists(
        data.log, shown((0, 10, "0* 2"), (0, 10, "0* 1*"), (0, 10, "1 0* 2")), np.arange(2)
    )
    assert queries.event.tolist() == [0, 0]
    assert queries.counts == {ALONE: 1, OUTSIDE: 0}


@pytest.mark.parametrize(
    "lists", [(0, 11, "0* 1"), (1, 10, "0* 1"), (0, 10, "0 1*"), (0, 20, "1* 0")]
)
def test_a_click_that_is_no_positive_event_is_refused(
    make_data: MakeData, shown: Shown, lists: tuple[int, int, str]
) -> None:
    data = make_data([(0, 0, 10), (1, 1, 12), (0, 1, 20, False)], users=2)
    with pytest.raises(
        DataError,
        match=r"1 clicks of lists are no positive event .* of user code \d on item code \d",
    ):
        ask_lists(data.log, shown(lists), np.arange(3))


@given(events=event_lists, draw=st.data(), first=st.integers(0, 10))
def test_every_positive_is_asked_in_a_list_or_counted(
    make_data: MakeData,
    shown: Shown,
    events: list[tuple[int, int, int, bool]],
    draw: st.DataObject,
    first: int,
) -> None:
    data = make_data(events, users=4, items=4)
    log = data.log
    first = min(first, len(log) - 1)
    # a part begins at the first event of a time
    first = int(np.searchsorted(log.time, log.time[first]))
    lists = []
    for user, time in sorted(
        {(int(u), int(t)) for u, t in zip(log.user, log.time, strict=True)}, key=lambda b: b[1]
    ):
        block = set(log.item[(log.user == user) & (log.time == time) & log.positive].tolist())
        words = draw.draw(st.lists(st.sampled_from(range(4)), max_size=5))
        if words:
            lists.append((user, time, " ".join(f"{i}{'*' * (i in block)}" for i in words)))
    queries = ask_lists(log, shown(*lists), np.arange(first, len(log)))
    positives = {
        (log.user[e], log.item[e], log.time[e]) for e in range(first, len(log)) if log.positive[e]
    }
    asked = {(log.user[e], log.item[e], log.time[e]) for e in queries.event}
    assert asked <= positives
    assert (
        len(set(queries.event.tolist())) + sum(queries.counts.values())
        == log.positive[first:].sum()
    )
    assert queries.lists is not None
    assert np.array_equal(queries.lists.item[queries.lists.clicked], log.item[queries.event])
    sizes = np.diff(queries.lists.start)
    assert ((queries.lists.n_clicked > 0) & (queries.lists.n_clicked < sizes)).all()
    assert np.array_equal(queries.lists.n_clicked, np.diff(queries.start))
