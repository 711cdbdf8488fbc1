"""Scores of other software as a ``ScoreFunction``: looked up for a few queries at a time in a table on disk,
which is sorted by query in parts, so that there never is a matrix of all queries and items. The table
is made by ``score_files``.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import torch
from torch import Tensor

from coldlm.asof.grouped import ranges
from coldlm.core.tables import Bools, Floats, Ints

HELD: Final = 4_000_000
"""Rows that are sorted at a time, unless one query has more."""

LOWEST: Final = -np.finfo(np.float64).max
"""A score with no number below it, for what has none."""


class FileScores:
    """The scores of one file, a ``ScoreFunction`` for the queries that it was read for.

    An item without a score lies below all that have one, tied with the others without.

    Args:
        table: made by ``read_scores``: ``query``, ``item`` (codes), ``value``.
        who, times: [Q] of each query, see ``Users``.
        rows: [Q] rows of each query.
    """

    def __init__(self, table: Path, who: Ints, times: Ints, n_items: int, rows: Ints) -> None:
        self._table, self._n_items = table, n_items
        # two lists of one user in one second are one to a scorer
        self._times = np.unique(times)
        self._asked, first, self._same = np.unique(
            self._key(who, times), return_index=True, return_inverse=True
        )
        # in the order in which they are asked, so that parts are used up one by one
        order = np.argsort(first, kind="stable")
        size = np.bincount(self._same, rows, minlength=len(first))[order]
        self._part = np.zeros(len(first), np.int64)
        self._part[order] = (size.cumsum() - size) // HELD
        self._lock = threading.Lock()
        self._held: dict[int, tuple[Ints, Ints, Floats]] = {}

    def __call__(self, users: Ints, times: Ints) -> Tensor:
        """Return [Q, N] float64."""
        row, item, value = self.given(users, times)
        lowest = np.full(len(users), np.inf)
        np.minimum.at(lowest, row, value)
        with np.errstate(over="ignore"):
            below = np.where(np.isinf(lowest), 0.0, np.nextafter(lowest, -np.inf))
        below = np.maximum(below, LOWEST)  # where everything that matters has a score
        scores = np.repeat(below[:, None], self._n_items, 1)
        scores[row, item] = value
        return torch.from_numpy(scores)

    def given(self, users: Ints, times: Ints) -> tuple[Ints, Ints, Floats]:
        """Return (row, item, value) of what the file says of these queries."""
        group = self._group(users, times)
        found: list[tuple[Ints, Ints, Floats]] = []
        for part in np.unique(self._part[group]).tolist():
            start, item, value = self._hold(part)
            asked = np.flatnonzero(self._part[group] == part)
            at, which = ranges(start[group[asked]], start[group[asked] + 1])
            found.append((asked[which], item[at], value[at]))
        row, item, value = (np.concatenate(columns) for columns in zip(*found, strict=True))
        return row, item, value

    @property
    def reaches_the_lowest(self) -> bool:
        """Return whether any score has no number below it."""
        value = pl.scan_parquet(self._table).select((pl.col("value") == LOWEST).any())
        return bool(value.collect(engine="streaming").item())

    def _key(self, users: Ints, times: Ints) -> Ints:
        """A number per (user, time)."""
        return users * len(self._times) + np.searchsorted(self._times, times)

    def _group(self, users: Ints, times: Ints) -> Ints:
        """The place of each (user, time) among those that were asked."""
        keys = self._key(users, times)
        group = np.searchsorted(self._asked, keys)
        assert (self._asked[group] == keys).all(), "scores were read for other queries"
        return group

    def _hold(self, part: int) -> tuple[Ints, Ints, Floats]:
        """(offsets of the groups, items, values) of a part: sorted once, then looked up on disk."""
        with self._lock:
            if part not in self._held:
                files = [
                    self._table.with_name(f"{name}-{part}.npy")
                    for name in ("start", "item", "value")
                ]
                for file, column in zip(files, self._read(part), strict=True):
                    np.save(file, column)
                start, item, value = (np.load(file, mmap_mode="r") for file in files)
                self._held[part] = start, item, value
            return self._held[part]

    def _read(self, part: int) -> tuple[Ints, Ints, Floats]:
        wanted = np.flatnonzero(self._part[self._same] == part)
        lowest, highest = int(wanted.min(initial=0)), int(wanted.max(initial=-1))
        table = (
            pl.scan_parquet(self._table)
            .filter(pl.col("query").is_between(lowest, highest))
            .collect(engine="streaming")
        )
        query = table["query"].to_numpy()
        inside = self._part[self._same[query]] == part
        group, query = self._same[query[inside]], query[inside]
        item, value = table["item"].to_numpy()[inside], table["value"].to_numpy()[inside]
        order = np.argsort(group * self._n_items + item, kind="stable")
        group, item, value, query = group[order], item[order], value[order], query[order]
        again = np.zeros(len(group), bool)
        again[1:] = (group[1:] == group[:-1]) & (item[1:] == item[:-1])
        _refuse_repeats(again, query, item, value)
        group, item, value = group[~again], item[~again], value[~again]
        start = np.searchsorted(group, np.arange(len(self._asked) + 1))
        return start.astype(np.int64), item.astype(np.int64), value


class RepeatError(Exception):
    """(query, item code, what is wrong) of a pair that stands in the file twice."""


def _refuse_repeats(again: Bools, query: Ints, item: Ints, value: Floats) -> None:
    at = np.flatnonzero(again)
    twice = at[query[at] == query[at - 1]]
    if len(twice):
        raise RepeatError(int(query[twice[0]]), int(item[twice[0]]), len(twice), -1)
    apart = at[value[at] != value[at - 1]]
    if len(apart):
        p = apart[0]
        raise RepeatError(int(query[p]), int(item[p]), len(apart), int(query[p - 1]))
