"""The cells that all formats share."""

from __future__ import annotations

from math import nan
from pathlib import Path

import polars as pl
import pytest

from coldlm.report.columns import quality_table
from coldlm.report.figure import draw_warmup
from coldlm.report.measure import has_views, measure
from coldlm.report.measured import make_report
from coldlm.report.pages import curve_tables, headline_tables
from coldlm.report.records import table_lines, warmup_lines
from coldlm.report.results import read_runs
from coldlm.report.table import (
    basket_table,
    cost_table,
    list_table,
    metric,
    probability,
    quantity,
    views_table,
    warmup_table,
    window_table,
)
from coldlm.report.target import PEERS


def test_numbers_are_written_short() -> None:
    assert [metric(v) for v in (0.0412, 0.0, 1.0, 0.99999, None, float("nan"))] == [
        ".0412", ".0000", "1.0000", "1.0000", "n/a", "n/a"
    ]  # fmt: skip
    assert [metric(v, sign=True) for v in (0.0031, -0.0031)] == ["+.0031", "-.0031"]
    assert [probability(p) for p in (0.0002, 0.04, 1.0, nan)] == ["<.001", ".040", "1", "–"]
    assert [quantity(v) for v in (98304.0, 12.345, 0.4, 5.0, None)] == [
        "98,304",
        "12.3",
        "0.4",
        "5",
        "–",
    ]


def test_the_quality_table_has_one_row_per_scorer_and_schedule(make_runs) -> None:
    comparison = read_runs([make_runs(schedules=("history",))]).comparisons[0]
    table = quality_table(comparison, measure(comparison))
    cells = dict(zip(table.header[:3], table.body[1][:3], strict=True))
    assert cells == {"scorer": "lora, history", "seeds": "1", "nDCG@10": ".0460"}
    assert table.body[3][12] == "best trivial"
    assert table.body[-1][-4:] == ("–", "–", "–", "–")
    assert table.kinds == ("strategy",) * 2 + ("control",) * 3 + ("baseline",) * 8
    assert table.bold == frozenset()


def test_bold_marks_the_score_and_its_distance(make_runs) -> None:
    runs = make_runs(seeds=tuple(range(7)), schedules=("history",))
    comparison = read_runs([runs]).comparisons[0]
    assert quality_table(comparison, measure(comparison)).bold == {
        (0, 2),
        (0, 12),
        (1, 2),
        (1, 12),
    }


def test_what_rests_on_too_little_stands_in_brackets(make_run, tmp_path: Path) -> None:
    folder = make_run("a", schedules=("history",))
    results = pl.read_parquet(folder / "results.parquet")
    few = (pl.col("cohort") == "cold_item_any") | (pl.col("bucket") == "item:1")
    events = pl.when(few).then(49).otherwise("n_events").alias("n_events")
    results.with_columns(events).write_parquet(folder / "results.parquet")
    comparison = read_runs([tmp_path]).comparisons[0]
    table = quality_table(comparison, measure(comparison))
    first = dict(zip(table.header, table.body[0], strict=True))
    assert first["any cold item"].startswith("(.")
    assert first["any cold user"].startswith(".")
    warmup = warmup_table(comparison, "item").body[0]
    assert [cell.startswith("(") for cell in warmup[1:4]] == [False, True, False]


def test_the_cost_table_leaves_out_what_was_not_trained(make_runs) -> None:
    comparison = read_runs([make_runs(schedules=("history",))]).comparisons[0]
    table = cost_table(comparison, measure(comparison))
    assert set(table.kinds) == {"strategy", "control"}
    assert table.body[1] == (
        "lora, history",
        "589,824",
        "2,600",
        "20",
        "300",
        "–",
        "150",
        "4.2",
        "6.1",
        "2.4",
    )


def test_a_bucket_without_events_is_not_a_number(make_runs) -> None:
    comparison = read_runs([make_runs()]).comparisons[0]
    table = warmup_table(comparison, "item")
    assert table.header[:3] == ("item has had", "0 (0)", "1 (90)")
    assert {row[1] for row in table.body} == {"n/a"}
    assert "n/a" not in {cell for row in warmup_table(comparison, "user").body for cell in row}


def test_the_window_table_shows_every_window(make_runs) -> None:
    table = window_table(read_runs([make_runs()]).comparisons[0])
    assert table.header == ("window", "0 (710)", "1 (710)", "2 (710)", "3 (710)")
    assert table.body[0][1:] == (".0420", ".0462", ".0504", ".0546")


def test_the_list_table_stands_beside_ranked_lists_only(make_run) -> None:
    plain = make_run("plain")
    lists = make_run("lists", candidates="impression")
    results = pl.read_parquet(lists / "results.parquet")
    whole = results.filter(window=-1, cohort="all", bucket="all", metric="ndcg", k=10)
    more = [
        whole.with_columns(
            metric=pl.lit(metric), k=pl.lit(k, pl.Int64), value=pl.col("value") + plus
        )
        for metric, k, plus in (
            ("ndcg/impression", 5, 0.1),
            ("ndcg/impression", 10, 0.2),
            ("mrr/impression", 0, 0.3),
            ("auc/impression", 0, 0.5),
        )
    ]
    pl.concat([results, *more]).write_parquet(lists / "results.parquet")
    comparison = read_runs([lists]).comparisons[0]
    table = list_table(comparison)
    assert table.header[1:5] == ("nDCG@5", "nDCG@10", "MRR", "AUC")
    assert table.body[0] == (
        "lora, history", ".1460", ".2460", ".3460", ".5460", ".1368", ".2368", ".3368", ".5368"
    )  # fmt: skip
    report = make_report([lists])
    assert [t.title for t in headline_tables(comparison, report.headlines[0], ())] == [
        "Quality",
        "Whole lists",
        "Cost",
    ]
    assert table_lines(comparison, report.headlines[0], ())[0]["auc/impression"] == pytest.approx(
        0.546
    )
    report = make_report([plain])
    [comparison] = report.runs.comparisons
    assert not has_views(comparison)
    assert [t.title for t in headline_tables(comparison, report.headlines[0], ())] == [
        "Quality",
        "Cost",
    ]
    assert not [
        key for key in table_lines(comparison, report.headlines[0], ())[0] if "/impression" in key
    ]


def test_views_have_a_table_a_panel_and_columns_of_their_own(make_run, tmp_path: Path) -> None:
    run = make_run("views")
    results = pl.read_parquet(run / "results.parquet")
    macro = results.filter(window=-1, average="macro", metric="ndcg", k=10)
    views = [
        macro.with_columns(metric=pl.lit(metric), value=pl.col("value") + plus)
        for metric, plus in (("ndcg/peers", 0.1), ("ndcg/shelf", 0.2), ("ndcg/basket", 0.3))
    ]
    assert len(draw_warmup(read_runs([run]).comparisons[0]).axes) == 4
    pl.concat([results, *views]).write_parquet(run / "results.parquet")
    [comparison] = read_runs([run]).comparisons
    table = views_table(comparison)
    assert table.body[0][1:] == (".0460", ".1460", ".1322", ".2460")
    # runs of earlier versions know no more of baskets
    assert basket_table(comparison).body[0][1:] == (".3460", *["n/a"] * 5)
    peers = warmup_table(comparison, "item", PEERS)
    assert peers.title.startswith("Warm-up by item among peers")
    whole = warmup_table(comparison, "item")
    assert float(peers.body[0][2]) == pytest.approx(float(whole.body[0][2]) + 0.1)
    report = make_report([run])
    titles = [t.title for t in headline_tables(comparison, report.headlines[0], ())]
    assert titles == ["Quality", "Views: nDCG@10", "Whole baskets, at 10", "Cost"]
    line = table_lines(comparison, report.headlines[0], ())[0]
    assert line["ndcg/shelf@10"] == pytest.approx(0.246)
    assert "ndcg/peers@10/micro" not in line  # they are no further metrics of somebody else's
    points = warmup_lines(comparison).select("by", "metric").unique()
    asked = {("item", "ndcg"), ("user", "ndcg"), ("item", "ndcg/peers"), ("user", "ndcg/peers")}
    assert set(points.rows()) == asked | {("user", "ndcg/shelf")}
    titles = [table.title.partition(":")[0] for table in curve_tables(comparison)]
    assert titles[0].startswith("Strategies among peers and on the shelf")
    assert titles[1:6] == [
        "Warm-up by item",
        "Warm-up by item among peers",
        "Warm-up by user",
        "Warm-up by user among peers",
        "Warm-up by user on the shelf",
    ]
    axes = draw_warmup(comparison).axes
    assert len(axes) == 6
    assert axes[0].get_ylim() == axes[2].get_ylim() != axes[1].get_ylim()
