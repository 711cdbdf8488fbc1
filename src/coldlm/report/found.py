"""Run folders as they were found: finished, or failed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from coldlm.runs.manifest import Manifest


def with_bucket(users: pl.DataFrame) -> pl.DataFrame:
    """Return rows of ``per_user.parquet`` as they are now: earlier versions kept no buckets."""
    return users if "bucket" in users.columns else users.with_columns(bucket=pl.lit("all"))


@dataclass(frozen=True)
class AnyRun:
    """A run folder. ``facts``: what a sweep compares, by name."""

    folder: Path
    manifest: Manifest
    facts: dict[str, Any]


@dataclass(frozen=True)
class FailedRun(AnyRun):
    """A run that has ended without results. ``status``: FAILED or DIVERGED. ``why``: its reason."""

    status: str
    why: str

    @property
    def schedule(self) -> str:
        """Return the schedule whose row is missing for it."""
        online = str(self.facts["online"])
        return "history" if online == "off" else online


@dataclass(frozen=True)
class FinishedRun(AnyRun):
    """One finished run folder. ``facts``: its ``RUN_COLUMNS``, seed, config hash and online
    schedule. ``results``: rows of ``results.parquet`` of stages test and online. ``users``: nDCG@10,
    that of the views, and the metric that was asked for, one row per user and cohort, or bucket of items.
    ``shots``: rows of ``k_shot.parquet``, ``stream``: of ``stream.parquet``, ``lists``: of ``lists.parquet``,
    ``probes``: of ``probes.parquet``, None without that stage."""

    results: pl.DataFrame
    users: pl.DataFrame
    shots: pl.DataFrame | None = None
    stream: pl.DataFrame | None = None
    lists: pl.DataFrame | None = None
    probes: pl.DataFrame | None = None

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
