"""What schedules cost and keep: the table and the figure of rows whose weights follow the stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from coldlm.config.schedules import cheats
from coldlm.evaluate.continual import AGES, area_by_cost
from coldlm.report.looks import COLOURS, LINES, plain, put_legend, title
from coldlm.report.rows import Comparison, Row
from coldlm.report.table import Table, metric, name, quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES: Final = {
    "all": "all positives",
    "cold": "new items, fewer than 5 events by then",
    "warmed": "new items, warmed since",
    "old": "items from before T_test",
}
REST: Final = "#d0d0d0"
"""Colour of rows that have no name in the figure."""

SMOOTH: Final = 5
"""Stretches of the stream in a moving mean."""

Say = Callable[[float | None], str]


def in_streams(comparison: Comparison) -> list[tuple[int, Row]]:
    """Return (number, row) of every row that tells of its stream."""
    return [(i, row) for i, row in enumerate(comparison.rows) if row.streams]


def schedule_table(comparison: Comparison) -> Table | None:
    """Return what each schedule cost and kept, averaged over seeds; None where there is none. What
    the columns mean stands in ``evaluate/continual.py``."""
    rows = in_streams(comparison)
    if not rows:
        return None
    budget = max(_spent(row) for _, row in rows)
    columns: dict[str, tuple[str, Say]] = {
        "updates": ("updates", quantity),
        "rolled back": ("rolled_back", quantity),
        "s in updates": ("update_seconds", quantity),
        "% of stage": ("update_share", lambda x: quantity(None if x is None else 100 * x)),
        "stale events p50": ("staleness_p50", quantity),
        "stale events p95": ("staleness_p95", quantity),
        "retained": ("average", metric),
        "learned": ("learned_average", metric),
        "harmonic": ("harmonic", metric),
        "backward": ("backward_transfer", lambda x: metric(x, True)),
        "forward": ("forward_transfer", lambda x: metric(x, True)),
        "forgetting": ("forgetting", lambda x: metric(x, True)),
        "minimum": ("minimum", metric),
        "worst gap": ("worst_gap", metric),
        "item: n to 50 %": ("item_events_to_50%", _events),
        "item: n to 80 %": ("item_events_to_80%", _events),
        "user: n to 50 %": ("user_events_to_50%", _events),
        "user: n to 80 %": ("user_events_to_80%", _events),
    }
    body = []
    for i, row in rows:
        cells = [metric(comparison.value(i)), metric(comparison.value(i, "cold_item_any"))]
        cells += [say(_mean(row, key)) for key, say in columns.values()]
        cells.append(metric(float(np.mean([_area(s, budget) for s in row.streams]))))
        cells.append(metric(_intransigence(row, rows), True))
        body.append((name(row, comparison), *cells))
    header = (
        "schedule", comparison.target.words, "any cold item", *columns, f"area, {quantity(budget)} s", "intransigence",
    )  # fmt: skip
    return Table("Schedules", header, tuple(body), tuple(row.kind for _, row in rows))


def draw_stream(comparison: Comparison) -> Figure:
    """Return nDCG@10 along the stream, by what the items were as of the time, and at the end against
    the seconds of all updates. Colours go to the front of schedules by quality and cost, and to the
    best of the others; the rest is grey and has no name. A schedule that cheats is dotted and hollow,
    and no scale is made for it."""
    from matplotlib.figure import Figure

    rows = in_streams(comparison)
    looks = _looks(comparison, rows)
    figure = Figure(figsize=(1, 6.6), layout="constrained")  # see put_legend for the width
    axes = figure.subplots(2, 3).flatten()
    for axis, age in zip(axes, AGES, strict=False):
        top = 0.0
        for i, row in rows:
            seen, value = _curve(row, age)
            axis.plot(seen, value, label=row.name, **looks[i])
            top = max(top, float(value.max(initial=0.0)) if not cheats(row.schedule) else 0.0)
        axis.set_ylim(0, 1.05 * top or 1)
        axis.set_title(TITLES[age], loc="left", fontsize=10)
        axis.set_xlabel("positives seen")
        plain(axis)
    axes[0].set_ylabel(f"nDCG@10, moving mean of {SMOOTH} stretches")
    axes[3].set_ylabel(f"nDCG@10, moving mean of {SMOOTH} stretches")
    _draw_cost(axes[4], comparison, rows, looks)
    axes[5].set_axis_off()
    grey = sum(look["color"] == REST for look in looks.values())
    title(figure, comparison, comparison.title, *([f"{grey} more in grey"] * bool(grey)))
    named = [
        handle
        for handle, (i, _) in zip(axes[0].get_lines(), rows, strict=True)
        if looks[i]["color"] != REST
    ]
    put_legend(figure, named, 10.5)
    return figure


def _draw_cost(
    axis: Axes,
    comparison: Comparison,
    rows: Sequence[tuple[int, Row]],
    looks: dict[int, dict[str, Any]],
) -> None:
    """Quality over the whole stream against seconds in updates; the step is the front of those that
    do not cheat, bars are 95 % intervals."""
    front = [(_spent(row), comparison.value(i) or 0.0) for i, row in _front(comparison, rows)]
    top = 1.05 * max((value for _, value in front), default=0)
    for i, row in rows:
        colour, is_open = looks[i]["color"], cheats(row.schedule)
        face = "none" if is_open else colour
        point = _spent(row), comparison.value(i) or 0.0
        axis.plot(*point, "o", color=colour, markerfacecolor=face, zorder=looks[i]["zorder"])
        own = comparison.estimate(i)
        if np.isfinite(own.low):
            axis.vlines(point[0], own.low, own.high, color=colour, alpha=0.4, zorder=0)
            top = max(top, own.high if not is_open else 0.0)
    axis.plot(*zip(*front, strict=True), drawstyle="steps-post", color="#666666", lw=1, zorder=0)
    # free up to a second, and then as many times as dear
    axis.set_xscale("symlog", linthresh=1)
    axis.set_xlim(left=-0.1)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_ylim(0, 1.05 * top or 1)
    axis.set_title("over the whole stream", loc="left", fontsize=10)
    axis.set_xlabel("seconds in updates (logarithmic above 1)")
    axis.set_ylabel(f"{comparison.target.words}, mean over users")
    plain(axis)


def _front(comparison: Comparison, rows: Sequence[tuple[int, Row]]) -> list[tuple[int, Row]]:
    """Those that do not cheat and are better than all that cost less, in the order of cost."""
    front, best = list[tuple[int, Row]](), -1.0
    for i, row in sorted(
        rows, key=lambda pair: (_spent(pair[1]), -(comparison.value(pair[0]) or 0))
    ):
        value = comparison.value(i) or 0.0
        if value > best and not cheats(row.schedule):
            best = value
            front.append((i, row))
    return front


def _looks(comparison: Comparison, rows: Sequence[tuple[int, Row]]) -> dict[int, dict[str, Any]]:
    """Row number -> how its lines look."""
    best = sorted(rows, key=lambda pair: -(comparison.value(pair[0]) or 0.0))
    cheating = [pair for pair in best if cheats(pair[1].schedule)]
    honest = [pair for pair in best if not cheats(pair[1].schedule)]
    chosen = list(dict.fromkeys([*cheating[:1], *_front(comparison, rows), *honest]))
    coloured = sorted(i for i, _ in chosen[: len(COLOURS)])
    looks = {}
    for i, row in rows:
        is_told = i in coloured
        line = (0, (1, 1)) if cheats(row.schedule) else LINES.get(row.schedule, "-")
        looks[i] = {
            "color": COLOURS[coloured.index(i)] if is_told else REST,
            "linestyle": line,
            "linewidth": 1.6 if is_told else 0.8,
            "zorder": 2.5 if is_told else 1,
        }
    return looks


def _curve(row: Row, age: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds of one age along the stream, smoothed; stretches without such items count for
    nothing."""
    parts = pl.concat(row.streams).filter(age=age)
    means = parts.group_by("point").agg(
        pl.col("seen").first(), total=(pl.col("ndcg") * pl.col("n")).sum(), n=pl.col("n").sum()
    )
    means = means.sort("point")
    if means.is_empty():  # no item was of this age
        return np.zeros(0), np.zeros(0)
    window = np.ones(min(SMOOTH, len(means)))
    total, n = (np.convolve(means[c].to_numpy(), window, "same") for c in ("total", "n"))
    return means["seen"].to_numpy(), total / np.maximum(n, 1)


def _mean(row: Row, key: str) -> float | None:
    """Over seeds; None where one did not measure it."""
    own = [m for m in row.manifests if m.axes.get("online") == row.schedule]
    said = [(manifest.stream or {}).get(key, float("nan")) for manifest in own]
    if any(value is None for value in said):
        return float("inf")
    known = [value for value in said if value is not None and np.isfinite(value)]
    return float(np.mean(known)) if known else None


def _events(value: float | None) -> str:
    return "not reached" if value is not None and np.isinf(value) else quantity(value)


def _spent(row: Row) -> float:
    return _mean(row, "update_seconds") or 0.0


def _area(stream: pl.DataFrame, budget: float) -> float:
    whole = stream.filter(age="all").sort("point")
    steps = whole.group_by("spent", maintain_order=True).agg(
        ((pl.col("ndcg") * pl.col("n")).sum() / pl.col("n").sum()).alias("value")
    )
    spent = np.concatenate([[0.0], steps["spent"].to_numpy()[1:]])
    return area_by_cost(steps["value"].to_numpy(), spent, budget)


def _intransigence(row: Row, rows: Sequence[tuple[int, Row]]) -> float | None:
    """What training anew on everything learned of each part, less what this row did."""
    mine = _mean(row, "learned_average")
    for _, other in rows:
        if (other.kind, other.label, other.schedule) == (row.kind, row.label, "retrain"):
            reference = _mean(other, "learned_average")
            return None if mine is None or reference is None else reference - mine
    return None
