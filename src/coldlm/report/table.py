"""Numbers -> tables of text: the cells that Markdown, LaTeX and the terminal share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from coldlm.config.schedules import CHEATS, cheats
from coldlm.core.columns import WARMUP_BUCKETS
from coldlm.report.k_shot import shots_curve, shots_of, what_was_asked
from coldlm.report.measure import (
    BASKET_QUALITY,
    LIST_QUALITY,
    QUALITY,
    VIEW_QUALITY,
    Headline,
    further_quality,
)
from coldlm.report.rows import METRIC, PEERS, Comparison, Row
from coldlm.report.statistics import is_small

NOT_MEASURABLE: Final = "n/a"
DOES_NOT_APPLY: Final = "–"
DAGGER: Final = "†"


@dataclass(frozen=True)
class Table:
    """Cells as text. ``header``: C column heads, the first over the row names. ``body``: R rows of
    C cells. ``kinds``: R row kinds (``rows.KINDS``). ``bold``: (row, column) of the cells in
    bold."""

    title: str
    header: tuple[str, ...]
    body: tuple[tuple[str, ...], ...]
    kinds: tuple[str, ...]
    bold: frozenset[tuple[int, int]] = frozenset()


def quality_table(comparison: Comparison, headline: Headline) -> Table:
    """Return the headline table; its last columns are the distance to the best trivial row, its
    interval, and its p over users and seeds and over seeds alone, both after Holm. A value of too few
    users or events stands in brackets."""
    header = (
        "scorer", "seeds", "nDCG@10", "95 % interval", "sd over seeds", "warm warm", "any cold user", "any cold item",
        "Recall@10", "MRR", "AUC by user", "micro nDCG@10", "vs best trivial", "95 % interval", "p", "p over seeds",
    )  # fmt: skip
    body = []
    for i, m in enumerate(headline.measures):
        first, *others = (
            bracketed(m.quality[key], comparison.is_small(i, where.get("cohort", "all")))
            for key, where in QUALITY.items()
        )
        vs = (DOES_NOT_APPLY,) * 4
        if m.row == headline.best_trivial:
            vs = ("best trivial", *(DOES_NOT_APPLY,) * 3)
        if m.vs_trivial is not None and m.p_holm is not None and m.p_seeds is not None:
            d = m.vs_trivial
            low_high = f"[{metric(d.low, True)}, {metric(d.high, True)}]"
            vs = (metric(d.mean, True), low_high, probability(m.p_holm), probability(m.p_seeds))
        own = m.headline
        low_high = (
            f"[{metric(own.low)}, {metric(own.high)}]"
            if math.isfinite(own.low) and not comparison.is_small(i, "all")
            else NOT_MEASURABLE
        )
        spread = metric(own.sd_seeds) if math.isfinite(own.sd_seeds) else DOES_NOT_APPLY
        said = first, low_high, spread, *others, *vs
        body.append((name(m.row, comparison), str(m.row.seeds), *said))
    bold = {(i, column) for i, m in enumerate(headline.measures) if m.is_bold for column in (2, 12)}
    return Table("Quality", header, tuple(body), kinds(comparison), frozenset(bold))


def list_table(comparison: Comparison) -> Table:
    """Quality over whole lists, with all their clicks: mean over users, then mean over lists, as is
    usual elsewhere."""
    names = ("nDCG@5", "nDCG@10", "MRR", "AUC")
    header = (*names, *(f"micro {name}" for name in names))
    return _metric_table("Whole lists", header, LIST_QUALITY, comparison)


def views_table(comparison: Comparison) -> Table:
    """Return the same scores among parts of the candidates."""
    names = ("among peers", "among peers: any cold item", "on the shelf")
    quality = {"": {}, **VIEW_QUALITY}
    return _metric_table("Views: nDCG@10", ("among all", *names), quality, comparison)


def basket_table(comparison: Comparison) -> Table:
    """Return metrics of all positives of a query at once, cut at 10, as they are published
    elsewhere."""
    names = ("nDCG", "Recall", "Precision", "MAP", "Hit", "MRR")
    return _metric_table("Whole baskets, at 10", names, BASKET_QUALITY, comparison)


def further_table(comparison: Comparison) -> Table | None:
    """Metrics of other packages: mean over users, then mean over queries; None without any."""
    quality = further_quality(comparison)
    header = [
        f"micro {key.removesuffix('/micro')}" if key.endswith("/micro") else key for key in quality
    ]
    return _metric_table("Further metrics", header, quality, comparison) if quality else None


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


def warmup_table(comparison: Comparison, by: str, among: str = METRIC) -> Table:
    """Return nDCG@10 against the events that the item (or user) has had; ``by`` is "item" or
    "user"; ``among``: the metric, of all candidates or of a view."""
    curve = comparison.curve(by, among)
    events = dict(curve.group_by("bucket").agg(n="n_events").rows())
    header = [f"{by} has had"]
    header += [f"{bucket} ({max(events.get(bucket) or [0]):,})" for bucket in WARMUP_BUCKETS]
    where = {METRIC: "", PEERS: " among peers"}.get(among, " on the shelf")
    title = f"Warm-up by {by}{where}: nDCG@10 after n events (in brackets: events that were ranked)"
    return _grid(title, comparison, header, WARMUP_BUCKETS, curve)


def window_table(comparison: Comparison) -> Table:
    """Return nDCG@10 in each window of the stream."""
    found = comparison.by_window()
    windows = found["window"].unique().sort().to_list()
    events = dict(found.group_by("window").agg(n="n_events").rows())
    header = ["window"] + [f"{window} ({max(events[window]):,})" for window in windows]
    return _grid(
        "By window: nDCG@10 (in brackets: events that were ranked)",
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


def chosen_table(comparison: Comparison, quality: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return the columns that somebody asked for: name -> arguments of ``Comparison.value``, the
    cohort among them."""
    body = tuple(
        (
            name(row, comparison),
            *(
                bracketed(comparison.value(i, **where), comparison.is_small(i, where["cohort"]))
                for where in quality.values()
            ),
        )
        for i, row in enumerate(comparison.rows)
    )
    return Table("As asked for", ("scorer", *quality), body, kinds(comparison))


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
