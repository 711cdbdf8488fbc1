"""What tables and figures are made of: runs, the rows they become, and the comparison that holds
the rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import polars as pl

from coldlm.core.columns import HEADLINE_K, SIMULATED_COLD, WARMUP_BUCKETS
from coldlm.core.tables import Floats
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
    ``stream.parquet``, None without that stage."""

    folder: Path
    manifest: Manifest
    facts: dict[str, Any]
    results: pl.DataFrame
    users: pl.DataFrame
    shots: pl.DataFrame | None = None
    stream: pl.DataFrame | None = None

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
    than T_test. ``streams``: of those runs that have one, see ``evaluate.continual.series``."""

    kind: str
    label: str
    schedule: str
    seeds: int
    manifests: tuple[Manifest, ...] = field(repr=False, compare=False)
    newer: bool = False
    streams: tuple[pl.DataFrame, ...] = field(default=(), repr=False, compare=False)

    @property
    def its_seeds(self) -> set[str]:
        """Of the runs behind it."""
        return {str(manifest.axes["seed"]) for manifest in self.manifests}

    @property
    def name(self) -> str:
        return self.label if self.kind == "baseline" else f"{self.label}, {self.schedule}"


@dataclass(frozen=True)
class Comparison:
    """Runs that answered the same queries. ``values``: ``row`` (position in ``rows``), the columns
    of ``CELL``, ``value`` (null: not measurable), ``n_users, n_queries, n_events``. ``users``:
    ``row, cohort, user, value``: nDCG@10. Both are averaged over seeds. ``warnings``: what a reader
    must know before believing a number.
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
        return "" if self.split == "time" else "LEAKY"

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

    def curve(self, by: str) -> pl.DataFrame:
        """Return ``row, bucket, value, n_events``: macro nDCG@10 by the number of events an item
        (or user) has had, in the order of ``WARMUP_BUCKETS``; ``by`` is "item" or "user"."""
        order = {f"{by}:{bucket}": i for i, bucket in enumerate(WARMUP_BUCKETS)}
        chosen = self._cells(pl.col("window") == -1, pl.col("bucket").is_in(list(order)))
        chosen = chosen.with_columns(
            pl.col("bucket").replace_strict(order, return_dtype=pl.Int64).alias("at")
        )
        return chosen.sort("row", "at").select(
            "row", pl.col("bucket").str.strip_prefix(f"{by}:"), "value", "n_events"
        )

    def by_window(self) -> pl.DataFrame:
        """Return ``row, window, value, n_events``: macro nDCG@10 of every window of the stream."""
        chosen = self._cells(pl.col("window") >= 0, pl.col("bucket") == "all")
        return chosen.sort("row", "window").select("row", "window", "value", "n_events")

    def per_user(self, row: int, cohort: str = "all") -> pl.DataFrame:
        """Return ``user, value`` of one row in a cohort, sorted by user."""
        return self._users.get((row, cohort), self.users.clear()).select("user", "value")

    def paired(self, left: int, right: int, cohort: str = "all") -> tuple[Floats, Floats]:
        """Return the values, [U] each, of the users that both rows share."""
        left_users, right_users = self.per_user(left, cohort), self.per_user(right, cohort)
        both = left_users.join(right_users, on="user", how="inner", maintain_order="left")
        return both["value"].to_numpy(), both["value_right"].to_numpy()

    @cached_property
    def _whole(self) -> dict[tuple[Any, ...], float]:
        whole = self.values.filter(window=-1, bucket="all")
        keys = whole.select("row", "cohort", "average", "metric", "k").rows()
        return dict(zip(keys, whole["value"], strict=True))

    @cached_property
    def _users(self) -> dict[tuple[Any, ...], pl.DataFrame]:
        return self.users.sort("user").partition_by("row", "cohort", as_dict=True)

    def _cells(self, *conditions: pl.Expr) -> pl.DataFrame:
        return self.values.filter(cohort="all", average="macro", metric=METRIC, k=K).filter(
            *conditions
        )
