"""Scorers that find a leaking release rule, and how far they are from chance."""

from __future__ import annotations

import polars as pl

from coldlm.core.columns import CANARIES, CHANCE
from coldlm.evaluate.metrics import HEADLINE
from coldlm.evaluate.summary import per_user
from coldlm.report.statistics import difference


def canaries(events: pl.DataFrame, k: int) -> dict[str, dict[str, float]]:
    """Return nDCG@k at n = 0 of the scorers that find a leaking release rule, macro: ``value``, and
    the 95 % interval ``low``, ``high`` of its distance to chance (the constant scorer) over users.
    Empty where nothing was asked at n = 0.

    Args:
        events: rows of ``events.parquet``.
    """
    return from_chance(events.filter(pl.col("n_item") == 0), k)


def from_chance(events: pl.DataFrame, k: int) -> dict[str, dict[str, float]]:
    """Return the canaries' nDCG@k and its distance to chance, as in ``canaries``, over all of
    ``events``."""
    users = {
        name: per_user(rows, k)
        .filter(cohort="all", metric=HEADLINE)
        .sort("user")["value"]
        .to_numpy()
        for name in (*CANARIES, CHANCE)
        if len(rows := events.filter(scorer=name))
    }
    if CHANCE not in users:
        return {}
    found = {}
    for name, values in users.items():
        apart = difference(values, users[CHANCE])
        found[name] = {"value": float(values.mean()), "low": apart.low, "high": apart.high}
    return found
