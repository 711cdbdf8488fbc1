"""Numbers -> tables of text: the cells that Markdown, LaTeX and the terminal share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import polars as pl

from coldlm.config.schedules import CHEATS, cheats
from coldlm.core.columns import WARMUP_BUCKETS
from coldlm.report.k_shot import shots_curve, shots_of, what_was_asked
from coldlm.report.measure import (
    BASKET_QUALITY,
    LIST_QUALITY,
    VIEW_QUALITY,
    Headline,
    further_quality,
)
from coldlm.report.rows import Comparison, Row
from coldlm.report.statistics import is_small
from coldlm.report.target import METRIC, PEERS, K, Target

NOT_MEASURABLE: Final = "n/a"
DOES_NOT_APPLY: Final = "–"
DAGGER: Final = "†"


@dataclass(frozen=True)
class Table:
    """Cells as text. ``header``: C column heads, the first over the row names. ``body``: R rows of
    C cells. ``kinds``: R row kinds (``rows.KINDS``). ``bold``: (row, column) of the cells in
    bold. ``order``: columns that belong together, what is worth most to a reader first; from left to
    right where it is empty."""

    title: str
    header: tuple[str, ...]
    body: tuple[tuple[str, ...], ...]
    kinds: tuple[str, ...]
    bold: frozenset[tuple[int, int]] = frozenset()
    order: tuple[tuple[int, ...], ...] = ()

    def rows(self, chosen: Sequence[int]) -> Table:
        """Return these rows alone, in this order."""
        bold = {(i, j) for i, at in enumerate(chosen) for row, j in self.bold if row == at}
        body = tuple(self.body[at] for at in chosen)
        kinds = tuple(self.kinds[at] for at in chosen)
        return replace(self, body=body, kinds=kinds, bold=frozenset(bold))

    def columns(self, chosen: Sequence[int]) -> Table:
        """Return these columns alone, in this order."""
        bold = {(i, at) for at, j in enumerate(chosen) for i, column in self.bold if column == j}
        header = tuple(self.header[j] for j in chosen)
        body = tuple(tuple(cells[j] for j in chosen) for cells in self.body)
        return replace(self, header=header, body=body, bold=frozenset(bold), order=())


def list_table(comparison: Comparison) -> Table:
    """Quality over whole lists, with all their clicks: mean over users, then mean over lists, as is
    usual elsewhere."""
    names = ("nDCG@5", "nDCG@10", "MRR", "AUC")
    header = (*names, *(f"micro {name}" for name in names))
    return _metric_table("Whole lists", header, LIST_QUALITY, comparison)


def views_table(comparison: Comparison) -> Table:
    """Return the same scores among parts of the candidates."""
    names = ("among peers", "among peers: any cold item", "on the shelf")
    columns = {"": {"metric": METRIC, "k": K}, **VIEW_QUALITY}
    return _metric_table("Views: nDCG@10", ("among all", *names), columns, comparison)


def basket_table(comparison: Comparison) -> Table:
    """Return metrics of all positives of a query at once, cut at 10, as they are published
    elsewhere."""
    names = ("nDCG", "Recall", "Precision", "MAP", "Hit", "MRR")
    return _metric_table("Whole baskets, at 10", names, BASKET_QUALITY, comparison)


def further_table(comparison: Comparison) -> Table | None:
    """Metrics of other packages: mean over users, then mean over queries; None without any."""
    columns = further_quality(comparison)
    header = [
        f"micro {key.removesuffix('/micro')}" if key.endswith("/micro") else key for key in columns
    ]
    return _metric_table("Further metrics", header, columns, comparison) if columns else None


def cost_table(comparison: Comparison, headline: Headline) -> Table:
    """Return what each trained row cost; baselines train nothing and are left out."""
    header = (
        "scorer", "trainable parameters", "peak MB", "prepare s", "train s", "s / update", "events / s", "p50 ms",
        "p95 ms", "checkpoint MB",
    )  # fmt: skip
    trained = [m for m in headline.measures if m.row.kind != "baseline"]
    body = tuple(
        (name(m.row, comparison), *(quantity(value) for value in m.cost.values())) for m in trained
    )
    return Table("Cost", header, body, tuple(m.row.kind for m in trained))


def warmup_table(comparison: Comparison, by: str, among: str | None = None) -> Table:
    """Return the headline against the events that the item (or user) has had; ``by`` is "item" or
    "user"; ``among``: the metric of a view, None of all candidates."""
    curve = comparison.curve(by, among)
    events = dict(curve.group_by("bucket").agg(n="n_events").rows())
    header = [f"{by} has had"]
    header += [f"{bucket} ({max(events.get(bucket) or [0]):,})" for bucket in WARMUP_BUCKETS]
    where = {None: "", PEERS: " among peers"}.get(among, " on the shelf")
    words = Target().words if among else comparison.target.words
    title = f"Warm-up by {by}{where}: {words} after n events (in brackets: events that were ranked)"
    return _grid(title, comparison, header, WARMUP_BUCKETS, curve)


def window_table(comparison: Comparison) -> Table:
    """Return the headline in each window of the stream."""
    found = comparison.by_window()
    windows = found["window"].unique().sort().to_list()
    events = dict(found.group_by("window").agg(n="n_events").rows())
    header = ["window"] + [f"{window} ({max(events[window]):,})" for window in windows]
    return _grid(
        f"By window: {comparison.target.words} (in brackets: events that were ranked)",
        comparison,
        header,
        windows,
        found,
    )


def k_shot_table(shots: Comparison) -> Table:
    """Return nDCG@10 of the same queries after k events of each newcomer were revealed."""
    asked, columns = what_was_asked(shots), shots_of(shots)
    title = (
        f"k-shot by {shots.title}: nDCG@10 after k revealed events ({asked['eligible']:,} "
        f"{shots.title}s, {asked['queries']:,} queries of {asked['users']:,} users)"
    )
    return _grid(
        title, shots, [f"k events of the {shots.title}", *columns], columns, shots_curve(shots)
    )


def _metric_table(
    title: str,
    header: Sequence[str],
    quality: Mapping[str, Mapping[str, Any]],
    comparison: Comparison,
) -> Table:
    """One line per row of the comparison; ``quality``: arguments of ``Comparison.value`` for each
    column."""
    body = tuple(
        (
            name(row, comparison),
            *(metric(comparison.value(i, **where)) for where in quality.values()),
        )
        for i, row in enumerate(comparison.rows)
    )
    return Table(title, ("scorer", *header), body, kinds(comparison))


def name(row: Row, comparison: Comparison) -> str:
    """Return a row's name with the marks that follow it everywhere."""
    marks = f"{DAGGER if row.newer else ''}{f' {CHEATS}' * cheats(row.schedule)}"
    return f"{row.name}{marks} {comparison.mark}".rstrip()


def metric(value: float | None, sign: bool = False) -> str:
    """Four decimals without the leading zero: ``.0412``, ``+.0031``.

    >>> metric(0.0412), metric(-0.00311, sign=True), metric(1.0), metric(None)
    ('.0412', '-.0031', '1.0000', 'n/a')
    """
    if value is None or not math.isfinite(value):
        return NOT_MEASURABLE
    text = f"{value:+.4f}" if sign else f"{value:.4f}"
    return text.replace("0.", ".", 1) if abs(value) < 0.99995 else text


def bracketed(value: float | None, is_small: bool) -> str:
    """A metric, in brackets where it is of too few users or events."""
    text = metric(value)
    return f"({text})" if is_small and text != NOT_MEASURABLE else text


def probability(p: float) -> str:
    """Return a p with three decimals; a dash where there is none."""
    if math.isnan(p):
        return DOES_NOT_APPLY
    return "<.001" if p < 0.001 else f"{p:.3f}".replace("0.", ".", 1) if p < 1 else "1"


def quantity(value: float | None) -> str:
    """Return three significant digits below 1000, whole numbers with thousands separators above."""
    if value is None or not math.isfinite(value):
        return DOES_NOT_APPLY
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def _grid(
    title: str,
    comparison: Comparison,
    header: Sequence[str],
    columns: Sequence[Any],
    found: pl.DataFrame,
) -> Table:
    """One line per row of the comparison; ``found``: row number, column, value, users, events."""
    cells = {
        (row, column): bracketed(value, is_small(users, events))
        for row, column, value, users, events in found.iter_rows()
    }
    body = tuple(
        (name(row, comparison), *(cells.get((i, column), NOT_MEASURABLE) for column in columns))
        for i, row in enumerate(comparison.rows)
    )
    return Table(title, tuple(header), body, kinds(comparison))


def kinds(comparison: Comparison) -> tuple[str, ...]:
    """Return the kind of each row."""
    return tuple(row.kind for row in comparison.rows)
