"""How rows look in figures, everywhere alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from coldlm.report.flags import flags
from coldlm.report.fonts import width as width_of
from coldlm.report.rows import Comparison, Row

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
LOST: Final = "#b00020"
"""Colour of what failed."""

MOST_LOST: Final = 6
"""Rows that failed and are named in a legend."""


@dataclass(frozen=True)
class Style:
    """How one row is drawn, everywhere."""

    colour: str
    line: Any
    marker: str
    width: float
    size: float
    order: int


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
    first = dict.fromkeys(flag.split(":")[0] for flag in flags(comparison))
    figure.suptitle(", ".join((*words, *first)), x=0.01, ha="left", fontsize=11, fontweight="bold")


def put_legend(figure: Figure, handles: Sequence[Any], width: float) -> None:
    """The legend beside axes that are ``width`` inches wide together: names that are long widen the
    figure, and do not squeeze the axes."""
    figure.legend(
        handles=handles, loc="outside right upper", frameon=False, fontsize=8.5, handlelength=3.2
    )
    longest = max((width_of(handle.get_label()) for handle in handles), default=0)
    figure.set_figwidth(width + max(2.4, 0.09 * longest))


def lost_handles(comparison: Comparison) -> list[Any]:
    """What a legend says of rows that failed."""
    from matplotlib.lines import Line2D

    failed = comparison.failed
    words = [
        f"{row.name}: {f'{len(row.ends)} ' if row not in comparison.lost else ''}{row.status}"
        for row in failed[:MOST_LOST]
    ]
    words += [f"{len(failed) - MOST_LOST} more FAILED"] * (len(failed) > MOST_LOST)
    return [
        Line2D([], [], color=LOST, linestyle="none", marker="x", markeredgewidth=1.8, label=text)
        for text in words
    ]


def shortened(name: str, letters: int = 40) -> str:
    """A name of at most so many letters, without its middle: what tells rows apart stands at the ends, and
    the legend has all of it.

    >>> shortened("permuted_text · lora, history"), shortened("permuted_text · lora, history", 20)
    ('permuted_text · lora, history', 'permuted_te… history')
    """
    tail = letters * 2 // 5
    return name if len(name) <= letters else f"{name[: letters - tail - 1]}…{name[-tail:]}"


def plain(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="#eeeeee", linewidth=0.8)
    axis.set_axisbelow(True)
