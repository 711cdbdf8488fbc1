"""Users told apart by what is known of them."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest

from coldlm.report.groups import groups_tables
from coldlm.report.results import read_runs


def _told_apart(folder: Path, teams: dict[str, range]) -> None:
    """Of the users of each team, by their numbers."""
    users = pl.read_parquet(folder / "per_user.parquet")
    results = pl.read_parquet(folder / "results.parquet")
    names = users["user"].unique().sort().to_list()
    whole = users.filter(cohort="all")
    parts, values = [users], [results]
    for team, numbers in teams.items():
        theirs = whole.filter(pl.col("user").is_in([names[i] for i in numbers]))
        parts.append(theirs.with_columns(cohort=pl.lit(f"team={team}")))
        mean = (
            theirs.filter(metric="ndcg")
            .group_by("scorer", "schedule")
            .agg(
                pl.col("value").mean().alias("mean"),
                pl.col("n_events").sum().alias("events"),
                pl.len().cast(pl.Int64).alias("people"),
            )
        )
        rows = results.filter(cohort="all", metric="ndcg", window=-1, bucket="all", average="macro")
        rows = rows.join(mean, on=["scorer", "schedule"]).with_columns(
            pl.lit(f"team={team}").alias("cohort"),
            pl.col("mean").alias("value"),
            pl.col("events").cast(results["n_events"].dtype).alias("n_events"),
            pl.col("people").cast(results["n_users"].dtype).alias("n_users"),
        )
        values.append(rows.select(results.columns))
    pl.concat(parts).write_parquet(folder / "per_user.parquet")
    pl.concat(values).write_parquet(folder / "results.parquet")


def test_the_gap_lies_between_the_best_and_the_worst_served_of_large_groups(make_run) -> None:
    folder = make_run("frozen")
    _told_apart(folder, {"blue": range(20), "red": range(20, 40), "tiny": range(3)})
    comparison = read_runs([folder.parent]).comparisons[0]
    (table,) = groups_tables(comparison)
    assert table.title.startswith("Users by team: nDCG@10")
    assert table.header == ("scorer", "blue", "red", "tiny", "gap", "95 % interval")
    scorers = {line[0]: line for line in table.body}
    for i, row in enumerate(comparison.rows):
        line = scorers[row.name]
        blue, red = (comparison.estimate(i, f"team={team}") for team in ("blue", "red"))
        assert float(line[1]) == pytest.approx(blue.mean, abs=5e-5)
        assert line[3].startswith("(")  # three users
        gap = abs(blue.mean - red.mean)
        assert float(line[4]) == pytest.approx(gap, abs=5e-5)
        half = 1.96 * math.hypot(blue.error, red.error)
        low, high = map(float, line[5].strip("[]").split(","))
        assert (low, high) == pytest.approx((gap - half, gap + half), abs=1e-4)


def test_without_groups_there_is_no_table(make_run) -> None:
    assert groups_tables(read_runs([make_run("frozen").parent]).comparisons[0]) == ()
