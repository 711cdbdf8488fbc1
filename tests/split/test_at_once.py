"""Everybody asked at once for what was held back of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.core.errors import DataError
from coldlm.core.tables import DAY, STREAM, TRAIN, UNKNOWN, VALIDATION, Dataset
from coldlm.data.simulated import load
from coldlm.split.at_once import move, per_user
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
