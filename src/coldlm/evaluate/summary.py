"""From one row per scored positive to the long-form tables: events -> queries -> users -> averages."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch

from coldlm.candidates import Catalogue
from coldlm.columns import COHORTS, METRICS, MRR_K, WARMUP_BUCKETS, WARMUP_EDGES
from coldlm.context import AsOf
from coldlm.evaluate.judge import Judged
from coldlm.evaluate.metrics import FORMULAS
from coldlm.tables import DAY, Bools, Dataset, Ints, Queries


def tabulate(
    judged: Judged,
    queries: Queries,
    data: Dataset,
    catalogue: Catalogue,
    as_of: AsOf,
    cold_users: Bools,
    cold_items: Bools,
    *,
    version: Ints,
    live_from: Ints,
) -> pl.DataFrame:
    """One row per positive: who, what, when, how warm, and its place (g, e) among its candidates.

    Args:
        version, live_from: [P] of the model that scored, and the time from which it was live; ``staleness`` is the
            number of the log's events in between.
    """
    log, query = data.log, np.repeat(np.arange(len(queries)), np.diff(queries.start))
    row = queries.event
    user, item, time = log.user[row], log.item[row], log.time[row]
    quadrant = np.where(
        cold_users[user],
        np.where(cold_items[item], "cold_both", "cold_user"),
        np.where(cold_items[item], "cold_item", "warm_warm"),
    )
    return pl.DataFrame(
        {
            "event_id": log.event_id[row],
            "query": query,
            "user": np.array(data.users.ids, object)[user].astype(str),
            "item": np.array(data.items.ids, object)[item].astype(str),
            "time": time,
            "window": queries.window[query],
            "n_item": as_of.n_item(item, time),
            "n_user": as_of.n_user(user, time),
            "item_age_days": np.maximum(time - catalogue.enters_at[item], 0) / DAY,
            "cohort": quadrant,
            "version": version,
            "staleness": np.searchsorted(log.time, time) - np.searchsorted(log.time, live_from),
            "candidates": judged.candidates,
            "g": judged.g,
            "e": judged.e,
            "score": judged.score,
            "label": log.label[row],
        }
    )


def summarise(events: pl.DataFrame, k: int, *, by_window: bool = True, by_bucket: bool = True) -> pl.DataFrame:
    """Long-form values of one scorer: window, cohort, bucket, average, metric, k, value, n_users, n_queries, n_events.

    ``window`` -1 is the whole stream. Buckets are cut on the item's ("item:...") and the user's ("user:...") earlier
    positives as of the query. Empty slices have no row.
    """
    scored = with_metrics(events, k)
    slices = [("all", "all", -1, pl.lit(True))]
    slices += [(cohort, "all", -1, in_cohort(cohort)) for cohort in COHORTS[1:]]
    if by_bucket:
        for kind in ("item", "user"):
            cut = pl.Series(np.searchsorted(WARMUP_EDGES, events[f"n_{kind}"].to_numpy(), side="right") - 1)
            scored = scored.with_columns(cut.alias(f"{kind}_bucket"))
            slices += [
                ("all", f"{kind}:{label}", -1, pl.col(f"{kind}_bucket") == number)
                for number, label in enumerate(WARMUP_BUCKETS)
            ]
    if by_window:
        slices += [("all", "all", w, pl.col("window") == w) for w in sorted(events["window"].unique())]
    parts = [
        _average(scored.filter(keep), k).with_columns(
            pl.lit(window, pl.Int64).alias("window"), pl.lit(cohort).alias("cohort"), pl.lit(bucket).alias("bucket")
        )
        for cohort, bucket, window, keep in slices
    ]
    order = ["window", "cohort", "bucket", "average", "metric", "k", "value", "n_users", "n_queries", "n_events"]
    return pl.concat([part for part in parts if part.height]).select(order)


def per_user(events: pl.DataFrame, k: int) -> pl.DataFrame:
    """One row per user, cohort and metric: the mean over the user's queries of the mean over each query's positives."""
    scored = with_metrics(events, k)
    parts = []
    for cohort in COHORTS:
        users = _users(scored.filter(in_cohort(cohort)))
        for metric in METRICS:
            parts.append(
                users.select(
                    "user",
                    pl.lit(cohort).alias("cohort"),
                    pl.lit(metric).alias("metric"),
                    pl.lit(cut_of(metric, k), pl.Int64).alias("k"),
                    pl.col(metric).alias("value"),
                    "n_queries",
                    "n_events",
                )
            )
    return pl.concat(parts)


def with_metrics(events: pl.DataFrame, k: int) -> pl.DataFrame:
    """The events with one column per metric, computed from (g, e) alone."""
    g, e = (torch.from_numpy(events[name].to_numpy().copy()) for name in ("g", "e"))
    return events.with_columns(
        [pl.Series(metric, FORMULAS[metric](g, e, cut_of(metric, k)).numpy()) for metric in METRICS]
    )


def cut_of(metric: str, k: int) -> int:
    """The ``k`` under which a metric is stored: MRR has none."""
    return MRR_K if metric == "mrr" else k


def in_cohort(cohort: str) -> pl.Expr:
    """Rows of a cohort: a quadrant, a marginal, or all."""
    if cohort == "all":
        return pl.lit(True)
    if cohort.endswith("_any"):
        return pl.col("cohort").is_in([cohort.removesuffix("_any"), "cold_both"])
    return pl.col("cohort") == cohort


def count_cohorts(events: pl.DataFrame) -> list[dict[str, str | int | float]]:
    """Users, events and share of each cohort among the asked positives."""
    rows: list[dict[str, str | int | float]] = []
    for cohort in COHORTS:
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


def _users(scored: pl.DataFrame) -> pl.DataFrame:
    queries = scored.group_by("query", maintain_order=True).agg(
        pl.col("user").first(), *[pl.col(metric).mean() for metric in METRICS], pl.len().alias("n_events")
    )
    return queries.group_by("user", maintain_order=True).agg(
        *[pl.col(metric).mean() for metric in METRICS],
        *[pl.col(metric).sum().alias(f"{metric}_sum") for metric in METRICS],
        pl.len().cast(pl.Int64).alias("n_queries"),
        pl.col("n_events").sum().cast(pl.Int64),
    )


def _average(scored: pl.DataFrame, k: int) -> pl.DataFrame:
    users = _users(scored)
    if not users.height:
        return pl.DataFrame()
    n_queries, n_events = int(users["n_queries"].sum()), int(users["n_events"].sum())
    rows = []
    for metric in METRICS:
        values = {"macro": users[metric].mean(), "micro": users[f"{metric}_sum"].sum() / n_queries}
        rows += [
            {
                "average": average,
                "metric": metric,
                "k": cut_of(metric, k),
                "value": value,
                "n_users": users.height,
                "n_queries": n_queries,
                "n_events": n_events,
            }
            for average, value in values.items()
        ]
    return pl.DataFrame(rows)
