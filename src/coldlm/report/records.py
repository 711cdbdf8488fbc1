"""The report as flat records with every digit, for CSV files."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import polars as pl

from coldlm.report.measure import (
    BASKET_QUALITY,
    LIST_QUALITY,
    VIEW_QUALITY,
    Headline,
    Measure,
    further_quality,
    has_baskets,
    has_views,
)
from coldlm.report.rows import Comparison, FailedRow
from coldlm.report.statistics import Estimate
from coldlm.report.target import ON_THE_SHELF, PEERS
from coldlm.report.texts import TextWorth


def table_lines(
    comparison: Comparison, headline: Headline, texts: tuple[TextWorth, ...]
) -> list[dict[str, Any]]:
    """Return one flat record per row, with every digit; an empty cell is a number that does not exist."""
    lines, worth = [], {each.row: each.line() for each in texts}
    lists = LIST_QUALITY if comparison.candidates == "impression" else {}
    views = VIEW_QUALITY if has_views(comparison) else {}
    baskets = BASKET_QUALITY if has_baskets(comparison) else {}
    more = lists | views | baskets | further_quality(comparison)
    for i, m in enumerate(headline.measures):
        vs = (
            asdict(m.vs_trivial)
            if m.vs_trivial
            else dict.fromkeys(field.name for field in fields(Estimate))
        )
        lines.append(
            {
                "comparison": comparison.title,
                "split": comparison.split,
                "candidates": comparison.candidates,
            }
            | {
                "kind": m.row.kind,
                "label": m.row.label,
                "schedule": m.row.schedule,
                "seeds": m.row.seeds,
            }
            | m.quality
            | {key: comparison.value(i, **where) for key, where in more.items()}
            | {
                f"{comparison.target.key}/{key}": getattr(m.headline, key)
                for key in ("low", "high", "sd_seeds")
            }
            | {f"vs_trivial/{name}": value for name, value in vs.items()}
            | {
                "vs_trivial/p_holm": m.p_holm,
                "vs_trivial/p_seeds_holm": m.p_seeds,
                "bold": m.is_bold,
            }
            | worth.get(i, {})
            | m.cost
            | _against(comparison, headline, m)
            | _failed(comparison.lacks(m.row))
        )
    for failed in comparison.lost:
        row = {"kind": failed.kind, "label": failed.label, "schedule": failed.schedule, "seeds": 0}
        lines.append(lines[0] | dict.fromkeys(list(lines[0])[3:]) | row | _failed(failed))
    return lines


def _against(comparison: Comparison, headline: Headline, m: Measure) -> dict[str, Any]:
    """The distance to the row that somebody named."""
    if not headline.asked.against:
        return {}
    d = m.against.d if m.against else None
    return {
        "against": comparison.rows[m.against.reference].name if m.against else None,
        "vs_against/mean": d.mean if d else None,
        "vs_against/low": d.low if d else None,
        "vs_against/high": d.high if d else None,
        "vs_against/p_holm": m.against.p_holm if m.against and d else None,
    }


def _failed(row: FailedRow | None) -> dict[str, Any]:
    """Seeds without a value."""
    return {
        "failed_seeds": len(row.ends) if row else 0,
        "status": row.status if row else "FINISHED",
        "why": row.words if row else None,
    }


def _names(comparison: Comparison) -> pl.DataFrame:
    """``row`` and what the row is called in CSV files."""
    columns = {
        name: [getattr(row, name) for row in comparison.rows]
        for name in ("kind", "label", "schedule", "seeds")
    }
    return pl.DataFrame({"row": range(len(comparison.rows)), **columns})


def k_shot_lines(title: str, shots: Comparison) -> pl.DataFrame:
    """Return every value of one side's k-shot rows; ``title``: of the comparison that it belongs
    to."""
    lines = shots.values.join(_names(shots), on="row", maintain_order="left").with_columns(
        comparison=pl.lit(title),
        split=pl.lit(shots.split),
        side=pl.lit(shots.title),
        shots=pl.col("bucket").cast(pl.Int64),
    )
    return lines.sort("average", "metric", "k", "row", "shots").select(
        "comparison", "split", "side", "kind", "label", "schedule", "seeds", "average", "metric", "k", "shots", "value",
        "n_users", "n_queries", "n_events",
    )  # fmt: skip


def warmup_lines(comparison: Comparison) -> pl.DataFrame:
    """Return the points of the warm-up curves, by item and by user, among all and among peers, and by
    user on the shelf."""
    asked: list[tuple[str, str | None]] = [("item", None), ("user", None)]
    if has_views(comparison):
        asked += [("item", PEERS), ("user", PEERS), ("user", ON_THE_SHELF)]
    curves = pl.concat(
        [
            comparison.curve(by, among).with_columns(
                by=pl.lit(by), metric=pl.lit(among or comparison.target.metric)
            )
            for by, among in asked
        ]
    )
    joined = curves.with_columns(pl.lit(comparison.title).alias("comparison")).join(
        _names(comparison), on="row", maintain_order="left"
    )
    return joined.select(
        "comparison", "kind", "label", "schedule", "by", "metric", "bucket", "value", "n_events"
    )
