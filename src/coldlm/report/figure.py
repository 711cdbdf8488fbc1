"""The headline figure, quality against feedback events; quality against cost is in ``pareto``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from coldlm.core.columns import CHANCE, WARMUP_BUCKETS
from coldlm.report.fonts import dressed
from coldlm.report.fonts import width as width_of
from coldlm.report.k_shot import shots_curve, shots_of, what_was_asked
from coldlm.report.lines import (
    curves_of,
    draw_lines,
    item_intervals,
    lie_on_each_other,
    name_ends,
    set_top,
)
from coldlm.report.looks import Style, lost_handles, plain, put_legend, shortened, styles, title
from coldlm.report.measure import has_views
from coldlm.report.rows import KINDS, Comparison, Row
from coldlm.report.target import PEERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI: Final = 150

MOST_STRATEGIES: Final = 7
"""Of whom the headline figure has lines: more of them cannot be told apart."""

MOST_BASELINES: Final = 9
"""Of whom all have lines; of more, those that lead somewhere, and chance."""

FEW_STRATEGIES: Final = 3
"""More than that have no line for what they are worth when histories stop."""

WHOLE, PART, COUNTS, WIDTH = 3.9, 1.8, 0.65, 3.5
"""Inches: height of a panel, of one of several under each other, of the counts; width of a panel."""

LETTER: Final = 0.058
"""Inches that a letter of a name at the end of a line takes."""

MOST_PANELS: Final = 4
"""Strategies that get a panel of their own, the best."""

APART: Final = "a panel per strategy, since their lines lie on each other"


def draw_warmup(comparison: Comparison) -> Figure:
    """Return the headline against the events that the item has had as of the query, among all candidates
    and among peers, and against those of the user; below, how many events each point rests on. Bands are
    95 % intervals of strategies by what items have had; of users' own buckets no values of each user are
    kept. Strategies whose lines lie on each other get a panel each, see ``lines.lie_on_each_other``.
    Buckets that were not measurable leave a gap."""
    from matplotlib.figure import Figure

    panels: list[tuple[str, str | None, str]] = [
        ("item", None, "by what the item has had"),
        ("user", None, "by what the user has had"),
    ]
    if has_views(comparison):
        panels.insert(1, ("item", PEERS, "the same, among items that have had about as many"))
    frames = [comparison.curve(by, among) for by, among, _ in panels]
    shown, left_out = choose_rows(comparison, frames)
    curves = [curves_of(frame, WARMUP_BUCKETS, shown) for frame in frames]
    looks = dict(zip(shown, styles([comparison.rows[i] for i in shown]), strict=True))
    values: dict[str, list[float]] = {}
    for i in shown:
        if comparison.rows[i].kind == "strategy":
            values.setdefault(comparison.rows[i].label, []).append(comparison.value(i) or 0.0)
    parts: list[set[str] | None] = [None]
    if lie_on_each_other(curves[0], comparison):
        best = {label: max(values[label]) for label in values}
        chosen = sorted(best, key=lambda label: -best[label])[:MOST_PANELS]
        parts = [{label} for label in values if label in chosen]
        more = len(best) - len(chosen)
        left_out = [APART, *[f"{more} more are thin"] * bool(more), *left_out]
    # in panels about one strategy all others are thin and grey, controls too
    height, kinds = (PART, KINDS[1:]) if len(parts) > 1 else (WHOLE, KINDS[2:])
    figure = Figure(figsize=(1, height * len(parts) + COUNTS + 1.1), layout="constrained")
    axes = figure.subplots(
        len(parts) + 1, len(panels), sharex="col", squeeze=False,
        height_ratios=(*(height for _ in parts), COUNTS),
    )  # fmt: skip
    for column, (by, among, words) in enumerate(panels):
        bands = item_intervals(comparison, among, WARMUP_BUCKETS, shown) if by == "item" else {}
        for line, about in enumerate(parts):
            draw_lines(
                axes[line, column], comparison, curves[column], looks, about=about,
                intervals=bands,
            )  # fmt: skip
            if about and not column:
                text = next(iter(about))
                colour = next(looks[i].colour for i in shown if comparison.rows[i].label == text)
                where = {"transform": axes[line, 0].transAxes, "va": "top", "fontsize": 9}
                axes[line, 0].text(
                    0.02, 0.98, shortened(text), color=colour, fontweight="bold", **where
                )
        _draw_counts(axes[-1, column], comparison, by)
        axes[0, column].set_title(words, loc="left", fontsize=10)
        axes[-1, column].set_xlabel(f"earlier events of the {by} (n)")
    for views in (False, True):
        # peers are few, and values among them high: a scale of their own
        alike = [at for at, (_, among, _) in enumerate(panels) if bool(among) == views]
        _one_scale([axis for at in alike for axis in axes[:-1, at]], height)
    for column, curve in enumerate(curves):
        name_ends(axes[0, column], comparison, curve, looks, height, kinds)
    words = f"{comparison.target.words}, mean over users (square-root scale)"
    if len(parts) > 1:
        figure.supylabel(words, fontsize=10)
    else:
        axes[0, 0].set_ylabel(words)
    axes[-1, 0].set_ylabel("events")
    title(figure, comparison, comparison.title, *left_out)
    told = [
        i
        for i in shown
        if comparison.rows[i].kind not in kinds
        and any(about is None or comparison.rows[i].label in about for about in parts)
    ]
    handles = _handles(comparison, told, looks)
    named = [
        width_of(shortened(comparison.rows[i].name))
        for i in shown
        if comparison.rows[i].kind in kinds
    ]
    width = WIDTH + LETTER * max(named, default=0)
    put_legend(figure, [*handles, *lost_handles(comparison)], width * len(panels))
    return figure


def draw_k_shot(comparison: Comparison) -> Figure:
    """Return nDCG@10 of the same queries against the number of events revealed of each newcomer,
    one panel per side. No values of each user are kept, so that there are no intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1, 4.8), layout="constrained")  # see put_legend for the width
    axes = figure.subplots(1, len(comparison.shots), squeeze=False)[0]
    handles: dict[str, Any] = {}
    drawn: list[tuple[Any, Any, Any, Any]] = []
    for axis, shots in zip(axes, comparison.shots, strict=True):
        buckets, asked, curve = shots_of(shots), what_was_asked(shots), shots_curve(shots)
        shown = choose_rows(shots, [curve])[0]
        looks = dict(zip(shown, styles([shots.rows[i] for i in shown]), strict=True))
        draw_lines(axis, shots, curves_of(curve, buckets, shown), looks)
        axis.set_xticks(range(len(buckets)), buckets)
        axis.set_title(
            f"{asked['eligible']:,} new {shots.title}s, {asked['queries']:,} queries",
            loc="left",
            fontsize=10,
        )
        axis.set_xlabel(f"events revealed of each {shots.title} (k)")
        handles |= {handle.get_label(): handle for handle in _handles(shots, shown, looks)}
        drawn.append((axis, shots, curves_of(curve, buckets, shown), looks))
    _one_scale(list(axes), WHOLE)
    for axis, shots, values, looks in drawn:
        name_ends(axis, shots, values, looks, WHOLE)
    axes[0].set_ylabel("nDCG@10, mean over users (square-root scale)")
    title(figure, comparison.shots[0], comparison.title)
    put_legend(figure, list(handles.values()), (WIDTH + 1) * len(comparison.shots))
    return figure


def _handles(comparison: Comparison, shown: Sequence[int], looks: Mapping[int, Style]) -> list[Any]:
    """What a legend says: not of baselines, which have their names at their lines."""
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=s.colour, linestyle=s.line, marker=s.marker, linewidth=s.width, markersize=s.size,
               label=comparison.rows[i].name)
        for i in shown
        for s in [looks[i]]
        if comparison.rows[i].kind != "baseline"
    ]  # fmt: skip


def _one_scale(axes: Sequence[Axes], height: float) -> None:
    top = max((axis.get_ylim()[1] for axis in axes), default=1.0)
    for axis in axes:
        set_top(axis, top, height)


def render(figure: Figure, kind: str) -> bytes:
    """Return the figure as "png" or "svg", byte for byte the same for the same numbers. The text of an
    SVG is text, in whatever fonts its reader has; a PNG has those of this machine, see ``fonts``."""
    import matplotlib

    buffer = BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    # it is packed again, see below
    quick: dict[str, Any] = {"pil_kwargs": {"compress_level": 1}} if kind == "png" else {}
    with (
        matplotlib.rc_context({"svg.hashsalt": "coldlm", "svg.fonttype": "none"}),
        warnings.catch_warnings(),
        dressed(figure, is_text=kind == "svg"),
    ):
        # a legend of very many rows leaves its axes no room: the tables hold the numbers
        warnings.filterwarnings("ignore", "constrained_layout not applied")
        # of the SVG, whose reader may have one that no font of this machine has
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format=kind, dpi=DPI, metadata=metadata, **quick)
    figure.set_layout_engine("none")  # as laid out now: that takes as long as to draw
    return _with_a_palette(buffer) if kind == "png" else buffer.getvalue()


def _with_a_palette(png: BytesIO) -> bytes:
    """A picture of few colours in a third of the bytes."""
    from PIL import Image

    smaller = BytesIO()
    with Image.open(png) as image:
        image.convert("P", palette=Image.Palette.ADAPTIVE).save(smaller, "png", compress_level=6)
    return smaller.getvalue()


def choose_rows(
    comparison: Comparison, curves: Sequence[pl.DataFrame]
) -> tuple[list[int], list[str]]:
    """(rows that get a line, what is said of those that get none): the best strategies, many of them
    without ``static``, of each kind of control its best row, and baselines but a canary, of many
    those that lead on one of the ``curves``: more lines tell less."""
    rows = comparison.rows
    best: dict[tuple[str, str], tuple[float, int]] = {}
    for i, row in enumerate(rows):
        if row.kind != "baseline":
            key = row.kind, row.label if row.kind == "strategy" else row.label.partition(" · ")[0]
            best[key] = max(best.get(key, (-1.0, i)), (comparison.value(i) or 0.0, i))
    controls = {i for (kind, _), (_, i) in best.items() if kind == "control"}
    by_value = sorted(
        (value, -i, label) for (kind, label), (value, i) in best.items() if kind == "strategy"
    )[::-1]
    strategies = {label for _, _, label in by_value[:MOST_STRATEGIES]}
    baselines, hidden = _choose_baselines(rows, curves)

    def is_shown(i: int, row: Row) -> bool:
        if row.kind != "strategy":
            return i in controls | baselines
        return row.label in strategies and (
            row.schedule != "static" or len(strategies) <= FEW_STRATEGIES
        )

    left_out = len(by_value) - len(strategies)
    said = [f"the best of the strategies, {left_out} not shown"] * bool(left_out)
    said += [f"baselines that lead somewhere, {hidden} not shown"] * bool(hidden)
    return [i for i, row in enumerate(rows) if is_shown(i, row)], said


def _choose_baselines(rows: Sequence[Row], curves: Sequence[pl.DataFrame]) -> tuple[set[int], int]:
    """(baselines that get a line, how many get none)."""
    all_of_them = {
        i for i, row in enumerate(rows) if row.kind == "baseline" and row.label != "fewest_events"
    }
    if len(all_of_them) <= MOST_BASELINES:
        return all_of_them, 0
    lead = {i for i in all_of_them if rows[i].label == CHANCE}
    for curve in curves:
        known = curve.filter(pl.col("row").is_in(all_of_them) & pl.col("value").is_finite())
        first = known.sort("value", "row", descending=[True, False]).unique(
            "bucket", keep="first", maintain_order=True
        )
        lead |= set(first["row"])
    return lead, len(all_of_them - lead)


def _draw_counts(axis: Axes, comparison: Comparison, by: str) -> None:
    counts = dict(comparison.curve(by).group_by("bucket").agg(n="n_events").rows())
    heights = [max(counts.get(bucket) or [0]) for bucket in WARMUP_BUCKETS]
    axis.bar(range(len(heights)), heights, color="#d9d9d9", width=0.6)
    for x, height in enumerate(heights):
        axis.annotate(f"{height:,}" if height else "n/a", (x, height), (0, 1), textcoords="offset points",
                      ha="center", va="bottom", fontsize=7, color="#4d4d4d")  # fmt: skip
    axis.set_xticks(range(len(heights)), WARMUP_BUCKETS, fontsize=7.5)
    axis.set_yticks([])
    axis.margins(y=0.35)
    plain(axis)
