"""When each trigger fires, on moments made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from coldlm.core.tables import DAY
from coldlm.online.moment import Moment
from coldlm.online.triggers import (
    AnyOf,
    Budget,
    Every,
    EveryN,
    EveryWindow,
    Never,
    Off,
    OnNewItems,
)


def moment(**keys: Any) -> Moment:
    """T_test is at day 100; 1,000 events of 50 items are known there."""
    first = {
        "time": 100 * DAY, "window": 0, "visible": 1000, "met": 50, "losses": lambda: np.zeros(0),
        "updated_at": 100 * DAY, "updated_in": 0, "learned": 1000, "met_then": 50,
    }  # fmt: skip
    return Moment(**first | keys)


def test_never_is_never() -> None:
    late = moment(time=900 * DAY, window=9, visible=10**6, met=10**5)
    assert Never().ask(late) == Off().ask(late) == ""


def test_a_window_that_is_over_is_learned_from_once() -> None:
    now, trigger = moment(), EveryWindow()
    assert trigger.ask(now) == ""
    now.window = 1
    assert trigger.ask(now) == "window 0 is over"
    now.note_update(1.0)
    assert trigger.ask(now) == ""
    now.window = 4  # nothing happened in 2 and 3
    assert trigger.ask(now) == "window 3 is over"


def test_so_many_events_have_become_visible() -> None:
    now, trigger = moment(), EveryN(n=5)
    now.visible = 1004
    assert trigger.ask(now) == ""
    now.visible = 1007  # a second may hold many
    assert trigger.ask(now) == "7 events"
    now.note_update(1.0)
    assert trigger.ask(now) == ""
    now.visible = 1012
    assert trigger.ask(now) == "5 events"


def test_so_much_time_has_passed() -> None:
    now, trigger = moment(), Every(days=0.5)
    now.time += DAY // 2 - 1
    assert trigger.ask(now) == ""
    now.time += 1
    assert trigger.ask(now) == "0.50 days"
    now.note_update(1.0)
    now.time += DAY // 4
    assert trigger.ask(now) == ""


def test_so_many_items_are_new() -> None:
    now, trigger = moment(), OnNewItems(n=3)
    now.visible, now.met = 2000, 52
    assert trigger.ask(now) == ""
    now.met = 53
    assert trigger.ask(now) == "3 new items"
    now.note_update(1.0)
    assert trigger.ask(now) == ""


def fired(trigger: Budget, hours: range, seconds: float = 1.0) -> list[int]:
    """The hours in which it fires, with 10 events in each."""
    now, found = moment(), []
    for hour in hours:
        now.time, now.visible = 100 * DAY + hour * 3600, 1000 + 10 * (hour + 1)
        if trigger.ask(now):
            now.note_update(seconds)
            found.append(hour)
    return found


def test_a_budget_of_updates_holds_within_any_day() -> None:
    found = fired(Budget(n=10, updates_per_day=4.0), range(100))
    assert found == [0, 1, 2, 3, 24, 25, 26, 27, 48, 49, 50, 51, 72, 73, 74, 75, 96, 97, 98, 99]
    spread = fired(Budget(n=60, updates_per_day=4.0), range(100))
    assert spread == list(range(5, 100, 6))


def test_less_than_one_update_a_day_is_one_in_several() -> None:
    assert fired(Budget(n=10, updates_per_day=0.5), range(200)) == [0, 48, 96, 144, 192]


@pytest.mark.parametrize(("rate", "days"), [(0.75, 4 / 3), (1.5, 1.0)])
def test_a_fraction_is_never_exceeded(rate: float, days: float) -> None:
    found = np.array(fired(Budget(n=10, updates_per_day=rate), range(400)))
    for hour in found:
        within = ((found > hour - 24 * days) & (found <= hour)).sum()
        assert within <= rate * days


def test_a_budget_of_seconds_holds_within_any_day() -> None:
    trigger = Budget(n=10, updates_per_day=None, seconds_per_day=5.0)
    # the third is begun within the budget and ends beyond it
    assert fired(trigger, range(50), seconds=2.0) == [0, 1, 2, 24, 25, 26, 48, 49]
    both = Budget(n=10, updates_per_day=2.0, seconds_per_day=5.0)
    assert fired(both, range(30), seconds=2.0) == [0, 1, 24, 25]
    assert fired(Budget(n=10, updates_per_day=None), range(5)) == [0, 1, 2, 3, 4]


def test_any_of_says_which() -> None:
    now, trigger = moment(), AnyOf(n=10, days=2.0, new_items=5)
    assert trigger.ask(now) == ""
    now.visible = 1010
    assert trigger.ask(now) == "10 events"
    now.time += 2 * DAY
    now.met = 55
    assert trigger.ask(now) == "10 events, 2.00 days, 5 new items"
    assert AnyOf(n=None, days=None, new_items=5).ask(now) == "5 new items"
    assert AnyOf(n=None, days=None, new_items=None).ask(now) == ""
