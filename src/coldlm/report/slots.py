"""Lists in which places are kept for new arrivals: what all users lose, and what new items gain."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl

from coldlm.core.columns import ON_SHELF, SLOTS
from coldlm.report.figure import choose_rows
from coldlm.report.looks import plain, put_legend, styles, title
from coldlm.report.rows import Comparison
from coldlm.report.table import Table, kinds, metric, name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN: Final = (0, 1, 2, 3, 5, 10)
"""Kept places that the table has columns of; the figure has them all."""


class Point(NamedTuple):
    """Recall@10 of one row with so many kept places: of all positives, and of those on the shelf."""

    row: int
    kept: int
    of_all: float
    of_new: float


def slot_points(comparison: Comparison) -> list[Point]:
    """Return every row at every number of kept places; nothing of runs of earlier versions, or where
    no positive was on the shelf."""
    found = []
    kept = sorted(
        int(name.removeprefix(SLOTS))
        for name in comparison.values["metric"].unique()
        if name.startswith(SLOTS) and not name.endswith(ON_SHELF)
    )
    for i in range(len(comparison.rows)):
        for s in kept:
            of_all = comparison.value(i, metric=f"{SLOTS}{s}")
            of_new = comparison.value(i, metric=f"{SLOTS}{s}/{ON_SHELF}")
            if of_all is not None and of_new is not None:
                found.append(Point(i, s, of_all, of_new))
    return found


def front(points: Sequence[Point]) -> list[Point]:
    """Return those that no other beats in one and equals in both, from the best for all to the best
    for new items."""
    best, found = -1.0, []
    for point in sorted(points, key=lambda p: (-p.of_all, -p.of_new, p.row, p.kept)):
        if point.of_new > best:
            best = point.of_new
            found.append(point)
    return found


def slots_table(comparison: Comparison, points: Sequence[Point]) -> Table:
    """Return Recall@10 of all and of new items with so many kept places, the front in bold."""
    places = [s for s in SHOWN if s in {point.kept for point in points}]
    at = {(point.row, point.kept): point for point in points}
    best = set(front(points))
    body, bold = [], set()
    for i, row in enumerate(comparison.rows):
        cells = [name(row, comparison)]
        for s in places:
            point = at.get((i, s))
            if point in best:
                bold |= {(i, len(cells)), (i, len(cells) + 1)}
            cells += [metric(point and point.of_all), metric(point and point.of_new)]
        body.append(tuple(cells))
    header = ["scorer"]
    for s in places:
        header += [f"{s} kept: all", "new"]
    words = "Slots: Recall@10 of all and of new items, s of 10 places kept for the shelf (bold: the front)"
    return Table(words, tuple(header), tuple(body), kinds(comparison), frozenset(bold))


def draw_slots(comparison: Comparison, points: Sequence[Point]) -> Figure:
    """Return Recall@10 of all against that of new items, a line per row from no kept place (large
    marker) to ten; what is ringed nobody beats in both."""
    from matplotlib.figure import Figure

    of_all, of_new = (
        pl.DataFrame(
            [(point.row, str(point.kept), value(point)) for point in points],
            schema={"row": pl.Int64, "bucket": pl.String, "value": pl.Float64},
            orient="row",
        )
        for value in (attrgetter("of_all"), attrgetter("of_new"))
    )
    shown, left_out = choose_rows(comparison, [of_all, of_new])
    figure = Figure(figsize=(1, 5), layout="constrained")  # see put_legend for the width
    axis = figure.subplots()
    looks = dict(zip(shown, styles([comparison.rows[i] for i in shown]), strict=True))
    for i in shown:
        line = [(point.of_new, point.of_all) for point in points if point.row == i]
        if not line:
            continue
        s, (x, y) = looks[i], zip(*line, strict=True)
        axis.plot(x, y, label=comparison.rows[i].name, color=s.colour, linestyle=s.line, marker=s.marker,
                  linewidth=s.width, markersize=s.size - 2, zorder=s.order)  # fmt: skip
        axis.plot(
            x[0], y[0], color=s.colour, marker=s.marker, markersize=s.size + 3, zorder=s.order
        )
    best = front(points)
    ring: dict[str, Any] = {
        "markersize": 11,
        "markerfacecolor": "none",
        "markeredgecolor": "#000000",
    }
    axis.plot(
        [point.of_new for point in best],
        [point.of_all for point in best],
        linestyle="none",
        marker="o",
        label="front",
        zorder=5,
        **ring,
    )
    axis.set_xlabel("Recall@10 of new items (on the shelf)")
    axis.set_ylabel("Recall@10 of all")
    plain(axis)
    words = "from no place kept for new items (large marker) to ten of ten"
    axis.set_title("\n".join([*left_out, words]), loc="left", fontsize=10)
    title(figure, comparison, comparison.title)
    put_legend(figure, axis.get_legend_handles_labels()[0], 6)
    return figure
