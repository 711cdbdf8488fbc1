"""The few lines that a run or a sweep ends with: its number beside the best baseline's, read from
its tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from coldlm.config.schedules import CHEATS, cheats
from coldlm.core.columns import HONEST_SPLITS, MODEL, SIMULATED_COLD
from coldlm.report.target import METRIC, K

QUESTION = ("dataset", "split", "candidates")
"""Columns in which runs must agree to be named in one line."""

MOST_LINES = 3
"""Of headlines; the report has them all."""


def headlines(folders: Sequence[Path]) -> list[str]:
    """Return nDCG@10, macro over all users, of the best of these finished runs and of the best
    baseline, a line per question; what was not scored or cannot be read is left out."""
    tables = [table for folder in folders if (table := _read(folder)) is not None]
    if not tables:
        return []
    questions = pl.concat(tables).partition_by(*QUESTION, maintain_order=True)
    lines = [_line(rows, several=len(questions) > 1) for rows in questions[:MOST_LINES]]
    return lines + [f"and {len(questions) - MOST_LINES} more"] * (len(questions) > MOST_LINES)


def _read(folder: Path) -> pl.DataFrame | None:
    columns = ["run", *QUESTION, "scorer", "schedule", "value"]
    where = {
        "window": -1,
        "cohort": "all",
        "bucket": "all",
        "average": "macro",
        "metric": METRIC,
        "k": K,
    }
    try:
        table = pl.read_parquet(folder / "results.parquet", columns=[*columns, *where])
    except (OSError, pl.exceptions.PolarsError):
        return None
    rows = table.filter(**where).select(columns).drop_nulls("value")
    return rows if rows.height else None


def _line(rows: pl.DataFrame, *, several: bool) -> str:
    """One question's headline."""
    dataset, split, _ = rows.select(QUESTION).row(0)
    # who has learned from what it was asked is the best of nobody
    honest = ~pl.col("schedule").map_elements(cheats, pl.Boolean)
    ranked = rows.with_columns(honest=honest).sort(
        "honest", "value", descending=True, maintain_order=True
    )
    own, baselines = ranked.filter(scorer=MODEL), ranked.filter(pl.col("scorer") != MODEL)
    n_runs = own["run"].n_unique()
    of = f"best of {n_runs} runs " if n_runs > 1 else ""
    said = [
        f"{value:.4f} ({schedule}{f' {CHEATS}' * cheats(schedule)})"
        for value, schedule in own.filter(run=own["run"][0])[["value", "schedule"]].rows()
    ]
    whose = f" of {own['run'][0]}" if n_runs > 1 else ""
    best = (
        f"; best baseline {baselines['value'][0]:.4f} ({baselines['scorer'][0]})"
        if baselines.height
        else ""
    )
    leaks = "" if split in HONEST_SPLITS else "LEAKY "
    mark = "SIMULATED " if split.startswith(SIMULATED_COLD) else leaks
    on = f" on {dataset}" if several else ""
    return f"{mark}nDCG@{K} (macro, all{on}): {of}{', '.join(said)}{whose}{best}"
