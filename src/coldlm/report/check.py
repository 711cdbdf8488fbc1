"""``results.parquet`` recomputed from what lies beside it: every cell that users, or events, determine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from coldlm.core.columns import SLOTS
from coldlm.core.errors import RunFolderError
from coldlm.report.found import with_bucket
from coldlm.report.table import Table
from coldlm.report.target import METRIC, VIEW_METRICS

USERS, EVENTS, RESULTS = "per_user.parquet", "events.parquet", "results.parquet"

SCORER: Final = ("scorer", "schedule")
SLICE: Final = ("window", "cohort", "bucket")
MEASURE: Final = ("average", "metric", "k")
KEY: Final = (*SCORER, *SLICE, *MEASURE)
COUNTS: Final = ("n_users", "n_queries", "n_events")

TOLERANCE: Final = 1e-9
"""Absolute: sums in another order have other last bits."""

FIRST: Final = 10
"""Cells that differ and are shown."""

Summarise = Callable[[pl.DataFrame, int], pl.DataFrame]
"""Rows of ``events.parquet`` of one scorer and k -> ``evaluate.summary.summarise``. It is handed in: it
computes by torch, which no report imports."""


@dataclass(frozen=True)
class Checked:
    """One run folder against one of its tables. ``source``: the file. ``tried``: cells of
    ``results.parquet`` that it determines, ``of``: all cells. ``differing``: ``KEY``, and value and
    counts as stored and as recomputed. ``why``: nothing could be tried, None otherwise."""

    folder: Path
    source: str
    tried: int
    of: int
    differing: pl.DataFrame
    why: str | None = None

    @property
    def is_right(self) -> bool:
        return self.why is None and self.differing.is_empty()


def check_runs(paths: Sequence[Path], summarise: Summarise) -> list[Checked]:
    """Return what became of every run folder in ``paths``, at any depth.

    Raises:
        RunFolderError: a packed file, which holds no table of all users, or no results at all.
    """
    for path in paths:
        if not path.is_dir():
            raise RunFolderError(
                f"{path} is no folder: only run folders can be checked, a packed file holds nDCG@10 "
                "of the users alone; give run folders, or a folder that holds some"
            )
    folders = sorted({file.parent for path in paths for file in path.rglob(RESULTS)})
    if not folders:
        raise RunFolderError(
            f"no {RESULTS} under {', '.join(map(str, paths))}: give run folders, or a folder that "
            "holds some; `coldlm run` makes them"
        )
    return [checked for folder in folders for checked in _check(folder, summarise)]


def _check(folder: Path, summarise: Summarise) -> Iterator[Checked]:
    try:
        results = pl.read_parquet(folder / RESULTS).select(*KEY, "value", *COUNTS)
    except (OSError, pl.exceptions.PolarsError) as error:
        yield _failed(folder, RESULTS, error)
        return
    makers: dict[str, Callable[[Path, pl.DataFrame], pl.DataFrame]] = {USERS: _of_users}
    if (folder / EVENTS).is_file():
        makers[EVENTS] = lambda folder, results: _of_events(folder, results, summarise)
    for source, make in makers.items():
        try:
            again = make(folder, results)
        except (OSError, pl.exceptions.PolarsError) as error:
            yield _failed(folder, source, error)
        else:
            tried = results
            if source == USERS:
                tried = results.filter(_by_user(again["bucket"].n_unique() > 1), window=-1)
            else:
                # metrics of plugins are formulas that only their package has
                tried = results.filter(pl.col("metric").is_in(again["metric"].unique().to_list()))
            yield Checked(folder, source, tried.height, results.height, _differing(tried, again))


def _by_user(has_buckets: bool) -> pl.Expr:
    """Which cells are kept by user, too: none of lists with kept places; of buckets those of items and the
    headline metric, and in the files of earlier versions none."""
    whole = (pl.col("bucket") == "all") & ~pl.col("metric").str.starts_with(SLOTS)
    headline = pl.col("metric").is_in([METRIC, *VIEW_METRICS])
    return whole | (pl.col("bucket").str.starts_with("item:") & headline & has_buckets)


def _failed(folder: Path, source: str, error: Exception) -> Checked:
    why = f"{source} cannot be read ({str(error).splitlines()[0]})"
    return Checked(folder, source, 0, 0, pl.DataFrame(), why)


def _of_users(folder: Path, results: pl.DataFrame) -> pl.DataFrame:
    """Both averages of every cohort, bucket and metric over the whole stream. A user's value is the mean over
    so many queries, so the mean over queries follows, too."""
    users = with_bucket(pl.read_parquet(folder / USERS))
    by = [*SCORER, "cohort", "bucket", "metric", "k"]
    weighted = (pl.col("value") * pl.col("n_queries")).sum() / pl.col("n_queries").sum()
    counted = (
        pl.len().cast(pl.Int64).alias("n_users"),
        *(pl.col(name).sum() for name in COUNTS[1:]),
    )
    return pl.concat(
        users.group_by(by, maintain_order=True)
        .agg(value.alias("value"), *counted)
        .with_columns(average=pl.lit(average), window=pl.lit(-1, pl.Int64))
        .select(*KEY, "value", *COUNTS)
        for average, value in {"macro": pl.col("value").mean(), "micro": weighted}.items()
    )


def _of_events(folder: Path, results: pl.DataFrame, summarise: Summarise) -> pl.DataFrame:
    """Every window and bucket as well, by the code that a run uses."""
    events = pl.read_parquet(folder / EVENTS)
    cuts = results.filter(metric=METRIC)["k"].unique().sort()
    parts = [
        summarise(rows, k).with_columns(scorer=pl.lit(scorer), schedule=pl.lit(schedule))
        for (scorer, schedule), rows in events.group_by(SCORER, maintain_order=True)
        for k in cuts
    ]
    again = pl.concat(parts).unique(maintain_order=True).select(*KEY, "value", *COUNTS)
    if results.filter(bucket="item:0").is_empty():
        # a release rule under which no item without an event can be asked for
        again = again.filter(pl.col("bucket") != "item:0")
    return again


def _differing(stored: pl.DataFrame, again: pl.DataFrame) -> pl.DataFrame:
    """Cells that are not the same, or that only one of the two has."""
    # a cell that is there twice is one too many, whatever it says
    counted = stored.with_columns(times=pl.len().over(KEY))
    both = counted.join(
        again, on=KEY, how="full", coalesce=True, suffix=" again", maintain_order="left_right"
    )
    same = (pl.col("value") - pl.col("value again")).abs() <= TOLERANCE
    for name in COUNTS:
        same &= pl.col(name) == pl.col(f"{name} again")
    same &= pl.col("times") == 1
    return both.filter(~same.fill_null(False)).drop("times")


def check_table(found: Sequence[Checked]) -> Table:
    """Return one line per run folder and source."""
    body = []
    for each in found:
        n = each.differing.height
        counts = (str(each.tried), str(max(each.tried - n, 0)), str(n), str(each.of - each.tried))
        body.append((str(each.folder), each.source, *(("–",) * 4 if each.why else counts)))
    header = ("run", "recomputed from", "cells tried", "equal", "differing", "not determined")
    return Table(
        "results.parquet against what lies beside it",
        header,
        tuple(body),
        ("strategy",) * len(body),
    )


def first_differences(found: Sequence[Checked]) -> Table | None:
    """Return the first cells that differ, as stored and as recomputed; None without any."""
    body = [
        (
            str(each.folder),
            each.source,
            *(str(row[name]) for name in KEY),
            *(f"{row[name]} / {row[f'{name} again']}" for name in ("value", *COUNTS)),
        )
        for each in found
        for row in each.differing.head(FIRST).iter_rows(named=True)
    ][:FIRST]
    if not body:
        return None
    header = ("run", "recomputed from", *KEY, "value", *COUNTS)
    title = "First differences (stored / recomputed)"
    return Table(title, header, tuple(body), ("strategy",) * len(body))
