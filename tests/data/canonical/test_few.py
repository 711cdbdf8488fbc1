"""A data set of few users: whole users, the items that they met, nothing moved in time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from coldlm.core.tables import Ints
from coldlm.data.canonical.few import of_few_users


def test_users_stay_whole_and_items_are_those_they_met(make_data, shown) -> None:
    events = [(u, (3 * u + i) % 10, 100 * i + u) for u in range(10) for i in range(4)]
    data = make_data(events)
    lists = shown((0, 10, "7 1*"), (1, 11, "2* 4"), (2, 12, "9*"))

    def texts_as_of(times: Ints, until: Ints) -> tuple[tuple[str, ...], Ints]:
        return tuple(f"{name} at {t}" for name, t in zip(data.items.ids, times, strict=True)), times

    few = of_few_users(replace(data, impressions=lists, texts_as_of=texts_as_of), 13)
    assert len(few.log) == 12  # three users of four events
    users = set(few.log.user.tolist())
    whole = {
        (u, data.items.ids[i], t)
        for u, i, t in zip(data.log.user, data.log.item, data.log.time, strict=True)
    }
    left = [
        (u, few.items.ids[i], t)
        for u, i, t in zip(few.log.user, few.log.item, few.log.time, strict=True)
    ]
    assert set(left) == {row for row in whole if row[0] in users}
    assert few.impressions is not None
    assert set(few.impressions.user.tolist()) == users & {0, 1, 2}
    met = {few.items.ids[i] for i in {*few.log.item, *few.impressions.item}}
    assert met == set(few.items.ids)
    assert few.texts_as_of is not None
    times = np.arange(len(few.items))
    texts, known_at = few.texts_as_of(times, times)
    assert texts == tuple(f"{name} at {t}" for name, t in zip(few.items.ids, times, strict=True))
    assert known_at.tolist() == times.tolist()
    assert few.counts["events_left_out_for_debug"] == 28


def test_one_user_is_left_however_few_are_asked_for_and_all_where_enough(make_data) -> None:
    data = make_data([(u, u, 10 * u + i) for u in range(3) for i in range(5)])
    assert len(of_few_users(data, 1).log) == 5
    assert of_few_users(data, 15) is data
