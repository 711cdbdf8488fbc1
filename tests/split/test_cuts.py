from __future__ import annotations

import doctest
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import coldlm.split.cuts
from coldlm.asof.catalogue import Catalogue
from coldlm.core.errors import DataError
from coldlm.core.tables import (
    AFTERWARDS,
    ALWAYS,
    DAY,
    STREAM,
    TRAIN,
    VALIDATION,
    Dataset,
    Log,
    Split,
    sorted_log,
)
from coldlm.split import cuts
from coldlm.split.queries import ask, cold, trainable

MakeData = Callable[..., Dataset]

codes = st.integers(0, 3)
event_lists = st.lists(
    st.tuples(codes, codes, st.integers(0, 30), st.booleans()), min_size=1, max_size=40
)


def _log(times: list[int]) -> Log:
    n = len(times)
    return sorted_log(np.arange(n), np.arange(n), np.array(times), np.ones(n), np.ones(n, bool))


def test_the_example_in_the_docstring_holds() -> None:
    found = doctest.testmod(coldlm.split.cuts)
    assert found.attempted
    assert not found.failed


def test_a_boundary_inside_a_block_moves_down_to_its_start() -> None:
    # shares of 10 events point to rows 5 and 7, which lie inside the blocks of time 2 and time 4
    split = cuts.time(_log([1, 1, 1, 2, 2, 2, 4, 4, 4, 5]), train=0.5, validation=0.25, windows=2)
    assert (split.t_val, split.t_test) == (2, 4)
    assert split.part.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert split.edges.tolist() == [4, 5, 6]
    assert not split.leaky


@pytest.mark.parametrize(
    ("stream", "edges"),
    [
        ([5, 5, 5, 5, 5, 6, 7, 8], [5, 6, 7, 9]),  # the block of time 5 is larger than a third
        ([5, 6, 7, 7, 7, 7, 7, 7], [5, 6, 7, 8]),
        ([5, 6, 7, 8, 9, 9, 9, 9], [5, 7, 9, 10]),
    ],
)
def test_a_block_larger_than_a_window_leaves_the_other_windows_a_time_each(
    stream: list[int], edges: list[int]
) -> None:
    split = cuts.time(
        _log([1] * 12 + [3] * 4 + stream), train=12 / 24, validation=4 / 24, windows=3
    )
    assert split.t_test == 5
    assert split.edges.tolist() == edges


@given(
    times=st.lists(st.integers(0, 30), min_size=1, max_size=60),
    train=st.floats(0.1, 0.8),
    validation=st.floats(0.05, 0.5),
    windows=st.integers(1, 4),
)
@example([0, 0, 0, 1, 2, 3], 0.5, 0.33333331174, 1)
def test_boundaries_never_tear_a_time_and_the_parts_and_windows_hold_every_event_once(
    times: list[int], train: float, validation: float, windows: int
) -> None:
    log = _log(times)
    time = log.time
    starts = [
        # rounded first, as .7 + .1 must be .8
        int((time < time[min(int(round(len(log) * share, 6)), len(log) - 1)]).sum())
        for share in (train, train + validation)
    ]
    if not 0 < starts[0] < starts[1] or len(np.unique(time[starts[1] :])) < windows:
        with pytest.raises(DataError):
            cuts.time(log, train=train, validation=validation, windows=windows)
        return
    split = cuts.time(log, train=train, validation=validation, windows=windows)
    n_train, n_past = len(split.rows(TRAIN)), len(split.rows(TRAIN, VALIDATION))
    assert 0 < n_train < n_past < len(log)
    assert (time < split.t_val).sum() == n_train <= round(train * len(log), 6)
    assert (time < split.t_test).sum() == n_past <= round((train + validation) * len(log), 6)
    assert split.n_windows == windows
    assert split.edges[0] == split.t_test
    sizes = np.histogram(time[n_past:], split.edges)[0]
    assert (sizes > 0).all()
    assert sizes.sum() == len(log) - n_past
    assert split.merged == 0
    assert split.edges[-1] == time[-1] + 1


def test_windows_hold_about_equally_many_events() -> None:
    split = cuts.time(_log(list(range(1000))), train=0.7, validation=0.1, windows=4)
    assert np.histogram(np.arange(800, 1000), split.edges)[0].tolist() == pytest.approx(
        [50] * 4, abs=1
    )


@pytest.mark.parametrize(
    ("times", "what"),
    [
        ([5] * 10, "0 train, 0 validation and 10 stream"),
        # both boundaries move down to the same time
        (
            [1, 1, 1, 1, 2, 2, 2, 2, 2, 2],
            "0 validation",
        ),
        ([1], "0 train, 0 validation and 1 stream"),
    ],
)
def test_an_empty_part_is_refused_with_the_sizes(times: list[int], what: str) -> None:
    with pytest.raises(DataError, match=rf"{what} .*split\.train=0\.5"):
        cuts.time(_log(times), train=0.5, validation=0.2, windows=1)


def test_more_windows_than_times_are_refused() -> None:
    with pytest.raises(DataError, match=r"2 distinct times cannot be cut into split\.windows=3"):
        cuts.time(_log([0, 1, 2, 3, 4, 5, 6, 8, 8, 9]), train=0.5, validation=0.2, windows=3)


def test_shares_that_floats_cannot_add_up_cut_where_they_say() -> None:
    assert 10 * (0.7 + 0.1) < 8
    split = cuts.time(_log(list(range(10))), train=0.7, validation=0.1, windows=1)
    assert split.part.tolist() == [0] * 7 + [1] + [2] * 2


def test_dates_cut_where_they_say_also_where_no_event_is() -> None:
    days = [0, 1, 2, 5, 6, 9]
    split = cuts.time(
        _log([day * DAY for day in days]),
        t_val="1970-01-02",
        t_test="1970-01-05T12:00:00",
        windows=2,
    )
    assert split.part.tolist() == [0, 1, 1, 2, 2, 2]
    assert (split.t_val, split.t_test) == (DAY, 4.5 * DAY)
    # the first window begins at T_test itself, not at the first event behind it
    assert split.edges.tolist() == [4.5 * DAY, 6 * DAY, 9 * DAY + 1]


STREAM_OF_DAYS = [0, 1, *(2 + day for day in (0, 1, 5, 6, 12))]
"""The last five, of the days 2, 3, 7, 8 and 14, are the stream."""


@pytest.mark.parametrize(
    ("keys", "edges", "merged"),
    [
        ({"window_days": 3}, [2, 5, 8, 11], 1),  # [11, 14) is empty and joins [14, 17)
        # [4, 6) joins [6, 8); [10, 12) and [12, 14) join [14, 16)
        (
            {"window_days": 2},
            [2, 4, 8, 10],
            3,
        ),
        ({"window_days": 100}, [2], 0),
        ({"edges": ["1970-01-04", "1970-01-05", "1970-01-06", "1970-01-14"]}, [2, 3, 4, 13], 1),
        ({"edges": ["1970-01-15"]}, [2, 14], 0),
        ({"edges": []}, [2], 0),
    ],
)
def test_windows_by_length_or_date_merge_empty_ones_into_the_next_and_count_them(
    keys: dict[str, float | list[str]], edges: list[int], merged: int
) -> None:
    log = _log([day * DAY for day in STREAM_OF_DAYS])
    split = cuts.time(log, t_val="1970-01-02", t_test="1970-01-03", **keys)  # type: ignore[arg-type]
    assert split.edges.tolist() == [*(edge * DAY for edge in edges), 14 * DAY + 1]
    assert split.merged == merged


@pytest.mark.parametrize("date", ["1970-01-03", "1970-01-16"])
def test_edges_outside_the_stream_are_refused(date: str) -> None:
    log = _log([day * DAY for day in STREAM_OF_DAYS])
    with pytest.raises(
        DataError, match=rf"split\.edges: {date} does not lie inside .* T_test \(1970-01-03T"
    ):
        cuts.time(log, t_val="1970-01-02", t_test="1970-01-03", edges=["1970-01-05", date])


def test_dates_that_leave_a_part_empty_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"0 stream events of 3; .*split\.t_val=1970-01-02 and split\.t_test=1980"
    ):
        cuts.time(_log([0, DAY, 2 * DAY]), t_val="1970-01-02", t_test="1980-01-01")


@pytest.mark.parametrize(
    ("t_val", "t_test", "named"),
    [
        ("1970-01-02", "1970-01-04", "t_val=1970-01-02"),
        ("1970-01-05", "1970-01-02T12:00:00", "t_test=1970-01-02T12"),
    ],
)
def test_dates_before_the_log_starts_are_refused(t_val: str, t_test: str, named: str) -> None:
    log = _log([day * DAY for day in range(6)])
    assert cuts.time(
        log, 2 * DAY, t_val="1970-01-03", t_test="1970-01-04", windows=1
    ).part.tolist() == [
        0,
        0,
        1,
        2,
        2,
        2,
    ]
    with pytest.raises(
        DataError,
        match=rf"split\.{named}.*before 1970-01-03T00:00:00 have no time .*; set 1970-01-03T",
    ):
        cuts.time(log, 2 * DAY, t_val=t_val, t_test=t_test)


def test_shares_leave_out_events_without_a_time_of_their_own() -> None:
    times = [9] * 90 + list(range(10, 20))
    with pytest.raises(DataError, match="0 train, 0 validation and 100 stream"):
        cuts.time(_log(times), train=0.5, validation=0.2, windows=1)
    split = cuts.time(_log(times), 10, train=0.5, validation=0.2, windows=1)
    assert split.part.tolist() == [0] * 95 + [1] * 2 + [2] * 3
    shares = np.bincount(cuts.random(_log(times), 10, train=0.5, validation=0.2).part[90:])
    assert shares.tolist() == [5, 2, 3]


@given(events=event_lists, train=st.floats(0.2, 0.6), validation=st.floats(0.1, 0.4))
def test_nothing_is_trained_on_at_or_after_a_cut_and_nothing_asked_before_it(
    make_data: MakeData, events: list[tuple[int, int, int, bool]], train: float, validation: float
) -> None:
    data = make_data(events, users=4, items=4, released=dict.fromkeys(range(4), 0), repeats=True)
    try:
        split = cuts.time(data.log, train=train, validation=validation, windows=1)
    except DataError:  # too few times
        return
    log, catalogue = data.log, Catalogue(data)
    for parts, end in (((TRAIN,), split.t_val), ((TRAIN, VALIDATION), split.t_test)):
        rows = trainable(log, catalogue, split.rows(*parts))
        assert rows.tolist() == np.flatnonzero(log.time < end).tolist()
    asked_for = ask(log, catalogue, split.rows(STREAM)).event
    assert (
        sorted(asked_for.tolist())
        == np.flatnonzero(log.positive & (log.time >= split.t_test)).tolist()
    )


@given(event=st.integers(0, 39), to=st.integers(0, 30), events=event_lists)
def test_moving_one_event_across_a_cut_changes_only_what_it_must(
    make_data: MakeData, events: list[tuple[int, int, int, bool]], event: int, to: int
) -> None:
    # days 0 and 31 are always there, so that no part is empty and the stream always ends on the
    # same day
    fixed = [(4, 4, 0, True), (4, 4, 15, True), (4, 4, 31, True)]
    event %= len(events)
    user, item, _, positive = events[event]
    moved = [*events[:event], (user, item, to, positive), *events[event + 1 :]]
    seen = []
    for rows in (events, moved):
        data = make_data(
            [(u, i, day * DAY, p) for u, i, day, p in [*rows, *fixed]],
            users=5,
            items=5,
            repeats=True,
        )
        split = cuts.time(data.log, t_val="1970-01-11", t_test="1970-01-21", window_days=4)
        seen.append((data, split, Catalogue(data)))
    (before, old, _), (after, new, _) = seen
    assert (old.t_val, old.t_test, old.edges[0], old.edges[-1]) == (
        new.t_val,
        new.t_test,
        new.edges[0],
        new.edges[-1],
    )
    assert parts_of(new, after)[event] == (to >= 10) + (to >= 20)
    others = {**parts_of(old, before), event: 0} == {**parts_of(new, after), event: 0}
    assert others
    # an item may enter earlier or later than before; events of other items neither begin nor cease
    # to train or be asked
    for rows_of in (trained, asked):
        changed = rows_of(*seen[0]) ^ rows_of(*seen[1])
        assert changed <= {event} | {e for e, (_, i, _, _) in enumerate(events) if i == item}
    was, now = cold(before, old), cold(after, new)
    assert set(np.flatnonzero(was[0] != now[0])) <= {user}
    assert set(np.flatnonzero(was[1] != now[1])) <= {item}


def parts_of(split: Split, data: Dataset) -> dict[int, int]:
    return dict(zip(data.log.event_id.tolist(), split.part.tolist(), strict=True))


def trained(data: Dataset, split: Split, catalogue: Catalogue) -> set[int]:
    rows = trainable(data.log, catalogue, split.rows(TRAIN, VALIDATION))
    assert (data.log.time[rows] < split.t_test).all()
    assert (data.log.time[split.rows(TRAIN)] < split.t_val).all()
    return set(data.log.event_id[rows].tolist())


def asked(data: Dataset, split: Split, catalogue: Catalogue) -> set[int]:
    rows = ask(data.log, catalogue, split.rows(STREAM), split.edges).event
    assert (data.log.time[rows] >= split.t_test).all()
    return set(data.log.event_id[rows].tolist())


# --- the leaky ones ---------------------------------------------------------------------------------------------------


def test_leave_one_out_by_eye(make_data: MakeData) -> None:
    events = [
        (0, 0, 10),
        (0, 1, 20),
        (1, 0, 20),  # user 1 has one positive block
        (0, 2, 30),
        (0, 3, 30, False),  # stays with its block
        (0, 0, 40, False),  # no positive in its block: trains
        (2, 1, 50),
        (2, 2, 60),
        (3, 2, 70, False),  # a user without a positive trains
    ]
    split = cuts.loo(make_data(events).log)
    assert split.part.tolist() == [0, 1, 2, 2, 2, 0, 1, 2, 0]
    assert split.leaky
    # training ends behind user 3's event at 70; the stream begins with user 1's at 20
    assert (split.t_val, split.t_test, split.edges.tolist()) == (71, 71, [20, 61])


def test_leave_one_out_asks_for_no_made_up_time(make_data: MakeData) -> None:
    log = make_data(
        [
            (0, 0, 9),
            (0, 1, 9),
            (1, 0, 9),
            (1, 1, 10),
            (1, 2, 11),
            (2, 0, 10),
            (2, 1, 11),
            (2, 2, 12),
        ]
    ).log
    assert cuts.loo(log, 10).part.tolist() == [0, 0, 0, 1, 0, 2, 1, 2]


def test_the_draw_depends_on_its_seed_alone() -> None:
    log = _log(list(range(100)))
    first, again, other = (cuts.random(log, seed=seed).part.tolist() for seed in (0, 0, 1))
    assert first == again != other
    assert np.bincount(first).tolist() == [70, 10, 20]


@pytest.mark.parametrize("leaky", [cuts.loo, partial(cuts.random, train=0.4, validation=0.3)])
@given(events=event_lists, starts_at=st.sampled_from([ALWAYS, 3]))
def test_leaky_splits_keep_blocks_whole_and_every_event_once(
    make_data: MakeData,
    leaky: Callable[..., Split],
    events: list[tuple[int, int, int, bool]],
    starts_at: int,
) -> None:
    log = make_data(events, users=4, items=4).log
    try:
        split = leaky(log, starts_at)
    except DataError:  # too few blocks
        return
    assert len(split.part) == len(log)
    assert set(split.part.tolist()) == {TRAIN, VALIDATION, STREAM}
    assert (split.part[log.time < starts_at] == TRAIN).all()
    for user, time in set(zip(log.user.tolist(), log.time.tolist(), strict=True)):
        assert len(set(split.part[(log.user == user) & (log.time == time)])) == 1
    assert log.time[split.rows(TRAIN)].max() < split.t_val
    assert log.time[split.rows(TRAIN, VALIDATION)].max() < split.t_test
    stream = log.time[split.rows(STREAM)]
    assert split.edges.tolist() == [stream.min(), stream.max() + 1]
    assert split.leaky


def test_too_few_events_for_a_leaky_split_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"the loo split leaves an empty part: 0 train, 0 validation and 3 stream"
    ):
        cuts.loo(_log([1, 2, 3]))


@given(st.lists(st.integers(0, 2), min_size=60, max_size=120), st.integers(1, 4))
def test_origins_share_the_stream_between_them_and_know_all_before(
    steps: list[int], origins: int
) -> None:
    """Every event of the one stream is in that of one origin; of each the past is all before it, and
    validation as many events, but for those of one time."""
    log = _log((np.cumsum(steps) + np.arange(len(steps)) // 3).tolist())
    whole = cuts.time(log, windows=1)
    parts = [
        cuts.time(log, windows=1, origins=origins, origin=origin + 1) for origin in range(origins)
    ]
    asked = np.stack([split.part == STREAM for split in parts])
    assert (asked.sum(0) == (whole.part == STREAM)).all()
    for split in parts:
        past, behind = log.time < split.t_test, split.part == AFTERWARDS
        assert (np.isin(split.part, (TRAIN, VALIDATION)) == past).all()
        assert log.time[behind].min(initial=10**9) > log.time[split.part == STREAM].max()
        one_time = np.unique(log.time, return_counts=True)[1].max()
        held, before = (int((s.part == VALIDATION).sum()) for s in (split, whole))
        assert abs(held - before) <= one_time
    assert parts[0].t_test == whole.t_test
    if origins == 1:
        assert parts[0].part.tolist() == whole.part.tolist()


def test_more_origins_than_times_are_refused() -> None:
    with pytest.raises(DataError, match=r"cut into split\.origins=4 non-empty origins"):
        cuts.time(_log([*range(20), 20, 20, 20, 21]), windows=1, origins=4)
