"""Everybody asked at once for what was held back of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.config.kinds import SplitRule
from coldlm.config.options import every
from coldlm.core.columns import HONEST_SPLITS
from coldlm.core.errors import DataError
from coldlm.core.tables import DAY, STREAM, TRAIN, UNKNOWN, VALIDATION, Dataset, sorted_log
from coldlm.data.simulated import load
from coldlm.split.at_once import loo_at_once, move, per_user, time_at_once
from coldlm.split.cuts import time
from coldlm.split.queries import ask


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load(users=40, items=150, events=1500)


def test_each_user_gives_the_same_shares_rounded_down(data: Dataset) -> None:
    split = per_user(data.log, validation=0.1, test=0.2)
    for user in np.unique(data.log.user):
        part = split.part[data.log.user == user]
        n = len(part)
        assert (part == STREAM).sum() == int(n * 0.2 + 1e-6)
        assert (part == VALIDATION).sum() == int(n * 0.1 + 1e-6)
    assert split.leaky


def test_the_draw_has_a_seed_of_its_own_and_knows_no_time(data: Dataset) -> None:
    first, again, other = (per_user(data.log, seed=s).part.tolist() for s in (0, 0, 1))
    assert first == again != other
    held = data.log.time[per_user(data.log, test=0.3).part == STREAM]
    assert abs(held.mean() - data.log.time.mean()) < 0.05 * np.ptp(data.log.time)


def test_too_few_events_leave_an_empty_part(data: Dataset) -> None:
    few = data.log.rows(np.arange(3))
    with pytest.raises(DataError, match="per_user split leaves an empty part"):
        per_user(few)


def test_what_is_held_back_is_asked_behind_everything_in_one_query_a_user(data: Dataset) -> None:
    cut = per_user(data.log, validation=0.1, test=0.2)
    moved, split = move(data, cut)
    log = moved.log
    assert (np.diff(log.time) >= 0).all()
    assert log.time[split.part == TRAIN].max() < split.t_val < split.t_test
    assert set(log.time[split.part == VALIDATION]) == {split.t_val}
    assert set(log.time[split.part == STREAM]) == {split.t_test}
    # the same events, each in the part that it was drawn for
    order = np.argsort(log.event_id)
    before = np.argsort(data.log.event_id)
    assert (log.item[order] == data.log.item[before]).all()
    assert (split.part[order] == cut.part[before]).all()
    catalogue = Catalogue(moved)
    queries = ask(log, catalogue, split.rows(STREAM), split.edges)
    assert len(queries) == len(np.unique(queries.user))
    as_of = AsOf(log, len(data.users), len(data.items), catalogue.enters_at, data.half_lives_days)
    counts = as_of.counts(queries.time[:1])[0]
    past = log.rows(split.rows(TRAIN, VALIDATION))
    expected = np.bincount(past.item[past.positive], minlength=len(data.items))
    assert counts.tolist() == expected.tolist()
    # all items less those of training and validation
    mask = catalogue.mask(queries.user[:1], queries.time[:1])[0]
    had = past.item[(past.user == queries.user[0]) & past.positive]
    assert (~mask).nonzero()[0].tolist() == sorted(set(had.tolist()))


def test_every_item_is_there_from_the_first_event_on(data: Dataset) -> None:
    late = data.items.released_at.copy()
    late[:3] = UNKNOWN, data.log.time[-1] + DAY, data.log.time[0] - DAY
    unknown = replace(data, items=replace(data.items, released_at=late))
    moved, _ = move(unknown, per_user(data.log))
    first = data.log.time[0]
    assert moved.items.released_at[:3].tolist() == [first, first, first - DAY]


def test_the_last_positive_is_asked_for_and_the_one_before_stops_the_training(
    data: Dataset,
) -> None:
    log = data.log
    split = loo_at_once(log)
    assert split.leaky
    assert split.at_once
    for user in np.unique(log.user):
        own = np.flatnonzero((log.user == user) & log.positive)
        assert (
            np.flatnonzero((log.user == user) & (split.part == STREAM)).tolist()
            == own[-1:].tolist()
        )
        held = np.flatnonzero((log.user == user) & (split.part == VALIDATION))
        assert held.tolist() == own[-2:-1].tolist()


def test_in_one_second_the_last_line_is_the_last_and_dislikes_are_never_asked_for() -> None:
    #        positives in one second, in the order of their lines; then a dislike; a user of one positive
    user, item = np.array([0, 0, 0, 0, 1]), np.array([3, 1, 2, 0, 0])
    likes = np.array([True, True, True, False, True])
    log = sorted_log(user, item, np.array([5, 5, 5, 9, 7]), likes * 1.0, likes)
    split = loo_at_once(log)
    assert [int(log.item[split.part == p][0]) for p in (VALIDATION, TRAIN)] == [1, 3]
    assert log.item[split.part == STREAM].tolist() == [2, 0]
    late = loo_at_once(log.rows(np.arange(5)), starts_at=5)
    assert late.part.tolist() == split.part.tolist()
    with pytest.raises(DataError, match="loo_at_once split leaves an empty part"):
        loo_at_once(log, starts_at=6)


def test_a_cut_in_time_asked_at_once_moves_nothing_into_the_past(data: Dataset) -> None:
    cut, plain = time_at_once(data.log), time(data.log, windows=1)
    assert cut.part.tolist() == plain.part.tolist()
    assert (cut.t_val, cut.t_test, cut.leaky) == (plain.t_val, plain.t_test, False)
    moved, split = move(data, cut)
    log = moved.log
    assert set(log.time[split.part == STREAM]) == {cut.t_test}
    assert split.edges.tolist() == [cut.t_test, cut.t_test + 1]
    past = data.log.time[cut.part != STREAM].tolist()  # what was recent at T_test still is
    assert log.time[split.part != STREAM].tolist() == past
    # who enters when stays as it was: no item of the future is a candidate
    assert moved.items.released_at is data.items.released_at
    catalogue = Catalogue(moved)
    queries = ask(log, catalogue, split.rows(STREAM), split.edges)
    assert len(queries) == len(np.unique(queries.user))
    assert (catalogue.enters_at[log.item[queries.event]] <= cut.t_test).all()


def test_rows_say_leaky_of_every_split_but_the_honest_ones() -> None:
    assert {rule.name for rule in every(SplitRule) if not rule.leaks} == set(HONEST_SPLITS)
