"""A strategy beside the same training on permuted texts, and beside no other."""

from __future__ import annotations

from dataclasses import astuple
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from coldlm.report.results import read_runs
from coldlm.report.statistics import holm
from coldlm.report.texts import ASKED, measure_texts, texts_table
from coldlm.report.write import write_report


def recipe(strategy: str, **more: Any) -> dict[str, Any]:
    control = more.pop("control", "none")
    return {
        "recipe": {
            "strategy._target_": strategy,
            "control.name": control,
            **more,
        }
    }


def test_each_strategy_meets_its_own_control_alone(make_run, tmp_path: Path) -> None:
    for strategy in ("frozen", "lora"):
        make_run(strategy, strategy=strategy, manifest=recipe(strategy))
        permuted = recipe(strategy, control="permuted_text")
        value = {"frozen": 0.03, "lora": 0.02}[strategy]
        make_run(
            f"no {strategy}",
            strategy=strategy,
            control="permuted_text",
            value=value,
            manifest=permuted,
        )
    make_run("top", strategy="top", value=0.03, manifest=recipe("top"))
    comparison = read_runs([tmp_path]).comparisons[0]
    rows = [row.name for row in comparison.rows]
    found = measure_texts(comparison)
    assert [(rows[each.row], rows[each.control]) for each in found] == [
        (f"{strategy}, {schedule}", f"permuted_text · {strategy}, {schedule}")
        for strategy in ("frozen", "lora")
        for schedule in ("history", "per_window")
    ]
    for each in found:
        for cohort in ASKED:
            d = comparison.difference(each.row, each.control, cohort)
            assert astuple(each.worth[cohort]) == pytest.approx(astuple(d), nan_ok=True)
    raw = [each.worth[cohort].p for each in found for cohort in ASKED]
    adjusted = [each.p_holm[cohort] for each in found for cohort in ASKED]
    assert adjusted == pytest.approx(holm(raw), nan_ok=True)
    first = texts_table(comparison, found).body[0]
    assert first[:4] == ("frozen, history", ".0420", ".0300", "+.0120")


def test_a_cohort_of_nobody_is_worth_nothing(make_run, tmp_path: Path) -> None:
    make_run("lora", manifest=recipe("lora"))
    make_run("no lora", control="permuted_text", manifest=recipe("lora", control="permuted_text"))
    for name, run in product(("results", "per_user"), ("lora", "no lora")):
        file = tmp_path / "runs" / run / f"{name}.parquet"
        frame = pl.read_parquet(file)
        frame.filter(~pl.col("cohort").str.starts_with("cold_item")).write_parquet(file)
    (first, *_) = measure_texts(read_runs([tmp_path]).comparisons[0])
    assert set(first.worth) == {"all"}


def test_texts_permuted_within_cohorts_are_the_control_where_both_were_run(
    make_run, tmp_path: Path
) -> None:
    make_run("lora", manifest=recipe("lora"))
    for control, value in (("permuted_text", 0.01), ("permuted_in_cohort", 0.02)):
        make_run(control, control=control, value=value, manifest=recipe("lora", control=control))
    comparison = read_runs([tmp_path]).comparisons[0]
    found = measure_texts(comparison)
    assert len(found) == 2  # one for each schedule
    names = {comparison.rows[each.control].manifests[0].axes["control"] for each in found}
    assert names == {"permuted_in_cohort"}


def test_another_rate_or_another_seed_is_no_control(make_run, tmp_path: Path) -> None:
    make_run("lora", manifest=recipe("lora"))
    other = recipe("lora", control="permuted_text") | {}
    other["recipe"]["optim.lr"] = 0.5
    make_run("other", control="permuted_text", manifest=other)
    make_run(
        "seed", control="permuted_text", seed=2, manifest=recipe("lora", control="permuted_text")
    )
    assert measure_texts(read_runs([tmp_path]).comparisons[0]) == ()
    report = write_report([tmp_path / "runs"], tmp_path / "out")
    assert not any(
        "What texts are worth" in file.read_text() for file in report.files if file.suffix == ".md"
    )


def test_the_report_shows_them_and_its_csv_has_all_digits(make_run, tmp_path: Path) -> None:
    make_run("lora", manifest=recipe("lora"))
    make_run("no lora", control="permuted_text", manifest=recipe("lora", control="permuted_text"))
    report = write_report([tmp_path / "runs"], tmp_path / "out")
    assert "### What texts are worth" in (tmp_path / "out" / "report.md").read_text()
    table = pl.read_csv(tmp_path / "out" / "table.csv").filter(label="lora", schedule="history")
    ((each, *_),) = report.texts
    assert table["vs_permuted/mean"].item() == each.worth["all"].mean
    assert table["vs_permuted/cold_item_any/low"].item() == each.worth["cold_item_any"].low
