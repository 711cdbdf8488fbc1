"""Lines in a panel: their intervals, names at their ends, and when they are too close to share one."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from coldlm.report.looks import Style, plain, shortened
from coldlm.report.rows import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TICKS: Final = (0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
POINTS: Final = 72
"""Of an inch."""

LINE: Final = 1.5
"""Distance of two names, in heights of their letters."""

LETTERS: Final = 7
"""Height of names at the ends of lines, in points."""

TOO_CLOSE: Final = 0.015
"""Of the height of a panel, about the width of a marker: strategies whose lines lie closer on average cannot
be told apart."""

FAINT: Final = "#d0d0d0"
"""Of other strategies in a panel that is about one."""

Curve = Mapping[int, Sequence[float | None]]
"""Row number -> its value at each place, None where it was not measurable."""


def curves_of(curve: pl.DataFrame, buckets: Sequence[str], rows: Sequence[int]) -> Curve:
    """Return the values of some rows; ``curve``: ``row, bucket, value``."""
    found = {
        (row, bucket): value for row, bucket, value in curve.select("row", "bucket", "value").rows()
    }
    return {row: [found.get((row, bucket)) for bucket in buckets] for row in rows}


def lie_on_each_other(curves: Curve, comparison: Comparison) -> bool:
    """Return whether strategies cannot be told apart in one panel: of half of them or more the next one,
    under the same schedule, is on average less than ``TOO_CLOSE`` of the panel's height away."""
    rows = [i for i in curves if comparison.rows[i].kind == "strategy"]
    known = {i: np.sqrt(np.array(curves[i], np.float64)) for i in curves}
    top = max((float(np.nanmax(y, initial=0.0)) for y in known.values()), default=0.0)
    close = set()
    for i in rows:
        for j in rows:
            row, other = comparison.rows[i], comparison.rows[j]
            if row.label == other.label or row.schedule != other.schedule:
                continue
            apart = np.abs(known[i] - known[j])
            if np.isfinite(apart).any() and float(np.nanmean(apart)) < TOO_CLOSE * top:
                close.add(row.label)
    labels = {comparison.rows[i].label for i in rows}
    return len(labels) > 1 and 2 * len(close) >= len(labels)


def draw_lines(
    axis: Axes,
    comparison: Comparison,
    curves: Curve,
    looks: Mapping[int, Style],
    *,
    about: Set[str] | None = None,
    intervals: Mapping[int, Sequence[tuple[float, float]]] | None = None,
) -> None:
    """One line per row. ``about``: labels of the strategies that it is
    about, all else is thin and behind; all where it is None. ``intervals``: of a row at each place, drawn as bands.
    Baselines get their names by ``name_ends``."""
    from matplotlib.collections import LineCollection

    behind = defaultdict[str, list[Any]](list)
    for i, values in curves.items():
        row, s, y = comparison.rows[i], looks[i], np.array(values, np.float64)
        if about is not None and not (row.kind == "strategy" and row.label in about):
            behind[FAINT if row.kind == "strategy" else s.colour].append(y)
            continue
        axis.plot(
            range(len(y)), y, label=row.name, color=s.colour, linestyle=s.line,
            marker="" if row.kind == "baseline" else s.marker, linewidth=s.width, markersize=s.size, zorder=s.order,
            clip_on=False,  # markers at 0 stand whole on the axis
        )  # fmt: skip
        if intervals and i in intervals:
            low, high = np.array(intervals[i], np.float64).T
            axis.fill_between(
                range(len(y)), np.maximum(low, 0), high, color=s.colour, alpha=0.13, linewidth=0
            )
    for colour, several in behind.items():  # as one artist: figures of many panels are slow
        lines = [np.column_stack([np.arange(len(y)), y]) for y in several]
        axis.add_collection(LineCollection(lines, colors=colour, linewidths=0.8, zorder=1))
    # a square root opens up the cold end, where values are small, and unlike a logarithm it can
    # show a zero
    axis.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
    drawn = [
        value
        for values in curves.values()
        for value in values
        if value is not None and math.isfinite(value)
    ]
    drawn += [
        high
        for i, pairs in (intervals or {}).items()
        if about is None or comparison.rows[i].label in about
        for _, high in pairs
        if math.isfinite(high)
    ]
    axis.set_ylim(0, 1.1 * max(drawn, default=0.0) or 1.0)
    plain(axis)


def set_top(axis: Axes, top: float, height: float) -> None:
    """Let a panel of ``height`` inches end at ``top``, with as many ticks as can be read."""
    shown: list[float] = []
    for tick in reversed(TICKS):
        gap = (math.sqrt(shown[-1]) - math.sqrt(tick)) if shown else math.inf
        if tick <= top and gap * height * POINTS >= 1.6 * LETTERS * math.sqrt(top):
            shown.append(tick)
    axis.set_yticks(shown, [f"{tick:g}" for tick in shown])
    axis.set_ylim(0, top)


def name_ends(
    axis: Axes,
    comparison: Comparison,
    curves: Curve,
    looks: Mapping[int, Style],
    height: float,
    kinds: Sequence[str] = ("baseline",),
) -> None:
    """Write the names of rows of these ``kinds`` to the right of the panel, each at the height of its line or
    as near as the others leave room. The panel's scale must stand."""
    ends = []
    for i, values in curves.items():
        known = [x for x, y in enumerate(values) if y is not None and math.isfinite(y)]
        if comparison.rows[i].kind in kinds and known:
            y = values[known[-1]] or 0.0
            ends.append((known[-1], y, comparison.rows[i].name, looks[i].colour))
    top = axis.get_ylim()[1]
    least = LINE * LETTERS / (height * POINTS)
    ordered = sorted(ends, key=lambda end: end[1])
    wanted = [math.sqrt(max(y, 0.0) / top) for _, y, *_ in ordered]
    for (x, y, name, colour), at in zip(ordered, _spread(wanted, least), strict=True):
        line: dict[str, Any] = {
            "arrowstyle": "-",
            "color": colour,
            "linewidth": 0.5,
            "relpos": (0, 0.5),
            "shrinkA": 1,
            "shrinkB": 2,
        }
        axis.annotate(
            shortened(name), (x, y), (1.03, at), textcoords="axes fraction", va="center", fontsize=LETTERS,
            color="#4d4d4d", arrowprops=line, annotation_clip=False,
        )  # fmt: skip


def _spread(wanted: Sequence[float], least: float) -> list[float]:
    """Ascending places from 0 that are ``least`` apart, as near to those that are ``wanted`` as a pass up
    and one down bring them.

    >>> _spread([0.0, 0.0, 1.0], 0.1), _spread([0.98, 1.0], 0.1)
    ([0.0, 0.1, 1.0], [0.9, 1.0])
    """
    places = list(wanted)
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + least)
    most = max(1.0, least * (len(places) - 1))
    for i in reversed(range(len(places))):
        places[i] = min(places[i], most)
        most = places[i] - least
    return places


def item_intervals(
    comparison: Comparison, among: str | None, buckets: Sequence[str], rows: Sequence[int]
) -> dict[int, list[tuple[float, float]]]:
    """Return the 95 % interval of strategies, but under ``static``, in each bucket of items, as in the
    tables; nothing of runs of earlier versions, which kept no users' values of buckets."""
    found = {}
    for i in rows:
        # weights and histories that stand still are controls of themselves
        if comparison.rows[i].kind != "strategy" or comparison.rows[i].schedule == "static":
            continue
        its = [comparison.estimate(i, bucket=f"item:{bucket}", metric=among) for bucket in buckets]
        if any(math.isfinite(each.low) for each in its):
            found[i] = [(each.low, each.high) for each in its]
    return found
