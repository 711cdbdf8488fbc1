"""What each version of the best schedules is worth on each part of the probe, which nothing trains on:
the matrix R of ``evaluate/continual.py``."""

from __future__ import annotations

from typing import Final

import polars as pl

from coldlm.config.schedules import cheats
from coldlm.report.rows import Comparison, Row
from coldlm.report.table import Table, metric, name

MOST: Final = 5
"""Of rows, the best by nDCG@10: each has a line per window."""

T_TEST: Final = -1
"""``window`` of the version before the stream, and ``part`` of validation."""


def matrix_table(comparison: Comparison) -> Table | None:
    """Return a line per row and version, and a column per part of the probe, averaged over seeds; a
    schedule that cheats is left out. None without a row whose weights follow the stream."""
    rows = [
        (comparison.value(i) or 0.0, -i)
        for i, row in enumerate(comparison.rows)
        if row.probes and not cheats(row.schedule)
    ]
    if not rows:
        return None
    best = [comparison.rows[-i] for _, i in sorted(rows, reverse=True)[:MOST]]
    parts = sorted({part for row in best for probe in row.probes for part in probe["part"]})
    body, kinds = [], []
    for row in best:
        values, windows = _averaged(row)
        for window in windows:
            cells = (metric(values.get((window, part))) for part in parts)
            body.append((name(row, comparison), _live(window), *cells))
            kinds.append(row.kind)
    asked = ("validation" if part == T_TEST else f"window {part}" for part in parts)
    title = (
        f"R: nDCG@10 on the probe of each part, of the versions of the best {len(best)} that follow "
        "the stream"
    )
    return Table(title, ("scorer", "live at the end of", *asked), tuple(body), tuple(kinds))


def _averaged(row: Row) -> tuple[dict[tuple[int, int], float], list[int]]:
    """(window, part) -> mean over seeds; and the windows."""
    mean = pl.concat(row.probes).group_by("window", "part").agg(pl.col("value").mean())
    values = {(window, part): value for window, part, value in mean.iter_rows()}
    return values, sorted({window for window, _ in values})


def _live(window: int) -> str:
    return "training" if window == T_TEST else f"window {window}"
