"""What is held out, and what its items keep."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import coldlm.split.simulated_cold
from coldlm.asof.catalogue import Catalogue
from coldlm.core.errors import DataError
from coldlm.core.tables import HELD_OUT, STREAM, Dataset, Split
from coldlm.split import cuts
from coldlm.split.queries import ask, cold
from coldlm.split.simulated_cold import hold_out

MakeData = Callable[..., Dataset]

EVENTS = [
    (0, 0, 5),  # 0
    (0, 1, 6),  # 1
    (1, 0, 7),  # 2
    (1, 2, 8),  # 3
    (1, 1, 9),  # 4, validation
    (0, 2, 9),  # 5
    (2, 0, 20),  # 6, the stream
    (1, 1, 21),  # 7, user 1 had item 1 before
    (2, 3, 22),  # 8, new by nature
    (2, 1, 23),  # 9
]


def _split(data: Dataset, *items: int) -> Split:
    """Cuts at times 9 and 20; ``items`` are held out."""
    part = (data.log.time >= 9).astype(np.int8) + (data.log.time >= 20)
    part[(part < STREAM) & np.isin(data.log.item, items)] = HELD_OUT
    return Split("time", 9, 20, part, np.array([20, 24]))


def test_the_example_in_the_docstring_holds() -> None:
    found = doctest.testmod(coldlm.split.simulated_cold)
    assert found.attempted
    assert not found.failed


def test_a_held_out_item_has_no_past_and_keeps_its_stream(make_data: MakeData) -> None:
    data = make_data(EVENTS)
    left, split = hold_out(data, _split(data, 1))
    assert left.log.event_id.tolist() == [0, 2, 3, 5, 6, 7, 8, 9]
    assert split.part.tolist() == [0, 0, 0, 1, 2, 2, 2, 2]
    assert left.counts == {"held out: simulated cold": 2, "items held out": 1}
    assert cold(left, split)[1].tolist() == [False, True, False, True]
    assert cold(data, _split(data))[1].tolist() == [False, False, False, True]
    assert len(data.log) == 10
    # what never happened is no reason not to ask: user 1 may take item 1 again
    queries = ask(left.log, Catalogue(left), split.rows(STREAM))
    assert left.log.event_id[queries.event].tolist() == [6, 7, 9]


def test_it_is_a_candidate_from_where_the_whole_log_lets_it_in(make_data: MakeData) -> None:
    after_first = make_data(EVENTS)
    field = make_data(EVENTS, released={0: 1, 1: 2, 2: 30, 3: 4})
    grid = replace(after_first, release="grid", slot=4)
    for data, enters in ((after_first, 7), (field, 2), (grid, 4)):
        whole = Catalogue(data)
        left = Catalogue(hold_out(data, _split(data, 1))[0])
        assert left.enters_at[1] == whole.enters_at[1] == enters
        assert left.enters_at.tolist() == whole.enters_at.tolist()
        others = [0, 2, 3]
        assert left.masked_until[others].tolist() == whole.masked_until[others].tolist()
    # not masked until the end of its slot: it has been there all along
    assert left.masked_until[1] == 4


def test_the_split_draws_items_by_their_share_and_moves_no_cut(make_data: MakeData) -> None:
    log = make_data(EVENTS).log
    whole = cuts.time(log, train=0.4, validation=0.2, windows=1)
    drawn = set()
    for seed in range(8):
        part = cuts.time(
            log, train=0.4, validation=0.2, windows=1, simulated_cold=0.3, simulated_seed=seed
        )
        assert (part.t_val, part.t_test, part.edges.tolist()) == (
            whole.t_val,
            whole.t_test,
            whole.edges.tolist(),
        )
        items = np.unique(log.item[part.part == HELD_OUT])
        assert len(items) == 1  # .3 of the three items of the past
        drawn |= set(items.tolist())
        is_past = whole.part < STREAM
        assert ((part.part == HELD_OUT) == (is_past & np.isin(log.item, items))).all()
        assert (part.part == whole.part)[part.part != HELD_OUT].all()
    assert drawn == {0, 1, 2}
    same = cuts.time(
        log, train=0.4, validation=0.2, windows=1, simulated_cold=0.0, simulated_seed=5
    )
    assert same.part.tolist() == whole.part.tolist()


def test_holding_out_a_whole_part_is_refused(make_data: MakeData) -> None:
    with pytest.raises(
        DataError, match=r"empty part: 0 train.*hold out fewer items than split.simulated_cold=0.99"
    ):
        cuts.time(make_data(EVENTS).log, train=0.4, validation=0.2, windows=1, simulated_cold=0.99)
