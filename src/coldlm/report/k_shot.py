"""The k-shot rows of runs that answered the same queries -> comparisons of their own, one per
side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import polars as pl

from coldlm.report.compare import compare
from coldlm.report.found import FinishedRun
from coldlm.report.rows import CELL, Comparison
from coldlm.report.target import METRIC, K

UPDATED: Final = "updated"
"""Schedule of the rows whose weights were fitted on what was revealed; the others keep their
histories only."""


def compare_shots(runs: list[FinishedRun]) -> tuple[Comparison, ...]:
    """Per side, and per set of queries if runs revealed different numbers at most: a comparison
    whose buckets are the numbers of revealed events, ``"0"``, ``"1"``, ...; none where no run has
    the stage. Its title is the side."""
    groups: dict[tuple[str, str], list[FinishedRun]] = {}
    for run in runs:
        if run.shots is not None:
            for (side, question), rows in run.shots.group_by(
                "side", "question", maintain_order=True
            ):
                groups.setdefault((str(side), str(question)), []).append(_with_shots(run, rows))
    return tuple(
        compare(side, group)
        for (side, _), group in sorted(groups.items(), key=lambda pair: pair[0])
    )


def shots_of(shots: Comparison) -> list[str]:
    """Return the numbers of revealed events, ascending."""
    return [str(n) for n in sorted(map(int, shots.values["bucket"].unique()))]


def shots_curve(shots: Comparison) -> pl.DataFrame:
    """Return ``row, bucket, value, n_users, n_events``: macro nDCG@10 by the number of revealed events."""
    return shots.values.filter(average="macro", metric=METRIC, k=K).select(
        "row", "bucket", "value", "n_users", "n_events"
    )


def what_was_asked(shots: Comparison) -> dict[str, Any]:
    """Return what a run's manifest says of this side, with the ``midpoint`` and the number of
    ``users``."""
    said = shots.manifests[0].k_shot or {}
    return {
        **said[shots.title],
        "midpoint": said["midpoint"],
        "users": int(shots.values["n_users"].max()),  # type: ignore[arg-type]
    }


def _with_shots(run: FinishedRun, rows: pl.DataFrame) -> FinishedRun:
    """The run with its k-shot rows in the place of its results."""
    schedule = pl.when("updated").then(pl.lit(UPDATED)).otherwise(pl.lit("history"))
    results = rows.with_columns(
        window=pl.lit(-1, pl.Int64),
        cohort=pl.lit("all"),
        bucket=pl.col("shots").cast(pl.String),
        stage=pl.lit("k_shot"),
        schedule=schedule,
    ).select("scorer", "schedule", "stage", *CELL, "value", "n_users", "n_queries", "n_events")
    return replace(run, results=results, users=run.users.clear())
