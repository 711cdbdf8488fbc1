from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import coldlm.split.time
from coldlm.errors import DataError
from coldlm.split.time import cut
from coldlm.tables import Log, sorted_log


def _log(times: list[int]) -> Log:
    n = len(times)
    return sorted_log(np.arange(n), np.arange(n), np.array(times), np.ones(n), np.ones(n, bool))


def test_the_example_in_the_docstring_holds() -> None:
    found = doctest.testmod(coldlm.split.time)
    assert found.attempted
    assert not found.failed


def test_a_boundary_inside_a_block_moves_down_to_its_start() -> None:
    # shares of 10 events point to rows 5 and 7, which lie inside the blocks of time 2 and time 4
    split = cut(_log([1, 1, 1, 2, 2, 2, 4, 4, 4, 5]), train=0.5, validation=0.25, windows=2)
    assert (split.t_val, split.n_train) == (2, 3)
    assert (split.t_test, split.n_past) == (4, 6)
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
def test_a_block_larger_than_a_window_leaves_the_other_windows_a_time_each(stream: list[int], edges: list[int]) -> None:
    split = cut(_log([1] * 12 + [3] * 4 + stream), train=12 / 24, validation=4 / 24, windows=3)
    assert split.t_test == 5
    assert split.edges.tolist() == edges


@given(
    times=st.lists(st.integers(0, 30), min_size=1, max_size=60),
    train=st.floats(0.1, 0.8),
    validation=st.floats(0.05, 0.5),
    windows=st.integers(1, 4),
)
def test_boundaries_never_tear_a_time_and_the_parts_and_windows_hold_every_event_once(
    times: list[int], train: float, validation: float, windows: int
) -> None:
    log = _log(times)
    time = log.time
    starts = [
        int((time < time[min(int(len(log) * share), len(log) - 1)]).sum()) for share in (train, train + validation)
    ]
    if not 0 < starts[0] < starts[1] or len(np.unique(time[starts[1] :])) < windows:
        with pytest.raises(DataError):
            cut(log, train=train, validation=validation, windows=windows)
        return
    split = cut(log, train=train, validation=validation, windows=windows)
    assert 0 < split.n_train < split.n_past < len(log)
    assert (time < split.t_val).sum() == split.n_train <= train * len(log)
    assert (time < split.t_test).sum() == split.n_past <= (train + validation) * len(log)
    assert split.n_windows == windows
    assert split.edges[0] == split.t_test
    sizes = np.histogram(time[split.n_past :], split.edges)[0]
    assert (sizes > 0).all()
    assert sizes.sum() == len(log) - split.n_past
    assert split.edges[-1] == time[-1] + 1


def test_windows_hold_about_equally_many_events() -> None:
    split = cut(_log(list(range(1000))), train=0.7, validation=0.1, windows=4)
    assert np.histogram(np.arange(split.n_past, 1000), split.edges)[0].tolist() == pytest.approx([50] * 4, abs=1)


@pytest.mark.parametrize(
    ("times", "what"),
    [
        ([5] * 10, "0 train, 0 validation and 10 stream"),
        ([1, 1, 1, 1, 2, 2, 2, 2, 2, 2], "0 validation"),  # both boundaries move down to the same time
        ([1], "0 train, 0 validation and 1 stream"),
    ],
)
def test_an_empty_part_is_refused_with_the_sizes(times: list[int], what: str) -> None:
    with pytest.raises(DataError, match=rf"{what} .*split\.train=0\.5"):
        cut(_log(times), train=0.5, validation=0.2, windows=1)


def test_more_windows_than_times_are_refused() -> None:
    with pytest.raises(DataError, match=r"2 distinct times cannot be cut into split\.windows=3"):
        cut(_log([0, 1, 2, 3, 4, 5, 6, 8, 8, 9]), train=0.5, validation=0.2, windows=3)


def test_shares_that_floats_cannot_add_up_cut_where_they_say() -> None:
    assert 10 * (0.7 + 0.1) < 8
    split = cut(_log(list(range(10))), train=0.7, validation=0.1, windows=1)
    assert (split.n_train, split.n_past) == (7, 8)
