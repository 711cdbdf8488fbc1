"""Item texts whose fields change: what each was as of a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from coldlm.core.tables import Ints
from coldlm.data.canonical.template import fill


@dataclass(frozen=True)
class DatedField:
    """How the values of a field that changes become one: the ``limit`` most frequent so far, the
    earlier first among equals, joined by ", ". ``at_entry``: an item that enters with the slot of
    its first event (under ``release=grid``) shows the first value that it takes in that slot, as
    for a description that was there before anybody bought; False for what users add, such as
    tags."""

    limit: int = 1
    at_entry: bool = True


class TextsAsOf:
    """[N] times -> [N] texts as they were known strictly before each item's time, and [N] when the
    newest value in each was made (0 where none changes). ``until``: [N] seconds before which a
    value may be made that stands in at entry."""

    def __init__(
        self,
        template: str,
        columns: Mapping[str, Sequence[str]],
        dated: pl.DataFrame,
        rules: Mapping[str, DatedField],
        n_items: int,
    ) -> None:
        self._template, self._columns, self._dated, self._rules, self._n = (
            template,
            columns,
            dated,
            rules,
            n_items,
        )

    def __call__(self, times: Ints, until: Ints) -> tuple[tuple[str, ...], Ints]:
        columns, known_at = dict(self._columns), np.zeros(self._n, np.int64)
        for name in self._rules:
            columns[name], newest = self.values(name, times, until)
            known_at = np.maximum(known_at, newest)
        return fill(self._template, columns), known_at

    def values(self, name: str, times: Ints, until: Ints) -> tuple[list[str], Ints]:
        """Return the field ``name`` of every item, and when its newest value was made."""
        rule, rows = self._rules[name], self._dated.filter(field=name)
        known = rows.filter(
            rows["timestamp"] < pl.Series(times[rows["item"].to_numpy()], dtype=pl.Int64)
        )
        ranked = (
            known.group_by("item", "value")
            .agg(
                pl.len().alias("uses"),
                pl.col("timestamp").min().alias("first"),
                pl.col("timestamp").max(),
            )
            .sort("item", "uses", "first", "value", descending=[False, True, False, False])
            .group_by("item", maintain_order=True)
            .agg(pl.col("value").head(rule.limit).str.join(", "), pl.col("timestamp").max())
        )
        found, newest = [""] * self._n, np.zeros(self._n, np.int64)
        if rule.at_entry:
            first = rows.sort("timestamp", maintain_order=True).unique(
                "item", keep="first", maintain_order=True
            )
            for item, value, time in first.select("item", "value", "timestamp").iter_rows():
                if time < until[item]:
                    found[item], newest[item] = value, time
        for item, value, time in ranked.iter_rows():
            found[item], newest[item] = value, time
        return found, newest
