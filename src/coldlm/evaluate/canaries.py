"""Scorers that find a leaking release rule, user by user."""

from __future__ import annotations

import polars as pl

from coldlm.core.columns import CANARIES, CHANCE
from coldlm.core.tables import Floats
from coldlm.evaluate.metrics import HEADLINE
from coldlm.evaluate.summary import per_user


def canary_values(events: pl.DataFrame, k: int) -> dict[str, Floats]:
    """Return nDCG@k of each canary that is there, and of chance, as [U] values in the order of
    users.

    Args:
        events: rows of ``events.parquet``.
    """
    return {
        name: per_user(rows, k, cohorts=["all"])
        .filter(metric=HEADLINE)
        .sort("user")["value"]
        .to_numpy()
        for name in (*CANARIES, CHANCE)
        if len(rows := events.filter(scorer=name))
    }
