from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from coldlm.core.errors import DataError
from coldlm.core.tables import (
    STREAM,
    TRAIN,
    VALIDATION,
    Dataset,
    Impressions,
    Ints,
    Queries,
    Split,
    sorted_log,
)

Shown = Callable[..., Impressions]


def _ints(*values: int) -> Ints:
    return np.array(values, np.int64)


@pytest.fixture
def queries() -> Queries:
    """Three queries with 2, 1 and 3 positives: rows 10 11 | 12 | 13 14 15."""
    return Queries(
        _ints(4, 5, 6),
        _ints(100, 200, 300),
        _ints(0, 0, 1),
        _ints(0, 2, 3, 6),
        np.arange(10, 16),
        {"x": 7},
    )


def test_a_log_is_sorted_by_time_then_event_id_and_its_columns_stay_together() -> None:
    user, item, time = _ints(0, 1, 2, 3), _ints(10, 11, 12, 13), _ints(9, 5, 9, 5)
    label = np.array([1.0, 2.0, 3.0, 4.0])
    log = sorted_log(user, item, time, label, label > 2, event_id=_ints(8, 7, 2, 6))
    assert log.event_id.tolist() == [6, 7, 2, 8]  # time 5: ids 6, 7; time 9: ids 2, 8
    assert log.time.tolist() == [5, 5, 9, 9]
    assert log.user.tolist() == [3, 1, 2, 0]
    assert log.item.tolist() == [13, 11, 12, 10]
    assert log.label.tolist() == [4.0, 2.0, 3.0, 1.0]
    assert log.positive.tolist() == [True, False, True, False]
    assert user.tolist() == [0, 1, 2, 3]  # the input is left as it was


def test_without_event_ids_the_row_number_decides_ties() -> None:
    log = sorted_log(_ints(0, 1, 2), _ints(0, 0, 0), _ints(5, 5, 1), np.ones(3), np.ones(3, bool))
    assert log.event_id.tolist() == [2, 0, 1]
    assert [column.dtype.name for column in (log.user, log.time, log.label, log.positive)] == [
        "int64",
        "int64",
        "float64",
        "bool",
    ]


def test_unequal_columns_and_an_empty_log_are_refused() -> None:
    with pytest.raises(DataError, match=r"equally long, got lengths \[2, 3\]"):
        sorted_log(_ints(0, 1, 2), _ints(0, 1), _ints(1, 2, 3), np.ones(3), np.ones(3, bool))
    empty = np.zeros(0)
    with pytest.raises(DataError, match="at least one interaction"):
        sorted_log(_ints(), _ints(), _ints(), empty, empty > 0)


def test_rows_of_a_log_may_be_named_by_slice_mask_or_number() -> None:
    log = sorted_log(
        _ints(0, 1, 2), _ints(7, 8, 9), _ints(1, 2, 3), np.ones(3), np.array([True, False, True])
    )
    assert log.rows(slice(2)).item.tolist() == [7, 8]
    assert log.rows(log.positive).item.tolist() == [7, 9]
    assert log.rows(_ints(2, 0)).item.tolist() == [9, 7]
    assert len(log.rows(slice(0))) == 0


def test_permuted_texts_leave_everything_else_and_the_original_alone(
    make_data: Callable[..., Dataset],
) -> None:
    data = make_data([(0, 0, 1), (0, 1, 2), (0, 2, 3)], texts=["a", "b", "c"])
    other = data.with_texts_of(_ints(2, 0, 1))
    assert other.items.texts == ("c", "a", "b")
    assert other.text_source is not None
    assert other.text_source.tolist() == [2, 0, 1]
    assert other.own_texts == data.items.texts == ("a", "b", "c")
    assert (data.own_texts, data.text_source) == (None, None)
    assert other.log is data.log
    assert (other.items.ids, other.items.titles) == (data.items.ids, data.items.titles)


def test_a_slice_of_queries_rebases_its_offsets(queries: Queries) -> None:
    part = queries.slice(1, 3)
    assert part.user.tolist() == [5, 6]
    assert part.start.tolist() == [0, 1, 4]
    assert part.event.tolist() == [12, 13, 14, 15]
    assert part.window.tolist() == [0, 1]


@pytest.mark.parametrize("at", [0, 1, 3])
def test_an_empty_slice_of_queries_holds_no_event(queries: Queries, at: int) -> None:
    part = queries.slice(at, at)
    assert (len(part), part.start.tolist(), len(part.event)) == (0, [0], 0)


def test_queries_kept_by_a_mask_keep_their_own_positives(queries: Queries) -> None:
    part = queries.where(np.array([True, False, True]))
    assert part.time.tolist() == [100, 300]
    assert part.start.tolist() == [0, 2, 5]
    assert part.event.tolist() == [10, 11, 13, 14, 15]
    assert part.counts == {"x": 7}
    none = queries.where(np.zeros(3, bool))
    assert (len(none), none.start.tolist(), len(none.event)) == (0, [0], 0)


def test_slices_side_by_side_hold_every_query_once(queries: Queries) -> None:
    parts = [queries.slice(0, 2), queries.slice(2, 3)]
    assert np.concatenate([part.event for part in parts]).tolist() == queries.event.tolist()
    assert [len(part) for part in parts] == [2, 1]


def test_a_split_counts_its_windows_and_cannot_be_changed() -> None:
    split = Split("time", 5, 7, np.array([0, 0, 1, 2, 1], np.int8), _ints(7, 8, 9, 10))
    assert split.n_windows == 3
    assert not split.leaky
    assert (split.rows(TRAIN).tolist(), split.rows(VALIDATION, STREAM).tolist()) == (
        [0, 1],
        [2, 3, 4],
    )
    with pytest.raises(FrozenInstanceError):
        split.t_val = 6  # type: ignore[misc]


def test_a_split_says_how_it_cuts_and_whether_it_leaks() -> None:
    part, edges = np.array([0, 1, 2], np.int8), _ints(86_400, 90_000)
    assert str(Split("time", 60, 86_400, part, edges)) == (
        "train < 1970-01-01T00:01:00 <= validation < 1970-01-02T00:00:00 <= stream"
    )
    assert str(Split("loo", 60, 172_800, part, edges, leaky=True)) == (
        "LEAKY split loo: train + validation < 1970-01-03T00:00:00, but 1970-01-02T00:00:00 <= "
        "stream"
    )


def test_lists_know_their_clicks_and_owners(shown: Shown) -> None:
    lists = shown((4, 100, "7 8*"), (5, 200, "7"), (4, 200, "9* 8 7*"))
    assert len(lists) == 3
    assert lists.owner.tolist() == [0, 0, 1, 2, 2, 2]
    assert lists.n_clicked.tolist() == [1, 0, 2]


def test_a_part_of_the_lists_keeps_their_items_and_clicks(shown: Shown) -> None:
    lists = shown((4, 100, "7 8*"), (5, 200, "7"), (4, 200, "9* 8 7*"))
    for part in (
        lists.where(np.array([True, False, True])),
        lists.where(np.array([False, False, True])),
    ):
        assert part.start[-1] == len(part.item) == len(part.clicked)
        assert part.item[-3:].tolist() == [9, 8, 7]
        assert part.clicked[-3:].tolist() == [True, False, True]
    part = lists.slice(1, 3)
    assert (part.user.tolist(), part.time.tolist(), part.start.tolist()) == (
        [5, 4],
        [200, 200],
        [0, 1, 4],
    )
    assert part.item.tolist() == [7, 9, 8, 7]
    assert len(lists.slice(3, 3)) == len(lists.where(np.zeros(3, bool))) == 0


def test_lists_go_with_their_queries(queries: Queries, shown: Shown) -> None:
    lists = shown((4, 100, "1* 2* 0"), (5, 200, "0 1*"), (6, 300, "1* 2* 3* 0"))
    queries = replace(queries, lists=lists)
    for part in (queries.slice(1, 3), queries.where(np.array([False, True, True]))):
        assert part.lists is not None
        assert part.lists.time.tolist() == part.time.tolist() == [200, 300]
        assert part.lists.n_clicked.tolist() == np.diff(part.start).tolist() == [1, 3]
