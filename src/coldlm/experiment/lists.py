"""The lists of the best k that scorers would show: kept as rows, and described."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from coldlm.core.columns import HEADLINE_K, N_SHOWN
from coldlm.core.tables import Ints, Queries
from coldlm.evaluate.baselines import TfIdf
from coldlm.evaluate.judge import ScoreFunction
from coldlm.evaluate.shown import NOWHERE, Lists, describe, show
from coldlm.experiment.world import World
from coldlm.split.queries import draw

HISTORY = 5
"""Of a user's last items, how many stand beside a list."""


@dataclass(frozen=True)
class _Told:
    """What is told of the queries beside any list. ``users``, ``items``, ``titles``: [U], [N], [N]
    ids and titles. ``asked``: [P] query * N + item of what was asked for. ``history``, ``wanted``: [Q]
    titles of what the user took last, and of what was asked for. ``typed``: [Q] texts, None where the
    data have none."""

    users: pl.Series
    items: pl.Series
    titles: pl.Series
    asked: Ints
    history: pl.Series
    wanted: pl.Series
    typed: pl.Series | None


@dataclass
class ShownLists:
    """The lists of each scorer for the same drawn queries, and what they hold. ``number``: of queries
    at most. ``shelf``: see ``evaluate.shelf``. ``kept``: name -> rows, see ``rows``."""

    world: World
    number: int
    shelf: int
    kept: dict[str, pl.DataFrame] = field(default_factory=dict)
    said: dict[str, dict[str, float]] = field(default_factory=dict)
    _queries: Queries | None = None
    _words: Any = None
    _told: _Told | None = None

    def without_rows(self) -> ShownLists:
        """Return lists for the same queries, with none kept yet."""
        return replace(self, kept={}, said={})

    @property
    def queries(self) -> Queries:
        """Return those whose lists are looked at: the stream's, drawn; none where lists are ranked as
        they were shown."""
        if self._queries is None:
            stream = self.world.stream
            self._queries = (
                draw(stream, self.number)
                if self.number and stream.lists is None
                else stream.slice(0, 0)
            )
        return self._queries

    def add(self, scorer: ScoreFunction, name: str) -> None:
        """Keep and describe a scorer's lists."""
        world, queries = self.world, self.queries
        if not len(queries):
            return
        if self._words is None:
            texts = TfIdf(world.data, world.catalogue, world.as_of, 1, world.split.t_test)
            self._words = texts.vectors
            self._told = self._tell()
        lists = show(scorer, queries, world.data, world.catalogue, HEADLINE_K, name=name)
        self.kept[name] = self._rows(lists, name)
        cold, as_of = world.cold_items, world.as_of
        self.said[name] = describe(
            lists, queries, world.catalogue, as_of, self.shelf, cold, self._words
        )

    def frame(self) -> pl.DataFrame:
        """Return the rows of all scorers; without any, no columns either."""
        return pl.concat(self.kept.values()) if self.kept else pl.DataFrame()

    def _rows(self, lists: Lists, name: str) -> pl.DataFrame:
        """One row per place: scorer, query (its number among those drawn), user, time, rank, item,
        title, score, n of the item as a scorer may know it, whether it was asked for, whether the user
        was cold; at rank 1 the titles of what the user took last and of all that was asked for, and what
        was typed where the data have such texts."""
        world, queries, told = self.world, self.queries, self._told
        assert told is not None  # see ``add``
        row, place = np.nonzero(lists.there)
        item = lists.item[row, place]
        first = pl.select(pl.when(pl.Series(place) == 0).then(pl.Series(row))).to_series()
        return pl.DataFrame(
            {
                "scorer": pl.repeat(name, len(row), dtype=pl.String, eager=True),
                "query": row,
                "user": told.users[queries.user[row]],
                "time": queries.time[row],
                "rank": place + 1,
                "item": told.items[item],
                "title": told.titles[item],
                "score": lists.score[row, place],
                N_SHOWN: world.as_of.counts(queries.time)[row, item],
                "asked": np.isin(row * len(told.items) + item, told.asked),
                "cold_user": world.cold_users[queries.user[row]],
                "history": told.history.gather(first),
                "wanted": told.wanted.gather(first),
            }
            | ({} if told.typed is None else {"typed": told.typed.gather(first)})
        )

    def _tell(self) -> _Told:
        world, queries = self.world, self.queries
        of = world.data.users.ids, world.data.items.ids, world.data.items.titles
        users, items, titles = (pl.Series(names, dtype=pl.String) for names in of)
        owner = np.repeat(np.arange(len(queries)), np.diff(queries.start))
        taken = world.data.log.item[queries.event]
        past = world.as_of.history(queries.user, queries.time, HISTORY)
        took = [titles[items[items != NOWHERE]].to_list() for items in past]
        wanted = [titles[taken[a:b]].to_list() for a, b in itertools.pairwise(queries.start)]
        typed, people = None, world.data.users
        if people.queries:
            place = people.place(world.data.who_asks(queries))
            typed = pl.Series(("",) * len(people) + people.queries).gather(place)
        words = pl.List(pl.String)
        return _Told(
            users,
            items,
            titles,
            owner * len(titles) + taken,
            pl.Series(took, dtype=words),
            pl.Series(wanted, dtype=words),
            typed,
        )
