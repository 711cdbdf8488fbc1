"""A small crowded world, and batches of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import SCALE, AsOf
from coldlm.core.seeding import generator
from coldlm.core.tables import DAY, Dataset, Ints
from coldlm.learn.batches import Batches, Recipe
from coldlm.split.queries import trainable

MakeData = Callable[..., Dataset]
RECIPE = Recipe(
    batch_size=8, session=3, history=3, pseudo_query=0.0, uses_text=True, uses_context=True, seed=1
)


@dataclass
class Small:
    """A data set with all that training looks at, and what must be true of it, written as plain
    loops."""

    data: Dataset
    catalogue: Catalogue
    as_of: AsOf
    rows: Ints

    def batches(
        self, wants: Any, *, epoch: int = 0, share: tuple[int, int] = (0, 1), **recipe: Any
    ) -> Batches:
        made = Recipe(**{**RECIPE.__dict__, **recipe})
        return Batches(
            self.data, self.catalogue, self.as_of, self.rows, wants, made, epoch=epoch, share=share
        )

    def negatives(self, row: int) -> set[int]:
        """Items that had entered and not left, that the user had not met, and that are not of the
        event's block."""
        log, c = self.data.log, self.catalogue
        user, time = log.user[row], log.time[row]
        met = {
            int(log.item[e])
            for e in range(len(log))
            if log.user[e] == user
            and (log.time[e] == time or (log.time[e] < time and not self.data.repeats))
        }
        inside = (c.enters_at <= time) & (time < c.leaves_at)
        return {item for item in range(len(self.data.items)) if inside[item]} - met

    def history(self, row: int, length: int) -> list[int]:
        """Items of the user's last positives strictly before the event, newest first."""
        log = self.data.log
        past = [
            int(log.item[e])
            for e in range(len(log))
            if log.user[e] == log.user[row] and log.time[e] < log.time[row] and log.positive[e]
        ]
        return past[::-1][:length]

    def features(self, row: int, item: int) -> list[float]:
        """Context of an item as of an event: what happened strictly before it."""
        log, now = self.data.log, int(self.data.log.time[row])
        times = [
            int(t)
            for t, i, p in zip(log.time, log.item, log.positive, strict=True)
            if i == item and p and t < now
        ]
        half_lives = [days * DAY for days in self.data.half_lives_days]
        decayed = [sum(2 ** (-(now - t) / half_life) for t in times) for half_life in half_lives]
        age = max(0, now - int(self.catalogue.enters_at[item])) / DAY
        return [
            *(float(np.log1p(x)) / SCALE for x in [*decayed, len(times), age]),
            float(not times),
        ]


@pytest.fixture(scope="session")
def make_small(make_data: MakeData) -> Callable[..., Small]:
    """Six users with 2 to 14 events, twelve items of which five are released late; some events
    share a second."""

    def make(repeats: bool = False, all_positive: bool = False, **keys: Any) -> Small:
        rng = generator(0, "small world")
        released = {item: (0 if item < 7 else 40 * item - 200) for item in range(12)}
        events: list[tuple[int, int, int, bool]] = []
        for user, n in enumerate((2, 3, 4, 7, 9, 10)):
            times = np.sort(rng.integers(10, 300, n)) // 5 * 5
            for time in times.tolist():
                met = set() if repeats else {item for u, item, *_ in events if u == user}
                open_ = [item for item in range(12) if released[item] <= time and item not in met]
                # few items take most events
                chance = 1 / (1 + np.array(open_))
                item = int(rng.choice(open_, p=chance / chance.sum()))
                events.append((user, item, time, all_positive or rng.random() < 0.8))
        texts = [
            "space adventure",
            "the sea",
            "moon",
            "大海的故事",
            "a",
            "star ship",
            "deep water",
            "ice",
            "fire",
            "",
            "x",
            "tea",
        ]
        profiles = ["", "likes the sea", "", "reads 科幻", "", ""]
        data = make_data(
            events,
            items=12,
            released=released,
            texts=texts,
            profiles=profiles,
            repeats=repeats,
            **keys,
        )
        catalogue = Catalogue(data)
        as_of = AsOf(
            data.log, len(data.users), len(data.items), catalogue.enters_at, data.half_lives_days
        )
        return Small(
            data, catalogue, as_of, trainable(data.log, catalogue, np.arange(len(data.log)))
        )

    return make


@pytest.fixture(scope="session")
def small(make_small: Callable[..., Small]) -> Any:
    return make_small()
