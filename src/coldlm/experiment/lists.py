"""The lists of the best k that scorers would show: kept as rows, and described."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from coldlm.core.columns import HEADLINE_K, N_SHOWN
from coldlm.core.tables import Queries
from coldlm.evaluate.baselines import TfIdf
from coldlm.evaluate.judge import ScoreFunction
from coldlm.evaluate.shown import NOWHERE, Lists, describe, show
from coldlm.experiment.world import World
from coldlm.split.queries import draw

HISTORY = 5
"""Of a user's last items, how many stand beside a list."""


@dataclass
class ShownLists:
    """The lists of each scorer for the same drawn queries, and what they hold. ``number``: of queries
    at most. ``shelf``: see ``evaluate.shelf``."""

    world: World
    number: int
    shelf: int
    kept: dict[str, Lists] = field(default_factory=dict)
    said: dict[str, dict[str, float]] = field(default_factory=dict)
    _queries: Queries | None = None
    _words: Any = None

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
        lists = show(scorer, queries, world.data, world.catalogue, HEADLINE_K, name=name)
        self.kept[name] = lists
        cold, as_of = world.cold_items, world.as_of
        self.said[name] = describe(
            lists, queries, world.catalogue, as_of, self.shelf, cold, self._words
        )

    def frame(self) -> pl.DataFrame:
        """Return one row per place: scorer, query (its number among those drawn), user, time, rank,
        item, title, score, n of the item as a scorer may know it, whether it was asked for, whether the
        user was cold; at rank 1 the titles of what the user took last and of all that was asked for."""
        if not self.kept:
            return pl.DataFrame()
        world, queries = self.world, self.queries
        titles = pl.Series(world.data.items.titles, dtype=pl.String)
        ids = pl.Series(world.data.items.ids, dtype=pl.String)
        places = [np.nonzero(lists.there) for lists in self.kept.values()]
        row, place = (np.concatenate(part) for part in zip(*places, strict=True))
        each = list(zip(self.kept.values(), places, strict=True))
        item = np.concatenate([lists.item[at] for lists, at in each])
        names = np.repeat(list(self.kept), [len(at[0]) for at in places])
        known = world.as_of.counts(queries.time)
        owner = np.repeat(np.arange(len(queries)), np.diff(queries.start))
        taken = world.data.log.item[queries.event]
        asked = np.isin(row * len(titles) + item, owner * len(titles) + taken)
        past = world.as_of.history(queries.user, queries.time, HISTORY)
        first = place == 0
        took = [titles[items[items != NOWHERE]].to_list() for items in past]
        wanted = [titles[taken[a:b]].to_list() for a, b in itertools.pairwise(queries.start)]
        return pl.DataFrame(
            {
                "scorer": names,
                "query": row,
                "user": pl.Series(world.data.users.ids, dtype=pl.String)[queries.user[row]],
                "time": queries.time[row],
                "rank": place + 1,
                "item": ids[item],
                "title": titles[item],
                "score": np.concatenate([lists.score[at] for lists, at in each]),
                N_SHOWN: known[row, item],
                "asked": asked,
                "cold_user": world.cold_users[queries.user[row]],
            }
        ).with_columns(
            pl.Series(
                name,
                [
                    titles_of[r] if is_first else None
                    for r, is_first in zip(row, first, strict=True)
                ],
                dtype=pl.List(pl.String),
            )
            for name, titles_of in (("history", took), ("wanted", wanted))
        )
