"""The figure of quality against cost: which strategies are beaten by none that is cheaper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from coldlm.report.looks import COLOURS, GREYS, MARKERS, lost_handles, plain, put_legend, title
from coldlm.report.measure import Headline
from coldlm.report.rows import WITHOUT_UPDATES, Comparison, Row
from coldlm.report.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UPDATE: Final = "seconds_per_update"
PANELS: Final = (
    ("trainable_parameters", "trained parameters"),
    ("train_seconds", "training, seconds"),
    ("peak_memory_mb", "peak memory, MB"),
    ("checkpoint_mb", "checkpoint, MB"),
    (UPDATE, "one update, seconds"),
)
"""Costs and their labels, one column of the cost figure each."""

WIDE: Final = 8
"""Costs further apart than this factor are shown on a logarithmic scale."""

TRIVIAL: Final = (0, (4, 2))
QUALITIES: Final = (("", "all", "all"), ("/cold_item_any", "cold_item_any", "new items"))


SHAPES: Final = ("o", "D", "^", "s", "v", "P", "X", "*")

Point = tuple[float | None, float | None, tuple[str, str], str]
"""Cost, quality, (colour, marker), kind of the row."""

MOST_BARS: Final = 12
"""Strategies in a panel that all have their interval."""

LEAST = 0.001
"""Of the scale of a quality, from bottom to top."""


def draw_cost(comparison: Comparison, headline: Headline) -> Figure:
    """Return nDCG@10 over all queries (above) and over those of new items (below) against each cost
    that was measured, one point per trained row. The stepped line is the front: no other strategy
    is better and cheaper. Of the last panel, weights that are updated; of the others, those that
    stay as trained. The grey line is the best trivial row. Bars are 95 % intervals of strategies, as in
    the table, of many strategies of those on the front."""
    from matplotlib.figure import Figure

    measures = [
        m for m in headline.measures if m.row.kind != "baseline" and m.row.schedule != "static"
    ]
    panels = [
        (key, label, [m for m in measures if _is_updated(m.row) == (key == UPDATE)])
        for key, label in PANELS
    ]
    panels = [(key, label, its) for key, label, its in panels if any(m.cost[key] for m in its)] or [
        (*PANELS[0], [])
    ]
    figure = Figure(figsize=(1, 5.4), layout="constrained")  # see put_legend for the width
    axes = figure.subplots(2, len(panels), sharex="col", sharey="row", squeeze=False)
    looks = _looks([m.row for m in measures])
    number = {id(m): i for i, m in enumerate(headline.measures)}
    intervals = {
        (id(m), i): comparison.estimate(number[id(m)], cohort)
        for m in measures
        for i, (_, cohort, _) in enumerate(QUALITIES)
    }
    for i, (suffix, _, where) in enumerate(QUALITIES):
        quality = f"{comparison.target.key}{suffix}"
        for axis, (key, _, its) in zip(axes[i], panels, strict=True):
            points = [
                (m.cost[key], m.quality[quality], looks[m.row.label], m.row.kind) for m in its
            ]
            _draw_intervals(axis, points, [intervals[id(m), i] for m in its])
            _draw_front(axis, points)
            for y in (
                m.quality[quality] for m in headline.measures if m.row == headline.best_trivial
            ):
                axis.axhline(
                    y or 0, color=GREYS["baseline"], linewidth=1, linestyle=TRIVIAL, zorder=0
                )
        axes[i, 0].set_ylabel(f"{comparison.target.words}, {where}")
        low, high = axes[i, 0].get_ylim()
        if high - low < LEAST:  # level rows: rounding is not to be looked at
            axes[i, 0].set_ylim((low + high - LEAST) / 2, (low + high + LEAST) / 2)
    for axis, (_, label, _) in zip(axes[1], panels, strict=True):
        axis.set_xlabel(f"{label} (log scale)" if axis.get_xscale() == "log" else label)
    title(figure, comparison, comparison.title)
    put_legend(figure, [*_keys_to(looks), *lost_handles(comparison)], 2.7 * len(panels))
    return figure


def _is_updated(row: Row) -> bool:
    return row.schedule not in WITHOUT_UPDATES


def _draw_intervals(axis: Axes, points: Sequence[Point], intervals: Sequence[Estimate]) -> None:
    """A bar behind each strategy, of many those on the front; no metric is below 0, so none goes there."""
    from matplotlib.collections import LineCollection

    bars, colours = [], []
    front = _front(points)
    is_full = sum(kind == "strategy" for *_, kind in points) > MOST_BARS
    for (x, y, (colour, _), kind), its in zip(points, intervals, strict=True):
        if not (x and y is not None and math.isfinite(its.low)):
            continue
        if (x, y) in front if is_full else kind == "strategy":
            bars.append([(x, max(its.low, 0.0)), (x, its.high)])
            colours.append(colour)
    axis.add_collection(
        LineCollection(bars, colors=colours, linewidths=1.2, alpha=0.3, zorder=2), autolim=True
    )


def _draw_front(axis: Axes, points: Sequence[Point]) -> None:
    """Points (cost, quality, (colour, marker), kind), and the step along those strategies that none
    dominates."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    for x, y, (colour, marker), _ in points:
        if x and y is not None:
            axis.plot(x, y, color=colour, marker=marker, markersize=6, linestyle="none", zorder=3)
    if front := _front(points):
        axis.plot(
            *zip(*front, strict=True),
            drawstyle="steps-post",
            color="#666666",
            linewidth=1,
            zorder=1,
        )
    costs = [p[0] for p in points if p[0]]
    if costs and max(costs) > WIDE * min(costs):
        axis.set_xscale("log")
        few = max(costs) < 100 * min(costs)
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=5))
        axis.xaxis.set_minor_locator(NullLocator())
    else:
        axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.xaxis.set_major_formatter(_short_number)
    axis.margins(0.12, 0.12)
    plain(axis)


def _front(points: Sequence[Point]) -> list[tuple[float, float]]:
    """(cost, quality) of the strategies that none dominates, the cheapest first."""
    best, front = -1.0, []
    known = [(x, y) for x, y, _, kind in points if x and y is not None and kind == "strategy"]
    for x, y in sorted(known, key=lambda point: (point[0], -point[1])):
        if y > best:
            best = y
            front.append((x, y))
    return front


def _short_number(value: float, _: object = None) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _looks(rows: Sequence[Row]) -> dict[str, tuple[str, str]]:
    """Label -> (colour, marker): strategies differ in colour, what else is in their labels (the
    backbone, say) in the marker; controls are grey."""
    looks = {}
    for kind in ("strategy", "control"):
        labels = dict.fromkeys(row.label for row in rows if row.kind == kind)
        firsts, rests = (
            list(dict.fromkeys(label.partition(" · ")[i] for label in labels)) for i in (0, 2)
        )
        for label in labels:
            first, _, rest = label.partition(" · ")
            colour = (
                COLOURS[firsts.index(first) % len(COLOURS)]
                if kind == "strategy"
                else GREYS["control"]
            )
            shapes, at = (
                (SHAPES, rests.index(rest))
                if kind == "strategy"
                else (MARKERS, firsts.index(first))
            )
            looks[label] = colour, shapes[at % len(shapes)]
    return looks


def _keys_to(looks: dict[str, tuple[str, str]]) -> list[Any]:
    """Handles of the legend: one per colour of a strategy, one per marker if there are several, one
    per control."""
    from matplotlib.lines import Line2D

    entries: dict[str, tuple[str, str]] = {}
    shapes: dict[str, str] = {}
    for label, (colour, marker) in looks.items():
        first, _, rest = label.partition(" · ")
        if colour == GREYS["control"]:
            entries.setdefault(first, (colour, marker))
        else:
            entries.setdefault(first, (colour, "o"))
            shapes.setdefault(rest, marker)
    entries |= {
        rest or "as configured": ("#ffffff", marker)
        for rest, marker in shapes.items()
        if len(shapes) > 1
    }
    drawn = [
        Line2D([], [], color=colour, marker=marker, linestyle="none", label=label,
               markeredgecolor="#000000" if colour == "#ffffff" else colour)
        for label, (colour, marker) in entries.items()
    ]  # fmt: skip
    front = Line2D([], [], color="#666666", linewidth=1, label="front of the strategies")
    trivial = Line2D(
        [],
        [],
        color=GREYS["baseline"],
        linewidth=1,
        linestyle=TRIVIAL,
        label="best trivial row over all",
    )
    return [*drawn, front, trivial]
