"""What a stream tells of learning on: quality over time, what is kept and what is lost, and what it
costs.

Let R[i, j] be the quality on part j of the version that has had the chance to learn from everything
up to part i. Part 0 is validation, part j > 0 the stream's window j - 1; what is measured is the
probe of each part, which nothing trains on. The version that has learned from all up to window i
- 1 is the one that is live at the end of window i, so R has a row per window: W rows, W + 1 columns
(``matrix``). T = W parts are learned, and the last window is only ever asked.

```
           part      0 (validation)   1 (window 0)   2 (window 1)  ...  W (window W-1)
live at the end of
  window 0   R[0]    learned          to come        to come            to come
  window 1   R[1]    earlier          learned        to come            to come
  window 2   R[2]    earlier          earlier        learned            to come
```
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import polars as pl

from coldlm.core.columns import WARMUP_EDGES
from coldlm.core.tables import Floats, Ints

WARM = 5
"""Events from which on an item that was cold at T_test counts as warmed."""

AGES = ("all", "cold", "warmed", "old")
"""Items as of the time of the query: all; cold at T_test and with fewer than ``WARM`` events by
then; cold at T_test, and warmed since; old, with events before T_test."""

POINTS = 50
"""Points of a series over the stream."""


def matrix(probes: pl.DataFrame) -> Floats:
    """Return R, [W, W + 1] float64, of ``probes.parquet``; NaN where a probe is empty."""
    of = {(row["window"], row["part"]): row["value"] for row in probes.iter_rows(named=True)}
    windows = 1 + max((window for window, _ in of), default=-1)
    return np.array(
        [[of.get((i, j), np.nan) for j in range(-1, windows)] for i in range(windows)], np.float64
    ).reshape(windows, windows + 1)


def average(r: Floats) -> float:
    """Return the mean over learned parts of the last version: 1/T * sum over j < T of R[T-1, j]
    (Lopez-Paz and Ranzato 2017, eq. 2). It is also the retained average of CCD (Lee et al. 2024,
    section 5.1)."""
    return _mean(r[-1, : len(r)])


def learned_average(r: Floats) -> float:
    """Return the mean of every part right when it has been learned: 1/T * sum over j < T of R[j, j]
    (Lee et al. 2024, section 5.1)."""
    return _mean(np.diagonal(r))


def harmonic(retained: float, learned: float) -> float:
    """Return the harmonic mean of the retained and the learned average (Lee et al. 2024)."""
    return 2 * retained * learned / (retained + learned) if retained + learned > 0 else 0.0


def backward_transfer(r: Floats) -> float:
    """Return what learning on did to earlier parts: 1/(T-1) * sum over j < T-1 of R[T-1, j] - R[j,
    j] (Lopez-Paz and Ranzato 2017, eq. 3); NaN for one part."""
    return _mean([r[-1, j] - r[j, j] for j in range(len(r) - 1)])


def forward_transfer(r: Floats) -> float:
    """Return what learning did to parts to come, beside the weights before the stream: the mean over
    j = 2..W of R[j-1, j] - R[0, j] (Lopez-Paz and Ranzato 2017, eq. 4, whose b is the version 0
    here; part 1 has nothing learned before it but validation)."""
    return _mean([r[j - 1, j] - r[0, j] for j in range(2, r.shape[1])])


def forgetting(r: Floats) -> float:
    """Return how far parts fell from their best: 1/(T-1) * sum over j < T-1 of max over l = j..T-2
    of R[l, j] - R[T-1, j] (Chaudhry et al. 2018, eq. 3; l begins when the part is learned)."""
    return _mean([np.nanmax(r[j:-1, j]) - r[-1, j] for j in range(len(r) - 1) if _any(r[j:-1, j])])


def minimum(r: Floats) -> float:
    """Return the worst that became of a part once it was learned: 1/(T-1) * sum over j < T-1 of min
    over i = j+1..T-1 of R[i, j] (De Lange et al. 2023, eq. 3)."""
    return _mean([np.nanmin(r[j + 1 :, j]) for j in range(len(r) - 1) if _any(r[j + 1 :, j])])


def intransigence(r: Floats, reference: Floats) -> float:
    """Return what is not learned that the ``reference`` (retrain) has: mean over j of its R[j, j]
    less ours (Chaudhry et al. 2018, eq. 5)."""
    return learned_average(reference) - learned_average(r)


def stability_gap(before: Floats, after: Floats) -> tuple[float, float]:
    """Return (mean, worst) fall of the fixed probe at an update, [U] nDCG just before and just after
    each; 0 where it rose (De Lange et al. 2023, section 3, at the grain of updates)."""
    falls = np.maximum(before - after, 0)
    falls = falls[np.isfinite(falls)]
    return (float(falls.mean()), float(falls.max())) if len(falls) else (0.0, 0.0)


def area_by_cost(value: Floats, spent: Floats, budget: float) -> float:
    """Return the mean quality over a budget of seconds: (1 / budget) * integral from 0 to the budget
    of q(c), where q(c) is the quality of the version that c seconds of updates have bought. A
    schedule that costs less than the budget stays at its last version, one that costs nothing has
    one version.

    Args:
        value: [V] quality of each version while it was live, in order; spent: [V] seconds of
            updates by the time it was live, ascending, the first 0.
    """
    if budget <= 0:
        return float(value[-1])
    ends = np.minimum(np.append(spent[1:], np.inf), budget)
    length = np.maximum(ends - np.minimum(spent, budget), 0)
    return float((value * length).sum() / budget)


def time_to_quality(n: Ints, value: Floats, is_new: Floats, share: float) -> float:
    """Return the events that a new item (or user) needs until it is found (or served) as well as
    ``share`` of what old ones are: the lower edge of the first warm-up bucket in which the mean value
    of new ones' [P] rows is at least ``share`` times the mean over old ones' rows; infinite where none
    is, NaN where there are no such rows.

    Args:
        n: [P] events of the item (user) as of the query; is_new: [P] whether it was cold at T_test.
    """
    new = is_new.astype(bool)
    if not new.any() or new.all():
        return float("nan")
    goal = share * value[~new].mean()
    bucket = np.searchsorted(WARMUP_EDGES, n, side="right") - 1
    for number, edge in enumerate(WARMUP_EDGES):
        there = new & (bucket == number)
        if there.any() and value[there].mean() >= goal:
            return float(edge)
    return float("inf")


def ends_of_stretches(n: int, points: int = POINTS) -> Ints:
    """Return where each of ``points`` stretches of equally many positives ends, of ``n`` in all; no
    more stretches than positives."""
    points = min(points, n)
    return -(-np.arange(1, points + 1) * n // max(points, 1))


def stretch(events: pl.DataFrame, updates: pl.DataFrame, point: int, seen: int) -> pl.DataFrame:
    """Return prequential quality of one stretch of the stream: the mean of every age of items
    (``AGES``).

    Args:
        events: its rows, of one scorer in time order, with the columns time, version, cohort, n_item
            and ndcg.
        updates: those so far, or all, with the columns version and seconds of ``updates.parquet``.
        point: its number. seen: positives up to its end.

    Returns:
        columns point, seen, time (of its last positive), version (of its last), spent (seconds of
        updates by the time that version was live), age, ndcg (mean over positives), n; a row per
        age.
    """
    version, spent = int(events["version"][-1]), 0.0
    if version > 0:
        # one that was rolled back has cost what it cost by the next that was not
        first = int(updates["version"].index_of(version) or 0)
        spent = float(updates["seconds"].head(first + 1).cum_sum()[-1])
    is_new = pl.col("cohort").is_in(["cold_item", "cold_both"])
    age = (
        pl.when(is_new & (pl.col("n_item") < WARM))
        .then(pl.lit("cold"))
        .when(is_new)
        .then(pl.lit("warmed"))
        .otherwise(pl.lit("old"))
    )
    values = events.select("ndcg", age=age)
    both = pl.concat([values.with_columns(age=pl.lit("all")), values])
    means = both.group_by("age").agg(pl.col("ndcg").mean(), n=pl.len().cast(pl.Int64))
    facts = {
        "point": point, "seen": seen, "time": events["time"][-1], "version": version, "spent": spent
    }  # fmt: skip
    told = means.with_columns(
        pl.lit(value, dtype=SERIES[name]).alias(name) for name, value in facts.items()
    )
    in_order = told.sort(pl.col("age").cast(pl.Enum(AGES)))
    return in_order.select(list(SERIES))


SERIES = {
    "point": pl.Int64,
    "seen": pl.Int64,
    "time": pl.Int64,
    "version": pl.Int64,
    "spent": pl.Float64,
    "age": pl.String,
    "ndcg": pl.Float64,
    "n": pl.Int64,
}
"""Columns of ``stretch``, and of ``stream.parquet``."""


def summary(
    events: pl.DataFrame,
    updates: pl.DataFrame,
    probes: pl.DataFrame,
    seconds: float,
    scoring: float,
) -> dict[str, float | None]:
    """Return a stream in numbers, under the names of the functions above; what cannot be measured is
    left out, and events that would not have been enough are None.

    Args:
        events: as for ``stretch``, of the whole stream, with n_user, staleness and staleness_seconds.
        updates, probes: the files.
        seconds: of the whole stage; scoring: of them, those in which queries were scored.
    """
    r, found = matrix(probes), dict[str, float | None]()
    if len(r):
        retained, learned = average(r), learned_average(r)
        found |= {"average": retained, "learned_average": learned}
        found["harmonic"] = harmonic(retained, learned)
        for measure in (backward_transfer, forward_transfer, forgetting, minimum):
            found[measure.__name__] = measure(r)
    columns = ("probe_before", "probe_after", "seconds")
    before, after, spent = (updates[name].to_numpy() for name in columns)
    found["stability_gap"], found["worst_gap"] = stability_gap(before, after)
    found["updates"], found["rolled_back"] = len(updates), int(updates["rolled_back"].sum())
    total = float(spent.sum())
    found |= {"update_seconds": total, "update_share": total / seconds if seconds > 0 else 0.0}
    found |= {"scoring_seconds": scoring, "stage_seconds": seconds}
    for name in ("staleness", "staleness_seconds") if events.height else ():
        for q in (50, 95):
            found[f"{name}_p{q}"] = float(np.percentile(events[name].to_numpy(), q))
    for side, share in product(("item", "user"), (0.5, 0.8)):
        is_new = events["cohort"].is_in([f"cold_{side}", "cold_both"]).to_numpy()
        n, value = (events[name].to_numpy() for name in (f"n_{side}", "ndcg"))
        needed = time_to_quality(n, value, is_new, share)
        found[f"{side}_events_to_{share:.0%}"] = None if np.isinf(needed) else needed
    return {n: value for n, value in found.items() if value is None or np.isfinite(value)}


def _mean(values: Sequence[float] | Floats) -> float:
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    return float(known.mean()) if len(known) else float("nan")


def _any(values: Floats) -> bool:
    return bool(np.isfinite(values).any())
