"""From one row per scored positive to the long-form tables: events -> queries -> users ->
averages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from coldlm.core.columns import (
    COHORTS,
    GROUP,
    QUERY_COHORTS,
    QUERY_SEEN,
    VALUE_COLUMNS,
    WARMUP_BUCKETS,
    WARMUP_EDGES,
)
from coldlm.evaluate.metrics import HEADLINE, Formulas
from coldlm.evaluate.positives import (
    NOTHING,
    cut_of,
    has_shelf,
    metrics_of,
    views_of,
    with_metrics,
)
from coldlm.evaluate.slots import slot_columns, with_slots

AT_ONCE = 2**16
"""Positives of which tables are made at once."""


def summarise(
    events: pl.DataFrame,
    k: int,
    more: Formulas = NOTHING,
    *,
    by_window: bool = True,
    by_bucket: bool = True,
) -> pl.DataFrame:
    """Return long-form values of one scorer: window, cohort, bucket, average, metric, k, value,
    n_users, n_queries, n_events.

    ``window`` -1 is the whole stream. Buckets are cut on the item's ("item:...") and the user's
    ("user:...") earlier positives as of the query. Empty slices have no row.

    Beside buckets, the whole has metrics of lists with places kept for the shelf, see
    ``evaluate.slots``.

    Args:
        more: formulas of metrics besides ``FORMULAS``.
    """
    return summaries(events, k, more, by_window=by_window, by_bucket=by_bucket)[0]


def per_user(
    events: pl.DataFrame, k: int, more: Formulas = NOTHING, cohorts: Sequence[str] = COHORTS
) -> pl.DataFrame:
    """Return one row per user, cohort and metric: the mean over the user's queries of the mean over
    each query's positives."""
    slices = [(cohort, "all", -1, in_cohort(cohort)) for cohort in cohorts]
    metrics = metrics_of(events, more)
    conditions = [keep for *_, keep in slices]
    users = _users(with_metrics(events, k, more), conditions, metrics)
    return _per_user(users, _names(slices), metrics, k)


def summaries(
    events: pl.DataFrame,
    k: int,
    more: Formulas = NOTHING,
    *,
    by_window: bool = True,
    by_bucket: bool = True,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return what ``summarise`` and ``per_user`` do, from one pass over the events; with buckets,
    users' headline metric and its views in each bucket of items as well."""
    slices = [(cohort, "all", -1, in_cohort(cohort)) for cohort in cohorts_of(events)]
    if by_bucket:
        slices += _groups(events)
        slices += [
            ("all", f"{kind}:{label}", -1, pl.col(f"{kind}_bucket") == number)
            for kind in ("item", "user")
            for number, label in enumerate(WARMUP_BUCKETS)
        ]
    if by_window:
        slices += [
            ("all", "all", w, pl.col("window") == w) for w in sorted(events["window"].unique())
        ]
    named = _names(slices)
    metrics = metrics_of(events, more)
    conditions = [keep for *_, keep in slices]
    parts = [
        _users(_with_buckets(with_metrics(part, k, more)), conditions, metrics)
        for part in _by_users(events)
    ]
    users = pl.concat(parts).sort("slice", maintain_order=True)
    long = _averaged(users, metrics, k)
    if by_bucket and has_shelf(events):
        whole, slots = conditions[:1], slot_columns(k)
        shown = [_users(with_slots(part, k), whole, slots) for part in _by_users(events)]
        long = pl.concat([long, _averaged(pl.concat(shown), slots, k)])
    values = long.join(named, on="slice", maintain_order="left").select(VALUE_COLUMNS)
    tables = [_per_user(users, named.filter(bucket="all", window=-1), metrics, k)]
    if by_bucket:
        headline = [HEADLINE, *(f"{HEADLINE}/{view}" for view in views_of(events))]
        of_items = named.filter(pl.col("bucket").str.starts_with("item:"))
        tables.append(_per_user(users, of_items, headline, k))
    return values, pl.concat(tables)


def _names(slices: Sequence[tuple[str, str, int, pl.Expr]]) -> pl.DataFrame:
    """``slice, cohort, bucket, window`` of slices, which are numbered."""
    return pl.DataFrame(
        [(number, *names) for number, (*names, _) in enumerate(slices)],
        schema={"slice": pl.Int32, "cohort": pl.String, "bucket": pl.String, "window": pl.Int64},
        orient="row",
    )


def _groups(events: pl.DataFrame) -> list[tuple[str, str, int, pl.Expr]]:
    """A slice for each value of each column by which users are told apart."""
    return [
        (f"{column.removeprefix(GROUP)}={value}", "all", -1, pl.col(column) == value)
        for column in events.columns
        if column.startswith(GROUP)
        for value in sorted(set(events[column]) - {""})
    ]


def in_cohort(cohort: str) -> pl.Expr:
    """Return the rows of a cohort: a quadrant, a marginal, one of ``QUERY_COHORTS``, or all."""
    if cohort == "all":
        return pl.lit(True)
    if cohort in QUERY_COHORTS:
        return pl.col(QUERY_SEEN) == (cohort == QUERY_COHORTS[0])
    if cohort.endswith("_any"):
        return pl.col("cohort").is_in([cohort.removesuffix("_any"), "cold_both"])
    return pl.col("cohort") == cohort


def cohorts_of(events: pl.DataFrame) -> tuple[str, ...]:
    """Return the cohorts that can be told apart: those of queries where the data have typed texts."""
    return (*COHORTS, *(QUERY_COHORTS if QUERY_SEEN in events.columns else ()))


def count_cohorts(events: pl.DataFrame) -> list[dict[str, str | int | float]]:
    """Return the users, events and share of each cohort among the asked positives."""
    rows: list[dict[str, str | int | float]] = []
    for cohort in cohorts_of(events):
        part = events.filter(in_cohort(cohort))
        rows.append(
            {
                "cohort": cohort,
                "users": part["user"].n_unique(),
                "events": part.height,
                "share": part.height / max(events.height, 1),
            }
        )
    return rows


def _by_users(events: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The events in parts of about ``AT_ONCE``, all of a user's in one of them: what is made of an
    event on the way takes several times its own memory."""
    sizes = events.group_by("user", maintain_order=True).len()
    part = sizes.select("user", part=(pl.col("len").cum_sum() - 1) // AT_ONCE)
    number = events.select("user").join(part, on="user", maintain_order="left")["part"]
    for which in part["part"].unique(maintain_order=True):
        yield events.filter(number == which)


def _users(scored: pl.DataFrame, slices: Sequence[pl.Expr], metrics: Sequence[str]) -> pl.DataFrame:
    """One row per user and slice that has events of theirs; an event is in every slice whose
    condition it meets."""
    # beside a column, what holds for every row has a place in each
    _, *conditions = scored.select("query", *(keep.alias(str(n)) for n, keep in enumerate(slices)))
    places = [kept.arg_true() for kept in conditions]
    number = np.repeat(np.arange(len(slices), dtype=np.int32), [len(rows) for rows in places])
    sliced = scored.select("query", "user", *metrics)[pl.concat(places)].with_columns(
        pl.Series("slice", number)
    )
    queries = sliced.group_by("slice", "query", maintain_order=True).agg(
        pl.col("user").first(),
        *[pl.col(metric).mean() for metric in metrics],
        *[pl.col(metric).count().alias(f"{metric}_events") for metric in metrics],
    )
    return queries.group_by("slice", "user", maintain_order=True).agg(
        *[pl.col(metric).mean() for metric in metrics],
        *[pl.col(metric).sum().alias(f"{metric}_sum") for metric in metrics],
        *[pl.col(metric).count().cast(pl.Int64).alias(f"{metric}_queries") for metric in metrics],
        *[pl.col(f"{metric}_events").sum().cast(pl.Int64) for metric in metrics],
    )


def _with_buckets(events: pl.DataFrame) -> pl.DataFrame:
    """With the number of the bucket that the item, and the user, is in."""
    for kind in ("item", "user"):
        cut = np.searchsorted(WARMUP_EDGES, events[f"n_{kind}"].to_numpy(), side="right") - 1
        events = events.with_columns(pl.Series(f"{kind}_bucket", cut))
    return events


def _averaged(users: pl.DataFrame, metrics: Sequence[str], k: int) -> pl.DataFrame:
    """``_averages`` in long form."""
    counts = ("users", "queries", "events")
    return _long(_averages(users, metrics), metrics, k, ("slice", "average"), counts)


def _averages(users: pl.DataFrame, metrics: Sequence[str]) -> pl.DataFrame:
    """Two rows per slice: the mean over its users, and over its queries."""
    counts = [
        pl.col(metric).count().cast(pl.Int64).alias(f"{metric}_users") for metric in metrics
    ] + [pl.col(f"{metric}_{what}").sum() for metric in metrics for what in ("queries", "events")]
    averages = {
        "macro": [pl.col(metric).mean() for metric in metrics],
        "micro": [
            (pl.col(f"{metric}_sum").sum() / pl.col(f"{metric}_queries").sum()).alias(metric)
            for metric in metrics
        ],
    }
    return pl.concat(
        users.group_by("slice", maintain_order=True).agg(
            pl.lit(average).alias("average"), *counts, *values
        )
        for average, values in averages.items()
    )


def _per_user(
    users: pl.DataFrame, named: pl.DataFrame, metrics: Sequence[str], k: int
) -> pl.DataFrame:
    """What ``_users`` made of these slices, in long form."""
    kept = users.join(named, on="slice", maintain_order="left")
    index, counts = ("user", "cohort", "bucket"), ("queries", "events")
    return _long(kept, metrics, k, ("slice", *index), counts).drop("slice")


def _long(
    wide: pl.DataFrame, metrics: Sequence[str], k: int, index: Sequence[str], counts: Sequence[str]
) -> pl.DataFrame:
    """A row per metric instead of a column, slice by slice, with what it was counted over; none where
    nobody was in the view."""
    parts = [
        wide.select(
            *index,
            pl.lit(metric).alias("metric"),
            pl.lit(cut_of(metric, k), dtype=pl.Int64).alias("k"),
            pl.col(metric).alias("value"),
            *(pl.col(f"{metric}_{what}").alias(f"n_{what}") for what in counts),
        ).filter(pl.col("n_events") > 0)
        for metric in metrics
    ]
    return pl.concat(parts).sort("slice", maintain_order=True)
