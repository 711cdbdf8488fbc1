"""The headline figure, quality against feedback events; quality against cost is in ``pareto``."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from coldlm.core.columns import CHANCE, WARMUP_BUCKETS
from coldlm.report.flags import flags
from coldlm.report.k_shot import shots_curve, shots_of, what_was_asked
from coldlm.report.measure import has_views
from coldlm.report.rows import PEERS, Comparison, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#882255", "#999933",
                  "#8B6F47")  # fmt: skip
"""Seven of Okabe and Ito, told apart with any kind of colour vision, and three more, one per
strategy in the order of the table."""

LINES: Final[dict[str, Any]] = {
    "history": (0, (4, 1.5)),
    "static": (0, (1, 1.3)),
    "retrain": (0, (6, 1.2, 1, 1.2)),
}
"""Line of each schedule; other ones that update the weights are solid."""

GREY_LINES: Final = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
MARKERS: Final = ("s", "^", "D", "v", "P", "X", "<", ">", "p", "*")
GREYS: Final = {"control": "#4d4d4d", "baseline": "#a0a0a0"}
TICKS: Final = (0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
DPI: Final = 150

MOST_STRATEGIES: Final = 7
"""Of whom the headline figure has lines: more of them cannot be told apart."""

MOST_BASELINES: Final = 9
"""Of whom all have lines; of more, those that lead somewhere, and chance."""

CHINESE: Final = (
    "Noto Sans CJK SC", "Source Han Sans SC", "PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "SimHei",
    "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "Arial Unicode MS",
)  # fmt: skip
"""Fonts that are looked for where DejaVu, which comes with matplotlib, lacks a character."""

FEW_STRATEGIES: Final = 3
"""More than that have no line for what they are worth when histories stop."""


@dataclass(frozen=True)
class Style:
    """How one row is drawn, everywhere."""

    colour: str
    line: Any
    marker: str
    width: float
    size: float
    order: int


def draw_warmup(comparison: Comparison) -> Figure:
    """Return nDCG@10 against the events that the item has had as of the query, among all candidates
    and among peers, and against those of the user; below, how many events each point rests on.
    Buckets that were not measurable leave a gap."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1, 5.6), layout="constrained")  # see put_legend for the width
    panels: list[tuple[str, str | None, str]] = [
        ("item", None, "by what the item has had"),
        ("user", None, "by what the user has had"),
    ]
    if has_views(comparison):
        panels.insert(1, ("item", PEERS, "the same, among items that have had about as many"))
    axes = figure.subplots(2, len(panels), sharex="col", height_ratios=(6, 1))
    curves = [comparison.curve(by, among) for by, among, _ in panels]
    shown, left_out = choose_rows(comparison, curves)
    for column, ((by, _, words), curve) in enumerate(zip(panels, curves, strict=True)):
        _draw_curves(axes[0, column], comparison, curve, WARMUP_BUCKETS, shown)
        _draw_counts(axes[1, column], comparison, by)
        axes[0, column].set_title(words, loc="left", fontsize=10)
        axes[1, column].set_xlabel(f"earlier events of the {by} (n)")
    axes[0, 0].set_ylabel("nDCG@10, mean over users (square-root scale)")
    axes[1, 0].set_ylabel("events")
    title(figure, comparison, comparison.title, *left_out)
    # peers are few, and values among them high: a scale of their own
    whole = [axes[0, column] for column, (_, among, _) in enumerate(panels) if among is None]
    top = max(axis.get_ylim()[1] for axis in whole)
    for axis in whole:
        axis.set_ylim(0, top)
    put_legend(figure, axes[0, 0].get_legend_handles_labels()[0], 4.3 * len(panels))
    return figure


def draw_k_shot(comparison: Comparison) -> Figure:
    """Return nDCG@10 of the same queries against the number of events revealed of each newcomer,
    one panel per side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1, 4.8), layout="constrained")  # see put_legend for the width
    axes = figure.subplots(1, len(comparison.shots), sharey=True, squeeze=False)[0]
    for axis, shots in zip(axes, comparison.shots, strict=True):
        buckets, asked, curve = shots_of(shots), what_was_asked(shots), shots_curve(shots)
        _draw_curves(axis, shots, curve, buckets, choose_rows(shots, [curve])[0])
        axis.set_xticks(range(len(buckets)), buckets)
        axis.set_title(
            f"{asked['eligible']:,} new {shots.title}s, {asked['queries']:,} queries",
            loc="left",
            fontsize=10,
        )
        axis.set_xlabel(f"events revealed of each {shots.title} (k)")
    axes[0].set_ylabel("nDCG@10, mean over users (square-root scale)")
    title(figure, comparison.shots[0], comparison.title)
    handles = {
        label: handle
        for axis in axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    put_legend(figure, list(handles.values()), 4.25 * len(comparison.shots))
    return figure


def render(figure: Figure, kind: str) -> bytes:
    """Return the figure as "png" or "svg", byte for byte the same for the same numbers. The text of an
    SVG is text, in whatever fonts its reader has; a PNG has those of this machine."""
    import matplotlib

    _set_chinese(figure)
    buffer = BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with (
        matplotlib.rc_context({"svg.hashsalt": "coldlm", "svg.fonttype": "none"}),
        warnings.catch_warnings(),
    ):
        # a legend of very many rows leaves its axes no room: the tables hold the numbers
        warnings.filterwarnings("ignore", "constrained_layout not applied")
        # no font of this machine has it; the reader of the SVG may have one
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format=kind, dpi=DPI, metadata=metadata)
    figure.set_layout_engine("none")  # as laid out now: that takes as long as to draw
    return _with_a_palette(buffer) if kind == "png" else buffer.getvalue()


def _set_chinese(figure: Figure) -> None:
    """Let texts with characters that DejaVu lacks fall back to a font that has them."""
    from matplotlib.font_manager import get_font_names
    from matplotlib.text import Text

    texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    foreign = [text for text in texts if any(letter > "\u2e7f" for letter in text.get_text())]
    if foreign:
        there = set(get_font_names())
        for text in foreign:
            text.set_fontfamily(["DejaVu Sans", *(font for font in CHINESE if font in there)])


def _with_a_palette(png: BytesIO) -> bytes:
    """A picture of few colours in a third of the bytes."""
    from PIL import Image

    smaller = BytesIO()
    with Image.open(png) as image:
        image.convert("P", palette=Image.Palette.ADAPTIVE).save(smaller, "png", optimize=True)
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


def _draw_curves(
    axis: Axes,
    comparison: Comparison,
    curve: pl.DataFrame,
    buckets: Sequence[str],
    shown: list[int],
) -> None:
    """One line per shown row; ``curve``: ``row, bucket, value``."""
    looks = dict(zip(shown, styles([comparison.rows[i] for i in shown]), strict=True))
    for i in shown:
        values = dict(curve.filter(row=i).select("bucket", "value").rows())
        y = np.array([values.get(bucket) for bucket in buckets], np.float64)
        s = looks[i]
        axis.plot(
            range(len(y)), y, label=comparison.rows[i].name, color=s.colour, linestyle=s.line, marker=s.marker,
            linewidth=s.width, markersize=s.size, zorder=s.order,
            clip_on=False,  # markers at 0 stand whole on the axis
        )  # fmt: skip
    # a square root opens up the cold end, where values are small, and unlike a logarithm it can
    # show a zero
    axis.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
    # the panels share their scale, and fixing it for the first would cut off the second
    drawn = np.concatenate([np.asarray(line.get_ydata(), np.float64) for line in axis.get_lines()])
    top = max(axis.get_ylim()[1], 1.1 * float(np.nanmax(drawn, initial=0.0)))
    axis.set_yticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axis.set_ylim(0, top)
    plain(axis)


def _draw_counts(axis: Axes, comparison: Comparison, by: str) -> None:
    counts = dict(comparison.curve(by).group_by("bucket").agg(n="n_events").rows())
    heights = [max(counts.get(bucket) or [0]) for bucket in WARMUP_BUCKETS]
    axis.bar(range(len(heights)), heights, color="#d9d9d9", width=0.6)
    for x, height in enumerate(heights):
        axis.annotate(f"{height:,}" if height else "n/a", (x, height), (0, 1), textcoords="offset points",
                      ha="center", va="bottom", fontsize=7, color="#4d4d4d")  # fmt: skip
    axis.set_xticks(range(len(heights)), WARMUP_BUCKETS)
    axis.set_yticks([])
    axis.margins(y=0.35)
    plain(axis)


def styles(rows: Sequence[Row]) -> list[Style]:
    """One style per row: a strategy keeps its colour across schedules, what is not a language model
    is grey."""
    names = {
        kind: list(dict.fromkeys(row.label for row in rows if row.kind == kind))
        for kind in ("strategy", *GREYS)
    }
    return [_style(row, names[row.kind].index(row.label)) for row in rows]


def _style(row: Row, position: int) -> Style:
    if row.kind == "strategy":
        return Style(COLOURS[position % len(COLOURS)], LINES.get(row.schedule, "-"), "o", 2.0, 5, 4)
    marker = MARKERS[position % len(MARKERS)]
    if row.kind == "control":
        return Style(GREYS["control"], LINES.get(row.schedule, "-"), marker, 1.3, 4.5, 3)
    return Style(GREYS["baseline"], GREY_LINES[position % len(GREY_LINES)], marker, 0.9, 3.5, 2)


def title(figure: Figure, comparison: Comparison, *words: str) -> None:
    """The data set, and the flags' first words where they apply (LEAKY, say): a figure travels
    without its table."""
    words = (*words, *(flag.split(":")[0] for flag in flags(comparison)))
    figure.suptitle(", ".join(words), x=0.01, ha="left", fontsize=11, fontweight="bold")


def put_legend(figure: Figure, handles: Sequence[Any], width: float) -> None:
    """The legend beside axes that are ``width`` inches wide together: names that are long widen the
    figure, and do not squeeze the axes."""
    figure.legend(
        handles=handles, loc="outside right upper", frameon=False, fontsize=8.5, handlelength=3.2
    )
    longest = max(len(handle.get_label()) for handle in handles)
    figure.set_figwidth(width + max(2.4, 0.09 * longest))


def plain(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="#eeeeee", linewidth=0.8)
    axis.set_axisbelow(True)
