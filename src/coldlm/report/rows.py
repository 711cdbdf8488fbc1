"""What tables and figures are made of: runs, the rows they become, and the comparison that holds
the rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import polars as pl

from coldlm.core.columns import HEADLINE_K, HONEST_SPLITS, SIMULATED_COLD, WARMUP_BUCKETS
from coldlm.report.statistics import Estimate, estimate, is_small
from coldlm.runs.manifest import Manifest

METRIC: Final = "ndcg"
K: Final = HEADLINE_K
"""The headline metric is nDCG@10, the mean over users."""

KINDS: Final = ("strategy", "control", "baseline")
WITHOUT_UPDATES: Final = ("history", "static")
"""Schedules whose weights stay as they were trained."""

CELL: Final = ("window", "cohort", "bucket", "average", "metric", "k")
"""Columns that name one number of one row."""


@dataclass(frozen=True)
class FinishedRun:
    """One finished run folder. ``facts``: its ``RUN_COLUMNS``, seed, config hash and online
    schedule. ``results``: rows of ``results.parquet`` of stages test and online. ``users``:
    nDCG@10, one row per user and cohort. ``shots``: rows of ``k_shot.parquet``, ``stream``: of
    ``stream.parquet``, ``lists``: of ``lists.parquet``, None without that stage."""

    folder: Path
    manifest: Manifest
    facts: dict[str, Any]
    results: pl.DataFrame
    users: pl.DataFrame
    shots: pl.DataFrame | None = None
    stream: pl.DataFrame | None = None
    lists: pl.DataFrame | None = None

    @cached_property
    def schedules(self) -> set[str]:
        """Return the schedules that it has rows of."""
        return set(self.results["schedule"].unique())

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for two folders that hold the same run."""
        return tuple(value for name, value in self.facts.items() if name != "run")

    @property
    def question(self) -> dict[str, Any]:
        """What must be equal for two runs to stand in one table."""
        dataset = self.manifest.data
        return {
            "queries": self.manifest.question,
            "dataset": dataset.name,
            "split": self.facts["split"],
            "candidates": self.facts["candidates"],
            **dataset.dates,
            **{
                name: getattr(dataset, name)
                for name in ("n_users", "n_items", "n_events", "hashes", "half_lives_days")
            },
        }


@dataclass(frozen=True)
class Row:
    """One line of every table and figure. ``kind``: one of ``KINDS``. ``seeds``: how many were
    averaged.
    ``manifests``: of the runs behind it, none for a baseline. ``newer``: its checkpoint is newer
    than T_test. ``streams``: of those runs whose schedule is the row's own, see ``evaluate.continual.stretch``.
    ``lists``: those of weights as trained, a table per seed, see ``experiment/lists.py``; ``shown``: what
    they hold, see ``evaluate/shown.py``."""

    kind: str
    label: str
    schedule: str
    seeds: int
    manifests: tuple[Manifest, ...] = field(repr=False, compare=False)
    newer: bool = False
    streams: tuple[pl.DataFrame, ...] = field(default=(), repr=False, compare=False)
    shown: tuple[dict[str, float], ...] = field(default=(), repr=False, compare=False)
    lists: tuple[pl.DataFrame, ...] = field(default=(), repr=False, compare=False)

    @property
    def its_seeds(self) -> set[str]:
        """Of the runs behind it."""
        return {str(manifest.axes["seed"]) for manifest in self.manifests}

    @property
    def is_outside(self) -> bool:
        """Return whether its scores came from a file of other software."""
        return any(manifest.scores_from is not None for manifest in self.manifests)

    @property
    def name(self) -> str:
        return self.label if self.kind == "baseline" else f"{self.label}, {self.schedule}"


@dataclass(frozen=True)
class Comparison:
    """Runs that answered the same queries. ``values``: ``row`` (position in ``rows``), the columns
    of ``CELL``, ``value`` (null: not measurable), ``n_users, n_queries, n_events``, averaged over
    seeds. ``users``: ``row, cohort, seed, user, value``: nDCG@10. ``warnings``: what a reader must know
    before believing a number.
    ``shots``: the k-shot comparisons of the same runs, see ``report/k_shot.py``."""

    title: str
    split: str
    candidates: str
    manifests: tuple[Manifest, ...]
    rows: tuple[Row, ...]
    values: pl.DataFrame
    users: pl.DataFrame
    warnings: tuple[str, ...]
    shots: tuple[Comparison, ...] = ()

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
        metric: str = METRIC,
        k: int = K,
    ) -> float | None:
        """Return one number over the whole stream, None where it was not measurable."""
        return self._whole.get((row, cohort, average, metric, k))

    def curve(self, by: str, among: str = METRIC) -> pl.DataFrame:
        """Return ``row, bucket, value, n_users, n_events``: macro nDCG@10 by the number of events an item
        (or user) has had, in the order of ``WARMUP_BUCKETS``; ``by`` is "item" or "user"; ``among``:
        the metric, of all candidates or of a view."""
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
        """Return ``row, window, value, n_users, n_events``: macro nDCG@10 of every window of the stream."""
        chosen = self._cells(pl.col("window") >= 0, pl.col("bucket") == "all")
        return chosen.sort("row", "window").select("row", "window", "value", "n_users", "n_events")

    def per_user(self, row: int, cohort: str = "all") -> pl.DataFrame:
        """Return ``user, value`` of one row in a cohort, averaged over seeds, sorted by user."""
        rows = self._users.get((row, cohort), self.users.clear())
        return rows.group_by("user").agg(pl.col("value").mean()).sort("user")

    def estimate(self, row: int, cohort: str = "all") -> Estimate:
        """Return one row's nDCG@10 in a cohort, and how sure it is."""
        table = self._panel(row, cohort)
        return estimate(table.drop("user").to_numpy().T)

    def difference(self, left: int, right: int, cohort: str = "all") -> Estimate | None:
        """Return one row minus another, paired by user and by seed, of the seeds that both have; None
        where too few users or events are behind it. A baseline has no seed: its mean stands against each. Rows without
        a seed in common are compared as they are on average, by users alone and with 0 ``seeds``."""
        tables = [self._panel(row, cohort) for row in (left, right)]
        if any(table.is_empty() for table in tables):
            return None
        fixed = [self.rows[row].kind == "baseline" for row in (left, right)]
        shared = sorted(set(tables[0].columns[1:]) & set(tables[1].columns[1:]))
        seeds = None if any(fixed) or shared else 0
        for i, (table, is_fixed) in enumerate(zip(tables, fixed, strict=True)):
            if is_fixed or seeds == 0:
                tables[i] = table.select("user", pl.mean_horizontal(pl.exclude("user")))
            elif not any(fixed):
                tables[i] = table.select("user", *shared)
        both = tables[0].join(tables[1], on="user", how="inner", maintain_order="left")
        events = min(self._counts.get((row, cohort), (0, 0))[1] for row in (left, right))
        if is_small(both.height, events):
            return None
        cut = tables[0].width
        values = both.drop("user").to_numpy().T
        return estimate(values[: cut - 1] - values[cut - 1 :], seeds)

    def is_small(self, row: int, cohort: str) -> bool:
        """Return whether so few users or events are behind a row in a cohort that nothing is claimed
        of it."""
        return is_small(*self._counts.get((row, cohort), (0, 0)))

    def _panel(self, row: int, cohort: str) -> pl.DataFrame:
        """``user`` and a column per seed, of the users that all seeds have."""
        rows = self._users.get((row, cohort), self.users.clear())
        if rows.is_empty():
            return pl.DataFrame(schema={"user": pl.String})
        seeds = rows["seed"].unique().sort().to_list()
        table = rows.pivot("seed", on_columns=seeds, index="user", values="value")
        return table.drop_nulls().sort("user")

    @cached_property
    def _whole(self) -> dict[tuple[Any, ...], float]:
        whole = self.values.filter(window=-1, bucket="all")
        keys = whole.select("row", "cohort", "average", "metric", "k").rows()
        return dict(zip(keys, whole["value"], strict=True))

    @cached_property
    def _counts(self) -> dict[tuple[Any, ...], tuple[int, int]]:
        whole = self.values.filter(
            window=-1, bucket="all", average="macro", metric=METRIC, k=K
        ).select("row", "cohort", "n_users", "n_events")
        return {(row, cohort): (users, events) for row, cohort, users, events in whole.rows()}

    @cached_property
    def _users(self) -> dict[tuple[Any, ...], pl.DataFrame]:
        return self.users.sort("user", "seed").partition_by("row", "cohort", as_dict=True)

    def _cells(self, *conditions: pl.Expr, metric: str = METRIC) -> pl.DataFrame:
        return self.values.filter(cohort="all", average="macro", metric=metric, k=K).filter(
            *conditions
        )
