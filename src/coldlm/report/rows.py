"""What tables and figures are made of: the rows that runs become, and the comparison that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import polars as pl

from coldlm.core.columns import (
    HONEST_SPLITS,
    SIMULATED_COLD,
    WARMUP_BUCKETS,
)
from coldlm.report.statistics import Estimate, estimate, is_small
from coldlm.report.target import HEADLINE, K, Target
from coldlm.runs.manifest import Manifest

KINDS: Final = ("strategy", "control", "baseline")
WITHOUT_UPDATES: Final = ("history", "static")
"""Schedules whose weights stay as they were trained."""

CELL: Final = ("window", "cohort", "bucket", "average", "metric", "k")
"""Columns that name one number of one row."""

SLICE: Final = ("cohort", "bucket", "metric")
"""Columns that name what each user has a value in."""


@dataclass(frozen=True)
class Row:
    """One line of every table and figure. ``kind``: one of ``KINDS``. ``seeds``: how many were
    averaged.
    ``manifests``: of the runs behind it, none for a baseline. ``newer``: its checkpoint is newer
    than T_test. ``learned``: it is a baseline that learns in epochs. ``streams``: of those runs whose
    schedule is the row's own, see ``evaluate.continual.stretch``; ``probes``: of the same, see
    ``evaluate.continual.matrix``.
    ``lists``: those of weights as trained, a table per seed, see ``experiment/lists.py``; ``shown``: what
    they hold, see ``evaluate/shown.py``."""

    kind: str
    label: str
    schedule: str
    seeds: int
    manifests: tuple[Manifest, ...] = field(repr=False, compare=False)
    newer: bool = False
    learned: bool = False
    streams: tuple[pl.DataFrame, ...] = field(default=(), repr=False, compare=False)
    probes: tuple[pl.DataFrame, ...] = field(default=(), repr=False, compare=False)
    shown: tuple[dict[str, float], ...] = field(default=(), repr=False, compare=False)
    lists: tuple[pl.DataFrame, ...] = field(default=(), repr=False, compare=False)

    @property
    def its_seeds(self) -> set[str]:
        """Of the runs behind it."""
        return {str(manifest.axes["seed"]) for manifest in self.manifests}

    @property
    def draws(self) -> bool:
        """Return whether its seeds are chance of its own: no other baseline than one that learns in
        epochs draws anything that matters."""
        return self.kind != "baseline" or self.learned

    @property
    def is_outside(self) -> bool:
        """Return whether its scores came from a file of other software."""
        return any(manifest.scores_from is not None for manifest in self.manifests)

    @property
    def name(self) -> str:
        return self.label if self.kind == "baseline" else f"{self.label}, {self.schedule}"


@dataclass(frozen=True)
class FailedRow:
    """What is missing for runs that failed. ``kind``, ``label``, ``schedule``: of the row that it would
    have been part of. ``ends``: (seed, FAILED or DIVERGED, why) of each."""

    kind: str
    label: str
    schedule: str
    ends: tuple[tuple[str, str, str], ...]

    @property
    def name(self) -> str:
        return f"{self.label}, {self.schedule}"

    @property
    def status(self) -> str:
        """Return the word that stands in its cells."""
        return "DIVERGED" if all(status == "DIVERGED" for _, status, _ in self.ends) else "FAILED"

    @property
    def words(self) -> str:
        """Return each seed with the reason, and with its end where that is another."""
        return "; ".join(
            f"seed {seed}{f' {status}' * (status != self.status)}: {why}"
            for seed, status, why in self.ends
        )


@dataclass(frozen=True, eq=False)
class UserValues:
    """``table``: ``row``, the columns of ``SLICE``, ``seed, user, value``. What is found in it is kept, for
    the copies of a comparison too."""

    table: pl.DataFrame

    def of(self, row: int, which: Sequence[str]) -> pl.DataFrame:
        """Return the lines of one row in one slice."""
        return self._parts.get((row, *which), self.table.clear())

    def panel(self, row: int, which: tuple[str, str, str]) -> pl.DataFrame:
        """Return ``user`` and a column per seed, of the users that all seeds have."""
        if (row, which) not in self._panels:
            self._panels[row, which] = _panel(self.of(row, which))
        return self._panels[row, which]

    @cached_property
    def _parts(self) -> dict[tuple[Any, ...], pl.DataFrame]:
        return self.table.partition_by("row", *SLICE, as_dict=True)

    @cached_property
    def _panels(self) -> dict[tuple[int, tuple[str, str, str]], pl.DataFrame]:
        return {}


def _panel(rows: pl.DataFrame) -> pl.DataFrame:
    if rows.is_empty():
        return pl.DataFrame(schema={"user": pl.String})
    seeds = rows["seed"].unique().sort().to_list()
    table = rows.pivot("seed", on_columns=seeds, index="user", values="value")
    return table.drop_nulls().sort("user")


@dataclass(frozen=True)
class Comparison:
    """Runs that answered the same queries. ``values``: ``row`` (position in ``rows``), the columns
    of ``CELL``, ``value`` (null: not measurable), ``n_users, n_queries, n_events``, averaged over
    seeds. ``users``: the values behind them, of each user. ``warnings``: what a reader must know before
    believing a number.
    ``shots``: the k-shot comparisons of the same runs, see ``report/k_shot.py``. ``target``: the metric
    that is meant where none is named. ``failed``: what is missing, and why. ``only``: what somebody chose
    among the runs, in words."""

    title: str
    split: str
    candidates: str
    manifests: tuple[Manifest, ...]
    rows: tuple[Row, ...]
    values: pl.DataFrame
    users: UserValues
    warnings: tuple[str, ...]
    shots: tuple[Comparison, ...] = ()
    target: Target = HEADLINE
    failed: tuple[FailedRow, ...] = ()
    only: str = ""

    @property
    def lost(self) -> tuple[FailedRow, ...]:
        """Return what has no row at all: none of its seeds is there."""
        there = {(row.kind, row.label, row.schedule) for row in self.rows}
        return tuple(it for it in self.failed if (it.kind, it.label, it.schedule) not in there)

    def lacks(self, row: Row) -> FailedRow | None:
        """Return the seeds of a row that failed, None where none did."""
        key = row.kind, row.label, row.schedule
        return next((it for it in self.failed if (it.kind, it.label, it.schedule) == key), None)

    @property
    def mark(self) -> str:
        """The word that every row of these runs must carry: LEAKY, SIMULATED, or none."""
        if self.split.startswith(SIMULATED_COLD):
            return "SIMULATED"
        return "" if self.split in HONEST_SPLITS else "LEAKY"

    def value(
        self,
        row: int,
        cohort: str = "all",
        average: str = "macro",
        metric: str | None = None,
        k: int | None = None,
        bucket: str = "all",
    ) -> float | None:
        """Return one number over the whole stream, None where it was not measurable."""
        metric = metric or self.target.metric
        cut = self.cut(metric) if k is None else k
        return self._whole.get((row, cohort, bucket, average, metric, cut))

    def cut(self, metric: str) -> int:
        """Return the k at which a metric is looked at."""
        return self.target.k if metric == self.target.metric else K

    def curve(self, by: str, among: str | None = None) -> pl.DataFrame:
        """Return ``row, bucket, value, n_users, n_events``: the macro average by the number of events an
        item (or user) has had, in the order of ``WARMUP_BUCKETS``; ``by`` is "item" or "user"; ``among``:
        the metric of a view, None of all candidates."""
        order = {f"{by}:{bucket}": i for i, bucket in enumerate(WARMUP_BUCKETS)}
        chosen = self._cells(
            pl.col("window") == -1, pl.col("bucket").is_in(list(order)), metric=among
        )
        chosen = chosen.with_columns(
            pl.col("bucket").replace_strict(order, return_dtype=pl.Int64).alias("at")
        )
        return chosen.sort("row", "at").select(
            "row", pl.col("bucket").str.strip_prefix(f"{by}:"), "value", "n_users", "n_events"
        )

    def by_window(self) -> pl.DataFrame:
        """Return ``row, window, value, n_users, n_events``: macro average of every window of the stream."""
        chosen = self._cells(pl.col("window") >= 0, pl.col("bucket") == "all")
        return chosen.sort("row", "window").select("row", "window", "value", "n_users", "n_events")

    def per_user(self, row: int, cohort: str = "all") -> pl.DataFrame:
        """Return ``user, value`` of one row in a cohort, averaged over seeds, sorted by user."""
        rows = self.users.of(row, (cohort, "all", self.target.metric))
        return rows.group_by("user").agg(pl.col("value").mean()).sort("user")

    def estimate(
        self, row: int, cohort: str = "all", *, bucket: str = "all", metric: str | None = None
    ) -> Estimate:
        """Return one row's mean in a cohort, or in a bucket of items, of all candidates or of a
        view, and how sure it is."""
        table = self.users.panel(row, (cohort, bucket, metric or self.target.metric))
        return estimate(table.drop("user").to_numpy().T)

    def difference(
        self,
        left: int,
        right: int,
        cohort: str = "all",
        *,
        bucket: str = "all",
        metric: str | None = None,
    ) -> Estimate | None:
        """Return one row minus another, paired by user and by seed, of the seeds that both have; None
        where too few users or events are behind it. A baseline that draws nothing has no seed: its mean
        stands against each. Rows without a seed in common are compared as they are on average, by users
        alone and with 0 ``seeds``."""
        which = cohort, bucket, metric or self.target.metric
        tables = [self.users.panel(row, which) for row in (left, right)]
        if any(table.is_empty() for table in tables):
            return None
        fixed = [not self.rows[row].draws for row in (left, right)]
        shared = sorted(set(tables[0].columns[1:]) & set(tables[1].columns[1:]))
        seeds = None if any(fixed) or shared else 0
        for i, (table, is_fixed) in enumerate(zip(tables, fixed, strict=True)):
            if is_fixed or seeds == 0:
                tables[i] = table.select("user", pl.mean_horizontal(pl.exclude("user")))
            elif not any(fixed):
                tables[i] = table.select("user", *shared)
        both = tables[0].join(tables[1], on="user", how="inner", maintain_order="left")
        events = min(self._counts.get((row, *which), (0, 0))[1] for row in (left, right))
        if is_small(both.height, events):
            return None
        cut = tables[0].width
        values = both.drop("user").to_numpy().T
        return estimate(values[: cut - 1] - values[cut - 1 :], seeds)

    def is_small(
        self, row: int, cohort: str, *, bucket: str = "all", metric: str | None = None
    ) -> bool:
        """Return whether so few users or events are behind a row in a cohort, or in a bucket of items,
        that nothing is claimed of it."""
        return is_small(
            *self._counts.get((row, cohort, bucket, metric or self.target.metric), (0, 0))
        )

    @cached_property
    def _whole(self) -> dict[tuple[Any, ...], float]:
        whole = self.values.filter(window=-1)
        keys = whole.select("row", "cohort", "bucket", "average", "metric", "k").rows()
        return dict(zip(keys, whole["value"], strict=True))

    @cached_property
    def _counts(self) -> dict[tuple[Any, ...], tuple[int, int]]:
        own, k = pl.col("metric") == self.target.metric, pl.col("k")
        whole = self.values.filter(
            pl.when(own).then(k == self.target.k).otherwise(k == K), window=-1, average="macro"
        )
        counted = whole.select("row", *SLICE, "n_users", "n_events").rows()
        return {tuple(which): (users, events) for *which, users, events in counted}

    def _cells(self, *conditions: pl.Expr, metric: str | None = None) -> pl.DataFrame:
        metric = metric or self.target.metric
        return self.values.filter(
            *conditions, cohort="all", average="macro", metric=metric, k=self.cut(metric)
        )
