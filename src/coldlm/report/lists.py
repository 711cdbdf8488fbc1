"""What lists of the best ten hold, how much of them another seed would show, and some of them side by
side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import polars as pl

from coldlm.report.measure import Headline
from coldlm.report.rows import Comparison, Row
from coldlm.report.table import DOES_NOT_APPLY, Table, metric, name, quantity
from coldlm.report.target import METRIC, K

PERSISTENCE: Final = 0.9
"""p of rank-biased overlap: the first ten places have 86 % of its weight in long lists."""

EXAMPLES: Final = 3
"""Cold users whose lists stand side by side."""

COLUMNS: Final = {
    "coverage": "coverage",
    "coverage/cold_item": "of cold items",
    "share/shelf": "places: on the shelf",
    "share/cold_item": "cold items",
    "gini": "Gini",
    "novelty": "novelty, bits",
    "popularity": "popularity lift",
    "diversity": "diversity",
}
"""Measure of ``evaluate.shown.describe`` -> head of its column."""


def lists_table(comparison: Comparison) -> Table | None:
    """Return what lists hold, averaged over seeds; their overlap and rank-biased overlap between seeds;
    and the harmonic mean of nDCG@10 of warm and of new items. None where no run has kept lists."""
    if not any(row.shown for row in comparison.rows):
        return None
    body = []
    for i, row in enumerate(comparison.rows):
        cells = [name(row, comparison)]
        for key in COLUMNS:
            values = [said[key] for said in row.shown if key in said]
            mean = sum(values) / len(values) if values else None
            large = key in ("novelty", "popularity")
            cells.append(quantity(mean) if large else metric(mean) if values else DOES_NOT_APPLY)
        alike = stability(row)
        cells += [metric(value) if alike else DOES_NOT_APPLY for value in alike or (None, None)]
        cells.append(metric(_harmonic(comparison, i)))
        body.append(tuple(cells))
    header = (
        "scorer",
        *COLUMNS.values(),
        "same in two seeds",
        "RBO of seeds",
        "warm and new, harmonic",
    )
    kinds = tuple(row.kind for row in comparison.rows)
    return Table("Lists of ten, weights as trained", header, tuple(body), kinds)


def stability(row: Row) -> tuple[float, float] | None:
    """Return how alike the lists of two seeds are, the mean over queries and pairs of seeds: the share
    of places in both, and rank-biased overlap, extrapolated from k places (Webber, Moffat and Zobel
    2010, "A similarity measure for indefinite rankings", eq. 30). None of one seed, and of a baseline
    that no seed changes."""
    if row.kind == "baseline" or len(row.lists) < 2:
        return None
    found = _alike(row.lists)
    return tuple(sum(pair[i] for pair in found) / len(found) for i in (0, 1))  # type: ignore[return-value]


def _alike(lists: Sequence[pl.DataFrame]) -> list[tuple[float, float]]:
    """Overlap and RBO of each pair of tables of lists, in their order, mean over the queries that both
    have."""
    places = pl.concat(
        [table.select("query", "item", "rank", seed=pl.lit(i)) for i, table in enumerate(lists)],
        how="vertical_relaxed",
    )
    sizes = places.group_by("seed", "query").agg(k=pl.len())
    one_of_each = pl.col("seed") < pl.col("seed_right")
    pair = ["seed", "seed_right", "query"]
    both = places.join(places, on=["query", "item"]).filter(one_of_each)
    lengths = sizes.join(sizes, on="query").filter(one_of_each)
    lengths = lengths.select(*pair, k=pl.min_horizontal("k", "k_right"))
    depth = pl.max_horizontal("rank", "rank_right")
    # an item that both show counts in every prefix from the later of its ranks on
    ranked = both.join(lengths, on=pair).filter(depth <= pl.col("k")).with_columns(depth=depth)
    k_most = int(lengths["k"].max() or 0)  # type: ignore[arg-type]
    p = PERSISTENCE
    weights = [p**d / d for d in range(1, k_most + 1)]
    from_depth = [sum(weights[d:]) for d in range(k_most)]  # of an item that is in from d + 1 on
    table = pl.DataFrame({"depth": range(1, k_most + 1), "tail": from_depth})
    ranked = ranked.join(table.cast({"depth": ranked["depth"].dtype}), on="depth")
    # the tails run to the longest list; shorter ones stop at their own k
    by_query = lengths.join(
        ranked.group_by(pair).agg(shared=pl.len(), tail=pl.col("tail").sum()), on=pair, how="left"
    ).fill_null(0)
    beyond = {k: sum(weights[k:]) for k in range(k_most + 1)}
    cut = pl.col("k").replace_strict(beyond, return_dtype=pl.Float64) * pl.col("shared")
    share = pl.col("shared") / pl.col("k")
    rbo = share * p ** pl.col("k") + (1 - p) / p * (pl.col("tail") - cut)
    means = by_query.group_by(pair[:2]).agg(share=share.mean(), rbo=rbo.mean()).sort(pair[:2])
    return means.select("share", "rbo").rows()


def _harmonic(comparison: Comparison, row: int) -> float | None:
    """Of nDCG@10 of warm items for warm users and of cold items; 0 where either is."""
    values = [
        comparison.value(row, cohort, metric=METRIC, k=K)
        for cohort in ("warm_warm", "cold_item_any")
    ]
    known = [value for value in values if value is not None and math.isfinite(value)]
    if len(known) < 2:
        return None
    return 2 * known[0] * known[1] / sum(known) if all(known) else 0.0


def example_tables(comparison: Comparison, headline: Headline) -> tuple[Table, ...]:
    """Return the lists of some cold users side by side: of the best trivial row and of the best
    strategy as trained; what was asked for has a star. Those are shown who were asked for most."""
    chosen = _side_by_side(comparison, headline)
    if len(chosen) < 2:
        return ()
    own = chosen[-1].lists[0]
    first = own.filter(pl.col("cold_user") & (pl.col("rank") == 1))
    first = first.sort(pl.col("wanted").list.len(), "query", descending=[True, False])
    return tuple(_example(chosen, line) for line in first.head(EXAMPLES).iter_rows(named=True))


def _side_by_side(comparison: Comparison, headline: Headline) -> list[Row]:
    rows = [m.row for m in headline.measures if m.row.lists]
    strategies = [
        (m.headline.mean, -i, m.row)
        for i, m in enumerate(headline.measures)
        if m.row.kind == "strategy" and m.row.lists
    ]
    trivial = [
        (m.headline.mean, -i, m.row)
        for i, m in enumerate(headline.measures)
        if m.row.kind != "strategy" and m.row in rows
    ]
    best = [max(group, key=lambda one: one[:2])[2] for group in (trivial, strategies) if group]
    return best if strategies else []


def _example(rows: list[Row], line: dict[str, object]) -> Table:
    lists = [row.lists[0].filter(query=line["query"]) for row in rows]
    body = []
    for rank in range(1, max(table.height for table in lists) + 1):
        places = [table.filter(rank=rank) for table in lists]
        body.append((str(rank), *(_said(place) for place in places)))
    past = "; ".join(line["history"] or ()) or "nothing"  # type: ignore[arg-type]
    wanted = "; ".join(line["wanted"] or ())  # type: ignore[arg-type]
    typed = f" typed “{line['typed']}”," if line.get("typed") else ""
    title = f"Cold user {line['user']}: had {past}; then{typed} took {wanted} (★)"
    header = ("rank", *(row.name for row in rows))
    return Table(title, header, tuple(body), ("baseline",) * len(body))


def _said(place: pl.DataFrame) -> str:
    if place.is_empty():
        return DOES_NOT_APPLY
    shown = place.row(0, named=True)
    return f"{'★ ' if shown['asked'] else ''}{shown['title'] or shown['item']}"
