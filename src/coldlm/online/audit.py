"""The audit at the end of every run: whether anything was learned from before it was scored, from
the two files alone."""

from __future__ import annotations

import polars as pl


def audit(events: pl.DataFrame, updates: pl.DataFrame, delay: int) -> dict[str, int]:
    """Return how much of the stream breaks the rule "test, then train"; all 0 but under the oracle.

    ``learned_too_early``: updates that learned from an event that was not visible when they were
    started (not strictly earlier, or its label not there yet). ``scored_by_the_future``: positives
    scored by a version that had learned from events of their second or later. ``live_too_early``:
    positives scored by a version before it was live.

    Args:
        events: with the columns time and version of ``events.parquet``.
        updates: ``updates.parquet``.
        delay: seconds from an event to its label.
    """
    through = updates.filter(~pl.col("rolled_back")).sort("version")
    # what a version has learned is what all before it have, too
    learned = through.select("version", "live_at", newest=pl.col("newest").cum_max())
    scored = events.select("time", "version").join(learned, on="version", how="left")
    early = (pl.col("newest") >= pl.col("time")) | (pl.col("newest") + delay > pl.col("time"))
    return {
        "learned_too_early": updates.filter((pl.col("n_events") > 0) & early).height,
        "scored_by_the_future": scored.filter(pl.col("newest") >= pl.col("time")).height,
        "live_too_early": scored.filter(pl.col("live_at") > pl.col("time")).height,
    }
