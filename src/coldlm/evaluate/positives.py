"""One row per scored positive: who, what, when, its place among the candidates and each view of them,
and what metrics make of that."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.asof.grouped import ranges
from coldlm.core.columns import (
    BASKET_COLUMNS,
    BASKET_METRICS,
    GROUP,
    LIST_COLUMNS,
    LIST_METRICS,
    MRR_K,
    N_SHOWN,
    ON_SHELF,
    QUERY_SEEN,
    USER_AUC,
    VIEWS,
    view_columns,
)
from coldlm.core.tables import DAY, Bools, Dataset, Floats, Ints, Parts, Queries
from coldlm.evaluate.baskets import OF_EACH, OF_THE_BEST, Basket
from coldlm.evaluate.judge import Judged
from coldlm.evaluate.metrics import (
    FORMULAS,
    HEADLINE,
    Formulas,
    auc,
    list_values,
    ndcg,
)

NOTHING: Formulas = {}


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
    latency: Floats | None = None,
    seen_query: Parts | None = None,
) -> pl.DataFrame:
    """Return one row per positive: who, what, when, how warm, and its place (g, e) among its
    candidates without the query's other positives and among each view of them; and where those others
    stand (``columns.LIST_COLUMNS`` for queries with lists, else ``BASKET_COLUMNS``).

    Args:
        version, live_from: [P] of the model that scored, and the time from which it was live;
            ``staleness`` is the number of the log's events in between, ``staleness_seconds`` the
            time.
        latency: [P] seconds of the stream that it took to be live, none by default.
        seen_query: [E] see ``columns.QUERY_SEEN``, no column by default.
    """
    log, query = data.log, np.repeat(np.arange(len(queries)), np.diff(queries.start))
    row = queries.event
    user, item, time = log.user[row], log.item[row], log.time[row]
    quadrant = np.where(
        cold_users[user],
        np.where(cold_items[item], "cold_both", "cold_user"),
        np.where(cold_items[item], "cold_item", "warm_warm"),
    )
    others = _place_others(
        judged, queries, BASKET_COLUMNS if queries.lists is None else LIST_COLUMNS
    )
    groups = {
        f"{GROUP}{name}": pl.Series(values, dtype=pl.String).gather(user)
        for name, values in data.users.groups.items()
    }
    typed = {} if seen_query is None else {QUERY_SEEN: seen_query[row]}
    views = {name: getattr(judged, name) for view in VIEWS for name in view_columns(view)}
    return pl.DataFrame(
        {
            "event_id": log.event_id[row],
            "query": query,
            "user": pl.Series(data.users.ids, dtype=pl.String).gather(user),
            "item": pl.Series(data.items.ids, dtype=pl.String).gather(item),
            "time": time,
            "window": queries.window[query],
            "n_item": as_of.n_item(item, time),
            "n_user": as_of.n_user(user, time),
            "item_age_days": np.maximum(time - catalogue.enters_at[item], 0) / DAY,
            "cohort": quadrant,
            "version": version,
            "staleness": np.searchsorted(log.time, time) - np.searchsorted(log.time, live_from),
            "staleness_seconds": time - live_from,
            "latency": np.zeros(len(row)) if latency is None else latency,
            "candidates": judged.candidates,
            "g": judged.g,
            "e": judged.e,
            "score": judged.score,
            "label": log.label[row],
            N_SHOWN: judged.n_shown,
            ON_SHELF: judged.on_shelf,
        }
        | typed
        | groups
        | views
        | others
    )


def _place_others(judged: Judged, queries: Queries, names: Sequence[str]) -> dict[str, Ints]:
    """How many other positives of its query score above each positive, level with it, and are there
    at all."""
    sizes = np.repeat(np.diff(queries.start), np.diff(queries.start))
    first = np.repeat(queries.start[:-1], np.diff(queries.start))
    other, this = ranges(first, first + sizes)
    above, level = (
        np.bincount(this[is_so], minlength=len(sizes))
        for is_so in (
            judged.score[other] > judged.score[this],
            judged.score[other] == judged.score[this],
        )
    )
    return dict(zip(names, (above, level - 1, sizes - 1), strict=True))


def with_metrics(events: pl.DataFrame, k: int, more: Formulas = NOTHING) -> pl.DataFrame:
    """Return the events with one column per metric, computed from each row alone; null where a
    positive is not in a view."""

    def column(name: str) -> torch.Tensor:
        return torch.from_numpy(events[name].to_numpy().copy())

    values = {
        name: formula(column("g"), column("e"), cut_of(name, k))
        for name, formula in {**FORMULAS, **more}.items()
    }
    values[USER_AUC] = auc(*(column(name) for name in ("g", "e", "candidates")))
    if set(LIST_COLUMNS) <= set(events.columns):
        values |= list_values(
            *(column(name) for name in ("g", "e", "candidates", *LIST_COLUMNS)), k=k
        )
    if set(BASKET_COLUMNS) <= set(events.columns):
        basket = Basket(*(column(name) for name in ("g", "e", *BASKET_COLUMNS)))
        for name, of_basket in (OF_EACH | OF_THE_BEST).items():
            values[f"{name}/basket"] = of_basket(basket, k)
    for view in views_of(events):
        g, e, _ = (column(name) for name in view_columns(view))
        values[f"{HEADLINE}/{view}"] = ndcg(g, e, k)
    scored = events.with_columns(pl.Series(name, value.numpy()) for name, value in values.items())
    if set(BASKET_COLUMNS) <= set(events.columns):
        best = pl.col(BASKET_COLUMNS[0]) == 0
        scored = scored.with_columns(
            pl.when(best).then(f"{name}/basket").max().over("query").alias(f"{name}/basket")
            for name in OF_THE_BEST
        )
    if has_shelf(events):
        name = f"{HEADLINE}/shelf"
        scored = scored.with_columns(pl.when(pl.col(ON_SHELF) == 1).then(name).alias(name))
    return scored


def has_shelf(events: pl.DataFrame) -> bool:
    """Return whether the shelf was looked at."""
    return "shelf" in views_of(events)


def views_of(events: pl.DataFrame) -> tuple[str, ...]:
    """The views that were looked at: none in the files of earlier versions."""
    return tuple(view for view in VIEWS if set(view_columns(view)) <= set(events.columns))


def metrics_of(events: pl.DataFrame, more: Formulas = NOTHING) -> tuple[str, ...]:
    """Return what can be computed: of each positive alone, of all positives of a query, of whole lists
    where lists were ranked, and of each view."""
    lists = LIST_METRICS if set(LIST_COLUMNS) <= set(events.columns) else ()
    baskets = BASKET_METRICS if set(BASKET_COLUMNS) <= set(events.columns) else ()
    views = (f"{HEADLINE}/{view}" for view in views_of(events))
    return (*FORMULAS, USER_AUC, *lists, *baskets, *views, *more)


def cut_of(metric: str, k: int) -> int:
    """Return the ``k`` under which a metric is stored: MRR of one positive, or of a list, and AUC have
    none."""
    return MRR_K if metric.startswith(("mrr", "auc")) and metric not in BASKET_METRICS else k
